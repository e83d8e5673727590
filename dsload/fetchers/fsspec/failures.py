"""Errors of fsspec's filesystems, which may be of any class."""

from collections.abc import Callable
from typing import TypeVar

from dsload.errors import ChangedError, DsloadError, NotFoundError, RefusedError, UnreachableError

T = TypeVar("T")

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
    except FileNotFoundError as error:
        raise NotFoundError(doing, where, "this path does not exist", "check the URI") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise changed(where, "it changed between file and directory") from error
    except PermissionError as error:
        why = (error.strerror or str(error)).lower()
        raise RefusedError(doing, where, why, "check the credentials in the secrets directory") from error
    except _BUGS as error:
        why = f"its fsspec filesystem failed ({type(error).__name__}: {error})"
        raise DsloadError(doing, where, why, "check the URI and the options") from error
    except Exception as error:
        name = type(error).__name__
        if "auth" in name.lower() or "credential" in name.lower():
            raise RefusedError(doing, where, f"{name}: {error}", "check the credentials") from error
        raise UnreachableError(doing, where, f"{name}: {error}", "check the network and the options") from error
