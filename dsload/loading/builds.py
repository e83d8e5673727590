"""A build on a screen: load the parts, make the tree beside the old one, own it, tell of it, swap it in.

On the volume, below the builder's home: the parts in `pkgs`, the tree at the builder's place, and while it is made
`.NAME.new` beside it. A tree has its inventory and marker in its own `.dsload`, so that they are swapped in with it.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from dsload.errors import NotFoundError, UnsafePathError
from dsload.fetchers.base import Builder, Context, Site
from dsload.listing import Checksum, Listing
from dsload.loading.plan import as_loaded, make_plan
from dsload.loading.settings import Settings, Target
from dsload.loading.steps import carry_out, header_of, intact, marker_of, now, preflight, watching
from dsload.registry import find
from dsload.report import Progress, Report
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.target.inventory import JOURNAL, MARKER, Header, Inventory, Row
from dsload.target.lease import Lease
from dsload.target.volume import Ownership, Volume, split_mount_path
from dsload.transfer.checksum import of_file
from dsload.transfer.client import Client
from dsload.transfer.engine import Transfer

log = logging.getLogger(__name__)

PARTS = "pkgs"
_HASHERS = 2


def build(
    source: Source,
    target: Target,
    secrets: Secrets,
    settings: Settings,
    progress: Progress,
    watch: Callable[[], None],
) -> Report:
    """Build what a source describes, unless it is there already. Arguments and errors are those of load()."""
    ownership = target.owner
    with Client(settings.network, progress.retried) as client:
        builder = cast(Builder, find(source.type, source.uri).load()(source, Context(secrets, client)))
        listing, root = builder.list(), target.root.absolute()
        path = f"{builder.home}/{builder.place}"
        report = Report(source.type, str(source), str(target.root / path), listing.revision)
        header = replace(header_of(source, listing.revision), identity=builder.identity)
        if split_mount_path(target.path):
            log.info("%s lies in %s, whatever --mount-path says", source.type, target.root / path)
        if settings.dry_run:
            return _forecast(report, listing, _standing(root, path, header, ownership))
        volume = Volume.open(root, builder.home, ownership)
        volume.prepare()
        with Lease(volume) as lease, contextlib.closing(Inventory(volume)) as inventory:
            volume.own_target()
            _own_above(volume, builder.place)
            _restore(volume, builder.place)
            tree = _standing(root, path, header, ownership)
            if tree is None:
                transfer = Transfer(client, volume, inventory, progress, settings.verify, str(source))
                on = partial(watching, watch, lease, volume)
                bring = partial(_bring, header, listing, not builder.keeps_parts, transfer, on)
                site = Site(volume, settings.network, progress, bring, on, settings.verify)
                tree = _make(builder, site, root, header, report)
                if builder.keeps_parts:
                    _keep_parts(volume, inventory, header)
            else:
                _keep(tree, report)
            if not builder.keeps_parts:
                _drop_parts(volume, inventory)
            _tell_beside(volume, tree, builder, report)
            report.bytes |= {"moved": progress.moved, "resumed": progress.resumed}
            report.retries = progress.retries
            return report


# Whether it is there


def _beside(place: str, suffix: str) -> str:
    folder, _, name = place.rpartition("/")
    return f"{folder}/.{name}.{suffix}"


def _own_above(volume: Volume, place: str) -> None:
    folder = place.rpartition("/")[0]
    found = volume.look(folder)
    if found is not None and not volume.owned(found, executable=False):
        volume.stamp(folder, executable=False)


def _restore(volume: Volume, place: str) -> None:
    """Undo half a swap, and clear what a build that was killed has left."""
    old = _beside(place, "old")
    if volume.look(place) is None and volume.look(old) is not None:
        volume.rename(old, place)
    for suffix in ("old", "new"):
        volume.remove_tree(_beside(place, suffix))


def _standing(root: Path, path: str, header: Header, ownership: Ownership) -> Volume | None:
    """The tree, where it is what the header says, whole and unchanged."""
    try:
        tree = Volume.open(root, path, ownership, create=False)
    except NotFoundError:
        return None
    inventory = Inventory(tree)
    before = inventory.header()
    if before is None or (before.identity, before.revision) != (header.identity, header.revision):
        return None
    return tree if inventory.complete() and as_loaded(inventory.rows(), tree)[1] else None


def _keep(tree: Volume, report: Report) -> None:
    """Leave a tree as it is, but for its owner and mode."""
    inventory, stamped = Inventory(tree), False
    summary = inventory.complete() or {}
    rows = list(inventory.rows())
    for row in rows:
        found = tree.look(row.path)
        if found is not None and not tree.owned(found, row.executable):
            if not stamped:
                tree.prepare()
                tree.remove_state(MARKER)
            stamped = True
            tree.stamp(row.path, row.executable)
    if stamped:
        tree.own_target()
        tree.sync()
        inventory.mark(summary)
    report.files = {"total": len(rows), "loaded": 0, "kept": len(rows), "deleted": 0}
    report.bytes = {"total": sum(row.size for row in rows)}


def _forecast(report: Report, listing: Listing, tree: Volume | None) -> Report:
    """What a build would do, told in parts."""
    count, size = len(listing.entries), sum(max(0, entry.size) for entry in listing.entries)
    loaded, moved = (0, 0) if tree else (count, size)
    report.dry_run = True
    report.files = {"total": count, "loaded": loaded, "kept": count - loaded, "deleted": 0}
    report.bytes = {"total": size, "moved": moved}
    return report


# Making it


def _bring(
    header: Header,
    listing: Listing,
    sync: bool,
    transfer: Transfer,
    watch: Callable[[], None],
    look: Callable[[], None],
) -> None:
    """Load the parts; look is called beside watch."""
    volume, inventory = transfer.volume, transfer.inventory

    def both() -> None:
        watch()
        look()

    inventory.recover(header, lambda row: intact(volume, row))
    plan = make_plan(listing.entries, inventory.rows(), volume, lambda path: True, sync)
    preflight(volume, plan)
    inventory.begin(header)
    carry_out(plan, volume, inventory, transfer, both)
    inventory.sync()


def _make(builder: Builder, site: Site, root: Path, header: Header, report: Report) -> Volume:
    """Make the tree beside the old one, and put it in its place."""
    volume, new, old = site.volume, _beside(builder.place, "new"), _beside(builder.place, "old")
    tree = Volume.open(root, f"{builder.home}/{new}", volume.ownership)
    tree.prepare()
    rows: list[Row] = []
    texts = builder.build(site, tree.path, lambda stated: rows.extend(_rows(tree, builder.prefix, stated, site)))
    for name, text in texts.items():
        with tree.replace_state(name) as fd:
            os.write(fd, text.encode())
    report.files = {"total": len(rows), "loaded": len(rows), "kept": 0, "deleted": 0}
    report.bytes = {"total": sum(row.size for row in rows)}
    tree.own_target()
    tree.sync()
    Inventory(tree).tell(replace(header, finished=now()), rows, marker_of(report))
    volume.swap(new, builder.place, old)
    volume.remove_tree(old)
    return Volume.open(root, f"{builder.home}/{builder.place}", volume.ownership, create=False)


def _rows(tree: Volume, prefix: str, stated: Mapping[str, str], site: Site) -> list[Row]:
    """Own every file of a tree; their rows, sorted by path."""
    site.progress.enter("checking what was built")
    found = sorted(tree.own_tree(), key=lambda item: item[0])
    links = {path for path, before, _ in found if stat.S_ISLNK(before.st_mode)}
    unknown = [path for path, *_ in found if path not in stated and path not in links and site.verify]
    with ThreadPoolExecutor(_HASHERS) as pool:
        sums = {**stated, **dict(zip(unknown, pool.map(lambda path: _hash(tree, path), unknown), strict=True))}
    return [
        Row(path, symlink=_inside(tree, path, prefix))
        if path in links
        else Row(path, before.st_size, sums.get(path, ""), mtime=_whole(before.st_mtime_ns), executable=executable)
        for path, before, executable in found
    ]


def _whole(nanoseconds: int) -> int:
    return nanoseconds - nanoseconds % 1_000_000_000


def _hash(tree: Volume, path: str) -> str:
    fd = tree.open_file(path)
    try:
        return str(of_file(fd, os.fstat(fd).st_size, Checksum("sha256", "")))
    finally:
        os.close(fd)


def _inside(tree: Volume, path: str, prefix: str) -> str:
    """Where a symlink of a tree points. Raises UnsafePathError where that is out of it."""
    target = tree.link_target(path)
    root = os.path.realpath(tree.path)
    there = target.replace(prefix, root, 1) if f"{target}/".startswith(f"{prefix}/") else target
    led = os.path.realpath(os.path.join(root, os.path.dirname(path), there))
    if led != root and not led.startswith(f"{root}/"):
        why = f"this symlink points out of what was built ({target!r})"
        raise UnsafePathError("checking", path, why, "leave out the package that it is of")
    return target


# What stays beside it


def _drop_parts(volume: Volume, inventory: Inventory) -> None:
    inventory.close()
    inventory.forget()
    volume.remove_tree(PARTS)
    volume.sweep(set())
    volume.remove_state(JOURNAL)


def _keep_parts(volume: Volume, inventory: Inventory, header: Header) -> None:
    """Own what was made of the parts too, and tell of the parts."""
    for _ in volume.own_tree(PARTS):
        pass
    volume.sync()
    inventory.finish(replace(header, finished=now()), {"revision": header.revision, "finished": now()})
    volume.sweep(set())


def _tell_beside(volume: Volume, tree: Volume, builder: Builder, report: Report) -> None:
    """Copy the builder's texts out of the tree's state, to lie beside it and in the report."""
    report.built = {"prefix": builder.prefix}
    for name in builder.tells:
        data = b"".join(tree.read_state(name))
        report.built[name] = data.decode()
        path = f"{builder.place}.{name}"
        found = volume.look(path)
        if found is None or not volume.owned(found, executable=False) or _content(volume, path) != data:
            volume.place(path, data, executable=False)


def _content(volume: Volume, path: str) -> bytes:
    with open(volume.open_file(path), "rb") as file:
        return file.read()
