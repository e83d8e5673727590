"""``dsload``, killed by SIGKILL at a chosen change to the file system; run this file itself.

python tests/killed.py 17 load URI …                         at the 17th change
python tests/killed.py os.rename:complete.json load URI …    at the first rename to (or remove, … of) that name
python tests/killed.py os.rename:*.bin@2 load URI …          at the second one of a pattern

Changes are those that Python's audit events tell of (PEP 578) before they are made, so that nothing of dsload is
touched, and no clock decides.
"""

import fnmatch
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

CHANGES = frozenset({
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chown", "os.chmod", "os.symlink", "os.truncate", "os.utime",
})  # fmt: skip


def run(when: int | str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run ``dsload`` in a child that is killed there, if it gets so far."""
    argv = [sys.executable, __file__, str(when), *map(str, arguments)]
    root = str(Path(__file__).parent.parent)
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": root})


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)


def main() -> None:
    when = sys.argv.pop(1)
    sys.dont_write_bytecode = True
    event_wanted, _, rest = when.partition(":")
    pattern, _, nth = rest.partition("@")
    count = itertools.count(1)
    last = int(when) if when.isdigit() else int(nth or 1)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in CHANGES:
            return
        if not when.isdigit():
            name = args[1] if event == "os.rename" else args[0]
            if event != event_wanted or not fnmatch.fnmatch(os.path.basename(_text(name)), pattern):
                return
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    from dsload.cli.main import main as dsload

    sys.addaudithook(hook)
    dsload()


if __name__ == "__main__":
    main()
