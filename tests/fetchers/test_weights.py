"""Which files the option weights leaves out: by name, and in loads from both hubs."""

from pathlib import Path

import pytest

from dsload.fetchers.hubs.weights import FORMATS, other_formats
from tests.contract.inside import run as inside
from tests.loads import run
from tests.servers.hub import Hub

BERT = {  # as bert-base-uncased, and more
    "safetensors": ["model.safetensors"],
    "bin": ["pytorch_model.bin"],
    "h5": ["tf_model.h5"],
    "msgpack": ["flax_model.msgpack"],
    "onnx": ["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model.onnx_data"],
    "gguf": ["bert-q4_k_m.gguf"],
    "pt": ["model.pt"],
    "": ["config.json", "vocab.txt", "training_args.bin", "optimizer.pt", "onnx/config.json", "rust_model.ot"],
}
SHARDS = {
    "safetensors": [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ],
    "bin": ["pytorch_model-00001-of-00003.bin", "pytorch_model-00003-of-00003.bin", "pytorch_model.bin.index.json"],
    "pt": ["original/consolidated.00.pth", "original/consolidated.01.pth"],
    "": ["original/params.json", "model-of-00001.txt"],
}
DIFFUSERS = {
    "safetensors": ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
                    "text_encoder/model.safetensors"],
    "bin": ["unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.bin",
            "text_encoder/pytorch_model.bin"],
    "msgpack": ["unet/diffusion_flax_model.msgpack"],
    "": ["vae/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.ema.bin", "openvino/openvino_model.bin"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "keep"), [(BERT, form) for form in FORMATS] + [(SHARDS, "safetensors"), (SHARDS, "bin")]
)
def test_one_format_of_several(tree: dict[str, list[str]], keep: str) -> None:
    others = {path for form, paths in tree.items() for path in paths if form not in ("", keep)}
    assert other_formats([path for paths in tree.values() for path in paths], keep) == others


def test_weights_that_are_there_in_one_format_alone_stay() -> None:
    paths = [path for paths in DIFFUSERS.values() for path in paths]
    assert other_formats(paths, "safetensors") == {*DIFFUSERS["bin"], *DIFFUSERS["msgpack"]}
    assert other_formats(paths, "h5") == frozenset()


@pytest.mark.parametrize("scheme", ["hf", "ms"])
def test_a_load(hub: Hub, scheme: str, tmp_path: Path) -> None:
    tree = {path: path.encode() for paths in BERT.values() for path in paths}
    hub.repo("owner/name").put_all(tree)
    uri, volume = f"{scheme}://owner/name", tmp_path / "volume"
    done = run(uri, volume, "-o", f"endpoint={hub.url}", "-o", "weights=.safetensors")
    kept = {path: tree[path] for path in (*BERT["safetensors"], *BERT[""])}
    assert (done.code, done.tree) == (0, kept)
    spared = [len(path) for path in tree if path not in kept]
    assert done.report["left_out"] == {"files": len(spared), "bytes": sum(spared)}
    shown = inside("ls", uri, "-o", f"endpoint={hub.url}", "-o", "weights=safetensors")
    assert {line.split(None, 2)[2] for line in shown.out.splitlines()[1:]} == set(kept)
    text = inside("load", uri, "-o", f"endpoint={hub.url}", "-o", "weights=safetensors", "--mount-root", volume,
                  "--mount-path", "set")  # fmt: skip
    assert (
        f"note     {len(spared)} files were left out ({sum(spared)} B): the same weights in other formats" in text.out
    )
    everything = run(uri, volume, "-o", f"endpoint={hub.url}")
    assert everything.tree == tree
    again = run(uri, volume, "-o", f"endpoint={hub.url}", "-o", "weights=safetensors")
    assert (again.code, again.tree) == (0, tree)  # left alone, as by a filter


def test_a_format_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    hub.repo("owner/name").put_all({"pytorch_model.bin": b"b", "config.json": b"{}"})
    done = run("hf://owner/name", tmp_path / "volume", "-o", f"endpoint={hub.url}", "-o", "weights=safetensors")
    assert (done.code, len(done.tree)) == (0, 2)
    assert "option weights=safetensors leaves nothing out" in done.result.err
