"""Sparse rows: the record that the kernels take, and the way to it from scipy's sparse arrays."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdfast import _extension
from gdfast._data.dtypes import float_dtype, read_only
from gdfast._numerics import order
from gdfast._typing import Array

# Rows and entries that are worked on at once: temporaries stay in the cache, whatever the size of the matrix.
_ROWS = 1 << 12
_ENTRIES = 1 << 16
_MOST_COLUMNS = 2**31 - 1


class Csr(NamedTuple):
    """Rows of which only some entries are stored; the others are zero.

    Entry k, in row i where ``indptr[i] <= k < indptr[i + 1]``, is ``X[i, indices[k]] = data[k]``. All arrays are
    native, contiguous, aligned and read-only. Being a record, it has its fields for a length: for the number of rows
    ask ``shape``.
    """

    data: Array  # (nnz,) in float32 or float64
    indices: Array  # (nnz,) in int32, ascending within a row, none twice
    indptr: Array  # (n + 1,) in int64
    features: int  # d

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.indptr) - 1, self.features

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored values."""
        return self.data.dtype

    def astype(self, dtype: np.dtype[Any]) -> "Csr":
        """The rows in another dtype; the matrix itself where it has that dtype already."""
        if self.dtype == dtype:
            return self
        return self._replace(data=read_only(self.data.astype(dtype)))

    def owned(self) -> "Csr":
        """The matrix with index arrays of its own, which nobody else can write into."""
        indices, indptr = (read_only(a.copy()) for a in (self.indices, self.indptr))
        return self._replace(indices=indices, indptr=indptr)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Csr":
        """A copy of the rows where a mask is True, or of the rows with these numbers, in this order."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        starts = self.indptr[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.indptr[rows + 1] - starts, out=indptr[1:])
        data = np.empty(indptr[-1], self.dtype)
        indices = np.empty(indptr[-1], np.int32)
        for group in _groups(indptr):
            starts_here, ptr = starts[group], indptr[group.start : group.stop + 1]
            for part, row in _pieces(ptr):
                source = np.arange(part.start, part.stop) + (starts_here - ptr[:-1])[row]
                data[part] = self.data[source]
                indices[part] = self.indices[source]
        return Csr(read_only(data), read_only(indices), read_only(indptr), self.features)

    def filled(self, chosen: NDArray[np.bool_], row: "Csr | None") -> "Csr":
        """A copy with this row, or an empty one, in place of each row where the mask is True."""
        lengths = np.diff(self.indptr)
        inside = np.empty(0, self.dtype) if row is None else row.data
        columns = np.empty(0, np.int32) if row is None else row.indices
        kept = np.repeat(~chosen, lengths)
        lengths[chosen] = len(inside)
        indptr = np.zeros(len(self.indptr), np.int64)
        np.cumsum(lengths, out=indptr[1:])
        old = np.repeat(~chosen, lengths)
        data, indices = np.empty(indptr[-1], self.dtype), np.empty(indptr[-1], np.int32)
        count = np.count_nonzero(chosen)
        data[old], data[~old] = self.data[kept], np.tile(inside, count)
        indices[old], indices[~old] = self.indices[kept], np.tile(columns, count)
        return Csr(read_only(data), read_only(indices), read_only(indptr), self.features)

    def part(self, rows: slice) -> "Csr":
        """Consecutive rows, without a copy of their entries."""
        ptr = self.indptr[rows.start : rows.stop + 1]
        entries = slice(ptr[0], ptr[-1])
        return Csr(self.data[entries], self.indices[entries], ptr - ptr[0], self.features)

    def add_to(self, g: Array, c: Array) -> None:
        """Add c_i times row i to g, row after row."""
        for group in _groups(self.indptr):
            factors = c[group]
            for part, row in _pieces(self.indptr[group.start : group.stop + 1]):
                np.add.at(g, self.indices[part], factors[row] * self.data[part])

    @np.errstate(all="ignore")
    def scaled(self, scale: Array) -> "Csr":
        """A copy with column j divided by ``scale[j]``."""
        data = np.empty_like(self.data)
        for part in _parts(len(data)):
            np.divide(self.data[part], scale[self.indices[part]], out=data[part])
        return self._replace(data=read_only(data))

    def dot(self, w: Array) -> Array:
        """x.w for each row x."""
        return self._row_sums(lambda part: self.data[part] * w[self.indices[part]])

    def squares(self) -> Array:
        """x.x for each row x."""
        return self._row_sums(lambda part: self.data[part] * self.data[part])

    def _row_sums(self, terms: Callable[[slice], Array]) -> Array:
        """Sums over the entries of each row, in the canonical order."""
        out = np.empty(self.shape[0], self.dtype)
        for group in _groups(self.indptr):
            lanes = np.zeros((group.stop - group.start, order.LANES), self.dtype)
            for part, row in _pieces(self.indptr[group.start : group.stop + 1]):
                lane = (np.arange(part.start, part.stop) - self.indptr[group][row]) % order.LANES
                np.add.at(lanes.reshape(-1), row * order.LANES + lane, terms(part))
            out[group] = order.tree(lanes.T)
        return out

    def moments(self, weights: Array) -> tuple[Array, Array]:
        """The weighted means and standard deviations of the columns."""
        return moments(lambda: [(self, weights)], self.features, self.dtype)

    def not_finite(self) -> tuple[int, int, Any] | None:
        """Row, column and value of the first entry that is not finite."""
        return self.first(lambda part: ~np.isfinite(self.data[part]))

    def first(self, marked: Callable[[slice], NDArray[np.bool_]]) -> tuple[int, int, Any] | None:
        """Row, column and value of the first entry that is marked."""
        k = _first(len(self.data), marked)
        return None if k is None else (_row_of(k, self.indptr), int(self.indices[k]), self.data[k])


def moments(
    parts: Callable[[], Iterable[tuple[Csr, Array]]], d: int, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """The weighted means and standard deviations of the columns, (d,) each; all zeros are counted.

    The rows come in parts, with their weights: whole blocks but for the last. Rows of weight 0 are passed over. The
    sums are float64's, over a column's entries in the order of the rows and in units of a power of two near the largest
    of them; the zeros that are not stored come in as one term. Where a column of X is not finite, nor are its moments.
    """

    def weighted() -> Iterator[tuple[Csr, Array]]:
        for X, weights in parts():
            yield X, np.broadcast_to(weights, (X.shape[0],)).astype(np.float64)

    def entries() -> Iterator[tuple[Array, Array, Array]]:
        for X, weight in weighted():
            for group in _groups(X.indptr):
                here = weight[group]
                for part, row in _pieces(X.indptr[group.start : group.stop + 1]):
                    w = here[row]
                    kept = w > 0
                    yield X.indices[part][kept].astype(np.intp), X.data[part][kept], w[kept]

    counted, sums = 0, []
    for _, weight in weighted():
        counted += int(np.count_nonzero(weight))
        sums.append(order.block_sums(weight[:, None]))
    total = order.tree(np.concatenate(sums))[0]

    count = np.zeros(d, np.int64)
    stored, largest = np.zeros(d), np.zeros(d)
    for j, x, w in entries():
        np.add.at(count, j, 1)
        np.add.at(stored, j, w)
        np.maximum.at(largest, j, np.abs(x.astype(np.float64)))
    absent = np.where(count == counted, 0.0, np.maximum(total - stored, 0))
    limits = np.finfo(np.float64)
    exponent = np.clip(np.frexp(largest)[1], limits.minexp + 2, limits.maxexp - 2)
    unit = np.ldexp(1.0, exponent)

    def column_sums(terms: Callable[[Array, Array], Array]) -> Array:
        sums = np.zeros(d)
        for j, x, w in entries():
            np.add.at(sums, j, w * terms(x / unit[j], j))
        return sums

    mean: Array = column_sums(lambda u, _: u) / total
    # The remainder that rounding left out: the mean of a constant column is its value.
    mean += (column_sums(lambda u, j: u - mean[j]) - absent * mean) / total
    square = column_sums(lambda u, j: (u - mean[j]) * (u - mean[j])) + absent * (mean * mean)
    deviation = np.sqrt(square / total)
    return (unit * mean).astype(dtype), (unit * deviation).astype(dtype)


def as_csr(X: Any, name: str = "X", dtype: np.dtype[Any] | None = None) -> Csr:
    """A sparse array of scipy's, or one with a `tocsr`, in this dtype, or in float32 or float64 as it comes.

    A copy only where it must be one: of CSR with float32 or float64 data, int32 indices and sorted rows, only
    ``indptr`` is. Entries that are stored twice are added, in the order in which they are stored; zeros
    that are stored are left out.

    Raises
    ------
    TypeError
        If the data are not real numbers, or the indices not integers.
    ValueError
        If X is not 2-D, is empty, has more than 2**31 - 1 columns, or if its index arrays contradict each other or its
        shape; if a number is too large for `dtype`.
    """
    if not hasattr(X, "format"):  # another library's
        X = X.tocsr()
    if len(X.shape) != 2:
        advice = f": pass {name}.reshape(1, -1) for one row" if len(X.shape) == 1 else ""
        raise ValueError(
            f"{name} has {len(X.shape)} dimensions, shape {X.shape}: it must have 2, (rows, features){advice}"
        )
    n, d = map(int, X.shape)
    if n == 0 or d == 0:
        raise ValueError(
            f"{name} is empty, shape {(n, d)}: it needs at least one row and one feature"
        )
    if d > _MOST_COLUMNS:
        raise ValueError(f"{name} has {d} columns: at most {_MOST_COLUMNS} can be numbered")
    kind = float_dtype(X.dtype)
    if kind is None:
        raise TypeError(
            f"{name} has dtype {X.dtype}: convert it to float64 or float32, for instance by astype(float)"
        )
    shown = name
    if X.format != "csr":
        _check_other_format(X, name)
        X, shown = X.tocsr(), f"{name}.tocsr()"
    known = _known_as_canonical(X, n, d)
    if not known:
        _check_compressed(X, shown, "row", n, "columns", d)
    indptr = X.indptr.astype(np.int64, copy=False)
    data, indices = X.data[: indptr[-1]], X.indices[: indptr[-1]]
    if not (known or _is_canonical(indptr, indices, data)):
        data, indices, indptr = _canonical(data, indices, indptr, d)
    taken = Csr(
        read_only(data, kind),
        read_only(indices, np.dtype(np.int32)),
        read_only(indptr, np.dtype(np.int64)),
        d,
    )
    return taken if dtype is None else _cast(taken, name, dtype)


def csr_of_columns(
    columns: Iterable[tuple[Array, Array]],
    shape: tuple[int, int],
    kind: np.dtype[Any],
    name: str = "X",
    dtype: np.dtype[Any] | None = None,
) -> Csr:
    """The rows of which each column is given by the numbers of the rows where it holds something, ascending, and that.

    In this kind of numbers, or cast to `dtype`; zeros are left out.
    """
    n, d = shape
    empty = np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, kind)
    parts = [empty]
    for j, (rows, values) in enumerate(columns):
        kept = values != 0
        numbers = values[kept].astype(kind, copy=False)
        parts.append((rows[kept], np.full(len(numbers), j, np.int32), numbers))
    rows, indices, data = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    by_row = np.argsort(rows, kind="stable")
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=indptr[1:])
    taken = Csr(read_only(data[by_row]), read_only(indices[by_row]), read_only(indptr), d)
    return taken if dtype is None else _cast(taken, name, dtype)


def _cast(X: Csr, name: str, dtype: np.dtype[Any]) -> Csr:
    """The rows in this dtype; a number that is too large for it is named."""
    with np.errstate(over="ignore"):
        cast = X.astype(dtype)
    lost = X.first(lambda part: np.isinf(cast.data[part]) & np.isfinite(X.data[part]))
    if lost is not None:
        i, j, value = lost
        raise ValueError(f"{name}[{i}, {j}] is {value}, too large for {dtype}, the dtype of X")
    return cast


def _check_other_format(X: Any, name: str) -> None:
    """Index arrays that scipy's conversion to CSR would follow blindly."""
    n, d = X.shape
    if X.format == "csc":
        _check_compressed(X, name, "column", d, "rows", n)
    elif X.format == "bsr":
        height, width = X.data.shape[1:]
        _check_compressed(X, name, "row of blocks", n // height, "columns of blocks", d // width)
    elif X.format == "coo":
        for axis, size in ("row", n), ("col", d):
            coordinates = _integers(getattr(X, axis), f"{name}.{axis}")
            if len(coordinates) != len(X.data):
                raise ValueError(
                    f"{name}.{axis} has {len(coordinates)} entries, {name}.data has {len(X.data)}"
                )
            k = _first_outside(coordinates, size)
            if k is not None:
                raise ValueError(
                    f"{name}.{axis}[{k}] is {coordinates[k]}, and {name} has shape {X.shape}"
                )
    elif X.format == "dia" and len(X.offsets) != len(X.data):
        raise ValueError(
            f"{name}.offsets has {len(X.offsets)} entries, and {name}.data has {len(X.data)} diagonals"
        )


def _check_compressed(X: Any, name: str, major: str, n: int, minor: str, d: int) -> None:
    """Raise unless all indices of CSR's three arrays, or of CSC's or BSR's, lead inside."""
    indptr = _integers(X.indptr, f"{name}.indptr")
    indices = _integers(X.indices, f"{name}.indices")
    if X.format != "bsr" and X.data.ndim != 1:
        raise ValueError(f"{name}.data has shape {X.data.shape}: it must be 1-D")
    if len(indptr) != n + 1:
        raise ValueError(
            f"{name}.indptr has {len(indptr)} entries: it must have {n + 1} for shape {X.shape}"
        )
    if indptr[0] != 0:
        raise ValueError(f"{name}.indptr[0] is {indptr[0]}: it must be 0")
    fallen = _first(n, lambda part: indptr[1:][part] < indptr[:-1][part])
    if fallen is not None:
        raise ValueError(
            f"{name}.indptr[{fallen + 1}] is {indptr[fallen + 1]}, less than "
            f"{name}.indptr[{fallen}] = {indptr[fallen]}"
        )
    nnz = int(indptr[-1])
    for what, stored in ("indices", indices), ("data", X.data):
        if nnz > len(stored):
            raise ValueError(
                f"{name}.indptr[{n}] is {nnz}, past the end of {name}.{what}, which has {len(stored)} entries"
            )
    k = _first_outside(indices[:nnz], d)
    if k is not None:
        raise ValueError(
            f"{name}.indices[{k}] is {indices[k]}, in {major} {_row_of(k, indptr)}, and {name} has {d} {minor}"
        )


def _integers(a: Any, name: str) -> Array:
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "iu" or a.ndim != 1:
        raise TypeError(f"{name} must be a 1-D array of integers, not {a!r:.60}")
    return a


def _first_outside(indices: Array, size: int) -> int | None:
    unsigned = indices.view(indices.dtype.str.replace("i", "u"))  # negative ones are large
    if len(indices) == 0 or unsigned.max() < size:
        return None
    return _first(len(indices), lambda part: (indices[part] < 0) | (indices[part] >= size))


def _known_as_canonical(X: Any, n: int, d: int) -> bool:
    """Whether the extension, if there is one, finds CSR's arrays as they should be; else NumPy looks why, or mends."""
    extension = _extension.if_there()
    return extension is not None and bool(extension.is_canonical(X.data, X.indices, X.indptr, n, d))


def _is_canonical(indptr: Array, indices: Array, data: Array) -> bool:
    """Whether the indices ascend within each row, and no zero is stored."""
    if _first(len(data), lambda part: data[part] == 0) is not None:
        return False
    for part in _parts(len(indices), 1):
        ascends = indices[part] > indices[part.start - 1 : part.stop - 1]
        begin, end = np.searchsorted(indptr, (part.start, part.stop))
        ascends[indptr[begin:end] - part.start] = True  # a row's first
        if not ascends.all():
            return False
    return True


def _canonical(data: Array, indices: Array, indptr: Array, d: int) -> tuple[Array, Array, Array]:
    """A copy with the indices sorted within each row, entries of the same place added, and zeros left out."""
    out, places = np.empty_like(data), np.empty(len(data), np.int32)
    ends, end = np.zeros_like(indptr), 0
    for group in _groups(indptr):
        ptr = indptr[group.start : group.stop + 1]
        here = slice(int(ptr[0]), int(ptr[-1]))
        row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        place = row * d + indices[here].astype(np.int64)
        sorting = np.argsort(place, kind="stable")
        place = place[sorting]
        new = np.append(True, place[1:] != place[:-1])[: len(place)]
        kept = place[new]
        sums = np.zeros(len(kept), data.dtype)
        with np.errstate(all="ignore"):  # what is not finite is found where the rows are checked
            np.add.at(sums, np.cumsum(new) - 1, data[here][sorting])
        kept, sums = kept[sums != 0], sums[sums != 0]
        out[end : end + len(kept)] = sums
        places[end : end + len(kept)] = kept % d
        ends[group.start + 1 : group.stop + 1] = end + np.cumsum(
            np.bincount(kept // d, minlength=len(ptr) - 1)
        )
        end += len(kept)
    return out[:end], places[:end], ends


def _groups(indptr: Array) -> Iterator[slice]:
    """Cut the rows into groups of few entries, or of a single row."""
    first, n = 0, len(indptr) - 1
    while first < n:
        fitting = int(np.searchsorted(indptr, indptr[first] + _ENTRIES, side="right")) - 1
        last = min(max(fitting, first + 1), first + _ROWS, n)
        yield slice(first, last)
        first = last


def _parts(count: int, start: int = 0) -> Iterator[slice]:
    """Cut the entries from `start` to `count` into parts."""
    for first in range(start, count, _ENTRIES):
        yield slice(first, min(first + _ENTRIES, count))


def _pieces(ptr: Array) -> Iterator[tuple[slice, Array]]:
    """The entries of some rows, part by part: where they stand, and the row of each, from 0."""
    for part in _parts(int(ptr[-1]), int(ptr[0])):
        lengths = np.diff(np.clip(ptr, part.start, part.stop))
        yield part, np.repeat(np.arange(len(lengths)), lengths)


def _first(count: int, marked: Callable[[slice], NDArray[np.bool_]]) -> int | None:
    """The first of the entries that is marked."""
    for part in _parts(count):
        here = marked(part)
        if here.any():
            return int(part.start + np.argmax(here))
    return None


def _row_of(k: int, indptr: Array) -> int:
    return int(np.searchsorted(indptr, k, side="right")) - 1
