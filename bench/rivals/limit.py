"""The limit of the machine: how fast its memory and its caches are read."""

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

from gdfast._cli import benchmarks

MOST = 1 << 28


def readers(size: int, threads: int) -> dict[str, tuple[Callable[[], object], int]]:
    """What reads a working set of so many bytes, and the bytes that a call reads.

    Beside `numpy.max`, where there is numba a sum in any order, which it turns into loads that do not wait for each
    other. The limit is what the faster one takes. No cache holds `MOST`: more is read no slower.
    """
    size = min(size, MOST)
    made = {"limit by numpy": benchmarks.reader(size, threads)}
    if importlib.util.find_spec("numba") is not None:
        made["limit by numba"] = benchmarks.reader(size, threads, _sums())
    return made


def bandwidth(size: int, threads: int) -> float:
    """Bytes per second at which a working set of so many bytes is read."""
    made = readers(size, threads)
    turns = benchmarks.race({name: run for name, (run, _) in made.items()}, range(7), warm_up=0)
    return max(read / min(turns[name].seconds) for name, (_, read) in made.items())


@cache
def _sums() -> Any:
    import numba

    @numba.njit(fastmath=True, nogil=True)
    def sums(part, times):
        largest = 0.0
        for k in range(times):
            total = 0.0
            for i in range(part.size):
                total += part[i]
            largest = max(largest, total)
            part[0] = k  # so that no sum can be taken for the one before
        return largest

    return sums
