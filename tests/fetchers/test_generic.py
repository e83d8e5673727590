"""FSSPEC: credentials, host keys, broken connections, hostile and failing filesystems, beyond the contract."""

import hashlib
import os
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from awscrt.checksums import crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dsload import Network, Report, Secrets, Settings, Source, Target, load, read_secrets
from dsload.errors import (
    ChangedError,
    DsloadError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnknownHostError,
    UnreachableError,
    UnsafePathError,
    UsageError,
)
from tests.command import run
from tests.contract import inside
from tests.contract.places import write_secrets
from tests.contract.suite import MIB, noise, read_tree
from tests.servers.passwords import PasswordSftp
from tests.servers.sftp import Sshd
from tests.servers.tunnel import Tunnel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def bring(
    uri: str,
    root: Path,
    secrets: Secrets | None = None,
    kind: str | None = None,
    network: Network | None = None,
    **options: str,
) -> Report:
    """Load a URI into `set` below the root."""
    settings = Settings(network or Network(workers=4, retry_budget=20))
    return load(Source.parse(uri, kind, options), Target(root, "set"), secrets, settings)


# SFTP: who logs in


@pytest.fixture
def folder(sshd: Sshd, tmp_path: Path) -> Path:
    """A folder that sshd serves, with a file."""
    folder = sshd.root / tmp_path.name
    folder.mkdir(exist_ok=True)
    (folder / "a").write_bytes(b"content")
    return folder


def sftp(sshd: Sshd, folder: Path, port: int = 0) -> str:
    return f"sftp://{sshd.user}@{sshd.host}:{port or sshd.port}{folder}"


Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KEYS: dict[str, Callable[[], Private]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
OPENSSH, PEM = serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.TraditionalOpenSSL


def private(key: Private, form: serialization.PrivateFormat, passphrase: str) -> str:
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, lock).decode()


def authorize(sshd: Sshd, key: Private) -> None:
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    with (sshd.directory / "authorized_keys").open("a") as file:
        file.write(public.decode() + "\n")


@pytest.mark.parametrize(
    ("kind", "form", "passphrase"),
    [
        ("ed25519", OPENSSH, ""),
        ("ed25519", OPENSSH, "open sesame"),
        ("ecdsa", OPENSSH, "open sesame"),
        ("ecdsa", PEM, ""),
        ("rsa", OPENSSH, ""),
        ("rsa", PEM, "open sesame"),
    ],
)
def test_sftp_with_a_key(
    sshd: Sshd, folder: Path, root: Path, tmp_path: Path, kind: str, form: serialization.PrivateFormat, passphrase: str
) -> None:
    authorize(sshd, key := KEYS[kind]())
    values = {"ssh_privatekey": private(key, form, passphrase), "ssh_privatekey_passphrase": passphrase}
    bring(sftp(sshd, folder), root, read_secrets(write_secrets(tmp_path / "secrets", **values)))
    assert read_tree(root / "set") == {"a": b"content"}


@pytest.mark.parametrize(
    ("key", "passphrase", "kind", "why"),
    [
        ("locked", "", UsageError, "it is encrypted; add the secret ssh-privatekey-passphrase"),
        ("locked", "wrong passphrase", UsageError, "not an Ed25519, ECDSA or RSA key that its passphrase opens"),
        ("garbage", "", UsageError, "not an Ed25519, ECDSA or RSA key"),
        ("unknown", "", RefusedError, "AuthenticationException"),
    ],
)
def test_sftp_with_a_key_that_does_not_open_the_door(
    sshd: Sshd, folder: Path, root: Path, key: str, passphrase: str, kind: type[DsloadError], why: str
) -> None:
    text = {
        "locked": private(KEYS["ed25519"](), OPENSSH, "open sesame"),
        "garbage": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "unknown": private(KEYS["ed25519"](), OPENSSH, ""),
    }[key]
    secrets = Secrets(ssh_privatekey=text, ssh_privatekey_passphrase=passphrase)
    with pytest.raises(kind, match=why) as error:
        bring(sftp(sshd, folder), root, secrets)
    assert error.value.exit_code == {UsageError: 2, RefusedError: 3}[kind]
    assert text.splitlines()[1] not in str(error.value)
    assert list(root.iterdir()) == []


