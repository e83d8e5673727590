"""Git's wire protocol, by dulwich: what refs a server has, and one commit of it.

Smart HTTP goes over the engine's transport (gitprotocol-http(5)), git:// over a socket, ssh over paramiko
(gitprotocol-pack(5)); all of them in protocol version 2 if the server speaks it (gitprotocol-v2(5)), else 0.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dulwich.client import GitClient
from dulwich.errors import GitProtocolError, HangupException
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from dsload.errors import BadAnswerError, DsloadError, NotFoundError, UnreachableError, UsageError
from dsload.fetchers.git.folder import FolderClient, open_folder
from dsload.fetchers.git.location import Location
from dsload.fetchers.git.login import Login
from dsload.fetchers.git.store import LocalStore, PackStore, Store
from dsload.fetchers.git.transports import Counted, HttpClient, NoDaemon, Pipe, PipeClient, open_tcp
from dsload.fetchers.git.verdict import CannotLeaveOut, Garbled, of_end, of_words
from dsload.secrets import Secrets, logger
from dsload.transfer.client import Client

log = logger(__name__)

_HEAD = Ref(b"HEAD")
_AGAIN = "run the same command again"


class Remote:
    """A repository on a server.

    Args:
        location: where.
        secrets: for it alone.
        client: the engine's.
        where: the source's name for messages.

    Attributes:
        login: sends requests with its credentials.
        head: the branch that HEAD stands for, in full, as far as refs() has learned it.
    """

    def __init__(self, location: Location, secrets: Secrets, client: Client, where: str) -> None:
        self.location, self.where = location, where
        self.head = ""
        self.login = Login(location, secrets, client)
        self.secrets, self.client = secrets, client
        self._timeout = client.network.stall_timeout
        self._http: HttpClient | None = None
        self._answered = False  # as a git server does

    def refs(self, prefixes: Sequence[str]) -> Mapping[str, str]:
        """The refs below the prefixes and their ids; what an annotated tag stands for under its name and `^{}`.

        Raises:
            RefusedError, NotFoundError, UnreachableError: as the contract's exit codes say.
        """
        if self.location.scheme == "file":
            with self._repository() as repo:
                self.head = repo.refs.get_symrefs().get(_HEAD, b"").decode("utf-8", "replace")
                return {name: id for name, id in _local_refs(repo).items() if name.startswith(tuple(prefixes))}
        wanted = [prefix.encode() for prefix in prefixes]
        answer = self._call(lambda client: client.get_refs(b"", ref_prefix=wanted))
        self.head = answer.symrefs.get(_HEAD, b"").decode("utf-8", "replace")
        return {name.decode("utf-8", "replace"): sha.decode() for name, sha in answer.refs.items() if sha}

    def fetch(self, ids: Sequence[str], depth: int, leave_out: str = "", store: PackStore | None = None) -> PackStore:
        """A store in $TMPDIR with objects and all that they need.

        Args:
            ids: of commits or tags; of any objects if the server gives those.
            depth: how many commits of history, 0 for all.
            leave_out: what may be left out, if the server can do that (git-rev-list(1), `--filter`).
            store: to fetch into; a new one if None.

        Raises:
            Unadvertised: the server does not give one of them.
            BadAnswerError: what it sends is not a whole pack.
            NoSpaceError: $TMPDIR is full.
        """
        into = store or PackStore(self.where)
        wants, have = [ObjectID(id.encode()) for id in ids], _Nothing()
        path = os.fsencode(self.location.path) if self.location.scheme == "file" else b""
        log.debug("fetching %s of %s", ids[0] if len(ids) == 1 else f"{len(ids)} objects", self.where)

        def fetch(client: GitClient, depth: int = depth) -> None:
            with into.receive() as pack:
                write = pack.write if isinstance(client, HttpClient) else Counted(pack, self.where).write
                result = client.fetch_pack(
                    path, lambda refs, depth=None: wants, have, write,
                    depth=depth or None, ref_prefix=[b"HEAD"], filter_spec=leave_out.encode() or None,
                )  # fmt: skip
                into.agree(result.object_format, result.new_shallow or have.shallow)

        try:
            self._call(fetch, ids)
        except CannotLeaveOut:
            log.info("%s: the server cannot leave history out; fetching all of it", self.where)
            self._call(partial(fetch, depth=0), ids)
        return into

    def open(self) -> Store | None:
        """The store of a repository that is a folder; None elsewhere."""
        if self.location.scheme != "file":
            return None
        return LocalStore(self._repository().object_store, self.where)

    def command(self, line: str) -> tuple[int, bytes, bytes]:
        """Run a command on an ssh server: its exit status, output and errors."""
        with self._told(), contextlib.closing(self._ssh(line)) as pipe:
            output = pipe.read(-1)
            assert pipe.stderr
            return pipe.status(), output, pipe.stderr.read()

    # Transports

    def _call(self, call: Callable[[GitClient], Any], ids: Sequence[str] = ()) -> Any:
        """Have a conversation, again within the budget as long as that may help."""
        try:
            answer = self.client.insist(lambda: self._attempt(call, ids))
        except NoDaemon as error:
            self._go_by_https(error)
            return self._call(call, ids)
        self._agree()
        return answer

    def _attempt(self, call: Callable[[GitClient], Any], ids: Sequence[str]) -> Any:
        client = self._client()
        try:
            with self._told(ids), contextlib.closing(client):
                return call(client)
        except Garbled as error:
            raise self._garbled(error) from error
        except (UnreachableError, BadAnswerError):
            self._http = None
            raise

    def _client(self) -> GitClient:
        if self.location.scheme == "file":
            return FolderClient()
        if self.location.scheme in ("http", "https"):
            if self._http is None:
                self._http = HttpClient(self.location.url, self.login, self.where, self._agree)
            return self._http
        return PipeClient(self._service, self._agree)

    def _agree(self) -> None:
        self._answered = True

    def _service(self, service: str) -> Pipe:
        at = self.location
        if at.scheme == "git":
            return open_tcp(at, service, self._timeout)
        quoted = "'" + at.path.replace("'", "'\\''") + "'"  # as git does: some servers take no other form
        return self._ssh(f"{service} {quoted}", {"GIT_PROTOCOL": "version=2"})

    def _ssh(self, command: str, environment: Mapping[str, str] | None = None) -> Pipe:
        try:
            from dsload.fetchers.git.sshpipe import open_ssh
        except ImportError as error:
            fix = "pip install 'dsload[ssh]'"
            raise UsageError("loading", self.where, "its library is missing (paramiko)", fix) from error
        return open_ssh(self.location, self.secrets, self._timeout, command, environment or {})

    def _go_by_https(self, error: "NoDaemon") -> None:
        log.warning("no git daemon answers at %s (%s); trying https", self.location.url, error)
        self.location = replace(self.location, scheme="https", port=443)
        self.login = Login(self.location, self.secrets, self.client)

    def _repository(self) -> Repo:
        return open_folder(self.location.path, self.where)

    @contextlib.contextmanager
    def _told(self, ids: Sequence[str] = ()) -> Iterator[None]:
        """The one place where dulwich's errors become dsload's."""
        try:
            yield
        except (DsloadError, NoDaemon):
            raise
        except HangupException as error:
            errors = b" ".join(error.stderr_lines or []).decode("utf-8", "replace")
            raise of_end(errors.strip(), self.where, ids) from error
        except GitProtocolError as error:
            if isinstance(error.__cause__, OSError):
                raise UnreachableError("asking", self.where, str(error), _AGAIN) from error
            raise of_words(str(error), self.where, ids) from error
        except (OSError, EOFError) as error:
            why = f"the connection failed ({error or type(error).__name__})"
            raise UnreachableError("asking", self.where, why, _AGAIN) from error
        except (AssertionError, ValueError, KeyError, IndexError) as error:
            raise self._garbled(error) from error

    def _garbled(self, error: Exception) -> DsloadError:
        if self._answered:
            self._http = None
            why = f"the server's answer is cut or is not git's protocol ({error})"
            return BadAnswerError("asking", self.where, why, _AGAIN)
        why = f"the server does not speak git's protocol as dsload does ({error})"
        return NotFoundError("asking", self.where, why, "check the URL")


class _Nothing:
    """What the target has of the repository's history, for the server to leave out."""

    def __init__(self) -> None:
        self.shallow: set[bytes] = set()

    def __next__(self) -> None:
        return None

    def ack(self, sha: bytes) -> None:
        """The server has this too."""

    def nak(self) -> None:
        """The server has nothing of it."""


def _local_refs(repo: Repo) -> Mapping[str, str]:
    refs = {name.decode("utf-8", "replace"): sha.decode() for name, sha in repo.get_refs().items()}
    for name in list(refs):
        if name.startswith("refs/tags/") and (peeled := repo.get_peeled(Ref(name.encode()))):
            refs[f"{name}^{{}}"] = peeled.decode()
    return refs
