"""CONDA's row in the registry, and how its URI and options are read."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dsload.errors import UsageError
from dsload.fetchers.conda.environment import Environment, read_environment
from dsload.fetchers.reading import check_uri
from dsload.registry import Reading, Spec, query_options
from dsload.secrets import public_uri
from dsload.source import read_flag, split_patterns

FILES = "/run/dataset/conda"  # where the companion mounts environment.yaml and requirements.txt
PREFIX_DIR = "/opt/baize-runtime-env"
GPU_TYPES: Mapping[str, Mapping[str, str]] = {  # and what each asks of Kubernetes for the preload Job
    "nvidia-gpu": {"nvidia.com/gpu": "1"},
    "nvidia-vgpu": {"nvidia.com/vgpu": "1", "nvidia.com/gpumem": "500"},
    "metax-gpu": {"metax-tech.com/gpu": "1"},
}
_FORM = re.compile(r"conda://[A-Za-z0-9][A-Za-z0-9._-]*/?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHANNEL_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")


@dataclass(frozen=True, slots=True)
class CondaConfig:
    """An environment as URI and options ask for it.

    Args:
        name: of the environment.
        prefix_dir: consumers mount the volume at its name below this directory.
        python: its version, "" for any.
        environment: what the option environment.yaml says; None for environment_path, or the file that a Job mounts.
        environment_path: path of an environment.yaml, "" if not given.
        requirements: text of a requirements.txt, "" for requirements_path, or the file that a Job mounts.
        requirements_path: path of a requirements.txt, "" if not given.
        channels: names or URLs, before those of environment.yaml.
        endpoint: URL of a mirror that the names of channels lie below, "" if not given.
        lock: text or path of a lock file, "" to solve.
        index, extra_indexes, trusted_hosts: of pip.
        kernel: whether ipykernel is always installed.
        link_scripts: whether the post-link scripts of packages run.
        keep_packages: whether the packages stay on the volume.
    """

    name: str
    prefix_dir: str = PREFIX_DIR
    python: str = ""
    environment: Environment | None = None
    environment_path: str = ""
    requirements: str = ""
    requirements_path: str = ""
    channels: tuple[str, ...] = ()
    endpoint: str = field(default="", repr=False)
    lock: str = ""
    index: str = field(default="", repr=False)
    extra_indexes: tuple[str, ...] = field(default=(), repr=False)
    trusted_hosts: tuple[str, ...] = ()
    kernel: bool = True
    link_scripts: bool = False
    keep_packages: bool = False


def read(uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URI and options of an environment. Raises UsageError."""
    check_uri(uri, SPEC.type, SPEC.schemes, host="environment")
    if not _FORM.fullmatch(uri.partition("?")[0]):
        raise UsageError("reading", f"URI {public_uri(uri)!r}", "CONDA takes conda://NAME[?python=VERSION]")
    _check_gpu(options.get("gpuType", ""))
    text, endpoint = _first(options, "environment.yaml", "condaEnvironmentYml"), options.get("endpoint", "")
    config = CondaConfig(
        _name(uri, options),
        _prefix_dir(options),
        options.get("pythonVersion", "").strip(),
        read_environment(text) if text else None,
        options.get("condaEnvironmentYmlPath", ""),
        _first(options, "requirements.txt", "pipRequirementsTxt"),
        options.get("pipRequirementsTxtPath", ""),
        split_patterns(options.get("channels", "")),
        channel_url(endpoint, "option endpoint") if endpoint else "",
        options.get("lock", ""),
        options.get("pipIndexUrl", "").strip(),
        _words(options.get("pipExtraIndexUrl", "")),
        _words(options.get("pipTrustedHost", "")),
        _flag(options, "kernel", "true"),
        _flag(options, "linkScripts"),
        _flag(options, "keepPkgs"),
    )
    check_channels((*config.channels, *(config.environment.channels if config.environment else ())))
    return Reading(config)


