"""Git objects at hand: of a pack that was fetched into $TMPDIR, or of a repository that is a folder.

A pack is read as gitformat-pack(5) has it. Objects are found by the hash of their content, which dulwich computes when
it indexes a pack: so what a commit leads to is verified by construction.
"""

import contextlib
import errno
import mmap
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dulwich.errors import ChecksumMismatch, ObjectFormatException
from dulwich.object_format import get_object_format
from dulwich.object_store import DiskObjectStore, peel_sha
from dulwich.objects import Commit, ObjectID, Tree, parse_tree
from dulwich.pack import load_pack_index

from dsload.errors import IntegrityError, NoSpaceError, NotFoundError, VolumeError

_DELTAS = (6, 7)  # types of objects that are told by what they differ from: by offset, by id
_HEADER = 64  # bytes that hold the sizes at the start of an object, base and first deflated bytes included
_STEP = 1 << 20  # deflated bytes read at a time


class Store:
    """The objects of a repository.

    Args:
        objects: dulwich's store.
        folder: where its packs are.
        where: the source's name for messages.
        temporary: the folder that is deleted with it.
    """

    def __init__(self, objects: DiskObjectStore, folder: Path, where: str, temporary: str = "") -> None:
        self.objects, self.folder, self.where = objects, folder, where
        self.shallow: set[str] = set()
        self._packs: list[_Pack] = []
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _let_go, objects, self._packs, temporary)

    @property
    def format(self) -> str:
        """sha1 or sha256."""
        return str(self.objects.object_format.name)

    def commit(self, id: str) -> Commit:
        """The commit that an id stands for, through tags. Raises KeyError where it is not here."""
        _, found = peel_sha(self.objects, _id(id))
        if not isinstance(found, Commit):
            raise NotFoundError("reading", self.where, f"{id} is no commit but a {found.type_name.decode()}")
        return found

    def commits(self, prefix: str) -> list[str]:
        """The commits whose ids begin so."""
        found = (id.decode() for id in self.objects.iter_prefix(prefix.encode()))
        return sorted({id for id in found if isinstance(self.objects[_id(id)], Commit)})

    def tree(self, id: ObjectID) -> list[tuple[bytes, int, ObjectID]]:
        """Name, mode and id of the entries of one tree. Raises IntegrityError where it is not here or broken."""
        try:
            kind, content = self.objects.get_raw(id)
            if kind != Tree.type_num:
                raise ObjectFormatException("it is no tree")
            found = parse_tree(content, sha_len=self.objects.object_format.oid_length)
            return [(name, mode, ObjectID(sha)) for name, mode, sha in found]
        except (KeyError, ValueError, ObjectFormatException, ChecksumMismatch, zlib.error) as error:
            why = f"the tree {id.decode()} is missing or broken ({error})"
            raise IntegrityError("reading", self.where, why, "tell who keeps the repository") from error

    def size(self, id: str) -> int:
        """Bytes of an object."""
        for pack in self._open_packs():
            with contextlib.suppress(KeyError):
                return pack.size(id)
        return len(self.read(id))

    def read(self, id: str) -> bytes:
        """The content of an object."""
        try:
            with self._lock:
                return bytes(self.objects.get_raw(_id(id))[1])
        except (KeyError, ChecksumMismatch, zlib.error) as error:
            why = f"the object {id} is missing or broken"
            raise IntegrityError("reading", self.where, why, "tell who keeps the repository") from error

    def chunks(self, id: str) -> Iterator[bytes]:
        """The content of an object, bit by bit where it lies whole in a pack."""
        for pack in self._open_packs():
            with contextlib.suppress(KeyError):
                yield from pack.chunks(id)
                return
        yield self.read(id)

    def _open_packs(self) -> list["_Pack"]:
        with self._lock:
            if not self._packs:
                found = sorted((self.folder / "pack").glob("*.idx"))
                self._packs += [_Pack(path, self.objects.object_format) for path in found]
            return self._packs


