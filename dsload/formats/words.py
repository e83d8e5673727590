"""The words of a server that refuses: out of the headers and the body of its answer."""

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

LONGEST = 200  # characters
_HEADERS = (("x-error-code", "x-error-message"), ("x-amz-error-code", "x-amz-error-message"))
_CODES = ("code", "error_code", "errorcode", "__type", "error")
_MESSAGES = ("message", "error_message", "errormessage", "error_description", "detail", "msg", "reason", "error")
_XML = {name: re.compile(rf"<(?:\w+:)?{name}>([^<]*)<", re.IGNORECASE) for name in ("Code", "Message")}
_TITLE = re.compile(r"<title[^>]*>([^<]*)<", re.IGNORECASE)
_DEEPEST = 4


def said(headers: Mapping[str, str], body: bytes) -> str:
    """A server's own code and message, as `AccessDenied: Access Denied.`; "" if it states neither.

    XML of S3, JSON of the hubs, of registries and of git's hosts, X-Error-Code and X-Error-Message of Hugging Face, a
    short plain text, or the title of a page that says more than its status.

    Args:
        headers: of the answer, names in lower case.
        body: of the answer, or its beginning.

    Returns:
        printable text of at most LONGEST characters. Whoever shows it takes secrets out.
    """
    for code, message in _HEADERS:
        if headers.get(code) or headers.get(message):
            return _line(headers.get(code, ""), headers.get(message, ""))
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    text = body.decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")):
        return _line(*_of_json(text))
    if "html" in media_type or text[:15].lower().startswith(("<!doctype html", "<html")):
        title = _TITLE.search(text)
        return "" if title is None or re.match(r"\s*\d{3}\b", title[1]) else _line("", unescape(title[1]))
    if text.startswith("<"):
        code, message = (found[1] if (found := _XML[name].search(text)) else "" for name in ("Code", "Message"))
        return _line(unescape(code), unescape(message))
    return _line("", text) if media_type.startswith("text/plain") else ""


def _of_json(text: str) -> tuple[str, str]:
    try:
        maps = list(_maps(json.loads(text)))
    except (ValueError, RecursionError):
        return "", ""
    code = next(filter(None, (_value(each, _CODES) for each in maps)), "")
    message = next(filter(None, (_value(each, _MESSAGES) for each in maps)), "")
    return ("" if code == message else code), message


def _maps(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The maps of a JSON value, the outer ones first; `errors` of registries is a list of them."""
    if isinstance(value, dict) and depth < _DEEPEST:
        yield {str(name).lower(): each for name, each in value.items()}
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in below if depth < _DEEPEST else ():
        yield from _maps(each, depth + 1)


def _value(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    values = (found.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)), "")


def _line(code: str, message: str) -> str:
    code, message = _printable(code), _printable(message)
    line = f"{code}: {message}" if code and message and code != message else code or message
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _printable(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
