"""A file in parts: asked for its checksum first, read by ranges where the server gives them, hashed meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dsload.errors import ChangedError, IntegrityError, VolumeError
from dsload.listing import BytesReader, Checksum, Entry, HttpReader, Request, Response
from dsload.target.inventory import Row
from dsload.transfer.checksum import Digest
from dsload.transfer.exchange import Abandon, Exchange, ends_itself
from dsload.transfer.parts import Partial, cut, fingerprint, part_size
from dsload.transfer.retry import EXPIRED, Failure

if TYPE_CHECKING:
    from dsload.transfer.engine import Transfer

_SAVE = 8 << 20  # bytes of a part between two syncs: what a kill costs each connection at most
_READ = 4 << 20  # bytes a BytesReader is asked for at a time
_BLOCK = 1 << 20  # bytes written, hashed and counted at a time: each time gives the interpreter's lock away
_CHUNK = 16 << 10  # bytes that libcurl gives at a time (CURL_MAX_WRITE_SIZE)


class BigFile:
    """One file while it is loaded in parts.

    Args:
        transfer: the load that it belongs to.
        entry: the file.
    """

    def __init__(self, transfer: "Transfer", entry: Entry) -> None:
        self.transfer, self.entry = transfer, entry
        self.name = fingerprint(entry)
        data, journal = transfer.volume.open_partial(self.name)
        self.partial = Partial(data, journal, entry.size)
        self.checksum = entry.checksum
        self.streaming = not getattr(entry.reader, "ranges", True) or entry.size < 0
        self.epoch = 0
        self.digest: Digest | None = None
        self._fanned_out = self._refetched = self._finished = self._asked_last_part = False
        self._lock = threading.Lock()
        self._gaps: list[tuple[int, int]] = []  # what no part covers yet
        self.located = ""  # where a redirect led: asked directly, until it refuses
        if not entry.version:
            self.partial.restart()
        elif entry.checksum is not None and entry.version == entry.checksum.value:
            self.partial.forget_validator()

    # Before the first part

    def start(self) -> "Exchange | None":
        """The first exchange of an HTTP file; None where nothing has to be fetched."""
        needed = self.checksum is None or (self.checksum.parts and not self.checksum.part_size)
        if self.transfer.verify and needed and isinstance(self.entry.reader, HttpReader):
            part = 1 if self.checksum is not None else 0
            if request := self.entry.reader.head(self.entry, part):
                return _Head(self, request, part)
        return self.open()

    def learn(self, response: Response | None, part: int) -> "Exchange | None":
        """Take what a HEAD told of the checksum; the next exchange."""
        size = int(response.headers.get("content-length") or 0) if response else 0
        if part > 1 and self.checksum:
            if response and size != self.entry.size - (part - 1) * self.checksum.part_size:
                self.checksum = None
            self.transfer.later(self._finish)
            return None
        if response is None:
            self.checksum = None
            return self.open()
        if part and self.checksum:
            fits = size > 0 and (self.checksum.parts - 1) * size < self.entry.size
            self.checksum = replace(self.checksum, part_size=size) if fits else None
            return self.open()
        assert isinstance(self.entry.reader, HttpReader)
        self.checksum = self.entry.reader.stated(self.entry, response)
        if self.checksum and self.checksum.parts and not self.checksum.part_size:
            return self.start()
        return self.open()

    def open(self) -> "Exchange | None":
        """The first part, alone: its answer tells whether the server gives ranges."""
        if self.streaming and self.partial.durable < max(1, self.entry.size):
            self.partial.restart()
        self._begin_digest()
        self.transfer.progress.resume(self.partial.durable)
        self.transfer.left -= self.partial.durable
        missing = self.partial.missing() if self.partial.size >= 0 else [(0, -1)]
        if self.partial.durable or not missing:
            self.transfer.later(self.advance)
        if not missing:
            return None
        return self._first_part(missing)

    def _first_part(self, missing: list[tuple[int, int]]) -> "Exchange | None":
        with self._lock:
            self._gaps = missing
        if isinstance(self.entry.reader, BytesReader):
            parts = iter(self._next_gap, None)
            self.transfer.queue_reads([PartRead(self, self.entry.reader, *part) for part in parts])
            return None
        return self.next_part()

    def next_part(self) -> "PartGet | None":
        """The next of what no part covers yet, in order; None where there is nothing more."""
        part = self._next_gap()
        return PartGet(self, *part) if part else None

    def _next_gap(self) -> tuple[int, int] | None:
        with self._lock:
            if not self._gaps:
                return None
            if self.streaming:
                return self._gaps.pop(0)
            part, self._gaps = cut(self._gaps, part_size(self.transfer.left, self.transfer.workers))
        self.transfer.left -= part[1] - part[0]
        return part

    def _begin_digest(self) -> None:
        if self.transfer.verify and self.partial.size >= 0:
            self.digest = Digest(self.checksum, self.partial.size)

    # While parts arrive

    def check(self, response: Response, start: int) -> None:
        """Look at the headers of a part's answer, before any byte of it is kept.

        Raises:
            ChangedError: the answer is of another version than the listing, or than the parts before.
            Abandon: the server ignored the range; the file is read again in one stream.
        """
        validator, known = _validator(response), self.partial.validator
        if known and validator and known not in (validator, response.headers.get("last-modified")):
            self._discard()
            raise self.changed("it has another version than when its first part was read")
        total = _total(response)
        if self.entry.size >= 0 and total is not None and total != self.entry.size:
            raise self.changed(f"it has {total:,} bytes now, {self.entry.size:,} were listed")
        if _is_part(response):
            if _range_start(response) != start:
                raise self.changed(f"the server sent the range {response.headers.get('content-range')!r}")
            self.partial.agree(validator)
            self._fan_out()
        elif not self.streaming:
            self._stream_instead(start, validator)
        else:
            self.partial.agree(validator)
        if self.checksum is None and self.transfer.verify and isinstance(self.entry.reader, HttpReader):
            self._learn_late(self.entry.reader.stated(self.entry, response))

    def _fan_out(self) -> None:
        with self._lock:
            if self._fanned_out:
                return
            self._fanned_out = True
        self.transfer.spread(self)

    def _stream_instead(self, start: int, validator: str) -> None:
        with self._lock:
            if self.streaming:
                raise Abandon
            self.streaming = True
            fresh = start == 0 and not self.partial.durable and not self._fanned_out
            if fresh:
                self._gaps = []
            else:
                self.epoch += 1
        if fresh:
            self.partial.agree(validator)
            return
        self._start_over()
        raise Abandon

    def _learn_late(self, stated: Checksum | None) -> None:
        """A checksum that only the GET's headers told, good as long as nothing is hashed yet."""
        with self._lock:
            if stated is None or stated.parts or self.checksum is not None or self.partial.written_from(0):
                return
            self.checksum = stated
        self._begin_digest()

    def rewind(self) -> None:
        """Forget what an earlier try of a stream has written, and what was hashed of it."""
        if self.partial.written_from(0):
            self.partial.restart()
            self._begin_digest()

    def _start_over(self) -> None:
        self.partial.restart()
        self._begin_digest()
        self._fanned_out = False
        self.transfer.left += max(0, self.partial.size)
        if exchange := self._first_part([(0, self.partial.size)]):
            self.transfer.queue_gets([exchange])

    def _discard(self) -> None:
        """Leave no parts behind: a listing that tells the two versions not apart would have them go on for ever."""
        with self._lock:
            self.epoch += 1
        self.partial.restart()

    def changed(self, why: str) -> ChangedError:
        """The error for a source that is not what was listed."""
        return ChangedError("downloading", self.transfer.where(self.entry), why, "run the same command again")

    # When parts are there; on the finishers' threads

    def stream_done(self, size: int, epoch: int) -> None:
        """A stream has ended, and with it the size of its file is known."""
        if epoch == self.epoch and self.partial.size < 0:
            self.partial.size = size
            self.transfer.progress.expect_more(size)
            self._begin_digest()
        self.save(0, size, epoch)

    def save(self, start: int, end: int, epoch: int) -> None:
        """Bytes are written: make them safe, hash on, and finish the file if these were the last."""
        if epoch != self.epoch:
            return
        self.partial.secure(start, end)
        hashed = self.digest.position_after(start) if self.digest else end
        self.partial.drop_cache(start, min(end, hashed))
        self.advance()

    def advance(self) -> None:
        """Hash what is there and not hashed yet."""
        restarts, digest = self.partial.restarts, self.digest
        if digest is not None:
            try:
                digest.follow(self.partial.fd, self.partial.written_from, self.partial.drop_cache)
            except EOFError as error:
                if restarts == self.partial.restarts:
                    fix = "see who else writes there, and load it again"
                    raise VolumeError("hashing", self.transfer.where(self.entry), str(error), fix) from error
                return  # the file was started over meanwhile
        with self._lock:
            whole = self.partial.size >= 0 and not self.partial.missing() and (digest is None or digest.complete)
            if self._finished or not whole or digest is not self.digest:
                return
            self._finished = True
        self._finish()

    def _finish(self) -> None:
        actual = self.digest.result() if self.digest else None
        if actual and self.checksum and actual != self.checksum:
            if exchange := self._ask_last_part(self.checksum.parts):
                self.transfer.queue_gets([exchange])
                return
            if self._refetched:
                self.partial.restart()  # no later run is to go on from this
                raise mismatch(self.transfer.where(self.entry), self.checksum, actual)
            self.transfer.progress.retried(
                f"{self.transfer.where(self.entry)}: the content is not what the source states; fetching it again"
            )
            self._refetched, self._finished = True, False
            self.epoch += 1
            self._start_over()
            return
        entry = self.entry
        volume, inventory = self.transfer.volume, self.transfer.inventory
        mtime = volume.finish_partial(self.partial.fd, entry.path, entry.executable)
        row = Row(entry.path, self.partial.size, str(actual or ""), entry.version, mtime, executable=entry.executable)
        inventory.intend(row)
        volume.adopt(self.name, entry.path)
        self.transfer.placed(row, verified=self.checksum is not None)

    def _ask_last_part(self, number: int) -> "Exchange | None":
        """A mismatch may come of parts that are not all of one size: then the last one's size gives it away, and
        there is no telling what the checksum was made of.
        """
        if number < 3 or self._asked_last_part or not isinstance(self.entry.reader, HttpReader):
            return None
        self._asked_last_part = True
        request = self.entry.reader.head(self.entry, number)
        return _Head(self, request, number) if request else None


