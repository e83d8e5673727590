"""Pages captured from real servers over one tree of hard names, and pages that no honest server makes.

The servers ran in the zone Europe/Berlin: nginx 1.22.1, Apache 2.4, Caddy 2.6.2 and 2.11.7, Python 3.11. Of
Caddy's pages the styles and drawings are left out.
"""

import json
import os
import time
from pathlib import Path

import pytest

from dsload.fetchers.http.index import Link, parse_index

PAGES = Path(__file__).parent / "pages"
URL = "http://data.example:8080/tree/"
HTML = "text/html; charset=utf-8"
JSON = "application/json"

FILES = {
    " lead": 30,
    "%2e%2e": 23,
    "&amp;.txt": 25,
    ".hidden": 21,
    "100%.txt": 11,
    "?C=N;O=D": 32,
    "a:b": 22,
    "12.bin  01-Jan-2020 00:00 99": 33,
    "[x]{y}|^`.txt": 35,
    "a\tb": 34,
    "a&b.txt": 13,
    "a+b.txt": 12,
    "a<b>.txt": 19,
    "back\\slash": 24,
    "big.bin": 2**30,
    "http:": 36,
    "index of.html.txt": 26,
    "zero": 0,
    "it's.txt": 16,
    "link": 1234,
    "mid.bin": 123456,
    "num#1.txt": 15,
    "plain.bin": 1234,
    "trail ": 31,
    'say "hi".txt': 17,
    "semi;colon.txt": 18,
    "what?.txt": 14,
    "with space.txt": 10,
    "y" * 50: 37,
    "x" * 60 + ".tar.gz": 27,
    "z" * 51: 38,
    "~tilde=,@!$().txt": 29,
    "ünïcödé-数据.txt": 20,
    "数" * 40 + ".bin": 28,
}
FOLDERS = {".dotdir", "c:d", "d" * 60, "dirlink", "empty dir", "sub"}

EVERY = range(2**62)
NO_SIZE = range(0)
# page: sizes that it tells exactly, times of plain.bin (2024-07-03T09:46:40.98765397Z) and link (that of
# plain.bin, or its own where the server does not follow it), whether names with a leading dot are listed
CAPTURED = {
    "nginx.html": (EVERY, "2024-07-03T09:46", "2024-07-03T09:46", False),
    # autoindex_localtime shifts by the offset of today: an hour less than Berlin had in July
    "nginx-rounded-local.html": (range(10000), "2024-07-03T10:46", "2024-07-03T10:46", False),
    "nginx.json": (EVERY, "2024-07-03T09:46:40Z", "2024-07-03T09:46:40Z", False),
    "apache-plain.html": (NO_SIZE, "", "", True),
    "apache-fancy.html": (range(973), "2024-07-03T11:46", "2024-07-03T11:46", True),
    "apache-fancy-icons-no-size.html": (NO_SIZE, "2024-07-03T11:46", "2024-07-03T11:46", True),
    "apache-table.html": (range(973), "2024-07-03T11:46", "2024-07-03T11:46", True),
    "apache-table-icons-old-date.html": (range(973), "2024-07-03T11:46", "2024-07-03T11:46", True),
    "caddy-2.6.html": (EVERY, "2024-07-03T09:46:40Z", "2026-11-23T20:40:12Z", True),
    "caddy-2.11.html": (EVERY, "2024-07-03T09:46:40Z", "2026-11-23T20:40:12Z", True),
    "caddy-2.11-grid.html": (NO_SIZE, "", "", True),
    "caddy.json": (EVERY, "2024-07-03T09:46:40.98765397Z", "2026-11-23T20:40:12.464403322Z", True),
    "python.html": (NO_SIZE, "", "", True),
}


def captured(name: str, url: str = URL) -> list[Link] | None:
    return parse_index((PAGES / name).read_bytes(), JSON if name.endswith(".json") else HTML, url)


