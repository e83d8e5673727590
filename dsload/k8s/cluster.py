"""Objects of the cluster that a Dataset's manifests depend on, as `kubectl get -o yaml` prints them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsload.errors import UsageError

Manifest = dict[str, Any]
_CLUSTER_SCOPED = frozenset({"Namespace", "PersistentVolume"})
_KUBECTL = {"Namespace": "namespace", "Dataset": "dataset", "PersistentVolumeClaim": "pvc", "PersistentVolume": "pv"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The objects of the cluster that are known; none by default.

    Args:
        objects: by kind, namespace ("" for kinds without one) and name.
    """

    objects: Mapping[tuple[str, str, str], Manifest] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[tuple[str, Any]]) -> "Cluster":
        """Index documents by kind, namespace and name; of two documents of one object, the first counts.

        Args:
            documents: the place and content of each, as `documents.read_documents` returns them.
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
        """An object; None if it is not known."""
        return self.objects.get((kind, namespace, name))

    def need(self, kind: str, namespace: str, name: str, where: str) -> Manifest:
        """An object that must be known.

        Args:
            kind, namespace, name: of the object.
            where: the Dataset that needs it, for the message.

        Raises:
            UsageError: the object is not known; the message gives the command that prints it.
        """
        if found := self.find(kind, namespace, name):
            return found
        in_namespace = f" -n {namespace}" if namespace else ""
        why = f"it needs {kind} {namespace + '/' if namespace else ''}{name}, which is not in any --context file"
        fix = f"give --context a file with the output of `kubectl get -o yaml {_KUBECTL[kind]} {name}{in_namespace}`"
        raise UsageError("making the manifests of", where, why, fix)
