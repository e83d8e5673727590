"""Any protocol that fsspec knows: its filesystem lists, and reads by range."""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, cast

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs

from dsload.errors import (
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from dsload.fetchers.base import Context
from dsload.fetchers.fsspec.spec import SFTP, FilesystemConfig, install_hint
from dsload.listing import BytesReader, Entry, Listing
from dsload.names import unsafe
from dsload.secrets import Secrets
from dsload.source import Source

T = TypeVar("T")
Entries = list[Entry]
Opened = tuple[fsspec.AbstractFileSystem, str]  # and the root of the source in it

_LONGEST_PATH = 4096  # bytes on Linux; a tree that goes deeper leads in circles
_BUGS = (TypeError, LookupError, AttributeError, NotImplementedError, AssertionError)
_VERSION_FIELDS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "generation",
    "mtime",
    "modified",
    "last_modified",
    "created",
)


class Filesystem:
    """A source on any fsspec filesystem; options are its storage options, secrets fill in what they leave out."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client, self._secrets = source, context.client, context.secrets
        self._config = cast(FilesystemConfig, source.config)
        self._threads = threading.local()
        self._shared: Opened | None = None

    def list(self) -> Listing:
        """Every file and symlink below the path, and the directories that are empty; or the one file."""
        return self._client.insist(self._list)

    def _list(self) -> Listing:
        reader = FilesystemReader(self, str(self._source))
        root, info = self.use("listing", reader.source, lambda filesystem, root: (root, filesystem.info(root)))
        if info["type"] == "directory":
            return Listing(self._below(root, reader))
        return Listing([_entry(root.rstrip("/").rpartition("/")[2], {**info, "name": root}, reader)])

    def _below(self, root: str, reader: "FilesystemReader") -> Entries:
        base = root.strip("/")
        try:
            infos = self.use("listing", reader.source, _walk)
        except NotFoundError as error:
            raise _changed(reader.source, "a folder has disappeared since it was listed") from error
        entries = []
        for info in infos:
            name = str(info["name"]).strip("/")
            path = name.removeprefix(f"{base}/") if base else name
            if base and path == name:
                raise _outside(name, root)
            entries.append(_entry(path, info, reader))
        full = {parent for entry in entries for parent in _parents(entry.path)}
        return [entry for entry in entries if not (entry.directory and entry.path in full)]

    def use(self, doing: str, where: str, call: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
        """Call with the filesystem and the root in it. If the network failed, the next call opens it again."""
        filesystem, root = self._open()
        try:
            return _mapped(doing, where, lambda: call(filesystem, root))
        except UnreachableError:
            self._threads.opened = self._shared = None
            raise

    def _open(self) -> Opened:
        """Each thread has a filesystem of its own, as in fsspec, unless it is one that runs a loop for all of them."""
        opened: Opened | None = self._shared or getattr(self._threads, "opened", None)
        if opened is None:
            opened = _mapped("connecting to", str(self._source), self._connect)
            if opened[0].async_impl:
                self._shared = opened
            else:
                self._threads.opened = opened
        return opened

    def _connect(self) -> Opened:
        where = str(self._source)
        scheme, uri, options = self._config.scheme, self._config.uri, dict(self._config.options)
        try:
            if scheme == SFTP:
                from dsload.fetchers.fsspec.sftp import connect

                return connect(uri, options, self._secrets, self._client.network.stall_timeout)
            options = _credentials(scheme, self._secrets) | options
            filesystem, root = url_to_fs(uri, skip_instance_cache=True, **options)
            return filesystem, str(root)
        except ImportError as error:
            hint = install_hint(scheme, error)
            raise UsageError("loading", where, f"its library is missing ({error})", hint) from error
        except (TypeError, ValueError) as error:
            raise UsageError("connecting to", where, str(error), "check the URI and the options") from error


class FilesystemReader(BytesReader):
    """Reads by `cat_file` with a range.

    Args:
        filesystem: what it reads from.
        source: its name for messages.
    """

    def __init__(self, filesystem: Filesystem, source: str) -> None:
        self._filesystem, self.source = filesystem, source

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes start to end of the file. Raises ChangedError if it is no longer the one that was listed."""

        def call(filesystem: fsspec.AbstractFileSystem, root: str) -> bytes:
            data: bytes = filesystem.cat_file(entry.key, start=start, end=end)
            if end - start < entry.size and not _is_at(entry.version, filesystem.info(entry.key)):
                raise _changed(where, "it has been written to since it was listed")
            return data

        where = f"{entry.path} of {self.source}"
        if start == end:
            return b""
        try:
            return self._filesystem.use("reading", where, call)
        except NotFoundError as error:
            raise _changed(where, "it has disappeared since it was listed") from error


