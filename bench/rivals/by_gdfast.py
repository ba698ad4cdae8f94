"""gdfast's own backends."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


class Gdfast(Rival):
    package = "gdfast"
    drawn = True

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.name = backend
        if backend == "numpy":
            self.most_steps = 3_000
            self.drawn = False

    def why_not(self) -> str | None:
        state = gd.backends()[self.backend]
        return None if state == "available" else state

    def fit(self, work: Fit, data: Data) -> Training:
        options = self.options(work)

        def run(epochs: int) -> Model:
            r = gd.fit(*data, epochs=epochs, **options)
            return Model(r.coef, float(r.intercept))

        return Training(run, within=0.0)

    def options(self, work: Fit) -> dict[str, Any]:
        """The arguments of `gdfast.fit`."""
        return {
            "loss": work.loss,
            "optimizer": work.optimizer(lr=work.lr),
            "batch_size": work.batch_size,
            "fit_intercept": work.intercept,
            "coef_init": np.full(work.features, work.start),
            "shuffle": work.shuffled,
            "threads": work.threads,
            "backend": self.backend,
        }

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        def fun(x: Any) -> Any:
            return (x[0] - 3.0) ** 2

        def jac(x: Any) -> Any:
            return 2.0 * (x - 3.0)

        functions: Any = fun, jac
        if work.jitted:
            check(self.backend == "numba", "jitted functions run in the numba backend")
            import numba

            functions = numba.njit(fun), numba.njit(jac)
        f, g = functions

        def run() -> Model:
            r = gd.minimize(f, [0.0], jac=g, lr=work.lr, maxiter=work.steps, backend=self.backend)
            return Model(r.x)

        return run
