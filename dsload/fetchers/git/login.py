"""Credentials over HTTP: for the repository's own site, and as the server asks for them."""

from collections.abc import Mapping
from dataclasses import replace

from dsload.errors import DsloadError, NotFoundError, RefusedError, UnreachableError
from dsload.fetchers.git.location import Location, site
from dsload.fetchers.git.verdict import is_passing
from dsload.formats.words import said
from dsload.listing import Request, Response
from dsload.secrets import Secrets, basic, bearer, hide
from dsload.transfer.client import Client
from dsload.transfer.exchange import Sink
from dsload.transfer.retry import refusal, status_text, to_error

TOKEN_USER = "oauth2"  # the user name that goes with a token, as the original data-loader gives it  # noqa: S105


class Login:
    """Sends requests with the credentials of a repository.

    Args:
        location: of the repository; what its URL holds comes before the secrets.
        secrets: a token comes before a password.
        client: to send by.
    """

    def __init__(self, location: Location, secrets: Secrets, client: Client) -> None:
        self.location, self.client = location, client
        self._token = "" if location.password else secrets.token
        password = location.password or secrets.token or secrets.password
        user = location.user or secrets.username or (TOKEN_USER if self._token else "")
        self._value = basic(user, password) if password else ""
        hide(self._value.removeprefix("Basic "))

    def headers(self, url: str) -> Mapping[str, str]:
        """The headers that log in at a URL; none if it is another site's."""
        ours = bool(self._value) and site(url).same_site(self.location)
        return {"Authorization": self._value} if ours else {}

    def signed(self, request: Request) -> Request:
        """A request with the headers that log in; what it has itself comes first."""
        return replace(request, headers={**self.headers(request.url), **request.headers})

    def fetch(self, request: Request, doing: str, where: str, into: Sink | None = None) -> Response:
        """The answer to a request, whatever its status, once no retry helps; see Client.fetch."""
        while True:
            sent = self.headers(request.url)
            answer = self.client.fetch(self.signed(request), doing, where, into=into)
            if answer.status != 401:
                return answer
            if answer.redirected and self.headers(answer.url):
                request = replace(request, url=answer.url)
            elif not (sent and self._take_bearer(answer)):
                return answer

    def _take_bearer(self, answer: Response) -> bool:
        """Send the token as Bearer (RFC 6750) from now on, if the server asks for that; whether that is new."""
        asked = answer.headers.get("www-authenticate", "").lower()
        if not self._token or "bearer" not in asked or self._value == bearer(self._token):
            return False
        self._value = bearer(self._token)
        return True

    def error(self, answer: Response, doing: str, where: str) -> DsloadError:
        """What an answer of 300 and more means, in the server's own words."""
        words = said(answer.headers, answer.body)
        status = f"{status_text(answer.status)}: {words}" if words else status_text(answer.status)
        if is_passing(words):
            return UnreachableError(doing, where, f"the server answered {status}", "run the same command again")
        if answer.status == 401 and not self.headers(answer.url):
            here = "" if not self._value else ", and those that were given are not for this host"
            fix = "add the secret token, or username and password"
            return RefusedError(doing, where, f"the server asks for credentials{here} ({status})", fix)
        if answer.status in (401, 403):
            fix = "check the token or user name and password, and what they may read"
            return RefusedError(doing, where, f"the server refused the credentials ({status})", fix)
        if answer.status in (404, 410):
            fix = "check the URL; some servers also say so if the credentials are missing or may not read it"
            return NotFoundError(doing, where, f"this repository does not exist ({status})", fix)
        return to_error(refusal(answer), doing, where)
