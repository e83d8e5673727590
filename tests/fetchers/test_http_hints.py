"""Hints that are wrong: HEAD, sizes of a listing, ETags; and pages, folders and encodings in the place of files."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dsload import Network, Progress, Settings, Source, Target, load, read_secrets
from dsload.errors import DsloadError, NotFoundError, RefusedError, UnsafePathError
from dsload.report import Files, Noted
from tests.loads import bodies, bring, write_secrets
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.orders import Fault, Virtual, basic, close, extra, ignore_range, is_head, redirect, stall, status
from tests.servers.threaded import Request
from tests.trees import contents

MIB = 1 << 20
SMALL = b"small enough for one request"
BIG = bytes(Virtual(20 * MIB + 17, seed=1)[:])  # parts of 8 MiB
PATIENT = Settings(Network(workers=4, retry_budget=20, stall_timeout=1))
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def other() -> FaultServer:
    """Another host: another port is one."""
    with FaultServer() as server:
        yield server


# HEAD

WRONG_HEADS: dict[str, Fault] = {
    "501": status(501),
    "403": status(403),
    "404": status(404),
    "405": status(405),
    "500": status(500),
    "no answer": close(-1),
    "an answer that never comes": stall(-1),
    "0 bytes": extra({"Content-Length": "0"}),
    "fewer bytes": extra({"Content-Length": "5"}),
    "more bytes": extra({"Content-Length": "99999999"}),
    "no length": extra({"Content-Length": None}),
    "a login page": redirect("/login"),
}


@pytest.mark.parametrize("name", WRONG_HEADS)
@pytest.mark.parametrize("body", [SMALL, BIG, b""], ids=["small", "big", "empty"])
def test_the_get_has_the_last_word(fault: FaultServer, volume: Path, name: str, body: bytes) -> None:
    url = fault.put("/model.bin", body)
    fault.put("/login", b"<html>Sign in</html>", headers=HTML)
    fault.order("/model.bin", WRONG_HEADS[name], when=is_head, times=ALWAYS)
    report = bring(url, volume, settings=PATIENT)
    assert contents(volume / "set") == {"model.bin": body}
    assert report.bytes.total == len(body)
    assert bring(url, volume, settings=PATIENT).bytes.moved == 0


@pytest.mark.parametrize("name", ["501", "0 bytes", "an answer that never comes"])
def test_the_files_of_an_index_too(fault: FaultServer, volume: Path, name: str) -> None:
    files = {"a.bin": SMALL, "sub/big.bin": BIG, "sub/empty": b""}
    for path, body in files.items():
        fault.put(f"/set/{path}", body)
    rows = {"": ["a.bin", "sub/"], "sub/": ["big.bin", "empty"]}
    for folder, names in rows.items():
        links = "".join(f'<li><a href="{each}">{each}</a></li>' for each in names)
        page = f"<title>Directory listing for /set/{folder}</title><ul>{links}</ul>"
        fault.put(f"/set/{folder}", page.encode(), headers=HTML)
    fault.order(ANY, WRONG_HEADS[name], when=is_head, times=ALWAYS)
    bring(f"{fault.url}/set/", volume, settings=PATIENT)
    assert contents(volume / "set") == files
    assert bring(f"{fault.url}/set/", volume, settings=PATIENT).files == Files(3, 0, 3, 0)


def test_a_size_that_the_index_has_wrong(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a.bin", SMALL)
    row = {"name": "a.bin", "type": "file", "mtime": "Mon, 01 Jan 2024 00:00:00 GMT", "size": 5}
    fault.put("/set/", json.dumps([row]).encode(), headers={"Content-Type": "application/json"})
    bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == {"a.bin": SMALL}


# Two servers of one name


class Replicas:
    """A pair: every other answer has the ETag of the second."""

    def __init__(self, fault: FaultServer, path: str) -> None:
        self.count = 0
        fault.order(path, extra({"ETag": '"second"'}), when=self.is_second, times=ALWAYS)

    def is_second(self, request: Request) -> bool:
        self.count += request.method == "GET"
        return self.count % 2 == 0


@pytest.mark.parametrize("modified", ["", None], ids=["with a date", "without"])
def test_two_etags_of_one_content(fault: FaultServer, volume: Path, modified: str | None) -> None:
    url = fault.put("/big.bin", BIG, modified=modified)
    Replicas(fault, "/big.bin")
    bring(url, volume, settings=PATIENT)
    assert contents(volume / "set") == {"big.bin": BIG}


def test_two_etags_and_a_checksum_that_tells(fault: FaultServer, volume: Path) -> None:
    """Then all connections stay at work, whatever the servers' dates are."""
    fault.put("/set/big.bin", BIG)
    fault.put("/set/SHA256SUMS", f"{hashlib.sha256(BIG).hexdigest()}  big.bin\n".encode())
    second = extra({"ETag": '"second"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"})
    fault.order("/set/big.bin", second, when=lambda r: "bytes=0-" not in r.headers.get("range", ""), times=ALWAYS)
    report = bring(f"{fault.url}/set/", volume, settings=PATIENT)
    assert contents(volume / "set")["big.bin"] == BIG
    assert report.notes.unverified == Noted(1, ("SHA256SUMS",))
    assert all(request.status == 206 for request in bodies(fault, "/set/big.bin"))


# A page in the place of a file


@pytest.mark.parametrize("name", ["model.bin", "config.json", "LICENSE"])
@pytest.mark.parametrize("body", [b"<html>blob</html>", b"<html>" + b" " * 2 * MIB], ids=["small", "big"])
def test_a_page_is_not_a_file(fault: FaultServer, volume: Path, name: str, body: bytes) -> None:
    url = fault.put(f"/owner/name/blob/main/{name}", body, headers=HTML)
    with pytest.raises(
        RefusedError, match=rf"{name} from .*blob/main/{name}: the server answers with a page \(text/html\)"
    ):
        bring(url, volume)
    assert not contents(volume / "set")
    bring(url, volume, Accept="text/html")
    assert contents(volume / "set") == {name: body}


@pytest.mark.parametrize("name", ["page.html", "Page.HTM", "index.xhtml"])
def test_a_page_is_a_file_if_that_is_its_name(fault: FaultServer, volume: Path, name: str) -> None:
    bring(fault.put(f"/{name}", b"<html></html>", headers=HTML), volume)
    assert contents(volume / "set") == {name: b"<html></html>"}


def test_a_session_that_has_ended(fault: FaultServer, other: FaultServer, volume: Path) -> None:
    login = other.put("/login", b"<html>Sign in</html>", headers=HTML)
    fault.order("/model.bin", redirect(f"{login}?next=model.bin&token=s3cret"), times=ALWAYS)
    with pytest.raises(RefusedError, match=rf"{login}.* answers with a page .*; check the credentials") as error:
        bring(f"{fault.url}/model.bin", volume)
    assert "s3cret" not in str(error.value)
    for name in ("a.bin", "b.bin"):
        fault.put(f"/set/{name}", SMALL)
    fault.order("/set/b.bin", redirect(login), times=ALWAYS)
    with pytest.raises(RefusedError, match=r"b\.bin from .* answers with a page"):
        bring(f"{fault.url}/set/", volume)
    assert "b.bin" not in contents(volume / "set")


@pytest.mark.parametrize("name", ["SHA256SUMS", "a.bin.sha256"])
def test_a_page_is_not_a_list_of_checksums(fault: FaultServer, volume: Path, name: str) -> None:
    fault.put("/set/a.bin", SMALL)
    fault.put(f"/set/{name}", b"<html>Sign in</html>", headers=HTML)
    with pytest.raises(RefusedError, match=rf"{name} from .* answers with a page"):
        bring(f"{fault.url}/set/", volume)
    assert not contents(volume / "set")


@pytest.mark.parametrize("status_code", [404, 403])
def test_checksums_that_are_not_selected_cannot_fail_a_load(fault: FaultServer, volume: Path, status_code: int) -> None:
    fault.put("/set/a.bin", SMALL)
    fault.put("/set/SHA256SUMS", b"")
    fault.order("/set/SHA256SUMS", status(status_code), times=ALWAYS)
    assert bring(f"{fault.url}/set/", volume, include="*.bin").unverified == 1
    fault.clear()
    bring(f"{fault.url}/set/", volume, exclude="SHA256SUMS")
    assert fault.requests("/set/SHA256SUMS") == []


def test_checksums_of_a_windows_shell(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a.bin", SMALL)
    fault.put("/set/SHA256SUMS", f"{hashlib.sha256(SMALL).hexdigest()}  a.bin\r\n".encode("utf-16"))
    assert bring(f"{fault.url}/set/", volume).notes.unverified.first == ("SHA256SUMS",)


# A folder in the place of a file


def html_index(*names: str, title: str = "Index of /set/") -> bytes:
    rows = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
    return f"<html><title>{title}</title><pre>{rows}</pre></html>".encode()


def test_a_folder_that_is_linked_without_its_slash(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/", html_index("sub", "a.bin"), headers=HTML)
    fault.put("/set/sub/", html_index("deep", "b.bin"), headers=HTML)
    fault.put("/set/sub/deep/", html_index("c.bin"), headers=HTML)
    for path in ("a.bin", "sub/b.bin", "sub/deep/c.bin"):
        fault.put(f"/set/{path}", SMALL)
    bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == dict.fromkeys(("a.bin", "sub/b.bin", "sub/deep/c.bin"), SMALL)
    fault.clear()
    bring(f"{fault.url}/set/", volume, exclude="sub/*")
    assert fault.requests("/set/sub/deep") == []


def test_a_folder_without_its_slash_on_another_host(fault: FaultServer, other: FaultServer, volume: Path) -> None:
    fault.put("/set/", html_index("sub"), headers=HTML)
    fault.order("/set/sub", redirect(f"{other.url}/set/sub/"), times=ALWAYS)
    other.put("/set/sub/a.bin", SMALL)
    with pytest.raises(UnsafePathError, match=r"sub/ of .* another host"):
        bring(f"{fault.url}/set/", volume)


def test_a_folder_that_the_index_calls_a_file(fault: FaultServer, volume: Path) -> None:
    """With a size and a time, so that nothing is asked before the GET."""
    row = {"name": "sub", "type": "file", "mtime": "Mon, 01 Jan 2024 00:00:00 GMT", "size": 4096}
    fault.put("/set/", json.dumps([row]).encode(), headers={"Content-Type": "application/json"})
    fault.put("/set/sub/a.bin", SMALL)
    bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == {"sub/a.bin": SMALL}


def test_the_url_of_a_folder_without_its_slash(fault: FaultServer, volume: Path) -> None:
    """Some servers list it without a redirect."""
    fault.put("/set", html_index("/set/a.bin", "/set/sub/"), headers=HTML)
    fault.put("/set/sub/", html_index("b.bin"), headers=HTML)
    for path in ("a.bin", "sub/b.bin"):
        fault.put(f"/set/{path}", SMALL)
    bring(f"{fault.url}/set", volume)
    assert contents(volume / "set") == {"a.bin": SMALL, "sub/b.bin": SMALL}


def test_a_redirect_to_a_folder_that_is_not_listed(fault: FaultServer, volume: Path) -> None:
    fault.order("/set", redirect("/set/"), times=ALWAYS)
    fault.put("/set/", b"<html>Welcome</html>", headers=HTML)
    with pytest.raises(NotFoundError, match="not a directory index"):
        bring(f"{fault.url}/set", volume)


# Encodings


def encoded(name: str, body: bytes, encoding: str) -> Callable[[FaultServer], str]:
    return lambda server: server.put(name, gzip.compress(body), headers={"Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("body", [b'{"a": 1}', BIG], ids=["small", "big"])
@pytest.mark.parametrize("ranges", [True, False])
def test_an_encoding_that_nobody_asked_for_is_undone(
    fault: FaultServer, volume: Path, encoding: str, body: bytes, ranges: bool
) -> None:
    url = encoded("/set/config.json", body, encoding)(fault)
    if not ranges:
        fault.order("/set/config.json", ignore_range(), times=ALWAYS)
    bring(url, volume)
    assert contents(volume / "set") == {"config.json": body}


def test_an_encoded_file_of_an_index(fault: FaultServer, volume: Path) -> None:
    """The index states the size of the file, the answer that of its encoded form."""
    for name, body in {"config.json": SMALL, "big.json": BIG}.items():
        encoded(f"/set/{name}", body, "gzip")(fault)
    time = "Mon, 01 Jan 2024 00:00:00 GMT"
    rows = [
        {"name": name, "type": "file", "mtime": time, "size": len(body)}
        for name, body in (("config.json", SMALL), ("big.json", BIG))
    ]
    fault.put("/set/", json.dumps(rows).encode(), headers={"Content-Type": "application/json"})
    bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == {"config.json": SMALL, "big.json": BIG}


@pytest.mark.parametrize("name", ["data.tar.gz", "data.TGZ", "shard-0.json.gz"])
def test_a_compressed_file_is_kept_as_it_is_stored(fault: FaultServer, volume: Path, name: str) -> None:
    """Servers call its form an encoding. It is read by ranges, and resumed, like any file."""
    stored = bytes(Virtual(20 * MIB, seed=3)[:])
    url = fault.put(f"/{name}", stored, headers={"Content-Encoding": "x-gzip", "Content-Type": "application/x-tar"})
    fault.order(f"/{name}", close(-1), when=lambda request: request.method == "GET", after=1, times=ALWAYS)
    with pytest.raises(DsloadError):
        bring(url, volume, settings=Settings(Network(workers=1, retry_budget=1)))
    fault.clear()
    report = bring(url, volume)
    assert contents(volume / "set") == {name: stored}
    assert report.bytes.resumed >= 8 * MIB


def test_an_encoding_that_cannot_be_undone(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/config.json", SMALL, headers={"Content-Encoding": "compress"})
    with pytest.raises(RefusedError, match=r"encoding.*; have the server send the file as it is stored"):
        bring(url, volume)
    assert not contents(volume / "set")


# Secrets


@pytest.mark.parametrize("way", ["token", "password"])
def test_a_token_that_is_renewed_while_a_load_runs(fault: FaultServer, volume: Path, tmp_path: Path, way: str) -> None:
    """As Kubernetes renews a mounted Secret: `..data` leads to another folder."""
    secrets = tmp_path / "secrets"
    values = {"token": ("Bearer old", "Bearer new"), "password": (basic("me", "old"), basic("me", "new"))}[way]
    for folder, value in (("1", "old"), ("2", "new")):
        write_secrets(secrets / folder, **{"username": "me"} if way == "password" else {}, **{way: value})
    (secrets / "..data").symlink_to("1")
    for name in ("username", way):
        (secrets / name).symlink_to(f"..data/{name}")
    for name in ("small.bin", "big.bin"):
        fault.put(f"/set/{name}", SMALL if name == "small.bin" else BIG)
    fault.authorization = values[0]

    class Renewing(Progress):
        def expect(self, files: int, size: int) -> None:
            (secrets / "..new").symlink_to("2")
            (secrets / "..new").rename(secrets / "..data")
            fault.authorization = values[1]
            super().expect(files, size)

    volume.mkdir()
    source = Source.parse(f"{fault.url}/set/")
    load(source, Target(volume, "set"), read_secrets(secrets), PATIENT, Renewing())
    assert contents(volume / "set") == {"small.bin": SMALL, "big.bin": BIG}
