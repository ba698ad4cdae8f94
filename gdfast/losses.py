"""The losses: a record each, with its value and its derivative by the prediction p.

The methods are the formulas of numba (on scalars) and of numpy (on arrays); csrc/formulas/losses.hpp says them once
more. A number in a formula is written ``like(p, number)``, which gives it p's dtype: numba would compute in float64
otherwise. A choice is written ``where(condition, a, b)``.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections import namedtuple
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform

import numpy as np

from gdfast._numerics.elementary import (
    exp,
    exp_of_difference,
    like,
    log1p,
    series_of_exp,
    sign,
    where,
    wide,
)
from gdfast._validation import check_int, check_number, choose

__all__ = [
    "EpsilonInsensitive",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "ModifiedHuber",
    "Perceptron",
    "Poisson",
    "Quantile",
    "Softmax",
    "SquaredEpsilonInsensitive",
    "SquaredError",
    "SquaredHinge",
]


def __dir__() -> list[str]:
    return __all__


@dataclass_transform(frozen_default=True)
class Loss(ABC):
    """Base class of the losses: the annotated fields of one are its parameters, its methods the formulas.

    A loss becomes a frozen dataclass. Its formulas are ``value(p, y)`` and ``gradient(p, y)``, for one output, or
    ``of_row(p, y, c)``, as in `of_row` below. Steps of single rows are faster with ``anchor`` and ``gradient_near``, or
    where the loss is in `LINEAR`.

    Examples
    --------
    >>> import gdfast as gd
    >>> gd.losses.Huber(delta=2.0), gd.losses.Hinge() == gd.losses.Logistic()
    (Huber(delta=2.0), False)
    """

    name: ClassVar[str]
    targets: ClassVar[str]  # what y holds: "numbers", "counts", "signs" (two classes) or "classes"
    Kernel: ClassVar[Any]  # the type of `kernel`

    def __init_subclass__(cls) -> None:
        """Make a dataclass of the loss, and a named tuple of its fields and formulas: numba knows no dataclasses."""
        formulas = [
            (name, formula)
            for name, formula in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("__")
        ]
        cls.__hash__ = Loss.__hash__  # type: ignore[method-assign] # else a dataclass would have one of its fields alone
        dataclass(frozen=True)(cls)
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type] # a dataclass by now
        # Under the loss's own name: by names numba tells the types of tuples apart.
        kernel: Any = namedtuple(cls.__name__, names, module=cls.__module__)  # type: ignore[misc]
        kernel.__qualname__ = f"{cls.__qualname__}.Kernel"  # where pickle finds it
        for name, formula in formulas:
            setattr(kernel, name, formula)
        cls.Kernel = kernel

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    @property
    def kernel(self) -> Any:
        """The parameters as a named tuple that has the formulas too: what the kernels take."""
        return self.Kernel(**vars(self))

    @property
    @abstractmethod
    def curvature(self) -> float | None:
        """The largest second derivative by p, or eigenvalue of those by several; None where it has no bound."""

    @property
    @abstractmethod
    def steepness(self) -> float | None:
        """The largest first derivative by p; None where it has no bound."""


class SquaredError(Loss):
    """(p - y)^2, the loss of least squares.

    Its derivative by p is 2 (p - y). As in scikit-learn's ``squared_error`` before version 1.0 and in
    ``torch.nn.MSELoss``, there is no factor 1/2; see `HalfSquaredError`.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.SquaredError()
    >>> loss.value(1.5, 1.0), loss.gradient(1.5, 1.0)
    (0.25, 1.0)
    """

    name = "squared_error"
    targets = "numbers"
    curvature = 2.0
    steepness = None

    def value(self, p: Any, y: Any) -> Any:
        r = p - y
        return r * r

    def gradient(self, p: Any, y: Any) -> Any:
        r = p - y
        return r + r


class HalfSquaredError(Loss):
    """(p - y)^2 / 2, whose derivative by p is the residual p - y.

    The form of scikit-learn's ``SGDRegressor(loss="squared_error")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.HalfSquaredError()
    >>> loss.value(1.5, 1.0), loss.gradient(1.5, 1.0)
    (0.125, 0.5)
    """

    name = "half_squared_error"
    targets = "numbers"
    curvature = 1.0
    steepness = None

    def value(self, p: Any, y: Any) -> Any:
        r = p - y
        return like(p, 0.5) * (r * r)

    def gradient(self, p: Any, y: Any) -> Any:
        return p - y


class Huber(Loss):
    """r^2 / 2 for residuals r = p - y up to delta, and delta (abs(r) - delta / 2) beyond.

    Parameters
    ----------
    delta : float, default 1.35
        Where the line begins.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter"; scikit-learn's ``SGDRegressor(loss="huber")``, which
    calls delta epsilon.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Huber(delta=1.0)
    >>> float(loss.value(3.0, 0.0)), float(loss.gradient(-3.0, 0.0))
    (2.5, -1.0)
    """

    delta: float = 1.35

    name = "huber"
    targets = "numbers"
    curvature = 1.0

    @property
    def steepness(self) -> float | None:
        return self.delta

    def value(self, p: Any, y: Any) -> Any:
        r = p - y
        c = gradient(self, p, y)
        return c * (r - like(p, 0.5) * c)

    def gradient(self, p: Any, y: Any) -> Any:
        r = p - y
        return where(r < -self.delta, -self.delta, where(r > self.delta, self.delta, r))


class EpsilonInsensitive(Loss):
    """max(0, abs(p - y) - epsilon): the loss of support vector regression.

    Parameters
    ----------
    epsilon : float, default 0.1
        Which residuals cost nothing.

    References
    ----------
    Vapnik (1995), "The nature of statistical learning theory"; scikit-learn's
    ``SGDRegressor(loss="epsilon_insensitive")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.EpsilonInsensitive(epsilon=0.5)
    >>> float(loss.value(3.0, 1.0)), float(loss.gradient(3.0, 1.0)), float(loss.gradient(1.2, 1.0))
    (1.5, 1.0, 0.0)
    """

    epsilon: float = 0.1

    name = "epsilon_insensitive"
    targets = "numbers"
    curvature = None
    steepness = 1.0

    def value(self, p: Any, y: Any) -> Any:
        beyond = abs(p - y) - self.epsilon
        return where(beyond <= 0, like(p, 0.0), beyond)

    def gradient(self, p: Any, y: Any) -> Any:
        r = p - y
        return where(abs(r) <= self.epsilon, like(p, 0.0), sign(r))


class SquaredEpsilonInsensitive(Loss):
    """max(0, abs(p - y) - epsilon)^2.

    Parameters
    ----------
    epsilon : float, default 0.1
        Which residuals cost nothing.

    References
    ----------
    scikit-learn's ``SGDRegressor(loss="squared_epsilon_insensitive")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.SquaredEpsilonInsensitive(epsilon=0.5)
    >>> float(loss.value(3.0, 1.0)), float(loss.gradient(3.0, 1.0))
    (2.25, 3.0)
    """

    epsilon: float = 0.1

    name = "squared_epsilon_insensitive"
    targets = "numbers"
    curvature = 2.0
    steepness = None

    def value(self, p: Any, y: Any) -> Any:
        beyond = abs(p - y) - self.epsilon
        return where(beyond <= 0, like(p, 0.0), beyond * beyond)

    def gradient(self, p: Any, y: Any) -> Any:
        r = p - y
        beyond = abs(r) - self.epsilon
        return where(beyond <= 0, like(p, 0.0), (beyond + beyond) * sign(r))


class Quantile(Loss):
    """q (y - p) below the target, (1 - q) (p - y) above: its minimum is the q-quantile.

    Parameters
    ----------
    q : float, default 0.5
        Which quantile, in (0, 1); 0.5 is the median.

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles"; scikit-learn's ``QuantileRegressor``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Quantile(q=0.75)
    >>> float(loss.value(1.0, 3.0)), float(loss.gradient(1.0, 3.0)), float(loss.gradient(3.0, 1.0))
    (1.5, -0.75, 0.25)
    """

    q: float = 0.5

    name = "quantile"
    targets = "numbers"
    curvature = None

    @property
    def steepness(self) -> float | None:
        return max(self.q, 1 - self.q)

    def value(self, p: Any, y: Any) -> Any:
        return gradient(self, p, y) * (p - y)

    def gradient(self, p: Any, y: Any) -> Any:
        return where(p > y, like(p, 1.0) - self.q, -self.q)


class Poisson(Loss):
    """exp(p) - y p: minus the logarithm of the likelihood of a count y with mean exp(p), up to a constant.

    References
    ----------
    scikit-learn's ``PoissonRegressor``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Poisson()
    >>> float(loss.value(0.0, 3.0)), float(loss.gradient(0.0, 3.0))
    (1.0, -2.0)
    """

    name = "poisson"
    targets = "counts"
    curvature = None
    steepness = None

    def value(self, p: Any, y: Any) -> Any:
        return like(p, exp(wide(p))) - y * p

    def gradient(self, p: Any, y: Any) -> Any:
        return like(p, exp(wide(p))) - y

    def mean(self, p: Any) -> Any:
        """Expected count where the prediction is p.

        Parameters
        ----------
        p : float or ndarray
            The prediction x.w + b, the logarithm of the mean.

        Returns
        -------
        float or ndarray
            exp(p), in the dtype of p.
        """
        return like(p, exp(wide(p)))


class Logistic(Loss):
    """log(1 + exp(-y p)) for y = -1 or 1: minus the logarithm of the likelihood where y has the odds exp(p).

    References
    ----------
    scikit-learn's ``SGDClassifier(loss="log_loss")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Logistic()
    >>> round(float(loss.value(0.0, 1.0)), 6), float(loss.gradient(0.0, 1.0))
    (0.693147, -0.5)
    """

    name = "logistic"
    targets = "signs"
    curvature = 0.25
    steepness = 1.0

    def value(self, p: Any, y: Any) -> Any:
        z = wide(p * y)
        return like(p, where(z < 0.0, -z, 0.0) + log1p(exp(-abs(z))))

    def gradient(self, p: Any, y: Any) -> Any:
        return like(p, -y / (1.0 + exp(wide(p * y))))

    def anchor(self, p: Any, y: Any) -> Any:
        """Exponential that `gradient_near` starts from.

        Parameters
        ----------
        p : float
            A prediction.
        y : float
            The target, -1 or 1.

        Returns
        -------
        float
            exp(y p), in float64.
        """
        return exp(wide(p * y))

    def gradient_near(self, anchor: Any, change: Any, p: Any, y: Any) -> Any:
        """Derivative of `value` by p, without an exponential where p is near a prediction whose `anchor` is known.

        Parameters
        ----------
        anchor : float
            The `anchor` of p - change.
        change : float
            How far p is from there.
        p : float
            The prediction.
        y : float
            The target, -1 or 1.

        Returns
        -------
        float
            In the dtype of p.
        """
        z = wide(y * change)
        if abs(z) < 0.34:
            e = anchor * z
            return like(p, -y / (((1.0 + anchor) + e) + (e * z) * series_of_exp(z)))
        return gradient(self, p, y)

    def probability(self, p: Any) -> Any:
        """Probability of the second class.

        Parameters
        ----------
        p : float or ndarray
            The prediction x.w + b.

        Returns
        -------
        float or ndarray
            1 / (1 + exp(-p)), in the dtype of p.
        """
        return like(p, 1.0 / (1.0 + exp(-wide(p))))


class Hinge(Loss):
    """max(0, 1 - y p) for y = -1 or 1: the loss of support vector machines.

    References
    ----------
    scikit-learn's ``SGDClassifier(loss="hinge")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Hinge()
    >>> float(loss.value(0.25, 1.0)), float(loss.gradient(0.25, 1.0)), float(loss.gradient(-2.0, -1.0))
    (0.75, -1.0, 0.0)
    """

    name = "hinge"
    targets = "signs"
    curvature = None
    steepness = 1.0

    def value(self, p: Any, y: Any) -> Any:
        short = like(p, 1.0) - y * p
        return where(short <= 0, like(p, 0.0), short)

    def gradient(self, p: Any, y: Any) -> Any:
        return where(y * p >= 1, like(p, 0.0), -y)


class SquaredHinge(Loss):
    """max(0, 1 - y p)^2 for y = -1 or 1.

    References
    ----------
    scikit-learn's ``SGDClassifier(loss="squared_hinge")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.SquaredHinge()
    >>> float(loss.value(0.5, 1.0)), float(loss.gradient(0.5, 1.0))
    (0.25, -1.0)
    """

    name = "squared_hinge"
    targets = "signs"
    curvature = 2.0
    steepness = None

    def value(self, p: Any, y: Any) -> Any:
        short = like(p, 1.0) - y * p
        return where(short <= 0, like(p, 0.0), short * short)

    def gradient(self, p: Any, y: Any) -> Any:
        short = like(p, 1.0) - y * p
        return where(short <= 0, like(p, 0.0), -y * (short + short))


class ModifiedHuber(Loss):
    """max(0, 1 - y p)^2 for y = -1 or 1 where y p >= -1, and -4 y p beyond.

    References
    ----------
    Zhang (2004), "Solving large scale linear prediction problems using stochastic gradient descent algorithms";
    scikit-learn's ``SGDClassifier(loss="modified_huber")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.ModifiedHuber()
    >>> float(loss.value(-3.0, 1.0)), float(loss.gradient(-3.0, 1.0)), float(loss.value(0.5, 1.0))
    (12.0, -4.0, 0.25)
    """

    name = "modified_huber"
    targets = "signs"
    curvature = 2.0
    steepness = 4.0

    def value(self, p: Any, y: Any) -> Any:
        z = y * p
        short = like(p, 1.0) - z
        near = where(short <= 0, like(p, 0.0), short * short)
        return where(z < -1, like(p, -4.0) * z, near)

    def gradient(self, p: Any, y: Any) -> Any:
        z = y * p
        short = like(p, 1.0) - z
        near = where(short <= 0, like(p, 0.0), -y * (short + short))
        return where(z < -1, like(p, -4.0) * y, near)

    def probability(self, p: Any) -> Any:
        """Probability of the second class.

        Parameters
        ----------
        p : float or ndarray
            The prediction x.w + b.

        Returns
        -------
        float or ndarray
            (min(1, max(-1, p)) + 1) / 2, in the dtype of p.
        """
        inner = where(p < -1, like(p, -1.0), where(p > 1, like(p, 1.0), p))
        return (inner + 1) / 2


class Perceptron(Loss):
    """max(0, -y p) for y = -1 or 1.

    References
    ----------
    Rosenblatt (1958), "The perceptron"; scikit-learn's ``SGDClassifier(loss="perceptron")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.Perceptron()
    >>> float(loss.value(-2.0, 1.0)), float(loss.gradient(-2.0, 1.0)), float(loss.gradient(2.0, 1.0))
    (2.0, -1.0, 0.0)
    """

    name = "perceptron"
    targets = "signs"
    curvature = None
    steepness = 1.0

    def value(self, p: Any, y: Any) -> Any:
        z = y * p
        return where(z >= 0, like(p, 0.0), -z)

    def gradient(self, p: Any, y: Any) -> Any:
        return where(y * p > 0, like(p, 0.0), -y)


class Softmax(Loss):
    """log sum_o exp(p_o) - p_y for k classes: minus the logarithm of the probability exp(p_y) / sum_o exp(p_o) of y.

    Its derivatives by the k predictions are the probabilities, that of the class y less 1.

    Parameters
    ----------
    classes : int, optional
        k, at most 2^24, where y holds 0, 1, ..., k - 1, and maybe not all of them. By default the classes are the
        distinct labels in y.

    References
    ----------
    ``torch.nn.CrossEntropyLoss``; scikit-learn's ``LogisticRegression``.

    Examples
    --------
    >>> import numpy as np
    >>> import gdfast as gd
    >>> X, y = np.array([[-1.0], [0.0], [1.0]]), ["cold", "mild", "warm"]
    >>> r = gd.fit(X, y, loss="softmax")
    >>> r.coef.shape, r.predict([[-2.0], [2.0]]).tolist()
    ((3, 1), ['cold', 'warm'])
    """

    classes: int = 0

    name = "softmax"
    targets = "classes"
    curvature = 0.5
    steepness = math.sqrt(2)

    def of_row(self, p: Any, y: Any, c: Any) -> Any:
        """Loss of a row, or of many, and its derivatives by the k predictions.

        Parameters
        ----------
        p : ndarray (k,) or (k, n)
            The predictions.
        y : ndarray (1,) or (1, n)
            The number of the class.
        c : ndarray (k,) or (k, n)
            Becomes the derivatives.

        Returns
        -------
        float or ndarray (n,)
            In the dtype of p.
        """
        best = 0
        top = p[0]
        for o in range(1, len(p)):
            best = where(p[o] > top, o, best)
            top = where(p[o] > top, p[o], top)
        beyond = others = 0.0
        right = p[0]
        for o in range(len(p)):
            e = exp_of_difference(wide(p[o]), wide(top))
            c[o] = e
            beyond = beyond + where(best == o, 0.0, e)
            others = others + where(y[0] == o, 0.0, e)
            right = where(y[0] == o, p[o], right)
        total = 1.0 + beyond
        for o in range(len(p)):
            c[o] = where(y[0] == o, like(c, -others / total), c[o] / like(c, total))
        return like(c, log1p(beyond) + (wide(top) - wide(right)))

    def probability(self, p: Any) -> Any:
        """Probability of each class.

        Parameters
        ----------
        p : ndarray (n, k)
            The predictions of n rows.

        Returns
        -------
        ndarray (n, k)
            exp(p_o) / sum exp(p), in the dtype of p.
        """
        c = np.empty_like(p.T)
        self.of_row(p.T, np.full((1, len(p)), -1.0), c)
        return c.T


TABLE: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        SquaredError,
        HalfSquaredError,
        Huber,
        EpsilonInsensitive,
        SquaredEpsilonInsensitive,
        Quantile,
        Poisson,
        Logistic,
        Hinge,
        SquaredHinge,
        ModifiedHuber,
        Perceptron,
        Softmax,
    )
}


# Other names by which a loss is found: scikit-learn's.
ALIASES: dict[str, type[Loss]] = {"log_loss": Logistic}


def names() -> "dict[str, type[Loss]]":
    """The losses by all their names."""
    return TABLE | ALIASES


# k, where the derivative is k (p - y): the steps of groups of rows are made from residuals there.
LINEAR = {SquaredError.Kernel: 2, HalfSquaredError.Kernel: 1}


def linear(self: Any) -> int:
    """k, where the derivative is k (p - y); 0 where it is something else."""
    return LINEAR.get(type(self), 0)


def value(self: Any, p: Any, y: Any) -> Any:
    """``self.value(p, y)``: the name by which numba finds the formula of a record's type."""
    return self.value(p, y)


