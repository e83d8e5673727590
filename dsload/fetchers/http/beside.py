"""Checksums that lie beside the files of an index: SHA256SUMS, and NAME.sha256."""

from dataclasses import replace

from dsload.fetchers.http.files import HttpFiles
from dsload.fetchers.http.login import Login
from dsload.fetchers.http.sums import parse_single_sum, parse_sums
from dsload.formats.text import decoded
from dsload.listing import Checksum, Entry, Response
from dsload.secrets import logger
from dsload.source import Source
from dsload.transfer.client import Client

log = logger(__name__)

_SUMS = frozenset({"SHA256SUMS", "SHA256SUMS.txt", "sha256sums.txt"})


def with_sums(entries: list[Entry], client: Client, source: Source, login: Login, files: HttpFiles) -> list[Entry]:
    """The entries, with the checksums that others of them state.

    What an exclude pattern names is not read. What is only not included is read, and need not be readable.

    Args:
        entries: of an index.
        client: to ask by.
        source: with the filter.
        login: says who refuses them.
        files: their reader.

    Raises:
        DsloadError: a file of checksums that is to be loaded cannot be read.
    """
    by_path = {entry.path: i for i, entry in enumerate(entries)}
    may_read = replace(source.filter, include=())
    sums = [entry for entry in entries if may_read(entry.path) and _is_sums(entry.path, by_path)]
    pages = client.fetch_all((files.request(entry) for entry in sums), "reading the checksums", str(source))
    for entry, page in zip(sums, pages, strict=True):
        folder, slash, _ = entry.path.rpartition("/")
        for child, value in _stated(entry, page, source, login, files).items():
            if (i := by_path.get(folder + slash + child)) is not None:
                entries[i] = replace(entries[i], checksum=Checksum("sha256", value))
    return entries


def _is_sums(path: str, by_path: dict[str, int]) -> bool:
    of = path.removesuffix(".sha256")
    return path.rpartition("/")[2] in _SUMS or (of != path and of in by_path)


def _stated(entry: Entry, page: Response, source: Source, login: Login, files: HttpFiles) -> dict[str, str]:
    """What a file of checksums states, by name."""
    where = f"{entry.path} of {source}"
    bad = login.refused(page, "listing", where) if page.status >= 300 else files.objection(entry, page)
    if bad and source.filter(entry.path):
        raise bad
    if bad:
        log.warning("%s: it cannot be read (%s), so its checksums are not used", where, bad.why)
        return {}
    name, text = entry.path.rpartition("/")[2], _text(page.body)
    if name in _SUMS:
        return parse_sums(text)
    of = name.removesuffix(".sha256")
    single = parse_single_sum(text, of)
    return {of: single} if single else {}


def _text(body: bytes) -> str:
    """The text of a file of checksums, in which the names of files may be any bytes."""
    try:
        return decoded(body)
    except ValueError:
        return body.decode("utf-8", "surrogateescape")
