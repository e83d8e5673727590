"""What the network does to a load, and what the load makes of it: by the command line, with a server that misbehaves.

Every load is a child process that is given a minute, so that one that hangs fails.
"""

import base64
import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.loads import Run, run, write_secrets
from tests.servers.fault import ALWAYS, FaultServer
from tests.servers.orders import (
    BEFORE_HEAD,
    Fault,
    Virtual,
    basic,
    change,
    chunked,
    close,
    digest,
    extra,
    flip,
    ignore_range,
    redirect,
    reset,
    slow,
    stall,
    status,
)
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.threaded import Request
from tests.servers.tls import CA
from tests.trees import contents

MIB = 1 << 20
PART = 8 * MIB  # where the second part of BIG starts
SIZE = 12 * MIB + 17
BIG = Virtual(SIZE, seed=1)[:]  # two parts
NEW = Virtual(SIZE, seed=2)[:]
SMALL = Virtual(100_000, seed=3)[:]
TREE = {"big.bin": BIG, "small.bin": SMALL}


@pytest.fixture
def other() -> FaultServer:
    """Another host: another port is one."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def tree(fault: FaultServer) -> str:
    """A folder with a big and a small file, and its URL."""
    for name, body in TREE.items():
        fault.put(f"/set/{name}", body)
    return f"{fault.url}/set/"


def is_get(request: Request) -> bool:
    """Not a HEAD."""
    return request.method == "GET"


def first_part(request: Request) -> bool:
    """Of BIG."""
    return request.headers.get("range", "").startswith("bytes=0-") and not asks_for_a_byte(request)


def second_part(request: Request) -> bool:
    """Of BIG."""
    return request.headers.get("range", "").startswith(f"bytes={PART}-")


def rest_of_second_part(request: Request) -> bool:
    """Of BIG, or any of it."""
    return request.headers.get("range", "").endswith(f"-{SIZE - 1}")


def asks_for_a_byte(request: Request) -> bool:
    """What is asked instead of a HEAD."""
    return request.headers.get("range") == "bytes=0-0"


def once_each(fault: FaultServer, small: Fault, big: Fault | None = None) -> int:
    """Let the small file, and the first and second part of the big one, meet a fault once; how many faults that is."""
    fault.order("/set/small.bin", small, when=is_get)
    for part in (first_part, second_part):
        fault.order("/set/big.bin", big or small, when=part)
    return 3


# Tried again


@pytest.mark.parametrize(
    ("small", "big"),
    [
        pytest.param(close(1000), close(3 * MIB), id="short body"),
        pytest.param(reset(1000), reset(3 * MIB), id="reset"),
        pytest.param(close(BEFORE_HEAD), close(BEFORE_HEAD), id="no answer"),
        pytest.param(reset(BEFORE_HEAD), reset(BEFORE_HEAD), id="reset at once"),
        pytest.param(status(503, retry_after="soon"), status(503, retry_after="\xb2"), id="odd Retry-After"),
    ],
)
def test_what_passes_is_tried_again(fault: FaultServer, tree: str, volume: Path, small: Fault, big: Fault) -> None:
    """And goes on where it broke off."""
    faults = once_each(fault, small, big)
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE), done.result.err
    if small.after != BEFORE_HEAD:  # else libcurl may find that a connection had ended before, and take a new one
        assert done.report["retries"] == faults
    again = 2 * max(0, big.after) if big.cut == "reset" else 0  # what lay in the client's buffers
    assert SIZE <= fault.bytes_sent("/set/big.bin") - 2 * len(big.body) <= SIZE + again


def test_a_status_that_passes_is_tried_again(fault: FaultServer, volume: Path) -> None:
    codes = (408, 429, 500, 502, 503, 504)
    for code in codes:
        fault.put(f"/set/{code}", SMALL)
        fault.order(f"/set/{code}", status(code), when=is_get)
    done = run(f"{fault.url}/set/", volume)
    assert (done.code, done.tree) == (0, {str(code): SMALL for code in codes}), done.result.err
    assert done.report["retries"] == len(codes)


def test_a_page_is_tried_again(fault: FaultServer, tree: str, volume: Path) -> None:
    fault.put("/set/sub/leaf", b"leaf")
    fault.order("/set/", close(10), status(503))
    fault.order("/set/sub/", status(429), close(5))
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE | {"sub/leaf": b"leaf"})
    assert done.report["retries"] == 4


@pytest.mark.parametrize(
    ("code", "headers"),
    [(429, {"Retry-After": "1"}), (503, {"Retry-After": "1"}), (429, {"RateLimit": '"api";r=0;t=1'})],
)
def test_it_waits_as_asked(fault: FaultServer, volume: Path, code: int, headers: dict[str, str]) -> None:
    """Of itself it would wait half a second at most."""
    url = fault.put("/a.bin", SMALL)
    fault.order("/a.bin", Fault(code, headers=headers))
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"a.bin": SMALL})
    assert f"a.bin: the server answered {code}" in done.result.err
    assert "trying again in 1.0 s" in done.result.err


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"Retry-After": "3600"}, "3,600"),
        ({"Retry-After": in_an_hour()}, "3,[0-9]{3}"),
        ({"RateLimit": '"resolvers";r=0;t=3600'}, "3,600"),
    ],
)
def test_a_wait_beyond_the_budget_is_not_begun(
    fault: FaultServer, volume: Path, headers: dict[str, str], asked: str
) -> None:
    url = fault.put("/a.bin", SMALL)
    fault.order("/a.bin", Fault(429, headers=headers), times=ALWAYS)
    done = run(url, volume)
    assert done.code == 9
    assert_matches(done, rf"429 Too Many Requests and asks to wait {asked} s, more than 20 s \(--retry-budget\)")
    assert len(fault.requests()) == 1


def test_a_date_gone_by_asks_for_no_wait(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/a.bin", SMALL)
    fault.order("/a.bin", status(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"))
    assert run(url, volume).code == 0


def test_a_stall_is_noticed(fault: FaultServer, tree: str, volume: Path) -> None:
    faults = once_each(fault, stall(1000), stall(BEFORE_HEAD))
    done = run(tree, volume, "--stall-timeout", 1)
    assert (done.code, done.tree) == (0, TREE)
    assert done.report["retries"] == faults
    assert fault.bytes_sent("/set/big.bin") == SIZE


def test_progress_renews_the_budget(fault: FaultServer, volume: Path) -> None:
    """It waits longer in all than the budget allows at a stretch."""
    body = BIG[: 6 * MIB]  # one part: nothing else goes on while it waits
    url = fault.put("/big.bin", body)
    for _ in range(3):
        fault.order("/big.bin", close(MIB + 1000), status(503, retry_after=1), when=is_get)
    done = run(url, volume, "--retry-budget", 2.5)
    assert (done.code, done.tree) == (0, {"big.bin": body}), done.result.err
    assert fault.bytes_sent() == len(body)


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_a_bad_day(fault: FaultServer, volume: Path, workers: int) -> None:
    """Every kind of fault, in no order, on many files; no loop waits for another."""
    chance = random.Random(workers)
    files = {f"{number % 7}/{number}.bin": Virtual(chance.randrange(60_000), seed=number)[:] for number in range(60)}
    files |= {"big.bin": BIG, "streamed.bin": NEW}
    for name, body in files.items():
        fault.put(f"/set/{name}", body, headers={"Repr-Digest": repr_digest(body)})
        cut = chance.randrange(max(1, len(body) // 2))
        kinds = [close(cut), reset(cut), status(503), status(429), chunked(), close(BEFORE_HEAD), slow(50 * MIB)]
        kinds += [flip(0)] if body and name != "streamed.bin" else []
        fault.order(f"/set/{name}", *chance.sample(kinds, 2), when=is_get)
    fault.order("/set/streamed.bin", ignore_range(), when=is_get, times=ALWAYS)
    done = run(f"{fault.url}/set/", volume, "--workers", workers)
    assert (done.code, done.tree) == (0, files), done.result.err
    assert done.report["unverified"] == 0


def repr_digest(body: bytes) -> str:
    """The header of that name (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(digest(body).digest()).decode()}:"


