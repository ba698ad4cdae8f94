"""JAX: an epoch is a `lax.scan` over its batches, compiled, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


class Jax(Rival):
    name = "JAX"
    package = "jax"

    def fit(self, work: Fit, data: Data) -> Training:
        import jax
        from jax import lax
        from jax import numpy as jnp

        check(work.nonzeros is None, "its sparse rows are experimental")
        check(
            work.batch_size is not None or work.published or work.threads > 1,
            "it takes all threads",
        )
        jax.config.update("jax_enable_x64", True)
        value = {
            "squared_error": lambda p, y: (p - y) ** 2,
            "logistic": lambda p, y: jnp.logaddexp(0.0, -y * p),
            "hinge": lambda p, y: jnp.maximum(0.0, 1.0 - y * p),
        }[work.loss]
        lr, adam, size, d = work.lr, work.optimizer is gd.Adam, work.batch, work.features

        def loss(params: Any, x: Any, y: Any) -> Any:
            return value(x @ params[:d] + params[d] * work.intercept, y).mean()

        def step(state: Any, batch: Any) -> Any:
            params, m, v, t = state
            g = jax.grad(loss)(params, *batch)
            if not adam:
                return (params - lr * g, m, v, t), None
            t = t + 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            scale = jnp.sqrt(v / (1 - 0.999**t)) + 1e-8
            return (params - lr / (1 - 0.9**t) * m / scale, m, v, t), None

        X, y = jnp.asarray(data.X), jnp.asarray(data.y)

        @jax.jit
        def epoch(X: Any, y: Any, state: Any, key: Any) -> Any:
            if work.batch_size is None:
                return step(state, (X, y))[0]
            if work.shuffled:
                order = jax.random.permutation(key, len(y))
                return lax.scan(lambda s, i: step(s, (X[i][None], y[i][None])), state, order)[0]
            batches = X.reshape(-1, size, d), y.reshape(-1, size)
            return lax.scan(step, state, batches)[0]

        def run(epochs: int) -> Model:
            zeros = jnp.zeros(d + 1)
            state = (zeros.at[:d].set(work.start), zeros, zeros, 0.0)
            keys = jax.random.split(jax.random.key(0), epochs)
            for k in range(epochs):
                state = epoch(X, y, state, keys[k])
            params = np.asarray(state[0])
            return Model(params[:d], float(params[d]) if work.intercept else 0.0)

        return Training(run, within=None if work.shuffled else 1e-6)

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        import jax
        from jax import lax

        check(work.jitted, "it runs jitted functions")
        jax.config.update("jax_enable_x64", True)

        def fun(x: Any) -> Any:
            return (x - 3.0) ** 2

        @jax.jit
        def descend(start: Any) -> Any:
            def step(x: Any, _: Any) -> Any:
                value, slope = jax.value_and_grad(fun)(x)
                return x - work.lr * slope, (x, value)

            return lax.scan(step, start, None, length=work.steps)

        return lambda: Model(np.array([descend(0.0)[0]]))
