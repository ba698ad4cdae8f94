"""`fit` full batch, in mini-batches and per sample, from 1 to 1000 features, on each backend."""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest


class Mode(NamedTuple):
    batch_size: int | None
    max_rows: int  # with few features: what takes numpy a fraction of a second
    epochs: int


MODES = {
    "full batch": Mode(None, max_rows=1_000_000, epochs=3),
    "mini-batch": Mode(32, max_rows=40_000, epochs=1),
    "per-sample": Mode(1, max_rows=20_000, epochs=1),
}
FEATURES = (1, 20, 100, 1000)
MAX_ELEMENTS = 4_000_000  # of X, 32 MB


@pytest.fixture(scope="module", params=product(MODES, FEATURES), ids=lambda p: f"{p[0]}-{p[1]}")
def race(request: pytest.FixtureRequest, start_race: Callable[..., Any]) -> Any:
    name, d = request.param
    mode = MODES[name]
    n = min(mode.max_rows, MAX_ELEMENTS // d)
    return start_race(name, n, d, batch_size=mode.batch_size, epochs=mode.epochs)


def test_fit(race: Any, benchmark: Any, backend: str) -> None:
    race.report(benchmark, backend)
