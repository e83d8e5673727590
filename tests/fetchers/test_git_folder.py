"""Repositories that are folders on this machine, as people have them, and where these keep their LFS objects."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.loads import Run, run
from tests.repositories import Repository, git
from tests.servers.git import GitServer

CONTENT = b"in LFS"
OID = hashlib.sha256(CONTENT).hexdigest()
FILE = ("-c", "protocol.file.allow=always")


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """A repository with a file in LFS, whose objects lie in .git/lfs."""
    work = Repository.make(tmp_path / "work")
    work.track("*.bin")
    work.commit({"model.bin": CONTENT, "plain.txt": b"plain"})
    assert object_below(work.path / ".git/lfs").is_file()
    return work


def object_below(storage: Path) -> Path:
    return storage / "objects" / OID[:2] / OID[2:4] / OID


def load(path: Path, volume: Path, *arguments: object) -> Run:
    return run(f"git+file://{path}", volume, *arguments)


def assert_loaded(path: Path, volume: Path) -> None:
    done = load(path, volume)
    assert (done.code, done.tree.get("model.bin"), done.tree.get("plain.txt")) == (0, CONTENT, b"plain"), (
        done.result.err
    )


def test_a_bare_repository_with_and_without_its_suffix(work: Repository, tmp_path: Path, volume: Path) -> None:
    work.bare(tmp_path / "bare.git")
    assert_loaded(tmp_path / "bare.git", volume)
    assert_loaded(tmp_path / "bare", volume.with_name("other"))
    done = load(tmp_path / "bare", volume.with_name("third"), "-o", "keepGit=true")
    assert (done.code, done.tree.get("model.bin")) == (0, CONTENT), done.result.err


def test_a_worktree(work: Repository, tmp_path: Path, volume: Path) -> None:
    work.git("worktree", "add", "--quiet", tmp_path / "tree")
    assert (tmp_path / "tree/.git").is_file()
    assert_loaded(tmp_path / "tree", volume)


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "work"])
def test_lfs_storage(work: Repository, tmp_path: Path, volume: Path, absolute: bool, bare: bool) -> None:
    repo = work.bare(tmp_path / "bare.git") if bare else work.path
    inner = repo if bare else repo / ".git"
    place = tmp_path / "storage" if absolute else inner / "else/where"
    git("config", "lfs.storage", str(place) if absolute else "else/where", cwd=repo)
    shutil.copytree(inner / "lfs", place)
    shutil.rmtree(inner / "lfs")
    assert_loaded(repo, volume)


def test_lfs_storage_for_all_of_a_user(work: Repository, tmp_path: Path, volume: Path) -> None:
    shutil.move(work.path / ".git/lfs", tmp_path / "storage")
    (tmp_path / "gitconfig").write_text(f"[lfs]\n\tstorage = {tmp_path}/storage\n")
    done = run(f"git+file://{work.path}", volume, env={"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")})
    assert (done.code, done.tree["model.bin"]) == (0, CONTENT)


@pytest.mark.parametrize("form", ["absolute", "relative", "quoted", "twice"])
def test_objects_of_the_repository_that_is_borrowed_from(
    work: Repository, tmp_path: Path, volume: Path, form: str
) -> None:
    git("clone", "--quiet", "--bare", "--shared", work.path, tmp_path / "shared.git")
    alternates = tmp_path / "shared.git/objects/info/alternates"
    assert alternates.read_text() == f"{work.path}/.git/objects\n"
    if form == "relative":
        alternates.write_text("# borrowed\n\n../../work/.git/objects\n")
    if form == "quoted":
        alternates.write_text(f'"{work.path}/.git/obj\\145cts"\n')
        shutil.copytree(work.path / ".git/objects", tmp_path / "shared.git/objects", dirs_exist_ok=True)
    if form == "twice":
        git("clone", "--quiet", "--bare", "--shared", tmp_path / "shared.git", tmp_path / "again.git")
    assert_loaded(tmp_path / ("again.git" if form == "twice" else "shared.git"), volume)


def test_repositories_that_borrow_from_each_other(work: Repository, tmp_path: Path, volume: Path) -> None:
    git("clone", "--quiet", "--bare", "--no-hardlinks", work.path, tmp_path / "other.git")
    (tmp_path / "other.git/objects/info/alternates").write_text(f"{work.path}/.git/objects\n")
    (work.path / ".git/objects/info/alternates").write_text(f"{tmp_path}/other.git/objects\n")
    shutil.move(work.path / ".git/lfs", tmp_path / "lfs")
    done = load(work.path, volume)
    assert (done.code, f"model.bin (LFS object {OID[:12]}) cannot be found in" in done.error) == (4, True)
    assert f"{work.path}/.git/lfs/objects, {tmp_path}/other.git/lfs/objects" in done.error
    assert done.tree == {}


def test_a_partial_clone(work: Repository, tmp_path: Path, volume: Path) -> None:
    work.bare(tmp_path / "bare.git")
    git("config", "uploadpack.allowFilter", "true", cwd=tmp_path / "bare.git")
    git(*FILE, "clone", "--quiet", "--filter=blob:none", f"file://{tmp_path}/bare.git", tmp_path / "partial")
    assert "partialclone" in (tmp_path / "partial/.git/config").read_text().lower()
    shutil.copytree(work.path / ".git/lfs", tmp_path / "partial/.git/lfs", dirs_exist_ok=True)
    assert_loaded(tmp_path / "partial", volume)


def test_a_repository_of_an_unknown_kind(work: Repository, volume: Path) -> None:
    work.git("config", "core.repositoryFormatVersion", "1")
    work.git("config", "extensions.objectFormat", "sha1")
    config = work.path / ".git/config"
    config.write_text(f"{config.read_text()}[extensions]\n\tfuture = yes\n")
    done = load(work.path, volume)
    assert (done.code, "of a kind that dsload cannot read (" in done.error) == (4, True), done.error


def test_a_repository_whose_files_cannot_be_read(work: Repository, volume: Path) -> None:
    (work.path / ".git/config").unlink()
    (work.path / ".git/config").mkdir()
    done = load(work.path, volume)
    assert (done.code, "its files cannot be read (is a directory)" in done.error) == (3, True), done.error


def test_a_submodule_of_a_clone(work: Repository, tmp_path: Path, volume: Path) -> None:
    """Its .git is a file that leads to .git/modules of the outer one, where its LFS objects are too."""
    outer = Repository.make(tmp_path / "outer")
    outer.commit({"a.txt": b"a"})
    outer.submodule(str(work.path), "below")
    git("lfs", "pull", cwd=tmp_path / "outer/below")
    assert object_below(tmp_path / "outer/.git/modules/below/lfs").is_file()
    shutil.rmtree(work.path)
    assert_loaded(tmp_path / "outer/below", volume)
    done = load(tmp_path / "outer", volume.with_name("other"), "-o", "submodules=true")
    assert (done.code, done.tree.get("below/model.bin")) == (0, CONTENT), done.result.err


def test_objects_at_hand_are_not_asked_for(work: Repository, tmp_path: Path, volume: Path) -> None:
    """Nor is .lfsconfig's server needed for them; it is for the others."""
    work.commit({"more.bin": b"more"})
    work.bare(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git") as server:
        work.commit({".lfsconfig": f"[lfs]\n\turl = {server.url}/name.git/info/lfs\n".encode()})
        assert_loaded(work.path, volume)
        assert server.batches == []
        more = hashlib.sha256(b"more").hexdigest()
        (work.path / ".git/lfs/objects" / more[:2] / more[2:4] / more).unlink()
        done = load(work.path, volume.with_name("other"))
        assert (done.code, done.tree["more.bin"], done.tree["model.bin"]) == (0, b"more", CONTENT)
        assert [[row["oid"] for row in batch["objects"]] for batch in server.batches] == [[more]]


def test_an_object_that_is_cut_short_counts_as_missing(work: Repository, volume: Path) -> None:
    file = object_below(work.path / ".git/lfs")
    file.chmod(0o644)
    file.write_bytes(CONTENT[:-1])
    done = load(work.path, volume)
    assert (done.code, "model.bin (LFS object" in done.error) == (4, True)
    assert load(work.path, volume, "-o", "exclude=*.bin").code == 0


@pytest.mark.parametrize("name", [".lfsconfig", ".gitmodules"])
def test_no_file_of_this_machine_is_included(server: GitServer, tmp_path: Path, volume: Path, name: str) -> None:
    """Nor shown: what a repository says of itself comes from a stranger."""
    (tmp_path / "private").write_text("a-line-of-a-private-file\n")
    repo = Repository.make(tmp_path / "hostile")
    repo.track("*.bin")
    repo.commit({"model.bin": CONTENT, name: f"[include]\n\tpath = {tmp_path}/private\n".encode()})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head},below")
    repo.git("commit", "-qm", "below")
    repo.bare(server.root / "hostile.git")
    done = run(f"{server.url}/hostile.git", volume, "-o", "submodules=true", "-v")
    assert "a-line-of-a-private-file" not in done.result.err
    assert done.code == 4  # for the submodule without a URL
    assert run(f"{server.url}/hostile.git", volume, "-o", "exclude=below").code == 0
