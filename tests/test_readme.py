"""The commands and the Python of the README are ones that dsload takes."""

import re
import shlex
from pathlib import Path

import click
import pytest

from dsload.cli.main import cli, load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    shown = re.findall(r"^\$ (.*)$", "\n".join(blocks("console")), re.MULTILINE)
    lines = (line.split(" | ")[0] for line in [*text.splitlines(), *shown])
    return [line for line in lines if line.startswith(("dsload", "data-loader", "make"))]


def test_the_readme_opens_with_what_it_is_then_two_commands_then_a_session():
    first, second, third, *_ = re.findall(r"^# dsload|```sh|```console", README, re.MULTILINE)
    assert (first, second, third) == ("# dsload", "```sh", "```console")


@pytest.mark.parametrize("line", [line for line in commands() if not line.startswith("make")])
def test_command_line_is_taken(line):
    name, *words = shlex.split(line, comments=True)
    if name == "data-loader":
        load.make_context(name, words)
        return
    command = cli.commands[words[0]]
    command.make_context(words[0], words[1:], parent=click.Context(cli))


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make")])
def test_make_target_is_there(line):
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_names_the_public_api(code):
    import dsload

    compile(code, "README.md", "exec")
    imported = re.search(r"from dsload import (.*)", code)
    assert imported
    for name in imported[1].split(", "):
        assert getattr(dsload, name)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "datasets").glob("*.yaml")), ids=lambda path: path.name)
def test_example_dataset_is_read(path):
    from dsload import Source
    from dsload.k8s.parsing import parse_dataset

    dataset = parse_dataset(path.read_text(), str(path))
    assert Source.parse(dataset.uri, dataset.type, dataset.options)
