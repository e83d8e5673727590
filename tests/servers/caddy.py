"""Caddy's file server on loopback, with its directory listings."""

from pathlib import Path

from tests.servers.process import LOOPBACK, Server, answers, find, free_port

CONF = """
{{
  admin off
  auto_https off
}}
http://{host}:{port} {{
  bind {host}
  root * {root}
  file_server browse
}}
"""


class Caddy(Server):
    """A running Caddy; `url` has HTML indexes, and JSON ones for ``Accept: application/json``."""

    def __init__(self, directory: Path, root: Path) -> None:
        super().__init__("caddy", directory)
        program = find("caddy", "caddy")
        self.root, self.port = root, free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/"
        conf = directory / "Caddyfile"
        conf.write_text(CONF.format(host=LOOPBACK, port=self.port, root=root))
        homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(directory))
        argv = [program, "run", "--config", str(conf), "--adapter", "caddyfile"]
        self.start(argv, lambda: answers(self.port), env=homes)
