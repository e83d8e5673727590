"""FILE: a folder or one file of a file system that is mounted here."""

import os
import stat
from collections.abc import Iterator
from typing import cast

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError, UnreachableError
from dsload.fetchers.base import Context
from dsload.fetchers.file.spec import FileConfig
from dsload.listing import BytesReader, Entry, Listing
from dsload.names import from_disk, on_disk
from dsload.source import Source


class File:
    """Lists with os.scandir; symlinks stay symlinks, and special files are refused."""

    def __init__(self, source: Source, context: Context) -> None:
        self._root = cast(FileConfig, source.config).root
        self._source = str(source)

    def list(self) -> Listing:
        """Every file, symlink and empty directory below the path; one entry if the path is a file."""
        try:
            found = os.stat(on_disk(self._root))
            if not stat.S_ISDIR(found.st_mode):
                reader = FileReader(os.path.dirname(self._root), self._source)
                return Listing([self._file(os.path.basename(self._root), found, reader)])
            return Listing(list(self._walk(FileReader(self._root, self._source))))
        except OSError as error:
            raise unreadable(error, "listing", self._source) from error

    def _walk(self, reader: "FileReader") -> Iterator[Entry]:
        pending = [""]
        while pending:
            folder = pending.pop()
            with os.scandir(on_disk(os.path.join(self._root, folder))) as children:
                found = sorted(children, key=lambda child: child.name)
            if not found and folder:
                yield Entry(folder, 0, "", reader, directory=True)
            for child in found:
                name = from_disk(child.name)
                path = f"{folder}/{name}" if folder else name
                if child.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    yield self._entry(path, child, reader)

    def _entry(self, path: str, child: "os.DirEntry[bytes]", reader: "FileReader") -> Entry:
        if child.is_symlink():
            target = from_disk(os.readlink(child.path))
            return Entry(path, 0, target, reader, symlink=target)
        return self._file(path, child.stat(follow_symlinks=False), reader)

    def _file(self, path: str, found: os.stat_result, reader: "FileReader") -> Entry:
        if not stat.S_ISREG(found.st_mode):
            why = "it is not a file, a directory or a symlink"
            raise RefusedError("listing", f"{path} of {self._source}", why, "remove it from the source")
        executable = bool(found.st_mode & 0o111)
        return Entry(path, found.st_size, _version(found), reader, executable=executable)


class FileReader(BytesReader):
    """Reads files below a folder."""

    def __init__(self, root: str, source: str) -> None:
        self._root, self._source = root, source

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes start to end of the file, as it was when it was listed."""
        try:
            fd = os.open(on_disk(os.path.join(self._root, entry.path)), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _version(os.fstat(fd)) != entry.version:
                    why = "it has been written to since it was listed"
                    raise ChangedError("reading", f"{entry.path} of {self._source}", why, "run the same command again")
                data = os.pread(fd, end - start, start)
                os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
                return data
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            why = "it has disappeared since it was listed"
            raise ChangedError(
                "reading", f"{entry.path} of {self._source}", why, "run the same command again"
            ) from error
        except OSError as error:
            raise unreadable(error, "reading", f"{entry.path} of {self._source}") from error


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def unreadable(error: OSError, doing: str, where: str) -> DsloadError:
    """The one place where the operating system's errors on a source become dsload's."""
    why = (error.strerror or str(error)).lower()
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(doing, where, why, "check the path")
    if isinstance(error, PermissionError):
        return RefusedError(doing, where, why, "run as a user who may read it")
    return UnreachableError(doing, where, why, "check the file system of the source")
