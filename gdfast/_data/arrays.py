"""The one place where the user's arrays are checked and converted."""

import sys
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from gdfast._data.csr import Csr, as_csr
from gdfast._data.dtypes import FEW, FLOATS, all_within, float_dtype, no_numbers, read_only
from gdfast._data.frames import (
    as_rows,
    as_sparse_rows,
    column_dtype,
    column_values,
    columns_of,
    is_column,
    is_sparse_frame,
)
from gdfast._numerics import order
from gdfast._typing import Array
from gdfast._validation import type_name

# A weight of 1 in each dtype, for rows that all weigh alike.
_ALIKE = {dtype: read_only(np.ones(1), dtype) for dtype in FLOATS}


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

    A copy only where it must be one, and then a single one: an array in float32 or float64 and C order is read where it
    is, in memory or on the disk; one in Fortran order is copied, because the kernels read rows. With `sparse`, where X
    is meant, rows that share their memory are not pulled apart either, which a copy would make larger than they are:
    one row that a stride of 0 repeats, or the rows of a sliding window. Integers and booleans
    become float64. The columns of a pandas or polars frame or of an Arrow table are brought together in float32 if all
    of them are float32, else in float64. A scipy sparse array becomes a `Csr` with `sparse`, and is an error without;
    so does a pandas frame with a sparse column, which is made dense without.
    """
    if hasattr(X, "tocsr"):
        if not sparse:
            raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray()")
        return as_csr(X, name, dtype)
    if sparse and is_sparse_frame(X):
        return as_sparse_rows(X, name, dtype)
    if sparse and type(X) is np.ndarray and X.ndim == 2 and X.size > 0 and _repeats_a_row(X):
        row: Any = as_matrix(X[:1], name, dtype, sparse=True)
        return np.broadcast_to(row, X.shape)
    a = as_floats(X, name)
    if a.ndim == 1:
        form = f"{name}.reshape" if hasattr(X, "reshape") else f"np.asarray({name}).reshape"
        raise ValueError(
            f"{name} is 1-D with {len(a)} values: pass {form}(-1, 1) for one feature, or {form}(1, -1) for one row"
        )
    if a.ndim != 2:
        raise ValueError(
            f"{name} has {a.ndim} dimensions, shape {a.shape}: it must have 2, (rows, features)"
        )
    if a.size == 0:
        raise ValueError(
            f"{name} is empty, shape {a.shape}: it needs at least one row and one feature"
        )
    if dtype is not None:
        a = _cast(a, name, dtype)
    overlap = 0 < a.strides[0] < a.shape[1] * a.itemsize and a.strides[1] == a.itemsize
    if sparse and overlap and a.flags.aligned:
        view = a.view(np.ndarray)
        view.setflags(write=False)
        return view
    return read_only(a)


def _repeats_a_row(X: Array) -> bool:
    """Whether all rows are one, in memory."""
    return len(X) > 1 and X.strides[0] == 0


def as_vector(y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str = "X") -> Array:
    """(rows,) in this dtype, contiguous, aligned, native, read-only."""
    a = as_floats(y, name)
    check_vector(a, y, name, rows, matrix)
    return read_only(_cast(a, name, dtype), dtype)


def check_vector(a: Array, given: Any, name: str, rows: int, matrix: str = "X") -> None:
    """Check that an array, made of what was given, has one value for each row."""
    if a.ndim != 1:
        form = f"{name}.ravel()" if hasattr(given, "ravel") else f"np.ravel({name})"
        advice = f": pass {form}" if a.ndim == 2 and 1 in a.shape else ""
        raise ValueError(
            f"{name} has shape {a.shape}: it must be 1-D, one value for each row of {matrix}{advice}"
        )
    if len(a) != rows:
        raise ValueError(f"{name} has {len(a)} rows, {matrix} has {rows}")


def as_weights(
    sample_weight: Any, rows: int, dtype: np.dtype[Any], name: str = "sample_weight"
) -> Array:
    """The weights of the rows, scaled to mean 1; a single 1 where all rows weigh the same."""
    if sample_weight is None:
        return _ALIKE[dtype]
    s = as_unscaled_weights(sample_weight, rows, np.dtype(np.float64), name)
    if not s.any():
        raise ValueError(f"{name} is zero in every row: at least one row must count")
    s = s / s.max()
    return read_only(s / (order.sum_rows(s) / np.float64(rows)), dtype)


def as_unscaled_weights(
    sample_weight: Any, rows: int, dtype: np.dtype[Any], name: str = "sample_weight"
) -> Array:
    """The weights of the rows as they are given; a single 1 where none are."""
    if sample_weight is None:
        return _ALIKE[dtype]
    s = as_vector(sample_weight, name, rows, dtype)
    check_finite(s, name)
    if (s < 0).any():
        i = int(np.argmax(s < 0))
        raise ValueError(f"{name}[{i}] is {s[i]}: weights must not be negative")
    return s


def as_coef(coef: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Initial weights: finite, of just this shape."""
    a = as_floats(coef, name)
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}: it must have shape {shape}")
    check_finite(a, name, "initial weights must be finite")
    return np.add(
        _cast(a, name, dtype), 0, dtype=dtype
    )  # no -0.0, which no sum of the canonical order gives


def as_point(x0: Any, name: str = "x0") -> Array:
    """(d,): a copy, in float32 or float64, finite."""
    a = np.atleast_1d(as_floats(x0, name))
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
    if a.size <= FEW and all_within(a, sys.float_info.max):
        return
    finite = np.isfinite(a[:1] if a.ndim == 2 and _repeats_a_row(a) else a)
    if np.count_nonzero(finite) < finite.size:
        where = _first(~finite)
        raise ValueError(f"{name}{_place(where)} is {a[where]}: {advice}")


def as_floats(values: Any, name: str) -> Array:
    """The given values as an array in float32 or float64."""
    if type(values) is np.ndarray and values.dtype in FLOATS:
        return values
    check_dense(values, name)
    columns = columns_of(values, name)
    if columns is not None:
        return as_rows(values, columns, name)
    if is_column(values):
        column_dtype(values, name)
    a = as_values(values, name)
    kind = float_dtype(a.dtype)
    if kind is None:
        raise no_numbers(a, values, name)
    return a.astype(kind, order="C", copy=False)


def check_dense(values: Any, name: str) -> None:
    """Refuse a sparse or a masked array."""
    if hasattr(values, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray().ravel()")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and masked values have no meaning here: pass {name}.filled(value)"
        )


def as_values(values: Any, name: str) -> Array:
    """A column of a table, or what NumPy makes an array of, in whatever dtype it has."""
    if is_column(values):
        return column_values(values, name)
    if hasattr(values, "collect"):
        raise TypeError(f"{name} is a {type(values).__name__}: pass {name}.collect()")
    return as_array(values, name)


def as_array(values: Any, name: str) -> Array:
    """The values as a NumPy array."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from error
    except (TypeError, RuntimeError) as error:  # of torch, on another device or with a gradient
        raise TypeError(
            f"{name} is a {type_name(values)}, of which NumPy makes no array: {error}"
        ) from error


def _cast(a: Array, name: str, dtype: np.dtype[Any]) -> Array:
    """The array in this dtype; a number that is too large for it is named."""
    if a.dtype == dtype:
        return a
    with np.errstate(over="ignore"):
        cast = a.astype(dtype, order="C")
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
