"""The one place where the user's arrays are checked and converted."""

import sys
from collections.abc import Iterator
from numbers import Real
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from gdfast._data.csr import Csr, as_csr, csr_of_columns, float_dtype, read_only
from gdfast._numerics import order
from gdfast._typing import Array
from gdfast._validation import type_name

# What numbers are computed in, and a weight of 1 in each: that of rows which all weigh the same.
FLOATS = np.dtype(np.float64), np.dtype(np.float32)
# So many numbers are looked at sooner by Python than by NumPy.
FEW = 16
MISSING = "is missing: remove the row or fill the value in"
_ALIKE = {dtype: read_only(np.ones(1), dtype) for dtype in FLOATS}


class Rows(NamedTuple):
    """Rows as the kernels take them."""

    X: Any  # ndarray (n, d) or Csr
    y: Array  # (n, targets)
    weights: Array  # (n,), of mean 1 if not as given for some of the rows, or (1,): all rows alike

    def parts(self) -> Iterator["Rows"]:
        """The rows, in one part: what is too large for the memory comes in several, whole blocks but for the last."""
        yield self

    def without_targets(self) -> "Rows":
        """The same rows, with a single target of 0."""
        return self._replace(y=read_only(np.zeros((len(self.y), 1), self.y.dtype)))

    def owned(self) -> "Rows":
        """The rows, safe from writes into the user's arrays: all that kernels make addresses of is copied."""
        return self._replace(X=self.X.owned()) if isinstance(self.X, Csr) else self

    def standardized(self, scaling: Any) -> "Rows":
        """The rows with the columns scaled."""
        return self._replace(X=scaling.standardized(self.X))

    def mean_loss(
        self, engine: Any, loss: Any, outputs: int, params: Array | None, threads: int
    ) -> Any:
        """That of a model; without one, of predicting 0."""
        if params is None:
            zeros = np.zeros((1, outputs), self.y.dtype)
            return engine.mean_loss(loss, zeros, self.y, self.weights)
        p = engine.predict(self.X, outputs, params, threads)
        return engine.mean_loss(loss, p, self.y, self.weights)

    def row_that_counts(self) -> "Rows | None":
        """The first row whose weight is not 0, or of sparse ones the first of the shortest; None if all weigh 0."""
        counted = np.flatnonzero(self.weights)
        if not counted.size:
            return None
        if isinstance(self.X, Csr):
            at = counted[[np.argmin(np.diff(self.X.indptr)[counted])]]
            return Rows(self.X.take(at), self.y[at], self.weights[at])
        at = counted[:1]
        return Rows(self.X[at], self.y[at], self.weights[at])

    def zero_weights_filled(self, row: "Rows | None") -> "Rows":
        """The rows, those of weight 0 as copies of this row; as zeros, where there is none.

        A weight of 0 takes back no loss that overflows. The loss of a row that counts overflows in no fit that goes on.
        """
        zero = self.weights == 0
        if not zero.any():
            return self
        y = self.y.copy()
        y[zero] = 0 if row is None else row.y[0]
        if isinstance(self.X, Csr):
            X: Any = self.X.filled(zero, None if row is None else row.X)
        else:
            X = self.X.copy()
            X[zero] = 0 if row is None else row.X[0]
            X = read_only(X)
        return self._replace(X=X, y=read_only(y))

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
    if sparse and _is_sparse_frame(X):
        return _as_sparse_rows(X, name, dtype)
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


def all_within(a: Array, limit: Any) -> bool:
    """Whether no number is larger than the limit; NaN is."""
    if a.size <= FEW:
        return all(abs(v) <= limit for v in a.ravel().tolist())
    return bool(np.count_nonzero(np.abs(a) <= limit) == a.size)


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


