"""`.gitattributes` and pointers as git and git-lfs read them: `git check-attr` and `git lfs pointer` are the judges."""

import os
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dsload.fetchers.git.attributes import Attributes
from dsload.fetchers.git.glob import compile_pattern
from dsload.formats.pointer import read_pointer
from tests.loads import run
from tests.repositories import Link, Repository, blob, commit_tree, environment, git, tree
from tests.servers.git import GitServer
from tests.servers.process import find

OID = "a1" * 32
WORDS = [b"a", b"b", b"model", b"x.bin", b"my model.bin", b"A", b"sub", b"[x]", b"\xc3\xbc.bin", b"!n", b"#h", b"a\\b",
         b'q"t', b"tab\tx", b"**", b"aab", b"abab.bin", b" lead"]  # fmt: skip
PIECES = [b"*", b"*", b"**", b"/", b"/", b"/**/", b"**/", b"/**", b"?", b"a", b"b", b"ab", b"*.bin", b"sub", b"\\/",
          b"\\a", b"\\*", b"\\!n", b"[ab]", b"[!a]", b"[^/]", b"[a/]", b"[]-a]", b"[[:lower:]]", b"[[:x:]]", b"[[:]",
          b"[:a]", b"[a-]", b"[--0]", b"[\\]]", b"[a-\\b]", b"[b-a]", b"[", b"]", b"***", b"[[:digit:]-z]", b"[[a]",
          b"[![:punct:]]", b"\\", b"\\ ", b"#", b"!", b"A", b"."]  # fmt: skip
STATES = [b"filter=lfs", b"filter=lfs", b"filter=lfs diff=lfs merge=lfs -text", b"-filter", b"!filter", b"filter",
          b"filter=other", b"-text", b"binary", b"lfs", b"lfs", b"big", b"-lfs", b"!lfs", b"lfs=x", b"-filter=lfs",
          b"bad~name", b"filter=", b"FILTER=lfs", b"-", b"=x", b"filter=lfs=x", b"--filter", b"-binary"]  # fmt: skip


def check_attr(folder: Path, paths: Sequence[bytes], *attributes: str) -> list[tuple[bytes, bytes, bytes]]:
    """Path, attribute and value, as git says them."""
    asked = b"".join(path + b"\0" for path in paths)
    command = [find("git", "git"), "check-attr", "--stdin", "-z", *attributes]
    said = subprocess.run(command, cwd=folder, input=asked, capture_output=True, env=environment(), check=True).stdout
    words = said.split(b"\0")[:-1]
    return list(zip(words[::3], words[1::3], words[2::3], strict=True))


# Patterns


def test_patterns_match_what_git_says(tmp_path: Path) -> None:
    git("init", "--quiet", tmp_path)
    hits = 0
    for seed in range(40):
        rng = random.Random(seed)
        patterns = [b"".join(rng.choices(PIECES, k=rng.randint(1, 7))) for _ in range(300)]
        patterns = [pattern for pattern in patterns if not pattern.startswith((b"!", b"#")) and b" " not in pattern]
        words = [b"a", b"b", b"ab", b"ba", b"aab", b"abab", b"*", b"-", b"[", b"]", b":", b"\\", b"0", b"A", b"sub"]
        paths = sorted({b"/".join(rng.choices(words, k=rng.randint(1, 5))) for _ in range(60)})
        lines = (b"%s p%d\n" % (pattern, number) for number, pattern in enumerate(patterns))
        (tmp_path / ".gitattributes").write_bytes(b"".join(lines))
        git_says = {(path, int(name[1:])) for path, name, _ in check_attr(tmp_path, paths, "--all")}
        compiled = [compile_pattern(pattern) for pattern in patterns]
        found = {(path, n) for path in paths for n, pattern in enumerate(compiled) if pattern.fullmatch(path)}
        wrong = [(path, patterns[n]) for path, n in found ^ git_says]
        assert wrong == [], seed
        hits += len(found)
    assert hits > 20_000


