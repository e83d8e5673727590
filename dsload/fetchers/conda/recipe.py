"""What an environment is asked to be: environment.yaml, requirements.txt and options, read into one Recipe.

The form of environment.yaml is conda's (docs.conda.io, "Creating an environment file manually"); its name and prefix
are replaced. That of requirements.txt is pip's ("Requirements File Format").
"""

import json
import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import yaml
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from dsload.errors import UsageError
from dsload.registry import CONDA_FILES, CONDA_PREFIX_DIR
from dsload.secrets import public_uri
from dsload.source import Source, read_flag, split_patterns

log = logging.getLogger(__name__)

ENVIRONMENT, REQUIREMENTS = "environment.yaml", "requirements.txt"
_KNOWN = frozenset({"name", "prefix", "channels", "dependencies", "variables"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NESTED = re.compile(r"(?P<flag>-[rcf]|--(?:requirement|constraint|find-links)(?=[\s=]))[\s=]*(?P<path>.+)")
_DEEPEST = 16  # requirements files that name each other


@dataclass(frozen=True, slots=True)
class Requirements:
    """What pip is asked for.

    Args:
        lines: of requirements files, those that they name included.
        constraints: likewise, of constraints files.
        folder: where their relative paths begin.
    """

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    folder: str = ""

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
        variables: of the environment, set where it is activated.
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
        """Of all that decides what is in it, beside what the channels hold."""
        indexes = [public_uri(url) for url in (self.index, *self.extra_indexes)]
        decides = asdict(self) | {"keep_packages": None, "index": None, "extra_indexes": indexes}
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def read_recipe(source: Source) -> Recipe:
    """Read what a source and its files say.

    Raises:
        UsageError: an option, file or spec that cannot be read.
    """
    options = source.options
    name = options.get("name") or urlsplit(source.uri).netloc
    if not _NAME.fullmatch(name):
        fix = "use letters, digits, '.', '_' and '-'"
        raise UsageError("reading", f"URI {str(source)!r}", f"{name!r} is no name of an environment", fix)
    environment = _environment(options)
    conda, pip = _dependencies(environment)
    named = [*split_patterns(options.get("channels", "")), *_strings(environment, "channels")]
    channels = [channel for channel in dict.fromkeys(named) if channel != "nodefaults"]
    listed = Requirements(tuple(pip), folder=_folder(options, "condaEnvironmentYmlPath"))
    asked = _text(options, (REQUIREMENTS, "pipRequirementsTxt"), "pipRequirementsTxtPath", REQUIREMENTS) or ""
    given = Requirements(tuple(asked.splitlines()), folder=_folder(options, "pipRequirementsTxtPath"))
    return Recipe(
        name,
        _prefix_dir(options),
        tuple(channels) or ("conda-forge",),
        _specs(conda, options),
        tuple(_whole(part) for part in (listed, given) if part),
        _variables(environment),
        _lock(options.get("lock", "")),
        options.get("pipIndexUrl", "").strip(),
        _words(options.get("pipExtraIndexUrl", "")),
        _words(options.get("pipTrustedHost", "")),
        _flag(options, "linkScripts"),
        _flag(options, "keepPkgs"),
    )


def _flag(options: Mapping[str, str], name: str, default: str = "") -> bool:
    return read_flag(name, options.get(name) or default)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\s,]+", text.strip())) if text.strip() else ()


def _prefix_dir(options: Mapping[str, str]) -> str:
    given = options.get("condaPrefixDir") or CONDA_PREFIX_DIR
    if not given.startswith("/") or ".." in given.split("/") or re.search(r"\s", given):
        raise UsageError("reading", "option condaPrefixDir", f"{given!r} is no absolute path without white space")
    return os.path.normpath(given)


def _lock(given: str) -> str:
    return _read(given, "option lock") if given and "\n" not in given.strip() else given


# Files


def _text(options: Mapping[str, str], texts: tuple[str, ...], path: str, mounted: str) -> str | None:
    """What an option holds as text, else the file that it names, else the one that a Job mounts; None without any."""
    for name in texts:
        if options.get(name, "").strip():
            return options[name]
    if given := options.get(path):
        return _read(given, f"option {path}")
    usual = os.path.join(CONDA_FILES, mounted)
    return _read(usual, usual) if os.path.isfile(usual) else None


def _folder(options: Mapping[str, str], path: str) -> str:
    return os.path.dirname(os.path.abspath(options[path])) if options.get(path) else CONDA_FILES


def _read(path: str, where: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not text"
        raise UsageError("reading", where if path in where else f"{where} {path}", why) from error


def _environment(options: Mapping[str, str]) -> Mapping[str, Any]:
    text = _text(options, (ENVIRONMENT, "condaEnvironmentYml"), "condaEnvironmentYmlPath", ENVIRONMENT)
    try:
        found = yaml.safe_load(text or "")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        why = f"{line}{getattr(error, 'problem', None) or 'it is no YAML'}"
        raise UsageError("reading", ENVIRONMENT, why, "mend it") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError("reading", ENVIRONMENT, "it is no map of channels and dependencies")
    if unknown := ", ".join(sorted(str(key) for key in found if key not in _KNOWN)):
        log.warning("%s: %s is passed over", ENVIRONMENT, unknown)
    return found


def _strings(environment: Mapping[str, Any], key: str) -> list[str]:
    found = environment.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise UsageError("reading", ENVIRONMENT, f"{key} is no list of texts")
    return found


def _dependencies(environment: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The specs of conda packages, and the lines for pip."""
    conda: list[str] = []
    pip: list[str] = []
    found = environment.get("dependencies") or []
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, str):
            conda.append(item)
        elif isinstance(item, dict) and list(item) == ["pip"]:
            pip += _strings(item, "pip")
        else:
            why = f"dependencies has {json.dumps(item, default=str)[:80]}, which is neither a spec nor pip: [...]"
            raise UsageError("reading", ENVIRONMENT, why)
    return conda, pip


def _variables(environment: Mapping[str, Any]) -> Mapping[str, str] | None:
    found = environment.get("variables")
    if found is None:
        return None
    if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
        raise UsageError("reading", ENVIRONMENT, "variables is no map of names to texts")
    return {str(key): "" if value is None else str(value) for key, value in found.items()}


# Specs


def _specs(given: list[str], options: Mapping[str, str]) -> tuple[str, ...]:
    """The specs of environment.yaml, with python as the option pins it, and what is always there."""
    named = {spec_name(spec): spec for spec in given}
    specs = list(dict.fromkeys(given))
    if version := options.get("pythonVersion", "").strip():
        if "python" in named:
            log.info("python %s, as the options say, instead of %r", version, named["python"])
        specs = [spec for spec in specs if spec_name(spec) != "python"]
        specs.insert(0, f"python={version}" if re.fullmatch(r"[\d.]+", version) else f"python {version}")
    always = ["python", "pip", *(["ipykernel"] if _flag(options, "kernel", "true") else [])]
    specs += [name for name in always if name not in {spec_name(spec) for spec in specs}]
    return tuple(specs)


def spec_name(spec: str) -> str:
    """The package that a spec names. Raises UsageError where it is no spec."""
    try:
        name = MatchSpec(spec).name
    except InvalidMatchSpecError as error:
        why = f"{spec!r} is no spec of a package ({str(error).splitlines()[0]})"
        raise UsageError("reading", ENVIRONMENT, why, "write NAME=VERSION or NAME >=VERSION") from error
    return str(getattr(name, "normalized", name))


# Requirements


def _whole(given: Requirements) -> Requirements:
    """With the lines of the files that it names, so that a change of theirs is one of the recipe."""
    lines: list[str] = []
    constraints: list[str] = []
    for kind, line in _lines(given.lines, given.folder, 0):
        (constraints if kind == "constraint" else lines).append(line)
    return Requirements(tuple(lines), tuple(constraints), given.folder)


def _unquoted(text: str) -> str:
    """The one word of a text, "" where it is not one."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return ""
    return words[0] if len(words) == 1 else ""


def _lines(lines: tuple[str, ...], folder: str, depth: int, kind: str = "requirement") -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        raise UsageError("reading", REQUIREMENTS, "its files name each other in a circle")
    for line in lines:
        match = _NESTED.fullmatch(line.strip())
        named = _unquoted(match["path"]) if match else ""
        if match is None or not named or "://" in named:
            yield kind, line
            continue
        path = os.path.join(folder, named)
        if match["flag"] in ("-f", "--find-links"):
            yield kind, f"--find-links {shlex.quote(path)}"
            continue
        text = _read(path, f"{REQUIREMENTS}, {path}")
        below = kind if match["flag"] in ("-r", "--requirement") else "constraint"
        yield from _lines(tuple(text.splitlines()), os.path.dirname(path), depth + 1, below)
