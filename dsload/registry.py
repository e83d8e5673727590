"""The sources that dsload knows, as data. A fetcher is imported when a load needs it, not before.

A third party adds one by an entry point of the group `dsload.fetchers` that names a Spec.
"""

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dsload.errors import UsageError
from dsload.secrets import public_uri

if TYPE_CHECKING:
    from dsload.fetchers.base import FetcherClass

ENTRY_POINTS = "dsload.fetchers"
SFTP = "sftp"
CONDA_FILES = "/run/dataset/conda"  # where the companion mounts environment.yaml and requirements.txt
CONDA_PREFIX_DIR = "/opt/baize-runtime-env"
_SCP = re.compile(r"[\w.-]+@[\w.-]+:[^\s].*")
_EXTRAS = {"sftp": "sftp", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}


@dataclass(frozen=True, slots=True)
class Spec:
    """One source type.

    Args:
        type: its name on the command line and in a Dataset.
        schemes: of its URIs, lower case; empty where any will do.
        fetcher: "module:Class"; empty for a type that is mounted as it is.
        options: name to description.
        host: what the URI's authority names, where it must name something.
        requires: modules that must be importable.
        extra: the extra of dsload that installs them.
        query_is_uri: whether the query belongs to the URI rather than holding options.
        any_option: whether options have names that dsload cannot know.
        typed_schemes: more schemes that it takes where its type is given.
        scp: whether `user@host:path` is one of its forms.
        forms: of its URIs beside the schemes, for people to read.
        revision_option: the option that pins a revision, "" where there are none.
        undivided: the option that makes a load one for a single process, not for shards.
        builds: whether its fetcher is a Builder: what it lists is what a tree is made from.
        scheme_requires: the module that a scheme needs beyond the others; `extra` installs it.
        revision_in_name: whether an `@` in the URI is followed by a revision, and not preceded by a user.
        aliases: query parameters that are options under another name.
        form: of a URI, where the scheme leaves no choice: a pattern for what comes before the query, and how to say it.
    """

    type: str
    schemes: tuple[str, ...]
    fetcher: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    requires: tuple[str, ...] = ()
    extra: str = ""
    query_is_uri: bool = False
    any_option: bool = False
    typed_schemes: tuple[str, ...] = ()
    scp: bool = False
    forms: tuple[str, ...] = ()
    scheme_requires: Mapping[str, str] = field(default_factory=dict)
    revision_option: str = ""
    undivided: str = ""
    builds: bool = False
    revision_in_name: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    form: tuple[str, str] = ("", "")

    @property
    def preloads(self) -> bool:
        """Whether dsload loads it, rather than a volume mounting it."""
        return bool(self.fetcher)

    @property
    def installed(self) -> bool:
        """Whether the modules that it needs are there."""
        return all(map(_is_there, self.requires))

    def load(self) -> "FetcherClass":
        """Import the fetcher. Raises UsageError where the type is only mounted, or its library is missing."""
        if not self.preloads:
            fix = "`dsload manifest` makes the volume and claim for it"
            raise UsageError("loading", self.type, "this type is mounted as it is, there is nothing to load", fix)
        if not self.installed:
            raise UsageError("loading", self.type, f"its library is missing ({', '.join(self.requires)})", self.hint)
        module, _, name = self.fetcher.partition(":")
        fetcher: FetcherClass = getattr(importlib.import_module(module), name)
        return fetcher

    @property
    def missing(self) -> dict[str, str]:
        """The schemes whose module is not there, and how to install it."""
        return {scheme: self.hint for scheme, module in self.scheme_requires.items() if not _is_there(module)}

    @property
    def hint(self) -> str:
        """How to install what is missing."""
        return f"pip install 'dsload[{self.extra}]'" if self.extra else f"pip install {' '.join(self.requires)}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not
        return False


_HUB_OPTIONS = {
    "repo": "owner/name, instead of the URI's",
    "repoType": "MODEL, DATASET or SPACE; MODEL where not given",
    "revision": "branch, tag or commit",
    "endpoint": "URL of a mirror",
    "weights": "safetensors, bin, pt, h5, msgpack, onnx or gguf: leave out the same weights in other formats",
    "fallback": "URI at another hub, or another endpoint, for when the first cannot be reached",
}

