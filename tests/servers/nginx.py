"""nginx on loopback: a directory with HTML indexes at ``/``, and with JSON indexes at ``/json/``."""

import os
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import LOOPBACK, Server, answers, find, free_port
from tests.servers.tls import CA

CONF = """
{user}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  default_type application/octet-stream;
  log_format fields '$request_method\t$request_uri\t$status\t$body_bytes_sent\t$http_range\t$http_user_agent';
  access_log {directory}/access.log fields;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  limit_rate {rate};
  server {{
    listen {host}:{port}{ssl};
    {tls}
    location = /-/sync {{ access_log off; return 204; }}
    location / {{ root {root}; autoindex on; {auth} }}
    location /json/ {{ alias {root}/; autoindex on; autoindex_format json; {auth} }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Access:
    """One line of the access log."""

    method: str
    target: str
    status: int
    sent: int  # bytes of body
    range: str  # the Range header, or "-"
    user_agent: str


class Nginx(Server):
    """A running nginx.

    Args:
        directory: its prefix: configuration, logs, temporary files.
        root: the directory that it serves.
        tls: speaks TLS with this certificate.
        rate: bytes/s a response gets, 0 for all there is. (A connection carries one response at a time.)
        auth: user and password of HTTP basic authentication.
        workers: worker processes.
    """

    def __init__(
        self,
        directory: Path,
        root: Path,
        *,
        tls: CA | None = None,
        rate: int = 0,
        auth: tuple[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__("nginx", directory)
        program = find("nginx", "nginx")
        self.root, self.port = root, free_port()
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}/"
        self.json_url = self.url + "json/"
        self._context: ssl.SSLContext | None = tls.client_context() if tls else None
        if auth is not None:
            (directory / "htpasswd").write_text(f"{auth[0]}:{{PLAIN}}{auth[1]}\n")
        conf = directory / "nginx.conf"
        conf.write_text(
            CONF.format(
                user="user root;" if os.geteuid() == 0 else "",
                workers=workers,
                directory=directory,
                root=root,
                host=LOOPBACK,
                port=self.port,
                rate=rate,
                ssl=" ssl" if tls else "",
                tls=f"ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};" if tls else "",
                auth=f"auth_basic dsload; auth_basic_user_file {directory}/htpasswd;" if auth else "",
            )
        )
        argv = [program, "-p", str(directory), "-c", str(conf), "-e", str(directory / "error.log")]
        self.start(argv, lambda: answers(self.port, "/-/sync", self._context))

    def requests(self) -> list[Access]:
        """The requests answered so far. Exact with one worker: it logs one before it takes the next."""
        with urllib.request.urlopen(self.url + "-/sync", context=self._context):
            pass
        rows = [line.split("\t") for line in (self.directory / "access.log").read_text().splitlines()]
        return [Access(m, target, int(status), int(sent), *rest) for m, target, status, sent, *rest in rows]

    def clear(self) -> None:
        """Forget the requests so far."""
        self.requests()
        os.truncate(self.directory / "access.log", 0)
