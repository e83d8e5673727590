"""A reverse proxy before one HTTP server on loopback: sees every request, and may damage an answer."""

import http.client
import threading
from collections.abc import Callable
from contextlib import closing

from tests.servers.process import LOOPBACK
from tests.servers.threaded import Connection, LoopbackServer, Request


class Relay(LoopbackServer):
    """Forwards GET and HEAD as they are, with their Host header, so that a signature stays right.

    Args:
        port: of the server behind it.

    Attributes:
        before: called with each request before it is forwarded.
        flip: for a request, the offset of a byte of the answer's body to flip, or None.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self.before: Callable[[Request], None] = lambda request: None
        self.flip: Callable[[Request], int | None] = lambda request: None
        super().__init__()
        self.url = f"http://{LOOPBACK}:{self.port}"

    def requests(self, method: str = "", path: str = "") -> list[Request]:
        """The requests so far, of a method and of targets that hold `path`."""
        with self._lock:
            return [r for r in self._requests if method in ("", r.method) and path in r.target]

    def serve(self, connection: Connection) -> None:
        with closing(http.client.HTTPConnection(LOOPBACK, self._behind, timeout=30)) as behind:
            while request := connection.read_request():
                with self._lock:
                    self._requests.append(request)
                self.before(request)
                behind.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
                for name, value in request.headers.items():
                    behind.putheader(name, value)
                behind.endheaders()
                self._answer(connection, request, behind.getresponse())

    def _answer(self, connection: Connection, request: Request, answer: http.client.HTTPResponse) -> None:
        body = bytearray(answer.read())
        request.status = answer.status
        if body and answer.status < 300 and (offset := self.flip(request)) is not None:
            body[offset] ^= 0xFF
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION}
        if request.method != "HEAD":
            headers["Content-Length"] = str(len(body))
        elif length := answer.getheader("Content-Length"):
            headers["Content-Length"] = length
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        request.sent += len(body)


_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
