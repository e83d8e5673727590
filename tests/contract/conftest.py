"""The suites are no test modules themselves; their assertions are to tell as much as theirs."""

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.builders")
