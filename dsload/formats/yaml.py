"""YAML as strictly as the tools read it whose files dsload takes: a map has each key once, and a document one end.

kubectl and the API server read YAML 1.1, in which `yes` is true; conda reads YAML 1.2, in which it is a word.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from dsload.errors import UsageError

_MOST_VALUES = 1_000_000  # in a document, its aliases written out
_FIX = "correct it"
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$")
_FLOAT = re.compile(r"([-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|"
                    r"\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$")  # fmt: skip


def read_documents(text: str, where: str) -> list[Any]:
    """All documents of a file in YAML 1.1, with None for one that is empty.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        UsageError: it is not YAML, a map has the same key twice, or its aliases stand for too much.
    """
    with _strict(text, where):
        return list(yaml.load_all(_plain(text), _Loader))


def read_document(text: str, where: str) -> Any:
    """The one document of a file in YAML 1.2, None if it is empty. Raises UsageError as read_documents() does."""
    with _strict(text, where):
        return yaml.load(_plain(text), _Loader12)  # noqa: S506, a SafeLoader


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff")


@contextlib.contextmanager
def _strict(text: str, where: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        why = f"it is not YAML: {line}{error.problem or error.context}"
        if error.problem == "but found another document":
            why = f"{line}another document begins, and one is expected"
        raise UsageError("reading", where, why, _FIX) from error
    except yaml.reader.ReaderError as error:
        why = f"it is not YAML: line {text.count(chr(10), 0, error.position) + 1}: {error.reason}"
        raise UsageError("reading", where, why, _FIX) from error
    except RecursionError as error:
        raise UsageError("reading", where, "it is not YAML that can be read: it is nested too deeply", _FIX) from error


class _Loader(yaml.SafeLoader):
    """YAML 1.1: a map has each key once, a date is text, and aliases are bounded."""

    def compose_document(self) -> yaml.Node | None:
        node: yaml.Node | None = super().compose_document()
        if node is not None:
            _weigh(node, {})
        return node

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


_Loader.add_constructor(f"{_TAG}timestamp", _Loader.construct_date)


def _unlike_1_1(known: list[tuple[str, re.Pattern[str]]]) -> list[tuple[str, re.Pattern[str]]]:
    other = {f"{_TAG}{kind}" for kind in ("bool", "int", "float", "timestamp", "value")}
    return [(tag, form) for tag, form in known if tag not in other]


class _Loader12(_Loader):
    """YAML 1.2 with the numbers of ruamel.yaml, which conda reads by: `1_000`, `0b11`."""

    yaml_implicit_resolvers = {first: _unlike_1_1(known) for first, known in _Loader.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """In 1.1, 010 is eight."""
        text = str(node.value).replace("_", "").lower()
        bases = {"0b": 2, "0o": 8, "0x": 16}
        return int(text, bases.get(text.lstrip("+-")[:2], 10))


_Loader12.add_constructor(f"{_TAG}int", _Loader12.construct_number)
_Loader12.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])
_Loader12.add_implicit_resolver(f"{_TAG}int", _INT, [*"+-0123456789"])
_Loader12.add_implicit_resolver(f"{_TAG}float", _FLOAT, [*"+-.0123456789"])


def _weigh(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node has, its aliases written out. Raises ComposerError if they are too many or without end."""
    if (found := known.get(id(node))) is not None:
        if not found:
            raise yaml.composer.ComposerError(None, None, "an alias stands within what it stands for", node.start_mark)
        return found
    if isinstance(node, yaml.ScalarNode):
        known[id(node)] = 1
        return 1
    known[id(node)] = 0
    below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    known[id(node)] = total = 1 + sum(_weigh(part, known) for part in below)
    if total > _MOST_VALUES and total > len(known):
        why = f"with its aliases written out it has more than {_MOST_VALUES:,} values"
        raise yaml.composer.ComposerError(None, None, why, node.start_mark)
    return total
