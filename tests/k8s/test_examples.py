"""The examples run as they stand: the script for sites without network, the CronJob, the Datasets."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from dsload import Source
from dsload.cli.main import load
from dsload.k8s.parsing import parse_dataset
from tests.command import SCRIPTS, Result, run
from tests.servers.fault import FaultServer
from tests.servers.orders import status
from tests.trees import contents, everything, make, owners

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "air-gapped.sh"
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 4000, "deep/er/vocab.txt": b"a\nb\n"}
UID, GID = (1234, 2345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
OWNER = ("--mount-uid", UID, "--mount-gid", GID, "--mount-mode", "0640")


def script(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PATH": path, **(env or {})},
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def serve(server: FaultServer, files: Mapping[str, bytes]) -> str:
    for path, data in files.items():
        server.put(f"/model/{path}", data)
    return f"{server.url}/model/"


def damage(archive: Path, content: bytes) -> None:
    """Flip a bit of the archive where it holds the content."""
    data = bytearray(archive.read_bytes())
    data[data.index(content)] ^= 1
    archive.write_bytes(data)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The mount root of a site without network."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def archive(tmp_path: Path, fault: FaultServer) -> Path:
    """What was packed on a connected machine, as it comes to the site; its names are of the worst kind."""
    place = tmp_path / "a b#1?:%41'\"" / "host:model $x.tar"
    place.parent.mkdir()
    packed = script("pack", place, "HTTP", serve(fault, FILES))
    assert packed.code == 0, packed.err
    assert packed.out.endswith(f"carry {place}\n")
    return place


def test_carried_verified_and_owned(archive, site):
    result = script("unpack", archive, site, "models/the model", *OWNER)
    target = site / "models/the model"
    assert result.code == 0, result.err
    assert contents(target) == FILES
    assert owners(target) == {
        ".": (UID, GID, "0750"),
        "config.json": (UID, GID, "0640"),
        "deep": (UID, GID, "0750"),
        "deep/er": (UID, GID, "0750"),
        "deep/er/vocab.txt": (UID, GID, "0640"),
        "model.safetensors": (UID, GID, "0640"),
    }
    assert run("verify", target).code == 0
    assert {place.name for place in archive.parent.iterdir()} == {archive.name, archive.name + ".d"}


def test_executables_symlinks_and_empty_folders_are_carried(tmp_path, site):
    source = make(tmp_path / "source", {"bin/run": b"#!/bin/sh\n", "data": b"1", "empty": None})
    (source / "bin/run").chmod(0o755)
    (source / "bin/data").symlink_to("../data")
    assert script("pack", "model.tar", source.as_uri(), cwd=tmp_path).code == 0
    assert script("unpack", "model.tar", "site", "/", *OWNER, cwd=tmp_path).code == 0
    assert contents(site) == {"bin/run": b"#!/bin/sh\n", "data": b"1"}
    assert (site / "bin/data").readlink() == Path("../data")
    modes = {path: mode for path, (_, _, mode) in owners(site).items()}
    assert (modes["bin/run"], modes["data"], modes["empty"]) == ("0750", "0640", "0750")


def test_the_next_carry_moves_what_changed_and_deletes_what_is_gone(archive, site, fault):
    assert script("unpack", archive, site, "m", *OWNER).code == 0
    (site / "m/own.txt").write_text("put here by somebody")
    before = everything(site / "m")["model.safetensors"]
    fault.remove("/model/config.json")
    fault.put("/model/new.json", b"[]")
    fault.clear()
    assert script("pack", archive, fault.url + "/model/").code == 0
    assert fault.bytes_sent("/model/model.safetensors") == 0
    result = script("unpack", archive, site, "m", *OWNER)
    assert result.code == 0, result.err
    assert "1 loaded, 2 unchanged, 1 deleted" in result.out
    assert set(contents(site / "m")) == {"model.safetensors", "deep/er/vocab.txt", "new.json", "own.txt"}
    assert everything(site / "m")["model.safetensors"] == before


def test_the_environment_gives_flags_and_the_folder_to_unpack_in(archive, site, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    env = {"WORK": str(work), "DSLOAD_MOUNT_UID": str(UID), "DSLOAD_MOUNT_GID": str(GID), "DSLOAD_MOUNT_MODE": "0600"}
    result = script("unpack", archive, site, "m", env=env)
    assert result.code == 0, result.err
    assert owners(site / "m")["config.json"] == (UID, GID, "0600")
    assert f"{work}/air-gapped.unpacked" in result.out
    assert not list(work.iterdir())


def test_a_dataset_is_packed_by_its_yaml(tmp_path, fault):
    source = {"type": "HTTP", "uri": serve(fault, FILES), "options": {"include": "*.json"}}
    about = {"apiVersion": "dataset.baizeai.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "m"}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**about, "spec": {"source": source}}))
    result = script("pack", "m.tar", "-f", "dataset.yaml", cwd=tmp_path)
    assert result.code == 0, result.err
    assert contents(tmp_path / "m.tar.d") == {"config.json": b"{}"}


@pytest.mark.parametrize("content", [b"a\nb\n", b'"model.safetensors"'], ids=["file", "inventory"])
def test_what_was_damaged_on_the_way_reaches_no_volume(archive, site, content):
    damage(archive, content)
    result = script("unpack", archive, site, "m", *OWNER)
    assert result.code == 5
    assert "vocab.txt" in result.err or "inventory" in result.err
    assert not list(site.iterdir())
    assert not (archive.parent / "air-gapped.unpacked").exists()


@pytest.mark.parametrize("length", [0, 100, 300_000])
def test_an_archive_that_was_cut_off(archive, site, length):
    os.truncate(archive, length)
    result = script("unpack", archive, site, "m", *OWNER)
    assert result.code == 5
    assert f"{archive} is damaged" in result.err
    assert not list(site.iterdir())


def test_a_file_that_did_not_come_along(archive, site, tmp_path):
    (tmp_path / "other").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", "other"], input=archive.read_bytes(), cwd=tmp_path, check=True)
    (tmp_path / "other/config.json").unlink()
    subprocess.run(["tar", "-cf", "other.tar", "-C", "other", "."], cwd=tmp_path, check=True)
    result = script("unpack", tmp_path / "other.tar", site, "m", *OWNER)
    assert (result.code, result.out) == (5, "config.json: missing\n")
    assert not list(site.iterdir())


def test_no_archive(site):
    assert script("unpack", site / "none.tar", site, "m").code == 4


def test_a_source_that_refuses_is_not_packed(tmp_path, fault):
    serve(fault, FILES)
    fault.order("/model/config.json", status(403), times=None)
    result = script("pack", tmp_path / "m.tar", fault.url + "/model/")
    assert result.code == 3
    assert [place.name for place in tmp_path.iterdir()] == ["m.tar.d"]


def test_the_same_command_goes_on_after_a_failure(tmp_path, fault):
    url = serve(fault, FILES)
    fault.order("/model/config.json", status(403))
    assert script("pack", tmp_path / "m.tar", url).code == 3
    fault.clear()
    assert script("pack", tmp_path / "m.tar", url).code == 0
    assert contents(tmp_path / "m.tar.d") == FILES


def test_the_exit_code_is_that_of_the_load(archive, site):
    result = script("unpack", archive, site / "none", "m", *OWNER)
    assert result.code == 7
    assert f"{site}/none: no such file or directory" in result.errors[-1]
    assert script("unpack", archive, site, "../m", *OWNER).code == 2


def test_a_folder_that_an_earlier_run_left_is_not_touched(archive, site):
    left = make(archive.parent / "air-gapped.unpacked", {"left": b"1"})
    result = script("unpack", archive, site, "m", *OWNER)
    assert result.code == 7
    assert f"remove {left}" in result.err
    assert contents(left) == {"left": b"1"}


@pytest.mark.parametrize("arguments", [(), ("carry",), ("pack", "a.tar"), ("unpack", "a.tar", "/mnt"), ("",)])
def test_wrong_arguments(arguments):
    result = script(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: air-gapped.sh pack")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_usage(flag):
    result = script(flag)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("usage: air-gapped.sh pack")


# The CronJob


def cron_job() -> dict[str, object]:
    return yaml.safe_load((EXAMPLES / "cronjob.yaml").read_text())


def pod() -> dict[str, object]:
    return cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_the_cron_job_is_valid(version):
    kubernetes_validate.validate(cron_job(), version, strict=True)


def test_the_cron_job_never_runs_beside_itself_and_retries_only_what_a_retry_helps():
    spec = cron_job()["spec"]
    job = spec["jobTemplate"]["spec"]
    (container,) = pod()["containers"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert pod()["restartPolicy"] == "Never"
    assert job["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": container["name"], "operator": "In", "values": [2, 3, 4, 5, 6, 7]},
        },
    ]


def test_the_cron_job_is_hardened():
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod()["volumes"]}


def test_the_cron_jobs_command_line_is_taken():
    (container,) = pod()["containers"]
    flags = load.make_context(container["command"][0], list(container["args"])).params
    type, uri = flags["source"]
    assert Source.parse(uri, type, {"repoType": "MODEL"}).type == "HUGGING_FACE"
    assert (flags["mount_uid"], flags["mount_gid"], flags["mount_mode"]) == (1000, 1000, 0o774)
    assert flags["mount_root"] in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert flags["mount_secrets"] in {mount["mountPath"] for mount in container["volumeMounts"]}


# The Datasets


@pytest.mark.parametrize("name", ["conda", "nfs", "pvc", "reference"])
def test_a_dataset_names_its_type(name):
    dataset = parse_dataset((EXAMPLES / "datasets" / f"{name}.yaml").read_text(), name)
    assert (dataset.type, dataset.uri.partition("://")[0]) == (
        name.upper(),
        {"reference": "dataset"}.get(name, name),
    )
