"""An exchange: one request, and what becomes of its answer."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from dsload.errors import DsloadError, IntegrityError
from dsload.listing import Request, Response
from dsload.transfer.retry import Budget, Failure, backoff, is_unanswered

LARGEST_PAGE = 128 << 20  # bytes of an answer that is kept in memory: an index of a million files


class Abandon(Exception):
    """Raised by an exchange's begin or write to end it without an answer being read to the end."""


class Exchange:
    """One request and what becomes of its answer. Callbacks run on a loop's thread and must be short."""

    __slots__ = ("attempt",)

    def __init__(self) -> None:
        self.attempt = 0

    def request(self) -> Request:
        """What to send; asked anew at each try."""
        raise NotImplementedError

    def begin(self, response: Response) -> None:
        """The headers of a 2xx answer have come."""

    def write(self, chunk: bytes) -> None:
        """A piece of its body has come."""

    def end(self) -> None:
        """The answer came whole, or the exchange was abandoned."""

    def failed(self, failure: Failure) -> None:
        """The answer did not come, is incomplete, or is not 2xx."""

    def broke(self, error: Exception) -> None:
        """A callback of this exchange, or its request, raised; the exchange is over."""


def ends_itself(response: Response) -> bool:
    """Whether an answer without a length marks its own end, so that one that ended well and is short is shorter, not
    interrupted (RFC 9112, 7.1).
    """
    return "chunked" in response.headers.get("transfer-encoding", "").lower()


class Sink(Protocol):
    """Where the body of an answer goes."""

    def write(self, data: bytes, /) -> object:
        """Take a piece of it."""

    def seek(self, offset: int, /) -> object:
        """Go back before a body is sent again,"""

    def truncate(self) -> object:
        """and forget what came before."""


Wanted = Callable[[Response], bool]  # whether an answer's body is, by its headers


def always(response: Response) -> bool:
    """Every answer's body is wanted."""
    return True


def never(response: Response) -> bool:
    """No answer's body is wanted."""
    return False


class Runner(Protocol):
    """What a fetch asks of the client that runs it."""

    budget: Budget

    def retry(self, exchange: Exchange, failure: Failure, doing: str, where: str) -> DsloadError | None:
        """Run a failed exchange again after its wait; or return the error if that is of no use any more."""


class Fetch(Exchange):
    """An exchange whose answer is kept in memory, or written to a file.

    Args:
        runner: the client that runs it.
        request: what to send.
        doing, where: for messages.
        wanted: whether the headers make the body wanted.
        sink: what the body of a good answer is written to, if not kept.
        once: whether it is tried again only if the server asks for that; the status is 0 if no answer came.
    """

    def __init__(
        self,
        runner: Runner,
        request: Request,
        doing: str,
        where: str,
        wanted: Wanted,
        sink: Sink | None = None,
        once: bool = False,
    ) -> None:
        super().__init__()
        self._once = once
        self.doing, self.where = doing, where
        self._runner, self._request, self._wanted, self._sink = runner, request, wanted, sink
        self._body: list[bytes] = []
        self._size = 0
        self._response: Response | None = None
        self._error: Exception | None = None
        self._abandoned = False
        self._done = threading.Event()

    def request(self) -> Request:
        self._heed()
        return self._request

    def begin(self, response: Response) -> None:
        self._heed()
        self._body.clear()
        self._size = 0
        self._response = response
        if self._sink:
            self._sink.seek(0)
            self._sink.truncate()
        if not self._wanted(response):
            raise Abandon

    def write(self, chunk: bytes) -> None:
        self._heed()
        if self._sink:
            self._sink.write(chunk)
            return
        self._size += len(chunk)
        if self._size > LARGEST_PAGE:
            why = f"the server answers with a page of more than {LARGEST_PAGE >> 20} MiB, too large for a listing"
            raise IntegrityError(self.doing, self.where, why, "name one file, or a folder further down")
        self._body.append(chunk)

    def _heed(self) -> None:
        if self._abandoned:
            raise Abandon

    def end(self) -> None:
        self._runner.budget.renew()
        self._done.set()

    def failed(self, failure: Failure) -> None:
        if self._once and is_unanswered(failure):
            self._response, self._body = failure.response or Response(self._request.url, 0, {}), []
        elif failure.response and failure.response.status >= 300 and backoff(failure, self.attempt) is None:
            self._response, self._body = failure.response, [failure.response.body]
        elif error := self._runner.retry(self, failure, self.doing, self.where):
            self._error = error
        else:
            return
        self._done.set()

    def broke(self, error: Exception) -> None:
        self._error = error
        self._done.set()

    def abandon(self) -> None:
        """Nobody waits for the answer any more: drop its connection when something comes on it."""
        self._abandoned = True

    def wait(self, seconds: float) -> bool:
        """Wait for the end this long at most; whether it has come."""
        return self._done.wait(seconds)

    def result(self) -> Response:
        """The answer once the end has come, of any status that no retry helps against; raises if there was none."""
        if self._error:
            raise self._error
        assert self._response is not None
        return replace(self._response, body=b"".join(self._body))
