"""Lines that the tools print, and headers as the RFCs have them."""

import base64
import hashlib

import pytest

from dsload.fetchers.http.sums import header_digest, parse_single_sum, parse_sums

A, B = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()


@pytest.mark.parametrize(
    ("line", "sums"),
    [
        (f"{A}  a.bin", {"a.bin": A}),
        (f"{A} *a.bin", {"a.bin": A}),
        (f"{A.upper()}  a.bin\r", {"a.bin": A}),
        (f"{A}  ./sub/a b.bin ", {"sub/a b.bin ": A}),
        (f"{A}   a.bin", {" a.bin": A}),
        (f"{A}  *a.bin", {"*a.bin": A}),
        (f"{A} a.bin", {"a.bin": A}),
        (f"{A}\ta.bin", {"a.bin": A}),
        (f"\\{A}  new\\nline\\\\\\r", {"new\nline\\\r": A}),
        (f"{A}  new\\nline", {"new\\nline": A}),
        (f"\\{A}  bad\\tescape", {}),
        (f"\\{A}  bad\\", {}),
        (f"SHA256 (a (1).bin) = {A}", {"a (1).bin": A}),
        (f"\\SHA256 (a\\\\b) = {A}", {"a\\b": A}),
        (f"SHA256(./a.bin)= {A}", {"a.bin": A}),
        (f"SHA2-256(a.bin)= {A}", {"a.bin": A}),
        (f"SHA512 (a.bin) = {A}", {}),
        (f"{A[1:]}  a.bin", {}),
        (f"{A}0  a.bin", {}),
        (f"{A}  ", {}),
        (f"# {A}  a.bin", {}),
        (A, {}),
        ("", {}),
    ],
)
def test_sums_line(line: str, sums: dict[str, str]) -> None:
    assert parse_sums(line) == sums
    assert parse_sums(f"-----BEGIN PGP SIGNED MESSAGE-----\n\n{B}  b\n{line}\n") == {"b": B, **sums}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (A, A),
        (f"\n{A.upper()}\r\n", A),
        (f"{A}  a.bin\n", A),
        (f"{A}  build/out/a.bin\n", A),
        (f"{A} */abs/a.bin\n", A),
        (f"SHA256 (a.bin) = {A}\n", A),
        (f"{A}  -\n", A),
        (f"{B}  old/a.bin\n{A}  a.bin\n", A),
        (f"{B}  b.bin\n{A}  x/a.bin\n", A),
        (f"{B}  old/a.bin\n{A}  new/a.bin\n", None),
        (f"{A}  b.bin\n", None),
        (f"{A}  xa.bin\n", None),
        (A[:32], None),
        ("<html>", None),
        ("", None),
    ],
)
def test_single_sum(text: str, value: str | None) -> None:
    assert parse_single_sum(text, "a.bin") == value


def test_single_sum_of_a_name_in_a_folder() -> None:
    assert parse_single_sum(f"{A}  a.bin", "sub/a.bin") == A
    assert parse_single_sum(f"{B}  a.bin\n{A}  sub/a.bin", "sub/a.bin") == A


# RFC 9530, appendix B: the representation {"hello": "world"} and a line feed
WORLD = b'{"hello": "world"}\n'
SHA = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="
MD5 = base64.b64encode(hashlib.md5(WORLD).digest()).decode()
SHA256_HEX, MD5_HEX = hashlib.sha256(WORLD).hexdigest(), hashlib.md5(WORLD).hexdigest()
OTHER = base64.b64encode(hashlib.sha256(b"other").digest()).decode()


@pytest.mark.parametrize(
    ("headers", "whole", "part"),
    [
        ({"repr-digest": f"sha-256=:{SHA}:"}, "sha256", "sha256"),
        ({"repr-digest": f"sha-512=:{SHA}:, sha-256=:{SHA}:;q=1"}, "sha256", "sha256"),
        ({"digest": f"SHA-256={SHA},MD5={MD5}"}, "sha256", "sha256"),
        ({"digest": f"MD5={MD5}, sha-256={SHA}"}, "sha256", "sha256"),
        ({"digest": f"md5={MD5},unixsum=30637"}, "md5", "md5"),
        ({"content-digest": f"sha-256=:{SHA}:"}, "sha256", None),
        ({"content-md5": MD5}, "md5", None),
        ({"content-md5": MD5, "digest": f"SHA-256={SHA}"}, "sha256", "sha256"),
        ({"content-md5": MD5, "repr-digest": f"sha-512=:{SHA}:"}, "md5", None),
        ({"repr-digest": f"sha-256=:{SHA}:", "content-digest": f"sha-256=:{OTHER}:"}, "sha256", "sha256"),
        ({"repr-digest": f"sha-256=:{MD5}:"}, None, None),
        ({"repr-digest": "sha-256=:***:", "content-md5": "é"}, None, None),
        ({"digest": f"SHA-256={SHA[:-1]}"}, None, None),
        ({"digest": f"SHA-256={SHA256_HEX}", "content-md5": MD5_HEX}, None, None),
        ({"digest": "SHA-256", "repr-digest": "", "content-md5": ""}, None, None),
        ({"etag": SHA}, None, None),
    ],
)
def test_header_digest(headers: dict[str, str], whole: str | None, part: str | None) -> None:
    value = {"sha256": ("sha256", SHA256_HEX), "md5": ("md5", MD5_HEX)}
    assert header_digest(headers, whole=True) == (value[whole] if whole else None)
    assert header_digest(headers, whole=False) == (value[part] if part else None)
