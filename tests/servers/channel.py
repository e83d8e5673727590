"""Conda channels and a simple index of wheels, made on the spot as folders.

Each can be served by nginx or read as ``file://``::

    channel = make_channel(tmp_path / "channel", python_package(), Package("tool", "2.0", files={"bin/tool": b"..."}))
    Wheel("greet", modules={"greet.py": b"..."}).write(tmp_path / "simple")

Equal packages are equal bytes: times are fixed, and what is random has a seed.
"""

import asyncio
import base64
import bz2
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import platform
import random
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zstandard
from rattler import Subdir
from rattler.index import index_fs

from tests.servers.process import PIP, find, missing

PLACEHOLDER = "/opt/build" + "_placehold" * 24 + "_plac"  # 255 long, like conda-build's
WHEN = 1_704_067_200  # 2024-01-01: the time of everything in a package
ZIP_DATE = (2024, 1, 1, 0, 0, 0)
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
EVIL = "evil"  # what the hostile packages would put where it does not belong


@dataclass(frozen=True, slots=True)
class Package:
    """A conda package.

    Args:
        files: content by path. With PLACEHOLDER in it the prefix is to be put there: into text, or with a NUL
            byte into a binary.
        depends: match specs.
        modes: permissions of files, 0644 for those not in it.
        symlinks: target by path. They come before the files in the archive.
        hardlinks: by path, another of the package's files that it is one inode with in the archive.
        noarch: whether it is for any platform, and whether its ``site-packages/`` are Python's.
        entry_points: ``name = module:function``, of a noarch Python package.
        listed: further files that ``info/paths.json`` states and the archive lacks.
        form: which kind of archive.
    """

    name: str
    version: str = "1.0"
    build: str = "0"
    files: Mapping[str, bytes] = field(default_factory=dict)
    depends: Sequence[str] = ()
    modes: Mapping[str, int] = field(default_factory=dict)
    symlinks: Mapping[str, str] = field(default_factory=dict)
    hardlinks: Mapping[str, str] = field(default_factory=dict)
    noarch: Literal["", "python", "generic"] = ""
    entry_points: Sequence[str] = ()
    listed: Mapping[str, bytes] = field(default_factory=dict)
    form: Literal[".conda", ".tar.bz2"] = ".conda"

    @property
    def subdir(self) -> str:
        """The channel's folder that it belongs into."""
        return "noarch" if self.noarch else str(Subdir.current())

    @property
    def file_name(self) -> str:
        """Its archive's name."""
        return f"{self.name}-{self.version}-{self.build}{self.form}"

    def write(self, channel: Path) -> Path:
        """Write the archive into a channel; its path. `index` makes it known."""
        path = channel / self.subdir / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        info, payload = list(self._info()), list(self._payload())
        if self.form == ".conda":
            _write_conda(path, info, payload)
        else:  # in small blocks: see `spoil`
            path.write_bytes(bz2.compress(_tar([*info, *payload]), compresslevel=1))
        return path

    def _info(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        paths = [*self.files, *self.symlinks, *self.hardlinks]
        yield _file("info/index.json", _json(self._index()))
        yield _file("info/paths.json", _json({"paths": self._paths(), "paths_version": 1}))
        yield _file("info/files", "".join(f"{path}\n" for path in paths).encode())
        if self.noarch == "python":
            noarch = {"type": "python", "entry_points": [*self.entry_points]}
            yield _file("info/link.json", _json({"noarch": noarch, "package_metadata_version": 1}))

    def _index(self) -> dict[str, Any]:
        index = {"name": self.name, "version": self.version, "build": self.build, "build_number": 0}
        index |= {"depends": [*self.depends], "subdir": self.subdir, "timestamp": WHEN * 1000}
        return index | ({"noarch": self.noarch} if self.noarch else {})

    def _paths(self) -> list[dict[str, Any]]:
        contents = {**self.files, **{path: self.files[of] for path, of in self.hardlinks.items()}, **self.listed}
        links = [_path(path, "softlink", b"") for path in self.symlinks]
        return [*links, *(_path(path, "hardlink", content) for path, content in contents.items())]

    def _payload(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        for path, target in self.symlinks.items():
            yield _link(path, tarfile.SYMTYPE, target)
        for path, content in self.files.items():
            yield _file(path, content, self.modes.get(path, 0o644))
        for path, of in self.hardlinks.items():
            yield _link(path, tarfile.LNKTYPE, of)


def _path(path: str, kind: str, content: bytes) -> dict[str, Any]:
    """An entry of ``info/paths.json``."""
    sha256 = hashlib.sha256(content).hexdigest()
    entry = {"_path": path, "path_type": kind, "sha256": sha256, "size_in_bytes": len(content)}
    if PLACEHOLDER.encode() in content:
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in content else "text"}
    return entry


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _file(path: str, content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.mtime = len(content), mode, WHEN
    return member, content


def _link(path: str, kind: bytes, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    member.type, member.linkname, member.mtime = kind, target, WHEN
    return member, b""


def _tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _write_conda(
    path: Path, info: Sequence[tuple[tarfile.TarInfo, bytes]], payload: Sequence[tuple[tarfile.TarInfo, bytes]]
) -> None:
    stem = path.name.removesuffix(".conda")
    members = {"metadata.json": _json({"conda_pkg_format_version": 2})}
    for part, content in (("pkg", payload), ("info", info)):
        members[f"{part}-{stem}.tar.zst"] = zstandard.ZstdCompressor(level=1).compress(_tar(content))
    path.write_bytes(_zip(members, zipfile.ZIP_STORED))


def _zip(members: Mapping[str, bytes], compression: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, ZIP_DATE)
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, content, compression)
    return out.getvalue()


def index(channel: Path) -> None:
    """Write the ``repodata.json`` of each of a channel's folders."""
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(channel, force=True))  # else what it knows by name it does not read again


def make_channel(folder: Path, *packages: Package) -> Path:
    """Make a channel of these packages; the folder."""
    for package in packages:
        package.write(folder)
    index(folder)
    return folder


def spoil(channel: Path, name: str) -> None:
    """Change a byte of a package's archives: only their checksums are wrong, what is in them is as it was."""
    paths = [path for path in channel.glob(f"*/{name}-*-*") if path.name.rsplit("-", 2)[0] == name]
    if not paths:
        raise FileNotFoundError(f"no package {name} in {channel}")
    for path in paths:
        content = bytearray(path.read_bytes())
        if path.suffix == ".conda":
            content[10] ^= 1  # of a zip: the time of its first member
        else:
            content[3] = ord("9")  # of a bzip2: the most that a block of it may have
        path.write_bytes(content)


@functools.cache
def python_package() -> Package:
    """Python as an environment's own: the interpreter that runs this, with its standard library.

    A copy of the binary where one runs; where it does not (it finds libpython beside itself), a script that runs
    the interpreter under the script's name. Not a symlink, which would lead out of the environment.
    """
    real = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # a virtual environment's is a link
    cfg = f"home = {real.parent}\ninclude-system-site-packages = false\n".encode()
    copy, launcher = (
        Package(
            "python",
            platform.python_version(),
            files={f"bin/{PYTHON}": program, "pyvenv.cfg": cfg},
            modes={f"bin/{PYTHON}": 0o755},
            symlinks={"bin/python": PYTHON, "bin/python3": PYTHON},
        )
        for program in (real.read_bytes(), _launcher(real))
    )
    return copy if _runs(copy) else launcher


def _launcher(python: Path) -> bytes:
    return f'#!{find("bash", "bash")}\nexec -a "$0" "{python}" "$@"\n'.encode()


def _runs(python: Package) -> bool:
    """Whether the interpreter of this package runs in another place as what it is, and takes that for its prefix."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in python.files.items():
            made = Path(folder, path)
            made.parent.mkdir(exist_ok=True)
            made.write_bytes(content)
            made.chmod(python.modes.get(path, 0o644))
        argv = [f"{folder}/bin/{PYTHON}", "-c", "import sys; print([sys.prefix, sys.version])"]
        try:
            run = subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        except OSError:
            return False
        return run.returncode == 0 and run.stdout.strip() == str([folder, sys.version])


@functools.cache
def pip_package() -> Package:
    """pip: the wheel that this Python has for its virtual environments, or else the pip that is installed."""
    version, files = _bundled_pip() or _installed_pip()
    return Package(
        "pip",
        version,
        files={f"site-packages/{path}": content for path, content in files.items()},
        depends=["python"],
        noarch="python",
        entry_points=["pip = pip._internal.cli.main:main"],
    )


def _bundled_pip() -> tuple[str, dict[str, bytes]] | None:
    ensurepip = importlib.util.find_spec("ensurepip")
    folders = [Path(folder, "_bundled") for folder in (ensurepip and ensurepip.submodule_search_locations) or []]
    folders += [Path(folder) for folder in [sysconfig.get_config_var("WHEEL_PKG_DIR")] if folder]  # a distribution's
    for path in (path for folder in folders for path in folder.glob("pip-*.whl")):
        with zipfile.ZipFile(path) as wheel:
            files = {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
        return path.name.split("-")[1], files
    return None


def _installed_pip() -> tuple[str, dict[str, bytes]]:
    try:
        pip = importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        missing("pip", "pip", PIP)
    if not pip.files:
        missing("pip with a list of its files", "pip", PIP)
    paths = [path for path in pip.files if path.parts[0].startswith("pip") and path.suffix != ".pyc"]
    return pip.version, {str(path): path.read_binary() for path in paths}


def standard(folder: Path) -> Path:
    """Make the channel that most tests use; the folder.

    python, pip, ipykernel; ``tool`` 1.0 and 2.0 with everything a package can have, and ``needs-old`` and
    ``needs-new`` that want one each; ``hello`` with an entry point; ``broken``, which wants a tool that is not
    there; ``scripted``, with a script that is to run after it is linked.
    """
    return make_channel(
        folder,
        python_package(),
        pip_package(),
        _module("ipykernel", "6.29.5", b"__version__ = '6.29.5'\n"),
        tool("1.0"),
        tool("2.0"),
        _module("hello", "1.0", b"import sys\ndef main():\n    print('hello from', sys.prefix)\n", "hello:main"),
        Package("needs-old", files={"share/needs-old": b"1"}, depends=["tool ==1.0"], form=".tar.bz2"),
        Package("needs-new", files={"share/needs-new": b"2"}, depends=["tool ==2.0"]),
        Package("broken", files={"share/broken": b""}, depends=["tool ==9"]),
        scripted(),
    )


def _module(name: str, version: str, content: bytes, entry_point: str = "") -> Package:
    return Package(
        name,
        version,
        files={f"site-packages/{name}/__init__.py": content},
        depends=["python"],
        noarch="python",
        entry_points=[f"{name} = {entry_point}"] if entry_point else [],
        form=".tar.bz2",
    )


def tool(version: str) -> Package:
    """A program in Python that prints ``tool <version> <prefix>``, and files of each kind."""
    script = f"#!{PLACEHOLDER}/bin/python\nimport sys\nprint('tool', '{version}', sys.prefix)\n"
    return Package(
        "tool",
        version,
        files={
            "bin/tool": script.encode(),
            "share/tool.txt": f"version {version}\nprefix {PLACEHOLDER}\n".encode(),
            "lib/tool.bin": b"\0" + PLACEHOLDER.encode() + b"/share\0" + version.encode() + b"\0",
            "share/big.bin": random.Random(version).randbytes(3 << 20),
        },
        depends=["python"],
        modes={"bin/tool": 0o755},
        symlinks={"share/latest.bin": "big.bin"},
    )


def scripted() -> Package:
    """A package whose script, if it runs, writes ``post-link-ran`` into the prefix."""
    path = "bin/.scripted-post-link.sh"
    script = b'#!/bin/sh\necho "$PKG_NAME" > "$PREFIX/post-link-ran"\n'
    files = {path: script, "share/scripted": b"yes"}
    return Package("scripted", files=files, modes={path: 0o755}, form=".tar.bz2")


def listed_above(outside: Path) -> tuple[Package, ...]:
    """Its list of files leads beside the prefix, to what is there beside the package when it is extracted: itself."""
    return (Package("hostile", files={EVIL: b"evil"}, listed={f"../hostile-1.0-0/{EVIL}": b"evil"}),)


def listed_absolute(outside: Path) -> tuple[Package, ...]:
    """Its list of files has an absolute path."""
    return (Package("hostile", files={"share/ok": b"ok"}, listed={f"{outside}/{EVIL}": b"evil"}),)


def packed_above(outside: Path) -> tuple[Package, ...]:
    """Its archive leads above where it is extracted."""
    return (Package("hostile", files={f"../../{EVIL}": b"evil"}, form=".tar.bz2"),)


def packed_absolute(outside: Path) -> tuple[Package, ...]:
    """Its archive has an absolute path."""
    return (Package("hostile", files={f"{outside}/{EVIL}": b"evil"}, form=".tar.bz2"),)


def packed_through_link(outside: Path) -> tuple[Package, ...]:
    """Its archive leads through a symlink of its own."""
    return (Package("hostile", files={f"door/{EVIL}": b"evil"}, symlinks={"door": str(outside)}, form=".tar.bz2"),)


def linked_through_link(outside: Path) -> tuple[Package, ...]:
    """It has a file below what is a symlink in the package that it depends on."""
    door = Package("hostile-door", symlinks={"door": str(outside)})
    return door, Package("hostile", files={f"door/{EVIL}": b"evil"}, depends=["hostile-door"])


def entry_point_above(outside: Path) -> tuple[Package, ...]:
    """Its entry point is a program beside the prefix."""
    module = {"site-packages/hostile.py": b"def main(): pass\n"}
    entry_points = [f"../../{EVIL} = hostile:main"]
    return (Package("hostile", files=module, depends=["python"], noarch="python", entry_points=entry_points),)


def linked_out(outside: Path) -> tuple[Package, ...]:
    """It has a symlink that leads out of the prefix."""
    return (Package("hostile", files={"share/ok": b"ok"}, symlinks={"share/door": "/etc/passwd"}),)


def setuid(outside: Path) -> tuple[Package, ...]:
    """It has a program that runs as its owner."""
    return (Package("hostile", files={"bin/root": b"#!/bin/sh\nid\n"}, modes={"bin/root": 0o4755}),)


# The packages of which ``hostile`` tries something, made for a directory `outside` that nothing may be put into.
HOSTILE: tuple[Callable[[Path], tuple[Package, ...]], ...] = (
    listed_above,
    listed_absolute,
    packed_above,
    packed_absolute,
    packed_through_link,
    linked_through_link,
    entry_point_above,
    linked_out,
    setuid,
)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of pure Python.

    Args:
        modules: content by path, such as ``greet.py``.
        entry_points: ``name = module:function`` of the programs that it has.
        requires: requirements.
    """

    name: str
    version: str = "1.0"
    modules: Mapping[str, bytes] = field(default_factory=dict)
    entry_points: Sequence[str] = ()
    requires: Sequence[str] = ()

    @property
    def file_name(self) -> str:
        """Its archive's name."""
        return f"{_normal(self.name, '_')}-{self.version}-py3-none-any.whl"

    def write(self, index: Path) -> Path:
        """Write it into a simple index and onto the project's page there; its path."""
        path = index / _normal(self.name, "-") / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_zip(self._members(), zipfile.ZIP_DEFLATED))
        _write_page(path.parent)
        return path

    def _members(self) -> dict[str, bytes]:
        folder = f"{_normal(self.name, '_')}-{self.version}.dist-info"
        metadata = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        wheel = ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: true", "Tag: py3-none-any"]
        members = {**self.modules, f"{folder}/METADATA": _lines(metadata), f"{folder}/WHEEL": _lines(wheel)}
        if self.entry_points:
            members[f"{folder}/entry_points.txt"] = _lines(["[console_scripts]", *self.entry_points])
        record = [f"{name},sha256={_urlsafe(content)},{len(content)}" for name, content in members.items()]
        return members | {f"{folder}/RECORD": _lines([*record, f"{folder}/RECORD,,"])}


def _normal(name: str, dash: str) -> str:
    return re.sub(r"[-_.]+", dash, name).lower()


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _write_page(project: Path) -> None:
    """Let a project's page link its wheels with their checksums."""
    wheels = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(project.glob("*.whl"))}
    links = [f'<a href="{name}#sha256={sha256}">{name}</a><br>' for name, sha256 in wheels.items()]
    (project / "index.html").write_bytes(_lines(["<!DOCTYPE html>", "<html><body>", *links, "</body></html>"]))


def greetings(index: Path) -> Path:
    """Make the simple index that most tests use: ``greet`` 1.0 and 2.0, and ``shout``, which wants it; the folder."""
    for version in ("1.0", "2.0"):
        module = f"import sys\ndef main():\n    print('greet', '{version}', 'from', sys.prefix)\n"
        Wheel("greet", version, {"greet.py": module.encode()}, ["greet = greet:main"]).write(index)
    Wheel("shout", "1.0", {"shout.py": b"import greet\n"}, requires=["greet>=1.0"]).write(index)
    return index
