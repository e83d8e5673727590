"""Git over HTTP by git's own http-backend, the LFS API of the same repositories, and a storage of LFS objects.

with GitServer(root) as server:  # root/NAME.git are bare repositories
    ...  # git clone {server.url}/NAME.git
    server.order("/NAME.git/git-upload-pack", status(503), when=lambda r: b"command=fetch" in r.body)
    server.storage.order(storage_path(oid), close(1000))

The batch API: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

import gzip
import hashlib
import json
import mmap
import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import parse_headers
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import parse_qs, unquote

from tests.repositories import environment, git
from tests.servers.fault import FaultServer, _Answer, answer_file
from tests.servers.orders import Body, Fault, File
from tests.servers.orders import basic as basic_authorization
from tests.servers.process import LOOPBACK
from tests.servers.storage import SigningStorage
from tests.servers.threaded import Connection, Request
from tests.servers.tls import CA

LFS_TYPE = "application/vnd.git-lfs+json"
ACTION_HEADER = {"X-Lfs-Action": "yes"}  # what the storage wants, as the batch says
Operation = Literal["download", "upload"]


# Requests with bodies, answers from files


@dataclass(slots=True)
class Seen(Request):
    """A request with its body: chunks joined, gzip undone."""

    body: bytes = b""

    @property
    def authorization(self) -> str:
        """The header; empty where there was none."""
        return self.headers.get("authorization", "")

    @property
    def git_protocol(self) -> str:
        """The header Git-Protocol, such as version=2; empty where there was none."""
        return self.headers.get("git-protocol", "")


class _Reader(Connection):
    """A connection whose requests are Seen."""

    def __init__(self, connection: Connection, file: BinaryIO) -> None:
        super().__init__(connection.sock)
        self._file = file

    def read_request(self) -> Seen | None:
        line = self._file.readline().decode("latin-1")
        if not line.endswith("\n"):
            return None
        method, target, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        for name, value in parse_headers(self._file).items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = b"".join(self._body(headers))
        except EOFError:
            return None
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Seen(method, target, headers, body=body)

    def _body(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            yield self._exactly(int(headers.get("content-length", 0)))
            return
        while size := int(self._file.readline().partition(b";")[0] or b"0", 16):
            yield self._exactly(size)
            self._exactly(2)
        while self._file.readline().strip():  # trailers
            pass

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data


class _Mapped:
    """What a file holds from an offset on, read when it is sent."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._start, self._size = start, os.fstat(file.fileno()).st_size - start
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return self._map[self._start + start : self._start + stop]


class _BodyServer(FaultServer):
    """A fault server whose requests are Seen."""

    def serve(self, connection: Connection) -> None:
        with connection.sock.makefile("rb") as file:
            super().serve(_Reader(connection, file))


# The storage


