"""The records that pass between `fit` and a backend: what it is given and what it fills in."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._data.stream import Rows
from gdfast._numerics import order
from gdfast._numerics.penalties import Penalty
from gdfast._typing import Array
from gdfast.losses import Loss
from gdfast.optimizers import Rule

# Why a run of epochs ended.
RAN, TOL, DIVERGED = 0, 1, 2


class Problem(NamedTuple):
    """The data and the options. All arrays and the records' numbers have one dtype."""

    rows: Rows
    loss: Loss
    rule: Rule
    penalty: Penalty
    outputs: int
    fit_intercept: bool
    batch_size: int  # at most n
    fused: bool  # steps are made row by row or, where the rows are sparse, on the columns they hold
    clip_norm: float  # inf: no clipping
    tol: float  # for the largest gradient component; negative: never
    bound: float  # a loss above it has diverged
    averages_after: int  # the step after which the sum of the iterates begins
    threads: int  # at most
    to_come: int = 0  # rows of the epoch that come after these, in a stream

    @property
    def dtype(self) -> np.dtype[Any]:
        """The one of all numbers."""
        return self.rows.y.dtype

    @property
    def dataset(self) -> Dataset:
        """The rows, where they are in memory."""
        assert isinstance(self.rows, Dataset)
        return self.rows

    @property
    def full_batch(self) -> bool:
        """Whether a step sees all rows."""
        return self.batch_size == len(self.rows.y)

    @property
    def batch_threads(self) -> int:
        """The number of threads that a batch is worth. It must start at the border of a block to be shared."""
        if self.full_batch or self.batch_size % order.BLOCK == 0:
            return useful_threads(self.threads, self.batch_size, self.rows.X.shape[1], self.outputs)
        return 1

    def penalty_of(self, params: Array) -> float:
        """The penalty of these params."""
        models = params.astype(np.float64, copy=False).reshape(self.outputs, -1)
        return 0.0 if self.penalty.free else float(self.penalty.of(models, self.fit_intercept))


class Pending(NamedTuple):
    """Work that sparse steps put off, as `gdfast._backends.numpy.lazy_sparse.Lazy` says; empty where there is nothing.

    It passes from call to call, so that an epoch may come in parts. At the end of an epoch nothing is put off.
    """

    scales: Array  # (2,): the scale of the weights, and the shift of all of them by l1
    seen: Array  # (size,), with l1: how much of the shift each weight has seen
    since: Array  # (d,) int32, with averages or states that fade: the last step of the period to touch a column
    tables: (
        Array  # (tables, steps + 2) float64: what the steps of the period do to a column at rest
    )
    period: Array  # (2,) int64: the steps before the period, and how many it has

    @classmethod
    def of(
        cls, problem: Problem, steps_an_epoch: int, *, averaged: bool, coasting: bool
    ) -> "Pending":
        """Room for what is put off, before the first step."""
        l1, l2 = problem.penalty.l1, problem.penalty.l2
        d = problem.rows.X.shape[1]
        fused = problem.fused and isinstance(problem.rows.X, Csr)
        waits = fused and (averaged or coasting)
        tables = 0
        if waits and coasting:
            tables = 4
        elif waits and (l1 != 0 or l2 != 0):
            tables = 3
        steps = min(longest_period(d), steps_an_epoch) if tables else -2
        return cls(
            np.array([1, 0], problem.dtype),
            np.zeros(problem.outputs * (d + 1) if fused and l1 != 0 else 0, problem.dtype),
            np.zeros(d if waits else 0, np.int32),
            np.zeros((tables, steps + 2)),
            np.zeros(2, np.int64),
        )


def longest_period(features: int) -> int:
    """The most steps that a column waits for: as many as make up for the price of going through all columns."""
    return max(features, order.BLOCK)


@dataclass
class State:
    """The state that a fit carries from epoch to epoch."""

    params: Array  # (size,): of each output the weights, then the intercept
    slots: Array  # (states, size)
    total: Array  # (size,) in float64, the sum of the iterates, or (0,) for no average
    start: Array  # (size,), params before the last epoch
    steps: int = 0
    pending: Pending = field(init=False)


class Log(NamedTuple):
    """Where a run of epochs is written down, one entry an epoch."""

    loss: Array
    objective: Array  # may be `loss` itself, where there are no penalties
    grad_norm: Array
    params: Array  # (epochs, size), or (0, size) where they are not traced
    sums: Array  # the losses of the last epoch's blocks
    offset: int = 0  # at which position in the first of these blocks the rows begin


def fresh_slots(rule: Rule, size: int, dtype: np.dtype[Any]) -> Array:
    """The states of so many params before the first step, (states, size)."""
    slots = np.empty((len(rule.initial), size), dtype)
    for k, number in enumerate(rule.initial):
        slots[k] = number
    return slots


def useful_threads(threads: int, rows: int, features: int, outputs: int) -> int:
    """The number of threads to use for this many rows at once: small work stays on one.

    Measured by steps of full batches, 20 and 100 features: the C++ backend is 1.6 times as fast on two idle processors
    as on one with a sixth of this work, 1.8 times from a third on. numba's, which leaves compiled code for each step
    on several threads, breaks even about here.
    """
    return threads if rows * (features + 1) * outputs >= 1 << 17 else 1


def cast(record: Any, dtype: np.dtype[Any]) -> Any:
    """A named tuple, such as a rule, with its numbers in this dtype; what is no float stays as it is."""
    return type(record)(*(dtype.type(v) if isinstance(v, float) else v for v in record))
