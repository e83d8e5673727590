"""What to do, decided before anything is done. Pure: it reads the listing, the inventory's rows and lstat.

| entry in the listing | row in the inventory | on the volume      | decision                                  |
|----------------------|----------------------|--------------------|-------------------------------------------|
| selected             | same version or sum  | as the row says    | keep; stamp if owner or mode differ       |
| selected             | same version or sum  | changed or missing | load                                      |
| selected             | other version or sum | anything           | load                                      |
| selected             | none                 | anything           | load (a file of somebody else's is        |
|                      |                      |                    | replaced; a directory is an error)        |
| filtered out         | any                  | anything           | leave                                     |
| none, filtered out   | any                  | anything           | leave: the source need not have been asked|
| none                 | any, sync            | as the row says    | delete                                    |
| none                 | any, sync            | changed or missing | forget: it is no longer dsload's          |
| none                 | any, copy            | anything           | leave                                     |
| none                 | none                 | anything           | leave: dsload did not put it              |

Under sync, what an earlier load put in the way of a new file or directory is deleted first.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from dsload.errors import ChangedError, UnsafePathError
from dsload.listing import BytesReader, Checksum, Entry
from dsload.names import alike, check_names, folders, parents, peculiar
from dsload.report import Noted
from dsload.target.inventory import Row

_REMOVE = "remove it from the target"


class Ground(Protocol):
    """What a plan looks at."""

    def look(self, path: str) -> os.stat_result | None:
        """lstat through no symlink. Raises UnsafePathError if a directory of the path is not a directory."""

    def link_target(self, path: str) -> str:
        """Where the symlink at a path points."""

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        """Whether owner and mode are as asked for."""


class Nowhere:
    """A target that does not exist."""

    def look(self, path: str) -> os.stat_result | None:
        return None

    def link_target(self, path: str) -> str:
        return ""

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        return True


@dataclass(slots=True)
class Plan:
    """What a load will do; the lists are in the listing's order.

    Args:
        load: entries to bring.
        stamp: entries whose files are right but need their owner or mode.
        keep: how many files are right already, the stamped ones included.
        keep_bytes: their size.
        refresh: rows to rewrite, as only the version at the source has changed.
        delete: paths to delete once everything else is in place.
        delete_first: paths to delete before anything else, as they stand in the way.
        blocked: the entries that those are in the way of.
        forget: paths whose rows go, and whose files stay.
        replaced: how many of the files to load replace an existing one.
        replaced_bytes: the space that those take on the volume.
        alike: groups of selected paths, and of those of rows, that some volumes take for one.
        left: those of them that are left as they are.
        peculiar: paths, of selected files or of their folders, whose last name some volumes do not take.
        foreign: those of them that dsload had not put there, or that somebody has changed since.
    """

    load: list[Entry] = field(default_factory=list)
    stamp: list[Entry] = field(default_factory=list)
    keep: int = 0
    keep_bytes: int = 0
    refresh: list[Row] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    delete_first: list[str] = field(default_factory=list)
    blocked: list[Entry] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    replaced: int = 0
    replaced_bytes: int = 0
    alike: list[list[str]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    peculiar: list[str] = field(default_factory=list)
    foreign: Noted = field(default_factory=Noted)

    @property
    def nothing(self) -> bool:
        """Whether the target is right already."""
        lists = (self.load, self.stamp, self.refresh, self.delete, self.delete_first, self.forget)
        return not any(lists)

    @property
    def bytes_to_load(self) -> int:
        """The size of what is to be loaded, as far as the source states it."""
        return sum(max(0, entry.size) for entry in self.load)


def make_plan(
    entries: list[Entry], rows: Iterable[Row], target: Ground, select: Callable[[str], bool], sync: bool
) -> Plan:
    """Compare a listing with the inventory and the volume; see the module's table.

    Args:
        entries: the whole listing; sorted by path in place.
        rows: of the inventory, sorted by path.
        target: the volume.
        select: whether a path passes the filters.
        sync: whether to delete what the source no longer has.

    Raises:
        UnsafePathError: a name that would leave the target, or collides with another or with what is there.
    """
    entries.sort(key=lambda entry: entry.path)
    selected = [entry for entry in entries if select(entry.path)]
    check_names(selected)
    plan = Plan()
    errors: dict[str, UnsafePathError] = {}
    left: list[str] = []
    following = iter(selected)
    next_selected = next(following, None)
    for entry, row in _pairs(entries, rows):
        if entry is None:
            if row is not None and sync and select(row.path):
                (plan.delete if _still_there(row, target) else plan.forget).append(row.path)
            elif row is not None:
                left.append(row.path)
        elif entry is next_selected:
            next_selected = next(following, None)
            try:
                _decide(plan, entry, row, target)
            except UnsafePathError as error:
                plan.load.append(entry)
                plan.blocked.append(entry)
                errors[entry.path] = error
                if row is not None and sync and _still_there(row, target):
                    plan.delete.append(row.path)
        elif row is not None:
            left.append(row.path)
    _unblock(plan, errors)
    paths = [entry.path for entry in selected]
    paths += folders(paths)
    plan.peculiar = peculiar(paths)
    plan.alike = alike([*paths, *plan.delete, *plan.forget, *left])
    plan.left = {path for group in plan.alike for path in group}.intersection(left)
    return plan


def as_loaded(rows: Iterable[Row], target: Ground) -> tuple[list[Entry], bool]:
    """The entries of the rows whose files are unchanged on the volume, and whether all of them are."""
    entries: list[Entry] = []
    reader, whole = _Remembered(), True
    for row in rows:
        if not _still_there(row, target):
            whole = False
            continue
        checksum = Checksum.parse(row.checksum) if row.checksum else None
        flags = (row.executable, row.symlink, row.directory)
        entries.append(Entry(row.path, row.size, row.version, reader, "", checksum, *flags))
    return entries, whole


class _Remembered(BytesReader):
    """In the place of a reader, for what the target holds already."""

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Raises ChangedError."""
        why = "it was unchanged a moment ago, and somebody has changed it since"
        raise ChangedError("reading", entry.path, why, "find out who else writes to the target")


