"""The commands of shell text, as far as documentation needs a shell: quotes, continuations, pipes, variables."""

import re
import shlex
from collections.abc import Iterator

_SEPARATORS = frozenset("();|&")
_BEFORE_A_COMMAND = frozenset({"!", "do", "else", "elif", "exec", "if", "sudo", "then", "time", "until", "while", "{"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\}|[@?#*$!])")
ANYTHING = "1"  # stands for a variable or a substitution: it is a word, a number, a mode and a revision alike


def commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command, without redirections and assignments; variables are ANYTHING."""
    for line in text.replace("\\\n", " ").splitlines():
        for inner in _SUBSTITUTION.findall(line):
            yield from commands(inner)
        line = _VARIABLE.sub(ANYTHING, _SUBSTITUTION.sub(ANYTHING, line))
        yield from _simple(re.sub(r"(^|\s)#.*", "", line))


def _simple(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    command: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if word[0] in "<>":
            redirected = True
            command = command[:-1] if command[-1:] in (["1"], ["2"]) else command
        elif redirected:
            redirected = False
        elif _SEPARATORS.issuperset(word):
            if command:
                yield command
            command = []
        elif command or not (word in _BEFORE_A_COMMAND or _ASSIGNMENT.match(word)):
            command.append(word)
