"""The servers that the other tests lean on keep to their protocols, and misbehave as ordered."""

import errno
import hashlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import paramiko
import pytest
from botocore.exceptions import ClientError

from tests.servers import process
from tests.servers.apache import Apache
from tests.servers.caddy import Caddy
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.mounts import UNPRIVILEGED, as_user, directory_of, in_user_namespace, small_tmpfs
from tests.servers.nginx import Nginx
from tests.servers.orders import (
    BEFORE_HEAD,
    Fault,
    Virtual,
    basic,
    change,
    chunked,
    close,
    digest,
    extra,
    flip,
    ignore_range,
    is_head,
    redirect,
    reset,
    slow,
    stall,
    status,
)
from tests.servers.process import Server, find, free_port, wait_until
from tests.servers.proxy import Proxy
from tests.servers.pyhttp import PythonHttp
from tests.servers.s3 import ANONYMOUS_BUCKET, S3, SeaweedFS
from tests.servers.sftp import Sshd
from tests.servers.tls import CA

MIB = 1024 * 1024
Answer = tuple[int, Mapping[str, str], bytes]


def ask(url: str, method: str = "GET", tls: ssl.SSLContext | None = None, **headers: str) -> Answer:
    """One request on a connection of its own, redirects not followed; ``_`` in header names means ``-``."""
    parts = urlsplit(url)
    host = (parts.hostname or "", parts.port)
    connection = (
        http.client.HTTPSConnection(*host, timeout=10, context=tls)
        if tls
        else http.client.HTTPConnection(*host, timeout=10)
    )
    with closing(connection):
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


# The fault server, obeying


