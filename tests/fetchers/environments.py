"""Loads of CONDA sources by the command line, and the environments that they leave on the volume."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import command
from tests.command import Result


@dataclass(frozen=True, slots=True)
class Site:
    """Where environments are built, and where they are used.

    Args:
        root: the mount root.
        prefixes: option condaPrefixDir.
        channel: option channels, "" to give none.
    """

    root: Path
    prefixes: Path
    channel: str

    def load(
        self, name: str, *arguments: object, needs: str = "", env: Mapping[str, str] | None = None, **options: object
    ) -> Result:
        """Run `dsload load conda://NAME`; needs are the dependencies in environment.yaml, such as "tool, hello"."""
        return command.run(*self.arguments(name, *arguments, needs=needs, **options), env=env)

    def arguments(self, name: str, *arguments: object, needs: str = "", **options: object) -> list[str]:
        """The arguments of that command."""
        given = {"condaPrefixDir": self.prefixes, "channels": self.channel, "kernel": "false"}
        if needs:
            given["environment.yaml"] = f"{{dependencies: [{needs}]}}"
        pairs = {key: value for key, value in {**given, **options}.items() if value != ""}
        flags = [flag for key, value in pairs.items() for flag in ("-o", f"{key}={value}")]
        return ["load", f"conda://{name}", "--mount-root", str(self.root), "--mount-path", "/", *flags,
                *map(str, arguments)]  # fmt: skip

    def folder(self, name: str) -> Path:
        """An environment on the volume."""
        return self.root / "conda" / "envs" / name

    def prefix(self, name: str) -> Path:
        """The path at which its consumers find it."""
        return self.prefixes / name / "conda" / "envs" / name

    def run(self, name: str, program: str, *arguments: str) -> str:
        """What a program of an environment prints, started as a consumer does who mounts the volume."""
        mount = self.prefixes / name
        self.prefixes.mkdir(exist_ok=True)
        os.symlink(self.root, mount)
        try:
            argv = [str(self.prefix(name) / "bin" / program), *arguments]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()
        finally:
            mount.unlink()
