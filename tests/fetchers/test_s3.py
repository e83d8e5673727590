"""S3: addressing, credentials, names, and errors, beyond the contract; checksums are in test_s3_checksums."""

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from dsload import Network, Report, Secrets, Settings, Source, Target, load, read_secrets
from dsload.errors import (
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from tests.command import start
from tests.contract import inside
from tests.contract.places import s3_secrets, write_secrets
from tests.contract.suite import MIB, noise, read_tree
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.orders import redirect, status
from tests.servers.process import wait_until
from tests.servers.relay import Relay
from tests.servers.s3 import ANONYMOUS_BUCKET, READER, S3, Moto, SeaweedFS
from tests.servers.threaded import Request

KEYS = Secrets(access_key="AKIAEXAMPLE", secret_key="a-secret-of-some-length")


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own AWS set-up, and no search for an instance's metadata."""
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def relay(seaweed: SeaweedFS) -> Iterator[Relay]:
    """Before SeaweedFS."""
    with Relay(seaweed.port) as server:
        yield server


@pytest.fixture
def moto_relay(moto: Moto) -> Iterator[Relay]:
    with Relay(moto.port) as server:
        yield server


def bring(uri: str, root: Path, secrets: Secrets | None = KEYS, **options: str) -> Report:
    """Load a URI into `set` below the root."""
    settings = Settings(Network(workers=4, retry_budget=20))
    return load(Source.parse(uri, None, options), Target(root, "set"), secrets, settings)


def fill(store: S3, bucket: str, objects: Mapping[str, bytes]) -> None:
    for key, data in objects.items():
        store.put(bucket, key, data)


# Addressing


@pytest.mark.parametrize(
    ("style", "target"),
    [("", "/{bucket}/a%20b"), ("path", "/{bucket}/a%20b"), ("virtual", "/a%20b"), ("Virtual", "/a%20b")],
)
def test_addressing(seaweed: SeaweedFS, relay: Relay, root: Path, style: str, target: str) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "a b", b"content")
    endpoint = f"http://localhost:{relay.port}"
    bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=endpoint, addressingStyle=style or "auto")
    assert read_tree(root / "set") == {"a b": b"content"}
    (get,) = relay.requests("GET", "a%20b")
    assert get.target == target.format(bucket=bucket)
    assert get.headers["host"].startswith(f"{bucket}." if target == "/a%20b" else "localhost")


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_endpoint_of_the_environment(
    seaweed: SeaweedFS, root: Path, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "a", b"content")
    given, nowhere = seaweed.endpoint + slash, "http://127.0.0.1:9"
    for variables, options in (
        ({"AWS_ENDPOINT_URL": given}, {}),
        ({"AWS_ENDPOINT_URL": nowhere, "AWS_ENDPOINT_URL_S3": given}, {}),
        ({"AWS_ENDPOINT_URL": nowhere, "AWS_ENDPOINT_URL_S3": nowhere}, {"endpoint": given}),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            (root / "set").mkdir(exist_ok=True)
            (root / "set/a").unlink(missing_ok=True)
            bring(f"s3://{bucket}", root, own_keys(seaweed), **options)
            assert read_tree(root / "set") == {"a": b"content"}


@pytest.mark.parametrize(
    ("variables", "options", "region"),
    [
        ({}, {}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-9"}, {}, "eu-west-9"),
        ({"AWS_REGION": "eu-west-8", "AWS_DEFAULT_REGION": "eu-west-9"}, {}, "eu-west-8"),
        ({"AWS_REGION": "eu-west-8"}, {"region": "ap-1"}, "ap-1"),
    ],
)
def test_the_region_that_is_signed_for(
    moto: Moto,
    moto_relay: Relay,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    options: Mapping[str, str],
    region: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = moto.new_bucket()
    moto.put(bucket, "a", b"content")
    bring(f"s3://{bucket}", root, endpoint=moto_relay.url, **options)
    assert all(f"/{region}/s3/aws4_request" in r.headers["authorization"] for r in moto_relay.requests())


# Credentials


def test_anonymous(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    """With anonymous=true the secrets stay unused; without any keys it is the same."""
    seaweed.put(ANONYMOUS_BUCKET, "free/a", b"content")
    for secrets, options in ((KEYS, {"anonymous": "true"}), (None, {}), (Secrets(), {"anonymous": "false"})):
        bring(f"s3://{ANONYMOUS_BUCKET}/free", root, secrets, endpoint=relay.url, **options)
        assert read_tree(root / "set") == {"a": b"content"}
    assert not [r for r in relay.requests() if "authorization" in r.headers]
    bucket = seaweed.new_bucket()
    with pytest.raises(RefusedError, match=r"403 Forbidden \(AccessDenied: .*no credentials were found") as error:
        bring(f"s3://{bucket}", root, None, endpoint=relay.url)
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("access_key", "secret_key", "code"),
    [
        ("AK", "not-the-secret-key", "SignatureDoesNotMatch"),
        ("nobody", "not-the-secret-key", "InvalidAccessKeyId"),
        (*READER, "AccessDenied"),
    ],
)
def test_keys_that_are_refused(
    seaweed: SeaweedFS, root: Path, tmp_path: Path, access_key: str, secret_key: str, code: str
) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "a/b", b"content")
    secrets = write_secrets(tmp_path / "secrets", access_key=access_key, secret_key=secret_key)
    report = tmp_path / "report.json"
    done = inside.run(
        "load", f"s3://{bucket}/a", "--mount-path", "set", "--mount-root", root, "--mount-secrets", secrets,
        "-o", f"endpoint={seaweed.endpoint}", "--output", "json", "--report-file", report, "-v",
    )  # fmt: skip
    assert done.code == done.json["error"]["exit"] == 3
    (line,) = done.errors
    assert f"({code}: " in line
    assert f"s3://{bucket}/a" in line
    assert secret_key not in done.out + done.err + report.read_text()
    assert list(root.iterdir()) == []


def test_keys_that_may_not_list_still_read_the_one_object(seaweed: SeaweedFS, root: Path) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "a/b.bin", b"content")
    reader = Secrets(access_key=READER[0], secret_key=READER[1])
    bring(f"s3://{bucket}/a/b.bin", root, reader, endpoint=seaweed.endpoint)
    assert read_tree(root / "set") == {"b.bin": b"content"}
    for other in ("a/none", "a/"):
        with pytest.raises(RefusedError, match="AccessDenied"):
            bring(f"s3://{bucket}/{other}", root, reader, endpoint=seaweed.endpoint)


@pytest.mark.parametrize("missing", ["access_key", "secret_key"])
def test_half_a_pair_of_keys(root: Path, missing: str) -> None:
    half = {"access_key": "AKIA", "secret_key": "secret"} | {missing: ""}
    with pytest.raises(UsageError, match="only one of them exists"):
        bring("s3://bucket", root, Secrets(**half), endpoint="http://127.0.0.1:9")


def from_files(set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto) -> Secrets:
    files = write_secrets(tmp_path / "secrets", access_key="AKFILES", secret_key="files-secret")
    return read_secrets(files)


def from_files_with_token(
    set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto
) -> Secrets:
    set_variable("AWS_ACCESS_KEY_ID", "ignored")
    set_variable("AWS_SECRET_ACCESS_KEY", "ignored")
    values = {"access_key": "AKTEMPORARY", "secret_key": "files-secret", "session_token": "session/token+=="}
    return read_secrets(write_secrets(tmp_path / "secrets", **values))


def from_environment(
    set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto
) -> Secrets:
    set_variable("AWS_ACCESS_KEY_ID", "AKENVIRONMENT")
    set_variable("AWS_SECRET_ACCESS_KEY", "environment-secret")
    set_variable("AWS_SESSION_TOKEN", "environment-token")
    return Secrets()


def from_profile(set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto) -> Secrets:
    file = tmp_path / "credentials"
    file.write_text("[models]\naws_access_key_id = AKPROFILE\naws_secret_access_key = profile-secret\n")
    set_variable("AWS_SHARED_CREDENTIALS_FILE", str(file))
    set_variable("AWS_PROFILE", "models")
    return Secrets()


def from_container(set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto) -> Secrets:
    set_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", fault.put("/pod", temporary("AKCONTAINER")))
    return Secrets()


def from_instance(set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto) -> Secrets:
    roles = "/latest/meta-data/iam/security-credentials/"
    fault.put(roles, b"role")
    fault.put(roles + "role", temporary("AKINSTANCE", Code="Success", Type="AWS-HMAC"))
    set_variable("AWS_EC2_METADATA_DISABLED", "false")
    set_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", fault.url)
    return Secrets()


def from_web_identity(
    set_variable: Callable[[str, str], None], tmp_path: Path, fault: FaultServer, moto: Moto
) -> Secrets:
    token = tmp_path / "token"
    token.write_text("a.web.token")
    set_variable("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    set_variable("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    set_variable("AWS_ENDPOINT_URL_STS", moto.endpoint)
    set_variable("AWS_REGION", "us-east-1")
    return Secrets()


def temporary(access_key: str, **more: str) -> bytes:
    """Credentials as the services of containers and instances write them."""
    values = {"AccessKeyId": access_key, "SecretAccessKey": "temporary-secret", "Token": "temporary-token"}
    return json.dumps({**values, "Expiration": "2099-01-01T00:00:00Z", **more}).encode()


@pytest.mark.parametrize(
    ("source", "access_key", "token"),
    [
        (from_files, "AKFILES", None),
        (from_files_with_token, "AKTEMPORARY", r"session/token\+=="),
        (from_environment, "AKENVIRONMENT", "environment-token"),
        (from_profile, "AKPROFILE", None),
        (from_container, "AKCONTAINER", "temporary-token"),
        (from_instance, "AKINSTANCE", "temporary-token"),
        (from_web_identity, "ASIA[A-Z0-9]+", ".+"),
    ],
)
def test_where_keys_come_from(
    moto: Moto,
    moto_relay: Relay,
    fault: FaultServer,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Callable[..., Secrets],
    access_key: str,
    token: str | None,
) -> None:
    bucket = moto.new_bucket()
    moto.put(bucket, "a", b"content")
    secrets = source(monkeypatch.setenv, tmp_path, fault, moto)
    bring(f"s3://{bucket}", root, secrets, endpoint=moto_relay.url)
    assert read_tree(root / "set") == {"a": b"content"}
    assert len(moto_relay.requests()) >= 2
    for request in moto_relay.requests():
        credential = re.search(r"Credential=([^/]+)/\d{8}/us-east-1/s3/aws4_request", request.headers["authorization"])
        assert credential
        assert re.fullmatch(access_key, credential[1])
        found = request.headers.get("x-amz-security-token")
        assert found is None if token is None else re.fullmatch(token, found or "")
        assert token is None or "x-amz-security-token" in request.headers["authorization"]


@pytest.mark.parametrize("variables", [{"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}, {}])
def test_keys_of_the_environment_and_a_profile_sign_rightly(
    seaweed: SeaweedFS, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "a", b"content")
    bring(f"s3://{bucket}", root, None, endpoint=seaweed.endpoint)
    assert read_tree(root / "set") == {"a": b"content"}


@pytest.mark.parametrize(
    ("variables", "kind", "why"),
    [
        ({"AWS_PROFILE": "nobody"}, UsageError, "nobody"),
        ({"AWS_PROFILE": "process"}, UnreachableError, "custom-process"),
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r"},
            RefusedError,
            "/nonexistent/token",
        ),
    ],
)
def test_a_chain_that_gives_no_keys(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    kind: type[DsloadError],
    why: str,
) -> None:
    (tmp_path / "config").write_text("[profile process]\ncredential_process = false\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    source = Source.parse("s3://bucket", None, {"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(kind, match=f"looking for AWS credentials.*{why}"):
        load(source, Target(root, "set"), None, Settings(Network(retry_budget=0.1)))


def test_signatures_stay_with_their_host(fault: FaultServer, root: Path) -> None:
    with FaultServer() as other:
        other.put("/b/", listing(a=b"content"))
        other.put("/elsewhere", b"content", etag='"v1"')
        fault.order("/b/", redirect(f"{other.url}/b/"), times=ALWAYS)
        fault.order("/b/a", redirect(f"{other.url}/elsewhere"), times=ALWAYS)
        secrets = Secrets(access_key="AKIA", secret_key="secret", session_token="session")
        bring("s3://b", root, secrets, endpoint=fault.url)
        assert read_tree(root / "set") == {"a": b"content"}
        assert all("authorization" in request.headers for request in fault.requests())
        assert len(other.requests()) == 2
        for request in other.requests():
            assert not {"authorization", "x-amz-security-token", "x-amz-date"} & set(request.headers)


# Names


def test_prefixes_end_at_a_slash(moto: Moto, root: Path) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {"pre/x": b"1", "prefix/x": b"2", "pre-x": b"3", "one": b"4", "one/in": b"5", "dir/": b""})
    for path, tree in {
        "pre": {"x": b"1"},
        "pre/": {"x": b"1"},
        "pre-x": {"pre-x": b"3"},
        "one": {"in": b"5"},  # the folder, where there is an object of this name too
        "dir": None,
    }.items():
        target = root / path.replace("/", "-")
        target.mkdir()
        if tree is None:
            with pytest.raises(NotFoundError, match="it is empty"):
                bring(f"s3://{bucket}/{path}", target, endpoint=moto.endpoint)
        else:
            bring(f"s3://{bucket}/{path}", target, endpoint=moto.endpoint)
            assert read_tree(target / "set") == tree
    for path in ("pr", "prefi", "x", "pre-x/"):
        with pytest.raises(NotFoundError, match="it is empty") as error:
            bring(f"s3://{bucket}/{path}", root, endpoint=moto.endpoint)
        assert error.value.exit_code == 4


def test_an_object_and_a_folder_of_one_name(moto: Moto, root: Path) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {"one": b"object", "one/in": b"folder"})
    with pytest.raises(UnsafePathError, match=r"'one'.*a file and a directory of this name.*exclude") as error:
        bring(f"s3://{bucket}", root, endpoint=moto.endpoint)
    assert error.value.exit_code == 5
    assert read_tree(root / "set") == {}
    bring(f"s3://{bucket}", root, endpoint=moto.endpoint, exclude="one")
    assert read_tree(root / "set") == {"one/in": b"folder"}


HARD_KEYS = {
    "d//e": "d/e",
    "/lead": "lead",
    "//two/": "two",
    "t%20r+a&i=l;?#'\"(!)*~@:$,": "t%20r+a&i=l;?#'\"(!)*~@:$,",
    "a b/ c /é日本🙂": "a b/ c /é日本🙂",
    "%2e%2e/x": "%2e%2e/x",
    "back\\slash": "back\\slash",
    ".hidden/...": ".hidden/...",
}


def test_hard_keys(moto: Moto, root: Path) -> None:
    """moto keeps `//` and a leading `/`; they fold into one, and none."""
    bucket = moto.new_bucket()
    for key in HARD_KEYS:
        moto.put(bucket, key, b"" if key.endswith("/") else key.encode())
    bring(f"s3://{bucket}", root, endpoint=moto.endpoint)
    expected = {path: key.encode() for key, path in HARD_KEYS.items() if not key.endswith("/")}
    assert read_tree(root / "set") == {**expected, "two/": None}


def test_keys_that_fold_into_one_collide(moto: Moto, root: Path) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {"d//e": b"1", "d/e": b"2"})
    with pytest.raises(UnsafePathError, match=r"'d/e'.*two files of the source have this name"):
        bring(f"s3://{bucket}", root, endpoint=moto.endpoint)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("up/../../x", r"leads up with '\.\.'"),
        ("../x", r"leads up with '\.\.'"),
        ("..", r"leads up with '\.\.'"),
        ("a/./b", r"'\.'"),
        (".dsload/inventory.jsonl", "dsload keeps its own state"),
        ("n" * 256, "longer than 255 bytes"),
    ],
)
def test_keys_that_are_no_names(moto: Moto, root: Path, tmp_path: Path, key: str, why: str) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {key: b"x", "good": b"good"})
    with pytest.raises(UnsafePathError, match=why) as error:
        bring(f"s3://{bucket}", root, endpoint=moto.endpoint)
    assert error.value.exit_code == 5
    assert read_tree(root / "set") == {}
    assert [path.name for path in tmp_path.iterdir()] == ["volume"]
    bring(f"s3://{bucket}", root, endpoint=moto.endpoint, exclude=key)
    assert read_tree(root / "set") == {"good": b"good"}