def test_fault_server_ranges_and_preconditions(fault: FaultServer) -> None:
    url = fault.put("/d/a.bin", b"0123456789", etag='"v1"')
    code, headers, body = ask(url)
    assert (code, body, headers["Content-Length"], headers["ETag"]) == (200, b"0123456789", "10", '"v1"')
    assert headers["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    modified = headers["Last-Modified"]

    parts = {"bytes=2-4": b"234", "bytes=7-": b"789", "bytes=-3": b"789", "bytes=8-99": b"89"}
    for asked, expected in parts.items():
        assert ask(url, Range=asked)[::2] == (206, expected)
    assert ask(url, Range="bytes=2-4")[1]["Content-Range"] == "bytes 2-4/10"
    code, headers, _ = ask(url, Range="bytes=10-")
    assert (code, headers["Content-Range"]) == (416, "bytes */10")
    for validator in ('"v1"', modified):
        assert ask(url, Range="bytes=2-4", If_Range=validator)[0] == 206
    for validator in ('"v0"', 'W/"v1"', "Sun, 31 Dec 2023 00:00:00 GMT"):
        assert ask(url, Range="bytes=2-4", If_Range=validator)[::2] == (200, b"0123456789")
    assert [ask(url, If_Match=tag)[0] for tag in ('"v1"', '"v0", "v1"', "*", '"v0"')] == [200, 200, 200, 412]
    assert [ask(url, If_None_Match=tag)[0] for tag in ('W/"v1"', '"v0"')] == [304, 200]
    code, headers, body = ask(url, "HEAD")
    assert (code, headers["Content-Length"], body) == (200, "10", b"")
    assert ask(url, "POST")[0] == 405
    assert ask(fault.url + "/none")[0] == 404


def test_fault_server_keeps_connections_and_records(fault: FaultServer) -> None:
    assert fault.put("/a b?", b"x" * 1000) == f"{fault.url}/a%20b%3F"
    with closing(http.client.HTTPConnection("127.0.0.1", fault.port)) as connection:
        for _ in range(2):
            connection.request("GET", "/a%20b%3F?q=1", headers={"X-Y": "z"})
            assert len(connection.getresponse().read()) == 1000
            sock = connection.sock
        assert connection.sock is sock
    first, second = fault.requests("/a b?")
    assert (first.method, first.target, first.headers["x-y"]) == ("GET", "/a%20b%3F?q=1", "z")
    wait_until(lambda: fault.bytes_sent() == 2000, "the server to count what it sent")
    assert (second.status, fault.bytes_sent("/other")) == (200, 0)
    fault.clear()
    assert fault.requests() == []


def test_fault_server_virtual_content(fault: FaultServer) -> None:
    big = Virtual(5 * MIB + 3, seed=7)
    url = fault.put("/big", big)
    body = ask(url)[2]
    assert hashlib.sha256(body).digest() == digest(big).digest()
    start, stop = 999_990, 3_000_100
    assert ask(url, Range=f"bytes={start}-{stop - 1}")[2] == body[start:stop] == big[start:stop]


def test_fault_server_index(fault: FaultServer) -> None:
    fault.put("/d/a.bin", b"12345")
    fault.put("/d/sub/b", b"")
    fault.put("/hand/", b'<a href="../../etc">x</a>', headers={"Content-Type": "text/html"})
    code, headers, body = ask(fault.url + "/d?q=1")
    assert (code, headers["Location"]) == (301, "/d/?q=1")
    rows = [{k: v for k, v in row.items() if k != "mtime"} for row in json.loads(ask(fault.url + "/d/")[2])]
    assert rows == [{"name": "a.bin", "type": "file", "size": 5}, {"name": "sub", "type": "directory"}]
    code, headers, body = ask(fault.url + "/hand/")
    assert (headers["Content-Type"], body) == ("text/html", b'<a href="../../etc">x</a>')


# The fault server, misbehaving


def test_fault_server_statuses_and_headers(fault: FaultServer) -> None:
    url = fault.put("/a", b"0123456789", headers={"Content-MD5": "eB5eJF1ptWaXm4bijSPyxw=="})
    fault.order("/a", status(429, retry_after=7), redirect("http://other/x", 307), extra({"ETag": None}))
    assert (ask(url)[1]["Retry-After"], ask(url)[1]["Location"]) == ("7", "http://other/x")
    headers = ask(url)[1]
    assert (headers["ETag"], headers["Content-MD5"]) == (None, "eB5eJF1ptWaXm4bijSPyxw==")
    fault.order("/a", extra({"Content-Range": "bytes 0-1/99"}), ignore_range(), flip(3), chunked())
    assert ask(url, Range="bytes=2-4")[1]["Content-Range"] == "bytes 0-1/99"
    assert ask(url, Range="bytes=2-4")[::2] == (200, b"0123456789")
    assert ask(url, Range="bytes=2-4")[2] == bytes([ord("2"), ord("3") ^ 0xFF, ord("4")])
    _, headers, body = ask(url)
    assert (headers["Content-Length"], headers["Transfer-Encoding"], body) == (None, "chunked", b"0123456789")
    assert ask(url)[::2] == (200, b"0123456789")


def test_fault_server_orders_by_predicate_count_and_path(fault: FaultServer) -> None:
    url, other = fault.put("/a", b"old"), fault.put("/b", b"")
    fault.order(ANY, status(405), when=is_head, times=ALWAYS)
    fault.order("/a", change(b"new"), after=1)
    tags = [ask(url)[1]["ETag"], ask(other, "HEAD")[0], ask(url)[1]["ETag"]]
    assert tags[0] != tags[2]
    assert tags[1] == ask(url, "HEAD")[0] == 405
    _, headers, body = ask(url)
    assert (headers["Last-Modified"], body) == ("Mon, 01 Jan 2024 00:01:00 GMT", b"new")


def test_fault_server_cuts(fault: FaultServer) -> None:
    url = fault.put("/a", Virtual(3 * MIB))
    fault.order("/a", close(1000), reset(500_000), close(BEFORE_HEAD), Fault(chunked=True, cut="close", after=9))
    with pytest.raises(http.client.IncompleteRead) as short:
        ask(url)
    assert len(short.value.partial) == 1000
    with pytest.raises(ConnectionResetError):
        ask(url)
    assert fault.requests()[1].sent == 500_000
    with pytest.raises(http.client.RemoteDisconnected):
        ask(url)
    with pytest.raises(http.client.IncompleteRead):
        ask(url)
    assert len(ask(url)[2]) == 3 * MIB


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_fault_server_stalls_until_released_or_left(kind: str, ca: CA) -> None:
    tls = ca if kind == "tls" else None
    with FaultServer(tls=tls) as server:
        url = server.put("/a", bytes(1000))
        server.order("/a", stall(10), stall(10))
        context = ca.client_context() if tls else None
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(url, timeout=0.2, context=context).read()
        answers: list[Answer] = []
        client = threading.Thread(target=lambda: answers.append(ask(url, tls=context)))
        client.start()
        wait_until(lambda: server.bytes_sent() == 20, "the second stall")
        server.release()
        client.join()
        assert answers[0][2] == bytes(1000)


def test_fault_server_rate_is_of_a_connection(fault: FaultServer) -> None:
    url = fault.put("/a", bytes(1_000_000))
    fault.order("/a", slow(2e6), times=ALWAYS)
    clients = [threading.Thread(target=ask, args=(url,)) for _ in range(4)]
    started = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert 0.45 < time.monotonic() - started < 1.9  # one after the other would take 2 s


def test_fault_server_wants_authorization_and_speaks_tls(ca: CA) -> None:
    with FaultServer(tls=ca, authorization=basic("u", "p")) as server:
        url = server.put("/a", b"secret")
        code, headers, _ = ask(url, tls=ca.client_context())
        assert (code, headers["WWW-Authenticate"]) == (401, 'Basic realm="dsload"')
        assert ask(url, tls=ca.client_context(), Authorization=basic("u", "p"))[2] == b"secret"
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(url, tls=ssl.create_default_context())


def test_proxy(fault: FaultServer, fault_tls: FaultServer, ca: CA) -> None:
    plain, secret = fault.put("/a?b", b"plain"), fault_tls.put("/s", b"secret")
    curl = [find("curl", "curl"), "-sS", "--cacert", str(ca.bundle), "--noproxy", "", "--proxy"]
    with Proxy(auth=("u", "p"), hosts=frozenset({"models.example"})) as proxy:
        user = ["--proxy-user", "u:p"]
        url = f"http://models.example:{fault.port}/a%3Fb?q=1"
        assert subprocess.check_output([*curl, proxy.url, *user, url]) == b"plain"
        assert subprocess.check_output([*curl, proxy.url, *user, secret]) == b"secret"
        assert subprocess.run([*curl, proxy.url, "-f", plain], capture_output=True).returncode == 22
        targets = [(r.method, r.target, r.status) for r in proxy.requests()]
    assert targets[:2] == [("GET", url, 0), ("CONNECT", f"127.0.0.1:{fault_tls.port}", 0)]
    assert targets[2][2] == 407
    (request,) = fault.requests()
    assert (request.target, request.headers["host"]) == ("/a%3Fb?q=1", f"models.example:{fault.port}")
    assert "proxy-authorization" not in request.headers


# Web servers

NAMES = ("a b+c%41&é.bin", "a-name-longer-than-the-columns-of-an-index.bin")


@pytest.fixture
def tree(www: Path, tmp_path: Path) -> Path:
    """A directory of this test in www."""
    directory = www / tmp_path.name
    (directory / "sub").mkdir(parents=True)
    for name in NAMES:
        (directory / name).write_bytes(b"0123456789")
    return directory


def test_nginx(nginx: Nginx, tree: Path) -> None:
    nginx.clear()
    code, _, body = ask(f"{nginx.url}{tree.name}/{NAMES[1]}", Range="bytes=2-4")
    assert (code, body) == (206, b"234")
    assert b'<a href="sub/">' in ask(f"{nginx.url}{tree.name}/")[2]
    rows = json.loads(ask(f"{nginx.json_url}{tree.name}/")[2])
    assert {(row["name"], row["type"], row.get("size")) for row in rows} == {
        ("sub", "directory", None),
        *((name, "file", 10) for name in NAMES),
    }
    ranged, *listings = nginx.requests()
    assert (ranged.method, ranged.target, ranged.status, ranged.sent, ranged.range) == (
        "GET",
        f"/{tree.name}/{NAMES[1]}",
        206,
        3,
        "bytes=2-4",
    )
    assert len(listings) == 2


def test_nginx_with_tls_auth_and_rate(tmp_path: Path, tree: Path, www: Path, ca: CA) -> None:
    (tree / "big").write_bytes(bytes(300_000))
    with Nginx(tmp_path / "nginx", www, tls=ca, auth=("u", "p"), rate=1_000_000) as nginx:
        url, tls = f"{nginx.url}{tree.name}/big", ca.client_context()
        assert ask(url, tls=tls)[0] == 401
        started = time.monotonic()
        assert len(ask(url, tls=tls, Authorization=basic("u", "p"))[2]) == 300_000
        assert time.monotonic() - started > 0.1


def test_apache(apache: Apache, tree: Path) -> None:
    listings = [ask(f"{url}{tree.name}/")[2] for url in (apache.url, apache.fancy_url, apache.table_url)]
    assert [text in page for text, page in zip((b"<ul>", b"<pre>", b"<table>"), listings, strict=True)]
    for page in listings:
        assert NAMES[1].encode() in page
    assert ask(f"{apache.fancy_url}{tree.name}/{NAMES[1]}", Range="bytes=-2")[::2] == (206, b"89")


def test_caddy(caddy: Caddy, tree: Path) -> None:
    assert b'href="./sub/"' in ask(f"{caddy.url}{tree.name}/")[2]
    rows = json.loads(ask(f"{caddy.url}{tree.name}/", Accept="application/json")[2])
    assert {(row["name"], row["is_dir"]) for row in rows} >= {(NAMES[0], False)}
    assert ask(f"{caddy.url}{tree.name}/{NAMES[1]}", Range="bytes=-2")[::2] == (206, b"89")


def test_python_http(python_http: PythonHttp, tree: Path) -> None:
    assert b'<a href="sub/">' in ask(f"{python_http.url}{tree.name}/")[2]
    code, headers, body = ask(f"{python_http.url}{tree.name}/{NAMES[1]}", Range="bytes=-2")
    assert (code, headers["ETag"], body) == (200, None, b"0123456789")


# S3


@pytest.fixture(params=["seaweed", "moto"])
def store(request: pytest.FixtureRequest) -> S3:
    return request.getfixturevalue(request.param)


def test_s3_lists_in_pages(store: S3) -> None:
    bucket = store.new_bucket()
    keys = sorted([*(f"d/{n}" for n in range(5)), "a b+c%&é?#", "empty"])
    for key in keys:
        store.put(bucket, key, b"" if key == "empty" else b"x")
    pages = list(store.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3}))
    assert [row["Key"] for page in pages for row in page["Contents"]] == keys
    assert len(pages) == 3


