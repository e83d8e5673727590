"""A small HTTP/1.1 server that obeys the protocol (RFC 9110, 9112), and misbehaves on order.

server.put("/a/model.bin", Virtual(100_000_000))
server.order("/a/model.bin", close(1000), status(503, retry_after=1))   # the first two requests of it
server.order("/a/model.bin", change(b"new"), after=1)                   # the second sees other content
server.order(ANY, status(405), when=is_head, times=ALWAYS)
"""

import contextlib
import fcntl
import json
import re
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import quote, unquote

from tests.servers.orders import BEFORE_HEAD, OK, PIECE, Body, Fault, File, Virtual, digest, status
from tests.servers.process import LOOPBACK, wait_until
from tests.servers.threaded import Connection, LoopbackServer, Request
from tests.servers.tls import CA

ANY = "*"  # the path of an order for every path
ALWAYS = None  # the times of an order that is never used up
FIRST_MODIFIED = 1_704_067_200  # 2024-01-01; each change of a file is a minute later


@dataclass(slots=True)
class _Order:
    fault: Fault
    when: Callable[[Request], bool] | None
    skip: int
    times: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str | None]
    body: Body = b""
    start: int = 0
    stop: int | None = None  # None: to the end


class FaultServer(LoopbackServer):
    """Serves `put` files on loopback, with JSON indexes as nginx makes them, and carries out orders.

    Args:
        tls: speaks TLS with this certificate.
        rate: bytes/s that each connection gets; None for no limit.
        authorization: the Authorization header that every request must carry, else 401; see `basic`.
        host: its address.
        index: whether directories have an index; a file put at a path that ends in ``/`` is one made by hand.
    """

    def __init__(
        self, *, tls: CA | None = None, rate: float | None = None, authorization: str | None = None,
        index: bool = True, host: str = LOOPBACK,
    ) -> None:  # fmt: skip
        self.rate, self.authorization, self.index = rate, authorization, index
        self._files: dict[str, File] = {}
        self._puts: dict[str, int] = {}
        self._orders: dict[str, list[_Order]] = {}
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        super().__init__(tls, host)
        self.url = f"{'https' if tls else 'http'}://{self.netloc}"  # without a slash at the end

    def put(
        self, path: str, body: Body, *, etag: str | None = "", headers: Mapping[str, str] | None = None,
        modified: str | None = "",
    ) -> str:  # fmt: skip
        """Serve `body` under the path (decoded, with a leading slash), and return its URL.

        Args:
            etag: with its quotes; by default made of the content, None for none.
            headers: further ones, such as Content-MD5, or Content-Type instead of the default.
            modified: Last-Modified; by default 2024 and a minute later at each put; None for none.
        """
        content = f"{body.size}-{body.seed}" if isinstance(body, Virtual) else digest(body, "md5").hexdigest()
        with self._lock:
            nth = self._puts[path] = self._puts.get(path, -1) + 1
            if etag == "":
                etag = f'"{content}"'
            if modified == "":
                modified = formatdate(FIRST_MODIFIED + 60 * nth, usegmt=True)
            self._files[path] = File(body, etag, modified, dict(headers or {}))
        return self.url + quote(path, errors="surrogateescape")

    def remove(self, path: str) -> None:
        """Serve the path no longer."""
        with self._lock:
            del self._files[path]

    def order(
        self, path: str, *faults: Fault, when: Callable[[Request], bool] | None = None, after: int = 0,
        times: int | None = 1,
    ) -> None:  # fmt: skip
        """Let the next requests of a path meet these faults, one each, in this order.

        Args:
            path: decoded; or ANY, which is asked where the path itself has no order that fits.
            when: the faults are for these requests; others pass by.
            after: so many requests are answered rightly first.
            times: each fault is met so many times, or ALWAYS.
        """
        with self._lock:
            orders = self._orders.setdefault(path, [])
            orders += [_Order(fault, when, 0 if n else after, times) for n, fault in enumerate(faults)]

    def release(self) -> None:
        """Let every stalled answer go on, now and later."""
        self._released.set()

    def requests(self, path: str | None = None) -> list[Request]:
        """The requests so far, in order; of one decoded path if given."""
        with self._lock:
            return [r for r in self._requests if path is None or _path(r.target) == path]

    def bytes_sent(self, path: str | None = None) -> int:
        """How many bytes of body were sent so far."""
        return sum(request.sent for request in self.requests(path))

    def clear(self) -> None:
        """Forget the requests and the orders; the files stay."""
        with self._lock:
            self._requests.clear()
            self._orders.clear()

    def serve(self, connection: Connection) -> None:
        while request := connection.read_request():
            path = _path(request.target)
            with self._lock:
                self._requests.append(request)
            if self.authorization and request.headers.get("authorization") != self.authorization:
                fault = status(401, WWW_Authenticate=f'{self.authorization.split(" ")[0]} realm="dsload"')
            else:
                fault = self._next_fault(path, request)
            if fault.replace is not None:
                self._replace(path, fault.replace)
            if not self._send(connection, request, self._answer(path, request, fault), fault):
                return

    def _replace(self, path: str, body: Body) -> None:
        with self._lock:
            old = self._files[path]
        self.put(path, body, headers=old.headers, etag=old.etag and "", modified=old.modified and "")

    def _next_fault(self, path: str, request: Request) -> Fault:
        with self._lock:
            for orders in (self._orders.get(path, []), self._orders.get(ANY, [])):
                for order in orders:
                    if order.when and not order.when(request):
                        continue
                    if order.skip:
                        order.skip -= 1
                        return OK
                    if order.times is not None:
                        order.times -= 1
                        if not order.times:
                            orders.remove(order)
                    return order.fault
        return OK

    def _answer(self, path: str, request: Request, fault: Fault) -> _Answer:
        if fault.status is not None:
            return _Answer(fault.status, {}, fault.body)
        if request.method not in ("GET", "HEAD"):
            return _Answer(405, {"Allow": "GET, HEAD"})
        with self._lock:
            file, names = self._files.get(path), list(self._files)
        if file is not None:
            return answer_file(file, request.headers, ignore_range=fault.ignore_range)
        if self.index and path.endswith("/") and (rows := self._rows(path, names)):
            return _Answer(200, {"Content-Type": "application/json"}, json.dumps(rows).encode())
        if self.index and any(name.startswith(path + "/") for name in names):
            raw, mark, query = request.target.partition("?")
            return _Answer(301, {"Location": raw + "/" + mark + query})
        return _Answer(404, {"Content-Type": "text/plain"}, b"no such file\n")

    def _rows(self, directory: str, names: list[str]) -> list[dict[str, str | int]]:
        """The directory's index as nginx's ``autoindex_format json`` writes it."""
        rows: dict[str, dict[str, str | int]] = {}
        for name in names:
            if name.startswith(directory) and name != directory:
                first, below, _ = name.removeprefix(directory).partition("/")
                row = rows[first] = {"name": first, "type": "directory" if below else "file"}
                row["mtime"] = formatdate(FIRST_MODIFIED, usegmt=True)
                if not below:
                    row["size"] = len(self._files[name].body)
                    row["mtime"] = self._files[name].modified or row["mtime"]
        return list(rows.values())

    def _send(self, connection: Connection, request: Request, answer: _Answer, fault: Fault) -> bool:
        """Send the answer; whether the connection goes on."""
        stop = len(answer.body) if answer.stop is None else answer.stop
        keep = request.headers.get("connection", "").lower() != "close"
        headers = {"Date": formatdate(usegmt=True), "Connection": "keep-alive" if keep else "close"}
        if fault.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif answer.status not in (204, 304):
            headers["Content-Length"] = str(stop - answer.start)
        headers |= answer.headers | dict(fault.headers)
        request.status = answer.status
        if fault.cut and fault.after == BEFORE_HEAD and not self._cut(connection, fault):
            return False
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if request.method == "HEAD":
            return keep

        at, cut_at = answer.start, answer.start + fault.after if fault.cut else None
        rate = fault.rate or self.rate
        while True:
            if at == cut_at:
                if not self._cut(connection, fault):
                    return False
                cut_at = None
            if at >= stop:
                break
            end = min(at + (PIECE // 4 if rate else PIECE), stop, cut_at or stop)
            piece = answer.body[at:end]
            if fault.flip is not None and at <= fault.flip < end:
                wrong = bytearray(piece)
                wrong[fault.flip - at] ^= 0xFF
                piece = bytes(wrong)
            if rate:
                now = time.monotonic()
                connection.clock = max(connection.clock, now - 0.01) + len(piece) / rate
                self.stopping.wait(connection.clock - now)
            if fault.chunked:
                connection.sock.sendall(f"{len(piece):x}\r\n".encode())
            unsent = memoryview(piece)
            while unsent:
                sent = connection.sock.send(unsent)
                request.sent += sent
                unsent = unsent[sent:]
            if fault.chunked:
                connection.sock.sendall(b"\r\n")
            at = end
        if fault.chunked:
            connection.sock.sendall(b"0\r\n\r\n")
        return keep

    def _cut(self, connection: Connection, fault: Fault) -> bool:
        """Close, reset or stall the connection; whether it goes on."""
        sock = connection.sock
        if fault.cut == "stall":
            poller = select.poll()
            poller.register(sock, select.POLLRDHUP)
            while not (self._released.is_set() or self.stopping.is_set()):
                if poller.poll(20):
                    return False
            return True
        if fault.cut == "reset":
            with contextlib.suppress(TimeoutError):  # a client that does not read gets fewer bytes
                wait_until(lambda: _unacknowledged(sock) == 0, "the client to take the bytes", 5)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def _path(target: str) -> str:
    return unquote(target.partition("?")[0], errors="surrogateescape")


def _unacknowledged(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def answer_file(file: File, asked: Mapping[str, str], *, ignore_range: bool = False) -> _Answer:
    """The right answer to a GET of a file: preconditions (RFC 9110, 13.2.2), then the range (14.2)."""
    size = len(file.body)
    headers: dict[str, str | None] = {"Accept-Ranges": None if ignore_range else "bytes"}
    headers |= {"ETag": file.etag, "Last-Modified": file.modified}
    headers |= {"Content-Type": "application/octet-stream"} | dict(file.headers)
    if "if-match" in asked and not _listed(file.etag, asked["if-match"], weak=False):
        return _Answer(412, headers)
    if "if-none-match" in asked and _listed(file.etag, asked["if-none-match"], weak=True):
        return _Answer(304, headers)
    part = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
    wanted = asked.get("if-range")
    if not part or part.group() == "bytes=-" or ignore_range:
        return _Answer(200, headers, file.body)
    if wanted is not None and wanted not in (_strong(file.etag), file.modified):
        return _Answer(200, headers, file.body)
    first, last = part.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return _Answer(416, headers | {"Content-Range": f"bytes */{size}"})
    return _Answer(206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}, file.body, start, stop)


def _strong(etag: str | None) -> str | None:
    return None if etag is None or etag.startswith("W/") else etag


def _listed(etag: str | None, asked: str, *, weak: bool) -> bool:
    """Whether an entity tag is among those asked for, by weak or strong comparison (RFC 9110, 8.8.3.2)."""
    if asked == "*":
        return True
    if weak:
        etag = etag and etag.removeprefix("W/")
        return etag in [tag.strip().removeprefix("W/") for tag in asked.split(",")]
    return _strong(etag) is not None and etag in [tag.strip() for tag in asked.split(",")]
