"""The git servers and the LFS API are what git and git-lfs take for the real ones, and misbehave on order."""

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.repositories import Executable, Link, Repository, blob, commit_tree, environment, git, tree
from tests.servers.git import LFS_TYPE, GitServer, Seen, object_file, storage_path
from tests.servers.gitdaemon import GitDaemon
from tests.servers.gitssh import GitSsh
from tests.servers.orders import basic, close, stall, status
from tests.servers.process import find, wait_until
from tests.servers.threaded import Request
from tests.servers.tls import CA

V0, V2 = ("-c", "protocol.version=0"), ("-c", "protocol.version=2")
BIG = {f"{name}.bin": name.encode() * size for name, size in {"a": 1, "b": 300_000, "c": 5000}.items()}
USER = ("user", "pass word")


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    repo = Repository.make(tmp_path / "work")
    repo.commit({"a.txt": b"first", "gone": b"gone"})
    repo.commit({"a.txt": b"second", "gone": None, "d/run": Executable(b"#!/bin/sh\n"), "link": Link("d/run")})
    return repo


@pytest.fixture
def root(tmp_path: Path, work: Repository) -> Path:
    root = tmp_path / "root"
    work.bare(root / "name.git")
    return root


@pytest.fixture
def server(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as server:
        yield server


@pytest.fixture
def ssh(root: Path) -> Iterator[GitSsh]:
    with GitSsh(root) as server:
        yield server


def run(*argv: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run git or another program, whether it fails or not."""
    env = environment() | (env or {})
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def clone_fails(url: str, into: Path, *config: str) -> str:
    """What git clone says when it fails."""
    made = run("git", *config, "clone", url, into, cwd=into.parent)
    assert made.returncode != 0
    return made.stderr


def oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def authorized(url: str, user: tuple[str, str] = USER) -> str:
    return url.replace("://", f"://{user[0]}:{user[1].replace(' ', '%20')}@")


# Repositories


def test_ids_of_commits_are_the_same_each_time(tmp_path: Path) -> None:
    made = [Repository.make(tmp_path / name) for name in ("one", "two")]
    first, second = ([repo.commit({"a": b"1"}), repo.commit({"b": Executable(b"2")})] for repo in made)
    assert first == second
    assert made[0].head == first[1]
    assert made[0].git("log", "--format=%cI %an") == "2024-01-01T00:01:00+00:00 Test\n2024-01-01T00:00:00+00:00 Test"


def test_modes_branches_and_tags(work: Repository, tmp_path: Path) -> None:
    work.branch("side")
    work.checkout("side")
    side = work.commit({"side": b"s"})
    work.tag("light")
    work.tag("heavy", annotated=True)
    work.checkout("main")
    bare = work.bare(tmp_path / "bare.git")
    modes = [line.split()[0::3] for line in git("ls-tree", "-r", "main", cwd=bare).splitlines()]
    assert modes == [["100644", "a.txt"], ["100755", "d/run"], ["120000", "link"]]
    refs = dict(line.split()[::-1] for line in git("show-ref", "-d", cwd=bare).splitlines())
    assert refs["refs/heads/side"] == refs["refs/tags/light"] == refs["refs/tags/heavy^{}"] == side
    assert refs["refs/tags/heavy"] != side
    later = work.commit({"later": b"l"})
    work.push(bare)
    assert git("rev-parse", "main", cwd=bare) == later


def test_sha256_repository(tmp_path: Path, root: Path, server: GitServer) -> None:
    repo = Repository.make(tmp_path / "sha256", "sha256")
    assert len(repo.commit({"a": b"a"})) == 64
    repo.bare(root / "sha256.git")
    git("clone", f"{server.url}/sha256", tmp_path / "clone")
    assert (tmp_path / "clone/a").read_bytes() == b"a"


def test_submodules(work: Repository, root: Path, tmp_path: Path) -> None:
    inner = work.head
    outer = Repository.make(tmp_path / "outer")
    outer.submodule(str(root / "name.git"), "real")
    outer.submodule("../written.git", "down/written", inner)
    outer.commit({"more": b""})
    links = [line.split()[0::2] for line in outer.git("ls-tree", "-r", "HEAD").splitlines() if "commit" in line]
    assert links == [["160000", inner], ["160000", inner]]
    assert outer.git("config", "-f", ".gitmodules", "submodule.down/written.url") == "../written.git"


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_hostile_trees(tmp_path: Path, object_format: str, root: Path, server: GitServer) -> None:
    repo = Repository.make(tmp_path / "hostile", object_format)
    content = blob(repo.path, b"evil")
    names = [b"..", b".git", b"a/b", b".dsload", b"\xff"]  # of an empty one git makes no pack
    made = tree(repo.path, [("100644", "blob", name, content) for name in names])
    commit = commit_tree(repo.path, tree(repo.path, [("40000", "tree", b"below", made)]))
    bare = repo.bare(root / "hostile.git")
    raw = subprocess.run(["git", "cat-file", "tree", made], cwd=bare, env=environment(), capture_output=True).stdout
    assert re.findall(rb"100644 (.*?)\0", raw) == names
    git("clone", "--bare", f"{server.url}/hostile", tmp_path / "clone.git")
    assert git("rev-parse", "main", cwd=tmp_path / "clone.git") == commit


# Git over HTTP


@pytest.mark.parametrize("version", [V0, V2])
@pytest.mark.parametrize("name", ["name", "name.git"])
def test_clone(server: GitServer, work: Repository, tmp_path: Path, version: tuple[str, str], name: str) -> None:
    git(*version, "clone", f"{server.url}/{name}", tmp_path / "clone")
    clone = Repository(tmp_path / "clone")
    assert (clone.head, (clone.path / "a.txt").read_bytes()) == (work.head, b"second")
    assert f"{work.head}\trefs/heads/main" in git(*version, "ls-remote", f"{server.url}/{name}")
    first, *others = server.requests()
    assert (first.method, first.target) == ("GET", f"/{name}/info/refs?service=git-upload-pack")
    assert {seen.git_protocol for seen in server.requests()} == ({"version=2"} if version is V2 else {""})
    assert any(b"want " + work.head.encode() in seen.body for seen in others)
    assert server.bytes_sent(f"/{name}/git-upload-pack") > 0
    server.clear()
    assert server.requests() == []


def test_server_of_version_0_only(server: GitServer, work: Repository, tmp_path: Path) -> None:
    server.version2 = False
    git(*V2, "clone", f"{server.url}/name", tmp_path / "clone")
    assert not any(b"command=" in seen.body for seen in server.requests())


def test_no_such_repository(server: GitServer, tmp_path: Path) -> None:
    for name in ("other", "name/other", "../root/name"):
        assert "not found" in clone_fails(f"{server.url}/{name}", tmp_path / "clone")


def test_many_wants_are_compressed_and_read(server: GitServer, work: Repository, root: Path, tmp_path: Path) -> None:
    for n in range(60):
        work.commit({"n": str(n).encode()})
        work.tag(f"v{n}")
    work.push(root / "name.git")
    git("clone", f"{server.url}/name", tmp_path / "clone")
    zipped = [seen for seen in server.requests() if seen.headers.get("content-encoding") == "gzip"]
    assert [len(set(re.findall(b"want ([0-9a-f]{40})", seen.body))) for seen in zipped] == [60]


def fetch(url: str, commit: str, into: Path, *config: str) -> subprocess.CompletedProcess[str]:
    if not into.exists():
        git("init", "--bare", into)
    return run("git", *config, "fetch", "--depth=1", url, commit, cwd=into)


def test_commits_without_a_ref(server: GitServer, work: Repository, root: Path, tmp_path: Path) -> None:
    url, into = f"{server.url}/name", tmp_path / "into.git"
    old = work.git("rev-parse", "HEAD~1")
    assert fetch(url, old, tmp_path / "v0.git", *V0).returncode == 0
    assert fetch(url, old, tmp_path / "v2.git", *V2).returncode == 0
    server.any_commit = False
    assert "unadvertised object" in fetch(url, old, into, *V0).stderr
    server.reject_unadvertised = True
    assert f"not our ref {old}" in fetch(url, old, into, *V2).stderr
    assert fetch(url, work.head, into, *V2).returncode == 0


def test_partial_packs(server: GitServer, tmp_path: Path) -> None:
    for filters, missing in ((False, False), (True, True)):
        server.filters = filters
        into = tmp_path / f"{filters}.git"
        git("clone", "--bare", "--filter=blob:none", f"{server.url}/name", into)
        listed = git("rev-list", "--objects", "--all", "--missing=print", cwd=into)
        assert ("?" in listed) is missing


def test_basic_authentication(root: Path, tmp_path: Path) -> None:
    with GitServer(root, basic=USER) as server:
        url = f"{server.url}/name"
        assert "Authentication failed" in clone_fails(url, tmp_path / "clone")
        server.clear()
        git("clone", authorized(url), tmp_path / "clone")
        assert {seen.authorization for seen in server.requests()} == {"", basic(*USER)}
        assert run("git", "ls-remote", authorized(url, ("user", "no")), cwd=tmp_path).returncode != 0
        server.forbid = True
        assert "403" in run("git", "ls-remote", authorized(url), cwd=tmp_path).stderr


def test_bearer_authentication(root: Path, tmp_path: Path) -> None:
    with GitServer(root, bearer="secret") as server:
        url = f"{server.url}/name"
        assert "Authentication failed" in clone_fails(url, tmp_path / "clone")
        git("-c", "http.extraHeader=Authorization: Bearer secret", "clone", url, tmp_path / "clone")
        assert server.requests()[-1].authorization == "Bearer secret"


def test_tls(root: Path, work: Repository, tmp_path: Path, ca: CA) -> None:
    stored(work, root)
    with GitServer(root, tls=ca) as server:
        assert server.url.startswith("https://")
        assert "certificate" in clone_fails(f"{server.url}/name", tmp_path / "other")
        trusting = ("-c", f"http.sslCAInfo={ca.bundle}")
        git(*trusting, "clone", f"{server.url}/name", tmp_path / "clone")
        git(*trusting, "lfs", "pull", cwd=tmp_path / "clone")
        assert pulled(tmp_path / "clone") == BIG


def test_redirect(server: GitServer, work: Repository, tmp_path: Path) -> None:
    server.redirect["/moved"] = f"{server.url}/name"
    git("clone", f"{server.url}/moved", tmp_path / "clone")
    assert Repository(tmp_path / "clone").head == work.head
    assert [seen.status for seen in server.requests("/moved/info/refs")] == [301]
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as client:
        client.request("POST", "/moved.git/git-upload-pack", b"0000")
        answer = client.getresponse()
        answer.read()
    assert (answer.status, answer.headers["Location"]) == (307, f"{server.url}/name.git/git-upload-pack")


@pytest.mark.parametrize("version", [V0, V2])
def test_broken_off_pack(server: GitServer, tmp_path: Path, version: tuple[str, str]) -> None:
    server.broken = 1
    clone_fails(f"{server.url}/name", tmp_path / "clone", *version)
    assert server.broken == 0
    git(*version, "clone", f"{server.url}/name", tmp_path / "clone")


def test_orders_are_for_git_too(server: GitServer, tmp_path: Path) -> None:
    def asks_for_pack(request: Request) -> bool:
        return isinstance(request, Seen) and b"command=fetch" in request.body

    server.order("/name/git-upload-pack", status(503, retry_after=1), when=asks_for_pack)
    assert "503" in clone_fails(f"{server.url}/name", tmp_path / "clone")


# git:// and ssh://


@pytest.mark.parametrize("version", [V0, V2])
def test_daemon(root: Path, work: Repository, tmp_path: Path, version: tuple[str, str]) -> None:
    with GitDaemon(root) as server:
        git(*version, "clone", f"{server.url}/name.git", tmp_path / "clone")
        assert Repository(tmp_path / "clone").head == work.head
        assert f"{work.head}\tHEAD" in git(*version, "ls-remote", f"{server.url}/name")
        assert fetch(f"{server.url}/name", work.git("rev-parse", "HEAD~1"), tmp_path / "f", *version).returncode == 0
        assert "not exported" in clone_fails(f"{server.url}/other", tmp_path / "other")


def ssh_client(server: GitSsh, directory: Path, key: str, passphrase: str = "") -> dict[str, str]:
    """The environment in which git and ssh log in with a key."""
    file, known, askpass = directory / "key", directory / "known_hosts", directory / "askpass"
    file.touch(mode=0o600)
    file.write_text(key)
    known.write_text(server.known_hosts())
    askpass.write_text(f"#!/bin/sh\necho {shlex.quote(passphrase)}\n")
    askpass.chmod(0o755)
    options = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none"]
    argv = [find("ssh", "openssh-client"), "-F", "none", "-i", str(file)]
    argv += [word for option in options for word in ("-o", option)]
    return {"GIT_SSH_COMMAND": shlex.join(argv), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}


@pytest.mark.parametrize("version", [V0, V2])
def test_ssh(ssh: GitSsh, work: Repository, tmp_path: Path, version: tuple[str, str]) -> None:
    env = ssh_client(ssh, tmp_path, ssh.key("ed25519", "openssh"))
    git(*version, "clone", ssh.url("name.git"), tmp_path / "clone", env=env)
    assert Repository(tmp_path / "clone").head == work.head
    scp = f"{ssh.user}@127.0.0.1:name.git"
    port = {"GIT_SSH_COMMAND": f"{env['GIT_SSH_COMMAND']} -p {ssh.port}"}
    assert f"{work.head}\tHEAD" in git(*version, "ls-remote", scp, env=env | port)
    assert ssh.commands() == ["git-upload-pack '/name.git'", "git-upload-pack 'name.git'"]


@pytest.mark.parametrize("speaks", [True, False])
def test_version_over_ssh(root: Path, tmp_path: Path, speaks: bool) -> None:
    with GitSsh(root, version2=speaks) as server:
        env = ssh_client(server, tmp_path, server.key())
        seen = run("git", *V2, "ls-remote", server.url("name"), cwd=tmp_path, env=env | {"GIT_TRACE_PACKET": "1"})
        assert ("ls-remote< version 2" in seen.stderr) is speaks


@pytest.mark.parametrize(
    ("kind", "form", "passphrase", "head"),
    [
        ("rsa", "openssh", "", "OPENSSH"),
        ("rsa", "pem", "", "RSA"),
        ("rsa", "pem", "a secret", "RSA"),
        ("ecdsa", "openssh", "a secret", "OPENSSH"),
        ("ecdsa", "pem", "", "EC"),
        ("ed25519", "openssh", "a secret", "OPENSSH"),
    ],
)
def test_keys(ssh: GitSsh, tmp_path: Path, kind: Any, form: Any, passphrase: str, head: str) -> None:
    key = ssh.key(kind, form, passphrase)
    assert key.startswith(f"-----BEGIN {head} PRIVATE KEY-----\n")
    git("ls-remote", ssh.url("name.git"), env=ssh_client(ssh, tmp_path, key, passphrase))


def test_ssh_refuses_others(ssh: GitSsh, tmp_path: Path) -> None:
    stranger = ssh_client(ssh, tmp_path, ssh.key(authorize=False))
    assert "Permission denied" in run("git", "ls-remote", ssh.url("name.git"), cwd=tmp_path, env=stranger).stderr
    env = ssh_client(ssh, tmp_path, ssh.key())
    assert "not appear" in run("git", "ls-remote", ssh.url("other.git"), cwd=tmp_path, env=env).stderr
    assert "no such" in run("git", "ls-remote", ssh.url("../work"), cwd=tmp_path, env=env).stderr
    argv = [*shlex.split(env["GIT_SSH_COMMAND"]), "-p", str(ssh.port), f"{ssh.user}@{ssh.host}"]
    for command in ("id", "git-receive-pack 'name.git'", "git-upload-pack 'name.git'; id"):
        ran = run(*argv, command, cwd=tmp_path, env=env)
        assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "fatal: only git may be used here\n")
    printed = run(find("ssh-keygen", "openssh-client"), "-lf", tmp_path / "known_hosts", cwd=tmp_path).stdout
    assert printed.split()[1] == ssh.fingerprint


def test_lfs_over_ssh(ssh: GitSsh, root: Path, work: Repository, tmp_path: Path) -> None:
    stored(work, root)
    env = ssh_client(ssh, tmp_path, ssh.key())
    with GitServer(root, basic=USER) as server:
        git("clone", ssh.url("name.git"), tmp_path / "clone", env=env)
        argv = ["git", "-c", "lfs.ssh.retries=1", "lfs", "pull"]
        assert "this host has no LFS" in run(*argv, cwd=tmp_path / "clone", env=env).stderr
        server.lfs_authorization = "RemoteAuth token"
        href, header = f"{server.url}/name.git/info/lfs", {"Authorization": server.lfs_authorization}
        ssh.lfs_authenticate = {"href": href, "header": header, "expires_in": 3600}
        git("lfs", "pull", cwd=tmp_path / "clone", env=env)
        assert pulled(tmp_path / "clone") == BIG
        assert shlex.split(ssh.commands()[-1]) == ["git-lfs-authenticate", "/name.git", "download"]
        assert server.storage.leaked == []


# LFS


def stored(work: Repository, root: Path) -> None:
    """Commit the big files to LFS, and give them to the bare repository."""
    work.track("*.bin")
    work.commit(BIG)
    work.push(root / "name.git")


def pulled(clone: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in clone.glob("*.bin")}


def batch(
    server: GitServer, *oids: str, size: int = 1, headers: dict[str, str] | None = None, **other: Any
) -> tuple[int, dict[str, Any]]:
    """What the batch API answers: status and JSON."""
    asked = {"operation": "download", "objects": [{"oid": oid, "size": size} for oid in oids], **other}
    sent = {"Accept": LFS_TYPE, "Content-Type": LFS_TYPE, **(headers or {})}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as client:
        client.request("POST", "/name/info/lfs/objects/batch", json.dumps(asked), sent)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())


def get(href: str, header: dict[str, str]) -> tuple[int, bytes]:
    host, _, path = href.removeprefix("http://").partition("/")
    with closing(HTTPConnection(host, timeout=10)) as client:
        client.request("GET", f"/{path}", headers=header)
        answer = client.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("user", [None, USER])
def test_lfs_push_and_pull(root: Path, work: Repository, tmp_path: Path, user: tuple[str, str] | None) -> None:
    work.track("*.bin")
    work.commit(BIG)
    work.git("push", root / "name.git", "main")
    assert not (root / "name.git/lfs").exists()
    with GitServer(root, basic=user) as server:
        url = authorized(f"{server.url}/name") if user else f"{server.url}/name"
        work.git("lfs", "push", url, "main")
        assert all(object_file(root / "name.git", oid(body)).read_bytes() == body for body in BIG.values())
        git("clone", url, tmp_path / "clone")
        assert all(body.startswith(b"version ") for body in pulled(tmp_path / "clone").values())
        git("lfs", "pull", cwd=tmp_path / "clone")
        assert pulled(tmp_path / "clone") == BIG
        assert [asked["operation"] for asked in server.batches] == ["upload", "download"]
        assert {request.method for request in server.storage.requests()} == {"PUT", "GET"}
        assert server.storage.bytes_sent(storage_path(oid(BIG["b.bin"]))) == 300_000
        assert server.storage.leaked == []
        work.git("lfs", "push", url, "main")
        assert len(server.storage.requests()) == 2 * len(BIG)


def test_an_expired_token_makes_git_lfs_ask_for_another(
    server: GitServer, root: Path, work: Repository, tmp_path: Path
) -> None:
    stored(work, root)
    clone = tmp_path / "clone"
    git("clone", f"{server.url}/name", clone)
    server.storage.order(storage_path(oid(BIG["b.bin"])), stall(1000))  # the largest is first
    argv = ["git", "-c", "lfs.concurrenttransfers=1", "lfs", "pull"]
    with subprocess.Popen(argv, cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pull:
        try:
            wait_until(lambda: server.storage.bytes_sent() == 1000, "git-lfs to be in the middle")
            server.expire()
            server.storage.release()
            said, _ = pull.communicate(timeout=30)
        except BaseException:
            pull.kill()
            raise
    assert pull.returncode == 0, said
    assert pulled(clone) == BIG
    assert 403 in [request.status for request in server.storage.requests()]
    assert len(server.batches) > 1


def test_a_short_object_is_resumed(server: GitServer, root: Path, work: Repository, tmp_path: Path) -> None:
    stored(work, root)
    git("clone", f"{server.url}/name", tmp_path / "clone")
    path = storage_path(oid(BIG["b.bin"]))
    server.storage.order(path, close(1000))
    git("lfs", "pull", cwd=tmp_path / "clone")
    assert pulled(tmp_path / "clone") == BIG
    assert [request.headers.get("range") for request in server.storage.requests(path)] == [None, "bytes=1000-299999"]


def test_storage_wants_token_and_header(server: GitServer, root: Path, work: Repository) -> None:
    stored(work, root)
    _, answer = batch(server, oid(b"a"))
    action = answer["objects"][0]["actions"]["download"]
    assert get(action["href"], action["header"]) == (200, b"a")
    assert get(action["href"], {**action["header"], "Range": "bytes=0-0"}) == (206, b"a")
    assert server.storage.leaked == []
    assert get(action["href"], {})[0] == 403
    assert get(action["href"].partition("?")[0], action["header"])[0] == 403
    assert get(action["href"].replace(oid(b"a"), oid(BIG["c.bin"])), action["header"])[0] == 403
    assert get(action["href"], action["header"] | {"Authorization": "x"})[0] == 200
    assert [request.headers["authorization"] for request in server.storage.leaked] == ["x"]
    server.expire()
    assert get(action["href"], action["header"])[0] == 403


def test_batch_says_when_actions_expire(server: GitServer, root: Path, work: Repository) -> None:
    stored(work, root)
    server.lfs_expires_in = 60
    _, answer = batch(server, oid(b"a"))
    assert answer["objects"][0]["actions"]["download"]["expires_in"] == 60
    assert answer["objects"][0]["actions"]["download"]["expires_at"].endswith("Z")
    server.lfs_expires_in = 0
    _, answer = batch(server, oid(b"a"))
    assert answer["objects"][0]["actions"]["download"].keys() == {"href", "header"}


def test_batch_has_errors_of_objects(server: GitServer, root: Path, work: Repository) -> None:
    stored(work, root)
    server.lfs_errors[oid(BIG["c.bin"])] = (410, "removed by its owner")
    code, answer = batch(server, oid(b"a"), oid(b"other"), oid(BIG["b.bin"]), oid(BIG["c.bin"]), "../x")
    assert code == 200
    assert [row.get("error", {}).get("code") for row in answer["objects"]] == [None, 404, 422, 410, 422]
    assert server.batches[-1]["objects"][-1] == {"oid": "../x", "size": 1}


def test_batch_refuses(server: GitServer) -> None:
    ids = [oid(bytes([n])) for n in range(4)]
    assert batch(server, headers={"Accept": "application/json"})[0] == 406
    assert batch(server, headers={"Content-Type": "application/json"})[0] == 422
    assert batch(server, operation="delete")[0] == 422
    assert batch(server, transfers=["tus"])[0] == 422
    assert batch(server, hash_algo="sha512")[0] == 409
    assert batch(server, objects=[{}])[0] == 422
    assert batch(server, *ids)[0] == 200
    server.largest_batch = 3
    code, answer = batch(server, *ids)
    assert (code, answer["message"]) == (413, "more than 3 objects")
    server.lfs_status = 507
    assert batch(server, ids[0])[0] == 507
    server.basic = USER
    assert batch(server, ids[0])[0] == 401
    server.forbid = True
    assert batch(server, ids[0], headers={"Authorization": basic(*USER)})[0] == 403


def test_host_without_lfs(server: GitServer, root: Path, work: Repository, tmp_path: Path) -> None:
    stored(work, root)
    server.lfs_enabled = False
    git("clone", f"{server.url}/name", tmp_path / "clone")
    made = run("git", "lfs", "pull", cwd=tmp_path / "clone")
    assert (made.returncode, server.batches) == (2, [])
