"""Time per sample over features and over rows, and what a second thread brings."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import gdfast as gd
from gdfast._cli import benchmarks

from . import limit
from .by_gdfast import Gdfast
from .race import BACKENDS, measure
from .rival import Rival
from .works import Data, Fit, Line, data

FEATURES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
ROWS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
NUMBERS = 10_000_000  # of X, in the curve over features: more than most caches hold
AT = 20  # features, in the curve over rows
SHARING = [name for name in BACKENDS if name != "numpy"]  # the backends with threads


class Curve(NamedTuple):
    """Nanoseconds per sample, per sample in order."""

    over: str
    points: list[int]
    figures: dict[str, list[float]]
    limits: list[float]
    errors: list[str]


class Threads(NamedTuple):
    """A full batch with one thread and with two."""

    name: str
    speedups: dict[str, float]  # by backend
    of_limit: float  # the share of the memory limit that the first backend reaches with two


def _curve(over: str, works: dict[int, Fit], rivals: Sequence[Rival], rounds: int) -> Curve:
    outcomes = [
        measure(Line(f"{at} {over}", work, "ns/sample"), rivals, lambda work: work, rounds)
        for at, work in works.items()
    ]
    names = [rival.name for rival in rivals]
    figures = {name: [outcome.entries[name].minimum for outcome in outcomes] for name in names}
    limits = [outcome.limit or 0.0 for outcome in outcomes]
    errors = [error for outcome in outcomes for error in outcome.errors]
    return Curve(over, list(works), figures, limits, errors)


def over_features(rivals: Sequence[Rival], scale: float, rounds: int) -> Curve:
    """From 1 to 10,000 features, with as many numbers in all."""
    works = {
        d: Fit(max(100, min(1_000_000, int(scale * NUMBERS) // d)), d, epochs=1) for d in FEATURES
    }
    return _curve("features", works, rivals, rounds)


def over_rows(rivals: Sequence[Rival], scale: float, rounds: int) -> Curve:
    """From 1000 to 10,000,000 rows, or as many as fit into an eighth of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    works = {n: Fit(n, AT, epochs=max(1, 100_000 // n)) for n in ROWS if n <= scale * ROWS[-1]}
    works = {n: work for n, work in works.items() if work.bytes <= memory / 8}
    return _curve("rows", works, rivals, rounds)


def threads(scale: float, rounds: int) -> list[Threads]:
    """Full batches that fit in the nearer caches, and one that does not; the digests must agree."""
    cases = {
        "squared error, d=20, in cache": (Fit(50_000, 20, 10, batch_size=None), 1.0),
        "logistic, d=20, in cache": (Fit(50_000, 20, 10, "logistic", batch_size=None), 1.0),
        "squared error, d=100, in cache": (Fit(10_000, 100, 10, batch_size=None), 1.0),
        "squared error, d=100, in memory": (Fit(1_000_000, 100, 2, batch_size=None), scale),
    }
    done = []
    for name, (whole, size) in cases.items():
        work = whole.of_rows(whole.rows * size)
        rows = data(work)
        runs = {
            (backend, count): _run(work._replace(threads=count), rows, backend)
            for backend in SHARING
            for count in (1, 2)
        }
        turns = benchmarks.race(runs, range(rounds))
        assert benchmarks.agree(turns), f"{name}: other bytes with other threads"
        seconds = {key: min(turn.seconds) for key, turn in turns.items()}
        least = work.bytes * work.epochs / limit.bandwidth(work.bytes, 2)
        speedups = {backend: seconds[backend, 1] / seconds[backend, 2] for backend in SHARING}
        done.append(Threads(name, speedups, least / seconds[SHARING[0], 2]))
    return done


def _run(work: Fit, rows: Data, backend: str) -> Callable[[], gd.FitResult]:
    options = Gdfast(backend).options(work)
    return lambda: gd.fit(*rows, epochs=work.epochs, **options)
