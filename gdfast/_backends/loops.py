"""Epochs, batches and steps: the one Python text of the training loop, and of that which minimises a function.

numpy runs it as it stands; numba compiles it. The type of ``kernels`` selects the inner loops. The methods
it needs are those of `gdfast._backends.numpy.kernels.Numpy`; csrc/kernels/train.hpp has the same loop in C++.
"""

from typing import Any

import numpy as np

from gdfast._backends.problem import DIVERGED, RAN, TOL, Log, Problem, State, cast
from gdfast._typing import Array


def descend(
    kernels: Any,
    rows: Any,
    loss: Any,
    rule: Any,
    penalty: Any,
    outputs: int,
    fit_intercept: bool,
    batch_size: int,
    fused: bool | None,
    clip_norm: Any,
    tol: Any,
    bound: Any,
    params: Array,
    slots: Array,
    total: Array,
    averages_after: int,
    pending: Any,
    start: Array,
    grad: Array | None,
    slopes: Array,
    steps: int,
    numbers: Array,
    keys: Array,
    losses: Array,
    objectives: Array,
    grad_norms: Array,
    traced: Array,
    loss_sums: Array,
    offset: int,
    to_come: int,
) -> tuple[int, int, int]:
    """Run len(keys) epochs, or fewer; return (epochs, steps, status).

    params, slots, total, pending and start are updated, losses, objectives, grad_norms, traced and loss_sums filled;
    grad and slopes are room. numbers has a row for each step, the last one being for all that follow. The params of the
    outputs stand one after the other, each its weights and then its intercept.

    Either `fused` or grad is None: then numba does not compile what is made for the other.

    A fused epoch makes its steps row by row or, where the rows are sparse, only on the columns that they hold.
    """
    n = len(rows.y)
    before = steps
    for e in range(len(keys)):
        kernels.copy(params, start)
        if e > 0:
            loss_sums[:] = 0
        epoch_loss = kernels.epoch_loss(loss_sums, offset, n)
        visits = kernels.visits(keys[e], n)
        status = RAN
        if fused is not None:
            steps = kernels.fused_epoch(
                rows,
                loss,
                rule,
                penalty,
                visits,
                batch_size,
                outputs,
                fit_intercept,
                clip_norm,
                params,
                slots,
                total,
                averages_after,
                pending,
                steps,
                numbers,
                before,
                epoch_loss,
                offset,
                to_come,
                slopes,
            )
        if grad is not None:
            for first in range(0, n, batch_size):
                count = min(batch_size, n - first)
                kernels.gradient(
                    rows, loss, visits, first, count, outputs, params, grad, epoch_loss, offset
                )
                kernels.decay(penalty, params, outputs, fit_intercept, grad)
                kept = kernels.kept(penalty, params, outputs, grad, slopes, clip_norm)
                if first + count == n:
                    kernels.least_slopes(
                        penalty, params, outputs, fit_intercept, True, grad, slopes
                    )
                    if kernels.within(slopes, tol):
                        status = TOL
                        break
                if kept < 1:
                    kernels.scale(grad, kept)
                steps += 1
                c = kernels.numbers_of(numbers, steps - before)
                kernels.penalised_step(
                    rule, penalty, kept, params, grad, slots, outputs, fit_intercept, c
                )
                if steps > averages_after:
                    kernels.add(params, total)
        grad_norms[e] = kernels.norm(slopes, outputs)
        losses[e] = kernels.mean_loss(epoch_loss, loss_sums, n)
        at = (
            start if batch_size == n else params
        )  # the loss of the full batch is that before the step
        objectives[e] = kernels.objective(losses[e], penalty, at, outputs, fit_intercept, slopes)
        if len(traced) > 0:
            kernels.copy(params, traced[e])
        if not (losses[e] <= bound and kernels.finite(params)):
            return e + 1, steps, DIVERGED
        if status == TOL:
            return e + 1, steps, TOL
    return len(keys), steps, RAN


def value_and_gradient(fun: Any, jac: Any, x: Array, room: Array) -> Any:  # noqa: ARG001
    """Both: fun returns them together where there is no jac. There is room for a copy of x, for whom that helps."""
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
    decay: Any,
) -> tuple[int, int]:
    """Go from path[first], where the gradient is grad, to the end of the path; return (steps made, status).

    x, grad, slots, path and values are updated. `decay` is the weight decay that the rule adds to the gradient.
    """
    for k in range(first, len(path) - 1):
        if kernels.rests(grad, x, decay, tol):
            return k, TOL
        c = kernels.numbers_of(numbers, k + 1 - first)
        kernels.step(rule, x, grad, slots, c)
        values[k + 1], grad[:] = value_and_gradient(fun, jac, x, path[k + 1])
        path[k + 1] = x
        finite = kernels.within(x, bound) and kernels.within(grad, bound)
        if not (finite and abs(values[k + 1]) <= bound):
            return k + 1, DIVERGED
    return len(path) - 1, RAN


def run(
    loop: Any, kernels: Any, problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Call the training loop, as it stands or compiled, with the fields in its order."""
    dtype = problem.dtype
    with np.errstate(all="ignore"):
        epochs, state.steps, status = loop(
            kernels,
            problem.rows,
            cast(problem.loss.kernel, dtype),
            cast(problem.rule, dtype),
            cast(problem.penalty, dtype),
            problem.outputs,
            problem.fit_intercept,
            problem.batch_size,
            problem.fused or None,
            dtype.type(problem.clip_norm),
            dtype.type(problem.tol),
            dtype.type(problem.bound),
            state.params,
            state.slots,
            state.total,
            problem.averages_after,
            state.pending,
            state.start,
            None if problem.fused else np.empty_like(state.params),
            np.zeros_like(state.params),
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
