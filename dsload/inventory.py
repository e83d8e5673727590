"""What is on the volume: a row a file, the marker of a complete load, and the journal of a load under way.

`inventory.jsonl` is a header and then rows sorted by path. While a load runs, rows of finished files are appended to
`parts/files.jsonl`, with a mark whenever the volume has been synced; rows after the last mark are hashed before a
later run believes them, as a node that went down may have lost their content. When a load ends, or the next one
begins, both are merged by external sort, so that memory stays bounded whatever the number of files.
"""

import contextlib
import heapq
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, Self

from dsload.errors import VolumeError
from dsload.volume import Volume, writing

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
        checksum: as str(Checksum), "" where the load did not verify.
        version: the source's, as in Entry.
        mtime: nanoseconds, as the volume keeps it.
        symlink: the target of a symlink.
        directory: whether it is an empty directory.
    """

    path: str
    size: int = 0
    checksum: str = ""
    version: str = ""
    mtime: int = 0
    symlink: str | None = None
    directory: bool = False

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line. Raises ValueError."""
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from None

    def line(self) -> bytes:
        """The row as a line of JSON, without what is not set."""
        fields = {key: value for key, value in asdict(self).items() if key == "size" or value}
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an inventory.

    Args:
        source: the URI without secrets.
        type: of the source.
        identity: of the source, see Source.identity.
        revision: what a branch or tag was resolved to, where there is one.
        started, finished: times in ISO 8601; finished is "" while a load is under way.
    """

    source: str
    type: str
    identity: str
    revision: str | None = None
    started: str = ""
    finished: str = ""
    dsload: int = FORMAT


class Inventory:
    """The inventory of a target."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = Lock()
        self._journal = -1
        self._appended = self._unsynced_bytes = self._unsynced_rows = 0

    # Reading

    def header(self) -> Header | None:
        """The header, None where there is no inventory that this version reads."""
        line = next(self._lines(INVENTORY), b"")
        with contextlib.suppress(ValueError, TypeError):
            fields = json.loads(line)
            if fields.get("dsload") == FORMAT:
                return Header(**fields)
        return None

    def complete(self) -> dict[str, Any] | None:
        """What the marker says, None where the last load did not end."""
        with contextlib.suppress(ValueError):
            found: dict[str, Any] | None = json.loads(b"".join(self._lines(MARKER)) or b"null")
            return found
        return None

    def rows(self) -> Iterator[Row]:
        """The rows of the inventory, sorted by path; the journal is not in them before recover()."""
        lines = self._lines(INVENTORY)
        if self.header() is None:
            return
        next(lines)
        for line in lines:
            with contextlib.suppress(ValueError):
                yield Row.parse(line)

    def unmerged(self) -> Iterator[Row]:
        """The rows of the journal, in the order they were written, without those that a later line removes."""
        latest: dict[str, Row | None] = {}
        for record, _ in self._records():
            latest[record["path"]] = None if record.get("gone") else Row(**record)
        yield from (row for row in latest.values() if row)

    def _lines(self, name: str) -> Iterator[bytes]:
        try:
            fd = self._volume.open_state(name, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            fix = "check the permissions of the target's .dsload"
            raise VolumeError("reading", f"{self._volume.path}/.dsload/{name}", str(error.strerror), fix) from None
        with os.fdopen(fd, "rb") as file:
            yield from file

    def _records(self) -> Iterator[tuple[dict[str, Any], bool]]:
        """Each journal record, with whether the volume was synced after it."""
        synced = 0
        for line in self._lines(JOURNAL):
            if match := _MARK.fullmatch(line):
                synced = int(match[1])
        number = 0
        for line in self._lines(JOURNAL):
            with contextlib.suppress(ValueError, TypeError):
                record = json.loads(line)
                if "path" in record:
                    if not record.get("gone"):
                        Row(**record)
                    number += 1
                    yield record, number <= synced

    # Writing, with the lease held

    def recover(self, header: Header, intact: Callable[[Row], bool]) -> bool:
        """Merge what an interrupted load left in the journal. Whether there was anything.

        Rows of another source keep their place but lose their version, so that only a checksum can match them.

        Args:
            header: of the load that begins.
            intact: whether the content of a row's file is as the row says; asked for rows that were not synced.
        """
        before = self.header()
        journal = any(True for _ in self._lines(JOURNAL))
        if before and before.identity == header.identity and not journal:
            return False
        foreign = before is not None and before.identity != header.identity
        if before or journal:
            self._merge(header, lambda record, synced: synced or intact(Row(**record)), forget_versions=foreign)
        return journal

    def begin(self, header: Header) -> None:
        """Take the completion marker away, before anything of the target changes, and open the journal."""
        self._volume.remove_state(MARKER)
        if self.header() is None:
            with self._volume.replace_state(INVENTORY) as fd:
                os.write(fd, _header_line(header))
        with writing("opening", JOURNAL):
            self._journal = self._volume.open_state(JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            end = os.fstat(self._journal).st_size
            if end and os.pread(self._journal, 1, end - 1) != b"\n":
                os.write(self._journal, b"\n")

    def append(self, row: Row) -> bool:
        """A file is in place. Whether it is time to sync()."""
        self._append(row.line())
        self._unsynced_bytes += row.size
        self._unsynced_rows += 1
        return self._unsynced_bytes >= _SYNC_BYTES or self._unsynced_rows >= _SYNC_ROWS

    def gone(self, path: str) -> None:
        """A file is deleted, or no longer dsload's."""
        self._append(json.dumps({"path": path, "gone": True}).encode() + b"\n")

    def sync(self) -> None:
        """Sync the volume, and mark the rows from before as safe."""
        with self._lock:
            rows, self._unsynced_bytes, self._unsynced_rows = self._appended, 0, 0
        self._volume.sync()
        with self._lock, writing("writing", JOURNAL):
            os.write(self._journal, b'{"synced":%d}\n' % rows)

    def _append(self, line: bytes) -> None:
        with self._lock, writing("writing", JOURNAL):
            os.write(self._journal, line)
            self._appended += 1

    def finish(self, header: Header, summary: dict[str, Any]) -> None:
        """Write the sorted inventory, then the marker: the load is complete."""
        self._merge(header, lambda record, synced: True)
        self.close()
        with self._volume.replace_state(MARKER) as fd:
            os.write(fd, json.dumps(summary, indent=1).encode() + b"\n")

    def close(self) -> None:
        """Close the journal; it stays for the next run."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _merge(
        self, header: Header, believe: Callable[[dict[str, Any], bool], bool], forget_versions: bool = False
    ) -> None:
        old = ((row.path, 0, row.line()) for row in self.rows())
        with contextlib.ExitStack() as stack:
            runs = list(self._sorted_runs(believe, stack))
            with self._volume.replace_state(INVENTORY) as fd, os.fdopen(fd, "wb", closefd=False) as out:
                out.write(_header_line(header))
                for _, line in _latest(heapq.merge(old, *runs)):
                    if line:
                        out.write(_without_version(line) if forget_versions else line)
        self._volume.remove_state(JOURNAL)

    def _sorted_runs(
        self, believe: Callable[[dict[str, Any], bool], bool], stack: contextlib.ExitStack
    ) -> Iterator[Iterable[tuple[str, int, bytes]]]:
        run: list[tuple[str, int, bytes]] = []
        for number, (record, synced) in enumerate(self._records(), 1):
            gone = record.get("gone") or not believe(record, synced)
            run.append((record["path"], number, b"" if gone else Row(**record).line()))
            if len(run) == _RUN:
                yield self._spill(run, stack)
                run = []
        run.sort()
        yield run

    def _spill(
        self, run: list[tuple[str, int, bytes]], stack: contextlib.ExitStack
    ) -> Iterator[tuple[str, int, bytes]]:
        run.sort()
        file = stack.enter_context(os.fdopen(self._volume.scratch(), "w+b"))
        for path, number, line in run:
            file.write(json.dumps([path, number, line.decode()]).encode() + b"\n")
        file.seek(0)
        return ((path, number, text.encode()) for path, number, text in map(json.loads, file))


def _latest(rows: Iterable[tuple[str, int, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Of the rows of one path, the last written."""
    current: tuple[str, bytes] | None = None
    for path, _, line in rows:
        if current and current[0] != path:
            yield current
        current = path, line
    if current:
        yield current


def _without_version(line: bytes) -> bytes:
    row = json.loads(line)
    row.pop("version", None)
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _header_line(header: Header) -> bytes:
    return json.dumps(asdict(header), separators=(",", ":")).encode() + b"\n"
