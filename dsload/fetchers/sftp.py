"""SFTP: fsspec's filesystem on paramiko, logged in with the secrets and sure of its host.

Not whatever fsspec finds for the scheme: another package may take it over, and have other options.
"""

import contextlib
import io
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from dsload.errors import RefusedError, UsageError
from dsload.secrets import Secrets

PORT = 22
logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its tracebacks go to stderr
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class Sftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, which tells modes and symlinks too, and asks for a range in many requests at a time."""

    @staticmethod
    def _decode_stat(stat: paramiko.SFTPAttributes, parent_path: str | None = None) -> dict[str, Any]:
        return {**SFTPFileSystem._decode_stat(stat, parent_path), "mode": stat.st_mode}

    def ls(self, path: str, detail: bool = True) -> Any:
        infos: list[dict[str, Any]] = super().ls(path, detail=True)
        for info in infos:
            if info["type"] == "link":
                info["destination"] = self.ftp.readlink(info["name"])
        return infos if detail else sorted(info["name"] for info in infos)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        with self.ftp.open(path, "rb") as file:
            size = file.stat().st_size
            start, end = start or 0, size if end is None else min(end, size)
            file._prefetch_thread = _quiet(file._prefetch_thread)
            return b"".join(file.readv([(start, end - start)])) if start < end else b""


def _quiet(prefetch: Callable[..., None]) -> Callable[..., None]:
    """What sends paramiko's requests ahead, on a thread of its own: a connection that breaks is told to the reader,
    and there to nobody but stderr.
    """

    def run(*arguments: Any) -> None:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            prefetch(*arguments)

    return run


def connect(uri: str, options: Mapping[str, Any], secrets: Secrets, timeout: float) -> tuple[Sftp, str]:
    """A filesystem that is connected, and the path of the URI in it.

    Args:
        uri: names host, path, and if need be port and user.
        options: for paramiko's `SSHClient.connect`; they win over the URI, and the URI over the secrets.
        secrets: a private key comes before a password; without either, the SSH agent and the keys in
            `~/.ssh` are tried. With known_hosts, no other host key is accepted; without, any is.
        timeout: seconds that the server may be silent.

    Raises:
        UsageError: a key or known_hosts cannot be read.
        RefusedError: known_hosts has no key of the host, or another.
    """
    given = {**Sftp._get_kwargs_from_urls(uri), **options}
    host, port = str(given.pop("host", "")), int(given.pop("port", PORT))
    login = _login(host, port, secrets, timeout) | given
    try:
        filesystem = Sftp(host, port=port, skip_instance_cache=True, **login)
    except paramiko.SSHException as error:
        if str(error) != "No authentication methods available":
            raise
        fix = "add the secret ssh-privatekey or password"
        raise RefusedError("connecting to", host, "it asks for credentials and there are none", fix) from error
    weakref.finalize(filesystem, filesystem.client.close)
    filesystem.ftp.get_channel().settimeout(timeout)
    return filesystem, str(Sftp._strip_protocol(uri))


def _login(host: str, port: int, secrets: Secrets, timeout: float) -> dict[str, Any]:
    options: dict[str, Any] = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout", "channel_timeout"), timeout)
    given = {"username": secrets.username, "password": secrets.password}
    options |= {name: value for name, value in given.items() if value}
    if secrets.ssh_privatekey:
        options["pkey"] = _private_key(secrets.ssh_privatekey, secrets.ssh_privatekey_passphrase)
    if secrets.ssh_privatekey or secrets.password:
        options |= {"allow_agent": False, "look_for_keys": False}
    if secrets.known_hosts:
        name = host if port == PORT else f"[{host}]:{port}"  # sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"
        options["transport_factory"] = _pinned(name, _known_keys(secrets.known_hosts, name))
    return options


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
    fix = "check the key, and ssh-privatekey-passphrase where it has one"
    raise UsageError(doing, where, "it is no Ed25519, ECDSA or RSA key that its passphrase opens", fix)


def _known_keys(path: str, name: str) -> Mapping[str, paramiko.PKey]:
    try:
        found = paramiko.HostKeys(path).lookup(name)
    except (OSError, paramiko.SSHException, ValueError) as error:
        raise UsageError("reading the secret", path, str(error), "check its content") from error
    if not found:
        raise _unknown(name, "known_hosts has no key of this host")
    return dict(found)


def _pinned(name: str, keys: Mapping[str, paramiko.PKey]) -> type[paramiko.Transport]:
    """A transport that asks for a host key of a known kind, and goes no further with any but the known one."""

    class Pinned(paramiko.Transport):  # type: ignore[misc]
        def start_client(self, event: Any = None, timeout: float | None = None) -> None:
            security = self.get_security_options()
            security.key_types = [kind for kind in security.key_types if _plain(kind) in keys]
            try:
                super().start_client(event, timeout)
            except paramiko.ssh_exception.IncompatiblePeer as error:
                raise _unknown(name, f"it has no host key of a kind that known_hosts has ({error})") from error
            key = self.get_remote_server_key()
            if keys.get(key.get_name()) != key:
                self.close()
                raise _unknown(name, "its host key is not the one in known_hosts")

    return Pinned


def _plain(algorithm: str) -> str:
    """The name of a key for a host key algorithm: RSA keys sign by several (RFC 8332)."""
    return "ssh-rsa" if algorithm in ("rsa-sha2-256", "rsa-sha2-512") else algorithm


def _unknown(name: str, why: str) -> RefusedError:
    return RefusedError(
        "connecting to", name, why, "compare the key with the host's, and correct the secret known_hosts"
    )
