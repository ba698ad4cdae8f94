"""The blocks of a stream: checked, their labels known, and regrouped into parts of whole batches or blocks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gdfast._data.arrays import as_matrix, as_vector, as_weights, check_finite
from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._data.dtypes import read_only
from gdfast._data.frames import feature_names
from gdfast._data.targets import (
    FAMILIES,
    Coding,
    as_labels,
    check_numbers,
    coding,
    coding_of,
    distinct,
    third_class,
)
from gdfast._numerics import order
from gdfast._typing import Array
from gdfast.losses import Loss


class Source:
    """Blocks that can be gone through again, all of one kind."""

    def __init__(self, blocks: Any) -> None:
        if hasattr(blocks, "__next__"):
            raise ValueError(
                f"blocks is a {type(blocks).__name__}, which is spent after one pass, and a fit makes several: pass a "
                "list, an object whose __iter__ starts anew, or the function that makes it, without calling it"
            )
        self.made = callable(blocks) and not hasattr(type(blocks), "__iter__")
        if not self.made and not hasattr(blocks, "__iter__"):
            raise TypeError(
                f"blocks must be an iterable of (X, y), or a function that returns one, not {blocks!r:.60}"
            )
        self.blocks = blocks
        self.kind: tuple[str, ...] = ()  # what all blocks have, in words
        self.first = 0  # the block that was the first to have it
        self.names: tuple[str, ...] | None = None
        self.names_of_y: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[tuple[int, Any, Any, Any]]:
        """The number of each block, X as it is taken in, y, and the weights or None."""
        for k, block in enumerate(self.blocks() if self.made else self.blocks):
            if not isinstance(block, tuple | list) or len(block) not in (2, 3):
                raise TypeError(
                    f"block {k} must be (X, y) or (X, y, sample_weight), not {block!r:.60}"
                )
            X, y, s = (*block, None)[:3]
            if _is_empty(X):
                continue
            with _in_block(k):
                matrix = as_matrix(X, sparse=True)
                kind = _kind(X, matrix, y, s is not None)
            if not self.kind:
                self.kind, self.first, self.names = kind, k, feature_names(X)
                self.names_of_y = feature_names(y)
            for here, there in zip(kind, self.kind, strict=True):
                if here != there:
                    raise ValueError(f"block {k} has {here}, block {self.first} has {there}")
            yield k, matrix, y, s


def _is_empty(X: Any) -> bool:
    shape = getattr(X, "shape", None)
    return bool(shape[:1] == (0,)) if shape is not None else isinstance(X, list | tuple) and not X


def _kind(X: Any, matrix: Array | Csr, y: Any, weighted: bool) -> tuple[str, ...]:
    names, names_of_y = feature_names(X), feature_names(y)
    columns = np.shape(y)[1:]
    return (
        f"{matrix.shape[1]} features",
        f"X in {matrix.dtype}",
        "sparse rows" if isinstance(matrix, Csr) else "dense rows",
        "columns without names" if names is None else f"the columns {names}",
        f"a y with {columns[0]} columns" if columns else "a 1-D y",
        "targets without names" if names_of_y is None else f"the targets {names_of_y}",
        "sample weights" if weighted else "no sample weights",
    )


@contextmanager
def _in_block(k: int) -> Iterator[None]:
    """Name the block in what is said of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"block {k}: {error}") from error
    except TypeError as error:
        raise TypeError(f"block {k}: {error}") from error


