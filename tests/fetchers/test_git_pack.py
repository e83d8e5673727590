"""Packs as git writes them, read beside git; and packs that are broken."""

import random
import zlib
from pathlib import Path

import pytest

from dsload.fetchers.git.pack import BrokenPack, Pack
from tests.repositories import Repository, git


def history(path: Path, format: str) -> Repository:
    """Many versions of a few files, so that most objects are deltas of deltas."""
    rng, work = random.Random(7), Repository.make(path, format)
    lines = [b"line %d of a text that is much the same each time\n" % n for n in range(400)]
    for n in range(25):
        lines[rng.randrange(len(lines))] = b"changed in version %d\n" % n
        work.commit({"text": b"".join(lines), f"d/{n}": b"small %d" % n, "noise": rng.randbytes(7_000 + n)})
    work.tag("v1", annotated=True)
    return work


@pytest.mark.parametrize("format", ["sha1", "sha256"])
@pytest.mark.parametrize("bases", ["true", "false"], ids=["by-offset", "by-id"])
def test_every_object_is_as_git_reads_it(tmp_path: Path, format: str, bases: str) -> None:
    work = history(tmp_path / "work", format)
    work.git("-c", f"repack.useDeltaBaseOffset={bases}", "repack", "-adfq", "--depth=50", "--window=50")
    (path,) = (work.path / ".git/objects/pack").glob("*.pack")
    assert "chain length = 9" in work.git("verify-pack", "-v", path.with_suffix(".idx"))
    with open(path, "rb") as file:
        pack = Pack(file, format)
        pack.index()
        told = work.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
        rows = [line.split() for line in told.splitlines()]
        assert {id.hex() for id in pack} == {id for id, _, _ in rows}
        for id, kind, size in random.Random(1).sample(rows, len(rows)):
            key = bytes.fromhex(id)
            assert pack.size(key) == int(size)
            number, content = pack.read(key)
            assert ("commit", "tree", "blob", "tag")[number - 1] == kind
            assert pack.kind(key) == number
            assert b"".join(pack.chunks(key)) == content
            if kind == "blob":
                assert work.git("hash-object", "--stdin", input=content) == id
        with open(tmp_path / "own.idx", "w+b") as out:
            pack.write_index(out)
    assert (tmp_path / "own.idx").read_bytes() == path.with_suffix(".idx").read_bytes()
    with open(path, "rb") as file, pytest.raises(KeyError):
        Pack(file, format).read(b"\0" * 20)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    work = history(tmp_path_factory.mktemp("sound") / "work", "sha1")
    work.git("repack", "-adfq")
    (path,) = (work.path / ".git/objects/pack").glob("*.pack")
    return path.read_bytes()


def read_all(content: bytes, path: Path) -> dict[bytes, tuple[int, bytes]]:
    path.write_bytes(content)
    with open(path, "rb") as file:
        pack = Pack(file, "sha1")
        pack.index()
        return {id: pack.read(id) for id in pack}


def test_a_pack_that_is_cut_short_is_broken(sound: bytes, tmp_path: Path) -> None:
    rng = random.Random(3)
    for size in [0, 5, 12, 40, len(sound) - 1, *(rng.randrange(len(sound)) for _ in range(60))]:
        with pytest.raises((BrokenPack, zlib.error)):
            read_all(sound[:size], tmp_path / "pack")


def test_damage_is_seen_or_makes_other_objects(sound: bytes, tmp_path: Path) -> None:
    """What a commit leads to is asked for by the hash of its content: what is other is not found."""
    whole, rng, seen = read_all(sound, tmp_path / "pack"), random.Random(4), 0
    for _ in range(120):
        damaged = bytearray(sound)
        for _ in range(rng.choice((1, 1, 4))):
            damaged[rng.randrange(len(sound) - 20)] ^= 1 << rng.randrange(8)
        try:
            found = read_all(bytes(damaged), tmp_path / "pack")
        except (BrokenPack, zlib.error):
            seen += 1
            continue
        for id, content in found.items():
            assert whole.get(id, content) == content
    assert seen > 60


def test_what_is_no_pack(tmp_path: Path) -> None:
    for content in (b"", b"PACK", b"<html>" * 100, b"PACK\0\0\0\2\0\0\0\1" + b"\x95\x0a" + b"\0" * 40):
        with pytest.raises((BrokenPack, zlib.error)):
            read_all(content, tmp_path / "pack")


def test_a_delta_that_makes_something_huge(tmp_path: Path) -> None:
    """A small pack may say that an object has many bytes; what it makes is as large as that or broken."""
    bomb = zlib.compress(b"\0" * (64 << 20), 9)
    head = bytearray()
    size = 1000  # as it says
    head.append(0x80 | 3 << 4 | size & 15)
    head.append(size >> 4)
    content = b"PACK\0\0\0\2\0\0\0\1" + bytes(head) + bomb + b"\0" * 20
    with pytest.raises(BrokenPack, match="larger than it says"):
        read_all(content, tmp_path / "pack")
    base = zlib.compress(b"x" * 15)
    makes_much = b"\x0f" + b"\xff\xff\xff\xff\x7f" + b"\x90\x0f" * 1000
    delta = bytes([0x80 | 6 << 4 | len(makes_much) & 15, len(makes_much) >> 4, 1 + len(base)]) + zlib.compress(
        makes_much
    )
    content = b"PACK\0\0\0\2\0\0\0\2" + bytes([3 << 4 | 15]) + base + delta + b"\0" * 20
    with pytest.raises(BrokenPack, match="makes more than 1024 MiB"):
        read_all(content, tmp_path / "pack")


def test_git_is_of_the_same_opinion(sound: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(sound)
    git("index-pack", "-o", tmp_path / "idx", tmp_path / "pack")
