"""S3: content is verified against every kind of checksum that a store states, and wrong content is refused.

On SeaweedFS, whose checksums of multipart objects are those that AWS makes; moto's are not.
"""

import base64
import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from awscrt import checksums as crc

from dsload import Network, Report, Settings, Source, Target, load
from dsload.errors import IntegrityError
from dsload.target.inventory import Row
from tests.contract import inside
from tests.contract.suite import MIB, noise, read_tree
from tests.servers.bucket import Bucket, page, query
from tests.servers.bucket import row as row_of
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import extra, flip
from tests.servers.process import wait_until
from tests.servers.relay import Relay
from tests.servers.s3 import ANONYMOUS_BUCKET, Checksum, SeaweedFS
from tests.servers.threaded import Request

Digest = Callable[[bytes], bytes]
DIGESTS: dict[str, Digest] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: crc.crc32c(data).to_bytes(4, "big"),
    "crc64nvme": lambda data: crc.crc64nvme(data).to_bytes(8, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
}
SMALL, LARGE = (noise(1000),), (noise(3 * MIB),)
ONE_PART = (noise(500),)
PARTS = (noise(5 * MIB), noise(5 * MIB + 1)[:-1], noise(100_000))
MANY = tuple(noise(5 * MIB + n)[: 5 * MIB] for n in range(4))
LONG_LAST = (noise(5 * MIB), noise(5 * MIB + 1)[:-1], noise(7 * MIB))
UNEVEN = (noise(6 * MIB), noise(5 * MIB), noise(5 * MIB + 5))


@dataclass(frozen=True)
class Case:
    """An object as it is put, and what it is verified by.

    Args:
        parts: of the upload; one for a plain PUT where `kind` is empty.
        checksum: that the uploader asks for.
        kind: COMPOSITE or FULL_OBJECT for a multipart upload.
        by: the algorithm that dsload verifies with.
    """

    parts: tuple[bytes, ...]
    checksum: Checksum | None
    kind: str
    by: str

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    @property
    def expected(self) -> str:
        """The checksum as the inventory has it."""
        digest = DIGESTS[self.by]
        if self.kind != "COMPOSITE":
            return f"{self.by}:{digest(self.data).hex()}"
        size = len(self.parts[0]) if len(self.parts) > 1 or len(self.data) > MIB else 0
        return f"{self.by}/{size}:{digest(b''.join(map(digest, self.parts))).hex()}-{len(self.parts)}"

    def put(self, store: SeaweedFS, key: str) -> None:
        if not self.kind:
            store.put(ANONYMOUS_BUCKET, key, self.data, self.checksum)
        else:
            kind = "FULL_OBJECT" if self.kind == "FULL_OBJECT" else "COMPOSITE"
            store.put_parts(ANONYMOUS_BUCKET, key, list(self.parts), self.checksum, kind if self.checksum else None)

    def __str__(self) -> str:
        size = f"{len(self.parts)} parts" if self.kind else "small" if self.parts is SMALL else "large"
        return f"{self.by} {self.kind.lower()} {size}"


ALGORITHMS: tuple[Checksum, ...] = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
COMPOSITE: tuple[Checksum, ...] = ("CRC32", "CRC32C", "SHA1", "SHA256")
FULL: tuple[Checksum, ...] = ("CRC32", "CRC32C", "CRC64NVME")
CASES = [
    *(Case(SMALL, name, "", name.lower()) for name in ALGORITHMS),
    *(Case(LARGE, name, "", name.lower()) for name in ALGORITHMS),
    *(Case(ONE_PART, name, "COMPOSITE", name.lower()) for name in COMPOSITE),
    *(Case(PARTS, name, "COMPOSITE", name.lower()) for name in COMPOSITE),
    *(Case(PARTS, name, "FULL_OBJECT", name.lower()) for name in FULL),
    Case(SMALL, None, "", "md5"),
    Case(LARGE, None, "", "md5"),
    Case(ONE_PART, None, "COMPOSITE", "md5"),
    Case(PARTS, None, "COMPOSITE", "md5"),
    Case(LONG_LAST, None, "COMPOSITE", "md5"),
    Case(MANY, "SHA256", "COMPOSITE", "sha256"),
]


@pytest.fixture
def relay(seaweed: SeaweedFS) -> Iterator[Relay]:
    """Before SeaweedFS."""
    with Relay(seaweed.port) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def store() -> Iterator[Bucket]:
    with Bucket() as server:
        yield server


