"""Data frames and tables: their columns, their names, and their rows as arrays."""

from typing import Any

import numpy as np

from gdfast._data.csr import Csr, csr_of_columns
from gdfast._data.dtypes import MISSING, float_dtype, no_numbers
from gdfast._typing import Array


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


def as_rows(table: Any, columns: list[tuple[Any, Any]], name: str) -> Array:
    """The rows of a table: a view where its numbers lie as one array, else a copy in C order."""
    if not columns:
        return np.empty((len(table), 0))
    block = _as_block(table, [column for _, column in columns])
    if block is not None:
        return block
    dtypes = [column_dtype(column, name, f", {label!r}") for label, column in columns]
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


def is_sparse_frame(values: Any) -> bool:
    """Whether this is a pandas frame of which a column is sparse."""
    return hasattr(values, "iloc") and any(
        hasattr(dtype, "fill_value") for dtype in np.ravel(getattr(values, "dtypes", ()))
    )


def as_sparse_rows(frame: Any, name: str, dtype: np.dtype[Any] | None) -> Csr:
    """The rows of a pandas frame with sparse columns; of the others what is not 0 is stored too."""
    n, d = frame.shape
    if n == 0:
        raise ValueError(
            f"{name} is empty, shape {(n, d)}: it needs at least one row and one feature"
        )
    columns = [(f", {label!r}", column) for label, column in frame.items()]
    kind = np.result_type(*(column_dtype(column, name, label) for label, column in columns))

    def stored(column: Any, label: str) -> tuple[Array, Array]:
        if getattr(column.dtype, "fill_value", None) == 0:
            return column.array.sp_index.indices, column.array.sp_values
        values = column_values(column, name, label)
        rows = np.flatnonzero(values)
        return rows, values[rows]

    found = (stored(column, label) for label, column in columns)
    return csr_of_columns(found, (n, d), kind, name, dtype)


def is_column(values: Any) -> bool:
    """Whether this is a column of pandas, polars or Arrow: numbers that may be missing."""
    return hasattr(values, "to_numpy") and (hasattr(values, "is_null") or hasattr(values, "isna"))


def column_dtype(column: Any, name: str, label: str = "") -> np.dtype[Any]:
    """The dtype in which a column is taken in, without looking at its numbers."""
    empty = _numbers((column.iloc if hasattr(column, "iloc") else column)[:0])
    if empty.ndim != 1:
        whole = f"{name}[:{label}]" if label else name
        raise TypeError(f"{whole} holds arrays: it must hold one number in each row")
    kind = float_dtype(empty.dtype)
    if kind is None:
        raise no_numbers(_numbers(column), column, name, label)
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
