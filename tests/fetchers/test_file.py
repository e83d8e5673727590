"""FILE: folders that cannot be opened, special files, loops, and sizes that are not right, beyond the contract."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload.errors import ChangedError, RefusedError, UnsafePathError
from tests import command
from tests.contract.places import Folder
from tests.contract.suite import bring, fill, read_tree
from tests.servers.mounts import as_stranger, bound, directory_of


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    folder = tmp_path / "source"
    folder.mkdir()
    return Folder(folder, folder.as_uri())


@pytest.fixture
def root(volume: Path) -> Path:
    volume.mkdir()
    return volume


# Folders that are closed


@pytest.fixture
def disk() -> Iterator[Path]:
    """The root of a file system, with lost+found as mkfs.ext4 makes it, and a target that anybody can write to."""
    with directory_of() as directory:
        disk = directory / "disk"
        fill(Folder(disk, ""), {"a.bin": b"a", "sub/b.bin": b"b", "lost+found/#12": b"lost"})
        (disk / "lost+found").chmod(0o700)
        yield disk


def load(disk: Path, *options: str) -> command.Result:
    target = disk.parent / "volume"
    target.mkdir(exist_ok=True)
    target.chmod(0o777)
    flags = [part for option in options for part in ("-o", option)]
    where = ("--mount-root", target, "--mount-path", "set")
    return command.run("load", disk.as_uri(), *where, *flags, cwd=disk.parent, wrap=as_stranger)


@pytest.mark.parametrize(
    "pattern",
    ["lost+found/", "lost+found/*", "lost+found*", "lost+found", "lost*", "*lost+found*", "*.txt,lost+found/*"],
)
def test_a_closed_folder_that_is_excluded(disk: Path, pattern: str) -> None:
    done = load(disk, f"exclude={pattern}")
    assert done.code == 0, done.err
    assert read_tree(disk.parent / "volume/set") == {"a.bin": b"a", "sub/b.bin": b"b"}


@pytest.mark.parametrize("pattern", ["sub/", "sub/*.bin", "a.bin", "[as]*"])
def test_a_closed_folder_that_is_not_included(disk: Path, pattern: str) -> None:
    done = load(disk, f"include={pattern}")
    assert done.code == 0, done.err
    assert "lost+found" not in str(read_tree(disk.parent / "volume/set"))


@pytest.mark.parametrize("options", [(), ("include=*.bin",), ("exclude=sub/",)])
def test_a_closed_folder_that_may_hold_what_is_selected(disk: Path, options: tuple[str, ...]) -> None:
    done = load(disk, *options)
    (line,) = done.errors
    assert (done.code, f"listing lost+found of {disk.as_uri()}: permission denied" in line) == (3, True)
    assert "leave it out by -o exclude='lost+found/'" in line
    assert read_tree(disk.parent / "volume") == {}


def test_a_closed_file_that_is_not_selected(disk: Path) -> None:
    (disk / "sub/b.bin").chmod(0o600)
    assert load(disk, "exclude=lost+found/,sub/b*").code == 0
    assert load(disk, "exclude=lost+found/").code == 3


def test_what_was_loaded_stays_if_its_folder_is_closed_now(disk: Path) -> None:
    (disk / "lost+found").chmod(0o755)
    assert load(disk).code == 0
    (disk / "lost+found").chmod(0o700)
    assert load(disk).code == 3
    for pattern in ("lost+found/", "lost+found"):
        assert load(disk, f"exclude={pattern}").code == 0
    assert (disk.parent / "volume/set/lost+found/#12").read_bytes() == b"lost"


# What is not a file


def test_special_files_that_are_not_selected(place: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place, {"a": b"a", "run/b": b"b"})
    os.mkfifo(place.path / "run/fifo")
    os.mknod(place.path / "null", 0o600 | 0o020000, os.makedev(1, 3)) if os.geteuid() == 0 else None
    monkeypatch.chdir(place.path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("run/socket")
        bring(place, root, exclude="run/fifo,*socket,null")
        assert read_tree(root / "set") == {"a": b"a", "run/b": b"b"}
        bring(place, root, include="a,run/b")
        with pytest.raises(RefusedError, match=r"leave it out by -o exclude='run/fifo'"):
            bring(place, root, exclude="null,*socket")
    assert read_tree(root / "set") == {"a": b"a", "run/b": b"b"}


# Loops


def test_a_folder_that_is_mounted_in_itself(place: Folder, root: Path) -> None:
    fill(place, {"a": b"a", "sub/b": b"b"})
    (place.path / "sub/loop").mkdir()
    with bound(place.path, place.path / "sub/loop"):
        with pytest.raises(
            UnsafePathError, match=r"listing sub/loop of .*the same as .*/source, in which it lies"
        ) as error:
            bring(place, root)
        assert "leave it out by -o exclude='sub/loop/'" in str(error.value)
        bring(place, root, exclude="sub/loop/")
        assert read_tree(root / "set") == {"a": b"a", "sub/b": b"b"}


def test_a_folder_that_is_mounted_twice_side_by_side(place: Folder, root: Path) -> None:
    fill(place, {"one/a": b"a"})
    (place.path / "two").mkdir()
    with bound(place.path / "one", place.path / "two"):
        bring(place, root)
    assert read_tree(root / "set") == {"one/a": b"a", "two/a": b"a"}


def test_symlinks_that_form_a_loop(place: Folder, root: Path) -> None:
    fill(place, {"sub/a": b"a"})
    (place.path / "sub/self").symlink_to("self")
    (place.path / "sub/up").symlink_to("..")
    (place.path / "latest").symlink_to(".")
    with pytest.raises(UnsafePathError, match="too many levels of symbolic links"):
        bring(Folder(place.path / "sub/self", (place.path / "sub/self").as_uri()), root)
    bring(place, root, exclude="sub/up,latest")
    assert set(read_tree(root / "set")) == {"sub/a", "sub/self"}


# Sizes


def test_a_file_with_more_in_it_than_its_size(root: Path) -> None:
    """As in /proc, and in some file systems of user space."""
    uri = "file:///proc/self/status"
    with pytest.raises(ChangedError, match="more than the 0 bytes that its file system states"):
        bring(Folder(Path("/proc/self/status"), uri), root)
    assert read_tree(root / "set") == {}
