"""The plan: its truth table, what it refuses, and loads that carry it out against a model of a volume."""

import itertools
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dsload import Ownership, Source, load
from dsload import Target as LoadTarget
from dsload.errors import UnsafePathError
from dsload.listing import BytesReader, Checksum, Entry
from dsload.loading.plan import Plan, make_plan
from dsload.names import check_names, unsafe
from dsload.target.inventory import Row

SIZE, MTIME = 5, 1_700_000_000_000_000_000
SUM, OTHER_SUM = Checksum("sha256", "a" * 64), Checksum("sha256", "b" * 64)


@dataclass
class Volume:
    """A volume in memory: a path is a file (size, mtime), a directory (None) or a symlink (its target)."""

    things: Mapping[str, tuple[int, int] | str | None] = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()  # paths whose owner or mode is another

    def look(self, path: str) -> os.stat_result | None:
        parent = path
        while parent := parent.rpartition("/")[0]:
            if parent in self.things and self.things[parent] is not None:
                raise UnsafePathError("checking", path, "one of its directories is none")
        if path not in self.things:
            return None
        thing = self.things[path]
        kind = stat.S_IFDIR if thing is None else stat.S_IFLNK if isinstance(thing, str) else stat.S_IFREG
        size, mtime = thing if isinstance(thing, tuple) else (0, 0)
        owner = 1 if path in self.strangers else 0
        seconds, fields = mtime // 10**9, {"st_mtime_ns": mtime, "st_blocks": -(-size // 512)}
        return os.stat_result((kind | 0o644, 0, 0, 1, owner, owner, size, seconds, seconds, seconds), fields)

    def link_target(self, path: str) -> str:
        return str(self.things[path])

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        return found.st_uid == 0


class NoReader(BytesReader):
    def read(self, entry: Entry, start: int, end: int) -> bytes:
        raise AssertionError("a plan reads nothing")


READER = NoReader()


def file(path: str, **fields: object) -> Entry:
    return replace(Entry(path, SIZE, "v1", READER), **fields)  # type: ignore[arg-type]


def plan(
    entries: Iterable[Entry] = (), rows: Iterable[Row] = (), volume: Volume | None = None, *, sync: bool = True,
    select: Iterable[str] | None = None,
) -> Plan:  # fmt: skip
    chosen = None if select is None else set(select)
    return make_plan(list(entries), rows, volume or Volume(), lambda path: chosen is None or path in chosen, sync)


def outcome(made: Plan) -> dict[str, object]:
    """What is decided, without what is empty."""
    lists = {name: getattr(made, name) for name in ("load", "stamp", "refresh", "delete", "delete_first", "forget")}
    named = {name: [getattr(each, "path", each) for each in found] for name, found in lists.items() if found}
    return named | ({"keep": made.keep} if made.keep else {})


# The truth table

ROW = Row("f", SIZE, str(SUM), "v1", MTIME)
THERE = (SIZE, MTIME)

