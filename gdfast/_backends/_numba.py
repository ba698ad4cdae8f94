"""The numba backend: the training loop compiled, with inner loops on scalars."""

import functools
import inspect
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload,
    overload_method,
    register_jitable,
    register_model,
    typeof_impl,
    unbox,
)

from gdfast import elementary, losses, optimizers, order, penalties
from gdfast._backends import _loops, _numpy, is_jitted
from gdfast._backends._jit import always, by_type, compiled, jitted
from gdfast._threads import in_threads
from gdfast.matrices import Rows
from gdfast.problem import Array, Log, Problem, State, cast

NAME = "numba"

BLOCK = order.BLOCK
LANES = order.LANES
# Where nothing is allocated: counting the references to arrays would cost more than what is computed.
UNCOUNTED: Any = {"_nrt": False}
METHOD_OPTIONS: Any = {
    name: {"jit_options": UNCOUNTED} for name in ("add", "numbers_of", "penalised_step", "step")
}


class Numba:
    """The inner loops on scalars. The methods of `gdfast._backends._numpy.Numpy`, one for one."""

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:  # noqa: ARG002
        return loss_sums

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:  # noqa: ARG002
        return tree(loss_sums.copy().reshape(-1, 1))[0] / loss_sums.dtype.type(n)

    def visits(self, keys: Array, n: int) -> Array:  # noqa: ARG002
        return keys  # each row is asked for when it is visited

    def gradient(self, rows, loss, keys, first, count, outputs, params, grad, epoch_loss, offset):
        sums = np.empty((parts(rows.X, count), len(params)), params.dtype)
        sum_parts(
            rows, loss, keys, first, count, outputs, params, 0, len(sums), sums, epoch_loss, offset
        )
        mean_gradient(sums, count, grad)

    def decay(self, penalty, params, outputs, fit_intercept, grad):
        width = len(params) // outputs
        for first in range(0, len(params), width):
            end = first + width - 1
            if penalty.l2 != 0:
                for j in range(first, end):
                    grad[j] += penalty.l2 * params[j]
            if not fit_intercept:
                grad[end] = 0

    def least_slopes(self, penalty, params, outputs, grad, slopes):
        width = len(params) // outputs
        for first in range(0, len(params), width):
            end = first + width - 1
            for j in range(first, end):
                slope = grad[j]
                if penalty.l1 != 0:
                    slope = penalties.least_slope(slope, params[j], penalty.l1)
                slopes[j] = slope
            slopes[end] = grad[end]

    def norm(self, grad, outputs):
        g = grad.reshape(outputs, -1)
        d = g.shape[1] - 1
        squares = dot(g, 0, g, 0, d, g[0]) + g[0, d] * g[0, d]
        for o in range(1, outputs):
            squares += dot(g, o, g, o, d, g[0]) + g[o, d] * g[o, d]
        return np.sqrt(squares)

    def within(self, grad, tol):
        inside = True
        for g in grad:
            inside = inside and abs(g) <= tol
        return inside

    def finite(self, params):
        return np.isfinite(params).all()

    def clip(self, grad, outputs, clip_norm):
        scale = clip_norm / (self.norm(grad, outputs) + elementary.like(clip_norm, 1e-6))
        if scale < 1:
            for j in range(len(grad)):
                grad[j] *= scale

    def numbers_of(self, numbers, step):
        row = numbers[min(step, len(numbers)) - 1]
        k = len(row) - 1
        # A tuple, which no store to params can change; the last number stands for those that no rule asks for.
        return row[0], row[min(1, k)], row[min(2, k)], row[min(3, k)], row[min(4, k)]

    def step(self, rule, params, grad, slots, c):
        for j in range(len(params)):
            params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)

    def penalised_step(self, rule, penalty, params, grad, slots, outputs, fit_intercept, c):
        if penalty.l1 == 0 and fit_intercept:
            self.step(rule, params, grad, slots, c)
            return
        width = len(params) // outputs
        for first in range(0, len(params), width):
            end = first + width - 1
            for j in range(first, end):
                params[j] = penalties.step(
                    rule, params[j], grad[j], slots, j, c, penalty.l1, penalty.proximal
                )
            if fit_intercept:
                params[end] = optimizers.step(rule, params[end], grad[end], slots, end, c)

    def add(self, params, total):
        for j in range(len(total)):
            total[j] += params[j]


class KernelsType(types.Dummy):
    """What `Numba` is to numba: nothing but its methods."""


