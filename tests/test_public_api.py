"""What a program may use of dsload: names, types, strings, progress, stopping; and that nothing else is needed."""

import asyncio
import inspect
import re
import subprocess
import sys
import threading
import types
import typing
from pathlib import Path
from typing import Any

import pytest

import dsload
from dsload import Network, Progress, Settings, Snapshot, Source, Target, load, ls, stop_when, verify
from dsload.errors import BusyError, DsloadError, InterruptedLoad
from tests import trees
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import Virtual, stall

MIB = 1 << 20
FILES = {"config.json": b"{}", "sub/model.bin": b"weights"}
ONE = Settings(Network(workers=1))  # connection, so that it has parts of 8 MiB and more
PUBLIC = [name for name in dsload.__all__ if name != "__version__"]


@pytest.fixture
def source(tmp_path: Path) -> str:
    return trees.make(tmp_path / "source", FILES).as_uri()


# Names


def test_every_error_is_public() -> None:
    errors = {
        name for name, value in vars(dsload.errors).items() if inspect.isclass(value) and issubclass(value, DsloadError)
    }
    assert errors <= set(PUBLIC)


def test_dir_and_help_show_all_of_it() -> None:
    program = "import dsload, pydoc; print(*dir(dsload)); print(pydoc.plain(pydoc.render_doc(dsload)))"
    names, _, text = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.partition("\n")
    assert set(PUBLIC) <= set(names.split())
    for name in PUBLIC:
        assert re.search(rf"\b{name}\b", text), name


def test_importing_it_imports_no_engine() -> None:
    program = "import sys, dsload; print([m for m in sys.modules if m.startswith(('pycurl', 'dsload.'))])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        dsload.laod  # noqa: B018


def annotations(value: object) -> list[object]:
    """What the annotations of a public name say: of its parameters and results, fields, methods and properties."""
    members = inspect.getmembers(value) if inspect.isclass(value) else []
    functions = [each for name, each in members if inspect.isfunction(each) and name[0] != "_"]
    functions += [each.fget for name, each in members if isinstance(each, property) and name[0] != "_"]
    functions += [value] if inspect.isfunction(value) else []
    described = [*functions, *([value] if inspect.isclass(value) and not issubclass(value, Exception) else [])]
    return [hint for each in described for name, hint in hints(each).items() if name[0] != "_"]


def hints(value: Any) -> dict[str, object]:
    names = {name: getattr(dsload, name) for name in PUBLIC}
    return typing.get_type_hints(value, {**vars(sys.modules[value.__module__]), **names, "FetcherClass": object})


def parts(hint: object) -> list[type]:
    if isinstance(hint, list | tuple):
        return [part for each in hint for part in parts(each)]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return []
    if arguments:
        return [part for each in arguments for part in parts(each)]
    return [hint] if inspect.isclass(hint) else []


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Spec"])
def test_every_annotation_is_public(name: str) -> None:
    public = {getattr(dsload, each) for each in PUBLIC if inspect.isclass(getattr(dsload, each))}
    for hint in annotations(getattr(dsload, name)):
        for part in parts(hint):
            outside = not part.__module__.startswith("dsload")
            assert outside or part in public, f"{name} is annotated with {part}"


