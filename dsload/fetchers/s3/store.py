"""A bucket's store: where it is, how it wants to be asked, and who signs. What it answers may change all three."""

import ipaddress
import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote, urlsplit

from dsload.errors import BadAnswerError, DsloadError, NotFoundError
from dsload.fetchers.base import Context
from dsload.fetchers.s3 import refusals
from dsload.fetchers.s3.aws import Aws, variable
from dsload.fetchers.s3.keys import find_keys
from dsload.fetchers.s3.refusals import date_of
from dsload.fetchers.s3.spec import S3Config, read_endpoint
from dsload.formats.words import said
from dsload.listing import Request, Response, SigV4
from dsload.transfer.exchange import Sink, Wanted, always
from dsload.transfer.network import ca_file
from dsload.transfer.retry import refusal, to_error

DEFAULT_REGION = "us-east-1"
CHECKSUMS, IF_MATCH = "x-amz-checksum-mode", "if-match"
_BUCKET_FOR_HOST = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_NO_PATH_HOSTS = re.compile(r"\.(aliyuncs\.com|myqcloud\.com|tencentcos\.(cn|com)|volces\.com)\b", re.IGNORECASE)
_SERVER = re.compile(r".*:\d{1,5}")  # in the bucket's place
_GOOGLES = "x-guploader-uploadid"  # a header of Google's: it unpacks objects for who does not ask for gzip
_SECONDS = 2  # between an object's last change and its listing, below which it may be another by now
_TRIES = 8  # ways of asking, one after the other
_SECOND_TRIES = 3  # at an object, after what an answer teaches, or with keys that worked before and are refused now
_DISPENSABLE = {  # parts of a request that a store may not know, each with the words that blame it
    "list-type": ("list-type", "listtype", "list type", "listobjectsv2", "continuation-token", "start-after"),
    "encoding-type": ("encoding-type", "encodingtype", "encoding type"),
    CHECKSUMS: (CHECKSUMS, "checksummode", "checksum-mode"),
    IF_MATCH: ("if-match",),
}


