"""The hub is what the official clients of Hugging Face and ModelScope take for the real ones."""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.servers.fault import ALWAYS
from tests.servers.hub import Hub, Repo, storage_path
from tests.servers.orders import Body, Virtual, close, digest, status
from tests.servers.process import PIP, find
from tests.servers.tls import CA

FILES: dict[str, Body] = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": Virtual(2_500_000),
    "a/b/c d+#?&é%41.txt": b"odd",
    "a/big.bin": Virtual(1 << 20, seed=2),
    "a b/c.json": b"[]",
}


class Client:
    """Runs the official clients in processes of their own, at home in a temporary directory."""

    def __init__(self, hub: Hub, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "MODELSCOPE_ENDPOINT": hub.url,
            "MODELSCOPE_CACHE": str(home / "modelscope"),
            **environment,
        }

    def run(self, *command: str) -> str:
        """What the command says; it must succeed."""
        run = subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def python(self, script: str) -> Any:
        """What the script puts into `result`, by way of JSON; `api` is huggingface_hub's or modelscope_hub's."""
        find("hf", "huggingface_hub", PIP)
        find("modelscope", "modelscope_hub", PIP)
        imports = "import json, huggingface_hub, modelscope_hub, modelscope_hub._legacy_api\nresult = {}\n"
        end = "\nprint('\\n' + json.dumps(result))"
        return json.loads(self.run(sys.executable, "-c", imports + script + end).splitlines()[-1])

    def downloaded(self, name: str) -> dict[str, bytes]:
        """The files below a directory of the home, but for the client's own."""
        root = self.home / name
        files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        return {path: file.read_bytes() for path, file in files.items() if not path.startswith(".cache/")}


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(hub, tmp_path)


@pytest.fixture
def repo(hub: Hub) -> Repo:
    repo = hub.repo("owner/name")
    repo.put_all(FILES)
    return repo


def exact(files: Mapping[str, Body]) -> dict[str, bytes]:
    return {path: body[:] for path, body in files.items()}


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """One request, redirects not followed; ``_`` in header names means ``-``."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"{parts.path}?{parts.query}", headers=named)
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


def ask_json(url: str, **headers: str) -> Any:
    return json.loads(ask(url, **headers)[2])


# Hugging Face


def test_huggingface_hub_downloads(hub: Hub, repo: Repo, client: Client) -> None:
    hub.page = 3
    repo.tag("v1/a")
    repo.put("config.json", b"newer")
    repo.branch("refs/pr/1")
    repo.remove("a/big.bin", "a b/c.json")
    hub.repo("gpt2").put("config.json", b"legacy")
    hub.repo("owner/name", "dataset").put_all({"data/train.csv": b"1,2", "data/big": Virtual(1 << 20)})
    hub.tokens["hf_x"] = {"*"}
    found = client.python("""
