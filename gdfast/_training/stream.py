"""`fit_stream`: the fit of rows that come in blocks and are never all in memory.

A pass over the stream regroups the blocks, so that the kernels see the sums of the canonical order: batches that are
whole, and for the full batch subtrees that are whole (`gdfast._numerics.order`). So where a block ends is in no bit of
a result.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, losses
from gdfast._backends import loops
from gdfast._backends.numpy.gradients import add_gradients
from gdfast._backends.numpy.kernels import Numpy
from gdfast._backends.problem import DIVERGED, RAN, Log, Problem, State, cast, useful_threads
from gdfast._data.arrays import as_matrix, as_vector, as_weights, check_finite
from gdfast._data.csr import Csr
from gdfast._data.dataset import Rows
from gdfast._data.dtypes import read_only
from gdfast._data.frames import feature_names
from gdfast._data.scaling import Scaling
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
from gdfast._numerics.float_mode import standard
from gdfast._training.fit import begin, checked, finish, initial_params, split
from gdfast._typing import Array
from gdfast._validation import names_arguments
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import FitResult

Blocks = Iterable[Any] | Callable[[], Iterable[Any]]


@names_arguments
@standard
def fit_stream(
    blocks: Blocks,
    *,
    loss: str | Loss = "squared_error",
    optimizer: str | Optimizer = "sgd",
    lr: Rate | None = None,
    batch_size: int | None = None,
    epochs: int = 100,
    fit_intercept: bool = True,
    coef_init: ArrayLike | None = None,
    intercept_init: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    tol: float = 0.0,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    patience: int | None = None,
    standardize: bool = False,
    average: bool = False,
    clip_norm: float | None = None,
    trace: str | None = None,
    callback: Callable[[FitResult], Any] | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
) -> FitResult:
    """Minimise as `fit` does, over rows that come in blocks and need not fit in memory.

    The result has the same bits as ``fit(np.concatenate(Xs), np.concatenate(ys), shuffle=False, ...)``, however the
    rows are cut into blocks. In memory are two blocks, the one read and the one before it, a batch, and a number for
    each 256 rows.

    Parameters
    ----------
    blocks : iterable, or callable that returns one
        Of pairs (X, y) or triples (X, y, sample_weight), each as `fit` takes them and all alike: the same features in
        the same dtype, all dense or all sparse. It is gone through again and again, and must yield the same rows each
        time: a list, an object with ``__iter__``, a function that returns a generator; not a generator, which is spent
        after one pass. Blocks without rows are passed over.
    loss, optimizer, batch_size, epochs, fit_intercept, coef_init, intercept_init, l1, l2, tol, patience
        As for `fit`. Each epoch is a pass over the blocks; before the first there is one that checks the rows, one for
        the loss at the start, one more for that of initial weights, and one for sample weights.
    lr : float, schedule or "auto", optional
        As for `fit`. ``"auto"`` takes a pass; with the full batch one for each weight and one more, or where there are
        many 17 to 101, which a number saves.
    validation : (Xv, yv), optional
        Rows to measure the loss on after each epoch, in memory.
    standardize : bool, default False
        As for `fit`, by 3 passes; 5 for sparse rows.
    average, clip_norm, trace, callback, progress, backend, threads
        As for `fit`.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError, TypeError
        If an argument or a block is wrong: the message names the block; if the blocks are spent after one pass, or are
        others in a later one.
    DivergenceError, BackendError
        As for `fit`.

    Warns
    -----
    RuntimeWarning
        As for `fit`.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> X = np.arange(12.0).reshape(6, 2) % 5
    >>> y = X @ [1.0, -2.0]
    >>> blocks = [(X[:1], y[:1]), (X[1:4], y[1:4]), (X[4:], y[4:])]
    >>> r = gd.fit_stream(blocks, batch_size=2, epochs=5)
    >>> r.digest == gd.fit(X, y, batch_size=2, epochs=5, shuffle=False).digest
    True
    """
    began = time.perf_counter()
    engine = _backends.find(backend)
    options = checked(
        loss=loss,
        optimizer=optimizer,
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        fit_intercept=fit_intercept,
        l1=l1,
        l2=l2,
        shuffle=False,
        tol=tol,
        patience=patience,
        standardize=standardize,
        average=average,
        clip_norm=clip_norm,
        trace=trace,
        callback=callback,
        progress=progress,
        threads=threads,
    )
    if validation is not None and not isinstance(validation, tuple | list):
        raise ValueError(
            f"validation={validation!r} must be a pair (Xv, yv): rows of a stream are not held back"
        )
    rows = Stream.of(Source(blocks), options.loss)
    targets, features, dtype = rows.targets, rows.X.shape[1], rows.y.dtype
    start = initial_params(coef_init, intercept_init, targets, features, dtype)
    names = rows.source.names
    columns = names, rows.source.names_of_y
    _, held_out = split(rows, columns, validation, options.seed, targets)
    engine = Streaming(engine)
    run = begin(engine, options, rows, targets, names, start, began, held_out=held_out)
    return finish(run, options)


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
        """How the targets of all blocks are given."""
        if self.seen is None:
            return Coding(self.loss, (*self.columns, 1)[0], not self.columns, None)
        return self.coding_of(self.seen)

    def coding_of(self, labels: Array) -> Coding:
        """The coding of targets with these labels."""
        return coding_of(labels, (*self.columns, 1)[0], not self.columns, self.loss)


class Stream(Rows):
    """Rows that come in blocks. X, y and weights stand for their shapes and dtypes alone: zeros that take no memory."""

    source: Source
    targets: Coding
    untargeted: bool  # there is a single target of 0
    weighted: bool
    scaling: Scaling | None
    heaviest: float  # of the weights as they are given
    mean: float | None  # of the weights divided by the heaviest, when it is known
    counts: Rows | None  # a row in place of those of weight 0, if there are such

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
        )
        stream.source, stream.targets, stream.untargeted = source, targets, False
        stream.scaling = stream.counts = None
        stream.weighted, stream.heaviest, stream.mean = s is not None, heaviest, None
        if stream.weighted:
            if heaviest == 0:
                raise ValueError("sample_weight is zero in every row: at least one row must count")
            sums = [order.block_sums(part.weights[:, None]) for part in stream.parts()]
            stream.mean = order.tree(np.concatenate(sums))[0] / np.float64(n)
            if X.dtype.type(lightest / heaviest / stream.mean) == 0:
                found = [part.row_that_counts() for part in stream.parts()]
                rows_found = [row for row in found if row is not None]
                stream.counts = stream._joined(rows_found).row_that_counts()
        return stream

    def without_targets(self) -> Self:
        """The same rows, with a single target of 0."""
        rows = self._replace(y=self.y[:, :1])
        counts = None if self.counts is None else self.counts.without_targets()
        vars(rows).update(vars(self), untargeted=True, counts=counts)
        return rows

    def owned(self) -> Self:
        """The rows themselves: they are taken in anew in each pass."""
        return self

    def standardized(self, scaling: Scaling) -> Self:
        """The rows with the columns scaled, whenever they are read."""
        rows = self._replace()
        vars(rows).update(vars(self), scaling=scaling)
        return rows

    def mean_loss(
        self, engine: Any, loss: Any, outputs: int, params: Array | None, threads: int
    ) -> Any:
        """That of a model; without one, of predicting 0."""
        dtype = self.y.dtype
        loss = cast(loss.kernel, dtype)
        sums = []
        for X, y, weights in self.parts():
            p = np.broadcast_to(np.zeros((1, outputs), dtype), (len(y), outputs))
            if params is not None:
                p = engine.predict(
                    X, outputs, params, useful_threads(threads, len(y), X.shape[1], outputs)
                )
            with np.errstate(all="ignore"):
                terms = weights * losses.of_row(loss, p.T, y.T, np.empty(p.T.shape, dtype))
                sums.append(order.block_sums(terms[:, None]))
        with np.errstate(all="ignore"):
            return order.tree(np.concatenate(sums))[0] / dtype.type(len(self.y))

    def parts(self, multiple: int = order.BLOCK) -> Iterator[Rows]:
        """The rows in parts, of which all but the last are as long as a multiple of this.

        Of a block, what does not fill a part waits, in a copy, for the next.
        """
        waiting: list[Rows] = []
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

    def _blocks(self) -> Iterator[Rows]:
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
            block = Rows(matrix, target, weights)
            if self.counts is not None:
                block = block.zero_weights_filled(self.counts)
            yield block if self.scaling is None else block.standardized(self.scaling)
        if seen != total:
            raise ValueError(
                f"blocks has {'more' if seen > total else seen} rows in a later pass, and had {total} in the first"
            )

    def _weights(self, s: Any, rows: int) -> Array:
        """The weights of a block: of mean 1 in the whole stream."""
        weights = as_vector(s, "sample_weight", rows, np.dtype(np.float64)) / self.heaviest
        return weights if self.mean is None else read_only(weights / self.mean, self.y.dtype)

    def some(self, rows: Rows, first: int, end: int) -> Rows:
        """Consecutive rows, without a copy."""
        X, y, weights = rows
        if isinstance(X, Csr):
            X = X.part(slice(first, end))
            X = X._replace(indptr=read_only(X.indptr))
        else:
            X = X[first:end]
        return Rows(X, y[first:end], weights[first:end] if self.weighted else weights)

    def _copied(self, rows: Rows, first: int, end: int) -> Rows:
        """Consecutive rows in memory of their own: the source may write its next block over this one."""
        return self._joined([self.some(rows, first, end)])

    def _joined(self, parts: list[Rows]) -> Rows:
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
        return Rows(X, _concatenated(ys), _concatenated(weights) if self.weighted else self.weights)


def _concatenated(arrays: Any) -> Array:
    return read_only(np.concatenate(arrays))


class Streaming:
    """A backend that trains on a `Stream`, by passes with the kernels of another."""

    def __init__(self, engine: _backends.Backend) -> None:
        self.engine = engine
        self.NAME = engine.NAME
        self.mean_loss, self.predict = engine.mean_loss, engine.predict
        self.step, self.minimize = engine.step, engine.minimize

    def descend(
        self, problem: Problem, state: State, numbers: Array, keys: Array, log: Log
    ) -> tuple[int, int]:
        """Run len(keys) epochs, or fewer; return how many, and why they ended."""
        if problem.full_batch:
            kernels = FullBatch(self, problem._replace(fused=False))
            return loops.run(loops.descend, kernels, kernels.problem, state, numbers, keys, log)
        before, dtype = state.steps, problem.dtype
        penalty = cast(problem.penalty, dtype)
        for e in range(len(keys)):
            start = state.params.copy()
            log.sums[:] = 0
            self._epoch(problem, state, numbers, before, log._replace(grad_norm=log.grad_norm[e:]))
            state.start[:] = start
            with np.errstate(all="ignore"):
                log.loss[e] = order.tree(log.sums) / dtype.type(len(problem.rows.y))
            log.objective[e] = Numpy(1).objective(
                log.loss[e], penalty, state.params, problem.outputs, problem.fit_intercept, start
            )
            if len(log.params) > 0:
                log.params[e] = state.params
            if not (log.loss[e] <= problem.bound and np.isfinite(state.params).all()):
                return e + 1, DIVERGED
        return len(keys), RAN

    def _epoch(self, problem: Problem, state: State, numbers: Array, before: int, log: Log) -> None:
        """The steps of an epoch, in calls for whole batches; the numbers are those of the steps after `before`."""
        size, threads = problem.batch_size, problem.batch_threads
        position = 0
        for part in stream_of(problem).parts(whole_batches(size)):
            end = position + len(part.y)
            first, offset = divmod(position, order.BLOCK)
            some = problem._replace(
                rows=part,
                batch_size=min(size, len(part.y)),
                bound=np.inf,  # of the mean loss of the epoch
                threads=threads,
                to_come=len(problem.rows.y) - end,
            )
            sums = log.sums[first : -(-end // order.BLOCK)]
            here = Log(
                np.empty(1, problem.dtype),
                np.empty(1, problem.dtype),
                log.grad_norm[:1],
                state.params[None][:0],
                sums,
                offset,
            )
            coming = numbers[min(state.steps - before, len(numbers) - 1) :]
            self.engine.descend(some, state, coming, np.empty((1, 0), np.uint64), here)
            position = end

    def total(self, problem: Problem, params: Array) -> tuple[Array, Any]:
        """The sums over all rows of the gradient, (size,), and of the loss."""
        rows = stream_of(problem)
        with np.errstate(all="ignore"):
            if isinstance(rows.X, Csr):  # summed row after row, without a tree
                sums, lost = np.zeros_like(params), []
                loss = cast(problem.loss.kernel, problem.dtype)
                for part in rows.parts():
                    row_losses = np.empty(len(part.y), problem.dtype)
                    add_gradients(part, loss, problem.outputs, params, 1, sums, row_losses)
                    lost.append(order.block_sums(row_losses[:, None]))
                return sums, order.tree(np.concatenate(lost))[0]
            tree = Tree()
            for part in rows.parts():
                first, count = 0, len(part.y)
                for blocks in tree.subtrees(-(-count // order.BLOCK)):
                    end = min(first + blocks * order.BLOCK, count)
                    some = problem._replace(
                        rows=rows.some(part, first, end), batch_size=end - first
                    )
                    tree.add(blocks, np.append(*self.engine.total(some, params)))
                    first = end
            sums = tree.sum()
            return sums[:-1], sums[-1]


def stream_of(problem: Problem) -> Stream:
    """The rows of a problem that is a stream's."""
    assert isinstance(problem.rows, Stream)
    return problem.rows


