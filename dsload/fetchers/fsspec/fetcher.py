"""Any protocol that fsspec knows: its filesystem lists, and reads by range."""

import threading
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

import fsspec
from fsspec.core import url_to_fs

from dsload.errors import NotFoundError, RefusedError, UnknownHostError, UnreachableError, UsageError
from dsload.fetchers.base import Context
from dsload.fetchers.fsspec.failures import changed, host_is_unknown, mapped
from dsload.fetchers.fsspec.spec import SFTP, FilesystemConfig, install_hint
from dsload.fetchers.fsspec.tree import tree
from dsload.listing import BytesReader, Checksum, Entry, Filter, Listing
from dsload.names import parents
from dsload.secrets import Secrets
from dsload.source import Source

T = TypeVar("T")
Opened = tuple[fsspec.AbstractFileSystem, str]  # and the root of the source in it

_NAME_TRIES = 4  # DNS of a pod's first seconds may not know a name that it will know
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
        tries = count(1)

        def attempt() -> Listing:
            number = next(tries)
            try:
                return self._list()
            except UnreachableError as error:
                if number < _NAME_TRIES or not host_is_unknown(error):
                    raise
                raise UnknownHostError(error.doing, error.where, error.why, "check the name of the host") from error

        return self._client.insist(attempt)

    def _list(self) -> Listing:
        reader = FilesystemReader(self, str(self._source))
        root, info = self.use("listing", reader.source, lambda filesystem, root: (root, filesystem.info(root)))
        if info["type"] == "directory":
            return self.use("listing", reader.source, partial(self._below, reader))
        return Listing(
            [_entry(root.rstrip("/").rpartition("/")[2], {**info, "name": root}, reader, self._source.filter)]
        )

    def _below(self, reader: "FilesystemReader", filesystem: fsspec.AbstractFileSystem, root: str) -> Listing:
        select = self._source.filter
        closed: list[str] = []
        found: dict[str, Entry] = {}
        twice = []  # paths that are listed again, and otherwise: whoever makes the plan refuses them
        for path, info in tree(filesystem, root, select, reader.source, closed):
            entry = _entry(path, info, reader, select)
            if found.setdefault(path, entry) != entry:
                twice.append(entry)
        entries = [*found.values(), *twice]
        full = {parent for entry in entries for parent in parents(entry.path)}
        found_there = [entry for entry in entries if not (entry.directory and entry.path in full)]
        return Listing(found_there, closed=tuple(closed))

    def use(self, doing: str, where: str, call: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
        """Call with the filesystem and the root in it. If the network failed, the next call opens it again."""
        filesystem, root = self._open()
        try:
            return mapped(doing, where, lambda: call(filesystem, root))
        except UnreachableError:
            self._threads.opened = self._shared = None
            raise

    def _open(self) -> Opened:
        """Each thread has a filesystem of its own, as in fsspec, unless it is one that runs a loop for all of them."""
        opened: Opened | None = self._shared or getattr(self._threads, "opened", None)
        if opened is None:
            opened = mapped("connecting to", str(self._source), self._connect)
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
            more = int(end == entry.size)  # a byte too many shows that the size is not right
            data: bytes = filesystem.cat_file(entry.key, start=start, end=end + more)
            if len(data) > end - start:
                raise changed(where, f"it has more than the {entry.size:,} bytes that were listed")
            if end - start < entry.size and not _is_at(entry.version, filesystem.info(entry.key)):
                raise changed(where, "it has been written to since it was listed")
            return data

        where = f"{entry.path} of {self.source}"
        if start == end:
            return b""
        try:
            return self._filesystem.use("reading", where, call)
        except NotFoundError as error:
            raise changed(where, "it has disappeared since it was listed") from error


def _entry(path: str, info: dict[str, Any], reader: FilesystemReader, select: Filter) -> Entry:
    """The entry for what a filesystem says of a path; of one that is not selected, the path alone."""
    key, kind, version = str(info["name"]), info["type"], _version(info)
    if kind == "directory":
        return Entry(path, 0, "", reader, key, directory=True)
    if not select(path):
        return Entry(path, 0, "", reader, key)
    if target := info.get("destination"):
        return Entry(path, 0, version, reader, key, symlink=str(target))
    if kind != "file":
        why = f"it is not a file, a directory or a symlink but {kind!r}"
        fix = f"remove it from the source, or leave it out by -o exclude='{path}'"
        raise RefusedError("listing", f"{path} of {reader.source}", why, fix)
    if encoding := _encoding(info):
        why = f"it is stored with Content-Encoding {encoding}, which is undone on the way: size and checksum do not fit"
        fix = f"store it without, or leave it out by -o exclude='{path}'"
        raise RefusedError("listing", f"{path} of {reader.source}", why, fix)
    size, mode = info.get("size"), info.get("mode")
    executable = isinstance(mode, int) and bool(mode & 0o111)
    size = -1 if size is None else max(-1, int(size))
    return Entry(path, size, version, reader, key, _checksum(info), executable=executable)


def _encoding(info: dict[str, Any]) -> str:
    """The Content-Encoding of an object of Google's or Azure's store, whose clients unpack it; "" if it has none."""
    settings = info.get("content_settings") or {}
    found = info.get("contentEncoding") or settings.get("content_encoding")
    return "" if str(found or "").lower() in ("", "identity", "none") else str(found)


def _checksum(info: dict[str, Any]) -> Checksum | None:
    """What Google's store computes of an object: MD5, or CRC32C of one that was composed of others."""
    for name, algorithm, length in (("md5Hash", "md5", 16), ("crc32c", "crc32c", 4)):
        if isinstance(text := info.get(name), str):
            try:
                digest = b64decode(text, validate=True)
            except ValueError:
                continue
            if len(digest) == length:
                return Checksum(algorithm, digest.hex())
    return None


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
