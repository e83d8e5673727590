"""The official clients judge the listings: what they name, with size and checksum, is what dsload lists.

s3fs over SeaweedFS and moto, huggingface_hub and modelscope-hub over the hub fake. Each runs in a process of its own,
with a home of its own, as they write there.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsload import Secrets, Source, Target, load
from tests import trees
from tests.contract.inside import run as inside
from tests.servers.hub import Hub, Kind, Repo
from tests.servers.orders import Virtual
from tests.servers.process import PIP, unavailable
from tests.servers.s3 import S3, Moto, SeaweedFS

MANY = 1001  # more than a page of S3 has
ODD = (
    "plain.txt", "with space.txt", "plus+sign", "percent%20", "ampersand&more", "question?mark", "hash#tag", "quote'",
    "(brackets)", "exclamation!", "star*", "über/täglich.txt", "日本/語", "deep/er/and/deeper", "empty",
    "=equals", "~tilde", "comma,semi;colon:", "UPPER", "upper", ".hidden/.file",
    "%41.txt", "\"quoted\"", "<tag>", "[x]{y}", "dollar$at@", "`tick`|^", "🙂", "odd folder+%2F/leaf",
)  # fmt: skip


def contents(many: int = MANY) -> dict[str, bytes]:
    files = {name: hashlib.sha256(name.encode()).hexdigest().encode() for name in ODD}
    return files | {"empty": b""} | {f"many/{number:04}": str(number).encode() for number in range(many)}


def judged(module: str, program: str, home: Path, **environment: str) -> Any:
    """What the program puts into `result`."""
    home.mkdir()
    variables = {"HOME": str(home), "HF_HOME": str(home), "PATH": os.environ["PATH"], **environment}
    text = f"import json\n{program}\nprint(json.dumps(result))"
    done = subprocess.run([sys.executable, "-c", text], env=variables, cwd=home, capture_output=True, text=True)
    if f"No module named '{module}'" in done.stderr:
        unavailable(f"{module} is not installed: {PIP} {module}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def listed(uri: str, **options: str) -> dict[str, dict[str, Any]]:
    """The entries of `dsload ls`, by path."""
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    done = inside("ls", uri, *flags, "--output", "json")
    assert done.code == 0, done.err
    return {entry["path"]: entry for entry in done.json["entries"]}


# S3


@pytest.fixture(params=["seaweed", "moto"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3:
    server: SeaweedFS | Moto = request.getfixturevalue(request.param)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    return server


def test_s3fs_lists_the_same_objects(store: S3, tmp_path: Path) -> None:
    bucket, files = store.new_bucket(), contents(MANY if isinstance(store, SeaweedFS) else 0)
    for path, data in files.items():
        store.put(bucket, f"data/{path}", data)
    store.put(bucket, "database/not-below", b"another prefix")
    store.put_parts(bucket, "data/parts", [bytes(5 << 20), b"last"])
    program = f"""
import s3fs
store = s3fs.S3FileSystem(key={store.access_key!r}, secret={store.secret_key!r}, endpoint_url={store.endpoint!r})
found = store.find({bucket + "/data"!r}, detail=True)
start = len({bucket + "/data/"!r})
result = {{path[start:]: [info["size"], info["ETag"].strip('"')] for path, info in found.items()}}
"""
    theirs = judged("s3fs", program, tmp_path / "home")
    mine = listed(f"s3://{bucket}/data/", endpoint=store.endpoint)
    assert {path: [entry["size"], entry["version"]] for path, entry in mine.items()} == theirs
    assert mine.keys() == {*files, "parts"}
    assert mine["parts"]["version"].endswith("-2")


LETTERS = "ab.-_~ +%&?#=;:,@!*'\"()[]{}<>|^`$\\\t\n\r\x01\x1f\x7f\u00a0éßñ日本\u200d🙂\u0301%2F%00"


def odd_keys(seed: int, number: int = 60) -> set[str]:
    """Keys of letters that XML, URLs and signatures treat in their own ways."""
    draw = random.Random(seed)

    def name() -> str:
        return "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 12))).strip(".") or "x"

    return {"/".join(name() for _ in range(draw.randint(1, 3))) for _ in range(number)}


@pytest.mark.parametrize("seed", range(3))
def test_s3fs_lists_the_same_odd_keys(store: S3, tmp_path: Path, seed: int) -> None:
    bucket, keys = store.new_bucket(), odd_keys(seed)
    taken = "\\" if isinstance(store, SeaweedFS) else "\n"  # SeaweedFS makes "/" of it; moto has no route for it
    keys = {key.replace(taken, "") or "x" for key in keys}
    keys = {key for key in keys if not any(other.startswith(key + "/") for other in keys)}
    for key in keys:
        store.put(bucket, f"data/{key}", key.encode())
    program = f"""
