"""`dsload manifest`, `crd` and `convert`: the companion's commands."""

from collections.abc import Iterable
from typing import Any

import click

from dsload.cli.files import files_at, read_file
from dsload.cli.flags import HELP, ConvertFlags, ManifestFlags, option, output_option, takes
from dsload.errors import UsageError
from dsload.k8s.hubs import HUBS
from dsload.k8s.manifest_settings import (
    DEFAULT_IMAGE,
    DEFAULT_NFS_VERSION,
    NFS_VERSIONS,
    SHARDS_ANNOTATION,
    ManifestSettings,
)
from dsload.source import MOST_SHARDS

_objects_output = output_option("objects", "yaml", "json")


@click.command(context_settings=HELP)
@option("-f", "--file", "files", multiple=True, required=True, type=click.Path(), metavar="FILE",
        help="Datasets; a folder stands for its *.yaml, *.yml and *.json, - for stdin. May be repeated.")  # fmt: skip
@option("--image", metavar="IMAGE",
        help=f"Of the preload container.  [default: the job spec's, or {DEFAULT_IMAGE}]")  # fmt: skip
@option("--job-spec", metavar="FILE", help="Partial JobSpec that is merged into every Job.")
@option("--round", type=click.IntRange(1), metavar="N", help="Round of the Jobs.  [default: the Dataset's]")
@option("--nfs-version", type=click.Choice(NFS_VERSIONS), default=DEFAULT_NFS_VERSION, show_default=True,
        help="Version of NFS that volumes are mounted with.")  # fmt: skip
@option("--shards", type=click.IntRange(1, MOST_SHARDS), metavar="N",
        help=f"Pods that share a load.  [default: the Dataset's annotation {SHARDS_ANNOTATION}, or 1]")  # fmt: skip
@option("--context", multiple=True, type=click.Path(), metavar="FILE",
        help="Objects of the cluster, as `kubectl get -o yaml` prints them, that REFERENCE and PVC build on; "
        "files and folders as for -f. May be repeated.")  # fmt: skip
@_objects_output
@takes(ManifestFlags)
def manifest(flags: ManifestFlags) -> None:
    """Print the Job, claim, volume and ConfigMap of Datasets, for `kubectl apply -f -`.

    \b
    dsload manifest -f dataset.yaml | kubectl apply -f -
    kubectl get -o yaml dataset,pvc -n public > public.yaml; kubectl get -o yaml pv,ns > cluster.yaml
    dsload manifest -f reference.yaml --context public.yaml --context cluster.yaml
    """
    from dsload.k8s.cluster import Cluster
    from dsload.k8s.job_spec import read_job_spec
    from dsload.k8s.manifests import all_manifests
    from dsload.k8s.parsing import parse_all

    documents = _documents(flags.files)
    datasets = parse_all(documents)
    if not datasets:
        raise UsageError("reading", ", ".join(flags.files), "it holds no Dataset")
    job_spec = read_job_spec(read_file(flags.job_spec), flags.job_spec) if flags.job_spec else {}
    settings = ManifestSettings(flags.image, job_spec, flags.round, flags.nfs_version, flags.shards)
    cluster = Cluster.of([*_documents(flags.context), *documents])
    _print_objects(all_manifests(datasets, settings, cluster), flags.output)


@click.command(context_settings=HELP)
@_objects_output
def crd(output: str) -> None:
    """Print the CustomResourceDefinition of Dataset."""
    from dsload.k8s.crd import crd as definition

    _print_objects([definition()], output)


@click.command(context_settings=HELP)
@click.argument("file", metavar="FILE")
@option("--hub", type=click.Choice([*HUBS]), required=True, help="Which hub to load from.")
@option("--namespace", default="public", show_default=True, metavar="NAME", help="Namespace of the Dataset.")
@option("--share/--no-share", default=True, show_default=True, help="Whether other namespaces may reference it.")
@_objects_output
@takes(ConvertFlags)
def convert(flags: ConvertFlags) -> None:
    """Print the Dataset that loads a model hub's ModelSpec (metadata.yaml); - is stdin."""
    from dsload.k8s.modelspec import convert as datasets_of

    text = read_file(flags.file)
    _print_objects(datasets_of(text, flags.file, flags.hub, flags.namespace, flags.share), flags.output)


def _documents(paths: Iterable[str]) -> list[tuple[str, Any]]:
    from dsload.k8s.documents import read_documents

    files = [file for path in paths for file in files_at(path)]
    return [document for file in files for document in read_documents(read_file(file), file)]


def _print_objects(objects: list[dict[str, Any]], output: str) -> None:
    from dsload.k8s.printing import to_json, to_yaml

    click.echo(to_json(objects) if output == "json" else to_yaml(objects), nl=False)
