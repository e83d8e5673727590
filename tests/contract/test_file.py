"""FILE: the contract, and what only a file system has."""

import os
import socket
from pathlib import Path

import pytest

from dsload import Ownership
from dsload.errors import DsloadError, RefusedError, UnsafePathError, UsageError
from tests.contract import inside
from tests.contract.places import Folder
from tests.contract.suite import GID, MIB, UID, SourceContract, bring, fill, read_tree
from tests.servers.orders import Virtual, digest


class TestFile(SourceContract):
    type = "FILE"
    has_executables = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> Folder:
        folder = tmp_path / "source"
        folder.mkdir()
        return Folder(folder, folder.as_uri())

    def test_a_file_of_more_than_a_part(self, place: Folder, root: Path) -> None:
        body = Virtual(75 * MIB + 1)
        with (place.path / "huge.bin").open("wb") as file:
            for start in range(0, len(body), 8 * MIB):
                file.write(body[start : start + 8 * MIB])
        assert bring(place, root).bytes.moved == len(body)
        (row,) = inventory(root)
        assert f'"sha256:{digest(body).hexdigest()}"' in row
        assert os.stat(root / "set/huge.bin").st_size == len(body)
        assert inside.run("verify", root / "set").code == 0

    def test_symlinks_are_kept(self, place: Folder, root: Path) -> None:
        fill(place, {"blobs/1": b"one", "snapshot/deep/own": b"own"})
        links = {
            "snapshot/model.bin": "../blobs/1",
            "snapshot/deep/up": "../../blobs/1",
            "beside": "blobs/1",
            "folder": "./snapshot",
            "dangling": "blobs/not there yet",
        }
        for path, target in links.items():
            (place.path / path).symlink_to(target)
        owner = Ownership(UID, GID, 0o640)
        bring(place, root, ownership=owner)
        kept = {path: f"-> {os.path.normpath(target)}".encode() for path, target in links.items()}
        assert read_tree(root / "set") == {"blobs/1": b"one", "snapshot/deep/own": b"own", **kept}
        for path in links:
            found = (root / "set" / path).lstat()
            assert (found.st_uid, found.st_gid) == (UID, GID)
        assert bring(place, root, ownership=owner).files.loaded == 0

        (place.path / "beside").unlink()
        (place.path / "beside").symlink_to("snapshot/deep/own")
        (place.path / "folder").unlink()
        report = bring(place, root, ownership=owner)
        assert (report.files.loaded, report.files.deleted) == (1, 1)
        assert (root / "set/beside").read_bytes() == b"own"
        assert (root / "set/snapshot/deep/own").exists()

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("sub/link", "../../outside"),
            ("link", ".."),
            ("link", "/etc/passwd"),
            ("sub/link", "deep/../../../outside"),
            ("link", "sub/../../outside"),
        ],
    )
    def test_a_symlink_that_leads_out_is_refused(self, place: Folder, root: Path, path: str, target: str) -> None:
        fill(place, {"sub/deep/a": b"a"})
        (place.path / path).symlink_to(target)
        with pytest.raises(UnsafePathError, match="points out of the target") as error:
            bring(place, root)
        assert error.value.exit_code == 5
        assert repr(path) in str(error.value)
        assert read_tree(root / "set") == {}
        bring(place, root, exclude=path)  # as the message advises
        assert read_tree(root / "set") == {"sub/deep/a": b"a"}
        assert path not in self.ls(place, "-o", f"exclude={path}").split()

    def test_no_write_goes_through_a_symlink_of_the_source(self, place: Folder, root: Path, tmp_path: Path) -> None:
        fill(place, {"a/b": b"b"})
        bring(place, root)
        place.remove("a/b")
        (place.path / "elsewhere").mkdir()
        (place.path / "a").symlink_to("elsewhere")
        bring(place, root)
        fill(place, {"elsewhere/b": b"new"})
        (place.path / "a").unlink()
        fill(place, {"a/b": b"b again"})
        bring(place, root)
        assert read_tree(root / "set") == {"a/b": b"b again", "elsewhere/b": b"new"}

    def test_names_that_are_no_text(self, place: Folder, root: Path) -> None:
        name = os.fsdecode(b"caf\xe9\n\x1b[31m.bin")
        fill(place, {name: b"latin 1", "other": b"utf-8"})
        bring(place, root)
        assert read_tree(root / "set") == {name: b"latin 1", "other": b"utf-8"}
        assert bring(place, root).files.loaded == 0
        listed = self.ls(place)
        assert len(listed.splitlines()) == 2
        assert "\x1b" not in listed
        (root / "set" / name).write_bytes(b"LATIN 1")
        damaged = inside.run("verify", root / "set")
        assert damaged.code == 5
        assert "\x1b" not in damaged.out + damaged.err

    def test_what_is_no_file_is_refused(self, place: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(place, {"a": b"a"})
        os.mkfifo(place.path / "fifo")
        with pytest.raises(RefusedError, match=r"fifo.*not a file") as error:
            bring(place, root)
        assert error.value.exit_code == 3
        (place.path / "fifo").unlink()
        monkeypatch.chdir(place.path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            with pytest.raises(RefusedError, match="socket"):
                bring(place, root)
        assert read_tree(root) == {}

    def test_uris_of_this_machine_and_of_others(self, place: Folder, root: Path) -> None:
        fill(place, {"a b": b"a"})
        bring(place, root, uri=place.uri.replace("file://", "file://localhost"))
        assert read_tree(root / "set") == {"a b": b"a"}
        for uri, why in {
            "file://etc/data": "'etc' is read as a host",
            f"{place.uri}/a#b": "%23",
            f"{place.uri}?x=1": "FILE does not know it",
        }.items():
            with pytest.raises(UsageError, match=why):
                bring(place, root, uri=uri)

    def test_a_source_that_dsload_loaded_itself(self, place: Folder, root: Path) -> None:
        fill(place, {"a": b"a"})
        bring(place, root)
        copy = Folder(root / "set", (root / "set").as_uri())
        with pytest.raises(DsloadError, match="where dsload keeps its own state") as error:
            bring(copy, root.parent / "volume")
        assert error.value.exit_code == 5
        second = root.parent / "second"
        second.mkdir()
        bring(copy, second, exclude=".dsload/")
        assert read_tree(second / "set") == {"a": b"a"}


def inventory(root: Path) -> list[str]:
    """The rows of the target's inventory."""
    return (root / "set/.dsload/inventory.jsonl").read_text().splitlines()[1:]
