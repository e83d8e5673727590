"""Git repositories over every transport: which commit comes, who may have it, and what a broken server does."""

import json
import os
import socket
from pathlib import Path

import pytest

from tests import command
from tests.loads import run, write_secrets
from tests.repositories import TREE, Executable, Link, Repository
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.git import GitServer
from tests.servers.gitdaemon import GitDaemon
from tests.servers.mounts import small_tmpfs
from tests.servers.orders import status
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.tls import CA
from tests.trees import contents

EXAMPLES = Path(__file__).parent.parent.parent / "examples/datasets"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Two commits on main."""
    made = Repository.make(tmp_path_factory.mktemp("git") / "work")
    made.commit({"a.txt": b"old"})
    made.commit(TREE)
    return made


def fetches(server: GitServer) -> int:
    """How many packs were asked for."""
    return sum(b"want " in request.body for request in server.requests())


# Which commit


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
def test_head_and_nothing_but_the_working_tree(
    server: GitServer, work: Repository, volume: Path, version2: bool
) -> None:
    server.version2 = version2
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, done.tree) == (0, TREE)
    assert sorted(os.listdir(done.target)) == [".dsload", "a.txt", "sub"]
    assert done.report["revision"] == work.head
    assert done.report["unverified"] == 0
    header = json.loads((done.target / ".dsload/inventory.jsonl").read_text().splitlines()[0])
    assert header["revision"] == work.head
    rows = (done.target / ".dsload/inventory.jsonl").read_text()
    assert f'"checksum":"gitblob:{work.git("rev-parse", "HEAD:a.txt")}"' in rows


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
@pytest.mark.parametrize("name", ["branch", "light", "annotated", "refs/heads/branch", "commit", "tag as commit"])
def test_a_branch_tag_or_commit(server: GitServer, work: Repository, volume: Path, name: str, version2: bool) -> None:
    server.version2 = version2
    old = work.head
    work.branch("branch")
    work.tag("light")
    work.tag("annotated", annotated=True)
    work.commit({"a.txt": b"newer"})
    work.push(server.root / "name.git")
    other = {"commit": f"commit={old}", "tag as commit": "commit=annotated"}
    option = other.get(name, f"branch={name}")
    done = run(f"{server.url}/name.git", volume, "-o", option)
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, old)


def test_the_id_of_what_is_no_commit(server: GitServer, work: Repository, volume: Path) -> None:
    work.tag("annotated", annotated=True)
    work.push(server.root / "name.git")
    for name, kind in (("annotated", "tag"), ("HEAD:a.txt", "blob"), ("HEAD:", "tree")):
        done = run(f"{server.url}/name.git", volume, "-o", f"commit={work.git('rev-parse', name)}")
        assert (done.code, f"is a {kind}, not a commit" in done.error) == (4, True), done.error


def test_a_branch_goes_before_a_tag_of_its_name(server: GitServer, work: Repository, volume: Path) -> None:
    work.git("tag", "both", "HEAD~")
    work.branch("both")
    work.push(server.root / "name.git")
    assert run(f"{server.url}/name.git", volume, "-o", "branch=both").tree == TREE


def test_an_unknown_branch_names_the_ones_that_are_there(server: GitServer, work: Repository, volume: Path) -> None:
    work.branch("release-1.0")
    work.push(server.root / "name.git")
    done = run(f"{server.url}/name.git", volume, "-o", "branch=release-1.1")
    assert done.code == 4
    assert "it has no branch or tag 'release-1.1'; it has release-1.0" in done.error
    assert not done.target.exists()


def test_an_empty_repository(server: GitServer, tmp_path: Path, volume: Path) -> None:
    Repository.make(tmp_path / "git/empty").git("config", "core.bare", "true")
    (tmp_path / "git/empty/.git").rename(tmp_path / "git/empty.git")
    done = run(f"{server.url}/empty.git", volume)
    assert done.code == 4
    assert "it is empty" in done.error


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
def test_a_server_that_gives_no_bare_commit(server: GitServer, work: Repository, volume: Path, version2: bool) -> None:
    """The branches are read with their history: HEAD's first, then the others."""
    first = work.git("rev-parse", "HEAD~")
    work.branch("side")
    work.checkout("side")
    hidden = work.commit({"a.txt": b"on a side branch"})
    work.commit({"a.txt": b"later"})
    work.push(server.root / "name.git")
    server.version2, server.any_commit, server.reject_unadvertised = version2, False, True
    for commit, content in ((first, b"old"), (hidden, b"on a side branch")):
        done = run(f"{server.url}/name.git", volume, "-o", f"commit={commit}")
        assert (done.code, done.tree.get("a.txt"), done.report["revision"]) == (0, content, commit), done.result.err
    missing = run(f"{server.url}/name.git", volume, "-o", f"commit={'1' * 40}")
    assert missing.code == 4
    assert "no branch or tag contains the commit 1111111111" in missing.error


