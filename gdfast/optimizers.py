"""The optimizers: a record each, with torch.optim's name, arguments, defaults and rule.

A record is what the user writes. Its `rule` is what the kernels see: the numbers of the update, complements such as
1 - beta included, and ``step``, the formula, which numba runs on scalars (j is one parameter) and numpy on arrays (j is
a slice); csrc/formulas/optimizers.hpp says it once more. ``s[k, j]`` is the k-th state of parameter j.

What changes from step to step, such as the rate and Adam's bias corrections, is the same for all parameters. So the
record computes it ahead for many steps at once, in float64, and a kernel gets it as ``c``, the numbers of the step: no
kernel knows schedules or powers.

A rule must not tell a gradient of -0 from one of +0, nor make a w of -0 where it was none: it decays w by
``w - c * w``, never by a factor.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from gdfast import schedules
from gdfast._numerics.elementary import like, power, powers, sign, where
from gdfast._numerics.penalties import least_slope, on_side, shrunk
from gdfast._validation import check_flag, check_number, choose, record_of, store_checked, unknown
from gdfast.schedules import Schedule

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
Rate = float | str | Schedule


class Rule(Protocol):
    """The update of one optimizer: fields are its numbers."""

    @property
    def name(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...

    @property
    def initial(self) -> tuple[float, ...]:
        """The states of a parameter before the first step."""
        ...

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        """The new w, given the gradient g, the states s[:, j] and the numbers c of the step."""
        ...


class Stability(NamedTuple):
    """Stable rates, as multiples of 1 / curvature, the weight decay being part of the curvature.

    Of the full batch the curvature is the largest of the mean loss, else the largest of a single row's.
    """

    full_batch: float  # all rates below are stable
    full_batch_auto: float  # the rate of "auto": well below, and without a large detour
    any_order: float  # stable in whatever order the rows come
    weight_decay: float
    bent: float = math.inf  # as full_batch, where the objective is convex but not quadratic


@dataclass(frozen=True)
class Optimizer(ABC):
    """The base class of the optimizers: the interface that `fit` uses, with defaults.

    Parameters
    ----------
    lr : float, schedule or "auto", default 1e-3
        The rate.
    """

    lr: Rate = 1e-3

    lr_by_name: ClassVar[str | None] = (
        None  # the rate where `fit` is given the name alone, if not the default
    )
    full_batch_only: ClassVar[bool] = False
    decoupled: ClassVar[bool] = False  # the weight decay is no part of the gradient

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The update rule: the numbers of the optimizer, and its formula, as kernels take them."""

    @property
    def stability(self) -> Stability | None:
        """The stable rates; None where the curvature does not tell."""
        return None

    def check_lr(self, lr: Any) -> Rate:
        """Check a rate.

        Parameters
        ----------
        lr : float, schedule or "auto"
            A positive rate, a schedule, or ``"auto"`` where the curvature tells a rate.

        Returns
        -------
        float, schedule or "auto"
            `lr`, a number as a float.

        Raises
        ------
        ValueError, TypeError
            If it is none of these, or ``"auto"`` where the curvature tells no rate.
        """
        if type(lr) is float:
            return _checked("lr", lr, POSITIVE)
        if isinstance(lr, Schedule):
            schedules.check_known("lr", lr)
            return lr
        if callable(lr):
            given = f"the class {lr.__name__}" if isinstance(lr, type) else f"the function {lr!r}"
            raise TypeError(f"lr must be a number, not {given}; or {schedules.ADVICE}")
        if not isinstance(lr, str):
            return _checked("lr", lr, POSITIVE)
        if lr != "auto":
            raise ValueError(unknown("lr", lr, ["auto"]) + "; or a positive number, or a schedule")
        if self.stability is None:
            raise ValueError(
                f'lr="auto" is the rate that the curvature allows, and {type(self).__name__} adapts to the gradients '
                "instead: pass a number, such as its default"
            )
        return lr

    def with_lr(self, lr: Any) -> Self:
        """The optimizer with another rate.

        Parameters
        ----------
        lr : float, schedule or "auto"
            The rate.

        Returns
        -------
        Optimizer
            Of the same type, with all other arguments unchanged.
        """
        return record_of(type(self), {**vars(self), "lr": self.check_lr(lr)})

    @property
    def plain(self) -> bool:
        """Whether a step is w - rate * g, with nothing remembered."""
        return False

    @property
    def rests_at_zero(self) -> bool:
        """Whether a gradient of 0 leaves a parameter, and what is remembered of it, as they are."""
        return False

    @property
    def decay(self) -> float:
        """The weight decay that the rule adds to the gradient: the slope of a penalty, unless it is decoupled."""
        if self.decoupled or getattr(self, "decoupled_weight_decay", False):
            return 0.0
        weight_decay: float = getattr(self, "weight_decay", 0.0)
        return weight_decay

    @property
    def coasts(self) -> bool:
        """Whether a gradient of 0 only multiplies the states by constants, and moves the parameter along one of them.

        The rule then has ``factors``, ``drift`` and ``fade``, and ``c[0]`` is the rate.
        """
        return False

    @property
    def averages_after(self) -> int:
        """The step after which `fit`'s average of the iterates begins."""
        return 0

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        """Coefficients of steps, as the update rule takes them: ``c`` in its formula.

        Parameters
        ----------
        rate : ndarray (len(t),) or (1,)
            The rate of each step, or of all.
        t : ndarray
            The numbers of the steps, from 1.

        Returns
        -------
        tuple of ndarray (len(t),) or (1,)
            A column for each coefficient, of one entry where all steps agree.
        """
        return (rate,)


