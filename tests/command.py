"""The console scripts as child processes, as a user or a Job runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(sys.executable).parent  # not resolved: a virtual environment's own bin directory


@dataclass(frozen=True, slots=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The error lines of its standard error."""
        return [line for line in self.err.splitlines() if " error: " in line]


def argv(*arguments: object, script: str = "dsload") -> list[str]:
    """The command line of a console script."""
    return [str(SCRIPTS / script), *map(str, arguments)]


def run(
    *arguments: object,
    script: str = "dsload",
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    wrap: Callable[[list[str]], list[str]] = list,
) -> Result:
    """Run a console script to its end.

    Args:
        arguments: its own, as they are.
        script: ``dsload`` or ``data-loader``.
        env: variables to set beside those of this process.
        stdin: its standard input.
        cwd: its working directory.
        wrap: puts another command around it, such as `tests.servers.mounts.as_user`.
    """
    done = subprocess.run(
        wrap(argv(*arguments, script=script)),
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def ended(child: "subprocess.Popen[str]") -> Result:
    """Wait for a child of start()."""
    out, err = child.communicate(timeout=120)
    return Result(child.returncode, out, err)


def start(*arguments: object, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start ``dsload``; the caller waits for it."""
    return subprocess.Popen(
        argv(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
