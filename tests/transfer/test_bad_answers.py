"""Answers that cannot be right: at a commit, or with a checksum that is known, they are asked for again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loads import Run, run
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.hub import Hub, storage_path
from tests.servers.orders import Fault, Virtual, status
from tests.servers.threaded import Request

MIB = 1 << 20
TREE = {"config.json": b"{}", "model.safetensors": bytes(Virtual(9 * MIB, seed=1)[:])}
BAD: dict[str, Fault] = {
    "an empty answer": status(200),
    "another length": status(200, body=b"<html>busy, come back later</html>"),
    "412": status(412),
    "416": status(416),
}


def is_for(name: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "GET" and request.target.endswith(name)


@pytest.fixture
def at_a_commit(hub: Hub) -> Hub:
    hub.repo("owner/name").put_all(TREE)
    return hub


def bring(hub: Hub, volume: Path, *arguments: object) -> Run:
    return run("hf://owner/name", volume, "-o", f"endpoint={hub.url}", *arguments)


@pytest.mark.parametrize("name", BAD)
def test_a_small_file_at_a_commit(at_a_commit: Hub, volume: Path, name: str) -> None:
    at_a_commit.order("/owner/name/resolve/" + at_a_commit.repo("owner/name").head + "/config.json", BAD[name], times=2)
    done = bring(at_a_commit, volume)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert "listing it again" not in done.result.err


@pytest.mark.parametrize("fault", [*BAD.values(), status(404), status(410)], ids=[*BAD, "404", "410"])
def test_a_large_file_whose_storage_answers_badly(at_a_commit: Hub, volume: Path, fault: Fault) -> None:
    stored = storage_path(at_a_commit.repo("owner/name").files["model.safetensors"])
    at_a_commit.storage.order(stored, fault, times=2)
    done = bring(at_a_commit, volume)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert "listing it again" not in done.result.err


def test_what_stays_bad_ends_with_a_retry(at_a_commit: Hub, volume: Path) -> None:
    stored = storage_path(at_a_commit.repo("owner/name").files["model.safetensors"])
    at_a_commit.storage.order(stored, status(404), times=ALWAYS)
    done = bring(at_a_commit, volume, "--retry-budget", 1)
    assert (done.code, done.report["error"]["retry"]) == (9, True)
    assert "model.safetensors from hf://owner/name: the server answered 404 Not Found, after 1 s" in done.error
    assert "run the same command again" in done.error


@pytest.mark.parametrize("name", ["an empty answer", "another length"])
def test_a_file_whose_checksum_is_known(fault: FaultServer, volume: Path, name: str) -> None:
    fault.put("/set/a.bin", b"content")
    fault.put("/set/SHA256SUMS", f"{hashlib.sha256(b'content').hexdigest()}  a.bin\n".encode())
    fault.order("/set/a.bin", BAD[name], times=3)
    done = run(f"{fault.url}/set/", volume)
    assert (done.code, done.tree["a.bin"]) == (0, b"content"), done.result.err
    assert "listing it again" not in done.result.err


def test_a_file_that_is_never_as_listed(fault: FaultServer, volume: Path) -> None:
    """The source is listed again after a pause, and a rerun may help: the message and the exit code agree."""
    fault.put("/set/a.bin", b"content")
    for number in range(20):
        fault.order("/set/a.bin", status(200, body=b"x" * (10 + number)), when=is_for("a.bin"))
    done = run(f"{fault.url}/set/", volume)
    assert (done.code, done.report["error"]["retry"]) == (9, True)
    assert "run the same command again" in done.error


def test_words_of_the_server(fault: FaultServer, volume: Path) -> None:
    answers = {
        "xml": (b"<Error><Code>AccessDenied</Code><Message>Not for you</Message></Error>", "AccessDenied: Not for you"),
        "json": (
            json.dumps({"error": {"code": "E7", "message": "Not\nfor\x1b[31m you"}}).encode(),
            "E7: Not for [31m you",
        ),
        "text": (b"quota exceeded " * 50, "quota exceeded " * 13 + "quot…"),
        "html": (b"<html><title>403 Forbidden</title></html>", ""),
    }
    for kind, (body, words) in answers.items():
        types = {"html": "text/html", "text": "text/plain"}
        fault.order("/a.bin", status(403, body=body, Content_Type=types.get(kind, f"application/{kind}")), times=2)
        done = run(f"{fault.url}/a.bin", volume)
        shown = f"403 Forbidden ({words})" if words else "403 Forbidden;"
        assert (done.code, shown in done.error) == (3, True), done.error
        fault.clear()
