"""YAML files with Kubernetes objects: the documents in them, read as strictly as kubectl reads them."""

from collections.abc import Iterator
from typing import Any

import yaml

from dsload.errors import UsageError


def read_documents(text: str, where: str) -> list[tuple[str, Any]]:
    """The YAML documents of a file; the items of a `kind: List` count one by one, and empty documents are left out.

    Args:
        text: the file's content.
        where: its name, for messages.

    Returns:
        Each document with its place, such as "datasets.yaml, document 2".

    Raises:
        UsageError: it is not YAML, or a map has the same key twice.
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
        raise UsageError("reading", where, "it is not YAML that can be read: it is nested too deeply") from error
    return found


def map_at(parent: Any, key: str) -> dict[Any, Any]:
    """The map at a key of a map; {} if the key is missing or holds something else."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a map has each key once, and a date is text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in lines:
                why = f"the key {key.value!r} appears twice, first in line {lines[key.value]}"
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
