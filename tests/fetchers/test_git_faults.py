"""Servers that are busy, answer badly for a while, lack what others can, or refuse: what is tried again, and why."""

import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dsload.errors import DsloadError
from dsload.fetchers.git.verdict import of_end, of_words
from tests.fetchers.test_git_ssh import load as load_by_ssh
from tests.loads import Run, run, write_secrets
from tests.repositories import TREE, Repository, git
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.git import LFS_TYPE, PACK_TYPE, GitServer, packet, storage_path
from tests.servers.gitssh import GitSsh
from tests.servers.orders import Fault, status
from tests.servers.proxy import Proxy
from tests.servers.threaded import Request
from tests.servers.tls import CA

BUSY = "GitLab is currently unable to handle this request due to load."
REFS, PACK, BATCH = "/name.git/info/refs", "/name.git/git-upload-pack", "/name.git/info/lfs/objects/batch"
CONTENT = b"in LFS"
OID = hashlib.sha256(CONTENT).hexdigest()


def load(server: GitServer, volume: Path, *arguments: object) -> Run:
    return run(f"{server.url}/name.git", volume, *arguments)


def said(text: str) -> Fault:
    """The server's one kind of error, in an answer of 200."""
    headers = {"Content-Type": "application/x-git-upload-pack-result"}
    return Fault(200, packet(f"ERR {text}\n".encode()), headers)


def asks_for_refs(request: Request) -> bool:
    return b"command=ls-refs" in request.body  # type: ignore[attr-defined]


def asks_for_a_pack(request: Request) -> bool:
    return b"want " in request.body  # type: ignore[attr-defined]


# What the server says


@pytest.mark.parametrize(
    "words",
    [
        BUSY,
        "The git server, Gitaly, is not available at this time. Please contact your administrator.",
        "GitLab: Internal API unreachable",
        "rpc error: code = ResourceExhausted desc = maximum concurrency queue size reached",
        "This endpoint has been requested too many times. Try again later.",
        "Bitbucket is currently under heavy load and is not able to process your request at the moment.",
        "Rate limit for this resource has been exceeded",
        "Gitea: Internal Server Error",
        "Internal Server Error.",
        "aborting due to possible repository corruption on the remote side.",
        "upload-pack: git pack-objects died with error.",
        "fatal: unable to create thread: Resource temporarily unavailable",
        "fatal: Out of memory, malloc failed (tried to allocate 1048576 bytes)",
        "TF400733: The request has been canceled: Request was blocked due to overload.",
        "We're doing some maintenance. Your repository is temporarily unavailable.",
        "the operation timed out",
    ],
)
def test_words_that_mean_later(words: str) -> None:
    for error in (of_words(words, "here", []), of_end(words, "here", []), of_end(f"Hello\n{words}", "here", [])):
        assert isinstance(error, DsloadError)
        assert (error.exit_code, error.retry, words.split()[0] in str(error)) == (9, True, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Repository not found.", 4),
        ("The project you were looking for could not be found or you don't have permission to view it.", 4),
        ("access denied or repository not exported: /a", 4),
        ("fatal: '/a' does not appear to be a git repository", 4),
        ("fatal: only git may be used here", 4),
        ("fatal: '/srv/retry-queue.git' does not appear to be a git repository", 4),
        ("FATAL: R any busy-timeout ann DENIED by fallthru (or you mis-spelled the reponame)", 4),
        ("The repository maintenance/unavailable was not found", 4),
        ("Permission denied, please try again.", 3),
        ("Permission denied (publickey).", 3),
        ("HTTP Basic: Access denied. The provided password or token is incorrect", 3),
    ],
)
def test_words_that_mean_never(words: str, code: int) -> None:
    for error in (of_words(words, "here", []), of_end(words, "here", [])):
        assert isinstance(error, DsloadError)
        assert (error.exit_code, error.retry) == (code, False)


def test_a_greeting_is_not_an_error() -> None:
    error = of_end("Welcome to the git host of the lab!", "here", [])
    assert isinstance(error, DsloadError)
    assert error.exit_code == 9


