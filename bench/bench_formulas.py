"""Each loss and each optimizer of the tables: mini-batches of 32 where they may be, with 20 features."""

from collections.abc import Callable
from typing import Any

import pytest

from gdfast import losses, optimizers

FORMULAS = [
    *({"loss": name} for name in losses.TABLE),
    *({"optimizer": name} for name in optimizers.TABLE),
]


@pytest.fixture(scope="module", params=FORMULAS, ids=lambda p: "-".join(*p.items()))
def race(request: pytest.FixtureRequest, start_race: Callable[..., Any]) -> Any:
    ((kind, name),) = request.param.items()
    whole = kind == "optimizer" and optimizers.TABLE[name].full_batch_only
    options = {"epochs": 20} if whole else {"batch_size": 32}
    return start_race(f"{kind} {name}", 20_000, 20, **options, **request.param)


def test_formula(race: Any, benchmark: Any, backend: str) -> None:
    race.report(benchmark, backend)