def test_sftp_does_not_open_a_pipe(sshd: Sshd, folder: Path, root: Path) -> None:
    os.mkfifo(folder / "fifo")
    authorize(sshd, key := KEYS["ed25519"]())
    secrets = Secrets(ssh_privatekey=private(key, OPENSSH, ""))
    with pytest.raises(RefusedError, match=r"fifo of .*not a file"):
        bring(sftp(sshd, folder), root, secrets)
    bring(sftp(sshd, folder), root, secrets, exclude="fifo")
    assert read_tree(root / "set") == {"a": b"content"}


@pytest.fixture
def passwords(tmp_path: Path) -> Iterator[PasswordSftp]:
    (tmp_path / "files/sub").mkdir(parents=True)
    (tmp_path / "files/sub/a b").write_bytes(b"content")
    (tmp_path / "files/big").write_bytes(noise(9 * MIB))
    with PasswordSftp(tmp_path / "files", "models", "correct-horse") as server:
        yield server


def test_sftp_with_a_password(passwords: PasswordSftp, root: Path, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path / "secrets", username="models", password="correct-horse")
    bring(f"sftp://127.0.0.1:{passwords.port}/", root, read_secrets(secrets))
    assert read_tree(root / "set") == {"sub/a b": b"content", "big": noise(9 * MIB)}
    uri = f"sftp://models:correct-horse@127.0.0.1:{passwords.port}/sub"  # it wins over the secrets
    bring(uri, root, Secrets(username="other", password="other-password"))
    assert read_tree(root / "set")["a b"] == b"content"


def test_a_wrong_password_is_tried_once_and_not_told(passwords: PasswordSftp, root: Path, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path / "secrets", username="models", password="wrong-staple")
    uri = f"sftp://127.0.0.1:{passwords.port}/"
    done = inside.run("load", uri, "--mount-path", "set", "--mount-root", root, "--mount-secrets", secrets, "-v")
    assert done.code == 3
    assert "Authentication" in done.errors[0]
    assert "wrong-staple" not in done.out + done.err
    assert passwords.tried == ["wrong-staple"]


# SFTP: whose door it is


