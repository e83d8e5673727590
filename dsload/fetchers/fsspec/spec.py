"""The registry's row for every protocol that fsspec knows, and how its URIs are read."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from dsload.fetchers.reading import check_uri
from dsload.registry import ANY_NAME, Reading, Spec, specs

SFTP = "sftp"
_EXTRAS = {SFTP: "sftp", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}


@dataclass(frozen=True, slots=True)
class FilesystemConfig:
    """A place on a filesystem.

    Args:
        scheme: the protocol, in lower case.
        uri: without its query, which holds options.
        options: storage options of the filesystem.
    """

    scheme: str
    uri: str
    options: Mapping[str, str | bool]


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URI and storage options. Raises UsageError."""
    parts = check_uri(uri, SPEC.type, (), fragment=True)
    typed = {name: _typed(value) for name, value in options.items()}
    return Reading(FilesystemConfig(parts.scheme.lower(), uri.replace(f"?{parts.query}", "", 1), typed))


def _typed(value: str) -> str | bool:
    """A storage option as its filesystem takes it: "false" as text would count as true."""
    return {"true": True, "false": False}.get(value.lower(), value)


@cache
def protocols() -> frozenset[str]:
    """The protocols that fsspec knows, installed or not."""
    from fsspec import available_protocols

    return frozenset(available_protocols())


def install_hint(protocol: str, error: ImportError) -> str:
    """How to install what the import of a protocol's filesystem missed."""
    extra = _EXTRAS.get(protocol)
    return f"pip install 'dsload[{extra}]'" if extra else str(error)


def _needs() -> Mapping[str, str]:
    taken = {scheme for spec in specs().values() for scheme in spec.schemes}
    return {protocol: _missing(protocol) for protocol in sorted(protocols() - taken)}


def _missing(protocol: str) -> str:
    from fsspec import get_filesystem_class

    try:
        if protocol == SFTP:
            importlib.import_module("dsload.fetchers.fsspec.sftp")
        else:
            get_filesystem_class(protocol)
    except ImportError as error:
        return install_hint(protocol, error)
    return ""


SPEC = Spec(
    "FSSPEC",
    (),
    "dsload.fetchers.fsspec.fetcher:Filesystem",
    {ANY_NAME: "its own"},
    read,
    claims=lambda uri: urlsplit(uri).scheme.lower() in protocols(),
    needs=_needs,
)
