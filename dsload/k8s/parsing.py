"""Datasets from YAML documents, and everything that is wrong with one.

The companion reads Datasets with parse_all. It reports what the API server would report by the schema and rules of
crd.py, and what the later load would refuse. `dsload load -f` reads one Dataset with parse_dataset, which applies the
same schema to what a load needs.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from dsload import registry
from dsload.errors import UsageError
from dsload.k8s import crd, rules
from dsload.k8s.dataset import Dataset, dataset_of
from dsload.k8s.documents import map_at, read_documents
from dsload.k8s.openapi import Problem, Schema, matches, show, violations
from dsload.secrets import hide, redact, redaction, sensitive
from dsload.source import Source

_FROM_THE_SERVER = (  # the rest of Kubernetes' ObjectMeta, and its other ways to name an object
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
)


def parse_all(documents: Iterable[tuple[str, Any]]) -> list[Dataset]:
    """The Datasets among documents; objects of other kinds are skipped.

    Args:
        documents: what read_documents returns.

    Raises:
        UsageError: something is wrong with them. It lists everything, each with its document, the path of the field
            and the value.
    """
    found: list[Dataset] = []
    wrong: list[str] = []
    for where, document in documents:
        with redaction():
            problems = [redact(": ".join(filter(None, (where, *problem)))) for problem in _problems(document)]
        if not problems and document["kind"] == crd.KIND:
            found.append(dataset_of(document, where))
        wrong += problems
    if wrong:
        raise UsageError("reading", "the Datasets", "; ".join(wrong))
    return found


def parse_dataset(text: str, where: str) -> Dataset:
    """Read the one Dataset of a YAML file. It may have any type that dsload loads, and needs no name.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        UsageError: the file is not YAML, does not have exactly one Dataset, or fields are missing, unknown or wrong.
    """
    documents = read_documents(text, where)
    found = [(place, item) for place, item in documents if isinstance(item, dict) and item.get("kind") == crd.KIND]
    if len(found) != 1:
        why = f"it holds {len(found)} Datasets" if found else "it holds no Dataset"
        raise UsageError("reading", where, why, "give a file with exactly one")
    place, document = found[0]
    with redaction():
        _hide_secrets(document)
        problems = [redact(f"{path}: {what}") for path, what in violations(document, _schema_for_load(), "")]
    if problems:
        raise UsageError("reading", where, "; ".join(problems))
    return dataset_of(document, place)


# The schemas


@cache
def _schema() -> Schema:
    """The schema of crd.py, and what Kubernetes itself checks: the version and the metadata."""
    found = crd.schema()
    found["properties"]["apiVersion"] |= {"enum": [crd.API_VERSION]}
    found["properties"]["metadata"] = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": rules.NAME_LIMIT, "pattern": rules.SUBDOMAIN},
            "namespace": {"type": "string", "maxLength": rules.LABEL_LIMIT, "pattern": rules.optional(rules.LABEL)},
            "uid": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": crd.label_value()},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            **{name: {} for name in _FROM_THE_SERVER},
        },
    }
    found["required"] = ["apiVersion", "metadata", *found["required"]]
    return found


@cache
def _schema_for_load() -> Schema:
    """The same, without metadata and status, and with types that only `dsload load` knows, such as FILE."""
    found = _schema()
    fields, spec = found["properties"], found["properties"]["spec"]
    source = spec["properties"]["source"]
    types = {"type": {"type": "string", "minLength": 1}}
    source = {**source, "properties": source["properties"] | types}
    spec = {**spec, "properties": spec["properties"] | {"source": source}}
    return {
        "type": "object",
        "required": ["apiVersion", "spec"],
        "properties": {**fields, "metadata": {}, "status": {}, "spec": spec},
    }


# What no schema can say


def _problems(document: Any) -> Iterator[Problem]:
    """Everything that is wrong with a document; an object of another kind is only checked for having a kind."""
    if not isinstance(document, dict):
        yield "", f"{show(document)} is not a Kubernetes object"
    elif document.get("kind") == crd.KIND:
        metadata, spec = map_at(document, "metadata"), map_at(document, "spec")
        _hide_secrets(document)
        yield from violations(document, _schema(), "")
        yield from _label_names("metadata.labels", map_at(metadata, "labels"))
        yield from _label_names("metadata.annotations", map_at(metadata, "annotations"))
        yield from _source(map_at(spec, "source"))
        yield from _places(spec)
        yield from _selector("spec.shareToNamespaceSelector", map_at(spec, "shareToNamespaceSelector"))
        claim = map_at(map_at(spec, "volumeClaimTemplate"), "spec")
        yield from _selector("spec.volumeClaimTemplate.spec.selector", map_at(claim, "selector"))
    elif not isinstance(document.get("kind"), str):
        yield "kind", "it is missing" if document.get("kind") is None else f"{show(document['kind'])} is not a string"


def _source(source: Mapping[Any, Any]) -> Iterator[Problem]:
    type, uri, path = _text_at(source, "type"), _text_at(source, "uri"), "spec.source.uri"
    given = map_at(source, "options")
    options = {key: value for key, value in given.items() if isinstance(key, str) and isinstance(value, str)}
    if not type or not uri:
        return
    if uri != rules.MANUAL_URI if type == "MANUAL" else uri.startswith(rules.MANUAL_URI):
        yield _breaks(path, uri, rules.MANUAL)
    elif type in rules.FORMS:
        if not matches(rules.FORMS[type][1], uri):
            yield _breaks(path, uri, rules.has_form(type))
        elif type in ("PVC", "NFS") and _leads_out(uri):
            yield _breaks(path, uri, rules.MOUNTED_NOT_ABOVE)
    else:
        yield from _not_loadable(type, uri, options)


def _not_loadable(type: str, uri: str, options: Mapping[str, str]) -> Iterator[Problem]:
    """What `dsload load` would refuse: each option that is wrong, and the first thing that is wrong with the URI."""
    spec = registry.specs().get(type) if type in crd.TYPES else None
    if spec is None or not spec.preloads:
        return
    left = dict(options)
    while True:
        try:
            Source.parse(uri, type, left)
            return
        except UsageError as error:
            key = error.where.removeprefix("option ")
            why = f"{error.why} ({error.fix})" if error.fix else error.why
            if key not in left:
                yield "spec.source.uri", f"{error.where}: {why}"
                return
            yield f"spec.source.options.{key}", f"{show(left.pop(key))}: {why}"


def _places(spec: Mapping[Any, Any]) -> Iterator[Problem]:
    """What is wrong with the claim and the directory for the data."""
    path, reference = _text_at(map_at(spec, "mountOptions"), "path"), map_at(spec, "volumeClaimRef")
    if _leads_out(path):
        yield _breaks("spec.mountOptions.path", path, rules.NOT_ABOVE)
    sub_path = _text_at(reference, "subPath")
    if sub_path.startswith("/"):
        yield _breaks("spec.volumeClaimRef.subPath", sub_path, rules.RELATIVE)
    if _leads_out(sub_path):
        yield _breaks("spec.volumeClaimRef.subPath", sub_path, rules.NOT_ABOVE)
    if reference and _sets_something(map_at(spec, "volumeClaimTemplate")):
        yield _breaks("spec.volumeClaimRef", reference.get("name"), crd.one_claim())


def _sets_something(template: Mapping[Any, Any]) -> bool:
    """Whether a volumeClaimTemplate sets more than the empty one that clients in Go write."""
    metadata, spec = map_at(template, "metadata"), map_at(template, "spec")
    resources = map_at(spec, "resources")
    values = [metadata.get("name"), metadata.get("labels"), metadata.get("annotations")]
    values += [resources.get("requests"), resources.get("limits")]
    values += [value for key, value in spec.items() if key != "resources"]
    return any(value is not None for value in values)


def _selector(path: str, selector: Mapping[Any, Any]) -> Iterator[Problem]:
    yield from _label_names(f"{path}.matchLabels", map_at(selector, "matchLabels"))
    expressions = selector.get("matchExpressions")
    for number, expression in enumerate(expressions if isinstance(expressions, list) else []):
        if isinstance(expression, dict):
            operator, values = expression.get("operator"), expression.get("values")
            if operator in rules.WITH_VALUES and values in (None, []):
                yield _breaks(f"{path}.matchExpressions[{number}]", operator, rules.NEEDS_VALUES)
            if operator in rules.WITHOUT_VALUES and values not in (None, []):
                yield _breaks(f"{path}.matchExpressions[{number}]", operator, rules.TAKES_NO_VALUES)


def _label_names(path: str, labels: Mapping[Any, Any]) -> Iterator[Problem]:
    """What is wrong with the names of labels or annotations."""
    for key in labels:
        if isinstance(key, str) and not _is_qualified(key):
            form = f"[PREFIX/]NAME, with a NAME of at most {rules.LABEL_LIMIT} characters"
            yield path, f"{show(key)} is not a qualified name: give {form}"


def _is_qualified(name: str) -> bool:
    return matches(rules.QUALIFIED_NAME, name) and len(name.rpartition("/")[0]) <= rules.NAME_LIMIT


def _breaks(path: str, value: Any, rule: rules.Rule) -> Problem:
    return path, f"{show(value)}: {rule.message}"


def _leads_out(path: str) -> bool:
    return ".." in path.split("/")


def _text_at(parent: Mapping[Any, Any], key: str) -> str:
    found = parent.get(key)
    return found if isinstance(found, str) else ""


def _hide_secrets(document: Mapping[Any, Any]) -> None:
    for key, value in map_at(map_at(map_at(document, "spec"), "source"), "options").items():
        if sensitive(str(key)) and isinstance(value, str | int | float):
            hide(str(value))
