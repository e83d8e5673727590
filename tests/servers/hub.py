"""A model hub: the HTTP APIs of Hugging Face and ModelScope over the same repositories, and the storage behind them.

with Hub() as hub:
    repo = hub.repo("owner/name")
    repo.put_all({"config.json": b"{}", "model.safetensors": Virtual(5_000_000)})
    ...  # HF_ENDPOINT=hub.url MODELSCOPE_ENDPOINT=hub.url
    hub.storage.order(storage_path(repo.files["model.safetensors"]), close(1000))
    hub.order("/api/v1/models/owner/name/repo", status(503), when=lambda r: "config" in r.target)

What each hub answers is taken from its official client (huggingface_hub 2.4, modelscope_hub 0.5) and, where that does
not tell, from what others recorded of the live hubs. The fault `change` is not for a hub: put into the repository.
"""

import dataclasses
import functools
import hashlib
import json
import re
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from itertools import count, islice
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode

from tests.servers.fault import FIRST_MODIFIED, FaultServer, _Answer, answer_file
from tests.servers.orders import Body, Fault, File, Virtual, digest
from tests.servers.storage import SigningStorage
from tests.servers.threaded import Request
from tests.servers.tls import CA

Kind = Literal["model", "dataset", "space"]
LFS_SIZE = 1 << 20  # files of that size go to LFS unless told otherwise
DEFAULT_BRANCHES = ("main", "master")  # one branch, by the name that each hub gives it
RIGHT = -1  # as a TotalCount: the right one
EXPANDED_PAGE = 50  # Hugging Face's pages are smaller with expand=true
ACCESS_DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


# Repositories


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file of a commit."""

    path: str
    body: Body
    lfs: bool
    sha256: str  # of the body
    oid: str  # of the git blob: the body, or the pointer to it
    pointer_size: int
    commit: str  # the one that last changed the file
    date: int

    @property
    def size(self) -> int:
        return len(self.body)


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of a commit."""

    path: str
    oid: str  # of the git tree
    commit: str  # the one that last changed something below
    date: int


@dataclass(frozen=True)
class Commit:
    """An immutable state of a repository."""

    id: str
    date: int
    files: Mapping[str, RepoFile]

    @functools.cached_property
    def folders(self) -> dict[str, list[RepoFile | Folder]]:
        """What is directly in each folder, in git's order; the root's path is empty."""
        nested: dict[str, Any] = {}
        for path, file in self.files.items():
            *parents, name = path.split("/")
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = file
        folders: dict[str, list[RepoFile | Folder]] = {"": []}
        _add_folder(folders, "", nested)
        return folders

    def rows(self, folder: str = "", recursive: bool = True) -> Iterator[RepoFile | Folder]:
        """What is in a folder, each folder before what it holds; KeyError where there is none."""
        for row in self.folders[folder]:
            yield row
            if recursive and isinstance(row, Folder):
                yield from self.rows(row.path)


