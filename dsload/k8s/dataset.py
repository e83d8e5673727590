"""A Dataset as the companion and `dsload load -f` use it: a document that was checked, with its defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dsload.k8s import crd
from dsload.k8s.documents import map_at
from dsload.source import Source


@dataclass(frozen=True, slots=True)
class Dataset:
    """A Dataset with its defaults.

    Args:
        name, namespace, object_uid, labels, annotations: from its metadata; "" if not set.
        type, uri, options: spec.source.
        path: spec.mountOptions.path.
        mode: spec.mountOptions.mode, octal digits.
        uid, gid: spec.mountOptions; None if not set.
        secret: spec.secretRef.
        share, share_selector: who may REFERENCE it; None if it has no selector.
        round: spec.dataSyncRound.
        claim_template: metadata and spec of spec.volumeClaimTemplate; {} if both are empty.
        claim_ref: name and subPath of spec.volumeClaimRef; None if not set.
        resources: spec.resources.
        pvc_name: status.pvcName.
        where: the file and the document in it, for messages.
    """

    name: str
    type: str
    uri: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: str = crd.DEFAULT_PATH
    mode: str = crd.DEFAULT_MODE
    uid: int | None = None
    gid: int | None = None
    namespace: str = ""
    object_uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = ""
    share: bool = False
    share_selector: Mapping[str, Any] | None = None
    round: int = 1
    claim_template: Mapping[str, Any] = field(default_factory=dict)
    claim_ref: Mapping[str, str] | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    pvc_name: str = ""
    where: str = ""

    def source(self) -> Source:
        """What a load of it reads. Raises UsageError if a load would refuse it."""
        return Source.parse(self.uri, self.type, self.options)


def dataset_of(document: Mapping[str, Any], where: str) -> Dataset:
    """The Dataset of a document.

    Args:
        document: one with which parsing.py found nothing wrong.
        where: its place, for later messages.
    """
    metadata, spec = map_at(document, "metadata"), map_at(document, "spec")
    source, mount = map_at(spec, "source"), map_at(spec, "mountOptions")
    template, selector = map_at(spec, "volumeClaimTemplate"), spec.get("shareToNamespaceSelector")
    return Dataset(
        name=str(metadata.get("name") or ""),
        type=source["type"],
        uri=source["uri"],
        options=map_at(source, "options"),
        path=mount.get("path") or crd.DEFAULT_PATH,
        mode=mount.get("mode") or crd.DEFAULT_MODE,
        uid=mount.get("uid"),
        gid=mount.get("gid"),
        namespace=metadata.get("namespace") or "",
        object_uid=metadata.get("uid") or "",
        labels=map_at(metadata, "labels"),
        annotations=map_at(metadata, "annotations"),
        secret=spec.get("secretRef") or "",
        share=bool(spec.get("share")),
        share_selector=None if selector is None else _without_nulls(selector),
        round=spec.get("dataSyncRound") or 1,
        claim_template={key: given for key in ("metadata", "spec") if (given := _without_nulls(template.get(key)))},
        claim_ref=_without_nulls(map_at(spec, "volumeClaimRef")) or None,
        resources=_without_nulls(map_at(spec, "resources")),
        pvc_name=map_at(document, "status").get("pvcName") or "",
        where=where,
    )


def _without_nulls(value: Any) -> Any:
    """A value as the API server stores it: a field that is null is not set."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
