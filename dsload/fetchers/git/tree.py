"""A commit's tree as entries: files, executables, symlinks, LFS pointers, and where submodules go."""

import hashlib
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from dulwich.index import validate_path_element_default, validate_path_element_hfs, validate_path_element_ntfs

from dsload.errors import NotFoundError, UnsafePathError
from dsload.fetchers.git.attributes import Attributes
from dsload.fetchers.git.store import Store
from dsload.formats.pointer import LARGEST, Pointer, read_pointer
from dsload.listing import BytesReader, Checksum, Entry, Filter, Reader
from dsload.names import from_disk
from dsload.secrets import logger

log = logger(__name__)

_PADDED = 1 << 16  # bytes; of a larger file git-lfs is not asked whether it begins as a pointer does
_DEEPEST = 1000  # nested folders
_LINK, _SUBMODULE = 0o120000, 0o160000
_ATTRIBUTES = b".gitattributes"
SETTINGS = (LFS_CONFIG, MODULES) = (b".lfsconfig", b".gitmodules")
_KINDS = {"sha1": "gitblob", "sha256": "gitblob256"}
_NO_FILTER = Filter()
_NOTHING = hashlib.sha256().hexdigest()


@dataclass(slots=True)
class Tree:
    """What a commit holds, as far as a filter selects it.

    Args:
        files: path, whether executable, id of the content.
        links: path and id of the blob that holds the target.
        submodules: path and commit.
        attributes: folder and id of its `.gitattributes`.
        settings: path and id of SETTINGS, as far as they exist.
    """

    files: list[tuple[bytes, bool, str]] = field(default_factory=list)
    links: list[tuple[bytes, str]] = field(default_factory=list)
    submodules: list[tuple[bytes, str]] = field(default_factory=list)
    attributes: dict[bytes, str] = field(default_factory=dict)
    settings: dict[bytes, str] = field(default_factory=dict)


def read_tree(store: Store, root: str, prefix: str = "", filter: Filter = _NO_FILTER) -> Tree:
    """Walk a tree; folders in which nothing is selected are not opened.

    Args:
        store: has its objects.
        root: id of the tree.
        prefix: put before each path, with `/` at its end, for the filter.
        filter: of the source.

    Raises:
        UnsafePathError: a name that git would not check out either.
        IntegrityError: a part of it is missing.
    """
    tree = Tree()
    waiting = [(b"", root)]
    while waiting:
        folder, id = waiting.pop()
        for name, mode, sha in store.tree(id):
            path, kind = folder + name, stat.S_IFMT(mode)
            whole = prefix + from_disk(path)
            opened = kind in (stat.S_IFDIR, _SUBMODULE) and filter.below(whole)
            selected = not stat.S_ISDIR(mode) and filter(whole)
            if opened or selected:
                _check_name(name, folder, store.where)
            if stat.S_ISDIR(mode):
                if opened:
                    waiting.append((_deeper(path, store.where), sha))
            elif kind == _SUBMODULE:
                if opened or selected:
                    tree.submodules.append((path, sha))
            elif kind == _LINK:
                if selected:
                    tree.links.append((path, sha))
            else:
                if name == _ATTRIBUTES:
                    tree.attributes[folder.rstrip(b"/")] = sha
                elif path in SETTINGS:
                    tree.settings[path] = sha
                if selected:
                    tree.files.append((path, bool(mode & 0o111), sha))
    return tree


def _deeper(folder: bytes, where: str) -> bytes:
    if folder.count(b"/") > _DEEPEST:
        why = f"it has more than {_DEEPEST} nested folders"
        raise UnsafePathError("reading", where, why, "load another source")
    return folder + b"/"


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
    return [id for id in (*tree.attributes.values(), *tree.settings.values()) if id not in store]


def lacking_content(tree: Tree, store: Store, prefix: str, held: Mapping[str, Entry]) -> Iterator[str]:
    """The ids of content that neither the store has nor the target, at the same path and read in the same way.

    Args:
        tree, store, prefix: as of make_entries().
        held: entries that the target holds, by path.
    """
    managed = _lfs_filter(tree, store)
    for name, _, id in tree.files:
        if id not in store:
            entry = held.get(prefix + from_disk(name))
            if entry is None or _id_of(entry, store.format) != id or _reads_otherwise(entry, managed(name)):
                yield id
    for name, id in tree.links:
        entry = held.get(prefix + from_disk(name))
        if id not in store and (entry is None or entry.symlink is None or entry.version != id):
            yield id


