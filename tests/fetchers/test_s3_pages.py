"""S3: listings of many pages and of other stores, and those that cannot be right: nothing is lost, nothing deleted."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from dsload import Network, Report, Secrets, Settings, Source, Target, load
from dsload.errors import BadAnswerError, ChangedError, DsloadError, IntegrityError, NotFoundError
from tests.command import run
from tests.servers.bucket import Bucket, Query, page, refusal, row
from tests.trees import contents

KEYS = Secrets(access_key="AKIAEXAMPLE", secret_key="a-secret-of-some-length")
NAMES = [f"{letter}{number}" for letter in "abc" for number in range(3)]
WHOLE = page("".join(map(row, NAMES)))


@pytest.fixture
def store() -> Iterator[Bucket]:
    """Holds NAMES, and lists them on one page."""
    with Bucket() as server:
        for name in (*NAMES, "c/0"):
            server.add(name, b"data")
        server.listing = lambda query: page(row("c/0")) if query["prefix"] else WHOLE
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def bring(store: Bucket, root: Path, path: str = "", budget: float = 0.1) -> Report:
    source = Source.parse(f"s3://b/{path}", None, {"endpoint": store.url})
    return load(source, Target(root, "set"), KEYS, Settings(Network(workers=4, retry_budget=budget)))


# Ways to continue


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("NextContinuationToken", "t 1+/"), ("NextContinuationToken", "t2")),
        (("NextMarker", "a2"), ("NextMarker", "b2")),
        (None, None),
        (("NextMarker", "a2"), ("NextContinuationToken", "t2")),
    ],
    ids=["tokens", "markers of version 1", "neither", "both"],
)
def test_every_way_to_continue_leads_to_the_end(
    store: Bucket, root: Path, first: tuple[str, str] | None, second: tuple[str, str] | None
) -> None:
    """With neither a token nor a marker, the last key is the marker."""
    rows = ["".join(map(row, NAMES[start : start + 3])) for start in (0, 3, 6)]
    places = {"": 0}
    for number, way, last in ((1, first, "a2"), (2, second, "b2")):
        places[way[1] if way else last] = number

    def listing(query: Query) -> bytes:
        number = places[query.get("continuation-token", query.get("marker", ""))]
        way = (first, second, None)[number]
        return page(rows[number], more="true" if number < 2 else "false", **dict([way] if way else []))

    store.listing = listing
    assert bring(store, root).files.loaded == 9
    assert sorted(contents(root / "set")) == NAMES
    assert len(store.pages()) == 3


def test_a_marker_is_decoded_as_keys_are(store: Bucket, root: Path) -> None:
    def listing(query: Query) -> bytes:
        if query.get("marker") == "a b":
            return page(row(quote_plus("b+")), EncodingType="url")
        return page(row("a+b"), more="true", NextMarker="a+b", EncodingType="url")

    store.listing = listing
    for name in ("a b", "b+"):
        store.add(name, b"data")
    bring(store, root)
    assert sorted(contents(root / "set")) == ["a b", "b+"]


def test_keys_that_a_store_does_not_encode_are_taken_as_they_are(store: Bucket, root: Path) -> None:
    store.listing = lambda query: page(row("a+b%20c"))
    store.add("a+b%20c", b"data")
    bring(store, root)
    assert sorted(contents(root / "set")) == ["a+b%20c"]


def test_a_key_that_is_listed_twice_is_taken_once(store: Bucket, root: Path) -> None:
    """On one page and on two, out of order too."""

    def listing(query: Query) -> bytes:
        if "continuation-token" in query:
            return page(row("b1") + row("a1") + row("c1"))
        return page(row("b1") + row("b1"), more="true", NextContinuationToken="t")

    store.listing = listing
    assert bring(store, root).files.loaded == 3
    assert sorted(contents(root / "set")) == ["a1", "b1", "c1"]


@pytest.mark.parametrize("other", [row("b1", 5), row("b1", 4, "v2")])
def test_a_key_that_is_listed_as_two_objects(store: Bucket, root: Path, other: str) -> None:
    store.listing = lambda query: page(row("b1") + row("c1") + other)
    with pytest.raises(ChangedError, match="'b1' is listed twice, as two different objects"):
        bring(store, root)


def test_empty_pages_are_passed(store: Bucket, root: Path) -> None:
    """A store may skip deleted objects that way."""

    def listing(query: Query) -> bytes:
        number = int(query.get("continuation-token", "0"))
        return WHOLE if number == 20 else page("", more="true", NextContinuationToken=str(number + 1))

    store.listing = listing
    assert bring(store, root).files.loaded == 9


# Listings that cannot be right


HTML = b"<!DOCTYPE html><html><body>We are back soon.</body></html>"
BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 20) for n in range(9))
    + b"]><ListBucketResult><Contents><Key>&j;</Key><Size>1</Size></Contents></ListBucketResult>"
)
EXTERNAL = (
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult><Name>&a;</Name></ListBucketResult>'
)
BAD: dict[str, tuple[bytes, type[DsloadError], str]] = {
    "size": (page(row("a", "abc")), BadAnswerError, "says that 'a' has 'abc' bytes"),
    "negative": (page(row("a", -1)), BadAnswerError, "'-1' bytes"),
    "digits": (page(row("a", "9" * 5000)), BadAnswerError, "bytes"),
    "other digits": (page(row("a", "&#x0663;")), BadAnswerError, "bytes"),
    "no size": (page("<Contents><Key>a</Key></Contents>"), BadAnswerError, "'a' has '' bytes"),
    "no key": (page("<Contents><Size>4</Size></Contents>"), BadAnswerError, "an object without a key"),
    "empty key": (page(row("")), BadAnswerError, "an object without a key"),
    "truncated?": (page(row("a"), more="perhaps"), BadAnswerError, "IsTruncated 'perhaps'"),
    "empty": (b"", BadAnswerError, "it is empty"),
    "space": (b" \n ", BadAnswerError, "cut or damaged"),
    "cut": (WHOLE[:-20], BadAnswerError, "cut or damaged"),
    "cut in a tag": (WHOLE[:300], BadAnswerError, "cut or damaged"),
    "cut early": (WHOLE[:10], BadAnswerError, "cut or damaged"),
    "damaged": (WHOLE.replace(b"</Size>", b"<Size>", 1), BadAnswerError, "cut or damaged"),
    "two": (WHOLE + WHOLE, BadAnswerError, "cut or damaged"),
    "entity": (page(row("a&secret;")), BadAnswerError, "cut or damaged"),
    "error": (refusal("InternalError", "Oh."), BadAnswerError, r"200 OK with an error \(InternalError: Oh\.\)"),
    "html": (HTML, NotFoundError, "not XML but an HTML page"),
    "xhtml": (b"<html><body/></html>", NotFoundError, "not XML but an HTML page"),
    "json": (b'{"message": "hello"}', NotFoundError, "the answer is not XML"),
    "binary": (bytes(range(256)), NotFoundError, "the answer is not XML"),
    "encoding": (b'<?xml version="1.0" encoding="no-such"?>' + WHOLE, NotFoundError, "the answer is not XML"),
    "wide encoding": (b'<?xml version="1.0" encoding="gb2312"?>' + WHOLE, NotFoundError, "the answer is not XML"),
    "other": (b"<ListAllMyBucketsResult/>", NotFoundError, "is a ListAllMyBucketsResult, not a listing"),
    "bomb": (BOMB, NotFoundError, "defines a document type"),
    "external": (EXTERNAL, NotFoundError, "defines a document type"),
    "long": (page(row("a" * 100_000)), IntegrityError, "a Key of more than 16,384 characters"),
    "other prefix": (page(row("c/0") + row("a")), BadAnswerError, "'a', which is not below the prefix 'c/'"),
    "no way": (page("", more="true"), BadAnswerError, "cut its listing short and gave no way to continue"),
    "token": (
        page(row("a0"), more="true", NextContinuationToken="t"), BadAnswerError, "continues with what it has listed",
    ),
    "empty token": (page("", more="true", NextContinuationToken="t"), BadAnswerError, "continues with"),
    "marker": (page(row("a0"), more="true", NextMarker="a0"), BadAnswerError, "continues with"),
    "last key": (page(row("a0"), more="true"), BadAnswerError, "continues with"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "why"), BAD.values(), ids=BAD)
def test_a_listing_that_cannot_be_right_deletes_nothing(
    store: Bucket, root: Path, body: bytes, kind: type[DsloadError], why: str
) -> None:
    path = "c/" if "prefix" in why else ""
    bring(store, root, path)
    before, asked = contents(root / "set"), len(store.pages())
    store.listing = lambda query: body
    with pytest.raises(kind, match=why) as error:
        bring(store, root, path)
    assert "\n" not in str(error.value)
    assert contents(root / "set") == before
    assert len(store.pages()) - asked < 20


@pytest.mark.parametrize("body", [HTML, b"", WHOLE[:-20], b"{}"])
def test_a_later_page_that_is_something_else(store: Bucket, root: Path, body: bytes) -> None:
    bring(store, root)
    before = contents(root / "set")
    first = page(row("a0"), more="true", NextContinuationToken="t")
    store.listing = lambda query: body if "continuation-token" in query else first
    with pytest.raises(BadAnswerError) as error:
        bring(store, root)
    assert error.value.exit_code == 9
    assert contents(root / "set") == before


@pytest.mark.parametrize("body", [HTML, b"", WHOLE[:-20]])
def test_a_page_that_is_bad_once_is_asked_for_again(store: Bucket, root: Path, body: bytes) -> None:
    answers = itertools.chain([body], itertools.repeat(WHOLE))
    first = page(row("a0"), more="true", NextContinuationToken="t")
    store.listing = lambda query: next(answers) if "continuation-token" in query else first
    assert bring(store, root, budget=20).files.total == 9


def test_new_tokens_without_anything_new_end_too(store: Bucket, root: Path) -> None:
    tokens = itertools.count()
    store.listing = lambda query: page(row("a0"), more="true", NextContinuationToken=str(next(tokens)))
    with pytest.raises(BadAnswerError, match="continues with what it has listed already"):
        bring(store, root)


class Large(bytes):
    """200 MiB of rows, made as they are sent."""

    head = b"<ListBucketResult>"
    row = row("a").replace("</Contents>", f"<Owner><ID>{'x' * 4000}</ID></Owner></Contents>").encode()

    def __len__(self) -> int:
        return 200 << 20

    def __getitem__(self, part: slice) -> bytes:  # type: ignore[override]
        start, stop, _ = part.indices(len(self))
        at = (start - len(self.head)) % len(self.row)
        rows = (self.row * ((stop - start) // len(self.row) + 2))[at : at + stop - start]
        return rows if start else self.head + rows[len(self.head) :]


def test_a_page_that_is_larger_than_memory(store: Bucket, tmp_path: Path) -> None:
    store.listing = lambda query: Large()
    options = ("-o", f"endpoint={store.url}", "-o", "anonymous=true", "--retry-budget", 5)
    done = run("ls", "s3://b", *options, wrap=lambda argv: ["prlimit", f"--data={300 << 20}", *argv])
    assert done.code == 5
    (line,) = done.errors
    assert "the store answers with a page of more than 64 MiB" in line
