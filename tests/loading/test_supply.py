"""Fail-over: a hub that cannot be reached, from the start or in the middle of a load, and the fallback that serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsload import Network, Settings, Source, Target, load
from dsload.errors import UnreachableError
from dsload.loading.supply import Supply
from dsload.report import Progress
from dsload.transfer.client import Client
from tests.contract.inside import run as inside
from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, ANY
from tests.servers.hub import Hub
from tests.servers.orders import Virtual, close, flip, status
from tests.servers.process import free_port, wait_until
from tests.trees import contents

MIB = 1 << 20
TREE = {"config.json": b"{}", "sub/a.txt": b"a" * 5000, "model.safetensors": Virtual(20 * MIB, seed=1)[:]}


@pytest.fixture
def second() -> Iterator[Hub]:
    """Another hub with the same repository."""
    with Hub() as hub:
        hub.repo("there/copy").put_all(TREE)
        hub.repo("owner/name").put_all(TREE)
        yield hub


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The mount root."""
    return tmp_path / "volume"


def dead() -> str:
    """An endpoint where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def bring(endpoint: str, fallback: str, volume: Path, *arguments: object, uri: str = "hf://owner/name") -> Run:
    options = ("-o", f"endpoint={endpoint}", "-o", f"fallback={fallback}")
    return run(uri, volume, *options, "--retry-budget", "0.5", *arguments)


def fallbacks(second: Hub) -> list[str]:
    return [
        f"modelscope://there/copy?endpoint={second.url}",
        f"hf://there/copy?endpoint={second.url}",
        second.url,
    ]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_hub_that_is_not_there(second: Hub, volume: Path, number: int) -> None:
    done = bring(dead(), fallbacks(second)[number], volume)
    assert (done.code, done.tree) == (0, TREE)
    assert done.report["server"] == second.url
    assert done.report["source"] == "hf://owner/name"
    assert done.report["revision"] == second.repo("owner/name" if number == 2 else "there/copy").head
    assert "using the fallback" in done.result.err
    assert bring(dead(), fallbacks(second)[number], volume).report["bytes"]["moved"] == 0


def test_a_hub_whose_name_nobody_knows(second: Hub, volume: Path) -> None:
    """As at a site without the internet, whose mirror is the fallback."""
    done = run("hf://owner/name", volume, "-o", "endpoint=https://no-such-hub.invalid", "-o", f"fallback={second.url}")
    assert (done.code, done.tree) == (0, TREE)
    assert done.report["server"] == second.url


def test_from_modelscope_to_hugging_face(second: Hub, volume: Path) -> None:
    done = bring(dead(), f"hf://there/copy?endpoint={second.url}", volume, uri="ms://owner/name")
    assert (done.code, done.tree, done.report["server"]) == (0, TREE, second.url)


def test_a_hub_that_answers_serves(hub: Hub, second: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all(TREE)
    done = bring(hub.url, second.url, volume)
    assert (done.code, done.tree, done.report["server"]) == (0, TREE, hub.url)
    assert second.requests() == []


def test_a_hub_that_refuses_is_no_hub_that_cannot_be_reached(hub: Hub, second: Hub, volume: Path) -> None:
    done = bring(hub.url, second.url, volume)
    assert done.code == 3
    assert second.requests() == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_hub_that_goes_away_in_the_middle(hub: Hub, second: Hub, volume: Path, number: int) -> None:
    """What it had listed is what the fallback's files are checked against; and what it had sent is not sent again."""
    hub.repo("owner/name").put_all(TREE)
    hub.order(ANY, close(0), after=3, times=ALWAYS)  # after revision, tree, and where the model lies
    hub.storage.order(ANY, close(9 * MIB))
    hub.storage.order(ANY, close(0), times=ALWAYS)
    volume.mkdir()

    class Patient(Progress):
        def retried(self, reason: str) -> None:
            parts = volume / "set/.dsload/parts"
            wait_until(lambda: any('"end"' in f.read_text() for f in parts.glob("*.journal")), "a finished part")
            super().retried(reason)

    options = {"endpoint": hub.url, "fallback": fallbacks(second)[number]}
    settings = Settings(Network(workers=1, retry_budget=0.5))
    source = Source.parse("hf://owner/name", None, options)
    report = load(source, Target(volume, "set"), settings=settings, progress=Patient())
    assert contents(volume / "set") == TREE
    assert report.revision == hub.repo("owner/name").head
    assert report.server == second.url
    assert report.bytes.resumed >= 8 * MIB
    assert second.storage.bytes_sent() <= 12 * MIB
    with_the_first = load(Source.parse("hf://owner/name", None, {"endpoint": _revived(hub)}), Target(volume, "set"))
    assert with_the_first.bytes.moved == 0


def _revived(hub: Hub) -> str:
    hub.clear()
    return hub.url


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("model.safetensors", Virtual(20 * MIB, seed=2)[:], "1 of 3 files is missing or not as"),
        ("config.json", b"other length", "1 of 3 files is missing or not as"),
        ("config.json", None, "1 of 3 files is missing or not as"),
        ("config.json", b"[]", "config.json"),
    ],
)
def test_a_fallback_with_other_content(
    hub: Hub, second: Hub, volume: Path, path: str, data: bytes | None, message: str, number: int
) -> None:
    hub.repo("owner/name").put_all(TREE)
    copy = second.repo("there/copy")
    copy.put(path, data) if data is not None else copy.remove(path)
    _cut_off_the_files(hub)
    done = bring(hub.url, fallbacks(second)[number], volume)
    assert (done.code, message in done.error) == (5, True), done.error
    assert path in done.error
    assert path not in done.tree
    done = bring(hub.url, fallbacks(second)[number], volume, "-o", f"exclude={path}")
    assert (done.code, set(done.tree)) == (0, set(TREE) - {path})


