"""Folders made and looked at as data."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

STATE = ".dsload"


def make(folder: Path, files: Mapping[str, bytes | None]) -> Path:
    """Write the files, and the folders that they lie in; None for a folder with nothing in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        place = folder / path
        if data is None:
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    return folder


def contents(folder: Path, state: bool = False) -> dict[str, bytes]:
    """The content of every regular file, dsload's own state left out."""
    return {path: (folder / path).read_bytes() for path, kind in _walk(folder, state) if kind == stat.S_IFREG}


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that a change to anything below the folder would change, access times aside."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (".", *(path for path, _ in _walk(folder, state=True))):
        place = folder / path
        info = place.lstat()
        about: tuple[object, ...] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns)
        if stat.S_ISREG(info.st_mode):
            about += (hashlib.sha256(place.read_bytes()).hexdigest(),)
        elif stat.S_ISLNK(info.st_mode):
            about += (os.readlink(place),)
        found[path] = about
    return found


def owners(folder: Path, state: bool = False) -> dict[str, tuple[int, int, str]]:
    """Uid, gid and mode of everything below the folder, and of the folder itself as ``.``."""
    found = {}
    for path in (".", *(path for path, _ in _walk(folder, state))):
        info = (folder / path).lstat()
        found[path] = (info.st_uid, info.st_gid, f"{stat.S_IMODE(info.st_mode):04o}")
    return found


def _walk(folder: Path, state: bool) -> list[tuple[str, int]]:
    found = []
    for at, folders, files in os.walk(folder):
        if not state and STATE in folders:
            folders.remove(STATE)
        for name in (*folders, *files):
            place = Path(at, name)
            found.append((str(place.relative_to(folder)), stat.S_IFMT(place.lstat().st_mode)))
    return sorted(found)
