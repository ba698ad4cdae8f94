"""What all tests share: the backends, Python in a process of its own, and repeatable examples."""

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import pytest

_PACKAGE = Path(importlib.util.find_spec("gdfast").origin).parent
if _PACKAGE.parent == Path(__file__).parents[1] and not any(_PACKAGE.glob("_core.*.*")):
    pytest.exit(
        "these tests would run the sources in this folder, without the C++ extension: install gdfast, "
        "`pip install '.[test]'`, and run `pytest`, not `python -m pytest`",
        returncode=4,
    )

from gdfast import _backends  # noqa: E402  # the right one

# Examples do not change between runs; `pytest --hypothesis-profile=search` looks for new ones.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


# Files whose tests run on numba in the fast tier too; numba compiles for seconds what the others just run.
FAST_ON_NUMBA = "test_backends.py", "test_threads.py", "test_stepper.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests on numba, and as slow most of them, so golden digests but those of squared errors in float64."""
    for item in items:
        if "numba" in item.name:
            item.add_marker(pytest.mark.numba)
            golden = item.path.name == "test_golden.py" and "float64 squared_error sgd" in item.name
            if not (golden or item.path.name in FAST_ON_NUMBA):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(params=_backends.TABLE)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend's name."""
    return request.param


@pytest.fixture(scope="session")
def flushing_mode() -> int:
    """The floating-point mode of a processor that flushes denormals to zero."""
    from gdfast import _core

    arm = platform.machine() in ("aarch64", "arm64")
    return _core.standard_float_mode | (1 << 24 if arm else 0x8040)


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """Run a program in a new process without a backend chosen, and return what it printed.

    With `path`, modules are looked for there first, before any installed copy.
    """

    def run(program: str, *, path: Sequence[object] = (), **environ: str) -> str:
        env = {name: value for name, value in os.environ.items() if name != "GDFAST_BACKEND"}
        command = [sys.executable, "-W", "error", "-c", program]
        if path:
            env["PYTHONPATH"] = os.pathsep.join([*map(str, path), *filter(None, sys.path)])
            command.insert(1, "-S")  # nor the .pth files, by which an editable install comes first
        done = subprocess.run(
            command,
            check=False,  # so that its words are shown, below
            env=env | environ,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
