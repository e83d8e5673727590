"""From Dataset resources to the Kubernetes objects that hold and load them."""

from collections.abc import Iterable

from dsload.errors import UsageError
from dsload.k8s.claims import claim, claim_name, claim_spec, labelled_claim
from dsload.k8s.cluster import Cluster, Manifest
from dsload.k8s.conda import config_map
from dsload.k8s.dataset import Dataset
from dsload.k8s.job import job
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.rules import FORMS
from dsload.k8s.volumes import nfs, reference, referenced

NOT_LOADED = frozenset({*FORMS, "MANUAL"})  # no Job


def manifests(dataset: Dataset, settings: ManifestSettings, cluster: Cluster) -> list[Manifest]:
    """All objects of a Dataset, in an order in which `kubectl apply` can create them.

    The Dataset owns them if its uid is known, except a PersistentVolume: Kubernetes does not let an object in a
    namespace own an object outside of namespaces.

    Args:
        dataset: the Dataset that the objects are for.
        settings: how they are made.
        cluster: objects of the cluster that they depend on.

    Raises:
        UsageError: they cannot be made, or depend on an object that is not known.
    """
    made = volumes_and_claim(dataset, settings.nfs_version, cluster)
    if dataset.type in NOT_LOADED:
        return made
    if configuration := config_map(dataset):
        made.append(configuration)
    return [*made, job(dataset, settings, claim_name(dataset))]


def volumes_and_claim(dataset: Dataset, nfs_version: str, cluster: Cluster) -> list[Manifest]:
    """The claim of a Dataset and, for NFS and REFERENCE, its PersistentVolume; neither if it has a volumeClaimRef.

    Args:
        dataset: the Dataset that the objects are for.
        nfs_version: value of the mount option nfsvers.
        cluster: the objects that REFERENCE and PVC build on.

    Raises:
        UsageError: an object is missing, belongs to another Dataset, or is not shared.
    """
    source = referenced(dataset, cluster) if dataset.type == "REFERENCE" else None
    if dataset.claim_ref:
        return []
    if source:
        return reference(dataset, source, cluster)
    if dataset.type == "PVC":
        return [labelled_claim(dataset, cluster)]
    if dataset.type == "NFS":
        return nfs(dataset, nfs_version, cluster)
    return [claim(dataset, claim_spec(dataset), cluster)]


def all_manifests(datasets: Iterable[Dataset], settings: ManifestSettings, cluster: Cluster) -> list[Manifest]:
    """All objects of several Datasets, as by `manifests`. Raises UsageError also if two Datasets make the same one."""
    makers: dict[tuple[str, str, str], str] = {}
    made: list[Manifest] = []
    for dataset in datasets:
        for manifest in manifests(dataset, settings, cluster):
            about = manifest["metadata"]
            key = (manifest["kind"], about.get("namespace", ""), about["name"])
            if key in makers:
                why = f"{key[0]} {about['name']} is already made for {makers[key]}"
                raise UsageError("making the manifests of", dataset.where, why, "give one of them another name")
            makers[key] = dataset.where
            made.append(manifest)
    return made