def mismatch(where: str, stated: Checksum, actual: Checksum) -> IntegrityError:
    """The error for content that is wrong twice."""
    why = f"the content has {actual} where the source states {stated}, in two downloads"
    return IntegrityError("verifying", where, why, "tell who keeps the source, or check the network and memory")


class _Head(Exchange):
    """The HEAD that tells a checksum. Where it is refused, the GET has the last word."""

    def __init__(self, file: BigFile, request: Request, part: int) -> None:
        super().__init__()
        self._file, self._request, self._part = file, request, part
        self._response: Response | None = None

    def request(self) -> Request:
        return self._request

    def begin(self, response: Response) -> None:
        self._response = response

    def end(self) -> None:
        self._next(self._file.learn(self._response, self._part))

    def failed(self, failure: Failure) -> None:
        transfer = self._file.transfer
        error = transfer.client.retry(self, failure, "asking for the checksum of", transfer.where(self._file.entry))
        if error is None:
            return
        if error.retry:
            transfer.fail(error)
        else:
            self._next(self._file.learn(None, self._part))

    def broke(self, error: Exception) -> None:
        self._file.transfer.fail(error)

    def _next(self, exchange: Exchange | None) -> None:
        if exchange:
            self._file.transfer.queue_gets([exchange])


class PartGet(Exchange):
    """A range of a file by HTTP; goes on from where it broke off."""

    __slots__ = (
        "_asked_anew", "_buffer", "_direct", "_end", "_ends_itself", "_epoch", "_file", "_held", "_position",
        "_refused", "_saved",
    )  # fmt: skip

    def __init__(self, file: BigFile, start: int, end: int) -> None:
        super().__init__()
        self._file, self._end, self._epoch = file, end, file.epoch
        self._position = self._saved = start
        self._ends_itself = False
        self._buffer, self._held = bytearray(_BLOCK + _CHUNK), 0
        self._direct = ""  # the storage's URL, where the source's own host was not asked
        self._refused: Callable[[], None] | None = None
        self._asked_anew = False

    def request(self) -> Request:
        file = self._file
        assert isinstance(file.entry.reader, HttpReader)
        self._direct = file.located
        request = Request(self._direct) if self._direct else file.entry.reader.request(file.entry)
        self._refused = request.refused
        return request if file.streaming else self._ranged(request)

    def _ranged(self, request: Request) -> Request:
        if then := request.then:
            return replace(request, then=lambda answer: self._ranged(then(answer)))
        file, headers = self._file, dict(request.headers)
        headers["Range"] = f"bytes={self._position}-{self._end - 1}"
        if (validator := file.partial.validator) and not validator.startswith("W/"):
            headers["If-Range"] = validator
        return replace(request, headers=headers)

    def begin(self, response: Response) -> None:
        self._alive()
        if self._file.streaming:
            self._file.rewind()
            self._position = self._saved = self._held = 0
        self._file.check(response, self._position)
        if self._file.streaming:
            self._end, self._ends_itself = self._file.entry.size, ends_itself(response)
        if response.redirected:
            self._file.located = response.url

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
        file, position, digest = self._file, self._position, self._file.digest
        self._alive()
        if 0 <= self._end < position + self._held:
            raise file.changed("the server sent more than was listed")
        with memoryview(self._buffer)[: self._held] as data:
            file.partial.write(data, position)
            if digest is not None:
                digest.take(position, data)
        self._position, self._held = position + self._held, 0
        file.transfer.progress.received(self._position - position, file.entry.path)
        if file.partial.arrived(position, self._position):
            file.transfer.client.budget.renew()
            self.attempt, self._asked_anew = 0, False
        if self._position - self._saved >= _SAVE:
            self._save()

    def _alive(self) -> None:
        if self._epoch != self._file.epoch or self._file.transfer.stopped:
            raise Abandon

    def _save(self) -> None:
        """Have what was written since the last time synced and hashed; a stream cannot resume, it is only hashed."""
        file, start, end, epoch = self._file, self._saved, self._position, self._epoch
        self._saved = end
        file.transfer.later(file.advance if file.streaming else lambda: file.save(start, end, epoch))

    def end(self) -> None:
        if self._epoch != self._file.epoch:
            return
        self._flush()
        if self._position < self._end:
            if self._ends_itself:
                raise self._file.changed(f"it has {self._position:,} bytes now, {self._end:,} were listed")
            self.failed(Failure("the connection ended before the file did"))
            return
        file, size, epoch = self._file, self._position, self._epoch
        if file.streaming:
            file.transfer.later(lambda: file.stream_done(size, epoch))
        elif self._position > self._saved:
            self._save()
        if part := file.next_part():  # on the same connection, as its bytes are hashed as they come
            file.transfer.queue_gets([part])

    def failed(self, failure: Failure) -> None:
        if self._epoch != self._file.epoch or self._file.transfer.stopped:
            return
        self._flush()
        if self._position == self._end >= 0:  # whole, whatever came after
            self.end()
            return
        file = self._file
        if self._direct and file.located == self._direct:
            file.located = ""
        if self._place_refused(failure):
            where = file.transfer.where(file.entry)
            file.transfer.progress.retried(f"{where}: {failure.reason}; asking for another place")
            file.transfer.queue_gets([self])
            return
        if error := file.transfer.client.retry(self, failure, "downloading", file.transfer.where(file.entry)):
            file.transfer.fail(file.transfer.explain(file.entry, failure) or error)

    def _place_refused(self, failure: Failure) -> bool:
        """Whether another place is to be asked for: this one was signed too long ago, as it seems."""
        if failure.response is None or failure.response.status not in EXPIRED:
            return False
        if self._refused and not self._asked_anew:
            self._asked_anew = True
            self._refused()
            return True
        return bool(self._direct)

    def broke(self, error: Exception) -> None:
        if not isinstance(error, Abandon):
            self._file.transfer.fail(error, self._file.entry.path)


