"""Loops in plain Python, on lists."""

import math
import random
from collections.abc import Callable

import numpy as np

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


def squared(p: float, y: float) -> float:
    return 2 * (p - y)


def logistic(p: float, y: float) -> float:
    return -y / (1 + math.exp(y * p))


def hinge(p: float, y: float) -> float:
    return -y if y * p < 1 else 0.0


GRADIENTS = {"squared_error": squared, "logistic": logistic, "hinge": hinge}


class PlainPython(Rival):
    name = "Python loop"
    package = "python"
    most_steps = 5_000

    def version(self) -> str:
        import platform

        return platform.python_version()

    def fit(self, work: Fit, data: Data) -> Training:
        check(work.nonzeros is None, "only dense rows are written out")
        if work.published:
            return Training(published)
        check(work.batch_size == 1, "only the loop per sample is written out")
        rows, targets = data.X.tolist(), data.y.tolist()
        gradient, lr = GRADIENTS[work.loss], work.lr

        def run(epochs: int) -> Model:
            w, b = [work.start] * work.features, 0.0
            order = list(range(work.rows))
            for _ in range(epochs):
                if work.shuffled:
                    random.shuffle(order)
                for i in order:
                    x = rows[i]
                    p = sum(wj * xj for wj, xj in zip(w, x, strict=True)) + b
                    c = lr * gradient(p, targets[i])
                    w = [wj - c * xj for wj, xj in zip(w, x, strict=True)]
                    b -= c
            return Model(np.array(w), b)

        return Training(run, within=None if work.shuffled else 1e-6)

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        check(not work.jitted, "it jits no functions")

        def fun(x: float) -> float:
            return (x - 3.0) ** 2

        def jac(x: float) -> float:
            return 2.0 * (x - 3.0)

        def run() -> Model:
            x, path, values = 0.0, [], []
            for _ in range(work.steps):
                path.append(x)
                values.append(fun(x))
                x -= work.lr * jac(x)
            return Model(np.array([x]))

        return run


def published(epochs: int) -> Model:
    """The example as it is published: three functions and a loop over the epochs."""
    xs, ys = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]
    w = 1.0

    def forward(x: float) -> float:
        return x * w

    def cost() -> float:
        return sum((forward(x) - y) ** 2 for x, y in zip(xs, ys, strict=True)) / len(xs)

    def gradient() -> float:
        return sum(2 * x * (x * w - y) for x, y in zip(xs, ys, strict=True)) / len(xs)

    losses = []
    for _ in range(epochs):
        losses.append(cost())
        w -= 0.01 * gradient()
    return Model(np.array([w]))
