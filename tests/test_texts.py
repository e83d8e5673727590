"""Texts that people and other tools write, in every form that Windows' editors and shells give them."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dsload.errors import UsageError
from dsload.formats import yaml
from dsload.formats.text import decoded
from tests.command import run
from tests.contract import inside
from tests.fetchers.environments import Site
from tests.servers.nginx import Nginx
from tests.servers.tls import CA

Encode = Callable[[str], bytes]

FORMS: dict[str, Encode] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16, as PowerShell's >": lambda text: codecs.BOM_UTF16_LE + text.replace("\n", "\r\n").encode("utf-16-le"),
    "UTF-16, big-endian": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
}
DATASET = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {{name: a}}
spec: {{source: {{type: FILE, uri: "{}"}}, mountOptions: {{uid: 0, gid: 0}}}}
"""
MODEL = """\
apiVersion: model.hydra.io/v1alpha1
kind: ModelSpec
metadata: {name: m}
spec: {source: {huggingface: {name: owner/m}}}
"""
ROOT = Path(__file__).parent.parent


@pytest.fixture(params=FORMS)
def encode(request: pytest.FixtureRequest) -> Encode:
    return FORMS[request.param]


def test_texts_are_decoded(encode: Encode) -> None:
    assert decoded(encode("a: b\nc: d\n")).replace("\r\n", "\n") == "a: b\nc: d\n"


@pytest.mark.parametrize("data", [b"\xff", b"\0\0\0\0", b"a\0", b"\x89PNG\r\n\x1a\n\0\0", "é".encode("latin-1")])
def test_what_is_not_text(data: bytes) -> None:
    if data == b"a\0":  # as a letter in UTF-16 is
        assert decoded(data) == "a"
        return
    with pytest.raises(ValueError, match="it is not text"):
        decoded(data)


@pytest.mark.parametrize("data", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE])
def test_nothing_is_text(data: bytes) -> None:
    assert decoded(data) == ""


def test_a_dataset_and_a_model(encode: Encode, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"x")
    dataset, model = tmp_path / "dataset.yaml", tmp_path / "metadata.yaml"
    dataset.write_bytes(encode(DATASET.format((tmp_path / "source").as_uri())))
    done = inside.run("load", "-f", dataset, "--mount-root", tmp_path, "--mount-path", "t", "--dry-run")
    assert done.code == 0, done.err
    model.write_bytes(encode(MODEL))
    assert json.loads(inside.run("convert", model, "--hub", "huggingface", "--output", "json").out)


def test_standard_input(tmp_path: Path) -> None:
    done = run("convert", "-", "--hub", "huggingface", "--output", "json", stdin="\ufeff" + MODEL)
    assert done.json["kind"] == "List" or done.json["metadata"]["name"] == "m"


def test_what_conda_and_pip_are_to_install(encode: Encode, volume: Path, tmp_path: Path, channel: Path) -> None:
    """environment.yaml, and files of requirements that name each other in their first lines."""
    volume.mkdir()
    texts = {
        "environment.yaml": "dependencies:\n- steady\n- pip: [-r lists/first.txt]\n",
        "lists/first.txt": "-r second.txt\n",
        "lists/second.txt": "-c limits.txt\n-r missing.txt\n",
        "lists/limits.txt": "greet<2\n",
    }
    (tmp_path / "lists").mkdir()
    for name, content in texts.items():
        (tmp_path / name).write_bytes(encode(content))
    site = Site(volume, tmp_path / "p", channel.as_uri())
    done = site.load("e", "--dry-run", condaEnvironmentYmlPath=tmp_path / "environment.yaml")
    assert done.code == 2
    assert f"{tmp_path}/lists/missing.txt: no such file or directory" in done.errors[0]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_authorities(
    encode: Encode, beside: bool, volume: Path, tmp_path: Path, www: Path, nginx_tls: Nginx, ca: CA
) -> None:
    """In the secret ca.crt; OpenSSL passes over what it cannot read."""
    (www / "texts").mkdir(exist_ok=True)
    (www / "texts/a").write_bytes(b"x")
    (tmp_path / "ca.crt").write_bytes(encode(ca.bundle.read_text()))
    (tmp_path / "none.pem").write_text("")
    volume.mkdir()
    env = {"SSL_CERT_FILE": str(tmp_path / "none.pem" if beside else tmp_path / "ca.crt")}
    flags = ["--mount-root", volume, "--mount-path", "t", "--mount-secrets", tmp_path if beside else tmp_path / "no"]
    done = run("load", f"{nginx_tls.url}texts/", *flags, env=env)
    assert done.code == 0, done.err


def test_a_lock(encode: Encode, volume: Path, tmp_path: Path, channel: Path) -> None:
    volume.mkdir()
    site = Site(volume, tmp_path / "p", channel.as_uri())
    (tmp_path / "conda.lock").write_bytes(encode("version: 7\nenvironments: {}\npackages: []\n"))
    done = site.load("e", "--dry-run", lock=tmp_path / "conda.lock")
    assert done.code == 2
    assert "environment default" in done.errors[0] or "platforms" in done.errors[0]


@pytest.mark.parametrize("coding", ["# -*- coding: latin-1 -*-\n", "# x\n# vim: set fileencoding=latin-1 :\n"])
def test_a_list_of_requirements_states_its_encoding(coding: str, volume: Path, tmp_path: Path, channel: Path) -> None:
    volume.mkdir()
    (tmp_path / "list.txt").write_bytes(f"{coding}# für uns\n-r missing.txt\n".encode("latin-1"))
    site = Site(volume, tmp_path / "p", channel.as_uri())
    done = site.load("e", "--dry-run", pipRequirementsTxtPath=tmp_path / "list.txt")
    assert "missing.txt: no such file or directory" in done.errors[0]


SCALARS = {
    "yes": "yes", "on": "on", "No": "No", "true": True, "TRUE": True, "~": None, "": None, "010": 10, "0o17": 15,
    "0x1F": 31, "0b11": 3, "1_000": 1000, "12:30": "12:30", "12:30:00": "12:30:00", "1.10": 1.1, "1e3": 1000.0,
    "1.e3": 1000.0, ".5": 0.5, "2024-05-01": "2024-05-01", "+1": 1, "-07": -7, "1e": "1e", "0o": "0o", "08": 8,
    "_1": "_1", "190:20:30.15": "190:20:30.15", "1.": 1.0, "0.1.2": "0.1.2", "=": "=",
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), SCALARS.items())
def test_scalars_as_conda_reads_them(written: str, value: object) -> None:
    """As ruamel.yaml reads YAML 1.2, apart from dates, which stay text."""
    found = yaml.read_document(f"a: {written}\n", "f")["a"]
    assert (type(found), found) == (type(value), value)


def test_a_document_has_one_end() -> None:
    assert yaml.read_document("---\na: 1\n...\n", "f") == {"a": 1}
    assert yaml.read_document("\ufeffa: 1\n", "f") == {"a": 1}
    assert yaml.read_document("# nothing\n", "f") is None
    with pytest.raises(UsageError, match="reading f: line 2: another document begins"):
        yaml.read_document("a: 1\n---\nb: 1\n", "f")


def test_one_module_reads_yaml() -> None:
    loads = [str(path) for path in (ROOT / "dsload").rglob("*.py") if "yaml.load" in path.read_text()]
    assert loads == [yaml.__file__]
