"""What pip adds to an environment: from which lists and indexes, with whose credentials, and how it fails."""

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from rattler import Subdir

from dsload.fetchers.conda import guarding
from tests import command
from tests.command import Result
from tests.fetchers.environments import Site
from tests.loads import bodies, write_secrets
from tests.repositories import Repository
from tests.servers.channel import Package, Wheel, greetings, make_channel, pip_package
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.git import GitServer
from tests.servers.nginx import Nginx
from tests.servers.orders import BEFORE_HEAD, Fault, basic, stall, status
from tests.servers.process import free_port, wait_until
from tests.servers.proxy import Proxy
from tests.servers.tls import CA, make_ca

# No settings of the machine's pip, and no patience with what is down. (pip asks rustc for its version.)
PIP = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "0",
    "PIP_DEFAULT_TIMEOUT": "20",
    "REQUESTS_CA_BUNDLE": "",
    "CURL_CA_BUNDLE": "",
    "RUSTUP_HOME": os.devnull,
}
USER = ("joe", "pw-of-the-secret")
INLINE = ("ann", "pw-in-the-url")
INSTALL_WHEEL = """
import os, shutil
def build_wheel(directory, settings=None, metadata=None):
    name, = (name for name in os.listdir() if name.endswith(".whl"))
    return os.path.basename(shutil.copy(name, directory))
"""
# Writes down the command lines of this process and of all above it, up to that of dsload.
SPY = """
pid = os.getpid()
with open({!r}, "a") as file:
    while pid > 1:
        words = open(f"/proc/{{pid}}/cmdline").read().split("\\0")
        if "--mount-root" in words:
            break
        print(*words, file=file)
        pid = int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
"""


@pytest.fixture
def site(tmp_path: Path, volume: Path, channel: Path) -> Site:
    volume.mkdir()
    return Site(volume, tmp_path / "p", channel.as_uri())


def write_sdist(folder: Path, wheel: Wheel, code: str = "", requires: tuple[str, ...] = ()) -> Path:
    """Write the source of a wheel, with a build backend of its own that first runs some code; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    built = wheel.write(folder / ".made")
    stem = f"{wheel.name}-{wheel.version}"
    project = f"[build-system]\nrequires = {json.dumps(requires)}\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    files = {
        "pyproject.toml": project.encode(),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\n".encode(),
        "backend.py": (INSTALL_WHEEL + code).encode(),
        built.name: built.read_bytes(),
    }
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{stem}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def put_index(server: FaultServer, folder: Path, at: str = "/simple") -> str:
    """Serve a simple index; its URL."""
    for path in folder.rglob("*.whl"):
        server.put(f"{at}/{path.relative_to(folder)}", path.read_bytes())
    for page in folder.rglob("index.html"):
        server.put(f"{at}/{page.parent.name}/", page.read_bytes(), headers={"Content-Type": "text/html"})
    return server.url + at


def one_error(done: Result, code: int) -> str:
    """The one error line of a load that ended with this exit code."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line[8:].startswith(" error: ")]
    return line


def frozen(site: Site, name: str = "e") -> list[str]:
    """The freeze beside an environment, without pip itself; nothing where there is none."""
    path = Path(f"{site.folder(name)}.pip-freeze.txt")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("pip==")]


def asked(server: Nginx, below: str) -> list[tuple[str, int]]:
    """What was asked of a server below a path, and with which answers."""
    return [(seen.target, seen.status) for seen in server.requests() if seen.target.startswith(below)]


# One environment with much in it: an index with the channel's credentials, two further ones, a caller's variables


@dataclass(frozen=True, slots=True)
class Rich:
    """An environment, and what was seen while it was built."""

    site: Site
    done: Result
    work: Path
    server: Nginx
    other: FaultServer
    third: FaultServer


def conda_greeting() -> Package:
    """A conda package of what pip knows too."""
    info = "site-packages/greeting-1.0.dist-info"
    files = {
        "site-packages/greeting.py": b"VERSION = '1.0'\n",
        "site-packages/only_old.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/RECORD": b"greeting.py,,\nonly_old.py,,\n"
        + f"{info[14:]}/METADATA,,\n{info[14:]}/RECORD,,\n".encode(),
    }
    return Package("greeting", files=files, depends=["python"], noarch="python")


