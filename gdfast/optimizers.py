"""The optimizers: a record each, with torch.optim's name, arguments, defaults and rule.

A record is what the user writes. Its `rule` is what the kernels see: the numbers of the update, complements such as
1 - dampening included, and ``step``, the formula, which numba runs on scalars (j is one parameter) and numpy on arrays
(j is a slice); csrc/optimizers.hpp says it once more. ``s[k, j]`` is the k-th state of parameter j.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from gdfast.checks import check_flag, check_lr, check_number, choose, store_checked


class Rule(Protocol):
    """The update of one optimizer: fields are its numbers."""

    @property
    def name(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...

    @property
    def slots(self) -> int:
        """How many states a parameter has."""
        ...

    def step(self, w: Any, g: Any, s: Any, j: Any, eta: Any, t: Any) -> Any:
        """The new w, given the gradient g, the states s[:, j], the rate eta and the number t of the step, from 1."""
        ...


class Stability(NamedTuple):
    """Which rates are stable, as multiples of 1 / curvature, the weight decay being part of the curvature.

    Of the full batch the curvature is the largest of the mean loss, else the largest of a single row's.
    """

    full_batch: float  # all rates below are stable
    full_batch_auto: float  # the rate of "auto": well below, and without a large detour
    any_order: float  # stable in whatever order the rows come
    weight_decay: float


class Optimizer(Protocol):
    """What an optimizer is to `fit`."""

    lr_by_name: ClassVar[float | str]  # the rate where `fit` is given the name alone

    @property
    def lr(self) -> float | str: ...

    @property
    def rule(self) -> Rule: ...

    @property
    def stability(self) -> Stability: ...


class SGDRule(NamedTuple):
    """The numbers of SGD."""

    momentum: float
    undamped: float
    weight_decay: float
    nesterov: bool

    @property
    def name(self) -> str:
        return "sgd"

    @property
    def slots(self) -> int:
        return int(self.momentum != 0)

    def step(self, w: Any, g: Any, s: Any, j: Any, eta: Any, t: Any) -> Any:
        if self.weight_decay != 0:
            g = g + self.weight_decay * w
        if self.momentum != 0:
            if t == 1:
                s[0, j] = g
            else:
                s[0, j] = self.momentum * s[0, j] + self.undamped * g
            g = g + self.momentum * s[0, j] if self.nesterov else s[0, j]
        return w - eta * g


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: w <- w - lr * b, with b the gradient or its running sum.

    With g the gradient of the batch plus ``weight_decay * w``::

        b = g                                       without momentum, and at the first step
        b = momentum * b + (1 - dampening) * g      afterwards
        w = w - lr * (g + momentum * b if nesterov else b)

    Parameters
    ----------
    lr : float or "auto", default 1e-3
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

    lr_by_name: ClassVar[float | str] = "auto"

    lr: float | str = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        store_checked(
            self,
            lr=check_lr(self.lr),
            momentum=check_number("momentum", self.momentum, 0, 1, include_high=False),
            dampening=check_number("dampening", self.dampening, -math.inf, 1),
            weight_decay=check_number("weight_decay", self.weight_decay, 0, math.inf),
            nesterov=check_flag("nesterov", self.nesterov),
        )
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0; got momentum={self.momentum}, dampening={self.dampening}"
            )

    @property
    def rule(self) -> SGDRule:
        return SGDRule(self.momentum, 1 - self.dampening, self.weight_decay, self.nesterov)

    @property
    def stability(self) -> Stability:
        """On a quadratic of curvature L, and with R the largest curvature of a row.

        Full batch: the rate at which the roots of the recurrence leave the unit circle, 2 (1 + momentum) / L for the
        running sum (Polyak 1964), by 1 + 2 momentum less for Nesterov's. What the first step, which is not damped,
        adds to the running sum carries w by lr * dampening * momentum / (1 - momentum) times the gradient.

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
        return Stability(
            full_batch=full_batch,
            full_batch_auto=min(1.0, full_batch / 2, detour),
            any_order=(1 - m) * (1 - m) / (2 * max(1.0, damped)),
            weight_decay=self.weight_decay,
        )


TABLE: dict[str, type[Optimizer]] = {"sgd": SGD}


def find(optimizer: "str | Optimizer") -> Optimizer:
    """The record of a name, or the record itself."""
    if not isinstance(optimizer, str) and type(optimizer) in TABLE.values():
        return optimizer
    return choose("optimizer", optimizer, TABLE)()


def step(self: Rule, w: Any, g: Any, s: Any, j: Any, eta: Any, t: Any) -> Any:
    """``self.step(...)``: the name by which numba finds the formula of a record's type."""
    return self.step(w, g, s, j, eta, t)
