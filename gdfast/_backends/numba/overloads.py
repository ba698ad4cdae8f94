"""Formulas and kernels as numba finds them: by the type of a record, at compile time."""

import functools
import inspect
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import overload, overload_method, register_jitable

from gdfast import losses, optimizers
from gdfast._backends import loops
from gdfast._backends.numba import llvm
from gdfast._backends.numba.jit import always, by_type
from gdfast._backends.numba.kernels import Numba, Plain, _fused_epoch
from gdfast._backends.numba.rows import INLINED, UNCOUNTED
from gdfast._backends.problem import longest_period
from gdfast._numerics import elementary, order, penalties


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
