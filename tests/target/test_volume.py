"""The target: who owns it, what is refused before the first byte, and that nothing leads out of it."""

import errno
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsload import Network, Ownership, Settings, Source, Target, load
from dsload.errors import UnsafePathError
from dsload.target.volume import Volume
from tests import command, trees
from tests.command import Result
from tests.contract.inside import run
from tests.k8s.datasets import dataset
from tests.k8s.making import job
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.mounts import (
    UNPRIVILEGED,
    as_user,
    directory_of,
    in_user_namespace,
    need_root,
    small_tmpfs,
    with_capabilities,
)
from tests.servers.orders import Virtual, stall
from tests.servers.process import find, wait_until
from tests.servers.threaded import Request

MIB = 1 << 20
UID, GID = 4321, 5432
ROOT = os.geteuid() == 0
OWN = Ownership(os.geteuid(), os.getegid())
BIG = 3 * MIB  # loaded in parts
TREE: dict[str, bytes | None] = {"a": b"alpha", "d/run.sh": b"#!/bin/sh\n", "d/e/model": bytes(BIG), "empty": None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with an executable in it and a symlink."""
    folder = trees.make(tmp_path / "source", TREE)
    (folder / "d/run.sh").chmod(0o755)
    os.symlink("../a", folder / "d/link")
    return folder


def bring(source: Path | str, root: Path, path: str = "t", **wanted: object) -> None:
    """Load in this process."""
    uri = source.as_uri() if isinstance(source, Path) else source
    ownership = Ownership(**({"uid": OWN.uid, "gid": OWN.gid} | wanted))  # type: ignore[arg-type]
    load(Source.parse(uri), Target(root, path, ownership), settings=Settings(Network(retry_budget=0)))


def is_get(request: Request) -> bool:
    return request.method == "GET"


def body_requests(server: FaultServer) -> list[str]:
    """The paths of files that were asked for, indexes and HEADs aside."""
    return [r.target for r in server.requests() if r.method == "GET" and not r.target.endswith("/")]


def refused(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert len(result.errors) == 1, result.err
    for word in words:
        assert word in result.errors[0]


# Ownership


@pytest.mark.parametrize(
    ("mode", "files", "executables", "folders"),
    [
        ("0755", "0755", "0755", "0755"),
        ("774", "0774", "0775", "0774"),
        ("0644", "0644", "0755", "0755"),
        ("0640", "0640", "0750", "0750"),
        ("0600", "0600", "0700", "0700"),
        ("0444", "0444", "0555", "0555"),
        ("0664", "0664", "0775", "0775"),
        ("2775", "2775", "2775", "2775"),
        ("2664", "2664", "2775", "2775"),
        ("1777", "1777", "1777", "1777"),
        ("4750", "4750", "4750", "4750"),
        ("0710", "0710", "0710", "0710"),
        ("1700", "1700", "1700", "1700"),
    ],
)
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_modes(mode: str, files: str, executables: str, folders: str, umask: int, source: Path, tmp_path: Path) -> None:
    need_root("give files away")
    before = os.umask(umask)
    try:
        bring(source, tmp_path, "new/t", uid=UID, gid=GID, mode=int(mode, 8))
    finally:
        os.umask(before)
    target = tmp_path / "new/t"
    for path, modes in {"a": files, "d/e/model": files, "d/run.sh": executables, "d": folders, "d/e": folders,
                        "empty": folders, ".": folders}.items():  # fmt: skip
        assert trees.owners(target)[path] == (UID, GID, modes), path
    assert trees.owners(target)["d/link"][:2] == (UID, GID)
    assert trees.owners(tmp_path / "new")["."] == (UID, GID, folders)  # a part of the mount path that was made
    for path, owner in trees.owners(target, state=True).items():
        assert owner[:2] == (UID, GID), path


def test_what_was_there_keeps_its_owner(source: Path, tmp_path: Path) -> None:
    need_root("give files away")
    trees.make(tmp_path / "theirs/t", {"d/of theirs": b"", "other/x": b""})
    for path in ("theirs", "theirs/t/d", "theirs/t/d/of theirs", "theirs/t/other"):
        os.chown(tmp_path / path, 77, 88)
        (tmp_path / path).chmod(0o700)
    bring(source, tmp_path, "theirs/t", uid=UID, gid=GID)
    owners = trees.owners(tmp_path / "theirs")
    for path in (".", "t/d", "t/d/of theirs", "t/other"):
        assert owners[path] == (77, 88, "0700")
    for path in ("t", "t/a", "t/d/e", "t/d/e/model"):
        assert owners[path] == (UID, GID, "0755")


def test_a_rerun_with_another_owner_or_mode_moves_nothing(source: Path, tmp_path: Path) -> None:
    need_root("give files away")
    with FaultServer() as server:
        for path, data in trees.contents(source).items():
            server.put(f"/s/{path}", data)
        (tmp_path / "t").mkdir()
        for uid, mode, folders in [(UID, 0o700, "0700"), (UID, 0o640, "0750"), (1000, 0o755, "0755")]:
            inodes = {path: (tmp_path / "t" / path).stat().st_ino for path in trees.contents(tmp_path / "t")}
            server.clear()
            bring(server.url + "/s/", tmp_path, uid=uid, gid=GID, mode=mode)
            if inodes:
                assert body_requests(server) == []
                assert inodes == {path: (tmp_path / "t" / path).stat().st_ino for path in inodes}
            for path, owner in trees.owners(tmp_path / "t").items():
                place = tmp_path / "t" / path
                assert owner == (uid, GID, folders if place.is_dir() else f"{mode:04o}"), path


def test_a_rerun_with_another_owner_leaves_folders_of_others(source: Path, tmp_path: Path) -> None:
    need_root("give files away")
    bring(source, tmp_path, uid=UID, gid=GID)
    os.chown(tmp_path / "t/d", 77, 88)
    (tmp_path / "t/d/e/of theirs").write_bytes(b"")
    os.chown(tmp_path / "t/d/e/of theirs", 77, 88)
    bring(source, tmp_path, uid=1000, gid=1000)
    owners = trees.owners(tmp_path / "t")
    assert {path for path, owner in owners.items() if owner[0] == 77} == {"d", "d/e/of theirs"}
    assert owners["d/e"] == (1000, 1000, "0755")
    assert owners["d/link"][:2] == (1000, 1000)


def test_a_drifted_mode_is_set_right(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    for path in ("a", "empty"):
        (tmp_path / "t" / path).chmod(0o500)
    (tmp_path / "t").chmod(0o700)
    bring(source, tmp_path)
    owners = trees.owners(tmp_path / "t")
    assert {owners[path][2] for path in ("a", "empty", ".")} == {"0755"}


def test_a_folder_that_a_kill_left_without_its_owner_gets_it(source: Path, tmp_path: Path) -> None:
    """A folder is made with a mode that nobody asks for, and is told by it."""
    hook = (
        "import os, signal, sys\n"
        "def hook(event, args):\n"
        "    if event == 'os.mkdir' and os.fsdecode(args[0]) == 'e': sys.addaudithook(hook_2)\n"
        "def hook_2(event, args):\n"
        "    if event in ('os.chown', 'os.chmod'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
        "from dsload.cli.main import main\n"
        "main()\n"
    )
    arguments = ["load", source.as_uri(), "--mount-root", str(tmp_path), "--mount-path", "t"]
    died = subprocess.run([sys.executable, "-c", hook, *arguments], capture_output=True)
    assert died.returncode == -9, died
    assert (tmp_path / "t/d/e").is_dir()
    done = run(*arguments)
    assert done.code == 0, done.err
    expected = (1000, 1000, "0755") if ROOT else (os.geteuid(), os.getegid(), "0755")
    assert set(trees.owners(tmp_path / "t").values()) - {trees.owners(tmp_path / "t")["d/link"]} == {expected}


# Ownership that cannot be had


@pytest.fixture
def served() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.put("/s/a", b"alpha")
        server.put("/s/model", Virtual(BIG))
        yield server


def test_a_refused_chown_fails_before_the_first_byte(served: FaultServer) -> None:
    with directory_of(UNPRIVILEGED) as root:
        flags = ["load", served.url + "/s/", "--mount-root", root, "--mount-path", "t", "--mount-uid", 1000]
        done = command.run(*flags, wrap=as_user)
        refused(done, 7, "setting the owner of", "no_root_squash", "--mount-uid", "--ownership try", "1000:12345")
        assert body_requests(served) == []
        assert trees.contents(root) == {}

        done = command.run(*flags, "--ownership", "try", wrap=as_user)
        assert done.code == 0, done.err
        assert trees.contents(root / "t")["a"] == b"alpha"
        assert set(trees.owners(root / "t").values()) == {(UNPRIVILEGED, UNPRIVILEGED, "0755")}
        assert command.run(*flags, "--ownership", "try", "--mount-mode", "2750", wrap=as_user).code == 0
        assert set(trees.owners(root / "t").values()) == {(UNPRIVILEGED, UNPRIVILEGED, "2750")}


def test_a_chown_refused_in_a_loaded_target_fails_before_anything_changes(served: FaultServer) -> None:
    with directory_of(UNPRIVILEGED) as root:
        flags = ["load", served.url + "/s/", "--mount-root", root, "--mount-path", "t"]
        assert command.run(*flags, wrap=as_user).code == 0
        before = trees.everything(root / "t")
        served.put("/s/new", b"new")
        served.clear()
        refused(command.run(*flags, "--mount-uid", 1000, wrap=as_user), 7, "a probe file", "no_root_squash")
        assert body_requests(served) == []
        after = trees.everything(root / "t")
        assert {path for path in before if before[path] != after[path]} <= {".dsload/parts"}


def test_a_refused_group_or_setgid_fails_too(served: FaultServer) -> None:
    with directory_of(UNPRIVILEGED) as root:
        flags = ["load", served.url + "/s/", "--mount-root", root, "--mount-path", "t"]
        refused(command.run(*flags, "--mount-gid", 1000, wrap=as_user), 7, "12345:1000")
        os.chown(root, UNPRIVILEGED, 1000)
        root.chmod(0o2775)  # what is made in it belongs to a group that its maker is not in
        refused(command.run(*flags, "--mount-gid", 1000, "--mount-mode", "2775", wrap=as_user), 7, "12345:1000")
        assert body_requests(served) == []


def test_a_user_namespace_without_the_uid(served: FaultServer, tmp_path: Path) -> None:
    """As with a root-squashed export, root is there in name only."""
    flags = ["load", served.url + "/s/", "--mount-root", tmp_path, "--mount-path", "t"]
    done = command.run(*flags, wrap=in_user_namespace)
    refused(done, 7, "1000:1000 with mode 0755 was asked for", "made it 0:0", "no_root_squash")
    assert body_requests(served) == []
    done = command.run(*flags, "--mount-uid", 0, "--mount-gid", 0, wrap=in_user_namespace)
    assert done.code == 0, done.err


@pytest.mark.parametrize("policy", ["try", "skip"])
def test_ownership_try_and_skip_in_a_user_namespace(policy: str, served: FaultServer, tmp_path: Path) -> None:
    flags = ["load", served.url + "/s/", "--mount-root", tmp_path, "--mount-path", "t", "--ownership", policy]
    for _ in range(2):
        done = command.run(*flags, "--mount-mode", "0640", "--output", "json", wrap=in_user_namespace)
        assert done.code == 0, done.err
        owners = trees.owners(tmp_path / "t")
        assert {owner[:2] for owner in owners.values()} == {(os.geteuid(), os.getegid())}
        assert (owners["a"][2], owners["model"][2], owners["."][2]) == ("0640", "0640", "0750")
    assert done.json["bytes"]["moved"] == 0


def test_ownership_skip_leaves_the_owner_of_what_is_there(source: Path, tmp_path: Path) -> None:
    need_root("give files away")
    bring(source, tmp_path, uid=UID, gid=GID)
    bring(source, tmp_path, uid=1000, gid=1000, mode=0o700, policy="skip")
    owners = trees.owners(tmp_path / "t")
    assert (owners["a"], owners["d"]) == ((UID, GID, "0755"), (UID, GID, "0755"))


# The capabilities of the Job

JOBS = job(dataset())["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"]


@pytest.mark.parametrize(("mode", "folders"), [("2775", "2775"), ("0774", "0774"), ("2640", "2750"), ("1777", "1777")])
def test_the_job_may_do_what_a_dataset_asks_for(mode: str, folders: str, served: FaultServer, tmp_path: Path) -> None:
    flags = ["load", served.url + "/s/", "--mount-root", tmp_path, "--mount-path", "t", "--mount-mode", mode]
    done = command.run(*flags, wrap=lambda argv: with_capabilities(argv, *JOBS))
    assert done.code == 0, done.err
    assert {owner[:2] for owner in trees.owners(tmp_path / "t", state=True).values()} == {(1000, 1000)}
    owners = trees.owners(tmp_path / "t")
    assert (owners["."][2], owners["model"][2]) == (folders, mode)


def test_a_bit_that_the_kernel_drops_is_named(served: FaultServer, tmp_path: Path) -> None:
    flags = ["load", served.url + "/s/", "--mount-root", tmp_path, "--mount-path", "t", "--mount-mode", "2775"]
    few = [name for name in JOBS if name != "FSETID"]
    done = command.run(*flags, wrap=lambda argv: with_capabilities(argv, *few))
    refused(done, 7, "1000:1000 with mode 2775 was asked for", "with 0775", "capability FSETID", "without setuid")
    assert body_requests(served) == []


# A target that was there before


@pytest.mark.parametrize("path", ["/", "theirs"])
def test_a_writable_target_that_cannot_be_given_away_is_a_warning(path: str, served: FaultServer) -> None:
    """As the root of a volume is whose group the kubelet has set (fsGroup)."""
    with directory_of(0) as root:
        place = root / path.strip("/")
        place.mkdir(exist_ok=True)
        os.chown(place, 0, UNPRIVILEGED)
        place.chmod(0o2775)
        root.chmod(0o2775)
        flags = ["load", served.url + "/s/", "--mount-root", root, "--mount-path", path, "--output", "json"]
        for loaded in (2, 0):
            done = command.run(*flags, wrap=as_user)
            assert done.code == 0, done.err
            assert done.json["files"]["loaded"] == loaded
            assert f"it stays 0:{UNPRIVILEGED}, 2775" in done.err
        owners = trees.owners(place)
        assert owners.pop(".") == (0, UNPRIVILEGED, "2775")
        assert set(owners.values()) == {(UNPRIVILEGED, UNPRIVILEGED, "0755")}
        assert command.run("verify", place, wrap=as_user).code == 0


@pytest.mark.parametrize("mode", ["0444", "0555", "0400"])
def test_modes_that_let_their_owner_not_write_are_for_root(mode: str, served: FaultServer) -> None:
    with directory_of(UNPRIVILEGED) as root:
        flags = ["load", served.url + "/s/", "--mount-root", root, "--mount-path", "t", "--mount-mode", mode]
        refused(command.run(*flags, wrap=as_user), 7, f"--mount-mode {mode}", "with w for the owner, or run as root")
        assert os.listdir(root) == []
        assert run(*flags).code == 0
        served.put("/s/model", Virtual(BIG, seed=1))
        served.put("/s/new/er", b"new")
        assert run(*flags).code == 0
        assert (root / "t/model").read_bytes() == Virtual(BIG, seed=1)[:]
        assert trees.owners(root / "t")["model"] == (1000, 1000, mode)


# Targets that cannot be written


def test_a_read_only_target(served: FaultServer, tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "volume", 8 * MIB) as volume:
        remount = [find("mount", "mount"), "-o", "remount,ro", str(volume)]
        subprocess.run(remount, check=True)
        for path in ("/", "t"):
            done = run("load", served.url + "/s/", "--mount-root", volume, "--mount-path", path)
            refused(done, 7, "read-only file system", "check that the volume is mounted for writing")
    assert body_requests(served) == []


def test_a_target_of_somebody_else(served: FaultServer, tmp_path: Path) -> None:
    with directory_of(0) as root:
        for path in ("/", "t"):
            flags = ["--mount-root", root, "--mount-path", path]
            done = command.run("load", served.url + "/s/", *flags, wrap=as_user)
            refused(done, 7, "permission denied", str(root))
    assert body_requests(served) == []


# Nothing leads out


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nobody may touch."""
    return trees.make(tmp_path / "outside", {"a": b"precious", "d/run.sh": b"precious", "lease.json": b"precious"})


LINKED = ["t", "up", "t/d", "t/d/e", "t/.dsload", "t/.dsload/parts"]


@pytest.mark.parametrize("planted", LINKED)
@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
def test_a_planted_symlink_in_place_of_a_directory(
    planted: str, dangling: bool, source: Path, outside: Path, tmp_path: Path
) -> None:
    place = tmp_path / "root" / planted
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(outside / "missing" if dangling else outside, place)
    before = trees.everything(outside)
    with pytest.raises(UnsafePathError) as caught:
        bring(source, tmp_path / "root", "up/t" if planted == "up" else "t", uid=OWN.uid)
    assert caught.value.exit_code == 5
    assert trees.everything(outside) == before
    assert os.readlink(place)


@pytest.mark.parametrize("planted", ["t/d", "t/d/e"])
def test_a_symlink_planted_in_a_loaded_target(planted: str, source: Path, outside: Path, tmp_path: Path) -> None:
    """Nor does a rerun delete, or give away, what is behind it."""
    bring(source, tmp_path)
    (tmp_path / planted).rename(tmp_path / "aside")
    os.symlink(outside, tmp_path / planted)
    before = trees.everything(outside)
    with pytest.raises(UnsafePathError):
        bring(source, tmp_path, mode=0o700)
    for path in ("run.sh", "e/model", "link"):
        (source / "d" / path).unlink()
    (source / "d/e").rmdir()
    (source / "d").rmdir()
    bring(source, tmp_path)
    assert trees.everything(outside) == before
    assert run("verify", tmp_path / "t").code == 0


@pytest.mark.parametrize("name", ["a", "d/run.sh", "d/e/model", "d/link", "empty"])
def test_a_symlink_at_a_files_name_is_replaced(name: str, source: Path, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "t" / name).parent.mkdir(parents=True)
    os.symlink(outside / "a", tmp_path / "t" / name)
    before = trees.everything(outside)
    if name == "empty":
        with pytest.raises(UnsafePathError, match="is in the way of this directory"):
            bring(source, tmp_path)
    else:
        bring(source, tmp_path)
        assert trees.contents(tmp_path / "t") == trees.contents(source)
    assert trees.everything(outside) == before


@pytest.mark.parametrize("name", ["lease.json", "inventory.jsonl", "complete.json", "parts/files.jsonl"])
@pytest.mark.parametrize("end", ["a", "nothing in it", "missing"])
def test_a_symlink_at_a_state_file_is_not_followed(
    name: str, end: str, source: Path, outside: Path, tmp_path: Path
) -> None:
    (outside / "nothing in it").touch()
    (tmp_path / "t/.dsload/parts").mkdir(parents=True)
    os.symlink(outside / end, tmp_path / "t/.dsload" / name)
    before = trees.everything(outside)
    try:
        bring(source, tmp_path)
    except UnsafePathError as error:
        assert name in str(error)
    assert trees.everything(outside) == before


def test_a_hard_link_is_not_written_through(source: Path, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    os.link(outside / "a", tmp_path / "t/a")
    bring(source, tmp_path, mode=0o700)
    assert (outside / "a").read_bytes() == b"precious"
    assert stat.S_IMODE((outside / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_a_special_file_at_a_files_name_is_replaced(kind: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    if kind == "fifo":
        os.mkfifo(tmp_path / "t/a")
    else:
        here = os.open(tmp_path / "t", os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/a")
        os.close(here)
    bring(source, tmp_path)
    assert trees.contents(tmp_path / "t") == trees.contents(source)


INDEX_NAMES = [
    "../up", "/abs", "a\0b", "..", "x" * 256, "é" * 128, ".dsload", "sub/../../x",
]  # fmt: skip


@pytest.mark.parametrize("name", INDEX_NAMES, ids=lambda name: repr(name[:12]))
def test_unsafe_names_in_a_listing(name: str, fault: FaultServer, tmp_path: Path) -> None:
    """As a server's index has them; the fetcher or the plan refuses them, none is passed over silently."""
    rows = [{"name": n, "type": "file", "mtime": "Mon, 01 Jan 2024 00:00:00 GMT", "size": 4} for n in ("fine", name)]
    fault.put("/d/", json.dumps(rows).encode(), headers={"Content-Type": "application/json"})
    fault.put("/d/fine", b"fine")
    root = tmp_path / "deep/root"
    root.mkdir(parents=True)
    done = run("load", fault.url + "/d/", "--mount-root", root, "--mount-path", "t", "--retry-budget", 0)
    assert done.code in (4, 5), done
    assert body_requests(fault) == []
    assert trees.contents(tmp_path, state=True) == {}


# In the way


IN_THE_WAY: dict[str, tuple[dict[str, bytes | None], dict[str, bytes | None]]] = {
    "a file where a directory goes": ({"d": b""}, {"d/f": b"new"}),
    "a directory where a file goes": ({"d/f": b""}, {"d": b"new"}),
    "an empty directory where a file goes": ({"d": None}, {"d": b"new"}),
    "a file where an empty directory goes": ({"d": b""}, {"d": None}),
    "a file where a deep directory goes": ({"d/e": b""}, {"d/e/f/g/h": b"new"}),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_somebody_else_put_in_the_way_stays(case: str, fault: FaultServer, tmp_path: Path) -> None:
    there, wanted = IN_THE_WAY[case]
    trees.make(tmp_path / "t", there)
    before = trees.contents(tmp_path / "t")
    source = trees.make(tmp_path / "source", {**wanted, "other": b"other"})
    with pytest.raises(UnsafePathError, match="remove"):
        bring(source, tmp_path)
    assert trees.contents(tmp_path / "t") == before


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_an_earlier_load_put_in_the_way_goes(case: str, tmp_path: Path) -> None:
    there, wanted = IN_THE_WAY[case]
    bring(trees.make(tmp_path / "one", {**there, "other": b"other"}), tmp_path)
    two = trees.make(tmp_path / "two", {**wanted, "other": b"other"})
    with pytest.raises(UnsafePathError):
        load(Source.parse(two.as_uri(), None, {"syncMode": "copy"}), Target(tmp_path, "t", OWN))
    bring(two, tmp_path)
    assert trees.contents(tmp_path / "t") == trees.contents(two)
    assert set(trees.owners(tmp_path / "t")) == set(trees.owners(two))
    assert run("verify", tmp_path / "t").code == 0


def test_an_earlier_loads_directory_with_a_strangers_file_stays(tmp_path: Path) -> None:
    bring(trees.make(tmp_path / "one", {"d/f": b"1", "other": b""}), tmp_path)
    (tmp_path / "t/d/theirs").write_bytes(b"theirs")
    two = trees.make(tmp_path / "two", {"d": b"2", "new": b"new"})
    with pytest.raises(UnsafePathError, match="a directory is in the way of this file"):
        bring(two, tmp_path)
    assert (tmp_path / "t/d/theirs").read_bytes() == b"theirs"
    assert not (tmp_path / "t/new").exists()
    (tmp_path / "t/d/theirs").unlink()
    (tmp_path / "t/d").rmdir()
    bring(two, tmp_path)
    assert trees.contents(tmp_path / "t") == trees.contents(two)


# Space


def test_too_little_space_is_told_before_the_first_byte(served: FaultServer, tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "volume", BIG) as volume:
        done = run("load", served.url + "/s/", "--mount-root", volume, "--mount-path", "t")
        refused(done, 6, "checking the space of", f"{volume}/t", "are free; make room")
        assert body_requests(served) == []
        assert trees.contents(volume) == {}


def test_small_files_are_counted_in_blocks(fault: FaultServer, tmp_path: Path) -> None:
    for number in range(600):
        fault.put(f"/s/{number}", b"x")
    with small_tmpfs(tmp_path / "volume", 2 * MIB) as volume:
        refused(run("load", fault.url + "/s/", "--mount-root", volume, "--mount-path", "t"), 6, "checking the space")
    assert body_requests(fault) == []


def test_a_volume_that_fills_up_meanwhile(tmp_path: Path) -> None:
    with FaultServer() as server, small_tmpfs(tmp_path / "volume", 48 * MIB) as volume:
        url = server.put("/model", Virtual(30 * MIB))
        server.order("/model", stall(0), when=is_get, after=1, times=ALWAYS)
        flags = ["load", url, "--mount-root", volume, "--mount-path", "t", "--workers", 2]
        child = command.start(*flags)
        wait_until(lambda: any("start" in f.read_text() for f in volume.glob("t/.dsload/parts/*.journal")), "a part")
        fill(volume / "of somebody else")
        server.release()
        out, err = child.communicate()
        refused(
            Result(child.returncode, out, err),
            6,
            "no space left on device",
            "model",
            "run the same command again to resume",
        )
        assert out == ""
        assert trees.contents(volume / "t") == {}

        (volume / "of somebody else").unlink()
        server.clear()
        done = run(*flags, "--output", "json")
        assert done.code == 0, done.err
        assert (volume / "t/model").read_bytes() == Virtual(30 * MIB)[:]
        assert server.bytes_sent() == 30 * MIB - done.json["bytes"]["resumed"] < 30 * MIB


def fill(file: Path) -> None:
    """Take all the space that is left."""
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(MIB))
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_a_full_volume_leaves_no_lease_behind(served: FaultServer, tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "volume", 8 * MIB) as volume:
        (volume / "t/.dsload/parts").mkdir(parents=True)
        fill(volume / "of somebody else")
        refused(run("load", served.url + "/s/", "--mount-root", volume, "--mount-path", "t"), 6, "no space left")
        assert trees.contents(volume / "t", state=True) == {}
        (volume / "of somebody else").unlink()
        done = run("load", served.url + "/s/", "--mount-root", volume, "--mount-path", "t")
        assert (done.code, "held by another" in done.err) == (0, False), done.err


def test_what_a_load_replaces_counts_as_space(fault: FaultServer, tmp_path: Path) -> None:
    """A new version of everything fits where the old one did."""
    names = [f"/s/{number}" for number in range(5)]
    with small_tmpfs(tmp_path / "volume", 8 * MIB) as volume:
        for seed in range(3):
            for name in names:
                fault.put(name, Virtual(MIB, seed))
            done = run("load", fault.url + "/s/", "--mount-root", volume, "--mount-path", "t", "--workers", 2)
            assert done.code == 0, done.err
            assert (volume / "t/4").read_bytes() == Virtual(MIB, seed)[:]


def test_what_is_resumed_counts_as_there(tmp_path: Path) -> None:
    with FaultServer() as server, small_tmpfs(tmp_path / "volume", 32 * MIB) as volume:
        url = server.put("/model", Virtual(24 * MIB))
        server.order("/model", stall(0), when=is_get, after=2, times=ALWAYS)
        flags = ["load", url, "--mount-root", volume, "--mount-path", "t", "--workers", 1]
        child = command.start(*flags)
        journal = volume / "t/.dsload/parts"
        wait_until(lambda: sum(f.read_text().count("start") for f in journal.glob("*.journal")) >= 2, "two parts")
        child.kill()
        child.communicate()
        server.clear()
        server.release()
        done = run(*flags)
        assert done.code == 0, done.err


def test_too_few_inodes_are_told_before_the_first_byte(fault: FaultServer, tmp_path: Path) -> None:
    for number in range(60):
        fault.put(f"/s/{number}/file", b"x")
    with small_tmpfs(tmp_path / "volume", 8 * MIB, inodes=120) as volume:
        done = run("load", fault.url + "/s/", "--mount-root", volume, "--mount-path", "t")
        refused(done, 6, "checking the inodes of", "120 files and directories are to be made")
        assert body_requests(fault) == []
    with small_tmpfs(tmp_path / "volume", 8 * MIB, inodes=180) as volume:
        flags = ["load", fault.url + "/s/", "--mount-root", volume, "--mount-path", "t"]
        assert run(*flags).code == 0
        for number in range(60):
            fault.put(f"/s/{number}/file", b"y")
        done = run(*flags, "--output", "json")  # all are replaced: no more of them than before
        assert (done.code, done.json["files"]["loaded"]) == (0, 60)


# Many files, deep folders


def limited(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@pytest.mark.parametrize("kind", ["FILE", "HTTP"])
def test_many_folders_with_few_descriptors(kind: str, tmp_path: Path) -> None:
    count = 4000 if kind == "HTTP" else 600
    files: dict[str, bytes | None] = {f"d{n % 500}/f{n}": b"%d" % n for n in range(count)}
    files["big"] = bytes(9 * MIB)
    with FaultServer() as server:
        if kind == "FILE":
            uri = trees.make(tmp_path / "source", files).as_uri()
        else:
            uri = server.url + "/s/"
            for path, data in files.items():
                server.put(f"/s/{path}", data or b"")
        flags = ["load", uri, "--mount-root", str(tmp_path), "--mount-path", "t", "--output", "json"]
        for loaded in (count + 1, 0):
            done = subprocess.run(command.argv(*flags), capture_output=True, text=True, preexec_fn=limited(64))
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["files"]["loaded"] == loaded
    assert trees.contents(tmp_path / "t") == files


def test_a_deep_tree(tmp_path: Path) -> None:
    """Deeper than the interpreter's stack."""
    path = "/".join(["d"] * 1200) + "/file"
    here = os.open(tmp_path, os.O_RDONLY)
    for name in ("source", *path.split("/")[:-1]):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    bring(tmp_path / "source", tmp_path)
    assert run("verify", tmp_path / "t").code == 0
    subprocess.run(["rm", "-r", tmp_path / "source", tmp_path / "t"], check=True)


def test_a_tree_that_was_removed_can_be_made_anew(tmp_path: Path) -> None:
    volume = Volume.open(tmp_path, "t", OWN)
    volume.prepare()
    for content in (b"one", b"two"):
        volume.trees.remove("a")
        assert not (tmp_path / "t/a").exists()
        volume.place("a/b/file", content, executable=False)
        assert (tmp_path / "t/a/b/file").read_bytes() == content


def test_a_volume_without_inodes_is_full(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "volume", 8 * MIB, inodes=60) as root:
        volume = Volume.open(root, "t", OWN)
        assert not volume.space.full()
        for number in range(40):
            (root / str(number)).touch()
        assert volume.space.full()
