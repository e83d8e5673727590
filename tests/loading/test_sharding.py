"""Loads that several processes share: one plan, each file loaded by exactly one, and any of them killed."""

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from dsload.listing import Entry
from dsload.loading.sharing import assign
from tests import command, killed, trees
from tests.contract.inside import run as inside
from tests.repositories import Repository
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import Virtual, stall
from tests.servers.process import wait_until

MIB = 1 << 20
COUNT = 4


def tree_of(seed: int) -> dict[str, bytes]:
    rng = random.Random(seed)
    files = {f"big/{n}.bin": Virtual((3 + n) * MIB + n, n)[:] for n in range(5)}
    return files | {f"small/{n % 3}/{n}": rng.randbytes(rng.randrange(20_000)) for n in range(60)}


@pytest.fixture
def files() -> dict[str, bytes]:
    return tree_of(1)


@pytest.fixture
def server(files: dict[str, bytes]):
    with FaultServer() as server:
        for path, data in files.items():
            server.put(f"/s/{path}", data)
        yield server


def arguments(server: FaultServer, root: Path, index: int, *more: object, count: int = COUNT) -> list[object]:
    root.mkdir(exist_ok=True)
    flags = ["--mount-root", root, "--mount-path", "t", "--output", "json", "--retry-budget", 20, "--workers", 2]
    return ["load", f"{server.url}/s/", *flags, "--shard", f"{index}/{count}", *more]


def all_at_once(server: FaultServer, root: Path, *more: object) -> list[command.Result]:
    children = [command.start(*arguments(server, root, index, *more)) for index in range(COUNT)]
    return [command.ended(child) for child in children]


def loaded(server: FaultServer) -> Counter[str]:
    """How many times the bytes of each file were sent, in units of its size."""
    sent: Counter[str] = Counter()
    for request in server.requests():
        if request.method == "GET" and not request.target.endswith("/"):
            sent[request.target.removeprefix("/s/")] += request.sent
    return sent


def state(root: Path) -> list[str]:
    return sorted(os.listdir(root / "t/.dsload"))


# All of it


def test_each_file_is_loaded_by_one(server: FaultServer, files: dict[str, bytes], tmp_path: Path) -> None:
    done = all_at_once(server, tmp_path / "v")
    assert [result.code for result in done] == [0] * COUNT, [result.err for result in done]
    assert trees.contents(tmp_path / "v/t") == files
    assert loaded(server) == {path: len(data) for path, data in files.items()}
    assert sum(result.json["files"]["loaded"] for result in done) == len(files)
    assert all(result.json["files"]["loaded"] for result in done)
    assert state(tmp_path / "v") == ["complete.json", "inventory.jsonl", "parts"]
    assert os.listdir(tmp_path / "v/t/.dsload/parts") == []
    marker = json.loads((tmp_path / "v/t/.dsload/complete.json").read_text())
    assert marker["files"] == {"total": len(files), "loaded": len(files), "kept": 0, "deleted": 0}
    assert marker["bytes"]["total"] == sum(map(len, files.values()))
    assert inside("verify", tmp_path / "v/t").code == 0
    server.clear()
    again = all_at_once(server, tmp_path / "v")
    assert [result.code for result in again] == [0] * COUNT
    assert loaded(server) == {}


def test_one_after_the_other(server: FaultServer, files: dict[str, bytes], tmp_path: Path) -> None:
    """The marker comes with the last; a new source file in between is nobody's, one that is gone is told of."""
    for index in (2, 0, 3, 1):
        assert not (tmp_path / "v/t/.dsload/complete.json").exists()
        done = command.run(*arguments(server, tmp_path / "v", index))
        assert done.code == 0, done.err
        server.put("/s/new", b"new")
    assert (tmp_path / "v/t/.dsload/complete.json").exists()
    assert trees.contents(tmp_path / "v/t") == files
    assert loaded(server) == {path: len(data) for path, data in files.items()}
    whole = command.run(*arguments(server, tmp_path / "v", 0)[:-2])
    assert (whole.code, whole.json["files"]["loaded"]) == (0, 1)


def test_a_file_that_changes_meanwhile(server: FaultServer, tmp_path: Path) -> None:
    assert command.run(*arguments(server, tmp_path / "v", 0)).code == 0
    for path in tree_of(1):
        server.put(f"/s/{path}", b"other content")
    done = command.run(*arguments(server, tmp_path / "v", 1))
    assert done.code == 5
    assert "it is gone or has changed since the shards' plan was made; start a new round" in done.errors[0]
    rounds = {"DSLOAD_ROUND": "round-2"}
    results = [command.run(*arguments(server, tmp_path / "v", index), env=rounds) for index in range(COUNT)]
    assert [result.code for result in results] == [0] * COUNT
    assert set(trees.contents(tmp_path / "v/t").values()) == {b"other content"}


