"""The numba backend: the training loop compiled, with inner loops on vectors and scalars.

A function costs some tens of milliseconds to compile, and again wherever it is called from one that is compiled for
itself: so there are few, nothing is allocated in them, and a fit compiles what its options ask for.
"""

import functools
import inspect
import math
from typing import Any, NamedTuple, Self

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import overload, overload_method, register_jitable

from gdfast import losses, optimizers
from gdfast._backends import is_jitted, loops
from gdfast._backends import numpy as numpy_backend
from gdfast._backends.numba import llvm
from gdfast._backends.numba.jit import always, by_type, compiled, jitted
from gdfast._backends.problem import Log, Problem, State, cast, longest_period
from gdfast._backends.threads import in_threads
from gdfast._data.csr import Csr
from gdfast._data.matrices import Rows
from gdfast._numerics import elementary, order, penalties
from gdfast._typing import Array

NAME = "numba"

BLOCK, GROUP, LANES = order.BLOCK, order.GROUP, order.LANES
CHUNK = 32  # rows whose losses are found side by side
AHEAD = 128  # how many rows at most before its turn one is looked for, to be fetched
SPARSE_AHEAD = 16  # how many before the entries of a sparse row are fetched; twice as many before, where they begin
# Where nothing is allocated: counting the references to arrays would cost more than what is computed.
UNCOUNTED: Any = {"_nrt": False}
# Where a call would cost more than what is computed: an array is passed as ten words.
INLINED: Any = {"forceinline": True, **UNCOUNTED}
# In the innermost loops an index is made np.uintp: a signed one might count from the end, and numba looks.


class Plain(NamedTuple):
    """The rule of `optimizers.SGD` where it is plain, and without penalties: the steps of rows go in groups."""

    def step(self, w, g, s, j, c):
        return w - c[0] * g


