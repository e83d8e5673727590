"""README and docs: their commands, URIs, options, Python, manifests and links are ones that exist."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pytest
import yaml

from benchmarks.chart import svg
from dsload import Source, Spec
from dsload.cli.flags import SourceFlags
from dsload.cli.main import cli, load
from dsload.errors import exit_table
from dsload.k8s.documents import read_documents
from dsload.k8s.parsing import parse_all, parse_dataset
from dsload.registry import ANY_NAME, specs
from dsload.source import SELECTION
from tests.shell import commands

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
TESTED = [README, *sorted(DOCS.rglob("*.md"))]
LINKING = [
    *TESTED,
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")),
]
OF_THE_READER = frozenset({"-", "dataset.yaml"})  # files that a command of the docs may name though they do not exist
_OTHER_SCHEMES = frozenset({"abfss", "manual", "socks5"})  # of adlfs if it is installed, of a Dataset, of proxies
_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; line is that of its first line in the file."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.file)}:{self.line}"


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    return [block for file in TESTED for block in blocks_of(file) if block.language in languages]


def blocks_of(file: Path) -> Iterator[Block]:
    text = file.read_text(encoding="utf-8")
    for match in _FENCED.finditer(text):
        yield Block(file, text.count("\n", 0, match.start(2)) + 1, match[1], match[2])


def prose(file: Path) -> str:
    return _FENCED.sub("", file.read_text(encoding="utf-8"))


# Commands


def shell_text(block: Block) -> str:
    """What is typed: of a session, the lines with a prompt."""
    text = block.text.replace("\\\n", " ")
    return text if block.language == "sh" else "\n".join(re.findall(r"^\$ (.*)$", text, re.MULTILINE))


def typed(*programs: str) -> list[object]:
    return [
        pytest.param(words, id=f"{block} {' '.join(words)}")
        for block in blocks("sh", "console")
        for words in commands(shell_text(block))
        if program_of(words) in programs
    ]


def program_of(words: list[str]) -> str:
    return "dsload" if words[1:3] == ["-m", "dsload"] else Path(words[0]).name


@pytest.mark.parametrize("words", typed("dsload", "data-loader"))
def test_a_command_is_taken(words: list[str]) -> None:
    arguments = words[3:] if words[1:3] == ["-m", "dsload"] else words[1:]
    if program_of(words) == "data-loader":
        take(load, arguments)
    elif arguments[0].startswith("-"):
        assert arguments in (["--help"], ["--version"])
    else:
        take(cli.commands[arguments[0]], arguments[1:])


def take(command: click.Command, arguments: list[str]) -> None:
    """Read a command line as click does, and a source as the command does."""
    if "--help" in arguments:
        return
    given = command.make_context(command.name, arguments, parent=click.Context(cli)).params
    datasets = [file for file in (given.get("file"), *given.get("files", ())) if file and command.name != "convert"]
    for file in datasets:
        assert file in OF_THE_READER or (ROOT / file).exists(), f"{file} does not exist"
    if command is load:
        assert datasets or given["mount_path"], "--mount-path is missing"
    if "source" in given:
        flags = SourceFlags(**{each.name: given[each.name] for each in fields(SourceFlags)})
        if not datasets:
            assert flags.parse()
        for file in datasets:
            if file not in OF_THE_READER:
                dataset = parse_dataset((ROOT / file).read_text(), file)
                assert Source.parse(dataset.uri, dataset.type, {**dataset.options, **flags.given_options()})


@pytest.mark.parametrize("words", typed("make"))
def test_a_make_target_exists(words: list[str]) -> None:
    targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    assert targets
    assert {*targets} <= make_targets()


@pytest.mark.parametrize("words", typed("air-gapped.sh"))
def test_a_script_exists(words: list[str]) -> None:
    assert (ROOT / words[0]).is_file()


@pytest.mark.parametrize("words", typed("pip"))
def test_pip_needs_no_index_for_dsload(words: list[str]) -> None:
    """dsload is on none: it is installed from a checkout, or from a folder of wheels."""
    if any(re.match(r"dsload\b", word) for word in words[2:]):
        assert "--no-index" in words


@pytest.mark.parametrize("file", LINKING, ids=name)
def test_a_command_in_prose_exists(file: Path) -> None:
    verbs = {match[1] for span in spans(file) if (match := re.match(r"(?:\$ )?dsload ([a-z]+)\b", span))}
    assert verbs <= {*cli.commands}
    targets = {match[1] for span in spans(file) if (match := re.match(r"make ([a-z]+)\b", span))}
    assert targets <= make_targets()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


# Names of the code in prose


def spans(file: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(file))


@pytest.mark.parametrize("file", LINKING, ids=name)
def test_a_file_of_the_repository_exists(file: Path) -> None:
    """NAME stands for one of the reader's own."""
    for path in spans(file):
        if re.match(r"(dsload|docs|examples|benchmarks|tests)/[\w./*-]+$", path) and "NAME" not in path:
            assert list(ROOT.glob(path)), path


