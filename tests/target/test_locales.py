"""Names are UTF-8 on the volume, whatever the locale of who loads them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import trees
from tests.command import run
from tests.repositories import Repository
from tests.servers.fault import FaultServer
from tests.servers.process import find

LOCALES = {"GB18030": "zh_CN", "ISO-8859-1": "en_US", "ASCII": ""}
FILES: dict[str, bytes | None] = {
    "\u6570\u636e/\u8bad\u7ec3.csv": b"1",
    "caf\u00e9": b"2",
    "\u5217\u8868": b"3" * 3_000_000,
    "plain": b"4",
}


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with locales."""
    folder = tmp_path_factory.mktemp("locales")
    find("locale-gen", "locales")
    for encoding, language in LOCALES.items():
        if language:
            argv = [find("localedef", "libc-bin"), "--no-archive", "-i", language, "-f", encoding]
            subprocess.run([*argv, str(folder / f"{language}.{encoding}")], check=True, capture_output=True)
    return folder


@pytest.fixture(params=LOCALES)
def env(request: pytest.FixtureRequest, locales: Path) -> Mapping[str, str]:
    """Variables of a locale that is not UTF-8."""
    language = LOCALES[request.param]
    name = f"{language}.{request.param}" if language else "C"
    env = {"LOCPATH": str(locales), "LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    asked = "import locale, sys; print(locale.getpreferredencoding(), sys.getfilesystemencoding())"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env={**os.environ, **env})
    assert "utf" not in told.stdout.lower(), told
    return env


@pytest.fixture(params=["FILE", "HTTP", "GIT"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, fault: FaultServer) -> str:
    """A source with names that are not ASCII."""
    folder = trees.make(tmp_path / "\u6e90", FILES)
    if request.param == "FILE":
        os.symlink("\u6570\u636e/\u8bad\u7ec3.csv", folder / "\u94fe\u63a5")
        return folder.as_uri()
    if request.param == "GIT":
        repository = Repository.make(tmp_path / "repository")
        repository.commit({path: data or b"" for path, data in FILES.items()})
        return f"git+{(tmp_path / 'repository').as_uri()}"
    for path, data in FILES.items():
        fault.put(f"/\u6e90/{path}", data or b"")
    return fault.url + quote("/\u6e90/")


def test_names_are_utf_8_on_the_volume(uri: str, env: Mapping[str, str], tmp_path: Path) -> None:
    flags = ["load", uri, "--mount-root", tmp_path, "--mount-path", "\u5377/t", "--output", "json"]
    for loaded in (len(FILES) + uri.startswith("file:"), 0):
        done = run(*flags, env=env)
        assert done.code == 0, done.err
        assert done.json["files"]["loaded"] == loaded
    target = tmp_path / "\u5377/t"
    assert {path: data for path, data in trees.contents(target).items() if path != "\u94fe\u63a5"} == FILES
    if uri.startswith("file:"):
        assert os.readlink(target / "\u94fe\u63a5") == "\u6570\u636e/\u8bad\u7ec3.csv"
    for other in ({}, env):
        assert run("verify", target, env=other).code == 0
    (target / "\u5217\u8868").unlink()
    lost = run("verify", target, env=env)
    assert (lost.code, lost.out) == (5, "\u5217\u8868: missing\n")
    assert run(*flags, "-o", "exclude=caf\u00e9", env=env).json["files"]["loaded"] == 1


def test_load_in_a_program(env: Mapping[str, str], tmp_path: Path) -> None:
    uri = trees.make(tmp_path / "source", FILES).as_uri()
    program = f"import dsload; dsload.load({uri!r}, {str(tmp_path / 't')!r})"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **env})
    assert trees.contents(tmp_path / "t") == FILES


def test_what_is_listed_is_utf_8(env: Mapping[str, str], tmp_path: Path) -> None:
    folder = trees.make(tmp_path / "source", FILES)
    listed = run("ls", folder.as_uri(), env=env)
    assert listed.code == 0, listed.err
    assert {line.split()[-1] for line in listed.out.splitlines()} == set(FILES)
    rows = json.loads(run("ls", folder.as_uri(), "--output", "json", env=env).out)
    assert {row["path"] for row in rows["entries"]} == set(FILES)


def test_names_that_are_not_utf_8_stay_as_they_are(env: Mapping[str, str], tmp_path: Path) -> None:
    name = os.fsdecode(b"\xb2\xe2\xca\xd4\xff")
    folder = trees.make(tmp_path / "source", {name: b"x"})
    done = run("load", folder.as_uri(), "--mount-root", tmp_path, "--mount-path", "t", env=env)
    assert done.code == 0, done.err
    assert trees.contents(tmp_path / "t") == {name: b"x"}
    assert run("verify", tmp_path / "t", env=env).code == 0
