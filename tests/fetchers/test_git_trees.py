"""What a commit may hold: hostile and odd names, symlinks, executables, submodules; and a `.git` beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import command
from tests.loads import Run, run, write_secrets
from tests.repositories import TREE, Executable, Link, Repository, blob, commit_tree, environment, git, tree
from tests.servers.git import GitServer
from tests.trees import contents


def load(server: GitServer, volume: Path, *arguments: object) -> Run:
    return run(f"{server.url}/name.git", volume, *arguments)


def push(work: Repository, server: GitServer) -> None:
    work.push(server.root / "name.git")


# Names


def hand_made(server: GitServer, *names: bytes, mode: str = "100644", content: bytes = b"evil") -> None:
    """A commit whose tree has these names beside a good one."""
    repo = server.root / "name.git"
    id = blob(repo, content)
    entries = sorted([("100644", "blob", b"good", blob(repo, b"good")), *((mode, "blob", name, id) for name in names)],
                     key=lambda entry: entry[2])  # fmt: skip
    commit_tree(repo, tree(repo, entries))


@pytest.mark.parametrize(
    "name",
    [
        b"..",
        b".",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b".git ",
        b".git.",
        b"a/b",
        b"/etc",
        b"../up",
        b".g\xe2\x80\x8cit",
    ],
)
def test_names_that_git_refuses(server: GitServer, volume: Path, name: bytes) -> None:
    hand_made(server, name)
    done = load(server, volume)
    assert done.code == 5
    assert "git does not check out such a name either" in done.error
    assert done.tree == {}
    assert [path.name for path in volume.parent.iterdir() if "up" in path.name] == []


def test_a_folder_that_leads_up(server: GitServer, volume: Path) -> None:
    repo = server.root / "name.git"
    inner = tree(repo, [("100644", "blob", b"escaped", blob(repo, b"evil"))])
    commit_tree(repo, tree(repo, [("40000", "tree", b"..", inner)]))
    assert load(server, volume).code == 5
    assert not (volume / "escaped").exists()


def test_the_state_of_dsload(server: GitServer, volume: Path) -> None:
    hand_made(server, b".dsload")
    done = load(server, volume)
    assert done.code == 5
    assert ".dsload is where dsload keeps its own state" in done.error
    assert load(server, volume, "-o", "exclude=.dsload").tree == {"good": b"good"}


def test_names_that_are_not_utf8(server: GitServer, volume: Path) -> None:
    hand_made(server, b"caf\xe9", b"\xff\xfe")
    done = load(server, volume)
    assert done.code == 0
    assert sorted(os.listdir(os.fsencode(done.target))) == [b".dsload", b"caf\xe9", b"good", b"\xff\xfe"]
    assert load(server, volume).report["files"]["loaded"] == 0
    assert command.run("verify", done.target).code == 0


def test_a_name_that_is_too_long(server: GitServer, volume: Path) -> None:
    hand_made(server, b"n" * 300)
    done = load(server, volume)
    assert done.code == 5
    assert "a part of it is longer than 255 bytes" in done.error


def test_names_that_differ_in_case(server: GitServer, work: Repository, volume: Path) -> None:
    work.commit({"README": b"1", "readme": b"2"})
    push(work, server)
    assert load(server, volume).tree == {**TREE, "README": b"1", "readme": b"2"}


def test_a_name_twice(server: GitServer, volume: Path) -> None:
    hand_made(server, b"twice", b"twice")
    done = load(server, volume)
    assert done.code == 5
    assert "two files of the source have this name" in done.error


# Symlinks and executables


def test_symlinks_and_executables(server: GitServer, work: Repository, volume: Path) -> None:
    work.commit(
        {"run": Executable(b"#!/bin/sh\n"), "link": Link("a.txt"), "sub/up": Link("../a.txt"), "d": Link("sub")}
    )
    push(work, server)
    done = load(server, volume, "--mount-mode", "0640")
    assert done.code == 0
    assert (done.target / "run").stat().st_mode & 0o777 == 0o750
    assert (done.target / "a.txt").stat().st_mode & 0o777 == 0o640
    assert os.readlink(done.target / "sub/up") == "../a.txt"
    assert (done.target / "d/b.txt").read_bytes() == TREE["sub/b.txt"]
    assert load(server, volume, "--mount-mode", "0640").report["files"]["loaded"] == 0


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "sub/../../x"])
def test_a_symlink_out_of_the_tree(server: GitServer, work: Repository, volume: Path, target: str) -> None:
    work.commit({"link": Link(target)})
    push(work, server)
    done = load(server, volume)
    assert done.code == 5
    assert "this symlink points out of the target" in done.error
    assert load(server, volume, "-o", "exclude=link").tree == TREE


def test_a_path_through_a_symlink(server: GitServer, volume: Path, tmp_path: Path) -> None:
    """A tree with a symlink and a folder of one name."""
    repo = server.root / "name.git"
    inner = tree(repo, [("100644", "blob", b"file", blob(repo, b"evil"))])
    link = blob(repo, str(tmp_path).encode())
    commit_tree(repo, tree(repo, [("120000", "blob", b"x", link), ("40000", "tree", b"x", inner)]))
    assert load(server, volume).code == 5
    assert not (tmp_path / "file").exists()


# Submodules


@pytest.fixture
def nested(server: GitServer, tmp_path: Path, work: Repository) -> Repository:
    """name.git has inner.git as a submodule, by a relative URL, which has deep.git."""
    deep = Repository.make(tmp_path / "deep")
    deep.commit({"deep.txt": b"deep"})
    deep.bare(server.root / "deep.git")
    inner = Repository.make(tmp_path / "inner")
    inner.track("*.bin")
    inner.commit({"inner.txt": b"inner", "lfs.bin": b"in LFS"})
    inner.submodule(f"{server.url}/deep.git", "below", deep.head)
    inner.bare(server.root / "inner.git")
    work.submodule("../inner.git", "modules/inner", inner.head)
    push(work, server)
    inner.commit({"inner.txt": b"later"})
    inner.push(server.root / "inner.git")
    return work


def test_submodules(server: GitServer, nested: Repository, volume: Path) -> None:
    own = {path: data for path, data in load(server, volume).tree.items() if not path.startswith(".git")}
    assert own == TREE
    assert (volume / "set/modules/inner").is_dir()
    inner = {"modules/inner/inner.txt": b"inner", "modules/inner/lfs.bin": b"in LFS"}
    tree = load(server, volume, "-o", "submodules=true").tree
    assert {path: data for path, data in tree.items() if ".git" not in path} == {**TREE, **inner}
    tree = load(server, volume, "-o", "submodules=recursive").tree
    deep = {"modules/inner/below/deep.txt": b"deep"}
    assert {path: data for path, data in tree.items() if ".git" not in path} == {**TREE, **inner, **deep}
    server.clear()
    assert load(server, volume, "-o", "submodules=recursive").report["bytes"]["moved"] == 0
    assert not any(b"want " in request.body for request in server.requests())


def test_credentials_go_to_submodules_of_the_same_host_only(
    server: GitServer, nested: Repository, volume: Path, tmp_path: Path
) -> None:
    other_root = tmp_path / "elsewhere"
    elsewhere = Repository.make(tmp_path / "public")
    elsewhere.commit({"public.txt": b"public"})
    elsewhere.bare(other_root / "public.git")
    server.basic = ("oauth2", "t0ken-of-ann")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    with GitServer(other_root) as other:
        nested.submodule(f"{other.url}/public.git", "public", elsewhere.head)
        push(nested, server)
        done = load(server, volume, "-o", "submodules=recursive")
        assert (done.code, done.tree["public/public.txt"], done.tree["modules/inner/lfs.bin"]) == (
            0,
            b"public",
            b"in LFS",
        )
        assert {request.authorization for request in other.requests()} == {""}


def test_a_submodule_without_gitmodules(server: GitServer, work: Repository, volume: Path) -> None:
    work.git("update-index", "--add", "--cacheinfo", f"160000,{work.head},loose")
    work.git("commit", "-qm", "loose")
    push(work, server)
    done = load(server, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert (done.target / "loose").is_dir()
    refused = load(server, volume, "-o", "submodules=true")
    assert refused.code == 4
    assert "loose is a submodule, but .gitmodules does not say where it comes from" in refused.error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc", "its URL is a folder on this machine"),
        ("/etc", "it is not the URL of a repository"),
        ("ext::sh -c id", "it is not the URL of a repository"),
        ("ssh://-oProxyCommand=id/x", "it names no host"),
        ("-u", "it is not the URL of a repository"),
    ],
)
def test_urls_that_no_submodule_may_have(
    server: GitServer, work: Repository, volume: Path, url: str, words: str
) -> None:
    work.submodule(url, "evil", work.head)
    push(work, server)
    done = load(server, volume, "-o", "submodules=true")
    assert (done.code, words in done.error) == (4, True), done.error


def test_a_submodule_whose_commit_is_gone(server: GitServer, nested: Repository, volume: Path) -> None:
    nested.submodule("../inner.git", "lost", "1" * 40)
    push(nested, server)
    done = load(server, volume, "-o", "submodules=true")
    assert done.code == 4
    assert "the submodule lost of" in done.error


# .git


def porcelain(target: Path, *arguments: str) -> str:
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


def test_keep_git(server: GitServer, work: Repository, volume: Path) -> None:
    work.commit({"run": Executable(b"x"), "link": Link("a.txt"), "ünï": b"u"})
    push(work, server)
    done = load(server, volume, "-o", "keepGit=true", "--mount-mode", "0750")
    assert done.code == 0
    assert porcelain(done.target, "status", "--porcelain") == ""
    assert porcelain(done.target, "rev-parse", "HEAD", "main", "origin/main").split() == [work.head] * 3
    assert porcelain(done.target, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert porcelain(done.target, "remote", "get-url", "origin") == f"{server.url}/name.git"
    assert porcelain(done.target, "rev-list", "--count", "HEAD") == "1"
    porcelain(done.target, "fsck", "--strict")
    work.commit({"a.txt": b"newer"})
    push(work, server)
    porcelain(done.target, "pull", "--quiet", "--ff-only")
    assert (done.target / "a.txt").read_bytes() == b"newer"


@pytest.mark.parametrize(("depth", "count"), [("1", "1"), ("2", "2"), ("0", "4")])
def test_keep_git_with_history(server: GitServer, work: Repository, volume: Path, depth: str, count: str) -> None:
    for n in range(3):
        work.commit({"a.txt": b"%d" % n})
    push(work, server)
    done = load(server, volume, "-o", "keepGit=true", "-o", f"depth={depth}")
    assert porcelain(done.target, "rev-list", "--count", "HEAD") == count
    porcelain(done.target, "fsck", "--strict")
    before = {path: (done.target / path).stat().st_mtime_ns for path in contents(done.target)}
    again = load(server, volume, "-o", "keepGit=true", "-o", f"depth={depth}")
    assert again.report["files"]["loaded"] == 0
    assert before == {path: (done.target / path).stat().st_mtime_ns for path in contents(done.target)}
    work.commit({"a.txt": b"new"})
    push(work, server)
    assert load(server, volume, "-o", "keepGit=true", "-o", f"depth={depth}").code == 0
    assert porcelain(done.target, "rev-parse", "HEAD") == work.head
    porcelain(done.target, "fsck", "--strict")


@pytest.mark.parametrize("kind", ["tag", "commit", "folder"])
def test_keep_git_of_a_tag_a_commit_or_a_folder(server: GitServer, work: Repository, volume: Path, kind: str) -> None:
    work.tag("v1", annotated=True)
    work.commit({"a.txt": b"later"})
    push(work, server)
    uri = f"git+file://{work.path}" if kind == "folder" else f"{server.url}/name.git"
    option = f"commit={work.git('rev-parse', 'v1^{}')}" if kind == "commit" else "branch=v1"
    done = run(uri, volume, "-o", "keepGit=true", "-o", option)
    assert done.code == 0
    assert porcelain(done.target, "status", "--porcelain", "--", "a.txt", "sub") == ""
    assert porcelain(done.target, "rev-parse", "HEAD") == work.git("rev-parse", "v1^{}")
    assert porcelain(done.target, "rev-list", "--count", "HEAD") == "1"
    porcelain(done.target, "fsck")


def test_keep_git_with_lfs_and_submodules(server: GitServer, nested: Repository, volume: Path) -> None:
    nested.track("*.bin")
    nested.commit({"model.bin": b"m" * 5000})
    push(nested, server)
    done = load(server, volume, "-o", "keepGit=true", "-o", "submodules=true")
    assert done.code == 0
    assert not (done.target / ".git/lfs").exists()
    assert porcelain(done.target, "lfs", "ls-files") == f"{_oid(b'm' * 5000)[:10]} * model.bin"
    assert porcelain(done.target, "status", "--porcelain") == ""


def _oid(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


# Much of it


def memory_of(*arguments: object) -> tuple[int, int]:
    """Exit code and peak memory in MiB of a command."""
    code = (
        "import os, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, *command.argv(*arguments)], capture_output=True, text=True, check=True
    )
    exit_code, peak = out.stdout.split()
    return int(exit_code), int(peak)


def test_fifty_thousand_files_in_little_memory(server: GitServer, tmp_path: Path, volume: Path) -> None:
    repo = server.root / "many.git"
    git("init", "--quiet", "--bare", "-b", "main", repo)
    lines = ["commit refs/heads/main\ncommitter T <t@example.com> 1 +0000\ndata 1\nx\n"]
    lines += [
        f"M 644 inline d{n % 100}/e{n % 7}/f{n}\ndata {len(text := f'content of {n}')}\n{text}\n" for n in range(50_000)
    ]
    git("fast-import", "--quiet", cwd=repo, input="".join(lines).encode(), env=environment())
    volume.mkdir()
    flags = ["--mount-root", volume, "--mount-path", "set", "--quiet", "--ownership", "skip"]
    code, peak = memory_of("load", f"{server.url}/many.git", *flags)
    assert code == 0
    assert peak < 200
    assert json.loads((volume / "set/.dsload/complete.json").read_text())["files"]["total"] == 50_000
    assert (volume / "set/d99/e5/f49999").read_bytes() == b"content of 49999"
    code, peak = memory_of("load", f"{server.url}/many.git", *flags)
    assert (code, peak < 200) == (0, True)
