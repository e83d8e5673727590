"""Measures the rows of `rows.py`, whole processes in turns, and prints the table."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.programs import MissingProgram, argv, environment, environment_of
from benchmarks.rows import ROWS, Bar, Contender, Figures, Row, Took, seconds
from benchmarks.site import Site, in_memory, tmpfs

MB = 1_000_000
LIMIT = 150 * MB
_STATE = frozenset({".dsload", ".cache", ".git"})  # what the programs keep beside the files
MEASURE = Path(__file__).with_name("measure.py")


class Impossible(Exception):
    """What this machine does not let one measure; says why."""


class Failed(Exception):
    """A run that did not end well, or did not bring everything."""


def measure_row(row: Row, site: Site, runs: int) -> Figures:
    """Every contender's runs; those that are not installed are named and left out."""
    figures: Figures = {}
    with contextlib.ExitStack() as full:
        targets: dict[str, Path] = {}
        for contender in row.contenders:
            try:
                argv(contender, site, site.directory)  # starts its server too
            except MissingProgram as error:
                print(f"    left out: {error}")
                continue
            figures[contender.label] = []
            if contender.again:
                targets[contender.label] = full.enter_context(empty(site.directory))
                measure(contender, site, targets[contender.label])
        for _ in range(row.runs or runs):
            for contender in row.contenders:
                if contender.label in figures:
                    figures[contender.label].append(run(contender, site, targets.get(contender.label)))
    return figures


def run(contender: Contender, site: Site, target: Path | None) -> Took:
    """One run, into a target of its own unless one is given."""
    if target:
        return measure(contender, site, target)
    if contender.program == "limited":
        with little_memory() as wrap, empty(Path(tempfile.gettempdir())) as target:
            return measure(contender, site, target, wrap)
    with empty(site.directory) as target:
        return measure(contender, site, target)


@contextlib.contextmanager
def empty(parent: Path) -> Iterator[Path]:
    """A new directory."""
    with tempfile.TemporaryDirectory(prefix="dsload-bench-", dir=parent) as target:
        yield Path(target)


@contextlib.contextmanager
def little_memory() -> Iterator[tuple[str, ...]]:
    """What to put before a command so that it gets LIMIT bytes of memory, page cache included (cgroups, both kinds)."""
    if in_memory(Path(tempfile.gettempdir())):
        raise Impossible("a memory limit needs a target on a disk: set TMPDIR to one")
    groups = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    old = "memory" in groups
    own = groups["memory" if old else ""].lstrip("/")
    group = Path("/sys/fs/cgroup", "memory" if old else "", own, f"dsload-bench-{os.getpid()}")
    try:
        group.mkdir()
        try:
            (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(LIMIT))
            yield "/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"
        finally:
            group.rmdir()
    except OSError as error:
        raise Impossible(f"the memory of a command cannot be limited here: {error}") from error


def measure(contender: Contender, site: Site, target: Path, wrap: tuple[str, ...] = ()) -> Took:
    """Run a command to its end, and see that everything is there."""
    command = [*wrap, *argv(contender, site, target)]
    reading, writing = os.pipe()
    with open(reading) as answer:
        done = subprocess.run(
            [sys.executable, "-I", "-S", MEASURE, str(writing), *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[writing],
            env=environment(contender, site),
        )
        os.close(writing)
        took = Took(**json.loads(answer.read()), disk=_blocks(target))
    if took.code:
        raise Failed(f"{command} ended with {took.code}: {done.stderr.decode()[-2000:]}")
    if contender.source.startswith("conda"):
        _see_packages(contender, site, target)
    elif contender.program not in ("ls", "plan", "help"):
        expected = site.source(contender.source)[1]
        found = [path for path in target.rglob("*") if path.is_file() and _STATE.isdisjoint(path.parts)]
        known = min(expected.values()) >= 0
        right = not known or sum(path.stat().st_size for path in found) == sum(expected.values())
        if len(found) != len(expected) or not right:
            raise Failed(f"{contender.label} brought {len(found)} of {len(expected)} files, or other sizes")
    return took


def _see_packages(contender: Contender, site: Site, target: Path) -> None:
    """See that an environment has its packages, and each of them its files."""
    prefix, expected = environment_of(contender.program, target), site.source(contender.source)[1]
    records = [json.loads(path.read_bytes()) for path in prefix.glob("conda-meta/*.json")]
    if {record["name"] for record in records} != set(expected):
        raise Failed(f"{contender.label} installed {len(records)} of {len(expected)} packages, or others")
    for record in records:
        paths = [path["_path"] for path in record["paths_data"]["paths"]]
        if missing := [path for path in paths if not os.path.lexists(prefix / path)]:
            raise Failed(f"{contender.label} installed {record['name']} without {missing[0]}")


def _blocks(folder: Path) -> int:
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512


def judge(row: Row, figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """A line of the table for each bar of a row: what, figure, bar, whether it is met."""
    peak = max((run.peak for label, runs in figures.items() if label.startswith("dsload") for run in runs), default=0)
    memory = Bar("peak memory in MB", lambda figures: peak / MB, row.memory)
    for bar in (*row.bars, memory):
        figure = bar.figure(figures)
        if figure is None:
            continue
        met = figure >= bar.limit if bar.least else figure <= bar.limit
        sign = "at least" if bar.least else "at most"
        what = f"{row.about}: {bar.about}"
        yield (
            what,
            f"{figure:.0f}" if bar is memory else f"{figure:.2f}",
            f"{sign} {bar.limit:g}",
            "yes" if met else "NO",
        )


def main() -> None:
    names = ", ".join(row.name for row in ROWS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="dsload beside its peers, on loopback.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"rows whose name begins so: {names}")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each contender (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    chosen = parser.parse_args()
    results, table = {}, []
    place = tmpfs() or Path(tempfile.gettempdir())
    print(f"{os.cpu_count()} cores, {chosen.runs} runs each, sources and targets in {place}")
    with empty(place) as directory, contextlib.ExitStack() as running:
        site = Site(directory, running)
        for row in ROWS:
            if chosen.only and not row.name.startswith(tuple(chosen.only)):
                continue
            print(f"\n{row.name}: {row.about}", flush=True)
            try:
                figures = measure_row(row, site, chosen.runs)
            except (Impossible, pytest.skip.Exception) as error:  # the test servers skip if they are not installed
                print(f"    left out: {error}")
                continue
            except Failed as error:
                print(f"    {error}")
                table.append((row.about, "it failed", "", "NO"))
                continue
            for label, runs in figures.items():
                times, cpu = sorted(run.seconds for run in runs), sum(run.cpu for run in runs) / len(runs)
                spread, peak = f"({times[0]:.2f} to {times[-1]:.2f})", max(run.peak for run in runs) / MB
                print(
                    f"    {label:<18} {seconds(runs):7.2f} s {spread:<16} cpu {cpu:6.2f} s {peak:6.0f} MB", flush=True
                )
            table += judge(row, figures)
            results[row.name] = {label: list(map(asdict, runs)) for label, runs in figures.items()}
    print("\n| what | figure | bar | met |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(line)} |" for line in table))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
