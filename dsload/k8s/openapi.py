"""How a value violates an OpenAPI v3 schema, in words. It knows the part of OpenAPI that crd.py uses."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dsload.secrets import public_uri, redact

Schema = dict[str, Any]
Problem = tuple[str, str]  # the path of a field, "" for the whole document, and what is wrong with it
_LONGEST_SHOWN = 100
_TYPES: Mapping[str, tuple[type, str]] = {
    "object": (dict, "a map"),
    "array": (list, "a list"),
    "string": (str, "a string, put it in quotes"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
}


def violations(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    """Every way in which a value violates a schema; a schema without a type admits everything."""
    type, wanted = _TYPES.get(schema.get("type", ""), (object, ""))
    if schema.get("x-kubernetes-int-or-string"):
        type, wanted = (str if isinstance(value, str) else int), "a whole number or a string"
    if not _is(value, type):
        yield path, f"{show(value)} is not {wanted}"
    elif "enum" in schema and value not in schema["enum"]:
        yield path, f"{show(value)} is not {' or '.join(schema['enum'])}"
    elif isinstance(value, dict):
        yield from _map_violations(value, schema, path)
    elif isinstance(value, list):
        yield from _too_many(value, schema.get("maxItems"), path)
        for number, item in enumerate(value):
            yield from violations(item, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, str):
        yield from ((path, f"{show(value)} {what}") for what in _text_violations(value, schema))
    elif type is int:
        if value < schema.get("minimum", value):
            yield path, f"{show(value)} is less than {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield path, f"{show(value)} is more than {schema['maximum']}"


def matches(pattern: str, text: str) -> bool:
    """Whether a text matches as in Go, where $ is the very end and not also before a last line feed."""
    return re.search(pattern.removesuffix("$") + r"\Z", text) is not None


def show(value: Any) -> str:
    """A value for messages: without secrets, and short."""
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    if not isinstance(value, str):
        return redact(json.dumps(value, default=repr))
    text = repr(redact(value))[1:-1]  # escaped before public_uri, which drops characters that no URI may contain
    text = public_uri(text) if "://" in text else text
    return f"'{text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}…'}'"


def _map_violations(value: Mapping[Any, Any], schema: Schema, path: str) -> Iterator[Problem]:
    """A field that is null counts as not set, as it does for the API server."""
    fields, others = schema.get("properties"), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if value.get(name) is None:
            yield _below(path, name), "it is missing"
    yield from _too_many(value, schema.get("maxProperties"), path)
    for key, item in value.items():
        if not isinstance(key, str):
            yield path, f"the key {show(key)} is not a string, put it in quotes"
        elif fields and key in fields:
            if item is not None:
                yield from violations(item, fields[key], _below(path, key))
        elif others is not None:
            yield from violations(item, others, _below(path, key))
        elif fields is not None:
            near = difflib.get_close_matches(key, fields, 1)
            yield _below(path, key), f"unknown field{f', did you mean {near[0]}?' if near else ''}"


def _too_many(value: Mapping[Any, Any] | list[Any], most: int | None, path: str) -> Iterator[Problem]:
    if most is not None and len(value) > most:
        yield path, f"it has {len(value)} entries, more than {most}"


def _text_violations(value: str, schema: Schema) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"has fewer than {schema['minLength']} characters"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"has more than {schema['maxLength']} characters"
    elif "pattern" in schema and not matches(schema["pattern"], value):
        yield f"does not match {schema['pattern']}"


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is(value: Any, type: type) -> bool:
    return isinstance(value, type) and (type is not int or not isinstance(value, bool))
