"""S3: how a store wants to be asked: parts of the protocol that it does not know, regions, addressing, profiles."""

import gzip
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from dsload import Network, Report, Secrets, Settings, Source, Target, load, ls
from dsload.errors import (
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from tests.contract.suite import noise
from tests.servers.bucket import Bucket, Query, page, query, refusal, row
from tests.servers.fault import ALWAYS, ANY
from tests.servers.orders import Fault, status
from tests.servers.proxy import Proxy
from tests.servers.relay import Relay
from tests.servers.s3 import SeaweedFS
from tests.servers.threaded import Request
from tests.trees import contents

MIB = 1 << 20
LARGE = noise(3 * MIB)
KEYS = Secrets(access_key="AKIAEXAMPLE", secret_key="a-secret-of-some-length")
Check = Callable[[Request], bool]


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of AWS's own configuration, which does not exist yet."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path / "config"


@pytest.fixture
def store() -> Iterator[Bucket]:
    with Bucket() as server:
        server.add("small", b"data")
        server.add("large", LARGE)
        server.listing = lambda query: page(row("large", len(LARGE)) + row("small"))
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def bring(uri: str, root: Path, secrets: Secrets | None = KEYS, **options: str) -> Report:
    settings = Settings(Network(workers=2, retry_budget=20))
    return load(Source.parse(uri, None, options), Target(root, "set"), secrets, settings)


LATER = formatdate(time.time() + 3600, usegmt=True)  # than any listing
TREE = {"large": LARGE, "small": b"data"}


# Parts of the protocol that a store does not know


def has(name: str) -> Check:
    """A header or a parameter of the query."""
    return lambda request: name in request.headers or name in query(request)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "x-amz-checksum-mode",
            status(400, body=refusal("InvalidArgument", "Unsupported header 'x-amz-checksum-mode' received.")),
        ),
        (
            "x-amz-checksum-mode",
            status(501, body=refusal("NotImplemented", "A header you provided implies functionality that is not "
                                     "implemented", Header="x-amz-checksum-mode")),
        ),
        ("if-match", status(501, body=refusal("NotImplemented", "A header is not implemented", Header="If-Match"))),
        ("encoding-type", status(400, body=refusal("InvalidArgument", "Invalid", ArgumentName="encoding-type"))),
        ("encoding-type", status(501, body=refusal("NotImplemented", "encoding-type is not supported"))),
        ("list-type", status(501, body=refusal("NotImplemented", "ListObjectsV2 is not implemented"))),
        ("list-type", status(400, body=refusal("InvalidArgument", "unknown parameter list-type"))),
        ("list-type", status(501, body=refusal("NotImplemented", "Not implemented."))),
        ("partNumber", status(400)),
        ("partNumber", status(501)),
    ],
)  # fmt: skip
def test_what_a_store_does_not_know_is_left_out(store: Bucket, root: Path, name: str, answer: Fault) -> None:
    store.order(ANY, answer, when=has(name), times=ALWAYS)
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == TREE
    assert len([request for request in store.requests() if has(name)(request)]) < 8


@pytest.mark.parametrize("key", ["small", "large"])
def test_a_store_without_if_match_is_not_trusted(store: Bucket, root: Path, key: str) -> None:
    """An object that is replaced is noticed by the ETag of what comes."""
    store.order(ANY, status(400, body=refusal("InvalidArgument", "If-Match")), when=has("if-match"), times=ALWAYS)
    store.put(f"/b/{key}", TREE[key], etag='"v2"', modified=LATER)
    with pytest.raises(ChangedError, match="has the ETag v2 now, v1 was listed"):
        bring("s3://b", root, endpoint=store.url)


@pytest.mark.parametrize("etag", ['"other"', '"V1-1"', None])
def test_an_etag_that_is_not_the_listed_one(store: Bucket, root: Path, etag: str | None) -> None:
    """Two servers behind one name, or a gateway: what was last written before it was listed is what was listed."""
    for key, data in TREE.items():
        store.put(f"/b/{key}", data, etag=etag)
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == TREE
    assert any("if-unmodified-since" in request.headers for request in store.requests())


