"""Files of tensors, as far as their heads say how long they have to be: safetensors and GGUF. Pure, and for input that
may be hostile: heads are read block by block, and what is not known is not judged.

Formats: safetensors (https://github.com/huggingface/safetensors, "Format"), GGUF (ggml's docs/gguf.md, versions 2 and
3; sizes of types as of gguf-py's constants), and the index of a model's shards as transformers and diffusers write it.
"""

import json
import math
import re
import struct
from collections.abc import Callable

Read = Callable[[int, int], bytes]  # bytes of a file from start to end

_BLOCK = 1 << 20  # bytes of a head that are read at a time
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
_LONGEST_HEAD = 256 << 20  # bytes of a GGUF's head that are looked at: a vocabulary of millions has less
_MOST_VALUES = 8_000_000  # strings, keys and tensors of a GGUF that are looked at
_MOST_DIMENSIONS = 8

_OFFSETS = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d{1,19}\s*,\s*(\d{1,19})\s*\]')
_LONGEST_OFFSETS = 128  # bytes of what that matches, which may lie across two blocks

_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value of GGUF by type
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_DEEPEST = 4  # arrays in arrays
_BLOCKS = {  # of a tensor's type: elements and bytes of a block
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

_INDEX = re.compile(r"\.index(?:\.[\w-]+)?\.json$")
_POINTER = b"version https://git-lfs.github.com/spec/"


def fault(name: str, size: int, read: Read) -> str:
    """What is wrong with a file by its own head, in words; "" if nothing is, or if it is not a file of tensors.

    Args:
        name: of the file; its ending tells the format.
        size: bytes.
        read: gives bytes of it.
    """
    form = _FORMS.get(name.lower().rpartition(".")[2])
    if form is None:
        return ""
    begins = read(0, min(size, len(_POINTER)))
    if begins.startswith(_POINTER):
        return "it is a pointer of Git LFS, not the file itself"
    if begins.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or begins.lstrip()[:6].lower() == b"<html ":
        return "it is a web page"
    return form(size, read)


def is_index(name: str) -> bool:
    """Whether a name is that of an index of shards."""
    return bool(_INDEX.search(name))


def shards(data: bytes) -> frozenset[str]:
    """The names of files that an index of shards has in its `weight_map`; none if it is another tool's index."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return frozenset()
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return frozenset()
    return frozenset(names.values())


# safetensors


def _safetensors(size: int, read: Read) -> str:
    begins = read(0, min(size, 8))
    if size and (any(begins[4:]) or b"\0" not in begins):
        return ""  # something else by this name: the length of a header takes four of its eight bytes at most
    if size < 8:
        return f"it has {size:,} bytes, too few for a safetensors file"
    (length,) = struct.unpack("<Q", begins)
    if length > _LONGEST_HEADER or length < 2 or (size > 8 and read(8, 9) != b"{"):
        return "it does not begin as a safetensors file does"
    start = 8 + length
    if start > size:
        return f"it is cut: it has {size:,} bytes, and its header alone {start:,}"
    rest, position, last = b"", 8, 0
    while position < start:
        block = rest + read(position, min(position + _BLOCK, start))
        position += _BLOCK
        if b"\0" in block:
            return "its header is damaged"
        end = 0
        for match in _OFFSETS.finditer(block):
            last, end = max(last, int(match[1])), match.end()
        rest = block[max(end, len(block) - _LONGEST_OFFSETS) :]
    if start + last != size:
        cut = "it is cut: " if start + last > size else ""
        return f"{cut}it has {size:,} bytes, and its header states {start + last:,}"
    return ""


# GGUF


class _CutError(Exception):
    """The file ends in its head."""


class _UnknownError(Exception):
    """The head has something that is not known here."""


class _Head:
    """A head that is read from its start."""

    def __init__(self, size: int, read: Read) -> None:
        self._size, self._read = size, read
        self._block, self._start = b"", 0
        self._values = 0
        self.position = 0

    def skip(self, count: int) -> None:
        self._check(count)
        self.position += count

    def take(self, count: int) -> bytes:
        self._check(count)
        begin = self.position - self._start
        if not 0 <= begin <= begin + count <= len(self._block):
            self._start, begin = self.position, 0
            self._block = self._read(self.position, min(self.position + max(count, _BLOCK), self._size))
        self.position += count
        return self._block[begin : begin + count]

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def string(self) -> int:
        """Pass over a string; where it begins."""
        length = self.number("<Q")
        begin = self.position
        self.skip(length)
        return begin

    def _check(self, count: int) -> None:
        self._values += 1
        if self.position + count > self._size:
            raise _CutError
        if self.position > _LONGEST_HEAD or self._values > _MOST_VALUES:
            raise _UnknownError


def _gguf(size: int, read: Read) -> str:
    if read(0, min(size, 4)) != b"GGUF"[: min(size, 4)] or not size:
        return "it does not begin as a GGUF file does"
    head = _Head(size, read)
    try:
        end = _end_of_gguf(head)
    except _CutError:
        return f"it is cut: it has {size:,} bytes and ends in its head"
    except _UnknownError:
        return ""
    return f"it is cut: it has {size:,} bytes, and its tensors take {end:,}" if end > size else ""


def _end_of_gguf(head: _Head) -> int:
    """Where the last tensor ends, as far as its type is known."""
    head.skip(4)
    if head.number("<I") not in (2, 3):
        raise _UnknownError
    tensors, pairs = head.number("<Q"), head.number("<Q")
    alignment = 32
    for _ in range(pairs):
        begin = head.string()
        name = head.position - begin
        kind = head.number("<I")
        if kind == _UINT32 and name == len("general.alignment") and _is_alignment(head, begin):
            alignment = head.number("<I")
        else:
            _skip_value(head, kind)
    if not alignment:
        raise _UnknownError
    end = 0
    for _ in range(tensors):
        end = max(end, _end_of_tensor(head))
    data = -(-head.position // alignment) * alignment
    return data + end if end else head.position


def _is_alignment(head: _Head, begin: int) -> bool:
    position = head.position
    head.position = begin
    name = head.take(len("general.alignment"))
    head.position = position
    return name == b"general.alignment"


def _skip_value(head: _Head, kind: int, depth: int = 0) -> None:
    if kind == _STRING:
        head.string()
    elif kind == _ARRAY and depth < _DEEPEST:
        inner, count = head.number("<I"), head.number("<Q")
        if inner in _SCALARS:
            head.skip(count * _SCALARS[inner])
            return
        for _ in range(count):
            _skip_value(head, inner, depth + 1)
    elif kind in _SCALARS:
        head.skip(_SCALARS[kind])
    else:
        raise _UnknownError


def _end_of_tensor(head: _Head) -> int:
    """Where a tensor ends in the data; where it begins if its type is not known."""
    head.string()
    dimensions = head.number("<I")
    if dimensions > _MOST_DIMENSIONS:
        raise _UnknownError
    elements = math.prod(head.number("<Q") for _ in range(dimensions))
    kind, offset = head.number("<I"), head.number("<Q")
    block, size = _BLOCKS.get(kind, (1, 0))
    return offset + elements // block * size


_FORMS = {"safetensors": _safetensors, "gguf": _gguf}
