"""What is measured, as data: who loads what, and the bars that the figures have to meet."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.site import FOLDERS, RATE


@dataclass(frozen=True, slots=True)
class Took:
    """One run of a whole process: seconds by the clock, of both cores; bytes of peak memory and of the target."""

    seconds: float
    cpu: float
    peak: int
    code: int
    disk: int = 0


@dataclass(frozen=True, slots=True)
class Contender:
    """A program (see `programs.py`) and the source `server:folder` that it loads or lists.

    Args:
        again: its target holds everything already.
    """

    label: str
    program: str
    source: str = ""
    flags: tuple[str, ...] = ()
    again: bool = False


Figures = dict[str, list[Took]]  # by label


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure made of a row's runs, None if a contender is missing; and what it has to be."""

    about: str
    figure: Callable[[Figures], float | None]
    limit: float
    least: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Contenders that run in turns; runs=0 for as many as the command line says; memory is the bar of ours in MB."""

    name: str
    about: str
    contenders: tuple[Contender, ...]
    bars: tuple[Bar, ...] = ()
    memory: int = 120
    runs: int = 0


def seconds(runs: list[Took]) -> float:
    return median(run.seconds for run in runs)


def _times(limit: float, who: str, *others: str) -> Bar:
    def figure(figures: Figures) -> float | None:
        there = [seconds(figures[other]) for other in others if other in figures]
        return seconds(figures[who]) / min(there) if there else None

    return Bar(f"{who}: times {' or '.join(others)}", figure, limit)


def _disk(limit: float, who: str, other: str) -> Bar:
    def figure(figures: Figures) -> float | None:
        return figures[who][0].disk / figures[other][0].disk if other in figures else None

    return Bar(f"{who}: disk of {other}", figure, limit)


def _memory(limit: float, who: str, other: str) -> Bar:
    def figure(figures: Figures) -> float | None:
        there = [median(run.peak for run in figures[label]) for label in (who, other) if label in figures]
        return there[0] / there[1] if len(there) == 2 else None

    return Bar(f"{who}: memory of {other}", figure, limit)


def _conda(name: str, about: str, source: str) -> Row:
    return Row(name, about, (Contender(OURS, "dsload", source), _peer("rattler", source)),
        (_times(1.15, OURS, "rattler"), _memory(1.2, OURS, "rattler")), memory=400)  # fmt: skip


def _rate(workers: int) -> Row:
    ideal = FOLDERS["one"]["model.safetensors"] / (workers * RATE)
    share = Bar("share of the rate", lambda figures: ideal / seconds(figures[OURS]), 0.9, least=True)
    about = f"1 GB, 20 MB/s a connection, {workers} workers"
    return Row(f"rate-{workers}", about, (Contender(OURS, "dsload", "paced:one", (f"--workers={workers}",)),), (share,))


def _hub(name: str, about: str, folder: str, hf: float, modelscope: float, paced: str = "") -> Row:
    """Both hubs, each beside its own client; everything is verified."""
    on_hf, on_ms = f"hf{paced}:{folder}", f"ms{paced}:{folder}"
    return Row(name, about, (
        Contender("dsload hf://", "dsload", on_hf), _peer("hf", on_hf),
        Contender("dsload ms://", "dsload", on_ms), _peer("modelscope", on_ms),
    ), (_times(hf, "dsload hf://", "hf"), _times(modelscope, "dsload ms://", "modelscope")))  # fmt: skip


def _beyond(figures: Figures) -> float:
    return seconds(figures["dsload again"]) - seconds(figures["dsload ls"])


OURS, PLAIN = "dsload", "dsload --no-verify"
_MILLION = "objects:1000000"


def _plain(source: str) -> Contender:
    return Contender(PLAIN, "dsload", source, ("--no-verify",))


def _peer(program: str, source: str) -> Contender:
    return Contender(program, program, source)


ROWS = (
    Row("big-s3", "11 files, 1.9 GB, SeaweedFS", (
        _plain("s3:big"), _peer("s5cmd", "s3:big"), Contender(OURS, "dsload", "s3:big"), _peer("rclone", "s3:big"),
    ), (_times(1.0, PLAIN, "s5cmd"), _times(1.0, OURS, "rclone"), _times(1.3, OURS, PLAIN))),
    Row("big-http", "11 files, 1.9 GB, nginx", (
        _plain("http:big"), _peer("curl", "http:big"), Contender(OURS, "dsload", "http:big"),
        _peer("aria2c", "http:big"),
    ), (_times(1.0, PLAIN, "curl", "aria2c"), _times(1.3, OURS, PLAIN))),
    Row("big-tls", "11 files, 1.9 GB, nginx, TLS", (
        _plain("tls:big"), _peer("curl", "tls:big"), _peer("aria2c", "tls:big"),
    ), (_times(1.0, PLAIN, "curl", "aria2c"),)),
    Row("small-s3", "3,000 files of 4 to 40 kB, SeaweedFS", (
        _plain("s3:small"), _peer("s5cmd", "s3:small"), Contender(OURS, "dsload", "s3:small"),
    ), (_times(0.8, PLAIN, "s5cmd"),)),
    Row("small-http", "3,000 files of 4 to 40 kB, nginx", (
        _plain("http:small"), _peer("curl", "http:small"), Contender(OURS, "dsload", "http:small"),
    ), (_times(2.5, PLAIN, "curl"),)),
    Row("many-http", "20,000 files of 4 to 40 kB, nginx", (
        _plain("http:many"), _peer("curl", "http:many"), Contender(OURS, "dsload", "http:many"),
    ), (_times(2.0, PLAIN, "curl"),)),
    _rate(8),
    _rate(16),
    _hub("hub-big", "11 files, 1.9 GB, a hub", "big", 0.4, 0.95),
    _hub("hub-rate", "2 files, 700 MB, a hub, 20 MB/s a connection", "two", 0.2, 0.2, "-paced"),
    _hub("hub-small", "2,000 files of 4 to 40 kB, a hub", "hub", 0.5, 0.5),
    Row("git-lfs", "10 files, 1 GB, in Git LFS", (Contender(OURS, "dsload", "git:lfs"), _peer("git", "git:lfs")), (
        _times(0.8, OURS, "git"), _disk(0.55, OURS, "git"))),
    Row("git-plain", "5,000 files, 100 MB, in git", (Contender(OURS, "dsload", "git:plain"), _peer("git", "git:plain")),
        (_times(1.5, OURS, "git"),), memory=200),
    Row("git-many", "50,000 files, 60 MB, in git", (Contender(OURS, "dsload", "git:tiny"), _peer("git", "git:tiny")),
        memory=200, runs=1),
    Row("git-3gb", "one file, 3 GB, in Git LFS", (Contender(OURS, "dsload", "git:single"),), memory=200, runs=1),
    _conda("conda", "124 packages, 1 GB, 40,000 files, nginx", "conda:env"),
    _conda("conda-rate", "40 packages, 300 MB, 12,000 files, 20 MB/s a connection", "conda-paced:env-small"),
    Row("nothing", "10,000 unchanged files", (
        Contender("dsload again", "dsload", "http:same", again=True), Contender("dsload ls", "ls", "http:same"),
    ), (Bar("seconds beyond the listing", _beyond, 1.5),)),
    Row("help", "dsload --help", (Contender(OURS, "help"),), (
        Bar("seconds", lambda figures: seconds(figures[OURS]), 0.2),)),
    Row("objects", "100,000 objects of a few bytes", (Contender(OURS, "dsload", "objects:100000"),), runs=1),
    Row("million-ls", "1,000,000 objects listed", (Contender("dsload ls", "ls", _MILLION),), memory=400, runs=1),
    Row("million-plan", "1,000,000 objects planned", (Contender("dsload --dry-run", "plan", _MILLION),),
        memory=400, runs=1),
    Row("limited", "11 files, 1.9 GB, to a disk, 150 MB of memory or killed", (Contender(OURS, "limited", "http:big"),),
        runs=1),
)  # fmt: skip
