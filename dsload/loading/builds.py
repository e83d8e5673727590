"""A build on a screen: load the parts, make the tree beside the old one, own it, record it, swap it in.

On the volume, below the builder's home: the parts in `pkgs`, the tree at the builder's place, and while it is made
`.NAME.new` beside it. A tree has its inventory and marker in its own `.dsload`, so that they are swapped in with it.
"""

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
from dsload.loading.plan import as_loaded
from dsload.loading.run import Opened, Run, opened
from dsload.loading.steps import marker_of, now, preflight, prepare
from dsload.names import alike, on_disk
from dsload.report import Bytes, Files, Report
from dsload.secrets import logger
from dsload.target.inventory import JOURNAL, MARKER, Header, Inventory, Marker, Row
from dsload.target.ownership import Ownership
from dsload.target.volume import Volume, split_mount_path
from dsload.transfer.checksum import of_file
from dsload.transfer.client import Client

log = logger(__name__)

PACKAGES = "pkgs"
_HASHERS = 2


def build(run: Run, client: Client) -> Report:
    """Build what a source describes, unless it exists already."""
    builder = cast(Builder, run.source.spec.load()(run.source, Context(run.supply.secrets, client)))
    listing, root = builder.list(), run.target.root.absolute()
    path = f"{builder.home}/{builder.place}"
    report = replace(run.report(listing), target=str(run.target.root / path))
    header = replace(run.header(listing), identity=builder.identity)
    if split_mount_path(run.target.path):
        log.info("%s is built in %s, whatever --mount-path says", run.source.type, run.target.root / path)
    if run.settings.dry_run:
        return _forecast(report, listing, _standing(root, path, header, run.target.owner))
    with opened(run, builder.home) as at:
        _own_above(at.volume, builder.place)
        _restore(at.volume, builder.place)
        tree = _standing(root, path, header, run.target.owner)
        report = _keep(tree, report) if tree else _make(at, builder, listing, header, report, client)
        if not builder.keeps_parts:
            _drop_parts(at.volume, at.inventory)
        size = Bytes(report.bytes.total, run.progress.moved, run.progress.resumed)
        tree = Volume.open(root, path, run.target.owner, create=False)
        built = _texts_beside(at.volume, tree, builder)
        return replace(report, bytes=size, retries=run.progress.retries, built=built)


# Whether it exists


def _beside(place: str, suffix: str) -> str:
    folder, _, name = place.rpartition("/")
    return f"{folder}/.{name}.{suffix}"


def _own_above(volume: Volume, place: str) -> None:
    folder = place.rpartition("/")[0]
    found = volume.look(folder)
    if found is not None and not volume.owned(found, executable=False):
        volume.own_folder(folder)


def _restore(volume: Volume, place: str) -> None:
    """Undo half a swap, and clear what a build that was killed has left."""
    old = _beside(place, "old")
    if volume.look(place) is None and volume.look(old) is not None:
        volume.trees.rename(old, place)
    for suffix in ("old", "new"):
        volume.trees.remove(_beside(place, suffix))


def _standing(root: Path, path: str, header: Header, ownership: Ownership) -> Volume | None:
    """The tree, if it is the one that the header describes, whole and unchanged."""
    try:
        tree = Volume.open(root, path, ownership, create=False)
    except NotFoundError:
        return None
    inventory = Inventory(tree)
    before = inventory.header()
    if before is None or (before.identity, before.revision) != (header.identity, header.revision):
        return None
    return tree if inventory.complete() and as_loaded(inventory.rows(), tree)[1] else None


def _keep(tree: Volume, report: Report) -> Report:
    """Leave a tree as it is, but for its owner and mode."""
    inventory, stamped = Inventory(tree), False
    marker = inventory.marker() or Marker()
    rows = list(inventory.rows())
    for row in rows:
        found = tree.look(row.path)
        if found is not None and not tree.owned(found, row.executable):
            if not stamped:
                tree.prepare()
                tree.state.remove(MARKER)
            stamped = True
            tree.stamp(row.path, row.executable)
    if stamped:
        tree.own_target()
        tree.sync()
        inventory.mark(marker)
    return replace(report, files=Files(len(rows), kept=len(rows)), bytes=Bytes(sum(row.size for row in rows)))


def _forecast(report: Report, listing: Listing, tree: Volume | None) -> Report:
    """What a build would do, counted in parts."""
    count, size = len(listing.entries), sum(max(0, entry.size) for entry in listing.entries)
    loaded, moved = (0, 0) if tree else (count, size)
    return replace(report, files=Files(count, loaded, count - loaded), bytes=Bytes(size, moved))


# Making it


