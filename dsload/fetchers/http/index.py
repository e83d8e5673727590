"""Directory indexes of web servers, read as links to the direct children of a folder.

Pure: bytes in, links out. A page is hostile input: every pattern here takes time in proportion to its
length, and names that would leave the target are kept as they are, for the caller to refuse.

A row of an index states a size or a time, or its text is the last name of where it leads; other links belong to the
page. No row is left out: one that does not lead to a child of the folder is a file elsewhere on the same server, as
Nexus Repository's browse pages have them, or a stray, for the caller to refuse.

The formats:

- nginx, ngx_http_autoindex_module: `<pre>` rows of link, `01-Mar-2024 02:02` and a size, exact unless it
  ends in K, M or G (`autoindex_exact_size off`); with `autoindex_format json` a list of name, type, mtime
  and size.
- Apache, mod_autoindex: a plain `<ul>` of names, or `<pre>` or `<table>` rows (`IndexOptions FancyIndexing`,
  `HTMLTable`) of link, `2024-03-01 02:02` or the old form of it, and a size, exact below 973 bytes.
- Caddy, file_server browse: rows with the exact size in `data-order` (2.6) or `data-size` (later), and
  `<time>`; for `Accept: application/json` a list of name, url, size, mod_time and is_dir.
- python -m http.server (http.server.SimpleHTTPRequestHandler.list_directory): a `<ul>` of names.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from dsload.secrets import origin

INDEX_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/json"})


@dataclass(frozen=True, slots=True)
class Link:
    """A file or folder that an index lists.

    Args:
        name: one decoded path segment; only a hostile page makes it `.` or `..`, or has it hold `/` or NUL.
            Bytes that are not UTF-8 are surrogates, as in os.fsdecode.
        href: the absolute URL, encoded as the server wrote it, without a fragment or a query that only sorts.
        directory: whether the page says that it is one.
        size: bytes; -1 if the page does not state it exactly, and for directories.
        modified: ISO 8601, as precise as on the page, with a zone only if the page has one; empty if unknown.
        stray: whether it is a row that does not lead to a file or folder of this index.
    """

    name: str
    href: str
    directory: bool
    size: int
    modified: str
    stray: bool = False


class _Row(NamedTuple):
    """What a page states of one link. The href is ASCII, relative or not; the text is what a reader sees."""

    href: str
    size: int
    modified: str
    text: str = ""


_HEADING = re.compile(r"<(?:title|h1)\b[^<>]*+>\s*+(?:Index of|Directory listing for)\s++/", re.IGNORECASE)
_APACHE_SORTING = re.compile(r'href="\?C=N(?:;|&amp;)O=[AD]"')
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1|\Z)", re.IGNORECASE | re.DOTALL)
_ANCHOR = re.compile(r"""<a\s(?:[^<>]*?[\s"'])??href\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'<>]++))""", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*+>")
_MONTHS = ["", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTH = "|".join(_MONTHS[1:])
_DAY = re.compile(rf"(?P<day>[0-9]{{2}})-(?P<month>{_MONTH})-(?P<year>[0-9]{{4}})")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MINUTE = re.compile(r"[0-9]{2}:[0-9]{2}")
_IMF_FIXDATE = re.compile(  # RFC 9110, section 5.6.7
    rf"[A-Za-z]{{3}}, (?P<day>[0-9]{{2}}) (?P<month>{_MONTH}) (?P<year>[0-9]{{4}}) (?P<time>[0-9:]{{8}}) GMT"
)
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9:]{5})")
_SIZE = re.compile(r"[0-9]{1,18}")
_CADDY_SIZE = re.compile(r'data-(?:order|size)="([0-9]{1,18})"')
_CADDY_TIME = re.compile(rf'<time datetime="\s*+({_RFC_3339.pattern})"')

_URL = re.compile(r"[!#-;=?-Z\[\]_a-z~]*")
_RESERVED = "%:/?#[]@!$&'()*+,;="
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SORTING_KEYS = frozenset({"C", "O", "sort", "order"})


def parse_index(page: bytes, content_type: str, url: str) -> list[Link] | None:
    """Read a directory index; None if the page does not come from a server in the module's list.

    Links that are not rows, and those that lead up or only to another sorting, are left out.

    Args:
        page: the body of the response.
        content_type: its Content-Type, with or without parameters.
        url: the URL that answered, after redirects; its query and fragment have no part in the links.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    folder = _Folder.of(url)
    if media_type not in INDEX_TYPES:
        return None
    rows: Iterable[_Row] | None
    rows = _json_rows(page, folder) if media_type == "application/json" else _html_rows(page)
    if rows is None:
        return None
    links: dict[str, Link] = {}
    for row in rows:
        link = folder.link(row)
        # Apache's IconsAreLinks has each link twice, and only the second has size and time.
        if link and (link.href not in links or link.size >= 0 or link.modified):
            links[link.href] = link
    return list(links.values())


def is_cut(page: bytes, content_type: str) -> bool:
    """Whether an index ends before its rows do: what they stand in has to be closed (HTML, 13.1.2.4)."""
    if "html" not in content_type.lower():
        return False
    text = _UNSEEN.sub("", page.decode("utf-8", "surrogateescape")).lower()
    return any(len(re.findall(rf"<{tag}[\s>]", text)) > text.count(f"</{tag}") for tag in ("pre", "table", "ul"))


def _html_rows(page: bytes) -> Iterator[_Row] | None:
    # The stated charset does not matter: servers escape the names in links, and one that does not writes the
    # bytes of its file system (Apache calls them ISO-8859-1, whatever they are).
    text = page.decode("utf-8", "surrogateescape")
    if "caddyserver.com" in text and "?sort=name" in text:
        return _anchors(text, _caddy_details)
    if not _HEADING.search(text) and not _APACHE_SORTING.search(text):
        return None
    return _anchors(text, _columns if _has_sizes(text) else _columns_without_size)


def _has_sizes(text: str) -> bool:
    """Whether the number after the time is a size: with Apache's SuppressSize it may begin a description."""
    heads = text.find("Last modified")
    return heads < 0 or "Size" in text[heads : heads + 200]


def _anchors(text: str, details: Callable[[str], tuple[int, str]]) -> Iterator[_Row]:
    """Each link with the details in the text up to the next one."""
    text = _UNSEEN.sub("", text)
    anchors = _ANCHOR.finditer(text)
    anchor = next(anchors, None)
    while anchor:
        following = next(anchors, None)
        rest = text[anchor.end() : following.start() if following else len(text)]
        inside, _, after = rest.partition("</a>")
        shown = _unescaped(_TAG.sub("", inside.partition(">")[2])).strip()
        yield _Row(_ascii(_unescaped(anchor[anchor.lastindex or 0])), *details(after), shown)
        anchor = following


def _columns(text: str) -> tuple[int, str]:
    """Size and time from the columns of nginx and Apache: day, minute, size."""
    fields = _TAG.sub(" ", text).split(None, 3)
    if len(fields) < 2 or not _MINUTE.fullmatch(fields[1]):
        return -1, ""
    size = int(fields[2]) if len(fields) > 2 and _SIZE.fullmatch(fields[2]) else -1
    if _ISO_DAY.fullmatch(fields[0]):
        return size, f"{fields[0]}T{fields[1]}"
    day = _DAY.fullmatch(fields[0])
    return (size, f"{_iso_day(day)}T{fields[1]}") if day else (-1, "")


def _columns_without_size(text: str) -> tuple[int, str]:
    return -1, _columns(text)[1]


def _caddy_details(text: str) -> tuple[int, str]:
    size, time = _CADDY_SIZE.search(text), _CADDY_TIME.search(text)
    return int(size[1]) if size else -1, time[1] if time else ""


def _iso_day(match: re.Match[str]) -> str:
    return f"{match['year']}-{_MONTHS.index(match['month']):02}-{match['day']}"


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # a character reference with more digits than int() takes
        return text


def _ascii(href: str) -> str:
    """The href with what a URL may not hold percent-encoded: some servers write names as they are."""
    if _URL.fullmatch(href):
        return href
    return quote(href.strip(" \t\r\n\f"), safe=_RESERVED, errors="surrogateescape")


def _json_rows(page: bytes, folder: "_Folder") -> list[_Row] | None:
    try:
        items = json.loads(page.decode("utf-8", "surrogateescape"))
        if not isinstance(items, list):
            return None
        if not items:  # an empty folder of either server, or a file that holds an empty list
            return [] if folder.whole else None
        if all(map(_is_nginx_item, items)):
            return [_nginx_row(item) for item in items]
        if all(map(_is_caddy_item, items)):
            return [_caddy_row(item) for item in items]
    except (ValueError, RecursionError):  # not JSON, a surrogate in a name, or nested endlessly: not an index
        return None
    return None


def _is_nginx_item(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("mtime"), str)
        and item.get("type") in ("file", "directory", "other")
    )


