"""The command line: flags and variables, usage errors, what goes to stdout and what to stderr, exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dsload.cli.main import cli
from dsload.source import Source, merge_options, parse_option
from tests import command, trees
from tests.command import Result
from tests.contract.inside import run
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.mounts import UNPRIVILEGED, as_user, directory_of
from tests.servers.orders import Virtual, stall
from tests.servers.process import free_port, wait_until
from tests.servers.threaded import Request

MIB = 1 << 20
ROOT = os.geteuid() == 0
OWN = (1000, 1000) if ROOT else (os.geteuid(), os.getegid())
TREE: dict[str, bytes | None] = {"a.txt": b"alpha", "sub/b.bin": bytes(range(256)), "sub/deep/c": b"", "empty": None}
FILES = {path: data for path, data in TREE.items() if data is not None}

LOAD_FLAGS = {
    "--file", "--mount-path", "--mount-root", "--mount-uid", "--mount-gid", "--mount-mode", "--mount-secrets",
    "--options", "--workers", "--max-rate", "--ownership", "--output", "--report-file", "--log-format", "--verbose",
    "--quiet", "--ca-bundle", "--no-verify", "--dry-run", "--shard", "--retry-budget", "--stall-timeout",
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The URI of a small folder."""
    return trees.make(tmp_path / "source", TREE).as_uri()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A mount root."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def is_get(request: Request) -> bool:
    """For `when`."""
    return request.method == "GET"


def failed(result: Result, code: int, *words: str) -> None:
    """It ended with this code, one line of error, nothing on stdout, and these words in the line."""
    assert result.code == code, result
    assert result.out == ""
    assert len(result.errors) == 1, result.err
    for word in words:
        assert word in result.errors[0]


# Flags and their variables


def options_of(name: str) -> list[click.Option]:
    return [param for param in cli.commands[name].params if isinstance(param, click.Option)]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_flag_has_its_variable(name: str) -> None:
    for option in options_of(name):
        long = next(opt for opt in option.opts if opt.startswith("--"))
        assert option.envvar == "DSLOAD_" + long[2:].replace("-", "_").upper()
        assert option.help


def test_load_has_the_flags_of_the_contract_and_says_so() -> None:
    assert {opt for option in options_of("load") for opt in option.opts if opt.startswith("--")} == LOAD_FLAGS
    assert {opt for option in options_of("load") for opt in option.opts if not opt.startswith("--")} == {
        "-f",
        "-o",
        "-v",
    }
    text = run("load", "--help").out
    for flag in LOAD_FLAGS:
        assert flag in text


def test_variables_stand_in_for_flags(source: str, root: Path, tmp_path: Path) -> None:
    uid, gid = (4321, 5432) if ROOT else OWN
    report = tmp_path / "report.json"
    env = {
        "DSLOAD_MOUNT_ROOT": str(root), "DSLOAD_MOUNT_PATH": "in/here", "DSLOAD_MOUNT_UID": str(uid),
        "DSLOAD_MOUNT_GID": str(gid), "DSLOAD_MOUNT_MODE": "0640", "DSLOAD_OUTPUT": "json",
        "DSLOAD_REPORT_FILE": str(report), "DSLOAD_LOG_FORMAT": "json", "DSLOAD_NO_VERIFY": "1",
        "DSLOAD_OPTIONS": "include=a.txt\n\nexclude=sub/*\ninclude=sub/*",
    }  # fmt: skip
    done = command.run("load", source, env=env)
    assert done.code == 0, done.err
    assert trees.contents(root / "in/here") == {"a.txt": b"alpha"}
    assert trees.owners(root / "in/here")["a.txt"] == (uid, gid, "0640")
    assert done.json == json.loads(report.read_text())
    assert [json.loads(line)["level"] for line in done.err.splitlines()] == ["info"]
    rows = (root / "in/here/.dsload/inventory.jsonl").read_text().splitlines()[1:]
    assert ["checksum" in json.loads(row) for row in rows] == [False]

    env |= {"DSLOAD_MOUNT_PATH": "dry", "DSLOAD_DRY_RUN": "true", "DSLOAD_QUIET": "yes"}
    done = command.run("load", source, env=env)
    assert (done.code, done.json["dry_run"], done.err, os.listdir(root)) == (0, True, "", ["in"])
    env |= {"DSLOAD_MOUNT_PATH": "flag wins"}
    done = command.run("load", source, "--mount-path", "flag", env=env)
    assert done.json["target"] == str(root / "flag")


