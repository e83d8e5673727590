"""Git repositories made by the real git, away from the configuration of the user and the system.

repo = Repository.make(tmp_path / "work")
repo.track("*.bin")
repo.commit({"a.txt": b"a", "run": Executable(b"#!/bin/sh\n"), "link": Link("a.txt"), "big.bin": b"in LFS"})
repo.commit({"a.txt": None}, "it is gone")
repo.bare(root / "name.git")
"""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers.process import find

TREE = {"a.txt": b"a", "sub/b.txt": b"b" * 3000}
FIRST_DATE = 1_704_067_200  # 2024-01-01; each commit is a minute later
CONFIG = {
    "filter.lfs.clean": "git-lfs clean -- %f",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.process": "git-lfs filter-process",
    "filter.lfs.required": "true",
    "lfs.locksverify": "false",
    "core.hooksPath": os.devnull,  # git-lfs would make hooks
    "gc.auto": "0",  # nothing goes on in the background
}


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link as the content of a file."""

    target: str


@dataclass(frozen=True, slots=True)
class Executable:
    """The content of a file that is executable."""

    content: bytes


@functools.cache
def _home() -> str:
    home = tempfile.mkdtemp(prefix="git-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def environment(config: Mapping[str, str] | None = None) -> dict[str, str]:
    """All the environment that git and git-lfs get, with this configuration beside CONFIG.

    A checkout leaves pointers where files are in LFS; ``git lfs pull`` brings these.
    """
    settings = {**CONFIG, **(config or {})}
    made = {"PATH": os.environ.get("PATH", os.defpath), "HOME": _home(), "LC_ALL": "C"}
    made |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": str(len(settings))}
    for n, (key, value) in enumerate(settings.items()):
        made |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    made |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "GIT_LFS_SKIP_SMUDGE": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        made |= {f"GIT_{who}_NAME": "Test", f"GIT_{who}_EMAIL": "test@example.com"}
        made[f"GIT_{who}_DATE"] = f"{FIRST_DATE} +0000"
    return made


def git(
    *args: str | Path, cwd: Path | None = None, input: bytes | None = None, check: bool = True,
    env: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Run git, and return what it says without the last newline.

    Args:
        cwd: where; by default this process's directory.
        input: its stdin.
        check: raise CalledProcessError, with what git says on stderr, when it fails.
        env: variables to set beside those of `environment`.
    """
    run = subprocess.run(
        [find("git", "git"), *args],
        cwd=cwd,
        input=input if input is not None else b"",
        capture_output=True,
        timeout=60,
        env={**environment(), **(env or {})},
    )
    if check and run.returncode:
        error = subprocess.CalledProcessError(run.returncode, run.args, run.stdout, run.stderr)
        error.add_note(run.stderr.decode(errors="replace"))
        raise error
    return run.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


class Repository:
    """A repository with a work tree, on branch main at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commits = 0  # made here

    @classmethod
    def make(cls, path: Path, object_format: str = "sha1") -> Self:
        """A new and empty one."""
        git("init", "--quiet", "-b", "main", f"--object-format={object_format}", path)
        return cls(path)

    def copy(self, path: Path) -> Self:
        """A copy of it, work tree and LFS objects included."""
        shutil.copytree(self.path, path, symlinks=True)
        made = type(self)(path)
        made._commits = self._commits
        return made

    @property
    def head(self) -> str:
        """The id of the commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def git(self, *args: str | Path, input: bytes | None = None) -> str:
        """Run git in it, at the date of the next commit."""
        date = f"{FIRST_DATE + 60 * self._commits} +0000"
        return git(*args, cwd=self.path, input=input, env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})

    def commit(self, files: Mapping[str, bytes | Link | Executable | None], message: str = "change") -> str:
        """Write these files, delete those that are None, and commit all; the id of the commit."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(content, Link):
                path.symlink_to(content.target)
            elif content is not None:
                path.write_bytes(content.content if isinstance(content, Executable) else content)
                path.chmod(0o755 if isinstance(content, Executable) else 0o644)
        self.git("add", "-A")
        return self._commit(message)

    def _commit(self, message: str) -> str:
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self._commits += 1
        return self.head

    def branch(self, name: str) -> None:
        """Make a branch at head; the one that is checked out stays so."""
        self.git("branch", name)

    def checkout(self, name: str) -> None:
        """Check out a branch, or detached a tag or a commit."""
        self.git("checkout", "--quiet", name, "--")

    def tag(self, name: str, annotated: bool = False) -> None:
        """Tag head."""
        self.git("tag", *(["-a", "-m", f"tag {name}"] if annotated else []), name)

    def submodule(self, url: str, path: str, commit: str | None = None) -> str:
        """Commit a submodule, and return the commit's id.

        Args:
            commit: of the submodule; with it the URL is only written down, without it git clones it.
        """
        if commit is None:
            self.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--", url, path)
        else:
            (self.path / path).mkdir(parents=True)
            for key, value in (("path", path), ("url", url)):
                self.git("config", "-f", ".gitmodules", f"submodule.{path}.{key}", value)
            self.git("add", ".gitmodules")
            self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        return self._commit(f"submodule {path}")

    def track(self, *patterns: str) -> None:
        """Let files of these patterns go to LFS, those of the next commit too."""
        find("git-lfs", "git-lfs")
        with (self.path / ".gitattributes").open("a") as attributes:
            attributes.writelines(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns)

    def bare(self, path: Path) -> Path:
        """Make a bare clone with all branches, tags and LFS objects."""
        git("clone", "--quiet", "--bare", self.path, path)
        self._copy_objects(path)
        return path

    def push(self, bare: Path) -> None:
        """Let all refs and LFS objects of a bare clone be what they are here."""
        self.git("push", "--quiet", "--mirror", bare)
        self._copy_objects(bare)

    def _copy_objects(self, bare: Path) -> None:
        objects = self.path / ".git/lfs/objects"
        if objects.is_dir():
            shutil.copytree(objects, bare / "lfs/objects", dirs_exist_ok=True)


def blob(repo: Path, content: bytes) -> str:
    """Write a blob; its id."""
    return git("hash-object", "-w", "--stdin", cwd=repo, input=content)


def tree(repo: Path, entries: Iterable[tuple[str, str, bytes, str]]) -> str:
    """Write a tree of (mode, type, name, id), however wrong, byte by byte in this order; its id.

    The type is for the reader only: git takes it from the mode, which is written as it is (``40000``).
    """
    content = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(id) for mode, _, name, id in entries)
    return git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", cwd=repo, input=content)


def commit_tree(repo: Path, tree: str) -> str:
    """Commit a tree and point main at it; the commit's id."""
    commit = git("commit-tree", "-m", "by hand", tree, cwd=repo)
    git("update-ref", "refs/heads/main", commit, cwd=repo)
    return commit
