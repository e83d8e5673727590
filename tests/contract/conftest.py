"""The suite is no test module itself; its assertions are to tell as much as theirs."""

import pytest

pytest.register_assert_rewrite("tests.contract.suite")