def feature_names(X: Any) -> tuple[str, ...] | None:
    """The names of the columns, where X has them and all are text."""
    columns = getattr(X, "column_names", None)  # Arrow
    if columns is None:
        columns = getattr(X, "columns", None)  # pandas, polars
    else:
        index = index_columns(X, "X")
        columns = [column for column in columns if column not in index]
    names = tuple(columns) if columns is not None else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def check_names(
    names: tuple[str, ...] | None, known: tuple[str, ...] | None, name: str, whose: str
) -> None:
    """Check that columns stand under the names, and in the order, of others; where both have names."""
    if names and known and names != known:
        raise ValueError(f"the columns of {name} are {names}, those of {whose} {known}")


def index_columns(table: Any, name: str) -> frozenset[str]:
    """The columns of an Arrow table that were the index of a pandas frame, which pandas makes of them again."""
    try:
        metadata = getattr(getattr(table, "schema", None), "pandas_metadata", None)
        index = metadata["index_columns"] if metadata else []
        return frozenset(column for column in index if isinstance(column, str))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"what pandas wrote into the schema of {name} cannot be read: pass {name}.replace_schema_metadata()"
        ) from error


def as_floats(values: Any, name: str) -> Array:
    """What is given, as an array in float32 or float64."""
    if type(values) is np.ndarray and values.dtype in FLOATS:
        return values
    check_dense(values, name)
    columns = columns_of(values, name)
    if columns is not None:
        return _as_rows(values, columns, name)
    if _is_column(values):
        _column_dtype(values, name)
    a = as_values(values, name)
    kind = float_dtype(a.dtype)
    if kind is None:
        raise _no_numbers(a, values, name)
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
    if _is_column(values):
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


def columns_of(values: Any, name: str) -> list[tuple[Any, Any]] | None:
    """The names and columns of a table; None for anything else."""
    if hasattr(values, "column_names") and hasattr(values, "columns"):  # Arrow
        index = index_columns(values, name)
        named = zip(values.column_names, values.columns, strict=True)
        return [(label, column) for label, column in named if label not in index]
    if hasattr(values, "get_columns"):  # polars
        return [(column.name, column) for column in values.get_columns()]
    if hasattr(values, "iloc") and hasattr(values, "columns"):  # pandas
        return list(values.items())
    return None


def _as_rows(table: Any, columns: list[tuple[Any, Any]], name: str) -> Array:
    """The rows of a table: a view where its numbers lie as one array, else a copy in C order."""
    if not columns:
        return np.empty((len(table), 0))
    block = _as_block(table, [column for _, column in columns])
    if block is not None:
        return block
    dtypes = [_column_dtype(column, name, f", {label!r}") for label, column in columns]
    rows = np.empty((len(table), len(columns)), np.result_type(*dtypes))
    for j, (label, column) in enumerate(columns):
        rows[:, j] = column_values(column, name, f", {label!r}")
    return rows


def _as_block(table: Any, columns: list[Any]) -> Array | None:
    """A pandas frame that is a single array of floats, as a view."""
    dtypes = {getattr(column, "dtype", None) for column in columns}
    if dtypes not in ({np.dtype(np.float32)}, {np.dtype(np.float64)}):
        return None
    a: Array = table.to_numpy()
    ends = columns[0].to_numpy(), columns[-1].to_numpy()
    return a if all(np.may_share_memory(a, end) for end in ends) else None


def _is_sparse_frame(values: Any) -> bool:
    """Whether this is a pandas frame of which a column is sparse."""
    return hasattr(values, "iloc") and any(
        hasattr(dtype, "fill_value") for dtype in np.ravel(getattr(values, "dtypes", ()))
    )


def _as_sparse_rows(frame: Any, name: str, dtype: np.dtype[Any] | None) -> Csr:
    """The rows of a pandas frame with sparse columns; of the others what is not 0 is stored too."""
    n, d = frame.shape
    if n == 0:
        raise ValueError(
            f"{name} is empty, shape {(n, d)}: it needs at least one row and one feature"
        )
    columns = [(f", {label!r}", column) for label, column in frame.items()]
    kind = np.result_type(*(_column_dtype(column, name, label) for label, column in columns))

    def stored(column: Any, label: str) -> tuple[Array, Array]:
        if getattr(column.dtype, "fill_value", None) == 0:
            return column.array.sp_index.indices, column.array.sp_values
        values = column_values(column, name, label)
        rows = np.flatnonzero(values)
        return rows, values[rows]

    found = (stored(column, label) for label, column in columns)
    return csr_of_columns(found, (n, d), kind, name, dtype)


