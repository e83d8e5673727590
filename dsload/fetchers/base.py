"""The seam: what a source type has to provide. One module, one Spec in the registry, one contract test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dsload.listing import Entry, Listing
from dsload.report import Progress
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.target.volume import Volume
from dsload.transfer.client import Client
from dsload.transfer.network import Network


@dataclass(frozen=True, slots=True)
class Held:
    """What the target holds of a source, from a load that ended.

    Args:
        revision: of that load.
        whole: whether it selected what this one selects, and all of it still exists as it was loaded.
        entries: what still exists.
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
        held: looks up what the target holds, for sources where a listing costs more than asking for the revision; None
            if no load of this source ended there.
        doubtful: whether the bytes did not have what an earlier listing of this load stated, so that what a server only
            hints at, such as a size in the answer to HEAD, is not to be believed now.
    """

    secrets: Secrets
    client: Client
    held: Callable[[], Held | None] = lambda: None
    doubtful: bool = False


class Fetcher(Protocol):
    """Turns a Source into a Listing.

    Each entry has a reader: a subclass of HttpReader, whose requests the engine sends, or of BytesReader, which returns
    bytes itself.
    """

    def __init__(self, source: Source, context: Context) -> None:
        """Read the options. Raises UsageError if one is wrong. Nothing is sent yet."""

    def list(self) -> Listing:
        """Everything the source holds, to the last page, at one revision.

        What the source's filter does not select may be left out, and need not be opened or asked for.

        Raises:
            RefusedError, NotFoundError, UnreachableError: as the contract's exit codes say.
        """


@dataclass(frozen=True, slots=True)
class Site:
    """What a builder builds with.

    Args:
        volume: its home on the volume, prepared.
        network: how to reach sources.
        progress: to report to.
        bring: loads what the builder has listed; calls what it is given several times a second meanwhile.
        watch: is called several times a second whenever bring() is not at work; may raise to stop the build.
        verify: whether to hash what is loaded and built.
    """

    volume: Volume
    network: Network
    progress: Progress
    bring: Callable[[Callable[[], None]], None]
    watch: Callable[[], None]
    verify: bool = True


class Builder(Fetcher, Protocol):
    """A source that is not loaded file by file: what it lists is what a tree is made from.

    Attributes:
        home: the folder below the mount root that it works in.
        place: of the tree, below the home.
        prefix: the path at which consumers find the tree.
        tells: names of the texts that build() returns.
        keeps_parts: whether what it has listed stays in the home when the tree is made.
        identity: a digest of all that decides what the tree is, beside the listing's revision.
    """

    home: str
    place: str
    prefix: str
    tells: tuple[str, ...]
    keeps_parts: bool
    identity: str

    def build(self, site: Site, folder: Path, check: Callable[[Mapping[str, str]], None]) -> Mapping[str, str]:
        """Make a tree.

        Args:
            site: to build with.
            folder: of the tree.
            check: to be called when all its files exist, with the checksums that the source states, by path and
                as str(Checksum).

        Returns:
            the texts named in `tells`, by name.

        Raises:
            DsloadError: what it has left in the folder is then useless.
        """


FetcherClass = Callable[[Source, Context], Fetcher]
