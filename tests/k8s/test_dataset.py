"""Datasets read from YAML: what is taken, and that nothing is lost."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsload.k8s.dataset import Dataset
from dsload.k8s.parsing import parse_dataset
from tests.k8s.reading import SHORT, parse

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "datasets").glob("*.yaml"))
HEAD = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata:
  labels:
    hydra.io/model-id: "qwen2-0.5b-instruct"
  name: qwen2-5-0-5b-instruct
  namespace: {namespace}
spec:
"""
# The Datasets of the platform's guide, whose text form lost some of the indentation
GUIDE = {
    "huggingface": """\
  share: true
  source:
    options:
      repoType: MODEL
    type: HUGGING_FACE
    uri: huggingface://Qwen/Qwen2.5-0.5B-Instruct
""",
    "modelscope": """\
  share: true
  source:
    options:
      repoType: MODEL
    type: MODEL_SCOPE
    uri: modelscope://Qwen/Qwen2.5-0.5B-Instruct
""",
    "git": """\
  share: true
  source:
    options:
      repoType: MODEL
    type: GIT
    uri: git://www.modelscope.cn/Qwen/Qwen2.5-0.5B-Instruct.git
  secretRef: qwen-git-secret
""",
    "nfs": """\
  share: true
  source:
    type: NFS
    uri: nfs://192.168.1.11/dataset/Qwen/Qwen2.5-0.5B-Instruct
""",
    "s3": """\
  share: true
  source:
    type: S3
    uri: s3://minio-svc/dataset/Qwen/Qwen2.5-0.5B-Instruct
  secretRef: minio-accesskey
""",
    "pvc": """\
  share: true
  source:
    type: PVC
    uri: pvc://your-pvc-name/path/to/model
""",
    "reference": """\
  source:
    type: REFERENCE
    uri: dataset://public/qwen2-5-0-5b-instruct
""",
    "everything": """\
  share: true
  shareToNamespaceSelector:
    matchExpressions:
      - key: env
        operator: In
        values: ["prod", "test"]
    matchLabels:
      region: sh-cn
  dataSyncRound: 1
  source:
    options:
      repoType: MODEL
    type: MODEL_SCOPE
    uri: modelscope://Qwen/Qwen2.5-0.5B-Instruct
  secretRef: secret-name
  mountOptions:
    path: /data
    mode: "0774"
    uid: 1000
    gid: 1000
  volumeClaimTemplate: {}
""",
}


def guide(name: str) -> str:
    return HEAD.format(namespace="another-namepsace" if name == "reference" else "public") + GUIDE[name]


@pytest.mark.parametrize("name", GUIDE)
def test_the_guide_of_the_platform(name: str) -> None:
    [dataset] = parse(guide(name))
    assert (dataset.name, dataset.labels) == ("qwen2-5-0-5b-instruct", {"hydra.io/model-id": "qwen2-0.5b-instruct"})
    assert dataset.share is (name != "reference")
    assert parse_dataset(guide(name), "datasets.yaml") == dataset


