"""The one place where the user's arrays are checked and converted."""

from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from gdfast import order
from gdfast.csr import Csr, as_csr, float_dtype, read_only

Array = NDArray[Any]


class Rows(NamedTuple):
    """Rows as the kernels take them."""

    X: Any  # ndarray (n, d) or Csr
    y: Array  # (n, targets)
    weights: Array  # (n,) of mean 1, or (1,): all rows alike

    def take(self, chosen: NDArray[np.bool_], weights_name: str) -> "Rows":
        """The chosen rows, their weights scaled to mean 1 among them."""
        X = self.X.take(chosen) if isinstance(self.X, Csr) else as_matrix(self.X[chosen])
        y = as_matrix(self.y[chosen], "y")
        given = self.weights[chosen] if len(self.weights) > 1 else None
        return Rows(X, y, as_weights(given, len(y), y.dtype, weights_name))


@overload
def as_matrix(
    X: Any, name: str = ..., dtype: np.dtype[Any] | None = ..., *, sparse: Literal[False] = ...
) -> Array: ...
@overload
def as_matrix(
    X: Any, name: str = ..., dtype: np.dtype[Any] | None = ..., *, sparse: Literal[True]
) -> Array | Csr: ...
def as_matrix(
    X: Any, name: str = "X", dtype: np.dtype[Any] | None = None, *, sparse: bool = False
) -> Array | Csr:
    """(n, d) in this dtype, or in float32 or float64 as it comes; C-contiguous, aligned, native, read-only.

    A copy only where it must be one. A scipy sparse array becomes a `Csr` with `sparse`, and is an error without.
    """
    if hasattr(X, "tocsr"):
        if not sparse:
            raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray()")
        return as_csr(X, name, dtype)
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
    return read_only(a if dtype is None else _cast(a, name, dtype), dtype or a.dtype)


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
    return read_only(_cast(a, name, dtype), dtype)


def as_weights(
    sample_weight: Any, rows: int, dtype: np.dtype[Any], name: str = "sample_weight"
) -> Array:
    """The weights of the rows, scaled to mean 1; a single 1 where all rows weigh the same."""
    if sample_weight is None:
        return read_only(np.ones(1), dtype)
    s = as_vector(sample_weight, name, rows, np.dtype(np.float64))
    check_finite(s, name)
    if (s < 0).any():
        i = int(np.argmax(s < 0))
        raise ValueError(f"{name}[{i}] is {s[i]}: weights must not be negative")
    if not s.any():
        raise ValueError(f"{name} is zero in every row: at least one row must count")
    s = s / s.max()
    return read_only(s / (order.sum_rows(s) / np.float64(rows)), dtype)


def as_coef(coef: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Initial weights: finite, of just this shape; None stands for zeros."""
    if coef is None:
        return np.zeros(shape, dtype)
    a = _as_floats(coef, name)
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}: it must have shape {shape}")
    check_finite(a, name, "initial weights must be finite")
    zero = dtype.type(0)
    return np.asarray(
        _cast(a, name, dtype) + zero
    )  # no -0.0, which no sum of the canonical order gives


def as_point(x0: Any, name: str = "x0") -> Array:
    """(d,): a copy, in float32 or float64, finite."""
    a = np.atleast_1d(_as_floats(x0, name))
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"{name} has shape {a.shape}: it must be a number or 1-D, and not empty")
    check_finite(a, name, "start at a finite point")
    return np.array(a, a.dtype.newbyteorder("="))


def check_finite(
    a: Array | Csr, name: str, advice: str = "remove the row or fill the value in"
) -> None:
    """Name the first value that is not finite."""
    if isinstance(a, Csr):
        found = a.not_finite()
        if found is not None:
            i, j, value = found
            raise ValueError(f"{name}[{i}, {j}] is {value}: {advice}")
        return
    finite = np.isfinite(a)
    if not finite.all():
        where = _first(~finite)
        raise ValueError(f"{name}{_place(where)} is {a[where]}: {advice}")


def feature_names(X: Any) -> tuple[str, ...] | None:
    """The names of the columns, where X has them and all are text."""
    columns = getattr(X, "column_names", None)  # Arrow
    if columns is None:
        columns = getattr(X, "columns", None)  # pandas, polars
    names = tuple(columns) if columns is not None else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def _as_floats(values: Any, name: str) -> Array:
    if type(values) is np.ndarray and values.dtype in (np.float64, np.float32):
        return values
    if hasattr(values, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray().ravel()")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and masked values have no meaning here: pass {name}.filled(value)"
        )
    try:
        a = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from error
    return a.astype(float_dtype(a.dtype, name), copy=False)


def _cast(a: Array, name: str, dtype: np.dtype[Any]) -> Array:
    """The array in this dtype; a number that is too large for it is named."""
    if a.dtype == dtype:
        return a
    with np.errstate(over="ignore"):
        cast = a.astype(dtype)
    lost = np.isinf(cast) & np.isfinite(a)
    if lost.any():
        where = _first(lost)
        raise ValueError(
            f"{name}{_place(where)} is {a[where]}, too large for {dtype}, the dtype of X"
        )
    return cast


def _first(marked: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(marked)), marked.shape))


def _place(where: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, where))}]" if where else ""
