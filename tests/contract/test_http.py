"""HTTP: the contract, over nginx's HTML indexes."""

from pathlib import Path

import pytest

from tests.contract.places import Folder
from tests.contract.suite import HARD_NAMES, SourceContract
from tests.servers.nginx import Nginx


class TestNginx(SourceContract):
    type = "HTTP"
    hard_names = tuple(name for name in HARD_NAMES if "/." not in f"/{name}")  # nginx hides them

    @pytest.fixture
    def place(self, tmp_path: Path, www: Path, nginx: Nginx) -> Folder:
        return folder(www, tmp_path, nginx.url)


def folder(www: Path, tmp_path: Path, url: str) -> Folder:
    """A folder of this test below the server's root."""
    path = www / f"contract-{tmp_path.name}"
    path.mkdir(exist_ok=True)
    return Folder(path, f"{url}{path.name}/")
