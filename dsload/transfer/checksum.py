"""Checksums while bytes arrive: whole-file digests follow the front, composite ones hash their parts side by side."""

import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from dsload.listing import Checksum

DEFAULT = "sha256"
_BLOCK = 256 << 10

Buffer = bytes | bytearray | memoryview


class Hasher(Protocol):
    """The part of hashlib's interface that is used."""

    def update(self, data: Buffer, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The digest of all bytes so far."""


class _Crc:
    """A CRC with hashlib's interface; 32 or 64 bits, big-endian as S3 writes it."""

    def __init__(self, function: Callable[[Buffer, int], int], length: int) -> None:
        self._function, self._length, self._value = function, length, 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


def hasher(algorithm: str, size: int) -> Hasher:
    """A hasher for one of listing.ALGORITHMS; `size` in bytes is part of git's blob id."""
    match algorithm:
        case "crc32":
            return _Crc(zlib.crc32, 4)
        case "crc32c":
            from awscrt.checksums import crc32c

            return _Crc(crc32c, 4)
        case "crc64nvme":
            from awscrt.checksums import crc64nvme

            return _Crc(crc64nvme, 8)
        case "gitblob":
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        case "gitblob256":  # of a repository whose object format is sha256
            return hashlib.sha256(b"blob %d\0" % size)
        case _:
            return hashlib.new(algorithm, usedforsecurity=False)


def of_bytes(data: bytes, like: Checksum | None) -> Checksum:
    """The checksum of content in memory, of the same kind as `like` (sha256 if None)."""
    algorithm = like.algorithm if like else DEFAULT
    if like is None or not like.parts:
        whole = hasher(algorithm, len(data))
        whole.update(data)
        return Checksum(algorithm, whole.digest().hex())
    step = like.part_size or len(data) or 1
    digests = []
    for start in range(0, len(data), step) if data else (0,):
        part = hasher(algorithm, len(data))
        part.update(data[start : start + step])
        digests.append(part.digest())
    outer = hasher(algorithm, len(data))
    outer.update(b"".join(digests))
    return Checksum(algorithm, outer.digest().hex(), len(digests), like.part_size)


class _Unit:
    """A stretch of the file with one hasher that moves through it from start to end."""

    __slots__ = ("busy", "end", "hasher", "position")

    def __init__(self, start: int, end: int) -> None:
        self.position, self.end, self.busy = start, end, False
        self.hasher: Hasher | None = None


class Digest:
    """The checksum of a file on disk that is still being written, in any order.

    Args:
        like: what the source states, for algorithm and part size; sha256 of the whole if None.
        size: of the file, in bytes.
    """

    def __init__(self, like: Checksum | None, size: int) -> None:
        self._algorithm = like.algorithm if like else DEFAULT
        self._parts = like.parts if like and (like.part_size or like.parts == 1) else 0
        self._part_size = like.part_size if like and self._parts else 0
        self._size = size
        step = self._part_size or max(size, 1)
        starts = range(0, size, step)[: self._parts or None] or (0,)
        self._units = [_Unit(start, end) for start, end in pairwise((*starts, size))]  # the last is as long as it is
        self._first = 0
        self._lock = threading.Lock()

    def follow(self, fd: int, written: Callable[[int], int], hashed: Callable[[int, int], None]) -> None:
        """Hash what is written and not hashed yet; returns when nothing is left, or other threads are at the rest.

        Args:
            fd: of the file.
            written: for an offset, the end of the bytes written without a gap from it on.
            hashed: called with each stretch (start, end) when it is done.
        """
        while True:
            with self._lock:
                found = self._claim(written)
            if found is None:
                return
            unit, start, stop = found
            try:
                self._hash(fd, unit, start, stop)
            finally:
                with self._lock:
                    unit.busy, unit.position = False, stop
            hashed(start, stop)

    def take(self, start: int, data: memoryview) -> None:
        """Hash bytes in memory, as far as they are the next ones of their unit; follow() reads the others."""
        step = self._part_size or max(self._size, 1)
        while data:
            with self._lock:
                unit = self._units[min(start // step, len(self._units) - 1)]
                if unit.busy or unit.position != start:
                    return
                unit.busy = True
            now = data[: unit.end - start]
            try:
                unit.hasher = unit.hasher or hasher(self._algorithm, self._size)
                unit.hasher.update(now)
            finally:
                with self._lock:
                    unit.busy, unit.position = False, start + len(now)
            start, data = start + len(now), data[len(now) :]

    def _claim(self, written: Callable[[int], int]) -> tuple[_Unit, int, int] | None:
        while self._first < len(self._units) - 1 and self._units[self._first].position == self._units[self._first].end:
            self._first += 1
        for unit in self._units[self._first :]:
            if not unit.busy and unit.position < unit.end:
                stop = min(written(unit.position), unit.end)
                if stop > unit.position:
                    unit.busy = True
                    return unit, unit.position, stop
        return None

    def _hash(self, fd: int, unit: _Unit, start: int, stop: int) -> None:
        unit.hasher = unit.hasher or hasher(self._algorithm, self._size)
        buffer = memoryview(bytearray(min(_BLOCK, stop - start)))
        while start < stop:
            count = os.preadv(fd, [buffer[: min(len(buffer), stop - start)]], start)
            if not count:
                raise EOFError(f"the partial file ends at {start}, before {stop}")
            unit.hasher.update(buffer[:count])
            start += count

    def position_after(self, start: int) -> int:
        """How far the bytes from `start` on are hashed."""
        with self._lock:
            step = self._part_size or max(self._size, 1)
            return self._units[min(start // step, len(self._units) - 1)].position

    @property
    def complete(self) -> bool:
        """Whether every byte is hashed."""
        with self._lock:
            return all(unit.position == unit.end and not unit.busy for unit in self._units[self._first :])

    def result(self) -> Checksum:
        """The checksum, once complete."""
        digests = [(unit.hasher or hasher(self._algorithm, self._size)).digest() for unit in self._units]
        if not self._parts:
            return Checksum(self._algorithm, digests[0].hex())
        outer = hasher(self._algorithm, self._size)
        outer.update(b"".join(digests))
        return Checksum(self._algorithm, outer.digest().hex(), len(digests), self._part_size)


def of_file(fd: int, size: int, like: Checksum | None) -> Checksum:
    """The checksum of a whole file, read from `fd`."""
    digest = Digest(like, size)
    digest.follow(
        fd,
        lambda start: size,
        lambda start, end: os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED),
    )
    return digest.result()
