"""Who serves a source: its own server, and where that cannot be reached, the fallback that it names."""

import logging
from collections.abc import Callable
from dataclasses import replace

from dsload.errors import IntegrityError, NotFoundError, UnreachableError
from dsload.fetchers.base import Context, Fetcher, Held
from dsload.listing import Entry, Listing
from dsload.registry import find
from dsload.secrets import Secrets
from dsload.source import Source
from dsload.transfer.client import Client, Network

log = logging.getLogger(__name__)

SHORT_BUDGET = 60.0  # seconds without progress that a server is given where there is another
_NAMED = 3  # files that a message names


class Supply:
    """A source, and who is asked for it now.

    Args:
        source: what to load, with its fallback if it has one.

    Attributes:
        asked: the source, or its fallback.
    """

    def __init__(self, source: Source) -> None:
        self._source = self.asked = source
        self._listed: Listing | None = None

    def network(self, network: Network) -> Network:
        """The settings to reach the one who is asked: little patience where there is another."""
        if self.asked.fallback is None:
            return network
        return replace(network, retry_budget=min(network.retry_budget, SHORT_BUDGET))

    def list(self, secrets: Secrets, client: Client, held: Callable[[], Held | None] = lambda: None) -> Listing:
        """The listing of the one who is asked. The source's own secrets are not for its fallback.

        Args:
            secrets: the source's own.
            client: to ask by.
            held: as of Context.

        Raises:
            NotFoundError: it is empty, or an include pattern matches nothing.
            IntegrityError: the fallback has other content than the source had listed before.
        """
        asked, own = self.asked, self.asked is self._source
        others = Context(Secrets(ca_crt=secrets.ca_crt), client)
        fetcher = _fetcher(asked, Context(secrets, client, held) if own else others)
        if asked.fallback:
            _fetcher(asked.fallback, others)  # what is wrong with it is refused now, not when it is needed
        listing = fetcher.list()
        if not listing.entries:
            raise NotFoundError("listing", str(asked), "there is nothing in it", "check the path")
        if missing := asked.filter.unmatched(entry.path for entry in listing.entries):
            why = f"nothing matches include {', '.join(map(repr, missing))}"
            raise NotFoundError("listing", str(asked), why, "`dsload ls` shows what is there")
        if own:
            self._listed = listing
        elif self._listed:
            return served_by(self._listed, listing, selection(asked, self._listed), str(asked))
        return listing

    def turn(self, error: UnreachableError) -> None:
        """Ask the fallback from now on. Raises the error where there is none."""
        if self.asked.fallback is None:
            raise error
        log.warning("%s: %s; going on from the fallback %s", error.where, error.why, self.asked.fallback)
        self.asked = self.asked.fallback


def _fetcher(source: Source, context: Context) -> Fetcher:
    return find(source.type, source.uri).load()(source, context)


def selection(source: Source, listing: Listing) -> Callable[[str], bool]:
    """Whether a path of a listing is to be loaded: by the source's filter, and by what its options leave out."""
    if not listing.left_out:
        return source.filter
    return lambda path: path not in listing.left_out and source.filter(path)


def served_by(first: Listing, second: Listing, select: Callable[[str], bool], where: str) -> Listing:
    """What the first server listed, to be read from the second: so every file is checked against the first's hashes.

    Args:
        first, second: the listings.
        select: whether a path is to be loaded.
        where: the second's name, for messages.

    Raises:
        IntegrityError: the second lacks a file that is to be loaded, or states another size or hash for it.
    """
    theirs = {entry.path: entry for entry in second.entries}
    chosen = [entry for entry in first.entries if select(entry.path)]
    if wrong := [entry.path for entry in chosen if not _agree(entry, theirs.get(entry.path))]:
        names = ", ".join(wrong[:_NAMED]) + (", …" if len(wrong) > _NAMED else "")
        why = f"{len(wrong):,} of {len(chosen):,} files are missing or other than {first.server} lists them: {names}"
        raise IntegrityError("listing", where, why, "exclude them, or name a fallback that holds the same")
    entries = [_read_from(theirs.get(entry.path), entry) for entry in first.entries]
    return replace(first, entries=entries, server=second.server)


def _agree(mine: Entry, other: Entry | None) -> bool:
    if other is None or mine.size != other.size:
        return False
    both = mine.checksum and other.checksum and mine.checksum.algorithm == other.checksum.algorithm
    return not both or mine.checksum == other.checksum


def _read_from(other: Entry | None, mine: Entry) -> Entry:
    return replace(mine, reader=other.reader, key=other.key or other.path) if other else mine
