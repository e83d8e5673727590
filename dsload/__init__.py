"""dsload loads a dataset or model from a source into a mounted volume: complete, verified, owned, resumable.

from dsload import load

report = load("https://files.example.com/models/qwen/", "/mnt/nfs/models/qwen")
print(report.files.loaded, report.bytes.moved)
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dsload.errors import (
        BadAnswerError as BadAnswerError,
    )
    from dsload.errors import (
        BusyError as BusyError,
    )
    from dsload.errors import (
        ChangedError as ChangedError,
    )
    from dsload.errors import (
        DsloadError as DsloadError,
    )
    from dsload.errors import (
        IntegrityError as IntegrityError,
    )
    from dsload.errors import (
        InterruptedLoad as InterruptedLoad,
    )
    from dsload.errors import (
        NoSpaceError as NoSpaceError,
    )
    from dsload.errors import (
        NotFoundError as NotFoundError,
    )
    from dsload.errors import (
        OwnershipError as OwnershipError,
    )
    from dsload.errors import (
        RefusedError as RefusedError,
    )
    from dsload.errors import (
        TerminatedLoad as TerminatedLoad,
    )
    from dsload.errors import (
        UnknownHostError as UnknownHostError,
    )
    from dsload.errors import (
        UnreachableError as UnreachableError,
    )
    from dsload.errors import (
        UnsafePathError as UnsafePathError,
    )
    from dsload.errors import (
        UsageError as UsageError,
    )
    from dsload.errors import (
        VolumeError as VolumeError,
    )
    from dsload.listing import (
        BytesReader as BytesReader,
    )
    from dsload.listing import (
        Checksum as Checksum,
    )
    from dsload.listing import (
        Entry as Entry,
    )
    from dsload.listing import (
        Filter as Filter,
    )
    from dsload.listing import (
        HttpReader as HttpReader,
    )
    from dsload.listing import (
        Listing as Listing,
    )
    from dsload.listing import (
        Request as Request,
    )
    from dsload.listing import (
        Response as Response,
    )
    from dsload.listing import (
        SigV4 as SigV4,
    )
    from dsload.loading.load import (
        load as load,
    )
    from dsload.loading.load import (
        ls as ls,
    )
    from dsload.loading.run import stop_when as stop_when
    from dsload.loading.settings import (
        Settings as Settings,
    )
    from dsload.loading.settings import (
        Shard as Shard,
    )
    from dsload.loading.settings import (
        Target as Target,
    )
    from dsload.loading.verify import (
        Verdict as Verdict,
    )
    from dsload.loading.verify import (
        Verification as Verification,
    )
    from dsload.loading.verify import (
        verify as verify,
    )
    from dsload.registry import (
        Reading as Reading,
    )
    from dsload.registry import (
        Spec as Spec,
    )
    from dsload.report import (
        Bytes as Bytes,
    )
    from dsload.report import (
        Fault as Fault,
    )
    from dsload.report import (
        Files as Files,
    )
    from dsload.report import (
        LeftOut as LeftOut,
    )
    from dsload.report import (
        Noted as Noted,
    )
    from dsload.report import (
        Notes as Notes,
    )
    from dsload.report import (
        Progress as Progress,
    )
    from dsload.report import (
        Report as Report,
    )
    from dsload.report import (
        Snapshot as Snapshot,
    )
    from dsload.secrets import (
        Secrets as Secrets,
    )
    from dsload.secrets import (
        read_secrets as read_secrets,
    )
    from dsload.source import Source as Source
    from dsload.target.ownership import Ownership as Ownership
    from dsload.transfer.network import Network as Network

_HOMES = {
    "errors": (
        "BadAnswerError", "BusyError", "ChangedError", "DsloadError", "IntegrityError", "InterruptedLoad",
        "NoSpaceError", "NotFoundError", "OwnershipError", "RefusedError", "TerminatedLoad", "UnknownHostError",
        "UnreachableError", "UnsafePathError", "UsageError", "VolumeError",
    ),
    "listing": (
        "BytesReader", "Checksum", "Entry", "Filter", "HttpReader", "Listing", "Request", "Response", "SigV4",
    ),
    "loading.load": ("load", "ls"),
    "loading.run": ("stop_when",),
    "loading.settings": ("Settings", "Shard", "Target"),
    "loading.verify": ("Verdict", "Verification", "verify"),
    "registry": ("Reading", "Spec"),
    "report": ("Bytes", "Fault", "Files", "LeftOut", "Noted", "Notes", "Progress", "Report", "Snapshot"),
    "secrets": ("Secrets", "read_secrets"),
    "source": ("Source",),
    "target.ownership": ("Ownership",),
    "transfer.network": ("Network",),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_MODULES), "__version__"]

if not TYPE_CHECKING:  # a type checker is to notice a name that is misspelt

    def __getattr__(name: str) -> object:
        import importlib

        if name not in _MODULES:
            raise AttributeError(f"module 'dsload' has no attribute {name!r}")
        return getattr(importlib.import_module(f"dsload.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
