"""GIT: a branch, tag or commit becomes one commit, its tree a listing; nothing but the working tree is loaded."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from dsload.errors import DsloadError, NotFoundError, RefusedError, UsageError
from dsload.fetchers.base import Context
from dsload.fetchers.folders import left_out, to_exclude
from dsload.fetchers.git.dotgit import dot_git
from dsload.fetchers.git.folder import module_folder
from dsload.fetchers.git.lfs import LfsObjects
from dsload.fetchers.git.location import Location, parse_location
from dsload.fetchers.git.remote import Remote
from dsload.fetchers.git.settings import Submodule, read_submodules
from dsload.fetchers.git.spec import FULL, GitConfig, Wish
from dsload.fetchers.git.store import PackStore, Store
from dsload.fetchers.git.tree import (
    LFS_CONFIG,
    MODULES,
    Blobs,
    Tree,
    lacking_content,
    lacking_settings,
    make_entries,
    read_tree,
)
from dsload.fetchers.git.verdict import Unadvertised
from dsload.listing import Entry, Listing
from dsload.names import from_disk
from dsload.report import count
from dsload.secrets import Secrets, logger
from dsload.source import Source

log = logger(__name__)
logging.getLogger("dulwich").addHandler(logging.NullHandler())  # else its warnings go to stderr

_EVERYTHING = ("HEAD", "refs/heads/", "refs/tags/")


class Git:
    """The GIT fetcher."""

    def __init__(self, source: Source, context: Context) -> None:
        self._where, self._context = str(source), context
        config = cast(GitConfig, source.config)
        self._location, self._wish, self._filter = config.location, config.wish, source.filter
        self._held: Mapping[str, Entry] = {}
        self._closed: list[str] = []  # submodules that a pattern excludes by their path

    def list(self) -> Listing:
        """The working tree of one commit."""
        wish = self._wish
        remote = self._remote(self._location, self._context.secrets, self._where)
        held = self._context.held()
        ref, commit = resolve(remote, wish, held.revision or "" if held else "")
        if held and held.whole and held.revision == commit:
            return Listing(held.entries, commit)
        self._held = {entry.path: entry for entry in held.entries} if held and not wish.keep else {}
        repo = _Repo(remote, remote.location, "")
        store, tree = self._get(repo, commit, wish)
        entries = list(self._checkout(repo, store, tree, ref, wish.submodules))
        if wish.keep:
            assert isinstance(store, PackStore)
            entries += dot_git(store, commit, ref, remote.location)
        return Listing(entries, commit, closed=tuple(self._closed))

    def _get(self, repo: "_Repo", commit: str, wish: Wish) -> tuple[Store, Tree]:
        """A commit's tree, and a store with what is selected of it; asked for again if the server sends too little."""

        def get() -> tuple[Store, Tree]:
            store = get_commit(repo.remote, commit, wish, slim=bool(self._held))
            tree = read_tree(store, store.root(commit), repo.prefix, self._filter)
            store = self._complete(repo.remote, store, commit, tree, repo.prefix)
            missing = [*lacking_settings(tree, store), *lacking_content(tree, store, repo.prefix, self._held)]
            if missing:
                raise store.lacks(f"{count(len(missing), 'object is', 'objects are')} missing, such as {missing[0]}")
            return store, tree

        return self._context.client.insist(get)

    def _remote(self, location: Location, secrets: Secrets, where: str) -> Remote:
        return Remote(location, secrets, self._context.client, where)

    def _checkout(self, repo: "_Repo", store: Store, tree: Tree, ref: str, levels: int) -> Iterator[Entry]:
        """The entries of a tree, and of its submodules, that the filter selects."""
        remote, prefix = repo.remote, repo.prefix
        objects = LfsObjects(remote, lambda: _content(store, tree, LFS_CONFIG), ref) if self._wish.lfs else None
        yield from make_entries(tree, store, prefix, objects, self._held)
        wanted = {path for path, _ in tree.submodules if levels and self._wants(prefix + from_disk(path))}
        known = read_submodules(_content(store, tree, MODULES), remote.where) if wanted else {}
        for path, id in tree.submodules:
            below = prefix + from_disk(path)
            module = known.get(path, Submodule("", "", ""))
            if path not in wanted or module.update == "none":
                yield Entry(below, 0, id, Blobs(store), directory=True)
                continue
            if not module.url:
                why = f"{below} is a submodule, but .gitmodules does not say where it comes from"
                fix = f"fix the commit, or leave it out by {to_exclude(below)}"
                raise NotFoundError("listing", remote.where, why, fix)
            yield from self._submodule(repo, module, below, id, levels)

    def _complete(self, remote: Remote, store: Store, commit: str, tree: Tree, prefix: str) -> Store:
        """A store with the content that the target does not hold, if it was left out so far."""
        if not self._held or not isinstance(store, PackStore):
            return store
        try:
            for lacking in (lacking_settings(tree, store), lacking_content(tree, store, prefix, self._held)):
                if ids := sorted(set(lacking)):
                    remote.fetch(ids, 0, store=store)
        except Unadvertised as error:
            log.info("%s: the server does not give single objects (%s); fetching the whole commit", remote.where, error)
            return remote.fetch([commit], 1)
        return store

    def _submodule(self, repo: "_Repo", module: Submodule, path: str, commit: str, levels: int) -> Iterator[Entry]:
        where = f"the submodule {path} of {self._where}"
        base = _locate(repo.base, module.url, where)
        inner = self._fetched(repo.remote, module, commit, where)
        inner = inner or self._remote(base, self._secrets_for(base), where)
        below = _Repo(inner, base, f"{path}/")
        try:
            store, tree = self._get(below, commit, Wish(commit=commit))
        except (NotFoundError, RefusedError) as error:
            error.fix = f"{error.fix}; or leave it out by {to_exclude(path)}"
            raise
        yield from self._checkout(below, store, tree, "", levels - 1)

    def _wants(self, path: str) -> bool:
        """Whether a submodule is selected, as far as its path says."""
        if left_out(self._filter, path):
            self._closed.append(path)
            return False
        return self._filter.below(path)

    def _fetched(self, parent: Remote, module: Submodule, commit: str, where: str) -> Remote | None:
        """A submodule as a clone on this machine keeps it, if that has the commit."""
        folder = module_folder(parent.location.path, module.name) if parent.location.scheme == "file" else ""
        if not folder:
            return None
        found = self._remote(Location("file", "", 0, folder), Secrets(), where)
        try:
            store = found.open()
            return found if store and store.root(commit) else None
        except (KeyError, DsloadError):
            return None

    def _secrets_for(self, location: Location) -> Secrets:
        """The secrets, if they are for this server."""
        secrets = self._context.secrets
        if location.same_site(self._location) or location == self._location:
            return secrets
        return Secrets(ca_crt=secrets.ca_crt, known_hosts=secrets.known_hosts)


