"""Epochs, batches and steps: the one Python text of the training loop.

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
    start: Array,
    steps: int,
    rates: Array,
    keys: Array,
    losses: Array,
    grad_norms: Array,
    traced: Array,
) -> tuple[int, int, int]:
    """Run len(rates) epochs, or fewer; return (epochs, steps, status).

    params, slots, total and start are updated, losses, grad_norms and traced filled.

    `active` is how many of the d + 1 params are trained, the intercept being the last.
    """
    n = len(y)
    grad = np.zeros_like(params)
    epoch_loss = kernels.epoch_loss(y)
    for e in range(len(rates)):
        start[:] = params
        eta = rates[e]
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
                steps,
                eta,
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
                kernels.step(rule, params, grad, slots, active, eta, steps, total)
        losses[e] = kernels.mean_loss(epoch_loss, n)
        if len(traced) > 0:
            traced[e] = params
        if not losses[e] <= bound:
            return e + 1, steps, DIVERGED
        if status == TOL:
            return e + 1, steps, TOL
    return len(rates), steps, RAN
