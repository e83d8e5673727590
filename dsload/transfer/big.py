"""A large file: which request comes next. Asked for its checksum first, read by ranges if the server gives them."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import pycurl

from dsload.listing import BytesReader, Checksum, Entry, HttpReader, Request, Response
from dsload.transfer.content import Content
from dsload.transfer.delivery import Delivery
from dsload.transfer.exchange import Abandon, Exchange
from dsload.transfer.parts import Version, cut, part_size
from dsload.transfer.ranges import PartGet, is_part, read_range, start_of, total_of, version_of
from dsload.transfer.retry import Failure, backoff


class BigFile:
    """One file while it is loaded in parts.

    Args:
        delivery: the load that it belongs to.
        entry: the file.
        spread: called with the file when its server turns out to give ranges, so that other connections may take
            parts of it too.

    Attributes:
        located: the URL that a redirect led to, which is asked directly until it refuses.
    """

    def __init__(self, delivery: Delivery, entry: Entry, spread: "Callable[[BigFile], None]") -> None:
        self.located = ""
        self._delivery, self._entry, self._spread = delivery, entry, spread
        self._content = Content(delivery, entry, self._finish)
        self._fanned_out = self._asked_last_part = False
        self._first: Checksum | None = None  # of a download that was wrong
        self._lock = threading.Lock()
        self._gaps: list[tuple[int, int]] = []  # what no part covers yet

    # Before the first part

    def start(self) -> Exchange | None:
        """The first exchange of an HTTP file; None if nothing has to be fetched."""
        stated = self._content.checksum
        needed = stated is None or (stated.parts and not stated.part_size)
        if self._delivery.verify and needed and isinstance(self._entry.reader, HttpReader):
            part = 1 if stated is not None else 0
            return _ChecksumHead(self._delivery, self._entry, part, partial(self._learn, part))
        return self._open()

    def _learn(self, part: int, response: Response | None) -> None:
        """Take what a HEAD stated of the checksum, and send what comes next."""
        if exchange := self._after_head(part, response):
            self._delivery.client.submit(exchange, heavy=True)

    def _after_head(self, part: int, response: Response | None) -> Exchange | None:
        content, stated = self._content, self._content.checksum
        size = int(response.headers.get("content-length") or 0) if response else 0
        if part > 1 and stated:
            if response and size != self._entry.size - (part - 1) * stated.part_size:
                content.checksum = None
            self._delivery.work.later(self._finish)
            return None
        if response is None:
            content.checksum = None
            return self._open()
        if part and stated:
            fits = size > 0 and (stated.parts - 1) * size < self._entry.size
            content.checksum = replace(stated, part_size=size) if fits else None
            return self._open()
        assert isinstance(self._entry.reader, HttpReader)
        content.checksum = self._entry.reader.stated(self._entry, response)
        if content.checksum and content.checksum.parts and not content.checksum.part_size:
            return self.start()
        return self._open()

    def _open(self) -> Exchange | None:
        """The first part, alone: its answer shows whether the server gives ranges."""
        content, bytes_ = self._content, self._content.partial
        if content.streaming and bytes_.durable < max(1, self._entry.size):
            bytes_.restart()
        content.begin_digest()
        self._delivery.progress.resume(bytes_.durable)
        self._delivery.uncovered -= bytes_.durable
        missing = bytes_.missing() if bytes_.size >= 0 else [(0, -1)]
        if bytes_.durable or not missing:
            self._delivery.work.later(content.advance)
        return self._first_part(missing) if missing else None

    def _first_part(self, missing: list[tuple[int, int]]) -> Exchange | None:
        with self._lock:
            self._gaps = missing
        if isinstance(self._entry.reader, BytesReader):
            content, reader = self._content, self._entry.reader
            parts = iter(self._next_gap, None)
            self._delivery.work.read_first(
                [partial(read_range, content, reader, *part, content.epoch) for part in parts]
            )
            return None
        return self.next_part()

    def next_part(self) -> Exchange | None:
        """The next range that no part covers yet, in order; None if every range is covered."""
        part = self._next_gap()
        return PartGet(self, self._content, *part) if part else None

    def _next_gap(self) -> tuple[int, int] | None:
        with self._lock:
            if not self._gaps:
                return None
            if self._content.streaming:
                return self._gaps.pop(0)
            part, self._gaps = cut(self._gaps, part_size(self._delivery.uncovered, self._delivery.workers))
        self._delivery.uncovered -= part[1] - part[0]
        return part

    # While parts arrive

    def check(self, response: Response, start: int) -> None:
        """Look at the head of a part's answer, before any byte of it is kept.

        Raises:
            ChangedError: the answer is of another version than the listing, or than the parts before.
            Abandon: the server ignored the range; the file is read again in one stream.
        """
        content, version, reader = self._content, version_of(response), self._entry.reader
        if isinstance(reader, HttpReader) and (error := reader.objection(self._entry, response)):
            raise error
        total = total_of(response)
        if self._entry.size >= 0 and total is not None and total != self._entry.size:
            raise self._delivery.resized(self._entry, total)
        if version.differs(content.partial.version) and not content.mixed:
            self._meet_another(version, response)
        if is_part(response) and "content-encoding" not in response.headers:
            if start_of(response) != start:
                raise content.changed(f"the server sent the range {response.headers.get('content-range')!r}")
            content.partial.agree(version)
            self._fan_out()
        elif not content.streaming:
            self._stream_instead(version, fresh=start == 0 and not is_part(response))
        else:
            content.partial.agree(version)
        if content.checksum is None and self._delivery.verify and isinstance(reader, HttpReader):
            content.learn(reader.stated(self._entry, response))

    def _meet_another(self, version: Version, response: Response) -> None:
        """Go on though an answer states another version than the parts before, or raise.

        Servers behind one name may state different ETags for the same content. If a checksum is stated, that tells; if
        not, one answer agrees with itself.
        """
        content, stated = self._content, self._content.checksum
        if content.streaming:
            content.partial.forget_version()
        elif self._delivery.verify and stated and not stated.hint:
            content.mixed = True
            if not is_part(response) and self._entry.checksum:
                raise content.changed("another server answers")
        elif version.is_later(content.partial.version):
            self._discard()
            raise content.changed("it has another version than when its first part was read")
        else:
            self._stream_instead(version, fresh=False)

    def _fan_out(self) -> None:
        with self._lock:
            if self._fanned_out:
                return
            self._fanned_out = True
        self._spread(self)

    def _stream_instead(self, version: Version, fresh: bool) -> None:
        """Read the file in one stream: the one that answers now, if it is fresh, or another. Raises Abandon."""
        content = self._content
        with self._lock:
            if content.streaming:
                raise Abandon
            content.streaming = True
            fresh = fresh and not content.partial.durable and not self._fanned_out
            if fresh:
                self._gaps = []
            else:
                content.outdate()
        if fresh:
            content.partial.agree(version)
            return
        self._start_over()
        raise Abandon

    def _start_over(self) -> None:
        self._content.start_over()
        self._fetch_all()

    def _fetch_all(self) -> None:
        self._fanned_out = False
        size = self._content.partial.size
        self._delivery.uncovered += max(0, size)
        if exchange := self._first_part([(0, size)]):
            self._delivery.client.submit(exchange, heavy=True)

    def _discard(self) -> None:
        """Leave no parts behind: if the listing does not distinguish the two versions, every load would resume them."""
        self._content.outdate()
        self._content.partial.restart()

    # When every byte has come; on a finisher's thread

    def _finish(self) -> None:
        content, stated, actual = self._content, self._content.checksum, self._content.actual()
        if actual is None or stated is None:
            content.place()
        elif actual == stated:
            self._delivery.agreed(stated)
            content.place()
        elif exchange := self._ask_last_part(stated.parts):
            self._delivery.client.submit(exchange, heavy=True)
        elif self._delivery.outweighs(actual, self._first, stated):
            content.checksum = None
            content.place()
        elif self._first:
            content.partial.restart()  # no later run may resume from this
            if content.mixed:
                raise content.changed("its parts are of different versions")
            raise self._delivery.mismatch(self._entry, stated, actual)
        else:
            self._delivery.refetching(self._entry)
            self._first = actual
            content.reopen()
            self._fetch_all()

    def _ask_last_part(self, number: int) -> Exchange | None:
        """Ask for the last part's size, as a mismatch may come from parts of different sizes; if it does, the checksum
        cannot be recomputed and is of no use.
        """
        if number < 3 or self._asked_last_part or not isinstance(self._entry.reader, HttpReader):
            return None
        self._asked_last_part = True
        return _ChecksumHead(self._delivery, self._entry, number, partial(self._learn, number))


class _ChecksumHead(Exchange):
    """The HEAD for a checksum. If there is none, or it is refused, the GET has the last word.

    Args:
        delivery, entry: of the file.
        part: as of HttpReader.head().
        learn: called with the answer, None if it was refused.
    """

    def __init__(self, delivery: Delivery, entry: Entry, part: int, learn: Callable[[Response | None], None]) -> None:
        super().__init__()
        self._delivery, self._entry, self._part, self._learn = delivery, entry, part, learn
        self._response: Response | None = None

    def request(self) -> Request:
        request = cast(HttpReader, self._entry.reader).head(self._entry, self._part)
        if request is None:
            raise Abandon
        return request

    def begin(self, response: Response) -> None:
        self._response = response

    def end(self) -> None:
        self._learn(self._response)

    def failed(self, failure: Failure) -> None:
        failure = self._delivery.judged(failure, self.attempt, self._entry)
        silent = failure.curl == pycurl.E_OPERATION_TIMEDOUT and self.attempt > 0
        if silent or backoff(failure, self.attempt) is None:
            self._learn(None)
            return
        where = self._delivery.where(self._entry)
        if error := self._delivery.client.retry(self, failure, "asking for the checksum of", where):
            self._delivery.fail(error)

    def broke(self, error: Exception) -> None:
        if isinstance(error, Abandon):
            self._learn(None)
        else:
            self._delivery.fail(error)
