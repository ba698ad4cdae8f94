"""Standardisation: columns of mean 0 and standard deviation 1, and the way back for the weights."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gdfast._data.arrays import check_finite
from gdfast._data.csr import Csr, moments
from gdfast._data.stream import Rows
from gdfast._numerics import order
from gdfast._typing import Array


@dataclass(frozen=True)
class Scaling:
    """z = (x - mean) / scale, column by column."""

    mean: Array  # (d,): zeros where there is no intercept to make up for them
    scale: Array  # (d,): 1 for a constant column

    @classmethod
    def of(cls, rows: Rows, center: bool) -> Self:
        """The weighted means and standard deviations, in the canonical order of sums over rows.

        Sparse columns are not centred: they would not be sparse any more.
        """
        X = rows.X
        with np.errstate(all="ignore"):
            if isinstance(X, Csr):
                mean, scale = moments(
                    lambda: ((part.X, part.weights) for part in rows.parts()), X.features, X.dtype
                )
                center = False
            else:
                mean = _column_means(rows)
                mean += _column_means(
                    rows, mean
                )  # what rounding left out: a constant column's mean is its value
                scale = _deviations(rows, mean)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            check_finite(X, "X")
            raise ValueError(
                f"the sums over X's columns overflow {X.dtype}: divide X by a constant"
            )
        scale[scale <= 10 * np.finfo(X.dtype).eps * np.abs(mean)] = 1
        return cls(mean if center else np.zeros_like(mean), scale)

    def standardized(self, X: Any) -> Any:
        """A standardised copy of X."""
        if isinstance(X, Csr):
            return X.scaled(self.scale)
        Z = np.empty(X.shape, X.dtype)
        for part in order.chunks(*X.shape):
            np.divide(X[part] - self.mean, self.scale, out=Z[part])
        Z.flags.writeable = False
        return Z

    def into(self, params: Array) -> Array:
        """Weights and intercepts for X -> those for the standardised X. (..., k (d + 1))."""
        inner = params.copy()
        models = self._models(inner)
        with np.errstate(all="ignore"):  # the loss at the start shows it
            models[:, -1] += self._shift(models)
            models[:, :-1] *= self.scale
        inner += inner.dtype.type(0)  # no -0.0
        return inner

    def back(self, params: Array) -> Array:
        """Weights and intercepts for the standardised X -> those for X. (..., k (d + 1))."""
        outer = params.copy()
        models = self._models(outer)
        with np.errstate(all="ignore"):  # `fit` looks at what it returns
            models[:, :-1] /= self.scale
            models[:, -1] -= self._shift(models)
        return outer

    def _models(self, params: Array) -> Array:
        return params.reshape(-1, len(self.mean) + 1)

    def _shift(self, models: Array) -> Any:
        return order.dot(models[:, :-1], self.mean)


def _deviations(rows: Rows, mean: Array) -> Array:
    """The standard deviations. Where squares would be lost, in units of a power of two near the largest deviation."""
    scale: Array = np.sqrt(_column_means(rows, mean, squared=True))
    lost = ~((scale > 0) & np.isfinite(scale))
    if lost.any():
        limits: Any = np.finfo(mean.dtype)
        largest = np.max(
            [np.abs(X[:, lost] - mean[lost]).max(axis=0) for X, _, _ in rows.parts()], axis=0
        )
        exponent = np.clip(np.frexp(largest)[1], limits.minexp + 2, limits.maxexp - 2)
        unit = np.ldexp(mean.dtype.type(1), exponent)
        squares = _column_means(rows, mean[lost] / unit, squared=True, columns=lost, unit=unit)
        scale[lost] = unit * np.sqrt(squares)
    return scale


def _column_means(
    rows: Rows,
    origin: Any = 0,
    *,
    squared: bool = False,
    columns: Any = slice(None),
    unit: Array | None = None,
) -> Array:
    """The weighted means of X / unit - origin, or of its squares, in the canonical order."""
    sums = []
    for X, _, weights in rows.parts():
        for part in order.chunks(*X.shape):
            terms = X[part, columns]
            if unit is not None:
                terms = terms / unit
            terms = terms - origin
            if squared:
                terms *= terms
            if len(weights) > 1:
                terms *= weights[part, None]
            elif weights[0] != 1:
                terms *= weights[0]
            sums.append(order.block_sums(terms))
    mean: Array = order.tree(np.concatenate(sums)) / rows.y.dtype.type(len(rows.y))
    return mean
