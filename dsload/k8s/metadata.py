"""Names, labels and owners of the objects made for a Dataset, within Kubernetes' limits."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from dsload.k8s.crd import API_VERSION, KIND
from dsload.k8s.dataset import Dataset
from dsload.k8s.rules import LABEL_LIMIT

DATASET_LABEL = "baize.io/dataset-name"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def bounded(name: str, limit: int, dots: bool = True) -> str:
    """Fit a name into a limit.

    Args:
        name: the name in full.
        limit: the most characters that it may have.
        dots: whether it may have dots; a name that becomes a host name may not.

    Returns:
        The name itself if it fits, otherwise its start and a short hash of the whole.
    """
    allowed = name if dots else name.replace(".", "-")
    if allowed == name and len(name) <= limit:
        return name
    digest = sha256(name.encode()).hexdigest()[:8]
    return f"{allowed[: limit - len(digest) - 1].rstrip('-._')}-{digest}"


def own_label(dataset: Dataset) -> dict[str, str]:
    """The label with the name of the Dataset that an object belongs to."""
    return {DATASET_LABEL: bounded(dataset.name, LABEL_LIMIT)}


def metadata(dataset: Dataset, name: str, annotated: bool = False) -> dict[str, Any]:
    """The metadata of a namespaced object: the Dataset's labels, and the Dataset as its owner if its uid is known.

    Args:
        dataset: the Dataset that the object is made for.
        name: the name of the object.
        annotated: whether it gets the Dataset's annotations, as the original's claims and Jobs do.
    """
    found: dict[str, Any] = {"name": name}
    if dataset.namespace:
        found["namespace"] = dataset.namespace
    found["labels"] = _labels(dataset)
    if annotated and (annotations := without_applied(dataset.annotations)):
        found["annotations"] = annotations
    if dataset.object_uid:
        found["ownerReferences"] = [_owner(dataset)]
    return found


def cluster_metadata(dataset: Dataset, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The metadata of a cluster-scoped object.

    It has no owner: Kubernetes' garbage collector would not find an owner in a namespace, and delete the object.

    Args:
        dataset: the Dataset that the object is made for.
        name: the name of the object.
        labels: further labels; those of the Dataset win.
    """
    return {"name": name, "labels": {**(labels or {}), **_labels(dataset)}}


def without_applied(annotations: Mapping[str, str]) -> dict[str, str]:
    """Annotations without kubectl's record of what was applied, which describes one object only."""
    return {key: value for key, value in annotations.items() if key != _APPLIED}


def _labels(dataset: Dataset) -> dict[str, str]:
    own = {key: bounded(value, LABEL_LIMIT) for key, value in dataset.labels.items()}
    return {**own, **own_label(dataset)}


def _owner(dataset: Dataset) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": dataset.name,
        "uid": dataset.object_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
