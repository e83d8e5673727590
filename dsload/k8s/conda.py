"""What only a CONDA Dataset needs: its files in a ConfigMap, a directory for its prefix, a GPU for its build."""

from collections.abc import Mapping
from typing import Any, cast

from dsload.errors import UsageError
from dsload.fetchers.conda.spec import FILES as CONDA_FILES
from dsload.fetchers.conda.spec import GPU_TYPES, CondaConfig
from dsload.k8s.cluster import Manifest
from dsload.k8s.dataset import Dataset
from dsload.k8s.metadata import bounded, metadata
from dsload.k8s.rules import NAME_LIMIT

TYPE = "CONDA"
_LOCK = "conda.lock"
_FILES = {
    "environment.yaml": ("environment.yaml", "condaEnvironmentYml"),
    "requirements.txt": ("requirements.txt", "pipRequirementsTxt"),
    _LOCK: ("lock",),
}
_PATHS = {"environment.yaml": "condaEnvironmentYmlPath", "requirements.txt": "pipRequirementsTxtPath", _LOCK: "lock"}
_GPU = "gpuType"


def files(dataset: Dataset) -> dict[str, str]:
    """The files of the ConfigMap by name, from the options that hold their text; {} for another type."""
    if dataset.type != TYPE:
        return {}
    texts = {name: [dataset.options.get(option, "") for option in options] for name, options in _FILES.items()}
    found = {name: next(filter(str.strip, given)) for name, given in texts.items() if any(map(str.strip, given))}
    return {name: text for name, text in found.items() if name != _LOCK or "\n" in text.strip()}


def passed_options(dataset: Dataset) -> dict[str, str]:
    """The options that the loader gets as arguments: all except those that became a ConfigMap or a resource."""
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
    """The ConfigMap with the files; None without files."""
    data = files(dataset)
    about = metadata(dataset, config_map_name(dataset))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data} if data else None


def prefix_directory(dataset: Dataset) -> str:
    """The directory outside the volume that the build writes to; "" for another type.

    Args:
        dataset: the Dataset; its option condaPrefixDir, or its URI, may name a directory different from the default.

    Raises:
        UsageError: the loader does not accept the directory, or it is the root, on which nothing can be mounted.
    """
    if dataset.type != TYPE:
        return ""
    path = cast(CondaConfig, dataset.source().config).prefix_dir
    if not path.strip("/"):
        why = f"spec.source.options.condaPrefixDir is {path!r}, and nothing can be mounted there"
        raise UsageError("making the manifests of", dataset.where, why, "name a directory below /")
    return path


def with_gpu(dataset: Dataset, resources: Mapping[str, Any]) -> dict[str, Any]:
    """ResourceRequirements with the GPU that the option gpuType asks for.

    Args:
        dataset: the Dataset with the option.
        resources: the ResourceRequirements without the GPU.

    Raises:
        UsageError: gpuType is unknown.
    """
    found = dict(resources)
    kind = dataset.source().options.get(_GPU, "") if dataset.type == TYPE else ""
    if not kind:
        return found
    requests, limits = found.get("requests") or {}, found.get("limits") or {}
    # Kubernetes accepts an extended resource only if its request equals its limit.
    asked = {name: limits.get(name, requests.get(name, count)) for name, count in GPU_TYPES[kind].items()}
    return {**found, "requests": {**requests, **asked}, "limits": {**limits, **asked}}
