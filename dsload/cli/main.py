"""The command line: its commands, and the two console scripts."""

from typing import NoReturn

import click

from dsload import __version__
from dsload.cli.console import EXIT_CODES, run
from dsload.cli.flags import HELP
from dsload.cli.load import load
from dsload.cli.ls import ls
from dsload.cli.manifest import convert, crd, manifest
from dsload.cli.sources import sources
from dsload.cli.verify import verify


@click.group(context_settings=HELP, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="dsload")
def cli() -> None:
    """Load a dataset or model from a source into a mounted volume.

    Every flag has an environment variable: --mount-root is DSLOAD_MOUNT_ROOT.
    """


for command in (load, ls, verify, sources, manifest, crd, convert):
    cli.add_command(command)


def main() -> NoReturn:
    """The console script `dsload`."""
    run(cli, "dsload")


def data_loader() -> NoReturn:
    """The console script `data-loader`: exactly `dsload load`."""
    run(load, "data-loader")
