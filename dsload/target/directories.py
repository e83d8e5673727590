"""Open directories of the target: every path is walked down from it, through no symlink."""

import contextlib
import os
import resource
from collections import OrderedDict
from threading import Lock

from dsload.errors import UnsafePathError
from dsload.names import folded, on_disk
from dsload.target.ownership import NEW, Stamp, is_new

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a file, whatever it turns out to be
_MOST_OPEN = 256
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Descriptor(int):
    """An open file or directory; closes itself when its last user lets go of it, on whatever thread."""

    def __del__(self) -> None:
        os.close(self)


class Directories:
    """The directories of a target, opened when they are needed. Any thread may call.

    Args:
        target: the one that paths are relative to.
        stamp: for directories that are made.
    """

    def __init__(self, target: Descriptor, stamp: Stamp) -> None:
        self.target, self._stamp = target, stamp
        self._open: OrderedDict[str, Descriptor] = OrderedDict()
        self._most = max(8, min(_MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._lock = Lock()

    def step(self, parent: Descriptor, name: str, create: bool) -> Descriptor:
        """The directory of this name in an open one; it is made if it is missing and may be. Raises OSError."""
        try:
            directory = Descriptor(os.open(on_disk(name), _FLAGS, dir_fd=parent))
        except FileNotFoundError:
            if not create:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(on_disk(name), NEW, dir_fd=parent)
            directory = Descriptor(os.open(on_disk(name), _FLAGS, dir_fd=parent))
        if create and is_new(directory):
            self._stamp.directory(directory, name)
        return directory

    def open(self, path: str, create: bool = True) -> Descriptor:
        """The directory at a path below the target, "" for the target itself. Raises OSError and UnsafePathError."""
        missing: list[str] = []
        with self._lock:
            while path and path not in self._open:
                missing.append(path)
                path = path.rpartition("/")[0]
            directory = self._open[path] if path else self.target
            if path:
                self._open.move_to_end(path)
        for path in reversed(missing):
            name = path.rpartition("/")[2]
            _check_name(name)
            directory = self.step(directory, name, create)
            if not create and is_new(directory):
                continue  # not to be taken from here when it is to be written to
            with self._lock:
                directory = self._open.setdefault(path, directory)
                if len(self._open) > self._most:
                    self._open.popitem(last=False)
        return directory

    def locate(self, path: str, create: bool = False) -> tuple[Descriptor, bytes]:
        """The directory that a path lies in, and its name there on disk.

        Raises as open() does, and for a name such as `..`.
        """
        parent, _, name = path.rpartition("/")
        _check_name(name)
        return self.open(parent, create), on_disk(name)

    def forget(self, path: str) -> None:
        """Let go of a directory that may be deleted, under whatever name the volume has given it out."""
        form = folded(path)
        with self._lock:
            for known in [known for known in self._open if len(known) == len(path) or not known.isascii()]:
                if folded(known) == form:
                    del self._open[known]

    def forget_tree(self, path: str) -> None:
        """Let go of a directory that is deleted, and of all below it."""
        with self._lock:
            for known in [known for known in self._open if f"{known}/".startswith(f"{path}/")]:
                del self._open[known]


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UnsafePathError("opening", repr(name), "a file in the target cannot have this name")
