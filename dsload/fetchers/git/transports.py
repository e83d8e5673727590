"""How dulwich's clients reach a server: over the engine's HTTP, or over a pipe of bytes."""

import contextlib
import io
import re
import select
import socket
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from dulwich.client import AbstractHttpGitClient, FetchPackResult, GitClient, TraditionalGitClient
from dulwich.errors import GitProtocolError
from dulwich.protocol import Protocol as Lines

from dsload import __version__
from dsload.errors import BadAnswerError, DsloadError, NotFoundError
from dsload.fetchers.git.location import Location
from dsload.fetchers.git.login import Login
from dsload.listing import Request, Response
from dsload.secrets import logger

log = logger(__name__)

_SAY = 10.0  # seconds between two lines that say how much has arrived
_REFS = re.compile(rb"[0-9a-f]{40,64}\trefs/")  # how the file info/refs begins
_LENGTH = 4  # hex digits that a line of the protocol begins with


class NoDaemon(Exception):
    """Nobody listens where a git daemon would."""


class Pipe(Protocol):
    """A conversation with `git-upload-pack`."""

    stderr: IO[bytes] | None

    def read(self, size: int) -> bytes:
        """This many bytes, fewer at the end; all with -1."""

    def write(self, data: bytes) -> int:
        """Send all of it; returns how many bytes that is."""

    def ready(self) -> bool:
        """Whether there is something to read."""

    def status(self) -> int:
        """The exit status of what ran at the other end."""

    def close(self) -> None:
        """End it."""


class _Agreeing(GitClient):
    """What both clients change in how dulwich agrees with a server on capabilities."""

    _agreed: Callable[[], None]

    def _negotiate_upload_pack_capabilities(self, server_capabilities: set[bytes]) -> Any:
        """Note that a git server has answered, and take nothing for offered: dulwich takes a command `fetch` without
        features to have all.
        """
        self._agreed()
        offered = {b"fetch=" if capability == b"fetch" else capability for capability in server_capabilities}
        agreed, symrefs, agent = super()._negotiate_upload_pack_capabilities(offered)
        return agreed - {b"fetch"}, symrefs, agent


class PipeClient(_Agreeing, TraditionalGitClient):
    """Dulwich's client over pipes.

    Args:
        open_pipe: starts a service, such as `git-upload-pack`.
        agreed: called once the server has said what it can do.
    """

    def __init__(self, open_pipe: Callable[[str], Pipe], agreed: Callable[[], None]) -> None:
        super().__init__(thin_packs=False)
        self._open, self._agreed = open_pipe, agreed
        self._lines: list[_Lines] = []

    def _connect(self, cmd: bytes, path: Any, protocol_version: int | None = None) -> tuple[Any, Any, Any]:
        pipe = self._open(f"git-{cmd.decode()}")
        self._lines.append(_Lines(pipe.read, pipe.write, pipe.close))
        return self._lines[-1], pipe.ready, pipe.stderr

    def close(self) -> None:
        """Close what a failed conversation has left open."""
        while self._lines:
            self._lines.pop().close()


class _Lines(Lines):
    """Lines of the protocol, or the error that the server sends in their place (gitprotocol-pack(5), "error-line")."""

    def read_pkt_line(self) -> bytes | None:
        line = super().read_pkt_line()
        _check_line(line or b"")
        return line


def _check_line(line: bytes) -> None:
    if line.startswith(b"ERR "):
        raise GitProtocolError(line[4:].decode("utf-8", "replace").strip())