@pytest.mark.parametrize(
    ("variable", "value", "flag"),
    [
        ("DSLOAD_WORKERS", "0", "--workers"),
        ("DSLOAD_MAX_RATE", "fast", "--max-rate"),
        ("DSLOAD_RETRY_BUDGET", "-1", "--retry-budget"),
        ("DSLOAD_STALL_TIMEOUT", "0", "--stall-timeout"),
        ("DSLOAD_OWNERSHIP", "maybe", "--ownership"),
        ("DSLOAD_OUTPUT", "xml", "--output"),
        ("DSLOAD_LOG_FORMAT", "xml", "--log-format"),
        ("DSLOAD_MOUNT_UID", "me", "--mount-uid"),
        ("DSLOAD_MOUNT_GID", "-1", "--mount-gid"),
        ("DSLOAD_MOUNT_MODE", "rwx", "--mount-mode"),
        ("DSLOAD_CA_BUNDLE", "/no/such/file", "--ca-bundle"),
        ("DSLOAD_OPTIONS", "no equals sign", "no equals sign"),
        ("DSLOAD_FILE", "/no/such/file", "/no/such/file"),
    ],
)
def test_variables_are_checked_as_flags_are(
    variable: str, value: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    arguments = [] if variable == "DSLOAD_FILE" else ["file:///x"]
    failed(run("load", *arguments, "--mount-path", "x"), 2, flag)


def test_secrets_and_verbose_by_variable(root: Path, tmp_path: Path) -> None:
    trees.make(tmp_path / "secrets", {"token": b"\xff"})
    env = {"DSLOAD_MOUNT_SECRETS": str(tmp_path / "secrets"), "DSLOAD_VERBOSE": "1"}
    done = command.run("load", "file:///x", "--mount-path", "x", "--mount-root", root, env=env)
    assert done.code == 2
    assert f"reading the secret {tmp_path}/secrets/token: it is not text" in done.errors[0]
    assert "Traceback" in done.err


@pytest.mark.parametrize("joined", [False, True], ids=["--flag v", "--flag=v"])
def test_values_of_flags(joined: bool, source: str, root: Path, tmp_path: Path) -> None:
    uid, gid = (4321, 5432) if ROOT else OWN
    flags = {
        "--mount-root": root, "--mount-path": "p", "--mount-uid": uid, "--mount-gid": gid, "--mount-mode": "0750",
        "--mount-secrets": tmp_path, "--options": "include=sub/", "--workers": 3, "--max-rate": "200M",
        "--ownership": "require", "--output": "json", "--report-file": tmp_path / "r", "--log-format": "text",
        "--retry-budget": 2.5, "--stall-timeout": 5,
    }  # fmt: skip
    words = [f"{k}={v}" for k, v in flags.items()] if joined else [word for pair in flags.items() for word in pair]
    done = run("load", "FILE", source, *words)
    assert done.code == 0, done.err
    assert trees.contents(root / "p") == {path: data for path, data in FILES.items() if path.startswith("sub/")}
    assert trees.owners(root / "p")["sub"] == (uid, gid, "0750")


@pytest.mark.parametrize("size", ["200M", "200m", "1.5G", "1GiB", "10MB/s", "4096", "64 KiB", "0"])
def test_sizes(size: str, source: str, root: Path) -> None:
    assert run("load", source, "--mount-root", root, "--mount-path", "p", "--max-rate", size).code == 0


# Options of the source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=v", "v"),
        ("k=", ""),
        ("k=a=b", "a=b"),
        (" k =v", "v"),
        ('k="a b"', "a b"),
        ('k="tab\\tnew\\nline"', "tab\tnew\nline"),
        ('k="say \\"hi\\" \\\\ there"', 'say "hi" \\ there'),
        ('k="\\u00e9 \\U0001f642 \\x41"', "é 🙂 A"),
        ('k="日本 語"', "日本 語"),
        ('k="quoted"', '"quoted"'),
        ('k=""', '""'),
        ('k="', '"'),
        ('k="a "b"', '"a "b"'),
        ('k="a b" "c"', '"a b" "c"'),
        ('k="a\\d b"', '"a\\d b"'),
        ('k="a b', '"a b'),
        ("k='a b'", "'a b'"),
        ('k="real\nline break"', '"real\nline break"'),
        ('k=f"a b"', 'f"a b"'),
    ],
)
def test_values_with_white_space_are_unquoted_as_go_quotes_them(text: str, value: str) -> None:
    assert parse_option(text) == ("k", value)


def test_a_quoted_option_reaches_the_source_unquoted(fault: FaultServer, root: Path) -> None:
    url = fault.put("/f", b"data")
    done = run(
        "load", "HTTP", url, "--mount-root", root, "--mount-path", "/", '--options=X-Who="a \\"b\\" c"', '-oX-Plain="q"'
    )  # fmt: skip
    assert done.code == 0, done.err
    for request in fault.requests():
        assert (request.headers["x-who"], request.headers["x-plain"]) == ('a "b" c', '"q"')


def test_options_repeated() -> None:
    pairs = [("include", "a"), ("revision", "1"), ("include", "b,c"), ("revision", "2"), ("exclude", "d\ne")]
    options = merge_options(pairs)
    source = Source.parse("file:///x", None, {k: v for k, v in options.items() if k != "revision"})
    assert (options["revision"], source.filter.include, source.filter.exclude) == ("2", ("a", "b", "c"), ("d", "e"))


# data-loader


def test_data_loader_is_dsload_load(source: str, root: Path) -> None:
    one = command.run("FILE", source, f"--mount-root={root}", "--mount-path=/one", script="data-loader")
    two = command.run("load", "FILE", source, f"--mount-root={root}", "--mount-path=/two")
    assert (one.code, two.code) == (0, 0), one.err
    assert trees.contents(root / "one") == trees.contents(root / "two") == FILES
    assert trees.owners(root / "one") == trees.owners(root / "two")
    usage = [command.run("--help", script="data-loader").out, command.run("load", "--help").out]
    assert usage[0].replace("data-loader", "dsload load") == usage[1]
    failed(command.run("FILE", source, script="data-loader"), 2, "--mount-path is missing")


# TYPE


def test_type_is_told_by_the_scheme_or_given_in_any_case(source: str, fault: FaultServer, root: Path) -> None:
    url = fault.put("/repo.git", b"a file of that name")
    for number, (arguments, type) in enumerate(
        [([source], "FILE"), (["file", source], "FILE"), (["Http", url], "HTTP"), ([fault.put("/f", b"")], "HTTP")]
    ):
        done = run("load", *arguments, "--mount-root", root, "--mount-path", str(number), "--output", "json")
        assert (done.code, done.json["type"]) == (0, type)


