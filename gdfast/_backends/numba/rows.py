"""Rows as compiled code reads them: products with the weights, sums, and the order in which they are visited."""

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload, register_jitable

from gdfast._backends.numba import llvm
from gdfast._numerics import order

BLOCK, GROUP, LANES = order.BLOCK, order.GROUP, order.LANES
CHUNK = 32  # rows whose losses are found side by side
AHEAD = 128  # how many rows at most before its turn a row is looked for, to be fetched
SPARSE_AHEAD = 16  # rows before its turn that the entries of a sparse row are fetched; where they begin, twice as many
# Compiled without reference counting: these functions allocate nothing, and counting would cost more than they do.
UNCOUNTED: Any = {"_nrt": False}
# Inlined, as a call would cost more than the function does: an array is passed as ten words.
INLINED: Any = {"forceinline": True, **UNCOUNTED}
# In the innermost loops an index is made np.uintp: numba adds a branch for signed ones, which may count from the end.


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


@register_jitable(**INLINED)
def fetch_row(X, visited, at):
    """Have a row that comes later brought to the cache, and where one that comes later still begins."""
    llvm.fetch(X.indptr, visited[at + 2 * SPARSE_AHEAD], 1)
    i = visited[at + SPARSE_AHEAD]
    start, count = X.indptr[i], X.indptr[i + 1] - X.indptr[i]
    llvm.fetch(X.data, start, count)
    llvm.fetch(X.indices, start, count)
