"""Every object that is made for a Dataset, and the command line that its Job runs."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dsload.cli.main import load
from dsload.errors import UsageError
from dsload.fetchers.conda.spec import PREFIX_DIR as CONDA_PREFIX_DIR
from dsload.k8s.arguments import go_quoted
from dsload.k8s.cluster import Cluster
from dsload.k8s.dataset import Dataset
from dsload.k8s.documents import read_documents
from dsload.k8s.job_spec import merged, read_job_spec
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import all_manifests, manifests
from dsload.k8s.metadata import bounded
from dsload.k8s.parsing import parse_all
from dsload.k8s.printing import to_json, to_yaml
from dsload.source import merge_options, parse_option
from tests import command
from tests.k8s import golden
from tests.k8s.datasets import (
    KEYS,
    LABEL,
    LABEL_KEYS,
    LABEL_VALUES,
    NAMES,
    UID,
    VALUES,
    claim,
    dataset,
    expanded,
    known,
    valid,
    volume,
)  # fmt: skip
from tests.servers.fault import FaultServer

CONDA = {"uri": "conda://env?python=3.11", "options": {"environment.yaml": "name: env\n", "gpuType": "nvidia-gpu"}}


def made(what: Dataset, cluster: Cluster | None = None, **decided: Any) -> list[dict[str, Any]]:
    """Its manifests, all of them valid, and the same after they were YAML and JSON."""
    found = manifests(what, ManifestSettings(**decided), cluster or Cluster())
    assert list(yaml.safe_load_all(to_yaml(found))) == found
    assert json.loads(to_json(found))["items"] == found
    return [valid(manifest) for manifest in found]


def job(what: Dataset, **decided: Any) -> dict[str, Any]:
    return next(manifest for manifest in made(what, **decided) if manifest["kind"] == "Job")


def loader(what: Dataset, **decided: Any) -> dict[str, Any]:
    containers = job(what, **decided)["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "dataset-loader")


def scratch(what: Dataset, **decided: Any) -> dict[str, str]:
    """Where its Job mounts the emptyDirs of its pod, by their names."""
    pod = job(what, **decided)["spec"]["template"]["spec"]
    empty = {volume["name"] for volume in pod["volumes"] if volume.get("emptyDir") == {}}
    (container,) = pod["containers"]
    places = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(places) == len(set(places))
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in empty}


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [manifest["kind"] for manifest in found]


def read_back(arguments: list[str]) -> dict[str, Any]:
    """What data-loader takes from the arguments that the kubelet hands it."""
    return load.make_context("data-loader", [*map(expanded, arguments)]).params


# Which objects


@pytest.mark.parametrize(
    ("type", "uri", "expected"),
    [
        ("GIT", "https://git.example.com/a/b.git", ["PersistentVolumeClaim", "Job"]),
        ("S3", "s3://bucket/a", ["PersistentVolumeClaim", "Job"]),
        ("HTTP", "https://host/a/", ["PersistentVolumeClaim", "Job"]),
        ("HUGGING_FACE", "huggingface://a/b", ["PersistentVolumeClaim", "Job"]),
        ("MODEL_SCOPE", "modelscope://a/b", ["PersistentVolumeClaim", "Job"]),
        ("FILE", "file:///a", ["PersistentVolumeClaim", "Job"]),
        ("FSSPEC", "gs://bucket/a", ["PersistentVolumeClaim", "Job"]),
        ("CONDA", "conda://env", ["PersistentVolumeClaim", "Job"]),
        ("MANUAL", "manual://", ["PersistentVolumeClaim"]),
        ("NFS", "nfs://host/a", ["PersistentVolume", "PersistentVolumeClaim"]),
    ],
)
def test_objects_of_each_type(type, uri, expected):
    found = made(dataset(type, uri, labels={"team": "a"}, object_uid=UID))
    assert kinds(found) == expected
    owner = {
        "apiVersion": "dataset.baizeai.io/v1alpha1", "kind": "Dataset", "name": "qwen", "uid": UID,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    for manifest in found:
        about = manifest["metadata"]
        assert about["labels"] == {"team": "a", LABEL: "qwen"}
        if manifest["kind"] == "PersistentVolume":
            assert "namespace" not in about and "ownerReferences" not in about
        else:
            assert about["namespace"] == "public" and about["ownerReferences"] == [owner]


def test_no_owner_and_no_namespace_where_they_are_not_known():
    for manifest in made(dataset(namespace="")):
        assert not {"ownerReferences", "namespace"} & manifest["metadata"].keys()


def test_annotations_go_to_claim_and_job_but_what_kubectl_applied():
    noted = {"site": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert [m["metadata"]["annotations"] for m in made(dataset(annotations=noted))] == [{"site": "a"}] * 2


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


# The Job


def test_job_in_full():
    found = job(dataset(uid=0, gid=7, mode="0750", path="/models/qwen", options={"exclude": "*.bin"}, secret="keys"))
    pod, container = found["spec"]["template"]["spec"], found["spec"]["template"]["spec"]["containers"][0]
    assert found["metadata"]["name"] == "dataset-qwen-round-1"
    assert container["args"] == [
        "HTTP",
        "http://files.example.com/qwen/",
        "--options=exclude=*.bin",
        "--mount-path=/models/qwen",
        "--mount-mode=0750",
        "--mount-uid=0",
        "--mount-gid=7",
        "--mount-root=/baize/dataset/data",
    ]
    assert container["image"] == "ghcr.io/dsload/dsload:latest" and "command" not in container
    assert container["env"] == [{"name": "DSLOAD_REPORT_FILE", "value": "/dev/termination-log"}]
    assert container["volumeMounts"] == [
        {"name": "dataset-pvc", "mountPath": "/baize/dataset/data"},
        {"name": "dataset-secret", "mountPath": "/run/dataset/secrets", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    assert pod["volumes"] == [
        {"name": "dataset-pvc", "persistentVolumeClaim": {"claimName": "qwen"}},
        {"name": "dataset-secret", "secret": {"secretName": "keys"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert (pod["restartPolicy"], found["spec"]["backoffLimit"]) == ("Never", 4)
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert found["spec"]["template"]["metadata"] == {"labels": {LABEL: "qwen"}}
    assert not {"resources", "command"} & container.keys()
    assert "ttlSecondsAfterFinished" not in found["spec"]


def test_defaults_of_mount_options():
    assert loader(dataset())["args"][2:] == [
        "--mount-path=/", "--mount-mode=0774", "--mount-uid=1000", "--mount-gid=1000",
        "--mount-root=/baize/dataset/data",
    ]  # fmt: skip


def test_pod_failure_policy_follows_the_exit_codes_of_the_docs():
    text = (golden.EXAMPLES.parent / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    helps = {int(code): word for codes, word in re.findall(r"^\| ([\d, ]+) \|.*\| (\w*) \|$", text, re.MULTILINE)
             for code in codes.split(",")}  # fmt: skip
    ignore, fail = job(dataset())["spec"]["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"]["values"] == [code for code, word in helps.items() if word == "no"]


def test_round_and_its_override():
    assert job(dataset(round=3))["metadata"]["name"] == "dataset-qwen-round-3"
    assert job(dataset(round=3), round=4)["metadata"]["name"] == "dataset-qwen-round-4"


def test_resources_are_the_datasets_else_the_job_specs():
    own = {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}}
    spec = {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}}}
    assert loader(dataset(resources=own))["resources"] == own
    assert loader(dataset(resources=own), job_spec=spec)["resources"] == own
    assert loader(dataset(), job_spec=spec)["resources"] == {"limits": {"cpu": "1"}}


# The partial JobSpec


def test_job_spec_of_the_original_operator_is_taken():
    text = """
        backoffLimit: 4
        completionMode: NonIndexed
        completions: 1
        parallelism: 1
        template:
          spec:
            restartPolicy: Never
            securityContext:
              runAsUser: 0
            containers:
              - image: registry.example.com/data-loader:v1
                command: [/usr/local/bin/data-loader]
                resources: {requests: {cpu: 100m}, limits: {memory: 2000Mi}}
    """
    found = job(dataset(), job_spec=read_job_spec(text, "job.yaml"))
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("dataset-loader", "registry.example.com/data-loader:v1")
    assert container["command"] == ["/usr/local/bin/data-loader"]
    assert container["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "2000Mi"}}
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert found["spec"]["completionMode"] == "NonIndexed"
    assert loader(dataset(), job_spec=read_job_spec(text, "job.yaml"), image="mine:1")["image"] == "mine:1"


def test_job_spec_adds_to_what_the_dataset_needs():
    own = {
        "name": "dataset-loader",
        "args": ["lost"],
        "env": [{"name": "HTTPS_PROXY", "value": "http://p"}, {"name": "DSLOAD_REPORT_FILE", "value": "/tmp/r"}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        "securityContext": {"capabilities": {"add": ["CHOWN"]}, "runAsUser": None},
    }
    pod = {
        "nodeSelector": {"disk": "ssd"},
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
        "containers": [{"name": "mesh", "image": "mesh:1"}, own],
    }
    found = job(dataset(), job_spec={"backoffLimit": 9, "podFailurePolicy": None, "template": {"spec": pod}})
    spec = found["spec"]["template"]["spec"]
    container, mesh = spec["containers"]
    assert found["spec"]["backoffLimit"] == 9 and "podFailurePolicy" not in found["spec"]
    assert spec["nodeSelector"] == {"disk": "ssd"} and mesh == {"name": "mesh", "image": "mesh:1"}
    assert [item["name"] for item in spec["volumes"]] == ["scratch", "dataset-pvc"]
    assert [item["mountPath"] for item in container["volumeMounts"]] == ["/tmp", "/baize/dataset/data"]
    assert container["args"][0] == "HTTP"
    assert container["env"] == own["env"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
    assert "runAsUser" not in container["securityContext"]
    assert len(pod["containers"]) == 2 and own["args"] == ["lost"]  # what was given is left alone


def test_job_spec_cannot_restart_in_place_and_fail_by_exit_code():
    spec: dict[str, Any] = {"template": {"spec": {"restartPolicy": "OnFailure"}}}
    with pytest.raises(UsageError, match="restartPolicy is OnFailure, but podFailurePolicy requires Never"):
        job(dataset(), job_spec=spec)
    assert job(dataset(), job_spec={**spec, "podFailurePolicy": None})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one map"),
        ("- a", "not one map"),
        ("a: 1\n---\nb: 1", "not one map"),
        ("kind: Job\nspec: {}", "an object, not a JobSpec"),
        ("template: 7", "template is not a map"),
        ("template: {spec: }", "template.spec is not a map"),
        ("template: {spec: {containers: {}}}", "not a list of maps"),
        ("template: {spec: {containers: [a]}}", "not a list of maps"),
    ],
)
def test_a_job_spec_that_is_none_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        read_job_spec(text, "job.yaml")


def test_merged():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": 2}
    assert merged(base, {"a": {"c": [3], "x": None}, "d": None, "f": {"g": {"h": 1, "i": None}}}) == {
        "a": {"b": 1, "c": [3]}, "e": 2, "f": {"g": {"h": 1}},
    }  # fmt: skip


# CONDA


def test_conda_files_are_a_config_map():
    options = {"condaEnvironmentYml": "name: env\n", "requirements.txt": "torch\n", "pythonVersion": "3.11"}
    claimed, configured, of_job = made(dataset("CONDA", "conda://env", options=options))
    pod = of_job["spec"]["template"]["spec"]
    assert claimed["kind"] == "PersistentVolumeClaim"
    assert configured["metadata"]["name"] == "dataset-qwen-config"
    assert configured["data"] == {"environment.yaml": "name: env\n", "requirements.txt": "torch\n"}
    assert [a for a in pod["containers"][0]["args"] if "--options" in a] == ["--options=pythonVersion=3.11"]
    assert {"name": "dataset-config-conda", "configMap": {"name": "dataset-qwen-config"}} in pod["volumes"]
    mount = {"name": "dataset-config-conda", "mountPath": "/run/dataset/conda", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]


def test_conda_gpu_as_the_requests_alone_have_it():
    two = {"requests": {"nvidia.com/gpu": "2"}}
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": "nvidia-gpu"}, resources=two))
    assert container["resources"] == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}


def test_a_conda_lock_is_a_file_too():
    """An argument may be 128 KiB long, and a lock is longer."""
    text = "version: 7\nplatforms: []\n"
    _, configured, of_job = made(dataset("CONDA", "conda://env", options={"lock": text}))
    assert configured["data"] == {"conda.lock": text}
    (container,) = of_job["spec"]["template"]["spec"]["containers"]
    assert "--options=lock=/run/dataset/conda/conda.lock" in container["args"]
    path = {"lock": "/mnt/locks/conda.lock"}
    assert kinds(made(dataset("CONDA", "conda://env", options=path))) == ["PersistentVolumeClaim", "Job"]
    assert "--options=lock=/mnt/locks/conda.lock" in loader(dataset("CONDA", "conda://env", options=path))["args"]


@pytest.mark.parametrize(
    ("text", "path"),
    [("environment.yaml", "condaEnvironmentYmlPath"), ("pipRequirementsTxt", "pipRequirementsTxtPath")],
)
def test_a_conda_text_goes_before_a_path_in_the_job_as_in_a_load(text, path):
    container = loader(dataset("CONDA", "conda://env", options={text: "name: env\n", path: "/elsewhere"}))
    assert not any("--options" in argument for argument in container["args"])
    alone = loader(dataset("CONDA", "conda://env", options={path: "/elsewhere"}))
    assert f"--options={path}=/elsewhere" in alone["args"]


def test_conda_without_files_has_no_config_map():
    options = {"environment.yaml": " \n", "pythonVersion": "3.11"}
    assert kinds(made(dataset("CONDA", "conda://env", options=options))) == ["PersistentVolumeClaim", "Job"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("nvidia-gpu", {"nvidia.com/gpu": "1"}),
        ("nvidia-vgpu", {"nvidia.com/vgpu": "1", "nvidia.com/gpumem": "500"}),
        ("metax-gpu", {"metax-tech.com/gpu": "1"}),
    ],
)
def test_conda_gpu(kind, asked):
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": kind}, resources={"limits": {"cpu": "4"}}))
    assert container["resources"] == {"requests": asked, "limits": {"cpu": "4", **asked}}
    assert not any("gpuType" in argument for argument in container["args"])


def test_conda_gpu_as_the_resources_have_it_and_an_unknown_one():
    two = {"limits": {"nvidia.com/gpu": "2"}}
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": "nvidia-gpu"}, resources=two))
    assert container["resources"] == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
    of_uri = loader(dataset("CONDA", "conda://env?gpuType=nvidia-gpu"))
    assert of_uri["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    with pytest.raises(UsageError, match="gpuType: 'amd' is not one of nvidia-gpu, nvidia-vgpu, metax-gpu"):
        loader(dataset("CONDA", "conda://env", options={"gpuType": "amd"}))


@pytest.mark.parametrize(
    ("uri", "options", "place"),
    [
        ("conda://env", {}, CONDA_PREFIX_DIR),
        ("conda://env", {"condaPrefixDir": ""}, CONDA_PREFIX_DIR),
        ("conda://env", {"condaPrefixDir": "/srv/envs"}, "/srv/envs"),
        ("conda://env", {"condaPrefixDir": "/srv/./envs/"}, "/srv/envs"),
        ("conda://env?condaPrefixDir=/srv/envs", {}, "/srv/envs"),
        ("conda://env?condaPrefixDir=/srv/envs", {"condaPrefixDir": "/mnt"}, "/mnt"),
    ],
)
def test_conda_can_write_where_its_prefix_is(uri, options, place):
    what = dataset("CONDA", uri, options=options)
    assert scratch(what) == {"dataset-conda-prefix": place, "tmp": "/tmp"}
    given_options = [f"--options={key}={value}" for key, value in options.items()]
    assert [argument for argument in loader(what)["args"] if "--options" in argument] == given_options


@pytest.mark.parametrize("mounted", ["/srv/envs", "/srv/envs/"])
def test_conda_takes_the_place_that_the_job_spec_has(mounted):
    own = {"volumeMounts": [{"name": "disk", "mountPath": mounted}, {"name": "disk", "mountPath": "/tmp/"}]}
    pod = {"volumes": [{"name": "disk", "hostPath": {"path": "/disk"}}], "containers": [own]}
    what = dataset("CONDA", "conda://env", options={"condaPrefixDir": "/srv/envs"})
    assert scratch(what, job_spec={"template": {"spec": pod}}) == {}
    other = dataset("CONDA", "conda://env")
    assert scratch(other, job_spec={"template": {"spec": pod}}) == {"dataset-conda-prefix": CONDA_PREFIX_DIR}


def test_conda_with_its_prefix_in_what_is_mounted_anyway():
    in_tmp, in_volume = ({"condaPrefixDir": place} for place in ("/tmp", "/baize/dataset/data"))
    assert [*scratch(dataset("CONDA", "conda://env", options=in_tmp)).values()] == ["/tmp"]
    assert scratch(dataset("CONDA", "conda://env", options=in_volume)) == {"tmp": "/tmp"}


def test_other_types_have_no_prefix():
    assert scratch(dataset()) == {"tmp": "/tmp"}
    assert scratch(dataset(options={"condaPrefixDir": "a header"})) == {"tmp": "/tmp"}


@pytest.mark.parametrize("place", ["envs", "./envs", "~/envs", " /envs", "/my envs", "/a/../b", "/", "//", "/."])
def test_a_prefix_that_is_no_plain_absolute_path_is_refused(place):
    with pytest.raises(UsageError) as caught:
        made(dataset("CONDA", "conda://env", options={"condaPrefixDir": place}))
    assert "condaPrefixDir" in str(caught.value)


# Shards


def test_shards_are_an_indexed_job():
    found = job(dataset(), shards=4)
    spec = found["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["backoffLimitPerIndex"] == 4 and "backoffLimit" not in spec
    env = {variable["name"]: variable for variable in spec["template"]["spec"]["containers"][0]["env"]}
    assert env["DSLOAD_SHARDS"] == {"name": "DSLOAD_SHARDS", "value": "4"}
    path = env["DSLOAD_ROUND"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.labels['batch.kubernetes.io/controller-uid']"


def test_shards_of_the_annotation_and_the_job_spec():
    noted = dataset(annotations={"dsload.io/shards": "3"})
    assert job(noted)["spec"]["completions"] == 3
    assert job(noted, shards=2)["spec"]["completions"] == 2
    assert "completions" not in job(noted, shards=1)["spec"]
    given_spec = {"backoffLimit": 9, "completionMode": "NonIndexed", "completions": 1, "parallelism": 1}
    spec = job(noted, job_spec=given_spec)["spec"]
    assert (spec["backoffLimitPerIndex"], spec["completionMode"], spec["parallelism"]) == (9, "Indexed", 3)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "", "10001", "²"])
def test_a_wrong_annotation_of_shards_is_refused(text):
    with pytest.raises(UsageError, match=r"annotation dsload.io/shards is .*, not a number from 1 to 10000"):
        job(dataset(annotations={"dsload.io/shards": text}))


@pytest.mark.parametrize(
    ("type", "fields", "whole"),
    [
        ("GIT", {"uri": "https://git.example.com/a/b.git", "options": {"keepGit": "true"}}, "GIT with keepGit"),
        ("GIT", {"uri": "https://git.example.com/a/b.git", "options": {"keepGit": "Yes"}}, "GIT with keepGit"),
        ("CONDA", CONDA, "CONDA"),
    ],
)
def test_what_one_pod_loads_has_no_shards(type, fields, whole):
    what = dataset(type, **fields)
    assert job(what, shards=1)
    with pytest.raises(
        UsageError, match=f": {whole} is loaded by one pod and cannot be split into 2 shards; use 1 shard"
    ):
        job(what, shards=2)


def test_what_several_pods_load_or_none_has_shards():
    assert job(dataset("GIT", "https://git.example.com/a/b.git", options={"keepGit": "false"}), shards=2)
    assert made(dataset("NFS", "nfs://host/a"), shards=2)


@pytest.mark.parametrize("shards", [2, 10, 11, 10_000])
@pytest.mark.parametrize("name", ["qwen", "qwen2.5", "q" * 253])
def test_pods_of_shards_have_names_that_are_host_names(name, shards):
    found = job(dataset(name=name), shards=shards)["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", f"{found}-{shards - 1}")


# Names


def test_names_are_cut_and_end_in_a_hash():
    assert bounded("a" * 63, 63) == "a" * 63
    cut = bounded("a" * 64, 63)
    assert len(cut) == 63 and re.fullmatch("a{54}-[0-9a-f]{8}", cut)
    assert bounded("a" * 64, 63) != bounded("a" * 65, 63)
    assert bounded("a" * 50 + "." * 30, 63)[:51] == "a" * 50 + "-"
    rounds = {job(dataset(name="q" * 100, round=number))["metadata"]["name"] for number in range(1, 12)}
    assert len(rounds) == 11


def test_names_at_the_limits():
    long = "n" * 253
    what = dataset("CONDA", **CONDA, name=long, labels={"team": "t" * 70})
    claimed, configured, of_job = made(what)
    assert claimed["metadata"]["name"] == long
    assert len(configured["metadata"]["name"]) == 253 and len(of_job["metadata"]["name"]) == 63
    assert {len(value) for value in claimed["metadata"]["labels"].values()} == {63}
    assert len(made(dataset("NFS", "nfs://h/a", name=long))[0]["metadata"]["name"]) == 253


def test_two_datasets_that_make_the_same_object_are_refused():
    with pytest.raises(UsageError, match=r"b.yaml: PersistentVolumeClaim qwen is already made for a.yaml"):
        all_manifests([dataset(where="a.yaml"), dataset(where="b.yaml")], ManifestSettings(), Cluster())
    assert all_manifests([dataset(), dataset(namespace="other")], ManifestSettings(), Cluster())


# The arguments


@given(st.dictionaries(KEYS, VALUES, max_size=4), VALUES)
def test_the_loader_reads_the_options_of_the_dataset(options, path):
    what = dataset(uri="http://host/a b/$(X)?q=$$", options=options, path=path)
    try:
        arguments = manifests(what, ManifestSettings(), Cluster())[-1]["spec"]["template"]["spec"]["containers"][0][
            "args"
        ]
    except UsageError as error:  # the one text that Go quotes cannot tell from a quoted one
        assert "cannot be passed to the loader" in str(error)
        assert any(re.fullmatch(r'"\S*\\\S*"', value) for value in options.values())
        return
    taken = read_back(arguments)
    assert taken["source"] == ("HTTP", what.uri)
    assert merge_options(map(parse_option, taken["options"])) == options
    assert (taken["mount_path"], taken["mount_root"]) == (path, "/baize/dataset/data")
    assert (taken["mount_mode"], taken["mount_uid"], taken["mount_gid"]) == (0o774, 1000, 1000)


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        ("a", "a"),
        ("a b", '"a b"'),
        ('"a b"', r'"\"a b\""'),
        ('"a"', '"a"'),
        ("x\ny", r'"x\ny"'),
        ("a\\", "a\\"),
        ("a b\\", r'"a b\\"'),
        ("k=v", "k=v"),
        ("$(HOME) $", '"$$(HOME) $$"'),
        ("é ü", '"é ü"'),
        ("\x01 \u2028 \U000e0001", r'"\x01 \u2028 \U000e0001"'),
    ],
)
def test_options_are_quoted_as_go_does(value, argument):
    assert loader(dataset(options={"k": value}))["args"][2] == f"--options=k={argument}"


@pytest.mark.parametrize(
    "options", [{"a=b": "c"}, {" a": "b"}, {"": "b"}, {"a": "b\0"}, {"a": "\ud800"}, {"a": r'"b\tc"'}]
)
def test_what_no_command_line_can_say_is_refused(options):
    with pytest.raises(UsageError, match=r"cannot be passed to the loader|which a command line cannot carry"):
        manifests(dataset(options=options), ManifestSettings(), Cluster())


def test_a_refused_value_stays_out_of_the_message():
    for options in ({"Authorization": r'"Bearer\thush"'}, {"Authorization": "Bearer-hush\0"}):
        with pytest.raises(UsageError) as caught:
            manifests(dataset(options=options), ManifestSettings(), Cluster())
        assert "hush" not in str(caught.value)


@given(VALUES)
def test_go_quotes_hold_every_text(value):
    assert parse_option(f"k={go_quoted(value + ' ')}") == ("k", value + " ")


@given(
    st.sampled_from(["HTTP", "S3", "CONDA", "NFS", "MANUAL"]),
    NAMES,
    st.dictionaries(LABEL_KEYS, LABEL_VALUES, max_size=4),
    st.dictionaries(LABEL_KEYS, VALUES, max_size=3),
    st.dictionaries(KEYS, VALUES.filter(lambda text: not re.fullmatch(r'"\S*\\\S*"', text)), max_size=3),
    st.sampled_from([1, 2, 300]),
)
def test_whatever_is_made_is_valid_and_the_same_after_yaml(type, name, labels, annotations, options, shards):
    uri = {"HTTP": "http://h/", "S3": "s3://b", "CONDA": "conda://e", "NFS": "nfs://h/p", "MANUAL": "manual://"}[type]
    annotations.pop("dsload.io/shards", None)
    if type == "CONDA":  # which knows its options
        options = dict(zip(("requirements.txt", "pipIndexUrl", "pythonVersion"), options.values(), strict=False))
    if type == "HTTP":  # whose options are header lines
        options = {key: value for key, value in options.items() if not set(value) & set("\r\n")}
    what = dataset(type, uri, name=name, labels=labels, annotations=annotations, options=options, object_uid=UID)
    found = made(what, shards=shards if type == "HTTP" else None)
    assert all(manifest["metadata"]["labels"][LABEL] == bounded(name, 63) for manifest in found)


def test_yaml_is_for_people_and_for_kubectl():
    shown = to_yaml([{"b": ["y", "1e3", "0o17", "100Ti", "4.1", "x" * 300 + " y"], "a": "one\ntwo\n", "t": "a\u2028b"}])
    assert shown == (
        "b:\n- 'y'\n- '1e3'\n- '0o17'\n- 100Ti\n- '4.1'\n- " + "x" * 300 + ' y\na: |\n  one\n  two\nt: "a\\Lb"\n'
    )
    same = {"k": "v"}
    assert to_yaml([{"a": same, "b": same}]) == "a:\n  k: v\nb:\n  k: v\n"
    assert to_yaml([same, same]) == "k: v\n---\nk: v\n"
    assert to_yaml([]) == ""


# Examples and a run


@pytest.mark.parametrize("name", golden.names())
def test_golden_file(name):
    made_now = golden.made(name)
    for manifest in yaml.safe_load_all(made_now):
        valid(manifest)
    fix = "run python -m tests.k8s.golden, and read what it changes"
    assert (golden.GOLDEN / name).read_text(encoding="utf-8") == made_now, fix


def test_golden_files_are_those_of_the_examples():
    assert sorted(path.name for path in golden.GOLDEN.glob("*.yaml")) == golden.names()


def test_the_job_runs(fault: FaultServer, tmp_path: Path):
    fault.put("/model/config.json", b"{}")
    fault.put("/model/weights.bin", bytes(100_000))
    fault.put("/model/readme.md", b"no")
    root = os.geteuid() == 0
    owner = (1234, 2345) if root else (os.geteuid(), os.getegid())
    text = f"""
        apiVersion: dataset.baizeai.io/v1alpha1
        kind: Dataset
        metadata: {{name: model, namespace: public}}
        spec:
          source:
            type: HTTP
            uri: {fault.url}/model/
            options: {{exclude: "*.md\\n*.txt", X-Note: 'say "a b" = $(HOME) $$'}}
          mountOptions: {{path: /models/qwen, mode: "0640", uid: {owner[0]}, gid: {owner[1]}}}
    """
    (what,) = parse_all(read_documents(text, "d.yaml"))
    container = loader(what)
    moved = {"/baize/dataset/data": str(tmp_path / "volume"), "/dev/termination-log": str(tmp_path / "report")}
    (tmp_path / "volume").mkdir()
    arguments = [expanded(a) for a in container["args"] if not a.startswith("--mount-root=")]
    env = {variable["name"]: moved.get(variable["value"], variable["value"]) for variable in container["env"]}
    done = command.run(
        *arguments, f"--mount-root={moved['/baize/dataset/data']}", script="data-loader", env=env, cwd=tmp_path
    )
    assert done.code == 0, done.err
    target = tmp_path / "volume" / "models" / "qwen"
    assert sorted(path.name for path in target.iterdir()) == [".dsload", "config.json", "weights.bin"]
    status = (target / "weights.bin").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (*owner, 0o640)
    assert json.loads((tmp_path / "report").read_text())["files"]["loaded"] == 2
    assert {request.headers.get("x-note") for request in fault.requests()} == {'say "a b" = $(HOME) $$'}
    assert command.run(*arguments, f"--mount-root={tmp_path / 'volume'}", "--shard=0/1", script="data-loader").code == 0
