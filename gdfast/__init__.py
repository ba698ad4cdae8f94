"""Gradient descent for linear models: C++, numba and numpy, with the same bits on all three.

>>> import gdfast as gd
>>> r = gd.fit([[1.0], [2.0], [3.0]], [3.0, 5.0, 7.0], epochs=1000)
>>> round(r.intercept, 6), r.predict([[4.0]]).round(6).tolist()
(1.0, [9.0])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gdfast import losses, schedules
from gdfast._backends import backends
from gdfast._training.fit import fit
from gdfast.errors import BackendError, DivergenceError
from gdfast.optimizers import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
)
from gdfast.results import FitResult, History, MinimizeResult, load

if TYPE_CHECKING:
    from gdfast import datasets, plot
    from gdfast._cli.config import show_config
    from gdfast._training.compare import Comparison, compare
    from gdfast._training.minimize import minimize
    from gdfast._training.scipy_adapter import scipy_method
    from gdfast._training.stepper import Stepper
    from gdfast._training.stream import fit_stream

__version__ = "0.1.0"

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BackendError",
    "Comparison",
    "DivergenceError",
    "FitResult",
    "History",
    "Lion",
    "MinimizeResult",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "Stepper",
    "backends",
    "compare",
    "datasets",
    "fit",
    "fit_stream",
    "load",
    "losses",
    "minimize",
    "plot",
    "schedules",
    "scipy_method",
    "show_config",
]

# Names that are imported when they are first asked for, as not every program needs them: name -> its module.
_LATER = {
    "Comparison": "_training.compare",
    "Stepper": "_training.stepper",
    "compare": "_training.compare",
    "datasets": "datasets",
    "fit_stream": "_training.stream",
    "minimize": "_training.minimize",
    "plot": "plot",
    "scipy_method": "_training.scipy_adapter",
    "show_config": "_cli.config",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    found = module if _LATER[name] == name else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