def test_a_known_host(sshd: Sshd, folder: Path, root: Path, tmp_path: Path) -> None:
    known = sshd.known_hosts.read_text()
    secrets = write_secrets(tmp_path / "secrets", ssh_privatekey=sshd.key.read_text(), known_hosts=known)
    bring(sftp(sshd, folder), root, read_secrets(secrets))
    assert read_tree(root / "set") == {"a": b"content"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_secrets_that_windows_wrote(sshd: Sshd, folder: Path, root: Path, tmp_path: Path, encoding: str) -> None:
    for name, file in (("known_hosts", sshd.known_hosts), ("ssh-privatekey", sshd.key)):
        (tmp_path / name).write_bytes(file.read_text().replace("\n", "\r\n").encode(encoding))
    bring(sftp(sshd, folder), root, read_secrets(tmp_path))
    assert read_tree(root / "set") == {"a": b"content"}


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_host_of_which_one_key_is_known(passwords: PasswordSftp, root: Path, tmp_path: Path, kind: str) -> None:
    """It is asked for that one, whichever it would show first."""
    values = {"username": "models", "password": "correct-horse", "known_hosts": passwords.known_host(kind)}
    secrets = read_secrets(write_secrets(tmp_path / "secrets", **values))
    bring(f"sftp://127.0.0.1:{passwords.port}/sub", root, secrets)
    assert read_tree(root / "set") == {"a b": b"content"}


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_host_with_another_key(passwords: PasswordSftp, root: Path, tmp_path: Path, kind: str) -> None:
    """Another key of a kind that the host has, or one of a kind that it has not: no password is sent."""
    key = KEYS[kind]()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    known = f"[127.0.0.1]:{passwords.port} {public.decode()}"
    values = {"username": "models", "password": "correct-horse", "known_hosts": known}
    with pytest.raises(RefusedError, match=r"host key.*correct the secret known_hosts") as error:
        secrets = read_secrets(write_secrets(tmp_path / "secrets", **values))
        bring(f"sftp://127.0.0.1:{passwords.port}/", root, secrets)
    assert error.value.exit_code == 3
    assert passwords.tried == []


def test_a_host_that_is_not_known(passwords: PasswordSftp, root: Path, tmp_path: Path) -> None:
    known = "other.example " + passwords.known_host().partition(" ")[2]
    values = {"username": "models", "password": "correct-horse", "known_hosts": known}
    secrets = read_secrets(write_secrets(tmp_path / "secrets", **values))
    with Tunnel(passwords.port) as tunnel:
        with pytest.raises(RefusedError, match="known_hosts has no key for this host"):
            bring(f"sftp://127.0.0.1:{tunnel.port}/", root, secrets)
        assert tunnel.connections == 0
    right = write_secrets(tmp_path / "secrets", known_hosts=known + passwords.known_host())
    bring(f"sftp://127.0.0.1:{passwords.port}/sub", root, read_secrets(right))
    assert read_tree(root / "set") == {"a b": b"content"}


def test_known_hosts_that_are_none(sshd: Sshd, folder: Path, root: Path, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path / "secrets", known_hosts=f"[{sshd.host}]:{sshd.port} ssh-ed25519 !!!")
    with pytest.raises((UsageError, RefusedError), match="known_hosts"):
        bring(sftp(sshd, folder), root, read_secrets(secrets))


def test_sftp_without_credentials(sshd: Sshd, folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(RefusedError, match="add the secret ssh-privatekey or password") as error:
        bring(sftp(sshd, folder), root)
    assert error.value.exit_code == 3


# SFTP: what it holds


def own_key(sshd: Sshd) -> Secrets:
    return Secrets(ssh_privatekey=sshd.key.read_text())


def test_sftp_keeps_symlinks(sshd: Sshd, folder: Path, root: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/up").symlink_to("../a")
    (folder / "dir").symlink_to("sub")
    bring(sftp(sshd, folder), root, own_key(sshd))
    assert read_tree(root / "set") == {"a": b"content", "sub/up": b"-> ../a", "dir": b"-> sub"}
    (folder / "out").symlink_to("/etc/passwd")
    with pytest.raises(UnsafePathError, match=r"'out'.*points out of the target"):
        bring(sftp(sshd, folder), root, own_key(sshd))


@pytest.mark.parametrize("fault", [(5 * MIB, "close"), (5 * MIB, "stall"), (3000, "close")])
def test_sftp_goes_on_after_a_connection_breaks(sshd: Sshd, folder: Path, root: Path, fault: tuple[int, Any]) -> None:
    (folder / "big").write_bytes(noise(20 * MIB))
    with Tunnel(sshd.port) as tunnel:
        tunnel.faults = [None if fault[0] > MIB else fault, fault]  # to list, and to read
        network = Network(workers=1, retry_budget=30, stall_timeout=2)
        report = bring(sftp(sshd, folder, tunnel.port), root, own_key(sshd), network=network)
        assert not tunnel.faults
    assert read_tree(root / "set") == {"a": b"content", "big": noise(20 * MIB)}
    assert report.retries >= 1


@pytest.mark.parametrize(
    ("uri", "options", "kind", "code", "why"),
    [
        ("sftp://127.0.0.1:9/a", {}, UnreachableError, 9, "Unable to connect.*--retry-budget"),
        ("sftp://127.0.0.1:{port}/a", {"nonsense": "1"}, UsageError, 2, "'nonsense'"),
        ("sftp://127.0.0.1/a", {"port": "ssh"}, UsageError, 2, "'ssh'"),
        ("sftp://127.0.0.1:{port}/no/such/path", {}, NotFoundError, 4, "this path does not exist"),
    ],
)
def test_sftp_errors(
    sshd: Sshd,
    root: Path,
    uri: str,
    options: dict[str, str],
    kind: type[DsloadError],
    code: int,
    why: str,
) -> None:
    with pytest.raises(kind, match=why) as error:
        bring(uri.format(port=sshd.port), root, own_key(sshd), network=Network(retry_budget=0.2), **options)
    assert error.value.exit_code == code
    assert list(root.iterdir()) == []


def test_a_broken_connection_is_one_line(tmp_path: Path) -> None:
    with Tunnel(9) as nowhere:
        done = run("ls", f"sftp://127.0.0.1:{nowhere.port}/a", "--retry-budget", 0)
    assert done.code == 9
    assert [done.err.strip()] == [line.strip() for line in done.errors]


# Which filesystem


@pytest.mark.parametrize(
    ("module", "uri", "hint"),
    [
        ("paramiko", "sftp://host/path", "pip install 'dsload[sftp]'"),
        ("paramiko", "ssh://host/path", "pip install 'dsload[ssh]'"),
        ("gcsfs", "gs://bucket/path", "pip install 'dsload[gcs]'"),
        ("adlfs", "abfs://container/path", "pip install 'dsload[azure]'"),
        ("ocifs", "oci://bucket/path", "Install ocifs"),
    ],
)
def test_a_missing_library(tmp_path: Path, module: str, uri: str, hint: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; from dsload.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "ls", uri], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"loading {uri}: its library is missing" in line
    assert hint in line


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["gopher://host/path"], "no source has the scheme gopher://; known: s3://"),
        (["FSSPEC", "gopher://host/path"], "Protocol not known: gopher"),
        (["no scheme"], "it has no scheme"),
    ],
)
def test_an_unknown_protocol(arguments: list[str], why: str) -> None:
    done = inside.run("ls", *arguments)
    assert done.code == 2
    assert why in done.errors[0]


