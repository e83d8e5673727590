"""What Hugging Face and ModelScope have in common: how a repository is named, and how its files are read."""

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError, UsageError
from dsload.fetchers.hubs.weights import other_formats, read_format
from dsload.listing import Checksum, Entry, Listing, Request, Response
from dsload.secrets import public_uri
from dsload.source import Source
from dsload.transfer.retry import status_text

log = logging.getLogger(__name__)

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}  # in the singular, and as URLs have them
COMMIT = re.compile(r"[0-9a-f]{40}")
_AT = re.compile(r"(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+)(?:/(?P<path>.*))?")
_NAME = re.compile(r"[\w.-]+")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "gitblob": COMMIT}


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository on a hub, as a source names it.

    Args:
        kind: one of KINDS.
        id: owner/name, or the one name of an old model.
        revision: branch, tag, commit or refs/pr/N; "" for the hub's default.
        path: of a folder or file in it, "" for all.
        weights: the format of weights to keep, "" for all.
    """

    kind: str
    id: str
    revision: str = ""
    path: str = ""
    weights: str = ""


def read_repo(source: Source) -> Repo:
    """Read `scheme://[datasets/]owner/name[@revision][/path]` and the options repo, repoType and revision, which win.

    Raises:
        UsageError: it names no repository, or a kind or format of weights that there is not.
    """
    parts = urlsplit(source.uri)
    before, at, after = (parts.netloc + parts.path).partition("@")
    names = [unquote(name) for name in before.strip("/").split("/")]
    prefix = {plural: kind for kind, plural in KINDS.items()}.get(names[0], "") if len(names) > 1 else ""
    names = names[1:] if prefix else names
    revision = path = ""
    if at:
        if not (match := _AT.fullmatch(after)):
            raise UsageError("reading", f"URI {str(source)!r}", "its '@' is followed by no revision")
        revision, path = unquote(match["revision"]), unquote(match["path"] or "")
    elif len(names) > 2:
        names, path = names[:2], "/".join(names[2:])
    if repo := source.options.get("repo", ""):
        names = repo.strip("/").split("/")
    if not 1 <= len(names) <= 2 or not all(_NAME.fullmatch(name) and name.strip(".") for name in names):
        why = f"{'/'.join(names)!r} is no repository"
        raise UsageError("reading", f"URI {str(source)!r}", why, f"give {parts.scheme}://OWNER/NAME")
    kind = _kind(source, prefix)
    weights = read_format(source.options.get("weights", ""))
    return Repo(kind, "/".join(names), source.options.get("revision", "") or revision, path.strip("/"), weights)


def _kind(source: Source, prefix: str) -> str:
    given = source.options.get("repoType", "").lower()
    if given and given not in KINDS:
        known = ", ".join(kind.upper() for kind in KINDS)
        raise UsageError("reading", "option repoType", f"there is no type {given.upper()!r}", f"known: {known}")
    if given and prefix and given != prefix:
        why = f"it is {given.upper()}, and the URI names a {prefix}"
        raise UsageError("reading", "option repoType", why, "leave one of them out")
    return given or prefix or "model"


def read_endpoint(options: Mapping[str, str], variable: str, default: str) -> str:
    """The hub's URL without `/` at its end: the option endpoint, else the variable, else the default."""
    given = options.get("endpoint") or os.environ.get(variable) or default
    url = (given if "://" in given else f"https://{given}").rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or parts.query or parts.fragment or re.search(r"\s", url):
        where = "option endpoint" if options.get("endpoint") else f"variable {variable}"
        fix = "give http://HOST:PORT or https://HOST, and the token as a secret"
        raise UsageError("reading", where, f"{public_uri(given)!r} is no URL of a hub", fix)
    return url


class Hub(Protocol):
    """What reading a file needs of a hub."""

    def request(self, path: str) -> Request:
        """The GET for a file of the repository, at the revision that was listed."""

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The error that the hub's answer means; None for what its status says."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Reads a repository's files: from the hub, or from the storage host that it redirects to."""

    hub: Hub
    source: str
    ranges: bool = True

    def request(self, entry: Entry) -> Request:
        """The GET for an entry."""
        return self.hub.request(entry.key or entry.path)

    def head(self, entry: Entry, part: int = 0) -> Request | None:
        """None: the listing states the checksums."""
        return None

    def stated(self, entry: Entry, response: Response) -> Checksum | None:
        """None, likewise."""
        return None

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The hub's own word for what went wrong."""
        where = f"{entry.path} from {self.source}"
        if response.redirected and response.status in (401, 403):
            host = urlsplit(response.url).netloc
            why = f"{host} answered {status_text(response.status)} to a URL that the hub had just signed for it"
            return RefusedError("downloading", where, why, "check what stands between, such as a proxy, and the clock")
        if response.redirected:
            return None
        if response.status == 404:
            return ChangedError("downloading", where, "it is gone since it was listed", "run the same command again")
        return self.hub.explain(response, "downloading", where)


def read_json(answer: Response, where: str) -> Any:
    """The value of a JSON answer. Raises NotFoundError where it is none: then this is no hub."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        why = f"{urlsplit(answer.url).netloc} answers with what is no JSON"
        raise NotFoundError("listing", where, why, "check that the endpoint is a hub's") from error


def make_entry(path: Any, size: Any, algorithm: str, digest: Any, reader: HubFiles) -> Entry:
    """An entry for a file of a hub's listing; its content is told by its digest, where there is one.

    Raises:
        NotFoundError: the listing has no such form.
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
        repo: as read_repo() read it.
        source: its name for messages.
        server: URL of the hub.
        revision: the commit of the entries.

    Raises:
        NotFoundError: there is nothing at the path.
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
