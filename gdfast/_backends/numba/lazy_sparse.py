"""Steps on sparse rows that touch only the columns which the rows hold; the rest is made up for later."""

import numpy as np
from numba.core import types
from numba.extending import overload, register_jitable

from gdfast import optimizers
from gdfast._backends.numba.row_losses import find_derivatives, find_losses, find_values
from gdfast._backends.numba.rows import (
    AHEAD,
    BLOCK,
    CHUNK,
    INLINED,
    LANES,
    UNCOUNTED,
    add_sparse,
    column_of,
    dot,
    fetch_row,
    visit,
)
from gdfast._backends.numpy.lazy_sparse import SMALLEST_SCALE
from gdfast._backends.problem import longest_period
from gdfast._numerics import elementary, penalties


def lazily(
    kernels,
    rows,
    loss,
    rule,
    penalty,
    keys,
    batch_size,
    outputs,
    fit_intercept,
    clip_norm,
    params,
    slots,
    total,
    averages_after,
    pending,
    steps,
    numbers,
    before,
    epoch_loss,
    offset,
    to_come,
    slopes,
):
    """Steps that touch only the columns of their rows: `gdfast._backends.numpy.lazy_sparse.Lazy` says how."""
    n, d = len(rows.y), rows.X.features
    alone = 0
    if optimizers.plain(rule) and batch_size == 1 and clip_norm == np.inf:
        alone = n - 1 if to_come == 0 else n
        steps = step_sparse_rows(
            kernels,
            rows,
            loss,
            rule,
            keys,
            alone,
            outputs,
            fit_intercept,
            params,
            slots,
            total,
            averages_after,
            pending,
            steps,
            numbers,
            before,
            epoch_loss,
            offset,
            to_come,
        )
    X, visited, touched, marks = rows.X, kernels.visited, kernels.touched, kernels.marks
    sums, scales, seen, since = kernels.sums[0], pending.scales, pending.seen, pending.since
    one, zero = params.dtype.type(1), params.dtype.type(0)
    l1, l2 = zero, zero
    if penalty is not None:
        l1, l2 = penalty.l1, penalty.l2
    for first in range(alone, n, batch_size):
        end = min(n, first + batch_size)
        left = (n - first + to_come + batch_size - 1) // batch_size
        if left == 1:
            catch_up(l1, params, outputs, scales, seen)
        if steps >= pending.period[0] + pending.period[1]:
            begin_period(rule, penalty, pending, averages_after, steps, left, d, numbers, before)
        steps += 1
        step = steps - pending.period[0]
        count = 0
        for position in range(first, end):
            at = position % BLOCK
            if at == 0 or position == alone:
                visit(kernels, keys, n, position - at, min(n, position - at + BLOCK))
            i = visited[at]
            for q in range(X.indptr[i], X.indptr[i + 1]):
                j = X.indices[q]
                if marks[j] != steps:
                    marks[j] = steps
                    touched[count] = j
                    count += 1
                    if len(since) > 0:
                        bring(rule, penalty, params, slots, total, averages_after, pending, j, step)
                        since[j] = step
                    if l1 != 0:
                        for w in range(0, len(params), d + 1):
                            behind = scales[1] - seen[w + j]
                            params[w + j] = penalties.shrunk(params[w + j], behind)
            for o in range(outputs):
                w = o * (d + 1)
                product = dot(X, i, params, w, d)
                kernels.p[o, 0] = scales[0] * product + params[w + d]
            find_losses(kernels, rows, loss, at, at + 1)
            epoch_loss[(offset + position) // BLOCK] += kernels.lost[0]
            for o in range(outputs):
                add_sparse(X, i, kernels.c[o, 0], sums, o * (d + 1))
                sums[o * (d + 1) + d] += kernels.c[o, 0]
        size = params.dtype.type(end - first)
        if left == 1:
            for j in range(len(slopes)):
                slopes[j] = sums[j] / size
            kernels.decay(penalty, params, outputs, fit_intercept, slopes)
            kernels.least_slopes(penalty, params, outputs, fit_intercept, True, slopes, slopes)
        e = kernels.numbers_of(numbers, steps - before)
        shrink, factor = zero, one
        if l1 != 0 or l2 != 0:
            scales[0] *= one - e[0] * l2
            shrink = e[0] * l1 / scales[0]
            scales[1] += shrink
        scale, shift = scales[0], scales[1]
        if clip_norm != np.inf:
            norm = touched_norm(sums, size, touched, count, d, fit_intercept)
            factor = clip_norm / (norm + params.dtype.type(1e-6))
            factor = factor if factor < 1 else one
        for w in range(0, len(params), d + 1):
            for at in range(count):
                j = w + touched[at]
                g = sums[j] / size / scale * factor
                stepped = optimizers.step(rule, params[j], g, slots, j, e)
                if l1 != 0:
                    stepped = penalties.shrunk(stepped, shrink)
                    seen[j] = shift
                params[j] = stepped
                sums[j] = 0
            b = w + d
            if fit_intercept:
                g = sums[b] / size * factor
                params[b] = optimizers.step(rule, params[b], g, slots, b, e)
            sums[b] = 0
        end_step(rule, penalty, params, slots, total, averages_after, pending, steps, d)
        if left == 1 or scales[0] < SMALLEST_SCALE:
            catch_up(l1, params, outputs, scales, seen)
    return steps


@register_jitable(**INLINED)
def end_step(rule, penalty, params, slots, total, averages_after, pending, steps, d):
    """Add the intercepts to the sum of the iterates, and at the end of a period all that is put off."""
    if len(total) > 0 and steps > averages_after:
        for b in range(d, len(params), d + 1):
            total[b] += params[b]
    if len(pending.since) > 0 and steps >= pending.period[0] + pending.period[1]:
        for j in range(d):
            end = pending.period[1] + 1
            bring(rule, penalty, params, slots, total, averages_after, pending, j, end)
            pending.since[j] = 0


@register_jitable(**UNCOUNTED)
def touched_norm(sums, size, touched, count, d, fit_intercept):
    """The norm of the gradient, in the columns touched and for the intercepts, as `norm` has it."""
    one = sums.dtype.type(1)
    squares = touched_squares(sums, size, touched, count, d, fit_intercept, one)
    limits = np.finfo(sums.dtype)
    if limits.tiny / limits.eps <= squares <= limits.max:
        return np.sqrt(squares)
    largest = sums.dtype.type(0)
    for w in range(0, len(sums), d + 1):
        for at in range(count + fit_intercept):
            g = abs(sums[w + (touched[at] if at < count else d)] / size)
            largest = elementary.where(g > largest, g, largest)
    if not largest > 0:
        return squares
    return largest * np.sqrt(touched_squares(sums, size, touched, count, d, fit_intercept, largest))


@register_jitable(**UNCOUNTED)
def touched_squares(sums, size, touched, count, d, fit_intercept, unit):
    """The sum of the squares of the gradient, in this unit."""
    squares = sums.dtype.type(0)
    for w in range(0, len(sums), d + 1):
        a0 = squares_of_lane(sums, size, touched, w, 0, count, unit)
        a1 = squares_of_lane(sums, size, touched, w, 1, count, unit)
        a2 = squares_of_lane(sums, size, touched, w, 2, count, unit)
        a3 = squares_of_lane(sums, size, touched, w, 3, count, unit)
        a4 = squares_of_lane(sums, size, touched, w, 4, count, unit)
        a5 = squares_of_lane(sums, size, touched, w, 5, count, unit)
        a6 = squares_of_lane(sums, size, touched, w, 6, count, unit)
        a7 = squares_of_lane(sums, size, touched, w, 7, count, unit)
        part = ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))
        if fit_intercept:
            b = sums[w + d] / size / unit
            part += b * b
        squares = part if w == 0 else squares + part
    return squares


