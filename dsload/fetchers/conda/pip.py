"""The environment's own pip: it knows every form of a requirement, and its interpreter's tags are the right ones."""

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from dsload.errors import (
    DsloadError,
    IntegrityError,
    NoSpaceError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from dsload.fetchers.conda import guarding
from dsload.fetchers.conda.recipe import Recipe, Requirements
from dsload.secrets import Secrets, hide, logger
from dsload.transfer.network import ca_file, joined

log = logger(__name__)

_KEPT = 3000  # lines of pip's output in which its error is looked for
_FRAME = " \u2502\u2570\u2500>\u00d7"  # what pip draws around errors
_RAISED = re.compile(r"[\w.]*(Error|Exception)\b.*:")
_LAST = 6  # lines of it that an error shows,
_LONGEST = 320  # and characters of each
_NOT_PASSED = re.compile(
    r"PYTHON.*|VIRTUAL_ENV|CONDA_PREFIX|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|"
    r"PIP_(TARGET|USER|PREFIX|ROOT|REQUIRE_VIRTUALENV|PYTHON|DRY_RUN|CERT)"
)
_MEANS: tuple[tuple[str, type[DsloadError], str], ...] = (
    ("No space left on device|Errno 28|Errno 122", NoSpaceError, "make room and run the same command again"),
    ("DO NOT MATCH THE HASHES|Hashes are required", IntegrityError, "fix the hashes in the requirements"),
    (
        "CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        RefusedError,
        "give the certificate authority by --ca-bundle, SSL_CERT_FILE or the secret ca.crt",
    ),
    ("40[13] Client Error|401 Error|error 40[13]", RefusedError, "check the credentials of the index"),
    (
        "Max retries exceeded|NewConnectionError|ConnectTimeout|Read timed out|ReadTimeout|ProxyError|SSLError|"
        "name resolution|Connection refused|Connection reset|50[0234] Server Error|error 50[0234]|"
        "too many 50[0234] error",
        UnreachableError,
        "check pipIndexUrl, the proxy and the network",
    ),
    ("404 Client Error|error 404", NotFoundError, "have the index fixed"),
    ("No matching distribution|Could not find a version", NotFoundError, "check its name and version, and the index"),
    ("ResolutionImpossible|conflicting dependencies", NotFoundError, "loosen a version"),
)


def install(
    recipe: Recipe,
    cache: Path,
    secrets: Secrets,
    theirs: Callable[[str], bool],
    bundle: str | None,
    watch: Callable[[], None],
    where: str,
) -> None:
    """Install a recipe's requirements into its prefix.

    Args:
        recipe: what to install, and where.
        cache: a folder that keeps what pip has downloaded, for a load that is run again.
        secrets: credentials.
        theirs: whether they are for the host of a URL.
        bundle: PEM file of authorities that are trusted beside the system's; None for pip's own.
        watch: called several times a second; may raise to stop it.
        where: the source's name, for messages.

    Raises:
        DsloadError: why pip failed, with its last lines.
    """
    lines: deque[str] = deque(maxlen=_KEPT)

    def hear(line: str) -> None:
        lines.append(line)
        log.debug("pip: %s", line)

    with tempfile.TemporaryDirectory(prefix="dsload-pip-") as folder:
        files = list(_files(recipe.pip, Path(folder)))
        logins = _Logins(Path(folder, "bin"))
        env = {**_environment(recipe, folder, bundle), **_indexes(recipe, secrets, theirs, logins), **logins.write()}
        env["PIP_CACHE_DIR"], env["PATH"] = str(cache), f"{folder}/bin:{env['PATH']}"
        inside = next((part.folder for part in recipe.pip if os.path.isdir(part.folder)), folder)
        argv = [f"{recipe.prefix}/bin/python", "-I", "-X", "utf8", "-m", "pip", "install", "--progress-bar=off", *files]
        code = guarding.run(argv, env, inside, hear, watch)
    if code:
        raise failure(lines, where)


def _files(parts: Sequence[Requirements], folder: Path) -> Iterator[str]:
    for number, part in enumerate(parts):
        for flag, lines in (("-r", part.lines), ("-c", part.constraints)):
            if lines:
                path = folder / f"{flag[1:]}{number}.txt"
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")
                yield from (flag, str(path))


def _environment(recipe: Recipe, folder: str, bundle: str | None) -> dict[str, str]:
    """The variables that pip gets: this process's, except those that would make it do something else."""
    passed = {name: value for name, value in os.environ.items() if not _NOT_PASSED.fullmatch(name)}
    given = [*filter(None, (bundle, *map(os.environ.get, ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"))))]
    trusted = joined(*given, *filter(None, [ca_file(None)])) if given else None
    own = {
        "PATH": f"{recipe.prefix}/bin:{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": folder,
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",  # of what pip starts: names of files are UTF-8, whatever the locale
        "PIP_NO_INPUT": "1",
        "PIP_VERBOSE": "2",  # else it does not say why an index could not be read
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return {**passed, **own, **({"PIP_CERT": trusted, "REQUESTS_CA_BUNDLE": trusted} if trusted else {})}


# Indexes and their logins


class _Logins:
    """Passwords of package indexes, given to pip by a `keyring` of ours (pip 23.1 and later).

    A password in an index's URL would be on the command line of the pip that prepares a build.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passwords: dict[str, str] = {}

    def take(self, url: str, user: str = "", password: str = "") -> str:
        """A URL without its password, or with a user if it has none; the password is kept."""
        parts = urlsplit(url)
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
        if not password:
            return url
        hide(password)
        place = parts.netloc.rpartition("@")[2]
        self._passwords[place] = password
        name = parts.netloc.rpartition("@")[0].partition(":")[0] or user
        return urlunsplit(parts._replace(netloc=f"{name}@{place}"))

    def write(self) -> dict[str, str]:
        """Make the program; the variables that pip needs to find it, and it the passwords."""
        if not self._passwords:
            return {}
        self._folder.mkdir(mode=0o700)
        names = {place: f"DSLOAD_LOGIN_{number}" for number, place in enumerate(self._passwords)}
        cases = [
            f"  '{place}'|*'//{place}/'*|*'@{place}/'*) printf '%s' \"${name}\" ;;" for place, name in names.items()
        ]
        program = self._folder / "keyring"
        program.write_text("\n".join(["#!/bin/sh", 'case "$2" in', *cases, "  *) exit 1 ;;", "esac", ""]))
        program.chmod(0o700)
        given = {names[place]: password for place, password in self._passwords.items()}
        return {"PIP_KEYRING_PROVIDER": "subprocess", **given}


def _indexes(recipe: Recipe, secrets: Secrets, theirs: Callable[[str], bool], logins: _Logins) -> Mapping[str, str]:
    """pip's indexes as variables: what is in its arguments, every process of the machine can read."""
    user, password = (secrets.username, secrets.password) if secrets.password else ("__token__", secrets.token)

    def without_password(url: str) -> str:
        return logins.take(url, user, password) if theirs(url) else logins.take(url)

    settings = {
        "PIP_INDEX_URL": without_password(recipe.index) if recipe.index else "",
        "PIP_EXTRA_INDEX_URL": " ".join(map(without_password, recipe.extra_indexes)),
        "PIP_TRUSTED_HOST": " ".join(recipe.trusted_hosts),
    }
    return {name: value for name, value in settings.items() if value}


# What went wrong


def failure(lines: Sequence[str], where: str) -> DsloadError:
    """The error that the last lines of pip mean."""
    told = [line.strip(_FRAME) for line in lines if line.strip() and "WARNING: Retrying" not in line]
    why = "pip: " + " / ".join(_shortened(line) for line in _gist(told))
    text = "\n".join(told)
    for pattern, kind, fix in _MEANS:
        if re.search(pattern, text):
            return kind("installing the requirements of", where, why, fix)
    return UsageError("installing the requirements of", where, why, "fix the requirements; -v shows all that pip says")


def _gist(lines: Sequence[str]) -> Sequence[str]:
    """The lines that say what went wrong: a build's own last ones, or pip's from its first error on."""
    for number, line in enumerate(lines):
        if "subprocess-exited-with-error" in line:
            return [*lines[max(0, number - _LAST) : number], *lines[number + 1 : number + 2]]
    first = next(
        (number for number, line in enumerate(lines) if line.startswith("ERROR: ")), max(0, len(lines) - _LAST)
    )
    errors = []
    for number, line in enumerate(lines[first:], first):
        if line.startswith(("Exception information", "Traceback (most recent")):
            errors += [last for last in lines[number:] if _RAISED.match(last)][:1]
            break
        errors.append(line.removeprefix("ERROR: "))
    unread = [line for line in lines if "Could not fetch URL" in line]
    return [*unread[-1:], *errors[:_LAST]]


def _shortened(line: str) -> str:
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]}…{line[-half:]}"