@typeof_impl.register(Numba)
def _typeof(kernels: Numba, _: Any) -> KernelsType:  # noqa: ARG001
    return KernelsType("gdfast kernels")


@unbox(KernelsType)
def _unbox(_type: Any, _object: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


register_model(KernelsType)(models.OpaqueModel)


def dot(X, i, w, o, d, lanes):
    """Row i of X times row o of w, in the canonical order; `lanes` is room for the LANES sums of a sparse row."""
    raise NotImplementedError("numba calls one of the following")


@overload(dot, jit_options=UNCOUNTED)
def _dot(X, i, w, o, d, lanes):  # noqa: ARG001
    return dense_dot if isinstance(X, types.Array) else sparse_dot


def dense_dot(X, i, w, o, d, lanes):  # noqa: ARG001
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = elementary.like(w, 0.0)
    whole = d - d % LANES
    for j in range(0, whole, LANES):
        a0 += X[i, j] * w[o, j]
        a1 += X[i, j + 1] * w[o, j + 1]
        a2 += X[i, j + 2] * w[o, j + 2]
        a3 += X[i, j + 3] * w[o, j + 3]
        a4 += X[i, j + 4] * w[o, j + 4]
        a5 += X[i, j + 5] * w[o, j + 5]
        a6 += X[i, j + 6] * w[o, j + 6]
        a7 += X[i, j + 7] * w[o, j + 7]
    rest = d - whole
    if rest > 0:
        a0 += X[i, whole] * w[o, whole]
    if rest > 1:
        a1 += X[i, whole + 1] * w[o, whole + 1]
    if rest > 2:
        a2 += X[i, whole + 2] * w[o, whole + 2]
    if rest > 3:
        a3 += X[i, whole + 3] * w[o, whole + 3]
    if rest > 4:
        a4 += X[i, whole + 4] * w[o, whole + 4]
    if rest > 5:
        a5 += X[i, whole + 5] * w[o, whole + 5]
    if rest > 6:
        a6 += X[i, whole + 6] * w[o, whole + 6]
    return ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))


def sparse_dot(X, i, w, o, d, lanes):  # noqa: ARG001
    for lane in range(LANES):
        lanes[lane] = 0
    for q in range(X.indptr[i], X.indptr[i + 1]):
        column = X.indices[q]
        lanes[column % LANES] += X.data[q] * w[o, column]
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + (
        (lanes[4] + lanes[5]) + (lanes[6] + lanes[7])
    )


def add_row(X, i, c, g, o, d):
    """Add c times row i of X to row o of g."""
    raise NotImplementedError("numba calls one of the following")


@overload(add_row, jit_options=UNCOUNTED)
def _add_row(X, i, c, g, o, d):  # noqa: ARG001
    return add_dense if isinstance(X, types.Array) else add_sparse


def add_dense(X, i, c, g, o, d):
    for j in range(d):
        g[o, j] += c * X[i, j]


def add_sparse(X, i, c, g, o, d):  # noqa: ARG001
    for q in range(X.indptr[i], X.indptr[i + 1]):
        g[o, X.indices[q]] += c * X.data[q]


