"""The suites are no test modules themselves; their assertions are to tell as much as theirs."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.builders")


@pytest.fixture
def root(volume: Path) -> Path:
    """The mount root."""
    volume.mkdir()
    return volume
