"""CONDA: what environments are asked to be, from which channels, with which credentials, solved or locked."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from rattler import LockChannel, LockFile, LockPlatform, Subdir

from tests import command
from tests.command import Result
from tests.contract import inside
from tests.contract.places import write_secrets
from tests.fetchers.environments import Site
from tests.servers.channel import PLACEHOLDER, Package, make_channel
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.mounts import need_root
from tests.servers.nginx import Nginx
from tests.servers.orders import BEFORE_HEAD, basic, close, redirect, status
from tests.servers.process import find, free_port, unavailable
from tests.trees import everything

PASSWORD, TOKEN = "p@ss/w0rd-of-a-channel", "tk-0123456789abcdef"
PUBLIC = "https://conda.anaconda.org"
HERE = str(Subdir.current())
PATHS = "environment.yaml", "condaEnvironmentYml", "condaEnvironmentYmlPath"


def tool(version: str, **fields: Any) -> Package:
    """A package of this module's channels: it says which it is, and its prefix."""
    return Package("tool", version, files={"share/tool.txt": f"{version} in {PLACEHOLDER}\n".encode()}, **fields)


BASE = (  # nothing of it runs
    Package("python", "3.9.1"),
    Package("python", "3.11.4"),
    Package("pip", "23.0", depends=["python"]),
    Package("ipykernel", "6.0", depends=["python"]),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel; the tests only read it."""
    return make_channel(
        tmp_path_factory.mktemp("small"),
        *BASE,
        tool("1.0"),
        tool("2.0"),
        Package("needs-old", depends=["tool ==1.0"]),
        Package("needs-new", depends=["tool ==2.0"]),
        Package("broken", depends=["absent >=9"]),
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with an older tool than `small` has, and with nothing else."""
    return make_channel(tmp_path_factory.mktemp("other"), tool("0.5"))


@pytest.fixture
def site(tmp_path: Path, volume: Path, small: Path) -> Site:
    volume.mkdir()
    return Site(volume, tmp_path / "p", small.as_uri())


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """The root of a web server of this test's own."""
    return tmp_path / "www"


@pytest.fixture
def web(tmp_path: Path, www: Path) -> Iterator[Nginx]:
    (tmp_path / "nginx").mkdir()
    www.mkdir()
    with Nginx(tmp_path / "nginx", www) as server:
        yield server


@pytest.fixture
def locked_web(tmp_path: Path, www: Path, small: Path) -> Iterator[Nginx]:
    """A web server with the channel `small` as /chan, for who knows the password."""
    (tmp_path / "nginx").mkdir()
    www.mkdir()
    (www / "chan").symlink_to(small)
    with Nginx(tmp_path / "nginx", www, auth=("user", PASSWORD)) as server:
        yield server


@pytest.fixture
def second() -> Iterator[FaultServer]:
    """Another one, on another port."""
    with FaultServer() as server:
        yield server


def ls(
    channels: object, *arguments: object, uri: str = "conda://env", needs: str = "tool",
    wrap: Callable[[list[str]], list[str]] | None = None, **options: object,
) -> Result:  # fmt: skip
    """Run `dsload ls`, which solves and loads nothing; needs are the dependencies in environment.yaml."""
    given = {"channels": channels, "kernel": "false"}
    if needs:
        given["environment.yaml"] = f"{{dependencies: [{needs}]}}"
    pairs = {key: value for key, value in {**given, **options}.items() if value != ""}
    flags = [flag for key, value in pairs.items() for flag in ("-o", f"{key}={value}")]
    argv = ("ls", uri, "--output", "json", "--retry-budget", 2, *flags, *arguments)
    return command.run(*argv, wrap=wrap) if wrap else inside.run(*argv)


def solved(done: Result) -> dict[str, str]:
    """The version of each package that `dsload ls` tells."""
    assert (done.code, done.errors) == (0, [])
    names = [row["path"].removeprefix("pkgs/").rsplit("-", 2) for row in done.json["entries"]]
    return {name: version for name, version, _ in names}


def refused(done: Result, code: int) -> str:
    """The one error line of a command that failed as the contract says."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    (line,) = done.errors
    return line


def serve(server: FaultServer, channel: Path, at: str = "/chan") -> str:
    """Have a server serve a channel; its URL."""
    for path in channel.rglob("*"):
        if path.is_file():
            server.put(f"{at}/{path.relative_to(channel)}", path.read_bytes())
    return f"{server.url}{at}"


def everything_said(done: Result, root: Path) -> Iterator[tuple[str, bytes]]:
    """All that a load says and leaves: its output, and every file and name on the volume."""
    yield from (("stdout", done.out.encode()), ("stderr", done.err.encode()))
    for path in root.rglob("*"):
        yield str(path), str(path).encode() + (b"" if path.is_symlink() or path.is_dir() else path.read_bytes())


def tells(done: Result, root: Path, *secrets: str) -> list[str]:
    """Where a load tells one of these secrets, in whatever form."""
    basics = [base64.b64encode(f"user:{secret}".encode()).decode() for secret in secrets]
    forms = {form.encode() for secret in (*secrets, *basics) for form in (secret, quote(secret), quote(secret, ""))}
    return [where for where, data in everything_said(done, root) if any(form in data for form in forms)]


# environment.yaml: where it is


@pytest.mark.parametrize("option", PATHS)
def test_environment_yaml_as_text_and_as_path(small: Path, tmp_path: Path, option: str) -> None:
    text = "channels: []\ndependencies:\n- tool=1.0\n"
    (tmp_path / "its own name.yml").write_text(text)
    value = tmp_path / "its own name.yml" if option.endswith("Path") else text
    assert solved(ls(small.as_uri(), needs="", **{option: value})) == {
        "tool": "1.0", "python": "3.11.4", "pip": "23.0"
    }  # fmt: skip


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[[list[str]], list[str]]:
    """Puts a command where environment.yaml and requirements.txt are mounted at /run/dataset/conda.

    In a mount namespace of its own: other tests are not to find them there.
    """
    need_root("mount")
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "environment.yaml").write_text("dependencies: [tool=1.0]")
    script = 'mount -t tmpfs tmpfs /run && mkdir -p /run/dataset && cp -R "$0" /run/dataset/conda || exit 77; exec "$@"'
    prefix = [find("unshare", "util-linux"), "--mount", "--", find("sh", "dash"), "-c", script, str(folder)]
    if command.run("--version", wrap=lambda argv: [*prefix, *argv]).code == 77:
        unavailable("nothing can be mounted on /run here")
    return lambda argv: [*prefix, *argv]


@pytest.mark.parametrize(
    ("options", "version"),
    [
        ({}, "1.0"),
        ({"condaEnvironmentYmlPath": "PATH"}, "2.0"),
        ({"environment.yaml": "dependencies: [tool=1]", "condaEnvironmentYmlPath": "PATH"}, "1.0"),
        ({"condaEnvironmentYml": "dependencies: [tool=1]", "condaEnvironmentYmlPath": "PATH"}, "1.0"),
        ({"environment.yaml": "dependencies: [tool=2]"}, "2.0"),
        ({"environment.yaml": "dependencies: [tool=2]", "condaEnvironmentYml": "dependencies: [tool=1]"}, "2.0"),
    ],
    ids=["mounted", "path", "text over path", "other text over path", "text over mounted", "two texts"],
)
def test_a_text_wins_over_a_path_and_that_over_what_is_mounted(
    small: Path, tmp_path: Path, mounted: Callable[[list[str]], list[str]], options: Mapping[str, str], version: str
) -> None:
    (tmp_path / "path.yaml").write_text("dependencies: [tool=2.0]")
    given = {name: str(tmp_path / "path.yaml") if value == "PATH" else value for name, value in options.items()}
    assert solved(ls(small.as_uri(), needs="", wrap=mounted, **given))["tool"] == version


def test_requirements_are_mounted_too(site: Site, tmp_path: Path, mounted: Callable[[list[str]], list[str]]) -> None:
    (tmp_path / "mounted/requirements.txt").write_text("-r more.txt\n")
    done = command.run(*site.arguments("env"), wrap=mounted)
    assert "/run/dataset/conda/more.txt" in refused(done, 2)
    assert list(site.root.iterdir()) == []


def test_without_any_there_are_python_and_pip(small: Path) -> None:
    assert solved(ls(small.as_uri(), needs="")) == {"python": "3.11.4", "pip": "23.0"}


# environment.yaml: what it says


@pytest.mark.parametrize(("uri", "option"), [("env", ""), ("other", "env")], ids=["of the URI", "of the option"])
def test_name_and_prefix_are_replaced(site: Site, tmp_path: Path, uri: str, option: str) -> None:
    text = f"name: theirs\nprefix: {tmp_path}/theirs\ndependencies: [tool]"
    named = ("-o", f"name={option}") if option else ()
    done = site.load(uri, "--output", "json", *named, **{"environment.yaml": text})
    assert done.code == 0, done.err
    assert done.json["built"]["prefix"] == str(site.prefix("env"))
    assert (site.folder("env") / "share/tool.txt").read_text() == f"2.0 in {site.prefix('env')}\n"
    assert sorted(path.name for path in (site.root / "conda/envs").iterdir()) == [
        "env", "env.conda.lock", "env.pip-freeze.txt"
    ]  # fmt: skip
    assert not (tmp_path / "theirs").exists()
    assert "is ignored" not in done.err


def test_variables_are_in_the_state_of_the_environment(site: Site) -> None:
    text = (
        "\ufeff{variables: {URL: 'http://x', EMPTY: , NUMBER: 7, DEBUG: on, MASK: 022, AT: 12:30:00},"
        " dependencies: [tool]}"
    )
    assert site.load("env", **{"environment.yaml": text}).code == 0
    state = json.loads((site.folder("env") / "conda-meta/state").read_text())
    said = {"URL": "http://x", "EMPTY": "", "NUMBER": "7", "DEBUG": "on", "MASK": "22", "AT": "12:30:00"}
    assert state["env_vars"] == said  # as conda reads YAML 1.2


def test_what_decides_and_what_does_not(site: Site) -> None:
    def loaded(**options: str) -> bool:
        done = site.load("env", "--output", "json", **options)
        assert done.code == 0, done.err
        return bool(done.json["files"]["loaded"])

    assert loaded(**{"environment.yaml": "{dependencies: [tool]}"})
    assert not loaded(**{"environment.yaml": "# a remark\nname: x\ndependencies:\n- tool\n"})
    assert loaded(**{"environment.yaml": "{dependencies: [tool], variables: {A: b}}"})


def test_unknown_keys_are_warned_of(small: Path) -> None:
    done = ls(small.as_uri(), **{"environment.yaml": "{dependencies: [tool], platforms: [x], dependecies: [y]}"})
    assert solved(done)["tool"] == "2.0"
    (line,) = [line for line in done.err.splitlines() if "is ignored" in line]
    assert "environment.yaml" in line
    assert "dependecies, platforms" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dependencies:\n- tool\n- [a\nchannels: []\n", r"line [345]"),
        ("dependencies:\n- tool\n\tpip: []\n", r"line 3"),
        ("a: b: c\n", r"line 1"),
        ("- tool\n", r"not a map"),
        ("just text", r"not a map"),
        ("{dependencies: [tool, {conda: [x]}]}", r'\{"conda": \["x"\]\}'),
        ("{dependencies: [tool, 3.11]}", r"3\.11"),
        ("{dependencies: [tool, [a, b]]}", r'\["a", "b"\]'),
        ("{dependencies: {tool: 1}}", r'\{"tool": 1\}'),
        ("{dependencies: [tool, {pip: greet}]}", r"pip is not a list"),
        ("{dependencies: [tool, {pip: [1]}]}", r"pip is not a list"),
        ("{dependencies: [tool], channels: conda-forge}", r"channels is not a list"),
        ("{dependencies: [tool], channels: [3]}", r"channels is not a list"),
        ("{dependencies: [tool], variables: [a]}", r"variables"),
        ("{dependencies: [tool], variables: {a: [b]}}", r"variables"),
        ("{dependencies: ['tool ==>1']}", r"'tool ==>1'"),
        ("{dependencies: ['=1.0']}", r"'=1\.0'"),
        ("{dependencies: ['']}", r"''"),
        ("{dependencies: ['tool[nosuch=x]']}", r"'tool\[nosuch=x\]'"),
        (
            "dependencies: [tool]\nchannels: []\ndependencies: [other]\n",
            r"line 3: the key 'dependencies' appears twice",
        ),
        ("a: &a [*a]\n", r"line 1"),
        ("{dependencies: [tool]}\n---\n{dependencies: [tool]}\n", r"line 2"),
        ("!!python/object/apply:os.system [id]", r"line 1"),
    ],
)
def test_what_cannot_be_read(small: Path, text: str, says: str) -> None:
    line = refused(ls(small.as_uri(), **{"environment.yaml": text}), 2)
    assert "environment.yaml" in line
    assert re.search(says, line.partition("environment.yaml")[2])


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0", "folder"], ids=["missing", "not text", "a folder"])
def test_a_path_that_cannot_be_read(small: Path, tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "environment.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    line = refused(ls(small.as_uri(), needs="", condaEnvironmentYmlPath=path), 2)
    assert "condaEnvironmentYmlPath" in line
    assert str(path) in line


# python, and what is always there


@pytest.mark.parametrize(
    ("uri", "options", "version"),
    [
        ("conda://env", {}, "3.11.4"),
        ("conda://env?python=3.9", {}, "3.9.1"),
        ("conda://env", {"pythonVersion": "3.9"}, "3.9.1"),
        ("conda://env", {"pythonVersion": "3.9.1"}, "3.9.1"),
        ("conda://env", {"pythonVersion": "<3.10"}, "3.9.1"),
        ("conda://env", {"pythonVersion": ">=3.9,<3.11"}, "3.9.1"),
        ("conda://env?python=3.9", {"pythonVersion": "3.11"}, "3.11.4"),
        ("conda://env?python=3.9", {"environment.yaml": "{dependencies: [python=3.11, tool]}"}, "3.9.1"),
        ("conda://env", {"environment.yaml": "{dependencies: [tool, 'python <3.10']}"}, "3.9.1"),
    ],
)
def test_which_python(small: Path, uri: str, options: Mapping[str, str], version: str) -> None:
    assert solved(ls(small.as_uri(), uri=uri, **options))["python"] == version


@pytest.mark.parametrize("version", ["3.8", "3.1", "2"])
def test_a_python_that_is_not_there(small: Path, version: str) -> None:
    line = refused(ls(small.as_uri(), uri=f"conda://env?python={version}"), 4)
    assert re.search(rf"python[ =]*{re.escape(version)}", line)
    assert small.as_uri() in line


@pytest.mark.parametrize(("kernel", "there"), [("", True), ("true", True), ("false", False)])
def test_ipykernel_is_there_unless_told_otherwise(small: Path, kernel: str, there: bool) -> None:
    found = solved(ls(small.as_uri(), kernel=kernel))
    assert {"python", "pip"} < set(found)
    assert ("ipykernel" in found) is there


@pytest.mark.parametrize("option", ["kernel", "linkScripts", "keepPkgs"])
def test_a_flag_that_is_neither_true_nor_false(small: Path, option: str) -> None:
    assert option in refused(ls(small.as_uri(), **{option: "maybe"}), 2)


# Channels


@pytest.mark.parametrize(
    ("option", "listed", "version"),
    [
        (("small", "other"), (), "2.0"),
        (("other", "small"), (), "0.5"),
        ((), ("other", "small"), "0.5"),
        ((), ("small", "other"), "2.0"),
        (("other",), ("small",), "0.5"),
        (("small",), ("other",), "2.0"),
        (("other", "nodefaults"), ("nodefaults", "small"), "0.5"),
        (("small",), ("other", "small"), "2.0"),
    ],
)
def test_the_first_channel_that_has_a_package_wins(
    small: Path, other: Path, option: tuple[str, ...], listed: tuple[str, ...], version: str
) -> None:
    urls = {"small": small.as_uri(), "other": f"{other.as_uri()}/"}
    recipe = {"channels": [urls.get(name, name) for name in listed], "dependencies": ["tool"]}
    done = ls(",".join(urls.get(name, name) for name in option), **{"environment.yaml": yaml.safe_dump(recipe)})
    assert solved(done)["tool"] == version


def test_a_version_that_a_later_channel_has_is_shut_out_by_the_first(small: Path, other: Path) -> None:
    done = ls(f"{other.as_uri()}\n{small.as_uri()}", needs="tool >=1")
    assert "tool" in refused(done, 4)


@pytest.mark.parametrize(
    ("channels", "listed", "asked"),
    [
        ("", "", ["/mirror/conda-forge"]),
        ("", "nodefaults", ["/mirror/conda-forge"]),
        ("conda-forge", "", ["/mirror/conda-forge"]),
        ("", "conda-forge, org/label/dev", ["/mirror/conda-forge", "/mirror/org/label/dev"]),
        ("defaults", "", ["/mirror/pkgs/main", "/mirror/pkgs/r"]),
        ("org/label/dev", "defaults", ["/mirror/org/label/dev", "/mirror/pkgs/main", "/mirror/pkgs/r"]),
    ],
    ids=["none", "nodefaults", "option", "a label", "defaults", "option first"],
)
def test_names_lie_below_the_endpoint(
    web: Nginx, www: Path, small: Path, other: Path, channels: str, listed: str, asked: list[str]
) -> None:
    for name in ("conda-forge", "pkgs/main"):
        (www / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
        (www / "mirror" / name).symlink_to(small)
    make_channel(www / "mirror/pkgs/r", Package("r"))
    (www / "mirror/org/label").mkdir(parents=True)
    (www / "mirror/org/label/dev").symlink_to(other)
    text = f"{{channels: [{listed}], dependencies: [tool]}}"
    done = ls(channels, endpoint=f"{web.url}mirror", **{"environment.yaml": text})
    assert solved(done)["tool"] == ("0.5" if channels.startswith("org") else "2.0")
    targets = [row.target for row in web.requests()]
    assert sorted({target.rpartition("/")[0].rpartition("/")[0] for target in targets if "/shards" not in target}) == (
        sorted(asked)
    )


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that channels lie below, by name; each has another tool."""
    root = tmp_path_factory.mktemp("mirror")
    make_channel(root / "conda-forge", *BASE, tool("3.0"), tool("2.5", noarch="generic"))
    make_channel(root / "pkgs/main", *BASE, tool("2.0"))
    make_channel(root / "pkgs/r", tool("1.0"), Package("r-x"))
    make_channel(root / "org/label/dev", tool("0.5"))
    return root


@pytest.mark.parametrize(
    ("channels", "spec", "version"),
    [
        ("defaults", "defaults::tool", "2.0"),
        ("defaults", "defaults::tool >=1", "2.0"),
        ("defaults", "defaults::tool =1", "1.0"),
        ("conda-forge,defaults", "defaults::tool", "2.0"),
        ("conda-forge", "defaults::tool", "2.0"),
        ("defaults", "pkgs/main::tool", "2.0"),
        ("defaults", "pkgs/r::tool", "1.0"),
        ("conda-forge", "pkgs/r::tool", "1.0"),
        ("conda-forge", "org/label/dev::tool", "0.5"),
        ("conda-forge,org/label/dev", "org/label/dev::tool>=0.1", "0.5"),
        ("defaults", "conda-forge::tool", "3.0"),
        ("conda-forge", f"conda-forge/{HERE}::tool", "3.0"),
        ("conda-forge", "conda-forge/noarch::tool <3", "2.5"),
        ("conda-forge", "conda-forge/noarch::tool=2.5=0", "2.5"),
        ("defaults", "tool[channel=conda-forge]", "3.0"),
        ("defaults", "tool 2.*[channel=conda-forge, subdir=noarch]", "2.5"),
        ("defaults", "tool[channel='conda-forge/noarch', version=2.5]", "2.5"),
        ("conda-forge", 'tool >=1[channel="defaults"]', "2.0"),
        ("conda-forge", "tool[version='>=1', channel=pkgs/r]", "1.0"),
        ("defaults", "MIRROR/conda-forge::tool", "3.0"),
        ("defaults", "MIRROR/conda-forge/noarch::tool=2.5", "2.5"),
        ("defaults", "tool[channel='MIRROR/org/label/dev']", "0.5"),
        ("defaults", "*::tool", "2.0"),
        (f"conda-forge/{HERE}", "tool", "3.0"),
    ],
)
def test_specs_that_name_their_channel(mirror: Path, channels: str, spec: str, version: str) -> None:
    """Also of a channel that is not listed: it is asked too, after the others, as conda does."""
    needs = json.dumps(spec.replace("MIRROR", mirror.as_uri()))
    assert solved(ls(channels, endpoint=mirror.as_uri(), needs=needs))["tool"] == version


def test_a_package_of_the_second_part_of_defaults(mirror: Path) -> None:
    assert solved(ls("defaults", endpoint=mirror.as_uri(), needs="'defaults::r-x'"))["r-x"] == "1.0"


@pytest.mark.parametrize("spec", ["pkgs/main::r-x", "defaults::tool >=3", "org/label/dev::tool 7.*"])
def test_a_channel_that_does_not_have_what_a_spec_says(mirror: Path, spec: str) -> None:
    line = refused(ls("defaults", endpoint=mirror.as_uri(), needs=json.dumps(spec)), 4)
    assert spec.partition("::")[2].partition("[")[0] in line


@pytest.mark.parametrize("spec", ["conda-forge/noarch::tool", "tool[subdir=noarch]", "MIRROR/conda-forge/noarch::tool"])
def test_a_platform_in_a_spec_is_not_passed_over(mirror: Path, spec: str) -> None:
    needs = json.dumps(spec.replace("MIRROR", mirror.as_uri()))
    line = refused(ls("conda-forge", endpoint=mirror.as_uri(), needs=needs), 2)
    assert f"was asked for noarch, and tool-3.0-0.conda of {HERE} fits the rest; give the version" in line


def test_a_password_in_a_spec_stays_out_of_what_is_built(site: Site, locked_web: Nginx) -> None:
    url = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{locked_web.port}/chan"
    done = site.load("env", "-v", needs=f"'{url}::tool', '{url}::python', '{url}::pip'", channels=url)
    assert done.code == 0, done.err
    assert tells(done, site.root, PASSWORD) == []


@pytest.mark.parametrize(
    "channel",
    ["ftp://host/c", "https://", "http://host:99999/c", "a b", "https://host/c?x=1", "https://host/c#x", "/a/folder"],
)
def test_what_is_no_channel(channel: str) -> None:
    done = ls("", **{"environment.yaml": json.dumps({"channels": [channel], "dependencies": ["tool"]})})
    assert "channel" in refused(done, 2)


@pytest.mark.parametrize("endpoint", ["mirror", "ftp://host", "https://host/?a=b"])
def test_what_is_no_endpoint(endpoint: str) -> None:
    assert "endpoint" in refused(ls("conda-forge", endpoint=endpoint), 2)


# What the machine has


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A channel of packages that are for some machines only."""
    needs = {"gpu": "__cuda >=12", "new": "__glibc >=9", "fast": "__archspec * zen4", "mac": "__osx >=11"}
    packages = [Package(name, depends=[need]) for name, need in needs.items()]
    return make_channel(tmp_path_factory.mktemp("choosy"), *BASE, *packages, Package("both", depends=["gpu"])).as_uri()


@pytest.mark.parametrize(
    ("needs", "variable", "value", "has"),
    [
        ("gpu", "CONDA_OVERRIDE_CUDA", "12.4", "no __cuda"),
        ("both", "CONDA_OVERRIDE_CUDA", "12.4", "no __cuda"),
        ("new", "CONDA_OVERRIDE_GLIBC", "9.1", "__glibc 2."),
        ("fast", "CONDA_OVERRIDE_ARCHSPEC", "zen4", "__archspec 1 "),
    ],
)
def test_what_this_machine_lacks_can_be_stated(
    choosy: str, monkeypatch: pytest.MonkeyPatch, needs: str, variable: str, value: str, has: str
) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "")
    monkeypatch.setenv("CONDA_OVERRIDE_ARCHSPEC", "x86_64")
    line = refused(ls(choosy, needs=needs), 4)
    assert f"this machine has {has}" in line
    assert f"by the variable {variable}" in line
    assert ("option gpuType" in line) is ("CUDA" in variable)
    monkeypatch.setenv(variable, value)
    assert needs in solved(ls(choosy, needs=needs))


def test_a_driver_that_is_too_old(choosy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "11.8")
    assert "this machine has __cuda 11.8; say what" in refused(ls(choosy, needs="gpu"), 4)


def test_a_package_for_another_system(choosy: str) -> None:
    assert "CONDA_OVERRIDE" not in refused(ls(choosy, needs="mac"), 4)


@pytest.mark.parametrize(("variable", "value"), [("CONDA_OVERRIDE_CUDA", "x y"), ("CONDA_OVERRIDE_ARCHSPEC", "zen99")])
def test_an_override_that_is_none(choosy: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    line = refused(ls(choosy, needs="python"), 2)
    assert variable in line


# Credentials


def test_user_and_password_in_a_url_reach_the_channel_and_nothing_else(site: Site, locked_web: Nginx) -> None:
    url = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{locked_web.port}/chan"
    report = site.root.parent / "report.json"
    done = site.load("env", "--output", "json", "-v", "--report-file", report, needs="tool", channels=url)
    assert done.code == 0, done.err
    assert (site.folder("env") / "share/tool.txt").read_text() == f"2.0 in {site.prefix('env')}\n"
    assert tells(done, site.root, PASSWORD) == []
    assert PASSWORD not in report.read_text()
    meta = json.loads((site.folder("env") / "conda-meta/tool-2.0-0.json").read_text())
    assert meta["url"].startswith(f"{locked_web.url}chan/")
    assert f"url: {locked_web.url}chan\n" in done.json["built"]["conda.lock"]
    assert all(row.status < 400 for row in locked_web.requests() if row.target.endswith((".conda", ".json")))


def test_a_password_in_environment_yaml_is_no_less_secret(site: Site, locked_web: Nginx) -> None:
    url = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{locked_web.port}/chan"
    text = f"{{channels: ['{url}'], dependencies: [tool, needs-new, absent]}}"
    done = site.load("env", "-v", channels="", **{"environment.yaml": text})
    assert done.code == 4
    assert "absent" in done.errors[0]
    assert tells(done, site.root, PASSWORD) == []


def test_a_token_in_a_url_reaches_the_channel_and_nothing_else(site: Site, web: Nginx, www: Path, small: Path) -> None:
    (www / "t" / TOKEN).mkdir(parents=True)
    (www / "t" / TOKEN / "chan").symlink_to(small)
    done = site.load("env", "--output", "json", "-v", needs="tool", channels=f"{web.url}t/{TOKEN}/chan")
    assert done.code == 0, done.err
    assert (site.folder("env") / "share/tool.txt").is_file()
    assert tells(done, site.root, TOKEN) == []
    assert f"url: {web.url}chan\n" in done.json["built"]["conda.lock"]
    assert {row.target.split("/")[2] for row in web.requests()} == {TOKEN}


@pytest.mark.parametrize("needs", ["absent", "tool"])
def test_a_token_is_not_told_where_a_load_fails(site: Site, web: Nginx, www: Path, small: Path, needs: str) -> None:
    (www / "t" / TOKEN).mkdir(parents=True)
    if needs == "absent":
        (www / "t" / TOKEN / "chan").symlink_to(small)
    done = site.load("env", "-v", "--retry-budget", 1, needs=needs, channels=f"{web.url}t/{TOKEN}/chan")
    assert (done.code, len(done.errors)) == (4, 1)
    assert tells(done, site.root, TOKEN) == []


@pytest.mark.parametrize(
    ("secrets", "header"),
    [
        ({"username": "user", "password": PASSWORD}, basic("user", PASSWORD)),
        ({"token": TOKEN}, f"Bearer {TOKEN}"),
        ({"username": "user", "password": PASSWORD, "token": TOKEN}, basic("user", PASSWORD)),
    ],
    ids=["password", "token", "both"],
)
def test_secrets_go_to_the_first_channel_that_is_a_url_only(
    site: Site, tmp_path: Path, fault: FaultServer, second: FaultServer, small: Path, other: Path,
    secrets: Mapping[str, str], header: str,
) -> None:  # fmt: skip
    fault.authorization = header
    make_channel(tmp_path / "base", *BASE)
    folder = write_secrets(tmp_path / "secrets", **secrets)
    urls = f"{serve(fault, tmp_path / 'base')},{serve(second, other, '/other')},{small.as_uri()}"
    done = site.load("env", "--output", "json", "-v", "--mount-secrets", folder, needs="tool", channels=urls)
    assert done.code == 0, done.err
    assert (site.folder("env") / "share/tool.txt").read_text() == f"0.5 in {site.prefix('env')}\n"
    assert {request.headers.get("authorization") for request in fault.requests()} == {header}
    assert any(request.target.endswith(".conda") for request in fault.requests())
    told = [request.target for request in second.requests() if "authorization" in request.headers]
    assert second.requests()
    assert told == []
    assert tells(done, site.root, PASSWORD, TOKEN) == []


def test_an_endpoint_with_a_login(fault: FaultServer, small: Path) -> None:
    fault.authorization = basic("ann", PASSWORD)
    url = serve(fault, small, "/mirror/chan").removesuffix("/chan")
    done = ls("chan", endpoint=url.replace("://", f"://ann:{quote(PASSWORD, safe='')}@"), needs="chan::tool")
    assert done.code == 0, done.err
    assert {request.headers.get("authorization") for request in fault.requests()} == {fault.authorization}
    assert PASSWORD not in done.out + done.err


def test_a_password_that_is_not_quoted_is_not_told(small: Path) -> None:
    url = f"http://ann:p@ss/w0rd@127.0.0.1:9/{small.name}"
    for done in (ls(url), ls("chan", endpoint=url)):
        assert done.code == 2
        assert "%2F" in done.errors[0]
        assert "w0rd" not in done.out + done.err


def test_channels_that_could_be_taken_for_each_other_are_refused_where_there_are_secrets(
    fault: FaultServer, second: FaultServer, small: Path, other: Path, tmp_path: Path
) -> None:
    """rattler tells host and path of what it asks for, and no port."""
    urls = f"{serve(fault, small)},{serve(second, other)}"
    done = ls(urls, "--mount-secrets", write_secrets(tmp_path / "secrets", token=TOKEN))
    assert done.code == 2
    assert "have one host and path, and credentials are for the first alone" in done.errors[0]
    assert fault.requests() == second.requests() == []
    assert ls(urls).code == 0


@pytest.mark.parametrize(
    ("channels", "owner"),
    [("conda-forge", "mirror"), ("FILE,conda-forge", "mirror"), ("FILE,URL", "url"), ("conda-forge,URL", "url")],
)
def test_whose_the_secrets_are_where_names_and_files_come_first(
    tmp_path: Path, fault: FaultServer, second: FaultServer, small: Path, other: Path, channels: str, owner: str
) -> None:
    make_channel(tmp_path / "more", Package("more"))
    mirror, url = serve(fault, small, "/mirror/conda-forge").removesuffix("/conda-forge"), serve(second, small)
    names = channels.replace("URL", url).replace("FILE", (tmp_path / "more").as_uri())
    secrets = write_secrets(tmp_path / "secrets", token=TOKEN)
    assert solved(ls(names, "--mount-secrets", secrets, endpoint=mirror))["tool"] == "2.0"
    told = {
        name: {request.headers.get("authorization") for request in server.requests()}
        for name, server in (("mirror", fault), ("url", second))
        if server.requests()
    }
    assert told == {name: {f"Bearer {TOKEN}"} if name == owner else {None} for name in told}
    assert owner in told


@pytest.mark.parametrize("what", ["repodata", "packages"])
def test_a_redirect_to_another_host_takes_no_secrets_along(
    site: Site, tmp_path: Path, fault: FaultServer, second: FaultServer, small: Path, what: str
) -> None:
    url, away = serve(fault, small), serve(second, small)
    pattern = re.compile(r"\.conda$" if what == "packages" else r"/repodata")
    for path in small.rglob("*"):
        name = f"/chan/{path.relative_to(small)}"
        if path.is_file() and pattern.search(name):
            fault.order(name, redirect(second.url + name), times=ALWAYS)
    folder = write_secrets(tmp_path / "secrets", username="user", password=PASSWORD)
    done = site.load("env", "--mount-secrets", folder, needs="tool", channels=url)
    assert done.code == 0, done.err
    assert away
    assert second.requests()
    assert [request for request in second.requests() if "authorization" in request.headers] == []


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_names_versions_and_builds_as_real_channels_have_them(
    site: Site, tmp_path: Path, fault: FaultServer, scheme: str
) -> None:
    packages = (
        Package("_libgcc_mutex", "0.1", "conda_forge", form=".tar.bz2"),
        Package("x264", "1!164.3095", "h166bdaf_2"),
        Package("local", "1.0+cu118", "py311_cu11.8_0"),
        Package("font-ttf-x_y.z", "0.77.0.dev1", "hab24e00_0", files={"fonts/a file.ttf": b"font"}),
    )
    channel = make_channel(tmp_path / "real", *BASE, *packages)
    url = serve(fault, channel) if scheme == "http" else channel.as_uri()
    done = site.load("env", needs=", ".join(package.name for package in packages), channels=url)
    assert done.code == 0, done.err
    meta = {path.name for path in (site.folder("env") / "conda-meta").glob("*.json")}
    assert {f"{package.name}-{package.version}-{package.build}.json" for package in packages} < meta
    assert (site.folder("env") / "fonts/a file.ttf").read_bytes() == b"font"
    lock = site.root / "conda/envs/env.conda.lock"
    assert (
        ls("", needs="", lock=lock).json["revision"]
        == ls(url, needs=", ".join(package.name for package in packages)).json["revision"]
    )


# What is not there, excludes each other, or cannot be reached


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        ("absent", ["'absent'"]),
        ("tool=9", ["tool", "9"]),
        ("'tool >=2,<2'", ["tool"]),
        ("broken", ["broken", "absent"]),
        ("'tool[build=x*]'", ["tool", "x*"]),
    ],
)
def test_a_package_that_is_not_there(small: Path, other: Path, needs: str, says: list[str]) -> None:
    line = refused(ls(f"{small.as_uri()},{other.as_uri()}", needs=needs), 4)
    for text in says:
        assert text in line
    if len(says) < 3 and "broken" not in says:
        assert small.as_uri() in line
        assert other.as_uri() in line


def test_specs_that_exclude_each_other_are_explained(small: Path) -> None:
    line = refused(ls(small.as_uri(), needs="needs-old, needs-new"), 4)
    for text in ("needs-old", "needs-new", "tool"):
        assert text in line
    assert not set("│├└─") & set(line)


def test_a_long_explanation_is_shortened(tmp_path: Path) -> None:
    makers = [Package(f"maker-{number}", depends=[f"common =={number}"]) for number in range(40)]
    url = make_channel(tmp_path / "c", *BASE, *makers, *(Package("common", str(n)) for n in range(40))).as_uri()
    line = refused(ls(url, needs=", ".join(package.name for package in makers)), 4)
    assert "maker-" in line
    assert len(line) < 1200


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_channel_that_is_not_there(web: Nginx, tmp_path: Path, scheme: str) -> None:
    url = f"{web.url}nosuch" if scheme == "http" else (tmp_path / "nosuch").as_uri()
    line = refused(ls(url), 4)
    assert url in line


@pytest.mark.parametrize("how", ["no server", "503", "cut"])
def test_a_channel_that_cannot_be_reached(fault: FaultServer, small: Path, how: str) -> None:
    url = serve(fault, small) if how != "no server" else f"http://127.0.0.1:{free_port()}/chan"
    if how == "503":
        fault.order(ANY, status(503), times=ALWAYS)
    elif how == "cut":
        fault.order(ANY, close(BEFORE_HEAD), times=ALWAYS)
    line = refused(ls(url, "--retry-budget", 1), 9)
    assert url in line
    assert "--retry-budget" in line


def test_a_channel_that_fails_for_a_while(fault: FaultServer, small: Path) -> None:
    url = serve(fault, small)
    fault.order(ANY, status(503))
    assert solved(ls(url, "--retry-budget", 20))["tool"] == "2.0"


@pytest.mark.parametrize("user", [None, ("user", "wrong-password")], ids=["without", "wrong"])
def test_a_channel_that_wants_another_password(locked_web: Nginx, tmp_path: Path, user: tuple[str, str] | None) -> None:
    secrets = write_secrets(tmp_path / "secrets", **({"username": user[0], "password": user[1]} if user else {}))
    done = ls(f"{locked_web.url}chan", "--mount-secrets", secrets)
    line = refused(done, 3)
    assert f"{locked_web.url}chan" in line
    assert "401" in line
    assert "wrong-password" not in done.err


def test_a_channel_that_is_forbidden(fault: FaultServer, small: Path) -> None:
    fault.order(ANY, status(403), times=ALWAYS)
    assert "403" in refused(ls(serve(fault, small)), 3)


def test_a_package_that_its_channel_lists_and_has_not(site: Site, fault: FaultServer, small: Path) -> None:
    url = serve(fault, small)
    fault.remove(f"/chan/{HERE}/tool-2.0-0.conda")
    line = refused(site.load("env", needs="tool", channels=url), 4)
    assert f"{url}/{HERE}/tool-2.0-0.conda" in line


# The lock


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Iterator[Nginx]:
    """A web server with the channel `small` as /conda-forge."""
    www = tmp_path_factory.mktemp("www")
    (www / "conda-forge").symlink_to(small)
    with Nginx(tmp_path_factory.mktemp("nginx"), www) as server:
        yield server


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, forge: Nginx) -> str:
    """The text of the lock file of an environment with tool 1.0 from there, where there is a 2.0 too."""
    folder = tmp_path_factory.mktemp("locked")
    done = Site(folder, folder / "p", f"{forge.url}conda-forge").load("first", needs="tool=1")
    assert done.code == 0, done.err
    return (folder / "conda/envs/first.conda.lock").read_text()


@pytest.fixture
def lock(tmp_path: Path, forge: Nginx, written: str) -> Path:
    """That lock file; nothing has been asked of the server."""
    forge.clear()
    (tmp_path / "a.lock").write_text(written)
    return tmp_path / "a.lock"


@pytest.mark.parametrize("form", ["text", "path"])
def test_a_lock_is_installed_without_solving(site: Site, lock: Path, forge: Nginx, form: str) -> None:
    given = lock.read_text() if form == "text" else lock
    done = site.load("env", "--output", "json", channels="", lock=given)
    assert done.code == 0, done.err
    assert (site.folder("env") / "share/tool.txt").read_text() == f"1.0 in {site.prefix('env')}\n"
    names = [row.target.rpartition("/")[2] for row in forge.requests()]
    assert sorted(names) == ["pip-23.0-0.conda", "python-3.11.4-0.conda", "tool-1.0-0.conda"]
    forge.clear()
    again = site.load("env", "--output", "json", channels="", lock=given)
    assert (again.code, again.json["files"]["loaded"]) == (0, 0)
    assert forge.requests() == []


def test_the_lock_that_is_written_is_rattlers_and_tells_all(site: Site, lock: Path, forge: Nginx) -> None:
    found = yaml.safe_load(lock.read_text())
    assert found["version"] == 7
    assert list(found["environments"]) == ["default"]
    assert found["environments"]["default"]["channels"] == [{"url": f"{forge.url}conda-forge"}]
    assert all(re.fullmatch("[0-9a-f]{64}", package["sha256"]) for package in found["packages"])
    fresh = ls(f"{forge.url}conda-forge", needs="tool=1")
    from_lock = ls("", needs="", lock=lock)
    assert from_lock.json == fresh.json
    done = site.load("env", "--output", "json", channels="", lock=lock)
    assert done.json["revision"] == fresh.json["revision"]
    packages = yaml.safe_load(done.json["built"]["conda.lock"])["packages"]
    assert packages == found["packages"]


def test_a_lock_holds_where_the_channel_goes_on(site: Site, tmp_path: Path) -> None:
    channel = make_channel(tmp_path / "c", *BASE, tool("1.0"))
    assert site.load("env", needs="tool", channels=channel.as_uri()).code == 0
    made = (site.root / "conda/envs/env.conda.lock").read_text()
    make_channel(channel, tool("3.0"))
    assert solved(ls(channel.as_uri()))["tool"] == "3.0"
    assert solved(ls(channel.as_uri(), lock=made))["tool"] == "1.0"


def test_an_endpoint_stands_in_for_the_public_place_of_a_lock(site: Site, lock: Path, forge: Nginx) -> None:
    text = lock.read_text().replace(forge.url.rstrip("/"), PUBLIC)
    assert f"{PUBLIC}/conda-forge/" in text
    done = site.load("env", "--retry-budget", 5, channels="", lock=text, endpoint=forge.url)
    assert done.code == 0, done.err
    assert (site.folder("env") / "share/tool.txt").is_file()
    assert len(forge.requests()) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: "version: 7\npackages: {", "lock"),
        (lambda text: "no lock\nat all\n", "lock"),
        (lambda text: text.replace("version: 7", "version: 99"), "lock"),
        (
            lambda text: text.replace("linux-64", "osx-arm64").replace("linux-aarch64", "osx-arm64"),
            "packages for linux-",
        ),
        (lambda text: text.replace("  default:", "  elsewhere:"), "elsewhere"),
        (lambda text: "/nonexistent/conda.lock", "/nonexistent/conda.lock"),
    ],
    ids=["broken", "text", "version", "platform", "environment", "missing"],
)
def test_a_lock_that_cannot_be_used(site: Site, lock: Path, change: Callable[[str], str], says: str) -> None:
    line = refused(site.load("env", channels="", lock=change(lock.read_text())), 2)
    assert "option lock" in line
    assert says in line
    assert not site.folder("env").exists()


def test_a_lock_with_packages_of_pypi_is_refused_as_they_would_be_missing(
    site: Site, lock: Path, tmp_path: Path
) -> None:
    file = LockFile.from_path(lock)
    platform = LockPlatform(str(Subdir.current()))
    whole = LockFile([platform])
    whole.set_channels("default", [LockChannel("https://conda.anaconda.org/conda-forge")])
    for record in file.default_environment().conda_repodata_records_for_platform(file.platforms()[0]):
        whole.add_conda_package("default", platform, record)
    whole.add_pypi_package("default", platform, "greet", "1.0", "https://files.example/greet-1.0-py3-none-any.whl")
    whole.to_path(tmp_path / "pixi.lock")
    line = refused(site.load("env", channels="", lock=tmp_path / "pixi.lock"), 2)
    assert "it locks packages of PyPI too (greet)" in line


def test_a_lock_with_another_checksum_is_not_believed_over_the_package(site: Site, lock: Path) -> None:
    text = lock.read_text()
    (sha256,) = re.findall(r"tool-1\.0-0\.conda\n(?:  .*\n)*?  sha256: (\w+)", text)
    done = site.load("env", channels="", lock=text.replace(sha256, "0" * 64))
    assert "tool-1.0-0.conda" in refused(done, 5)
    assert not site.folder("env").exists()


# Names


@pytest.mark.parametrize(
    "uri",
    ["conda://a/b", "conda://a:80", "conda://", "conda://-a", "conda://.a", "conda://..", "conda://user@a",
     "conda://a%2Fb", "conda:///a", "conda://a#b", "conda://ä"],
)  # fmt: skip
def test_what_is_no_name(small: Path, volume: Path, uri: str) -> None:
    volume.mkdir()
    done = command.run("load", uri, "--mount-root", volume, "--mount-path", "/", "-o", f"channels={small.as_uri()}")
    refused(done, 2)
    assert list(volume.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "../x", "/x", ".dsload", "..", "-x", "a b", "a\nb"])
def test_what_is_no_name_as_an_option(site: Site, name: str) -> None:
    refused(site.load("env", "-o", f"name={name}"), 2)
    assert list(site.root.iterdir()) == []


@pytest.mark.parametrize("folder", ["relative", "/a/../b", "/with space"])
def test_what_is_no_prefix_dir(small: Path, folder: str) -> None:
    assert "condaPrefixDir" in refused(ls(small.as_uri(), condaPrefixDir=folder), 2)


# Hostile channels


def hostile(folder: Path, small: Path, fields: Mapping[str, str]) -> str:
    """A copy of the channel with a repodata.json made by hand: tool's record has other fields; its URL."""
    for subdir in ("noarch", HERE):
        repodata = json.loads((small / subdir / "repodata.json").read_text())
        packages = repodata["packages.conda"]
        for name in [name for name in packages if name.startswith("tool-")]:
            record = {**packages.pop(name), **fields}
            packages[record.pop("file", name)] = record
        (folder / subdir).mkdir(parents=True)
        for path in (small / subdir).glob("*.conda"):
            (folder / subdir / path.name).write_bytes(path.read_bytes())
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata))
    return folder.as_uri()


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({"file": "tool-1.0-../../x.conda"}, {5}),
        ({"file": "tool-1.0-../../x.conda", "build": "../../x"}, {5}),
        ({"file": "tool-1.0-..%2f..%2fx.conda"}, {5}),
        ({"file": "../../tool-1.0-0.conda"}, {4, 5}),  # no package to rattler
        ({"build": "a/b"}, {5}),
        ({"build": "../../x"}, {5}),
        ({"build": "0/../../../x"}, {5}),
        ({"build": "0/../../../../x"}, {5}),
        ({"build": "0/../../envs/x"}, {5}),
        ({"name": "../../tool"}, {4, 5}),
    ],
    ids=str,
)
def test_names_of_a_channel_that_lead_elsewhere(
    site: Site, tmp_path: Path, small: Path, fields: Mapping[str, str], codes: set[int]
) -> None:
    url = hostile(tmp_path / "hostile", small, fields)
    for place in (tmp_path, site.root, site.root / "conda", site.root / "conda/envs"):
        (place / "x").mkdir(parents=True)
        (place / "x/precious").write_text("precious")
    before = everything(tmp_path)
    done = site.load("env", needs="tool", channels=url)
    assert done.code in codes, done.err
    assert len(done.errors) == 1
    assert everything(tmp_path) == before  # it is refused before the first byte


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tool-1.0-0.conda", "tool-1.0-0/..%2f..%2f..%2fx-1-0.conda"),
        ("tool-1.0-0.conda", "..%2ftool-1.0-0.conda"),
        ("tool-1.0-0.conda\n  sha256", "tool-1.0-0.conda\n  build: 0/../../../x\n  sha256"),
        ("tool-1.0-0.conda\n  sha256", "tool-1.0-0.conda\n  name: ../../x\n  sha256"),
    ],
)
def test_a_lock_with_a_name_that_leads_elsewhere(site: Site, tmp_path: Path, lock: Path, old: str, new: str) -> None:
    text = lock.read_text()
    assert old in text
    (tmp_path / "lock").write_text(text.replace(old, new))
    before = everything(site.root)
    done = site.load("env", channels="", lock=tmp_path / "lock")
    assert done.code in (2, 5), done.err
    assert len(done.errors) == 1
    assert everything(site.root) == before
    assert not (tmp_path / "x").exists()