@pytest.mark.parametrize("checksum", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_s3_states_checksums(store: S3, checksum: str) -> None:
    bucket = store.new_bucket()
    store.put(bucket, "a", b"content", checksum)
    head = store.s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert head[f"Checksum{checksum}"]


def test_s3_multipart_etag_is_of_its_parts(store: S3) -> None:
    bucket, parts = store.new_bucket(), [b"a" * 5 * MIB, b"b" * 100]
    store.put_parts(bucket, "big", parts)
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert store.s3.head_object(Bucket=bucket, Key="big")["ETag"] == f'"{expected}-2"'
    assert store.s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(parts)


def test_seaweed_checks_who_asks(seaweed: SeaweedFS) -> None:
    private = seaweed.new_bucket()
    seaweed.put(ANONYMOUS_BUCKET, "a", b"free")
    nobody = seaweed.client(anonymous=True)
    assert nobody.get_object(Bucket=ANONYMOUS_BUCKET, Key="a")["Body"].read() == b"free"
    for client in (nobody, seaweed.client("AK", "wrong"), seaweed.client("nobody", "SK")):
        with pytest.raises(ClientError) as refused:
            client.list_objects_v2(Bucket=private)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


# The rest


def test_sshd(sshd: Sshd) -> None:
    (sshd.root / "a").write_bytes(b"0123456789")
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(sshd.known_hosts))
        client.connect(sshd.host, sshd.port, sshd.user, key_filename=str(sshd.key), allow_agent=False)
        with client.open_sftp() as sftp, sftp.open(str(sshd.root / "a")) as file:
            assert file.read() == b"0123456789"


