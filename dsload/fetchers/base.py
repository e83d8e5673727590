"""The seam: what a source type has to provide. One module, one Spec in the registry, one contract test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dsload.listing import Entry, Listing
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.transfer.http import Client

Loaded = Callable[[str], list[Entry] | None]


@dataclass(frozen=True, slots=True)
class Context:
    """What a fetcher may use.

    Args:
        secrets: credentials.
        client: the HTTP client that the engine uses too.
        loaded: what the target holds of a revision, if a load of that ended there and nothing has changed since; None
            where it does not. It spares a listing that costs more than to ask for the revision.
    """

    secrets: Secrets
    client: Client
    loaded: Loaded = lambda revision: None


class Fetcher(Protocol):
    """Turns a Source into a Listing whose entries know how to get their bytes."""

    def __init__(self, source: Source, context: Context) -> None:
        """Read the options. Raises UsageError where one is wrong. Nothing is sent yet."""

    def list(self) -> Listing:
        """Everything the source holds, to the last page, at one revision; filters are not its business.

        Raises:
            RefusedError, NotFoundError, UnreachableError: as the contract's exit codes say.
        """


FetcherClass = Callable[[Source, Context], Fetcher]
