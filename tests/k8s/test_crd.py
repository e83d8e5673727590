"""The CustomResourceDefinition: whether an API server takes it, and that it refuses what parse_all refuses."""

import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsload.fetchers.conda.spec import GPU_TYPES
from dsload.k8s import crd, rules
from tests.k8s.api_server import (
    ABSENT,
    SCHEMA,
    TEMPLATE,
    WRITTEN_BY_GO,
    broken,
    changed,
    closed,
    defaulted,
    holds,
    nodes,
    problems,
    refusals,
    source,
)

# The definition itself


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_kubernetes_takes_it(version: str) -> None:
    assert kubernetes_validate.validate(crd.crd(), version, strict=True) == version


def test_names() -> None:
    found = crd.crd()
    spec, version = found["spec"], found["spec"]["versions"][0]
    assert found["metadata"]["name"] == "datasets.dataset.baizeai.io" == f"{spec['names']['plural']}.{spec['group']}"
    assert spec["names"] == {
        "kind": "Dataset",
        "listKind": "DatasetList",
        "plural": "datasets",
        "singular": "dataset",
        "shortNames": ["data"],
    }
    assert (spec["scope"], version["name"], version["served"], version["storage"]) == (
        "Namespaced",
        "v1alpha1",
        True,
        True,
    )
    assert version["subresources"] == {"status": {}}
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert columns == {"type": ".spec.source.type", "uri": ".spec.source.uri", "phase": ".status.phase"}


def test_yaml_without_anchors() -> None:
    text = yaml.safe_dump(crd.crd())
    assert "&id" not in text
    assert yaml.safe_load(text) == crd.crd()


