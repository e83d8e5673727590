"""A pack in a file (gitformat-pack(5)): indexed in one pass, and read without being held or mapped as a whole.

dulwich maps a pack and holds each object of it, so that a repository of a gigabyte takes a gigabyte of memory.
"""

import hashlib
import os
import struct
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from dulwich.pack import apply_delta, write_pack_index_v2

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_BY_OFFSET, _BY_ID = 6, 7  # deltas, whose base is named so
_HEAD = 12  # bytes: PACK, version, number of objects
_WINDOW = 1 << 20  # bytes read at a time while a pack is indexed,
_GLANCE = 1 << 16  # and when objects are read from it, as they lie in no order
_PIECE = 1 << 16  # bytes inflated at a time
_CACHE = 16 << 20  # bytes of bases that are kept
_LARGEST = 1 << 30  # bytes that a delta makes: git makes none of larger files (core.bigFileThreshold)
_DEEPEST = 4096  # deltas of deltas


class BrokenPack(Exception):
    """It does not follow the format; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What an object begins with: its kind, its size (a delta's own), its base if it is a delta, where its data is."""

    kind: int
    size: int
    base: int | bytes
    data: int


class Pack:
    """A pack.

    Args:
        file: open for reading; stays the caller's to close.
        algorithm: of the ids, sha1 or sha256.
    """

    def __init__(self, file: IO[bytes], algorithm: str) -> None:
        self.file, self.algorithm = file, algorithm
        self._fd = file.fileno()
        self._id_size = hashlib.new(algorithm).digest_size
        self._end = os.fstat(self._fd).st_size - self._id_size
        self._window, self._start, self._stretch = b"", 0, _WINDOW
        self._offsets: dict[bytes, int] = {}
        self._bases: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._cached = 0

    def __iter__(self) -> Iterator[bytes]:
        """The ids, as bytes."""
        return iter(self._offsets)

    def __contains__(self, id: bytes) -> bool:
        return id in self._offsets

    # Indexing

    def index(self) -> None:
        """Find every object and its id. Raises BrokenPack."""
        start = self._at(0, _HEAD)
        if len(start) < _HEAD or not start.startswith((b"PACK\0\0\0\2", b"PACK\0\0\0\3")):
            raise BrokenPack("it does not begin like a pack")
        (count,) = struct.unpack(">I", start[8:])
        at, ids = _HEAD, {}
        waiting: dict[int | bytes, list[int]] = defaultdict(list)  # offsets of deltas by their base
        for _ in range(count):
            head = self._head(at)
            if head.kind in _NAMES:
                ids[at] = id = self._hash(head)
                self._offsets[id] = at
                at = self._after
            else:
                waiting[head.base].append(at)
                for _ in self._inflate(head):
                    pass
                at = self._after
        if at != self._end:
            raise BrokenPack("it does not end where it says")
        self._resolve(ids, waiting)
        self._stretch = _GLANCE

    def _hash(self, head: _Head) -> bytes:
        digest = hashlib.new(self.algorithm, b"%s %d\0" % (_NAMES[head.kind], head.size), usedforsecurity=False)
        for piece in self._inflate(head):
            digest.update(piece)
        return digest.digest()

    def _resolve(self, ids: dict[int, bytes], waiting: dict[int | bytes, list[int]]) -> None:
        """Go from each base to its deltas, and on from those, one line of descent held at a time."""
        for offset, id in list(ids.items()):
            if offset not in waiting and id not in waiting:
                continue
            head = self._head(offset)
            line = [(self._whole(head), iter([*waiting.pop(offset, ()), *waiting.pop(id, ())]))]
            while line:
                content, children = line[-1]
                child = next(children, None)
                if child is None:
                    line.pop()
                    continue
                made = _apply(content, self._whole(self._head(child)))
                known = _hash(self.algorithm, head.kind, made)
                self._offsets[known] = child
                if below := [*waiting.pop(child, ()), *waiting.pop(known, ())]:
                    line.append((made, iter(below)))
        if waiting:
            raise BrokenPack(f"{sum(map(len, waiting.values()))} deltas have no base in it")

    # Reading

    def kind(self, id: bytes) -> int:
        """COMMIT, TREE, BLOB or TAG. Raises KeyError if it is not here, as do the others."""
        head = self._head(self._offsets[id])
        while head.kind not in _NAMES:
            head = self._head(self._base(head))
        return head.kind

    def size(self, id: bytes) -> int:
        """Bytes of an object."""
        head = self._head(self._offsets[id])
        if head.kind in _NAMES:
            return head.size
        return _made_size(next(self._inflate(head, 64)))

    def read(self, id: bytes) -> tuple[int, bytes]:
        """Kind and content of an object."""
        return self._content(self._offsets[id])

    def chunks(self, id: bytes) -> Iterator[bytes]:
        """The content of an object piece by piece; of one that is a delta, whole."""
        head = self._head(self._offsets[id])
        if head.kind in _NAMES:
            yield from self._inflate(head)
        else:
            yield self.read(id)[1]

    def _content(self, offset: int) -> tuple[int, bytes]:
        """Kind and content of what lies at an offset."""
        deltas: list[tuple[int, _Head]] = []
        while offset not in self._bases:
            head = self._head(offset)
            if head.kind in _NAMES:
                kind, content = head.kind, self._whole(head)
                break
            deltas.append((offset, head))
            if len(deltas) > _DEEPEST:
                raise BrokenPack(f"it has more than {_DEEPEST} deltas in a chain")
            offset = self._base(head)
        else:
            kind, content = self._bases[offset]
            self._bases.move_to_end(offset)
        for above, delta in reversed(deltas):
            self._remember(offset, kind, content)
            offset, content = above, _apply(content, self._whole(delta))
        return kind, content

    def _remember(self, offset: int, kind: int, content: bytes) -> None:
        if offset in self._bases or len(content) > _CACHE // 4:
            return
        self._bases[offset] = kind, content
        self._cached += len(content)
        while self._cached > _CACHE:
            self._cached -= len(self._bases.popitem(last=False)[1][1])

    def _base(self, head: _Head) -> int:
        return head.base if isinstance(head.base, int) else self._offsets[head.base]

    # The format

    def _at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer at its end."""
        start = offset - self._start
        if not 0 <= start <= len(self._window) - size:
            self._window, self._start = os.pread(self._fd, max(size, self._stretch), offset), offset
            start = 0
        return self._window[start : start + size]

    def _head(self, offset: int) -> _Head:
        start = self._at(offset, 64)
        try:
            byte, at = start[0], 1
            kind, size, shift = byte >> 4 & 7, byte & 15, 4
            while byte & 128:
                byte = start[at]
                size |= (byte & 127) << shift
                at, shift = at + 1, shift + 7
            base: int | bytes = b""
            if kind == _BY_OFFSET:
                byte = start[at]
                back, at = byte & 127, at + 1
                while byte & 128:
                    byte = start[at]
                    back, at = (back + 1) << 7 | byte & 127, at + 1
                base = offset - back
            elif kind == _BY_ID:
                base = start[at : at + self._id_size]
                at += self._id_size
        except IndexError:
            raise BrokenPack("it ends in the middle of an object") from None
        if kind in (0, 5) or (isinstance(base, int) and not _HEAD <= base < offset):
            raise BrokenPack("an object in it is of an unknown kind, or its base is not in the pack")
        return _Head(kind, size, base, offset + at)

    def _whole(self, head: _Head) -> bytes:
        return b"".join(self._inflate(head))

    def _inflate(self, head: _Head, first: int = _PIECE) -> Iterator[bytes]:
        """The data of an object; `_after` is then where it ends."""
        inflater, at, left = zlib.decompressobj(), head.data, head.size
        while not inflater.eof:
            data = inflater.unconsumed_tail or self._at(at, min(_PIECE, left + 64))
            at += 0 if inflater.unconsumed_tail else len(data)
            if not data:
                raise BrokenPack("it ends in the middle of an object")
            piece = inflater.decompress(data, first)
            left -= len(piece)
            if left < 0:
                raise BrokenPack("an object in it is larger than it says")
            if piece:
                yield piece
        if left:
            raise BrokenPack("an object in it is smaller than it says")
        self._after = at - len(inflater.unused_data)

    @property
    def checksum(self) -> bytes:
        """The checksum that it ends with."""
        return os.pread(self._fd, self._id_size, self._end)

    def write_index(self, out: IO[bytes]) -> None:
        """Write the index that git wants to have beside a pack."""
        ordered = sorted((offset, id) for id, offset in self._offsets.items())
        ends = [offset for offset, _ in ordered[1:]] + [self._end]
        entries = [(id, offset, self._crc(offset, end)) for (offset, id), end in zip(ordered, ends, strict=True)]
        write_pack_index_v2(out, sorted(entries), self.checksum)

    def _crc(self, start: int, end: int) -> int:
        crc = 0
        for at in range(start, end, _WINDOW):
            crc = zlib.crc32(self._at(at, min(_WINDOW, end - at)), crc)
        return crc


def _hash(algorithm: str, kind: int, content: bytes) -> bytes:
    digest = hashlib.new(algorithm, b"%s %d\0" % (_NAMES[kind], len(content)), usedforsecurity=False)
    digest.update(content)
    return digest.digest()


def _apply(base: bytes, delta: bytes) -> bytes:
    if _made_size(delta) > _LARGEST:
        raise BrokenPack(f"a delta in it makes more than {_LARGEST >> 20} MiB")
    try:
        made: Any = apply_delta(base, delta)
    except Exception as error:  # of its compiled form, which may raise anything
        raise BrokenPack(f"a delta in it cannot be applied ({error})") from error
    return b"".join(made)


def _made_size(delta: bytes) -> int:
    """Bytes of what a delta makes."""
    try:
        return _number(delta, _number(delta, 0)[1])[0]
    except IndexError:
        raise BrokenPack("a delta in it is too short") from None


def _number(delta: bytes, at: int) -> tuple[int, int]:
    """A size in a delta, and the position after it."""
    size = shift = 0
    while True:
        byte = delta[at]
        size |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return size, at
