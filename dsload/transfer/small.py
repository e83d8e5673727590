"""A small file: one request, held in memory, verified and put in place whole."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dsload.errors import ChangedError
from dsload.listing import Entry, Request, Response
from dsload.transfer.exchange import Abandon, Exchange, ends_itself
from dsload.transfer.retry import EXPIRED, Failure

if TYPE_CHECKING:
    from dsload.transfer.engine import Transfer

SMALL = 1 << 20  # bytes; what is larger is read in parts, with a partial file on the volume


class SmallGet(Exchange):
    """The GET of a small file."""

    __slots__ = (
        "_asked_anew", "_chunks", "_entry", "_got", "_refetch", "_refused", "_response", "_transfer",
    )  # fmt: skip

    def __init__(self, transfer: "Transfer", entry: Entry, refetch: bool = False) -> None:
        super().__init__()
        self._transfer, self._entry, self._refetch = transfer, entry, refetch
        self._chunks: list[bytes] = []
        self._got = 0
        self._response: Response | None = None
        self._refused: Callable[[], None] | None = None
        self._asked_anew = False

    def request(self) -> Request:
        request = self._entry.reader.request(self._entry)  # type: ignore[union-attr]
        self._refused = request.refused
        return request

    def begin(self, response: Response) -> None:
        self._chunks, self._got, self._response = [], 0, response
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) != self._entry.size:
            raise self._changed(int(length))

    def write(self, chunk: bytes) -> None:
        self._got += len(chunk)
        if self._got > self._entry.size:
            raise self._changed(self._got)
        self._chunks.append(chunk)

    def _changed(self, size: int) -> ChangedError:
        why = f"it has {size:,} bytes now, {self._entry.size:,} were listed"
        where = self._transfer.where(self._entry)
        return ChangedError("downloading", where, why, "run the same command again")

    def end(self) -> None:
        if self._got < self._entry.size:
            if self._response and ends_itself(self._response):
                raise self._changed(self._got)
            self.failed(Failure("the connection ended before the file did"))
            return
        transfer = self._transfer
        transfer.progress.received(self._got, self._entry.path)
        transfer.client.budget.renew()
        data, entry, response, refetch = b"".join(self._chunks), self._entry, self._response, self._refetch
        self._chunks = []
        transfer.soon(lambda: transfer.place_small(entry, data, response, refetch))

    def failed(self, failure: Failure) -> None:
        transfer = self._transfer
        if transfer.stopped:
            return
        transfer.progress.received(self._got, self._entry.path)
        self._got = 0
        if self._refused and failure.response and failure.response.status in EXPIRED and not self._asked_anew:
            self._asked_anew = True
            self._refused()
            transfer.queue_gets([self])
        elif error := transfer.client.retry(self, failure, "downloading", transfer.where(self._entry)):
            transfer.fail(transfer.explain(self._entry, failure) or error)

    def broke(self, error: Exception) -> None:
        if not isinstance(error, Abandon):
            self._transfer.fail(error)
