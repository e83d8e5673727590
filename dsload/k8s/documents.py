"""YAML files with Kubernetes objects: the documents in them, read as strictly as kubectl reads them."""

from collections.abc import Iterator
from typing import Any

from dsload.formats import yaml


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
    for number, document in enumerate(yaml.read_documents(text, where), 1):
        if document is not None:
            found += _flatten(f"{where}, document {number}", document)
    return found


def map_at(parent: Any, key: str) -> dict[Any, Any]:
    """The map at a key of a map; {} if the key is missing or holds something else."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _flatten(where: str, document: Any) -> Iterator[tuple[str, Any]]:
    items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
    if isinstance(items, list):
        yield from ((f"{where}, item {number}", item) for number, item in enumerate(items, 1))
    else:
        yield where, document
