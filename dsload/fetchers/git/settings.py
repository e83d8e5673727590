"""What a repository says of itself in `.lfsconfig` and `.gitmodules` (git-lfs-config(5), gitmodules(5)).

Both come from whoever wrote the repository: no file of this machine is included in them.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

from dulwich.config import ConfigFile, parse_submodules

from dsload.errors import UsageError
from dsload.fetchers.git.location import Location, parse_location

_LFS_URL = (((b"lfs",), b"url"), ((b"remote", b"origin"), b"lfsurl"))


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule.

    Args:
        name: by which its section and its folder below `.git/modules` are called.
        url: where it comes from, which may be relative.
        update: how git updates it; none if it does not.
    """

    name: str
    url: str
    update: str


def read_lfs_url(content: bytes, where: str) -> Location | None:
    """The LFS server that `.lfsconfig` names, if it does. Raises UsageError."""
    config = _read(content, f".lfsconfig of {where}", "-o lfs=false leaves LFS alone")
    for section, name in _LFS_URL:
        try:
            url = config.get(section, name).decode("utf-8", "replace")
        except KeyError:
            continue
        try:
            return parse_location(url)
        except UsageError as error:
            fix = "fix it, or keep the pointers with -o lfs=false"
            raise UsageError("reading", f"lfs.url in .lfsconfig of {where}", error.why, fix) from error
    return None


def read_submodules(content: bytes, where: str) -> Mapping[bytes, Submodule]:
    """The submodules by path. Raises UsageError."""
    config = _read(content, f".gitmodules of {where}", "leave submodules out")
    found = {}
    for path, url, name in parse_submodules(config):
        try:
            update = config.get((b"submodule", name), b"update").decode("utf-8", "replace")
        except KeyError:
            update = ""
        found[path.rstrip(b"/")] = Submodule(
            name.decode("utf-8", "surrogateescape"), url.decode("utf-8", "surrogateescape"), update
        )
    return found


def _read(content: bytes, where: str, fix: str) -> ConfigFile:
    try:
        return ConfigFile.from_file(io.BytesIO(content), expand_includes=False)
    except ValueError as error:
        raise UsageError("reading", where, str(error), fix) from error
