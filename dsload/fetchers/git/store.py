"""Git objects at hand: of a pack that was fetched into $TMPDIR, or of a repository that is a folder.

Objects are found by the hash of their content, which is computed when a pack is indexed: so what a commit leads to is
verified by construction.
"""

import contextlib
import errno
import re
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from dulwich.errors import ChecksumMismatch, ObjectFormatException
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, parse_tree

from dsload.errors import IntegrityError, NoSpaceError, NotFoundError, VolumeError
from dsload.fetchers.git.pack import COMMIT, TAG, TREE, BrokenPack, Pack

_KINDS = ("object", "commit", "tree", "blob", "tag")
_DEEPEST = 100  # tags of tags
_TREE = re.compile(rb"tree ([0-9a-f]{40,64})\n")
_OBJECT = re.compile(rb"object ([0-9a-f]{40,64})\n")


class Store:
    """The objects of a repository; its subclasses say where they are.

    Args:
        where: the source's name for messages.
        format: sha1 or sha256.
    """

    def __init__(self, where: str, format: str) -> None:
        self.where, self.format = where, format
        self.shallow: set[str] = set()

    def raw(self, id: str) -> tuple[int, bytes]:
        """Kind and content of an object. Raises KeyError where it is not here."""
        raise NotImplementedError

    def commits(self, prefix: str) -> list[str]:
        """The commits whose ids begin so."""
        raise NotImplementedError

    def size(self, id: str) -> int:
        """Bytes of an object."""
        return len(self.read(id))

    def chunks(self, id: str) -> Iterator[bytes]:
        """The content of an object, piece by piece if it can be had so."""
        yield self.read(id)

    def root(self, commit: str) -> str:
        """The tree of a commit, through tags. Raises KeyError where it is not here."""
        id = commit
        for _ in range(_DEEPEST):
            kind, content = self.raw(id)
            if kind != TAG:
                break
            id = _named(_OBJECT, content)
        if kind != COMMIT:
            raise NotFoundError("reading", self.where, f"{commit} is no commit but a {_KINDS[kind]}")
        return _named(_TREE, content)

    def tree(self, id: str) -> list[tuple[bytes, int, str]]:
        """Name, mode and id of the entries of one tree. Raises IntegrityError where it is not here or broken."""
        try:
            kind, content = self.raw(id)
            if kind != TREE:
                raise ObjectFormatException(f"it is a {_KINDS[kind]}")
            found = parse_tree(content, sha_len=len(id) // 2)
            return [(name, mode, sha.decode()) for name, mode, sha in found]
        except (KeyError, ValueError, ObjectFormatException) as error:
            why = f"the tree {id} is missing or broken ({error})"
            raise IntegrityError("reading", self.where, why, "tell who keeps the repository") from error

    def read(self, id: str) -> bytes:
        """The content of an object. Raises IntegrityError where it is not here."""
        try:
            return self.raw(id)[1]
        except KeyError as error:
            why = f"the object {id} is missing"
            raise IntegrityError("reading", self.where, why, "tell who keeps the repository") from error


def _named(pattern: re.Pattern[bytes], content: bytes) -> str:
    match = pattern.match(content)
    if not match:
        raise KeyError("what it names")
    return match[1].decode()


class LocalStore(Store):
    """The objects of a repository that is a folder.

    Args:
        objects: dulwich's store.
        where: the source's name for messages.
    """

    def __init__(self, objects: DiskObjectStore, where: str) -> None:
        super().__init__(where, str(objects.object_format.name))
        self._objects, self._lock = objects, threading.Lock()
        weakref.finalize(self, objects.close)

    def raw(self, id: str) -> tuple[int, bytes]:
        try:
            with self._lock:
                kind, content = self._objects.get_raw(ObjectID(id.encode()))
        except (ChecksumMismatch, ObjectFormatException, zlib.error) as error:
            why = f"the object {id} is broken ({error})"
            raise IntegrityError("reading", self.where, why, "run `git fsck` there") from error
        return kind, bytes(content)

    def commits(self, prefix: str) -> list[str]:
        found = {id.decode() for id in self._objects.iter_prefix(prefix.encode())}
        return sorted(id for id in found if self.raw(id)[0] == COMMIT)


class PackStore(Store):
    """The objects of a pack in $TMPDIR, which is deleted when nobody reads from it any more.

    Attributes:
        folder: with what is to be in a repository's `objects/pack`, once keep() was called.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where, "sha1")
        with _in_tmpdir(where):
            self.folder = Path(tempfile.mkdtemp(prefix="dsload-git-"))
            self._file = open(self.folder / "received", "w+b")  # noqa: SIM115  # _let_go closes it
        self._lock = threading.Lock()
        weakref.finalize(self, _let_go, self._file, self.folder)

    def agree(self, format: str | None, shallow: Iterable[bytes]) -> None:
        """Take what the server says of its repository, before the pack is indexed."""
        self.format = format or "sha1"
        self.shallow |= {id.decode() for id in shallow}

    @contextlib.contextmanager
    def receive(self) -> Iterator[BinaryIO]:
        """A file to write the pack to; it is indexed when the block ends."""
        with _in_tmpdir(self.where):
            self._file.seek(0)
            self._file.truncate()
            yield self._file
            self._file.flush()
        self._pack = Pack(self._file, self.format)
        with self._readable():
            self._pack.index()

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (BrokenPack, zlib.error, RecursionError) as error:
            why = f"the pack that the server sent is broken: {error}"
            raise IntegrityError("reading", self.where, why, "run the same command again") from error

    def raw(self, id: str) -> tuple[int, bytes]:
        with self._readable():
            return self._pack.read(bytes.fromhex(id))

    def commits(self, prefix: str) -> list[str]:
        found = sorted(key for key in self._pack if key.hex().startswith(prefix))
        return [key.hex() for key in found if self._pack.kind(key) == COMMIT]

    def size(self, id: str) -> int:
        try:
            with self._readable():
                return self._pack.size(bytes.fromhex(id))
        except KeyError:
            return super().size(id)

    def chunks(self, id: str) -> Iterator[bytes]:
        with self._readable():
            pieces = self._pack.chunks(bytes.fromhex(id))
        while True:
            with self._readable():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def keep(self) -> list[Path]:
        """Name the pack as git does, and write its index; the paths of both."""
        with _in_tmpdir(self.where):
            pack, index = (self.folder / f"pack-{self._pack.checksum.hex()}{suffix}" for suffix in (".pack", ".idx"))
            (self.folder / "received").rename(pack)
            with open(index, "wb") as out:
                self._pack.write_index(out)
        return [pack, index]


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


def _let_go(file: BinaryIO, folder: Path) -> None:
    file.close()
    shutil.rmtree(folder, ignore_errors=True)
