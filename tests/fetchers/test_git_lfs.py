"""Git LFS: which files are its, who is asked for them, and what a missing object, an expired place and a kill do."""

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import command
from tests.loads import Run, run, write_secrets
from tests.repositories import Executable, Repository, blob, git
from tests.servers.fault import ALWAYS, ANY
from tests.servers.git import GitServer, object_file, storage_path
from tests.servers.orders import Virtual, close, flip, ignore_range, status
from tests.servers.process import wait_until
from tests.trees import contents

MIB = 1 << 20
BIG = Virtual(20 * MIB + 17, seed=1)[:]
SMALL = b"small and in LFS"
PLAIN = b"not in LFS"


def oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pointer(content: bytes) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid(content)}\nsize {len(content)}\n".encode()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Two files in LFS, one of them executable, and one that is not."""
    made = Repository.make(tmp_path_factory.mktemp("git") / "work")
    made.track("*.bin", "tools/*")
    made.commit({"model.bin": BIG, "tools/run": Executable(SMALL), "plain.txt": PLAIN})
    return made


def load(server: GitServer, volume: Path, *arguments: object) -> Run:
    return run(f"{server.url}/name.git", volume, *arguments)


def without_attributes(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if path != ".gitattributes"}


TREE = {"model.bin": BIG, "tools/run": SMALL, "plain.txt": PLAIN}

# What is loaded


def test_objects_come_in_the_place_of_pointers(server: GitServer, volume: Path) -> None:
    done = load(server, volume, "--mount-mode", "0640")
    assert (done.code, without_attributes(done.tree)) == (0, TREE)
    assert done.report["unverified"] == 0
    assert (done.target / "tools/run").stat().st_mode & 0o777 == 0o750
    lines = (done.target / ".dsload/inventory.jsonl").read_text().splitlines()
    rows = {row.get("path"): row for row in map(json.loads, lines)}
    assert rows["model.bin"]["checksum"] == f"sha256:{oid(BIG)}"
    assert sorted(os.listdir(done.target)) == [".dsload", ".gitattributes", "model.bin", "plain.txt", "tools"]
    assert sum(path.stat().st_size for path in volume.rglob("*") if path.is_file()) < len(BIG) + 10_000
    assert len(server.storage.requests(storage_path(oid(BIG)))) > 1  # in ranges
    assert server.storage.leaked == []
    assert command.run("verify", done.target).code == 0


def test_one_batch_asks_for_many(server: GitServer, work: Repository, volume: Path) -> None:
    files = {f"{n}.bin": b"object %d" % n for n in range(250)}
    work.commit({**files, "again.bin": files["7.bin"]})
    work.push(server.root / "name.git")
    done = load(server, volume, "-o", "include=*.bin", "-o", "exclude=model.bin")
    assert (done.code, done.tree) == (0, {**files, "again.bin": files["7.bin"]})
    assert sorted(len(batch["objects"]) for batch in server.batches) == [50, 100, 100]
    (asked, *_) = server.batches
    assert (asked["operation"], asked["transfers"], asked["hash_algo"]) == ("download", ["basic"], "sha256")
    assert asked["ref"] == {"name": "refs/heads/main"}
    assert asked["objects"][0].keys() == {"oid", "size"}


def test_a_server_that_takes_fewer_at_a_time(server: GitServer, work: Repository, volume: Path) -> None:
    files = {f"{n}.bin": b"object %d" % n for n in range(60)}
    work.commit(files)
    work.push(server.root / "name.git")
    server.largest_batch = 20
    assert load(server, volume).code == 0


def test_pointers_are_kept_where_asked_for(server: GitServer, volume: Path) -> None:
    done = load(server, volume, "-o", "lfs=false")
    assert (done.code, done.tree["model.bin"], done.tree["tools/run"]) == (0, pointer(BIG), pointer(SMALL))
    assert server.batches == []
    assert load(server, volume).tree["model.bin"] == BIG


def test_what_only_looks_like_a_pointer_stays(server: GitServer, work: Repository, volume: Path) -> None:
    odd = {"docs/example.txt": pointer(b"no such object"), "half.bin": b"version https://git-lfs.github.com/spec/v1\n"}
    work.commit({"docs/.gitattributes": b"run -filter\n", "docs/run": b"x"})
    for path, content in odd.items():
        (work.path / path).parent.mkdir(exist_ok=True)
        (work.path / path).write_bytes(content)
        id = work.git("hash-object", "-w", "--no-filters", path)
        work.git("update-index", "--add", "--cacheinfo", f"100644,{id},{path}")
    work.git("commit", "-qm", "odd")
    work.push(server.root / "name.git")
    done = load(server, volume)
    assert done.code == 0
    assert {path: done.tree[path] for path in odd} == odd
    assert "1 file looks like an LFS pointer, but no .gitattributes says so: kept" in done.result.err


