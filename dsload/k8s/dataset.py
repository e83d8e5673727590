"""A Dataset resource as data: read, checked and defaulted, on plain dicts.

`dsload load -f` reads one (parse_dataset) and says what is wrong with what a load needs of it; the companion reads all
of them (parse_all) and says everything that is wrong, as the API server would by the schema and rules of crd.py, and as
the load would that runs later.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from dsload import registry
from dsload.errors import UsageError
from dsload.k8s import crd
from dsload.secrets import hide, public_uri, redact, redaction, sensitive
from dsload.source import Source

API_VERSION, KIND = f"{crd.GROUP}/{crd.VERSION}", crd.KIND
DEFAULT_MODE = crd.DEFAULT_MODE
_LONGEST_SHOWN = 100
_TYPES: Mapping[str, tuple[type, str]] = {
    "object": (dict, "a map"),
    "array": (list, "a list"),
    "string": (str, "a string, put it in quotes"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
}
_FROM_THE_SERVER = (  # the rest of Kubernetes' ObjectMeta, and its ways to name things by other means
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

Problem = tuple[str, str]  # a field's path, "" for the document itself, and what is wrong there


@dataclass(frozen=True, slots=True)
class Dataset:
    """A Dataset with its defaults.

    Args:
        name, namespace, object_uid, labels, annotations: of its metadata; "" where not given.
        type, uri, options: spec.source.
        path: spec.mountOptions.path.
        mode: spec.mountOptions.mode, octal digits.
        uid, gid: spec.mountOptions; None where not given.
        secret: spec.secretRef.
        share, share_selector: who may REFERENCE it; None where no selector is given.
        round: spec.dataSyncRound.
        claim_template: metadata and spec of spec.volumeClaimTemplate; {} where it says neither.
        claim_ref: name and subPath of spec.volumeClaimRef; None where not given.
        resources: spec.resources.
        pvc_name: status.pvcName.
        where: the file and the document in it, for messages.
    """

    name: str
    type: str
    uri: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: str = crd.DEFAULT_PATH
    mode: str = DEFAULT_MODE
    uid: int | None = None
    gid: int | None = None
    namespace: str = ""
    object_uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = ""
    share: bool = False
    share_selector: Mapping[str, Any] | None = None
    round: int = 1
    claim_template: Mapping[str, Any] = field(default_factory=dict)
    claim_ref: Mapping[str, str] | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    pvc_name: str = ""
    where: str = ""


def read_documents(text: str, where: str) -> list[tuple[str, Any]]:
    """The YAML documents of a file, those in a `kind: List` one by one; empty ones are left out.

    Args:
        text: the file's content.
        where: its name, for messages.

    Returns:
        Each with where it is, such as "datasets.yaml, document 2".

    Raises:
        UsageError: it is not YAML, or a map has a key twice.
    """
    found: list[tuple[str, Any]] = []
    try:
        for number, document in enumerate(yaml.load_all(text, _Loader), 1):
            if document is not None:
                found += _flatten(f"{where}, document {number}", document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise UsageError("reading", where, f"it is not YAML: {line}{error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        why = f"it is not YAML: line {text.count(chr(10), 0, error.position) + 1}: {error.reason}"
        raise UsageError("reading", where, why) from error
    except RecursionError as error:
        raise UsageError("reading", where, "it is not YAML that anybody wrote: it is nested too deep") from error
    return found


def parse_all(documents: Iterable[tuple[str, Any]]) -> list[Dataset]:
    """The Datasets among documents; objects of other kinds are passed over.

    Args:
        documents: what read_documents gives.

    Raises:
        UsageError: something is wrong with them. It lists everything, each with its document, the field's path and
            the value.
    """
    found: list[Dataset] = []
    wrong: list[str] = []
    for where, document in documents:
        with redaction():
            problems = [redact(": ".join(filter(None, (where, *problem)))) for problem in _problems(document)]
        if not problems and document["kind"] == KIND:
            found.append(_dataset(document, where))
        wrong += problems
    if wrong:
        raise UsageError("reading", "the Datasets", "; ".join(wrong))
    return found


def parse_dataset(text: str, where: str) -> Dataset:
    """Read the one Dataset of a YAML file, of any type that dsload loads; it needs no name.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        UsageError: not YAML, no Dataset or several, or a field that is missing, unknown or of the wrong kind.
    """
    documents = read_documents(text, where)
    found = [(place, item) for place, item in documents if isinstance(item, dict) and item.get("kind") == KIND]
    if len(found) != 1:
        why = f"it holds {len(found)} Datasets" if found else "it holds no Dataset"
        raise UsageError("reading", where, why, "give a file with exactly one")
    place, document = found[0]
    with redaction():
        _check_for_load(document, where)
    return _dataset(document, place)


def _dataset(document: Mapping[str, Any], where: str) -> Dataset:
    """A document without problems as a Dataset."""
    metadata, spec = _part(document, "metadata"), _part(document, "spec")
    source, mount = _part(spec, "source"), _part(spec, "mountOptions")
    template, selector = _part(spec, "volumeClaimTemplate"), spec.get("shareToNamespaceSelector")
    return Dataset(
        name=str(metadata.get("name") or ""),
        type=source["type"],
        uri=source["uri"],
        options=_part(source, "options"),
        path=mount.get("path") or crd.DEFAULT_PATH,
        mode=mount.get("mode") or DEFAULT_MODE,
        uid=mount.get("uid"),
        gid=mount.get("gid"),
        namespace=metadata.get("namespace") or "",
        object_uid=metadata.get("uid") or "",
        labels=_part(metadata, "labels"),
        annotations=_part(metadata, "annotations"),
        secret=spec.get("secretRef") or "",
        share=bool(spec.get("share")),
        share_selector=None if selector is None else _without_nulls(selector),
        round=spec.get("dataSyncRound") or 1,
        claim_template={key: said for key in ("metadata", "spec") if (said := _without_nulls(template.get(key)))},
        claim_ref=_without_nulls(_part(spec, "volumeClaimRef")) or None,
        resources=_without_nulls(_part(spec, "resources")),
        pvc_name=_part(document, "status").get("pvcName") or "",
        where=where,
    )


def _part(parent: Any, key: str) -> dict[Any, Any]:
    """The map under a key of a map, {} where there is none."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _text(parent: Mapping[Any, Any], key: str) -> str:
    found = parent.get(key)
    return found if isinstance(found, str) else ""


