"""Hugging Face and its mirrors: metadata by the Hub's API, bytes by the engine.

Protocol: the Hub API (/api/{models|datasets|spaces}/ID/revision/REV and …/tree/REV, pages by Link as of RFC 8288), and
/ID/resolve/REV/PATH, which redirects to a storage host for files that are kept by LFS.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, urlsplit

from dsload.errors import DsloadError, IntegrityError, NotFoundError, RefusedError, UsageError
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
from dsload.listing import Entry, Listing, Request, Response
from dsload.secrets import bearer, hide, logger
from dsload.source import Source
from dsload.transfer.retry import Failure, status_text, to_error

log = logger(__name__)

HOME = "https://huggingface.co"
_SITES = (HOME, "http://huggingface.co", "https://hf.co", "https://www.huggingface.co")
_URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next\b')


class HuggingFace:
    """A model, dataset or space, or a folder or file of it, at one commit."""

    def __init__(self, source: Source, context: Context) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            why = "it forbids every request to the hub"
            raise UsageError("reading", "variable HF_HUB_OFFLINE", why, "unset it to load from there")
        self._source, self._client, self._repo = source, context.client, cast(Repo, source.config)
        self._endpoint = endpoint_of(self._repo, "HF_ENDPOINT", HOME)
        self._token = context.secrets.token or os.environ.get("HF_TOKEN", "").strip()
        hide(self._token)
        self._headers = {"Authorization": bearer(self._token)} if self._token else {}
        self._mirrors = tuple((site, self._endpoint) for site in _SITES) if self._endpoint not in _SITES else ()
        self._api = f"{self._endpoint}/api/{KINDS[self._repo.kind]}/{quote(self._repo.id)}"
        self._revision = self._repo.revision or "main"

    def list(self) -> Listing:
        """Every file of the repository at the commit that the revision stands for now."""
        if commit := self._commit():
            self._revision = commit
            return self._listing(self._tree(), commit)
        entries = [*self._tree()]  # of a mirror that does not know that call
        if commit := self._commit_of(entries):
            self._revision = commit
            return self._listing(self._tree(), commit)
        log.warning("%s does not say which commit %s is", self._endpoint, self._revision)
        return self._listing(entries, None)

    def _listing(self, entries: Iterable[Entry], commit: str | None) -> Listing:
        return make_listing(entries, self._repo, self._source, self._endpoint, commit)

    # The revision

    def _commit(self) -> str:
        """The commit that the revision stands for, "" if a mirror does not say.

        Only an answer with the hub's own error code is final: a mirror may lack this call.
        """
        if COMMIT.fullmatch(self._revision):
            return self._revision
        answer = self._get(f"{self._api}/revision/{quote(self._revision, safe='')}")
        if answer.status >= 300:
            if "x-error-code" in answer.headers:
                self._good(answer)
            return ""
        found = read_json(answer, str(self._source))
        commit = found.get("sha") if isinstance(found, dict) else None
        return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else ""

    def _commit_of(self, entries: Sequence[Entry]) -> str:
        """The commit that the answer for a file states; of a small file, as no storage host answers for that."""
        plain = [entry for entry in entries if entry.checksum and entry.checksum.algorithm == "gitblob"]
        for entry in plain[:1]:
            head = replace(self.request(entry.path), method="HEAD")
            answer = self._client.fetch(head, "asking for the commit of", str(self._source))
            commit = answer.headers.get("x-repo-commit", "")
            if answer.status < 300 and COMMIT.fullmatch(commit):
                return commit
        return ""

    # The listing

    def _tree(self) -> Iterator[Entry]:
        reader = HubFiles(self, str(self._source))
        query, asked = "recursive=True&expand=False", set[str]()
        while query:
            if query in asked:
                why = f"the pages of {self._endpoint} form a loop"
                raise IntegrityError("listing", str(self._source), why, "report it to whoever maintains the hub")
            asked.add(query)
            page = self._good(self._get(f"{self._api}/tree/{quote(self._revision, safe='')}?{query}"))
            rows = read_json(page, str(self._source))
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                why = f"{self._endpoint} answers with something that is not a listing"
                raise NotFoundError("listing", str(self._source), why, "check that the endpoint is a hub's")
            yield from (_entry(row, reader) for row in rows if row.get("type") == "file")
            query = _next_query(page)

    # Requests

    def request(self, path: str) -> Request:
        """The GET for a file, which goes on to the storage host without the token."""
        name = quote(path, safe="/~", errors="surrogateescape")
        prefix = f"{self._endpoint}/{_URL_PREFIX[self._repo.kind]}{quote(self._repo.id)}"
        url = f"{prefix}/resolve/{quote(self._revision, safe='')}/{name}"
        return Request(url, headers=self._headers, mirrors=self._mirrors)

    def _get(self, url: str) -> Response:
        request = Request(url, headers=self._headers, mirrors=self._mirrors)
        return self._client.fetch(request, "listing", str(self._source))

    def _good(self, answer: Response) -> Response:
        if answer.status < 300:
            return answer
        where = str(self._source)
        failure = Failure(f"{self._endpoint} answered {status_text(answer.status)}", response=answer)
        raise self.explain(answer, "listing", where) or to_error(failure, "listing", where)

    def explain(self, answer: Response, doing: str, where: str) -> DsloadError | None:
        """The one place where the Hub's error codes (X-Error-Code) become dsload's."""
        repo, said = self._repo, answer.headers.get("x-error-message", "")
        page = f"{self._endpoint}/{_URL_PREFIX[repo.kind]}{repo.id}"
        code = answer.headers.get("x-error-code", "")
        if code == "GatedRepo":
            if not self._token:
                fix = f"accept its terms at {page}, then put a token of that account in the secrets directory"
                return RefusedError(doing, where, "the repository is gated, and no token was given", fix)
            why = "the repository is gated, and this token's account has no access to it"
            return RefusedError(doing, where, why, f"ask for it at {page}")
        if code == "RepoNotFound":
            hidden = "this token may not see it" if self._token else "it is private, and no token was given"
            why = f"{self._endpoint} has no {repo.kind} {repo.id} at revision {self._revision!r}, or {hidden}"
            return NotFoundError(doing, where, why, "check owner, name, repoType and revision, and the token")
        if code in ("RevisionNotFound", "EntryNotFound"):
            why = f"the {repo.kind} {repo.id} has no revision {self._revision!r}"
            return NotFoundError(doing, where, why, "give a branch, tag or commit by -o revision=…")
        if answer.status == 401 and not self._token:
            why = f"{self._endpoint} answered {status_text(401)}, and no token was given"
            return RefusedError(doing, where, why, "check owner and name, or put a token in the secrets directory")
        if answer.status in (401, 403) and self._token:
            why = f"{self._endpoint} refused the token: {said or status_text(answer.status)}"
            return RefusedError(doing, where, why, "check the token in the secrets directory (or HF_TOKEN)")
        return None


def _next_query(page: Response) -> str:
    """The query of the next page. Its host is left out of it: a mirror may hand on links to the hub itself."""
    match = _NEXT.search(page.headers.get("link", ""))
    return urlsplit(match[1]).query if match else ""


def _entry(row: dict[str, Any], reader: HubFiles) -> Entry:
    lfs = row.get("lfs")
    if isinstance(lfs, dict):
        return make_entry(row.get("path"), lfs.get("size", row.get("size")), "sha256", lfs.get("oid"), reader)
    return make_entry(row.get("path"), row.get("size"), "gitblob", row.get("oid"), reader)