import s3fs
store = s3fs.S3FileSystem(key={store.access_key!r}, secret={store.secret_key!r}, endpoint_url={store.endpoint!r})
start = len({bucket + "/data/"!r})
found = store.find({bucket + "/data"!r}, detail=True)
result = {{path[start:]: [info["size"], info["ETag"].strip('"')] for path, info in found.items()}}
"""
    theirs = judged("s3fs", program, tmp_path / "home")
    mine = listed(f"s3://{bucket}/data/", endpoint=store.endpoint)
    assert {path: [entry["size"], entry["version"]] for path, entry in mine.items()} == theirs
    assert mine.keys() == keys
    report = load(
        Source.parse(f"s3://{bucket}/data/", None, {"endpoint": store.endpoint}), Target(tmp_path, "set"),
        Secrets(access_key=store.access_key, secret_key=store.secret_key),
    )  # fmt: skip
    assert report.files.loaded == len(keys)
    assert trees.contents(tmp_path / "set") == {key: key.encode() for key in keys}


# Hubs


@pytest.fixture(params=["model", "dataset"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def repo(hub: Hub, kind: Kind) -> Repo:
    hub.page = 100
    repo = hub.repo("owner/name", kind)
    repo.put_all(
        {**contents(), "model.safetensors": Virtual(3 << 20, seed=1), "sub/model.bin": Virtual(2 << 20, seed=2)}
    )
    return repo


def test_huggingface_hub_lists_the_same_files(hub: Hub, repo: Repo, kind: Kind, tmp_path: Path) -> None:
    program = f"""
from huggingface_hub import HfApi
rows = HfApi().list_repo_tree("owner/name", recursive=True, repo_type={kind!r})
files = [row for row in rows if hasattr(row, "size")]
result = {{f.path: [f.size, f"sha256:{{f.lfs.sha256}}" if f.lfs else f"gitblob:{{f.blob_id}}"] for f in files}}
"""
    theirs = judged("huggingface_hub", program, tmp_path / "home", HF_ENDPOINT=hub.url)
    mine = listed("hf://owner/name", endpoint=hub.url, repoType=kind.upper())
    assert {path: [entry["size"], entry["checksum"]] for path, entry in mine.items()} == theirs
    assert mine.keys() == repo.files.keys()


def test_modelscope_hub_lists_the_same_files(hub: Hub, repo: Repo, kind: Kind, tmp_path: Path) -> None:
    program = f"""
import modelscope_hub
rows = modelscope_hub.HubApi().list_repo_files("owner/name", {kind!r})
result = {{f.path: [f.size, f"sha256:{{f.sha256}}"] for f in rows if f.type == "blob"}}
"""
    environment = {"MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false"}
    theirs = judged("modelscope_hub", program, tmp_path / "home", **environment)
    mine = listed("ms://owner/name", endpoint=hub.url, repoType=kind.upper())
    assert {path: [entry["size"], entry["checksum"]] for path, entry in mine.items()} == theirs
    assert mine.keys() == repo.files.keys()


def test_huggingface_hub_reads_the_same_links(hub: Hub, repo: Repo, kind: Kind, tmp_path: Path) -> None:
    """Of a mirror that adds lines of its own."""
    hub.link = lambda url: ["</style.css>; rel=preload; as=style", f'<{url}>; rel="next"', "</help, me>; rel=help"]
    test_huggingface_hub_lists_the_same_files(hub, repo, kind, tmp_path)


def test_modelscope_hub_lists_as_much_of_a_model_that_is_cut(hub: Hub, tmp_path: Path) -> None:
    repo = hub.repo("owner/name")
    repo.put_all({f"{n % 7}/{n % 3}/{n:05}": b"" for n in range(3500)} | {f"top{n}": b"" for n in range(20)})
    test_modelscope_hub_lists_the_same_files(hub, repo, "model", tmp_path)
