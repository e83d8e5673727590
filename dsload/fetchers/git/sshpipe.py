"""Commands on a git server over ssh, in-process: no key is written to a file, and no passphrase to an argument."""

import contextlib
import weakref
from collections.abc import Iterator, Mapping

import paramiko

from dsload.errors import RefusedError, UnreachableError
from dsload.fetchers.git.location import Location
from dsload.fetchers.git.transports import Pipe
from dsload.fetchers.ssh import login, no_credentials
from dsload.secrets import Secrets


def open_ssh(
    location: Location, secrets: Secrets, timeout: float, command: str, environment: Mapping[str, str]
) -> Pipe:
    """Start a command on a server.

    Args:
        location: names server and user.
        secrets: as ssh.login takes them.
        timeout: seconds that the server may be silent.
        command: for the server's shell.
        environment: of the command, as far as the server takes it.

    Raises:
        RefusedError: the server refuses the credentials, or is not the one that it should be.
        UnreachableError: it cannot be reached.
    """
    options = login(location.host, location.port, secrets, timeout)
    if location.user:
        options["username"] = location.user
    if location.password:
        options["password"] = location.password
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.MissingHostKeyPolicy())  # the transport has looked at the key
    where = location.authority
    try:
        with no_credentials(where):
            client.connect(location.host, location.port, **options)
        channel = client.get_transport().open_session(timeout=timeout)
        channel.settimeout(timeout)
        if environment:
            channel.update_environment(dict(environment))
        channel.exec_command(command)
    except paramiko.AuthenticationException as error:
        client.close()
        why = f"it refuses the credentials of {options.get('username', 'this user')}"
        raise RefusedError("connecting to", where, why, "check the secrets ssh-privatekey and username") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        client.close()
        raise UnreachableError("connecting to", where, str(error) or type(error).__name__) from error
    return _Ssh(client, channel)


@contextlib.contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except paramiko.SSHException as error:
        raise ConnectionError(str(error)) from error


class _Ssh:
    """A conversation over an ssh channel."""

    def __init__(self, client: paramiko.SSHClient, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._reader = channel.makefile("rb")
        self.stderr = channel.makefile_stderr("rb")
        self.close = weakref.finalize(self, client.close)

    def read(self, size: int) -> bytes:
        with _as_oserror():
            data: bytes = self._reader.read(None if size < 0 else size)
        return data

    def write(self, data: bytes) -> int:
        with _as_oserror():
            self._channel.sendall(data)
        return len(data)

    def ready(self) -> bool:
        return bool(self._channel.recv_ready())

    def status(self) -> int:
        return int(self._channel.recv_exit_status())
