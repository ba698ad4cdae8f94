"""The numba backend's loops over features: LANES numbers at a time, as LLVM vectors, in the canonical order.

numba's own loops of that order stay scalar. LLVM lowers the vectors to what the processor has, and neither reorders
nor fuses what it is not told to. Where there are fewer than SMALL features, numbers go one by one: their sum from left
to right is the same in bits, and what is waited for is shorter.

Arrays are in C order, but the rows of a matrix may be at any distance from each other. Rows are given by a tuple of
their numbers, others by where their first number stands. Of the rows `ahead`, which will be read soon, as much is
fetched as is read of those in turn, line by line: all at once, they would have to wait for each other.
"""

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from gdfast._numerics.order import LANES

intrinsic: Any = extending.intrinsic  # which hides the signature

SMALL = 4
CACHE_LINE = 64  # bytes
INDEX = ir.IntType(64)
LANE = ir.IntType(32)


def index(number: int) -> ir.Constant:
    return ir.Constant(INDEX, number)


class Emitter:
    """Emits loops over d features."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.context, self.builder = context, builder
        self.number = context.get_value_type(number)
        self.bytes = context.get_abi_sizeof(self.number)
        self.vector = ir.VectorType(self.number, LANES)

    def at(self, array_type: Any, array: Any, first: Any) -> Any:
        """The address of an array's number."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.gep(data, [first])

    def rows(self, matrix_type: Any, matrix: Any, rows: Any) -> list[Any]:
        """The addresses of a matrix's rows, which may stand in each other's places."""
        builder = self.builder
        array = self.context.make_array(matrix_type)(self.context, builder, matrix)
        start = builder.bitcast(array.data, cgutils.voidptr_t)
        stride = builder.extract_value(array.strides, 0)  # in bytes
        return [
            builder.bitcast(builder.gep(start, [builder.mul(i, stride)]), array.data.type)
            for i in cgutils.unpack_tuple(builder, rows)
        ]

    def load(self, address: Any, j: Any, kind: Any, mask: Any) -> Any:
        """One number, or a vector of them with 0 where the mask says so."""
        builder = self.builder
        place = builder.bitcast(builder.gep(address, [j]), kind.as_pointer())
        if mask is None:
            return builder.load(place, align=self.bytes)
        load = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(kind, [place.type, ir.IntType(32), mask.type, kind]),
            f"llvm.masked.load.v{LANES}f{8 * self.bytes}.p0",
        )
        align = ir.Constant(ir.IntType(32), self.bytes)
        return builder.call(load, [place, align, mask, ir.Constant(kind, None)])

    def store(self, value: Any, address: Any, j: Any) -> None:
        place = self.builder.bitcast(self.builder.gep(address, [j]), value.type.as_pointer())
        self.builder.store(value, place, align=self.bytes)

    def fetch_row(self, address: Any, j: Any) -> None:
        """Have the cache line that begins with number j brought to the cache, if one does."""
        numbers = CACHE_LINE // self.bytes
        if numbers <= LANES:
            self.fetch(address, j)
            return
        begun = self.builder.and_(j, index(numbers - 1))
        with self.builder.if_then(self.builder.icmp_signed("==", begun, index(0))):
            self.fetch(address, j)

    def fetch(self, address: Any, j: Any) -> None:
        """Have the cache line of a number brought to the second cache, as csrc/data/weight_vector.hpp has it."""
        flag = ir.IntType(32)
        function = self.builder.module.declare_intrinsic(
            "llvm.prefetch",
            (cgutils.voidptr_t,),
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag]),
        )
        place = self.builder.bitcast(self.builder.gep(address, [j]), cgutils.voidptr_t)
        read, second_cache, data = (ir.Constant(flag, k) for k in (0, 2, 1))
        self.builder.call(function, [place, read, second_cache, data])

    def each(self, value: Any, kind: Any) -> Any:
        """A number as it is, or in all lanes."""
        if not isinstance(kind, ir.VectorType):
            return value
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(LANE, 0))
        zeros = ir.Constant(ir.VectorType(LANE, LANES), None)
        return self.builder.shuffle_vector(one, one, zeros)

    def loop(self, end: Any, step: int, body: Any) -> None:
        """Emit body(j) for j = 0, step, ... below the end: a loop that LLVM is to leave as it is."""
        builder = self.builder
        before = builder.block
        head, inside, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        j = builder.phi(INDEX)
        builder.cbranch(builder.icmp_signed("<", j, end), inside, after)
        builder.position_at_end(inside)
        body(j)
        j.add_incoming(index(0), before)
        j.add_incoming(builder.add(j, index(step)), builder.block)
        builder.branch(head).set_metadata("llvm.loop", self.as_it_is())
        builder.position_at_end(after)

    def as_it_is(self) -> Any:
        """The node, which begins with itself, that tells LLVM to neither unroll nor vectorise a loop."""
        module = self.builder.module
        off = ir.Constant(ir.IntType(1), 0)
        hints = [
            module.add_metadata(["llvm.loop.unroll.disable"]),
            module.add_metadata(["llvm.loop.vectorize.enable", off]),
        ]
        node = ir.values.MDValue(module, hints, name=str(len(module.metadata)))
        node.operands = (node, *hints)
        return node

    def for_all(self, d: Any, body: Any, after: Any = None) -> None:
        """Emit body(j, kind, mask) for all features j, and then after(kind): one by one, or for vectors."""
        builder = self.builder
        small = builder.icmp_signed("<", d, index(SMALL))
        with builder.if_else(small, likely=False) as (then, otherwise):
            with then:
                self.loop(d, 1, lambda j: body(j, self.number, None))
                if after:
                    after(self.number)
            with otherwise:
                whole = builder.and_(d, index(-LANES))
                self.loop(whole, LANES, lambda j: body(j, self.vector, None))
                rest = builder.sub(d, whole)
                with builder.if_then(builder.icmp_signed(">", rest, index(0))):
                    lanes = ir.VectorType(INDEX, LANES)
                    numbers = ir.Constant(lanes, [index(lane) for lane in range(LANES)])
                    body(
                        whole,
                        self.vector,
                        builder.icmp_signed("<", numbers, self.each(rest, lanes)),
                    )
                if after:
                    after(self.vector)

    def shuffled(self, a: Any, b: Any, *lanes: int) -> Any:
        mask = ir.Constant(ir.VectorType(LANE, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, mask)

    def sum_pairs(self, a: Any, b: Any, step: int, *lanes: int) -> Any:
        """The sums of these lanes of a and b, one after the other, and those `step` further on."""
        right = [lane + step for lane in lanes]
        return self.builder.fadd(self.shuffled(a, b, *lanes), self.shuffled(a, b, *right))

    def sums(self, a: list[Any]) -> list[Any]:
        """Of each of these vectors the sum of the lanes, four at a time."""
        found: list[Any] = []
        for first in range(0, len(a), 4):
            some = a[first : first + 4]
            count = len(some)
            some += [some[-1]] * (4 - count)
            pairs = [self.sum_pairs(*some[k : k + 2], 1, 0, 8, 2, 10, 4, 12, 6, 14) for k in (0, 2)]
            fours = self.sum_pairs(*pairs, 2, 0, 1, 8, 9, 4, 5, 12, 13)
            whole = self.sum_pairs(fours, fours, 4, 0, 1, 2, 3)
            found += [
                self.builder.extract_element(whole, ir.Constant(LANE, k)) for k in range(count)
            ]
        return found

    def products(self, pairs: list[tuple[Any, Any]], d: Any, ahead: list[Any]) -> list[Any]:
        """The products of vectors with one another, given by their addresses as are the rows ahead."""
        builder = self.builder
        found = [cgutils.alloca_once(builder, self.number) for _ in pairs]
        sums = {
            kind: [cgutils.alloca_once(builder, kind) for _ in pairs]
            for kind in (self.number, self.vector)
        }
        for kind, places in sums.items():
            for place in places:
                builder.store(ir.Constant(kind, None), place)

        def add(j: Any, kind: Any, mask: Any) -> None:
            for row in ahead if kind is self.vector else []:
                self.fetch_row(row, j)
            loaded = {id(p): self.load(p, j, kind, mask) for pair in pairs for p in pair}
            for (a, b), place in zip(pairs, sums[kind], strict=True):
                term = builder.fmul(loaded[id(a)], loaded[id(b)])
                builder.store(builder.fadd(builder.load(place), term), place)

        def end(kind: Any) -> None:
            parts = [builder.load(place) for place in sums[kind]]
            for part, place in zip(
                parts if kind is self.number else self.sums(parts), found, strict=True
            ):
                builder.store(part, place)

        self.for_all(d, add, end)
        return [builder.load(place) for place in found]

    def packed(self, signature: Any, numbers: list[Any]) -> Any:
        return self.context.make_tuple(self.builder, signature.return_type, numbers)


@intrinsic
def dot(_typing, a, i, b, j, d):
    """The product of d numbers of a, from i on, with those of b from j on."""

    def generate(context, builder, signature, arguments):
        a_, i_, b_, j_, d_ = arguments
        emit = Emitter(context, builder, a.dtype)
        return emit.products([(emit.at(a, a_, i_), emit.at(b, b_, j_))], d_, [])[0]

    return a.dtype(a, types.int64, b, types.int64, types.int64), generate


def products_of_rows(*, with_each_other: bool) -> Any:
    """The intrinsic for the products of rows with the numbers of w from `first` on, and maybe those of the rows."""

    def function(_typing, X, rows, w, first, d, ahead):
        before = [(i, j) for i in range(len(rows)) for j in range(i * with_each_other)]

        def generate(context, builder, signature, arguments):
            X_, rows_, w_, first_, d_, ahead_ = arguments
            emit = Emitter(context, builder, X.dtype)
            right = emit.at(w, w_, first_)
            x = emit.rows(X, X_, rows_)
            pairs = [*((row, right) for row in x), *((x[i], x[j]) for i, j in before)]
            found = emit.products(pairs, d_, emit.rows(X, X_, ahead_))
            return emit.packed(signature, found)

        result = types.UniTuple(X.dtype, len(rows) + len(before))
        return result(X, rows, w, types.int64, types.int64, ahead), generate

    return intrinsic(function)


products = products_of_rows(with_each_other=False)
group_products = products_of_rows(with_each_other=True)  # (1, 0), (2, 0), (2, 1), (3, 0), ...


@intrinsic
def add_rows(_typing, X, rows, c, g, first, d, ahead):
    """Add c times the rows, one after the other, to the numbers of g from `first` on.

    g must have room for whole vectors: what stands between d and the next multiple of LANES is lost.
    """

    def generate(context, builder, _signature, arguments):
        X_, rows_, c_, g_, first_, d_, ahead_ = arguments
        emit = Emitter(context, builder, X.dtype)
        factors = cgutils.unpack_tuple(builder, c_)
        left = emit.at(g, g_, first_)
        x, later = emit.rows(X, X_, rows_), emit.rows(X, X_, ahead_)
        spread = {
            kind: [emit.each(factor, kind) for factor in factors]
            for kind in (emit.number, emit.vector)
        }

        def add(j, kind, mask):
            for row in later if kind is emit.vector else []:
                emit.fetch_row(row, j)
            total = emit.load(left, j, kind, mask)
            for row, factor in zip(x, spread[kind], strict=True):
                total = builder.fadd(total, builder.fmul(factor, emit.load(row, j, kind, mask)))
            emit.store(total, left, j)

        emit.for_all(d_, add)
        return context.get_dummy_value()

    signature = types.void(X, rows, c, g, types.int64, types.int64, ahead)
    return signature, generate


@intrinsic
def fetch(_typing, a, first, count):
    """Have so many numbers of a, from `first` on, brought to the cache."""

    def generate(context, builder, _signature, arguments):
        a_, first_, count_ = arguments
        emit = Emitter(context, builder, a.dtype)
        start = emit.at(a, a_, first_)
        emit.loop(count_, CACHE_LINE // emit.bytes, lambda j: emit.fetch(start, j))
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64), generate
