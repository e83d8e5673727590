"""A lane: a curl handle that carries one exchange at a time, follows its redirects, and keeps its connection."""

import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urljoin, urlsplit

import pycurl

from dsload import __version__
from dsload.errors import IntegrityError
from dsload.listing import Request, Response
from dsload.secrets import is_for, origin
from dsload.transfer.exchange import LARGEST_PAGE, Abandon, Exchange
from dsload.transfer.network import Network, ca_file, proxy_for
from dsload.transfer.retry import Failure, proxy_failure, refusal

REDIRECTS = 10
ERROR_BODY = 64 * 1024
_RECEIVE = 2 << 20  # bytes a read at most; libcurl has one such buffer for each loop
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, which pycurl has no name for
_NEUTRAL = frozenset({"range", "if-range", "accept", "content-type", "git-protocol", "user-agent"})
_ONE_VALUE = frozenset(  # a field that is not a list; if it is repeated, the first counts
    {"content-disposition", "content-length", "content-range", "content-type", "etag", "last-modified", "location",
     "retry-after"}
)  # fmt: skip
_OF_ENCODED = frozenset({"content-length", "content-md5", "content-digest", "digest", "repr-digest"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class _Answer:
    """What has come of an answer so far."""

    url: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)  # of an error, or of a page that names the next request


class Lane:
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
        curl.setopt(pycurl.USERAGENT, f"dsload/{__version__}")
        if network.max_rate:
            rate = max(1, network.max_rate // max(1, network.workers))
            curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, rate)
        curl.setopt(pycurl.NOPROXY, "")  # proxy_for() has read NO_PROXY
        curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        self._ca_bundle = network.ca_bundle
        self._signed, self._site = False, ""

    def start(self, exchange: Exchange, request: Request) -> None:
        self._exchange, self._request, self._hops = exchange, request, 0
        self._redirected, self._astray = False, ""
        self._send(request)

    def _send(self, request: Request) -> None:
        self._answer = _Answer(request.url)
        self._error: Exception | None = None
        self._lines: list[bytes] = []  # of the head that comes in
        self._sink: Callable[[bytes], None] = self._discard
        self.curl.setopt(pycurl.URL, request.url)
        self._route(request.url)
        self._set_method(request)
        self.curl.setopt(pycurl.HTTP_CONTENT_DECODING, 0 if request.stored else 1)
        self.curl.setopt(pycurl.ACCEPT_ENCODING, request.encoding)  # not as a header of ours, which would be signed
        headers = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers.items()]
        headers += self._sign(request)
        if request.body:
            headers.append("Expect:")
        self.curl.unsetopt(pycurl.HTTPHEADER)  # an empty list would leave those of the request before
        self.curl.setopt(pycurl.HTTPHEADER, [header.encode("utf-8", "surrogateescape") for header in headers])

    def _route(self, url: str) -> None:
        """Set the proxy and the trusted authorities, which depend on scheme, host and port."""
        if self._site and url.startswith(self._site):
            return
        parts = urlsplit(url)
        self._site = f"{parts.scheme}://{parts.netloc}/"
        proxy = proxy_for(url)
        self.curl.setopt(pycurl.PROXY, proxy)
        if (parts.scheme == "https" or proxy.startswith("https:")) and (ca := ca_file(self._ca_bundle)):
            self.curl.setopt(pycurl.CAINFO, ca)
            self.curl.setopt(pycurl.PROXY_CAINFO, ca)

    def _set_method(self, request: Request) -> None:
        if request.method == "HEAD":
            self.curl.setopt(pycurl.NOBODY, 1)
        elif request.method == "POST":
            self.curl.setopt(pycurl.POST, 1)
            self.curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
            self.curl.setopt(pycurl.COPYPOSTFIELDS, request.body)
        else:
            self.curl.setopt(pycurl.HTTPGET, 1)

    def _sign(self, request: Request) -> list[str]:
        """Have libcurl sign the request, or no longer sign; the headers that belong to it."""
        curl, sign = self.curl, request.sign
        curl.setopt(pycurl.PATH_AS_IS, 0 if sign else 1)  # libcurl cannot sign a path as it is
        if sign:
            curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{sign.region}:s3")
            curl.setopt(pycurl.USERNAME, sign.access_key)
            curl.setopt(pycurl.PASSWORD, sign.secret_key)
            self._signed = True
            return [f"x-amz-security-token: {sign.token}"] if sign.token else []
        if self._signed:
            curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)  # pycurl cannot unset AWS_SIGV4
            curl.unsetopt(pycurl.USERNAME)
            curl.unsetopt(pycurl.PASSWORD)
            self._signed = False
        return []

    def _on_header(self, line: bytes) -> int | None:
        if self._answer.status >= 200:  # a trailer (RFC 9110, 6.5)
            return None
        if line != b"\r\n" and line != b"\n":
            self._lines.append(line)
            return None
        status, *lines, _ = b"".join(self._lines).decode("latin-1").split("\n")
        self._lines.clear()
        self._answer.status = int(status.split(None, 2)[1])
        self._answer.headers = self._fields(lines)
        return self._on_headers_end()

    def _fields(self, lines: Iterable[str]) -> dict[str, str]:
        """The header of an answer, as Response has it."""
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if name not in fields:
                fields[name] = value
            elif name not in _ONE_VALUE and value != fields[name]:
                fields[name] += f", {value}"
        if self._request.stored or fields.get("content-encoding", "").lower() in ("", "identity", "none"):
            fields.pop("content-encoding", None)
        else:
            fields = {name: value for name, value in fields.items() if name not in _OF_ENCODED}
        return fields

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
        """Whether another request was sent, as the answer is a redirect, its body whole or not, or names the next
        request.
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
        url = self._request.stand_in(target) if target and self._request.stand_in else target
        if not url:
            self._astray = "the server redirects to something that is not an HTTP URL"
        elif url != target and url == self._answer.url:
            self._astray = f"the mirror sends the request on to {urlsplit(target).netloc}, which it should stand in for"
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
        if is_for(url, self._answer.url) and not self._redirected:
            self._request = replace(sent, url=url)
        else:
            self._redirected = True
            kept = {name: value for name, value in sent.headers.items() if name.lower() in _NEUTRAL}
            self._request = replace(sent, url=url, headers=kept, sign=None, refused=None)
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
            exchange.failed(Failure(message or f"libcurl error {number}", curl=number, url=answer.url))
        elif answer.status >= 300:
            body = b"".join(answer.body)[:ERROR_BODY]
            response = Response(answer.url, answer.status, answer.headers, body, self._redirected)
            exchange.failed(refusal(response))
        else:
            exchange.end()


def _target(url: str, location: str) -> str:
    """The HTTP URL that an answer's Location leads to (RFC 9110, 10.2.2), "" if it is not one."""
    try:
        target = urljoin(url, quote(location.encode("latin-1"), safe=string.punctuation))
        scheme, host, _ = origin(target)
    except ValueError:
        return ""
    return target if scheme in ("http", "https") and host else ""
