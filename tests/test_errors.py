"""Every way to fail has its exit code and one line, and nothing else comes out of a load."""

import ast
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dsload
from dsload import Network, Ownership, Settings, Source, Target, errors
from dsload.errors import DsloadError
from tests import trees
from tests.contract.inside import run
from tests.servers.fault import FaultServer
from tests.servers.mounts import UNPRIVILEGED, directory_of, need_root
from tests.servers.orders import stall
from tests.servers.process import free_port

CONTRACT = {  # class: exit code, whether a retry helps
    "DsloadError": (1, False),
    "UsageError": (2, False),
    "RefusedError": (3, False),
    "NotFoundError": (4, False),
    "UnknownHostError": (4, False),
    "IntegrityError": (5, False),
    "UnsafePathError": (5, False),
    "NoSpaceError": (6, False),
    "VolumeError": (7, False),
    "OwnershipError": (7, False),
    "BusyError": (8, True),
    "UnreachableError": (9, True),
    "BadAnswerError": (9, True),
    "ChangedError": (9, True),
    "InterruptedLoad": (130, True),
    "TerminatedLoad": (143, True),
}
OWN = Ownership(os.geteuid(), os.getegid())
HASTY = Settings(Network(retry_budget=0, stall_timeout=1))


def classes(of: type[DsloadError] = DsloadError) -> Iterator[type[DsloadError]]:
    yield of
    for below in of.__subclasses__():
        yield from classes(below)


# The tree