@pytest.mark.parametrize(
    ("path", "node"), list(nodes(SCHEMA)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_it_is_structural(path: str, node: dict[str, Any]) -> None:
    types = {"object", "array", "string", "integer", "boolean"}
    if node.get("x-kubernetes-int-or-string"):
        assert "type" not in node
        assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    else:
        assert node["type"] in types
        assert not {"anyOf", "oneOf", "allOf", "not"} & node.keys()
    assert not {"$ref", "definitions", "dependencies", "patternProperties", "uniqueItems", "id"} & node.keys()
    assert not ("properties" in node and "additionalProperties" in node)
    assert ("items" in node) == (node.get("type") == "array")
    assert set(node.get("required", ())) <= node.get("properties", {}).keys()
    if "default" in node:
        assert not path.startswith((".metadata", ".apiVersion", ".kind"))
        filled = defaulted(node["default"], node)
        assert list(jsonschema.Draft202012Validator(closed(node)).iter_errors(filled)) == []
        assert list(broken(filled, node)) == []
    if path not in (".metadata",) and not path.endswith(("[]", "{}")):
        assert re.fullmatch(r"[A-Z].{9,}\.", node["description"])  # sentences, as `kubectl explain` prints them
    for rule in node.get("x-kubernetes-validations", ()):
        assert rule.keys() == {"rule", "message"}
        assert rule["message"]
        assert "\n" not in rule["message"]
        assert "oldSelf" not in rule["rule"] or not re.search(r"\[\]|\{\}", path)  # nothing to compare with there


@pytest.mark.parametrize("pattern", sorted({node["pattern"] for _, node in nodes(SCHEMA) if "pattern" in node}))
def test_patterns_mean_the_same_in_go(pattern: str) -> None:
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert not re.search(r"\\[dwsDWSbBAZ]|\(\?", pattern)


def test_fields_of_the_contract() -> None:
    fields = {path for path, _ in nodes(SCHEMA)}
    wanted = (
        ".spec.share .spec.shareToNamespaceSelector.matchLabels{} .spec.shareToNamespaceSelector.matchExpressions[].key"
        " .spec.dataSyncRound .spec.source.type .spec.source.uri .spec.source.options{} .spec.secretRef"
        " .spec.mountOptions.path .spec.mountOptions.mode .spec.mountOptions.uid .spec.mountOptions.gid"
        " .spec.volumeClaimTemplate.metadata.name .spec.volumeClaimTemplate.spec.resources.requests{}"
        " .spec.volumeClaimRef.name .spec.volumeClaimRef.subPath .spec.resources.requests{} .spec.resources.limits{}"
        " .status.phase .status.conditions[].type .status.inProcessing .status.inProcessingRound"
        " .status.lastSucceedRound .status.syncRoundStatuses[].round .status.syncRoundStatuses[].jobName"
        " .status.syncRoundStatuses[].startTime .status.syncRoundStatuses[].endTime"
        " .status.syncRoundStatuses[].succeed .status.pvcName .status.readOnly .status.lastSyncTime"
    )
    assert set(wanted.split()) <= fields


# What rules cost


def test_nothing_has_no_maximum() -> None:
    for path, node in nodes(SCHEMA):
        if path in (".apiVersion", ".kind"):  # the API server knows them
            continue
        if node.get("type") == "string":
            assert {"maxLength", "enum", "format"} & node.keys(), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_rules_are_cheap() -> None:
    """Far below the 10 million units of one rule and the 100 million of all, estimated as the API server does."""
    total = 0.0
    for path, node in nodes(SCHEMA):
        often = 128 ** path.count("[]")
        for rule in node.get("x-kubernetes-validations", ()):
            longest = max([below.get("maxLength", 0) for _, below in nodes(node)], default=0)
            regular = sum(0.25 * len(found) for found in re.findall(r"matches\('(.*?)'\)", rule["rule"]))
            cost = often * (len(rule["rule"]) + 0.1 * longest * (1 + regular))
            assert cost < 5_000_000, (path, rule["rule"])
            total += cost
            assert "all(" not in rule["rule"]  # nor walks a rule a map, whose keys have no maximum
    assert total < 50_000_000


# Rules, each on what it takes and what it refuses: value, value before

TYPED = {"type": "HTTP", "uri": "http://host/"}
PAIRS: list[tuple[str, bool, Any, Any]] = [
    (rules.IMMUTABLE.cel, True, "a", "a"),
    (rules.IMMUTABLE.cel, False, "a", "b"),
    (rules.GROWS_BY_ONE.cel, True, 2, 2),
    (rules.GROWS_BY_ONE.cel, True, 3, 2),
    (rules.GROWS_BY_ONE.cel, False, 4, 2),
    (rules.GROWS_BY_ONE.cel, False, 1, 2),
    *((rules.NOT_ABOVE.cel, True, path, ABSENT) for path in ("", "/", "/a/b", "a..b", "/..a/b..", "...", "/.../a")),
    *((rules.NOT_ABOVE.cel, False, path, ABSENT) for path in ("..", "/..", "../a", "/a/../b", "a/..", "/a/../")),
    (rules.RELATIVE.cel, True, "a/b", ABSENT),
    (rules.RELATIVE.cel, True, "", ABSENT),
    (rules.RELATIVE.cel, False, "/a", ABSENT),
    (rules.MANUAL.cel, True, {"type": "MANUAL", "uri": "manual://"}, ABSENT),
    (rules.MANUAL.cel, True, TYPED, ABSENT),
    (rules.MANUAL.cel, False, {"type": "MANUAL", "uri": "http://host/"}, ABSENT),
    (rules.MANUAL.cel, False, {"type": "MANUAL", "uri": "manual://x"}, ABSENT),
    (rules.MANUAL.cel, False, {"type": "HTTP", "uri": "manual://"}, ABSENT),
    (rules.MANUAL.cel, False, {"type": "PVC", "uri": "manual://claim"}, ABSENT),
    (rules.MOUNTED_NOT_ABOVE.cel, True, {"type": "PVC", "uri": "pvc://claim/a..b"}, ABSENT),
    (rules.MOUNTED_NOT_ABOVE.cel, True, {"type": "HTTP", "uri": "http://host/a/../b"}, ABSENT),
    (rules.MOUNTED_NOT_ABOVE.cel, False, {"type": "PVC", "uri": "pvc://claim/.."}, ABSENT),
    (rules.MOUNTED_NOT_ABOVE.cel, False, {"type": "NFS", "uri": "nfs://host/a/../b"}, ABSENT),
    (rules.GPU.cel, True, {"type": "CONDA", "uri": "conda://a"}, ABSENT),
    (rules.GPU.cel, True, {"type": "CONDA", "uri": "conda://a", "options": {"name": "a"}}, ABSENT),
    *((rules.GPU.cel, True, {"type": "CONDA", "options": {"gpuType": gpu}}, ABSENT) for gpu in GPU_TYPES),
    (rules.GPU.cel, True, {**TYPED, "options": {"gpuType": "a header"}}, ABSENT),
    (rules.GPU.cel, False, {"type": "CONDA", "options": {"gpuType": "tpu"}}, ABSENT),
    (rules.NEEDS_VALUES.cel, True, {"operator": "In", "values": ["a"]}, ABSENT),
    (rules.NEEDS_VALUES.cel, True, {"operator": "Exists"}, ABSENT),
    (rules.NEEDS_VALUES.cel, False, {"operator": "In"}, ABSENT),
    (rules.NEEDS_VALUES.cel, False, {"operator": "NotIn", "values": []}, ABSENT),
    (rules.TAKES_NO_VALUES.cel, True, {"operator": "Exists"}, ABSENT),
    (rules.TAKES_NO_VALUES.cel, True, {"operator": "DoesNotExist", "values": []}, ABSENT),
    (rules.TAKES_NO_VALUES.cel, True, {"operator": "NotIn", "values": ["a"]}, ABSENT),
    (rules.TAKES_NO_VALUES.cel, False, {"operator": "Exists", "values": ["a"]}, ABSENT),
    (crd.one_claim().cel, True, {"volumeClaimRef": {"name": "c"}}, ABSENT),
    (crd.one_claim().cel, True, {"volumeClaimTemplate": TEMPLATE}, ABSENT),
    (crd.one_claim().cel, True, {"volumeClaimRef": {"name": "c"}, "volumeClaimTemplate": {}}, ABSENT),
    (crd.one_claim().cel, True, {"volumeClaimRef": {"name": "c"}, "volumeClaimTemplate": WRITTEN_BY_GO}, ABSENT),
    (crd.one_claim().cel, False, {"volumeClaimRef": {"name": "c"}, "volumeClaimTemplate": TEMPLATE}, ABSENT),
    *(
        (crd.one_claim().cel, False, {"volumeClaimRef": {}, "volumeClaimTemplate": template}, ABSENT)
        for template in (
            {"metadata": {"name": "x"}},
            {"metadata": {"labels": {}}},
            {"spec": {"storageClassName": ""}},
            {"spec": {"resources": {"requests": {}}}},
            {"spec": {"resources": {"limits": {}}, "volumeName": "v"}},
        )
    ),
    (rules.has_form("PVC").cel, True, {"type": "NFS", "uri": "nfs://host/"}, ABSENT),
    (rules.has_form("NFS").cel, True, TYPED, ABSENT),
    (rules.has_form("REFERENCE").cel, True, TYPED, ABSENT),
    *(
        (rules.has_form(type).cel, taken, {"type": type, "uri": uri}, ABSENT)
        for type, taken, uris in (
            ("PVC", True, "pvc://claim pvc://claim/ pvc://my.claim-1/a/b%20c"),
            ("PVC", False, "pvc:// pvc:///a pvc://Claim/a pvc://claim?a=b pvc://claim/a#b pvc://u@claim/a /claim/a"),
            ("NFS", True, "nfs://host/ nfs://10.0.0.1/a/b nfs://[fd00::1]/a"),
            ("NFS", False, "nfs://host nfs:///a nfs://host:2049/a nfs://host/a?b=c nfs://-host/a nfs://u@host/a"),
            ("REFERENCE", True, "dataset://public/qwen dataset://a/b.c-d/"),
            ("REFERENCE", False, "dataset://qwen dataset://a/ dataset:///b dataset://a.b/c dataset://a/b/c s3://a/b"),
        )
        for uri in uris.split()
    ),
]


@pytest.mark.parametrize(("rule", "taken", "value", "old"), PAIRS)
def test_a_rule(rule: str, taken: bool, value: Any, old: Any) -> None:
    assert holds(rule, value, old) is taken


def test_each_rule_takes_and_refuses() -> None:
    found = {rule["rule"] for _, node in nodes(SCHEMA) for rule in node.get("x-kubernetes-validations", ())}
    assert {(rule, taken) for rule, taken, *_ in PAIRS} == {(rule, taken) for rule in found for taken in (True, False)}


# Changes

MOVED = {"spec/mountOptions/path": "/other"}


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ({}, {}, True),
        ({}, {"spec/dataSyncRound": 3}, True),
        ({}, {"spec/dataSyncRound": 4}, False),
        ({}, {"spec/dataSyncRound": 1}, False),
        ({}, {"spec/dataSyncRound": ABSENT}, False),
        ({"spec/dataSyncRound": ABSENT}, {"spec/dataSyncRound": 2}, True),
        ({"spec/dataSyncRound": ABSENT}, {"spec/dataSyncRound": 3}, False),
        ({}, source("MODEL_SCOPE", "huggingface://Qwen/Qwen2"), False),
        ({}, source("HUGGING_FACE", "huggingface://Qwen/Qwen3"), False),
        ({}, {"spec/source/options": {"repoType": "DATASET"}}, True),
        ({}, MOVED, False),
        ({}, {"spec/mountOptions/path": ABSENT}, False),
        ({"spec/mountOptions/path": ABSENT}, MOVED, False),
        ({"spec/mountOptions": ABSENT}, MOVED, False),
        ({"spec/mountOptions": ABSENT}, {"spec/mountOptions": {"path": "/", "mode": "0700"}}, True),
        ({}, {"spec/share": False, "spec/secretRef": "other", "spec/mountOptions/uid": 5}, True),
    ],
)
def test_a_change(before: dict[str, Any], after: dict[str, Any], taken: bool) -> None:
    assert (refusals(changed(after), changed(before)) == []) is taken


