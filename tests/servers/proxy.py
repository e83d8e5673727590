"""A small forward HTTP proxy on loopback (RFC 9110, 7.6.3 and 9.3.6): absolute URIs, and CONNECT."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.servers.orders import basic
from tests.servers.process import LOOPBACK
from tests.servers.threaded import Connection, LoopbackServer, Request


class Proxy(LoopbackServer):
    """Forwards what it is asked to, and records it.

    Args:
        auth: user and password that Proxy-Authorization must carry, else 407.
        hosts: names that it takes for 127.0.0.1, such as ``models.example``; other names are resolved.
        ports: those that it takes for others, such as 443.
    """

    def __init__(
        self, *, auth: tuple[str, str] | None = None, hosts: frozenset[str] = frozenset(),
        ports: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.ports = ports or {}
        self.authorization = basic(*auth) if auth else None
        self.hosts = hosts
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        super().__init__()
        self.url = f"http://{LOOPBACK}:{self.port}"

    def requests(self) -> list[Request]:
        """The requests so far; the target of a CONNECT is host:port, else it is a URL."""
        with self._lock:
            return list(self._requests)

    def serve(self, connection: Connection) -> None:
        request = connection.read_request()
        if request is None:
            return
        with self._lock:
            self._requests.append(request)
        if self.authorization and request.headers.get("proxy-authorization") != self.authorization:
            _refuse(connection, request, 407, 'Proxy-Authenticate: Basic realm="proxy"\r\n')
            return
        url = urlsplit(request.target if "://" in request.target else f"//{request.target}")
        host = LOOPBACK if url.hostname in self.hosts else url.hostname
        try:
            port = url.port or 80
            upstream = socket.create_connection((host or "", self.ports.get(port, port)), timeout=30)
        except OSError:
            _refuse(connection, request, 502)
            return
        self._live.add(upstream)  # so that stop() ends a tunnel whose far end says nothing
        try:
            upstream.settimeout(None)
            if request.method == "CONNECT":
                connection.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                upstream.sendall(connection.rest)
            else:
                target = url._replace(scheme="", netloc="").geturl() or "/"
                headers = {n: v for n, v in request.headers.items() if not n.startswith("proxy-")}
                lines = [f"{n}: {v}" for n, v in (headers | {"connection": "close"}).items()]
                head = [f"{request.method} {target} HTTP/1.1", *lines, "", ""]
                upstream.sendall("\r\n".join(head).encode("latin-1") + connection.body)
            back = threading.Thread(target=_pipe, args=(upstream, connection.sock, request), daemon=True)
            back.start()
            _pipe(connection.sock, upstream)
            back.join()
        finally:
            self._live.discard(upstream)
            upstream.close()


def _refuse(connection: Connection, request: Request, status: int, headers: str = "") -> None:
    request.status = status
    head = f"HTTP/1.1 {status} Refused\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    connection.sock.sendall(head.encode())


def _pipe(source: socket.socket, sink: socket.socket, count: Request | None = None) -> None:
    """Copy until either side ends, and count the bytes as sent of a request; then end that way."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
            if count is not None:
                count.sent += len(data)
    for side, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            side.shutdown(how)
