"""What a filter of a repository excludes is not read, not asked for, and cannot fail a load."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.loads import Run, run
from tests.repositories import Repository, blob, commit_tree, tree
from tests.servers.git import GitServer, object_file

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a1' * 32}\nsize 5\n".encode()


def load(server: GitServer, volume: Path, *arguments: object) -> Run:
    return run(f"{server.url}/name.git", volume, *arguments)


def commit(server: GitServer, work: Repository, files: dict[str, bytes]) -> None:
    work.track("*.bin")
    work.commit(files)
    work.push(server.root / "name.git")


def test_lfs_objects_that_are_excluded_are_not_asked_for(server: GitServer, work: Repository, volume: Path) -> None:
    commit(server, work, {"big/a.bin": b"excluded", "b.bin": b"wanted"})
    done = load(server, volume, "-o", "exclude=big/*")
    assert (done.code, done.tree["b.bin"]) == (0, b"wanted")
    assert [len(batch["objects"]) for batch in server.batches] == [1]
    server.clear()
    assert load(server, volume.with_name("texts"), "-o", "include=*.txt").code == 0
    assert (server.batches, server.requests("/name.git/info/lfs/objects/batch")) == ([], [])


@pytest.mark.parametrize("broken", ["lfsconfig", "folder", "gone", "extension"])
def test_lfs_that_does_not_work_is_no_matter_if_it_is_not_selected(
    server: GitServer, work: Repository, volume: Path, broken: str
) -> None:
    files = {"a.bin": b"a", "plain.txt": b"plain"}
    if broken == "lfsconfig":
        files[".lfsconfig"] = b"[lfs\nurl"
    if broken == "folder":
        files[".lfsconfig"] = b"[lfs]\n\turl = file:///etc\n"
    if broken == "extension":
        lines = f"ext-0-x sha256:{'a1' * 32}\noid".encode()
        id = blob(work.path, POINTER.replace(b"oid", lines))
        work.git("update-index", "--add", "--cacheinfo", f"100644,{id},b.bin")
        work.git("commit", "-qm", "b.bin")
        (work.path / "b.bin").write_bytes(POINTER.replace(b"oid", lines))
    commit(server, work, files)
    server.lfs_enabled = broken == "extension"
    assert load(server, volume).code in (2, 4)
    done = load(server, volume.with_name("other"), "-o", "include=*.txt")
    assert (done.code, done.tree["plain.txt"]) == (0, b"plain"), done.result.err


def test_a_submodule_that_is_excluded_is_not_fetched(
    server: GitServer, work: Repository, volume: Path, tmp_path: Path
) -> None:
    inner = Repository.make(tmp_path / "inner")
    inner.commit({"x/inner.txt": b"inner", "y.txt": b"y"})
    inner.bare(server.root / "inner.git")
    work.submodule("../inner.git", "modules/inner", inner.head)
    work.submodule("../gone.git", "modules/gone", inner.head)
    work.git("update-index", "--add", "--cacheinfo", f"160000,{work.head},modules/loose")
    work.git("commit", "-qm", "loose")
    work.push(server.root / "name.git")
    done = load(server, volume, "-o", "submodules=true")
    assert done.code == 4
    assert "modules/loose is a submodule, but .gitmodules does not say" in done.error or "modules/gone" in done.error
    server.clear()
    done = load(server, volume, "-o", "submodules=true", "-o", "exclude=modules/gone/,modules/loose/")
    assert (done.code, done.tree["modules/inner/y.txt"]) == (0, b"y"), done.result.err
    server.clear()
    done = load(server, volume, "-o", "submodules=true", "-o", "exclude=modules/gone,modules/loose,*inner")
    assert (done.code, done.tree["modules/inner/y.txt"]) == (0, b"y"), done.result.err  # what is excluded stays
    assert not any(request.target.startswith(("/inner", "/gone")) for request in server.requests())
    lost = load(server, volume.with_name("lost"), "-o", "submodules=true", "-o", "exclude=modules/loose")
    assert (lost.code, "or leave it out by -o exclude='modules/gone/'" in lost.error) == (4, True), lost.error
    server.clear()
    done = load(server, volume.with_name("other"), "-o", "submodules=true", "-o", "include=*/x/*,a.txt",
                "-o", "exclude=modules/gone/*,modules/loose/*")  # fmt: skip
    assert done.tree == {"modules/inner/x/inner.txt": b"inner", "a.txt": b"a"}
    server.clear()
    done = load(server, volume.with_name("third"), "-o", "submodules=true", "-o", "include=a.txt")
    assert (done.code, done.tree) == (0, {"a.txt": b"a"})
    assert not any(request.target.startswith(("/inner", "/gone")) for request in server.requests())


def test_a_broken_gitmodules_is_read_for_submodules_that_are_wanted(
    server: GitServer, work: Repository, volume: Path
) -> None:
    work.commit({".gitmodules": b"[submodule\n"})
    work.git("update-index", "--add", "--cacheinfo", f"160000,{work.head},sub2")
    work.git("commit", "-qm", "sub2")
    work.push(server.root / "name.git")
    done = load(server, volume, "-o", "submodules=true")
    assert (done.code, "reading .gitmodules of" in done.error) == (2, True)
    assert load(server, volume, "-o", "submodules=true", "-o", "include=a.txt").code == 0
    assert load(server, volume.with_name("other")).code == 0


def test_names_that_git_refuses_may_be_excluded(server: GitServer, volume: Path) -> None:
    repo = server.root / "name.git"
    good = blob(repo, b"good")
    inner = tree(repo, [("100644", "blob", b".git", good), ("100644", "blob", b"fine", good)])
    commit_tree(repo, tree(repo, [("40000", "tree", b"bad", inner), ("100644", "blob", b"good", good)]))
    assert load(server, volume).code == 5
    assert load(server, volume, "-o", "exclude=bad/*").tree == {"good": b"good"}
    assert load(server, volume.with_name("other"), "-o", "exclude=*.git").tree == {"good": b"good", "bad/fine": b"good"}


def test_a_folder_with_a_tree_that_is_missing(work: Repository, volume: Path) -> None:
    lost = work.git("rev-parse", "HEAD:sub")
    os.unlink(work.path / ".git/objects" / lost[:2] / lost[2:])
    uri = f"git+file://{work.path}"
    done = run(uri, volume)
    assert (done.code, f"the tree {lost} is missing" in done.error) == (5, True)
    assert run(uri, volume, "-o", "exclude=sub/*").tree == {"a.txt": b"a"}


def test_a_repository_whose_folder_lacks_the_content(work: Repository, volume: Path) -> None:
    """As a partial clone does."""
    lost = work.git("rev-parse", "HEAD:a.txt")
    os.unlink(work.path / ".git/objects" / lost[:2] / lost[2:])
    uri = f"git+file://{work.path}"
    done = run(uri, volume)
    assert (done.code, f"the object {lost} is missing" in done.error) == (5, True)
    assert "sub/b.txt" in run(uri, volume, "-o", "include=sub/*").tree


def test_a_new_commit_fetches_what_is_selected(server: GitServer, work: Repository, volume: Path) -> None:
    server.filters = True
    assert load(server, volume, "-o", "include=a.txt").code == 0
    work.commit({"a.txt": b"new", "sub/b.txt": b"new too", "c.bin": os.urandom(100_000)})
    work.push(server.root / "name.git")
    server.clear()
    assert load(server, volume, "-o", "include=a.txt").tree == {"a.txt": b"new"}
    wanted = b"".join(request.body for request in server.requests())
    assert work.git("rev-parse", "HEAD:a.txt").encode() in wanted
    assert work.git("rev-parse", "HEAD:c.bin").encode() not in wanted


def test_missing_objects_that_are_excluded(server: GitServer, work: Repository, volume: Path) -> None:
    commit(server, work, {"lost.bin": b"lost", "found.bin": b"found"})
    object_file(server.root / "name.git", hashlib.sha256(b"lost").hexdigest()).unlink()
    done = load(server, volume)
    assert (done.code, "lost.bin (LFS object" in done.error) == (4, True)
    assert load(server, volume, "-o", "exclude=lost.bin").tree["found.bin"] == b"found"
