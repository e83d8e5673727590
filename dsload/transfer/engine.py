"""The engine: what is done with each file of a load, large ones first.

Loop threads (client) and reader threads (work) bring bytes; finisher threads sync, hash, verify and place. Whichever
thread fails first decides the load's error. The engine knows entries and readers, never source types.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import cast

from dsload.formats.pointer import is_pointer
from dsload.listing import BytesReader, Checksum, Entry, HttpReader, Response
from dsload.target.inventory import Row
from dsload.target.oserror import from_oserror
from dsload.transfer import checksum
from dsload.transfer.big import BigFile
from dsload.transfer.delivery import Delivery
from dsload.transfer.exchange import Exchange
from dsload.transfer.small import SmallGet, is_small
from dsload.transfer.work import Task

READERS = 8
HAND_OVER = 0.001  # seconds of placing a small file above which a finisher does it


class Transfer:
    """One load's downloads.

    Args:
        delivery: from where, to where; its client is closed when the transfer ends.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.progress = delivery.progress
        self._delivery = delivery
        self._work = delivery.work
        self._place_time = 0.0  # seconds, a moving average
        self._entries: deque[Entry] = deque()  # by HTTP
        self._reads: deque[Entry] = deque()
        self._spread: deque[BigFile] = deque()

    def run(self, entries: Iterable[Entry], watch: Callable[[], None]) -> None:
        """Load the entries; returns when all are in place.

        Args:
            entries: files, symlinks and directories.
            watch: called several times a second on this thread; may raise to stop.

        Raises:
            DsloadError: as the first thread that failed says.
        """
        files = self._sort(entries)
        client = self._delivery.client
        client.budget.renew()
        try:
            self._work.start(files, min(self._most_readers(), self._delivery.workers), self._next_read)
            client.feed(self._next)
            failure = self._work.wait(watch)
        finally:
            self._work.stop()
            client.close()
            self._work.join()
        if failure is not None:
            raise from_oserror(failure, "writing", "the target") if isinstance(failure, OSError) else failure

    def _sort(self, entries: Iterable[Entry]) -> int:
        """Put large files first, so that small ones fill the gaps at the end; how many files there are."""
        large: list[Entry] = []
        small: list[Entry] = []
        for entry in entries:
            if entry.directory or entry.symlink is not None:
                self._place_at_once(entry)
            else:
                (small if is_small(entry) else large).append(entry)
        large.sort(key=lambda entry: entry.size, reverse=True)
        self._delivery.uncovered = sum(max(0, entry.size) for entry in large)
        for entry in (*large, *small):
            (self._entries if isinstance(entry.reader, HttpReader) else self._reads).append(entry)
        return len(large) + len(small)

    def _place_at_once(self, entry: Entry) -> None:
        volume, inventory = self._delivery.volume, self._delivery.inventory
        if entry.symlink is None:
            volume.place_directory(entry.path)
            inventory.append(Row(entry.path, version=entry.version, directory=True))
        else:
            volume.place_link(entry.path, entry.symlink)
            inventory.append(Row(entry.path, version=entry.version, symlink=entry.symlink))
            self.progress.loaded(entry.path, 0)

    def _most_readers(self) -> int:
        """How many threads read: if no read waits, they would only take the interpreter's lock from each other."""
        readers = {id(entry.reader): cast(BytesReader, entry.reader) for entry in self._reads}.values()
        waits = any(reader.waits for reader in readers)
        return READERS if waits else len(readers) and 1

    # What comes next, for the loops and the readers

    def _next(self, light: bool, heavy: bool, more: bool) -> Exchange | None:
        """The feed of the client: the next large file, then parts of those under way if more connections help, then
        small files. So a connection mostly has a file to itself, whose bytes are hashed as they come; those of other
        parts have to be read again from the volume.
        """
        while not self._work.stopped:
            try:
                large = bool(self._entries) and not is_small(self._entries[0])
                if heavy and large:
                    if exchange := self._begin(self._entries.popleft()):
                        return exchange
                elif heavy and more and self._spread:
                    if part := self._spread[0].next_part():
                        return part
                    self._spread.popleft()
                elif light and self._entries and not large:
                    return SmallGet(self._delivery, self._entries.popleft(), self._arrived)
                else:
                    return None
            except Exception as error:
                self._delivery.fail(error)
        return None

    def _begin(self, entry: Entry) -> Exchange | None:
        return BigFile(self._delivery, entry, self._share).start()

    def _share(self, file: BigFile) -> None:
        """Let other connections take parts of a file too."""
        self._spread.append(file)
        self._delivery.client.wake()

    def _next_read(self) -> Task | None:
        try:
            entry = self._reads.popleft()
        except IndexError:
            return None
        return partial(self._read if is_small(entry) else self._begin, entry)

    def _read(self, entry: Entry) -> None:
        data = self._delivery.read(entry, cast(BytesReader, entry.reader), 0, entry.size)
        self.progress.received(len(data), entry.path)
        if len(data) != entry.size:
            raise self._delivery.resized(entry, len(data))
        self._soon(lambda: self._place(entry, data, entry.checksum, None))

    # Small files

    def _arrived(self, entry: Entry, data: bytes, response: Response) -> None:
        self._soon(lambda: self._verify(entry, data, response, None))

    def _soon(self, task: Task) -> None:
        """Have a file placed on another thread if the volume is slow, as NFS is."""
        self._work.soon(task, slow=self._place_time > HAND_OVER)

    def _fetch_again(self, entry: Entry, wrong: Checksum) -> None:
        def arrived(entry: Entry, data: bytes, response: Response) -> None:
            self._soon(lambda: self._verify(entry, data, response, wrong))

        self._delivery.client.submit(SmallGet(self._delivery, entry, arrived))

    def _verify(self, entry: Entry, data: bytes, response: Response, wrong: Checksum | None) -> None:
        """Place a small file that came by HTTP, by the checksum that its answer states if the listing has none."""
        stated = entry.checksum
        if self._delivery.verify and stated is None:
            stated = cast(HttpReader, entry.reader).stated(entry, response)
        if self._delivery.verify and stated and stated.parts > 1 and not stated.part_size:
            if exchange := self._begin(replace(entry, checksum=stated)):
                self._delivery.client.submit(exchange, heavy=True)
            return
        self._place(entry, data, stated, wrong)

    def _place(self, entry: Entry, data: bytes, stated: Checksum | None, wrong: Checksum | None) -> None:
        """Verify a small file and put it in place; if the content is wrong, fetch it again, or fail if it was already
        `wrong` before.
        """
        actual = checksum.of_bytes(data, stated) if self._delivery.verify else None
        if actual and stated:
            if actual.value == stated.value:
                self._delivery.agreed(stated)
            elif self._delivery.outweighs(actual, wrong, stated):
                stated = None
            elif wrong or not isinstance(entry.reader, HttpReader):
                raise self._delivery.mismatch(entry, stated, actual)
            else:
                self._delivery.refetching(entry)
                self._fetch_again(entry, actual)
                return
        if stated is None or stated.parts:
            self._delivery.check_head(entry, len(data), lambda start, end: data[start:end])
        began = time.perf_counter()
        mtime = self._delivery.volume.place(entry.path, data, entry.executable)
        self._place_time += (time.perf_counter() - began - self._place_time) / 8
        if is_pointer(data):
            self.progress.found_pointer(entry.path)
        row = Row(entry.path, len(data), str(actual or ""), entry.version, mtime, executable=entry.executable)
        self._delivery.placed(row, verified=stated is not None)