def test_classes_of_characters_are_those_of_git(tmp_path: Path) -> None:
    git("init", "--quiet", tmp_path)
    names = "alnum alpha blank cntrl digit graph lower print punct space upper xdigit nothing"
    patterns = [f"[{not_}[:{name}:]]".encode() for name in names.split() for not_ in ("", "!", "^")]
    paths = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    (tmp_path / ".gitattributes").write_bytes(b"".join(b"%s p%d\n" % (p, n) for n, p in enumerate(patterns)))
    git_says = {(path, int(name[1:])) for path, name, _ in check_attr(tmp_path, paths, "--all")}
    compiled = [compile_pattern(pattern) for pattern in patterns]
    assert {(path, n) for path in paths for n, pattern in enumerate(compiled) if pattern.fullmatch(path)} == git_says


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (b"*a" * 900 + b"b", b"a" * 255),
        (b"**/a/" * 100 + b"b", b"a/" * 1000 + b"c"),
        (b"**/*a*a*a*a*/" * 60 + b"b", b"aaaaaaa/" * 500 + b"c"),
        (b"*[ab]" * 300 + b"/**/*a*a*c", b"a" * 255 + b"/a" * 1500),
    ],
)
def test_a_hostile_pattern_takes_no_time(pattern: bytes, path: bytes) -> None:
    """With a regular expression that goes back it takes longer than the universe has."""
    assert not compile_pattern(pattern).fullmatch(path)


# Files


def quoted(rng: random.Random, pattern: bytes) -> bytes:
    text = b""
    for byte in pattern:
        plain = bytes([byte])
        escaped = b"\\" + plain if plain in b'"\\' else b"\\t" if plain == b"\t" else plain
        text += b"\\%03o" % byte if rng.random() < 0.1 else escaped
    return b'"' + text + rng.choice([b'"'] * 18 + [b"", b'\\q"', b'\\40"'])


def random_line(rng: random.Random) -> bytes:
    blank = rng.choice([b" ", b"\t", b"  "])
    states = blank.join(rng.choices(STATES, k=rng.choice([0, 1, 1, 1, 2, 3])))
    match rng.randrange(20):
        case 0 | 1 | 2:
            name = rng.choice([b"lfs", b"lfs", b"big", b"binary", b"x~", b"filter", b"-x"])
            return (
                rng.choice([b"[attr]%s", b"[attr]%s", b"[attr] %s", b'"[attr]%s"', b"[attr%s"]) % name + b" " + states
            )
        case 3:
            return rng.choice([b"# %s", b"* " + b"x " * 1030 + b"%s", b"* " + b" " * 2040 + b"%s", b"%s"]) % states
    pattern = b"".join(rng.choices(PIECES, k=rng.randint(1, 5))) if rng.random() < 0.6 else random_path(rng)
    pattern = rng.choice([b"%s", b"%s", b"%s", b"/%s", b"%s/", b"*", b"!%s"]).replace(b"%s", pattern)
    if rng.random() < 0.4:
        pattern = quoted(rng, pattern)
    return rng.choice([b"", b"", b" ", b"\x0b"]) + pattern + rng.choice([blank, blank, b""]) + states + rng.choice(
        [b"", b"", b" ", b"\t ", b"\r"]
    )  # fmt: skip


def random_path(rng: random.Random) -> bytes:
    return b"/".join(rng.choices(WORDS, k=rng.choice([1, 1, 2, 2, 3, 4])))