# Given up


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        (400, 3, "400 Bad Request"),
        (401, 3, "401 Unauthorized; check the credentials in the secrets directory"),
        (403, 3, "403 Forbidden; check that the credentials"),
        (404, 4, "404 Not Found; check the URI"),
        (410, 4, "410 Gone; check the URI"),
        (501, 9, "501 Not Implemented"),
    ],
)
def test_what_no_retry_helps_against(
    fault: FaultServer, tree: str, volume: Path, code: int, exit_code: int, message: str
) -> None:
    """In the listing, and for a small file and a part: asked once."""
    paths = (("/set/", ""), ("/set/small.bin", "small.bin from "), ("/set/big.bin", "big.bin from "))
    for path, name in paths if code == 403 else paths[:1]:
        fault.clear()
        fault.order(path, status(code), when=is_get, times=ALWAYS)
        target = volume.with_name(f"volume{len(path)}")  # of its own: the load before may have brought this file
        done = run(tree, target)
        assert done.code == exit_code, done.result.err
        assert f" {name}{tree}: the server answered {message}" in done.error
        assert len([request for request in fault.requests(path) if is_get(request)]) == 1
        assert name.removesuffix(" from ") not in done.tree
        assert done.report["error"]["exit"] == exit_code
        assert done.report["error"]["retry"] == (exit_code == 9)


