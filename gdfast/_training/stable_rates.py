"""Stable rates: by the curvature of the problem, for `lr="auto"`, for errors and for advice."""

import math
from typing import Any, NamedTuple

import numpy as np

from gdfast._backends import Backend
from gdfast._backends.problem import Problem
from gdfast._data.arrays import check_finite
from gdfast._data.csr import Csr
from gdfast._numerics import order
from gdfast._numerics.elementary import log, where
from gdfast._training.curvature import largest_eigenvalue, largest_entry
from gdfast._typing import Array
from gdfast.losses import linear
from gdfast.optimizers import Optimizer, Stability
from gdfast.schedules import Constant, InverseScaling


def smaller(optimizer: Optimizer, highest: float) -> str:
    """Advice on a rate that was too large, where no curvature tells the limit."""
    default = type(optimizer)().lr
    assert isinstance(default, float)
    rate = min(highest / 10, default)
    return f"no curvature limits the rate of {type(optimizer).__name__}: try {round_down(rate):.6g}"


def round_down(rate: float) -> float:
    """The rate to three digits, not above it."""
    if not 0 < rate < math.inf:
        return rate
    unit = 10.0 ** (math.floor(math.log10(rate)) - 2)
    return math.floor(rate / unit) * unit


def auto(
    backend: Backend, problem: Problem, stability: Stability, reference: float
) -> Constant | InverseScaling:
    """The rates of ``lr="auto"``, of which no fit diverges. `reference` is the objective at the start.

    1 / curvature, or less where momentum asks for it. Without a bound of the curvature:

    - A loss of bounded slope G has steps of f / (G^2 E), with f that of the start and E as `_extent` has it: Polyak's
      with 0 as the least loss. They fall with the root of t once T0 of them are made. The intercept alone, whose column
      is 1, has to go f / G to bring the loss to 0, and the best steps for that distance are f / (G^2 sqrt(E t)): so T0
      is E, or 1 without an intercept. Momentum m makes steps 1 / (1 - m) times as long, and the rate is less by it. The
      squared distance from the start grows by at most 2 lr f + (lr G)^2 E in a step, and so the loss rises by at most f
      sqrt(3 T) in T of them.
    - poisson: exp(p) - y p >= exp(p) / 2 + y - y log 2y, so where f is no larger than at the start, the mean of exp(p)
      is at most M = 2 f + 2 mean(y log 2y - y), and the curvature R M. The full batch stays there at the rate
      (1 - m) / (R M) with momentum m: a step d makes f + (m / (2 lr)) d.d no larger (Polyak 1964, the heavy ball's
      energy). So does an epoch of small steps with the rate 1 / (R M) in all.
    """
    tiny, largest = _limits(problem.dtype)
    loss = problem.loss
    decay = stability.weight_decay + problem.penalty.l2
    extent = _extent(backend, problem, settled=1e-3)
    if not extent <= largest:
        raise ValueError(_beyond(problem))
    if extent < tiny and largest_entry(problem.rows) > 0:
        raise ValueError(
            f"the squares of X underflow {problem.dtype}: its largest value is {largest_entry(problem.rows)}; multiply "
            "X by a constant, or pass standardize=True"
        )
    if not problem.full_batch:
        factor = min(1.0, stability.any_order)
    else:
        factor = stability.full_batch_auto
        if loss.curvature is not None and not _quadratic(problem):
            factor = min(factor, stability.bent)
    # The rate times a row's weight, or times l1 at each of the steps of an epoch, must not overflow.
    most = largest / (4 * len(problem.rows.y) * max(1.0, problem.penalty.l1))
    if loss.curvature is None and loss.steepness is not None:
        if problem.full_batch:
            factor *= 1 - problem.rule._asdict().get("momentum", 0.0)
        bound = loss.steepness**2 * problem.outputs * extent
        first = min(factor * (reference or 1.0) / bound, most) if bound else 1.0
        if decay:
            first = min(first, factor / decay)
        t0 = max(1.0, extent) if problem.fit_intercept and reference else 1.0
        return InverseScaling(first, power=0.5, t0=t0)
    if loss.curvature is None:
        curvature = extent * _most_mean(problem, reference)
        if problem.full_batch:
            factor *= 1 - problem.rule._asdict().get("momentum", 0.0)
        else:
            factor /= -(-len(problem.rows.y) // problem.batch_size)
    else:
        curvature = extent * loss.curvature
    curvature += decay
    rate = min(factor / curvature, most) if curvature else 1.0
    if rate < tiny:
        found = f"a curvature of {curvature:.3g}"
        advice = "divide X by a constant, or lower l2"
        if loss.curvature is None:
            found = f"a loss of {reference:.3g} at the start"
            advice = "give smaller initial weights, or divide X by a constant"
        raise ValueError(
            f'lr="auto" finds {found}, and no rate that is small enough for it in {problem.dtype}: {advice}'
        )
    return Constant(rate)


def _beyond(problem: Problem) -> str:
    """The message for an X whose squares overflow; an X that is not finite is an error here."""
    for X, _, _ in problem.rows.parts():
        check_finite(X, "X")
    return (
        f"the squares of X overflow {problem.dtype}: its largest value is {largest_entry(problem.rows)}; divide X by a "
        "constant, or pass standardize=True"
    )


def _quadratic(problem: Problem) -> bool:
    """Whether the objective is quadratic, and its gradient followed as it is."""
    return (
        linear(problem.loss.kernel) != 0
        and problem.penalty.l1 == 0
        and problem.clip_norm == math.inf
    )


def _most_mean(problem: Problem, reference: float) -> float:
    """The most that the mean of exp(p) can be where the poisson loss is no larger than this."""
    sums = []
    for _, targets, weights in problem.rows.parts():
        y = targets.astype(np.float64)
        terms = weights[:, None] * where(y > 0, y * log(where(y > 0, 2 * y, 1.0)) - y, 0.0)
        sums.append(order.block_sums(terms))
    means = order.tree(np.concatenate(sums)) / len(problem.rows.y)
    return 2 * (reference + float(np.add.accumulate(means)[-1]))


class Stable(NamedTuple):
    """A rate that is stable."""

    rate: float  # 0 if X overflows, infinite if no rate is too large
    exact: bool  # no rate above is stable; else some may be


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest normal number and the largest, as Python's: NumPy 2.0 casts what is compared with its own."""
    return float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)


