"""Steps of single rows on dense rows: row by row, and in groups of rows."""

import numpy as np
from numba.extending import overload, register_jitable

from gdfast import losses, optimizers
from gdfast._backends.numba import llvm
from gdfast._backends.numba.row_losses import find_losses, is_joint, losses_are_dear, with_values
from gdfast._backends.numba.rows import (
    AHEAD,
    BLOCK,
    CHUNK,
    GROUP,
    INLINED,
    UNCOUNTED,
    dot,
    fetched_ahead,
    group_ahead,
    group_at,
    visit,
    weight_of,
)
from gdfast._numerics import elementary


@register_jitable(**UNCOUNTED)
def by_rows(
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
    """The steps of rows one by one: of those that are left over by groups, or of all."""
    X, visited = rows.X, kernels.visited
    n, d = X.shape
    alone = n - n % GROUP if optimizers.plain(rule) else 0
    for k in range((offset + alone) // BLOCK, len(epoch_loss)):
        block_loss = epoch_loss[k]
        first = max(alone, k * BLOCK - offset)
        end = min(n, (k + 1) * BLOCK - offset)
        visit(kernels, keys, n, first, end)
        for at in range(end - first):
            i = visited[at]
            for o in range(outputs):
                w = o * (d + 1)
                kernels.p[o, 0] = dot(X, i, params, w, d) + params[w + d]
            find_losses(kernels, rows, loss, at, at + 1)
            block_loss += kernels.lost[0]
            if first + at == n - 1:
                for o in range(outputs):
                    find_slopes(X, i, kernels.c[o, 0], slopes, o * (d + 1))
                kernels.decay(penalty, params, outputs, fit_intercept, slopes)
                kernels.least_slopes(penalty, params, outputs, fit_intercept, True, slopes, slopes)
            steps += 1
            e = kernels.numbers_of(numbers, steps - before)
            x = X[i]
            for o in range(outputs):
                c, b = kernels.c[o, 0], o * (d + 1) + d
                w, s = params[b - d : b], slots[:, b - d : b]
                for j in range(d):
                    g = x[j] * c
                    if penalty is not None:
                        if penalty.l2 != 0:
                            g += penalty.l2 * w[j]
                        w[j] = optimizers.penalised_step(
                            rule, w[j], g, s, j, e, penalty.l1, penalty.proximal
                        )
                    else:
                        w[j] = optimizers.step(rule, w[j], g, s, j, e)
                if fit_intercept:
                    params[b] = optimizers.step(rule, params[b], c, slots, b, e)
            if steps > averages_after:
                kernels.add(params, total)
        epoch_loss[k] = block_loss
    return steps


@register_jitable(**UNCOUNTED)
def find_slopes(X, i, c, slopes, first):
    """The gradient of row i by the params of an output."""
    d = X.shape[1]
    for j in range(d):
        slopes[first + j] = c * X[i, j]
    slopes[first + d] = c


def by_groups(
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
    """The steps of whole groups, as `gdfast._numerics.order` says, and then the others."""
    X, visited, w = rows.X, kernels.visited, kernels.sums[0]
    n, d = X.shape
    grouped = n - n % GROUP
    width, wide = d + 1, len(w) // outputs
    one, slope = params.dtype.type(fit_intercept), params.dtype.type(losses.linear(loss) or 1)
    last_rate = len(numbers) - 1
    ahead = fetched_ahead(X)
    for o in range(outputs):
        for j in range(d):
            w[o * wide + j] = params[o * width + j]
        w[o * wide + wide - 1] = params[o * width + d]
    for k in range((offset + grouped + BLOCK - 1) // BLOCK):
        first = max(0, k * BLOCK - offset)
        end = min(grouped, (k + 1) * BLOCK - offset)
        visit(kernels, keys, n, first, min(n, end + AHEAD))
        block_loss = epoch_loss[k]
        for at in range(0, end - first, GROUP):
            i = group_at(visited, at)
            s0, s1, s2, s3 = (
                weight_of(rows, i[0]),
                weight_of(rows, i[1]),
                weight_of(rows, i[2]),
                weight_of(rows, i[3]),
            )
            e = steps - before
            a = (
                slope * (numbers[np.uintp(min(e, last_rate)), 0] * s0),
                slope * (numbers[np.uintp(min(e + 1, last_rate)), 0] * s1),
                slope * (numbers[np.uintp(min(e + 2, last_rate)), 0] * s2),
                slope * (numbers[np.uintp(min(e + 3, last_rate)), 0] * s3),
            )
            averaged = steps - averages_after
            later = group_ahead(visited, at, ahead, len(keys) > 0)
            r = at % CHUNK
            l0, l1, l2, l3 = step_group(
                kernels, X, rows.y, loss, i, r, a, one, w, total, averaged, later
            )
            steps += GROUP
            if not losses_are_dear(loss):
                block_loss = (((block_loss + s0 * l0) + s1 * l1) + s2 * l2) + s3 * l3
            elif r == CHUNK - GROUP or at == end - first - GROUP:
                block_loss = with_values(kernels, rows, loss, at - r, at + GROUP, block_loss)
            if first + at + GROUP == n:
                for o in range(outputs):
                    find_slopes(X, i[3], s3 * kernels.c[o, 3], slopes, o * width)
                    if not fit_intercept:
                        slopes[o * width + d] = 0
        epoch_loss[k] = block_loss
    for o in range(outputs):
        for j in range(d):
            params[o * width + j] = w[o * wide + j]
        params[o * width + d] = w[o * wide + wide - 1]
    return by_rows(
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
    )


@register_jitable(**INLINED)
def start_of_row(loss, b, y):
    """The start of a row's prediction, to which its product is added, and its target; of residuals, no target."""
    residuals = losses.linear(loss) > 0
    return (b - y if residuals else b), (elementary.like(y, 0.0) if residuals else y)


@register_jitable(**INLINED)
def step_of_row(loss, anchor, change, p, y):
    """The derivative of the loss, or the residual, by which a step goes."""
    return p if losses.linear(loss) > 0 else losses.gradient_near(loss, anchor, change, p, y)


def step_group(kernels, X, y, loss, i, r, a, one, w, total, averaged, later):
    """The steps of the rows i, whose rates times weights are a; their losses, or, from r on in p, their predictions."""
    p, c, d = kernels.p, kernels.c, X.shape[1]
    wide = len(w) // len(p)
    a0, a1, a2, a3 = a
    p0, p1, p2, p3, h10, h20, h21, h30, h31, h32 = llvm.group_products(X, i, w, 0, d, later[:2])
    h10, h20, h30 = a0 * (h10 + one), a0 * (h20 + one), a0 * (h30 + one)
    h21, h31 = a1 * (h21 + one), a1 * (h31 + one)
    h32 = a2 * (h32 + one)
    l0 = l1 = l2 = l3 = one
    none = elementary.like(one, 0.0)
    for o in range(len(p)):
        if o > 0:
            p0, p1, p2, p3 = llvm.products(X, i, w, o * wide, d, ())
        b = w[np.uintp(o * wide + wide - 1)]
        b0, y0 = start_of_row(loss, b, y[np.uintp(i[0]), o])
        b1, y1 = start_of_row(loss, b, y[np.uintp(i[1]), o])
        b2, y2 = start_of_row(loss, b, y[np.uintp(i[2]), o])
        b3, y3 = start_of_row(loss, b, y[np.uintp(i[3]), o])
        p0, p1, p2, p3 = p0 + b0, p1 + b1, p2 + b2, p3 + b3
        e1, e2, e3 = (
            losses.anchor(loss, p1, y1),
            losses.anchor(loss, p2, y2),
            losses.anchor(loss, p3, y3),
        )
        q0 = p0
        d0 = step_of_row(loss, losses.anchor(loss, p0, y0), none, q0, y0)
        q1 = p1 - d0 * h10
        d1 = step_of_row(loss, e1, none - d0 * h10, q1, y1)
        q2 = (p2 - d0 * h20) - d1 * h21
        d2 = step_of_row(loss, e2, (none - d0 * h20) - d1 * h21, q2, y2)
        q3 = ((p3 - d0 * h30) - d1 * h31) - d2 * h32
        d3 = step_of_row(loss, e3, ((none - d0 * h30) - d1 * h31) - d2 * h32, q3, y3)
        if losses_are_dear(loss):
            p[o, r], p[o, r + 1], p[o, r + 2], p[o, r + 3] = q0, q1, q2, q3
        else:
            v0, v1 = losses.value(loss, q0, y0), losses.value(loss, q1, y1)
            v2, v3 = losses.value(loss, q2, y2), losses.value(loss, q3, y3)
            if o == 0:
                l0, l1, l2, l3 = v0, v1, v2, v3
            else:
                l0, l1, l2, l3 = l0 + v0, l1 + v1, l2 + v2, l3 + v3
        c[o, 3] = losses.gradient(loss, q3, y3) if losses.linear(loss) > 0 else d3
        move(X, i, (a0 * d0, a1 * d1, a2 * d2, a3 * d3), one, w, o, wide, total, averaged, later)
    return l0, l1, l2, l3


@overload(step_group, jit_options=INLINED)
def _step_group(kernels, X, y, loss, i, r, a, one, w, total, averaged, later):
    return step_joint_group if is_joint(loss) else step_group


def step_joint_group(kernels, X, y, loss, i, r, a, one, w, total, averaged, later):
    p, c, d = kernels.p, kernels.c, X.shape[1]
    wide = len(w) // len(p)
    a0, a1, a2, a3 = a
    p0, p1, p2, p3, h10, h20, h21, h30, h31, h32 = llvm.group_products(X, i, w, 0, d, later[:2])
    h10, h20, h30 = a0 * (h10 + one), a0 * (h20 + one), a0 * (h30 + one)
    h21, h31 = a1 * (h21 + one), a1 * (h31 + one)
    h32 = a2 * (h32 + one)
    for o in range(len(p)):
        if o > 0:
            p0, p1, p2, p3 = llvm.products(X, i, w, o * wide, d, ())
        b = w[np.uintp(o * wide + wide - 1)]
        p[o, 0], p[o, 1], p[o, 2], p[o, 3] = p0 + b, p1 + b, p2 + b, p3 + b
    l0 = losses.of_row(loss, p[:, 0], y[i[0]], c[:, 0])
    for o in range(len(p)):
        p[o, 1] -= c[o, 0] * h10
        p[o, 2] -= c[o, 0] * h20
        p[o, 3] -= c[o, 0] * h30
    l1 = losses.of_row(loss, p[:, 1], y[i[1]], c[:, 1])
    for o in range(len(p)):
        p[o, 2] -= c[o, 1] * h21
        p[o, 3] -= c[o, 1] * h31
    l2 = losses.of_row(loss, p[:, 2], y[i[2]], c[:, 2])
    for o in range(len(p)):
        p[o, 3] -= c[o, 2] * h32
    l3 = losses.of_row(loss, p[:, 3], y[i[3]], c[:, 3])
    for o in range(len(p)):
        factors = a0 * c[o, 0], a1 * c[o, 1], a2 * c[o, 2], a3 * c[o, 3]
        move(X, i, factors, one, w, o, wide, total, averaged, later)
    return l0, l1, l2, l3


@register_jitable(**INLINED)
def move(X, i, c, one, w, o, wide, total, averaged, later):
    """Take c times the rows from the weights of an output. Of the steps before, `averaged` are in the total."""
    c0, c1, c2, c3 = c
    d = X.shape[1]
    first, b = o * wide, np.uintp(o * wide + wide - 1)
    if len(total) == 0 or averaged + GROUP <= 0:
        llvm.add_rows(X, i, (-c0, -c1, -c2, -c3), w, first, d, later[2:])
        if one != 0:
            w[b] = (((w[b] - c0) - c1) - c2) - c3
    else:
        for r in range(GROUP):
            llvm.add_rows(X, (i[r],), (-c[r],), w, first, d, ())
            if one != 0:
                w[b] -= c[r]
            if averaged + r >= 0:
                t = o * (d + 1)
                for j in range(d):
                    total[t + j] += w[first + j]
                total[t + d] += w[b]