@pytest.mark.parametrize("step", ["discovery", "refs", "pack"])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_server_that_is_busy_for_a_while(
    server: GitServer, work: Repository, volume: Path, step: str, pinned: bool
) -> None:
    options = ["-o", f"commit={work.head}"] if pinned else []
    path = REFS if step == "discovery" else PACK
    when = {"discovery": None, "refs": asks_for_refs, "pack": asks_for_a_pack}[step]
    busy = said(BUSY)
    server.order(path, busy, busy, when=when)
    done = load(server, volume, *options)
    assert (done.code, done.tree, done.report["retries"]) == (0, TREE, 2), done.result.err
    server.order(path, busy, when=when, times=ALWAYS)
    other = load(server, volume.with_name("other"), *options, "--retry-budget", 1)
    assert other.code == 9
    assert f"the server says: {BUSY}" in other.error
    assert "run the same command again" in other.error
    assert other.report["error"]["retry"]


def test_a_busy_ssh_host(ssh: GitSsh, volume: Path, tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key())
    ssh.busy(f"remote: ERROR: {BUSY}\n", f"ERROR: {BUSY}")
    done = load_by_ssh(ssh.url("name.git"), volume)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    ssh.busy(*[f"ERROR: {BUSY}"] * 9)
    other = load_by_ssh(ssh.url("name.git"), volume.with_name("other"), "--retry-budget", 1)
    assert (other.code, BUSY in other.error) == (9, True)


@pytest.fixture
def ssh(work: Repository, tmp_path: Path) -> Iterator[GitSsh]:
    with GitSsh(tmp_path / "git") as server:
        yield server


