"""The one place where the user's arrays are checked and converted."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdfast import order

Array = NDArray[Any]


class Rows(NamedTuple):
    """Rows as the kernels take them."""

    X: Array  # (n, d)
    y: Array  # (n,)
    weights: Array  # (n,) of mean 1, or (1,): all rows alike

    def take(self, chosen: NDArray[np.bool_]) -> "Rows":
        """The chosen rows, their weights scaled to mean 1 among them."""
        X, y = self.X[chosen], self.y[chosen]
        given = self.weights[chosen] if len(self.weights) > 1 else None
        return Rows(
            as_matrix(X), as_vector(y, "y", len(y), y.dtype), as_weights(given, len(y), y.dtype)
        )


def as_matrix(X: Any, name: str = "X") -> Array:
    """(n, d), float32 or float64, C-contiguous, aligned, native, read-only; a copy only where it must be one."""
    a = _as_floats(X, name)
    if a.ndim == 1:
        raise ValueError(
            f"{name} is 1-D with {len(a)} values: pass {name}.reshape(-1, 1) for one feature, "
            f"or {name}.reshape(1, -1) for one row"
        )
    if a.ndim != 2:
        raise ValueError(
            f"{name} has {a.ndim} dimensions, shape {a.shape}: it must have 2, (rows, features)"
        )
    if a.size == 0:
        raise ValueError(
            f"{name} is empty, shape {a.shape}: it needs at least one row and one feature"
        )
    return _read_only(a, a.dtype)


def as_vector(y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str = "X") -> Array:
    """(rows,) in this dtype, contiguous, aligned, native, read-only."""
    a = _as_floats(y, name)
    if a.ndim != 1:
        advice = f": pass {name}.ravel()" if a.ndim == 2 and 1 in a.shape else ""
        raise ValueError(
            f"{name} has shape {a.shape}: it must be 1-D, one value for each row of {matrix}{advice}"
        )
    if len(a) != rows:
        raise ValueError(f"{name} has {len(a)} rows, {matrix} has {rows}")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a value too large for float32 is named as inf later
        return _read_only(a, dtype)


def as_weights(sample_weight: Any, rows: int, dtype: np.dtype[Any]) -> Array:
    """The weights of the rows, scaled to mean 1; a single 1 where all rows weigh the same."""
    if sample_weight is None:
        return _read_only(np.ones(1), dtype)
    s = as_vector(sample_weight, "sample_weight", rows, dtype)
    check_finite(s, "sample_weight")
    if (s < 0).any():
        i = int(np.argmax(s < 0))
        raise ValueError(f"sample_weight[{i}] is {s[i]}: weights must not be negative")
    if not s.any():
        raise ValueError("sample_weight is zero in every row: at least one row must count")
    mean = order.sum_rows(s) / dtype.type(rows)
    if not np.isfinite(mean):
        raise ValueError(
            f"the sum of sample_weight overflows {dtype}: divide the weights by {s.max()}"
        )
    return _read_only(s / mean, dtype)


def as_coef(coef: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Initial weights: finite, of just this shape; None stands for zeros."""
    if coef is None:
        return np.zeros(shape, dtype)
    a = _as_floats(coef, name)
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}: it must have shape {shape}")
    a = a.astype(dtype)
    a += dtype.type(0)  # no -0.0, which no sum of the canonical order gives
    check_finite(a, name)
    return a


def check_finite(a: Array, name: str) -> None:
    """Name the first value that is not finite."""
    finite = np.isfinite(a)
    if not finite.all():
        where = tuple(int(i[0]) for i in np.nonzero(~finite))
        place = f"[{', '.join(map(str, where))}]" if where else ""
        raise ValueError(f"{name}{place} is {a[where]}: remove the row or fill the value in")


def feature_names(X: Any) -> tuple[str, ...] | None:
    """The names of the columns, where X has them and all are text."""
    columns = getattr(X, "columns", None)
    names = tuple(columns) if columns is not None else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def _as_floats(values: Any, name: str) -> Array:
    if hasattr(values, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and masked values have no meaning here: pass {name}.filled(value)"
        )
    try:
        a = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from error
    if a.dtype.kind in "biu" or a.dtype == np.float16:
        return a.astype(np.float64)
    if a.dtype.kind != "f" or a.dtype.itemsize > 8:
        raise TypeError(
            f"{name} has dtype {a.dtype}: convert it to float64 or float32, for instance by astype(float)"
        )
    return a


def _read_only(a: Array, dtype: np.dtype[Any]) -> Array:
    view = np.require(a, dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"]).view()
    view.flags.writeable = False
    return view
