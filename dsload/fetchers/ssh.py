"""SSH: how to log in with the secrets, and how to be sure of the host."""

import base64
import contextlib
import getpass
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import paramiko

from dsload.errors import RefusedError, UsageError
from dsload.formats.text import decoded
from dsload.secrets import Secrets, logger

PORT = 22
log = logger(__name__)
logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its tracebacks go to stderr
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def login(host: str, port: int, secrets: Secrets, timeout: float) -> dict[str, Any]:
    """Options for paramiko's `SSHClient.connect`.

    Args:
        host, port: of the server.
        secrets: a private key comes before a password; without either, the SSH agent and the keys in `~/.ssh` are
            tried. With known_hosts, no other host key is accepted; without, one that `~/.ssh/known_hosts` has has to
            be the host's, and any is accepted, and logged, of a host that it does not know.
        timeout: seconds that the server may be silent.

    Raises:
        UsageError: a key or known_hosts cannot be read.
        RefusedError: known_hosts has no key of the host.
    """
    options: dict[str, Any] = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout", "channel_timeout"), timeout)
    options |= {"username": secrets.username or _myself(), "password": secrets.password or None}
    if secrets.ssh_privatekey:
        options["pkey"] = _private_key(secrets.ssh_privatekey, secrets.ssh_privatekey_passphrase)
    if secrets.ssh_privatekey or secrets.password:
        options |= {"allow_agent": False, "look_for_keys": False}
    name = host if port == PORT else f"[{host}]:{port}"  # sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"
    options["transport_factory"] = _checked(name, _known_keys(secrets.known_hosts, name))
    return options


def _myself() -> str:
    """The name of who runs this; a UID may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


@contextlib.contextmanager
def no_credentials(host: str) -> Iterator[None]:
    """Turn paramiko's error for having nothing to log in with into RefusedError."""
    try:
        yield
    except paramiko.SSHException as error:
        if str(error) != "No authentication methods available":
            raise
        fix = "add the secret ssh-privatekey or password"
        raise RefusedError("connecting to", host, "it asks for credentials, but none were given", fix) from error


def _private_key(text: str, passphrase: str) -> paramiko.PKey:
    doing, where = "reading the secret", "ssh-privatekey"
    for kind in _KEYS:
        try:
            return kind.from_private_key(io.StringIO(text + "\n"), passphrase or None)
        except paramiko.PasswordRequiredException as error:
            fix = "add the secret ssh-privatekey-passphrase"
            raise UsageError(doing, where, "it is encrypted", fix) from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue  # of another kind
    fix = "check the key, and ssh-privatekey-passphrase if it has one"
    raise UsageError(doing, where, "it is not an Ed25519, ECDSA or RSA key that its passphrase opens", fix)


def _known_keys(path: str, name: str) -> Mapping[str, paramiko.PKey]:
    """The host's keys by kind; empty if the secret is not given and the user does not know the host."""
    file = path or os.path.expanduser("~/.ssh/known_hosts")
    if not path and not os.path.isfile(file):
        return {}
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as plain:
            plain.write(decoded(Path(file).read_bytes()))
            plain.flush()
            found = paramiko.HostKeys(plain.name).lookup(name)
    except (OSError, paramiko.SSHException, ValueError) as error:
        raise UsageError("reading the secret" if path else "reading", file, str(error), "check its content") from error
    if path and not found:
        raise _unknown(name, "known_hosts has no key for this host")
    return dict(found or {})


def _checked(name: str, keys: Mapping[str, paramiko.PKey]) -> type[paramiko.Transport]:
    """A transport that asks for a host key of a known kind, and goes no further with any but the known one."""

    class Checked(paramiko.Transport):  # type: ignore[misc]
        def start_client(self, event: Any = None, timeout: float | None = None) -> None:
            security = self.get_security_options()
            if keys:
                security.key_types = [kind for kind in security.key_types if _plain(kind) in keys]
            try:
                super().start_client(event, timeout)
            except paramiko.ssh_exception.IncompatiblePeer as error:
                raise _unknown(name, f"it has no host key of a kind that known_hosts has ({error})") from error
            key = self.get_remote_server_key()
            if not keys:
                _accepted(name, key.get_name(), _fingerprint(key))
            elif keys.get(key.get_name()) != key:
                self.close()
                raise _unknown(name, "its host key is not the one in known_hosts")

    return Checked


@cache
def _accepted(name: str, kind: str, fingerprint: str) -> None:
    log.warning("accepted the host key of %s, %s %s; the secret known_hosts would pin it", name, kind, fingerprint)


def _fingerprint(key: paramiko.PKey) -> str:
    """As ssh-keygen -l writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _plain(algorithm: str) -> str:
    """The name of a key for a host key algorithm: RSA keys sign by several (RFC 8332)."""
    return "ssh-rsa" if algorithm in ("rsa-sha2-256", "rsa-sha2-512") else algorithm


def _unknown(name: str, why: str) -> RefusedError:
    return RefusedError(
        "connecting to", name, why, "compare the key with the host's, and correct the secret known_hosts"
    )