@pytest.mark.parametrize("key", ["small", "large"])
def test_an_object_that_was_replaced_since_it_was_listed(store: Bucket, root: Path, key: str) -> None:
    store.put(f"/b/{key}", bytes(len(TREE[key])), etag='"v2"', modified=LATER)
    with pytest.raises(ChangedError):
        bring("s3://b", root, endpoint=store.url)
    assert key not in contents(root / "set")


def test_a_listing_of_version_1(store: Bucket, root: Path) -> None:
    """Without list-type, and continued by the last key."""
    store.order("/b/", status(501, body=refusal("NotImplemented")), when=has("list-type"), times=ALWAYS)

    def listing(query: Query) -> bytes:
        return page(row("small")) if query.get("marker") == "large" else page(row("large", len(LARGE)), more="true")

    store.listing = listing
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == TREE


@pytest.mark.parametrize("answer", [status(403), status(404), status(405), status(501)])
@pytest.mark.parametrize("path", ["", "/large", "/small"])
def test_a_store_that_refuses_head(store: Bucket, root: Path, answer: Fault, path: str) -> None:
    store.order(ANY, answer, when=lambda request: request.method == "HEAD", times=ALWAYS)
    if path:
        store.listing = lambda query: page("")
    bring(f"s3://b{path}", root, endpoint=store.url)
    assert contents(root / "set") == (TREE if not path else {path[1:]: TREE[path[1:]]})


def test_a_head_that_states_another_size(store: Bucket, root: Path) -> None:
    store.order(ANY, Fault(headers={"Content-Length": "0"}), when=lambda r: r.method == "HEAD", times=ALWAYS)
    store.listing = lambda query: page("")
    bring("s3://b/large", root, endpoint=store.url)
    assert contents(root / "set") == {"large": LARGE}


def test_one_empty_object(store: Bucket, root: Path) -> None:
    store.add("empty", b"")
    store.listing = lambda query: page("")
    bring("s3://b/empty", root, endpoint=store.url)
    assert contents(root / "set") == {"empty": b""}


@pytest.mark.parametrize("value", ["gzip", "gzip, deflate, br", ""])
def test_a_front_end_that_rewrites_accept_encoding(seaweed: SeaweedFS, root: Path, value: str) -> None:
    """As GCS, Cloudflare and nginx do: it must not be among the signed headers."""
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "small", b"data")
    seaweed.put(bucket, "large", LARGE)

    def rewrite(request: Request) -> None:
        request.headers.pop("accept-encoding", None)
        if value:
            request.headers["accept-encoding"] = value

    with Relay(seaweed.port) as relay:
        relay.before = rewrite
        bring(f"s3://{bucket}", root, Secrets(access_key="AK", secret_key="SK"), endpoint=relay.url)
    assert contents(root / "set") == TREE


@pytest.mark.parametrize("encoding", ["gzip", "aws-chunked", "gzip,aws-chunked", "br"])
def test_an_encoding_in_the_metadata_belongs_to_the_object(seaweed: SeaweedFS, root: Path, encoding: str) -> None:
    """It is loaded as it is stored, as every tool of AWS's does: its size and checksum are those of what is stored."""
    bucket = seaweed.new_bucket()
    objects = {"config.json": gzip.compress(b"{}"), "large": gzip.compress(LARGE)}
    for key, data in objects.items():
        seaweed.s3.put_object(Bucket=bucket, Key=key, Body=data, ContentEncoding=encoding)
    keys = Secrets(access_key="AK", secret_key="SK")
    report = bring(f"s3://{bucket}", root, keys, endpoint=seaweed.endpoint)
    assert contents(root / "set") == objects
    assert report.unverified == 0
    (root / "one").mkdir()
    bring(f"s3://{bucket}/config.json", root / "one", keys, endpoint=seaweed.endpoint)
    assert contents(root / "one/set") == {"config.json": objects["config.json"]}


