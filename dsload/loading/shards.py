"""One shard of a load on a screen; what shards share, and how, is in sharding.py."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from dsload.errors import UsageError
from dsload.listing import Listing
from dsload.loading.plan import make_plan
from dsload.loading.settings import Settings, Target
from dsload.loading.sharing import (
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
from dsload.loading.steps import (
    carry_out,
    clear_way,
    delete,
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
from dsload.target.volume import Volume
from dsload.transfer.client import Client
from dsload.transfer.engine import Transfer


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
    if what := source.undivided():
        raise UsageError("reading", "--shard", f"{what} is loaded by one process", "leave --shard out")
    ownership, supply = target.owner, Supply(source)
    with Client(supply.network(settings.network), progress.retried) as client, contextlib.ExitStack() as held:
        listing = supply.list(secrets, client)
        report = Report(source.type, str(source), str(target.place), listing.revision, listing.server)
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
            rows = inventory.resume(lambda row: intact(volume, row))
            mine = readable(plan.of(shard), listing, str(source))
            part = make_plan(mine, rows, volume, lambda path: True, sync=False)
            prepare(part)
            transfer = Transfer(client, volume, inventory, progress, settings.verify, str(supply.asked))
            carry_out(part, volume, inventory, transfer, lambda: watching(watch, lease, volume))
            inventory.sync()
            fill(report, part, progress, loaded=len(part.load))
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
    refuse_shards(volume, but=shard.lease)
    volume.own_target()
    header = header_of(source, listing.revision)
    recovered = inventory.recover(header, lambda row: intact(volume, row))
    forget_plan(volume)
    plan = make_plan(listing.entries, inventory.rows(), volume, selection(source, listing), source.sync)
    if plan.nothing and not recovered and told_already(inventory, header):
        if shard.round:
            inventory.mark({**(inventory.complete() or {}), "round": shard.round})
        volume.sweep(set())
        return None
    preflight(volume, plan)
    inventory.begin(header)
    clear_way(plan, volume, inventory)
    inventory.close()
    shared = make_shared(shard, identity, chosen, listing.revision, plan)
    publish(shared, volume)
    return shared


def refuse_shards(volume: Volume, but: str = "") -> None:
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
        delete(path, volume, inventory)
    for path in plan.forget:
        inventory.gone(path)
    inventory.sync()
    sums = {name: sum(said["files"][name] for said in ended.values()) for name in ("loaded", "kept")}
    files = {"total": plan.keep + len(plan.load), "loaded": sums["loaded"], "kept": plan.keep + sums["kept"]}
    moved = sum(said["bytes"]["moved"] for said in ended.values())
    total = plan.keep_bytes + sum(max(0, entry.size) for entry in plan.load)
    report = Report(source.type, str(source), "", plan.revision)
    report.files, report.bytes = {**files, "deleted": len(plan.delete)}, {"total": total, "moved": moved}
    marker = {**marker_of(report), "round": plan.round}
    inventory.finish(replace(header_of(source, plan.revision), finished=now()), marker)
    forget_plan(volume)
    volume.sweep(set())
