"""Heads of safetensors and GGUF files, and indexes of shards: what is wrong, and what is not judged."""

import json
import struct

import pytest

from dsload.formats.tensors import fault, is_index, shards
from tests.tensors import (
    ARRAY,
    BF16,
    F32,
    FLOAT32,
    Q4_K,
    STRING,
    UINT32,
    UNKNOWN,
    gguf,
    index,
    safetensors,
    strings,
    text,
    with_header,
)

MODEL = safetensors({"a": 1000, "b": 24}, {"format": "pt"})


def found(name: str, data: bytes, size: int | None = None) -> str:
    """The fault of a file of this beginning and size."""
    return fault(name, len(data) if size is None else size, lambda start, end: data[start:end])


# safetensors


@pytest.mark.parametrize(
    "data",
    [
        MODEL,
        safetensors({}),
        safetensors({"empty": 0}),
        safetensors({"a": 7}, pad=100),
        safetensors({f"layers.{n}.weight": n % 3 for n in range(40_000)}),  # a header of several blocks
        safetensors({"data_offsets": 3}, {"data_offsets": '"data_offsets": [0, 99]', "x": '{"data_offsets":[1,99]}'}),
        with_header({"a": {"data_offsets": [4, 8], "shape": []}, "b": {"data_offsets": [0, 4]}}, bytes(8)),
    ],
)
def test_whole_safetensors(data: bytes) -> None:
    assert found("model.safetensors", data) == ""
    assert found("MODEL.SafeTensors", data) == ""
    cut = found("model.safetensors", data[:-1])
    assert cut.startswith("it is cut: ") or len(data) < 20
    assert cut
    assert "and its header states" in found("model.safetensors", data + b"x")
    assert found("model.bin", data[:-1]) == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it has 0 bytes, too few"),
        (b"\x10\0", "it has 2 bytes, too few"),
        (MODEL[:8], "it is cut: it has 8 bytes, and its header alone"),
        (MODEL[:60], "it is cut: it has 60 bytes, and its header alone"),
        (MODEL[:-1], "it is cut: it has 1,"),
        (bytes(5000), "it does not begin as a safetensors file does"),
        (struct.pack("<Q", 200_000_000) + b"{" * 5000, "it does not begin"),
        (struct.pack("<Q", 100) + b"[" * 5000, "it does not begin"),
        (struct.pack("<Q", 100) + b"{" + bytes(200), "its header is damaged"),
        (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page"),
        (b"\n <html lang=en>" + bytes(50), "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        (struct.pack("<Q", 40) + b'{"a":{"data_offsets":[0,999999999999999]}}', "it is cut"),
    ],
)
def test_safetensors_that_are_not(data: bytes, why: str) -> None:
    assert why in found("model.safetensors", data)


@pytest.mark.parametrize("data", [b"data", b"weights of another kind", b"\xff" * 5000, bytes(range(1, 100))])
def test_something_else_of_that_name_is_not_judged(data: bytes) -> None:
    assert found("model.safetensors", data) == ""


def test_only_the_header_is_read() -> None:
    read = []

    def bytes_of(start: int, end: int) -> bytes:
        read.append((start, end))
        return MODEL[start:end]

    size = len(MODEL)
    assert fault("model.safetensors", size, bytes_of) == ""
    assert max(end for _, end in read) == size - 1024


# GGUF

VALUES = [
    ("general.architecture", STRING, text("llama")),
    ("tokenizer.ggml.tokens", ARRAY, strings([f"token {n}" for n in range(1000)])),
    ("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ", FLOAT32, 1000) + bytes(4000)),
    ("nested", ARRAY, struct.pack("<IQ", ARRAY, 2) + 2 * (struct.pack("<IQ", UINT32, 3) + bytes(12))),
    ("llama.block_count", UINT32, struct.pack("<I", 32)),
]
WEIGHTS = [("a.weight", [8], F32), ("b.weight", [256, 4], Q4_K), ("c", [7, 3], BF16)]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [32, 64, 4096])
def test_whole_gguf(version: int, alignment: int) -> None:
    values = [*VALUES, ("general.alignment", UINT32, struct.pack("<I", alignment))]
    head = gguf(WEIGHTS[:2], values, alignment, version)
    size = len(head) + alignment + 4 * 144
    assert found("m.gguf", head, size) == ""
    assert found("m.gguf", head, size + 1000) == ""
    assert found("m.gguf", head, size - 1) == f"it is cut: it has {size - 1:,} bytes, and its tensors take {size:,}"
    assert "and ends in its head" in found("m.gguf", head[:-alignment][:200])


def test_types_of_gguf() -> None:
    head = gguf([WEIGHTS[0], WEIGHTS[2]], VALUES)
    assert found("m.gguf", head, len(head) + 32 + 42) == ""
    assert "its tensors take" in found("m.gguf", head, len(head) + 32 + 41)
    head = gguf([("a", [8], F32), ("b", [10**6], UNKNOWN)], VALUES)
    assert found("m.gguf", head, len(head) + 32) == ""
    assert "its tensors take" in found("m.gguf", head, len(head) + 31)


def test_a_gguf_without_tensors() -> None:
    assert found("vocab.gguf", gguf([], VALUES)) == ""
    assert found("vocab.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)) == ""


@pytest.mark.parametrize("end", [4, 8, 23, 30, 60, 5000])
def test_a_gguf_that_is_cut_in_its_head(end: int) -> None:
    assert found("m.gguf", gguf(WEIGHTS, VALUES)[:end]) == f"it is cut: it has {end:,} bytes and ends in its head"


@pytest.mark.parametrize("data", [b"", b"ggjt" + bytes(100), bytes(100), b"GGU", b"G" * 100])
def test_what_is_not_gguf(data: bytes) -> None:
    assert bool(found("m.gguf", data))


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 1, 2, 3) + bytes(10),  # another version
        b"GGUF" + struct.pack(">IQQ", 3, 2, 3) + bytes(10),  # big-endian
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 77) + bytes(10),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("a") + struct.pack("<I", 1000) + bytes(9000),
        gguf(WEIGHTS, [("general.alignment", UINT32, bytes(4))]),
    ],
)
def test_what_is_not_known_of_gguf(data: bytes) -> None:
    assert found("m.gguf", data) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", ARRAY, UINT32, 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", ARRAY, STRING, 2**64 - 1),
        gguf([("a", [2**63] * 8, F32)]),
    ],
)
def test_a_hostile_gguf(data: bytes) -> None:
    assert found("m.gguf", data + bytes(1000)).startswith("it is cut: ")


# Indexes


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        "diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "some.index.json",
    ],
)
def test_names_of_indexes(name: str) -> None:
    assert is_index(name)
    assert not is_index(name.replace(".json", ".txt"))
    assert not is_index("index.json")


def test_shards() -> None:
    assert shards(index({"a": "1.bin", "b": "2.bin", "c": "1.bin"})) == {"1.bin", "2.bin"}
    others: list[object] = [[], {}, 7, None, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weights": {"a": "b"}}, "x"]
    for other in others:
        assert shards(json.dumps(other).encode()) == frozenset()
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        assert shards(data) == frozenset()
