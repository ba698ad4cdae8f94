"""The inner loops on arrays, whole blocks of rows at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdfast import losses, optimizers
from gdfast._backends.numpy.gradients import add_gradients, decay, derivatives, least_slopes, take
from gdfast._backends.numpy.lazy_sparse import Lazy
from gdfast._backends.numpy.row_groups import step_groups
from gdfast._backends.problem import Pending, longest_period
from gdfast._backends.threads import check_stopped, in_threads
from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._data.dtypes import all_within
from gdfast._numerics import elementary, order
from gdfast._typing import Array


class Numpy:
    """The inner loops on arrays."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:
        """Where the losses of an epoch's rows are kept, in the order of the visits, from `offset` on.

        What came before in the block of the first row stands at its place, as one number.
        """
        kept = np.zeros(offset + n, loss_sums.dtype)
        if offset > 0:
            kept[offset - 1] = loss_sums[0]
        return kept

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:
        """The mean loss of the epoch's rows, and the sums of its blocks."""
        loss_sums[:] = order.block_sums(epoch_loss[:, None])[:, 0]
        return order.tree(loss_sums) / loss_sums.dtype.type(n)

    def visits(self, keys: Array, n: int) -> Array:
        """The rows of an epoch in the order of the visits; none where they are not shuffled."""
        return order.visit(np.arange(n), keys, n) if len(keys) > 0 else keys

    def gradient(
        self,
        rows: Dataset,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        outputs: int,
        params: Array,
        grad: Array,
        epoch_loss: Array,
        offset: int,
    ) -> None:
        """The mean gradient over the rows visited at positions first, ..., first + count - 1, and their losses."""
        part = slice(first, first + count)
        visited = epoch_loss[offset + first : offset + first + count]
        grad[:] = self.sum_gradients(
            take(rows, visits[part] if len(visits) > 0 else part), loss, outputs, params, visited
        )
        grad /= grad.dtype.type(count)

    def sum_gradients(
        self, rows: Dataset, loss: Any, outputs: int, params: Array, row_losses: Array
    ) -> Any:
        """The sum of the rows' gradients, (size,), and the loss of each row."""
        if isinstance(rows.X, Csr):
            sums = np.zeros_like(params)
            add_gradients(rows, loss, outputs, params, 1, sums, row_losses)
            return sums
        count, d = rows.X.shape
        sums = np.empty((-(-count // order.BLOCK), len(params)), params.dtype)
        by_output = sums.reshape(len(sums), outputs, -1).swapaxes(0, 1)

        def fill(part: slice) -> None:
            blocks = by_output[:, part.start // order.BLOCK : part.stop // order.BLOCK]
            with np.errstate(all="ignore"):
                some = take(rows, part)
                c = derivatives(some, loss, outputs, params, 1, row_losses[part])
                for g, co in zip(blocks, c, strict=True):
                    g[:, :-1] = order.block_sums(co[:, None] * some.X)
                    g[:, -1:] = order.block_sums(co[:, None])

        in_threads(fill, order.chunks(count, d, self.threads), self.threads)
        return order.tree(sums)

    def fused_epoch(
        self,
        rows: Dataset,
        loss: Any,
        rule: Any,
        penalty: Any,
        visits: Array,
        batch_size: int,
        outputs: int,
        fit_intercept: bool,
        clip_norm: Any,
        params: Array,
        slots: Array,
        total: Array,
        averages_after: int,
        pending: Pending,
        steps: int,
        numbers: Array,
        before: int,
        epoch_loss: Array,
        offset: int,
        to_come: int,
        slopes: Array,
    ) -> int:
        """An epoch, or a part of one, whose steps cost no more than their rows.

        `slopes` becomes those before the last step of the epoch.
        """
        n = len(rows.y)
        order_of_rows = visits if len(visits) > 0 else np.arange(n)
        losses_of_rows = epoch_loss[offset:]
        if isinstance(rows.X, Csr):
            lazy = Lazy(
                rule,
                penalty,
                outputs,
                fit_intercept,
                clip_norm,
                params,
                slots,
                total,
                averages_after,
                pending,
            )
            for first in range(0, n, batch_size):
                check_stopped()
                left = -(-(n - first + to_come) // batch_size)
                if left == 1:
                    lazy.catch_up()
                if lazy.ends(steps):
                    length = min(longest_period(lazy.d), max(1, left - 1))
                    lazy.begin(steps, self.rates(numbers, steps - before, length))
                steps += 1
                lazy.step(
                    steps,
                    take(rows, order_of_rows[first : first + batch_size]),
                    loss,
                    self.numbers_of(numbers, steps - before),
                    losses_of_rows[first : first + batch_size],
                    slopes if left == 1 else None,
                )
                if left == 1:
                    lazy.catch_up()
            return steps
        X, y, weights = rows
        d = X.shape[1]
        terms = np.zeros(-(-d // order.LANES) * order.LANES, X.dtype)
        products = terms[:d]
        models = params.reshape(outputs, -1)
        p, c = np.empty(outputs, X.dtype), np.empty(outputs, X.dtype)
        grad = np.empty_like(params)
        grads = grad.reshape(outputs, -1)
        grouped = 0
        if optimizers.plain(rule) and penalty.l1 == 0 and penalty.l2 == 0:
            grouped = n - n % order.GROUP
        for first in range(0, grouped, order.BLOCK):
            check_stopped()
            part = slice(first, min(first + order.BLOCK, grouped))
            last = step_groups(
                take(rows, order_of_rows[part]),
                loss,
                fit_intercept,
                models,
                total,
                averages_after - steps,
                self.rates(numbers, steps - before, part.stop - first),
                losses_of_rows[part],
            )
            steps += part.stop - first
            if part.stop == n:
                grads[:] = last
        for position, i in enumerate(order_of_rows[grouped:].tolist(), grouped):
            for o, w in enumerate(models):
                np.multiply(X[i], w[:d], out=products)
                p[o] = order.sum_features(terms) + w[d]
            s = weights[i] if len(weights) > 1 else weights[0]
            losses_of_rows[position] = s * losses.of_row(loss, p, y[i], c)
            c *= s
            for co, g in zip(c, grads, strict=True):
                np.multiply(X[i], co, out=g[:d])
                g[d] = co
            self.decay(penalty, params, outputs, fit_intercept, grad)
            if position == n - 1:
                self.least_slopes(penalty, params, outputs, fit_intercept, True, grad, slopes)
            steps += 1
            self.penalised_step(
                rule,
                penalty,
                X.dtype.type(1),
                params,
                grad,
                slots,
                outputs,
                fit_intercept,
                self.numbers_of(numbers, steps - before),
            )
            if steps > averages_after:
                self.add(params, total)
        if grouped == n:
            slopes[:] = grad
        return steps

    decay = staticmethod(decay)
    least_slopes = staticmethod(least_slopes)

    def objective(
        self,
        loss: Any,
        penalty: Any,
        params: Array,
        outputs: int,
        fit_intercept: bool,
        room: Array,  # noqa: ARG002
    ) -> Any:
        """The loss with the penalties of these params; `room` is overwritten."""
        if penalty.free:
            return loss
        return loss + penalty.of(params.reshape(outputs, -1), fit_intercept)

    def sum_of_squares(self, grad: Array, outputs: int) -> Any:
        """Of each output the weights as a dot product and the intercept, the outputs in turn."""
        g = grad.reshape(outputs, -1)
        parts = order.squares(g[:, :-1]) + g[:, -1] * g[:, -1]
        return np.add.accumulate(parts)[-1]

    def divide_by_largest(self, grad: Array) -> Any:
        """Divide by the largest component and return it: squares then neither overflow nor underflow."""
        largest = np.abs(grad).max()
        if largest > 0:
            grad /= largest
        return largest

    def norm(self, grad: Array, outputs: int) -> Any:
        """The Euclidean norm. Where the squares overflow, or terms that count are lost, `grad` becomes divided."""
        squares = self.sum_of_squares(grad, outputs)
        limits = np.finfo(grad.dtype)
        if limits.tiny / limits.eps <= squares <= limits.max:
            return np.sqrt(squares)
        largest = self.divide_by_largest(grad)
        return largest * np.sqrt(self.sum_of_squares(grad, outputs))

    def within(self, grad: Array, tol: Any) -> bool:
        """Whether no component is larger than tol; NaN is."""
        return all_within(grad, tol)

    def rests(self, grad: Array, params: Array, decay: Any, tol: Any) -> bool:
        """Whether no component of the gradient with that of the weight decay is larger than tol."""
        return self.within(grad + decay * params if decay != 0 else grad, tol)

    def finite(self, params: Array) -> bool:
        """Whether all params are."""
        return bool(np.count_nonzero(np.isfinite(params)) == params.size)

    def kept(
        self,
        penalty: Any,
        params: Array,
        outputs: int,
        grad: Array,
        slopes: Array,
        clip_norm: Any,
    ) -> Any:
        """The factor by which the gradient is clipped by the rule of torch.nn.utils.clip_grad_norm_; `slopes` is room.

        Its norm is that of the least slopes where there is l1.
        """
        one = elementary.like(clip_norm, 1.0)
        if clip_norm == np.inf:
            return one
        self.least_slopes(penalty, params, outputs, True, False, grad, slopes)
        kept = clip_norm / (self.norm(slopes, outputs) + elementary.like(clip_norm, 1e-6))
        return kept if kept < 1 else one

    def scale(self, grad: Array, kept: Any) -> None:
        """Scale the gradient down."""
        grad *= kept

    def numbers_of(self, numbers: Array, step: int) -> Any:
        """The row of a step, counted from 1; the last row is for all that follow."""
        return numbers[min(step, len(numbers)) - 1]

    def rates(self, numbers: Array, step: int, count: int) -> Array:
        """The rates of the `count` steps after this one."""
        rates: Array = numbers[np.minimum(np.arange(step, step + count), len(numbers) - 1), 0]
        return rates

    def step(self, rule: Any, params: Array, grad: Array, slots: Array, c: Any) -> None:
        """One update of the params, without penalties."""
        params[:] = optimizers.step(rule, params, grad, slots, slice(None), c)

    def penalised_step(
        self,
        rule: Any,
        penalty: Any,
        kept: Any,
        params: Array,
        grad: Array,
        slots: Array,
        outputs: int,
        fit_intercept: bool,
        c: Any,
    ) -> None:
        """One update of the params, the weights with their penalty, of which as much is kept as of the gradient."""
        check_stopped()
        if penalty.l1 == 0 and fit_intercept:
            self.step(rule, params, grad, slots, c)
            return
        width = len(params) // outputs
        for first in range(0, len(params), width):
            j, b = slice(first, first + width - 1), slice(first + width - 1, first + width)
            params[j] = optimizers.penalised_step(
                rule, params[j], grad[j], slots, j, c, penalty.l1 * kept, penalty.proximal
            )
            if fit_intercept:
                params[b] = optimizers.step(rule, params[b], grad[b], slots, b, c)

    def add(self, params: Array, total: Array) -> None:
        """Add the params to the sum of the iterates, where there is one."""
        if len(total) > 0:
            total += params

    def copy(self, source: Array, target: Array) -> None:
        """Make target what source is."""
        target[:] = source


class Stepping(Numpy):
    """Steps by a backend's kernel, between calls of Python functions."""

    def __init__(self, kernel: Callable[..., None]) -> None:
        super().__init__(threads=1)
        self.kernel = kernel

    def step(self, rule: Any, params: Array, grad: Array, slots: Array, c: Any) -> None:
        """One update of the params."""
        self.kernel(rule, params, grad, slots, c)
