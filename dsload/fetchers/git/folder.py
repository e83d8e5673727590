"""A repository that is a folder: opened as git opens it, and its LFS objects, wherever git-lfs keeps them."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from dulwich.client import LocalGitClient
from dulwich.config import ConfigFile
from dulwich.errors import NotGitRepository
from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

from dsload.errors import NotFoundError, RefusedError
from dsload.fetchers.git.attributes import read_quoted
from dsload.listing import BytesReader, Entry

_NAMED = 3  # files that a message names
_HARMLESS = (b"partialclone", b"preciousobjects", b"noop")  # extensions that do not change how objects are read


class _Objects(DiskObjectStore):
    """Dulwich's, which does not end if stores borrow from each other or a line of alternates is empty.

    Attributes:
        lenders: all folders of objects that it borrows from.
    """

    lenders: Sequence[str] = ()

    @property
    def alternates(self) -> list[BaseObjectStore]:
        if self._alternates is None:
            self._alternates = [_Objects(folder, object_format=self.object_format) for folder in self.lenders]
        return self._alternates


class _Repository(Repo):
    """Dulwich's, which refuses a partial clone, though what was fetched can be read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.object_store.close()
        folder = os.path.join(self.commondir(), "objects")
        objects = _Objects.from_config(folder, self.get_config())
        assert isinstance(objects, _Objects)
        objects.object_format, objects.lenders = self.object_format, _lenders(folder)
        self.object_store = objects

    def get_config(self) -> ConfigFile:
        config = super().get_config()
        with contextlib.suppress(KeyError):
            for name in [name for name, _ in config.items((b"extensions",)) if name.lower() in _HARMLESS]:
                config.remove((b"extensions",), name)
        return config


def open_folder(path: str, where: str) -> Repo:
    """The repository at a path, or at that path with `.git` behind it.

    Args:
        path: of a clone, a bare repository, a worktree or a submodule.
        where: the source's name for messages.

    Raises:
        NotFoundError: there is none, or of a kind that dulwich cannot read.
        RefusedError: its files cannot be read.
    """
    for each in (path, f"{path.rstrip('/')}.git"):
        try:
            return _Repository(each)
        except NotGitRepository:
            continue
        except (UnsupportedExtension, UnsupportedVersion, InvalidWorktreeConfiguration, ValueError) as error:
            why = f"the repository is of a kind that dsload cannot read ({error})"
            raise NotFoundError("opening", where, why, "clone it, and load the clone") from error
        except OSError as error:
            why = f"its files cannot be read ({(error.strerror or str(error)).lower()})"
            raise RefusedError("opening", where, why, "check their owner and mode") from error
    raise NotFoundError("opening", where, "no repository exists there", "check the path")


class FolderClient(LocalGitClient):
    """Dulwich's client for a folder, of any kind that open_folder() takes."""

    @classmethod
    def _open_repo(cls, path: str | bytes) -> "contextlib.closing[Repo]":
        return contextlib.closing(open_folder(os.fsdecode(path), os.fsdecode(path)))


def module_folder(path: str, name: str) -> str:
    """Where the repository at a path keeps a submodule of this name, "" if it does not."""
    if not name or ".." in name.split("/"):
        return ""
    folder = os.path.join(_common_folder(path, path), "modules", name)
    return folder if os.path.isdir(folder) else ""


class FolderObjects(BytesReader):
    """Reads LFS objects from the stores of a repository that is a folder, and of those that it borrows from.

    Args:
        path: of the repository.
        where: the source's name for messages.
    """

    def __init__(self, path: str, where: str) -> None:
        self._where = where
        self._folders = list(dict.fromkeys(_object_folders(path, where)))

    def has(self, oid: str, size: int) -> bool:
        """Whether an object is there, whole."""
        return bool(self._find(oid, size))

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Raises NotFoundError with the names of those that are missing."""
        missing = [entry for entry in entries if not self.has(entry.key, entry.size)]
        if missing:
            raise self._missing(missing)

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes of an object."""
        try:
            with open(self._find(entry.key, entry.size), "rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError as error:
            raise self._missing([entry]) from error

    def _find(self, oid: str, size: int) -> str:
        """The path of an object, "" if it is nowhere."""
        for folder in self._folders:
            path = os.path.join(folder, oid[:2], oid[2:4], oid)
            with contextlib.suppress(OSError):
                if os.stat(path).st_size == size:
                    return path
        return ""

    def _missing(self, entries: Sequence[Entry]) -> NotFoundError:
        names = ", ".join(f"{entry.path} (LFS object {entry.key[:12]})" for entry in entries[:_NAMED])
        more = f" and {len(entries) - _NAMED:,} more" if len(entries) > _NAMED else ""
        why = f"{names}{more} cannot be found in {', '.join(self._folders)}"
        fix = "get them there with `git lfs fetch`, or exclude the files, or keep the pointers with -o lfs=false"
        return NotFoundError("looking for the LFS objects of", self._where, why, fix)


def _object_folders(path: str, where: str) -> Iterator[str]:
    """Where git-lfs keeps the objects of a repository, and of those that it borrows from."""
    common = _common_folder(path, where)
    yield _storage(common, where)
    for objects in _lenders(os.path.join(common, "objects")):
        yield _storage(os.path.dirname(objects), where)


def _common_folder(path: str, where: str) -> str:
    """The folder that holds the objects of a repository (gitrepository-layout(5)); the path itself if it is not one."""
    try:
        with contextlib.closing(open_folder(path, where)) as repo:
            return os.path.realpath(repo.commondir())
    except (NotFoundError, RefusedError):
        return path


def _storage(common: str, where: str) -> str:
    """The folder of LFS objects that a repository has (git-lfs-config(5), lfs.storage)."""
    storage = "lfs"
    with (
        contextlib.suppress(NotFoundError, RefusedError, KeyError),
        contextlib.closing(open_folder(common, where)) as repo,
    ):
        storage = os.fsdecode(repo.get_config_stack().get((b"lfs",), b"storage")) or storage
    return os.path.join(common, storage, "objects")


def _lenders(objects: str) -> list[str]:
    """All folders of objects that one borrows from, each once, however they borrow from each other."""
    objects = os.path.realpath(objects)
    found, waiting = {objects: None}, [objects]
    while waiting:
        new = [folder for folder in _alternates(waiting.pop(0)) if folder not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)[1:]


def _alternates(objects: str) -> Iterator[str]:
    """What objects/info/alternates names (gitrepository-layout(5))."""
    try:
        with open(os.path.join(objects, "info", "alternates"), "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        quoted = read_quoted(line)
        name = os.fsdecode(quoted[0] if quoted else line)
        if name and not name.startswith("#"):
            yield os.path.realpath(os.path.join(objects, name))
