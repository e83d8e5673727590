"""Names that a volume takes for one, or does not take at all."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload import Source, Target, load
from dsload.errors import UnsafePathError
from tests import trees
from tests.contract.inside import run
from tests.servers.fault import FaultServer
from tests.servers.mounts import volume_with
from tests.target.test_volume import OWN, refused

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def folding(tmp_path: Path) -> Iterator[Path]:
    """A volume that folds case, and the forms of characters."""
    with volume_with(tmp_path / "folding", "case", "forms") as volume:
        yield volume


def bring(source: Path, root: Path, *flags: object) -> None:
    done = run("load", source.as_uri(), "--mount-root", root, "--mount-path", "t", *flags)
    assert done.code == 0, done.err


ALIKE = [
    ("README.md", "readme.md"),
    ("d/README.md", "d/readme.md"),
    ("Data/a", "data/b"),
    ("x/Data/a/b/c", "x/data/a/b/c"),
    ("Data", "data/b"),
    (NFC, NFD),
    (f"{NFC}/a", f"{NFD}/b"),
    ("\u00c9", "\u00e9"),
    ("\u00c9", "e\u0301"),
    ("stra\u00dfe", "STRASSE"),
    ("a" * 251 + ".bin", "A" * 251 + ".bin"),
]


@pytest.mark.parametrize("names", ALIKE, ids=lambda names: ascii(names[0][:12]))
def test_two_names_that_the_volume_takes_for_one(
    names: tuple[str, str], source: Path, folding: Path, tmp_path: Path
) -> None:
    files: dict[str, bytes | None] = {name: name.encode() for name in names} | {"other": b"", "x/other": b""}
    trees.make(source, files)
    done = run("load", source.as_uri(), "--mount-root", folding, "--mount-path", "t")
    folded = [name[: min(map(len, names))] for name in names] if "Data" in names[0] else names
    refused(done, 5, "this volume takes", "for one name", "exclude one")
    for name in folded:
        assert ascii(name.split("/a")[0].removesuffix("/b"))[1:-1] in ascii(done.errors[0]), done.errors
    assert trees.contents(folding / "t") == {}
    bring(source, tmp_path)
    assert trees.contents(tmp_path / "t") == files


def test_one_of_the_two_is_excluded(source: Path, folding: Path) -> None:
    trees.make(source, {"README.md": b"1", "readme.md": b"2"})
    bring(source, folding, "-o", "exclude=readme.md")
    assert trees.contents(folding / "t") == {"README.md": b"1"}


def test_a_volume_that_folds_case_alone_keeps_forms_apart(source: Path, tmp_path: Path) -> None:
    trees.make(source, {NFC: b"1", NFD: b"2"})
    with volume_with(tmp_path / "volume", "case") as volume:
        bring(source, volume)
        assert trees.contents(volume / "t") == {NFC: b"1", NFD: b"2"}


@pytest.mark.parametrize(
    ("before", "after"), [("README.md", "readme.md"), ("Data/a", "data/a"), (f"d/{NFC}", f"d/{NFD}")]
)
def test_a_file_that_is_renamed_within_what_is_folded_stays(
    before: str, after: str, source: Path, folding: Path, tmp_path: Path
) -> None:
    """What is no longer listed under its old name is not deleted under the new one."""
    for root in (folding, tmp_path):
        trees.make(source, {before: b"before", "other": b"other"})
        bring(source, root)
        (source / before).unlink()
        if "/" in before:
            (source / before).parent.rmdir()
        trees.make(source, {after: b"after"})
        bring(source, root)
        assert trees.contents(root / "t") == {after: b"after", "other": b"other"}
        assert run("verify", root / "t").code == 0
        (source / after).unlink()


@pytest.mark.parametrize("flags", [("syncMode=copy",), ("exclude=README.md",)], ids=["copy", "excluded"])
def test_what_is_left_but_replaced_by_another_name_is_forgotten(
    flags: tuple[str, ...], source: Path, folding: Path, tmp_path: Path
) -> None:
    for root in (folding, tmp_path):
        trees.make(source, {"README.md": b"before", "other": b"other"})
        bring(source, root)
        if "copy" in flags[0]:
            (source / "README.md").unlink()
        trees.make(source, {"readme.md": b"after"})
        bring(source, root, "-o", *flags)
        kept = {} if root == folding else {"README.md": b"before"}
        found = {path.lower() if root == folding else path: data for path, data in trees.contents(root / "t").items()}
        assert found == {"readme.md": b"after", "other": b"other"} | kept
        verified = run("verify", root / "t")
        assert verified.code == 0, verified.err
        shutil.rmtree(source)


STATE = [
    ".DSLOAD/x",
    ".Dsload",
    ".d\u017fload/x",
    ".DSLOAD~1",
    ".dsload./x",
    ".dsload /x",
    ".dsload::$INDEX_ALLOCATION/x",
    ".ds\u200cload/x",
    "\uff0edsload/x",
    ".\uff44\uff53load/x",
    "DSLOAD~1/x",
    "dsload~1",
]


@pytest.mark.parametrize("name", [name for name in STATE if name != ".DSLOAD~1"], ids=ascii)
def test_names_that_some_volume_takes_for_the_state(name: str, source: Path, tmp_path: Path) -> None:
    trees.make(source, {name: b"", "a": b""})
    with pytest.raises(UnsafePathError, match="keeps its own state"):
        load(Source.parse(source.as_uri()), Target(tmp_path, "t", OWN))
    assert trees.contents(tmp_path / "t") == {}


@pytest.mark.parametrize("name", ["dsload", ".dsloads", "d/.DSLOAD", "DSLOAD~2", ".gitattributes", "Data"])
def test_names_that_no_volume_takes_for_the_state(name: str, source: Path, tmp_path: Path) -> None:
    trees.make(source, {name: b"x"})
    bring(source, tmp_path)
    assert trees.contents(tmp_path / "t", state=True)[name] == b"x"


@pytest.mark.parametrize("name", ["a:b", "d/what?", "end.", "end ", "d /x", "CON", 'q"', "back\\slash"])
def test_a_name_that_a_windows_volume_does_not_take(name: str, fault: FaultServer, tmp_path: Path) -> None:
    source = trees.make(tmp_path / "source", {"a": b"a", name: b"x"})
    with volume_with(tmp_path / "volume", "windows") as volume:
        done = run("load", source.as_uri(), "--mount-root", volume, "--mount-path", "t")
        refused(done, 5, "the volume does not take this name", repr(name.removesuffix("/x")), "exclude it")
        assert trees.contents(volume / "t") == {}
        bring(source, volume, "-o", f"exclude={name.replace('?', '[?]').removesuffix(' ')}*")
        assert trees.contents(volume / "t") == {"a": b"a"}
    bring(source, tmp_path)
    assert trees.contents(tmp_path / "t") == {"a": b"a", name: b"x"}


def test_no_probe_is_left_behind(source: Path, tmp_path: Path) -> None:
    trees.make(source, {"README": b"", "readme": b"", "a:b": b""})
    bring(source, tmp_path)
    assert os.listdir(tmp_path / "t/.dsload/parts") == []


@pytest.mark.parametrize("habit", ["unsized", "mute"])
def test_a_volume_that_does_not_state_its_size(habit: str, source: Path, tmp_path: Path) -> None:
    trees.make(source, {"a": b"a", "d/model": bytes(3 << 20)})
    with volume_with(tmp_path / "volume", habit) as volume:
        bring(source, volume)
        assert trees.contents(volume / "t") == trees.contents(source)
