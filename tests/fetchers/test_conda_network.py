"""Channels behind a private CA, a proxy, a redirect and a bad network; and the report of what was built."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Result
from tests.fetchers.environments import Site
from tests.loads import bodies, write_secrets
from tests.servers.channel import Package, make_channel
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.nginx import Nginx
from tests.servers.orders import Fault, basic, redirect, reset, stall, status
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.tls import CA

# No settings of the machine's pip, and no patience with what is down. (pip asks rustc for its version.)
PIP = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "0",
    "REQUESTS_CA_BUNDLE": "",
    "CURL_CA_BUNDLE": "",
    "RUSTUP_HOME": os.devnull,
}
USER = ("joe", "pw-of-the-secret")


def site_at(tmp_path: Path, url: str) -> Site:
    """Builds from a channel by URL."""
    root = tmp_path / "volume"
    root.mkdir()
    return Site(root, tmp_path / "p", url)


def put_channel(server: FaultServer, channel: Path, at: str = "/chan") -> str:
    """Serve a channel; its URL. Without what rattler asks for before repodata.json, so that orders are for that."""
    for path in [*channel.glob("*/*.conda"), *channel.glob("*/*.tar.bz2"), *channel.glob("*/repodata.json")]:
        server.put(f"{at}/{path.relative_to(channel)}", path.read_bytes())
    return server.url + at


def file_of(channel: Path, pattern: str) -> str:
    """Where put_channel serves a file."""
    (path,) = channel.glob(pattern)
    return f"/chan/{path.relative_to(channel)}"


def one_error(done: Result, code: int) -> str:
    """The one error line of a load that ended with this exit code."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line[8:].startswith(" error: ")]
    return line


# A private CA


@pytest.fixture
def over_tls(request: pytest.FixtureRequest, www: Path, channel: Path, simple: Path, nginx_tls: Nginx) -> str:
    """The URL of a folder with the channel and the index."""
    folder = www / request.node.name.translate(str.maketrans("[] ", "---"))
    folder.mkdir()
    (folder / "chan").symlink_to(channel)
    (folder / "simple").symlink_to(simple)
    return f"{nginx_tls.url}{folder.name}"


@pytest.mark.parametrize("by", ["flag", "variable", "secret"])
def test_a_private_ca_is_trusted(tmp_path: Path, over_tls: str, ca: CA, by: str) -> None:
    """For repodata, packages and pip."""
    site = site_at(tmp_path, f"{over_tls}/chan")
    arguments, env = (), PIP
    if by == "flag":
        arguments = ("--ca-bundle", ca.bundle)
    elif by == "variable":
        env = {**PIP, "SSL_CERT_FILE": str(ca.bundle)}
    else:
        secrets = write_secrets(tmp_path / "s")
        (secrets / "ca.crt").write_bytes(ca.bundle.read_bytes())
        arguments = ("--mount-secrets", secrets)
    options = {"pipIndexUrl": f"{over_tls}/simple", "requirements.txt": "greet"}
    done = site.load("e", *arguments, needs="hello", env=env, **options)
    assert done.code == 0, done.err
    assert site.run("e", "greet") == f"greet 2.0 from {site.prefix('e')}"
    assert site.run("e", "hello") == f"hello from {site.prefix('e')}"


def test_an_unknown_ca_is_not_trusted(tmp_path: Path, over_tls: str) -> None:
    done = site_at(tmp_path, f"{over_tls}/chan").load("e")  # at once, whatever the budget
    error = one_error(done, 3)
    assert "certificate" in error
    assert "--ca-bundle, SSL_CERT_FILE or the secret ca.crt" in error


# A proxy