class Repo:
    """A git-like repository; each change is a commit on its default branch, newest last in `commits`."""

    def __init__(self, kind: Kind, id: str) -> None:
        self.kind, self.id = kind, id
        self.private = False
        self.gated = False
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}  # name -> commit id
        self.tags: set[str] = set()  # those of the refs that are tags
        self._commit(f"{kind} {id}", {})

    @property
    def head(self) -> str:
        """The id of the newest commit."""
        return next(reversed(self.commits))

    @property
    def files(self) -> Mapping[str, RepoFile]:
        """Those of the newest commit, by path."""
        return self.commits[self.head].files

    def put(self, path: str, body: Body, lfs: bool | None = None) -> str:
        """Commit a file, in LFS if told or large, and return the commit's id."""
        return self.put_all({path: body}, lfs)

    def put_all(self, bodies: Mapping[str, Body], lfs: bool | None = None) -> str:
        """Commit several files at once."""
        made = [_git_file(path, body, lfs) for path, body in bodies.items()]
        change = "".join(f"{file.oid} {file.path}\n" for file in made)
        id, date = self._next(change)
        changed = {file.path: dataclasses.replace(file, commit=id, date=date) for file in made}
        return self._commit(change, {**self.files, **changed})

    def remove(self, *paths: str) -> str:
        """Commit that files are gone."""
        left = {path: file for path, file in self.files.items() if path not in paths}
        assert len(left) == len(self.files) - len(paths), paths
        return self._commit("".join(f"- {path}\n" for path in paths), left)

    def branch(self, name: str) -> None:
        """Point a branch, or a ref such as refs/pr/1, at head."""
        self.refs[name] = self.head

    def tag(self, name: str) -> None:
        """Point a tag at head."""
        self.refs[name] = self.head
        self.tags.add(name)

    def commit(self, revision: str | None) -> Commit | None:
        """The commit of a branch, tag, other ref or commit id; None stands for the default branch."""
        name = (revision or "main").removeprefix("refs/heads/").removeprefix("refs/tags/")
        if name in self.refs:
            name = self.refs[name]
        elif name in DEFAULT_BRANCHES:
            name = self.head
        return self.commits.get(name)

    def _next(self, change: str) -> tuple[str, int]:
        """The id and date of the commit that a change makes of head."""
        parent = self.head if self.commits else ""
        id = hashlib.sha1(f"{parent}\n{change}".encode("utf-8", "surrogateescape")).hexdigest()
        return id, FIRST_MODIFIED + 60 * len(self.commits)

    def _commit(self, change: str, files: Mapping[str, RepoFile]) -> str:
        id, date = self._next(change)
        self.commits[id] = Commit(id, date, files)
        return id


def _git_file(path: str, body: Body, lfs: bool | None) -> RepoFile:
    lfs = len(body) >= LFS_SIZE if lfs is None else lfs
    sha256 = _virtual_sha256(body) if isinstance(body, Virtual) else digest(body).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(body)}\n".encode()
    return RepoFile(path, body, lfs, sha256, _git_oid("blob", pointer if lfs else body[:]), len(pointer), "", 0)


@functools.cache
def _virtual_sha256(body: Virtual) -> str:
    return digest(body).hexdigest()


