"""CONDA: the contract of what is built, from a channel on disk."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.builders import BuilderContract
from tests.servers.channel import PLACEHOLDER, Package, make_channel, spoil


class Environment:
    """An environment of three packages, that nothing runs in."""

    uri = "conda://env"
    place = "conda/envs/env"

    def __init__(self, folder: Path) -> None:
        self._channel = folder / "channel"
        self._version = 1
        python = Package("python", "3.11.4", files={"bin/python": b"#!/bin/sh\n"}, modes={"bin/python": 0o755})
        make_channel(self._channel, python, Package("pip", files={"share/pip": b"pip"}), self._tool())
        self.options: Mapping[str, str] = {
            "channels": self._channel.as_uri(),
            "condaPrefixDir": str(folder / "prefixes"),
            "environment.yaml": "dependencies: [tool]",
            "kernel": "false",
        }

    @property
    def parts(self) -> set[str]:
        return {"pkgs/python-3.11.4-0.conda", "pkgs/pip-1.0-0.conda", f"pkgs/{self._tool().file_name}"}

    def _tool(self) -> Package:
        text = f"{self._version} in {PLACEHOLDER}\n".encode()
        return Package(
            "tool",
            str(self._version),
            files={"bin/tool": b"#!" + text, "share/a/b/text": text, "share/data": b"data" * 1000},
            modes={"bin/tool": 0o755},
            symlinks={"share/link": "a/b/text"},
        )

    def change(self) -> None:
        self._version += 1
        make_channel(self._channel, self._tool())

    def spoil(self) -> None:
        self.change()
        spoil(self._channel, "tool")


class TestConda(BuilderContract):
    type = "CONDA"

    @pytest.fixture
    def site(self, tmp_path: Path) -> Environment:
        return Environment(tmp_path)
