"""Rates that are safe, from the curvature of the loss on the data. Part of the bits: all in the canonical order."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gdfast import order
from gdfast._backends import Backend
from gdfast.losses import HalfSquaredError
from gdfast.matrices import check_finite
from gdfast.optimizers import Stability
from gdfast.problem import Array, Problem


def auto(backend: Backend, problem: Problem, stability: Stability) -> float:
    """The rate of ``lr="auto"``: 1 / curvature, or less where momentum asks for it."""
    if problem.full_batch:
        factor = stability.full_batch_auto
        curvature = largest_curvature(backend, problem, most_rounds=100, settled=1e-3)
    else:
        factor = min(1.0, stability.any_order)
        curvature = row_curvature(problem)
    limits: Any = np.finfo(problem.X.dtype)
    if not curvature <= limits.max:
        check_finite(problem.X, "X")
        raise ValueError(
            f"the squares of X overflow {problem.X.dtype}: its largest value is {np.abs(problem.X).max()}; "
            f"divide X by a constant, or pass standardize=True"
        )
    curvature += stability.weight_decay
    return min(factor / curvature, math.sqrt(limits.max)) if curvature else 1.0


def stable(backend: Backend, problem: Problem, stability: Stability) -> float:
    """The largest stable rate: exact for the full batch, else the largest that is sure to be; 0 if X overflows."""
    if problem.full_batch:
        factor = stability.full_batch
        curvature = largest_curvature(backend, problem, most_rounds=100, settled=1e-5)
    else:
        factor = stability.any_order
        curvature = row_curvature(problem)
    if math.isnan(curvature):
        return 0.0
    curvature += stability.weight_decay
    return factor / curvature if curvature else math.inf


def row_curvature(problem: Problem) -> float:
    """The largest curvature of a single row's loss, which bounds that of any batch."""
    with np.errstate(all="ignore"):
        extent = order.squares(problem.X) + problem.X.dtype.type(problem.fit_intercept)
        return problem.loss.curvature * float((extent * problem.weights).max())


@np.errstate(all="ignore")
def largest_curvature(
    backend: Backend, problem: Problem, most_rounds: int, settled: float
) -> float:
    """The largest eigenvalue of the mean loss's Hessian, from below, by power iteration.

    From a start without a pattern the value is, after the 16 rounds that are always done, within a quarter of the
    eigenvalue whatever the spectrum (Kuczynski and Wozniakowski 1992); it ends when a round changes it by less than
    `settled`.
    """
    dtype = problem.X.dtype
    width = problem.X.shape[1] + 1
    # The gradient of (x.v)^2 / 2 is the Hessian of the loss times v, up to the loss's own curvature.
    quadratic = replace(
        problem, y=np.broadcast_to(dtype.type(0), len(problem.y)).copy(), loss=HalfSquaredError()
    )
    v = _without_pattern(width).astype(dtype)
    curvature = 0.0
    for k in range(most_rounds):
        if not problem.fit_intercept:
            v[-1] = 0
        length = order.norm(v)
        previous, curvature = curvature, float(length) if k else 0.0
        if k and (
            not 0 < curvature < math.inf or (k > 16 and curvature - previous <= settled * curvature)
        ):
            break
        v = backend.gradient(quadratic, v / length)
    return problem.loss.curvature * curvature


class Spread(NamedTuple):
    """The scales of the columns, the intercept's column of ones included."""

    ratio: float
    largest: str
    smallest: str


def spread(problem: Problem) -> Spread:
    """How much the root mean squares of the columns differ."""
    n, d = problem.X.shape
    with np.errstate(all="ignore"):
        scales = np.sqrt(np.einsum("ij,ij->j", problem.X, problem.X, dtype=np.float64) / n)
    names = [f"X[:, {j}]" for j in range(d)]
    if problem.fit_intercept:
        scales = np.append(scales, 1.0)
        names.append("the intercept's column of ones")
    top, low = int(np.argmax(scales)), int(np.argmin(np.where(scales > 0, scales, np.inf)))
    ratio = float(scales[top] / scales[low]) if scales[top] > 0 else 1.0
    return Spread(ratio, names[top], names[low])


def _without_pattern(size: int) -> Array:
    """Numbers in [-1, 1) from the bits of their index, exact in float32."""
    bits: Array = order.mix(np.arange(1, size + 1, dtype=np.uint64)) >> np.uint64(40)
    return bits / np.float64(2**23) - 1
