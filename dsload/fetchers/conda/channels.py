"""Where channels are, and which credentials go to which: their URLs as shown, and as requested."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from rattler.networking import AddHeadersMiddleware, Client, MirrorMiddleware

from dsload.errors import UsageError
from dsload.fetchers.conda.spec import channel_url, is_channel_name
from dsload.listing import Request
from dsload.secrets import Secrets, authorization, basic, hide, origin, public_uri
from dsload.transfer.network import Network, ca_file

PUBLIC = "https://conda.anaconda.org"  # where a channel's name is looked up, as conda does
_ANACONDA = "https://repo.anaconda.com"  # and there what it calls pkgs/…
_DEFAULTS = ("pkgs/main", "pkgs/r")
_PLATFORM = re.compile(r"/(noarch|(linux|osx|win|freebsd|zos|emscripten|wasi)-\w+)$")  # which conda drops, too
_TOKEN = re.compile(r"/t/(?P<token>[^/]+)(?=/)")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel.

    Args:
        url: without credentials, and without `/` at its end.
        asked: the URL that requests go to, which may hold a token.
        headers: that go with each request to it.
    """

    url: str
    asked: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def local(self) -> bool:
        """Whether it is a folder on this machine."""
        return self.url.startswith("file://")

    @property
    def secret(self) -> bool:
        """Whether its URL came with credentials."""
        return bool(self.headers) or self.asked != self.url


def read_channels(names: Sequence[str], endpoint: str, secrets: Secrets) -> tuple[Channel, ...]:
    """Channels by name or URL.

    Args:
        names: in their order; `defaults` stands for Anaconda's own.
        endpoint: URL of a mirror that the names lie below, "" for the public place.
        secrets: for the host of the first channel that is given by URL, or else for that of the endpoint.

    Raises:
        UsageError: a channel that is neither a name nor a URL of http, https or file.
    """
    urls = dict.fromkeys(url for name in names for url in channel_urls(name, endpoint))
    channels: dict[str, Channel] = {}
    for channel in map(_without_secrets, urls):
        if channel.url not in channels or not channels[channel.url].secret:
            channels[channel.url] = channel
    theirs = owner_of_secrets(names, endpoint)
    found = [_with_secrets(each, secrets) if theirs and _origin(each) == theirs else each for each in channels.values()]
    _refuse_confusion(found)
    return tuple(found)


def owner_of_secrets(names: Iterable[str], endpoint: str) -> tuple[str, str, int] | None:
    """Scheme, host and port that the secrets are for: the first channel's that is given by URL, else the endpoint's."""
    urls = (name for name in (*names, endpoint) if name.startswith(("http://", "https://")))
    return next(map(origin, urls), None)


def _refuse_confusion(channels: Iterable[Channel]) -> None:
    """rattler passes on only host and path of a request, so secrets could go to another port or scheme."""
    remote = [channel for channel in channels if not channel.local]
    for owner in (channel for channel in remote if channel.headers):
        mine = urlsplit(owner.asked)
        for other in remote:
            theirs = urlsplit(other.asked)
            below = mine.hostname == theirs.hostname and f"{theirs.path}/".startswith(f"{mine.path}/")
            if below and _origin(other) != _origin(owner):
                why = f"{owner.url} and {other.url} have one host and path, and credentials are for the first alone"
                raise UsageError("reading", "the channels", why, "leave one of them out")


def public_place(endpoint: str) -> str:
    """Where the names of channels are looked up, without credentials."""
    return _without_secrets(channel_url(endpoint, "option endpoint")).url if endpoint else PUBLIC


def channel_urls(name: str, endpoint: str) -> tuple[str, ...]:
    """The URLs of a channel by its name or URL, which may hold credentials; `defaults` stands for several.

    Raises:
        UsageError: it is neither a name nor a URL of http, https or file.
    """
    if not is_channel_name(name):
        return (_without_platform(channel_url(name, f"channel {public_uri(name)!r}")),)
    place = channel_url(endpoint, "option endpoint") if endpoint else ""
    if name == "defaults":
        return tuple(f"{place or _ANACONDA}/{part}" for part in _DEFAULTS)
    home = place or (_ANACONDA if name.startswith("pkgs/") else PUBLIC)
    return (_without_platform(f"{home}/{name}"),)


def public_channel_urls(name: str, endpoint: str) -> tuple[str, ...]:
    """The same without credentials, as rattler knows the channels."""
    return tuple(_without_secrets(url).url for url in channel_urls(name, endpoint))


def _without_platform(url: str) -> str:
    return _PLATFORM.sub("", url)


def _origin(channel: Channel) -> tuple[str, str, int] | None:
    return None if channel.local else origin(channel.url)


def _without_secrets(url: str) -> Channel:
    """A channel of a URL that may hold a user, a password, or a token as `/t/TOKEN/` (anaconda.org's form)."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Channel(url, url)
    headers = {}
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        headers["Authorization"] = basic(user, password)
        hide(password)
    asked = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    for match in _TOKEN.finditer(asked):
        hide(match["token"])
    return Channel(_TOKEN.sub("", asked, count=1), asked, headers)


def _with_secrets(channel: Channel, secrets: Secrets) -> Channel:
    if channel.secret:
        return channel
    value = authorization(secrets)
    return Channel(channel.url, channel.asked, {"Authorization": value}) if value else channel


def request(url: str, channels: Iterable[Channel]) -> Request:
    """The GET for a URL of one of the channels, with what belongs to it."""
    for channel in channels:
        if url.startswith(f"{channel.url}/"):
            return Request(channel.asked + url[len(channel.url) :], headers=channel.headers)
    return Request(url)


def rattler_client(channels: Iterable[Channel], network: Network) -> Client:
    """rattler's HTTP client, with the credentials of the channels and the certificates that dsload trusts."""
    tokens = {channel.url: [channel.asked] for channel in channels if channel.asked != channel.url}
    places = ((urlsplit(channel.asked), channel.headers) for channel in channels if channel.headers)
    hosts = {(place.hostname, place.path): headers for place, headers in places}

    def headers(host: str, path: str) -> dict[str, str] | None:
        found = (given for (name, folder), given in hosts.items() if host == name and path.startswith(f"{folder}/"))
        return dict(next(found, {})) or None

    with _trusting(ca_file(network.ca_bundle)):
        return Client(
            [MirrorMiddleware(tokens), AddHeadersMiddleware(headers)],
            user_agent="dsload",
            timeout=int(max(network.stall_timeout, network.retry_budget)),
        )


@contextlib.contextmanager
def _trusting(bundle: str | None) -> Iterator[None]:
    """With a bundle of certificates in SSL_CERT_FILE, the one way to pass it to rattler."""
    before = os.environ.get("SSL_CERT_FILE")
    if bundle:
        os.environ["SSL_CERT_FILE"] = bundle
    try:
        yield
    finally:
        if bundle and before is None:
            del os.environ["SSL_CERT_FILE"]
        elif before is not None:
            os.environ["SSL_CERT_FILE"] = before
