"""The choice of a backend. Each is a module with the same functions: those of `Backend`."""

import importlib
import importlib.util
import operator
import os
import sys
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

from gdfast._backends.problem import Log, Problem, State
from gdfast._backends.threads import quota
from gdfast._typing import Array
from gdfast._validation import unknown
from gdfast._warnings import warn
from gdfast.errors import BackendError
from gdfast.losses import Loss
from gdfast.optimizers import Rule


class Backend(Protocol):
    """The functions that a backend's module offers."""

    NAME: str

    def descend(
        self, problem: Problem, state: State, numbers: Array, keys: Array, log: Log
    ) -> tuple[int, int]: ...

    def total(self, problem: Problem, params: Array) -> tuple[Array, Any]: ...

    def mean_loss(self, loss: Loss, p: Array, y: Array, weights: Array) -> Any: ...

    def step(
        self, rule: Rule, params: Array, grad: Array, slots: Array, numbers: Array
    ) -> None: ...

    def minimize(self, fun: Any, jac: Any, *rest: Any) -> tuple[int, int]: ...

    def predict(self, X: Any, outputs: int, params: Array, threads: int) -> Array: ...


class _Entry(NamedTuple):
    module: str
    needs: str  # the module whose presence makes the backend available
    remedy: str


# The order of choice.
TABLE = {
    "cpp": _Entry(
        "gdfast._backends.cpp",
        "gdfast._core",
        "the C++ extension was not compiled: install a C++17 compiler and Python's headers, then "
        "`pip install --force-reinstall --no-cache-dir .` in gdfast's sources (and run Python outside of that folder, "
        "whose gdfast/ would hide the installed one)",
    ),
    "numba": _Entry(
        "gdfast._backends.numba", "numba", "numba is not installed: `pip install numba`"
    ),
    "numpy": _Entry("gdfast._backends.numpy", "numpy", ""),
}


@cache
def why_not(name: str) -> str | None:
    """Why a backend is not available; None if it is. `BackendError`: a variable asks it for what it cannot do."""
    entry = TABLE[name]
    if importlib.util.find_spec(entry.needs) is None:
        return entry.remedy
    try:
        importlib.import_module(entry.module)
    except ImportError as error:
        return f"{entry.needs} is there, but cannot be used: {error}"
    return None


def backends() -> dict[str, str]:
    """Say of each backend whether it is available, or why not, in the order in which they are chosen.

    Returns
    -------
    dict of str
        Name -> ``"available"`` or the reason and the remedy: what is to be installed, or which variable is wrong.

    Examples
    --------
    >>> import gdfast as gd
    >>> gd.backends()["numpy"]
    'available'
    """
    return {name: state(name) for name in TABLE}


def state(name: str) -> str:
    """``"available"``, or why a backend is not."""
    try:
        return why_not(name) or "available"
    except BackendError as error:
        return str(error)


def find(name: str | None) -> Backend:
    """The module of a backend: the one asked for, by argument or by GDFAST_BACKEND, or the best available."""
    asked = name if name is not None else os.environ.get("GDFAST_BACKEND") or None
    if asked is None:
        return _module(_best())
    source = "" if name is not None else " (from the variable GDFAST_BACKEND)"
    if not isinstance(asked, str):
        raise TypeError(f"backend must be a name, not {asked!r}")
    if asked not in TABLE:
        raise ValueError(unknown("backend", asked, TABLE) + source)
    reason = why_not(asked)
    if reason is not None:
        raise BackendError(f"backend {asked!r}{source} is not available: {reason}")
    return _module(asked)


@cache
def _module(name: str) -> Backend:
    return cast(Backend, importlib.import_module(TABLE[name].module))


@cache
def _best() -> str:
    best = next(name for name in TABLE if why_not(name) is None)
    if best != "cpp":
        warn(
            f"gdfast uses the {best} backend: {why_not('cpp')}. To be silent, choose a backend by name."
        )
    return best


def is_jitted(function: Any) -> bool:
    """Whether numba has compiled the function, or will."""
    numba = sys.modules.get("numba")
    return numba is not None and isinstance(function, numba.core.dispatcher.Dispatcher)


def default_threads() -> int:
    """The number of threads that a fit may use where none is given."""
    return threads_and_source()[0]


def threads_and_source() -> tuple[int, str]:
    """The default number of threads, and its source: by the variable GDFAST_THREADS, or the processors at hand.

    These are no more than a container's quota, nor than OMP_NUM_THREADS, by which joblib, Dask and others tell each of
    the processes that they start how many threads it may have.
    """
    asked = os.environ.get("GDFAST_THREADS") or None
    if asked is not None:
        if not (asked.isdecimal() and int(asked) > 0):
            raise ValueError(
                f"the variable GDFAST_THREADS must be a positive integer, not {asked!r}"
            )
        return int(asked), "from the variable GDFAST_THREADS"
    count: int | None
    if sys.version_info >= (3, 13):
        count = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    limits = [(count or 1, "processors at hand")]
    if (by_quota := quota()) is not None:
        limits.append((by_quota, "by the quota of processor time"))
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if told.isdecimal() and int(told) > 0:  # OpenMP's list is of levels within one another
        limits.append((int(told), "from the variable OMP_NUM_THREADS"))
    return min(limits, key=operator.itemgetter(0))