def storage_path(oid: str) -> str:
    """The path of an object on the storage, for `order` and `requests`."""
    return f"/objects/{oid}"


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a token is good for."""

    operation: Operation
    oid: str
    file: Path  # where the object is, or will be


class Storage(SigningStorage, _BodyServer):
    """The host of LFS objects: serves and takes those that the API has signed for, else 403.

    The fault `change` is not for it.
    """

    def sign(self, operation: Operation, oid: str, file: Path) -> str:
        """A new URL of an object."""
        token = uuid.uuid4().hex
        with self._lock:
            self._signed[token] = _Signed(operation, oid, file)
        return f"{self.url}{storage_path(oid)}?token={token}"

    def _answer(self, path: str, request: Request, fault: Fault) -> _Answer:
        self._note(request)
        operation = {"GET": "download", "HEAD": "download", "PUT": "upload"}.get(request.method)
        if fault.status is not None or operation is None:
            return super()._answer(path, request, fault)
        token = parse_qs(request.target.partition("?")[2]).get("token", [""])[0]
        with self._lock:
            signed: _Signed | None = self._signed.get(token)
        if signed is None or signed.operation != operation or path != storage_path(signed.oid):
            return _Answer(403, {"Content-Type": "text/plain"}, b"the token is not good\n")
        if any(request.headers.get(name.lower()) != value for name, value in ACTION_HEADER.items()):
            return _Answer(403, {"Content-Type": "text/plain"}, b"a header of the action is missing\n")
        if operation == "upload":
            return _store(signed, cast(Seen, request).body)
        with signed.file.open("rb") as file:
            body = cast(Body, _Mapped(file))
        return answer_file(File(body, f'"{signed.oid}"', None, {}), request.headers, ignore_range=fault.ignore_range)


def _store(signed: _Signed, body: bytes) -> _Answer:
    if hashlib.sha256(body).hexdigest() != signed.oid:
        return _Answer(422, {"Content-Type": "text/plain"}, b"the content is not of this object\n")
    signed.file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=signed.file.parent, delete=False) as file:
        file.write(body)
    Path(file.name).rename(signed.file)
    return _Answer(200, {})


def object_file(repo: Path, oid: str) -> Path:
    """Where a bare repository has an LFS object."""
    return repo / "lfs/objects" / oid[:2] / oid[2:4] / oid


# The git host


class GitServer(_BodyServer):
    """Every bare repository root/NAME.git at /NAME.git and /NAME, and the storage of LFS on another port.

    A FaultServer, so that orders can be given of its paths too, and `rate` be set. Its attributes may be set
    at any time:

    - basic, bearer: user and password, or token, one of which each request must carry, else 401.
    - forbid: requests that carry them get 403.
    - any_commit: version 0 gives commits that no ref has. Version 2 always does, but see reject_unadvertised.
    - reject_unadvertised: neither version gives what no ref has.
    - version2: whether it speaks version 2 of the protocol.
    - filters: whether it makes partial packs.
    - lacks: capabilities that it does not advertise, features of the command fetch among them, such as shallow.
    - agents: what the User-Agent of a request may begin with, else 403; any if empty.
    - redirect: where requests are sent, by prefix of the target: GET by 301, others by 307.
    - broken: so many of the next answers with packs end half-way.
    - lfs_authorization: an Authorization that the batch API takes too, such as git-lfs-authenticate gives.
    - lfs_enabled: whether there is a batch API, else 404.
    - lfs_status: the batch API answers with this status; 0 for the right answer.
    - lfs_errors: code and message that the batch has for single objects, by id.
    - lfs_expires_in: for how many seconds actions are said to be good; 0: that is not said.
    - largest_batch: the batch API refuses more objects at once by 413.

    `batches` are the bodies of the requests that the batch API understood, whatever it answered.
    """

    def __init__(
        self, root: Path, *, basic: tuple[str, str] | None = None, bearer: str = "", any_commit: bool = True,
        tls: CA | None = None, host: str = LOOPBACK,
    ) -> None:  # fmt: skip
        self.root, self.basic, self.bearer, self.any_commit = root, basic, bearer, any_commit
        self.forbid = self.reject_unadvertised = self.filters = False
        self.version2 = self.lfs_enabled = True
        self.lacks: frozenset[str] = frozenset()
        self.agents: tuple[str, ...] = ()
        self.redirect: dict[str, str] = {}
        self.broken = 0
        self.lfs_authorization = ""
        self.lfs_status, self.lfs_expires_in, self.largest_batch = 0, 3600, 100
        self.lfs_errors: dict[str, tuple[int, str]] = {}
        self.batches: list[dict[str, Any]] = []
        self._backend = f"{git('--exec-path')}/git-http-backend"
        super().__init__(tls=tls, index=False, host=host)
        self.storage = Storage(tls=tls, host=host)

    def requests(self, path: str | None = None) -> list[Seen]:  # type: ignore[override]
        """The requests so far, in order; of one decoded path if given."""
        return cast(list[Seen], super().requests(path))

    def clear(self) -> None:
        """Forget the requests, batches and orders, those of the storage too; tokens stay good."""
        super().clear()
        self.batches.clear()
        self.storage.clear()

    def expire(self) -> None:
        """Let the storage refuse all the URLs that were given so far."""
        self.storage.expire()

    def stop(self) -> None:
        """Stop the storage too."""
        try:
            super().stop()
        finally:
            self.storage.stop()

    def _answer(self, path: str, request: Request, fault: Fault) -> _Answer:
        seen = cast(Seen, request)
        if fault.status is not None:
            return super()._answer(path, request, fault)
        for prefix, url in self.redirect.items():
            if seen.target.startswith(prefix):
                code = 301 if seen.method in ("GET", "HEAD") else 307
                return _Answer(code, {"Location": url + seen.target.removeprefix(prefix)})
        found = _PATHS.fullmatch(seen.target.partition("?")[0])
        repo = self._repository(unquote(found[1])) if found else None
        lfs = found is not None and found[2] == "info/lfs/objects/batch"
        if refused := self._refuse(seen, lfs):
            return refused
        if found is None or repo is None or (lfs and not self.lfs_enabled):
            return _Answer(404, {"Content-Type": "text/plain"}, b"no such repository\n")
        return self._batch(repo, seen) if lfs else self._git(repo, unquote(found[2]), seen)

    def _repository(self, name: str) -> Path | None:
        repo = self.root / f"{name}.git"
        return repo if repo.is_dir() and ".." not in name.split("/") else None

    def _refuse(self, seen: Seen, lfs: bool) -> _Answer | None:
        """401 or 403, unless the request may pass."""
        good = {basic_authorization(*self.basic)} if self.basic else set()
        good |= {f"Bearer {self.bearer}"} if self.bearer else set()
        if lfs and good and self.lfs_authorization:
            good.add(self.lfs_authorization)
        if good and seen.authorization not in good:
            challenge = f'{"Basic" if self.basic else "Bearer"} realm="git"'
            headers = {"WWW-Authenticate": challenge, **({"LFS-Authenticate": challenge} if lfs else {})}
            return _message(401, "credentials needed", headers) if lfs else _Answer(401, {**headers})
        if self.agents and not seen.headers.get("user-agent", "").startswith(self.agents):
            return _Answer(403, {"Content-Type": "text/html"}, b"<html><title>Are you a robot?</title></html>")
        if self.forbid:
            return _message(403, "forbidden") if lfs else _Answer(403, {})
        return None

    # Git

    def _git(self, repo: Path, rest: str, seen: Seen) -> _Answer:
        if seen.method == "POST" and self.reject_unadvertised and (unknown := _unadvertised(repo, seen.body)):
            line = f"ERR upload-pack: not our ref {unknown}"
            return _Answer(200, {"Content-Type": PACK_TYPE}, f"{len(line) + 4:04x}{line}".encode())
        config = {"uploadpack.allowFilter": json.dumps(self.filters)}
        config["uploadpack.allowAnySHA1InWant"] = json.dumps(self.any_commit)
        cgi = environment(config) | {"GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1"}
        cgi |= {"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": seen.method}
        cgi |= {"PATH_INFO": f"/{repo.relative_to(self.root)}/{rest}", "CONTENT_LENGTH": str(len(seen.body))}
        cgi |= {"QUERY_STRING": seen.target.partition("?")[2], "CONTENT_TYPE": seen.headers.get("content-type", "")}
        if seen.git_protocol and self.version2:
            cgi["GIT_PROTOCOL"] = seen.git_protocol
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
            asked.write(seen.body)
            asked.seek(0)
            subprocess.run([self._backend], stdin=asked, stdout=said, env=cgi, timeout=60, check=False)
            said.seek(0)
            headers: dict[str, str | None] = {**parse_headers(said)}
            body = cast(Body, _Mapped(cast(BinaryIO, said), said.tell()))
        if self.lacks and rest == "info/refs":
            body = _without(body[:], self.lacks)
        code = int((headers.pop("Status", None) or "200").split()[0])
        return _Answer(code, headers, body)

    def _send(self, connection: Connection, request: Request, answer: _Answer, fault: Fault) -> bool:
        """What git says comes in chunks, as a CGI's output that nobody knows the length of."""
        kind = answer.headers.get("Content-Type") or ""
        if kind.startswith("application/x-git-"):
            fault = replace(fault, chunked=True)
        if kind == PACK_TYPE and b"command=ls-refs" not in cast(Seen, request).body:
            with self._lock:
                breaks, self.broken = self.broken > 0, max(0, self.broken - 1)
            if breaks:
                fault = replace(fault, cut="close", after=len(answer.body) // 2)
        return super()._send(connection, request, answer, fault)

    # LFS

    def _batch(self, repo: Path, seen: Seen) -> _Answer:
        if seen.method != "POST":
            return _message(405, "only POST")
        if LFS_TYPE not in seen.headers.get("accept", ""):
            return _message(406, f"Accept is not {LFS_TYPE}")
        if seen.headers.get("content-type", "").partition(";")[0] != LFS_TYPE:
            return _message(422, f"Content-Type is not {LFS_TYPE}")
        try:
            asked = json.loads(seen.body)
            operation, objects = asked["operation"], [(row["oid"], row["size"]) for row in asked["objects"]]
        except (ValueError, KeyError, TypeError) as error:
            return _message(422, f"no batch: {error!r}")
        with self._lock:
            self.batches.append(asked)
        if self.lfs_status:
            return _message(self.lfs_status, f"status {self.lfs_status} by order")
        if len(objects) > self.largest_batch:
            return _message(413, f"more than {self.largest_batch} objects")
        if operation not in ("download", "upload") or "basic" not in asked.get("transfers", ["basic"]):
            return _message(422, "neither download nor upload by basic transfer")
        if asked.get("hash_algo", "sha256") != "sha256":
            return _message(409, "the hash algorithm is sha256")
        rows = [self._row(repo, operation, oid, size) for oid, size in objects]
        return _lfs_json(200, {"transfer": "basic", "objects": rows, "hash_algo": "sha256"})

    def _row(self, repo: Path, operation: Operation, oid: str, size: int) -> dict[str, Any]:
        """What the batch says of an object."""
        row: dict[str, Any] = {"oid": oid, "size": size}
        file = object_file(repo, oid)
        error = self.lfs_errors.get(oid)
        if error is None and not re.fullmatch("[0-9a-f]{64}", oid):
            error = 422, "no id of an object"
        elif error is None and file.exists() and file.stat().st_size != size:
            error = 422, "the size is wrong"
        elif error is None and operation == "download" and not file.exists():
            error = 404, "Object does not exist on the server"
        if error is not None:
            return row | {"error": {"code": error[0], "message": error[1]}}
        if operation == "upload" and file.exists():
            return row
        action: dict[str, Any] = {"href": self.storage.sign(operation, oid, file), "header": ACTION_HEADER}
        if self.lfs_expires_in:
            end = datetime.now(UTC) + timedelta(seconds=self.lfs_expires_in)
            action |= {"expires_in": self.lfs_expires_in, "expires_at": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return row | {"authenticated": True, "actions": {operation: action}}


PACK_TYPE = "application/x-git-upload-pack-result"
_GIT_PATHS = "HEAD|info/refs|git-upload-pack|git-receive-pack|objects/.+"
_PATHS = re.compile(f"/(.+?)(?:[.]git)?/({_GIT_PATHS}|info/lfs/objects/batch)")


def _unadvertised(repo: Path, body: bytes) -> str | None:
    """The first id wanted in the pkt-lines of a body that no ref has."""
    wants = [line.split()[1].decode() for line in _packets(body) if line.startswith(b"want ")]
    known = git("for-each-ref", "--format=%(objectname)", cwd=repo).split()
    known += git("rev-parse", "--verify", "--quiet", "HEAD", cwd=repo, check=False).split()
    return next((want for want in wants if want not in known), None)


def _without(body: bytes, lacks: frozenset[str]) -> bytes:
    """What a server advertises, without some of it: the words behind the first ref, or the lines of version 2."""
    out = b""
    while body:
        size = int(body[:4], 16)
        line, body = body[4:size], body[max(4, size) :]
        if b"\0" in line or line.startswith(b"fetch="):
            name, separator, words = line.rstrip(b"\n").partition(b"\0" if b"\0" in line else b"=")
            kept = [word for word in words.split(b" ") if word.partition(b"=")[0].decode() not in lacks]
            line = name + (separator if any(kept) else b"") + b" ".join(kept) + b"\n"
        elif line and line.partition(b"=")[0].strip().decode("latin-1") in lacks:
            continue
        out += packet(line) if line else b"%04x" % size
    return out


def packet(line: bytes) -> bytes:
    """A line of git's protocol (gitprotocol-common(5), "pkt-line")."""
    return b"%04x" % (len(line) + 4) + line


def _packets(body: bytes) -> Iterator[bytes]:
    while body:
        size = max(4, int(body[:4], 16))  # 0000, 0001 and 0002 hold nothing
        yield body[4:size]
        body = body[size:]


def _lfs_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(status, {"Content-Type": LFS_TYPE, **(headers or {})}, json.dumps(value).encode())


def _message(status: int, text: str, headers: Mapping[str, str] | None = None) -> _Answer:
    """An error of the batch API."""
    return _lfs_json(status, {"message": text, "request_id": uuid.uuid4().hex}, headers)
