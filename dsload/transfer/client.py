"""HTTP on libcurl: a few threads, each one loop over its lanes; a lane is a connection with one exchange on it.

Everything that dsload sends by HTTP goes through here, listings too: so proxies, certificates, redirects,
retries and the stall watchdog are the same everywhere.
"""

import heapq
import itertools
import os
import re
import string
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import pycurl

from dsload.errors import DsloadError, IntegrityError, UnreachableError, UsageError
from dsload.listing import Request, Response
from dsload.secrets import hide, redact
from dsload.transfer.retry import Budget, Failure, asked_wait, backoff, proxy_failure, status_text, to_error

T = TypeVar("T")

LOOPS = 2
REDIRECTS = 10
_RECEIVE = 2 << 20  # bytes a read at most; libcurl has one such buffer for each loop
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, which pycurl has no name for
ERROR_BODY = 64 * 1024
LARGEST_PAGE = 256 << 20  # bytes of an answer that is kept in memory: more than an index of a million files
_IDLE = 0.05  # seconds a loop with running lanes waits at most before it looks for new work
_WINDOW = 0.05  # seconds over which it is measured whether a loop waits for the network,
_WAITING = 0.1  # and the share of them that says so


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach sources.

    Args:
        workers: connections at a time.
        max_rate: bytes/s over all connections, 0 for no limit.
        retry_budget: seconds without progress before giving up.
        stall_timeout: seconds without a byte before a connection is dropped and tried again.
        ca_bundle: PEM file of trusted authorities; None for SSL_CERT_FILE, else the system's.
    """

    workers: int = 16
    max_rate: int = 0
    retry_budget: float = 600
    stall_timeout: float = 30
    ca_bundle: str | None = None


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
        """The headers of a 2xx answer are here."""

    def write(self, chunk: bytes) -> None:
        """A piece of its body."""

    def end(self) -> None:
        """The answer came whole, or the exchange was abandoned."""

    def failed(self, failure: Failure) -> None:
        """The answer did not come, or not whole, or is not 2xx."""

    def broke(self, error: Exception) -> None:
        """A callback of this exchange, or its request, raised: nothing more comes of it."""


class Sink(Protocol):
    """Where the body of an answer goes."""

    def write(self, data: bytes, /) -> object:
        """Take a piece of it."""

    def seek(self, offset: int, /) -> object:
        """Go back, before a body comes once more,"""

    def truncate(self) -> object:
        """and forget what came before."""


Feed = Callable[[bool, bool, bool], Exchange | None]  # (light, heavy, more) as of Client.take
Wanted = Callable[[Response], bool]  # whether an answer's body is, by its headers


def always(response: Response) -> bool:
    """Any answer's body is wanted."""
    return True


def never(response: Response) -> bool:
    """No answer's body is wanted."""
    return False


