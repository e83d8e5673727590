"""What is on the volume: a row a file, the marker of a complete load, and the journal of a load under way.

`inventory.jsonl` is a header and then rows sorted by path. While a load runs, rows of finished files are appended to
`parts/files.jsonl`, with a mark whenever the volume has been synced; rows after the last mark are hashed before a
later run believes them, as a node that went down may have lost their content. When a load ends, or the next one
begins, both are merged by external sort, so that memory stays bounded whatever the number of files.
"""

import contextlib
import heapq
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from threading import Lock
from typing import Any, NamedTuple, Self, TypeVar

from dsload.report import Bytes, Files
from dsload.target.oserror import writing
from dsload.target.state import JOURNALS, PARTS
from dsload.target.volume import Volume

FORMAT = 1
INVENTORY, MARKER, JOURNAL = "inventory.jsonl", "complete.json", "parts/files.jsonl"
_RUN = 50_000  # rows sorted in memory at a time
_SYNC_BYTES, _SYNC_ROWS = 512 << 20, 5_000  # placed since the last mark
_MARK = re.compile(rb'\{"synced":(\d+)\}\n')


@dataclass(frozen=True, slots=True)
class Row:
    """One file, symlink or directory that a load put there.

    Args:
        path: relative to the target.
        size: bytes.
        checksum: as str(Checksum), "" if the load did not verify.
        version: the source's, as in Entry.
        mtime: nanoseconds, as the volume keeps it.
        symlink: the target of a symlink.
        directory: whether it is an empty directory.
        executable: whether the source marks it so.
    """

    path: str
    size: int = 0
    checksum: str = ""
    version: str = ""
    mtime: int = 0
    symlink: str | None = None
    directory: bool = False
    executable: bool = False

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line. Raises ValueError."""
        return cls.of(json.loads(line))

    @classmethod
    def of(cls, fields: Any) -> Self:
        """Take a row from the JSON values of its line. Raises ValueError."""
        try:
            row = cls(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from None
        texts = isinstance(row.path, str) and isinstance(row.checksum, str) and isinstance(row.version, str)
        numbers = isinstance(row.size, int) and isinstance(row.mtime, int)
        flags = isinstance(row.directory, bool) and isinstance(row.executable, bool)
        if not (texts and numbers and flags and (row.symlink is None or isinstance(row.symlink, str))):
            raise ValueError("a field is of another type")
        return row

    def line(self) -> bytes:
        """The row as a line of JSON, without what is not set."""
        fields: dict[str, object] = {"path": self.path, "size": self.size}
        for name in ("checksum", "version", "mtime", "symlink", "directory", "executable"):
            if value := getattr(self, name):
                fields[name] = value
        return _encode(fields)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an inventory.

    Args:
        source: the URI without secrets.
        type: of the source.
        identity: of the source, see Source.identity.
        revision: what a branch or tag was resolved to, if there was one.
        selection: of the source, see Source.selection.
        started, finished: times in ISO 8601; finished is "" while a load is under way.
    """

    source: str
    type: str
    identity: str
    revision: str | None = None
    selection: str = ""
    started: str = ""
    finished: str = ""
    dsload: int = FORMAT


@dataclass(frozen=True, slots=True)
class Marker:
    """What the completion marker says of the last load that ended.

    Args:
        source: the URI without secrets.
        revision: of the source, if it has revisions.
        finished: when, in ISO 8601.
        files, bytes: how many, as in the report.
        round: that its shards did, "" if it had none.
    """

    source: str = ""
    revision: str | None = None
    finished: str = ""
    files: Files = field(default_factory=Files)
    bytes: Bytes = field(default_factory=Bytes)
    round: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a marker, None if it is not one; what is not as dsload writes it counts as not said."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        source, revision, finished, round = (
            value if isinstance(value := said.get(name), str) else ""
            for name in ("source", "revision", "finished", "round")
        )
        files, size = _counts(Files, said.get("files")), _counts(Bytes, said.get("bytes"))
        return cls(source, revision or None, finished, files, size, round)


C = TypeVar("C", Files, Bytes)


def _counts(kind: type[C], said: Any) -> C:
    numbers = said.values() if isinstance(said, dict) else ()
    known = {each.name for each in fields(kind)}
    whole = all(isinstance(number, int) for number in numbers) and isinstance(said, dict) and said.keys() <= known
    return kind(**said) if whole else kind()


