"""Loops written by hand for numba, with fastmath: fused, and summed in any order."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


class HandWrittenNumba(Rival):
    name = "numba by hand"
    package = "numba"
    drawn = True

    def fit(self, work: Fit, data: Data) -> Training:
        import numba

        loops = kernels(work.loss)
        X, y = data
        lr, n = work.lr, work.rows
        sparse = work.nonzeros is not None
        rows_of = (X.data, X.indices, X.indptr) if sparse else (X,)
        check(not sparse or work.batch_size == 1, "sparse batches are not written out")
        if work.batch_size is None:
            numba.set_num_threads(work.threads)

        def run(epochs: int) -> Model:
            rng = np.random.default_rng(0)
            w = np.full(work.features + 1, work.start)
            w[-1] = 0.0
            m, v = np.zeros_like(w), np.zeros_like(w)
            adam = work.optimizer is gd.Adam
            if work.batch_size is None:
                whole = loops["full" if work.threads == 1 else "shared"]
                whole(X, y, w, lr, epochs, work.intercept, work.threads)
                return Model(w[:-1], float(w[-1]))
            for epoch in range(epochs):
                if work.batch > 1:
                    before = epoch * (work.steps // work.epochs)
                    loops["batches"](X, y, w, lr, work.batch, adam, m, v, before)
                else:
                    rows = rng.permutation(n) if work.shuffled else np.empty(0, np.int64)
                    loops["sparse" if sparse else "rows"](*rows_of, y, w, lr, rows)
            return Model(w[:-1], float(w[-1]))

        return Training(run, within=None if work.shuffled else 1e-6)

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        check(work.jitted, "it runs jitted functions")
        import numba

        @numba.njit(fastmath=True)
        def descend(steps: int, lr: float) -> Any:
            x, path, values = 0.0, np.empty(steps), np.empty(steps)
            for k in range(steps):
                path[k] = x
                values[k] = (x - 3.0) ** 2
                x -= lr * (2.0 * (x - 3.0))
            return x, path, values

        return lambda: Model(np.array([descend(work.steps, work.lr)[0]]))


@cache
def kernels(loss: str) -> dict[str, Any]:
    """The loops for this loss."""
    import numba

    jit = numba.njit(fastmath=True)

    if loss == "squared_error":

        @jit
        def gradient(p, y):
            return 2.0 * (p - y)

    elif loss == "logistic":

        @jit
        def gradient(p, y):
            return -y / (1.0 + math.exp(y * p))

    else:

        @jit
        def gradient(p, y):
            return -y if y * p < 1.0 else 0.0

    @jit
    def rows(X, y, w, lr, order):
        n, d = X.shape
        b = w[d]
        for k in range(n):
            i = order[k] if len(order) else k
            p = b
            for j in range(d):
                p += X[i, j] * w[j]
            c = lr * gradient(p, y[i])
            for j in range(d):
                w[j] -= c * X[i, j]
            b -= c
        w[d] = b

    @jit
    def sparse(data, indices, indptr, y, w, lr, order):
        for k in range(len(y)):
            i = order[k] if len(order) else k
            p = 0.0
            for at in range(indptr[i], indptr[i + 1]):
                p += data[at] * w[indices[at]]
            c = lr * gradient(p, y[i])
            if c != 0.0:
                for at in range(indptr[i], indptr[i + 1]):
                    w[indices[at]] -= c * data[at]

    @jit
    def add_gradients(X, y, w, first, end, g):
        d = X.shape[1]
        for i in range(first, end):
            p = w[d]
            for j in range(d):
                p += X[i, j] * w[j]
            c = gradient(p, y[i])
            for j in range(d):
                g[j] += c * X[i, j]
            g[d] += c

    @jit
    def batches(X, y, w, lr, size, adam, m, v, before):
        g = np.empty_like(w)
        t = before
        for first in range(0, len(y), size):
            end = min(len(y), first + size)
            g[:] = 0.0
            add_gradients(X, y, w, first, end, g)
            t += 1
            scale, scale_v = lr / (1.0 - 0.9**t), 1.0 / (1.0 - 0.999**t)
            for j in range(len(w)):
                gj = g[j] / (end - first)
                if adam:
                    m[j] = 0.9 * m[j] + 0.1 * gj
                    v[j] = 0.999 * v[j] + 0.001 * gj * gj
                    w[j] -= scale * m[j] / (math.sqrt(v[j] * scale_v) + 1e-8)
                else:
                    w[j] -= lr * gj

    @jit
    def full(X, y, w, lr, epochs, intercept, _):
        for _ in range(epochs):
            g = np.zeros_like(w)
            add_gradients(X, y, w, 0, len(y), g)
            w[: len(w) - (not intercept)] -= lr * g[: len(w) - (not intercept)] / len(y)

    @numba.njit(fastmath=True, parallel=True)
    def shared(X, y, w, lr, epochs, intercept, parts):
        size = len(w) - (not intercept)
        for _ in range(epochs):
            sums = np.zeros(
                (parts, len(w) + 8)
            )  # apart, so that threads share no line of the cache
            for part in numba.prange(parts):
                first, end = len(y) * part // parts, len(y) * (part + 1) // parts
                add_gradients(X, y, w, first, end, sums[part, : len(w)])
            w[:size] -= lr * sums.sum(axis=0)[:size] / len(y)

    return {"rows": rows, "sparse": sparse, "batches": batches, "full": full, "shared": shared}
