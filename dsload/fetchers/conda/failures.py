"""rattler's errors, which are texts, as dsload's."""

import errno
import os
import re

from dsload.errors import DsloadError
from dsload.target.oserror import from_oserror

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_OF_VOLUME = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE)


def said(text: str) -> str:
    """A text of rattler's in one line, from what was being done to the cause."""
    return ": ".join(dict.fromkeys(line.removeprefix("Caused by: ") for line in text.splitlines() if line))


def of_volume(text: str, doing: str, where: str) -> DsloadError | None:
    """The error that a text of rattler's means if the volume is to blame, else None."""
    match = _OS_ERROR.search(text)
    if match is None or int(match[1]) not in _OF_VOLUME:
        return None
    error = from_oserror(OSError(int(match[1]), os.strerror(int(match[1]))), doing, where)
    error.why = f"{text.splitlines()[0]}: {error.why}"
    return error