def test_a_missing_file_is_asked_for_twice_at_most(fault: FaultServer, volume: Path) -> None:
    """By HEAD, and as some servers refuse that, by GET."""
    done = run(f"{fault.url}/none.bin", volume)
    assert done.code == 4
    assert f"listing {fault.url}/none.bin: the server answered 404 Not Found" in done.error
    assert [request.method for request in fault.requests()] == ["HEAD", "GET"]


@pytest.mark.parametrize("path", ["/set/", "/set/big.bin", "/set/small.bin"])
def test_a_server_that_stays_down(fault: FaultServer, tree: str, volume: Path, path: str) -> None:
    fault.order(path, status(503), times=ALWAYS)
    done = run(tree, volume, "--retry-budget", 1)
    assert done.code == 9
    assert_matches(
        done, r"503 Service Unavailable, after 1 s without progress \(--retry-budget\); run the same command again"
    )
    assert 2 <= len(fault.requests(path)) <= 4


def test_nobody_listens(volume: Path) -> None:
    port = free_port()
    done = run(f"http://127.0.0.1:{port}/set/", volume, "--retry-budget", 1)
    assert done.code == 9
    assert_matches(done, rf"connect to 127\.0\.0\.1.*{port}.*, after 1 s without progress")
    assert done.report["error"]["retry"] is True


def test_what_was_done_is_kept(fault: FaultServer, tree: str, volume: Path) -> None:
    """The server is gone in the middle; the next load goes on from there."""
    fault.order("/set/big.bin", reset(BEFORE_HEAD), when=second_part, times=ALWAYS)
    done = run(tree, volume, "--retry-budget", 1)
    assert done.code == 9
    assert done.tree == {"small.bin": SMALL}
    fault.clear()
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert (done.report["bytes"]["resumed"], done.report["bytes"]["moved"]) == (PART, SIZE - PART)
    assert fault.bytes_sent("/set/small.bin") == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://[bad/",
        "http://127.0.0.1:99999999/",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_that_leads_nowhere(fault: FaultServer, tree: str, volume: Path, location: str) -> None:
    """Of a page, a small file and a part."""
    for number, path in enumerate(("/set/", "/set/small.bin", "/set/big.bin")[: 3 if "bad" in location else 1]):
        fault.clear()
        fault.order(path, redirect(location), when=is_get, times=ALWAYS)
        done = run(tree, volume / str(number))  # another file may be in place before the load ends
        assert done.code == 3
        assert "the server redirects to something that is not an HTTP URL; check the URI" in done.error
        assert path.rpartition("/")[2] not in done.tree


@pytest.mark.parametrize("location", ["/loop", "http://{host}/loop?again"])
def test_a_redirect_loop(fault: FaultServer, volume: Path, location: str) -> None:
    target = redirect(location.format(host=fault.url.removeprefix("http://")), 301)
    fault.order("/loop", target, times=ALWAYS)
    done = run(f"{fault.url}/loop", volume)
    assert done.code == 3
    assert "the server redirects more than 10 times" in done.error
    assert len(fault.requests()) == 11


