"""Kubernetes objects as text."""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

# What kubectl's YAML may take for a number or a truth value and PyYAML does not, such as 1e3, 0o17 and y.
_AMBIGUOUS = re.compile(r"[-+]?\.?[0-9][0-9a-fox_.:+-]*|y|n", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)):  # among them are line ends to one version of YAML that another has not
        style = '"'
    elif len(lines) > 1:
        style = "|"
    else:
        style = "'" if _AMBIGUOUS.fullmatch(text) else ""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


_Dumper.add_representer(str, _text)


def to_yaml(objects: Sequence[Any]) -> str:
    """Objects as YAML documents: block style, keys in their order, long lines as they are, no aliases."""
    documents = [
        yaml.dump(item, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")) for item in objects
    ]
    return "---\n".join(documents)


def to_json(objects: Sequence[Any]) -> str:
    """Objects as a List in JSON."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2, ensure_ascii=False) + "\n"
