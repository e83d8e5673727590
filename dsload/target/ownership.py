"""Owner and mode of what a load creates."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dsload.errors import OwnershipError
from dsload.target.oserror import reason

NEW = 0o1700  # the mode of a directory that has not got its owner yet, should a kill come in between
_REFUSALS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # EINVAL: outside a user namespace
_SPECIAL = 0o7000
_FOR_BITS = "give the process the capability FSETID, or ask for a mode without setuid, setgid and sticky bits"
_MODE_FIRST = ("mode", "owner")
_OWNER_FIRST = ("owner", "mode")


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns what a load creates.

    Args:
        uid, gid: numeric.
        mode: of files, such as 0o755; directories get x wherever it has r if it has no x at all.
        policy: "require" fails if it cannot be applied, "try" continues, "skip" does not try.
    """

    uid: int
    gid: int
    mode: int = 0o755
    policy: Literal["require", "try", "skip"] = "require"

    @property
    def directory_mode(self) -> int:
        """The mode of directories."""
        return self.mode if self.mode & 0o111 else _add_x(self.mode)

    def file_mode(self, executable: bool) -> int:
        """The mode of a file; one that is executable at its source gains x wherever the mode has r."""
        return _add_x(self.mode) if executable else self.mode


def _add_x(mode: int) -> int:
    return mode | (mode & 0o444) >> 2


def check_mode(ownership: Ownership) -> None:
    """Raise OwnershipError for a mode that only root could work with."""
    if os.geteuid() != 0 and ownership.directory_mode & 0o300 != 0o300:
        why = "dsload could not write into the directories that it makes, as it does not run as root"
        fix = "ask for a mode with w for the owner, or run as root"
        raise OwnershipError("applying", f"--mount-mode {ownership.mode:04o}", why, fix)


def is_new(directory: int) -> bool:
    """Whether an open directory was made by a load that has not given it its owner yet."""
    return stat.S_IMODE(os.fstat(directory).st_mode) & ~stat.S_ISGID == NEW


class Stamp:
    """Puts owner and mode on files, directories and symlinks.

    Args:
        ownership: what to put on them.
        place: the target, for messages.

    Its methods raise OwnershipError if the volume refuses and the policy requires it, else OSError.
    """

    def __init__(self, ownership: Ownership, place: Path) -> None:
        self.ownership, self._place = ownership, place

    def fits(self, found: os.stat_result, executable: bool) -> bool:
        """Whether owner and mode are as asked for."""
        wanted = self.ownership
        if wanted.policy == "skip":
            return True
        if stat.S_ISLNK(found.st_mode):
            return (found.st_uid, found.st_gid) == (wanted.uid, wanted.gid)
        mode = wanted.directory_mode if stat.S_ISDIR(found.st_mode) else wanted.file_mode(executable)
        return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (wanted.uid, wanted.gid, mode)

    def file(self, fd: int, executable: bool, what: str) -> os.stat_result:
        """Stamp an open file; what it is then."""
        return self.exactly(fd, self.ownership.file_mode(executable), what)

    def directory(self, fd: int, name: str) -> None:
        """Stamp an open directory. Until it has its owner, NEW marks it: the mode comes last."""
        self._apply(fd, self.ownership.directory_mode, f"the directory {name}", _OWNER_FIRST)

    def link(self, name: bytes, directory: int, path: str) -> None:
        """Give a symlink, by its name in an open directory, its owner."""
        wanted = self.ownership
        if wanted.policy == "skip":
            return
        try:
            os.chown(name, wanted.uid, wanted.gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            if wanted.policy == "require":
                why = f"cannot give it to {wanted.uid}:{wanted.gid} ({reason(error)})"
                raise self._refused(path, why) from None

    def exactly(self, fd: int, mode: int, what: str) -> os.stat_result:
        """Stamp an open file with this mode; what it is then. The mode comes first, as only the owner may change it,
        unless a chown would clear it.
        """
        return self._apply(fd, mode, what, _OWNER_FIRST if mode & _SPECIAL else _MODE_FIRST)

    def _apply(self, fd: int, mode: int, what: str, order: tuple[str, ...]) -> os.stat_result:
        wanted, refusal = self.ownership, ""
        for change in order:
            try:
                if change == "mode":
                    os.fchmod(fd, mode)
                elif wanted.policy != "skip":
                    os.fchown(fd, wanted.uid, wanted.gid)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                refusal = f" ({reason(error)})"
        found = os.fstat(fd)
        is_now = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        if wanted.policy == "require" and is_now != (wanted.uid, wanted.gid, mode):
            asked = f"{wanted.uid}:{wanted.gid} with mode {mode:04o} was asked for"
            why = f"{asked}, the volume made it {is_now[0]}:{is_now[1]} with {is_now[2]:04o}{refusal}"
            bits = is_now[:2] == (wanted.uid, wanted.gid) and is_now[2] | _SPECIAL == mode | _SPECIAL
            raise self._refused(what, why, _FOR_BITS if bits else "")
        return found

    def _refused(self, what: str, why: str, fix: str = "") -> OwnershipError:
        fix = fix or (
            f"export the volume with no_root_squash, or run as {self.ownership.uid}:{self.ownership.gid}, "
            "or ask for your own by --mount-uid and --mount-gid, or choose --ownership try"
        )
        return OwnershipError("setting the owner of", f"{what} in {self._place}", why, fix)