TABLE = {
    "same version": (file("f"), ROW, THERE, {"keep": 1}),
    "same version, the listing states no sum": (file("f"), replace(ROW, checksum=""), THERE, {"keep": 1}),
    "same sum, other version": (file("f", version="v2", checksum=SUM), ROW, THERE, {"keep": 1, "refresh": ["f"]}),
    "same sum, no version": (file("f", version="", checksum=SUM), ROW, THERE, {"keep": 1, "refresh": ["f"]}),
    "same sum, size not told": (file("f", size=-1, checksum=SUM), ROW, THERE, {"keep": 1}),
    "no version, no sum": (file("f", version=""), replace(ROW, version=""), THERE, {"load": ["f"]}),
    "other version": (file("f", version="v2"), ROW, THERE, {"load": ["f"]}),
    "same version, other sum": (file("f", checksum=OTHER_SUM), ROW, THERE, {"load": ["f"]}),
    "same version, other size": (file("f", size=6), ROW, THERE, {"load": ["f"]}),
    "gone from the volume": (file("f"), ROW, ..., {"load": ["f"]}),
    "other size on the volume": (file("f"), ROW, (6, MTIME), {"load": ["f"]}),
    "written to on the volume": (file("f"), ROW, (SIZE, MTIME + 1), {"load": ["f"]}),
    "a symlink on the volume": (file("f"), ROW, "elsewhere", {"load": ["f"]}),
    "not put by dsload": (file("f"), None, THERE, {"load": ["f"]}),
    "a symlink not put by dsload": (file("f"), None, "elsewhere", {"load": ["f"]}),
    "new": (file("f"), None, ..., {"load": ["f"]}),
    "gone from the source": (None, ROW, THERE, {"delete": ["f"]}),
    "gone from the source, changed": (None, ROW, (SIZE, MTIME + 1), {"forget": ["f"]}),
    "gone from the source, now a directory": (None, ROW, None, {"forget": ["f"]}),
    "gone from the source and the volume": (None, ROW, ..., {"forget": ["f"]}),
    "of somebody else": (None, None, THERE, {}),
    "same symlink": (file("f", symlink="t"), Row("f", symlink="t"), "t", {"keep": 1, "refresh": ["f"]}),
    "other symlink": (file("f", symlink="t"), Row("f", symlink="u"), "u", {"load": ["f"]}),
    "symlink led elsewhere": (file("f", symlink="t"), Row("f", symlink="t"), "u", {"load": ["f"]}),
    "symlink where a file was": (file("f", symlink="t"), ROW, THERE, {"load": ["f"]}),
    "file where a symlink was": (file("f"), Row("f", symlink="t"), "t", {"load": ["f"]}),
    "same directory": (file("f", directory=True, version=""), Row("f", directory=True), None, {"keep": 1}),
    "directory gone": (file("f", directory=True), Row("f", directory=True), ..., {"load": ["f"]}),
    "directory of somebody else": (file("f", directory=True), None, None, {"load": ["f"]}),
    "file where a directory was": (file("f"), Row("f", directory=True), None, {"load": ["f"], "delete_first": ["f"]}),
    "directory where a file was": (file("f", directory=True), ROW, THERE, {"load": ["f"], "delete_first": ["f"]}),
    "directory where a symlink was": (
        file("f", directory=True), Row("f", symlink="t"), "t", {"load": ["f"], "delete_first": ["f"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_truth_table(case: str) -> None:
    entry, row, there, expected = TABLE[case]
    volume = Volume({} if there is ... else {"f": there})  # type: ignore[dict-item]
    entries, rows = [entry] if entry else [], [row] if row else []
    made = plan(entries, rows, volume)
    assert outcome(made) == expected
    assert made.nothing == (not set(expected) - {"keep"})
    assert made.bytes_to_load == sum(max(0, entry.size) for entry in made.load)

    if "delete_first" in expected:
        with pytest.raises(UnsafePathError, match="in the way of this"):
            plan(entries, rows, volume, sync=False)
    else:
        kept = {name: value for name, value in expected.items() if name not in ("delete", "forget")}
        assert outcome(plan(entries, rows, volume, sync=False)) == kept
    assert outcome(plan(entries, rows, volume, select=[])) == {}


@pytest.mark.parametrize(
    ("entry", "there", "row", "why"),
    [
        (file("f"), None, None, "a directory is in the way of this file"),
        (file("f"), None, ROW, "a directory is in the way of this file"),
        (file("f", symlink="t"), None, None, "a directory is in the way of this file"),
        (file("f", directory=True), THERE, None, "a file is in the way of this directory"),
        (file("f", directory=True), (6, MTIME), ROW, "a file is in the way of this directory"),
        (file("f", directory=True), "link", None, "a file is in the way of this directory"),
    ],
)
def test_what_somebody_else_put_in_the_way_is_an_error(
    entry: Entry, there: tuple[int, int] | str | None, row: Row | None, why: str
) -> None:
    with pytest.raises(UnsafePathError, match=why):
        plan([entry], [row] if row else [], Volume({"f": there}))


def test_owner_and_mode_are_stamped_without_a_load() -> None:
    volume = Volume({"f": THERE, "g": THERE}, frozenset("fg"))
    made = plan([file("f"), file("g", version="v2")], [ROW, replace(ROW, path="g")], volume)
    assert outcome(made) == {"keep": 1, "stamp": ["f"], "load": ["g"]}


def test_what_is_replaced_is_counted() -> None:
    volume = Volume({"f": (1000, MTIME), "h": "link"})
    made = plan([file("f"), file("g"), file("h")], [], volume)
    assert (made.replaced, made.replaced_bytes, made.bytes_to_load) == (2, 1024, 3 * SIZE)


def test_what_an_earlier_load_put_in_the_way_goes_first() -> None:
    rows = [replace(ROW, path=path) for path in ("d/a", "d/b/c", "keep", "x")]
    there = {"d": None, "d/a": THERE, "d/b": None, "d/b/c": THERE, "keep": THERE, "x": THERE}
    entries = [file("d"), file("keep"), file("x/y/z")]
    made = plan(entries, rows, Volume(there))
    assert outcome(made) == {"load": ["d", "x/y/z"], "keep": 1, "delete_first": ["d/a", "d/b/c", "x"]}
    assert [entry.path for entry in made.blocked] == ["d", "x/y/z"]
    with pytest.raises(UnsafePathError):
        plan(entries, rows, Volume(there), sync=False)
    with pytest.raises(UnsafePathError):
        plan(entries, rows, Volume(there | {"x": (SIZE, MTIME + 1)}))


def test_a_row_below_what_somebody_put_in_the_way_is_forgotten() -> None:
    assert outcome(plan([], [replace(ROW, path="d/f")], Volume({"d": "/etc"}))) == {"forget": ["d/f"]}


# Names

BAD_NAMES = {
    "/etc/passwd": "it is absolute",
    "../x": "it leads up with '..'",
    "a/../../x": "it leads up with '..'",
    "a/..": "it leads up with '..'",
    "..": "it leads up with '..'",
    "a\0b": "it holds a NUL byte",
    "": "it has an empty part",
    "a//b": "it has an empty part",
    "a/": "a file's name cannot end in '/'",
    "./a": "it has an empty part",
    ".dsload": ".dsload is where dsload keeps its own state",
    ".dsload/inventory.jsonl": ".dsload is where dsload keeps its own state",
    "x" * 256: "longer than 255 bytes",
    "d/" + "é" * 128 + "/f": "longer than 255 bytes",
}
GOOD_NAMES = [
    "x" * 255, "é" * 127, "...", "..a", "a..", ".dsload2", "a/.dsload", "a\nb", " ", "-rf", "a\\b", "\udcff", "CON",
    "/".join("d" * 2000),
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:20]))
def test_bad_names_are_refused_unless_they_are_excluded(name: str) -> None:
    assert BAD_NAMES[name] in unsafe(name)
    with pytest.raises(UnsafePathError, match="checking the listing's name") as caught:
        plan([file("fine"), file(name)])
    assert BAD_NAMES[name] in caught.value.why
    assert "\0" not in str(caught.value)
    assert outcome(plan([file("fine"), file(name)], select=["fine"])) == {"load": ["fine"]}


@pytest.mark.parametrize("name", GOOD_NAMES, ids=lambda name: repr(name[:20]))
def test_odd_names_are_fine(name: str) -> None:
    assert outcome(plan([file(name)])) == {"load": [name]}


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([file("a"), file("b"), file("a")], "two files of the source have this name"),
        ([file("a"), file("a-b"), file("a/b")], "a file and a directory of this name"),
        ([file("a", symlink="b"), file("a/b/c")], "a file and a directory of this name"),
        ([file("a/b"), file("a!"), file("a/b/c/d")], "a file and a directory of this name"),
        ([file("a", directory=True), file("a")], "two files of the source have this name"),
    ],
)
def test_names_that_collide(entries: list[Entry], why: str) -> None:
    for order in itertools.permutations(entries):
        with pytest.raises(UnsafePathError, match=why):
            plan(order)
        assert plan(order, select=["b", "a-b"]) is not None


