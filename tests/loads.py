"""Loads of HTTP sources, in this process and as a child, and what they left on the volume and at the server."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsload import Network, Report, Secrets, Settings, Source, Target, load
from tests.command import Result, argv
from tests.servers.fault import FaultServer
from tests.servers.threaded import Request
from tests.trees import contents

TIMEOUT = 60  # seconds: what takes longer hangs


@dataclass(frozen=True, slots=True)
class Run:
    """A load by the command line."""

    result: Result
    target: Path

    @property
    def code(self) -> int:
        """The exit code."""
        return self.result.code

    @property
    def report(self) -> Any:
        """The JSON report."""
        return self.result.json

    @property
    def tree(self) -> dict[str, bytes]:
        """The files that it put on the volume."""
        return contents(self.target)

    @property
    def error(self) -> str:
        """The one error line; fails where there is none or there are more."""
        (line,) = self.result.errors
        assert self.code != 0
        assert "Traceback" not in self.result.err
        return line


def run(uri: str, root: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Run:
    """Run ``dsload load`` of a URI into `set` below the root, with a JSON report; it gives up early."""
    root.mkdir(exist_ok=True, parents=True)
    first = ("load", uri, "--mount-root", root, "--mount-path", "set", "--output", "json", "--retry-budget", 20)
    done = subprocess.run(
        argv(*first, "--mount-secrets", root.parent / "secrets", *arguments),
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=TIMEOUT,
    )
    return Run(Result(done.returncode, done.stdout, done.stderr), root / "set")


def bring(
    uri: str, root: Path, *, secrets: Secrets | None = None, settings: Settings | None = None, **options: str
) -> Report:
    """Load a URI into `set` below the root, in this process."""
    root.mkdir(exist_ok=True, parents=True)
    settings = settings or Settings(Network(workers=4, retry_budget=20))
    return load(Source.parse(uri, "HTTP", options), Target(root, "set"), secrets, settings)


def write_secrets(directory: Path, **values: str) -> Path:
    """A secrets directory; ``_`` in a name means ``-``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (directory / name.replace("_", "-")).write_text(value)
    return directory


def bodies(server: FaultServer, path: str) -> list[Request]:
    """The requests of a path whose answers had a body of the file."""
    return [r for r in server.requests(path) if r.method == "GET" and r.status in (200, 206)]