def test_objects_that_google_would_unpack(store: Bucket, root: Path) -> None:
    """It does so for who does not ask for gzip, and then neither size nor checksum fit."""
    packed = {"small": gzip.compress(b"data"), "large": gzip.compress(LARGE)}
    for key, data in packed.items():
        store.add(key, data, content_encoding="gzip")
        unpacked = Fault(200, TREE[key], {"Content-Encoding": None})
        store.order(f"/b/{key}", unpacked, when=lambda r: r.headers.get("accept-encoding") != "gzip", times=ALWAYS)
    store.listing = lambda query: page("".join(row(key, len(data)) for key, data in packed.items()))
    google = Fault(headers={"X-GUploader-UploadID": "x"})
    store.order("/b/", google, times=ALWAYS)
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == packed


@pytest.mark.parametrize("code", ["RequestTimeout", "RequestThrottled"])
def test_a_refusal_that_passes(store: Bucket, root: Path, code: str) -> None:
    answer = status(400, body=refusal(code, "Your socket connection was idle."))
    for path in ("/b/", "/b/small", "/b/large"):
        store.order(path, answer, when=lambda request: request.method == "GET")
    assert bring("s3://b", root, endpoint=store.url).retries == 3
    assert contents(root / "set") == TREE


def test_requester_pays(store: Bucket, root: Path) -> None:
    refused = status(403, body=refusal("AccessDenied", "Access Denied"))
    pays: Check = lambda request: request.headers.get("x-amz-request-payer") == "requester"  # noqa: E731
    store.order(ANY, refused, when=lambda request: not pays(request), times=ALWAYS)
    bring("s3://b", root, endpoint=store.url, requesterPays="true")
    assert contents(root / "set") == TREE
    assert all("x-amz-request-payer" in request.headers["authorization"] for request in store.requests())
    with pytest.raises(RefusedError):
        bring("s3://b", root, endpoint=store.url)


# Where the bucket is


def test_a_bucket_of_a_tenant(store: Bucket, root: Path) -> None:
    """Ceph has them in the path, with the colon encoded."""
    body = page(row("small"))
    store.order("/tenant:bucket/", status(200, body=body), times=ALWAYS)
    store.put("/tenant:bucket/models/small", b"data", etag='"v1"')
    store.order("/tenant:bucket/", status(200, body=page(row("models/small"))), times=ALWAYS)
    for uri in ("s3://tenant:bucket/models/", "s3://tenant%3Abucket/models/"):
        store.clear()
        store.order("/tenant:bucket/", status(200, body=page(row("models/small"))), times=ALWAYS)
        source = Source.parse(uri, None, {"endpoint": store.url})
        assert str(source) == "s3://tenant%3Abucket/models/"
        assert [entry.path for entry in ls(source, KEYS).entries] == ["small"]
        bring(uri, root, endpoint=store.url)
        assert contents(root / "set") == {"small": b"data"}
        assert all(request.target.startswith("/tenant%3Abucket/") for request in store.requests())


@pytest.mark.parametrize("uri", ["s3://AKIA:Se/cret@b/x", "s3://AKIA:SECRETS/x", "s3://a:b:c/x"])
def test_what_is_not_a_tenant_is_refused_and_not_shown(root: Path, uri: str) -> None:
    with pytest.raises(UsageError) as error:
        bring(uri, root)
    assert "cret" not in str(error.value).lower()


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("AuthorizationHeaderMalformed", {"Region": "garage"}),
        ("AuthorizationHeaderMalformed", {}),
        ("IllegalLocationConstraintException", {"Region": "garage"}),
    ],
)
def test_the_region_that_a_store_signs_for_is_taken_from_its_answer(
    store: Bucket, root: Path, code: str, more: dict[str, str]
) -> None:
    message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'garage'"
    other: Check = lambda request: "/garage/s3/" not in request.headers["authorization"]  # noqa: E731
    store.order(ANY, status(400, body=refusal(code, message, **more)), when=other, times=ALWAYS)
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == TREE


