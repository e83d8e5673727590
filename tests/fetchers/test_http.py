"""HTTP sources, loaded from real servers and from the fault server: names, indexes, credentials, checksums, reruns."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dsload import Network, Secrets, Settings, read_secrets
from dsload.errors import DsloadError, IntegrityError, NotFoundError, RefusedError, UnsafePathError, UsageError
from dsload.report import Files
from tests.loads import bodies, bring, run, write_secrets
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.nginx import Nginx
from tests.servers.orders import Virtual, basic, chunked, ignore_range, is_head, redirect, status
from tests.servers.pyhttp import PythonHttp
from tests.trees import contents, make

MIB = 1 << 20
SMALL = b"small enough for one request"
BIG = bytes(Virtual(9 * MIB + 17, seed=1)[:])  # two parts
DRY = Settings(Network(workers=4, retry_budget=20), dry_run=True)


@pytest.fixture
def other() -> FaultServer:
    """Another host: another port is one."""
    with FaultServer() as server:
        yield server


def is_empty(volume: Path) -> bool:
    """Whether a load has written nothing."""
    return not volume.exists() or not list(volume.rglob("*"))


# One file


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/deep/er/model.bin", "model.bin"),
        ("/with%20space%2Bplus+.bin", "with space+plus+.bin"),
        ("/100%25.bin", "100%.bin"),
        ("/%C3%BC%F0%9F%99%82.bin", "ü🙂.bin"),
        ("/ü.bin", "ü.bin"),
        ("/caf%E9.bin", "caf\udce9.bin"),
        ("/plain#part", "plain"),
        ("/o/folder%2Finner.bin", "inner.bin"),
        ("/..%2Fup.bin", "up.bin"),
        ("/a;b=c,d&e.bin?name=other.bin", "a;b=c,d&e.bin"),
    ],
)
def test_a_file_is_named_by_its_url(fault: FaultServer, volume: Path, path: str, name: str) -> None:
    fault.order(ANY, status(200, body=SMALL), times=ALWAYS)
    bring(fault.url + path, volume)
    assert contents(volume / "set") == {name: SMALL}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="model.bin"', "model.bin"),
        ("attachment; filename=bare.bin", "bare.bin"),
        ("ATTACHMENT; FILENAME=upper.bin", "upper.bin"),
        ("attachment; filename*=UTF-8''na%C3%AFve%20file.bin", "naïve file.bin"),
        ("attachment; filename=\"plain.bin\"; filename*=UTF-8''st%C3%A4r.bin", "stär.bin"),
        ("attachment; filename*=UTF-8''st%C3%A4r.bin; filename=\"plain.bin\"", "stär.bin"),
        ('attachment; filename="ü.bin"'.encode().decode("latin-1"), "ü.bin"),
        ('attachment; filename="say \\"hi\\"; b=c.bin"', 'say "hi"; b=c.bin'),
        ('attachment; filename="folder/inner.bin"', "inner.bin"),
        ('attachment; filename="../../up.bin"', "up.bin"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\Users\\\\x.bin"', "x.bin"),
        ('attachment; filename=""', "url name"),
        ("attachment", "url name"),
        ("inline", "url name"),
        ('"; ;;=', "url name"),
    ],
)
def test_a_file_is_named_by_its_content_disposition(
    fault: FaultServer, volume: Path, disposition: str, name: str
) -> None:
    url = fault.put("/url name", SMALL, headers={"Content-Disposition": disposition})
    bring(url, volume)
    assert contents(volume / "set") == {name: SMALL}


@pytest.mark.parametrize(
    "disposition",
    [
        'attachment; filename=".."',
        'attachment; filename="x/.."',
        "attachment; filename=.",
        "attachment; filename=.dsload",
        "attachment; filename*=UTF-8''a%00b",
        f"attachment; filename={'n' * 300}",
    ],
)
def test_a_hostile_content_disposition_is_refused(fault: FaultServer, volume: Path, disposition: str) -> None:
    url = fault.put("/file", SMALL, headers={"Content-Disposition": disposition})
    with pytest.raises(UnsafePathError) as error:
        bring(url, volume)
    assert error.value.exit_code == 5
    assert is_empty(volume)
    assert not bodies(fault, "/file")


@pytest.mark.parametrize("path", ["/..", "/%2e%2e", "/x%2f..", "/.dsload", "/a%00b"])
def test_a_url_that_makes_a_hostile_name_is_refused(fault: FaultServer, volume: Path, path: str) -> None:
    fault.order(ANY, status(200, body=SMALL), times=ALWAYS)
    with pytest.raises(UnsafePathError):
        bring(fault.url + path, volume)
    assert is_empty(volume)


def test_a_url_with_a_slash_at_its_end_may_be_a_file(fault: FaultServer, volume: Path) -> None:
    """Whatever its type says, and however large it is: it is not read as a page first."""
    headers = {"Content-Disposition": "attachment; filename=big.json", "Content-Type": "application/json"}
    url = fault.put("/download/", BIG, headers=headers)
    bring(url, volume)
    assert contents(volume / "set") == {"big.json": BIG}
    assert fault.bytes_sent() < 2 * len(BIG)


def test_the_query_goes_with_every_request_of_a_file(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/big.bin", BIG) + "?version=a b/ü&empty=&x=%2F"
    bring(url, volume)
    assert bring(url, volume).files.loaded == 0
    assert contents(volume / "set") == {"big.bin": BIG}
    assert {request.target for request in fault.requests()} == {"/big.bin?version=a%20b/%C3%BC&empty=&x=%2F"}


@pytest.mark.parametrize("refused", [403, 405, 501])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("body", [SMALL, BIG, b""], ids=["small", "big", "empty"])
def test_a_signed_url_whose_head_is_refused(
    fault: FaultServer, volume: Path, refused: int, ranges: bool, body: bytes
) -> None:
    """A signature is for GET alone: a GET of one byte tells what HEAD would."""
    url = fault.put("/model.bin", body) + "?X-Amz-Signature=0123456789abcdef"
    fault.order("/model.bin", status(refused), when=is_head, times=ALWAYS)
    if not ranges:
        fault.order("/model.bin", ignore_range(), times=ALWAYS)
    report = bring(url, volume)
    assert contents(volume / "set") == {"model.bin": body}
    assert report.bytes.total == len(body)
    fault.clear()
    fault.order("/model.bin", status(refused), when=is_head, times=ALWAYS)
    assert bring(url, volume).files == Files(1, 0, 1, 0)
    assert [(r.method, r.headers.get("range")) for r in fault.requests()] == [("HEAD", None), ("GET", "bytes=0-0")]


def test_a_rerun_of_a_file_is_one_head(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/big.bin", BIG)
    bring(url, volume)
    fault.clear()
    report = bring(url, volume)
    assert (report.files.kept, report.bytes.moved) == (1, 0)
    assert [request.method for request in fault.requests()] == ["HEAD"]
    fault.put("/big.bin", BIG[::-1])
    assert bring(url, volume).files.loaded == 1
    assert contents(volume / "set") == {"big.bin": BIG[::-1]}


def test_an_etag_that_is_weak_at_first_is_the_same(fault: FaultServer, volume: Path) -> None:
    """Apache's is, as long as its file may change within the same second."""
    url = fault.put("/big.bin", BIG, etag='W/"1"')
    bring(url, volume)
    fault.put("/big.bin", BIG, etag='"1"')
    assert bring(url, volume).files.kept == 1


