"""A store of one bucket whose listings are written by the test: pages as other stores make them, or none at all."""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from tests.servers.fault import FaultServer, answer_file
from tests.servers.orders import Body, Fault, File
from tests.servers.threaded import Request

BUCKET = "b"
Query = Mapping[str, str]


class Bucket(FaultServer):
    """Serves the objects that are put, and pages that `listing` makes of the query; orders come first, as always.

    Attributes:
        listing: makes a page.
    """

    def __init__(self) -> None:
        super().__init__(index=False)
        self.listing: Callable[[Query], Body] = lambda query: b""

    def add(self, key: str, data: Body, etag: str = '"v1"', **headers: str) -> None:
        """Have an object; ``_`` in the name of a header means ``-``."""
        self.put(f"/{BUCKET}/{key}", data, etag=etag, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def pages(self) -> list[Query]:
        """The queries of the pages that were asked for so far."""
        return [query(request) for request in self.requests(f"/{BUCKET}/")]

    def _answer(self, path: str, request: Request, fault: Fault):  # type: ignore[no-untyped-def]
        if path == f"/{BUCKET}/" and fault.status is None:
            return answer_file(File(self.listing(query(request)), None, None, {}), request.headers)
        return super()._answer(path, request, fault)


def query(request: Request) -> Query:
    """The query of a request."""
    return dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))


def row(key: str, size: object = 4, etag: str = "v1") -> str:
    """An object in a page."""
    return f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;{etag}&quot;</ETag></Contents>"


def page(rows: str, *, more: str = "false", **texts: str) -> bytes:
    """A page of a listing; `texts` are further elements."""
    further = "".join(f"<{name}>{text}</{name}>" for name, text in texts.items())
    return f"<ListBucketResult>{rows}<IsTruncated>{more}</IsTruncated>{further}</ListBucketResult>".encode()


def refusal(code: str, message: str = "", **texts: str) -> bytes:
    """The body of an error."""
    further = "".join(f"<{name}>{text}</{name}>" for name, text in texts.items())
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{further}</Error>".encode()