def random_file(rng: random.Random) -> bytes:
    end = rng.choice([b"\n", b"\n", b"\r\n"])
    text = rng.choice([b"", b"", b"\xef\xbb\xbf"]) + end.join(random_line(rng) for _ in range(rng.randint(1, 12)))
    if rng.random() < 0.05:
        text = text[: len(text) // 2] + b"\0" + text[len(text) // 2 :]
    return text + rng.choice([end, end, b""])


def write_attributes(root: Path, contents: Mapping[bytes, bytes]) -> None:
    git("init", "--quiet", root)
    for folder, content in contents.items():
        inner = root / os.fsdecode(folder)
        inner.mkdir(parents=True, exist_ok=True)
        (inner / ".gitattributes").write_bytes(content)


def test_files_are_read_as_git_reads_them(tmp_path: Path) -> None:
    managed = 0
    for seed in range(150):
        rng = random.Random(seed)
        paths = sorted({random_path(rng) for _ in range(60)})
        folders = sorted({path.rpartition(b"/")[0] for path in paths} - {b""})
        contents = {b"": random_file(rng)} | {folder: random_file(rng) for folder in folders if rng.random() < 0.2}
        root = tmp_path / str(seed)
        write_attributes(root, contents)
        git_says = {path: value == b"lfs" for path, _, value in check_attr(root, paths, "filter")}
        attributes = Attributes(contents, "here")
        assert {path: attributes.filter(path) == b"lfs" for path in paths} == git_says, seed
        managed += sum(git_says.values())
    assert managed > 250


def test_a_file_that_is_too_large_is_ignored_as_git_does(caplog: pytest.LogCaptureFixture) -> None:
    assert Attributes({b"": b"* filter=lfs\n" + b"#\n" * (50 << 20)}, "here").filter(b"a") is None
    assert "here: a .gitattributes of 100 MiB is ignored, as git does" in caplog.text


# Loads


@pytest.mark.parametrize(
    "attributes",
    [
        b'"my model.bin" filter=lfs diff=lfs merge=lfs -text\n',
        b'"my\\040mod\\145l.*" filter=lfs\n',
        b"[attr]lfs filter=lfs diff=lfs merge=lfs -text\n*.bin lfs\n",
        b"*.bin big\n[attr]big lfs\n[attr]lfs filter=lfs\n",
        b"[attr]binary filter=lfs\n*.bin binary\n",
        b"\xef\xbb\xbf*.bin filter=lfs\r\n",
        b"/**/my?model.[[:alpha:]]in filter=lfs\n!*.bin -filter\n*.bin/ -filter\n",
    ],
)
def test_objects_come_whatever_form_the_attributes_have(server: GitServer, volume: Path, attributes: bytes) -> None:
    work = Repository.make(server.root / "work")
    work.commit({".gitattributes": attributes, "my model.bin": b"in LFS"})
    assert work.git("show", "HEAD:my model.bin").startswith("version https://git-lfs")
    work.bare(server.root / "odd.git")
    done = run(f"{server.url}/odd.git", volume)
    assert (done.code, done.tree["my model.bin"]) == (0, b"in LFS"), done.result.err


def test_attributes_that_are_a_symlink_say_nothing(server: GitServer, work: Repository, volume: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 5\n".encode()
    work.commit({"attributes": b"*.bin filter=lfs\n", ".gitattributes": Link("attributes"), "a.bin": pointer})
    work.push(server.root / "name.git")
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, done.tree["a.bin"]) == (0, pointer)
    assert "1 file looks like an LFS pointer, but no .gitattributes says so: kept" in done.result.err
    assert done.report["notes"]["pointers"] == {"files": 1, "first": ["a.bin"]}


@pytest.mark.parametrize("transport", ["git", "file"])
def test_pointers_that_stay_are_counted(server: GitServer, work: Repository, volume: Path, transport: str) -> None:
    work.track("*.bin")
    work.commit({f"{n}.bin": b"in LFS %d" % n for n in range(7)} | {"plain.txt": b"version https://git-lfs"})
    work.push(server.root / "name.git")
    if transport == "git":
        done = run(f"{server.url}/name.git", volume, "-o", "lfs=false")
    else:
        names = work.git("ls-files", "*.bin", "plain.txt").split()
        (volume.parent / "files").mkdir()
        for name in names:
            (volume.parent / "files" / name).write_bytes(work.git("show", f"HEAD:{name}").encode() + b"\n")
        done = run(f"file://{volume.parent}/files", volume)
    noted = done.report["notes"]["pointers"]
    assert (done.code, noted["files"], noted["first"][0].endswith(".bin")) == (0, 7, True), done.result.err


def test_files_come_as_git_stores_them(server: GitServer, work: Repository, volume: Path) -> None:
    """Not as `git checkout` would write them, so that each is the file that its id names."""
    attributes = b"*.txt text eol=crlf\n*.id ident\n*.u16 text working-tree-encoding=UTF-16LE-BOM\n*.sh -filter\n"
    work.commit({".gitattributes": attributes, "c.txt": b"1\r\n2\r\n", "v.id": b"$Id$\n"})
    work.commit({"t.u16": "one\n".encode("utf-16")})
    work.push(server.root / "name.git")
    done = run(f"{server.url}/name.git", volume)
    stored = {
        path: work.git("cat-file", "blob", f"HEAD:{path}").encode() + b"\n" for path in ("c.txt", "v.id", "t.u16")
    }
    assert stored == {"c.txt": b"1\n2\n", "v.id": b"$Id$\n", "t.u16": b"one\n"}
    assert {path: done.tree[path] for path in stored} == stored
    assert (done.code, done.report["unverified"]) == (0, 0)


# Pointers


def random_pointer(rng: random.Random) -> bytes:
    version = rng.choice(["https://git-lfs.github.com/spec/v1"] * 3 + ["http://git-media.io/v/2", "https://x/v9"])
    oid = rng.choice([f"sha256:{OID}"] * 4 + [f"md5:{OID}", f"sha256:{OID[1:]}", OID])
    size = rng.choice(["5", "12", "0", "+7", "-1", "5 ", "x", " 5", str(2**63 - 1), str(2**63)])
    lines = [f"version {version}", f"oid {oid}", f"size {size}"]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        key = rng.choice(["ext-0-foo", "ext-1-bar", "ext-0-", "ext-10-x"])
        lines.insert(rng.choice([1, 1, 0, 2, 3]), f"{key} {rng.choice([f'sha256:{OID}', f'sha256:{OID}', 'x'])}")
    if rng.random() < 0.1:
        lines.insert(rng.randrange(4), rng.choice(["", "word", "two words", " "]))
    if rng.random() < 0.05:
        rng.shuffle(lines)
    end = rng.choice(["\n", "\n", "\r\n"])
    return (rng.choice(["", "", " ", "\n"]) + end.join(lines) + rng.choice([end, end, "", end * 2])).encode()


def test_pointers_are_what_git_lfs_takes_for_one(tmp_path: Path) -> None:
    file, good = tmp_path / "pointer", 0
    for seed in range(250):
        content = random_pointer(random.Random(seed))
        file.write_bytes(content)
        command = [find("git-lfs", "git-lfs"), "pointer", "--check", "--file", file]
        known = subprocess.run(command, capture_output=True, env=environment()).returncode == 0
        assert (read_pointer(content) is not None) == known, content
        good += known
    assert good > 20


def put_pointer(server: GitServer, pointer: bytes) -> None:
    """A commit with a.bin as this pointer, and b.txt."""
    repo = server.root / "name.git"
    attributes = blob(repo, b"*.bin filter=lfs\n")
    files = [(b".gitattributes", attributes), (b"a.bin", blob(repo, pointer)), (b"b.txt", blob(repo, b"b"))]
    commit_tree(repo, tree(repo, [("100644", "blob", name, id) for name, id in files]))


@pytest.mark.parametrize("form", ["crlf", "padded", "blank", "old"])
def test_pointers_that_git_lfs_does_not_write_itself(
    server: GitServer, work: Repository, volume: Path, form: str
) -> None:
    work.track("*.bin")
    work.commit({"a.bin": b"in LFS"})
    work.push(server.root / "name.git")
    pointer = work.git("show", "HEAD:a.bin").encode() + b"\n"
    forms = {
        "crlf": pointer.replace(b"\n", b"\r\n"),
        "padded": pointer + b"\n" * 2000,
        "blank": b"\n" + pointer.replace(b"\noid", b"\n\noid"),
        "old": pointer.replace(b"https://git-lfs.github.com", b"https://hawser.github.com"),
    }
    put_pointer(server, forms[form])
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, done.tree["a.bin"]) == (0, b"in LFS"), done.result.err


def test_a_pointer_to_nothing_asks_nobody(server: GitServer, volume: Path) -> None:
    put_pointer(server, f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 0\n".encode())
    done = run(f"{server.url}/name.git", volume)
    assert (done.code, done.tree["a.bin"], server.batches) == (0, b"", [])


def test_a_pointer_with_extensions_is_named(server: GitServer, volume: Path) -> None:
    """What an extension has made of a file only that extension can undo."""
    lines = f"ext-0-inverter sha256:{OID}\noid sha256:{OID}\nsize 5\n"
    put_pointer(server, f"version https://git-lfs.github.com/spec/v1\n{lines}".encode())
    done = run(f"{server.url}/name.git", volume)
    assert done.code == 4
    assert "Git LFS stores a.bin as its extension inverter has made it" in done.error
    assert run(f"{server.url}/name.git", volume, "-o", "exclude=a.bin").tree["b.txt"] == b"b"