@pytest.mark.parametrize("filters", [True, False])
def test_an_abbreviated_commit(server: GitServer, work: Repository, volume: Path, filters: bool) -> None:
    server.filters = filters
    old = work.git("rev-parse", "HEAD~")
    done = run(f"{server.url}/name.git", volume, "-o", f"commit={old[:8]}")
    assert (done.code, done.tree, done.report["revision"]) == (0, {"a.txt": b"old"}, old)
    server.clear()
    assert run(f"{server.url}/name.git", volume, "-o", f"commit={old[:8]}").report["files"]["kept"] == 1
    assert server.requests() == []
    unknown = run(f"{server.url}/name.git", volume, "-o", "commit=abcdef123")
    assert unknown.code == 4
    assert "no branch or tag contains a commit 'abcdef123'" in unknown.error


def test_an_abbreviated_commit_that_stands_for_several(server: GitServer, work: Repository, volume: Path) -> None:
    """Among 900 commits two ids begin with the same four digits, as good as surely."""
    lines = [f"commit refs/heads/many\ncommitter T <t@example.com> {n} +0000\ndata 1\nx\n" for n in range(900)]
    work.git("fast-import", "--quiet", input="".join(lines).encode())
    work.push(server.root / "name.git")
    seen: dict[str, str] = {}
    ids = work.git("rev-list", "many").split()
    short, both = next((id[:4], {id, seen[id[:4]]}) for id in ids if seen.setdefault(id[:4], id) != id)
    done = run(f"{server.url}/name.git", volume, "-o", f"commit={short}")
    assert done.code == 2
    assert f"'{short}' stands for " in done.error
    assert all(id in done.error for id in both)


# Again


def test_a_rerun_asks_for_refs_only(server: GitServer, work: Repository, volume: Path) -> None:
    uri = f"{server.url}/name.git"
    assert run(uri, volume).code == 0
    assert fetches(server) == 1
    server.clear()
    again = run(uri, volume)
    assert (again.code, again.report["files"]["loaded"], again.report["bytes"]["moved"]) == (0, 0, 0)
    assert again.report["revision"] == work.head
    assert fetches(server) == 0
    assert len(server.requests()) == 2
    server.clear()
    assert run(uri, volume, "-o", f"commit={work.head}").code == 0  # another source, as far as anybody can tell
    server.clear()
    assert run(uri, volume, "-o", f"commit={work.head}").code == 0
    assert server.requests() == []


