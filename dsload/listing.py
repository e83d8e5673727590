"""What a source holds, as data: entries, their checksums, and how to get their bytes.

The bottom layer: fetchers make a Listing, plan and transfer read it.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from dsload.errors import DsloadError

ALGORITHMS = ("sha256", "sha1", "md5", "crc32", "crc32c", "crc64nvme", "gitblob", "gitblob256")

_COMPRESSED = (
    ".gz", ".tgz", ".taz", ".gzip", ".z", ".zst", ".tzst", ".br", ".bz2", ".xz", ".txz", ".lz4", ".svgz",
)  # fmt: skip
_CHECKSUM = re.compile(r"(?P<algorithm>[a-z0-9]+)(?:/(?P<part>\d*))?:(?P<value>[0-9a-f]+)(?:-(?P<count>\d+))?")


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum as a source states it.

    Args:
        algorithm: one of ALGORITHMS.
        value: the digest in lower-case hex.
        parts: 0 for a digest of the whole file; else the number of parts whose digests' digest this is
            (the composite checksums and multipart ETags of S3).
        part_size: bytes of each such part but the last, which has the rest; 0 if it is not known yet.
        hint: what states it, if that may be something else than a checksum, such as "the ETag of https://host": content
            that comes alike twice counts for more. "" for what can only be a checksum.
    """

    algorithm: str
    value: str
    parts: int = 0
    part_size: int = 0
    hint: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.parts:
            return f"{self.algorithm}/{self.part_size}:{self.value}-{self.parts}"
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what str() wrote: `sha256:ab…`, or `md5/8388608:ab…-12` for a composite one."""
        match = _CHECKSUM.fullmatch(text)
        if not match or match["algorithm"] not in ALGORITHMS:
            raise ValueError(f"not a checksum: {text!r}")
        return cls(match["algorithm"], match["value"], int(match["count"] or 0), int(match["part"] or 0))


@dataclass(frozen=True, slots=True)
class SigV4:
    """Keys that sign a request as AWS Signature Version 4 at the moment it is sent."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Its headers and keys are for its host alone: a redirect elsewhere drops them.

    Args:
        url, method, headers: what is sent.
        sign: keys to sign it with.
        stand_in: turns a URL that a redirect leads to into the one to ask instead, so that a mirror is not left for the
            site that it mirrors.
        body: of a POST.
        then: turns a good answer into the next request, if the place of what is wanted has to be asked for first.
        refused: called when the place answers 401, 403, 404 or 410, as it does once a signature or a token has expired;
            whether the reader is to be asked for another.
        stored: whether an encoding that the answer names belongs to the file; if not, it is undone.
        encoding: that is asked for.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sign: SigV4 | None = None
    stand_in: Callable[[str], str] | None = None
    body: bytes = field(default=b"", repr=False)
    then: "Callable[[Response], Request] | None" = None
    refused: Callable[[], object] | None = None
    stored: bool = False
    encoding: str = "identity"


@dataclass(frozen=True, slots=True)
class Response:
    """What came back.

    Args:
        url: the one that answered, after redirects.
        status, body: of the answer.
        headers: names in lower case; the values of one that is repeated are joined by commas (RFC 9110, 5.3). If the
            body comes decoded, Content-Encoding says so, and what is stated of its encoded form is left out.
        redirected: whether a redirect led to another host on the way.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    redirected: bool = False


class HttpReader:
    """Bytes over HTTP, fetched by the engine. A subclass writes `request()`; the rest has defaults.

    Attributes:
        ranges: whether the engine may ask for ranges; False if every file is to be read in one stream.
    """

    __slots__ = ()
    ranges: bool = True

    def prepare(self, entries: "Sequence[Entry]") -> None:
        """Called once before the first byte is read, with all entries that will be.

        Raises:
            DsloadError: some of them cannot be read.
        """

    def request(self, entry: "Entry") -> Request:
        """The GET for an entry, to which the engine adds Range, If-Match and If-Range.

        Called for each request, so that signatures and tokens never go stale.
        """
        raise NotImplementedError

    def keeps_encoding(self, entry: "Entry") -> bool:
        """Whether an encoding that an answer names belongs to the file, as gzip does to a `.tar.gz`."""
        return entry.path.lower().endswith(_COMPRESSED)

    def head(self, entry: "Entry", part: int = 0) -> Request | None:
        """The HEAD whose answer states an entry's checksum, sent before its parts are fetched; None to send none.

        With part=1 and more: the HEAD whose Content-Length is the size of that part of a composite checksum.
        """
        return None

    def stated(self, entry: "Entry", response: Response) -> Checksum | None:
        """The checksum of the whole file, if a response's headers state it."""
        return None

    def objection(self, entry: "Entry", response: Response) -> DsloadError | None:
        """Why a good answer is not the file all the same; None if it may be."""
        return None

    def passes(self, entry: "Entry", response: Response, attempt: int) -> bool:
        """Whether a response of 300 and more is worth another request at this source, whatever its status says: because
        the reader asks differently from now on, with renewed credentials for one.

        Args:
            entry: that was asked for.
            response: to a GET or HEAD.
            attempt: how many requests there were before.
        """
        return False

    def explain(self, entry: "Entry", response: Response) -> DsloadError | None:
        """The error that a response of 300 and more means at this source; None if its status says it all."""
        return None


