"""What every source type that dsload loads has to do; a subclass says how to fill a source of its type.

class TestFile(SourceContract):
    type = "FILE"

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place: ...
"""

import json
import os
import random
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import quote

import pytest

from dsload import Network, Ownership, Report, Settings, Source, Target, load, read_secrets
from dsload.errors import InterruptedLoad, NotFoundError
from dsload.report import Files, Progress
from tests.contract import inside
from tests.servers.process import wait_until

MIB = 1 << 20
ROOT = os.geteuid() == 0
UID, GID = (12345, 23456) if ROOT else (os.geteuid(), os.getegid())
HARD_NAMES = (
    "with space.txt", "100%.txt", "%41.txt", "a+b.txt", "a&b;c=d.txt", "a#b.txt", "what?.txt", "~tilde@home:1.txt",
    "it's \"quoted\".txt", "<tag>.txt", "star*[x]{y}!.txt", "com,ma$dollar.txt", "ünïcode-日本-🙂.txt", ".hidden",
    "no extension", "back\\slash.txt", "`tick`|^.txt", "under/.hidden/deep er/100%/leaf",
)  # fmt: skip
Tree = dict[str, bytes | None]


class Place(Protocol):
    """A folder at a source, empty at first.

    Attributes:
        uri: of the folder.
        options: of the source, endpoint and the like.
        secrets: the directory with the secrets.
    """

    uri: str
    options: Mapping[str, str]
    secrets: Path

    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        """Make or replace a file, its folders too. A replaced one differs in whatever the source tells versions by."""

    def make_folder(self, path: str) -> None:
        """Make a folder with nothing in it."""

    def remove(self, path: str) -> None:
        """Remove a file."""