def test_everything_goes_through_a_proxy(tmp_path: Path, channel: Path, simple: Path, fault: FaultServer) -> None:
    """Names of hosts that only the proxy knows; and a password that it wants, which nobody reads."""
    with Proxy(auth=("ann", "pw-of-the-proxy"), hosts=frozenset({"conda.example"})) as proxy:
        url = put_channel(fault, channel).replace("127.0.0.1", "conda.example")
        for path in simple.rglob("*.whl"):
            fault.put(f"/simple/{path.relative_to(simple)}", path.read_bytes())
        page = (simple / "greet/index.html").read_bytes()
        fault.put("/simple/greet/", page, headers={"Content-Type": "text/html"})
        site = site_at(tmp_path, url)
        env = {**PIP, "HTTP_PROXY": proxy.url.replace("://", "://ann:pw-of-the-proxy@")}
        options = {"pipIndexUrl": f"http://conda.example:{fault.port}/simple", "requirements.txt": "greet"}
        done = site.load("e", "-v", needs="hello", env=env, pipTrustedHost="conda.example", **options)
    assert done.code == 0, done.err
    assert site.run("e", "greet") == f"greet 2.0 from {site.prefix('e')}"
    assert {request.headers["host"] for request in fault.requests()} == {f"conda.example:{fault.port}"}
    asked = {request.target.removeprefix(f"http://conda.example:{fault.port}") for request in proxy.requests()}
    assert {request.target for request in fault.requests()} <= asked
    assert {file_of(channel, "*/hello-1.0-0.tar.bz2"), "/chan/noarch/repodata.json", "/simple/greet/"} <= asked
    assert "pw-of-the-proxy" not in done.err
    files = [path for path in site.root.rglob("*") if path.is_file()]
    assert [path for path in files if b"pw-of-the-proxy" in path.read_bytes()] == []


def test_tls_goes_through_a_tunnel(tmp_path: Path, over_tls: str, ca: CA, nginx_tls: Nginx, proxy: Proxy) -> None:
    options = {"pipIndexUrl": f"{over_tls}/simple", "requirements.txt": "greet"}
    env = {**PIP, "HTTPS_PROXY": proxy.url}
    nginx_tls.clear()
    done = site_at(tmp_path, f"{over_tls}/chan").load("e", "--ca-bundle", ca.bundle, env=env, **options)
    assert done.code == 0, done.err
    assert {(seen.method, seen.target) for seen in proxy.requests()} == {("CONNECT", f"127.0.0.1:{nginx_tls.port}")}
    agents = {seen.user_agent.partition("/")[0] for seen in nginx_tls.requests()}
    assert agents >= {"dsload", "pip"}
    assert len(proxy.requests()) >= 3  # one each by rattler, dsload and pip


