"""The registry: what there is, what third parties add, and that a load imports its own libraries only."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from dsload.registry import specs
from tests.command import Result, run
from tests.servers.fault import FaultServer
from tests.servers.s3 import ANONYMOUS_BUCKET, SeaweedFS

LIBRARIES = ("botocore", "fsspec", "awscrt", "paramiko", "yaml", "rich", "click", "pycurl", "requests", "s3fs")
FETCHER = """
from dsload.listing import BytesReader, Entry, Listing
from dsload.registry import Spec

SPEC = Spec({type!r}, {schemes!r}, {fetcher!r}, {{"greeting": "what it says"}}, requires={requires!r}, extra="")


class Greeting(BytesReader):
    def __init__(self, source, context):
        self._text = source.options.get("greeting", "hello").encode()

    def list(self):
        return Listing([Entry("greeting.txt", len(self._text), "v1", self)], revision="first")

    def read(self, entry, start, end):
        return self._text[start:end]
"""


def distribution(
    site: Path,
    name: str,
    *,
    type: str = "GREETING",
    schemes: tuple[str, ...] = ("greet",),
    requires: tuple[str, ...] = (),
    point: str = "SPEC",
    code: str = "",
) -> dict[str, str]:
    """Install a package with one fetcher into a directory; the environment that finds it."""
    site.mkdir(exist_ok=True)
    fetcher = f"{name}:Greeting"
    code = code or FETCHER.format(type=type, schemes=schemes, fetcher=fetcher, requires=requires)
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dsload.fetchers]\n{name} = {name}:{point}\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}


def test_what_there_is() -> None:
    done = run("sources", "--output", "json")
    assert (done.code, done.err) == (0, "")
    rows = {row["type"]: row for row in done.json}
    assert set(rows) == set(specs())
    for spec in specs().values():
        row = rows[spec.type]
        assert row["state"] == ("installed" if spec.preloads else "mounted, not loaded")
        assert set(spec.schemes) <= set(row["schemes"])
        assert set(spec.options) <= set(row["options"])
    assert {"memory", "sftp", "gs", "abfs", "webhdfs"} <= set(rows["FSSPEC"]["schemes"])
    assert not {"s3", "http", "https", "file"} & set(rows["FSSPEC"]["schemes"])  # they have fetchers of their own
    assert rows["HTTP"]["options"] == {"…": "request headers"}

    lines = run("sources").out.splitlines()
    for spec in specs().values():
        (line,) = (line for line in lines if line.startswith(f"{spec.type} "))
        assert all(f"{scheme}://" in line for scheme in spec.schemes)
        assert line.endswith("(installed)" if spec.preloads else "(mounted, not loaded)")
    assert any(line.split()[0] == "endpoint" for line in lines if line)
    assert lines[-1] == "Every source that is loaded also takes exclude, include, syncMode."


def test_filesystems_whose_library_is_missing() -> None:
    program = (
        "import sys; sys.modules['paramiko'] = sys.modules['gcsfs'] = None; from dsload.cli.main import main; main()"
    )
    done = python(program, "sources", "--output", "json")
    missing = {row["type"]: row["missing"] for row in done.json}
    assert missing["FSSPEC"]["sftp"] == "pip install 'dsload[sftp]'"
    assert missing["FSSPEC"]["gs"] == "pip install 'dsload[gcs]'"
    assert "memory" not in missing["FSSPEC"]
    assert missing["GIT"] == dict.fromkeys(("ssh", "git+ssh"), "pip install 'dsload[ssh]'")
    assert missing["S3"] == {}
    assert "sftp://          not installed: pip install 'dsload[sftp]'" in python(program, "sources").out


@pytest.mark.parametrize("uri", ["pvc://claim/path", "nfs://host/path", "dataset://namespace/name"])
def test_a_type_that_is_mounted_is_not_loaded(uri: str, tmp_path: Path) -> None:
    for arguments in (("load", uri, "--mount-path", "set", "--mount-root", tmp_path), ("ls", uri)):
        done = run(*arguments)
        assert done.code == 2
        assert "there is nothing to load; `dsload manifest` makes the volume and claim for it" in done.errors[0]
    assert list(tmp_path.iterdir()) == []


# Third parties


def test_a_fetcher_of_a_third_party(tmp_path: Path) -> None:
    env = distribution(tmp_path / "site", "greetings")
    row = {row["type"]: row for row in run("sources", "--output", "json", env=env).json}["GREETING"]
    assert row == {
        "type": "GREETING",
        "schemes": ["greet"],
        "forms": [],
        "options": {"greeting": "what it says"},
        "state": "installed",
        "missing": {},
    }
    assert run("ls", "greet://you", env=env).out.splitlines() == [
        "revision first",
        "             5  version:v1  greeting.txt",
    ]
    (tmp_path / "volume").mkdir()
    place = ("--mount-path", "set", "--mount-root", tmp_path / "volume")
    for source, text in (
        (["greet://you"], "hello"),
        (["greeting", "greet://you?greeting=hi"], "hi"),
        (["GREETING", "greet://you", "-o", "greeting=good day"], "good day"),
    ):
        assert run("load", *source, *place, env=env).code == 0
        assert (tmp_path / "volume/set/greeting.txt").read_text() == text
    done = run("load", "greet://you", *place, "-o", "volume=11", env=env)
    assert done.code == 2
    assert "its options are: exclude, greeting, include, syncMode" in done.errors[0]
    assert run("ls", "greet://you").code == 2  # without it


WEB_FETCHER = """
from dsload.listing import Entry, HttpReader, Listing, Request
from dsload.registry import Spec

