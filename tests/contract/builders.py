"""What every source type has to do that dsload builds a tree from; a subclass says how to make a source of its type.

class TestConda(BuilderContract):
    type = "CONDA"

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site: ...
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from dsload import Network, Ownership, Report, Settings, Source, Target, load
from dsload.errors import DsloadError
from dsload.report import Files
from tests.command import Result
from tests.contract import inside
from tests.contract.places import NO_SECRETS
from tests.contract.suite import GID, UID, owner
from tests.trees import everything


class Site(Protocol):
    """A source that a tree is built from: with a program, a file that is none, a symlink and a folder in folders.

    Attributes:
        uri: of the source.
        options: of it.
        place: of the tree, below the mount root.
        parts: what the tree is made from, as `dsload ls` names it.
    """

    uri: str
    options: Mapping[str, str]
    place: str
    parts: set[str]

    def change(self) -> None:
        """Make another tree come of it."""

    def spoil(self) -> None:
        """Make another tree come of it, but for a part that is damaged."""


class BuilderContract:
    """The suite.

    Attributes:
        type: that it is a contract for, as `dsload sources` names it.
    """

    type: ClassVar[str]

    @pytest.fixture
    def site(self) -> Site:
        """The source; overridden by every subclass."""
        raise NotImplementedError

    # Looking

    def test_ls_tells_the_parts(self, site: Site) -> None:
        done = run(site, "ls", "--output", "json")
        assert (done.code, done.errors) == (0, [])
        assert {row["path"] for row in done.json["entries"]} == site.parts
        assert done.json["revision"]
        assert run(site, "ls", "--output", "json").json == done.json
        site.change()
        assert run(site, "ls", "--output", "json").json["revision"] != done.json["revision"]

    def test_a_dry_run_tells_and_does_nothing(self, site: Site, root: Path) -> None:
        report = make(site, root, dry_run=True)
        assert list(root.iterdir()) == []
        sizes = sum(row["size"] for row in run(site, "ls", "--output", "json").json["entries"])
        assert report.dry_run
        assert report.files == Files(len(site.parts), len(site.parts), 0, 0)
        assert (report.bytes.total, report.bytes.moved) == (sizes, sizes)
        assert report.target == str(root / site.place)
        make(site, root)
        before = everything(root)
        again = make(site, root, dry_run=True)
        assert (again.files.loaded, again.bytes.moved) == (0, 0)
        site.change()
        assert make(site, root, dry_run=True).files.loaded > 0
        assert everything(root) == before

    # Building

    def test_the_report_tells_what_was_built(self, site: Site, root: Path) -> None:
        report, tree = make(site, root), root / site.place
        files = [path for path in walk(tree) if path.is_symlink() or path.is_file()]
        size = sum(path.stat().st_size for path in files if not path.is_symlink())
        assert (report.type, report.source, report.target) == (self.type, site.uri, str(tree))
        assert report.files == Files(len(files), len(files), 0, 0)
        assert report.bytes.total == size
        assert report.bytes.moved == sum(row["size"] for row in run(site, "ls", "--output", "json").json["entries"])
        assert report.built["prefix"]
        assert report.built == {"prefix": report.built["prefix"], **beside(tree)}
        assert len(report.built) > 1
        for name, text in beside(tree).items():
            assert (tree / ".dsload" / name).read_text() == text

    @pytest.mark.parametrize(("mode", "folder_mode"), [(0o640, 0o750), (0o755, 0o755), (0o2770, 0o2770)])
    def test_owner_and_mode(self, site: Site, root: Path, mode: int, folder_mode: int) -> None:
        report = make(site, root, Ownership(UID, GID, mode))
        assert wrong_owners(root / site.place, mode, folder_mode) == {}
        before = marks(root / site.place)
        again = make(site, root, Ownership(UID, GID, 0o600))
        assert (again.files.loaded, again.files.kept) == (0, report.files.total)
        assert again.bytes.moved == 0
        assert wrong_owners(root / site.place, 0o600, 0o700) == {}
        assert marks(root / site.place) == before  # stamped, not built once more
        assert run(site, "verify", root / site.place).code == 0

    def test_the_folders_above_are_owned_too(self, site: Site, root: Path) -> None:
        for mode in (0o750, 0o755):  # else the owner of the second tree finds the way barred
            make(site, root, Ownership(UID, GID, mode))
            above = (root / site.place).relative_to(root).parents
            assert {owner(root / path) for path in above if path.name} == {(UID, GID, mode)}

    # Again

    def test_a_rerun_does_nothing(self, site: Site, root: Path) -> None:
        first = make(site, root)
        folder = (root / site.place).parent
        before, names = changes(folder), set(everything(root))
        again = make(site, root)
        assert changes(folder) == before
        assert set(everything(root)) == names
        assert again.files == Files(first.files.total, 0, first.files.total, 0)
        assert again.bytes == replace(first.bytes, moved=0)
        assert (again.revision, again.built) == (first.revision, first.built)

    def test_what_has_changed_at_the_source_is_built(self, site: Site, root: Path) -> None:
        first, tree = make(site, root), root / site.place
        before = everything(tree)
        site.change()
        report = make(site, root)
        assert report.revision != first.revision
        assert report.files.loaded == report.files.total
        assert everything(tree) != before
        assert run(site, "verify", tree).code == 0
        assert leftovers(tree) == []
        assert report.built == {"prefix": report.built["prefix"], **beside(tree)}
        assert report.built != first.built

    @pytest.mark.parametrize("what", ["changed", "gone", "link", "link gone", "marker", "whole tree"])
    def test_what_has_changed_on_the_volume_is_built_anew(self, site: Site, root: Path, what: str) -> None:
        make(site, root)
        tree = root / site.place
        before = plain(tree)
        file, link = some_file(tree), next(path for path in walk(tree) if path.is_symlink())
        match what:
            case "changed":
                file.write_bytes(file.read_bytes() + b"more")
            case "gone":
                file.unlink()
            case "link":
                link.unlink()
                link.symlink_to("elsewhere")
            case "link gone":
                link.unlink()
            case "marker":
                (tree / ".dsload/complete.json").unlink()
            case "whole tree":
                tree.rename(root / "away")
        report = make(site, root)
        assert report.files.loaded == report.files.total
        assert plain(tree) == before
        assert run(site, "verify", tree).code == 0

    def test_a_build_that_fails_leaves_the_old_tree(self, site: Site, root: Path) -> None:
        make(site, root)
        tree = root / site.place
        before, told = (everything(tree), changes(tree)), beside(tree)
        site.spoil()
        with pytest.raises(DsloadError) as error:
            make(site, root)
        assert error.value.exit_code == 5
        assert ((everything(tree), changes(tree)), beside(tree)) == (before, told)
        assert run(site, "verify", tree).code == 0
        site.change()
        make(site, root)
        assert run(site, "verify", tree).code == 0
        assert leftovers(tree) == []

    # What it is not

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--shard", "0/2"), "--shard"),
            (("-o", "include=*.py"), "include"),
            (("-o", "exclude=*.py"), "exclude"),
            (("-o", "syncMode=copy"), "syncMode"),
        ],
        ids=["shard", "include", "exclude", "copy"],
    )
    def test_a_tree_is_built_as_a_whole(self, site: Site, root: Path, arguments: tuple[str, ...], says: str) -> None:
        done = run(site, "load", "--mount-root", root, "--mount-path", "/", *arguments)
        assert done.code == 2
        (line,) = done.errors
        assert says in line
        assert list(root.iterdir()) == []

    # verify

    def test_verify_finds_what_is_damaged_or_missing(self, site: Site, root: Path) -> None:
        report, tree = make(site, root), root / site.place
        sound = run(site, "verify", tree)
        assert (sound.code, sound.err) == (0, "")
        assert f"{report.files.total:,} files" in sound.out
        damaged, gone, link = *files_of(tree)[:2], next(path for path in walk(tree) if path.is_symlink())
        content = damaged.read_bytes()
        damaged.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        gone.unlink()
        link.unlink()
        link.symlink_to("elsewhere")
        found = run(site, "verify", tree, "--output", "json")
        assert found.code == 5
        wrong = {str(path.relative_to(tree)) for path in (damaged, gone, link)}
        assert {row["path"] for row in found.json["wrong"]} == wrong


def make(site: Site, root: Path, ownership: Ownership | None = None, dry_run: bool = False) -> Report:
    """Build what a site describes, in this process."""
    source = Source.parse(site.uri, None, site.options)
    return load(source, Target(root, "/", ownership), settings=Settings(Network(retry_budget=5), dry_run=dry_run))


def run(site: Site, command: str, *arguments: object) -> Result:
    """Run a command of dsload for a site, or verify what came of it."""
    if command == "verify":
        return inside.run(command, *arguments)
    options = [argument for name, value in site.options.items() for argument in ("-o", f"{name}={value}")]
    return inside.run(command, site.uri, "--mount-secrets", NO_SECRETS, *options, *arguments)


def walk(tree: Path) -> list[Path]:
    """Everything of a tree but dsload's own state."""
    return [path for path in sorted(tree.rglob("*")) if path.relative_to(tree).parts[0] != ".dsload"]


