"""Texts that a person or another tool wrote, as they come from any editor and any shell."""

import codecs

_MARKS = (  # the longest first: UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(data: bytes) -> str:
    """A text without its byte order mark: UTF-8, or UTF-16 or UTF-32 as Windows' shells write them.

    A text without a mark is UTF-8; if every second byte of it is NUL, it is UTF-16.

    Raises:
        ValueError: it is none of these, or it holds a NUL character; the message says so.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "") or _unmarked(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8 or UTF-16") from None
    if "\0" in text:
        raise ValueError("it is not text: it holds a NUL character")
    return text


def _unmarked(data: bytes) -> str:
    """The encoding of a text without a mark. Latin letters and line ends in UTF-16 have a NUL each."""
    if len(data) >= 2 and len(data) % 2 == 0:
        if not any(data[1::2]) and all(data[::2]):
            return "utf-16-le"
        if not any(data[::2]) and all(data[1::2]):
            return "utf-16-be"
    return "utf-8"