def test_a_redirect_to_a_name_that_is_not_ascii(fault: FaultServer, volume: Path) -> None:
    """Sent as the bytes that they are, encoded or not."""
    fault.put("/mödel v1.bin", SMALL)
    for location in ("/mödel v1.bin".encode().decode("latin-1"), "/m%C3%B6del%20v1.bin"):
        fault.order("/latest.bin", redirect(location), redirect(location))
        done = run(f"{fault.url}/latest.bin", volume / location.encode("latin-1").hex())
        assert (done.code, done.tree) == (0, {"latest.bin": SMALL})


# Content that is not what it should be


def test_an_ignored_range_is_noticed(fault: FaultServer, tree: str, volume: Path) -> None:
    """A server that never gives ranges is read in one stream."""
    fault.order("/set/big.bin", ignore_range(), times=ALWAYS)
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE)
    assert fault.bytes_sent("/set/big.bin") == SIZE


@pytest.mark.parametrize("part", [first_part, second_part])
def test_a_range_that_is_ignored_once(
    fault: FaultServer, tree: str, volume: Path, part: Callable[[Request], bool]
) -> None:
    """Whatever the first part brought, the file is read whole."""
    fault.order("/set/big.bin", ignore_range(), when=part)
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE)


def test_a_stream_that_breaks_off_begins_anew(fault: FaultServer, volume: Path) -> None:
    url = fault.put("/big.bin", BIG, headers={"Repr-Digest": repr_digest(BIG)})
    fault.order("/big.bin", Fault(cut="close", after=9 * MIB, ignore_range=True, flip=5), when=is_get)
    fault.order("/big.bin", Fault(cut="close", after=1000, ignore_range=True), when=is_get)
    fault.order("/big.bin", ignore_range(), when=is_get, times=ALWAYS)
    done = run(url, volume)
    assert (done.code, done.tree, done.report["unverified"]) == (0, {"big.bin": BIG}, 0)
    assert fault.bytes_sent() == SIZE + 9 * MIB + 1000


@pytest.mark.parametrize(
    ("content_range", "times"),
    [
        (f"bytes 1-{SIZE - 1}/{SIZE}", 1),
        (f"bytes 1-{SIZE - 1}/{SIZE}", ALWAYS),
        (f"bytes 0-{PART - 1}/{SIZE + 1}", 1),
        (f"lines 0-9/{SIZE}", ALWAYS),
        ("bytes \xb2-9/9", ALWAYS),
        (None, ALWAYS),
    ],
)
def test_a_wrong_content_range(
    fault: FaultServer, tree: str, volume: Path, content_range: str | None, times: int | None
) -> None:
    """None of its bytes is taken."""
    fault.order("/set/big.bin", extra({"Content-Range": content_range}), when=first_part, times=times)
    done = run(tree, volume)
    if times:
        assert (done.code, done.tree) == (0, TREE), done.result.err
        assert "listing it again" in done.result.err
    else:
        assert done.code == 9
        assert_matches(done, "big.bin from .*(the server sent the range|bytes now)")
        assert "big.bin" not in done.tree


@pytest.mark.parametrize("name", TREE)
@pytest.mark.parametrize("times", [1, ALWAYS])
def test_a_wrong_byte(fault: FaultServer, volume: Path, name: str, times: int | None) -> None:
    """Fetched once more, all of it; wrong again is the end."""
    body = TREE[name]
    url = fault.put(f"/{name}", body, headers={"Repr-Digest": repr_digest(body)})
    wrong = flip(len(body) - 5)
    fault.order(f"/{name}", wrong, when=lambda r: is_get(r) and covers(r, len(body) - 5), times=times)
    done = run(url, volume)
    assert fault.bytes_sent() == 2 * len(body)
    assert "content is not what the source states; fetching it again" in done.result.err
    if times:
        assert (done.code, done.tree, done.report["retries"]) == (0, {name: body}, 1)
    else:
        assert (done.code, done.tree) == (5, {})
        stated = digest(body).hexdigest()
        assert_matches(done, rf"{name} from .*: the content has .* where the source states sha256:{stated}, in two")


def covers(request: Request, offset: int) -> bool:
    """Whether an answer to a request has the byte at an offset."""
    start, _, end = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    return int(start) <= offset <= int(end or offset)