def test_what_tells_no_version_is_loaded_again(fault: FaultServer, volume: Path) -> None:
    """The same size is no sign of the same content."""
    url = fault.put("/a.bin", b"old", etag=None, modified=None)
    bring(url, volume)
    fault.put("/a.bin", b"new", etag=None, modified=None)
    bring(url, volume)
    assert contents(volume / "set") == {"a.bin": b"new"}


# Indexes of real servers

TREE: dict[str, bytes | None] = {
    "config.json": b"{}",
    "empty": b"",
    "sub/big.bin": BIG,
    "sub/deep/er/leaf": b"leaf",
    "void/inner": None,
    "sp ace/100%.txt": b"percent",
    "sp ace/a+b&c;d=e.txt": b"plus",
    "sp ace/a#b?c.txt": b"hash",
    'sp ace/it\'s "quoted".txt': b"quotes",
    "sp ace/<tag>&amp;.txt": b"tag",
    "sp ace/%41.txt": b"encoded twice",
    "ünïcode-日本-🙂/ü": b"unicode",
    "long/" + "n" * 60 + ".tar.gz": b"names that a page cuts",
    "colon:name": b"colon",
}
FILES = {path: data for path, data in TREE.items() if data is not None}
INDEXES = {
    "nginx": lambda request: request.getfixturevalue("nginx").url,
    "nginx-json": lambda request: request.getfixturevalue("nginx").json_url,
    "apache": lambda request: request.getfixturevalue("apache").url,
    "apache-fancy": lambda request: request.getfixturevalue("apache").fancy_url,
    "apache-table": lambda request: request.getfixturevalue("apache").table_url,
    "caddy": lambda request: request.getfixturevalue("caddy").url,
    "python": lambda request: request.getfixturevalue("python_http").url,
}