def gradient(self: Any, p: Any, y: Any) -> Any:
    """``self.gradient(p, y)``, likewise."""
    return self.gradient(p, y)


def anchor(self: Any, p: Any, y: Any) -> Any:
    """The quantity by which `gradient_near` finds the derivative at predictions near p."""
    wanted = getattr(self, "anchor", None)
    return no_anchor(self, p, y) if wanted is None else wanted(p, y)


def no_anchor(self: Any, p: Any, y: Any) -> Any:  # noqa: ARG001
    """Nothing, unless the record says otherwise."""
    return 0.0


def gradient_near(self: Any, anchor: Any, change: Any, p: Any, y: Any) -> Any:
    """The derivative by p, which a likely small change has made of a prediction with this anchor; for numbers."""
    near = getattr(self, "gradient_near", None)
    if near is None:
        return gradient_anywhere(self, anchor, change, p, y)
    return near(anchor, change, p, y)


def gradient_anywhere(self: Any, anchor: Any, change: Any, p: Any, y: Any) -> Any:  # noqa: ARG001
    """The derivative at p, whatever the anchor, unless the record says otherwise."""
    return gradient(self, p, y)


def of_row(self: Any, p: Any, y: Any, c: Any) -> Any:
    """The loss of a row with the predictions p[0], ..., p[k - 1]; c becomes its derivatives by them.

    It is the sum over the outputs, in turn, unless the record says otherwise.
    """
    joint = getattr(self, "of_row", None)
    return sum_of_outputs(self, p, y, c) if joint is None else joint(p, y, c)