def test_a_host_of_no_proxy_is_asked_itself(
    tmp_path: Path, channel: Path, simple: Path, www: Path, nginx: Nginx, proxy: Proxy
) -> None:
    folder = www / "conda-no-proxy"
    folder.mkdir()
    (folder / "chan").symlink_to(channel)
    (folder / "simple").symlink_to(simple)
    env = {**PIP, "HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
    options = {"pipIndexUrl": f"{nginx.url}{folder.name}/simple", "requirements.txt": "greet"}
    done = site_at(tmp_path, f"{nginx.url}{folder.name}/chan").load("e", env=env, **options)
    assert done.code == 0, done.err
    assert proxy.requests() == []


def test_a_proxy_that_refuses(tmp_path: Path, channel: Path, fault: FaultServer) -> None:
    """No retry helps."""
    with Proxy(auth=("ann", "pw-of-the-proxy")) as proxy:
        env = {"HTTP_PROXY": proxy.url}
        done = site_at(tmp_path, put_channel(fault, channel)).load("e", "--retry-budget", 1, env=env)
    error = one_error(done, 3)
    assert "407" in error
    assert "HTTP_PROXY" in error
    assert fault.requests() == []


# Credentials


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    return write_secrets(tmp_path / "s", username=USER[0], password=USER[1])


@pytest.mark.parametrize("pattern", ["noarch/repodata.json", "noarch/hello-1.0-0.tar.bz2"], ids=["repodata", "package"])
def test_a_redirect_to_another_host_has_no_credentials(
    tmp_path: Path, channel: Path, secrets: Path, fault: FaultServer, pattern: str
) -> None:
    fault.authorization = basic(*USER)
    path = file_of(channel, pattern)
    with FaultServer() as other:
        fault.order(path, redirect(put_channel(other, channel) + path.removeprefix("/chan")), times=ALWAYS)
        site = site_at(tmp_path, put_channel(fault, channel))
        done = site.load("e", "--mount-secrets", secrets, needs="hello")
        assert done.code == 0, done.err
        assert bodies(other, path) != []
        assert {request.headers.get("authorization") for request in other.requests()} == {None}


# A bad network

Check = Callable[[FaultServer, str], bool]


def again(server: FaultServer, path: str) -> bool:
    """Whether a file was asked for once more."""
    return len(server.requests(path)) >= 2


def resumed(server: FaultServer, path: str) -> bool:
    """Whether what was left of a file was asked for by a range, and no more than that was sent."""
    ranges = [request for request in server.requests(path) if request.headers.get("range", "").startswith("bytes=10")]
    return bool(ranges) and all(request.status == 206 for request in ranges)


@pytest.mark.parametrize(
    ("pattern", "fault_of_it", "check"),
    [("noarch/repodata.json", status(503), again),
     ("noarch/repodata.json", reset(100), again),
     ("noarch/repodata.json", stall(100), again),
     ("*/pip-*.conda", status(503), again),
     ("*/tool-2.0-0.conda", reset(1 << 20), resumed),
     ("*/tool-2.0-0.conda", stall(0), again)],
    ids=["repodata-503", "repodata-reset", "repodata-stall", "package-503", "package-reset", "package-stall"],
)  # fmt: skip
def test_one_fault_is_got_over(
    tmp_path: Path, channel: Path, fault: FaultServer, pattern: str, fault_of_it: Fault, check: Check
) -> None:
    path = file_of(channel, pattern)
    fault.order(path, fault_of_it)
    site = site_at(tmp_path, put_channel(fault, channel))
    done = site.load("e", "--stall-timeout", 1, "--retry-budget", 4, "--workers", 1, needs="tool")
    assert done.code == 0, done.err
    assert check(fault, path), fault.requests(path)
    assert site.run("e", "tool") == f"tool 2.0 {site.prefix('e')}"


@pytest.mark.parametrize("why", ["refused", "503", "stall"])
def test_repodata_that_does_not_come(tmp_path: Path, channel: Path, fault: FaultServer, why: str) -> None:
    url = put_channel(fault, channel) if why != "refused" else f"http://127.0.0.1:{free_port()}/chan"
    fault.order("/chan/noarch/repodata.json", status(503) if why == "503" else stall(0), times=ALWAYS)
    done = site_at(tmp_path, url).load("e", "--stall-timeout", 1, "--retry-budget", 1)
    error = one_error(done, 9)
    assert "reading the repodata of" in error
    assert f"{url}/" in error
    assert "--retry-budget" in error


@pytest.mark.parametrize("why", ["404", "503"])
def test_a_package_that_does_not_come(tmp_path: Path, channel: Path, fault: FaultServer, why: str) -> None:
    url, path = put_channel(fault, channel), file_of(channel, "noarch/hello-1.0-0.tar.bz2")
    if why == "404":
        fault.remove(path)
    else:
        fault.order(path, status(503), times=ALWAYS)
    done = site_at(tmp_path, url).load("e", "--retry-budget", 1, needs="hello")
    assert "hello-1.0-0.tar.bz2" in one_error(done, 4 if why == "404" else 9)


def test_repodata_that_is_none(tmp_path: Path, channel: Path, fault: FaultServer) -> None:
    """A page that some gateway put in its place; it is said which."""
    url = put_channel(fault, channel)
    fault.put("/chan/noarch/repodata.json", b"<html>Please log in</html>")
    site = site_at(tmp_path, url)
    assert url in one_error(site.load("e", "--retry-budget", 1), 9)
    fault.order("/chan/noarch/repodata.json", Fault(200, b'{"packages": {'))
    put_channel(fault, channel)
    assert site.load("e", "--retry-budget", 20).code == 0


SAID = b'{"errors": [{"status": 403, "message": "The download limit of the cache is reached"}]}'


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            status(403, body=SAID),
            3,
            "(The download limit of the cache is reached); check the credentials in the secrets",
        ),
        (status(401, body=b"who is it?", Content_Type="text/plain"), 3, "(who is it?); check the credentials"),
        (status(400, body=SAID), 3, "400 Bad Request"),
        (status(451), 3, "451 Unavailable For Legal Reasons"),
        (status(410), 4, "410 Gone"),
        (status(404), 4, "could not find subdir 'noarch'"),
    ],
)
def test_a_refusal_is_told_at_once_in_the_channels_words(
    tmp_path: Path, channel: Path, fault: FaultServer, answer: Fault, code: int, words: str
) -> None:
    url = put_channel(fault, channel)
    fault.order("/chan/noarch/repodata.json", answer, times=ALWAYS)
    error = one_error(site_at(tmp_path, url).load("e"), code)
    assert words in error
    assert "--retry-budget" not in error


