"""Datasets read from YAML: what is taken, what is said of the rest, and that nothing is lost or shown."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsload.errors import UsageError
from dsload.k8s.dataset import Dataset
from dsload.k8s.documents import read_documents
from dsload.k8s.parsing import parse_all, parse_dataset

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
SHORT = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: a}
spec: {source: {type: S3, uri: "s3://bucket/a"}}
"""


def guide(name: str) -> str:
    return HEAD.format(namespace="another-namepsace" if name == "reference" else "public") + GUIDE[name]


def parse(text: str, where: str = "datasets.yaml") -> list[Dataset]:
    return parse_all(read_documents(text, where))


def refused(text: str, where: str = "datasets.yaml") -> str:
    with pytest.raises(UsageError) as caught:
        parse(text, where)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What is taken


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


def test_documents_are_numbered_as_people_count_them() -> None:
    text = (
        f"# nothing yet\n---\n# nothing\n---\n{SHORT}---\nkind: List\nitems:\n- kind: A\n- kind: B\n---\nkind: List\n"
    )
    assert [(where, document["kind"]) for where, document in read_documents(text, "f")] == [
        ("f, document 2", "Dataset"),
        ("f, document 3, item 1", "A"),
        ("f, document 3, item 2", "B"),
        ("f, document 4", "List"),
    ]
    assert read_documents("", "f") == read_documents("---\n", "f") == []


def test_dates_are_text_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, d: 2024-05-01}\nb: {<<: *a, x: 2}\nc: {<<: {x: 1}, x: 3}\n"
    [(_, document)] = read_documents(text, "f")
    assert (document["b"], document["c"]) == ({"x": 2, "d": "2024-05-01"}, {"x": 3})


