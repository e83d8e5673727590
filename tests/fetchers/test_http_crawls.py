"""Crawls of indexes: rows that lead elsewhere, circles, and what a filter keeps from being asked for."""

import os
from pathlib import Path

import pytest

from dsload import Network, Settings
from dsload.errors import BadAnswerError, DsloadError, IntegrityError, RefusedError, UnsafePathError
from dsload.report import Files
from tests.loads import bring
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.nginx import Nginx
from tests.servers.orders import redirect, status
from tests.servers.pyhttp import PythonHttp
from tests.trees import contents, make

SMALL = b"small enough for one request"
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def folder(www: Path, tmp_path: Path) -> Path:
    """A folder that the real servers serve, for this test alone."""
    folder = www / f"crawl-{tmp_path.name}"
    folder.mkdir()
    return folder


def page(*rows: str, title: str = "Index of /set/") -> bytes:
    return f"<html><title>{title}</title><pre>\n{''.join(rows)}</pre></html>".encode()


def row(href: str, text: str = "", size: int | str = len(SMALL)) -> str:
    return f'<a href="{href}">{text or href.rpartition("/")[2]}</a>  01-Jan-2024 10:00  {size}\n'


# Rows


def test_rows_of_another_path_of_the_host(fault: FaultServer, volume: Path) -> None:
    """As on the browse pages of Nexus Repository."""
    base = fault.url
    rows = (
        '<tr><td><a href="../">Parent Directory</a></td></tr>',
        '<tr><td><a href="sub/">sub</a></td><td>Mon Jan 01 10:00:00 UTC 2024</td><td>&nbsp;</td></tr>',
        f'<tr><td><a href="{base}/repository/m/a.bin">a.bin</a></td><td>Mon Jan 01 10:00:00 UTC 2024</td>'
        f"<td>{len(SMALL)}</td></tr>",
    )
    fault.put("/service/rest/browse/m/", page(*rows, title="Index of /m"), headers=HTML)
    below = f'<tr><td><a href="{base}/repository/m/sub/b%20c.bin">b c.bin</a></td></tr>'
    fault.put("/service/rest/browse/m/sub/", page(below, title="Index of /m/sub"), headers=HTML)
    for path in ("a.bin", "sub/b c.bin"):
        fault.put(f"/repository/m/{path}", SMALL)
    bring(f"{base}/service/rest/browse/m/", volume)
    assert contents(volume / "set") == {"a.bin": SMALL, "sub/b c.bin": SMALL}


@pytest.mark.parametrize("site", ["http://internal:8080", "https://internal", "//internal"])
def test_absolute_links_behind_a_proxy_that_changed_the_host(fault: FaultServer, volume: Path, site: str) -> None:
    for name in ("a.bin", "b.bin"):
        fault.put(f"/set/{name}", SMALL)
    fault.put("/set/sub/c.bin", SMALL)
    bring(f"{fault.url}/set/", volume)
    rows = [row(f"{site}/set/a.bin"), row(f"{site}/set/b.bin"), row(f"{site}/set/sub/", "sub/", "-")]
    fault.put("/set/", page(*rows, row(f"{site}/", "Up", "-")), headers=HTML)
    fault.put("/set/sub/", page(row(f"{site}/set/sub/c.bin")), headers=HTML)
    assert bring(f"{fault.url}/set/", volume).files.deleted == 0
    assert contents(volume / "set") == dict.fromkeys(("a.bin", "b.bin", "sub/c.bin"), SMALL)


