"""The preload Job: its container, the partial JobSpec, shards."""

import re
from typing import Any

import pytest

from dsload.errors import UsageError
from dsload.k8s.job_spec import merged, read_job_spec
from tests.k8s import golden
from tests.k8s.datasets import LABEL, dataset
from tests.k8s.making import CONDA, job, loader, made

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
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]},
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
def test_what_is_not_a_job_spec_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        read_job_spec(text, "job.yaml")


def test_merged():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": 2}
    assert merged(base, {"a": {"c": [3], "x": None}, "d": None, "f": {"g": {"h": 1, "i": None}}}) == {
        "a": {"b": 1, "c": [3]}, "e": 2, "f": {"g": {"h": 1}},
    }  # fmt: skip


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
