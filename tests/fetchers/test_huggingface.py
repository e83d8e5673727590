"""Hugging Face: pages, refusals, and mirrors: ours that forgets much, and olah."""

import json
from pathlib import Path

import pytest

from tests.contract.inside import run as inside
from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, ANY, FaultServer
from tests.servers.hub import Hub, Repo
from tests.servers.olah import Olah
from tests.servers.orders import Fault, Virtual, extra, is_head, redirect, status
from tests.servers.tls import CA

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


FILES = {f"{n % 3}/{n:02}": b"%d" % n for n in range(25)}


@pytest.fixture
def many(hub: Hub) -> Repo:
    """A model of 25 files and 3 folders, on three pages."""
    hub.page = 10
    repo = hub.repo("owner/many")
    repo.put_all(FILES)
    return repo


LINKS = {
    "a line before": lambda url: ["</style.css>; rel=preload; as=style", f'<{url}>; rel="next"'],
    "a line after": lambda url: [f'<{url}>; rel="next"', "</docs>; rel=help"],
    "lines around it": lambda url: [
        "</first>; rel=first",
        f'<{url}>; rel="next"',
        "<>;rel=last",
    ],
    "one line": lambda url: [f'</style.css>; rel=preload; as=style, <{url}>; rel="next", </z>; rel="last"'],
    "no quotes": lambda url: [f"<{url}>;rel=next"],
    "upper case": lambda url: [f'<{url}> ; REL = "NEXT"'],
    "several relations": lambda url: [f'<{url}>; rel="last next"; title="x"'],
    "parameters before": lambda url: [f'<{url}>; title="more, and; rel=prev"; type=application/json; rel=next'],
    "commas": lambda url: [f'</a,b;c?d=<e>; rel="prev", </a,b;c>; rel="prev", <{url}&also=a,b;c>; rel="next"'],
    "a path": lambda url: [f'<{url[url.index("/api") :]}>; rel="next"'],
    "a query": lambda url: [f'<{url[url.index("?") :]}>; rel="next"'],
    "another host": lambda url: [f'<{SITE}{url[url.index("/api") :]}>; rel="next"'],
    "behind a proxy": lambda url: [f'<http://upstream.invalid/hf{url[url.index("/api") :]}>; rel="next"'],
    "what is not a link": lambda url: [f'next, <a; rel="next", <{url}>; rel="next"'],
}


@pytest.mark.parametrize("form", LINKS)
def test_forms_of_the_link_to_the_next_page(hub: Hub, many: Repo, volume: Path, form: str) -> None:
    hub.link = LINKS[form]
    done = bring(hub, volume, uri="hf://owner/many")
    assert (done.code, done.tree) == (0, FILES), done.result.err
    assert len([request for request in hub.requests() if "/tree/" in request.target]) == 3


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_a_listing_without_files_that_the_hub_names(hub: Hub, many: Repo, volume: Path, revision: str) -> None:
    uri = f"hf://owner/many@{many.head}" if revision == "commit" else "hf://owner/many"
    assert bring(hub, volume, uri=uri).code == 0
    hub.lacks = {"links"}
    done = bring(hub, volume, "--retry-budget", "0.2", uri=uri)
    assert (done.code, done.tree) == (9, FILES)
    assert "the hub's listing is not complete: it lists 9 files, and names 16 more: " in done.error
    kept = bring(hub, volume, "-o", "include=0/*", uri=uri)  # of which none is missing
    assert (kept.code, kept.tree) == (0, FILES), kept.result.err
    assert bring(hub, volume / "folder", uri=f"{uri}/0").code == 0
    assert bring(hub, volume / "folder", "--retry-budget", "0.2", uri=f"{uri}/2").code == 9


def test_a_repository_without_files(hub: Hub, repo: Repo, volume: Path) -> None:
    assert bring(hub, volume).code == 0
    repo.remove(*TREE)
    done = bring(hub, volume)
    assert (done.code, "it is empty" in done.error, done.tree) == (4, True, TREE)


def test_a_link_that_is_lost_once(hub: Hub, many: Repo, volume: Path) -> None:
    hub.order(f"/api/models/owner/many/tree/{many.head}", extra({"Link": None}))
    done = bring(hub, volume, uri="hf://owner/many")
    assert (done.code, done.tree) == (0, FILES)


