"""Hugging Face and its mirrors: metadata by the Hub's API, bytes by the engine.

Protocol: the Hub API (/api/{models|datasets|spaces}/ID/revision/REV and …/tree/REV, pages by Link as of RFC 8288), and
/ID/resolve/REV/PATH, which redirects to a storage host for files that are kept by LFS.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, urljoin, urlsplit

from dsload.errors import (
    BadAnswerError,
    DsloadError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
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
    read_rows,
)
from dsload.fetchers.hubs.links import links
from dsload.fetchers.hubs.login import Login
from dsload.fetchers.hubs.spec import KINDS, Repo
from dsload.listing import Listing, Request, Response
from dsload.secrets import logger
from dsload.source import Source
from dsload.transfer.exchange import never
from dsload.transfer.retry import refusal, status_text, to_error

log = logger(__name__)

_SITES = ("https://huggingface.co", "http://huggingface.co", "https://hf.co", "https://www.huggingface.co")
_URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_CALLS = re.compile(
    r"/(?:api/(?:models|datasets|spaces|resolve-cache)/|(?:datasets/|spaces/)?[^/]+(?:/[^/]+)?/resolve/)"
)
_ALL = "recursive=True&expand=False"
_PAGE = 1000  # rows of a page
_TREE = re.compile(r".*/api/(?:models|datasets|spaces)/.+/tree/.+")


class HuggingFace:
    """A model, dataset or space, or a folder or file of it, at one commit."""

    def __init__(self, source: Source, context: Context) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            why = "it forbids every request to the hub"
            raise UsageError("reading", "variable HF_HUB_OFFLINE", why, "unset it to load from there")
        self._source, self._client, self._repo = source, context.client, cast(Repo, source.config)
        self._endpoint = Endpoint.of(self._repo, "HF_ENDPOINT", _SITES, _CALLS)
        self._login = Login(context.secrets, "HF_TOKEN")
        self._api = f"{self._endpoint}/api/{KINDS[self._repo.kind]}/{quote(self._repo.id)}"
        self._revision = self._repo.revision or "main"
        self._known = False  # whether the hub's API has answered

    def list(self) -> Listing:
        """Every file of the repository at the commit that the revision stands for now."""
        listing = self._client.insist(self._list)
        if listing.revision is None:
            log.warning("%s does not say which commit %s is", self._endpoint, self._revision)
        return listing

    def _list(self) -> Listing:
        return make_listing(self._listed(), self._repo, self._source, self._endpoint, HubFiles(self, str(self._source)))

    def _listed(self) -> Listed:
        self._revision = self._repo.revision or "main"
        if COMMIT.fullmatch(self._revision):
            commit, rows, named = self._revision, self._tree(), self._named_at_commit()
        elif (found := self._named())[0]:
            commit, named = found
            self._revision = commit
            rows = self._tree()
        else:  # a mirror that does not know that call
            rows, named = self._tree(), frozenset[str]()
            if commit := self._commit_of(rows):
                self._revision = commit
                rows = self._tree()
        if not named:
            self._check_links(rows)
        return Listed(rows, commit or None, named)

    # The revision

    def _named(self) -> tuple[str, frozenset[str]]:
        """The commit that the revision stands for, "" if a mirror does not say, and the paths that it has there.

        Only an answer with the hub's own error code is final: a mirror may lack this call. Of a very large repository
        not every path is named.
        """
        answer = self._get(f"{self._api}/revision/{quote(self._revision, safe='')}")
        if answer.status >= 300:
            if "x-error-code" in answer.headers:
                self._good(answer)
            return "", frozenset()
        found = read_json(answer, str(self._source), self._known)
        found = found if isinstance(found, dict) else {}
        commit, siblings = found.get("sha"), found.get("siblings")
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            return "", frozenset()
        if COMMIT.fullmatch(self._revision) and commit != self._revision:
            why = f"{self._endpoint} answers with commit {commit} for {self._revision}"
            raise BadAnswerError("listing", str(self._source), why, "run the same command again")
        self._known = True
        names = (
            (row.get("rfilename") for row in siblings if isinstance(row, dict)) if isinstance(siblings, list) else ()
        )
        return commit, frozenset(name for name in names if isinstance(name, str))

    def _named_at_commit(self) -> frozenset[str]:
        """The paths that the hub names for a commit that can be listed; none if a mirror does not say."""
        try:
            return self._named()[1]
        except (NotFoundError, RefusedError, UnreachableError) as error:
            log.warning("%s does not name the files of %s (%s)", self._endpoint, self._revision, error.why)
            return frozenset()

    def _commit_of(self, rows: Sequence[Row]) -> str:
        """The commit that the answer for a file states; of a small file, as no storage host answers for that."""
        plain = (row for row in rows if row.algorithm == "gitblob" and self._source.filter(row.path))
        for row in islice(plain, 1):
            request = self.request(row.path)
            first = replace(request, headers={**request.headers, "Range": "bytes=0-0"})
            answer = self._client.fetch(first, "asking for the commit of", str(self._source), body=never)
            commit = answer.headers.get("x-repo-commit", "")
            if answer.status < 300 and COMMIT.fullmatch(commit):
                return commit
        return ""

    # The listing

    def _tree(self) -> Sequence[Row]:
        """The files of all pages.

        Raises:
            IntegrityError: the pages lead in circles or elsewhere, or contradict each other.
        """
        url, query = f"{self._api}/tree/{quote(self._revision, safe='')}", _ALL
        rows: dict[str, Row] = {}
        folders: set[str] = set()
        while query:
            page = self._good(self._get(f"{url}?{query}"))
            before = len(rows) + len(folders)
            self._add(read_rows(page, str(self._source), self._known), rows, folders)
            query = self._next_query(page)
            if query and len(rows) + len(folders) == before:
                raise self._astray("form a loop")
        return [*rows.values()]

    def _check_links(self, rows: Sequence[Row]) -> None:
        """See that links to next pages arrive, if a listing may have been cut for want of one and nothing else tells.

        Raises:
            BadAnswerError: a page of one row names no next one.
        """
        if len(rows) < _PAGE:
            return
        page = self._good(self._get(f"{self._api}/tree/{quote(self._revision, safe='')}?{_ALL}&limit=1"))
        if len([*read_rows(page, str(self._source), self._known)]) == 1 and not self._next_query(page):
            raise incomplete(f"{self._endpoint} does not link to a next page", str(self._source))

    def _add(self, page: Iterable[Any], rows: dict[str, Row], folders: set[str]) -> None:
        """Add a page's files and folders to those of the pages before it."""
        for given in page:
            if not isinstance(given, dict) or not isinstance(given.get("path"), str):
                raise not_listed(str(self._source), self._endpoint)
            self._known, row = True, _row(given)
            if given.get("type") == "directory":
                folders.add(row.path)
            elif rows.setdefault(row.path, row) != row:
                raise self._astray(f"have two different rows for {row.path}")

    def _next_query(self, page: Response) -> str:
        """The query of the next page, "" if this is the last. Its host is left out of it: a mirror may hand on links to
        the hub itself, or to where it is behind a proxy.
        """
        for link in links(page.headers.get("link", ""), "next"):
            parts = urlsplit(urljoin(page.url, link))
            if not _TREE.fullmatch(parts.path) or not parts.query:
                raise self._astray(f"go on at {link[:200]}, which is not a page of the listing")
            return parts.query
        return ""

    def _astray(self, why: str) -> IntegrityError:
        fix = "report it to whoever maintains the hub"
        return IntegrityError("listing", str(self._source), f"the pages of {self._endpoint} {why}", fix)

    # Requests

    def request(self, path: str) -> Request:
        """The GET for a file, which goes on to the storage host without the token."""
        name = quote(path, safe="/~", errors="surrogateescape")
        prefix = f"{self._endpoint}/{_URL_PREFIX[self._repo.kind]}{quote(self._repo.id)}"
        url = f"{prefix}/resolve/{quote(self._revision, safe='')}/{name}"
        return self._asking(url)

    def _asking(self, url: str) -> Request:
        stand_in, renew = self._endpoint.stand_in, partial(self._login.renew, self._login.token)
        return Request(url, headers=self._login.headers, stand_in=stand_in, refused=renew)

    def _get(self, url: str) -> Response:
        sent = self._login.token
        answer = self._client.fetch(self._asking(url), "listing", str(self._source))
        if answer.status in (401, 403) and self._login.renew(sent):
            return self._client.fetch(self._asking(url), "listing", str(self._source))
        return answer

    def _good(self, answer: Response) -> Response:
        if answer.status < 300:
            return answer
        where = str(self._source)
        raise self.explain(answer, "listing", where) or to_error(refusal(answer, str(self._endpoint)), "listing", where)

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The one place where the Hub's error codes (X-Error-Code) become dsload's."""
        repo, code, words = self._repo, answer.headers.get("x-error-code", ""), in_words(answer)
        page = f"{self._endpoint}/{_URL_PREFIX[repo.kind]}{repo.id}"
        if code == "GatedRepo":
            if not self._login.token:
                fix = f"accept its terms at {page}, then put a token of that account in the secrets directory"
                return RefusedError(doing, where, f"the repository is gated, and no token was given{words}", fix)
            why = f"the repository is gated, and this token's account has no access to it{words}"
            return RefusedError(doing, where, why, f"ask for it at {page}")
        if code == "RepoNotFound":
            hidden = "this token may not see it" if self._login.token else "it is private, and no token was given"
            why = f"{self._endpoint} has no {repo.kind} {repo.id} at revision {self._revision!r}, or {hidden}{words}"
            return NotFoundError(doing, where, why, "check owner, name, repoType and revision, and the token")
        if code in ("RevisionNotFound", "EntryNotFound"):
            why = f"the {repo.kind} {repo.id} has no revision {self._revision!r}{words}"
            return NotFoundError(doing, where, why, "give a branch, tag or commit by -o revision=…")
        if answer.status == 401 and not self._login.token:
            why = f"{self._endpoint} answered {status_text(401)}, and no token was given{words}"
            return RefusedError(doing, where, why, "check owner and name, or put a token in the secrets directory")
        if answer.status in (401, 403) and self._login.token:
            why = f"{self._endpoint} refused the token: {status_text(answer.status)}{words}"
            return RefusedError(doing, where, why, "check the token in the secrets directory (or HF_TOKEN)")
        return None


def _row(row: dict[str, Any]) -> Row:
    path, lfs = row.get("path"), row.get("lfs")
    if row.get("type") != "file":
        return Row(path, None, "gitblob", None)  # make_listing() refuses it if it is selected
    if isinstance(lfs, dict):
        return Row(path, lfs.get("size", row.get("size")), "sha256", lfs.get("oid"))
    return Row(path, row.get("size"), "gitblob", row.get("oid"))