@pytest.mark.parametrize(
    ("etag", "modified", "new"),
    [
        pytest.param("", "", NEW, id="ETag"),
        pytest.param(None, "", NEW, id="Last-Modified"),
        pytest.param('W/"1"', None, NEW, id="weak ETag"),
        pytest.param('W/"1"', "", NEW, id="weak ETag and Last-Modified"),
        pytest.param("", "", NEW[: PART + 5], id="shorter"),
        pytest.param(None, None, NEW + b"longer", id="longer, without any version"),
        pytest.param("", "", b"small", id="small"),
    ],
)
def test_a_file_that_changes_between_two_parts(
    fault: FaultServer, volume: Path, etag: str | None, modified: str | None, new: bytes
) -> None:
    """What is there in the end is all new; the server is asked to notice the change, too.

    It is listed again if a date or a size says that it changed: two servers of one name may state different ETags for
    the same content.
    """
    url = fault.put("/big.bin", BIG, etag=etag, modified=modified)
    fault.order("/big.bin", change(new), when=second_part)
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"big.bin": new}), done.result.err
    assert ("listing it again" in done.result.err) == (modified == "" or len(new) != SIZE)
    asked = next(request for request in fault.requests() if second_part(request))
    assert ("if-range" in asked.headers) == (etag == "" or modified == "")  # a weak ETag is nothing for it


def test_an_etag_that_is_weak_at_first_is_no_change(fault: FaultServer, volume: Path) -> None:
    """Apache's is, as long as its file may change within the same second; Last-Modified tells that it has not."""
    url = fault.put("/big.bin", BIG)
    fault.order("/big.bin", extra({"ETag": 'W/"1"'}), when=first_part)
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"big.bin": BIG})
    assert "listing it again" not in done.result.err


def test_a_file_that_changes_between_two_loads(fault: FaultServer, volume: Path) -> None:
    """Parts of the old one, that an interrupted load left, are not used for the new one, though the listing does
    not tell them apart."""
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    fault.put("/set/big.bin", BIG, modified=modified)
    fault.order("/set/big.bin", reset(BEFORE_HEAD), when=second_part, times=ALWAYS)
    assert run(f"{fault.url}/set/", volume, "--retry-budget", 1).code == 9
    fault.clear()
    fault.put("/set/big.bin", NEW, modified=modified)
    done = run(f"{fault.url}/set/", volume)
    assert (done.code, done.tree) == (0, {"big.bin": NEW}), done.result.err


def test_a_file_that_keeps_changing(fault: FaultServer, volume: Path) -> None:
    """It ends, and leaves neither version behind."""
    url = fault.put("/big.bin", BIG)
    fault.order("/big.bin", *(change(Virtual(SIZE, seed)) for seed in range(10, 30)), when=second_part)
    done = run(url, volume)
    assert (done.code, done.tree) == (9, {})
    assert_matches(done, r"big\.bin from .*: it has another version than .*; run the same command again")
    assert len([r for r in fault.requests() if r.method == "HEAD" or r.headers.get("range") == "bytes=0-0"]) >= 3


@pytest.mark.parametrize("new", [b"shorter", SMALL + b"longer"])
def test_a_small_file_that_changes_after_it_was_listed(fault: FaultServer, tree: str, volume: Path, new: bytes) -> None:
    fault.order("/set/small.bin", change(new), when=is_get)
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE | {"small.bin": new})
    assert "listing it again" in done.result.err


@pytest.mark.parametrize("name", TREE)
def test_a_file_that_ends_before_its_listed_size(fault: FaultServer, tree: str, volume: Path, name: str) -> None:
    """In chunks, which show that nothing was cut off: it has changed, and no retry helps."""
    new = TREE[name][:-100]
    fault.order(f"/set/{name}", Fault(chunked=True, ignore_range=True, replace=new), when=is_get)
    done = run(tree, volume, "--retry-budget", 600)
    assert (done.code, done.tree) == (0, TREE | {name: new})
    assert f"it has {len(new):,} bytes now, {len(TREE[name]):,} were listed; listing it again" in done.result.err
    assert "trying again" not in done.result.err


@pytest.mark.parametrize("body", [BIG, SMALL, b""], ids=["big", "small", "empty"])
def test_a_file_of_a_size_that_nobody_tells(fault: FaultServer, volume: Path, body: bytes) -> None:
    url = fault.put("/a.bin", body)
    fault.order("/a.bin", chunked(), times=ALWAYS)
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"a.bin": body})
    assert done.report["bytes"]["total"] == len(body)
    if body == SMALL:
        assert run(url, volume).report["files"]["kept"] == 1


