"""What a CONDA Dataset has beyond others: its files in a ConfigMap, and a GPU for its build."""

from collections.abc import Mapping
from typing import Any

from dsload.errors import UsageError
from dsload.k8s.context import Manifest
from dsload.k8s.dataset import Dataset
from dsload.k8s.names import NAME_LIMIT, bounded, metadata

TYPE = "CONDA"
DIRECTORY = "/run/dataset/conda"
_FILES = {
    "environment.yaml": ("environment.yaml", "condaEnvironmentYml"),
    "requirements.txt": ("requirements.txt", "pipRequirementsTxt"),
}
_GPU = "gpuType"
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
    return {name: next(filter(str.strip, given)) for name, given in texts.items() if any(map(str.strip, given))}


def passed_options(dataset: Dataset) -> dict[str, str]:
    """The options that the loader gets as arguments: not those that became a ConfigMap or a resource."""
    elsewhere = {_GPU, *(option for options in _FILES.values() for option in options)}
    return {key: value for key, value in dataset.options.items() if not (dataset.type == TYPE and key in elsewhere)}


def config_map_name(dataset: Dataset) -> str:
    """The name of the ConfigMap."""
    return bounded(f"dataset-{dataset.name}-config", NAME_LIMIT)


def config_map(dataset: Dataset) -> Manifest | None:
    """The ConfigMap with the files, None where there are none."""
    data = files(dataset)
    about = metadata(dataset, config_map_name(dataset))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data} if data else None


def with_gpu(dataset: Dataset, resources: Mapping[str, Any]) -> dict[str, Any]:
    """ResourceRequirements with the GPU that the option gpuType asks for.

    Args:
        dataset: whose option it is.
        resources: those without it.

    Raises:
        UsageError: an unknown gpuType.
    """
    found = dict(resources)
    kind = dataset.options.get(_GPU) if dataset.type == TYPE else None
    if not kind:
        return found
    if kind not in _GPUS:
        why = f"spec.source.options.{_GPU} is {kind!r}, none of {', '.join(_GPUS)}"
        raise UsageError("making the manifests of", dataset.where, why)
    requests, limits = found.get("requests") or {}, found.get("limits") or {}
    # Kubernetes takes an extended resource only with a request that equals its limit.
    asked = {name: limits.get(name, requests.get(name, count)) for name, count in _GPUS[kind].items()}
    return {**found, "requests": {**requests, **asked}, "limits": {**limits, **asked}}
