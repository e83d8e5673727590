"""``python -m http.server`` on loopback."""

import sys
from pathlib import Path

from tests.servers.process import LOOPBACK, Server, answers, free_port


class PythonHttp(Server):
    """A running ``python -m http.server``: HTML indexes, no ranges, no ETag."""

    def __init__(self, directory: Path, root: Path) -> None:
        super().__init__("python-http", directory)
        self.root, self.port = root, free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/"
        argv = [
            sys.executable,
            "-m",
            "http.server",
            str(self.port),
            "--bind",
            LOOPBACK,
            "--directory",
            str(root),
        ]
        self.start(argv, lambda: answers(self.port))
