"""Where a hub is asked: at its own site or at a mirror, which is then never left for the site."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dsload.fetchers.hubs.spec import Repo, read_endpoint
from dsload.secrets import origin


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL that a hub is asked at.

    Args:
        url: without `/` at its end; it may have a path, as behind a proxy.
        sites: the URLs by which the hub itself is known.
        calls: matches the beginning of each path that the hub answers, as the hub itself writes it.
    """

    url: str
    sites: tuple[str, ...]
    calls: re.Pattern[str]

    @classmethod
    def of(cls, repo: Repo, variable: str, sites: tuple[str, ...], calls: re.Pattern[str]) -> "Endpoint":
        """The option endpoint, else the variable, else the first of the sites."""
        given = os.environ.get(variable)
        other = read_endpoint(given, f"variable {variable}") if given else sites[0]
        return cls(repo.endpoint or other, sites, calls)

    def __str__(self) -> str:
        return self.url

    def stand_in(self, url: str) -> str:
        """The URL to ask instead of one that a redirect leads to.

        A mirror is not left for the site. Where the endpoint has a path, or another scheme or port than its server
        knows of, a call of the hub at the same host is taken for one below the endpoint.
        """
        own, other = urlsplit(self.url), urlsplit(url)
        below = other.path == own.path or other.path.startswith(own.path + "/")
        if below and origin(url) == origin(self.url):
            return url
        path = other.path.removeprefix(own.path) if below else other.path
        if self.url not in self.sites and any(origin(url) == origin(site) for site in self.sites):
            base, path = self.url, other.path
        elif other.hostname == own.hostname and self.calls.match(path):
            upgraded = (own.scheme, other.scheme) == ("http", "https")
            base = f"https://{other.netloc}{own.path}" if upgraded else self.url
        else:
            return url
        return base + path + (f"?{other.query}" if other.query else "")
