"""The numba backend: the training loop compiled, with inner loops on scalars."""

import inspect
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import (
    NativeValue,
    models,
    overload,
    overload_method,
    register_jitable,
    register_model,
    typeof_impl,
    unbox,
)

from gdfast import elementary, losses, optimizers, order
from gdfast._backends import _loops, _numpy, is_jitted
from gdfast._backends._jit import always, by_type, compiled, jitted
from gdfast.problem import Array, Log, Problem, State, cast

NAME = "numba"

BLOCK = order.BLOCK
LANES = order.LANES
# Where nothing is allocated: counting the references to arrays would cost more than what is computed.
UNCOUNTED: Any = {"_nrt": False}


class Numba:
    """The inner loops on scalars. The methods of `gdfast._backends._numpy.Numpy`, one for one."""

    def epoch_loss(self, y: Array) -> Any:
        return np.zeros((len(y) + BLOCK - 1) // BLOCK, y.dtype)

    def visits(self, keys: Array, n: int) -> Array:  # noqa: ARG002
        return keys  # each row is asked for when it is visited

    def mean_loss(self, epoch_loss: Array, n: int) -> Any:
        mean = tree(epoch_loss.reshape(-1, 1))[0] / epoch_loss.dtype.type(n)
        epoch_loss[:] = 0
        return mean

    def gradient(self, X, y, weights, loss, keys, first, count, params, grad, epoch_loss):
        sums = np.empty(((count + BLOCK - 1) // BLOCK, len(params)), X.dtype)
        block_sums(X, y, weights, loss, keys, first, count, params, 0, len(sums), sums, epoch_loss)
        mean_gradient(sums, count, grad)

    def per_sample(
        self,
        X,
        y,
        weights,
        loss,
        rule,
        keys,
        active,
        params,
        slots,
        total,
        averages_after,
        steps,
        numbers,
        before,
        epoch_loss,
        grad,
    ):
        n, d = X.shape
        left, bits, right = order.halves(n)
        c = params[d]
        i = 0
        for k in range(len(epoch_loss)):
            block_loss = epoch_loss[k]
            for position in range(k * BLOCK, min(n, (k + 1) * BLOCK)):
                i = visit(position, keys, n, left, bits, right)
                p = dot(X, i, params, d) + params[d]
                s = weights[i] if len(weights) > 1 else weights[0]
                block_loss += s * losses.value(loss, p, y[i])
                c = s * losses.gradient(loss, p, y[i])
                steps += 1
                e = self.numbers_of(numbers, steps - before)
                for j in range(d):
                    params[j] = optimizers.step(rule, params[j], X[i, j] * c, slots, j, e)
                if active > d:
                    params[d] = optimizers.step(rule, params[d], c, slots, d, e)
                if steps > averages_after:
                    self.add(params, total)
            epoch_loss[k] = block_loss
        for j in range(d):
            grad[j] = X[i, j] * c
        grad[d] = c
        grad[active:] = 0
        return steps

    def norm(self, grad: Array) -> Any:
        d = len(grad) - 1
        row = grad.reshape(1, -1)
        return np.sqrt(dot(row, 0, grad, d) + grad[d] * grad[d])

    def within(self, grad: Array, tol: Any) -> bool:
        inside = True
        for g in grad:
            inside = inside and abs(g) <= tol
        return inside

    def clip(self, grad: Array, clip_norm: Any) -> None:
        scale = clip_norm / (self.norm(grad) + elementary.like(clip_norm, 1e-6))
        if scale < 1:
            for j in range(len(grad)):
                grad[j] *= scale

    def numbers_of(self, numbers, step):
        row = numbers[min(step, len(numbers)) - 1]
        k = len(row) - 1
        # A tuple, which no store to params can change; the last number stands for those that no rule asks for.
        return row[0], row[min(1, k)], row[min(2, k)], row[min(3, k)], row[min(4, k)]

    def step(self, rule, params, grad, slots, active, c):
        for j in range(active):
            params[j] = optimizers.step(rule, params[j], grad[j], slots, j, c)

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


@register_jitable(**UNCOUNTED)
def dot(X, i, w, d):
    """Row i of X times w, in the canonical order."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = elementary.like(w, 0.0)
    whole = d - d % LANES
    for j in range(0, whole, LANES):
        a0 += X[i, j] * w[j]
        a1 += X[i, j + 1] * w[j + 1]
        a2 += X[i, j + 2] * w[j + 2]
        a3 += X[i, j + 3] * w[j + 3]
        a4 += X[i, j + 4] * w[j + 4]
        a5 += X[i, j + 5] * w[j + 5]
        a6 += X[i, j + 6] * w[j + 6]
        a7 += X[i, j + 7] * w[j + 7]
    rest = d - whole
    if rest > 0:
        a0 += X[i, whole] * w[whole]
    if rest > 1:
        a1 += X[i, whole + 1] * w[whole + 1]
    if rest > 2:
        a2 += X[i, whole + 2] * w[whole + 2]
    if rest > 3:
        a3 += X[i, whole + 3] * w[whole + 3]
    if rest > 4:
        a4 += X[i, whole + 4] * w[whole + 4]
    if rest > 5:
        a5 += X[i, whole + 5] * w[whole + 5]
    if rest > 6:
        a6 += X[i, whole + 6] * w[whole + 6]
    return ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))


@register_jitable(**UNCOUNTED)
def visit(position, keys, n, left_mask, right_bits, right_mask):
    """The row at this position of the epoch."""
    if len(keys) == 0:
        return position
    i = order.feistel(np.uint64(position), keys, left_mask, right_bits, right_mask)
    while i >= np.uint64(n):
        i = order.feistel(i, keys, left_mask, right_bits, right_mask)
    return np.int64(i)


@register_jitable
def block_sums(X, y, weights, loss, keys, first, count, params, begin, end, sums, epoch_loss):
    """Blocks begin, ..., end - 1 of the batch: their summed gradients, and their rows' losses."""
    n, d = X.shape
    left, bits, right = order.halves(n)
    for block in range(begin, end):
        g = sums[block]
        g[:] = 0
        position = first + block * BLOCK
        last = min(first + count, position + BLOCK)
        while position < last:
            k = position // BLOCK
            block_loss = epoch_loss[k]
            for at in range(position, min(last, (k + 1) * BLOCK)):
                i = visit(at, keys, n, left, bits, right)
                p = dot(X, i, params, d) + params[d]
                s = weights[i] if len(weights) > 1 else weights[0]
                block_loss += s * losses.value(loss, p, y[i])
                c = s * losses.gradient(loss, p, y[i])
                for j in range(d):
                    g[j] += c * X[i, j]
                g[d] += c
            epoch_loss[k] = block_loss
            position = min(last, (k + 1) * BLOCK)


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


for name in ("value", "gradient"):
    overload(getattr(losses, name), jit_options=UNCOUNTED)(by_type(getattr(losses, name), name))
overload(optimizers.step, jit_options=UNCOUNTED)(by_type(optimizers.step, "step"))
for name, method in inspect.getmembers(Numba, inspect.isfunction):
    overload_method(KernelsType, name)(always(method))
for helper in (
    elementary.sign,
    optimizers.decayed,
    optimizers.averaged,
    optimizers.mixed,
    order.mix,
    order.feistel,
    order.halves,
):
    register_jitable(helper)


@overload(elementary.like)
def like(x, number):  # noqa: ARG001
    dtype = getattr(x, "dtype", x)
    return lambda x, number: dtype(number)  # noqa: ARG005


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
    n = len(y)
    sums = kernels.epoch_loss(y)
    for k in range(len(sums)):
        for i in range(k * BLOCK, min(n, (k + 1) * BLOCK)):
            s = weights[i] if len(weights) > 1 else weights[0]
            sums[k] += s * losses.value(loss, p[i], y[i])
    return kernels.mean_loss(sums, n)


@compiled
def _step(kernels, rule, params, grad, slots, numbers):
    kernels.step(
        rule, params, grad, slots, len(params), kernels.numbers_of(numbers.reshape(1, -1), 1)
    )


@compiled
def _block_sums(X, y, weights, loss, keys, first, count, params, begin, end, sums, epoch_loss):
    block_sums(X, y, weights, loss, keys, first, count, params, begin, end, sums, epoch_loss)


@compiled
def _mean_gradient(sums, count, grad):
    mean_gradient(sums, count, grad)


@compiled
def _predict(X, params, begin, end, out):
    d = X.shape[1]
    for i in range(begin, end):
        out[i] = dot(X, i, params, d) + params[d]


class Threaded(_numpy.Numpy):
    """The loop as it stands, for batches that are worth several threads: compiled sums of blocks, the rest in numpy."""

    def epoch_loss(self, y: Array) -> Array:
        return np.zeros(-(-len(y) // BLOCK), y.dtype)

    def visits(self, keys: Array, n: int) -> Array:  # noqa: ARG002
        return keys

    def mean_loss(self, epoch_loss: Array, n: int) -> Any:
        mean = order.tree(epoch_loss) / epoch_loss.dtype.type(n)
        epoch_loss[:] = 0
        return mean

    def gradient(
        self,
        X: Array,
        y: Array,
        weights: Array,
        loss: Any,
        visits: Array,
        first: int,
        count: int,
        params: Array,
        grad: Array,
        epoch_loss: Array,
    ) -> None:
        sums = np.empty((-(-count // BLOCK), len(params)), X.dtype)

        def fill(part: slice) -> None:
            begin, end = part.start, part.stop
            _block_sums(
                X, y, weights, loss, visits, first, count, params, begin, end, sums, epoch_loss
            )

        _numpy.in_threads(fill, even_parts(len(sums), self.threads), self.threads)
        _mean_gradient(sums, count, grad)


def even_parts(tasks: int, threads: int) -> list[slice]:
    """Cut 0, ..., tasks - 1 into a part for each thread."""
    parts = min(tasks, threads)
    return [slice(tasks * k // parts, tasks * (k + 1) // parts) for k in range(parts)]


def descend(
    problem: Problem, state: State, numbers: Array, keys: Array, log: Log
) -> tuple[int, int]:
    """Run len(keys) epochs, or fewer; return how many, and why they ended."""
    if problem.batch_threads > 1 and problem.batch_size > 1:
        return _numpy.run(
            _loops.descend, Threaded(problem.batch_threads), problem, state, numbers, keys, log
        )
    return _numpy.run(_descend, Numba(), problem, state, numbers, keys, log)


def gradient(problem: Problem, params: Array) -> Array:
    """The gradient of the mean loss over all rows, (d + 1,)."""
    return _numpy.full_gradient(Threaded(problem.batch_threads), problem, params)


def mean_loss(loss: Any, p: Array, y: Array, weights: Array) -> Any:
    """The mean loss of some rows, given their predictions."""
    return y.dtype.type(_mean_loss(Numba(), cast(loss, y.dtype), p, y, weights))


def step(rule: Any, params: Array, grad: Array, slots: Array, numbers: Array) -> None:
    """One update of the params."""
    _step(Numba(), cast(rule, params.dtype), params, grad, slots, numbers)


def minimize(fun: Any, jac: Any, rule: Any, x: Array, *rest: Any) -> tuple[int, int]:
    """Minimise a function, one of numba's or in Python; return the steps made, and why it ended."""
    if is_jitted(fun) and (jac is None or is_jitted(jac)):
        done: tuple[int, int] = _minimize(Numba(), fun, jac, cast(rule, x.dtype), x, *rest)
        return done
    return _loops.minimize(_numpy.Stepping(step), fun, jac, rule, x, *rest)


def predict(X: Array, params: Array, threads: int) -> Array:
    """x.w + b for each row."""
    out = np.empty(len(X), X.dtype)

    def fill(part: slice) -> None:
        _predict(X, params, part.start, part.stop, out)

    _numpy.in_threads(fill, even_parts(len(X), threads), threads)
    return out