def stable(backend: Backend, problem: Problem, stability: Stability) -> Stable | None:
    """The largest stable rate, or one that is sure to be; None where it depends on the weights."""
    if problem.loss.curvature is None:
        return None
    if not problem.full_batch:
        factor, exact = stability.any_order, False
    elif _quadratic(problem) or stability.bent == math.inf:
        factor, exact = stability.full_batch, True
    else:
        factor, exact = min(stability.full_batch, stability.bent), False
    curvature = problem.loss.curvature * _extent(backend, problem, settled=1e-7)
    if not curvature <= _limits(problem.dtype)[1]:
        return Stable(0.0, exact)
    curvature += stability.weight_decay + problem.penalty.l2
    return Stable(factor / curvature if curvature else math.inf, exact)


@np.errstate(all="ignore")
def _extent(backend: Backend, problem: Problem, settled: float) -> float:
    """The bound on the curvature that the rows of a step contribute; rows of weight 0 are ignored.

    The largest eigenvalue of the mean of x x', or where batches are smaller, of a single row's, which bounds theirs. A
    loss without a bound of its curvature has the largest squared norm of a row; where the steps are of single rows and
    bounded, those of the heavy rows may meet the long ones.
    """
    loss = problem.loss
    if problem.full_batch and not (loss.curvature is None and loss.steepness is None):
        return largest_eigenvalue(backend, problem, settled)
    one = problem.dtype.type(problem.fit_intercept)
    longest, weighted, heaviest = [], [], []
    for X, _, weights in problem.rows.parts():
        squares: Array = (X.squares() if isinstance(X, Csr) else order.squares(X)) + one
        longest.append(np.where(weights > 0, squares, 0).max())
        weighted.append((squares * weights).max())
        heaviest.append((squares * weights * weights).max())
    if loss.curvature is not None:
        return float(np.max(weighted))
    if loss.steepness is None:
        return float(np.max(longest))
    return math.sqrt(float(np.max(longest))) * math.sqrt(float(np.max(heaviest)))


class Spread(NamedTuple):
    """The scales of the columns, the intercept's column of ones included."""

    ratio: float
    largest: str
    smallest: str


def spread(problem: Problem) -> Spread:
    """The ratio of the root mean squares of the columns, in units of their largest values: no square overflows."""
    n, d = problem.rows.X.shape
    units, squares = np.zeros(d), np.zeros(d)
    for X, _, _ in problem.rows.parts():
        if isinstance(X, Csr):
            np.maximum.at(units, X.indices, np.abs(X.data))
        else:
            units = np.maximum(units, np.maximum(X.max(axis=0), -X.min(axis=0)))
    divisors = np.where(units > 0, units, 1)
    with np.errstate(all="ignore"):
        for X, _, _ in problem.rows.parts():
            if isinstance(X, Csr):
                values = X.data / divisors[X.indices]
                squares += np.bincount(X.indices, values * values, d)
            else:
                for part in order.chunks(len(X), d):
                    values = X[part] / divisors
                    squares += np.einsum("ij,ij->j", values, values)
        scales = units * np.sqrt(squares / n)
    names = [f"X[:, {j}]" for j in range(d)]
    if problem.fit_intercept:
        scales = np.append(scales, 1.0)
        names.append("the intercept's column of ones")
    top, low = int(np.argmax(scales)), int(np.argmin(np.where(scales > 0, scales, np.inf)))
    ratio = float(scales[top]) / float(scales[low]) if scales[top] > 0 else 1.0
    return Spread(ratio, names[top], names[low])