def test_chunks_that_break_off(fault: FaultServer, tree: str, volume: Path) -> None:
    """Where the size is known and where it is not."""
    once_each(fault, Fault(cut="close", after=1000, chunked=True), Fault(cut="reset", after=MIB, chunked=True))
    url = fault.put("/set/stream.bin", NEW)
    fault.order("/set/stream.bin", Fault(chunked=True, cut="close", after=9 * MIB), when=is_get)
    fault.order("/set/stream.bin", chunked(), times=ALWAYS)
    done = run(tree, volume)
    assert (done.code, done.tree) == (0, TREE | {"stream.bin": NEW})
    done = run(url, volume / "alone")
    assert (done.code, done.tree) == (0, {"stream.bin": NEW})


# Other hosts


def test_ranges_of_a_file_that_lies_on_another_host(fault: FaultServer, other: FaultServer, volume: Path) -> None:
    """Each part is asked for where the first host's answer led to, a signed URL, say; until that expires."""
    url = fault.put("/big.bin", b"")
    fault.order("/big.bin", redirect(f"{other.url}/store/blob"), times=ALWAYS)
    other.put("/store/blob", BIG)
    other.order("/store/blob", status(403), when=second_part)
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"big.bin": BIG}), done.result.err
    assert other.bytes_sent() == SIZE
    assert all("range" in request.headers for request in other.requests() if request.method == "GET")
    assert done.report["retries"] == 1
    assert len([request for request in fault.requests() if request.method == "GET"]) == 2
    assert len([request for request in other.requests() if request.method == "GET"]) == 3


@pytest.mark.parametrize("after", [0, 5])
def test_a_redirect_that_breaks_off(fault: FaultServer, other: FaultServer, volume: Path, after: int) -> None:
    url = fault.put("/big.bin", BIG)
    elsewhere = Fault(302, b"this way", {"Location": other.put("/blob", BIG)}, cut="close", after=after)
    fault.order("/big.bin", elsewhere, when=is_get, times=ALWAYS)
    done = run(url, volume)
    assert (done.code, done.tree) == (0, {"big.bin": BIG}), done.result.err


# TLS


@pytest.mark.parametrize("way", ["--ca-bundle", "DSLOAD_CA_BUNDLE", "SSL_CERT_FILE", "ca.crt"])
def test_a_private_authority(fault_tls: FaultServer, ca: CA, volume: Path, way: str) -> None:
    for name, body in TREE.items():
        fault_tls.put(f"/set/{name}", body)
    arguments = [way, ca.bundle] if way.startswith("--") else []
    env = {way: str(ca.bundle)} if way.isupper() else {}
    if way == "ca.crt":
        write_secrets(volume.parent / "secrets").joinpath("ca.crt").write_bytes(ca.bundle.read_bytes())
    done = run(f"{fault_tls.url}/set/", volume, *arguments, env=env)
    assert (done.code, done.tree) == (0, TREE), done.result.err


def test_an_unknown_authority(fault_tls: FaultServer, volume: Path) -> None:
    """It ends at once, and says what to do."""
    done = run(f"{fault_tls.url}/set/", volume, "--retry-budget", 600)
    assert (done.code, done.report["error"]["retry"]) == (3, False)
    assert_matches(done, "certificate.*; give the certificate authority by --ca-bundle, SSL_CERT_FILE or the secret ca")
    assert "trying again" not in done.result.err
    assert fault_tls.requests() == []


def test_a_bundle_that_is_none(fault_tls: FaultServer, volume: Path, tmp_path: Path) -> None:
    done = run(f"{fault_tls.url}/set/", volume, "--ca-bundle", tmp_path / "none.pem")
    assert done.code == 2
    assert "none.pem: this file does not exist" in done.error
    (tmp_path / "empty.pem").write_text("no certificate\n")
    done = run(f"{fault_tls.url}/set/", volume, "--ca-bundle", tmp_path / "empty.pem", "--retry-budget", 600)
    assert done.code == 2
    assert "empty.pem: it holds no certificate" in done.error


