"""Whether the shards that a model's indexes name are all there, before a load counts as complete."""

import os
from collections.abc import Callable, Collection, Iterable

from dsload.errors import IntegrityError, UnsafePathError
from dsload.formats.tensors import is_index, shards
from dsload.listing import Entry
from dsload.names import unsafe
from dsload.target.volume import Volume

_LONGEST_INDEX = 64 << 20  # bytes
_NAMED = 3  # files that a message names


def check_shards(
    entries: Iterable[Entry], select: Callable[[str], bool], volume: Volume, gone: Collection[str], source: str
) -> None:
    """Compare each index of shards, such as `model.safetensors.index.json`, with the target.

    Args:
        entries: of the listing.
        select: whether a path is to be loaded; shards that are not do not count.
        volume: the target, with all of them in place.
        gone: paths in it that are about to be deleted.
        source: its name for messages.

    Raises:
        IntegrityError: shards are missing.
    """
    for entry in entries:
        if not is_index(entry.path) or entry.symlink is not None or entry.directory or not select(entry.path):
            continue
        folder = entry.path.rpartition("/")[0]
        named = sorted(f"{folder}/{name}" if folder else name for name in shards(_content(entry.path, volume)))
        if missing := [path for path in named if select(path) and (path in gone or not _is_there(path, volume))]:
            names = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            files = "file that is" if len(missing) == 1 else "files that are"
            why = f"it names {len(missing):,} {files} not there: {names}"
            fix = "complete the source, or exclude the index; --no-verify does not look"
            raise IntegrityError("checking", f"{entry.path} from {source}", why, fix)


def _content(path: str, volume: Volume) -> bytes:
    """An index, nothing if it is too large to be one."""
    fd = volume.open_file(path)
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0) if size <= _LONGEST_INDEX else b""
    finally:
        os.close(fd)


def _is_there(path: str, volume: Volume) -> bool:
    try:
        return bool(unsafe(path)) or volume.look(path) is not None
    except UnsafePathError:
        return False
