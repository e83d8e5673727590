"""Conda environments on the volume: built for their prefix, owned, swapped in whole, and whole after every kill."""

import errno
import fcntl
import hashlib
import json
import os
import platform
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsload.errors import IntegrityError, UnsafePathError
from dsload.fetchers.conda.unpacking import Unpacker, check
from tests import command, killed
from tests.command import Result
from tests.contract import inside
from tests.fetchers.environments import Site
from tests.loads import write_secrets
from tests.servers.channel import (
    EVIL,
    HOSTILE,
    PLACEHOLDER,
    PYTHON,
    Package,
    make_channel,
    packed_above,
    packed_through_link,
    python_package,
    spoil,
    tool,
)
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.mounts import as_user, directory_of, small_tmpfs, volume_with
from tests.servers.nginx import Nginx
from tests.servers.orders import stall
from tests.servers.process import find, unavailable, wait_until
from tests.trees import everything

MIB = 1 << 20
ROOT = os.geteuid() == 0
UID, GID = (4321, 5432) if ROOT else (os.geteuid(), os.getegid())
OWNER = ("--mount-uid", UID, "--mount-gid", GID)
USER = ("ann", "pass word")
STATES = (".dsload", "envs")  # what a build may leave in the home


@pytest.fixture(autouse=True)
def no_pip_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor of the machine's."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def site(tmp_path: Path, channel: Path) -> Site:
    """Builds from the standard channel."""
    return new_site(tmp_path, channel.as_uri())


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel of few and small files, for many builds: python, tool, and what only bears the name of pip."""
    return make_channel(tmp_path_factory.mktemp("few"), *few_packages())


@pytest.fixture
def small(tmp_path: Path, few: Path) -> Site:
    """Builds from the channel of few files; only tests that change nothing of it use this."""
    return new_site(tmp_path, few.as_uri())


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Iterator[Site]:
    """A volume with an environment of tool 1.0, to be copied."""
    site = new_site(tmp_path_factory.mktemp("before"), few.as_uri())
    build(site, "env", needs="tool ==1.0")
    yield site


@pytest.fixture
def copied(before: Site, tmp_path: Path) -> Site:
    """A copy of it; the prefixes are those for which it was built."""
    subprocess.run(["cp", "-a", before.root, tmp_path / "v"], check=True)
    subprocess.run(["rm", "-rf", before.prefixes], check=True)
    return replace(before, root=tmp_path / "v")


def few_packages() -> list[Package]:
    return [python_package(), Package("pip", files={"share/pip": b"pip"}), tool("1.0"), tool("2.0")]


def new_site(folder: Path, channel: str) -> Site:
    (folder / "v").mkdir()
    return Site(folder / "v", folder / "p", channel)


def good(done: Result) -> Result:
    assert done.code == 0, done.err
    return done


def refused(done: Result, code: int, *words: str) -> None:
    """One line of error, of this exit code, with these words in it."""
    assert done.code == code, done
    assert "Traceback" not in done.err
    (line,) = done.errors
    for word in words:
        assert word in line


def build(site: Site, name: str, *arguments: object, needs: str = "tool", **options: object) -> Result:
    """Build in this process, which is faster."""
    return good(inside.run(*site.arguments(name, *arguments, needs=needs, **options)))


def version(site: Site, name: str = "env") -> str:
    """Of the tool in an environment that is whole; asks its program too."""
    good(inside.run("verify", site.folder(name)))
    said, number, prefix = site.run(name, "tool").split()
    assert (said, prefix) == ("tool", str(site.prefix(name)))
    assert (site.folder(name) / "share/tool.txt").read_text() == f"version {number}\nprefix {prefix}\n"
    return number


def check_no_leftovers(site: Site, *names: str, killed_before: bool = False) -> None:
    """Nothing but environments, what is told of them, and an empty state; and no environment is called a cache."""
    assert not list(site.root.glob("conda/envs/*/CACHEDIR.TAG"))
    home = site.root / "conda"
    assert sorted(os.listdir(home)) == [*STATES]
    assert os.listdir(home / ".dsload") == ["parts"]
    assert os.listdir(home / ".dsload/parts") == []
    wanted = {told for name in names or ("env",) for told in (name, f"{name}.conda.lock", f"{name}.pip-freeze.txt")}
    assert set(os.listdir(home / "envs")) == wanted
    check_prefixes(site, killed_before)


def check_prefixes(site: Site, killed_before: bool = False) -> None:
    """No place of a prefix is left; of a build that was killed, empty folders may be."""
    if killed_before:
        for path in sorted(site.prefixes.glob("*/**"), reverse=True):
            path.rmdir()
    assert list(site.prefixes.glob("*")) == []


# Where it is used


@pytest.mark.parametrize("served", [False, True], ids=["file", "http with a password"])
def test_it_runs_from_its_prefix(served: bool, site: Site, channel: Path, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path / "secrets", username=USER[0], password=USER[1])
    if served:
        with Nginx(tmp_path / "nginx", channel, auth=USER) as nginx:
            site = Site(site.root, site.prefixes, nginx.url)
            refused(site.load("env", "--retry-budget", 5, needs="tool"), 3, "credentials")
            done = site.load("env", "--mount-secrets", secrets, needs="tool, hello")
    else:
        done = site.load("env", "--mount-secrets", secrets, needs="tool, hello")
    good(done)
    assert version(site) == "2.0"
    assert site.run("env", "hello") == f"hello from {site.prefix('env')}"
    assert f" from {site.prefix('env')}/lib/{PYTHON}/site-packages/pip " in site.run("env", "pip", "--version")
    check_no_leftovers(site)
    for path in (path for path in site.root.rglob("*") if path.is_file()):
        assert USER[1].encode() not in path.read_bytes(), path


def test_prefixes_are_rewritten_and_none_names_the_staging_place(site: Site, simple: Path) -> None:
    build(site, "env", needs="tool, hello", **{"requirements.txt": "greet", "pipIndexUrl": simple.as_uri()})
    folder, prefix = site.folder("env"), os.fsencode(site.prefix("env"))
    assert (folder / "bin/tool").read_bytes().startswith(b"#!" + prefix + b"/bin/python\n")
    assert (folder / "share/tool.txt").read_bytes() == b"version 2.0\nprefix " + prefix + b"\n"
    binary = (folder / "lib/tool.bin").read_bytes()
    assert binary == (b"\0" + prefix + b"/share\0").ljust(len(PLACEHOLDER) + 8, b"\0") + b"2.0\0"
    for name in ("hello", "greet", "pip"):
        assert prefix + b"/bin/python" in (folder / "bin" / name).read_bytes().splitlines()[0]
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert b".env.new" not in content, path
        assert path.parent.name == "conda-meta" or PLACEHOLDER.encode() not in content, path


@pytest.mark.parametrize("length", [140, 240])
def test_long_prefixes(length: int, small: Site) -> None:
    """Longer than a shebang may be (127), and near the longest that a binary has room for."""
    small = Site(small.root, longer(small, length), small.channel)
    build(small, "env")
    assert len(str(small.prefix("env"))) == length
    assert version(small) == "2.0"
    assert os.fsencode(small.prefix("env")) in (small.folder("env") / "lib/tool.bin").read_bytes()


def test_a_prefix_that_is_too_long_for_a_binary(small: Site) -> None:
    small = Site(small.root, longer(small, 256), small.channel)
    refused(small.load("env", needs="tool"), 2, "tool", "longer than", "condaPrefixDir")
    assert not small.folder("env").exists()
    check_prefixes(small)


def longer(site: Site, length: int) -> Path:
    """A condaPrefixDir of which prefixes have that length."""
    missing = length - len(str(site.prefix("env")))
    site.prefixes.mkdir()
    return site.prefixes / ("l" * (missing - 1))


@pytest.mark.parametrize("there", ["", ".", "env", "env/conda/envs"])
def test_the_folders_of_the_prefix_that_were_there_stay_and_others_go(there: str, small: Site) -> None:
    if there:
        (small.prefixes / there).mkdir(parents=True)
        (small.prefixes / there / "other").write_text("mine")
    before = set(everything(small.prefixes)) if there else set()
    build(small, "env")
    assert small.prefixes.exists() == bool(there)
    assert not there or set(everything(small.prefixes)) == before


def test_two_environments_in_one_volume(small: Site) -> None:
    build(small, "one", needs="tool ==1.0")
    before = everything(small.folder("one"))
    build(small, "two", needs="tool ==2.0")
    assert everything(small.folder("one")) == before
    assert (version(small, "one"), version(small, "two")) == ("1.0", "2.0")
    check_no_leftovers(small, "one", "two")


@pytest.mark.parametrize("on", [False, True])
def test_scripts_run_only_where_the_user_wants_them(on: bool, site: Site) -> None:
    options = {"linkScripts": "true"} if on else {}
    build(site, "env", *OWNER, needs="scripted", **options)
    assert (site.folder("env") / "share/scripted").read_bytes() == b"yes"
    ran = site.folder("env") / "post-link-ran"
    assert ran.exists() == on
    assert not on or (ran.read_text(), owner(ran)) == ("scripted\n", (UID, GID))
    good(inside.run("verify", site.folder("env")))


# Owners, modes, links


def owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def every(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


@pytest.mark.parametrize(("mode", "runs"), [("0750", 0o750), ("0640", 0o750)])
def test_owner_and_mode(mode: str, runs: int, site: Site, simple: Path) -> None:
    options = {"requirements.txt": "greet", "pipIndexUrl": simple.as_uri(), "keepPkgs": "true"}
    build(site, "env", *OWNER, "--mount-mode", mode, needs="tool, hello", **options)
    folder, links = site.folder("env"), 0
    programs = {"tool", "hello", "greet", "pip", PYTHON}
    for path in every(site.root / "conda"):
        found = path.lstat()
        assert owner(path) == (UID, GID), path
        kept = ".dsload" in path.parts or "pkgs" in path.parts
        if stat.S_ISLNK(found.st_mode):
            links += 1
        elif stat.S_ISDIR(found.st_mode):
            assert kept or stat.S_IMODE(found.st_mode) == 0o750, path
        elif not kept:
            program = path.parent == folder / "bin" and path.name in programs
            assert stat.S_IMODE(found.st_mode) == (runs if program else int(mode, 8)), path
    assert links >= 6  # python, python3 and latest.bin, of the environment and of the packages
    assert {path.name for path in (folder / "bin").iterdir()} >= programs
    (site.root / "conda").chmod(0o755)
    assert site.run("env", "greet") == f"greet 2.0 from {site.prefix('env')}"


def test_links_within_a_package_stay_and_nothing_lies_there_twice(small: Site, tmp_path: Path) -> None:
    content = os.urandom(2 * MIB)
    linked = Package(
        "linked",
        files={"share/data": content, "share/text": b"linked"},
        hardlinks={"share/again": "share/data", "other/text": "share/text"},
        symlinks={"lib/data": "../share/data", "dir": "share", "lib/up": ".."},
        form=".tar.bz2",
    )
    folder = make_channel(tmp_path / "channel", *few_packages(), linked)
    small = Site(small.root, small.prefixes, folder.as_uri())
    build(small, "env", *OWNER, "--mount-mode", "0640", needs="linked")
    env = small.folder("env")
    for one, other in (("share/data", "share/again"), ("share/text", "other/text")):
        assert (env / one).samefile(env / other)
        assert (env / one).stat().st_nlink == 2
    assert (env / "share/again").read_bytes() == content
    targets = {path: os.readlink(env / path) for path in ("lib/data", "dir", "lib/up")}
    assert targets == {"lib/data": "../share/data", "dir": "share", "lib/up": ".."}
    assert 2 * MIB <= on_disk(small.root) < 3 * MIB
    good(inside.run("verify", env))
    build(small, "kept", *OWNER, needs="linked", keepPkgs="true")
    assert (small.folder("kept") / "share/data").samefile(small.folder("kept") / "share/again")
    assert on_disk(small.root) < 9 * MIB  # both environments, the archive, and what is unpacked


def on_disk(folder: Path) -> int:
    """What du says."""
    return sum({found.st_ino: found.st_blocks * 512 for found in map(Path.lstat, every(folder))}.values())


def test_setuid_and_the_like_are_dropped(small: Site, tmp_path: Path) -> None:
    modes = {"bin/user": 0o4755, "bin/group": 0o2755, "share/open": 0o666, "share/closed": 0o400}
    files = dict.fromkeys(modes, b"#!/bin/sh\n")
    folder = make_channel(tmp_path / "channel", *few_packages(), Package("modes", files=files, modes=modes))
    small = Site(small.root, small.prefixes, folder.as_uri())
    for skip in ((), ("--ownership", "try")):
        build(small, "env", *OWNER, "--mount-mode", "0644", *skip, needs="modes")
        found = {path: stat.S_IMODE((small.folder("env") / path).stat().st_mode) for path in modes}
        assert found == {"bin/user": 0o755, "bin/group": 0o755, "share/open": 0o644, "share/closed": 0o644}


def test_packages_stay_where_they_are_to_be_kept(small: Site, few: Path) -> None:
    build(small, "env", *OWNER, needs="tool", keepPkgs="true")
    packages = small.root / "conda/pkgs"
    archives = {"python", "pip", "tool"}
    names = {path.name for path in few.glob("*/*-*-*") if path.name.split("-")[0] in archives} - {"tool-1.0-0.conda"}
    assert {path.name for path in packages.iterdir() if path.suffix == ".conda"} == names
    assert {path.name for path in packages.iterdir() if path.is_dir()} == {name[: -len(".conda")] for name in names}
    assert (packages / "tool-2.0-0/share/tool.txt").read_text() == f"version 2.0\nprefix {PLACEHOLDER}\n"
    assert {owner(path) for path in every(packages)} == {(UID, GID)}
    assert "3 files" in good(inside.run("verify", small.root / "conda")).out
    assert version(small) == "2.0"
    moved = build(small, "two", "--output", "json", *OWNER, needs="tool", keepPkgs="true").json["bytes"]["moved"]
    assert moved == 0
    build(small, "env", *OWNER, needs="tool ==1.0")
    assert not packages.exists()
    check_no_leftovers(small, "env", "two")


# What fails


@pytest.fixture
def own(copied: Site, few: Path, tmp_path: Path) -> Site:
    """Builds from a channel of its own; an environment with tool 1.0 is there."""
    subprocess.run(["cp", "-a", few, tmp_path / "channel"], check=True)
    return replace(copied, channel=(tmp_path / "channel").as_uri())


def folder_of(site: Site) -> Path:
    return Path(site.channel.removeprefix("file://"))


def fails(site: Site, code: int, *words: str, needs: str = "tool ==2.0", **options: object) -> Result:
    """A build that ends so, and leaves what was there as it was."""
    before, told = everything(site.folder("env")), beside(site)
    done = site.load("env", "--retry-budget", 5, needs=needs, **options)
    refused(done, code, *words)
    assert (everything(site.folder("env")), beside(site)) == (before, told)
    check_prefixes(site)
    good(inside.run("verify", site.folder("env")))
    return done


def beside(site: Site) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in (site.root / "conda/envs").glob("env.*")}


@pytest.mark.parametrize("needs", ["nothere", "tool ==9"])
def test_what_cannot_be_solved_leaves_the_old_one(needs: str, own: Site) -> None:
    fails(own, 4, needs, needs=needs)
    check_no_leftovers(own)


@pytest.mark.parametrize("served", [False, True], ids=["file", "http"])
def test_a_spoilt_package_leaves_the_old_one(served: bool, own: Site, tmp_path: Path) -> None:
    spoil(folder_of(own), "tool")
    spoilt = next(folder_of(own).glob("*/tool-2.0-0.conda"))
    repodata = json.loads((spoilt.parent / "repodata.json").read_text())
    sums = (repodata["packages.conda"][spoilt.name]["sha256"], hashlib.sha256(spoilt.read_bytes()).hexdigest())
    assert sums[0] != sums[1]
    if served:
        with Nginx(tmp_path / "nginx", folder_of(own)) as nginx:
            fails(Site(own.root, own.prefixes, nginx.url), 5, spoilt.name, *sums)
            assert sum(seen.target.endswith(spoilt.name) for seen in nginx.requests()) == 2  # once more, from zero
    else:
        fails(own, 5, spoilt.name, *sums)
    make_channel(folder_of(own), tool("2.0"))
    build(own, "env", needs="tool ==2.0")
    assert version(own) == "2.0"
    check_no_leftovers(own)


@pytest.mark.parametrize("served", [False, True], ids=["file", "http"])
def test_a_package_that_is_listed_and_not_there(served: bool, own: Site, tmp_path: Path) -> None:
    next(folder_of(own).glob("*/tool-2.0-0.conda")).unlink()
    words = ("tool-2.0-0.conda", "have the channel re-indexed")
    if served:
        with Nginx(tmp_path / "nginx", folder_of(own)) as nginx:
            fails(Site(own.root, own.prefixes, nginx.url), 4, *words)
    else:
        fails(own, 4, *words)


def test_pip_that_fails_leaves_the_old_one(site: Site, simple: Path) -> None:
    """And nothing else, once the old recipe is loaded again."""
    build(site, "env", needs="tool ==1.0")
    fails(site, 4, "nothere", **{"requirements.txt": "nothere", "pipIndexUrl": simple.as_uri()})
    done = build(site, "env", "--output", "json", needs="tool ==1.0")
    assert done.json["files"]["loaded"] == 0
    check_no_leftovers(site)


HARMLESS = {"setuid"}
HOSTILES = [(made, None) for made in HOSTILE] + [(made, ".conda") for made in (packed_above, packed_through_link)]


@pytest.mark.parametrize(("made", "form"), HOSTILES, ids=lambda value: getattr(value, "__name__", value or "own"))
def test_hostile_packages(made: Callable[[Path], tuple[Package, ...]], form: str | None, own: Site) -> None:
    outside = own.root.parent / "outside"
    outside.mkdir()
    packages = [replace(package, form=form) if form else package for package in made(outside)]
    make_channel(folder_of(own), *packages)
    if made.__name__ in HARMLESS:
        good(own.load("env", needs="tool ==2.0, hostile"))
        check_no_leftovers(own)
        assert version(own) == "2.0"
    else:
        fails(own, 5, "hostile" if made.__name__ not in ("linked_out", "linked_through_link") else "door",
              needs="tool ==2.0, hostile")  # fmt: skip
    assert list(outside.iterdir()) == []
    assert {path.name for path in own.root.parent.iterdir()} <= {"channel", "outside", "p", "v"}
    for path in own.root.rglob(EVIL):  # of what is unpacked, or left of the build
        assert path.is_relative_to(own.root / "conda/pkgs/hostile-1.0-0") or ".env.new" in path.parts, path


@pytest.mark.parametrize("free", [3 * MIB, 5 * MIB, 6 * MIB + 100_000])
def test_a_full_volume_leaves_the_old_one(free: int, few: Path, tmp_path: Path) -> None:
    """What is to be loaded takes 3 MiB, as much again when it is unpacked, and something to be linked."""
    with small_tmpfs(tmp_path / "v", 20 * MIB) as root:
        site = Site(root, tmp_path / "p", few.as_uri())
        build(site, "env", needs="tool ==1.0")
        found = os.statvfs(root)
        (root / "filler").write_bytes(bytes(found.f_bavail * found.f_frsize - free))
        fails(site, 6, "space" if free > 3 * MIB else "bytes are to be written", "make room")
        (root / "filler").unlink()
        build(site, "env", needs="tool ==2.0")
        assert version(site) == "2.0"
        check_no_leftovers(site)


def test_wherever_the_volume_gets_full(few: Path, tmp_path: Path) -> None:
    """When it is unpacked, linked, and when the state is written: always what the exit code says."""
    codes = []
    with small_tmpfs(tmp_path / "v", 20 * MIB) as root:
        for spare in range(88 << 10, 168 << 10, 8 << 10):  # beside twice the size of what is to be loaded
            subprocess.run(["find", root, "-mindepth", "1", "-delete"], check=True)
            found = os.statvfs(root)
            (root / "filler").write_bytes(bytes(found.f_bavail * found.f_frsize - 6 * MIB - spare))
            done = command.run(*Site(root, tmp_path / "p", few.as_uri()).arguments("env", needs="tool"))
            codes.append((spare >> 10, done.code, "".join(done.errors)))
    assert {code for _, code, _ in codes} == {0, 6}, codes


def test_a_channel_in_a_folder_of_any_name(few: Path, tmp_path: Path) -> None:
    """/t/NAME/ is a token in a URL of anaconda.org's form, and a folder on disk."""
    (tmp_path / "t/folder").mkdir(parents=True)
    (tmp_path / "t/folder/channel").symlink_to(few)
    site = new_site(tmp_path, (tmp_path / "t/folder/channel").as_uri())
    good(site.load("env", needs="tool"))
    assert site.channel in (site.root / "conda/envs/env.conda.lock").read_text()