def test_a_rerun_stamps_without_a_fetch(server: GitServer, work: Repository, volume: Path) -> None:
    uri = f"{server.url}/name.git"
    work.commit({"run": Executable(b"#!/bin/sh\n")})
    work.push(server.root / "name.git")
    assert run(uri, volume, "--mount-mode", "0640").code == 0
    server.clear()
    done = run(uri, volume, "--mount-mode", "0600")
    assert (done.code, fetches(server)) == (0, 0)
    assert (done.target / "run").stat().st_mode & 0o777 == 0o700
    assert (done.target / "a.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["lost", "edited", "filter", "marker"])
def test_a_rerun_that_has_something_to_do_fetches(server: GitServer, volume: Path, change: str) -> None:
    uri = f"{server.url}/name.git"
    assert run(uri, volume, "-o", "include=*.txt").code == 0
    match change:
        case "lost":
            (volume / "set/a.txt").unlink()
        case "edited":
            (volume / "set/a.txt").write_bytes(b"other")
        case "marker":
            (volume / "set/.dsload/complete.json").unlink()
    server.clear()
    done = run(uri, volume, "-o", "include=" + ("*a.txt" if change == "filter" else "*.txt"))
    assert (done.code, fetches(server)) == (0, 1)
    assert done.tree == TREE
    assert done.report["files"]["total"] == (1 if change == "filter" else 2)


def test_a_new_commit_loads_what_changed(server: GitServer, work: Repository, volume: Path) -> None:
    uri = f"{server.url}/name.git"
    assert run(uri, volume).code == 0
    work.commit({"a.txt": b"new", "sub/b.txt": None, "c": b"c"})
    work.push(server.root / "name.git")
    done = run(uri, volume)
    assert (done.code, done.tree) == (0, {"a.txt": b"new", "c": b"c"})
    assert done.report["files"] == {"total": 2, "loaded": 2, "kept": 0, "deleted": 1}
    assert done.report["revision"] == work.head
    work.commit({}, "nothing changed")
    work.push(server.root / "name.git")
    assert run(uri, volume).report["files"]["kept"] == 2
    server.clear()
    assert run(uri, volume).report["revision"] == work.head
    assert fetches(server) == 0


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
@pytest.mark.parametrize("filters", [True, False], ids=["partial", "whole"])
def test_a_new_commit_fetches_what_changed_where_the_server_can(
    server: GitServer, work: Repository, volume: Path, filters: bool, version2: bool
) -> None:
    """What it costs is the trees and the changed content; the whole commit where the server makes no partial packs."""
    large, uri = {f"large/{n}": os.urandom(200_000) for n in range(3)}, f"{server.url}/name.git"
    server.filters, server.version2 = filters, version2
    work.commit({**large, "link": Link("a.txt"), "run": Executable(b"x"), "moved": b"m" * 5000})
    work.push(server.root / "name.git")
    assert run(uri, volume).code == 0
    work.commit({"a.txt": b"new", "large/0": os.urandom(100_000), "moved": None, "to/here": b"m" * 5000, "run": b"x"})
    work.push(server.root / "name.git")
    server.clear()
    done = run(uri, volume)
    assert done.code == 0, done.result.err
    assert done.tree == {path: (work.path / path).read_bytes() for path in done.tree}
    assert done.report["files"] == {"total": 8, "loaded": 3, "kept": 5, "deleted": 1}
    sent = server.bytes_sent("/name.git/git-upload-pack")
    assert 100_000 < sent < 200_000 if filters and version2 else sent > 500_000
    (volume / "set/large/1").unlink()
    assert run(uri, volume).tree == done.tree
    assert command.run("verify", done.target).code == 0


def test_a_server_that_makes_partial_packs_but_gives_no_single_objects(
    server: GitServer, work: Repository, volume: Path
) -> None:
    uri = f"{server.url}/name.git"
    server.filters = True
    assert run(uri, volume).code == 0
    new = {"a.txt": b"new", "sub/c": b"c"}
    work.commit(new)
    work.push(server.root / "name.git")
    server.reject_unadvertised = True
    done = run(uri, volume)
    assert (done.code, done.tree) == (0, {**TREE, **new})


def test_the_example_dataset(server: GitServer, work: Repository, tmp_path: Path, volume: Path) -> None:
    (server.root / "name.git").rename(server.root / "Qwen2.5-0.5B-Instruct.git")
    work.branch("master")
    work.push(server.root / "Qwen2.5-0.5B-Instruct.git")
    server.basic = ("oauth2", "t0ken-of-ann")
    secrets = write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    example = (EXAMPLES / "git.yaml").read_text()
    (tmp_path / "git.yaml").write_text(example.replace("https://www.modelscope.cn/Qwen", server.url))
    volume.mkdir()
    done = command.run("load", "-f", tmp_path / "git.yaml", "--mount-root", volume, "--mount-secrets", secrets)
    assert done.code == 0, done.err
    assert contents(volume / "models/qwen") == TREE


# Who may have it


def test_credentials(server: GitServer, volume: Path, tmp_path: Path) -> None:
    server.basic = ("ann", "pass word")
    uri, secrets = f"{server.url}/name.git", tmp_path / "secrets"
    anonymous = run(uri, volume)
    assert anonymous.code == 3
    assert (
        "the server asks for credentials (401 Unauthorized); add the secret token, or username and pass"
        in anonymous.error
    )
    write_secrets(secrets, username="ann", password="wrong")
    refused = run(uri, volume)
    assert refused.code == 3
    assert "the server refused the credentials (401 Unauthorized)" in refused.error
    write_secrets(secrets, password="pass word")
    assert run(uri, volume).tree == TREE
    server.forbid = True
    assert run(uri, volume, "-o", "include=a.txt").code == 3


def test_credentials_in_the_url_show_nowhere(server: GitServer, volume: Path) -> None:
    server.basic = ("ann", "pa@ss")
    done = run(f"{server.url.replace('//', '//ann:pa%40ss@')}/name.git", volume, "-v", "-o", "keepGit=true")
    assert (done.code, done.tree["a.txt"]) == (0, b"a")
    written = b"".join(contents(done.target, state=True).values()).decode(errors="replace")
    for text in (done.result.out, done.result.err, written):
        assert "pa@ss" not in text
        assert "pa%40ss" not in text


@pytest.mark.parametrize("user", ["", "robot"])
def test_a_token_is_a_password(server: GitServer, volume: Path, tmp_path: Path, user: str) -> None:
    server.basic = (user or "oauth2", "t0ken-of-ann")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann", **({"username": user} if user else {}))
    assert run(f"{server.url}/name.git", volume).tree == TREE


def test_a_token_is_sent_as_bearer_where_the_server_asks_for_it(
    server: GitServer, volume: Path, tmp_path: Path
) -> None:
    server.bearer = "t0ken-of-ann"
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    assert run(f"{server.url}/name.git", volume).tree == TREE
    sent = [request.authorization.split()[0] for request in server.requests()]
    assert sent == ["Basic", "Bearer", "Bearer", "Bearer"]


def test_a_redirect_to_another_host_is_followed_without_credentials(
    server: GitServer, volume: Path, tmp_path: Path
) -> None:
    server.basic = ("oauth2", "t0ken-of-ann")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    with GitServer(server.root) as other:
        server.redirect = {"/old.git": f"{other.url}/name.git"}
        done = run(f"{server.url}/old.git", volume)
        assert (done.code, done.tree) == (0, TREE)
        assert {request.authorization for request in other.requests()} == {""}
        other.basic = server.basic
        refused = run(f"{server.url}/old.git", volume, "-o", "include=a.txt")
    assert refused.code == 3
    assert "and those that were given are not for this host" in refused.error


def test_a_missing_repository(server: GitServer, volume: Path) -> None:
    done = run(f"{server.url}/other.git", volume)
    assert done.code == 4
    assert "this repository does not exist (404 Not Found: no such repository)" in done.error


def test_a_page_that_is_no_repository(volume: Path) -> None:
    with FaultServer() as server:
        server.put("/page.git/info/refs", b"<html>")
        done = run(f"{server.url}/page.git", volume)
    assert done.code == 4
    assert "which no git server does" in done.error


# Networks


def test_a_pack_that_breaks_off_is_fetched_again(server: GitServer, volume: Path) -> None:
    server.broken = 2
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, done.tree) == (0, TREE)
    assert fetches(server) == 3
    assert done.report["retries"] == 2


