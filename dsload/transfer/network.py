"""How sources are reached: connections, patience, proxies and trusted authorities."""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from dsload.errors import UsageError
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
        ca_bundle: PEM file of trusted authorities; None for SSL_CERT_FILE, else the system's.
    """

    workers: int = 16
    max_rate: int = 0
    retry_budget: float = 600
    stall_timeout: float = 30
    ca_bundle: str | None = None


def proxy_for(url: str) -> str:
    """The proxy of the environment for a URL. libcurl heeds NO_PROXY, but reads HTTP_PROXY in lower case only.

    Raises:
        UsageError: it is not the URL of a proxy.
    """
    names = ("https_proxy", "HTTPS_PROXY") if url.startswith("https:") else ("http_proxy", "HTTP_PROXY")
    for name in (*names, "all_proxy", "ALL_PROXY"):
        if value := os.environ.get(name):
            _check_proxy(name, value)
            return value
    return ""


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
    """The trusted authorities: as given, else SSL_CERT_FILE, else the system's; None for libcurl's own."""
    import ssl

    system = ssl.get_default_verify_paths().cafile
    for path in (ca_bundle, os.environ.get("SSL_CERT_FILE"), system, *_SYSTEM_CAS):
        if path and os.path.isfile(path):
            return path
    return None