class Client:
    """Runs exchanges on LOOPS threads with `network.workers` lanes in all.

    Work comes from three places, in this order: exchanges whose wait is over, submitted ones, the feed. Heavy
    exchanges, which move much data in C, are spread over the threads; light ones, which are mostly Python, stay on
    the first, as two threads would only take the interpreter's lock from each other.
    """

    def __init__(self, network: Network, retrying: Callable[[str], None] = lambda reason: None) -> None:
        self.network = network
        self.budget = Budget(network.retry_budget)
        self.retrying = retrying
        self._ready: deque[Exchange] = deque()
        self._waiting: list[tuple[float, int, Exchange]] = []
        self._serial = itertools.count()
        self._feed: Feed = lambda light, heavy, more: None
        self._busy = 0
        self._starved = False
        self._wake = threading.Condition()
        self._closed = False
        self._loops: list[_Loop] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is running and end the threads."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for loop in self._loops:
            loop.join()
        self._loops.clear()

    def feed(self, source: Feed) -> None:
        """Ask `source` for an exchange whenever a lane is free; it returns None while it has none of the kind."""
        with self._wake:
            self._feed = source
        self.wake()

    def wake(self) -> None:
        """Say that the feed has something again."""
        with self._wake:
            if not self._loops and not self._closed:
                loops = min(LOOPS, self.network.workers)
                share = -(-self.network.workers // loops)
                self._loops = [_Loop(self, share, light=number == 0) for number in range(loops)]
                for loop in self._loops:
                    loop.start()
            self._wake.notify_all()

    def submit(self, exchange: Exchange) -> None:
        """Run an exchange as soon as a lane is free."""
        with self._wake:
            self._ready.append(exchange)
        self.wake()

    def retry(self, exchange: Exchange, failure: Failure, doing: str, where: str) -> DsloadError | None:
        """Run a failed exchange again after its wait; or return the error where that is no use any more."""
        wait = backoff(failure, exchange.attempt)
        error = to_error(failure, doing, where)
        if wait is None:
            return error
        if not self.budget.allows(wait):
            return self._spent(error, failure)
        exchange.attempt += 1
        self.retrying(redact(f"{where}: {failure.reason}; trying again in {wait:.1f} s"))
        with self._wake:
            heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._serial), exchange))
            self._wake.notify_all()
        return None

    def insist(self, call: Callable[[], T], pause: Callable[[float], object] = time.sleep) -> T:
        """Call what uses another library's transport; again after a wait, where it raises UnreachableError.

        Args:
            call: what to do.
            pause: waits so many seconds; true where there is no point in going on.

        Raises:
            UnreachableError: the budget is spent.
        """
        for attempt in itertools.count():
            try:
                return call()
            except UnreachableError as error:
                wait = backoff(Failure(error.why), attempt)
                if wait is None or not self.budget.allows(wait):
                    raise self._spent(error, Failure(error.why)) from error.__cause__
                self.retrying(redact(f"{error.where}: {error.why}; trying again in {wait:.1f} s"))
                if pause(wait):
                    raise
        raise AssertionError("not reached")

    def _spent(self, error: DsloadError, failure: Failure) -> DsloadError:
        asked, seconds = asked_wait(failure.response.headers) if failure.response else None, self.budget.seconds
        if asked and asked > seconds:
            error.why = f"{error.why} and asks to wait {asked:,.0f} s, more than {seconds:g} s (--retry-budget)"
        else:
            error.why = f"{error.why}, after {seconds:g} s without progress (--retry-budget)"
        return error

    def fetch(
        self, request: Request, doing: str, where: str, body: Wanted = always, into: Sink | None = None
    ) -> Response:
        """One request, retried within the budget; its answer, of whatever status no retry helps against.

        Args:
            request: what to send.
            doing, where: for messages.
            body: whether the headers make its body wanted; else the connection is dropped.
            into: a file that the body of a good answer is written to; without one it is kept in memory.

        Raises:
            DsloadError: no answer came, or one that is larger than LARGEST_PAGE and goes to no file.
            OSError: the file cannot be written.
        """
        fetch = _Fetch(self, request, doing, where, body, into)
        self.submit(fetch)
        return fetch.result()

    def fetch_all(
        self, requests: Iterable[Request], doing: str, where: str, body: Wanted = always
    ) -> Iterator[Response]:
        """Many requests at once; their answers as of fetch(), in the order of the requests."""
        fetches = [_Fetch(self, request, doing, where, body) for request in requests]
        for fetch in fetches:
            self.submit(fetch)
        for fetch in fetches:
            yield fetch.result()

    def take(self, light: bool, heavy: bool, more: bool, wait: bool) -> Exchange | None:
        """The next exchange for a loop.

        Args:
            light, heavy: what the loop would run.
            more: whether it waits for the network, so that more connections than there are files would help.
            wait: whether to wait for one, until the client is closed.
        """
        with self._wake:
            while not self._closed:
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
        if light and self._ready:
            return self._ready.popleft()
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
        return self._closed


