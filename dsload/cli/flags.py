"""The flags of all commands: how they are read, and the dataclasses that commands get them in."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from dsload.errors import UsageError
from dsload.secrets import DEFAULT_DIRECTORY, Secrets
from dsload.source import DEFAULT_OWNER, Source, merge_options, parse_option

if TYPE_CHECKING:
    from dsload.transfer.network import Network

HELP = {"help_option_names": ["-h", "--help"]}
F = TypeVar("F")


# Dataclasses


@dataclass(frozen=True, slots=True)
class LogFlags:
    """What goes to stderr, and how."""

    log_format: str = "text"
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """What to read, and how to reach it."""

    source: tuple[str, ...]
    options: tuple[str, ...]
    mount_secrets: str
    workers: int
    max_rate: int
    retry_budget: float
    stall_timeout: float
    ca_bundle: str | None

    def given_options(self) -> dict[str, str]:
        """The options of `-o`, those of include and exclude added up."""
        return merge_options(parse_option(text) for text in self.options)

    def parse(self) -> Source:
        """The source that [TYPE] URI and options name. Raises UsageError."""
        if len(self.source) not in (1, 2) or not all(self.source):
            count = f"{len(self.source)} arguments were given, [TYPE] URI is expected"
            why = count if any(self.source) else "a URI is missing"
            raise UsageError("reading", "the command line", why, "see --help")
        return Source.parse(self.source[-1], self.source[0] if len(self.source) == 2 else None, self.given_options())

    def network(self, secrets: Secrets) -> "Network":
        """The settings of connections. Raises UsageError if a CA bundle holds no certificate."""
        from dsload.transfer.network import Network, authorities, joined

        bundles = {"--ca-bundle": self.ca_bundle, "the secret": secrets.ca_crt}
        for what, path in bundles.items():
            if path and not os.path.isfile(path):
                raise UsageError("reading", f"{what} {path}", "this file does not exist")
            try:
                good = not path or b"CERTIFICATE-----" in authorities(path)
            except OSError as error:
                raise UsageError("reading", f"{what} {path}", (error.strerror or "").lower()) from error
            if not good:
                raise UsageError("reading", f"{what} {path}", "it holds no certificate", "it has to be in PEM form")
        bundle = joined(*filter(None, bundles.values()))
        return Network(self.workers, self.max_rate, self.retry_budget, self.stall_timeout, bundle)


@dataclass(frozen=True, slots=True)
class TargetFlags:
    """Where to load to, and who owns it."""

    mount_path: str | None
    mount_root: str | None
    mount_uid: int | None
    mount_gid: int | None
    mount_mode: int | None
    ownership: Literal["require", "try", "skip"]


@dataclass(frozen=True, slots=True)
class LoadFlags:
    """All that `load` takes."""

    file: str | None
    source: SourceFlags
    target: TargetFlags
    no_verify: bool
    dry_run: bool
    shard: str | None
    output: str
    report_file: str | None
    log: LogFlags


@dataclass(frozen=True, slots=True)
class ListFlags:
    """All that `ls` takes."""

    source: SourceFlags
    output: str
    log: LogFlags


@dataclass(frozen=True, slots=True)
class VerifyFlags:
    """All that `verify` takes."""

    path: str
    output: str
    log: LogFlags


@dataclass(frozen=True, slots=True)
class ManifestFlags:
    """All that `manifest` takes."""

    files: tuple[str, ...]
    image: str | None
    job_spec: str | None
    round: int | None
    nfs_version: str
    shards: int | None
    context: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class ConvertFlags:
    """All that `convert` takes."""

    file: str
    hub: str
    namespace: str
    share: bool
    output: str


def takes(kind: type[F]) -> Callable[[Callable[[F], None]], Callable[..., None]]:
    """Calls a command with its flags in a dataclass of this kind."""

    def decorate(command: Callable[[F], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**values: Any) -> None:
            command(_filled(kind, values))

        return call

    return decorate


def _filled(kind: type[F], values: dict[str, Any]) -> F:
    """A dataclass of click's values; one that is a field of another has its own of them."""
    parts = {}
    for each in fields(kind):  # type: ignore[arg-type]
        nested = is_dataclass(each.type) and isinstance(each.type, type)
        parts[each.name] = _filled(each.type, values) if nested else values[each.name]  # type: ignore[arg-type]
    return kind(**parts)


