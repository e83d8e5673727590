"""Git LFS: who has the objects that pointers name, and reading them by the engine.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, docs/api/batch.md, docs/api/server-discovery.md
"""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote

from dsload import __version__
from dsload.errors import BadAnswerError, DsloadError, NotFoundError, RefusedError, UnreachableError
from dsload.fetchers.git.folder import FolderObjects
from dsload.fetchers.git.location import Location, parse_location
from dsload.fetchers.git.login import Login
from dsload.fetchers.git.remote import Remote
from dsload.fetchers.git.settings import read_lfs_url
from dsload.fetchers.git.verdict import is_passing
from dsload.formats.words import said
from dsload.listing import Entry, HttpReader, Reader, Request, Response
from dsload.secrets import PORTS, Secrets, hide, logger, sensitive
from dsload.transfer.retry import status_text

log = logger(__name__)

_ASKING = "asking for the LFS objects of"
MEDIA = "application/vnd.git-lfs+json"
AGENT = {"User-Agent": f"git-lfs/dsload-{__version__}"}  # some hosts, and walls against bots, want it to begin so
_AGAIN = "run the same command again"
_BATCH = 100  # objects a request, as git-lfs asks for
_ABREAST = 8  # requests at a time
_KEPT = 5_000  # actions kept from before the load; the others are asked for again when their turn comes
_NAMED = 3  # files that a message names
_EARLY = 0.9  # of its life, after which an action is no longer used


_Wrong = Sequence[tuple[Entry, DsloadError]]  # objects that a server does not give, and why


@dataclass(frozen=True, slots=True)
class Action:
    """How to download one object, for a while.

    Args:
        href: where from.
        headers: to send there.
        until: on the monotonic clock, in seconds.
    """

    href: str
    headers: Mapping[str, str] = field(repr=False)
    until: float = float("inf")


class LfsObjects:
    """Who has the LFS objects of a repository.

    Args:
        remote: the repository.
        config: returns the content of its `.lfsconfig`, which may name another server; called if that matters.
        ref: full name of the branch, "" if there is none; some servers want to know it.
    """

    def __init__(self, remote: Remote, config: Callable[[], bytes], ref: str) -> None:
        self._remote, self._config, self._ref = remote, config, ref
        self._folder = FolderObjects(remote.location.path, remote.where) if remote.location.scheme == "file" else None
        self._server: Reader | None = None

    def reader(self, oid: str, size: int) -> Reader:
        """What reads an object: the folder that has it, else the server."""
        if self._folder and self._folder.has(oid, size):
            return self._folder
        self._server = self._server or self._open()
        return self._server

    def _open(self) -> Reader:
        remote = self._remote
        endpoint = read_lfs_url(self._config(), remote.where) or remote.location
        if endpoint.scheme != "file":
            return LfsFiles(_Server(remote, endpoint), self._ref, remote.where)
        if not self._folder:
            why = "lfs.url in .lfsconfig is a folder on this machine"
            raise NotFoundError("listing", remote.where, why, "fix it, or keep the pointers with -o lfs=false")
        return self._folder if endpoint == remote.location else FolderObjects(endpoint.path, remote.where)


def _derived(at: Location) -> str:
    """The URL of the API that goes with a repository (docs/api/server-discovery.md)."""
    path = f"/{at.path.strip('/').removesuffix('.git')}.git/info/lfs"
    if at.scheme in ("http", "https"):
        return replace(at, path=path).url
    return replace(at, scheme="https", port=PORTS["https"], path=quote(path)).url


class _Server:
    """An LFS API, and how to log in there."""

    def __init__(self, remote: Remote, endpoint: Location) -> None:
        own = endpoint == remote.location
        self.client, self.where = remote.client, remote.where
        self._endpoint = endpoint
        http = endpoint.scheme in ("http", "https")
        self._url = endpoint.url.rstrip("/") if http and not own else _derived(endpoint)
        theirs = remote.secrets if own or endpoint.same_site(remote.location) else Secrets()
        self._remote = remote if own else Remote(endpoint, theirs, self.client, self.where)
        at = endpoint if http else parse_location(self._url)
        self.login = remote.login if own and http else Login(at, theirs, self.client)
        self._granted: Action | None = None

    @property
    def name(self) -> str:
        """The URL, for messages."""
        return self._url

    def request(self, body: Mapping[str, Any]) -> Request:
        """A batch request, without a login except what an ssh server granted."""
        url, headers = self._url, {"Accept": MEDIA, "Content-Type": MEDIA, **AGENT}
        if self._endpoint.scheme == "ssh":
            granted = self._authenticate()
            url, headers = granted.href or url, {**headers, **granted.headers}
        return Request(f"{url}/objects/batch", "POST", headers, body=json.dumps(body).encode())

    def _authenticate(self) -> Action:
        """The URL that an ssh server names, and the headers for it (`git-lfs-authenticate`)."""
        if self._granted is None or self._granted.until < time.monotonic():
            path = shlex.quote(self._endpoint.path)
            status, output, errors = self._remote.command(f"git-lfs-authenticate {path} download")
            why = errors.decode("utf-8", "replace").strip() or f"exit status {status}"
            if status and is_passing(why):
                raise UnreachableError(_ASKING, self.where, f"the server says: {_plain(why)}", _AGAIN)
            self._granted = Action("", {})
            if status == 0 and (granted := _json_map(output)):
                self._granted = _read_action(granted)
            else:
                log.info("%s has no git-lfs-authenticate (%s); asking %s", self._endpoint.authority, why, self._url)
        return self._granted

    def refusal(self, answer: Response) -> DsloadError:
        """The error that an answer of 300 and more means."""
        words = said(answer.headers, answer.body)
        if answer.status in (404, 501) and not is_passing(words):
            own = f": {words}" if words else ""
            why = f"the server has no Git LFS at {self._url} ({status_text(answer.status)}{own})"
            fix = "check lfs.url in .lfsconfig, or keep the pointers with -o lfs=false"
            return NotFoundError(_ASKING, self.where, why, fix)
        return self.login.error(answer, _ASKING, self.where)


