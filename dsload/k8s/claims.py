"""The PersistentVolumeClaim of a Dataset: one that is made by its template, or one that is there."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

from dsload.errors import UsageError
from dsload.k8s.cluster import Cluster, Manifest
from dsload.k8s.crd import DEFAULT_ACCESS_MODE, DEFAULT_SIZE, DEFAULT_VOLUME_MODE
from dsload.k8s.dataset import Dataset
from dsload.k8s.metadata import DATASET_LABEL, NAME_LIMIT, bounded, metadata, own_label, without_applied
from dsload.secrets import public_uri

_ZERO = re.compile(r"[0.]*[A-Za-z]*")


def claim_name(dataset: Dataset) -> str:
    """The claim that holds a Dataset. Raises UsageError where its URI should name one and does not."""
    if dataset.claim_ref:
        return str(dataset.claim_ref["name"])
    if dataset.type == "PVC":
        return host(dataset, "claim")
    template = dataset.claim_template.get("metadata") or {}
    return bounded(str(template.get("name") or dataset.name), NAME_LIMIT)


def claim(dataset: Dataset, spec: Mapping[str, Any], cluster: Cluster) -> Manifest:
    """The claim that is made for a Dataset. Raises UsageError where there is one of that name which is not its own."""
    name = claim_name(dataset)
    check_free("PersistentVolumeClaim", dataset.namespace, name, dataset, cluster)
    about = metadata(dataset, name, annotated=True)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": dict(spec)}


def claim_spec(dataset: Dataset) -> dict[str, Any]:
    """What the template says, and ReadWriteMany, Filesystem and 100Ti where it says nothing."""
    spec: dict[str, Any] = deepcopy(dict(dataset.claim_template.get("spec") or {}))
    spec["accessModes"] = spec.get("accessModes") or [DEFAULT_ACCESS_MODE]
    spec["volumeMode"] = spec.get("volumeMode") or DEFAULT_VOLUME_MODE
    resources = spec["resources"] = spec.get("resources") or {}
    requests = resources["requests"] = resources.get("requests") or {}
    if _ZERO.fullmatch(str(requests.get("storage") or "")):
        requests["storage"] = DEFAULT_SIZE
    return spec


def labelled_claim(dataset: Dataset, cluster: Cluster) -> Manifest:
    """The claim that the URI of a PVC Dataset names, with the Dataset's label, without what only the cluster writes.

    Raises:
        UsageError: it is not known, or has the label of another Dataset.
    """
    need_namespace(dataset, "for its claim")
    name, own = claim_name(dataset), own_label(dataset)
    found = cluster.need("PersistentVolumeClaim", dataset.namespace, name, dataset.where)
    labels = found["metadata"].get("labels") or {}
    if labels.get(DATASET_LABEL, own[DATASET_LABEL]) != own[DATASET_LABEL]:
        why = f"PersistentVolumeClaim {name} belongs to Dataset {labels[DATASET_LABEL]}"
        raise UsageError("making the manifests of", dataset.where, why, f"remove its label {DATASET_LABEL}")
    about: Manifest = {"name": name, "namespace": dataset.namespace, "labels": {**labels, **own}}
    if annotations := without_applied(found["metadata"].get("annotations") or {}):
        about["annotations"] = annotations
    spec = deepcopy(found.get("spec") or {})
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": spec}


def check_free(kind: str, namespace: str, name: str, dataset: Dataset, cluster: Cluster) -> None:
    """Raises UsageError where the cluster is known to have an object of that name which is not of this Dataset."""
    found = cluster.find(kind, namespace, name)
    if found and (found["metadata"].get("labels") or {}).get(DATASET_LABEL) != own_label(dataset)[DATASET_LABEL]:
        why = f"{kind} {name} is there already, and is not of this Dataset"
        raise UsageError("making the manifests of", dataset.where, why, "choose another name, or remove it")


def host(dataset: Dataset, what: str) -> str:
    """What stands in the host's place of a Dataset's URI. Raises UsageError where nothing does."""
    name = urlsplit(dataset.uri).netloc
    if not name:
        raise UsageError("making the manifests of", dataset.where, f"URI {public_uri(dataset.uri)!r} names no {what}")
    return name


def need_namespace(dataset: Dataset, reason: str) -> None:
    """Raises UsageError where a Dataset says no namespace."""
    if not dataset.namespace:
        why = f"metadata.namespace is missing, and {dataset.type} needs it {reason}"
        raise UsageError("making the manifests of", dataset.where, why)
