"""The CustomResourceDefinition of Dataset: what an API server checks before anybody acts on one.

The API server refuses a rule (CEL) that could cost too much on the largest value that the schema admits. So every
string, list and map has a maximum.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dsload.fetchers.conda.spec import GPU_TYPES
from dsload.k8s.openapi import Schema
from dsload.source import DEFAULT_OWNER

GROUP, VERSION, KIND, PLURAL = "dataset.baizeai.io", "v1alpha1", "Dataset", "datasets"
API_VERSION = f"{GROUP}/{VERSION}"
TYPES = ("GIT", "S3", "PVC", "NFS", "CONDA", "REFERENCE", "HUGGING_FACE", "MODEL_SCOPE", "HTTP", "MANUAL")
PHASES = ("PENDING", "PROCESSING", "READY", "FAILED")
DEFAULT_PATH, DEFAULT_MODE, DEFAULT_ID = "/", "0774", DEFAULT_OWNER
MANUAL_URI = "manual://"

# Patterns: what Go's regexp (RE2) and Python's re read alike
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = f"{_LABEL}([.]{_LABEL})*"
_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL, SUBDOMAIN = f"^{_LABEL}$", f"^{_SUBDOMAIN}$"
QUALIFIED_NAME, LABEL_VALUE = f"^({_SUBDOMAIN}/)?{_WORD}$", f"^({_WORD})?$"
MODE = "^[0-7]{3,4}$"
QUANTITY = "^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
ABOVE = "(^|/)[.][.](/|$)"
_PRINTABLE = r"^[^\x00-\x1F\x7F]+$"
_NO_NUL = r"^[^\x00]*$"

_LONGEST_NAME, _LONGEST_PATH, _LONGEST_URI, _LONGEST_OPTION = 253, 4096, 8192, 262_144
_MOST = 128
_LARGEST_ROUND, _LARGEST_ID = 2**31 - 1, 2**32 - 2


class Rule(NamedTuple):
    """What CEL makes sure of, and how it is said to who breaks it."""

    cel: str
    message: str


IMMUTABLE = Rule("self == oldSelf", "it cannot be changed: make another Dataset")
GROWS_BY_ONE = Rule("self >= oldSelf && self <= oldSelf + 1", "it may only grow, and by 1 at a time")
NOT_ABOVE = Rule(f"!self.matches('{ABOVE}')", "a part of it is '..', which leads out of the volume")
RELATIVE = Rule("!self.startsWith('/')", "it has to be relative to the volume's root, without a / before it")
MANUAL = Rule(
    f"self.type == 'MANUAL' ? self.uri == '{MANUAL_URI}' : !self.uri.startsWith('{MANUAL_URI}')",
    f"type MANUAL takes the URI {MANUAL_URI}, and no other type does",
)
MOUNTED_NOT_ABOVE = Rule(f"!(self.type in ['PVC', 'NFS']) || !self.uri.matches('{ABOVE}')", NOT_ABOVE.message)
GPU = Rule(
    "self.type != 'CONDA' || !has(self.options) || !('gpuType' in self.options)"
    f" || self.options['gpuType'] in {list(GPU_TYPES)}",
    f"option gpuType is one of {', '.join(GPU_TYPES)}",
)
NEEDS_VALUES = Rule(
    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
    "the operators In and NotIn need values",
)
TAKES_NO_VALUES = Rule(
    "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
    "the operators Exists and DoesNotExist take no values",
)
FORMS: Mapping[str, tuple[str, str]] = {  # of the types that a volume mounts: form for people, pattern
    "PVC": ("pvc://CLAIM[/PATH]", f"^pvc://{_SUBDOMAIN}(/[^?#]*)?$"),
    "NFS": ("nfs://HOST/PATH", "^nfs://([A-Za-z0-9][A-Za-z0-9._-]*|\\[[0-9A-Fa-f:.]+\\])/[^?#]*$"),
    "REFERENCE": ("dataset://NAMESPACE/NAME", f"^dataset://{_LABEL}/{_SUBDOMAIN}/?$"),
}


def has_form(type: str) -> Rule:
    """The rule that a URI of a mounted type has its form."""
    form, pattern = FORMS[type]
    literal = pattern.replace("\\", "\\\\")
    return Rule(f"self.type != '{type}' || self.uri.matches('{literal}')", f"type {type} takes {form}")


def optional(pattern: str) -> str:
    """A pattern of this module that admits "" too, as clients in Go write what is not given."""
    return f"^({pattern[1:-1]})?$"


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition datasets.dataset.baizeai.io, for `kubectl apply`."""
    columns = {"type": ".spec.source.type", "uri": ".spec.source.uri", "phase": ".status.phase"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["data"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": "string", "jsonPath": path} for name, path in columns.items()
                    ],
                }
            ],
        },
    }


