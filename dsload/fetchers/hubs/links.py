"""The header Link, read as RFC 8288 says: several links in one value, several parameters each, in any case."""

import re
from collections.abc import Iterator

_TARGET = re.compile(r"[\s,]*<([^<>]*)>")
_PARAMETER = re.compile(r'\s*;\s*([^\s=;,"]*)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*))?')
_ESCAPED = re.compile(r"\\(.)")


def links(value: str, relation: str) -> Iterator[str]:
    """The targets of the links of a relation, as they are written; what is not a link is passed over.

    Args:
        value: of the header; several header fields are joined by a comma.
        relation: its name, in lower case.
    """
    position = 0
    while position < len(value):
        if not (target := _TARGET.match(value, position)):
            following = value.find(",", position + 1)
            position = following if following >= 0 else len(value)
            continue
        position, parameters = target.end(), dict[str, str]()
        while parameter := _PARAMETER.match(value, position):
            position = parameter.end()
            parameters.setdefault(parameter[1].lower(), _plain(parameter[2] or ""))  # the first one counts
        if relation in parameters.get("rel", "").lower().split() and "anchor" not in parameters:
            yield target[1].strip()


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text