@pytest.mark.parametrize(
    ("href", "text"),
    [
        ("https://elsewhere.example/files/b.bin", "b.bin"),
        ("https://elsewhere.example/files/b.bin", "The second file"),
        ("/download?id=5", "b.bin"),
        ("deep/er/b.bin", "b.bin"),
        ("/mirror/b/", "b/"),
    ],
)
def test_a_row_that_leads_elsewhere_ends_the_load(fault: FaultServer, volume: Path, href: str, text: str) -> None:
    for name in ("a.bin", "b.bin"):
        fault.put(f"/set/{name}", SMALL)
    bring(f"{fault.url}/set/", volume)
    fault.put("/set/", page(row("a.bin"), row(href, text)), headers=HTML)
    where = href if "://" in href else f"{fault.url}{'/set/' if href[0] != '/' else ''}{href}"
    with pytest.raises(IntegrityError) as error:
        bring(f"{fault.url}/set/", volume)
    name = text.strip("/")
    assert f"listing {name} of {fault.url}/set/: its row leads to {where}" in str(error.value)
    assert contents(volume / "set") == {"a.bin": SMALL, "b.bin": SMALL}
    assert bring(f"{fault.url}/set/", volume, exclude=f"{name}*").files.total == 1


# Circles


def loop(folder: Path) -> None:
    make(folder, {"a.bin": b"a", "sub/b.bin": b"b", "sub/deep/c.bin": b"c"})
    (folder / "latest").symlink_to(".")
    (folder / "sub/current").symlink_to(".")
    (folder / "sub/deep/top").symlink_to("../..")


@pytest.mark.parametrize("server", ["nginx", "python_http"])
def test_a_circle_is_named_soon(server: str, request: pytest.FixtureRequest, folder: Path, volume: Path) -> None:
    loop(folder)
    running: Nginx | PythonHttp = request.getfixturevalue(server)
    url = f"{running.url}{folder.name}/"
    with pytest.raises(UnsafePathError, match=r"listing latest/ of .* in circles.*exclude='latest/") as error:
        bring(url, volume)
    assert error.value.exit_code == 5
    if isinstance(running, Nginx):
        assert len([each for each in running.requests() if folder.name in each.target]) <= 4
    bring(url, volume, exclude="latest/,sub/current/,*/top/")
    assert contents(volume / "set") == {"a.bin": b"a", "sub/b.bin": b"b", "sub/deep/c.bin": b"c"}


def test_folders_of_one_name_are_not_a_circle(python_http: PythonHttp, folder: Path, volume: Path) -> None:
    """Even with the same names in them, and without times."""
    make(folder, {"x/x/a": b"1", "x/x/x/a": b"2", "y/a": b"3", "y/y/a": b"4"})
    bring(f"{python_http.url}{folder.name}/", volume)
    assert len(contents(volume / "set")) == 4


def test_folders_of_one_name_with_times(nginx: Nginx, folder: Path, volume: Path) -> None:
    make(folder, {"x/x/x/a": b"1"})
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    bring(f"{nginx.url}{folder.name}/", volume)
    assert contents(volume / "set") == {"x/x/x/a": b"1"}


# The filter


@pytest.mark.parametrize("pattern", ["lost+found/*", "lost+found/"])
def test_a_folder_that_cannot_be_listed(fault: FaultServer, volume: Path, pattern: str) -> None:
    fault.put("/set/a.bin", SMALL)
    fault.put("/set/docs/index.html", b"<html></html>")
    fault.put("/set/lost+found/x", b"")
    fault.order("/set/lost+found/", status(403), times=ALWAYS)
    with pytest.raises(DsloadError, match=r"listing lost\+found/ of .*403") as error:
        bring(f"{fault.url}/set/", volume)
    assert error.value.exit_code == 3
    fault.clear()
    bring(f"{fault.url}/set/", volume, exclude=f"{pattern},docs/*")
    assert contents(volume / "set") == {"a.bin": SMALL}
    assert fault.requests("/set/lost+found/") == fault.requests("/set/docs/") == []


