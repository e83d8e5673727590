"""What an environment should contain: environment.yaml, requirements.txt and options, read into one Recipe.

Name and prefix of environment.yaml are replaced. The form of requirements.txt is pip's ("Requirements File Format").
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from urllib.parse import unquote

from dsload.errors import UsageError
from dsload.fetchers.conda.environment import ENVIRONMENT, read_environment
from dsload.fetchers.conda.matching import read_wish
from dsload.fetchers.conda.spec import FILES, CondaConfig
from dsload.formats.text import decoded
from dsload.secrets import logger, public_uri

log = logger(__name__)

REQUIREMENTS = "requirements.txt"
_EDITABLE = re.compile(r"(-e|--editable(?=[\s=]))[\s=]*(?P<what>.+)")
_REMOTE = re.compile(r"(git|hg|svn|bzr)\+(?!file:)")  # pip clones these into the environment itself
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_LOCAL = re.compile(
    r"(?P<path>\.{1,2}(/[^\s\[]*)?|[^\s:@=<>~!;\[]+\.(whl|zip|tgz|tar\.(gz|bz2|xz)))(?P<rest>((\[|\s).*)?)"
)
_HERE = re.compile(r"([\w.,\[\]-]+\s*@\s*)?(?P<url>file://(localhost)?)?(?P<path>/[^\s\[;#]+).*")
_MADE = re.compile(r"(^|/)(build|dist|\.git|__pycache__|[^/]+\.egg-info)/")  # by a build, in its own folder
_NESTED = re.compile(r"(?P<flag>-[rcf]|--(?:requirement|constraint|find-links)(?=[\s=]))[\s=]*(?P<path>.+)")
_CODING = re.compile(rb"#.*coding[:=]\s*([-\w.]+)")
_DEEPEST = 16  # requirements files that name each other


@dataclass(frozen=True, slots=True)
class Requirements:
    """What pip is asked for.

    Args:
        lines: of requirements files, those that they name included.
        constraints: likewise, of constraints files.
        folder: where their relative paths begin.
        contents: a digest of the files and folders on this machine that the lines name, "" without any.
    """

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    folder: str = ""
    contents: str = ""

    def __bool__(self) -> bool:
        return any(line.strip() and not line.lstrip().startswith("#") for line in self.lines)


@dataclass(frozen=True, slots=True)
class Recipe:
    """An environment as it is asked for.

    Args:
        name: the last part of its prefix.
        prefix_dir: consumers mount the volume at `<prefix_dir>/<name>`.
        channels: names or URLs, the first before the others.
        specs: of conda packages, as MatchSpec reads them.
        pip: for each file, in the order that they are asked for.
        variables: of the environment, set when it is activated.
        lock: text of a lock file to install from, "" to solve.
        index, extra_indexes, trusted_hosts: of pip.
        link_scripts, keep_packages: as the options say.
    """

    name: str
    prefix_dir: str
    channels: tuple[str, ...]
    specs: tuple[str, ...]
    pip: tuple[Requirements, ...] = ()
    variables: Mapping[str, str] | None = None
    lock: str = ""
    index: str = ""
    extra_indexes: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    link_scripts: bool = False
    keep_packages: bool = False

    @property
    def prefix(self) -> str:
        """Where its consumers find it."""
        return f"{self.prefix_dir}/{self.name}/conda/envs/{self.name}"

    def digest(self) -> str:
        """Of all that decides what is in it, apart from what the channels hold."""
        indexes = [public_uri(url) for url in (self.index, *self.extra_indexes)]
        decides = asdict(self) | {"keep_packages": None, "index": None, "extra_indexes": indexes}
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def read_recipe(config: CondaConfig) -> Recipe:
    """Read the files that a source names or a Job mounts, and add them to what the source says.

    Raises:
        UsageError: a file or spec cannot be read.
    """
    environment = config.environment or read_environment(_file(config.environment_path, ENVIRONMENT))
    named = [*config.channels, *environment.channels]
    channels = [channel for channel in dict.fromkeys(named) if channel != "nodefaults"]
    listed = Requirements(environment.pip, folder=_folder(config.environment_path))
    asked = config.requirements.removeprefix("\ufeff") or _file(config.requirements_path, REQUIREMENTS)
    given = Requirements(tuple(asked.splitlines()), folder=_folder(config.requirements_path))
    return Recipe(
        config.name,
        config.prefix_dir,
        tuple(channels) or ("conda-forge",),
        _specs(list(environment.conda), config),
        tuple(_whole(part) for part in (listed, given) if part),
        environment.variables,
        _lock(config.lock),
        config.index,
        config.extra_indexes,
        config.trusted_hosts,
        config.link_scripts,
        config.keep_packages,
    )


def _lock(given: str) -> str:
    return _read(given, "option lock") if given and "\n" not in given.strip() else given


# Files

_PATH_OPTIONS = {ENVIRONMENT: "condaEnvironmentYmlPath", REQUIREMENTS: "pipRequirementsTxtPath"}


def _file(path: str, name: str) -> str:
    """The text of the file that an option names, else of the one that a Job mounts; "" without either."""
    decode = _as_pip_reads if name == REQUIREMENTS else decoded
    if path:
        return _read(path, f"option {_PATH_OPTIONS[name]}", decode)
    usual = os.path.join(FILES, name)
    return _read(usual, usual, decode) if os.path.isfile(usual) else ""


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path)) if path else FILES


def _read(path: str, where: str, decode: Callable[[bytes], str] = decoded) -> str:
    try:
        return decode(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
        raise UsageError("reading", where if path in where else f"{where} {path}", why) from error


# Specs


def _specs(given: list[str], config: CondaConfig) -> tuple[str, ...]:
    """The specs of environment.yaml, with python as the option pins it, and what is always installed."""
    named = {read_wish(spec).name: spec for spec in given}
    specs = list(dict.fromkeys(given))
    if version := config.python:
        if "python" in named:
            log.info("python %s, as the options say, instead of %r", version, named["python"])
        specs = [spec for spec in specs if read_wish(spec).name != "python"]
        specs.insert(0, f"python={version}" if re.fullmatch(r"[\d.]+", version) else f"python {version}")
    always = ["python", "pip", *(["ipykernel"] if config.kernel else [])]
    specs += [name for name in always if name not in {read_wish(spec).name for spec in specs}]
    return tuple(specs)


# Requirements


def _as_pip_reads(data: bytes) -> str:
    """A requirements file, whose first two lines may state its encoding. Raises ValueError."""
    for line in data.splitlines()[:2]:
        if match := _CODING.match(line):
            try:
                return data.decode(match[1].decode())
            except LookupError:
                raise ValueError(f"it says that it is {match[1].decode()}, which is not an encoding") from None
    return decoded(data)


def _whole(given: Requirements) -> Requirements:
    """With the lines of the files that it names, so that a change to them changes the recipe."""
    lines: list[str] = []
    constraints: list[str] = []
    for kind, line in _lines(given.lines, given.folder, 0):
        (constraints if kind == "constraint" else lines).append(_placed(line, given.folder))
    local = sorted({path for path in map(_path_in, lines) if os.path.exists(path)})
    contents = sha256("\n".join(map(_look, local)).encode("utf-8", "surrogateescape")).hexdigest() if local else ""
    return Requirements(tuple(lines), tuple(constraints), given.folder, contents)


def _path_in(line: str) -> str:
    """The absolute path of the file or folder that a line has pip install, "" if it names none."""
    match = _HERE.fullmatch(line.strip())
    return unquote(match["path"]) if match and match["url"] else match["path"] if match else ""


def _look(path: str) -> str:
    """What changes when a file or folder does."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return f"{path} {file_digest(file, 'sha256').hexdigest()}"
    below = (file for file in Path(path).rglob("*") if not _MADE.search(f"{file.relative_to(path)}/"))
    found = sorted(file for file in below if file.is_symlink() or not file.is_dir())
    return "\n".join(f"{file} {(status := file.lstat()).st_size} {status.st_mtime_ns}" for file in found)


