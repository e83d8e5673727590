"""AWS's own set-up of a machine or pod: profile, region, endpoints, credentials. The one place that knows botocore.

It is imported only if it is needed: without keys, an endpoint or a region given otherwise.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from dsload.errors import DsloadError, RefusedError, UnreachableError, UsageError
from dsload.secrets import hide

T = TypeVar("T")

_LOOKING, _CREDENTIALS, _PROFILE = "looking for", "AWS credentials", "AWS credentials and the profile"
_WAIT = "check the service that gives them"
_REST = 1.0  # seconds after a failure, or after new credentials, before the service that gives them is asked again
_CONNECT, _READ, _TRIES = 5, 20, 2  # seconds, and how often botocore itself asks; dsload asks again later
_TOKEN_TRIES = 3  # with a web identity's token that has expired, which is read anew each time
_PASSING = (
    "Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "RequestTimeout", "IDPCommunicationError",
    "InternalFailure", "InternalError", "ServiceUnavailable", "PriorRequestNotComplete", "BandwidthLimitExceeded",
)  # fmt: skip
_LASTING_METADATA = ("non 200 response 400", "non 200 response 401", "non 200 response 403")


def variable(*names: str) -> str:
    """The first of these variables that is set, else ""."""
    return next(filter(None, map(os.environ.get, names)), "") or ""


class Aws:
    """AWS's own set-up. Any thread may call.

    Args:
        region: that was given, "" if none was.
        authorities: file of trusted authorities.

    Attributes:
        renews: part of Keys: credentials may be others later on.
    """

    renews = True

    def __init__(self, region: str, authorities: str | None) -> None:
        self._region, self._authorities = region, authorities
        self._lock = threading.Lock()
        self._opened: Any = None
        self._credentials: Any = None
        self._looked = False
        self._asked = self._failed = 0.0  # when
        self._failure = ""
        self._expired = 0

    def _session(self) -> Any:
        if self._opened is None:
            import botocore.session
            from botocore.config import Config

            session = botocore.session.Session()
            if self._authorities and not os.environ.get("AWS_CA_BUNDLE"):
                session.set_config_variable("ca_bundle", self._authorities)
            if self._region:
                session.set_config_variable("region", self._region)
            retries = {"total_max_attempts": _TRIES, "mode": "standard"}
            session.set_default_client_config(Config(connect_timeout=_CONNECT, read_timeout=_READ, retries=retries))
            self._opened = session
        return self._opened

    # Where

    def region(self) -> str:
        """The region of the profile, "" if it has none, or there is none."""
        if not _has_profile():
            return ""
        return str(_mapped(lambda: self._session().get_config_variable("region"), _PROFILE) or "")

    def endpoint(self, region: str) -> tuple[str, bool]:
        """The store's URL in a region, and whether variables or the profile name it, rather than AWS itself."""

        def url(**more: bool) -> str:
            from botocore import UNSIGNED
            from botocore.config import Config

            config = Config(signature_version=UNSIGNED, **more)
            return str(self._session().create_client("s3", region_name=region, config=config).meta.endpoint_url)

        found = _mapped(url, _PROFILE)
        return found.rstrip("/"), found != _mapped(lambda: url(ignore_configured_endpoint_urls=True), _PROFILE)

    def style(self) -> str:
        """How the profile has buckets addressed: path, virtual or auto."""
        if not _has_profile():
            return "auto"
        section = _mapped(lambda: self._session().get_scoped_config(), _PROFILE).get("s3")
        style = section.get("addressing_style", "") if isinstance(section, dict) else ""
        return style if style in ("path", "virtual") else "auto"

    # Who

    def current(self) -> tuple[str, str, str] | None:
        """The credentials of the chain, renewed as they expire; None if there are none."""
        with self._lock:
            if time.monotonic() - self._failed < _REST and self._failure:
                raise UnreachableError(_LOOKING, _CREDENTIALS, self._failure, _WAIT)
            try:
                found = _mapped(self._look_up)
            except UnreachableError as error:
                self._note(error)
                raise
            self._failure, self._expired = "", 0
            return found

    def _look_up(self) -> tuple[str, str, str] | None:
        if not self._looked:
            self._credentials = self._session().get_credentials()
            self._looked, self._asked = True, time.monotonic()
        if self._credentials is None:
            return None
        frozen = self._credentials.get_frozen_credentials()
        hide(frozen.secret_key, frozen.token or "")
        return frozen.access_key, frozen.secret_key, frozen.token or ""

    def _note(self, error: UnreachableError) -> None:
        self._failed, self._failure = time.monotonic(), error.why
        if "ExpiredToken" in error.why:
            self._expired += 1
            if self._expired > _TOKEN_TRIES:
                fix = "the file of the web identity token is not renewed: check who writes it"
                raise RefusedError(_LOOKING, _CREDENTIALS, error.why, fix) from error

    def renew(self) -> None:
        """Read profile, token file and credentials anew."""
        with self._lock:
            if time.monotonic() - self._asked > _REST:
                self._opened, self._looked = None, False

    def late(self) -> str:
        """Why an instance that has a role may not have credentials yet, "" if nothing says so; current() looks again.

        botocore takes a metadata service that answers 503 for one that is not there.
        """
        if self._credentials is not None or variable("AWS_EC2_METADATA_DISABLED").lower() == "true":
            return ""
        self._looked = False
        return _mapped(lambda: _late(self._session()))