def bring(key: str, relay: Relay | FaultServer, root: Path) -> Report:
    options = {"endpoint": relay.url, "anonymous": "true"}
    settings = Settings(Network(workers=4, retry_budget=20))
    return load(Source.parse(f"s3://{ANONYMOUS_BUCKET}/{key}", None, options), Target(root, "set"), None, settings)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_right_content_is_verified_and_wrong_content_refused(
    seaweed: SeaweedFS, relay: Relay, root: Path, case: Case
) -> None:
    case.put(seaweed, key := f"{root.parent.name}/object")

    damaged = itertools.count()  # differently each time: what comes alike twice counts for more than an ETag
    relay.flip = lambda request: next(damaged) if of(request, key) else None
    with pytest.raises(IntegrityError, match="in two downloads") as error:
        bring(key, relay, root)
    assert error.value.exit_code == 5
    assert "object" in error.value.where
    assert case.expected in error.value.why
    assert read_tree(root / "set") == {}
    sent = 2 * len(case.data)
    wait_until(lambda: sum(r.sent for r in relay.requests() if of(r, key)) == sent, "two downloads to be noted")

    relay.flip = once(key)
    report = bring(key, relay, root)
    assert read_tree(root / "set") == {"object": case.data}
    assert (report.retries, report.unverified) == (1, 0)
    assert row(root).checksum == case.expected
    assert inside.run("verify", root / "set").code == 0


def test_one_wrong_range_of_a_large_object(seaweed: SeaweedFS, relay: Relay, root: Path) -> None:
    """The refetch is of the whole object: nobody can tell which of its ranges was wrong."""
    case = Case(MANY, "CRC32", "COMPOSITE", "crc32")
    case.put(seaweed, key := f"{root.parent.name}/object")
    relay.flip = once(key, "bytes=8388608-")
    report = bring(key, relay, root)
    assert read_tree(root / "set") == {"object": case.data}
    assert report.bytes.moved == 2 * len(case.data)
    assert row(root).checksum == case.expected


@pytest.mark.parametrize("checksum", [None, "SHA256"])
def test_parts_of_unequal_size_cannot_be_verified_and_are_no_error(
    seaweed: SeaweedFS, relay: Relay, root: Path, checksum: Checksum | None
) -> None:
    case = Case(UNEVEN, checksum, "COMPOSITE", "")
    case.put(seaweed, key := f"{root.parent.name}/object")
    report = bring(key, relay, root)
    assert read_tree(root / "set") == {"object": case.data}
    assert (report.retries, report.unverified) == (0, 1)
    assert inside.run("verify", root / "set").code == 0
    assert bring(key, relay, root).bytes.moved == 0


@pytest.mark.parametrize(
    ("headers", "algorithm"),
    [
        ({"x-amz-checksum-crc32": "crc32", "x-amz-checksum-sha256": "sha256"}, "sha256"),
        ({"x-amz-checksum-sha256": "not base64!", "x-amz-checksum-crc32": "crc32"}, "crc32"),
        ({"x-amz-checksum-sha256": "sha1"}, "md5"),  # of a wrong length
        ({"x-amz-checksum-sha256": "sha256", "x-amz-checksum-type": "COMPOSITE"}, "md5"),  # of parts, but how many?
        ({"x-amz-server-side-encryption": "AES256"}, "md5"),
        ({"x-amz-server-side-encryption": "aws:kms"}, ""),  # then the ETag is no MD5
        ({"x-amz-server-side-encryption": "aws:kms", "x-amz-checksum-sha1": "sha1"}, "sha1"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, ""),
    ],
)
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_which_checksum_counts(
    fault: FaultServer, root: Path, headers: dict[str, str], algorithm: str, size: int
) -> None:
    data = noise(size)
    for name, value in headers.items():
        if value in DIGESTS:
            headers = headers | {name: base64.b64encode(DIGESTS[value](data)).decode()}
    etag = f'"{"0" * 32 if not algorithm else hashlib.md5(data).hexdigest()}"'
    fault.put(f"/{ANONYMOUS_BUCKET}/a", data, etag=etag, headers=headers)
    rows = f"<Contents><Key>a</Key><Size>{size}</Size><ETag>{etag}</ETag></Contents>"
    fault.put(f"/{ANONYMOUS_BUCKET}/", f"<ListBucketResult>{rows}</ListBucketResult>".encode())
    report = bring("", fault, root)
    assert report.unverified == (0 if algorithm else 1)
    assert row(root).checksum.partition(":")[0] == (algorithm or "sha256")


# ETags that are not checksums


WRONG = "0123456789abcdef" * 2


