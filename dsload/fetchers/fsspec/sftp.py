"""SFTP: fsspec's filesystem on paramiko, logged in with the secrets.

Not whatever fsspec finds for the scheme: another package may take it over, and have other options.
"""

import contextlib
import weakref
from collections.abc import Callable, Mapping
from stat import S_ISREG
from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from dsload.fetchers.ssh import PORT, login, no_credentials
from dsload.secrets import Secrets


class Sftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, which also reports modes and symlinks, and asks for a range in many requests at a time."""

    @staticmethod
    def _decode_stat(stat: paramiko.SFTPAttributes, parent_path: str | None = None) -> dict[str, Any]:
        info = {**SFTPFileSystem._decode_stat(stat, parent_path), "mode": stat.st_mode}
        if stat.st_mode and info["type"] == "file" and not S_ISREG(stat.st_mode):
            info["type"] = "other"  # to open a pipe would be to wait for its other end
        return info

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
    """What sends paramiko's requests ahead, on a thread of its own: a broken connection is reported to the reader,
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
        secrets: as ssh.login takes them.
        timeout: seconds that the server may be silent.

    Raises:
        UsageError: a key or known_hosts cannot be read.
        RefusedError: the host is not the one that it should be, or asks for credentials.
    """
    given = {**Sftp._get_kwargs_from_urls(uri), **options}
    host, port = str(given.pop("host", "")), int(given.pop("port", PORT))
    options = login(host, port, secrets, timeout) | given
    with no_credentials(host):
        filesystem = Sftp(host, port=port, skip_instance_cache=True, **options)
    weakref.finalize(filesystem, filesystem.client.close)
    filesystem.ftp.get_channel().settimeout(timeout)
    return filesystem, str(Sftp._strip_protocol(uri))
