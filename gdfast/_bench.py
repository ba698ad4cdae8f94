"""Races between the backends: the same fit by each, in turns, so that what slows the machine slows all of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gdfast.problem import Array
from gdfast.results import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WARM_UP = 0.02  # seconds before each measurement: after another backend's turn a fit takes up to twice its time


class Work(NamedTuple):
    """Rows to fit."""

    X: Array
    y: Array
    lr: float  # a rate that is stable for SGD in any order of the rows


class Turns(NamedTuple):
    """What a backend did in a race."""

    seconds: list[float]
    digests: set[str]  # of all its fits: one, and the same as that of the others


def work(rows: int, features: int) -> Work:
    """A linear model and noise; |x_ij| < 1."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (rows, features))
    y = X @ rng.uniform(-1, 1, features) + rng.normal(size=rows)
    return Work(X, y, 0.5 / (features + 1))


def targets(y: Array, kind: str) -> Array:
    """Targets of this kind that depend on the rows as y does."""
    made: dict[str, Array] = {
        "numbers": y,
        "counts": np.floor(np.abs(y)),
        "signs": y > 0,
        "classes": np.digitize(y, [-1, 1]),
    }
    return made[kind]


def race(
    fit: Callable[..., FitResult], backends: Sequence[str], rounds: Iterable[object]
) -> dict[str, Turns]:
    """Time ``fit(backend=...)`` of each backend in every round, after fits that are not measured: they may compile."""
    turns = {backend: Turns([], {fit(backend=backend).digest}) for backend in backends}
    for _ in rounds:
        for backend, (seconds, digests) in turns.items():
            start = time.perf_counter()
            while time.perf_counter() - start < WARM_UP:
                fit(backend=backend)
            start = time.perf_counter()
            result = fit(backend=backend)
            seconds.append(time.perf_counter() - start)
            digests.add(result.digest)
    return turns


def agree(turns: Mapping[str, Turns]) -> bool:
    """Whether all fits of a race gave the same bytes."""
    return len(set().union(*(turn.digests for turn in turns.values()))) == 1


def table(label: str, turns: Mapping[str, Turns], rows: int) -> list[dict[str, str | float]]:
    """The nanoseconds per row of each backend, and how many times those of the fastest they are."""
    nanoseconds = 1e9 / rows
    fastest = min(median(turn.seconds) for turn in turns.values())
    return [
        {
            "work": label,
            "backend": backend,
            "median": _rounded(median(turn.seconds) * nanoseconds),
            "minimum": _rounded(min(turn.seconds) * nanoseconds),
            "ratio": _rounded(median(turn.seconds) / fastest),
        }
        for backend, turn in turns.items()
    ]


def _rounded(number: float) -> float:
    """To four digits: the others are noise."""
    return float(f"{number:.4g}")


def draw(times: Sequence[Mapping[str, str | float]], ax: "Axes") -> None:
    """Draw the medians: a group of bars for each work, and a bar for each backend."""
    works = list(dict.fromkeys(str(row["work"]) for row in times))
    backends = list(dict.fromkeys(row["backend"] for row in times))
    width = 0.8 / len(backends)
    for k, backend in enumerate(backends):
        heights = [row["median"] for row in times if row["backend"] == backend]
        places = np.arange(len(works)) + (k - (len(backends) - 1) / 2) * width
        bars = ax.bar(places, heights, width, label=backend)
        ax.bar_label(bars, [f"{height:g}" for height in heights], fontsize="small")
    ax.set_xticks(range(len(works)), works)
    ax.set_yscale("log")
    ax.set_ylabel("ns per row")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
