"""One writer: a lease file with a heartbeat. No flock, which NFS, Lustre and CIFS do not all honour.

The holder touches the file every BEAT seconds. Whether a lease is fresh is judged by the volume's own clock: its
mtime against that of a file touched now, so that the clocks of two nodes may differ. A contender that finds a fresh
lease watches it: a beat means that the holder lives (BusyError), silence for TTL seconds that it is dead. A holder
on the same host whose process has ended is dead at once.
"""

import contextlib
import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from dsload.errors import BusyError
from dsload.secrets import carrying, logger
from dsload.target.oserror import writing
from dsload.target.volume import Volume

log = logger(__name__)

LEASE = "lease.json"
BEAT, TTL = 5.0, 30.0  # seconds
_WATCH = 0.5  # seconds between two looks at another's lease


class Lease:
    """Holds a target for as long as its block runs.

    Args:
        volume: the prepared target.
        beat: seconds between two touches.
        ttl: seconds of silence after which a holder counts as dead.
        name: of the file; a shard of a load has one of its own.
        brief: whether it is held for a moment only, as shards hold the target's: others of the kind wait for such a
            holder.

    `lost` is set when another load has taken the lease over, as it may when this process was frozen.
    """

    def __init__(
        self, volume: Volume, beat: float = BEAT, ttl: float = TTL, name: str = LEASE, brief: bool = False
    ) -> None:
        self._volume, self._beat, self._ttl = volume, beat, ttl
        self._name, self._brief = name, brief
        self._nonce = secrets.token_hex(16)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=carrying(self._keep), name="dsload-lease", daemon=True)
        self.lost = threading.Event()

    def __enter__(self) -> "Lease":
        self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self._mine():
                self._volume.state.remove(self._name)

    def _acquire(self) -> None:
        while not self._create(self._name):
            holder = self._read()
            if holder is None:
                continue
            if self._brief and holder.get("brief", not holder) and not self._silent(holder):  # {}: not yet written
                self._stop.wait(_WATCH)
                continue
            if not self._dead(holder):
                raise self._busy(holder)
            self._take_over(holder)

    def _create(self, name: str) -> bool:
        with writing("taking the lease of", str(self._volume.path)):
            try:
                fd = self._volume.state.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                return False
            try:
                os.write(fd, json.dumps(_identity(self._nonce, self._brief), indent=1).encode() + b"\n")
                os.fsync(fd)
            except BaseException:
                self._volume.state.remove(name)
                raise
            finally:
                os.close(fd)
            return True

    def _take_over(self, seen: dict[str, Any]) -> None:
        """Remove a dead holder's lease. The claim file lets one contender at a time do so."""
        claim = f"{self._name}.claim"
        if not self._create(claim):
            if (self._age(claim) or 0) > self._ttl:
                self._volume.state.remove(claim)
            self._stop.wait(_WATCH)
            return
        try:
            if self._read() == seen:
                log.warning("taking over the lease of a load that has ended: %s", _holder(seen))
                self._volume.state.remove(self._name)
        finally:
            self._volume.state.remove(claim)

    def _dead(self, holder: dict[str, Any]) -> bool:
        """Whether the holder has ended; watches the lease until its next beat, its end, or until it expires."""
        if _ended_here(holder):
            return True
        first = self._mtime(self._name)
        deadline = time.monotonic() + self._ttl
        log.warning("the target is held by another load: %s; watching whether it is alive", _holder(holder))
        while (age := self._age(self._name)) is not None and age <= self._ttl and time.monotonic() < deadline:
            if self._mtime(self._name) not in (first, None):
                return False
            self._stop.wait(_WATCH)
        return self._mtime(self._name) in (first, None)

    def _silent(self, holder: dict[str, Any]) -> bool:
        """Whether a holder has ended, as far as can be seen at once."""
        return _ended_here(holder) or (self._age(self._name) or 0) > self._ttl

    def _busy(self, holder: dict[str, Any]) -> BusyError:
        fix = "wait for it to end, or load into another --mount-path"
        return BusyError("taking the lease of", str(self._volume.path), f"held by {_holder(holder)}", fix)

    def _read(self) -> dict[str, Any] | None:
        """What the lease says, {} if the file is not a lease, None if it does not exist."""
        with writing("reading the lease", f"{self._volume.path}/.dsload/{self._name}"):
            try:
                fd = self._volume.state.open(self._name, os.O_RDONLY)
            except FileNotFoundError:
                return None
            with os.fdopen(fd, "rb") as file, contextlib.suppress(ValueError):
                found = json.load(file)
                return found if isinstance(found, dict) else {}
            return {}

    def _mine(self) -> bool:
        """Whether the lease is still this one's. Raises OSError if the volume cannot be read."""
        try:
            fd = self._volume.state.open(self._name, os.O_RDONLY)
        except FileNotFoundError:
            return False
        with os.fdopen(fd, "rb") as file:
            return self._nonce.encode() in file.read()

    def _mtime(self, name: str) -> float | None:
        with contextlib.suppress(OSError):
            fd = self._volume.state.open(name, os.O_RDONLY)
            try:
                return os.fstat(fd).st_mtime
            finally:
                os.close(fd)
        return None

    def _age(self, name: str) -> float | None:
        """Seconds since the last beat by the volume's clock, None if the file does not exist."""
        beat = self._mtime(name)
        if beat is None:
            return None
        with writing("taking the lease of", str(self._volume.path)):
            fd = self._volume.state.scratch()
            try:
                os.write(fd, b"now")
                os.fsync(fd)
                return os.fstat(fd).st_mtime - beat
            finally:
                os.close(fd)

    def _keep(self) -> None:
        while not self._stop.wait(self._beat):
            with contextlib.suppress(OSError):  # if the volume is away for a moment, the load itself will notice
                if not self._mine():
                    self.lost.set()
                    return
                fd = self._volume.state.open(self._name, os.O_WRONLY)
                try:
                    os.utime(fd)
                finally:
                    os.close(fd)


def _identity(nonce: str, brief: bool) -> dict[str, Any]:
    return {
        "nonce": nonce,
        "brief": brief,
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "process": _process_start(os.getpid()),
        "node": _node(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _node() -> str:
    """What identifies this kernel and pid namespace."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _process_start(pid: int) -> str:
    """The start time of a process in clock ticks, "" if it does not run (proc(5), stat field 22)."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


def _ended_here(holder: dict[str, Any]) -> bool:
    node, pid = holder.get("node"), holder.get("pid")
    return bool(node) and node == _node() and isinstance(pid, int) and _process_start(pid) != holder.get("process")


def _holder(holder: dict[str, Any]) -> str:
    if not holder:
        return "an unknown process"
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
