"""A crawl of directory indexes, level by level: nothing is left out without a word, and nothing goes in circles."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsload.errors import BadAnswerError, IntegrityError, NotFoundError, UnsafePathError
from dsload.fetchers.http.asking import ask, is_folder, learned
from dsload.fetchers.http.files import HttpFiles, media_type
from dsload.fetchers.http.index import INDEX_TYPES, Link, is_cut, parse_index
from dsload.fetchers.http.login import Login
from dsload.listing import Entry, Response
from dsload.names import unsafe
from dsload.secrets import origin, public_uri
from dsload.source import Source
from dsload.transfer.client import Client

_DEEPEST = 64  # folders
_CADDY_LIMIT = 10_000  # entries of a folder; Caddy's default file_limit, at which it stops silently
_CERTAIN = 3  # folders above with the same rows that make a circle certain, if no row is a file with a time

_Rows = frozenset[tuple[str, bool, int, str]]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be opened.

    Args:
        prefix: its path, with `/` at its end; "" for that of the source, which is open already.
        url: of its index.
        above: the rows of the folders that it lies in.
    """

    prefix: str
    url: str
    above: tuple[_Rows, ...] = ()


_Opened = tuple[_Folder, Sequence[Link]]
_Found = tuple[Entry, tuple[_Rows, ...]]  # a file, and the rows of the folders that it lies in


class Crawl:
    """What lies below a folder.

    Args:
        client: to ask by.
        source: whose filter is asked before a folder is opened or a file asked for.
        login: for the pages.
        files: the reader of what is found.
        doubtful: whether sizes and versions are to be asked for by GET, whatever the index states.
    """

    def __init__(self, client: Client, source: Source, login: Login, files: HttpFiles, doubtful: bool) -> None:
        self._client, self._source, self._login = client, source, login
        self._files, self._doubtful = files, doubtful

    def entries(self, links: Sequence[Link]) -> list[Entry]:
        """Every file below a folder, as far as the filter may select it, and empty folders.

        Args:
            links: of the folder's index.

        Raises:
            DsloadError: a folder is not listed, or a row leads elsewhere, or in circles.
        """
        entries: list[Entry] = []
        level: list[_Opened] = [(_Folder("", ""), links)]
        for _ in range(_DEEPEST):
            found: list[_Found] = []
            folders: list[_Folder] = []
            for folder, rows in level:
                self._sort(folder, rows, found, folders)
            entries += self._asked(found, folders)
            if not folders:
                return entries
            level = self._open(folders)
        why = f"its folders are more than {_DEEPEST} deep"
        raise UnsafePathError("listing", str(self._source), why, "name a folder further down")

    def _sort(self, folder: _Folder, links: Sequence[Link], found: list[_Found], folders: list[_Folder]) -> None:
        """Tell the files of a folder from the folders in it."""
        if not links and folder.prefix:
            found.append((Entry(folder.prefix.rstrip("/"), 0, "", self._files, directory=True), folder.above))
        above = (*folder.above, _rows(links))
        for link in links:
            path = folder.prefix + link.name
            if link.stray:
                if self._source.filter(path) or (link.directory and self._source.filter.below(path)):
                    raise self._astray(path, link)
            elif link.directory and not unsafe(path) and "/" not in link.name:
                if self._source.filter.below(path):
                    folders.append(_Folder(path + "/", self._files.with_query(link.href), above))
            else:
                found.append((_entry(path, link, self._files), above))

    def _astray(self, path: str, link: Link) -> IntegrityError:
        why = f"its row leads to {public_uri(link.href)}, which is not in this folder"
        fix = "name the folder where it lies, have the server list it with relative links, or exclude it"
        return IntegrityError("listing", f"{path} of {self._source}", why, fix)

    def _asked(self, found: list[_Found], folders: list[_Folder]) -> list[Entry]:
        """The entries, with what the index did not state; those that turn out to be folders are to be opened."""
        entries = [entry for entry, _ in found]
        vague = [number for number, entry in enumerate(entries) if self._is_vague(entry)]
        requests = [self._files.request(entries[number]) for number in vague]
        heads = ask(self._client, requests, str(self._source), self._doubtful)
        dropped = set()
        for number, request, head in zip(vague, requests, heads, strict=True):
            entry = entries[number]
            if head.status >= 300 and head.status != 416:
                raise self._login.refused(head, "asking for", f"{entry.path} of {self._source}")
            if is_folder(request.url, head):
                folders.append(_Folder(entry.path + "/", request.url, found[number][1]))
                dropped.add(number)
                continue
            if error := self._files.objection(entry, head):
                raise error
            entries[number] = learned(entry, head)
        return [entry for number, entry in enumerate(entries) if number not in dropped]

    def _is_vague(self, entry: Entry) -> bool:
        vague = entry.size < 0 or not entry.version or self._doubtful
        return vague and not entry.directory and not unsafe(entry.path) and self._source.filter(entry.path)

    def _open(self, folders: Sequence[_Folder]) -> list[_Opened]:
        requests = (self._login.get(folder.url) for folder in folders)
        pages = self._client.fetch_all(requests, "listing", str(self._source), body=may_be_index)
        level: list[_Opened] = []
        for folder, page in zip(folders, pages, strict=True):
            where = f"{folder.prefix} of {self._source}"
            if page.status >= 300:
                raise self._login.refused(page, "listing", where)
            if origin(page.url) != origin(folder.url):
                raise UnsafePathError("listing", where, "it leads to another host")
            links = links_of(page, where)
            if links is None:
                why = "it is not a directory index that dsload can read"
                raise NotFoundError("listing", where, why, "have the server list it, or exclude it")
            if _is_circle(_rows(links), folder.above):
                raise self._circle(folder, folder.above.index(_rows(links)))
            level.append((folder, links))
        return level

    def _circle(self, folder: _Folder, depth: int) -> UnsafePathError:
        """The error for a folder that lists the same as the one at this depth that it lies in."""
        first = "".join(f"{name}/" for name in folder.prefix.split("/")[: depth + 1])
        why = "it leads in circles: a folder in it lists the same as the one that it lies in"
        fix = f"exclude it by -o exclude='{first}*'"
        return UnsafePathError("listing", f"{first} of {self._source}", why, fix)


