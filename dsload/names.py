"""Names from a source are hostile input: what may lie below a target, and what may not."""

import itertools
import os
from collections.abc import Iterator

from dsload.errors import UnsafePathError
from dsload.listing import Entry

STATE = ".dsload"  # where dsload keeps its own state in a target
_LONGEST_NAME = 255  # bytes, on every file system that matters here


def check_names(entries: list[Entry]) -> None:
    """Refuse names that would leave the target, or that cannot all exist at once.

    Args:
        entries: sorted by path.
    """
    directories: set[str] = set()
    last_parent = ""
    for entry in entries:
        if why := unsafe(entry.path):
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "load another source")
        parent = entry.path.rpartition("/")[0]
        if parent != last_parent:
            directories.update((parent, *parents(parent)))
            last_parent = parent
        if entry.symlink is not None and _escapes(entry):
            why = f"this symlink points out of the target ({entry.symlink!r})"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude it by -o exclude=…")
    previous = ""
    for entry in entries:
        if entry.path == previous:
            why = "two files of the source have this name on the target"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude one by -o exclude=…")
        previous = entry.path
        if entry.path in directories and not entry.directory:
            why = "the source has a file and a directory of this name"
            raise UnsafePathError("checking the listing's name", repr(entry.path), why, "exclude one by -o exclude=…")


def unsafe(path: str) -> str:
    """Why a path from a source cannot be used below a target, "" if it can."""
    if path.startswith("/"):
        return "it is absolute"
    if "\0" in path:
        return "it holds a NUL byte"
    if not path.isascii() and not _encodable(path):
        return "it has something that is not a character"
    names = path.split("/")
    if path.endswith("/"):
        return "a file's name cannot end in '/'"
    if "" in names or "." in names:
        return "it has an empty part, or '.'"
    if ".." in names:
        return "it leads up with '..'"
    if names[0] == STATE:
        return f"{STATE} is where dsload keeps its own state"
    if any(len(name) > _LONGEST_NAME // 4 and len(os.fsencode(name)) > _LONGEST_NAME for name in names):
        return f"a part of it is longer than {_LONGEST_NAME} bytes"
    return ""


def _encodable(path: str) -> bool:
    """Whether a file can have this name: JSON can hold halves of characters, which no name has."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _escapes(entry: Entry) -> bool:
    """Whether a symlink could lead out. `..` may only come first: after a name that is itself a symlink, it
    would lead up from that symlink's target.
    """
    target = entry.symlink or "/"
    names = [name for name in target.split("/") if name != "."]
    up = len(list(itertools.takewhile(lambda name: name == "..", names)))
    depth = entry.path.count("/")
    return target.startswith("/") or up > depth or ".." in names[up:] or "\0" in target


def parents(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first; the root is not among them."""
    while path := path.rpartition("/")[0]:
        yield path
