"""rattler's coroutines from a thread of their own, so that a load is watched, and can be stopped, while they run."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from dsload.secrets import carrying

T = TypeVar("T")
_WATCH = 0.2  # seconds between two looks


def finish(work: Coroutine[Any, Any, T], watch: Callable[[], None] = lambda: None) -> T:
    """The result of a coroutine. It does not run in an event loop of the caller's, who may have one.

    Args:
        work: the coroutine.
        watch: called several times a second; may raise to stop it.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    with ThreadPoolExecutor(1, thread_name_prefix="dsload-conda") as pool:
        future: Future[T] = pool.submit(carrying(loop.run_until_complete), task)
        try:
            while wait([future], _WATCH).not_done:
                watch()
            return future.result()
        finally:
            if not future.done():
                loop.call_soon_threadsafe(task.cancel)
                wait([future])
            loop.close()