def _placed(line: str, folder: str) -> str:
    """A line that names a package by a relative path, with the whole path: pip runs in one folder for all."""
    match = _LOCAL.fullmatch(line.strip())
    if match is None:
        return line
    path = os.path.join(folder, match["path"])
    if not os.path.exists(path):
        fix = "paths begin at the folder of the list, and the loader has to have the file"
        raise UsageError("reading", REQUIREMENTS, f"{match['path']!r} is not in {folder}", fix)
    return f"{path}{match['rest']}"


def _unquoted(text: str) -> str:
    """The one word of a text, "" if it is not a single word."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return ""
    return words[0] if len(words) == 1 else ""


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines with those that a `\\` at the end continues, as pip joins them."""
    parts: list[str] = []
    for line in lines:
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts.append(line.rstrip("\\"))
            continue
        yield "".join((*parts, f" {line}" if parts and line.lstrip().startswith("#") else line))
        parts.clear()
    if parts:
        yield "".join(parts)


def _of_environment(match: re.Match[str]) -> str:
    return os.environ.get(match[1], match[0])


def _refuse_editable(line: str) -> None:
    """Raise UsageError for what pip would not put into the environment, but have it look for in a folder here."""
    match = _EDITABLE.fullmatch(_VARIABLE.sub(_of_environment, line.strip()))
    if match and not _REMOTE.match(match["what"].strip("'\"")):
        why = (
            f"{line.strip()!r} leaves the package where it is, and a user of the environment does not have that folder"
        )
        raise UsageError("reading", REQUIREMENTS, why, "leave out -e, so that it is installed")


def _lines(lines: tuple[str, ...], folder: str, depth: int, kind: str = "requirement") -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        raise UsageError("reading", REQUIREMENTS, "its files name each other in a circle")
    for line in _joined(lines):
        _refuse_editable(line)
        match = _NESTED.fullmatch(_VARIABLE.sub(_of_environment, line.strip()))
        named = _unquoted(match["path"]) if match else ""
        if match is None or not named or "://" in named:
            yield kind, line
            continue
        path = os.path.join(folder, named)
        if match["flag"] in ("-f", "--find-links"):
            yield kind, f"--find-links {shlex.quote(path)}"
            continue
        text = _read(path, f"{REQUIREMENTS}, {path}", _as_pip_reads)
        below = kind if match["flag"] in ("-r", "--requirement") else "constraint"
        yield from _lines(tuple(text.splitlines()), os.path.dirname(path), depth + 1, below)
