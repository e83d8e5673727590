"""S3: keys that come late, that are renewed while a load runs, and services of AWS that are not ready yet."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dsload import Network, Report, Secrets, Settings, Source, Target, load, read_secrets
from dsload.errors import DsloadError, RefusedError, UnreachableError
from tests.contract.suite import noise
from tests.servers.bucket import Bucket, page, refusal, row
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.orders import BEFORE_HEAD, Fault, close, status
from tests.servers.proxy import Proxy
from tests.servers.threaded import Request
from tests.trees import contents

MIB = 1 << 20
LARGE = noise(3 * MIB)


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def store() -> Iterator[Bucket]:
    """Ten small objects and a large one, on two pages."""
    with Bucket() as server:
        objects = {f"{number}": b"data" for number in range(10)} | {"large": LARGE}
        for key, data in objects.items():
            server.add(key, data)
        small = "".join(row(key, len(data)) for key, data in objects.items() if key != "large")

        def listing(query: object) -> bytes:
            if "continuation-token" in str(query):
                return page(row("large", len(LARGE)))
            return page(small, more="true", NextContinuationToken="t")

        server.listing = listing
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def bring(store: Bucket, root: Path, secrets: Secrets | None = None, budget: float = 20, **options: str) -> Report:
    source = Source.parse("s3://b", None, {"endpoint": store.url, **options})
    return load(source, Target(root, "set"), secrets, Settings(Network(workers=2, retry_budget=budget)))


# Renewed keys


def write(directory: Path, access_key: str) -> None:
    """Keys as a tool writes them, one file after the other."""
    directory.mkdir(exist_ok=True)
    for name, value in (("access-key", access_key), ("secret-key", f"{access_key}-secret"), ("session-token", "t")):
        (directory / name).write_text(value)


def expire(store: Bucket, answer: Fault, after: Callable[[Request], bool], renew: Callable[[], object]) -> None:
    """Refuse the key OLD from the first request on that `after` is true of, and let it be renewed then."""
    expired: list[bool] = []

    def when(request: Request) -> bool:
        if not expired and after(request):
            expired.append(True)
            renew()
        return bool(expired) and "Credential=OLD/" in request.headers.get("authorization", "")

    store.order(ANY, answer, when=when, times=ALWAYS)


REFUSED = {
    "expired": status(400, body=refusal("ExpiredToken", "The provided token has expired.")),
    "deleted": status(403, body=refusal("InvalidAccessKeyId", "It does not exist in our records.")),
}
MOMENTS: dict[str, Callable[[Request], bool]] = {
    "the second page": lambda request: "continuation-token" in request.target,
    "a small object": lambda request: request.target.endswith("/5"),
    "a checksum": lambda request: request.method == "HEAD",
    "a large object": lambda request: request.method == "GET" and request.target.endswith("/large"),
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_keys_that_are_renewed_in_the_mounted_secret(
    store: Bucket, root: Path, tmp_path: Path, moment: Callable[[Request], bool], answer: Fault
) -> None:
    write(tmp_path / "secrets", "OLD")
    expire(store, answer, moment, lambda: write(tmp_path / "secrets", "NEW"))
    bring(store, root, read_secrets(tmp_path / "secrets"))
    assert contents(root / "set")["large"] == LARGE
    assert len(contents(root / "set")) == 11
    assert "Credential=NEW/" in store.requests()[-1].headers["authorization"]


def test_keys_that_are_not_renewed(store: Bucket, root: Path, tmp_path: Path) -> None:
    write(tmp_path / "secrets", "OLD")
    expire(store, REFUSED["expired"], MOMENTS["a small object"], lambda: None)
    with pytest.raises(RefusedError, match=r"\(ExpiredToken: The provided token has expired\.\).*new temporary keys"):
        bring(store, root, read_secrets(tmp_path / "secrets"))


def test_keys_that_were_never_right_are_refused_at_once(store: Bucket, root: Path, tmp_path: Path) -> None:
    write(tmp_path / "secrets", "OLD")
    expire(store, REFUSED["deleted"], lambda request: True, lambda: None)
    with pytest.raises(RefusedError, match="InvalidAccessKeyId"):
        bring(store, root, read_secrets(tmp_path / "secrets"))
    assert len(store.requests()) <= 2


def test_a_profile_whose_keys_are_renewed(
    store: Bucket, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write_profile(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {key}-secret\n")

    write_profile("OLD")
    expire(store, REFUSED["deleted"], MOMENTS["a large object"], lambda: write_profile("NEW"))
    bring(store, root)
    assert len(contents(root / "set")) == 11


# Services that are not ready


def web_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "token").write_text("a.web.token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    monkeypatch.setenv("AWS_REGION", "eu-west-9")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)


def sts_error(code: int, name: str) -> Fault:
    body = f"<ErrorResponse><Error><Code>{name}</Code><Message>no</Message></Error></ErrorResponse>"
    return status(code, body=body.encode())


ASSUMED = status(
    200,
    body=b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
    b"<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>"
    b"<SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    b"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
)
PASSING = {
    "503": sts_error(503, "ServiceUnavailable"),
    "503 of a proxy": status(503, body=b"<html><body>upstream connect error</body></html>"),
    "page of a proxy": status(200, body=b"<html><body>starting"),
    "throttled": sts_error(400, "Throttling"),
    "429": sts_error(429, "TooManyRequests"),
    "identity provider": sts_error(400, "IDPCommunicationError"),
    "expired token": sts_error(400, "ExpiredTokenException"),
    "closed": close(BEFORE_HEAD),
}


@pytest.mark.parametrize("fault_", PASSING.values(), ids=PASSING)
def test_sts_that_is_not_ready_is_asked_again(
    store: Bucket, fault: FaultServer, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault_: Fault
) -> None:
    web_identity(monkeypatch, tmp_path, fault.url)
    fault.order("/", *[fault_] * 3)
    fault.order("/", ASSUMED, times=ALWAYS)
    bring(store, root)
    assert len(contents(root / "set")) == 11
    assert "Credential=ASIAROLE/" in store.requests()[0].headers["authorization"]


def test_sts_that_is_away_when_credentials_are_renewed(
    store: Bucket, fault: FaultServer, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end so soon that each request renews them; objects are requested by threads that wait for nobody."""
    web_identity(monkeypatch, tmp_path, fault.url)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    short = ASSUMED.body.replace(b"2099-01-01T00:00:00Z", soon.strftime("%Y-%m-%dT%H:%M:%SZ").encode())
    fault.order("/", *[status(200, body=short)] * 4, *[sts_error(503, "ServiceUnavailable")] * 6)
    fault.order("/", ASSUMED, times=ALWAYS)
    bring(store, root)
    assert len(contents(root / "set")) == 11
    assert len(fault.requests()) > 10


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://sts.invalid", "https://127.0.0.1:9"], ids=["refused", "no DNS", "TLS"]
)
def test_sts_that_cannot_be_reached(
    store: Bucket, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    web_identity(monkeypatch, tmp_path, endpoint)
    with pytest.raises(UnreachableError, match=r"looking for AWS credentials.*--retry-budget") as error:
        bring(store, root, budget=1)
    assert error.value.exit_code == 9


def test_a_proxy_that_is_not_there_yet(
    store: Bucket, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web_identity(monkeypatch, tmp_path, "")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UnreachableError) as error:
        bring(store, root, budget=1)
    assert error.value.exit_code == 9


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (sts_error(403, "AccessDenied"), "AccessDenied"),
        (sts_error(400, "InvalidIdentityToken"), "InvalidIdentityToken"),
        (sts_error(400, "ExpiredTokenException"), "the file of the web identity token is not renewed"),
    ],
)
def test_sts_that_refuses_for_good(
    store: Bucket,
    fault: FaultServer,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Fault,
    why: str,
) -> None:
    web_identity(monkeypatch, tmp_path, fault.url)
    fault.order("/", answer, times=ALWAYS)
    with pytest.raises(RefusedError, match=why) as error:
        bring(store, root)
    assert error.value.exit_code == 3


