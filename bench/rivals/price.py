"""The price of the contract: csrc/ with fused multiply-adds and sums in any order, against itself without."""

import importlib.util
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from gdfast._cli import benchmarks

from .by_gdfast import Gdfast
from .works import Fit, Line, Model, data

CSRC = Path(__file__).parents[2] / "csrc"
SOURCES = [CSRC / "module.cpp", CSRC / "kernels" / "kernels.cpp"]
# The flags of CMakeLists.txt, for this machine's instructions.
FLAGS = ["-std=c++17", "-O2", "-ftree-vectorize", "-fno-tree-slp-vectorize", "-funswitch-loops"]
FLAGS += ["-fvect-cost-model=dynamic", "-march=native", "-mprefer-vector-width=512"]
FLAGS += [
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-DGDFAST_MODULE=_core",
]
# -ffast-math but for NaN, which the kernels look for, and for denormals, which the whole process would lose.
FREE = ["-ffp-contract=fast", "-fassociative-math", "-freciprocal-math", "-fno-signed-zeros"]
BUILDS = {
    "contract": [*FLAGS, "-ffp-contract=off"],
    "free": [*FLAGS, *FREE, "-DGDFAST_FREE_ORDER"],
}


def build() -> dict[str, Any]:
    """Compile csrc/ in both ways."""
    import pybind11

    includes = [CSRC, sysconfig.get_path("include"), pybind11.get_include()]
    compiler = os.environ.get("CXX", "c++")
    with tempfile.TemporaryDirectory() as folder:
        made = {name: Path(folder, name, "_core.so") for name in BUILDS}
        commands = []
        for name, flags in BUILDS.items():
            made[name].parent.mkdir()
            include = [f"-I{path}" for path in includes]
            commands.append([compiler, *flags, *include, *map(str, SOURCES), "-o", str(made[name])])
        compilers = [subprocess.Popen(command) for command in commands]
        for command, running in zip(commands, compilers, strict=True):
            if running.wait() != 0:
                raise RuntimeError(f"this does not compile: {' '.join(command)}")
        return {name: _loaded(path) for name, path in made.items()}


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("gdfast._core", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _by(core: Any, run: Callable[[int], Model], epochs: int) -> Model:
    """The fit by this build."""
    with patch("gdfast._backends.cpp._core", core):
        return run(epochs)


def measure(
    lines: Sequence[Line], scaled: Callable[[Fit], Fit], rounds: int
) -> dict[str, tuple[float, float]]:
    """The figures of each line: with the contract, and free of it."""
    builds = build()
    figures = {}
    for line in lines:
        assert isinstance(line.work, Fit)
        work = scaled(line.work)
        run = Gdfast("cpp").fit(work, data(work)).run
        runs = {name: partial(_by, core, run, work.epochs) for name, core in builds.items()}
        turns = benchmarks.race(runs, range(rounds))
        strict, free = (turns[name].results[-1].coef for name in BUILDS)
        np.testing.assert_allclose(free, strict, rtol=0, atol=1e-6 * np.abs(strict).max())
        units = line.units(work)
        strict, free = (min(turns[name].seconds) * units for name in BUILDS)
        figures[line.name] = strict, free
    return figures