from huggingface_hub import snapshot_download
snapshot_download("owner/name", local_dir="main", token="hf_x")
snapshot_download("owner/name", local_dir="tag", revision="v1/a", token="hf_x")
snapshot_download("owner/name", local_dir="pr", revision="refs/pr/1")
snapshot_download("owner/name", local_dir="data", repo_type="dataset")
result["cached"] = open(snapshot_download("gpt2") + "/config.json").read()
api = huggingface_hub.HfApi()
tree = list(api.list_repo_tree("owner/name", recursive=True, revision="v1/a"))
result["tree"] = {f.path: (f.size, f.blob_id, f.lfs and f.lfs.sha256) for f in tree if hasattr(f, "size")}
result["folders"] = [f.path for f in tree if not hasattr(f, "size")]
result["expanded"] = [f.last_commit.oid for f in api.list_repo_tree("owner/name", "a b", revision="v1/a", expand=True)]
info = api.repo_info("owner/name", revision="v1/a", files_metadata=True)
result["siblings"] = {f.rfilename: (f.size, f.blob_id, f.lfs and f.lfs.sha256) for f in info.siblings}
result["sha"] = [info.sha, api.repo_info("owner/name").sha]
result["refs"] = [ref.name for ref in api.list_repo_refs("owner/name").tags]
""")
    assert client.downloaded("tag") == exact(FILES)
    assert client.downloaded("pr") == exact(FILES | {"config.json": b"newer"})
    assert client.downloaded("main").keys() == FILES.keys() - {"a/big.bin", "a b/c.json"}
    assert client.downloaded("data") == {"data/train.csv": b"1,2", "data/big": Virtual(1 << 20)[:]}
    assert found["cached"] == "legacy"

    empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # what git hash-object says of it
    assert found["tree"]["empty"] == [0, empty, None]
    assert found["tree"]["a/big.bin"][::2] == [1 << 20, digest(FILES["a/big.bin"]).hexdigest()]
    assert found["siblings"] == found["tree"]
    assert found["tree"].keys() == FILES.keys()
    assert found["folders"] == ["a b", "a", "a/b"]
    assert found["sha"] == [repo.refs["v1/a"], repo.head]
    assert found["expanded"] == [repo.refs["v1/a"]]
    assert found["refs"] == ["v1/a"]
    assert hub.storage.bytes_sent() > 0
    assert hub.storage.leaked == []


def test_huggingface_hub_is_refused(ca: CA, tmp_path: Path) -> None:
    with Hub(tls=ca) as hub:
        for name in ("open", "private", "gated"):
            hub.repo(f"o/{name}").put("a", b"a")
        hub.repo("o/private").private = hub.repo("o/gated").gated = True
        hub.tokens |= {"all": {"*"}, "other": {"o/open"}, "private": {"o/private"}}
        client = Client(hub, tmp_path, SSL_CERT_FILE=str(ca.bundle))
        found = client.python("""
def error(token, repo, file="a", revision=None):
    try:
        huggingface_hub.hf_hub_download("o/" + repo, file, revision=revision, token=token, local_dir=f"{token}{repo}")
    except Exception as e:
        return [type(e).__name__, e.response.status_code]
for token in (None, "other", "wrong", "private", "all"):
    result[str(token)] = [error(token, repo) for repo in ("none", "private", "gated", "open")]
