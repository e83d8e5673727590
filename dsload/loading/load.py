"""A whole load on a screen: list, plan, transfer, delete, sync, mark."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from dsload.errors import NotFoundError
from dsload.listing import Listing
from dsload.loading.builds import build
from dsload.loading.plan import Nowhere, make_plan
from dsload.loading.run import Run, opened
from dsload.loading.settings import Settings, Target
from dsload.loading.shards import load_shard
from dsload.loading.sharing import forget_plan
from dsload.loading.steps import filled, preflight, prepare, said_already
from dsload.loading.supply import Supply, selection
from dsload.names import check_names
from dsload.report import Progress, Report
from dsload.secrets import Secrets, logger, redaction
from dsload.source import Source
from dsload.target.inventory import Inventory
from dsload.target.volume import Volume
from dsload.transfer.client import Client

log = logger(__name__)


def load(
    source: Source | str,
    target: Target | str | Path,
    secrets: Secrets | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Report:
    """Bring a source to a target: complete, verified, owned; and resume what an earlier load began.

    Args:
        source: what to load; a string is a URI.
        target: where to; a string or path is a directory, which is made if it does not exist.
        secrets: credentials; none by default.
        settings: how.
        progress: counters to watch from outside.
        watch: called several times a second; may raise to stop the load, as stop_when() makes it.

    Returns:
        the report of a load that is complete.

    Raises:
        DsloadError: one of `dsload.errors`; what is done is kept, and the next load resumes.
    """
    started = time.monotonic()
    source = Source.parse(source) if isinstance(source, str) else source
    target = target if isinstance(target, Target) else Target.at(target)
    secrets, settings, progress = secrets or Secrets(), settings or Settings(), progress or Progress()
    with redaction(*source.hidden, *secrets.hidden):
        source.spec.load()  # refuses what is only mounted, before anything is said
        log.info("loading %s into %s", source, target.place)
        watch = partial(_look, watch, progress)
        supply = Supply(source, secrets, settings.network, progress.retried, watch)
        report = supply.serve(_way(Run(source, target, settings, progress, watch, supply)))
        progress.show(last=True)
        return replace(report, seconds=time.monotonic() - started)


def _look(watch: Callable[[], None], progress: Progress) -> None:
    watch()
    progress.show()


def _way(run: Run) -> Callable[[Client], Report]:
    if (part := run.settings.shard) and not run.settings.dry_run:
        return lambda client: load_shard(run, part, client)
    return partial(build if run.source.spec.builds else whole, run)


def whole(run: Run, client: Client) -> Report:
    """A load by one process. Arguments of all ways: the load, and a client to whoever serves the source now."""
    listing = run.list(client)
    if run.settings.dry_run:
        return _forecast(run, listing)
    report, header = run.report(listing), run.header(listing)
    with opened(run) as at:
        recovered = at.recover(header)
        plan = at.plan(listing.entries, run.selects(listing), run.source.sync)
        if plan.nothing and not recovered and said_already(at.inventory, header):
            at.volume.state.sweep(set())
            return filled(report, plan, run.progress)
        preflight(at.volume, plan)
        prepare(plan)
        at.inventory.begin(header)
        forget_plan(at.volume)
        at.carry_out(plan, client, check=lambda: at.check(listing, plan.delete))
        report = filled(report, plan, run.progress)
        at.finish(header, report)
        return report


def _forecast(run: Run, listing: Listing) -> Report:
    """What a load would do to the target as it is, which may not exist yet."""
    selects, sync = run.selects(listing), run.source.sync
    try:
        volume = Volume.open(run.target.root, run.target.path, run.target.owner, create=False)
    except NotFoundError:
        plan = make_plan(listing.entries, (), Nowhere(), selects, sync)
    else:
        plan = make_plan(listing.entries, Inventory(volume).merged(), volume, selects, sync)
    report = filled(run.report(listing), plan, Progress())
    return replace(report, bytes=replace(report.bytes, moved=plan.bytes_to_load))


def ls(
    source: Source | str,
    secrets: Secrets | None = None,
    settings: Settings | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Listing:
    """List what load() would load.

    Args:
        source: what to list; a string is a URI.
        secrets: credentials; none by default.
        settings: how to reach the source.
        watch: called several times a second; may raise to stop.

    Returns:
        the selected entries, sorted by path, at one revision.

    Raises:
        DsloadError: one of `dsload.errors`.
    """
    source = Source.parse(source) if isinstance(source, str) else source
    secrets, settings = secrets or Secrets(), settings or Settings()
    with redaction(*source.hidden, *secrets.hidden):
        supply = Supply(source, secrets, settings.network, watch=watch)
        listing = supply.serve(supply.list)
        selects = selection(source, listing)
        entries = sorted((entry for entry in listing.entries if selects(entry.path)), key=lambda entry: entry.path)
        check_names(entries)
        return replace(listing, entries=entries)