def test_directory_markers(moto: Moto, root: Path) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {"d/": b"", "d/void/": b"", "d/full/": b"", "d/full/a": b"a"})
    bring(f"s3://{bucket}/d", root, endpoint=moto.endpoint)
    assert read_tree(root / "set") == {"void/": None, "full/a": b"a"}
    assert bring(f"s3://{bucket}/d", root, endpoint=moto.endpoint).files.loaded == 0
    fill(moto, bucket, {"d/full/": b"content"})
    with pytest.raises(UnsafePathError, match="'full/'") as error:
        bring(f"s3://{bucket}/d", root, endpoint=moto.endpoint)
    assert error.value.exit_code == 5
    with pytest.raises(UnsafePathError, match=r"'d/full/'.*7 bytes under the name of a folder"):
        bring(f"s3://{bucket}/d/full/", root, endpoint=moto.endpoint)
    moto.s3.delete_object(Bucket=bucket, Key="d/void/")
    bring(f"s3://{bucket}/d", root, endpoint=moto.endpoint, exclude="full/")
    assert read_tree(root / "set") == {"full/a": b"a"}


def test_a_listing_of_several_pages(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    count = 2_500
    with closing(http.client.HTTPConnection("127.0.0.1", seaweed.port)) as store:  # boto3 takes ten times as long
        for number in range(count):
            store.request("PUT", f"/{ANONYMOUS_BUCKET}/many/{number:05}", headers={"Content-Length": "0"})
            with store.getresponse() as answer:
                assert (answer.status, answer.read()) == (200, b"")
    report = bring(f"s3://{ANONYMOUS_BUCKET}/many", root, None, endpoint=relay.url)
    assert report.files.loaded == count
    assert sorted(read_tree(root / "set")) == [f"{number:05}" for number in range(count)]
    assert len(relay.requests("GET", "list-type=2")) == 3


# Errors


@pytest.mark.parametrize("bucket", ["no-such-bucket", "minio.models.svc", "minio:9000"])
def test_a_bucket_that_is_not_there(moto: Moto, root: Path, bucket: str) -> None:
    with pytest.raises(NotFoundError) as error:
        bring(f"s3://{bucket}/models", root, endpoint=moto.endpoint)
    assert error.value.exit_code == 4
    assert f"the bucket '{bucket}' does not exist at {moto.endpoint}" in error.value.why
    assert f"is '{bucket}' a server? Then give -o endpoint=http://{bucket}" in error.value.fix
    assert list(root.iterdir()) == []


def test_a_bucket_that_can_only_be_a_server_is_not_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # AWS is not reachable
    with pytest.raises(NotFoundError, match="is 'minio:9000' a server"):
        bring("s3://minio:9000/models", root)


@pytest.mark.parametrize(
    ("uri", "options", "why"),
    [
        ("s3://b", {"endpoint": "ftp://host"}, "'ftp://host' is not a URL of a store; give http://HOST:PORT"),
        ("s3://b", {"endpoint": "http://"}, "is not a URL"),
        ("s3://b", {"endpoint": "http://host:port"}, "is not a URL"),
        ("s3://b", {"endpoint": "http://two words"}, "is not a URL"),
        ("s3://b", {"endpoint": "http://user:hunter22@host"}, "is not a URL.*credentials as secrets"),
        ("s3://b", {"endpoint": "http://host", "addressingStyle": "both"}, "'both' is neither path nor virtual"),
        ("s3://b", {"anonymous": "maybe"}, "'maybe' is neither true nor false"),
        ("s3://b", {"endpiont": "http://host"}, "its options are: addressingStyle, anonymous, endpoint, exclude,"),
        ("s3://b?endpiont=x", {}, "option endpiont: S3 does not know it"),
        ("s3:///path", {}, "it does not name the bucket"),
        ("s3://user@b/path", {}, "takes no user"),
        ("s3://b/a#b", {}, "write the # of a name as %23"),
        ("s3://b", {"syncMode": "mirror"}, "neither sync nor copy"),
    ],
)
def test_what_is_not_right_about_the_request(root: Path, uri: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        bring(uri, root, **options)
    assert error.value.exit_code == 2
    assert "hunter22" not in str(error.value)


def test_a_uri_may_hold_options_and_encoded_names(moto: Moto, root: Path) -> None:
    bucket = moto.new_bucket()
    fill(moto, bucket, {"a#b/50%/x": b"x"})
    bring(f"s3://{bucket}/a%23b/50%25?endpoint={moto.endpoint}&syncMode=copy", root)
    assert read_tree(root / "set") == {"x": b"x"}


def test_a_store_that_is_busy_is_asked_again(fault: FaultServer, root: Path) -> None:
    slow_down = status(503, retry_after=0, body=b"<Error><Code>SlowDown</Code></Error>")
    fault.put("/b/", listing(a=b"content"))
    fault.put("/b/a", b"content", etag='"v1"')
    fault.order("/b/", slow_down)
    fault.order("/b/a", slow_down)
    assert bring("s3://b", root, endpoint=fault.url).retries == 2
    assert read_tree(root / "set") == {"a": b"content"}


def test_a_store_that_stays_busy_or_away(fault: FaultServer, root: Path) -> None:
    fault.order(ANY, status(503), times=ALWAYS)
    for endpoint in (fault.url, "http://127.0.0.1:9"):
        source = Source.parse("s3://b", None, {"endpoint": endpoint})
        with pytest.raises(UnreachableError, match="--retry-budget") as error:
            load(source, Target(root, "set"), KEYS, Settings(Network(retry_budget=0.2)))
        assert error.value.exit_code == 9


# Changes while it loads


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_that_is_replaced_meanwhile(seaweed: SeaweedFS, relay: Relay, root: Path, size: int) -> None:
    """If-Match refuses the other content, the load lists again, and ends whole."""
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "same", b"same")
    seaweed.put(bucket, "model", noise(size))
    relay.before = at_the_last_part_of("/model", size, lambda: seaweed.put(bucket, "model", noise(size + 1)))
    report = bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=relay.url)
    assert read_tree(root / "set") == {"same": b"same", "model": noise(size + 1)}
    assert report.files.total == 2
    assert 412 in {request.status for request in relay.requests("GET", "/model")}
    assert list((root / "set/.dsload/parts").iterdir()) == []


