"""Errors of fsspec's filesystems, which may be of any class."""

from collections.abc import Callable, Iterator
from socket import EAI_NONAME, gaierror
from ssl import SSLCertVerificationError
from typing import TypeVar

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError, UnreachableError

T = TypeVar("T")

_MOST_CAUSES = 50
_BUGS = (TypeError, ValueError, LookupError, AttributeError, NotImplementedError, AssertionError)


def changed(where: str, why: str) -> ChangedError:
    """The error for a file or folder that is not as it was listed."""
    return ChangedError("reading", where, why, "run the same command again")


def mapped(doing: str, where: str, call: Callable[[], T]) -> T:
    """The one place where the errors of fsspec's filesystems become dsload's."""
    try:
        return call()
    except DsloadError:
        raise
    except Exception as error:
        raise _meaning(error, doing, where) from error


def _meaning(error: Exception, doing: str, where: str) -> DsloadError:
    name = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return NotFoundError(doing, where, "this path does not exist", "check the URI")
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return changed(where, "it changed between file and directory")
    if isinstance(error, PermissionError):
        why = (error.strerror or str(error)).lower()
        return RefusedError(doing, where, why, "check the credentials in the secrets directory")
    if any(isinstance(each, SSLCertVerificationError) for each in _causes(error)):  # which is a ValueError, too
        why, fix = f"its certificate is not trusted ({error})", "add its authority by SSL_CERT_FILE or an option"
        return RefusedError(doing, where, why, fix)
    if isinstance(error, _BUGS):
        why = f"its fsspec filesystem failed ({name}: {error})"
        return DsloadError(doing, where, why, "check the URI and the options")
    if "auth" in name.lower() or "credential" in name.lower():
        return RefusedError(doing, where, f"{name}: {error}", "check the credentials")
    return UnreachableError(doing, where, f"{name}: {error}", "check the network and the options")


def host_is_unknown(error: BaseException) -> bool:
    """Whether an error is one of DNS, which knows no such host."""
    return any(isinstance(each, gaierror) and each.errno == EAI_NONAME for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was made of: libraries wrap them in several ways."""
    pending, seen = [error], set[int]()
    while pending and len(seen) < _MOST_CAUSES:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (each.__cause__, each.__context__, getattr(each, "reason", None), getattr(each, "os_error", None))
        pending += [other for other in (*inner, *each.args) if isinstance(other, BaseException)]
