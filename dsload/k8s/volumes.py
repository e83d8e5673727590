"""PersistentVolumes: one for an NFS export, and a copy of a referenced Dataset's for another namespace."""

import re
from collections.abc import Mapping
from copy import deepcopy
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from dsload.errors import UsageError
from dsload.k8s.claims import check_free, claim, claim_name, claim_spec, host, need_namespace
from dsload.k8s.cluster import Cluster, Manifest
from dsload.k8s.crd import DEFAULT_SIZE
from dsload.k8s.dataset import Dataset
from dsload.k8s.manifest_settings import NFS_VERSIONS
from dsload.k8s.metadata import bounded, cluster_metadata, without_applied
from dsload.k8s.parsing import parse_all
from dsload.k8s.rules import NAME_LIMIT
from dsload.k8s.sharing import check_shared
from dsload.secrets import public_uri

_NFS_CLASS, _NFS_DRIVER = "nfs-csi", "nfs.csi.k8s.io"
_OF_ITS_BINDING = re.compile(r"pv\.kubernetes\.io/bound-")


def nfs(dataset: Dataset, version: str, cluster: Cluster) -> list[Manifest]:
    """The volume of an NFS export, and the claim bound to it.

    Args:
        dataset: a Dataset of type NFS.
        version: value of the mount option nfsvers, one of NFS_VERSIONS.
        cluster: an existing object of the same name must belong to the same Dataset.

    Raises:
        UsageError: the version is unknown, the server or namespace is missing, or a name is taken.
    """
    if version not in NFS_VERSIONS:
        why = f"NFS version {version!r} is not one of {', '.join(NFS_VERSIONS)}"
        raise UsageError("making the manifests of", dataset.where, why)
    need_namespace(dataset, "for the name of its volume")
    name = bounded(f"dataset-{dataset.namespace}-pvc-{claim_name(dataset)}", NAME_LIMIT)
    about = cluster_metadata(dataset, name)
    about["annotations"] = {"pv.kubernetes.io/provisioned-by": _NFS_DRIVER}
    spec = {
        "capacity": {"storage": DEFAULT_SIZE},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": _NFS_CLASS,
        "mountOptions": [f"nfsvers={version}"],
        "csi": _nfs_source(dataset, name),
    }
    wanted = {**claim_spec(dataset), "storageClassName": _NFS_CLASS, "volumeName": name}
    return [_volume(dataset, about, spec, cluster), claim(dataset, wanted, cluster)]


def referenced(dataset: Dataset, cluster: Cluster) -> Dataset:
    """The Dataset that a REFERENCE names. Raises UsageError if it is not known, or not shared with this one."""
    need_namespace(dataset, "to check whether the other Dataset is shared with it")
    namespace, name = host(dataset, "namespace"), urlsplit(dataset.uri).path.strip("/")
    if not name:
        why = f"URI {public_uri(dataset.uri)!r} does not name a Dataset"
        raise UsageError("making the manifests of", dataset.where, why, "write dataset://NAMESPACE/NAME")
    found = cluster.need("Dataset", namespace, name, dataset.where)
    (source,) = parse_all([(f"Dataset {namespace}/{name}", found)])
    check_shared(source, dataset, cluster)
    return source


def reference(dataset: Dataset, source: Dataset, cluster: Cluster) -> list[Manifest]:
    """A copy of the referenced Dataset's volume, and a read-only claim bound to it.

    Args:
        dataset: a Dataset of type REFERENCE.
        source: the Dataset that it references.
        cluster: has the source's claim and volume.

    Raises:
        UsageError: the claim or its volume is not known, or the claim is not bound.
    """
    source_claim = source.pvc_name or claim_name(source)
    found = cluster.need("PersistentVolumeClaim", source.namespace, source_claim, dataset.where)
    volume_name = found["spec"].get("volumeName")
    if not volume_name:
        why = f"PersistentVolumeClaim {source.namespace}/{source_claim} is not bound to a volume yet"
        raise UsageError("making the manifests of", dataset.where, why, "wait until it is, and print it again")
    volume = cluster.need("PersistentVolume", "", volume_name, dataset.where)
    name = _copy_name(dataset)
    about = cluster_metadata(dataset, name, volume["metadata"].get("labels"))
    annotations = without_applied(volume["metadata"].get("annotations") or {})
    if kept := {key: value for key, value in annotations.items() if not _OF_ITS_BINDING.match(key)}:
        about["annotations"] = kept
    read_only = {"accessModes": ["ReadOnlyMany"]}
    spec = {**_without(volume["spec"], "claimRef"), **read_only, "persistentVolumeReclaimPolicy": "Retain"}
    wanted = {**_without(found["spec"], "dataSource", "dataSourceRef"), **read_only, "volumeName": name}
    return [_volume(dataset, about, spec, cluster), claim(dataset, wanted, cluster)]


def _volume(dataset: Dataset, about: Manifest, spec: Mapping[str, Any], cluster: Cluster) -> Manifest:
    check_free("PersistentVolume", "", about["name"], dataset, cluster)
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": about, "spec": dict(spec)}


def _nfs_source(dataset: Dataset, name: str) -> Manifest:
    server, path = host(dataset, "server"), unquote(urlsplit(dataset.uri).path)
    attributes = {
        "server": server,
        "share": "/",
        "subdir": path,
        "onDelete": "retain",
        "csi.storage.k8s.io/pv/name": name,
        "csi.storage.k8s.io/pvc/name": claim_name(dataset),
        "csi.storage.k8s.io/pvc/namespace": dataset.namespace,
    }
    return {"driver": _NFS_DRIVER, "volumeHandle": f"{server}#{path}#{name}#", "volumeAttributes": attributes}


def _copy_name(dataset: Dataset) -> str:
    """Unique by the uid, as in the original; a Dataset that is not in the cluster yet has no uid."""
    whole = f"{dataset.namespace}/{dataset.name}"
    unique = dataset.object_uid[:12] or sha256(whole.encode()).hexdigest()[:12]
    return bounded(f"dataset-{dataset.namespace}-{dataset.name}-{unique}", NAME_LIMIT)


def _without(spec: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return deepcopy({key: value for key, value in spec.items() if key not in keys})
