"""What lies below a folder of a filesystem of fsspec: all of it, or an error."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.generic import GenericFileSystem
from fsspec.implementations.dirfs import DirFileSystem

from dsload.errors import DsloadError, NotFoundError, RefusedError, UnsafePathError
from dsload.fetchers.folders import left_out, opens, to_exclude
from dsload.fetchers.fsspec.failures import changed, mapped
from dsload.listing import Filter
from dsload.names import unsafe

_LONGEST_PATH = 4096  # bytes on Linux
_MOST_ALIKE = 16  # folders, each in the one before, that hold the same: a tree that goes on so leads in circles

Info = dict[str, Any]  # as fsspec's `info` makes it


def tree(
    filesystem: fsspec.AbstractFileSystem, root: str, select: Filter, where: str, closed: list[str]
) -> Iterator[tuple[str, Info]]:
    """What there is below a folder, with paths from there.

    A filesystem that lists a tree by itself, as object stores do, is left to it. For the others fsspec would walk, and
    pass over the folders that it cannot list; so that is done here. Folders that the filter excludes are not listed.

    Args:
        filesystem, root: where the folder is.
        select: include and exclude of the source.
        where: its name for messages.
        closed: gets the folders that cannot be listed, and that a pattern excludes by their own name.

    Raises:
        UnsafePathError: a name does not lie below its folder, or the tree leads in circles.
        RefusedError, NotFoundError, UnreachableError: a folder cannot be listed.
    """
    if not _lists_trees(filesystem):
        yield from _walk(filesystem, root, select, where, closed)
        return
    found = mapped("listing", where, lambda: filesystem.find(root, withdirs=True, detail=True))
    for info in found.values():
        if path := _below(info, root):
            yield path, info


def _lists_trees(filesystem: fsspec.AbstractFileSystem) -> bool:
    kind = type(filesystem)
    if issubclass(kind, DirFileSystem | GenericFileSystem):  # those ask another one, which may walk
        return False
    if issubclass(kind, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find
    return kind.find is not fsspec.AbstractFileSystem.find


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is still to be listed.

    Args:
        info: of it.
        path: below the root.
        holds: what the folder that it lies in holds, for comparison.
        alike: how many folders above it hold the same as the one that they lie in.
    """

    info: Info
    path: str
    holds: frozenset[tuple[str, str, str]] = frozenset()
    alike: int = 0


def _walk(
    filesystem: fsspec.AbstractFileSystem, root: str, select: Filter, where: str, closed: list[str]
) -> Iterator[tuple[str, Info]]:
    folders = [_Folder({"name": root}, "")]
    while folders:
        folder = folders.pop()
        if not opens(select, folder.path):
            continue
        try:
            infos = _listed(filesystem, folder, where)
        except DsloadError:
            if not left_out(select, folder.path):
                raise
            closed.append(folder.path)
            continue
        holds = frozenset((name, str(info["type"]), str(info.get("size"))) for name, info in infos)
        if folder.path and not infos:
            yield folder.path, folder.info
        alike = folder.alike + 1 if holds and holds == folder.holds else 0
        if alike == _MOST_ALIKE:
            why = f"{alike} folders, each in the one before, hold the same: they seem to lead in circles"
            raise UnsafePathError("listing", f"{folder.path[:200]} of {where}", why, _leave_out(folder.path))
        for name, info in infos:
            path = f"{folder.path}/{name}" if folder.path else name
            if len(path) > _LONGEST_PATH:
                why = f"its folders are more than {_LONGEST_PATH:,} bytes deep"
                raise UnsafePathError("listing", f"{path[:100]}…", why, "name a folder further down")
            if info["type"] == "directory" and not unsafe(path):
                folders.append(_Folder(info, path, holds, alike))
            else:
                yield path, info


def _listed(filesystem: fsspec.AbstractFileSystem, folder: _Folder, where: str) -> list[tuple[str, Info]]:
    """What a folder holds, by name."""
    at = f"{folder.path} of {where}" if folder.path else where
    place = str(folder.info["name"])
    try:
        infos = mapped("listing", at, lambda: list(filesystem.ls(place, detail=True)))
    except NotFoundError as error:
        raise changed(at, "it has disappeared since it was listed") from error
    except RefusedError as error:
        if folder.path:
            error.fix = f"{error.fix}, or {_leave_out(folder.path)}"
        raise
    return [(name, info) for info in infos if (name := _below(info, place))]


def _leave_out(folder: str) -> str:
    return f"leave it out by {to_exclude(folder)}"


def _below(info: Info, folder: str) -> str:
    """The path from a folder to what lies below it, "" for the folder itself."""
    name, base = str(info["name"]).strip("/"), folder.strip("/")
    if name == base:
        return ""
    if base and not name.startswith(f"{base}/"):
        raise UnsafePathError("listing", repr(name), f"it does not lie below {folder!r}", "load another source")
    return name[len(base) + 1 :] if base else name