class Inventory:
    """The inventory of a target."""

    def __init__(self, volume: Volume, shard: int | None = None) -> None:
        self._volume = volume
        self._name = JOURNAL if shard is None else f"{PARTS}/files-{shard}.jsonl"
        self._lock = Lock()
        self._journal = -1
        self._appended = self._unsynced_bytes = self._unsynced_rows = 0

    # Reading

    def header(self) -> Header | None:
        """The header, None without an inventory that this version reads."""
        line = next(self._volume.state.read(INVENTORY), b"")
        with contextlib.suppress(ValueError, TypeError):
            fields = json.loads(line)
            if isinstance(fields, dict) and fields.get("dsload") == FORMAT:
                return Header(**fields)
        return None

    def marker(self) -> Marker | None:
        """The completion marker, None if the last load did not end."""
        return Marker.parse(b"".join(self._volume.state.read(MARKER)).decode(errors="replace"))

    def complete(self) -> bool:
        """Whether the last load ended."""
        return self.marker() is not None

    def rows(self) -> Iterator[Row]:
        """The rows of the inventory, sorted by path; the journal is not in them before recover()."""
        lines = self._volume.state.read(INVENTORY)
        if self.header() is None:
            return
        next(lines)
        last = ""
        for line in lines:
            try:
                row = Row.parse(line)
            except ValueError:
                continue
            if row.path > last:  # as it was written; else somebody else wrote it
                last = row.path
                yield row

    def broken(self) -> int:
        """How many lines of the inventory are not rows: somebody else wrote them, or the volume damaged them."""
        lines = self._volume.state.read(INVENTORY)
        next(lines, None)
        return sum(not _is_row(line) for line in lines)

    def merged(self) -> Iterator[Row]:
        """The rows with what the journal of a load that did not end adds and takes away, sorted by path."""
        late = {record.path: record for record in self._records() if not record.intended}
        rows = (row for row in self.rows() if row.path not in late)
        added = (Row.parse(record.line) for _, record in sorted(late.items()) if not record.gone)
        return heapq.merge(rows, added, key=lambda row: row.path)

    def _records(self, names: Iterable[str] | None = None) -> Iterator["_Record"]:
        """The lines of the journals named, by default of all; a line that a kill cut short is passed over."""
        number = 0
        for name in self._journals() if names is None else names:
            synced = number
            for line in self._volume.state.read(name):
                if match := _MARK.fullmatch(line):
                    synced = number + int(match[1])
            for line in self._volume.state.read(name):
                if _MARK.fullmatch(line):
                    continue
                number += 1
                try:
                    record = _Record.parse(line, number, synced)
                except (ValueError, KeyError):
                    continue
                yield record

    # Writing, with the lease held

    def recover(self, header: Header, intact: Callable[[Row], bool]) -> bool:
        """Merge what an interrupted load left in the journal. Whether it had left anything.

        Rows of another source keep their place but lose their version, so that only a checksum can match them.

        Args:
            header: of the load that begins.
            intact: whether the content of a row's file is as the row says; asked for rows that were not synced.
        """
        before = self.header()
        journal = any(True for name in self._journals() for _ in self._volume.state.read(name))
        foreign = before is not None and before.identity != header.identity
        if journal or foreign:
            self._volume.state.remove(MARKER)
            self._merge(header, lambda record: record.safe or intact(Row.parse(record.line)), foreign)
        return journal

    def begin(self, header: Header) -> None:
        """Remove the completion marker before anything in the target changes, and open the journal."""
        self._volume.state.remove(MARKER)
        if self.header() is None:
            with self._volume.state.replace(INVENTORY) as fd:
                os.write(fd, _encode(asdict(header)))
        self._open_journal()

    def _open_journal(self) -> None:
        with writing("opening", self._name):
            self._journal = self._volume.state.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def resume(self, intact: Callable[[Row], bool]) -> list[Row]:
        """Resume the journal of a shard that was killed; the rows that can be believed are kept.

        Args:
            intact: as of recover().

        Returns:
            those rows, sorted by path.
        """
        found: dict[str, _Record] = {}
        for record in self._records([self._name]):
            if record.gone or record.safe or intact(Row.parse(record.line)):
                found[record.path] = record
        kept = [found[path] for path in sorted(found)]
        self._volume.sync()
        with self._volume.state.replace(self._name) as fd, os.fdopen(fd, "wb", closefd=False) as out:
            out.writelines(record.line or _gone(record.path) for record in kept)
            out.write(b'{"synced":%d}\n' % len(kept))
        self._appended = len(kept)
        self._open_journal()
        return [Row.parse(record.line) for record in kept if not record.gone]

    def intend(self, row: Row) -> None:
        """Note that a whole file is about to be put in place; if its row does not follow, the next run hashes it."""
        self._append(_encode({"intended": json.loads(row.line())}))

    def append(self, row: Row) -> bool:
        """Note that a file is in place. Whether it is time to sync()."""
        self._append(row.line())
        self._unsynced_bytes += row.size
        self._unsynced_rows += 1
        return self._unsynced_bytes >= _SYNC_BYTES or self._unsynced_rows >= _SYNC_ROWS

    def gone(self, path: str) -> None:
        """Note that a file is deleted, or no longer dsload's."""
        self._append(_gone(path))

    def sync(self) -> None:
        """Sync the volume, and mark the rows from before as safe."""
        with self._lock:
            rows, self._unsynced_bytes, self._unsynced_rows = self._appended, 0, 0
        self._volume.sync()
        with self._lock, writing("writing", self._name):
            os.write(self._journal, b'{"synced":%d}\n' % rows)

    def _append(self, line: bytes) -> None:
        with self._lock, writing("writing", self._name):
            os.write(self._journal, line)
            self._appended += 1

    def finish(self, header: Header, marker: Marker) -> None:
        """Write the sorted inventory, then the marker: the load is complete."""
        self._merge(header, lambda record: True)
        self.close()
        self.mark(marker)

    def rewrite(self, header: Header, rows: Iterable[Row], marker: Marker) -> None:
        """Write the inventory and marker of a tree that was made as a whole.

        Args:
            header: of its making.
            rows: sorted by path.
            marker: of its making.
        """
        with self._volume.state.replace(INVENTORY) as fd, os.fdopen(fd, "wb", closefd=False) as out:
            out.write(_encode(asdict(header)))
            out.writelines(row.line() for row in rows)
        self.mark(marker)

    def forget(self) -> None:
        """Delete the inventory and its marker, as what they describe is gone."""
        for name in (MARKER, INVENTORY):
            self._volume.state.remove(name)

    def mark(self, marker: Marker) -> None:
        """Write the marker."""
        with self._volume.state.replace(MARKER) as fd:
            os.write(fd, json.dumps(asdict(marker), indent=1).encode() + b"\n")

    def close(self) -> None:
        """Close the journal; it stays for the next run."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _merge(self, header: Header, believe: Callable[["_Record"], bool], forget_versions: bool = False) -> None:
        """Write the inventory anew from its rows and the journal's, the latest of each path; drop the journal."""
        with contextlib.ExitStack() as stack:
            runs = list(self._sorted_runs(believe, stack))
            with self._volume.state.replace(INVENTORY) as fd, os.fdopen(fd, "wb", closefd=False) as out:
                out.write(_encode(asdict(header)))
                for line in _latest(heapq.merge(self._old(), *runs)):
                    out.write(_without_version(line) if forget_versions else line)
        for name in self._journals():
            self._volume.state.remove(name)

    def _journals(self) -> list[str]:
        """Those of finished files: one, or one for each shard that is or was at work."""
        return [f"{PARTS}/{name}" for name in self._volume.state.names(JOURNALS, PARTS)]

    def _old(self) -> Iterator["_Keyed"]:
        return ((row.path, 0, row.line()) for row in self.rows())

    def _sorted_runs(
        self, believe: Callable[["_Record"], bool], stack: contextlib.ExitStack
    ) -> Iterator[Iterable["_Keyed"]]:
        """The journal in runs that are sorted each; all but the last lie on the volume."""
        run: list[_Keyed] = []
        for record in self._records():
            believed = record.gone or believe(record)
            if record.intended and not believed:
                continue  # what was there before is still there
            run.append((record.path, record.number, record.line if believed else b""))
            if len(run) == _RUN:
                yield self._spill(sorted(run), stack)
                run = []
        yield sorted(run)

    def _spill(self, run: list["_Keyed"], stack: contextlib.ExitStack) -> Iterator["_Keyed"]:
        file = stack.enter_context(os.fdopen(self._volume.state.scratch(), "w+b"))
        for path, number, line in run:
            file.write(_encode([path, number, line.decode()]))
        file.seek(0)
        return ((path, number, text.encode()) for path, number, text in map(json.loads, file))


