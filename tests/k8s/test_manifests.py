"""Which objects are made for a Dataset, their names and text, the examples, and a run of a Job."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dsload.errors import UsageError
from dsload.k8s.cluster import Cluster
from dsload.k8s.documents import read_documents
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import all_manifests
from dsload.k8s.metadata import bounded
from dsload.k8s.parsing import parse_all
from dsload.k8s.printing import to_yaml
from tests import command
from tests.k8s import golden
from tests.k8s.datasets import KEYS, LABEL, LABEL_KEYS, LABEL_VALUES, NAMES, UID, VALUES, dataset, expanded, valid
from tests.k8s.making import CONDA, job, kinds, loader, made
from tests.servers.fault import FaultServer

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


# Any of them, as text


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
