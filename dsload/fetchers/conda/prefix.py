"""The place where consumers find an environment, while it is built: a symlink to where it lies on the volume.

Prefixes are written into scripts and libraries, so that an environment works at one path only.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dsload.errors import BusyError, VolumeError


@contextlib.contextmanager
def prefix_at(prefix: str, folder: Path, home: Path) -> Iterator[None]:
    """Have a prefix lead to a folder while the block runs.

    Args:
        prefix: the path that the environment is built for.
        folder: where it is built.
        home: the folder of environments on the volume.

    Raises:
        VolumeError: the path cannot be created, or is the volume itself.
        BusyError: another process is building an environment for the same path.
    """
    place = Path(prefix).parent
    made = _missing(place)
    with contextlib.ExitStack() as held:
        try:
            place.mkdir(parents=True, exist_ok=True)
            held.callback(_remove, made)
            held.enter_context(_locked(place, prefix))
            if os.path.samefile(place, home):
                raise _own_place(prefix)
            if os.path.islink(prefix):
                os.unlink(prefix)  # of a load that was killed
            os.symlink(folder, prefix)
        except OSError as error:
            raise _refused(prefix, error) from error
        held.callback(os.unlink, prefix)
        yield


def _missing(place: Path) -> list[Path]:
    """The folders to create, the deepest first."""
    return [folder for folder in (place, *place.parents) if not folder.exists()]


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextlib.contextmanager
def _locked(place: Path, prefix: str) -> Iterator[None]:
    """Hold a lock in a folder that is local to this machine, where flock is reliable."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "another process on this machine is building an environment of this name"
            raise BusyError("taking the place", prefix, why, "wait for it to end") from None
        yield
    finally:
        os.close(fd)


def _own_place(prefix: str) -> VolumeError:
    why = "the volume itself is mounted there, with the environment that is in use"
    return VolumeError("building for", prefix, why, "mount it elsewhere too, and give that as --mount-root")


def _refused(prefix: str, error: OSError) -> VolumeError:
    why = f"this path cannot be created ({(error.strerror or str(error)).lower()})"
    fix = "mount an emptyDir there, or run as a user who may write there, or choose another by -o condaPrefixDir=DIR"
    return VolumeError("building for", prefix, why, fix)