def _without_nulls(value: Any) -> Any:
    """A value as the API server keeps it: a field that is null is a field that is not given."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


# YAML


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a key stands in a map once, and a date is text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in lines:
                why = f"the key {key.value!r} is there twice, first in line {lines[key.value]}"
                raise yaml.composer.ComposerError(None, None, why, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:  # 2024-99-99, a number of 5 000 digits, !!bool x
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def construct_date(self, node: yaml.ScalarNode) -> str:
        self.construct_yaml_timestamp(node)
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_date)


def _flatten(where: str, document: Any) -> Iterator[tuple[str, Any]]:
    items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
    if isinstance(items, list):
        yield from ((f"{where}, item {number}", item) for number, item in enumerate(items, 1))
    else:
        yield where, document


# What is wrong for `dsload load -f`


def _check_for_load(document: Mapping[str, Any], where: str) -> None:
    """Raise UsageError where the source, the mount options or any field of spec are wrong."""
    if (version := document.get("apiVersion")) != API_VERSION:
        raise UsageError("reading", where, f"apiVersion is {version!r}", f"dsload reads {API_VERSION}")
    spec = _map(document, "spec", where)
    source = _map(spec, "source", where, "spec.")
    _hide_secrets(source)
    for key in ("type", "uri"):
        if not _text(source, key):
            raise UsageError("reading", where, f"spec.source.{key} is {source.get(key)!r}, not a string")
    for key, value in _map(source, "options", where, "spec.source.", required=False).items():
        if not isinstance(value, str):
            why = f"spec.source.options.{key} is {_show(value)}, not a string"
            raise UsageError("reading", where, why, "put it in quotes")
    _check_mount(_map(spec, "mountOptions", where, "spec.", required=False), where)
    problems = _violations(spec, _schema()["properties"]["spec"], "spec")
    rest = [f"{path}: {what}" for path, what in problems if path != "spec.source.type"]  # FILE and fsspec load too
    if rest:
        raise UsageError("reading", where, redact("; ".join(rest)))


def _check_mount(mount: Mapping[str, Any], where: str) -> None:
    mode, path = mount.get("mode"), mount.get("path")
    if mode is not None and not (isinstance(mode, str) and _matches(crd.MODE, mode)):
        why = f"spec.mountOptions.mode is {mode!r}, not three or four octal digits in quotes"
        raise UsageError("reading", where, why)
    if path is not None and not isinstance(path, str):
        raise UsageError("reading", where, f"spec.mountOptions.path is {path!r}, not a string")
    for key in ("uid", "gid"):
        value = mount.get(key)
        if value is not None and (not _is(value, int) or value < 0):
            raise UsageError("reading", where, f"spec.mountOptions.{key} is {value!r}, not a number of 0 or more")


def _map(parent: Mapping[str, Any], key: str, where: str, prefix: str = "", required: bool = True) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise UsageError("reading", where, f"{prefix}{key} is missing" if value is None else f"{prefix}{key} is no map")
    return value


# What is wrong for the companion


def _problems(document: Any) -> Iterator[Problem]:
    """Everything that is wrong with a document; of one that is no Dataset, that it is no object."""
    if not isinstance(document, dict):
        yield "", f"{_show(document)} is no Kubernetes object"
    elif document.get("kind") == KIND:
        metadata, spec = _part(document, "metadata"), _part(document, "spec")
        _hide_secrets(_part(spec, "source"))
        yield from _violations(document, _schema(), "")
        yield from _label_names("metadata.labels", _part(metadata, "labels"))
        yield from _label_names("metadata.annotations", _part(metadata, "annotations"))
        yield from _source(_part(spec, "source"))
        yield from _places(spec)
        yield from _selector("spec.shareToNamespaceSelector", _part(spec, "shareToNamespaceSelector"))
        claim = _part(_part(spec, "volumeClaimTemplate"), "spec")
        yield from _selector("spec.volumeClaimTemplate.spec.selector", _part(claim, "selector"))
    elif not isinstance(document.get("kind"), str):
        yield "kind", "it is missing" if document.get("kind") is None else f"{_show(document['kind'])} is not a string"


def _source(source: Mapping[Any, Any]) -> Iterator[Problem]:
    type, uri, path = _text(source, "type"), _text(source, "uri"), "spec.source.uri"
    given = _part(source, "options")
    options = {key: value for key, value in given.items() if isinstance(key, str) and isinstance(value, str)}
    if not type or not uri:
        return
    if uri != crd.MANUAL_URI if type == "MANUAL" else uri.startswith(crd.MANUAL_URI):
        yield _breaks(path, uri, crd.MANUAL)
    elif type in crd.FORMS:
        if not _matches(crd.FORMS[type][1], uri):
            yield _breaks(path, uri, crd.has_form(type))
        elif type in ("PVC", "NFS") and _leads_out(uri):
            yield _breaks(path, uri, crd.MOUNTED_NOT_ABOVE)
    else:
        yield from _not_loadable(type, uri, options)


def _not_loadable(type: str, uri: str, options: Mapping[str, str]) -> Iterator[Problem]:
    """What `dsload load` would refuse: each option that is wrong, and what else is wrong first."""
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
            yield f"spec.source.options.{key}", f"{_show(left.pop(key))}: {why}"


def _places(spec: Mapping[Any, Any]) -> Iterator[Problem]:
    """What is wrong with where the data is put."""
    path, reference = _text(_part(spec, "mountOptions"), "path"), _part(spec, "volumeClaimRef")
    if _leads_out(path):
        yield _breaks("spec.mountOptions.path", path, crd.NOT_ABOVE)
    sub_path = _text(reference, "subPath")
    if sub_path.startswith("/"):
        yield _breaks("spec.volumeClaimRef.subPath", sub_path, crd.RELATIVE)
    if _leads_out(sub_path):
        yield _breaks("spec.volumeClaimRef.subPath", sub_path, crd.NOT_ABOVE)
    if reference and _says_something(_part(spec, "volumeClaimTemplate")):
        yield _breaks("spec.volumeClaimRef", reference.get("name"), crd.one_claim())


def _says_something(template: Mapping[Any, Any]) -> bool:
    """Whether a volumeClaimTemplate is more than what a client in Go writes where there is none."""
    metadata, spec = _part(template, "metadata"), _part(template, "spec")
    resources = _part(spec, "resources")
    said = [metadata.get("name"), metadata.get("labels"), metadata.get("annotations")]
    said += [resources.get("requests"), resources.get("limits")]
    said += [value for key, value in spec.items() if key != "resources"]
    return any(value is not None for value in said)


def _selector(path: str, selector: Mapping[Any, Any]) -> Iterator[Problem]:
    yield from _label_names(f"{path}.matchLabels", _part(selector, "matchLabels"))
    expressions = selector.get("matchExpressions")
    for number, expression in enumerate(expressions if isinstance(expressions, list) else []):
        if isinstance(expression, dict):
            operator, values = expression.get("operator"), expression.get("values")
            if operator in ("In", "NotIn") and values in (None, []):
                yield _breaks(f"{path}.matchExpressions[{number}]", operator, crd.NEEDS_VALUES)
            if operator in ("Exists", "DoesNotExist") and values not in (None, []):
                yield _breaks(f"{path}.matchExpressions[{number}]", operator, crd.TAKES_NO_VALUES)


def _label_names(path: str, labels: Mapping[Any, Any]) -> Iterator[Problem]:
    """What is wrong with the names of labels or annotations; no schema can say it."""
    for key in labels:
        if isinstance(key, str) and not (_matches(crd.QUALIFIED_NAME, key) and len(key.rpartition("/")[0]) <= 253):
            yield path, f"{_show(key)} is no name that Kubernetes takes: [PREFIX/]NAME of at most 63 characters"


def _breaks(path: str, value: Any, rule: crd.Rule) -> Problem:
    return path, f"{_show(value)}: {rule.message}"


def _leads_out(path: str) -> bool:
    return ".." in path.split("/")


def _hide_secrets(source: Mapping[Any, Any]) -> None:
    for key, value in _part(source, "options").items():
        if sensitive(str(key)) and isinstance(value, str | int | float):
            hide(str(value))


# The schema


@cache
def _schema() -> crd.Schema:
    """That of crd.py, and what Kubernetes itself makes sure of: the version and the metadata."""
    found = crd.schema()
    found["properties"]["apiVersion"] |= {"enum": [API_VERSION]}
    found["properties"]["metadata"] = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 253, "pattern": crd.SUBDOMAIN},
            "namespace": {"type": "string", "maxLength": 63, "pattern": crd.optional(crd.LABEL)},
            "uid": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": crd.label_value()},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            **{name: {} for name in _FROM_THE_SERVER},
        },
    }
    found["required"] = ["apiVersion", "metadata", *found["required"]]
    return found


def _violations(value: Any, schema: crd.Schema, path: str) -> Iterator[Problem]:
    """How a value violates a schema; of OpenAPI, what crd.py uses. A schema without a type admits everything."""
    type, wanted = _TYPES.get(schema.get("type", ""), (object, ""))
    if schema.get("x-kubernetes-int-or-string"):
        type, wanted = (str if isinstance(value, str) else int), "a whole number or a string"
    if not _is(value, type):
        yield path, f"{_show(value)} is not {wanted}"
    elif "enum" in schema and value not in schema["enum"]:
        yield path, f"{_show(value)} is not {' or '.join(schema['enum'])}"
    elif isinstance(value, dict):
        yield from _map_violations(value, schema, path)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield path, f"it holds {len(value)} entries, more than {schema['maxItems']}"
        for number, item in enumerate(value):
            yield from _violations(item, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, str):
        yield from ((path, f"{_show(value)} {what}") for what in _text_violations(value, schema))
    elif type is int:
        if value < schema.get("minimum", value):
            yield path, f"{_show(value)} is less than {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield path, f"{_show(value)} is more than {schema['maximum']}"


def _map_violations(value: Mapping[Any, Any], schema: crd.Schema, path: str) -> Iterator[Problem]:
    """A field that is null is one that is not given, as for the API server."""
    fields, others = schema.get("properties"), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if value.get(name) is None:
            yield _below(path, name), "it is missing"
    if len(value) > schema.get("maxProperties", len(value)):
        yield path, f"it holds {len(value)} entries, more than {schema['maxProperties']}"
    for key, item in value.items():
        if not isinstance(key, str):
            yield path, f"the key {_show(key)} is not a string, put it in quotes"
        elif fields and key in fields:
            if item is not None:
                yield from _violations(item, fields[key], _below(path, key))
        elif others is not None:
            yield from _violations(item, others, _below(path, key))
        elif fields is not None:
            near = difflib.get_close_matches(key, fields, 1)
            yield _below(path, key), f"there is no such field{f', did you mean {near[0]}?' if near else ''}"


def _text_violations(value: str, schema: crd.Schema) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"has fewer than {schema['minLength']} characters"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"has more than {schema['maxLength']} characters"
    elif "pattern" in schema and not _matches(schema["pattern"], value):
        yield f"does not match {schema['pattern']}"


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is(value: Any, type: type) -> bool:
    return isinstance(value, type) and (type is not int or not isinstance(value, bool))


def _matches(pattern: str, text: str) -> bool:
    """As Go reads it: $ is the end, not also before a last new line."""
    return re.search(pattern.removesuffix("$") + r"\Z", text) is not None


def _show(value: Any) -> str:
    """A value for people: without secrets, and short."""
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    if not isinstance(value, str):
        return redact(json.dumps(value, default=repr))
    text = repr(redact(value))[1:-1]  # before public_uri, which leaves out what no URI may hold
    text = public_uri(text) if "://" in text else text
    return f"'{text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}…'}'"