def test_type_wins_over_the_scheme(source: str, root: Path) -> None:
    failed(run("load", "S3", source, "--mount-root", root, "--mount-path", "x"), 2, "S3 takes s3://")


# Where to, and whose


def test_defaults(source: str, root: Path) -> None:
    done = command.run("load", source, "--mount-path", "t", cwd=root)
    assert done.code == 0, done.err
    for owner in trees.owners(root / "t").values():
        assert owner == (*OWN, "0755")


def test_defaults_of_one_who_is_not_root(source: str) -> None:
    with directory_of(UNPRIVILEGED) as root:
        done = command.run("load", source, "--mount-root", root, "--mount-path", "t", wrap=as_user)
        assert done.code == 0, done.err
        for owner in trees.owners(root / "t").values():
            assert owner == (UNPRIVILEGED, UNPRIVILEGED, "0755")


@pytest.mark.parametrize(
    ("path", "place"),
    [("/", "."), ("", "."), (".", "."), ("/a/b", "a/b"), ("//a//b/", "a/b"), ("./a", "a"), ("a..b", "a..b")],
)  # fmt: skip
def test_mount_path(path: str, place: str, source: str, root: Path) -> None:
    done = run("load", source, "--mount-root", root, "--mount-path", path, "--output", "json")
    assert done.code == 0, done.err
    assert trees.contents(root / place) == FILES
    assert done.json["target"] == str(root / place)


@pytest.mark.parametrize("path", ["..", "../a", "a/../b", "/..", "a/.."])
def test_mount_path_that_leads_up_is_refused_before_the_source_is_asked(
    path: str, fault: FaultServer, root: Path
) -> None:
    url = fault.put("/f", b"")
    failed(run("load", url, "--mount-root", root, "--mount-path", path), 2, "--mount-path", path, "out of the mount")
    assert fault.requests() == []


def test_mount_root_has_to_be_there(source: str, tmp_path: Path) -> None:
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.write_bytes(b"")
    for bad in (missing, file):
        failed(run("load", source, "--mount-root", bad, "--mount-path", "x"), 7, "opening the mount root", str(bad))
    assert not missing.exists()


# load -f

DATASET = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata:
  labels:
    hydra.io/model-id: "qwen2-0.5b-instruct"
  name: qwen2-5-0-5b-instruct
  namespace: public
spec:
  share: true
  source:
    type: HTTP
    uri: {uri}
    options:
      X-Trace: "a b"
      include: "*.txt"
  secretRef: some-secret
  mountOptions:
    path: /models/qwen
    mode: "0750"
    uid: {uid}
    gid: {gid}
"""


@pytest.fixture
def dataset(fault: FaultServer) -> str:
    """A Dataset as the platform's guide has it, of a source that is there."""
    fault.put("/d/a.txt", b"alpha")
    fault.put("/d/b.bin", b"beta")
    return DATASET.format(uri=fault.url + "/d/", uid=OWN[0], gid=OWN[1])


@pytest.mark.parametrize("where", ["file", "stdin"])
def test_load_a_dataset(where: str, dataset: str, fault: FaultServer, root: Path, tmp_path: Path) -> None:
    text = f"kind: ConfigMap\n---\n{dataset}---\n\n"  # other documents are passed over
    (tmp_path / "d.yaml").write_text(text)
    name, stdin = (str(tmp_path / "d.yaml"), "") if where == "file" else ("-", text)
    done = command.run("load", "-f", name, "--mount-root", root, stdin=stdin)
    assert done.code == 0, done.err
    assert trees.contents(root / "models/qwen") == {"a.txt": b"alpha"}
    assert trees.owners(root / "models/qwen")["a.txt"] == (*OWN, "0750")
    assert {request.headers["x-trace"] for request in fault.requests()} == {"a b"}