def test_an_untrusted_sts_is_a_lasting_fault(
    store: Bucket, fault_tls: FaultServer, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web_identity(monkeypatch, tmp_path, fault_tls.url)
    with pytest.raises(RefusedError, match=r"certificate.*--ca-bundle"):
        bring(store, root)


@pytest.mark.parametrize("given", ["option", "AWS_REGION"])
def test_the_region_reaches_sts(
    store: Bucket, proxy: Proxy, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Its regional endpoint is asked, as the global one may be out of reach."""
    web_identity(monkeypatch, tmp_path, "")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    options = {"region": "ap-south-7"} if given == "option" else {}
    with pytest.raises(DsloadError):
        bring(store, root, budget=0.5, **options)
    region = "ap-south-7" if options else "eu-west-9"
    assert {request.target for request in proxy.requests()} == {f"sts.{region}.amazonaws.com:443"}


def temporary(access_key: str) -> bytes:
    return (
        f'{{"Code": "Success", "AccessKeyId": "{access_key}", "SecretAccessKey": "s3cret", "Token": "token", '
        f'"Expiration": "2099-01-01T00:00:00Z"}}'
    ).encode()


@pytest.mark.parametrize("answer", [status(503), status(404), status(200, body=b"starting"), close(BEFORE_HEAD)])
def test_a_container_service_that_is_not_ready(
    store: Bucket, fault: FaultServer, root: Path, monkeypatch: pytest.MonkeyPatch, answer: Fault
) -> None:
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", fault.put("/pod", temporary("AKCONTAINER")))
    fault.order("/pod", *[answer] * 4)
    bring(store, root)
    assert "Credential=AKCONTAINER/" in store.requests()[0].headers["authorization"]


def test_a_machine_without_credentials_is_asked_for_them_once(
    store: Bucket, fault: FaultServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fault.url)
    bring(store, root)
    assert len(contents(root / "set")) == 11
    assert len(fault.requests()) < 4


def test_a_metadata_service_that_is_not_ready(
    store: Bucket, fault: FaultServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore takes it for one that is not there, and the store refuses a request without keys."""
    roles = "/latest/meta-data/iam/security-credentials/"
    fault.put(roles, b"role")
    fault.put(roles + "role", temporary("AKINSTANCE"))
    fault.order(roles, *[status(503)] * 3)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fault.url)
    answer = status(403, body=refusal("AccessDenied", "Access Denied."))
    store.order(ANY, answer, when=lambda request: "authorization" not in request.headers, times=ALWAYS)
    bring(store, root)
    assert "Credential=AKINSTANCE/" in store.requests()[-1].headers["authorization"]
