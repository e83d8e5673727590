"""OpenSSH's SFTP server on loopback, with keys of its own."""

import getpass
import os
import socket
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.servers.process import LOOPBACK, Server, find, free_port

CONF = """
ListenAddress {host}
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
"""


class Sshd(Server):
    """A running sshd, for the user that runs the tests and by key alone.

    Attributes:
        root: a directory to serve from; paths over SFTP are absolute.
        user: who logs in.
        key: the client's private key, OpenSSH format, without a passphrase.
        known_hosts: a file that names the host key.
    """

    host = LOOPBACK

    def __init__(self, directory: Path) -> None:
        super().__init__("sshd", directory)
        program = find("sshd", "openssh-server")
        if os.geteuid() == 0:  # compiled into Debian's sshd; its service makes it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.port, self.user = free_port(), getpass.getuser()
        self.root, self.key = directory / "files", directory / "client_key"
        self.known_hosts = directory / "known_hosts"
        self.root.mkdir()
        host_key = _write_key(directory / "host_key")
        self.known_hosts.write_text(f"[{LOOPBACK}]:{self.port} {host_key}\n")
        (directory / "authorized_keys").write_text(_write_key(self.key) + "\n")
        conf = directory / "sshd_config"
        conf.write_text(CONF.format(host=LOOPBACK, port=self.port, directory=directory))
        self.start([program, "-D", "-e", "-f", str(conf)], self._greets)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=5) as probe:
                return probe.recv(8).startswith(b"SSH-2.0")
        except OSError:
            return False


def _write_key(path: Path) -> str:
    """Make an ed25519 key; its public half as a line of authorized_keys."""
    key, raw = Ed25519PrivateKey.generate(), serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, raw)
    path.touch(mode=0o600)
    path.write_bytes(private)
    public = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, public).decode()
