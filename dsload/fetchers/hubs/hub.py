"""What Hugging Face and ModelScope have in common: how a repository is named, and how its files are read."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from dsload.errors import BadAnswerError, ChangedError, DsloadError, NotFoundError, RefusedError
from dsload.fetchers.hubs.spec import Repo
from dsload.fetchers.hubs.weights import other_formats
from dsload.formats.words import said
from dsload.listing import Checksum, Entry, HttpReader, Listing, Request, Response
from dsload.secrets import logger
from dsload.source import Source
from dsload.transfer.retry import refusal

log = logger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
_SPACE = re.compile(r"[ \t\n\r]*")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "gitblob": COMMIT}


class Hub(Protocol):
    """What reading a file needs of a hub."""

    def request(self, path: str) -> Request:
        """The GET for a file of the repository, at the revision that was listed."""

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The error that the hub's answer means; None if its status says it all."""


@dataclass(frozen=True, slots=True)
class HubFiles(HttpReader):
    """Reads a repository's files: from the hub, or from the storage host that it redirects to."""

    hub: Hub
    source: str

    def request(self, entry: Entry) -> Request:
        """The GET for an entry."""
        return self.hub.request(entry.key or entry.path)

    def objection(self, entry: Entry, response: Response) -> DsloadError | None:
        """A page in the place of a file, as a proxy may send for a while, or for want of a login."""
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/html" or entry.path.lower().endswith((".html", ".htm")):
            return None
        why = f"{urlsplit(response.url).netloc} answers with a page in the place of the file"
        return ChangedError("downloading", f"{entry.path} from {self.source}", why, "run the same command again")

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The hub's own account of what went wrong."""
        where = f"{entry.path} from {self.source}"
        if response.redirected and response.status in (401, 403):
            refused = refusal(response, urlsplit(response.url).netloc).reason
            why = f"{refused} to a URL that the hub had just signed for it"
            return RefusedError("downloading", where, why, "check the clock, and any proxy in between")
        if response.redirected:
            return None
        if response.status in (404, 410):
            why = f"it has disappeared since it was listed{in_words(response)}"
            return ChangedError("downloading", where, why, "run the same command again")
        return self.hub.explain(response, "downloading", where)


def in_words(answer: Response) -> str:
    """What a server says itself of its answer, in brackets, "" if it says nothing."""
    words = said(answer.headers, answer.body)
    return f" ({words})" if words else ""


@dataclass(frozen=True, slots=True)
class Row:
    """A file as a hub lists it, nothing of it checked.

    Args:
        path: in the repository.
        size: bytes.
        algorithm: of the digest, one of listing.ALGORITHMS.
        digest: of its content, None or "" if the hub does not state it.
    """

    path: Any
    size: Any
    algorithm: str
    digest: Any


def read_json(answer: Response, where: str, known: bool = False) -> Any:
    """The value of a JSON answer.

    Args:
        answer: of status 2xx.
        where: what is listed, for messages.
        known: whether the server has answered as a hub before: then this answer is a passing fault.

    Raises:
        BadAnswerError: the answer is empty or cut, or a page in the middle of a listing.
        RefusedError: another host answers with a page.
        NotFoundError: this is not a hub.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise _no_json(answer, where, known, error) from error


def read_rows(answer: Response, where: str, known: bool = False) -> Iterator[Any]:
    """The values of a JSON answer that is a list, one by one: a page may hold all that a repository has.

    Args and errors: as of read_json().
    """
    try:
        text = answer.body.decode(json.detect_encoding(answer.body))
        yield from _values(text)
    except (ValueError, RecursionError) as error:
        raise _no_json(answer, where, known, error) from error


def _values(text: str) -> Iterator[Any]:
    """The values of a JSON list; one that is not a list is the only one. Raises ValueError, RecursionError."""
    decode, position = json.JSONDecoder().raw_decode, _after_space(text, 0)
    if text[position : position + 1] != "[":
        yield json.loads(text)
        return
    position = _after_space(text, position + 1)
    closed = text.startswith("]", position)
    while not closed:
        value, position = decode(text, position)
        yield value
        position = _after_space(text, position)
        closed = text.startswith("]", position)
        if not closed and not text.startswith(",", position):
            raise ValueError("the list is cut")
        position = _after_space(text, position + 1) if not closed else position
    if _after_space(text, position + 1) < len(text):
        raise ValueError("something comes after the list")


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _no_json(answer: Response, where: str, known: bool, error: Exception) -> DsloadError:
    host, begins = urlsplit(answer.url).netloc, answer.body.strip()[:1]
    if not begins:
        return BadAnswerError("listing", where, f"{host} answers with nothing", "run the same command again")
    if answer.redirected:
        why = f"the hub sends this request on to {host}, which answers with a page, maybe to log in"
        return RefusedError("listing", where, why, "check the endpoint and the token, and any proxy in between")
    if known or (begins in b"[{" and isinstance(error, ValueError)):
        why = f"{host} answers with JSON that is cut" if begins in b"[{" else f"{host} answers with a page"
        return BadAnswerError("listing", where, why, "run the same command again")
    why = f"{host} answers with something that is not JSON"
    return NotFoundError("listing", where, why, "check that the endpoint is a hub's")


def not_listed(where: str, endpoint: object) -> NotFoundError:
    """The error for JSON that is not what a hub lists."""
    why = f"{endpoint} answers with something that is not a listing"
    return NotFoundError("listing", where, why, "check that the endpoint is a hub's")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a hub says of a repository.

    Args:
        rows: of the whole repository, one a path.
        commit: of the rows, None if the hub does not say.
        named: paths that the hub names elsewhere, at the same commit: a listing without them is not complete.
    """

    rows: Iterable[Row]
    commit: str | None
    named: Collection[str] = ()