@pytest.fixture
def folder(www: Path, tmp_path: Path) -> Path:
    """A folder that the real servers serve, for this test alone."""
    folder = www / f"http-{tmp_path.name}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("server", INDEXES)
def test_an_index_is_loaded_as_it_is(server: str, request: pytest.FixtureRequest, folder: Path, volume: Path) -> None:
    make(folder, TREE)
    url = f"{INDEXES[server](request)}{folder.name}/"
    report = bring(url, volume)
    assert contents(volume / "set") == FILES
    assert (volume / "set/void/inner").is_dir()
    assert (report.files.loaded, report.bytes.total) == (len(FILES) + 1, sum(map(len, FILES.values())))

    report = bring(url, volume)
    assert (report.files.loaded, report.bytes.moved) == (0, 0)

    (folder / "config.json").write_bytes(b"{ }")
    (folder / "sub/deep/er/leaf").unlink()
    make(folder, {"new/one": b"one"})
    report = bring(url, volume)
    changed = {path: data for path, data in FILES.items() if path != "sub/deep/er/leaf"}
    assert contents(volume / "set") == changed | {"config.json": b"{ }", "new/one": b"one"}
    assert report.bytes.moved == len("{ }one")
    assert report.files.deleted == 1


@pytest.mark.parametrize("server", INDEXES)
def test_a_folder_without_its_slash_is_the_same(
    server: str, request: pytest.FixtureRequest, folder: Path, volume: Path
) -> None:
    make(folder, {"a": b"a", "sub/b c": b"b"})
    bring(f"{INDEXES[server](request)}{folder.name}", volume)
    assert contents(volume / "set") == {"a": b"a", "sub/b c": b"b"}


def test_the_query_goes_with_every_request_of_an_index(fault: FaultServer, volume: Path) -> None:
    for path in ("/set/a", "/set/sub/b", "/set/sub/deep/c"):
        fault.put(path, SMALL)
    bring(f"{fault.url}/set/?version=7&x=%20", volume)
    bring(f"{fault.url}/set?version=7&x=%20", volume)
    assert contents(volume / "set") == dict.fromkeys(("a", "sub/b", "sub/deep/c"), SMALL)
    assert len(fault.requests()) >= 9
    assert {urlsplit(request.target).query for request in fault.requests()} == {"version=7&x=%20"}


def test_links_that_lead_away_are_not_followed(fault: FaultServer, other: FaultServer, volume: Path) -> None:
    for path in ("/set/child", "/set/sub/leaf", "/up", "/set.other/x", "/elsewhere"):
        fault.put(path, SMALL)
    other.put("/set/foreign", SMALL)
    links = ["../", "/", "/up", "../up", "/set/", "/set.other/x", "child", "sub/", "sub/leaf", "?C=N&O=D", "#top"]
    links += [f"{other.url}/set/foreign", f"//127.0.0.1:{other.port}/set/foreign", "javascript:x()", "mailto:a@b"]
    anchors = "".join(f'<a href="{link}">here</a>\n' for link in links)
    page = f"<html><title>Index of /set/</title><h1>Index of /set/</h1><pre>{anchors}</pre></html>".encode()
    fault.put("/set/", page, headers={"Content-Type": "text/html"})
    bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == {"child": SMALL, "sub/leaf": SMALL}
    assert other.requests() == []


def test_a_folder_that_redirects_to_another_host_is_refused(
    fault: FaultServer, other: FaultServer, volume: Path
) -> None:
    fault.put("/set/sub/a", SMALL)
    other.put("/set/sub/b", SMALL)
    fault.order("/set/sub/", redirect(f"{other.url}/set/sub/"), times=ALWAYS)
    with pytest.raises(UnsafePathError, match=r"sub/ of .* another host"):
        bring(f"{fault.url}/set/", volume)
    assert is_empty(volume)


def json_index(*rows: tuple[str, str]) -> bytes:
    """A page of nginx's JSON, with names as they are."""
    time = "Mon, 01 Jan 2024 00:00:00 GMT"
    return json.dumps([{"name": name, "type": type, "mtime": time, "size": 5} for name, type in rows]).encode()


