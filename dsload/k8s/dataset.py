"""A Dataset resource as data: parsed and defaulted, on plain dicts.

Fields: the CustomResourceDefinition dataset.baizeai.io/v1alpha1 of the BaizeAI Dataset operator.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dsload.errors import UsageError

API_VERSION, KIND = "dataset.baizeai.io/v1alpha1", "Dataset"
DEFAULT_MODE = "0774"
_MODE = re.compile(r"[0-7]{3,4}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a load needs of a Dataset.

    Args:
        name: metadata.name.
        type, uri, options: spec.source.
        path: spec.mountOptions.path.
        mode: spec.mountOptions.mode, octal digits.
        uid, gid: spec.mountOptions; None where not given.
    """

    name: str
    type: str
    uri: str
    options: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    mode: str = DEFAULT_MODE
    uid: int | None = None
    gid: int | None = None


def parse_dataset(text: str, where: str) -> Dataset:
    """Read the one Dataset of a YAML file.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        UsageError: not YAML, no Dataset or several, or a field that is missing or of the wrong kind.
    """
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-99-99
        raise UsageError("reading", where, f"it is not YAML: {error}") from error
    found = [document for document in documents if isinstance(document, dict) and document.get("kind") == KIND]
    if len(found) != 1:
        why = f"it holds {len(found)} Datasets" if found else "it holds no Dataset"
        raise UsageError("reading", where, why, "give a file with exactly one")
    return _dataset(found[0], where)


def _dataset(document: Mapping[str, Any], where: str) -> Dataset:
    if document.get("apiVersion") != API_VERSION:
        raise UsageError(
            "reading", where, f"apiVersion is {document.get('apiVersion')!r}", f"dsload reads {API_VERSION}"
        )
    spec = _map(document, "spec", where)
    source = _map(spec, "source", where, "spec.")
    mount = _map(spec, "mountOptions", where, "spec.", required=False)
    options = _map(source, "options", where, "spec.source.", required=False)
    for key, value in options.items():
        if not isinstance(value, str):
            raise UsageError(
                "reading", where, f"spec.source.options.{key} is {value!r}, not a string", "put it in quotes"
            )
    mode = mount.get("mode", DEFAULT_MODE)
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        why = f"spec.mountOptions.mode is {mode!r}, not three or four octal digits in quotes"
        raise UsageError("reading", where, why)
    path = mount.get("path", "/")
    if not isinstance(path, str):
        raise UsageError("reading", where, f"spec.mountOptions.path is {path!r}, not a string")
    return Dataset(
        name=str(_map(document, "metadata", where, required=False).get("name", "")),
        type=_text(source, "type", where),
        uri=_text(source, "uri", where),
        options=options,
        path=path or "/",
        mode=mode,
        uid=_id(mount, "uid", where),
        gid=_id(mount, "gid", where),
    )


def _map(parent: Mapping[str, Any], key: str, where: str, prefix: str = "", required: bool = True) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise UsageError("reading", where, f"{prefix}{key} is missing" if value is None else f"{prefix}{key} is no map")
    return value


def _text(source: Mapping[str, Any], key: str, where: str) -> str:
    value = source.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError("reading", where, f"spec.source.{key} is {value!r}, not a string")
    return value


def _id(mount: Mapping[str, Any], key: str, where: str) -> int | None:
    value = mount.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise UsageError("reading", where, f"spec.mountOptions.{key} is {value!r}, not a number of 0 or more")
    return value