@pytest.mark.parametrize(
    "code",
    [
        "SecondLevelDomainForbidden",
        "PathStyleDomainForbidden",
        "InvalidPathAccess",
        "VirtualHostDomainRequired",
        "Some",
    ],
)
def test_a_store_that_forbids_paths(store: Bucket, root: Path, code: str) -> None:
    """The bucket goes before the host; if paths were asked for, the message says so."""
    answer = status(403, body=refusal(code, "Please use virtual hosted style to access."))
    store.order(ANY, answer, when=lambda r: not r.headers["host"].startswith("bucket."), times=ALWAYS)
    store.put("/", page(row("small")))
    store.put("/small", b"data", etag='"v1"')
    endpoint = f"http://localhost:{store.port}"
    bring("s3://bucket", root, endpoint=endpoint)
    assert contents(root / "set") == {"small": b"data"}
    for options in ({"endpoint": endpoint, "addressingStyle": "path"}, {"endpoint": store.url}):
        with pytest.raises(RefusedError, match=rf"\({code}: .*addressingStyle=virtual"):
            bring("s3://bucket", root, **options)


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({"endpoint": "https://oss-cn-hangzhou.aliyuncs.com"}, "bucket.oss-cn-hangzhou.aliyuncs.com"),
        ({"endpoint": "https://cos.ap-beijing.myqcloud.com"}, "bucket.cos.ap-beijing.myqcloud.com"),
        ({"endpoint": "https://tos-s3-cn-beijing.volces.com"}, "bucket.tos-s3-cn-beijing.volces.com"),
        ({"endpoint": "https://oss.site", "provider": "Alibaba"}, "bucket.oss.site"),
        (
            {"endpoint": "https://oss-cn-hangzhou.aliyuncs.com", "addressingStyle": "path"},
            "oss-cn-hangzhou.aliyuncs.com",
        ),
        ({"endpoint": "https://minio.site", "provider": "MINIO"}, "minio.site"),
    ],
)
def test_stores_that_are_known_to_forbid_paths(
    proxy: Proxy, root: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], host: str
) -> None:
    assert asked(proxy, root, monkeypatch, **options) == f"{host}:443"


def asked(proxy: Proxy, root: Path, monkeypatch: pytest.MonkeyPatch, **options: str) -> str:
    """The host that is asked for `s3://bucket`, by a proxy."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    source = Source.parse("s3://bucket", None, options)
    with pytest.raises(DsloadError):
        load(source, Target(root, "set"), KEYS, Settings(Network(retry_budget=0)))
    return proxy.requests()[0].target


# AWS's own configuration


PROFILE = """
[profile site]
region = site-1
endpoint_url = {url}
[profile parts]
services = site
[services site]
s3 =
  endpoint_url = {url}
[profile styled]
endpoint_url = {url}
s3 =
  addressing_style = virtual
[profile dual]
region = eu-west-1
use_dualstack_endpoint = true
"""


@pytest.mark.parametrize("profile", ["site", "parts"])
def test_a_profile_names_the_endpoint(
    store: Bucket, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    """A site's own keys are not used for requests to AWS."""
    config.write_text(PROFILE.format(url=store.url))
    monkeypatch.setenv("AWS_PROFILE", profile)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    bring("s3://b", root)
    assert contents(root / "set") == TREE
    region = "site-1" if profile == "site" else "us-east-1"
    assert f"/{region}/s3/" in store.requests()[0].headers["authorization"]


