"""Git over ssh: keys of every kind, whose host it is, and LFS through ssh."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests import command
from tests.loads import Run, run, write_secrets
from tests.repositories import TREE, Repository
from tests.servers.git import GitServer
from tests.servers.gitssh import GitSsh
from tests.servers.mounts import as_user, directory_of
from tests.servers.orders import basic
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.tls import CA
from tests.trees import contents

KEYS = [
    ("rsa", "openssh"), ("rsa", "pem"), ("ecdsa", "openssh"), ("ecdsa", "pem"), ("ed25519", "openssh"),
]  # fmt: skip


@pytest.fixture
def ssh(tmp_path: Path, work: Repository) -> Iterator[GitSsh]:
    with GitSsh(tmp_path / "git") as server:
        yield server


@pytest.fixture
def secrets(tmp_path: Path, ssh: GitSsh) -> Path:
    """A key that may log in."""
    return write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key())


def load(uri: str, volume: Path, *arguments: object) -> Run:
    """With a home of its own, and no agent: what the developer has is not for the tests."""
    home = volume.parent / "home"
    home.mkdir(exist_ok=True)
    done = run(uri, volume, *arguments, env={"HOME": str(home), "SSH_AUTH_SOCK": ""})
    assert os.listdir(home) in ([], [".ssh"])
    return done


@pytest.mark.parametrize("passphrase", ["", "open sesame"], ids=["plain", "passphrase"])
@pytest.mark.parametrize(("kind", "form"), KEYS)
def test_a_key(
    ssh: GitSsh,
    volume: Path,
    tmp_path: Path,
    kind: Literal["rsa", "ecdsa", "ed25519"],
    form: Literal["openssh", "pem"],
    passphrase: str,
) -> None:
    key = ssh.key(kind, form, passphrase)
    write_secrets(tmp_path / "secrets", ssh_privatekey=key, ssh_privatekey_passphrase=passphrase)
    done = load(ssh.url("name.git"), volume, "-v")
    assert (done.code, done.tree) == (0, TREE)
    assert ssh.fingerprint in done.result.err
    assert passphrase not in done.result.err or not passphrase
    assert not any(line in done.result.err for line in key.splitlines()[1:-1] if len(line) > 30)


@pytest.mark.parametrize("version2", [True, False], ids=["v2", "v0"])
def test_both_forms_of_url(work: Repository, volume: Path, tmp_path: Path, version2: bool) -> None:
    with GitSsh(tmp_path / "git", version2=version2) as ssh:
        write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key())
        done = load(ssh.url("name.git"), volume)
        assert (done.code, done.report["revision"]) == (0, work.head)
        done = load(f"git+ssh://{ssh.user}@127.0.0.1:{ssh.port}/name.git", volume, "-o", "include=a.txt")
        assert done.code == 0
        assert ssh.commands() == ["git-upload-pack '/name.git'"] * 4


def test_the_short_form_has_no_port_and_a_path_from_home() -> None:
    from dsload.fetchers.git.location import parse_location

    location = parse_location("git@git.example.com:group/name.git")
    assert (location.scheme, location.user, location.host, location.port) == ("ssh", "git", "git.example.com", 22)
    assert (location.path, location.remote) == ("group/name.git", "git@git.example.com:group/name.git")


@pytest.mark.usefixtures("secrets")
def test_known_hosts(ssh: GitSsh, volume: Path, tmp_path: Path, work: Repository) -> None:
    (tmp_path / "secrets/known_hosts").write_text(ssh.known_hosts())
    done = load(ssh.url("name.git"), volume)
    assert (done.code, done.tree) == (0, TREE)
    assert "accepted the host key" not in done.result.err
    with GitSsh(tmp_path / "git") as other:
        (tmp_path / "secrets/known_hosts").write_text(ssh.known_hosts().replace(str(ssh.port), str(other.port)))
        write_secrets(tmp_path / "secrets", ssh_privatekey=other.key())
        done = load(other.url("name.git"), volume, "-o", "include=a.txt")
        assert done.code == 3
        assert "its host key is not the one in known_hosts" in done.error
        assert other.commands() == []


@pytest.mark.usefixtures("secrets")
def test_a_host_that_the_user_knows(ssh: GitSsh, volume: Path, tmp_path: Path) -> None:
    mine = tmp_path / "home/.ssh/known_hosts"
    mine.parent.mkdir(parents=True)
    mine.write_text(ssh.known_hosts())
    done = load(ssh.url("name.git"), volume)
    assert (done.code, "accepted the host key" in done.result.err) == (0, False)
    with GitSsh(tmp_path / "git") as other:
        mine.write_text(other.known_hosts().replace(str(other.port), str(ssh.port)))
    refused = load(ssh.url("name.git"), volume, "-o", "include=a.txt")
    assert refused.code == 3


def test_a_uid_without_a_name(ssh: GitSsh) -> None:
    with directory_of() as folder:
        secrets = write_secrets(folder / "secrets", ssh_privatekey=ssh.key())
        flags = ["--mount-root", folder, "--mount-path", "set", "--mount-secrets", secrets]
        for uri in (ssh.url("name.git"), ssh.url("name.git").replace(f"{ssh.user}@", "")):
            env = {"HOME": "/nonexistent", "USER": "", "LOGNAME": "", "LNAME": "", "USERNAME": ""}
            done = command.run("load", uri, *flags, env=env, wrap=as_user)
            assert done.code == (0 if ssh.user in uri else 3), done.err
        assert contents(folder / "set") == TREE


def test_keys_that_do_not_open(ssh: GitSsh, volume: Path, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path / "secrets", ssh_privatekey=ssh.key(authorize=False))
    refused = load(ssh.url("name.git"), volume)
    assert refused.code == 3
    assert f"it refuses the credentials of {ssh.user}" in refused.error
    write_secrets(secrets, ssh_privatekey=ssh.key(passphrase="open sesame"))
    locked = load(ssh.url("name.git"), volume)
    assert (locked.code, "add the secret ssh-privatekey-passphrase" in locked.error) == (2, True)
    (secrets / "ssh-privatekey").unlink()
    nothing = load(ssh.url("name.git"), volume)
    assert (nothing.code, "none were given" in nothing.error) == (3, True)


@pytest.mark.usefixtures("secrets")
def test_a_missing_repository_and_a_missing_server(ssh: GitSsh, volume: Path) -> None:
    missing = load(ssh.url("other.git"), volume)
    assert missing.code == 4
    assert "the server says: fatal: " in missing.error
    down = load(f"ssh://{ssh.user}@127.0.0.1:{free_port()}/name.git", volume, "--retry-budget", 1)
    assert down.code == 9


@pytest.mark.usefixtures("secrets")
def test_lfs_by_git_lfs_authenticate(ssh: GitSsh, work: Repository, volume: Path, tmp_path: Path) -> None:
    work.track("*.bin")
    work.commit({"model.bin": b"m" * 5000})
    work.push(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git", basic=("nobody", "knows")) as http:
        http.lfs_authorization = basic("granted", "by ssh")
        granted = {"Authorization": http.lfs_authorization}
        ssh.lfs_authenticate = {"href": f"{http.url}/name.git/info/lfs", "header": granted, "expires_in": 600}
        done = load(ssh.url("name.git"), volume, "-v", "-o", "keepGit=true")
        assert (done.code, done.tree["model.bin"]) == (0, b"m" * 5000)
        assert http.storage.leaked == []
    assert ssh.commands()[-1] == "git-lfs-authenticate /name.git download"
    secret = http.lfs_authorization.removeprefix("Basic ")
    assert secret not in done.result.err
    assert not any(secret.encode() in content for content in contents(done.target, state=True).values())


def test_what_an_ssh_server_grants_comes_before_a_token(
    ssh: GitSsh, work: Repository, volume: Path, secrets: Path, ca: CA, tmp_path: Path
) -> None:
    """Both are for the host: a proxy stands for its port 443, which nobody may take here."""
    write_secrets(secrets, token="a token that LFS does not take")
    work.track("*.bin")
    work.commit({"model.bin": b"m" * 5000})
    work.push(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git", basic=("nobody", "knows"), tls=ca) as http, Proxy(ports={443: http.port}) as proxy:
        http.lfs_authorization = basic("granted", "by ssh")
        granted = {"Authorization": http.lfs_authorization}
        ssh.lfs_authenticate = {"href": "https://127.0.0.1/name.git/info/lfs", "header": granted, "expires_in": 600}
        env = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "", "SSL_CERT_FILE": str(ca.bundle)}
        done = run(ssh.url("name.git"), volume, env=env)
        assert (done.code, done.tree.get("model.bin")) == (0, b"m" * 5000), done.result.err


@pytest.mark.usefixtures("secrets")
def test_lfs_over_ssh_by_lfsconfig(ssh: GitSsh, work: Repository, volume: Path, tmp_path: Path) -> None:
    work.track("*.bin")
    work.commit({"model.bin": b"m" * 5000, ".lfsconfig": f"[lfs]\n\turl = {ssh.url('name.git')}\n".encode()})
    work.push(tmp_path / "git/name.git")
    with GitServer(tmp_path / "git") as http:
        ssh.lfs_authenticate = {"href": f"{http.url}/name.git/info/lfs", "header": {}}
        done = load(f"{http.url}/name.git", volume)
        assert (done.code, done.tree["model.bin"]) == (0, b"m" * 5000)
    assert ssh.commands() == ["git-lfs-authenticate /name.git download"]


@pytest.mark.usefixtures("secrets")
def test_an_ssh_server_without_lfs(ssh: GitSsh, work: Repository, volume: Path, tmp_path: Path) -> None:
    work.track("*.bin")
    work.commit({"model.bin": b"m" * 5000})
    work.push(tmp_path / "git/name.git")
    done = load(ssh.url("name.git"), volume, "--retry-budget", 1)
    assert done.code == 9  # https://127.0.0.1/name.git/info/lfs, where nobody listens
    assert "this host has no LFS" in done.result.err
