"""The headers of every request to the source's own host: the user's own, and credentials."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from dsload.errors import DsloadError
from dsload.fetchers.http.spec import HttpConfig
from dsload.listing import Request, Response
from dsload.secrets import Secrets, authorization, basic, is_for, origin
from dsload.transfer.retry import refusal, to_error


class Login:
    """What a source's own host is told of its user.

    Args:
        config: with the user's own headers, and the user info of the URL.
        secrets: credentials, if neither has any; they are read anew once they are refused.
    """

    def __init__(self, config: HttpConfig, secrets: Secrets) -> None:
        self._config, self._secrets = config, secrets
        parts = urlsplit(config.url)
        self._home = f"{parts.scheme}://{parts.netloc}/"  # of most requests, so that they need not be taken apart
        self._headers = self._made()

    def _made(self) -> Mapping[str, str]:
        headers, user, password = dict(self._config.headers), self._config.user, self._config.password
        if "authorization" not in {name.lower() for name in headers}:
            login = basic(user, password) if user or password else ""
            if value := login or authorization(self._secrets):
                headers["Authorization"] = value
        return headers

    def get(self, url: str, stored: bool = False) -> Request:
        """A GET, with the headers if they are for its host.

        Args:
            url: what to get.
            stored: as of Request.
        """
        own = url.startswith(self._home) or is_for(url, self._config.url)
        sent = self._headers if own else {}
        return Request(url, headers=sent, refused=partial(self._renew, sent), stored=stored)

    def refused(self, answer: Response, doing: str, where: str) -> DsloadError:
        """The error for an answer of 300 and more, which says so if a redirect has led to where no login is sent."""
        failure = refusal(answer)
        if answer.status in (401, 403) and not is_for(answer.url, self._config.url):
            scheme, host, port = origin(answer.url)
            host = f"[{host}]" if ":" in host else host
            reason = f"{failure.reason} after a redirect to {scheme}://{host}:{port}, which gets no credentials"
            failure = replace(failure, reason=reason)
        return to_error(failure, doing, where)

    def _renew(self, sent: Mapping[str, str]) -> bool:
        """Read the secrets anew. Whether there are other headers now than those that were refused."""
        self._secrets = self._secrets.fresh()
        self._headers = self._made()
        return bool(sent) and self._headers != sent

    @property
    def takes_pages(self) -> bool:
        """Whether the user asks for pages."""
        return any(name.lower() == "accept" and "html" in value for name, value in self._headers.items())