def conda_steady() -> Package:
    """A conda package that pip leaves alone, made by one who had it installed from a folder."""
    info = "site-packages/steady-3.0.dist-info"
    files = {
        "site-packages/steady.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: steady\nVersion: 3.0\n",
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/direct_url.json": b'{"dir_info": {}, "url": "file:///home/conda/feedstock_root/work"}',
    }
    return Package("steady", "3.0", files=files, depends=["python"], noarch="python")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory, channel: Path) -> Iterator[Rich]:
    work = tmp_path_factory.mktemp("rich")
    for name in ("volume", "home", "tmp", "www"):
        (work / name).mkdir()
    (work / "www/chan").symlink_to(channel)
    index = greetings(work / "www/simple")
    Wheel("greeting", "2.0", {"greeting.py": b"VERSION = '2.0'\n"}).write(index)
    write_sdist(index / "spy", Wheel("spy", modules={"spy.py": b""}), SPY.format(f"{work}/spied"))
    spy = SPY.format(f"{work}/spied-nested")
    write_sdist(index / "tool-of-a-build", Wheel("tool_of_a_build", modules={"tool_of_a_build.py": b""}), spy)
    write_sdist(index / "built", Wheel("built", modules={"built.py": b""}), requires=("tool-of-a-build",))
    direct = Wheel("direct", modules={"direct.py": b""}).write(work / "direct")
    own = make_channel(work / "own", conda_greeting(), conda_steady())
    trap = work / "trap/pip/__init__.py"
    trap.parent.mkdir(parents=True)
    trap.write_text("raise SystemExit('the pip of PYTHONPATH')")
    (work / "lists").mkdir()
    (work / "lists/environment.yaml").write_text(
        f"dependencies: [greeting, steady, pip: ['greeting>=2', spy, built, 'direct @ {direct.as_uri()}']]\n"
    )
    (work / "lists/requirements.txt").write_text("shout\nplain\ninline\n-c limits/limits.txt\n-r more/more.txt\n")
    (work / "lists/limits").mkdir()
    (work / "lists/limits/limits.txt").write_text("greet<2\n")
    (work / "lists/more").mkdir()
    (work / "lists/more/more.txt").write_text("--requirement=../last.txt # comment\n")
    (work / "lists/last.txt").write_text("last\n")
    for name in ("plain", "last"):
        Wheel(name, modules={f"{name}.py": b""}).write(work / "other")
    Wheel("inline", modules={"inline.py": b""}).write(work / "third")
    with (
        Nginx(work / "nginx", work / "www", auth=USER) as server,
        FaultServer() as other,
        FaultServer(authorization=basic(*INLINE)) as third,
    ):
        inline = put_index(third, work / "third").replace("://", "://{}:{}@".format(*INLINE))
        site = Site(work / "volume", work / "p", f"{server.url}chan,{own.as_uri()}")
        secrets = write_secrets(work / "s", username=USER[0], password=USER[1])
        done = site.load(
            "e", "-v", "--output", "json", "--mount-secrets", secrets,
            env={
                **PIP, "HOME": str(work / "home"), "TMPDIR": str(work / "tmp"), "PYTHONPATH": str(work / "trap"),
                "PIP_TARGET": str(work / "target"), "PIP_USER": "1", "PIP_PREFIX": str(work / "prefix"),
                "PIP_ROOT": str(work / "root"), "PIP_REQUIRE_VIRTUALENV": "1", "VIRTUAL_ENV": str(work / "venv"),
                "CONDA_PREFIX": str(work / "conda"),
            },
            condaEnvironmentYmlPath=work / "lists/environment.yaml",
            pipRequirementsTxtPath=work / "lists/requirements.txt",
            pipIndexUrl=f"{server.url}simple",
            pipExtraIndexUrl=f"{put_index(other, work / 'other')} {inline}",
        )  # fmt: skip
        assert done.code == 0, done.err
        yield Rich(site, done, work, server, other, third)


