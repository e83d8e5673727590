"""The PersistentVolumeClaim of a Dataset: a new one made from its template, or an existing one."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

from dsload.errors import UsageError
from dsload.k8s.cluster import Cluster, Manifest
from dsload.k8s.crd import DEFAULT_ACCESS_MODE, DEFAULT_SIZE, DEFAULT_VOLUME_MODE
from dsload.k8s.dataset import Dataset
from dsload.k8s.metadata import DATASET_LABEL, bounded, metadata, own_label, without_applied
from dsload.k8s.rules import NAME_LIMIT
from dsload.secrets import public_uri

_ZERO = re.compile(r"[0.]*[A-Za-z]*")


def claim_name(dataset: Dataset) -> str:
    """The name of the claim that holds a Dataset. Raises UsageError if its URI should name a claim and does not."""
    if dataset.claim_ref:
        return str(dataset.claim_ref["name"])
    if dataset.type == "PVC":
        return host(dataset, "claim")
    template = dataset.claim_template.get("metadata") or {}
    return bounded(str(template.get("name") or dataset.name), NAME_LIMIT)


def claim(dataset: Dataset, spec: Mapping[str, Any], cluster: Cluster) -> Manifest:
    """The claim made for a Dataset. Raises UsageError if a claim of that name exists and does not belong to it."""
    name = claim_name(dataset)
    check_free("PersistentVolumeClaim", dataset.namespace, name, dataset, cluster)
    about = metadata(dataset, name, annotated=True)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": dict(spec)}


def claim_spec(dataset: Dataset) -> dict[str, Any]:
    """The spec of the template, with the defaults for access mode, volume mode and size."""
    spec: dict[str, Any] = deepcopy(dict(dataset.claim_template.get("spec") or {}))
    spec["accessModes"] = spec.get("accessModes") or [DEFAULT_ACCESS_MODE]
    spec["volumeMode"] = spec.get("volumeMode") or DEFAULT_VOLUME_MODE
    resources = spec["resources"] = spec.get("resources") or {}
    requests = resources["requests"] = resources.get("requests") or {}
    if _ZERO.fullmatch(str(requests.get("storage") or "")):
        requests["storage"] = DEFAULT_SIZE
    return spec


def labelled_claim(dataset: Dataset, cluster: Cluster) -> Manifest:
    """The claim that the URI of a PVC Dataset names, with the Dataset's label and without fields that the cluster sets.

    Raises:
        UsageError: the claim is not known, or has the label of another Dataset.
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
    """Raise UsageError if the cluster has an object of that name that does not belong to this Dataset."""
    found = cluster.find(kind, namespace, name)
    if found and (found["metadata"].get("labels") or {}).get(DATASET_LABEL) != own_label(dataset)[DATASET_LABEL]:
        why = f"{kind} {name} already exists and does not belong to this Dataset"
        raise UsageError("making the manifests of", dataset.where, why, "choose another name, or remove it")


def host(dataset: Dataset, what: str) -> str:
    """The host part of a Dataset's URI, which names a claim, server or namespace. Raises UsageError if it is empty."""
    name = urlsplit(dataset.uri).netloc
    if not name:
        raise UsageError(
            "making the manifests of", dataset.where, f"URI {public_uri(dataset.uri)!r} does not name a {what}"
        )
    return name


def need_namespace(dataset: Dataset, reason: str) -> None:
    """Raise UsageError if a Dataset has no namespace."""
    if not dataset.namespace:
        why = f"metadata.namespace is missing, and {dataset.type} needs it {reason}"
        raise UsageError("making the manifests of", dataset.where, why)
