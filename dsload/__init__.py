"""dsload loads a dataset or model from a source into a mounted volume: complete, verified, owned, resumable."""

from typing import TYPE_CHECKING, Any

from dsload import errors

if TYPE_CHECKING:
    from dsload.loading.load import load
    from dsload.loading.settings import Settings, Target
    from dsload.report import Report
    from dsload.secrets import Secrets, read_secrets
    from dsload.source import Source
    from dsload.target.ownership import Ownership
    from dsload.transfer.network import Network

__version__ = "0.1.0"
__all__ = [
    "Network",
    "Ownership",
    "Report",
    "Secrets",
    "Settings",
    "Source",
    "Target",
    "errors",
    "load",
    "read_secrets",
]

_HOMES = {
    "load": "loading.load",
    "Settings": "loading.settings",
    "Target": "loading.settings",
    "Report": "report",
    "Secrets": "secrets",
    "read_secrets": "secrets",
    "Source": "source",
    "Network": "transfer.network",
    "Ownership": "target.ownership",
}


def __getattr__(name: str) -> Any:
    """Import the public API when it is asked for: `dsload --help` needs none of it."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'dsload' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dsload.{_HOMES[name]}"), name)