def parts(X, count):
    """How many sums so many rows are added to."""
    return -(-count // BLOCK) if isinstance(X, np.ndarray) else 1


@overload(parts)
def _parts(X, count):  # noqa: ARG001
    if isinstance(X, types.Array):
        return lambda X, count: -(-count // BLOCK)  # noqa: ARG005
    return lambda X, count: 1  # noqa: ARG005


@register_jitable(**UNCOUNTED)
def visit(position, keys, n, left_mask, right_bits, right_mask):
    """The row at this position of the epoch."""
    if len(keys) == 0:
        return position
    i = order.feistel(np.uint64(position), keys, left_mask, right_bits, right_mask)
    while i >= np.uint64(n):
        i = order.feistel(i, keys, left_mask, right_bits, right_mask)
    return np.int64(i)


def row_loss(X, y, weights, i, loss, params, scale, d, p, c, lanes):
    """The loss of row i; c becomes its derivatives times the weight of the row. The weights are scale * params."""
    raise NotImplementedError("numba calls one of the following")


@overload(row_loss, jit_options=UNCOUNTED)
def _row_loss(X, y, weights, i, loss, params, scale, d, p, c, lanes):  # noqa: ARG001
    return joint_loss if hasattr(loss.instance_class, "of_row") else sum_of_losses


def joint_loss(X, y, weights, i, loss, params, scale, d, p, c, lanes):
    for o in range(len(p)):
        p[o] = scale * dot(X, i, params, o, d, lanes) + params[o, d]
    s = weights[i] if len(weights) > 1 else weights[0]
    found = s * losses.of_row(loss, p, y[i], c)
    for o in range(len(p)):
        c[o] *= s
    return found


def sum_of_losses(X, y, weights, i, loss, params, scale, d, p, c, lanes):  # noqa: ARG001
    s = weights[i] if len(weights) > 1 else weights[0]
    prediction = scale * dot(X, i, params, 0, d, lanes) + params[0, d]
    total = losses.value(loss, prediction, y[i, 0])
    c[0] = s * losses.gradient(loss, prediction, y[i, 0])
    for o in range(1, len(c)):
        prediction = scale * dot(X, i, params, o, d, lanes) + params[o, d]
        total += losses.value(loss, prediction, y[i, o])
        c[o] = s * losses.gradient(loss, prediction, y[i, o])
    return s * total


@register_jitable
def sum_parts(
    rows, loss, keys, first, count, outputs, params, begin, end, sums, epoch_loss, offset
):
    """Parts begin, ..., end - 1 of the batch: their summed gradients, and their rows' losses."""
    X, y, weights = rows.X, rows.y, rows.weights
    network = order.halves(len(y))
    models = params.reshape(outputs, -1)
    p, c, lanes = room(outputs, params)
    size = count if parts(X, count) == 1 else BLOCK
    for part in range(begin, end):
        g = sums[part].reshape(outputs, -1)
        g[:] = 0
        position = first + part * size
        last = min(first + count, position + size)
        while position < last:
            k = (offset + position) // BLOCK
            block_end = min(last, (k + 1) * BLOCK - offset)
            epoch_loss[k] = add_rows(
                X,
                y,
                weights,
                loss,
                keys,
                network,
                position,
                block_end,
                models,
                p,
                c,
                lanes,
                g,
                epoch_loss[k],
            )
            position = block_end


@register_jitable(**UNCOUNTED)
def add_rows(X, y, weights, loss, keys, network, first, end, models, p, c, lanes, g, total):
    """Add the gradients of the rows at positions first, ..., end - 1 to g, and return their losses added to total."""
    n, d = len(y), models.shape[1] - 1
    left, bits, right = network
    one = elementary.like(models, 1.0)
    for position in range(first, end):
        i = visit(position, keys, n, left, bits, right)
        total += row_loss(X, y, weights, i, loss, models, one, d, p, c, lanes)
        for o in range(len(c)):
            add_row(X, i, c[o], g, o, d)
            g[o, d] += c[o]
    return total


@register_jitable
def room(outputs, like_these):
    """Room for a row's predictions, their derivatives, and the lanes of its products."""
    dtype = like_these.dtype
    return np.empty(outputs, dtype), np.empty(outputs, dtype), np.empty(LANES, dtype)


def per_sample(
    kernels,
    rows,
    loss,
    rule,
    penalty,
    keys,
    batch_size,  # noqa: ARG001
    outputs,
    fit_intercept,
    params,
    slots,
    total,
    averages_after,
    steps,
    numbers,
    before,
    epoch_loss,
    offset,
    slopes,
):
    return step_by_rows(
        kernels,
        rows.X,
        rows.y,
        rows.weights,
        loss,
        rule,
        penalty,
        keys,
        outputs,
        fit_intercept,
        params,
        params.reshape(outputs, -1),
        slots,
        total,
        averages_after,
        steps,
        numbers,
        before,
        epoch_loss,
        offset,
        slopes,
        slopes.reshape(outputs, -1),
        room(outputs, params),
    )


@register_jitable(**UNCOUNTED)
def step_by_rows(
    kernels,
    X,
    y,
    weights,
    loss,
    rule,
    penalty,
    keys,
    outputs,
    fit_intercept,
    params,
    models,
    slots,
    total,
    averages_after,
    steps,
    numbers,
    before,
    epoch_loss,
    offset,
    slopes,
    last,
    work,
):
    n, d = X.shape
    left, bits, right = order.halves(n)
    p, c, lanes = work
    one = elementary.like(params, 1.0)
    for k in range(len(epoch_loss)):
        block_loss = epoch_loss[k]
        for position in range(max(0, k * BLOCK - offset), min(n, (k + 1) * BLOCK - offset)):
            i = visit(position, keys, n, left, bits, right)
            block_loss += row_loss(X, y, weights, i, loss, models, one, d, p, c, lanes)
            if position == n - 1:
                for j in range(len(slopes)):
                    slopes[j] = 0
                for o in range(outputs):
                    add_row(X, i, c[o], last, o, d)
                    last[o, d] += c[o]
                kernels.decay(penalty, params, outputs, fit_intercept, slopes)
                kernels.least_slopes(penalty, params, outputs, slopes, slopes)
            steps += 1
            e = kernels.numbers_of(numbers, steps - before)
            for o in range(outputs):
                update_by_row(X, i, c[o], rule, penalty, models, o, d, slots, fit_intercept, e)
            if steps > averages_after:
                kernels.add(params, total)
        epoch_loss[k] = block_loss
    return steps


@register_jitable(**UNCOUNTED)
def update_by_row(X, i, c, rule, penalty, models, o, d, slots, fit_intercept, e):
    """A step of one output by one row."""
    first = o * (d + 1)
    if penalty.l1 == 0 and penalty.l2 == 0:
        for j in range(d):
            models[o, j] = optimizers.step(rule, models[o, j], X[i, j] * c, slots, first + j, e)
    else:
        for j in range(d):
            g = X[i, j] * c
            if penalty.l2 != 0:
                g += penalty.l2 * models[o, j]
            models[o, j] = penalties.step(
                rule, models[o, j], g, slots, first + j, e, penalty.l1, penalty.proximal
            )
    if fit_intercept:
        models[o, d] = optimizers.step(rule, models[o, d], c, slots, first + d, e)


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
    params,
    slots,
    total,  # noqa: ARG001
    averages_after,  # noqa: ARG001
    steps,
    numbers,
    before,
    epoch_loss,
    offset,
    slopes,
):
    """An epoch of steps that touch only the columns of their rows: `gdfast._backends._numpy.Lazy` says how."""
    X, y, weights = rows.X, rows.y, rows.weights
    n, d = len(y), X.features
    left, bits, right = order.halves(n)
    models = params.reshape(outputs, -1)
    p, c, lanes = room(outputs, params)
    sums = np.zeros_like(models)
    seen = np.zeros_like(models)
    marks = np.zeros(d, np.int64)
    touched = np.empty(d, np.int64)
    one, zero = elementary.like(params, 1.0), elementary.like(params, 0.0)
    scale, shift = one, zero
    l1, l2 = penalty.l1, penalty.l2
    for first in range(0, n, batch_size):
        end = min(n, first + batch_size)
        if end == n:
            catch_up(l1, models, scale, shift, seen)
            scale, shift = one, zero
        steps += 1
        count = 0
        for position in range(first, end):
            i = visit(position, keys, n, left, bits, right)
            for q in range(X.indptr[i], X.indptr[i + 1]):
                j = X.indices[q]
                if marks[j] != steps:
                    marks[j] = steps
                    touched[count] = j
                    count += 1
                    if l1 != 0:
                        for o in range(outputs):
                            models[o, j] = penalties.shrunk(models[o, j], shift - seen[o, j])
            epoch_loss[(offset + position) // BLOCK] += row_loss(
                X, y, weights, i, loss, models, scale, d, p, c, lanes
            )
            for o in range(outputs):
                add_row(X, i, c[o], sums, o, d)
                sums[o, d] += c[o]
        size = params.dtype.type(end - first)
        if end == n:
            slopes[:] = sums.reshape(-1) / size
            kernels.decay(penalty, params, outputs, fit_intercept, slopes)
            kernels.least_slopes(penalty, params, outputs, slopes, slopes)
        e = kernels.numbers_of(numbers, steps - before)
        shrink = zero
        if l1 != 0 or l2 != 0:
            scale *= one - e[0] * l2
            shrink = e[0] * l1 / scale
            shift += shrink
        for o in range(outputs):
            first_param = o * (d + 1)
            for j in touched[:count]:
                g = sums[o, j] / size / scale
                w = optimizers.step(rule, models[o, j], g, slots, first_param + j, e)
                if l1 != 0:
                    w = penalties.shrunk(w, shrink)
                    seen[o, j] = shift
                models[o, j] = w
                sums[o, j] = 0
            if fit_intercept:
                g = sums[o, d] / size
                models[o, d] = optimizers.step(rule, models[o, d], g, slots, first_param + d, e)
            sums[o, d] = 0
        if scale < _numpy.SMALLEST_SCALE:
            catch_up(l1, models, scale, shift, seen)
            scale, shift = one, zero
    catch_up(l1, models, scale, shift, seen)
    return steps


@overload_method(KernelsType, "fused_epoch")
@functools.wraps(per_sample)
def _fused_epoch(kernels, rows, *_):  # noqa: ARG001
    return per_sample if isinstance(rows.types[0], types.Array) else lazily


@register_jitable
def catch_up(l1, models, scale, shift, seen):
    """Make the models the weights themselves."""
    for o in range(models.shape[0]):
        for j in range(models.shape[1] - 1):
            if l1 != 0:
                models[o, j] = penalties.shrunk(models[o, j], shift - seen[o, j])
                seen[o, j] = 0
            models[o, j] *= scale


@register_jitable
def tree(parts):
    """Add rows in pairs of neighbours, level by level, into the first; overwrites parts."""
    reach = 1
    while reach < len(parts):
        for k in range(0, len(parts) - reach, 2 * reach):
            for j in range(parts.shape[1]):
                parts[k, j] += parts[k + reach, j]
        reach *= 2
    return parts[0]


@register_jitable
def mean_gradient(sums, count, grad):
    total = tree(sums)
    for j in range(len(grad)):
        grad[j] = total[j] / grad.dtype.type(count)


for name, default in (("value", None), ("gradient", None), ("of_row", losses.sum_of_outputs)):
    generic = getattr(losses, name)
    overload(generic, jit_options=UNCOUNTED)(by_type(generic, name, default))
overload(optimizers.step, jit_options=UNCOUNTED)(by_type(optimizers.step, "step"))
for name, method in inspect.getmembers(Numba, inspect.isfunction):
    overload_method(KernelsType, name, **METHOD_OPTIONS.get(name, {}))(always(method))
for helper in (
    elementary.sign,
    elementary.wide,
    elementary.exp,
    elementary.exp_of_difference,
    elementary.log1p,
    elementary.split,
    elementary.log_of,
    optimizers.decayed,
    optimizers.averaged,
    optimizers.mixed,
    order.mix,
    order.feistel,
    order.halves,
    penalties.shrunk,
    penalties.least_slope,
    penalties.on_side,
    penalties.step,
):
    register_jitable(helper)


@overload(elementary.like)
def like(x, number):  # noqa: ARG001
    dtype = getattr(x, "dtype", x)
    return lambda x, number: dtype(number)  # noqa: ARG005


def reinterpreted(kind):
    """The intrinsic that reads the bits of a number as one of this type."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(
            arguments[0], ir.DoubleType() if kind is types.float64 else ir.IntType(64)
        )

    @intrinsic
    def function(_typing_context, x):
        return kind(x), generate

    return function


_bits, _from_bits = reinterpreted(types.int64), reinterpreted(types.float64)


@overload(elementary.bits)
def bits(x):  # noqa: ARG001
    return lambda x: _bits(np.float64(x))


@overload(elementary.from_bits)
def from_bits(x):  # noqa: ARG001
    return lambda x: _from_bits(x)  # noqa: PLW0108  # numba wants a function


@overload(elementary.where)
def where(condition, a, b):  # noqa: ARG001
    return lambda condition, a, b: a if condition else b


@overload(_loops.value_and_gradient)
def value_and_gradient(fun, jac, x):  # noqa: ARG001
    if isinstance(jac, types.NoneType):

        def together(fun, jac, x):  # noqa: ARG001
            f, g = fun(x.copy())
            return number(f), gradient_like(g, x)

        return together
    return lambda fun, jac, x: (number(fun(x.copy())), gradient_like(jac(x.copy()), x))


def number(f):
    """A value that is a number, or an array of one."""
    return f


@overload(number)
def _number(f):
    if not isinstance(f, types.Array):
        return lambda f: f

    def only(f):
        if f.size != 1:
            raise ValueError("fun(x) must be a number")
        return f.flat[0]

    return only


def gradient_like(g, x):  # noqa: ARG001
    """A gradient that has the shape of x."""
    return g


@overload(gradient_like)
def _gradient_like(g, x):  # noqa: ARG001
    if not isinstance(g, types.Array):

        def of_one(g, x):
            if x.size != 1:
                raise ValueError("the gradient is a number, and x has more than one")
            return np.full(1, g)

        return of_one

    def checked(g, x):
        if g.size != x.size:
            raise ValueError("the gradient has another shape than x")
        return g

    return checked


_descend = compiled(_loops.descend)
_minimize = jitted(_loops.minimize)  # by users' functions: not for the cache on disk


@compiled
def _mean_loss(kernels, loss, p, y, weights):
    n = len(p)
    sums = np.zeros((n + BLOCK - 1) // BLOCK, p.dtype)
    sum_losses(loss, p, y, weights, np.empty(p.shape[1], p.dtype), sums)
    return kernels.mean_loss(sums, sums, n)


@register_jitable(**UNCOUNTED)
def sum_losses(loss, p, y, weights, c, sums):
    """The losses of the rows, whose predictions are given, by blocks."""
    for k in range(len(sums)):
        total = sums[k]
        for i in range(k * BLOCK, min(len(p), (k + 1) * BLOCK)):
            s = weights[i] if len(weights) > 1 else weights[0]
            total += s * losses.of_row(loss, p[i], y[i], c)
        sums[k] = total


@compiled
def _step(kernels, rule, params, grad, slots, numbers):
    kernels.step(rule, params, grad, slots, kernels.numbers_of(numbers.reshape(1, -1), 1))


@compiled
def _sum_parts(
    rows, loss, keys, first, count, outputs, params, begin, end, sums, epoch_loss, offset
):
    sum_parts(rows, loss, keys, first, count, outputs, params, begin, end, sums, epoch_loss, offset)


@compiled
def _predict(X, models, begin, end, out):
    d = models.shape[1] - 1
    lanes = np.empty(LANES, models.dtype)
    for i in range(begin, end):
        for o in range(len(models)):
            out[i, o] = dot(X, i, models, o, d, lanes) + models[o, d]


class Threaded(_numpy.Numpy):
    """The loop as it stands, for batches that are worth several threads: compiled sums of blocks, the rest in numpy."""

    def epoch_loss(self, loss_sums: Array, offset: int, n: int) -> Array:  # noqa: ARG002
        return loss_sums

    def visits(self, keys: Array, n: int) -> Array:  # noqa: ARG002
        return keys

    def mean_loss(self, epoch_loss: Array, loss_sums: Array, n: int) -> Any:  # noqa: ARG002
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
        sums = np.empty((parts(rows.X, count), len(params)), params.dtype)

        def fill(part: slice) -> None:
            _sum_parts(
                rows,
                loss,
                visits,
                first,
                count,
                outputs,
                params,
                part.start,
                part.stop,
                sums,
                epoch_loss,
                offset,
            )

        in_threads(fill, even_parts(len(sums), self.threads), self.threads)
        return order.tree(sums)


def even_parts(tasks: int, threads: int) -> list[slice]:
    """Cut 0, ..., tasks - 1 into a part for each thread."""
    parts = min(tasks, threads)
    return [slice(tasks * k // parts, tasks * (k + 1) // parts) for k in range(parts)]


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    if problem.batch_threads > 1 and problem.batch_size > 1 and not problem.fused:
        return _numpy.run(
            _loops.descend, Threaded(problem.batch_threads), problem, state, numbers, keys, log
        )
    return _numpy.run(_descend, Numba(), problem, state, numbers, keys, log)


def total(problem: Problem, params: Array) -> tuple[Array, Any]:
    """The sums over all rows of the gradient, (size,), and of the loss."""
    rows = problem.rows
    n = len(rows.y)
    loss = cast(problem.loss, problem.dtype)
    epoch_loss = np.zeros(-(-n // BLOCK), problem.dtype)
    unshuffled = np.empty(0, np.uint64)
    sums = Threaded(problem.batch_threads).sum_all(
        rows, loss, unshuffled, 0, n, problem.outputs, params, epoch_loss, 0
    )
    return sums, order.tree(epoch_loss)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions, (n, outputs)."""
    return p.dtype.type(_mean_loss(Numba(), cast(loss, p.dtype), p, y, weights))


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _step(Numba(), cast(rule, params.dtype), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function, one of numba's or in Python; return the steps made, and why it ended."""
    if is_jitted(fun) and (jac is None or is_jitted(jac)):
        done: tuple[int, int] = _minimize(Numba(), fun, jac, cast(rule, x.dtype), x, *rest)
        return done
    return _loops.minimize(_numpy.Stepping(step), fun, jac, rule, x, *rest)


def predict(X: Any, outputs: int, params: Array, threads: int) -> Array:
    """x.w + b for each row and output, (n, outputs)."""
    n = X.shape[0]
    out = np.empty((n, outputs), params.dtype)
    models = params.reshape(outputs, -1)

    def fill(part: slice) -> None:
        _predict(X, models, part.start, part.stop, out)

    in_threads(fill, even_parts(n, threads), threads)
    return out
