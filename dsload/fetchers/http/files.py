"""Files below a URL: the reader that the engine asks for requests, and what cannot be the file that was asked for."""

from dataclasses import replace
from urllib.parse import urlsplit

from dsload.errors import ChangedError, DsloadError, RefusedError
from dsload.fetchers.http.asking import is_folder
from dsload.fetchers.http.login import Login
from dsload.fetchers.http.spec import quoted
from dsload.fetchers.http.sums import header_digest
from dsload.listing import Checksum, Entry, HttpReader, Request, Response
from dsload.secrets import public_uri

_DIGESTS = frozenset({"repr-digest", "content-digest", "digest", "content-md5"})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".xht", ".shtml", ".php", ".asp", ".aspx", ".jsp")


class HttpFiles(HttpReader):
    """Reads files below a URL.

    Args:
        base: URL of the folder, or of the one file.
        home: URL that the user gave; its query goes with every request.
        login: whose headers go with every request to the source's own host.
        source: its name for messages.
    """

    def __init__(self, base: str, home: str, login: Login, source: str) -> None:
        self._home, self._query, self._login, self._source = home, urlsplit(home).query, login, source
        parts = urlsplit(base)
        self._folder = f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"

    def request(self, entry: Entry) -> Request:
        """The GET for an entry."""
        key = entry.key
        url = key if key == self._home else self.with_query(key or self._folder + quoted(entry.path))
        return self._login.get(url, self.keeps_encoding(entry))

    def head(self, entry: Entry, part: int = 0) -> Request | None:
        """The HEAD, for a Content-MD5 that a range's answer would not have; one file's was asked before."""
        return None if entry.key == self._home or part else replace(self.request(entry), method="HEAD")

    def stated(self, entry: Entry, response: Response) -> Checksum | None:
        """The checksum in the headers: Repr-Digest, Digest or Content-MD5."""
        if _DIGESTS.isdisjoint(response.headers):
            return None
        found = header_digest(response.headers, whole=response.status == 200)
        return Checksum(*found) if found else None

    def objection(self, entry: Entry, response: Response) -> DsloadError | None:
        """Why an answer is not the file: a page for people stands in its place, or it is a folder."""
        page = media_type(response) in _PAGES
        if not page and not response.url.partition("?")[0].endswith("/"):
            return None
        where = f"{entry.path} from {self._source}"
        if is_folder(self.request(entry).url, response):
            return ChangedError("downloading", where, "it is a folder", "run the same command again")
        attached = "attachment" in response.headers.get("content-disposition", "").lower()
        is_page = entry.path.lower().endswith(_PAGE_NAMES)
        if self._login.takes_pages or attached or is_page or not page:
            return None
        who = "the server" if response.url == self.request(entry).url else public_uri(response.url)
        why = f"{who} answers with a page (text/html) in the place of the file"
        fix = "check the credentials" if response.redirected else "name the file itself, not the page that shows it"
        return RefusedError("downloading", where, why, f"{fix}; if you want the page, add -o Accept=text/html")

    def key(self, path: str, href: str) -> str:
        """The key of an entry: "" if its URL follows from its path."""
        return "" if self._folder + quoted(path) == href else href

    def with_query(self, url: str) -> str:
        """A URL with the query of the source."""
        return f"{url}{'&' if '?' in url else '?'}{self._query}" if self._query else url


def media_type(response: Response) -> str:
    """The type of an answer's content, without its parameters; "" if it is not stated."""
    return response.headers.get("content-type", "").partition(";")[0].partition(",")[0].strip().lower()
