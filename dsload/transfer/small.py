"""A small file: one request, held in memory, verified and put in place whole."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from dsload.listing import Entry, HttpReader, Request, Response
from dsload.transfer.delivery import Delivery
from dsload.transfer.exchange import Exchange, ends_itself
from dsload.transfer.retry import EXPIRED, Failure

SMALL = 1 << 20  # bytes; what is larger is read in parts, with a partial file on the volume


def is_small(entry: Entry) -> bool:
    """Whether an entry is fetched by one request into memory."""
    composite = entry.checksum is not None and entry.checksum.parts > 1 and not entry.checksum.part_size
    return 0 <= entry.size <= SMALL and not composite


class SmallGet(Exchange):
    """The GET of a small file.

    Args:
        delivery: the load that it belongs to.
        entry: the file.
        arrived: called with the entry, its content and the answer's head when the content is whole.
    """

    __slots__ = (
        "_arrived", "_asked_anew", "_chunks", "_delivery", "_entry", "_got", "_refused", "_response",
    )  # fmt: skip

    def __init__(self, delivery: Delivery, entry: Entry, arrived: Callable[[Entry, bytes, Response], None]) -> None:
        super().__init__()
        self._delivery, self._entry, self._arrived = delivery, entry, arrived
        self._chunks: list[bytes] = []
        self._got = 0
        self._response: Response | None = None
        self._refused: Callable[[], object] | None = None
        self._asked_anew = False

    def request(self) -> Request:
        reader = cast(HttpReader, self._entry.reader)
        request = reader.request(self._entry)
        self._refused = request.refused
        stored = reader.keeps_encoding(self._entry)
        return request if request.stored == stored else replace(request, stored=stored)

    def begin(self, response: Response) -> None:
        self._chunks, self._got, self._response = [], 0, response
        if error := cast(HttpReader, self._entry.reader).objection(self._entry, response):
            raise error
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) != self._entry.size:
            raise self._delivery.resized(self._entry, int(length))

    def write(self, chunk: bytes) -> None:
        self._got += len(chunk)
        if self._got > self._entry.size:
            raise self._delivery.resized(self._entry, self._got)
        self._chunks.append(chunk)

    def end(self) -> None:
        assert self._response is not None
        if self._got < self._entry.size:
            if ends_itself(self._response):
                raise self._delivery.resized(self._entry, self._got)
            self.failed(Failure("the connection ended before the file did"))
            return
        self._delivery.progress.received(self._got, self._entry.path)
        self._delivery.client.budget.renew()
        data, self._chunks = b"".join(self._chunks), []
        self._arrived(self._entry, data, self._response)

    def failed(self, failure: Failure) -> None:
        delivery = self._delivery
        if delivery.work.stopped:
            return
        delivery.progress.received(self._got, self._entry.path)
        self._got = 0
        expired = failure.response is not None and failure.response.status in EXPIRED and not self._asked_anew
        if expired and self._refused and self._refused():
            self._asked_anew = True
            delivery.client.submit(self)
        else:
            delivery.retry(self, failure, self._entry)

    def broke(self, error: Exception) -> None:
        self._delivery.contradicted(self, error, self._entry)
