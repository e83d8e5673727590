"""What has come of a large file: its bytes on the volume, hashed as they arrive, until it is whole and in place."""

import os
import threading
from collections.abc import Callable

from dsload.errors import ChangedError, IntegrityError, VolumeError
from dsload.listing import Checksum, Entry
from dsload.target.inventory import Row
from dsload.transfer.checksum import Digest
from dsload.transfer.delivery import Delivery
from dsload.transfer.parts import Partial, fingerprint


class Content:
    """The content of one file while it is loaded. Any thread may call.

    Args:
        delivery: the load that it belongs to.
        entry: the file.
        whole: called on a finisher's thread when every byte has come and is hashed.

    Attributes:
        partial: the bytes.
        checksum: what the source states, as far as it is known.
        digest: of the bytes so far; None if nothing is hashed.
        streaming: whether the file is read in one stream, as its source gives no ranges.
        mixed: whether parts come from servers that state different versions, so that the checksum has to tell.
        epoch: grows when parts under way become worthless; what they still bring is dropped.
    """

    def __init__(self, delivery: Delivery, entry: Entry, whole: Callable[[], None]) -> None:
        self.delivery, self.entry, self._whole = delivery, entry, whole
        self._name = fingerprint(entry)
        data, journal = delivery.volume.state.open_partial(self._name)
        self.partial = Partial(data, journal, entry.size)
        self.checksum = entry.checksum
        self.digest: Digest | None = None
        self.streaming = not entry.reader.ranges or entry.size < 0
        self.mixed = False
        self.epoch = 0
        self._finished = False
        self._lock = threading.Lock()
        if not entry.version:
            self.partial.restart()
        elif entry.checksum is not None and entry.version == entry.checksum.value:
            self.partial.forget_version()

    def wanted(self, epoch: int) -> bool:
        """Whether what a part of this epoch brings is still of use."""
        return epoch == self.epoch and not self.delivery.work.stopped

    def begin_digest(self) -> None:
        """Hash from the start, by what the source states."""
        if self.delivery.verify and self.partial.size >= 0:
            self.digest = Digest(self.checksum, self.partial.size)

    def learn(self, stated: Checksum | None) -> None:
        """Take a checksum that only the GET's headers state; it is of use as long as nothing is hashed yet."""
        with self._lock:
            if stated is None or stated.parts or self.checksum is not None or self.partial.written_from(0):
                return
            self.checksum = stated
        self.begin_digest()

    def changed(self, why: str) -> ChangedError:
        """The error for a file that is not what was listed."""
        return self.delivery.changed(self.entry, why)

    # Starting over

    def rewind(self) -> None:
        """Forget what an earlier try of a stream has written, and what was hashed of it."""
        if self.partial.written_from(0):
            self.start_over()

    def start_over(self) -> None:
        """Forget every byte."""
        self.partial.restart()
        self.begin_digest()

    def outdate(self) -> None:
        """Make the parts under way worthless."""
        with self._lock:
            self.epoch += 1

    def reopen(self) -> None:
        """Forget every byte of content that is whole but wrong.

        It may be finished again only after that: another finisher would take the old bytes for a second download.
        """
        self.outdate()
        self.start_over()
        self._finished = False

    # When bytes have come; on the finishers' threads

    def stream_done(self, size: int, epoch: int) -> None:
        """Take the end of a stream, from which the size of its file is known."""
        if epoch == self.epoch and self.partial.size < 0:
            self.partial.size = size
            self.delivery.progress.expect_more(size)
            self.begin_digest()
        self.save(0, size, epoch)

    def save(self, start: int, end: int, epoch: int) -> None:
        """Make written bytes safe, hash on, and finish the file if they were the last."""
        if epoch != self.epoch:
            return
        self.partial.secure(start, end)
        hashed = self.digest.position_after(start) if self.digest else end
        self.partial.drop_cache(start, min(end, hashed))
        self.advance()

    def advance(self) -> None:
        """Hash what has come and is not hashed yet."""
        restarts, digest = self.partial.restarts, self.digest
        if digest is not None:
            try:
                digest.follow(self.partial.fd, self.partial.written_from, self.partial.drop_cache)
            except EOFError as error:
                if restarts == self.partial.restarts:
                    fix = "see who else writes there, and load it again"
                    raise VolumeError("hashing", self.delivery.where(self.entry), str(error), fix) from error
                return  # the file was started over meanwhile
        with self._lock:
            whole = self.partial.size >= 0 and not self.partial.missing() and (digest is None or digest.complete)
            if self._finished or not whole or digest is not self.digest:
                return
            self._finished = True
        self._whole()

    def actual(self) -> Checksum | None:
        """The checksum of the whole content, None if it is not hashed."""
        return self.digest.result() if self.digest else None

    def place(self) -> None:
        """Put the file in place."""
        entry, volume, inventory = self.entry, self.delivery.volume, self.delivery.inventory
        actual = str(self.actual() or "")
        if self.checksum is None or self.checksum.parts:
            self._check_head()
        mtime = volume.finish_partial(self.partial.fd, entry.path, entry.executable)
        row = Row(entry.path, self.partial.size, actual, entry.version, mtime, executable=entry.executable)
        inventory.intend(row)
        volume.adopt(self._name, entry.path)
        self.delivery.placed(row, verified=self.checksum is not None)

    def _check_head(self) -> None:
        fd = self.partial.fd
        try:
            self.delivery.check_head(self.entry, self.partial.size, lambda start, end: os.pread(fd, end - start, start))
        except IntegrityError:
            self.partial.restart()  # no later run may resume from this
            raise
