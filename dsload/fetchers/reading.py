"""What the readings of URIs and options have in common. Pure; the companion uses it too."""

import re
from urllib.parse import SplitResult, urlsplit

from dsload.errors import UsageError
from dsload.secrets import public_uri


def check_uri(uri: str, type: str, schemes: tuple[str, ...], host: str = "", fragment: bool = False) -> SplitResult:
    """The parts of a URI.

    Args:
        uri: as given.
        type: the source's, for messages.
        schemes: that it takes; any if empty.
        host: what the authority names, if it must name something.
        fragment: whether it may have one.

    Raises:
        UsageError: it has another scheme or none, names no host, or has a fragment.
    """
    parts = urlsplit(uri)
    if "\0" in uri or not parts.scheme:
        example = f"{schemes[0]}://…" if schemes else "scheme://…"
        raise UsageError("reading", f"URI {uri!r}", f"it has no scheme; {type} takes {example}")
    if schemes and parts.scheme.lower() not in schemes:
        takes = ", ".join(f"{scheme}://" for scheme in schemes)
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"{type} takes {takes}")
    if host and not parts.netloc:
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"it does not name the {host}")
    if parts.fragment and not fragment:
        fix = "write the # of a name as %23"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "what follows its '#' is not part of the path", fix)
    return parts


def web_url(text: str, where: str, what: str, fix: str) -> str:
    """A URL of http or https without `/` at its end; https if it names no scheme.

    Args:
        text: as given.
        where: what holds it, for messages.
        what: what it is the URL of.
        fix: what the user can do.

    Raises:
        UsageError: it is not such a URL, or holds a user, a query or white space.
    """
    url = (text if "://" in text else f"https://{text}").rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or parts.query or parts.fragment or re.search(r"\s", url):
        raise UsageError("reading", where, f"{public_uri(text)!r} is not a URL of {what}", fix)
    return url
