"""S3: the contract, on SeaweedFS, which checks signatures, and on moto."""

from pathlib import Path

import pytest

from tests.contract.places import Prefix, s3_secrets
from tests.contract.suite import HARD_NAMES, SourceContract
from tests.servers.s3 import S3, Moto, SeaweedFS


class TestSeaweed(SourceContract):
    type = "S3"
    hard_names = tuple(name for name in HARD_NAMES if "\\" not in name)  # it makes "/" of it

    @pytest.fixture
    def place(self, seaweed: SeaweedFS, tmp_path: Path) -> Prefix:
        return prefix(seaweed, tmp_path)


class TestMoto(SourceContract):
    type = "S3"

    @pytest.fixture
    def place(self, moto: Moto, tmp_path: Path) -> Prefix:
        return prefix(moto, tmp_path)


BUCKET = "contract"


def prefix(store: S3, tmp_path: Path) -> Prefix:
    """A prefix of this test in a bucket that all of them share."""
    if BUCKET not in {bucket["Name"] for bucket in store.s3.list_buckets()["Buckets"]}:
        store.new_bucket(BUCKET)
    return Prefix(store, BUCKET, f"{tmp_path.name}/", s3_secrets(tmp_path / "secrets", store))
