"""Who may use a Dataset by reference, and what a reference is made of."""

from typing import Any

import pytest

from dsload.errors import UsageError
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import manifests
from dsload.k8s.sharing import mismatch
from tests.k8s.datasets import LABEL, UID, claim, dataset, known, namespace, source_dataset, valid, volume

OTHER_UID = "9a0b1c2d-3e4f-5061-7283-94a5b6c7d8e9"


def reference(**fields: Any) -> Any:
    return dataset("REFERENCE", "dataset://public/qwen", **{"name": "mine", "namespace": "chat", **fields})


def made(what: Any, *objects: dict[str, Any]) -> list[dict[str, Any]]:
    return [valid(manifest) for manifest in manifests(what, ManifestSettings(), known(*objects))]


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": [*values]} if values else {})}]}


# Kubernetes' documentation, "Labels and Selectors": environment in (production, qa), tier notin (frontend, backend),
# partition, !partition; "tier notin" also selects what has no key tier; requirements are ANDed.
PROD, QA, DEV = {"environment": "production"}, {"environment": "qa"}, {"environment": "dev"}
FRONT, CACHE, PART = {"tier": "frontend"}, {"tier": "cache"}, {"partition": "customerA"}
ENVIRONMENT = expression("environment", "In", "production", "qa")
TIER = expression("tier", "NotIn", "frontend", "backend")
BOTH = {
    "matchLabels": {"component": "redis"},
    "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["cache"]},
        {"key": "environment", "operator": "NotIn", "values": ["dev"]},
    ],
}


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ({}, {}, True),
        ({}, PROD, True),
        ({"matchLabels": {}}, PROD, True),
        ({"matchExpressions": []}, PROD, True),
        ({"matchLabels": PROD}, PROD, True),
        ({"matchLabels": PROD}, {**PROD, **FRONT}, True),
        ({"matchLabels": PROD}, QA, False),
        ({"matchLabels": PROD}, {}, False),
        ({"matchLabels": {**PROD, **FRONT}}, PROD, False),
        ({"matchLabels": {"empty": ""}}, {"empty": ""}, True),
        ({"matchLabels": {"empty": ""}}, {}, False),
        (ENVIRONMENT, PROD, True),
        (ENVIRONMENT, QA, True),
        (ENVIRONMENT, DEV, False),
        (ENVIRONMENT, {}, False),
        (TIER, FRONT, False),
        (TIER, CACHE, True),
        (TIER, {}, True),
        (expression("partition", "Exists"), PART, True),
        (expression("partition", "Exists"), {"partition": ""}, True),
        (expression("partition", "Exists"), PROD, False),
        (expression("partition", "DoesNotExist"), PART, False),
        (expression("partition", "DoesNotExist"), PROD, True),
        (expression("partition", "DoesNotExist"), {}, True),
        (BOTH, {"component": "redis", **CACHE}, True),
        (BOTH, {"component": "redis", **CACHE, **PROD}, True),
        (BOTH, {"component": "redis", **CACHE, **DEV}, False),
        (BOTH, {"component": "redis"}, False),
        (BOTH, CACHE, False),
        ({"matchLabels": {"Environment": "production"}}, PROD, False),
        ({"matchLabels": {"environment": "Production"}}, PROD, False),
    ],
)
def test_selectors_match_as_kubernetes_documents(selector, labels, matches):
    assert (mismatch(selector, labels, "d.yaml") == "") is matches


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        (expression("a", "In"), "In of key 'a' takes at least one value"),
        (expression("a", "NotIn"), "NotIn of key 'a' takes at least one value"),
        (expression("a", "Exists", "b"), "Exists of key 'a' takes no values"),
        (expression("a", "DoesNotExist", "b"), "DoesNotExist of key 'a' takes no values"),
        (expression("a", "Gt", "1"), "'Gt' of key 'a' is not In, NotIn, Exists or DoesNotExist"),
        (expression("", "Exists"), "'Exists' of key '' is not In"),
    ],
)
def test_selectors_that_kubernetes_refuses(selector, why):
    with pytest.raises(UsageError, match=why):
        mismatch(selector, {"a": "b"}, "d.yaml")


def test_a_reference_is_a_copy_of_the_volume_and_a_read_only_claim():
    what = reference(object_uid=OTHER_UID, labels={"team": "a"})
    copy, bound = made(what, source_dataset(), claim(dataSource={"kind": "X", "name": "y"}), volume())
    name = "dataset-chat-mine-9a0b1c2d-3e4"
    original = volume()["spec"]
    original.pop("claimRef")
    assert copy == {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {"zone": "a", "team": "a", LABEL: "mine"},
            "annotations": {"pv.kubernetes.io/provisioned-by": "csi.x"},
        },
        "spec": {**original, "accessModes": ["ReadOnlyMany"], "persistentVolumeReclaimPolicy": "Retain"},
    }
    assert (bound["metadata"]["name"], bound["metadata"]["namespace"]) == ("mine", "chat")
    assert bound["metadata"]["ownerReferences"][0]["uid"] == OTHER_UID
    assert bound["spec"] == {**claim()["spec"], "accessModes": ["ReadOnlyMany"], "volumeName": name}


