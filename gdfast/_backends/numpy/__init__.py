"""The numpy backend: whole blocks of rows at a time. Always there, and the plainest text of the kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdfast import losses, optimizers
from gdfast._backends import loops
from gdfast._backends.numpy.row_groups import step_groups
from gdfast._backends.problem import Log, Pending, Problem, State, cast, longest_period
from gdfast._backends.threads import check_stopped, in_threads
from gdfast._data.csr import Csr
from gdfast._data.matrices import Rows, all_within
from gdfast._numerics import elementary, order, penalties
from gdfast._typing import Array

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


class Lazy:
    """Steps that touch only the columns that their rows hold. csrc/lazy.hpp has the same.

    What the penalties do to the other weights is made up for when they are next touched: the weights are scale *
    params, and params are behind by ``shift - seen`` of shrinking (Langford, Li and Zhang 2009, "Sparse online learning
    via truncated gradient"; Lipton and Elkan 2015, "Efficient elastic net regularization for sparse linear models").

    So is what an average adds up meanwhile, and what a rule that coasts does with a gradient of 0.
    `gdfast._numerics.order` has the sums: of a column that step a of a period has touched last, and step b touches
    next. Each is a difference of
    what is to come after a and after b, which tables hold for the steps of the period. A period has as many steps as
    there are columns, so that going through all of them at its end costs no more than the steps do.
    """

    def __init__(
        self,
        rule: Any,
        penalty: Any,
        outputs: int,
        fit_intercept: bool,
        clip_norm: Any,
        params: Array,
        slots: Array,
        total: Array,
        averages_after: int,
        pending: Pending,
    ) -> None:
        self.rule, self.penalty, self.pending = rule, penalty, pending
        self.fit_intercept, self.clip_norm = fit_intercept, clip_norm
        self.params, self.slots, self.total = params, slots, total
        self.averages_after = averages_after
        self.firsts = np.arange(outputs)[:, None] * (len(params) // outputs)
        self.d = len(params) // outputs - 1
        self.zero = params.dtype.type(0)
        self.sums = np.zeros_like(params)

    def ends(self, steps: int) -> bool:
        """Whether a period ends after so many steps."""
        before, length = self.pending.period.tolist()
        return bool(steps >= before + length)

    def begin(self, steps: int, rates: Array) -> None:
        """Begin a period after so many steps, of as many as there are rates, or fewer."""
        pending, length = self.pending, len(rates)
        pending.period[:] = steps, length
        tables = pending.tables
        if len(tables) == 3:
            l1, l2 = self.penalty.l1, self.penalty.l2
            scale, shift = pending.scales
            scales = np.multiply.accumulate(np.append(scale, 1 - rates * l2))
            small = np.flatnonzero(scales[1:] < SMALLEST_SCALE)
            if len(small) > 0:
                length = int(small[0]) + 1
                pending.period[1] = length
            scales, rates = scales[: length + 1], rates[:length]
            shifts = np.add.accumulate(np.append(shift, rates * l1 / scales[1:]))
            tables[:, length + 1] = 0
            ahead, shift_at, behind = tables[:, : length + 1]
            shift_at[:] = shifts
            ahead[:] = scales
            ahead[: self.first_counted()] = 0
            ahead[:] = np.add.accumulate(ahead[::-1])[::-1]
            behind[length] = 0
            shrinking = np.diff(shift_at) * ahead[1:]
            behind[:length] = np.add.accumulate(shrinking[::-1])[::-1]
        elif len(tables) == 4:
            kept, momentum = map(float, optimizers.factors(self.rule))
            for row, factor in zip(tables[:2], (kept, momentum), strict=True):
                row[0] = 1
                row[1 : length + 2] = factor
                np.multiply.accumulate(row[: length + 2], out=row[: length + 2])
            tables[2:, length : length + 2] = 0
            way = area = 0.0
            counts = self.counted(np.arange(1, length + 1), length + 1).tolist()
            ahead = []
            for rate, count in zip(reversed(rates.tolist()), reversed(counts), strict=True):
                area = momentum * (rate * count + area)
                way = momentum * (rate + way)
                ahead.append((way, area))
            tables[2:, :length] = np.array(ahead[::-1]).T

    def first_counted(self) -> int:
        """The first step of the period after which the iterate counts for the average."""
        return max(1, self.averages_after - int(self.pending.period[0]) + 1)

    def counted(self, a: Any, b: Any) -> Any:
        """The number of iterates after steps a, ..., b - 1 of the period that count in the average."""
        first = self.first_counted()
        since = np.where(a > first, a, first)
        return np.where(b > since, b - since, 0).astype(np.float64)

    def step(
        self,
        steps: int,
        rows: Rows,
        loss: Any,
        c: Any,
        row_losses: Array,
        slopes: Array | None,
    ) -> None:
        """A step for these rows, which with it are so many; `slopes`, if given, becomes those before it."""
        l1, l2 = self.penalty.l1, self.penalty.l2
        params, pending, sums = self.params, self.pending, self.sums
        count = params.dtype.type(len(row_losses))
        outputs = len(self.firsts)
        at = steps - int(pending.period[0])
        _, firsts = np.unique(rows.X.indices, return_index=True)
        columns = rows.X.indices[np.sort(firsts)]
        which = (self.firsts + columns).ravel()
        if len(pending.since) > 0:
            self.bring(columns, at)
            pending.since[columns] = at
        if l1 != 0:
            behind = pending.scales[1] - pending.seen[which]
            params[which] = penalties.shrunk(params[which], behind)
        add_gradients(rows, loss, outputs, params, pending.scales[0], sums, row_losses)
        if slopes is not None:
            kernels, mean = Numpy(1), sums / count
            kernels.decay(self.penalty, params, outputs, self.fit_intercept, mean)
            kernels.least_slopes(
                self.penalty, params, outputs, self.fit_intercept, True, mean, slopes
            )
        shrink = self.zero
        if l1 != 0 or l2 != 0:
            pending.scales[0] *= 1 - c[0] * l2
            shrink = c[0] * l1 / pending.scales[0]
            pending.scales[1] += shrink
        b = self.firsts[:, 0] + self.d
        g, g_b = sums[which] / count / pending.scales[0], sums[b] / count
        sums[which] = 0
        sums[b] = 0
        if self.clip_norm != np.inf:
            factor = self.clipping(g.reshape(outputs, -1), g_b)
            g, g_b = g * factor, g_b * factor
        params[which] = optimizers.step(self.rule, params[which], g, self.slots, which, c)
        if l1 != 0:
            params[which] = penalties.shrunk(params[which], shrink)
            pending.seen[which] = pending.scales[1]
        if self.fit_intercept:
            params[b] = optimizers.step(self.rule, params[b], g_b, self.slots, b, c)
        if len(self.total) > 0 and steps > self.averages_after:
            self.total[b] += params[b]
        if self.ends(steps):
            self.settle()
        if pending.scales[0] < SMALLEST_SCALE:
            self.catch_up()

    def clipping(self, g: Array, g_b: Array) -> Any:
        """The factor that clips the gradient, given in its columns (outputs, k) and for the intercepts."""
        norm = self.norm(g, g_b if self.fit_intercept else g_b[:0])
        factor = self.clip_norm / (norm + elementary.like(norm, 1e-6))
        return factor if factor < 1 else self.zero + 1

    def norm(self, g: Array, g_b: Array) -> Any:
        """The Euclidean norm; in units of its largest component where squares overflow or terms that count are lost."""
        squares = self.sum_of_squares(g, g_b)
        limits = np.finfo(g.dtype)
        if limits.tiny / limits.eps <= squares <= limits.max:
            return np.sqrt(squares)
        largest = np.abs(np.concatenate([g.ravel(), g_b])).max(initial=0)
        if not largest > 0:
            return squares
        return largest * np.sqrt(self.sum_of_squares(g / largest, g_b / largest))

    @staticmethod
    def sum_of_squares(g: Array, g_b: Array) -> Any:
        """The sum of the squares of the gradient; without intercepts, g_b is empty."""
        outputs, k = g.shape
        terms = np.zeros((max(1, -(-k // order.LANES)) * order.LANES, outputs), g.dtype)
        terms[:k] = (g * g).T
        squares = order.sum_features(terms)
        if len(g_b) > 0:
            squares += g_b * g_b
        return np.add.accumulate(squares)[-1]

    def bring(self, columns: Any, b: int) -> None:
        """Make up for what has happened to these columns before step b of the period."""
        a = self.pending.since[columns]
        counted = self.counted(a, b)
        for first in self.firsts[:, 0]:
            which = first + columns
            if len(self.pending.tables) == 4:
                self.coast(which, a, b, counted)
            elif len(self.total) > 0:
                if len(self.pending.tables) == 3:
                    self.total[which] += self.sum_shrinking(which, a, b)
                else:
                    self.total[which] += counted * self.params[which]

    def sum_shrinking(self, which: Array, a: Array, b: int) -> Any:
        """The sum of what these weights are after steps a, ..., b - 1 of the period."""
        ahead, shift_at, behind = self.pending.tables
        params = self.params[which]
        if self.penalty.l1 == 0:
            return params * (ahead[a] - ahead[b])
        last = int(self.pending.period[1])
        size = abs(params).astype(np.float64) - (shift_at[a] - self.pending.seen[which])
        end = np.searchsorted(shift_at[: last + 1], size + shift_at[a])  # where nothing is left
        end = np.clip(end, a, b)
        shrinking = (behind[a] - behind[end]) - (shift_at[end] - shift_at[a]) * ahead[end]
        sums = size * (ahead[a] - ahead[end]) - shrinking
        return np.where(size > 0, np.where(params < 0, -sums, sums), 0.0)

    def coast(self, which: Array, a: Array, b: int, counted: Array) -> None:
        """Make up for the steps since a in which the gradient of these params was 0."""
        kept, momentum, way, area = self.pending.tables
        params, slots, k = self.params, self.slots, b - 1 - a
        dtype = params.dtype
        drift = optimizers.drift(self.rule, slots, which)
        if len(self.total) > 0:
            later = momentum[b - a]
            rest = self.counted(b, int(self.pending.period[1]) + 1)
            path = area[a] - (way[a] - later * way[b]) * rest - later * area[b]
            self.total[which] += counted * params[which] - path * drift
        moved = (way[a] - momentum[k] * way[b - 1]).astype(dtype)
        params[which] = params[which] - moved * drift
        optimizers.fade(self.rule, slots, which, kept[k].astype(dtype), momentum[k].astype(dtype))

    def settle(self) -> None:
        """Bring all columns to the end of the period."""
        if len(self.pending.since) > 0:
            self.bring(np.arange(self.d), int(self.pending.period[1]) + 1)
            self.pending.since[:] = 0

    def catch_up(self) -> None:
        """Make params the weights themselves."""
        if self.penalty.l1 == 0 and self.penalty.l2 == 0:
            return
        scales = self.pending.scales
        w = self.params.reshape(len(self.firsts), -1)[:, :-1]
        if self.penalty.l1 != 0:
            seen = self.pending.seen.reshape(len(self.firsts), -1)[:, :-1]
            w[:] = penalties.shrunk(w, scales[1] - seen)
            seen[:] = 0
        w *= scales[0]
        scales[:] = 1, 0


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
    return run(loops.descend, Numpy(problem.batch_threads), problem, state, numbers, keys, log)


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
            state.pending,
            state.start,
            None if problem.fused else np.empty_like(state.params),
            np.zeros_like(state.params),
            state.steps,
            numbers,
            keys,
            log.loss,
            log.objective,
            log.grad_norm,
            log.params,
            log.sums,
            log.offset,
            problem.to_come,
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
    return loops.minimize(kernels, fun, jac, cast(rule, x.dtype), x, *rest)


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
