"""`dsload verify`: re-hashes what was loaded."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dsload.cli.console import begin, printable, to_json
from dsload.cli.flags import HELP, VerifyFlags, log_options, output_option, takes
from dsload.errors import IntegrityError

if TYPE_CHECKING:
    from dsload.loading.verify import Verdict, Verification

_NAMED = 3  # files that the error names


@click.command(context_settings=HELP)
@click.argument("path", metavar="PATH")
@output_option("result", "text", "json")
@log_options
@takes(VerifyFlags)
def verify(flags: VerifyFlags) -> None:
    """Re-hash a loaded target against its inventory. Exit code 5 if a file differs or is missing."""
    from dsload.loading.verify import verify as run
    from dsload.report import count, human

    def show(verdict: "Verdict") -> None:
        if flags.output == "text":
            click.echo(f"{printable(verdict.path)}: {verdict.problem}")

    begin(flags.log)
    found = run(flags.path, show)
    if flags.output == "json":
        wrong = [{"path": verdict.path, "problem": verdict.problem} for verdict in found.wrong]
        click.echo(to_json({**asdict(found), "wrong": wrong}))
    _judge(found)
    if flags.output == "text":
        click.echo(f"{flags.path}: {count(found.files, 'file is', 'files are')} as loaded, {human(found.bytes)} hashed")


def _judge(found: "Verification") -> None:
    from dsload.report import count

    if wrong := found.wrong:
        first = ", ".join(printable(verdict.path) for verdict in wrong[:_NAMED]) + (", …" if wrong[_NAMED:] else "")
        verb = "differs or is missing" if len(wrong) == 1 else "differ or are missing"
        why = f"{len(wrong):,} of {count(found.files, 'file')} {verb}: {first}"
        raise IntegrityError("verifying", found.target, why, "load it again")
    if not found.complete:
        files = count(found.files, "file that it put there so far is", "files that it put there so far are")
        why = f"its last load did not end; the {files} right"
        raise IntegrityError("verifying", found.target, why, "run the load again to resume")