def test_deletions_wait_for_the_last(server: FaultServer, files: dict[str, bytes], tmp_path: Path) -> None:
    assert command.run(*arguments(server, tmp_path / "v", 0)[:-2]).code == 0
    for path in list(files)[::2]:
        server.remove(f"/s/{path}")
    server.put("/s/added", b"added")
    for index in range(COUNT):
        assert len(trees.contents(tmp_path / "v/t")) >= len(files)
        assert command.run(*arguments(server, tmp_path / "v", index)).code == 0
    left = {path: data for n, (path, data) in enumerate(files.items()) if n % 2}
    assert trees.contents(tmp_path / "v/t") == {**left, "added": b"added"}
    assert inside("verify", tmp_path / "v/t").code == 0


def test_a_shard_that_comes_back_after_the_end(server: FaultServer, files: dict[str, bytes], tmp_path: Path) -> None:
    """Of the same round it has nothing to do, though the source has changed: the others would not come back."""
    first, second = {"DSLOAD_ROUND": "first"}, {"DSLOAD_ROUND": "second"}
    for index in range(COUNT):
        assert command.run(*arguments(server, tmp_path / "v", index), env=first).code == 0
    server.put("/s/added", b"added")
    assert command.run(*arguments(server, tmp_path / "v", 2), env=first).code == 0
    assert trees.contents(tmp_path / "v/t") == files
    assert (tmp_path / "v/t/.dsload/complete.json").exists()
    for index in range(COUNT):
        assert command.run(*arguments(server, tmp_path / "v", index), env=second).code == 0
    assert trees.contents(tmp_path / "v/t") == {**files, "added": b"added"}
    third = {"DSLOAD_ROUND": "a round that finds nothing to do"}
    assert command.run(*arguments(server, tmp_path / "v", 0), env=third).code == 0
    server.remove("/s/added")
    for index in range(1, COUNT):
        assert command.run(*arguments(server, tmp_path / "v", index), env=third).code == 0
    assert (tmp_path / "v/t/added").exists()
    assert (tmp_path / "v/t/.dsload/complete.json").exists()


# Kills


@pytest.mark.parametrize("victim", range(COUNT))
def test_one_is_killed_and_comes_back(
    server: FaultServer, files: dict[str, bytes], tmp_path: Path, victim: int
) -> None:
    server.rate = 8 * MIB
    env = {"DSLOAD_ROUND": "one"}
    children = [command.start(*arguments(server, tmp_path / "v", index), env=env) for index in range(COUNT)]
    wait_until(lambda: server.bytes_sent() > 8 * MIB, "bytes to be sent")
    children[victim].send_signal(signal.SIGKILL)
    server.put("/s/added", b"after the plan was made")
    server.rate = 0
    ended = [command.ended(child) for child in children]
    assert [result.code for n, result in enumerate(ended) if n != victim] == [0] * (COUNT - 1)
    if (tmp_path / "v/t/.dsload/complete.json").exists():  # it had done its part
        assert trees.contents(tmp_path / "v/t") == files
    again = command.run(*arguments(server, tmp_path / "v", victim), env=env)
    assert again.code == 0, again.err
    assert trees.contents(tmp_path / "v/t") == files
    assert state(tmp_path / "v") == ["complete.json", "inventory.jsonl", "parts"]
    assert inside("verify", tmp_path / "v/t").code == 0
    twice = sum(loaded(server).values()) - sum(map(len, files.values()))
    assert twice <= 2 * 8 * MIB + 2 * 20_000  # what two connections had under way


