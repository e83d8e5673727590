"""CONDA: lists the packages of an environment, and builds the environment from them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from rattler import Client, MatchSpec, RepoDataRecord, install
from rattler.exceptions import InstallerError, LinkError, TransactionError

from dsload.errors import DsloadError, IntegrityError, NoSpaceError, NotFoundError, UsageError
from dsload.fetchers.base import Context, Site
from dsload.fetchers.conda import pip
from dsload.fetchers.conda.channels import (
    Channel,
    owner_of_secrets,
    public_channel_urls,
    public_place,
    rattler_client,
    read_channels,
    request,
)
from dsload.fetchers.conda.failures import of_volume, said
from dsload.fetchers.conda.freezing import freeze
from dsload.fetchers.conda.matching import located, read_wish
from dsload.fetchers.conda.prefix import prefix_at
from dsload.fetchers.conda.recipe import Recipe, read_recipe
from dsload.fetchers.conda.solving import Solution, locked, solved, stem
from dsload.fetchers.conda.spec import CondaConfig
from dsload.fetchers.conda.unpacking import Unpacker
from dsload.fetchers.conda.waiting import finish
from dsload.fetchers.file.fetcher import unreadable
from dsload.listing import BytesReader, Checksum, Entry, HttpReader, Listing, Request, Response
from dsload.names import on_disk
from dsload.secrets import origin
from dsload.source import Source
from dsload.target.volume import Volume

LOCK, FREEZE = "conda.lock", "pip-freeze.txt"
_PACKAGES, _PIP_CACHE = "pkgs", "pkgs/pip-cache"


class Conda:
    """An environment of conda packages, and of what pip adds to it. A Builder."""

    home = "conda"
    tells = (LOCK, FREEZE)

    def __init__(self, source: Source, context: Context) -> None:
        self._source, self._context = str(source), context
        config = cast(CondaConfig, source.config)
        self._recipe, endpoint = read_recipe(config), config.endpoint
        self._wishes = [read_wish(spec) for spec in self._recipe.specs]
        named = [*self._recipe.channels, *(wish.channel for wish in self._wishes if wish.channel)]
        self._channels = read_channels(named, endpoint, context.secrets)
        self._owner = owner_of_secrets(named, endpoint)
        self._place, self._endpoint = public_place(endpoint), endpoint
        self._solution: Solution | None = None
        self.place, self.prefix = f"envs/{self._recipe.name}", self._recipe.prefix
        self.keeps_parts, self.identity = self._recipe.keep_packages, self._recipe.digest()

    def list(self) -> Listing:
        """The packages, as they are solved or locked."""
        solution = self._solved()
        remote, local = RemotePackages(self._channels, self._source), LocalPackages(self._source)
        return Listing([_entry(record, remote, local) for record in solution.records], solution.revision)

    def _solved(self) -> Solution:
        if self._solution is None:
            if self._recipe.lock:
                self._solution = locked(self._recipe, self._channels, self._place, self._source)
            else:
                network = self._context.client.network
                client = rattler_client(self._channels, network)
                specs = [located(wish, self._urls) for wish in self._wishes]
                self._solution = solved(specs, self._channels, client, self._context.client, self._source)
        return self._solution

    def _urls(self, channel: str) -> tuple[str, ...]:
        return public_channel_urls(channel, self._endpoint)

    def build(self, site: Site, folder: Path, check: Callable[[Mapping[str, str]], None]) -> Mapping[str, str]:
        """Load and unpack the packages, link them into the prefix, and have pip add the rest."""
        solution, recipe = self._solved(), self._recipe
        cache = site.volume.trees.make_folder(_PACKAGES)
        with prefix_at(recipe.prefix, folder, folder.parent), Unpacker(cache, self._source) as unpacker:
            self._unpack(solution.records, site, cache, unpacker)
            site.progress.enter(f"linking {len(solution.records):,} packages into {recipe.prefix}")
            client = rattler_client(self._channels, site.network)
            specs = [] if recipe.lock else [located(wish, self._urls)[0] for wish in self._wishes]
            finish(_install(recipe, specs, solution.records, cache, client, self._source, site.volume), site.watch)
            for record in () if recipe.keep_packages else solution.records:
                unpacker.remove(stem(record))  # while the other processor checks what was built
            stated = {} if recipe.link_scripts else dict(_stated(folder))  # which may change any file
            before = {path: _look(folder, path) for path in stated} if recipe.pip else {}
            self._add(site)
            changed = {path for path, look in before.items() if _look(folder, path) != look}
            check({path: digest for path, digest in stated.items() if path not in changed})
            unpacker.finish(site.watch)
        site.volume.trees.remove(_PIP_CACHE)
        return {LOCK: solution.lock, FREEZE: freeze(folder)}

    def _unpack(self, records: Sequence[RepoDataRecord], site: Site, cache: Path, unpacker: Unpacker) -> None:
        waiting = {cache / record.file_name: record for record in records}
        old = {archive: _inode(archive) for archive in waiting}  # which may differ from those listed now
        for record in records:
            site.volume.trees.remove(f"{_PACKAGES}/{stem(record)}")

        def put(archives: list[Path]) -> None:
            for archive in archives:
                record = waiting.pop(archive)
                unpacker.put(archive, stem(record), record.sha256 or b"")
            unpacker.look()

        site.bring(lambda: put([archive for archive in waiting if _inode(archive) not in (0, old[archive])]))
        put(list(waiting))
        site.progress.enter("unpacking")
        unpacker.finish(site.watch)

    def _add(self, site: Site) -> None:
        """What comes after the packages: variables, and pip's part."""
        recipe = self._recipe
        Path(recipe.prefix, "CACHEDIR.TAG").unlink(missing_ok=True)  # for which backups would leave it out
        if recipe.variables:
            state = Path(recipe.prefix, "conda-meta", "state")
            state.write_text(json.dumps({"env_vars": recipe.variables}, indent=1), encoding="utf-8")
        if recipe.pip:
            site.progress.enter("installing the requirements by pip")
            cache = site.volume.trees.make_folder(_PIP_CACHE)
            secrets, bundle = self._context.secrets, site.network.ca_bundle
            pip.install(recipe, cache, secrets, self._theirs, bundle, site.watch, self._source)

    def _theirs(self, url: str) -> bool:
        """Whether the secrets are for a URL."""
        return urlsplit(url).scheme in ("http", "https") and origin(url) == self._owner


