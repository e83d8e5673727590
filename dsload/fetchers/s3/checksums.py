"""What a store's headers state of an object's content ("Checking object integrity" of the Amazon S3 user guide)."""

import base64
import binascii
import re
from collections.abc import Mapping

from dsload.listing import Checksum

_LENGTHS = {
    "sha256": 32,
    "crc64nvme": 8,
    "crc32c": 4,
    "crc32": 4,
    "sha1": 20,
}  # in order of preference, bytes
_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART = re.compile(r"([0-9a-f]{32})-(\d+)")


def stated(headers: Mapping[str, str], hint: str) -> Checksum | None:
    """`x-amz-checksum-*`, else the ETag if it looks like an MD5.

    Args:
        headers: of an answer, names in lower case.
        hint: what an ETag is called, for Checksum.
    """
    return _header_checksum(headers) or _etag_checksum(headers, hint)


def _header_checksum(headers: Mapping[str, str]) -> Checksum | None:
    for algorithm, length in _LENGTHS.items():
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