@pytest.mark.parametrize(
    "rows",
    [
        [("good", "file"), ("..", "file")],
        [("..", "directory")],
        [("../evil", "file")],
        [("sub/../../evil", "file")],
        [("/etc/passwd", "file")],
        [("a\0b", "file")],
        [(".dsload", "directory"), ("good", "file")],
        [(".dsload", "file")],
        [("n" * 256, "file")],
        [("both", "file"), ("both", "directory")],
    ],
)
def test_hostile_names_are_refused_before_the_first_byte(
    fault: FaultServer, volume: Path, rows: list[tuple[str, str]]
) -> None:
    headers = {"Content-Type": "application/json"}
    fault.put("/set/", json_index(*rows), headers=headers)
    fault.put("/set/.dsload/", json_index(("inventory.jsonl", "file")), headers=headers)
    fault.put("/set/both/", json_index(("leaf", "file")), headers=headers)
    fault.order(ANY, status(200, body=b"12345"), when=lambda r: not r.target.endswith("/"), times=ALWAYS)
    with pytest.raises(UnsafePathError) as error:
        bring(f"{fault.url}/set/", volume)
    assert error.value.exit_code == 5
    assert contents(volume, state=True) == {}
    assert not [r for r in fault.requests() if r.method == "GET" and not r.target.endswith("/")]


def test_folders_without_an_end(fault: FaultServer, volume: Path) -> None:
    page = status(200, body=json_index(("again", "directory")), Content_Type="application/json")
    fault.order(ANY, page, times=ALWAYS)
    with pytest.raises(UnsafePathError, match=r"listing again/ of .* it leads in circles"):
        bring(f"{fault.url}/set/", volume)
    assert is_empty(volume)
    assert len(fault.requests()) < 10
    fault.clear()
    pages = (status(200, body=json_index((f"{n}", "directory")), Content_Type="application/json") for n in range(99))
    fault.order(ANY, *pages)
    with pytest.raises(UnsafePathError, match="more than 64 deep"):
        bring(f"{fault.url}/set/", volume)


def test_a_page_that_is_no_index(fault: FaultServer, volume: Path) -> None:
    html = {"Content-Type": "text/html; charset=utf-8"}
    fault.put("/page/", b"<html><a href='a'>a</a></html>", headers=html)
    fault.put("/data/", b'{"name": "a"}', headers={"Content-Type": "application/json"})
    fault.put("/other/", BIG)
    fault.put("/set/a", SMALL)
    fault.put("/set/docs/", b"<html>Welcome</html>", headers=html)
    fault.put("/set/docs/index.html", b"<html>Welcome</html>", headers=html)
    for path in ("page/", "data/", "other/"):
        with pytest.raises(NotFoundError, match=f"{path}: it is a page, not a directory index") as error:
            bring(f"{fault.url}/{path}", volume)
        assert error.value.exit_code == 4
    with pytest.raises(NotFoundError, match=r"docs/ of .*/set/: it is not a directory index"):
        bring(f"{fault.url}/set/", volume)
    assert is_empty(volume)
    assert not [request for request in fault.requests("/other/") if request.sent == len(BIG)]


def test_a_page_without_a_slash_is_a_file(fault: FaultServer, volume: Path) -> None:
    page = b"<html><title>Index of /x</title></html>"
    bring(fault.put("/page.html", page, headers={"Content-Type": "text/html"}), volume)
    assert contents(volume / "set") == {"page.html": page}


@pytest.mark.parametrize(("path", "why"), [("/nothing/", "404"), ("/nothing", "404"), ("/void/", "it is empty")])
def test_what_is_not_there(fault: FaultServer, volume: Path, path: str, why: str) -> None:
    fault.put("/void/", b"[]", headers={"Content-Type": "application/json"})
    with pytest.raises(NotFoundError, match=why) as error:
        bring(fault.url + path, volume)
    assert error.value.exit_code == 4
    assert is_empty(volume)


def test_a_folder_that_caddy_cuts_at_ten_thousand(
    fault: FaultServer, request: pytest.FixtureRequest, folder: Path, volume: Path
) -> None:
    (folder / "many").mkdir()
    for number in range(9_999):
        (folder / f"many/{number}").touch()
    url = f"{request.getfixturevalue('caddy').url}{folder.name}/"
    assert bring(url, volume, settings=DRY).files.total == 9_999
    for number in (9_999, 10_000):
        (folder / f"many/{number}").touch()
    with pytest.raises(IntegrityError, match=r"many/ of .* 10,000 .*file_limit") as error:
        bring(url, volume)
    assert error.value.exit_code == 5
    with pytest.raises(IntegrityError, match="file_limit"):
        bring(f"{url}many/", volume)
    assert is_empty(volume)
    whole = json_index(*((str(number), "file") for number in range(10_000)))
    fault.put("/set/", whole, headers={"Content-Type": "application/json", "Server": "nginx"})
    assert bring(f"{fault.url}/set/", volume, settings=DRY).files.total == 10_000