class SourceContract:
    """The suite.

    Attributes:
        type: that it is a contract for, as `dsload sources` names it.
        hard_names: those of HARD_NAMES that the source can hold and list.
        quoted: whether names are percent-encoded in URIs.
        has_executables: whether the source can tell that a file is one.
        has_empty_folders: whether the source can hold one.
    """

    type: ClassVar[str]
    hard_names: ClassVar[tuple[str, ...]] = HARD_NAMES
    quoted: ClassVar[bool] = True
    has_executables: ClassVar[bool] = False
    has_empty_folders: ClassVar[bool] = True

    @pytest.fixture
    def place(self) -> Place:
        """The source; overridden by every subclass."""
        raise NotImplementedError

    # The whole tree

    def test_it_brings_the_tree_as_it_is(self, place: Place, root: Path) -> None:
        tree = dict.fromkeys(("empty", "nested/empty", "a/b/c/d/e/f"), b"") | {"a/b/plain": b"x" * 100_000}
        tree |= {name: f"content of {name}".encode() for name in self.hard_names}
        fill(place, tree)
        report = bring(place, root)
        assert read_tree(root / "set") == tree
        assert report.type == self.type
        assert report.files == Files(len(tree), len(tree), 0, 0)
        assert report.bytes.total == report.bytes.moved == sum(map(len, tree.values()))

    def test_a_large_file_among_small_ones(self, place: Place, root: Path) -> None:
        tree = {"model.bin": noise(17 * MIB + 3), "just.bin": noise(MIB), "over.bin": noise(MIB + 1), "s": b"small"}
        fill(place, tree)
        report = bring(place, root)
        assert read_tree(root / "set") == tree
        assert report.bytes.moved == sum(map(len, tree.values()))

    def test_an_empty_folder(self, place: Place, root: Path) -> None:
        fill(place, {"full/a": b"a"})
        place.make_folder("void/inner")
        bring(place, root)
        empty: Tree = {"void/inner/": None} if self.has_empty_folders else {}
        assert read_tree(root / "set") == {"full/a": b"a", **empty}
        assert bring(place, root).files.loaded == 0

    def test_one_file_by_its_uri(self, place: Place, root: Path) -> None:
        fill(place, {"sub/one file.bin": b"one", "sub/other": b"other"})
        report = bring(place, root, uri=self.at(place, "sub/one file.bin"))
        assert read_tree(root / "set") == {"one file.bin": b"one"}
        assert report.files.total == 1
        assert bring(place, root, uri=self.at(place, "sub/one file.bin")).bytes.moved == 0

    def test_a_missing_path(self, place: Place, root: Path) -> None:
        fill(place, {"a": b"a"})
        for missing in (self.at(place, "no/such"), self.at(place, "no/such/")):
            with pytest.raises(NotFoundError, match="no/such") as error:
                bring(place, root, uri=missing)
            assert error.value.exit_code == 4
        assert list(root.iterdir()) == []

    # Again

    def test_a_rerun_moves_nothing(self, place: Place, root: Path) -> None:
        fill(place, {"a": b"a", "b/c": b"c" * 2000, "big": noise(3 * MIB)})
        bring(place, root)
        before = looks(root)
        report = bring(place, root)
        assert report.files == Files(3, 0, 3, 0)
        assert report.bytes.moved == 0
        assert looks(root) == before

    def test_one_changed_one_removed_one_added(self, place: Place, root: Path) -> None:
        fill(place, {"same": b"same", "changed": b"old", "longer": b"short", "gone/with its folder": b"gone"})
        bring(place, root)
        (root / "set/mine").write_bytes(b"not dsload's")
        fill(place, {"changed": b"new", "longer": b"longer", "sub/added": b"added"})
        place.remove("gone/with its folder")
        report = bring(place, root)
        tree = {"same": b"same", "changed": b"new", "longer": b"longer", "sub/added": b"added"}
        assert read_tree(root / "set") == {**tree, "mine": b"not dsload's"}
        assert report.files == Files(4, 3, 1, 1)
        assert report.bytes.moved == len("new" + "longer" + "added")

    def test_copy_deletes_nothing(self, place: Place, root: Path) -> None:
        fill(place, {"a": b"a", "b": b"b"})
        bring(place, root)
        place.remove("b")
        assert bring(place, root, syncMode="copy").files.deleted == 0
        assert read_tree(root / "set") == {"a": b"a", "b": b"b"}
        assert bring(place, root).files.deleted == 1
        assert read_tree(root / "set") == {"a": b"a"}

    def test_a_file_becomes_a_folder_and_the_other_way_round(self, place: Place, root: Path) -> None:
        fill(place, {"x": b"file", "y/deep/z": b"in a folder", "still": b"here"})
        bring(place, root)
        place.remove("x")
        place.remove("y/deep/z")
        fill(place, {"x/inside": b"now in a folder", "y": b"now a file"})
        bring(place, root)
        assert read_tree(root / "set") == {"x/inside": b"now in a folder", "y": b"now a file", "still": b"here"}

    def test_it_goes_on_from_a_partial_file(self, place: Place, root: Path) -> None:
        tree = {"model.bin": noise(30 * MIB)}
        fill(place, tree)
        with pytest.raises(InterruptedLoad):
            bring(place, root, progress=Interrupting(9 * MIB, root / "set/.dsload/parts"))
        assert read_tree(root / "set") == {}
        report = bring(place, root)
        assert read_tree(root / "set") == tree
        assert report.bytes.resumed >= 8 * MIB
        assert report.bytes.resumed + report.bytes.moved == 30 * MIB

    # Selections

    @pytest.mark.parametrize(
        ("include", "exclude", "expected"),
        [
            ("*.bin", "", {"a.bin", "sub/b.bin", "sub/deep/c.bin"}),
            ("sub/", "", {"sub/b.bin", "sub/b.txt", "sub/deep/c.bin"}),
            ("", "sub/*", {"a.bin", "a.txt"}),
            ("*.bin,a.txt", "sub/deep/\n*/b.*", {"a.bin", "a.txt"}),
        ],
    )
    def test_include_and_exclude(
        self, place: Place, root: Path, include: str, exclude: str, expected: set[str]
    ) -> None:
        names = ("a.bin", "a.txt", "sub/b.bin", "sub/b.txt", "sub/deep/c.bin")
        fill(place, {name: name.encode() for name in names})
        report = bring(place, root, include=include, exclude=exclude)
        assert read_tree(root / "set") == {name: name.encode() for name in expected}
        assert report.files.total == len(expected)

    def test_an_include_that_matches_nothing(self, place: Place, root: Path) -> None:
        fill(place, {"a.bin": b"a"})
        with pytest.raises(NotFoundError, match=r"'\*\.safetensors'") as error:
            bring(place, root, include="*.bin,*.safetensors")
        assert error.value.exit_code == 4
        assert list(root.iterdir()) == []

    # ls and verify

    def test_ls_shows_what_a_load_brings(self, place: Place, root: Path) -> None:
        tree = {name: name.encode() for name in self.hard_names} | {"empty": b"", "big": noise(2 * MIB), "no": b"n"}
        fill(place, tree)
        bring(place, root, exclude="no")
        arrived = {path: len(data or b"") for path, data in read_tree(root / "set").items()}
        assert len(arrived) == len(tree) - 1
        listed = json.loads(self.ls(place, "-o", "exclude=no", "--output", "json"))
        assert listed["source"] == place.uri
        shown = self.ls(place, "-o", "exclude=no").splitlines()
        if listed["revision"]:
            assert shown.pop(0) == f"revision {listed['revision']}"
        lines = [line.split(None, 2) for line in shown]
        assert {path: int(size) for size, _, path in lines} == arrived
        assert {row["path"]: row["size"] for row in listed["entries"]} == arrived
        assert [path for _, _, path in lines] == [row["path"] for row in listed["entries"]] == sorted(arrived)

    def test_verify_finds_what_is_damaged_or_missing(self, place: Place, root: Path) -> None:
        fill(place, {"good": b"good", "sub/bad": b"content", "sub/shorter": b"content", "gone": b"gone"})
        bring(place, root)
        target = root / "set"
        sound = inside.run("verify", target)
        assert (sound.code, sound.err) == (0, "")
        assert "4 files" in sound.out
        (target / "sub/bad").write_bytes(b"CONTENT")
        (target / "sub/shorter").write_bytes(b"conten")
        (target / "gone").unlink()
        damaged = inside.run("verify", target, "--output", "json")
        assert damaged.code == 5
        assert {row["path"] for row in damaged.json["wrong"]} == {"sub/bad", "sub/shorter", "gone"}
        assert "sub/bad" in damaged.err
        report = bring(place, root)  # mends what it can tell without hashing: size and time
        assert report.files.loaded >= 2
        assert (target / "gone").read_bytes() == b"gone"

    # Ownership

    @pytest.mark.parametrize(("mode", "folder_mode"), [(0o640, 0o750), (0o755, 0o755), (0o2770, 0o2770)])
    def test_owner_and_mode(self, place: Place, root: Path, mode: int, folder_mode: int) -> None:
        fill(place, {"a/b/small": b"s", "a/big": noise(MIB + 1)})
        bring(place, root, ownership=Ownership(UID, GID, mode))
        target = root / "set"
        for path in (target, target / "a", target / "a/b"):
            assert owner(path) == (UID, GID, folder_mode), path
        for path in (target / "a/b/small", target / "a/big"):
            assert owner(path) == (UID, GID, mode), path
        report = bring(place, root, ownership=Ownership(UID, GID, 0o600))
        assert report.bytes.moved == 0
        assert owner(target / "a/big") == (UID, GID, 0o600)

    def test_an_executable_stays_one(self, place: Place, root: Path) -> None:
        place.put("run.sh", b"#!/bin/sh\n", executable=True)
        place.put("data", b"data")
        bring(place, root, ownership=Ownership(UID, GID, 0o640))
        assert owner(root / "set/run.sh")[2] == (0o750 if self.has_executables else 0o640)
        assert owner(root / "set/data")[2] == 0o640

    # How the tests ask

    def at(self, place: Place, path: str) -> str:
        """The URI of what lies at a path of the place."""
        return f"{place.uri.rstrip('/')}/{quote(path) if self.quoted else path}"

    def ls(self, place: Place, *arguments: str) -> str:
        """What `dsload ls` prints of the place."""
        options = [argument for name, value in place.options.items() for argument in ("-o", f"{name}={value}")]
        done = inside.run("ls", place.uri, "--mount-secrets", place.secrets, *options, *arguments)
        assert (done.code, done.err) == (0, "")
        return done.out


