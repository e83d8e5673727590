"""A git repository and its server, which most tests of GIT ask for; a module may have another repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repositories import TREE, Repository
from tests.servers.git import GitServer


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """A repository; what is pushed is at tmp_path/git/name.git."""
    work = Repository.make(tmp_path / "work")
    work.commit(TREE)
    work.bare(tmp_path / "git/name.git")
    return work


@pytest.fixture
def server(tmp_path: Path, work: Repository) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git") as server:
        yield server
