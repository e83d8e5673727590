"""Runs another program which, with everything that it started, ends when dsload does, however dsload ends.

Between the two stands a process that waits for the end of its standard input, which the system closes for the dead.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from dsload.secrets import carrying

_WATCH = 0.2  # seconds between two looks


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    folder: str,
    hear: Callable[[str], None],
    watch: Callable[[], None],
) -> int:
    """Run a program to its end.

    Args:
        argv, env, folder: of the program.
        hear: called with each line of its output and errors.
        watch: called several times a second; may raise to stop it.

    Returns:
        its exit code.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, folder, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(env),
        start_new_session=True,
    )
    reader = threading.Thread(target=carrying(_read), args=(child, hear), name="dsload-guarded")
    reader.start()
    try:
        while reader.is_alive():
            watch()
            reader.join(_WATCH)
        return child.wait()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        reader.join()
        assert child.stdin
        child.stdin.close()


def _read(child: "subprocess.Popen[str]", hear: Callable[[str], None]) -> None:
    assert child.stdout
    with child.stdout:
        for line in child.stdout:
            hear(line.rstrip("\n"))


def _main(folder: str, *argv: str) -> int:
    def end_with_parent() -> None:
        sys.stdin.read()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    code = subprocess.run(argv, stdin=subprocess.DEVNULL, cwd=folder).returncode
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
