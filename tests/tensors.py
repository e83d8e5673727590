"""Files of tensors, and indexes of their shards, made byte by byte as their formats say."""

import json
import struct
from collections.abc import Mapping, Sequence

F32, Q4_K, BF16, UNKNOWN = 0, 12, 30, 4711  # types of tensors in GGUF
STRING, ARRAY, UINT32, FLOAT32 = 8, 9, 4, 6  # types of values


def safetensors(sizes: Mapping[str, int], metadata: Mapping[str, str] | None = None, pad: int = 0) -> bytes:
    """A safetensors file of tensors of these sizes in bytes, with spaces at the end of its header."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, size in sizes.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [start, start + size]}
        start += size
    return with_header(header, bytes(start), pad)


def with_header(header: object, data: bytes, pad: int = 0) -> bytes:
    """A safetensors file of any header."""
    text = (json.dumps(header) + " " * pad).encode()
    return struct.pack("<Q", len(text)) + text + data


Tensor = tuple[str, Sequence[int], int]  # name, dimensions, type
Value = tuple[str, int, bytes]  # key, type, and the value as it is written


def gguf(tensors: Sequence[Tensor], values: Sequence[Value] = (), alignment: int = 32, version: int = 3) -> bytes:
    """A GGUF file without the data of its tensors, whose sizes are 32 bytes each but for the last; see end_of()."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    for key, kind, value in values:
        head += text(key) + struct.pack("<I", kind) + value
    for number, (name, dimensions, kind) in enumerate(tensors):
        head += text(name) + struct.pack("<I", len(dimensions))
        head += b"".join(struct.pack("<Q", size) for size in dimensions)
        head += struct.pack("<IQ", kind, number * alignment)
    return head + bytes(-len(head) % alignment)


def text(value: str) -> bytes:
    """A string of GGUF."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def strings(values: Sequence[str]) -> bytes:
    """An array of strings of GGUF."""
    return struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))


def index(shards: Mapping[str, str]) -> bytes:
    """An index of shards: the file of each tensor."""
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": dict(shards)}).encode()
