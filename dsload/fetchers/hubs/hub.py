"""What Hugging Face and ModelScope have in common: how a repository is named, and how its files are read."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError
from dsload.fetchers.hubs.spec import Repo, read_endpoint
from dsload.fetchers.hubs.weights import other_formats
from dsload.listing import Checksum, Entry, HttpReader, Listing, Request, Response
from dsload.secrets import logger
from dsload.source import Source
from dsload.transfer.retry import status_text

log = logger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "gitblob": COMMIT}


def endpoint_of(repo: Repo, variable: str, default: str) -> str:
    """The hub's URL without `/` at its end: the option endpoint, else the variable, else the default."""
    given = os.environ.get(variable)
    return repo.endpoint or (read_endpoint(given, f"variable {variable}") if given else default)


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

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The hub's own account of what went wrong."""
        where = f"{entry.path} from {self.source}"
        if response.redirected and response.status in (401, 403):
            host = urlsplit(response.url).netloc
            why = f"{host} answered {status_text(response.status)} to a URL that the hub had just signed for it"
            return RefusedError("downloading", where, why, "check the clock, and any proxy in between")
        if response.redirected:
            return None
        if response.status == 404:
            return ChangedError(
                "downloading", where, "it has disappeared since it was listed", "run the same command again"
            )
        return self.hub.explain(response, "downloading", where)


def read_json(answer: Response, where: str) -> Any:
    """The value of a JSON answer. Raises NotFoundError if it is not JSON: then this is not a hub."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        why = f"{urlsplit(answer.url).netloc} answers with something that is not JSON"
        raise NotFoundError("listing", where, why, "check that the endpoint is a hub's") from error


def make_entry(path: Any, size: Any, algorithm: str, digest: Any, reader: HubFiles) -> Entry:
    """An entry for a file of a hub's listing; its version is its digest, if the listing has one.

    Raises:
        NotFoundError: the row does not have the expected form.
    """
    known = isinstance(digest, str) and _DIGESTS[algorithm].fullmatch(digest.lower())
    if not isinstance(path, str) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        why = f"its listing has a row that dsload does not read ({str(path)[:100]!r}, size {str(size)[:20]!r})"
        raise NotFoundError("listing", reader.source, why, "check that the endpoint is a hub's")
    checksum = Checksum(algorithm, digest.lower()) if known else None
    return Entry(path, size, checksum.value if checksum else "", reader, checksum=checksum)


def make_listing(entries: Iterable[Entry], repo: Repo, source: Source, server: str, revision: str | None) -> Listing:
    """The listing of what lies at or below the path that the source names, with paths from there.

    Args:
        entries: of the whole repository, with the paths that they have in it.
        repo: as the source names it.
        source: its name for messages.
        server: URL of the hub.
        revision: the commit of the entries.

    Raises:
        NotFoundError: nothing exists at the path.
    """
    found = [entry for entry in entries if not repo.path or _below(entry.path, repo.path)]
    if repo.path and not found:
        why = f"{repo.id} has nothing at {repo.path}"
        raise NotFoundError("listing", str(source), why, f"`dsload ls` of {repo.id} shows what is there")
    folder = repo.path if any(entry.path != repo.path for entry in found) else repo.path.rpartition("/")[0]
    if folder:
        found = [replace(entry, path=entry.path[len(folder) + 1 :], key=entry.path) for entry in found]
    return Listing(found, revision, server, _left_out(found, repo.weights, source))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _left_out(entries: list[Entry], keep: str, source: Source) -> frozenset[str]:
    if not keep:
        return frozenset()
    left_out = other_formats((entry.path for entry in entries), keep)
    if not left_out:
        log.info("%s: option weights=%s leaves nothing out", source, keep)
    return left_out
