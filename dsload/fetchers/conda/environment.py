"""What an environment.yaml says. The form is conda's (docs.conda.io, "Creating an environment file manually")."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsload.errors import UsageError
from dsload.secrets import logger

log = logger(__name__)

ENVIRONMENT = "environment.yaml"
_KNOWN = frozenset({"name", "prefix", "channels", "dependencies", "variables"})


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment.yaml.

    Args:
        channels: names or URLs.
        conda: specs of conda packages.
        pip: lines for pip.
        variables: of the environment; None if it does not mention them.
    """

    channels: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    variables: Mapping[str, str] | None = None


def read_environment(text: str) -> Environment:
    """Read the text of an environment.yaml. Raises UsageError."""
    from dsload.formats.yaml import read_document

    found = read_document(text, ENVIRONMENT)
    if found is None:
        return Environment()
    if not isinstance(found, dict):
        raise UsageError("reading", ENVIRONMENT, "it is not a map of channels and dependencies")
    if unknown := ", ".join(sorted(str(key) for key in found if key not in _KNOWN)):
        log.warning("%s: %s is ignored", ENVIRONMENT, unknown)
    conda, pip = _dependencies(found)
    return Environment(tuple(_strings(found, "channels")), tuple(conda), tuple(pip), _variables(found))


def _strings(environment: Mapping[str, Any], key: str) -> list[str]:
    found = environment.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise UsageError("reading", ENVIRONMENT, f"{key} is not a list of strings")
    return found


def _dependencies(environment: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The specs of conda packages, and the lines for pip."""
    conda: list[str] = []
    pip: list[str] = []
    found = environment.get("dependencies") or []
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, str):
            conda.append(item)
        elif isinstance(item, dict) and list(item) == ["pip"]:
            pip += _strings(item, "pip")
        else:
            why = f"dependencies has {json.dumps(item, default=str)[:80]}, which is neither a spec nor pip: [...]"
            raise UsageError("reading", ENVIRONMENT, why)
    return conda, pip


def _variables(environment: Mapping[str, Any]) -> Mapping[str, str] | None:
    found = environment.get("variables")
    if found is None:
        return None
    if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
        raise UsageError("reading", ENVIRONMENT, "variables is not a map of names to strings")
    return {str(key): "" if value is None else str(value) for key, value in found.items()}
