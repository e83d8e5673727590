"""ModelScope: listings that are cut, paged or refused now and then, commits that it does not state, its errors."""

from pathlib import Path

import pytest

from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, ANY
from tests.servers.hub import Hub, Repo
from tests.servers.orders import Virtual, redirect, status
from tests.servers.threaded import Request

TREE = {"config.json": b"{}", "sub/vocab.txt": b"v" * 5000, "model.safetensors": Virtual(3 << 20, seed=1)[:]}
CUT = 3000


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model."""
    repo = hub.repo("owner/name")
    repo.put_all(TREE)
    return repo


@pytest.fixture
def dataset(hub: Hub) -> Repo:
    """A dataset of three pages."""
    repo = hub.repo("owner/name", "dataset")
    repo.put_all({f"{n // 50}/{n}": b"%d" % n for n in range(500)})
    return repo


def bring(hub: Hub, volume: Path, *arguments: object, uri: str = "ms://owner/name", **env: str) -> Run:
    return run(uri, volume, "-o", f"endpoint={hub.url}", *arguments, env=env)


def listings(hub: Hub) -> list[Request]:
    return [request for request in hub.requests() if "Recursive=" in request.target]


def page(number: int):
    """For `when`: the request for a page of a dataset."""
    return lambda request: f"PageNumber={number}&" in request.target


# A model's listing


@pytest.mark.parametrize("count", [CUT - 1, CUT, CUT + 1])
def test_a_listing_at_the_cut(hub: Hub, volume: Path, count: int) -> None:
    """Two folders are rows too."""
    files = {f"{'ab'[n % 2]}/{n:05}": b"%d" % n for n in range(count - 2)}
    hub.repo("owner/name").put_all(files)
    done = bring(hub, volume, "--dry-run")
    assert (done.code, done.report["files"]["loaded"]) == (0, len(files))
    assert (len(listings(hub)) == 1) == (count < CUT)


@pytest.mark.parametrize("cut", [500, 1000, 5000])
def test_a_mirror_that_cuts_elsewhere(hub: Hub, volume: Path, cut: int) -> None:
    hub.cut = cut
    files = {f"{n % 3}/{n % 5}/{n:05}": b"" for n in range(cut + 200)}
    hub.repo("owner/name").put_all(files)
    done = bring(hub, volume, "--dry-run")
    assert (done.code, done.report["files"]["loaded"]) == (0, len(files))


def test_a_listing_that_is_cut_in_several_folders(hub: Hub, volume: Path) -> None:
    files = {f"a/{n % 3}/{n:05}": b"" for n in range(2 * CUT)} | {f"b/{n}": b"" for n in range(10)} | {"top": b"t"}
    hub.repo("owner/name").put_all(files)
    done = bring(hub, volume, "--dry-run")
    assert (done.code, done.report["files"]["loaded"]) == (0, len(files))
    assert {"Revision=master&Recursive=True"} == {r.target.partition("?")[2] for r in listings(hub)[:1]}
    assert all(f"Revision={hub.repo('owner/name').head}&" in request.target for request in listings(hub)[1:])


@pytest.mark.parametrize("folder", ["", "flat/"])
def test_a_folder_that_the_hub_does_not_list_whole(hub: Hub, volume: Path, folder: str) -> None:
    hub.repo("owner/name").put_all({f"{folder}{n:05}": b"" for n in range(CUT + 5)} | {"other/a": b""})
    done = bring(hub, volume)
    assert done.code == 5
    assert f"the listing is not complete: {hub.url} stops at 3,000 rows of {folder[:-1] or 'its root'}" in done.error
    assert done.tree == {}


@pytest.mark.parametrize("uri", ["ms://owner/name", "ms://owner/name/deep"])
def test_a_folder_that_is_cut_and_excluded(hub: Hub, volume: Path, uri: str) -> None:
    hub.repo("owner/name").put_all({f"deep/flat/{n:05}": b"" for n in range(CUT + 5)} | {"deep/other/a": b"a"})
    assert bring(hub, volume, uri=uri).code == 5
    below = "deep/" if uri == "ms://owner/name" else ""
    hub.clear()
    done = bring(hub, volume, "-o", f"exclude={below}flat/", uri=uri)
    assert (done.code, done.tree) == (0, {f"{below}other/a": b"a"})
    assert not [request for request in hub.requests() if "Root=deep%2Fflat" in request.target]


def test_a_folder_beside_the_one_that_is_asked_for(hub: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all({f"flat/{n:05}": b"" for n in range(CUT + 5)} | {"sub/deep/a": b"a"})
    done = bring(hub, volume, uri="ms://owner/name/sub/deep")
    assert (done.code, done.tree) == (0, {"a": b"a"})


def test_a_refusal_in_the_middle_of_a_walk_is_asked_again(hub: Hub, volume: Path) -> None:
    files = {f"{n % 4}/{n:05}": b"" for n in range(CUT)}
    hub.repo("owner/name").put_all(files)
    hub.order(ANY, status(403), status(403), when=lambda request: "Root=2" in request.target)
    done = bring(hub, volume, "--dry-run")
    assert (done.code, done.report["files"]["loaded"]) == (0, len(files))


def test_a_folder_that_is_listed_as_empty(hub: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all({f"{n % 4}/{n:05}": b"" for n in range(CUT)})
    nothing = status(200, body=b'{"Code": 200, "Data": {"Files": []}, "Success": true}')
    hub.order(ANY, nothing, when=lambda request: "Root=2" in request.target, times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2")
    assert (done.code, "the hub's listing is not complete: nothing is in 2" in done.error) == (9, True), done.error


def test_a_mirror_that_lists_another_folder(hub: Hub, volume: Path) -> None:
    hub.repo("owner/name").put_all({f"{n % 4}/{n:05}": b"" for n in range(CUT)})
    other = status(200, body=b'{"Code": 200, "Data": {"Files": [{"Path": "1/x", "Type": "blob", "Size": 1}]}}')
    hub.order(ANY, other, when=lambda request: "Root=2" in request.target, times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, "lists 1/x as below 2" in done.error) == (5, True), done.error


def test_a_listing_that_is_shorter_than_its_count(hub: Hub, volume: Path) -> None:
    """Then it is walked, as one of 3,000 rows is."""
    hub.cut = 100
    files = {f"{n % 4}/{n:03}": b"%d" % n for n in range(200)}
    hub.repo("owner/name").put_all(files)
    assert len(bring(hub, volume).tree) < 100  # there is no sign of it
    hub.counts = True
    assert bring(hub, volume).tree == files


# A dataset's listing


def test_pages(hub: Hub, dataset: Repo, volume: Path) -> None:
    done = bring(hub, volume, uri="ms://datasets/owner/name")
    assert (done.code, done.tree) == (0, {path: file.body for path, file in dataset.files.items()})
    assert len(listings(hub)) == 3
    assert all(f"Revision={dataset.head}&" in request.target for request in listings(hub)[1:])


@pytest.mark.parametrize("count", ["None", "files", "0"])
def test_pages_without_their_count(hub: Hub, volume: Path, count: str) -> None:
    repo = hub.repo("owner/name", "dataset")
    repo.put_all({f"{n % 7}/{n}": b"%d" % n for n in range(400)})
    hub.total = {"None": None, "files": 400, "0": 0}[count]
    done = bring(hub, volume, uri="ms://datasets/owner/name")
    assert (done.code, len(done.tree)) == (0, 400)


def test_a_count_without_an_end(hub: Hub, dataset: Repo, volume: Path) -> None:
    hub.total = 10**15
    done = bring(hub, volume, "--retry-budget", "0.2", uri="ms://datasets/owner/name")
    assert (done.code, "it has 510 rows of 1,000,000,000,000,000" in done.error) == (9, True)
    assert len(hub.requests()) < 100


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        (b"<html>Sign in</html>", 9, "answers with a page"),
        (b"", 9, "answers with nothing"),
        (b'{"Code": 200, "Data"', 9, "answers with JSON that is cut"),
        (b'{"Code": 200, "Data": [1]}', 4, "something that is not a listing"),
        (b'{"Code": 200, "Data": {"Files": [7]}}', 4, "something that is not a listing"),
        (b'{"Code": 200, "Data": {"Files": [{"Size": 7}]}}', 4, "something that is not a listing"),
    ],
)
def test_a_page_that_is_none(hub: Hub, dataset: Repo, volume: Path, body: bytes, code: int, why: str) -> None:
    uri = "ms://datasets/owner/name"
    before = bring(hub, volume, uri=uri).tree
    hub.order(ANY, status(200, body=body), when=page(2), times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2", uri=uri)
    assert (done.code, why in done.error, done.tree) == (code, True, before), done.error


def test_a_page_that_is_refused_now_and_then(hub: Hub, dataset: Repo, volume: Path) -> None:
    hub.order(ANY, status(403), status(403), when=page(3))
    done = bring(hub, volume, uri="ms://datasets/owner/name")
    assert (done.code, len(done.tree)) == (0, 500)


def test_a_page_that_is_refused_for_ever(hub: Hub, dataset: Repo, volume: Path) -> None:
    hub.order(ANY, status(403), when=page(3), times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "1", uri="ms://datasets/owner/name")
    assert (done.code, "answered 403 Forbidden in the middle of a listing" in done.error) == (9, True)


def test_a_first_page_that_is_refused_is_a_refusal(hub: Hub, dataset: Repo, volume: Path) -> None:
    hub.order(ANY, status(403), when=page(1), times=ALWAYS)
    done = bring(hub, volume, uri="ms://datasets/owner/name")
    assert (done.code, len(hub.requests())) == (3, 1)


def test_a_page_that_is_an_error_in_an_envelope(hub: Hub, dataset: Repo, volume: Path) -> None:
    later = status(200, body=b'{"Code": 500, "Data": null, "Message": "try later", "Success": false}')
    hub.order(ANY, later, later, when=page(2))
    assert len(bring(hub, volume, uri="ms://datasets/owner/name").tree) == 500
    hub.order(ANY, later, when=page(2), times=ALWAYS)
    done = bring(hub, volume / "2", "--retry-budget", "1", uri="ms://datasets/owner/name")
    assert (done.code, "answered with an error (500: try later)" in done.error, done.tree) == (9, True, {})
    hub.clear()
    never = status(200, body=b'{"Code": 77, "Data": {"Files": []}, "Message": "not for you", "Success": false}')
    hub.order(ANY, never, when=page(2), times=ALWAYS)
    done = bring(hub, volume / "3", uri="ms://datasets/owner/name")
    assert (done.code, "(77: not for you)" in done.error, done.tree) == (3, True, {})


def test_a_page_that_is_shorter_than_it_was(hub: Hub, dataset: Repo, volume: Path) -> None:
    empty = b'{"Code": 200, "Data": {"Files": [], "TotalCount": 510}, "Success": true}'
    hub.order(ANY, status(200, body=empty), when=page(2), times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2", uri="ms://datasets/owner/name")
    why = "the hub's listing is not complete: it has 200 rows of 510"
    assert (done.code, why in done.error, done.tree) == (9, True, {})
    hub.clear()
    hub.order(ANY, status(200, body=empty), when=page(2))
    assert len(bring(hub, volume, uri="ms://datasets/owner/name").tree) == 500


# Commits


def test_the_commit_of_the_list_of_branches(hub: Hub, repo: Repo, volume: Path) -> None:
    old = repo.head
    repo.tag("v1")
    repo.put("config.json", b"later")
    hub.lacks = {"commit"}
    refs = f'{{"Code": 200, "Data": {{"RevisionMap": {{"Tags": [{{"Revision": "v1", "CommitId": "{old}"}}]}}}}}}'
    hub.order("/api/v1/models/owner/name/revisions", status(200, body=refs.encode()), times=ALWAYS)
    done = bring(hub, volume, "-o", "revision=v1")
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, old)


def test_no_commit_at_all(hub: Hub, repo: Repo, volume: Path) -> None:
    """Then each file is read at the commit that last changed it."""
    hub.lacks = {"commit"}
    repo.put("more", b"more")
    done = bring(hub, volume)
    assert (done.code, done.tree, done.report["revision"]) == (0, {**TREE, "more": b"more"}, None)
    assert "does not say which commit master is" in done.result.err
    asked = {r.target.partition("?")[2] for r in hub.requests() if "FilePath=" in r.target}
    assert asked == {f"Revision={f.commit}&FilePath={f.path.replace('/', '%2F')}" for f in repo.files.values()}
    assert bring(hub, volume).report["bytes"]["moved"] == 0


# Refusals


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ms://owner/nothing", "has no model owner/nothing at revision 'master', or it is private, and no token was"),
        ("ms://owner/name@nope", "has no model owner/name at revision 'nope'"),
        ("ms://datasets/owner/name", "has no dataset owner/name at revision 'master'"),
        ("ms://owner/name/nope", "owner/name has nothing at nope"),
    ],
)
def test_what_is_not_there(hub: Hub, repo: Repo, volume: Path, uri: str, message: str, envelope: bool) -> None:
    hub.envelope_errors = envelope
    done = bring(hub, volume, uri=uri)
    assert (done.code, message in done.error) == (4, True), done.error


def test_a_revision_that_is_listed_as_empty(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.lacks = {"unknown"}
    done = bring(hub, volume, uri="ms://owner/name@nope")
    assert (done.code, "has no model owner/name at revision 'nope'" in done.error) == (4, True)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "answered 401 Unauthorized, and no token was given (10010205001: user not logged in)"),
        ("outsider", "refused the token: 403 Forbidden (10010205001: access denied)"),
    ],
)
def test_a_private_repository(hub: Hub, repo: Repo, volume: Path, tmp_path: Path, token: str, message: str) -> None:
    repo.private = True
    hub.tokens["outsider"] = set()
    write_secrets(tmp_path / "secrets", token=token)
    done = bring(hub, volume)
    assert (done.code, message in done.error) == (3, True), done.error


def test_the_token_as_a_cookie_too(hub: Hub, repo: Repo, volume: Path, tmp_path: Path) -> None:
    repo.private = True
    hub.tokens["member"] = {"owner/name"}
    write_secrets(tmp_path / "secrets", token="member")
    assert bring(hub, volume).tree == TREE
    assert {request.headers.get("cookie") for request in hub.requests()} == {"m_session_id=member"}


def test_a_mirror_is_not_left_for_the_site(hub: Hub, repo: Repo, volume: Path) -> None:
    """The site cannot be reached from here: a request to it would fail the load."""
    at = f"?Revision={repo.head}&FilePath=sub%2Fvocab.txt"
    there = redirect(f"https://www.modelscope.cn/api/v1/models/owner/name/repo{at}&View=true")
    hub.order("/api/v1/models/owner/name/repo", there, when=lambda request: request.target.endswith(at))
    assert bring(hub, volume).tree == TREE
    assert [r.target for r in hub.requests() if "View=true" in r.target] == [
        f"/api/v1/models/owner/name/repo{at}&View=true"
    ]


def test_a_hub_behind_a_path(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.prefix = "/ms"
    at = f"?Revision={repo.head}&FilePath=sub%2Fvocab.txt"
    there = redirect(f"/api/v1/models/owner/name/repo{at}&View=true")
    hub.order("/ms/api/v1/models/owner/name/repo", there, when=lambda request: request.target.endswith(at))
    done = run("ms://owner/name", volume, "-o", f"endpoint={hub.url}/ms")
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert all(request.target.startswith("/ms/") for request in hub.requests())
