"""The inventory: what survives a kill, what garbage does, sources that follow each other, and many rows."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dsload import Ownership, Report, Source, Target, load
from dsload.report import Files
from dsload.target.inventory import Header, Inventory, Marker, Row
from dsload.target.volume import Volume
from tests import killed, trees
from tests.contract.inside import run
from tests.servers.fault import FaultServer
from tests.servers.orders import Virtual

MIB = 1 << 20
OWN = Ownership(os.geteuid(), os.getegid())
FILES: dict[str, bytes | None] = {"a": b"alpha", "b": b"beta", "d/c": b"gamma", "empty": None}
HEADER = Header("file:///s", "FILE", "identity", started="2026-01-01T00:00:00Z")


def bring(source: Path | str, root: Path, **options: str) -> Report:
    """Load into `t` below the root, in this process."""
    uri = source.as_uri() if isinstance(source, Path) else source
    return load(Source.parse(uri, None, options), Target(root, "t", OWN))


def state(root: Path, name: str) -> Path:
    return root / "t/.dsload" / name


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def loaded(report: Report) -> tuple[int, int]:
    """How many files it loaded, and how many it deleted."""
    return report.files.loaded, report.files.deleted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return trees.make(tmp_path / "source", FILES)


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    """One of an empty target, begun."""
    volume = Volume.open(tmp_path, "t", OWN)
    volume.prepare()
    found = Inventory(volume)
    found.begin(HEADER)
    yield found
    found.close()


# As it is written


def test_a_header_and_a_row_a_file(fault: FaultServer, tmp_path: Path) -> None:
    fault.put("/d/x.bin", b"content", etag='"v1"')
    fault.put("/d/big", Virtual(2 * MIB))
    report = bring(fault.url + "/d/?token=tok-1234567", tmp_path)
    header, *rows = lines(state(tmp_path, "inventory.jsonl"))
    assert (header["source"], header["type"]) == (fault.url + "/d/?token=***", "HTTP")
    assert str(header["finished"]) >= str(header["started"]) > "2026"
    assert [row["path"] for row in rows] == ["big", "x.bin"]
    assert rows[1]["checksum"] == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert rows[0]["size"] == 2 * MIB
    for row in rows:
        assert row["version"]
        assert row["mtime"] == (tmp_path / "t" / str(row["path"])).stat().st_mtime_ns
    marker = json.loads(state(tmp_path, "complete.json").read_text())
    assert (Files(**marker["files"]), marker["revision"]) == (report.files, None)
    assert sorted(os.listdir(tmp_path / "t/.dsload")) == ["complete.json", "inventory.jsonl", "parts"]
    assert os.listdir(state(tmp_path, "parts")) == []
    text = b"".join(trees.contents(tmp_path / "t", state=True).values())
    assert b"tok-1234567" not in text


@pytest.mark.parametrize(
    "row",
    [
        Row("a", 5, "sha256:" + "a" * 64, "v1", 1_700_000_000_000_000_000),
        Row("d/link", symlink="../a", version="../a"),
        Row("empty", directory=True),
        Row("weird \n\u2028 ünï \udcff\x00", 1),
    ],
)
def test_rows_are_read_as_they_were_written(row: Row) -> None:
    assert Row.parse(row.line()) == row
    assert row.line().count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [b"", b"5", b"[]", b"{}", b'{"path": 5}', b'{"path": "a", "size": "5"}', b'{"path": "a", "what": 1}', b"\xff",
     b'{"path": "a", "symlink": 5}', b'{"path": "a", "mtime": null}', b'{"path": "a", "directory": "yes"}'],
)  # fmt: skip
def test_lines_that_are_no_rows(line: bytes) -> None:
    with pytest.raises(ValueError):
        Row.parse(line)


# Reruns


def test_a_rerun_changes_nothing(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    before = trees.everything(tmp_path / "t")
    assert loaded(bring(source, tmp_path)) == (0, 0)
    after = trees.everything(tmp_path / "t")
    assert {path for path in before if before[path] != after.get(path)} <= {".dsload", ".dsload/parts"}  # the lease
    assert set(before) == set(after)


@pytest.mark.parametrize("name", ["inventory.jsonl", "complete.json"])
def test_without_one_state_file(name: str, source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    state(tmp_path, name).unlink()
    assert loaded(bring(source, tmp_path)) == ((4, 0) if name == "inventory.jsonl" else (0, 0))
    assert loaded(bring(source, tmp_path)) == (0, 0)
    assert run("verify", tmp_path / "t").code == 0


GARBAGE = [
    b"", b"\n", b"5\n", b"[]\n", b"null\n", b'"text"\n', b"{}\n", b"\xff\xfe\x00garbage\n" * 50, b"\x00" * 5000,
    b'{"dsload": 1}\n', b'{"dsload": 999, "source": "x", "type": "FILE", "identity": "x"}\n', b"{" * 20 + b"\n",
    b'{"dsload": 1, "source": 5, "type": [], "identity": null}\n{"path": 7}\n',
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
@pytest.mark.parametrize("name", ["inventory.jsonl", "complete.json", "parts/files.jsonl"])
def test_garbage_in_a_state_file(name: str, garbage: bytes, source: Path, tmp_path: Path) -> None:
    """It is as if the file were not there; nothing of the target is lost."""
    bring(source, tmp_path)
    (tmp_path / "t/theirs").write_bytes(b"theirs")
    state(tmp_path, name).write_bytes(garbage)
    report = bring(source, tmp_path)
    assert loaded(report) == ((4, 0) if name == "inventory.jsonl" else (0, 0))
    assert trees.contents(tmp_path / "t") == trees.contents(source) | {"theirs": b"theirs"}
    assert run("verify", tmp_path / "t").code == 0
    assert len(lines(state(tmp_path, "inventory.jsonl"))) == 5


def test_rows_in_disorder_delete_nothing_that_the_source_has(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    header, *rows = state(tmp_path, "inventory.jsonl").read_bytes().splitlines(keepends=True)
    for order in (rows[::-1], rows + rows, [rows[2], b"garbage\n", *rows[:2], rows[3], rows[0]]):
        state(tmp_path, "inventory.jsonl").write_bytes(header + b"".join(order))
        (source / "new").write_bytes(random.randbytes(8))
        assert bring(source, tmp_path).files.deleted == 0
        assert trees.contents(tmp_path / "t") == trees.contents(source)


def test_rows_that_lead_out_are_not_followed(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    trees.make(tmp_path, {"outside": b"precious"})
    info = (tmp_path / "outside").stat()
    for path in ("../outside", str(tmp_path / "outside"), ".dsload/../../outside"):
        with state(tmp_path, "inventory.jsonl").open("ab") as out:
            out.write(Row(path, info.st_size, "", "v", info.st_mtime_ns).line())
    bring(source, tmp_path)
    assert (tmp_path / "outside").read_bytes() == b"precious"


# Another source in the same target


def test_another_source_replaces_the_first(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    (tmp_path / "t/theirs").write_bytes(b"")
    other = trees.make(tmp_path / "other", {"b": b"other beta", "new": b"new"})
    assert loaded(bring(other, tmp_path)) == (2, 3)
    assert trees.contents(tmp_path / "t") == {"b": b"other beta", "new": b"new", "theirs": b""}
    assert lines(state(tmp_path, "inventory.jsonl"))[0]["source"] == other.as_uri()
    assert loaded(bring(source, tmp_path, syncMode="copy")) == (4, 0)
    assert trees.contents(tmp_path / "t") == trees.contents(source) | {"new": b"new", "theirs": b""}


def test_a_version_means_nothing_to_another_source(tmp_path: Path) -> None:
    """Two servers may use the same ETag for different content; only a checksum tells."""
    with FaultServer() as one, FaultServer() as two:
        digest = hashlib.sha256(b"same").hexdigest()
        for server, text in ((one, b"one!"), (two, b"two!")):
            server.put("/d/f", text, etag='"1"')
            server.put("/d/same", b"same", etag='"1"')
            server.put("/d/same.sha256", digest.encode())
        bring(one.url + "/d/", tmp_path)
        report = bring(two.url + "/d/", tmp_path)
        assert (tmp_path / "t/f").read_bytes() == b"two!"
        assert (report.files.loaded, report.files.kept) == (2, 1)
        assert [r.target for r in two.requests() if r.method == "GET" and r.target.endswith("same")] == []
        assert loaded(bring(two.url + "/d/", tmp_path)) == (0, 0)


def test_a_load_of_another_source_that_is_killed_leaves_no_version_behind(tmp_path: Path) -> None:
    with FaultServer() as one, FaultServer() as two:
        for server, text in ((one, b"one!"), (two, b"two!")):
            for name in ("f", "g", "h"):
                server.put(f"/d/{name}", text, etag='"1"')
        bring(one.url + "/d/", tmp_path)
        for when in ("os.remove:complete.json", "os.rename:inventory.jsonl", "os.rename:f", "os.rename:h"):
            flags = ["--mount-root", tmp_path, "--mount-path", "t", "--workers", 1]
            assert killed.run(when, "load", two.url + "/d/", *flags).returncode == -9
            bring(two.url + "/d/", tmp_path)
            assert set(trees.contents(tmp_path / "t").values()) == {b"two!"}
            bring(one.url + "/d/", tmp_path)


def test_secrets_and_their_place_do_not_make_another_source(tmp_path: Path) -> None:
    plain = Source.parse("http://host/d/")
    assert Source.parse("http://me:secret@host/d/").identity() == plain.identity()
    assert Source.parse("http://host/e/").identity() != plain.identity()
    assert Source.parse("http://other/d/").identity() != plain.identity()


# What a kill leaves


def test_a_journal_is_merged_and_its_torn_last_line_passed_over(source: Path, tmp_path: Path) -> None:
    flags = ["load", source.as_uri(), "--mount-root", tmp_path, "--mount-path", "t"]
    assert killed.run("os.rename:inventory.jsonl@2", *flags).returncode == -9
    journal = state(tmp_path, "parts/files.jsonl")
    rows = [line for line in lines(journal) if "path" in line]
    assert {row["path"] for row in rows} == set(FILES)
    journal.write_bytes(journal.read_bytes() + b'{"path":"torn","si')
    done = run("verify", tmp_path / "t")
    assert (done.code, done.errors[0].partition("error: ")[2]) == (
        5,
        f"verifying {tmp_path / 't'}: its last load did not end; the 4 files that it put there so far are right; "
        "run the load again to resume",
    )
    assert run(*flags, "--dry-run", "--output", "json").json["files"]["loaded"] == 0
    assert not state(tmp_path, "complete.json").exists()
    assert run(*flags, "--output", "json").json["files"] == {"total": 4, "loaded": 0, "kept": 4, "deleted": 0}
    assert not journal.exists()
    assert run("verify", tmp_path / "t").code == 0


def test_rows_that_were_not_synced_are_hashed_before_they_are_believed(source: Path, tmp_path: Path) -> None:
    """A node that went down may have lost what was in them."""
    flags = ["load", source.as_uri(), "--mount-root", str(tmp_path), "--mount-path", "t"]
    assert killed.run("os.rename:inventory.jsonl@2", *flags).returncode == -9
    journal = state(tmp_path, "parts/files.jsonl")
    unsynced = b"".join(line for line in journal.read_bytes().splitlines(keepends=True) if b"synced" not in line)
    for path in ("a", "b"):
        info = (tmp_path / "t" / path).stat()
        (tmp_path / "t" / path).write_bytes(bytes(info.st_size))
        os.utime(tmp_path / "t" / path, ns=(info.st_mtime_ns, info.st_mtime_ns))
    journal.write_bytes(unsynced)
    assert run(*flags, "--output", "json").json["files"]["loaded"] == 2
    assert trees.contents(tmp_path / "t") == trees.contents(source)


def test_what_was_loaded_without_verifying_is_kept_after_a_kill(tmp_path: Path) -> None:
    source = trees.make(tmp_path / "source", {"big": bytes(3 * MIB), "small": b"small"})
    flags = ["load", source.as_uri(), "--mount-root", str(tmp_path), "--mount-path", "t", "--no-verify"]
    assert killed.run("os.rename:inventory.jsonl@2", *flags).returncode == -9
    journal = state(tmp_path, "parts/files.jsonl")
    journal.write_bytes(b"".join(line for line in journal.read_bytes().splitlines(True) if b"synced" not in line))
    assert run(*flags, "--output", "json").json["files"]["loaded"] == 0


def test_deletions_of_a_load_that_was_killed_are_known(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path)
    (source / "a").unlink()
    (source / "d/c").unlink()
    (source / "d").rmdir()
    flags = ["load", source.as_uri(), "--mount-root", tmp_path, "--mount-path", "t"]
    assert killed.run("os.rename:inventory.jsonl", *flags).returncode == -9
    assert set(trees.contents(tmp_path / "t")) == {"b"}
    assert "the 2 files that it put there so far are right" in run("verify", tmp_path / "t").err
    assert bring(source, tmp_path).files == Files(2, 0, 2, 0)


def test_the_marker_goes_first_and_comes_last(source: Path, tmp_path: Path) -> None:
    """Wherever a load is killed, what is marked complete is complete."""
    bring(source, tmp_path)
    before = trees.contents(tmp_path / "t")
    for number, path in enumerate(["b", "d/c", "new"]):
        (source / path).write_bytes(b"changed %d" % number)
    (source / "a").unlink()
    seen = set()
    for when in (
        "os.remove:complete.json", "os.rename:b", "os.rename:new", "os.remove:a", "os.rename:inventory.jsonl",
        "os.remove:files.jsonl", "os.rename:complete.json",
    ):  # fmt: skip
        flags = ["load", source.as_uri(), "--mount-root", str(tmp_path), "--mount-path", "t", "--workers", "1"]
        assert killed.run(when, *flags).returncode == -9, when
        complete = state(tmp_path, "complete.json").exists()
        now = trees.contents(tmp_path / "t")
        seen.add((complete, now == before, now == trees.contents(source)))
        assert complete == (when == "os.remove:complete.json")
        assert not complete or now == before
        subprocess.run(["rm", "-r", str(tmp_path / "t")], check=True)
        trees.make(tmp_path / "t", {})
        old = trees.make(tmp_path / f"old-{when}", FILES)
        bring(old, tmp_path)
        with state(tmp_path, "inventory.jsonl").open("r+") as file:  # as if it had come from the same source
            text = file.read().replace(Source.parse(old.as_uri()).identity(), Source.parse(source.as_uri()).identity())
            file.seek(0)
            file.write(text)
    assert seen == {(True, True, False), (False, True, False), (False, False, False), (False, False, True)}


# Many rows


def test_many_rows_are_merged_in_runs(inventory: Inventory, tmp_path: Path) -> None:
    """More than one run of them, in no order, some twice, some gone; over rows that were there before."""
    count = 55_000
    order = list(range(count))
    random.Random(1).shuffle(order)
    for number in order:
        inventory.append(Row(f"d{number % 100}/{number}", number, "sha256:aa", "v1", number))
    for number in range(0, count, 1000):
        inventory.append(Row(f"d{number % 100}/{number}", number, "sha256:bb", "v2", number))
    for number in range(1, count, 1000):
        inventory.gone(f"d{number % 100}/{number}")
    inventory.finish(HEADER, Marker())
    rows = list(inventory.rows())
    expected = sorted(f"d{number % 100}/{number}" for number in range(count) if number % 1000 != 1)
    assert [row.path for row in rows] == expected
    assert {row.version for row in rows if row.size % 1000 == 0} == {"v2"}
    assert {row.version for row in rows if row.size % 1000} == {"v1"}
    assert inventory.complete()

    inventory.begin(HEADER)
    assert not inventory.complete()
    inventory.append(replace(rows[5], version="v3"))
    inventory.append(Row("a new one"))
    inventory.finish(HEADER, Marker())
    assert list(inventory.rows()) == [Row("a new one"), *rows[:5], replace(rows[5], version="v3"), *rows[6:]]
    assert os.listdir(state(tmp_path, "parts")) == []


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Merging keeps one run of rows, whatever their number; all of these would take three times as much."""
    script = (
        "import os, pathlib, sys\n"
        "from dsload import Ownership\n"
        "from dsload.target.inventory import Header, Inventory, Marker\n"
        "from dsload.target.volume import Volume\n"
        "def peak(): return int(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "volume = Volume.open(root, 't', Ownership(os.geteuid(), os.getegid()))\n"
        "volume.prepare()\n"
        "inventory, header = Inventory(volume), Header('s', 'FILE', 'i')\n"
        "inventory.begin(header)\n"
        "row = '{\"path\":\"d/%d\",\"size\":5,\"checksum\":\"sha256:%064d\",\"version\":\"v1\",\"mtime\":1}\\n'\n"
        "with (root / 't/.dsload/parts/files.jsonl').open('w') as journal:\n"
        "    journal.writelines(row % (number * 7919 % 1000003, number) for number in range(150_000))\n"
        "before = peak()\n"
        "inventory.finish(header, Marker())\n"
        "print(peak() - before)\n"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert len(state(tmp_path, "inventory.jsonl").read_bytes().splitlines()) == 150_001
    assert int(done.stdout) < 35_000  # KiB
