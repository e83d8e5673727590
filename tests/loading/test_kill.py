"""SIGKILL at any instant: the next run goes on, sends again only what was in flight, and ends with every byte right."""

import itertools
import json
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import command, killed, trees
from tests.contract.inside import run
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import Virtual, ignore_range
from tests.servers.process import wait_until

MIB = 1 << 20
ROOT = os.geteuid() == 0
UID, GID = (4321, 5432) if ROOT else (os.geteuid(), os.getegid())
OWNER = ["--mount-uid", str(UID), "--mount-gid", str(GID), "--mount-mode", "0750"]
LARGEST_PART = 16 * MIB  # of 70 MiB and six workers


def mixed_tree(seed: int) -> dict[str, bytes]:
    """Three files in parts and two hundred small ones."""
    rng = random.Random(seed)
    files = {f"big/{size}.bin": Virtual(size * MIB + rng.randrange(1000), size)[:] for size in (20, 40, 70)}
    return files | {f"small/{n % 7}/{n}": rng.randbytes(rng.randrange(40_000)) for n in range(200)}


def safe(target: Path) -> int:
    """How many bytes the state on the volume says are safe: finished parts, and files in place that have a row."""
    parts = target / ".dsload/parts"
    total = 0
    for journal in parts.glob("*.journal"):
        spans = [json.loads(line) for line in journal.read_text().splitlines()]
        total += sum(span["end"] - span["start"] for span in unite(spans))
    rows: dict[str, int] = {}
    for name in ("inventory.jsonl", "parts/files.jsonl"):
        file = target / ".dsload" / name
        for line in file.read_bytes().splitlines() if file.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a torn last line
            row = row.get("intended", row)
            if "path" in row:
                rows[row["path"]] = row["size"]
    return total + sum(size for path, size in rows.items() if (target / path).exists())


def unite(spans: list[dict[str, int]]) -> Iterator[dict[str, int]]:
    """The byte ranges without overlaps."""
    end = 0
    for span in sorted((s for s in spans if "start" in s), key=lambda s: s["start"]):
        start, end_of_this = max(span["start"], end), span["end"]
        if start < end_of_this:
            yield {"start": start, "end": end_of_this}
        end = max(end, end_of_this)


def check_what_is_visible(target: Path, *versions: Mapping[str, bytes]) -> None:
    """Each file under its name is whole, of one version, with its owner and mode."""
    for path, content in trees.contents(target).items():
        assert any(version.get(path) == content for version in versions), path
        info = (target / path).stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (UID, GID, 0o750), path


