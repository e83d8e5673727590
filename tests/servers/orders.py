"""What the fault server serves, and the faults that it can be ordered to commit."""

import base64
import functools
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.servers.threaded import Request

BEFORE_HEAD = -1  # as `after`: not even the head of the answer is sent
PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Virtual:
    """`size` bytes made when read: a random block over and over, of a prime length so that no parts match."""

    size: int
    seed: int = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        block, length = _block(self.seed), max(0, stop - start)
        at = start % len(block)
        return (block * (1 + (at + length) // len(block)))[at : at + length]


@functools.lru_cache(8)
def _block(seed: int) -> bytes:
    return random.Random(seed).randbytes(1_000_003)


Body = bytes | Virtual


def digest(body: Body, algorithm: str = "sha256") -> "hashlib._Hash":
    """The hash of a body."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    for start in range(0, len(body), PIECE):
        hasher.update(body[start : start + PIECE])
    return hasher


@dataclass(frozen=True, slots=True)
class File:
    """What is served under a path."""

    body: Body
    etag: str | None
    modified: str | None  # an HTTP date
    headers: Mapping[str, str]  # beside, or instead of, those of the protocol


@dataclass(frozen=True, slots=True)
class Fault:
    """How one answer differs from the right one; the fields combine. Without any it is the right one."""

    status: int | None = None  # answer this instead of the file
    body: bytes = b""  # with that status
    headers: Mapping[str, str | None] = field(default_factory=dict)  # to add or replace; None: to leave out
    cut: Literal["close", "reset", "stall"] | None = None  # what happens to the connection
    after: int = 0  # ... when so many bytes of the body are sent
    rate: float | None = None  # bytes/s of the connection
    ignore_range: bool = False  # 200 and all of it
    flip: int | None = None  # the byte of the file at this offset is wrong
    chunked: bool = False  # Transfer-Encoding: chunked, no Content-Length
    replace: Body | None = None  # the file changes to this, just before the answer


OK = Fault()


def status(code: int, *, retry_after: int | str | None = None, body: bytes = b"", **headers: str) -> Fault:
    """This status, with Retry-After (seconds or an HTTP date) and headers (``_`` in a name means ``-``)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if retry_after is not None:
        named["Retry-After"] = str(retry_after)
    return Fault(code, body, named)


def redirect(location: str, code: int = 302) -> Fault:
    """A redirect to a path or URL."""
    return Fault(code, headers={"Location": location})


def close(after: int) -> Fault:
    """A short body: the connection ends after so many bytes."""
    return Fault(cut="close", after=after)


def reset(after: int) -> Fault:
    """The connection is reset (RST) when the client has got so many bytes."""
    return Fault(cut="reset", after=after)


def stall(after: int) -> Fault:
    """Nothing comes after so many bytes, until `FaultServer.release` or the client hangs up."""
    return Fault(cut="stall", after=after)


def slow(rate: float) -> Fault:
    """At most `rate` bytes/s on the connection."""
    return Fault(rate=rate)


def ignore_range() -> Fault:
    """200 with all of the file where a range was asked for."""
    return Fault(ignore_range=True)


def flip(offset: int) -> Fault:
    """A wrong byte at that offset of the file."""
    return Fault(flip=offset)


def chunked() -> Fault:
    """No Content-Length."""
    return Fault(chunked=True)


def change(body: Body) -> Fault:
    """From this request on the file has this content, another ETag and a later Last-Modified."""
    return Fault(replace=body)


def extra(headers: Mapping[str, str | None]) -> Fault:
    """The right answer with more, other (a wrong Content-Range, say) or, for None, fewer headers."""
    return Fault(headers=headers)


def is_head(request: Request) -> bool:
    """For `when`: the request is a HEAD."""
    return request.method == "HEAD"


def basic(user: str, password: str) -> str:
    """The Authorization of HTTP basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
