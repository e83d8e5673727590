"""olah, a mirror of the Hugging Face Hub, on loopback and offline: it serves git repositories with LFS objects."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from tests.servers.process import LOOPBACK, PIP, Server, answers, find, free_port

Kind = Literal["models", "datasets"]
WEIGHTS = ("*.safetensors",)
COMMITTER = "tests <tests@localhost> 1704067200 +0000"


class Olah(Server):
    """A running olah: the Hub's API for what `make_model` and `make_dataset` put there, and no way to the Hub itself.

    Unlike the Hub it has no pages in a tree, no ranges, no conditional requests and no redirects to a CDN. The body of
    a file is chunked, without ETag; it comes at some 25 MB/s, since olah reads the file as a whole and sends it by
    4 KiB. What it lacks is mostly a 401, but a 500 to the GET of a missing file and to a commit id that is not there.

    Attributes:
        url: its endpoint, as HF_ENDPOINT has it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__("olah", directory)
        program, self._git = find("olah-cli", "olah", PIP), find("git", "git")
        self._mirrors, home, self.port = directory / "mirrors", directory / "home", free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        home.mkdir()
        self._env = {
            "HOME": str(home),
            "HF_HOME": str(home),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        basic = {
            "host": LOOPBACK,
            "port": self.port,
            "repos-path": str(directory / "cache"),
            "mirrors-path": [str(self._mirrors)],
        }
        lines = ["[basic]", *(f"{key} = {json.dumps(value)}" for key, value in basic.items())]
        config = directory / "olah.toml"
        config.write_text("\n".join([*lines, "[accessibility]", "offline = true", ""]))
        argv = [program, "--config", str(config), "--log-path", str(directory / "logs")]
        self.start(argv, lambda: answers(self.port, "/none"), env=self._env)  # its front page is a 500

    def make_model(self, name: str, files: Mapping[str, bytes], lfs: Sequence[str] = WEIGHTS, tag: str = "") -> str:
        """Commit files to main of a model's repository, in place of those there; returns the commit's id.

        olah fails to list or send a file of 121 to 149 bytes that is not UTF-8, unless it is an LFS object.

        Args:
            name: the repository, as ``org/name``; it is made if there is none.
            files: contents by path; a ``.gitattributes`` comes along where `lfs` has a pattern.
            lfs: patterns (fnmatch) of the paths that become LFS objects.
            tag: a tag to put on the commit.
        """
        return self._commit("models", name, files, lfs, tag)

    def make_dataset(self, name: str, files: Mapping[str, bytes], lfs: Sequence[str] = WEIGHTS, tag: str = "") -> str:
        """As `make_model`, for a dataset."""
        return self._commit("datasets", name, files, lfs, tag)

    def _commit(self, kind: Kind, name: str, files: Mapping[str, bytes], lfs: Sequence[str], tag: str) -> str:
        repository = self._mirrors / kind / name
        stream = [f"commit refs/heads/main\ncommitter {COMMITTER}\ndata 0\n".encode()]
        if repository.exists():
            stream.append(b"from refs/heads/main^0\ndeleteall\n")
        else:
            self._run("init", "--quiet", "--template=", "--initial-branch=main", str(repository))
        rules = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in lfs)
        for path, data in {**({".gitattributes": rules.encode()} if lfs else {}), **files}.items():
            is_lfs = any(fnmatchcase(path, pattern) for pattern in lfs)
            blob = _store_lfs(repository, data) if is_lfs else data
            stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(blob), blob))
        if tag:
            stream.append(f"reset refs/tags/{tag}\nfrom refs/heads/main\n".encode())
        self._run("-C", str(repository), "fast-import", "--quiet", stdin=b"".join(stream))
        return self._run("-C", str(repository), "rev-parse", "main").decode().strip()

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What git prints; under a git hook, GIT_DIR would have it write to the repository of these tests."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | self._env
        argv = [self._git, *arguments]
        return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, env=env, check=True).stdout


def _store_lfs(repository: Path, data: bytes) -> bytes:
    """Store an LFS object where git-lfs would; returns the pointer to commit in its place."""
    oid = hashlib.sha256(data).hexdigest()
    stored = repository / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(data)
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
