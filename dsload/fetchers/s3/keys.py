"""Whose keys sign: those of the secrets directory, of the environment, else those that AWS's own tools would use."""

import os
import time
from typing import Protocol

from dsload.errors import UsageError
from dsload.fetchers.s3.aws import Aws
from dsload.secrets import Secrets, hide

_LOOK = 0.2  # seconds between two looks at the files
Pair = tuple[str, str, str]  # access key, secret key, session token


class Keys(Protocol):
    """Keys as they are now.

    Attributes:
        renews: whether they may be others later on.
    """

    renews: bool

    def current(self) -> Pair | None:
        """The keys; None if there are none. Raises DsloadError if they cannot be had."""

    def renew(self) -> None:
        """Have them read anew where they come from, as a store has refused them."""


def find_keys(secrets: Secrets, anonymous: bool, aws: Aws) -> Keys:
    """The first keys that there are. Raises UsageError if the secrets directory has half a pair."""
    if anonymous:
        return _Fixed(None)
    if bool(secrets.access_key) != bool(secrets.secret_key):
        fix = "the secrets directory needs both files, or neither"
        raise UsageError("reading the secrets", "access-key and secret-key", "only one of them exists", fix)
    if secrets.access_key:
        return _Mounted(secrets)
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret:  # the first link of AWS's chain, without botocore's import
        token = os.environ.get("AWS_SESSION_TOKEN", "")
        hide(secret, token)
        return _Fixed((key, secret, token))
    return aws


class _Fixed:
    """Keys that stay as they are, or none."""

    renews = False

    def __init__(self, pair: Pair | None) -> None:
        self._pair = pair

    def current(self) -> Pair | None:
        return self._pair

    def renew(self) -> None:
        pass


class _Mounted:
    """Keys of the secrets directory, as its files have them now."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets, self._looked = secrets, -_LOOK
        self.renews = bool(secrets.directory)

    def current(self) -> Pair | None:
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            fresh = self._secrets.fresh()
            if fresh.access_key and fresh.secret_key:  # not while one of two files is being replaced
                self._secrets = fresh
        return self._secrets.access_key, self._secrets.secret_key, self._secrets.session_token

    def renew(self) -> None:
        self._looked = -_LOOK
