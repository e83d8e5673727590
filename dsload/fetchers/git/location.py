"""Where a repository is: the forms of URL that git takes (git-fetch(1), "GIT URLS")."""

import posixpath
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

from dsload.errors import UsageError
from dsload.secrets import PORTS, hide, public_uri

SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<path>[^:\s].*)")
_WEB = ("http", "https")


@dataclass(frozen=True, slots=True)
class Location:
    """A repository's URL, taken apart.

    Args:
        scheme: http, https, ssh, git or file.
        host, port: of the server; the scheme's own port if none is given.
        path: on the server; as it is in a URL for http and https, unquoted elsewhere. Without a `/` at its start it is
            relative to the home directory, as in `git@host:path`.
        user, password: from the URL.
    """

    scheme: str
    host: str
    port: int
    path: str
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL, without user name and password."""
        return self._written("")

    @property
    def remote(self) -> str:
        """As a remote's URL stands in a repository's configuration: of ssh the user is part of it."""
        return self._written(f"{quote(self.user)}@" if self.user and self.scheme == "ssh" else "")

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL: an IPv6 address in brackets, no port if it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def _written(self, user: str) -> str:
        if self.scheme == "ssh" and not self.path.startswith("/") and self.port == PORTS["ssh"]:
            return f"{user}{self.authority}:{self.path}"
        path = self.path if self.scheme in _WEB else quote(self.path)
        return f"{self.scheme}://{user}{self.authority}{'' if path.startswith('/') else '/'}{path}"

    def same_site(self, other: "Location") -> bool:
        """Whether the other's credentials may be used here too: the same host, and a service that is no less safe."""
        if not self.host or self.host.lower() != other.host.lower():
            return False
        if self.scheme in _WEB and other.scheme in _WEB:
            upgraded = (other.scheme, other.port, self.scheme, self.port) == ("http", 80, "https", 443)
            return (self.scheme, self.port) == (other.scheme, other.port) or upgraded
        return self.scheme == "ssh" or (self.scheme == "https" and other.scheme in ("ssh", "git"))

    def relative(self, url: str) -> "Location":
        """The location that a submodule's `./…` or `../…` stands for (git-submodule(1))."""
        path = posixpath.normpath(posixpath.join(self.path.rstrip("/") or "/", url))
        return replace(self, path=quote(unquote(path)) if self.scheme in _WEB else path)


def parse_location(uri: str) -> Location:
    """Read a URL of a repository: `http[s]://`, `git://`, `ssh://`, `file://`, `git+…://` or `[user@]host:path`.

    Raises:
        UsageError: it has none of these forms.
    """
    if "://" not in uri:
        match = SCP.fullmatch(uri)
        if not match or match["host"].startswith("-") or (match["user"] or "").startswith("-"):
            raise _unreadable(uri, "it is not the URL of a repository")
        path = match["path"].removeprefix("/~/") if match["path"].startswith("/~/") else match["path"]
        return Location("ssh", match["host"].strip("[]"), 22, path, match["user"] or "")
    try:
        parts = urlsplit(uri)
        scheme = parts.scheme.lower().removeprefix("git+")
        host, port = parts.hostname or "", parts.port or PORTS.get(scheme, 0)
    except ValueError as error:
        raise _unreadable(uri, "its host or port cannot be read") from error
    if scheme not in PORTS:
        raise _unreadable(uri, f"dsload does not speak git over {scheme}://")
    if (scheme != "file") != bool(host) or host.startswith("-") or (parts.username or "").startswith("-"):
        raise _unreadable(uri, "it names no host" if scheme != "file" else "a file:// URL names no host")
    if not parts.path.strip("/"):
        raise _unreadable(uri, "it names no repository")
    path = parts.path if scheme in _WEB else unquote(parts.path)
    if scheme == "ssh" and path.startswith("/~/"):
        path = path.removeprefix("/~/")
    if "\0" in path or "\n" in path:
        raise _unreadable(uri, "its path holds a NUL byte or a line break")
    password = unquote(parts.password or "")
    hide(password)
    return Location(scheme, host, port, path, unquote(parts.username or ""), password)


def site(url: str) -> Location:
    """The server of an HTTP URL, as a location without a path."""
    parts = urlsplit(url)
    return Location(parts.scheme.lower(), parts.hostname or "", parts.port or PORTS.get(parts.scheme.lower(), 0), "/")


def _unreadable(uri: str, why: str) -> UsageError:
    fix = "give https://HOST/OWNER/REPO.git, ssh://…, git@HOST:PATH, git://… or file:///PATH"
    return UsageError("reading", f"URL {public_uri(uri)!r}", why, fix)