def _git_oid(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def _add_folder(folders: dict[str, list[RepoFile | Folder]], path: str, nested: dict[str, Any]) -> Folder:
    """Put a folder of nested dictionaries, and those below, among the folders."""
    rows = folders[path] = []
    tree = b""
    for name in sorted(nested, key=lambda name: f"{name}/" if isinstance(nested[name], dict) else name):
        inner = nested[name]
        below = f"{path}/{name}" if path else name
        rows.append(_add_folder(folders, below, inner) if isinstance(inner, dict) else inner)
        mode = "40000" if isinstance(inner, dict) else "100644"
        tree += f"{mode} {name}\0".encode("utf-8", "surrogateescape") + bytes.fromhex(rows[-1].oid)
    newest = max(rows, key=lambda row: row.date, default=None)
    return Folder(path, _git_oid("tree", tree), newest.commit if newest else "", newest.date if newest else 0)


# The storage


def storage_path(file: RepoFile) -> str:
    """The path of a file on the storage, for `order` and `requests`."""
    return f"/lfs/{file.sha256}"


class Storage(SigningStorage):
    """The host of LFS objects: it serves /lfs/<sha256> to whom the hub has signed for it, else 403.

    Without a range it serves no object of more than `whole` bytes, as the bridge of Hugging Face does above 50 GB.
    """

    def __init__(self, *, tls: CA | None = None, rate: float | None = None) -> None:
        self.whole: int | None = None
        self._objects: dict[str, File] = {}
        self._count = count()
        super().__init__(tls=tls, rate=rate)

    def sign(self, file: RepoFile, requests: int | None = None) -> str:
        """A new URL of a file, good for so many requests; None for any number."""
        path = storage_path(file)
        signature = hashlib.md5(f"{path} {next(self._count)}".encode(), usedforsecurity=False).hexdigest()
        with self._lock:
            if path not in self._objects:
                etag = hashlib.md5(f"{self.port} {path}".encode(), usedforsecurity=False).hexdigest()  # each host's own
                self._objects[path] = File(file.body, f'"{etag}"', formatdate(FIRST_MODIFIED, usegmt=True), {})
            self._signed[signature] = path, requests  # that are left
        return f"{self.url}{path}?{_expiry()}&Signature={signature}"

    def _answer(self, path: str, request: Request, fault: Fault) -> _Answer:
        self._note(request)
        if fault.status is not None or request.method not in ("GET", "HEAD"):
            return super()._answer(path, request, fault)
        if not self._allowed(path, _query(request).get("Signature", "")):
            return _Answer(403, {"Content-Type": "application/xml"}, ACCESS_DENIED)
        if self.whole is not None and len(self._objects[path].body) > self.whole and "range" not in request.headers:
            return _Answer(400, {"Content-Type": "text/plain"}, b"Range header required for a file of this size")
        return answer_file(self._objects[path], request.headers, ignore_range=fault.ignore_range)

    def _allowed(self, path: str, signature: str) -> bool:
        with self._lock:
            signed, left = self._signed.get(signature, ("", None))
            if left is not None:
                self._signed[signature] = signed, left - 1
        return signed == path and left != 0


def _expiry() -> str:
    return f"Expires={int(time.time()) + 3600}"


# The hub


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks of the hub."""

    request: Request
    query: dict[str, str]
    token: str | None
    ignore_range: bool  # by order


@dataclass(eq=False)
class _RefusedError(Exception):
    """Why the hub gives nothing; each API says it in its own way."""

    status: int
    message: str
    code: str | None = None  # X-Error-Code of Hugging Face
    commit: str | None = None  # X-Repo-Commit


class Hub(FaultServer):
    """Both hubs on one port, each repository on both, and their storage on another.

    Its attributes may be set at any time:

    - tokens: which repositories each access token may read; ``*`` is all of them.
    - page: how many entries a page of Hugging Face's tree has.
    - cut: how many entries ModelScope's listing of a model's files has at most; there is no sign of it.
    - counts: ModelScope states a TotalCount for a model's files too.
    - total: the TotalCount of ModelScope, if it is not to be the right one; None for none.
    - signed_for: each URL of the storage is good for so many requests; None for any number.
    - envelope_errors: ModelScope says its errors with status 200 and ``"Success": false``.
    - home_host: as a careless mirror's, links to next pages lead to this host, and plain files of Hugging Face
      redirect to /api/resolve-cache there; "" redirects on this host, as huggingface.co itself does.
    - prefix: the path that the hub lies behind, as at a proxy that takes it away: the hub itself does not know of it,
      and links and redirects do not have it.
    - link: makes the lines of the header Link of the URL of a next page.
    - lacks: what the hub does not have, of

      - revision: Hugging Face's /api/.../revision/... (a 404 that is not the API's),
      - commit: X-Repo-Commit, and the Id of ModelScope's LatestCommitter (empty, ShortId is there),
      - links: links to next pages,
      - range: whole ranges of ModelScope's plain files: ``bytes=a-b`` answers 200 with Content-Range and the part,
        ``bytes=a-`` all of the file, as seen at modelscope.cn,
      - unknown: errors for revisions that ModelScope does not know: it lists no files, as seen there too.
    """

    def __init__(
        self, *, tls: CA | None = None, rate: float | None = None, storage_url: str | None = None,
        signed_for: int | None = None,
    ) -> None:  # fmt: skip
        self.tokens: dict[str, set[str]] = {}
        self.page, self.cut = 1000, 3000
        self.counts = False
        self.total: int | None = RIGHT
        self.signed_for = signed_for
        self.envelope_errors = False
        self.home_host: str | None = None
        self.prefix = ""
        self.link: Callable[[str], list[str]] = lambda url: [f'<{url}>; rel="next"']
        self.lacks: set[str] = set()
        self.storage_url = storage_url
        self._repos: dict[tuple[str, str], Repo] = {}
        super().__init__(tls=tls, rate=rate, index=False)
        if storage_url is None:
            self.storage = Storage(tls=tls, rate=rate)

    def repo(self, id: str, kind: Kind = "model") -> Repo:
        """A repository by its id, such as owner/name; made when first asked for."""
        return self._repos.setdefault((kind, id), Repo(kind, id))

    def expire_signatures(self) -> None:
        """Make every URL of the storage invalid that was given so far."""
        self.storage.expire()

    def clear(self) -> None:
        """Forget the requests and the orders, those of the storage too; repositories and signatures stay."""
        super().clear()
        if self.storage_url is None:
            self.storage.clear()

    def stop(self) -> None:
        """Stop the storage too."""
        try:
            super().stop()
        finally:
            if self.storage_url is None:
                self.storage.stop()

    def _answer(self, path: str, request: Request, fault: Fault) -> _Answer:
        raw = request.target.partition("?")[0]
        if not raw.startswith(f"{self.prefix}/"):
            return _Answer(404, {"Content-Type": "text/html"}, b"<html>nothing is here</html>")
        raw = raw.removeprefix(self.prefix)
        if fault.status is None and request.method in ("GET", "HEAD"):
            for pattern, answer, refuse in _ROUTES:
                if found := pattern.fullmatch(raw):
                    asked = _Asked(request, _query(request), _token(request), fault.ignore_range)
                    parts = [part and unquote(part, errors="surrogateescape") for part in found.groups()]
                    try:
                        return answer(self, asked, *parts)
                    except _RefusedError as error:
                        return refuse(self, error)
        return super()._answer(path, request, fault)

    def _may_read(self, token: str | None, repo: Repo) -> bool:
        return not self.tokens.get(token or "", set()).isdisjoint({"*", repo.id})

    def _stored(self, file: RepoFile) -> str:
        """A new URL of a file on the storage."""
        if self.storage_url is None:
            return self.storage.sign(file, self.signed_for)
        return f"{self.storage_url}{file.sha256}?{_expiry()}&Signature={uuid.uuid4().hex}"

    # Hugging Face

    def _hf_repo(self, asked: _Asked, kinds: str | None, id: str) -> Repo:
        repo = self._repos.get(((kinds or "models").removesuffix("s"), id))
        if asked.token is not None and asked.token not in self.tokens:
            raise _RefusedError(401, "Invalid credentials in Authorization header")
        if repo is None or (repo.private and not self._may_read(asked.token, repo)):
            if asked.token is None:
                raise _RefusedError(401, "Invalid username or password.")
            raise _RefusedError(404, "Repository not found", "RepoNotFound")
        return repo

    def _hf_commit(self, repo: Repo, revision: str | None) -> Commit:
        if commit := repo.commit(revision):
            return commit
        raise _RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def _hf_info(self, asked: _Asked, kinds: str, id: str, revision: str | None) -> _Answer:
        if revision and "revision" in self.lacks:
            return _Answer(404, {"Content-Type": "text/plain"}, b"Not Found")
        repo = self._hf_repo(asked, kinds, id)
        commit = self._hf_commit(repo, revision)
        blobs = asked.query.get("blobs", "").lower() == "true"
        dates = {"createdAt": _iso(FIRST_MODIFIED), "lastModified": _iso(commit.date)}
        flags = {"private": repo.private, "gated": repo.gated and "auto", "disabled": False}
        counts: dict[str, Any] = {"downloads": 0, "likes": 0, "tags": []}
        siblings = [_hf_sibling(file, blobs) for file in commit.files.values()]
        author = {"author": id.split("/")[0]} if "/" in id else {}
        return _json({"id": id, "sha": commit.id, **author, **dates, **flags, **counts, "siblings": siblings})

    def _hf_tree(self, asked: _Asked, kinds: str, id: str, revision: str, folder: str | None) -> _Answer:
        repo = self._hf_repo(asked, kinds, id)
        commit = self._hf_commit(repo, revision)
        folder = (folder or "").rstrip("/")
        if folder not in commit.folders:
            raise _RefusedError(404, f"{folder} does not exist on {revision}", "EntryNotFound", commit.id)
        query = {"expand": "false", "recursive": "false", "limit": str(self.page)} | asked.query
        expand = query["expand"].lower() == "true"
        start = int(urlsafe_b64decode(query.pop("cursor", "MA==")))
        size = min(int(query["limit"]), self.page, EXPANDED_PAGE if expand else self.page)
        rows = list(islice(commit.rows(folder, query["recursive"].lower() == "true"), start, start + size + 1))
        headers: dict[str, str | None] = {**self._with_commit(commit)}
        if len(rows) > size and "links" not in self.lacks:
            query["cursor"] = urlsafe_b64encode(str(start + size).encode()).decode()
            path = asked.request.target.partition("?")[0].removeprefix(self.prefix)
            lines = self.link(f"{self.home_host or self.url}{path}?{urlencode(query)}")
            headers["Link"] = "\r\nLink: ".join(lines)
        return _json([_hf_row(row, expand) for row in rows[:size]], headers)

    def _hf_refs(self, asked: _Asked, kinds: str, id: str) -> _Answer:
        repo = self._hf_repo(asked, kinds, id)
        refs: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        for name, commit in ({"main": repo.head} | repo.refs).items():
            if name.startswith("refs/pr/"):
                group, ref = "pullRequests", name
            elif name in repo.tags:
                group, ref = "tags", f"refs/tags/{name}"
            else:
                group, ref = "branches", f"refs/heads/{name}"
            refs[group].append({"name": name.removeprefix("refs/pr/"), "ref": ref, "targetCommit": commit})
        return _json(refs)

    def _hf_whoami(self, asked: _Asked) -> _Answer:
        if asked.token not in self.tokens:
            raise _RefusedError(401, "Invalid username or password.")
        token = {"displayName": "test", "role": "read"}
        return _json({"type": "user", "id": "1", "name": "user", "orgs": [], "auth": {"accessToken": token}})

    def _hf_harnesses(self, asked: _Asked) -> _Answer:
        """The coding agents that huggingface_hub looks for."""
        return _json({"standardEnvVars": [], "harnesses": {}})

    def _hf_file(self, asked: _Asked, kinds: str | None, id: str, revision: str, path: str) -> _Answer:
        repo = self._hf_repo(asked, kinds, id)
        if repo.gated and not self._may_read(asked.token, repo):
            text = f"Access to {repo.kind} {id} is restricted"
            if asked.token is None:
                text += ". You must have access to it and be authenticated to access it. Please log in."
                raise _RefusedError(401, text, "GatedRepo")
            text += f" and you are not in the authorized list. Visit {self.url}/{id} to ask for access."
            raise _RefusedError(403, text, "GatedRepo")
        commit = self._hf_commit(repo, revision)
        file = commit.files.get(path)
        if file is None:
            raise _RefusedError(404, "Entry not found", "EntryNotFound", commit.id)
        headers: dict[str, str | None] = {"ETag": f'"{file.oid}"', **self._with_commit(commit)}
        if file.lfs:
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
            return _redirect(302, self._stored(file), headers)
        if self.home_host is not None and not asked.request.target.startswith(f"{self.prefix}/api/resolve-cache/"):
            cached = quote(f"/api/resolve-cache/{repo.kind}s/{id}/{commit.id}/{path}", errors="surrogateescape")
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.oid}"'}
            return _redirect(307, self.home_host + cached, headers)
        served = File(file.body, f'"{file.oid}"', None, self._with_commit(commit))
        return answer_file(served, asked.request.headers, ignore_range=asked.ignore_range)

    def _with_commit(self, commit: Commit) -> dict[str, str]:
        return {} if "commit" in self.lacks else {"X-Repo-Commit": commit.id}

    def _hf_refuse(self, error: _RefusedError) -> _Answer:
        headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
        if error.commit and "commit" not in self.lacks:
            headers["X-Repo-Commit"] = error.commit
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'
        return _json({"error": error.message}, headers, error.status)

    # ModelScope

    def _ms_repo(self, asked: _Asked, kinds: str, id: str) -> Repo:
        repo = self._repos.get((kinds.removesuffix("s"), id))
        if repo is None:
            raise _RefusedError(404, "record not found")
        if (repo.private or repo.gated) and not self._may_read(asked.token, repo):
            known = asked.token in self.tokens
            raise _RefusedError(403 if known else 401, "access denied" if known else "user not logged in")
        return repo

    def _ms_commit(self, asked: _Asked, repo: Repo) -> Commit:
        if commit := repo.commit(asked.query.get("Revision")):
            return commit
        raise _RefusedError(404, "revision not found")

    def _ms_info(self, asked: _Asked, kinds: str, id: str) -> _Answer:
        repo = self._ms_repo(asked, kinds, id)
        owner, name = id.split("/")
        visibility = 1 if repo.private else 5
        return _envelope({"Id": 1, "Path": owner, "Name": name, "Revision": "master", "Visibility": visibility})

    def _ms_revisions(self, asked: _Asked, kinds: str, id: str) -> _Answer:
        repo = self._ms_repo(asked, kinds, id)
        branches = ["master", *(name for name in repo.refs if name not in repo.tags)]
        rows = {
            key: [{"Revision": name, "CreatedAt": FIRST_MODIFIED} for name in names]
            for key, names in {"Branches": branches, "Tags": sorted(repo.tags)}.items()
        }
        return _envelope({"RevisionMap": rows})

    def _ms_listing(self, asked: _Asked, kinds: str, id: str, call: str) -> _Answer:
        repo = self._ms_repo(asked, kinds, id)
        if "unknown" in self.lacks and not repo.commit(asked.query.get("Revision")):
            return _envelope({"Files": None, "IsVisual": 0, "LatestCommitter": None})
        commit = self._ms_commit(asked, repo)
        root = asked.query.get("Root", "").strip("/")
        if root not in commit.folders:
            raise _RefusedError(404, "path not found")
        rows = list(commit.rows(root, asked.query.get("Recursive") in ("True", "true")))
        latest = {
            "Id": "" if "commit" in self.lacks else commit.id,
            "ShortId": commit.id[:8],
            "CommittedDate": commit.date,
            "CommitterName": "user",
            "Message": "change",
        }
        data: dict[str, Any] = {"IsVisual": 0, "LatestCommitter": latest}
        if call == "tree":
            data["TotalCount"] = len(rows) if self.total == RIGHT else self.total
            size = int(asked.query.get("PageSize", 100))
            start = (int(asked.query.get("PageNumber", 1)) - 1) * size
            rows = rows[start : start + size]
        else:
            if self.counts:
                data["TotalCount"] = len(rows)
            rows = rows[: self.cut]
        return _envelope({"Files": [_ms_row(row) for row in rows], **data})

    def _ms_file(self, asked: _Asked, kinds: str, id: str) -> _Answer:
        repo = self._ms_repo(asked, kinds, id)
        file = self._ms_commit(asked, repo).files.get(asked.query.get("FilePath", ""))
        if file is None:
            raise _RefusedError(404, "file not found")
        if file.lfs:
            return _redirect(302, self._stored(file), {})
        served, wanted = File(file.body, f'"{file.oid}"', None, {}), asked.request.headers
        if "range" not in self.lacks:
            return answer_file(served, wanted, ignore_range=asked.ignore_range)
        open_ended = wanted.get("range", "").endswith("-")
        answer = answer_file(served, wanted, ignore_range=asked.ignore_range or open_ended)
        return dataclasses.replace(answer, status=200) if answer.status == 206 else answer

    def _ms_acceleration(self, asked: _Asked) -> _Answer:
        return _envelope({"EnableInternalAcceleration": False, "InternalRegionQueryAddress": ""})

    def _ms_refuse(self, error: _RefusedError) -> _Answer:
        status = 200 if self.envelope_errors else error.status
        return _envelope(None, code=10010205001, message=error.message, status=status)


_ID = "([^/]+(?:/[^/]+)?)"
_KINDS = "(models|datasets|spaces)"
_MS = "/api/v1/(models|datasets)/([^/]+/[^/]+)"
_ROUTES = [
    (re.compile(pattern), answer, Hub._ms_refuse if pattern.startswith("/api/v1") else Hub._hf_refuse)
    for pattern, answer in (
        (rf"{_MS}/repo/(files|tree)", Hub._ms_listing),
        (rf"{_MS}/repo", Hub._ms_file),
        (rf"{_MS}/revisions", Hub._ms_revisions),
        ("/api/v1/repos/internalAccelerationInfo", Hub._ms_acceleration),
        (_MS, Hub._ms_info),
        (rf"/api/resolve-cache/{_KINDS}/{_ID}/([0-9a-f]{{40}})/(.+)", Hub._hf_file),
        (rf"/api/{_KINDS}/{_ID}/tree/([^/]+)(?:/(.*))?", Hub._hf_tree),
        (rf"/api/{_KINDS}/{_ID}/refs", Hub._hf_refs),
        (rf"/api/{_KINDS}/{_ID}(?:/revision/([^/]+))?", Hub._hf_info),
        ("/api/whoami-v2", Hub._hf_whoami),
        ("/api/agent-harnesses", Hub._hf_harnesses),
        (rf"/(?:(datasets|spaces)/)?{_ID}/resolve/([^/]+)/(.+)", Hub._hf_file),
    )
]


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True, errors="surrogateescape"))


def _token(request: Request) -> str | None:
    """The access token of a request: a bearer's, or ModelScope's cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token
    found = re.search(r"(?:^|;\s*)m_session_id=([^;]*)", request.headers.get("cookie", ""))
    return found[1] if found else None


