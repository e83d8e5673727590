"""FSSPEC: the contract, over memory://, and over sftp:// to OpenSSH."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.contract.places import Folder, Memory, write_secrets
from tests.contract.suite import SourceContract
from tests.servers.sftp import Sshd


class TestMemory(SourceContract):
    type = "FSSPEC"
    quoted = False

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Memory]:
        memory = Memory(f"/{tmp_path.name}")
        yield memory
        if fsspec.filesystem("memory").exists(memory.path):
            fsspec.filesystem("memory").rm(memory.path, recursive=True)


class TestSftp(SourceContract):
    type = "FSSPEC"
    quoted = False
    has_executables = True

    @pytest.fixture
    def place(self, sshd: Sshd, tmp_path: Path) -> Folder:
        folder = sshd.root / tmp_path.name
        folder.mkdir()
        key = sshd.key.read_text()
        secrets = write_secrets(tmp_path / "secrets", username=sshd.user, ssh_privatekey=key)
        return Folder(folder, f"sftp://{sshd.host}:{sshd.port}{folder}", secrets)
