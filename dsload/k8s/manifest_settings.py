"""What the user who makes manifests decides, rather than the Dataset, with the defaults.

The command line takes its choices and help from here, so this module imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_IMAGE = "ghcr.io/dsload/dsload:latest"
NFS_VERSIONS, DEFAULT_NFS_VERSION = ("3", "4.0", "4.1", "4.2"), "4.1"
SHARDS_ANNOTATION = "dsload.io/shards"


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """How manifests are made.

    Args:
        image: of the preload container; None for the image in job_spec, or else DEFAULT_IMAGE.
        job_spec: a partial JobSpec for every Job, as in the original controller's configuration; see `merged`.
        round: replaces the Dataset's round; None to keep that.
        nfs_version: one of NFS_VERSIONS.
        shards: pods that share a load; None for the number in the Dataset's annotation SHARDS_ANNOTATION, or else 1.
    """

    image: str | None = None
    job_spec: Mapping[str, Any] = field(default_factory=dict)
    round: int | None = None
    nfs_version: str = DEFAULT_NFS_VERSION
    shards: int | None = None
