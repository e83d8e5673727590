"""Conda channels like real ones: libraries, packages of Python, and the records of many others that nobody asks for."""

import hashlib
import io
import json
import os
import random
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import zstandard
from rattler import Subdir

from tests.servers.channel import PLACEHOLDER, PYTHON, WHEN, ZIP_DATE, Package, index, pip_package, python_package

SPECS = ("top", "python", "pip", "ipykernel")
CHANNELS = {"env": (40, 80), "env-small": (12, 24)}  # libraries, packages of Python
OTHERS = 20_000  # records of packages that are not there
_LIBRARIES, _HEADERS, _MODULES = 4, 20, 480  # files of a package
_LIBRARY = 11_000_000  # bytes
_LEVEL = 3
_VALUES = bytes(value % 23 * 11 for value in range(256))  # few enough that half the size is left
_Job = tuple[Path, int, bool, Sequence[str]]


def make(channel: Path) -> set[str]:
    """Make the channel that its folder's name says; the names of the packages in an environment of SPECS."""
    libraries, modules = CHANNELS[channel.name]
    names = [f"lib{n:03}" for n in range(libraries)] + [f"mod{n:03}" for n in range(modules)]
    jobs: list[_Job] = [
        (channel, n, n < libraries, names[max(0, n - 3) : n] + ["python"] * (n >= libraries)) for n in range(len(names))
    ]
    (channel / "noarch").mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        list(pool.map(_make, jobs))
    kernel = {"site-packages/ipykernel/__init__.py": b"__version__ = '6.29.5'\n"}
    others = (
        python_package(),
        pip_package(),
        Package("ipykernel", "6.29.5", files=kernel, depends=["python"], noarch="python"),
        Package("top", files={"share/top": b""}, depends=names),
    )
    for package in others:
        package.write(channel)
    index(channel)
    _extend(channel / str(Subdir.current()))
    return {*names, *(package.name for package in others)}


def _make(job: _Job) -> None:
    channel, number, library, depends = job
    chosen = random.Random(number)
    if library:
        _pack(channel, f"lib{number:03}", dict(_library(number, chosen)), depends)
    else:
        name = f"mod{number - CHANNELS[channel.name][0]:03}"
        noarch = number % 4 > 0  # as most that are of Python alone
        folder = "site-packages" if noarch else f"lib/{PYTHON}/site-packages"
        _pack(channel, name, dict(_modules(f"{folder}/{name}", chosen)), depends, noarch)


def _library(number: int, chosen: random.Random) -> Iterator[tuple[str, bytes]]:
    """Binaries that half their size is left of; the first has the prefix in it."""
    for n in range(_LIBRARIES):
        size = chosen.randint(_LIBRARY // 2, _LIBRARY * 3 // 2)
        code = chosen.randbytes(size // 8 * 7).translate(_VALUES) + bytes(size // 8)
        yield f"lib/lib{number:03}_{n}.so", code + (b"" if n else PLACEHOLDER.encode() + b"/share\0")
    for n in range(_HEADERS):
        yield f"include/lib{number:03}/h{n:02}.h", _text(chosen, 6_000)


def _modules(folder: str, chosen: random.Random) -> Iterator[tuple[str, bytes]]:
    for n in range(_MODULES):
        text = _text(chosen, chosen.randint(1_000, 23_000))
        yield f"{folder}/d{n // 40:02}/m{n:03}.py", (f"# {PLACEHOLDER}\n".encode() if n < 5 else b"") + text


def _text(chosen: random.Random, size: int) -> bytes:
    """Text that compresses as source code does: pieces of lines that were there before, between others."""
    words = chosen.randbytes(size // 3).hex()
    lines = [f"    return self.value_{words[n : n + 16]}(name, default=None)" for n in range(0, size // 3, 16)]
    return "\n".join(lines).encode()[:size]


def _pack(channel: Path, name: str, files: Mapping[str, bytes], depends: Sequence[str], noarch: bool = False) -> None:
    subdir, stem = "noarch" if noarch else str(Subdir.current()), f"{name}-1.0-h0"
    about = {"name": name, "version": "1.0", "build": "h0", "build_number": 0, "subdir": subdir}
    about |= {"depends": [*depends], "timestamp": WHEN * 1000} | ({"noarch": "python"} if noarch else {})
    info = {
        "info/index.json": about,
        "info/paths.json": {"paths": [_path(*item) for item in files.items()], "paths_version": 1},
        "info/link.json": {"noarch": {"type": "python"}, "package_metadata_version": 1},
    }
    if not noarch:
        del info["info/link.json"]
    path = channel / subdir / f"{stem}.conda"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        told = {path: json.dumps(content).encode() for path, content in info.items()}
        for member, content in (
            ("metadata.json", b'{"conda_pkg_format_version": 2}'),
            (f"pkg-{stem}.tar.zst", _tar(files)),
            (f"info-{stem}.tar.zst", _tar(told)),
        ):
            archive.writestr(zipfile.ZipInfo(member, ZIP_DATE), content)


def _path(path: str, content: bytes) -> dict[str, Any]:
    entry = {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest()}
    if PLACEHOLDER.encode() in content:
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if path.endswith(".so") else "text"}
    return {**entry, "size_in_bytes": len(content)}


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(content), WHEN
            tar.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=_LEVEL).compress(out.getbuffer())


def _extend(folder: Path) -> None:
    """Add the records of the others to the repodata, which is then what there is: no shards."""
    whole = json.loads((folder / "repodata.json").read_bytes())
    whole["packages.conda"] |= dict(_others(folder.name))
    text = json.dumps(whole).encode()
    for path in folder.glob("repodata*"):
        path.unlink()
    (folder / "repodata.json").write_bytes(text)
    (folder / "repodata.json.zst").write_bytes(zstandard.ZstdCompressor(level=_LEVEL).compress(text))
    (folder.parent / "noarch" / "repodata_shards.msgpack.zst").unlink(missing_ok=True)


def _others(subdir: str) -> Iterator[tuple[str, dict[str, Any]]]:
    chosen = random.Random(OTHERS)
    for n in range(OTHERS):
        name, version = f"other{n // 8:05}", f"1.{n % 8}.0"
        depends = [f"other{chosen.randrange(OTHERS // 8):05} >=1.{chosen.randrange(8)},<2.0a0" for _ in range(6)]
        yield f"{name}-{version}-h{n:07}_0.conda", {
            "build": f"h{n:07}_0", "build_number": 0, "depends": depends, "license": "MIT", "name": name,
            "md5": chosen.randbytes(16).hex(), "sha256": chosen.randbytes(32).hex(), "size": chosen.randrange(1 << 24),
            "subdir": subdir, "timestamp": (WHEN + n) * 1000, "version": version,
        }  # fmt: skip