def test_a_redirect_to_tls(fault: FaultServer, fault_tls: FaultServer, ca: CA, volume: Path) -> None:
    """And from there to another host without it: connections are used for both."""
    fault.put("/set/small.bin", b"")
    fault.put("/set/big.bin", b"")
    for name, body in TREE.items():
        fault.order(f"/set/{name}", redirect(f"{fault_tls.url}/{name}"), times=ALWAYS)
        fault_tls.order(f"/{name}", redirect(f"{fault.url}/store/{name}"), times=ALWAYS)
        fault.put(f"/store/{name}", body)
    for name, body in TREE.items():
        done = run(f"{fault.url}/set/{name}", volume / name, "--ca-bundle", ca.bundle, "--workers", 1)
        assert (done.code, done.tree) == (0, {name: body}), done.result.err


# Proxies


@pytest.fixture
def far() -> Proxy:
    """A proxy that alone knows the way to models.example."""
    with Proxy(hosts=frozenset({"models.example"})) as server:
        yield server


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_for_http(fault: FaultServer, tree: str, far: Proxy, volume: Path, variable: str) -> None:
    """Pages, files and parts: nothing goes past it."""
    url = tree.replace("127.0.0.1", "models.example")
    done = run(url, volume, env={variable: far.url})
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert all(request.target.startswith(url) for request in far.requests())
    assert len(far.requests()) == len(fault.requests())


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_for_https(fault_tls: FaultServer, ca: CA, proxy: Proxy, volume: Path, variable: str) -> None:
    for name, body in TREE.items():
        fault_tls.put(f"/set/{name}", body)
    done = run(f"{fault_tls.url}/set/", volume, "--ca-bundle", ca.bundle, env={variable: proxy.url})
    assert (done.code, done.tree) == (0, TREE), done.result.err
    assert {(r.method, r.target) for r in proxy.requests()} == {("CONNECT", f"127.0.0.1:{fault_tls.port}")}
    assert sum(request.sent for request in proxy.requests()) > fault_tls.bytes_sent() >= SIZE + len(SMALL)


@pytest.mark.parametrize(
    ("variable", "hosts"),
    [("no_proxy", "127.0.0.1"), ("NO_PROXY", "*"), ("NO_PROXY", "a.example, 127.0.0.0/8")],
)
def test_no_proxy(tree: str, volume: Path, variable: str, hosts: str) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    done = run(tree, volume, env={"HTTP_PROXY": dead, "http_proxy": dead, variable: hosts})
    assert (done.code, done.tree) == (0, TREE), done.result.err


def test_a_proxy_that_is_dead(fault: FaultServer, tree: str, volume: Path) -> None:
    """Is not gone round."""
    port = free_port()
    done = run(tree, volume, "--retry-budget", 1, env={"HTTP_PROXY": f"http://127.0.0.1:{port}"})
    assert done.code == 9
    assert_matches(done, rf"127\.0\.0\.1:{port} .*after 1 s without progress")
    assert fault.requests() == []


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("password", ["pr0xy:s3cret", "wr0ng:s3cret"])
def test_a_proxy_with_a_password(
    fault: FaultServer, fault_tls: FaultServer, ca: CA, volume: Path, tls: bool, password: str
) -> None:
    server = fault_tls if tls else fault
    url = server.put("/big.bin", BIG)
    with Proxy(auth=("me", "pr0xy:s3cret")) as proxy:
        address = f"http://me:{password.replace(':', '%3A')}@127.0.0.1:{proxy.port}"
        env = {"HTTP_PROXY": address, "HTTPS_PROXY": address}
        done = run(url, volume, "--ca-bundle", ca.bundle, "--retry-budget", 600, env=env)
    assert "s3cret" not in done.result.err + done.result.out
    if password.startswith("pr0xy"):
        assert (done.code, done.tree) == (0, {"big.bin": BIG}), done.result.err
        assert all("proxy-authorization" not in request.headers for request in server.requests())
    else:
        assert done.code == 3
        assert_matches(done, "407 Proxy Authentication Required; check HTTP_PROXY, HTTPS_PROXY and NO_PROXY")
        assert server.requests() == []


@pytest.mark.parametrize("value", ["ftp://me:s3cret@127.0.0.1:1", "http://me:s3cret@[bad", "no proxy"])
def test_a_variable_that_is_no_proxy(fault: FaultServer, tree: str, volume: Path, value: str) -> None:
    done = run(tree, volume, env={"http_proxy": value})
    assert done.code == 2
    assert "variable http_proxy: it is not the URL of a proxy" in done.error
    assert "s3cret" not in done.result.err + done.result.out
    assert fault.requests() == []


