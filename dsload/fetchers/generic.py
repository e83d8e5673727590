"""Any protocol that fsspec knows: its filesystem lists, and reads by range."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError, UnreachableError, UsageError
from dsload.fetchers.base import Context
from dsload.listing import Entry, Listing
from dsload.secrets import Secrets
from dsload.source import Source

T = TypeVar("T")

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
        self._source, self._scheme = source, urlsplit(source.uri).scheme.lower()
        self._options: dict[str, Any] = _credentials(self._scheme, context.secrets) | dict(source.options)

    def list(self) -> Listing:
        """Every file below the path, and the directories that are empty."""
        where = str(self._source)
        filesystem, root = self._open()
        root = root.rstrip("/") or "/"
        reader = FilesystemReader(filesystem, root, where)
        found = _mapped("listing", where, lambda: filesystem.find(root, withdirs=True, detail=True))
        if not found or (list(found) == [root] and found[root]["type"] == "file"):
            info = _mapped("listing", where, lambda: filesystem.info(root))
            if info["type"] != "file":
                return Listing([])
            reader = FilesystemReader(filesystem, root.rpartition("/")[0], where)
            return Listing([_entry(root.rpartition("/")[2], root, info, reader)])
        prefix = "" if root == "/" and not next(iter(found)).startswith("/") else root.rstrip("/") + "/"
        entries = [
            _entry(name.removeprefix(prefix).strip("/"), name, info, reader)
            for name, info in found.items()
            if name.strip("/") != root.strip("/")
        ]
        full = {parent for entry in entries for parent in _parents(entry.path)}
        return Listing([entry for entry in entries if not (entry.directory and entry.path in full)])

    def _open(self) -> tuple[fsspec.AbstractFileSystem, str]:
        try:
            filesystem, root = _mapped("connecting to", str(self._source), self._connect)
        except ImportError as error:
            hint = known_implementations.get(self._scheme, {}).get("err", str(error))
            raise UsageError("loading", str(self._source), "its library is missing", hint) from error
        except (TypeError, ValueError) as error:
            raise UsageError("connecting to", str(self._source), str(error), "check the URI and the options") from error
        return filesystem, root

    def _connect(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, root = url_to_fs(self._source.uri, **self._options)
        return filesystem, str(root)


class FilesystemReader:
    """Reads by `cat_file` with a range."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str, source: str) -> None:
        self._filesystem, self._root, self._source = filesystem, root, source

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes start to end of the file."""
        where = f"{entry.path} of {self._source}"
        data: bytes = _mapped("reading", where, lambda: self._filesystem.cat_file(entry.key, start=start, end=end))
        return data


def _entry(path: str, key: str, info: dict[str, Any], reader: FilesystemReader) -> Entry:
    if info.get("type") == "directory":
        return Entry(path, 0, "", reader, key, directory=True)
    size = info.get("size")
    version = next((f"{name}={info[name]}" for name in _VERSION_FIELDS if info.get(name)), "")
    mode = info.get("mode")
    executable = isinstance(mode, int) and bool(mode & 0o111)
    return Entry(path, -1 if size is None else int(size), version, reader, key, executable=executable)


def _credentials(scheme: str, secrets: Secrets) -> dict[str, Any]:
    """The storage options that a filesystem takes credentials by."""
    if scheme in ("sftp", "ssh", "ftp", "smb", "webdav"):
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


def _mapped(doing: str, where: str, call: Callable[[], T]) -> T:
    """The one place where the errors of fsspec's filesystems become dsload's."""
    try:
        return call()
    except (DsloadError, ImportError, TypeError, ValueError):
        raise
    except FileNotFoundError as error:
        raise NotFoundError(doing, where, "there is no such path", "check the URI") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise ChangedError(
            doing, where, "it changed between file and directory", "run the same command again"
        ) from error
    except PermissionError as error:
        raise RefusedError(doing, where, str(error), "check the credentials in the secrets directory") from error
    except Exception as error:
        name = type(error).__name__
        if "auth" in name.lower() or "credential" in name.lower():
            raise RefusedError(doing, where, f"{name}: {error}", "check the credentials") from error
        raise UnreachableError(doing, where, f"{name}: {error}", "check the network and the options") from error
