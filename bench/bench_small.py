"""What a fit costs where there is next to nothing to compute: the published example of 3 rows and 100 epochs."""

from typing import Any

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
