"""S3 and every store that speaks its protocol: ListObjectsV2 and GET, signed by libcurl as they are sent.

Protocol: the Amazon S3 API reference (ListObjectsV2, GetObject, HeadObject, "Checking object integrity").
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import quote

from dsload.errors import (
    ChangedError,
    DsloadError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from dsload.fetchers.base import Context
from dsload.fetchers.s3.pages import Page, PageReader, walk
from dsload.fetchers.s3.spec import S3Config, read_endpoint
from dsload.listing import Checksum, Entry, HttpReader, Listing, Request, Response, SigV4
from dsload.secrets import Secrets, hide
from dsload.source import Source
from dsload.transfer.exchange import Sink
from dsload.transfer.retry import Failure, status_text, to_error

DEFAULT_REGION = "us-east-1"
_CHECKSUMS = {
    "sha256": 32,
    "crc64nvme": 8,
    "crc32c": 4,
    "crc32": 4,
    "sha1": 20,
}  # in order of preference, bytes
_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART = re.compile(r"([0-9a-f]{32})-(\d+)")
_BUCKET_FOR_HOST = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_KEYS_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)

Keys = Callable[[], tuple[str, str, str] | None]


class S3:
    """A bucket, a prefix in it that ends at a `/`, or one object."""

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._client = source, context.client
        config = cast(S3Config, source.config)
        self._bucket, self._path = config.bucket, config.path
        chain = _Chain(config, context.secrets, context.client.network.ca_bundle)
        self._keys: Keys = (lambda: None) if config.anonymous else chain.keys()
        self._region = chain.region()
        self._given = chain.endpoint_given
        self._endpoint = chain.endpoint(self._region)
        on_aws = not self._given and bool(_BUCKET_FOR_HOST.fullmatch(self._bucket))
        self._virtual = config.style == "virtual" or (config.style == "auto" and on_aws)

    def list(self) -> Listing:
        """Every object below the prefix, or the one object of this very name."""
        if not self._path or self._path.endswith("/"):
            return Listing(list(self._pages(self._path)))
        try:
            entries, refused = list(self._pages(self._path + "/")), None
        except RefusedError as error:  # these keys may still read the one object
            entries, refused = [], error
        if entries:
            return Listing(entries)
        entry = self._object(refused)
        return Listing([entry] if entry else [])

    # Listing

    def _pages(self, prefix: str) -> Iterator[Entry]:
        if ":" in self._bucket:
            raise self._no_bucket()
        reader = self._reader(prefix)

        def ask(place: Mapping[str, str]) -> Page:
            return self._client.insist(partial(self._page, prefix, place))

        for row in walk(ask, prefix, str(self._source)):
            if entry := _entry(row.key.removeprefix(prefix), row.size, row.etag, reader):
                yield entry

    def _page(self, prefix: str, place: Mapping[str, str]) -> Page:
        reader = PageReader(str(self._source), first=not place)
        self._ask("", {"encoding-type": "url", "list-type": "2", "prefix": prefix, **place}, reader)
        return reader.page()

    def _object(self, refused: RefusedError | None) -> Entry | None:
        """The object of this very name. If it does not exist and the listing was refused, raises that refusal."""
        folder, _, name = self._path.rpartition("/")
        reader = self._reader(folder + "/" if folder else "")
        answer = self._client.fetch(self._request(self._path, {}, "HEAD"), "looking for", str(self._source))
        if answer.status >= 300 and refused:
            raise refused
        if answer.status == 404:
            return None
        self._good(answer)
        size = answer.headers.get("content-length", "")
        etag = answer.headers.get("etag", "").strip('"')
        return Entry(name, int(size) if size.isdigit() else -1, etag, reader)

    def _ask(self, key: str, query: Mapping[str, str], into: Sink) -> Response:
        answer = self._client.fetch(self._request(key, query), "listing", str(self._source), into=into)
        region = answer.headers.get("x-amz-bucket-region", "")
        if answer.status in (301, 307, 400, 403) and region and region != self._region and not self._given:
            self._region = region
            self._endpoint = _aws_endpoint(region)
            answer = self._client.fetch(self._request(key, query), "listing", str(self._source), into=into)
        return self._good(answer)

    def _good(self, answer: Response) -> Response:
        if answer.status < 300:
            return answer
        where = str(self._source)
        code = _code(answer)
        if code in ("NoSuchBucket", "InvalidBucketName") or (answer.status == 404 and not code):
            raise self._no_bucket()
        raise explain(answer, where, self._keys() is None) or to_error(_failure(answer), "listing", where)

    def _no_bucket(self) -> NotFoundError:
        why = f"the bucket {self._bucket!r} does not exist at {self._endpoint}"
        fix = f"is {self._bucket!r} a server? Then give -o endpoint=http://{self._bucket} and s3://BUCKET/PATH"
        return NotFoundError("listing", str(self._source), why, fix)

    # Requests

    def _reader(self, prefix: str) -> "S3Objects":
        return S3Objects(self, prefix)

    def _request(self, key: str, query: Mapping[str, str], method: str = "GET") -> Request:
        return self.request(key, query, {}, method)

    def request(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], method: str = "GET") -> Request:
        """A request to the bucket, to be signed with the keys as they are now."""
        keys = self._keys()
        sign = SigV4(keys[0], keys[1], keys[2], self._region) if keys else None
        url = self._base() + quote(key, safe="/~")
        if query:
            url += "?" + "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        return Request(url, method, headers, sign)

    def _base(self) -> str:
        if self._virtual:
            scheme, _, host = self._endpoint.partition("://")
            return f"{scheme}://{self._bucket}.{host}/"
        return f"{self._endpoint}/{self._bucket}/"

    @property
    def hint(self) -> str:
        """What states the MD5 of an object, for Checksum."""
        return f"the ETag that {self._endpoint} gives"

    def explain(self, entry: Entry, answer: Response) -> DsloadError | None:
        """The error that an answer to a GET means."""
        where = f"{entry.path} of {self._source}"
        if _code(answer) == "NoSuchKey":
            return ChangedError(
                "reading", where, "it has disappeared since it was listed", "run the same command again"
            )
        return explain(answer, where, self._keys() is None)


@dataclass(frozen=True, slots=True)
class S3Objects(HttpReader):
    """Reads objects below a prefix, each at the ETag that the listing gave."""

    store: S3
    prefix: str

    def request(self, entry: Entry) -> Request:
        """The GET, which fails if the object was replaced since."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if entry.version:
            headers["If-Match"] = f'"{entry.version}"'
        return self.store.request(self.prefix + (entry.key or entry.path), {}, headers)

    def head(self, entry: Entry, part: int = 0) -> Request | None:
        """The HEAD for the checksums, or with part=1 and more for the size of a part."""
        query = {"partNumber": str(part)} if part else {}
        headers = {"x-amz-checksum-mode": "ENABLED"}
        return self.store.request(self.prefix + (entry.key or entry.path), query, headers, "HEAD")

    def stated(self, entry: Entry, response: Response) -> Checksum | None:
        """`x-amz-checksum-*`, else the ETag if it looks like an MD5."""
        return _header_checksum(response.headers) or _etag_checksum(response.headers, self.store.hint)

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The store's own account of what went wrong."""
        return self.store.explain(entry, response)


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


