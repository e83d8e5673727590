"""What is made for a Dataset, with every manifest checked, and its parts."""

import json
from typing import Any

import yaml

from dsload.cli.main import load
from dsload.k8s.cluster import Cluster
from dsload.k8s.dataset import Dataset
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import manifests
from dsload.k8s.printing import to_json, to_yaml
from tests.k8s.datasets import expanded, valid

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