def test_a_directory_and_what_is_in_it_do_not_collide() -> None:
    assert len(plan([file("a", directory=True), file("a/b"), file("a-b")]).load) == 3


@pytest.mark.parametrize(
    ("path", "target", "fine"),
    [
        ("l", "f", True), ("l", "./f", True), ("l", "d/f", True), ("d/l", "../f", True), ("d/e/l", "../../f", True),
        ("d/l", "..", True), ("l", "..f", True), ("l", ".", True),
        ("l", "../f", False), ("d/l", "../../f", False), ("l", "/etc/passwd", False), ("l", "/", False),
        ("d/l", "e/../../../f", False), ("d/l", "x/../f", False), ("l", "", False), ("l", "a\0b", False),
        ("l", "..", False),
    ],
)  # fmt: skip
def test_symlinks_stay_inside(path: str, target: str, fine: bool) -> None:
    entries = [file("f"), file("d/f"), file(path, symlink=target)]
    if fine:
        assert len(plan(entries).load) == 3
    else:
        with pytest.raises(UnsafePathError, match="symlink points out of the target"):
            plan(entries)
        assert len(plan(entries, select=["f"]).load) == 1


part = some.sampled_from(["a", "b", "c", "..", ".", "", ".dsload", "x" * 256, "a\0", "é" * 100, "~", "-"])
name = some.lists(part, min_size=1, max_size=4).map("/".join)


