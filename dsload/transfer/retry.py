"""What to do about a failed exchange: wait and try again, or give up, and as which error."""

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus

import pycurl

from dsload.errors import (
    BadAnswerError,
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnknownHostError,
    UnreachableError,
    UsageError,
)
from dsload.formats.words import said
from dsload.listing import Response
from dsload.secrets import origin

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds
LOOK = 0.2  # seconds between two looks at what may end a wait
EXPIRED = frozenset({401, 403, 404, 410})  # what a storage host answers to a URL that was signed too long ago

_RETRY_CURL = frozenset(
    {
        pycurl.E_COULDNT_RESOLVE_PROXY,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_OPERATION_TIMEDOUT,
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_GOT_NOTHING,
        pycurl.E_SEND_ERROR,
        pycurl.E_RECV_ERROR,
        pycurl.E_HTTP2,
    }
)
_PLAIN = re.compile(r"wrong version number|packet length too long|http request")  # what answers does not speak TLS
_NO_TLS = re.compile(
    r"alert protocol version|unsupported protocol|handshake failure|certificate required|unrecognized name"
)
_NAME_TRIES = 4  # DNS of a pod's first seconds may not know a name that it will know
_PROXY_REFUSED = 97  # CURLE_PROXY, which pycurl has no name for
_REFUSED = {
    pycurl.E_URL_MALFORMAT: "check the URI",
    pycurl.E_UNSUPPORTED_PROTOCOL: "check the URI: is it https://?",
    pycurl.E_PEER_FAILED_VERIFICATION: (
        "give the certificate authority by --ca-bundle, SSL_CERT_FILE or the secret ca.crt"
    ),
    pycurl.E_BAD_CONTENT_ENCODING: "have the server send the file as it is stored",
    pycurl.E_TOO_MANY_REDIRECTS: "check the URI and the options",
    _PROXY_REFUSED: "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
}
_ADVICE = {
    401: "check the credentials in the secrets directory",
    403: "check that the credentials in the secrets directory may read this source",
    407: _REFUSED[_PROXY_REFUSED],
}
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
_RATE_LIMIT = re.compile(r";\s*r=0+\s*;\s*t=(\d+)")  # nothing remains; an answer states its limit anyway


@dataclass(frozen=True, slots=True)
class Failure:
    """An exchange that did not end well.

    Args:
        reason: in words, for the log and the error.
        curl: libcurl's error number, 0 if an answer came.
        response: the answer, if one came.
        url: that was asked.
        passing: whether it heals with time, whatever the answer's status says.
    """

    reason: str
    curl: int = 0
    response: Response | None = None
    url: str = ""
    passing: bool = False


def refusal(response: Response, who: str = "the server") -> Failure:
    """The failure that an answer of 300 and more is, in the server's own words."""
    words = said(response.headers, response.body)
    reason = f"{who} answered {status_text(response.status)}" + (f" ({words})" if words else "")
    return Failure(reason, response=response)


def proxy_failure(status: int, curl: int) -> Failure:
    """A proxy that answered a CONNECT with this status, and libcurl's error for it."""
    worth_it = status in _RETRY_STATUS
    return Failure(f"the proxy answered {status_text(status)}", curl=curl if worth_it else _PROXY_REFUSED)


class Budget:
    """Seconds without progress before a load gives up. Progress renews it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    def renew(self) -> None:
        """Note progress: bytes not had before, or an answer."""
        self._since = time.monotonic()

    def allows(self, wait: float) -> bool:
        """Whether the budget lasts for a wait of this many seconds."""
        return time.monotonic() + wait - self._since <= self.seconds


def pause(seconds: float, watch: Callable[[], None], ended: threading.Event) -> bool:
    """Wait, and watch meanwhile; whether the event was set, which ends the wait.

    Args:
        seconds: to wait at most.
        watch: called several times a second; may raise.
        ended: set if there is no point in waiting.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not ended.is_set():
        watch()
        ended.wait(min(left, LOOK))
    return ended.is_set()


_jitter = random.Random()  # noqa: S311 - spreads retries, guards nothing
_jitter_lock = threading.Lock()


