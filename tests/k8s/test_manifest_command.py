"""dsload manifest, crd and convert as commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import Result, run
from tests.k8s.datasets import claim, namespace, source_dataset, valid, volume

HTTP = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: NAME, namespace: public}
spec: {source: {type: HTTP, uri: "http://host/NAME/"}}
"""
REFERENCE = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: mine, namespace: chat}
spec: {source: {type: REFERENCE, uri: "dataset://public/qwen"}}
"""
MODEL = """\
apiVersion: model.hydra.io/v1alpha1
kind: ModelSpec
metadata: {name: qwen2-0.5b-instruct}
spec: {source: {huggingface: {name: Qwen/Qwen2-0.5B-Instruct}}}
"""


def names(result: Result) -> list[str]:
    assert result.code == 0, result.err
    assert result.err == ""
    return [f"{item['kind']}/{item['metadata']['name']}" for item in yaml.safe_load_all(result.out)]


def refused(result: Result, *words: str) -> None:
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    for word in words:
        assert word in result.errors[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two Datasets in YAML, one in JSON, and a file that is neither."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.yml").write_text(HTTP.replace("NAME", "b"))
    (tmp_path / "in" / "a.yaml").write_text(HTTP.replace("NAME", "a1") + "---\n" + HTTP.replace("NAME", "a2"))
    (tmp_path / "in" / "c.json").write_text(json.dumps(yaml.safe_load(HTTP.replace("NAME", "c"))))
    (tmp_path / "in" / "readme.md").write_text("# none")
    return tmp_path / "in"


def test_files_folders_and_standard_input(folder):
    def of(*datasets: str) -> list[str]:
        return [f"{kind}{name}{end}" for name in datasets
                for kind, end in (("PersistentVolumeClaim/", ""), ("Job/dataset-", "-round-1"))]  # fmt: skip

    assert names(run("manifest", "-f", folder)) == of("a1", "a2", "b", "c")
    assert names(run("manifest", "-f", folder / "b.yml", "-f", folder / "a.yaml")) == of("b", "a1", "a2")
    assert names(run("manifest", "-f", "-", stdin=HTTP.replace("NAME", "s"))) == of("s")
    as_list = json.dumps({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(HTTP.replace("NAME", "s"))]})
    assert names(run("manifest", "-f", "-", stdin=as_list)) == of("s")
    assert names(run("manifest", env={"DSLOAD_FILE": str(folder / "b.yml")})) == of("b")


def test_output_as_json_and_flags(folder, tmp_path):
    (tmp_path / "job.yaml").write_text("template: {spec: {nodeSelector: {disk: ssd}}}")
    flags = ("--image", "mine:1", "--round", 7, "--shards", 3, "--job-spec", tmp_path / "job.yaml", "--output", "json")
    result = run("manifest", "-f", folder / "b.yml", *flags)
    assert (result.json["apiVersion"], result.json["kind"]) == ("v1", "List")
    _, job = map(valid, result.json["items"])
    assert job["metadata"]["name"] == "dataset-b-round-7"
    assert job["spec"]["completions"] == 3
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"


def test_nfs_version():
    text = HTTP.replace("NAME", "a").replace("HTTP", "NFS").replace("http://", "nfs://")
    (volume_made, _) = yaml.safe_load_all(run("manifest", "-f", "-", "--nfs-version", "3", stdin=text).out)
    assert volume_made["spec"]["mountOptions"] == ["nfsvers=3"]
    refused(run("manifest", "-f", "-", "--nfs-version", "5", stdin=text), "'5' is not one of '3', '4.0', '4.1', '4.2'")


def write(path: Path, *objects: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(objects))
    return path


def test_context_in_files_and_folders(tmp_path):
    (tmp_path / "context").mkdir()
    write(tmp_path / "context" / "public.yaml", {"apiVersion": "v1", "kind": "List", "items": [claim(), volume()]})
    write(tmp_path / "context" / "ns.yml", namespace("chat", env="prod"))
    source = write(tmp_path / "source.yaml", source_dataset(selector={"matchLabels": {"env": "prod"}}))
    given = ("manifest", "-f", "-", "--context", tmp_path / "context")
    made = names(run(*given, "--context", source, stdin=REFERENCE))
    assert [name.split("/")[0] for name in made] == ["PersistentVolume", "PersistentVolumeClaim"]
    refused(run(*given, stdin=REFERENCE), "Dataset public/qwen", "kubectl get -o yaml dataset qwen -n public")


def test_a_reference_to_a_dataset_of_the_same_files(tmp_path):
    write(tmp_path / "volume.yaml", claim(labels={"baize.io/dataset-name": "qwen"}), volume())
    source = write(tmp_path / "source.yaml", source_dataset())
    given = ("manifest", "-f", "-", "-f", source, "--context", tmp_path / "volume.yaml")
    assert len(names(run(*given, stdin=REFERENCE))) == 4


def test_mistakes(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(run("manifest"), "Missing option '-f'")
    refused(run("manifest", "-f", tmp_path / "none.yaml"), "none.yaml", "no such file")
    refused(run("manifest", "-f", empty), "this folder has no *.yaml, *.yml or *.json")
    refused(run("manifest", "-f", "-", stdin="kind: Secret\napiVersion: v1"), "it holds no Dataset")
    refused(run("manifest", "-f", "-", stdin=""), "it holds no Dataset")
    refused(run("manifest", "-f", folder / "b.yml", "--job-spec", folder / "a.yaml"), "a.yaml", "not one map")
    refused(run("manifest", "-f", folder / "b.yml", "-f", folder / "b.yml"), "PersistentVolumeClaim b", "already")
    refused(run("manifest", "-f", folder / "b.yml", "--round", 0), "--round")
    refused(run("manifest", "-f", folder / "b.yml", "--shards", 0), "--shards")
    wrong = HTTP.replace("HTTP", "HTTPX") + "---\n" + HTTP.replace("name: NAME", "name: NAME_")
    refused(run("manifest", "-f", "-", stdin=wrong), "document 1: spec.source.type", "document 2: metadata.name")


def test_crd():
    (definition,) = yaml.safe_load_all(run("crd").out)
    assert (definition["kind"], definition["metadata"]["name"]) == (
        "CustomResourceDefinition", "datasets.dataset.baizeai.io",
    )  # fmt: skip
    assert run("crd", "--output", "json").json["items"] == [definition]
    assert "&id" not in run("crd").out


def test_convert(tmp_path):
    (tmp_path / "metadata.yaml").write_text(MODEL)
    (made,) = yaml.safe_load_all(run("convert", tmp_path / "metadata.yaml", "--hub", "huggingface").out)
    assert (made["metadata"]["namespace"], made["spec"]["share"]) == ("public", True)
    assert made["spec"]["source"]["uri"] == "huggingface://Qwen/Qwen2-0.5B-Instruct"
    flags = ("--hub", "huggingface", "--namespace", "chat", "--no-share", "--output", "json")
    (made,) = run("convert", "-", *flags, stdin=MODEL).json["items"]
    assert (made["metadata"]["namespace"], made["spec"]["share"]) == ("chat", False)
    refused(run("convert", tmp_path / "metadata.yaml", "--hub", "modelscope"), "huggingface")
    refused(run("convert", tmp_path / "metadata.yaml"), "Missing option '--hub'")


def test_what_is_converted_is_made(tmp_path):
    converted = run("convert", "-", "--hub", "huggingface", stdin=MODEL).out
    assert names(run("manifest", "-f", "-", stdin=converted))[1].startswith("Job/dataset-qwen2-0-5b-instruct-round-1")
