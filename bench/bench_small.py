"""What a call costs where there is next to nothing to compute: the published example of 3 rows and 100 epochs; the
minimum of a function of one number; the import.
"""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gdfast as gd

ROWS, TARGETS, EPOCHS, RATE = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], 100, 0.01


def plain_loop() -> list[float]:
    """The example as it is published: three functions and a loop over the epochs."""
    w = 1.0

    def forward(x: float) -> float:
        return x * w

    def cost() -> float:
        total = 0.0
        for x, y in zip(ROWS, TARGETS, strict=True):
            total += (forward(x) - y) ** 2
        return total / len(ROWS)

    def gradient() -> float:
        total = 0.0
        for x, y in zip(ROWS, TARGETS, strict=True):
            total += 2 * x * (x * w - y)
        return total / len(ROWS)

    losses = []
    for _ in range(EPOCHS):
        losses.append(cost())
        w -= RATE * gradient()
    return losses


def fit() -> list[float]:
    """The same by `gdfast.fit`, on the default backend."""
    X = [[x] for x in ROWS]
    r = gd.fit(X, TARGETS, lr=RATE, epochs=EPOCHS, coef_init=[1.0], fit_intercept=False)
    losses: list[float] = r.history.loss.tolist()
    return losses


def test_plain_loop(benchmark: Any) -> None:
    assert benchmark(plain_loop) == fit()


def test_fit(benchmark: Any) -> None:
    assert benchmark(fit) == plain_loop()


def f(x: Any) -> Any:
    """A parabola; its minimum is at -2."""
    return x[0] * x[0] + 4 * x[0] + 1


def slope(x: Any) -> Any:
    """Its derivative."""
    return 2 * x + 4


def calls() -> float:
    """What 100 steps along the slope cost where the functions are called and no more is done."""
    x = np.array([2.0])
    for _ in range(EPOCHS):
        f(x)
        x = x - 0.1 * slope(x)
    return float(x[0])


def minimize() -> float:
    """The same by `gdfast.minimize`, which keeps the path."""
    return float(gd.minimize(f, 2.0, jac=slope, lr=0.1, maxiter=EPOCHS).x[0])


def test_calls(benchmark: Any) -> None:
    assert benchmark(calls) == minimize()


def test_minimize(benchmark: Any) -> None:
    assert benchmark(minimize) == calls()


@pytest.mark.parametrize("modules", ["numpy", "numpy, gdfast"])
def test_import(benchmark: Any, modules: str) -> None:
    command = [sys.executable, "-c", f"import {modules}"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=20, warmup_rounds=1)
