"""A host that serves what another one has signed for, until that expires; what both kinds of LFS storage are."""

from typing import Any

from tests.servers.fault import FaultServer
from tests.servers.threaded import Request


class SigningStorage(FaultServer):
    """A fault server whose URLs are signed.

    `leaked` are the requests that carried credentials of the host that signs.
    """

    def __init__(self, **options: Any) -> None:
        self.leaked: list[Request] = []
        self._signed: dict[str, Any] = {}  # what a signature is good for
        super().__init__(index=False, **options)

    def expire(self) -> None:
        """From now on refuse the URLs given so far."""
        with self._lock:
            self._signed.clear()

    def clear(self) -> None:
        """Forget the requests, those of `leaked` too, and the orders."""
        self.leaked.clear()
        super().clear()

    def _note(self, request: Request) -> None:
        if request.headers.keys() & {"authorization", "cookie"}:
            self.leaked.append(request)
