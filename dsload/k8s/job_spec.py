"""A partial JobSpec: read from YAML, and merged into the one of a Job."""

from collections.abc import Mapping
from typing import Any

from dsload.errors import UsageError
from dsload.k8s.documents import read_documents

LOADER = "dataset-loader"  # the name of the container that loads


def read_job_spec(text: str, where: str) -> Mapping[str, Any]:
    """Read a partial JobSpec.

    Args:
        text: a file's content, YAML.
        where: the file, for messages.

    Raises:
        UsageError: the file holds something else.
    """
    documents = [document for _, document in read_documents(text, where)]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise UsageError("reading", where, "it is not one map", "give a partial JobSpec")
    document: dict[str, Any] = documents[0]
    if "kind" in document or "spec" in document:
        raise UsageError("reading", where, "it is an object, not a JobSpec", "give the content of its spec")
    for path in (("template",), ("template", "spec")):
        part: Any = document
        for key in path:
            part = part.get(key, {}) if isinstance(part, dict) else part
        if not isinstance(part, dict):
            raise UsageError("reading", where, f"{'.'.join(path)} is not a map")
    containers = document.get("template", {}).get("spec", {}).get("containers", [])
    if not isinstance(containers, list) or not all(isinstance(container, dict) for container in containers):
        raise UsageError("reading", where, "template.spec.containers is not a list of maps")
    return document


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two objects: maps merge, containers merge by name, other lists are replaced, and null removes.

    A container without a name is the loader, as in the original's configuration.
    """
    result = dict(base)
    for key, value in patch.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        elif key == "containers" and isinstance(below, list):
            result[key] = _merged_containers(below, value)
        else:
            result[key] = value
    return result


def _merged_containers(base: list[dict[str, Any]], patch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {container["name"]: container for container in base}
    for container in patch:
        name = container.get("name") or LOADER
        by_name[name] = merged(by_name.get(name, {}), {**container, "name": name})
    return list(by_name.values())
