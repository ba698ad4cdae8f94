"""The architecture: imports run one way, without circles, and the training knows no backend by name."""

import ast
import graphlib
from pathlib import Path

import pytest

import gdfast as gd
from gdfast import _backends

PACKAGE = Path(gd.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for pattern in ("*.py", "*.pyi")
    for path in sorted(PACKAGE.rglob(pattern))
}
# From the ground up: a module imports from its own layer and those below, inside functions too.
LAYERS = [
    [
        "_core",
        "_extension",
        "_files",
        "_formatting",
        "_typing",
        "_validation",
        "_warnings",
        "errors",
    ],
    ["_numerics"],
    ["losses", "schedules"],
    ["optimizers"],
    ["_data"],
    ["_backends"],
    ["results"],
    ["_training"],
]
FACES = len(LAYERS)  # all others


def layer(module):
    part = f"{module}.".split(".")[1]
    return next((k for k, names in enumerate(LAYERS) if part in names), FACES)


def imported(path):
    """The modules of the package that a file imports, in functions too, but not for types alone."""
    statements = list(ast.parse(path.read_text(encoding="utf-8")).body)
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            inner = {f"{statement.module}.{alias.name}" for alias in statement.names}
            yield from (inner & MODULES.keys()) or {statement.module} & MODULES.keys()
        elif isinstance(statement, ast.Import):
            # A plain `import gdfast` gets no more than the package's name.
            yield from {alias.name for alias in statement.names} & MODULES.keys() - {"gdfast"}
        elif "TYPE_CHECKING" not in ast.unparse(getattr(statement, "test", statement)):
            statements += [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt)]


# `r.plot()` draws with a module that knows results.
DRAWN = {"gdfast.results": ["gdfast.plot"], "gdfast._training.compare": ["gdfast.plot"]}


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    above = [name for name in imported(MODULES[module]) if layer(name) > layer(module)]
    assert above == DRAWN.get(module, [])


def test_no_imports_run_in_a_circle():
    arrows = {
        module: {*imported(path)} - {module, *DRAWN.get(module, [])}
        for module, path in MODULES.items()
    }
    assert len(list(graphlib.TopologicalSorter(arrows).static_order())) == len(MODULES)


def test_the_layers_are_of_modules_that_exist():
    named = {f"gdfast.{name}" for names in LAYERS for name in names}
    assert named <= MODULES.keys()


# `minimize` knows whose functions numba compiles.
TRAINING = [name for name in MODULES if "._training" in name and "minimize" not in name]


@pytest.mark.parametrize("module", TRAINING)
def test_the_training_knows_no_backend_by_name(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not words & _backends.TABLE.keys()
