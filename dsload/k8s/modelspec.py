"""From ModelSpec to Dataset: the model hub's metadata.yaml says where a model is, and a Dataset loads it.

Fields: ModelSpec model.hydra.io/v1alpha1 of BaizeAI/modelhub, Dataset dataset.baizeai.io/v1alpha1.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dsload.errors import UsageError
from dsload.k8s import crd
from dsload.k8s.documents import read_documents
from dsload.k8s.hubs import HUBS
from dsload.k8s.metadata import bounded
from dsload.k8s.rules import LABEL_LIMIT

GROUP, KIND = "model.hydra.io", "ModelSpec"
API_VERSION = f"{GROUP}/v1alpha1"
MODEL_LABEL = "hydra.io/model-id"

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_REPO = re.compile(r"(?!\.+/)[\w.-]+/(?!\.+$)[\w.-]+")


def convert(text: str, where: str, hub: str, namespace: str = "public", share: bool = True) -> list[dict[str, Any]]:
    """Make a Dataset of each ModelSpec in a YAML text, which may have several documents and Lists.

    The Dataset's name is the model's in lower case, with a `-` for each character that a DNS-1123 label cannot have:
    `qwen2.5-0.5b-instruct` becomes `qwen2-5-0-5b-instruct`, for either hub. Its label `hydra.io/model-id` has the
    model's name unchanged. Both are cut at 63 characters; a name that was cut ends in a short hash.

    Args:
        text: the file's content.
        where: its name, for messages.
        hub: the hub to load from, "huggingface" or "modelscope".
        namespace: the namespace of the Datasets.
        share: whether other namespaces may reference them.

    Raises:
        UsageError: the text is not YAML or holds no ModelSpec, a field is missing or wrong, the hub does not have a
            model, or the Datasets of two models would have the same name.
    """
    if hub not in HUBS:
        raise UsageError("converting", where, f"{hub!r} is not a hub", f"known: {', '.join(HUBS)}")
    if not _NAMESPACE.fullmatch(namespace):
        why = f"{namespace!r} is not the name of a namespace"
        raise UsageError("converting", where, why, "use up to 63 of a-z, 0-9 and -, without a - at either end")
    datasets: list[dict[str, Any]] = []
    places: dict[str, str] = {}
    for place, document in _model_specs(text, where):
        made = _dataset(document, place, hub, namespace, share)
        name = made["metadata"]["name"]
        if name in places:
            why = f"its Dataset would be named {name}, like that of {places[name]}"
            raise UsageError("converting", place, why, "leave one out, or give it another metadata.name")
        places[name] = place
        datasets.append(made)
    if not datasets:
        raise UsageError("converting", where, "it holds no ModelSpec", f"give a file with one of {API_VERSION}")
    return datasets


def _model_specs(text: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The ModelSpecs of a text with their places; objects of other groups are skipped."""
    for place, document in read_documents(text, where):
        if not isinstance(document, dict):
            raise UsageError("converting", place, "it is not a map")
        version, kind = document.get("apiVersion"), document.get("kind")
        if kind != KIND and not str(version).startswith(f"{GROUP}/"):
            continue
        if version != API_VERSION:
            raise UsageError("converting", place, f"apiVersion is {version!r}", f"dsload reads {API_VERSION}")
        if kind != KIND:
            raise UsageError("converting", place, f"kind is {kind!r}", f"dsload reads {KIND}")
        yield place, document


def _dataset(document: Mapping[str, Any], place: str, hub: str, namespace: str, share: bool) -> dict[str, Any]:
    model = _model_name(document, place)
    repo = _repository(document, place, hub, model)
    return {
        "apiVersion": crd.API_VERSION,
        "kind": crd.KIND,
        "metadata": {
            "name": bounded(re.sub("[^a-z0-9-]", "-", model.lower()), LABEL_LIMIT),
            "namespace": namespace,
            "labels": {MODEL_LABEL: bounded(model, LABEL_LIMIT)},
        },
        "spec": {
            "share": share,
            "source": {"type": HUBS[hub], "uri": f"{hub}://{repo}", "options": {"repoType": "MODEL"}},
        },
    }


def _model_name(document: Mapping[str, Any], place: str) -> str:
    name = _map(document, "metadata", place).get("name")
    if name is None:
        raise UsageError("converting", place, "metadata.name is missing")
    if not isinstance(name, str):
        raise UsageError("converting", place, f"metadata.name is {name!r}, not a string", "put it in quotes")
    if not _LABEL_VALUE.fullmatch(name):
        fix = "use letters and digits, with -, _ and . between them"
        raise UsageError("converting", place, f"metadata.name is {name!r}, which is not the name of a model", fix)
    return name


def _repository(document: Mapping[str, Any], place: str, hub: str, model: str) -> str:
    source = _map(_map(document, "spec", place), "source", place, "spec.")
    repo = _name_at(source, hub, place)
    if repo in (None, ""):
        has = [other for other in HUBS if _name_at(source, other, place) not in (None, "")]
        why = f"spec.source.{hub}.name is missing: {model} has {' and '.join(has) or 'no hub'}"
        raise UsageError("converting", place, why, f"use --hub {has[0]}" if has else "give OWNER/NAME")
    if not isinstance(repo, str) or not _REPO.fullmatch(repo):
        raise UsageError("converting", place, f"spec.source.{hub}.name is {repo!r}", "give OWNER/NAME")
    return repo


def _name_at(source: Mapping[str, Any], hub: str, place: str) -> Any:
    """What a hub calls the model; None if the hub is not set."""
    return _map(source, hub, place, "spec.source.").get("name") if source.get(hub) is not None else None


def _map(parent: Mapping[str, Any], key: str, place: str, prefix: str = "") -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        why = f"{prefix}{key} is missing" if value is None else f"{prefix}{key} is not a map"
        raise UsageError("converting", place, why)
    return value
