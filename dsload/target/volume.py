"""The target on its volume: looking, and putting files in place. Nothing here ever leaves the target.

Every path is walked down from the target's descriptor with O_NOFOLLOW, so that a symlink that somebody planted
cannot lead a write, a chown or a delete elsewhere. A file is made in `.dsload/parts`, gets its content, mode and
owner there, and appears under its name by rename.
"""

import ctypes
import errno
import os
import stat
import time
from pathlib import Path
from typing import Self

from dsload.errors import OwnershipError, UnsafePathError, UsageError, VolumeError
from dsload.names import from_disk, on_disk
from dsload.secrets import logger
from dsload.target.directories import READ, Descriptor, Directories
from dsload.target.oserror import from_oserror, reason, writing
from dsload.target.ownership import Ownership, Stamp, check_mode
from dsload.target.space import Space
from dsload.target.state import State
from dsload.target.trees import Trees

log = logger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)


class Volume:
    """A target directory, open. Make one with `Volume.open`.

    Attributes:
        path: of the target.
        ownership: of what is made.
        state: dsload's own files.
        trees: whole directories, which another program makes.
        space: what is free.
    """

    def __init__(self, path: Path, directories: Directories, stamp: Stamp) -> None:
        self.path, self.ownership = path, stamp.ownership
        self._directories, self._stamp = directories, stamp
        self._stamped: set[str] = set()
        self.state = State(directories, stamp, path)
        self.trees = Trees(directories, stamp, path)
        self.space = Space(directories, path)

    @classmethod
    def open(cls, root: Path, mount_path: str, ownership: Ownership, create: bool = True) -> Self:
        """Open `<root>/<mount_path>`, creating what is missing of mount_path but not the root.

        Raises:
            UsageError: mount_path has `..`.
            OwnershipError: the mode is one that only root could work with.
            VolumeError: the root does not exist or is not a directory, or a part of the path cannot be made.
        """
        names = split_mount_path(mount_path)
        if create:
            check_mode(ownership)
        path = root.joinpath(*names)
        try:
            top = Descriptor(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            fix = "mount the volume there, or make the directory"
            raise VolumeError("opening the mount root", str(root), reason(error), fix) from None
        stamp = Stamp(ownership, path)
        directories = Directories(top, stamp)
        for depth, name in enumerate(names, 1):
            with writing("opening the target", str(root.joinpath(*names[:depth]))):
                directories.target = directories.step(directories.target, name, create)
        return cls(path, directories, stamp)

    def prepare(self) -> None:
        """Make the target's state directory, and prove that owner, mode and times can be set on the volume.

        Raises:
            VolumeError: the target cannot be written.
            OwnershipError: uid, gid or mode do not stick, and the policy requires them.
        """
        with writing("preparing the target", str(self.path)):
            self.state.prepare()

    def own_target(self) -> None:
        """Give the target directory itself its owner and mode; with the lease held, as another load may own it."""
        self._own(self._directories.target, str(self.path))

    def own_folder(self, path: str) -> None:
        """Give a directory that may have been there before its owner and mode."""
        with writing("changing the owner of", path):
            self._own(self._directories.open(path, create=False), str(self.path / path))

    def _own(self, directory: Descriptor, place: str) -> None:
        """What was there before may belong to somebody else, who lets this process write to it: that is enough."""
        with writing("changing the owner of", place):
            try:
                self._stamp.directory(directory, place)
            except OwnershipError:
                found = os.fstat(directory)
                owner, mode = f"{found.st_uid}:{found.st_gid}", stat.S_IMODE(found.st_mode)
                log.warning("%s was there before and cannot be given away: it stays %s, %04o", place, owner, mode)

    def sync(self) -> None:
        """Everything written to the volume so far is on its disk when this returns (Linux syncfs)."""
        with writing("syncing", str(self.path)):
            if _libc.syncfs(int(self._directories.target)) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    # Looking

    def look(self, path: str) -> os.stat_result | None:
        """lstat of a path below the target, None if it does not exist.

        Raises:
            UnsafePathError: a symlink or a file is where one of its directories should be.
        """
        try:
            directory, name = self._directories.locate(path)
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                fix = f"remove what is in the way in {self.path}"
                why = "one of its directories is a symlink or a file on the target"
                raise UnsafePathError("checking", path, why, fix) from None
            raise from_oserror(error, "checking", path) from error

    def is_directory(self, path: str) -> bool:
        """Whether a path is a directory that can be reached through no symlink."""
        try:
            found = self.look(path)
        except UnsafePathError:
            return False
        return found is not None and stat.S_ISDIR(found.st_mode)

    def link_target(self, path: str) -> str:
        """The target of the symlink at a path."""
        directory, name = self._directories.locate(path)
        return from_disk(os.readlink(name, dir_fd=directory))

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        """Whether owner and mode are as asked for."""
        return self._stamp.fits(found, executable)

    def open_file(self, path: str) -> int:
        """A descriptor to read a regular file; no symlink is followed. Raises OSError."""
        directory, name = self._directories.locate(path)
        return os.open(name, READ, dir_fd=directory)

    # Putting files in place

    def place(self, path: str, data: bytes, executable: bool) -> int:
        """Put a small file in place, whole and owned; its mtime in nanoseconds."""
        with writing("writing", path):
            name, fd = self.state.make(0o600)
            try:
                _write_all(fd, data)
                mtime = self._finish(fd, path, executable)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                self._rename(name, path)
            except BaseException:
                self.state.drop(name)
                raise
            finally:
                os.close(fd)
            return mtime

    def finish_partial(self, fd: int, path: str, executable: bool) -> int:
        """Give a partial file that is whole its time, owner and mode, and sync it; its mtime in nanoseconds."""
        with writing("writing", path):
            mtime = self._finish(fd, path, executable)
            os.fsync(fd)
            return mtime

    def adopt(self, name: str, path: str) -> None:
        """Put a partial file that is finished in place."""
        with writing("writing", path):
            self._rename(name, path)
            self.state.adopted(name)

    def place_link(self, path: str, target: str) -> None:
        """Put a symlink in place."""
        with writing("writing the symlink", path):
            name = self.state.free_name()
            os.symlink(on_disk(target), on_disk(name), dir_fd=self.state.parts)
            self._stamp.link(on_disk(name), self.state.parts, path)
            self._rename(name, path)

    def place_directory(self, path: str) -> None:
        """Make a directory, its parents too."""
        with writing("making the directory", path):
            self._stamp.directory(self._directories.open(path), path)

    def _rename(self, name: str, path: str) -> None:
        directory, leaf = self._directories.locate(path, create=True)
        os.rename(name, leaf, src_dir_fd=self.state.parts, dst_dir_fd=directory)

    def _finish(self, fd: int, path: str, executable: bool) -> int:
        now = int(time.time()) * 1_000_000_000  # whole seconds: every file system keeps them
        os.utime(fd, ns=(now, now))
        return self._stamp.file(fd, executable, path).st_mtime_ns

    # Changing what is in place

    def stamp(self, path: str, executable: bool) -> None:
        """Give a file, directory or symlink that is in place the owner and mode asked for."""
        with writing("changing the owner of", path):
            directory, name = self._directories.locate(path)
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            self._stamp_folders(path, (found.st_uid, found.st_gid))
            if stat.S_ISLNK(found.st_mode):
                self._stamp.link(name, directory, path)
                return
            fd = os.open(name, READ, dir_fd=directory)
            try:
                if stat.S_ISDIR(os.fstat(fd).st_mode):
                    self._stamp.directory(fd, path)
                else:
                    self._stamp.file(fd, executable, path)
            finally:
                os.close(fd)

    def _stamp_folders(self, path: str, owner: tuple[int, int]) -> None:
        """Stamp the directories above, as far as they have the owner that the file had: an earlier load made them."""
        path = path.rpartition("/")[0]
        while path and path not in self._stamped:
            self._stamped.add(path)
            directory = self._directories.open(path, create=False)
            found = os.fstat(directory)
            if (found.st_uid, found.st_gid) == owner:
                self._stamp.directory(directory, path)
            path = path.rpartition("/")[0]

    def remove(self, path: str) -> None:
        """Delete a file or symlink, or a directory that is empty; then the directories that this leaves empty."""
        with writing("deleting", path):
            try:
                directory, name = self._directories.locate(path)
                try:
                    os.unlink(name, dir_fd=directory)
                except IsADirectoryError:
                    os.rmdir(name, dir_fd=directory)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            self._prune(path.rpartition("/")[0])

    def _prune(self, path: str) -> None:
        while path:
            self._directories.forget(path)
            try:
                directory, name = self._directories.locate(path)
                os.rmdir(name, dir_fd=directory)
            except OSError:
                return
            path = path.rpartition("/")[0]


def split_mount_path(path: str) -> list[str]:
    """The names of a path below the mount root. Raises UsageError if it leads out of it."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names or "\0" in path:
        fix = "name a directory below --mount-root"
        raise UsageError("reading", f"--mount-path {path!r}", "it leads out of the mount root", fix)
    return names


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