class Span(NamedTuple):
    """A range of numbers."""

    low: float
    high: float
    include_low: bool = True
    include_high: bool = False


NOT_NEGATIVE = Span(0, math.inf)
POSITIVE = Span(0, math.inf, include_low=False)
BELOW_ONE = Span(0, 1)


def _check(record: Optimizer, **spans: Span) -> None:
    """Check these numbers of a record, and its rate."""
    for name, span in spans.items():
        store_checked(record, **{name: _checked(name, getattr(record, name), span)})
    store_checked(record, lr=record.check_lr(record.lr))


def _checked(name: str, value: Any, span: Span) -> float:
    return check_number(name, value, *span)


def _check_pair(record: Any, name: str, low: Span, high: Span) -> None:
    """Check a pair of numbers of a record."""
    pair = getattr(record, name)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair of numbers, not {pair!r}")
    checked = tuple(
        _checked(f"{name}[{k}]", number, span)
        for k, (number, span) in enumerate(zip(pair, (low, high), strict=True))
    )
    store_checked(record, **{name: checked})


def decayed(g: Any, w: Any, weight_decay: Any) -> Any:
    """The gradient with that of the weight decay."""
    return g + weight_decay * w if weight_decay != 0 else g


def averaged(m: Any, g: Any, take: Any) -> Any:
    """The moving average m moved towards g; the form of torch's lerp, which keeps a constant g as it is."""
    return m + take * (g - m)


def mixed(old: Any, new: Any, keep: Any, take: Any) -> Any:
    """Some of the old and some of the new."""
    return keep * old + take * new


