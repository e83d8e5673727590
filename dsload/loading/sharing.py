"""A load that several processes share, such as the pods of an Indexed Job: one plan, a part of it for each.

The first shard to hold the lease lists and plans for all, and publishes the plan in `.dsload/shards.jsonl`; the others
take it, so that each file is loaded by exactly one shard whatever becomes of the source meanwhile. A file is assigned
whole: one process writes its partial file, hashes it as it comes, and has as many connections for it as for many files.
The last shard to end deletes, merges the journals of all and writes the marker.
"""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dsload.errors import ChangedError, UsageError
from dsload.listing import Checksum, Entry, Listing
from dsload.loading.plan import Plan
from dsload.target.volume import Volume

PLAN = "shards.jsonl"
_SHARD = re.compile(r"(\d+)/(\d+)")
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of a load this process does.

    Args:
        index: from 0.
        count: of all.
        round: tells loads of the same source from each other, such as the name of a Job; "" where nothing does.
    """

    index: int
    count: int
    round: str = ""

    @property
    def lease(self) -> str:
        """The name of its own lease."""
        return f"lease-{self.index}.json"

    @property
    def done(self) -> str:
        """The name of what says that it has ended."""
        return f"shard-{self.index}.json"


def parse_shard(text: str, round: str = "") -> Shard:
    """Read `I/N`, I from 0. Raises UsageError."""
    match = _SHARD.fullmatch(text)
    if not match or not int(match[1]) < int(match[2]) <= _MOST:
        fix = f"the first of four is 0/4; {_MOST:,} at most"
        raise UsageError("reading", f"--shard {text!r}", "it is not of the form I/N with I below N", fix)
    return Shard(int(match[1]), int(match[2]), round)


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """What all shards of a load are to do.

    Args:
        id: tells it from other plans.
        identity, selection: of the source.
        count, round: of the shards.
        revision: that was listed.
        load: the entries to load, without readers.
        delete, forget: what the last shard does at the end.
        keep, keep_bytes: what is there already.
    """

    id: str
    identity: str
    selection: str
    count: int
    round: str
    revision: str | None
    load: list[Entry] = field(repr=False)
    delete: list[str] = field(repr=False)
    forget: list[str] = field(repr=False)
    keep: int = 0
    keep_bytes: int = 0

    def of(self, shard: Shard) -> list[Entry]:
        """The entries that a shard loads."""
        return assign(self.load, shard.count)[shard.index]


def assign(entries: Sequence[Entry], count: int) -> list[list[Entry]]:
    """A part for each shard: the largest file first, each to the shard that has least; equal plans, equal parts."""
    parts: list[list[Entry]] = [[] for _ in range(count)]
    sizes = [(0, number) for number in range(count)]
    for entry in sorted(entries, key=lambda entry: (-entry.size, entry.path)):
        size, number = min(sizes)
        parts[number].append(entry)
        sizes[number] = size + max(1, entry.size), number
    return parts


def make_shared(shard: Shard, identity: str, selection: str, revision: str | None, plan: Plan) -> SharedPlan:
    """The plan that all shards share. What has to go first, and what is only stamped, is done when it is published."""
    return SharedPlan(
        secrets.token_hex(8), identity, selection, shard.count, shard.round, revision,
        plan.load, plan.delete, plan.forget, plan.keep, plan.keep_bytes,
    )  # fmt: skip


def publish(plan: SharedPlan, volume: Volume) -> None:
    """Let the other shards have a plan; it appears whole."""
    with volume.replace_state(PLAN) as fd, open(fd, "wb", closefd=False) as out:
        for value in _lines(plan):
            out.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def _lines(plan: SharedPlan) -> Iterator[dict[str, Any]]:
    names = ("id", "identity", "selection", "count", "round", "revision", "keep", "keep_bytes")
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
    """The plan that is there, None where there is none that can be read."""
    lines = volume.read_state(PLAN)
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


class _NoReader:
    """In the place of a reader, until readable() finds one."""

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Raises AssertionError."""
        raise AssertionError(f"{entry.path} has no reader")


def fits(plan: SharedPlan, shard: Shard, identity: str, selection: str) -> bool:
    """Whether a plan that was found is of this load."""
    return (plan.identity, plan.selection, plan.count, plan.round) == (identity, selection, shard.count, shard.round)


def readable(entries: Iterable[Entry], listing: Listing, where: str) -> list[Entry]:
    """Entries of a plan with the readers that this process has for them.

    Raises:
        ChangedError: one of them is gone or other at the source since the plan was made.
    """
    mine = {entry.path: entry for entry in listing.entries}
    found = []
    for entry in entries:
        own = mine.get(entry.path)
        if own is None or (own.size, own.version, own.symlink) != (entry.size, entry.version, entry.symlink):
            why = "it is gone or other since the shards' plan was made"
            raise ChangedError("taking the plan for", f"{entry.path} from {where}", why, "start a new round")
        found.append(replace(entry, reader=own.reader, key=own.key))
    return found


def say_done(plan: SharedPlan, shard: Shard, figures: dict[str, Any], volume: Volume) -> None:
    """Say that a shard has ended, and what it did."""
    with volume.replace_state(shard.done) as fd, open(fd, "wb", closefd=False) as out:
        out.write(json.dumps({"plan": plan.id, **figures}).encode() + b"\n")


def done(plan: SharedPlan, volume: Volume) -> dict[int, dict[str, Any]]:
    """What the shards that have ended say of themselves, by index."""
    found = {}
    for index in range(plan.count):
        try:
            said = json.loads(b"".join(volume.read_state(Shard(index, plan.count).done)))
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("plan") == plan.id:
            found[index] = said
    return found


def forget_plan(volume: Volume) -> None:
    """Take away the plan, and what the shards say of it."""
    volume.remove_state(PLAN)
    for name in volume.state_names("shard-*.json"):
        volume.remove_state(name)
