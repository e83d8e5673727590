"""The pages of a bucket's listing: each read as it arrives, and all of them followed to the end.

Protocol: ListObjectsV2 and ListObjects of the Amazon S3 API reference, and what other stores make of them.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import unquote_plus
from xml.parsers import expat

from dsload.errors import BadAnswerError, ChangedError, IntegrityError, NotFoundError

LARGEST = 64 << 20  # bytes of a page; one of 1,000 keys has 4 MiB at most
_LONGEST = 16 << 10  # characters of one text in it; a key has 1,024 bytes, three times as many if it is encoded
_IDLE = 1000  # pages in a row that may bring nothing new: a store may skip deleted objects that way
_DIGITS = 20  # of a size
_ENDS_EARLY = frozenset(
    expat.errors.codes[each] for each in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
)
_ROOT = "ListBucketResult"
_OF_PAGE = frozenset({"IsTruncated", "NextContinuationToken", "NextMarker", "EncodingType", "Code", "Message"})
_OF_ROW = frozenset({"Key", "Size", "ETag"})
_AGAIN = "run the same command again"

Texts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """An object as a listing states it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Args:
        rows: its objects.
        more: whether other pages follow.
        token: that continues a listing of version 2.
        marker: the key after which a listing of version 1 continues, if the store states one.
    """

    rows: list[Row]
    more: bool = False
    token: str = ""
    marker: str = ""


def bare(etag: str) -> str:
    """An ETag without its quotes; a weak one as it is, as it cannot be asked for (RFC 9110, 13.1.1)."""
    return etag if etag.startswith("W/") else etag.strip('"')


class PageReader:
    """Reads a page while it arrives; takes it as a file would.

    Args:
        where: the source, for messages.
        first: whether it is the first one of its listing: what comes instead of a later one is a passing fault.

    Raises (each method):
        NotFoundError: it is something else than a listing.
        BadAnswerError: it is cut, or cannot be right.
        IntegrityError: it is too large.
    """

    def __init__(self, where: str, first: bool = True) -> None:
        self._where, self._first = where, first
        self._restart()

    def _restart(self) -> None:
        self._size = 0
        self._depth = 0
        self._begun = self._in_row = False
        self._name, self._length = "", 0
        self._text: list[str] = []
        self._texts: Texts = {}
        self._row: Texts = {}
        self._rows: list[Row] = []
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._on_document_type
        parser.StartElementHandler, parser.EndElementHandler = self._on_start, self._on_end

    def seek(self, offset: int, /) -> None:
        """Go back to the start: the page is sent again."""
        self._restart()

    def truncate(self) -> None:
        """Part of the protocol of a file; seek() has forgotten everything."""

    def write(self, data: bytes, /) -> None:
        """Take a piece of the page."""
        self._size += len(data)
        if self._size > LARGEST:
            self._too_large(f"the store answers with a page of more than {LARGEST >> 20} MiB")
        self._feed(data, last=False)

    def page(self) -> Page:
        """The page, which has come to its end."""
        self._feed(b"", last=True)
        if self._texts.get("Code"):
            said = ": ".join(filter(None, map(self._texts.get, ("Code", "Message"))))
            raise BadAnswerError("listing", self._where, f"the store answered 200 OK with an error ({said})", _AGAIN)
        texts = {name: text.strip() for name, text in self._texts.items()}
        token, truncated = texts.get("NextContinuationToken", ""), texts.get("IsTruncated", "").lower()
        if truncated not in ("true", "false", ""):
            raise self._bad(f"it says IsTruncated {truncated!r}")
        more = truncated == "true" or (not truncated and bool(token))
        marker = self._texts.get("NextMarker", "")
        if texts.get("EncodingType") == "url":
            rows = [replace(row, key=unquote_plus(row.key)) for row in self._rows]
            return Page(rows, more, token, unquote_plus(marker))
        return Page(self._rows, more, token, marker)

    # Parsing

    def _feed(self, data: bytes, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            if self._begun or error.code in _ENDS_EARLY:
                why = f"its XML is cut or damaged ({error})" if self._size else "it is empty"
                raise self._bad(why) from error
            self._other(f"the answer is not XML ({error})")
        except (ValueError, LookupError) as error:  # of expat, about the encoding
            self._other(f"the answer is not XML that can be read ({error})")

    def _on_document_type(self, name: str, *_: object) -> None:
        if name.lower() == "html":
            self._other("the answer is not XML but an HTML page")
        self._other("the answer is not XML that a store writes: it defines a document type")

    def _on_start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth = depth = self._depth + 1
        name = tag.rpartition(":")[2] if ":" in tag else tag
        if depth == 1:
            self._begin(name)
        elif depth == 2:
            self._in_row = name == "Contents"
            self._take(name if name in _OF_PAGE else "")
        else:
            self._take(name if depth == 3 and self._in_row and name in _OF_ROW else "")

    def _begin(self, root: str) -> None:
        if root.lower() == "html":
            self._other("the answer is not XML but an HTML page")
        if root not in (_ROOT, "Error"):
            self._other(f"the answer is a {root}, not a listing")
        self._begun = True

    def _take(self, name: str) -> None:
        """Keep the text of the element that begins, if it has a name; that of one that it is in is then of no use."""
        self._name = name
        if name:
            self._text, self._length = [], 0
            self._parser.CharacterDataHandler = self._on_text
        else:
            self._parser.CharacterDataHandler = None

    def _on_text(self, text: str) -> None:
        self._length += len(text)
        if self._length > _LONGEST:
            self._too_large(f"the store answers with a {self._name} of more than {_LONGEST:,} characters")
        self._text.append(text)

    def _on_end(self, tag: str) -> None:
        self._depth -= 1
        if self._name:
            into = self._row if self._depth == 2 else self._texts
            into[self._name] = "".join(self._text)
            self._take("")
        elif self._in_row and self._depth == 1:
            self._rows.append(self._finished(self._row))
            self._row, self._in_row = {}, False

    def _finished(self, row: Texts) -> Row:
        key, size = row.get("Key", ""), row.get("Size", "").strip()
        if not key:
            raise self._bad("it has an object without a key")
        if not (size.isascii() and size.isdecimal() and len(size) < _DIGITS):
            raise self._bad(f"it says that {key!r} has {size!r} bytes")
        return Row(key, int(size), bare(row.get("ETag", "").strip()))

    # What is wrong with it

    def _bad(self, why: str) -> BadAnswerError:
        return BadAnswerError("listing", self._where, f"the store's listing cannot be right: {why}", _AGAIN)

    def _other(self, why: str) -> NoReturn:
        if not self._first:
            raise BadAnswerError("listing", self._where, why, _AGAIN)
        raise NotFoundError("listing", self._where, why, "check that the endpoint is an S3 store")

    def _too_large(self, why: str) -> NoReturn:
        raise IntegrityError("listing", self._where, why, "check that the endpoint is an S3 store")


# From page to page

Ask = Callable[[Mapping[str, str]], Page]


def walk(ask: Ask, prefix: str, where: str) -> Iterator[Row]:
    """Every object below a prefix, once.

    Args:
        ask: for the page that these parameters continue at.
        prefix: that every key has to have.
        where: the source, for messages.

    Raises:
        BadAnswerError: the pages lead nowhere, or have other keys than those that were asked for.
        ChangedError: a key came twice, with different objects.
    """
    known, asked, idle = _Known(prefix, where), set[str](), 0
    page = ask({})
    while True:
        rows = [row for row in page.rows if known.takes(row)]
        yield from rows
        if not page.more:
            return
        idle = 0 if rows else idle + 1
        after = page.token or page.marker or (page.rows[-1].key if page.rows else "")
        if not after:
            raise _nowhere(where, "gave no way to continue")
        if after in asked or idle > _IDLE:
            raise _nowhere(where, "continues with what it has listed already")
        asked.add(after)
        page = ask({"continuation-token": page.token} if page.token else {"marker": after, "start-after": after})


def _nowhere(where: str, why: str) -> BadAnswerError:
    return BadAnswerError("listing", where, f"the store cut its listing short and {why}", _AGAIN)


class _Known:
    """The rows that have come, by their hashes. As long as keys come in order, as S3 sends them, each one is new."""

    def __init__(self, prefix: str, where: str) -> None:
        self._prefix, self._where = prefix, where
        self._last = ""
        self._keys, self._rows = array("q"), array("q")
        self._by_key: dict[int, int] | None = None

    def takes(self, row: Row) -> bool:
        """Whether a row is new."""
        if not row.key.startswith(self._prefix):
            why = f"the store lists {row.key!r}, which is not below the prefix {self._prefix!r} that was asked for"
            raise BadAnswerError("listing", self._where, why, _AGAIN)
        key, whole = hash(row.key), hash(row)
        if self._by_key is None and row.key <= self._last:
            self._by_key = dict(zip(self._keys, self._rows, strict=True))
        if self._by_key is None:
            self._keys.append(key)
            self._rows.append(whole)
            self._last = row.key
            return True
        if key not in self._by_key:
            self._by_key[key] = whole
            return True
        if self._by_key[key] != whole:
            raise ChangedError("listing", self._where, f"{row.key!r} is listed twice, as two different objects", _AGAIN)
        return False