SPEC = Spec("GREETING", ("greet",), "web:Greeting", {{}}, extra="")


class Greeting(HttpReader):
    def __init__(self, source, context):
        pass

    def list(self):
        return Listing([Entry("small", 5, "v1", self), Entry("large", {size}, "v1", self)])

    def request(self, entry):
        return Request("{url}/" + entry.path)
"""


def test_an_http_reader_of_a_third_party_writes_its_request_alone(tmp_path: Path, fault: FaultServer) -> None:
    large = b"0123456789abcdef" * (1 << 20)
    fault.put("/small", b"hello")
    fault.put("/large", large)
    code = WEB_FETCHER.format(size=len(large), url=fault.url)
    env = distribution(tmp_path / "site", "web", code=code)
    (tmp_path / "volume").mkdir()
    done = run("load", "greet://you", "--mount-path", "set", "--mount-root", tmp_path / "volume", env=env)
    assert done.code == 0, done.err
    assert (tmp_path / "volume/set/small").read_bytes() == b"hello"
    assert (tmp_path / "volume/set/large").read_bytes() == large
    assert {request.method for request in fault.requests()} == {"GET"}
    assert any(request.headers.get("range") for request in fault.requests("/large"))


@pytest.mark.parametrize(
    ("type", "schemes", "why"),
    [
        ("S3", ("greet",), "reading the registry S3: dsload.fetchers.s3.fetcher:S3 and rival:Greeting both claim"),
        ("PVC", ("greet",), "dsload itself and rival:Greeting both claim this type"),
        ("FSSPEC", ("greet",), "both claim this type"),
        ("RIVAL", ("s3",), "reading the registry s3://: S3 and RIVAL both claim this scheme; uninstall one"),
        ("RIVAL", ("greet", "pvc"), "PVC and RIVAL both claim this scheme"),
        ("rival", ("greet",), "rival:SPEC of rival: it is not a dsload.registry.Spec with a type in upper case"),
    ],
)
def test_nobody_replaces_a_fetcher(tmp_path: Path, type: str, schemes: tuple[str, ...], why: str) -> None:
    env = distribution(tmp_path / "site", "rival", type=type, schemes=schemes)
    done = run("ls", tmp_path.as_uri(), env=env)
    assert done.code == 2
    assert why in done.errors[0]


def test_two_third_parties_of_one_type(tmp_path: Path) -> None:
    distribution(tmp_path / "site", "first")
    env = distribution(tmp_path / "site", "second", schemes=("other",))
    done = run("sources", env=env)
    assert done.code == 2
    assert "first:Greeting" in done.errors[0]
    assert "second:Greeting" in done.errors[0]


@pytest.mark.parametrize(
    ("point", "code", "why"),
    [
        ("SPEC", "import no_such_module", "it cannot be imported (ModuleNotFoundError: No module named"),
        ("SPEC", "1 / 0", "it cannot be imported (ZeroDivisionError"),
        ("NOTHING", "SPEC = None", "it cannot be imported (AttributeError"),
        ("SPEC", "SPEC = 'dsload'", "it is not a dsload.registry.Spec"),
    ],
)
def test_a_third_party_that_is_broken_is_named(tmp_path: Path, point: str, code: str, why: str) -> None:
    done = run("sources", env=distribution(tmp_path / "site", "broken", point=point, code=code))
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert f"reading the registry broken:{point} of broken: {why}" in line
    assert "fix or uninstall it" in line


@pytest.mark.parametrize("module", ["no_such_module", "no_such_parent.child"])
def test_a_fetcher_whose_library_is_missing(tmp_path: Path, module: str) -> None:
    env = distribution(tmp_path / "site", "greetings", requires=(module,))
    row = {row["type"]: row for row in run("sources", "--output", "json", env=env).json}["GREETING"]
    assert row["state"] == f"pip install {module}"
    done = run("ls", "greet://you", env=env)
    assert done.code == 2
    assert f"its library is missing ({module}); pip install {module}" in done.errors[0]


# Imports

CALL = """
import json, sys
from dsload.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: object, among: Iterable[str] = LIBRARIES) -> set[str]:
    """Which of the libraries a command imports."""
    done = python(CALL, *arguments)
    assert done.code == 0, done.err
    return set(json.loads(done.err.splitlines()[-1])) & set(among)


