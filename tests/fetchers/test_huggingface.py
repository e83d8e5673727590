"""Hugging Face: pages, refusals, and mirrors: ours that forgets much, and olah."""

import json
from pathlib import Path

import pytest

from tests.contract.inside import run as inside
from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, ANY
from tests.servers.hub import Hub, Repo
from tests.servers.olah import Olah
from tests.servers.orders import Virtual, extra, redirect, status

MIB = 1 << 20
SITE = "https://huggingface.co"
TREE = {"config.json": b"{}", "sub/tokenizer.json": b"t" * 5000, "model.safetensors": Virtual(3 * MIB, seed=1)[:]}


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model."""
    repo = hub.repo("owner/name")
    repo.put_all(TREE)
    return repo


def bring(hub: Hub | Olah, volume: Path, *arguments: object, uri: str = "hf://owner/name", **env: str) -> Run:
    return run(uri, volume, "-o", f"endpoint={hub.url}", *arguments, env=env)


# The listing


def test_a_listing_of_many_pages(hub: Hub, volume: Path) -> None:
    hub.page = 7
    files = {f"{n % 5}/{n}": b"%d" % n for n in range(50)}
    hub.repo("owner/name").put_all(files)
    done = bring(hub, volume)
    assert (done.code, done.tree) == (0, files)
    pages = [request for request in hub.requests() if "/tree/" in request.target]
    assert len(pages) == 8  # of 50 files in 5 folders


def test_pages_that_go_in_circles(hub: Hub, repo: Repo, volume: Path) -> None:
    tree = f"/api/models/owner/name/tree/{repo.head}"
    hub.order(tree, extra({"Link": f'<{hub.url}{tree}?recursive=True&cursor=MA%3D%3D>; rel="next"'}), times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, "form a loop" in done.error) == (5, True)
    assert len(hub.requests()) < 5


def test_a_commit_is_not_asked_for(hub: Hub, repo: Repo) -> None:
    done = inside("ls", f"hf://owner/name@{repo.head}", "-o", f"endpoint={hub.url}")
    assert done.out.splitlines()[0] == f"revision {repo.head}"
    assert len(hub.requests()) == 1


# Refusals


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "the repository is gated, and no token was given; accept its terms at {url}/owner/name, then put a token"),
        ("outsider", "this token's account has no access to it; ask for it at {url}/owner/name"),
    ],
)
def test_a_gated_repository(hub: Hub, repo: Repo, volume: Path, tmp_path: Path, token: str, message: str) -> None:
    repo.gated = True
    hub.tokens["outsider"] = set()
    write_secrets(tmp_path / "secrets", token=token)
    done = bring(hub, volume)
    assert done.code == 3
    assert message.format(url=hub.url) in done.error
    assert done.tree == {}


def test_a_gated_repository_for_one_who_accepted(hub: Hub, repo: Repo, volume: Path, tmp_path: Path) -> None:
    repo.gated = True
    hub.tokens["member"] = {"owner/name"}
    write_secrets(tmp_path / "secrets", token="member")
    assert bring(hub, volume).tree == TREE


@pytest.mark.parametrize(
    ("uri", "token", "code", "message"),
    [
        ("hf://owner/nothing", "", 3, "answered 401 Unauthorized, and no token was given; check owner and name, or"),
        ("hf://owner/nothing", "good", 4, "has no model owner/nothing at revision 'main', or this token may not see"),
        ("hf://owner/private", "", 3, "answered 401 Unauthorized, and no token was given"),
        ("hf://owner/private", "good", 4, "has no model owner/private at revision 'main', or this token may not see"),
        (
            "hf://owner/name",
            "bad",
            3,
            "refused the token: Invalid credentials in Authorization header; check the token",
        ),
        ("hf://datasets/owner/name", "good", 4, "has no dataset owner/name"),
        ("hf://owner/name@nope", "", 4, "the model owner/name has no revision 'nope'; give a branch, tag or commit"),
        (f"hf://owner/name@{'0' * 40}", "", 4, f"the model owner/name has no revision '{'0' * 40}'"),
        ("hf://owner/name/nope", "", 4, "owner/name has nothing at nope"),
    ],
)
def test_what_is_not_there_or_not_for_all(
    hub: Hub, repo: Repo, volume: Path, tmp_path: Path, uri: str, token: str, code: int, message: str
) -> None:
    hub.repo("owner/private").private = True
    hub.tokens["good"] = {"owner/name"}
    write_secrets(tmp_path / "secrets", token=token)
    done = bring(hub, volume, uri=uri)
    assert (done.code, message in done.error) == (code, True), done.error


def test_a_mirror_without_codes_that_refuses(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.order(ANY, status(403), times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, f"{hub.url} answered 403 Forbidden" in done.error) == (3, True)


@pytest.mark.parametrize("value", ["1", "true", "ON", "yes"])
def test_offline(hub: Hub, repo: Repo, volume: Path, value: str) -> None:
    done = bring(hub, volume, HF_HUB_OFFLINE=value)
    assert (done.code, "variable HF_HUB_OFFLINE: it forbids every request to the hub; unset it" in done.error) == (
        2,
        True,
    )
    assert hub.requests() == []
    assert bring(hub, volume, HF_HUB_OFFLINE="0").code == 0


# Mirrors


def test_a_mirror_that_lacks_the_revision_call(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.lacks = {"revision"}
    done = bring(hub, volume)
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, repo.head)


def test_a_mirror_that_tells_no_commit(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.lacks = {"revision", "commit"}
    done = bring(hub, volume)
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, None)
    assert "does not say which commit main is" in done.result.err
    assert bring(hub, volume).report["bytes"]["moved"] == 0


def test_a_mirror_is_not_left_for_the_site(hub: Hub, repo: Repo, volume: Path, tmp_path: Path) -> None:
    """The site cannot be reached from here: a request to it would fail the load."""
    hub.page, hub.home_host = 2, SITE
    hub.tokens["token"] = {"*"}
    write_secrets(tmp_path / "secrets", token="token")
    done = bring(hub, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert any(request.target.startswith("/api/resolve-cache/") for request in hub.requests())
    assert len([request for request in hub.requests() if "cursor=" in request.target]) >= 1


@pytest.mark.parametrize("site", [SITE, "https://hf.co"])
def test_a_mirror_that_sends_everything_to_the_site(hub: Hub, repo: Repo, volume: Path, site: str) -> None:
    path = f"/owner/name/resolve/{repo.head}/config.json"
    hub.order(path, redirect(site + path), times=ALWAYS)
    done = bring(hub, volume)
    assert done.code == 3
    assert (
        f"the mirror sends the request on to {site.removeprefix('https://')}, which it should stand in for"
        in done.error
    )
    assert len(hub.requests(path)) == 1


def test_a_repository_that_was_renamed(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.order("/api/models/old/name/revision/main", redirect("/api/models/owner/name/revision/main", 307))
    tree = f"/api/models/old/name/tree/{repo.head}"
    hub.order(tree, redirect(f"{tree.replace('old', 'owner')}?recursive=True&expand=False", 307))
    for path in TREE:
        old = f"/old/name/resolve/{repo.head}/{path}"
        hub.order(old, redirect(old.replace("old", "owner"), 307))
    assert bring(hub, volume, uri="hf://old/name").tree == TREE


# olah


def test_olah(olah: Olah, volume: Path) -> None:
    first = olah.make_model("dsload/loads", TREE, tag="v1")
    second = olah.make_model("dsload/loads", {**TREE, "config.json": b"[]"})
    done = bring(olah, volume, uri="hf://dsload/loads")
    attributes = done.tree.pop(".gitattributes", b"")
    assert (done.code, done.report["revision"], done.report["unverified"]) == (0, second, 0)
    assert {**done.tree, ".gitattributes": attributes} == {**TREE, "config.json": b"[]", ".gitattributes": attributes}
    assert bring(olah, volume, uri="hf://dsload/loads").report["bytes"]["moved"] == 0
    old = bring(olah, volume, uri="hf://dsload/loads@v1")
    assert (old.code, old.report["revision"], old.tree["config.json"]) == (0, first, b"{}")
    assert old.report["files"]["loaded"] == 1


@pytest.mark.parametrize("uri", ["hf://dsload/nothing", "hf://dsload/there@nope", f"hf://dsload/there@{'0' * 40}"])
def test_olah_has_no_such_thing(olah: Olah, volume: Path, uri: str) -> None:
    olah.make_model("dsload/there", {"a": b"a"})
    done = bring(olah, volume, "--retry-budget", "2", uri=uri)
    assert done.code == 4, done.error
    assert ("no revision" if "@0" in uri else "has no model dsload/") in done.error


def test_olah_lists(olah: Olah) -> None:
    commit = olah.make_model("dsload/lists", TREE)
    done = inside("ls", "hf://dsload/lists", "-o", f"endpoint={olah.url}", "--output", "json")
    listed = json.loads(done.out)
    assert listed["revision"] == commit
    assert {row["path"] for row in listed["entries"]} == {*TREE, ".gitattributes"}
    assert all(row["checksum"] for row in listed["entries"])
