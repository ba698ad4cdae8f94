"""Gradient descent for linear models: C++, numba and numpy, with the same bits on all three.

>>> import gdfast as gd
>>> r = gd.fit([[1.0], [2.0], [3.0]], [3.0, 5.0, 7.0], epochs=1000)
>>> round(r.intercept, 6), r.predict([[4.0]]).round(6).tolist()
(1.0, [9.0])
"""

from gdfast import datasets, losses, plot
from gdfast._backends import backends
from gdfast._config import show_config
from gdfast._fit import fit
from gdfast.errors import BackendError, DivergenceError
from gdfast.optimizers import SGD
from gdfast.results import FitResult, History, load

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "BackendError",
    "DivergenceError",
    "FitResult",
    "History",
    "backends",
    "datasets",
    "fit",
    "load",
    "losses",
    "plot",
    "show_config",
]
