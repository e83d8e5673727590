"""The lease: one writer a target, holders that live, that died, and that lost it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload import Ownership
from dsload.errors import BusyError, NoSpaceError, UnsafePathError, VolumeError
from dsload.target.lease import Lease
from dsload.target.volume import Volume
from tests import command, trees
from tests.command import Result
from tests.contract.inside import run
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.mounts import small_tmpfs
from tests.servers.orders import Virtual, stall
from tests.servers.process import find, wait_until
from tests.servers.threaded import Request

MIB = 1 << 20
OWN = Ownership(os.geteuid(), os.getegid())
ELSEWHERE = {
    "nonce": "0" * 32,
    "host": "another-host",
    "pid": 1,
    "process": "1",
    "node": "another boot",
    "since": "then",
}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return open_volume(tmp_path)


def open_volume(root: Path) -> Volume:
    volume = Volume.open(root, "t", OWN)
    volume.prepare()
    return volume


def lease_file(root: Path) -> Path:
    return root / "t/.dsload/lease.json"


def write_lease(root: Path, age: float, **changes: object) -> Path:
    """The lease of a holder on another host, last touched so many seconds ago."""
    file = lease_file(root)
    file.write_text(json.dumps(ELSEWHERE | changes))
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def is_get(request: Request) -> bool:
    return request.method == "GET"


@pytest.fixture
def stalled() -> Iterator[FaultServer]:
    """A server whose /model.bin stalls behind its first part."""
    with FaultServer() as server:
        server.put("/model.bin", Virtual(20 * MIB))
        server.order("/model.bin", stall(0), when=is_get, after=1, times=ALWAYS)
        yield server
        server.release()


def start(server: FaultServer, root: Path) -> "subprocess.Popen[str]":
    """A load that holds its lease and waits for the server."""
    child = command.start("load", server.url + "/model.bin", "--mount-root", root, "--mount-path", "t", "--workers", 2)
    wait_until(lambda: any(root.glob("t/.dsload/parts/*.journal")), "the first load to be under way")
    return child


def refused(result: Result, *words: str) -> None:
    assert result.code == 8, result
    assert len(result.errors) == 1, result.err
    for word in words:
        assert word in result.errors[0]


# Two loads


def test_a_second_load_is_told_who_holds_the_target(stalled: FaultServer, tmp_path: Path) -> None:
    first = start(stalled, tmp_path)
    trees.make(tmp_path / "other", {"a": b""})
    done = run("load", (tmp_path / "other").as_uri(), "--mount-root", tmp_path, "--mount-path", "t", "--output", "json")
    assert done.code == 8
    assert (done.json["error"]["exit"], done.json["error"]["retry"]) == (8, True)
    assert f"held by process {first.pid} on {socket.gethostname()} since 20" in done.errors[0]
    assert "wait for it to end, or load into another --mount-path" in done.errors[0]
    assert first.poll() is None
    stalled.release()
    _, err = first.communicate()
    assert first.returncode == 0, err
    assert (tmp_path / "t/model.bin").read_bytes() == Virtual(20 * MIB)[:]
    assert not lease_file(tmp_path).exists()
    assert not (tmp_path / "t/a").exists()


def test_the_lease_of_a_killed_load_is_taken_over_at_once(stalled: FaultServer, tmp_path: Path) -> None:
    first = start(stalled, tmp_path)
    first.kill()
    first.communicate()
    assert lease_file(tmp_path).exists()
    stalled.release()
    done = run("load", stalled.url + "/model.bin", "--mount-root", tmp_path, "--mount-path", "t")
    assert done.code == 0, done.err
    assert f"taking over the lease of a load that has ended: process {first.pid} on" in done.err
    assert "watching whether it is alive" not in done.err


def test_a_load_that_lost_its_lease_ends(stalled: FaultServer, tmp_path: Path) -> None:
    first = start(stalled, tmp_path)
    file = lease_file(tmp_path)
    file.with_suffix(".new").write_text(json.dumps(ELSEWHERE))
    file.with_suffix(".new").rename(file)
    out, err = first.communicate(timeout=25)
    refused(Result(first.returncode, out, err), "keeping the lease of", "another load has taken it over")
    assert json.loads(file.read_text()) == ELSEWHERE  # it is not its own to remove
    assert not (tmp_path / "t/model.bin").exists()


def test_a_load_goes_on_where_its_lease_cannot_be_read_for_a_moment(tmp_path: Path) -> None:
    lease = Lease(open_volume(tmp_path), beat=0.01)
    with lease:
        state = lease_file(tmp_path).parent
        before = lease_file(tmp_path).stat().st_mtime_ns
        wait_until(lambda: lease_file(tmp_path).stat().st_mtime_ns > before, "a beat")
        os.symlink("nowhere", state / "link")
        os.link(lease_file(tmp_path), state / "aside")
        (state / "link").rename(lease_file(tmp_path))  # to read it is an error that is none of "not there"
        time_of = (state / "aside").stat().st_mtime_ns
        assert not lease.lost.wait(0.1)
        (state / "aside").rename(lease_file(tmp_path))
        wait_until(lambda: lease_file(tmp_path).stat().st_mtime_ns > time_of, "a beat again")
        assert not lease.lost.is_set()
    assert not lease_file(tmp_path).exists()


# Holders elsewhere


def test_a_stale_lease_of_another_host_is_taken_over(tmp_path: Path) -> None:
    trees.make(tmp_path / "source", {"a": b"alpha"})
    (tmp_path / "t/.dsload").mkdir(parents=True)
    write_lease(tmp_path, age=3600)
    done = run("load", (tmp_path / "source").as_uri(), "--mount-root", tmp_path, "--mount-path", "t")
    assert done.code == 0, done.err
    assert "taking over the lease of a load that has ended: process 1 on another-host since then" in done.err
    assert not lease_file(tmp_path).exists()


def test_a_fresh_lease_that_never_beats_is_taken_over_after_its_time(volume: Volume, tmp_path: Path) -> None:
    write_lease(tmp_path, age=0)
    with Lease(volume, beat=0.1, ttl=0.6):
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()


def test_the_clock_of_the_volume_decides(volume: Volume, tmp_path: Path) -> None:
    """A lease from a host whose clock is ahead is no older than it is, but silence still ends it."""
    write_lease(tmp_path, age=-3600)
    with Lease(volume, beat=0.1, ttl=0.6):
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()


def test_a_lease_that_beats_is_held(volume: Volume, tmp_path: Path) -> None:
    write_lease(tmp_path, age=0)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            os.utime(lease_file(tmp_path))

    beater = threading.Thread(target=beat)
    beater.start()
    try:
        with pytest.raises(BusyError, match="held by process 1 on another-host since then"), Lease(volume, ttl=60):
            pass
    finally:
        stop.set()
        beater.join()
    assert json.loads(lease_file(tmp_path).read_text()) == ELSEWHERE


def test_a_lease_that_is_given_back_while_it_is_watched_is_free(volume: Volume, tmp_path: Path) -> None:
    write_lease(tmp_path, age=0)
    removed = threading.Event()

    def give_back() -> None:
        lease_file(tmp_path).unlink()
        removed.set()

    timer = threading.Timer(0.2, give_back)
    timer.start()
    with Lease(volume, ttl=60):
        assert removed.is_set()
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()
    timer.join()


def test_two_of_our_own_in_one_process(volume: Volume, tmp_path: Path) -> None:
    busy = pytest.raises(BusyError, match=f"held by process {os.getpid()} on")
    with Lease(volume, beat=0.1, ttl=60), busy, Lease(volume, beat=0.1, ttl=60):
        pass
    with Lease(volume):
        pass


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    contenders = 4
    volume = open_volume(tmp_path)
    write_lease(tmp_path, age=3600)
    outcomes: list[str] = []
    leave = threading.Event()

    def contend() -> None:
        try:
            with Lease(volume, beat=0.05, ttl=60):
                outcomes.append("holds")
                leave.wait(30)
        except BusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=contend) for _ in range(contenders)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) == contenders, "all to know")
    leave.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy"] * (contenders - 1) + ["holds"]


def test_one_who_comes_late_to_a_dead_holders_lease_finds_the_new_one(tmp_path: Path) -> None:
    """It judged the old lease dead, and before it removes that, another has taken it over."""
    volume = open_volume(tmp_path)
    write_lease(tmp_path, age=3600)
    script = (
        "import os, pathlib, sys\n"
        "from dsload import Ownership\n"
        "from dsload.errors import BusyError\n"
        "from dsload.target.lease import Lease\n"
        "from dsload.target.volume import Volume\n"
        "def wait(event, args):\n"
        "    if event == 'open' and args[0] == 'lease.json.claim' and waits:\n"
        "        waits.clear()\n"
        "        print('about to take over', flush=True)\n"
        "        sys.stdin.readline()\n"
        "waits = [True]\n"
        f"volume = Volume.open(pathlib.Path({str(tmp_path)!r}), 't', Ownership(os.geteuid(), os.getegid()))\n"
        "volume.prepare()\n"
        "sys.addaudithook(wait)\n"
        "try:\n"
        "    with Lease(volume, ttl=60): print('holds')\n"
        "except BusyError: print('busy')\n"
    )
    late = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert late.stdout is not None
    assert late.stdout.readline() == "about to take over\n"
    with Lease(volume, beat=0.05) as lease:
        assert late.communicate("go on\n")[0] == "busy\n"
        assert not lease.lost.is_set()
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()


def test_a_claim_of_one_who_died_while_taking_over_expires(volume: Volume, tmp_path: Path) -> None:
    write_lease(tmp_path, age=3600)
    claim = lease_file(tmp_path).with_name("lease.json.claim")
    claim.write_text(json.dumps(ELSEWHERE))
    os.utime(claim, (time.time() - 3600, time.time() - 3600))
    with Lease(volume, beat=0.1, ttl=30):
        assert not claim.exists()


# Who is dead on this host


def test_a_pid_that_another_process_has_now_does_not_hold(volume: Volume, tmp_path: Path) -> None:
    with Lease(volume):
        mine = json.loads(lease_file(tmp_path).read_text())
    write_lease(tmp_path, age=0, **(mine | {"process": "1"}))  # of our pid, but it started at another time
    with Lease(volume, ttl=60):
        pass


def test_a_zombie_does_not_hold(volume: Volume, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with Lease(volume):
        mine = json.loads(lease_file(tmp_path).read_text())
    start = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    write_lease(tmp_path, age=0, **(mine | {"pid": child.pid, "process": start}))
    with Lease(volume, ttl=60):
        pass
    child.wait()


def test_a_holder_that_is_stopped_loses_its_lease_after_its_time(tmp_path: Path) -> None:
    """A process that is frozen does not beat; when it thaws, it finds that it has lost the lease."""
    script = (
        "import os, pathlib, sys\n"
        "from dsload import Ownership\n"
        "from dsload.target.lease import Lease\n"
        "from dsload.target.volume import Volume\n"
        f"volume = Volume.open(pathlib.Path({str(tmp_path)!r}), 't', Ownership(os.geteuid(), os.getegid()))\n"
        "volume.prepare()\n"
        "with Lease(volume, beat=0.1) as lease:\n"
        "    print('holds', flush=True)\n"
        "    print(lease.lost.wait(60), flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holds\n"
    child.send_signal(signal.SIGSTOP)
    with Lease(open_volume(tmp_path), beat=0.1, ttl=0.6):
        child.send_signal(signal.SIGCONT)
        assert child.communicate()[0] == "True\n"
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()
    assert child.returncode == 0


# Garbage


@pytest.mark.parametrize("garbage", [b"", b"{", b"5", b"[]", b"\xff\xfe", b'{"pid": "x", "node": 5}', b"\0" * 20])
def test_garbage_is_a_lease_of_an_unknown_process(garbage: bytes, volume: Volume, tmp_path: Path) -> None:
    lease_file(tmp_path).write_bytes(garbage)
    os.utime(lease_file(tmp_path), (1, 1))
    with Lease(volume, ttl=30):
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()


def test_fresh_garbage_is_given_its_time(volume: Volume, tmp_path: Path) -> None:
    """Its holder may be about to write it."""
    lease_file(tmp_path).write_bytes(b"")
    with Lease(volume, beat=0.1, ttl=0.6):
        assert json.loads(lease_file(tmp_path).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("kind", ["directory", "symlink"])
def test_something_else_in_its_place_is_an_error(kind: str, volume: Volume, tmp_path: Path) -> None:
    if kind == "directory":
        lease_file(tmp_path).mkdir()
    else:
        os.symlink("elsewhere", lease_file(tmp_path))
    with pytest.raises(UnsafePathError, match=r"lease\.json"), Lease(volume, ttl=0.6):
        pass


def test_a_full_volume_keeps_no_lease_that_could_not_be_written(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "v", MIB) as root:
        volume = open_volume(root)
        with (root / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        with pytest.raises(NoSpaceError), Lease(volume):
            pass
        assert not lease_file(root).exists()


def test_a_volume_that_turns_read_only_is_an_error(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "v", MIB) as root:
        volume = open_volume(root)
        remount = [find("mount", "mount"), "-o", "remount,ro", str(root)]
        subprocess.run(remount, check=True)
        with pytest.raises(VolumeError, match="read-only"), Lease(volume):
            pass
