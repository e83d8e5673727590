"""FILE's row in the registry, and how its URI is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from dsload.errors import UsageError
from dsload.fetchers.reading import check_uri
from dsload.registry import Reading, Spec


@dataclass(frozen=True, slots=True)
class FileConfig:
    """The absolute path of a folder or file."""

    root: str


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a file:// URI. Raises UsageError."""
    parts = check_uri(uri, SPEC.type, SPEC.schemes)
    if parts.netloc not in ("", "localhost"):
        fix = f"write file:///{parts.netloc}{parts.path} for a path on this machine"
        raise UsageError("reading", f"URI {uri!r}", f"{parts.netloc!r} is read as a host", fix)
    root = os.path.normpath(unquote(parts.path, errors="surrogateescape")) or "/"
    if "\0" in root:
        raise UsageError("reading", f"URI {uri!r}", "it holds a NUL byte")
    return Reading(FileConfig(root))


SPEC = Spec("FILE", ("file",), "dsload.fetchers.file.fetcher:File", read=read)
