"""No source type without its contract."""

import importlib
import pkgutil

import tests.contract
from dsload.registry import specs
from tests.contract.builders import BuilderContract
from tests.contract.suite import SourceContract


def test_every_type_that_dsload_loads_has_a_contract() -> None:
    for module in pkgutil.iter_modules(tests.contract.__path__, "tests.contract."):
        importlib.import_module(module.name)
    loaded = {contract.type for contract in SourceContract.__subclasses__()}
    built = {contract.type for contract in BuilderContract.__subclasses__()}
    kinds = [spec for spec in specs().values() if spec.preloads]
    assert loaded == {spec.type for spec in kinds if not spec.builds}
    assert built == {spec.type for spec in kinds if spec.builds}