def _is_column(values: Any) -> bool:
    """Whether this is a column of pandas, polars or Arrow: numbers that may be missing."""
    return hasattr(values, "to_numpy") and (hasattr(values, "is_null") or hasattr(values, "isna"))


def _column_dtype(column: Any, name: str, label: str = "") -> np.dtype[Any]:
    """The dtype in which a column is taken in, without looking at its numbers."""
    empty = _numbers((column.iloc if hasattr(column, "iloc") else column)[:0])
    if empty.ndim != 1:
        whole = f"{name}[:{label}]" if label else name
        raise TypeError(f"{whole} holds arrays: it must hold one number in each row")
    kind = float_dtype(empty.dtype)
    if kind is None:
        raise _no_numbers(_numbers(column), column, name, label)
    return kind


def column_values(column: Any, name: str, label: str = "") -> Array:
    """The values of a column; one that is missing is named."""
    if not isinstance(getattr(column, "dtype", None), np.dtype):  # numpy's dtypes miss nothing
        missing = np.asarray(column.is_null() if hasattr(column, "is_null") else column.isna())
        if missing.any():
            i = int(np.argmax(missing))
            raise ValueError(f"{name}[{i}{label}] {MISSING}")
    return _numbers(column)


def _numbers(column: Any) -> Array:
    """A column as numpy has it; Arrow must be told that it may copy."""
    arrow = {"zero_copy_only": False} if hasattr(column, "to_pylist") else {}
    numbers: Array = column.to_numpy(**arrow)
    return numbers


def _no_numbers(a: Array, given: Any, name: str, label: str = "") -> Exception:
    """The error for what is not of real numbers, an array or a column with this label: it names the first cell."""
    if a.ndim == 0:
        return TypeError(f"{name} is {given!r:.60}: it must be an array of numbers")
    if a.dtype.kind in "OSUTMm":
        for where, value in np.ndenumerate(a):
            fault = _fault(value)
            if fault is not None:
                place = f"{name}[{', '.join(map(str, where))}{label}]"
                if fault == MISSING:
                    return ValueError(f"{place} {fault}")
                shown = repr(a.item(where)) if isinstance(value, str | bytes) else str(value)
                return TypeError(f"{place} is {shown:.60}, {fault}")
    whole = f"{name}[:{label}]" if label else name
    if a.dtype.names:
        advice = f"numpy.lib.recfunctions.structured_to_unstructured({name})"
    elif a.dtype.kind == "c":
        advice = f"numpy.real({name})"
    elif hasattr(given, "astype"):
        advice = "astype(float)"
    elif hasattr(given, "cast"):  # polars, Arrow
        advice = "cast('float64')" if hasattr(given, "to_pylist") else "cast(polars.Float64)"
    else:
        advice = f"numpy.asarray({name}, float)"
    return TypeError(
        f"{whole} has dtype {a.dtype}: convert it to float64 or float32, for instance by {advice}"
    )


def _fault(value: Any) -> str | None:
    """Why a cell is no number, and what to do; None of a number, and of text that reads as one."""
    from datetime import date, time, timedelta  # for this message alone
    from decimal import Decimal

    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return MISSING
    if isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value):
        return MISSING
    if isinstance(value, date | time | np.datetime64):
        return "a date: put a number in its place, such as the days since the first of them"
    if isinstance(value, timedelta | np.timedelta64):
        return "a duration: put a number in its place, such as its seconds"
    if not isinstance(value, Real | Decimal | np.bool_ | str | bytes):
        return "which is no number"
    try:
        float(value)
    except ValueError:
        return (
            "which is no number: fill in a number or remove the row; "
            "of categories make a column of 0 and 1 for each"
        )
    except OverflowError:
        return "too large for float64"
    return None


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
