"""Where to load to, and how."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from dsload.loading.sharing import Shard
from dsload.target.volume import Ownership, split_mount_path
from dsload.transfer.client import Network


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

    @property
    def place(self) -> Path:
        """The target itself."""
        return self.root.joinpath(*split_mount_path(self.path))

    @property
    def owner(self) -> Ownership:
        """The ownership that was asked for, or the default."""
        return self.ownership or Ownership(os.geteuid(), os.getegid())


@dataclass(frozen=True, slots=True)
class Settings:
    """How to load.

    Args:
        network: connections, limits, certificates.
        verify: whether to hash what is loaded.
        dry_run: whether to stop after the plan.
        shard: which part of the load this process does; None for all of it.
    """

    network: Network = field(default_factory=Network)
    verify: bool = True
    dry_run: bool = False
    shard: Shard | None = None
