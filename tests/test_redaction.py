"""What a load hides is hidden in all that it says, on every thread, and in nothing that another load says."""

import json
import logging
import threading
from pathlib import Path

import pytest

from dsload import Network, Secrets, Settings, Source, Target, load
from dsload.errors import DsloadError, UsageError
from dsload.report import Report
from dsload.secrets import carrying, hide, redact, redaction
from tests import trees
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import status

PASSWORD = "data"


@pytest.fixture
def server():
    with FaultServer() as server:
        for folder in ("data", "other"):
            server.put(f"/{folder}/config.json", b"{}")
        yield server


def with_password(server: FaultServer, folder: str, root: Path) -> Report:
    source = Source.parse(f"{server.url}/{folder}/")
    return load(source, Target(root, folder), Secrets(username="me", password=PASSWORD))


def header(root: Path, folder: str) -> str:
    return str(json.loads((root / folder / ".dsload/inventory.jsonl").read_text().splitlines()[0])["source"])


def test_the_password_of_one_load_is_a_word_in_the_next(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dsload")
    assert with_password(server, "other", tmp_path).source == f"{server.url}/other/"
    report = load(f"{server.url}/data/", tmp_path / "data")
    assert (report.source, header(tmp_path, "data")) == (f"{server.url}/data/",) * 2
    assert f"loading {server.url}/data/ into {tmp_path / 'data'}" in caplog.text


def test_the_password_is_hidden_in_its_own_load(server: FaultServer, tmp_path: Path) -> None:
    assert with_password(server, "data", tmp_path).source == f"{server.url}/***/"
    assert header(tmp_path, "data") == f"{server.url}/***/"
    server.order("/data/", status(404), times=ALWAYS)
    with pytest.raises(DsloadError) as failed:
        with_password(server, "data", tmp_path)
    assert "/data/" not in str(failed.value)
    assert "/***/" in str(failed.value)


def test_what_a_thread_of_a_load_says_is_hidden_too(server: FaultServer, tmp_path: Path) -> None:
    """A retry is reported by the thread that runs the connection."""
    server.order("/data/config.json", status(503), times=1)
    said: list[tuple[str, bool]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((record.getMessage(), threading.current_thread() is threading.main_thread()))

    listener = Listener()
    logging.getLogger("dsload").addHandler(listener)
    try:
        with_password(server, "data", tmp_path)
    finally:
        logging.getLogger("dsload").removeHandler(listener)
    retries = [text for text, main in said if "503" in text and not main]
    assert retries
    assert all("data" not in text and "***" in text for text in retries)


def test_loads_at_once_do_not_mix(server: FaultServer, tmp_path: Path) -> None:
    reports: dict[str, Report] = {}
    together = threading.Barrier(2)

    def run(folder: str, secrets: Secrets) -> None:
        together.wait()
        for _ in range(10):
            reports[folder] = load(Source.parse(f"{server.url}/data/"), Target(tmp_path, folder), secrets)

    threads = [
        threading.Thread(target=run, args=("one", Secrets(username="me", password=PASSWORD))),
        threading.Thread(target=run, args=("two", Secrets())),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports["one"].source == f"{server.url}/***/"
    assert reports["two"].source == f"{server.url}/data/"


def test_a_source_hides_what_its_own_uri_and_options_hold(tmp_path: Path) -> None:
    source = Source.parse(
        "https://me:hunter22@127.0.0.1:1/hunter22/?token=sesame99", None, {"X-Api-Key": "abracadabra"}
    )
    assert str(source) == "https://127.0.0.1:1/***/?token=***"
    assert "hunter22" not in repr(source)
    with pytest.raises(DsloadError) as failed:
        load(source, tmp_path, settings=Settings(Network(retry_budget=0)))
    for secret in ("hunter22", "sesame99", "abracadabra"):
        assert secret not in str(failed.value)


def test_an_error_leaves_a_scope_without_what_is_hidden() -> None:
    with pytest.raises(UsageError) as failed, redaction("hunter22"):
        raise UsageError("reading", "option x", "'hunter22' is wrong", "give another than hunter22")
    assert str(failed.value) == "reading option x: '***' is wrong; give another than ***"
    assert "hunter22" not in repr(failed.value.args)


def test_so_do_the_errors_that_led_to_it() -> None:
    with pytest.raises(ValueError) as failed, redaction("hunter22"):
        try:
            raise UsageError("reading", "option x", "'hunter22' is wrong")
        except UsageError as error:
            raise ValueError("a bug with hunter22") from error
    assert str(failed.value) == "a bug with ***"
    assert str(failed.value.__cause__) == "reading option x: '***' is wrong"


def test_whoever_handles_the_log_sees_no_secret(server: FaultServer, tmp_path: Path) -> None:
    """As a program does that has a handler of its own on dsload's logger."""
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(f"{record.msg} {record.args} {record.getMessage()}")

    log = logging.getLogger("dsload")
    listener, level = Listener(), log.level
    log.addHandler(listener)
    log.setLevel(logging.DEBUG)
    try:
        with_password(server, "data", tmp_path)
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
    assert any(message.startswith("loading ") for message in messages)
    assert all("/data/ " not in message for message in messages)


def test_a_scope_ends_with_what_it_hides() -> None:
    hide("outside")
    with redaction("first"):
        hide("second")
        with redaction("third"):
            hide("fourth")
            assert redact("outside first second third fourth") == "outside *** *** *** ***"
        assert redact("first second third fourth") == "*** *** third fourth"
    assert redact("outside first second third") == "outside first second third"


def test_work_carries_its_scope_to_another_thread() -> None:
    said: list[str] = []

    def work() -> None:
        hide("found-there")
        said.append(redact("found-there and hunter22"))

    with redaction("hunter22"):
        for each in (carrying(work), work):
            thread = threading.Thread(target=each)
            thread.start()
            thread.join()
        assert redact("found-there") == "***"
    assert said == ["*** and ***", "found-there and hunter22"]


def test_a_load_of_a_folder_hides_nothing(tmp_path: Path) -> None:
    source = trees.make(tmp_path / "source", {"a": b"a"})
    assert load(source.as_uri(), tmp_path / "target").source == source.as_uri()
