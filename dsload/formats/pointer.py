"""Pointers of Git LFS as git-lfs reads them (docs/spec.md; lfs/pointer.go)."""

import re
from dataclasses import dataclass

LARGEST = 1024  # bytes
_VERSIONS = (b"https://git-lfs.github.com/spec/v1", b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2")
_KEYS = (b"version", b"oid", b"size")
_OID = re.compile(rb"sha256:([0-9a-f]{64})")
_SIZE = re.compile(rb"\+?[0-9]{1,20}")
_EXTENSION = re.compile(rb"ext-[0-9]-\w+")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands for an LFS object in a tree.

    Args:
        oid: the object's sha256, in hex.
        size: of it, in bytes.
        extensions: names of the programs that made the object from the file; they would be needed to get that back.
    """

    oid: str
    size: int
    extensions: tuple[str, ...] = ()

    def written(self) -> bytes:
        """The pointer as git-lfs writes it."""
        return f"version {_VERSIONS[0].decode()}\noid sha256:{self.oid}\nsize {self.size}\n".encode()


def is_pointer(content: bytes) -> bool:
    """Whether the whole content of a file is a pointer."""
    return len(content) < LARGEST and b"oid sha256:" in content and read_pointer(content) is not None


def read_pointer(content: bytes) -> Pointer | None:
    """Read a pointer, of which no more than LARGEST bytes count; None if the content is not one."""
    values: dict[bytes, bytes] = {}
    extensions: dict[bytes, bytes] = {}  # priority and name, as the last line of each has them
    for line in content.strip().split(b"\n"):
        key, space, value = line.removesuffix(b"\r").partition(b" ")
        if not key and not space:
            continue
        expected = _KEYS[len(values)] if len(values) < len(_KEYS) else b""
        if key == expected and space:
            values[key] = value
        elif expected and space and _EXTENSION.match(key):
            extensions[key] = value
        else:
            return None
    oid = _OID.fullmatch(values.get(b"oid", b""))
    size = values.get(b"size", b"")
    if values.get(b"version") not in _VERSIONS or not oid or not _SIZE.fullmatch(size) or int(size) >= 1 << 63:
        return None
    if len({key[:5] for key in extensions}) < len(extensions) or not all(map(_OID.fullmatch, extensions.values())):
        return None
    return Pointer(oid[1].decode(), int(size), tuple(key[6:].decode("utf-8", "replace") for key in sorted(extensions)))
