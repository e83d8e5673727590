"""ModelScope: metadata by its API, bytes by the engine.

Protocol: /api/v1/models/ID/repo/files, which silently stops at 3,000 rows, /api/v1/datasets/ID/repo/tree, which
is paged, and …/repo?Revision=&FilePath= for the bytes; as the official client (modelscope-hub) uses them.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, urlencode

from dsload.errors import (
    ChangedError,
    DsloadError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from dsload.fetchers.base import Context
from dsload.fetchers.hubs.hub import (
    COMMIT,
    HubFiles,
    endpoint_of,
    make_entry,
    make_listing,
    read_json,
)
from dsload.fetchers.hubs.spec import KINDS, Repo
from dsload.listing import Listing, Request, Response
from dsload.secrets import bearer, hide, logger
from dsload.source import Source
from dsload.transfer.retry import Failure, status_text, to_error

log = logger(__name__)

HOME = "https://modelscope.cn"
_SITES = (HOME, "https://www.modelscope.cn", "http://modelscope.cn", "http://www.modelscope.cn")
_LISTING = {"model": "repo/files", "dataset": "repo/tree"}
_CUT = 3000  # rows of a model's listing; what comes after them is silently left out
_PAGE = 200  # rows of a page of a dataset's listing
_AT_ONCE = 32  # requests under way: their answers wait in memory
_DEEPEST = 64  # folders

Data = dict[str, Any]
Rows = dict[str, Data]  # by path


class ModelScope:
    """A model or dataset, or a folder or file of it, at one commit."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client, self._repo = source, context.client, cast(Repo, source.config)
        self._endpoint = endpoint_of(self._repo, "MODELSCOPE_ENDPOINT", HOME)
        self._token = context.secrets.token or os.environ.get("MODELSCOPE_API_TOKEN", "").strip()
        hide(self._token)
        self._headers = {}
        if self._token:
            self._headers = {"Authorization": bearer(self._token), "Cookie": f"m_session_id={self._token}"}
        self._mirrors = tuple((site, self._endpoint) for site in _SITES) if self._endpoint not in _SITES else ()
        self._api = f"{self._endpoint}/api/v1/{KINDS[self._repo.kind]}/{quote(self._repo.id)}"
        self._revision = self._repo.revision or "master"
        self._readable = False  # whether a listing succeeded: then a 403 says nothing about the token
        self._commits: dict[str, str] = {}  # that last changed each file, if the hub states no other commit

    def list(self) -> Listing:
        """Every file of the repository at the commit that the revision stands for now.

        Raises:
            IntegrityError: the hub does not list all of it.
        """
        first = self._first()
        rows = self._pages(first) if self._repo.kind == "dataset" else self._walk(first)
        if not rows:  # so it answers for a revision that it does not know, too
            raise self._missing("listing", str(self._source))
        files = {path: row for path, row in rows.items() if row.get("Type") != "tree"}
        commit = _commit_in(self._revision) or None
        if commit is None:
            log.warning("%s does not say which commit %s is", self._endpoint, self._revision)
            self._commits = {path: _commit_in(row.get("Revision")) for path, row in files.items()}
        reader = HubFiles(self, str(self._source))
        entries = (
            make_entry(path, row.get("Size"), "sha256", row.get("Sha256"), reader) for path, row in files.items()
        )
        return make_listing(entries, self._repo, self._source, self._endpoint, commit)

    # The revision

    def _first(self) -> Data:
        """The first answer of the listing; from then on the revision is the commit that it is of."""
        (first,) = self._ask([self._query()])
        if COMMIT.fullmatch(self._revision):
            return first
        if commit := _commit_in(_dig(first, "LatestCommitter", "Id")):
            self._revision = commit
        elif commit := self._commit():
            self._revision = commit
            (first,) = self._ask([self._query()])
        return first

    def _commit(self) -> str:
        """The commit that the list of branches and tags has for the revision, "" if it has none."""
        answer = self._client.fetch(self._get(f"{self._api}/revisions"), "listing", str(self._source))
        if answer.status >= 300:
            return ""
        found = _dig(read_json(answer, str(self._source)), "Data", "RevisionMap")
        refs = [ref for kind in ("Branches", "Tags") for ref in _dig(found, kind) or ()]
        commits = (_commit_in(_dig(ref, "CommitId")) for ref in refs if _dig(ref, "Revision") == self._revision)
        return next(filter(None, commits), "")

    # The listing

    def _query(self, folder: str = "", recursive: bool = True, page: int = 1) -> dict[str, str]:
        query = {"Revision": self._revision, "Recursive": str(recursive)}
        if self._repo.kind == "dataset":
            query |= {"PageNumber": str(page), "PageSize": str(_PAGE)}
        return query | ({"Root": folder} if folder else {})

    def _pages(self, first: Data) -> Rows:
        """A dataset's rows, page by page, to the count that the hub states; else until a page has no new row."""
        rows = _rows(first)
        total = first.get("TotalCount")
        if isinstance(total, int) and rows:
            pages = range(2, -(-total // len(first["Files"])) + 1)
            for answer in self._ask(self._query(page=page) for page in pages):
                rows |= _rows(answer)
            if len(rows) != total:
                why = f"its listing has {len(rows):,} rows of {total:,}"
                raise ChangedError("listing", str(self._source), why, "run the same command again")
            return rows
        page, more = 1, bool(rows)
        while more:
            page += 1
            (answer,) = self._ask([self._query(page=page)])
            before = len(rows)
            rows |= _rows(answer)
            more = len(rows) > before
        return rows

    def _walk(self, first: Data) -> Rows:
        """A model's rows; if the hub has cut the listing, folder by folder.

        A folder that comes back cut is listed by itself, and then each of its own folders with all below them.
        """
        rows = _rows(first)
        cut = [""] if len(rows) >= _CUT else []
        for _ in range(_DEEPEST):
            if not cut:
                return rows
            inside: list[str] = []
            answers = self._ask(self._query(folder, recursive=False) for folder in cut)
            for folder, answer in zip(cut, answers, strict=True):
                found = _rows(answer)
                if len(found) >= _CUT:
                    why = f"{self._endpoint} stops at {_CUT:,} rows of {folder or 'its root'}"
                    raise self._incomplete(why)
                rows |= found
                inside += [path for path, row in found.items() if row.get("Type") == "tree"]
            cut = []
            for folder, answer in zip(inside, self._ask(map(self._query, inside)), strict=True):
                rows |= (found := _rows(answer))
                if len(found) >= _CUT:
                    cut.append(folder)
        raise self._incomplete(f"its folders are more than {_DEEPEST} deep")

    def _incomplete(self, why: str) -> IntegrityError:
        fix = "load it from another hub, or by GIT"
        return IntegrityError("listing", str(self._source), f"the listing is not complete: {why}", fix)

    # Requests

    def _ask(self, queries: Iterable[Mapping[str, str]]) -> Iterator[Data]:
        """The listings for some queries, in their order, several at once."""
        pending = iter(queries)
        while some := list(islice(pending, _AT_ONCE)):
            requests = [self._get(f"{self._api}/{_LISTING[self._repo.kind]}?{urlencode(query)}") for query in some]
            answers = self._client.fetch_all(requests, "listing", str(self._source))
            for request, answer in zip(requests, answers, strict=True):
                try:
                    yield self._data(answer)
                except UnreachableError:
                    yield self._client.insist(partial(self._again, request))
                self._readable = True

    def _again(self, request: Request) -> Data:
        return self._data(self._client.fetch(request, "listing", str(self._source)))

    def _data(self, answer: Response) -> Data:
        """What an answer holds. An error may come as one of status 200.

        Raises:
            UnreachableError: the error will pass. A 403 does if a listing succeeded before: the hub answers so now
                and then to those who may read it.
        """
        where = str(self._source)
        if answer.status == 403 and self._readable:
            why = f"{self._endpoint} answered {status_text(403)} in the middle of a listing"
            raise UnreachableError("listing", where, why, "run the same command again")
        if answer.status >= 300:
            failure = Failure(f"{self._endpoint} answered {status_text(answer.status)}", response=answer)
            raise self.explain(answer, "listing", where) or to_error(failure, "listing", where)
        body = read_json(answer, where)
        if isinstance(body, dict) and (body.get("Success") is False or body.get("Code", 200) != 200):
            raise self._refusal(body, "listing", where)
        data = body.get("Data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            why = f"{self._endpoint} answers with something that is not a listing"
            raise NotFoundError("listing", where, why, "check that the endpoint is a hub's")
        return data

    def _get(self, url: str) -> Request:
        return Request(url, headers=self._headers, mirrors=self._mirrors)

    def request(self, path: str) -> Request:
        """The GET for a file, which may go on to a storage host without the token."""
        revision = self._commits.get(path) or self._revision
        query = urlencode({"Revision": revision, "FilePath": path}, quote_via=quote, errors="surrogateescape")
        return self._get(f"{self._api}/repo?{query}")

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The one place where ModelScope's answers become dsload's errors."""
        if answer.status == 404:
            return self._missing(doing, where)
        if answer.status in (401, 403):
            return self._refused(doing, where, status_text(answer.status))
        return None

    def _refusal(self, body: Data, doing: str, where: str) -> DsloadError:
        code, said = str(body.get("Code")), str(body.get("Message"))
        if _PASSING.fullmatch(code):
            why = f"{self._endpoint} answered {said} (code {code})"
            return UnreachableError(doing, where, why, "run the same command again")
        if code.startswith(_MISSING):
            return self._missing(doing, where)
        return self._refused(doing, where, f"{said} (code {code})")

    def _missing(self, doing: str, where: str) -> NotFoundError:
        hidden = "this token may not see it" if self._token else "it is private, and no token was given"
        why = f"{self._endpoint} has no {self._repo.kind} {self._repo.id} at revision {self._revision!r}, or {hidden}"
        return NotFoundError(doing, where, why, "check namespace, name, repoType and revision, and the token")

    def _refused(self, doing: str, where: str, said: str) -> RefusedError:
        if self._token:
            why, fix = f"{self._endpoint} refused the token: {said}", "check the token in the secrets directory"
        else:
            why, fix = f"{self._endpoint} answered {said}, and no token was given", "put one in the secrets directory"
        return RefusedError(doing, where, why, fix)


_PASSING = re.compile(r"429|5\d\d")
_MISSING = ("404", "10010205", "10990101")  # the hub's own codes for what does not exist begin like this


def _rows(data: Data) -> Rows:
    """The rows of a listing by path."""
    files = data.get("Files") or []
    return {row.get("Path") or row.get("Name") or "": row for row in files if isinstance(row, dict)}


def _dig(value: Any, *names: str) -> Any:
    """What lies at these names in nested maps, None if nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _commit_in(value: Any) -> str:
    return value if isinstance(value, str) and COMMIT.fullmatch(value) else ""