@given(names=some.lists(name, max_size=6), directories=some.sets(some.integers(0, 5)))
def test_names_that_pass_can_all_be_made_below_a_folder(names: list[str], directories: set[int]) -> None:
    entries = [file(each, directory=number in directories) for number, each in enumerate(names)]
    entries.sort(key=lambda entry: entry.path)
    try:
        check_names(entries)
    except UnsafePathError:
        return
    with tempfile.TemporaryDirectory() as folder:
        for entry in entries:
            place = Path(folder, entry.path)
            assert os.path.normpath(place) == str(place)
            assert place.parts[: len(Path(folder).parts) + 1] != Path(folder, ".dsload").parts
            place.parent.mkdir(parents=True, exist_ok=True)
            if entry.directory:
                place.mkdir(exist_ok=True)
            else:
                place.touch(exist_ok=False)


# Carried out: loads of folders that change, onto a volume that somebody else writes to as well

NAMES = ["a", "b", "a/x", "a/y", "a/x/deep", "b/x", "c", "c/d/e/f"]
CONTENT = some.sampled_from([b"", b"one", b"two", b"three"])


@some.composite
def tree(draw: some.DrawFn) -> dict[str, bytes]:
    """Files whose names do not collide."""
    found = draw(some.dictionaries(some.sampled_from(NAMES), CONTENT, max_size=5))
    folders = {str(parent) for path in found for parent in Path(path).parents}
    return {path: data for path, data in found.items() if path not in folders}


@dataclass
class Model:
    """What a volume should hold: the files, and which of them dsload put there."""

    files: dict[str, bytes] = field(default_factory=dict)
    put: dict[str, bytes] = field(default_factory=dict)

    def load(self, wanted: Mapping[str, bytes], sync: bool) -> None:
        """Raises UnsafePathError where a file or folder of somebody else is in the way."""
        gone = [path for path, data in self.put.items() if sync and path not in wanted]
        left = {path: data for path, data in self.files.items() if path not in gone or data != self.put[path]}
        for path in wanted:
            if any(other.startswith(path + "/") or path.startswith(other + "/") for other in left):
                raise UnsafePathError("checking", path, "in the way")
        self.files = left | dict(wanted)
        self.put = {path: data for path, data in self.put.items() if path not in gone} | dict(wanted)

    def write(self, path: str, data: bytes) -> bool:
        """Somebody else writes a file. Whether that is possible."""
        if any(other.startswith(path + "/") or path.startswith(other + "/") for other in self.files):
            return False
        self.files[path] = data + b" of somebody else"
        return True


@settings(max_examples=settings().max_examples // 2)
@given(
    loads=some.lists(
        some.tuples(tree(), some.booleans(), some.dictionaries(some.sampled_from(NAMES), CONTENT, max_size=2)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_loads_after_loads_give_what_the_model_says(
    loads: list[tuple[dict[str, bytes], bool, dict[str, bytes]]],
) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "t")
        for number, (wanted, sync, others) in enumerate(loads):
            source = write_tree(Path(folder, str(number)), wanted | {"z": b"always"})
            before = dict(model.files)
            try:
                model.load(wanted | {"z": b"always"}, sync)
            except UnsafePathError:
                with pytest.raises(UnsafePathError):
                    bring(source, target, sync)
                mine = {path for path, data in before.items() if not data.endswith(b" of somebody else")}
                assert {p: d for p, d in read_tree(target).items() if p not in mine} == {
                    p: d for p, d in before.items() if p not in mine
                }
                return
            bring(source, target, sync)
            assert read_tree(target) == model.files
            for path, data in others.items():
                if model.write(path, data):
                    write_tree(target, {path: model.files[path]})


def bring(source: Path, target: Path, sync: bool) -> None:
    uri = Source.parse(source.as_uri(), None, {"syncMode": "sync" if sync else "copy"})
    load(uri, LoadTarget(target.parent, target.name, Ownership(os.geteuid(), os.getegid())))


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and ".dsload" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