def test_small_tmpfs(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "m", 16 * 4096, inodes=3) as small:
        with pytest.raises(OSError, match="No space") as full, (small / "a").open("wb") as file:
            file.write(bytes(17 * 4096))
            file.flush()
        assert full.value.errno == errno.ENOSPC
        (small / "b").touch()
        with pytest.raises(OSError, match="No space"):
            (small / "c").touch()
    assert not (tmp_path / "m" / "a").exists()


def test_other_users(tmp_path: Path) -> None:
    with directory_of(UNPRIVILEGED) as directory:
        chown = [sys.executable, "-c", "import os; open('a', 'w').close(); os.chown('a', 1000, 1000)"]
        run = subprocess.run(as_user(chown), cwd=directory, capture_output=True, text=True)
        assert "PermissionError" in run.stderr
        assert (directory / "a").stat().st_uid == UNPRIVILEGED
    run = subprocess.run(in_user_namespace(chown), cwd=tmp_path, capture_output=True, text=True)
    assert "Invalid argument" in run.stderr


def test_a_missing_program_is_a_skip_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-package"):
        find("no-such-program", "no-package")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        find("no-such-program", "no-package")


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import pathlib, os, sys\n"
        "from tests.servers.nginx import Nginx\n"
        f"server = Nginx(pathlib.Path({str(tmp_path / 'nginx')!r}), pathlib.Path({str(tmp_path)!r}))\n"
        "print(server.port, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    port = int(run.stdout)
    wait_until(lambda: not _accepts(port), "nginx to die")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = Server("false", tmp_path)
    with pytest.raises(RuntimeError, match=r"exit code 3[\s\S]*no such luck"):
        server.start(["sh", "-c", "echo no such luck; exit 3"], lambda: False)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((process.LOOPBACK, port)) == 0
