"""The record of the inner loops, whose methods the training loop calls."""

import functools
import math
from typing import NamedTuple, Self

import numpy as np
from numba.core import types

from gdfast import optimizers
from gdfast._backends.numba import llvm
from gdfast._backends.numba.gradients import add_tree, sum_parts
from gdfast._backends.numba.lazy_sparse import lazily
from gdfast._backends.numba.row_steps import by_groups, by_rows
from gdfast._backends.numba.rows import AHEAD, BLOCK, CHUNK, LANES, five
from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._numerics import elementary, penalties
from gdfast._typing import Array


class Plain(NamedTuple):
    """The rule of `optimizers.SGD` where it is plain, and without penalties: the steps of rows go in groups."""

    def step(self, w, g, s, j, c):
        return w - c[0] * g


class Numba(NamedTuple):
    """The inner loops, and room for them. The methods of `gdfast._backends.numpy.kernels.Numpy`, one for one."""

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
    def of(cls, rows: Dataset, outputs: int, batch_size: int, blocks: int = 0) -> Self:
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


@functools.wraps(by_rows)
def _fused_epoch(kernels, rows, loss, rule, *_):
    if not isinstance(rows.types[0], types.Array):
        return lazily
    return by_groups if rule.instance_class is Plain else by_rows