class SGDRule(NamedTuple):
    """The numbers of SGD."""

    momentum: float
    weight_decay: float
    nesterov: bool

    @property
    def name(self) -> str:
        return "sgd"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0,) if self.momentum != 0 else ()

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        if self.momentum != 0:
            s[0, j] = mixed(s[0, j], g, self.momentum, c[1])
            g = g + self.momentum * s[0, j] if self.nesterov else s[0, j]
        return w - c[0] * g

    def plain(self) -> bool:
        return self.momentum == 0 and self.weight_decay == 0

    def factors(self) -> tuple[Any, Any]:
        return like(self.momentum, 1.0), self.momentum

    def drift(self, s: Any, j: Any) -> Any:
        return self.momentum * s[0, j] if self.nesterov else s[0, j]

    def fade(self, s: Any, j: Any, kept: Any, momentum: Any) -> None:
        s[0, j] = momentum * s[0, j]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - lr * b, with b the gradient or its running sum.

    With g the gradient of the batch plus ``weight_decay * w``::

        b = g                                       without momentum, and at the first step
        b = momentum * b + (1 - dampening) * g      afterwards
        w = w - lr * (g + momentum * b if nesterov else b)

    Parameters
    ----------
    lr : float, schedule or "auto", default 1e-3
        The rate. ``"auto"`` is the largest safe rate, found from the data's curvature (see `gdfast.fit`).
    momentum : float, default 0
        How much of the running sum is kept, in [0, 1).
    dampening : float, default 0
        How much of a new gradient is held back from the running sum, at most 1.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    nesterov : bool, default False
        Nesterov's momentum. Needs momentum > 0 and dampening 0.

    Raises
    ------
    ValueError
        If a number is out of its range, or nesterov is asked for without momentum or with dampening.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    The rule of ``torch.optim.SGD``. Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", has the rate inside the running sum instead; the two differ when the rate changes.

    Examples
    --------
    >>> import gdfast as gd
    >>> gd.SGD(lr=0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=False)
    """

    lr_by_name: ClassVar[str | None] = "auto"

    lr: Rate = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        store_checked(self, nesterov=check_flag("nesterov", self.nesterov))
        _check(
            self,
            momentum=BELOW_ONE,
            dampening=Span(-math.inf, 1, include_high=True),
            weight_decay=NOT_NEGATIVE,
        )
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0; got momentum={self.momentum}, dampening={self.dampening}"
            )

    @property
    def plain(self) -> bool:
        return self.momentum == 0

    @property
    def rests_at_zero(self) -> bool:
        return self.momentum == 0 and self.weight_decay == 0

    @property
    def coasts(self) -> bool:
        return self.momentum != 0 and self.weight_decay == 0

    @property
    def rule(self) -> SGDRule:
        return SGDRule(self.momentum, self.weight_decay, self.nesterov)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        if self.momentum == 0:
            return (rate,)
        undamped = np.where(t == 1, 1.0, 1 - self.dampening) if self.dampening else np.ones(1)
        return rate, undamped

    @property
    def stability(self) -> Stability:
        """Stable rates, with L the curvature of a quadratic objective, and R the largest curvature of a row.

        Full batch: the rate at which the roots of the recurrence leave the unit circle, 2 (1 + momentum) / L for the
        running sum (Polyak 1964), by 1 + 2 momentum less for Nesterov's. What the first step, which is not damped,
        adds to the running sum carries w by lr * dampening * momentum / (1 - momentum) times the gradient.

        Where curvatures change on the way, as those of most losses do, and slopes, as l1's at 0, a momentum near 1 may
        be fed by the changes. Up to 2 (1 - momentum) / L the heavy ball's energy falls at each step (Ghadimi,
        Feyzmahdavian and Johansson 2015); in simulations of objectives made of two to six pieces it grew in the long
        run above 20 (1 - momentum) / L alone. Nesterov's falls up to 1 / L (Beck and Teboulle 2009).

        Any order: without momentum 2 / R, up to which no step moves away from the solutions of its rows. With momentum
        m: (1 - m)^2 / (2 R). With v the running sum times lr m / (1 - m), and z = w - v: ||z||^2 + ||v||^2 / m^2 then
        grows in no step.
        """
        m = self.momentum
        if m == 0:
            return Stability(2.0, 1.0, 2.0, self.weight_decay)
        damped = 1 - self.dampening
        roots = (1 + m) / (1 + 2 * m) if self.nesterov else 1 + m
        full_batch = 2 * roots / damped if damped else math.inf
        detour = (1 - m) / (self.dampening * m) if self.dampening > 0 else math.inf
        bent = 10 * (1 - m) / damped if damped and not self.nesterov else math.inf
        return Stability(
            full_batch=full_batch,
            full_batch_auto=min(1.0, full_batch / 2, detour),
            any_order=(1 - m) * (1 - m) / (2 * max(1.0, damped)),
            weight_decay=self.weight_decay,
            bent=bent,
        )


class AdagradRule(NamedTuple):
    """The numbers of Adagrad."""

    weight_decay: float
    start: float
    eps: float

    @property
    def name(self) -> str:
        return "adagrad"

    @property
    def initial(self) -> tuple[float, ...]:
        return (self.start,)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        s[0, j] = s[0, j] + g * g
        return w - c[0] * g / (np.sqrt(s[0, j]) + self.eps)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad: each weight's rate falls with the sum of its squared gradients.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ...::

        s = s + g^2                                 from initial_accumulator_value
        w = w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Parameters
    ----------
    lr : float or schedule, default 1e-2
        The rate.
    lr_decay : float, default 0
        How fast the rate falls besides.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    initial_accumulator_value : float, default 0
        The sum s at the start.
    eps : float, default 1e-10
        Added to the root, against a division by 0.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Duchi, Hazan, Singer (2011), "Adaptive subgradient methods for online learning and stochastic optimization". The
    rule of ``torch.optim.Adagrad``. Optax's starts s at 0.1 and has eps inside the root.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.Adagrad(lr=1.0))
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([1.94]), -0.9)
    """

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        _check(
            self,
            lr_decay=NOT_NEGATIVE,
            weight_decay=NOT_NEGATIVE,
            initial_accumulator_value=NOT_NEGATIVE,
            eps=NOT_NEGATIVE,
        )

    @property
    def rests_at_zero(self) -> bool:
        return self.weight_decay == 0 and self.eps > 0

    @property
    def rule(self) -> AdagradRule:
        return AdagradRule(self.weight_decay, self.initial_accumulator_value, self.eps)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        return (rate / (1 + (t - 1) * self.lr_decay) if self.lr_decay else rate,)


