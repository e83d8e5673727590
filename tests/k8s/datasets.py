"""Datasets, cluster objects and strategies that the companion's tests share."""

import re
import string
from typing import Any

import kubernetes_validate
from hypothesis import strategies as st

from dsload.k8s.cluster import Cluster
from dsload.k8s.crd import API_VERSION
from dsload.k8s.dataset import Dataset

UID = "3f2b6c1e-8a57-4a0e-9d1c-5b7e2f90c4aa"
KUBERNETES = ("1.30", "1.33", "1.37")
LABEL = "baize.io/dataset-name"
_ALNUM = string.ascii_lowercase + string.digits

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){0,3}", fullmatch=True)
LABEL_KEYS = st.from_regex(r"([a-z]{1,8}\.io/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True)
LABEL_VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,90}[A-Za-z0-9])?)?", fullmatch=True) | st.sampled_from(
    ["y", "no", "1e3", "12e4567", "0o17", "0x1f", "1_0", "null", "true", "1.10", "2024-01-01"]
)
KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
VALUES = (
    TEXTS
    | st.text(' \t\n"\\=$()ab', max_size=12)
    | st.sampled_from(
        ['"a b"', '"a"', '"', '""', "a b", "a\\", "a b\\", '"a b\\"', "k=v w", "$(HOME)", "$$", "a $(X) $", "über uns",
         "x\ny\n", " ", "", "\u2028", "a\u00a0b", "- a", "# no", "--flag x", "\x7f \x1b[0m", "😀 😀"]
    )
)  # fmt: skip


def dataset(type: str = "HTTP", uri: str = "http://files.example.com/qwen/", **fields: Any) -> Dataset:
    """A Dataset of namespace public, with what a test is about."""
    return Dataset(**{"name": "qwen", "type": type, "uri": uri, "namespace": "public", "where": "d.yaml", **fields})


def valid(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, valid for Kubernetes of three versions, with names and labels that the API server takes."""
    for version in KUBERNETES:
        kubernetes_validate.validate(manifest, version, strict=True)
    about = manifest["metadata"]
    assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", about["name"]) and len(about["name"]) <= 253
    for value in about["labels"].values():
        assert len(value) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value)
    return manifest


def expanded(argument: str) -> str:
    """An argument as the kubelet hands it on: $$ is $, and a $(NAME) of no variable stays."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda match: "$" if match[1] == "$" else f"<{match[1]}>", argument)


def known(*objects: dict[str, Any]) -> Cluster:
    """A Cluster of these objects."""
    return Cluster.of(("cluster.yaml", item) for item in objects)


def namespace(name: str = "chat", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def source_dataset(share: bool = True, selector: Any = None, pvc_name: str = "qwen", **spec: Any) -> dict[str, Any]:
    """Dataset public/qwen, as the cluster has it."""
    sharing = {"share": share} if selector is None else {"share": share, "shareToNamespaceSelector": selector}
    return {
        "apiVersion": API_VERSION,
        "kind": "Dataset",
        "metadata": {"name": "qwen", "namespace": "public", "uid": UID},
        "spec": {**sharing, "source": {"type": "S3", "uri": "s3://bucket/qwen"}, **spec},
        "status": {"pvcName": pvc_name} if pvc_name else {},
    }


def claim(name: str = "qwen", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A bound claim in namespace public, as the cluster has it."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": "public",
            "uid": UID,
            "resourceVersion": "7",
            "creationTimestamp": "2024-01-01T00:00:00Z",
            "finalizers": ["kubernetes.io/pvc-protection"],
            "labels": labels or {},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "site": "a"},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Ti"}},
            "storageClassName": "juicefs",
            "volumeMode": "Filesystem",
            "volumeName": "pv-7",
            **spec,
        },
        "status": {"phase": "Bound"},
    }


def volume(name: str = "pv-7") -> dict[str, Any]:
    """The volume behind `claim`, as the cluster has it."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "uid": UID,
            "resourceVersion": "9",
            "finalizers": ["kubernetes.io/pv-protection"],
            "labels": {"zone": "a", LABEL: "qwen"},
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes", "pv.kubernetes.io/provisioned-by": "csi.x"},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Ti"},
            "claimRef": {"kind": "PersistentVolumeClaim", "name": "qwen", "namespace": "public", "uid": UID},
            "csi": {"driver": "csi.x", "volumeHandle": "handle-7", "volumeAttributes": {"a": "b"}},
            "mountOptions": ["noatime"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "juicefs",
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Bound"},
    }
