"""Secrets mounted as files, and the net that keeps them out of everything a person may read."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from dsload.errors import UsageError

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
PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418, "file": 0}  # of a URL that states none

_known: set[str] = set()


@dataclass(frozen=True, slots=True)
class Secrets:
    """The values of the secrets directory, "" where a file is missing; ca_crt and known_hosts are paths."""

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


def read_secrets(directory: str | Path = DEFAULT_DIRECTORY) -> Secrets:
    """Read a mounted Secret. A missing directory or file is fine; white space at the ends is dropped.

    Raises:
        UsageError: a file is there and cannot be read.
    """
    values = {}
    for name, attribute in _FILES.items():
        path = Path(directory) / name
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError("reading the secret", str(path), str(why), "check its permissions and content") from None
        values[attribute] = str(path) if attribute in ("ca_crt", "known_hosts") else text
        if attribute not in _PUBLIC:
            hide(text)
    secrets = Secrets(**values)
    if secrets.password:
        basic(secrets.username, secrets.password)  # which hides it, whoever may send it
    return secrets


def basic(username: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617). It is hidden from here on: the password can be read in it."""
    value = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    hide(value)
    return f"Basic {value}"


def bearer(token: str) -> str:
    """The value of an Authorization header (RFC 6750). Raises UsageError where the token cannot be one."""
    if re.search(r"\s", token):
        raise UsageError("reading", "the secret token", "it holds white space", "it has to be one word")
    return f"Bearer {token}"


def authorization(secrets: Secrets) -> str:
    """The value of an Authorization header for username and password, else for the token; "" without either."""
    if secrets.username and secrets.password:
        return basic(secrets.username, secrets.password)
    return bearer(secrets.token) if secrets.token else ""


def hide(value: str) -> None:
    """Never show this value from here on, nor any line of it."""
    for line in (value, *value.splitlines()):
        if len(line) >= _SHORTEST:
            _known.update({line, quote(line, safe="")})


def sensitive(name: str) -> bool:
    """Whether a header, option or query parameter of this name is likely to hold a secret."""
    return bool(_SENSITIVE_NAME.search(name))


def redact(text: str) -> str:
    """A text without any hidden value."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, "***")
    return text


def public_uri(uri: str) -> str:
    """A URI without user info, and with the values of its query hidden where their names say so."""
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
