"""One shard of a load on a screen; what shards share, and how, is in sharing.py."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from operator import add

from dsload.errors import IntegrityError, UsageError
from dsload.listing import Listing
from dsload.loading.plan import Plan
from dsload.loading.run import Opened, Run, prepared, refuse_shards
from dsload.loading.settings import Shard
from dsload.loading.sharing import (
    SharedPlan,
    done,
    forget_plan,
    make_shared,
    publish,
    published,
    readable,
    say_done,
)
from dsload.loading.steps import clear_way, filled, intact, preflight, prepare, said_already, take_away
from dsload.report import Bytes, Files, Report
from dsload.target.inventory import Inventory, Marker
from dsload.target.lease import Lease
from dsload.transfer.client import Client


def load_shard(run: Run, me: Shard, client: Client) -> Report:
    """One shard's part of a load.

    Raises:
        UsageError: the source is loaded by one process only.
    """
    if what := run.source.undivided:
        raise UsageError("reading", "--shard", f"{what} is loaded by one process", "leave --shard out")
    listing = run.list(client)
    report = run.report(listing)
    with _planned(run, me, listing) as (at, plan):
        if plan is None:
            return report
        report = replace(report, revision=plan.revision)
        if me.index not in done(plan, at.volume):
            part = _part(at, plan, me, _as_planned(run, plan, listing, client))
            prepare(part)
            at.carry_out(part, client)
            report = filled(report, part, run.progress)
            say_done(plan, me, report, at.volume)
        with Lease(at.volume, brief=True):
            _finish_shared(at, plan, report, listing)
        return report


@contextlib.contextmanager
def _planned(run: Run, me: Shard, listing: Listing) -> Iterator[tuple[Opened, SharedPlan | None]]:
    """The target with this shard's own lease, and the plan of all shards; None if there is nothing to do."""
    volume = prepared(run)
    with contextlib.ExitStack() as held:
        inventory = held.enter_context(contextlib.closing(Inventory(volume, me.index)))
        with Lease(volume, brief=True):
            at = Opened(run, volume, inventory, held.enter_context(Lease(volume, name=me.lease)))
            plan = _shared_plan(at, me, listing)
        yield at, plan


def _shared_plan(at: Opened, me: Shard, listing: Listing) -> SharedPlan | None:
    """The published plan, or else a new one for all; None if there is nothing to do. With the lease held."""
    run, volume, inventory = at.run, at.volume, at.inventory
    found = published(volume)
    if found and found.fits(me, run.source):
        return found
    if me.round and (inventory.marker() or Marker()).round == me.round:
        return None  # this round is over, and what has come to the source since is for the next
    refuse_shards(volume, but=me.lease)
    volume.own_target()
    header = run.header(listing)
    recovered = at.recover(header)
    forget_plan(volume)
    plan = at.plan(listing.entries, run.selects(listing), run.source.sync)
    if plan.nothing and not recovered and said_already(inventory, header):
        if me.round:
            inventory.mark(replace(inventory.marker() or Marker(), round=me.round))
        volume.state.sweep(set())
        return None
    preflight(volume, plan)
    inventory.begin(header)
    clear_way(plan, volume, inventory)
    inventory.close()
    shared = make_shared(me, run.source, listing, plan)
    publish(shared, volume)
    return shared


def _as_planned(run: Run, plan: SharedPlan, listing: Listing, client: Client) -> Listing:
    """The listing at the revision of the plan, if the source has moved on since."""
    moved_on = plan.revision and plan.revision != listing.revision and plan.server == listing.server
    return run.supply.list(client, revision=plan.revision or "") if moved_on else listing


def _part(at: Opened, plan: SharedPlan, me: Shard, listing: Listing) -> Plan:
    """What is left to do of this shard's part."""
    rows = at.inventory.resume(lambda row: intact(at.volume, row))
    entries = readable(plan.of(me), plan, listing, str(at.run.source))
    return at.plan(entries, lambda path: True, sync=False, rows=rows)


def _finish_shared(at: Opened, plan: SharedPlan, report: Report, listing: Listing) -> None:
    """Delete, and mark the load as complete, if all shards have ended and none has done so. With the lease held."""
    volume, inventory = at.volume, at.inventory
    current, ended = published(volume), done(plan, volume)
    if current is None or current.id != plan.id or len(ended) < plan.count:
        return
    inventory.resume(lambda row: True)
    try:
        at.check(listing, plan.delete)
    except IntegrityError:
        forget_plan(volume)  # the source has to change, and with it the plan
        raise
    take_away(plan.delete, plan.forget, volume, inventory)
    inventory.sync()
    by_shards = reduce(add, (said.files for said in ended.values()))
    moved = sum(said.bytes.moved for said in ended.values())
    files = Files(plan.keep + len(plan.load), by_shards.loaded, plan.keep + by_shards.kept, len(plan.delete))
    size = plan.keep_bytes + sum(max(0, entry.size) for entry in plan.load)
    header = replace(at.run.header(listing), revision=plan.revision)
    at.finish(header, replace(report, files=files, bytes=Bytes(size, moved)), plan.round)
    forget_plan(volume)
