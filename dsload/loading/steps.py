"""The steps that whole loads, shards of loads, and builds have in common."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from dsload.errors import UnsafePathError
from dsload.listing import Checksum
from dsload.loading.plan import Plan, check_free
from dsload.report import Bytes, Files, Progress, Report
from dsload.target.inventory import Header, Inventory, Marker, Row
from dsload.target.volume import Volume
from dsload.transfer.checksum import of_file
from dsload.transfer.engine import Transfer
from dsload.transfer.parts import fingerprint
from dsload.transfer.small import SMALL


def said_already(inventory: Inventory, header: Header) -> bool:
    """Whether the inventory says all that it would say of this load, which changes nothing."""
    before = inventory.header()
    same = before and (before.revision, before.selection) == (header.revision, header.selection)
    return bool(same and inventory.complete())


def preflight(volume: Volume, plan: Plan) -> None:
    """Drop the partial files that nobody will ask for again, then see that the rest fits."""
    there = volume.state.partials()
    wanted = {fingerprint(entry) for entry in plan.load if entry.size > SMALL or entry.size < 0} if there else set()
    volume.state.sweep(wanted)
    resumed = sum(size for name, size in there.items() if name in wanted)
    volume.space.check(
        [max(0, entry.size) for entry in plan.load],
        there=resumed,
        freed=plan.replaced_bytes,
        inodes=len(plan.load) - plan.replaced + _missing_folders(volume, plan),
    )


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


def prepare(plan: Plan) -> None:
    """Announce to each reader what it will be asked for."""
    for reader in {id(entry.reader): entry.reader for entry in plan.load}.values():
        reader.prepare([entry for entry in plan.load if entry.reader is reader])


def bring(
    plan: Plan,
    volume: Volume,
    inventory: Inventory,
    transfer: Transfer,
    watch: Callable[[], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Bring what a plan says, check what has come, then delete what the plan says, and sync."""
    transfer.progress.expect(len(plan.load), plan.bytes_to_load)
    clear_way(plan, volume, inventory)
    if plan.load:
        transfer.run(plan.load, watch)
    check()
    take_away(plan.delete, plan.forget, volume, inventory)
    inventory.sync()


def clear_way(plan: Plan, volume: Volume, inventory: Inventory) -> None:
    """What comes before the first byte: deletions of what stands in the way, and what exists already."""
    take_away(plan.delete_first, [], volume, inventory)
    for entry in plan.blocked:
        check_free(entry, volume)
    for entry in plan.stamp:
        volume.stamp(entry.path, entry.executable)
    for row in plan.refresh:
        inventory.append(row)


def take_away(delete: list[str], forget: list[str], volume: Volume, inventory: Inventory) -> None:
    """Delete files that an earlier load put there, and forget those that somebody has changed since."""
    for path in delete:
        volume.remove(path)
        inventory.gone(path)
    for path in forget:
        inventory.gone(path)


def intact(volume: Volume, row: Row) -> bool:
    """Whether a file that was not synced when its load was killed has the content that its row states."""
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


def filled(report: Report, plan: Plan, progress: Progress) -> Report:
    """A report with what a plan came to."""
    size = plan.keep_bytes + max(plan.bytes_to_load, progress.bytes_total)
    return replace(
        report,
        files=Files(plan.keep + len(plan.load), len(plan.load), plan.keep, len(plan.delete) + len(plan.delete_first)),
        bytes=Bytes(size, progress.moved, progress.resumed),
        retries=progress.retries,
        notes=replace(progress.notes, replaced=plan.foreign),
    )


def marker_of(report: Report) -> Marker:
    """What the completion marker says."""
    return Marker(report.source, report.revision, now(), report.files, report.bytes)


def now() -> str:
    """The time in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
