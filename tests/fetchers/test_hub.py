"""How repositories on a hub are named, by the command line; what both hubs' sources refuse before anything is sent."""

import json
from pathlib import Path

import pytest

from dsload import Source
from dsload.errors import UsageError
from tests.contract.inside import run
from tests.servers.hub import Hub
from tests.servers.process import free_port

FILES = {"top": b"t", "sub/a": b"a", "sub/deep/b": b"b", "sub@v": b"@"}


def ls(hub: Hub, uri: str, *options: str) -> tuple[str, set[str]]:
    """The path and query of the request for the listing, and the paths that ls shows."""
    given = [word for option in options for word in ("-o", option)]
    done = run("ls", uri, "-o", f"endpoint={hub.url}", *given, "--output", "json")
    assert done.code == 0, done.err
    (listing,) = {r.target for r in hub.requests() if "/tree/" in r.target or "/repo/" in r.target}
    return listing, {row["path"] for row in json.loads(done.out)["entries"]}


@pytest.mark.parametrize(
    ("uri", "options", "kind", "id", "revision"),
    [
        ("hf://owner/name", [], "model", "owner/name", "main"),
        ("huggingface://owner/name", [], "model", "owner/name", "main"),
        ("hf://owner/name/", [], "model", "owner/name", "main"),
        ("hf://models/owner/name", [], "model", "owner/name", "main"),
        ("hf://gpt2", [], "model", "gpt2", "main"),
        ("hf://gpt2@v1", [], "model", "gpt2", "v1"),
        ("huggingface://gpt2?revision=v1", [], "model", "gpt2", "v1"),
        ("hf://datasets/owner/name", [], "dataset", "owner/name", "main"),
        ("hf://datasets/squad", [], "dataset", "squad", "main"),
        ("hf://datasets/owner/name@v1", [], "dataset", "owner/name", "v1"),
        ("hf://spaces/owner/name", [], "space", "owner/name", "main"),
        ("hf://owner/name", ["repoType=Space"], "space", "owner/name", "main"),
        ("huggingface://owner/name?repoType=DATASET", [], "dataset", "owner/name", "main"),
        ("hf://owner/name?repoType=dataset", ["repoType=MODEL"], "model", "owner/name", "main"),
        ("hf://owner/name@v1", [], "model", "owner/name", "v1"),
        ("hf://owner/name@refs/pr/1", [], "model", "owner/name", "refs/pr/1"),
        ("hf://owner/name@refs%2Fpr%2F1", [], "model", "owner/name", "refs/pr/1"),
        ("hf://owner/name@a%2Fbranch", [], "model", "owner/name", "a/branch"),
        ("hf://owner/name@main?revision=v1", [], "model", "owner/name", "v1"),
        ("hf://owner/name?revision=main", ["revision=v1"], "model", "owner/name", "v1"),
        ("hf://some/other", ["repo=owner/name"], "model", "owner/name", "main"),
    ],
)
def test_hugging_face_names(hub: Hub, uri: str, options: list[str], kind: str, id: str, revision: str) -> None:
    repo = hub.repo(id, kind)
    repo.put("old", b"old")
    for ref in ("v1", "refs/pr/1", "a/branch"):
        repo.branch(ref)
    repo.put_all(FILES)
    commit = repo.head if revision == "main" else repo.refs[revision]
    listing, paths = ls(hub, uri, *options)
    assert listing == f"/api/{kind}s/{id}/tree/{commit}?recursive=True&expand=False"
    assert paths == {"old", *(FILES if revision == "main" else ())}


@pytest.mark.parametrize(
    ("uri", "options", "call", "id", "revision"),
    [
        ("modelscope://owner/name", [], "models/{}/repo/files", "owner/name", "master"),
        ("ms://owner/name@v1", [], "models/{}/repo/files", "owner/name", "v1"),
        ("ms://owner/name", ["revision=v1"], "models/{}/repo/files", "owner/name", "v1"),
        ("ms://owner/name?repoType=DATASET", [], "datasets/{}/repo/tree", "owner/name", "master"),
        ("ms://datasets/owner/name", [], "datasets/{}/repo/tree", "owner/name", "master"),
        ("ms://a/b", ["repo=owner/name"], "models/{}/repo/files", "owner/name", "master"),
    ],
)
def test_modelscope_names(hub: Hub, uri: str, options: list[str], call: str, id: str, revision: str) -> None:
    repo = hub.repo(id, "dataset" if "datasets" in call else "model")
    repo.put_all(FILES)
    repo.tag("v1")
    listing, paths = ls(hub, uri, *options)
    assert listing.startswith(f"/api/v1/{call.format(id)}?Revision={revision}&Recursive=True")
    assert paths == set(FILES)