class Numba(NamedTuple):
    """The inner loops, and room for them. The methods of `gdfast._backends.numpy.Numpy`, one for one."""

    visited: Array  # (BLOCK + 2 * AHEAD,), rows in the order of the visits
    p: Array  # (outputs, CHUNK), predictions
    c: Array  # (outputs, CHUNK), derivatives of the losses by them
    lost: Array  # (CHUNK,), losses
    targets: Array  # (outputs, CHUNK)
    weights: Array  # (CHUNK,)
    sums: Array  # (parts, outputs * wide), gradients: each output's features, in whole vectors, and its intercept
    blocks: Array  # (blocks, 1), losses
    touched: Array  # (features,), which columns a sparse step has met
    marks: Array  # (features,), the step that met them last
    seen: Array  # (size,), how much of the shrinking they have seen

    @classmethod
    def of(cls, rows: Rows, outputs: int, batch_size: int, blocks: int = 0) -> Self:
        """Room for steps by so many rows, or for less, and for the losses of so many blocks."""
        dtype, d = rows.y.dtype, rows.X.shape[1]
        sparse = isinstance(rows.X, Csr)
        parts = 1 if sparse else -(-batch_size // BLOCK)
        wide = d if sparse else -(-d // LANES) * LANES
        return cls(
            np.empty(BLOCK + 2 * AHEAD, np.int64),
            np.empty((outputs, CHUNK), dtype),
            np.empty((outputs, CHUNK), dtype),
            np.empty(CHUNK, dtype),
            np.empty((outputs, CHUNK), dtype),
            np.empty(CHUNK, dtype),
            np.zeros((parts, outputs * (wide + 1)), dtype),
            np.empty((blocks, 1), dtype),
            np.empty(d * sparse, np.int64),
            np.zeros(d * sparse, np.int64),
            np.zeros(outputs * (d + 1) * sparse, dtype),
        )

    def epoch_loss(self, loss_sums, offset, n):
        return loss_sums

    def mean_loss(self, epoch_loss, loss_sums, n):
        for k in range(len(loss_sums)):
            self.blocks[k, 0] = loss_sums[k]
        add_tree(self.blocks, len(loss_sums))
        return self.blocks[0, 0] / loss_sums.dtype.type(n)

    def visits(self, keys, n):
        return keys  # a block at a time is asked for

    def gradient(self, rows, loss, keys, first, count, outputs, params, grad, epoch_loss, offset):
        parts = min(len(self.sums), -(-count // BLOCK))
        sum_parts(self, rows, loss, keys, first, count, params, 0, parts, epoch_loss, offset)
        add_tree(self.sums, parts)
        total = self.sums[0]
        width, wide = len(params) // outputs, len(total) // outputs
        size = params.dtype.type(count)
        for o in range(outputs):
            for j in range(width - 1):
                grad[o * width + j] = total[o * wide + j] / size
            grad[o * width + width - 1] = total[o * wide + wide - 1] / size

    def decay(self, penalty, params, outputs, fit_intercept, grad):
        width = len(params) // outputs
        if penalty is not None and penalty.l2 != 0:
            for o in range(outputs):
                for j in range(o * width, o * width + width - 1):
                    grad[j] += penalty.l2 * params[j]
        if not fit_intercept:
            for o in range(outputs):
                grad[o * width + width - 1] = 0

    def least_slopes(self, penalty, params, outputs, fit_intercept, decays, grad, slopes):
        for j in range(len(grad)):
            slopes[j] = grad[j]
        if penalty is not None:
            width = len(params) // outputs
            for o in range(outputs):
                b = o * width + width - 1
                if decays and penalty.weight_decay != 0:
                    for j in range(o * width, b + fit_intercept):
                        slopes[j] += penalty.weight_decay * params[j]
                if penalty.l1 != 0:
                    for j in range(o * width, b):
                        slopes[j] = penalties.least_slope(slopes[j], params[j], penalty.l1)

    def objective(self, loss, penalty, params, outputs, fit_intercept, room):
        if penalty is None:
            return loss
        width = len(params) // outputs
        half, zero = params.dtype.type(0.5), params.dtype.type(0)
        absolute = squares = all_squares = total = zero
        if penalty.l1 != 0:
            for j in range(len(params)):
                room[j] = 1 if params[j] >= 0 else -1
            for o in range(outputs):
                absolute += llvm.dot(params, o * width, room, o * width, width - 1)
            total = penalty.l1 * absolute
        if penalty.l2 != 0 or penalty.weight_decay != 0:
            for o in range(outputs):
                b = params[o * width + width - 1] if fit_intercept else zero
                s = llvm.dot(params, o * width, params, o * width, width - 1)
                squares += s
                all_squares += s + b * b
        if penalty.l2 != 0:
            total += half * penalty.l2 * squares
        if penalty.weight_decay != 0:
            total += half * penalty.weight_decay * all_squares
        return loss + total

    def sum_of_squares(self, grad, outputs):
        width = len(grad) // outputs
        squares = llvm.dot(grad, 0, grad, 0, width - 1) + grad[width - 1] * grad[width - 1]
        for o in range(1, outputs):
            b = grad[o * width + width - 1]
            squares += llvm.dot(grad, o * width, grad, o * width, width - 1) + b * b
        return squares

    def divide_by_largest(self, grad):
        largest = grad.dtype.type(0)
        for g in grad:
            largest = elementary.where(abs(g) > largest, abs(g), largest)
        if largest > 0:
            for j in range(len(grad)):
                grad[j] /= largest
        return largest

    def norm(self, grad, outputs):
        squares = self.sum_of_squares(grad, outputs)
        limits = np.finfo(grad.dtype)
        if limits.tiny / limits.eps <= squares <= limits.max:
            return np.sqrt(squares)
        largest = self.divide_by_largest(grad)
        return largest * np.sqrt(self.sum_of_squares(grad, outputs))

    def within(self, grad, tol):
        inside = True
        for g in grad:
            inside = inside and abs(g) <= tol
        return inside

    def rests(self, grad, params, decay, tol):
        inside = True
        for j in range(len(grad)):
            inside = inside and abs(grad[j] + decay * params[j]) <= tol
        return inside

    def finite(self, params):
        inside = True
        for w in params:
            inside = inside and math.isfinite(w)
        return inside

    def kept(self, penalty, params, outputs, grad, slopes, clip_norm):
        one = grad.dtype.type(1)
        if clip_norm == np.inf:
            return one
        self.least_slopes(penalty, params, outputs, True, False, grad, slopes)
        kept = clip_norm / (self.norm(slopes, outputs) + grad.dtype.type(1e-6))
        return kept if kept < 1 else one

    def scale(self, grad, kept):
        for j in range(len(grad)):
            grad[j] *= kept

    def numbers_of(self, numbers, step):
        return five(numbers[min(step, len(numbers)) - 1])

    def step(self, rule, params, grad, slots, c):
        for j in range(len(params)):
            params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)

    def penalised_step(self, rule, penalty, kept, params, grad, slots, outputs, fit_intercept, c):
        if fit_intercept and (penalty is None or penalty.l1 == 0):
            for j in range(len(params)):
                params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)
            return
        width = len(params) // outputs
        for o in range(outputs):
            b = o * width + width - 1
            w, g, s = params[o * width : b], grad[o * width : b], slots[:, o * width : b]
            for j in range(width - 1):
                if penalty is not None:
                    l1 = penalty.l1 * kept
                    w[j] = optimizers.penalised_step(
                        rule, w[j], g[j], s, j, c, l1, penalty.proximal
                    )
                else:
                    w[j] = optimizers.step(rule, w[j], g[j], s, j, c)
            if fit_intercept:
                params[b] = optimizers.step(rule, params[b], grad[b], slots, b, c)

    def add(self, params, total):
        for j in range(len(total)):
            total[j] += params[j]

    def copy(self, source, target):
        for j in range(len(source)):
            target[j] = source[j]


def dot(X, i, w, first, d):
    """Row i of X times d numbers of w, in the canonical order."""
    return llvm.products(X, (i,), w, first, d, ())[0]


@overload(dot, jit_options=INLINED)
def _dot(X, i, w, first, d):
    return dot if isinstance(X, types.Array) else sparse_dot


def sparse_dot(X, i, w, first, d):
    start = X.indptr[i]
    rest = (X.indptr[i + 1] - start) % LANES
    end = X.indptr[i + 1] - rest
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = w.dtype.type(0)
    for q in range(start, end, LANES):
        a0 += term(X, q, w, first)
        a1 += term(X, q + 1, w, first)
        a2 += term(X, q + 2, w, first)
        a3 += term(X, q + 3, w, first)
        a4 += term(X, q + 4, w, first)
        a5 += term(X, q + 5, w, first)
        a6 += term(X, q + 6, w, first)
        a7 += term(X, q + 7, w, first)
    if rest > 0:
        a0 += term(X, end, w, first)
    if rest > 1:
        a1 += term(X, end + 1, w, first)
    if rest > 2:
        a2 += term(X, end + 2, w, first)
    if rest > 3:
        a3 += term(X, end + 3, w, first)
    if rest > 4:
        a4 += term(X, end + 4, w, first)
    if rest > 5:
        a5 += term(X, end + 5, w, first)
    if rest > 6:
        a6 += term(X, end + 6, w, first)
    return ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))


