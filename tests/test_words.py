"""What users read is plain English: no literal, help text or description has a phrase that a native would not write."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import dsload
from dsload.cli.main import cli
from dsload.k8s.crd import crd

PACKAGE = Path(dsload.__file__).parent
REFUSED = re.compile(
    r"\b(?:is|are)\s+no\b(?!\s+longer)|\bis\s+none\b|there\s+is\s+no\s+such|\bmend|tell\s+who"
    r"|\bgo(?:es)?\s+on\s+from|broken\s+off|\b1\s+files\b",
    re.IGNORECASE,
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of the strings of a module that are not docstrings, those in f-strings too."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))])
def test_literals(path: str) -> None:
    found = literals(ast.parse((PACKAGE / path).read_text()))
    assert not [f"dsload/{path}:{line}: {text!r}" for line, text in found if REFUSED.search(text)]


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Where each help text of a command and of those below it stands, and the text."""
    yield name, " ".join(filter(None, (command.help, command.short_help, command.epilog)))
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield f"{name} {parameter.opts[0]}", parameter.help
    if isinstance(command, click.Group):
        for each, below in command.commands.items():
            yield from helps(below, f"{name} {each}")


def test_help() -> None:
    found = list(helps(cli, "dsload"))
    assert any(place.startswith("dsload load --") for place, _ in found)
    assert not [f"{place}: {text!r}" for place, text in found if REFUSED.search(text)]


def descriptions(schema: Any, place: str) -> Iterator[tuple[str, str]]:
    """Where each description and message of a schema stands, and the text."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("description", "message") and isinstance(value, str):
                yield place, value
            yield from descriptions(value, f"{place}.{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from descriptions(value, f"{place}[{number}]")


def test_descriptions_of_the_crd() -> None:
    found = list(descriptions(crd(), "crd"))
    assert len(found) > 20
    assert not [f"{place}: {text!r}" for place, text in found if REFUSED.search(text)]