class RMSpropRule(NamedTuple):
    """The numbers of RMSprop."""

    alpha: float
    take: float
    eps: float
    weight_decay: float
    momentum: float
    centered: bool

    @property
    def name(self) -> str:
        return "rmsprop"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        v = mixed(s[0, j], g * g, self.alpha, self.take)
        s[0, j] = v
        if self.centered:
            m = averaged(s[1, j], g, self.take)
            s[1, j] = m
            v = v - m * m
            v = where(v < 0, like(v, 0.0), v)
        d = g / (np.sqrt(v) + self.eps)
        if self.momentum != 0:
            d = self.momentum * s[2, j] + d
            s[2, j] = d
        return w - c[0] * d

    def factors(self) -> tuple[Any, Any]:
        return self.alpha, self.momentum

    def drift(self, s: Any, j: Any) -> Any:
        return s[2, j]

    def fade(self, s: Any, j: Any, kept: Any, momentum: Any) -> None:
        s[0, j] = kept * s[0, j]
        s[1, j] = kept * s[1, j]
        s[2, j] = momentum * s[2, j]


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: the gradient in units of its recent root mean square.

    With g the gradient of the batch plus ``weight_decay * w``::

        v = alpha * v + (1 - alpha) * g^2
        m = alpha * m + (1 - alpha) * g             if centered, and then v - m^2 in place of v:
        d = g / (sqrt(v) + eps)
        b = momentum * b + d
        w = w - lr * b

    Parameters
    ----------
    lr : float or schedule, default 1e-2
        The rate.
    alpha : float, default 0.99
        How much of the moving averages is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    momentum : float, default 0
        How much of the running sum b is kept, in [0, 1).
    centered : bool, default False
        Divide by the standard deviation of the gradient in place of its root mean square.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Tieleman and Hinton (2012), lecture 6.5 of "Neural networks for machine learning"; centered: Graves (2013),
    "Generating sequences with recurrent neural networks". The rule of ``torch.optim.RMSprop``, with eps outside the
    root; optax, river and TensorFlow have it inside. Where rounding makes v - m^2 negative it counts as 0, while torch
    has NaN.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.RMSprop(lr=0.01), epochs=500)
    >>> r.coef.round(1), round(r.intercept, 1)
    (array([1.9]), -0.8)
    """

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        store_checked(self, centered=check_flag("centered", self.centered))
        _check(
            self,
            alpha=BELOW_ONE,
            eps=NOT_NEGATIVE,
            weight_decay=NOT_NEGATIVE,
            momentum=BELOW_ONE,
        )

    @property
    def coasts(self) -> bool:
        return self.weight_decay == 0 and self.eps > 0

    @property
    def rule(self) -> RMSpropRule:
        return RMSpropRule(
            self.alpha, 1 - self.alpha, self.eps, self.weight_decay, self.momentum, self.centered
        )


class AdadeltaRule(NamedTuple):
    """The numbers of Adadelta."""

    rho: float
    take: float
    eps: float
    weight_decay: float

    @property
    def name(self) -> str:
        return "adadelta"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        s[0, j] = mixed(s[0, j], g * g, self.rho, self.take)
        delta = np.sqrt(s[1, j] + self.eps) / np.sqrt(s[0, j] + self.eps) * g
        s[1, j] = mixed(s[1, j], delta * delta, self.rho, self.take)
        return w - c[0] * delta

    def factors(self) -> tuple[Any, Any]:
        return self.rho, like(self.rho, 0.0)

    def drift(self, s: Any, j: Any) -> Any:
        return like(s[0, j], 0.0)

    def fade(self, s: Any, j: Any, kept: Any, momentum: Any) -> None:
        s[0, j] = kept * s[0, j]
        s[1, j] = kept * s[1, j]


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Adadelta: steps of the size of the recent ones, so that a rate of 1 serves.

    With g the gradient of the batch plus ``weight_decay * w``::

        v = rho * v + (1 - rho) * g^2
        D = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * D^2
        w = w - lr * D

    Parameters
    ----------
    lr : float or schedule, default 1.0
        The rate.
    rho : float, default 0.9
        How much of the moving averages is kept, in [0, 1).
    eps : float, default 1e-6
        Added under both roots; it decides how large the first steps are.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Zeiler (2012), "ADADELTA: an adaptive learning rate method". The rule of ``torch.optim.Adadelta``.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer="adadelta", epochs=2000)
    >>> r.coef.round(1), round(r.intercept, 1)
    (array([2.]), -1.0)
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, rho=BELOW_ONE, eps=POSITIVE, weight_decay=NOT_NEGATIVE)

    @property
    def coasts(self) -> bool:
        return self.weight_decay == 0

    @property
    def rule(self) -> AdadeltaRule:
        return AdadeltaRule(self.rho, 1 - self.rho, self.eps, self.weight_decay)


class AdamRule(NamedTuple):
    """The numbers of Adam and AdamW. c: rate sqrt(1 - b2^t) / (1 - b1^t), eps sqrt(1 - b2^t), decay."""

    take1: float
    keep2: float
    take2: float
    weight_decay: float
    decoupled: bool
    amsgrad: bool

    @property
    def name(self) -> str:
        return "adam"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0, 0.0) if self.amsgrad else (0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        if self.decoupled:
            w = w - c[2] * w
        else:
            g = decayed(g, w, self.weight_decay)
        m = averaged(s[0, j], g, self.take1)
        v = mixed(s[1, j], g * g, self.keep2, self.take2)
        s[0, j] = m
        s[1, j] = v
        if self.amsgrad:
            v = where(v < s[2, j], s[2, j], v)
            s[2, j] = v
        return w - c[0] * m / (np.sqrt(v) + c[1])


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: a moving average of the gradient in units of its recent root mean square.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ...::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2                 amsgrad: in the next line the largest v so far
        w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        The rate: about how far a step moves each weight.
    betas : (float, float), default (0.9, 0.999)
        How much of the moving averages m and v is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    amsgrad : bool, default False
        Divide by the largest v so far.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization"; Reddi, Kale, Kumar (2018), "On the convergence
    of Adam and beyond". The rule of ``torch.optim.Adam``. TensorFlow adds eps to the root before its correction.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.Adam(lr=0.1), epochs=500)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        _check_betas(self)
        store_checked(self, amsgrad=check_flag("amsgrad", self.amsgrad))
        _check(self, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE)

    @property
    def rule(self) -> AdamRule:
        b1, b2 = self.betas
        return AdamRule(1 - b1, b2, 1 - b2, self.weight_decay, self.decoupled, self.amsgrad)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        first, second = _corrections(self.betas, t)
        root = np.sqrt(second)
        return rate * root / first, self.eps * root, rate * self.weight_decay


@dataclass(frozen=True)
class AdamW(Adam):
    """AdamW: Adam with a weight decay that the moving averages do not see.

    With g the gradient of the batch, at step t = 1, 2, ...::

        w = w - lr * weight_decay * w
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2                 amsgrad: in the next line the largest v so far
        w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        The rate: about how far a step moves each weight.
    betas : (float, float), default (0.9, 0.999)
        How much of the moving averages m and v is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.
    weight_decay : float, default 1e-2
        How much of a weight, times lr, goes at each step; the intercept's included.
    amsgrad : bool, default False
        Divide by the largest v so far.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization". The rule of ``torch.optim.AdamW``; the paper
    does not multiply the decay by lr.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.AdamW(lr=0.1, weight_decay=0.1), epochs=500)
    >>> r.coef.round(1), round(r.intercept, 1)
    (array([1.7]), -0.6)
    """

    weight_decay: float = 1e-2

    decoupled: ClassVar[bool] = True


class SparseAdamRule(NamedTuple):
    """The numbers of SparseAdam. c: rate sqrt(1 - b2^t) / (1 - b1^t)."""

    take1: float
    take2: float
    eps: float

    @property
    def name(self) -> str:
        return "sparseadam"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        moves = g != 0
        m = averaged(s[0, j], g, self.take1)
        v = averaged(s[1, j], g * g, self.take2)
        s[0, j] = where(moves, m, s[0, j])
        s[1, j] = where(moves, v, s[1, j])
        return where(moves, w - c[0] * m / (np.sqrt(v) + self.eps), w)


@dataclass(frozen=True)
class SparseAdam(Optimizer):
    """SparseAdam: Adam that leaves a weight alone, and what is remembered of it, in a step whose gradient it has not.

    With g the gradient of the batch, at step t = 1, 2, ..., for each weight where g is not 0::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        w = w - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)

    So on sparse rows a step costs no more than the nonzeros of its batch, where one of `Adam` moves all weights. The
    result is the same for dense rows: it is the gradient that counts, not what is stored.

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        The rate: about how far a step moves a weight whose gradient is not 0.
    betas : (float, float), default (0.9, 0.999)
        How much of the moving averages m and v is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    The rule of ``torch.optim.SparseAdam``, with the weights whose gradient is not 0 for those that a sparse gradient
    stores. The two differ in a step whose rows hold a column and have a gradient of 0 there, as rows that `"hinge"` is
    content with: torch's moving averages then move. Unlike in `Adam`, eps is added before the correction of v.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.SparseAdam(lr=0.1), epochs=500)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_betas(self)
        _check(self, eps=NOT_NEGATIVE)

    @property
    def rests_at_zero(self) -> bool:
        return True

    @property
    def rule(self) -> SparseAdamRule:
        b1, b2 = self.betas
        return SparseAdamRule(1 - b1, 1 - b2, self.eps)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        first, second = _corrections(self.betas, t)
        return (rate * np.sqrt(second) / first,)