# What else could be got wrong


def test_what_was_asked_for_is_told_in_the_environment(site: Site) -> None:
    """So that `conda env export --from-history` knows it from what merely came along."""
    assert site.load("env", needs="tool >=1, needs-new").code == 0
    asked = {}
    for path in (site.folder("env") / "conda-meta").glob("*.json"):
        meta = json.loads(path.read_text())
        asked[meta["name"]] = [*meta.get("requested_specs", []), *filter(None, [meta.get("requested_spec")])]
    assert any("tool" in spec for spec in asked["tool"])
    assert asked["needs-new"]


def test_a_channel_below_another_with_secrets_is_refused_too(
    fault: FaultServer, second: FaultServer, small: Path, other: Path, tmp_path: Path
) -> None:
    urls = f"{serve(fault, small)},{serve(second, other, '/chan/label')}"
    done = ls(urls, "--mount-secrets", write_secrets(tmp_path / "secrets", token=TOKEN))
    assert "have one host and path" in refused(done, 2)
    assert fault.requests() == second.requests() == []


def test_a_login_in_a_url_is_for_that_channel_alone(fault: FaultServer, small: Path, other: Path) -> None:
    """And not for one whose name only begins like it."""
    url, more = serve(fault, other, "/chan"), serve(fault, small, "/chan2")
    login = url.replace("://", f"://user:{quote(PASSWORD, safe='')}@")
    assert solved(ls(f"{login},{more}"))["tool"] == "0.5"
    told = {row.target.split("/")[1]: row.headers.get("authorization") for row in fault.requests()}
    assert told == {"chan": basic("user", PASSWORD), "chan2": None}


