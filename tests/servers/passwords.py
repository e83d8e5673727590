"""An SFTP server that takes a password, as OpenSSH does for the users of the machine only; paramiko's, read-only."""

import os
from pathlib import Path
from typing import Any

import paramiko

from tests.servers.threaded import Connection, LoopbackServer


class PasswordSftp(LoopbackServer):
    """Serves a folder as ``/``.

    Args:
        root: the folder.
        user, password: who may log in.

    Attributes:
        tried: the passwords that were tried.
    """

    def __init__(self, root: Path, user: str, password: str) -> None:
        self.root, self.user, self.password = root, user, password
        self.tried: list[str] = []
        self._keys = {"ecdsa": paramiko.ECDSAKey.generate(), "rsa": paramiko.RSAKey.generate(2048)}
        super().__init__()

    def known_host(self, kind: str = "ecdsa") -> str:
        """The server's line of known_hosts for its key of a kind: ecdsa or rsa."""
        key = self._keys[kind]
        return f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n"

    def serve(self, connection: Connection) -> None:
        with paramiko.Transport(connection.sock.dup()) as transport:  # it closes what it gets
            for key in self._keys.values():
                transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, self.root)
            try:
                transport.start_server(server=_Login(self))
            except (paramiko.SSHException, EOFError):
                return  # the client went away
            transport.join()


class _Login(paramiko.ServerInterface):
    def __init__(self, server: PasswordSftp) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        self._server.tried.append(password)
        right = (username, password) == (self._server.user, self._server.password)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Folder(paramiko.SFTPServerInterface):
    def __init__(self, server: paramiko.ServerInterface, root: Path) -> None:
        super().__init__(server)
        self._root = root

    def _at(self, path: str) -> Path:
        return self._root / self.canonicalize(path).lstrip("/")

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def list_folder(self, path: str) -> Any:
        return [paramiko.SFTPAttributes.from_stat(child.stat(), child.name) for child in os.scandir(self._at(path))]

    def open(self, path: str, flags: int, attr: Any) -> Any:
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = self._at(path).open("rb")
        handle.stat = lambda: self.stat(path)
        return handle