def index(*hrefs: str, url: str = URL) -> list[Link] | None:
    rows = "".join(f'<a href="{href}">x</a>\n' for href in hrefs)
    return parse_index(f"<title>Index of /</title><pre>{rows}</pre>".encode(), HTML, url)


def names(links: list[Link] | None) -> list[str]:
    assert links is not None
    return [link.name for link in links]


@pytest.mark.parametrize("page", CAPTURED)
def test_captured_page(page: str) -> None:
    exact, plain, link, dotted = CAPTURED[page]
    links = {each.name: each for each in captured(page) or []}
    assert {name: each.size for name, each in links.items() if not each.directory} == {
        name: size if size in exact else -1 for name, size in FILES.items() if dotted or name[0] != "."
    }
    assert {(name, each.size) for name, each in links.items() if each.directory} == {
        (name, -1) for name in FOLDERS if dotted or name[0] != "."
    }
    assert (links["plain.bin"].modified, links["link"].modified) == (plain, link)
    assert {each.href.count("/") for each in links.values() if each.directory} == {5}


@pytest.mark.parametrize(
    ("page", "name", "written"),
    [
        ("nginx.html", "a:b", "a%3Ab"),
        ("nginx.html", "?C=N;O=D", "%3FC%3DN%3BO%3DD"),
        ("nginx.json", "num#1.txt", "num%231.txt"),
        ("nginx.json", "empty dir", "empty%20dir/"),
        ("apache-plain.html", "a&b.txt", "a&b.txt"),
        ("apache-plain.html", "&amp;.txt", "&amp;.txt"),
        ("apache-fancy.html", "?C=N;O=D", "%3fC=N;O=D"),
        ("apache-table.html", "a:b", "a:b"),
        ("apache-table.html", "c:d", "c:d/"),
        ("caddy-2.6.html", "%2e%2e", "%252e%252e"),
        ("caddy-2.11.html", "http:", "http:"),
        ("caddy.json", "100%.txt", "100%25.txt"),
        ("python.html", "it's.txt", "it%27s.txt"),
    ],
)
def test_href_is_as_the_server_wrote_it(page: str, name: str, written: str) -> None:
    links = captured(page, "https://u@data.example/tree/?token=x#top")
    assert [each.href for each in links or [] if each.name == name] == ["https://u@data.example/tree/" + written]


@pytest.mark.parametrize("server", ["nginx", "apache-plain", "apache-fancy", "caddy-2.11", "python"])
def test_empty_folder(server: str) -> None:
    assert captured(f"{server}-empty.html", "http://data.example/tree/empty%20dir/") == []


@pytest.mark.parametrize("page", ["nginx-bytes.html", "nginx-bytes.json", "apache-fancy-bytes.html"])
def test_names_that_are_not_utf8(page: str) -> None:
    links = captured(page, "http://data.example/bad/")
    assert [os.fsencode(name) for name in names(links)] == [b"latin-\xe9.txt", b"new\nline"]
    assert [each.size for each in links or []] == [0, 1]


def test_a_link_of_bytes_that_are_not_utf8() -> None:
    links = parse_index(b"<title>Index of /</title><a href='\xe9'>", "text/html;charset=ISO-8859-1", URL)
    assert links == [Link("\udce9", URL + "%E9", False, -1, "")]