def files_of(tree: Path) -> list[Path]:
    """Regular files with something in them."""
    return [path for path in walk(tree) if not path.is_symlink() and path.is_file() and path.stat().st_size]


def some_file(tree: Path) -> Path:
    """One of those that the parts brought, the deepest."""
    return max(files_of(tree), key=lambda path: len(path.parts))


def beside(tree: Path) -> dict[str, str]:
    """The texts beside a tree, by name."""
    found = {path.name.removeprefix(f"{tree.name}."): path for path in tree.parent.glob(f"{tree.name}.*")}
    return {name: path.read_text() for name, path in found.items()}


def leftovers(tree: Path) -> list[str]:
    """What a build may not leave beside a tree."""
    return [path.name for path in tree.parent.iterdir() if path.name.startswith(f".{tree.name}.")]


def plain(tree: Path) -> dict[str, bytes | str]:
    """The files of a tree by path; where its symlinks point."""
    return {
        str(path.relative_to(tree)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in walk(tree)
        if path.is_symlink() or path.is_file()
    }


def marks(tree: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of every file of a tree."""
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in walk(tree)}


def changes(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, mtime and ctime of a folder and of everything in it, dsload's own state too."""
    found = {str(path): path.lstat() for path in (folder, *folder.rglob("*"))}
    return {path: (status.st_ino, status.st_mtime_ns, status.st_ctime_ns) for path, status in found.items()}


def wrong_owners(tree: Path, mode: int, folder_mode: int) -> dict[str, tuple[int, int, int]]:
    """What of a tree and of the texts beside it has not the owner and mode that it should."""
    programs = {path for path in files_of(tree) if path.parent.name == "bin" and path.read_bytes()[:2] == b"#!"}
    assert programs, "a tree of the contract has a program"
    runs = mode | (mode & 0o444) >> 2
    found = {path: (owner(path), folder_mode if path.is_dir() else runs if path in programs else mode)
             for path in [tree, *walk(tree), *tree.parent.glob(f"{tree.name}.*")]
             if not path.is_symlink()}  # fmt: skip
    return {str(path): is_so for path, (is_so, wanted) in found.items() if is_so != (UID, GID, wanted)}
