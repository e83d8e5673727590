"""A threaded TCP server on loopback inside the test process, and the reading of HTTP/1.1 request heads."""

import contextlib
import socket
import socketserver
import ssl
import struct
import sys
import threading
from dataclasses import dataclass
from typing import Any, Self

from tests.servers.process import LOOPBACK, wait_until
from tests.servers.tls import CA


@dataclass(slots=True)
class Request:
    """A request as it came in, and what became of it."""

    method: str
    target: str  # raw, as in the request line
    headers: dict[str, str]  # by name in lower case
    status: int = 0  # of the answer; 0 where none was given
    sent: int = 0  # bytes of body given to the kernel, while they are sent


@dataclass(slots=True)
class Connection:
    """One accepted connection."""

    sock: socket.socket
    rest: bytes = b""  # what came after the last request
    body: bytes = b""  # of the last request
    clock: float = 0.0  # for a rate: when the bytes sent so far are due

    def read_request(self) -> Request | None:
        """The next request, its body read; None at the end of the connection."""
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            if not self._more():
                return None
        lines = self.rest[:end].decode("latin-1").split("\r\n")
        self.rest = self.rest[end + 4 :]
        method, target, _ = lines[0].split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        length = int(headers.get("content-length", 0))
        while len(self.rest) < length:
            if not self._more():
                return None
        self.body, self.rest = self.rest[:length], self.rest[length:]
        return Request(method, target, headers)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.rest += data
        return bool(data)


class LoopbackServer(socketserver.ThreadingTCPServer):
    """Serves each connection in a thread, from its making until `stop`; a context manager.

    A subclass has `serve(connection)`; its OSErrors end the connection, other errors come up in `stop`.
    """

    daemon_threads = True
    block_on_close = False  # stop() closes the connections and waits itself
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, tls: CA | None = None, host: str = LOOPBACK) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), socketserver.BaseRequestHandler)
        self.port: int = self.server_address[1]
        self.netloc = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"  # as in a URL
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []
        self._context: ssl.SSLContext | None = tls.server_context() if tls else None
        self._live: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def serve(self, connection: Connection) -> None:
        raise NotImplementedError

    def process_request(self, request: Any, client_address: Any) -> None:
        self._live.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if self._context is None:
                self.serve(Connection(request))
            else:
                raw = request.dup()
                with raw, self._context.wrap_socket(raw, server_side=True) as sock:
                    self.serve(Connection(sock))

    def shutdown_request(self, request: Any) -> None:
        lingers, _ = struct.unpack("ii", request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if lingers:  # to be reset: no FIN first
            self.close_request(request)
        else:
            super().shutdown_request(request)
        self._live.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failures.append(sys.exception())

    def stop(self) -> None:
        """Stop accepting, close every connection, and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for sock in list(self._live):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not self._live, "the connections to end", 10)
        self.server_close()
        if self.failures:
            raise BaseExceptionGroup("in the threads of the server", self.failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
