"""How a load is drawn while it runs: a bar on a terminal, a plain line now and then elsewhere."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TextIO, cast

from dsload.report import Progress, count, duration, human
from dsload.secrets import carrying, logger

log = logger("dsload")

LINE_EVERY = 10.0  # seconds


@contextlib.contextmanager
def shown(progress: Progress, stream: TextIO, quiet: bool = False) -> Iterator[None]:
    """Show progress on a stream while the block runs: a bar on a terminal, plain lines elsewhere."""
    if quiet:
        yield
    elif stream.isatty():
        with _bar(progress, stream):
            yield
    else:
        with _meanwhile(partial(_write_lines, progress)):
            yield


@contextlib.contextmanager
def _meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Work on a thread of its own while the block runs; the event is set when it has to end."""
    stop = threading.Event()
    thread = threading.Thread(target=carrying(work), args=(stop,), name="dsload-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _write_lines(progress: Progress, stop: threading.Event) -> None:
    began = last = time.monotonic()
    moved, ended = 0, False
    while not ended:
        ended = stop.wait(0.2)
        while progress.large:
            path, size = progress.large.pop(0)
            log.info("%s is in place (%s)", path, human(size))
        now = time.monotonic()
        if now - last >= LINE_EVERY:
            rate = (progress.moved - moved) / (now - last)
            log.info("%s", _line(progress, rate, now - began))
            last, moved = now, progress.moved


def _line(progress: Progress, rate: float, elapsed: float) -> str:
    if not progress.files_total:
        return f"{progress.phase}, {duration(elapsed)} so far"
    done = f"{progress.files:,} of {count(progress.files_total, 'file')}, {human(progress.bytes)}"
    if progress.bytes_total:
        done += f" of {human(progress.bytes_total)} ({min(100, 100 * progress.bytes // progress.bytes_total)}%)"
    left = progress.bytes_total - progress.bytes
    eta = f", {duration(left / rate)} left" if rate > 0 and left > 0 else ""
    return f"{done}, {human(rate)}/s{eta}"


@contextlib.contextmanager
def _bar(progress: Progress, stream: TextIO) -> Iterator[None]:
    from rich.console import Console
    from rich.file_proxy import FileProxy
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    what = TextColumn("{task.description}")
    rate = TextColumn("{task.fields[rate]}")
    columns = (what, BarColumn(bar_width=None), DownloadColumn(binary_units=True), rate, TimeRemainingColumn())
    with Bar(*columns, console=Console(file=stream), expand=True, transient=True) as bar:
        task = bar.add_task(progress.phase, total=None, rate="")

        def refresh() -> None:
            files = (
                f"{progress.files:,}/{count(progress.files_total, 'file')}" if progress.files_total else progress.phase
            )
            speed = bar.tasks[0].speed if progress.files_total else None
            shown = f"{human(speed)}/s" if speed else ""
            bar.tasks[0].total = progress.bytes_total or None  # which update() takes None for no change of
            bar.update(task, description=files, completed=progress.bytes, rate=shown)

        def run(stop: threading.Event) -> None:
            while not stop.wait(0.1):
                refresh()
            refresh()

        with _logs_to(cast(TextIO, FileProxy(bar.console, stream))), _meanwhile(run):
            yield


@contextlib.contextmanager
def _logs_to(stream: TextIO) -> Iterator[None]:
    """Log lines go above the bar, not through it."""
    found = logging.getLogger("dsload").handlers
    before = [(handler, handler.setStream(stream)) for handler in found if isinstance(handler, logging.StreamHandler)]
    try:
        yield
    finally:
        for handler, old in before:
            if old is not None:
                handler.setStream(old)
