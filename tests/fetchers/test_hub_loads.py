"""Loads from both hubs: what they verify, where the token goes, what a storage host, a proxy and a kill do to them."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from dsload import Network, Secrets, Settings, Source, Target, __version__, load, read_secrets
from dsload.errors import InterruptedLoad
from dsload.report import Progress
from tests import command
from tests.contract.inside import run as inside
from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, ANY
from tests.servers.hub import Hub, Repo, storage_path
from tests.servers.orders import Virtual, chunked, close, flip, ignore_range, reset, stall, status
from tests.servers.process import free_port, wait_until
from tests.servers.proxy import Proxy
from tests.servers.threaded import Request
from tests.servers.tls import CA
from tests.trees import contents

EXAMPLES = Path(__file__).parent.parent.parent / "examples/datasets"
MIB = 1 << 20
BIG = Virtual(40 * MIB + 17, seed=1)
TREE = {"config.json": b"{}", "sub/tokenizer.json": b"t" * 5000, "model.safetensors": BIG[:]}
SCHEMES = ("hf", "ms")


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    """Of both hubs."""
    return str(request.param)


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model."""
    repo = hub.repo("owner/name")
    repo.put_all({**TREE, "model.safetensors": BIG})
    return repo


def bring(
    hub: Hub, scheme: str, volume: Path, *arguments: object, env: Mapping[str, str] | None = None, name: str = ""
) -> Run:
    return run(f"{scheme}://{name or 'owner/name'}", volume, "-o", f"endpoint={hub.url}", *arguments, env=env)


def is_for(path: str):
    """For `when`: a request for a file, whichever hub is asked."""
    return lambda request: request.target.endswith((f"/{path}", f"FilePath={path.replace('/', '%2F')}"))


# What comes


def test_every_file_is_verified_and_the_commit_is_recorded(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert done.report["revision"] == repo.head
    assert done.report["server"] == hub.url
    assert done.report["unverified"] == done.report["retries"] == 0
    header, *rows = map(json.loads, (done.target / ".dsload/inventory.jsonl").read_text().splitlines())
    assert header["revision"] == repo.head
    assert json.loads((done.target / ".dsload/complete.json").read_text())["revision"] == repo.head
    digests = {row["path"]: row["checksum"] for row in rows}
    assert digests["model.safetensors"] == f"sha256:{repo.files['model.safetensors'].sha256}"
    config = repo.files["config.json"]
    assert digests["config.json"] == (f"gitblob:{config.oid}" if scheme == "hf" else f"sha256:{config.sha256}")
    assert inside("verify", done.target).code == 0


@pytest.mark.parametrize("revision", ["branch", "tag", "commit"])
def test_a_revision(hub: Hub, repo: Repo, scheme: str, volume: Path, revision: str) -> None:
    old = repo.head
    repo.branch("branch")
    repo.tag("tag")
    repo.put_all({"config.json": b"later", "more": b"more"})
    done = bring(hub, scheme, volume, "-o", f"revision={old if revision == 'commit' else revision}")
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, old)