def test_an_object_that_is_replaced_by_as_many_bytes(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "model", b"old!" * MIB * 5)
    relay.before = at_the_last_part_of("/model", 20 * MIB, lambda: seaweed.put(bucket, "model", b"new!" * MIB * 5))
    bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=relay.url)
    assert read_tree(root / "set") == {"model": b"new!" * MIB * 5}


def test_an_object_that_goes_away_meanwhile(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    bucket = seaweed.new_bucket()
    fill(seaweed, bucket, {"same": b"same", "gone": b"gone"})
    relay.before = at_the_last_part_of("/gone", 4, lambda: seaweed.s3.delete_object(Bucket=bucket, Key="gone"))
    bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=relay.url)
    assert read_tree(root / "set") == {"same": b"same"}


def test_an_object_that_never_rests(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    bucket = seaweed.new_bucket()
    seaweed.put(bucket, "model", b"0")
    contents = iter(range(1, 10))

    def replace(request: Request) -> None:
        if request.method == "GET" and request.target.endswith("/model"):
            seaweed.put(bucket, "model", str(next(contents)).encode())

    relay.before = replace
    with pytest.raises(ChangedError, match="changed while it was read") as error:
        bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=relay.url)
    assert error.value.exit_code == 9
    assert read_tree(root / "set") == {}
    assert len(relay.requests("GET", "list-type=2")) == 3


