"""A commit's tree as entries: files, executables, symlinks, LFS pointers, and where submodules go."""

import hashlib
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dulwich.attrs import GitAttributes, compile_gitattributes_patterns, parse_git_attributes
from dulwich.index import validate_path_element_default, validate_path_element_hfs, validate_path_element_ntfs
from dulwich.lfs import LFSPointer

from dsload.errors import UnsafePathError
from dsload.fetchers.git.store import Store
from dsload.listing import BytesReader, Checksum, Entry, Reader
from dsload.secrets import logger

log = logger(__name__)

_POINTER = 1024  # bytes; a larger file is not an LFS pointer
_DEEPEST = 1000  # nested folders
_LINK, _SUBMODULE = 0o120000, 0o160000
_ATTRIBUTES = b".gitattributes"
SETTINGS = (LFS_CONFIG, MODULES) = (b".lfsconfig", b".gitmodules")
_KINDS = {"sha1": "gitblob", "sha256": "gitblob256"}


@dataclass(slots=True)
class Tree:
    """What a commit holds.

    Args:
        files: path, whether executable, id of the content.
        links: path and id of the blob that holds the target.
        submodules: path and commit.
        attributes: folder and id of its `.gitattributes`.
    """

    files: list[tuple[bytes, bool, str]] = field(default_factory=list)
    links: list[tuple[bytes, str]] = field(default_factory=list)
    submodules: list[tuple[bytes, str]] = field(default_factory=list)
    attributes: dict[bytes, str] = field(default_factory=dict)

    def find(self, path: bytes) -> str:
        """The id of a file, "" if none has this name."""
        return next((id for name, _, id in self.files if name == path), "")


def read_tree(store: Store, root: str) -> Tree:
    """Walk a tree.

    Raises:
        UnsafePathError: a name that git would not check out either.
        IntegrityError: a part of it is missing.
    """
    tree = Tree()
    waiting = [(b"", root)]
    while waiting:
        folder, id = waiting.pop()
        for name, mode, sha in store.tree(id):
            _check_name(name, folder, store.where)
            path = folder + name
            if stat.S_ISDIR(mode):
                if path.count(b"/") > _DEEPEST:
                    why = f"it has more than {_DEEPEST} nested folders"
                    raise UnsafePathError("reading", store.where, why, "load another source")
                waiting.append((path + b"/", sha))
            elif stat.S_IFMT(mode) == _SUBMODULE:
                tree.submodules.append((path, sha))
            elif stat.S_IFMT(mode) == _LINK:
                tree.links.append((path, sha))
            else:
                if name == _ATTRIBUTES:
                    tree.attributes[folder.rstrip(b"/")] = sha
                tree.files.append((path, bool(mode & 0o111), sha))
    return tree


def _check_name(name: bytes, folder: bytes, where: str) -> None:
    good = b"/" not in name and b"\0" not in name
    if good and (name[:1] in b".gG" or not name.isascii()):  # else it is not empty, `.`, `..` or a spelling of .git
        good = validate_path_element_default(name) and validate_path_element_ntfs(name)
        good = good and (not _is_utf8(name) or validate_path_element_hfs(name))
    if not good:
        why = "git does not check out such a name either"
        path = (folder + name).decode("utf-8", "backslashreplace")
        raise UnsafePathError("checking the listing's name", repr(path), why, f"fix the commit in {where}")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def lacking_settings(tree: Tree, store: Store) -> list[str]:
    """The ids of files that say how the others are read, as far as the store does not have them."""
    ids = [*tree.attributes.values(), *(tree.find(name) for name in SETTINGS)]
    return [id for id in ids if id and id not in store]


def lacking_content(tree: Tree, store: Store, prefix: str, held: Mapping[str, Entry]) -> Iterator[str]:
    """The ids of content that neither the store has nor the target, at the same path and read in the same way.

    Args:
        tree, store, prefix: as of make_entries().
        held: entries that the target holds, by path.
    """
    managed = _lfs_filter(tree, store)
    for name, _, id in tree.files:
        if id not in store:
            entry = held.get(prefix + os.fsdecode(name))
            if entry is None or _id_of(entry, store.format) != id or _reads_otherwise(entry, managed(name)):
                yield id
    for name, id in tree.links:
        entry = held.get(prefix + os.fsdecode(name))
        if id not in store and (entry is None or entry.symlink is None or entry.version != id):
            yield id


