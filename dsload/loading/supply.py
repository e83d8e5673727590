"""Who serves a source: its own server and, if that cannot be reached, the fallback that the source names."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dsload.errors import (
    BadAnswerError,
    ChangedError,
    DsloadError,
    IntegrityError,
    NotFoundError,
    UnknownHostError,
    UnreachableError,
)
from dsload.fetchers.base import Context, Fetcher, Held
from dsload.listing import Entry, Listing
from dsload.secrets import Secrets, logger
from dsload.source import Source
from dsload.transfer.client import Client
from dsload.transfer.network import Network
from dsload.transfer.retry import Failure, backoff, pause

log = logger(__name__)

T = TypeVar("T")

ROUNDS = 3  # how often a source is listed if it changes while it is read
SHORT_BUDGET = 60.0  # seconds without progress before a server gives way to its fallback
_NAMED = 3  # files that a message names


@dataclass(slots=True)
class Supply:
    """A source, and who serves it now.

    Args:
        source: what to load, with its fallback if it has one.
        secrets: the source's own; they are not for its fallback.
        network: how to reach servers.
        retrying: is given the reason of each retry.
        watch: is called several times a second while a server is waited for; may raise to stop.

    Attributes:
        asked: the source, or its fallback.
        pinned: whether what was listed last is at a commit, where no file can change.
    """

    source: Source
    secrets: Secrets = field(default_factory=Secrets)
    network: Network = field(default_factory=Network)
    retrying: Callable[[str], None] = lambda reason: None
    watch: Callable[[], None] = lambda: None
    asked: Source = field(init=False)
    pinned: bool = field(init=False, default=False)
    _listed: Listing | None = field(init=False, default=None)
    _doubtful: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.asked = self.source

    def serve(self, way: Callable[[Client], T]) -> T:
        """What a way of using the source comes to.

        The way starts over from the fallback if the server cannot be reached, and lists again if the source changes.

        Args:
            way: lists the source by a client, and does with the listing what is to be done.

        Raises:
            UnreachableError, BadAnswerError, UnknownHostError: nobody can be reached, or gives good answers.
            ChangedError: the source has changed ROUNDS times.
        """
        changes = 0
        while True:
            with Client(self._patience(), self.retrying, self.watch) as client:
                try:
                    return way(client)
                except ChangedError as error:
                    changes += 1
                    wait = backoff(Failure(error.why, passing=True), changes)
                    if changes == ROUNDS or wait is None:
                        raise
                    log.warning("%s: %s; listing it again", error.where, error.why)
                    pause(wait, self.watch, threading.Event())
                    self._doubtful = True
                except (UnreachableError, BadAnswerError, UnknownHostError) as error:
                    self._turn(error)

    def _patience(self) -> Network:
        """The settings to reach the one that is asked: little patience if there is another."""
        if self.asked.fallback is None:
            return self.network
        return replace(self.network, retry_budget=min(self.network.retry_budget, SHORT_BUDGET))

    def _turn(self, error: DsloadError) -> None:
        """Ask the fallback from now on. Raises the error if there is none."""
        if self.asked.fallback is None:
            raise error
        self._doubtful = False
        log.warning("%s: %s; using the fallback %s", error.where, error.why, self.asked.fallback)
        self.asked = self.asked.fallback

    def list(self, client: Client, held: Callable[[], Held | None] = lambda: None, revision: str = "") -> Listing:
        """The listing of the one that is asked.

        Args:
            client: to ask by.
            held: as of Context.
            revision: to list, instead of the one that the source names.

        Raises:
            NotFoundError: it is empty, or an include pattern matches nothing.
            IntegrityError: the fallback has different content from what the source had listed before.
        """
        asked, own = self.asked, self.asked is self.source
        others = Context(Secrets(ca_crt=self.secrets.ca_crt), client, doubtful=self._doubtful)
        context = Context(self.secrets, client, held, self._doubtful) if own else others
        fetcher = _fetcher(asked.at(revision) if revision else asked, context)
        if asked.fallback:
            _fetcher(asked.fallback, others)  # what is wrong with it is refused now, not when it is needed
        listing = fetcher.list()
        _check(asked, listing)
        self.pinned = listing.revision is not None and not asked.spec.builds
        if own and not revision:
            self._listed = listing
        elif not own and self._listed:
            return served_by(self._listed, listing, selection(asked, self._listed), str(asked))
        return listing


def _check(source: Source, listing: Listing) -> None:
    if not listing.entries:
        raise NotFoundError("listing", str(source), "it is empty", "check the path")
    if missing := source.filter.unmatched(entry.path for entry in listing.entries):
        why = f"nothing matches include {', '.join(map(repr, missing))}"
        raise NotFoundError("listing", str(source), why, "`dsload ls` shows what it holds")


def _fetcher(source: Source, context: Context) -> Fetcher:
    return source.spec.load()(source, context)


def selection(source: Source, listing: Listing) -> Callable[[str], bool]:
    """Whether a path of a listing is to be loaded: by the source's filter, and by what the listing leaves out."""
    if not listing.left_out and not listing.closed:
        return source.filter
    below = tuple(f"{folder}/" for folder in listing.closed)
    return lambda path: path not in listing.left_out and not path.startswith(below) and source.filter(path)


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
    if wrong := [entry.path for entry in chosen if not agree(entry, theirs.get(entry.path))]:
        names = ", ".join(wrong[:_NAMED]) + (", …" if len(wrong) > _NAMED else "")
        are = "is" if len(wrong) == 1 else "are"
        why = f"{len(wrong):,} of {len(chosen):,} files {are} missing or not as {first.server} lists them: {names}"
        raise IntegrityError("listing", where, why, "exclude them, or name a fallback that holds the same")
    entries = [read_from(theirs.get(entry.path), entry) for entry in first.entries]
    return replace(first, entries=entries, server=second.server)


def agree(mine: Entry, other: Entry | None) -> bool:
    """Whether two servers list the same content: of one size, and of one hash if both state one of a kind."""
    if other is None or mine.size != other.size:
        return False
    both = mine.checksum and other.checksum and mine.checksum.algorithm == other.checksum.algorithm
    return not both or mine.checksum == other.checksum


def read_from(other: Entry | None, mine: Entry) -> Entry:
    """An entry as it is, with its bytes from where another server's entry has them."""
    return replace(mine, reader=other.reader, key=other.key) if other else mine
