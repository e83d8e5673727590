"""`dsload sources`: the registry."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import click

from dsload.cli.console import to_json
from dsload.cli.flags import HELP, output_option
from dsload.registry import Spec, specs
from dsload.source import SELECTION


@dataclass(frozen=True, slots=True)
class _Row:
    """A source as it is shown; missing has how to install what each scheme needs."""

    type: str
    schemes: tuple[str, ...]
    forms: tuple[str, ...]
    options: Mapping[str, str]
    state: str
    missing: Mapping[str, str]


@click.command(context_settings=HELP)
@output_option("list", "text", "json")
def sources(output: str) -> None:
    """List the sources: type, schemes, options, and whether their library is installed."""
    rows = [_row(spec) for spec in specs().values()]
    if output == "json":
        click.echo(to_json([asdict(row) for row in rows]))
        return
    for row in rows:
        click.echo("\n".join(_lines(row)))
    click.echo(f"\nEvery source that is loaded also takes {', '.join(sorted(SELECTION))}.")


def _row(spec: Spec) -> _Row:
    needs = spec.needs()
    schemes = tuple(dict.fromkeys((*spec.schemes, *needs)))
    state = "mounted, not loaded" if not spec.preloads else "installed" if spec.installed else spec.hint
    missing = {scheme: hint for scheme, hint in needs.items() if hint}
    return _Row(spec.type, schemes, spec.forms, dict(spec.options), state, missing)


def _lines(row: _Row) -> Iterator[str]:
    usable = [f"{scheme}://" for scheme in row.schemes if scheme not in row.missing]
    yield f"{row.type:<12} {', '.join((*usable, *row.forms))}  ({row.state})"
    for name, about in row.options.items():
        yield f"{'':<13}{name:<16} {about}"
    for scheme, hint in row.missing.items():
        yield f"{'':<13}{scheme + '://':<16} not installed: {hint}"
