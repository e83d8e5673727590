"""GIT's row in the registry, and how its URIs and options are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dsload.errors import UsageError
from dsload.fetchers.git.location import SCP, Location, parse_location
from dsload.fetchers.reading import check_uri
from dsload.registry import Reading, Spec, is_installed
from dsload.source import read_flag

FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # ids of commits, of sha1 and sha256
SHORT = re.compile(r"[0-9a-f]{4,63}")
_TYPED = ("https", "http", "file")  # schemes that are taken if TYPE is given
_NOT_A_FLAG = "not true or false"
_DEEPEST = 10  # submodules in each other


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a repository is wanted.

    Args:
        branch: branch or tag, or a ref in full such as refs/pull/7/head; "" for HEAD.
        commit: its id, in full or abbreviated; "" for the branch's.
        depth: commits of history that keepGit keeps; 0 for all.
        submodules: how deep.
        lfs: whether LFS objects are loaded rather than their pointers.
        keep: whether `.git` is loaded too.
    """

    branch: str = ""
    commit: str = ""
    depth: int = 1
    submodules: int = 0
    lfs: bool = True
    keep: bool = False


@dataclass(frozen=True, slots=True)
class GitConfig:
    """A repository, and what of it is wanted."""

    location: Location
    wish: Wish


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URL of a repository, in any form that git takes, and options. Raises UsageError."""
    if "://" in uri:
        check_uri(uri, SPEC.type, (*SPEC.schemes, *_TYPED))
    wish = read_wish(options)
    config = GitConfig(parse_location(uri.partition("?")[0]), wish)
    return Reading(config, undivided="GIT with keepGit" if wish.keep else "")


def read_wish(options: Mapping[str, str]) -> Wish:
    """Read the options. Raises UsageError."""
    branch, commit = options.get("branch", ""), options.get("commit", "").lower()
    if commit and not (FULL.fullmatch(commit) or SHORT.fullmatch(commit)):
        branch, commit = options["commit"], ""  # a tag, as `git checkout` of the original data-loader took it
    depth = options.get("depth", "") or "1"
    if not (depth.isascii() and depth.isdecimal()):
        raise UsageError("reading", "option depth", f"{depth!r} is not a number", "0 stands for the whole history")
    return Wish(
        branch,
        commit,
        int(depth),
        _levels(options.get("submodules", "").lower()),
        read_flag("lfs", options.get("lfs", "true"), _NOT_A_FLAG),
        read_flag("keepGit", options.get("keepGit", ""), _NOT_A_FLAG),
    )


def _levels(submodules: str) -> int:
    if submodules == "recursive":
        return _DEEPEST
    return int(read_flag("submodules", submodules, "not true, false or recursive"))


def claims(uri: str) -> bool:
    """Whether a URI without a TYPE is a repository's: its own schemes, `….git`, `user@host:path`."""
    scheme = urlsplit(uri).scheme.lower()
    web = scheme in ("http", "https") and urlsplit(uri).path.rstrip("/").endswith(".git")
    scp = SCP.fullmatch(uri)
    return web or scheme in SPEC.schemes or bool(scp and scp["user"])


def _needs() -> Mapping[str, str]:
    hint = "" if is_installed("paramiko") else SPEC.hint
    return {"ssh": hint, "git+ssh": hint}


SPEC = Spec(
    "GIT",
    ("git", "git+https", "git+http", "git+ssh", "git+file", "ssh"),
    "dsload.fetchers.git.fetcher:Git",
    {
        "branch": "branch or tag",
        "commit": "its id, in full or abbreviated; or a tag",
        "depth": "commits of history that keepGit keeps; 1 if not given, 0 for all",
        "submodules": "true or recursive",
        "lfs": "false to keep the pointers of Git LFS",
        "keepGit": "true to load .git too",
        "repoType": "kept for Datasets that were written for a hub; without effect",
    },
    read,
    claims=claims,
    forms=("http[s]://….git", "user@host:path"),
    extra="ssh",
    needs=_needs,
    revision_option="commit",
)