def test_what_was_not_synced_when_a_shard_was_killed_is_hashed(tmp_path: Path) -> None:
    files = {f"file-{number}": b"%03d" % number for number in range(12)}  # more than are put in place at a time
    source = trees.make(tmp_path / "source", files)
    flags = ["load", source.as_uri(), "--mount-root", tmp_path, "--mount-path", "t", "--shard", "0/1"]
    assert killed.run("os.rename:file-*@12", *flags).returncode == -9
    there = next((tmp_path / "t").glob("file-*"))
    before = there.stat()
    there.write_bytes(b"\0\0\0")  # as after a power cut
    os.utime(there, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inside(*flags).code == 0
    assert trees.contents(tmp_path / "t") == files


PLANNING = ("os.rename:shards.jsonl", "os.remove:lease.json", "os.rename:files-0.jsonl")
ENDING = (
    "os.rename:shard-*.json", "os.remove:lease.json@2", "os.rename:inventory.jsonl", "os.rename:complete.json",
    "os.remove:files-*.jsonl", "os.remove:shards.jsonl", "os.remove:shard-*.json", "os.remove:lease-*.json",
)  # fmt: skip


@pytest.mark.parametrize(("victim", "when"), [(0, when) for when in PLANNING] + [(1, when) for when in ENDING])
def test_killed_at_a_change_of_what_is_shared(tmp_path: Path, victim: int, when: str) -> None:
    old = {"gone": b"gone", "same": b"same", "a/changed": b"old"}
    new = {"same": b"same", "a/changed": b"new!", "b/added": b"added", "c/added": b"added too"}
    link, target = tmp_path / "source", ["--mount-root", tmp_path, "--mount-path", "t"]
    link.symlink_to(trees.make(tmp_path / "old", old))
    assert inside("load", link.as_uri(), *target).code == 0
    link.unlink()
    link.symlink_to(trees.make(tmp_path / "new", new))
    died = 0
    for index in (0, 1):
        flags = ["load", link.as_uri(), *target, "--shard", f"{index}/2"]
        if index == victim:
            done = killed.run(when, *flags)
            assert done.returncode == -9, done.stderr
            died += 1
        assert inside(*flags).code == 0
    assert inside("load", link.as_uri(), *target, "--shard", "0/2").code == 0
    assert died == 1
    assert trees.contents(tmp_path / "t") == new
    assert state(tmp_path) == ["complete.json", "inventory.jsonl", "parts"]
    assert os.listdir(tmp_path / "t/.dsload/parts") == []
    assert inside("verify", tmp_path / "t").code == 0


def test_a_shard_of_a_dead_load_is_followed_by_a_whole_one(
    server: FaultServer, files: dict[str, bytes], tmp_path: Path
) -> None:
    for index in (0, 1):
        assert command.run(*arguments(server, tmp_path / "v", index)).code == 0
    whole = command.run(*arguments(server, tmp_path / "v", 0)[:-2])
    assert whole.code == 0
    assert whole.json["files"]["kept"] > 0
    assert trees.contents(tmp_path / "v/t") == files
    assert state(tmp_path / "v") == ["complete.json", "inventory.jsonl", "parts"]
    assert loaded(server) == {path: len(data) for path, data in files.items()}


# Who may be there


def test_a_whole_load_and_a_shard_exclude_each_other(server: FaultServer, tmp_path: Path) -> None:
    server.order("/s/big/4.bin", stall(MIB), times=ALWAYS)
    shards = [command.start(*arguments(server, tmp_path / "v", index)) for index in range(COUNT)]
    try:
        wait_until(lambda: server.bytes_sent("/s/big/4.bin") > 0, "a shard to be at work")
        whole = command.run(*arguments(server, tmp_path / "v", 0)[:-2])
        assert whole.code == 8
        for index, count in ((0, 2), (7, 9)):
            other = command.run(*arguments(server, tmp_path / "v", index, count=count))
            assert other.code == 8
    finally:
        for child in shards:
            child.kill()
            child.communicate()


def test_the_same_shard_twice(server: FaultServer, tmp_path: Path) -> None:
    server.order("/s/big/4.bin", stall(MIB), times=ALWAYS)
    first = command.start(*arguments(server, tmp_path / "v", 0))
    try:
        wait_until(lambda: server.bytes_sent("/s/big/4.bin") > 0, "the shard to be at work")
        assert command.run(*arguments(server, tmp_path / "v", 0)).code == 8
    finally:
        first.kill()
        first.communicate()


# How it is asked for


def test_from_the_environment_of_an_indexed_job(server: FaultServer, files: dict[str, bytes], tmp_path: Path) -> None:
    for index in range(2):
        env = {"JOB_COMPLETION_INDEX": str(index), "DSLOAD_SHARDS": "2"}
        assert command.run(*arguments(server, tmp_path / "v", 0)[:-2], env=env).code == 0
        assert len(trees.contents(tmp_path / "v/t")) == len(files) or index == 0
    assert trees.contents(tmp_path / "v/t") == files


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/4", "0/0", "0/100001", "1/2/3"])
def test_what_is_no_shard(text: str, tmp_path: Path) -> None:
    done = command.run("load", "file:///nothing", "--mount-path", "t", "--mount-root", tmp_path, "--shard", text)
    assert done.code == 2
    assert "it is not of the form I/N with I below N" in done.errors[0]


def test_git_with_its_history_is_for_one(tmp_path: Path) -> None:
    work = Repository.make(tmp_path / "work")
    work.commit({"a": b"a", "b": b"b"})
    flags = ["--mount-root", tmp_path, "--mount-path", "t"]
    done = command.run("load", f"git+file://{work.path}", *flags, "--shard", "0/2", "-o", "keepGit=true")
    assert done.code == 2
    assert "GIT with keepGit is loaded by one process" in done.errors[0]
    old = work.head
    assert command.run("load", f"git+file://{work.path}", *flags, "--shard", "0/2").code == 0
    work.commit({"a": b"new", "b": b"new"})
    second = command.run("load", f"git+file://{work.path}", *flags, "--shard", "1/2", "--output", "json")
    assert (second.code, second.json["revision"]) == (0, old)  # the plan's, not the newest
    assert trees.contents(tmp_path / "t") == {"a": b"a", "b": b"b"}


def test_parts_are_even_and_the_same_everywhere() -> None:
    rng = random.Random(5)
    entries = [Entry(f"f{n}", rng.randrange(10_000), "", None) for n in range(500)]  # type: ignore[arg-type]
    parts = assign(entries, 7)
    assert sorted(entry.path for part in parts for entry in part) == sorted(entry.path for entry in entries)
    sizes = [sum(entry.size for entry in part) for part in parts]
    assert max(sizes) - min(sizes) <= 10_000
    rng.shuffle(entries)
    assert [{entry.path for entry in part} for part in assign(entries, 7)] == [{e.path for e in part} for part in parts]
