"""What a CONDA Dataset has beyond others: its files in a ConfigMap, a place for its prefix, a GPU for its build."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from dsload.errors import UsageError
from dsload.k8s.context import Manifest
from dsload.k8s.dataset import Dataset
from dsload.k8s.names import NAME_LIMIT, bounded, metadata
from dsload.registry import CONDA_FILES, CONDA_PREFIX_DIR
from dsload.source import Source

TYPE = "CONDA"
_LOCK = "conda.lock"
_FILES = {
    "environment.yaml": ("environment.yaml", "condaEnvironmentYml"),
    "requirements.txt": ("requirements.txt", "pipRequirementsTxt"),
    _LOCK: ("lock",),
}
_PATHS = {"environment.yaml": "condaEnvironmentYmlPath", "requirements.txt": "pipRequirementsTxtPath", _LOCK: "lock"}
_GPU, _PREFIX_DIR = "gpuType", "condaPrefixDir"
_GPUS: Mapping[str, Mapping[str, str]] = {
    "nvidia-gpu": {"nvidia.com/gpu": "1"},
    "nvidia-vgpu": {"nvidia.com/vgpu": "1", "nvidia.com/gpumem": "500"},
    "metax-gpu": {"metax-tech.com/gpu": "1"},
}


def files(dataset: Dataset) -> dict[str, str]:
    """The files of the ConfigMap by name, from the options that hold their text; none of another type."""
    if dataset.type != TYPE:
        return {}
    texts = {name: [dataset.options.get(option, "") for option in options] for name, options in _FILES.items()}
    found = {name: next(filter(str.strip, given)) for name, given in texts.items() if any(map(str.strip, given))}
    return {name: text for name, text in found.items() if name != _LOCK or "\n" in text.strip()}


def passed_options(dataset: Dataset) -> dict[str, str]:
    """The options that the loader gets as arguments: not those that became a ConfigMap or a resource."""
    if dataset.type != TYPE:
        return dict(dataset.options)
    mounted = files(dataset)
    texts = {option for name, options in _FILES.items() for option in options if name != _LOCK}
    elsewhere = {_GPU, *texts, *(_PATHS[name] for name in mounted)}
    lock = {"lock": f"{CONDA_FILES}/{_LOCK}"} if _LOCK in mounted else {}
    return {key: value for key, value in dataset.options.items() if key not in elsewhere} | lock


def config_map_name(dataset: Dataset) -> str:
    """The name of the ConfigMap."""
    return bounded(f"dataset-{dataset.name}-config", NAME_LIMIT)


def config_map(dataset: Dataset) -> Manifest | None:
    """The ConfigMap with the files, None where there are none."""
    data = files(dataset)
    about = metadata(dataset, config_map_name(dataset))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data} if data else None


def prefix_directory(dataset: Dataset) -> str:
    """Where the build needs a directory that it can write to beside the volume, "" for another type.

    Args:
        dataset: whose option condaPrefixDir, or its URI's, may name another than the default.

    Raises:
        UsageError: that is none that the loader takes, or the root, on which nothing can be mounted.
    """
    if dataset.type != TYPE:
        return ""
    path = _asked(dataset, _PREFIX_DIR) or CONDA_PREFIX_DIR
    if not path.startswith("/") or ".." in path.split("/") or re.search(r"\s", path) or not path.strip("/."):
        why = f"spec.source.options.{_PREFIX_DIR} is {path!r}, no absolute path below / without '..' and white space"
        raise UsageError("making the manifests of", dataset.where, why)
    return posixpath.normpath(path)


def _asked(dataset: Dataset, option: str) -> str:
    """An option, from the Dataset's own or from its URI."""
    return Source.parse(dataset.uri, dataset.type, dataset.options).options.get(option, "")


def with_gpu(dataset: Dataset, resources: Mapping[str, Any]) -> dict[str, Any]:
    """ResourceRequirements with the GPU that the option gpuType asks for.

    Args:
        dataset: whose option it is.
        resources: those without it.

    Raises:
        UsageError: an unknown gpuType.
    """
    found = dict(resources)
    kind = _asked(dataset, _GPU) if dataset.type == TYPE else ""
    if not kind:
        return found
    if kind not in _GPUS:
        why = f"spec.source.options.{_GPU} is {kind!r}, none of {', '.join(_GPUS)}"
        raise UsageError("making the manifests of", dataset.where, why)
    requests, limits = found.get("requests") or {}, found.get("limits") or {}
    # Kubernetes takes an extended resource only with a request that equals its limit.
    asked = {name: limits.get(name, requests.get(name, count)) for name, count in _GPUS[kind].items()}
    return {**found, "requests": {**requests, **asked}, "limits": {**limits, **asked}}
