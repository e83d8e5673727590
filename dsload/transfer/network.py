"""How sources are reached: connections, patience, proxies and trusted authorities."""

import contextlib
import functools
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dsload.errors import UsageError
from dsload.formats.text import decoded
from dsload.secrets import hide, origin

_PROXIES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
_SYSTEM_CAS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach sources.

    Args:
        workers: connections at a time.
        max_rate: bytes/s over all connections, 0 for no limit.
        retry_budget: seconds without progress before giving up.
        stall_timeout: seconds without a byte before a connection is dropped and tried again.
        ca_bundle: PEM file of authorities that are trusted beside the system's and those of SSL_CERT_FILE.
    """

    workers: int = 16
    max_rate: int = 0
    retry_budget: float = 600
    stall_timeout: float = 30
    ca_bundle: str | None = None


def proxy_for(url: str) -> str:
    """The proxy of the environment for a URL, "" if it is to be asked directly.

    libcurl reads HTTP_PROXY in lower case only, and does not know every form of NO_PROXY that Go's tools do.

    Raises:
        UsageError: it is not the URL of a proxy.
    """
    names = ("https_proxy", "HTTPS_PROXY") if url.startswith("https:") else ("http_proxy", "HTTP_PROXY")
    for name in (*names, "all_proxy", "ALL_PROXY"):
        if value := os.environ.get(name):
            _check_proxy(name, value)
            direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
            return "" if is_direct(direct, url) else value
    return ""


def is_direct(no_proxy: str, url: str) -> bool:
    """Whether NO_PROXY has a URL asked without a proxy.

    An entry is `*`, a domain (with those below it, whether or not it begins with `.` or `*.`), an address, or a
    network in CIDR form; a domain or an address may have a port: the forms of curl and of Go (x/net/http/httpproxy).

    Args:
        no_proxy: entries, separated by commas or white space.
        url: to be asked.
    """
    _, host, port = origin(url)
    return any(_matches(entry.lower(), host.rstrip("."), port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").strip(".")
    if _is_address(host):
        return _is_address(entry) and ipaddress.ip_address(host) == ipaddress.ip_address(entry)
    return bool(entry) and (host == entry or host.endswith("." + entry))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_proxy(name: str, value: str) -> None:
    user_info, at, _ = value.partition("://")[2].rpartition("@") if "://" in value else value.rpartition("@")
    if at:
        password = user_info.partition(":")[2]
        hide(user_info, password, unquote(password))
    try:
        scheme, host, _ = origin(value if "://" in value else f"http://{value}")
    except ValueError:
        scheme = host = ""
    if scheme not in _PROXIES or not host or re.search(r"\s", value):
        raise UsageError(
            "reading", f"variable {name}", "it is not the URL of a proxy", "it has the form http://host:port"
        )


def ca_file(ca_bundle: str | None) -> str | None:
    """A file of the trusted authorities: the system's, those of SSL_CERT_FILE, and those given; None for libcurl's own.

    Args:
        ca_bundle: PEM file of further authorities.
    """
    return joined(*filter(None, (ca_bundle, os.environ.get("SSL_CERT_FILE"), _system_authorities())))


def _system_authorities() -> str | None:
    import ssl

    paths = (ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM_CAS)
    return next((path for path in paths if path and os.path.isfile(path)), None)


def joined(*paths: str) -> str | None:
    """A file of the authorities of all these files, as far as they exist; None if none does."""
    found = tuple(dict.fromkeys(path for path in paths if os.path.isfile(path)))
    return _one_file(found) if found else None


def authorities(path: str) -> bytes:
    """A PEM file as plain text: OpenSSL passes over a line with a byte order mark, and over UTF-16. Raises OSError."""
    data = Path(path).read_bytes()
    try:
        return decoded(data).encode()
    except ValueError:  # old bundles have names in other encodings
        return data


@functools.cache  # connections ask for it whenever they turn to another host
def _one_file(paths: tuple[str, ...]) -> str:
    """The path of a file for this process and those that it starts: in memory, unless one file will do as it is."""
    if len(paths) == 1 and Path(paths[0]).read_bytes() == authorities(paths[0]):
        return paths[0]
    number = os.memfd_create("authorities")
    for path in paths:
        os.write(number, authorities(path).rstrip() + b"\n")
    return f"/proc/{os.getpid()}/fd/{number}"
