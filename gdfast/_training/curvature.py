"""The largest eigenvalue of the mean of x x' over the rows x, in the canonical order."""

import math
from typing import Any

import numpy as np

from gdfast._backends import Backend
from gdfast._backends.problem import Problem
from gdfast._backends.threads import check_stopped
from gdfast._data.csr import Csr
from gdfast._data.stream import Rows
from gdfast._numerics import order
from gdfast._typing import Array
from gdfast.losses import HalfSquaredError

LEAST_ROUNDS, MOST_ROUNDS = 16, 100


@np.errstate(all="ignore")
def largest_eigenvalue(backend: Backend, problem: Problem, settled: float) -> float:
    """The largest eigenvalue of the weighted mean of x x', from below, by Lanczos' method; infinite if it overflows.

    From a random start, 16 rounds find more than half of the eigenvalue with a probability of at least
    1 - 5e-10 sqrt(d), whatever the spectrum (Kuczynski and Wozniakowski 1992), and as many rounds as there are weights
    find all of it. The start is random in that it is made from the bits of a first product: no data are orthogonal to
    it by design. None of its components is small, so that a column that outweighs all others shows in the first round.
    The search ends when a round changes the value by at most `settled` of it, or after 100 rounds.
    """
    product = _Product(backend, problem)
    if not product.size < math.inf:
        return math.inf
    value = 0.0
    if product.size > 0:
        dtype, trained = problem.dtype, product.trained
        v = _start(trained, product.seed, dtype)
        v /= order.norm(v)
        before, beta = np.zeros_like(v), 0.0
        alphas: list[float] = []
        betas: list[float] = []
        for k in range(1, min(trained, MOST_ROUNDS) + 1):
            image = product(v)
            alphas.append(float(order.dots(v[None], image[None])[0]))
            image -= dtype.type(alphas[-1]) * v + dtype.type(beta) * before
            beta = float(order.norm(image))
            last = k == trained or not beta > 0
            if last or k >= LEAST_ROUNDS - 1:
                previous, value = value, largest_of_tridiagonal(alphas, betas)
                if last or value - previous <= settled * value:
                    break
            betas.append(beta)
            before, v = v, image / dtype.type(beta)
    if value > 0:
        return product.in_units(value)
    return _mean_square(problem)  # at least it: the start is orthogonal to all rows, or they are 0


class _Product:
    """v -> the weighted sum of x (x.v) over the rows, in units of a power of two in which neither has to overflow."""

    def __init__(self, backend: Backend, problem: Problem) -> None:
        n, d = problem.rows.X.shape
        self.backend, self.dtype, self.n = backend, problem.dtype, n
        self.trained = d + problem.fit_intercept
        self.problem = problem._replace(  # its gradient is the product
            rows=problem.rows.without_targets(), outputs=1, loss=HalfSquaredError()
        )
        self.before = self.after = 0  # exponents of the factors of v and of the product
        limits = np.finfo(self.dtype)
        start = _start(self.trained, np.uint64(0), self.dtype)
        first = self(start)
        if not math.sqrt(limits.tiny) <= _size(first) <= math.sqrt(limits.max):
            self.before = self._inverse(largest_entry(problem.rows))
            first = self(start)
        self.size = _size(first)
        self.after = self._inverse(self.size)
        self.seed = _hashed(first)

    def __call__(self, v: Array) -> Array:
        """The product, of the weights that are trained."""
        check_stopped()
        params = np.zeros(self.problem.rows.X.shape[1] + 1, self.dtype)
        params[: self.trained] = np.ldexp(v, self.before)
        sums = self.backend.total(self.problem, params)[0][: self.trained]
        return np.ldexp(sums, self.after)

    def in_units(self, number: float) -> float:
        """A number of the mean's, of which so much is the sum's in the units."""
        return float(np.ldexp(number / self.n, -self.before - self.after))

    def _inverse(self, number: float) -> int:
        """The exponent of the power of two that makes this number a usual one."""
        most: int = np.finfo(self.dtype).maxexp - 2
        return -max(-most, min(math.frexp(number)[1], most))


def _size(v: Array) -> float:
    """The largest component; NaN where one is."""
    return float(np.abs(v).max())


def largest_entry(rows: Rows) -> float:
    """The largest absolute value in X; NaN where one is."""
    ends = []
    for X, _, _ in rows.parts():
        values = X.data if isinstance(X, Csr) else X
        ends += [values.max(initial=0), -values.min(initial=0)]
    return float(np.max(ends))


def _mean_square(problem: Problem) -> float:
    """The weighted mean of x.x, which is the sum of all eigenvalues."""
    sums = []
    for X, _, weights in problem.rows.parts():
        squares = X.squares() if isinstance(X, Csr) else order.squares(X)
        sums.append(order.block_sums((weights * (squares + problem.fit_intercept))[:, None]))
    return float(order.tree(np.concatenate(sums))[0]) / len(problem.rows.y)


def _start(size: int, seed: np.uint64, dtype: np.dtype[Any]) -> Array:
    """Random signs times random numbers in [1/2, 1), exact in float32."""
    bits = order.mix(order.mix(np.arange(1, size + 1, dtype=np.uint64)) ^ seed)
    signs = np.where(bits & np.uint64(1), 1.0, -1.0)
    start: Array = (signs * (0.5 + (bits >> np.uint64(41)) / np.float64(2**24))).astype(dtype)
    return start


def _hashed(v: Array) -> np.uint64:
    """A number made of all bits of a vector."""
    bits = (v + 0).view(f"u{v.itemsize}").astype(np.uint64)  # no -0.0
    scrambled = order.mix(bits ^ order.mix(np.arange(len(v), dtype=np.uint64)))
    return order.mix(np.bitwise_xor.reduce(scrambled))  # type: ignore[no-any-return]


def largest_of_tridiagonal(diagonal: list[float], beside: list[float]) -> float:
    """The largest eigenvalue of a symmetric tridiagonal matrix T.

    By Newton's method for a root of det(x - T), which comes down to the largest from the right.

    Examples
    --------
    >>> from gdfast._training.curvature import largest_of_tridiagonal
    >>> largest_of_tridiagonal([2.0, 2.0], [1.0])
    3.0
    """
    around = [0.0, *beside, 0.0]
    x = max(a + around[k] + around[k + 1] for k, a in enumerate(diagonal))  # Gershgorin's bound
    while True:
        # The pivots of x - T are positive to the right of all eigenvalues. The sum is that of slope / pivot.
        pivot = slope = 1.0
        total = 0.0
        for a, b in zip(diagonal, around, strict=False):
            ratio = b / pivot
            slope = 1 + slope * ratio * ratio
            pivot = x - a - b * ratio
            if not pivot > 0:
                return x
            total += slope / pivot
        below = x - 1 / total
        if not below < x:
            return x
        x = below