result["revision"] = error(None, "open", revision="none")
result["entry"] = error(None, "open", file="none")
api = huggingface_hub.HfApi()
result["public"] = [api.repo_info("o/gated").gated, [f.path for f in api.list_repo_tree("o/gated")]]
result["whoami"] = api.whoami(token="all")["name"]
""")
    none, gated, wrong = ["RepositoryNotFoundError", 404], ["GatedRepoError", 403], ["HfHubHTTPError", 401]
    assert found["None"] == [["RepositoryNotFoundError", 401]] * 2 + [["GatedRepoError", 401], None]
    assert found["other"] == [none, none, gated, None]
    assert found["private"] == [none, None, gated, None]
    assert found["all"] == [none, None, None, None]
    assert found["wrong"] == [wrong] * 4
    assert (found["revision"], found["entry"]) == (["RevisionNotFoundError", 404], ["RemoteEntryNotFoundError", 404])
    assert (found["public"], found["whoami"]) == (["auto", ["a"]], "user")


def test_hf_command(hub: Hub, repo: Repo, client: Client) -> None:
    hub.tokens["hf_x"] = {"*"}
    repo.private = True
    hub.storage.order(storage_path(repo.files["a/big.bin"]), close(1000))
    hf = find("hf", "huggingface_hub", PIP)
    client.run(hf, "download", "owner/name", "--local-dir", "out", "--token", "hf_x")
    assert client.downloaded("out") == exact(FILES)
    assert [r.sent for r in hub.storage.requests(storage_path(repo.files["a/big.bin"]))] == [1000, 1 << 20]
    assert hub.storage.leaked == []


def test_resolve_by_hand(hub: Hub, repo: Repo) -> None:
    file, url = repo.files["a/big.bin"], f"{hub.url}/owner/name/resolve/refs%2Fpr%2F1/"
    repo.branch("refs/pr/1")
    code, headers, _ = ask(url + "a/big.bin")
    assert (code, headers["X-Linked-Size"], headers["X-Linked-Etag"]) == (302, str(file.size), f'"{file.sha256}"')
    assert (headers["X-Repo-Commit"], headers["ETag"]) == (repo.head, f'"{file.oid}"')
    code, headers, body = ask(headers["Location"], Range="bytes=5-7")
    assert (code, body, file.sha256 in headers["ETag"]) == (206, file.body[5:8], False)
    code, headers, body = ask(url + quote("a/b/c d+#?&é%41.txt"), Range="bytes=1-")
    assert (code, body, headers["X-Repo-Commit"], len(headers["ETag"])) == (206, b"dd", repo.head, 42)
    hub.lacks = {"commit"}
    assert ask(url + "empty", "HEAD")[1]["X-Repo-Commit"] is None


def test_signatures_expire(hub: Hub, repo: Repo) -> None:
    url = f"{hub.url}/owner/name/resolve/main/a/big.bin"
    first, second = (ask(url, "HEAD")[1]["Location"] for _ in range(2))
    assert first != second
    assert [ask(signed)[0] for signed in (first, second, first, first[:-1], first.partition("?")[0])] == [
        200, 200, 200, 403, 403,
    ]  # fmt: skip
    hub.expire_signatures()
    assert ask(first)[2].startswith(b"<?xml")
    hub.signed_for = 2
    once = ask(url, "HEAD")[1]["Location"]
    other = storage_path(repo.files["model.safetensors"])
    assert ask(once.replace(storage_path(repo.files["a/big.bin"]), other))[0] == 403
    assert [ask(once)[0] for _ in range(2)] == [200, 403]
    ask(first, Authorization="Bearer x")
    assert [r.headers["authorization"] for r in hub.storage.leaked] == ["Bearer x"]
    hub.clear()
    assert hub.storage.leaked == hub.storage.requests() == hub.requests() == []


def test_storage_elsewhere() -> None:
    with Hub(storage_url="http://nginx:8080/objects/") as hub:
        hub.repo("o/n").put("big", b"x", lfs=True)
        location = ask(f"{hub.url}/o/n/resolve/main/big", "HEAD")[1]["Location"]
        assert location.startswith(f"http://nginx:8080/objects/{digest(b'x').hexdigest()}?")
        hub.clear()


def test_careless_mirror(hub: Hub, repo: Repo) -> None:
    hub.home_host, hub.page = "https://huggingface.co", 2
    tree = f"{hub.url}/api/models/owner/name/tree/main?recursive=true"
    link = ask(tree)[1]["Link"]
    assert link.startswith("<https://huggingface.co/api/models/owner/name/tree/main?")
    code, headers, _ = ask(f"{hub.url}/owner/name/resolve/main/a%20b/c.json")
    cached = f"/api/resolve-cache/models/owner/name/{repo.head}/a%20b/c.json"
    assert (code, headers["Location"]) == (307, f"https://huggingface.co{cached}")
    assert ask(hub.url + cached)[::2] == (200, b"[]")
    hub.home_host = ""
    assert ask(f"{hub.url}/owner/name/resolve/main/a%20b/c.json")[1]["Location"] == cached
    hub.lacks = {"links", "revision"}
    code, headers, body = ask(tree)
    assert (headers["Link"], len(json.loads(body))) == (None, 2)
    code, headers, _ = ask(f"{hub.url}/api/models/owner/name/revision/main")
    assert (code, headers["X-Error-Code"]) == (404, None)
    assert ask_json(f"{hub.url}/api/models/owner/name")["sha"] == repo.head
    assert ask(f"{hub.url}/api/models/owner/name/tree/main/none")[1]["X-Error-Code"] == "EntryNotFound"


def test_commits_are_immutable_and_the_same_each_time(hub: Hub) -> None:
    one = hub.repo("o/n")
    ids = [one.put("d/a", b"1"), one.put("b", b"2"), one.remove("d/a")]
    assert one.head == ids[-1]
    with Hub() as again:
        other = again.repo("o/n")
        assert [other.put("d/a", b"1"), other.put("b", b"2"), other.remove("d/a")] == ids
    assert [list(one.commits[id].files) for id in ids] == [["d/a"], ["d/a", "b"], ["b"]]
    first, second = (one.commits[id] for id in ids[:2])
    assert (second.files["d/a"].commit, second.files["b"].commit) == (first.id, second.id)
    assert [row.path for row in second.rows()] == ["b", "d", "d/a"]


# ModelScope


def test_modelscope_hub_downloads(hub: Hub, repo: Repo, client: Client) -> None:
    repo.tag("v1")
    repo.put("config.json", b"newer")
    data = hub.repo("owner/data", "dataset")
    data.put_all({f"d{n % 3}/{n}.csv": str(n).encode() for n in range(250)} | {"big": Virtual(1 << 20)})
    deep = hub.repo("owner/deep")
    deep.put_all({f"{a}/{b}/{c}": f"{a}{b}{c}".encode() for a in range(3) for b in range(3) for c in range(3)})
    hub.cut = 5
    found = client.python("""