class Labels:
    """The distinct labels of all blocks, for a loss of classes."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.seen: Array | None = None  # sorted
        self.columns: tuple[int, ...] = ()

    def see(self, y: Any, rows: int, dtype: np.dtype[Any]) -> None:
        """Check the targets of a block, and add its labels to those of the blocks before."""
        self.columns = np.shape(y)[1:]
        if self.loss.targets not in ("signs", "classes"):
            check_numbers(coding(y, self.loss, rows, dtype)[1], "y")
            return
        labels, _ = as_labels(y, "y", rows)
        here = distinct(labels)
        if self.seen is None:
            self.seen = here[:0]
        before, now = FAMILIES[self.seen.dtype.kind], FAMILIES[here.dtype.kind]
        if before != now:
            raise TypeError(f"y holds {now}, and the blocks before hold {before}")
        union = np.union1d(self.seen, here)
        if self.loss.targets == "signs" and len(union) > 2:
            raise third_class(labels, self.seen, self.loss)
        if getattr(self.loss, "classes", 0):
            self.coding_of(here).coded(labels, "y", dtype)
        self.seen = union

    def coding(self) -> Coding:
        """The coding of the targets of all blocks."""
        if self.seen is None:
            return Coding(self.loss, (*self.columns, 1)[0], not self.columns, None)
        return self.coding_of(self.seen)

    def coding_of(self, labels: Array) -> Coding:
        """The coding of targets with these labels."""
        return coding_of(labels, (*self.columns, 1)[0], not self.columns, self.loss)


@dataclass(frozen=True)
class Stream:
    """Rows that come in blocks. X, y and weights stand for their shapes and dtypes alone: zeros that take no memory."""

    X: Any
    y: Array
    weights: Array
    source: Source
    targets: Coding
    weighted: bool
    heaviest: float  # of the weights as they are given
    mean: float | None = None  # of the weights divided by the heaviest, when it is known
    counts: Dataset | None = None  # a row in place of those of weight 0, if there are such
    untargeted: bool = False  # there is a single target of 0
    mapping: Callable[[Any], Any] | None = None  # of each block's X, when it is read

    @classmethod
    def of(cls, source: Source, loss: Loss) -> Self:
        """Go through the blocks once to check them, once more if they have weights, and again if some are 0."""
        n, heaviest, lightest = 0, 0.0, math.inf
        labels = Labels(loss)
        X: Any = None
        for k, X, y, s in source:
            rows = X.shape[0]
            with _in_block(k):
                check_finite(X, "X")
                labels.see(y, rows, X.dtype)
                if s is not None:
                    given = as_vector(s, "sample_weight", rows, np.dtype(np.float64))
                    as_weights(np.append(given, 1.0), rows + 1, given.dtype)  # a block may weigh 0
                    heaviest = max(heaviest, float(given.max()))
                    lightest = min(lightest, float(given.min()))
            n += rows
        if X is None:
            raise ValueError("blocks has no rows: it needs at least one")
        targets = labels.coding()
        placeholder: Array | Csr = np.broadcast_to(X.dtype.type(0), (n, X.shape[1]))
        if isinstance(X, Csr):
            placeholder = Csr(X.data[:0], X.indices[:0], np.broadcast_to(0, n + 1), X.features)
        columns = 1 if loss.targets == "classes" else targets.outputs
        stream = cls(
            placeholder,
            np.broadcast_to(X.dtype.type(0), (n, columns)),
            read_only(np.ones(1), X.dtype),
            source,
            targets,
            weighted=s is not None,
            heaviest=heaviest,
        )
        if not stream.weighted:
            return stream
        if heaviest == 0:
            raise ValueError("sample_weight is zero in every row: at least one row must count")
        sums = [order.block_sums(part.weights[:, None]) for part in stream.parts()]
        mean = order.tree(np.concatenate(sums))[0] / np.float64(n)
        stream = replace(stream, mean=mean)
        if X.dtype.type(lightest / heaviest / mean) == 0:
            found = [part.row_that_counts() for part in stream.parts()]
            rows_found = [row for row in found if row is not None]
            stream = replace(stream, counts=stream._joined(rows_found).row_that_counts())
        return stream

    def without_targets(self) -> Self:
        """The rows with a single target of 0."""
        counts = None if self.counts is None else self.counts.without_targets()
        return replace(self, y=self.y[:, :1], untargeted=True, counts=counts)

    def owned(self) -> Self:
        """The rows themselves: they are taken in anew in each pass."""
        return self

    def map_matrix(self, f: Callable[[Any], Any]) -> Self:
        """The rows with f(X) in place of the X of each block, whenever it is read."""
        return replace(self, mapping=f)

    def parts(self, multiple: int = order.BLOCK) -> Iterator[Dataset]:
        """The rows in parts, of which all but the last are as long as a multiple of this.

        Of a block, what does not fill a part waits, in a copy, for the next.
        """
        waiting: list[Dataset] = []
        held = 0
        for block in self._blocks():
            rows, first = len(block.y), 0
            if held:
                first = min(rows, multiple - held)
                waiting.append(self._copied(block, 0, first))
                held += first
                if held == multiple:
                    yield self._joined(waiting)
                    waiting, held = [], 0
            end = rows - (rows - first) % multiple if not held else first
            if first < end:
                yield self.some(block, first, end)
            if end < rows:
                waiting, held = [self._copied(block, end, rows)], rows - end
        if held:
            yield self._joined(waiting)

    def _blocks(self) -> Iterator[Dataset]:
        """The blocks as the kernels take them, in a pass that must yield as many rows as the first."""
        total, dtype, seen = len(self.y), self.y.dtype, 0
        for k, matrix, y, s in self.source:
            rows = matrix.shape[0]
            seen += rows
            if seen > total:
                break
            with _in_block(k):
                if self.untargeted:
                    target = read_only(np.zeros((rows, 1)), dtype)
                else:
                    target = self.targets.encode(y, "y", rows, dtype)
                weights = self.weights if s is None else self._weights(s, rows)
            block = Dataset(matrix, target, weights)
            if self.counts is not None:
                block = block.zero_weights_filled(self.counts)
            yield block if self.mapping is None else block.map_matrix(self.mapping)
        if seen != total:
            raise ValueError(
                f"blocks has {'more' if seen > total else seen} rows in a later pass, and had {total} in the first"
            )

    def _weights(self, s: Any, rows: int) -> Array:
        """The weights of a block: of mean 1 in the whole stream."""
        weights = as_vector(s, "sample_weight", rows, np.dtype(np.float64)) / self.heaviest
        return weights if self.mean is None else read_only(weights / self.mean, self.y.dtype)

    def some(self, rows: Dataset, first: int, end: int) -> Dataset:
        """Consecutive rows, without a copy."""
        X, y, weights = rows
        if isinstance(X, Csr):
            X = X.part(slice(first, end))
            X = X._replace(indptr=read_only(X.indptr))
        else:
            X = X[first:end]
        return Dataset(X, y[first:end], weights[first:end] if self.weighted else weights)

    def _copied(self, rows: Dataset, first: int, end: int) -> Dataset:
        """Consecutive rows in memory of their own: the source may write its next block over this one."""
        return self._joined([self.some(rows, first, end)])

    def _joined(self, parts: list[Dataset]) -> Dataset:
        """The rows of all parts, in a copy."""
        Xs, ys, weights = zip(*parts, strict=True)
        X: Array | Csr
        if isinstance(Xs[0], Csr):
            lengths = [np.diff(X.indptr) for X in Xs]
            X = Csr(
                _concatenated([X.data for X in Xs]),
                _concatenated([X.indices for X in Xs]),
                read_only(np.append(0, np.cumsum(np.concatenate(lengths)))),
                self.X.features,
            )
        else:
            X = _concatenated(Xs)
        return Dataset(
            X, _concatenated(ys), _concatenated(weights) if self.weighted else self.weights
        )


def _concatenated(arrays: Any) -> Array:
    return read_only(np.concatenate(arrays))


Rows = Dataset | Stream  # in memory, or read anew in each pass
