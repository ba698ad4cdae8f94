"""The loss of a model, and the loss above which a run has diverged."""

from typing import Any

import numpy as np

from gdfast._backends import Backend
from gdfast._backends.problem import Problem, useful_threads
from gdfast._data.stream import Rows, Stream
from gdfast._typing import Array
from gdfast.losses import Loss

# A loss has diverged when it is this many times that of the start.
DIVERGENCE_FACTOR = 1e6


def model_loss(
    engine: Backend, loss: Loss, rows: Rows, outputs: int, params: Array | None, threads: int
) -> Any:
    """The mean loss of a model on some rows; without one, that of predicting 0."""
    if isinstance(rows, Stream):
        from gdfast._backends import (
            streaming,
        )  # with numpy's kernels, which other fits need not load

        return streaming.model_loss(engine, loss, rows, params, outputs, threads)
    if params is None:
        p = np.zeros((1, outputs), rows.y.dtype)
    else:
        n, d = rows.X.shape
        threads = useful_threads(threads, n, d, outputs)
        p = engine.predict(rows.X, outputs, params, threads)
    return engine.mean_loss(loss, p, rows.y, rows.weights)


def divergence_bound(problem: Problem, reference: float, highest: float) -> float:
    """The loss above which a run with such rates at most has diverged.

    A loss with a kink has slopes of bounded size: no rate makes it grow faster than step by step, from however small a
    loss at the start, but for one by which the penalty turns the weights around. Else it has diverged when it is not
    finite.
    """
    largest = float(np.finfo(problem.dtype).max)
    kinked = problem.loss.curvature is None and problem.loss.steepness is not None
    if kinked and not (problem.penalty.l2 + problem.penalty.weight_decay) * highest > 2:
        return largest
    reference = reference or float(kinked)
    return min(DIVERGENCE_FACTOR * reference, largest) if reference else largest
