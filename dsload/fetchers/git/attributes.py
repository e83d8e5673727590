"""`.gitattributes` as git reads them (gitattributes(5), attr.c): which filter a path has.

Patterns become regular expressions (glob.py). Lines that cannot bear on `filter` are dropped while they are read.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dsload.fetchers.git.glob import compile_pattern
from dsload.secrets import logger

log = logger(__name__)

_LARGEST = 100 << 20  # bytes of a file, and
_LONGEST = 2048  # bytes of a line, from which on git ignores it
_BLANK = b" \t\r\n"
_MACRO = b"[attr]"
_NAME = re.compile(rb"[A-Za-z0-9_.][-A-Za-z0-9_.]*")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abfnrtv"\\]|\\[0-3][0-7]{2})*)"', re.DOTALL)  # quote.c
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_FILTER = b"filter"

Value = bytes | bool | None  # a text, set, unset; None for unspecified
_States = tuple[tuple[bytes, Value], ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line gives to the paths of a pattern; the pattern is None for a macro, whose name is then given.

    Args:
        states: attributes and their values, in order.
        pattern: matches a path below the file's folder, or a macro's None.
        macro: its name.
    """

    states: _States
    pattern: re.Pattern[bytes] | None
    macro: bytes = b""


class Attributes:
    """What the `.gitattributes` files of a tree say.

    Args:
        contents: of the files, by their folder without a `/` at the end, b"" for the root's.
        where: the source's name for messages.
    """

    def __init__(self, contents: Mapping[bytes, bytes], where: str) -> None:
        lines = {folder: [*_read(content, not folder, folder, where)] for folder, content in contents.items()}
        self._macros = {line.macro: line.states for line in lines.get(b"", ()) if line.pattern is None}
        telling = _telling(self._macros)
        self._lines = {folder: [*_rules(found, telling)] for folder, found in lines.items()}

    def filter(self, path: bytes) -> Value:
        """The value of the attribute `filter` for a file."""
        values: dict[bytes, Value] = {}
        folder = path.rpartition(b"/")[0]
        while _FILTER not in values:
            below = path[len(folder) + 1 :] if folder else path
            for line in self._lines.get(folder, ()):
                if line.pattern and line.pattern.fullmatch(below):
                    self._give(line.states, values)
            if not folder:
                break
            folder = folder.rpartition(b"/")[0]
        return values.get(_FILTER)

    def _give(self, states: _States, values: dict[bytes, Value]) -> None:
        """Note what is not known yet: later states come before earlier ones, and a macro before those before it."""
        for name, value in reversed(states):
            if name not in values:
                values[name] = value
                if value is True and name in self._macros:
                    self._give(self._macros[name], values)


def _telling(macros: Mapping[bytes, _States]) -> set[bytes]:
    """The attributes that `filter` depends on: itself, and macros that lead to it."""
    telling = {_FILTER}
    while more := {name for name, states in macros.items() if telling & {each for each, _ in states}} - telling:
        telling |= more
    return telling


def _rules(lines: list[_Line], telling: set[bytes]) -> Iterator[_Line]:
    """The lines that bear on `filter`, the last one first."""
    for line in reversed(lines):
        if line.pattern and telling & {name for name, _ in line.states}:
            yield line


def _read(content: bytes, root: bool, folder: bytes, where: str) -> Iterator[_Line]:
    """The lines of a file; macros are for the root's alone."""
    if len(content) >= _LARGEST:
        log.warning("%s: a .gitattributes of %d MiB is ignored, as git does", where, len(content) >> 20)
        return
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        read = _read_line(line.removesuffix(b"\r").partition(b"\0")[0])
        if read and (root or read.pattern):
            yield read


def _read_line(line: bytes) -> _Line | None:
    """One line; None for a comment, and for one that git ignores."""
    text = line.lstrip(_BLANK)
    if not text or text.startswith(b"#") or len(line) >= _LONGEST:
        return None
    if quoted := read_quoted(text):
        name, rest = quoted
    else:
        name = re.split(rb"[ \t\r\n]", text, maxsplit=1)[0]
        rest = text[len(name) :]
    states = _read_states(rest)
    if states is None:
        return None
    if name.startswith(_MACRO) and name != _MACRO:
        macro = re.split(rb"[ \t\r\n]", name.removeprefix(_MACRO).lstrip(_BLANK), maxsplit=1)[0]
        return _Line(states, None, macro) if _NAME.fullmatch(macro) else None
    pattern = name.partition(b"\0")[0]
    return None if pattern.startswith(b"!") else _Line(states, compile_pattern(pattern))


def read_quoted(text: bytes) -> tuple[bytes, bytes] | None:
    """What a text has in quotes at its start, with escapes as in C, and what follows; None if it has no such start."""

    def plain(escape: re.Match[bytes]) -> bytes:
        code = escape[1]
        return bytes([int(code, 8)]) if len(code) == 3 else _ESCAPED.get(code, code)

    quoted = _QUOTED.match(text)
    return (_ESCAPE.sub(plain, quoted[1]), text[quoted.end() :]) if quoted else None


def _read_states(text: bytes) -> _States | None:
    """Attributes and their values; None if one has a name that git does not take."""
    states: list[tuple[bytes, Value]] = []
    for word in re.split(rb"[ \t\r\n]+", text):
        if not word:
            continue
        name, equals, value = word.partition(b"=")
        bare = name[1:] if name[:1] in (b"-", b"!") else name
        if not _NAME.fullmatch(bare):
            return None
        if bare != name:
            states.append((bare, False if name.startswith(b"-") else None))
        else:
            states.append((bare, value if equals else True))
    return tuple(states)
