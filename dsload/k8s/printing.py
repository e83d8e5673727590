"""Kubernetes objects as text."""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

# Text that kubectl's YAML may read as a number or a boolean and PyYAML does not, such as 1e3, 0o17 and y
_AMBIGUOUS = re.compile(r"[-+]?\.?[0-9][0-9a-fox_.:+-]*|y|n", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)):  # some of these end a line in one version of YAML and not in another
        style = '"'
    elif len(lines) > 1:
        style = "|"
    else:
        style = "'" if _AMBIGUOUS.fullmatch(text) else ""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


_Dumper.add_representer(str, _text)


def to_yaml(objects: Sequence[Any]) -> str:
    """Objects as YAML documents: block style, keys in their order, long lines not folded, no aliases."""
    documents = [
        yaml.dump(item, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")) for item in objects
    ]
    return "---\n".join(documents)


def to_json(objects: Sequence[Any]) -> str:
    """Objects as one List in JSON."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2, ensure_ascii=False) + "\n"