def _json(value: Any, headers: Mapping[str, str | None] | None = None, status: int = 200) -> _Answer:
    return _Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, _dumps(value))


def _envelope(data: Any, *, code: int = 200, message: str = "success", status: int = 200) -> _Answer:
    """An answer of ModelScope's API; one without data is an error."""
    request_id = str(uuid.uuid4())
    body = {"Code": code, "Data": data, "Message": message, "RequestId": request_id, "Success": code == 200}
    return _json(body, {"X-Request-Id": request_id}, status)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _redirect(status: int, location: str, headers: Mapping[str, str | None]) -> _Answer:
    text = f"Redirecting to {location}".encode()
    return _Answer(status, {"Content-Type": "text/plain; charset=utf-8", "Location": location, **headers}, text)


def _iso(date: int) -> str:
    return datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _hf_sibling(file: RepoFile, blobs: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        row |= {"size": file.size, "blobId": file.oid}
        if file.lfs:
            row["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return row


def _hf_row(row: RepoFile | Folder, expand: bool) -> dict[str, Any]:
    if isinstance(row, Folder):
        made: dict[str, Any] = {"type": "directory", "oid": row.oid, "size": 0, "path": row.path}
    else:
        made = {"type": "file", "oid": row.oid, "size": row.size, "path": row.path}
        if row.lfs:
            made["lfs"] = {"oid": row.sha256, "size": row.size, "pointerSize": row.pointer_size}
    if expand:
        made["lastCommit"] = {"id": row.commit, "title": "change", "date": _iso(row.date)}
    return made


def _ms_row(row: RepoFile | Folder) -> dict[str, Any]:
    file = row if isinstance(row, RepoFile) else None
    return {
        "CommitId": row.commit,
        "CommitMessage": "change",
        "CommittedDate": row.date,
        "CommitterName": "user",
        "InCheck": False,
        "IsLFS": file is not None and file.lfs,
        "Mode": "33188" if file else "16384",
        "Name": row.path.rpartition("/")[2],
        "Path": row.path,
        "Revision": row.commit,
        "Sha256": file.sha256 if file else "",
        "Size": file.size if file else 0,
        "Type": "blob" if file else "tree",
    }
