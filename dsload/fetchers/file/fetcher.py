"""FILE: a folder or one file of a file system that is mounted here."""

import errno
import os
import stat
from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass
from typing import cast

from dsload.errors import (
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UnsafePathError,
)
from dsload.fetchers.base import Context
from dsload.fetchers.file.spec import FileConfig
from dsload.fetchers.folders import left_out, opens, to_exclude
from dsload.listing import BytesReader, Entry, Listing
from dsload.names import from_disk, on_disk
from dsload.source import Source


class File:
    """Lists with os.scandir; symlinks stay symlinks, and special files are refused.

    What the filter excludes is neither opened nor looked at: its entries have a path alone.
    """

    def __init__(self, source: Source, context: Context) -> None:
        self._root = cast(FileConfig, source.config).root
        self._source, self._select = str(source), source.filter

    def list(self) -> Listing:
        """Every file, symlink and empty directory below the path; one entry if the path is a file."""
        try:
            found = os.stat(on_disk(self._root))
        except OSError as error:
            raise unreadable(error, "listing", self._source) from error
        if not stat.S_ISDIR(found.st_mode):
            reader = FileReader(os.path.dirname(self._root), self._source)
            return Listing([self._file(os.path.basename(self._root), found, reader)])
        closed: list[str] = []
        entries = list(self._walk(FileReader(self._root, self._source), closed))
        return Listing(entries, closed=tuple(closed))

    def _walk(self, reader: "FileReader", closed: MutableSequence[str]) -> Iterator[Entry]:
        pending: list[tuple[str, _Place | None]] = [("", None)]
        while pending:
            folder, above = pending.pop()
            if not opens(self._select, folder):
                continue
            try:
                place = self._place(folder, above)
                with os.scandir(place.at) as children:
                    found = sorted(children, key=lambda child: child.name)
                if not found and folder:
                    yield Entry(folder, 0, "", reader, directory=True)
                for child in found:
                    name = from_disk(child.name)
                    path = f"{folder}/{name}" if folder else name
                    if child.is_dir(follow_symlinks=False):
                        pending.append((path, place))
                    else:
                        yield self._entry(path, child, reader)
            except OSError as error:
                if not left_out(self._select, folder):
                    raise self._unopened(error, folder) from error
                closed.append(folder)

    def _place(self, folder: str, above: "_Place | None") -> "_Place":
        """A folder as it is now. Raises UnsafePathError if it is one of those that it lies in, as with a bind mount."""
        at = on_disk(os.path.join(self._root, folder) if folder else self._root)
        found = os.stat(at, follow_symlinks=not folder)
        place = _Place(at, (found.st_dev, found.st_ino), above)
        while above:
            if found.st_ino and above.id == place.id and _names(above.at) == _names(at):
                why = f"this folder is the same as {from_disk(above.at)}, in which it lies"
                fix = f"leave it out by {to_exclude(folder)}"
                raise UnsafePathError("listing", f"{folder} of {self._source}", why, fix)
            above = above.above
        return place

    def _unopened(self, error: OSError, folder: str) -> DsloadError:
        """The error for a folder that cannot be listed."""
        where = f"{folder} of {self._source}" if folder else self._source
        if folder and isinstance(error, FileNotFoundError | NotADirectoryError):
            return _changed(where, "it has disappeared since it was listed")
        failure = unreadable(error, "listing", where)
        if folder:
            failure.fix = f"{failure.fix}, or leave it out by {to_exclude(folder)}"
        return failure

    def _entry(self, path: str, child: "os.DirEntry[bytes]", reader: "FileReader") -> Entry:
        if not self._select(path):
            return Entry(path, 0, "", reader)
        if child.is_symlink():
            target = from_disk(os.readlink(child.path))
            return Entry(path, 0, target, reader, symlink=target)
        return self._file(path, child.stat(follow_symlinks=False), reader)

    def _file(self, path: str, found: os.stat_result, reader: "FileReader") -> Entry:
        if not stat.S_ISREG(found.st_mode) and self._select(path):
            why = "it is not a file, a directory or a symlink"
            fix = f"remove it from the source, or leave it out by -o exclude='{path}'"
            raise RefusedError("listing", f"{path} of {self._source}", why, fix)
        executable = bool(found.st_mode & 0o111)
        return Entry(path, found.st_size, _version(found), reader, executable=executable)


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder that is being listed.

    Args:
        at: its path on this machine.
        id: device and inode.
        above: the folder that it lies in, None for the source itself.
    """

    at: bytes
    id: tuple[int, int]
    above: "_Place | None"


def _names(folder: bytes) -> set[bytes]:
    """What lies in a folder: a file system may have one inode for all of them."""
    return set(os.listdir(folder))


class FileReader(BytesReader):
    """Reads files below a folder."""

    def __init__(self, root: str, source: str) -> None:
        self._root, self._source = root, source

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes start to end of the file, as it was when it was listed."""
        where = f"{entry.path} of {self._source}"
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that has taken its place would be waited for
        try:
            fd = os.open(on_disk(os.path.join(self._root, entry.path)), flags)
            try:
                if _version(os.fstat(fd)) != entry.version:
                    raise _changed(where, "it has been written to since it was listed")
                more = int(end == entry.size)
                data = os.pread(fd, end - start + more, start)
                os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            raise _changed(where, "it has disappeared since it was listed") from error
        except OSError as error:
            raise unreadable(error, "reading", where) from error
        if len(data) > end - start:
            raise _changed(where, f"it has more than the {entry.size:,} bytes that its file system states")
        return data


def _changed(where: str, why: str) -> ChangedError:
    """The error for a file or folder that is not as it was listed."""
    return ChangedError("reading", where, why, "run the same command again")


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def unreadable(error: OSError, doing: str, where: str) -> DsloadError:
    """The one place where the operating system's errors on a source become dsload's."""
    why = (error.strerror or str(error)).lower()
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(doing, where, why, "check the path")
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return UnsafePathError(doing, where, why, "check the path")
    if isinstance(error, PermissionError):
        return RefusedError(doing, where, why, "run as a user who may read it")
    return UnreachableError(doing, where, why, "check the file system of the source")
