"""S3 and every store that speaks its protocol: ListObjectsV2 and GET, signed by libcurl as they are sent.

Protocol: the Amazon S3 API reference (ListObjectsV2, GetObject, HeadObject).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from dsload.errors import ChangedError, DsloadError, RefusedError, UnsafePathError
from dsload.fetchers.base import Context
from dsload.fetchers.s3 import checksums, refusals
from dsload.fetchers.s3.pages import Page, PageReader, bare, walk
from dsload.fetchers.s3.spec import S3Config
from dsload.fetchers.s3.store import CHECKSUMS, IF_MATCH, Store
from dsload.listing import Checksum, Entry, HttpReader, Listing, Request, Response
from dsload.source import Source

_FIRST_BYTE = {"Range": "bytes=0-0"}


class S3:
    """A bucket, a prefix in it that ends at a `/`, or one object."""

    def __init__(self, source: Source, context: Context) -> None:
        config = cast(S3Config, source.config)
        self._name, self._path, self._client = str(source), config.path, context.client
        self._selects = source.filter
        self._store = Store(config, self._name, context)

    def list(self) -> Listing:
        """Every object below the prefix, or the one object of this very name."""
        self._store.refuse_server()
        if not self._path or self._path.endswith("/"):
            return Listing(without_markers(self._below(self._path)))
        try:
            entries, refused = list(self._below(self._path + "/")), None
        except RefusedError as error:  # these keys may still read the one object
            entries, refused = [], error
        if entries:
            return Listing(without_markers(entries))
        entry = self._object(refused)
        return Listing([entry] if entry else [])

    def _below(self, prefix: str) -> Iterator[Entry]:
        reader = S3Objects(self._store, prefix)

        def ask(place: Mapping[str, str]) -> Page:
            return self._client.insist(partial(self._page, prefix, place))

        for row in walk(ask, prefix, self._name):
            if row.key == prefix and not self._selects(""):
                continue
            if entry := _entry(row.key.removeprefix(prefix), row.size, row.etag, reader):
                yield entry

    def _page(self, prefix: str, place: Mapping[str, str]) -> Page:
        reader = PageReader(self._name, first=not place)
        query = {"encoding-type": "url", "list-type": "2", "prefix": prefix, **place}
        self._store.good(self._store.fetch("", query, into=reader))
        return reader.page()

    def _object(self, refused: RefusedError | None) -> Entry | None:
        """The object of this very name, as a GET of its first byte tells of it: a store may refuse HEAD, or answer it
        wrongly. If it does not exist and the listing was refused, raises that refusal.
        """
        folder, _, name = self._path.rpartition("/")
        reader = S3Objects(self._store, folder + "/" if folder else "")
        answer = self._store.fetch(self._path, {}, _FIRST_BYTE, body=lambda response: response.status == 206)
        if answer.status == 416:  # it is empty
            answer = self._store.fetch(self._path, {}, body=lambda response: False)
        if answer.status >= 300 and refused:
            raise refused
        if answer.status == 404 and refusals.code(answer) not in refusals.NO_BUCKET:
            return None
        self._store.good(answer)
        return Entry(name, _size(answer), bare(answer.headers.get("etag", "")), reader)


@dataclass(frozen=True, slots=True)
class S3Objects(HttpReader):
    """Reads objects below a prefix, each at the ETag that the listing gave."""

    store: Store
    prefix: str

    def _key(self, entry: Entry) -> str:
        return self.prefix + (entry.key or entry.path)

    def request(self, entry: Entry) -> Request:
        """The GET, which fails if the object was replaced since."""
        headers = {CHECKSUMS: "ENABLED"}
        if not self.store.knows(IF_MATCH):
            headers |= self.store.unmodified()
        elif entry.version and not entry.version.startswith("W/"):
            headers[IF_MATCH] = f'"{entry.version}"'
        return self.store.request(self._key(entry), {}, headers)

    def head(self, entry: Entry, part: int = 0) -> Request | None:
        """The HEAD for the checksums, or with part=1 and more for the size of a part."""
        if part:
            return self.store.request(self._key(entry), {"partNumber": str(part)}, {}, "HEAD")
        return self.store.request(self._key(entry), {}, {CHECKSUMS: "ENABLED"}, "HEAD")

    def stated(self, entry: Entry, response: Response) -> Checksum | None:
        """`x-amz-checksum-*`, else the ETag if it looks like an MD5."""
        return checksums.stated(response.headers, self.store.hint)

    def keeps_encoding(self, entry: Entry) -> bool:
        """An object is what was stored, whatever encoding its metadata names."""
        return True

    def objection(self, entry: Entry, response: Response) -> DsloadError | None:
        """Why a good answer is another version, if the store was not asked for the ETag that was listed.

        Servers behind one name may have two ETags for an object, or list another than they give.
        """
        etag = bare(response.headers.get("etag", ""))
        if self.store.knows(IF_MATCH) or not entry.version or etag in ("", entry.version):
            return None
        if self.store.is_older(response):
            return None
        why = f"it has the ETag {etag} now, {entry.version} was listed"
        return ChangedError("downloading", f"{entry.path} of {self.store.name}", why, "run the same command again")

    def passes(self, entry: Entry, response: Response, attempt: int) -> bool:
        """Whether the store says how it wants to be asked, or its keys may have been renewed."""
        return self.store.passes(response, attempt)

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The store's own account of what went wrong."""
        where = f"{entry.path} of {self.store.name}"
        if refusals.code(response) == "NoSuchKey":
            why = "it has disappeared since it was listed"
            return ChangedError("reading", where, why, "run the same command again")
        return self.store.explain(response, where)


def _size(answer: Response) -> int:
    """Bytes of an object, -1 if an answer does not say."""
    total = answer.headers.get("content-range", "").rpartition("/")[2] if answer.status == 206 else ""
    total = total or answer.headers.get("content-length", "")
    return int(total) if total.isdecimal() else -1


def _entry(path: str, size: int, etag: str, reader: S3Objects) -> Entry | None:
    """An entry for a key relative to the prefix. A key that ends in `/` is a folder; `a//b` lies at a/b."""
    if path.endswith("/") or not path:
        if size and path:
            return Entry(path, size, etag, reader)  # no name of a file: refused unless it is excluded
        if size:
            why = f"it holds {size:,} bytes under the name of a folder"
            raise UnsafePathError("listing", f"the object {reader.prefix + path!r}", why, "rename it in the bucket")
        folder = "/".join(filter(None, path.split("/")))
        return Entry(folder, 0, "", reader, key=path, directory=True) if folder else None
    plain = "/".join(filter(None, path.split("/"))) if "//" in path or path.startswith("/") else path
    return Entry(plain, size, etag, reader, key="" if plain == path else path)


def without_markers(entries: Iterable[Entry]) -> list[Entry]:
    """Entries without the empty objects that stand for a folder: `a` beside `a/b`, or beside `a/`."""
    found = list(entries)
    empty = {entry.path for entry in found if not (entry.size or entry.directory)}
    markers = {entry.path for entry in found if entry.directory} & empty
    for entry in found if empty else ():
        folder = entry.path
        while folder := folder.rpartition("/")[0]:
            if folder in empty:
                markers.add(folder)
    return [entry for entry in found if entry.directory or entry.path not in markers]