def test_options_of_the_query_and_of_the_filesystem(root: Path, tmp_path: Path) -> None:
    memory, path = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    try:
        memory.pipe({f"{path}/a.bin": b"a", f"{path}/b.txt": b"b"})
        bring(f"memory:/{path}?include=*.bin", root)
        assert read_tree(root / "set") == {"a.bin": b"a"}
        with pytest.raises(NotFoundError):  # "false" is no text: a filesystem with a store of its own is empty
            bring(f"memory:/{path}", root, global_store="false")
        bring(f"memory:/{path}", root, global_store="true")
    finally:
        memory.rm(path, recursive=True)


# Filesystems that lie, fail and change

Tree = dict[str, list[dict[str, Any]]]


class Scripted(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Lists by folder as it is told; every file holds its own name."""

    protocol = "scripted"
    folders: ClassVar[dict[str, Any]] = {}
    failures: ClassVar[list[Exception]] = []
    made: ClassVar[list["Scripted"]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made.append(self)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix(f"{cls.protocol}://").strip("/")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if path in self.folders:
            return {"name": path, "type": "directory", "size": 0}
        for infos in self.folders.values():
            for info in infos if isinstance(infos, list) else ():
                if info["name"] == path:
                    return info
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        listed = self.folders[path.rstrip("/")]
        if isinstance(listed, Exception):
            raise listed
        return listed

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if self.failures:
            raise self.failures.pop(0)
        return path.encode()[start:end]


class Flat(Scripted):
    """Lists a whole tree by itself, as object stores do."""

    protocol = "flat"

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **kw: Any) -> Any:
        return {info["name"]: info for infos in self.folders.values() for info in infos}


class Looping(AsyncFileSystem):  # type: ignore[misc]
    """As many filesystems of object stores are made; they run in a loop of fsspec's."""

    protocol = "looping"
    made: ClassVar[list["Looping"]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made.append(self)

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return Scripted().info("/" + path.strip("/"))

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        return Scripted().ls("/" + path.strip("/"))

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        return Scripted().cat_file(path, start, end)


@contextmanager
def scripted(folders: dict[str, Any], *failures: Exception) -> Iterator[None]:
    for kind in (Scripted, Flat, Looping):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    Scripted.folders, Scripted.failures = folders, list(failures)
    Scripted.made.clear()
    Looping.made.clear()
    yield


def file(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "file", "size": len(name.encode()), "mtime": 1, **more}


def directory(name: str) -> dict[str, Any]:
    return {"name": name, "type": "directory", "size": 0}


@pytest.mark.parametrize("kind", ["scripted", "flat"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/data/../x", r"leads up with '\.\.'"),
        ("/data/sub/../../x", r"leads up with '\.\.'"),
        ("/etc/passwd", "does not lie below '/data'"),
        ("../x", "does not lie below '/data'"),
        ("/database/x", "does not lie below '/data'"),
        ("/data/.dsload/lease.json", "dsload keeps its own state"),
        ("/data/a\0b", "NUL"),
        ("/data//x", "it is absolute"),
    ],
)
def test_names_that_lead_out(root: Path, tmp_path: Path, kind: str, name: str, why: str) -> None:
    with scripted({"/data": [file("/data/good"), file(name)]}), pytest.raises(UnsafePathError, match=why) as error:
        bring(f"{kind}://data", root, kind="FSSPEC")
    assert error.value.exit_code == 5
    assert read_tree(root / "set") == {}
    assert [path.name for path in tmp_path.iterdir()] == ["volume"]


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        ({"/data": [directory("/data/..")]}, r"leads up with '\.\.'"),
        ({"/data": [directory("/data/.")]}, r"'\.'"),
        ({"/data": [directory("/")], "": [directory("/data")]}, "does not lie below"),
        ({"/data": [directory("/data/a")], "/data/a": [file("/data/beside")]}, "does not lie below '/data/a'"),
        ({"/data": [directory("/data/a"), file("/data/a")], "/data/a": [file("/data/a/b")]}, "a file and a directory"),
    ],
)
def test_folders_that_lead_out_or_in_circles(root: Path, folders: Tree, why: str) -> None:
    with scripted(folders), pytest.raises(UnsafePathError, match=why):
        bring("scripted://data", root, kind="FSSPEC")
    assert read_tree(root / "set") == {}


