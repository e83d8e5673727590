"""What the files of one load share: where they go, who counts them, and the errors that end the load."""

from dataclasses import replace

from dsload.errors import BadAnswerError, ChangedError, DsloadError, IntegrityError, UnreachableError
from dsload.formats.tensors import Read, fault
from dsload.listing import BytesReader, Checksum, Entry, HttpReader, Response
from dsload.report import Progress
from dsload.secrets import logger
from dsload.target.inventory import Inventory, Row
from dsload.target.oserror import from_oserror
from dsload.target.volume import Volume
from dsload.transfer.client import Client
from dsload.transfer.exchange import Abandon, Exchange
from dsload.transfer.retry import Failure
from dsload.transfer.work import Work

log = logger(__name__)

_Form = tuple[str, int]
_SECOND_LOOKS = 4  # at an answer that is not what was listed, before the source is listed again


class Delivery:
    """One load's way from the source to the volume. Any thread may call.

    Args:
        client: runs the HTTP exchanges.
        volume: the prepared target.
        inventory: begun; gets a row for each file.
        progress: the counters.
        verify: whether to hash.
        source: its name for messages.
        pinned: whether the source is read at a commit, where no file can change.

    Attributes:
        work: the threads that finish and read files.
        uncovered: bytes of large files that no part covers yet.
    """

    def __init__(
        self,
        client: Client,
        volume: Volume,
        inventory: Inventory,
        progress: Progress,
        verify: bool,
        source: str,
        pinned: bool,
    ) -> None:
        self.client, self.volume, self.inventory, self.progress = client, volume, inventory, progress
        self.verify, self._source, self._pinned = verify, source, pinned
        self.work = Work()
        self.uncovered = 0
        self._doubted: set[_Form] = set()  # hints that were no checksums
        self._proven: set[_Form] = set()  # and those that were

    @property
    def workers(self) -> int:
        """How many connections there are."""
        return self.client.network.workers

    def where(self, entry: Entry) -> str:
        """An entry's name for messages."""
        return f"{entry.path} from {self._source}"

    def read(self, entry: Entry, reader: BytesReader, start: int, end: int) -> bytes:
        """Bytes of an entry, tried again within the budget. Raises DsloadError."""
        data = self.client.insist(lambda: reader.read(entry, start, end), self.work.pause)
        self.client.budget.renew()
        return data

    def retry(self, exchange: Exchange, failure: Failure, entry: Entry) -> None:
        """Run a failed exchange of an entry again after its wait, or end the load."""
        failure = self.judged(failure, exchange.attempt, entry)
        if error := self.client.retry(exchange, failure, "downloading", self.where(entry)):
            self.fail(_explained(entry, failure) or error)

    def judged(self, failure: Failure, attempt: int, entry: Entry) -> Failure:
        """A failure, as one that heals with time if the entry's source says so, or it can be nothing else."""
        answer, reader = failure.response, entry.reader
        if answer is None or not isinstance(reader, HttpReader):
            return failure
        passing = (self._pinned and _lost(answer)) or reader.passes(entry, answer, attempt)
        return replace(failure, passing=True) if passing else failure

    def contradicted(self, exchange: Exchange, error: Exception, entry: Entry) -> None:
        """End the load, as an exchange of an entry has raised.

        If the answer was not what was listed, the exchange is run again first, as often as it may be the answer that is
        wrong: a file at a commit cannot have changed, and one whose checksum is listed is unlikely to have. So it is if
        the source's reader says that the answer cannot be right.
        """
        unlikely = self._pinned or (entry.checksum and exchange.attempt < _SECOND_LOOKS)
        if isinstance(error, BadAnswerError | UnreachableError) or (isinstance(error, ChangedError) and unlikely):
            self.retry(exchange, Failure(error.why, passing=True), entry)
        elif not isinstance(error, Abandon):
            self.fail(error, entry.path)

    def refetching(self, entry: Entry) -> None:
        """Say that wrong content is fetched once more."""
        self.progress.retried(f"{self.where(entry)}: the content is not what the source states; fetching it again")

    def outweighs(self, actual: Checksum, before: Checksum | None, stated: Checksum) -> bool:
        """Whether content counts for more than a stated checksum that it does not have.

        That is so if the source only hints at it and the content came alike twice. Once is enough if all hints of this
        form were wrong before.

        Args:
            actual: of the content.
            before: of an earlier download of it.
            stated: by the source.
        """
        if not stated.hint:
            return False
        form = _form(stated)
        if actual != before:
            return form in self._doubted - self._proven
        if form not in self._doubted:
            self._doubted.add(form)
            why = "does not belong to the content, which came alike twice: it is not taken for a checksum"
            log.warning("%s: %s %s, and the file counts as not verified", self._source, stated.hint, why)
        return True

    def agreed(self, stated: Checksum) -> None:
        """Note that content has the checksum that its source states."""
        if stated.hint:
            self._proven.add(_form(stated))

    def check_head(self, entry: Entry, size: int, read: Read) -> None:
        """Compare a file without a checksum of the whole with what its own head says of it, if files are verified.

        Args:
            entry: the file.
            size: bytes that have come.
            read: gives bytes of them.

        Raises:
            IntegrityError: it is cut, or something else than its name says.
        """
        if self.verify and (why := fault(entry.path, size, read)):
            fix = "replace it at the source, or exclude it; --no-verify takes it as it is"
            raise IntegrityError("checking", self.where(entry), why, fix)

    def placed(self, row: Row, verified: bool) -> None:
        """Note that a file is in place."""
        if self.inventory.append(row):
            self.work.later(self.inventory.sync)
        self.progress.loaded(row.path, row.size, verified=verified and bool(row.checksum))
        self.work.done()

    # What ends a load

    def fail(self, error: Exception, path: str = "the target") -> None:
        """End the load with this error, unless another came first; path is what was being written."""
        self.work.fail(from_oserror(error, "writing", path) if isinstance(error, OSError) else error)

    def changed(self, entry: Entry, why: str) -> ChangedError:
        """The error for a file that is not what was listed."""
        return ChangedError("downloading", self.where(entry), why, "run the same command again")

    def resized(self, entry: Entry, size: int) -> ChangedError:
        """The error for a file that does not have the size that was listed."""
        return self.changed(entry, f"it has {size:,} bytes now, {entry.size:,} were listed")

    def mismatch(self, entry: Entry, stated: Checksum, actual: Checksum) -> IntegrityError:
        """The error for content that is wrong twice."""
        why = f"the content has {actual} where the source states {stated}, in two downloads"
        fix = "report it to whoever maintains the source, or check the network and memory"
        return IntegrityError("verifying", self.where(entry), why, fix)


def _explained(entry: Entry, failure: Failure) -> DsloadError | None:
    """The error that the entry's own source makes of an answer."""
    if failure.response is None or not isinstance(entry.reader, HttpReader):
        return None
    return entry.reader.explain(entry, failure.response)


def _form(hint: Checksum) -> _Form:
    """What tells hints apart: the ETag of a plain object, of an upload of one part, of several."""
    return hint.algorithm, min(hint.parts, 2)


def _lost(answer: Response) -> bool:
    """Whether an answer says that a file is another or gone, which at a commit a storage behind the source may say."""
    return answer.status in (412, 416) or (answer.redirected and answer.status in (404, 410))
