"""A whole load on a screen: list, plan, transfer, delete, sync, mark."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from dsload.errors import BusyError, ChangedError, NotFoundError, UnreachableError, UnsafePathError, UsageError
from dsload.fetchers.base import Held
from dsload.inventory import Header, Inventory, Row
from dsload.lease import Lease
from dsload.listing import Checksum, Listing, Prepares
from dsload.plan import Plan, as_loaded, check_free, make_plan
from dsload.registry import find
from dsload.report import Progress, Report
from dsload.secrets import Secrets
from dsload.sharding import (
    Shard,
    SharedPlan,
    done,
    fits,
    forget_plan,
    make_shared,
    publish,
    published,
    readable,
    say_done,
)
from dsload.source import Source
from dsload.supply import Supply, selection
from dsload.transfer.checksum import of_file
from dsload.transfer.engine import Transfer
from dsload.transfer.http import Client, Network
from dsload.transfer.parts import fingerprint
from dsload.transfer.small import SMALL
from dsload.volume import Ownership, Volume, split_mount_path

log = logging.getLogger(__name__)

ROUNDS = 3  # how often a load lists again when the source changes while it is read


@dataclass(frozen=True, slots=True)
class Target:
    """Where to load to.

    Args:
        root: the mount root; must exist.
        path: below the root; "/" is the root itself.
        ownership: of what the load creates; None for the running user with mode 0755.

    Raises:
        UsageError: path leads out of the root.
    """

    root: Path
    path: str = "/"
    ownership: Ownership | None = None

    def __post_init__(self) -> None:
        split_mount_path(self.path)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to load.

    Args:
        network: connections, limits, certificates.
        verify: whether to hash what is loaded.
        dry_run: whether to stop after the plan.
        shard: which part of the load this process does; None for all of it.
    """

    network: Network = field(default_factory=Network)
    verify: bool = True
    dry_run: bool = False
    shard: Shard | None = None