def _id_of(entry: Entry, format: str) -> str:
    """The id of what stands for an entry in a tree: its content, or its pointer as git-lfs writes it."""
    if entry.checksum is None or entry.symlink is not None or entry.directory:
        return ""
    if not _is_lfs(entry):
        return entry.checksum.value
    pointer = Pointer(entry.checksum.value, entry.size).written()
    return hashlib.new(format, b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def _is_lfs(entry: Entry) -> bool:
    return entry.checksum is not None and entry.checksum.algorithm == "sha256"


def _reads_otherwise(entry: Entry, managed: bool) -> bool:
    """Whether a file has become one of LFS since, or is no longer one; a file as small as a pointer may be one."""
    return _is_lfs(entry) != managed and (_is_lfs(entry) or entry.size < _PADDED)


class Objects(Protocol):
    """Who has the LFS objects of a repository."""

    def reader(self, oid: str, size: int) -> Reader:
        """What reads an object."""


def make_entries(tree: Tree, store: Store, prefix: str, lfs: Objects | None, held: Mapping[str, Entry]) -> list[Entry]:
    """Entries for the files and symlinks of a tree.

    Args:
        tree: as read_tree() read it.
        store: has its objects, except those that are held.
        prefix: put before each path, with `/` at its end.
        lfs: who has the LFS objects; None keeps the pointers as they are.
        held: entries that the target holds, by path.
    """
    blobs, algorithm = Blobs(store), _KINDS[store.format]
    managed = _lfs_filter(tree, store)
    entries, stay = [], 0
    for name, executable, id in tree.files:
        path = prefix + from_disk(name)
        if id not in store:
            entries.append(replace(held[path], executable=executable))
            continue
        pointer = _pointer_of(store, id, name, managed) if lfs else None
        if lfs and pointer and managed(name):
            entries.append(_object_entry(path, pointer, executable, lfs, store.where))
            continue
        stay += pointer is not None
        size = store.size(id)
        entries.append(Entry(path, size, id, blobs, id, Checksum(algorithm, id), executable))
    if stay:
        looks = "1 file looks like an LFS pointer" if stay == 1 else f"{stay:,} files look like LFS pointers"
        log.warning("%s: %s, but no .gitattributes says so: kept", store.where, looks)
    for name, id in tree.links:
        path = prefix + from_disk(name)
        target = from_disk(store.read(id)) if id in store else held[path].symlink
        entries.append(Entry(path, 0, id, blobs, id, symlink=target))
    return entries


def _pointer_of(store: Store, id: str, name: bytes, managed: Callable[[bytes], bool]) -> Pointer | None:
    """The pointer that a file is. Of one that is LFS's git-lfs looks at the first bytes, even if more follow."""
    size = store.size(id)
    if size < LARGEST:
        return read_pointer(store.read(id))
    if size < _PADDED and managed(name):
        return read_pointer(store.read(id)[:LARGEST])
    return None


def _object_entry(path: str, pointer: Pointer, executable: bool, lfs: Objects, where: str) -> Entry:
    if pointer.extensions:
        names = ", ".join(pointer.extensions)
        why = f"Git LFS stores {path} as its extension {names} has made it, and dsload does not run extensions"
        fix = "exclude the file, or keep the pointers with -o lfs=false"
        raise NotFoundError("listing", where, why, fix)
    if not pointer.size:
        return Entry(path, 0, _NOTHING, _Empty(), checksum=Checksum("sha256", _NOTHING), executable=executable)
    checksum = Checksum("sha256", pointer.oid)
    reader = lfs.reader(pointer.oid, pointer.size)
    return Entry(path, pointer.size, pointer.oid, reader, pointer.oid, checksum, executable)


class _Empty(BytesReader):
    """An object without content, which no server has to have."""

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Nothing."""
        return b""


def _lfs_filter(tree: Tree, store: Store) -> Callable[[bytes], bool]:
    """Whether `.gitattributes` files assign a path to LFS."""
    contents = {folder: store.read(id) for folder, id in tree.attributes.items()}
    attributes = Attributes(contents, store.where)
    return lambda path: attributes.filter(path) == b"lfs"


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