# What is not YAML


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [\n", "line 3: expected the node content, but found '<stream end>'"),
        ("a: 1\n\tb: 2\n", "line 2: found character '\\t' that cannot start any token"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' appears twice, first in line 1"),
        ("spec:\n  {mode: x, mode: x}\n", "line 2: the key 'mode' appears twice, first in line 2"),
        ("a: 1\nb: 2024-99-99\n", "line 2: month must be in 1..12"),
        (f"a: {'9' * 5000}\n", "line 1: Exceeds the limit"),
        ("a: 1\nb: !!bool maybe\n", "line 2: 'maybe'"),
        ("a: 1\nb: !secret x\n", "line 2: could not determine a constructor"),
        ("a: 1\nb: *nowhere\n", "line 2: found undefined alias 'nowhere'"),
        ("a: 1\n? [b]\n: 1\n", "line 2: found unhashable key"),
        ("a: 1\nb: \x07\n", "line 2: special characters are not allowed"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_no_yaml(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_documents(f"kind: Fine\n---\n{text}" if "line" not in words else text, "f.yaml")
    assert str(caught.value).startswith("reading f.yaml: it is not YAML")
    assert words in str(caught.value)


def test_a_line_of_yaml_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        read_documents("password: 'hunter2-hunter2\n", "f.yaml")
    assert "hunter2" not in str(caught.value)


# What is wrong


def test_everything_that_is_wrong_is_said_with_its_document() -> None:
    text = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: Bad_Name, labels: {a b: "x", c: "y z"}, lables: {}}
spec:
  dataSyncRound: 0
  source: {type: GIT, uri: "https://host/a.git", options: {brunch: main, depth: 1, syncMode: never}}
  mountOptions: {mode: "999", path: ../x}
---
kind: ConfigMap
---
apiVersion: dataset.baizeai.io/v1beta1
kind: Dataset
metadata: {name: b}
spec: {source: {type: PVC, uri: "pvc://"}}
"""
    assert refused(text).removeprefix("reading the Datasets: ").split("; datasets.yaml, ") == [
        "datasets.yaml, document 1: metadata.name: 'Bad_Name' does not match"
        " ^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "document 1: metadata.labels.c: 'y z' does not match ^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
        "document 1: metadata.lables: unknown field, did you mean labels?",
        "document 1: spec.dataSyncRound: 0 is less than 1",
        "document 1: spec.source.options.depth: 1 is not a string, put it in quotes",
        "document 1: spec.mountOptions.mode: '999' does not match ^[0-7]{3,4}$",
        "document 1: metadata.labels: 'a b' is not a qualified name: give [PREFIX/]NAME,"
        " with a NAME of at most 63 characters",
        "document 1: spec.source.options.syncMode: 'never': 'never' is neither sync nor copy",
        "document 1: spec.source.options.brunch: 'main': GIT does not know it (its options are: branch, commit, depth,"
        " exclude, include, keepGit, lfs, repoType, submodules, syncMode)",
        "document 1: spec.mountOptions.path: '../x': the path must not contain '..', which would lead out of"
        " the volume",
        "document 3: apiVersion: 'dataset.baizeai.io/v1beta1' is not dataset.baizeai.io/v1alpha1",
        "document 3: spec.source.uri: 'pvc://': type PVC requires a URI of the form pvc://CLAIM[/PATH]",
    ]


def test_of_several_files() -> None:
    documents = [*read_documents(SHORT, "good.yaml"), *read_documents("text\n---\n[a]\n---\n{a: b}\n", "bad.yaml")]
    with pytest.raises(UsageError) as caught:
        parse_all([*documents, *read_documents("kind: 5\n---\nkind: Dataset\n", "worse.yaml")])
    assert str(caught.value) == (
        "reading the Datasets: bad.yaml, document 1: 'text' is not a Kubernetes object; "
        "bad.yaml, document 2: a list is not a Kubernetes object; bad.yaml, document 3: kind: it is missing; "
        "worse.yaml, document 1: kind: 5 is not a string; worse.yaml, document 2: apiVersion: it is missing; "
        "worse.yaml, document 2: metadata: it is missing; worse.yaml, document 2: spec: it is missing"
    )


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("{}", "metadata.name: it is missing"),
        ("{generateName: a-}", "metadata.name: it is missing"),
        ("{name: 5}", "metadata.name: 5 is not a string, put it in quotes"),
        ("{name: a..b}", "metadata.name: 'a..b' does not match"),
        ("{name: -a}", "metadata.name: '-a' does not match"),
        (f"{{name: {'a' * 254}}}", "has more than 253 characters"),
        ("{name: a, namespace: b.c}", "metadata.namespace: 'b.c' does not match"),
        ("{name: a, labels: {a: true}}", "metadata.labels.a: true is not a string, put it in quotes"),
        ("{name: a, labels: {5: a}}", "metadata.labels: the key 5 is not a string, put it in quotes"),
        ("{name: a, labels: {a/b/c: a}}", "metadata.labels: 'a/b/c' is not a qualified name"),
        (f"{{name: a, labels: {{{'a' * 64}: a}}}}", "is not a qualified name"),
        (f"{{name: a, labels: {{{'a.' * 127}a/b: a}}}}", "is not a qualified name"),
        (f"{{name: a, labels: {{a: {'a' * 64}}}}}", "has more than 63 characters"),
        ("{name: a, annotations: {a: 4}}", "metadata.annotations.a: 4 is not a string, put it in quotes"),
        ("{name: a, annotations: {/a: b}}", "metadata.annotations: '/a' is not a qualified name"),
    ],
)
def test_metadata(metadata: str, words: str) -> None:
    assert words in refused(SHORT.replace("{name: a}", metadata))


@pytest.mark.parametrize("metadata", ["{name: a.b-c}", '{name: a, namespace: ""}', "{name: a, labels: null}",
                                      "{name: a, labels: {a.b-c/D_e.f: '', x: A_b.c-d}}"])  # fmt: skip
def test_metadata_that_is_right(metadata: str) -> None:
    assert len(parse(SHORT.replace("{name: a}", metadata))) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{type: S3, uri: 's3:///a'}", "spec.source.uri: URI 's3:///a': it does not name the bucket"),
        ("{type: S3, uri: 'http://h/'}", "spec.source.uri: URI 'http://h/': S3 takes s3://"),
        ("{type: S3, uri: 's3://b/a?x=y'}", "spec.source.uri: option x: S3 does not know it (its options are: "),
        ("{type: HTTP, uri: 'http://h:x/'}", "its host or port cannot be read"),
        ("{type: GIT, uri: 's3://b/a'}", "spec.source.uri: URI 's3://b/a': GIT takes git://"),
        (
            "{type: HUGGING_FACE, uri: 'hf://a/b', options: {a: '1', b: '2'}}",
            "spec.source.options.b: '2': HUGGING_FACE",
        ),
        ("{type: HUGGING_FACE, uri: 'hf://a/b', options: {fallback: 's3://b/a'}}", "spec.source.options.fallback: "),
        ("{type: CONDA, uri: 'conda://'}", "spec.source.uri: URI 'conda://': it does not name the environment"),
        ("{type: CONDA, uri: 'http://h/env'}", "spec.source.uri: URI 'http://h/env': CONDA takes conda://"),
        ("{type: CONDA, uri: 'conda://env?pyton=3.11'}", "spec.source.uri: option pyton: CONDA does not know it"),
        (
            "{type: CONDA, uri: 'conda://env', options: {gpuType: metax-gpu, chanels: a}}",
            "spec.source.options.chanels: 'a': CONDA does not know it",
        ),
    ],
)
def test_what_a_load_would_refuse(source: str, words: str) -> None:
    assert words in refused(SHORT.replace('{type: S3, uri: "s3://bucket/a"}', source))


def test_secrets_are_not_shown() -> None:
    said = refused(
        """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: a}
spec:
  source:
    type: S3
    uri: s3://bucket/a
    options: {Authorization: "Bearer abcdef", secret-key: 12345678, x: "https://u:pass-of-bob@h/"}
---
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: a}
spec: {source: {type: S3, uri: "https://ann:pass-of-ann@h/?token=t0ken-of-ann"}}
---
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: a}
spec: {source: {type: PVC, uri: "https://ann:pass-of-ann@h/\\n"}}
"""
    )
    assert "spec.source.options.Authorization: '***': S3 does not know it" in said
    assert "spec.source.options.secret-key: *** is not a string" in said
    assert "spec.source.options.x: 'https://h/': S3 does not know it" in said
    assert "spec.source.uri: URI 'https://h/?token=***': S3 takes s3://" in said
    assert r"spec.source.uri: 'https://h/\n' does not match" in said
    for secret in ("abcdef", "12345678", "pass-of", "t0ken"):
        assert secret not in said


def test_values_are_cut_and_bombs_are_not_shown() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    said = refused(SHORT.replace("spec: {", "spec: {secretRef: *j, source: *j, share: *j, x: *j, ").replace(
        "metadata", f"{bomb}metadata").replace(', source: {type: S3, uri: "s3://bucket/a"}', ""))  # fmt: skip
    assert "spec.secretRef: a list is not a string" in said
    said = refused(SHORT.replace("spec: {", f"spec: {{secretRef: {'b' * 5000}, "))
    assert f"'{'b' * 100}…' has more than 253 characters" in said


def test_a_document_that_holds_itself() -> None:
    claim = "volumeClaimRef: {name: c}, volumeClaimTemplate: &t {status: {a: *t}}"
    [dataset] = parse(SHORT.replace("spec: {", f"spec: {{{claim}, "))
    assert dataset.claim_template == {}
    assert "spec.source: a list is not a map" in refused(SHORT.replace('{type: S3, uri: "s3://bucket/a"}', "&a [*a]"))


# `dsload load -f`


def test_a_load_takes_types_that_no_cluster_knows_and_needs_no_name() -> None:
    text = "apiVersion: dataset.baizeai.io/v1alpha1\nkind: Dataset\nspec: {source: {type: FILE, uri: file:///a}}\n"
    assert parse_dataset(text, "f") == Dataset(name="", type="FILE", uri="file:///a", where="f, document 1")
    assert "spec.source.type: 'FILE' is not GIT or S3" in refused(text)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("mountOption: {path: /x}", "spec.mountOption: unknown field, did you mean mountOptions?"),
        ("mountOptions: {paths: /x}", "spec.mountOptions.paths: unknown field, did you mean path?"),
        ("share: maybe, secretRef: A", "spec.share: 'maybe' is not true or false; spec.secretRef: 'A' does not match"),
    ],
)
def test_a_load_refuses_fields_that_it_would_not_heed(field: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_dataset(SHORT.replace("spec: {", f"spec: {{{field}, "), "f")
    assert words in str(caught.value)


def test_a_load_refuses_a_field_that_slipped_out_of_spec() -> None:
    with pytest.raises(UsageError) as caught:
        parse_dataset(SHORT + "mountOptions: {path: /x}\n", "f")
    assert str(caught.value) == "reading f: mountOptions: unknown field"


def test_a_load_shows_no_secret_either() -> None:
    source = '{type: HTTP, uri: "http://h/", options: {Authorization: 123456789}}'
    with pytest.raises(UsageError) as caught:
        parse_dataset(SHORT.replace('{type: S3, uri: "s3://bucket/a"}', source), "f")
    assert "123456789" not in str(caught.value)


def test_nulls_are_what_is_not_given() -> None:
    text = SHORT.replace("spec: {", "spec: {mountOptions: {mode: null, path: null, uid: null}, secretRef: null, ")
    assert parse_dataset(text, "datasets.yaml") == parse(text)[0] == parse(SHORT)[0]


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