def test_the_secret_of_the_guide_is_passed_over() -> None:
    secret = "kind: Secret\ntype: Opaque\nmetadata:\n  name: qwen-git-secret\ndata:\n  username: xxx\n"
    datasets = parse(f"{secret}---\n{guide('git')}")
    assert [(dataset.secret, dataset.where) for dataset in datasets] == [
        ("qwen-git-secret", "datasets.yaml, document 2")
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples(path: Path) -> None:
    [dataset] = parse(path.read_text(), path.name)
    assert dataset.where == f"{path.name}, document 1"


def test_everything_of_the_guide() -> None:
    [dataset] = parse(guide("everything"))
    assert dataset == Dataset(
        name="qwen2-5-0-5b-instruct",
        type="MODEL_SCOPE",
        uri="modelscope://Qwen/Qwen2.5-0.5B-Instruct",
        options={"repoType": "MODEL"},
        path="/data",
        mode="0774",
        uid=1000,
        gid=1000,
        namespace="public",
        labels={"hydra.io/model-id": "qwen2-0.5b-instruct"},
        secret="secret-name",
        share=True,
        share_selector={
            "matchExpressions": [{"key": "env", "operator": "In", "values": ["prod", "test"]}],
            "matchLabels": {"region": "sh-cn"},
        },
        where="datasets.yaml, document 1",
    )


def test_defaults() -> None:
    [dataset] = parse(SHORT)
    assert dataset == Dataset(name="a", type="S3", uri="s3://bucket/a", where="datasets.yaml, document 1")
    assert (dataset.path, dataset.mode, dataset.uid, dataset.gid, dataset.round) == ("/", "0774", None, None, 1)
    assert (dataset.share, dataset.share_selector, dataset.claim_ref, dataset.claim_template) == (False, None, None, {})


def test_as_the_cluster_prints_it() -> None:
    """With what the server adds, and what the original's controller in Go writes for what is not given."""
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: dataset.baizeai.io/v1alpha1
  kind: Dataset
  metadata:
    name: a
    namespace: b
    uid: 8f14e45f-ceea-467f-a8d2-6c1d0d5e3a11
    annotations: {dsload.io/shards: "4"}
    creationTimestamp: 2024-05-01T10:00:00Z
    finalizers: [dataset.baizeai.io/finalizer]
    generation: 2
    managedFields: [{manager: kubectl}]
    resourceVersion: "12"
    ownerReferences: [{apiVersion: v1, kind: X, name: y, uid: z}]
  spec:
    dataSyncRound: 2
    mountOptions: {path: ""}
    resources: {limits: {cpu: 2, memory: 1Gi}}
    shareToNamespaceSelector: {}
    source: {type: HTTP, uri: "http://h/"}
    volumeClaimRef: {name: claim, subPath: x/y}
    volumeClaimTemplate: {metadata: {creationTimestamp: null}, spec: {resources: {}}, status: {}}
  status:
    phase: READY
    pvcName: claim
    lastSyncTime: 2024-05-01T10:00:00Z
    syncRoundStatuses: [{round: 1, jobName: j, startTime: "2024-05-01T10:00:00Z", endTime: null, succeed: true}]
"""
    [dataset] = parse(text)
    assert (dataset.object_uid, dataset.pvc_name) == ("8f14e45f-ceea-467f-a8d2-6c1d0d5e3a11", "claim")
    assert (dataset.round, dataset.path, dataset.annotations) == (2, "/", {"dsload.io/shards": "4"})
    assert dataset.claim_ref == {"name": "claim", "subPath": "x/y"}
    assert (dataset.share_selector, dataset.claim_template) == ({}, {"spec": {"resources": {}}})
    assert dataset.resources == {"limits": {"cpu": 2, "memory": "1Gi"}}
    assert dataset.where == "datasets.yaml, document 1, item 1"


# Any of them

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
SUBDOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
WORD = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True)
KEY = st.one_of(WORD, st.tuples(SUBDOMAIN, WORD).map("/".join))
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
QUANTITY = st.one_of(st.integers(0, 9999), st.from_regex(r"[0-9]{1,4}([.][0-9])?(m|Ki|Gi|T|e3)?", fullmatch=True))
RELATIVE = st.lists(WORD, min_size=1, max_size=3).map("/".join)
HEADER = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
VALUE = ANY_TEXT.filter(lambda text: not set(text) & set("\r\n\0"))
SOURCES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("HTTP"), "uri": RELATIVE.map("http://host/{}".format)},
        optional={"options": st.dictionaries(HEADER.filter(lambda key: key not in ("syncMode", "include")), VALUE)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("GIT"), "uri": RELATIVE.map("https://host/{}.git".format)},
        optional={"options": st.fixed_dictionaries({"branch": ANY_TEXT, "include": ANY_TEXT})},
    ),
    st.fixed_dictionaries({"type": st.just("PVC"), "uri": st.tuples(SUBDOMAIN, RELATIVE).map("/".join)}).map(
        lambda source: source | {"uri": f"pvc://{source['uri']}"}
    ),
    st.fixed_dictionaries(
        {"type": st.just("REFERENCE"), "uri": st.tuples(LABEL, SUBDOMAIN).map(lambda two: f"dataset://{'/'.join(two)}")}
    ),
    st.just({"type": "MANUAL", "uri": "manual://"}),
)
EXPRESSION = st.one_of(
    st.fixed_dictionaries(
        {"key": KEY, "operator": st.sampled_from(["In", "NotIn"]), "values": st.lists(WORD, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"key": KEY, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)
SELECTOR = st.fixed_dictionaries(
    {}, optional={"matchLabels": st.dictionaries(KEY, WORD), "matchExpressions": st.lists(EXPRESSION, max_size=3)}
)
AMOUNTS = st.fixed_dictionaries(
    {}, optional={"limits": st.dictionaries(KEY, QUANTITY), "requests": st.dictionaries(KEY, QUANTITY)}
)
CLAIM = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"volumeClaimRef": st.fixed_dictionaries({"name": SUBDOMAIN}, optional={"subPath": RELATIVE})}
    ),
    st.fixed_dictionaries(
        {
            "volumeClaimTemplate": st.fixed_dictionaries(
                {"metadata": st.fixed_dictionaries({"name": SUBDOMAIN})},
                optional={"spec": st.fixed_dictionaries({"storageClassName": WORD, "resources": AMOUNTS})},
            )
        }
    ),
)
SPEC = st.tuples(
    st.fixed_dictionaries(
        {"source": SOURCES},
        optional={
            "share": st.booleans(),
            "shareToNamespaceSelector": SELECTOR,
            "dataSyncRound": st.integers(1, 2**31 - 1),
            "secretRef": SUBDOMAIN,
            "mountOptions": st.fixed_dictionaries(
                {},
                optional={
                    "path": ANY_TEXT.filter(lambda path: "\0" not in path and ".." not in path),
                    "mode": st.from_regex(r"[0-7]{3,4}", fullmatch=True),
                    "uid": st.integers(0, 2**32 - 2),
                    "gid": st.integers(0, 2**32 - 2),
                },
            ),
            "resources": AMOUNTS,
        },
    ),
    CLAIM,
).map(lambda two: two[0] | two[1])
DATASETS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("dataset.baizeai.io/v1alpha1"),
        "kind": st.just("Dataset"),
        "metadata": st.fixed_dictionaries(
            {"name": SUBDOMAIN},
            optional={
                "namespace": LABEL,
                "uid": st.uuids().map(str),
                "labels": st.dictionaries(KEY, WORD),
                "annotations": st.dictionaries(KEY, ANY_TEXT),
            },
        ),
        "spec": SPEC,
    }
)


def expected(document: dict[str, Any], where: str) -> Dataset:
    metadata, spec = document["metadata"], document["spec"]
    source, mount = spec["source"], spec.get("mountOptions", {})
    return Dataset(
        name=metadata["name"],
        type=source["type"],
        uri=source["uri"],
        options=source.get("options", {}),
        path=mount.get("path") or "/",
        mode=mount.get("mode", "0774"),
        uid=mount.get("uid"),
        gid=mount.get("gid"),
        namespace=metadata.get("namespace", ""),
        object_uid=metadata.get("uid", ""),
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        secret=spec.get("secretRef", ""),
        share=spec.get("share", False),
        share_selector=spec.get("shareToNamespaceSelector"),
        round=spec.get("dataSyncRound", 1),
        claim_template=spec.get("volumeClaimTemplate", {}),
        claim_ref=spec.get("volumeClaimRef"),
        resources=spec.get("resources", {}),
        where=where,
    )


@settings(max_examples=settings().max_examples * 2)
@given(st.lists(DATASETS, min_size=1, max_size=2), st.booleans())
def test_any_dataset_comes_back(documents: list[dict[str, Any]], listed: bool) -> None:
    if listed:
        text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": documents}, sort_keys=False)
        places = [f"f, document 1, item {number}" for number in range(1, len(documents) + 1)]
    else:
        text = yaml.safe_dump_all(documents)
        places = [f"f, document {number}" for number in range(1, len(documents) + 1)]
    assert parse(text, "f") == [expected(document, where) for document, where in zip(documents, places, strict=True)]
