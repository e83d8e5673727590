"""What `dsload manifest` makes of the examples; `python -m tests.k8s.golden` writes it anew."""

from pathlib import Path

from dsload.k8s.cluster import Cluster
from dsload.k8s.documents import read_documents
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import all_manifests
from dsload.k8s.parsing import parse_all
from dsload.k8s.printing import to_yaml

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DATASETS, GOLDEN = EXAMPLES / "datasets", EXAMPLES / "manifests"
CLUSTER = GOLDEN / "context" / "cluster.yaml"


def names() -> list[str]:
    """The examples."""
    return sorted(path.name for path in DATASETS.glob("*.yaml"))


def made(name: str) -> str:
    """The manifests of an example."""
    cluster = Cluster.of(read_documents(CLUSTER.read_text(encoding="utf-8"), str(CLUSTER)))
    datasets = parse_all(read_documents((DATASETS / name).read_text(encoding="utf-8"), name))
    return to_yaml(all_manifests(datasets, ManifestSettings(), cluster))


if __name__ == "__main__":
    for file in names():
        (GOLDEN / file).write_text(made(file), encoding="utf-8")
