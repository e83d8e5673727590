"""Hosts that are IPv6 addresses: in URLs they stand in brackets, wherever a URL is put together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload.errors import DsloadError
from dsload.fetchers.git.location import parse_location
from tests.fetchers.test_git_ssh import load
from tests.loads import run, write_secrets
from tests.repositories import TREE, Repository
from tests.servers.git import GitServer
from tests.servers.gitdaemon import GitDaemon
from tests.servers.gitssh import GitSsh

HOST = "::1"
BIG = b"in LFS"


@pytest.fixture
def repo(work: Repository, tmp_path: Path) -> Repository:
    """With a file in LFS, and a submodule by a relative URL that has one too."""
    inner = Repository.make(tmp_path / "inner")
    inner.track("*.bin")
    inner.commit({"inner.bin": BIG})
    inner.bare(tmp_path / "git/inner.git")
    work.track("*.bin")
    work.commit({"model.bin": BIG})
    work.submodule("../inner.git", "below", inner.head)
    work.push(tmp_path / "git/name.git")
    return work


@pytest.fixture
def server(repo: Repository, tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git", host=HOST) as server:
        yield server


def ours(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in tree.items() if ".git" not in path}


LOADED = {**TREE, "model.bin": BIG, "below/inner.bin": BIG}


def test_http_with_lfs_a_submodule_and_credentials(server: GitServer, volume: Path, tmp_path: Path) -> None:
    server.basic = ("ann", "secret-of-ann")
    write_secrets(tmp_path / "secrets", username="ann", password="secret-of-ann")
    assert server.url.startswith("http://[::1]:")
    done = run(f"{server.url}/name.git", volume, "-o", "submodules=true")
    assert (done.code, ours(done.tree)) == (0, LOADED), done.result.err
    assert server.storage.leaked == []


def test_lfs_url_names_it(repo: Repository, server: GitServer, volume: Path, tmp_path: Path) -> None:
    with GitServer(tmp_path / "git") as other:
        repo.commit({".lfsconfig": f"[lfs]\n\turl = {server.url}/name.git/info/lfs\n".encode()})
        repo.push(tmp_path / "git/name.git")
        done = run(f"{other.url}/name.git", volume)
        assert (done.code, done.tree["model.bin"], other.batches) == (0, BIG, [])


def test_ssh_whose_lfs_is_over_http(server: GitServer, volume: Path, tmp_path: Path) -> None:
    with GitSsh(tmp_path / "git", host=HOST) as ssh:
        write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key(), known_hosts=ssh.known_hosts())
        ssh.lfs_authenticate = {"href": f"{server.url}/name.git/info/lfs", "header": {}}
        done = load(ssh.url("name.git"), volume, "-o", "submodules=true")
        assert (done.code, ours(done.tree)) == (0, LOADED), done.result.err
        ssh.lfs_authenticate = None
        done = load(ssh.url("name.git"), volume.with_name("other"), "--retry-budget", 1)
        assert done.code == 9
        assert f"[::1]:{ssh.port} has no git-lfs-authenticate" in done.result.err
        assert "asking https://[::1]/name.git/info/lfs" in done.result.err


def test_a_git_daemon(repo: Repository, volume: Path, tmp_path: Path) -> None:
    with GitDaemon(tmp_path / "git", host=HOST) as daemon:
        done = run(f"{daemon.url}/name.git", volume, "-o", "lfs=false", "-o", "exclude=*.bin,.*,below")
        assert (done.code, done.tree) == (0, TREE), done.result.err


@pytest.mark.parametrize(
    ("uri", "written", "relative"),
    [
        ("http://[::1]:3000/a/b.git", "http://[::1]:3000/a/b.git", "http://[::1]:3000/a/c.git"),
        ("https://[2001:db8::1]/a/b.git", "https://[2001:db8::1]/a/b.git", "https://[2001:db8::1]/a/c.git"),
        ("ssh://git@[::1]:2222/a/b.git", "ssh://git@[::1]:2222/a/b.git", "ssh://git@[::1]:2222/a/c.git"),
        ("git@[::1]:a/b.git", "git@[::1]:a/b.git", "git@[::1]:a/c.git"),
        ("git://[::1]/a/b.git", "git://[::1]/a/b.git", "git://[::1]/a/c.git"),
    ],
)
def test_urls_that_are_written_can_be_read_again(uri: str, written: str, relative: str) -> None:
    location = parse_location(uri)
    assert location.host.count(":") > 1
    assert location.remote == written
    assert parse_location(location.remote) == location
    assert location.relative("../c.git").remote == relative


@pytest.mark.parametrize(
    "uri", ["http://[::1/a.git", "http://[::z]/a.git", "https://host:port/a.git", "ssh://h:99999/a"]
)
def test_urls_with_a_wrong_host_or_port(server: GitServer, repo: Repository, volume: Path, uri: str) -> None:
    with pytest.raises(DsloadError, match="its host or port cannot be read"):
        parse_location(uri)
    repo.commit({".lfsconfig": f"[lfs]\n\turl = {uri}\n".encode()})
    repo.push(server.root / "name.git")
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, "lfs.url in .lfsconfig of" in done.error) == (2, True), done.error
