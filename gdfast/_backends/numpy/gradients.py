"""Rows as arrays: some of them, their predictions and gradients, and the slopes of the objective."""

from typing import Any

import numpy as np

from gdfast import losses
from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._numerics import order, penalties
from gdfast._typing import Array


def take(rows: Dataset, which: Any) -> Dataset:
    """Some of the rows: a slice, or their numbers."""
    X, y, weights = rows
    if not isinstance(X, Csr):
        X = X[which]
    elif isinstance(which, slice):
        X = X.part(which)
    else:
        X = X.take(which)
    return Dataset(X, y[which], weights[which] if len(weights) > 1 else weights)


def predictions(X: Any, outputs: int, params: Array, scale: Any = 1) -> Array:
    """x.w + b for each output and row, (outputs, n); the weights are scale * params."""
    dot = order.dot if isinstance(X, np.ndarray) else Csr.dot
    p = np.empty((outputs, X.shape[0]), params.dtype)
    for o, w in enumerate(params.reshape(outputs, -1)):
        p[o] = scale * dot(X, w[:-1]) + w[-1]
    return p


def derivatives(
    rows: Dataset, loss: Any, outputs: int, params: Array, scale: Any, row_losses: Array
) -> Array:
    """Derivatives of each row's loss by its predictions, times its weight, (outputs, n); and the losses."""
    p = predictions(rows.X, outputs, params, scale)
    c = np.empty_like(p)
    row_losses[:] = rows.weights * losses.of_row(loss, p, rows.y.T, c)
    c *= rows.weights
    return c


def add_gradients(
    rows: Dataset,
    loss: Any,
    outputs: int,
    params: Array,
    scale: Any,
    sums: Array,
    row_losses: Array,
) -> None:
    """Add the gradients of sparse rows, row after row."""
    c = derivatives(rows, loss, outputs, params, scale, row_losses)
    for g, co in zip(sums.reshape(outputs, -1), c, strict=True):
        rows.X.add_to(g[:-1], co)
        g[-1:] = np.add.accumulate(np.append(g[-1], co))[-1:]


def decay(penalty: Any, params: Array, outputs: int, fit_intercept: bool, grad: Array) -> None:
    """Add the slope of l2's penalty to the gradient; what is not trained has none."""
    w, g = params.reshape(outputs, -1), grad.reshape(outputs, -1)
    if penalty.l2 != 0:
        g[:, :-1] += penalty.l2 * w[:, :-1]
    if not fit_intercept:
        g[:, -1] = 0


def least_slopes(
    penalty: Any,
    params: Array,
    outputs: int,
    fit_intercept: bool,
    decays: bool,
    grad: Array,
    slopes: Array,
) -> None:
    """The least slopes of the objective, with the weight decay or without: the gradient, where there is one."""
    slopes[:] = grad
    w, g = params.reshape(outputs, -1), slopes.reshape(outputs, -1)
    if decays and penalty.weight_decay != 0:
        trained = w.shape[1] - 1 + fit_intercept
        g[:, :trained] += penalty.weight_decay * w[:, :trained]
    if penalty.l1 != 0:
        g[:, :-1] = penalties.least_slope(g[:, :-1], w[:, :-1], penalty.l1)