class LfsFiles(HttpReader):
    """Reads LFS objects over HTTP: asks for the places of many at a time, and again when they have expired."""

    def __init__(self, server: _Server, ref: str, where: str) -> None:
        self._server, self._ref, self._where = server, ref, where
        self._actions: dict[str, Action] = {}
        self._order: list[Entry] = []
        self._position: dict[str, int] = {}
        self._answered = False  # as the batch API does

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Ask where all of them are. Raises DsloadError with the names of those that cannot be had."""
        self._order = list({entry.key: entry for entry in entries}.values())
        self._position = {entry.key: number for number, entry in enumerate(self._order)}
        waiting = iter(self._order)
        first = list(islice(waiting, _BATCH))
        wrong = [*self._insist(lambda: self._ask(first))]  # alone: its answer settles how to log in
        while batches := [batch for _ in range(_ABREAST) if (batch := list(islice(waiting, _BATCH)))]:
            wrong += self._insist(partial(self._ask_all, batches))
        lasting = [(entry, error) for entry, error in wrong if not error.retry]
        if lasting:
            raise self._summary(lasting)
        if late := [entry for entry, _ in wrong]:
            self._insist(partial(self._ask_late, late))

    def _insist(self, ask: Callable[[], _Wrong]) -> _Wrong:
        return self._server.client.insist(ask)

    def _ask(self, batch: Sequence[Entry]) -> _Wrong:
        return self._take(batch, self._server.login.fetch(self._request(batch), _ASKING, self._where))

    def _ask_all(self, batches: Sequence[Sequence[Entry]]) -> _Wrong:
        requests = [self._server.login.signed(self._request(batch)) for batch in batches]
        answers = self._server.client.fetch_all(requests, _ASKING, self._where)
        return [each for batch, answer in zip(batches, answers, strict=True) for each in self._take(batch, answer)]

    def _ask_late(self, late: list[Entry]) -> _Wrong:
        """Ask again for objects that the server did not give for a passing reason; `late` keeps those it does not."""
        wrong = [each for start in range(0, len(late), _BATCH) for each in self._ask(late[start : start + _BATCH])]
        late[:] = [entry for entry, _ in wrong]
        if wrong:
            raise self._summary(wrong)
        return []

    def _request(self, batch: Sequence[Entry]) -> Request:
        objects = [{"oid": entry.key, "size": entry.size} for entry in batch]
        body: dict[str, Any] = {"operation": "download", "transfers": ["basic"], "objects": objects}
        if self._ref:
            body["ref"] = {"name": self._ref}
        return self._server.request({**body, "hash_algo": "sha256"})

    def _take(self, batch: Sequence[Entry], answer: Response) -> _Wrong:
        """Note what an answer states. Returns the objects that it does not give, and why."""
        if answer.status == 413 and len(batch) > 1:
            half = len(batch) // 2
            return [*self._ask(batch[:half]), *self._ask(batch[half:])]
        if answer.status >= 300:
            raise self._server.refusal(answer)
        body = _json_map(answer.body)
        items = body.get("objects")
        if not isinstance(items, list) or body.get("transfer", "basic") != "basic":
            raise self._astray(answer)
        self._answered = True
        told = {item.get("oid"): item for item in items if isinstance(item, dict)}
        wrong = []
        for entry in batch:
            item = told.get(entry.key, {})
            action = item.get("actions", {}).get("download") if isinstance(item.get("actions"), dict) else None
            if isinstance(action, dict) and isinstance(action.get("href"), str):
                self._keep(entry.key, action, bool(item.get("authenticated")))
            else:
                wrong.append((entry, self._missing(entry, item.get("error"))))
        return wrong

    def _astray(self, answer: Response) -> DsloadError:
        """The error for an answer of 200 that is not a batch's; a passing fault once the server has answered right."""
        words = said(answer.headers, answer.body)
        why = f"{self._server.name} does not answer as the batch API does" + (f" ({words})" if words else "")
        if self._answered or not answer.body or is_passing(words):
            return BadAnswerError(_ASKING, self._where, why, _AGAIN)
        return NotFoundError(_ASKING, self._where, why, "check lfs.url in .lfsconfig")

    def _keep(self, oid: str, said: Mapping[str, Any], authenticated: bool) -> None:
        action = _read_action(said)
        if not authenticated and "authorization" not in {name.lower() for name in action.headers}:
            headers = {**self._server.login.headers(action.href), **action.headers}
            action = replace(action, headers=headers)
        if len(self._actions) < _KEPT or oid in self._actions:
            self._actions[oid] = action

    def _missing(self, entry: Entry, stated: Any) -> DsloadError:
        error = stated if isinstance(stated, dict) else {}
        code, message = error.get("code"), _plain(error.get("message")) or "the server does not give it"
        kind: type[DsloadError] = RefusedError if code in (401, 403) else NotFoundError
        if code in (408, 429) or (isinstance(code, int) and code >= 500) or is_passing(message):
            kind = UnreachableError
        why = f"{message} ({code})" if code else message
        fix = _AGAIN if kind.retry else ""
        return kind("downloading", f"{entry.path} from {self._where}", f"LFS object {entry.key[:12]}: {why}", fix)

    def _summary(self, wrong: _Wrong) -> DsloadError:
        names = ", ".join(f"{entry.path} ({error.why})" for entry, error in wrong[:_NAMED])
        more = f" and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        many = f"{len(wrong):,} of {len(self._order):,} LFS objects"
        why = f"{many} cannot be downloaded from {self._server.name}: {names}{more}"
        kind = type(wrong[0][1])
        fix = "have them pushed there, or exclude the files, or keep the pointers with -o lfs=false"
        return kind(_ASKING, self._where, why, _AGAIN if kind.retry else fix)

    # Reading

    def request(self, entry: Entry) -> Request:
        """The GET for an object; if its place is no longer known, first the POST that asks for it."""
        action = self._actions.get(entry.key)
        if action is None or action.until < time.monotonic():
            return self._ask_first(entry)
        return Request(action.href, headers=action.headers, refused=partial(self._forget, entry.key, action))

    def _ask_first(self, entry: Entry) -> Request:
        """A batch request for this object and the next ones whose places are not known, and then the GET."""
        start, now = self._position.get(entry.key, 0), time.monotonic()
        following = (
            other
            for other in self._order[start + 1 : start + 10 * _BATCH]
            if (known := self._actions.get(other.key)) is None or known.until < now
        )
        batch = [entry, *islice(following, _BATCH - 1)]
        return replace(self._server.login.signed(self._request(batch)), then=partial(self._found, entry, batch))

    def _found(self, entry: Entry, batch: Sequence[Entry], answer: Response) -> Request:
        self._actions.pop(entry.key, None)
        for other, error in self._take(batch, answer):
            if other is entry:
                raise error
        action = self._actions[entry.key]
        return Request(action.href, headers=action.headers)

    def _forget(self, oid: str, action: Action) -> bool:
        if self._actions.get(oid) is action:
            del self._actions[oid]
        return True

    def passes(self, entry: Entry, response: Response, attempt: int) -> bool:
        """Whether a storage lacks an object that the server has just named, or says that it will have it later."""
        return response.status in (404, 410) or is_passing(said(response.headers, response.body))

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """What the storage, or the server that is asked for the place, says."""
        where, words = f"{entry.path} from {self._where}", said(response.headers, response.body)
        status = f"{status_text(response.status)}: {words}" if words else status_text(response.status)
        if is_passing(words):
            return BadAnswerError("downloading", where, f"the LFS storage answered {status}", _AGAIN)
        if response.status in (404, 410):
            why = f"LFS object {entry.key[:12]} is not where the server says it is ({status})"
            return BadAnswerError("downloading", where, why, f"{_AGAIN}; if it stays so, have the file pushed anew")
        if response.status in (401, 403):
            why = f"the LFS storage refuses a request that the server had just authorized ({status})"
            return RefusedError("downloading", where, why, "check the clock, and any proxy in between")
        return None


def _read_action(said: Mapping[str, Any]) -> Action:
    """An action of the batch API, or the answer of `git-lfs-authenticate`."""
    given = said.get("header")
    headers = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    for name, value in headers.items():
        if sensitive(name):
            hide(value.rpartition(" ")[2])
    seconds = said.get("expires_in")
    if not isinstance(seconds, int | float) or not seconds:
        seconds = _seconds_until(said.get("expires_at"))
    href = said.get("href")
    headers = {**({} if "user-agent" in {name.lower() for name in headers} else AGENT), **headers}
    return Action(href.rstrip("/") if isinstance(href, str) else "", headers, time.monotonic() + seconds * _EARLY)


def _seconds_until(moment: Any) -> float:
    """Seconds until a time in ISO 8601; infinite if it is not one."""
    try:
        seconds = datetime.fromisoformat(moment).timestamp() - time.time()
    except (TypeError, ValueError):
        return float("inf")
    return seconds if seconds > -365 * 86_400 else float("inf")  # Go writes year 1 for no time


def _plain(message: Any) -> str:
    """A message of the server, printable and of a length that a line can hold."""
    return said({"content-type": "text/plain"}, str(message).encode("utf-8", "replace")) if message else ""


def _json_map(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
