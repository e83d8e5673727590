"""What a load reports: counters while it runs, and a report at its end; and how numbers are written."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

from dsload.secrets import logger

log = logger(__name__)

LARGE = 1 << 30  # bytes; a file this large gets a line of its own
SHOWN_EVERY = 0.1  # seconds
NAMED = 3  # files that a note names
_RETRY_LINE_EVERY = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a load is.

    Args:
        phase: what goes on, such as "listing" or "loading".
        files, bytes: of the current phase that are done, those of interrupted runs included.
        files_total, bytes_total: of the current phase; 0 as long as they are not known.
        moved: bytes that came over the wire so far, retries included.
        resumed: bytes that partial files of earlier runs held.
        retries: how often something was tried again.
    """

    phase: str
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    moved: int
    resumed: int
    retries: int


class Progress:
    """Counters of a load under way. Any thread may call.

    Args:
        on_change: is given a snapshot at most every SHOWN_EVERY seconds while the load waits, and one at its end, on
            the thread that called load(); an error in it stops the load.
    """

    def __init__(self, on_change: Callable[[Snapshot], None] | None = None) -> None:
        self._on_change, self._shown = on_change, 0.0
        self._lock = threading.Lock()
        self.files = self.bytes = 0
        self.files_total = self.bytes_total = 0
        self.moved = self.resumed = self.retries = 0
        self._noted: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.large: list[tuple[str, int]] = []
        self.phase = "listing"
        self._retry_line = 0.0

    def snapshot(self) -> Snapshot:
        """How far the load is now."""
        with self._lock:
            return Snapshot(
                self.phase, self.files, self.files_total, self.bytes, self.bytes_total, self.moved, self.resumed,
                self.retries,
            )  # fmt: skip

    def show(self, last: bool = False) -> None:
        """Call on_change, unless that was done a moment ago and this is not the last time."""
        if self._on_change and (last or time.monotonic() - self._shown >= SHOWN_EVERY):
            self._on_change(self.snapshot())
            self._shown = time.monotonic()

    def expect(self, files: int, size: int) -> None:
        """How much is to be loaded; what was counted for an earlier listing no longer counts."""
        with self._lock:
            self.files_total, self.bytes_total, self.phase = files, size, "loading"
            self.files = self.bytes = 0

    def enter(self, phase: str) -> None:
        """Another phase than loading files begins."""
        log.info("%s", phase)
        with self._lock:
            self.phase = phase
            self.files = self.bytes = self.files_total = self.bytes_total = 0

    def expect_more(self, size: int) -> None:
        """A file whose size the source did not state turned out to be this large."""
        with self._lock:
            self.bytes_total += size

    def resume(self, size: int) -> None:
        """An earlier run left bytes of a file."""
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
            if not verified:
                self._note("unverified", path)
            if size >= LARGE:
                self.large.append((path, size))

    def found_pointer(self, path: str) -> None:
        """A file that looks like an LFS pointer is loaded as it is."""
        with self._lock:
            self._note("pointers", path)

    def _note(self, kind: str, path: str) -> None:
        files, first = self._noted.get(kind, (0, ()))
        self._noted[kind] = files + 1, (first if files >= NAMED else (*first, path))

    @property
    def notes(self) -> "Notes":
        """What was noted of the files so far."""
        with self._lock:
            return Notes(**{kind: Noted(*noted) for kind, noted in self._noted.items()})

    def retried(self, reason: str) -> None:
        """Something is tried again, for this reason."""
        with self._lock:
            self.retries += 1
            now = time.monotonic()
            if now - self._retry_line < _RETRY_LINE_EVERY:
                return
            self._retry_line = now
        log.warning("%s", reason)