class _Fetch(Exchange):
    """An exchange whose answer is kept in memory."""

    def __init__(
        self, client: Client, request: Request, doing: str, where: str, wanted: Wanted, sink: Sink | None = None
    ) -> None:
        super().__init__()
        self._client, self._request, self._doing, self._where = client, request, doing, where
        self._wanted, self._sink = wanted, sink
        self._body: list[bytes] = []
        self._size = 0
        self._response: Response | None = None
        self._error: Exception | None = None
        self._done = threading.Event()

    def request(self) -> Request:
        return self._request

    def begin(self, response: Response) -> None:
        self._body.clear()
        self._size = 0
        self._response = response
        if self._sink:
            self._sink.seek(0)
            self._sink.truncate()
        if not self._wanted(response):
            raise Abandon

    def write(self, chunk: bytes) -> None:
        if self._sink:
            self._sink.write(chunk)
            return
        self._size += len(chunk)
        if self._size > LARGEST_PAGE:
            why = f"the server answers with a page of more than {LARGEST_PAGE >> 20} MiB, too large for a listing"
            raise IntegrityError(self._doing, self._where, why, "name one file, or a folder further down")
        self._body.append(chunk)

    def end(self) -> None:
        self._client.budget.renew()
        self._done.set()

    def failed(self, failure: Failure) -> None:
        if failure.response and failure.response.status >= 300 and backoff(failure, self.attempt) is None:
            self._response, self._body = failure.response, [failure.response.body]
        elif error := self._client.retry(self, failure, self._doing, self._where):
            self._error = error
        else:
            return
        self._done.set()

    def broke(self, error: Exception) -> None:
        self._error = error
        self._done.set()

    def result(self) -> Response:
        """The answer, of whatever status no retry can help; raises where none came."""
        self._done.wait()
        if self._error:
            raise self._error
        assert self._response is not None
        return replace(self._response, body=b"".join(self._body))


class _Loop(threading.Thread):
    """One thread, one CurlMulti, some lanes: `share` of them for heavy exchanges."""

    def __init__(self, client: Client, share: int, light: bool) -> None:
        super().__init__(name="dsload-loop", daemon=True)
        self._client, self._share, self._light = client, share, light
        self._multi = pycurl.CurlMulti()
        self._idle: list[_Lane] = []
        self._running: dict[pycurl.Curl, _Lane] = {}
        self._waited, self._since, self._waits = 0.0, time.monotonic(), False

    def run(self) -> None:
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
            lane = self._idle.pop() if self._idle else _Lane(self._client.network)
            try:
                lane.start(exchange, exchange.request())
            except Exception as error:
                self._idle.append(lane)
                self._client.release()
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


@dataclass(slots=True)
class _Answer:
    """What has come of an answer so far."""

    url: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)  # of an error, or of what tells where to go on