# New Datasets, by the API server and by parse_all

SELECTOR = "spec/shareToNamespaceSelector"
EXPRESSION = {"key": "env", "operator": "In", "values": ["prod", "test"]}
TAKEN: dict[str, dict[str, Any]] = {
    "as it is": {},
    "least": {"spec": {"source": {"type": "HTTP", "uri": "http://h/"}}},
    "selector": {SELECTOR: {"matchLabels": {"a.b/c": "", "d": "E_f.g"}, "matchExpressions": [EXPRESSION]}},
    "empty selector": {SELECTOR: {}},
    "exists": {SELECTOR: {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
    "template": {"spec/volumeClaimTemplate": TEMPLATE},
    "empty template": {"spec/volumeClaimTemplate": {}},
    "ref": {"spec/volumeClaimRef": {"name": "claim", "subPath": "a/b"}},
    "ref and what Go writes": {"spec/volumeClaimRef": {"name": "c"}, "spec/volumeClaimTemplate": WRITTEN_BY_GO},
    "resources": {"spec/resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}, "requests": {"cpu": "100m"}}},
    "no path": {"spec/mountOptions/path": ""},
    "nulls": {"spec/mountOptions": None, "spec/secretRef": None, "spec/share": None, SELECTOR: None},
    "manual": source("MANUAL", "manual://"),
    "pvc": source("PVC", "pvc://claim/a/b", ignored="x"),
    "nfs": source("NFS", "nfs://192.168.1.11/dataset/Qwen/Qwen2.5"),
    "reference": source("REFERENCE", "dataset://public/qwen"),
    "conda": source("CONDA", "conda://env?python=3.11", gpuType="nvidia-gpu"),
    "scp": source("GIT", "git@host:a/b.git"),
    "status": {
        "status": {
            "phase": "READY",
            "conditions": [
                {"type": "PVC", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2024-01-01"}
            ],
            "syncRoundStatuses": [{"round": 1, "jobName": "j", "startTime": None, "succeed": True}],
            "lastSyncTime": None,
            "pvcName": "qwen",
        }
    },
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"spec": ABSENT}, "spec: it is missing"),
    ({"spec": []}, "spec: a list is not a map"),
    ({"spec/source": ABSENT}, "spec.source: it is missing"),
    ({"spec/source": None}, "spec.source: it is missing"),
    ({"spec/source/type": ABSENT}, "spec.source.type: it is missing"),
    ({"spec/source/type": "FILE"}, "spec.source.type: 'FILE' is not GIT or S3 or "),
    ({"spec/source/type": "hugging_face"}, "spec.source.type: 'hugging_face' is not GIT"),
    ({"spec/source/uri": ""}, "spec.source.uri: '' does not match"),
    ({"spec/source/uri": "hf://a/b\nc"}, r"spec.source.uri: 'hf://a/b\nc' does not match"),
    ({"spec/source/uri": "hf://a/" + "b" * 9000}, "has more than 8192 characters"),
    ({"spec/source/options/branch": 3.10}, "spec.source.options.branch: 3.1 is not a string, put it in quotes"),
    ({"spec/source/options/lfs": True}, "spec.source.options.lfs: true is not a string, put it in quotes"),
    ({"spec/source/options/revision": None}, "spec.source.options.revision: null is not a string, put it in quotes"),
    ({"spec/source/options": {f"o{n}": "" for n in range(129)}}, "spec.source.options: it has 129 entries"),
    ({"spec/source/option": {}}, "spec.source.option: unknown field, did you mean options?"),
    ({"spec/mountOption": {}}, "spec.mountOption: unknown field, did you mean mountOptions?"),
    ({"zzz": 1}, "document 1: zzz: unknown field;"),
    ({"spec/mountOptions/mode": "999"}, "spec.mountOptions.mode: '999' does not match ^[0-7]{3,4}$"),
    ({"spec/mountOptions/mode": "0774\n"}, r"spec.mountOptions.mode: '0774\n' has more than 4 characters"),
    ({"spec/mountOptions/mode": "774\n"}, r"spec.mountOptions.mode: '774\n' does not match"),
    ({"spec/mountOptions/mode": 508}, "spec.mountOptions.mode: 508 is not a string, put it in quotes"),
    ({"spec/mountOptions/uid": -1}, "spec.mountOptions.uid: -1 is less than 0"),
    ({"spec/mountOptions/gid": 2**32 - 1}, "spec.mountOptions.gid: 4294967295 is more than 4294967294"),
    ({"spec/mountOptions/uid": "1000"}, "spec.mountOptions.uid: '1000' is not a whole number"),
    ({"spec/mountOptions/uid": True}, "spec.mountOptions.uid: true is not a whole number"),
    ({"spec/mountOptions/path": "/a/../b"}, "spec.mountOptions.path: '/a/../b': the path must not contain '..'"),
    ({"spec/mountOptions/path": "a\0"}, r"spec.mountOptions.path: 'a\x00' does not match"),
    ({"spec/dataSyncRound": 0}, "spec.dataSyncRound: 0 is less than 1"),
    ({"spec/dataSyncRound": 1.5}, "spec.dataSyncRound: 1.5 is not a whole number"),
    ({"spec/share": "yes"}, "spec.share: 'yes' is not true or false"),
    ({"spec/secretRef": "My_Secret"}, "spec.secretRef: 'My_Secret' does not match"),
    (source("MANUAL", "http://h/"), "spec.source.uri: 'http://h/': type MANUAL requires the URI manual://"),
    (source("HTTP", "manual://"), "spec.source.uri: 'manual://': type MANUAL requires the URI manual://, and no other"),
    (source("PVC", "pvc:///a"), "spec.source.uri: 'pvc:///a': type PVC requires a URI of the form pvc://CLAIM[/PATH]"),
    (source("PVC", "pvc://claim/a/.."), "spec.source.uri: 'pvc://claim/a/..': the path must not contain '..'"),
    (source("NFS", "nfs://host"), "spec.source.uri: 'nfs://host': type NFS requires a URI of the form nfs://HOST/PATH"),
    (
        source("REFERENCE", "dataset://a"),
        "spec.source.uri: 'dataset://a': type REFERENCE requires a URI of the form dataset://NAMESPACE/NAME",
    ),
    (source("CONDA", "conda://a", gpuType="tpu"), "spec.source.options.gpuType: 'tpu': 'tpu' is not one of"),
    (
        {"spec/volumeClaimRef": {"name": "c", "subPath": "/a"}},
        "spec.volumeClaimRef.subPath: '/a': the path must be",
    ),
    (
        {"spec/volumeClaimRef": {"name": "c", "subPath": "a/.."}},
        "spec.volumeClaimRef.subPath: 'a/..': the path must",
    ),
    ({"spec/volumeClaimRef": {"subPath": "a"}}, "spec.volumeClaimRef.name: it is missing"),
    ({"spec/volumeClaimRef": {}}, "spec.volumeClaimRef.name: it is missing"),
    (
        {"spec/volumeClaimRef": {"name": "c"}, "spec/volumeClaimTemplate": TEMPLATE},
        "spec.volumeClaimRef: 'c': volumeClaimRef and volumeClaimTemplate are mutually exclusive",
    ),
    ({"spec/volumeClaimTemplate/spec/accessModes": ["RWX"]}, "volumeClaimTemplate.spec.accessModes[0]: 'RWX' is not"),
    ({"spec/resources/limits": {"memory": "1 GiB"}}, "spec.resources.limits.memory: '1 GiB' does not match"),
    ({"spec/resources/limits": {"cpu": 1.5}}, "spec.resources.limits.cpu: 1.5 is not a whole number or a string"),
    ({f"{SELECTOR}/matchLabels": {"a": "b c"}}, "spec.shareToNamespaceSelector.matchLabels.a: 'b c' does not match"),
    ({f"{SELECTOR}/matchLabels": {"a": 1}}, "spec.shareToNamespaceSelector.matchLabels.a: 1 is not a string"),
    ({f"{SELECTOR}/matchExpressions": [{"key": "a", "operator": "Is"}]}, "matchExpressions[0].operator: 'Is' is not"),
    ({f"{SELECTOR}/matchExpressions": [{"key": "a", "operator": "In"}]}, "matchExpressions[0]: 'In': operators In"),
    ({f"{SELECTOR}/matchExpressions": [EXPRESSION | {"operator": "Exists"}]}, "matchExpressions[0]: 'Exists': oper"),
    ({f"{SELECTOR}/matchExpressions": [EXPRESSION] * 129}, "matchExpressions: it has 129 entries, more than 128"),
    ({f"{SELECTOR}/matchExpressions": [None]}, "spec.shareToNamespaceSelector.matchExpressions[0]: null is not a map"),
    ({"spec/volumeClaimTemplate/spec/selector/matchExpressions": [{"key": "a", "operator": "In"}]}, "operators In"),
    ({"status": {"phase": "DONE"}}, "status.phase: 'DONE' is not PENDING or PROCESSING or READY or FAILED"),
    ({"status": {"conditions": [{"type": "", "status": "True"}]}}, "conditions[0].type: '' has fewer than 1 char"),
]


@pytest.mark.parametrize("changes", TAKEN.values(), ids=TAKEN)
def test_both_take(changes: dict[str, Any]) -> None:
    document = changed(changes)
    assert refusals(document) == []
    assert problems(document) == ""


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_both_refuse(changes: dict[str, Any], words: str) -> None:
    document = changed(changes)
    assert refusals(document) != []
    assert words in f"{problems(document)};"


PLACES = [
    re.sub(r"\[\]|\{\}", "", path[1:]).replace(".", "/")
    for path, _ in nodes(SCHEMA)
    if path.startswith((".spec", ".status")) and not re.search(r"[\]}]\.", path)
]
OTHERS = st.sampled_from(PLACES)
STRINGS = st.one_of(
    st.sampled_from(["", "..", "/..", "a/../b", "0777", "manual://", "pvc://c/..", "In", "claim", *crd.TYPES, "1Gi"]),
    st.text(max_size=5),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**33) | STRINGS,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(STRINGS, below, max_size=2),
    max_leaves=4,
)


@settings(max_examples=settings().max_examples * 6)
@given(st.dictionaries(OTHERS, VALUES, min_size=1, max_size=3), st.sampled_from(list(TAKEN)))
def test_they_agree_on_anything(changes: dict[str, Any], start: str) -> None:
    """What the API server refuses parse_all does; it refuses more only for what no schema or rule can say."""
    document = changed(TAKEN[start])
    for path, value in changes.items():
        parent = document
        *names, last = path.split("/")
        for name in names:
            parent = parent.get(name) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent[last] = value
    said = problems(document)
    if refusals(document):
        assert said
    elif said:
        more = r"spec\.source\.uri: |spec\.source\.options\.|is not a qualified name"
        assert all(re.search(more, problem) for problem in re.split(r"; (?=d\.yaml)", said)), said
