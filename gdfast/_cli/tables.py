"""Tables from files, for the command line: read by pyarrow, and checked column by column."""

import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdfast._data.frames import index_columns
from gdfast._typing import Array
from gdfast._validation import unknown


class Data(NamedTuple):
    """The rows of a table as a fit takes them."""

    X: Any  # a pyarrow.Table: a fit finds the features' names there
    y: Array
    weights: Array | None


@dataclass(frozen=True)
class Table:
    """A file's table, and how messages name it."""

    name: str
    columns: Any  # pyarrow.Table

    def data(
        self,
        target: str,
        features: Sequence[str] | None = None,
        weights: str | None = None,
        *,
        labels: bool = False,
    ) -> Data:
        """Features, target, maybe of labels, and weights; by default all other columns but that of pandas' index."""
        others = [target] if weights is None else [target, weights]
        twice = [name for name, count in Counter([*(features or []), *others]).items() if count > 1]
        if twice:
            raise ValueError(
                f"column {twice[0]!r} is asked for twice, among target, weights and features"
            )
        names = self._all_but(others) if features is None else features
        if not names:
            raise ValueError(f"{self.name}: no column is left for the features")
        return Data(
            X=self.features(names),
            y=np.asarray(self._present(target) if labels else self._numbers(target)),
            weights=None if weights is None else np.asarray(self._numbers(weights)),
        )

    def features(self, names: Sequence[str]) -> Any:
        """These columns, as a pyarrow.Table of finite numbers."""
        columns = [self._numbers(name) for name in names]
        return _pyarrow("pyarrow").Table.from_arrays(columns, names=list(names))

    def _all_but(self, others: Sequence[str]) -> list[str]:
        left_out = {*others, *index_columns(self.columns, self.name)}
        names = [name for name in self.columns.column_names if name not in left_out]
        numeric = [name for name in names if name and _is_numeric(self.columns[name])]
        choice = f"choose the features by --features {','.join(numeric)}"
        for name in names:
            if not name:
                place = self.columns.column_names.index("") + 1
                raise ValueError(
                    f"{self.name}: column {place} has no name: give it one, or {choice}"
                )
            if name not in numeric:
                raise ValueError(f"{self._not_numeric(name)}; {choice}")
        return names

    def _column(self, name: str) -> Any:
        known = self.columns.column_names
        if name not in known:
            raise ValueError(f"{self.name}: {unknown('column', name, known)}")
        return self.columns[name]

    def _present(self, name: str) -> Any:
        """A column of which no value is missing."""
        column = self._column(name)
        missing = column.is_null(nan_is_null=True).to_numpy()
        if missing.any():
            raise ValueError(self._at(name, missing, "the value is missing"))
        return column

    def _numbers(self, name: str) -> Any:
        """A column of finite numbers."""
        if not _is_numeric(self._column(name)):
            raise ValueError(self._not_numeric(name))
        column = self._present(name)
        pa = _pyarrow("pyarrow")
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        values = column.to_numpy()
        infinite = ~np.isfinite(values)
        if infinite.any():
            raise ValueError(self._at(name, infinite, f"the value is {values[infinite][0]}"))
        return column

    def _at(self, name: str, marked: Array, problem: str) -> str:
        return (
            f"{self.name}: column {name!r}, data row {int(marked.argmax()) + 1}: {problem}; "
            "fill it in, or remove the row"
        )

    def _not_numeric(self, name: str) -> str:
        """The message for a column of text or dates, with its first value that is none of a number."""
        column = self.columns[name]
        values = ((row, value.as_py()) for row, value in enumerate(column, 1))
        row, value = next(
            (pair for pair in values if not _is_number(pair[1])), (1, column[0].as_py())
        )
        return f"{self.name}: column {name!r} is not numeric: data row {row} is {value!r}"


def read(path: str) -> Table:
    """The table of a .csv or .parquet file, or of CSV on standard input for "-"."""
    pa, csv, parquet = map(_pyarrow, ("pyarrow", "pyarrow.csv", "pyarrow.parquet"))
    name = "standard input" if path == "-" else path
    kind = ".csv" if path == "-" else Path(path).suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ValueError(
            f"{path}: the name must end in .csv or .parquet; or write - for CSV on standard input"
        )
    content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    if not content.strip():
        raise ValueError(f"{name} is empty")
    # In memory of Arrow's own: one of its threads that gave Python's back would ask for Python's lock, and the process
    # be ended there ("terminate called without an active exception") if Python was already on its way out.
    owned = pa.allocate_buffer(len(content))
    memoryview(owned).cast("B")[:] = content
    buffer = pa.BufferReader(owned)
    try:
        if kind == ".parquet":
            table = parquet.ParquetFile(buffer).read()
        else:
            # In one block, so that all rows together tell the types of the columns; in one thread, so that an error
            # names the row.
            block = csv.ReadOptions(block_size=min(len(content) + 1, 2**31 - 1), use_threads=False)
            table = csv.read_csv(buffer, read_options=block)
        names = table.column_names
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from error
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        places = [str(k) for k, column in enumerate(names, 1) if column == twice[0]]
        raise ValueError(f"{name}: columns {' and '.join(places)} have the same name, {twice[0]!r}")
    if table.num_rows == 0:
        raise ValueError(f"{name} has no rows below its header")
    return Table(name, table)


def _pyarrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError("pyarrow reads the tables: pip install pyarrow") from error


def _is_numeric(column: Any) -> bool:
    """Whether these are numbers, or nothing at all: then each of them is missing."""
    types = _pyarrow("pyarrow").types
    kinds = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(is_kind(column.type) for is_kind in kinds)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return value is None
    return True
