"""Loops in Python over NumPy's arrays; a full batch is two calls of BLAS, X @ w and X.T @ r."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


def squared(p: Any, y: Any) -> Any:
    return 2 * (p - y)


def logistic(p: Any, y: Any) -> Any:
    return -y / (1 + np.exp(y * p))


def hinge(p: Any, y: Any) -> Any:
    return np.where(y * p < 1, -y, 0.0)


GRADIENTS = {"squared_error": squared, "logistic": logistic, "hinge": hinge}


class NumPyLoop(Rival):
    name = "NumPy loop"
    package = "numpy"
    most_steps = 5_000

    def fit(self, work: Fit, data: Data) -> Training:
        check(work.nonzeros is None, "only dense rows are written out")
        X, y = data
        gradient, size = GRADIENTS[work.loss], work.batch_size

        def run(epochs: int) -> Model:
            rng = np.random.default_rng(0)
            w, b = np.full(work.features, work.start), 0.0
            step, step_of_b = stepper(work), stepper(work)
            for _ in range(epochs):
                if size is None:
                    r = gradient(X @ w + b, y)
                    w = step(w, X.T @ r / len(y))
                    if work.intercept:
                        b = step_of_b(b, r.mean())
                elif size == 1:
                    for i in rng.permutation(len(y)) if work.shuffled else range(len(y)):
                        x = X[i]
                        c = gradient(x @ w + b, y[i])
                        w = step(w, c * x)
                        b = step_of_b(b, c)
                else:
                    for i in range(0, len(y), size):
                        x = X[i : i + size]
                        r = gradient(x @ w + b, y[i : i + size])
                        w = step(w, x.T @ r / len(r))
                        b = step_of_b(b, r.mean())
            return Model(w, float(b))

        return Training(run, within=None if work.shuffled else 1e-6)

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        check(not work.jitted, "it jits no functions")

        def fun(x: Any) -> Any:
            return (x[0] - 3.0) ** 2

        def jac(x: Any) -> Any:
            return 2.0 * (x - 3.0)

        def run() -> Model:
            x = np.zeros(1)
            path, values = np.empty((work.steps, 1)), np.empty(work.steps)
            for k in range(work.steps):
                path[k] = x
                values[k] = fun(x)
                x = x - work.lr * jac(x)
            return Model(x)

        return run


def stepper(work: Fit) -> Callable[[Any, Any], Any]:
    """The rule: takes weights and gradient."""
    lr = work.lr
    if work.optimizer is gd.SGD:
        return lambda w, g: w - lr * g
    m: Any = 0.0
    v: Any = 0.0
    t = 0

    def adam(w: Any, g: Any) -> Any:
        nonlocal m, v, t
        t += 1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        return w - lr / (1 - 0.9**t) * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

    return adam
