"""Who may reference a Dataset: the field share, and label selectors, matched as Kubernetes does."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsload.errors import UsageError
from dsload.k8s.cluster import Cluster
from dsload.k8s.dataset import Dataset
from dsload.k8s.rules import WITH_VALUES, WITHOUT_VALUES


def check_shared(source: Dataset, referrer: Dataset, cluster: Cluster) -> None:
    """Check that a Dataset lets another one reference it; this applies within one namespace too.

    Args:
        source: the Dataset that is referenced.
        referrer: the Dataset of type REFERENCE.
        cluster: has the referrer's Namespace, if the source has a selector.

    Raises:
        UsageError: it does not, or the Namespace is not known.
    """
    name = f"{source.namespace}/{source.name}"
    if not source.share:
        why, fix = f"Dataset {name} is not shared", "set spec.share: true there"
        raise UsageError("making the manifests of", referrer.where, why, fix)
    if not source.share_selector:
        return
    namespace = cluster.need("Namespace", "", referrer.namespace, referrer.where)
    labels = namespace["metadata"].get("labels") or {}
    if reason := mismatch(source.share_selector, labels, source.where):
        why = f"Dataset {name} is not shared with namespace {referrer.namespace}: {reason}"
        fix = "label the namespace, or change spec.shareToNamespaceSelector there"
        raise UsageError("making the manifests of", referrer.where, why, fix)


def mismatch(selector: Mapping[str, Any], labels: Mapping[str, str], where: str) -> str:
    """Why labels do not match a LabelSelector; "" if they do. An empty selector matches all labels.

    Args:
        selector: matchLabels and matchExpressions; all of them must match.
        labels: the labels to match.
        where: the Dataset with the selector, for messages.

    Raises:
        UsageError: Kubernetes would reject the selector.
    """
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return f"its label {key} is {_shown(labels, key)}, not {value!r}"
    for expression in selector.get("matchExpressions") or ():
        if not _matches(expression, labels, where):
            key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
            wanted = " ".join((operator, ", ".join(map(repr, values)))).rstrip()
            return f"its label {key} is {_shown(labels, key)}, but the selector requires {wanted}"
    return ""


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str], where: str) -> bool:
    key, operator = str(expression.get("key", "")), expression.get("operator")
    values: Sequence[str] = expression.get("values") or ()
    problem = ""
    if not key or operator not in (*WITH_VALUES, *WITHOUT_VALUES):
        problem = f"{operator!r} of key {key!r} is not In, NotIn, Exists or DoesNotExist"
    elif bool(values) != (operator in WITH_VALUES):
        problem = f"{operator} of key {key!r} takes {'no values' if values else 'at least one value'}"
    if problem:
        raise UsageError("reading", f"{where}: spec.shareToNamespaceSelector.matchExpressions", problem)
    there = key in labels and (operator in WITHOUT_VALUES or labels[key] in values)
    return there is (operator in ("In", "Exists"))


def _shown(labels: Mapping[str, str], key: str) -> str:
    return repr(labels[key]) if key in labels else "missing"
