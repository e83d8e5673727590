"""The preload Job of a Dataset: one container that runs data-loader on the Dataset's claim."""

import posixpath
from collections.abc import Mapping
from typing import Any

from dsload.errors import UsageError, exit_table
from dsload.fetchers.conda.spec import FILES as CONDA_FILES
from dsload.k8s import conda
from dsload.k8s.arguments import MOUNT_ROOT, loader_arguments
from dsload.k8s.cluster import Manifest
from dsload.k8s.dataset import Dataset
from dsload.k8s.job_spec import LOADER, merged
from dsload.k8s.manifest_settings import DEFAULT_IMAGE, SHARDS_ANNOTATION, ManifestSettings
from dsload.k8s.metadata import bounded, metadata, own_label
from dsload.k8s.rules import LABEL_LIMIT
from dsload.secrets import DEFAULT_DIRECTORY
from dsload.source import MOST_SHARDS

_RETRIES = 4
_NO_RETRY = [row.code for row in exit_table() if row.retry == "no"]  # exit codes that a further try would repeat


def job(dataset: Dataset, settings: ManifestSettings, claim: str) -> Manifest:
    """The Job that loads the current round of a Dataset.

    Args:
        dataset: a Dataset of a type that is loaded.
        settings: of these, image, job_spec, round and shards.
        claim: the name of the claim to fill.

    Raises:
        UsageError: a command line cannot express an option, the Job cannot mount one, only one pod can load the source,
            or job_spec contradicts the Job.
    """
    shards = shard_count(dataset, settings)
    # The host names of an Indexed Job's pods are its name and their index.
    limit = LABEL_LIMIT - len(f"-{shards - 1}") if shards > 1 else LABEL_LIMIT
    name = bounded(f"dataset-{dataset.name}-round-{settings.round or dataset.round}", limit, dots=shards == 1)
    spec = merged(_policy(dataset), settings.job_spec)
    _check(spec)
    if shards > 1:
        retries = spec.pop("backoffLimit", _RETRIES)
        spec |= {"completionMode": "Indexed", "completions": shards, "parallelism": shards}
        spec.setdefault("backoffLimitPerIndex", retries)
    pod = spec["template"]["spec"]
    loader = next(container for container in pod["containers"] if container["name"] == LOADER)
    loader["image"] = settings.image or loader["image"]
    loader["args"] = loader_arguments(dataset)
    loader["env"] = _with_variables(loader.get("env") or [], shards)
    if asked := conda.with_gpu(dataset, dataset.resources or loader.get("resources") or {}):
        loader["resources"] = asked
    _mount(dataset, claim, pod, loader)
    about = metadata(dataset, name, annotated=True)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec}


def shard_count(dataset: Dataset, settings: ManifestSettings) -> int:
    """How many pods share a load. Raises UsageError for a bad annotation, or several pods for a load that needs one."""
    text = str(settings.shards or dataset.annotations.get(SHARDS_ANNOTATION, 1))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_SHARDS):
        why = f"annotation {SHARDS_ANNOTATION} is {text!r}, not a number from 1 to {MOST_SHARDS}"
        raise UsageError("making the manifests of", dataset.where, why)
    if int(text) > 1 and (whole := dataset.source().undivided):
        why = f"{whole} is loaded by one pod and cannot be split into {text} shards"
        raise UsageError("making the manifests of", dataset.where, why, "use 1 shard")
    return int(text)


def _policy(dataset: Dataset) -> dict[str, Any]:
    """The spec of a Job, before job_spec is merged into it."""
    return {
        "backoffLimit": _RETRIES,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": LOADER, "operator": "In", "values": [*_NO_RETRY]},
                },
            ]
        },
        "template": {
            # The pods do not get the Dataset's own labels, since a Service may select by them.
            "metadata": {"labels": own_label(dataset)},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "containers": [
                    {
                        "name": LOADER,
                        "image": DEFAULT_IMAGE,
                        "securityContext": _security(),
                        # a loader that is killed writes no report
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                    }
                ],
            },
        },
    }


def _check(spec: Mapping[str, Any]) -> None:
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy != "Never" and "podFailurePolicy" in spec:
        why = f"restartPolicy is {policy}, but podFailurePolicy requires Never"
        raise UsageError("reading", "the job_spec", why, "remove restartPolicy, or set podFailurePolicy: null")


def _security() -> dict[str, Any]:
    return {
        "runAsUser": 0,  # to chown files to other users
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _with_variables(given: list[dict[str, Any]], shards: int) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [{"name": "DSLOAD_REPORT_FILE", "value": "/dev/termination-log"}]
    if shards > 1:
        run = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}
        own += [{"name": "DSLOAD_SHARDS", "value": str(shards)}, {"name": "DSLOAD_ROUND", "valueFrom": run}]
    names = {variable.get("name") for variable in given}
    return [*given, *(variable for variable in own if variable["name"] not in names)]


def _mount(dataset: Dataset, claim: str, pod: dict[str, Any], loader: dict[str, Any]) -> None:
    """Add the Dataset's volumes to those of job_spec."""
    volumes, mounts = list(pod.get("volumes") or []), list(loader.get("volumeMounts") or [])

    def add(name: str, path: str, source: dict[str, Any], **more: Any) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path, **more})

    def add_scratch(name: str, path: str) -> None:
        if not any(posixpath.normpath(str(mount.get("mountPath"))) == path for mount in mounts):
            add(name, path, {"emptyDir": {}})

    sub_path = (dataset.claim_ref or {}).get("subPath")
    in_claim = {"subPath": sub_path} if sub_path else {}
    add("dataset-pvc", MOUNT_ROOT, {"persistentVolumeClaim": {"claimName": claim}}, **in_claim)
    if dataset.secret:
        add("dataset-secret", DEFAULT_DIRECTORY, {"secret": {"secretName": dataset.secret}}, readOnly=True)
    if conda.files(dataset):
        source = {"configMap": {"name": conda.config_map_name(dataset)}}
        add("dataset-config-conda", CONDA_FILES, source, readOnly=True)
    if prefix := conda.prefix_directory(dataset):
        add_scratch("dataset-conda-prefix", prefix)
    add_scratch("tmp", "/tmp")  # noqa: S108
    pod["volumes"], loader["volumeMounts"] = volumes, mounts
