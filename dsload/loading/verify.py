"""Re-hash a loaded target against its inventory."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from dsload.errors import DsloadError, NotFoundError
from dsload.listing import Checksum
from dsload.names import STATE
from dsload.target.inventory import INVENTORY, Inventory, Row
from dsload.target.ownership import Ownership
from dsload.target.volume import Volume
from dsload.transfer.checksum import of_file

_WINDOW = 1000  # rows under way at a time


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file of the inventory.

    Args:
        path: relative to the target.
        size: bytes that were read.
        problem: what is wrong, "" if nothing is.
    """

    path: str
    size: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What verify() found.

    Args:
        target: the path as it was given.
        complete: whether the last load ended.
        files: how many were checked.
        bytes: how many were hashed.
        wrong: the files that differ or are missing.
    """

    target: str
    complete: bool
    files: int
    bytes: int
    wrong: tuple[Verdict, ...] = ()


def verify(path: str | Path, found: Callable[[Verdict], None] = lambda verdict: None) -> Verification:
    """Hash every file that loads have put into a target, and compare it with the inventory.

    Args:
        path: the target, with its `.dsload`.
        found: is given each wrong file as soon as it is found.

    Raises:
        NotFoundError: the target has no inventory.
    """
    if not os.path.isdir(path):
        raise NotFoundError("verifying", str(path), "this directory does not exist", "check the path")
    volume = Volume.open(Path(path), "/", Ownership(os.geteuid(), os.getegid()), create=False)
    inventory = Inventory(volume)
    if inventory.header() is None:
        why = "it has no inventory: dsload has loaded nothing here"
        raise NotFoundError("verifying", str(path), why, "check the path")
    files = size = 0
    wrong = []
    for verdict in chain(_broken(inventory), _verdicts(volume, inventory.merged())):
        files, size = files + 1, size + verdict.size
        if verdict.problem:
            wrong.append(verdict)
            found(verdict)
    return Verification(str(path), inventory.complete(), files, size, tuple(wrong))


def _broken(inventory: Inventory) -> Iterator[Verdict]:
    if count := inventory.broken():
        problem = f"damaged: {count:,} of its lines cannot be read, and the files in them are not checked"
        yield Verdict(f"{STATE}/{INVENTORY}", problem=problem)


def _verdicts(volume: Volume, rows: Iterable[Row]) -> Iterator[Verdict]:
    pending = iter(rows)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while window := list(islice(pending, _WINDOW)):
            yield from pool.map(lambda row: check(volume, row), window)


def check(volume: Volume, row: Row) -> Verdict:
    """Compare one file with its row."""
    try:
        found = volume.look(row.path)
        if found is None:
            return Verdict(row.path, problem="missing")
        if row.directory:
            return Verdict(row.path, problem="" if stat.S_ISDIR(found.st_mode) else "no longer a directory")
        if row.symlink is not None:
            same = stat.S_ISLNK(found.st_mode) and volume.link_target(row.path) == row.symlink
            return Verdict(row.path, problem="" if same else f"no longer a symlink to {row.symlink}")
        if not stat.S_ISREG(found.st_mode):
            return Verdict(row.path, problem="no longer a file")
        return _check_content(volume, row)
    except OSError as error:
        return Verdict(row.path, problem=f"cannot be read ({(error.strerror or str(error)).lower()})")
    except DsloadError as error:
        return Verdict(row.path, problem=error.why)


def _check_content(volume: Volume, row: Row) -> Verdict:
    fd = volume.open_file(row.path)
    try:
        size = os.fstat(fd).st_size
        if size != row.size:
            return Verdict(row.path, problem=f"differs: it has {size:,} bytes, {row.size:,} were loaded")
        if not row.checksum:
            return Verdict(row.path)
        actual = of_file(fd, size, Checksum.parse(row.checksum))
        if str(actual) != row.checksum:
            return Verdict(row.path, size, f"differs: it has {actual}, {row.checksum} was loaded")
        return Verdict(row.path, size)
    finally:
        os.close(fd)