def test_a_port_that_does_not_speak_tls_is_told_at_once(tmp_path: Path, www: Path, nginx: Nginx) -> None:
    done = site_at(tmp_path, f"{nginx.url}chan".replace("http:", "https:")).load("e")
    assert "does not speak TLS: is it http://?" in one_error(done, 3)


def test_a_host_that_no_dns_knows(tmp_path: Path) -> None:
    done = site_at(tmp_path, "http://nowhere.invalid/chan").load("e", "--retry-budget", 60)
    assert "nowhere.invalid" in one_error(done, 4)


def test_a_limit_of_the_rate(tmp_path: Path, channel: Path, fault: FaultServer) -> None:
    site = site_at(tmp_path, put_channel(fault, channel))
    done = site.load("e", "--max-rate", "50M", needs="tool")
    assert done.code == 0, done.err
    assert site.run("e", "tool") == f"tool 2.0 {site.prefix('e')}"


# The report


def test_a_report_for_the_termination_log_is_brief(tmp_path: Path, channel: Path) -> None:
    """Kubernetes reads 4096 bytes of it; the texts lie beside the environment, and in the report that is printed."""
    site = site_at(tmp_path, channel.as_uri())
    wide = make_channel(
        tmp_path / "ünïcode-of-a-channel",
        *(Package(f"a-package-of-many-{n}", files={f"share/{n}": b""}, noarch="generic") for n in range(12)),
    )
    needs = ", ".join(f"a-package-of-many-{n}" for n in range(12))
    path = tmp_path / "report"
    channels = f"{channel.as_uri()},{wide.as_uri()}"
    done = site.load("e", "--report-file", path, "--output", "json", needs=needs, channels=channels)
    assert done.code == 0, done.err
    lock = Path(f"{site.folder('e')}.conda.lock").read_text()
    assert done.json["built"]["conda.lock"] == lock
    assert len(done.out.encode()) > 4096
    written = path.read_bytes()
    assert len(written) <= 4096
    brief, whole = json.loads(written), done.json
    assert brief["built"] == {"prefix": str(site.prefix("e"))}
    assert {**brief, "built": None} == {**whole, "built": None}


def test_a_short_report_is_whole(tmp_path: Path, channel: Path) -> None:
    site = site_at(tmp_path, channel.as_uri())
    done = site.load("e", "--report-file", tmp_path / "report", "--output", "json")
    assert done.code == 0, done.err
    assert len(done.out) < 4096
    assert json.loads((tmp_path / "report").read_text()) == done.json