def test_a_profile_s_keys_go_to_its_endpoint(
    store: Bucket, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(
        f"[default]\naws_access_key_id = AKSITE\naws_secret_access_key = s3cret\nendpoint_url = {store.url}/\n"
    )
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    bring("s3://b", root, None)
    assert contents(root / "set") == TREE
    assert "Credential=AKSITE/" in store.requests()[0].headers["authorization"]


def test_options_and_variables_win_over_a_profile(
    store: Bucket, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(PROFILE.format(url="http://127.0.0.1:9"))
    monkeypatch.setenv("AWS_PROFILE", "site")
    monkeypatch.setenv("AWS_REGION", "variable-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.url)
    bring("s3://b", root)
    assert "/variable-1/s3/" in store.requests()[0].headers["authorization"]
    bring("s3://b", root, region="option-1")
    assert "/option-1/s3/" in store.requests()[-1].headers["authorization"]


def test_a_profile_s_style(store: Bucket, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(PROFILE.format(url=f"http://localhost:{store.port}"))
    monkeypatch.setenv("AWS_PROFILE", "styled")
    store.put("/", page(row("small")))
    store.put("/small", b"data", etag='"v1"')
    bring("s3://bucket", root)
    assert contents(root / "set") == {"small": b"data"}


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"AWS_REGION": "eu-west-1"}, "bucket.s3.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "bucket.s3.cn-north-1.amazonaws.com.cn"),
        ({"AWS_REGION": "us-gov-west-1"}, "bucket.s3.us-gov-west-1.amazonaws.com"),
        ({"AWS_REGION": "us-iso-east-1"}, "bucket.s3.us-iso-east-1.c2s.ic.gov"),
        ({"AWS_REGION": "eusc-de-east-1"}, "bucket.s3.eusc-de-east-1.amazonaws.eu"),
        ({"AWS_PROFILE": "dual"}, "bucket.s3.dualstack.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "us-east-2", "AWS_USE_FIPS_ENDPOINT": "true"}, "bucket.s3-fips.us-east-2.amazonaws.com"),
        (
            {"AWS_PROFILE": "site", "AWS_REGION": "eu-west-1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "bucket.s3.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_the_endpoints_of_aws(
    proxy: Proxy, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], host: str
) -> None:
    config.write_text(PROFILE.format(url="http://127.0.0.1:9"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert asked(proxy, root, monkeypatch) == f"{host}:443"


# The store's own words


CLOCK = formatdate(time.time() - 7200, usegmt=True)


@pytest.mark.parametrize(
    ("code", "answer", "advice"),
    [
        ("InvalidObjectState", 403, "restore the object"),
        ("RequestTimeTooSkewed", 403, "set the clock of this machine: it is 1[23][0-9] minutes ahead of the store's"),
        ("InvalidAccessKeyId", 403, "check access-key"),
        ("SignatureDoesNotMatch", 403, "check access-key.*or a proxy changes the request"),
        ("ExpiredToken", 400, "new temporary keys"),
        ("AccessDenied", 403, "check that these keys may list and read it"),
        ("KMS.DisabledException", 400, "KMS"),
        ("AllAccessDisabled", 403, "closed"),
        ("SomethingNew", 403, "check that these keys may list and read it"),
    ],
)
@pytest.mark.parametrize("path", ["/b/", "/b/small", "/b/large"])
def test_the_store_s_words_reach_the_user(
    store: Bucket, root: Path, code: str, answer: int, advice: str, path: str
) -> None:
    body = refusal(code, "These are the store&apos;s\nown  words.")
    store.order(path, status(answer, body=body, Date=CLOCK), times=ALWAYS)
    with pytest.raises(RefusedError, match=rf"\({code}: These are the store's own words\.\).*{advice}") as error:
        bring("s3://b", root, endpoint=store.url)
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_a_bucket_that_does_not_exist(store: Bucket, root: Path) -> None:
    store.order("/b/", status(404, body=refusal("NoSuchBucket", "The specified bucket does not exist")))
    with pytest.raises(NotFoundError, match=r"\(NoSuchBucket: The specified bucket does not exist\).*is 'b' a server"):
        bring("s3://b", root, endpoint=store.url)


def test_kms_in_the_message(store: Bucket, root: Path) -> None:
    store.order("/b/small", status(403, body=refusal("AccessDenied", "not authorized to perform: kms:Decrypt")))
    with pytest.raises(RefusedError, match=r"permission to decrypt.*\(kms:Decrypt\)"):
        bring("s3://b", root, endpoint=store.url)


def test_another_region_of_a_named_endpoint(store: Bucket, root: Path) -> None:
    """Nobody has said that the keys may go there."""
    body = refusal("PermanentRedirect", "The bucket is elsewhere.", Endpoint="b.s3.eu-west-1.amazonaws.com")
    store.order("/b/", status(301, body=body, x_amz_bucket_region="eu-west-1"), times=ALWAYS)
    with pytest.raises(RefusedError, match=r"lies in eu-west-1: give -o region=eu-west-1.*b\.s3\.eu-west-1") as error:
        bring("s3://b", root, endpoint=store.url)
    assert error.value.exit_code == 3


def test_a_single_object_is_refused_with_its_reason(store: Bucket, root: Path) -> None:
    """HEAD has no body to say it with."""
    store.listing = lambda query: page("")
    store.order("/b/small", status(403, body=refusal("InvalidObjectState", "archived")), times=ALWAYS)
    with pytest.raises(RefusedError, match=r"\(InvalidObjectState: archived\).*restore"):
        bring("s3://b/small", root, endpoint=store.url)


def test_a_store_that_is_busy_for_long(store: Bucket, root: Path) -> None:
    store.order(ANY, status(503, body=refusal("SlowDown", "Reduce your request rate.")), times=ALWAYS)
    source = Source.parse("s3://b", None, {"endpoint": store.url})
    with pytest.raises(UnreachableError, match=r"\(SlowDown: Reduce your request rate\.\)"):
        load(source, Target(root, "set"), KEYS, Settings(Network(retry_budget=0.1)))


# Folders


@pytest.mark.parametrize(
    ("keys", "tree"),
    [
        (["a", "a/b"], {"a/b": b"data"}),
        (["a", "a/"], {}),
        (["a", "a/", "a/b"], {"a/b": b"data"}),
        (["a", "a/b", "a/b/c"], {"a/b/c": b"data"}),
        (["a", "a-b", "a/b"], {"a-b": b"data", "a/b": b"data"}),
        (["a", "ab"], {"a": b"", "ab": b"data"}),
    ],
)
def test_an_empty_object_named_like_a_folder_is_its_marker(
    store: Bucket, root: Path, keys: list[str], tree: dict[str, bytes]
) -> None:
    markers = {key for key in keys if any(other.startswith(key.rstrip("/") + "/") for other in keys)}
    empty = {key for key in keys if key in markers or key == "a"}
    for key in keys:
        store.add(key, b"" if key in empty else b"data")
    store.listing = lambda query: page("".join(row(key, 0 if key in empty else 4) for key in keys))
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == tree
    assert (root / "set/a").is_dir() or "a" in tree


def test_an_empty_listing(store: Bucket, root: Path) -> None:
    bring("s3://b", root, endpoint=store.url)
    store.listing = lambda query: page("")
    with pytest.raises(NotFoundError, match="it is empty"):
        bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == TREE


def test_what_is_not_selected_cannot_fail_a_load(store: Bucket, root: Path) -> None:
    """Content under the name of the folder itself; nothing of it is loaded."""
    store.add("d/a.bin", b"data")
    store.listing = lambda query: page(row("d/", 7) + row("d/a.bin"))
    with pytest.raises(UnsafePathError, match=r"'d/'.*under the name of a folder"):
        bring("s3://b/d/", root, endpoint=store.url)
    bring("s3://b/d/", root, endpoint=store.url, include="*.bin")
    assert contents(root / "set") == {"a.bin": b"data"}


def test_weak_etags(store: Bucket, root: Path) -> None:
    """A front end that compresses makes them so; none can be asked for."""
    store.add("weak", b"data", 'W/"v1"')
    store.listing = lambda query: page(row("weak").replace("&quot;v1&quot;", "W/&quot;v1&quot;"))
    bring("s3://b", root, endpoint=store.url)
    assert contents(root / "set") == {"weak": b"data"}
    assert bring("s3://b", root, endpoint=store.url).files.kept == 1


def test_what_is_excluded_is_not_asked_for(store: Bucket, root: Path) -> None:
    store.order("/b/large", status(403), times=ALWAYS)
    bring("s3://b", root, endpoint=store.url, exclude="large")
    assert not store.requests("/b/large")
    assert contents(root / "set") == {"small": b"data"}