@dataclass(frozen=True, slots=True)
class _Repo:
    """A repository whose commit is listed.

    Args:
        remote: where it is read.
        base: what relative URLs of its submodules start from.
        prefix: of its paths.
    """

    remote: Remote
    base: Location
    prefix: str


def resolve(remote: Remote, wish: Wish, before: str) -> tuple[str, str]:
    """The ref that is wanted, in full ("" for none), and the commit.

    Args:
        before: the commit of the previous load; an abbreviated id that it begins with still stands for it.

    Raises:
        NotFoundError: it does not exist.
        UsageError: an abbreviated commit id stands for several.
    """
    if FULL.fullmatch(wish.commit):
        return "", wish.commit
    if wish.commit:
        return "", before if before.startswith(wish.commit) else _expand(remote, wish.commit)
    names = _ref_names(wish.branch)
    refs = remote.refs(names)
    for name in names:
        if commit := refs.get(f"{name}^{{}}") or refs.get(name, ""):
            return remote.head if name == "HEAD" else name, commit
    raise _no_branch(remote, wish.branch)


def _ref_names(branch: str) -> list[str]:
    if not branch:
        return ["HEAD"]
    if branch.startswith("refs/"):
        return [branch]
    return [f"refs/heads/{branch}", f"refs/tags/{branch}"]