def _walk(filesystem: fsspec.AbstractFileSystem, root: str) -> Iterable[dict[str, Any]]:
    """What there is below a directory.

    A filesystem that lists a tree by itself, as object stores do, is left to it. For the others fsspec would walk,
    and pass over the folders that it cannot list; so that is done here.
    """
    if _lists_trees(type(filesystem)):
        found = filesystem.find(root, withdirs=True, detail=True)
        return [info for name, info in found.items() if name.strip("/") != root.strip("/")]
    infos: list[dict[str, Any]] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        inside = f"{folder.strip('/')}/".lstrip("/")
        for info in filesystem.ls(folder, detail=True):
            name = str(info["name"]).strip("/")
            if name == folder.strip("/"):
                continue
            if not name.startswith(inside):
                raise _outside(name, folder)
            if len(name) > _LONGEST_PATH:
                why = f"its folders are more than {_LONGEST_PATH:,} bytes deep"
                raise UnsafePathError("listing", f"{folder[:100]}…", why, "name a folder further down")
            infos.append(info)
            if info["type"] == "directory" and not unsafe(name):
                folders.append(str(info["name"]))
    return infos


def _outside(name: str, folder: str) -> UnsafePathError:
    return UnsafePathError("listing", repr(name), f"it does not lie below {folder!r}", "load another source")


def _lists_trees(kind: type[fsspec.AbstractFileSystem]) -> bool:
    if issubclass(kind, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find
    return kind.find is not fsspec.AbstractFileSystem.find


def _entry(path: str, info: dict[str, Any], reader: FilesystemReader) -> Entry:
    key, kind, version = str(info["name"]), info["type"], _version(info)
    if kind == "directory":
        return Entry(path, 0, "", reader, key, directory=True)
    if target := info.get("destination"):
        return Entry(path, 0, version, reader, key, symlink=str(target))
    if kind != "file":
        why = f"it is not a file, a directory or a symlink but {kind!r}"
        raise RefusedError("listing", f"{path} of {reader.source}", why, "remove it from the source")
    size, mode = info.get("size"), info.get("mode")
    executable = isinstance(mode, int) and bool(mode & 0o111)
    return Entry(path, -1 if size is None else int(size), version, reader, key, executable=executable)


def _version(info: dict[str, Any]) -> str:
    return next((f"{name}={_plain(info[name])}" for name in _VERSION_FIELDS if info.get(name)), "")


def _is_at(version: str, info: dict[str, Any]) -> bool:
    """Whether a file is at a version, as far as its info states it: that may be less than a listing states."""
    name, _, value = version.partition("=")
    return name not in info or str(_plain(info[name])) == value


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value  # memory:// has both forms


def _credentials(scheme: str, secrets: Secrets) -> dict[str, Any]:
    """The storage options that a filesystem takes credentials by."""
    if scheme in ("ftp", "smb", "webdav"):
        pairs = {"username": secrets.username, "password": secrets.password}
    elif scheme in ("webhdfs", "hdfs"):
        pairs = {"user": secrets.username, "token": secrets.token}
    elif scheme in ("gs", "gcs"):
        pairs = {"token": secrets.token}
    elif scheme in ("abfs", "abfss", "az", "adl"):
        pairs = {
            "account_name": secrets.access_key,
            "account_key": secrets.secret_key,
            "sas_token": secrets.token,
        }
    else:
        pairs = {}
    return {name: value for name, value in pairs.items() if value}


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _changed(where: str, why: str) -> ChangedError:
    return ChangedError("reading", where, why, "run the same command again")


def _mapped(doing: str, where: str, call: Callable[[], T]) -> T:
    """The one place where the errors of fsspec's filesystems become dsload's."""
    try:
        return call()
    except DsloadError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(doing, where, "this path does not exist", "check the URI") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise _changed(where, "it changed between file and directory") from error
    except PermissionError as error:
        why = (error.strerror or str(error)).lower()
        raise RefusedError(doing, where, why, "check the credentials in the secrets directory") from error
    except _BUGS as error:
        why = f"its fsspec filesystem failed ({type(error).__name__}: {error})"
        raise DsloadError(doing, where, why, "check the URI and the options") from error
    except Exception as error:
        name = type(error).__name__
        if "auth" in name.lower() or "credential" in name.lower():
            raise RefusedError(doing, where, f"{name}: {error}", "check the credentials") from error
        raise UnreachableError(doing, where, f"{name}: {error}", "check the network and the options") from error
