"""Weights whose own heads, or whose index, say that something is missing: no source states a checksum of the whole."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.places import s3_secrets
from tests.loads import run
from tests.servers.fault import FaultServer
from tests.servers.hub import Hub
from tests.servers.nginx import Nginx
from tests.servers.s3 import S3, Moto, SeaweedFS
from tests.tensors import F32, gguf, index, safetensors
from tests.trees import make

MIB = 1 << 20
SMALL = safetensors({"a": 1000})
BIG = safetensors({"a": 12 * MIB, "b": 77})
GGUF = gguf([("a", [64], F32)]) + bytes(256)
NAME = "sub/model.safetensors"


def served(kind: str, files: Mapping[str, bytes], www: Path, nginx: Nginx, tmp_path: Path) -> str:
    """The URI of the files."""
    if kind == "file":
        return make(tmp_path / "source", files).as_uri()
    folder = www / tmp_path.name
    make(folder, files)
    return f"{nginx.url}/{folder.name}/"


@pytest.fixture(params=["file", "http"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        (NAME, SMALL[:-1], "it is cut: it has 1,"),
        (NAME, BIG[:-1], "it is cut: it has 12,583,"),
        (NAME, BIG + b"more", "and its header states 12,583,"),
        (NAME, bytes(5 * MIB), "it does not begin as a safetensors file does"),
        (NAME, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "it is a pointer of Git LFS"),
        ("model.gguf", GGUF[:-1], "it is cut: it has 319 bytes"),
        ("model.gguf", b"GGML" + bytes(2 * MIB), "it does not begin as a GGUF file does"),
    ],
)
def test_a_file_that_is_not_whole(
    www: Path, nginx: Nginx, volume: Path, tmp_path: Path, kind: str, name: str, data: bytes, why: str
) -> None:
    uri = served(kind, {name: data, "whole.safetensors": BIG, "whole.gguf": GGUF}, www, nginx, tmp_path)
    done = run(uri, volume)
    assert done.code == 5
    assert f"checking {name} from " in done.error
    assert why in done.error
    assert name not in done.tree
    assert not (done.target / ".dsload/complete.json").exists()
    assert run(uri, volume).code == 5  # from whatever the first left
    again = run(uri, volume, "--no-verify")
    assert (again.code, again.tree[name]) == (0, data)


@pytest.mark.parametrize("store", ["seaweed", "moto"])
def test_an_object_in_parts(request: pytest.FixtureRequest, volume: Path, tmp_path: Path, store: str) -> None:
    server: S3 = request.getfixturevalue(store)
    assert isinstance(server, SeaweedFS | Moto)
    bucket = server.new_bucket()
    server.put_parts(bucket, "m/whole.safetensors", [BIG[: 5 * MIB], BIG[5 * MIB : 10 * MIB], BIG[10 * MIB :]])
    flags = ("-o", f"endpoint={server.endpoint}", "--mount-secrets", s3_secrets(tmp_path / "secrets", server))
    assert run(f"s3://{bucket}/m/", volume, *flags).tree == {"whole.safetensors": BIG}
    server.put_parts(bucket, "m/cut.safetensors", [BIG[: 5 * MIB], BIG[5 * MIB : 9 * MIB]])
    done = run(f"s3://{bucket}/m/", volume, *flags)
    assert (done.code, "checking cut.safetensors from s3://" in done.error) == (5, True)
    assert done.tree == {"whole.safetensors": BIG}
    assert run(f"s3://{bucket}/m/", volume, *flags, "--no-verify").code == 0


# Indexes


SHARDS = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
INDEXES = [
    ("model.safetensors.index.json", SHARDS),
    ("text/pytorch_model.bin.index.json", {"a": "pytorch_model-1-of-2.bin", "b": "pytorch_model-2-of-2.bin"}),
    ("unet/diffusion_pytorch_model.safetensors.index.fp16.json", {"a": "x.fp16-1-of-2.safetensors", "b": "deep/2.bin"}),
]


@pytest.mark.parametrize(("name", "map"), INDEXES)
def test_an_index_whose_shards_are_not_all_there(
    www: Path, nginx: Nginx, volume: Path, tmp_path: Path, kind: str, name: str, map: dict[str, str]
) -> None:
    folder = name.rpartition("/")[0] + "/" if "/" in name else ""
    first, second = (folder + shard for shard in map.values())
    uri = served(kind, {name: index(map), first: SMALL, "config.json": b"{}"}, www, nginx, tmp_path)
    done = run(uri, volume)
    assert done.code == 5
    assert f"checking {name} from " in done.error
    assert f"it names 1 file that is not there: {second}" in done.error
    assert not (done.target / ".dsload/complete.json").exists()
    assert run(uri, volume, "--shard", "0/1").code == 5
    for options in (
        ["--no-verify"],
        ["-o", f"exclude={second}"],
        ["-o", f"exclude={name}"],
        ["-o", "include=config.json"],
    ):
        assert run(uri, volume / options[-1].replace("/", "_"), *options).code == 0
    served(kind, {second: SMALL}, www, nginx, tmp_path)
    assert run(uri, volume).code == 0
    assert run(uri, volume / "shards", "--shard", "0/1").code == 0


def test_shards_that_the_source_has_no_longer_stay(volume: Path, tmp_path: Path) -> None:
    files = {"model.safetensors.index.json": index(SHARDS), **dict.fromkeys(SHARDS.values(), SMALL), "old": b"old"}
    source = make(tmp_path / "source", files)
    assert run(source.as_uri(), volume).code == 0
    (source / SHARDS["b"]).unlink()
    (source / "old").unlink()
    done = run(source.as_uri(), volume)
    assert (done.code, done.tree) == (5, files)
    done = run(source.as_uri(), volume, "-o", "syncMode=copy")
    assert (done.code, done.tree) == (0, files)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[1]",
        b'{"weight_map": [1]}',
        b'{"weight_map": {"a": 7}}',
        b'{"files": {"a": "gone"}}',
        b'{"weight_map": {}}',
    ],
)
def test_an_index_of_another_kind(volume: Path, tmp_path: Path, data: bytes) -> None:
    source = make(tmp_path / "source", {"some.index.json": data})
    assert run(source.as_uri(), volume).code == 0


def test_an_index_that_names_files_elsewhere(volume: Path, tmp_path: Path) -> None:
    elsewhere = json.dumps({"weight_map": {"a": "../../outside", "b": "/etc/passwd", "c": "sub/../x"}}).encode()
    source = make(tmp_path / "source", {"some.index.json": elsewhere})
    assert run(source.as_uri(), volume).code == 0


def test_what_a_hub_has_at_a_commit_is_taken_as_it_is(hub: Hub, volume: Path) -> None:
    files = {"model.safetensors.index.json": index(SHARDS), "old.safetensors": b"a placeholder", "m.gguf": b""}
    hub.repo("owner/name").put_all(files)
    done = run("hf://owner/name", volume, "-o", f"endpoint={hub.url}")
    assert (done.code, done.tree) == (0, files)


def test_a_head_that_cannot_be_resumed_from(fault: FaultServer, volume: Path) -> None:
    """The second load fetches all of it again, and takes it now that it is whole."""
    fault.put("/m/model.safetensors", BIG[:-1])
    assert run(f"{fault.url}/m/", volume).code == 5
    fault.put("/m/model.safetensors", BIG)
    done = run(f"{fault.url}/m/", volume)
    assert (done.code, done.tree) == (0, {"model.safetensors": BIG})