@register_jitable(**INLINED)
def term(X, q, w, first):
    """Entry q of X times what it meets among the numbers of w from `first` on."""
    return X.data[np.uintp(q)] * w[column_of(X, q, first)]


@register_jitable(**INLINED)
def column_of(X, q, first):
    """Where entry q of X belongs among numbers from `first` on."""
    return np.uintp(first + X.indices[np.uintp(q)])


@register_jitable(**INLINED)
def add_sparse(X, i, c, g, first):
    """Add c times row i of X to the numbers of g from `first` on."""
    for q in range(X.indptr[i], X.indptr[i + 1]):
        g[column_of(X, q, first)] += c * X.data[np.uintp(q)]


@register_jitable(**INLINED)
def five(row):
    """A tuple, which no store to params can change; the last number stands for those that no rule asks for."""
    k = len(row) - 1
    return row[0], row[min(1, k)], row[min(2, k)], row[min(3, k)], row[min(4, k)]


@register_jitable(**UNCOUNTED)
def visit(kernels, keys, n, first, end):
    """The rows at positions first, ..., end - 1, and after them the last of these again, for who looks ahead."""
    visited = kernels.visited
    count = end - first
    if len(keys) == 0:
        for at in range(count):
            visited[at] = first + at
    else:
        lefts, bits, mask = order.halves(n)
        key = (
            np.uint32(keys[0]),
            np.uint32(keys[1]),
            np.uint32(keys[2]),
            np.uint32(keys[3]),
            np.uint32(keys[4]),
            np.uint32(keys[5]),
            np.uint32(keys[6]),
            np.uint32(keys[7]),
        )
        for at in range(count):
            visited[at] = np.int64(order.feistel(np.uint64(first + at), key, lefts, bits, mask))
        for at in range(count):  # few land outside, unless there are few rows
            while visited[at] >= n:
                i = np.uint64(visited[at])
                visited[at] = np.int64(order.feistel(i, key, lefts, bits, mask))
    for at in range(count, count + AHEAD):
        visited[at] = visited[count - 1]


