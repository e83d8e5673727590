"""The steps that whole loads, shards of loads, and builds have in common."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

from dsload.errors import BusyError, UnsafePathError
from dsload.listing import Checksum, Prepares
from dsload.loading.plan import Plan, check_free
from dsload.report import Progress, Report
from dsload.source import Source
from dsload.target.inventory import Header, Inventory, Row
from dsload.target.lease import Lease
from dsload.target.volume import Volume
from dsload.transfer.checksum import of_file
from dsload.transfer.engine import Transfer
from dsload.transfer.parts import fingerprint
from dsload.transfer.small import SMALL


def header_of(source: Source, revision: str | None) -> Header:
    """The header of a load that begins now."""
    return Header(str(source), source.type, source.identity(), revision, source.selection(), started=now())


def told_already(inventory: Inventory, header: Header) -> bool:
    """Whether the inventory says of this load, which changes nothing, all that it would say of it."""
    before = inventory.header()
    same = before and (before.revision, before.selection) == (header.revision, header.selection)
    return bool(same and inventory.complete())


def preflight(volume: Volume, plan: Plan) -> None:
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


def prepare(plan: Plan) -> None:
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


def carry_out(plan: Plan, volume: Volume, inventory: Inventory, transfer: Transfer, watch: Callable[[], None]) -> None:
    """Bring what a plan says, and then delete what it says."""
    transfer.progress.expect(len(plan.load), plan.bytes_to_load)
    clear_way(plan, volume, inventory)
    if plan.load:
        transfer.run(plan.load, watch)
    for path in plan.delete:
        delete(path, volume, inventory)
    for path in plan.forget:
        inventory.gone(path)


def clear_way(plan: Plan, volume: Volume, inventory: Inventory) -> None:
    """What comes before the first byte: deletions of what stands in the way, and what is there already."""
    for path in plan.delete_first:
        delete(path, volume, inventory)
    for entry in plan.blocked:
        check_free(entry, volume)
    for entry in plan.stamp:
        volume.stamp(entry.path, entry.executable)
    for row in plan.refresh:
        inventory.append(row)


def delete(path: str, volume: Volume, inventory: Inventory) -> None:
    """Delete a file that an earlier load put there."""
    volume.remove(path)
    inventory.gone(path)


def watching(watch: Callable[[], None], lease: Lease, volume: Volume) -> None:
    """Look on as the caller does; raises BusyError where the lease is lost."""
    watch()
    if lease.lost.is_set():
        raise BusyError("keeping the lease of", str(volume.path), "another load has taken it over")


def intact(volume: Volume, row: Row) -> bool:
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


def fill(report: Report, plan: Plan, progress: Progress, loaded: int) -> Report:
    """Write into a report what a plan came to."""
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


def marker_of(report: Report) -> dict[str, object]:
    """What the completion marker says."""
    return {
        "source": report.source,
        "revision": report.revision,
        "finished": now(),
        "files": report.files,
        "bytes": report.bytes,
    }


def now() -> str:
    """The time in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