@register_jitable(**UNCOUNTED)
def squares_of_lane(sums, size, touched, w, lane, count, unit):
    total = sums.dtype.type(0)
    for at in range(lane, count, LANES):
        g = sums[w + touched[at]] / size / unit
        total += g * g
    return total


@register_jitable(**UNCOUNTED)
def begin_period(rule, penalty, pending, averages_after, steps, left, d, numbers, before):
    """Begin a period after so many steps, and fill its tables."""
    length = min(longest_period(d), max(1, left - 1))
    pending.period[0] = steps
    if len(pending.tables) == 3:
        length = fill_shrinking(penalty, pending, averages_after, length, numbers, steps - before)
    if len(pending.tables) == 4:
        fill_coasting(rule, pending, averages_after, length, numbers, steps - before)
    pending.period[1] = length


def fill_shrinking(penalty, pending, averages_after, length, numbers, made):
    """Fill the tables of averages of weights that shrink; how many steps the period has."""
    tables = pending.tables
    l1, l2 = penalty.l1, penalty.l2
    scale, shift = pending.scales[0], pending.scales[1]
    first, last_rate = first_counted(averages_after, pending), len(numbers) - 1
    for i in range(length + 1):
        if i > 0:
            rate = numbers[min(made + i - 1, last_rate), 0]
            scale *= elementary.like(scale, 1.0) - rate * l2
            shift += rate * l1 / scale
        tables[0, i] = scale if i >= first else 0
        tables[1, i] = shift
        if i > 0 and scale < SMALLEST_SCALE:
            length = i
            break
    for row in range(3):
        tables[row, length + 1] = 0
    tables[2, length] = 0
    for i in range(length - 1, -1, -1):
        ahead = tables[0, i + 1]
        tables[0, i] += ahead
        tables[2, i] = tables[2, i + 1] + (tables[1, i + 1] - tables[1, i]) * ahead
    return length


