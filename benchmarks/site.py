"""The sources: made on the spot, the same each time, on tmpfs; and their servers, started when first asked for."""

import hashlib
import mmap
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.channels import CHANNELS, make
from benchmarks.servers import GitOnNginx, ManyObjects, Paced
from tests.repositories import Repository, git
from tests.servers.hub import Hub
from tests.servers.nginx import Nginx
from tests.servers.s3 import SeaweedFS
from tests.servers.tls import make_ca

RATE = 20_000_000  # bytes/s of a connection of `paced`
_LFS = 1 << 20  # bytes: larger files are kept by LFS
BLOCK = 8_388_593  # bytes, a prime: no two parts of a file are alike

Files = dict[str, int]  # path: bytes, -1 if that does not matter; of a channel, its packages


def _small(count: int, folder: str = "") -> Files:
    """Files of 4 to 40 kB, 200 in a folder."""
    sizes = random.Random(count)
    return {f"{folder}d{n // 200:02}/f{n:05}.bin": sizes.randint(4_000, 40_000) for n in range(count)}


FOLDERS: dict[str, Files] = {
    "big": {f"model-{n:05}-of-00011.safetensors": 171_966_464 for n in range(1, 12)},
    "one": {"model.safetensors": 1_000_000_000},
    "small": _small(3_000),
    "many": _small(20_000),
    "same": _small(10_000),
    "two": {f"model-{n:05}-of-00002.safetensors": 350_000_000 for n in (1, 2)},
    "hub": _small(2_000),
    "lfs": {f"model-{n:05}-of-00010.safetensors": 100_000_000 for n in range(1, 11)},
    "single": {"model.safetensors": 3_000_000_000},
    "plain": {path: min(size, 36_000) for path, size in _small(5_000).items()},
    "tiny": {path: size // 18 for path, size in _small(50_000).items()},
}


class Site:
    """Sources, each named `server:folder`, such as `http:big`; the hubs are `hf`, `ms`, `hf-paced` and `ms-paced`,
    the channels `conda` and `conda-paced`.

    Args:
        directory: on tmpfs.
        running: stops the servers.
    """

    def __init__(self, directory: Path, running: ExitStack) -> None:
        self.directory, self.ca = directory, make_ca(directory / "ca")
        www = self._www = directory / "www"
        start = {
            "http": lambda: Nginx(directory / "nginx", www),
            "tls": lambda: Nginx(directory / "nginx-tls", www, tls=self.ca),
            "paced": lambda: Paced(www, RATE),
            "s3": lambda: SeaweedFS(directory / "weed"),
            "objects": ManyObjects,
            "git": lambda: GitOnNginx(www / "git", f"{self._server('http').url}git/"),
            "hub": lambda: Hub(storage_url=f"{self._server('http').url}lfs/"),
            "hub-paced": lambda: Hub(storage_url=f"{self._server('paced').url}lfs/"),
        }
        self._server = cache(lambda name: running.enter_context(start[name]()))
        self._files, self._bucket, self._repo = cache(self._make), cache(self._fill), cache(self._publish)
        self._clone = cache(self._commit)

    def source(self, name: str) -> tuple[str, Files]:
        """The URL of a source, for S3 and hubs the endpoint, and the files in it."""
        kind, _, folder = name.partition(":")
        hub, _, paced = kind.partition("-")
        if hub in ("hf", "ms"):
            server = self._server("hub-paced" if paced else "hub")
            self._repo(server, folder)
            return server.url, self._files(folder)
        server: Any = self._server(("paced" if paced else "http") if hub == "conda" else kind)
        if kind == "objects":
            return server.url, {str(n): -1 for n in range(int(folder))}
        files = self._files(folder)
        if kind == "git":
            return f"{server.url}/{folder}.git", self._clone(folder)
        if kind == "s3":
            self._bucket(server, folder)
            return server.endpoint, files
        return f"{server.url}{folder}/", files

    def _make(self, folder: str) -> Files:
        if folder in CHANNELS:
            return dict.fromkeys(make(self._www / folder), -1)
        for number, (path, size) in enumerate(FOLDERS[folder].items()):
            block = random.Random(number).randbytes(min(size, BLOCK))
            where = self._www / folder / path
            where.parent.mkdir(parents=True, exist_ok=True)
            with where.open("wb") as file:
                for start in range(0, size, BLOCK):
                    file.write(block[: size - start])
        return FOLDERS[folder] | (self._add_sums(folder) if folder == "big" else {})

    def _add_sums(self, folder: str) -> Files:
        lines = []
        for path in FOLDERS[folder]:
            with (self._www / folder / path).open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path}\n")
        return {"SHA256SUMS": (self._www / folder / "SHA256SUMS").write_text("".join(lines))}

    def _publish(self, hub: Hub, folder: str) -> None:
        """The folder as the model `bench/folder`; what is large is kept by LFS, and served by another server."""
        (self._www / "lfs").mkdir(parents=True, exist_ok=True)
        bodies: dict[str, Any] = {}
        for path, size in self._files(folder).items():
            with (self._www / folder / path).open("rb") as file:
                bodies[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size > _LFS else file.read()
        hub.repo(f"bench/{folder}").put_all(bodies)
        for path, file in hub.repo(f"bench/{folder}").files.items():
            stored = self._www / "lfs" / file.sha256
            if file.lfs and not stored.exists():
                os.link(self._www / folder / path, stored)

    def _commit(self, folder: str) -> Files:
        """The folder as a bare repository; safetensors are kept by LFS."""
        work = Repository.make(self.directory / "work")
        work.track("*.safetensors")
        for path in self._files(folder):
            (work.path / path).parent.mkdir(exist_ok=True)
            os.link(self._www / folder / path, work.path / path)
        work.commit({})
        bare = self._www / "git" / f"{folder}.git"
        stored = work.path / ".git/lfs/objects"
        if stored.is_dir():
            stored.rename(work.path / "objects")
        work.bare(bare)
        git("repack", "-adq", cwd=bare)  # as a server's is
        if (work.path / "objects").is_dir():
            (bare / "lfs").mkdir()
            (work.path / "objects").rename(bare / "lfs/objects")
        attributes = (work.path / ".gitattributes").stat().st_size
        shutil.rmtree(work.path)
        return {**self._files(folder), ".gitattributes": attributes}

    def _fill(self, store: SeaweedFS, folder: str) -> None:
        """Objects in one piece: their ETag is an MD5, which rclone checks, and they have a CRC, which dsload checks."""
        store.new_bucket(folder)

        def put(path: str) -> None:
            with (self._www / folder / path).open("rb") as file:
                store.s3.put_object(Bucket=folder, Key=path, Body=file, ChecksumAlgorithm="CRC32")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, self._files(folder)))


def in_memory(path: Path) -> bool:
    """Whether a directory is on a tmpfs."""
    return os.stat(path).st_dev in {os.stat(mount).st_dev for mount in _tmpfs()}


def tmpfs() -> Path | None:
    """The roomiest directory in memory, None if none has 8 GiB."""
    free = {path: os.statvfs(path).f_bavail * os.statvfs(path).f_frsize for path in _tmpfs()}
    best = max(free, key=lambda path: free[path], default=None)
    return Path(best) if best and free[best] > 8 << 30 else None


def _tmpfs() -> list[str]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [path for _, path, kind, *_ in mounts if kind == "tmpfs" and os.access(path, os.W_OK)]