# The place of the prefix


def test_a_prefix_that_cannot_be_made(few: Path, tmp_path: Path) -> None:
    """The folder is another user's."""
    with directory_of() as folder:
        site = new_site(folder, few.as_uri())
        os.chown(site.root, *([folder.stat().st_uid] * 2))
        done = command.run(*site.arguments("env", needs="tool", condaPrefixDir=tmp_path / "p"), wrap=as_user)
        refused(done, 7, f"{tmp_path}/p/env/conda/envs/env", "mount an emptyDir there", "-o condaPrefixDir=DIR")
        assert not site.folder("env").exists()


def test_a_prefix_in_a_read_only_file_system(small: Site) -> None:
    with small_tmpfs(small.prefixes, MIB):
        subprocess.run([find("mount", "mount"), "-o", "remount,ro", str(small.prefixes)], check=True)
        refused(small.load("env", needs="tool"), 7, "read-only file system", "mount an emptyDir", "condaPrefixDir")
    assert not small.folder("env").exists()


def test_a_prefix_that_cannot_be_made_is_found_before_anything_is_downloaded(few: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a file")
    with Nginx(tmp_path / "nginx", few) as nginx:
        site = new_site(tmp_path, nginx.url)
        refused(site.load("env", needs="tool"), 7, "this path cannot be created", "condaPrefixDir")
        assert archives_asked(nginx) == []


@pytest.mark.parametrize("link", [False, True])
def test_the_volume_at_its_own_prefix(link: bool, few: Path, tmp_path: Path) -> None:
    """Its consumers' environment, in use there, is no place to build in."""
    real = new_site(tmp_path, few.as_uri())
    build(real, "env", needs="tool ==1.0")
    mount = real.prefixes / "env"
    mount.parent.mkdir()
    if link:
        mount.symlink_to(real.root)
    else:
        real.root.rename(mount)
    before = everything(mount / "conda/envs/env")
    site = Site(real.root if link else mount, real.prefixes, real.channel)
    refused(site.load("env", needs="tool ==2.0"), 7, "the volume itself is mounted there", "--mount-root")
    assert everything(mount / "conda/envs/env") == before
    assert mount.is_symlink() == link


def test_a_stale_symlink_is_replaced(small: Site) -> None:
    place = small.prefix("env")
    place.parent.mkdir(parents=True)
    place.symlink_to("/nowhere")
    build(small, "env")
    assert not place.is_symlink()
    place.parent.rmdir()
    (small.prefixes / "env/conda").rmdir()
    (small.prefixes / "env").rmdir()
    assert version(small) == "2.0"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_real_at_the_prefix_is_not_deleted(what: str, small: Site) -> None:
    place = small.prefix("env")
    place.parent.mkdir(parents=True)
    if what == "file":
        place.write_text("mine")
    else:
        (place / "bin").mkdir(parents=True)
    before = everything(small.prefixes)
    refused(small.load("env", needs="tool"), 7, str(place), "file exists")
    assert {path: about for path, about in everything(small.prefixes).items() if path.endswith("/env")} == {
        path: about for path, about in before.items() if path.endswith("/env")
    }
    assert set(everything(small.prefixes)) == set(before)
    assert not small.folder("env").exists()


def test_another_process_that_builds_for_the_same_prefix(small: Site) -> None:
    place = small.prefix("env").parent
    place.mkdir(parents=True)
    fd = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        refused(small.load("env", needs="tool"), 8, str(small.prefix("env")), "another process")
    finally:
        os.close(fd)
    assert good(small.load("env", needs="tool")).code == 0


def test_as_another_user_without_privileges(few: Path) -> None:
    with directory_of() as folder:
        site = new_site(folder, few.as_uri())
        uid = folder.stat().st_uid
        site.prefixes.mkdir()
        for path in (site.root, site.prefixes):
            os.chown(path, uid, uid)
        for wanted in ("1.0", "2.0"):
            arguments = site.arguments("env", "--mount-mode", "0750", needs=f"tool =={wanted}")
            good(command.run(*arguments, wrap=as_user))
            assert version(site) == wanted
            assert {owner(path) for path in every(site.root / "conda")} == {(uid, uid)}
            check_no_leftovers(site)


def test_nothing_is_written_elsewhere(site: Site, simple: Path, tmp_path: Path) -> None:
    places = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "tmp"}
    for place in places.values():
        place.mkdir()
    options = {"requirements.txt": "greet", "pipIndexUrl": simple.as_uri()}
    env = {name: str(place) for name, place in places.items()}
    env |= {"XDG_CACHE_HOME": "", "PATH": "/usr/bin:/bin"}  # pip asks rustc for its version, and rustup writes at home
    good(site.load("env", env=env, needs="tool, hello", **options))
    for place in places.values():
        assert list(place.rglob("*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "tmp", "v"]


# Kills


def archives_asked(nginx: Nginx) -> list[str]:
    """The packages that were asked for."""
    return [seen.target for seen in nginx.requests() if seen.target.endswith((".conda", ".tar.bz2"))]


def kill(site: Site, when: int | str, needs: str, wrap: Callable[[list[str]], list[str]] = list) -> int:
    """Build until it is killed there; what it came to."""
    argv = wrap([sys.executable, killed.__file__, str(when), *site.arguments("env", needs=needs)])
    root = str(Path(killed.__file__).parent.parent)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": root})
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def check_old_or_new(site: Site, old: Mapping[str, object]) -> None:
    """There is an environment, as it was byte for byte, or the new one, whole."""
    text = (site.folder("env") / "share/tool.txt").read_text()
    if text.startswith("version 1.0"):
        assert everything(site.folder("env")) == old
    else:
        assert text.startswith("version 2.0")
    good(inside.run("verify", site.folder("env")))


KILLS = [
    "os.mkdir:.env.new",
    "os.rename:tool-2.0-0.conda",
    "os.symlink:.env.new",
    "os.remove:env",
    "os.rmdir:envs",
    "os.chown:*@25",
    "os.rename:conda.lock",
    "os.rename:inventory.jsonl@2",
    "os.rename:complete.json",
    "os.rename:.env.old",
    "os.remove:big.bin",
    "os.remove:tool-2.0-0.conda",
    "os.rename:env.conda.lock",
    "os.remove:lease.json",
]


@pytest.mark.parametrize("when", KILLS)
def test_killed_where_an_old_environment_is(when: str, copied: Site) -> None:
    old = everything(copied.folder("env"))
    assert kill(copied, when, "tool ==2.0") == -9
    check_old_or_new(copied, old)
    build(copied, "env", needs="tool ==2.0")
    check_no_leftovers(copied, killed_before=True)
    assert version(copied) == "2.0"


@pytest.fixture(scope="module")
def changes(before: Site, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many changes to the file system a first build makes; a few more or less, as threads go."""
    root = tmp_path_factory.mktemp("counted")
    script = (
        "import itertools, sys\n"
        "from tests import killed\n"
        "from dsload.cli.main import main\n"
        "count = itertools.count()\n"
        "sys.addaudithook(lambda event, _: event in killed.CHANGES and next(count))\n"
        "try: main()\n"
        "finally: print(next(count), file=sys.stderr)\n"
    )
    site = Site(root, before.prefixes, before.channel)
    argv = [sys.executable, "-B", "-c", script, *site.arguments("env", "--quiet", needs="tool")]
    where = str(Path(killed.__file__).parent.parent)
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": where}, check=True)
    return int(done.stderr.split()[-1])


PARTS = 6


@pytest.mark.parametrize("part", range(1, PARTS))
def test_killed_in_a_first_build(part: int, changes: int, small: Site) -> None:
    assert kill(small, changes * part // PARTS, "tool") == -9
    if small.folder("env").exists():
        good(inside.run("verify", small.folder("env")))
    build(small, "env")
    check_no_leftovers(small, killed_before=True)
    assert version(small) == "2.0"


@pytest.mark.parametrize("when", ["os.rename:conda.lock", "os.rename:complete.json"])
def test_what_was_finished_does_not_come_again(when: str, few: Path, tmp_path: Path) -> None:
    with Nginx(tmp_path / "nginx", few) as nginx:
        site = new_site(tmp_path, nginx.url)
        assert kill(site, when, "tool") == -9
        assert len(archives_asked(nginx)) == 3
        nginx.clear()
        build(site, "env")
        assert archives_asked(nginx) == []
    check_no_leftovers(site, killed_before=True)
    assert version(site) == "2.0"


def test_killed_again_and_again(copied: Site) -> None:
    """Each rerun is killed too, a little later."""
    old = everything(copied.folder("env"))
    for when in ("os.rename:tool-2.0-0.conda", "os.symlink:.env.new", "os.rename:complete.json"):
        assert kill(copied, when, "tool ==2.0") == -9
        assert everything(copied.folder("env")) == old
    build(copied, "env", needs="tool ==2.0")
    check_no_leftovers(copied, killed_before=True)
    assert version(copied) == "2.0"


def test_the_old_one_is_put_back_where_a_swap_was_killed_half_way(copied: Site) -> None:
    old = everything(copied.folder("env"))
    inode = copied.folder("env").stat().st_ino
    copied.folder("env").rename(copied.folder(".env.old"))
    done = build(copied, "env", "--output", "json", needs="tool ==1.0")
    assert done.json["files"]["loaded"] == 0
    assert everything(copied.folder("env")) == old
    assert copied.folder("env").stat().st_ino == inode
    check_no_leftovers(copied)


NO_EXCHANGE = 0x0005_0000 | errno.EINVAL  # SECCOMP_RET_ERRNO, as file systems answer that cannot
RENAMEAT2 = {"x86_64": 316, "aarch64": 276}


def without_exchange(argv: list[str]) -> list[str]:
    """The command where renameat2 exchanges nothing, as on NFS: by a filter of system calls (seccomp, in BPF)."""
    if platform.machine() not in RENAMEAT2:
        unavailable(f"the number of renameat2 is not known on {platform.machine()}")
    program = [  # load the number; not it: let it go; load the flags; RENAME_EXCHANGE: refuse; let it go
        (0x20, 0, 0, 0),
        (0x15, 0, 3, RENAMEAT2[platform.machine()]),
        (0x20, 0, 0, 16 + 8 * 4),
        (0x15, 0, 1, 2),
        (0x06, 0, 0, NO_EXCHANGE),
        (0x06, 0, 0, 0x7FFF_0000),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    script = (
        "import ctypes, os, struct, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"code = ctypes.create_string_buffer({code!r})\n"
        f"head = ctypes.create_string_buffer(struct.pack('HxxxxxxP', {len(program)}, ctypes.addressof(code)))\n"
        "if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0): sys.exit('no seccomp')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    return [sys.executable, "-c", script, *argv]


def test_a_volume_that_cannot_exchange(copied: Site) -> None:
    probe = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "os.mkdir('a'), os.mkdir('b')\n"
        "sys.exit(libc.renameat2(-100, b'a', -100, b'b', 2) and ctypes.get_errno())\n"
    )
    (copied.root.parent / "probe").mkdir()
    argv = without_exchange([sys.executable, "-c", probe])
    assert subprocess.run(argv, cwd=copied.root.parent / "probe").returncode == errno.EINVAL
    arguments = copied.arguments("env", needs="tool ==2.0")
    good(command.run(*arguments, wrap=without_exchange))
    check_no_leftovers(copied)
    assert version(copied) == "2.0"


@pytest.mark.parametrize(("when", "there"), [("os.rename:.env.old", "env"), ("os.rename:env", ".env.old")])
@pytest.mark.parametrize("needs", ["tool ==1.0", "tool ==2.0"])
def test_killed_between_two_renames(when: str, there: str, needs: str, copied: Site) -> None:
    old = everything(copied.folder("env"))
    assert kill(copied, when, "tool ==2.0", without_exchange) == -9
    assert everything(copied.folder(there)) == old
    assert (there == "env") == copied.folder("env").exists()
    done = build(copied, "env", "--output", "json", needs=needs)
    assert (done.json["files"]["loaded"] == 0) == (needs == "tool ==1.0")
    check_no_leftovers(copied, killed_before=True)
    assert version(copied) == needs.removeprefix("tool ==")


# Two at once, and signals


@pytest.fixture
def stalled(few: Path) -> Iterator[FaultServer]:
    """A server of the channel that stalls in the middle of tool 2.0."""
    with FaultServer() as server:
        for path in (path for path in few.rglob("*") if path.is_file()):
            server.put(f"/{path.relative_to(few)}", path.read_bytes())
        (large,) = few.glob("*/tool-2.0-0.conda")
        server.order(f"/{large.relative_to(few)}", stall(MIB), times=ALWAYS)
        yield server
        server.release()


def start(site: Site, *arguments: object, needs: str = "tool", env: Mapping[str, str] | None = None, **options: object
          ) -> "subprocess.Popen[str]":  # fmt: skip
    return command.start(*site.arguments("env", *arguments, needs=needs, **options), env=env)


def downloading(site: Site) -> bool:
    return any(path.stat().st_blocks for path in site.root.glob("conda/.dsload/parts/*") if "." not in path.name)


def descendants(mark: str) -> list[str]:
    """The processes that have inherited a variable of this content."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_second_load_of_the_volume(stalled: FaultServer, tmp_path: Path) -> None:
    site = new_site(tmp_path, stalled.url)
    first = start(site)
    wait_until(lambda: downloading(site), "the first load to be under way")
    done = site.load("other", needs="tool ==1.0")
    refused(done, 8, f"held by process {first.pid} on")
    assert first.poll() is None
    stalled.release()
    good(command.ended(first))
    assert version(site) == "2.0"
    check_no_leftovers(site)


SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


@SIGNALS
def test_stopped_while_downloading(number: int, code: int, stalled: FaultServer, tmp_path: Path) -> None:
    site = new_site(tmp_path, stalled.url)
    (tmp_path / "tmp").mkdir()
    child = start(site, env={"TMPDIR": str(tmp_path / "tmp"), "MARK": str(tmp_path)})
    wait_until(lambda: downloading(site), "the download to be under way")
    assert len(descendants(f"MARK={tmp_path}")) > 1
    child.send_signal(number)
    assert command.ended(child).code == code
    assert descendants(f"MARK={tmp_path}") == []
    assert list((tmp_path / "tmp").iterdir()) == []
    check_prefixes(site)
    assert not site.folder("env").exists()
    stalled.release()
    stalled.clear()
    build(site, "env")
    assert stalled.bytes_sent() < 4 * MIB
    assert version(site) == "2.0"
    check_no_leftovers(site)


BACKEND = """
import base64, hashlib, os, sys, zipfile

def build_wheel(folder, settings=None, metadata=None):
    open("{project}/started", "w").close()
    open("{project}/gate").read()
    name = "greeting-1.0-py3-none-any.whl"
    info = "greeting-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("greeting.py", "print('hi')")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return name
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A source distribution whose build waits at a gate."""
    folder = tmp_path / "project"
    folder.mkdir()
    table = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(table)
    (folder / "backend.py").write_text(BACKEND.format(project=folder))
    os.mkfifo(folder / "gate")
    return folder


def open_gate(project: Path) -> None:
    (project / "open").write_text("")
    (project / "open").rename(project / "gate")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopped_while_pip_runs(number: int, code: int, site: Site, project: Path, tmp_path: Path) -> None:
    """By SIGKILL too pip ends: it would write into what the next run builds at the same prefix."""
    (tmp_path / "tmp").mkdir()
    options = {"requirements.txt": str(project)}
    child = start(site, env={"TMPDIR": str(tmp_path / "tmp"), "MARK": str(tmp_path)}, **options)
    wait_until((project / "started").exists, "pip to be under way")
    assert any(str(site.prefix("env")) in line for line in descendants(f"MARK={tmp_path}"))
    try:
        child.send_signal(number)
        assert command.ended(child).code == code
        if number == signal.SIGKILL:
            wait_until(lambda: not any(" -m pip " in line for line in descendants(f"MARK={tmp_path}")), "its end", 5)
        else:
            assert descendants(f"MARK={tmp_path}") == []
            assert list((tmp_path / "tmp").iterdir()) == []
            check_prefixes(site)
        assert not site.folder("env").exists()
    finally:
        gate = os.open(project / "gate", os.O_RDWR | os.O_NONBLOCK)
        open_gate(project)
        os.close(gate)  # whoever waits there goes on
    build(site, "env", **options)
    check_no_leftovers(site, killed_before=number == signal.SIGKILL)
    assert site.run("env", "python", "-m", "greeting") == "hi"
    assert version(site) == "2.0"


# What else could be got wrong


def added(site: Site, tmp_path: Path, *packages: Package) -> Site:
    """Builds from the few packages and these."""
    return Site(site.root, site.prefixes, make_channel(tmp_path / "added", *few_packages(), *packages).as_uri())


def post_link(name: str, script: str, **fields: Any) -> Package:
    """A package with a script that is to run after it is linked."""
    path = f"bin/.{name}-post-link.sh"
    files = {path: f"#!/bin/sh\n{script}\n".encode(), **fields.pop("files", {})}
    return Package(name, files=files, modes={path: 0o755}, form=".tar.bz2", **fields)


def test_a_file_of_two_names_is_as_executable_as_it_was(small: Site, tmp_path: Path) -> None:
    """Under its second name it is seen with the mode that it got under its first."""
    links = {"a/text": "share/text", "z/text": "share/text"}
    linked = Package("linked", files={"share/text": b"x"}, hardlinks=links, form=".tar.bz2")
    small = added(small, tmp_path, linked)
    for mode in ("0755", "0640"):
        build(small, "env", "--mount-mode", mode, needs="linked")
        assert stat.S_IMODE((small.folder("env") / "share/text").stat().st_mode) == int(mode, 8)


def test_packages_of_another_environment_stay_where_they_are_to_be_kept(small: Site) -> None:
    for name, number in (("one", "1.0"), ("two", "2.0")):
        build(small, name, needs=f"tool =={number}", keepPkgs="true")
    kept = {path.name for path in (small.root / "conda/pkgs").glob("tool-*.conda")}
    assert kept == {"tool-1.0-0.conda", "tool-2.0-0.conda"}


def test_packages_go_where_they_are_no_longer_to_be_kept(small: Site) -> None:
    build(small, "env", keepPkgs="true")
    assert (small.root / "conda/pkgs").exists()
    assert build(small, "env", "--output", "json").json["files"]["loaded"] == 0
    check_no_leftovers(small)


def test_a_special_file_that_a_script_makes_is_refused(own: Site) -> None:
    make_channel(folder_of(own), post_link("special", 'mkfifo "$PREFIX/share/fifo"'))
    fails(own, 5, "share/fifo", "neither a file", needs="special", linkScripts="true")


def test_a_symlink_to_what_lies_beside_is_refused(own: Site) -> None:
    make_channel(folder_of(own), Package("beside", symlinks={"door": "../.env.newer"}))
    fails(own, 5, "door", "outside of what was built", needs="beside")


def test_a_file_that_a_script_changes_has_its_own_checksum(small: Site, tmp_path: Path) -> None:
    script = 'echo more >> "$PREFIX/share/data"'
    small = added(small, tmp_path, post_link("changing", script, files={"share/data": b"data\n"}))
    build(small, "env", needs="changing", linkScripts="true")
    assert (small.folder("env") / "share/data").read_bytes() == b"data\nmore\n"
    good(inside.run("verify", small.folder("env")))


def test_the_cache_of_pip_goes_where_packages_are_kept(site: Site, simple: Path) -> None:
    build(site, "env", keepPkgs="true", **{"requirements.txt": "greet", "pipIndexUrl": simple.as_uri()})
    assert (site.root / "conda/pkgs").is_dir()
    assert not (site.root / "conda/pkgs/pip-cache").exists()


def test_an_environment_is_not_called_whole_while_its_owner_changes(copied: Site) -> None:
    arguments = copied.arguments("env", "--mount-mode", "0700", needs="tool ==1.0")
    assert killed.run("os.rename:complete.json", *arguments).returncode == -9
    assert not (copied.folder("env") / ".dsload/complete.json").exists()
    build(copied, "env", "--mount-mode", "0700", needs="tool ==1.0")
    assert version(copied) == "1.0"


@pytest.mark.parametrize("name", [".env.new", ".env.old"])
@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_no_folder_where_a_build_has_its_own_goes(kind: str, name: str, copied: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("mine")
    if kind == "file":
        copied.folder(name).write_text("a file")
    else:
        copied.folder(name).symlink_to(tmp_path / "outside")
    build(copied, "env", needs="tool ==2.0")
    check_no_leftovers(copied)
    assert version(copied) == "2.0"
    assert (tmp_path / "outside/file").read_text() == "mine"


def test_a_symlink_in_what_was_unpacked_before_is_not_followed(small: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder = small.root / "conda/pkgs/tool-2.0-0"
    folder.mkdir(parents=True)
    (folder / "share").symlink_to(tmp_path / "outside")
    build(small, "env")
    assert list((tmp_path / "outside").iterdir()) == []
    assert version(small) == "2.0"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("paths.json", json.dumps({"paths": [{"_path": "share/ok"}, {"_path": "../evil"}]})),
        ("files", "share/ok\n../evil\n"),
        ("link.json", json.dumps({"noarch": {"type": "python", "entry_points": ["ok = m:f", "../../evil = m:f"]}})),
    ],
)
def test_whatever_lists_names_is_checked(name: str, text: str, tmp_path: Path) -> None:
    """Packages may lack any of these; rattler goes by what there is."""
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / name).write_text(text)
    with pytest.raises(UnsafePathError, match="evil"):
        check(tmp_path, "hostile")


@pytest.mark.parametrize("right", [True, False])
def test_what_is_unpacked_is_what_the_channel_states(right: bool, few: Path, tmp_path: Path) -> None:
    """And is marked as rattler marks it, which else would unpack it once more."""
    (archive,) = few.glob("*/tool-2.0-0.conda")
    digest = hashlib.sha256(archive.read_bytes()).digest()
    with Unpacker(tmp_path, "conda://env") as unpacker:
        unpacker.put(archive, "tool-2.0-0", digest if right else bytes(32))
        if right:
            unpacker.finish(lambda: None)
        else:
            with pytest.raises(IntegrityError, match=digest.hex()):
                unpacker.finish(lambda: None)
    lock = tmp_path / "tool-2.0-0.lock"
    assert (lock.read_bytes() if lock.exists() else b"") == ((1).to_bytes(8, "big") + digest if right else b"")


# Volumes that fold names


@pytest.mark.parametrize("names", [("share/README", "share/readme"), ("share/N/x", "share/n/x")])
def test_files_of_packages_that_the_volume_takes_for_one(tmp_path: Path, names: tuple[str, str]) -> None:
    package = Package("twofold", files={name: name.encode() for name in names})
    channel = make_channel(tmp_path / "channel", *few_packages(), package)
    with volume_with(tmp_path / "folding", "case") as root:
        done = Site(root, tmp_path / "p", channel.as_uri()).load("e", needs="twofold")
        assert done.code == 5, done.err
        (line,) = done.errors
        assert "this volume takes" in line
        assert all(repr(name) in line for name in names)
        assert not (root / "conda/envs/e").exists()


def test_folders_that_differ_in_case_are_one_and_lose_nothing(tmp_path: Path) -> None:
    """As ncurses has them in every environment."""
    files = {"share/terminfo/N/north": b"1", "share/terminfo/n/normal": b"2"}
    channel = make_channel(tmp_path / "channel", *few_packages(), Package("curses", files=files))
    with volume_with(tmp_path / "folding", "case") as root:
        site = Site(root, tmp_path / "p", channel.as_uri())
        assert site.load("e", needs="curses").code == 0
        assert {path: (site.folder("e") / path).read_bytes() for path in files} == files
        assert command.run("verify", site.folder("e")).code == 0


# Locales


def test_names_of_packages_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    name = "share/\u6570\u636e.txt"
    package = Package("named", files={name: b"x"}, symlinks={"share/caf\u00e9": "\u6570\u636e.txt"})
    channel = make_channel(tmp_path / "channel", *few_packages(), package)
    site = new_site(tmp_path, channel.as_uri())
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for loaded in (True, False):
        done = site.load("e", "--output", "json", needs="named", env=env)
        assert done.code == 0, done.err
        assert bool(done.json["files"]["loaded"]) is loaded
    assert (site.folder("e") / name).read_bytes() == b"x"
    assert os.readlink(site.folder("e") / "share/caf\u00e9") == "\u6570\u636e.txt"
    for other in ({}, env):
        assert command.run("verify", site.folder("e"), env=other).code == 0
