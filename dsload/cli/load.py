"""`dsload load`, which is also the command `data-loader`."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsload.cli.console import EXIT_CODES, begin, fault_of, to_json
from dsload.cli.files import read_file
from dsload.cli.flags import (
    HELP,
    LoadFlags,
    TargetFlags,
    log_options,
    option,
    output_option,
    source_argument,
    source_options,
    takes,
    target_options,
)
from dsload.cli.progress import shown
from dsload.errors import UsageError
from dsload.report import Bytes, Files, Progress, Report
from dsload.secrets import logger, public_uri, read_secrets
from dsload.source import DEFAULT_OWNER, Source

if TYPE_CHECKING:
    from dsload.loading.settings import Shard, Target

log = logger("dsload")

_TERMINATION_LOG = 4096  # bytes that Kubernetes reads of one


@click.command(context_settings=HELP, epilog=EXIT_CODES)
@source_argument
@option("-f", "--file", metavar="FILE", help="A Dataset's YAML, instead of TYPE, URI and mount options; - for stdin.")
@target_options
@source_options
@option("--no-verify", is_flag=True, help="Do not hash what is loaded; sizes are still checked.")
@option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@option("--shard", metavar="I/N", help="Load part I (from 0) of N; default from JOB_COMPLETION_INDEX, DSLOAD_SHARDS.")
@output_option("report", "text", "json")
@option("--report-file", metavar="FILE", help="Write the JSON report here too, such as /dev/termination-log.")
@log_options
@takes(LoadFlags)
def load(flags: LoadFlags) -> None:
    """Load a source into MOUNT_ROOT/MOUNT_PATH: complete, verified, owned. Run it again to resume or update.

    \b
    dsload load s3://bucket/models/qwen --mount-path models/qwen -o endpoint=http://minio:9000
    dsload load https://host/models/qwen/ --mount-root /data --mount-path qwen
    dsload load -f dataset.yaml --mount-root /data
    """
    begin(flags.log)
    progress = Progress()
    report = Report("", " ".join(map(public_uri, flags.source.source)), "")
    try:
        source, target = _what_to_load(flags)
        report = Report(source.type, str(source), os.path.join(target.root, target.path.lstrip("/")))
        secrets = read_secrets(flags.source.mount_secrets)
        from dsload.loading.load import load as run
        from dsload.loading.settings import Settings

        network = flags.source.network(secrets)
        settings = Settings(network, not flags.no_verify, flags.dry_run, _shard(flags.shard))
        with shown(progress, sys.stderr, flags.log.quiet):
            report = run(source, target, secrets, settings, progress)
    except BaseException as error:
        size, files = Bytes(moved=progress.moved, resumed=progress.resumed), Files(loaded=progress.files)
        report = replace(report, error=fault_of(error), bytes=size, files=files)
        if flags.output == "json":
            click.echo(to_json(report.to_json()))
        raise
    finally:
        _write_report(flags.report_file, report)
    click.echo(to_json(report.to_json()) if flags.output == "json" else "\n".join(report.lines()))


def _what_to_load(flags: LoadFlags) -> tuple[Source, "Target"]:
    if not flags.file:
        return flags.source.parse(), _target(flags.target)
    if flags.source.source:
        raise UsageError("reading", "the command line", "-f and TYPE URI exclude each other", "give one of them")
    from dsload.k8s.parsing import parse_dataset

    dataset = parse_dataset(read_file(flags.file), flags.file)
    options = {**dataset.options, **flags.source.given_options()}
    asked = flags.target
    target = replace(
        asked,
        mount_path=dataset.path if asked.mount_path is None else asked.mount_path,
        mount_uid=dataset.uid if asked.mount_uid is None else asked.mount_uid,
        mount_gid=dataset.gid if asked.mount_gid is None else asked.mount_gid,
        mount_mode=int(dataset.mode, 8) if asked.mount_mode is None else asked.mount_mode,
    )
    return Source.parse(dataset.uri, dataset.type, options), _target(target)


def _target(flags: TargetFlags) -> "Target":
    from dsload.loading.settings import Target
    from dsload.target.ownership import Ownership

    if flags.mount_path is None:
        raise UsageError("reading", "the command line", "--mount-path is missing", "--mount-path / is the root itself")
    root = os.geteuid() == 0
    uid, gid = (DEFAULT_OWNER, DEFAULT_OWNER) if root else (os.geteuid(), os.getegid())
    ownership = Ownership(
        uid if flags.mount_uid is None else flags.mount_uid,
        gid if flags.mount_gid is None else flags.mount_gid,
        0o755 if flags.mount_mode is None else flags.mount_mode,
        flags.ownership,
    )
    return Target(Path(flags.mount_root or os.getcwd()), flags.mount_path, ownership)


def _shard(given: str | None) -> "Shard | None":
    """The flag, else what the Job of `dsload manifest --shards` says in the environment."""
    from dsload.loading.settings import parse_shard

    index, total = os.environ.get("JOB_COMPLETION_INDEX"), os.environ.get("DSLOAD_SHARDS")
    text = given or (f"{index}/{total}" if index and total else "")
    return parse_shard(text, os.environ.get("DSLOAD_ROUND", "")) if text else None


def _write_report(path: str | None, report: Report) -> None:
    if path is None:
        return
    try:
        text = to_json(report.to_json())
        text = text if len(text.encode()) < _TERMINATION_LOG else to_json(report.brief().to_json())
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        log.warning("cannot write the report to %s: %s", path, error.strerror)