def test_folders_without_an_end(root: Path) -> None:
    class Endless(dict[str, Any]):
        def __missing__(self, path: str) -> Any:
            return [directory(f"{path}/deeper{len(path)}")]

    folders = Endless({"/data": [directory("/data/deep")]})
    with scripted(folders), pytest.raises(UnsafePathError, match="4,096 bytes deep"):
        bring("scripted://data", root, kind="FSSPEC")


def test_folders_that_lead_in_circles(root: Path) -> None:
    """As with `latest -> .` and `current -> .` behind a server that follows symlinks."""
    asked = []

    class Circles(dict[str, Any]):
        def __missing__(self, path: str) -> Any:
            asked.append(path)
            return [directory(f"{path}/latest"), directory(f"{path}/current"), file(f"{path}/a", size=1)]

    folders = Circles(
        {"/data": [directory("/data/latest"), directory("/data/sub")], "/data/sub": [file("/data/sub/b")]}
    )
    with scripted(folders), pytest.raises(UnsafePathError, match="lead in circles") as error:
        bring("scripted://data", root, kind="FSSPEC")
    assert len(asked) < 50
    assert "leave it out by -o exclude='latest/" in str(error.value)
    with scripted(folders):
        bring("scripted://data", root, kind="FSSPEC", exclude="latest/")
    assert read_tree(root / "set") == {"sub/b": b"/data/sub/b"}


