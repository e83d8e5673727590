"""What rattler itself needs for an environment, and nothing else: `rattler.py CHANNEL PREFIX SPEC...`

Its caches lie beside the prefix. (`python -P`, or this file is the module that it imports.)
"""

import asyncio
import sys
from pathlib import Path

from rattler import Channel, Gateway, MatchSpec, Subdir, VirtualPackage, install, solve


async def main(channel: str, prefix: str, *given: str) -> None:
    caches, specs = Path(prefix).parent, [MatchSpec(spec) for spec in given]
    records = await solve(
        [Channel(channel)],
        specs,
        gateway=Gateway(caches / "repodata"),
        platforms=[Subdir.current(), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(),
    )
    requested = [spec._match_spec for spec in specs]
    await install(records, prefix, cache_dir=caches / "pkgs", requested_specs=requested, show_progress=False)


asyncio.run(main(*sys.argv[1:]))
