"""The C++ backend: what csrc/ has compiled, called with the fields of a problem."""

from typing import Any

import numpy as np

from gdfast import _core
from gdfast.problem import Array, Log, Problem, State

NAME = "cpp"


def descend(problem: Problem, state: State, rates: Array, keys: Array, log: Log) -> tuple[int, int]:
    """Run len(rates) epochs, or fewer; return how many, and why they ended."""
    epochs, state.steps, status = _core.descend(
        problem.X,
        problem.y,
        problem.weights,
        problem.loss.name,
        _numbers(problem.loss),
        problem.rule.name,
        _numbers(problem.rule),
        problem.batch_size,
        problem.X.shape[1] + problem.fit_intercept,
        problem.clip_norm,
        problem.tol,
        problem.bound,
        problem.batch_threads,
        state.params,
        state.slots,
        state.total,
        state.start,
        state.steps,
        rates,
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
        _numbers(loss),
        params,
        grad,
        problem.batch_threads,
    )
    return grad


def predict(X: Array, params: Array, threads: int) -> Array:
    """x.w + b for each row."""
    out = np.empty(len(X), X.dtype)
    _core.predict(X, params, out, threads)
    return out


def _numbers(record: Any) -> tuple[float, ...]:
    return tuple(record)
