"""Sizes and versions of files on a web server. HEAD is a hint; the GET that would bring the bytes has the last word."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from dsload.listing import Entry, Request, Response
from dsload.transfer.client import Client
from dsload.transfer.exchange import never


def ask(client: Client, gets: Sequence[Request], where: str, doubtful: bool) -> list[Response]:
    """The heads of what GET answers, in the order of the requests, of any status.

    Each is asked for by HEAD first. If that is refused, is not answered, or states no size, the file is asked for by a
    GET of its first byte; servers that do not know ranges answer it with all of the file, and are hung up on.

    Args:
        client: to ask by.
        gets: the requests for the files.
        where: the source, for messages.
        doubtful: whether HEAD is not to be believed.

    Raises:
        UnreachableError: nothing came of the GET.
    """
    heads: dict[int, Response] = {}
    if not doubtful:
        requests = [replace(get, method="HEAD") for get in gets]
        answers = client.fetch_all(requests, "asking for", where, once=True)
        heads = {number: head for number, head in enumerate(answers) if _believable(head)}
    rest = [number for number in range(len(gets)) if number not in heads]
    first = ({**gets[number].headers, "Range": "bytes=0-0"} for number in rest)
    requests = [replace(gets[number], headers=headers) for number, headers in zip(rest, first, strict=True)]
    heads.update(zip(rest, client.fetch_all(requests, "asking for", where, body=never), strict=True))
    return [heads[number] for number in range(len(gets))]


def _believable(head: Response) -> bool:
    """Whether the answer to a HEAD is of use: frameworks answer 0 bytes for every file, or send it to a login page."""
    sized = head.headers.get("content-length", "0").strip("0") != ""
    return head.status == 200 and sized and "html" not in head.headers.get("content-type", "").lower()


def learned(entry: Entry, head: Response) -> Entry:
    """An entry with the size and version that a HEAD or a GET of its first byte stated."""
    headers = head.headers
    if head.status in (206, 416):
        length = headers.get("content-range", "").rpartition("/")[2]
    else:
        length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() and "content-encoding" not in headers else -1
    # A young file's ETag is weak with Apache, and the same without W/ a second later.
    version = headers.get("etag", "").removeprefix("W/") or headers.get("last-modified", "")
    return replace(entry, size=size, version=f"{size}-{version}" if version else "")


def is_empty(head: Response) -> bool:
    """Whether a GET of the first byte was refused as there is none (RFC 9110, 15.5.17)."""
    return head.status == 416 and head.headers.get("content-range") == "bytes */0"


def is_folder(asked: str, answer: Response) -> bool:
    """Whether a server has redirected from NAME to NAME/, by which it says that it is a folder."""
    path, answered = urlsplit(asked).path, urlsplit(answer.url).path
    return not path.endswith("/") and unquote(answered) == unquote(path) + "/"
