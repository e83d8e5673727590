"""Secrets mounted as files, and the net that keeps them out of everything a person may read.

What is hidden is held by a scope: a load, or a command. A scope ends with what it hides, so that the password of one
load is an ordinary word in the next one.
"""

import base64
import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from dsload.errors import DsloadError, UsageError
from dsload.formats.text import decoded

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_DIRECTORY = "/run/dataset/secrets"

_FILES = {
    "username": "username",
    "password": "password",
    "ssh-privatekey": "ssh_privatekey",
    "ssh-privatekey-passphrase": "ssh_privatekey_passphrase",
    "token": "token",
    "access-key": "access_key",
    "secret-key": "secret_key",
    "session-token": "session_token",
    "ca.crt": "ca_crt",
    "known_hosts": "known_hosts",
}
_PUBLIC = frozenset({"username", "access_key", "ca_crt", "known_hosts"})
_SENSITIVE_NAME = re.compile(
    r"auth|token|secret|passw|credential|cookie|signature|sig$|(^|[-_])key($|[-_])|api-?key", re.I
)
_SHORTEST = 4
_SETTLES = 3  # how often files are read again that are replaced meanwhile
PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418, "file": 0}  # of a URL that states none

_Stamp = tuple[tuple[int, int, int] | None, ...]

_scope: ContextVar[set[str] | None] = ContextVar("dsload hides", default=None)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The values of the secrets directory, "" if a file is missing; ca_crt and known_hosts are paths.

    Args:
        directory: that they were read from, "" if they were not.
        stamp: of its files when they were read.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    ssh_privatekey: str = field(default="", repr=False)
    ssh_privatekey_passphrase: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    ca_crt: str = ""
    known_hosts: str = ""
    directory: str = field(default="", repr=False, compare=False)
    stamp: "_Stamp" = field(default=(), repr=False, compare=False)

    def fresh(self) -> "Secrets":
        """The values as the files have them now: these themselves if nothing has changed, or nothing can be read.

        A mounted Secret is renewed in place, so that a token may be replaced while a load runs.
        """
        if not self.directory or _stamp(self.directory) == self.stamp:
            return self
        try:
            return read_secrets(self.directory)
        except UsageError:
            return self

    @property
    def hidden(self) -> tuple[str, ...]:
        """The values that are never to be shown."""
        login = basic(self.username, self.password).removeprefix("Basic ") if self.password else ""
        values = (getattr(self, name) for name in _FILES.values() if name not in _PUBLIC)
        return tuple(filter(None, (*values, login)))


def read_secrets(directory: str | Path = DEFAULT_DIRECTORY) -> Secrets:
    """Read a mounted Secret. A missing directory or file is fine; white space at both ends is dropped.

    Raises:
        UsageError: a file exists and cannot be read.
    """
    stamp = _stamp(directory)
    for _ in range(_SETTLES):
        values = _read_files(directory)
        before, stamp = stamp, _stamp(directory)
        if stamp == before:
            break
    secrets = Secrets(**values, directory=str(directory), stamp=stamp)
    hide(*secrets.hidden)
    return secrets


def _stamp(directory: str | Path) -> _Stamp:
    """What changes whenever a file is replaced: by another, by other content, or by a link elsewhere (`..data`)."""
    found: list[tuple[int, int, int] | None] = []
    for name in _FILES:
        try:
            status = os.stat(os.path.join(directory, name))
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except (OSError, ValueError):
            found.append(None)
    return tuple(found)


def _read_files(directory: str | Path) -> dict[str, str]:
    values = {}
    for name, attribute in _FILES.items():
        path = Path(directory) / name
        try:
            text = decoded(path.read_bytes()).replace("\r\n", "\n").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError("reading the secret", str(path), str(why), "check its permissions and content") from None
        values[attribute] = str(path) if attribute in ("ca_crt", "known_hosts") else text
    return values


def basic(username: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617). It is hidden, as the password can be read in it."""
    value = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    hide(value)
    return f"Basic {value}"


def bearer(token: str) -> str:
    """The value of an Authorization header (RFC 6750). Raises UsageError if the token cannot be one."""
    if re.search(r"\s", token):
        raise UsageError("reading", "the secret token", "it holds white space", "it has to be one word")
    return f"Bearer {token}"


def authorization(secrets: Secrets) -> str:
    """The value of an Authorization header for username and password, else for the token; "" if there is neither."""
    if secrets.username and secrets.password:
        return basic(secrets.username, secrets.password)
    return bearer(secrets.token) if secrets.token else ""


@contextlib.contextmanager
def redaction(*values: str) -> Iterator[None]:
    """Hide values, and all that hide() is given meanwhile, until the block ends; errors leave it without them.

    A scope within another hides what that one hides too.

    Args:
        values: never to be shown.
    """
    token = _scope.set(set(_scope.get() or ()))
    try:
        hide(*values)
        yield
    except BaseException as error:
        _clean(error)
        raise
    finally:
        _scope.reset(token)


def _clean(error: BaseException) -> None:
    """Take what is hidden out of an error, and of those that led to it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, DsloadError):
            each.doing, each.where, each.why, each.fix = map(redact, (each.doing, each.where, each.why, each.fix))
        each.args = tuple(redact(value) if isinstance(value, str) else value for value in each.args)
        pending += (each.__cause__, each.__context__)


def logger(name: str) -> logging.Logger:
    """A module's logger; whoever handles its records gets them without what is hidden."""
    found = logging.getLogger(name)
    found.addFilter(_redacted)
    return found


def _redacted(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), None
    return True


def carrying(work: Callable[P, T]) -> Callable[P, T]:
    """The same work for another thread, which then hides what this one hides: threads do not inherit a scope."""
    scope = _scope.get()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _scope.set(scope)
        try:
            return work(*args, **kwargs)
        finally:
            _scope.reset(token)

    return carried


def hide(*values: str) -> None:
    """Never show these values, nor any line of them, as long as the scope is open; outside of any nothing happens."""
    known = _scope.get()
    if known is None:
        return
    for value in values:
        for line in (value, *value.splitlines()):
            if len(line) >= _SHORTEST:
                known.update({line, quote(line, safe="")})


def sensitive(name: str) -> bool:
    """Whether a header, option or query parameter of this name is likely to hold a secret."""
    return bool(_SENSITIVE_NAME.search(name))


def redact(text: str) -> str:
    """A text without any hidden value."""
    for value in sorted(_scope.get() or (), key=len, reverse=True):
        if value in text:
            text = text.replace(value, "***")
    return text


def public_uri(uri: str) -> str:
    """A URI without user info, and with the values of its query hidden if their names suggest a secret."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # it could be anything, a password too
        return uri.partition(":")[0] + "://…"
    netloc = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}=***" if equals and sensitive(name) else name + equals + value
        for name, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    start = f"{parts.scheme}:" if parts.scheme else ""
    authority = f"//{netloc}" if uri[len(start) :].startswith("//") else ""
    rest = (f"?{query}" if query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return redact(f"{start}{authority}{parts.path}{rest}")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL: whom a secret is for. Raises ValueError if the URL is malformed."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme, 0)


def is_for(url: str, home: str) -> bool:
    """Whether a secret for a URL's host may go to another URL: one of the same origin, or of the same host by https on
    its usual port instead of http on its own. Raises ValueError if a URL is malformed.

    Args:
        url: where it may go.
        home: whom it is for.
    """
    theirs, ours = origin(url), origin(home)
    upgraded = ours[0] == "http" and ours[2] == PORTS["http"] and theirs == ("https", ours[1], PORTS["https"])
    return theirs == ours or upgraded
