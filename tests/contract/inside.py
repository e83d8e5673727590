"""The command line in this process, for sources that live in it (memory://) and for speed."""

import contextlib
import io
import logging
import signal
import sys

from dsload.cli.main import main
from tests.command import Result


def run(*arguments: object) -> Result:
    """Run ``dsload`` to its end, in the main thread."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    log, argv = logging.getLogger("dsload"), sys.argv
    handlers, propagate, level = log.handlers[:], log.propagate, log.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = ["dsload", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv, log.handlers[:], log.propagate = argv, handlers, propagate
        log.setLevel(level)
        for number, handler in signals.items():
            signal.signal(number, handler)
    return Result(code, out.getvalue(), err.getvalue())
