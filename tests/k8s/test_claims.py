"""Claims, and the volumes of NFS."""

import pytest

from dsload.errors import UsageError
from tests.k8s.datasets import LABEL, claim, dataset, known, volume
from tests.k8s.making import made

# Claims


def test_claim_has_defaults():
    (found, _) = made(dataset())
    assert found["metadata"]["name"] == "qwen"
    assert found["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "100Ti"}},
    }


@pytest.mark.parametrize("storage", ["1Gi", None, "0", "0Gi", 0])
def test_claim_takes_over_its_template(storage):
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Block",
        "storageClassName": "fast",
        "resources": {"requests": {} if storage is None else {"storage": storage}, "limits": {"storage": "2Pi"}},
    }
    template = {"metadata": {"name": "models"}, "spec": spec}
    (found, of_job) = made(dataset(claim_template=template))
    size = "1Gi" if storage == "1Gi" else "100Ti"
    assert found["metadata"]["name"] == "models"
    assert found["spec"] == {**spec, "resources": {"requests": {"storage": size}, "limits": {"storage": "2Pi"}}}
    assert of_job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "models"
    assert spec["resources"]["requests"] == ({} if storage is None else {"storage": storage})


@pytest.mark.parametrize("reference", [{"name": "there"}, {"name": "there", "subPath": "a/b"}])
def test_volume_claim_ref_makes_no_claim(reference):
    (found,) = made(dataset(claim_ref=reference))
    pod = found["spec"]["template"]["spec"]
    assert pod["volumes"][0] == {"name": "dataset-pvc", "persistentVolumeClaim": {"claimName": "there"}}
    mount = {"name": "dataset-pvc", "mountPath": "/baize/dataset/data"}
    sub_path = {"subPath": "a/b"} if "subPath" in reference else {}
    assert pod["containers"][0]["volumeMounts"][0] == {**mount, **sub_path}


def test_volume_claim_ref_of_a_type_that_is_mounted_makes_nothing():
    assert made(dataset("MANUAL", "manual://", claim_ref={"name": "there"})) == []
    assert made(dataset("NFS", "nfs://host/a", claim_ref={"name": "there"})) == []


@pytest.mark.parametrize("labels", [{}, {"site": "a"}, {LABEL: "qwen"}])
def test_pvc_is_the_named_claim_with_the_label(labels):
    (found,) = made(dataset("PVC", "pvc://models/path", labels={"team": "a"}), known(claim("models", labels)))
    assert found == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "models",
            "namespace": "public",
            "labels": {**labels, LABEL: "qwen"},
            "annotations": {"site": "a"},
        },
        "spec": claim("models")["spec"],
    }


def test_pvc_of_another_dataset_is_refused():
    with pytest.raises(UsageError, match="PersistentVolumeClaim models belongs to Dataset other"):
        made(dataset("PVC", "pvc://models"), known(claim("models", {LABEL: "other"})))


def test_pvc_that_is_not_known_says_how_to_print_it():
    with pytest.raises(UsageError, match="the output of `kubectl get -o yaml pvc models -n public`"):
        made(dataset("PVC", "pvc://models/path"))


@pytest.mark.parametrize("labels", [{}, {LABEL: "other"}])
def test_a_claim_that_is_there_and_not_the_datasets_is_refused(labels):
    with pytest.raises(UsageError, match="PersistentVolumeClaim qwen already exists"):
        made(dataset(), known(claim(labels=labels)))
    assert made(dataset(), known(claim(labels={LABEL: "qwen"})))


@pytest.mark.parametrize(("type", "uri"), [("PVC", "pvc://a"), ("NFS", "nfs://a/b"), ("REFERENCE", "dataset://a/b")])
def test_types_that_need_a_namespace_say_so(type, uri):
    with pytest.raises(UsageError, match=f"metadata.namespace is missing, and {type} needs it"):
        made(dataset(type, uri, namespace=""))


# Volumes


def test_nfs_volume_and_its_claim():
    template = {"metadata": {"name": "models"}, "spec": {"storageClassName": "fast"}}
    what = dataset("NFS", "nfs://10.0.0.1/exports/a%20b", claim_template=template)
    (found, bound) = made(what)
    name = "dataset-public-pvc-models"
    assert found["metadata"]["name"] == name
    assert found["spec"] == {
        "capacity": {"storage": "100Ti"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "nfs-csi",
        "mountOptions": ["nfsvers=4.1"],
        "csi": {
            "driver": "nfs.csi.k8s.io",
            "volumeHandle": f"10.0.0.1#/exports/a b#{name}#",
            "volumeAttributes": {
                "server": "10.0.0.1",
                "share": "/",
                "subdir": "/exports/a b",
                "onDelete": "retain",
                "csi.storage.k8s.io/pv/name": name,
                "csi.storage.k8s.io/pvc/name": "models",
                "csi.storage.k8s.io/pvc/namespace": "public",
            },
        },
    }
    assert (bound["metadata"]["name"], bound["spec"]["volumeName"]) == ("models", name)
    assert bound["spec"]["storageClassName"] == "nfs-csi"


@pytest.mark.parametrize("version", ["3", "4.0", "4.1", "4.2"])
def test_nfs_versions(version):
    (found, _) = made(dataset("NFS", "nfs://host/a"), nfs_version=version)
    assert found["spec"]["mountOptions"] == [f"nfsvers={version}"]


def test_nfs_refuses_another_version_and_a_volume_of_another_dataset():
    with pytest.raises(UsageError, match=r"NFS version '5' is not one of 3, 4.0, 4.1, 4.2"):
        made(dataset("NFS", "nfs://host/a"), nfs_version="5")
    with pytest.raises(UsageError, match="PersistentVolume dataset-public-pvc-qwen already exists"):
        made(dataset("NFS", "nfs://host/a"), known({**volume("dataset-public-pvc-qwen"), "metadata": {
            "name": "dataset-public-pvc-qwen", "labels": {LABEL: "other"}}}))  # fmt: skip