# How they are read


class Size(click.ParamType[int]):
    """Bytes, as in 200M."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?(?:/s)?", str(value).strip().lower())
        if not match:
            self.fail(f"{value!r} is not a size such as 200M", param, ctx)
        return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


class Mode(click.ParamType[int]):
    """A mode in octal."""

    name = "OCTAL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch(r"0?[0-7]{3,4}", str(value)):
            self.fail(f"{value!r} is not a mode of three or four octal digits such as 0755", param, ctx)
        return int(str(value), 8)


class Text(click.types.StringParamType):
    """Text for a source, or a name: UTF-8 if it can be, as a Job's arguments are, whatever the locale."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        try:
            return os.fsencode(text).decode()
        except UnicodeError:
            return text


class KeyValue(Text):
    """KEY=VALUE; an environment variable has a line for each."""

    name = "KEY=VALUE"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.splitlines() if line.strip()]


def option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A click option with its DSLOAD_… variable."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "DSLOAD_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **attributes)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options, which the help lists in this order."""

    def decorate(command: Any) -> Any:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


source_argument = click.argument("source", nargs=-1, type=Text(), metavar="[TYPE] URI")

log_options = together(
    option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Form of log lines on stderr."),
    option("--quiet", is_flag=True, help="Log warnings and errors only, and draw no progress."),
    option("-v", "--verbose", is_flag=True, help="Log more, and a traceback if dsload itself fails."),
)

source_options = together(
    option("-o", "--options", multiple=True, type=KeyValue(),
           help="Option of the source; see `dsload sources`. May be repeated; DSLOAD_OPTIONS has one a line."),
    option("--mount-secrets", default=DEFAULT_DIRECTORY, metavar="DIR", show_default=True,
           help="Directory with the files username, password, token, access-key, secret-key, …"),
    option("--workers", type=click.IntRange(1, 256), default=16, metavar="N", show_default=True,
           help="Connections at a time."),
    option("--max-rate", type=Size(), default=0, help="Most bytes a second, such as 200M."),
    option("--retry-budget", type=click.FloatRange(min=0), default=600, metavar="SECONDS", show_default=True,
           help="Give up after this long without progress."),
    option("--stall-timeout", type=click.FloatRange(min=1), default=30, metavar="SECONDS", show_default=True,
           help="Drop a connection that has sent nothing for this long, and try again."),
    option("--ca-bundle", metavar="FILE", help="PEM file of authorities to trust in addition to the system's."),
)  # fmt: skip

target_options = together(
    option("--mount-path", type=Text(), metavar="PATH", help="Target below the mount root; / is the root itself."),
    option("--mount-root", metavar="DIR", help="Where the volume is mounted.  [default: the working directory]"),
    option("--mount-uid", type=click.IntRange(0), metavar="N",
           help=f"Owner.  [default: {DEFAULT_OWNER}, or yourself if not root]"),
    option("--mount-gid", type=click.IntRange(0), metavar="N",
           help=f"Group.  [default: {DEFAULT_OWNER}, or your own if not root]"),
    option("--mount-mode", type=Mode(), help="Mode of files; directories gain x.  [default: 0755]"),
    option("--ownership", type=click.Choice(["require", "try", "skip"]), default="require", show_default=True,
           help="What to do if owner and mode cannot be set."),
)  # fmt: skip


def output_option(what: str, *forms: str) -> Callable[[Any], Any]:
    """--output, of which the first form is the default."""
    default = {"default": forms[0], "show_default": forms[0] != "text"}
    return option("--output", type=click.Choice(forms), help=f"Form of the {what} on stdout.", **default)