@dataclass(frozen=True, slots=True)
class Files:
    """How many files a load has to do with.

    Args:
        total: that the source has and the load selects.
        loaded: brought by this load.
        kept: unchanged since an earlier load.
        deleted: from the target, as the source no longer has them.
    """

    total: int = 0
    loaded: int = 0
    kept: int = 0
    deleted: int = 0

    def __add__(self, other: "Files") -> "Files":
        return Files(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Bytes:
    """How many bytes a load has to do with.

    Args:
        total: the size of all selected files.
        moved: over the wire, retries included.
        resumed: found in the partial files of earlier runs.
    """

    total: int = 0
    moved: int = 0
    resumed: int = 0

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Noted:
    """Files that a load met and that its user may want to know of.

    Args:
        files: how many.
        first: the paths of the first few.
    """

    files: int = 0
    first: tuple[str, ...] = ()

    def __add__(self, other: "Noted") -> "Noted":
        return Noted(self.files + other.files, (self.first + other.first)[:NAMED])

    def __str__(self) -> str:
        more = f", … ({self.files - len(self.first):,} more)" if self.files > len(self.first) else ""
        return ", ".join(self.first) + more


@dataclass(frozen=True, slots=True)
class Notes:
    """What a load left as it was, or found in its way.

    Args:
        unverified: files that could be checked by their size alone.
        pointers: files that look like LFS pointers, and are one at the source.
        replaced: files that dsload had not put there, or that somebody has changed since, and that this load replaced.
    """

    unverified: Noted = Noted()
    pointers: Noted = Noted()
    replaced: Noted = Noted()

    def __add__(self, other: "Notes") -> "Notes":
        return Notes(self.unverified + other.unverified, self.pointers + other.pointers, self.replaced + other.replaced)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What option weights left out: files, and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a load failed.

    Args:
        exit: the exit code.
        message: one line, without secrets.
        retry: whether the same command may succeed later.
    """

    exit: int
    message: str
    retry: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a load did.

    Args:
        type: of the source.
        source: its URI, without secrets.
        target: the directory that was filled.
        revision: the commit that a branch, tag or revision was resolved to; None if the source has no revisions.
        server: who served the source, if it can come from several; "" otherwise.
        files, bytes: how many.
        seconds: from start to end.
        retries: how often something was tried again.
        notes: what it left as it was, or found in its way.
        left_out: what option weights left out.
        error: why the load failed; None if it is complete.
        dry_run: whether all this is what a load would do.
        built: of a source that builds a tree: its prefix, and its texts by name.
    """

    type: str
    source: str
    target: str
    revision: str | None = None
    server: str = ""
    files: Files = Files()
    bytes: Bytes = Bytes()
    seconds: float = 0.0
    retries: int = 0
    notes: Notes = Notes()
    left_out: LeftOut = LeftOut()
    error: Fault | None = None
    dry_run: bool = False
    built: Mapping[str, str] = field(default_factory=dict)

    @property
    def unverified(self) -> int:
        """How many files could be checked by their size alone."""
        return self.notes.unverified.files

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "unverified": self.unverified}

    def brief(self) -> "Report":
        """The report without the texts that lie beside what was built."""
        return replace(self, built={name: text for name, text in self.built.items() if "\n" not in text})

    def lines(self) -> list[str]:
        """The report for a person."""
        files, moved, would = self.files, self.bytes.moved, "would be " if self.dry_run else ""
        rate = moved / self.seconds if self.seconds > 0 else 0
        revision = f" at {self.revision}" if self.revision else ""
        server = f" from {self.server}" if self.server else ""
        lines = [
            f"source   {self.source}{revision}{server}",
            f"target   {self.target}",
            f"files    {files.total:,}: {files.loaded:,} {would}loaded, "
            f"{files.kept:,} unchanged, {files.deleted:,} {would}deleted",
            f"bytes    {human(self.bytes.total)}: {human(moved)} {would}moved, {human(self.bytes.resumed)} resumed",
            f"time     {duration(self.seconds)} ({human(rate)}/s), {count(self.retries, 'retry', 'retries')}",
        ]
        if prefix := self.built.get("prefix"):
            lines.append(f"prefix   {prefix}")
        if self.left_out.files:
            what = f"{count(self.left_out.files, 'file was', 'files were')} left out ({human(self.left_out.bytes)})"
            lines.append(f"note     {what}: the same weights in other formats")
        return lines + self._notes()

    def _notes(self) -> list[str]:
        past = ("was", "were")
        notes = (
            (self.notes.unverified, past, "checked by size alone, as the source states no checksum"),
            (self.notes.pointers, past, "loaded as the LFS pointers that the source holds"),
            (
                self.notes.replaced,
                ("would be", "would be") if self.dry_run else past,
                "replaced that somebody else had put there or changed",
            ),
        )
        return [
            f"note     {count(noted.files, f'file {one}', f'files {many}')} {what}: {noted}"
            for noted, (one, many), what in notes
            if noted.files
        ]


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 file`, `1,200 files`; many if the plural is not the singular and an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


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
