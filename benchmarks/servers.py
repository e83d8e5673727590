"""Two servers that no program is there for: one that paces each connection, and an S3 store of any size."""

import os
import socket
from hashlib import md5
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.servers.git import GitServer
from tests.servers.threaded import Connection, LoopbackServer, Request

_SO_MAX_PACING_RATE = 47  # Linux: bytes/s that the kernel lets a connection send; Python has no name for it
_PAGE = 1000  # keys


class _Http(LoopbackServer):
    def serve(self, connection: Connection) -> None:
        while request := connection.read_request():
            self.answer(connection.sock, request)

    def answer(self, sock: socket.socket, request: Request) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class Paced(_Http):
    """Serves the files of a folder, with ranges, at so many bytes/s a connection.

    nginx's limit_rate does not measure that: it sends the first second's bytes of each request at once, 8 MiB at
    26 MB/s if 20 are set, so the smaller a client's ranges are, the less they are limited.
    """

    def __init__(self, root: Path, rate: int) -> None:
        super().__init__()
        self._root, self._rate = root, rate

    def answer(self, sock: socket.socket, request: Request) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, self._rate)
        path = self._root / urlsplit(request.target).path.lstrip("/")
        if not path.is_file():
            sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        size = path.stat().st_size
        head, start, stop = "HTTP/1.1 200 OK", 0, size
        if asked := request.headers.get("range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(size, int(last) + 1)
            head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{stop - 1}/{size}"
        sock.sendall(f'{head}\r\nContent-Length: {stop - start}\r\nETag: "{size}"\r\n\r\n'.encode())
        with path.open("rb") as file:
            while request.method == "GET" and start < stop:
                start += os.sendfile(sock.fileno(), file.fileno(), start, min(stop - start, 4 << 20))


class GitOnNginx(GitServer):
    """Git and the LFS API as the tests have them; the objects come from nginx."""

    def __init__(self, root: Path, storage_url: str) -> None:
        super().__init__(root)
        self.storage.stop()
        self.storage.sign = lambda operation, oid, file: f"{storage_url}{file.relative_to(root)}"  # type: ignore[method-assign]


class ManyObjects(_Http):
    """S3 with a bucket of any number of objects: `s3://1000` has 1,000. An object's content is its number."""

    def answer(self, sock: socket.socket, request: Request) -> None:
        parts = urlsplit(request.target)
        bucket, _, key = parts.path.lstrip("/").partition("/")
        body = b"%d" % int(key[-13:-4]) if key else _page(int(bucket), parts.query)
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "{md5(body).hexdigest()}"\r\n\r\n'
        sock.sendall(head.encode() + (body if request.method == "GET" else b""))


def _page(size: int, query: str) -> bytes:
    start = int(parse_qs(query).get("continuation-token", ["0"])[0])
    stop = min(size, start + _PAGE)
    rows = (
        f"<Contents><Key>train/{n // 1000:06}/{n:09}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{md5(b'%d' % n).hexdigest()}&quot;</ETag><Size>{len(str(n))}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for n in range(start, stop)
    )
    more = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < size else ""
    return (
        f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{size}</Name>'
        f"<IsTruncated>{str(stop < size).lower()}</IsTruncated>{more}{''.join(rows)}</ListBucketResult>"
    ).encode()
