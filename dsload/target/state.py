"""dsload's own files in a target: state in `.dsload`, and files that are being made in `.dsload/parts`."""

import contextlib
import errno
import fnmatch
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from dsload.names import STATE, on_disk
from dsload.target.directories import Descriptor, Directories
from dsload.target.oserror import writing
from dsload.target.ownership import Stamp

PARTS = "parts"
JOURNALS = "files*.jsonl"  # of finished files, one for each shard of a load
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class State:
    """What lies in a target's `.dsload`.

    Args:
        directories: of the target.
        stamp: for what is made.
        place: the target, for messages.
    """

    def __init__(self, directories: Directories, stamp: Stamp, place: Path) -> None:
        self._directories, self._stamp, self._place = directories, stamp, place
        self._serial = itertools.count()
        self._nonce = secrets.token_hex(4)
        self._folder: Descriptor | None = None
        self._parts: Descriptor | None = None

    def prepare(self) -> None:
        """Make the directories, and prove that owner and mode can be set. Raises OSError and OwnershipError."""
        self._folder = self._directories.step(self._directories.target, STATE, create=True)
        self._parts = self._directories.step(self._folder, PARTS, create=True)
        name, fd = self.make(0o600, "probe")
        try:
            os.write(fd, b"probe")
            self._stamp.exactly(fd, self._stamp.ownership.mode, "a probe file")
        finally:
            os.close(fd)
            self.drop(name)

    # What the volume makes of names

    def takes_for_one(self, one: str, other: str) -> bool:
        """Whether two names of one directory are one on the volume.

        Raises:
            UnsafePathError: it does not take the first.
        """
        with self._named(one, one) as folder:
            try:
                os.stat(on_disk(other), dir_fd=folder, follow_symlinks=False)
            except OSError:
                return False
            return True

    def try_name(self, name: str, path: str) -> None:
        """Raise UnsafePathError if the volume does not take the name of a path."""
        with self._named(name, path):
            pass

    @contextlib.contextmanager
    def _named(self, name: str, path: str) -> Iterator[Descriptor]:
        """A new directory with an empty file of this name, while the block runs."""
        probe = self.free_name("probe")
        with writing("making a directory in", f"{self._place}/{STATE}/{PARTS}"):
            os.mkdir(probe, 0o700, dir_fd=self.parts)
            folder = Descriptor(os.open(probe, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.parts))
        try:
            with writing("checking the listing's name", repr(path)):
                try:
                    os.close(os.open(on_disk(name), _CREATE | os.O_EXCL, 0o600, dir_fd=folder))
                except FileNotFoundError as error:  # SMB's word for a name that it cannot have
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
            yield folder
        finally:
            shutil.rmtree(probe, ignore_errors=True, dir_fd=self.parts)

    # Files that are being made

    @property
    def parts(self) -> int:
        """The directory of files that are being made."""
        assert self._parts is not None, "prepare() first"
        return self._parts

    def free_name(self, kind: str = "tmp") -> str:
        """A name in parts that nobody else uses."""
        return f"{self._nonce}-{next(self._serial)}.{kind}"

    def make(self, mode: int, kind: str = "tmp") -> tuple[str, int]:
        """A new file in parts: its name, and a descriptor to write it. Raises OSError."""
        name = self.free_name(kind)
        return name, os.open(name, _CREATE | os.O_EXCL, mode, dir_fd=self.parts)

    def drop(self, name: str) -> None:
        """Delete a file in parts, which another process may have swept away."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.parts)

    def scratch(self) -> int:
        """A descriptor of a nameless file on the volume, for sorting."""
        name, fd = self.make(0o600)
        self.drop(name)
        return fd

    def open_partial(self, name: str) -> tuple[Descriptor, Descriptor]:
        """Descriptors of a partial file and of its journal, which are created if they do not exist."""
        with writing("opening the partial file of", name):
            data = Descriptor(os.open(name, _CREATE, 0o600, dir_fd=self.parts))
            journal = os.open(_journal(name), _CREATE | os.O_APPEND, 0o600, dir_fd=self.parts)
            return data, Descriptor(journal)

    def adopted(self, name: str) -> None:
        """Delete the journal of a partial file that has its place."""
        self.drop(_journal(name))

    def partials(self) -> dict[str, int]:
        """The names of the partial files, and the bytes that they occupy."""
        found = {}
        for name in os.listdir(self.parts):
            if name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError):
                    data = name.removesuffix(".journal")
                    blocks = os.stat(data, dir_fd=self.parts, follow_symlinks=False).st_blocks
                    found[data] = blocks * 512
        return found

    def sweep(self, keep: set[str]) -> None:
        """Delete everything in parts but the partial files named, and the journals of finished files."""
        kept = keep | {_journal(name) for name in keep}
        for name in os.listdir(self.parts):
            if name not in kept and not fnmatch.fnmatch(name, JOURNALS):
                with contextlib.suppress(OSError):  # what cannot be deleted harms nobody
                    try:
                        os.unlink(name, dir_fd=self.parts)
                    except IsADirectoryError:
                        shutil.rmtree(name, dir_fd=self.parts)

    # State files

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a file below .dsload, such as `inventory.jsonl`. Raises OSError."""
        folder, _, leaf = name.rpartition("/")
        return os.open(leaf, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=self._open_folder(folder))

    def _open_folder(self, folder: str) -> Descriptor:
        directory = self._directories.step(self._directories.target, STATE, create=False)
        return self._directories.step(directory, folder, create=False) if folder else directory

    def read(self, name: str) -> Iterator[bytes]:
        """The lines of a state file; none if it does not exist."""
        with writing("reading", f"{self._place}/{STATE}/{name}"):
            try:
                fd = self.open(name, os.O_RDONLY | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                return
            with open(fd, "rb") as file:
                yield from file

    def names(self, pattern: str, folder: str = "") -> list[str]:
        """The names of state files of a pattern (fnmatch), sorted."""
        try:
            return sorted(fnmatch.filter(os.listdir(self._open_folder(folder)), pattern))
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextlib.contextmanager
    def replace(self, name: str) -> Iterator[int]:
        """A descriptor to write a state file anew; it takes the old one's place, synced, when the block ends."""
        assert self._folder is not None, "prepare() first"
        with writing("writing", f"{STATE}/{name}"):
            temporary, fd = self.make(0o644)
            try:
                yield fd
                self._stamp.exactly(fd, self._stamp.ownership.mode & 0o666 | 0o600, f"{STATE}/{name}")
                os.fsync(fd)
            except BaseException:
                self.drop(temporary)
                raise
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=self.parts, dst_dir_fd=self._folder)
            os.fsync(self._folder)

    def remove(self, name: str) -> None:
        """Delete a file below .dsload, for good; it may be missing."""
        with writing("deleting", f"{STATE}/{name}"), contextlib.suppress(FileNotFoundError):
            directory = self._open_folder("")
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)


def _journal(partial: str) -> str:
    return f"{partial}.journal"