@pytest.mark.parametrize(
    ("content_type", "page"),
    [
        (HTML, "<title>404 Not Found</title><h1>404 Not Found</h1>"),
        (HTML, "<title>Welcome to nginx!</title><a href='a.txt'>a</a>"),
        (HTML, "<title>Index of functions</title><h1>Index</h1><a href='a.html'>a</a>"),
        (HTML, "<title>t</title><p>Index of /pub</p><a href='a.txt'>a</a>"),
        (HTML, "Served with <a href='https://caddyserver.com'>Caddy</a> <a href='a.txt'>a</a>"),
        (HTML, ""),
        ("text/plain", "<title>Index of /</title><a href='a.txt'>a</a>"),
        ("", "<title>Index of /</title><a href='a.txt'>a</a>"),
        ("application/octet-stream", "[]"),
        (JSON, ""),
        (JSON, "{}"),
        (JSON, '"name"'),
        (JSON, "[1]"),
        (JSON, '[{"name": "a"}]'),
        (JSON, '[{"name": "a", "type": "person"}]'),
        (JSON, '[{"name": "a", "type": "file"}]'),
        (JSON, '[{"name": "a", "type": "file", "mtime": "x", "size": 1}, {}]'),
        (JSON, '[{"name": "a", "url": "./a"}]'),
        (JSON, r'[{"name": "\ud800", "type": "file", "mtime": "x"}]'),
        (JSON, "[" * 100_000),
        (JSON, "9" * 10_000),
    ],
)
def test_not_an_index(content_type: str, page: str) -> None:
    assert parse_index(page.encode(), content_type, URL) is None


def test_an_empty_list_is_an_index_only_where_a_folder_is() -> None:
    assert parse_index(b"[\r\n]", JSON, URL) == []
    assert parse_index(b"[]", JSON, URL + "empty.json") is None


@pytest.mark.parametrize(
    ("page", "link"),
    [
        # Apache, HeaderName with SuppressHTMLPreamble: only the column heads are left
        ('<h1>Mirror</h1><a href="?C=N;O=D">Name</a><a href="a">a</a>', Link("a", URL + "a", False, -1, "")),
        ("<H1>Index of /</H1><A CLASS=f HREF=a>a</A>", Link("a", URL + "a", False, -1, "")),
        ("<h1>Index of /</h1><a title='t' href = 'a b'>a</a>", Link("a b", URL + "a%20b", False, -1, "")),
        ("<h1>Index of /</h1><a data-href='b' href='ä'>a</a>", Link("ä", URL + "%C3%A4", False, -1, "")),
        ("<h1>Index of /</h1><!-- <a href='b'> --><a href='a'>a</a>", Link("a", URL + "a", False, -1, "")),
        ("<h1>Index of /</h1><script>'<a href=b>'</script><a href='a'>", Link("a", URL + "a", False, -1, "")),
        (
            "<h1>Index of /</h1><a href='a'>a</a> 01-Mai-2024 02:02 5",
            Link("a", URL + "a", False, -1, ""),
        ),
        (
            f"<h1>Index of /</h1><a href='a'>a</a> 01-Mar-2024 02:02 {'9' * 30}",
            Link("a", URL + "a", False, -1, "2024-03-01T02:02"),
        ),
    ],
)
def test_other_markup(page: str, link: Link) -> None:
    assert parse_index(page.encode(), "Text/HTML", URL) == [link]


@pytest.mark.parametrize(
    "href",
    [
        *(
            "",
            "#top",
            "?C=M;O=A",
            "?sort=name&amp;order=asc",
            "?token=x",
            ".",
            "./",
            "..",
            "../",
            "/",
            "../../",
        ),
        *("../tree/", "../tree", "/tree/", "/other/a", "../a", "sub/a", "/tree/sub/a", "sub/../", ".//a"),
        *("javascript:alert(1)", "mailto:a@b", "data:,x", "http:a", "https://data.example:8080/tree/a"),
        *("http://data.example/tree/a", "http://other/tree/a", "//other:8080/tree/a", "http://[/tree/a"),
        *(
            "http://data.example:8080@other/tree/a",
            "http://data.example:port/tree/a",
            "ftp://data.example/tree/a",
        ),
    ],
)
def test_left_out(href: str) -> None:
    assert index(href) == []