@register_jitable(**INLINED)
def group_at(visited, at):
    """A group of the rows visited."""
    return visited[at], visited[at + 1], visited[at + 2], visited[at + 3]


@register_jitable(**INLINED)
def fetched_ahead(X):
    """The distance at which a row is fetched before its turn: 64 KB of rows, at least a GROUP; 0 where that is long."""
    row = X.shape[1] * X.itemsize
    if GROUP * row > 128 * 1024:
        return 0
    return max(GROUP, min(AHEAD, 64 * 1024 // row // GROUP * GROUP))


@register_jitable(**INLINED)
def group_ahead(visited, at, ahead, shuffled):
    """The group that comes `ahead` rows later, to be fetched: rows that are known, or that need not exist."""
    if shuffled:
        return group_at(visited, at + ahead)
    i = visited[at] + ahead
    return i, i + 1, i + 2, i + 3


@register_jitable(**INLINED)
def weight_of(rows, i):
    return rows.weights[np.uintp(i)] if len(rows.weights) > 1 else rows.weights[0]


def find_values(kernels, rows, loss, first, end):
    """The losses of the rows at visits first, ..., end - 1, at most CHUNK, times the weights. c has no meaning then."""
    p, lost, targets, weights = kernels.p, kernels.lost, kernels.targets, kernels.weights
    count = end - first
    for o in range(len(p)):
        for r in range(count):
            targets[o, r] = rows.y[kernels.visited[first + r], o]
        for r in range(count):
            value = losses.value(loss, p[o, r], targets[o, r])
            lost[r] = value if o == 0 else lost[r] + value
    for r in range(count):
        weights[r] = weight_of(rows, kernels.visited[first + r])
    for r in range(count):
        lost[r] *= weights[r]


@overload(find_values, jit_options=INLINED)
def _find_values(kernels, rows, loss, first, end):
    return find_joint_losses if is_joint(loss) else find_values


def find_losses(kernels, rows, loss, first, end):
    """The same, and their derivatives, times the weights."""
    find_values(kernels, rows, loss, first, end)
    p, c, targets, weights = kernels.p, kernels.c, kernels.targets, kernels.weights
    for o in range(len(c)):
        for r in range(end - first):
            c[o, r] = weights[r] * losses.gradient(loss, p[o, r], targets[o, r])


@overload(find_losses, jit_options=INLINED)
def _find_losses(kernels, rows, loss, first, end):
    return find_joint_losses if is_joint(loss) else find_losses


def find_joint_losses(kernels, rows, loss, first, end):
    p, c = kernels.p, kernels.c
    for r in range(end - first):
        i = kernels.visited[first + r]
        s = weight_of(rows, i)
        kernels.lost[r] = s * losses.of_row(loss, p[:, r], rows.y[i], c[:, r])
        for o in range(len(c)):
            c[o, r] *= s


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
    """What a row's product is added to, and the target of the sum: of residuals, none."""
    residuals = losses.linear(loss) > 0
    return (b - y if residuals else b), (elementary.like(y, 0.0) if residuals else y)


@register_jitable(**INLINED)
def step_of_row(loss, anchor, change, p, y):
    """What a step goes by: the derivative of the loss, or the residual."""
    return p if losses.linear(loss) > 0 else losses.gradient_near(loss, anchor, change, p, y)


def with_values(kernels, rows, loss, first, end, total):
    """The total with the losses of the rows at visits first, ..., end - 1 added, whose predictions stand in p."""
    find_values(kernels, rows, loss, first, end)
    for r in range(end - first):
        total += kernels.lost[r]
    return total


@overload(with_values, jit_options=INLINED)
def _with_values(kernels, rows, loss, first, end, total):
    if hasattr(loss.instance_class, "anchor"):
        return with_values
    return lambda kernels, rows, loss, first, end, total: total


def losses_are_dear(loss):
    """Whether the losses of groups are found for many rows at once, where they wait for no step."""
    return hasattr(loss, "anchor")


@overload(losses_are_dear, jit_options=INLINED)
def _losses_are_dear(loss):
    dear = hasattr(loss.instance_class, "anchor")
    return lambda loss: dear


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


def is_joint(loss):
    """Whether the loss of a row is no sum over its outputs."""
    return hasattr(loss.instance_class, "of_row")


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
    """Steps that touch only the columns of their rows: `gdfast._backends.numpy.Lazy` says how."""
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
        if left == 1 or scales[0] < numpy_backend.SMALLEST_SCALE:
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
        if i > 0 and scale < numpy_backend.SMALLEST_SCALE:
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


@register_jitable(**INLINED)
def fetch_row(X, visited, at):
    """Have a row that comes later brought to the cache, and where one that comes later still begins."""
    llvm.fetch(X.indptr, visited[at + 2 * SPARSE_AHEAD], 1)
    i = visited[at + SPARSE_AHEAD]
    start, count = X.indptr[i], X.indptr[i + 1] - X.indptr[i]
    llvm.fetch(X.data, start, count)
    llvm.fetch(X.indices, start, count)


def find_derivatives(kernels, rows, loss, r, i):
    """Those of the loss of row i by its predictions, which stand at r, times its weight."""
    for o in range(len(kernels.p)):
        c = losses.gradient(loss, kernels.p[o, r], rows.y[i, o])
        kernels.c[o, r] = weight_of(rows, i) * c


@overload(find_derivatives, jit_options=INLINED)
def _find_derivatives(kernels, rows, loss, r, i):
    return find_joint_derivatives if is_joint(loss) else find_derivatives


def find_joint_derivatives(kernels, rows, loss, r, i):
    losses.of_row(loss, kernels.p[:, r], rows.y[i], kernels.c[:, r])
    for o in range(len(kernels.p)):
        kernels.c[o, r] *= weight_of(rows, i)


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


@functools.wraps(by_rows)
def _fused_epoch(kernels, rows, loss, rule, *_):
    if not isinstance(rows.types[0], types.Array):
        return lazily
    return by_groups if rule.instance_class is Plain else by_rows


@register_jitable(**INLINED)
def add_tree(parts, count):
    """Add the first `count` rows in pairs of neighbours, level by level, into the first; overwrites parts."""
    reach = 1
    while reach < count:
        for k in range(0, count - reach, 2 * reach):
            for j in range(parts.shape[1]):
                parts[k, j] += parts[k + reach, j]
        reach *= 2


def add_method(name: str, find: Any, **options: Any) -> None:
    """Have numba answer calls of this method by what is found; no record but `Numba` has it."""

    @functools.wraps(find)
    def found(self, *rest):
        return find(self, *rest) if self.instance_class is Numba else None

    overload_method(types.NamedTuple, name, **options)(found)


for name, default in (
    ("value", None),
    ("gradient", None),
    ("anchor", losses.no_anchor),
    ("gradient_near", losses.gradient_anywhere),
    ("of_row", losses.sum_of_outputs),
):
    generic = getattr(losses, name)
    overload(generic, jit_options=INLINED)(by_type(generic, name, default))
overload(optimizers.step, jit_options=INLINED)(by_type(optimizers.step, "step"))
overload(optimizers.factors, jit_options=INLINED)(by_type(optimizers.factors, "factors"))
overload(optimizers.drift, jit_options=INLINED)(by_type(optimizers.drift, "drift"))
overload(optimizers.fade, jit_options=INLINED)(by_type(optimizers.fade, "fade"))
for name, method in inspect.getmembers(Numba, inspect.isfunction):
    if not name.startswith("_"):
        add_method(name, always(method), jit_options=INLINED)
add_method("fused_epoch", _fused_epoch, jit_options=UNCOUNTED)
for helper in (
    elementary.sign,
    elementary.series_of_exp,
    elementary.exp,
    elementary.exp_of_difference,
    elementary.log1p,
    elementary.split,
    elementary.log_of,
    optimizers.decayed,
    optimizers.averaged,
    optimizers.mixed,
    order.scramble,
    order.feistel,
    order.halves,
    penalties.shrunk,
    penalties.least_slope,
    penalties.on_side,
    optimizers.penalised_step,
    longest_period,
):
    register_jitable(**INLINED)(helper)


@overload(losses.linear, jit_options=INLINED)
def linear(self):
    slope = losses.LINEAR.get(self.instance_class, 0)
    return lambda self: slope


@overload(optimizers.plain, jit_options=INLINED)
def plain(self):
    is_plain = self.instance_class is Plain
    return lambda self: is_plain


@overload(elementary.wide, jit_options=INLINED)
def widened(x):
    return lambda x: np.float64(x)  # noqa: PLW0108  # numba wants a function


@overload(elementary.like)
def like(x, number):
    dtype = getattr(x, "dtype", x)
    return lambda x, number: dtype(number)


def reinterpreted(kind):
    """The intrinsic that reads the bits of a number as one of this type."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(
            arguments[0], ir.DoubleType() if kind is types.float64 else ir.IntType(64)
        )

    @llvm.intrinsic
    def function(_typing_context, x):
        return kind(x), generate

    return function


_bits, _from_bits = reinterpreted(types.int64), reinterpreted(types.float64)


@overload(elementary.bits)
def bits(x):
    return lambda x: _bits(np.float64(x))


@overload(elementary.from_bits)
def from_bits(x):
    return lambda x: _from_bits(x)  # noqa: PLW0108  # numba wants a function


@overload(elementary.where)
def where(condition, a, b):
    return lambda condition, a, b: a if condition else b


@overload(loops.value_and_gradient)
def value_and_gradient(fun, jac, x, room):
    if isinstance(jac, types.NoneType):

        def together(fun, jac, x, room):
            room[:] = x
            f, g = fun(room)
            return number(f), gradient_like(g, x)

        return together

    def apart(fun, jac, x, room):
        room[:] = x
        f = number(fun(room))
        room[:] = x
        return f, gradient_like(jac(room), x)

    return apart


def number(f):
    """A value that is a number, or an array, a tuple or a list of one."""
    return f


@overload(number)
def _number(f):
    if isinstance(f, types.Number | types.Boolean):
        return lambda f: f

    def only(f):
        values = np.asarray(f)
        if values.size != 1:
            raise ValueError("fun(x) must be a number")
        return values.flat[0]

    return only


def gradient_like(g, x):
    """A gradient that has the shape of x: an array, a tuple or a list; or a number, where x is one."""
    return g


@overload(gradient_like)
def _gradient_like(g, x):
    if isinstance(g, types.Number | types.Boolean):

        def of_one(g, x):
            if x.size != 1:
                raise ValueError("the gradient is a number, and x has more than one")
            return np.full(1, g)

        return of_one

    flat = isinstance(g, types.Array) and g.ndim == 1

    def checked(g, x):
        values = g if flat else np.asarray(g).ravel()
        if values.size != x.size:
            raise ValueError("the gradient has another shape than x")
        return values

    return checked


_minimize = jitted(loops.minimize)
_descend = compiled(loops.descend)


def _descend_freely(kernels, rows, loss, rule, penalty, *rest):
    """The same without penalties: what only they need is not compiled."""
    rule = Plain() if optimizers.plain(rule) else rule
    return _descend(kernels, rows, loss, rule, None, *rest)


@compiled
def _sum_losses(loss, p, y, weights, room, sums):
    """The losses of the rows, whose predictions are given, by blocks."""
    some_p, some_y, lost = room
    last, last_weight = len(p) - 1, len(weights) - 1
    for first in range(0, len(y), CHUNK):
        count = min(len(y) - first, CHUNK)
        for o in range(p.shape[1]):
            for r in range(count):
                some_p[r], some_y[r] = p[min(first + r, last), o], y[first + r, o]
            for r in range(count):
                value = losses.value(loss, some_p[r], some_y[r])
                lost[r] = value if o == 0 else lost[r] + value
        total = sums[first // BLOCK]
        for r in range(count):
            total += weights[min(first + r, last_weight)] * lost[r]
        sums[first // BLOCK] = total


@compiled
def _sum_joint_losses(loss, p, y, weights, c, sums):
    """The same for a loss that is no sum over the outputs; c is room for its derivatives."""
    last, last_weight = len(p) - 1, len(weights) - 1
    for i in range(len(y)):
        lost = losses.of_row(loss, p[min(i, last)], y[i], c)
        sums[i // BLOCK] += weights[min(i, last_weight)] * lost


@compiled
def _step(rule, params, grad, slots, numbers):
    c = five(numbers)
    for j in range(len(params)):
        params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)


@compiled
def _sum_parts(kernels, rows, loss, keys, first, count, params, begin, end, epoch_loss, offset):
    sum_parts(kernels, rows, loss, keys, first, count, params, begin, end, epoch_loss, offset)


@compiled
def _predict(X, params, outputs, begin, end, out):
    d = len(params) // outputs - 1
    for i in range(begin, end):
        for w in range(0, len(params), d + 1):
            out[i, w // (d + 1)] = dot(X, i, params, w, d) + params[w + d]


class Threaded(numpy_backend.Numpy):
    """The loop as it stands, for batches that are worth several threads: compiled sums of blocks, the rest in numpy."""

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:
        return loss_sums

    def visits(self, keys: Array, n: int) -> Array:
        return keys

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:
        return order.tree(loss_sums) / loss_sums.dtype.type(n)

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
        grad[:] = self.sum_all(
            rows, loss, visits, first, count, outputs, params, epoch_loss, offset
        )
        grad /= grad.dtype.type(count)

    def sum_all(
        self,
        rows: Rows,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        outputs: int,
        params: Array,
        epoch_loss: Array,
        offset: int,
    ) -> Any:
        """The sum of the gradients of the rows at these positions."""
        kernels = Numba.of(rows, outputs, count)

        def fill(part: slice) -> None:
            own = Numba.of(rows, outputs, 1)._replace(sums=kernels.sums)
            _sum_parts(
                own,
                rows,
                loss,
                visits,
                first,
                count,
                params,
                part.start,
                part.stop,
                epoch_loss,
                offset,
            )

        in_threads(fill, even_parts(len(kernels.sums), self.threads), self.threads)
        by_output = order.tree(kernels.sums).reshape(outputs, -1)
        d = rows.X.shape[1]
        return np.delete(by_output, np.s_[d:-1], axis=1).ravel()


def even_parts(tasks: int, threads: int) -> list[slice]:
    """Cut 0, ..., tasks - 1 into a part for each thread."""
    parts = min(tasks, threads)
    return [slice(tasks * k // parts, tasks * (k + 1) // parts) for k in range(parts)]


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    if problem.batch_threads > 1 and problem.batch_size > 1 and not problem.fused:
        return numpy_backend.run(
            loops.descend, Threaded(problem.batch_threads), problem, state, numbers, keys, log
        )
    kernels = Numba.of(problem.rows, problem.outputs, problem.batch_size, len(log.sums))
    loop = _descend_freely if problem.penalty.free else _descend
    return numpy_backend.run(loop, kernels, problem, state, numbers, keys, log)


@np.errstate(all="ignore")
def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    rows = problem.rows
    n = len(rows.y)
    loss = cast(problem.loss.kernel, problem.dtype)
    epoch_loss = np.zeros(-(-n // BLOCK), problem.dtype)
    unshuffled = np.empty(0, np.uint64)
    sums = Threaded(problem.batch_threads).sum_all(
        rows, loss, unshuffled, 0, n, problem.outputs, params, epoch_loss, 0
    )
    return sums, order.tree(epoch_loss)


@np.errstate(all="ignore")
def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs), or (1, outputs) for all alike."""
    n, outputs = len(y), p.shape[1]
    sums = np.zeros(-(-n // BLOCK), p.dtype)
    if hasattr(loss, "of_row"):
        _sum_joint_losses(
            cast(loss.kernel, p.dtype), p, y, weights, np.empty(outputs, p.dtype), sums
        )
    else:
        room = tuple(np.empty((3, CHUNK), p.dtype))
        _sum_losses(cast(loss.kernel, p.dtype), p, y, weights, room, sums)
    return order.tree(sums) / p.dtype.type(n)


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _step(cast(rule, params.dtype), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function, one of numba's or in Python; return the steps made, and why it ended."""
    if is_jitted(fun) and (jac is None or is_jitted(jac)):
        done: tuple[int, int] = minimizer(fun, jac, x.dtype)(cast(rule, x.dtype), x, *rest)
        return done
    return loops.minimize(numpy_backend.Stepping(_step), fun, jac, cast(rule, x.dtype), x, *rest)


@functools.lru_cache(maxsize=64)
def minimizer(fun: Any, jac: Any, dtype: np.dtype[Any]) -> Any:
    """The loop for these functions. As its arguments, numba would tell their types anew in each call."""
    room = np.empty((1, 1), dtype)
    kernels = Numba.of(Rows(room, room, room[0]), 1, 1)  # rows are not needed

    def loop(rule, x, grad, slots, numbers, tol, bound, path, values, first, decay):
        return _minimize(
            kernels, fun, jac, rule, x, grad, slots, numbers, tol, bound, path, values, first, decay
        )

    return jitted(loop)  # not for the cache on disk, which knows no users' functions


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    n = X.shape[0]
    out = np.empty((n, outputs), params.dtype)

    def fill(part: slice) -> None:
        _predict(X, params, outputs, part.start, part.stop, out)

    in_threads(fill, even_parts(n, threads), threads)
    return out