def check_the_end(target: Path, files: Mapping[str, bytes]) -> None:
    assert trees.contents(target) == files
    for path, owner in trees.owners(target).items():
        assert owner == (UID, GID, "0750"), path
    assert os.listdir(target / ".dsload/parts") == []
    assert sorted(os.listdir(target / ".dsload")) == ["complete.json", "inventory.jsonl", "parts"]
    assert run("verify", target).code == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_again_and_again_while_bytes_arrive(seed: int, tmp_path: Path) -> None:
    files, rng, workers, kills = mixed_tree(seed), random.Random(seed), 6, 4
    total = sum(map(len, files.values()))
    target = tmp_path / "t"
    target.mkdir()
    with FaultServer(rate=16 * MIB) as server:
        for path, data in files.items():
            server.put(f"/s/{path}", data)
        flags = ["load", server.url + "/s/", "--mount-root", tmp_path, "--mount-path", "t", "--workers", workers]

        def sent() -> int:
            return sum(r.sent for r in server.requests() if not r.target.endswith("/"))

        in_all = before = 0
        for _ in range(kills):
            server.clear()
            enough = rng.randrange((total - before) // 2)
            child = command.start(*flags, *OWNER)
            wait_until(lambda: sent() >= enough or child.poll() is not None, "bytes to be sent")  # noqa: B023
            child.kill()
            child.communicate()
            in_all += sent()
            after = safe(target)
            assert before <= after <= before + sent()
            before = after
            check_what_is_visible(target, files)
            assert not (target / ".dsload/complete.json").exists()
        done = run("verify", target)
        assert done.code in (4, 5)  # 4: killed before there was anything
        assert "its last load did not end" in done.err or "it has no inventory" in done.err

        server.clear()
        done = command.run(*flags, *OWNER, "--output", "json")
        assert done.code == 0, done.err
        assert sent() == total - before == done.json["bytes"]["moved"]  # nothing that was safe came again
        in_all += sent()
        small_in_flight = workers * 40_000
        assert in_all <= total + kills * (workers * LARGEST_PART + small_in_flight)
    check_the_end(target, files)


VERSIONS = (
    {"big": Virtual(3 * MIB)[:], "d/a": b"alpha", "d/b": b"beta", "d/e/c": b"gamma", "gone/x": b"x", "way": b"in the"},
    {"big": Virtual(2 * MIB, 1)[:], "d/a": b"alpha", "d/b": b"BETA", "new/y": b"y", "way/z": b"z"},
)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_change_to_the_file_system(seed: int, tmp_path: Path) -> None:
    """Two versions of a folder take turns; whenever a run ends by itself, the other's turn comes."""
    rng = random.Random(seed)
    sources = [trees.make(tmp_path / f"s{n}", version) for n, version in enumerate(VERSIONS)]
    link, target = tmp_path / "source", tmp_path / "t"
    target.mkdir()
    turn, died = 0, 0
    for _ in range(12):
        link.unlink(missing_ok=True)
        link.symlink_to(sources[turn])
        flags = ["load", link.as_uri(), "--mount-root", tmp_path, "--mount-path", "t", *OWNER]
        done = killed.run(rng.randrange(3, 55), *flags)
        assert done.returncode in (0, -9), done.stderr
        check_what_is_visible(target, *VERSIONS)
        complete = (target / ".dsload/complete.json").exists()
        assert complete or done.returncode == -9
        assert not complete or trees.contents(target) in VERSIONS
        died += done.returncode == -9
        turn = 1 - turn if done.returncode == 0 else turn
    assert died > 4
    assert command.run(*flags).code == 0
    check_the_end(target, VERSIONS[sources.index(link.readlink())])


@pytest.mark.skipif(not ROOT, reason="gives folders to another user")
def test_killed_at_any_change_of_owner_or_mode(tmp_path: Path) -> None:
    """A folder that was made and not yet given away is given away by the next run."""
    source = trees.make(tmp_path / "source", {"new/y": b"y"})
    for event in ("os.chown", "os.chmod"):
        for nth in itertools.count(1):
            name = f"{event}-{nth}"
            flags = ["load", source.as_uri(), "--mount-root", tmp_path, "--mount-path", name, *OWNER]
            died = killed.run(f"{event}:*@{nth}", *flags).returncode == -9
            assert run(*flags).code == 0
            check_the_end(tmp_path / name, {"new/y": b"y"})
            if not died:
                assert nth > 6
                break


@pytest.fixture
def served() -> Iterator[FaultServer]:
    """A server of a file in parts and a small one."""
    with FaultServer() as server:
        server.put("/s/model", Virtual(20 * MIB))
        server.put("/s/small", b"small")
        yield server


def flags_for(server: FaultServer, root: Path) -> list[str]:
    (root / "t").mkdir(exist_ok=True)
    return ["load", server.url + "/s/", "--mount-root", str(root), "--mount-path", "t", *OWNER, "--workers", "2"]


def bodies(server: FaultServer, name: str) -> int:
    """Bytes of a file that were sent since the last clear()."""
    return server.bytes_sent(f"/s/{name}")


@pytest.mark.parametrize("verify", [[], ["--no-verify"]], ids=["verified", "unverified"])
@pytest.mark.parametrize("when", ["os.utime:*", "os.rename:model", "os.remove:*.journal"])
def test_killed_while_a_whole_file_is_put_in_place(
    when: str, verify: list[str], served: FaultServer, tmp_path: Path
) -> None:
    """Not a byte of it comes again: before the rename its parts are there, behind it its row."""
    served.remove("/s/small")
    flags = [*flags_for(served, tmp_path), *verify]
    assert killed.run(when, *flags).returncode == -9
    assert bodies(served, "model") == 20 * MIB
    assert (tmp_path / "t/model").exists() == when.startswith("os.remove")
    served.clear()
    done = run(*flags, "--output", "json")
    assert done.code == 0, done.err
    assert (bodies(served, "model"), done.json["bytes"]["moved"]) == (0, 0)
    check_the_end(tmp_path / "t", {"model": Virtual(20 * MIB)[:]})


@pytest.mark.parametrize(
    "when",
    ["os.rename:inventory.jsonl@2", "os.remove:files.jsonl", "os.rename:complete.json", "os.remove:lease.json"],
)
def test_killed_when_all_files_are_there(when: str, served: FaultServer, tmp_path: Path) -> None:
    flags = flags_for(served, tmp_path)
    assert killed.run(when, *flags).returncode == -9
    files = {"model": Virtual(20 * MIB)[:], "small": b"small"}
    assert trees.contents(tmp_path / "t") == files
    complete = when == "os.remove:lease.json"
    assert (tmp_path / "t/.dsload/complete.json").exists() == complete
    done = run("verify", tmp_path / "t")
    assert done.code == (0 if complete else 5)
    assert complete or "its last load did not end; the 2 files that it put there so far are right" in done.errors[0]
    served.clear()
    assert run(*flags).code == 0
    assert bodies(served, "model") + bodies(served, "small") == 0
    check_the_end(tmp_path / "t", files)


def test_killed_in_a_stream_that_cannot_resume(served: FaultServer, tmp_path: Path) -> None:
    served.order("/s/model", ignore_range(), times=ALWAYS)
    served.rate = 40 * MIB
    flags = flags_for(served, tmp_path)
    for enough in (2 * MIB, 9 * MIB):
        served.clear()
        served.order("/s/model", ignore_range(), times=ALWAYS)
        child = command.start(*flags)
        wait_until(lambda: bodies(served, "model") >= enough, "bytes to be sent")  # noqa: B023
        child.kill()
        child.communicate()
    assert command.run(*flags).code == 0
    check_the_end(tmp_path / "t", {"model": Virtual(20 * MIB)[:], "small": b"small"})


def test_killed_and_then_the_source_changes(served: FaultServer, tmp_path: Path) -> None:
    """Of the same size and another version: no part of the old one gets into the new one."""
    flags = flags_for(served, tmp_path)
    served.rate = 20 * MIB
    for seed in (5, 6):
        child = command.start(*flags)
        journals = tmp_path / "t/.dsload/parts"
        wait_until(lambda: any("start" in file.read_text() for file in journals.glob("*.journal")), "a part")  # noqa: B023
        child.kill()
        child.communicate()
        served.put("/s/model", Virtual(20 * MIB, seed))
    served.rate = None
    served.clear()
    assert command.run(*flags).code == 0
    assert bodies(served, "model") == 20 * MIB
    check_the_end(tmp_path / "t", {"model": Virtual(20 * MIB, 6)[:], "small": b"small"})


def test_what_killed_runs_leave_is_swept(served: FaultServer, tmp_path: Path) -> None:
    """Of files too that the source has no longer, and where there is nothing to load."""
    flags = flags_for(served, tmp_path)
    assert killed.run("os.rename:model", *flags).returncode == -9
    served.remove("/s/model")
    assert run(*flags).code == 0
    check_the_end(tmp_path / "t", {"small": b"small"})
    assert killed.run("os.remove:*.probe", *flags).returncode == -9
    assert run(*flags).code == 0
    check_the_end(tmp_path / "t", {"small": b"small"})


def test_the_killer_kills_where_it_says(tmp_path: Path) -> None:
    """Or these tests would prove nothing."""
    trees.make(tmp_path / "s", {"a": b"1", "b": b"2"})
    flags = ["load", (tmp_path / "s").as_uri(), "--mount-root", str(tmp_path), "--mount-path", "t"]
    assert killed.run("os.rename:nothing", *flags).returncode == 0
    subprocess.run(["rm", "-r", tmp_path / "t"], check=True)
    assert killed.run("os.rename:b", *flags).returncode == -9
    assert trees.contents(tmp_path / "t").get("b") is None
