"""Rattler and pip take the channels, packages and wheels for real ones."""

import asyncio
import bz2
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from rattler import Channel, Client, Gateway, install, solve
from rattler.exceptions import GatewayError, InstallerError, SolverError
from rattler.networking import AddHeadersMiddleware

from tests.servers import channel as channels
from tests.servers.channel import (
    EVIL,
    HOSTILE,
    PYTHON,
    Package,
    Wheel,
    listed_absolute,
    make_channel,
    packed_through_link,
    pip_package,
    python_package,
    setuid,
    spoil,
    standard,
    tool,
)
from tests.servers.nginx import Nginx
from tests.servers.orders import basic

USER = ("user", "pass word")
FORMS = pytest.mark.parametrize("form", [".conda", ".tar.bz2"])


def environment(work: Path, url: str, *specs: str, user: tuple[str, str] | None = None, scripts: bool = False) -> Path:
    """Solve and install with plain rattler; the prefix."""
    headers = {"Authorization": basic(*user)} if user else {}
    client = Client([AddHeadersMiddleware(lambda host, path: headers)])
    options = {"client": client, "execute_link_scripts": scripts, "show_progress": False}

    async def go() -> None:
        gateway = Gateway(cache_dir=work / "repodata", client=client)
        records = await solve([Channel(url)], specs, gateway=gateway)
        await install(records, work / "env", cache_dir=work / "packages", **options)

    asyncio.run(go())
    return work / "env"