def _no_branch(remote: Remote, branch: str) -> NotFoundError:
    if not branch:
        why = "it has no HEAD: it is empty, or its HEAD names a branch that does not exist"
        return NotFoundError("resolving", remote.where, why, "give option branch")
    known = [name.split("/", 2)[2] for name in remote.refs(_EVERYTHING[1:]) if not name.endswith("^{}")]
    close = get_close_matches(branch, known, 3) or sorted(known)[:5]
    has = f"it has {', '.join(close)}" if close else "it is empty"
    return NotFoundError("resolving", remote.where, f"it has no branch or tag {branch!r}", has)


def _expand(remote: Remote, short: str) -> str:
    """The full id of an abbreviated one, for which all of the history has to be known."""
    log.info("%s: looking for the commit %s in all branches and tags; a full id would avoid that", remote.where, short)
    ids = sorted(set(remote.refs(_EVERYTHING).values()))
    store = remote.open() or (remote.fetch(ids, 0, "tree:0") if ids else None)
    found = store.commits(short) if store else []
    if len(found) > 1:
        why = f"{short!r} stands for {len(found)} commits: {', '.join(found[:5])}"
        raise UsageError("reading", "option commit", why, "give more of it")
    if not found:
        why = f"no branch or tag contains a commit {short!r}"
        raise NotFoundError("resolving", remote.where, why, "give the full id")
    return found[0]


def get_commit(remote: Remote, commit: str, wish: Wish, slim: bool) -> Store:
    """A store that has a commit and its tree.

    Args:
        slim: whether the content of files may be left out.

    Raises:
        NotFoundError: the server does not have it.
        BadAnswerError: the server sends something else.
    """
    folder = None if wish.keep else remote.open()
    try:
        store = folder or remote.fetch([commit], wish.depth if wish.keep else 1, "blob:none" if slim else "")
    except Unadvertised as error:
        log.info("%s: the server does not give the bare commit %s (%s)", remote.where, commit[:12], error)
        return _search(remote, commit, wish)
    try:
        store.root(commit)
    except KeyError as error:
        if not folder:
            raise store.lacks(f"the commit {commit} is missing") from error
        return _search(remote, commit, wish)
    return store


def _search(remote: Remote, commit: str, wish: Wish) -> Store:
    """The branches with all of their history: the one that is named or HEAD first, then all."""
    refs = remote.refs(_EVERYTHING)
    first = next((refs[name] for name in _ref_names(wish.branch) if name in refs), "")
    others = sorted(set(refs.values()) - {first})
    for ids in ([first] if first else [], others):
        if ids:
            store = remote.fetch(ids, 0)
            try:
                store.root(commit)
                return store
            except KeyError:
                continue
    why = f"no branch or tag contains the commit {commit}"
    raise NotFoundError("resolving", remote.where, why, "check the id, and that it was pushed")


def _content(store: Store, tree: Tree, path: bytes) -> bytes:
    id = tree.settings.get(path)
    return store.read(id) if id else b""


def _locate(parent: Location, url: str, where: str) -> Location:
    """Where a submodule is. A folder on this machine is allowed only if the repository is one itself."""
    if url.startswith(("./", "../")) or url in (".", ".."):
        return parent.relative(url)
    if url.startswith("/") and parent.scheme == "file":
        return Location("file", "", 0, url)
    try:
        location = parse_location(url)
    except DsloadError as error:
        raise NotFoundError("listing", where, error.why, "fix .gitmodules, or leave submodules out") from error
    if location.scheme == "file" and parent.scheme != "file":
        why = f"its URL is a folder on this machine ({url})"
        raise NotFoundError("listing", where, why, "fix .gitmodules, or leave submodules out")
    return location
