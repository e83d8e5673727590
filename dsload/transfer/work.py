"""Threads that carry out tasks, and the first failure, which ends them all. It knows nothing of what the tasks do.

Finishers run what is handed to them, in order; readers take tasks that wait for a source.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from dsload.secrets import carrying

Task = Callable[[], object]
Reads = Callable[[], Task | None]  # the next task for a reader, None if there is none at the moment

FINISHERS = 4
BACKLOG = 32  # tasks
_LOOK = 0.2  # seconds between two looks at what has changed


class Work:
    """So many things to do, and the threads that do them. Any thread may call.

    Attributes:
        stopped: whether the threads are to end.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._left = 0
        self._failure: Exception | None = None
        self._first: deque[Task] = deque()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._change = threading.Condition()

    def start(self, things: int, readers: int, reads: Reads) -> None:
        """Start the threads.

        Args:
            things: how many there are to do.
            readers: how many threads read.
            reads: gives the readers their tasks, called on their threads.
        """
        self._left = things
        for number in range(FINISHERS):
            self._start(f"dsload-finisher-{number}", self._finish)
        for number in range(readers):
            self._start(f"dsload-reader-{number}", lambda: self._read(reads))

    def _start(self, name: str, run: Task) -> None:
        thread = threading.Thread(target=carrying(run), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def done(self) -> None:
        """One thing is done."""
        with self._change:
            self._left -= 1
            if not self._left:
                self._change.notify_all()

    def fail(self, failure: Exception) -> None:
        """End the work with this failure, unless another came first."""
        with self._change:
            if self._failure is None:
                self._failure = failure
            self._change.notify_all()

    def wait(self, watch: Task) -> Exception | None:
        """Wait for the last thing, or the first failure, which is returned.

        Args:
            watch: called several times a second on this thread; may raise to end the wait.
        """
        with self._change:
            while self._left and self._failure is None:
                self._change.wait(_LOOK)
                watch()
            return self._failure

    def stop(self) -> None:
        """Have the threads end after their current tasks."""
        with self._change:
            self.stopped = True
            self._change.notify_all()

    def join(self) -> None:
        """Wait until the threads have ended."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def pause(self, seconds: float) -> bool:
        """Wait this long, or until the work is stopped; whether it is."""
        with self._change:
            return self._change.wait_for(lambda: self.stopped, seconds)

    # Finishers

    def later(self, task: Task) -> None:
        """Run a task on a finisher's thread."""
        self._tasks.put(task)

    def soon(self, task: Task, slow: bool) -> None:
        """Run a task later() if it is slow; here and now if a hand-over would cost more than the task, or if the
        finishers lag so far behind that memory would fill.
        """
        if slow and self._tasks.qsize() < BACKLOG:
            self.later(task)
        else:
            self._perform(task)

    def _finish(self) -> None:
        while task := self._tasks.get():
            if not self.stopped:
                self._perform(task)

    def _perform(self, task: Task) -> None:
        try:
            task()
        except Exception as failure:
            self.fail(failure)

    # Readers

    def read_first(self, tasks: Iterable[Task]) -> None:
        """Tasks for the readers, in this order, before those that come by themselves."""
        self._first.extendleft(reversed(list(tasks)))
        with self._change:
            self._change.notify_all()

    def _read(self, reads: Reads) -> None:
        while not self.stopped and self._left:
            if task := self._next(reads):
                self._perform(task)
            else:
                with self._change:
                    self._change.wait(_LOOK)

    def _next(self, reads: Reads) -> Task | None:
        try:
            return self._first.popleft()
        except IndexError:
            return reads()
