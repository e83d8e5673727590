"""The Python packages of an environment as `pip freeze` writes them, read from their metadata.

The metadata: packaging.python.org, "Recording installed projects" and "Recording the Direct URL Origin". pip itself
takes half a second for it, and names the build folders of those who made conda packages.
"""

import json
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any


def freeze(folder: Path) -> str:
    """A line a package, sorted by name.

    Args:
        folder: the environment.
    """
    places = [str(path) for path in sorted(folder.glob("lib/python*/site-packages"))]
    lines = set(_lines(places)) if places else set()
    return "".join(f"{line}\n" for line in sorted(lines, key=str.lower))


def _lines(places: list[str]) -> Iterator[str]:
    for found in distributions(path=places):
        if found.name:
            origin = _origin(found)
            yield f"{found.name} @ {origin}" if origin else f"{found.name}=={found.version}"


def _origin(found: Distribution) -> str:
    """The URL that pip installed a package from if that was not an index, else ""."""
    if (found.read_text("INSTALLER") or "").strip() == "conda":
        return ""
    try:
        told: Any = json.loads(found.read_text("direct_url.json") or "{}")
        url, vcs = str(told.get("url", "")), told.get("vcs_info") or {}
        digests = (told.get("archive_info") or {}).get("hashes") or {}
        hashes = "&".join(f"{name}={value}" for name, value in digests.items())
        if vcs:
            return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        return f"{url}#{hashes}" if url and hashes else url
    except (ValueError, AttributeError, KeyError):
        return ""