def _name(uri: str, options: Mapping[str, str]) -> str:
    name = options.get("name") or urlsplit(uri).netloc
    if not _NAME.fullmatch(name):
        fix = "use letters, digits, '.', '_' and '-'"
        raise UsageError("reading", f"URI {public_uri(uri)!r}", f"{name!r} is not a name of an environment", fix)
    return name


def _prefix_dir(options: Mapping[str, str]) -> str:
    given = options.get("condaPrefixDir") or PREFIX_DIR
    if not given.startswith("/") or ".." in given.split("/") or re.search(r"\s", given):
        why = f"{given!r} is not an absolute path without white space"
        raise UsageError("reading", "option condaPrefixDir", why)
    return os.path.normpath(given)


def _check_gpu(given: str) -> None:
    if given and given not in GPU_TYPES:
        raise UsageError("reading", "option gpuType", f"{given!r} is not one of {', '.join(GPU_TYPES)}")


def _first(options: Mapping[str, str], *names: str) -> str:
    """The first option that holds a text."""
    return next((options[name] for name in names if options.get(name, "").strip()), "")


def _flag(options: Mapping[str, str], name: str, default: str = "") -> bool:
    return read_flag(name, options.get(name) or default)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\s,]+", text.strip())) if text.strip() else ()


def is_channel_name(name: str) -> bool:
    """Whether a channel is given by name rather than by URL."""
    return "://" not in name and _CHANNEL_NAME.fullmatch(name) is not None


def check_channels(names: tuple[str, ...]) -> None:
    """Raise UsageError if a channel is neither a name nor a URL."""
    for name in names:
        if not is_channel_name(name):
            channel_url(name, f"channel {public_uri(name)!r}")


def channel_url(text: str, where: str) -> str:
    """The URL of a channel, without `/` at its end. Raises UsageError."""
    url = text.rstrip("/")
    if "://" in url and "@" in url.partition("://")[2].partition("/")[2]:  # what follows may be part of a password
        fix = "write /, @ and : of a user name or password as %2F, %40 and %3A"
        raise UsageError("reading", where.partition(" '")[0], "it has an '@' after its host", fix)
    try:
        parts = urlsplit(url)
        good = parts.scheme == "file" or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or re.search(r"\s", url):
        fix = "give a name such as conda-forge, https://HOST/PATH or file:///PATH"
        raise UsageError("reading", where, "it is neither a name nor a URL of http, https or file", fix)
    return url


def _parameters(uri: str) -> dict[str, str]:
    """Those of the query, of which `python` is short for `pythonVersion`."""
    return {"pythonVersion" if name == "python" else name: value for name, value in query_options(uri).items()}


SPEC = Spec(
    "CONDA",
    ("conda",),
    "dsload.fetchers.conda.builder:Conda",
    {
        "name": "of the environment; the URI's if not given",
        "pythonVersion": "such as 3.11; also ?python=3.11",
        "environment.yaml": "its text; also condaEnvironmentYml",
        "condaEnvironmentYml": "likewise",
        "condaEnvironmentYmlPath": f"its path; {FILES}/environment.yaml if that exists",
        "requirements.txt": "its text; also pipRequirementsTxt",
        "pipRequirementsTxt": "likewise",
        "pipRequirementsTxtPath": f"its path; {FILES}/requirements.txt if that exists",
        "pipIndexUrl": "package index, instead of pip's own",
        "pipExtraIndexUrl": "more package indexes, separated by white space or commas",
        "pipTrustedHost": "hosts of indexes whose certificate pip is not to check",
        "channels": "names or URLs, before those of environment.yaml; conda-forge if none are given",
        "endpoint": "URL of a mirror that channel names such as conda-forge lie below",
        "condaPrefixDir": f"consumers mount the volume at NAME below it; {PREFIX_DIR} if not given",
        "lock": "a conda.lock, as text or path, to install without solving",
        "kernel": "false to leave ipykernel out",
        "linkScripts": "true to run the post-link scripts of packages",
        "keepPkgs": "true to keep the packages in conda/pkgs",
        "gpuType": "of the preload Job; without effect on the load",
    },
    read,
    _parameters,
    requires=("rattler",),
    extra="conda",
    builds=True,
)