def test_folders_that_hold_the_same_for_a_while(root: Path) -> None:
    folders = {f"/data{'/a' * depth}": [directory(f"/data{'/a' * (depth + 1)}")] for depth in range(12)}
    folders[f"/data{'/a' * 12}"] = [file(f"/data{'/a' * 12}/b")]
    with scripted(folders):
        bring("scripted://data", root, kind="FSSPEC")
    assert set(read_tree(root / "set")) == {"a/" * 12 + "b"}


@pytest.mark.parametrize("kind", ["scripted", "flat"])
def test_a_file_that_is_listed_twice(root: Path, kind: str) -> None:
    with scripted({"/data": [file("/data/a"), file("/data/a")]}):
        report = bring(f"{kind}://data", root, kind="FSSPEC")
    assert (report.files.total, read_tree(root / "set")) == (1, {"a": b"/data/a"})
    with scripted({"/data": [file("/data/a"), file("/data/a", size=3)]}), pytest.raises(UnsafePathError):
        bring("scripted://data", root, kind="FSSPEC")


CLOSED = PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "options", [{"exclude": pattern} for pattern in ("x/", "x/*", "x*", "x", "x/,a")] + [{"include": "sub/*"}]
)
def test_a_folder_that_is_closed_and_not_selected(root: Path, options: dict[str, str]) -> None:
    tree = {
        "/data": [directory("/data/x"), directory("/data/sub")],
        "/data/x": CLOSED,
        "/data/sub": [file("/data/sub/b")],
    }
    with scripted(tree):
        bring("scripted://data", root, kind="FSSPEC", **options)
    assert read_tree(root / "set") == {"sub/b": b"/data/sub/b"}
    with scripted(tree), pytest.raises(RefusedError, match=r"listing x of .*leave it out by -o exclude='x/'"):
        bring("scripted://data", root, kind="FSSPEC", include="*b")


@pytest.mark.parametrize("error", [CLOSED, OSError(5, "Input/output error")])
def test_what_was_loaded_of_a_closed_folder_stays(root: Path, error: Exception) -> None:
    tree = {"/data": [file("/data/a"), directory("/data/x")], "/data/x": [file("/data/x/b")]}
    with scripted(tree):
        bring("scripted://data", root, kind="FSSPEC")
    with scripted({**tree, "/data/x": error}):
        bring("scripted://data", root, kind="FSSPEC", exclude="x")
    assert read_tree(root / "set") == {"a": b"/data/a", "x/b": b"/data/x/b"}


def test_a_special_file_that_is_not_selected(root: Path) -> None:
    with scripted({"/data": [file("/data/a"), file("/data/fifo", type="other", size="?")]}):
        bring("scripted://data", root, kind="FSSPEC", exclude="fifo")
    assert read_tree(root / "set") == {"a": b"/data/a"}


@pytest.mark.parametrize(
    ("stated", "size"), [(3, 2_000_000), (3, 8), (4 << 20, (4 << 20) + 1), (9, 8), (9 << 20, 8 << 20)]
)
def test_a_size_that_is_not_right(root: Path, stated: int, size: int) -> None:
    class Other(Scripted):
        protocol = "other"

        def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
            return noise(size)[start:end]

    with scripted({"/data": [file("/data/a", size=stated)]}), pytest.raises(ChangedError, match=r"a (of|from) other"):
        fsspec.register_implementation("other", Other, clobber=True)
        bring("other://data", root, kind="FSSPEC")
    assert read_tree(root / "set") == {}


def test_a_size_that_is_not_stated(root: Path) -> None:
    with scripted({"/data": [file("/data/a", size=None), file("/data/b", size=-7)]}):
        bring("scripted://data", root, kind="FSSPEC")
    assert read_tree(root / "set") == {"a": b"/data/a", "b": b"/data/b"}