@overload(fill_shrinking)
def _fill_shrinking(penalty, pending, averages_after, length, numbers, made):
    if isinstance(penalty, types.NoneType):
        return lambda penalty, pending, averages_after, length, numbers, made: length
    return fill_shrinking


@register_jitable(**INLINED)
def first_counted(averages_after, pending):
    """The first step of the period after which the iterate counts for the average."""
    return max(1, averages_after - pending.period[0] + 1)


@register_jitable(**INLINED)
def counted(first, a, b):
    """The number of iterates after steps a, ..., b - 1 of the period that count in the average."""
    return np.float64(max(0, b - max(a, first)))


def fill_coasting(rule, pending, averages_after, length, numbers, made):
    """Fill the tables of a rule that coasts."""
    kept, momentum, way, area = pending.tables
    keep, keep_way = optimizers.factors(rule)
    first, last_rate = first_counted(averages_after, pending), len(numbers) - 1
    kept[0] = momentum[0] = 1
    for i in range(1, length + 2):
        kept[i] = kept[i - 1] * np.float64(keep)
        momentum[i] = momentum[i - 1] * np.float64(keep_way)
    way[length] = way[length + 1] = area[length] = area[length + 1] = 0
    for i in range(length - 1, -1, -1):
        rate = np.float64(numbers[min(made + i, last_rate), 0])
        area[i] = np.float64(keep_way) * (rate * counted(first, i + 1, length + 1) + area[i + 1])
        way[i] = np.float64(keep_way) * (rate + way[i + 1])


@overload(fill_coasting)
def _fill_coasting(rule, pending, averages_after, length, numbers, made):
    if hasattr(rule.instance_class, "drift"):
        return fill_coasting
    return lambda rule, pending, averages_after, length, numbers, made: None


@register_jitable(**UNCOUNTED)
def bring(rule, penalty, params, slots, total, averages_after, pending, column, b):
    """Make up for what has happened to a column before step b of the period."""
    a = np.int64(pending.since[column])
    first = first_counted(averages_after, pending)
    d = len(pending.since)
    if len(pending.tables) == 4:
        coast(rule, params, slots, total, pending, column, a, b, first)
    elif len(pending.tables) == 3:
        for j in range(column, len(params), d + 1):
            total[j] += sum_shrinking(penalty, params, pending, j, a, b)
    else:
        count = counted(first, a, b)
        for j in range(column, len(params), d + 1):
            total[j] += count * params[j]


def sum_shrinking(penalty, params, pending, j, a, b):
    """The sum of what a weight is after steps a, ..., b - 1 of the period."""
    tables = pending.tables
    w = np.float64(params[j])
    if penalty.l1 == 0:
        return w * (tables[0, a] - tables[0, b])
    size = abs(w) - (tables[1, a] - pending.seen[j])
    if not size > 0:
        return 0.0
    nothing_left = size + tables[1, a]
    end, beyond = np.int64(a), np.int64(b)
    while end < beyond:
        middle = (end + beyond) // 2
        if tables[1, middle] < nothing_left:
            end = middle + 1
        else:
            beyond = middle
    ahead = tables[0, end]
    shrinking = (tables[2, a] - tables[2, end]) - (tables[1, end] - tables[1, a]) * ahead
    found = size * (tables[0, a] - ahead) - shrinking
    return -found if w < 0 else found