@pytest.mark.parametrize(
    ("href", "name", "directory", "url"),
    [
        ("a", "a", False, "a"),
        ("./a", "a", False, "a"),
        ("a/", "a", True, "a/"),
        ("/tree/a", "a", False, "a"),
        ("/%74ree/a", "a", False, "a"),
        ("../tree/a", "a", False, "a"),
        ("sub/../a", "a", False, "a"),
        ("http://data.example:8080/tree/a/", "a", True, "a/"),
        ("HTTP://Data.Example:8080/tree/a", "a", False, "a"),
        ("http://user:secret@data.example:8080/tree/a", "a", False, "a"),
        ("//data.example:8080/tree/a", "a", False, "a"),
        ("a#part", "a", False, "a"),
        ("a/?C=N&amp;O=D", "a", True, "a/"),
        ("a?version=2&amp;C=N", "a", False, "a?version=2&C=N"),
        ("100%", "100%", False, "100%"),
        ("a+b", "a+b", False, "a+b"),
        ("...", "...", False, "..."),
        ("a\\..\\b", "a\\..\\b", False, "a%5C..%5Cb"),
        ("a&#10;b", "a\nb", False, "a%0Ab"),
    ],
)
def test_direct_child(href: str, name: str, directory: bool, url: str) -> None:
    assert index(href) == [Link(name, URL + url, directory, -1, "")]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("%2e", "."),
        ("%2e%2E/", ".."),
        (".%2e", ".."),
        ("..%2fetc%2fpasswd", "../etc/passwd"),
        ("%2e%2e/etc/passwd", "../etc/passwd"),
        ("sub/%2e%2e/%2e%2e/a", "sub/../../a"),
        ("%2fetc%2fpasswd", "/etc/passwd"),
        ("a%2fb", "a/b"),
        ("a%00b", "a\0b"),
        ("&#46;&#46;&#37;2fa", "../a"),
    ],
)
def test_hostile_name_is_kept_for_the_caller_to_refuse(href: str, name: str) -> None:
    assert names(index(href)) == [name]


def test_hostile_json_names_are_kept() -> None:
    hostile = [".", "..", "../a", "/etc/passwd", "a/b", "a\0b"]
    items = [{"name": name, "type": "file", "mtime": "", "size": 2**70} for name in [*hostile, ""]]
    links = parse_index(json.dumps(items).encode(), JSON, URL)
    assert names(links) == hostile
    assert {(each.size, each.modified) for each in links or []} == {(-1, "")}


def test_a_link_counts_once() -> None:
    assert names(index("a", "./a", "/tree/a", "b", "a?C=N")) == ["a", "b"]
    assert len(index("a", "a/") or []) == 2


def test_folder_of_a_url_without_a_slash_at_its_end() -> None:
    assert index("a", url="http://h/x/index.html?q#f") == [Link("a", "http://h/x/a", False, -1, "")]
    assert index("a", "/b", url="http://h") == [
        Link("a", "http://h/a", False, -1, ""),
        Link("b", "http://h/b", False, -1, ""),
    ]
    assert index("https://h:443/x//a", url="https://h/x//") == [Link("a", "https://h/x//a", False, -1, "")]


def test_a_reference_of_more_digits_than_int_takes() -> None:
    links = index(f"&#{'9' * 5000};x")
    assert links is not None


@pytest.mark.parametrize("start", ["<title>Index of /</title>", "<h1>Index of /</h1><a href='"])
@pytest.mark.parametrize(
    "repeated",
    [
        '<a href="',
        "<a href='",
        "<a ",
        "<a href= ",
        "<a href=x",
        "<a href=x ",
        '<a href="&#',
        'href="',
        "<",
        "<!--",
        "<script>",
        "<title> ",
        "<h1>Index of ",
        "&#",
        '<time datetime="',
        "Last modified",
        "\t",
        '"',
    ],
)
def test_hostile_page_takes_time_in_proportion(repeated: str, start: str) -> None:
    assert seconds(start + repeated * (200_000 // len(repeated))) < 2


def test_hostile_link_takes_time_in_proportion() -> None:
    assert seconds(f"<h1>Index of /</h1><a href='{'a/' * 100_000}{'../' * 90_000}'>") < 2


def seconds(page: str) -> float:
    """CPU time of a page: about 0.1 where it is linear in 200 kB, many where it is quadratic."""
    began = time.process_time()
    parse_index(page.encode(), HTML, URL)
    return time.process_time() - began
