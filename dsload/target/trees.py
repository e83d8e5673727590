"""Trees that another program makes on the volume: given their owner, put in place and deleted as a whole."""

import contextlib
import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from dsload.errors import UnsafePathError
from dsload.names import STATE, from_disk, on_disk
from dsload.target.directories import READ, Directories
from dsload.target.oserror import writing
from dsload.target.ownership import Stamp

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)

_libc = ctypes.CDLL(None, use_errno=True)


class Trees:
    """Whole directories of a target.

    Args:
        directories: of the target.
        stamp: for what lies in them.
        place: the target.
    """

    def __init__(self, directories: Directories, stamp: Stamp, place: Path) -> None:
        self._directories, self._stamp, self._place = directories, stamp, place

    def make_folder(self, path: str) -> Path:
        """Make a folder for a program's own use, which keeps its owner; where it is."""
        with writing("making the directory", path):
            directory, name = self._directories.locate(path, create=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=directory)
        return self._place / path

    def own(self, path: str = "") -> Iterator[tuple[str, os.stat_result, bool]]:
        """Give all that lies in a directory its owner, mode and whole seconds, as files that dsload makes have them.

        Args:
            path: of the directory, "" for the target.

        Returns:
            the path of each file and symlink, what lstat said of it before, and whether it was executable.

        Raises:
            UnsafePathError: something is neither a file, a directory nor a symlink.
        """
        pending = [path]
        links: dict[int, bool] = {}  # of files with several names, which are changed under the first
        while pending:
            folder = pending.pop()
            with writing("changing the owner of", folder or str(self._place)):
                directory = self._directories.open(folder, create=False)
                if folder:
                    self._stamp.directory(directory, folder)
                with os.scandir(directory) as children:
                    for child in children:
                        name = os.fsencode(child.name)
                        below = f"{folder}/{from_disk(name)}" if folder else from_disk(name)
                        found = child.stat(follow_symlinks=False)
                        if not stat.S_ISDIR(found.st_mode):
                            executable = bool(found.st_mode & 0o111)
                            if found.st_nlink > 1:
                                executable = links.setdefault(found.st_ino, executable)
                            self._own_found(name, directory, below, found, executable)
                            yield below, found, executable
                        elif below != STATE:
                            pending.append(below)

    def _own_found(self, name: bytes, directory: int, path: str, found: os.stat_result, executable: bool) -> None:
        if stat.S_ISLNK(found.st_mode):
            if not self._stamp.fits(found, executable=False):
                self._stamp.link(name, directory, path)
            return
        if not stat.S_ISREG(found.st_mode):
            raise UnsafePathError("checking", path, "it is neither a file, a directory nor a symlink", "remove it")
        part = found.st_mtime_ns % 1_000_000_000
        if part or not self._stamp.fits(found, executable):
            fd = os.open(name, READ, dir_fd=directory)
            try:
                if part:
                    os.utime(fd, ns=(found.st_mtime_ns - part,) * 2)
                self._stamp.file(fd, executable, path)
            finally:
                os.close(fd)

    def rename(self, path: str, other: str) -> None:
        """Give a directory another name, which must be free, in the directory that it lies in."""
        with writing("putting in place", other):
            directory, name = self._directories.locate(path)
            os.rename(name, on_disk(other.rpartition("/")[2]), src_dir_fd=directory, dst_dir_fd=directory)

    def remove(self, path: str) -> None:
        """Delete a directory and all below it, or whatever else lies there; it may be missing."""
        with writing("deleting", path), contextlib.suppress(FileNotFoundError):
            directory, name = self._directories.locate(path)
            self._directories.forget_tree(path)
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)

    def swap(self, new: str, current: str, old: str) -> None:
        """Put one directory in the place of another, all in one directory; at once if the volume can (renameat2).

        Args:
            new: what takes the place.
            current: the place.
            old: where what was there goes, if there was anything; must be free.
        """
        with writing("putting in place", current):
            directory, name = self._directories.locate(current)
            made, gone = (on_disk(path.rpartition("/")[2]) for path in (new, old))
            if _exchanged(directory, made, name):
                os.rename(made, gone, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(name, gone, src_dir_fd=directory, dst_dir_fd=directory)
                os.rename(made, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)


def _exchanged(directory: int, new: bytes, current: bytes) -> bool:
    """Swap two names of a directory; whether both exist and the volume can."""
    try:
        code: int = _libc.renameat2(directory, new, directory, current, _EXCHANGE)
    except AttributeError:  # a C library that does not have it
        return False
    return code == 0