@pytest.mark.parametrize("file", TESTED, ids=name)
def test_a_scheme_is_one_that_dsload_knows(file: Path) -> None:
    known = {scheme for spec in specs().values() for scheme in (*spec.schemes, *spec.needs())}
    named = {match[1] for span in spans(file) if (match := re.match(r"([a-z][a-z0-9+]*)://", span))}
    assert named <= known | _OTHER_SCHEMES


@pytest.mark.parametrize("spec", [spec for spec in specs().values() if spec.options], ids=lambda spec: spec.type)
def test_a_sources_page_has_every_option(spec: Spec) -> None:
    page = (
        DOCS / "sources" / {"MODEL_SCOPE": "modelscope.md"}.get(spec.type, f"{spec.type.lower().replace('_', '-')}.md")
    )
    shown = {
        option
        for table in re.split(r"^(?!\|)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for cell, *_ in rows(table)[1:]
        if rows(table)[0][0] == "option"
        for option in re.findall(r"`([^`]+)`", cell)
    }
    assert ANY_NAME in spec.options or shown == {*spec.options, *(() if spec.builds else SELECTION)}


@pytest.mark.parametrize("index", [README, DOCS / "sources" / "README.md"], ids=name)
def test_a_table_of_sources_has_every_type(index: Path) -> None:
    table = rows(index.read_text(encoding="utf-8"))
    assert {*specs()} <= {type for cell, *_ in table for type in cell.split(", ")}


# Other languages


def test_python_passes_a_strict_type_checker(tmp_path: Path) -> None:
    """All blocks at once: the checker reads dsload itself each time."""
    for number, block in enumerate(blocks("python")):
        compile(block.text, str(block), "exec")
        page = re.sub(r"\W", "_", name(block.file).removesuffix(".md"))
        (tmp_path / f"{page}_{block.line}_{number}.py").write_text("\n" * (block.line - 1) + block.text)
    command = [sys.executable, "-m", "mypy", "--strict", f"--config-file={ROOT / 'pyproject.toml'}"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", *sorted(map(str, tmp_path.glob("*.py")))],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_read_and_a_dataset_is_right(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))
    parse_all(document for document in read_documents(block.text, str(block)) if document[1].get("kind") == "Dataset")


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_read(block: Block) -> None:
    """One value, or one a line."""
    try:
        assert json.loads(block.text)
    except json.JSONDecodeError:
        assert all(map(json.loads, block.text.splitlines()))


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "datasets").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_dataset_is_read(path: Path) -> None:
    dataset = parse_dataset(path.read_text(), str(path))
    assert Source.parse(dataset.uri, dataset.type, dataset.options)


# Links


def links(file: Path) -> list[str]:
    found: list[str] = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(file)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(file: Path) -> set[str]:
    """Of the headings, as hosting services make them."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found[anchor] = found.get(anchor, 0) + 1
    return {f"{anchor}-{n}" if n else anchor for anchor, count in found.items() for n in range(count)}


@pytest.mark.parametrize("file", LINKING, ids=name)
def test_links_resolve(file: Path) -> None:
    for link in links(file):
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    for index in [page for page in linked if page.name == "README.md" and page.is_relative_to(DOCS)]:
        linked |= {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {name(page) for page in DOCS.rglob("*.md")} - {name(page) for page in linked} <= {"docs/README.md"}


# Pages that repeat what the code says


def test_the_readme_opens_with_what_it_is_then_two_commands_then_a_session() -> None:
    text = README.read_text(encoding="utf-8")
    first, second, third, *_ = re.findall(r"^# dsload|^```sh|^```console", text, re.MULTILINE)
    assert (first, second, third) == ("# dsload", "```sh", "```console")
    assert len([*commands(next(blocks_of(README)).text)]) == 2


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def rows(text: str) -> list[list[str]]:
    """The cells of tables, without the line below their heads."""
    lines = [line.replace(r"\|", "¦") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|--")]


@pytest.mark.parametrize("command", cli.commands.values(), ids=lambda command: command.name)
def test_the_command_lines_page_has_every_flag_and_its_variable(command: click.Command) -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    section = re.search(rf"^## dsload {command.name}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section
    shown = {
        tuple(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", flags)): variable.strip("`")
        for flags, variable, *_ in rows(section[1])[1:]
    }
    has = {
        (*option.opts, *option.secondary_opts): str(option.envvar or "")
        for option in command.get_params(click.Context(command, **command.context_settings))
        if isinstance(option, click.Option)
    }
    assert {tuple(sorted(flags)): variable for flags, variable in shown.items()} == {
        tuple(sorted(flags)): variable for flags, variable in has.items()
    }


def test_the_chart_is_drawn_from_the_runs_beside_it() -> None:
    runs = json.loads((DOCS / "figures" / "speed.json").read_text(encoding="utf-8"))
    assert (DOCS / "figures" / "speed.svg").read_text(encoding="utf-8") == svg(runs)


def test_the_exit_codes_page_has_every_code() -> None:
    shown = rows((DOCS / "exit-codes.md").read_text(encoding="utf-8"))[1:]
    assert shown[: len(exit_table())] == [[str(row.code), row.meaning, row.retry] for row in exit_table()]
