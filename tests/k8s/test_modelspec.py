"""metadata.yaml of the model hub becomes Datasets that dsload itself reads."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dsload import Source
from dsload.errors import UsageError
from dsload.k8s.modelspec import convert
from dsload.k8s.parsing import parse_dataset

GUIDE = """\
apiVersion: model.hydra.io/v1alpha1
kind: ModelSpec
metadata:
  name: qwen2-0.5b-instruct
spec:
  descriptor:
    description:
      enUS:
        A 0.5B parameter instruction-tuned model from the Qwen2 series, suitable
        for multilingual text generation and understanding.
      zhCN: Qwen2 系列的 0.5B 参数指令微调模型，适用于多语言文本生成和理解。
    display: Qwen2-0.5B-Instruct
  source:
    huggingface:
      name: Qwen/Qwen2-0.5B-Instruct
    modelscope:
      name: Qwen/Qwen2-0.5B-Instruct
"""  # noqa: RUF001
BOTH = {"huggingface": "alpha/Model-1.0", "modelscope": "beta/model_1.0"}
LONG = "a" * 40 + "." + "b" * 40


def model(name: object = "model-1.0", **hubs: object) -> dict[str, object]:
    """A ModelSpec with the given names on hubs; by default on both."""
    source = {hub: {"name": repo} for hub, repo in (hubs or BOTH).items()}
    return {
        "apiVersion": "model.hydra.io/v1alpha1",
        "kind": "ModelSpec",
        "metadata": {"name": name},
        "spec": {"config": {"maxTokens": 4096}, "deployments": [{"runtime": "vllm", "env": []}], "source": source},
    }


def text(*documents: object) -> str:
    return yaml.safe_dump_all(documents)


def refused(content: str, hub: str = "huggingface", **more: object) -> str:
    with pytest.raises(UsageError) as caught:
        convert(content, "metadata.yaml", hub, **more)
    return str(caught.value)


def names(*models: object, hub: str = "huggingface") -> list[str]:
    return [made["metadata"]["name"] for made in convert(text(*models), "metadata.yaml", hub)]


@pytest.mark.parametrize(("hub", "type"), [("huggingface", "HUGGING_FACE"), ("modelscope", "MODEL_SCOPE")])
def test_the_guides_model_becomes_the_guides_dataset_but_for_the_version_that_it_mixes_up(hub, type):
    assert convert(GUIDE, "metadata.yaml", hub) == [
        {
            "apiVersion": "dataset.baizeai.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {
                "name": "qwen2-0-5b-instruct",
                "namespace": "public",
                "labels": {"hydra.io/model-id": "qwen2-0.5b-instruct"},
            },
            "spec": {
                "share": True,
                "source": {
                    "type": type,
                    "uri": f"{hub}://Qwen/Qwen2-0.5B-Instruct",
                    "options": {"repoType": "MODEL"},
                },
            },
        }
    ]


@pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
def test_what_is_converted_is_read_by_dsload(hub):
    (made,) = convert(text(model()), "metadata.yaml", hub)
    dataset = parse_dataset(yaml.safe_dump(made), "dataset.yaml")
    source = Source.parse(dataset.uri, dataset.type, dataset.options)
    assert (source.type, str(source)) == (made["spec"]["source"]["type"], f"{hub}://{BOTH[hub]}")
    assert Source.parse(dataset.uri).type == source.type


def test_namespace_and_share_are_as_asked_for():
    (made,) = convert(GUIDE, "metadata.yaml", "modelscope", "chat", share=False)
    assert (made["metadata"]["namespace"], made["spec"]["share"]) == ("chat", False)


@pytest.mark.parametrize("namespace", ["", "Chat", "a.b", "-a", "a-", "a" * 64, "a\n"])
def test_a_namespace_that_cannot_be_is_refused(namespace):
    assert "namespace" in refused(GUIDE, namespace=namespace)


def test_several_documents_and_empty_ones():
    content = f"---\n---\n{text(model('one'), None, model('two'))}---\n"
    assert [made["metadata"]["name"] for made in convert(content, "metadata.yaml", "huggingface")] == ["one", "two"]


def test_a_list_beside_a_document():
    listed = {"apiVersion": "v1", "kind": "List", "items": [model("one"), model("two")]}
    assert names(listed, model("three")) == ["one", "two", "three"]


def test_objects_of_other_groups_are_passed_over():
    assert names({"apiVersion": "v1", "kind": "ConfigMap"}, model("one")) == ["one"]


def test_what_the_api_server_adds_does_no_harm():
    given = model("one")
    given["metadata"] |= {"uid": "4c0b", "creationTimestamp": "2025-01-10T05:18:14Z", "labels": {"a": "b"}}
    (made,) = convert(text(given), "metadata.yaml", "huggingface")
    assert made["metadata"] == {"name": "one", "namespace": "public", "labels": {"hydra.io/model-id": "one"}}


@pytest.mark.parametrize("lacks", [{}, {"modelscope": None}, {"modelscope": {}}, {"modelscope": {"name": ""}}])
def test_a_hub_that_the_model_is_not_on_says_which_it_is_on(lacks):
    given = model("one", huggingface="a/b")
    given["spec"]["source"] |= lacks
    message = refused(text(model("zero"), given), "modelscope")
    assert "metadata.yaml, document 2: spec.source.modelscope.name is missing: one has huggingface" in message
    assert message.endswith("use --hub huggingface")


def test_a_model_on_the_other_hub_alone():
    assert refused(text(model("one", modelscope="a/b"))).endswith("one has modelscope; use --hub modelscope")
    assert names(model("one", modelscope="a/b"), hub="modelscope") == ["one"]


def test_a_model_on_neither_hub():
    given = model("one")
    given["spec"]["source"] = {}
    assert "one has no hub" in refused(text(given))


def test_an_unknown_hub_says_the_known_ones():
    assert refused(GUIDE, "github").endswith("known: huggingface, modelscope")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (("apiVersion",), "model.hydra.io/v1beta1", "apiVersion is 'model.hydra.io/v1beta1'"),
        (("apiVersion",), None, "apiVersion is None"),
        (("kind",), "Modelspec", "kind is 'Modelspec'"),
        (("kind",), None, "kind is None"),
        (("metadata",), None, "metadata is missing"),
        (("metadata",), [], "metadata is not a map"),
        (("metadata", "name"), None, "metadata.name is missing"),
        (("metadata", "name"), 1.5, "metadata.name is 1.5, not a string"),
        (("metadata", "name"), "", "metadata.name is ''"),
        (("metadata", "name"), "a/b", "metadata.name is 'a/b'"),
        (("metadata", "name"), "a\n", "metadata.name is 'a\\n'"),
        (("metadata", "name"), "模型", "metadata.name is '模型'"),
        (("metadata", "name"), "-a", "metadata.name is '-a'"),
        (("spec",), None, "spec is missing"),
        (("spec",), "text", "spec is not a map"),
        (("spec", "source"), None, "spec.source is missing"),
        (("spec", "source"), [], "spec.source is not a map"),
        (("spec", "source", "huggingface"), "a/b", "spec.source.huggingface is not a map"),
        (("spec", "source", "huggingface", "name"), 5, "spec.source.huggingface.name is 5"),
        (("spec", "source", "huggingface", "name"), ["a/b"], "spec.source.huggingface.name is ['a/b']"),
        (("spec", "source", "huggingface", "name"), "gpt2", "spec.source.huggingface.name is 'gpt2'"),
        (("spec", "source", "huggingface", "name"), "a/b/c", "spec.source.huggingface.name is 'a/b/c'"),
        (("spec", "source", "huggingface", "name"), "a/..", "spec.source.huggingface.name is 'a/..'"),
        (("spec", "source", "huggingface", "name"), "../b", "spec.source.huggingface.name is '../b'"),
        (("spec", "source", "huggingface", "name"), "a/b?x=1", "spec.source.huggingface.name is 'a/b?x=1'"),
        (("spec", "source", "huggingface", "name"), "a/b@v1", "spec.source.huggingface.name is 'a/b@v1'"),
        (("spec", "source", "huggingface", "name"), "a/b\n", "spec.source.huggingface.name is 'a/b\\n'"),
    ],
)
def test_a_malformed_document_is_named_with_its_field(field, value, message):
    wrong: dict[str, object] = model("two")
    place = wrong
    for key in field[:-1]:
        place = place[key]
    place[field[-1]] = value
    assert f"converting metadata.yaml, document 2: {message}" in refused(text(model("one"), wrong))
    listed = {"apiVersion": "v1", "kind": "List", "items": [model("one"), wrong]}
    assert f"metadata.yaml, document 1, item 2: {message}" in refused(text(listed))


@pytest.mark.parametrize("content", ["", "---\n", text({"apiVersion": "v1", "kind": "ConfigMap"})])
def test_a_file_without_a_modelspec(content):
    assert "metadata.yaml: it holds no ModelSpec" in refused(content)


@pytest.mark.parametrize("content", ["- a\n", "text\n", "5\n"])
def test_a_document_that_is_not_a_map(content):
    assert "metadata.yaml, document 1: it is not a map" in refused(content)


@pytest.mark.parametrize("content", ["a: [\n", "a: \x01", "a: !!bool no-bool\n", "a: !!python/object:os.x {}\n"])
def test_what_is_not_yaml(content):
    assert "metadata.yaml: it is not YAML" in refused(content)


def test_a_name_is_the_models_with_a_dash_for_what_a_dns_label_cannot_have():
    given = ["qwen2.5-0.5b-instruct", "Qwen_VL.7B", "dzoo"]
    assert names(*map(model, given)) == ["qwen2-5-0-5b-instruct", "qwen-vl-7b", "dzoo"]
    assert names(*map(model, given), hub="modelscope") == names(*map(model, given))


def test_a_name_over_63_characters_is_cut_and_told_apart_by_a_hash():
    first, second = names(model(LONG), model(LONG + "c"))
    assert first != second
    assert {len(first), len(second)} == {63}
    assert names(model("a" * 63)) == ["a" * 63]


def test_two_models_whose_datasets_would_have_one_name():
    message = refused(text(model("a.b"), model("c"), model("a-b")))
    assert "document 3: its Dataset would be named a-b, like that of metadata.yaml, document 1" in message


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?", fullmatch=True), st.sampled_from([*BOTH]))
def test_whatever_the_name_the_dataset_is_valid(name, hub):
    (made,) = convert(text(model(name)), "metadata.yaml", hub)
    label = made["metadata"]["labels"]["hydra.io/model-id"]
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", made["metadata"]["name"])
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", label)
    assert label == name or len(name) > 63
    assert parse_dataset(yaml.safe_dump(made), "dataset.yaml").name == made["metadata"]["name"]
