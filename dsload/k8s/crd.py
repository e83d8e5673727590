"""The CustomResourceDefinition of Dataset: what an API server checks before anything acts on a Dataset.

The API server rejects a rule (CEL) that could cost too much on the largest value that the schema admits. So every
string, list and map has a maximum.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dsload.k8s.openapi import Schema
from dsload.k8s.rules import (
    FORMS,
    GPU,
    GROWS_BY_ONE,
    IMMUTABLE,
    LABEL_LIMIT,
    LABEL_VALUE,
    MANUAL,
    MANUAL_URI,
    MODE,
    MOUNTED_NOT_ABOVE,
    NAME_LIMIT,
    NEEDS_VALUES,
    NO_NUL,
    NOT_ABOVE,
    PRINTABLE,
    QUALIFIED_NAME,
    QUANTITY,
    RELATIVE,
    SUBDOMAIN,
    TAKES_NO_VALUES,
    WITH_VALUES,
    WITHOUT_VALUES,
    Rule,
    has_form,
    optional,
)
from dsload.source import DEFAULT_OWNER

GROUP, VERSION, KIND, PLURAL = "dataset.baizeai.io", "v1alpha1", "Dataset", "datasets"
API_VERSION = f"{GROUP}/{VERSION}"
TYPES = ("GIT", "S3", "PVC", "NFS", "CONDA", "REFERENCE", "HUGGING_FACE", "MODEL_SCOPE", "HTTP", "MANUAL")
PHASES = ("PENDING", "PROCESSING", "READY", "FAILED")
DEFAULT_PATH, DEFAULT_MODE, DEFAULT_ID = "/", "0774", DEFAULT_OWNER
DEFAULT_ACCESS_MODE, DEFAULT_VOLUME_MODE, DEFAULT_SIZE = "ReadWriteMany", "Filesystem", "100Ti"

_LONGEST_PATH, _LONGEST_URI, _LONGEST_OPTION = 4096, 8192, 262_144
_MOST = 128
_LARGEST_ROUND, _LARGEST_ID = 2**31 - 1, 2**32 - 2


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
    """The OpenAPI v3 schema of a Dataset; it is structural, as Kubernetes requires."""
    return _object(
        "Dataset is a dataset or model that is loaded from a source into a volume, or mounted from one.",
        {
            "apiVersion": {"type": "string", "description": f"Version of the schema of this object: {API_VERSION}."},
            "kind": {"type": "string", "description": f"Kind of this object: {KIND}."},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        required=["spec"],
    )


# spec


def _spec() -> Schema:
    return _object(
        "The desired source and volume of the Dataset.",
        {
            "share": _boolean("Whether Datasets of type REFERENCE may use this Dataset. Defaults to false."),
            "shareToNamespaceSelector": _label_selector(
                "Selects, by their labels, the namespaces that may reference this Dataset if share is true. "
                "If it is unset or empty, every namespace may."
            ),
            "dataSyncRound": _whole(
                "Number of the current round of loading. Increase it by 1 to load the source again in a new Job. "
                "Defaults to 1.",
                1,
                _LARGEST_ROUND,
                rules=[GROWS_BY_ONE],
                format="int32",
                default=1,
            ),
            "source": _source(),
            "secretRef": _text(
                "Name of the Secret, in the Dataset's namespace, with the credentials for the source. Known keys: "
                "username, password, ssh-privatekey, ssh-privatekey-passphrase, token, access-key, secret-key, "
                "session-token, ca.crt, known_hosts.",
                pattern=optional(SUBDOMAIN),
            ),
            "mountOptions": _mount_options(),
            "volumeClaimTemplate": _claim_template(),
            "volumeClaimRef": _claim_ref(),
            "resources": _resources(
                "Compute resources of the container that loads the source. They replace those of the job spec."
            ),
        },
        required=["source"],
        rules=[one_claim()],
    )


def _source() -> Schema:
    return _object(
        "Location of the data, and how to load it.",
        {
            "type": _choice(
                "Type of the source. A Job loads GIT, S3, CONDA, HUGGING_FACE, MODEL_SCOPE and HTTP; PVC, NFS and "
                "REFERENCE are mounted; MANUAL gets an empty volume. Immutable.",
                TYPES,
                [IMMUTABLE],
            ),
            "uri": _text(
                "URI of the data, in the form of its type. GIT: http[s]://, git:// or ssh://HOST/OWNER/REPO[.git] or "
                "USER@HOST:PATH; S3: s3://BUCKET/PATH; HTTP: http[s]://HOST/PATH; CONDA: conda://NAME[?python=VERSION];"
                " HUGGING_FACE: huggingface://OWNER/REPO; MODEL_SCOPE: modelscope://NAMESPACE/NAME; "
                f"{'; '.join(f'{type}: {form}' for type, (form, _) in FORMS.items())}; "
                f"MANUAL: {MANUAL_URI}. Immutable.",
                _LONGEST_URI,
                rules=[IMMUTABLE],
                pattern=PRINTABLE,
            ),
            "options": _map(
                "Options of the source by name, such as branch, revision, endpoint, include, exclude or syncMode; "
                "`dsload sources` lists them for each type. For HTTP, any other name is sent as a request header.",
                {"type": "string", "maxLength": _LONGEST_OPTION},
            ),
        },
        required=["type", "uri"],
        rules=[MANUAL, *map(has_form, FORMS), MOUNTED_NOT_ABOVE, GPU],
    )


def _mount_options() -> Schema:
    owner = f"that owns the loaded files and directories. Defaults to {DEFAULT_ID}."
    return _object(
        "Directory, permissions and ownership of the data in the volume.",
        {
            "path": _text(
                "Directory in the volume to load into, relative to its root. Must not contain '..'. Defaults to "
                f"{DEFAULT_PATH}, the root itself. Immutable.",
                _LONGEST_PATH,
                rules=[IMMUTABLE, NOT_ABOVE],
                pattern=NO_NUL,
                default=DEFAULT_PATH,
            ),
            "mode": _text(
                "Permissions of files and directories, as three or four octal digits in a string. If it has no "
                f"execute bit, directories get one for each read bit. Defaults to {DEFAULT_MODE}.",
                4,
                pattern=MODE,
                default=DEFAULT_MODE,
            ),
            "uid": _whole(f"Numeric ID of the user {owner}", 0, _LARGEST_ID, format="int64", default=DEFAULT_ID),
            "gid": _whole(f"Numeric ID of the group {owner}", 0, _LARGEST_ID, format="int64", default=DEFAULT_ID),
        },
        default={},  # without it, a Dataset that has no mountOptions could get another path later
    )


def _claim_template() -> Schema:
    ignored = "Ignored; it is accepted because clients in Go write it."
    metadata = _object(
        "Metadata of the claim. Only name is used.",
        {
            "name": _text("Name of the claim. Defaults to the name of the Dataset.", pattern=optional(SUBDOMAIN)),
            "labels": _map("Ignored; the claim gets the labels of the Dataset.", label_value()),
            "annotations": _map(
                "Ignored; the claim gets the annotations of the Dataset.",
                {"type": "string", "maxLength": _LONGEST_OPTION},
            ),
            "creationTimestamp": _time(ignored),
        },
    )
    return _object(
        "PersistentVolumeClaim to create for the data. Defaults to access mode "
        f"{DEFAULT_ACCESS_MODE}, volume mode {DEFAULT_VOLUME_MODE} and a size of {DEFAULT_SIZE}. "
        "For REFERENCE only the name is used. Mutually exclusive with volumeClaimRef.",
        {
            "apiVersion": _text("Version of the claim's schema: v1."),
            "kind": _text("Kind of the claim: PersistentVolumeClaim."),
            "metadata": metadata,
            "spec": _claim_spec(),
            "status": {"type": "object", "description": ignored, "x-kubernetes-preserve-unknown-fields": True},
        },
    )


def _claim_ref() -> Schema:
    return _object(
        "Existing PersistentVolumeClaim to use instead of a new one. Mutually exclusive with volumeClaimTemplate.",
        {
            "name": _text("Name of the claim, in the Dataset's namespace.", pattern=SUBDOMAIN),
            "subPath": _text(
                "Directory in the claim to use as the root of the volume, as a relative path without '..'. "
                "Defaults to the root of the claim.",
                _LONGEST_PATH,
                rules=[RELATIVE, NOT_ABOVE],
                pattern=NO_NUL,
            ),
        },
        required=["name"],
    )


def one_claim() -> Rule:
    """The rule against a reference beside a template; the empty template that clients in Go write does not count."""
    template = "self.volumeClaimTemplate"
    metadata = [f"has({template}.metadata.{name})" for name in ("name", "labels", "annotations")]
    resources = f"{template}.spec.resources"
    spec = [f"has({template}.spec.{name})" for name in _claim_spec()["properties"] if name != "resources"]
    spec.append(f"has({resources}) && (has({resources}.requests) || has({resources}.limits))")
    fields = [
        f"has({template}.metadata) && ({' || '.join(metadata)})",
        f"has({template}.spec) && ({' || '.join(spec)})",
    ]
    return Rule(
        f"!has(self.volumeClaimRef) || !has({template}) || !({' || '.join(fields)})",
        "volumeClaimRef and volumeClaimTemplate are mutually exclusive",
    )


# status


def _status() -> Schema:
    return _object(
        "Observed state of the Dataset.",
        {
            "phase": {
                **_choice(
                    "Summary of the state: PENDING until work on it starts, PROCESSING while a round is loading, READY "
                    "if the data can be used, FAILED if it cannot. Defaults to PENDING.",
                    PHASES,
                ),
                "default": PHASES[0],
            },
            "conditions": _list("Latest observations of the objects made for the Dataset.", _condition(), 32),
            "inProcessing": _boolean("Whether a round is being loaded."),
            "inProcessingRound": _round("Number of the round that is being loaded."),
            "lastSucceedRound": _round("Number of the last round that was loaded successfully."),
            "syncRoundStatuses": _list("Status of the last 5 rounds.", _round_status(), 5),
            "pvcName": _text("Name of the PersistentVolumeClaim that holds the data."),
            "readOnly": _boolean("Whether pods can only read the claim. True for REFERENCE."),
            "lastSyncTime": _time("Time at which a round was last loaded successfully."),
        },
    )


def _condition() -> Schema:
    return _object(
        "One aspect of the current state of the Dataset.",
        {
            "type": _text("Aspect that the condition is about, in CamelCase.", 316, minLength=1),
            "status": _choice("Status of the condition.", ("True", "False", "Unknown")),
            "reason": _text("Reason for the last transition, as one word in CamelCase.", 1024, minLength=1),
            "message": _text("Details of the last transition, for people to read.", 32_768),
            "lastTransitionTime": _time("Time at which the status last changed."),
            "observedGeneration": _whole(
                "Generation of the Dataset (metadata.generation) that the condition was set for.", 0, format="int64"
            ),
        },
        required=["type", "status", "reason", "message", "lastTransitionTime"],
    )


def _round_status() -> Schema:
    return _object(
        "Status of one round of loading.",
        {
            "round": _round("Number of the round."),
            "jobName": _text("Name of the Job that loads the round."),
            "startTime": _time("Time at which the Job started."),
            "endTime": _time("Time at which the Job ended. Unset while it is running."),
            "succeed": _boolean("Whether the round was loaded successfully."),
        },
    )


def _round(description: str) -> Schema:
    return _whole(description, 0, _LARGEST_ROUND, format="int32")


# What Kubernetes itself defines


def _claim_spec() -> Schema:
    modes = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    return _object(
        "Specification of the claim, with the fields of a PersistentVolumeClaim.",
        {
            "accessModes": _list(
                f"Access modes of the volume. Defaults to {DEFAULT_ACCESS_MODE}.",
                {"type": "string", "enum": list(modes)},
                len(modes),
            ),
            "dataSource": _object(
                "VolumeSnapshot or PersistentVolumeClaim to populate the volume from.",
                _object_reference(),
                required=["kind", "name"],
            ),
            "dataSourceRef": _object(
                "Object to populate the volume from, of any kind that has a volume populator.",
                _object_reference() | {"namespace": _text("Namespace of the object. Defaults to that of the claim.")},
                required=["kind", "name"],
            ),
            "resources": _object(
                f"Size of the volume, as the request storage. Defaults to {DEFAULT_SIZE}.", _amounts()
            ),
            "selector": _label_selector("Selects, by their labels, the volumes that the claim may be bound to."),
            "storageClassName": _text("Name of the StorageClass. Defaults to the default class of the cluster."),
            "volumeAttributesClassName": _text("Name of the VolumeAttributesClass of the volume."),
            "volumeMode": _choice(f"Mode of the volume. Defaults to {DEFAULT_VOLUME_MODE}.", ("Filesystem", "Block")),
            "volumeName": _text("Name of the PersistentVolume to bind the claim to."),
        },
    )


def _object_reference() -> dict[str, Schema]:
    return {
        "apiGroup": _text("API group of the object. Unset for the core group."),
        "kind": _text("Kind of the object."),
        "name": _text("Name of the object."),
    }


def _resources(description: str) -> Schema:
    claim = _object(
        "Reference to one device claim.",
        {
            "name": _text("Name of an entry in the pod's resourceClaims."),
            "request": _text("Name of one request in the claim. If unset, all of its devices are available."),
        },
        required=["name"],
    )
    claims = _list("Device claims of the pod that the container uses.", claim, _MOST)
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return _object(description, {**_amounts(), "claims": claims | keyed})


def _amounts() -> dict[str, Schema]:
    return {
        "requests": _map("Minimum amounts, by resource name, as quantities such as 500m or 2Gi.", _quantity()),
        "limits": _map("Maximum amounts, by resource name, as quantities such as 500m or 2Gi.", _quantity()),
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
        "Requirement on the label with one key.",
        {
            "key": _text("Key of the label that the requirement applies to.", 317, pattern=QUALIFIED_NAME),
            "operator": _choice(
                "Relation of the label to the values: In, NotIn, Exists or DoesNotExist.",
                (*WITH_VALUES, *WITHOUT_VALUES),
            ),
            "values": _list(
                "Values of the label. Required for In and NotIn; must be empty for Exists and DoesNotExist.",
                label_value(),
                _MOST,
            ),
        },
        required=["key", "operator"],
        rules=[NEEDS_VALUES, TAKES_NO_VALUES],
    )
    properties = {
        "matchLabels": _map("Labels that must be present with exactly these values.", label_value()),
        "matchExpressions": _list("Further requirements on labels. All of them must be met.", expression, _MOST),
    }
    return {**_object(description, properties), "x-kubernetes-map-type": "atomic"}


def label_value() -> Schema:
    """The schema of a label's value."""
    return {"type": "string", "maxLength": LABEL_LIMIT, "pattern": LABEL_VALUE}


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


def _text(description: str, longest: int = NAME_LIMIT, rules: Iterable[Rule] = (), **more: Any) -> Schema:
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