def _header_checksum(headers: Mapping[str, str]) -> Checksum | None:
    for algorithm, length in _CHECKSUMS.items():
        value, _, parts = headers.get(f"x-amz-checksum-{algorithm}", "").partition("-")
        if not parts and headers.get("x-amz-checksum-type") == "COMPOSITE":
            continue
        try:
            digest = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
        if len(digest) == length and (not parts or parts.isdigit()):
            return Checksum(algorithm, digest.hex(), int(parts or 0))
    return None


def _etag_checksum(headers: Mapping[str, str], hint: str) -> Checksum | None:
    """The MD5 that an ETag may be: a hint. Under SSE-KMS and SSE-C it is not one, and some gateways do not say so."""
    encryption = headers.get("x-amz-server-side-encryption", "")
    if encryption.startswith("aws:") or "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    etag = headers.get("etag", "").strip('"').lower()
    if _MD5.fullmatch(etag):
        return Checksum("md5", etag, hint=hint)
    if match := _MULTIPART.fullmatch(etag):
        return Checksum("md5", match[1], int(match[2]), hint=hint)
    return None


class _Chain:
    """Credentials, region and endpoint: the options and the secret files, else what AWS's own tools would use.

    botocore is imported only where its chain is needed: container, instance, web identity, profiles.
    """

    def __init__(self, config: S3Config, secrets: Secrets, ca_bundle: str | None) -> None:
        self._config, self._secrets, self._ca_bundle = config, secrets, ca_bundle
        self._from_variable = _variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        self.endpoint_given = bool(config.endpoint or self._from_variable)

    def keys(self) -> Keys:
        """A function that returns the keys as they are now; None if there are none."""
        if bool(self._secrets.access_key) != bool(self._secrets.secret_key):
            fix = "the secrets directory needs both files, or neither"
            raise UsageError("reading the secrets", "access-key and secret-key", "only one of them exists", fix)
        if self._secrets.access_key:
            mounted = (self._secrets.access_key, self._secrets.secret_key, self._secrets.session_token)
            return lambda: mounted
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if key and secret:  # the first link of the chain, without botocore's import
            environment = (key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
            hide(secret)
            hide(environment[2])
            return lambda: environment
        return _from_botocore(self._ca_bundle)

    def region(self) -> str:
        """The region to sign for."""
        return self._config.region or _variable("AWS_REGION", "AWS_DEFAULT_REGION") or DEFAULT_REGION

    def endpoint(self, region: str) -> str:
        """The store's URL, without `/` at the end."""
        if not self.endpoint_given:
            return _aws_endpoint(region)
        return self._config.endpoint or read_endpoint(self._from_variable, "variable AWS_ENDPOINT_URL")


def _variable(*names: str) -> str:
    return next(filter(None, map(os.environ.get, names)), "") or ""


def _from_botocore(ca_bundle: str | None) -> Keys:
    import botocore.session

    session = botocore.session.Session()
    if ca_bundle:
        session.set_config_variable("ca_bundle", ca_bundle)
    credentials = _mapped(session.get_credentials)
    if credentials is None:
        return lambda: None

    def current() -> tuple[str, str, str]:
        frozen = _mapped(credentials.get_frozen_credentials)
        hide(frozen.secret_key)
        hide(frozen.token or "")
        return frozen.access_key, frozen.secret_key, frozen.token or ""

    return current


def _mapped(call: Callable[[], Any]) -> Any:
    """The one place where botocore's errors become dsload's."""
    from botocore import exceptions as boto

    doing, where = "looking for", "AWS credentials"
    try:
        return call()
    except (boto.HTTPClientError, boto.CredentialRetrievalError, boto.MetadataRetrievalError) as error:
        raise UnreachableError(doing, where, str(error), "check the service that gives them") from error
    except (boto.ClientError, OSError) as error:
        raise RefusedError(doing, where, str(error), "check the role, its trust and its token") from error
    except boto.BotoCoreError as error:
        raise UsageError(doing, where, str(error), "check the profile and environment") from error


def _aws_endpoint(region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{region}.{domain}"


def explain(answer: Response, where: str, anonymous: bool) -> DsloadError | None:
    """The one place where S3's error codes become dsload's; None if the status says it all."""
    code = _code(answer)
    why = f"the store answered {status_text(answer.status)}" + (f" ({code})" if code else "")
    if code in _KEYS_REFUSED:
        return RefusedError(
            "reading", where, why, "check access-key, secret-key and session-token in the secrets directory"
        )
    if code in ("NoSuchKey", "NoSuchBucket", "NoSuchVersion"):
        return NotFoundError("reading", where, why, "check the URI")
    if answer.status in (401, 403) or code == "AccessDenied":
        fix = (
            "no credentials were found: put access-key and secret-key in the secrets directory"
            if anonymous
            else "check that these keys may list and read it"
        )
        return RefusedError("reading", where, why, fix)
    if code in ("InvalidObjectState",):
        return RefusedError("reading", where, why, "restore the object from its archive first")
    return None


def _code(answer: Response) -> str:
    match = re.search(rb"<Code>([A-Za-z0-9.]{1,80})</Code>", answer.body)
    return match[1].decode() if match else ""


def _failure(answer: Response) -> Failure:
    return Failure(f"the store answered {status_text(answer.status)}", response=answer)
