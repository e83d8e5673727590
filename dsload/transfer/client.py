"""HTTP on libcurl: a few threads, each one loop over its lanes; a lane is a connection with one exchange on it.

Everything that dsload sends by HTTP goes through here, listings too: so proxies, certificates, redirects,
retries and the stall watchdog are the same everywhere.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

import pycurl

from dsload.errors import BadAnswerError, DsloadError, InterruptedLoad, UnreachableError
from dsload.listing import Request, Response
from dsload.secrets import carrying, redact
from dsload.transfer.exchange import Exchange, Fetch, Sink, Wanted, always
from dsload.transfer.lane import Lane
from dsload.transfer.network import Network
from dsload.transfer.retry import LOOK, Budget, Failure, asked_wait, backoff, pause, to_error

T = TypeVar("T")

LOOPS = 2
_IDLE = 0.05  # seconds a loop with running lanes waits at most before it looks for new work
_WINDOW = 0.05  # seconds over which it is measured whether a loop waits for the network,
_WAITING = 0.1  # and the share of them that says so

Feed = Callable[[bool, bool, bool], Exchange | None]  # (light, heavy, more) as of Client.take


class Client:
    """Runs exchanges on LOOPS threads with `network.workers` lanes in all.

    Args:
        network: how to reach sources.
        retrying: called with a line for the log whenever something is tried again.
        watch: called several times a second on each thread that waits for an answer or for another try; may raise to
            end that wait.

    Work comes from three places, in this order: exchanges whose wait is over, submitted ones, the feed. Heavy
    exchanges, which move much data in C, are spread over the threads; light ones, which are mostly Python, stay on
    the first, as two threads would only take the interpreter's lock from each other.
    """

    def __init__(
        self,
        network: Network,
        retrying: Callable[[str], None] = lambda reason: None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.network = network
        self.budget = Budget(network.retry_budget)
        self.retrying = retrying
        self._watch = watch
        self._light: deque[Exchange] = deque()
        self._heavy: deque[Exchange] = deque()
        self._waiting: list[tuple[float, int, Exchange]] = []
        self._serial = itertools.count()
        self._feed: Feed = lambda light, heavy, more: None
        self._busy = 0
        self._starved = False
        self._wake = threading.Condition()
        self._closed = threading.Event()
        self._loops: list[_Loop] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is running and end the threads; whoever waits for an answer gets an error."""
        with self._wake:
            self._closed.set()
            self._wake.notify_all()
        for loop in self._loops:
            if loop is not threading.current_thread():
                loop.join()
        self._loops.clear()

    def feed(self, source: Feed) -> None:
        """Ask `source` for an exchange whenever a lane is free; it returns None while it has nothing of the kind."""
        with self._wake:
            self._feed = source
        self.wake()

    def wake(self) -> None:
        """Ask the feed again, which has something now."""
        with self._wake:
            if not self._loops and not self.closed:
                loops = min(LOOPS, self.network.workers)
                share = -(-self.network.workers // loops)
                self._loops = [_Loop(self, share, light=number == 0) for number in range(loops)]
                for loop in self._loops:
                    loop.start()
            self._wake.notify_all()

    def submit(self, exchange: Exchange, heavy: bool = False) -> None:
        """Run an exchange as soon as a lane is free, before the feed is asked."""
        with self._wake:
            (self._heavy if heavy else self._light).append(exchange)
        self.wake()

    def retry(self, exchange: Exchange, failure: Failure, doing: str, where: str) -> DsloadError | None:
        """Run a failed exchange again after its wait; or return the error if that is of no use any more."""
        wait = backoff(failure, exchange.attempt)
        if wait is None:
            return to_error(failure, doing, where)
        if not self.budget.allows(wait):
            return self._spent(to_error(failure, doing, where), failure)
        exchange.attempt += 1
        self.retrying(redact(f"{where}: {failure.reason}; trying again in {wait:.1f} s"))
        with self._wake:
            heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._serial), exchange))
            self._wake.notify_all()
        return None

    def insist(
        self,
        call: Callable[[], T],
        pausing: Callable[[float], object] | None = None,
        passing: tuple[type[DsloadError], ...] = (UnreachableError, BadAnswerError),
    ) -> T:
        """Call what may fail for a while; again after a wait if that may help.

        Args:
            call: what to do.
            pausing: waits this many seconds, and is true if there is no point in another try; by default it watches,
                and ends when the client is closed.
            passing: the errors after which it is called again.

        Raises:
            UnreachableError, BadAnswerError: the budget is spent.
        """
        patience = Budget(self.budget.seconds)  # with bad answers, which renew the other one
        for attempt in itertools.count():
            try:
                return call()
            except passing as error:
                wait = backoff(Failure(error.why), attempt)
                budget = patience if isinstance(error, BadAnswerError) else self.budget
                if wait is None or not budget.allows(wait):
                    raise self._spent(error, Failure(error.why)) from error.__cause__
                self.retrying(redact(f"{error.where}: {error.why}; trying again in {wait:.1f} s"))
                if pausing(wait) if pausing else pause(wait, self._watch, self._closed):
                    raise
        raise AssertionError("not reached")

    def _spent(self, error: DsloadError, failure: Failure) -> DsloadError:
        if "--retry-budget" in error.why:  # it says so already
            return error
        asked, seconds = asked_wait(failure.response.headers) if failure.response else None, self.budget.seconds
        if asked and asked > seconds:
            error.why = f"{error.why} and asks to wait {asked:,.0f} s, more than {seconds:g} s (--retry-budget)"
        else:
            error.why = f"{error.why}, after {seconds:g} s without progress (--retry-budget)"
        return error

    def fetch(
        self, request: Request, doing: str, where: str, body: Wanted = always, into: Sink | None = None
    ) -> Response:
        """One request, retried within the budget; its answer, of any status that no retry helps against.

        Args:
            request: what to send.
            doing, where: for messages.
            body: whether the body is wanted, judged by the headers; if not, the connection is dropped.
            into: a file that the body of a good answer is written to; without one it is kept in memory.

        Raises:
            DsloadError: no answer came, or one that is larger than LARGEST_PAGE and goes to no file.
            InterruptedLoad: the client was closed meanwhile.
            OSError: the file cannot be written.
        """
        fetch = Fetch(self, request, doing, where, body, into)
        self.submit(fetch)
        return self._answer(fetch)

    def fetch_all(
        self, requests: Iterable[Request], doing: str, where: str, body: Wanted = always, once: bool = False
    ) -> Iterator[Response]:
        """Many requests at once; their answers as of fetch(), in the order of the requests.

        Args:
            requests, doing, where, body: as of fetch().
            once: whether each is tried again only if the server asks for that; the status of an answer that did not
                come is 0.
        """
        fetches = [Fetch(self, request, doing, where, body, once=once) for request in requests]
        for fetch in fetches:
            self.submit(fetch)
        try:
            for fetch in fetches:
                yield self._answer(fetch)
        finally:
            for fetch in fetches:
                fetch.abandon()

    def _answer(self, fetch: Fetch) -> Response:
        try:
            while not fetch.wait(LOOK):
                self._watch()
                if self.closed:
                    raise InterruptedLoad(fetch.doing, fetch.where, "the load was ended meanwhile")
            return fetch.result()
        finally:
            fetch.abandon()

    def take(self, light: bool, heavy: bool, more: bool, wait: bool) -> Exchange | None:
        """The next exchange for a loop.

        Args:
            light, heavy: what the loop would run.
            more: whether it waits for the network, so that more connections than there are files would help.
            wait: whether to wait for one, until the client is closed.
        """
        with self._wake:
            while not self.closed:
                now = time.monotonic()
                if self._busy < self.network.workers:
                    if exchange := self._pick(now, light, heavy, more):
                        self._busy += 1
                        return exchange
                else:
                    self._starved = self._starved or wait
                if not wait:
                    return None
                self._wake.wait(max(0.0, self._waiting[0][0] - now) if self._waiting else None)
        return None

    def _pick(self, now: float, light: bool, heavy: bool, more: bool) -> Exchange | None:
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if light and self._light:
            return self._light.popleft()
        if heavy and self._heavy:
            return self._heavy.popleft()
        return self._feed(light, heavy, more)

    def release(self) -> None:
        """A loop's lane is free again."""
        with self._wake:
            self._busy -= 1
            if self._starved:
                self._starved = False
                self._wake.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the loops are to end."""
        return self._closed.is_set()


class _Loop(threading.Thread):
    """One thread, one CurlMulti, some lanes: `share` of them for heavy exchanges."""

    def __init__(self, client: Client, share: int, light: bool) -> None:
        super().__init__(target=carrying(self._work), name="dsload-loop", daemon=True)
        self._client, self._share, self._light = client, share, light
        self._multi = pycurl.CurlMulti()
        self._idle: list[Lane] = []
        self._running: dict[pycurl.Curl, Lane] = {}
        self._waited, self._since, self._waits = 0.0, time.monotonic(), False

    def _work(self) -> None:
        try:
            while not self._client.closed:
                self._fill()
                if self._running:
                    self._turn()
        finally:
            for curl in self._running:
                self._multi.remove_handle(curl)
            self._multi.close()

    def _fill(self) -> None:
        while exchange := self._take():
            lane = self._idle.pop() if self._idle else Lane(self._client.network)
            try:
                lane.start(exchange, exchange.request())
            except Exception as error:
                self._idle.append(lane)
                self._client.release()
                if isinstance(error, UnreachableError):  # whoever gives the credentials
                    exchange.failed(Failure(error.why))
                else:
                    exchange.broke(error)
                continue
            self._running[lane.curl] = lane
            self._multi.add_handle(lane.curl)

    def _take(self) -> Exchange | None:
        running = len(self._running)
        more = self._waits or not running
        return self._client.take(self._light, running < self._share, more, wait=not running)

    def _turn(self) -> None:
        while self._multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        queued, good, bad = self._multi.info_read(1000)
        for curl in good:
            self._finish(curl, 0, "")
        for curl, number, message in bad:
            self._finish(curl, number, message)
        if not (good or bad or queued):
            self._wait()

    def _wait(self) -> None:
        """Wait for the network, and note how much of the time that takes."""
        began = time.monotonic()
        self._multi.select(_IDLE)
        now = time.monotonic()
        self._waited += now - began
        if now - self._since >= _WINDOW:
            self._waits = self._waited > _WAITING * (now - self._since)
            self._waited, self._since = 0.0, now

    def _finish(self, curl: pycurl.Curl, number: int, message: str) -> None:
        self._multi.remove_handle(curl)
        lane = self._running[curl]
        if lane.goes_on(number):
            self._multi.add_handle(curl)
            return
        del self._running[curl]
        self._idle.append(lane)
        self._client.release()
        lane.finish(number, message)
