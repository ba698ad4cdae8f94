"""The C++ backend: what csrc/ has compiled, called with the fields of a problem."""

from typing import Any

import numpy as np

from gdfast import _core
from gdfast._backends import _loops, _numpy
from gdfast.problem import Array, Log, Problem, State

NAME = "cpp"


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    epochs, state.steps, status = _core.descend(
        problem.X,
        problem.y,
        problem.weights,
        problem.loss.name,
        _fields(problem.loss),
        problem.rule.name,
        _fields(problem.rule),
        problem.batch_size,
        problem.X.shape[1] + problem.fit_intercept,
        problem.clip_norm,
        problem.tol,
        problem.bound,
        problem.batch_threads,
        state.params,
        state.slots,
        state.total,
        problem.averages_after,
        state.start,
        state.steps,
        numbers,
        keys,
        log.loss,
        log.grad_norm,
        log.params,
    )
    return epochs, status


def gradient(problem: Problem, params: Array) -> Array:
    """The gradient of the mean loss over all rows, (d + 1,)."""
    grad = np.empty_like(params)
    loss = problem.loss
    _core.gradient(
        problem.X,
        problem.y,
        problem.weights,
        loss.name,
        _fields(loss),
        params,
        grad,
        problem.batch_threads,
    )
    return grad


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions."""
    return y.dtype.type(_core.mean_loss(p, y, weights, loss.name, _fields(loss)))


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _core.step(rule.name, _fields(rule), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, *rest: Any) -> tuple[int, int]:
    """Minimise a function in Python; return the steps made, and why it ended."""
    return _loops.minimize(_numpy.Stepping(step), fun, jac, *rest)


def predict(X: Array, params: Array, threads: int) -> Array:
    """x.w + b for each row."""
    out = np.empty(len(X), X.dtype)
    _core.predict(X, params, out, threads)
    return out


def _fields(record: Any) -> tuple[float, ...]:
    return tuple(record)