class AdamaxRule(NamedTuple):
    """The numbers of Adamax. c: rate / (1 - b1^t)."""

    take1: float
    keep2: float
    eps: float
    weight_decay: float

    @property
    def name(self) -> str:
        return "adamax"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        m = averaged(s[0, j], g, self.take1)
        kept = self.keep2 * s[1, j]
        size = abs(g) + self.eps
        u = where(size < kept, kept, size)
        s[0, j] = m
        s[1, j] = u
        return w - c[0] * m / u


@dataclass(frozen=True)
class Adamax(Optimizer):
    """Adamax: Adam in units of the largest recent gradient.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ...::

        m = b1 * m + (1 - b1) * g
        u = max(b2 * u, abs(g) + eps)
        w = w - lr / (1 - b1^t) * m / u

    Parameters
    ----------
    lr : float or schedule, default 2e-3
        The rate: about how far a step moves each weight.
    betas : (float, float), default (0.9, 0.999)
        How much of m and of u is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the gradient's size, against a division by 0.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", section 7.1. The rule of
    ``torch.optim.Adamax``.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.Adamax(lr=0.1), epochs=2000)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_betas(self)
        _check(self, eps=POSITIVE, weight_decay=NOT_NEGATIVE)

    @property
    def rule(self) -> AdamaxRule:
        return AdamaxRule(1 - self.betas[0], self.betas[1], self.eps, self.weight_decay)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        first, _ = _corrections(self.betas, t)
        return (rate / first,)


class NAdamRule(NamedTuple):
    """The numbers of NAdam. c: rate sqrt(1 - b2^t), eps sqrt(1 - b2^t), mu_t, mu_(t+1), decay; s[2] the product."""

    take1: float
    keep2: float
    take2: float
    weight_decay: float
    decoupled: bool

    @property
    def name(self) -> str:
        return "nadam"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0, 1.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        if self.decoupled:
            w = w - c[4] * w
        else:
            g = decayed(g, w, self.weight_decay)
        m = averaged(s[0, j], g, self.take1)
        v = mixed(s[1, j], g * g, self.keep2, self.take2)
        product = s[2, j] * c[2]
        s[0, j] = m
        s[1, j] = v
        s[2, j] = product
        one = like(m, 1.0)
        now = (one - c[2]) / (one - product) * g
        ahead = c[3] / (one - product * c[3]) * m
        return w - c[0] * (now + ahead) / (np.sqrt(v) + c[1])


@dataclass(frozen=True)
class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's momentum.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ..., with
    mu_t = b1 * (1 - 0.5 * 0.96^(t * momentum_decay)) and P = mu_1 * ... * mu_t::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        n = (1 - mu_t) / (1 - P) * g + mu_(t+1) / (1 - P * mu_(t+1)) * m
        w = w - lr * n / (sqrt(v / (1 - b2^t)) + eps)

    Parameters
    ----------
    lr : float or schedule, default 2e-3
        The rate: about how far a step moves each weight.
    betas : (float, float), default (0.9, 0.999)
        How much of the moving averages m and v is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    momentum_decay : float, default 4e-3
        How fast mu_t rises from b1 / 2 to b1.
    decoupled_weight_decay : bool, default False
        Decay the weights as `AdamW` does.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov momentum into Adam". The rule of ``torch.optim.NAdam``. Optax's has no
    momentum_decay.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.NAdam(lr=0.1), epochs=500)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        _check_betas(self)
        _check_decoupled(self)
        _check(self, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE, momentum_decay=NOT_NEGATIVE)

    @property
    def rule(self) -> NAdamRule:
        b1, b2 = self.betas
        return NAdamRule(1 - b1, b2, 1 - b2, self.weight_decay, self.decoupled_weight_decay)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        _, second = _corrections(self.betas, t)
        root = np.sqrt(second)
        mu, ahead = (
            self.betas[0] * (1 - 0.5 * power(0.96, count * self.momentum_decay))
            for count in (t, t + 1)
        )
        return rate * root, self.eps * root, mu, ahead, rate * self.weight_decay


class RAdamRule(NamedTuple):
    """The numbers of RAdam. c: the rate of the step, whether it is rectified, decay."""

    take1: float
    keep2: float
    take2: float
    eps: float
    weight_decay: float
    decoupled: bool

    @property
    def name(self) -> str:
        return "radam"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        if self.decoupled:
            w = w - c[2] * w
        else:
            g = decayed(g, w, self.weight_decay)
        m = averaged(s[0, j], g, self.take1)
        v = mixed(s[1, j], g * g, self.keep2, self.take2)
        s[0, j] = m
        s[1, j] = v
        if c[1] > 0:
            return w - c[0] * m / (np.sqrt(v) + self.eps)
        return w - c[0] * m


@dataclass(frozen=True)
class RAdam(Optimizer):
    """RAdam: Adam whose first steps, while v is uncertain, do without v.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ..., with r_inf = 2 / (1 - b2) - 1 and
    r = r_inf - 2 * t * b2^t / (1 - b2^t)::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        w = w - lr / (1 - b1^t) * m                                             while r <= 5, then
        w = w - lr / (1 - b1^t) * m * R * sqrt(1 - b2^t) / (sqrt(v) + eps)
        R = sqrt((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r))

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        The rate.
    betas : (float, float), default (0.9, 0.999)
        How much of the moving averages m and v is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against a division by 0.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.
    decoupled_weight_decay : bool, default False
        Decay the weights as `AdamW` does.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Liu et al. (2020), "On the variance of the adaptive learning rate and beyond". The rule of ``torch.optim.RAdam``.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.RAdam(lr=0.1), epochs=1000)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        _check_betas(self)
        _check_decoupled(self)
        _check(self, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE)

    @property
    def rule(self) -> RAdamRule:
        b1, b2 = self.betas
        decoupled = self.decoupled_weight_decay
        return RAdamRule(1 - b1, b2, 1 - b2, self.eps, self.weight_decay, decoupled)

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        first, second = _corrections(self.betas, t)
        most = 2 / (1 - self.betas[1]) - 1
        r = most - 2 * t * (1 - second) / second
        rectified = r > 5
        r = np.where(rectified, r, most)
        rectifier = np.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r) * second)
        size = rate / first
        return (
            np.where(rectified, size * rectifier, size),
            np.where(rectified, 1.0, 0.0),
            rate * self.weight_decay,
        )