def test_options_that_decide_and_a_password_that_does_not(site: Site) -> None:
    def loaded(**options: str) -> bool:
        done = site.load("env", "--output", "json", **options)
        assert done.code == 0, done.err
        return bool(done.json["files"]["loaded"])

    index = "http://ann:{}@127.0.0.1:9/simple"
    assert loaded(pipIndexUrl=index.format("one"))
    assert not loaded(pipIndexUrl=index.format("two"))
    assert loaded(pipIndexUrl=index.format("two"), pipExtraIndexUrl="http://127.0.0.1:9/more")
    assert loaded(pipIndexUrl=index.format("two"))
    assert loaded(pipIndexUrl=index.format("two"), linkScripts="true")


def test_a_channel_brings_no_other_along(fault: FaultServer, tmp_path: Path) -> None:
    """As one could by channel_relations (CEP 42)."""
    for subdir in ("noarch", str(Subdir.current())):
        info = {"subdir": subdir, "channel_relations": {"base": "../more"}}
        record = {"name": "thing", "version": "1", "build": "0", "build_number": 0, "depends": [], "subdir": "noarch"}
        packages = {"thing-1-0.conda": record} if subdir == "noarch" else {}
        repodata = {"info": info, "packages": {}, "packages.conda": packages, "repodata_version": 1}
        fault.put(f"/chan/{subdir}/repodata.json", json.dumps(repodata).encode())
        more = {**repodata, "info": {"subdir": subdir}, "packages.conda": {}}
        fault.put(f"/more/{subdir}/repodata.json", json.dumps(more).encode())
    base = make_channel(tmp_path / "base", *BASE).as_uri()
    assert solved(ls(f"{fault.url}/chan,{base}", needs="thing"))["thing"] == "1"
    assert {request.target.split("/")[1] for request in fault.requests()} == {"chan"}
