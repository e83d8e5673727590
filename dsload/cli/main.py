"""The command line: parses, calls, prints. Results go to stdout, logs and progress to stderr."""

import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dsload import __version__
from dsload.errors import DsloadError, IntegrityError, InterruptedLoad, TerminatedLoad, UsageError
from dsload.secrets import DEFAULT_DIRECTORY, Secrets, public_uri, read_secrets, redact, redaction

if TYPE_CHECKING:
    from dsload.loading.settings import Settings, Shard, Target
    from dsload.report import Fault, Report
    from dsload.source import Source
    from dsload.transfer.network import Network

log = logging.getLogger("dsload")

_TERMINATION_LOG = 4096  # bytes that Kubernetes reads of one

EXIT_CODES = """\b
Exit codes:
  0  every file is in place and verified     6  not enough space or inodes
  1  unexpected error (a bug)                7  target not writable or ownable
  2  arguments, URI, options, manifest       8  another load holds the target *
  3  the source refused the credentials      9  source unreachable or too slow *
  4  no such source, revision or path      130  interrupted (SIGINT) *
  5  integrity: wrong content, unsafe path 143  terminated (SIGTERM) *
  * the same command again goes on from there"""


def _option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A click option with its DSLOAD_… variable."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "DSLOAD_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **attributes)


class _Size(click.ParamType[int]):
    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?(?:/s)?", str(value).strip().lower())
        if not match:
            self.fail(f"{value!r} is no size such as 200M", param, ctx)
        return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


class _Mode(click.ParamType[int]):
    name = "OCTAL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch(r"0?[0-7]{3,4}", str(value)):
            self.fail(f"{value!r} is no mode of three or four octal digits such as 0755", param, ctx)
        return int(str(value), 8)


class _KeyValue(click.types.StringParamType):
    name = "KEY=VALUE"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.splitlines() if line.strip()]


def _logging_options(command: Any) -> Any:
    command = _option("-v", "--verbose", is_flag=True, help="Log more; a traceback where dsload itself fails.")(command)
    command = _option("--quiet", is_flag=True, help="Log warnings and errors only; no progress.")(command)
    return _option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Form of log lines on stderr.",
    )(command)