def test_flags_win_over_a_dataset(dataset: str, fault: FaultServer, root: Path, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(dataset)
    flags = ["--mount-path", "p", "--mount-mode", "0700", "-o", "include=*.bin", "-o", "X-Trace=mine", "-o", "X-New=1"]
    done = run("load", "-f", tmp_path / "d.yaml", "--mount-root", root, *flags)
    assert done.code == 0, done.err
    assert trees.contents(root / "p") == {"b.bin": b"beta"}
    assert trees.owners(root / "p")["b.bin"][2] == "0700"
    assert {(r.headers["x-trace"], r.headers["x-new"]) for r in fault.requests()} == {("mine", "1")}


def test_a_dataset_without_mount_options(dataset: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(dataset.partition("  mountOptions")[0])
    done = run("load", "-f", tmp_path / "d.yaml", "--mount-root", root)
    assert done.code == 0, done.err
    assert trees.owners(root)["a.txt"] == (*OWN, "0774")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: Dataset", "kind: Dateset", "holds no Dataset"),
        ("kind: Dataset", "kind: [", "it is not YAML"),
        ("kind: Dataset", "kind: Dataset\nday: 2024-99-99", "it is not YAML"),
        ("kind: Dataset", "\tkind: Dataset", "it is not YAML"),
        ("  secretRef", "---\napiVersion: v1\nkind: Dataset\n---\n  secretRef", "holds 2 Datasets"),
        ("v1alpha1", "v2", "apiVersion: 'dataset.baizeai.io/v2' is not dataset.baizeai.io/v1alpha1"),
        ("spec:", "sbec:", "spec: it is missing"),
        ("  source:", "  sauce:", "spec.source: it is missing"),
        ("type: HTTP", "kind: HTTP", "spec.source.type: it is missing"),
        ("type: HTTP", "type: FTP-ISH", "this source type does not exist"),
        ("    uri:", "    url:", "spec.source.uri: it is missing"),
        ('"a b"', "5", "spec.source.options.X-Trace: 5 is not a string, put it in quotes"),
        ('mode: "0750"', "mode: 0750", "spec.mountOptions.mode: 488 is not a string, put it in quotes"),
        ('mode: "0750"', 'mode: "0855"', "spec.mountOptions.mode: '0855' does not match ^[0-7]{3,4}$"),
        ("uid: ", "uid: minus-", "spec.mountOptions.uid: 'minus-"),
        ("path: /models/qwen", "path: 5", "spec.mountOptions.path: 5 is not a string"),
        ("path: /models/qwen", "path: /../x", "leads out of the mount root"),
        ("  source:", "  source: text\n  sauce:", "spec.source: 'text' is not a map"),
    ],
)
def test_datasets_that_are_wrong(
    old: str, new: str, words: str, dataset: str, fault: FaultServer, root: Path, tmp_path: Path
) -> None:
    assert old in dataset
    (tmp_path / "d.yaml").write_text(dataset.replace(old, new, 1))
    failed(run("load", "-f", tmp_path / "d.yaml", "--mount-root", root), 2, words)
    assert fault.requests() == []


def test_a_dataset_beside_a_uri_or_none_at_all(tmp_path: Path, source: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_bytes(b"")
    failed(run("load", source, "-f", tmp_path / "empty"), 2, "-f and TYPE URI exclude each other")
    failed(run("load", "-f", tmp_path / "empty"), 2, "it holds no Dataset")
    failed(run("load", "-f", tmp_path / "binary"), 2, "it is not text")
    failed(run("load", "-f", tmp_path), 2, "is a directory")


# Usage errors


@pytest.mark.parametrize(
    ("uri", "type"), [("pvc://claim/path", "PVC"), ("nfs://host/share", "NFS"), ("dataset://ns/name", "REFERENCE")]
)
@pytest.mark.parametrize("given", [True, False], ids=["typed", "untyped"])
@pytest.mark.parametrize("name", ["load", "ls"])
def test_types_that_are_only_mounted(uri: str, type: str, given: bool, name: str, root: Path) -> None:
    flags = ["--mount-root", root, "--mount-path", "x"] if name == "load" else []
    done = run(name, *([type] if given else []), uri, *flags)
    failed(done, 2, type, "`dsload manifest`")
    assert len(done.err.splitlines()) == 1
    assert os.listdir(root) == []


USAGE = [
    (["load"], "a URI is missing"),
    (["load", ""], "a URI is missing"),
    (["load", "file:///x"], "--mount-path is missing"),
    (["load", "FILE", "file:///x", "more", "--mount-path", "x"], "3 arguments were given, [TYPE] URI is expected"),
    (["load", "nope://host/x", "--mount-path", "x"], "no source has the scheme nope://; known: "),
    (["load", "just/a/path", "--mount-path", "x"], "it has no scheme; known: "),
    (["load", "FILE", "/just/a/path", "--mount-path", "x"], "it has no scheme; FILE takes file://…"),
    (["load", "NOPE", "file:///x", "--mount-path", "x"], "this source type does not exist; known: "),
    (["load", "http:///path", "--mount-path", "x"], "it does not name the host"),
    (["load", "s3:///path", "--mount-path", "x"], "it does not name the bucket"),
    (["load", "http://host:99999/", "--mount-path", "x"], "its host or port cannot be read"),
    (["load", "http://[::1/", "--mount-path", "x"], "its host or port cannot be read"),
    (["load", "HTTP", "http://[::1/", "--mount-path", "x"], "its host or port cannot be read"),
    (["load", "file:///x", "--mount-path", "x", "-o", "novalue"], "'novalue': it is not of the form key=value"),
    (["load", "file:///x", "--mount-path", "x", "-o", "=value"], "it is not of the form key=value"),
    (["load", "file:///x", "--mount-path", "x", "-o", ""], "it is not of the form key=value"),
    (["load", "file:///x", "--mount-path", "x", "-o", "color=red"], "FILE does not know it; its options are: exclude"),
    (["load", "s3://b/x", "--mount-path", "x", "-o", "Region=x"], "its options are: addressingStyle, anonymous"),
    (["load", "file:///x?color=red", "--mount-path", "x"], "option color: FILE does not know it"),
    (["load", "file:///x", "--mount-path", "x", "-o", "syncMode=mirror"], "'mirror' is neither sync nor copy"),
    (["load", "file:///x", "--mount-path", "x", "--mount-mode", "755x"], "'755x' is not a mode"),
    (["load", "file:///x", "--mount-path", "x", "--mount-mode", "0888"], "'0888' is not a mode"),
    (["load", "file:///x", "--mount-path", "x", "--mount-mode", "75"], "'75' is not a mode"),
    (["load", "file:///x", "--mount-path", "x", "--max-rate", "-5"], "'-5' is not a size"),
    (["load", "file:///x", "--mount-path", "x", "--max-rate", "5 apples"], "'5 apples' is not a size"),
    (["load", "file:///x", "--mount-path", "x", "--mount-uid", "-1"], "--mount-uid"),
    (["load", "file:///x", "--mount-path", "x", "--mount-uid", "root"], "--mount-uid"),
    (["load", "file:///x", "--mount-path", "x", "--workers", "257"], "--workers"),
    (["load", "file:///x", "--mount-path", "x", "--ownership", "please"], "--ownership"),
    (["load", "file:///x", "--mount-path", "x", "--ca-bundle", "/no/file"], "--ca-bundle /no/file"),
    (["load", "file:///x", "--mount-path", "x", "--colour"], "No such option '--colour'"),
    (["load", "file:///x", "--mount-path"], "'--mount-path' requires an argument"),
    (["load", "file:///x", "--mount-path", "x", "--quiet=1"], "--quiet"),
    (["load", "-f", "/no/such.yaml"], "reading /no/such.yaml: no such file"),
    (["load", "http://host/", "--mount-path", "x", "-o", "Bad Name=1"], "headers cannot have this name"),
    (["load", "file://host/x", "--mount-path", "x"], "'host' is read as a host"),
    (["ls"], "a URI is missing"),
    (["ls", "nope://x"], "no source has the scheme nope://"),
    (["ls", "file:///x", "--mount-path", "x"], "No such option '--mount-path'"),
    (["verify"], "Missing argument 'PATH'"),
    (["verify", "a", "b"], "unexpected extra argument"),
    (["sources", "x"], "unexpected extra argument"),
    (["download", "file:///x"], "No such command 'download'"),
    (["--colour"], "No such option '--colour'"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], words: str) -> None:
    failed(run(*arguments), 2, words)


def test_usage_errors_hide_passwords() -> None:
    uris = [
        "nope://me:hunter2hunter2@host/x?token=tok-sesame", "http://me:hunter2hunter2@host:port/?token=tok-sesame",
        "http://me:hunter/2hunter2@host/?token=tok-sesame", "file://me:hunter2hunter2@host/x",
        "s3://me:hunter2hunter2@bucket/x", "S3://b/x?token=tok-sesame",
    ]  # fmt: skip
    for uri in uris:
        done = run("load", uri, "--mount-path", "x", "--output", "json")
        assert done.code == 2
        assert not [word for word in ("hunter", "sesame") if word in done.out + done.err]


def test_without_a_command_dsload_shows_its_help() -> None:
    done = run()
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) > 10
    assert "  load " in done.err
    done = run("-h")
    assert (done.code, done.err) == (0, "")
    assert run("--version").out.startswith("dsload, version 0.")


