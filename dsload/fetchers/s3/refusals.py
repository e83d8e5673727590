"""S3's error codes, and those of the stores that speak its protocol: what each means, and what helps against it.

"Error responses" of the Amazon S3 API reference; the error codes of OSS, COS and TOS.
"""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from dsload.errors import DsloadError, NotFoundError, RefusedError
from dsload.listing import Response
from dsload.transfer.retry import refusal

KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)  # the keys themselves are refused
OTHER_REGION = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
NO_PATHS = frozenset(
    {"SecondLevelDomainForbidden", "PathStyleDomainForbidden", "InvalidPathAccess", "VirtualHostDomainRequired"}
)  # of OSS, COS, TOS and OBS: the bucket has to stand before the host
NO_BUCKET = frozenset({"NoSuchBucket", "InvalidBucketName"})
_PASSING = re.compile(
    r"RequestTimeout|SlowDown|Throttl|TooManyRequests|RequestLimitExceeded|ServiceUnavailable|InternalError"
)

_VIRTUAL = re.compile("virtual[- ](?:host|style)|third[- ]level domain")
_CHECK_KEYS = "check access-key, secret-key and session-token in the secrets directory"
_CHECK_KMS = "the keys need the permission to decrypt with the object's KMS key (kms:Decrypt), which has to be enabled"
_ADVICE: Mapping[str, str] = {
    "InvalidAccessKeyId": _CHECK_KEYS + ", and that they are of this store",
    "SignatureDoesNotMatch": _CHECK_KEYS + "; or a proxy changes the request on its way",
    "ExpiredToken": "put new temporary keys in the secrets directory",
    "InvalidToken": _CHECK_KEYS,
    "TokenRefreshRequired": "put new temporary keys in the secrets directory",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "RequestExpired": "set the clock of this machine",
    "InvalidObjectState": "restore the object from its archive first, or exclude it",
    "KMSDisabled": _CHECK_KMS,
    "UserDisable": "the account has been closed or has not paid",
    "AllAccessDisabled": "the account or bucket has been closed",
}


def code(answer: Response) -> str:
    """The store's error code, "" if there is none."""
    return element(answer, "Code")


def element(answer: Response, name: str) -> str:
    """The text of an element of an error, "" if there is none."""
    match = re.search(rf"<{name}>([^<>]{{1,200}})</{name}>".encode(), answer.body)
    return match[1].decode("utf-8", "replace").strip() if match else ""


def date_of(answer: Response, header: str) -> float:
    """The time that a header states in seconds since 1970, 0 if it states none."""
    try:
        return parsedate_to_datetime(answer.headers.get(header, "")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def is_passing(answer: Response) -> bool:
    """Whether a refusal heals with time, though its status does not say so: S3's RequestTimeout is a 400."""
    return bool(_PASSING.search(code(answer)))


def region_of(answer: Response) -> str:
    """The region that an answer says the bucket lies in, "" if it does not say."""
    if header := answer.headers.get("x-amz-bucket-region"):
        return header
    if code(answer) not in OTHER_REGION:
        return ""
    expected = re.search(r"expecting '([\w-]+)'", element(answer, "Message"))
    host = re.search(r"\bs3[.-]([a-z]{2}[a-z-]*-\d)\.", element(answer, "Endpoint"))
    return element(answer, "Region") or (expected or host or ("", ""))[1]


def wants_virtual(answer: Response) -> bool:
    """Whether a store wants the bucket before its host."""
    said = element(answer, "Message").lower()
    return code(answer) in NO_PATHS or (answer.status in (400, 403) and bool(_VIRTUAL.search(said)))


def explain(answer: Response, where: str, anonymous: bool) -> DsloadError | None:
    """The one place where S3's error codes become dsload's; None if the status says it all."""
    found, why = code(answer), refusal(answer, "the store").reason
    if found in ("NoSuchKey", "NoSuchVersion", *NO_BUCKET):
        return NotFoundError("reading", where, why, "check the URI")
    if is_passing(answer) or answer.status >= 500:
        return None
    if found in OTHER_REGION:
        region = region_of(answer)
        place = f" in {region}: give -o region={region}" if region else " in another region: give -o region="
        endpoint = f", and its endpoint ({named})" if (named := element(answer, "Endpoint")) else ""
        return RefusedError("reading", where, why, f"the bucket lies{place}{endpoint}")
    if wants_virtual(answer):
        return RefusedError("reading", where, why, "give -o addressingStyle=virtual")
    if fix := _ADVICE.get(found) or _by_message(found, answer):
        return RefusedError("reading", where, why, fix + _clocks(found, answer))
    if answer.status in (401, 403) or found == "AccessDenied":
        fix = (
            "no credentials were found: put access-key and secret-key in the secrets directory"
            if anonymous
            else "check that these keys may list and read it"
        )
        return RefusedError("reading", where, why, fix)
    return None


def _by_message(found: str, answer: Response) -> str:
    message = element(answer, "Message").lower()
    if found.startswith("KMS") or "kms" in message:
        return _CHECK_KMS
    if found == "InvalidRequest" and "encryption" in message:
        return "the object is encrypted with a key of its owner (SSE-C), which dsload cannot give"
    if "requester pays" in message or "x-amz-request-payer" in message:
        return "the bucket is paid for by who reads it: give -o requesterPays=true"
    return ""


def _clocks(found: str, answer: Response) -> str:
    """How far the clocks are apart, if that is what was refused."""
    if not found.startswith("RequestTimeToo") or not (theirs := date_of(answer, "date")):
        return ""
    ahead = time.time() - theirs
    return f": it is {abs(ahead) / 60:,.0f} minutes {'ahead of' if ahead > 0 else 'behind'} the store's"
