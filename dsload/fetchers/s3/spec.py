"""S3's row in the registry, and how its URI and options are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from dsload.errors import UsageError
from dsload.fetchers.reading import check_uri
from dsload.registry import Reading, Spec
from dsload.secrets import public_uri
from dsload.source import read_flag

_HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.%]+\])(:\d{1,5})?")
_NO_PATH_PROVIDERS = frozenset({"alibaba", "aliyun", "oss", "tencentcos", "tencent", "cos", "volcengine", "tos"})
_STYLES = ("path", "virtual", "auto")


@dataclass(frozen=True, slots=True)
class S3Config:
    """What is to be read of a store.

    Args:
        bucket: its name.
        path: of a prefix or an object in it, without `/` in front.
        region: "" to find it out.
        endpoint: URL of the store, without `/` at its end; "" for the environment's, or AWS.
        style: path, virtual or auto.
        anonymous: whether to send no credentials.
        requester_pays: whether who reads pays.
        forbids_paths: whether the provider is known to want the bucket before its host.
    """

    bucket: str
    path: str
    region: str = ""
    endpoint: str = ""
    style: str = "auto"
    anonymous: bool = False
    requester_pays: bool = False
    forbids_paths: bool = False


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URI and options of S3. Raises UsageError."""
    parts = check_uri(uri, SPEC.type, SPEC.schemes, host="bucket")
    if "@" in parts.netloc:
        fix = "put keys in the secrets directory"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "s3://bucket/path takes no user", fix)
    style = options.get("addressingStyle", "auto").lower()
    if style not in _STYLES:
        raise UsageError("reading", "option addressingStyle", f"{style!r} is neither path nor virtual")
    endpoint = options.get("endpoint", "")
    config = S3Config(
        unquote(parts.netloc),
        unquote(parts.path).lstrip("/"),
        options.get("region", ""),
        read_endpoint(endpoint, "option endpoint") if endpoint else "",
        style,
        read_flag("anonymous", options.get("anonymous", "")),
        read_flag("requesterPays", options.get("requesterPays", "")),
        options.get("provider", "").lower() in _NO_PATH_PROVIDERS,
    )
    return Reading(config, uri.replace(parts.netloc, parts.netloc.replace(":", "%3A"), 1) if _has_tenant(parts) else "")


def _has_tenant(parts: SplitResult) -> bool:
    """Whether a URI names a tenant of Ceph before its bucket, rather than a host and its port."""
    return ":" in parts.netloc and not parts.netloc.rpartition(":")[2].isdecimal()


def read_endpoint(given: str, where: str) -> str:
    """The URL of a store, without `/` at its end; https if it names no scheme. Raises UsageError."""
    endpoint = (given if "://" in given else f"https://{given}").rstrip("/")
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        fix = "give http://HOST:PORT or https://HOST, and credentials as secrets"
        raise UsageError("reading", where, f"{public_uri(given)!r} is not a URL of a store", fix)
    return endpoint


SPEC = Spec(
    "S3",
    ("s3",),
    "dsload.fetchers.s3.fetcher:S3",
    {
        "region": "of the bucket; looked up if not given",
        "endpoint": "URL of an S3-compatible store",
        "provider": "AWS, MINIO, ALIBABA, …: tells which addressingStyle the store wants",
        "addressingStyle": "path or virtual; by default path with an endpoint, virtual on AWS and stores that want it",
        "requesterPays": "true if you pay for what you read",
        "anonymous": "true to send no credentials",
    },
    read,
)
