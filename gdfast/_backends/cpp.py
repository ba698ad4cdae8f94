"""The C++ backend: what csrc/ has compiled, called with the fields of a problem."""

from typing import Any

import numpy as np

from gdfast import _extension
from gdfast._backends.problem import Log, Problem, State
from gdfast._typing import Array

NAME = "cpp"
ISA, _core = _extension.load()


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    loss, rule = problem.loss, problem.rule
    epochs, state.steps, status = _core.descend(
        *problem.dataset,
        loss.name,
        loss.kernel,
        rule.name,
        rule,
        problem.outputs,
        problem.fit_intercept,
        problem.batch_size,
        *problem.penalty,
        problem.fused,
        problem.clip_norm,
        problem.tol,
        problem.bound,
        problem.batch_threads,
        state.params,
        state.slots,
        state.total,
        problem.averages_after,
        *state.pending,
        state.start,
        state.steps,
        numbers,
        keys,
        log.loss,
        log.objective,
        log.grad_norm,
        log.params,
        log.sums,
        log.offset,
        problem.to_come,
    )
    return epochs, status


def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    grad = np.empty_like(params)
    loss = problem.loss
    lost = _core.sum(
        *problem.dataset,
        loss.name,
        loss.kernel,
        problem.outputs,
        params,
        grad,
        problem.batch_threads,
    )
    return grad, params.dtype.type(lost)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs), or (1, outputs) for all alike."""
    return p.dtype.type(_core.mean_loss(p, y, weights, loss.name, loss.kernel))


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _core.step(rule.name, rule, params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, *rest: Any) -> tuple[int, int]:
    """Minimise a function in Python, which returns its gradient too; return the steps made, and why it ended."""
    assert jac is None
    done: tuple[int, int] = _core.minimize(fun, rule.name, rule, *rest)
    return done


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    out = np.empty((X.shape[0], outputs), params.dtype)
    _core.predict(X, params, out, threads)
    return out
