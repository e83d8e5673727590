"""The target on its volume: the only module that writes there, and it never leaves the target.

Every path is walked down from the target's descriptor with O_NOFOLLOW, so that a symlink that somebody planted
cannot lead a write, a chown or a delete elsewhere. A file is made in `.dsload/parts`, gets its content, mode and
owner there, and appears under its name by rename.
"""

import contextlib
import ctypes
import errno
import fnmatch
import itertools
import os
import resource
import secrets
import shutil
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal, Self

from dsload.errors import (
    DsloadError,
    NoSpaceError,
    NotFoundError,
    OwnershipError,
    UnsafePathError,
    UsageError,
    VolumeError,
)
from dsload.names import STATE

PARTS = "parts"
JOURNALS = "files*.jsonl"  # of finished files, one for each shard of a load
_OPEN_DIRS = 256
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = 0o1700  # the mode of a directory that has not got its owner yet, should a kill come in between
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSALS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # EINVAL: outside a user namespace
_SPECIAL = 0o7000
_MODE_FIRST = ("mode", "owner")
_OWNER_FIRST = ("owner", "mode")
_MARGIN = 16 << 20  # bytes left free for directories and state
_LITTLE = 64 << 10  # bytes
_SPARE_INODES = 32  # for what is under way, and state
_BLOCK = 4096  # bytes; a file takes whole ones. What NFS calls its block is larger, and no file takes as much

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_REMOVE = "remove it"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns what a load creates.

    Args:
        uid, gid: numeric.
        mode: of files, such as 0o755; directories get x wherever it has r if it has no x at all.
        policy: "require" fails where it cannot be applied, "try" goes on, "skip" does not try.
    """

    uid: int
    gid: int
    mode: int = 0o755
    policy: Literal["require", "try", "skip"] = "require"

    @property
    def directory_mode(self) -> int:
        """The mode of directories."""
        return self.mode if self.mode & 0o111 else _add_x(self.mode)

    def file_mode(self, executable: bool) -> int:
        """The mode of a file; one that is executable at its source gains x wherever the mode has r."""
        return _add_x(self.mode) if executable else self.mode


def _add_x(mode: int) -> int:
    return mode | (mode & 0o444) >> 2


class Descriptor(int):
    """An open file or directory; closes itself when its last user lets go of it, on whatever thread."""

    def __del__(self) -> None:
        os.close(self)


class Volume:
    """A target directory, open. Make one with `Volume.open`."""

    def __init__(self, path: Path, target: Descriptor, ownership: Ownership) -> None:
        self.path = path
        self.ownership = ownership
        self._target = target
        self._dirs: OrderedDict[str, Descriptor] = OrderedDict()
        self._most_dirs = max(8, min(_OPEN_DIRS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._stamped: set[str] = set()
        self._lock = Lock()
        self._serial = itertools.count()
        self._nonce = secrets.token_hex(4)
        self._state: Descriptor | None = None
        self._parts: Descriptor | None = None

    @classmethod
    def open(cls, root: Path, mount_path: str, ownership: Ownership, create: bool = True) -> Self:
        """Open `<root>/<mount_path>`, creating what is missing of mount_path but not the root.

        Raises:
            UsageError: mount_path has `..`.
            OwnershipError: the mode is one that only root could work with.
            VolumeError: the root is not there, or not a directory, or a part of the path cannot be made.
        """
        names = split_mount_path(mount_path)
        if create:
            _check_mode(ownership)
        path = root.joinpath(*names)
        try:
            current = Descriptor(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            fix = "mount the volume there, or make the directory"
            raise VolumeError("opening the mount root", str(root), _reason(error), fix) from None
        volume = cls(path, current, ownership)
        for depth, name in enumerate(names, 1):
            where = str(root.joinpath(*names[:depth]))
            with writing("opening the target", where):
                volume._target = volume._step(volume._target, name, create)
        return volume

    def prepare(self) -> None:
        """Make the target's state directory, and prove that owner, mode and times can be set on the volume.

        Raises:
            VolumeError: the target cannot be written.
            OwnershipError: uid, gid or mode do not stick, and the policy requires them.
        """
        with writing("preparing the target", str(self.path)):
            self._state = self._step(self._target, STATE, create=True)
            self._parts = self._step(self._state, PARTS, create=True)
            self._probe()

    def own_target(self) -> None:
        """Give the target directory itself its owner and mode; with the lease held, as another load may own it."""
        with writing("changing the owner of", str(self.path)):
            self._own_directory(self._target, str(self.path))

    def _probe(self) -> None:
        name = f"{self._nonce}.probe"
        fd = os.open(name, _CREATE | os.O_EXCL, 0o600, dir_fd=self._in_parts)
        try:
            os.write(fd, b"probe")
            self._own(fd, self.ownership.mode, "a probe file")
        finally:
            os.close(fd)
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Delete a temporary file, which another process may have swept away."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._in_parts)

    @property
    def _in_parts(self) -> int:
        assert self._parts is not None, "prepare() first"
        return self._parts

    # Directories

    def _step(self, parent: Descriptor, name: str, create: bool) -> Descriptor:
        try:
            directory = Descriptor(os.open(name, _DIRECTORY, dir_fd=parent))
        except FileNotFoundError:
            if not create:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, _NEW, dir_fd=parent)
            directory = Descriptor(os.open(name, _DIRECTORY, dir_fd=parent))
        if create and _is_new(directory):
            self._own_directory(directory, name)
        return directory

    def _own_directory(self, fd: int, name: str) -> None:
        self._own(fd, self.ownership.directory_mode, f"the directory {name}", chown_first=True)

    def _dir(self, path: str, create: bool = True) -> Descriptor:
        """The directory `path` below the target ("" for the target), through no symlink."""
        missing: list[str] = []
        with self._lock:
            while path and path not in self._dirs:
                missing.append(path)
                path = path.rpartition("/")[0]
            directory = self._dirs[path] if path else self._target
            if path:
                self._dirs.move_to_end(path)
        for path in reversed(missing):
            name = path.rpartition("/")[2]
            _check_name(name)
            directory = self._step(directory, name, create)
            if not create and _is_new(directory):
                continue  # not to be taken from here when it is to be written to
            with self._lock:
                directory = self._dirs.setdefault(path, directory)
                if len(self._dirs) > self._most_dirs:
                    self._dirs.popitem(last=False)
        return directory

    def _locate(self, path: str, create: bool = False) -> tuple[Descriptor, str]:
        """The directory that a path lies in, and its name there. Raises UnsafePathError for a name such as `..`."""
        parent, _, name = path.rpartition("/")
        _check_name(name)
        return self._dir(parent, create), name

    # Looking

    def look(self, path: str) -> os.stat_result | None:
        """lstat of a path below the target, None where it is not there.

        Raises:
            UnsafePathError: a symlink or a file is where one of its directories should be.
        """
        try:
            directory, name = self._locate(path)
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
        """Whether a directory is there, and can be reached through no symlink."""
        try:
            found = self.look(path)
        except UnsafePathError:
            return False
        return found is not None and stat.S_ISDIR(found.st_mode)

    def link_target(self, path: str) -> str:
        """Where the symlink at a path points."""
        directory, name = self._locate(path)
        return os.readlink(name, dir_fd=directory)

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        """Whether owner and mode are as asked for."""
        if self.ownership.policy == "skip":
            return True
        if stat.S_ISLNK(found.st_mode):
            return (found.st_uid, found.st_gid) == (self.ownership.uid, self.ownership.gid)
        mode = self.ownership.directory_mode if stat.S_ISDIR(found.st_mode) else self.ownership.file_mode(executable)
        wanted = (self.ownership.uid, self.ownership.gid, mode)
        return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == wanted

    def open_file(self, path: str) -> int:
        """A descriptor to read a regular file; no symlink is followed. Raises OSError."""
        directory, name = self._locate(path)
        return os.open(name, _READ, dir_fd=directory)

    # Putting files in place

    def place(self, path: str, data: bytes, executable: bool) -> int:
        """Put a small file in place, whole and owned; its mtime in nanoseconds."""
        with writing("writing", path):
            name = self._temporary()
            fd = os.open(name, _CREATE | os.O_EXCL, 0o600, dir_fd=self._in_parts)
            try:
                _write_all(fd, data)
                mtime = self._finish(fd, path, executable)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                self._rename(name, path)
            except BaseException:
                os.unlink(name, dir_fd=self._in_parts)
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
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}.journal", dir_fd=self._in_parts)

    def place_link(self, path: str, target: str) -> None:
        """Put a symlink in place."""
        with writing("writing the symlink", path):
            name = self._temporary()
            os.symlink(target, name, dir_fd=self._in_parts)
            if self.ownership.policy != "skip":
                self._chown(name, path)
            self._rename(name, path)

    def place_directory(self, path: str) -> None:
        """Make a directory, its parents too."""
        with writing("making the directory", path):
            directory = self._dir(path)
            self._own_directory(directory, path)

    def stamp(self, path: str, executable: bool) -> None:
        """Give a file, directory or symlink that is in place the owner and mode asked for."""
        with writing("changing the owner of", path):
            directory, name = self._locate(path)
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            self._stamp_folders(path, (found.st_uid, found.st_gid))
            if stat.S_ISLNK(found.st_mode):
                self._chown(name, path, directory)
                return
            fd = os.open(name, _READ, dir_fd=directory)
            try:
                is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
                mode = self.ownership.directory_mode if is_directory else self.ownership.file_mode(executable)
                self._own(fd, mode, path)
            finally:
                os.close(fd)

    def _stamp_folders(self, path: str, owner: tuple[int, int]) -> None:
        """Stamp the directories above, as far as they have the owner that the file had: an earlier load made them."""
        path = path.rpartition("/")[0]
        while path and path not in self._stamped:
            self._stamped.add(path)
            directory = self._dir(path, create=False)
            found = os.fstat(directory)
            if (found.st_uid, found.st_gid) == owner:
                self._own_directory(directory, path)
            path = path.rpartition("/")[0]

    def remove(self, path: str) -> None:
        """Delete a file or symlink, or a directory that is empty; then the directories that this leaves empty."""
        with writing("deleting", path):
            try:
                directory, name = self._locate(path)
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
            with self._lock:
                self._dirs.pop(path, None)
            try:
                directory, name = self._locate(path)
                os.rmdir(name, dir_fd=directory)
            except OSError:
                return
            path = path.rpartition("/")[0]

    def _rename(self, name: str, path: str) -> None:
        directory, leaf = self._locate(path, create=True)
        os.rename(name, leaf, src_dir_fd=self._in_parts, dst_dir_fd=directory)

    def _temporary(self) -> str:
        return f"{self._nonce}-{next(self._serial)}.tmp"

    def _finish(self, fd: int, path: str, executable: bool) -> int:
        now = int(time.time()) * 1_000_000_000  # whole seconds: every file system keeps them
        os.utime(fd, ns=(now, now))
        return self._own(fd, self.ownership.file_mode(executable), path).st_mtime_ns

    # Trees that another program makes on the volume

    def make_folder(self, path: str) -> Path:
        """A folder for a program's own use, which is not given away; where it is."""
        with writing("making the directory", path):
            directory, name = self._locate(path, create=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=directory)
        return self.path / path

    def own_tree(self, path: str = "") -> Iterator[tuple[str, os.stat_result, bool]]:
        """Give all that lies in a directory its owner, mode and whole seconds, as files that dsload makes have them.

        Args:
            path: of the directory, "" for the target.

        Returns:
            the path of each file and symlink, what lstat told of it before, and whether it was executable.

        Raises:
            UnsafePathError: something is neither a file, a directory nor a symlink.
        """
        pending = [path]
        links: dict[int, bool] = {}  # of files with several names, which are changed under the first
        while pending:
            folder = pending.pop()
            with writing("changing the owner of", folder or str(self.path)):
                directory = self._dir(folder, create=False)
                if folder:
                    self._own_directory(directory, folder)
                with os.scandir(directory) as children:
                    for child in children:
                        below = f"{folder}/{child.name}" if folder else child.name
                        found = child.stat(follow_symlinks=False)
                        if not stat.S_ISDIR(found.st_mode):
                            executable = bool(found.st_mode & 0o111)
                            if found.st_nlink > 1:
                                executable = links.setdefault(found.st_ino, executable)
                            self._own_found(child.name, directory, below, found, executable)
                            yield below, found, executable
                        elif below != STATE:
                            pending.append(below)

    def _own_found(self, name: str, directory: int, path: str, found: os.stat_result, executable: bool) -> None:
        if stat.S_ISLNK(found.st_mode):
            if not self.owned(found, executable=False):
                self._chown(name, path, directory)
            return
        if not stat.S_ISREG(found.st_mode):
            raise UnsafePathError("checking", path, "it is neither a file, a directory nor a symlink", _REMOVE)
        part = found.st_mtime_ns % 1_000_000_000
        if part or not self.owned(found, executable):
            fd = os.open(name, _READ, dir_fd=directory)
            try:
                if part:
                    os.utime(fd, ns=(found.st_mtime_ns - part,) * 2)
                self._own(fd, self.ownership.file_mode(executable), path)
            finally:
                os.close(fd)

    def rename(self, path: str, other: str) -> None:
        """Give a directory another name, which must be free, in the directory where it lies."""
        with writing("putting in place", other):
            directory, name = self._locate(path)
            os.rename(name, other.rpartition("/")[2], src_dir_fd=directory, dst_dir_fd=directory)

    def remove_tree(self, path: str) -> None:
        """Delete a directory and all below it, or what else is there; it may be missing."""
        with writing("deleting", path), contextlib.suppress(FileNotFoundError):
            directory, name = self._locate(path)
            with self._lock:
                for known in [known for known in self._dirs if f"{known}/".startswith(f"{path}/")]:
                    del self._dirs[known]
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)

    def swap(self, new: str, current: str, old: str) -> None:
        """Put one directory in the place of another, all in one directory; at once where the volume can (renameat2).

        Args:
            new: what takes the place.
            current: the place.
            old: where what was there goes, if there was anything; must be free.
        """
        with writing("putting in place", current):
            directory, name = self._locate(current)
            made, gone = (path.rpartition("/")[2] for path in (new, old))
            if _exchanged(directory, made, name):
                os.rename(made, gone, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(name, gone, src_dir_fd=directory, dst_dir_fd=directory)
                os.rename(made, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    # Ownership

    def _own(self, fd: int, mode: int, what: str, chown_first: bool = False) -> os.stat_result:
        """Give an open file or directory its mode and owner; what the volume made of it counts.

        The mode comes first, as it is the owner's to give, but where a chown would clear it, and on directories: until
        they have their owner, _NEW marks them.
        """
        wanted, refusal = self.ownership, ""
        for change in _OWNER_FIRST if chown_first or mode & _SPECIAL else _MODE_FIRST:
            try:
                if change == "mode":
                    os.fchmod(fd, mode)
                elif wanted.policy != "skip":
                    os.fchown(fd, wanted.uid, wanted.gid)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                refusal = f" ({_reason(error)})"
        found = os.fstat(fd)
        is_now = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        if wanted.policy == "require" and is_now != (wanted.uid, wanted.gid, mode):
            asked = f"{wanted.uid}:{wanted.gid} with mode {mode:04o} was asked for"
            why = f"{asked}, the volume made it {is_now[0]}:{is_now[1]} with {is_now[2]:04o}{refusal}"
            raise self._refused(what, why)
        return found

    def _chown(self, name: str, path: str, directory: int | None = None) -> None:
        uid, gid = self.ownership.uid, self.ownership.gid
        try:
            os.chown(name, uid, gid, dir_fd=self._in_parts if directory is None else directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            if self.ownership.policy == "require":
                raise self._refused(path, f"cannot give it to {uid}:{gid} ({_reason(error)})") from None

    def _refused(self, what: str, why: str) -> OwnershipError:
        fix = (
            f"export the volume with no_root_squash, or run as {self.ownership.uid}:{self.ownership.gid}, "
            "or ask for your own by --mount-uid and --mount-gid, or choose --ownership try"
        )
        return OwnershipError("setting the owner of", f"{what} in {self.path}", why, fix)

    # Space

    def check_space(self, sizes: list[int], there: int, freed: int, inodes: int) -> None:
        """Raise NoSpaceError where it does not fit.

        Args:
            sizes: of the files to be written, in bytes.
            there: bytes of them that are there already.
            freed: bytes of the files that they replace, one by one.
            inodes: how many files and directories more there will be.
        """
        with writing("checking the space of", str(self.path)):
            found = os.fstatvfs(self._target)
        free = found.f_bavail * found.f_frsize
        where = str(self.path)
        block = min(found.f_frsize or 1, _BLOCK)
        total = sum(-(-size // block) * block for size in sizes)
        size = max(0, total - freed - there, max(sizes, default=0) - there)
        if size + min(_MARGIN, size // 8) > free:
            why = f"{size:,} bytes are to be written and {free:,} are free"
            raise NoSpaceError("checking the space of", where, why, "make room, or give the volume a larger size")
        if found.f_files and inodes > 0 and inodes + _SPARE_INODES > found.f_favail:
            why = f"{inodes:,} files and directories are to be made and {found.f_favail:,} inodes are free"
            raise NoSpaceError("checking the inodes of", where, why, "make room, or use a volume with more inodes")

    def full(self) -> bool:
        """Whether next to nothing is free."""
        found = os.fstatvfs(self._target)
        return found.f_bavail * found.f_frsize < _LITTLE or (bool(found.f_files) and found.f_favail < _SPARE_INODES)

    def sync(self) -> None:
        """Everything written to the volume so far is on its disk when this returns (Linux syncfs)."""
        with writing("syncing", str(self.path)):
            if _libc.syncfs(int(self._target)) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    # State: files in .dsload, and partial files in .dsload/parts

    def open_partial(self, name: str) -> tuple[Descriptor, Descriptor]:
        """Descriptors of a partial file and of its journal, created where they are not there."""
        with writing("opening the partial file of", name):
            data = Descriptor(os.open(name, _CREATE, 0o600, dir_fd=self._in_parts))
            journal = os.open(f"{name}.journal", _CREATE | os.O_APPEND, 0o600, dir_fd=self._in_parts)
            return data, Descriptor(journal)

    def partials(self) -> dict[str, int]:
        """The partial files that are there, with the bytes that they occupy."""
        found = {}
        for name in os.listdir(self._in_parts):
            if name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError):
                    data = name.removesuffix(".journal")
                    blocks = os.stat(data, dir_fd=self._in_parts, follow_symlinks=False).st_blocks
                    found[data] = blocks * 512
        return found

    def sweep(self, keep: set[str]) -> None:
        """Delete everything in parts but the partial files named, and the journal of finished files."""
        kept = keep | {f"{name}.journal" for name in keep}
        for name in os.listdir(self._in_parts):
            if name not in kept and not fnmatch.fnmatch(name, JOURNALS):
                with contextlib.suppress(OSError):  # what cannot be deleted harms nobody
                    os.unlink(name, dir_fd=self._in_parts)

    def open_state(self, name: str, flags: int) -> int:
        """A descriptor of a file below .dsload, such as `inventory.jsonl`. Raises OSError."""
        directory = self._step(self._target, STATE, create=False)
        parent, _, leaf = name.rpartition("/")
        if parent:
            directory = self._step(directory, parent, create=False)
        return os.open(leaf, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=directory)

    def read_state(self, name: str) -> Iterator[bytes]:
        """The lines of a state file; none where it is not there."""
        with writing("reading", f"{self.path}/{STATE}/{name}"):
            try:
                fd = self.open_state(name, os.O_RDONLY | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                return
            with open(fd, "rb") as file:
                yield from file

    def state_names(self, pattern: str, folder: str = "") -> list[str]:
        """The names of state files of a pattern (fnmatch), sorted."""
        try:
            directory = self._step(self._target, STATE, create=False)
            directory = self._step(directory, folder, create=False) if folder else directory
            return sorted(fnmatch.filter(os.listdir(directory), pattern))
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextlib.contextmanager
    def replace_state(self, name: str) -> Iterator[int]:
        """A descriptor to write a state file anew; it takes the old one's place, synced, when the block ends."""
        assert self._state is not None, "prepare() first"
        with writing("writing", f"{STATE}/{name}"):
            temporary = self._temporary()
            fd = os.open(temporary, _CREATE | os.O_EXCL, 0o644, dir_fd=self._in_parts)
            try:
                yield fd
                self._own(fd, self.ownership.mode & 0o666 | 0o600, f"{STATE}/{name}")
                os.fsync(fd)
            except BaseException:
                os.unlink(temporary, dir_fd=self._in_parts)
                raise
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=self._in_parts, dst_dir_fd=self._state)
            os.fsync(self._state)

    def remove_state(self, name: str) -> None:
        """Delete a file below .dsload, for good; it may be missing."""
        with writing("deleting", f"{STATE}/{name}"), contextlib.suppress(FileNotFoundError):
            directory = self._step(self._target, STATE, create=False)
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def scratch(self) -> int:
        """A descriptor of a nameless file on the volume, for sorting."""
        name = self._temporary()
        fd = os.open(name, _CREATE | os.O_EXCL, 0o600, dir_fd=self._in_parts)
        self._drop(name)
        return fd


def _exchanged(directory: int, new: str, current: str) -> bool:
    """Swap two names of a directory; whether the volume can, and both are there."""
    try:
        code: int = _libc.renameat2(directory, os.fsencode(new), directory, os.fsencode(current), _EXCHANGE)
    except AttributeError:  # a C library that does not have it
        return False
    return code == 0


def _check_mode(ownership: Ownership) -> None:
    if os.geteuid() != 0 and ownership.directory_mode & 0o300 != 0o300:
        why = "it would let dsload not write into the directories that it makes, as it is not root"
        fix = "ask for a mode with w for the owner, or run as root"
        raise OwnershipError("applying", f"--mount-mode {ownership.mode:04o}", why, fix)


def _is_new(directory: int) -> bool:
    return stat.S_IMODE(os.fstat(directory).st_mode) & ~stat.S_ISGID == _NEW


def split_mount_path(path: str) -> list[str]:
    """The names of a path below the mount root. Raises UsageError where it leads out of it."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names or "\0" in path:
        fix = "name a directory below --mount-root"
        raise UsageError("reading", f"--mount-path {path!r}", "it leads out of the mount root", fix)
    return names


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UnsafePathError("opening", repr(name), "this is no name of a file in the target")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


@contextlib.contextmanager
def writing(doing: str, where: str) -> Iterator[None]:
    """Turn an OSError of the block into the error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise from_oserror(error, doing, where) from error


def from_oserror(error: OSError, doing: str, where: str) -> DsloadError:
    """The one place where the operating system's errors on the target become dsload's."""
    why = _reason(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return NoSpaceError(doing, where, why, "make room and run the same command again to go on from here")
        case errno.ELOOP | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.EEXIST:
            return UnsafePathError(doing, where, f"something else is in the way on the target ({why})", "remove it")
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            return UnsafePathError(doing, where, f"the volume does not take this name ({why})")
        case errno.ENOENT:
            return NotFoundError(doing, where, why)
        case _:
            return VolumeError(doing, where, why, "check that the volume is mounted for writing and who owns it")