class Interrupting(Progress):
    """Ends the load when it has moved so many bytes, and finished parts of them are safe on the volume."""

    def __init__(self, after: int, parts: Path) -> None:
        super().__init__()
        self._after, self._parts = after, parts

    def received(self, size: int, path: str) -> None:
        super().received(size, path)
        if self.moved >= self._after:
            wait_until(self._safe, "a finished part to be recorded")
            raise InterruptedLoad("loading", "", "by the test")

    def _safe(self) -> bool:
        return any(b'"end"' in journal.read_bytes() for journal in self._parts.glob("*.journal"))


def bring(
    place: Place,
    root: Path,
    *,
    uri: str = "",
    ownership: Ownership | None = None,
    progress: Progress | None = None,
    **options: str,
) -> Report:
    """Load a place, or a URI of its source, into `set` below the root; with one worker where it is interrupted."""
    source = Source.parse(uri or place.uri, None, {**place.options, **options})
    settings = Settings(Network(workers=1 if progress else 4, retry_budget=20))
    return load(source, Target(root, "set", ownership), read_secrets(place.secrets), settings, progress)


def fill(place: Place, tree: Mapping[str, bytes]) -> None:
    """Put files at a place."""
    for path, data in tree.items():
        place.put(path, data)


def noise(size: int) -> bytes:
    """Bytes without a pattern, always the same."""
    return random.Random(size).randbytes(size)


def walk(target: Path) -> Iterator[Path]:
    """Everything below a target but dsload's own state."""
    for path in sorted(target.rglob("*")):
        if path.relative_to(target).parts[0] != ".dsload":
            yield path


def read_tree(target: Path) -> Tree:
    """The files of a target by path, a symlink with `-> ` and where it points; an empty folder has a `/` and None."""
    tree: Tree = {}
    for path in walk(target):
        name = str(path.relative_to(target))
        if path.is_symlink():
            tree[name] = f"-> {path.readlink()}".encode()
        elif path.is_file():
            tree[name] = path.read_bytes()
        elif not any(path.iterdir()):
            tree[name + "/"] = None
    return tree


def looks(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of every file and folder, dsload's state too, but for what holds the lease and the parts."""
    found = {str(path): path.lstat() for path in sorted(root.rglob("*"))}
    return {
        path: (status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns)
        for path, status in found.items()
    }


def owner(path: Path) -> tuple[int, int, int]:
    """Uid, gid and mode."""
    status = path.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