def test_lfs_of_a_busy_ssh_host(ssh: GitSsh, work: Repository, volume: Path, tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key())
    work.track("*.bin")
    work.commit({"model.bin": CONTENT, ".lfsconfig": f"[lfs]\n\turl = {ssh.url('name.git')}\n".encode()})
    work.push(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git") as http:
        ssh.lfs_authenticate = {"href": f"{http.url}/name.git/info/lfs", "header": {}}
        ssh.busy(f"ERROR: {BUSY}", f"ERROR: {BUSY}")
        done = load_by_ssh(f"{http.url}/name.git", volume)
        assert (done.code, done.tree.get("model.bin"), done.report["retries"]) == (0, CONTENT, 2), done.result.err


@contextmanager
def daemon(*answers: bytes) -> Iterator[int]:
    """A git daemon, or what an ssh server is before it speaks, that gives these answers and hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:  # it is closed
                    return
                with connection, suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("answer", [packet(f"ERR {BUSY}".encode()), b"", b"00"], ids=["busy", "hangs up", "cut"])
def test_a_busy_daemon(volume: Path, answer: bytes) -> None:
    with daemon(*[answer] * 9) as port:
        done = run(f"git://127.0.0.1:{port}/name.git", volume, "--retry-budget", 3)
    again = answer != b"00"
    assert (done.code, "trying again in" in done.result.err) == (9 if again else 4, again), done.error


@pytest.mark.parametrize("greeting", [b"Exceeded MaxStartups\r\n", b""])
def test_an_ssh_host_with_too_many_connections(volume: Path, tmp_path: Path, greeting: bytes) -> None:
    """OpenSSH calls it `kex_exchange_identification: Connection closed by remote host`."""
    write_secrets(tmp_path / "secrets", username="git", password="secret")
    with daemon(*[greeting] * 9) as port:
        done = load_by_ssh(f"ssh://git@127.0.0.1:{port}/name.git", volume, "--retry-budget", 3)
    assert (done.code, "trying again in" in done.result.err) == (9, True), done.error


# Answers that cannot be right


def pack_of(work: Repository, ids: list[str]) -> bytes:
    work.git("pack-objects", "--quiet", work.path / "made", input="".join(f"{id}\n" for id in ids).encode())
    (path,) = work.path.glob("made-*.pack")
    data = path.read_bytes()
    path.unlink()
    return data


def answer_of(work: Repository, pack: bytes) -> Fault:
    """An answer to a fetch of version 2 with this pack."""
    body = packet(b"shallow-info\n") + packet(f"shallow {work.head}".encode()) + b"0001" + packet(b"packfile\n")
    return Fault(200, body + packet(b"\1" + pack) + b"0000", {"Content-Type": PACK_TYPE})


def bad_answers(work: Repository) -> dict[str, Fault]:
    names = {"commit": "HEAD", "tree": "HEAD^{tree}", "folder": "HEAD:sub", "a": "HEAD:a.txt", "b": "HEAD:sub/b.txt"}
    ids = {name: work.git("rev-parse", text) for name, text in names.items()}
    whole = pack_of(work, list(ids.values()))
    without = {name: [id for other, id in ids.items() if other != name] for name in ids}
    return {
        "sound": answer_of(work, whole),
        "no blob": answer_of(work, pack_of(work, without["b"])),
        "no tree": answer_of(work, pack_of(work, without["folder"])),
        "no root": answer_of(work, pack_of(work, without["tree"])),
        "no commit": answer_of(work, pack_of(work, without["commit"])),
        "cut pack": answer_of(work, whole[: len(whole) // 2]),
        "no pack": answer_of(work, b""),
        "damaged": answer_of(work, whole[:30] + b"\xff\xff\xff" + whole[33:]),
        "empty": Fault(200, b"", {"Content-Type": PACK_TYPE}),
        "nothing": Fault(200, b"", {}),
        "a page": Fault(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
        "cut line": Fault(200, b"00ffshort", {"Content-Type": PACK_TYPE}),
        "not lines": Fault(200, b"what is this?", {"Content-Type": PACK_TYPE}),
    }


def test_a_sound_answer_made_here_is_one(server: GitServer, work: Repository, volume: Path) -> None:
    server.order(PACK, bad_answers(work)["sound"], when=asks_for_a_pack)
    done = load(server, volume)
    assert (done.code, done.tree, done.report["retries"]) == (0, TREE, 0)


BAD = ["no blob", "no tree", "no root", "no commit", "cut pack", "no pack", "damaged", "empty", "nothing", "a page",
       "cut line", "not lines"]  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("pinned", [True, False])
def test_a_bad_answer_is_asked_for_again(
    server: GitServer, work: Repository, volume: Path, kind: str, pinned: bool, tmp_path: Path
) -> None:
    options = ["-o", f"commit={work.head}"] if pinned else []
    (tmp_path / "tmp").mkdir()
    env = {"TMPDIR": str(tmp_path / "tmp")}
    bad = bad_answers(work)[kind]
    server.order(PACK, bad, bad, when=asks_for_a_pack)
    done = run(f"{server.url}/name.git", volume, *options, env=env)
    assert (done.code, done.tree, done.report["retries"]) == (0, TREE, 2), done.result.err
    if pinned:
        server.order(PACK, bad, when=asks_for_a_pack, times=ALWAYS)
        other = run(f"{server.url}/name.git", volume.with_name("other"), *options, "--retry-budget", 1, env=env)
        assert (other.code, "run the same command again" in other.error) == (9, True), other.error
    assert os.listdir(tmp_path / "tmp") == []


def test_a_first_answer_that_is_empty(server: GitServer, volume: Path) -> None:
    server.order(REFS, Fault(200, b"", {}), Fault(200, b"", {}))
    assert load(server, volume).tree == TREE


@pytest.mark.parametrize("commit", [True, False])
def test_an_object_that_only_the_folder_lacks_is_its_own_fault(work: Repository, volume: Path, commit: bool) -> None:
    id = work.git("rev-parse", "HEAD:sub")
    os.unlink(work.path / ".git/objects" / id[:2] / id[2:])
    done = run(f"git+file://{work.path}", volume, *(["-o", f"commit={work.head}"] if commit else []))
    assert (done.code, done.report["retries"]) == (5, 0)


# LFS


@pytest.fixture
def lfs(server: GitServer, work: Repository) -> GitServer:
    work.track("*.bin")
    work.commit({"model.bin": CONTENT})
    work.push(server.root / "name.git")
    return server


def lfs_json(code: int, value: object) -> Fault:
    return Fault(code, json.dumps(value).encode(), {"Content-Type": LFS_TYPE})


BATCH_ERROR = {"objects": [{"oid": OID, "size": len(CONTENT), "error": {"code": 503, "message": "shard 3 is down"}}]}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(200, b"", {}), "does not answer as the batch API does"),
        (lfs_json(200, BATCH_ERROR), f"model.bin (LFS object {OID[:12]}: shard 3 is down (503))"),
        (lfs_json(403, {"message": BUSY}), BUSY),
        (status(503, body=b"upstream is away", Content_Type="text/plain"), "upstream is away"),
        (lfs_json(429, {"message": "slow down"}), "slow down"),
    ],
    ids=["empty", "object", "busy", "503", "429"],
)
def test_a_batch_that_fails_for_a_while(lfs: GitServer, volume: Path, fault: Fault, words: str) -> None:
    lfs.order(BATCH, fault, fault)
    done = load(lfs, volume)
    assert (done.code, done.tree.get("model.bin"), done.report["retries"] > 0) == (0, CONTENT, True), done.result.err
    lfs.order(BATCH, fault, times=ALWAYS)
    other = load(lfs, volume.with_name("other"), "--retry-budget", 1)
    assert (other.code, words in other.error) == (9, True), other.error


def test_only_the_objects_that_failed_are_asked_for_again(lfs: GitServer, work: Repository, volume: Path) -> None:
    work.commit({"more.bin": b"more"})
    work.push(lfs.root / "name.git")
    lfs.lfs_errors[OID] = (500, "try again later")
    done = load(lfs, volume, "--retry-budget", 2)
    assert (done.code, "1 of 2 LFS objects cannot be downloaded" in done.error) == (9, True), done.error
    assert [len(batch["objects"]) for batch in lfs.batches[:3]] == [2, 1, 1]
    assert "more.bin" not in done.error


def test_a_page_in_the_place_of_the_batch_api(lfs: GitServer, volume: Path) -> None:
    lfs.order(BATCH, Fault(200, b"<html><title>Log in</title>", {"Content-Type": "text/html"}), times=ALWAYS)
    done = load(lfs, volume)
    assert (done.code, "does not answer as the batch API does (Log in)" in done.error) == (4, True), done.error


@pytest.mark.parametrize(
    "fault",
    [
        status(404, body=b"NoSuchKey", Content_Type="text/plain"),
        status(410),
        Fault(200, b"short", {}),
        Fault(200, b"", {}),
        Fault(200, b"<html>Please log in to see this file</html>", {"Content-Type": "text/html"}),
    ],
    ids=["404", "410", "short", "empty", "page"],
)
def test_a_storage_that_answers_badly_for_a_while(lfs: GitServer, volume: Path, fault: Fault) -> None:
    lfs.storage.order(storage_path(OID), fault, fault)
    done = load(lfs, volume)
    assert (done.code, done.tree.get("model.bin")) == (0, CONTENT), done.result.err
    lfs.storage.order(storage_path(OID), fault, times=ALWAYS)
    other = load(lfs, volume.with_name("other"), "--retry-budget", 1)
    assert (other.code, "model.bin" in other.error, "run the same command again" in other.error) == (9, True, True)
    if fault.body == b"NoSuchKey":
        assert "is not where the server says it is (404 Not Found: NoSuchKey)" in other.error


# The server's own words


@pytest.mark.parametrize(("code", "exit"), [(401, 3), (403, 3), (404, 4), (410, 4), (451, 3), (400, 3)])
def test_a_refusal_has_the_words_of_the_server(server: GitServer, volume: Path, code: int, exit: int) -> None:
    server.order(REFS, status(code, body=b"Ask ops for project\x1b[31m 7.", Content_Type="text/plain"), times=ALWAYS)
    done = load(server, volume)
    assert (done.code, "Ask ops for project [31m 7." in done.error) == (exit, True), done.error


@pytest.mark.parametrize(("code", "exit"), [(401, 3), (403, 3), (404, 4), (422, 3), (501, 4)])
def test_a_refusal_of_lfs_has_the_words_of_the_server(lfs: GitServer, volume: Path, code: int, exit: int) -> None:
    lfs.order(BATCH, lfs_json(code, {"message": "over its data quota", "request_id": "7"}), times=ALWAYS)
    done = load(lfs, volume)
    assert (done.code, "over its data quota" in done.error) == (exit, True), done.error


def test_what_the_server_says_is_printable_and_short(server: GitServer, volume: Path) -> None:
    server.order(REFS, said("Repository \x1b[31mnot found" + "!" * 500), times=ALWAYS)
    done = load(server, volume)
    assert done.code == 4
    assert "the server says: Repository [31mnot found!!!" in done.error
    assert len(done.error) < 400


# What a server lacks


CAPABILITIES = set(
    re.findall(
        r"\S+",
        """multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative
        no-progress include-tag multi_ack_detailed allow-tip-sha1-in-want allow-reachable-sha1-in-want
        allow-any-sha1-in-want no-done symref filter object-format agent wait-for-done fetch ls-refs server-option""",
    )
)


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
@pytest.mark.parametrize(
    "lacks",
    [{"shallow"}, {"side-band-64k"}, {"side-band-64k", "side-band"}, {"ofs-delta"}, {"symref"}, {"agent"}, {"filter"},
     {"object-format"}, {"multi_ack", "multi_ack_detailed"}, {"shallow", "filter", "wait-for-done"},
     CAPABILITIES - {"fetch", "ls-refs"}],
    ids=lambda lacks: "all" if len(lacks) > 5 else " ".join(sorted(lacks)),
)  # fmt: skip
@pytest.mark.parametrize("by", ["branch", "commit"])
def test_a_capability_that_is_missing(
    server: GitServer, work: Repository, volume: Path, lacks: set[str], version2: bool, by: str
) -> None:
    work.commit({"a.txt": b"newer"})
    work.push(server.root / "name.git")
    server.lacks, server.version2 = frozenset(lacks), version2
    server.any_commit = "allow-any-sha1-in-want" not in lacks
    server.reject_unadvertised = not server.any_commit
    old = work.git("rev-parse", "HEAD~")
    done = load(server, volume, "-o", f"commit={old}" if by == "commit" else "branch=main")
    assert (done.code, done.tree) == (0, {**TREE, "a.txt": b"newer"} if by == "branch" else TREE), done.result.err
    bodies = b"".join(request.body for request in server.requests())
    told = "the server cannot leave history out; fetching all of it" in done.result.err
    assert told == ("shallow" in lacks)
    assert (b"deepen" in bodies) == (not told)
    work.commit({"a.txt": b"newest"})
    work.push(server.root / "name.git")
    if by == "branch":
        again = load(server, volume)
        assert (again.code, again.tree, again.report["retries"]) == (0, {**TREE, "a.txt": b"newest"}, 0)


def test_keep_git_without_shallow_has_the_whole_history(server: GitServer, work: Repository, volume: Path) -> None:
    server.lacks = frozenset({"shallow"})
    done = load(server, volume, "-o", "keepGit=true", "-o", "depth=1")
    assert done.code == 0
    safe = ("-c", f"safe.directory={done.target}")
    assert git(*safe, "rev-list", "--count", "HEAD", cwd=done.target) == work.git("rev-list", "--count", "HEAD")
    git(*safe, "fsck", "--strict", cwd=done.target)


def test_a_server_that_serves_files_alone(work: Repository, volume: Path) -> None:
    work.git("update-server-info")
    with FaultServer() as files:
        for path in (work.path / ".git").rglob("*"):
            if path.is_file() and "lfs" not in path.parts:
                files.put(f"/name.git/{path.relative_to(work.path / '.git')}", path.read_bytes())
        done = run(f"{files.url}/name.git", volume)
    assert done.code == 4
    assert "serves the repository as files (dumb HTTP), and dsload speaks smart HTTP alone" in done.error
    assert "load the clone by git+file://" in done.error


# Networks of real sites


def test_hosts_that_serve_git_alone(lfs: GitServer, volume: Path) -> None:
    lfs.agents = lfs.storage_agents = ("git/", "git-lfs/")  # type: ignore[attr-defined]
    done = load(lfs, volume)
    assert (done.code, done.tree.get("model.bin")) == (0, CONTENT), done.result.err
    agents = {request.headers["user-agent"] for request in lfs.requests()}
    assert {re.sub(r"[0-9.]+$", "N", agent) for agent in agents} == {"git/dsload-N", "git-lfs/dsload-N"}
    assert all(request.headers["user-agent"].startswith("git-lfs/") for request in lfs.requests(BATCH))
    assert {request.headers["user-agent"] for request in lfs.storage.requests()} < agents


def test_http_that_is_sent_on_to_https_keeps_its_credentials(
    work: Repository, volume: Path, tmp_path: Path, ca: CA
) -> None:
    """A proxy stands for the ports 80 and 443 of one host."""
    work.track("*.bin")
    work.commit({"model.bin": CONTENT})
    work.push(tmp_path / "git/name.git")
    write_secrets(tmp_path / "secrets", token="t0ken-of-ann")
    with GitServer(tmp_path / "git") as plain, GitServer(tmp_path / "git", tls=ca) as safe:
        plain.redirect = {"/": "https://127.0.0.1/"}
        safe.basic = ("oauth2", "t0ken-of-ann")
        with Proxy(ports={80: plain.port, 443: safe.port}) as proxy:
            env = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}
            done = run("http://127.0.0.1/name.git", volume, "--ca-bundle", ca.bundle, env=env)
        assert (done.code, done.tree.get("model.bin")) == (0, CONTENT), done.result.err
        assert safe.storage.leaked == []
