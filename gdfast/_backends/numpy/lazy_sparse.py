"""Steps on sparse rows that touch only the columns which the rows hold; the rest is made up for later."""

from typing import Any

import numpy as np

from gdfast import optimizers
from gdfast._backends.numpy.gradients import add_gradients, decay, least_slopes
from gdfast._backends.problem import Pending
from gdfast._data.dataset import Dataset
from gdfast._numerics import elementary, order, penalties
from gdfast._typing import Array

SMALLEST_SCALE = 2.0**-20  # of a model whose weights are scale * params


class Lazy:
    """Steps that touch only the columns that their rows hold. csrc/kernels/lazy_sparse.hpp has the same.

    What the penalties do to the other weights is made up for when they are next touched: the weights are scale *
    params, and params are behind by ``shift - seen`` of shrinking (Langford, Li and Zhang 2009, "Sparse online learning
    via truncated gradient"; Lipton and Elkan 2015, "Efficient elastic net regularization for sparse linear models").

    So is what an average adds up meanwhile, and what a rule that coasts does with a gradient of 0.
    `gdfast._numerics.order` has the sums: of a column that step a of a period has touched last, and step b touches
    next. Each is a difference of what is to come after a and after b, which tables hold for the steps of the period. A
    period has as many steps as there are columns, so that going through all of them at its end costs no more than the
    steps do.
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
        rows: Dataset,
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
            mean = sums / count
            decay(self.penalty, params, outputs, self.fit_intercept, mean)
            least_slopes(self.penalty, params, outputs, self.fit_intercept, True, mean, slopes)
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