def test_lists_and_indexes_come_together(rich: Rich) -> None:
    """environment.yaml's list, requirements.txt, -r and -c below it; an index and two further ones."""
    direct = f"{rich.work}/direct/direct/direct-1.0-py3-none-any.whl"
    digest = sha256(Path(direct).read_bytes()).hexdigest()
    assert frozen(rich.site) == [
        "built==1.0",
        f"direct @ file://{direct}#sha256={digest}",
        "greet==1.0",
        "greeting==2.0",
        "inline==1.0",
        "last==1.0",
        "plain==1.0",
        "shout==1.0",
        "spy==1.0",
        "steady==3.0",
    ]
    assert f"pip=={pip_package().version}\n" in Path(f"{rich.site.folder('e')}.pip-freeze.txt").read_text()


def test_the_freeze_is_told_everywhere(rich: Rich) -> None:
    text = Path(f"{rich.site.folder('e')}.pip-freeze.txt").read_text()
    assert (rich.site.folder("e") / ".dsload/pip-freeze.txt").read_text() == text
    assert rich.done.json["built"]["pip-freeze.txt"] == text


def test_a_script_of_pip_runs_from_the_prefix(rich: Rich) -> None:
    prefix = rich.site.prefix("e")
    script = (rich.site.folder("e") / "bin/greet").read_text()
    assert script.startswith(f"#!{prefix}/bin/python")
    assert rich.site.run("e", "greet") == f"greet 1.0 from {prefix}"


def test_pip_replaces_files_of_a_conda_package(rich: Rich) -> None:
    said = rich.site.run("e", "python", "-c", "import greeting; print(greeting.VERSION)")
    assert said == "2.0"
    verified = command.run("verify", rich.site.folder("e"))
    assert verified.code == 0, verified.err


def test_no_file_names_the_place_where_it_was_built(rich: Rich) -> None:
    files = [path for path in rich.site.folder("e").rglob("*") if path.is_file() and ".dsload" not in path.parts]
    assert [path for path in files if b"/.e.new" in path.read_bytes()] == []


def test_variables_of_the_caller_lead_nowhere_else(rich: Rich) -> None:
    places = ("target", "prefix", "root", "venv", "conda")
    assert [name for name in places if (rich.work / name).exists()] == []


@pytest.mark.parametrize("place", ["home", "tmp"])
def test_nothing_is_left_beside_the_volume(rich: Rich, place: str) -> None:
    assert list((rich.work / place).rglob("*")) == []


def test_the_cache_of_pip_is_gone(rich: Rich) -> None:
    assert sorted(os.listdir(rich.site.root / "conda")) == [".dsload", "envs"]
    assert list(rich.site.root.rglob("pip-cache")) == []


def test_the_secrets_reach_no_other_port(rich: Rich) -> None:
    """They are of the host and port of the channel, whose index is asked with them."""
    assert ("/simple/spy/spy-1.0.tar.gz", 200) in asked(rich.server, "/simple/")
    assert rich.other.requests("/simple/plain/") != []
    assert {request.headers.get("authorization") for request in rich.other.requests()} == {None}
    assert basic(*USER) not in {request.headers.get("authorization") for request in rich.third.requests()}


@pytest.mark.parametrize("password", [USER[1], INLINE[1]], ids=["secret", "inline"])
def test_a_password_is_nowhere(rich: Rich, password: str) -> None:
    places = ("stderr", rich.done.err), ("report", rich.done.out)
    hidden = {password, basic(USER[0], password)[6:], basic(INLINE[0], password)[6:]}
    assert [name for name, text in places if any(word in text for word in hidden)] == []
    files = [path for path in rich.site.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if any(word.encode() in path.read_bytes() for word in hidden)] == []