modelscope_hub._legacy_api.REPO_FILES_TRUNCATION_LIMIT = 5
api = modelscope_hub.HubApi()
result["deep"] = sorted(f.path for f in api.list_repo_files("owner/deep", "model") if f.type == "blob")
modelscope_hub._legacy_api.REPO_FILES_TRUNCATION_LIMIT = 3000
result["cut"] = len(api.list_repo_files("owner/deep", "model"))
result["top"] = [f.path for f in api.list_repo_files("owner/deep", "model", recursive=False)]
result["revisions"] = [row["Revision"] for row in api.list_repo_revisions("owner/name", "model")]
""")
    assert found["deep"] == sorted(deep.files)
    assert (found["cut"], found["top"]) == (5, ["0", "1", "2"])
    assert found["revisions"] == ["v1", "master"]
    hub.cut = 3000
    hub.clear()
    client.python("""
api = modelscope_hub.HubApi()
api.download_repo("owner/name", "model", local_dir="main")
api.download_repo("owner/name", "model", local_dir="tag", revision="v1")
api.download_repo("owner/data", "dataset", local_dir="data", max_workers=8)
""")
    assert client.downloaded("tag") == exact(FILES)
    assert client.downloaded("main") == exact(FILES | {"config.json": b"newer"})
    assert client.downloaded("data") == {path: file.body[:] for path, file in data.files.items()}
    assert [r.target[-18:] for r in hub.requests("/api/v1/datasets/owner/data/repo/tree")] == [
        "ber=1&PageSize=200",
        "ber=2&PageSize=200",
    ]
    assert hub.storage.leaked == []


def test_modelscope_hub_is_refused(hub: Hub, repo: Repo, client: Client) -> None:
    repo.private = True
    hub.tokens = {"ms-x": {"owner/name"}, "ms-y": set()}
    found = client.python("""
def error(token, repo, revision=None):
    try:
        modelscope_hub.HubApi(token=token).list_repo_files(repo, "model", revision=revision)
    except Exception as e:
        return type(e).__name__
