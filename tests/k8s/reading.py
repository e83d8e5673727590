"""Datasets read from YAML, and what is reported of those that are wrong."""

import pytest

from dsload.errors import UsageError
from dsload.k8s.dataset import Dataset
from dsload.k8s.documents import read_documents
from dsload.k8s.parsing import parse_all

SHORT = """\
apiVersion: dataset.baizeai.io/v1alpha1
kind: Dataset
metadata: {name: a}
spec: {source: {type: S3, uri: "s3://bucket/a"}}
"""


def parse(text: str, where: str = "datasets.yaml") -> list[Dataset]:
    return parse_all(read_documents(text, where))


def refused(text: str, where: str = "datasets.yaml") -> str:
    with pytest.raises(UsageError) as caught:
        parse(text, where)
    assert caught.value.exit_code == 2
    return str(caught.value)