@overload(sum_shrinking)
def _sum_shrinking(penalty, params, pending, j, a, b):
    if isinstance(penalty, types.NoneType):
        return lambda penalty, params, pending, j, a, b: 0.0
    return sum_shrinking


def coast(rule, params, slots, total, pending, column, a, b, first):
    """Make up for the steps since a in which the gradient of a column was 0."""
    kept, momentum, way, area = pending.tables
    d, k = len(pending.since), b - 1 - a
    moved = params.dtype.type(way[a] - momentum[k] * way[b - 1])
    keep, keep_way = params.dtype.type(kept[k]), params.dtype.type(momentum[k])
    count, later = counted(first, a, b), momentum[b - a]
    rest = counted(first, b, pending.period[1] + 1)
    path = area[a] - (way[a] - later * way[b]) * rest - later * area[b]
    for j in range(column, len(params), d + 1):
        drift = optimizers.drift(rule, slots, j)
        if len(total) > 0:
            total[j] += count * params[j] - path * drift
        params[j] = params[j] - moved * drift
        optimizers.fade(rule, slots, j, keep, keep_way)


@overload(coast)
def _coast(rule, params, slots, total, pending, column, a, b, first):
    if hasattr(rule.instance_class, "drift"):
        return coast
    return lambda rule, params, slots, total, pending, column, a, b, first: None


@register_jitable(**UNCOUNTED)
def step_sparse_rows(
    kernels,
    rows,
    loss,
    rule,
    keys,
    count,
    outputs,
    fit_intercept,
    params,
    slots,
    total,
    averages_after,
    pending,
    steps,
    numbers,
    before,
    epoch_loss,
    offset,
    to_come,
):
    """The steps of the first rows visited, one by one, with the bits of batches of one row."""
    X, visited, c, since = rows.X, kernels.visited, kernels.c, pending.since
    n, d = len(rows.y), X.features
    last_rate = len(numbers) - 1
    zero = params.dtype.type(0)
    for position in range(count):
        at = position % BLOCK
        r = at % CHUNK
        if at == 0:
            visit(kernels, keys, n, position, min(n, position + BLOCK + AHEAD))
        if len(keys) > 0:
            fetch_row(X, visited, at)
        i = visited[at]
        if len(since) > 0:
            if steps >= pending.period[0] + pending.period[1]:
                left = n - position + to_come
                begin_period(rule, None, pending, averages_after, steps, left, d, numbers, before)
            step = steps + 1 - pending.period[0]
            for q in range(X.indptr[i], X.indptr[i + 1]):
                j = X.indices[q]
                bring(rule, None, params, slots, total, averages_after, pending, j, step)
                since[j] = step
        for o in range(outputs):
            w = o * (d + 1)
            kernels.p[o, r] = dot(X, i, params, w, d) + params[w + d]
        find_derivatives(kernels, rows, loss, r, i)
        rate = numbers[min(steps - before, last_rate), 0]
        for o in range(outputs):
            slope = c[o, r]
            if slope != 0:
                w = o * (d + 1)
                for q in range(X.indptr[i], X.indptr[i + 1]):
                    params[column_of(X, q, w)] -= rate * (zero + slope * X.data[np.uintp(q)])
                if fit_intercept:
                    params[w + d] -= rate * slope
        steps += 1
        if len(since) > 0:
            end_step(rule, None, params, slots, total, averages_after, pending, steps, d)
        if r == CHUNK - 1 or position == count - 1:
            find_values(kernels, rows, loss, at - r, at + 1)
            for q in range(r + 1):
                epoch_loss[(offset + position - r + q) // BLOCK] += kernels.lost[q]
    return steps


@register_jitable(**UNCOUNTED)
def catch_up(l1, params, outputs, scales, seen):
    """Make the params the weights themselves."""
    scale, shift = scales[0], scales[1]
    width = len(params) // outputs
    for w in range(0, len(params), width):
        for j in range(w, w + width - 1):
            if l1 != 0:
                params[j] = penalties.shrunk(params[j], shift - seen[j])
                seen[j] = 0
            params[j] *= scale
    scales[0], scales[1] = 1, 0