def put(store: Bucket, objects: dict[str, bytes], etag: str, **headers: str) -> None:
    """Objects with an ETag, and their listing."""
    for key, data in objects.items():
        store.add(key, data, f'"{etag}"', **headers)
    rows = "".join(row_of(key, len(data), etag) for key, data in objects.items())
    store.listing = lambda query: page(rows)


def asks_for_part(number: int) -> Callable[[Request], bool]:
    return lambda request: query(request).get("partNumber") == str(number)


def bring_all(store: Bucket, root: Path) -> Report:
    source = Source.parse("s3://b", None, {"endpoint": store.url, "anonymous": "true"})
    return load(source, Target(root, "set"), None, Settings(Network(workers=2, retry_budget=20)))


@pytest.mark.parametrize("form", ["", "-1", "-2", "-3"])
@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_an_etag_that_is_not_an_md5(
    store: Bucket, root: Path, caplog: pytest.LogCaptureFixture, form: str, size: int
) -> None:
    """MinIO's HEX-1 for objects without a checksum, and whatever gateways and encryption make of others."""
    put(store, {"a": noise(size)}, WRONG + form)
    count = int(form[1:] or 1)
    part = -(-size // count)
    for number in range(1, count + 1):
        length = {"Content-Length": str(min(part, size - part * (number - 1)))}
        store.order("/b/a", extra(length), when=asks_for_part(number), times=ALWAYS)
    report = bring_all(store, root)
    assert read_tree(root / "set") == {"a": noise(size)}
    assert report.unverified == 1
    (warning,) = [record.message for record in caplog.records if "ETag" in record.message]
    assert f"s3://b: the ETag that {store.url} gives does not belong to the content" in warning
    assert inside.run("verify", root / "set").code == 0
    assert bring_all(store, root).bytes.moved == 0


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_content_that_differs_twice_from_its_etag_and_from_itself(store: Bucket, root: Path, size: int) -> None:
    put(store, {"a": noise(size)}, WRONG)
    store.order("/b/a", flip(0), when=lambda request: request.method == "GET")
    with pytest.raises(IntegrityError, match="in two downloads") as error:
        bring_all(store, root)
    assert error.value.exit_code == 5
    assert read_tree(root / "set") == {}


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_checksum_that_is_stated_counts_for_more_than_content(store: Bucket, root: Path, size: int) -> None:
    stated = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    put(store, {"a": noise(size)}, hashlib.md5(noise(size)).hexdigest(), x_amz_checksum_sha256=stated)
    with pytest.raises(IntegrityError, match="in two downloads"):
        bring_all(store, root)


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_store_whose_etags_are_not_md5s_is_not_read_twice(store: Bucket, root: Path, size: int) -> None:
    objects = {f"{number:02}": noise(size + number) for number in range(20)}
    put(store, objects, WRONG + "-1")
    report = bring_all(store, root)
    assert read_tree(root / "set") == objects
    assert report.unverified == 20
    size = sum(map(len, objects.values()))
    assert size < report.bytes.moved < 2 * size  # those that came before the first second download are fetched again


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_one_etag_that_is_not_an_md5_says_nothing_of_others(store: Bucket, root: Path, size: int) -> None:
    """What is wrong once is fetched again, though another object of the store had an ETag of its own kind."""
    objects = {f"{number:02}": noise(size + number) for number in range(6)}
    for key, data in objects.items():
        store.add(key, data, f'"{WRONG if key == "02" else hashlib.md5(data).hexdigest()}"')
    rows = "".join(row_of(key, len(store_data), "") for key, store_data in objects.items())
    store.listing = lambda query: page(rows)
    store.order("/b/05", flip(3), when=lambda request: request.method == "GET")
    report = bring_all(store, root)
    assert read_tree(root / "set") == objects
    assert report.unverified == 1


def of(request: Request, key: str) -> bool:
    """Whether this request asks for content of the object, not only whether it exists."""
    return request.method == "GET" and request.target.endswith(key) and request.headers.get("range") != "bytes=0-0"


def once(key: str, part: str = "") -> Callable[[Request], int | None]:
    """For `Relay.flip`: damage one answer, that to a range if one is given."""
    done: list[bool] = []

    def flip(request: Request) -> int | None:
        if done or not of(request, key) or part not in request.headers.get("range", ""):
            return None
        done.append(True)
        return 1

    return flip


def row(root: Path) -> Row:
    """The one row of the target's inventory."""
    (line,) = (root / "set/.dsload/inventory.jsonl").read_bytes().splitlines()[1:]
    return Row.parse(line)
