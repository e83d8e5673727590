"""HTTP: one file, or a directory index of nginx, Apache, Caddy or Python with everything below it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast
from urllib.parse import unquote, urlsplit

from dsload.errors import BadAnswerError, NotFoundError, UnsafePathError
from dsload.fetchers.base import Context
from dsload.fetchers.http.asking import ask, is_empty, is_folder, learned
from dsload.fetchers.http.beside import with_sums
from dsload.fetchers.http.crawl import Crawl, links_of, may_be_index
from dsload.fetchers.http.files import HttpFiles
from dsload.fetchers.http.index import Link
from dsload.fetchers.http.login import Login
from dsload.fetchers.http.spec import HttpConfig
from dsload.listing import Entry, Listing, Response
from dsload.names import unsafe
from dsload.source import Source


class Http:
    """A source on any web server. Options are request headers, for the source's own host only."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client, self._doubtful = source, context.client, context.doubtful
        config = cast(HttpConfig, source.config)
        self._url, self._login = config.url, Login(config, context.secrets)

    def list(self) -> Listing:
        """The files below an index, or the one file that the URL names."""
        return self._client.insist(self._list, passing=(BadAnswerError,))

    def _list(self) -> Listing:
        if urlsplit(self._url).path.endswith("/") or not urlsplit(self._url).path:
            page = self._fetch(self._url)
            if (links := links_of(page, str(self._source))) is not None:
                return self._folder(page.url, links)
            if "content-disposition" not in page.headers:
                raise self._not_an_index()
        name = unquote(urlsplit(self._url).path, errors="surrogateescape").rpartition("/")[2]
        reader = HttpFiles(self._url, self._url, self._login, str(self._source))
        entry = Entry(name, -1, "", reader, key=self._url)
        head = self._good(ask(self._client, [reader.request(entry)], str(self._source), self._doubtful)[0])
        folder = is_folder(self._url, head)
        if folder or (name and may_be_index(head) and reader.objection(entry, head)):
            page = self._fetch(head.url)
            url = page.url if page.url.partition("?")[0].endswith("/") else page.url.partition("?")[0] + "/"
            if (links := links_of(page, str(self._source), url)) is not None:
                return self._folder(url, links)
            if folder:
                raise self._not_an_index()
        return self._single(entry, reader, head)

    def _not_an_index(self) -> NotFoundError:
        why = "it is a page, not a directory index that dsload can read (nginx, Apache, Caddy, Python)"
        return NotFoundError("listing", str(self._source), why, "name one file, or a folder that is listed")

    def _single(self, entry: Entry, reader: HttpFiles, head: Response) -> Listing:
        """The listing of one file."""
        name = _disposition_name(head.headers.get("content-disposition", "")) or entry.path
        if not name:
            raise NotFoundError("listing", str(self._source), "its URL and headers give the file no name")
        if why := unsafe(name):
            raise UnsafePathError("naming", f"{name!r} from {self._source}", why)
        entry = replace(entry, path=name)
        if error := reader.objection(entry, head):
            raise error
        entry = learned(entry, head)
        return Listing([replace(entry, checksum=reader.stated(entry, head))])

    def _folder(self, url: str, links: Sequence[Link]) -> Listing:
        """The listing of an index and of all below it."""
        reader = HttpFiles(url, self._url, self._login, str(self._source))
        entries = Crawl(self._client, self._source, self._login, reader, self._doubtful).entries(links)
        return Listing(with_sums(entries, self._client, self._source, self._login, reader))

    # Requests

    def _fetch(self, url: str) -> Response:
        return self._good(self._client.fetch(self._login.get(url), "listing", str(self._source), body=may_be_index))

    def _good(self, answer: Response) -> Response:
        if is_empty(answer):
            return replace(answer, status=200, headers={**answer.headers, "content-length": "0"})
        if answer.status >= 300:
            raise self._login.refused(answer, "listing", str(self._source))
        return answer


def _disposition_name(header: str) -> str:
    """The file name of a Content-Disposition (RFC 6266), without any folder; `filename*` wins over `filename`."""
    if not header:
        return ""
    from email.message import Message
    from email.utils import collapse_rfc2231_value

    message = Message()
    message["Content-Disposition"] = header
    name = ""
    for parameter, value in message.get_params([], "Content-Disposition"):
        if parameter.lower() == "filename" and (not name or isinstance(value, tuple)):
            name = collapse_rfc2231_value(value) if isinstance(value, tuple) else _utf8(value)
    return name.replace("\\", "/").rpartition("/")[2]


def _utf8(text: str) -> str:
    """What many servers write in a header as it is, and libcurl hands on byte by byte."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
