"""HUGGING_FACE and MODEL_SCOPE: the contract, for models and datasets, on a hub that speaks both."""

from typing import ClassVar

import pytest

from tests.contract.places import Repository
from tests.contract.suite import SourceContract
from tests.servers.hub import Hub, Kind


class TestHuggingFace(SourceContract):
    type = "HUGGING_FACE"
    has_empty_folders = False
    kind: ClassVar[Kind] = "model"

    @pytest.fixture
    def place(self, hub: Hub) -> Repository:
        return Repository(hub.repo("owner/name", self.kind), "hf://owner/name", options(hub, self.kind))


class TestHuggingFaceDataset(TestHuggingFace):
    kind = "dataset"


class TestModelScope(SourceContract):
    type = "MODEL_SCOPE"
    has_empty_folders = False
    kind: ClassVar[Kind] = "model"

    @pytest.fixture
    def place(self, hub: Hub) -> Repository:
        return Repository(hub.repo("owner/name", self.kind), "modelscope://owner/name", options(hub, self.kind))


class TestModelScopeDataset(TestModelScope):
    kind = "dataset"


def options(hub: Hub, kind: Kind) -> dict[str, str]:
    return {"endpoint": hub.url, "repoType": kind.upper()}