def _id(text: str) -> ObjectID:
    return ObjectID(text.encode())


class PackStore(Store):
    """A store in $TMPDIR that packs are fetched into; it is gone when nobody reads from it any more."""

    def __init__(self, where: str) -> None:
        with _in_tmpdir(where):
            folder = tempfile.mkdtemp(prefix="dsload-git-")
            objects = DiskObjectStore.init(folder)
        super().__init__(objects, Path(folder), where, temporary=folder)

    def agree(self, format: str | None, shallow: Iterable[bytes]) -> None:
        """Take what the server says of its repository, before the pack is indexed."""
        self.objects.object_format = get_object_format(format)
        self.shallow |= {id.decode() for id in shallow}

    @contextlib.contextmanager
    def receive(self) -> Iterator[BinaryIO]:
        """A file to write a pack to; it is indexed when the block ends."""
        with _in_tmpdir(self.where):
            pack, commit, abort = self.objects.add_pack()
            try:
                yield pack
            except BaseException:
                abort()
                raise
            try:
                commit()
            except (ChecksumMismatch, zlib.error, AssertionError, KeyError) as error:
                why = f"the server's pack is broken ({error})"
                raise IntegrityError("reading", self.where, why, "run the same command again") from error


@contextlib.contextmanager
def _in_tmpdir(where: str) -> Iterator[None]:
    """Say of which folder it is where $TMPDIR does not take what is written."""
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir() if tempfile.tempdir else "$TMPDIR"
        why = f"{folder} does not take git's objects ({(error.strerror or str(error)).lower()})"
        fix = "set TMPDIR to a folder that can be written, with room for the repository's objects"
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else VolumeError
        raise kind("fetching", where, why, fix) from error


def _let_go(objects: DiskObjectStore, packs: "list[_Pack]", folder: str) -> None:
    """Close what a store has open, and delete the folder that was made for it."""
    for pack in packs:
        pack.close()
    objects.close()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


class _Pack:
    """A pack and its index, for what dulwich does not tell: sizes without content, and content bit by bit."""

    def __init__(self, path: Path, format: Any) -> None:
        self._index = load_pack_index(path, format)
        self._base = format.oid_length
        with open(path.with_suffix(".pack"), "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def size(self, id: str) -> int:
        """Bytes of an object. Raises KeyError where it is not in this pack."""
        kind, size, at = self._header(self._index.object_offset(_id(id)))
        if kind not in _DELTAS:
            return size
        at = at + self._base if kind == _DELTAS[1] else self._after_number(at)
        delta = zlib.decompressobj().decompress(self._bytes[at : at + _HEADER], _HEADER)
        return _delta_number(delta, _delta_number(delta, 0)[1])[0]

    def chunks(self, id: str) -> Iterator[bytes]:
        """The content of an object. Raises KeyError where it is not in this pack, or a delta in it."""
        kind, _, at = self._header(self._index.object_offset(_id(id)))
        if kind in _DELTAS:
            raise KeyError(id)
        inflater = zlib.decompressobj()
        while not inflater.eof:
            deflated = self._bytes[at : at + _STEP]
            at += len(deflated)
            while deflated:
                yield inflater.decompress(deflated, _STEP)
                deflated = inflater.unconsumed_tail

    def _header(self, at: int) -> tuple[int, int, int]:
        """Type and size of what lies at an offset, and where it goes on."""
        byte = self._bytes[at]
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 128:
            at += 1
            byte = self._bytes[at]
            size |= (byte & 127) << shift
            shift += 7
        return kind, size, at + 1

    def _after_number(self, at: int) -> int:
        while self._bytes[at] & 128:
            at += 1
        return at + 1

    def close(self) -> None:
        """Let go of its files."""
        self._index.close()
        self._bytes.close()


def _delta_number(delta: bytes, at: int) -> tuple[int, int]:
    """A size in a delta, and where it goes on."""
    size = shift = 0
    while True:
        byte = delta[at]
        size |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return size, at
