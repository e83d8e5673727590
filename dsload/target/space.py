"""What is free on the volume."""

import errno
import os
from pathlib import Path

from dsload.errors import NoSpaceError
from dsload.target.directories import Directories
from dsload.target.oserror import from_oserror

_MARGIN = 16 << 20  # bytes left free for directories and state
_LITTLE = 64 << 10  # bytes
_SPARE_INODES = 32  # for what is under way, and state
_BLOCK = 4096  # bytes; a file takes whole ones. What NFS calls its block is larger, and no file takes as much


class Space:
    """Bytes and inodes of a target's volume.

    Args:
        directories: of the target.
        place: the target, for messages.
    """

    def __init__(self, directories: Directories, place: Path) -> None:
        self._directories, self._place = directories, place

    def check(self, sizes: list[int], there: int, freed: int, inodes: int) -> None:
        """Raise NoSpaceError if it does not suffice.

        Args:
            sizes: of the files to be written, in bytes.
            there: bytes of them that have been written already.
            freed: bytes of the files that they replace, one by one.
            inodes: how many files and directories more there will be.
        """
        found = self._found()
        if found is None:
            return
        free = found.f_bavail * found.f_frsize
        block = min(found.f_frsize or 1, _BLOCK)
        total = sum(-(-size // block) * block for size in sizes)
        size = max(0, total - freed - there, max(sizes, default=0) - there)
        if size + min(_MARGIN, size // 8) > free:
            why = f"{size:,} bytes are to be written and {free:,} are free"
            fix = "make room, or give the volume a larger size"
            raise NoSpaceError("checking the space of", str(self._place), why, fix)
        if found.f_files and inodes > 0 and inodes + _SPARE_INODES > found.f_favail:
            why = f"{inodes:,} files and directories are to be made and {found.f_favail:,} inodes are free"
            fix = "make room, or use a volume with more inodes"
            raise NoSpaceError("checking the inodes of", str(self._place), why, fix)

    def _found(self) -> os.statvfs_result | None:
        """What the volume says; None if it does not say, as some FUSE file systems do not."""
        try:
            found = os.fstatvfs(self._directories.target)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.ENOTSUP):
                return None
            raise from_oserror(error, "checking the space of", str(self._place)) from error
        return found if found.f_blocks else None

    def full(self) -> bool:
        """Whether next to nothing is free."""
        found = self._found()
        if found is None:
            return False
        return found.f_bavail * found.f_frsize < _LITTLE or (bool(found.f_files) and found.f_favail < _SPARE_INODES)
