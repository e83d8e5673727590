"""The seam: what a source type has to provide. One module, one Spec in the registry, one contract test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dsload.listing import Entry, Listing
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.transfer.http import Client


@dataclass(frozen=True, slots=True)
class Held:
    """What the target holds of a source, from a load that ended.

    Args:
        revision: of that load.
        whole: whether it selected what this one selects, and all of it is there still as it was loaded.
        entries: what is there still.
    """

    revision: str | None
    whole: bool
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Context:
    """What a fetcher may use.

    Args:
        secrets: credentials.
        client: the HTTP client that the engine uses too.
        held: looks what the target holds, for sources where a listing costs more than to ask for the revision; None
            where no load of this source ended there.
    """

    secrets: Secrets
    client: Client
    held: Callable[[], Held | None] = lambda: None


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
