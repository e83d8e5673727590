"""Git over SSH by OpenSSH's sshd on loopback, as git hosts do it: keys log in, and may call few commands."""

import base64
import getpass
import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from tests.repositories import environment
from tests.servers.process import LOOPBACK, Server, find, free_port
from tests.servers.sftp import CONF, _write_key

DISPATCH = """
import json, os, shlex, sys
from pathlib import Path

here = Path(__file__).parent
settings = json.loads((here / "settings.json").read_bytes())
command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
busy = sorted(here.glob("busy-*"))
if busy:
    text = busy[0].read_text()
    busy[0].unlink()
    sys.exit(text)
with (here / "commands.jsonl").open("a") as log:
    log.write(json.dumps(command) + "\\n")
match shlex.split(command):
    case ["git-upload-pack", path] | ["git", "upload-pack", path]:
        root = Path(settings["root"]).resolve()
        repo = (root / path.lstrip("/")).resolve()
        if not repo.is_relative_to(root):
            sys.exit("fatal: no such repository")
        protocol = {name: value for name, value in os.environ.items() if name == "GIT_PROTOCOL"}
        os.execve(settings["git"], ["git", "upload-pack", str(repo)], settings["environment"] | protocol)
    case ["git-lfs-authenticate", path, "download"] if settings["lfs_authenticate"] is not None:
        print(json.dumps(settings["lfs_authenticate"]))
    case ["git-lfs-authenticate", *_]:
        sys.exit("fatal: this host has no LFS")
    case _:
        sys.exit("fatal: only git may be used here")
"""


class GitSsh(Server):
    """A running sshd that gives the repositories below a root to the user that runs the tests, by key alone.

    Both ``NAME.git`` and ``/NAME.git`` are root/NAME.git. Its files are in a directory beside the root.

    Args:
        host: its address.
        any_commit: version 0 gives commits that no ref has; version 2 always does.
        version2: whether it speaks version 2 of the protocol.

    Attributes:
        user: who logs in.
        fingerprint: of the host's only key, an ed25519 one: ``SHA256:...``.
    """

    def __init__(
        self, root: Path, *, any_commit: bool = True, version2: bool = True, host: str = LOOPBACK
    ) -> None:  # fmt: skip
        program = find("sshd", "openssh-server")
        if os.geteuid() == 0:  # compiled into Debian's sshd; its service makes it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.host, self.port, self.user = host, free_port(), getpass.getuser()
        self._name = f"[{host}]" if ":" in host else host
        super().__init__("sshd", root.absolute().with_name(f"{root.name}-ssh-{self.port}"))
        self._host_key = _write_key(self.directory / "host_key")
        raw = base64.b64decode(self._host_key.split()[1])
        self.fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
        self._settings: dict[str, Any] = {
            "root": str(root.absolute()),
            "git": find("git", "git"),
            "environment": environment({"uploadpack.allowAnySHA1InWant": json.dumps(any_commit)}),
        }
        self.lfs_authenticate = None
        (self.directory / "dispatch.py").write_text(DISPATCH)
        self._authorized = self.directory / "authorized_keys"
        self._authorized.touch()
        conf = self.directory / "sshd_config"
        accepted = "AcceptEnv GIT_PROTOCOL\n" if version2 else ""
        conf.write_text(CONF.format(host=host, port=self.port, directory=self.directory) + accepted)
        self.start([program, "-D", "-e", "-f", str(conf)], self._greets)

    @property
    def lfs_authenticate(self) -> dict[str, Any] | None:
        """What git-lfs-authenticate prints as JSON (href, header, expires_in); None: it fails."""
        answer: dict[str, Any] | None = self._settings["lfs_authenticate"]
        return answer

    @lfs_authenticate.setter
    def lfs_authenticate(self, answer: dict[str, Any] | None) -> None:
        self._settings["lfs_authenticate"] = answer
        new = self.directory / "settings.new"
        new.write_text(json.dumps(self._settings))
        new.rename(self.directory / "settings.json")

    def busy(self, *texts: str) -> None:
        """Answer the next commands by these texts on stderr alone."""
        for number, text in enumerate(texts):
            (self.directory / f"busy-{number}").write_text(text)

    def commands(self) -> list[str]:
        """The commands so far, as they were sent."""
        log = self.directory / "commands.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def url(self, path: str) -> str:
        """The URL of a path such as NAME.git."""
        return f"ssh://{self.user}@{self._name}:{self.port}/{path.removeprefix('/')}"

    def known_hosts(self) -> str:
        """The line of a known_hosts file."""
        return f"[{self.host}]:{self.port} {self._host_key}\n"

    def key(
        self, kind: Literal["rsa", "ecdsa", "ed25519"] = "ed25519", form: Literal["openssh", "pem"] = "openssh",
        passphrase: str = "", authorize: bool = True,
    ) -> str:  # fmt: skip
        """A new private key, in the file format that was asked for; it may log in from now on."""
        if (kind, form) == ("ed25519", "pem"):
            raise ValueError("there is no PEM form of ed25519 keys")
        path = self.directory / "new_key"
        argv = [find("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
        argv += ["-b", "2048"] if kind == "rsa" else []
        subprocess.run(argv + (["-m", "PEM"] if form == "pem" else []), check=True, stdin=subprocess.DEVNULL)
        public = path.with_suffix(".pub")
        if authorize:
            command = shlex.join([sys.executable, "-I", "-S", str(self.directory / "dispatch.py")])
            with self._authorized.open("a") as keys:
                keys.write(f'restrict,command="{command}" {public.read_text()}')
        private = path.read_text()
        path.unlink()
        public.unlink()
        return private

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                return probe.recv(8).startswith(b"SSH-2.0")
        except OSError:
            return False
