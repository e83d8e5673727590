"""Which packages an environment is made of: solved by rattler from the channels' repodata, or read from a lock."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rattler import (
    Channel as RattlerChannel,
)
from rattler import (
    Client,
    Gateway,
    LockChannel,
    LockFile,
    LockPlatform,
    MatchSpec,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    solve,
)
from rattler.exceptions import (
    DetectVirtualPackageError,
    GatewayError,
    ParseCondaLockError,
    SolverError,
    VirtualPackageOverrideError,
)

from dsload.errors import (
    BadAnswerError,
    DsloadError,
    IntegrityError,
    NotFoundError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from dsload.fetchers.conda.channels import PUBLIC, Channel, request
from dsload.fetchers.conda.failures import said
from dsload.fetchers.conda.matching import check_platforms, first_there, read_wish
from dsload.fetchers.conda.recipe import Recipe
from dsload.fetchers.conda.waiting import finish
from dsload.secrets import logger
from dsload.transfer.client import Client as HttpClient
from dsload.transfer.retry import refusal, to_error

log = logger(__name__)

_ENVIRONMENT = "default"  # as pixi names the one that a lock file is of
_READING = "reading the repodata of"
_URL = re.compile(r"for url \((\S+?)\)")
_NOTHING = re.compile(r"No candidates were found for (?P<spec>.+?)\.?\s*")
_TREE = re.compile(r"^[\s│├└─]*")
_OVERRIDE = "CONDA_OVERRIDE_"
_VIRTUAL = re.compile(r"(__(?:cuda|glibc|archspec|linux))\b[^,\n]*, for which no candidates")
_LONGEST = 600  # characters of an explanation
_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]*")
_FORMS = (".conda", ".tar.bz2")


@dataclass(frozen=True, slots=True)
class Solution:
    """The packages of an environment.

    Args:
        records: rattler's, sorted by file name.
        lock: the text of a lock file (rattler lock, version 7).
    """

    records: Sequence[RepoDataRecord]
    lock: str

    @property
    def revision(self) -> str:
        """A digest of the packages: where they come from and what they hold."""
        lines = [f"{record.url} {(record.sha256 or record.md5 or b'').hex()}" for record in self.records]
        return sha256("\n".join(lines).encode()).hexdigest()


def solved(
    specs: Sequence[tuple[str, ...]], channels: Sequence[Channel], client: Client, http: HttpClient, where: str
) -> Solution:
    """Solve specs.

    Args:
        specs: for each package, those of which the first that a package matches counts.
        channels: first to last, of strict priority.
        client: that reads their repodata.
        http: tries again what could not be reached, and hears what a server says.
        where: the source's name, for messages.

    Raises:
        NotFoundError: a channel, package or version that does not exist, or specs that exclude each other.
        RefusedError, UnreachableError, BadAnswerError: of a channel.
    """
    shown = ", ".join(" or ".join(these) for these in specs)
    log.info("solving %s from %s", shown, ", ".join(channel.url for channel in channels))
    records = http.insist(lambda: _solve(specs, channels, client, http, where))
    check_platforms([read_wish(these[0]) for these in specs], records)
    return _solution(records, channels, where)


def _solve(
    specs: Sequence[tuple[str, ...]], channels: Sequence[Channel], client: Client, http: HttpClient, where: str
) -> list[RepoDataRecord]:
    with tempfile.TemporaryDirectory(prefix="dsload-conda-") as cache:
        try:
            return finish(_solution_of(specs, channels, Gateway(Path(cache), client=client)))
        except GatewayError as error:
            raise _unread(str(error), where, channels, http) from error
        except SolverError as error:
            raise _unsolved(str(error), channels, where) from error


async def _solution_of(
    specs: Sequence[tuple[str, ...]], channels: Sequence[Channel], gateway: Gateway
) -> list[RepoDataRecord]:
    chosen = [await first_there(these, gateway) for these in specs]
    return await solve(
        [RattlerChannel(channel.url) for channel in channels],
        [MatchSpec(spec) for spec in _with_names(chosen)],
        gateway=gateway,
        platforms=[Subdir.current(), Subdir("noarch")],
        channel_relations="disabled",  # the channels that were asked for, and no others
        virtual_packages=_virtual_packages(),
    )


def _virtual_packages() -> list[VirtualPackage]:
    """What this machine has that packages ask for, such as __glibc, or what variables say that it has."""
    try:
        return VirtualPackage.detect(VirtualPackageOverrides.from_env())
    except (DetectVirtualPackageError, VirtualPackageOverrideError) as error:
        names = ", ".join(name for name in os.environ if name.startswith(_OVERRIDE))
        raise UsageError("reading the variables", names, said(str(error)), "give a version, such as 12.4") from error


def _with_names(specs: Sequence[str]) -> list[str]:
    """Specs with the bare names of those that name no channel.

    rattler looks only at what a spec matches, and a version that the first channel lacks would come from the second,
    despite strict priority.
    """
    bare = (wish.name for wish in map(read_wish, specs) if not wish.channel)
    return list(dict.fromkeys((*specs, *bare)))


def locked(recipe: Recipe, channels: Sequence[Channel], place: str, where: str) -> Solution:
    """Read the packages of a recipe's lock file for this platform.

    Args:
        recipe: whose lock.
        channels: for what the lock does not state itself.
        place: URL that stands in for the public place of channels, or is that.
        where: the source's name, for messages.

    Raises:
        UsageError: it is not a lock file that rattler can read, or not one for this platform.
    """
    with tempfile.TemporaryDirectory(prefix="dsload-conda-") as folder:
        path = Path(folder, "conda.lock")
        path.write_text(recipe.lock, encoding="utf-8")
        try:
            records = _locked_records(LockFile.from_path(path), recipe.name)
        except ParseCondaLockError as error:
            why = f"it is not a lock file that rattler can read ({_shortened(str(error))})"
            raise UsageError("reading", "option lock", why, "give a conda.lock of dsload, or a pixi.lock") from error
    for record in records:
        if record.url.startswith(f"{PUBLIC}/"):
            record.url = place + record.url[len(PUBLIC) :]
    return _solution(records, channels, where)


def _locked_records(file: LockFile, name: str) -> list[RepoDataRecord]:
    environment = file.environment(_ENVIRONMENT) or file.environment(name)
    if environment is None:
        names = ", ".join(name for name, _ in file.environments())
        raise UsageError("reading", "option lock", f"it has neither an environment default nor {name}: {names}")
    here = Subdir.current()
    platform = next((found for found in environment.platforms() if found.name == str(here)), None)
    records = environment.conda_repodata_records_for_platform(platform) if platform else None
    if platform is None or not records:
        raise UsageError("reading", "option lock", f"it has no packages for {here}", "lock it for this platform")
    if others := environment.pypi_packages_for_platform(platform):
        why = f"it locks packages of PyPI too ({', '.join(package.name for package in others)})"
        raise UsageError("reading", "option lock", why, "name them in requirements.txt, and lock conda packages alone")
    return records


def _solution(records: list[RepoDataRecord], channels: Sequence[Channel], where: str) -> Solution:
    for record in records:
        name = record.file_name
        good = name.endswith(_FORMS) and record.url.endswith(f"/{name}") and _STEM.fullmatch(name)
        if not good or not _STEM.fullmatch(stem(record)):
            why = f"its channel gives a package the name {stem(record)!r} and the file name {name!r}"
            raise UnsafePathError("listing", where, why, "report it to whoever maintains the channel")
    ordered = sorted(records, key=lambda record: record.file_name)
    return Solution(ordered, _lock_text(ordered, channels))


def stem(record: RepoDataRecord) -> str:
    """The name of a package in rattler's cache."""
    return f"{record.name.normalized}-{record.version}-{record.build}"


