"""Networks of real sites: NO_PROXY, authorities, IPv6, TLS that does not fit, a token across an upgrade to https."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from dsload.transfer.network import ca_file, is_direct
from tests.loads import run, write_secrets
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.nginx import Nginx
from tests.servers.orders import basic, redirect, status
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.tls import CA, make_ca

BODY = b"small enough for one request"


@pytest.fixture
def proxy_for_names() -> Proxy:
    """A proxy that alone knows the way to models.example, on its usual ports."""
    with Proxy(hosts=frozenset({"models.example"})) as server:
        yield server


# NO_PROXY

ENTRIES = [
    "*", "models.example", ".models.example", "example", "xample", "a.example,models.example",
    "a.example models.example",
    "Models.Example", "models.example.", "127.0.0.1", "127.0.0.0/8", "10.0.0.0/8,127.0.0.1", "128.0.0.0/1", "::1",
    "fd00::/8", "dels.example", "other.example",
]  # fmt: skip
HOSTS = ["models.example", "eu.models.example", "127.0.0.1", "[::1]", "MODELS.example"]


@pytest.fixture(scope="module")
def teapot() -> FaultServer:
    """A proxy that answers each request itself."""
    with FaultServer() as server:
        server.order("*", status(418), times=ALWAYS)
        yield server


@pytest.mark.parametrize("entries", ENTRIES)
def test_no_proxy_as_curl_reads_it(entries: str, fault: FaultServer, teapot: FaultServer) -> None:
    urls = [f"http://{host}:{fault.port}/" for host in HOSTS]
    env = {"PATH": os.environ["PATH"], "http_proxy": teapot.url, "no_proxy": entries}
    ways = ["-s", "-o", "/dev/null", "-w", "%{http_code} "]
    asked = [each for url in urls for each in ("--next", *ways, url)]
    done = subprocess.run(["curl", *asked[1:]], env=env, capture_output=True, text=True, check=False)
    assert [is_direct(entries, url) for url in urls] == [code != "418" for code in done.stdout.split()]


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [  # golang.org/x/net/http/httpproxy, Config.NoProxy
        ("models.example:8080", "http://models.example:8080/", True),
        ("models.example:8080", "http://models.example/", False),
        ("models.example:80", "http://models.example/", True),
        ("models.example:443", "https://eu.models.example/", True),
        (".models.example:443", "https://eu.models.example/", True),
        ("*.models.example", "https://eu.models.example/", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]:8080", "http://[::1]:8081/", False),
        ("[::1]", "http://[::1]:8081/", True),
        ("::1", "http://[0:0:0:0:0:0:0:1]/", True),
        ("0.0.0.0/0", "http://127.0.0.1/", True),
        ("", "http://models.example/", False),
        (",, ,", "http://models.example/", False),
    ],
)
def test_no_proxy_as_go_reads_it(entry: str, url: str, direct: bool) -> None:
    assert is_direct(entry, url) is direct


def test_a_host_with_a_port_is_asked_directly(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/a.bin", BODY)
    dead = f"http://127.0.0.1:{free_port()}"
    done = run(url, volume, env={"HTTP_PROXY": dead, "NO_PROXY": f"127.0.0.1:{fault.port}"})
    assert (done.code, done.tree) == (0, {"a.bin": BODY}), done.result.err
    done = run(url, volume, "--retry-budget", 0, env={"HTTP_PROXY": dead, "NO_PROXY": f"127.0.0.1:{fault.port + 1}"})
    assert done.code == 9


# Authorities


@pytest.mark.parametrize("way", ["SSL_CERT_FILE", "the secret ca.crt"])
def test_authorities_are_added_to_each_other(way: str, tmp_path: Path, volume: Path) -> None:
    """A private mirror with its files on a storage host that another authority vouches for."""
    one, two = make_ca(tmp_path / "one"), make_ca(tmp_path / "two")
    with FaultServer(tls=one) as mirror, FaultServer(tls=two) as storage:
        mirror.order("/a.bin", redirect(storage.put("/a.bin", BODY)), times=ALWAYS)
        env = {"SSL_CERT_FILE": str(two.bundle)} if way == "SSL_CERT_FILE" else {}
        if not env:
            write_secrets(volume.parent / "secrets", **{"ca.crt": two.bundle.read_text()})
        done = run(f"{mirror.url}/a.bin", volume, "--ca-bundle", one.bundle, env=env)
        assert (done.code, done.tree) == (0, {"a.bin": BODY}), done.result.err
        assert run(f"{mirror.url}/a.bin", volume / "x", "--ca-bundle", one.bundle).code == 3


def test_the_systems_authorities_stay(ca: CA) -> None:
    system, both = ca_file(None), ca_file(str(ca.bundle))
    assert system is not None
    assert both is not None
    text = Path(both).read_bytes()
    assert ca.bundle.read_bytes().strip() in text
    assert Path(system).read_bytes().strip() in text


# What does not heal with time


def test_tls_to_a_port_that_does_not_speak_it(nginx: Nginx, volume: Path) -> None:
    done = run(f"https://127.0.0.1:{nginx.port}/a.bin", volume, "--retry-budget", 600)
    assert (done.code, done.report["error"]["retry"]) == (3, False)
    assert "the port does not speak TLS: is it http://?" in done.error
    assert "trying again" not in done.result.err


def test_plain_http_to_a_port_that_speaks_tls(fault_tls: FaultServer, volume: Path) -> None:
    done = run(f"http://127.0.0.1:{fault_tls.port}/a.bin", volume, "--retry-budget", 5)
    assert done.code in (3, 9)
    assert "http" in done.error


def test_a_host_that_no_dns_server_knows(volume: Path) -> None:
    """Unless DNS does not answer at all, which heals with time."""
    with pytest.raises(socket.gaierror) as error:
        socket.getaddrinfo("no-such-host.invalid", None)
    unknown = error.value.errno == socket.EAI_NONAME
    done = run("http://no-such-host.invalid/a.bin", volume, "--retry-budget", 600 if unknown else 1)
    assert done.code == (4 if unknown else 9)
    assert ("no DNS server knows the host no-such-host.invalid; check the name" in done.error) == unknown


# A token


def test_a_token_goes_along_from_http_to_https_of_one_name(
    fault: FaultServer, fault_tls: FaultServer, ca: CA, volume: Path
) -> None:
    """On the usual ports alone, and never back."""
    secrets = write_secrets(volume.parent / "secrets", username="me", password="s3cret")
    names = frozenset({"localhost"})
    fault.order("/a.bin", redirect("https://localhost/a.bin", 301), times=ALWAYS)
    fault_tls.put("/a.bin", BODY)
    fault_tls.put("/sub/b.bin", BODY)
    fault.order("/sub/", redirect("https://localhost/sub/", 308), times=ALWAYS)
    with Proxy(hosts=names, ports={80: fault.port, 443: fault_tls.port}) as proxy:
        env = {"http_proxy": proxy.url, "https_proxy": proxy.url}
        for url, tree in (("http://localhost/a.bin", {"a.bin": BODY}), ("http://localhost/sub/", {"b.bin": BODY})):
            done = run(
                url,
                volume / "x" if "sub" in url else volume,
                "--ca-bundle",
                ca.bundle,
                "--mount-secrets",
                secrets,
                env=env,
            )
            assert (done.code, done.tree) == (0, tree), done.result.err
    assert {request.headers.get("authorization") for request in fault_tls.requests()} == {basic("me", "s3cret")}
    fault.clear(), fault_tls.clear()
    fault_tls.order("/a.bin", redirect("http://localhost/back.bin"), times=ALWAYS)
    fault.put("/back.bin", BODY)
    with Proxy(hosts=names, ports={80: fault.port, 443: fault_tls.port}) as proxy:
        env = {"http_proxy": proxy.url, "https_proxy": proxy.url}
        done = run(
            "https://localhost/a.bin", volume / "y", "--ca-bundle", ca.bundle, "--mount-secrets", secrets, env=env
        )
        assert done.code == 0, done.result.err
    assert {request.headers.get("authorization") for request in fault.requests("/back.bin")} == {None}


# IPv6


def test_an_ipv6_literal(volume: Path) -> None:
    with FaultServer(host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        server.put("/set/a.bin", BODY)
        server.put("/set/sub/b.bin", BODY)
        done = run(f"{server.url}/set/", volume)
        assert (done.code, done.tree) == (0, {"a.bin": BODY, "sub/b.bin": BODY}), done.result.err