# What goes where


def test_the_report_in_text_and_json(source: str, root: Path) -> None:
    flags = [source, "--mount-root", root, "--mount-path", "t"]
    done = command.run("load", *flags, "--output", "json")
    size = sum(map(len, FILES.values()))
    report = done.json
    assert 0 < report.pop("seconds") < 60
    assert report == {
        "type": "FILE", "source": source, "target": str(root / "t"), "revision": None, "retries": 0, "unverified": 3,
        "notes": {
            "unverified": {"files": 3, "first": report["notes"]["unverified"]["first"]},
            "pointers": {"files": 0, "first": []}, "replaced": {"files": 0, "first": []},
        },
        "server": "", "left_out": {"files": 0, "bytes": 0}, "built": {},
        "files": {"total": 4, "loaded": 4, "kept": 0, "deleted": 0},
        "bytes": {"total": size, "moved": size, "resumed": 0}, "error": None, "dry_run": False,
    }  # fmt: skip
    assert done.err.splitlines()[0].endswith(f" loading {source} into {root / 't'}")
    (root / "t/a.txt").unlink()
    done = command.run("load", *flags)
    assert [line.split()[0] for line in done.out.splitlines()] == [
        "source", "target", "files", "bytes", "time", "note",
    ]  # fmt: skip
    assert "files    4: 1 loaded, 3 unchanged, 0 deleted" in done.out
    assert "\r" not in done.out + done.err


def test_quiet_says_nothing_but_errors(source: str, root: Path) -> None:
    flags = ["--mount-root", root, "--mount-path", "t", "--quiet"]
    assert run("load", source, *flags).err == ""
    failed(run("load", source + "-missing", *flags), 4, "no such file")