def make_listing(found: Listed, repo: Repo, source: Source, server: object, reader: HubFiles) -> Listing:
    """The listing of what lies at or below the path that the source names, with paths from there.

    Args:
        found: in the repository.
        repo: as the source names it.
        source: for its filter, and its name in messages.
        server: URL of the hub.
        reader: of the entries.

    Raises:
        NotFoundError: nothing exists at the path, or a row does not have the expected form.
        BadAnswerError: files are missing in the listing.
    """
    rows = [row for row in found.rows if not repo.path or _is_below(row.path, repo.path)]
    if repo.path and not rows and not any(_is_below(path, repo.path) for path in found.named):
        why = f"{repo.id} has nothing at {repo.path}"
        raise NotFoundError("listing", str(source), why, f"`dsload ls` of {repo.id} shows what is there")
    folder = repo.path if any(row.path != repo.path for row in rows) else repo.path.rpartition("/")[0]
    start = len(folder) + 1 if folder else 0
    _check_complete(rows, found.named, repo, source, start)
    entries = [_entry(row, start, reader) for row in rows if _is_sound(row) or source.filter(str(row.path)[start:])]
    return Listing(entries, found.commit, str(server), _left_out(entries, repo.weights, source))


def _check_complete(rows: list[Row], named: Collection[str], repo: Repo, source: Source, start: int) -> None:
    listed = {row.path for row in rows if isinstance(row.path, str)}
    below = (path for path in named if not repo.path or _is_below(path, repo.path))
    if missing := sorted(path for path in below if path not in listed and source.filter(path[start:])):
        raise incomplete(f"it lists {len(rows):,} files, and names {len(missing):,} more: {missing[0]}", str(source))


def incomplete(why: str, where: str) -> BadAnswerError:
    """The error for a listing that leaves something out."""
    return BadAnswerError("listing", where, f"the hub's listing is not complete: {why}", "run the same command again")


def _entry(row: Row, start: int, reader: HubFiles) -> Entry:
    """The entry for a row, with the path from `start` on; its version is its digest, if the row has one."""
    if not _is_sound(row):
        why = f"its listing has a row that dsload does not read ({str(row.path)[:100]!r}, size {str(row.size)[:20]!r})"
        raise NotFoundError("listing", reader.source, why, "check that the endpoint is a hub's")
    known = isinstance(row.digest, str) and _DIGESTS[row.algorithm].fullmatch(row.digest.lower())
    checksum = Checksum(row.algorithm, row.digest.lower()) if known else None
    version = checksum.value if checksum else ""
    return Entry(row.path[start:], row.size, version, reader, row.path if start else "", checksum)


def _is_sound(row: Row) -> bool:
    return isinstance(row.path, str) and type(row.size) is int and row.size >= 0


def _is_below(path: Any, folder: str) -> bool:
    return isinstance(path, str) and (path == folder or path.startswith(folder + "/"))


def _left_out(entries: list[Entry], keep: str, source: Source) -> frozenset[str]:
    if not keep:
        return frozenset()
    left_out = other_formats((entry.path for entry in entries), keep)
    if not left_out:
        log.info("%s: option weights=%s leaves nothing out", source, keep)
    return left_out
