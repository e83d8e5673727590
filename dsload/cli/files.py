"""Files that commands are given by name."""

import os
import sys
from pathlib import Path

from dsload.errors import UsageError
from dsload.formats.text import decoded


def read_file(path: str) -> str:
    """The text of a file; - is stdin. Raises UsageError."""
    try:
        return decoded(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes())
    except (OSError, ValueError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
        raise UsageError("reading", path, why) from error


def files_at(path: str) -> list[str]:
    """The path of a file, or those of a folder that hold YAML or JSON. Raises UsageError if it has none."""
    if not os.path.isdir(path):
        return [path]
    found = sorted(str(file) for file in Path(path).iterdir() if file.suffix in (".yaml", ".yml", ".json"))
    if not found:
        raise UsageError("reading", path, "this folder has no *.yaml, *.yml or *.json")
    return found
