"""What to load, as the user names it: a type, a URI, options."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from urllib.parse import parse_qsl, unquote, urlsplit

from dsload.errors import UsageError
from dsload.listing import Filter
from dsload.registry import ANY_NAME, Spec, find
from dsload.secrets import public_uri, redaction, sensitive

SELECTION = frozenset({"include", "exclude", "syncMode"})
DEFAULT_OWNER = 1000  # uid and gid of what is loaded, as of the original data-loader
MOST_SHARDS = 10_000  # processes that share a load
_TENANT = re.compile(r"[sS]3://[\w-]*:[a-z0-9][a-z0-9.-]+(?:/[^@]*)?")  # and its bucket: not a host and its port
_GO_QUOTED = re.compile(  # what Go's strconv.Quote writes
    r'"(?:[^"\\\n]|\\(?:[abfnrtv\\"]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))*"', re.I
)


@dataclass(frozen=True, slots=True)
class Source:
    """A source as dsload loads it; make one with `Source.parse`.

    Args:
        spec: its type's row in the registry.
        uri: as given or, if its type prefers another form, in that.
        options: the source's own, from query and `-o`, without include, exclude and syncMode.
        config: what its type read in URI and options: a frozen dataclass of its own.
        filter: include and exclude patterns.
        sync: whether files that the source no longer has are deleted from the target.
        fallback: who else has the same, for when the source's own server cannot be reached.
        undivided: what makes a load of it one for a single process, "" if nothing does.
        hidden: values of the URI and the options that are never to be shown.
    """

    spec: Spec = field(repr=False)
    uri: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    config: object = field(default=None, repr=False)
    filter: Filter = field(default_factory=Filter)
    sync: bool = True
    fallback: "Source | None" = None
    undivided: str = ""
    hidden: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _decides: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, uri: str, type: str | None = None, options: Mapping[str, str] | None = None) -> "Source":
        """Read a URI and its options; TYPE wins over the scheme, options win over the query.

        Raises:
            UsageError: an unknown type, scheme or option, or a value that is wrong.
        """
        hidden = _secrets_of(uri, options or {})
        with redaction(*hidden):
            return cls._read(uri, type, options or {}, hidden)

    @classmethod
    def _read(cls, uri: str, type: str | None, options: Mapping[str, str], hidden: tuple[str, ...]) -> "Source":
        _check_form(uri)
        spec = find(type, uri)
        given = {**spec.parameters(uri), **options}
        mode = given.pop("syncMode", "sync") or "sync"
        if mode not in ("sync", "copy"):
            raise UsageError("reading", "option syncMode", f"{mode!r} is neither sync nor copy")
        patterns = Filter(split_patterns(given.pop("include", "")), split_patterns(given.pop("exclude", "")))
        if spec.builds:
            _refuse_selection(patterns, mode)
        read = spec.read(uri, given)
        _check_options(given, spec)
        decides = given if read.decides is None else read.decides
        undivided = spec.type if spec.builds else read.undivided
        fallback, sync = read.fallback, mode == "sync"
        if fallback:
            hidden += fallback.hidden
            fallback = replace(fallback, filter=patterns, sync=sync, fallback=None)
        return cls(spec, read.uri or uri, given, read.config, patterns, sync, fallback, undivided, hidden, decides)

    @property
    def type(self) -> str:
        """The registry's name, such as "S3"."""
        return self.spec.type

    def __str__(self) -> str:
        with redaction(*self.hidden):
            return public_uri(self.uri)

    def at(self, revision: str) -> "Source":
        """The same source, pinned to a revision."""
        options = {**self.options, self.spec.revision_option: revision}
        pinned = Source.parse(self.uri, self.type, options)
        return replace(self, options=pinned.options, config=pinned.config)

    def identity(self) -> str:
        """A digest of what decides the content; equal for two loads of the same source. Holds no secret."""
        uri = urlsplit(self.uri)
        decides = [self.type, uri.scheme, uri.netloc.rpartition("@")[2], uri.path, dict(self._decides)]
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def selection(self) -> str:
        """A digest of what decides which files of the content are loaded, and which are kept."""
        text = json.dumps([list(self.filter.include), list(self.filter.exclude), self.sync])
        return sha256(text.encode()).hexdigest()


def parse_option(text: str) -> tuple[str, str]:
    """Split `key=value`. A value with white space in Go's quotes, as the operator passes it, is unquoted."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError("reading", f"option {text!r}", "it is not of the form key=value")
    return key.strip(), _unquote(value)


def merge_options(options: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Options as a map: repeated include and exclude add up, of any other key the last one wins."""
    merged: dict[str, str] = {}
    for key, value in options:
        if key in ("include", "exclude") and merged.get(key):
            value = f"{merged[key]}\n{value}"
        merged[key] = value
    return merged


def read_flag(name: str, value: str, otherwise: str = "neither true nor false") -> bool:
    """An option that is true or false; false if it is empty. Raises UsageError with `otherwise` if it is neither."""
    if value.lower() in ("", "false", "0", "no"):
        return False
    if value.lower() in ("true", "1", "yes"):
        return True
    raise UsageError("reading", f"option {name}", f"{value!r} is {otherwise}")


def split_patterns(text: str) -> tuple[str, ...]:
    """Patterns separated by commas or new lines."""
    return tuple(part.strip() for part in re.split(r"[,\n]", text) if part.strip())


def _unquote(value: str) -> str:
    if not _GO_QUOTED.fullmatch(value):
        return value
    try:
        plain = str(ast.literal_eval(value))
    except (SyntaxError, ValueError):
        return value
    return plain if re.search(r"\s", plain) else value


def _check_form(uri: str) -> None:
    try:
        _ = urlsplit(uri).port
    except ValueError:
        if _TENANT.fullmatch(uri):
            return
        fix = "write /, @ and [ of a user name or password as %2F, %40 and %5B"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "its host or port cannot be read", fix) from None


def _refuse_selection(patterns: Filter, mode: str) -> None:
    if patterns.include or patterns.exclude:
        raise UsageError("reading", "options include and exclude", "an environment is built as a whole")
    if mode != "sync":
        raise UsageError("reading", "option syncMode", "an environment is replaced as a whole: it cannot be copy")


def _check_options(options: Mapping[str, str], spec: Spec) -> None:
    for key in options if ANY_NAME not in spec.options else ():
        if key not in spec.options:
            known = ", ".join(sorted((*spec.options, *SELECTION)))
            raise UsageError("reading", f"option {key}", f"{spec.type} does not know it", f"its options are: {known}")


def _secrets_of(uri: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The values of a URI and of options that are never to be shown."""
    try:
        parts = urlsplit(uri)
        found = [unquote(parts.password)] if parts.password else []
        query = parse_qsl(parts.query)
    except ValueError:  # _check_form() refuses it, and shows nothing of it
        found, query = [], []
    return tuple(found + [value for key, value in (*options.items(), *query) if value and sensitive(key)])
