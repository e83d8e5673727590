"""The one place where the operating system's errors on the target become dsload's."""

import contextlib
import errno
from collections.abc import Iterator

from dsload.errors import DsloadError, NoSpaceError, NotFoundError, UnsafePathError, VolumeError


@contextlib.contextmanager
def writing(doing: str, where: str) -> Iterator[None]:
    """Turn an OSError of the block into the error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise from_oserror(error, doing, where) from error


def from_oserror(error: OSError, doing: str, where: str) -> DsloadError:
    """The error for an OSError that came while something was done to a path."""
    why = reason(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return NoSpaceError(doing, where, why, "make room and run the same command again to resume")
        case errno.ELOOP | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.EEXIST:
            return UnsafePathError(doing, where, f"something else is in the way on the target ({why})", "remove it")
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            fix = "exclude it by -o exclude=…, or load into another volume"
            return UnsafePathError(doing, where, f"the volume does not take this name ({why})", fix)
        case errno.ENOENT:
            return NotFoundError(doing, where, why)
        case _:
            return VolumeError(doing, where, why, "check that the volume is mounted for writing and who owns it")


def reason(error: OSError) -> str:
    """What the operating system says, for the middle of a sentence."""
    return (error.strerror or str(error)).lower()