class _Lane:
    """A curl handle that carries one exchange at a time and keeps its connection between them."""

    def __init__(self, network: Network) -> None:
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.BUFFERSIZE, _RECEIVE)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(network.stall_timeout * 1000))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(network.stall_timeout)))
        curl.setopt(pycurl.USERAGENT, "dsload")
        if network.max_rate:
            rate = max(1, network.max_rate // max(1, network.workers))
            curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, rate)
        curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        self._ca_bundle = network.ca_bundle
        self._signed, self._scheme = False, ""

    def start(self, exchange: Exchange, request: Request) -> None:
        self._exchange, self._request, self._hops = exchange, request, 0
        self._redirected, self._astray = False, ""
        self._send(request)

    def _send(self, request: Request) -> None:
        curl, url = self.curl, request.url
        self._answer = _Answer(url)
        self._error: Exception | None = None
        self._lines: list[bytes] = []  # of the head that comes in
        self._sink: Callable[[bytes], None] = self._discard
        curl.setopt(pycurl.URL, url)
        scheme = url.partition(":")[0]
        if scheme != self._scheme:
            self._scheme = scheme
            proxy = proxy_for(url)
            curl.setopt(pycurl.PROXY, proxy)
            if (scheme == "https" or proxy.startswith("https:")) and (ca := ca_file(self._ca_bundle)):
                curl.setopt(pycurl.CAINFO, ca)
                curl.setopt(pycurl.PROXY_CAINFO, ca)
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif request.method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
            curl.setopt(pycurl.COPYPOSTFIELDS, request.body)
        else:
            curl.setopt(pycurl.HTTPGET, 1)
        headers = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers.items()]
        curl.setopt(pycurl.PATH_AS_IS, 0 if request.sign else 1)  # libcurl signs no path as it is
        if sign := request.sign:
            curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{sign.region}:s3")
            curl.setopt(pycurl.USERNAME, sign.access_key)
            curl.setopt(pycurl.PASSWORD, sign.secret_key)
            if sign.token:
                headers.append(f"x-amz-security-token: {sign.token}")
            self._signed = True
        elif self._signed:
            curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)  # pycurl cannot unset AWS_SIGV4
            for option in (pycurl.USERNAME, pycurl.PASSWORD):
                curl.unsetopt(option)
            self._signed = False
        headers.append("Accept-Encoding: identity")
        if request.body:
            headers.append("Expect:")
        curl.setopt(pycurl.HTTPHEADER, [header.encode("utf-8", "surrogateescape") for header in headers])

    def _on_header(self, line: bytes) -> int | None:
        if self._answer.status >= 200:  # a trailer (RFC 9110, 6.5)
            return None
        if line != b"\r\n" and line != b"\n":
            self._lines.append(line)
            return None
        status, *lines, _ = b"".join(self._lines).decode("latin-1").split("\n")
        self._lines.clear()
        self._answer.status = int(status.split(None, 2)[1])
        pairs = (header.partition(":") for header in lines)
        self._answer.headers = {name.lower(): value.strip() for name, _, value in pairs}
        return self._on_headers_end()

    def _on_headers_end(self) -> int | None:
        answer = self._answer
        if answer.status < 200:
            return None
        if answer.status >= 300:
            self._sink = self._keep_error
            return None
        if self._request.then:
            self._sink = self._keep_page
            return None
        try:
            self._exchange.begin(Response(answer.url, answer.status, answer.headers, redirected=self._redirected))
        except Exception as error:  # pycurl would print it; finish() hands it on
            self._error = error
            return -1
        self._sink = self._exchange.write
        return None

    def _on_body(self, chunk: bytes) -> int | None:
        try:
            self._sink(chunk)
        except Exception as error:  # as above
            self._error = error
            return -1
        return None

    def _discard(self, chunk: bytes) -> None:
        pass

    def _keep_error(self, chunk: bytes) -> None:
        body = self._answer.body
        if sum(map(len, body)) < ERROR_BODY:
            body.append(chunk)

    def _keep_page(self, chunk: bytes) -> None:
        self._answer.body.append(chunk)
        if sum(map(len, self._answer.body)) > LARGEST_PAGE:
            raise IntegrityError("asking", self._answer.url, f"it answers with more than {LARGEST_PAGE >> 20} MiB")

    def goes_on(self, number: int) -> bool:
        """Whether another request was sent: where the answer is a redirect, its body whole or not, or where it tells
        what to ask for then.
        """
        answer = self._answer
        if location := answer.headers.get("location") if answer.status in _REDIRECTS else "":
            return self._follow(location)
        if not (self._request.then and 200 <= answer.status < 300 and number == 0 and self._error is None):
            return False
        try:
            body = b"".join(answer.body)
            self._request = self._request.then(Response(answer.url, answer.status, answer.headers, body))
            self._redirected, self._hops = False, 0
            self._send(self._request)
        except Exception as error:  # finish() hands it on
            self._error = error
            return False
        return True

    def _follow(self, location: str) -> bool:
        """Send the request on to where a redirect leads; headers and keys stay with their host."""
        self._hops += 1
        target = _target(self._answer.url, location)
        url = stand_in(target, self._request.mirrors)
        if not url:
            self._astray = "the server redirects to what is no HTTP URL"
        elif url != target and url == self._answer.url:
            self._astray = f"the mirror sends the request on to {urlsplit(target).netloc}, which it is to stand in for"
        elif self._hops > REDIRECTS:
            self._astray = f"the server redirects more than {REDIRECTS} times"
        else:
            try:
                self._send_on(url)
            except Exception as error:  # finish() hands it on
                self._error = error
                return False
        return not self._astray

    def _send_on(self, url: str) -> None:
        sent = self._request
        if origin(url) == origin(self._answer.url) and not self._redirected:
            self._request = replace(sent, url=url)
        else:
            self._redirected = True
            kept = {name: value for name, value in sent.headers.items() if name.lower() in _NEUTRAL}
            self._request = Request(url, sent.method, kept, None, sent.mirrors, sent.body, sent.then)
        self._send(self._request)

    def finish(self, number: int, message: str) -> None:
        exchange = self._exchange
        try:
            self._conclude(exchange, number, message)
        except Exception as error:
            exchange.broke(error)

    def _conclude(self, exchange: Exchange, number: int, message: str) -> None:
        answer = self._answer
        if isinstance(self._error, Abandon):
            exchange.end()
        elif self._error is not None:
            exchange.broke(self._error)
        elif self._astray:
            exchange.failed(Failure(self._astray, curl=pycurl.E_TOO_MANY_REDIRECTS))
        elif number and (status := self.curl.getinfo(pycurl.HTTP_CONNECTCODE)) >= 300:
            exchange.failed(proxy_failure(status, number))
        elif number and answer.status < 300:
            exchange.failed(Failure(message or f"libcurl error {number}", curl=number))
        elif answer.status >= 300:
            body = b"".join(answer.body)[:ERROR_BODY]
            response = Response(answer.url, answer.status, answer.headers, body, self._redirected)
            exchange.failed(Failure(f"the server answered {status_text(answer.status)}", response=response))
        else:
            exchange.end()


