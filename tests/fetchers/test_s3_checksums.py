"""S3: content is verified against every kind of checksum that a store states, and wrong content is refused.

On SeaweedFS, whose checksums of multipart objects are those that AWS makes; moto's are not.
"""

import base64
import hashlib
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
from tests.servers.fault import FaultServer
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


def bring(key: str, relay: Relay | FaultServer, root: Path) -> Report:
    options = {"endpoint": relay.url, "anonymous": "true"}
    settings = Settings(Network(workers=4, retry_budget=20))
    return load(Source.parse(f"s3://{ANONYMOUS_BUCKET}/{key}", None, options), Target(root, "set"), None, settings)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_right_content_is_verified_and_wrong_content_refused(
    seaweed: SeaweedFS, relay: Relay, root: Path, case: Case
) -> None:
    case.put(seaweed, key := f"{root.parent.name}/object")

    relay.flip = lambda request: 1 if of(request, key) else None
    with pytest.raises(IntegrityError, match="in two downloads") as error:
        bring(key, relay, root)
    assert error.value.exit_code == 5
    assert "object" in error.value.where
    assert case.expected in error.value.why
    assert read_tree(root / "set") == {}
    sent = 2 * len(case.data)
    wait_until(lambda: sum(request.sent for request in relay.requests("GET", key)) == sent, "two downloads to be noted")

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


def of(request: Request, key: str) -> bool:
    """Whether this request asks for content of the object."""
    return request.method == "GET" and request.target.endswith(key)


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