def test_a_page_without_an_end_does_not_fill_the_memory(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/", Virtual(300 * MIB), headers={"Content-Type": "text/html"})
    fault.order("/set/", chunked())
    with pytest.raises(IntegrityError, match="more than 128 MiB") as error:
        bring(f"{fault.url}/set/", volume)
    assert error.value.exit_code == 5
    assert fault.bytes_sent() < 300 * MIB
    assert is_empty(volume)


# What is selected


def test_include_and_exclude(fault: FaultServer, volume: Path) -> None:
    for path in ("/set/a.bin", "/set/b.txt", "/set/sub/c.bin", "/set/sub/d.bin"):
        fault.put(path, path.encode())
    bring(f"{fault.url}/set/", volume, include="*.bin", exclude="sub/d*")
    assert contents(volume / "set") == {"a.bin": b"/set/a.bin", "sub/c.bin": b"/set/sub/c.bin"}
    assert not bodies(fault, "/set/b.txt")
    with pytest.raises(NotFoundError, match=r"'\*\.parquet'") as error:
        bring(f"{fault.url}/set/", volume, include="*.bin\n*.parquet")
    assert error.value.exit_code == 4


def test_what_cannot_be_read_can_be_excluded(python_http: PythonHttp, folder: Path, volume: Path) -> None:
    make(folder, {"a": b"a"})
    (folder / "dangling").symlink_to("nowhere")
    url = f"{python_http.url}{folder.name}/"
    with pytest.raises(NotFoundError, match=r"dangling of .* 404"):
        bring(url, volume)
    assert is_empty(volume)
    bring(url, volume, exclude="dangling")
    assert contents(volume / "set") == {"a": b"a"}


# Credentials and headers

USER, PASSWORD, TOKEN = "us er", "pä:ss@/w", "hf_0123456789"


@pytest.mark.parametrize(
    ("user_info", "files", "options", "expected"),
    [
        ("", {"username": USER, "password": PASSWORD}, {}, basic(USER, PASSWORD)),
        ("us%20er:p%C3%A4%3Ass%40%2Fw@", {}, {}, basic(USER, PASSWORD)),
        ("us%20er@", {}, {}, basic(USER, "")),
        (":only-a-token@", {}, {}, basic("", "only-a-token")),
        ("us%20er:p%C3%A4%3Ass%40%2Fw@", {"username": "u", "password": "p", "token": "t"}, {}, basic(USER, PASSWORD)),
        ("", {"token": f"{TOKEN}\n"}, {}, f"Bearer {TOKEN}"),
        ("", {"username": "somebody", "token": TOKEN}, {}, f"Bearer {TOKEN}"),
        ("", {"username": USER, "password": f"{PASSWORD}\n", "token": TOKEN}, {}, basic(USER, PASSWORD)),
        ("", {"token": TOKEN}, {"authorization": "Custom x y"}, "Custom x y"),
    ],
)
def test_every_request_is_authorized(
    tmp_path: Path, volume: Path, user_info: str, files: dict[str, str], options: dict[str, str], expected: str
) -> None:
    """By the user info of the URL, else by the files of the secrets directory, unless an option does it."""
    secrets = read_secrets(write_secrets(tmp_path / "secrets", **files))
    with FaultServer(authorization=expected) as server:
        server.put("/set/a.txt", SMALL)
        server.put("/set/big.bin", BIG)
        bring(f"http://{user_info}{server.url.partition('://')[2]}/set/", volume, secrets=secrets, **options)
    assert contents(volume / "set") == {"a.txt": SMALL, "big.bin": BIG}
    assert {request.status for request in server.requests()} <= {200, 206}


@pytest.mark.parametrize("path", ["/set/", "/set/a.txt"])
@pytest.mark.parametrize("secrets", [Secrets(), Secrets(token="wr0ng")])
def test_credentials_that_are_refused(volume: Path, path: str, secrets: Secrets) -> None:
    with FaultServer(authorization="Bearer right") as server:
        server.put("/set/a.txt", SMALL)
        with pytest.raises(RefusedError, match="401 Unauthorized; check the credentials") as error:
            bring(server.url + path, volume, secrets=secrets)
    assert error.value.exit_code == 3
    assert is_empty(volume)
    assert len(server.requests()) <= 2


def test_options_are_headers_of_every_request(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a.txt", SMALL)
    fault.put("/set/big.bin", BIG)
    given = {"X-Api-Key": "k3y=with=signs", "X-Empty": "", "X-Text": "grüße", "User-Agent": "me/1"}
    bring(f"{fault.url}/set/", volume, **given, syncMode="copy", include="*")
    assert contents(volume / "set") == {"a.txt": SMALL, "big.bin": BIG}
    for request in fault.requests():
        sent = {name: request.headers.get(name.lower()) for name in given}
        assert sent == given | {"X-Text": "grüße".encode().decode("latin-1")}
        assert not {"syncmode", "include", "exclude"} & set(request.headers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Bad Name": "x"}, "'Bad Name'.*headers cannot have this name"),
        ({"X-A": "one\r\nX-B: two"}, "X-A.* line break"),
        ({"syncMode": "mirror"}, "'mirror' is neither sync nor copy"),
    ],
)
def test_options_that_make_no_header(fault: FaultServer, volume: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        bring(f"{fault.url}/set/", volume, **options)
    assert error.value.exit_code == 2
    assert fault.requests() == []


def test_a_token_of_several_lines_is_no_header(fault: FaultServer, volume: Path) -> None:
    with pytest.raises(UsageError, match=r"token.* white space"):
        bring(f"{fault.url}/set/", volume, secrets=Secrets(token="one\nX-Injected: two"))
    assert fault.requests() == []


@pytest.mark.parametrize("path", ["/set/", "/set/small.bin", "/set/big.bin"])
def test_nothing_secret_goes_to_another_host(fault: FaultServer, other: FaultServer, volume: Path, path: str) -> None:
    """Neither by a redirect of the page, nor of a file, nor of a part."""
    fault.authorization = basic("user", "password")
    for name, body in (("/set/small.bin", SMALL), ("/set/big.bin", BIG)):
        fault.put(name, body)
        other.put(name, body)
        fault.order(name, redirect(other.url + name), times=ALWAYS)
    if path == "/set/":
        fault.order("/set/", redirect(f"{other.url}/set/"), times=ALWAYS)
    url = fault.url.replace("://", "://user:password@") + path
    bring(url, volume, **{"X-Api-Key": "k3y", "Cookie": "session=1"})
    found = {name.removeprefix("/set/"): body for name, body in (("/set/small.bin", SMALL), ("/set/big.bin", BIG))}
    assert contents(volume / "set") == (found if path == "/set/" else {path[5:]: found[path[5:]]})
    assert other.bytes_sent() >= len(SMALL)
    for request in other.requests():
        assert not {"authorization", "x-api-key", "cookie"} & set(request.headers), request
    for request in fault.requests():
        assert request.headers["x-api-key"] == "k3y"


def test_what_a_redirect_loses_is_not_given_back(fault: FaultServer, other: FaultServer, volume: Path) -> None:
    """A redirect to another host and from there back again: whoever sends it there gets no credentials."""
    url = fault.put("/a.bin", SMALL)
    fault.put("/private.bin", b"private")
    fault.order("/a.bin", redirect(f"{other.url}/bounce"), times=ALWAYS)
    other.order("/bounce", redirect(f"{fault.url}/private.bin"), times=ALWAYS)
    bring(url, volume, secrets=Secrets(token=TOKEN))
    assert fault.requests("/private.bin")
    assert all("authorization" not in request.headers for request in fault.requests("/private.bin"))


def test_a_redirect_on_the_same_host_keeps_them(fault: FaultServer, volume: Path) -> None:
    fault.authorization = f"Bearer {TOKEN}"
    url = fault.put("/a.bin", SMALL)
    fault.put("/moved/b.bin", BIG)
    fault.order("/a.bin", redirect("moved/b.bin", 307), times=ALWAYS)
    bring(url, volume, secrets=Secrets(token=TOKEN))
    assert contents(volume / "set") == {"a.bin": BIG}


def test_the_message_says_that_a_redirect_lost_them(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/a.bin", SMALL)
    with FaultServer(authorization=f"Bearer {TOKEN}") as other:
        fault.order("/a.bin", redirect(f"{other.url}/a.bin"), times=ALWAYS)
        with pytest.raises(RefusedError, match=f"401 .* redirect to http://127.0.0.1:{other.port}, .* no credentials"):
            bring(url, volume, secrets=Secrets(token=TOKEN))


# Checksums


def b64(data: bytes, algorithm: str) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


HEADERS: dict[str, Callable[[bytes], dict[str, str]]] = {
    "Content-MD5": lambda data: {"Content-MD5": b64(data, "md5")},
    "Digest": lambda data: {"Digest": f"SHA-256={b64(data, 'sha256')}"},
    "Digest-MD5": lambda data: {"Digest": f"MD5={b64(data, 'md5')},UNIXsum=1"},
    "Repr-Digest": lambda data: {"Repr-Digest": f"sha-512=:AAAA:, sha-256=:{b64(data, 'sha256')}:"},
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("body", [SMALL, BIG], ids=["small", "big"])
@pytest.mark.parametrize("path", ["/set/", "/set/file.bin"])
def test_checksums_in_headers(fault: FaultServer, volume: Path, header: str, body: bytes, path: str) -> None:
    """Right ones verify; a wrong one fails the load after one more download."""
    fault.put("/set/file.bin", body, headers=HEADERS[header](body))
    assert bring(fault.url + path, volume).unverified == 0
    assert contents(volume / "set") == {"file.bin": body}

    fault.put("/set/file.bin", body, headers=HEADERS[header](b"other"))
    fault.clear()
    with pytest.raises(IntegrityError, match=r"file\.bin .*in two downloads") as error:
        bring(fault.url + path, volume / "again")
    assert error.value.exit_code == 5
    assert fault.bytes_sent("/set/file.bin") == 2 * len(body)
    assert contents(volume / "again") == {}


def test_no_checksum_is_counted(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/plain.bin", SMALL)
    fault.put("/set/big.bin", BIG)
    fault.put("/set/summed.bin", SMALL, headers=HEADERS["Content-MD5"](SMALL))
    assert bring(f"{fault.url}/set/", volume).unverified == 2


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SIDECARS: dict[str, Callable[[bytes, bytes], dict[str, str]]] = {
    "SHA256SUMS": lambda a, b: {
        "SHA256SUMS": f"# sums\n{sha256(a)}  a b.bin\n{sha256(b)} *./sub/big.bin\n{sha256(b)}  not/there\n"
    },
    "BSD": lambda a, b: {
        "SHA256SUMS": f"SHA256 (a b.bin) = {sha256(a)}\n",
        "sub/SHA256SUMS": f"SHA256 (big.bin) = {sha256(b)}\n",
    },
    "sha256": lambda a, b: {
        "a b.bin.sha256": sha256(a).upper(),
        "sub/big.bin.sha256": f"{sha256(b)}  /build/out/big.bin\n",
    },
}


@pytest.mark.parametrize("style", SIDECARS)
def test_checksums_in_files_beside(fault: FaultServer, volume: Path, style: str) -> None:
    """Right ones verify, included in the load or not; wrong ones fail it after one more download."""
    url = f"{fault.url}/set/"
    files = {"a b.bin": SMALL, "sub/big.bin": BIG}
    sidecars = SIDECARS[style](SMALL, BIG)
    for path, data in files.items():
        fault.put(f"/set/{path}", data)
    for path, text in sidecars.items():
        fault.put(f"/set/{path}", text.encode())
    report = bring(url, volume, include="*.bin")
    assert (report.files.loaded, report.unverified) == (2, 0)
    assert contents(volume / "set") == files
    report = bring(url, volume)
    assert (report.files.loaded, report.unverified) == (len(sidecars), len(sidecars))

    for wrong, path in ((SIDECARS[style](b"other", BIG), "a b.bin"), (SIDECARS[style](SMALL, b"other"), "sub/big.bin")):
        for name, text in wrong.items():
            fault.put(f"/set/{name}", text.encode())
        fault.clear()
        with pytest.raises(IntegrityError, match=f"{path} .*in two downloads") as error:
            bring(url, volume)
        assert error.value.exit_code == 5
        assert fault.bytes_sent(f"/set/{path}") == 2 * len(files[path])
        assert contents(volume / "set").items() >= files.items()


def test_a_changed_sum_is_enough_to_load_again(fault: FaultServer, volume: Path) -> None:
    """A file of the same size and time has changed where its checksum has."""
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    for data in (b"old content", b"new content"):
        fault.put("/set/a", data, modified=modified)
        fault.put("/set/SHA256SUMS", f"{sha256(data)}  a\n".encode(), modified=modified)
        bring(f"{fault.url}/set/", volume)
        assert contents(volume / "set")["a"] == data


def test_the_checksum_file_that_cannot_be_read_is_named(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a", SMALL)
    fault.put("/set/SHA256SUMS", b"")
    fault.order("/set/SHA256SUMS", status(403), times=ALWAYS)
    with pytest.raises(RefusedError, match=r"SHA256SUMS of .*403 Forbidden"):
        bring(f"{fault.url}/set/", volume)
    assert is_empty(volume)


# Again


def test_a_rerun_asks_for_pages_alone(nginx: Nginx, folder: Path, volume: Path) -> None:
    make(folder, {"a.bin": b"a", "sub/b.bin": b"b" * 5000, "sub/big.bin": BIG})
    for url in (f"{nginx.url}{folder.name}/", f"{nginx.json_url}{folder.name}/"):
        bring(url, volume)
        before = {path: path.stat().st_ino for path in volume.rglob("*.bin")}
        nginx.clear()
        assert bring(url, volume).files.kept == 3
        assert {(access.method, access.target.endswith("/")) for access in nginx.requests()} == {("GET", True)}
        assert {path: path.stat().st_ino for path in volume.rglob("*.bin")} == before


def test_only_what_changed_is_fetched(nginx: Nginx, folder: Path, volume: Path) -> None:
    url = f"{nginx.url}{folder.name}/"
    make(folder, {"same": b"same", "longer": b"1", "later": b"old", "big.bin": BIG})
    os.utime(folder / "later", (1_700_000_000, 1_700_000_000))
    bring(url, volume)
    make(folder, {"longer": b"12", "later": b"new"})
    os.utime(folder / "later", (1_700_000_060, 1_700_000_060))
    nginx.clear()
    assert bring(url, volume).files == Files(4, 2, 2, 0)
    fetched = {access.target.rpartition("/")[2] for access in nginx.requests() if not access.target.endswith("/")}
    assert fetched == {"longer", "later"}
    assert contents(volume / "set") == {"same": b"same", "longer": b"12", "later": b"new", "big.bin": BIG}


@pytest.mark.parametrize("mode", ["sync", "copy"])
def test_what_the_source_no_longer_has(fault: FaultServer, volume: Path, mode: str) -> None:
    """Deleted under sync where a load put it, unless the user has changed it; never what the user put."""
    names = ("stays", "goes", "folder/goes too", "mended by hand", "kept/with my own")
    for name in names:
        fault.put(f"/set/{name}", name.encode())
    bring(f"{fault.url}/set/", volume)
    target = volume / "set"
    (target / "mended by hand").write_bytes(b"my own work")
    make(target, {"mine": b"mine", "kept/mine": b"mine", "folder of mine/deep": b"mine"})
    for name in names[1:]:
        fault.remove(f"/set/{name}")
    report = bring(f"{fault.url}/set/", volume, syncMode=mode)
    mine = {"mine": b"mine", "kept/mine": b"mine", "folder of mine/deep": b"mine", "mended by hand": b"my own work"}
    gone = ("goes", "folder/goes too", "kept/with my own")
    left = {} if mode == "sync" else {name: name.encode() for name in gone}
    assert contents(target) == {"stays": b"stays"} | mine | left
    assert report.files.deleted == (3 if mode == "sync" else 0)
    assert (target / "folder").exists() == (mode == "copy")


def test_a_source_that_fails_deletes_nothing(fault: FaultServer, volume: Path) -> None:
    """Neither a folder that cannot be listed any more, nor one that is empty all of a sudden."""
    for name in ("a", "sub/b"):
        fault.put(f"/set/{name}", SMALL)
    bring(f"{fault.url}/set/", volume)
    for fault_order in (status(403), status(404), status(200, body=b"<html>Oops</html>", Content_Type="text/html")):
        fault.order("/set/sub/", fault_order)
        with pytest.raises(DsloadError):
            bring(f"{fault.url}/set/", volume)
    empty = status(200, body=b"[]", Content_Type="application/json")
    fault.order("/set/", empty)
    with pytest.raises(NotFoundError, match="it is empty"):
        bring(f"{fault.url}/set/", volume)
    assert contents(volume / "set") == {"a": SMALL, "sub/b": SMALL}


def test_ls_shows_what_a_load_would_bring(fault: FaultServer, volume: Path) -> None:
    """By the command line, with the checksums that are told before the first byte."""
    fault.put("/set/a", SMALL)
    fault.put("/set/SHA256SUMS", f"{sha256(SMALL)}  a\n".encode())
    done = run(f"{fault.url}/set/?sig=0123456789", volume)
    assert (done.code, done.report["unverified"]) == (0, 1)
    assert done.report["source"] == f"{fault.url}/set/?sig=***"
    assert set(done.tree) == {"a", "SHA256SUMS"}
