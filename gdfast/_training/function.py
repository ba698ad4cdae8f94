"""A function to minimise, its gradient, and the points that a run visits."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gdfast._training.growing import Growing
from gdfast._typing import Array


class Function:
    """The user's functions, called with a copy of x, and checked in what they return."""

    def __init__(self, fun: Any, jac: Any, x: Array) -> None:
        self.fun, self.jac = fun, jac
        self.shape, self.dtype = x.shape, x.dtype
        self.narrow = x.dtype != np.float64
        self.apart = callable(jac)
        self.gradients = 0  # found, each with a call of fun
        self.differences = 0  # what else fun was called for

    def __call__(self, x: Array) -> tuple[Any, Array]:
        """The value and the gradient, in the dtype of x0."""
        try:
            if self.apart:
                value = self.fun(x.copy())
                if not isinstance(value, float):
                    value = _number(value)
                gradient = self.jac(x.copy())
                known = type(gradient) is np.ndarray and gradient.dtype is self.dtype
                if not known or gradient.shape != self.shape:
                    gradient = self._gradient(gradient, "jac(x)")
            else:
                value, gradient = self._both(x)
        except Exception as error:
            error.add_note(f"at x = {x}")
            raise
        self.gradients += 1
        if self.narrow:
            with np.errstate(over="ignore"):
                return self.dtype.type(value), gradient.astype(self.dtype)
        return value, gradient

    def _both(self, x: Array) -> tuple[float, Array]:
        if self.jac is True:
            pair = self.fun(x.copy())
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError(
                    f"with jac=True fun must return a pair, the value and the gradient; it returned {pair!r}"
                )
            return _number(pair[0]), self._gradient(pair[1], "the gradient from fun")
        return _number(self.fun(x.copy())), _numerical_gradient(self._value, x.astype(np.float64))

    def _value(self, x: Array) -> float:
        self.differences += 1
        return _number(self.fun(x.copy()))

    @property
    def calls(self) -> int:
        """The number of calls of fun."""
        return self.gradients + self.differences

    def _gradient(self, gradient: Any, name: str) -> Array:
        g = np.asarray(gradient)
        if g.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers; it is {gradient!r}")
        if g.shape != self.shape:
            if not (g.size == 1 and self.shape == (1,)):
                raise ValueError(f"{name} has shape {g.shape}, x has shape {self.shape}")
            g = g.reshape(1)
        return g


class Points:
    """The points of a descent and their values: all, or only the latest three, which the advice asks for."""

    def __init__(self, x: Array, value: Any, kept: bool) -> None:
        self.kept = kept
        self.count = 1
        self.x = Growing(x[None].copy())
        self.values = Growing(np.array([value], x.dtype))
        self.lowest, self.least = x.copy(), math.inf  # of the points before the latest

    def add(self, x: Array, values: Array) -> None:
        """Add points, of which the first is the latest of those that are there."""
        if len(x) == 1:
            return
        k = int(np.argmin(values[:-1]))
        if values[k] < self.least:
            self.lowest, self.least = x[k].copy(), float(values[k])
        if not self.kept:
            x = np.concatenate([self.x.until(self.count), x[1:][-3:]])[-3:]
            values = np.concatenate([self.values.until(self.count), values[1:][-3:]])[-3:]
            self.x, self.values, self.count = Growing(x), Growing(values), len(x)
            return
        self.x.put(self.count, x[1:])
        self.values.put(self.count, values[1:])
        self.count += len(x) - 1

    def path(self) -> tuple[Array, Array]:
        """The path as a result has it, with its values: where not all points are kept, the latest two."""
        first = 0 if self.kept else max(0, self.count - 2)
        return self.x.until(self.count)[first:], self.values.until(self.count)[first:]


def _number(value: Any) -> float:
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "fiub":
        raise TypeError(f"fun(x) must be a real number; it is {value!r}")
    return float(number.item())


def _numerical_gradient(fun: Callable[[Array], float], x: Array) -> Array:
    try:
        from scipy.optimize import approx_fprime
    except ImportError as error:
        raise ImportError(
            "minimize needs the gradient: pass jac, or install scipy, which finds it numerically: pip install scipy"
        ) from error
    outside = np.geterr()

    def as_outside(x: Array) -> float:
        with np.errstate(**outside):
            return fun(x)

    with np.errstate(all="ignore"):  # of differences of what is not finite
        gradient: Array = approx_fprime(x, as_outside)
    return gradient
