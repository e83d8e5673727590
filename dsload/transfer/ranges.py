"""Ranges of a large file: read by HTTP exchanges or by a reader's calls, and what an answer says about its range."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from dsload.listing import BytesReader, HttpReader, Request, Response
from dsload.transfer.content import Content
from dsload.transfer.exchange import Abandon, Exchange, ends_itself
from dsload.transfer.parts import Version
from dsload.transfer.retry import EXPIRED, Failure

_SAVE = 8 << 20  # bytes of a part between two syncs: what a kill costs each connection at most
_READ = 4 << 20  # bytes a BytesReader is asked for at a time
_BLOCK = 1 << 20  # bytes written, hashed and counted at a time: each time gives the interpreter's lock away
_CHUNK = 16 << 10  # bytes that libcurl gives at a time (CURL_MAX_WRITE_SIZE)


class Course(Protocol):
    """What a range asks of the file that it belongs to.

    Attributes:
        located: the URL that a redirect led to, which is asked directly until it refuses.
    """

    located: str

    def check(self, response: Response, start: int) -> None:
        """Look at the head of an answer before any byte of it is kept. Raises Abandon or DsloadError."""

    def next_part(self) -> Exchange | None:
        """The next range that is not being read yet, None if every range is."""


class PartGet(Exchange):
    """A range of a file by HTTP; resumes where it was interrupted.

    Args:
        course: the file.
        content: of the file.
        start, end: of the range in bytes; an end of -1 is that of a file whose size is not known.
    """

    __slots__ = (
        "_asked_anew", "_buffer", "_content", "_course", "_direct", "_end", "_ends_itself", "_epoch", "_held",
        "_position", "_refused", "_saved",
    )  # fmt: skip

    def __init__(self, course: Course, content: Content, start: int, end: int) -> None:
        super().__init__()
        self._course, self._content, self._end, self._epoch = course, content, end, content.epoch
        self._position = self._saved = start
        self._ends_itself = False
        self._buffer, self._held = bytearray(_BLOCK + _CHUNK), 0
        self._direct = ""  # the storage's URL, if the source's own host was not asked
        self._refused: Callable[[], object] | None = None
        self._asked_anew = False

    def request(self) -> Request:
        entry = self._content.entry
        assert isinstance(entry.reader, HttpReader)
        self._direct = self._course.located
        request = Request(self._direct) if self._direct else entry.reader.request(entry)
        self._refused = request.refused
        stored = entry.reader.keeps_encoding(entry)
        request = request if request.stored == stored else replace(request, stored=stored)
        if self._content.streaming and not (entry.reader.ranges and entry.size > 0):
            return request
        return self._ranged(request)

    def _ranged(self, request: Request) -> Request:
        """A request for the range; for all of the file as a range too, without which some stores refuse a large one."""
        if then := request.then:
            return replace(request, then=lambda answer: self._ranged(then(answer)))
        headers = dict(request.headers)
        if self._content.streaming:
            return replace(request, headers={**headers, "Range": "bytes=0-"})
        headers["Range"] = f"bytes={self._position}-{self._end - 1}"
        validator = self._content.partial.version.validator
        if validator and not validator.startswith("W/") and not self._content.mixed:
            headers["If-Range"] = validator
        return replace(request, headers=headers)

    def begin(self, response: Response) -> None:
        self._heed()
        content = self._content
        if content.streaming:
            content.rewind()
            self._position = self._saved = self._held = 0
        self._course.check(response, self._position)
        if content.streaming:
            self._end, self._ends_itself = content.entry.size, ends_itself(response)
        if response.redirected:
            self._course.located = response.url

    def write(self, chunk: bytes) -> None:
        held = self._held + len(chunk)
        self._buffer[self._held : held] = chunk
        self._held = held
        if held >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        """Write what is held, and hash it at once if it comes next."""
        if not self._held:
            return
        content, position, digest = self._content, self._position, self._content.digest
        self._heed()
        if 0 <= self._end < position + self._held:
            raise content.changed("the server sent more than was listed")
        with memoryview(self._buffer)[: self._held] as data:
            content.partial.write(data, position)
            if digest is not None:
                digest.take(position, data)
        self._position, self._held = position + self._held, 0
        content.delivery.progress.received(self._position - position, content.entry.path)
        if content.partial.arrived(position, self._position):
            content.delivery.client.budget.renew()
            self.attempt, self._asked_anew = 0, False
        if self._position - self._saved >= _SAVE:
            self._save()

    def _heed(self) -> None:
        if not self._content.wanted(self._epoch):
            raise Abandon

    def _save(self) -> None:
        """Have what was written since the last time synced and hashed; a stream cannot resume, it is only hashed."""
        content, start, end, epoch = self._content, self._saved, self._position, self._epoch
        self._saved = end
        content.delivery.work.later(content.advance if content.streaming else lambda: content.save(start, end, epoch))

    def end(self) -> None:
        if self._epoch != self._content.epoch:
            return
        self._flush()
        if self._position < self._end:
            if self._ends_itself:
                raise self._content.delivery.resized(self._content.entry, self._position)
            self.failed(Failure("the connection ended before the file did"))
            return
        content, size, epoch = self._content, self._position, self._epoch
        if content.streaming:
            content.delivery.work.later(lambda: content.stream_done(size, epoch))
        elif self._position > self._saved:
            self._save()
        if part := self._course.next_part():  # on the same connection, as its bytes are hashed as they come
            content.delivery.client.submit(part, heavy=True)

    def failed(self, failure: Failure) -> None:
        if not self._content.wanted(self._epoch):
            return
        self._flush()
        if self._position == self._end >= 0:  # whole, whatever came after
            self.end()
            return
        delivery, entry = self._content.delivery, self._content.entry
        if self._direct and self._course.located == self._direct:
            self._course.located = ""
        if self._place_refused(failure):
            delivery.progress.retried(f"{delivery.where(entry)}: {failure.reason}; asking for another place")
            delivery.client.submit(self, heavy=True)
        else:
            delivery.retry(self, failure, entry)

    def _place_refused(self, failure: Failure) -> bool:
        """Whether another place is to be asked for, as this one was probably signed too long ago."""
        if failure.response is None or failure.response.status not in EXPIRED:
            return False
        if self._refused and not self._asked_anew and self._refused():
            self._asked_anew = True
            return True
        return bool(self._direct)

    def broke(self, error: Exception) -> None:
        self._held = 0
        self._content.delivery.contradicted(self, error, self._content.entry)


def read_range(content: Content, reader: BytesReader, start: int, end: int, epoch: int) -> None:
    """Read a range block by block; an end of -1 is that of a file whose size is not known. Raises DsloadError."""
    delivery, entry, position = content.delivery, content.entry, start
    while end < 0 or position < end:
        if not content.wanted(epoch):
            return
        stop = position + _READ if end < 0 else min(position + _READ, end)
        chunk = delivery.read(entry, reader, position, stop)
        if not chunk:
            break
        content.partial.write(chunk, position)
        content.partial.arrived(position, position + len(chunk))
        delivery.progress.received(len(chunk), entry.path)
        begun, position = position, position + len(chunk)
        if not content.streaming:
            content.save(begun, position, epoch)
    if position < end:
        raise content.changed(f"it ends at {position:,} bytes, {entry.size:,} were listed")
    if content.streaming:
        content.stream_done(position, epoch)


def version_of(response: Response) -> Version:
    """What tells an answer's version from others: a strong ETag, else Last-Modified, as If-Range takes them (RFC 9110,
    13.1.5), else a weak ETag.
    """
    etag, modified = response.headers.get("etag", ""), response.headers.get("last-modified", "")
    return Version(etag if etag.startswith('"') else modified or etag, modified)


def is_part(response: Response) -> bool:
    """Whether an answer is the range that was asked for. ModelScope says so by Content-Range, and status 200."""
    return response.status == 206 or "content-range" in response.headers


def total_of(response: Response) -> int | None:
    """The size of the whole file, from Content-Range of a part, else Content-Length; None if it comes decoded."""
    if "content-encoding" in response.headers:
        return None
    if is_part(response):
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isdecimal() else None


def start_of(response: Response) -> int | None:
    """The first byte of a part."""
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdecimal() else None
