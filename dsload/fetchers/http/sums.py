"""Checksums that come beside a file over HTTP: sums files and response headers. Pure."""

import base64
import re
from collections.abc import Mapping

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_GNU_LINE = re.compile(rf"(?P<escaped>\\?)(?P<value>{_HEX.pattern})[ \t][ *]?+(?P<name>.+)", re.DOTALL)
_BSD_LINE = re.compile(rf"(?P<escaped>\\?)SHA(?:2-)?256 ?\((?P<name>.+)\) ?= ?(?P<value>{_HEX.pattern})", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}
_LENGTHS = {"sha256": 32, "md5": 16}
_ALGORITHMS = {"sha-256": "sha256", "md5": "md5"}


def parse_sums(text: str) -> dict[str, str]:
    r"""Read a SHA256SUMS file: name -> SHA-256 in lower-case hex.

    Its lines are those of GNU coreutils (`sha256sum`, with `*` for binary and `\` before a line whose name is
    escaped) and of BSD (`SHA256 (name) = hex`: `sha256sum --tag`, `shasum --tag`, and without the blanks
    `openssl dgst`); others are ignored. A leading `./` of a name is removed; its last line counts.
    """
    sums = {}
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        match = _GNU_LINE.fullmatch(line) or _BSD_LINE.fullmatch(line)
        if not match:
            continue
        name = _unescaped(match["name"]) if match["escaped"] else match["name"]
        if name:
            sums[name.removeprefix("./")] = match["value"].lower()
    return sums


def _unescaped(name: str) -> str | None:
    """The name behind coreutils' escapes, None where one is not of theirs."""
    if any(letter not in _ESCAPED for letter in _ESCAPE.findall(name)):
        return None
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], name)


def parse_single_sum(text: str, name: str) -> str | None:
    """Read the `<name>.sha256` beside a file: a bare SHA-256, or a line of a sums file for that name.

    The line's name may differ in its directory; `-` stands for any, being what `sha256sum < file` writes.
    None if nothing is stated for the file, or two different digests are.
    """
    bare = text.strip()
    if _HEX.fullmatch(bare):
        return bare.lower()
    sums = parse_sums(text)
    if name in sums:
        return sums[name]
    last = name.rpartition("/")[2]
    values = {value for path, value in sums.items() if path == "-" or path.rpartition("/")[2] == last}
    return values.pop() if len(values) == 1 else None


def header_digest(headers: Mapping[str, str], whole: bool) -> tuple[str, str] | None:
    """The strongest digest of the whole file that a response states: `sha256` or `md5`, and lower-case hex.

    Repr-Digest and Content-Digest are RFC 9530 (`sha-256=:base64:`), Digest is RFC 3230 (`SHA-256=base64`),
    Content-MD5 is RFC 1864. Malformed values and other algorithms are ignored.

    Args:
        headers: of the response, names in lower case.
        whole: whether its body is the whole file (a 200, not a 206): only then do Content-Digest and
            Content-MD5 describe the file.
    """
    stated: dict[str, str] = {}
    for header in ("repr-digest", "digest", "content-digest") if whole else ("repr-digest", "digest"):
        for member in headers.get(header, "").split(","):
            key, _, value = member.strip().partition("=")
            _add(stated, _ALGORITHMS.get(key.lower()), _bare(value))
    if whole:
        _add(stated, "md5", headers.get("content-md5", "").strip())
    return next(((algorithm, stated[algorithm]) for algorithm in _LENGTHS if algorithm in stated), None)


def _bare(value: str) -> str:
    """The base64 of a byte sequence of RFC 8941, its parameters left out, or of RFC 3230's plain form."""
    return value.partition(";")[0].strip().removeprefix(":").removesuffix(":")


def _add(stated: dict[str, str], algorithm: str | None, value: str) -> None:
    """Note a digest, unless it is malformed or an earlier header stated one."""
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        return
    if algorithm and len(digest) == _LENGTHS[algorithm]:
        stated.setdefault(algorithm, digest.hex())
