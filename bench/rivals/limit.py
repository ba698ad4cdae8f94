"""The limit of the machine: how fast its memory and its caches are read."""

import importlib.util
from functools import cache
from typing import Any

from gdfast import _bench


@cache
def bandwidth(size: int, threads: int) -> float:
    """Bytes per second at which a working set of so many bytes is read.

    By whichever is faster: `numpy.max`, or where there is numba a sum in any order, which it turns into loads that do
    not wait for each other.
    """
    best = _bench.read_bandwidth(size, threads)
    if importlib.util.find_spec("numba") is not None:
        best = max(best, _bench.read_bandwidth(size, threads, _sums()))
    return best


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
