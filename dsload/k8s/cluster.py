"""Objects of the cluster, as `kubectl get -o yaml` prints them, that a Dataset's manifests depend on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsload.errors import UsageError

Manifest = dict[str, Any]
_CLUSTER_SCOPED = frozenset({"Namespace", "PersistentVolume"})
_KUBECTL = {"Namespace": "namespace", "Dataset": "dataset", "PersistentVolumeClaim": "pvc", "PersistentVolume": "pv"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is known of the cluster; nothing, by default.

    Args:
        objects: by kind, namespace ("" where the kind has none) and name.
    """

    objects: Mapping[tuple[str, str, str], Manifest] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[tuple[str, Any]]) -> "Cluster":
        """Sort documents by what they are; the first one of the same object counts.

        Args:
            documents: where each stands, and its content, as `dataset.read_documents` gives them.
        """
        objects: dict[tuple[str, str, str], Manifest] = {}
        for _, item in documents:
            about = item.get("metadata") if isinstance(item, dict) else None
            if isinstance(about, dict):
                kind = str(item.get("kind", ""))
                namespace = "" if kind in _CLUSTER_SCOPED else str(about.get("namespace") or "")
                objects.setdefault((kind, namespace, str(about.get("name", ""))), item)
        return cls(objects)

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, None where it is not known."""
        return self.objects.get((kind, namespace, name))

    def need(self, kind: str, namespace: str, name: str, where: str) -> Manifest:
        """An object that must be known.

        Args:
            kind, namespace, name: of the object.
            where: who needs it, for the message.

        Raises:
            UsageError: it is not known; the message has the command that prints it.
        """
        if found := self.find(kind, namespace, name):
            return found
        in_namespace = f" -n {namespace}" if namespace else ""
        why = f"it takes {kind} {namespace + '/' if namespace else ''}{name}, which is in no --context file"
        fix = f"give --context a file with what `kubectl get -o yaml {_KUBECTL[kind]} {name}{in_namespace}` prints"
        raise UsageError("making the manifests of", where, why, fix)