_NEUTRAL = frozenset({"range", "if-range", "accept", "content-type", "git-protocol"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def ends_itself(response: Response) -> bool:
    """Whether an answer without a length shows where it ends, so that it is shorter, not broken off, where it ended
    well (RFC 9112, 7.1).
    """
    return "chunked" in response.headers.get("transfer-encoding", "").lower()


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are for."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def stand_in(url: str, mirrors: Iterable[tuple[str, str]]) -> str:
    """The URL to ask instead of one below a mirrored site, see Request."""
    for site, mirror in mirrors:
        if url == site or url.startswith(site + "/"):
            return mirror + url.removeprefix(site)
    return url


def _target(url: str, location: str) -> str:
    """The HTTP URL that an answer's Location leads to (RFC 9110, 10.2.2), "" where it is none."""
    try:
        target = urljoin(url, quote(location.encode("latin-1"), safe=string.punctuation))
        scheme, host, _ = origin(target)
    except ValueError:
        return ""
    return target if scheme in ("http", "https") and host else ""


def proxy_for(url: str) -> str:
    """The proxy of the environment for a URL. libcurl heeds NO_PROXY, but reads HTTP_PROXY in lower case only.

    Raises:
        UsageError: it is no proxy's URL.
    """
    names = ("https_proxy", "HTTPS_PROXY") if url.startswith("https:") else ("http_proxy", "HTTP_PROXY")
    for name in (*names, "all_proxy", "ALL_PROXY"):
        if value := os.environ.get(name):
            _check_proxy(name, value)
            return value
    return ""


def _check_proxy(name: str, value: str) -> None:
    user_info, at, _ = value.partition("://")[2].rpartition("@") if "://" in value else value.rpartition("@")
    if at:
        password = user_info.partition(":")[2]
        for secret in (user_info, password, unquote(password)):
            hide(secret)
    try:
        scheme, host, _ = origin(value if "://" in value else f"http://{value}")
    except ValueError:
        scheme = host = ""
    if scheme not in _PROXIES or not host or re.search(r"\s", value):
        raise UsageError("reading", f"variable {name}", "it is no proxy's URL", "it has the form http://host:port")


_PROXIES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})


def ca_file(ca_bundle: str | None) -> str | None:
    """The trusted authorities: as given, else SSL_CERT_FILE, else the system's; None for libcurl's own."""
    import ssl

    system = ssl.get_default_verify_paths().cafile
    for path in (ca_bundle, os.environ.get("SSL_CERT_FILE"), system, *_SYSTEM_CAS):
        if path and os.path.isfile(path):
            return path
    return None


_SYSTEM_CAS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
