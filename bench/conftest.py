"""What all benchmarks share: races between the backends, and a header that describes the machine."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pytest

import gdfast as gd
from gdfast import losses
from gdfast._cli import benchmarks

BACKENDS = [name for name, state in gd.backends().items() if state == "available"]
MIN_ROUNDS, MAX_ROUNDS = 5, 50
BUDGET = 7.0  # seconds, after which a race ends that has had its MIN_ROUNDS


class Race:
    """The same fit by each backend, in turns: what slows the machine for a while slows all of them.

    pytest-benchmark would measure one backend after the other. So the times are taken here, and told to it afterwards.
    """

    def __init__(
        self,
        name: str,
        rows: int,
        features: int,
        max_rounds: int,
        rows_of: Callable[[Any], Any] = np.asarray,
        outputs: int = 1,
        **options: Any,
    ):
        self.name = f"{name}, {features:>4} features, {rows} rows"
        self.visits = rows * options.get("epochs", 1)
        X, y, lr = benchmarks.work(rows, features)
        self.X = rows_of(X)
        self.y = benchmarks.targets(y, losses.find(options.get("loss", "squared_error")).targets)
        if outputs > 1:
            self.y = self.y[:, None] * np.arange(1.0, outputs + 1)
        self.options = {"epochs": 1, "lr": lr, **options}
        runs = {backend: partial(self.fit, backend) for backend in BACKENDS}
        turns = benchmarks.race(runs, _rounds(max_rounds))
        assert benchmarks.agree(turns), f"{self.name}: different bytes, {turns}"
        self.seconds = {backend: turn.seconds for backend, turn in turns.items()}

    def fit(self, backend: str) -> gd.FitResult:
        return gd.fit(self.X, self.y, backend=backend, **self.options)

    def report(self, benchmark: Any, backend: str) -> None:
        """Tell pytest-benchmark the times of a backend."""
        seconds = self.seconds[backend]
        benchmark.group = self.name
        benchmark.name = backend
        if seconds:
            benchmark.name = f"{backend:<5} {median(seconds) / self.visits * 1e9:10,.1f} ns a row"
        coming = iter(seconds)
        benchmark.pedantic(
            lambda: CLOCK.forward(next(coming, 0.0)),
            rounds=max(1, len(seconds)),
        )


def _rounds(most: int) -> Iterator[int]:
    """So many rounds, or fewer where they take long."""
    start = time.perf_counter()
    for done in range(most):
        if done >= MIN_ROUNDS and time.perf_counter() - start > BUDGET:
            return
        yield done


class Clock:
    """A clock that shows what it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _replayed(request: pytest.FixtureRequest) -> None:
    """Let pytest-benchmark look at the clock of the race, which is over when it comes."""
    if "race" in request.fixturenames:
        request.node.add_marker(pytest.mark.benchmark(timer=CLOCK))


@pytest.fixture(scope="session")
def start_race(request: pytest.FixtureRequest) -> Callable[..., Race]:
    """Start a `Race`; with --benchmark-disable it ends after the warm-up."""
    max_rounds = 0 if request.config.getoption("benchmark_disable") else MAX_ROUNDS
    return partial(Race, max_rounds=max_rounds)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    """Each backend's name."""
    return request.param


def pytest_configure(config: pytest.Config) -> None:
    """Print few columns, unless others are asked for. The ratio to the fastest is in parentheses."""
    if not any(str(arg).startswith("--benchmark-col") for arg in config.invocation_params.args):
        config.option.benchmark_columns = ["min", "median", "rounds"]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name the machine and the versions, and how fast its memory can be read."""
    lines = gd.show_config().splitlines()
    if not config.getoption("benchmark_disable"):
        one, two = (benchmarks.read_bandwidth(1 << 28, threads) / 1e9 for threads in (1, 2))
        lines.append(f"memory       read at {one:.0f} GB/s by one thread, {two:.0f} by two")
    return lines
