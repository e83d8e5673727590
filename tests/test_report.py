"""What a load tells while it runs, where there is no terminal, and how it writes numbers."""

import io
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dsload.cli.progress import shown
from dsload.report import LARGE, Bytes, Files, Noted, Notes, Progress, Report, count, duration, human
from tests import command
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import Virtual, stall
from tests.servers.process import wait_until

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1, "1 B"), (999, "999 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (999 << 10, "999 KiB"),
        (1 << 20, "1 MiB"), (5 << 30, "5 GiB"), (1234 << 30, "1.21 TiB"), (5000 << 40, "5000 TiB"),
    ],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert human(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (3600, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_file_over_1_gib_has_a_line_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dsload")
    progress = Progress()
    with shown(progress, io.StringIO()):
        progress.loaded("model-1.bin", LARGE)
        progress.loaded("small.bin", LARGE - 1)
        wait_until(lambda: "model-1.bin is in place (1 GiB)" in caplog.text, "the line", 5)
        progress.loaded("model-2.bin", 2 * LARGE)
    assert "model-2.bin is in place (2 GiB)" in caplog.text  # though it was the last thing to happen
    assert "small.bin" not in caplog.text


def test_nothing_is_told_where_it_is_to_be_quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dsload")
    progress = Progress()
    with shown(progress, io.StringIO(), quiet=True):
        progress.loaded("model.bin", LARGE)
    assert caplog.text == ""


def test_a_line_every_ten_seconds(tmp_path: Path) -> None:
    with FaultServer() as server:
        url = server.put("/model.bin", Virtual(4 * MIB))
        server.order("/model.bin", stall(MIB), when=lambda request: request.method == "GET", times=ALWAYS)
        flags = ["--mount-root", tmp_path, "--mount-path", "t", "--log-format", "json"]
        child = command.start("load", url, *flags)
        assert child.stderr is not None
        lines = [json.loads(child.stderr.readline())["message"] for _ in range(2)]
        server.release()
        _, rest = child.communicate()
    assert child.returncode == 0
    assert lines[0].startswith("loading ")
    assert re.fullmatch(r"0 of 1 file, 1 MiB of 4 MiB \(2\d%\), [\d.]+ KiB/s, .* left", lines[1]), lines
    assert rest == ""


def test_a_report_of_a_load_and_of_a_dry_run() -> None:
    files, size = Files(5, loaded=2, kept=3, deleted=1), Bytes(5 * MIB, moved=2 * MIB, resumed=MIB)
    report = Report(
        "HTTP", "http://host/", "/data", "abc123", "", files, size, 2.0, 3, Notes(unverified=Noted(1, ("a",)))
    )
    assert report.lines() == [
        "source   http://host/ at abc123",
        "target   /data",
        "files    5: 2 loaded, 3 unchanged, 1 deleted",
        "bytes    5 MiB: 2 MiB moved, 1 MiB resumed",
        "time     2.0 s (1 MiB/s), 3 retries",
        "note     1 file was checked by size alone, as the source states no checksum: a",
    ]
    found = Noted(5, ("a", "b", "c"))
    assert replace(report, notes=Notes(pointers=found, replaced=found)).lines()[5:] == [
        "note     5 files were loaded as the LFS pointers that the source holds: a, b, c, … (2 more)",
        "note     5 files were replaced that somebody else had put there or changed: a, b, c, … (2 more)",
    ]
    assert replace(report, dry_run=True).lines()[2] == "files    5: 2 would be loaded, 3 unchanged, 1 would be deleted"


def test_counts_agree_with_their_nouns() -> None:
    assert [count(number, "file") for number in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
    assert count(1, "retry", "retries") == "1 retry"
    assert count(2, "retry", "retries") == "2 retries"
