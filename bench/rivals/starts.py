"""What a process pays once: imports, and numba's compiling. Each measurement is a process of its own, in turns."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

FIRST_FIT = (
    "gdfast.fit([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0], lr=0.01, batch_size=1, backend='numba')"
)


class Start(NamedTuple):
    before: str  # what is imported before the clock starts
    statement: str


def imports(modules: Iterable[str]) -> dict[str, Start]:
    """The imports of these, beyond that of NumPy."""
    return {module: Start("numpy", f"import {module}") for module in modules}


def race(
    starts: Mapping[str, Start], rounds: int, cache: Path | None = None
) -> dict[str, list[float]]:
    """The seconds of each statement, by rounds; with numba's cache in this folder."""
    environ = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": str(cache)})
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(rounds):
        for name, (before, statement) in starts.items():
            code = (
                f"import time, {before}\nstart = time.perf_counter()\n{statement}\n"
                "print(time.perf_counter() - start)"
            )
            command = [sys.executable, "-c", code]
            shown = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            seconds[name].append(float(shown.stdout.split()[-1]))
    return seconds


def first_fits(rounds: int) -> dict[str, list[float]]:
    """The first fit by numba in a process, numba itself imported before: with an empty cache, and with a filled one."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    fit = {"fit": Start("numba, gdfast", FIRST_FIT)}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for measured in seconds.values():
                measured.extend(race(fit, 1, Path(folder))["fit"])
    return seconds