def sum_of_outputs(self: Any, p: Any, y: Any, c: Any) -> Any:
    """The loss of each output with a target of its own."""
    total = value(self, p[0], y[0])
    c[0] = gradient(self, p[0], y[0])
    for o in range(1, len(p)):
        total = total + value(self, p[o], y[o])
        c[o] = gradient(self, p[o], y[o])
    return total


def mean(self: Any, p: Any) -> Any:
    """The expectation of y where the prediction is p: p itself, unless the record says otherwise."""
    expected = getattr(self, "mean", None)
    return p if expected is None else expected(p)


# The ranges of the losses' parameters, in which 0 and infinity are not included: name -> (low, high).
RANGES = {"delta": (0, math.inf), "epsilon": (0, math.inf), "q": (0, 1)}


# Classes are numbered in the dtype of X, and float32 counts this far.
MOST_CLASSES = 2**24


def find(loss: "str | Loss") -> Loss:
    """The record of a name, or the record itself, its parameters checked."""
    if isinstance(loss, str) or type(loss) not in TABLE.values():
        return choose("loss", loss, names())()
    checked = {
        name: check_int(name, number, 0, MOST_CLASSES)
        if name == "classes"
        else check_number(
            name, number, *RANGES[name], include_low=name == "epsilon", include_high=False
        )
        for name, number in vars(loss).items()
    }
    return type(loss)(**checked)