def test_a_report_file_beside_stdout(source: str, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = run("load", source, "--mount-root", root, "--mount-path", "t", "--report-file", file)
    assert done.code == 0
    report = json.loads(file.read_text())
    assert (report["files"]["loaded"], report["error"]) == (4, None)
    assert done.out.startswith("source ")


@pytest.mark.parametrize(
    ("uri", "code", "retry", "words"),
    [
        ("file:///no/such/folder", 4, False, "no such file or directory"),
        ("nope://x", 2, False, "no source has the scheme nope://"),
        ("http://127.0.0.1:{port}/", 9, True, "run the same command again"),
    ],
)
def test_a_failed_load_reports_too(uri: str, code: int, retry: bool, words: str, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    flags = ["--mount-root", root, "--mount-path", "t", "--report-file", file, "--retry-budget", 0]
    uri = uri.format(port=free_port())
    done = run("load", uri, *flags, "--output", "json")
    assert done.code == code
    assert done.json == json.loads(file.read_text())
    error = done.json["error"]
    assert (error["exit"], error["retry"]) == (code, retry)
    assert words in error["message"]
    assert error["message"] in done.errors[0]
    failed(run("load", uri, *flags), code)


def test_a_report_file_that_cannot_be_written_fails_nothing(source: str, root: Path, tmp_path: Path) -> None:
    done = run("load", source, "--mount-root", root, "--mount-path", "t", "--report-file", tmp_path / "no/report")
    assert done.code == 0
    assert "warning: cannot write the report" in done.err


def test_log_lines_as_json(source: str, root: Path, fault: FaultServer) -> None:
    flags = ["--mount-root", root, "--mount-path", "t", "--log-format", "json"]
    for arguments, code in [
        (["load", source, *flags], 0),
        (["load", source + "-missing", *flags], 4),
        (["load", fault.url + "/missing", *flags, "-v"], 4),
        (["load", "nope://x", *flags], 2),
        (["load", source, *flags, "--mount-mode", "9"], 2),
        (["load", source, *flags, "--colour"], 2),
        (["ls", source, "--log-format=json", "--colour"], 2),
        (["verify", root / "missing", "--log-format", "json"], 4),
    ]:
        done = command.run(*arguments)
        lines = [json.loads(line) for line in done.err.splitlines()]
        assert done.code == code, done.err
        assert all({"time", "level", "message"} <= set(line) for line in lines)
        assert [line["level"] for line in lines].count("error") == (code > 0)
    done = command.run("load", source, "--colour", env={"DSLOAD_LOG_FORMAT": "json"})
    assert json.loads(done.err)["level"] == "error"


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """The environment where a third party's source type BROKEN is installed, which is as broken as its URI says."""
    folder = tmp_path / "plugin"
    trees.make(folder / "broken-1.dist-info", {
        "METADATA": b"Metadata-Version: 2.1\nName: broken\nVersion: 1\n",
        "entry_points.txt": b"[dsload.fetchers]\nbroken = broken:SPEC\n",
    })  # fmt: skip
    (folder / "broken.py").write_text(
        "import pathlib, threading\n"
        "from dsload.listing import BytesReader, Entry, Listing\n"
        "from dsload.registry import Spec\n"
        "SPEC = Spec('BROKEN', ('broken',), 'broken:Broken')\n"
        "class Broken(BytesReader):\n"
        "    def __init__(self, source, context):\n"
        "        self.path = source.uri.removeprefix('broken://')\n"
        "    def list(self):\n"
        "        if self.path == 'list': raise RuntimeError('the wheel\\nis off')\n"
        "        return Listing([Entry('a', 3, 'v', self)])\n"
        "    def read(self, entry, start, end):\n"
        "        pathlib.Path(self.path).touch()\n"
        "        threading.Event().wait()\n"
    )
    return {"PYTHONPATH": str(folder)}


def test_a_bug_is_one_line_and_its_traceback_shows_only_with_v(plugin: dict[str, str], root: Path) -> None:
    flags = ["load", "broken://list", "--mount-root", root, "--mount-path", "t"]
    done = command.run(*flags, env=plugin)
    failed(done, 1, "unexpected error (a bug): RuntimeError: the wheel is off; -v shows where")
    assert "Traceback" not in done.err
    done = command.run(*flags, "-v", "--output", "json", env=plugin)
    assert done.code == 1
    assert 'raise RuntimeError("the wheel' in done.err.replace("'", '"')
    assert done.json["error"]["exit"] == 1
    done = command.run(*flags, "-v", "--log-format", "json", env=plugin)
    assert "Traceback" in json.loads(done.err.splitlines()[-1])["traceback"]


def test_an_expected_error_has_no_traceback_but_with_v(root: Path) -> None:
    flags = ["load", "file:///no/such", "--mount-root", root, "--mount-path", "t"]
    assert "Traceback" not in run(*flags).err
    assert "Traceback" in run(*flags, "-v").err


@pytest.mark.parametrize("name", ["load", "data-loader"])
def test_a_bar_on_a_terminal(name: str, root: Path) -> None:
    with FaultServer(rate=8 * MIB) as server:
        url = server.put("/model.bin", Virtual(4 * MIB))
        here, there = pty.openpty()
        arguments = [url, "--mount-root", root, "--mount-path", "t", "--workers", "1"]
        script = command.argv("load", *arguments) if name == "load" else command.argv(*arguments, script="data-loader")
        child = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=there, env={**os.environ, "TERM": "xterm"})
        os.close(there)
        shown = b""
        while piece := _read_terminal(here):
            shown += piece
        out = child.communicate()[0].decode()
        os.close(here)
    assert child.returncode == 0, shown
    assert b"/1 file " in shown
    assert b"\x1b[" in shown
    assert b"loading " + url.encode() in shown
    assert "\x1b" not in out
    assert "files    1: 1 loaded" in out


def _read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_no_bar_and_no_carriage_return_without_a_terminal(root: Path) -> None:
    with FaultServer(rate=8 * MIB) as server:
        url = server.put("/model.bin", Virtual(4 * MIB))
        done = command.run("load", url, "--mount-root", root, "--mount-path", "t", env={"FORCE_COLOR": "1"})
    assert done.code == 0
    assert not [char for char in ("\r", "\x1b") if char in done.out + done.err]


# --dry-run


def test_a_dry_run_of_a_new_target_makes_nothing(source: str, root: Path) -> None:
    before = trees.everything(root)
    flags = ["load", source, "--mount-root", root, "--mount-path", "a/b", "--dry-run"]
    report = run(*flags, "--output", "json").json
    assert report["dry_run"]
    assert report["files"] == {"total": 4, "loaded": 4, "kept": 0, "deleted": 0}
    assert report["bytes"]["moved"] == sum(map(len, FILES.values()))
    text = run(*flags).out
    assert "4 would be loaded, 0 unchanged, 0 would be deleted" in text
    assert "261 B would be moved" in text
    assert trees.everything(root) == before
    failed(run("load", source, "--mount-root", root / "x", "--mount-path", "/", "--dry-run"), 7, "the mount root")


def test_a_dry_run_of_a_loaded_target_changes_nothing(source: str, root: Path, tmp_path: Path) -> None:
    flags = ["load", source, "--mount-root", root, "--mount-path", "t"]
    assert run(*flags).code == 0
    (tmp_path / "source/a.txt").unlink()
    (tmp_path / "source/new").write_bytes(b"new one")
    (tmp_path / "source/sub/b.bin").write_bytes(b"other")
    before = trees.everything(root)
    report = run(*flags, "--dry-run", "--output", "json", "--mount-uid", 77, "--mount-mode", "0700").json
    assert report["files"] == {"total": 4, "loaded": 2, "kept": 2, "deleted": 1}
    assert report["bytes"] == {"total": 12, "moved": 12, "resumed": 0}
    assert trees.everything(root) == before


def test_a_dry_run_refuses_what_a_load_would_refuse(source: str, root: Path) -> None:
    trees.make(root / "t", {"a.txt/in the way": b""})
    flags = ["load", source, "--mount-root", root, "--mount-path", "t", "--dry-run"]
    failed(run(*flags), 5, "a directory is in the way of this file")


# ls, verify, sources


def test_ls(source: str, fault: FaultServer, tmp_path: Path) -> None:
    os.symlink("a.txt", tmp_path / "source/link")
    (tmp_path / "source/sub/evil\x1b[2J\nname").write_bytes(b"12345")
    done = run("ls", source)
    assert done.code == 0, done.err
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
    assert [(size, name) for size, _, name in lines] == [
        ("5", "a.txt"), ("0", "empty/"), ("0", "link -> a.txt"), ("256", "sub/b.bin"), ("0", "sub/deep/c"),
        ("5", "sub/evil\\x1b[2J\\nname"),
    ]  # fmt: skip
    assert lines[0][1].startswith("version:5-")
    found = run("ls", "FILE", source, "--output", "json", "-o", "exclude=sub/deep/*", "-o", "include=*b.bin,link").json
    assert (found["source"], found["revision"]) == (source, None)
    assert [row["path"] for row in found["entries"]] == ["link", "sub/b.bin"]
    assert found["entries"][0]["symlink"] == "a.txt"
    assert found["entries"][1] == {
        "path": "sub/b.bin",
        "size": 256,
        "checksum": None,
        "version": found["entries"][1]["version"],
    }


def test_ls_shows_checksums_and_empty_is_not_found(fault: FaultServer, source: str) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    fault.put("/d/test.txt", b"test")
    fault.put("/d/SHA256SUMS", f"{digest}  test.txt\n".encode())
    assert f"sha256:{digest}  test.txt" in run("ls", fault.url + "/d/").out
    rows = run("ls", fault.url + "/d/", "--output", "json").json["entries"]
    assert {row["path"]: row["checksum"] for row in rows}["test.txt"] == f"sha256:{digest}"
    failed(run("ls", source, "-o", "include=*.nope"), 4, "nothing matches include '*.nope'")


def test_ls_into_head_is_quiet(tmp_path: Path) -> None:
    folder = trees.make(tmp_path / "many", {f"{'x' * 200}-{i}": b"" for i in range(2000)})
    for form in ("text", "json"):
        child = subprocess.Popen(
            command.argv("ls", folder.as_uri(), "--output", form),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        with child:
            assert child.stderr.read() == ""
        assert child.returncode == 141


def test_verify(source: str, root: Path) -> None:
    assert run("load", source, "--mount-root", root, "--mount-path", "t").code == 0
    (root / "t/of somebody else").write_bytes(b"")
    done = run("verify", root / "t")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{root / 't'}: 4 files are as loaded, 261 B hashed\n"
    done = run("verify", root / "t", "--output", "json")
    assert done.json == {"target": str(root / "t"), "complete": True, "files": 4, "bytes": 261, "wrong": []}


def test_verify_names_what_differs_or_is_missing(source: str, root: Path, tmp_path: Path) -> None:
    assert run("load", source, "--mount-root", root, "--mount-path", "t").code == 0
    target = root / "t"
    (target / "a.txt").write_bytes(b"ALPHA")
    (target / "sub/b.bin").write_bytes(b"short")
    (target / "empty").rmdir()
    (target / "sub/deep/c").unlink()
    os.symlink(tmp_path / "source/sub/deep/c", target / "sub/deep/c")
    done = run("verify", target)
    assert done.code == 5
    assert [line.partition(":")[0] for line in done.out.splitlines()] == ["a.txt", "empty", "sub/b.bin", "sub/deep/c"]
    assert "a.txt: differs: it has sha256:" in done.out
    assert "empty: missing" in done.out
    assert "sub/b.bin: differs: it has 5 bytes, 256 were loaded" in done.out
    assert "sub/deep/c: no longer a file" in done.out
    assert len(done.errors) == 1
    assert "4 of 4 files differ or are missing: a.txt, empty, sub/b.bin, …; load it again" in done.errors[0]
    done = run("verify", target, "--output", "json")
    assert (done.code, len(done.json["wrong"]), done.json["complete"]) == (5, 4, True)
    assert run("load", source, "--mount-root", root, "--mount-path", "t").code == 0
    assert run("verify", target).code == 0


def test_verify_tells_of_a_damaged_inventory(source: str, root: Path) -> None:
    assert run("load", source, "--mount-root", root, "--mount-path", "t").code == 0
    inventory = root / "t/.dsload/inventory.jsonl"
    inventory.write_text(inventory.read_text().replace('{"path":"a.txt"', '{"path":"a.txt'))
    done = run("verify", root / "t")
    assert done.code == 5
    assert ".dsload/inventory.jsonl: damaged: 1 of its lines cannot be read" in done.out


def test_verify_of_what_was_never_loaded(tmp_path: Path) -> None:
    failed(run("verify", tmp_path / "none"), 4, "this directory does not exist")
    failed(run("verify", tmp_path), 4, "it has no inventory: dsload has loaded nothing here")
    (tmp_path / "file").write_bytes(b"")
    failed(run("verify", tmp_path / "file"), 4, "this directory does not exist")


def test_sources() -> None:
    rows = {row["type"]: row for row in run("sources", "--output", "json").json}
    assert {"S3", "HTTP", "FILE", "FSSPEC", "PVC", "NFS", "REFERENCE"} <= set(rows)
    assert rows["S3"]["schemes"] == ["s3"]
    assert {"region", "endpoint", "provider", "addressingStyle", "anonymous"} <= set(rows["S3"]["options"])
    assert "webhdfs" in rows["FSSPEC"]["schemes"]
    assert rows["PVC"]["state"] == "mounted, not loaded"
    assert rows["FILE"]["state"] == "installed"
    text = run("sources").out
    assert text.splitlines()[-1] == "Every source that is loaded also takes exclude, include, syncMode."
    for row in rows.values():
        assert row["type"] in text


# Signals


@pytest.fixture
def stalled(fault: FaultServer) -> Iterator[FaultServer]:
    """A server whose /model.bin stalls behind its first part."""
    fault.put("/model.bin", Virtual(40 * MIB))
    fault.order("/model.bin", stall(0), when=is_get, after=1, times=ALWAYS)
    yield fault
    fault.release()


def has_saved_a_part(target: Path) -> bool:
    return any("start" in file.read_text() for file in (target / ".dsload/parts").glob("*.journal"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_keep_what_is_done(number: signal.Signals, code: int, stalled: FaultServer, root: Path) -> None:
    flags = ["load", stalled.url + "/model.bin", "--mount-root", root, "--mount-path", "t", "--workers", 2]
    report = root / "report.json"
    child = command.start(*flags, "--report-file", report)
    wait_until(lambda: has_saved_a_part(root / "t"), "a part to be saved")
    child.send_signal(number)
    out, err = child.communicate()
    failed(Result(child.returncode, out, err), code, f"{number.name}: what is done is kept", "the same command")
    assert json.loads(report.read_text())["error"] == {
        "exit": code, "message": err.splitlines()[-1].partition("error: ")[2], "retry": True,
    }  # fmt: skip
    assert not (root / "t/.dsload/lease.json").exists()
    assert not (root / "t/model.bin").exists()
    before = stalled.bytes_sent()
    stalled.clear()
    stalled.release()
    done = command.run(*flags, "--output", "json")
    assert done.code == 0, done.err
    assert done.json["bytes"]["resumed"] == 40 * MIB - stalled.bytes_sent() >= 8 * MIB
    assert before > 0
    assert (root / "t/model.bin").read_bytes() == Virtual(40 * MIB)[:]


def test_a_second_interrupt_does_not_wait(plugin: dict[str, str], root: Path, tmp_path: Path) -> None:
    reading = tmp_path / "reading"
    child = command.start("load", f"broken://{reading}", "--mount-root", root, "--mount-path", "t", env=plugin)
    wait_until(reading.exists, "the source to be read, which never ends")

    def interrupted() -> bool:
        child.send_signal(signal.SIGINT)
        return child.poll() is not None

    wait_until(interrupted, "the load to end")
    out, err = child.communicate()
    assert child.returncode in (130, -signal.SIGINT)  # the latter is 130 to a shell: it was about to end anyway
    assert out == ""
    assert "Traceback" not in err


# Start


def test_help_is_there_at_once() -> None:
    """No library of a source, and none of what only a load needs."""
    heavy = ["pycurl", "rich", "fsspec", "botocore", "yaml", "awscrt", "dsload.loading.load", "dsload.target.volume"]
    script = f"import sys; from dsload.cli.main import cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# What was left as it was


def test_files_that_dsload_had_not_put_there_are_counted_and_named(source: str, root: Path) -> None:
    flags = [source, "--mount-root", root, "--mount-path", "t"]
    (root / "t").mkdir()
    (root / "t/a.txt").write_bytes(b"of somebody else")
    for more in (["--dry-run"], []):
        report = command.run("load", *flags, "--output", "json", *more).json
        assert report["notes"]["replaced"] == {"files": 1, "first": ["a.txt"]}
    (root / "t/a.txt").write_bytes(b"changed since")
    note = "note     1 file {} replaced that somebody else had put there or changed: a.txt"
    assert note.format("would be") in command.run("load", *flags, "--dry-run").out.splitlines()
    assert note.format("was") in command.run("load", *flags).out.splitlines()
    assert command.run("load", *flags, "--output", "json").json["notes"]["replaced"]["files"] == 0
