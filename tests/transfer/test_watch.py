"""Whoever waits for an answer can be stopped: by the load's own watch, and when the client is closed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload import Network, Settings, Source, Target, load
from dsload.errors import InterruptedLoad
from dsload.listing import Request
from dsload.transfer.client import Client
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import BEFORE_HEAD, close, stall
from tests.servers.process import free_port

PATIENT = Network(stall_timeout=20, retry_budget=40)  # so that a wait that nothing stops fails, rather than hangs


class Stopped(Exception):
    """The caller's own."""


class StopAt:
    """A watch that raises at its third call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 3:
            raise Stopped


@pytest.fixture
def silent(fault: FaultServer) -> Iterator[str]:
    """The URL of a folder that is never listed."""
    fault.put("/set/a.bin", b"a")
    fault.order("/set/", stall(BEFORE_HEAD), times=ALWAYS)
    yield f"{fault.url}/set/"
    fault.release()


def test_a_listing_that_never_comes_is_stopped_by_the_watch(silent: str, volume: Path) -> None:
    volume.mkdir()
    watch = StopAt()
    with pytest.raises(Stopped):
        load(Source.parse(silent), Target(volume, "x"), settings=Settings(network=PATIENT), watch=watch)
    assert watch.calls == 3


def test_a_wait_between_two_tries_is_stopped_by_the_watch(fault: FaultServer, volume: Path) -> None:
    fault.put("/set/a.bin", b"a")
    fault.order("/set/", close(BEFORE_HEAD), times=ALWAYS)
    volume.mkdir()
    with pytest.raises(Stopped):
        load(Source.parse(f"{fault.url}/set/"), Target(volume, "x"), settings=Settings(network=PATIENT), watch=StopAt())


def test_a_wait_for_a_repository_is_stopped_by_the_watch(volume: Path) -> None:
    """Which is asked by another library's transport."""
    volume.mkdir()
    source = Source.parse(f"git://127.0.0.1:{free_port()}/repository.git")
    with pytest.raises(Stopped):
        load(source, Target(volume, "x"), settings=Settings(network=PATIENT), watch=StopAt())


def test_who_waits_for_an_answer_learns_that_the_client_was_closed(silent: str) -> None:
    waiting = threading.Event()

    def end() -> None:
        waiting.wait()
        client.close()

    with Client(PATIENT, watch=waiting.set) as client:
        other = threading.Thread(target=end)
        other.start()
        with pytest.raises(InterruptedLoad):
            client.fetch(Request(silent), "listing", silent)
        other.join()


def test_a_closed_client_answers_nothing(silent: str) -> None:
    client = Client(PATIENT)
    client.close()
    with pytest.raises(InterruptedLoad):
        list(client.fetch_all([Request(silent)] * 2, "listing", silent))
