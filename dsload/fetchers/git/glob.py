"""A pattern of `.gitattributes` as a regular expression (gitignore(5); dir.c and wildmatch.c of git).

Stars are searched from the left and not taken back where a later one can make up for it, so that no pattern takes
more than about the square of a path's length.
"""

import re
import string
from dataclasses import dataclass

_NEVER = re.compile(rb"(?!)")
_SPECIAL = re.compile(rb"[*?\[\\]")
_CLASSES = {
    b"alnum": string.ascii_letters + string.digits, b"alpha": string.ascii_letters, b"blank": " \t",
    b"cntrl": "".join(map(chr, [*range(32), 127])), b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))), b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))), b"punct": string.punctuation, b"space": " \t\n\r",
    b"upper": string.ascii_uppercase, b"xdigit": string.hexdigits,
}  # fmt: skip


class _Malformed(Exception):
    """No path matches it."""


def compile_pattern(pattern: bytes) -> re.Pattern[bytes]:
    """What matches the paths of files below the folder that a pattern is of."""
    if pattern.endswith(b"/"):
        return _NEVER  # directories only
    try:
        if b"/" not in pattern:
            return re.compile(rb"(?:.*/)?" + _translate(pattern), re.DOTALL)
        pattern = pattern.removeprefix(b"/")
        special = _SPECIAL.search(pattern)
        plain = special.start() if special else len(pattern)
        return re.compile(re.escape(pattern[:plain]) + _translate(pattern[plain:]), re.DOTALL)
    except _Malformed:
        return _NEVER


def _translate(pattern: bytes) -> bytes:
    """The regular expression of a pattern in which `*` and `?` do not match a `/`."""
    groups: list[list[bytes]] = [[b""]]  # divided by stars that match `/` too; each holds pieces divided by `*`
    joints: list[_Joint] = []
    at = 0
    while at < len(pattern):
        match pattern[at : at + 1]:
            case b"*":
                joint, at = _stars(pattern, at)
                if joint:
                    joints.append(joint)
                    groups.append([b""])
                else:
                    groups[-1].append(b"")
                continue
            case b"?":
                piece = b"[^/]"
            case b"[":
                piece, at = _bracket(pattern, at + 1)
            case b"\\":
                at += 1
                piece = re.escape(bytes([_byte(pattern, at)]))
            case plain:
                piece = re.escape(plain)
        groups[-1][-1] += piece
        at += 1
    made = _group(groups[0], last=not joints)
    for joint, group in zip(joints[:-1], groups[1:-1], strict=True):
        made += b"(?>" + joint.shortest + _group(group, last=False) + b")"
    return made + (joints[-1].longest + _group(groups[-1], last=True) if joints else b"")


@dataclass(frozen=True, slots=True)
class _Joint:
    """What stands for stars that match `/` too, tried from the shortest or from the longest match on."""

    shortest: bytes
    longest: bytes


_FOLDERS = _Joint(rb"(?:.*?/)??", rb"(?:.*/)?")
_ANYTHING = _Joint(rb".*?", rb".*")


def _stars(pattern: bytes, at: int) -> tuple[_Joint | None, int]:
    """A run of stars, None if it does not match `/`; and the position after what it stands for."""
    end = at
    while pattern[end : end + 1] == b"*":
        end += 1
    following = pattern[end : end + 2]
    if end - at < 2 or not (at == 0 or pattern[at - 1 : at] == b"/"):
        return None, end
    if following[:1] == b"/":
        return _FOLDERS, end + 1
    return (_ANYTHING if following in (b"", b"\\/") else None), end


def _group(pieces: list[bytes], last: bool) -> bytes:
    first, *others = pieces
    ends = b"[^/]*" + others.pop() if last and others else b""
    return first + b"".join(b"(?>[^/]*?" + piece + b")" for piece in others) + ends


def _bracket(pattern: bytes, at: int) -> tuple[bytes, int]:
    """A character class as one of `re`, and the position of its `]`."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    chars: set[int] = set()
    before = -1  # what a range may begin with
    first = True
    while first or pattern[at : at + 1] != b"]":
        first = False
        char = _byte(pattern, at)
        if char == 0x2D and before >= 0 and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1
            if pattern[at : at + 1] == b"\\":
                at += 1
            chars |= set(range(before, _byte(pattern, at) + 1))
            before = -1
        elif char == 0x5B and pattern[at + 1 : at + 2] == b":":
            named, end = _named(pattern, at)
            chars |= named
            before, at = (-1, end) if end > at else (char, at)
        else:
            if char == 0x5C:
                at += 1
                char = _byte(pattern, at)
            chars.add(char)
            before = char
        at += 1
    kept = sorted((set(range(256)) - chars if negated else chars) - {0x2F})
    return (b"[" + b"".join(b"\\x%02x" % each for each in kept) + b"]" if kept else b"(?!)"), at


def _byte(pattern: bytes, at: int) -> int:
    if at >= len(pattern):
        raise _Malformed
    return pattern[at]


def _named(pattern: bytes, at: int) -> tuple[set[int], int]:
    """The bytes of `[:name:]`, and the position of its last one; a mere `[` if it is not of that form."""
    end = pattern.find(b"]", at + 2)
    if end < 0:
        raise _Malformed
    if end - at - 3 < 0 or pattern[end - 1 : end] != b":":
        return {0x5B}, at
    name = pattern[at + 2 : end - 1]
    if name not in _CLASSES:
        raise _Malformed
    return set(_CLASSES[name].encode("latin-1")), end