def test_a_reference_without_uid_has_a_name_of_its_own():
    objects = source_dataset(), claim(), volume()
    names = {made(reference(**fields), *objects)[0]["metadata"]["name"] for fields in ({}, {"name": "other"})}
    assert len(names) == 2
    assert len(made(reference(name="n" * 253), *objects)[0]["metadata"]["name"]) == 253


@pytest.mark.parametrize(
    ("source", "claimed"),
    [
        (source_dataset(pvc_name="models"), "models"),
        (source_dataset(pvc_name=""), "qwen"),
        (source_dataset(pvc_name="", volumeClaimTemplate={"metadata": {"name": "models"}}), "models"),
        (source_dataset(pvc_name="", volumeClaimRef={"name": "models"}), "models"),
        (source_dataset(pvc_name="", source={"type": "PVC", "uri": "pvc://models/a"}), "models"),
    ],
)
def test_the_claim_of_the_source_is_that_of_its_status_or_of_its_spec(source, claimed):
    assert made(reference(), source, claim(claimed), volume())
    with pytest.raises(UsageError, match=f"kubectl get -o yaml pvc {claimed} -n public`"):
        made(reference(), source)


@pytest.mark.parametrize("place", ["chat", "public"])
def test_what_is_not_shared_is_refused_in_its_own_namespace_too(place):
    with pytest.raises(UsageError, match=r"Dataset public/qwen is not shared; set spec.share: true there"):
        made(reference(namespace=place), source_dataset(share=False), claim(), volume())
    assert made(reference(namespace=place), source_dataset(), claim(), volume())


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}, {"matchLabels": PROD}, TIER])
def test_a_namespace_that_matches_may_reference(selector):
    assert made(reference(), source_dataset(selector=selector), claim(), volume(), namespace(**PROD))


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ({"matchLabels": PROD}, "its label environment is 'dev', not 'production'"),
        ({"matchLabels": PART}, "its label partition is missing, not 'customerA'"),
        (ENVIRONMENT, "its label environment is 'dev', but the selector requires In 'production', 'qa'"),
        (expression("partition", "Exists"), "its label partition is missing, but the selector requires Exists"),
    ],
)
def test_why_a_namespace_does_not_match_is_reported(selector, why):
    objects = source_dataset(selector=selector), claim(), volume(), namespace(**DEV)
    with pytest.raises(UsageError, match=f"not shared with namespace chat: {why}"):
        made(reference(), *objects)


def test_what_is_missing_is_named_with_its_command_one_after_the_other():
    objects = [source_dataset(selector=ENVIRONMENT), namespace(**PROD), claim(), volume()]
    commands = ["dataset qwen -n public", "namespace chat", "pvc qwen -n public", "pv pv-7"]
    for count, command in enumerate(commands):
        with pytest.raises(UsageError, match=f"the output of `kubectl get -o yaml {command}`"):
            made(reference(), *objects[:count])
    assert made(reference(), *objects)


def test_a_claim_that_is_not_bound_and_a_volume_that_is_another_datasets():
    with pytest.raises(UsageError, match="public/qwen is not bound to a volume yet"):
        made(reference(), source_dataset(), claim(volumeName=""), volume())
    taken = volume(made(reference(), source_dataset(), claim(), volume())[0]["metadata"]["name"])
    with pytest.raises(UsageError, match="already exists and does not belong to this Dataset"):
        made(reference(), source_dataset(), claim(), volume(), taken)


def test_a_reference_names_a_dataset():
    with pytest.raises(UsageError, match=r"does not name a Dataset; write dataset://NAMESPACE/NAME"):
        made(dataset("REFERENCE", "dataset://public/"))
    with pytest.raises(UsageError, match="does not name a namespace"):
        made(dataset("REFERENCE", "dataset:///qwen"))


def test_a_reference_with_a_claim_of_its_own_is_checked_all_the_same():
    what = reference(claim_ref={"name": "there"})
    assert made(what, source_dataset()) == []
    with pytest.raises(UsageError, match="is not shared"):
        made(what, source_dataset(share=False))


def test_the_sources_own_uid_is_not_the_owner():
    assert all(
        owner["uid"] != UID
        for manifest in made(reference(object_uid=OTHER_UID), source_dataset(), claim(), volume())
        for owner in manifest["metadata"].get("ownerReferences", ())
    )
