"""Git objects at hand: of a pack that was fetched into $TMPDIR, or of a repository that is a folder.

Objects are found by the hash of their content, which is computed when a pack is indexed: so what a commit leads to is
verified by construction.
"""

import contextlib
import errno
import re
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, BinaryIO

from dulwich.errors import ChecksumMismatch, ObjectFormatException
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, parse_tree

from dsload.errors import BadAnswerError, DsloadError, IntegrityError, NoSpaceError, NotFoundError, VolumeError
from dsload.fetchers.git.pack import COMMIT, TREE, BrokenPack, Pack

_KINDS = ("object", "commit", "tree", "blob", "tag")
_TREE = re.compile(rb"tree ([0-9a-f]{40,64})\n")


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
        """Kind and content of an object. Raises KeyError if it is not here."""
        raise NotImplementedError

    def commits(self, prefix: str) -> list[str]:
        """The commits whose ids begin like this."""
        raise NotImplementedError

    def __contains__(self, id: str) -> bool:
        """Whether an object is here, as far as that is known."""
        return True

    def size(self, id: str) -> int:
        """Bytes of an object."""
        return len(self.read(id))

    def chunks(self, id: str) -> Iterator[bytes]:
        """The content of an object, piece by piece if possible."""
        yield self.read(id)

    def root(self, commit: str) -> str:
        """The tree of a commit. Raises KeyError if it is not here."""
        kind, content = self.raw(commit)
        if kind != COMMIT:
            why = f"{commit} is a {_KINDS[kind]}, not a commit"
            raise NotFoundError("reading", self.where, why, "give a tag by its name")
        match = _TREE.match(content)
        if not match:
            raise KeyError(commit)
        return match[1].decode()

    def tree(self, id: str) -> list[tuple[bytes, int, str]]:
        """Name, mode and id of the entries of one tree. Raises IntegrityError if it is missing or broken."""
        try:
            kind, content = self.raw(id)
            if kind != TREE:
                raise ObjectFormatException(f"it is a {_KINDS[kind]}")
            found = parse_tree(content, sha_len=len(id) // 2)
            return [(name, mode, sha.decode()) for name, mode, sha in found]
        except (KeyError, ValueError, ObjectFormatException) as error:
            raise self.lacks(f"the tree {id} is missing or broken ({error})") from error

    def read(self, id: str) -> bytes:
        """The content of an object. Raises IntegrityError if it is missing."""
        try:
            return self.raw(id)[1]
        except KeyError as error:
            raise self.lacks(f"the object {id} is missing") from error

    def lacks(self, why: str) -> DsloadError:
        """The error for something that a commit leads to and that is not here."""
        return IntegrityError("reading", self.where, why, "report it to whoever maintains the repository")


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

    def lacks(self, why: str) -> DsloadError:
        fix = "run `git fsck` there; complete a partial clone by `git fetch --refetch --no-filter`"
        return IntegrityError("reading", self.where, why, fix)

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
    """The objects of packs in $TMPDIR, in files without a name: however the load ends, nothing is left behind."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "sha1")
        self._files: list[BinaryIO] = []
        self._packs: list[Pack] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    def lacks(self, why: str) -> DsloadError:
        return BadAnswerError("reading", self.where, f"the server sent too little: {why}", "run the same command again")

    def agree(self, format: str | None, shallow: Iterable[bytes]) -> None:
        """Note what the server says about its repository, before the pack is indexed."""
        self.format = format or "sha1"
        self.shallow |= {id.decode() for id in shallow}

    @contextlib.contextmanager
    def receive(self) -> Iterator[BinaryIO]:
        """A file to write a pack to; it is indexed when the block ends."""
        file = self._new_file()
        try:
            with _in_tmpdir(self.where):
                yield file
                file.flush()
            pack = Pack(file, self.format)
            with self._lock:
                pack.index()
        except (BrokenPack, zlib.error) as error:
            self._drop(file)
            why = f"the pack that the server sent is broken: {error}"
            raise BadAnswerError("reading", self.where, why, "run the same command again") from error
        except BaseException:
            self._drop(file)
            raise
        self._packs.append(pack)

    def _drop(self, file: BinaryIO) -> None:
        self._files.remove(file)
        file.close()

    def _new_file(self) -> BinaryIO:
        with _in_tmpdir(self.where):
            self._files.append(tempfile.TemporaryFile())  # noqa: SIM115  # _close closes it
        return self._files[-1]

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (BrokenPack, zlib.error) as error:
            why = f"git's objects cannot be read back from $TMPDIR: {error}"
            raise IntegrityError("reading", self.where, why, "check the disk and memory of this machine") from error

    def __contains__(self, id: str) -> bool:
        key = bytes.fromhex(id)
        return any(key in pack for pack in self._packs)

    def _pack(self, key: bytes) -> Pack:
        for pack in self._packs:
            if key in pack:
                return pack
        raise KeyError(key.hex())

    def raw(self, id: str) -> tuple[int, bytes]:
        key = bytes.fromhex(id)
        with self._readable():
            return self._pack(key).read(key)

    def commits(self, prefix: str) -> list[str]:
        with self._readable():
            found = ((pack, key) for pack in self._packs for key in pack if key.hex().startswith(prefix))
            return sorted(key.hex() for pack, key in found if pack.kind(key) == COMMIT)

    def size(self, id: str) -> int:
        key = bytes.fromhex(id)
        with self._readable():
            return self._pack(key).size(key)

    def chunks(self, id: str) -> Iterator[bytes]:
        key = bytes.fromhex(id)
        pieces = self._pack(key).chunks(key)
        while True:
            with self._readable():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def keep(self) -> dict[str, IO[bytes]]:
        """The packs and their indexes, by the names that git gives them."""
        kept: dict[str, IO[bytes]] = {}
        with _in_tmpdir(self.where):
            for pack in self._packs:
                name = f"pack-{pack.checksum.hex()}"
                kept[f"{name}.pack"], kept[f"{name}.idx"] = pack.file, self._new_file()
                pack.write_index(kept[f"{name}.idx"])
                kept[f"{name}.idx"].flush()
        return kept


@contextlib.contextmanager
def _in_tmpdir(where: str) -> Iterator[None]:
    """Name the folder if $TMPDIR does not take what is written."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        folder = tempfile.gettempdir() if tempfile.tempdir else "$TMPDIR"
        why = f"{folder} does not take git's objects ({(error.strerror or str(error)).lower()})"
        fix = "set TMPDIR to a writable folder with room for the repository's objects"
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else VolumeError
        raise kind("fetching", where, why, fix) from error


def _close(files: list[BinaryIO]) -> None:
    for file in files:
        file.close()