# Secrets

SECRETS = {"password": "p4ssw0rd-in-file", "token": "t0ken-in-file", "ssh-privatekey-passphrase": "phr4se-in-file"}
SHOWN_NOWHERE = [*SECRETS.values(), "p4ssw0rd-in-url", "p4ssw0rd%2Din-url", "s1gnature", "h3ader", "c00kie"]


@pytest.mark.parametrize(
    ("outcome", "form", "user_info"),
    [
        ("loads", "text", ""),
        ("loads", "json", "me:p4ssw0rd%2Din-url@"),
        ("is refused", "text", "me:p4ssw0rd%2Din-url@"),
        ("gives up", "json", ""),
        ("is wrong", "text", ""),
        ("is no index", "json", "me:p4ssw0rd%2Din-url@"),
    ],
)
def test_secrets_are_shown_nowhere(
    fault: FaultServer, volume: Path, tmp_path: Path, outcome: str, form: str, user_info: str
) -> None:
    """Neither in logs, report and result, nor in any name or content on the volume."""
    secrets = write_secrets(tmp_path / "secrets", username="me", **{n.replace("-", "_"): v for n, v in SECRETS.items()})
    fault.put("/set/small.bin", SMALL)
    fault.put("/set/big.bin", BIG, headers={"Repr-Digest": repr_digest(NEW if outcome == "is wrong" else BIG)})
    if outcome == "is refused":
        fault.order("/set/small.bin", status(403), times=ALWAYS)
    elif outcome == "gives up":
        fault.order("/set/big.bin", reset(MIB), when=second_part)
        fault.order("/set/big.bin", status(503), when=rest_of_second_part, times=ALWAYS)
    elif outcome == "is no index":
        fault.put("/set/", b"<html>", headers={"Content-Type": "text/html"})
    url = f"{fault.url.replace('://', f'://{user_info}')}/set/?X-Amz-Signature=s1gnature&sig=s1gnature&plain=1"
    report = tmp_path / "report.json"
    done = run(
        url, volume, "--report-file", report, "--log-format", form, "-v", "--mount-secrets", secrets,
        "-o", "X-Api-Key=h3ader", "-o", "Cookie=session=c00kie", "--retry-budget", 1,
    )  # fmt: skip
    expected = {"loads": 0, "is refused": 3, "gives up": 9, "is wrong": 5, "is no index": 4}
    assert done.code == expected[outcome], done.result.err
    assert "plain=1" in done.result.err
    assert json.loads(report.read_text())["source"].endswith("X-Amz-Signature=***&sig=***&plain=1")
    password = "p4ssw0rd-in-url" if user_info else SECRETS["password"]
    assert {request.headers["authorization"] for request in fault.requests()} == {basic("me", password)}
    everything = {"stdout": done.result.out, "stderr": done.result.err, "report": report.read_text()}
    for path, data in contents(volume, state=True).items():
        everything[path] = path + data.decode("latin-1")
    hidden = [*SHOWN_NOWHERE, basic("me", password).removeprefix("Basic ")]
    shown = [(place, secret) for place, text in everything.items() for secret in hidden if secret in text]
    assert shown == []


def test_an_error_is_one_line(fault: FaultServer, volume: Path) -> None:
    """Whatever the server writes."""
    name = "a\nb\x1b[31m\r.bin"
    fault.put(f"/set/{name}", b"x")
    fault.order(f"/set/{name}", status(403, body=b"go\naway\n"), times=ALWAYS)
    done = run(f"{fault.url}/set/", volume)
    assert done.code == 3
    assert "403 Forbidden" in done.error
    assert "\x1b" not in done.result.err
    assert [line for line in done.result.err.splitlines() if not line[:2].isdigit()] == []


def test_a_file_is_named_in_every_error(fault: FaultServer, tree: str, volume: Path) -> None:
    fault.order("/set/small.bin", Fault(cut="close", after=BEFORE_HEAD), when=is_get, times=ALWAYS)
    done = run(tree, volume, "--retry-budget", 1)
    assert done.code == 9
    assert f"downloading small.bin from {tree}: " in done.error


def assert_matches(done: Run, pattern: str) -> None:
    """The error line has this in it."""
    assert re.search(pattern, done.error), done.error
