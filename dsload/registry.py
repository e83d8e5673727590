"""The sources that dsload knows: each has a row in its own package. A fetcher is imported when a load needs it.

A third party adds a source by an entry point of the group `dsload.fetchers` that names its Spec.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from dsload.errors import UsageError
from dsload.secrets import public_uri

if TYPE_CHECKING:
    from dsload.fetchers.base import FetcherClass
    from dsload.source import Source

ENTRY_POINTS = "dsload.fetchers"
ANY_NAME = "…"  # among the options of a source: it also takes options of names that dsload cannot know

_BUILT_IN = (
    "dsload.fetchers.s3.spec:SPEC",
    "dsload.fetchers.git.spec:SPEC",
    "dsload.fetchers.http.spec:SPEC",
    "dsload.fetchers.hubs.spec:HUGGING_FACE",
    "dsload.fetchers.hubs.spec:MODEL_SCOPE",
    "dsload.fetchers.conda.spec:SPEC",
    "dsload.fetchers.file.spec:SPEC",
    "dsload.fetchers.mounted:PVC",
    "dsload.fetchers.mounted:NFS",
    "dsload.fetchers.mounted:REFERENCE",
)
_LAST = "dsload.fetchers.fsspec.spec:SPEC"  # claims what nobody else does


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source makes of its URI and options.

    Args:
        config: its own frozen dataclass, every value checked.
        uri: the URI if it is better written differently, "" if not.
        decides: the options that decide what the content is; None for all of them.
        fallback: who else has the same content.
        undivided: what makes a load of it one for a single process, "" if nothing does.
    """

    config: object = None
    uri: str = ""
    decides: Mapping[str, str] | None = None
    fallback: "Source | None" = None
    undivided: str = ""


def as_given(uri: str, options: Mapping[str, str]) -> Reading:
    """The reading of a source that reads its URI and options later."""
    return Reading()


def query_options(uri: str) -> dict[str, str]:
    """The options that are parameters of a URI's query."""
    return dict(parse_qsl(urlsplit(uri).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Spec:
    """One source type.

    Args:
        type: its name on the command line and in a Dataset, in upper case.
        schemes: of its URIs, in lower case.
        fetcher: "module:Class"; "" for a type that is mounted as it is.
        options: name to description; ANY_NAME if there are others.
        read: reads a URI and options, and checks every value of them. Pure: it asks no server, opens no file, and
            imports nothing of the engine, as the companion calls it too. Raises UsageError.
        parameters: makes options of a URI's query.
        claims: whether a URI whose TYPE is not given belongs to this source; None for those of its schemes.
        forms: of its URIs beside the schemes, for people to read.
        requires: modules that must be importable.
        extra: the extra of dsload that installs them.
        needs: schemes that need a module of their own, each with how to install it, "" if it is installed.
        revision_option: the option that pins a revision, "" if there is none.
        builds: whether its fetcher is a Builder: what it lists is what a tree is made from.
    """

    type: str
    schemes: tuple[str, ...]
    fetcher: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[str, Mapping[str, str]], Reading] = as_given
    parameters: Callable[[str], dict[str, str]] = query_options
    claims: Callable[[str], bool] | None = None
    forms: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extra: str = ""
    needs: Callable[[], Mapping[str, str]] = dict
    revision_option: str = ""
    builds: bool = False

    @property
    def preloads(self) -> bool:
        """Whether dsload loads it, rather than a volume mounting it."""
        return bool(self.fetcher)

    @property
    def installed(self) -> bool:
        """Whether the modules that it needs can be imported."""
        return all(map(is_installed, self.requires))

    def load(self) -> "FetcherClass":
        """Import the fetcher. Raises UsageError if the type is only mounted, or its library is missing."""
        if not self.preloads:
            fix = "`dsload manifest` makes the volume and claim for it"
            raise UsageError("loading", self.type, "this type is mounted as it is: there is nothing to load", fix)
        if not self.installed:
            raise UsageError("loading", self.type, f"its library is missing ({', '.join(self.requires)})", self.hint)
        fetcher: FetcherClass = _imported(self.fetcher)
        return fetcher

    @property
    def hint(self) -> str:
        """How to install what is missing."""
        return f"pip install 'dsload[{self.extra}]'" if self.extra else f"pip install {' '.join(self.requires)}"

    def takes(self, uri: str) -> bool:
        """Whether a URI whose TYPE is not given belongs to this source."""
        return self.claims(uri) if self.claims else urlsplit(uri).scheme.lower() in self.schemes


def is_installed(module: str) -> bool:
    """Whether a module can be imported, as far as can be known without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not installed
        return False


@cache
def specs() -> Mapping[str, Spec]:
    """Every source by type. Raises UsageError if two claim the same type or scheme."""
    table: dict[str, Spec] = {}
    schemes: dict[str, str] = {}
    for spec in (*map(_imported, _BUILT_IN), *_third_party(), _imported(_LAST)):
        if spec.type in table:
            why = f"{table[spec.type].fetcher or 'dsload itself'} and {spec.fetcher} both claim this type"
            raise UsageError("reading the registry", spec.type, why, "uninstall one")
        for scheme in spec.schemes:
            if (other := schemes.setdefault(scheme, spec.type)) != spec.type:
                why = f"{other} and {spec.type} both claim this scheme"
                raise UsageError("reading the registry", f"{scheme}://", why, "uninstall one")
        table[spec.type] = spec
    return table


def find(type: str | None, uri: str) -> Spec:
    """The source of a type, or else the one that claims a URI. Raises UsageError if there is none."""
    if type is not None:
        if spec := specs().get(type.upper()):
            return spec
        raise UsageError("reading", f"type {type!r}", "this source type does not exist", f"known: {', '.join(specs())}")
    for spec in specs().values():
        if spec.takes(uri):
            return spec
    scheme = urlsplit(uri).scheme.lower()
    known = ", ".join(f"{s}://" for spec in specs().values() for s in spec.schemes)
    why = f"no source has the scheme {scheme}://" if scheme else "it has no scheme"
    raise UsageError("reading", f"URI {public_uri(uri)!r}", why, f"known: {known} and the protocols of fsspec")


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _third_party() -> Iterator[Spec]:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        where = f"{point.value} of {point.dist.name if point.dist else 'a package'}"
        try:
            spec = point.load()
        except Exception as error:
            why = f"it cannot be imported ({type(error).__name__}: {error})"
            raise UsageError("reading the registry", where, why, "fix or uninstall it") from error
        if not isinstance(spec, Spec) or spec.type != spec.type.upper():
            why = "it is not a dsload.registry.Spec with a type in upper case"
            raise UsageError("reading the registry", where, why, "fix or uninstall it")
        yield spec
