"""A whole load on a screen: list, plan, transfer, delete, sync, mark."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace

from dsload.errors import ChangedError, NotFoundError, UnreachableError
from dsload.fetchers.base import Held
from dsload.listing import Listing
from dsload.loading.builds import build
from dsload.loading.plan import Plan, as_loaded, make_plan
from dsload.loading.settings import Settings, Target
from dsload.loading.shards import load_shard, refuse_shards
from dsload.loading.sharing import forget_plan
from dsload.loading.steps import (
    carry_out,
    fill,
    header_of,
    intact,
    marker_of,
    now,
    preflight,
    prepare,
    told_already,
    watching,
)
from dsload.loading.supply import Supply, selection
from dsload.registry import find
from dsload.report import Progress, Report
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.target.inventory import Inventory
from dsload.target.lease import Lease
from dsload.target.volume import Ownership, Volume
from dsload.transfer.client import Client
from dsload.transfer.engine import Transfer

log = logging.getLogger(__name__)

ROUNDS = 3  # how often a load lists again when the source changes while it is read


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
    spec = find(source.type, source.uri)
    spec.load()  # refuses what is only mounted, before anything is said
    log.info("loading %s into %s", source, target.place)
    supply, changes = Supply(source), 0
    if settings.shard and not settings.dry_run:
        report = load_shard(settings.shard, source, target, secrets or Secrets(), settings, progress, watch)
        report.seconds = time.monotonic() - started
        return report
    if spec.builds:
        report = build(source, target, secrets or Secrets(), settings, progress, watch)
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
    ownership = target.owner
    with Client(supply.network(settings.network), progress.retried) as client:
        listing = supply.list(secrets, client, lambda: _held(source, target, ownership))
        select = selection(source, listing)
        report = Report(source.type, str(source), str(target.place), listing.revision, listing.server)
        report.dry_run, report.left_out = settings.dry_run, _left_out(listing)
        if settings.dry_run:
            return _forecast(report, _dry_plan(source, select, target, ownership, listing))
        volume = Volume.open(target.root, target.path, ownership)
        volume.prepare()
        with Lease(volume) as lease, contextlib.closing(Inventory(volume)) as inventory:
            refuse_shards(volume)
            volume.own_target()
            header = header_of(source, listing.revision)
            recovered = inventory.recover(header, lambda row: intact(volume, row))
            plan = make_plan(listing.entries, inventory.rows(), volume, select, source.sync)
            if plan.nothing and not recovered and told_already(inventory, header):
                volume.sweep(set())
                return fill(report, plan, progress, loaded=0)
            preflight(volume, plan)
            prepare(plan)
            inventory.begin(header)
            forget_plan(volume)
            transfer = Transfer(client, volume, inventory, progress, settings.verify, str(supply.asked))
            carry_out(plan, volume, inventory, transfer, lambda: watching(watch, lease, volume))
            fill(report, plan, progress, loaded=len(plan.load))
            inventory.sync()
            inventory.finish(replace(header, finished=now()), marker_of(report))
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
    fill(report, plan, Progress(), loaded=len(plan.load))
    report.bytes["moved"] = plan.bytes_to_load
    return report
