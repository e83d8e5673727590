"""Unpacks packages while others are still being downloaded, in processes of its own.

rattler holds the interpreter's lock while it unpacks, and a fault of its own ends the process that it is in.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

from dsload.errors import DsloadError, IntegrityError, UnsafePathError
from dsload.fetchers.conda.failures import of_volume, said
from dsload.names import unsafe
from dsload.target.oserror import writing

_PROCESSES = 4
_POLL = 0.2  # seconds
_LOCK_REVISION = (1).to_bytes(8, "big")


class Unpacker:
    """Unpacks archives into a package cache that rattler installs from.

    Args:
        cache: the folder.
        source: its name, for messages.
    """

    def __init__(self, cache: Path, source: str) -> None:
        self._cache, self._source = cache, source
        count = max(1, min(_PROCESSES, os.cpu_count() or 1))
        self._children = [_child() for _ in range(count)]
        self._idle = list(self._children)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="dsload-unpack")
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            child.kill()
        self._pool.shutdown()
        for child in self._children:
            child.communicate()

    def put(self, archive: Path, name: str, digest: bytes) -> None:
        """Unpack an archive soon.

        Args:
            archive: the file.
            name: of its folder in the cache, as rattler names it.
            digest: its sha256, b"" if its channel states none.
        """
        self._futures.append(self._pool.submit(self._unpack, archive, name, digest))

    def remove(self, name: str) -> None:
        """Delete what an archive was unpacked to, soon; what cannot be deleted stays."""
        self._futures.append(self._pool.submit(self._remove, name))

    def look(self) -> None:
        """Raise what has gone wrong so far.

        Raises:
            IntegrityError: an archive has another digest than its channel states, or cannot be unpacked.
            UnsafePathError: a name in it leads out of the environment.
            NoSpaceError, VolumeError: of the volume.
        """
        for future in self._futures:
            if future.done():
                future.result()

    def finish(self, watch: Callable[[], None]) -> None:
        """Wait until all is done; raises as look() does."""
        while wait(self._futures, _POLL, "FIRST_EXCEPTION").not_done:
            self.look()
            watch()
        self.look()

    def _unpack(self, archive: Path, name: str, digest: bytes) -> None:
        folder = self._cache / name
        answer = self._ask({"archive": str(archive), "folder": str(folder)})
        if "error" in answer:
            raise self._failed(str(answer["error"]), archive.name)
        found = str(answer["sha256"])
        if digest and found != digest.hex():
            why = f"its sha256 is {found}, but the channel states {digest.hex()}"
            raise IntegrityError("unpacking", f"{archive.name} of {self._source}", why, "have the channel fixed")
        check(folder, f"{archive.name} of {self._source}")
        # What rattler knows a whole package of its cache by; if it knows another form, it unpacks it once more.
        with writing("unpacking", f"{archive.name} of {self._source}"):
            (self._cache / f"{name}.lock").write_bytes(_LOCK_REVISION + bytes.fromhex(found))

    def _remove(self, name: str) -> None:
        self._ask({"remove": str(self._cache / name)})

    def _ask(self, question: dict[str, str]) -> dict[str, Any]:
        with self._lock:
            child = self._idle.pop()
        try:
            assert child.stdin and child.stdout
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(question) + "\n")
                child.stdin.flush()
            answer: dict[str, Any] = json.loads(child.stdout.readline() or '{"error": "the process for it ended"}')
            return answer
        finally:
            with self._lock:
                self._idle.append(child)

    def _failed(self, text: str, name: str) -> DsloadError:
        where = f"{name} of {self._source}"
        if "outside of destination" in text:
            return UnsafePathError("unpacking", where, "a name in it leads out of it", "have the channel fixed")
        return of_volume(text, "unpacking", where) or IntegrityError(
            "unpacking", where, said(text), "have the channel fixed"
        )


def _child() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is the parent's business
    )


def check(folder: Path, where: str) -> None:
    """Refuse a package whose metadata would have files put outside of an environment.

    Args:
        folder: where it is unpacked.
        where: its name, for messages.

    Raises:
        UnsafePathError: a path or an entry point is unsafe.
    """
    listed = _read(folder / "info" / "paths.json").get("paths") or []
    paths = [str(item.get("_path", "")) for item in listed if isinstance(item, dict)]
    with contextlib.suppress(FileNotFoundError):
        paths += (folder / "info" / "files").read_text("utf-8", "surrogateescape").splitlines()
    for path in paths:
        if why := unsafe(path):
            raise UnsafePathError("unpacking", where, f"it has a file {path!r}: {why}", "have the channel fixed")
    noarch = _read(folder / "info" / "link.json").get("noarch")
    for point in (noarch.get("entry_points") or []) if isinstance(noarch, dict) else []:
        name = str(point).partition("=")[0].strip()
        if "/" in name or unsafe(name):
            raise UnsafePathError("unpacking", where, f"it has an entry point {name!r}", "have the channel fixed")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise IntegrityError("unpacking", str(path), f"it is not JSON ({error})", "have the channel fixed") from error
    return found if isinstance(found, dict) else {}


def _main() -> None:
    """Unpack or delete what standard input asks for, a line of JSON each; answer with an archive's sha256."""
    from rattler.package_streaming import extract

    for line in sys.stdin:
        question = json.loads(line)
        answer = {}
        try:
            if "remove" in question:
                shutil.rmtree(question["remove"])
            else:
                digest, _ = extract(Path(question["archive"]), Path(question["folder"]))
                answer = {"sha256": digest.hex()}
        except Exception as error:
            answer = {"error": str(error) or type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
