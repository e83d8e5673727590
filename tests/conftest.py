"""The servers as fixtures; each starts when a test first asks for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.servers.apache import Apache
from tests.servers.caddy import Caddy
from tests.servers.channel import greetings, standard
from tests.servers.fault import FaultServer
from tests.servers.hub import Hub
from tests.servers.nginx import Nginx
from tests.servers.olah import Olah
from tests.servers.proxy import Proxy
from tests.servers.pyhttp import PythonHttp
from tests.servers.s3 import Moto, SeaweedFS
from tests.servers.sftp import Sshd
from tests.servers.tls import CA, make_ca

OWN = ("AWS_", "CONDA_", "DSLOAD_", "HF_", "MODELSCOPE_", "PIP_", "RATTLER_")  # variables of the developer's

hypothesis.settings.register_profile(
    "suite",
    max_examples=50,
    deadline=None,  # a busy machine is not a fault
    derandomize=False,
    print_blob=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("suite"), max_examples=5000)
hypothesis.settings.load_profile("suite")  # --hypothesis-profile=long overrides it


def pytest_configure(config: pytest.Config) -> None:
    """No proxy, credentials or settings of the developer's own in any test; and bytecode for the many processes."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(OWN):
            del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(config.rootpath / ".pytest_cache/bytecode")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The mount root."""
    return tmp_path / "volume"


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CA:
    """A private CA and a server certificate for localhost."""
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nginx, apache, caddy and python_http all serve; each test makes a directory of its own in it."""
    return tmp_path_factory.mktemp("www")


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, www: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), www) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_tls(tmp_path_factory: pytest.TempPathFactory, www: Path, ca: CA) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), www, tls=ca) as server:
        yield server


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory, www: Path) -> Iterator[Apache]:
    with Apache(tmp_path_factory.mktemp("apache"), www) as server:
        yield server


@pytest.fixture(scope="session")
def caddy(tmp_path_factory: pytest.TempPathFactory, www: Path) -> Iterator[Caddy]:
    with Caddy(tmp_path_factory.mktemp("caddy"), www) as server:
        yield server


@pytest.fixture(scope="session")
def python_http(tmp_path_factory: pytest.TempPathFactory, www: Path) -> Iterator[PythonHttp]:
    with PythonHttp(tmp_path_factory.mktemp("python-http"), www) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def olah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olah]:
    with Olah(tmp_path_factory.mktemp("olah")) as server:
        yield server


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conda channel that most tests use; they only read it."""
    return standard(tmp_path_factory.mktemp("channel"))


@pytest.fixture(scope="session")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simple index of wheels that most tests use; they only read it."""
    return greetings(tmp_path_factory.mktemp("simple"))


@pytest.fixture
def fault() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def fault_tls(ca: CA) -> Iterator[FaultServer]:
    with FaultServer(tls=ca) as server:
        yield server


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        yield server