def _nginx_row(item: dict[str, Any]) -> _Row:
    name, time = item["name"], _IMF_FIXDATE.fullmatch(item["mtime"])
    # Dots are encoded if they are a hostile name, which would otherwise be taken for a link to the parent.
    href = "%2E" * len(name) if name in (".", "..") else quote(name, safe="", errors="surrogateescape")
    slash = "/" if item["type"] == "directory" else ""
    return _Row(f"./{href}{slash}", _json_size(item), f"{_iso_day(time)}T{time['time']}Z" if time else "", name)


def _is_caddy_item(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and all(isinstance(item.get(key), str) for key in ("name", "url", "mod_time"))
        and isinstance(item.get("is_dir"), bool)
    )


def _caddy_row(item: dict[str, Any]) -> _Row:
    time = item["mod_time"] if _RFC_3339.fullmatch(item["mod_time"]) else ""
    return _Row(_ascii(item["url"]), _json_size(item), time, item["name"])


def _json_size(item: dict[str, Any]) -> int:
    size = item.get("size")
    return size if type(size) is int and 0 <= size < 2**63 else -1


@dataclass(frozen=True, slots=True)
class _Folder:
    """The folder whose children count.

    Args:
        site: scheme and authority of its URL.
        prefix: its URL up to the last `/`.
        origin: scheme, host and port.
        segments: of its path, as written.
        whole: whether the URL ends in `/`, as that of an index does.
    """

    site: str
    prefix: str
    origin: tuple[str, str, int]
    segments: list[str]
    whole: bool

    @classmethod
    def of(cls, url: str) -> Self:
        parts = urlsplit(url)
        path = parts.path or "/"
        folder = path[: path.rfind("/") + 1]
        site = f"{parts.scheme}://{parts.netloc}"
        return cls(site, site + folder, _origin(url), folder.split("/")[:-1], folder == path)

    def link(self, row: _Row) -> Link | None:
        """The link, or None if it is not a row, leads up, or only sorts."""
        path, _, query = row.href.partition("#")[0].partition("?")
        place = self._resolved(path)
        if place is None:
            return None
        site, segments = place
        below = self._below(segments)
        if below in ([], [""]) and self._is_above(segments):
            return None
        if query:
            sorts = _SORTING_KEYS.issuperset(pair.partition("=")[0] for pair in re.split("[;&]", query))
            query = "" if sorts else f"?{query}"
        directory, own = segments[-1] == "", site == self.site or _origin(site) == self.origin
        name = unquote(segments[-1] or segments[-2], errors="surrogateescape")
        called = row.text.strip("/").rpartition("/")[2] == name
        is_row = called or row.size >= 0 or bool(row.modified)
        if below and (own or is_row):
            name = unquote("/".join(below), errors="surrogateescape").removesuffix("/")
            href = self.prefix + "/".join(below) + query
            return Link(name, href, directory, -1 if directory else row.size, row.modified)
        if not is_row:
            return None
        href = f"{site}{'/'.join(segments)}{query}"
        elsewhere = called and own and not directory and not href.startswith(self.prefix)
        return Link(name if called else row.text, href, directory, row.size, row.modified, stray=not elsewhere)

    def _resolved(self, path: str) -> tuple[str, list[str]] | None:
        """Where a reference leads, as RFC 3986, section 5.2, has it: a site, and the segments of a path; None if that
        is not a URL of the web.
        """
        site = self.site
        if path.startswith("//") or _SCHEME.match(path):
            url = path if _SCHEME.match(path) else f"{self.origin[0]}:{path}"
            if _origin(url)[0] not in ("http", "https"):
                return None
            scheme, _, rest = url.partition("://")
            host, _, path = rest.partition("/")
            site, path = f"{scheme}://{host}", f"/{path}"
        segments = [] if path.startswith("/") else self.segments.copy()
        for segment in path.split("/"):
            if segment not in (".", ".."):
                segments.append(segment)
            elif segment == ".." and len(segments) > 1:
                segments.pop()
        if path.endswith(("/.", "/..")) or path in (".", ".."):
            segments.append("")
        return site, segments

    def _is_above(self, segments: list[str]) -> bool:
        """Whether a path is the folder's own or that of one above it."""
        above = segments[:-1] if segments[-1] == "" else segments
        return [*map(unquote, above)] == [*map(unquote, self.segments[: len(above)])]

    def _below(self, segments: list[str]) -> list[str]:
        """What of a path lies below the folder, if it is that of a direct child, whatever site has it; else nothing.

        More than that is kept if it hides a `..`, for the caller to refuse.
        """
        depth = len(self.segments)
        below, above = segments[depth:], segments[:depth]
        if above != self.segments and [*map(unquote, above)] != [*map(unquote, self.segments)]:
            return []
        if len(below) == 1 or (len(below) == 2 and below[1] == ""):
            return below
        hostile = not {".", ".."}.isdisjoint("/".join(map(unquote, below)).split("/"))
        return below if hostile else []


def _origin(url: str) -> tuple[str, str, int]:
    try:
        return origin(url)
    except ValueError:  # the port is not a number, or the address is malformed
        return "", "", 0