def _cut_off_the_files(hub: Hub) -> None:
    """The API answers, and no file comes."""
    hub.order(ANY, status(503), when=lambda request: "/resolve/" in request.target, times=ALWAYS)
    hub.storage.order(ANY, status(503), times=ALWAYS)


def test_wrong_bytes_from_the_fallback(hub: Hub, second: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all(TREE)
    _cut_off_the_files(hub)
    second.order(ANY, flip(0), when=lambda request: request.target.endswith("config.json"), times=ALWAYS)
    done = bring(hub.url, fallbacks(second)[0], volume)
    assert (done.code, "config.json from modelscope://there/copy" in done.error) == (5, True)


def test_neither_can_be_reached(volume: Path) -> None:
    other = dead()
    done = bring(dead(), f"modelscope://there/copy?endpoint={other}", volume)
    assert (done.code, "modelscope://there/copy" in done.error) == (9, True)


def test_the_token_is_not_for_the_fallback(second: Hub, volume: Path, tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets", token="for-the-first")
    assert bring(dead(), fallbacks(second)[0], volume).tree == TREE
    sent = {name for request in second.requests() for name in request.headers}
    assert {"authorization", "cookie"}.isdisjoint(sent)


def test_filters_and_weights_are_for_the_fallback_too(second: Hub, volume: Path) -> None:
    second.repo("there/copy").put("pytorch_model.bin", b"b")
    options = ("-o", "weights=safetensors", "-o", "exclude=sub/")
    done = bring(dead(), fallbacks(second)[0], volume, *options)
    assert (done.code, set(done.tree)) == (0, {"config.json", "model.safetensors"})


@pytest.mark.parametrize(("budget", "first"), [(600, 60), (20, 20)])
def test_the_first_hub_is_not_waited_for_as_long_as_the_last(budget: float, first: float) -> None:
    supply = Supply(Source.parse("hf://a/b", None, {"fallback": "ms://a/b"}), network=Network(retry_budget=budget))
    patience = {}

    def way(client: Client) -> None:
        patience[str(supply.asked)] = client.network.retry_budget
        raise UnreachableError("listing", str(supply.asked), "by the test")

    with pytest.raises(UnreachableError):
        supply.serve(way)
    assert patience == {"hf://a/b": first, "ms://a/b": budget}


# Shards


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_shard_of_a_hub_that_is_not_there(second: Hub, volume: Path, number: int) -> None:
    done = bring(dead(), fallbacks(second)[number], volume, "--shard", "0/1")
    assert (done.code, done.tree, done.report["server"]) == (0, TREE, second.url)


@pytest.mark.parametrize("planned_by_the_fallback", [True, False])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_shards_that_reach_different_hubs(
    hub: Hub, second: Hub, volume: Path, number: int, planned_by_the_fallback: bool
) -> None:
    """One shard plans by one hub, the other loads its part of that plan from the other hub."""
    hub.repo("owner/name").put_all(TREE)
    for index in range(2):
        with_fallback = planned_by_the_fallback == (index == 0)
        hub.clear()
        if with_fallback:
            hub.order(ANY, close(0), times=ALWAYS)
        done = bring(hub.url, fallbacks(second)[number], volume, "--shard", f"{index}/2")
        assert done.code == 0, done.result.err
        assert done.report["server"] == (second.url if with_fallback else hub.url)
    assert done.tree == TREE
    assert inside("verify", volume / "set").code == 0


def test_a_shard_whose_hub_has_other_content_than_the_plan(hub: Hub, second: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all({**TREE, "config.json": b"other length", "sub/a.txt": b"other length"})
    hub.order(ANY, close(0), times=ALWAYS)
    assert bring(hub.url, second.url, volume, "--shard", "0/2").code == 0
    hub.clear()
    done = bring(hub.url, second.url, volume, "--shard", "1/2")
    assert (done.code, "has changed since the shards' plan was made" in done.error) == (5, True)


def test_the_report_of_a_shard_says_what_was_left_out(second: Hub, volume: Path) -> None:
    second.repo("owner/name").put("pytorch_model.bin", b"b" * 7)
    done = run("hf://owner/name", volume, "-o", f"endpoint={second.url}", "-o", "weights=safetensors", "--shard", "0/1")
    assert (done.code, done.report["left_out"]) == (0, {"files": 1, "bytes": 7})


# ls


def test_ls(second: Hub) -> None:
    options = ("-o", f"endpoint={dead()}", "-o", f"fallback={second.url}", "--retry-budget", "0.2")
    done = inside("ls", "hf://owner/name", *options)
    assert done.code == 0
    assert {line.split(None, 2)[2] for line in done.out.splitlines()[1:]} == set(TREE)


def test_a_fallback_at_its_own_revision(second: Hub, volume: Path) -> None:
    second.repo("there/copy").tag("v1")
    second.repo("there/copy").put("config.json", b"later")
    done = bring(dead(), f"ms://there/copy?revision=v1&endpoint={second.url}", volume, "-o", "revision=v1")
    assert (done.code, done.tree) == (0, TREE)
