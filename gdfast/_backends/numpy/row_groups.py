"""The steps of rows in groups, as `gdfast._numerics.order` says, for the numpy backend.

What waits for no step is found for many groups at once. What a step waits for are a few numbers: Python's own floats
are several times as fast there as arrays, and their arithmetic is the same.
"""

from typing import Any

import numpy as np

from gdfast import losses
from gdfast._data.dataset import Dataset
from gdfast._numerics import order
from gdfast._numerics.order import GROUP, LANES
from gdfast._typing import Array


def step_groups(
    rows: Dataset,
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
    n, d = X.shape
    linear = losses.linear(loss)
    # Behind the features stands 0, up to whole lanes; the last column is the intercept's.
    whole = -(-d // LANES) * LANES
    x = np.zeros((n // GROUP, GROUP, whole + 1), X.dtype)
    x[:, :, :d] = X.reshape(-1, GROUP, d)
    x[:, :, whole] = fit_intercept
    a = (rates * weights * (linear or 1)).reshape(-1, GROUP)
    h = np.zeros((len(x), GROUP, GROUP), X.dtype)
    for i in range(GROUP):
        for j in range(i):
            products = order.dots(x[:, i, :whole], x[:, j, :whole])
            h[:, i, j] = a[:, j] * (products + x[:, j, whole])
    joint = hasattr(loss, "of_row")
    y_of, h_of = y.reshape(len(x), GROUP, -1), scalars(h)
    if not joint:
        y_of = scalars(y_of.swapaxes(1, 2))
    in_turn = together if joint else apart
    w = np.zeros((1 + GROUP, len(models), whole + 1), X.dtype)  # and what the steps take from it
    w[0, :, :d], w[0, :, whole] = models[:, :d], models[:, d]
    terms = np.empty((GROUP, len(models), whole), X.dtype)
    by_feature = terms.transpose(2, 0, 1)
    p = np.empty((n, len(models)), X.dtype)
    for k, x_k in enumerate(x[:, :, None]):
        np.multiply(x_k[:, :, :whole], w[0, :, :whole], out=terms)
        products = order.sum_features(by_feature)
        part = slice(k * GROUP, (k + 1) * GROUP)
        p[part], steps = in_turn(loss, products, w[0, :, whole], y_of[k], h_of[k])
        np.multiply((a[k, :, None] * steps)[:, :, None], x_k, out=w[1:])
        if not fit_intercept:
            w[1:, :, whole] = 0  # where a step is not finite, too
        if len(total) > 0:
            for after in np.subtract.accumulate(w)[1 + max(0, averages_after - part.start) :]:
                total += np.delete(after, np.s_[d:whole], axis=1).ravel()
        w[0] = np.subtract.reduce(w)
    models[:, :d], models[:, d] = w[0, :, :d], w[0, :, whole]
    targets = np.zeros_like(y) if linear else y
    row_losses[:] = weights * losses.of_row(loss, p.T, targets.T, np.empty_like(p.T))
    slopes = weights[-1] * (steps[-1] * (linear or 1))
    last: Array = slopes[:, None] * np.append(X[-1], X.dtype.type(1))
    if not fit_intercept:
        last[:, d] = 0
    return last


def together(loss: Any, products: Array, b: Array, y: Array, h: Any) -> tuple[Array, Array]:
    """The predictions of a group's rows and the derivatives of their losses, (GROUP, outputs)."""
    p = products + b
    c = np.empty_like(p)
    for i in range(GROUP):
        losses.of_row(loss, p[i], y[i], c[i])
        for j in range(i + 1, GROUP):
            p[j] -= c[i] * h[j][i]
    return p, c


def apart(loss: Any, products: Array, b: Array, y: Any, h: Any) -> tuple[Array, Array]:
    """Steps of a group for a loss that is a sum over the outputs; if its slope is linear, by residuals."""
    found = [one(loss, *each, h) for each in zip(scalars(products.T), scalars(b), y, strict=True)]
    p, steps = np.array(found, products.dtype).transpose(1, 2, 0)
    return p, steps


def one(loss: Any, products: Any, b: Any, y: Any, h: Any) -> tuple[list[Any], list[Any]]:
    """Steps of a group for one output."""
    p: list[Any] = []
    if losses.linear(loss):
        for product, target, factors in zip(products, y, h, strict=True):
            r = product + (b - target)
            for step, factor in zip(p, factors, strict=False):
                r = r - step * factor
            p.append(r)
        return p, p
    steps: list[Any] = []
    for product, target, factors in zip(products, y, h, strict=True):
        q = product + b
        anchor, change = losses.anchor(loss, q, target), 0.0
        for step, factor in zip(steps, factors, strict=False):
            q = q - step * factor
            change = change - step * factor
        p.append(q)
        steps.append(losses.gradient_near(loss, anchor, change, q, target))
    return p, steps


def scalars(a: Array) -> Any:
    """The numbers of an array in lists: of float64, as Python's floats."""
    if a.dtype == np.float64:
        return a.tolist()
    return [scalars(part) for part in a] if a.ndim > 1 else list(a)