class PartRead:
    """A range of a file by a BytesReader; runs on a reader's thread."""

    def __init__(self, file: BigFile, reader: BytesReader, start: int, end: int) -> None:
        self._file, self._reader, self._start, self._end, self._epoch = file, reader, start, end, file.epoch

    def run(self) -> None:
        """Read the range block by block. Raises DsloadError."""
        file, position, epoch = self._file, self._start, self._epoch
        while self._end < 0 or position < self._end:
            if epoch != file.epoch or file.transfer.stopped:
                return
            stop = position + _READ if self._end < 0 else min(position + _READ, self._end)
            chunk = file.transfer.read(file.entry, self._reader, position, stop)
            if not chunk:
                break
            file.partial.write(chunk, position)
            file.partial.arrived(position, position + len(chunk))
            file.transfer.progress.received(len(chunk), file.entry.path)
            start, position = position, position + len(chunk)
            if not file.streaming:
                file.save(start, position, epoch)
        if position < self._end:
            raise file.changed(f"it ends at {position:,} bytes, {file.entry.size:,} were listed")
        if file.streaming:
            file.stream_done(position, epoch)


def _validator(response: Response) -> str:
    """What tells versions apart: a strong ETag, else Last-Modified, as If-Range takes them (RFC 9110, 13.1.5), else
    a weak ETag.
    """
    etag = response.headers.get("etag", "")
    return etag if etag.startswith('"') else response.headers.get("last-modified", etag)


def _is_part(response: Response) -> bool:
    """Whether an answer is the range that was asked for. ModelScope says so by Content-Range, and status 200."""
    return response.status == 206 or "content-range" in response.headers


def _total(response: Response) -> int | None:
    """The size of the whole file, from Content-Range of a part, else Content-Length."""
    if _is_part(response):
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isdecimal() else None


def _range_start(response: Response) -> int | None:
    """Where a part starts."""
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdecimal() else None