def test_a_server_that_is_down(server: GitServer, volume: Path) -> None:
    server.order("/name.git/info/refs", status(503), status(503))
    assert run(f"{server.url}/name.git", volume).tree == TREE
    server.order("/name.git/info/refs", status(503), times=ALWAYS)
    done = run(f"{server.url}/name.git", volume, "--retry-budget", 1, "-o", "include=a.txt")
    assert done.code == 9


def test_behind_a_private_authority_and_a_proxy(work: Repository, ca: CA, tmp_path: Path, volume: Path) -> None:
    with GitServer(tmp_path / "git", tls=ca) as server, Proxy() as proxy:
        uri = f"{server.url}/name.git"
        untrusted = run(uri, volume, "--retry-budget", 1)
        assert untrusted.code == 3
        assert "--ca-bundle" in untrusted.error
        done = run(uri, volume, "--ca-bundle", ca.bundle, env={"HTTPS_PROXY": proxy.url, "NO_PROXY": ""})
        assert (done.code, done.tree) == (0, TREE)
        assert proxy.requests()


def test_no_daemon_is_tried_over_https(work: Repository, ca: CA, tmp_path: Path, volume: Path) -> None:
    """A proxy stands for the host, whose port 443 nobody may take here."""
    with GitServer(tmp_path / "git", tls=ca) as server, Proxy(ports={443: server.port}) as proxy:
        env = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "", "SSL_CERT_FILE": str(ca.bundle)}
        for option in ("branch=main", f"commit={work.head}"):
            done = run(f"git://localhost:{free_port()}/name.git", volume, "-o", option, env=env)
            assert (done.code, done.tree) == (0, TREE)
    assert "no git daemon answers at git://localhost" in done.result.err
    assert "trying https" in done.result.err