@pytest.mark.parametrize("filters", [True, False], ids=["partial", "whole"])
def test_a_rerun_and_a_new_commit(server: GitServer, work: Repository, volume: Path, filters: bool) -> None:
    server.filters = filters
    assert load(server, volume).code == 0
    server.clear()
    assert load(server, volume).report["bytes"]["moved"] == 0
    assert (server.batches, server.storage.requests()) == ([], [])
    work.commit({"more.bin": b"more", "plain.txt": b"changed"})
    work.push(server.root / "name.git")
    done = load(server, volume)
    assert without_attributes(done.tree) == {**TREE, "more.bin": b"more", "plain.txt": b"changed"}
    assert done.report["files"]["loaded"] == 2
    assert [[row["oid"] for row in batch["objects"]] for batch in server.batches] == [[oid(b"more")]]
    assert [request.target.partition("?")[0] for request in server.storage.requests()] == [storage_path(oid(b"more"))]


@pytest.mark.parametrize("filters", [True, False], ids=["partial", "whole"])
def test_a_file_that_is_renamed_and_one_that_leaves_lfs(
    server: GitServer, work: Repository, volume: Path, filters: bool
) -> None:
    server.filters = filters
    assert load(server, volume).code == 0
    work.commit({"tools/run": None, ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", "run": SMALL})
    work.push(server.root / "name.git")
    done = load(server, volume)
    assert without_attributes(done.tree) == {"model.bin": BIG, "run": SMALL, "plain.txt": PLAIN}
    plain = {"model.bin": pointer(BIG), "run": pointer(SMALL), ".gitattributes": b"", "tools/x": b"x"}
    for path, content in plain.items():
        work.git("update-index", "--add", "--cacheinfo", f"100644,{blob(work.path, content)},{path}")
    work.git("commit", "-qm", "pointers, and nothing says that they are")
    work.push(server.root / "name.git")
    done = load(server, volume)
    assert done.tree == {**plain, "plain.txt": PLAIN}


# Who is asked


def test_another_server_by_lfsconfig_gets_no_credentials(
    server: GitServer, work: Repository, volume: Path, tmp_path: Path
) -> None:
    server.basic = ("ann", "secret-of-ann")
    write_secrets(tmp_path / "secrets", username="ann", password="secret-of-ann")
    with GitServer(server.root) as other:
        work.commit({".lfsconfig": f"[lfs]\n\turl = {other.url}/name.git/info/lfs\n".encode()})
        work.push(server.root / "name.git")
        done = load(server, volume)
        assert (done.code, done.tree["model.bin"]) == (0, BIG)
        assert server.batches == []
        assert {request.authorization for request in other.requests()} == {""}
        assert other.storage.leaked == []


def test_credentials_in_lfs_url_are_for_that_server(
    server: GitServer, work: Repository, volume: Path, tmp_path: Path
) -> None:
    with GitServer(server.root, basic=("reader", "pa@ss-of-all")) as other:
        url = other.url.replace("//", "//reader:pa%40ss-of-all@")
        work.commit({".lfsconfig": f"[lfs]\n\turl = {url}/name.git/info/lfs\n".encode()})
        work.push(server.root / "name.git")
        done = load(server, volume, "-v")
        assert (done.code, done.tree.get("model.bin")) == (0, BIG), done.result.err
        assert {request.authorization for request in server.requests()} == {""}
        assert other.storage.leaked == []
    assert "ss-of-all" not in done.result.err + done.result.out


def test_a_batch_that_is_sent_on_to_another_host(server: GitServer, volume: Path, tmp_path: Path) -> None:
    server.basic = ("oauth2", "t0ken-of-ann")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    with GitServer(server.root) as other:
        server.redirect = {"/name.git/info/lfs": f"{other.url}/name.git/info/lfs"}
        other.storage.order(storage_path(oid(BIG)), status(403))  # so that the place is asked for again midway
        done = load(server, volume)
        assert (done.code, done.tree["model.bin"]) == (0, BIG)
        assert len(other.batches) == 2
        assert {request.authorization for request in other.requests()} == {""}


@pytest.mark.parametrize("key", ["lfs.url", "remote.origin.lfsurl"])
def test_a_path_of_the_same_server_by_lfsconfig(
    server: GitServer, work: Repository, volume: Path, tmp_path: Path, key: str
) -> None:
    server.basic = ("oauth2", "t0ken-of-ann")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    work.bare(server.root / "store.git")
    object_file(server.root / "name.git", oid(BIG)).unlink()
    work.git("config", "-f", ".lfsconfig", key, f"{server.url}/store.git/info/lfs")
    work.commit({})
    work.push(server.root / "name.git")
    object_file(server.root / "name.git", oid(BIG)).unlink()
    done = load(server, volume)
    assert (done.code, done.tree["model.bin"]) == (0, BIG)
    assert server.storage.leaked == []


def test_a_folder_of_this_machine_is_no_lfs_server(server: GitServer, work: Repository, volume: Path) -> None:
    work.commit({".lfsconfig": f"[lfs]\n\turl = file://{work.path}\n".encode()})
    work.push(server.root / "name.git")
    done = load(server, volume)
    assert (done.code, "lfs.url in .lfsconfig is a folder on this machine" in done.error) == (4, True)


def test_bearer(server: GitServer, volume: Path, tmp_path: Path) -> None:
    server.bearer = "t0ken-of-ann"
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    assert load(server, volume).tree["model.bin"] == BIG
    assert server.storage.leaked == []


def test_no_lfs_at_the_server(server: GitServer, volume: Path) -> None:
    server.lfs_enabled = False
    done = load(server, volume)
    assert done.code == 4
    assert "the server has no Git LFS at" in done.error
    assert "-o lfs=false" in done.error
    assert not (volume / "set/plain.txt").exists()  # told before anything is loaded


@pytest.mark.parametrize(("answer", "code"), [(403, 3), (422, 3), (500, 9), (501, 4)])
def test_a_batch_that_is_refused(server: GitServer, volume: Path, answer: int, code: int) -> None:
    server.lfs_status = answer
    done = load(server, volume, "--retry-budget", 1)
    assert (done.code, f"status {answer} by order" in done.error) == (code, True), done.error


# What is missing


def test_missing_objects_are_told_by_path_before_anything_is_loaded(server: GitServer, volume: Path) -> None:
    object_file(server.root / "name.git", oid(BIG)).unlink()
    server.lfs_errors[oid(SMALL)] = (410, "Object removed by the owner")
    done = load(server, volume)
    assert done.code == 4
    assert "2 of 2 LFS objects cannot be downloaded from" in done.error
    assert f"model.bin (LFS object {oid(BIG)[:12]}: Object does not exist on the server (404))" in done.error
    assert "tools/run (LFS object" in done.error
    assert server.storage.requests() == []
    assert done.tree == {}
    assert load(server, volume, "-o", "include=plain.txt").tree == {"plain.txt": PLAIN}


@pytest.mark.parametrize(("code", "exit"), [(403, 3), (422, 4), (429, 9)])
def test_an_object_that_is_refused(server: GitServer, volume: Path, code: int, exit: int) -> None:
    server.lfs_errors[oid(BIG)] = (code, "not for you")
    done = load(server, volume, "--retry-budget", 1)
    assert (done.code, f"not for you ({code})" in done.error) == (exit, True)


def test_content_that_is_wrong(server: GitServer, volume: Path) -> None:
    server.storage.order(storage_path(oid(BIG)), flip(5 * MIB))
    assert load(server, volume).tree["model.bin"] == BIG
    server.storage.order(storage_path(oid(SMALL)), flip(3), times=ALWAYS)
    done = run(f"{server.url}/name.git", volume.with_name("other"))
    assert done.code == 5
    assert "tools/run" in done.error


# What takes long


@pytest.mark.parametrize("file", ["model.bin", "tools/run"])
def test_places_that_expire_before_they_are_used(server: GitServer, volume: Path, file: str) -> None:
    """The batch of before is refused by the storage, and another is asked for."""
    server.storage.order(storage_path(oid(BIG if file == "model.bin" else SMALL)), status(403))
    done = load(server, volume)
    assert (done.code, done.tree[file]) == (0, TREE[file])
    assert len(server.batches) == 2


def test_places_that_expire_midway(server: GitServer, volume: Path) -> None:
    """The connection breaks off, and what goes on from there is refused at the old place."""
    server.storage.rate = 8 * MIB
    server.storage.order(storage_path(oid(BIG)), close(6 * MIB))
    volume.mkdir()
    child = command.start(
        "load", f"{server.url}/name.git", "--mount-root", volume, "--mount-path", "set", "--workers", 1
    )
    wait_until(lambda: server.storage.bytes_sent() > MIB, "bytes to be sent")
    server.expire()
    server.storage.rate = 0
    done = command.ended(child)
    assert done.code == 0, done.err
    assert without_attributes(contents(volume / "set")) == TREE
    assert len(server.batches) >= 2
    assert {request.status for request in server.storage.requests(storage_path(oid(BIG)))} == {206, 403}


def test_places_that_are_said_to_have_expired_are_asked_for_again(server: GitServer, volume: Path) -> None:
    server.lfs_expires_in = -5
    done = load(server, volume)
    assert (done.code, done.tree["model.bin"]) == (0, BIG)
    assert len(server.batches) > 1


def test_a_place_that_is_always_refused(server: GitServer, volume: Path) -> None:
    server.storage.order(storage_path(oid(BIG)), status(403), times=ALWAYS)
    done = load(server, volume)
    assert done.code == 3
    assert "the LFS storage refuses a request that the server had just authorized (403 Forbidden)" in done.error
    assert 2 <= len(server.batches) <= 20


def test_an_object_that_is_not_where_it_should_be(server: GitServer, volume: Path) -> None:
    server.storage.order(storage_path(oid(SMALL)), status(404), times=ALWAYS)
    done = load(server, volume, "--retry-budget", 1)
    assert done.code == 9
    assert "is not where the server says it is (404 Not Found)" in done.error


def test_a_connection_that_breaks_and_a_storage_without_ranges(server: GitServer, volume: Path) -> None:
    server.storage.order(storage_path(oid(BIG)), close(3 * MIB))
    assert load(server, volume).tree["model.bin"] == BIG
    server.storage.order(storage_path(oid(BIG)), ignore_range(), times=ALWAYS)
    assert run(f"{server.url}/name.git", volume.with_name("other")).tree["model.bin"] == BIG


def test_killed_in_the_middle_of_an_object(server: GitServer, volume: Path, tmp_path: Path) -> None:
    server.storage.rate = 16 * MIB
    volume.mkdir()
    flags = ["--mount-root", volume, "--mount-path", "set", "--mount-secrets", tmp_path, "--workers", 2]
    child = command.start("load", f"{server.url}/name.git", *flags)
    wait_until(lambda: server.storage.bytes_sent() > 18 * MIB, "bytes to be sent")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (volume / "set/model.bin").exists()
    server.clear()
    server.storage.rate = 0
    done = load(server, volume, "--workers", 2)
    assert (done.code, without_attributes(done.tree)) == (0, TREE)
    resumed = done.report["bytes"]["resumed"]
    assert resumed > 0
    assert server.storage.bytes_sent(storage_path(oid(BIG))) == len(BIG) - resumed


# Folders


def test_objects_of_a_folder(work: Repository, volume: Path) -> None:
    done = run(f"git+file://{work.path}", volume)
    assert (done.code, without_attributes(done.tree)) == (0, TREE)
    object_file(work.path / ".git", oid(SMALL)).unlink()
    done = run(f"git+file://{work.path}", volume.with_name("other"))
    assert done.code == 4
    assert f"tools/run (LFS object {oid(SMALL)[:12]}) cannot be found in" in done.error


# The server of these tests is one that the real client takes for one


def test_what_the_real_client_pushed(server: GitServer, work: Repository, volume: Path) -> None:
    content = b"pushed by git-lfs" * 1000
    work.commit({"pushed.bin": content})
    git("push", "--quiet", server.root / "name.git", "main", cwd=work.path)
    work.git("config", "lfs.url", f"{server.url}/name.git/info/lfs")
    work.git("remote", "add", "origin", f"{server.url}/name.git")
    subprocess.run(["git", "lfs", "push", "--all", "origin", "main"], cwd=work.path, check=True, capture_output=True)
    assert load(server, volume, "-o", "include=pushed.bin").tree == {"pushed.bin": content}
    assert ANY not in (batch["operation"] for batch in server.batches)
