"""The numpy backend: whole blocks of rows at a time. Always there, and the plainest text of the kernels."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gdfast import elementary, losses, optimizers, order
from gdfast._backends import _loops
from gdfast.problem import Array, Log, Problem, State, cast

NAME = "numpy"


class Numpy:
    """The inner loops on arrays."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def epoch_loss(self, y: Array) -> Array:
        """Where the losses of an epoch's rows are kept, in the order of the visits."""
        return np.empty_like(y)

    def visits(self, keys: Array, n: int) -> Array:
        """The rows of an epoch in the order of the visits; none where they are not shuffled."""
        return order.visit(np.arange(n), keys, n) if len(keys) > 0 else keys

    def mean_loss(self, epoch_loss: Array, n: int) -> Any:
        return order.sum_rows(epoch_loss) / epoch_loss.dtype.type(n)

    def gradient(
        self,
        X: Array,
        y: Array,
        weights: Array,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        params: Array,
        grad: Array,
        epoch_loss: Array,
    ) -> None:
        """The mean gradient over the rows visited at positions first, ..., first + count - 1, and their losses."""
        d = X.shape[1]
        if len(visits) > 0:
            rows = visits[first : first + count]
            X, y = X[rows], y[rows]
            weights = weights[rows] if len(weights) > 1 else weights
        else:
            X, y = X[first : first + count], y[first : first + count]
            weights = weights[first : first + count] if len(weights) > 1 else weights
        sums = np.empty((-(-count // order.BLOCK), d + 1), X.dtype)
        visited = epoch_loss[first : first + count]

        def fill(part: slice) -> None:
            s = weights[part] if len(weights) > 1 else weights
            blocks = slice(part.start // order.BLOCK, part.stop // order.BLOCK)
            with np.errstate(all="ignore"):
                self.block_sums(X[part], y[part], s, loss, params, sums[blocks], visited[part])

        in_threads(fill, order.chunks(count, d), self.threads)
        grad[:] = order.tree(sums) / X.dtype.type(count)

    def block_sums(
        self,
        X: Array,
        y: Array,
        weights: Array,
        loss: Any,
        params: Array,
        sums: Array,
        row_losses: Array,
    ) -> None:
        """For each block of these rows the sum of their gradients, and for each row its loss."""
        p = order.dot(X, params[:-1]) + params[-1]
        row_losses[:] = weights * losses.value(loss, p, y)
        c = weights * losses.gradient(loss, p, y)
        sums[:, :-1] = order.block_sums(c[:, None] * X)
        sums[:, -1:] = order.block_sums(c[:, None])

    def per_sample(
        self,
        X: Array,
        y: Array,
        weights: Array,
        loss: Any,
        rule: Any,
        visits: Array,
        active: int,
        params: Array,
        slots: Array,
        total: Array,
        averages_after: int,
        steps: int,
        numbers: Array,
        before: int,
        epoch_loss: Array,
        grad: Array,
    ) -> int:
        """An epoch of one step a row: `gradient` and `step` for batches of one row. Leaves the last gradient."""
        n, d = X.shape
        rows = visits.tolist() if len(visits) > 0 else range(n)
        terms = np.zeros(-(-d // order.LANES) * order.LANES, X.dtype)
        products = terms[:d]
        w = params[:d]
        b = params[d:]
        for position, i in enumerate(rows):
            np.multiply(X[i], w, out=products)
            p = order.sum_features(terms) + b
            s = weights[i] if len(weights) > 1 else weights[0]
            epoch_loss[position] = (s * losses.value(loss, p, y[i]))[0]
            c = s * losses.gradient(loss, p, y[i])
            np.multiply(X[i], c, out=grad[:d])
            grad[d:] = c
            grad[active:] = 0
            steps += 1
            c = self.numbers_of(numbers, steps - before)
            self.step(rule, params, grad, slots, active, c)
            if steps > averages_after:
                self.add(params, total)
        return steps

    def norm(self, grad: Array) -> Any:
        """The Euclidean norm: the weights as a dot product, then the intercept."""
        w = grad[:-1]
        return np.sqrt(order.dot(w[None, :], w)[0] + grad[-1] * grad[-1])

    def within(self, grad: Array, tol: Any) -> bool:
        """Whether no component is larger than tol; NaN is."""
        return bool((np.abs(grad) <= tol).all())

    def clip(self, grad: Array, clip_norm: Any) -> None:
        """Scale the gradient down to this norm: the rule of torch.nn.utils.clip_grad_norm_."""
        scale = clip_norm / (self.norm(grad) + elementary.like(clip_norm, 1e-6))
        if scale < 1:
            grad *= scale

    def numbers_of(self, numbers: Array, step: int) -> Any:
        """The row of a step, counted from 1; the last row is for all that follow."""
        return numbers[min(step, len(numbers)) - 1]

    def step(
        self, rule: Any, params: Array, grad: Array, slots: Array, active: int, c: Any
    ) -> None:
        """One update of the params."""
        j = slice(active)
        params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)

    def add(self, params: Array, total: Array) -> None:
        """Add the params to the sum of the iterates, where there is one."""
        if len(total) > 0:
            total += params


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    return run(_loops.descend, Numpy(problem.batch_threads), problem, state, numbers, keys, log)


def run(
    loop: Any, kernels: Any, problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Call the training loop, as it stands or compiled, with the fields in its order."""
    dtype = problem.X.dtype
    with np.errstate(all="ignore"):
        epochs, state.steps, status = loop(
            kernels,
            problem.X,
            problem.y,
            problem.weights,
            cast(problem.loss, dtype),
            cast(problem.rule, dtype),
            problem.batch_size,
            problem.X.shape[1] + problem.fit_intercept,
            dtype.type(problem.clip_norm),
            dtype.type(problem.tol),
            dtype.type(problem.bound),
            state.params,
            state.slots,
            state.total,
            problem.averages_after,
            state.start,
            state.steps,
            numbers,
            keys,
            log.loss,
            log.grad_norm,
            log.params,
        )
    return epochs, status


def full_gradient(kernels: Numpy, problem: Problem, params: Array) -> Array:
    """The gradient of the mean loss over all rows, by these kernels."""
    grad = np.empty_like(params)
    unshuffled = np.empty(0, np.uint64)
    loss = cast(problem.loss, params.dtype)
    n = len(problem.y)
    with np.errstate(all="ignore"):
        epoch_loss = kernels.epoch_loss(problem.y)
        kernels.gradient(
            problem.X, problem.y, problem.weights, loss, unshuffled, 0, n, params, grad, epoch_loss
        )
    return grad


def gradient(problem: Problem, params: Array) -> Array:
    """The gradient of the mean loss over all rows, (d + 1,)."""
    return full_gradient(Numpy(problem.batch_threads), problem, params)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions."""
    with np.errstate(all="ignore"):
        terms = weights * cast(loss, y.dtype).value(p, y)
        return order.sum_rows(terms) / y.dtype.type(len(y))


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    with np.errstate(all="ignore"):
        Numpy(1).step(cast(rule, params.dtype), params, grad, slots, len(params), numbers)


class Stepping(Numpy):
    """Steps by a backend's kernel, between calls of Python functions."""

    def __init__(self, kernel: Callable[..., None]) -> None:
        super().__init__(threads=1)
        self.kernel = kernel

    def step(
        self, rule: Any, params: Array, grad: Array, slots: Array, active: int, c: Any
    ) -> None:
        """One update of all the params."""
        assert active == len(params)
        self.kernel(rule, params, grad, slots, c)


def minimize(fun: Any, jac: Any, *rest: Any) -> tuple[int, int]:
    """Minimise a function in Python; return the steps made, and why it ended."""
    return _loops.minimize(Stepping(step), fun, jac, *rest)


def predict(X: Array, params: Array, threads: int) -> Array:
    """x.w + b for each row."""
    out = np.empty(len(X), X.dtype)

    def fill(rows: slice) -> None:
        with np.errstate(all="ignore"):
            out[rows] = order.dot(X[rows], params[:-1]) + params[-1]

    in_threads(fill, order.chunks(*X.shape), threads)
    return out


def in_threads(work: Callable[[slice], None], chunks: list[slice], threads: int) -> None:
    """Call work on each chunk, on several threads where there are several chunks."""
    if threads > 1 and len(chunks) > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, chunks))
    else:
        for chunk in chunks:
            work(chunk)
