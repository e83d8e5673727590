"""What a CONDA Dataset gets: a ConfigMap, a GPU, a directory for its prefix."""

import pytest

from dsload.errors import UsageError
from dsload.fetchers.conda.spec import PREFIX_DIR as CONDA_PREFIX_DIR
from tests.k8s.datasets import dataset
from tests.k8s.making import kinds, loader, made, scratch


def test_conda_files_are_a_config_map():
    options = {"condaEnvironmentYml": "name: env\n", "requirements.txt": "torch\n", "pythonVersion": "3.11"}
    claimed, configured, of_job = made(dataset("CONDA", "conda://env", options=options))
    pod = of_job["spec"]["template"]["spec"]
    assert claimed["kind"] == "PersistentVolumeClaim"
    assert configured["metadata"]["name"] == "dataset-qwen-config"
    assert configured["data"] == {"environment.yaml": "name: env\n", "requirements.txt": "torch\n"}
    assert [a for a in pod["containers"][0]["args"] if "--options" in a] == ["--options=pythonVersion=3.11"]
    assert {"name": "dataset-config-conda", "configMap": {"name": "dataset-qwen-config"}} in pod["volumes"]
    mount = {"name": "dataset-config-conda", "mountPath": "/run/dataset/conda", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]


def test_conda_gpu_as_the_requests_alone_have_it():
    two = {"requests": {"nvidia.com/gpu": "2"}}
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": "nvidia-gpu"}, resources=two))
    assert container["resources"] == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}


def test_a_conda_lock_is_a_file_too():
    """An argument may be 128 KiB long, and a lock is longer."""
    text = "version: 7\nplatforms: []\n"
    _, configured, of_job = made(dataset("CONDA", "conda://env", options={"lock": text}))
    assert configured["data"] == {"conda.lock": text}
    (container,) = of_job["spec"]["template"]["spec"]["containers"]
    assert "--options=lock=/run/dataset/conda/conda.lock" in container["args"]
    path = {"lock": "/mnt/locks/conda.lock"}
    assert kinds(made(dataset("CONDA", "conda://env", options=path))) == ["PersistentVolumeClaim", "Job"]
    assert "--options=lock=/mnt/locks/conda.lock" in loader(dataset("CONDA", "conda://env", options=path))["args"]


@pytest.mark.parametrize(
    ("text", "path"),
    [("environment.yaml", "condaEnvironmentYmlPath"), ("pipRequirementsTxt", "pipRequirementsTxtPath")],
)
def test_a_conda_text_goes_before_a_path_in_the_job_as_in_a_load(text, path):
    container = loader(dataset("CONDA", "conda://env", options={text: "name: env\n", path: "/elsewhere"}))
    assert not any("--options" in argument for argument in container["args"])
    alone = loader(dataset("CONDA", "conda://env", options={path: "/elsewhere"}))
    assert f"--options={path}=/elsewhere" in alone["args"]


def test_conda_without_files_has_no_config_map():
    options = {"environment.yaml": " \n", "pythonVersion": "3.11"}
    assert kinds(made(dataset("CONDA", "conda://env", options=options))) == ["PersistentVolumeClaim", "Job"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("nvidia-gpu", {"nvidia.com/gpu": "1"}),
        ("nvidia-vgpu", {"nvidia.com/vgpu": "1", "nvidia.com/gpumem": "500"}),
        ("metax-gpu", {"metax-tech.com/gpu": "1"}),
    ],
)
def test_conda_gpu(kind, asked):
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": kind}, resources={"limits": {"cpu": "4"}}))
    assert container["resources"] == {"requests": asked, "limits": {"cpu": "4", **asked}}
    assert not any("gpuType" in argument for argument in container["args"])


def test_conda_gpu_as_the_resources_have_it_and_an_unknown_one():
    two = {"limits": {"nvidia.com/gpu": "2"}}
    container = loader(dataset("CONDA", "conda://env", options={"gpuType": "nvidia-gpu"}, resources=two))
    assert container["resources"] == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
    of_uri = loader(dataset("CONDA", "conda://env?gpuType=nvidia-gpu"))
    assert of_uri["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    with pytest.raises(UsageError, match="gpuType: 'amd' is not one of nvidia-gpu, nvidia-vgpu, metax-gpu"):
        loader(dataset("CONDA", "conda://env", options={"gpuType": "amd"}))


@pytest.mark.parametrize(
    ("uri", "options", "place"),
    [
        ("conda://env", {}, CONDA_PREFIX_DIR),
        ("conda://env", {"condaPrefixDir": ""}, CONDA_PREFIX_DIR),
        ("conda://env", {"condaPrefixDir": "/srv/envs"}, "/srv/envs"),
        ("conda://env", {"condaPrefixDir": "/srv/./envs/"}, "/srv/envs"),
        ("conda://env?condaPrefixDir=/srv/envs", {}, "/srv/envs"),
        ("conda://env?condaPrefixDir=/srv/envs", {"condaPrefixDir": "/mnt"}, "/mnt"),
    ],
)
def test_conda_can_write_where_its_prefix_is(uri, options, place):
    what = dataset("CONDA", uri, options=options)
    assert scratch(what) == {"dataset-conda-prefix": place, "tmp": "/tmp"}
    given_options = [f"--options={key}={value}" for key, value in options.items()]
    assert [argument for argument in loader(what)["args"] if "--options" in argument] == given_options


@pytest.mark.parametrize("mounted", ["/srv/envs", "/srv/envs/"])
def test_conda_takes_the_place_that_the_job_spec_has(mounted):
    own = {"volumeMounts": [{"name": "disk", "mountPath": mounted}, {"name": "disk", "mountPath": "/tmp/"}]}
    pod = {"volumes": [{"name": "disk", "hostPath": {"path": "/disk"}}], "containers": [own]}
    what = dataset("CONDA", "conda://env", options={"condaPrefixDir": "/srv/envs"})
    assert scratch(what, job_spec={"template": {"spec": pod}}) == {}
    other = dataset("CONDA", "conda://env")
    assert scratch(other, job_spec={"template": {"spec": pod}}) == {"dataset-conda-prefix": CONDA_PREFIX_DIR}


def test_conda_with_its_prefix_in_what_is_mounted_anyway():
    in_tmp, in_volume = ({"condaPrefixDir": place} for place in ("/tmp", "/baize/dataset/data"))
    assert [*scratch(dataset("CONDA", "conda://env", options=in_tmp)).values()] == ["/tmp"]
    assert scratch(dataset("CONDA", "conda://env", options=in_volume)) == {"tmp": "/tmp"}


def test_other_types_have_no_prefix():
    assert scratch(dataset()) == {"tmp": "/tmp"}
    assert scratch(dataset(options={"condaPrefixDir": "a header"})) == {"tmp": "/tmp"}


@pytest.mark.parametrize("place", ["envs", "./envs", "~/envs", " /envs", "/my envs", "/a/../b", "/", "//", "/."])
def test_a_prefix_that_is_not_a_plain_absolute_path_is_refused(place):
    with pytest.raises(UsageError) as caught:
        made(dataset("CONDA", "conda://env", options={"condaPrefixDir": place}))
    assert "condaPrefixDir" in str(caught.value)