def _make(at: Opened, builder: Builder, listing: Listing, header: Header, report: Report, client: Client) -> Report:
    """Make the tree beside the old one, and put it in its place."""
    volume, run = at.volume, at.run
    new, old = _beside(builder.place, "new"), _beside(builder.place, "old")
    bring = partial(_bring, at, header, listing, not builder.keeps_parts, client)
    site = Site(volume, run.settings.network, run.progress, bring, at.watch, run.settings.verify)
    tree = Volume.open(run.target.root.absolute(), f"{builder.home}/{new}", volume.ownership)
    tree.prepare()
    rows: list[Row] = []
    texts = builder.build(site, tree.path, lambda stated: rows.extend(_rows(tree, builder.prefix, stated, site)))
    for name, text in texts.items():
        with tree.state.replace(name) as fd:
            os.write(fd, text.encode())
    report = replace(report, files=Files(len(rows), len(rows)), bytes=Bytes(sum(row.size for row in rows)))
    tree.own_target()
    tree.sync()
    Inventory(tree).rewrite(replace(header, finished=now()), rows, marker_of(report))
    volume.trees.swap(new, builder.place, old)
    volume.trees.remove(old)
    if builder.keeps_parts:
        _keep_parts(volume, at.inventory, header)
    return report


def _bring(at: Opened, header: Header, listing: Listing, sync: bool, client: Client, look: Callable[[], None]) -> None:
    """Load the parts; look is called beside the load's own watch."""

    def both() -> None:
        at.watch()
        look()

    at.recover(header)
    plan = at.plan(listing.entries, lambda path: True, sync)
    preflight(at.volume, plan)
    prepare(plan)
    at.inventory.begin(header)
    at.carry_out(plan, client, both)


def _rows(tree: Volume, prefix: str, stated: Mapping[str, str], site: Site) -> list[Row]:
    """Own every file of a tree; their rows, sorted by path."""
    site.progress.enter("checking what was built")
    found = sorted(tree.trees.own(), key=lambda item: item[0])
    _check_apart(stated, {path for path, *_ in found})
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


def _check_apart(stated: Mapping[str, str], found: set[str]) -> None:
    """Raise UnsafePathError if the volume took two files of the packages for one."""
    for group in alike([*stated]):
        if not found.issuperset(group):
            why = f"this volume takes {' and '.join(map(repr, group))} for one name"
            fix = "leave out the package that they belong to, or load into a volume that keeps them apart"
            raise UnsafePathError("checking what was built", "", why, fix)


def _whole(nanoseconds: int) -> int:
    return nanoseconds - nanoseconds % 1_000_000_000


def _hash(tree: Volume, path: str) -> str:
    fd = tree.open_file(path)
    try:
        return str(of_file(fd, os.fstat(fd).st_size, Checksum("sha256", "")))
    finally:
        os.close(fd)


def _inside(tree: Volume, path: str, prefix: str) -> str:
    """Where a symlink of a tree points. Raises UnsafePathError if that is outside of the tree."""
    target = tree.link_target(path)
    root, there = os.path.realpath(os.fsencode(tree.path)), on_disk(target)
    if f"{target}/".startswith(f"{prefix}/"):
        there = there.replace(os.fsencode(prefix), root, 1)
    led = os.path.realpath(os.path.join(root, os.path.dirname(on_disk(path)), there))
    if led != root and not led.startswith(root + b"/"):
        why = f"this symlink points outside of what was built ({target!r})"
        raise UnsafePathError("checking", path, why, "leave out the package that it belongs to")
    return target


# What stays beside the tree


def _drop_parts(volume: Volume, inventory: Inventory) -> None:
    inventory.close()
    inventory.forget()
    volume.trees.remove(PACKAGES)
    volume.state.sweep(set())
    volume.state.remove(JOURNAL)


def _keep_parts(volume: Volume, inventory: Inventory, header: Header) -> None:
    """Own the parts and what was made of them, and record the parts."""
    for _ in volume.trees.own(PACKAGES):
        pass
    volume.sync()
    inventory.finish(replace(header, finished=now()), Marker(header.source, header.revision, now()))
    volume.state.sweep(set())


def _texts_beside(volume: Volume, tree: Volume, builder: Builder) -> dict[str, str]:
    """Copy the builder's texts out of the tree's state, to lie beside it; what the report says of the tree."""
    built = {"prefix": builder.prefix}
    for name in builder.tells:
        data = b"".join(tree.state.read(name))
        built[name] = data.decode()
        path = f"{builder.place}.{name}"
        found = volume.look(path)
        if found is None or not volume.owned(found, executable=False) or _content(volume, path) != data:
            volume.place(path, data, executable=False)
    return built


def _content(volume: Volume, path: str) -> bytes:
    with open(volume.open_file(path), "rb") as file:
        return file.read()