def test_what_is_not_included_is_not_crawled(nginx: Nginx, folder: Path, volume: Path) -> None:
    make(folder, {"model/a.bin": b"a", "model/deep/b.bin": b"b", "data/c.bin": b"c", "data/huge/d.bin": b"d"})
    bring(f"{nginx.url}{folder.name}/", volume, include="model/*.bin")
    assert contents(volume / "set") == {"model/a.bin": b"a", "model/deep/b.bin": b"b"}
    assert not [request for request in nginx.requests() if f"{folder.name}/data" in request.target]


def test_what_is_excluded_is_left_as_it_is(fault: FaultServer, volume: Path) -> None:
    for path in ("a.bin", "data/b.bin"):
        fault.put(f"/set/{path}", SMALL)
    bring(f"{fault.url}/set/", volume)
    fault.remove("/set/a.bin")
    fault.put("/set/c.bin", SMALL)
    assert bring(f"{fault.url}/set/", volume, exclude="data/*").files == Files(1, 1, 0, 1)
    assert contents(volume / "set") == {"c.bin": SMALL, "data/b.bin": SMALL}


def test_a_listing_of_nothing_deletes_nothing(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a.bin", SMALL)
    bring(f"{fault.url}/set/", volume)
    fault.put("/set/", b"[]", headers={"Content-Type": "application/json"})
    with pytest.raises(DsloadError, match="it is empty") as error:
        bring(f"{fault.url}/set/", volume)
    assert error.value.exit_code == 4
    assert contents(volume / "set") == {"a.bin": SMALL}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"not": "a list"}', "application/json"),
        (b"<html>Sign in</html>", "application/json"),
        (b"[[[[", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\0\xff\xfe", "text/html"),
        (b"", "text/html"),
    ],
)
def test_a_page_that_is_not_what_its_type_says(fault: FaultServer, volume: Path, body: bytes, kind: str) -> None:
    fault.put("/set/a.bin", SMALL)
    bring(f"{fault.url}/set/", volume)
    fault.put("/set/", body, headers={"Content-Type": kind})
    with pytest.raises(DsloadError, match="not a directory index") as error:
        bring(f"{fault.url}/set/", volume)
    assert error.value.exit_code == 4
    assert contents(volume / "set") == {"a.bin": SMALL}


@pytest.mark.parametrize("cut", [40, 200])
def test_an_index_that_was_cut_on_its_way(fault: FaultServer, volume: Path, cut: int) -> None:
    """By a proxy that states the length of what is left: nothing is deleted, and it is asked for again."""
    names = [f"{number}.bin" for number in range(9)]
    for name in names:
        fault.put(f"/set/{name}", SMALL)
    whole = page(*map(row, names))
    fault.put("/set/", whole, headers=HTML)
    bring(f"{fault.url}/set/", volume)
    fault.order("/set/", status(200, body=whole[:-cut], Content_Type="text/html"), times=ALWAYS)
    impatient = Settings(Network(retry_budget=1))
    with pytest.raises(BadAnswerError, match="its page ends before its rows do") as error:
        bring(f"{fault.url}/set/", volume, settings=impatient)
    assert error.value.exit_code == 9
    assert len(contents(volume / "set")) == 9
    fault.clear()
    fault.order("/set/", status(200, body=whole[:-cut], Content_Type="text/html"))
    assert bring(f"{fault.url}/set/", volume).files.kept == 9


@pytest.mark.parametrize("path", ["a.bin", "SHA256SUMS"])
def test_a_file_whose_redirect_loses_the_credentials(fault: FaultServer, volume: Path, path: str) -> None:
    """The message says so for whatever is asked for on the way."""
    with FaultServer(authorization="Bearer s3cret") as other:
        fault.put("/set/", page(f'<a href="{path}">{path}</a>'), headers=HTML)
        fault.order(f"/set/{path}", redirect(f"{other.url}/{path}"), times=ALWAYS)
        why = rf"{path} of .*401 Unauthorized .*after a redirect to {other.url}, which gets no credentials"
        with pytest.raises(RefusedError, match=why):
            bring(f"{fault.url}/set/", volume)