def backoff(failure: Failure, attempt: int) -> float | None:
    """Seconds to wait before trying again, None if another try cannot help.

    Doubles from FIRST_WAIT to LONGEST_WAIT with jitter; a Retry-After (RFC 9110, 10.2.3) or RateLimit header
    (draft-ietf-httpapi-ratelimit-headers, as Hugging Face sends it) asks for more.
    """
    if not _worth_retrying(failure, attempt):
        return None
    with _jitter_lock:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 10)) * _jitter.uniform(0.5, 1.0)
    asked = asked_wait(failure.response.headers) if failure.response else None
    return wait if asked is None else max(wait, asked)


def _worth_retrying(failure: Failure, attempt: int) -> bool:
    if failure.passing:
        return True
    if failure.response is None or failure.response.status < 300:
        if failure.curl == pycurl.E_COULDNT_RESOLVE_HOST and attempt == _NAME_TRIES:
            return not _unknown(failure.url)
        return failure.curl in (0, *_RETRY_CURL) and not _speaks_no_tls(failure)
    if failure.response.redirected and failure.response.status in (401, 403):
        return attempt < 1  # the URL redirected to may have expired: ask the first host for a new one
    return failure.response.status in _RETRY_STATUS


def is_unanswered(failure: Failure) -> bool:
    """Whether a question was not answered, or refused without a word of when to ask again: another may be answered."""
    if failure.response:
        return asked_wait(failure.response.headers) is None
    return failure.curl in _RETRY_CURL and not _speaks_no_tls(failure)


def _speaks_no_tls(failure: Failure) -> bool:
    words = failure.reason.lower()
    return failure.curl == pycurl.E_SSL_CONNECT_ERROR and bool(_PLAIN.search(words) or _NO_TLS.search(words))


def _unknown(url: str) -> bool:
    """Whether DNS answers that a URL's host does not exist; it may also not answer at all, which heals with time."""
    try:
        socket.getaddrinfo(origin(url)[1], None)
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    except (OSError, ValueError):
        return False
    return False


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks its client to wait, None if it does not ask."""
    if value := headers.get("retry-after"):
        if value.isdecimal():
            return float(value)
        from email.utils import parsedate_to_datetime

        try:
            when = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds: float = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - time.time()
        return max(0.0, seconds)
    if match := _RATE_LIMIT.search(headers.get("ratelimit", "")):
        return float(match[1])
    return None


def to_error(failure: Failure, doing: str, where: str) -> DsloadError:
    """The one place where libcurl's errors and HTTP's statuses become dsload's."""
    again = "run the same command again to resume"
    if failure.passing:
        return BadAnswerError(doing, where, failure.reason, again)
    if failure.response is None or failure.response.status < 300:
        return _of_curl(failure, doing, where) or UnreachableError(doing, where, failure.reason, again)
    status = failure.response.status
    if status in (412, 416):
        return ChangedError(doing, where, "the source changed while it was read", "run the same command again")
    if status in (404, 410):
        return NotFoundError(doing, where, failure.reason, "check the URI")
    if 300 <= status < 500 and status not in _RETRY_STATUS:
        fix = _ADVICE.get(status, "check the URI and the options")
        return RefusedError(doing, where, failure.reason, fix)
    return UnreachableError(doing, where, failure.reason, again)


def _of_curl(failure: Failure, doing: str, where: str) -> DsloadError | None:
    """The error for one of libcurl's that no other try helps against."""
    if failure.curl == pycurl.E_SSL_CACERT_BADFILE:
        fix = "check the file of --ca-bundle, SSL_CERT_FILE or the secret ca.crt"
        return UsageError(doing, where, failure.reason, fix)
    if failure.curl == pycurl.E_COULDNT_RESOLVE_HOST and _unknown(failure.url):
        why = f"no DNS server knows the host {origin(failure.url)[1]}"
        return UnknownHostError(doing, where, why, "check the name; behind a proxy, set HTTPS_PROXY")
    if _speaks_no_tls(failure):
        plain = _PLAIN.search(failure.reason.lower())
        fix = "the port does not speak TLS: is it http://?" if plain else "check the TLS settings of the server"
        return RefusedError(doing, where, failure.reason, fix)
    if failure.curl in _REFUSED:
        return RefusedError(doing, where, failure.reason, _REFUSED[failure.curl])
    return None


def status_text(status: int) -> str:
    """`404 Not Found`, for messages."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