def _has_profile() -> bool:
    given = variable("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    return bool(given) or os.path.exists(os.path.expanduser(variable("AWS_CONFIG_FILE") or "~/.aws/config"))


def _late(session: Any) -> str:
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.httpsession import URLLib3Session

    base = session.get_config_variable("ec2_metadata_service_endpoint") or "http://169.254.169.254"
    sender = URLLib3Session(timeout=session.get_config_variable("metadata_service_timeout"))

    def ask(method: str, path: str, headers: Mapping[str, str]) -> Any:
        request = AWSRequest(method=method, url=f"{base.rstrip('/')}/latest/{path}", headers=headers)
        return sender.send(request.prepare())

    roles = "meta-data/iam/security-credentials/"
    try:
        token = ask("PUT", "api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "60"})
        headers = {"x-aws-ec2-metadata-token": token.text} if token.status_code == 200 else {}
        answers = [token, ask("GET", roles, headers)]
        if answers[-1].status_code == 200 and (role := answers[-1].text.strip().partition("\n")[0]):
            answers.append(ask("GET", roles + role, headers))
    except BotoCoreError:
        return ""
    busy = [answer.status_code for answer in answers if answer.status_code == 429 or answer.status_code >= 500]
    return f"the metadata service at {urlsplit(base).netloc} answers {busy[0]}" if busy else ""


def _mapped(call: Callable[[], T], where: str = _CREDENTIALS) -> T:
    """The one place where botocore's errors become dsload's, which say whether they heal with time."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        return call()
    except boto.ClientError as error:
        raise _of_answer(error, where) from error
    except boto.SSLError as error:
        fix = "give the certificate authority by --ca-bundle, SSL_CERT_FILE or the secret ca.crt"
        raise RefusedError(_LOOKING, where, str(error), fix) from error
    except (boto.CredentialRetrievalError, boto.MetadataRetrievalError) as error:
        if any(words in str(error) for words in _LASTING_METADATA):
            raise RefusedError(_LOOKING, where, str(error), "check the role of this pod or task") from error
        raise UnreachableError(_LOOKING, where, str(error), _WAIT) from error
    except (boto.HTTPClientError, boto.ConnectionError, ResponseParserError, KeyError, RuntimeError) as error:
        raise UnreachableError(_LOOKING, where, str(error), _WAIT) from error
    except OSError as error:
        raise RefusedError(_LOOKING, where, str(error), "check the role, its trust and its token") from error
    except (boto.BotoCoreError, ValueError) as error:
        raise UsageError(_LOOKING, where, str(error), "check the profile and environment") from error


def _of_answer(error: Any, where: str) -> DsloadError:
    """The error for an answer of STS, SSO or another service of AWS."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(error.response.get("Error", {}).get("Code", ""))
    passes = status >= 500 or status == 429 or code.startswith("ExpiredToken")
    if passes or any(word in code for word in _PASSING):
        return UnreachableError(_LOOKING, where, str(error), _WAIT)
    return RefusedError(_LOOKING, where, str(error), "check the role, its trust and its token")
