"""ModelScope: metadata by its API, bytes by the engine.

Protocol: /api/v1/models/ID/repo/files, which silently stops at 3,000 rows, /api/v1/datasets/ID/repo/tree, which
is paged, and …/repo?Revision=&FilePath= for the bytes; as the official client (modelscope-hub) uses them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, urlencode

from dsload.errors import BadAnswerError, DsloadError, IntegrityError, NotFoundError, RefusedError
from dsload.fetchers.base import Context
from dsload.fetchers.hubs.endpoint import Endpoint
from dsload.fetchers.hubs.hub import (
    COMMIT,
    HubFiles,
    Listed,
    Row,
    in_words,
    incomplete,
    make_listing,
    not_listed,
    read_json,
)
from dsload.fetchers.hubs.login import Login
from dsload.fetchers.hubs.spec import KINDS, Repo
from dsload.listing import Listing, Request, Response
from dsload.secrets import logger
from dsload.source import Source
from dsload.transfer.retry import refusal, status_text, to_error

log = logger(__name__)

_SITES = ("https://modelscope.cn", "https://www.modelscope.cn", "http://modelscope.cn", "http://www.modelscope.cn")
_CALLS = re.compile("/api/v1/(?:models|datasets)/")
_LISTING = {"model": "repo/files", "dataset": "repo/tree"}
_CUT = 3000  # rows of a model's listing; what comes after them is silently left out
_ROUND = 500  # rows: a mirror that cuts earlier does so at a multiple of this
_PAGE = 200  # rows of a page of a dataset's listing
_CONTENT = ("Type", "Size", "Sha256")  # of a row
_AT_ONCE = 32  # requests under way: their answers wait in memory
_DEEPEST = 64  # folders

Data = dict[str, Any]
Rows = dict[str, Data]  # by path


class ModelScope:
    """A model or dataset, or a folder or file of it, at one commit."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client, self._repo = source, context.client, cast(Repo, source.config)
        self._endpoint = Endpoint.of(self._repo, "MODELSCOPE_ENDPOINT", _SITES, _CALLS)
        self._login = Login(context.secrets, "MODELSCOPE_API_TOKEN", cookie="m_session_id")
        self._api = f"{self._endpoint}/api/v1/{KINDS[self._repo.kind]}/{quote(self._repo.id)}"
        self._revision = self._repo.revision or "master"
        self._readable = False  # whether a listing succeeded: then a 403 says nothing about the token
        self._commits: dict[str, str] = {}  # that last changed each file, if the hub states no other commit

    def list(self) -> Listing:
        """Every file of the repository at the commit that the revision stands for now.

        Raises:
            IntegrityError: the hub does not list all of it.
        """
        listing = self._client.insist(self._list)
        if listing.revision is None:
            log.warning("%s does not say which commit %s is", self._endpoint, self._revision)
        return listing

    def _list(self) -> Listing:
        self._revision = self._repo.revision or "master"
        first = self._first()
        found = self._pages(first) if self._repo.kind == "dataset" else self._walk(first)
        if not found:  # so it answers for a revision that it does not know, too
            raise self._missing("listing", str(self._source))
        files = {path: row for path, row in found.items() if row.get("Type") != "tree"}
        commit = _commit_in(self._revision) or None
        if commit is None:
            self._commits = {path: _commit_in(row.get("Revision")) for path, row in files.items()}
        rows = (Row(path, row.get("Size"), "sha256", row.get("Sha256")) for path, row in files.items())
        reader = HubFiles(self, str(self._source))
        return make_listing(Listed(rows, commit), self._repo, self._source, self._endpoint, reader)

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
        found = _dig(read_json(answer, str(self._source), known=True), "Data", "RevisionMap")
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
        """A dataset's rows: the pages that the count calls for, if the hub states one, and on until a page is not full
        or has no new row, as the count may be of files alone.
        """
        rows: Rows = {}
        total, size = _count(first), self._add(rows, first)
        page = max(1, -(-total // size)) if size else 1
        fresh = size
        for answer in self._ask(self._query(page=number) for number in range(2, page + 1)):
            if not (fresh := self._add(rows, answer)):
                break
        while fresh and (not total or fresh >= (_PAGE if page == 1 else size)):
            page += 1
            (answer,) = self._ask([self._query(page=page)])
            fresh = self._add(rows, answer)
        if len(rows) < total:
            raise incomplete(f"it has {len(rows):,} rows of {total:,}", str(self._source))
        return rows

    def _walk(self, first: Data) -> Rows:
        """A model's rows; if the hub has cut the listing, folder by folder.

        A folder that comes back cut is listed by itself, and then each of its own folders with all below them.
        """
        rows: Rows = {}
        self._add(rows, first)
        cut = [""] if _is_cut(first) else []
        for _ in range(_DEEPEST):
            if not cut:
                return rows
            inside: list[str] = []
            answers = self._ask(self._query(folder, recursive=False) for folder in cut)
            for folder, answer in zip(cut, answers, strict=True):
                self._add(rows, answer, folder)
                found = _files(answer)
                if len(found) >= _CUT:
                    why = f"{self._endpoint} stops at {_CUT:,} rows of {folder or 'its root'}"
                    raise self._never_whole(why)
                inside += [row["Path"] for row in found if row.get("Type") == "tree" and self._wants(row["Path"])]
            cut = []
            for folder, answer in zip(inside, self._ask(map(self._query, inside)), strict=True):
                self._add(rows, answer, folder)
                if not _files(answer):  # git has no empty folders
                    raise incomplete(f"nothing is in {folder}", str(self._source))
                if _is_cut(answer):
                    cut.append(folder)
        raise self._never_whole(f"its folders are more than {_DEEPEST} deep")

    def _wants(self, folder: str) -> bool:
        """Whether something below a folder may be loaded."""
        path = self._repo.path
        if not path:
            return self._source.filter.below(folder)
        if folder.startswith(path + "/"):
            return self._source.filter.below(folder[len(path) + 1 :])
        return folder == path or path.startswith(folder + "/")

    def _add(self, rows: Rows, answer: Data, folder: str = "") -> int:
        """Add the rows of a listing of a folder by path; how many are new.

        Raises:
            NotFoundError: it is not a listing.
            IntegrityError: it is one of another folder, or contradicts an earlier one.
        """
        before = len(rows)
        for row in _files(answer):
            path = row.setdefault("Path", row.get("Name")) if isinstance(row, dict) else None
            if not isinstance(path, str) or not path:
                raise not_listed(str(self._source), self._endpoint)
            if folder and not path.startswith(folder + "/"):
                raise self._never_whole(f"{self._endpoint} lists {path[:200]} as below {folder}")
            other = rows.setdefault(path, row)
            if [other.get(name) for name in _CONTENT] != [row.get(name) for name in _CONTENT]:
                raise self._never_whole(f"{self._endpoint} has two different rows for {path[:200]}")
        return len(rows) - before

    def _never_whole(self, why: str) -> IntegrityError:
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
                except BadAnswerError:
                    yield self._client.insist(partial(self._again, request))
                self._readable = True

    def _again(self, request: Request) -> Data:
        return self._data(self._client.fetch(self._get(request.url), "listing", str(self._source)))

    def _data(self, answer: Response) -> Data:
        """What an answer holds. An error may come as one of status 200.

        Raises:
            BadAnswerError: the error will pass. A 403 does if a listing succeeded before: the hub answers so now
                and then to those who may read it.
        """
        where = str(self._source)
        renewed = answer.status in (401, 403) and self._login.renew(self._login.token)
        if renewed or (answer.status == 403 and self._readable):
            why = f"{refusal(answer, str(self._endpoint)).reason} in the middle of a listing"
            raise BadAnswerError("listing", where, why, "run the same command again")
        if answer.status >= 300:
            failure = refusal(answer, str(self._endpoint))
            raise self.explain(answer, "listing", where) or to_error(failure, "listing", where)
        body = read_json(answer, where, self._readable)
        if isinstance(body, dict) and (body.get("Success") is False or body.get("Code", 200) != 200):
            raise self._refusal(answer, str(body.get("Code")), where)
        data = body.get("Data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise not_listed(where, self._endpoint)
        return data

    def _get(self, url: str) -> Request:
        stand_in, renew = self._endpoint.stand_in, partial(self._login.renew, self._login.token)
        return Request(url, headers=self._login.headers, stand_in=stand_in, refused=renew)

    def request(self, path: str) -> Request:
        """The GET for a file, which may go on to a storage host without the token."""
        revision = self._commits.get(path) or self._revision
        query = urlencode({"Revision": revision, "FilePath": path}, quote_via=quote, errors="surrogateescape")
        return self._get(f"{self._api}/repo?{query}")

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The one place where ModelScope's answers become dsload's errors."""
        if answer.status == 404:
            return self._missing(doing, where, in_words(answer))
        if answer.status in (401, 403):
            return self._refused(doing, where, status_text(answer.status), in_words(answer))
        return None

    def _refusal(self, answer: Response, code: str, where: str) -> DsloadError:
        """The error that an answer of status 200 is."""
        words = in_words(answer) or f" (code {code})"
        if _PASSING.fullmatch(code):
            why = f"{self._endpoint} answered with an error{words}"
            return BadAnswerError("listing", where, why, "run the same command again")
        if code.startswith(_MISSING):
            return self._missing("listing", where, words)
        return self._refused("listing", where, "with an error", words)

    def _missing(self, doing: str, where: str, words: str = "") -> NotFoundError:
        repo, hidden = (
            self._repo,
            "this token may not see it" if self._login.token else "it is private, and no token was given",
        )
        why = f"{self._endpoint} has no {repo.kind} {repo.id} at revision {self._revision!r}, or {hidden}{words}"
        return NotFoundError(doing, where, why, "check namespace, name, repoType and revision, and the token")

    def _refused(self, doing: str, where: str, status: str, words: str) -> RefusedError:
        if self._login.token:
            why, fix = (
                f"{self._endpoint} refused the token: {status}{words}",
                "check the token in the secrets directory",
            )
        else:
            why = f"{self._endpoint} answered {status}, and no token was given{words}"
            fix = "put one in the secrets directory"
        return RefusedError(doing, where, why, fix)


_PASSING = re.compile(r"429|5\d\d")
_MISSING = ("404", "10010205", "10990101")  # the hub's own codes for what does not exist begin like this


def _files(data: Data) -> list[Any]:
    files = data.get("Files")
    return files if isinstance(files, list) else []


def _count(data: Data) -> int:
    """The number of rows that the hub states, 0 if it states none."""
    total = data.get("TotalCount")
    return total if type(total) is int else 0


def _is_cut(data: Data) -> bool:
    """Whether a listing of a folder and all below it may have been cut."""
    rows = len(_files(data))
    return rows >= _CUT or rows < _count(data) or (rows > 0 and rows % _ROUND == 0)


def _dig(value: Any, *names: str) -> Any:
    """What lies at these names in nested maps, None if nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _commit_in(value: Any) -> str:
    return value if isinstance(value, str) and COMMIT.fullmatch(value) else ""
