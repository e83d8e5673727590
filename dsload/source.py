"""What to load, as the user names it: a type, a URI, options."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from dsload import registry
from dsload.errors import UsageError
from dsload.listing import Filter
from dsload.secrets import public_uri, redaction, sensitive

SELECTION = frozenset({"include", "exclude", "syncMode"})
_GO_QUOTED = re.compile(  # what Go's strconv.Quote writes
    r'"(?:[^"\\\n]|\\(?:[abfnrtv\\"]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))*"', re.I
)


@dataclass(frozen=True, slots=True)
class Source:
    """A source as dsload loads it; make one with `Source.parse`.

    Args:
        type: the registry's name, such as "S3".
        uri: as given, its query included.
        options: the source's own, from query and `-o`, without include, exclude and syncMode.
        filter: include and exclude patterns.
        sync: whether files that the source no longer has are deleted from the target.
        fallback: who else has the same, for when the source's own server cannot be reached.
        hidden: values of the URI and the options that are never to be shown.
    """

    type: str
    uri: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    filter: Filter = field(default_factory=Filter)
    sync: bool = True
    fallback: "Source | None" = None
    hidden: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def parse(cls, uri: str, type: str | None = None, options: Mapping[str, str] | None = None) -> "Source":
        """Read a URI and its options; TYPE wins over the scheme, options win over the query.

        Raises:
            UsageError: an unknown type, scheme, option or value.
        """
        hidden = _secrets_of(uri, options or {})
        with redaction(*hidden):
            return cls._read(uri, type, options or {}, hidden)

    @classmethod
    def _read(cls, uri: str, type: str | None, options: Mapping[str, str], hidden: tuple[str, ...]) -> "Source":
        _check_form(uri)
        spec = registry.find(type, uri)
        _check_uri(uri, spec)
        uri = _one_name(uri) if spec.revision_in_name else uri
        given = dict(options)
        if not spec.query_is_uri:
            given = _query_options(uri, spec) | given
        mode = given.pop("syncMode", "sync") or "sync"
        if mode not in ("sync", "copy"):
            raise UsageError("reading", "option syncMode", f"{mode!r} is neither sync nor copy")
        patterns = Filter(split_patterns(given.pop("include", "")), split_patterns(given.pop("exclude", "")))
        if not spec.any_option:
            _check_options(given, spec)
        second = given.pop("fallback", "") if "fallback" in spec.options else ""
        source = cls(spec.type, uri, given, patterns, mode == "sync", hidden=hidden)
        if not second:
            return source
        fallback = _fallback(source, second)
        return replace(source, fallback=fallback, hidden=hidden + fallback.hidden)

    def __str__(self) -> str:
        with redaction(*self.hidden):
            return public_uri(self.uri)

    @property
    def spec(self) -> registry.Spec:
        """The registry's row of its type."""
        return registry.find(self.type, self.uri)

    def at(self, revision: str) -> "Source":
        """The same source at one revision."""
        return replace(self, options={**self.options, self.spec.revision_option: revision})

    def identity(self) -> str:
        """A digest of what decides the content; equal for two loads of the same source. Holds no secret."""
        spec = registry.find(self.type, self.uri)
        uri = urlsplit(self.uri)
        options = {} if spec.query_is_uri else dict(self.options)
        text = json.dumps([self.type, uri.scheme, uri.netloc.rpartition("@")[2], uri.path, options], sort_keys=True)
        return sha256(text.encode()).hexdigest()

    def undivided(self) -> str:
        """What makes a load of it one for a single process, "" where nothing does."""
        spec = registry.find(self.type, self.uri)
        if spec.builds:
            return self.type
        option = spec.undivided
        return f"{self.type} with {option}" if option and read_flag(option, self.options.get(option, "")) else ""

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
    """An option that is true or false; false where it is empty. Raises UsageError where it is what `otherwise` says."""
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
        fix = "write /, @ and [ of a user name or password as %2F, %40 and %5B"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "its host or port cannot be read", fix) from None


def _check_uri(uri: str, spec: registry.Spec) -> None:
    parts = urlsplit(uri)
    if spec.scp and "://" not in uri:
        return
    if "\0" in uri or not parts.scheme:
        example = f"{spec.schemes[0]}://…" if spec.schemes else "scheme://…"
        raise UsageError("reading", f"URI {uri!r}", f"it has no scheme; {spec.type} takes {example}")
    if spec.schemes and parts.scheme.lower() not in (*spec.schemes, *spec.typed_schemes):
        takes = ", ".join(f"{scheme}://" for scheme in (*spec.schemes, *spec.typed_schemes))
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"{spec.type} takes {takes}")
    if spec.host and not parts.netloc:
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"it names no {spec.host}")
    pattern, says = spec.form
    if pattern and not re.fullmatch(pattern, uri.partition("?")[0]):
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"{spec.type} takes {says}")
    if parts.fragment and not (spec.query_is_uri or spec.any_option):
        fix = "write the # of a name as %23"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "what follows its '#' is no part of the path", fix)


def _one_name(uri: str) -> str:
    """`hf://gpt2@v1` as `hf://gpt2/@v1`: in a host's place, what stands before an `@` would be taken for a user."""
    parts = urlsplit(uri)
    name, at, revision = parts.netloc.partition("@")
    return urlunsplit(parts._replace(netloc=name, path=f"/@{revision}{parts.path}")) if at else uri


def _fallback(source: Source, text: str) -> Source:
    """What the option fallback names: another hub's URI, or another endpoint for the same one."""
    if urlsplit(text).scheme in ("http", "https"):
        other = Source.parse(source.uri, source.type, {**source.options, "endpoint": text, "fallback": ""})
    else:
        other = Source.parse(text)
        if "fallback" not in registry.find(other.type, other.uri).options:
            why = f"{public_uri(text)!r} is neither a hub's URI nor an endpoint"
            raise UsageError("reading", "option fallback", why, "give modelscope://NAMESPACE/NAME or https://HOST")
        if _names_revision(source) and not _names_revision(other):
            fix = "name the fallback's too: …?revision=REVISION"
            raise UsageError("reading", "option fallback", "the source is asked for at a revision, it is not", fix)
        if "weights" in source.options:
            other = replace(other, options={"weights": source.options["weights"], **other.options})
    return replace(other, filter=source.filter, sync=source.sync, fallback=None)


def _names_revision(source: Source) -> bool:
    return bool(source.options.get("revision")) or "@" in urlsplit(source.uri).path


def _query_options(uri: str, spec: registry.Spec) -> dict[str, str]:
    query = dict(parse_qsl(urlsplit(uri).query, keep_blank_values=True))
    return {spec.aliases.get(key, key): value for key, value in query.items()}


def _check_options(options: Mapping[str, str], spec: registry.Spec) -> None:
    for key in options:
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