def test_it_goes_on_after_a_kill(seaweed: SeaweedFS, relay: Relay, root: Path, tmp_path: Path) -> None:
    bucket, size = seaweed.new_bucket(), 40 * MIB
    parts = [noise(10 * MIB + n) for n in range(3)]
    seaweed.put_parts(bucket, "model.bin", [*parts, noise(size - sum(map(len, parts)))])
    secrets = s3_secrets(tmp_path / "secrets", seaweed)
    arguments = (
        "load", f"s3://{bucket}", "--mount-root", root, "--mount-path", "set", "--mount-secrets", secrets,
        "-o", f"endpoint={relay.url}", "--workers", 2,
    )  # fmt: skip
    with start(*arguments, "--max-rate", "20M") as process:
        journals = (root / "set/.dsload/parts").glob
        wait_until(lambda: any(b'"end"' in path.read_bytes() for path in journals("*.journal")), "a part to be safe")
        process.kill()
    assert not (root / "set/model.bin").exists()
    sent = sum(request.sent for request in relay.requests("GET", "/model.bin"))
    report = bring(f"s3://{bucket}", root, own_keys(seaweed), endpoint=relay.url)
    assert (root / "set/model.bin").stat().st_size == size
    assert inside.run("verify", root / "set").code == 0
    assert report.bytes.resumed >= 8 * MIB
    assert report.bytes.resumed + report.bytes.moved == size
    again = sum(request.sent for request in relay.requests("GET", "/model.bin")) - sent
    assert again == report.bytes.moved


def at_the_last_part_of(name: str, size: int, act: Callable[[], object]) -> Callable[[Request], None]:
    """For `Relay.before`: act once, when the last bytes of an object are asked for."""
    done: list[bool] = []

    def before(request: Request) -> None:
        last = request.headers.get("range", f"-{size - 1}").endswith(f"-{size - 1}")
        if request.method == "GET" and request.target.endswith(name) and last and not done:
            done.append(True)
            act()

    return before


def own_keys(store: S3) -> Secrets:
    """The keys of a store's one user."""
    return Secrets(access_key=store.access_key, secret_key=store.secret_key)


def listing(**objects: bytes) -> bytes:
    """A ListObjectsV2 answer."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(data)}</Size><ETag>&quot;v1&quot;</ETag></Contents>"
        for key, data in objects.items()
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
