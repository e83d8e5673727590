"""A git repository and its server, which most tests of GIT ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repositories import TREE, Repository
from tests.servers.git import GitServer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository that each test gets a copy of; a module may have another."""
    made = Repository.make(tmp_path_factory.mktemp("git") / "work")
    made.commit(TREE)
    return made


@pytest.fixture
def work(tmp_path: Path, made: Repository) -> Repository:
    """A repository; what is pushed is at tmp_path/git/name.git."""
    work = made.copy(tmp_path / "work")
    work.bare(tmp_path / "git/name.git")
    return work


@pytest.fixture
def server(tmp_path: Path, work: Repository) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git") as server:
        yield server