def schema() -> Schema:
    """The OpenAPI v3 schema of a Dataset, structural as Kubernetes defines it."""
    return _object(
        "A dataset or model: where it comes from, and the volume that it is kept in.",
        {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        required=["spec"],
    )


# spec


def _spec() -> Schema:
    return _object(
        "What is wanted.",
        {
            "share": _boolean("Whether Datasets of other namespaces may take this one by REFERENCE."),
            "shareToNamespaceSelector": _label_selector(
                "With share: the namespaces that may, by their labels. All of them where it is missing or empty."
            ),
            "dataSyncRound": _whole(
                "The round of loading. A round that is one higher loads the source again, in a new Job.",
                1,
                _LARGEST_ROUND,
                rules=[GROWS_BY_ONE],
                format="int32",
                default=1,
            ),
            "source": _source(),
            "secretRef": _text(
                "The Secret with the credentials of the source: username, password, ssh-privatekey, "
                "ssh-privatekey-passphrase, token, access-key, secret-key, session-token, ca.crt, known_hosts.",
                pattern=optional(SUBDOMAIN),
            ),
            "mountOptions": _mount_options(),
            "volumeClaimTemplate": _claim_template(),
            "volumeClaimRef": _claim_ref(),
            "resources": _resources("Of the container that loads the source."),
        },
        required=["source"],
        rules=[one_claim()],
    )


def _source() -> Schema:
    return _object(
        "Where the data is.",
        {
            "type": _choice("What kind of source it is; PVC, NFS and REFERENCE are mounted.", TYPES, [IMMUTABLE]),
            "uri": _text(
                "Where it is. GIT: http[s]://, git:// or ssh://HOST/OWNER/REPO[.git] or USER@HOST:PATH; "
                "S3: s3://BUCKET/PATH; HTTP: http[s]://HOST/PATH; CONDA: conda://NAME[?python=VERSION]; "
                "HUGGING_FACE: huggingface://OWNER/REPO; MODEL_SCOPE: modelscope://NAMESPACE/NAME; "
                f"{'; '.join(f'{type}: {form}' for type, (form, _) in FORMS.items())}; MANUAL: {MANUAL_URI}",
                _LONGEST_URI,
                rules=[IMMUTABLE],
                pattern=_PRINTABLE,
            ),
            "options": _map(
                "Options of the source by name, such as branch, revision, endpoint, include, exclude, syncMode; "
                "`dsload sources` lists those of each type. HTTP sends names that it does not know as headers.",
                {"type": "string", "maxLength": _LONGEST_OPTION},
            ),
        },
        required=["type", "uri"],
        rules=[MANUAL, *map(has_form, FORMS), MOUNTED_NOT_ABOVE, GPU],
    )


def _mount_options() -> Schema:
    return _object(
        "Where in the volume the data is put, and whose it is.",
        {
            "path": _text(
                "The directory in the volume; / is its root.",
                _LONGEST_PATH,
                rules=[IMMUTABLE, NOT_ABOVE],
                pattern=_NO_NUL,
                default=DEFAULT_PATH,
            ),
            "mode": _text(
                "Of files and directories, in octal digits. Directories get x wherever they have r, if it has no x.",
                4,
                pattern=MODE,
                default=DEFAULT_MODE,
            ),
            "uid": _whole("The owner.", 0, _LARGEST_ID, format="int64", default=DEFAULT_ID),
            "gid": _whole("The group.", 0, _LARGEST_ID, format="int64", default=DEFAULT_ID),
        },
        default={},  # or a Dataset without mountOptions could be given another path later
    )


def _claim_template() -> Schema:
    metadata = _object(
        "Of the claim.",
        {
            "name": _text("Of the claim; that of the Dataset where not given.", pattern=optional(SUBDOMAIN)),
            "labels": _map("More labels.", label_value()),
            "annotations": _map("More annotations.", {"type": "string", "maxLength": _LONGEST_OPTION}),
            "creationTimestamp": _time("Without meaning: clients in Go write it."),
        },
    )
    return _object(
        "The PersistentVolumeClaim to make. Where it is silent: ReadWriteMany, Filesystem, 100Ti. Not for REFERENCE.",
        {
            "apiVersion": _text("v1"),
            "kind": _text("PersistentVolumeClaim"),
            "metadata": metadata,
            "spec": _claim_spec(),
            "status": {
                "type": "object",
                "description": "Without meaning: clients in Go write it.",
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    )


def _claim_ref() -> Schema:
    return _object(
        "A PersistentVolumeClaim that is there already, to use instead of a new one.",
        {
            "name": _text("Of the claim, in the namespace of the Dataset.", pattern=SUBDOMAIN),
            "subPath": _text(
                "The directory in it that is taken for the volume.",
                _LONGEST_PATH,
                rules=[RELATIVE, NOT_ABOVE],
                pattern=_NO_NUL,
            ),
        },
        required=["name"],
    )


def one_claim() -> Rule:
    """Clients in Go write an empty volumeClaimTemplate where there is none, so what counts is what it says."""
    template = "self.volumeClaimTemplate"
    metadata = [f"has({template}.metadata.{name})" for name in ("name", "labels", "annotations")]
    resources = f"{template}.spec.resources"
    spec = [f"has({template}.spec.{name})" for name in _claim_spec()["properties"] if name != "resources"]
    spec.append(f"has({resources}) && (has({resources}.requests) || has({resources}.limits))")
    says = [
        f"has({template}.metadata) && ({' || '.join(metadata)})",
        f"has({template}.spec) && ({' || '.join(spec)})",
    ]
    return Rule(
        f"!has(self.volumeClaimRef) || !has({template}) || !({' || '.join(says)})", "it excludes volumeClaimTemplate"
    )


# status


def _status() -> Schema:
    return _object(
        "What there is.",
        {
            "phase": {**_choice("How far it is.", PHASES), "default": PHASES[0]},
            "conditions": _list("What has been made, and what failed.", _condition(), 32),
            "inProcessing": _boolean("Whether a round is being loaded."),
            "inProcessingRound": _round("The round that is being loaded."),
            "lastSucceedRound": _round("The last round that was loaded."),
            "syncRoundStatuses": _list("The last 5 rounds.", _round_status(), 5),
            "pvcName": _text("The claim that holds the data."),
            "readOnly": _boolean("Whether the claim can only be read."),
            "lastSyncTime": _time("When a round was last loaded."),
        },
    )


def _condition() -> Schema:
    return _object(
        "One thing that is so or not.",
        {
            "type": _text("What it is about.", 316, minLength=1),
            "status": _choice("Whether it is so.", ("True", "False", "Unknown")),
            "reason": _text("Why, in one word.", 1024, minLength=1),
            "message": _text("Why, for people.", 32_768),
            "lastTransitionTime": _time("Since when."),
            "observedGeneration": _whole("The generation of the Dataset that it was found for.", 0, format="int64"),
        },
        required=["type", "status", "reason", "message", "lastTransitionTime"],
    )


def _round_status() -> Schema:
    return _object(
        "One round of loading.",
        {
            "round": _round("Which one."),
            "jobName": _text("The Job that loads it."),
            "startTime": _time("When it began."),
            "endTime": _time("When it ended."),
            "succeed": _boolean("Whether it was loaded."),
        },
    )


def _round(description: str) -> Schema:
    return _whole(description, 0, _LARGEST_ROUND, format="int32")


# What Kubernetes itself defines


def _claim_spec() -> Schema:
    modes = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    reference = {name: _text(f"Its {name}.") for name in ("apiGroup", "kind", "name")}
    other = {**{name: _text(f"Its {name}.") for name in reference}, "namespace": _text("Its namespace.")}
    return _object(
        "As of a PersistentVolumeClaim.",
        {
            "accessModes": _list("How the volume may be mounted.", {"type": "string", "enum": list(modes)}, len(modes)),
            "dataSource": _object("A snapshot or claim to fill it from.", reference, required=["kind", "name"]),
            "dataSourceRef": _object("Any object to fill it from.", other, required=["kind", "name"]),
            "resources": _object("Its size.", _amounts()),
            "selector": _label_selector("The volumes that may be bound to it, by their labels."),
            "storageClassName": _text("The StorageClass that makes the volume."),
            "volumeAttributesClassName": _text("The VolumeAttributesClass that tunes the volume."),
            "volumeMode": _choice("What the volume is mounted as.", ("Filesystem", "Block")),
            "volumeName": _text("The PersistentVolume that it is bound to."),
        },
    )


def _resources(description: str) -> Schema:
    name = {"name": _text("Of a claim in the pod."), "request": _text("Of its requests, the one that is taken.")}
    claims = _list("Claims on devices that the container takes.", _object("One claim.", name, required=["name"]), _MOST)
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return _object(description, {**_amounts(), "claims": claims | keyed})


def _amounts() -> dict[str, Schema]:
    return {
        "requests": _map("What is set aside.", _quantity()),
        "limits": _map("What is not exceeded.", _quantity()),
    }


def _quantity() -> Schema:
    return {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY,
        "maxLength": 64,
    }


def _label_selector(description: str) -> Schema:
    expression = _object(
        "One requirement.",
        {
            "key": _text("The label's name.", 317, pattern=QUALIFIED_NAME),
            "operator": _choice("What is asked of it.", ("In", "NotIn", "Exists", "DoesNotExist")),
            "values": _list("Of the label; for In and NotIn.", label_value(), _MOST),
        },
        required=["key", "operator"],
        rules=[NEEDS_VALUES, TAKES_NO_VALUES],
    )
    properties = {
        "matchLabels": _map("Labels that have to be there, with their values.", label_value()),
        "matchExpressions": _list("More requirements; all of them have to be met.", expression, _MOST),
    }
    return {**_object(description, properties), "x-kubernetes-map-type": "atomic"}


def label_value() -> Schema:
    """The schema of a label's value."""
    return {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}


# Pieces


def _object(
    description: str,
    properties: Mapping[str, Schema],
    required: Iterable[str] = (),
    rules: Iterable[Rule] = (),
    **more: Any,
) -> Schema:
    found: Schema = {"type": "object", "description": description, "properties": dict(properties), **more}
    if names := list(required):
        found["required"] = names
    return found | _validations(rules)


def _map(description: str, values: Schema) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": values, "maxProperties": _MOST}


def _list(description: str, items: Schema, most: int) -> Schema:
    return {"type": "array", "description": description, "items": items, "maxItems": most}


def _text(description: str, longest: int = _LONGEST_NAME, rules: Iterable[Rule] = (), **more: Any) -> Schema:
    return {"type": "string", "description": description, "maxLength": longest, **more} | _validations(rules)


def _choice(description: str, values: Iterable[str], rules: Iterable[Rule] = ()) -> Schema:
    return {"type": "string", "description": description, "enum": list(values)} | _validations(rules)


def _time(description: str) -> Schema:
    return {"type": "string", "description": description, "format": "date-time"}


def _whole(description: str, least: int, most: int | None = None, rules: Iterable[Rule] = (), **more: Any) -> Schema:
    found = {"type": "integer", "description": description, "minimum": least, **more}
    if most is not None:
        found["maximum"] = most
    return found | _validations(rules)


def _boolean(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _validations(rules: Iterable[Rule]) -> Schema:
    found = [{"rule": rule.cel, "message": rule.message} for rule in rules]
    return {"x-kubernetes-validations": found} if found else {}
