"""Sums of gradients over rows, by blocks."""

from numba.core import types
from numba.extending import overload, register_jitable

from gdfast._backends.numba import llvm
from gdfast._backends.numba.row_losses import find_losses
from gdfast._backends.numba.rows import (
    AHEAD,
    BLOCK,
    CHUNK,
    GROUP,
    INLINED,
    add_sparse,
    dot,
    fetched_ahead,
    group_ahead,
    group_at,
    visit,
)


def read_twice(X):
    """Rows that are in the nearest cache when they are read a second time: 16 KB, at least a GROUP, at most CHUNK."""
    return max(GROUP, min(CHUNK, 16 * 1024 // (X.shape[1] * X.itemsize) // GROUP * GROUP))


@overload(read_twice, jit_options=INLINED)
def _read_twice(X):
    return read_twice if isinstance(X, types.Array) else lambda X: CHUNK


@register_jitable(**INLINED)
def sum_parts(kernels, rows, loss, keys, first, count, params, begin, end, epoch_loss, offset):
    """Parts begin, ..., end - 1 of the batch: their summed gradients, and their rows' losses."""
    size = count if len(kernels.sums) == 1 else BLOCK
    most = read_twice(rows.X)
    for part in range(begin, end):
        g = kernels.sums[part]
        for j in range(len(g)):
            g[j] = 0
        position = first + part * size
        last = min(first + count, position + size)
        while position < last:
            k = (offset + position) // BLOCK
            block_end = min(last, (k + 1) * BLOCK - offset)
            visit(kernels, keys, len(rows.y), position, min(len(rows.y), block_end + AHEAD))
            total = epoch_loss[k]
            for at in range(0, block_end - position, most):
                stop = min(at + most, block_end - position)
                add_rows(kernels, rows, rows.X, loss, at, stop, len(keys) > 0, params, g)
                for r in range(stop - at):
                    total += kernels.lost[r]
            epoch_loss[k] = total
            position = block_end


def add_rows(kernels, rows, X, loss, first, end, shuffled, params, g):
    """Add the gradients of the rows at visits first, ..., end - 1, at most CHUNK, to g, and find their losses.

    GROUP of them are read side by side, and the rest one by one.
    """
    visited, p, c, d = kernels.visited, kernels.p, kernels.c, X.shape[1]
    outputs = len(p)
    wide = len(g) // outputs
    whole = (end - first) - (end - first) % GROUP
    ahead = fetched_ahead(X)
    for o in range(outputs):
        w = o * (d + 1)
        b = params[w + d]
        for r in range(0, whole, GROUP):
            i = group_at(visited, first + r)
            later = group_ahead(visited, first + r, ahead, shuffled)
            p0, p1, p2, p3 = llvm.products(X, i, params, w, d, later[:2])
            p[o, r], p[o, r + 1], p[o, r + 2], p[o, r + 3] = p0 + b, p1 + b, p2 + b, p3 + b
        for r in range(whole, end - first):
            p[o, r] = dot(X, visited[first + r], params, w, d) + b
    find_losses(kernels, rows, loss, first, end)
    for o in range(outputs):
        w = o * wide
        b = g[w + wide - 1]
        for r in range(0, whole, GROUP):
            i = group_at(visited, first + r)
            later = group_ahead(visited, first + r, ahead, shuffled)
            factors = c[o, r], c[o, r + 1], c[o, r + 2], c[o, r + 3]
            llvm.add_rows(X, i, factors, g, w, d, later[2:])
            b = (((b + factors[0]) + factors[1]) + factors[2]) + factors[3]
        for r in range(whole, end - first):
            llvm.add_rows(X, (visited[first + r],), (c[o, r],), g, w, d, ())
            b += c[o, r]
        g[w + wide - 1] = b


@overload(add_rows, jit_options=INLINED)
def _add_rows(kernels, rows, X, loss, first, end, shuffled, params, g):
    return add_rows if isinstance(X, types.Array) else add_sparse_rows


def add_sparse_rows(kernels, rows, X, loss, first, end, shuffled, params, g):
    p, d = kernels.p, X.features
    for o in range(len(p)):
        for r in range(end - first):
            i = kernels.visited[first + r]
            w = o * (d + 1)
            p[o, r] = dot(X, i, params, w, d) + params[w + d]
    find_losses(kernels, rows, loss, first, end)
    for o in range(len(p)):
        for r in range(end - first):
            add_sparse(X, kernels.visited[first + r], kernels.c[o, r], g, o * (d + 1))
            g[o * (d + 1) + d] += kernels.c[o, r]


@register_jitable(**INLINED)
def add_tree(parts, count):
    """Add the first `count` rows in pairs of neighbours, level by level, into the first; overwrites parts."""
    reach = 1
    while reach < count:
        for k in range(0, count - reach, 2 * reach):
            for j in range(parts.shape[1]):
                parts[k, j] += parts[k + reach, j]
        reach *= 2
