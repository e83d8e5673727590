"""GIT: the contract, over HTTP, a git daemon and a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload.errors import NotFoundError
from tests.contract.places import GitRepository
from tests.contract.suite import SourceContract, bring, fill, read_tree
from tests.servers.git import GitServer
from tests.servers.gitdaemon import GitDaemon


class TestGit(SourceContract):
    """Over HTTP. A URI names a whole repository; a part of one is had by include."""

    type = "GIT"
    has_executables = True
    has_empty_folders = False

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[GitRepository]:
        with GitServer(tmp_path / "git") as server:
            yield GitRepository(tmp_path / "work", tmp_path / "git/name.git", f"{server.url}/name.git")

    def test_one_file_by_its_uri(self, place: GitRepository, root: Path) -> None:
        fill(place, {"sub/one file.bin": b"one", "sub/other": b"other"})
        report = bring(place, root, include="sub/one file.bin")
        assert read_tree(root / "set") == {"sub/one file.bin": b"one"}
        assert report.files.total == 1
        assert bring(place, root, include="sub/one file.bin").bytes.moved == 0

    def test_a_missing_path(self, place: GitRepository, root: Path) -> None:
        fill(place, {"a": b"a"})
        for missing in ({"branch": "no/such"}, {"uri": place.uri.replace("name", "no/such")}):
            with pytest.raises(NotFoundError, match="no/such") as error:
                bring(place, root, **missing)
            assert error.value.exit_code == 4
        assert list(root.iterdir()) == []


class TestGitDaemon(TestGit):
    """Over git://."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[GitRepository]:
        (tmp_path / "git").mkdir()
        with GitDaemon(tmp_path / "git") as server:
            yield GitRepository(tmp_path / "work", tmp_path / "git/name.git", f"{server.url}/name.git")


class TestGitFolder(TestGit):
    """A repository that is a folder."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> GitRepository:
        bare = tmp_path / "git/name.git"
        return GitRepository(tmp_path / "work", bare, f"git+{bare.as_uri()}")