@pytest.mark.parametrize("password", [USER[1], INLINE[1]], ids=["secret", "inline"])
@pytest.mark.parametrize("log", ["spied", "spied-nested"])
def test_a_password_is_on_no_command_line(rich: Rich, log: str, password: str) -> None:
    """Not on that of pip, nor on that of the pip which installs what a build requires."""
    said = (rich.work / log).read_text()
    assert [
        line for line in said.splitlines() if line.startswith(f"{rich.site.prefix('e')}/bin/") and " install " in line
    ]
    assert password not in said


def test_the_secrets_are_not_for_another_channel_with_credentials_of_its_own(
    rich: Rich, tmp_path: Path, volume: Path, fault: FaultServer
) -> None:
    """Nor for the index on its host."""
    volume.mkdir()
    for subdir in ("noarch", str(Subdir.current())):
        repodata = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
        fault.put(f"/second/{subdir}/repodata.json", json.dumps(repodata).encode())
    index = put_index(fault, Wheel("plain", modules={"plain.py": b""}).write(tmp_path / "index").parent.parent)
    second = f"{fault.url}/second".replace("://", "://{}:{}@".format(*INLINE))
    site = Site(volume, tmp_path / "p", f"{rich.server.url}chan,{second}")
    secrets = write_secrets(tmp_path / "s", username=USER[0], password=USER[1])
    done = site.load("e", "--mount-secrets", secrets, env=PIP, pipIndexUrl=index, **{"requirements.txt": "plain"})
    assert (done.code, frozen(site)) == (0, ["plain==1.0"]), done.err
    assert basic(*INLINE) in {request.headers.get("authorization") for request in fault.requests()}
    assert basic(*USER) not in {request.headers.get("authorization") for request in fault.requests()}


# Lists