def test_a_listing_of_nothing_of_a_repository_that_is_not_empty(hub: Hub, repo: Repo, volume: Path) -> None:
    assert bring(hub, volume).code == 0
    hub.order(f"/api/models/owner/name/tree/{repo.head}", status(200, body=b"[]"), times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2")
    assert (done.code, done.tree) == (9, TREE)


@pytest.mark.parametrize("query", ["recursive=True", "recursive=True&expand=False&limit=10", "recursive=1&cursor=MA=="])
def test_pages_that_lead_back(hub: Hub, many: Repo, volume: Path, query: str) -> None:
    tree = f"/api/models/owner/many/tree/{many.head}"
    back = extra({"Link": f'<{hub.url}{tree}?{query}>; rel="next"'})
    hub.order(tree, back, when=lambda request: "cursor=" in request.target, times=ALWAYS)
    done = bring(hub, volume, uri="hf://owner/many")
    assert (done.code, "form a loop" in done.error) == (5, True)
    assert len(hub.requests()) < 8


@pytest.mark.parametrize("link", ["https://elsewhere.invalid/page?x=1", "/other?cursor=2", "ftp://host/x"])
def test_a_next_page_that_is_not_one_of_the_listing(hub: Hub, many: Repo, volume: Path, link: str) -> None:
    hub.link = lambda url: [f'<{link}>; rel="next"']
    done = bring(hub, volume, uri="hf://owner/many")
    assert (done.code, "which is not a page of the listing" in done.error, done.tree) == (5, True, {})


def test_the_token_does_not_follow_a_link_to_another_host(
    hub: Hub, many: Repo, volume: Path, tmp_path: Path, fault: FaultServer
) -> None:
    hub.tokens["token"] = {"*"}
    write_secrets(tmp_path / "secrets", token="token")
    hub.link = lambda url: [f'<{url.replace(hub.url, fault.url)}>; rel="next"']
    assert bring(hub, volume, uri="hf://owner/many").tree == FILES
    assert fault.requests() == []


def page(*rows: object) -> Fault:
    return status(200, body=json.dumps(rows).encode())


ROW = {"type": "file", "path": "a", "size": 1, "oid": "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"}


def test_a_file_that_is_listed_twice(hub: Hub, volume: Path) -> None:
    repo = hub.repo("owner/name")
    repo.put("a", b"a")
    row = {**ROW, "oid": repo.files["a"].oid}
    tree = f"/api/models/owner/name/tree/{repo.head}"
    hub.order(tree, page(row, row))
    done = bring(hub, volume)
    assert (done.code, done.tree, done.report["files"]["total"]) == (0, {"a": b"a"}, 1)
    hub.order(tree, page(row, {**row, "size": 2}))
    done = bring(hub, volume)
    assert (done.code, "have two different rows for a" in done.error, done.tree) == (5, True, {"a": b"a"})


def test_a_row_that_is_neither_a_file_nor_a_folder(hub: Hub, volume: Path) -> None:
    repo = hub.repo("owner/name")
    repo.put("a", b"a")
    row = {**ROW, "oid": repo.files["a"].oid}
    hub.order(f"/api/models/owner/name/tree/{repo.head}", page(row, {"type": "odd", "path": "sub"}), times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, "a row that dsload does not read ('sub'" in done.error) == (4, True)
    assert bring(hub, volume, "-o", "exclude=sub").tree == {"a": b"a"}


HTML = b"<!doctype html><html><title>Sign in</title></html>"
JSON = b'{"sha": "'
ANSWERS = [
    # of /revision and of /tree; how the load ends if one of them answers so for ever, and what the message says
    (HTML, (4, "answers with something that is not JSON"), (9, "answers with a page")),
    (b"", (9, "answers with nothing"), (9, "answers with nothing")),
    (b"  \n", (9, "answers with nothing"), (9, "answers with nothing")),
    (JSON, (9, "answers with JSON that is cut"), (9, "answers with JSON that is cut")),
    (b"null", (0, ""), (4, "answers with something that is not a listing")),
    (b'{"error": "maintenance"}', (0, ""), (4, "answers with something that is not a listing")),
    (b'{"sha": 7, "siblings": 1}', (0, ""), (4, "answers with something that is not a listing")),
    (b'[{"path": 1}]', (0, ""), (4, "answers with something that is not a listing")),
    (b"[[]]", (0, ""), (4, "answers with something that is not a listing")),
]


@pytest.mark.parametrize("call", ["revision", "tree"])
@pytest.mark.parametrize(("body", "revision", "tree"), ANSWERS)
def test_an_answer_of_the_api_that_is_not_one(
    hub: Hub, repo: Repo, volume: Path, call: str, body: bytes, revision: tuple[int, str], tree: tuple[int, str]
) -> None:
    assert bring(hub, volume).code == 0
    hub.order(ANY, status(200, body=body), when=lambda request: f"/{call}/" in request.target, times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2")
    code, why = revision if call == "revision" else tree
    assert (done.code, done.tree) == (code, TREE), done.result.err
    assert code == 0 or why in done.error


@pytest.mark.parametrize("call", ["revision", "tree"])
def test_an_answer_of_the_api_that_passes(hub: Hub, repo: Repo, volume: Path, call: str) -> None:
    hub.order(ANY, status(200, body=b""), status(200, body=JSON), when=lambda request: f"/{call}/" in request.target)
    done = bring(hub, volume)
    assert (done.code, done.tree) == (0, TREE)


def test_a_login_page_at_another_host(hub: Hub, repo: Repo, volume: Path, fault: FaultServer) -> None:
    assert bring(hub, volume).code == 0
    hub.order(ANY, redirect(fault.put("/login", HTML, headers={"Content-Type": "text/html"})), times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, done.tree) == (3, TREE)
    assert f"sends this request on to 127.0.0.1:{fault.port}, which answers with a page, maybe to log in" in done.error


# Refusals


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (
            "",
            "the repository is gated, and no token was given (GatedRepo: Access to model owner/name is restricted. You "
            "must have access to it and be authenticated to access it. Please log in.); accept its terms at "
            "{url}/owner/name, then put a token",
        ),
        (
            "outsider",
            "this token's account has no access to it (GatedRepo: Access to model owner/name is restricted and you are "
            "not in the authorized list. Visit {url}/owner/name to ask for access.); ask for it at {url}/owner/name",
        ),
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
        (
            "hf://owner/nothing",
            "",
            3,
            "and no token was given (Invalid username or password.); check owner and name, or",
        ),
        ("hf://owner/nothing", "good", 4, "has no model owner/nothing at revision 'main', or this token may not see"),
        ("hf://owner/private", "", 3, "answered 401 Unauthorized, and no token was given"),
        ("hf://owner/private", "good", 4, "has no model owner/private at revision 'main', or this token may not see"),
        (
            "hf://owner/name",
            "bad",
            3,
            "refused the token: 401 Unauthorized (Invalid credentials in Authorization header); check the token",
        ),
        ("hf://datasets/owner/name", "good", 4, "has no dataset owner/name"),
        (
            "hf://owner/name@nope",
            "",
            4,
            "has no revision 'nope' (RevisionNotFound: Invalid rev id: nope); give a branch",
        ),
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
    hub.order(ANY, status(403, body=b"over quota", Content_Type="text/plain"), times=ALWAYS)
    done = bring(hub, volume)
    assert (done.code, f"{hub.url} answered 403 Forbidden (over quota)" in done.error) == (3, True)


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


def test_a_mirror_is_asked_for_no_file_that_is_excluded(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.lacks = {"revision"}
    hub.order(ANY, status(500), when=lambda request: request.target.endswith("/config.json"), times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2", "-o", "exclude=config.json")
    assert (done.code, done.report["revision"], len(done.tree)) == (0, repo.head, 2)


@pytest.mark.parametrize("count", [999, 1000, 1500])
def test_a_mirror_that_lacks_the_revision_call_and_links(hub: Hub, volume: Path, count: int) -> None:
    files = {f"{n:04}": b"" for n in range(count)}
    hub.repo("owner/name").put_all(files)
    hub.lacks = {"revision"}
    assert bring(hub, volume).tree == files
    hub.lacks = {"revision", "links"}
    done = bring(hub, volume, "--retry-budget", "0.2")
    assert (done.code, done.tree) == (0 if count < 1000 else 9, files), done.error
    assert count < 1000 or "does not link to a next page" in done.error


@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_a_mirror_that_names_no_files_of_a_commit(hub: Hub, repo: Repo, volume: Path, code: int) -> None:
    fault = status(code, X_Error_Code="RevisionNotFound")
    hub.order(ANY, fault, when=lambda request: "/revision/" in request.target, times=ALWAYS)
    done = bring(hub, volume, "--retry-budget", "0.2", uri=f"hf://owner/name@{repo.head}")
    assert (done.code, done.tree, done.report["revision"]) == (0, TREE, repo.head)
    assert f"does not name the files of {repo.head}" in done.result.err


def test_a_commit_of_a_mirror_that_lacks_the_revision_call_and_links(hub: Hub, volume: Path) -> None:
    repo = hub.repo("owner/name")
    repo.put_all({f"{n:04}": b"" for n in range(1001)})
    hub.lacks = {"revision", "links"}
    done = bring(hub, volume, "--retry-budget", "0.2", uri=f"hf://owner/name@{repo.head}")
    assert (done.code, "does not link to a next page" in done.error) == (9, True)


def test_a_mirror_that_knows_neither_the_revision_call_nor_head(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.lacks = {"revision"}
    hub.order(ANY, status(501), when=is_head, times=ALWAYS)
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


REDIRECTS = {
    "a path": "",
    "the site": SITE,
    "the site's other name": "https://HF.co:443",
    "the mirror's own host": "{url}",
    "another port of it": "http://127.0.0.1:1",
    "below the path": "{url}/hf",
    "below the path at another port": "http://127.0.0.1:1/hf",
}


@pytest.mark.parametrize("there", REDIRECTS)
def test_a_hub_behind_a_path(hub: Hub, repo: Repo, volume: Path, tmp_path: Path, there: str) -> None:
    hub.prefix, hub.page, hub.home_host = "/hf", 2, REDIRECTS[there].format(url=hub.url)
    hub.tokens["token"] = {"*"}
    write_secrets(tmp_path / "secrets", token="token")
    done = run("hf://owner/name", volume, "-o", f"endpoint={hub.url}/hf/")
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert len([request for request in hub.requests() if "/resolve-cache/" in request.target]) == 2
    assert all(request.target.startswith("/hf/") for request in hub.requests())
    assert {request.headers["authorization"] for request in hub.requests()} == {"Bearer token"}
    assert hub.storage.leaked == []


def test_a_renamed_repository_of_a_hub_behind_a_path(hub: Hub, repo: Repo, volume: Path) -> None:
    hub.prefix = "/hf"
    tree = f"/api/models/owner/name/tree/{repo.head}"
    hub.order("/hf/api/models/old/name/revision/main", redirect("/api/models/owner/name/revision/main", 307))
    hub.order(f"/hf{tree.replace('owner', 'old')}", redirect(f"{tree}?recursive=True&expand=False", 307))
    for path in TREE:
        there = f"/owner/name/resolve/{repo.head}/{path}"
        hub.order(f"/hf{there.replace('owner', 'old', 1)}", redirect(there, 307))
    done = run("hf://old/name", volume, "-o", f"endpoint={hub.url}/hf")
    assert (done.code, done.tree) == (0, TREE), done.result.err


def test_a_hub_behind_a_path_whose_storage_is_beside_it(hub: Hub, repo: Repo, volume: Path, fault: FaultServer) -> None:
    fault.put("/store/model.safetensors", TREE["model.safetensors"])
    path = f"/owner/name/resolve/{repo.head}/model.safetensors"
    with Hub() as behind:
        behind.prefix = "/hf"
        behind.repo("owner/name").put_all(TREE)
        behind.order("/hf" + path, redirect(f"{fault.url}/store/model.safetensors"), times=ALWAYS)
        done = run("hf://owner/name", volume, "-o", f"endpoint={behind.url}/hf")
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert fault.requests("/store/model.safetensors")


def test_a_hub_that_is_told_another_scheme(ca: CA, volume: Path) -> None:
    """As one behind a proxy that ends TLS: it knows itself by http."""
    with Hub(tls=ca) as hub:
        hub.home_host = hub.url.replace("https:", "http:")
        hub.repo("owner/name").put_all(TREE)
        done = run("hf://owner/name", volume, "-o", f"endpoint={hub.url}", "--ca-bundle", ca.bundle)
    assert (done.code, done.tree) == (0, TREE), done.result.err


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