_BUILT_IN = (
    Spec(
        "S3",
        ("s3",),
        "dsload.fetchers.s3:S3",
        {
            "region": "of the bucket; found out where not given",
            "endpoint": "URL of an S3-compatible store",
            "provider": "AWS, MINIO, …: kept for the original data-loader; the endpoint decides",
            "addressingStyle": "path or virtual; by default path with an endpoint, virtual on AWS",
            "anonymous": "true to send no credentials",
        },
        host="bucket",
    ),
    Spec(
        "HTTP",
        ("http", "https"),
        "dsload.fetchers.http.fetcher:Http",
        host="host",
        query_is_uri=True,
        any_option=True,
    ),
    Spec(
        "HUGGING_FACE",
        ("huggingface", "hf"),
        "dsload.fetchers.hubs.huggingface:HuggingFace",
        _HUB_OPTIONS,
        revision_in_name=True,
        revision_option="revision",
    ),
    Spec(
        "MODEL_SCOPE",
        ("modelscope", "ms"),
        "dsload.fetchers.hubs.modelscope:ModelScope",
        _HUB_OPTIONS,
        revision_in_name=True,
        revision_option="revision",
    ),
    Spec(
        "GIT",
        ("git", "git+https", "git+http", "git+ssh", "git+file", "ssh"),
        "dsload.fetchers.git.fetcher:Git",
        {
            "branch": "branch or tag",
            "commit": "its id, in full or abbreviated; or a tag",
            "depth": "commits of history that keepGit keeps; 1 where not given, 0 for all",
            "submodules": "true or recursive",
            "lfs": "false to keep the pointers of Git LFS",
            "keepGit": "true to load .git too",
            "repoType": "kept for Datasets that were written for a hub; without effect",
        },
        typed_schemes=("https", "http", "file"),
        scp=True,
        forms=("http[s]://….git", "user@host:path"),
        scheme_requires={"ssh": "paramiko", "git+ssh": "paramiko"},
        extra="ssh",
        revision_option="commit",
        undivided="keepGit",
    ),
    Spec(
        "CONDA",
        ("conda",),
        "dsload.fetchers.conda.builder:Conda",
        {
            "name": "of the environment; the URI's where not given",
            "pythonVersion": "such as 3.11; also ?python=3.11",
            "environment.yaml": "its text; also condaEnvironmentYml",
            "condaEnvironmentYml": "likewise",
            "condaEnvironmentYmlPath": f"its path; {CONDA_FILES}/environment.yaml where that is there",
            "requirements.txt": "its text; also pipRequirementsTxt",
            "pipRequirementsTxt": "likewise",
            "pipRequirementsTxtPath": f"its path; {CONDA_FILES}/requirements.txt where that is there",
            "pipIndexUrl": "package index, instead of pip's own",
            "pipExtraIndexUrl": "more package indexes, separated by white space or commas",
            "pipTrustedHost": "hosts of indexes whose certificate pip is not to check",
            "channels": "names or URLs, before those of environment.yaml; conda-forge where none are given",
            "endpoint": "URL of a mirror that channel names such as conda-forge lie below",
            "condaPrefixDir": f"consumers mount the volume at NAME below it; {CONDA_PREFIX_DIR} where not given",
            "lock": "a conda.lock, as text or path, to install without solving",
            "kernel": "false to leave ipykernel out",
            "linkScripts": "true to run the post-link scripts of packages",
            "keepPkgs": "true to keep the packages in conda/pkgs",
            "gpuType": "of the preload Job; without effect on the load",
        },
        host="environment",
        requires=("rattler",),
        extra="conda",
        builds=True,
        aliases={"python": "pythonVersion"},
        form=(r"conda://[A-Za-z0-9][A-Za-z0-9._-]*/?", "conda://NAME[?python=VERSION]"),
    ),
    Spec("FILE", ("file",), "dsload.fetchers.file:File"),
    Spec("PVC", ("pvc",)),
    Spec("NFS", ("nfs",)),
    Spec("REFERENCE", ("dataset",)),
)
FSSPEC = Spec("FSSPEC", (), "dsload.fetchers.fsspec.fetcher:Filesystem", any_option=True)


@cache
def specs() -> Mapping[str, Spec]:
    """Every source by type. Raises UsageError where two claim the same type or scheme."""
    table: dict[str, Spec] = {}
    schemes: dict[str, str] = {}
    for spec in (*_BUILT_IN, FSSPEC, *_third_party()):
        if spec.type in table:
            why = f"{table[spec.type].fetcher or 'dsload itself'} and {spec.fetcher} both claim this type"
            raise UsageError("reading the registry", spec.type, why, "uninstall one")
        for scheme in spec.schemes:
            if (other := schemes.setdefault(scheme, spec.type)) != spec.type:
                why = f"{other} and {spec.type} both claim this scheme"
                raise UsageError("reading the registry", f"{scheme}://", why, "uninstall one")
        table[spec.type] = spec
    return table


def find(type: str | None, uri: str) -> Spec:
    """The source that a type names, else the URI's scheme. Raises UsageError where there is none."""
    if type is not None:
        if spec := specs().get(type.upper()):
            return spec
        raise UsageError("reading", f"type {type!r}", "there is no such source type", f"known: {', '.join(specs())}")
    scheme = urlsplit(uri).scheme.lower()
    web = scheme in ("http", "https") and urlsplit(uri).path.rstrip("/").endswith(".git")
    if web or _SCP.fullmatch(uri):
        return find("GIT", uri)
    for spec in specs().values():
        if scheme in spec.schemes:
            return spec
    if scheme in filesystem_protocols():
        return FSSPEC
    known = ", ".join(f"{s}://" for spec in specs().values() for s in spec.schemes)
    why = f"nothing here loads {scheme}://" if scheme else "it has no scheme"
    raise UsageError("reading", f"URI {public_uri(uri)!r}", why, f"known: {known} and the protocols of fsspec")


@cache
def filesystem_protocols() -> frozenset[str]:
    """The protocols that fsspec knows, installed or not."""
    from fsspec import available_protocols

    return frozenset(available_protocols())


def missing_filesystem(protocol: str) -> str:
    """How to install what a protocol of fsspec needs; "" where it is there."""
    from fsspec import get_filesystem_class

    try:
        if protocol == SFTP:
            importlib.import_module("dsload.fetchers.fsspec.sftp")
        else:
            get_filesystem_class(protocol)
    except ImportError as error:
        return install_hint(protocol, error)
    return ""


def install_hint(protocol: str, error: ImportError) -> str:
    """How to install what the import of a protocol's filesystem missed."""
    extra = _EXTRAS.get(protocol)
    return f"pip install 'dsload[{extra}]'" if extra else str(error)


def _third_party() -> Iterator[Spec]:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        where = f"{point.value} of {point.dist.name if point.dist else 'a package'}"
        try:
            spec = point.load()
        except Exception as error:
            why = f"it cannot be imported ({type(error).__name__}: {error})"
            raise UsageError("reading the registry", where, why, "mend or uninstall it") from error
        if not isinstance(spec, Spec) or spec.type != spec.type.upper():
            why = "it is no dsload.registry.Spec with a type in upper case"
            raise UsageError("reading the registry", where, why, "mend or uninstall it")
        yield spec