class Store:
    """A bucket where it is.

    Args:
        config: what is to be read of which store.
        name: of the source, for messages; an attribute too.
        context: of the load.

    Raises:
        DsloadError: the credentials or the set-up of AWS's tools cannot be read.
    """

    def __init__(self, config: S3Config, name: str, context: Context) -> None:
        self._config, self.name, self._client = config, name, context.client
        self._bucket = config.bucket
        region = config.region or variable("AWS_REGION", "AWS_DEFAULT_REGION")
        self._aws = Aws(region, ca_file(context.client.network.ca_bundle))
        self._keys = find_keys(context.secrets, config.anonymous, self._aws)
        self._region = region or self._aws.region() or DEFAULT_REGION
        self._endpoint, self._given = self._find_endpoint()
        self._virtual = self._begins_virtual()
        self._without: set[str] = set()
        self._answered = self._unsigned = False
        self._listed = 0.0  # when, by the store's clock
        self._google = (urlsplit(self._endpoint).hostname or "").endswith(".googleapis.com")

    # Where it is

    def _find_endpoint(self) -> tuple[str, bool]:
        """The store's URL, and whether somebody has named it, rather than AWS for its region."""
        if self._config.endpoint:
            return self._config.endpoint, True
        named = variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        if named and variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").lower() != "true":
            return read_endpoint(named, "variable AWS_ENDPOINT_URL"), True
        url, given = self._aws.endpoint(self._region)
        return read_endpoint(url, "endpoint_url of the AWS profile"), given

    def _begins_virtual(self) -> bool:
        style = self._config.style
        if style == "auto" and not self._config.endpoint:
            style = self._aws.style()
        if style != "auto":
            return style == "virtual"
        forbidden = self._config.forbids_paths or _NO_PATH_HOSTS.search(self._endpoint)
        return bool(not self._given or forbidden) and self._fits_host()

    def _fits_host(self) -> bool:
        """Whether the bucket can stand before the host."""
        try:
            ipaddress.ip_address(urlsplit(self._endpoint).hostname or "")
        except ValueError:
            return bool(_BUCKET_FOR_HOST.fullmatch(self._bucket))
        return False

    def refuse_server(self) -> None:
        """Raise NotFoundError if the bucket can only be a server."""
        if _SERVER.fullmatch(self._bucket):
            raise self._no_bucket()

    @property
    def hint(self) -> str:
        """What states the MD5 of an object, for Checksum."""
        return f"the ETag that {self._endpoint} gives"

    # Requests

    def request(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], method: str = "GET") -> Request:
        """A request to the bucket, signed with the keys as they are now.

        Args:
            key: of an object, "" for the bucket.
            query, headers: without those that this store does not know.
            method: GET or HEAD.
        """
        keys = self._keys.current()
        self._unsigned = keys is None
        sign = SigV4(keys[0], keys[1], keys[2], self._region) if keys else None
        pairs = sorted((name, value) for name, value in query.items() if name not in self._without)
        url = self._base() + quote(key, safe="/~")
        if pairs:
            url += "?" + "&".join(f"{name}={quote(value, safe='~')}" for name, value in pairs)
        fields = {name: value for name, value in headers.items() if name not in self._without}
        if self._config.requester_pays:
            fields["x-amz-request-payer"] = "requester"
        encoding = "gzip" if key and self._google else "identity"
        return Request(url, method, fields, sign, stored=bool(key), encoding=encoding)

    def _base(self) -> str:
        if self._virtual:
            scheme, _, host = self._endpoint.partition("://")
            return f"{scheme}://{self._bucket}.{host}/"
        return f"{self._endpoint}/{quote(self._bucket, safe='')}/"

    def fetch(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None,
        body: Wanted = always, into: Sink | None = None,
    ) -> Response:  # fmt: skip
        """What the store answers to a GET in the end; arguments as of request() and Client.fetch().

        Raises:
            DsloadError: there is no answer, or none that will not heal with time.
        """

        def once() -> Response:
            for attempt in range(_TRIES):
                request = self._client.insist(lambda: self.request(key, query, headers or {}))
                answer = self._client.fetch(request, "listing", self.name, body, into)
                if answer.status < 300 or not (self._learns(answer) or self._renews(answer, attempt)):
                    break
            self._answered = self._answered or answer.status < 300
            self._listed = self._listed or date_of(answer, "date")
            self._google = self._google or _GOOGLES in answer.headers
            if answer.status >= 300 and refusals.is_passing(answer):
                again = "run the same command again"
                raise BadAnswerError("listing", self.name, refusal(answer, "the store").reason, again)
            if answer.status in (401, 403) and not request.sign:
                self._wait_for_role()
            return answer

        return self._client.insist(once)

    def _wait_for_role(self) -> None:
        """Raise BadAnswerError if this is an instance whose role was not ready."""
        if self._keys is not self._aws:
            return
        why = self._aws.late()
        if why or self._aws.current():
            again = "run the same command again"
            raise BadAnswerError("looking for", "AWS credentials", why or "they were not ready", again)

    # What answers teach

    def passes(self, answer: Response, attempt: int) -> bool:
        """Whether an answer of 300 and more to a request for an object is worth another one.

        Args:
            answer: to a GET or HEAD.
            attempt: how many there were before.
        """
        return refusals.is_passing(answer) or self._learns(answer, attempt) or self._renews(answer, attempt)

    def _learns(self, answer: Response, attempt: int = 0) -> bool:
        """Whether an answer says how to ask this store from now on, or how others that are under way should have."""
        if attempt >= _SECOND_TRIES:
            return False
        if answer.status == 412 and self._listed and attempt == 0:
            self._without.add(IF_MATCH)
            return True
        return self._leaves_out(answer) or self._moves(answer) or self._turns_virtual(answer)

    def knows(self, name: str) -> bool:
        """Whether the store knows a part of the protocol, as far as it has said."""
        return name not in self._without

    def unmodified(self) -> Mapping[str, str]:
        """The header for an object as it was before it was listed, which needs no ETag (RFC 9110, 13.1.4)."""
        return {"If-Unmodified-Since": formatdate(self._listed - _SECONDS, usegmt=True)} if self._listed else {}

    def is_older(self, answer: Response) -> bool:
        """Whether an object has not been written to since before it was listed."""
        written = date_of(answer, "last-modified")
        return 0 < written <= self._listed - _SECONDS

    def _leaves_out(self, answer: Response) -> bool:
        """Whether the store does not know a part of the request that can be left out."""
        if answer.status not in (400, 405, 501):
            return False
        text = answer.body.decode("utf-8", "replace").lower()
        sent = ("list-type", "encoding-type") if "prefix=" in answer.url else (CHECKSUMS, IF_MATCH)
        for name in sent:
            if any(words in text for words in _DISPENSABLE[name]):
                self._without.add(name)
                return True
        unknown = next((name for name in sent if name not in self._without), "")
        if answer.status == 501 and unknown and text:
            self._without.add(unknown)
            return True
        return False

    def _moves(self, answer: Response) -> bool:
        """Whether the bucket lies in another region, where these keys may go."""
        region = refusals.region_of(answer)
        if answer.status not in (301, 307, 400, 403) or not region or region == self._region:
            return False
        if self._given and answer.status in (301, 307):
            return False  # its endpoint is another host, which nobody has named
        self._region = region
        if not self._given:
            self._endpoint, _ = self._aws.endpoint(region)
        return True

    def _turns_virtual(self, answer: Response) -> bool:
        """Whether the store wants the bucket before its host."""
        if not refusals.wants_virtual(answer) or self._config.style != "auto" or self._virtual or not self._fits_host():
            return False
        self._virtual = True
        return True

    def _renews(self, answer: Response, attempt: int) -> bool:
        """Whether keys are refused that worked before, and may be others by now."""
        untold = not answer.body and answer.status in (400, 401, 403)  # as answers to HEAD are
        tries = _SECOND_TRIES if refusals.code(answer) in refusals.KEYS else 1 if untold else 0
        if attempt >= tries or not (self._answered and self._keys.renews):
            return False
        self._keys.renew()
        return True

    # What answers mean

    def good(self, answer: Response) -> Response:
        """An answer to a request of a listing, if it is a good one. Raises DsloadError otherwise."""
        if answer.status < 300:
            return answer
        if refusals.code(answer) in refusals.NO_BUCKET or (answer.status == 404 and not refusals.code(answer)):
            raise self._no_bucket(said(answer.headers, answer.body))
        raise self.explain(answer, self.name) or to_error(refusal(answer, "the store"), "listing", self.name)

    def explain(self, answer: Response, where: str) -> DsloadError | None:
        """The error that an answer of 300 and more means, None if its status says it all."""
        return refusals.explain(answer, where, self._unsigned)

    def _no_bucket(self, words: str = "") -> NotFoundError:
        why = f"the bucket {self._bucket!r} does not exist at {self._endpoint}" + (f" ({words})" if words else "")
        fix = f"is {self._bucket!r} a server? Then give -o endpoint=http://{self._bucket} and s3://BUCKET/PATH"
        return NotFoundError("listing", self.name, why, fix)