result["name"] = [error(token, "owner/name") for token in (None, "ms-y", "ms-x")]
result["none"] = [error("ms-x", "owner/none"), error("ms-x", "owner/name", "none")]
""")
    assert found["name"] == ["AuthenticationError", "PermissionDeniedError", None]
    assert found["none"] == ["NotExistError"] * 2


def test_modelscope_command(hub: Hub, repo: Repo, client: Client) -> None:
    hub.tokens["ms-x"] = {"*"}
    repo.private = True
    hub.storage.order(storage_path(repo.files["a/big.bin"]), close(1000))
    modelscope = find("modelscope", "modelscope_hub", PIP)
    client.run(modelscope, "--token", "ms-x", "download", "owner/name", "--local-dir", "out")
    assert client.downloaded("out") == exact(FILES)
    first, second = hub.storage.requests(storage_path(repo.files["a/big.bin"]))
    assert (first.sent, second.headers["range"]) == (1000, "bytes=1000-")
    # the client's cookie is for the host, whatever the port: here, though not in the wild, the storage gets it
    assert {r.headers.get("authorization", r.headers.get("cookie")) for r in hub.storage.leaked} == {
        "m_session_id=ms-x"
    }


def test_modelscope_by_hand(hub: Hub, repo: Repo) -> None:
    api = f"{hub.url}/api/v1/models/owner/name"
    listed = ask_json(f"{api}/repo/files?Recursive=True")
    rows = {row["Path"]: row for row in listed["Data"]["Files"]}
    assert (listed["Success"], listed["Code"], listed["Data"]["LatestCommitter"]["Id"]) == (True, 200, repo.head)
    assert (rows["a"]["Type"], rows["a/big.bin"]["IsLFS"], rows["empty"]["IsLFS"]) == ("tree", True, False)
    assert {path: row["Sha256"] for path, row in rows.items() if row["Type"] == "blob"} == {
        path: digest(body).hexdigest() for path, body in FILES.items()
    }
    for query, shown in {
        "recursive=True": 5,
        "Recursive=yes": 5,
        "Recursive=true": 9,
        "Root=a": 2,
        "Root=/": 5,
    }.items():
        assert len(ask_json(f"{api}/repo/files?{query}")["Data"]["Files"]) == shown
    old = repo.head
    repo.put("config.json", b"0123456789")
    rows = {row["Path"]: row for row in ask_json(f"{api}/repo/files?Recursive=True")["Data"]["Files"]}
    assert (rows["config.json"]["Revision"], rows["empty"]["Revision"]) == (repo.head, old)
    file = f"{api}/repo?FilePath=config.json"
    assert ask(f"{file}&Revision={old}")[2] == b"{}"
    assert ask(file, Range="bytes=2-4")[::2] == (206, b"234")
    hub.lacks = {"range", "commit", "unknown"}
    assert ask(file, Range="bytes=2-4")[::2] == (200, b"234")
    assert ask(file, Range="bytes=2-")[::2] == (200, b"0123456789")
    assert ask_json(f"{api}/repo/files?Revision=none")["Data"]["Files"] is None
    assert ask_json(f"{api}/repo/files")["Data"]["LatestCommitter"]["Id"] == ""


def test_modelscope_errors_and_orders(hub: Hub, repo: Repo) -> None:
    api = f"{hub.url}/api/v1/models/owner"
    code, _, body = ask(f"{api}/name/repo?FilePath=none")
    assert (code, json.loads(body)["Code"], json.loads(body)["Success"]) == (404, 10010205001, False)
    hub.envelope_errors = True
    assert [ask(f"{api}/{path}")[0] for path in ("name/repo?FilePath=none", "none/repo/files", "none")] == [200] * 3
    repo.private, hub.tokens["ms-x"] = True, {"owner/name"}
    assert not ask_json(f"{api}/name/revisions")["Success"]
    assert ask_json(f"{api}/name/revisions", Cookie="a=b; m_session_id=ms-x")["Success"]
    tree = "/api/v1/datasets/owner/data/repo/tree"
    hub.repo("owner/data", "dataset").put_all({str(n): b"" for n in range(5)})
    hub.order(tree, status(403), when=lambda request: "PageNumber=2" in request.target, times=ALWAYS)
    pages = [ask(f"{hub.url}{tree}?PageSize=2&PageNumber={n}") for n in (1, 2, 3)]
    assert [page[0] for page in pages] == [200, 403, 200]
    assert (json.loads(pages[2][2])["Data"]["TotalCount"], len(json.loads(pages[2][2])["Data"]["Files"])) == (5, 1)