def run(prefix: Path, program: str, *args: str) -> str:
    """What a program of an environment prints."""
    env = {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    argv = [prefix / "bin" / program, *args]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def archived(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Each member of a package, with its content."""
    if path.suffix == ".conda":
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in archive.namelist() if name.endswith(".tar.zst")]
        tars = [zstandard.ZstdDecompressor().decompress(part) for part in parts]
    else:
        tars = [bz2.decompress(path.read_bytes())]
    members = []
    for content in tars:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                members.append((member, file.read() if file else b""))
    return members


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nginx]:
    (tmp_path / "www").mkdir()
    with Nginx(tmp_path / "nginx", tmp_path / "www", auth=USER) as server:
        yield server


def test_an_environment_runs_from_where_it_is(tmp_path: Path, channel: Path):
    prefix = environment(tmp_path, channel.as_uri(), "tool", "hello", "ipykernel", "pip")
    assert run(prefix, "tool") == f"tool 2.0 {prefix}"
    assert run(prefix, "hello") == f"hello from {prefix}"
    assert run(prefix, "pip", "--version").startswith(f"pip {pip_package().version} from {prefix}/lib/{PYTHON}")
    for name in ("python", "python3", PYTHON):
        assert run(prefix, name, "-c", "import sys, ipykernel; print(sys.prefix)") == str(prefix)


def test_the_launcher_does_where_a_copy_of_the_interpreter_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channels, "_runs", lambda python: False)
    python = python_package.__wrapped__()
    assert python.files[f"bin/{PYTHON}"].startswith(b"#!")
    prefix = environment(tmp_path, make_channel(tmp_path / "channel", python, tool("1.0")).as_uri(), "tool")
    assert run(prefix, "tool") == f"tool 1.0 {prefix}"
    assert run(prefix, "python", "-c", "import sys; print(sys.prefix)") == str(prefix)


def test_the_pip_that_is_installed_does_where_none_is_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channels, "_bundled_pip", lambda: None)
    folder = make_channel(tmp_path / "channel", python_package(), pip_package.__wrapped__())
    prefix = environment(tmp_path, folder.as_uri(), "pip")
    assert f" from {prefix}/lib/" in run(prefix, "pip", "--version")


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        (["needs-old", "needs-new"], "incompatible"),
        (["tool ==1.0", "needs-new"], "tool ==2.0"),
        (["broken"], "tool ==9"),
        (["nothere"], "nothere"),
    ],
)
def test_what_cannot_be_solved(tmp_path: Path, channel: Path, specs: list[str], why: str):
    with pytest.raises(SolverError, match=why):
        environment(tmp_path, channel.as_uri(), *specs)


@pytest.mark.parametrize(("spec", "version"), [("tool", "2.0"), ("needs-old", "1.0"), ("needs-new", "2.0")])
def test_the_version_that_is_wanted(tmp_path: Path, channel: Path, spec: str, version: str):
    prefix = environment(tmp_path, channel.as_uri(), spec)
    assert (prefix / "share/big.bin").read_bytes() == tool(version).files["share/big.bin"]
    assert (prefix / "share/tool.txt").read_text() == f"version {version}\nprefix {prefix}\n"


@FORMS
def test_an_installed_package_has_all_that_it_was_given(tmp_path: Path, form: str):
    package = replace(
        tool("1.0"),
        files={**tool("1.0").files, "share/secret": b"s", "share/linked.txt": b"linked"},
        modes={"bin/tool": 0o755, "share/secret": 0o600},
        hardlinks={"share/again.txt": "share/linked.txt"},
        depends=[],
        form=form,
    )
    prefix = environment(tmp_path, make_channel(tmp_path / "channel", package).as_uri(), "tool")
    assert (prefix / "share/secret").read_bytes() == b"s"
    modes = {path: (prefix / path).stat().st_mode & 0o777 for path in ("bin/tool", "share/secret", "share/tool.txt")}
    assert modes == {"bin/tool": 0o755, "share/secret": 0o600, "share/tool.txt": 0o644}
    assert (prefix / "share/latest.bin").readlink() == Path("big.bin")
    assert (prefix / "share/again.txt").samefile(prefix / "share/linked.txt")
    binary = (prefix / "lib/tool.bin").read_bytes()
    assert binary.startswith(b"\0" + bytes(prefix / "share") + b"\0") and binary.endswith(b"\x001.0\0")
    assert len(binary) == len(package.files["lib/tool.bin"])
    meta = json.loads((prefix / "conda-meta/tool-1.0-0.json").read_text())
    assert {entry["_path"]: entry.get("file_mode") for entry in meta["paths_data"]["paths"]} == {
        "bin/tool": "text",
        "lib/tool.bin": "binary",
        "share/again.txt": None,
        "share/big.bin": None,
        "share/latest.bin": None,
        "share/linked.txt": None,
        "share/secret": None,
        "share/tool.txt": "text",
    }


@pytest.mark.parametrize("scripts", [True, False])
def test_a_post_link_script_runs_if_it_may(tmp_path: Path, channel: Path, scripts: bool):
    prefix = environment(tmp_path, channel.as_uri(), "scripted", scripts=scripts)
    assert (prefix / "share/scripted").is_file()
    assert (prefix / "post-link-ran").exists() is scripts


def test_a_channel_behind_a_password(tmp_path: Path, server: Nginx):
    standard(server.root)
    prefix = environment(tmp_path, server.url, "hello", user=USER)
    assert run(prefix, "hello") == f"hello from {prefix}"
    with pytest.raises(GatewayError, match="401"):
        environment(tmp_path / "other", server.url, "hello")


def test_equal_channels_have_equal_packages(tmp_path: Path, channel: Path):
    packages = {path.relative_to(channel): path.read_bytes() for path in channel.glob("*/*-*-*")}
    assert len(packages) == 10
    other = standard(tmp_path / "channel")
    assert {path.relative_to(other): path.read_bytes() for path in other.glob("*/*-*-*")} == packages


def test_a_package_that_has_changed_is_indexed_anew(tmp_path: Path):
    for text in (b"one", b"two"):
        folder = make_channel(tmp_path / "channel", Package("text", files={"share/text": text}, noarch="generic"))
        [package] = folder.glob("noarch/text-*")
        index = json.loads((folder / "noarch/repodata.json").read_text())
        sha256 = index["packages.conda"][package.name]["sha256"]
        assert sha256 == hashlib.sha256(package.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["tool", "hello"])
def test_a_spoilt_package_is_wrong_by_its_checksum_alone(tmp_path: Path, server: Nginx, name: str):
    standard(server.root)
    packages = {path: (path.read_bytes(), archived(path)) for path in server.root.glob("*/*-*-*")}
    spoil(server.root, name)
    spoilt = {path for path, (content, _) in packages.items() if path.read_bytes() != content}
    assert {path.name.split("-")[0] for path in spoilt} == {name}
    for path in spoilt:
        content, members = packages[path]
        assert path.stat().st_size == len(content)
        assert [(m.get_info(), data) for m, data in archived(path)] == [(m.get_info(), data) for m, data in members]
    with pytest.raises(InstallerError, match="hash mismatch"):
        environment(tmp_path, server.url, name, user=USER)


def test_to_spoil_what_is_not_there_fails(channel: Path):
    with pytest.raises(FileNotFoundError, match="too"):
        spoil(channel, "too")


@FORMS
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_package_is_solved(tmp_path: Path, hostile: Callable[[Path], tuple[Package, ...]], form: str):
    packages = [replace(package, form=form) for package in hostile(tmp_path / "outside")]
    folder = make_channel(tmp_path / "channel", python_package(), *packages)
    gateway = Gateway(cache_dir=tmp_path / "repodata")
    records = asyncio.run(solve([Channel(folder.as_uri())], ["hostile"], gateway=gateway))
    assert "hostile" in {record.name.normalized for record in records}


@FORMS
def test_an_archive_has_what_is_hostile(tmp_path: Path, form: str):
    def members(hostile: Callable[[Path], tuple[Package, ...]]) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        [package] = hostile(Path("/outside"))
        found = archived(replace(package, form=form).write(tmp_path / hostile.__name__))
        return {member.name: (member, content) for member, content in found}

    door = members(packed_through_link)
    assert [*door].index("door") < [*door].index(f"door/{EVIL}")
    assert door["door"][0].linkname == "/outside"
    assert members(setuid)["bin/root"][0].mode == 0o4755
    absolute = members(listed_absolute)
    assert f"/outside/{EVIL}" in {entry["_path"] for entry in json.loads(absolute["info/paths.json"][1])["paths"]}
    assert not any(EVIL in name for name in absolute)


def test_pip_installs_from_a_folder(tmp_path: Path, channel: Path, simple: Path):
    prefix = environment(tmp_path, channel.as_uri(), "pip")
    run(prefix, "pip", "install", "--no-cache-dir", "--index-url", simple.as_uri(), "greet<2")
    assert run(prefix, "greet") == f"greet 1.0 from {prefix}"
    run(prefix, "pip", "install", "--no-cache-dir", "--index-url", simple.as_uri(), "--upgrade", "greet", "shout")
    assert run(prefix, "greet") == f"greet 2.0 from {prefix}"


def test_pip_brings_what_a_wheel_requires(tmp_path: Path, channel: Path, simple: Path):
    prefix = environment(tmp_path, channel.as_uri(), "pip")
    run(prefix, "pip", "install", "--no-cache-dir", "--index-url", simple.as_uri(), "shout")
    assert run(prefix, "python", "-c", "import shout; print(shout.greet.__file__)").startswith(str(prefix))
    run(prefix, "pip", "check")
    run(prefix, "pip", "uninstall", "--yes", "greet", "shout")
    assert not (prefix / "bin/greet").exists()


def test_pip_installs_from_nginx_with_checksums(tmp_path: Path, channel: Path, server: Nginx):
    wheel = Wheel("Greet.It", "1.5", {"greet_it.py": b"GREETING = 'hi'\n"}).write(server.root)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    prefix = environment(tmp_path, channel.as_uri(), "pip")
    url = server.url.replace("://", "://user:pass%20word@")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"greet_it==1.5 --hash=sha256:{sha256}\n")
    run(prefix, "pip", "install", "--no-cache-dir", "--require-hashes", "--index-url", url, "-r", str(requirements))
    assert run(prefix, "python", "-c", "import greet_it; print(greet_it.GREETING)") == "hi"
    wanted = [("/greet-it/", 200), (f"/greet-it/{wheel.name}", 200)]
    assert [(seen.target, seen.status) for seen in server.requests() if seen.status != 401] == wanted


def test_pip_refuses_a_wheel_with_another_checksum_than_its_page_says(tmp_path: Path, channel: Path):
    wheel = Wheel("greet", modules={"greet.py": b"1"}).write(tmp_path / "simple")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    prefix = environment(tmp_path, channel.as_uri(), "pip")
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        run(prefix, "pip", "install", "--no-cache-dir", "--index-url", (tmp_path / "simple").as_uri(), "greet")
