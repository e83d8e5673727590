"""A mounted Secret: read as any editor writes it, and read anew when it is renewed."""

import codecs
import os
from pathlib import Path

import pytest

from dsload import Secrets, read_secrets
from dsload.errors import UsageError


def mount(directory: Path, version: int, **files: str) -> None:
    """What kubelet does: the files are links to `..data/NAME`, and `..data` is a link that is replaced at once."""
    data = directory / f"..{version}"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name.replace("_", "-")).write_text(text)
        link = directory / name.replace("_", "-")
        if not link.is_symlink():
            link.symlink_to(f"..data/{link.name}")
    (directory / "..data_tmp").symlink_to(data.name)
    os.replace(directory / "..data_tmp", directory / "..data")


def test_a_renewed_secret_is_read_again(tmp_path: Path) -> None:
    mount(tmp_path, 1, access_key="AK1", secret_key="secret-1", token="one")
    first = read_secrets(tmp_path)
    assert first.fresh() is first
    mount(tmp_path, 2, access_key="AK2", secret_key="secret-2", token="two", session_token="added")
    second = first.fresh()
    assert (second.access_key, second.secret_key, second.token) == ("AK2", "secret-2", "two")
    assert second.session_token == "added"
    assert second.fresh() is second
    assert first.token == "one"


def test_a_file_that_is_written_in_place_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    first = read_secrets(tmp_path)
    (tmp_path / "token").write_text("three")
    assert first.fresh().token == "three"
    (tmp_path / "token").unlink()
    assert first.fresh().token == ""


def test_what_cannot_be_read_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    first = read_secrets(tmp_path)
    (tmp_path / "token").write_bytes(b"\xff\xfe\xfd")
    assert first.fresh() is first


def test_secrets_that_are_not_files_stay() -> None:
    secrets = Secrets(token="one")
    assert secrets.fresh() is secrets


def test_where_secrets_come_from_is_not_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    assert read_secrets(tmp_path) == Secrets(token="one")
    assert str(tmp_path) not in repr(read_secrets(tmp_path))
    assert read_secrets(tmp_path).hidden == ("one",)


@pytest.mark.parametrize(
    "data",
    [
        b"hf_token\r\n",
        codecs.BOM_UTF8 + b"hf_token",
        "hf_token\r\n".encode("utf-16"),
        "hf_token".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "hf_token".encode("utf-16-be"),
    ],
)
def test_a_token_of_any_editor(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "token").write_bytes(data)
    assert read_secrets(tmp_path).token == "hf_token"


def test_a_token_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\x00\x01\xff")
    with pytest.raises(UsageError, match="it is not text"):
        read_secrets(tmp_path)
