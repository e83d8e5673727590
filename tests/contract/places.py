"""Places to load from: a folder on disk, whoever serves it; a prefix of a bucket; memory."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

from tests import repositories as git
from tests.servers.hub import Repo
from tests.servers.s3 import S3

NO_SECRETS = Path("/nonexistent/secrets")


@dataclass
class Folder:
    """A folder on disk; each file that is put has a later mtime than the one before, by whole minutes."""

    path: Path
    uri: str
    secrets: Path = NO_SECRETS
    options: Mapping[str, str] = field(default_factory=dict)
    _clock: int = 1_700_000_000

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if executable else 0o644)
        self._clock += 60
        os.utime(file, (self._clock, self._clock))

    def make_folder(self, path: str) -> None:
        (self.path / path).mkdir(parents=True)

    def remove(self, path: str) -> None:
        """With the folders that this leaves empty."""
        file = self.path / path
        file.unlink()
        for parent in file.parents:
            if parent == self.path or any(parent.iterdir()):
                break
            parent.rmdir()


@dataclass
class Prefix:
    """A prefix of a bucket."""

    store: S3
    bucket: str
    prefix: str  # with "/" at its end, or empty
    secrets: Path

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def options(self) -> Mapping[str, str]:
        return {"endpoint": self.store.endpoint}

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        self.store.put(self.bucket, self.prefix + path, data)

    def make_folder(self, path: str) -> None:
        self.store.put(self.bucket, f"{self.prefix}{path}/")

    def remove(self, path: str) -> None:
        self.store.s3.delete_object(Bucket=self.bucket, Key=self.prefix + path)


@dataclass
class Memory:
    """A folder of fsspec's memory:// filesystem, which is one for the whole process."""

    path: str  # with "/" before it
    secrets: Path = NO_SECRETS
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"memory:/{self.path}"

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        fsspec.filesystem("memory").pipe_file(f"{self.path}/{path}", data)

    def make_folder(self, path: str) -> None:
        fsspec.filesystem("memory").makedirs(f"{self.path}/{path}")

    def remove(self, path: str) -> None:
        memory = fsspec.filesystem("memory")
        memory.rm_file(f"{self.path}/{path}")
        while (path := path.rpartition("/")[0]) and f"{self.path}/{path}" in memory.pseudo_dirs:
            if memory.ls(f"{self.path}/{path}"):
                break
            memory.rmdir(f"{self.path}/{path}")


@dataclass
class Repository:
    """A repository on a hub; each change is a commit."""

    repo: Repo
    uri: str
    options: Mapping[str, str]
    secrets: Path = NO_SECRETS

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        self.repo.put(path, data)

    def make_folder(self, path: str) -> None:
        """Git keeps no empty folder."""

    def remove(self, path: str) -> None:
        self.repo.remove(path)


class GitRepository:
    """A git repository on a server; what has changed is committed when its URI is asked for."""

    secrets = NO_SECRETS

    def __init__(self, work: Path, bare: Path, uri: str, options: Mapping[str, str] | None = None) -> None:
        self._work, self._bare, self._uri = git.Repository.make(work), bare, uri
        self.options = options or {}
        self._files: dict[str, bytes | git.Executable | None] = {}
        self._removed = False

    @property
    def uri(self) -> str:
        if self._files or self._removed:
            self._work.commit(self._files)
            if self._bare.exists():
                self._work.push(self._bare)
            else:
                self._work.bare(self._bare)
            self._files.clear()
            self._removed = False
        return self._uri

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        self._files[path] = git.Executable(data) if executable else data

    def make_folder(self, path: str) -> None:
        """Git keeps no empty folder."""

    def remove(self, path: str) -> None:
        """With the folders that this leaves empty, as another file may want the name."""
        self._work.git("rm", "--quiet", "--", path)
        self._removed = True


def write_secrets(directory: Path, **values: str) -> Path:
    """A secrets directory; ``_`` in a name means ``-``, but in known_hosts."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (directory / (name if name == "known_hosts" else name.replace("_", "-"))).write_text(value + "\n")
    return directory


def s3_secrets(directory: Path, store: S3) -> Path:
    """The secrets that a store's one user signs with."""
    return write_secrets(directory, access_key=store.access_key, secret_key=store.secret_key)