class Tree:
    """`order.tree` over the sums of blocks, taken in from left to right by whole subtrees."""

    def __init__(self) -> None:
        self.blocks = 0
        self.sums: list[tuple[int, Array]] = []  # of how many blocks: falling powers of two

    def subtrees(self, blocks: int) -> Iterator[int]:
        """Cut the next blocks into subtrees: how many of them each has."""
        first, end = self.blocks, self.blocks + blocks
        while first < end:
            size = 1 << (end - first).bit_length() - 1
            if first > 0:
                size = min(size, first & -first)
            yield size
            first += size

    def add(self, size: int, total: Array) -> None:
        """Take in the sum of the next subtree, which has so many blocks."""
        self.blocks += size
        while self.sums and self.sums[-1][0] == size:
            total = self.sums.pop()[1] + total
            size *= 2
        self.sums.append((size, total))

    def sum(self) -> Array:
        """The sum of all."""
        (_, total), *before = reversed(self.sums)
        for _, part in before:
            total = part + total
        return total


class FullBatch(Numpy):
    """Steps for whole passes."""

    def __init__(self, engine: Streaming, problem: Problem) -> None:
        super().__init__(threads=1)
        self.engine, self.problem = engine, problem
        self.lost: Any = None

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:  # noqa: ARG002
        """Nothing is kept but the sum."""
        return loss_sums

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:  # noqa: ARG002
        """The mean loss of the epoch's rows."""
        return self.lost / loss_sums.dtype.type(n)

    def gradient(self, *arguments: Any) -> None:
        """The mean gradient over all rows, and their losses."""
        params, grad = arguments[6:8]
        grad[:], self.lost = self.engine.total(self.problem, params)
        grad /= grad.dtype.type(len(self.problem.rows.y))


def whole_batches(size: int) -> int:
    """How many rows to take at once: batches of at least a block in all."""
    return size * -(-order.BLOCK // size)
