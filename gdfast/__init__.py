"""Gradient descent for linear models: C++, numba and numpy, with the same bits on all three.

>>> import gdfast as gd
>>> r = gd.fit([[1.0], [2.0], [3.0]], [3.0, 5.0, 7.0], epochs=1000)
>>> round(r.intercept, 6), r.predict([[4.0]]).round(6).tolist()
(1.0, [9.0])
"""

from gdfast import datasets, losses, plot, schedules
from gdfast._backends import backends
from gdfast._compare import Comparison, compare
from gdfast._config import show_config
from gdfast._fit import fit
from gdfast._minimize import minimize, scipy_method
from gdfast._stepper import Stepper
from gdfast._stream import fit_stream
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
)
from gdfast.results import FitResult, History, MinimizeResult, load

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
