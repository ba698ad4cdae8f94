"""The steps of rows in groups, as `gdfast.order` says, for the numpy backend.

What waits for no step is found for many groups at once. Of one output, what a step waits for is a number: Python's own
floats are several times as fast as arrays of one, and their arithmetic is the same.
"""

from itertools import accumulate
from operator import sub
from typing import Any

import numpy as np

from gdfast import losses, order
from gdfast.matrices import Rows
from gdfast.order import GROUP, LANES
from gdfast.problem import Array


def step_groups(
    rows: Rows,
    loss: Any,
    fit_intercept: bool,
    models: Array,
    total: Array,
    averages_after: int,
    rates: Array,
    row_losses: Array,
) -> Array:
    """Make the steps of whole groups of rows; return the gradient of the last one."""
    X, y, weights = rows
    d = X.shape[1]
    outputs = len(models)
    alone = outputs == 1 and not hasattr(loss, "of_row")
    each, axes = (scalars, ()) if alone else (np.asarray, (-1,))
    x = np.zeros((len(y) // GROUP, GROUP, -(-d // LANES) * LANES), X.dtype)
    x[:, :, :d] = X.reshape(-1, GROUP, d)
    a = (rates * weights * (losses.linear(loss) or 1)).reshape(-1, GROUP)
    h = np.zeros((len(x), GROUP, GROUP), X.dtype)
    for i in range(GROUP):
        for j in range(i):
            h[:, i, j] = a[:, j] * (order.dots(x[:, i], x[:, j]) + int(fit_intercept))
    y_of, a_of, h_of = each(y.reshape(len(x), GROUP, *axes)), scalars(a), scalars(h)
    w = np.zeros((1 + GROUP, outputs, x.shape[2]), X.dtype)  # and what the steps take from it
    w[0, :, :d] = models[:, :d]
    b = each(models[:, d].reshape(1, *axes))[0]
    terms = np.empty((GROUP, outputs, x.shape[2]), X.dtype)
    by_feature = terms.transpose(2, 0, 1)
    p: list[Any] = []
    for k, x_k in enumerate(x[:, :, None]):
        np.multiply(x_k, w[0], out=terms)
        products = each(order.sum_features(by_feature).reshape(GROUP, *axes))
        found, steps = in_turn(loss, products, b, y_of[k], h_of[k])
        p += found
        c = [rate * step for rate, step in zip(a_of[k], steps, strict=True)]
        factors = np.array(c, X.dtype).reshape(GROUP, outputs, 1)
        np.multiply(factors, x_k, out=w[1:])
        intercepts = [*accumulate([b, *c], sub)] if fit_intercept else [b] * (1 + GROUP)
        b = intercepts[-1]
        if len(total) > 0 and averages_after < (k + 1) * GROUP:
            after = np.subtract.accumulate(w)
            for r in range(max(1, averages_after - k * GROUP + 1), 1 + GROUP):
                both = after[r, :, :d], np.reshape(intercepts[r], (outputs, 1))
                total += np.concatenate(both, axis=1).ravel()
        w[0] = np.subtract.reduce(w)
    models[:, :d], models[:, d] = w[0, :, :d], b
    predictions = np.array(p, X.dtype).reshape(-1, outputs).T
    slopes = np.empty_like(predictions)
    targets = np.zeros_like(y) if losses.linear(loss) else y
    row_losses[:] = weights * losses.of_row(loss, predictions, targets.T, slopes)
    last = np.zeros_like(models)
    last[:, d] = weights[-1] * slopes[:, -1]
    last[:, :d] = last[:, d:] * X[-1]
    last[:, d] *= fit_intercept
    return last


def in_turn(loss: Any, products: Any, b: Any, y: Any, h: Any) -> tuple[list[Any], list[Any]]:
    """The predictions of a group's rows, or residuals, and the derivatives, or residuals, that the steps go by."""
    linear = losses.linear(loss) > 0
    p: list[Any] = []
    steps: list[Any] = []
    for product, target, factors in zip(products, y, h, strict=True):
        q = product + (b - target if linear else b)
        for step, factor in zip(steps, factors, strict=False):
            q = q - step * factor
        p.append(q)
        steps.append(q if linear else derivative(loss, q, target))
    return p, steps


def derivative(loss: Any, p: Any, y: Any) -> Any:
    """That of a row's loss by its prediction, or those by all."""
    if not hasattr(loss, "of_row"):
        return losses.gradient(loss, p, y)
    c = np.empty_like(p)
    losses.of_row(loss, p, y, c)
    return c


def scalars(a: Array) -> Any:
    """The numbers of an array in lists: of float64, as Python's floats."""
    if a.dtype == np.float64:
        return a.tolist()
    return [scalars(part) for part in a] if a.ndim > 1 else list(a)