def may_be_index(response: Response) -> bool:
    """Whether an answer can be a page of links, and not a file to be kept."""
    return media_type(response) in INDEX_TYPES and "content-disposition" not in response.headers


def links_of(page: Response, where: str, url: str = "") -> list[Link] | None:
    """The links of an index, None if the page is not one.

    Args:
        page: the answer.
        where: the folder, for messages.
        url: of the folder, if that is not the one that answered.

    Raises:
        BadAnswerError: the index is cut.
        IntegrityError: its server is known to leave out the rest.
    """
    content_type = page.headers.get("content-type", "")
    links = parse_index(page.body, content_type, url or page.url)
    if links is not None and is_cut(page.body, content_type):
        raise BadAnswerError("listing", where, "its page ends before its rows do", "run the same command again")
    if links and len(links) == _CADDY_LIMIT and page.headers.get("server", "").lower().startswith("caddy"):
        why = f"Caddy lists {_CADDY_LIMIT:,} files of a folder and leaves out the rest"
        raise IntegrityError("listing", where, why, "raise file_limit of its file_server's browse")
    return links


def _entry(path: str, link: Link, files: HttpFiles) -> Entry:
    version = f"{link.size}-{link.modified}" if link.size >= 0 and link.modified else ""
    return Entry(path, link.size, version, files, key=files.key(path, link.href))


def _rows(links: Sequence[Link]) -> _Rows:
    return frozenset((link.name, link.directory, link.size, link.modified) for link in links)


def _is_circle(rows: _Rows, above: Sequence[_Rows]) -> bool:
    """Whether a folder with these rows is one of those that it lies in, as a link to `.` makes it.

    A file with the same time in both is enough; folders of one name may lie in each other, but not many times over.
    """
    timed = any(modified and not directory for _, directory, _, modified in rows)
    return bool(rows) and above.count(rows) >= (1 if timed else _CERTAIN)