def _entry(record: RepoDataRecord, remote: "RemotePackages", local: "LocalPackages") -> Entry:
    checksum = Checksum("sha256", record.sha256.hex()) if record.sha256 else None
    if checksum is None and record.md5:
        checksum = Checksum("md5", record.md5.hex())
    reader = local if record.url.startswith("file:") else remote
    size = -1 if record.size is None else record.size
    return Entry(f"{_PACKAGES}/{record.file_name}", size, checksum.value if checksum else record.url, reader,
                 key=record.url, checksum=checksum)  # fmt: skip


class RemotePackages(HttpReader):
    """Packages on web servers."""

    def __init__(self, channels: Sequence[Channel], source: str) -> None:
        self._channels, self._source = channels, source

    def request(self, entry: Entry) -> Request:
        """The GET for a package, with what belongs to its channel."""
        return request(entry.key, self._channels)

    def explain(self, entry: Entry, response: Response) -> DsloadError | None:
        """The error for a listed package that its channel does not have."""
        if response.status not in (404, 410):
            return None
        why = "its channel lists it but does not have it"
        return NotFoundError("downloading", f"{entry.key} for {self._source}", why, "have the channel re-indexed")


class LocalPackages(BytesReader):
    """Packages in folders on this machine."""

    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes start to end of a package."""
        path = unquote(urlsplit(entry.key).path)
        try:
            with open(path, "rb") as file:
                return os.pread(file.fileno(), end - start, start)
        except FileNotFoundError as error:
            why = "its channel lists it but does not have it"
            raise NotFoundError("reading", f"{path} for {self._source}", why, "have the channel re-indexed") from error
        except OSError as error:
            raise unreadable(error, "reading", f"{path} for {self._source}") from error


# Linking


async def _install(
    recipe: Recipe,
    specs: Sequence[str],
    records: Sequence[RepoDataRecord],
    cache: Path,
    client: Client,
    where: str,
    volume: Volume,
) -> None:
    try:
        await install(
            list(records),
            recipe.prefix,
            cache_dir=cache,
            client=client,
            execute_link_scripts=recipe.link_scripts,
            requested_specs=[MatchSpec(spec)._match_spec for spec in specs],
            show_progress=False,
        )
    except (InstallerError, LinkError, TransactionError) as error:
        raise _unlinked(said(str(error)), where, volume) from error


def _unlinked(text: str, where: str, volume: Volume) -> DsloadError:
    doing = "linking the packages of"
    if found := of_volume(text, doing, where):
        return found
    if volume.space.full():  # which rattler does not always report
        return NoSpaceError(doing, where, text, "make room and run the same command again")
    if "longer than" in text:
        return UsageError(doing, where, text, "give a shorter -o condaPrefixDir, or a shorter name")
    return IntegrityError(doing, where, text, "leave out the package, or choose another version of it")


def _stated(folder: Path) -> Iterator[tuple[str, str]]:
    """The checksums of an environment's files as its packages state them (conda-meta/*.json, paths_data)."""
    seen: dict[str, str] = {}
    for path in sorted((folder / "conda-meta").glob("*.json")):
        for item in json.loads(path.read_bytes()).get("paths_data", {}).get("paths", []):
            digest = item.get("sha256_in_prefix") or item.get("sha256")
            if item.get("path_type") == "hardlink" and digest:
                seen[item["_path"]] = digest if seen.get(item["_path"], digest) == digest else ""
    return ((path, f"sha256:{digest}") for path, digest in seen.items() if digest)


def _inode(path: Path) -> int:
    return path.lstat().st_ino if path.exists() else 0


def _look(folder: Path, path: str) -> tuple[int, int, int]:
    try:
        found = os.lstat(os.path.join(os.fsencode(folder), on_disk(path)))
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
