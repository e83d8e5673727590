"""An API server that checks Datasets by the schema alone, modelled with jsonschema and cel-python."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import celpy
import jsonschema

from dsload.errors import UsageError
from dsload.k8s import crd
from dsload.k8s.parsing import parse_all

ABSENT: Any = object()
SCHEMA = crd.schema()
GOOD: dict[str, Any] = {
    "apiVersion": "dataset.baizeai.io/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "qwen", "namespace": "public", "labels": {"hydra.io/model-id": "qwen2-0.5b"}},
    "spec": {
        "share": True,
        "dataSyncRound": 2,
        "source": {"type": "HUGGING_FACE", "uri": "huggingface://Qwen/Qwen2", "options": {"repoType": "MODEL"}},
        "secretRef": "token",
        "mountOptions": {"path": "/models/qwen", "mode": "0774", "uid": 1000, "gid": 0},
    },
}
TEMPLATE = {
    "metadata": {"name": "claim"},
    "spec": {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Filesystem",
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "100Ti"}},
        "selector": {"matchLabels": {"a": "b"}},
        "dataSourceRef": {"kind": "VolumeSnapshot", "name": "s", "apiGroup": "snapshot.storage.k8s.io"},
    },
}
WRITTEN_BY_GO = {"metadata": {"creationTimestamp": None}, "spec": {"resources": {}}, "status": {}}


def changed(changes: dict[str, Any], document: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy with the fields at paths set, or taken away where ABSENT."""
    result = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split("/")
        place = result
        for name in parents:
            place = place.setdefault(name, {})
        if value is ABSENT:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return result


def source(type: str, uri: str, **options: Any) -> dict[str, Any]:
    return {"spec/source": {"type": type, "uri": uri, **({"options": options} if options else {})}}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for name, kind in (("items", "[]"), ("additionalProperties", "{}")):
        if name in schema:
            yield from nodes(schema[name], path + kind)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as strict field validation applies it: no unknown fields."""
    result = copy.deepcopy(schema)
    for _, node in list(nodes(result)):
        if "properties" in node:
            node["additionalProperties"] = False
        if "pattern" in node:  # Go's $
            node["pattern"] = node["pattern"].removesuffix("$") + r"\Z"
    return result


VALIDATOR = jsonschema.Draft202012Validator(closed(SCHEMA))


def defaulted(value: Any, schema: dict[str, Any]) -> Any:
    """A value without the nulls of fields, and with the defaults."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        kept = {key: item for key, item in value.items() if item is not None or key not in fields}
        kept |= {k: copy.deepcopy(s["default"]) for k, s in fields.items() if "default" in s and k not in kept}
        below = schema.get("additionalProperties", {})
        return {key: defaulted(item, fields.get(key, below)) for key, item in kept.items()}
    return [defaulted(item, schema.get("items", {})) for item in value] if isinstance(value, list) else value


@cache
def program(rule: str) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def holds(rule: str, value: Any, old: Any = ABSENT) -> bool:
    names = {"self": celpy.json_to_cel(value)} | ({} if old is ABSENT else {"oldSelf": celpy.json_to_cel(old)})
    return bool(program(rule).evaluate(names))


def broken(value: Any, schema: dict[str, Any], old: Any = ABSENT) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if ("oldSelf" not in rule["rule"] or old is not ABSENT) and not holds(rule["rule"], value, old):
            yield rule["message"]
    if isinstance(value, dict):
        fields, below = schema.get("properties", {}), schema.get("additionalProperties", {})
        for key, item in value.items():
            before = old.get(key, ABSENT) if isinstance(old, dict) else ABSENT
            yield from broken(item, fields.get(key, below), before)
    elif isinstance(value, list):
        for item in value:
            yield from broken(item, schema.get("items", {}))


def refusals(document: Any, old: Any = ABSENT) -> list[str]:
    """What an API server says of a new Dataset, or of a change to one; rules wait until the schema is satisfied."""
    document = defaulted(document, SCHEMA)
    wrong = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]
    return wrong or list(broken(document, SCHEMA, ABSENT if old is ABSENT else defaulted(old, SCHEMA)))


def problems(document: Any) -> str:
    """What parse_all says; "" where it takes it."""
    try:
        parse_all([("d.yaml, document 1", document)])
    except UsageError as error:
        assert error.exit_code == 2
        return str(error)
    return ""
