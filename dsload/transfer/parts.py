"""The bytes of a large file while it is loaded: which have been written, and a journal that survives a kill.

The journal lies beside the partial file. Its first line names the validator (ETag or Last-Modified) that all its
parts were read at; then a line a part, written only after the part's bytes are on the volume.
"""

import bisect
import contextlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from dsload.listing import Entry

SMALLEST_PART, LARGEST_PART = 8 << 20, 64 << 20  # bytes


def fingerprint(entry: Entry) -> str:
    """The name of an entry's partial file: another version, size or path has another."""
    return sha256(f"{entry.path}\0{entry.size}\0{entry.version}".encode("utf-8", "surrogateescape")).hexdigest()[:40]


def part_size(left: int, workers: int) -> int:
    """How long the next part should be, in bytes: large, and smaller towards the end of the load, so that all workers
    finish together.

    Args:
        left: bytes of large files that no part covers yet.
        workers: connections.
    """
    return min(LARGEST_PART, max(SMALLEST_PART, left // (2 * max(1, workers))))


def cut(gaps: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The first part of what is missing of a file, and the rest of what is missing.

    Args:
        gaps: (start, end), in order; not empty.
        size: of the part in bytes; the rest of a gap that would be less than half of the smallest part goes with it.
    """
    (start, end), *others = gaps
    if end - start < size + SMALLEST_PART // 2:
        return (start, end), others
    return (start, start + size), [(start + size, end), *others]


@dataclass(frozen=True, slots=True)
class Version:
    """What an answer states of the version of its content.

    Args:
        validator: an ETag or a date, "" if neither is stated.
        modified: the date.
    """

    validator: str = ""
    modified: str = ""

    def differs(self, other: "Version") -> bool:
        """Whether this is another version than one that was seen before."""
        known = other.validator
        return bool(known and self.validator) and known not in (self.validator, self.modified)

    def is_later(self, other: "Version") -> bool:
        """Whether the dates differ too, so that this is not the same content from another server of the same name."""
        return bool(self.modified and other.modified) and self.modified != other.modified


class Spans:
    """A set of byte ranges, merged and sorted."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add the bytes from start to end."""
        if start >= end:
            return
        low = bisect.bisect_left(self._ends, start)
        high = bisect.bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def end_of(self, position: int) -> int:
        """The end of the bytes present without a gap from `position` on."""
        index = bisect.bisect_right(self._starts, position) - 1
        return max(position, self._ends[index]) if index >= 0 else position

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """What of 0 to size is missing."""
        edges = [0, *(edge for pair in zip(self._starts, self._ends, strict=True) for edge in pair), size]
        return [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2) if edges[i] < edges[i + 1]]

    @property
    def total(self) -> int:
        """How many bytes there are."""
        return sum(self._ends) - sum(self._starts)


class Partial:
    """The bytes of one file that is not whole yet.

    Args:
        data: descriptor of the partial file, open for reading and writing; it closes itself.
        journal: descriptor of its journal, open for reading and appending; likewise.
        size: of the whole file in bytes, -1 if it is not known.
    """

    def __init__(self, data: int, journal: int, size: int) -> None:
        self.fd, self._journal, self.size = data, journal, size
        self.version = Version()
        self.restarts = 0  # how often restart() was called; it grows before a byte is gone
        self._durable, self._written, self._seen = Spans(), Spans(), Spans()
        self._lock = threading.Lock()
        self._read_journal()

    def _read_journal(self) -> None:
        length = os.fstat(self.fd).st_size
        text = os.pread(self._journal, os.fstat(self._journal).st_size, 0)
        for line in text.split(b"\n"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if "validator" in record:
                    self.version = Version(str(record["validator"]), str(record.get("modified", "")))
                elif 0 <= record["start"] < record["end"] <= min(length, self.size):
                    self._durable.add(record["start"], record["end"])
                    self._written.add(record["start"], record["end"])
        if text and not text.endswith(b"\n"):
            os.write(self._journal, b"\n")

    def agree(self, version: Version) -> None:
        """Note the version that the parts are read at."""
        with self._lock:
            if version.validator and not self.version.validator:
                self.version = version
                self._append({"validator": version.validator, "modified": version.modified})

    def forget_version(self) -> None:
        """Agree again, for content that is known by more: another host may serve it under another ETag."""
        with self._lock:
            self.version = Version()

    def write(self, chunk: bytes | memoryview, position: int) -> None:
        """Put bytes in their place."""
        written = os.pwrite(self.fd, chunk, position)
        while written < len(chunk):
            written += os.pwrite(self.fd, chunk[written:], position + written)

    def arrived(self, start: int, end: int) -> bool:
        """These bytes are written and may be hashed. Whether this is progress: bytes not had before."""
        with self._lock:
            self._written.add(start, end)
            new = self._seen.end_of(start) < end
            self._seen.add(start, end)
            return new

    def secure(self, start: int, end: int) -> None:
        """Sync a finished part to the volume, then record it, so that no later run fetches it again."""
        os.fdatasync(self.fd)
        with self._lock:
            if self._written.end_of(start) < end:
                return  # the file was started over meanwhile
            self._durable.add(start, end)
            self._append({"start": start, "end": end})

    def written_from(self, position: int) -> int:
        """The end of the bytes present without a gap from `position` on."""
        with self._lock:
            return self._written.end_of(position)

    def missing(self) -> list[tuple[int, int]]:
        """The ranges that no finished part covers."""
        with self._lock:
            return self._durable.gaps(self.size)

    @property
    def durable(self) -> int:
        """How many bytes are safe."""
        with self._lock:
            return self._durable.total

    def restart(self) -> None:
        """Forget every byte."""
        with self._lock:
            self.restarts += 1
            os.ftruncate(self._journal, 0)
            os.ftruncate(self.fd, 0)
            self.version = Version()
            self._durable, self._written = Spans(), Spans()

    def drop_cache(self, start: int, end: int) -> None:
        """Take bytes out of the page cache: a dirty page is sent to the volume, a clean one leaves."""
        if end > start:
            os.posix_fadvise(self.fd, start, end - start, os.POSIX_FADV_DONTNEED)

    def _append(self, record: dict[str, object]) -> None:
        os.write(self._journal, json.dumps(record).encode() + b"\n")
