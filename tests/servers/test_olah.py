"""How olah answers: the Hub's API as a loader has to know it, and where a mirror departs from the Hub."""

import hashlib
import http.client
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.servers.olah import Olah
from tests.servers.process import LOOPBACK

NAME = "test-olah/model"
API = f"/api/models/{NAME}"
ODD, WEIGHTS, CONFIG = "sub/a b+c%41&#é.txt", "model-1.safetensors", "config.json"
FILES = {CONFIG: b"{}", ODD: b"x" * 5000, WEIGHTS: bytes(range(256)) * 100, "empty": b""}


@pytest.fixture(scope="module")
def commit(olah: Olah) -> str:
    """The commit that is tagged v1; main has moved on."""
    first = olah.make_model(NAME, FILES, tag="v1")
    olah.make_model(NAME, {CONFIG: b"{1}"}, lfs=())
    return first


def ask(olah: Olah, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request, redirects not followed."""
    with closing(http.client.HTTPConnection(LOOPBACK, olah.port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


def ask_json(olah: Olah, path: str) -> Any:
    code, _, body = ask(olah, path)
    assert code == 200, body
    return json.loads(body)


def git_oid(data: bytes) -> str:
    """The id of a blob in git."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


def file_url(path: str, revision: str = "v1", name: str = NAME) -> str:
    return f"/{name}/resolve/{revision}/{quote(path)}"


def test_a_revision_is_a_tag_a_commit_or_a_branch(olah: Olah, commit: str) -> None:
    for revision in ("v1", commit, commit[:8]):
        info = ask_json(olah, f"{API}/revision/{revision}")
        assert (info["sha"], info["private"], info["gated"]) == (commit, False, False)
        assert {row["rfilename"] for row in info["siblings"]} == {*FILES, ".gitattributes"}  # no sizes
    info = ask_json(olah, f"{API}/revision/main")
    assert info["sha"] != commit
    assert info["siblings"] == [{"rfilename": CONFIG}]


def test_a_tree_is_one_page_behind_a_redirect(olah: Olah, commit: str) -> None:
    for revision in ("v1", commit):
        code, headers, _ = ask(olah, f"{API}/tree/{revision}?recursive=True&limit=2")
        listing = f"{API}/tree/{revision}/?recursive=True&limit=2"
        assert (code, headers["Location"]) == (307, olah.url + listing)  # of the Host header
        code, headers, body = ask(olah, listing)
        assert (code, headers["Link"]) == (200, None)
        rows = {row["path"]: row for row in json.loads(body)}
        assert rows.keys() == {*FILES, ".gitattributes", "sub"}
        assert rows["sub"]["type"] == "directory"
        for path in (CONFIG, ODD, "empty"):
            data = FILES[path]
            assert rows[path] == {"type": "file", "oid": git_oid(data), "size": len(data), "path": path}
        assert (rows[WEIGHTS]["size"], rows[WEIGHTS]["lfs"]) == (
            len(FILES[WEIGHTS]),
            {"oid": hashlib.sha256(FILES[WEIGHTS]).hexdigest(), "size": len(FILES[WEIGHTS]), "pointerSize": 130},
        )
    assert [row["path"] for row in ask_json(olah, f"{API}/tree/v1/sub?recursive=True")] == [ODD]  # no redirect


def test_head_states_length_commit_and_a_bare_etag(olah: Olah, commit: str) -> None:
    for path, data in FILES.items():
        etag = hashlib.sha256(data).hexdigest() if path == WEIGHTS else git_oid(data)
        code, headers, _ = ask(olah, file_url(path), "HEAD", Range="bytes=1-1")
        assert (code, headers["Content-Length"], headers["ETag"]) == (200, str(len(data)), etag)
        assert headers["X-Repo-Commit"] == commit
        assert not {"x-linked-etag", "x-linked-size", "accept-ranges"} & {name.lower() for name in headers}


def test_get_is_whole_and_chunked_whatever_the_range(olah: Olah, commit: str) -> None:
    for path, data in FILES.items():
        for asked in ({}, {"Range": "bytes=1-1"}):
            code, headers, body = ask(olah, file_url(path, commit), **asked)
            assert (code, headers["Transfer-Encoding"], body) == (200, "chunked", data)
            assert not {"content-length", "etag", "x-repo-commit"} & {name.lower() for name in headers}


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        ("GET", "/api/models/test-olah/none/revision/main", 401, "RepoNotFound"),
        ("GET", "/api/models/test-olah/none/tree/main/", 401, "RepoNotFound"),
        ("GET", API, 401, "RepoNotFound"),  # the repository is there
        ("GET", f"{API}/revision/none", 401, "RepoNotFound"),
        ("GET", f"{API}/tree/none/", 401, "RepoNotFound"),
        ("GET", f"{API}/tree/v1/none", 401, "RepoNotFound"),
        ("GET", f"{API}/revision/{'0' * 40}", 500, None),
        ("GET", f"{API}/tree/{'0' * 40}/", 404, "EntryNotFound"),
        ("GET", f"{API}/revision/refs%2Fpr%2F1", 404, "RepoNotFound"),
        ("HEAD", file_url("none"), 401, "RepoNotFound"),
        ("GET", file_url("none"), 500, None),
        ("HEAD", file_url(CONFIG, "none"), 401, "RepoNotFound"),
        ("GET", file_url(CONFIG, "none"), 401, "RepoNotFound"),
        ("GET", file_url(CONFIG, name="test-olah/none"), 401, "RepoNotFound"),
    ],
)
def test_what_is_missing(olah: Olah, commit: str, method: str, path: str, code: int, error: str | None) -> None:
    status, headers, _ = ask(olah, path, method)
    assert (status, headers["X-Error-Code"]) == (code, error)


def test_a_small_binary_file_breaks_it_unless_it_is_an_lfs_object(olah: Olah) -> None:
    name, data = "test-olah/binary", b"\xff" * 130
    for lfs, code in (((), 500), (("*.bin",), 200)):
        olah.make_model(name, {"a.bin": data}, lfs)
        asked = [f"/api/models/{name}/tree/main/", file_url("a.bin", "main", name)]
        assert [ask(olah, path)[0] for path in asked] == [code, code]


def test_the_official_client_lists_and_loads(olah: Olah, commit: str, tmp_path: Path) -> None:
    name = "test-olah/data"
    olah.make_dataset(name, FILES)
    script = (
        "import sys, json; from huggingface_hub import HfApi; api = HfApi(endpoint=sys.argv[1])\n"
        "rows = api.list_repo_tree(sys.argv[2], recursive=True, revision='v1')\n"
        "print(json.dumps({r.path: [r.size, r.lfs and r.lfs.sha256] for r in rows if hasattr(r, 'size')}))\n"
        "api.snapshot_download(sys.argv[3], repo_type='dataset', local_dir='data')\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HOME": str(tmp_path), "HF_HOME": str(tmp_path)}
    argv = [sys.executable, "-c", script, olah.url, NAME, name]
    run = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)
    assert rows.pop(".gitattributes")[1] is None
    assert rows == {
        path: [len(data), hashlib.sha256(data).hexdigest() if path == WEIGHTS else None] for path, data in FILES.items()
    }
    assert {path: (tmp_path / "data" / path).read_bytes() for path in FILES} == FILES
