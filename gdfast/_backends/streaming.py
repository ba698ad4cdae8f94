"""A backend over the blocks of a stream."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gdfast import _backends, losses
from gdfast._backends import loops
from gdfast._backends.numpy.gradients import add_gradients
from gdfast._backends.numpy.kernels import Numpy
from gdfast._backends.problem import DIVERGED, RAN, Log, Problem, State, cast, useful_threads
from gdfast._data.csr import Csr
from gdfast._data.stream import Stream
from gdfast._numerics import order
from gdfast._typing import Array


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

    def gradient(
        self,
        rows: Any,  # noqa: ARG002
        loss: Any,  # noqa: ARG002
        visits: Array,  # noqa: ARG002
        first: int,  # noqa: ARG002
        count: int,  # noqa: ARG002
        outputs: int,  # noqa: ARG002
        params: Array,
        grad: Array,
        epoch_loss: Array,  # noqa: ARG002
        offset: int,  # noqa: ARG002
    ) -> None:
        """The mean gradient over all rows, and their losses."""
        grad[:], self.lost = self.engine.total(self.problem, params)
        grad /= grad.dtype.type(len(self.problem.rows.y))


def whole_batches(size: int) -> int:
    """The number of rows to take at once: whole batches, together at least a block."""
    return size * -(-order.BLOCK // size)


def model_loss(
    engine: _backends.Backend,
    loss: Any,
    stream: Stream,
    params: Array | None,
    outputs: int,
    threads: int,
) -> Any:
    """The mean loss of a model on a stream; without one, of predicting 0."""
    dtype = stream.y.dtype
    loss = cast(loss.kernel, dtype)
    sums = []
    for X, y, weights in stream.parts():
        p = np.broadcast_to(np.zeros((1, outputs), dtype), (len(y), outputs))
        if params is not None:
            used = useful_threads(threads, len(y), X.shape[1], outputs)
            p = engine.predict(X, outputs, params, used)
        with np.errstate(all="ignore"):
            terms = weights * losses.of_row(loss, p.T, y.T, np.empty(p.T.shape, dtype))
            sums.append(order.block_sums(terms[:, None]))
    with np.errstate(all="ignore"):
        return order.tree(np.concatenate(sums))[0] / dtype.type(len(stream.y))