@pytest.mark.parametrize("scheme", ["hf", "ms"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sub", {"a", "deep/b"}),
        ("/sub/", {"a", "deep/b"}),
        ("/sub/deep", {"b"}),
        ("/sub/a", {"a"}),
        ("/top", {"top"}),
        ("@v1/sub", {"a", "deep/b"}),
        ("/sub%40v", {"sub@v"}),
    ],
)
def test_a_folder_or_file_of_a_repository(hub: Hub, scheme: str, path: str, expected: set[str]) -> None:
    repo = hub.repo("owner/name")
    repo.put_all(FILES)
    repo.tag("v1")
    assert ls(hub, f"{scheme}://owner/name{path}")[1] == expected


@pytest.mark.parametrize("scheme", ["hf", "ms"])
@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("://", [], "'' is not a repository; give hf://OWNER/NAME"),
        ("://owner/na*me", [], "'owner/na*me' is not a repository"),
        ("://../name", [], "'../name' is not a repository"),
        ("://owner/name@", [], "its '@' is not followed by a revision"),
        ("://owner/name", ["repo=a/b/c"], "'a/b/c' is not a repository"),
        ("://owner/name", ["repoType=TABLE"], "the type 'TABLE' does not exist; known: MODEL, DATASET, SPACE"),
        ("://datasets/owner/name", ["repoType=MODEL"], "it is MODEL, and the URI names a dataset"),
        ("://owner/name", ["weights=tflite"], "'tflite' is not a format of weights; known: safetensors, bin,"),
        ("://owner/name", ["colour=red"], "does not know it; its options are: endpoint, exclude, fallback, include"),
        ("://owner/name", ["endpoint=ftp://host"], "'ftp://host' is not a URL of a hub"),
        ("://owner/name", ["endpoint=http://user:secret@host"], "'http://host' is not a URL of a hub"),
        ("://owner/name", ["endpoint=http://host?x=1"], "is not a URL of a hub; give http://HOST:PORT"),
        ("://owner/name", ["fallback=s3://bucket/x"], "'s3://bucket/x' is neither a hub's URI nor an endpoint"),
        ("://owner/name", ["fallback=ms://o/n/x@"], "URI 'ms://o/n/x@': its '@' is not followed by a revision"),
        ("://owner/name?fallback=https://u:p@host", [], "option endpoint: 'https://host' is not a URL of a hub"),
        ("://owner/name@v1", ["fallback=ms://o/n"], "it names no revision, while the source does"),
    ],
)
def test_what_is_refused_at_once(scheme: str, uri: str, options: list[str], message: str, tmp_path: Path) -> None:
    given = [word for option in options for word in ("-o", option)]
    done = run("load", f"{scheme}{uri}", *given, "--mount-root", tmp_path, "--mount-path", "t")
    assert done.code == 2
    (line,) = done.errors
    assert message.replace("hf://", f"{scheme}://") in line
    assert "trying again" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_modelscope_has_no_spaces(tmp_path: Path) -> None:
    done = run("load", "ms://spaces/owner/name", "--mount-root", tmp_path, "--mount-path", "t")
    assert (done.code, "MODEL_SCOPE has models and datasets" in done.err) == (2, True)


@pytest.mark.parametrize(("scheme", "variable"), [("hf", "HF_ENDPOINT"), ("ms", "MODELSCOPE_ENDPOINT")])
def test_the_endpoint_of_the_environment(hub: Hub, scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repo("owner/name").put("a", b"a")
    monkeypatch.setenv(variable, hub.url + "/")
    assert run("ls", f"{scheme}://owner/name").code == 0
    monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    assert run("ls", f"{scheme}://owner/name", "-o", f"endpoint={hub.url}").code == 0
    monkeypatch.setenv(variable, "nowhere:port")
    done = run("ls", f"{scheme}://owner/name")
    assert (done.code, f"variable {variable}" in done.err) == (2, True)


def test_two_revisions_of_an_old_model_are_two_sources() -> None:
    one, other, third = (Source.parse(uri) for uri in ("hf://gpt2@v1", "hf://gpt2@v2", "hf://bert@v1"))
    assert str(one) == "hf://gpt2/@v1"
    assert len({one.identity(), other.identity(), third.identity()}) == 3
    with pytest.raises(UsageError, match="what follows its '#'"):
        Source.parse("hf://owner/name#x")
