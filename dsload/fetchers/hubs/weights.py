"""Which files of a repository are the same weights in another format. Pure; names as the libraries write them.

Names: transformers (`pytorch_model-00001-of-00002.bin`, `tf_model.h5`, `flax_model.msgpack`), diffusers
(`diffusion_pytorch_model.fp16.safetensors`), Meta's and Mistral's own (`original/consolidated.00.pth`).
"""

import re
from collections.abc import Iterable

from dsload.errors import UsageError

FORMATS = {
    "safetensors": (".safetensors",),
    "bin": (".bin",),
    "pt": (".pt", ".pth", ".ckpt"),
    "h5": (".h5",),
    "msgpack": (".msgpack",),
    "onnx": (".onnx", ".onnx_data", ".onnx.data"),
    "gguf": (".gguf",),
}
_EXPORTS = frozenset({"onnx", "gguf"})  # made of the whole model, under names and in folders of their own
_ANYTHING = frozenset({"bin", "pt"})  # optimizers and training arguments have these endings too
_SHARD = re.compile(r"-\d+-of-\d+$")
_LIBRARY = re.compile(r"^(?:diffusion_)?(?:pytorch|tf|flax)_")
_ORIGINAL = re.compile(r"consolidated(?:\.\d+)?")
_WEIGHTS = ("model", "adapter_model", "lora_weights")

Group = tuple[str, str]  # folder, and the name without library, shard and ending


def read_format(text: str) -> str:
    """The option weights: one of FORMATS, with or without a dot; "" for all. Raises UsageError."""
    name = text.lower().lstrip(".")
    if name and name not in FORMATS:
        why = f"{text!r} is not a format of weights"
        raise UsageError("reading", "option weights", why, f"known: {', '.join(FORMATS)}")
    return name


def other_formats(paths: Iterable[str], keep: str) -> frozenset[str]:
    """The paths that hold, in another format, the weights that also exist in the format to keep.

    Args:
        paths: of a whole repository.
        keep: one of FORMATS. If nothing has it, nothing is left out.
    """
    weights = [(path, *found) for path in paths if (found := _weights(path))]
    kept = {group for _, form, group in weights if form == keep}
    return frozenset(path for path, form, group in weights if form != keep and kept and _same(form, group, keep, kept))


def _same(form: str, group: Group, keep: str, kept: set[Group]) -> bool:
    if keep in _EXPORTS:
        return form not in _ANYTHING or group[1].partition(".")[0] in _WEIGHTS
    return form in _EXPORTS or group in kept


def _weights(path: str) -> tuple[str, Group] | None:
    """The format of a file of weights, or of an index of their shards, and what else is the same weights."""
    folder, _, name = path.removesuffix(".index.json").rpartition("/")
    for form, endings in FORMATS.items():
        if ending := next(filter(name.endswith, endings), ""):
            stem = _LIBRARY.sub("", _SHARD.sub("", name.removesuffix(ending)))
            if _ORIGINAL.fullmatch(stem):
                return form, (folder.removesuffix("original").rstrip("/"), "model")
            return form, (folder, stem)
    return None