def _source_options(command: Any) -> Any:
    for option in (
        _option("--ca-bundle", metavar="FILE", help="PEM file of authorities to trust instead of the system's."),
        _option("--stall-timeout", type=click.FloatRange(min=1), default=30, metavar="SECONDS", show_default=True,
                help="Drop a connection that sends nothing for so long, and try again."),
        _option("--retry-budget", type=click.FloatRange(min=0), default=600, metavar="SECONDS", show_default=True,
                help="Give up after so long without progress."),
        _option("--max-rate", type=_Size(), default=0, help="Bytes a second at most, such as 200M."),
        _option("--workers", type=click.IntRange(1, 256), default=16, metavar="N", show_default=True,
                help="Connections at a time."),
        _option("--mount-secrets", default=DEFAULT_DIRECTORY, metavar="DIR", show_default=True,
                help="Directory with the files username, password, token, access-key, secret-key, …"),
        _option("-o", "--options", multiple=True, type=_KeyValue(),
                help="Option of the source; see `dsload sources`. May be repeated; DSLOAD_OPTIONS has a line each."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="dsload")
def cli() -> None:
    """Load a dataset or model from a source into a mounted volume.

    Every flag has an environment variable: --mount-root is DSLOAD_MOUNT_ROOT.
    """


@cli.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.argument("source", nargs=-1, metavar="[TYPE] URI")
@_option(
    "-f",
    "--file",
    metavar="FILE",
    help="A Dataset's YAML, instead of TYPE, URI and mount options; - for stdin.",
)
@_option("--mount-path", metavar="PATH", help="Target below the mount root; / is the root itself.")
@_option("--mount-root", metavar="DIR", help="Where the volume is mounted.  [default: the working directory]")
@_option(
    "--mount-uid",
    type=click.IntRange(0),
    metavar="N",
    help="Owner.  [default: 1000, or yourself if not root]",
)
@_option(
    "--mount-gid",
    type=click.IntRange(0),
    metavar="N",
    help="Group.  [default: 1000, or your own if not root]",
)
@_option("--mount-mode", type=_Mode(), help="Mode of files; directories gain x.  [default: 0755]")
@_source_options
@_option("--ownership", type=click.Choice(["require", "try", "skip"]), default="require", show_default=True,
         help="What to do where owner and mode cannot be set.")  # fmt: skip
@_option("--no-verify", is_flag=True, help="Do not hash what is loaded; sizes are still checked.")
@_option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@_option("--shard", metavar="I/N", help="Load part I (from 0) of N; default from JOB_COMPLETION_INDEX, DSLOAD_SHARDS.")
@_option("--output", type=click.Choice(["text", "json"]), default="text", help="Form of the report on stdout.")
@_option("--report-file", metavar="FILE", help="Write the JSON report here too, such as /dev/termination-log.")
@_logging_options
def load(**flags: Any) -> None:
    """Load a source into MOUNT_ROOT/MOUNT_PATH: complete, verified, owned. Run it again to resume or update.

    \b
    dsload load s3://bucket/models/qwen --mount-path models/qwen -o endpoint=http://minio:9000
    dsload load https://host/models/qwen/ --mount-root /data --mount-path qwen
    dsload load -f dataset.yaml --mount-root /data
    """
    from dsload.report import Bytes, Files, Progress, Report, shown

    _set_up_logging(flags)
    _catch_signals()
    progress = Progress()
    report = Report("", " ".join(map(public_uri, flags["source"])), "")
    try:
        source, target = _what_to_load(flags)
        secrets = read_secrets(flags["mount_secrets"])
        settings = _settings(flags, secrets)
        place = os.path.join(target.root, target.path.lstrip("/"))
        report = Report(source.type, str(source), place)
        from dsload.loading.load import load as run

        with shown(progress, sys.stderr, flags["quiet"]):
            report = run(source, target, secrets, settings, progress)
    except BaseException as error:
        size = Bytes(moved=progress.moved, resumed=progress.resumed)
        report = replace(report, error=_error_of(error), bytes=size, files=Files(loaded=progress.files))
        if flags["output"] == "json":
            click.echo(_dump(report.to_json()))
        raise
    finally:
        _write_report(flags["report_file"], report)
    _print_report(report, flags)


def _print_report(report: "Report", flags: dict[str, Any]) -> None:
    if flags["output"] == "json":
        click.echo(_dump(report.to_json()))
    else:
        click.echo("\n".join(report.lines()))


def _write_report(path: str | None, report: "Report") -> None:
    if path is None:
        return
    try:
        text = _dump(report.to_json())
        text = text if len(text.encode()) < _TERMINATION_LOG else _dump(report.brief().to_json())
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        log.warning("cannot write the report to %s: %s", path, error.strerror)


@cli.command("ls", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", nargs=-1, metavar="[TYPE] URI")
@_source_options
@_option("--output", type=click.Choice(["text", "json"]), default="text", help="Form of the listing on stdout.")
@_logging_options
def list_command(**flags: Any) -> None:
    """List what would be loaded: size, checksum, path; and the revision that a branch or tag stands for now."""
    from dsload.loading.load import ls
    from dsload.loading.settings import Settings

    _set_up_logging(flags)
    _catch_signals()
    source = _parse_source(flags["source"], flags["options"])
    secrets = read_secrets(flags["mount_secrets"])
    listing = ls(source, secrets, Settings(_network(flags, secrets)))
    entries = listing.entries
    if flags["output"] == "json":
        _print_listing_json(str(source), listing.revision, entries)
        return
    if listing.revision:
        click.echo(f"revision {listing.revision}")
    for entry in entries:
        size = "-" if entry.size < 0 else str(entry.size)
        checksum = str(entry.checksum) if entry.checksum else (f"version:{entry.version}" if entry.version else "-")
        mark = "/" if entry.directory else f" -> {entry.symlink}" if entry.symlink is not None else ""
        click.echo(f"{size:>14}  {checksum}  {printable(entry.path)}{printable(mark)}")


def _print_listing_json(source: str, revision: str | None, entries: Iterable[Any]) -> None:
    """One JSON document, written as it goes: a listing may be long."""
    click.echo(f'{{"source": {json.dumps(source)}, "revision": {json.dumps(revision)}, "entries": [', nl=False)
    separator = "\n"
    for entry in entries:
        row = {
            "path": entry.path,
            "size": entry.size,
            "checksum": str(entry.checksum) if entry.checksum else None,
            "version": entry.version or None,
        }
        if entry.directory:
            row["directory"] = True
        if entry.symlink is not None:
            row["symlink"] = entry.symlink
        click.echo(separator + json.dumps(row), nl=False)
        separator = ",\n"
    click.echo("\n]}")


@cli.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("path", metavar="PATH")
@_option("--output", type=click.Choice(["text", "json"]), default="text", help="Form of the result on stdout.")
@_logging_options
def verify(path: str, output: str, **flags: Any) -> None:
    """Re-hash a loaded target against its inventory. Exit code 5 if a file differs or is missing."""
    from dsload.loading.verify import Verdict
    from dsload.loading.verify import verify as run
    from dsload.report import count, human

    def show(verdict: Verdict) -> None:
        if output == "text":
            click.echo(f"{printable(verdict.path)}: {verdict.problem}")

    _set_up_logging(flags)
    _catch_signals()
    found = run(path, show)
    if output == "json":
        wrong = [{"path": verdict.path, "problem": verdict.problem} for verdict in found.wrong]
        click.echo(_dump({**asdict(found), "wrong": wrong}))
    if found.wrong:
        first = ", ".join(printable(verdict.path) for verdict in found.wrong[:3]) + (", …" if found.wrong[3:] else "")
        why = f"{len(found.wrong):,} of {count(found.files, 'file')} differ or are missing: {first}"
        raise IntegrityError("verifying", path, why, "load it again")
    if not found.complete:
        why = f"its last load did not end; the {count(found.files, 'file')} that it put there so far are right"
        raise IntegrityError("verifying", path, why, "run the load again to resume")
    if output == "text":
        click.echo(f"{path}: {count(found.files, 'file is', 'files are')} as loaded, {human(found.bytes)} hashed")


@cli.command(context_settings={"help_option_names": ["-h", "--help"]})
@_option("--output", type=click.Choice(["text", "json"]), default="text", help="Form of the list on stdout.")
def sources(output: str) -> None:
    """List the sources: type, schemes, options, whether their library is installed."""
    from dsload.registry import specs
    from dsload.source import SELECTION

    rows: list[dict[str, Any]] = []
    for spec in specs().values():
        needs = spec.needs()
        state = "mounted, not loaded" if not spec.preloads else "installed" if spec.installed else spec.hint
        rows.append(
            {
                "type": spec.type,
                "schemes": tuple(dict.fromkeys((*spec.schemes, *needs))),
                "forms": spec.forms,
                "options": dict(spec.options),
                "state": state,
                "missing": {scheme: hint for scheme, hint in needs.items() if hint},
            }
        )
    if output == "json":
        click.echo(_dump(rows))
        return
    for row in rows:
        there = [f"{scheme}://" for scheme in row["schemes"] if scheme not in row["missing"]]
        click.echo(f"{row['type']:<12} {', '.join((*there, *row['forms']))}  ({row['state']})")
        for name, about in row["options"].items():
            click.echo(f"{'':<13}{name:<16} {about}")
        for scheme, hint in row["missing"].items():
            click.echo(f"{'':<13}{scheme + '://':<16} not installed: {hint}")
    click.echo(f"\nEvery source that is loaded also takes {', '.join(sorted(SELECTION))}.")


def _document_options(command: Any) -> Any:
    return _option(
        "--output",
        type=click.Choice(["yaml", "json"]),
        default="yaml",
        show_default=True,
        help="Form of the objects on stdout.",
    )(command)


@cli.command(context_settings={"help_option_names": ["-h", "--help"]})
@_option("-f", "--file", "files", multiple=True, required=True, type=click.Path(), metavar="FILE",
         help="Datasets; a folder stands for its *.yaml, *.yml and *.json, - for stdin. May be repeated.")  # fmt: skip
@_option("--image", metavar="IMAGE",
         help="Of the preload container.  [default: the job spec's, or ghcr.io/dsload/dsload:latest]")  # fmt: skip
@_option("--job-spec", metavar="FILE", help="Partial JobSpec that is merged into every Job.")
@_option("--round", type=click.IntRange(1), metavar="N", help="Round of the Jobs.  [default: the Dataset's]")
@_option("--nfs-version", type=click.Choice(["3", "4.0", "4.1", "4.2"]), default="4.1", show_default=True,
         help="Version of NFS that volumes are mounted with.")  # fmt: skip
@_option("--shards", type=click.IntRange(1, 10_000), metavar="N",
         help="Pods that share a load.  [default: the Dataset's annotation dsload.io/shards, or 1]")  # fmt: skip
@_option("--context", multiple=True, type=click.Path(), metavar="FILE",
         help="Objects of the cluster, as `kubectl get -o yaml` prints them, that REFERENCE and PVC build on; "
         "files and folders as for -f. May be repeated.")  # fmt: skip
@_document_options
def manifest(**flags: Any) -> None:
    """Print the Job, claim, volume and ConfigMap of Datasets, for `kubectl apply -f -`.

    \b
    dsload manifest -f dataset.yaml | kubectl apply -f -
    kubectl get -o yaml dataset,pvc -n public > public.yaml; kubectl get -o yaml pv,ns > cluster.yaml
    dsload manifest -f reference.yaml --context public.yaml --context cluster.yaml
    """
    from dsload.k8s.context import Context
    from dsload.k8s.dataset import parse_all
    from dsload.k8s.manifests import all_manifests
    from dsload.k8s.settings import Settings, read_job_spec

    documents = _documents(flags["files"])
    datasets = parse_all(documents)
    if not datasets:
        raise UsageError("reading", ", ".join(flags["files"]), "there is no Dataset in it")
    job_spec = read_job_spec(_read(flags["job_spec"]), flags["job_spec"]) if flags["job_spec"] else {}
    settings = Settings(flags["image"], job_spec, flags["round"], flags["nfs_version"], flags["shards"])
    context = Context.of([*_documents(flags["context"]), *documents])
    _print_objects(all_manifests(datasets, settings, context), flags["output"])


@cli.command(context_settings={"help_option_names": ["-h", "--help"]})
@_document_options
def crd(output: str) -> None:
    """Print the CustomResourceDefinition of Dataset."""
    from dsload.k8s.crd import crd as definition

    _print_objects([definition()], output)


@cli.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", metavar="FILE")
@_option("--hub", type=click.Choice(["huggingface", "modelscope"]), required=True, help="Which hub to load from.")
@_option("--namespace", default="public", show_default=True, metavar="NAME", help="Namespace of the Dataset.")
@_option("--share/--no-share", default=True, show_default=True, help="Whether other namespaces may reference it.")
@_document_options
def convert(file: str, hub: str, namespace: str, share: bool, output: str) -> None:
    """Print the Dataset that loads a model hub's ModelSpec (metadata.yaml); - is stdin."""
    from dsload.k8s.modelspec import convert as datasets_of

    _print_objects(datasets_of(_read(file), file, hub, namespace, share), output)


def _documents(paths: Iterable[str]) -> list[tuple[str, Any]]:
    from dsload.k8s.dataset import read_documents

    return [document for path in paths for file in _files(path) for document in read_documents(_read(file), file)]


def _files(path: str) -> list[str]:
    """A file, or those of a folder that hold YAML or JSON."""
    if not os.path.isdir(path):
        return [path]
    found = sorted(str(file) for file in Path(path).iterdir() if file.suffix in (".yaml", ".yml", ".json"))
    if not found:
        raise UsageError("reading", path, "there is no *.yaml, *.yml or *.json in this folder")
    return found


def _print_objects(objects: list[dict[str, Any]], output: str) -> None:
    from dsload.k8s.printing import to_json, to_yaml

    click.echo(to_json(objects) if output == "json" else to_yaml(objects), nl=False)


# What the flags mean


def _what_to_load(flags: dict[str, Any]) -> tuple["Source", "Target"]:
    from dsload.loading.settings import Target
    from dsload.target.ownership import Ownership

    uid, gid, mode, path = flags["mount_uid"], flags["mount_gid"], flags["mount_mode"], flags["mount_path"]
    if flags["file"]:
        from dsload.k8s.dataset import parse_dataset

        if flags["source"]:
            raise UsageError("reading", "the command line", "-f and TYPE URI exclude each other", "give one of them")
        dataset = parse_dataset(_read(flags["file"]), flags["file"])
        source = _make_source(dataset.uri, dataset.type, {**dataset.options, **_options(flags["options"])})
        path = dataset.path if path is None else path
        uid = dataset.uid if uid is None else uid
        gid = dataset.gid if gid is None else gid
        mode = int(dataset.mode, 8) if mode is None else mode
    else:
        source = _parse_source(flags["source"], flags["options"])
    if path is None:
        raise UsageError("reading", "the command line", "--mount-path is missing", "--mount-path / is the root itself")
    root = os.geteuid() == 0
    uid = uid if uid is not None else 1000 if root else os.geteuid()
    gid = gid if gid is not None else 1000 if root else os.getegid()
    ownership = Ownership(uid, gid, 0o755 if mode is None else mode, flags["ownership"])
    return source, Target(Path(flags["mount_root"] or os.getcwd()), path, ownership)


def _parse_source(arguments: tuple[str, ...], options: tuple[str, ...]) -> "Source":
    if len(arguments) not in (1, 2) or not all(arguments):
        why = "a URI is missing" if not any(arguments) else f"{len(arguments)} arguments where [TYPE] URI is expected"
        raise UsageError("reading", "the command line", why, "see --help")
    return _make_source(arguments[-1], arguments[0] if len(arguments) == 2 else None, _options(options))


def _make_source(uri: str, type: str | None, options: dict[str, str]) -> "Source":
    from dsload.source import Source

    return Source.parse(uri, type, options)


def _options(texts: tuple[str, ...]) -> dict[str, str]:
    from dsload.source import merge_options, parse_option

    return merge_options(parse_option(text) for text in texts)


def _settings(flags: dict[str, Any], secrets: Secrets) -> "Settings":
    from dsload.loading.settings import Settings

    return Settings(_network(flags, secrets), not flags["no_verify"], flags["dry_run"], _shard(flags["shard"]))


def _shard(given: str | None) -> "Shard | None":
    """The flag, else what the Job of `dsload manifest --shards` says in the environment."""
    from dsload.loading.settings import parse_shard

    index, count = os.environ.get("JOB_COMPLETION_INDEX"), os.environ.get("DSLOAD_SHARDS")
    text = given or (f"{index}/{count}" if index and count else "")
    return parse_shard(text, os.environ.get("DSLOAD_ROUND", "")) if text else None


def _network(flags: dict[str, Any], secrets: Secrets) -> "Network":
    from dsload.transfer.network import Network

    bundle = flags["ca_bundle"] or secrets.ca_crt or None
    if bundle and not os.path.isfile(bundle):
        raise UsageError("reading", f"--ca-bundle {bundle}", "there is no such file")
    return Network(flags["workers"], flags["max_rate"], flags["retry_budget"], flags["stall_timeout"], bundle)


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not text"
        raise UsageError("reading", path, why) from error


def printable(text: str) -> str:
    """A name from a source without control characters, which could steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)


def _dump(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


# Logs, signals, exit codes


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {prefix}{record.getMessage()}"
        if record.exc_info and log.isEnabledFor(logging.DEBUG):
            text += "\n" + self.formatException(record.exc_info)
            return redact(text)
        return printable(redact(text))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = {"time": when, "level": record.levelname.lower(), "message": redact(record.getMessage())}
        if record.exc_info and log.isEnabledFor(logging.DEBUG):
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line)


def _set_up_logging(flags: dict[str, Any]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if flags["log_format"] == "json" else _Text())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if flags["verbose"] else logging.WARNING if flags["quiet"] else logging.INFO)


def _catch_signals() -> None:
    for number, error in ((signal.SIGINT, InterruptedLoad), (signal.SIGTERM, TerminatedLoad)):
        signal.signal(number, _raiser(error))


def _raiser(error: type[DsloadError]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda *_: os._exit(error.exit_code))  # a second one does not wait
        raise error(
            "loading",
            "",
            f"{signal.Signals(number).name}: what is done is kept",
            "the same command goes on from here",
        )

    return handle


def _error_of(error: BaseException) -> "Fault":
    from dsload.report import Fault

    code = error.exit_code if isinstance(error, DsloadError) else 2 if isinstance(error, click.UsageError) else 1
    return Fault(code, redact(str(error)), isinstance(error, DsloadError) and error.retry)


def _run(command: click.Command, name: str) -> NoReturn:
    with redaction():
        _run_hiding(command, name)


def _run_hiding(command: click.Command, name: str) -> NoReturn:
    stdout = sys.stdout
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except DsloadError as error:
        _fail(str(error), error.exit_code, error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(f"{error.format_message().rstrip('.')}; see `{name} --help`", 2, error)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except SystemExit:
        if sys.stdout is not stdout:  # click puts another in its place where the reader has gone
            sys.exit(141)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        _fail(f"unexpected error (a bug): {type(error).__name__}: {error}; -v shows where", 1, error)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    if not log.handlers:  # the command line could not be read: not by click
        asked = f"--log-format={os.environ.get('DSLOAD_LOG_FORMAT')} {' '.join(sys.argv)}"
        log_format = re.findall(r"--log-format[ =](\w+)", asked)[-1]
        _set_up_logging({"log_format": log_format, "verbose": False, "quiet": False})
    log.error("%s", " ".join(message.split()), exc_info=error)
    sys.exit(code)


def main() -> NoReturn:
    """The console script `dsload`."""
    _run(cli, "dsload")


def data_loader() -> NoReturn:
    """The console script `data-loader`: exactly `dsload load`."""
    _run(load, "data-loader")
