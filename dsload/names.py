"""Names from a source are hostile input: what may lie below a target, and what may not."""

import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from unicodedata import is_normalized, normalize

from dsload.errors import UnsafePathError
from dsload.listing import Entry

STATE = ".dsload"  # where dsload keeps its own state in a target
_LONGEST_NAME = 255  # bytes, on every file system that matters here
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")  # by HFS+
_DROPPED = re.compile(r"[ .]+(?=/|$)")  # by Windows, at the end of a name
_REFUSED = re.compile(r"[\x01-\x1f\"*:<>?\\|]|[ .]$")  # by Windows, learn.microsoft.com, "Naming Files, Paths, ..."
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)


def check_names(entries: list[Entry]) -> None:
    """Refuse names that would leave the target, or that cannot all exist at once.

    Args:
        entries: sorted by path.
    """
    for entry in entries:
        if why := unsafe(entry.path):
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "load another source")
        if entry.symlink is not None and _escapes(entry):
            why = f"this symlink points out of the target ({entry.symlink!r})"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude it by -o exclude=…")
    directories = folders(entry.path for entry in entries)
    previous = ""
    for entry in entries:
        if entry.path == previous:
            why = "two files of the source have this name on the target"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude one by -o exclude=…")
        previous = entry.path
        if entry.path in directories and not entry.directory:
            why = "the source has a file and a directory of this name"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude one by -o exclude=…")


def unsafe(path: str) -> str:
    """Why a path from a source cannot be used below a target, "" if it can."""
    if path.startswith("/"):
        return "it is absolute"
    if "\0" in path:
        return "it holds a NUL byte"
    if not path.isascii() and not _encodable(path):
        return "it has something that is not a character"
    names = path.split("/")
    if path.endswith("/"):
        return "a file's name cannot end in '/'"
    if "" in names or "." in names:
        return "it has an empty part, or '.'"
    if ".." in names:
        return "it leads up with '..'"
    if names[0] == STATE:
        return f"{STATE} is where dsload keeps its own state"
    if _may_be_state(names[0]):
        return f"some volumes take it for {STATE}, where dsload keeps its own state"
    if any(len(name) > _LONGEST_NAME // 4 and len(on_disk(name)) > _LONGEST_NAME for name in names):
        return f"a part of it is longer than {_LONGEST_NAME} bytes"
    return ""


def _may_be_state(name: str) -> bool:
    """Whether a volume may take a name for STATE: one that folds case or forms, or Windows with its short names."""
    if name.isascii() and name[:1] not in ".dD":
        return False
    plain = folded(normalize("NFKC", name)).partition(":")[0].rstrip(" .")
    return plain in (STATE, f"{STATE.strip('.')}~1")


def on_disk(name: str) -> bytes:
    """A name or path as it is on disk: in UTF-8 whatever the locale, as the volume is read elsewhere too.

    Surrogates are bytes that are not UTF-8. Raises UnicodeEncodeError for other halves of characters.
    """
    return name.encode("utf-8", "surrogateescape")


def from_disk(name: bytes) -> str:
    """A name or path that is like this on disk; see on_disk()."""
    return name.decode("utf-8", "surrogateescape")


def _encodable(path: str) -> bool:
    """Whether a file can have this name: JSON can hold halves of characters, which no name has."""
    try:
        on_disk(path)
    except UnicodeEncodeError:
        return False
    return True


def _escapes(entry: Entry) -> bool:
    """Whether a symlink could lead out. `..` may only come first: after a name that is itself a symlink, it
    would lead up from that symlink's target.
    """
    target = entry.symlink or "/"
    names = [name for name in target.split("/") if name != "."]
    up = len(list(itertools.takewhile(lambda name: name == "..", names)))
    depth = entry.path.count("/")
    return target.startswith("/") or up > depth or ".." in names[up:] or "\0" in target


def parents(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first; the root is not among them."""
    while path := path.rpartition("/")[0]:
        yield path


def folders(paths: Iterable[str]) -> set[str]:
    """All directories above paths, which had better come in their order."""
    found: set[str] = set()
    last = ""
    for path in paths:
        parent = path.rpartition("/")[0]
        if parent != last:
            found.update(itertools.takewhile(lambda folder: folder not in found, (parent, *parents(parent))))
            last = parent
    found.discard("")
    return found


# What a volume may make of names


def alike(paths: Collection[str]) -> list[list[str]]:
    """Groups of different paths that a volume may take for one: it may fold case, or the forms of characters.

    Memory is 16 bytes a path, and more only for those that may be alike.
    """
    size = 16 * len(paths) + 1
    seen, suspects = bytearray(size), set[int]()
    for path in paths:
        place = hash(folded(path)) % size
        if seen[place]:
            suspects.add(place)
        seen[place] = 1
    groups: dict[str, dict[str, None]] = {}
    for path in paths if suspects else ():
        key = folded(path)
        if hash(key) % size in suspects:
            groups.setdefault(key, {})[path] = None
    return [list(group) for group in groups.values() if len(group) > 1]


def folded(path: str) -> str:
    """The same for all paths that some volume takes for one."""
    key = path.lower()
    if not path.isascii():
        key = _IGNORED.sub("", path).casefold()
        key = key if is_normalized("NFC", key) else normalize("NFC", key)
    return _DROPPED.sub("", key) if "./" in key or " /" in key or key[-1:] in (".", " ") else key


def peculiar(paths: Iterable[str]) -> list[str]:
    """Of the paths whose last name a Windows or SMB volume may not take, the first for each reason."""
    found: dict[str, str] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        match = _REFUSED.search(name)
        reason = match[0] if match else name.partition(".")[0].lower()
        if match or reason in _DEVICES:
            found.setdefault(reason, path)
    return list(found.values())