def test_a_branch_that_moves_during_the_load(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    old = repo.head

    class Pushing(Progress):
        def received(self, size: int, path: str) -> None:
            repo.put(f"pushed while {path} came", b"")
            repo.put_all({"config.json": b"[]", "sub/tokenizer.json": b"T" * 5000, "model.safetensors": BIG[::-1]})
            super().received(size, path)

    volume.mkdir()
    source = Source.parse(f"{scheme}://owner/name", None, {"endpoint": hub.url})
    report = load(source, Target(volume, "set"), settings=Settings(Network(workers=1)), progress=Pushing())
    assert contents(volume / "set") == TREE
    assert report.revision == old != repo.head


def test_a_rerun_asks_for_the_listing_alone(hub: Hub, scheme: str, volume: Path) -> None:
    hub.repo("owner/name").put_all({f"layers/{n}.bin": b"%d" % n for n in range(300)})
    assert bring(hub, scheme, volume).code == 0
    hub.clear()
    done = bring(hub, scheme, volume)
    assert (done.code, done.report["bytes"]["moved"], done.report["files"]["kept"]) == (0, 0, 300)
    assert len(hub.requests()) <= 3
    assert hub.storage.requests() == []


def test_a_new_commit_brings_what_changed(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    assert bring(hub, scheme, volume).code == 0
    repo.put("config.json", b"new")
    repo.remove("sub/tokenizer.json")
    done = bring(hub, scheme, volume)
    assert done.tree == {"config.json": b"new", "model.safetensors": BIG[:]}
    assert done.report["bytes"]["moved"] == 3
    assert done.report["revision"] == repo.head


@pytest.mark.parametrize(("example", "variable"), [("huggingface", "HF"), ("modelscope", "MODELSCOPE")])
def test_the_example_datasets(hub: Hub, volume: Path, example: str, variable: str) -> None:
    hub.repo("Qwen/Qwen2.5-0.5B-Instruct").put_all(TREE)
    volume.mkdir()
    flags = ("--mount-root", volume, "--output", "json", "-o", "exclude=*.safetensors")
    env = {f"{variable}_ENDPOINT": hub.url}
    done = command.run("load", "-f", EXAMPLES / f"{example}.yaml", *flags, env=env)
    assert (done.code, done.json["server"]) == (0, hub.url)
    assert contents(volume) == {path: data for path, data in TREE.items() if not path.endswith(".safetensors")}
    assert inside("verify", volume).code == 0


# What is wrong on the way


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_wrong_bytes_are_fetched_again_once(hub: Hub, repo: Repo, scheme: str, volume: Path, path: str) -> None:
    server = hub.storage if repo.files[path].lfs else hub
    server.order(ANY, flip(0), when=_is_get(path, repo))
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    server.order(ANY, flip(0), when=_is_get(path, repo), times=ALWAYS)
    done = bring(hub, scheme, volume / "again")
    assert done.code == 5
    assert f"{path} from {scheme}://owner/name" in done.error
    assert path not in done.tree


def _is_get(path: str, repo: Repo):
    stored = storage_path(repo.files[path])
    plain = is_for(path)
    return lambda request: request.method == "GET" and (plain(request) or request.target.startswith(stored))


def test_a_file_that_is_missing(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    hub.order(ANY, status(404), when=is_for("config.json"), times=ALWAYS)
    done = bring(hub, scheme, volume)
    assert done.code == 9
    assert "config.json from" in done.error
    assert "it has disappeared since it was listed" in done.error
    assert not (done.target / ".dsload/complete.json").exists()


@pytest.mark.parametrize("fault", [close(3 * MIB), reset(3 * MIB), status(500), status(503), status(429)])
def test_what_passes_is_gone_on_from(hub: Hub, repo: Repo, scheme: str, volume: Path, fault: object) -> None:
    hub.storage.order(ANY, fault, fault, fault)
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert hub.storage.bytes_sent() < len(BIG) + 6 * MIB
    assert done.report["retries"] >= 3


@pytest.mark.parametrize("code", [401, 403, 404, 500])
def test_a_hub_that_fails_is_no_success_on_a_full_target(
    hub: Hub, repo: Repo, scheme: str, volume: Path, code: int
) -> None:
    assert bring(hub, scheme, volume).code == 0
    hub.order(ANY, status(code), times=ALWAYS)
    done = bring(hub, scheme, volume, "--retry-budget", "0.2")
    assert done.code == {401: 3, 403: 3, 404: 4, 500: 9}[code]
    assert done.tree == TREE


PAGE = status(200, body=b"<!doctype html><title>Sign in</title>", Content_Type="text/html")
BAD = {
    "an empty answer": status(200, body=b""),
    "a page": PAGE,
    "too little": status(200, body=b"{"),
    "gone": status(410),
    "another": status(412),
}


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_answer_for_a_file_at_a_commit(
    hub: Hub, repo: Repo, scheme: str, volume: Path, path: str, bad: str
) -> None:
    server = hub.storage if repo.files[path].lfs else hub
    is_get = _is_get(path, repo)
    server.order(ANY, BAD[bad], BAD[bad], when=is_get)
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    server.order(ANY, BAD[bad], when=is_get, times=ALWAYS)
    done = bring(hub, scheme, volume / "again", "--retry-budget", "0.2")
    assert done.code == 9, done.result.err
    assert f"{path} from {scheme}://owner/name" in done.error
    assert bad != "a page" or f"127.0.0.1:{server.port} answers with a page in the place of the file" in done.error
    assert path not in done.tree


# The storage host


def test_the_token_goes_to_the_hub_alone(hub: Hub, repo: Repo, scheme: str, volume: Path, tmp_path: Path) -> None:
    hub.tokens["tok-en_1"] = {"owner/name"}
    repo.private = True
    write_secrets(tmp_path / "secrets", token="tok-en_1\n")
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert hub.storage.leaked == []
    assert all(request.headers["authorization"] == "Bearer tok-en_1" for request in hub.requests())
    state = b"".join(path.read_bytes() for path in (done.target / ".dsload").rglob("*") if path.is_file())
    assert b"tok-en_1" not in state + done.result.out.encode() + done.result.err.encode()


@pytest.mark.parametrize("when", ["before the listing", "after the listing"])
def test_a_token_that_is_renewed_while_a_load_runs(
    hub: Hub, repo: Repo, scheme: str, volume: Path, tmp_path: Path, when: str
) -> None:
    """As Kubernetes renews a mounted Secret: `..data` leads to another folder."""
    folder = tmp_path / "secrets"
    for name, token in (("1", "old"), ("2", "new")):
        write_secrets(folder / name, token=token)
    (folder / "..data").symlink_to("1")
    (folder / "token").symlink_to("..data/token")
    repo.private, hub.tokens = True, {"old": {"owner/name"}}
    secrets = read_secrets(folder)

    def renew() -> None:
        (folder / "..new").symlink_to("2")
        (folder / "..new").rename(folder / "..data")
        hub.tokens = {"new": {"owner/name"}}

    class Renewing(Progress):
        def expect(self, files: int, size: int) -> None:
            if when == "after the listing":
                renew()
            super().expect(files, size)

    if when == "before the listing":
        renew()
    volume.mkdir()
    source = Source.parse(f"{scheme}://owner/name", None, {"endpoint": hub.url})
    load(source, Target(volume, "set"), secrets, Settings(Network(retry_budget=20)), Renewing())
    assert contents(volume / "set") == TREE


def test_a_large_file_comes_in_ranges_by_one_redirect(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    assert bring(hub, scheme, volume).code == 0
    ranges = {request.headers.get("range") for request in hub.storage.requests()}
    assert len(ranges) >= 4
    assert None not in ranges
    assert len([r for r in hub.requests() if is_for("model.safetensors")(r)]) == 1


def test_signed_urls_that_serve_once(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    hub.signed_for = 1
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert 403 in {request.status for request in hub.storage.requests()}
    assert hub.storage.bytes_sent() < len(BIG) + MIB


def test_signed_urls_that_expire_in_the_middle(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    class Expiring(Progress):
        expired = False

        def received(self, size: int, path: str) -> None:
            super().received(size, path)
            if self.moved > 5 * MIB and not self.expired:
                self.expired = True
                hub.expire_signatures()

    volume.mkdir()
    hub.storage.order(ANY, close(6 * MIB))  # the first part has to ask again
    source = Source.parse(f"{scheme}://owner/name", None, {"endpoint": hub.url})
    settings = Settings(Network(workers=2, retry_budget=20))
    load(source, Target(volume, "set"), settings=settings, progress=Expiring())
    assert contents(volume / "set") == TREE
    assert 403 in {request.status for request in hub.storage.requests()}


def test_a_storage_that_refuses_what_was_just_signed(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    hub.storage.order(ANY, status(403), times=ALWAYS)
    done = bring(hub, scheme, volume)
    assert done.code == 3
    assert f"127.0.0.1:{hub.storage.port} answered 403 Forbidden to a URL that the hub had just signed" in done.error
    assert len(hub.storage.requests()) < 20


def test_a_partial_file_is_gone_on_with_where_another_host_has_another_etag(
    hub: Hub, repo: Repo, scheme: str, volume: Path
) -> None:
    class Stopping(Progress):
        def received(self, size: int, path: str) -> None:
            super().received(size, path)
            if self.moved > 9 * MIB:
                wait_until(lambda: '"end"' in "".join(map(Path.read_text, parts.glob("*.journal"))), "a finished part")
                raise InterruptedLoad("loading", "", "by the test")

    volume.mkdir()
    parts = volume / "set/.dsload/parts"
    source = Source.parse(f"{scheme}://owner/name", None, {"endpoint": hub.url})
    with pytest.raises(InterruptedLoad):
        load(source, Target(volume, "set"), settings=Settings(Network(workers=1)), progress=Stopping())
    with Hub() as mirror:
        mirror.repo("owner/name").put_all({**TREE, "model.safetensors": BIG})
        report = load(Source.parse(f"{scheme}://owner/name", None, {"endpoint": mirror.url}), Target(volume, "set"))
        assert mirror.storage.bytes_sent() <= len(BIG) - 8 * MIB
    assert contents(volume / "set") == TREE
    assert report.bytes.resumed >= 8 * MIB


@pytest.mark.parametrize("workers", [1, 8])
def test_a_storage_that_gives_no_large_file_without_a_range(
    hub: Hub, repo: Repo, scheme: str, volume: Path, workers: int
) -> None:
    hub.storage.whole = MIB
    done = bring(hub, scheme, volume, "--workers", workers)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert {request.status for request in hub.storage.requests()} == {206}


@pytest.mark.parametrize("before", [0, 2])
def test_one_stream_of_a_storage_that_gives_no_large_file_without_a_range(
    hub: Hub, repo: Repo, scheme: str, volume: Path, before: int
) -> None:
    """Once a range was answered with all of the file, dsload reads it in one stream; which fails at first here."""
    hub.storage.whole = MIB
    stored = storage_path(repo.files["model.safetensors"])
    hub.storage.order(stored, ignore_range(), after=before)
    hub.storage.order(stored, close(3 * MIB), when=lambda request: request.headers.get("range") == "bytes=0-")
    done = bring(hub, scheme, volume, "--workers", "1")
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert 400 not in {request.status for request in hub.storage.requests()}


# Mirrors that know little


@pytest.mark.parametrize("fault", [ignore_range(), chunked()])
def test_no_ranges_and_no_lengths(hub: Hub, repo: Repo, scheme: str, volume: Path, fault: object) -> None:
    for server in (hub, hub.storage):
        server.order(ANY, fault, times=ALWAYS)
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)


def test_all_of_it_from_the_hub_itself(hub: Hub, scheme: str, volume: Path) -> None:
    hub.lacks = {"range"}
    hub.repo("owner/name").put_all({"plain.txt": BIG}, lfs=False)
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, {"plain.txt": BIG[:]})
    assert hub.bytes_sent() < len(BIG) + MIB


def test_a_server_that_is_no_hub(hub: Hub, scheme: str, volume: Path) -> None:
    for body in (b"<html>Welcome to nginx!</html>", b'{"a": 1}', b"[1]", b'"x"', b"[" * 100_000):
        hub.order(ANY, status(200, body=body), times=ALWAYS)
        done = bring(hub, scheme, volume)
        assert done.code == 4, done.error
        assert "check that the endpoint is a hub's" in done.error
        hub.clear()


# Hostile listings


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../../b", "a//b", ".dsload/x", "nul\0", "half\ud800", "x" * 300])
def test_names_that_lead_out(hub: Hub, scheme: str, volume: Path, path: str) -> None:
    digest = "0" * 64
    row: object = {"type": "file", "path": path, "size": 1, "oid": digest[:40]}
    if scheme == "ms":
        ms = {"Type": "blob", "Path": path, "Size": 1, "Sha256": digest}
        row = {"Code": 200, "Success": True, "Data": {"Files": [ms], "LatestCommitter": {"Id": "a" * 40}}}
    body = json.dumps(row if scheme == "ms" else [row]).encode()
    hub.repo("owner/name")
    hub.order(ANY, status(200, body=body), when=lambda r: "/tree/" in r.target or "/files" in r.target, times=ALWAYS)
    done = bring(hub, scheme, volume)
    assert done.code == 5, done.result.err
    assert done.tree == {}


@pytest.mark.parametrize("size", [-1, "12", None, True, 1.5])
def test_sizes_that_are_none(hub: Hub, scheme: str, volume: Path, size: object) -> None:
    row: object = [{"type": "file", "path": "a", "size": size, "oid": "0" * 40}]
    if scheme == "ms":
        ms = {"Type": "blob", "Path": "a", "Size": size, "Sha256": "0" * 64}
        row = {"Code": 200, "Success": True, "Data": {"Files": [ms], "LatestCommitter": {"Id": "a" * 40}}}
    hub.repo("owner/name")
    fault = status(200, body=json.dumps(row).encode())
    hub.order(ANY, fault, when=lambda r: "/tree/" in r.target or "/files" in r.target, times=ALWAYS)
    done = bring(hub, scheme, volume)
    assert done.code == 4
    assert "its listing has a row that dsload does not read" in done.error


# Networks


def test_every_request_goes_through_the_proxy(hub: Hub, repo: Repo, proxy: Proxy, scheme: str, volume: Path) -> None:
    done = bring(hub, scheme, volume, env={"HTTP_PROXY": proxy.url, "NO_PROXY": ""})
    assert (done.code, done.tree) == (0, TREE)
    asked = {
        (f"{server.url}{r.target}", r.headers.get("range")) for server in (hub, hub.storage) for r in server.requests()
    }
    assert {(r.target, r.headers.get("range")) for r in proxy.requests()} == asked
    assert len(proxy.requests()) == len(hub.requests()) + len(hub.storage.requests())


def test_a_private_ca(ca: CA, scheme: str, volume: Path, tmp_path: Path) -> None:
    with Hub(tls=ca) as hub:
        hub.repo("owner/name").put_all({**TREE, "model.safetensors": BIG})
        done = bring(hub, scheme, volume, "--retry-budget", "0.2", env={"SSL_CERT_FILE": ""})
        assert (done.code, "give the certificate authority by --ca-bundle" in done.error) == (3, True)
        done = bring(hub, scheme, volume, "--ca-bundle", ca.bundle)
        assert (done.code, done.tree) == (0, TREE)
        write_secrets(tmp_path / "secrets").joinpath("ca.crt").write_bytes(ca.bundle.read_bytes())
        assert bring(hub, scheme, tmp_path / "other").tree == TREE


def test_a_hub_that_is_not_there(scheme: str, volume: Path) -> None:
    uri = f"{scheme}://owner/name"
    done = run(uri, volume, "-o", f"endpoint=http://127.0.0.1:{free_port()}", "--retry-budget", "0.2")
    assert (done.code, f"listing {uri}: " in done.error) == (9, True)


def test_requests_that_are_limited_are_waited_out(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    wait = status(429, RateLimit='"api";r=0;t=1', RateLimit_Policy='"fixed window";"api";q=500;w=300')
    hub.order(ANY, *[wait] * 5)
    hub.storage.order(ANY, status(429, retry_after=1), times=3)
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert "trying again in 1.0 s" in done.result.err


def test_a_limit_that_is_not_reached_is_no_reason_to_wait(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    hub.order(ANY, status(503, RateLimit='"api";r=499;t=3000'))
    done = bring(hub, scheme, volume, "--retry-budget", "10")
    assert (done.code, done.tree) == (0, TREE)


# Kills


def test_a_kill_costs_what_was_in_flight(hub: Hub, repo: Repo, scheme: str, volume: Path) -> None:
    stored = storage_path(repo.files["model.safetensors"])
    hub.storage.order(stored, stall(2 * MIB), after=3)  # so that the load is killed in its middle
    flags = ("--mount-root", volume, "--mount-path", "set", "--workers", 4, "-o", f"endpoint={hub.url}")
    volume.mkdir()
    killed = command.start("load", f"{scheme}://owner/name", *flags)
    journals = volume / "set/.dsload/parts"
    wait_until(lambda: sum(f.read_text().count('"end"') for f in journals.glob("*.journal")) >= 3, "three parts")
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    hub.storage.release()
    hub.clear()
    done = bring(hub, scheme, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert done.report["bytes"]["resumed"] >= 24 * MIB
    assert hub.storage.bytes_sent() <= len(BIG) - 24 * MIB


# Where nothing is to be written or asked


def test_nothing_is_written_at_home_and_nothing_else_is_asked(
    hub: Hub, repo: Repo, scheme: str, volume: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    cookies = home / ".modelscope/credentials/cookies"
    cookies.parent.mkdir(parents=True)
    cookies.write_bytes(f"cos\nsystem\n(S'touch {tmp_path}/unpickled'\ntR.".encode())
    before = sorted(home.rglob("*"))
    env = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "MODELSCOPE_CACHE": str(home / "ms"),
        "TMPDIR": str(tmp_path),
    }
    done = bring(hub, scheme, volume, env=env)
    assert (done.code, done.tree) == (0, TREE)
    assert sorted(home.rglob("*")) == before
    assert not (tmp_path / "unpickled").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "volume"]
    known = ("/api/models/owner/name/", "/owner/name/resolve/", "/api/v1/models/owner/name/repo")
    assert all(request.target.startswith(known) for request in hub.requests())
    agents = {request.headers["user-agent"] for request in (*hub.requests(), *hub.storage.requests())}
    assert agents == {f"dsload/{__version__}"}


@pytest.mark.parametrize(
    ("scheme", "variable", "other"),
    [("hf", "HF_TOKEN", "MODELSCOPE_API_TOKEN"), ("ms", "MODELSCOPE_API_TOKEN", "HF_TOKEN")],
)
def test_the_token_of_the_environment(
    hub: Hub, repo: Repo, scheme: str, variable: str, other: str, volume: Path, tmp_path: Path
) -> None:
    hub.tokens |= {"of-the-environment": {"*"}, "of-the-secrets": {"*"}}
    repo.private = True
    env = {variable: "of-the-environment", other: "never-to-be-sent"}
    assert bring(hub, scheme, volume, env=env).tree == TREE
    assert {_authorization(request) for request in hub.requests()} == {"Bearer of-the-environment"}
    hub.clear()
    write_secrets(tmp_path / "secrets", token="of-the-secrets")
    assert bring(hub, scheme, volume, env=env).code == 0
    assert {_authorization(request) for request in hub.requests()} == {"Bearer of-the-secrets"}


def _authorization(request: Request) -> str:
    return request.headers.get("authorization", "")


def test_a_token_that_cannot_be_one(hub: Hub, scheme: str, volume: Path) -> None:
    volume.mkdir()
    source = Source.parse(f"{scheme}://owner/name", None, {"endpoint": hub.url})
    with pytest.raises(Exception, match="white space"):
        load(source, Target(volume, "set"), Secrets(token="two words"))
    assert hub.requests() == []
