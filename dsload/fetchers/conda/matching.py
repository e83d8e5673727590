"""Specs that name their channel, in every form that conda takes: `conda-forge::numpy`, `numpy[channel=…]`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rattler import Channel, Gateway, MatchSpec, RepoDataRecord, Subdir
from rattler.exceptions import InvalidMatchSpecError

from dsload.errors import UsageError
from dsload.fetchers.conda.channels import PUBLIC
from dsload.fetchers.conda.environment import ENVIRONMENT

_BEFORE_NAME = re.compile(r"^[^\[ ]*:")
_KEYS = re.compile(r'(channel|subdir)="[^"]*"(, )?')
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Wish:
    """A package that is asked for.

    Args:
        name: of the package.
        channel: name or URL that it is to come from, "" for any. A URL may hold credentials.
        subdir: such as linux-64, "" for any.
        rest: of the spec: name, version, build, and conditions in brackets.
    """

    name: str
    channel: str
    subdir: str
    rest: str

    def at(self, url: str) -> str:
        """The spec, of a channel at this URL."""
        return f"{url}/{self.subdir}::{self.rest}" if self.subdir else f"{url}::{self.rest}"


def read_wish(spec: str) -> Wish:
    """Read a spec of a conda package (conda's MatchSpec). Raises UsageError."""
    try:
        found = MatchSpec(spec)
    except InvalidMatchSpecError as error:
        why = f"{spec!r} is not the spec of a package ({str(error).splitlines()[0]})"
        raise UsageError("reading", ENVIRONMENT, why, "write NAME=VERSION or NAME >=VERSION") from error
    name = str(getattr(found.name, "normalized", found.name))
    if found.channel is None or found.channel.name == _ANY:
        return Wish(name, "", found.subdir or "", spec.removeprefix(f"{_ANY}::"))
    url = found.channel.base_url.rstrip("/")
    by_name = url.startswith(f"{PUBLIC}/") and PUBLIC.partition("://")[2] not in spec
    rest = _KEYS.sub("", _BEFORE_NAME.sub("", str(found), count=1)).replace(", ]", "]").removesuffix("[]")
    return Wish(name, found.channel.name or "" if by_name else url, found.subdir or "", rest)


def located(wish: Wish, urls: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """A wish as specs of which the first that some package matches counts.

    Args:
        wish: what is asked for.
        urls: those of a channel by its name or URL; `defaults` has several.
    """
    return tuple(wish.at(url) for url in urls(wish.channel)) if wish.channel else (wish.rest,)


def check_platforms(wishes: Sequence[Wish], records: Sequence[RepoDataRecord]) -> None:
    """Raise UsageError if a package is for another platform than was asked for, which rattler does not look at."""
    found = {record.name.normalized: record for record in records}
    for wish in wishes:
        record = found.get(wish.name)
        if record is not None and wish.subdir not in ("", record.subdir):
            why = f"{wish.rest!r} was asked for {wish.subdir}, and {record.file_name} of {record.subdir} fits the rest"
            raise UsageError("solving", ENVIRONMENT, why, "give the version and build that are meant")


async def first_there(specs: Sequence[str], gateway: Gateway) -> str:
    """The first of some specs, each of a channel, that a package matches; the first one if none does."""
    for spec in specs[1:] and specs:
        match = MatchSpec(spec)
        assert match.channel is not None
        channel, platforms = Channel(match.channel.base_url), [Subdir.current(), Subdir("noarch")]
        found = await gateway.query([channel], platforms, [match], recursive=False)
        if any(match.matches(record) for records in found for record in records):
            return spec
    return specs[0]