def test_the_tree_is_the_contract() -> None:
    mine = [each for each in classes() if each.__module__ == "dsload.errors"]
    assert {each.__name__: (each.exit_code, each.retry) for each in mine} == CONTRACT
    assert all(each.__doc__ and each.__mro__[1] in (DsloadError, Exception) for each in mine)
    kinds = (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception))
    assert {kind.__name__ for kind in kinds} == set(CONTRACT)
    drawn = re.findall(r"^[├└ ─│]*(\w+) +(\d+) ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == {name: code for name, (code, _) in CONTRACT.items()}


def test_the_table_of_exit_codes_is_the_contract() -> None:
    table = {row.code: row for row in errors.exit_table()}
    assert list(table) == [*range(10), 130, 143]
    assert all(row.meaning for row in table.values())
    assert {code: row.retry for code, row in table.items() if code < 2} == {0: "", 1: "maybe"}
    for code, retry in CONTRACT.values():
        assert table[code].retry == ("maybe" if code == 1 else "yes" if retry else "no")
    assert [each for each in classes() if each.__module__ != "dsload.errors"] == []


def test_the_tree_as_drawn_is_the_tree() -> None:
    rows = re.findall(r"^(?:[├└]── )?(\w+) +(\d+)  .*?(\(a retry helps\))?$", errors.__doc__ or "", re.MULTILINE)
    assert {name: (int(code), bool(retry)) for name, code, retry in rows} == CONTRACT


def test_the_page_has_the_table() -> None:
    page = Path(__file__).parent.parent / "docs/exit-codes.md"
    rows = re.findall(r"^\| ([\d, ]+) \| .* \| *(yes|no|maybe)? *\|$", page.read_text(), re.MULTILINE)
    table = {int(code): helps for codes, helps in rows for code in codes.split(",")}
    assert table == {0: "", 1: "maybe"} | {
        code: "yes" if retry else "no" for code, retry in CONTRACT.values() if code > 1
    }


@pytest.mark.parametrize("arguments", [["--help"], ["load", "--help"]])
def test_the_help_has_the_table(arguments: list[str]) -> None:
    text = run(*arguments).out.partition("Exit codes:")[2]
    cells = re.findall(r"(\d+) +([^\d\n]+)", text)
    assert {int(code): about.strip().endswith("*") for code, about in cells} == {0: False} | dict(CONTRACT.values())


def test_an_error_is_one_line_that_says_what_where_why_and_what_to_do() -> None:
    for each in classes():
        error = each("listing", "s3://b", "it\nis  gone", "look\r\nelsewhere")
        assert str(error) == "listing s3://b: it is gone; look elsewhere"
        assert str(each("listing", "", "it is gone")) == "listing: it is gone"
        assert (error.doing, error.where, error.why, error.fix) == (
            "listing",
            "s3://b",
            "it\nis  gone",
            "look\r\nelsewhere",
        )


# Nothing else comes out of a load


def load(uri: str, root: Path, path: str = "t", **options: str) -> None:
    dsload.load(Source.parse(uri, None, options), Target(root, path, OWN), settings=HASTY)


def a_tree(folder: Path) -> str:
    return trees.make(folder, {"a": b"1", "sub/b": b"2"}).as_uri()


def silent_server() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


SOURCES: dict[str, Callable[[Path], str]] = {
    "missing": lambda at: f"file://{at}/missing",
    "nul": lambda at: "file:///a%00b",
    "a fifo": lambda at: (os.mkfifo(at / "fifo"), f"file://{at}")[1],
    "a fifo itself": lambda at: (os.mkfifo(at / "fifo"), f"file://{at}/fifo")[1],
    "a loop of links": lambda at: (os.symlink("b", at / "a"), os.symlink("a", at / "b"), f"file://{at}/a/")[2],
    "a name too long": lambda at: f"file:///{'x' * 300}",
    "a link out of it": lambda at: (os.symlink("/etc/passwd", at / "out"), f"file://{at}")[1],
    "refused": lambda at: f"http://127.0.0.1:{free_port()}/x",
    "no such host": lambda at: "http://no-such-host.invalid/x",
    "no s3 there": lambda at: "s3://bucket/x?endpoint=http://127.0.0.1:1",
    "a bad host name": lambda at: "http://" + "x" * 70 + "/",
    "a bad host name in unicode": lambda at: "http://ex..ample\N{SNOWMAN}/",
    "no such filesystem": lambda at: "zip://nowhere.zip",
    "a filesystem that wants more": lambda at: "sftp://127.0.0.1:1/x",
    "a filesystem with a bad option": lambda at: "memory://x?color=red",
    "local by another name": lambda at: f"local://{at}/missing",
    "surrogates": lambda at: "file:///\udcff",
}


@pytest.mark.parametrize("name", SOURCES)
def test_bad_sources(name: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "root").mkdir()
    with pytest.raises(DsloadError) as caught:
        load(SOURCES[name](tmp_path / "source"), tmp_path / "root")
    assert caught.value.exit_code in (2, 3, 4, 5, 9), repr(caught.value)
    assert caught.value.why


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999 What\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n", b"\x16\x03\x01\x02\x00",
     b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \xff\xfe\r\nContent-Range: bytes\r\n\r\n12",
     b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\nContent-Range: bytes a-b/c\r\n\r\n1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/f", "/d/"])
def test_servers_that_talk_nonsense(answer: bytes, path: str, tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    with server.accept()[0] as connection:\n"
        f"        connection.recv(65536); connection.sendall({answer!r}); connection.shutdown(socket.SHUT_WR)\n"
        "        connection.settimeout(1)\n"
        "        try: connection.recv(65536)\n"
        "        except OSError: pass\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with pytest.raises(DsloadError) as caught:
            load(f"http://127.0.0.1:{port}{path}", tmp_path)
        assert caught.value.exit_code in (3, 4, 5, 9), repr(caught.value)
    finally:
        server.kill()
        server.communicate()


def make_directory(place: Path) -> None:
    place.unlink(missing_ok=True)
    place.mkdir(parents=True)
    (place / "inside").write_bytes(b"")


def make_file(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"in the way")


def make_link(place: Path) -> None:
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink("/nonexistent/elsewhere", place)


IN_THE_WAY = [
    ("", make_file), ("", make_link), (".dsload", make_file), (".dsload", make_link), (".dsload/parts", make_file),
    (".dsload/parts", make_link), (".dsload/lease.json", make_directory), (".dsload/lease.json", make_link),
    (".dsload/inventory.jsonl", make_directory), (".dsload/inventory.jsonl", make_link),
    (".dsload/complete.json", make_directory), (".dsload/complete.json", make_link),
    (".dsload/parts/files.jsonl", make_directory), (".dsload/parts/files.jsonl", make_link),
    ("a", make_directory), ("sub", make_file), ("sub", make_link),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "loaded"),
    [
        pytest.param(name, make, loaded, id=f"{name or 'target'}-{make.__name__}{'-loaded' if loaded else ''}")
        for name, make in IN_THE_WAY
        for loaded in (False, True)
        if not (loaded and name in ("", ".dsload", ".dsload/parts", "sub"))  # a load made directories there
    ],
)
def test_things_in_the_way_on_the_target(name: str, make: Callable[[Path], None], loaded: bool, tmp_path: Path) -> None:
    uri = a_tree(tmp_path / "source")
    (tmp_path / "root").mkdir()
    if loaded:
        load(uri, tmp_path / "root")
    (tmp_path / "source/new").write_bytes(b"so that there is something to do")
    make(tmp_path / "root/t" / name)
    try:
        load(uri, tmp_path / "root")
    except DsloadError as error:
        assert error.exit_code in (5, 7), repr(error)
    else:
        assert trees.contents(tmp_path / "root/t") == trees.contents(tmp_path / "source")


def test_a_target_that_may_not_be_looked_into() -> None:
    """Where even lstat is refused. The process drops its privileges once it has imported what it needs."""
    need_root("become another user")
    with directory_of() as folder:
        uri = a_tree(folder / "source")
        trees.make(folder / "t/sub", {}).chmod(0)
        os.chown(folder / "t", UNPRIVILEGED, UNPRIVILEGED)
        script = (
            "import os, pathlib, dsload\n"
            f"source, root = dsload.Source.parse({uri!r}), pathlib.Path({str(folder)!r})\n"
            "dsload.load(source, dsload.Target(root, 'of root'))\n"
            f"os.setgroups([]); os.setgid({UNPRIVILEGED}); os.setuid({UNPRIVILEGED})\n"
            "dsload.load(source, dsload.Target(root, 't'))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "dsload.errors.VolumeError: checking sub/b: permission denied" in done.stderr.splitlines()[-1]


def test_settings_that_are_wrong(fault: FaultServer, tmp_path: Path) -> None:
    fault.put("/f", b"data")
    (tmp_path / "bad.pem").write_bytes(b"no certificate")
    with pytest.raises(errors.UsageError):
        Target(tmp_path, "../x")
    settings = Settings(Network(retry_budget=0, ca_bundle=str(tmp_path / "bad.pem")))
    with pytest.raises(DsloadError) as caught:
        dsload.load(Source.parse(f"https://127.0.0.1:{fault.port}/f"), Target(tmp_path, "t", OWN), settings=settings)
    assert caught.value.exit_code in (2, 9)


def test_whoever_watches_may_stop_a_load_with_an_error_of_their_own(fault: FaultServer, tmp_path: Path) -> None:
    url = fault.put("/f", b"data")
    fault.order("/f", stall(0), when=lambda request: request.method == "GET")

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        dsload.load(Source.parse(url), Target(tmp_path, "t", OWN), watch=stop)
    assert not (tmp_path / "t/.dsload/lease.json").exists()


PACKAGE = Path(dsload.__file__).parent


@pytest.mark.parametrize("path", [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))])
def test_a_rerun_is_advised_where_the_exit_code_says_that_it_helps(path: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text())
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        said = " ".join(
            each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )
        if kind := kinds.get(call.func.id):
            helps = getattr(kind, "retry", False) or "make room" in said
            assert helps or "same command again" not in said, f"dsload/{path}:{call.lineno}: {said}"