def _id_of(entry: Entry, format: str) -> str:
    """The id of what stands for an entry in a tree: its content, or its pointer as git-lfs writes it."""
    if entry.checksum is None or entry.symlink is not None or entry.directory:
        return ""
    if not _is_lfs(entry):
        return entry.checksum.value
    pointer = LFSPointer(entry.checksum.value, entry.size).to_bytes()
    return hashlib.new(format, b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def _is_lfs(entry: Entry) -> bool:
    return entry.checksum is not None and entry.checksum.algorithm == "sha256"


def _reads_otherwise(entry: Entry, managed: bool) -> bool:
    """Whether a file has become one of LFS since, or is no longer one; a file as small as a pointer may be one."""
    return _is_lfs(entry) != managed and (_is_lfs(entry) or entry.size < _POINTER)


def make_entries(tree: Tree, store: Store, prefix: str, lfs: Reader | None, held: Mapping[str, Entry]) -> list[Entry]:
    """Entries for the files and symlinks of a tree.

    Args:
        tree: as read_tree() read it.
        store: has its objects, except those that are held.
        prefix: put before each path, with `/` at its end.
        lfs: reads LFS objects; None keeps the pointers as they are.
        held: entries that the target holds, by path.
    """
    blobs, algorithm = Blobs(store), _KINDS[store.format]
    managed = _lfs_filter(tree, store) if lfs else None
    entries, pointers = [], 0
    for name, executable, id in tree.files:
        path = prefix + os.fsdecode(name)
        if id not in store:
            entries.append(replace(held[path], executable=executable))
            continue
        size = store.size(id)
        if managed and lfs and size < _POINTER and (pointer := _read_pointer(store.read(id))):
            if managed(name):
                checksum = Checksum("sha256", pointer.oid)
                entries.append(Entry(path, pointer.size, pointer.oid, lfs, pointer.oid, checksum, executable))
                continue
            pointers += 1
        entries.append(Entry(path, size, id, blobs, id, Checksum(algorithm, id), executable))
    if pointers:
        looks = "1 file looks like an LFS pointer" if pointers == 1 else f"{pointers:,} files look like LFS pointers"
        log.warning("%s: %s, but no .gitattributes says so: kept", store.where, looks)
    for name, id in tree.links:
        path = prefix + os.fsdecode(name)
        target = os.fsdecode(store.read(id)) if id in store else held[path].symlink
        entries.append(Entry(path, 0, id, blobs, id, symlink=target))
    return entries


def _read_pointer(content: bytes) -> LFSPointer | None:
    pointer = LFSPointer.from_bytes(content) if content.startswith(b"version ") else None
    return pointer if pointer is not None and pointer.is_valid_oid() else None


def _lfs_filter(tree: Tree, store: Store) -> Callable[[bytes], bool]:
    """Whether `.gitattributes` files assign a path to LFS (gitattributes(5))."""
    patterns = {}
    for folder, id in tree.attributes.items():
        lines = parse_git_attributes(io.BytesIO(store.read(id)))
        patterns[folder] = compile_gitattributes_patterns(lines, base=folder)
    attributes = GitAttributes(patterns.get(b"", []), directory_loader=lambda folder: patterns.get(folder, []))
    return lambda path: attributes.match_path(path).get(b"filter") == b"lfs"


class Blobs(BytesReader):
    """Reads git's own objects; a large one that lies whole in a pack is never held whole. One that is read in order is
    inflated once.
    """

    waits = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, _Cursor] = {}
        self._lock = threading.Lock()

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes of a blob."""
        if start == 0 and end >= entry.size:
            return self._store.read(entry.key)
        with self._lock:
            cursor = self._open.pop(entry.path, None)
        if cursor is None or cursor.position != start:
            cursor = _Cursor(self._store.chunks(entry.key), start)
        data = cursor.take(end - start)
        if cursor.position < entry.size:
            with self._lock:
                self._open[entry.path] = cursor
        return data


class _Cursor:
    """A position in content that arrives piece by piece."""

    def __init__(self, chunks: Iterator[bytes], start: int) -> None:
        self._chunks, self._held, self.position = chunks, b"", 0
        while self.position < start and self.take(min(start - self.position, 1 << 20)):
            pass

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        parts = [self._held]
        have = len(self._held)
        while have < size and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        data, self._held = data[:size], data[size:]
        self.position += len(data)
        return data
