"""What a load tells: counters, a bar on a terminal or a line now and then elsewhere, a report at the end."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO, cast

log = logging.getLogger(__name__)

LINE_EVERY = 10.0  # seconds
LARGE = 1 << 30  # bytes; a file this large gets a line of its own
_RETRY_LINE_EVERY = 5.0  # seconds


class Progress:
    """Counters of a load under way, and who watches them. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.files = self.bytes = 0
        self.files_total = self.bytes_total = 0
        self.moved = self.resumed = self.retries = self.unverified = 0
        self.large: list[tuple[str, int]] = []
        self.phase = "listing"
        self._retry_line = 0.0

    def expect(self, files: int, size: int) -> None:
        """How much there is to load; what was counted of an earlier listing no longer counts."""
        with self._lock:
            self.files_total, self.bytes_total, self.phase = files, size, "loading"
            self.files = self.bytes = 0

    def enter(self, phase: str) -> None:
        """Something else than loading files goes on now."""
        log.info("%s", phase)
        with self._lock:
            self.phase = phase
            self.files = self.bytes = self.files_total = self.bytes_total = 0

    def expect_more(self, size: int) -> None:
        """A file of a size that the source did not tell turned out to be this large."""
        with self._lock:
            self.bytes_total += size

    def resume(self, size: int) -> None:
        """Bytes of a file that an earlier run left."""
        with self._lock:
            self.resumed += size
            self.bytes += size

    def received(self, size: int, path: str) -> None:
        """Bytes came over the wire."""
        with self._lock:
            self.moved += size
            self.bytes += size

    def loaded(self, path: str, size: int, verified: bool = True) -> None:
        """A file is in place."""
        with self._lock:
            self.files += 1
            self.unverified += not verified
            if size >= LARGE:
                self.large.append((path, size))

    def retried(self, reason: str) -> None:
        """Something is tried again."""
        with self._lock:
            self.retries += 1
            now = time.monotonic()
            if now - self._retry_line < _RETRY_LINE_EVERY:
                return
            self._retry_line = now
        log.warning("%s", reason)


@contextlib.contextmanager
def shown(progress: Progress, stream: TextIO, quiet: bool = False) -> Iterator[None]:
    """Show progress on a stream while the block runs: a bar on a terminal, plain lines elsewhere."""
    if quiet:
        yield
    elif stream.isatty():
        with _bar(progress, stream):
            yield
    else:
        with _lines(progress):
            yield


@contextlib.contextmanager
def _lines(progress: Progress) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_tell, args=(progress, stop), name="dsload-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell(progress: Progress, stop: threading.Event) -> None:
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
    done = f"{progress.files:,} of {progress.files_total:,} files, {human(progress.bytes)}"
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
    stop = threading.Event()
    with Bar(*columns, console=Console(file=stream), expand=True, transient=True) as bar:
        task = bar.add_task(progress.phase, total=None, rate="")

        def refresh() -> None:
            files = f"{progress.files:,}/{progress.files_total:,} files" if progress.files_total else progress.phase
            speed = bar.tasks[0].speed if progress.files_total else None
            shown = f"{human(speed)}/s" if speed else ""
            bar.tasks[0].total = progress.bytes_total or None  # which update() takes None for no change of
            bar.update(task, description=files, completed=progress.bytes, rate=shown)

        def run() -> None:
            while not stop.wait(0.1):
                refresh()

        thread = threading.Thread(target=run, name="dsload-progress", daemon=True)
        with _logs_to(cast(TextIO, FileProxy(bar.console, stream))):
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()
                refresh()


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


@dataclass(slots=True)
class Report:
    """What a load did.

    Args:
        type, source, revision, target: of what, from where, to where.
        server: who served it, where the source can come from several.
        files: total, loaded, kept, deleted.
        bytes: total, moved (over the wire, retries included), resumed (from partial files of earlier runs).
        seconds: from start to end.
        retries: how often something was tried again.
        unverified: files that could be checked by their size alone.
        left_out: files and bytes that option weights spared.
        error: exit code and message, where the load failed.
        dry_run: whether all this is what a load would do.
        built: of a source that builds a tree, what the builder tells of it.
    """

    type: str
    source: str
    target: str
    revision: str | None = None
    server: str = ""
    files: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    retries: int = 0
    unverified: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    dry_run: bool = False
    built: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def brief(self) -> dict[str, Any]:
        """The report without the texts that lie beside what was built."""
        return {**self.to_json(), "built": {name: text for name, text in self.built.items() if "\n" not in text}}

    def lines(self) -> list[str]:
        """The report for a person."""
        files, moved, would = self.files, self.bytes.get("moved", 0), "would be " if self.dry_run else ""
        rate = moved / self.seconds if self.seconds > 0 else 0
        revision = f" at {self.revision}" if self.revision else ""
        server = f" from {self.server}" if self.server else ""
        lines = [
            f"source   {self.source}{revision}{server}",
            f"target   {self.target}",
            f"files    {files.get('total', 0):,}: {files.get('loaded', 0):,} {would}loaded, "
            f"{files.get('kept', 0):,} unchanged, {files.get('deleted', 0):,} {would}deleted",
            f"bytes    {human(self.bytes.get('total', 0))}: {human(moved)} {would}moved, "
            f"{human(self.bytes.get('resumed', 0))} resumed",
            f"time     {duration(self.seconds)} ({human(rate)}/s), {self.retries:,} retries",
        ]
        if prefix := self.built.get("prefix"):
            lines.append(f"prefix   {prefix}")
        if self.left_out.get("files"):
            spared = f"{self.left_out['files']:,} files ({human(self.left_out['bytes'])})"
            lines.append(f"note     {spared} were left out: the same weights in other formats")
        if self.unverified:
            lines.append(
                f"note     {self.unverified:,} files were checked by size alone: the source states no checksum"
            )
        return lines


def human(size: float) -> str:
    """Bytes with a binary unit, three digits: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1000 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds as 1.2 s, 3 min 20 s or 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
