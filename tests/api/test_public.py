"""The public modules, and what each of them shows."""

import importlib
import pkgutil

import pytest

import gdfast as gd
from gdfast import losses, optimizers, schedules

MODULES = {
    "gdfast",
    "gdfast.datasets",
    "gdfast.errors",
    "gdfast.losses",
    "gdfast.optimizers",
    "gdfast.plot",
    "gdfast.results",
    "gdfast.schedules",
    "gdfast.sklearn",
}


def test_all_other_modules_are_private():
    names = {module.name for module in pkgutil.walk_packages(gd.__path__, "gdfast.")}
    assert {name for name in names if "._" not in name} == MODULES - {"gdfast"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_shows_what_is_public(module):
    shown = importlib.import_module(module)
    assert {name for name in dir(shown) if not name.startswith("_")} == set(shown.__all__)
    assert all(getattr(shown, name).__doc__ for name in shown.__all__)


def test_the_records_of_each_kind_are_public():
    bases = {losses: {"Loss"}, optimizers: {"Optimizer"}}
    bases[schedules] = {"Schedule", "OpenLoop", "ClosedLoop"}
    for module, names in bases.items():
        assert {record.__name__ for record in module.TABLE.values()} | names == {*module.__all__}


def test_a_module_lists_those_of_its_names_that_the_package_has():
    for name in gd.__all__:
        module = getattr(getattr(gd, name), "__module__", None)
        assert module not in MODULES or name in importlib.import_module(module).__all__
