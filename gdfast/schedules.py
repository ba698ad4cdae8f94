"""Schedules: rates that change, given for ``lr``.

>>> import gdfast as gd
>>> r = gd.fit([[1.0], [2.0]], [1.0, 3.0], lr=gd.schedules.Exponential(0.1, gamma=0.5), epochs=4)
>>> r.history.lr.tolist()
[0.1, 0.05, 0.025, 0.0125]

A schedule is evaluated in Python, for many epochs or steps at once, in float64: no kernel knows it. Those with an open
loop are functions of a count, of epochs or of steps as their field ``per`` says; those with a closed loop hear of each
epoch the loss of the validation rows or, without them, the objective. The rules are those of torch.optim.lr_scheduler
and of scikit-learn's SGDRegressor. An optimizer takes the schedules of this module alone: results are saved by their
names.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdfast._numerics.elementary import cospi, power, powers, where
from gdfast._validation import check_int, check_number, choose, store_checked, unknown
from gdfast.losses import Loss, gradient

__all__ = [
    "Adaptive",
    "ClosedLoop",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OpenLoop",
    "Optimal",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]


def unlimited() -> float:
    """Infinity: the largest safe rate where no data limit it."""
    return math.inf


class Schedule:
    """The base class of what may be given for ``lr`` beside a number."""


class OpenLoop(Schedule, ABC):
    """A function of the epoch or of the step."""

    @property
    @abstractmethod
    def per(self) -> str:
        """The unit of t: ``"epoch"`` or ``"step"``."""

    def rates(self, t: ArrayLike) -> Array:
        """The rates of epochs or steps t = 0, 1, 2, ..., each a function of its t alone.

        Parameters
        ----------
        t : array-like of int
            Which epochs or steps; none is negative.

        Returns
        -------
        ndarray
            In float64, of the shape of t.

        Raises
        ------
        ValueError, TypeError
            If a t is negative, or no integer.
        """
        counts = np.asarray(t)
        if not counts.size:
            return np.empty(counts.shape)
        if counts.dtype.kind not in "iu":
            raise TypeError(f"t has dtype {counts.dtype}: it must hold integers")
        if counts.min() < 0:
            raise ValueError(f"t holds {counts.min()}: epochs and steps are counted from 0")
        return self._rates(counts.astype(np.int64))

    @abstractmethod
    def _rates(self, t: Array) -> Array:
        """The rates at an array of integers that is not empty."""

    def highest(self, first: int, end: int) -> float:
        """The highest rate of some epochs or steps.

        Parameters
        ----------
        first, end : int
            The first of them, and the one after the last.

        Returns
        -------
        float
            The first one's rate, where the rates never rise.
        """
        return float(self.rates([first])[0])

    def for_loss(self, loss: Loss, safe_rate: Callable[[], float] = unlimited) -> "OpenLoop":
        """The schedule of a fit, whose loss and data decide the arguments that were left to them.

        Parameters
        ----------
        loss : Loss
            The loss of the fit.
        safe_rate : callable, optional
            Returns the largest safe rate for the data; by default infinity.

        Returns
        -------
        OpenLoop
            `self`, if nothing was left to the fit.
        """
        return self


class ClosedLoop(Schedule, ABC):
    """Rates that depend on the losses of the epochs before."""

    @abstractmethod
    def start(self) -> Any:
        """The state before the first epoch.

        Returns
        -------
        NamedTuple
            Its field ``rate`` is the rate.
        """

    @abstractmethod
    def heed(self, state: Any, loss: float) -> Any:
        """The state after an epoch.

        Parameters
        ----------
        state : NamedTuple
            The state before the epoch, of `start` or of the last `heed`.
        loss : float
            The loss of the validation rows after the epoch, where there are any, else the objective.

        Returns
        -------
        NamedTuple
            Its field ``rate`` is the rate of the next epoch.
        """


def _check(schedule: Any, **exclusive: bool) -> None:
    """Check the numbers of a schedule: not negative, and positive where they are named so."""
    for name, positive in exclusive.items():
        number = check_number(name, getattr(schedule, name), 0, np.inf, include_low=not positive)
        store_checked(schedule, **{name: number})


def _check_counts(schedule: Any, *names: str, low: int = 1) -> None:
    for name in names:
        store_checked(schedule, **{name: check_int(name, getattr(schedule, name), low)})


def _check_per(schedule: OpenLoop) -> None:
    if schedule.per not in ("epoch", "step"):
        raise ValueError(unknown("per", schedule.per, ["epoch", "step"]))


@dataclass(frozen=True)
class Constant(OpenLoop):
    """lr, always.

    Parameters
    ----------
    lr : float
        The rate.
    per : {"epoch", "step"}, default "epoch"
        What t counts: for a `Warmup` that leads to this rate.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    scikit-learn's ``learning_rate="constant"``.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.Constant(0.1).rates(np.arange(3)).tolist()
    [0.1, 0.1, 0.1]
    """

    lr: float
    per: str = "epoch"

    def __post_init__(self) -> None:
        _check(self, lr=True)
        _check_per(self)

    def _rates(self, t: Array) -> Array:
        return np.full(t.shape, self.lr)


@dataclass(frozen=True)
class StepDecay(OpenLoop):
    """lr * factor^floor(t / every): a factor at every so many epochs.

    Parameters
    ----------
    lr : float
        The first rate.
    every : int
        After how many epochs or steps the rate changes.
    factor : float, default 0.1
        By how much.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    ``torch.optim.lr_scheduler.StepLR``, which calls them step_size and gamma.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.StepDecay(1.0, every=2, factor=0.5).rates(np.arange(5)).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1
    per: str = "epoch"

    def __post_init__(self) -> None:
        _check(self, lr=True, factor=True)
        _check_counts(self, "every")
        _check_per(self)

    def _rates(self, t: Array) -> Array:
        rates: Array = self.lr * powers(self.factor, t // self.every)
        return rates

    def highest(self, first: int, end: int) -> float:
        """The highest rate from `first` to before `end`: the first, or for a factor above 1 nearly the last."""
        if self.factor <= 1:
            return super().highest(first, end)
        return self.lr * float(power(self.factor, (end - 1) // self.every))


@dataclass(frozen=True)
class Exponential(OpenLoop):
    """lr * gamma^t.

    Parameters
    ----------
    lr : float
        The first rate.
    gamma : float
        The factor at each epoch or step.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    ``torch.optim.lr_scheduler.ExponentialLR``.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.Exponential(1.0, gamma=0.5).rates(np.arange(4)).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    lr: float
    gamma: float
    per: str = "epoch"

    def __post_init__(self) -> None:
        _check(self, lr=True, gamma=True)
        _check_per(self)

    def _rates(self, t: Array) -> Array:
        rates: Array = self.lr * powers(self.gamma, t)
        return rates

    def highest(self, first: int, end: int) -> float:
        """The highest rate from `first` to before `end`: the first, or for a gamma above 1 nearly the last."""
        if self.gamma <= 1:
            return super().highest(first, end)
        return self.lr * float(power(self.gamma, end - 1))


@dataclass(frozen=True)
class Cosine(OpenLoop):
    """lr_min + (lr - lr_min) * (1 + cos(pi t / total)) / 2: half a wave, from lr down to lr_min.

    Parameters
    ----------
    lr : float
        The first rate.
    total : int
        After how many epochs or steps the rate is lr_min. As in torch the wave goes on: it rises again afterwards.
    lr_min : float, default 0
        The lowest rate, at most lr.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts";
    ``torch.optim.lr_scheduler.CosineAnnealingLR``, which calls them T_max and eta_min.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.Cosine(1.0, total=4).rates(np.arange(5)).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    lr: float
    total: int
    lr_min: float = 0.0
    per: str = "epoch"

    def __post_init__(self) -> None:
        _check(self, lr=True, lr_min=False)
        _check_counts(self, "total")
        _check_per(self)
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min={self.lr_min} is above lr={self.lr}")

    def _rates(self, t: Array) -> Array:
        half = cospi(
            t / (2 * self.total)
        )  # (1 + cos 2a) / 2 is the square of cos a, which does not cancel
        rates: Array = self.lr_min + (self.lr - self.lr_min) * (half * half)
        return rates

    def highest(self, first: int, end: int) -> float:
        """The highest rate from `first` to before `end`: lr, where a wave begins between them."""
        begin = first + -first % (2 * self.total)
        return float(self.rates([first, end - 1, begin if begin < end else first]).max())


@dataclass(frozen=True)
class Warmup(OpenLoop):
    """r0 * (start_factor + (1 - start_factor) * t / length) for t < length, then another schedule.

    r0 is the first rate of the other schedule, whose own count begins at t = length.

    Parameters
    ----------
    schedule : schedule
        What follows: any with an open loop.
    length : int
        For how many epochs or steps the rate rises.
    start_factor : float, default 1/3
        The first rate as a part of r0, in (0, 1].

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    ``torch.optim.lr_scheduler``: ``SequentialLR`` of ``LinearLR`` and another.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> schedule = gd.schedules.Warmup(gd.schedules.Exponential(1.0, gamma=0.5), length=2, start_factor=0.5)
    >>> schedule.rates(np.arange(5)).tolist()
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    schedule: OpenLoop
    length: int
    start_factor: float = 1 / 3

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, OpenLoop):
            raise TypeError(
                f"schedule={self.schedule!r} must be a schedule that does not depend on the loss"
            )
        check_known("schedule", self.schedule)
        _check_counts(self, "length")
        factor = check_number("start_factor", self.start_factor, 0, 1, include_low=False)
        store_checked(self, start_factor=factor)

    def for_loss(self, loss: Loss, safe_rate: Callable[[], float] = unlimited) -> "Warmup":
        """The schedule with what the other one takes from the loss and the data."""
        return replace(self, schedule=self.schedule.for_loss(loss, safe_rate))

    @property
    def per(self) -> str:
        """The unit of t: as in the other schedule."""
        return self.schedule.per

    def _rates(self, t: Array) -> Array:
        top = self.schedule.rates(np.zeros(1, np.int64))
        rising = top * (self.start_factor + (1 - self.start_factor) * (t / self.length))
        after = self.schedule.rates(where(t < self.length, 0, t - self.length))
        rates: Array = where(t < self.length, rising, after)
        return rates

    def highest(self, first: int, end: int) -> float:
        """The highest rate from `first` to before `end`: at the end of the rise, or in the other schedule."""
        begin = max(first, self.length)
        rising = float(self.rates([min(end, self.length) - 1])[0]) if first < self.length else 0.0
        after = (
            self.schedule.highest(begin - self.length, end - self.length) if begin < end else 0.0
        )
        return max(rising, after)


@dataclass(frozen=True)
class InverseScaling(OpenLoop):
    """lr / (t / t0 + 1)^power.

    Parameters
    ----------
    lr : float
        The first rate.
    power : float, default 0.25
        How fast the rate falls.
    per : {"epoch", "step"}, default "step"
        What t counts.
    t0 : float, default 1
        Up to about this t the rate hardly falls.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    scikit-learn's ``learning_rate="invscaling"``, whose t counts from 1.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.InverseScaling(1.0, power=0.5).rates(np.arange(4)).round(3).tolist()
    [1.0, 0.707, 0.577, 0.5]
    """

    lr: float
    power: float = 0.25
    per: str = "step"
    t0: float = 1.0

    def __post_init__(self) -> None:
        _check(self, lr=True, power=False, t0=True)
        _check_per(self)

    def _rates(self, t: Array) -> Array:
        rates: Array = self.lr / power(t / self.t0 + 1.0, self.power)
        return rates


@dataclass(frozen=True)
class Optimal(OpenLoop):
    """1 / (l2 * (t0 + t)).

    Parameters
    ----------
    l2 : float
        The strength of an L2 penalty, scikit-learn's alpha.
    t0 : float, optional
        The first rate is 1 / (l2 * t0). By default a fit takes scikit-learn's, from the loss: with
        W = sqrt(1 / sqrt(l2)) it is max(1, dloss/dp(-W, 1)) / (l2 * W). That does not look at the data. Where the
        slope of the loss has no bound, as for ``"squared_error"``, steps at such a rate may run away: scikit-learn cuts
        derivatives off at 1e12 and waits until the rate has fallen far enough to bring the weights back. A fit by SGD
        or ASGD makes t0 as large as the safe rate ``"auto"`` asks for.
    per : {"epoch", "step"}, default "step"
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    Bottou (2012), "Stochastic gradient descent tricks"; scikit-learn's ``learning_rate="optimal"``.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> gd.schedules.Optimal(0.01, t0=100.0).rates(np.arange(3)).round(3).tolist()
    [1.0, 0.99, 0.98]
    """

    l2: float
    t0: float | None = None
    per: str = "step"

    def __post_init__(self) -> None:
        _check(self, l2=True)
        if self.t0 is not None:
            _check(self, t0=True)
        _check_per(self)

    def for_loss(self, loss: Loss, safe_rate: Callable[[], float] = unlimited) -> "Optimal":
        """The schedule with its t0, or scikit-learn's for this loss, or a larger one that makes the first rate safe."""
        if self.t0 is not None:
            return self
        typical = float(np.sqrt(1 / np.sqrt(self.l2)))
        # The slope of softmax, a difference of probabilities, is at most 1.
        slope = 1.0 if loss.targets == "classes" else float(gradient(loss, -typical, 1.0))
        t0 = max(1.0, slope) / (self.l2 * typical)
        if loss.steepness is None:
            t0 = max(t0, 1 / (self.l2 * safe_rate()))
        return replace(self, t0=t0)

    def _rates(self, t: Array) -> Array:
        if self.t0 is None:
            raise ValueError("t0 is None, which a fit alone can fill in from its loss: give t0")
        rates: Array = 1 / (self.l2 * (self.t0 + t))
        return rates


class Plateau(NamedTuple):
    """The state of a closed loop: what it has made of the losses so far."""

    rate: float
    best: float = np.inf
    waited: int = 0
    cooling: int = 0


@dataclass(frozen=True)
class Adaptive(ClosedLoop):
    """lr, divided by a factor whenever the loss has not fallen for some epochs.

    An epoch counts as a fall if the loss is at most the lowest so far less tol; after `patience` epochs in a row that
    do not, the rate is divided by `factor`, as long as it is above lr_min.

    Parameters
    ----------
    lr : float
        The first rate.
    tol : float, default 1e-3
        By how much the loss must fall.
    patience : int, default 5
        scikit-learn's n_iter_no_change.
    factor : float, default 5
        By what the rate is divided, above 1.
    lr_min : float, default 1e-6
        A rate up to here is not divided.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    scikit-learn's ``learning_rate="adaptive"``, which stops at lr_min; here `fit`'s patience does that.

    Examples
    --------
    >>> import gdfast as gd
    >>> schedule = gd.schedules.Adaptive(1.0, patience=2)
    >>> state = schedule.start()
    >>> for loss in (3.0, 3.0, 3.0):
    ...     state = schedule.heed(state, loss)
    >>> state.rate
    0.2
    """

    lr: float
    tol: float = 1e-3
    patience: int = 5
    factor: float = 5.0
    lr_min: float = 1e-6

    def __post_init__(self) -> None:
        _check(self, lr=True, tol=False, lr_min=False)
        _check_counts(self, "patience")
        factor = check_number("factor", self.factor, 1, np.inf, include_low=False)
        store_checked(self, factor=factor)

    def start(self) -> Plateau:
        return Plateau(self.lr)

    def heed(self, state: Plateau, loss: float) -> Plateau:
        waited = state.waited + 1 if loss > state.best - self.tol else 0
        rate = state.rate
        if waited >= self.patience and rate > self.lr_min:
            rate, waited = rate / self.factor, 0
        return Plateau(rate, min(loss, state.best), waited)


@dataclass(frozen=True)
class ReduceOnPlateau(ClosedLoop):
    """lr, multiplied by a factor whenever the loss has not fallen for more than some epochs.

    Parameters
    ----------
    lr : float
        The first rate.
    factor : float, default 0.1
        By what the rate is multiplied, below 1.
    patience : int, default 10
        How many epochs without improvement are borne.
    threshold : float, default 1e-4
        By how much the loss must fall below the lowest so far.
    threshold_mode : {"rel", "abs"}, default "rel"
        Whether the threshold is a part of the lowest loss, or an amount.
    cooldown : int, default 0
        For how many epochs after a change none is counted.
    lr_min : float, default 0
        The lowest rate.
    eps : float, default 1e-8
        Smaller changes of the rate are not made.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of the wrong type.

    References
    ----------
    ``torch.optim.lr_scheduler.ReduceLROnPlateau``, which calls lr_min min_lr.

    Examples
    --------
    >>> import gdfast as gd
    >>> schedule = gd.schedules.ReduceOnPlateau(1.0, patience=1)
    >>> state = schedule.start()
    >>> for loss in (3.0, 3.0, 3.0):
    ...     state = schedule.heed(state, loss)
    >>> state.rate
    0.1
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    lr_min: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check(self, lr=True, threshold=False, lr_min=False, eps=False)
        _check_counts(self, "patience", "cooldown", low=0)
        factor = check_number("factor", self.factor, 0, 1, include_low=False, include_high=False)
        store_checked(self, factor=factor)
        if self.threshold_mode not in ("rel", "abs"):
            raise ValueError(unknown("threshold_mode", self.threshold_mode, ["rel", "abs"]))

    def start(self) -> Plateau:
        return Plateau(self.lr)

    def heed(self, state: Plateau, loss: float) -> Plateau:
        rate, best, waited, cooling = state
        relative = self.threshold_mode == "rel"
        limit = best * (1 - self.threshold) if relative else best - self.threshold
        best, waited = (loss, 0) if loss < limit else (best, waited + 1)
        if cooling > 0:
            cooling, waited = cooling - 1, 0
        if waited > self.patience:
            lower = max(rate * self.factor, self.lr_min)
            rate = lower if rate - lower > self.eps else rate
            cooling, waited = self.cooldown, 0
        return Plateau(rate, best, waited, cooling)


TABLE: dict[str, type[Any]] = {
    "constant": Constant,
    "step_decay": StepDecay,
    "exponential": Exponential,
    "cosine": Cosine,
    "warmup": Warmup,
    "inverse_scaling": InverseScaling,
    "optimal": Optimal,
    "adaptive": Adaptive,
    "reduce_on_plateau": ReduceOnPlateau,
}

ADVICE = "pass a schedule of gdfast.schedules: " + ", ".join(cls.__name__ for cls in TABLE.values())


def check_known(name: str, schedule: Schedule) -> None:
    """Refuse a schedule that is none of this module's."""
    if type(schedule) not in TABLE.values():
        raise TypeError(f"{name}={schedule!r} is no schedule of gdfast: {ADVICE}")


def to_dict(schedule: Any) -> dict[str, Any]:
    """The schedule as what JSON knows."""
    name = next(name for name, cls in TABLE.items() if type(schedule) is cls)
    values = {field.name: getattr(schedule, field.name) for field in fields(schedule)}
    if "schedule" in values:
        values["schedule"] = to_dict(values["schedule"])
    return {"name": name, **values}


def from_dict(values: dict[str, Any]) -> Any:
    """The schedule of `to_dict`."""
    values = dict(values)
    cls = choose("schedule", values.pop("name"), TABLE)
    if "schedule" in values:
        values["schedule"] = from_dict(values["schedule"])
    return cls(**values)
