"""The engine: hands out what is to be loaded, and sees every file to its place.

Loop threads (http.Client) and reader threads bring bytes; finisher threads sync, hash, verify and place. Whichever
thread fails first decides the load's error. It knows entries and readers, never source types.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from queue import SimpleQueue
from typing import cast

from dsload.errors import ChangedError, DsloadError
from dsload.listing import BytesReader, Entry, HttpReader, Response
from dsload.report import Progress
from dsload.secrets import carrying
from dsload.target.inventory import Inventory, Row
from dsload.target.volume import Volume, from_oserror
from dsload.transfer import checksum
from dsload.transfer.big import BigFile, PartRead, mismatch
from dsload.transfer.client import Client
from dsload.transfer.exchange import Exchange
from dsload.transfer.retry import Failure
from dsload.transfer.small import SMALL, SmallGet

FINISHERS = 4
READERS = 8
BACKLOG = 32  # tasks
HAND_OVER = 0.001  # seconds that placing a small file takes


class Transfer:
    """One load's downloads.

    Args:
        client: runs the HTTP exchanges.
        volume: the prepared target.
        inventory: begun; gets a row for each file.
        progress: is told of bytes and files.
        verify: whether to hash.
        source: its name for messages.
    """

    def __init__(
        self,
        client: Client,
        volume: Volume,
        inventory: Inventory,
        progress: Progress,
        verify: bool,
        source: str,
    ) -> None:
        self.client, self.volume, self.inventory, self.progress = client, volume, inventory, progress
        self.verify, self._source = verify, source
        self.workers = client.network.workers
        self.stopped = False
        self._place_time = 0.0  # seconds, a moving average
        self._error: Exception | None = None
        self._left = 0
        self.left = 0  # bytes of large files that no part covers yet
        self._entries: deque[Entry] = deque()
        self._gets: deque[Exchange] = deque()
        self._spread: deque[BigFile] = deque()
        self._reads: deque[PartRead | Entry] = deque()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._change = threading.Condition()

    def run(self, entries: Iterable[Entry], watch: Callable[[], None]) -> None:
        """Load the entries; returns when all are in place.

        Args:
            entries: files, symlinks and directories.
            watch: called every now and then on this thread; may raise to stop.
        """
        self._sort(entries)
        self.client.budget.renew()
        try:
            for _ in range(FINISHERS):
                self._start(self._finisher)
            for _ in range(min(self._most_readers(), self.workers)):
                self._start(self._reader)
            self.client.feed(self._next)
            self._wait(watch)
        finally:
            self._stop()

    def _sort(self, entries: Iterable[Entry]) -> None:
        """Large files first, so that small ones fill the gaps at the end."""
        large: list[Entry] = []
        small: list[Entry] = []
        for entry in entries:
            if entry.directory:
                self.volume.place_directory(entry.path)
                self.inventory.append(Row(entry.path, version=entry.version, directory=True))
            elif entry.symlink is not None:
                self.volume.place_link(entry.path, entry.symlink)
                self.inventory.append(Row(entry.path, version=entry.version, symlink=entry.symlink))
                self.progress.loaded(entry.path, 0)
            else:
                (small if is_small(entry) else large).append(entry)
        large.sort(key=lambda entry: entry.size, reverse=True)
        self.left = sum(max(0, entry.size) for entry in large)
        http: dict[type, bool] = {}  # isinstance of a protocol is slow
        for entry in (*large, *small):
            kind = type(entry.reader)
            if kind not in http:
                http[kind] = isinstance(entry.reader, HttpReader)
            (self._entries if http[kind] else self._reads).append(entry)
        self._left = len(large) + len(small)

    def _most_readers(self) -> int:
        """How many threads read: where no read waits, they would only take the interpreter's lock from each other."""
        readers = {id(work.reader): work.reader for work in self._reads if isinstance(work, Entry)}.values()
        waits = any(getattr(reader, "waits", True) for reader in readers)
        return READERS if waits else len(readers) and 1

    def _wait(self, watch: Callable[[], None]) -> None:
        with self._change:
            while self._left and self._error is None:
                self._change.wait(0.2)
                watch()
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        with self._change:
            self.stopped = True
            self._change.notify_all()
        self.client.close()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=carrying(work), name=f"dsload{work.__name__}", daemon=True)
        thread.start()
        self._threads.append(thread)

    # Work for the loops and the readers

    def _next(self, light: bool, heavy: bool, more: bool) -> Exchange | None:
        """The feed of the client: what goes on with a file, then the next large file, then parts of those under way
        where more connections help, then small files. So a connection mostly has a file to itself, whose bytes are
        hashed as they come; those of other parts have to be read again from the volume.
        """
        while not self.stopped:
            try:
                if heavy and self._gets:
                    return self._gets.popleft()
                large = bool(self._entries) and not is_small(self._entries[0])
                if heavy and large:
                    if exchange := BigFile(self, self._entries.popleft()).start():
                        return exchange
                elif heavy and more and self._spread:
                    if part := self._spread[0].next_part():
                        return part
                    self._spread.popleft()
                elif light and self._entries and not large:
                    return SmallGet(self, self._entries.popleft())
                else:
                    return None
            except Exception as error:
                self.fail(error)
        return None

    def spread(self, file: BigFile) -> None:
        """Let other connections take parts of a file too, whose server gives ranges."""
        self._spread.append(file)
        self.client.wake()

    def queue_gets(self, exchanges: Iterable[Exchange]) -> None:
        """Exchanges to run before any other file is begun."""
        self._gets.extend(exchanges)
        self.client.wake()

    def queue_reads(self, parts: Iterable[PartRead]) -> None:
        """Parts for the reader threads, to run before any other file is begun."""
        self._reads.extendleft(reversed(list(parts)))
        with self._change:
            self._change.notify_all()

    def _reader(self) -> None:
        while not self.stopped and self._left:
            try:
                work = self._reads.popleft()
            except IndexError:
                with self._change:
                    self._change.wait(0.2)
                continue
            try:
                self._read(work)
            except Exception as error:
                self.fail(error)

    def _read(self, work: PartRead | Entry) -> None:
        if isinstance(work, PartRead):
            work.run()
        elif is_small(work):
            data = self.read(work, cast(BytesReader, work.reader), 0, work.size)
            self.progress.received(len(data), work.path)
            if len(data) != work.size:
                why = f"it has {len(data):,} bytes now, {work.size:,} were listed"
                raise ChangedError("reading", self.where(work), why, "run the same command again")
            self.soon(lambda: self.place_small(work, data, None, refetch=False))
        else:
            BigFile(self, work).start()

    def read(self, entry: Entry, reader: BytesReader, start: int, end: int) -> bytes:
        """Bytes of an entry, tried again within the budget."""
        data = self.client.insist(lambda: reader.read(entry, start, end), self._pause)
        self.client.budget.renew()
        return data

    def _pause(self, seconds: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: self.stopped, seconds)

    # Finishing

    def later(self, task: Callable[[], None]) -> None:
        """Run a task on a finisher's thread."""
        self._tasks.put(task)

    def soon(self, task: Callable[[], None]) -> None:
        """Like later() where the volume is slow, as NFS is; here and now where a hand-over would cost more than
        the task, or where the finishers lag so far behind that memory would fill.
        """
        if self._place_time > HAND_OVER and self._tasks.qsize() < BACKLOG:
            self.later(task)
        else:
            self._perform(task)

    def _finisher(self) -> None:
        while task := self._tasks.get():
            if not self.stopped:
                self._perform(task)

    def _perform(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:
            self.fail(error)

    def place_small(self, entry: Entry, data: bytes, response: Response | None, refetch: bool) -> None:
        """Verify a small file and put it in place; wrong content is fetched once more."""
        stated = entry.checksum
        if self.verify and stated is None and response is not None:
            stated = entry.reader.stated(entry, response)  # type: ignore[union-attr]
        if self.verify and stated and stated.parts > 1 and not stated.part_size:
            if exchange := BigFile(self, replace(entry, checksum=stated)).start():
                self.queue_gets([exchange])
            return
        actual = checksum.of_bytes(data, stated) if self.verify else None
        if actual and stated and actual.value != stated.value:
            if refetch or response is None:
                raise mismatch(self.where(entry), stated, actual)
            self.progress.retried(f"{self.where(entry)}: the content is not what the source states; fetching it again")
            self.queue_gets([SmallGet(self, entry, refetch=True)])
            return
        began = time.perf_counter()
        mtime = self.volume.place(entry.path, data, entry.executable)
        self._place_time += (time.perf_counter() - began - self._place_time) / 8
        row = Row(entry.path, len(data), str(actual or ""), entry.version, mtime, executable=entry.executable)
        self.placed(row, verified=stated is not None)

    def placed(self, row: Row, verified: bool) -> None:
        """A file is in place: note it."""
        if self.inventory.append(row):
            self.later(self.inventory.sync)
        self.progress.loaded(row.path, row.size, verified=verified and bool(row.checksum))
        with self._change:
            self._left -= 1
            if not self._left:
                self._change.notify_all()

    # Failing

    def fail(self, error: Exception, path: str = "the target") -> None:
        """End the load with this error, unless another came first; path is what was being written."""
        with self._change:
            if self._error is None:
                self._error = from_oserror(error, "writing", path) if isinstance(error, OSError) else error
            self._change.notify_all()

    def explain(self, entry: Entry, failure: Failure) -> DsloadError | None:
        """The error that the entry's own source makes of an answer."""
        if failure.response is None or not isinstance(entry.reader, HttpReader):
            return None
        return entry.reader.explain(entry, failure.response)

    def where(self, entry: Entry) -> str:
        """An entry's name for messages."""
        return f"{entry.path} from {self._source}"


def is_small(entry: Entry) -> bool:
    """Whether an entry is fetched by one request into memory."""
    composite = entry.checksum is not None and entry.checksum.parts > 1 and not entry.checksum.part_size
    return 0 <= entry.size <= SMALL and not composite