class BytesReader:
    """Bytes by call: any fsspec filesystem, or content at hand. A subclass writes `read()`; the rest has defaults.

    Attributes:
        ranges: whether a file may be read in ranges; False if it is to be read in one stream.
        waits: whether a read waits for something; False if the bytes are at hand, so that reading many files at a time
            gains nothing.
    """

    __slots__ = ()
    ranges: bool = True
    waits: bool = True

    def prepare(self, entries: "Sequence[Entry]") -> None:
        """Called once before the first byte is read, with all entries that will be.

        Raises:
            DsloadError: some of them cannot be read.
        """

    def read(self, entry: "Entry", start: int, end: int) -> bytes:
        """Bytes start to end (exclusive) of an entry. Any thread may call."""
        raise NotImplementedError


Reader = HttpReader | BytesReader


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symlink of a listing. A million of them have to fit in memory: share strings.

    Args:
        path: relative to the source, with `/`.
        size: bytes; -1 if the source does not state it before the end.
        version: what changes whenever the content does: an ETag, a commit, size and time.
        reader: how to get its bytes; one object shared by many entries.
        key: the source's own name for it, if that is not the path.
        checksum: if the listing states it (else the response may).
        executable: whether the source marks it so.
        symlink: the target, for a symlink.
        directory: whether it is an (empty) directory.
    """

    path: str
    size: int
    version: str
    reader: Reader
    key: str = ""
    checksum: Checksum | None = None
    executable: bool = False
    symlink: str | None = None
    directory: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that a source holds at one revision.

    Args:
        entries: all that the filter selects, and whatever else was listed on the way.
        revision: the commit that a branch, tag or revision stood for.
        server: who listed it, if a source can come from several.
        left_out: paths that an option of the source leaves out, as a filter would.
        closed: folders that a pattern excludes by their own name, and that could not be opened: as if all below them
            was excluded.
    """

    entries: list[Entry]
    revision: str | None = None
    server: str = ""
    left_out: frozenset[str] = frozenset()
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """fnmatch patterns on the path relative to the source; a pattern that ends in `/` means all below it."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __call__(self, path: str) -> bool:
        """Whether a path is selected."""
        if self.include and not any(matches(path, pattern) for pattern in self.include):
            return False
        return not any(matches(path, pattern) for pattern in self.exclude)

    def below(self, folder: str) -> bool:
        """Whether anything below a folder may be selected; if not, the folder need not be opened.

        Args:
            folder: its path relative to the source, with or without `/` at its end; "" for the source itself.
        """
        start = folder.rstrip("/") + "/" if folder else ""
        if any(_covers(pattern, start) for pattern in self.exclude):
            return False
        return not self.include or any(_reaches(pattern, start) for pattern in self.include)

    def _reaches_below(self, pattern: str) -> bool:
        """Whether an include pattern may match something in a folder that is opened."""
        folder = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
        return not any(_covers(each, folder + "/") for each in self.exclude) if folder else True

    def unmatched(self, paths: Iterable[str]) -> list[str]:
        """The include patterns that match none of the paths, but for those of folders that are excluded anyway."""
        missing = [pattern for pattern in self.include if self._reaches_below(pattern)]
        for path in paths:
            if not missing:
                break
            missing = [pattern for pattern in missing if not matches(path, pattern)]
        return missing


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches one fnmatch pattern (`*` matches `/` too, as in `hf download`)."""
    return fnmatch.fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)


def _covers(pattern: str, start: str) -> bool:
    """Whether a pattern matches every path that starts so."""
    return pattern.endswith(("*", "/")) and matches(start, pattern)


def _reaches(pattern: str, start: str) -> bool:
    """Whether a pattern may match a path that starts so.

    If a beginning of the pattern matches the start, the rest of the pattern is left for the rest of the path.
    """
    whole = pattern + "*" if pattern.endswith("/") else pattern
    return any(
        fnmatch.fnmatchcase(start, whole[:end])
        for end in range(len(whole) + 1)
        if end < len(whole) or whole.endswith("*")
    )
