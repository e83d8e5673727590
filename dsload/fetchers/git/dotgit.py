"""A `.git` beside the working tree, as entries of the listing like any other file (gitrepository-layout(5))."""

import hashlib
import io
import os
from collections.abc import Iterator

from dulwich.index import IndexEntry, write_index_dict
from dulwich.object_format import get_object_format
from dulwich.objects import ObjectID

from dsload.fetchers.git.location import Location
from dsload.fetchers.git.store import PackStore, Store
from dsload.fetchers.git.tree import read_tree
from dsload.listing import BytesReader, Checksum, Entry
from dsload.names import STATE

_FOLDERS = ("branches", "objects/info", "refs/heads", "refs/tags")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


def dot_git(store: PackStore, commit: str, ref: str, location: Location) -> Iterator[Entry]:
    """A repository with one commit checked out.

    Args:
        store: holds the commit, its tree and as much history as was asked for, in packs.
        commit: its id.
        ref: in full, of the branch or tag that it was asked for by; "" for none.
        location: of the remote; its credentials are left out.
    """
    texts = {
        "HEAD": f"ref: {ref}\n" if ref.startswith(_HEADS) else f"{commit}\n",
        "config": _config(store.format, ref, location),
        "packed-refs": _packed_refs(commit, ref),
        "info/exclude": f"/{STATE}/\n",
    }
    if store.shallow:
        texts["shallow"] = "".join(f"{id}\n" for id in sorted(store.shallow))
    made = _Made({name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()})
    made.contents["index"] = _index(store, commit)
    yield from map(made.entry, made.contents)
    for folder in _FOLDERS:
        yield Entry(f".git/{folder}", 0, "", made, directory=True)
    yield from _Packs(store).entries()


def _config(format: str, ref: str, location: Location) -> str:
    version, extension = ("1", f"[extensions]\n\tobjectformat = {format}\n") if format != "sha1" else ("0", "")
    branch = ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else ""
    fetched = f"+{ref}:refs/remotes/origin/{branch}" if branch else "+refs/heads/*:refs/remotes/origin/*"
    lines = [
        f"[core]\n\trepositoryformatversion = {version}\n\tbare = false\n\tlogallrefupdates = true\n",
        "\tfilemode = false\n",  # the volume's mode is the load's, not the repository's
        f'{extension}[remote "origin"]\n\turl = {_quoted(location.remote)}\n\tfetch = {_quoted(fetched)}\n',
    ]
    if branch:
        lines.append(f"[branch {_quoted(branch)}]\n\tremote = origin\n\tmerge = {_quoted(ref)}\n")
    return "".join(lines)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _packed_refs(commit: str, ref: str) -> str:
    names = [f"{_HEADS}{(branch := ref.removeprefix(_HEADS))}", f"refs/remotes/origin/{branch}"]
    if not ref.startswith(_HEADS):
        names = [ref] if ref.startswith(_TAGS) else []
    return "".join(f"{commit} {name}\n" for name in names)


def _index(store: Store, commit: str) -> bytes:
    """An index without times and sizes: git looks at each file once, and finds it unchanged."""
    tree = read_tree(store, store.root(commit))
    modes = [(path, 0o100755 if executable else 0o100644, id) for path, executable, id in tree.files]
    modes += [(path, 0o120000, id) for path, id in tree.links] + [(path, 0o160000, id) for path, id in tree.submodules]
    entries = {path: IndexEntry(0, 0, 0, 0, mode, 0, 0, 0, ObjectID(id.encode())) for path, mode, id in modes}
    out = io.BytesIO()
    write_index_dict(out, entries, object_format=get_object_format(store.format))
    return out.getvalue() + hashlib.new(store.format, out.getvalue(), usedforsecurity=False).digest()


class _Made(BytesReader):
    """Content that was made here."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents

    def entry(self, name: str) -> Entry:
        """The entry of one of them."""
        content = self.contents[name]
        digest = hashlib.sha256(content).hexdigest()
        return Entry(f".git/{name}", len(content), digest, self, name, Checksum("sha256", digest))

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes of it."""
        return self.contents[entry.key][start:end]


class _Packs(BytesReader):
    """The packs of a store and their indexes."""

    def __init__(self, store: PackStore) -> None:
        self._store = store  # which closes the files when it goes
        self._files = store.keep()

    def entries(self) -> Iterator[Entry]:
        """An entry for each."""
        for name, file in self._files.items():
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            checksum = Checksum("sha256", digest)
            yield Entry(f".git/objects/pack/{name}", file.tell(), digest, self, name, checksum)

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes of one."""
        return os.pread(self._files[entry.key].fileno(), end - start, start)
