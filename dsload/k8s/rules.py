"""Patterns and CEL rules of the CustomResourceDefinition, with the messages that the API server prints."""

from collections.abc import Mapping
from typing import NamedTuple

from dsload.fetchers.conda.spec import GPU_TYPES

MANUAL_URI = "manual://"
NAME_LIMIT, LABEL_LIMIT = 253, 63  # characters of an object's name, and of a label's value or a host name
WITH_VALUES, WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")  # operators of a label selector

# Patterns, in the syntax that Go's regexp (RE2) and Python's re share
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = f"{_LABEL}([.]{_LABEL})*"
_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL, SUBDOMAIN = f"^{_LABEL}$", f"^{_SUBDOMAIN}$"
QUALIFIED_NAME, LABEL_VALUE = f"^({_SUBDOMAIN}/)?{_WORD}$", f"^({_WORD})?$"
MODE = "^[0-7]{3,4}$"
QUANTITY = "^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
ABOVE = "(^|/)[.][.](/|$)"
PRINTABLE = r"^[^\x00-\x1F\x7F]+$"
NO_NUL = r"^[^\x00]*$"


class Rule(NamedTuple):
    """A condition in CEL, and the message to a user whose Dataset breaks it."""

    cel: str
    message: str


IMMUTABLE = Rule("self == oldSelf", "the field is immutable; create another Dataset instead")
GROWS_BY_ONE = Rule("self >= oldSelf && self <= oldSelf + 1", "the round must stay the same or increase by 1")
NOT_ABOVE = Rule(f"!self.matches('{ABOVE}')", "the path must not contain '..', which would lead out of the volume")
RELATIVE = Rule("!self.startsWith('/')", "the path must be relative to the root of the volume, without a leading '/'")
MANUAL = Rule(
    f"self.type == 'MANUAL' ? self.uri == '{MANUAL_URI}' : !self.uri.startsWith('{MANUAL_URI}')",
    f"type MANUAL requires the URI {MANUAL_URI}, and no other type accepts it",
)
MOUNTED_NOT_ABOVE = Rule(f"!(self.type in ['PVC', 'NFS']) || !self.uri.matches('{ABOVE}')", NOT_ABOVE.message)
GPU = Rule(
    "self.type != 'CONDA' || !has(self.options) || !('gpuType' in self.options)"
    f" || self.options['gpuType'] in {list(GPU_TYPES)}",
    f"option gpuType must be one of {', '.join(GPU_TYPES)}",
)
NEEDS_VALUES = Rule(
    f"!(self.operator in {list(WITH_VALUES)}) || (has(self.values) && size(self.values) > 0)",
    f"operators {' and '.join(WITH_VALUES)} require at least one value",
)
TAKES_NO_VALUES = Rule(
    f"!(self.operator in {list(WITHOUT_VALUES)}) || !has(self.values) || size(self.values) == 0",
    f"operators {' and '.join(WITHOUT_VALUES)} do not accept values",
)
FORMS: Mapping[str, tuple[str, str]] = {  # of the types that are mounted: the form for messages, and its pattern
    "PVC": ("pvc://CLAIM[/PATH]", f"^pvc://{_SUBDOMAIN}(/[^?#]*)?$"),
    "NFS": ("nfs://HOST/PATH", "^nfs://([A-Za-z0-9][A-Za-z0-9._-]*|\\[[0-9A-Fa-f:.]+\\])/[^?#]*$"),
    "REFERENCE": ("dataset://NAMESPACE/NAME", f"^dataset://{_LABEL}/{_SUBDOMAIN}/?$"),
}


def has_form(type: str) -> Rule:
    """The rule that the URI of a mounted type has the form of that type."""
    form, pattern = FORMS[type]
    literal = pattern.replace("\\", "\\\\")
    return Rule(
        f"self.type != '{type}' || self.uri.matches('{literal}')", f"type {type} requires a URI of the form {form}"
    )


def optional(pattern: str) -> str:
    """A pattern of this module that also admits "", which clients in Go write for a field that is not set."""
    return f"^({pattern[1:-1]})?$"
