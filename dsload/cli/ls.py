"""`dsload ls`: what a load would bring."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dsload.cli.console import begin, printable
from dsload.cli.flags import (
    HELP,
    ListFlags,
    log_options,
    output_option,
    source_argument,
    source_options,
    takes,
)
from dsload.secrets import read_secrets

if TYPE_CHECKING:
    from dsload.listing import Entry, Listing


@click.command("ls", context_settings=HELP)
@source_argument
@source_options
@output_option("listing", "text", "json")
@log_options
@takes(ListFlags)
def ls(flags: ListFlags) -> None:
    """List what would be loaded: size, checksum, path; and the revision that a branch or tag stands for now."""
    from dsload.loading.load import ls as run
    from dsload.loading.settings import Settings

    begin(flags.log)
    source, secrets = flags.source.parse(), read_secrets(flags.source.mount_secrets)
    listing = run(source, secrets, Settings(flags.source.network(secrets)))
    for text in _json(str(source), listing) if flags.output == "json" else _lines(listing):
        click.echo(text)


def _lines(listing: "Listing") -> Iterator[str]:
    if listing.revision:
        yield f"revision {listing.revision}"
    for entry in listing.entries:
        size = "-" if entry.size < 0 else str(entry.size)
        checksum = str(entry.checksum) if entry.checksum else (f"version:{entry.version}" if entry.version else "-")
        mark = "/" if entry.directory else f" -> {entry.symlink}" if entry.symlink is not None else ""
        yield f"{size:>14}  {checksum}  {printable(entry.path)}{printable(mark)}"


def _json(source: str, listing: "Listing") -> Iterator[str]:
    """One JSON document, line by line: a listing may be long."""
    yield f'{{"source": {json.dumps(source)}, "revision": {json.dumps(listing.revision)}, "entries": ['
    last = len(listing.entries) - 1
    for number, entry in enumerate(listing.entries):
        yield json.dumps(_row(entry)) + ("," if number < last else "")
    yield "]}"


def _row(entry: "Entry") -> dict[str, object]:
    row: dict[str, object] = {
        "path": entry.path,
        "size": entry.size,
        "checksum": str(entry.checksum) if entry.checksum else None,
        "version": entry.version or None,
    }
    if entry.directory:
        row["directory"] = True
    if entry.symlink is not None:
        row["symlink"] = entry.symlink
    return row
