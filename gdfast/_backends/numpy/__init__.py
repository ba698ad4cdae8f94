"""The numpy backend: whole blocks of rows at a time. Always there, and the plainest text of the kernels."""

from typing import Any

import numpy as np

from gdfast import losses
from gdfast._backends import loops
from gdfast._backends.numpy.gradients import predictions, take
from gdfast._backends.numpy.kernels import Numpy, Stepping
from gdfast._backends.problem import Log, Problem, State, cast
from gdfast._backends.threads import in_threads
from gdfast._data.dataset import Dataset
from gdfast._numerics import order
from gdfast._typing import Array

NAME = "numpy"


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    return loops.run(
        loops.descend, Numpy(problem.batch_threads), problem, state, numbers, keys, log
    )


def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    row_losses = np.empty(len(problem.dataset.y), problem.dtype)
    loss = cast(problem.loss.kernel, problem.dtype)
    kernels = Numpy(problem.batch_threads)
    with np.errstate(all="ignore"):
        sums = kernels.sum_gradients(problem.dataset, loss, problem.outputs, params, row_losses)
        return sums, order.sum_rows(row_losses)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs), or (1, outputs) for all alike."""
    n, outputs = len(y), p.shape[1]
    p = np.broadcast_to(p, (n, outputs)).T
    with np.errstate(all="ignore"):
        terms = weights * losses.of_row(
            cast(loss.kernel, p.dtype), p, y.T, np.empty(p.shape, p.dtype)
        )
        return order.sum_rows(terms) / p.dtype.type(n)


@np.errstate(all="ignore")
def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    Numpy(1).step(cast(rule, params.dtype), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function in Python; return the steps made, and why it ended."""
    kernels = Stepping(np.errstate(all="ignore")(Numpy(1).step))
    return loops.minimize(kernels, fun, jac, cast(rule, x.dtype), x, *rest)


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    n, d = X.shape
    out = np.empty((n, outputs), params.dtype)
    whole = Dataset(X, out, out[:1, 0])

    def fill(part: slice) -> None:
        with np.errstate(all="ignore"):
            out[part] = predictions(take(whole, part).X, outputs, params).T

    in_threads(fill, order.chunks(n, d, threads), threads)
    return out
