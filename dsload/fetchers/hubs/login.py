"""The token that a hub knows its user by."""

import os

from dsload.secrets import Secrets, bearer, hide


class Login:
    """The secret `token`, else a variable of the environment.

    Args:
        secrets: with the token; they are read anew once it is refused, as a mounted Secret may have been renewed.
        variable: of the environment.
        cookie: the name of the session cookie that the hub takes the token by too, "" if it takes none.
    """

    def __init__(self, secrets: Secrets, variable: str, cookie: str = "") -> None:
        self._secrets, self._variable, self._cookie = secrets, variable, cookie
        hide(self.token)

    @property
    def token(self) -> str:
        """What is sent, "" if there is none."""
        return self._secrets.token or os.environ.get(self._variable, "").strip()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request to the hub."""
        if not (token := self.token):
            return {}
        cookie = {"Cookie": f"{self._cookie}={token}"} if self._cookie else {}
        return {"Authorization": bearer(token), **cookie}

    def renew(self, sent: str) -> bool:
        """Read the secret anew, as the hub has refused the token that was sent. Whether it is another one now."""
        self._secrets = self._secrets.fresh()
        return self.token != sent
