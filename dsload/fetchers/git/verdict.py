"""What a git server's own words mean: to ask otherwise, to try again later, to check the credentials or the URL.

The protocol has one kind of error, a line of text (gitprotocol-pack(5), "error-line"), and ssh has what the server
writes to stderr. The words are those of git, GitHub, GitLab and Gitaly, Gitea, Bitbucket, Gerrit and Azure DevOps.
"""

import re
from collections.abc import Sequence

from dsload.errors import DsloadError, NotFoundError, RefusedError, UnreachableError
from dsload.formats.words import said

_UNADVERTISED = re.compile(r"not our ref|unadvertised object|want \S+ not valid", re.IGNORECASE)
_REFUSED = re.compile(
    r"permission denied|access denied|authentication (failed|required)|forbidden|not authorized|unauthorized"
    r"|could not read (username|password)|insufficient permission",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"due to load|(heavy|high) load|overload|\bbusy\b|too many|try(ing)? again|retry|temporar|unavailable|not available"
    r"|at this time|at the moment|rate.?limit|throttl|timed? ?out|timeout|deadline|internal (server |api )?error"
    r"|internal api unreachable|unreachable|maintenance|shutting down|out of memory|cannot (fork|allocate)"
    r"|resource(s)? (temporarily|exhausted)|exhausted|concurren|queue|no space left|connection (reset|closed|refused)"
    r"|broken pipe|hung up|died with|died of|corrupt|unable to (read|create)|bad object|unexpected (eof|disconnect)",
    re.IGNORECASE,
)
_MISSING = re.compile(  # counts for more than _LATER, as such a line often names the repository
    r"not found|no such|(does not|doesn't) exist|not appear to be|not a git repo|not exported|not be found|denied",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"invalid|not allowed|may be used|unknown|unsupported|not supported|disabled|only|don't have", re.IGNORECASE
)
_GARBLED = re.compile(  # dulwich's words for what is not the protocol
    r"Length of pkt read|Invalid pkt-line|unexpected (first line|number of packets)|unknown command"
    r"|invalid shallow line|Invalid content-type|Redirected from URL"
)
_NOT_SHALLOW = "server does not support shallow capability"  # dulwich's words for it
_AGAIN = "run the same command again"


class Unadvertised(Exception):
    """The server does not give a commit that none of its refs names."""


class Garbled(Exception):
    """What came is not git's protocol."""


class CannotLeaveOut(Exception):
    """The server cannot leave history out (the capability `shallow`)."""


def is_passing(words: str) -> bool:
    """Whether what a server says heals with time."""
    return bool(_LATER.search(words)) and not _REFUSED.search(words) and not _MISSING.search(words)


def of_words(words: str, where: str, ids: Sequence[str]) -> Exception:
    """The error that a line of the server means.

    Args:
        words: of the line.
        where: the source's name for messages.
        ids: that were asked for.

    Returns:
        Garbled, Unadvertised, CannotLeaveOut, UnreachableError, RefusedError or NotFoundError.
    """
    if _GARBLED.match(words):
        return Garbled(words)
    if words.startswith(_NOT_SHALLOW):
        return CannotLeaveOut(words)
    if _UNADVERTISED.search(words) or (any(id in words for id in ids) and not is_passing(words)):
        return Unadvertised(words)
    why = f"the server says: {_line(words)}"
    if is_passing(words):
        return UnreachableError("asking", where, why, _AGAIN)
    return _lasting(words, why, where)


def of_end(errors: str, where: str, ids: Sequence[str]) -> Exception:
    """The error that a server's end of the conversation means.

    Args:
        errors: what it wrote to stderr before, which may also be a greeting.
        where, ids: as of of_words().
    """
    if not errors:
        return UnreachableError("asking", where, "the server ended the conversation", _AGAIN)
    if any(kind.search(errors) for kind in (_UNADVERTISED, _REFUSED, _MISSING, _LASTING)):
        return of_words(errors, where, ids)
    why = f"the server ended the conversation; it says: {_line(errors)}"
    return UnreachableError("asking", where, why, _AGAIN)


def _lasting(words: str, why: str, where: str) -> DsloadError:
    if _REFUSED.search(words) and "not exported" not in words.lower():
        return RefusedError("asking", where, why, "check the credentials")
    return NotFoundError("asking", where, why, "check the URL")


def _line(words: str) -> str:
    return said({"content-type": "text/plain"}, words.encode("utf-8", "replace"))
