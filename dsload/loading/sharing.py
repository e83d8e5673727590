"""A load that several processes share, such as the pods of an Indexed Job: one plan, a part of it for each.

The first shard to hold the lease lists and plans for all, and publishes the plan in `.dsload/shards.jsonl`; the others
take it, so that each file is loaded by exactly one shard whatever becomes of the source meanwhile. A file is assigned
whole: one process writes its partial file, hashes it as it comes, and has as many connections for it as for many files.
The last shard to end deletes, merges the journals of all and writes the marker.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsload.errors import IntegrityError
from dsload.listing import BytesReader, Checksum, Entry, Listing
from dsload.loading.plan import Plan
from dsload.loading.settings import Shard
from dsload.loading.supply import agree, read_from
from dsload.report import Bytes, Files, Report
from dsload.source import Source
from dsload.target.volume import Volume

PLAN = "shards.jsonl"


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """What all shards of a load are to do.

    Args:
        id: distinguishes it from other plans.
        identity, selection: of the source.
        count, round: of the shards.
        revision: that was listed.
        server: that listed it.
        load: the entries to load, without readers.
        delete, forget: what the last shard does at the end.
        keep, keep_bytes: what the target holds already.
    """

    id: str
    identity: str
    selection: str
    count: int
    round: str
    revision: str | None
    server: str
    load: list[Entry] = field(repr=False)
    delete: list[str] = field(repr=False)
    forget: list[str] = field(repr=False)
    keep: int = 0
    keep_bytes: int = 0

    def of(self, shard: Shard) -> list[Entry]:
        """The entries that a shard loads."""
        return assign(self.load, shard.count)[shard.index]

    def fits(self, shard: Shard, source: Source) -> bool:
        """Whether a plan that was found belongs to this load."""
        mine = (source.identity(), source.selection(), shard.count, shard.round)
        return (self.identity, self.selection, self.count, self.round) == mine


def assign(entries: Sequence[Entry], count: int) -> list[list[Entry]]:
    """A part for each shard: the largest file first, each to the shard that has least; equal plans, equal parts."""
    parts: list[list[Entry]] = [[] for _ in range(count)]
    sizes = [(0, number) for number in range(count)]
    for entry in sorted(entries, key=lambda entry: (-entry.size, entry.path)):
        size, number = min(sizes)
        parts[number].append(entry)
        sizes[number] = size + max(1, entry.size), number
    return parts


def make_shared(shard: Shard, source: Source, listing: Listing, plan: Plan) -> SharedPlan:
    """The plan that all shards share. What has to go first, and what is only stamped, is done when it is published."""
    return SharedPlan(
        secrets.token_hex(8), source.identity(), source.selection(), shard.count, shard.round, listing.revision,
        listing.server, plan.load, plan.delete, plan.forget, plan.keep, plan.keep_bytes,
    )  # fmt: skip


def publish(plan: SharedPlan, volume: Volume) -> None:
    """Let the other shards have a plan; it appears whole."""
    with volume.state.replace(PLAN) as fd, open(fd, "wb", closefd=False) as out:
        for value in _lines(plan):
            out.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def _lines(plan: SharedPlan) -> Iterator[dict[str, Any]]:
    names = ("id", "identity", "selection", "count", "round", "revision", "server", "keep", "keep_bytes")
    yield {name: getattr(plan, name) for name in names}
    for entry in plan.load:
        row: dict[str, Any] = {"load": entry.path, "size": entry.size, "version": entry.version}
        if entry.checksum:
            row["checksum"] = str(entry.checksum)
        for name in ("executable", "symlink", "directory"):
            if value := getattr(entry, name):
                row[name] = value
        yield row
    for path in plan.delete:
        yield {"delete": path}
    for path in plan.forget:
        yield {"forget": path}


def published(volume: Volume) -> SharedPlan | None:
    """The plan that was published, None if none can be read."""
    lines = volume.state.read(PLAN)
    try:
        plan = SharedPlan(**json.loads(next(lines, b"")), load=[], delete=[], forget=[])
        for row in map(json.loads, lines):
            if "load" in row:
                plan.load.append(_entry(row))
            elif "delete" in row:
                plan.delete.append(row["delete"])
            else:
                plan.forget.append(row["forget"])
    except (ValueError, TypeError, KeyError):
        return None
    return plan


def _entry(row: dict[str, Any]) -> Entry:
    checksum = Checksum.parse(row["checksum"]) if "checksum" in row else None
    flags = (row.get("executable", False), row.get("symlink"), row.get("directory", False))
    return Entry(row["load"], row["size"], row["version"], _NoReader(), "", checksum, *flags)


class _NoReader(BytesReader):
    """In the place of a reader, until readable() finds one."""

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Raises AssertionError."""
        raise AssertionError(f"{entry.path} has no reader")


def readable(entries: Iterable[Entry], plan: SharedPlan, listing: Listing, where: str) -> list[Entry]:
    """Entries of a plan with the readers that this process has for them.

    Args:
        entries: of the plan.
        plan: that they belong to.
        listing: this process's own, perhaps by another server than the plan's.
        where: the source, for messages.

    Raises:
        IntegrityError: one of them is gone from the source, or has changed, since the plan was made.
    """
    mine = {entry.path: entry for entry in listing.entries}
    same = _same if plan.server == listing.server else agree
    found = []
    for entry in entries:
        own = mine.get(entry.path)
        if own is None or not same(entry, own):
            why = "it is gone or has changed since the shards' plan was made"
            raise IntegrityError("taking the plan for", f"{entry.path} from {where}", why, "start a new round")
        found.append(read_from(own, entry))
    return found


def _same(planned: Entry, own: Entry) -> bool:
    return (own.size, own.version, own.symlink) == (planned.size, planned.version, planned.symlink)


@dataclass(frozen=True, slots=True)
class Done:
    """What a shard that has ended says of itself."""

    files: Files
    bytes: Bytes


def say_done(plan: SharedPlan, shard: Shard, report: Report, volume: Volume) -> None:
    """Say that a shard has ended, and what it did."""
    said = {"plan": plan.id, "files": asdict(report.files), "bytes": asdict(report.bytes)}
    with volume.state.replace(shard.done) as fd, open(fd, "wb", closefd=False) as out:
        out.write(json.dumps(said).encode() + b"\n")


def done(plan: SharedPlan, volume: Volume) -> dict[int, Done]:
    """What the shards that have ended say of themselves, by index."""
    found = {}
    for index in range(plan.count):
        try:
            said = json.loads(b"".join(volume.state.read(Shard(index, plan.count).done)))
            if said["plan"] == plan.id:
                found[index] = Done(Files(**said["files"]), Bytes(**said["bytes"]))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def forget_plan(volume: Volume) -> None:
    """Take away the plan, and what the shards say of it."""
    volume.state.remove(PLAN)
    for name in volume.state.names("shard-*.json"):
        volume.state.remove(name)
