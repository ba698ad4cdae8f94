"""The numba backend: the training loop compiled, with inner loops on vectors and scalars.

A function costs some tens of milliseconds to compile, and again wherever it is called from one that is compiled for
itself: so there are few, nothing is allocated in them, and a fit compiles what its options ask for.
"""

import functools
from typing import Any

import numpy as np

from gdfast import losses, optimizers
from gdfast._backends import is_jitted, loops
from gdfast._backends.numba import overloads  # noqa: F401  # has numba find the formulas
from gdfast._backends.numba.gradients import sum_parts
from gdfast._backends.numba.jit import compiled, jitted
from gdfast._backends.numba.kernels import Numba, Plain
from gdfast._backends.numba.rows import BLOCK, CHUNK, dot, five
from gdfast._backends.numpy.kernels import Numpy, Stepping
from gdfast._backends.problem import Log, Problem, State, cast
from gdfast._backends.threads import in_threads
from gdfast._data.dataset import Dataset
from gdfast._numerics import order
from gdfast._typing import Array

NAME = "numba"

_minimize = jitted(loops.minimize)
_descend = compiled(loops.descend)


def _descend_freely(kernels, rows, loss, rule, penalty, *rest):
    """`_descend` without penalties, so that the code which only they need is not compiled."""
    rule = Plain() if optimizers.plain(rule) else rule
    return _descend(kernels, rows, loss, rule, None, *rest)