def test_a_git_daemon(work: Repository, tmp_path: Path, volume: Path) -> None:
    with GitDaemon(tmp_path / "git") as daemon:
        done = run(f"{daemon.url}/name.git", volume)
        assert (done.code, done.tree, done.report["revision"]) == (0, TREE, work.head)
        missing = run(f"{daemon.url}/other.git", volume)
        lost = run(f"{daemon.url}/name.git", volume, "-o", f"commit={'1' * 40}")
    assert missing.code == 4
    assert "access denied or repository not exported" in missing.error
    assert (lost.code, "no branch or tag contains the commit 1111" in lost.error) == (4, True)


def test_a_daemon_that_says_nothing_is_given_up(volume: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = run(f"git://127.0.0.1:{port}/name.git", volume, "--stall-timeout", 1, "--retry-budget", 2)
    assert done.code == 9
    assert "timed out" in done.error


# Folders


@pytest.mark.parametrize("bare", [True, False])
def test_a_folder(work: Repository, tmp_path: Path, volume: Path, bare: bool) -> None:
    work.tag("v1", annotated=True)
    path = work.bare(tmp_path / "bare.git") if bare else work.path
    for options in ([], ["-o", "branch=v1"], ["-o", f"commit={work.head[:7]}"]):
        done = typed(f"file://{path}", volume, *options)
        assert (done.code, done.json["revision"]) == (0, work.head)
        assert contents(volume / "set") == TREE
    assert typed(f"file://{tmp_path}/nothing", volume).code == 4


def typed(uri: str, volume: Path, *arguments: object) -> command.Result:
    volume.mkdir(exist_ok=True)
    flags = ["--mount-root", volume, "--mount-path", "set", "--output", "json"]
    return command.run("load", "GIT", uri, *flags, *arguments)


def test_a_repository_of_the_object_format_sha256(tmp_path: Path, volume: Path) -> None:
    work = Repository.make(tmp_path / "work", "sha256")
    work.commit({**TREE, "run": Executable(b"x"), "link": Link("a.txt")})
    work.bare(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git") as server:
        done = run(f"{server.url}/name.git", volume)
        assert (done.code, done.report["revision"], done.report["unverified"]) == (0, work.head, 0)
        assert done.tree == {**TREE, "run": b"x"}
        assert command.run("verify", done.target).code == 0


# $TMPDIR


@pytest.mark.parametrize("transport", ["http", "daemon"])
def test_no_room_in_tmpdir(server: GitServer, work: Repository, volume: Path, tmp_path: Path, transport: str) -> None:
    work.commit({"noise": os.urandom(500_000)})
    work.push(server.root / "name.git")
    with small_tmpfs(tmp_path / "small", 128 << 10) as small, GitDaemon(server.root) as daemon:
        url = server.url if transport == "http" else daemon.url
        done = run(f"{url}/name.git", volume, env={"TMPDIR": str(small)})
        assert done.code == 6
        assert f"{small} does not take git's objects (no space left on device); set TMPDIR" in done.error
        assert os.listdir(small) == []
    assert run(f"{server.url}/name.git", volume).code == 0


def test_nothing_stays_in_tmpdir(server: GitServer, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    assert run(f"{server.url}/name.git", volume, env={"TMPDIR": str(tmp_path / "tmp")}).code == 0
    assert os.listdir(tmp_path / "tmp") == []


def test_ls_and_options(server: GitServer, work: Repository) -> None:
    listed = command.run("ls", f"git+{server.url}/name", "--output", "json").json
    assert listed["revision"] == work.head
    assert {row["path"]: row["size"] for row in listed["entries"]} == {"a.txt": 1, "sub/b.txt": 3000}
    for option, words in {
        "depth=x": "'x' is not a number", "submodules=all": "'all' is not true, false or recursive",
        "lfs=maybe": "'maybe' is not true or false",         "tag=v1": "does not know it",
    }.items():  # fmt: skip
        done = command.run("ls", f"{server.url}/name.git", "-o", option)
        assert (done.code, words in done.err) == (2, True), done.err
