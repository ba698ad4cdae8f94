"""The numpy backend: whole blocks of rows at a time. Always there, and the plainest text of the kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdfast import elementary, losses, optimizers, order, penalties
from gdfast._backends import _loops
from gdfast._backends._groups import step_groups
from gdfast._threads import check_stopped, in_threads
from gdfast.csr import Csr
from gdfast.matrices import Rows, all_within
from gdfast.problem import Array, Log, Problem, State, cast

NAME = "numpy"
SMALLEST_SCALE = 2.0**-20  # of a model whose weights are scale * params


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
        rows: Rows,
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
        self, rows: Rows, loss: Any, outputs: int, params: Array, row_losses: Array
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
        rows: Rows,
        loss: Any,
        rule: Any,
        penalty: Any,
        visits: Array,
        batch_size: int,
        outputs: int,
        fit_intercept: bool,
        params: Array,
        slots: Array,
        total: Array,
        averages_after: int,
        steps: int,
        numbers: Array,
        before: int,
        epoch_loss: Array,
        offset: int,
        slopes: Array,
    ) -> int:
        """An epoch whose steps cost no more than their rows. `slopes` becomes those before the last step."""
        n = len(rows.y)
        order_of_rows = visits if len(visits) > 0 else np.arange(n)
        losses_of_rows = epoch_loss[offset:]
        if isinstance(rows.X, Csr):
            lazy = Lazy(penalty, outputs, params)
            for first in range(0, n, batch_size):
                check_stopped()
                steps += 1
                lazy.step(
                    take(rows, order_of_rows[first : first + batch_size]),
                    loss,
                    rule,
                    fit_intercept,
                    params,
                    slots,
                    self.numbers_of(numbers, steps - before),
                    losses_of_rows[first : first + batch_size],
                    slopes if first + batch_size >= n else None,
                )
            lazy.catch_up(params)
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

    def decay(
        self, penalty: Any, params: Array, outputs: int, fit_intercept: bool, grad: Array
    ) -> None:
        """Add the slope of l2's penalty to the gradient; what is not trained has none."""
        w, g = params.reshape(outputs, -1), grad.reshape(outputs, -1)
        if penalty.l2 != 0:
            g[:, :-1] += penalty.l2 * w[:, :-1]
        if not fit_intercept:
            g[:, -1] = 0

    def least_slopes(
        self,
        penalty: Any,
        params: Array,
        outputs: int,
        fit_intercept: bool,
        decays: bool,
        grad: Array,
        slopes: Array,
    ) -> None:
        """The least slopes of the objective, with the weight decay or without: the gradient, where there is one."""
        slopes[:] = grad
        w, g = params.reshape(outputs, -1), slopes.reshape(outputs, -1)
        if decays and penalty.weight_decay != 0:
            trained = w.shape[1] - 1 + fit_intercept
            g[:, :trained] += penalty.weight_decay * w[:, :trained]
        if penalty.l1 != 0:
            g[:, :-1] = penalties.least_slope(g[:, :-1], w[:, :-1], penalty.l1)

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

    def norm(self, grad: Array, outputs: int) -> Any:
        """The Euclidean norm: of each output the weights as a dot product and the intercept, the outputs in turn."""
        g = grad.reshape(outputs, -1)
        parts = order.squares(g[:, :-1]) + g[:, -1] * g[:, -1]
        return np.sqrt(np.add.accumulate(parts)[-1])

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
        """How much of the gradient is left by the rule of torch.nn.utils.clip_grad_norm_; `slopes` is room.

        Its norm is that of the least slopes where there is l1.
        """
        one = elementary.like(clip_norm, 1.0)
        if clip_norm == np.inf:
            return one
        if penalty.l1 != 0:
            self.least_slopes(penalty, params, outputs, True, False, grad, slopes)
            grad = slopes
        kept = clip_norm / (self.norm(grad, outputs) + elementary.like(clip_norm, 1e-6))
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
            params[j] = penalties.step(
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


class Lazy:
    """Steps that touch only the columns that their rows hold. csrc/lazy.hpp has the same.

    What the penalties do to the other weights is made up for when they are next touched: the weights are scale *
    params, and params are behind by ``shift - seen`` of shrinking (Langford, Li and Zhang 2009, "Sparse online learning
    via truncated gradient"; Lipton and Elkan 2015, "Efficient elastic net regularization for sparse linear models").
    """

    def __init__(self, penalty: Any, outputs: int, params: Array) -> None:
        self.penalty = penalty
        self.firsts = np.arange(outputs)[:, None] * (len(params) // outputs)
        self.d = len(params) // outputs - 1
        self.scale = self.shift = self.zero = params.dtype.type(0)
        self.scale += 1
        self.seen = np.zeros_like(params)

    def step(
        self,
        rows: Rows,
        loss: Any,
        rule: Any,
        fit_intercept: bool,
        params: Array,
        slots: Array,
        c: Any,
        row_losses: Array,
        slopes: Array | None,
    ) -> None:
        """A step for these rows; `slopes`, if given, becomes those before it."""
        l1, l2 = self.penalty.l1, self.penalty.l2
        count = params.dtype.type(len(row_losses))
        outputs = len(self.firsts)
        if slopes is not None:
            self.catch_up(params)
        which = (self.firsts + np.unique(rows.X.indices)).ravel()
        if l1 != 0:
            params[which] = penalties.shrunk(params[which], self.shift - self.seen[which])
        sums = np.zeros_like(params)
        add_gradients(rows, loss, outputs, params, self.scale, sums, row_losses)
        if slopes is not None:
            kernels, mean = Numpy(1), sums / count
            kernels.decay(self.penalty, params, outputs, fit_intercept, mean)
            kernels.least_slopes(self.penalty, params, outputs, fit_intercept, True, mean, slopes)
        shrink = self.zero
        if l1 != 0 or l2 != 0:
            self.scale *= 1 - c[0] * l2
            shrink = c[0] * l1 / self.scale
            self.shift += shrink
        g = sums[which] / count / self.scale
        params[which] = optimizers.step(rule, params[which], g, slots, which, c)
        if l1 != 0:
            params[which] = penalties.shrunk(params[which], shrink)
            self.seen[which] = self.shift
        if fit_intercept:
            b = self.firsts[:, 0] + self.d
            params[b] = optimizers.step(rule, params[b], sums[b] / count, slots, b, c)
        if self.scale < SMALLEST_SCALE:
            self.catch_up(params)

    def catch_up(self, params: Array) -> None:
        """Make params the weights themselves."""
        w = params.reshape(len(self.firsts), -1)[:, :-1]
        seen = self.seen.reshape(len(self.firsts), -1)[:, :-1]
        if self.penalty.l1 != 0:
            w[:] = penalties.shrunk(w, self.shift - seen)
        w *= self.scale
        self.scale, self.shift = self.zero + 1, self.zero
        seen[:] = 0


def take(rows: Rows, which: Any) -> Rows:
    """Some of the rows: a slice, or their numbers."""
    X, y, weights = rows
    if not isinstance(X, Csr):
        X = X[which]
    elif isinstance(which, slice):
        X = X.part(which)
    else:
        X = X.take(which)
    return Rows(X, y[which], weights[which] if len(weights) > 1 else weights)


def predictions(X: Any, outputs: int, params: Array, scale: Any = 1) -> Array:
    """x.w + b for each output and row, (outputs, n); the weights are scale * params."""
    dot = order.dot if isinstance(X, np.ndarray) else Csr.dot
    p = np.empty((outputs, X.shape[0]), params.dtype)
    for o, w in enumerate(params.reshape(outputs, -1)):
        p[o] = scale * dot(X, w[:-1]) + w[-1]
    return p


def derivatives(
    rows: Rows, loss: Any, outputs: int, params: Array, scale: Any, row_losses: Array
) -> Array:
    """Those of each row's loss by its predictions, times its weight, (outputs, n); and the losses."""
    p = predictions(rows.X, outputs, params, scale)
    c = np.empty_like(p)
    row_losses[:] = rows.weights * losses.of_row(loss, p, rows.y.T, c)
    c *= rows.weights
    return c


def add_gradients(
    rows: Rows, loss: Any, outputs: int, params: Array, scale: Any, sums: Array, row_losses: Array
) -> None:
    """Add the gradients of sparse rows, row after row."""
    c = derivatives(rows, loss, outputs, params, scale, row_losses)
    for g, co in zip(sums.reshape(outputs, -1), c, strict=True):
        rows.X.add_to(g[:-1], co)
        g[-1:] = np.add.accumulate(np.append(g[-1], co))[-1:]


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    return run(_loops.descend, Numpy(problem.batch_threads), problem, state, numbers, keys, log)


def run(
    loop: Any, kernels: Any, problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Call the training loop, as it stands or compiled, with the fields in its order."""
    dtype = problem.dtype
    with np.errstate(all="ignore"):
        epochs, state.steps, status = loop(
            kernels,
            problem.rows,
            cast(problem.loss.kernel, dtype),
            cast(problem.rule, dtype),
            cast(problem.penalty, dtype),
            problem.outputs,
            problem.fit_intercept,
            problem.batch_size,
            problem.fused or None,
            dtype.type(problem.clip_norm),
            dtype.type(problem.tol),
            dtype.type(problem.bound),
            state.params,
            state.slots,
            state.total,
            problem.averages_after,
            state.start,
            None if problem.fused else np.empty_like(state.params),
            np.empty_like(state.params),
            state.steps,
            numbers,
            keys,
            log.loss,
            log.objective,
            log.grad_norm,
            log.params,
            log.sums,
            log.offset,
        )
    return epochs, status


def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    row_losses = np.empty(len(problem.rows.y), problem.dtype)
    loss = cast(problem.loss.kernel, problem.dtype)
    kernels = Numpy(problem.batch_threads)
    with np.errstate(all="ignore"):
        sums = kernels.sum_gradients(problem.rows, loss, problem.outputs, params, row_losses)
        return sums, order.sum_rows(row_losses)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs), or (1, outputs) for all alike."""
    n, outputs = len(y), p.shape[1]
    p = np.broadcast_to(p, (n, outputs)).T
    with np.errstate(all="ignore"):
        terms = weights * losses.of_row(
            cast(loss.kernel, p.dtype), p, y.T, np.empty(p.shape, p.dtype)
        )
        return order.sum_rows(terms) / p.dtype.type(n)


@np.errstate(all="ignore")
def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    Numpy(1).step(cast(rule, params.dtype), params, grad, slots, numbers)


class Stepping(Numpy):
    """Steps by a backend's kernel, between calls of Python functions."""

    def __init__(self, kernel: Callable[..., None]) -> None:
        super().__init__(threads=1)
        self.kernel = kernel

    def step(self, rule: Any, params: Array, grad: Array, slots: Array, c: Any) -> None:
        """One update of the params."""
        self.kernel(rule, params, grad, slots, c)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function in Python; return the steps made, and why it ended."""
    kernels = Stepping(np.errstate(all="ignore")(Numpy(1).step))
    return _loops.minimize(kernels, fun, jac, cast(rule, x.dtype), x, *rest)


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    n, d = X.shape
    out = np.empty((n, outputs), params.dtype)
    whole = Rows(X, out, out[:1, 0])

    def fill(part: slice) -> None:
        with np.errstate(all="ignore"):
            out[part] = predictions(take(whole, part).X, outputs, params).T

    in_threads(fill, order.chunks(n, d, threads), threads)
    return out
