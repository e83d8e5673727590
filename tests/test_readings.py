"""What is wrong with a URI or an option is refused before anything is sent: by load, ls and the companion alike."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dsload import Source
from dsload.errors import UsageError
from dsload.k8s.crd import API_VERSION
from dsload.k8s.parsing import parse_all
from dsload.registry import specs
from tests.command import run
from tests.contract.inside import run as inside

BAD: list[tuple[str, str, dict[str, str]]] = [
    ("S3", "http://bucket/a", {}),
    ("S3", "s3://", {}),
    ("S3", "s3:///a", {}),
    ("S3", "s3://user@bucket/a", {}),
    ("S3", "s3://bucket/a#b", {}),
    ("S3", "s3://bucket/a", {"anonymous": "perhaps"}),
    ("S3", "s3://bucket/a", {"endpoint": "ftp://x"}),
    ("S3", "s3://bucket/a", {"endpoint": "http://"}),
    ("S3", "s3://bucket/a", {"endpoint": "http://key:secret@host"}),
    ("S3", "s3://bucket/a", {"endpoint": "http://host:99999"}),
    ("S3", "s3://bucket/a", {"addressingStyle": "sideways"}),
    ("S3", "s3://bucket/a", {"syncMode": "mirror"}),
    ("S3", "s3://bucket/a", {"colour": "red"}),
    ("S3", "s3://bucket/a?colour=red", {}),
    ("HTTP", "s3://bucket/a", {}),
    ("HTTP", "https:///a", {}),
    ("HTTP", "http://host:port/a", {}),
    ("HTTP", "http://host/a", {"X Header": "a"}),
    ("HTTP", "http://host/a", {"X:Header": "a"}),
    ("HTTP", "http://host/a", {"": "a"}),
    ("HTTP", "http://host/a", {"X-Header": "a\nB: c"}),
    ("HTTP", "http://host/a", {"X-Header": "a\rB: c"}),
    ("HTTP", "http://host/a", {"syncMode": "never"}),
    ("HTTP", "http://" + "\u00fc" * 80 + "/a", {}),
    ("GIT", "ftp://host/a.git", {}),
    ("GIT", "https://host", {}),
    ("GIT", "https:///a.git", {}),
    ("GIT", "git://-oProxyCommand=x/a", {}),
    ("GIT", "ssh://-oProxyCommand=x/a", {}),
    ("GIT", "https://host/a.git", {"depth": "-1"}),
    ("GIT", "https://host/a.git", {"depth": "one"}),
    ("GIT", "https://host/a.git", {"depth": "\u00b2"}),
    ("GIT", "https://host/a.git", {"submodules": "maybe"}),
    ("GIT", "https://host/a.git", {"lfs": "sometimes"}),
    ("GIT", "https://host/a.git", {"keepGit": "si"}),
    ("GIT", "https://host/a.git", {"tag": "v1"}),
    ("HUGGING_FACE", "huggingface://", {}),
    ("HUGGING_FACE", "hf://a/b@", {}),
    ("HUGGING_FACE", "hf://a/b#c", {}),
    ("HUGGING_FACE", "https://huggingface.co/a/b", {}),
    ("HUGGING_FACE", "hf://a/b", {"repoType": "THING"}),
    ("HUGGING_FACE", "hf://datasets/a/b", {"repoType": "MODEL"}),
    ("HUGGING_FACE", "hf://a/b", {"repo": "a/b/c"}),
    ("HUGGING_FACE", "hf://a/b", {"repo": ".."}),
    ("HUGGING_FACE", "hf://a/b", {"weights": "foo"}),
    ("HUGGING_FACE", "hf://a/b", {"endpoint": "ftp://x"}),
    ("HUGGING_FACE", "hf://a/b", {"endpoint": "https://user:password@host"}),
    ("HUGGING_FACE", "hf://a/b", {"endpoint": "https://host?a=b"}),
    ("HUGGING_FACE", "hf://a/b", {"fallback": "s3://bucket/a"}),
    ("HUGGING_FACE", "hf://a/b", {"fallback": "ms://a/b@"}),
    ("HUGGING_FACE", "hf://a/b@v1", {"fallback": "ms://a/b"}),
    ("HUGGING_FACE", "hf://a/b", {"offline": "true"}),
    ("MODEL_SCOPE", "modelscope://", {}),
    ("MODEL_SCOPE", "ms://spaces/a/b", {}),
    ("MODEL_SCOPE", "ms://a/b", {"repoType": "SPACE"}),
    ("MODEL_SCOPE", "ms://a/b", {"weights": "gold"}),
    ("CONDA", "conda://", {}),
    ("CONDA", "conda://env/more", {}),
    ("CONDA", "conda://env", {"name": "../env"}),
    ("CONDA", "conda://env", {"environment.yaml": "{{{"}),
    ("CONDA", "conda://env", {"environment.yaml": "- a list"}),
    ("CONDA", "conda://env", {"condaEnvironmentYml": "dependencies: [{pip: greet}]"}),
    ("CONDA", "conda://env", {"condaEnvironmentYml": "channels: conda-forge"}),
    ("CONDA", "conda://env", {"condaEnvironmentYml": "channels: ['ftp://host/c']"}),
    ("CONDA", "conda://env", {"condaEnvironmentYml": "variables: [a]"}),
    ("CONDA", "conda://env", {"condaPrefixDir": "relative"}),
    ("CONDA", "conda://env", {"condaPrefixDir": "/a/../b"}),
    ("CONDA", "conda://env", {"channels": "gopher://host/c"}),
    ("CONDA", "conda://env", {"endpoint": "ftp://x"}),
    ("CONDA", "conda://env", {"kernel": "maybe"}),
    ("CONDA", "conda://env", {"keepPkgs": "some"}),
    ("CONDA", "conda://env", {"linkScripts": "2"}),
    ("CONDA", "conda://env", {"gpuType": "abacus"}),
    ("CONDA", "conda://env", {"include": "*.py"}),
    ("CONDA", "conda://env", {"syncMode": "copy"}),
]
MORE_BAD = [  # of types that only a command line names
    ("FILE", "file://host/a", {}),
    ("FILE", "file:///a%00b", {}),
    ("FSSPEC", "no-scheme", {}),
]
GOOD = [
    ("S3", "s3://bucket/a", {"endpoint": "minio:9000", "anonymous": "yes", "addressingStyle": "path"}),
    ("HTTP", "https://me:pw@host/a/?b=c#d", {"X-Header": "a b"}),
    ("GIT", "git@host:owner/repo", {"depth": "0", "submodules": "recursive"}),
    ("HUGGING_FACE", "hf://gpt2@v1", {"fallback": "https://mirror.example.com", "weights": ".safetensors"}),
    ("MODEL_SCOPE", "ms://a/b/folder", {"repoType": "dataset"}),
    ("CONDA", "conda://env?python=3.11", {"condaEnvironmentYml": "channels: [a, https://host/b]"}),
    ("FILE", "file:///a%20b", {}),
    ("FSSPEC", "memory://a", {"anything": "true"}),
]
IDS = [f"{type}-{uri}-{','.join(f'{k}={v}' for k, v in options.items())}" for type, uri, options in BAD]


@pytest.mark.parametrize(("type", "uri", "options"), [*BAD, *MORE_BAD])
def test_a_bad_source_is_refused(type: str, uri: str, options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        Source.parse(uri, type, options)
    assert refused.value.why


@pytest.mark.parametrize(("type", "uri", "options"), BAD, ids=IDS)
def test_the_companion_refuses_it_too(type: str, uri: str, options: dict[str, str]) -> None:
    source = {"type": type, "uri": uri, "options": options}
    dataset = {"apiVersion": API_VERSION, "kind": "Dataset", "metadata": {"name": "a"}, "spec": {"source": source}}
    with pytest.raises(UsageError) as refused:
        parse_all([("d.yaml", dataset)])
    assert "spec.source." in str(refused.value)


@pytest.mark.parametrize(("type", "uri", "options"), [*BAD, *MORE_BAD])
def test_ls_refuses_it_with_2(type: str, uri: str, options: dict[str, str]) -> None:
    flags = [part for key, value in options.items() if key for part in ("-o", f"{key}={value}")]
    if len(flags) == 2 * len(options):
        assert inside("ls", type, uri, *flags, "--retry-budget", 0).code == 2


def test_load_and_manifest_refuse_it_with_2(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    for type, uri, options in BAD[5::15]:
        spec = {"source": {"type": type, "uri": uri, "options": options}}
        dataset = {"apiVersion": API_VERSION, "kind": "Dataset", "metadata": {"name": "a"}, "spec": spec}
        path.write_text(yaml.safe_dump(dataset))
        for command in (("manifest",), ("load", "--mount-root", tmp_path, "--retry-budget", 0)):
            done = run(*command, "-f", path, stdin="")
            assert done.code == 2, (command, type, uri, options, done.err)


@pytest.mark.parametrize(("type", "uri", "options"), GOOD)
def test_a_good_source_is_read(type: str, uri: str, options: dict[str, str]) -> None:
    source = Source.parse(uri, type, options)
    assert (source.type, source.spec) == (type, specs()[type])
    assert source.config is not None


ENGINE = ("dsload.transfer", "dsload.target", "dsload.loading", "dsload.fetchers.base")
HEAVY = ("pycurl", "botocore", "dulwich", "rattler", "paramiko", "fsspec.implementations", "rich", "awscrt")


@pytest.mark.parametrize(("type", "uri", "options"), GOOD)
def test_reading_imports_nothing_of_the_engine(type: str, uri: str, options: dict[str, str]) -> None:
    program = f"import sys; from dsload.source import Source; Source.parse({uri!r}, {type!r}, {options!r}); "
    program += "print(*sys.modules, sep=chr(10))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.splitlines() if name.startswith((*ENGINE, *HEAVY))] == []


def test_the_registry_needs_no_extra() -> None:
    program = "import sys; sys.modules.update(dict.fromkeys(('rattler', 'paramiko', 'dulwich', 'botocore', 'pycurl')));"
    program += "from dsload.registry import specs; print(len(specs()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(specs())


def test_a_source_at_a_revision_is_the_same_source() -> None:
    source = Source.parse("hf://a/b?revision=main", None, {"include": "*.json", "weights": "bin"})
    pinned = source.at("0" * 40)
    assert pinned.options["revision"] == "0" * 40
    assert pinned.config != source.config
    assert (pinned.identity(), pinned.selection()) == (source.identity(), source.selection())