@compiled
def _sum_losses(loss, p, y, weights, room, sums):
    """The losses of the rows, whose predictions are given, by blocks."""
    some_p, some_y, lost = room
    last, last_weight = len(p) - 1, len(weights) - 1
    for first in range(0, len(y), CHUNK):
        count = min(len(y) - first, CHUNK)
        for o in range(p.shape[1]):
            for r in range(count):
                some_p[r], some_y[r] = p[min(first + r, last), o], y[first + r, o]
            for r in range(count):
                value = losses.value(loss, some_p[r], some_y[r])
                lost[r] = value if o == 0 else lost[r] + value
        total = sums[first // BLOCK]
        for r in range(count):
            total += weights[min(first + r, last_weight)] * lost[r]
        sums[first // BLOCK] = total


@compiled
def _sum_joint_losses(loss, p, y, weights, c, sums):
    """Block sums of a loss that is no sum over the outputs; c is room for its derivatives."""
    last, last_weight = len(p) - 1, len(weights) - 1
    for i in range(len(y)):
        lost = losses.of_row(loss, p[min(i, last)], y[i], c)
        sums[i // BLOCK] += weights[min(i, last_weight)] * lost


@compiled
def _step(rule, params, grad, slots, numbers):
    c = five(numbers)
    for j in range(len(params)):
        params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)


@compiled
def _sum_parts(kernels, rows, loss, keys, first, count, params, begin, end, epoch_loss, offset):
    sum_parts(kernels, rows, loss, keys, first, count, params, begin, end, epoch_loss, offset)


@compiled
def _predict(X, params, outputs, begin, end, out):
    d = len(params) // outputs - 1
    for i in range(begin, end):
        for w in range(0, len(params), d + 1):
            out[i, w // (d + 1)] = dot(X, i, params, w, d) + params[w + d]


class Threaded(Numpy):
    """The loop as it stands, for batches that are worth several threads: compiled sums of blocks, the rest in numpy."""

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:
        return loss_sums

    def visits(self, keys: Array, n: int) -> Array:
        return keys

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:
        return order.tree(loss_sums) / loss_sums.dtype.type(n)

    def gradient(
        self,
        rows: Dataset,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        outputs: int,
        params: Array,
        grad: Array,
        epoch_loss: Array,
        offset: int,
    ) -> None:
        grad[:] = self.sum_all(
            rows, loss, visits, first, count, outputs, params, epoch_loss, offset
        )
        grad /= grad.dtype.type(count)

    def sum_all(
        self,
        rows: Dataset,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        outputs: int,
        params: Array,
        epoch_loss: Array,
        offset: int,
    ) -> Any:
        """The sum of the gradients of the rows at these positions."""
        kernels = Numba.of(rows, outputs, count)

        def fill(part: slice) -> None:
            own = Numba.of(rows, outputs, 1)._replace(sums=kernels.sums)
            _sum_parts(
                own,
                rows,
                loss,
                visits,
                first,
                count,
                params,
                part.start,
                part.stop,
                epoch_loss,
                offset,
            )

        in_threads(fill, even_parts(len(kernels.sums), self.threads), self.threads)
        by_output = order.tree(kernels.sums).reshape(outputs, -1)
        d = rows.X.shape[1]
        return np.delete(by_output, np.s_[d:-1], axis=1).ravel()


def even_parts(tasks: int, threads: int) -> list[slice]:
    """Cut 0, ..., tasks - 1 into a part for each thread."""
    parts = min(tasks, threads)
    return [slice(tasks * k // parts, tasks * (k + 1) // parts) for k in range(parts)]


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    if problem.batch_threads > 1 and problem.batch_size > 1 and not problem.fused:
        return loops.run(
            loops.descend, Threaded(problem.batch_threads), problem, state, numbers, keys, log
        )
    kernels = Numba.of(problem.dataset, problem.outputs, problem.batch_size, len(log.sums))
    loop = _descend_freely if problem.penalty.free else _descend
    return loops.run(loop, kernels, problem, state, numbers, keys, log)


@np.errstate(all="ignore")
def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    rows = problem.dataset
    n = len(rows.y)
    loss = cast(problem.loss.kernel, problem.dtype)
    epoch_loss = np.zeros(-(-n // BLOCK), problem.dtype)
    unshuffled = np.empty(0, np.uint64)
    sums = Threaded(problem.batch_threads).sum_all(
        rows, loss, unshuffled, 0, n, problem.outputs, params, epoch_loss, 0
    )
    return sums, order.tree(epoch_loss)


@np.errstate(all="ignore")
def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs), or (1, outputs) for all alike."""
    n, outputs = len(y), p.shape[1]
    sums = np.zeros(-(-n // BLOCK), p.dtype)
    if hasattr(loss, "of_row"):
        _sum_joint_losses(
            cast(loss.kernel, p.dtype), p, y, weights, np.empty(outputs, p.dtype), sums
        )
    else:
        room = tuple(np.empty((3, CHUNK), p.dtype))
        _sum_losses(cast(loss.kernel, p.dtype), p, y, weights, room, sums)
    return order.tree(sums) / p.dtype.type(n)


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _step(cast(rule, params.dtype), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function, one of numba's or in Python; return the steps made, and why it ended."""
    if is_jitted(fun) and (jac is None or is_jitted(jac)):
        done: tuple[int, int] = minimizer(fun, jac, x.dtype)(cast(rule, x.dtype), x, *rest)
        return done
    return loops.minimize(Stepping(_step), fun, jac, cast(rule, x.dtype), x, *rest)


@functools.lru_cache(maxsize=64)
def minimizer(fun: Any, jac: Any, dtype: np.dtype[Any]) -> Any:
    """The loop for these functions. As its arguments, numba would tell their types anew in each call."""
    room = np.empty((1, 1), dtype)
    kernels = Numba.of(Dataset(room, room, room[0]), 1, 1)  # rows are not needed

    def loop(rule, x, grad, slots, numbers, tol, bound, path, values, first, decay):
        return _minimize(
            kernels, fun, jac, rule, x, grad, slots, numbers, tol, bound, path, values, first, decay
        )

    return jitted(loop)  # not for the cache on disk, which knows no users' functions


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    n = X.shape[0]
    out = np.empty((n, outputs), params.dtype)

    def fill(part: slice) -> None:
        _predict(X, params, outputs, part.start, part.stop, out)

    in_threads(fill, even_parts(n, threads), threads)
    return out
