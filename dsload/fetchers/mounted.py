"""The types that are mounted as they are: there is nothing to load, the companion makes their volumes and claims."""

from dsload.registry import Spec

PVC = Spec("PVC", ("pvc",))
NFS = Spec("NFS", ("nfs",))
REFERENCE = Spec("REFERENCE", ("dataset",))