_Keyed = tuple[str, int, bytes]  # path, age, line; an empty line is a path that is gone


class _Record(NamedTuple):
    """A line of the journal: its number, the row's line ("" for gone), and whether the volume was synced after it."""

    path: str
    number: int
    line: bytes
    safe: bool
    intended: bool = False

    @property
    def gone(self) -> bool:
        return not self.line

    @classmethod
    def parse(cls, line: bytes, number: int, synced: int) -> Self:
        """Read a line. Raises ValueError or KeyError."""
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
        if "intended" in fields:
            row = Row.of(fields["intended"])
            return cls(row.path, number, row.line(), safe=False, intended=True)
        if fields.pop("gone", False):
            return cls(Row(str(fields["path"])).path, number, b"", safe=True)
        return cls(Row.of(fields).path, number, line, number <= synced)


def _latest(rows: Iterable[_Keyed]) -> Iterator[bytes]:
    """The last line of each path, unless it is empty."""
    for _, group in itertools.groupby(rows, key=lambda row: row[0]):
        *_, (_, _, line) = group
        if line:
            yield line


def _without_version(line: bytes) -> bytes:
    row = json.loads(line)
    row.pop("version", None)
    return _encode(row)


_json = json.JSONEncoder(separators=(",", ":"))


def _is_row(line: bytes) -> bool:
    try:
        Row.parse(line)
    except ValueError:
        return False
    return True


def _gone(path: str) -> bytes:
    return _encode({"path": path, "gone": True})


def _encode(value: object) -> bytes:
    return _json.encode(value).encode() + b"\n"