def _lock_text(records: Sequence[RepoDataRecord], channels: Sequence[Channel]) -> str:
    platform = LockPlatform(str(Subdir.current()))
    file = LockFile([platform])
    file.set_channels(_ENVIRONMENT, [LockChannel(channel.url) for channel in channels])
    for record in records:
        file.add_conda_package(_ENVIRONMENT, platform, record)
    with tempfile.TemporaryDirectory(prefix="dsload-conda-") as folder:
        path = Path(folder, "conda.lock")
        file.to_path(path)
        return path.read_text(encoding="utf-8")


# rattler's errors, which are texts


def _unread(text: str, where: str, channels: Sequence[Channel], http: HttpClient) -> DsloadError:
    why = said(text)
    if "failed to parse" in text:
        why = f"{why} (of one of {', '.join(channel.url for channel in channels)})"
        kind = IntegrityError if all(channel.local for channel in channels) else BadAnswerError
        return kind(_READING, where, why, "check the channel's URL, or have it re-indexed")
    if "could not find subdir" in text:
        return NotFoundError(_READING, where, text.splitlines()[0], "check the channel's name or URL")
    if url := _URL.search(text):
        return _refused(url[1], why, where, channels, http)
    return UnreachableError(_READING, where, why, "check the channel's URL, the proxy and the network")


def _refused(url: str, why: str, where: str, channels: Sequence[Channel], http: HttpClient) -> DsloadError:
    """The error for a URL that rattler could not read, which is asked once more: rattler drops what the server says.

    Raises:
        DsloadError: no answer comes to dsload either.
    """
    answer = http.fetch(request(url, channels), _READING, f"{url} for {where}", lambda answer: answer.status >= 300)
    if answer.status < 300:
        return BadAnswerError(_READING, where, why, "run the same command again")
    error = to_error(refusal(answer), _READING, f"{url} for {where}")
    if answer.status in (401, 403):
        error.fix = (
            "check the credentials in the secrets directory: they are for the host of the first channel given by URL"
        )
    return error


def _unsolved(text: str, channels: Sequence[Channel], where: str) -> DsloadError:
    log.debug("%s", text)
    reason = text.removeprefix("Cannot solve the request because of: ").strip()
    if match := _NOTHING.fullmatch(reason):
        tried = ", ".join(channel.url for channel in channels)
        why = f"no package matches {match['spec'].removesuffix(' *')!r} in {tried}"
        return NotFoundError("solving", where, why, "check its name and version, and the channels")
    fix = "loosen a version, or add a channel; -v shows all of it"
    if missing := _VIRTUAL.search(reason):
        fix = _as_if(missing[1])
    return NotFoundError("solving", where, _shortened(reason), fix)


def _as_if(name: str) -> str:
    """What to do about a virtual package that this machine lacks, or has in another version."""
    here = (each.into_generic() for each in _virtual_packages())
    has = [
        f"{name} {each.version} {each.build_string}".removesuffix(" 0") for each in here if each.name.normalized == name
    ]
    fix = f"this machine has {has[0] if has else f'no {name}'}; "
    fix += f"say what the machines have that will use the environment by the variable {_OVERRIDE}{name[2:].upper()}"
    return f"{fix}, or have the Job ask for a GPU by option gpuType" if name == "__cuda" else fix


def _shortened(text: str) -> str:
    lines = [_TREE.sub("", line).rstrip(".,") for line in text.splitlines()]
    joined = re.sub(r"(:|would require);", r"\1", "; ".join(filter(None, lines)))
    return joined if len(joined) <= _LONGEST else f"{joined[:_LONGEST].rpartition(';')[0]}; …"