def test_an_unchanged_list_asks_no_index_and_a_changed_nested_one_builds_anew(
    site: Site, tmp_path: Path, simple: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www/simple").symlink_to(simple)
    for name, text in {
        "requirements.txt": "-r deeper/a.txt\n",
        "deeper/a.txt": "-r b.txt",
        "deeper/b.txt": "greet<2",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with Nginx(tmp_path / "nginx", tmp_path / "www") as server:
        options = {"pipRequirementsTxtPath": tmp_path / "requirements.txt", "pipIndexUrl": f"{server.url}simple"}
        assert site.load("e", env=PIP, **options).code == 0
        assert frozen(site) == ["greet==1.0"]
        before = os.stat(site.folder("e")).st_ino
        server.clear()
        assert site.load("e", env=PIP, **options).code == 0
        assert server.requests() == []
        assert os.stat(site.folder("e")).st_ino == before
        (tmp_path / "deeper/b.txt").write_text("greet<3")
        assert site.load("e", env=PIP, **options).code == 0
        assert frozen(site) == ["greet==2.0"]


@pytest.mark.parametrize(
    "line",
    ["-r missing.txt", "-rmissing.txt", "--requirement missing.txt", "--requirement=missing.txt  # why",
     "-c missing.txt", "--constraint=missing.txt", "-r 'missing.txt'", '-r "missing.txt"'],
)  # fmt: skip
def test_a_nested_list_is_looked_for_beside_the_one_that_names_it(site: Site, tmp_path: Path, line: str) -> None:
    """Before anything is solved or loaded."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below/more.txt").write_text(f"greet\n{line}\n")
    (tmp_path / "requirements.txt").write_text("-r below/more.txt\n")
    done = site.load("e", "--dry-run", pipRequirementsTxtPath=tmp_path / "requirements.txt")
    assert f"{tmp_path}/below/missing.txt: no such file or directory" in one_error(done, 2)


def test_lists_that_name_each_other(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n-r b.txt\n")
    (tmp_path / "b.txt").write_text("greet\n-r a.txt\n-r a.txt\n")
    done = site.load("e", "--dry-run", pipRequirementsTxtPath=tmp_path / "a.txt")
    assert "in a circle" in one_error(done, 2)


def test_lines_that_say_where_packages_are(site: Site, tmp_path: Path, simple: Path) -> None:
    """--index-url of one, and folders of --find-links beside the list that names them."""
    for name, folder in (("near", "lists/wheels"), ("nearer", "lists/below/wheels"), ("other", "conda/wheels")):
        (tmp_path / folder).mkdir(parents=True)
        made = Wheel(name, modules={f"{name}.py": b""}).write(tmp_path / "made")
        made.rename(tmp_path / folder / made.name)
    lists = {
        "lists/requirements.txt": f"--index-url {simple.as_uri()}\n--find-links wheels\nnear\n-r below/more.txt\ngreet",
        "lists/below/more.txt": "--find-links=wheels\nnearer\n",
        "conda/environment.yaml": "dependencies: [pip: [--find-links wheels, other]]",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    done = site.load(
        "e",
        env={**PIP, "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/"},  # which the line goes before
        pipRequirementsTxtPath=tmp_path / "lists/requirements.txt",
        condaEnvironmentYmlPath=tmp_path / "conda/environment.yaml",
    )
    assert done.code == 0, done.err
    assert frozen(site) == ["greet==2.0", "near==1.0", "nearer==1.0", "other==1.0"]


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_hashes(site: Site, simple: Path, right: bool) -> None:
    digest = sha256((simple / "greet/greet-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    line = f"greet==1.0 \\\n    --hash=sha256:{digest if right else '0' * 64}\n"
    done = site.load("e", env=PIP, pipIndexUrl=simple.as_uri(), **{"requirements.txt": line})
    if right:
        assert (done.code, frozen(site)) == (0, ["greet==1.0"]), done.err
    else:
        assert digest in one_error(done, 5)
        assert not site.folder("e").exists()


def test_a_requirement_from_git_is_frozen_with_its_commit(
    site: Site, tmp_path: Path, work: Repository, server: GitServer
) -> None:
    sdist = write_sdist(tmp_path, Wheel("fromgit", modules={"fromgit.py": b""}))
    with tarfile.open(sdist) as tar:
        files = {member.name.partition("/")[2]: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    commit = work.commit(files)
    work.push(server.root / "name.git")
    url = f"git+{server.url}/name.git"
    done = site.load("e", env=PIP, **{"requirements.txt": f"fromgit @ {url}@main"})
    assert (done.code, frozen(site)) == (0, [f"fromgit @ {url}@{commit}"]), done.err


EDITABLE = [
    "-e .",
    "-e ./pkg",
    "--editable=pkg",
    "--editable ./pkg[extra]",
    "-e file:///srv/pkg",
    "-e '{folder}/pkg'",
    "-e ${{HOME}}/pkg",
    "-e \\\n  ./pkg",
    "-e git+file:///srv/pkg.git#egg=pkg",
]


@pytest.mark.parametrize("line", EDITABLE)
@pytest.mark.parametrize("place", ["text", "file", "list"])
def test_what_would_stay_in_the_loaders_folder_is_refused(site: Site, tmp_path: Path, line: str, place: str) -> None:
    line = line.format(folder=tmp_path)
    given: dict[str, object] = {"requirements.txt": f"greet\n{line}\n"}
    if place == "file":
        (tmp_path / "list.txt").write_text(f"greet\n{line}\n")
        (tmp_path / "first.txt").write_text("-r list.txt\n")
        given = {"pipRequirementsTxtPath": tmp_path / "first.txt"}
    elif place == "list":
        given = {"environment.yaml": json.dumps({"dependencies": ["steady", {"pip": line.split("\n")}]})}
    error = one_error(site.load("e", "--dry-run", **given), 2)
    assert "requirements.txt" in error
    assert "leave out -e" in error


def test_local_packages_are_installed_from_beside_the_lists_that_name_them(site: Site, tmp_path: Path) -> None:
    wheels = [Wheel(name, modules={f"{name}.py": b"HERE = 1\n"}) for name in ("one", "two", "three", "four")]
    one = wheels[0].write(tmp_path / "lists/wheels")
    two = wheels[1].write(tmp_path / "conda")
    write_sdist(tmp_path / "lists", wheels[2])
    with tarfile.open(write_sdist(tmp_path / "made", wheels[3])) as tar:
        tar.extractall(tmp_path / "lists", filter="data")
    (tmp_path / "lists/requirements.txt").write_text(
        f"{one.relative_to(tmp_path / 'lists')}  # beside\n./three-1.0.tar.gz\n-r below/more.txt\n"
    )
    (tmp_path / "lists/below").mkdir()
    (tmp_path / "lists/below/more.txt").write_text("./four-1.0\n")
    (tmp_path / "conda/environment.yaml").write_text(f"dependencies: [pip: [./{two.relative_to(tmp_path / 'conda')}]]")
    done = site.load(
        "e",
        env=PIP,
        pipRequirementsTxtPath=tmp_path / "lists/requirements.txt",
        condaEnvironmentYmlPath=tmp_path / "conda/environment.yaml",
    )
    assert done.code == 0, done.err
    assert [line.partition(" @ ")[0] for line in frozen(site)] == ["four", "one", "three", "two"]
    shutil.rmtree(tmp_path / "lists")
    packages = next(site.folder("e").glob("lib/python*/site-packages"))
    assert {f"{wheel.name}.py" for wheel in wheels} <= {path.name for path in packages.iterdir()}
    assert list(packages.glob("__editable__*")) == []


@pytest.mark.parametrize("form", ["./{path}", "{folder}/{path}", "own @ {uri}"])
def test_a_local_package_that_has_changed_is_installed_again(site: Site, tmp_path: Path, form: str) -> None:
    def loaded(content: bytes) -> bool:
        wheel = Wheel("own", modules={"own.py": content}).write(tmp_path / "lists")
        line = form.format(path=wheel.relative_to(tmp_path / "lists"), folder=tmp_path / "lists", uri=wheel.as_uri())
        (tmp_path / "lists/all.txt").write_text(f"{line}\n")
        done = site.load("e", "--output", "json", env=PIP, pipRequirementsTxtPath=tmp_path / "lists/all.txt")
        assert done.code == 0, done.err
        (module,) = site.folder("e").glob("lib/python*/site-packages/own.py")
        assert module.read_bytes() == content
        return bool(done.json["files"]["loaded"])

    assert [loaded(content) for content in (b"1", b"1", b"2")] == [True, False, True]


def test_a_project_that_has_not_changed_is_not_built_again(site: Site, tmp_path: Path) -> None:
    """Builds leave things in its folder."""
    with tarfile.open(write_sdist(tmp_path, Wheel("own", modules={"own.py": b""}))) as tar:
        tar.extractall(tmp_path, filter="data")
    project = tmp_path / "own-1.0"
    (tmp_path / "all.txt").write_text("./own-1.0\n")
    loads = []
    for made, data in (
        ((), b""),
        (("build/lib/own.py", "own.egg-info/PKG-INFO"), b"1"),
        (("build/lib/own.py", "new.py"), b"2"),
    ):
        for path in made:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_bytes(data)
        done = site.load("e", "--output", "json", env=PIP, pipRequirementsTxtPath=tmp_path / "all.txt")
        assert done.code == 0, done.err
        loads.append(bool(done.json["files"]["loaded"]))
    assert loads == [True, False, True]


@pytest.mark.parametrize("line", ["./gone", "gone-1.0-py3-none-any.whl", "../gone/"])
def test_a_local_package_that_is_not_there_is_told_at_once(site: Site, tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"greet\n{line}\n")
    done = site.load("e", "--dry-run", pipRequirementsTxtPath=tmp_path / "list.txt")
    assert f"{line!r} is not in {tmp_path}" in one_error(done, 2)


def test_variables_that_would_have_pip_do_something_else(site: Site, simple: Path) -> None:
    env = {**PIP, "PIP_PYTHON": "/no/such/python", "PIP_DRY_RUN": "1"}
    done = site.load("e", env=env, pipIndexUrl=simple.as_uri(), **{"requirements.txt": "greet"})
    assert (done.code, frozen(site)) == (0, ["greet==2.0"]), done.err


# Failures


@pytest.mark.parametrize(
    ("listed", "given", "code", "said"),
    [("", "greet\nnothing==1", 4, ["No matching distribution found for nothing==1"]),
     ("greet==1.0", "greet==2.0", 4, ["greet==1.0", "greet==2.0", "conflict"]),
     ("", "lost", 4, ["lost-1.0-py3-none-any.whl", "404"]),
     ("", "=bad=", 2, ["=bad="])],
    ids=["missing", "conflict", "404", "syntax"],
)  # fmt: skip
def test_what_pip_fails_for_is_told(
    site: Site, tmp_path: Path, fault: FaultServer, simple: Path, listed: str, given: str, code: int, said: list[str]
) -> None:
    """The two lists are resolved as one."""
    url = put_index(fault, simple)
    put_index(fault, Wheel("lost", modules={"lost.py": b""}).write(tmp_path / "lost").parent.parent)
    fault.remove("/simple/lost/lost-1.0-py3-none-any.whl")
    texts = {"environment.yaml": f"{{dependencies: [pip: [{listed}]]}}", "requirements.txt": given}
    error = one_error(site.load("e", env=PIP, pipIndexUrl=url, **texts), code)
    assert [word for word in said if word not in error] == []
    assert "pip: " in error


def test_a_reset_that_pip_got_over_is_not_what_it_failed_for(site: Site, fault: FaultServer, simple: Path) -> None:
    url = put_index(fault, simple)
    fault.order("/simple/greet/", Fault(cut="reset", after=BEFORE_HEAD))
    env = {**PIP, "PIP_RETRIES": "1"}
    done = site.load("e", env=env, pipIndexUrl=url, **{"requirements.txt": "greet\nnothing"})
    assert "No matching distribution found for nothing" in one_error(done, 4)


@pytest.mark.parametrize("why", ["refused", "503", "stall"])
def test_an_index_that_is_not_reached(site: Site, fault: FaultServer, simple: Path, why: str) -> None:
    url = put_index(fault, simple) if why != "refused" else f"http://127.0.0.1:{free_port()}/simple"
    fault.order("/simple/greet/", status(503) if why == "503" else stall(0), times=ALWAYS)
    env = {**PIP, "PIP_DEFAULT_TIMEOUT": "1"}
    done = site.load("e", "--retry-budget", 2, env=env, pipIndexUrl=url, **{"requirements.txt": "greet"})
    assert "check pipIndexUrl, the proxy and the network" in one_error(done, 9)


def test_an_index_that_wants_credentials(site: Site, fault: FaultServer, simple: Path) -> None:
    fault.authorization = basic(*USER)
    done = site.load("e", env=PIP, pipIndexUrl=put_index(fault, simple), **{"requirements.txt": "greet"})
    assert "credentials" in one_error(done, 3)


def test_a_build_that_fails(site: Site, tmp_path: Path) -> None:
    """Its last lines are told, and the report for the termination log is cut to what Kubernetes reads."""
    long = "for n in range(30): print(n, 'ü' * 900)\nraise SystemExit('boom: there is no compiler')\n"
    sdist = write_sdist(tmp_path / "s", Wheel("bad", modules={"bad.py": b""}), long)
    report = tmp_path / "report"
    done = site.load("e", "--report-file", report, env=PIP, **{"requirements.txt": f"bad @ {sdist.as_uri()}"})
    assert "boom: there is no compiler" in one_error(done, 2)
    assert json.loads(report.read_bytes())["error"]["exit"] == 2
    assert len(report.read_bytes()) <= 4096


# Certificates and trusted hosts


@pytest.mark.parametrize("trust", ["nothing", "host", "bundle"])
def test_a_host_is_trusted_only_where_the_user_asks(
    site: Site, www: Path, nginx_tls: Nginx, ca: CA, tmp_path: Path, simple: Path, trust: str
) -> None:
    """A bundle goes before those that the caller's variables name."""
    place = www / f"pip-{trust}"
    place.symlink_to(simple)
    options: dict[str, object] = {"requirements.txt": "greet", "pipIndexUrl": f"{nginx_tls.url}{place.name}"}
    if trust == "host":
        options["pipTrustedHost"] = f"127.0.0.1:{nginx_tls.port}"
    env = {**PIP, "REQUESTS_CA_BUNDLE": str(make_ca(tmp_path / "ca").bundle)} if trust == "bundle" else PIP
    flags = ("--ca-bundle", ca.bundle) if trust == "bundle" else ()
    done = site.load("e", *flags, "--retry-budget", 1, env=env, **options)
    if trust == "nothing":
        error = one_error(done, 3)
        assert "certificate verify failed" in error
        assert "--ca-bundle" in error
    else:
        assert (done.code, frozen(site)) == (0, ["greet==2.0"]), done.err


def test_an_index_without_tls_on_another_host_is_not_trusted(
    site: Site, proxy: Proxy, fault: FaultServer, simple: Path
) -> None:
    """pip asks none by itself, so that anybody on the way could put in what they like."""
    proxy.hosts = frozenset({"index.example"})
    url = put_index(fault, simple).replace("127.0.0.1", "index.example")
    env = {**PIP, "HTTP_PROXY": proxy.url}
    done = site.load("e", env=env, pipIndexUrl=url, **{"requirements.txt": "greet"})
    assert done.code != 0
    assert fault.requests() == []


# Ends


def processes_of(site: Site, name: str = "e") -> list[int]:
    """The processes that run an environment's programs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(site.prefix(name)).encode() in path.read_bytes().split(b"\0")[0]:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def stalled(
    site: Site, tmp_path: Path, fault: FaultServer, simple: Path
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, object]]]:
    """A load whose pip has greet and waits for `large`; and its options."""
    large = Wheel("large", modules={"large.py": b"#" * 9999}).write(tmp_path / "large")
    put_index(fault, tmp_path / "large")
    options: dict[str, object] = {"pipIndexUrl": put_index(fault, simple), "requirements.txt": "greet\nlarge"}
    options["pipTrustedHost"] = f"127.0.0.1:{fault.port}"  # else pip keeps nothing that came without TLS
    path = f"/simple/large/{large.name}"
    fault.order(path, stall(100))
    child = command.start(*site.arguments("e", **options), env=PIP)
    try:
        wait_until(lambda: fault.requests(path) != [], "pip to ask for large")
        yield child, options
    finally:
        child.kill()
        child.communicate()
        for pid in processes_of(site):
            os.kill(pid, signal.SIGKILL)


def test_a_rerun_after_a_kill_downloads_no_wheel_again(
    site: Site, fault: FaultServer, stalled: tuple["subprocess.Popen[str]", dict[str, object]]
) -> None:
    child, options = stalled
    greet = "/simple/greet/greet-2.0-py3-none-any.whl"
    assert len(bodies(fault, greet)) == 1
    for pid in (child.pid, *processes_of(site)):
        os.kill(pid, signal.SIGKILL)
    child.communicate()
    assert not site.folder("e").exists()
    fault.clear()
    done = site.load("e", env=PIP, **options)
    assert (done.code, frozen(site)) == (0, ["greet==2.0", "large==1.0"]), done.err
    assert bodies(fault, greet) == []
    assert len(bodies(fault, "/simple/large/large-1.0-py3-none-any.whl")) == 1
    assert not (site.root / "conda/pip-cache").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_pip_ends_with_the_load(
    site: Site, stalled: tuple["subprocess.Popen[str]", dict[str, object]], number: signal.Signals, code: int
) -> None:
    """Else it would go on in the prefix, which the next load builds in."""
    child, _ = stalled
    assert processes_of(site) != []
    child.send_signal(number)
    assert command.ended(child).code == code
    wait_until(lambda: processes_of(site) == [], "pip to end", 5)


def test_a_program_that_is_killed_is_no_success(tmp_path: Path) -> None:
    """As by the kernel, where memory ends."""
    heard: list[str] = []
    argv = ["/bin/sh", "-c", "echo heard; kill -KILL $$"]
    code = guarding.run(argv, os.environ, str(tmp_path), heard.append, lambda: None)
    assert (code, heard) == (137, ["heard"])
