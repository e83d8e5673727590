"""HTTP: one file, or a directory index of nginx, Apache, Caddy or Python with everything below it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast
from urllib.parse import unquote, urlsplit

from dsload.errors import IntegrityError, NotFoundError, UnsafePathError
from dsload.fetchers.base import Context
from dsload.fetchers.http.index import INDEX_TYPES, Link, parse_index
from dsload.fetchers.http.spec import HttpConfig, quoted
from dsload.fetchers.http.sums import header_digest, parse_single_sum, parse_sums
from dsload.listing import Checksum, Entry, HttpReader, Listing, Request, Response
from dsload.names import unsafe
from dsload.secrets import authorization, basic, origin
from dsload.source import Source
from dsload.transfer.exchange import never
from dsload.transfer.retry import Failure, status_text, to_error

Entries = list[Entry]
Links = list[Link]
Level = list[tuple[str, Iterable[Link]]]  # of an index: path with `/` at its end, links

_DEEPEST = 64  # folders; an index that goes deeper leads in circles
_CADDY_LIMIT = 10_000  # entries of a folder; Caddy's default file_limit, at which it stops silently
_DIGESTS = frozenset({"repr-digest", "content-digest", "digest", "content-md5"})
_SUMS = frozenset({"SHA256SUMS", "SHA256SUMS.txt", "sha256sums.txt"})


class Http:
    """A source on any web server. Options are request headers, for the source's own host only."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client = source, context.client
        config = cast(HttpConfig, source.config)
        self._url, headers = config.url, dict(config.headers)
        if "authorization" not in {name.lower() for name in headers}:
            login = basic(config.user, config.password) if config.user or config.password else ""
            if value := login or authorization(context.secrets):
                headers["Authorization"] = value
        self._headers = headers

    def list(self) -> Listing:
        """The files below an index, or the one file that the URL names."""
        if urlsplit(self._url).path.endswith("/") or not urlsplit(self._url).path:
            page = self._fetch(self._url)
            if (links := self._links(page)) is not None:
                return self._crawl(page, links)
            if "content-disposition" not in page.headers:
                why = "it is a page, not a directory index that dsload can read (nginx, Apache, Caddy, Python)"
                raise NotFoundError("listing", str(self._source), why, "name one file, or a folder that is listed")
        head = self._head(self._url)
        if urlsplit(head.url).path.endswith("/") and not urlsplit(self._url).path.endswith("/"):
            page = self._fetch(head.url)
            if (links := self._links(page)) is not None:
                return self._crawl(page, links)
        return self._single(head)

    # One file

    def _single(self, head: Response) -> Listing:
        name = _disposition_name(head.headers.get("content-disposition", ""))
        name = name or unquote(urlsplit(self._url).path, errors="surrogateescape").rpartition("/")[2]
        if not name:
            raise NotFoundError("listing", str(self._source), "its URL and headers give the file no name")
        if why := unsafe(name):
            raise UnsafePathError("naming", f"{name!r} from {self._source}", why)
        reader = HttpFiles(self._url, self._url, self._headers)
        entry = _learned(Entry(name, -1, "", reader, key=self._url), head)
        return Listing([replace(entry, checksum=reader.stated(entry, head))])

    def _head(self, url: str) -> Response:
        """HEAD; if that is refused, as by a signed URL, a GET of one byte."""
        where = str(self._source)
        answer = self._client.fetch(self._request(url, "HEAD"), "asking for", where)
        if answer.status < 300:
            return answer
        request = self._request(url, "GET")
        probe = replace(request, headers={**request.headers, "Range": "bytes=0-0"})
        answer = self._client.fetch(probe, "asking for", where, body=never)
        if answer.status == 416 and answer.headers.get("content-range") == "bytes */0":
            return Response(answer.url, 200, {**answer.headers, "content-length": "0"})
        return self._good(answer)

    # A directory index

    def _crawl(self, page: Response, links: Iterable[Link]) -> Listing:
        reader = HttpFiles(page.url, self._url, self._headers)
        entries: list[Entry] = []
        level: Level = [("", links)]
        for _ in range(_DEEPEST):
            folders: list[tuple[str, str]] = []
            for prefix, found in level:
                empty = True
                for link in found:
                    empty = False
                    path = prefix + link.name
                    if link.directory and not unsafe(path) and "/" not in link.name:
                        folders.append((path + "/", reader.with_query(link.href)))
                    else:
                        entries.append(_entry(path, link, reader))
                if empty and prefix:
                    entries.append(Entry(prefix.rstrip("/"), 0, "", reader, directory=True))
            if not folders:
                break
            level = self._open(folders)
        else:
            why = f"its folders are more than {_DEEPEST} deep"
            raise UnsafePathError("listing", str(self._source), why, "name a folder further down")
        return Listing(self._with_sums(self._with_heads(entries, reader), reader))

    def _open(self, folders: Sequence[tuple[str, str]]) -> Level:
        requests = (self._request(url) for _, url in folders)
        pages = self._client.fetch_all(requests, "listing", str(self._source), body=_may_be_index)
        level: Level = []
        for (prefix, url), page in zip(folders, pages, strict=True):
            links = self._links(self._good(page, prefix), prefix)
            if links is None:
                why = "it is not a directory index that dsload can read"
                raise NotFoundError("listing", f"{prefix} of {self._source}", why, "have the server list it")
            if origin(page.url) != origin(url):
                raise UnsafePathError("listing", f"{prefix} of {self._source}", "it leads to another host")
            level.append((prefix, links))
        return level

    def _with_heads(self, entries: Entries, reader: "HttpFiles") -> Entries:
        """Ask for what the index did not state: exact sizes and versions."""
        vague = [i for i, entry in enumerate(entries) if (entry.size < 0 or not entry.version) and not entry.directory]
        vague = [i for i in vague if not unsafe(entries[i].path)]
        heads = (replace(reader.request(entries[i]), method="HEAD") for i in vague)
        for i, head in zip(vague, self._client.fetch_all(heads, "asking for", str(self._source)), strict=True):
            if head.status < 300:
                entries[i] = _learned(entries[i], head)
            elif head.status in (401, 403, 404, 410) and self._source.filter(entries[i].path):
                raise to_error(self._failure(head), "asking for", f"{entries[i].path} of {self._source}")
        return entries

    def _with_sums(self, entries: Entries, reader: "HttpFiles") -> Entries:
        """Take checksums from SHA256SUMS and .sha256 files that lie beside what they are of."""
        by_path = {entry.path: i for i, entry in enumerate(entries)}
        sums = [
            entry
            for entry in entries
            if entry.path.rpartition("/")[2] in _SUMS
            or (entry.path.endswith(".sha256") and entry.path.removesuffix(".sha256") in by_path)
        ]
        requests = [reader.request(entry) for entry in sums]
        pages = self._client.fetch_all(requests, "reading the checksums", str(self._source))
        for entry, page in zip(sums, pages, strict=True):
            text = self._good(page, entry.path).body.decode("utf-8", "surrogateescape")
            folder, _, name = entry.path.rpartition("/")
            folder = f"{folder}/" if folder else ""
            if name in _SUMS:
                found = parse_sums(text)
            else:
                of = name.removesuffix(".sha256")
                single = parse_single_sum(text, of)
                found = {of: single} if single else {}
            for child, value in found.items():
                if (i := by_path.get(folder + child)) is not None:
                    entries[i] = replace(entries[i], checksum=Checksum("sha256", value))
        return entries

    # Requests

    def _request(self, url: str, method: str = "GET") -> Request:
        return Request(url, method, self._headers if origin(url) == origin(self._url) else {})

    def _fetch(self, url: str) -> Response:
        where = str(self._source)
        return self._good(self._client.fetch(self._request(url), "listing", where, body=_may_be_index))

    def _good(self, answer: Response, path: str = "") -> Response:
        if answer.status >= 300:
            where = f"{path} of {self._source}" if path else str(self._source)
            raise to_error(self._failure(answer), "listing", where)
        return answer

    def _failure(self, answer: Response) -> Failure:
        reason = f"the server answered {status_text(answer.status)}"
        scheme, host, port = origin(answer.url)
        if answer.status in (401, 403) and (scheme, host, port) != origin(self._url):
            reason += f" after a redirect to {scheme}://{host}:{port}, which gets no credentials"
        return Failure(reason, response=answer)

    def _links(self, page: Response, path: str = "") -> Links | None:
        """The links of an index, None if the page is not one."""
        links = parse_index(page.body, page.headers.get("content-type", ""), page.url)
        if links and len(links) == _CADDY_LIMIT and page.headers.get("server", "").lower().startswith("caddy"):
            where = f"{path} of {self._source}" if path else str(self._source)
            why = f"Caddy lists {_CADDY_LIMIT:,} files of a folder and leaves out the rest"
            raise IntegrityError("listing", where, why, "raise file_limit of its file_server's browse")
        return links


