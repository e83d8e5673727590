"""One load: what travels through its steps, and the target that it holds while it is at work."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from dsload.errors import BusyError, InterruptedLoad, NotFoundError
from dsload.fetchers.base import Held
from dsload.listing import Entry, Listing
from dsload.loading.fitting import fit
from dsload.loading.indexes import check_shards
from dsload.loading.plan import Plan, as_loaded, make_plan
from dsload.loading.settings import Settings, Target
from dsload.loading.steps import bring, intact, marker_of, now
from dsload.loading.supply import Supply, selection
from dsload.report import LeftOut, Progress, Report
from dsload.source import Source
from dsload.target.inventory import Header, Inventory, Row
from dsload.target.lease import Lease
from dsload.target.volume import Volume
from dsload.transfer.client import Client
from dsload.transfer.delivery import Delivery
from dsload.transfer.engine import Transfer


def stop_when(event: threading.Event) -> Callable[[], None]:
    """A watch for load() and ls() that stops them when the event is set, from any thread.

    They raise InterruptedLoad then; what is done is kept, and the next load resumes.
    """

    def watch() -> None:
        if event.is_set():
            raise InterruptedLoad("loading", "", "it was stopped: what is done is kept", "load again to resume")

    return watch


@dataclass(frozen=True, slots=True)
class Run:
    """A load.

    Args:
        source: what to load.
        target: where to.
        settings: how.
        progress: the counters.
        watch: the caller's; is called several times a second and may raise to stop.
        supply: who serves the source, with its secrets.
    """

    source: Source
    target: Target
    settings: Settings
    progress: Progress
    watch: Callable[[], None]
    supply: Supply

    def list(self, client: Client) -> Listing:
        """The listing; a source may make it of what the target holds, if nothing has changed."""
        return self.supply.list(client, self._held)

    def _held(self) -> Held | None:
        """What the target holds of the source, by its inventory and its marker."""
        try:
            volume = Volume.open(self.target.root, self.target.path, self.target.owner, create=False)
        except NotFoundError:
            return None
        inventory = Inventory(volume)
        header = inventory.header()
        if header is None or header.identity != self.source.identity() or not inventory.complete():
            return None
        entries, whole = as_loaded(inventory.rows(), volume)
        return Held(header.revision, whole and header.selection == self.source.selection(), entries)

    def selects(self, listing: Listing) -> Callable[[str], bool]:
        """Whether a path of the listing is to be loaded."""
        return selection(self.source, listing)

    def header(self, listing: Listing) -> Header:
        """The header of the inventory of this load, which begins now."""
        source = self.source
        return Header(str(source), source.type, source.identity(), listing.revision, source.selection(), started=now())

    def report(self, listing: Listing) -> Report:
        """The report, before anything is done."""
        sizes = [max(0, entry.size) for entry in listing.entries if entry.path in listing.left_out]
        return Report(
            self.source.type,
            str(self.source),
            str(self.target.place),
            listing.revision,
            listing.server,
            left_out=LeftOut(len(sizes), sum(sizes)),
            dry_run=self.settings.dry_run,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A target that a load holds.

    Args:
        run: the load.
        volume: the target, prepared.
        inventory: of the target.
        lease: held; a shard of a load has one of its own.
    """

    run: Run
    volume: Volume
    inventory: Inventory
    lease: Lease

    def watch(self) -> None:
        """Watch as the caller does. Raises BusyError if the lease is lost."""
        self.run.watch()
        if self.lease.lost.is_set():
            raise BusyError("keeping the lease of", str(self.volume.path), "another load has taken it over")

    def recover(self, header: Header) -> bool:
        """Merge what an interrupted load left. Whether there was anything."""
        return self.inventory.recover(header, lambda row: intact(self.volume, row))

    def plan(
        self, entries: list[Entry], selects: Callable[[str], bool], sync: bool, rows: Iterable[Row] | None = None
    ) -> Plan:
        """What is to be done, by the inventory's rows or those given, and the volume; see make_plan() and fit()."""
        plan = make_plan(entries, self.inventory.rows() if rows is None else rows, self.volume, selects, sync)
        fit(plan, self.volume)
        return plan

    def carry_out(
        self,
        plan: Plan,
        client: Client,
        watch: Callable[[], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Bring what a plan says, and then delete what it says; all of it is safe on the volume afterwards.

        Args:
            plan: of the load or a part of it.
            client: to bring by.
            watch: as of Run, if it is not its own.
            check: called before anything is deleted; may raise to end the load.
        """
        run = self.run
        supply = run.supply
        delivery = Delivery(
            client, self.volume, self.inventory, run.progress, run.settings.verify, str(supply.asked), supply.pinned
        )
        bring(plan, self.volume, self.inventory, Transfer(delivery), watch or self.watch, check)

    def check(self, listing: Listing, gone: Collection[str]) -> None:
        """Check that what is in place is whole, as far as files say what belongs to them.

        Args:
            listing: what was loaded; at a commit it is as it was committed, whatever its files say.
            gone: paths that are about to be deleted.

        Raises:
            IntegrityError: something is missing.
        """
        if self.run.settings.verify and not self.run.supply.pinned:
            source = str(self.run.supply.asked)
            check_shards(listing.entries, self.run.selects(listing), self.volume, frozenset(gone), source)

    def finish(self, header: Header, report: Report, round: str = "") -> None:
        """Write the inventory and the marker: the load is complete, of shards in this round."""
        self.inventory.finish(replace(header, finished=now()), replace(marker_of(report), round=round))
        self.volume.state.sweep(set())


@contextlib.contextmanager
def opened(run: Run, path: str | None = None) -> Iterator[Opened]:
    """The target, prepared and held while the block runs.

    Args:
        run: the load.
        path: below the mount root, if it is not the target's.
    """
    volume = prepared(run, path)
    with Lease(volume) as lease, contextlib.closing(Inventory(volume)) as inventory:
        refuse_shards(volume)
        volume.own_target()
        yield Opened(run, volume, inventory, lease)


def prepared(run: Run, path: str | None = None) -> Volume:
    """The target's volume, which can be written to with the owner and mode that were asked for."""
    volume = Volume.open(run.target.root, run.target.path if path is None else path, run.target.owner)
    volume.prepare()
    return volume


def refuse_shards(volume: Volume, but: str = "") -> None:
    """Raise BusyError if a shard of another plan is alive, and take away the leases of dead ones."""
    for name in volume.state.names("lease-*.json"):
        if name != but:
            with Lease(volume, name=name):
                pass