def test_a_size_that_is_not_a_number(root: Path) -> None:
    with scripted({"/data": [file("/data/a", size="many")]}), pytest.raises(DsloadError, match="its fsspec filesystem"):
        bring("scripted://data", root, kind="FSSPEC")


@pytest.mark.parametrize(
    "about", [{"contentEncoding": "gzip"}, {"content_settings": {"content_encoding": "br", "content_md5": None}}]
)
def test_an_object_that_is_unpacked_on_the_way(root: Path, about: dict[str, Any]) -> None:
    with scripted({"/data": [file("/data/a"), file("/data/x.json", **about)]}):
        with pytest.raises(RefusedError, match=r"x.json of .*Content-Encoding .*leave it out by -o exclude='x.json'"):
            bring("scripted://data", root, kind="FSSPEC")
        assert read_tree(root / "set") == {}
        bring("scripted://data", root, kind="FSSPEC", exclude="*.json")
    assert read_tree(root / "set") == {"a": b"/data/a"}


def test_the_checksums_of_google(root: Path) -> None:
    """As gcsfs has them of the store: `gcloud storage objects describe` shows the same."""
    for name in ("right", "odd", "wrong"):
        (root / name).mkdir()
    named = file("/data/a")
    md5 = {"md5Hash": b64encode(hashlib.md5(b"/data/a").digest()).decode(), "crc32c": "AAAAAA=="}
    crc = {"crc32c": b64encode(crc32c(b"/data/a").to_bytes(4, "big")).decode()}
    for right in (md5, crc):
        with scripted({"/data": [{**named, **right}]}):
            assert bring("scripted://data", root / "right", kind="FSSPEC").unverified == 0
    for about in ({"md5Hash": "?"}, {"md5Hash": 7}, {"crc32c": "AAAA"}):
        with scripted({"/data": [{**named, **about}]}):
            assert bring("scripted://data", root / "odd", kind="FSSPEC").unverified == 1
    wrong = {"md5Hash": b64encode(bytes(16)).decode()}
    with scripted({"/data": [{**named, **wrong}]}), pytest.raises(IntegrityError, match="a from scripted"):
        bring("scripted://data", root / "wrong", kind="FSSPEC")


def test_a_filesystem_around_another_that_walks(root: Path) -> None:
    """fsspec's dir:// finds what the other one finds, which passes over the folders that it cannot list."""
    tree = {"/data": [file("/data/a"), directory("/data/sub")], "/data/sub": CLOSED}
    options = {"path": "/data", "target_protocol": "scripted"}
    with scripted(tree), pytest.raises(RefusedError, match="listing sub of"):
        bring("dir://", root, kind="FSSPEC", **options)


def test_a_folder_that_lists_itself(root: Path) -> None:
    folders = {
        "/data": [directory("/data/"), directory("/data/a/")],
        "/data/a": [directory("/data/a"), file("/data/a/b")],
    }
    with scripted(folders):
        bring("scripted://data", root, kind="FSSPEC")
    assert read_tree(root / "set") == {"a/b": b"/data/a/b"}


def test_what_is_no_file(root: Path) -> None:
    folders = {"/data": [file("/data/a"), file("/data/fifo", type="other")]}
    with scripted(folders), pytest.raises(RefusedError, match=r"fifo.*not a file"):
        bring("scripted://data", root, kind="FSSPEC")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (PermissionError(13, "Permission denied"), RefusedError, 3),
        (OSError(5, "Input/output error"), UnreachableError, 9),
        (KeyError("bug"), DsloadError, 1),
    ],
)
def test_a_folder_that_cannot_be_listed_is_no_empty_folder(
    root: Path, error: Exception, kind: type[DsloadError], code: int
) -> None:
    """fsspec's own walk would pass over it, and its files would count as deleted at the source."""
    tree = {"/data": [file("/data/a"), directory("/data/sub")], "/data/sub": [file("/data/sub/b")]}
    with scripted(tree):
        bring("scripted://data", root, kind="FSSPEC")
    before = read_tree(root / "set")
    assert set(before) == {"a", "sub/b"}
    with scripted({**tree, "/data/sub": error}), pytest.raises(kind) as raised:
        bring("scripted://data", root, kind="FSSPEC", network=Network(retry_budget=0.2))
    assert raised.value.exit_code == code
    assert read_tree(root / "set") == before


