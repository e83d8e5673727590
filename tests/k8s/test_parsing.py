"""What is reported of a Dataset that is wrong, by the companion and by `dsload load -f`; secrets are not shown."""

import pytest

from dsload.errors import UsageError
from dsload.k8s.dataset import Dataset
from dsload.k8s.documents import read_documents
from dsload.k8s.parsing import parse_all, parse_dataset
from tests.k8s.reading import SHORT, parse, refused


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


def test_values_are_cut() -> None:
    said = refused(SHORT.replace("spec: {", f"spec: {{secretRef: {'b' * 5000}, "))
    assert f"'{'b' * 100}…' has more than 253 characters" in said


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
