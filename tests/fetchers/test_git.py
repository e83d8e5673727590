"""How repositories are named: the forms of URL that git takes, and which of them are one site."""

import pytest

from dsload import Source
from dsload.errors import UsageError
from dsload.fetchers.git.location import parse_location


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "port", "path", "user"),
    [
        ("https://git.example.com/a/b.git", "https", "git.example.com", 443, "/a/b.git", ""),
        ("http://git.example.com:3000/a/b%20c", "http", "git.example.com", 3000, "/a/b%20c", ""),
        ("git+https://ann:pw@git.example.com/b", "https", "git.example.com", 443, "/b", "ann"),
        ("git://git.example.com/b.git", "git", "git.example.com", 9418, "/b.git", ""),
        ("ssh://git@git.example.com:2222/a/b.git", "ssh", "git.example.com", 2222, "/a/b.git", "git"),
        ("ssh://git.example.com/~/b.git", "ssh", "git.example.com", 22, "b.git", ""),
        ("git+ssh://git@[::1]:2222/a%20b.git", "ssh", "::1", 2222, "/a b.git", "git"),
        ("git@git.example.com:a/b.git", "ssh", "git.example.com", 22, "a/b.git", "git"),
        ("git.example.com:/srv/b.git", "ssh", "git.example.com", 22, "/srv/b.git", ""),
        ("file:///srv/a%20b", "file", "", 0, "/srv/a b", ""),
    ],
)
def test_a_url(uri: str, scheme: str, host: str, port: int, path: str, user: str) -> None:
    found = parse_location(uri)
    assert (found.scheme, found.host, found.port, found.path, found.user) == (scheme, host, port, path, user)
    assert parse_location(found.remote).user == (user if scheme == "ssh" else "")
    again = parse_location(found.url)
    assert (again.scheme, again.host, again.port, again.path) == (scheme, host, port, path)


@pytest.mark.parametrize(
    "uri",
    ["ftp://host/a", "https:///a", "https://host/", "https://host", "file://host/a", "nothing", "-o:x", "a b:c",
     "ssh://-oProxyCommand=id/a", "ssh://-l@host/a", "ext::sh", "git@host:", "ssh://host/a%00b"],
)  # fmt: skip
def test_what_is_no_url(uri: str) -> None:
    with pytest.raises(UsageError):
        parse_location(uri)


@pytest.mark.parametrize(
    ("uri", "type"),
    [
        ("https://host/a.git", None), ("https://host/a.git/?branch=x", None), ("git@host:a/b", None),
        ("ssh://git@host/a", None), ("git://host/a", None), ("git+https://host/a", None), ("https://host/a", "GIT"),
        ("host:a/b", "git"), ("file:///a", "GIT"),
    ],
)  # fmt: skip
def test_uris_that_are_git(uri: str, type: str | None) -> None:
    source = Source.parse(uri, type)
    assert source.type == "GIT"
    assert source.options == ({"branch": "x"} if "branch" in uri else {})
    assert str(source) == uri.replace("ssh://git@", "ssh://")


@pytest.mark.parametrize("uri", ["https://host/a.gitx", "https://host/a", "file:///a.git", "sftp://host/a.git"])
def test_uris_that_are_not(uri: str) -> None:
    assert Source.parse(uri).type != "GIT"


def test_the_guide_of_the_platform() -> None:
    """Its Dataset names an option of the hubs."""
    source = Source.parse("git://www.modelscope.cn/Qwen/Qwen2.5-0.5B-Instruct.git", "GIT", {"repoType": "MODEL"})
    assert source.type == "GIT"


def test_schemes_that_git_does_not_take() -> None:
    with pytest.raises(UsageError, match=r"GIT takes git://, git\+https://"):
        Source.parse("s3://bucket/a", "GIT")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://host/a", "https://host/b", True),
        ("https://HOST/a", "https://host/b", True),
        ("https://host/a", "http://host/b", True),  # the other was http: going to https is safe
        ("http://host/a", "https://host/b", False),
        ("https://host:8443/a", "https://host/b", False),
        ("https://host.evil/a", "https://host/b", False),
        ("http://host:3000/a", "http://host:3000/b", True),
        ("ssh://git@host/a", "https://host/b", True),
        ("git@host:a", "https://host:3000/b", True),
        ("https://host/a", "git@host:b", True),
        ("http://host/a", "git@host:b", False),
        ("git://host/a", "https://host/b", False),
        ("https://host/a", "git://host/b", True),
        ("file:///a", "file:///b", False),
    ],
)
def test_where_credentials_go(one: str, other: str, same: bool) -> None:
    assert parse_location(one).same_site(parse_location(other)) == same


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        ("https://host/a/b.git", "../c.git", "https://host/a/c.git"),
        ("https://host/a/b.git/", "./c", "https://host/a/b.git/c"),
        ("https://host/a/b.git", "../../x/c.git", "https://host/x/c.git"),
        ("https://host/a/b.git", "../../../../c.git", "https://host/c.git"),
        ("git@host:a/b.git", "../c.git", "host:a/c.git"),
        ("ssh://git@host:22/a/b.git", "../c d.git", "ssh://host/a/c%20d.git"),
        ("file:///srv/a/b", "../c", "file:///srv/a/c"),
    ],
)
def test_relative_urls(parent: str, url: str, expected: str) -> None:
    assert parse_location(parent).relative(url).url == expected
