"""Models people use: several outputs, several classes, penalties, sparse rows; in every mode, with 100 features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

MODES = {
    "full batch": {"epochs": 10},
    "32 rows": {"batch_size": 32},
    "per sample": {"batch_size": 1},
}


def thinned(X: Any) -> Any:
    """One number in ten of X, as sparse rows."""
    return scipy.sparse.csr_array(np.where(np.random.default_rng(1).random(X.shape) < 0.1, X, 0))


MODELS: dict[str, dict[str, Any]] = {
    "10 outputs": {"outputs": 10},
    "softmax": {"loss": "softmax"},
    "l1 and l2": {"loss": "logistic", "l1": 1e-3, "l2": 1e-3},
    "sparse": {"rows_of": thinned},
    "sparse, l1 and l2": {"rows_of": thinned, "loss": "logistic", "l1": 1e-3, "l2": 1e-3},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=MODES)
def race(model: str, request: pytest.FixtureRequest, start_race: Callable[..., Any]) -> Any:
    options = MODES[request.param] | MODELS[model]
    return start_race(f"{model}, {request.param}", 20_000, 100, **options)


def test_model(race: Any, benchmark: Any, backend: str) -> None:
    race.report(benchmark, backend)