def check_free(entry: Entry, target: Ground) -> os.stat_result | None:
    """What stands at an entry's path, None if nothing does.

    Raises:
        UnsafePathError: a directory is in the way of its file, or a file in the way of one of its directories.
    """
    found = target.look(entry.path)
    if found is None or stat.S_ISDIR(found.st_mode) == entry.directory:
        return found
    if entry.directory:
        raise UnsafePathError("checking", entry.path, "a file is in the way of this directory", _REMOVE)
    if stat.S_ISDIR(found.st_mode):
        raise UnsafePathError("checking", entry.path, "a directory is in the way of this file", _REMOVE)
    return found


def _decide(plan: Plan, entry: Entry, row: Row | None, target: Ground) -> None:
    found = check_free(entry, target)
    if found is None or row is None or not _same(entry, row) or not _intact(row, found, target):
        plan.load.append(entry)
        if found is not None:
            plan.replaced += 1
            plan.replaced_bytes += found.st_blocks * 512
            if row is None or not _intact(row, found, target):
                plan.foreign += Noted(1, (entry.path,))
        return
    if (entry.version, entry.executable) != (row.version, row.executable):
        plan.refresh.append(replace(row, version=entry.version, executable=entry.executable))
    plan.keep += 1
    plan.keep_bytes += row.size
    if not target.owned(found, entry.executable):
        plan.stamp.append(entry)


def _still_there(row: Row, target: Ground) -> bool:
    try:
        found = target.look(row.path)
    except UnsafePathError:
        return False
    return found is not None and _intact(row, found, target)


def _same(entry: Entry, row: Row) -> bool:
    """Whether a row describes this entry's content."""
    if entry.directory or row.directory:
        return entry.directory and row.directory
    if entry.symlink is not None or row.symlink is not None:
        return entry.symlink == row.symlink
    if entry.size >= 0 and entry.size != row.size:
        return False
    if entry.checksum is not None:
        kind, _, value = str(entry.checksum).partition(":")
        row_kind, _, row_value = row.checksum.partition(":")
        if kind == row_kind:
            return value == row_value
    return bool(entry.version and entry.version == row.version)


def _intact(row: Row, found: os.stat_result, target: Ground) -> bool:
    """Whether what is on the volume is what a load put there."""
    if row.directory:
        return stat.S_ISDIR(found.st_mode)
    if row.symlink is not None:
        return stat.S_ISLNK(found.st_mode) and target.link_target(row.path) == row.symlink
    return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (row.size, row.mtime)


def _unblock(plan: Plan, errors: dict[str, UnsafePathError]) -> None:
    """What is in the way goes first, if an earlier load put it there and it is to be deleted anyway."""
    if not errors:
        return
    going = set(plan.delete)
    first: set[str] = set()
    for path, error in errors.items():
        in_the_way = {place for place in (path, *parents(path)) if place in going}
        in_the_way |= {other for other in plan.delete if other.startswith(path + "/")}
        if not in_the_way:
            raise error
        first |= in_the_way
    plan.delete_first = [path for path in plan.delete if path in first]
    plan.delete = [path for path in plan.delete if path not in first]


def _pairs(entries: Iterable[Entry], rows: Iterable[Row]) -> Iterator[tuple[Entry | None, Row | None]]:
    """Both by path; one side is None if only the other has the path."""
    left, right = iter(entries), iter(rows)
    entry, row = next(left, None), next(right, None)
    while entry is not None or row is not None:
        if row is None or (entry is not None and entry.path < row.path):
            yield entry, None
            entry = next(left, None)
        elif entry is None or row.path < entry.path:
            yield None, row
            row = next(right, None)
        else:
            yield entry, row
            entry, row = next(left, None), next(right, None)