def wrapped(error: Exception) -> Exception:
    """As requests and aiohttp hand on what has gone wrong below them."""
    return OSError("Max retries exceeded", RuntimeError(error))


def test_an_untrusted_certificate_fails_at_once(root: Path) -> None:
    error = wrapped(ssl.SSLCertVerificationError(1, "self-signed certificate"))
    with (
        scripted({"/data": error}),
        pytest.raises(RefusedError, match=r"its certificate is not trusted.*SSL_CERT_FILE"),
    ):
        bring("scripted://data", root, kind="FSSPEC", network=Network(retry_budget=600))


@pytest.mark.parametrize(
    ("number", "kind", "code"), [(socket.EAI_NONAME, UnknownHostError, 4), (socket.EAI_AGAIN, UnreachableError, 9)]
)
def test_a_host_that_no_dns_knows(root: Path, number: int, kind: type[DsloadError], code: int) -> None:
    error = wrapped(socket.gaierror(number, "Name or service not known"))
    with scripted({"/data": error}), pytest.raises(kind) as raised:
        bring("scripted://data", root, kind="FSSPEC", network=Network(retry_budget=6))
    assert (raised.value.exit_code, len(Scripted.made) >= 4) == (code, True)


def test_a_read_that_fails_is_tried_again_with_a_new_filesystem(root: Path) -> None:
    with scripted({"/data": [file("/data/a")]}, ConnectionResetError("gone")):
        report = bring("scripted://data", root, kind="FSSPEC", network=Network(workers=1, retry_budget=20))
        assert len(Scripted.made) == 3  # to list, to read, to read again
    assert read_tree(root / "set") == {"a": b"/data/a"}
    assert report.retries == 1


def test_one_filesystem_for_all_threads_where_it_runs_a_loop(root: Path) -> None:
    names = [f"/data/{number}" for number in range(50)]
    with scripted({"/data": [*map(file, names), directory("/data/sub")], "/data/sub": [file("/data/sub/b")]}):
        bring("looping://data", root, kind="FSSPEC")
        assert len(Looping.made) == 1
    assert set(read_tree(root / "set")) == {name.removeprefix("/data/") for name in (*names, "/data/sub/b")}


class Shifting(MemoryFileSystem):  # type: ignore[misc]
    """Its file is replaced by as many other bytes, or removed, when it is first read."""

    protocol = "shifting"
    instead: ClassVar[list[bytes | None]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = MemoryFileSystem._strip_protocol(path.removeprefix("shifting://"))
        return stripped

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        data: bytes = super().cat_file(path, start, end, **kwargs)
        if self.instead:
            new = self.instead.pop()
            self.rm_file(path)
            if new is None:
                raise FileNotFoundError(path)
            self.pipe_file(path, new)
        return data


@pytest.mark.parametrize("new", [b"new!" * 5 * MIB, None])
def test_a_file_that_changes_while_it_is_read(root: Path, tmp_path: Path, new: bytes | None) -> None:
    fsspec.register_implementation("shifting", Shifting, clobber=True)
    memory, path = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    try:
        memory.pipe({f"{path}/a": b"old!" * 5 * MIB, f"{path}/b": b"b"})
        Shifting.instead[:] = [new]
        network = Network(workers=1, retry_budget=20)
        bring(f"shifting:/{path}", root, kind="FSSPEC", network=network)
        assert not Shifting.instead
        assert read_tree(root / "set") == {"b": b"b"} | ({"a": new} if new else {})
    finally:
        memory.rm(path, recursive=True)
