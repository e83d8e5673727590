"""Small file systems and small privileges: a tmpfs of a given size, other users, user namespaces."""

import contextlib
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers import passthrough
from tests.servers.process import PIP, find, missing, unavailable, wait_until

UNPRIVILEGED = 12345  # a uid that nothing belongs to
DAC_READ_SEARCH = 1 << 2  # capabilities(7)


@contextlib.contextmanager
def small_tmpfs(directory: Path, size: int, inodes: int = 0) -> Iterator[Path]:
    """A tmpfs of `size` bytes (whole pages of 4 KiB) on `directory`, with at most `inodes` if not 0.

    The root of it takes one of the inodes.
    """
    need_root("mount a tmpfs")
    directory.mkdir(exist_ok=True)
    options = f"size={size},mode=755" + (f",nr_inodes={inodes}" if inodes else "")
    argv = [find("mount", "mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    mounted = subprocess.run(argv, capture_output=True, text=True)
    if mounted.returncode:
        unavailable(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run([find("umount", "mount"), "--lazy", str(directory)], check=True)


@contextlib.contextmanager
def volume_with(directory: Path, *habits: str) -> Iterator[Path]:
    """A volume with `passthrough.HABITS`, on `directory`; what it holds lies beside that."""
    need_root("mount a file system")
    find("fusermount3", "fuse3")
    if importlib.util.find_spec("mfusepy") is None:
        missing("mfusepy", "mfusepy", PIP)
    backing = directory.with_name(f"{directory.name}-backing")
    for folder in (directory, backing):
        folder.mkdir(parents=True)
    argv = [sys.executable, passthrough.__file__, str(backing), str(directory), *habits]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: os.path.ismount(directory) or server.poll() is not None, "a file system")
        if server.poll() is not None:
            unavailable(f"no file system in user space can be mounted here: {server.stdout and server.stdout.read()}")
        yield directory
    finally:
        gc.collect()  # closes what loads in this process have opened
        subprocess.run([find("umount", "mount"), "--lazy", str(directory)], check=server.poll() is None)
        server.kill()  # a descriptor that is still open would keep it
        server.communicate()


def need_root(what: str) -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        unavailable(f"only root can {what}")


def as_stranger(argv: list[str], uid: int = UNPRIVILEGED) -> list[str]:
    """The command as that uid and gid, without any privileges: what is closed to it cannot be read."""
    need_root("run a command as another user")
    prefix = [find("setpriv", "util-linux"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    tried = subprocess.run([*prefix, argv[0], "--version"], capture_output=True, text=True)
    if tried.returncode:
        unavailable(f"other users cannot run this interpreter: {tried.stderr.strip()}")
    return [*prefix, *argv]


@contextlib.contextmanager
def bound(source: Path, place: Path) -> Iterator[None]:
    """A folder that is mounted at a second place."""
    need_root("mount")
    mounted = subprocess.run(
        [find("mount", "mount"), "--bind", str(source), str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        unavailable(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([find("umount", "mount"), "--lazy", str(place)], check=True)


def as_user(argv: list[str], uid: int = UNPRIVILEGED) -> list[str]:
    """The command as that uid and gid, without other groups or privileges.

    Where this process may read anything (CAP_DAC_READ_SEARCH), the command may too: an interpreter below /root
    and pytest's directories are closed to other users. Writing and giving files away stay refused.
    """
    need_root("run a command as another user")
    prefix = [find("setpriv", "util-linux"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    if _capabilities() & DAC_READ_SEARCH:
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [*prefix, "--", *argv]


def with_capabilities(argv: list[str], *names: str) -> list[str]:
    """The command as root of a container, with these capabilities and no others; capabilities(7) has them as CAP_…"""
    need_root("give a command some capabilities")
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in names)])
    return [find("setpriv", "util-linux"), f"--bounding-set={kept}", "--inh-caps=-all", "--", *argv]


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


@contextlib.contextmanager
def directory_of(uid: int = UNPRIVILEGED) -> Iterator[Path]:
    """A directory that the uid owns and can reach, outside of pytest's."""
    need_root("give a directory away")
    directory = Path(tempfile.mkdtemp(prefix="dsload-test-"))
    os.chown(directory, uid, uid)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def in_user_namespace(argv: list[str]) -> list[str]:
    """The command as root of a user namespace without any other uid: a chown to one is refused (EINVAL)."""
    unshare = find("unshare", "util-linux")
    prefix = [unshare, "--user", "--map-root-user", "--"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode:
        unavailable(f"no user namespace can be made here: {tried.stderr.strip()}")
    return [*prefix, *argv]