GOOD = """
from pathlib import Path
from dsload import Progress, Report, Settings, Snapshot, Source, Target, load, ls, verify

def show(now: Snapshot) -> None:
    print(now.files + 1)

report: Report = load("https://host/a/", "/mnt/a", settings=Settings(dry_run=True), progress=Progress(show))
moved: int = report.bytes.moved
load(Source.parse("s3://bucket/a"), Target(Path("/mnt"), "a"))
sizes: list[int] = [entry.size for entry in ls("hf://a/b").entries]
wrong: list[str] = [verdict.path for verdict in verify("/mnt/a").wrong]
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the type checker knows of dsload already."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (GOOD, ""),
        ("from dsload import load\nload('s3://b', '/a').no_such", '"Report" has no attribute "no_such"'),
        ("from dsload import laod", 'has no attribute "laod"'),
        ("import dsload\ndsload.laod", 'has no attribute "laod"'),
        ("from dsload import Source\nSource.parze('s3://b')", '"type[Source]" has no attribute "parze"'),
        ("from dsload import load\nload(1, '/a')", 'incompatible type "int"'),
        ("from dsload import verify\nverify('/a').fils", '"Verification" has no attribute "fils"'),
    ],
)
def test_a_type_checker_sees_it_from_outside(code: str, complaint: str, checked: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(checked), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode == 0) == (not complaint), done.stdout
    assert complaint in done.stdout


# Strings


def test_strings_are_taken(source: str, tmp_path: Path) -> None:
    report = load(source, str(tmp_path / "new/folders/target"))
    assert report.target == str(tmp_path / "new/folders/target")
    assert trees.contents(tmp_path / "new/folders/target") == FILES
    assert load(source, tmp_path / "new/folders/target").files.kept == len(FILES)
    assert [entry.path for entry in ls(source).entries] == sorted(FILES)
    found = verify(str(tmp_path / "new/folders/target"))
    assert (found.complete, found.files, found.wrong) == (True, len(FILES), ())


def test_what_verify_finds(source: str, tmp_path: Path) -> None:
    load(source, tmp_path / "target")
    (tmp_path / "target/config.json").write_bytes(b"[]")
    seen: list[str] = []
    found = verify(tmp_path / "target", lambda verdict: seen.append(verdict.path))
    assert [verdict.path for verdict in found.wrong] == seen == ["config.json"]


# Progress


def test_progress_is_shown_and_ends_at_the_end(tmp_path: Path) -> None:
    with FaultServer() as server:
        server.put("/set/model.bin", Virtual(20 * MIB))
        server.put("/set/config.json", b"{}")
        seen: list[tuple[Snapshot, threading.Thread]] = []
        progress = Progress(lambda now: seen.append((now, threading.current_thread())))
        load(f"{server.url}/set/", tmp_path / "target", progress=progress)
    last = seen[-1][0]
    assert (last.files, last.files_total, last.bytes, last.bytes_total) == (2, 2, 20 * MIB + 2, 20 * MIB + 2)
    assert {thread for _, thread in seen} == {threading.main_thread()}
    moved = [now.moved for now, _ in seen]
    assert moved == sorted(moved)


def test_an_error_in_on_change_stops_the_load(source: str, tmp_path: Path) -> None:
    def broken(now: Snapshot) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load(source, tmp_path / "target", progress=Progress(broken))


# Stopping


@pytest.fixture
def stalled():
    with FaultServer() as server:
        server.put("/set/model.bin", Virtual(40 * MIB))
        server.order("/set/model.bin", stall(9 * MIB), when=lambda request: request.method == "GET", times=ALWAYS)
        yield server
        server.release()


def stop_at(event: threading.Event, size: int) -> Progress:
    return Progress(lambda now: event.set() if now.moved >= size else None)


def test_a_load_is_stopped_and_resumed(stalled: FaultServer, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(InterruptedLoad, match="what is done is kept"):
        load(f"{stalled.url}/set/", tmp_path / "t", None, ONE, stop_at(stop, 8 * MIB), stop_when(stop))
    assert not (tmp_path / "t/model.bin").exists()
    assert not (tmp_path / "t/.dsload/lease.json").exists()
    stalled.clear()
    stalled.release()
    report = load(f"{stalled.url}/set/", tmp_path / "t")
    assert report.bytes.resumed >= 8 * MIB
    assert report.files.loaded == 1


def test_a_listing_is_stopped(tmp_path: Path) -> None:
    with FaultServer() as server:
        server.put("/set/a", b"a")
        server.order("/set/", stall(0), times=ALWAYS)
        stop = threading.Event()
        stop.set()
        for use in (
            lambda watch: ls(f"{server.url}/set/", watch=watch),
            lambda watch: load(f"{server.url}/set/", tmp_path / "t", watch=watch),
        ):
            with pytest.raises(InterruptedLoad):
                use(stop_when(stop))
        server.release()


def test_a_cancelled_task_stops_its_load(stalled: FaultServer, tmp_path: Path) -> None:
    """The example of docs/python.md, as it stands there."""
    page = (Path(__file__).parent.parent / "docs/python.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "async def" in block)
    stalled.put("/set/other.bin", Virtual(40 * MIB))
    stalled.order("/set/other.bin", stall(MIB), when=lambda request: request.method == "GET", times=ALWAYS)
    module = types.ModuleType("example")
    exec(code, vars(module))

    async def main() -> None:
        task = asyncio.create_task(module.load_in_thread(f"{stalled.url}/set/", str(tmp_path / "t")))
        while stalled.bytes_sent() < MIB:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not (tmp_path / "t/other.bin").exists()
    assert not (tmp_path / "t/.dsload/lease.json").exists()


def test_two_loads_of_one_target_from_two_threads(stalled: FaultServer, tmp_path: Path) -> None:
    """One process is no exception: the target has one writer."""
    stop, errors = threading.Event(), []

    def first() -> None:
        try:
            load(f"{stalled.url}/set/", tmp_path / "t", None, ONE, watch=stop_when(stop))
        except DsloadError as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    while stalled.bytes_sent() < MIB:
        assert thread.is_alive()
    with pytest.raises(BusyError):
        load(Source.parse(f"{stalled.url}/set/"), Target(tmp_path, "t"))
    stop.set()
    thread.join()
    assert [type(error) for error in errors] == [InterruptedLoad]
