"""Git's own protocol, git://, by git daemon on loopback."""

import json
import socket
from pathlib import Path

from tests.repositories import environment
from tests.servers.process import LOOPBACK, Server, find, free_port


class GitDaemon(Server):
    """A running git daemon: root/NAME.git is at /NAME.git and /NAME.

    Its log is in a directory beside the root.

    Args:
        host: its address.
        any_commit: version 0 gives commits that no ref has; version 2 always does.
    """

    def __init__(self, root: Path, *, any_commit: bool = True, host: str = LOOPBACK) -> None:
        self.host, self.port = host, free_port()
        self.url = f"git://{f'[{host}]' if ':' in host else host}:{self.port}"
        super().__init__("git-daemon", root.with_name(f"{root.name}-daemon-{self.port}"))
        argv = [find("git", "git"), "daemon", "--verbose", "--export-all", f"--base-path={root.absolute()}"]
        argv += [f"--listen={host}", f"--port={self.port}", "--reuseaddr"]
        self.start(argv, self._accepts, environment({"uploadpack.allowAnySHA1InWant": json.dumps(any_commit)}))

    def _accepts(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except OSError:
            return False
        return True
