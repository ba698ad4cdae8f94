"""Epochs, batches and steps: the one Python text of the training loop, and of that which minimises a function.

numpy runs it as it stands; numba compiles it. The type of ``kernels`` selects the inner loops. The methods
it needs are those of `gdfast._backends._numpy.Numpy`; csrc/kernels.hpp has the same loop in C++.
"""

from typing import Any

import numpy as np

from gdfast.problem import DIVERGED, RAN, TOL, Array


def descend(
    kernels: Any,
    X: Array,
    y: Array,
    weights: Array,
    loss: Any,
    rule: Any,
    batch_size: int,
    active: int,
    clip_norm: Any,
    tol: Any,
    bound: Any,
    params: Array,
    slots: Array,
    total: Array,
    averages_after: int,
    start: Array,
    steps: int,
    numbers: Array,
    keys: Array,
    losses: Array,
    grad_norms: Array,
    traced: Array,
) -> tuple[int, int, int]:
    """Run len(keys) epochs, or fewer; return (epochs, steps, status).

    params, slots, total and start are updated, losses, grad_norms and traced filled. numbers has a row for each step,
    the last one being for all that follow.

    `active` is how many of the d + 1 params are trained, the intercept being the last.
    """
    n = len(y)
    grad = np.zeros_like(params)
    epoch_loss = kernels.epoch_loss(y)
    before = steps
    for e in range(len(keys)):
        start[:] = params
        visits = kernels.visits(keys[e], n)
        status = RAN
        if batch_size == 1 and tol < 0 and clip_norm == np.inf:
            steps = kernels.per_sample(
                X,
                y,
                weights,
                loss,
                rule,
                visits,
                active,
                params,
                slots,
                total,
                averages_after,
                steps,
                numbers,
                before,
                epoch_loss,
                grad,
            )
            grad_norms[e] = kernels.norm(grad)
        else:
            for first in range(0, n, batch_size):
                count = min(batch_size, n - first)
                kernels.gradient(
                    X, y, weights, loss, visits, first, count, params, grad, epoch_loss
                )
                grad[active:] = 0
                if first + count == n:
                    grad_norms[e] = kernels.norm(grad)
                    if kernels.within(grad, tol):
                        status = TOL
                        break
                if clip_norm != np.inf:
                    kernels.clip(grad, clip_norm)
                steps += 1
                c = kernels.numbers_of(numbers, steps - before)
                kernels.step(rule, params, grad, slots, active, c)
                if steps > averages_after:
                    kernels.add(params, total)
        losses[e] = kernels.mean_loss(epoch_loss, n)
        if len(traced) > 0:
            traced[e] = params
        if not losses[e] <= bound:
            return e + 1, steps, DIVERGED
        if status == TOL:
            return e + 1, steps, TOL
    return len(keys), steps, RAN


def value_and_gradient(fun: Any, jac: Any, x: Array) -> Any:
    """Both: fun returns them together where there is no jac."""
    return fun(x) if jac is None else (fun(x), jac(x))


def minimize(
    kernels: Any,
    fun: Any,
    jac: Any,
    rule: Any,
    x: Array,
    grad: Array,
    slots: Array,
    numbers: Array,
    tol: Any,
    bound: Any,
    path: Array,
    values: Array,
    first: int,
) -> tuple[int, int]:
    """Go from path[first], where the gradient is grad, to the end of the path; return (steps made, status).

    x, grad, slots, path and values are updated.
    """
    for k in range(first, len(path) - 1):
        if kernels.within(grad, tol):
            return k, TOL
        c = kernels.numbers_of(numbers, k + 1 - first)
        kernels.step(rule, x, grad, slots, len(x), c)
        path[k + 1] = x
        values[k + 1], grad[:] = value_and_gradient(fun, jac, x)
        finite = kernels.within(x, bound) and kernels.within(grad, bound)
        if not (finite and abs(values[k + 1]) <= bound):
            return k + 1, DIVERGED
    return len(path) - 1, RAN