class RpropRule(NamedTuple):
    """The numbers of Rprop."""

    start: float
    down: float
    up: float
    smallest: float
    largest: float

    @property
    def name(self) -> str:
        return "rprop"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0, self.start)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        agreement = g * s[0, j]
        size = s[1, j]
        size = where(agreement > 0, size * self.up, where(agreement < 0, size * self.down, size))
        size = where(size < self.smallest, self.smallest, size)
        size = where(size > self.largest, self.largest, size)
        g = where(agreement < 0, like(g, 0.0), g)
        s[0, j] = g
        s[1, j] = size
        return w - sign(g) * size


@dataclass(frozen=True)
class Rprop(Optimizer):
    """Rprop: steps by the signs of the gradient, whose sizes grow while a sign stays and shrink when it changes.

    With g the gradient of all rows, and each weight's step size S starting at lr::

        S = S * etas[1]  where g has the sign that it had, S * etas[0] where it changed; within step_sizes
        g = 0            where the sign changed
        w = w - sign(g) * S

    Parameters
    ----------
    lr : float, default 1e-2
        The first step size.
    etas : (float, float), default (0.5, 1.2)
        By which factors a step size shrinks, in (0, 1), and grows, above 1.
    step_sizes : (float, float), default (1e-6, 50)
        The smallest and the largest step size.

    Raises
    ------
    ValueError
        If a number is out of its range, lr is ``"auto"`` or a schedule, or a fit is not full batch.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Riedmiller and Braun (1993), "A direct adaptive method for faster backpropagation learning: the RPROP algorithm".
    The rule of ``torch.optim.Rprop``.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer="rprop")
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    full_batch_only: ClassVar[bool] = True

    lr: Rate = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)

    def __post_init__(self) -> None:
        _check_pair(self, "etas", Span(0, 1, include_low=False), Span(1, math.inf, False))
        _check_pair(self, "step_sizes", POSITIVE, POSITIVE)
        smallest, largest = self.step_sizes
        if smallest > largest:
            raise ValueError(f"step_sizes={self.step_sizes}: the smallest is above the largest")
        _check(self)

    def check_lr(self, lr: Any) -> Rate:
        """Check a first step size.

        Parameters
        ----------
        lr : float
            A positive number.

        Returns
        -------
        float
            `lr` as a float.

        Raises
        ------
        ValueError, TypeError
            If it is anything else.
        """
        if isinstance(lr, str | Schedule):
            raise ValueError(f"lr={lr!r}: Rprop's is its first step size, and must be a number")
        return super().check_lr(lr)

    @property
    def rule(self) -> RpropRule:
        assert isinstance(self.lr, float)
        return RpropRule(self.lr, *self.etas, *self.step_sizes)


class ASGDRule(NamedTuple):
    """The number of ASGD. c: the rate, decay."""

    weight_decay: float

    @property
    def name(self) -> str:
        return "asgd"

    @property
    def initial(self) -> tuple[float, ...]:
        return ()

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        g = decayed(g, w, self.weight_decay)
        w = w - c[1] * w
        return w - c[0] * g


@dataclass(frozen=True)
class ASGD(Optimizer):
    """Averaged SGD: rates that fall with a power of t, and the average of the weights.

    With g the gradient of the batch plus ``weight_decay * w``, at step t = 1, 2, ...::

        e = lr / (1 + lambd * lr * (t - 1))^alpha
        w = w - e * lambd * w
        w = w - e * g

    A fit returns the last w. With ``average=True`` it returns their mean after step t0 + 1, which is what torch keeps
    as ``ax``; up to that step this is the last w.

    Parameters
    ----------
    lr : float, schedule or "auto", default 1e-2
        The first rate.
    lambd : float, default 1e-4
        How fast the rate falls, and how much of a weight, times the rate, goes at each step.
    alpha : float, default 0.75
        The power with which the rate falls.
    t0 : float, default 1e6
        After which step the average begins: a whole number.
    weight_decay : float, default 0
        Adds ``weight_decay * w`` to the gradient, that of the intercept included.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging"; Bottou (2010), "Large-scale
    machine learning with stochastic gradient descent". The rule of ``torch.optim.ASGD``; where a schedule changes lr,
    torch's rate is one step late.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.ASGD(lr=0.2, t0=1000), epochs=2000, average=True)
    >>> r.coef.round(2), round(r.intercept, 2)
    (array([2.]), -1.0)
    """

    lr: Rate = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(
            self,
            lambd=NOT_NEGATIVE,
            alpha=NOT_NEGATIVE,
            t0=Span(0, 2.0**53, include_high=True),
            weight_decay=NOT_NEGATIVE,
        )
        if not self.t0.is_integer():
            raise ValueError(f"t0={self.t0} must be a whole number of steps")

    @property
    def rule(self) -> ASGDRule:
        return ASGDRule(self.weight_decay)

    @property
    def averages_after(self) -> int:
        return int(self.t0) + 1

    @property
    def decay(self) -> float:
        return self.weight_decay + self.lambd

    @property
    def stability(self) -> Stability:
        """The stable rates of SGD: the rate only falls, and both decays add to the curvature."""
        return SGD(weight_decay=self.decay).stability

    def numbers(self, rate: Array, t: Array) -> tuple[Array, ...]:
        if self.lambd and self.alpha:
            rate = rate / power(1 + self.lambd * rate * (t - 1), self.alpha)
        return rate, rate * self.lambd


class LionRule(NamedTuple):
    """The numbers of Lion."""

    keep1: float
    take1: float
    keep2: float
    take2: float
    weight_decay: float

    @property
    def name(self) -> str:
        return "lion"

    @property
    def initial(self) -> tuple[float, ...]:
        return (0.0,)

    def step(self, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
        m = s[0, j]
        u = sign(mixed(m, g, self.keep1, self.take1))
        s[0, j] = mixed(m, g, self.keep2, self.take2)
        if self.weight_decay != 0:
            u = u + self.weight_decay * w
        return w - c[0] * u


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion: steps of one size, by the signs of a moving average of the gradient.

    With g the gradient of the batch::

        w = w - lr * (sign(b1 * m + (1 - b1) * g) + weight_decay * w)
        m = b2 * m + (1 - b2) * g

    Parameters
    ----------
    lr : float or schedule, default 1e-4
        The rate: how far a step moves each weight.
    betas : (float, float), default (0.9, 0.99)
        How much of the moving average m counts for the sign, and is kept, in [0, 1).
    weight_decay : float, default 0
        How much of a weight, times lr, goes at each step; the intercept's included.

    Raises
    ------
    ValueError
        If a number is out of its range, or lr is ``"auto"``.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms". The rule of ``optax.lion``, whose default
    weight_decay is 1e-3.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], optimizer=gd.Lion(lr=0.001), epochs=5000)
    >>> r.coef.round(1), round(r.intercept, 1)
    (array([2.]), -1.0)
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    decoupled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_betas(self)
        _check(self, weight_decay=NOT_NEGATIVE)

    @property
    def rule(self) -> LionRule:
        b1, b2 = self.betas
        return LionRule(b1, 1 - b1, b2, 1 - b2, self.weight_decay)


def _check_betas(record: Any) -> None:
    _check_pair(record, "betas", BELOW_ONE, BELOW_ONE)


def _check_decoupled(record: Any) -> None:
    flag = check_flag("decoupled_weight_decay", record.decoupled_weight_decay)
    store_checked(record, decoupled_weight_decay=flag)


def _corrections(betas: tuple[float, float], t: Array) -> tuple[Array, Array]:
    """1 - b^t for both betas: what the moving averages lack because they start at 0."""
    b1, b2 = betas
    return 1 - powers(b1, t), 1 - powers(b2, t)


TABLE: dict[str, type[Optimizer]] = {
    optimizer.__name__.lower(): optimizer
    for optimizer in (
        SGD,
        Adagrad,
        RMSprop,
        Adadelta,
        Adam,
        AdamW,
        SparseAdam,
        Adamax,
        NAdam,
        RAdam,
        Rprop,
        ASGD,
        Lion,
    )
}

DEFAULTS = {name: optimizer() for name, optimizer in TABLE.items()}
KINDS = frozenset(TABLE.values())


def find(optimizer: "str | Optimizer", lr: Rate | None = None) -> Optimizer:
    """The record of a name, or the record itself, with the rate that is asked for."""
    known = type(optimizer) in KINDS
    record = cast(Optimizer, optimizer) if known else choose("optimizer", optimizer, DEFAULTS)
    return record if lr is None else record.with_lr(lr)


def for_data(optimizer: "str | Optimizer", lr: Rate | None = None) -> Optimizer:
    """The optimizer of a fit, where a name alone may stand for ``"auto"``."""
    record = find(optimizer, lr)
    if lr is None and isinstance(optimizer, str) and record.lr_by_name is not None:
        return record.with_lr(record.lr_by_name)
    return record


def division_by_zero(optimizer: Optimizer, params: Array) -> str:
    """The advice where an eps of 0 may have made params that are not finite; else an empty text."""
    if getattr(optimizer, "eps", None) != 0 or np.isfinite(params).all():
        return ""
    name = type(optimizer).__name__
    eps = type(optimizer)().eps  # type: ignore[attr-defined] # it has one
    return f"with eps=0 {name} divides by 0 where the gradients are 0: pass a positive eps, such as {eps:g}"


def advice(optimizer: Optimizer, params: Array, slots: Array) -> str:
    """Advice where the params or their states are not finite and the rate is not to blame; else nothing."""
    divided = division_by_zero(optimizer, params)
    if divided or optimizer.stability is not None or np.isfinite(slots).all():
        return divided
    return (
        f"gradients so large overflow {slots.dtype} in the states of {type(optimizer).__name__}, as their squares and "
        "sums do: divide the function and its gradient by a constant, or clip the gradient"
    )


def to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """The record as what JSON knows."""
    values = {field.name: getattr(optimizer, field.name) for field in fields(optimizer)}
    if isinstance(optimizer.lr, Schedule):
        values["lr"] = schedules.to_dict(optimizer.lr)
    return {"name": type(optimizer).__name__.lower(), **values}


def from_dict(values: dict[str, Any]) -> Optimizer:
    """The record of `to_dict`."""
    values = dict(values)
    cls = choose("optimizer", values.pop("name"), TABLE)
    if isinstance(values["lr"], dict):
        values["lr"] = schedules.from_dict(values["lr"])
    return cls(**values)


def step(self: Rule, w: Any, g: Any, s: Any, j: Any, c: Any) -> Any:
    """``self.step(...)``: the name by which numba finds the formula of a record's type."""
    return self.step(w, g, s, j, c)