def python(program: str, *arguments: object) -> Result:
    """Run a program in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, env=dict(os.environ)
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_help_imports_no_library_of_a_source() -> None:
    for arguments in (("--help",), ("load", "--help"), ("--version",)):
        assert imported(*arguments) == {"click"}
        mine = imported(*arguments, among=("dsload.transfer.client", "dsload.fetchers", "dsload.loading.load"))
        assert mine == set()


def test_a_load_imports_its_own_libraries_only(
    tmp_path: Path, fault: FaultServer, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"content")
    seaweed.put(ANONYMOUS_BUCKET, "imports/a", b"content", "SHA256")
    always, endpoint = {"click", "pycurl"}, ("-o", f"endpoint={seaweed.endpoint}")
    cases = {
        ((tmp_path / "source").as_uri(),): always,
        (fault.put("/d/a", b"content"),): always,
        (f"s3://{ANONYMOUS_BUCKET}/imports", *endpoint): always,
    }
    for number, (arguments, libraries) in enumerate(cases.items()):
        place = ("--mount-root", tmp_path, "--mount-path", str(number))
        assert imported("load", *arguments, *place) == libraries, arguments
        assert imported("verify", tmp_path / str(number)) <= libraries
    seaweed.put(ANONYMOUS_BUCKET, "imports/b", b"content", "CRC32C")
    place = ("--mount-root", tmp_path, "--mount-path", "crc")
    assert imported("load", f"s3://{ANONYMOUS_BUCKET}/imports", *endpoint, *place) == {*always, "awscrt"}
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert imported("ls", f"s3://{ANONYMOUS_BUCKET}/imports", *endpoint, "-o", "anonymous=true") == always