class HttpClient(_Agreeing, AbstractHttpGitClient):
    """Dulwich's client over the engine's transport.

    Args:
        url: of the repository.
        login: sends the requests.
        where: the source's name for messages.
        agreed: called once the server has said what it can do.
    """

    def __init__(self, url: str, login: Login, where: str, agreed: Callable[[], None]) -> None:
        super().__init__(url, thin_packs=False)
        self._login, self._where, self._agreed = login, where, agreed
        self._discovered: Any = None
        self._fetches = False

    def fetch_pack(self, *arguments: Any, **options: Any) -> FetchPackResult:
        """Fetch, with what is known of the server from before."""
        self._fetches = True
        try:
            return super().fetch_pack(*arguments, **options)
        finally:
            self._fetches = False

    def _discover_references(
        self, service: bytes, base_url: str, protocol_version: int | None = None, ref_prefix: Any = None
    ) -> Any:
        if self._discovered is None or not self._fetches:
            self._discovered = super()._discover_references(service, base_url, protocol_version, ref_prefix)
        return self._discovered

    def _http_request(
        self, url: str, headers: dict[str, str] | None = None, data: Any = None, raise_for_status: bool = True
    ) -> tuple[Any, Callable[[int], bytes]]:
        body = data if isinstance(data, bytes) else b"".join(data or ())
        kept = {name: value for name, value in (headers or {}).items() if name != "Content-Length"}
        kept["User-Agent"] = f"git/dsload-{__version__}"  # hosts and walls against bots want it to begin like git's
        request = Request(url, "GET" if data is None else "POST", kept, body=body)
        pack = tempfile.TemporaryFile() if self._fetches and body else None  # noqa: SIM115  # closed with the page
        into = Counted(pack, self._where) if pack else None
        answer = self._login.fetch(request, "asking", self._where, into=into)
        if answer.status >= 300:
            raise self._login.error(answer, "asking", self._where)
        page = _Page(answer, url)
        if not page.content_type.startswith("application/x-git-"):
            raise self._astray(answer, page.content_type, first=data is None)
        file: BinaryIO = pack or io.BytesIO(answer.body)
        file.seek(_LENGTH)
        _check_line(file.readline(1000))
        file.seek(0)
        page.close = file.close  # type: ignore[method-assign]
        return page, file.read

    def _astray(self, answer: Response, kind: str, first: bool) -> DsloadError:
        """The error for an answer of 200 that is not a git server's.

        Args:
            answer, kind: what came, and its content type.
            first: whether it is the answer to the first request; after that it is a passing fault.
        """
        parts = urlsplit(answer.url)
        host = parts.netloc + parts.path
        if _REFS.match(answer.body):
            why = f"{parts.netloc} serves the repository as files (dumb HTTP), and dsload speaks smart HTTP alone"
            fix = "have it served by git http-backend, or clone it with git and load the clone by git+file://"
            return NotFoundError("asking", self._where, why, fix)
        if not first or not answer.body:
            why = f"{host} answers with {kind or 'nothing'} in the place of a git server"
            return BadAnswerError("asking", self._where, why, "run the same command again")
        why = f"{host} answers with {kind or 'no type'}, which no git server does"
        return NotFoundError("asking", self._where, why, "check the URL, and that the server speaks smart HTTP")


class Counted:
    """A file that is written to, and logs now and then how much has arrived."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self._file, self._where = file, where
        self._count, self._said = 0, 0.0
        self.seek, self.truncate = file.seek, file.truncate

    def write(self, data: bytes) -> int:
        """Write it; returns how many bytes that is."""
        self._count += len(data)
        self._said = self._said or time.monotonic()
        if time.monotonic() - self._said >= _SAY:
            self._said = time.monotonic()
            log.info("%s: %.1f MiB of git objects so far", self._where, self._count / (1 << 20))
        return self._file.write(data)


class _Page:
    """An answer as dulwich looks at it."""

    def __init__(self, answer: Response, url: str) -> None:
        self.status = answer.status
        self.content_type = answer.headers.get("content-type", "")
        self.redirect_location = answer.url if answer.url != url else ""

    def close(self) -> None:
        """Release the body."""


def open_tcp(location: Location, service: str, timeout: float) -> Pipe:
    """Ask a git daemon (git-daemon(1)) for a service.

    Args:
        timeout: seconds that it may be silent.

    Raises:
        NoDaemon: nobody listens there.
    """
    try:
        connection = socket.create_connection((location.host, location.port), timeout)
    except OSError as error:
        raise NoDaemon(error.strerror or str(error)) from error
    pipe = _Tcp(connection)
    line = f"{service} {location.path}\0host={location.authority}\0\0version=2\0".encode("utf-8", "surrogateescape")
    pipe.write(b"%04x" % (len(line) + 4) + line)
    return pipe


class _Tcp:
    """A conversation over a socket."""

    stderr: IO[bytes] | None = None

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def write(self, data: bytes) -> int:
        self._connection.sendall(data)
        return len(data)

    def ready(self) -> bool:
        return bool(select.select([self._connection], [], [], 0)[0])

    def status(self) -> int:
        return 0

    def close(self) -> None:
        with contextlib.closing(self._connection):
            self._reader.close()
