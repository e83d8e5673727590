"""Where to load to, and how."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dsload.errors import UsageError
from dsload.source import MOST_SHARDS
from dsload.target.ownership import Ownership
from dsload.target.volume import split_mount_path
from dsload.transfer.network import Network

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to load to.

    Args:
        root: the mount root; must exist.
        path: below the root; "/" is the root itself.
        ownership: of what the load creates; None for the running user with mode 0755.

    Raises:
        UsageError: path leads out of the root.
    """

    root: Path
    path: str = "/"
    ownership: Ownership | None = None

    def __post_init__(self) -> None:
        split_mount_path(self.path)

    @classmethod
    def at(cls, place: str | Path) -> Self:
        """The directory of this path; what is missing of it is made by the load."""
        path = Path(os.path.abspath(place))
        root = next(folder for folder in (path, *path.parents) if folder.is_dir())
        return cls(root, str(path.relative_to(root)))

    @property
    def place(self) -> Path:
        """The target itself."""
        return self.root.joinpath(*split_mount_path(self.path))

    @property
    def owner(self) -> Ownership:
        """The ownership that was asked for, or the default."""
        return self.ownership or Ownership(os.geteuid(), os.getegid())


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a load that one of several processes does.

    Args:
        index: from 0.
        count: of all parts.
        round: distinguishes loads of the same source, such as the name of a Job; "" if nothing does.
    """

    index: int
    count: int
    round: str = ""

    @property
    def lease(self) -> str:
        """The name of its own lease."""
        return f"lease-{self.index}.json"

    @property
    def done(self) -> str:
        """The name of the file that says that it has ended."""
        return f"shard-{self.index}.json"


def parse_shard(text: str, round: str = "") -> Shard:
    """Read `I/N`, with I from 0.

    Raises:
        UsageError: it has another form, or more than MOST_SHARDS parts.
    """
    match = _SHARD.fullmatch(text)
    if not match or not int(match[1]) < int(match[2]) <= MOST_SHARDS:
        fix = f"the first of four is 0/4, and {MOST_SHARDS:,} is the most"
        raise UsageError("reading", f"--shard {text!r}", "it is not of the form I/N with I below N", fix)
    return Shard(int(match[1]), int(match[2]), round)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to load.

    Args:
        network: connections, limits, certificates.
        verify: whether to hash what is loaded.
        dry_run: whether to stop after the plan.
        shard: the part of the load that this process does; None for all of it.
    """

    network: Network = field(default_factory=Network)
    verify: bool = True
    dry_run: bool = False
    shard: Shard | None = None