def penalised_step(
    rule: Rule, w: Any, g: Any, s: Any, j: Any, c: Any, l1: Any, proximal: bool
) -> Any:
    """The rule's new w with the penalty of l1; `gdfast._numerics.penalties` says why there are two ways."""
    if l1 == 0:
        return step(rule, w, g, s, j, c)
    if proximal:
        return shrunk(step(rule, w, g, s, j, c), c[0] * l1)
    slope = least_slope(g, w, l1)
    return on_side(step(rule, w, slope, s, j, c), where(w != 0, w, -slope))


def factors(self: Any) -> Any:
    """By how much a step with a gradient of 0 multiplies moving averages, and the state that moves the parameter."""
    return self.factors()


def drift(self: Any, s: Any, j: Any) -> Any:
    """The drift of the parameters j where their gradient is 0: they move by a rate times it, and then times `fade`."""
    return self.drift(s, j)


def fade(self: Any, s: Any, j: Any, kept: Any, momentum: Any) -> Any:
    """Multiply the states of the parameters j by powers of the factors."""
    return self.fade(s, j, kept, momentum)


def plain(self: Any) -> bool:
    """Whether a step is w - rate * g and no more; not, unless the rule says so."""
    says = getattr(self, "plain", never)
    return bool(says())


def never() -> bool:
    """No."""
    return False
