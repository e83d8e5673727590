"""Texts of any editor and any shell."""

import codecs

import pytest

from dsload.formats.text import decoded

TEXT = "name: modèle\r\n- 模型\n"
LATIN = "torch==2.4\r\n-r other.txt\r\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_a_mark_names_the_encoding(data: bytes) -> None:
    assert decoded(data) == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_latin_text_needs_no_mark(encoding: str) -> None:
    assert decoded(LATIN.encode(encoding)) == LATIN


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"caf\xe9", b"a\0b\0\0\1", b"\0", "\ud800".encode("utf-16", "surrogatepass")]
)
def test_what_is_not_text_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is not text"):
        decoded(data)


def test_nothing_is_a_text() -> None:
    assert decoded(b"") == decoded(codecs.BOM_UTF8) == ""
