"""The budgets of the layout, as numbers: `make budgets` prints them, and fails if one is exceeded.

A reader finds the way from argv to bytes on disk by file names as long as these hold; docs/design.md has the reasons.
"""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from dsload.registry import Spec

PACKAGE = Path(__file__).parent.parent / "dsload"
ORCHESTRATORS = (  # a load, and its ways
    "dsload.loading.load:load",
    "dsload.loading.load:whole",
    "dsload.loading.shards:load_shard",
    "dsload.loading.builds:build",
)


@dataclass(frozen=True, slots=True)
class Budget:
    """A number, and the most that it may be."""

    name: str
    number: int
    most: int
    what: str = ""


def budgets() -> Iterator[Budget]:
    """All of them, measured now."""
    yield Budget("modules at the package's root", len(list(PACKAGE.glob("*.py"))), 9)
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    longest = max(lines, key=lambda path: lines[path])
    yield Budget("lines of the longest file", lines[longest], 500, str(longest.relative_to(PACKAGE.parent)))
    yield Budget("fields of Spec", len(fields(Spec)), 13)
    for place in ORCHESTRATORS:
        yield Budget("lines of an orchestrator", length(place), 25, place)
    lint_imports_failed = lint_imports(no_cache=True) != EXIT_STATUS_SUCCESS
    yield Budget("layers and other contracts broken", int(lint_imports_failed), 0)


def length(place: str) -> int:
    """The lines of a function without its signature and docstring."""
    module, _, name = place.partition(":")
    source = Path(str(importlib.import_module(module).__file__)).read_text()
    (found,) = (each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == name)
    first = found.body[1] if isinstance(found.body[0], ast.Expr) else found.body[0]
    return (found.end_lineno or 0) - first.lineno + 1


def main(write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print them; the exit code."""
    found = list(budgets())
    for budget in found:
        mark = "ok" if budget.number <= budget.most else "TOO MUCH"
        write(f"{budget.name:<36} {budget.number:>4} of {budget.most:<4} {mark:<9} {budget.what}\n")
    return int(any(budget.number > budget.most for budget in found))


if __name__ == "__main__":
    sys.exit(main())