def load(
    source: Source,
    target: Target,
    secrets: Secrets | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Report:
    """Bring a source to a target: complete, verified, owned; and resume what an earlier load began.

    Args:
        source: what to load.
        target: where to.
        secrets: credentials; none where not given.
        settings: how.
        progress: counters to watch from outside.
        watch: called several times a second while bytes move; may raise to stop the load.

    Returns:
        the report of a load that is complete.

    Raises:
        DsloadError: one of `dsload.errors`; what is done is kept, and the next load goes on from there.
    """
    settings, progress = settings or Settings(), progress or Progress()
    started = time.monotonic()
    find(source.type, source.uri).load()  # refuses what is only mounted, before anything is said
    log.info("loading %s into %s", source, target.root.joinpath(*split_mount_path(target.path)))
    supply, changes = Supply(source), 0
    if settings.shard and not settings.dry_run:
        report = load_shard(settings.shard, source, target, secrets or Secrets(), settings, progress, watch)
        report.seconds = time.monotonic() - started
        return report
    while True:
        try:
            report = _round(source, supply, target, secrets or Secrets(), settings, progress, watch)
            report.seconds = time.monotonic() - started
            return report
        except ChangedError as error:
            changes += 1
            if changes == ROUNDS:
                raise
            log.warning("%s: %s; listing it again", error.where, error.why)
        except UnreachableError as error:
            supply.turn(error)


def _round(
    source: Source,
    supply: Supply,
    target: Target,
    secrets: Secrets,
    settings: Settings,
    progress: Progress,
    watch: Callable[[], None],
) -> Report:
    ownership = target.ownership or Ownership(os.geteuid(), os.getegid())
    with Client(supply.network(settings.network), progress.retried) as client:
        listing = supply.list(secrets, client, lambda: _held(source, target, ownership))
        select = selection(source, listing)
        path = target.root.joinpath(*split_mount_path(target.path))
        report = Report(source.type, str(source), str(path), listing.revision, listing.server)
        report.dry_run, report.left_out = settings.dry_run, _left_out(listing)
        if settings.dry_run:
            return _forecast(report, _dry_plan(source, select, target, ownership, listing))
        volume = Volume.open(target.root, target.path, ownership)
        volume.prepare()
        with Lease(volume) as lease, contextlib.closing(Inventory(volume)) as inventory:
            _refuse_shards(volume)
            volume.own_target()
            header = _header(source, listing.revision)
            recovered = inventory.recover(header, lambda row: _intact(volume, row))
            plan = make_plan(listing.entries, inventory.rows(), volume, select, source.sync)
            if plan.nothing and not recovered and _told_already(inventory, header):
                volume.sweep(set())
                return _fill(report, plan, progress, loaded=0)
            _preflight(volume, plan)
            _prepare(plan)
            inventory.begin(header)
            forget_plan(volume)
            transfer = Transfer(client, volume, inventory, progress, settings.verify, str(supply.asked))
            _carry_out(plan, volume, inventory, transfer, lambda: _watch(watch, lease, volume))
            _fill(report, plan, progress, loaded=len(plan.load))
            inventory.sync()
            inventory.finish(replace(header, finished=_now()), _marker(report))
            volume.sweep(set())
            return report


def _held(source: Source, target: Target, ownership: Ownership) -> Held | None:
    """What the target holds of a source, by its inventory and its marker."""
    try:
        volume = Volume.open(target.root, target.path, ownership, create=False)
    except NotFoundError:
        return None
    inventory = Inventory(volume)
    header = inventory.header()
    if header is None or header.identity != source.identity() or not inventory.complete():
        return None
    entries, whole = as_loaded(inventory.rows(), volume)
    return Held(header.revision, whole and header.selection == source.selection(), entries)


def load_shard(
    shard: Shard,
    source: Source,
    target: Target,
    secrets: Secrets,
    settings: Settings,
    progress: Progress,
    watch: Callable[[], None],
) -> Report:
    """One shard's part of a load; see sharding.py. Raises as load() does, and ChangedError at the first change."""
    if option := source.undivided():
        why = f"{source.type} with {option} is loaded by one process"
        raise UsageError("reading", "--shard", why, f"leave --shard or -o {option} out")
    ownership, supply = target.ownership or Ownership(os.geteuid(), os.getegid()), Supply(source)
    with Client(supply.network(settings.network), progress.retried) as client, contextlib.ExitStack() as held:
        listing = supply.list(secrets, client)
        path = target.root.joinpath(*split_mount_path(target.path))
        report = Report(source.type, str(source), str(path), listing.revision, listing.server)
        volume = Volume.open(target.root, target.path, ownership)
        volume.prepare()
        inventory = held.enter_context(contextlib.closing(Inventory(volume, shard.index)))
        with Lease(volume, brief=True):
            lease = held.enter_context(Lease(volume, name=shard.lease))
            plan = _shared_plan(shard, source, listing, volume, inventory)
        if plan is None:
            report.files = dict.fromkeys(("total", "loaded", "kept", "deleted"), 0)
            return report
        report.revision = plan.revision
        if shard.index not in done(plan, volume):
            if plan.revision != listing.revision and plan.revision:
                option = find(source.type, source.uri).revision_option
                pinned = replace(source, options={**source.options, option: plan.revision})
                listing = Supply(pinned).list(secrets, client)
            rows = inventory.resume(lambda row: _intact(volume, row))
            mine = readable(plan.of(shard), listing, str(source))
            part = make_plan(mine, rows, volume, lambda path: True, sync=False)
            _prepare(part)
            transfer = Transfer(client, volume, inventory, progress, settings.verify, str(supply.asked))
            _carry_out(part, volume, inventory, transfer, lambda: _watch(watch, lease, volume))
            inventory.sync()
            _fill(report, part, progress, loaded=len(part.load))
            say_done(plan, shard, {"files": report.files, "bytes": report.bytes}, volume)
        with Lease(volume, brief=True):
            _finish_shared(plan, source, volume, inventory)
        return report


def _shared_plan(
    shard: Shard, source: Source, listing: Listing, volume: Volume, inventory: Inventory
) -> SharedPlan | None:
    """The plan that is there, or else a new one for all; None where there is nothing to do. With the lease held."""
    identity, chosen = source.identity(), source.selection()
    found = published(volume)
    if found and fits(found, shard, identity, chosen):
        return found
    if shard.round and (inventory.complete() or {}).get("round") == shard.round:
        return None  # this round is over, and what came to the source since is for the next
    _refuse_shards(volume, but=shard.lease)
    volume.own_target()
    header = _header(source, listing.revision)
    recovered = inventory.recover(header, lambda row: _intact(volume, row))
    forget_plan(volume)
    plan = make_plan(listing.entries, inventory.rows(), volume, selection(source, listing), source.sync)
    if plan.nothing and not recovered and _told_already(inventory, header):
        if shard.round:
            inventory.mark({**(inventory.complete() or {}), "round": shard.round})
        volume.sweep(set())
        return None
    _preflight(volume, plan)
    inventory.begin(header)
    _clear_way(plan, volume, inventory)
    inventory.close()
    shared = make_shared(shard, identity, chosen, listing.revision, plan)
    publish(shared, volume)
    return shared


def _refuse_shards(volume: Volume, but: str = "") -> None:
    """Raise BusyError where a shard of another plan lives, and take away the leases of dead ones."""
    for name in volume.state_names("lease-*.json"):
        if name != but:
            with Lease(volume, name=name):
                pass


def _finish_shared(plan: SharedPlan, source: Source, volume: Volume, inventory: Inventory) -> None:
    """Delete, and mark the load as complete, where all shards have ended and none has done so. With the lease held."""
    current, ended = published(volume), done(plan, volume)
    if current is None or current.id != plan.id or len(ended) < plan.count:
        return
    inventory.resume(lambda row: True)
    for path in plan.delete:
        _delete(path, volume, inventory)
    for path in plan.forget:
        inventory.gone(path)
    inventory.sync()
    sums = {name: sum(said["files"][name] for said in ended.values()) for name in ("loaded", "kept")}
    files = {"total": plan.keep + len(plan.load), "loaded": sums["loaded"], "kept": plan.keep + sums["kept"]}
    moved = sum(said["bytes"]["moved"] for said in ended.values())
    total = plan.keep_bytes + sum(max(0, entry.size) for entry in plan.load)
    report = Report(source.type, str(source), "", plan.revision)
    report.files, report.bytes = {**files, "deleted": len(plan.delete)}, {"total": total, "moved": moved}
    marker = {**_marker(report), "round": plan.round}
    inventory.finish(replace(_header(source, plan.revision), finished=_now()), marker)
    forget_plan(volume)
    volume.sweep(set())


def _header(source: Source, revision: str | None) -> Header:
    return Header(str(source), source.type, source.identity(), revision, source.selection(), started=_now())


def _told_already(inventory: Inventory, header: Header) -> bool:
    """Whether the inventory says of this load, which changes nothing, all that it would say of it."""
    before = inventory.header()
    same = before and (before.revision, before.selection) == (header.revision, header.selection)
    return bool(same and inventory.complete())


def _left_out(listing: Listing) -> dict[str, int]:
    sizes = [max(0, entry.size) for entry in listing.entries if entry.path in listing.left_out]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _dry_plan(
    source: Source, select: Callable[[str], bool], target: Target, ownership: Ownership, listing: Listing
) -> Plan:
    """The plan for the target as it is, which may be not there yet."""
    try:
        volume = Volume.open(target.root, target.path, ownership, create=False)
    except NotFoundError:
        return make_plan(listing.entries, (), _Nowhere(), select, source.sync)
    return make_plan(listing.entries, Inventory(volume).merged(), volume, select, source.sync)


class _Nowhere:
    """A target that is not there."""

    def look(self, path: str) -> os.stat_result | None:
        return None

    def link_target(self, path: str) -> str:
        return ""

    def owned(self, found: os.stat_result, executable: bool) -> bool:
        return True


def _forecast(report: Report, plan: Plan) -> Report:
    _fill(report, plan, Progress(), loaded=len(plan.load))
    report.bytes["moved"] = plan.bytes_to_load
    return report


def _preflight(volume: Volume, plan: Plan) -> None:
    """Drop the partial files that nobody will ask for again, then see that the rest fits."""
    there = volume.partials()
    wanted = {fingerprint(entry) for entry in plan.load if entry.size > SMALL or entry.size < 0} if there else set()
    volume.sweep(wanted)
    resumed = sum(size for name, size in there.items() if name in wanted)
    volume.check_space(
        [max(0, entry.size) for entry in plan.load],
        there=resumed,
        freed=plan.replaced_bytes,
        inodes=len(plan.load) - plan.replaced + _missing_folders(volume, plan),
    )


def _prepare(plan: Plan) -> None:
    """Tell the readers that want to know it what they will be asked for."""
    for reader in {id(entry.reader): entry.reader for entry in plan.load}.values():
        if isinstance(reader, Prepares):
            reader.prepare([entry for entry in plan.load if entry.reader is reader])


def _missing_folders(volume: Volume, plan: Plan) -> int:
    """How many directories are to be made."""
    folders: set[str] = set()
    for entry in plan.load:
        folder = entry.path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    missing: set[str] = set()
    for folder in sorted(folders):
        if folder.rpartition("/")[0] in missing or not volume.is_directory(folder):
            missing.add(folder)
    return len(missing)


def _carry_out(plan: Plan, volume: Volume, inventory: Inventory, transfer: Transfer, watch: Callable[[], None]) -> None:
    transfer.progress.expect(len(plan.load), plan.bytes_to_load)
    _clear_way(plan, volume, inventory)
    if plan.load:
        transfer.run(plan.load, watch)
    for path in plan.delete:
        _delete(path, volume, inventory)
    for path in plan.forget:
        inventory.gone(path)


def _clear_way(plan: Plan, volume: Volume, inventory: Inventory) -> None:
    """What comes before the first byte: deletions of what stands in the way, and what is there already."""
    for path in plan.delete_first:
        _delete(path, volume, inventory)
    for entry in plan.blocked:
        check_free(entry, volume)
    for entry in plan.stamp:
        volume.stamp(entry.path, entry.executable)
    for row in plan.refresh:
        inventory.append(row)


def _delete(path: str, volume: Volume, inventory: Inventory) -> None:
    volume.remove(path)
    inventory.gone(path)


def _watch(watch: Callable[[], None], lease: Lease, volume: Volume) -> None:
    watch()
    if lease.lost.is_set():
        raise BusyError("keeping the lease of", str(volume.path), "another load has taken it over")


def _intact(volume: Volume, row: Row) -> bool:
    """Whether a file that was not synced when its load was killed has the content that its row says."""
    if row.directory or row.symlink is not None:
        return True
    try:
        fd = volume.open_file(row.path)
    except (OSError, UnsafePathError):
        return False
    try:
        found = os.fstat(fd)
        if (found.st_size, found.st_mtime_ns) != (row.size, row.mtime):
            return False
        if not row.checksum:  # its load did not verify: size and time have to do
            return True
        return str(of_file(fd, found.st_size, Checksum.parse(row.checksum))) == row.checksum
    except (OSError, ValueError):
        return False
    finally:
        os.close(fd)


def _fill(report: Report, plan: Plan, progress: Progress, loaded: int) -> Report:
    deleted = len(plan.delete) + len(plan.delete_first)
    report.files = {
        "total": plan.keep + len(plan.load),
        "loaded": loaded,
        "kept": plan.keep,
        "deleted": deleted,
    }
    report.bytes = {
        "total": plan.keep_bytes + max(plan.bytes_to_load, progress.bytes_total),
        "moved": progress.moved,
        "resumed": progress.resumed,
    }
    report.retries, report.unverified = progress.retries, progress.unverified
    return report


def _marker(report: Report) -> dict[str, object]:
    return {
        "source": report.source,
        "revision": report.revision,
        "finished": _now(),
        "files": report.files,
        "bytes": report.bytes,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
