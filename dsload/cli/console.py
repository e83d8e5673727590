"""What a command has to do with its process: log lines, signals, exit codes, what goes to a terminal."""

import io
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dsload.cli.flags import LogFlags
from dsload.errors import DsloadError, InterruptedLoad, TerminatedLoad, exit_table
from dsload.secrets import logger, redact, redaction

if TYPE_CHECKING:
    from dsload.report import Fault

log = logger("dsload")

_ROWS = [f"{row.code:>5}  {row.meaning}{' *' if row.retry == 'yes' else ''}" for row in exit_table()]
EXIT_CODES = "\n".join(["\b", "Exit codes:", *_ROWS, "    *  run the same command again to resume"])


def run(command: click.Command, name: str) -> NoReturn:
    """Run a command to the end of the process; what it hides is hidden to that end."""
    with redaction():
        _run(command, name)


def _run(command: click.Command, name: str) -> NoReturn:
    stdout = sys.stdout
    _write_names()
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
        if sys.stdout is not stdout:  # click puts another in its place if the reader has gone
            sys.exit(141)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        _fail(f"unexpected error (a bug): {type(error).__name__}: {error}; -v shows where", 1, error)
    sys.exit(code if isinstance(code, int) else 0)


def _write_names() -> None:
    """Have standard output and errors take every name: on a terminal as far as it can show them, else in UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    if not log.handlers:  # click could not read the command line, so its flags are not known
        asked = f"--log-format={os.environ.get('DSLOAD_LOG_FORMAT')} {' '.join(sys.argv)}"
        begin(LogFlags(log_format=re.findall(r"--log-format[ =](\w+)", asked)[-1]))
    log.error("%s", " ".join(message.split()), exc_info=error)
    sys.exit(code)


def fault_of(error: BaseException) -> "Fault":
    """What a report says of an error."""
    from dsload.report import Fault

    code = error.exit_code if isinstance(error, DsloadError) else 2 if isinstance(error, click.UsageError) else 1
    return Fault(code, redact(str(error)), isinstance(error, DsloadError) and error.retry)


# Logs and signals


def begin(flags: LogFlags) -> None:
    """Set up the log on stderr, and what signals do."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if flags.log_format == "json" else _Text())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if flags.verbose else logging.WARNING if flags.quiet else logging.INFO)
    for number, error in ((signal.SIGINT, InterruptedLoad), (signal.SIGTERM, TerminatedLoad)):
        signal.signal(number, _raiser(error))


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


def _raiser(error: type[DsloadError]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda *_: os._exit(error.exit_code))  # a second one does not wait
        name = signal.Signals(number).name
        raise error("loading", "", f"{name}: what is done is kept", "run the same command again to resume")

    return handle


# What goes to stdout


def printable(text: str) -> str:
    """A name from a source without control characters, which could steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)


def to_json(value: Any) -> str:
    """A value as JSON for people and programs."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