class HttpFiles(HttpReader):
    """Reads files below a URL.

    Args:
        base: URL of the folder, or of the one file.
        home: URL that the user gave: the headers are for its origin, and its query goes with every request.
        headers: credentials and the user's own.
    """

    def __init__(self, base: str, home: str, headers: Mapping[str, str]) -> None:
        self._home, self._query = home, urlsplit(home).query
        parts = urlsplit(base)
        self._folder = f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"
        self._headers = headers if origin(base) == origin(home) else {}

    def request(self, entry: Entry) -> Request:
        """The GET for an entry."""
        key = entry.key
        url = key if key == self._home else self.with_query(key or self._folder + quoted(entry.path))
        return Request(url, headers=self._headers)

    def head(self, entry: Entry, part: int = 0) -> Request | None:
        """The HEAD, for a Content-MD5 that a range's answer would not have; one file's was asked before."""
        return None if entry.key == self._home or part else replace(self.request(entry), method="HEAD")

    def stated(self, entry: Entry, response: Response) -> Checksum | None:
        """The checksum in the headers: Repr-Digest, Digest or Content-MD5."""
        if _DIGESTS.isdisjoint(response.headers):
            return None
        found = header_digest(response.headers, whole=response.status == 200)
        return Checksum(*found) if found else None

    def key(self, path: str, href: str) -> str:
        """The key of an entry: "" if its URL follows from its path."""
        return "" if self._folder + quoted(path) == href else href

    def with_query(self, url: str) -> str:
        """A URL with the query of the source."""
        return f"{url}{'&' if '?' in url else '?'}{self._query}" if self._query else url


def _entry(path: str, link: Link, reader: HttpFiles) -> Entry:
    version = f"{link.size}-{link.modified}" if link.size >= 0 and link.modified else ""
    return Entry(path, link.size, version, reader, key=reader.key(path, link.href))


def _learned(entry: Entry, head: Response) -> Entry:
    """An entry with the size and version that a HEAD or a one-byte GET stated."""
    headers = head.headers
    if head.status == 206:
        length = headers.get("content-range", "").rpartition("/")[2]
    else:
        length = headers.get("content-length", "")
    size = int(length) if length.isdigit() and "content-encoding" not in headers else -1
    # A young file's ETag is weak with Apache, and the same without W/ a second later.
    version = headers.get("etag", "").removeprefix("W/") or headers.get("last-modified", "")
    return replace(entry, size=size, version=f"{size}-{version}" if version else "")


def _may_be_index(response: Response) -> bool:
    """Whether an answer can be a page of links, and no file to be kept."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in INDEX_TYPES and "content-disposition" not in response.headers


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
