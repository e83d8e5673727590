"""HTTP's row in the registry, and how its URI and options are read."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dsload.errors import UsageError
from dsload.fetchers.reading import check_uri
from dsload.registry import ANY_NAME, Reading, Spec
from dsload.secrets import public_uri

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """A folder's index or a file, as it is asked for.

    Args:
        url: without user info, in the form that goes to the wire.
        user, password: of the URI; "" if it has none.
        headers: of every request to the source's own host.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URL, whose query belongs to it, and options, which are request headers. Raises UsageError."""
    check_uri(uri, SPEC.type, SPEC.schemes, host="host", fragment=True)
    for name, value in options.items():
        if not _HEADER_NAME.fullmatch(name):
            why = "an HTTP source sends it as a request header, and headers cannot have this name"
            raise UsageError("reading", f"option {name!r}", why)
        if re.search(r"[\r\n\0]", value):
            raise UsageError("reading", f"option {name}", "a header's value cannot hold a line break")
    parts = urlsplit(uri)
    config = HttpConfig(_url(uri), unquote(parts.username or ""), unquote(parts.password or ""), dict(options))
    return Reading(config, decides={})


def _url(uri: str) -> str:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise UsageError("reading", f"URI {public_uri(uri)!r}", "its host is not a name") from None
    query = quote(parts.query, safe=string.punctuation, errors="surrogateescape")
    return urlunsplit((parts.scheme.lower(), host, quoted(parts.path, "%"), query, ""))


def quoted(path: str, keep: str = "") -> str:
    """A path as it stands in a URL; what is in keep stays as it is too."""
    return quote(path, safe="/~!$&'()*+,;=:@" + keep, errors="surrogateescape")


def _query_is_part_of_the_url(uri: str) -> dict[str, str]:
    return {}


SPEC = Spec(
    "HTTP",
    ("http", "https"),
    "dsload.fetchers.http.fetcher:Http",
    {ANY_NAME: "request headers"},
    read,
    _query_is_part_of_the_url,
)
