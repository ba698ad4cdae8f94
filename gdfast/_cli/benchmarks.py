"""Races: the same work by each competitor, in turns, so that what slows the machine slows all of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from gdfast._typing import Array
from gdfast.results import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WARM_UP = (
    0.02  # seconds before each measurement: after another's turn a fit takes up to twice its time
)

K = TypeVar("K")
R = TypeVar("R")


class Work(NamedTuple):
    """Rows to fit."""

    X: Array
    y: Array
    lr: float  # a rate that is stable for SGD in any order of the rows


class Turns(NamedTuple, Generic[R]):
    """The times and results of a competitor in a race."""

    seconds: list[float]  # of a call, by rounds
    results: list[R]  # of the first call and of the last in each round


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
    runs: Mapping[K, Callable[[], R]], rounds: Iterable[object], warm_up: float | None = None
) -> dict[K, Turns[R]]:
    """Time each competitor in every round, after calls that are not measured: the first may compile.

    A measurement is of so many calls as take a quarter of the warm-up, `WARM_UP` by default, and at least of one.
    """
    warm_up = WARM_UP if warm_up is None else warm_up
    turns: dict[K, Turns[R]] = {name: Turns([], [run()]) for name, run in runs.items()}
    for _ in rounds:
        for name, (seconds, results) in turns.items():
            run, calls = runs[name], 0
            start = time.perf_counter()
            while time.perf_counter() - start < warm_up:
                run()
                calls += 1
            calls = max(1, calls // 4)
            start = time.perf_counter()
            for _ in range(calls):
                result = run()
            seconds.append((time.perf_counter() - start) / calls)
            results.append(result)
    return turns


def agree(turns: Mapping[Any, Turns[FitResult]]) -> bool:
    """Whether all fits of a race gave the same bytes."""
    return len({result.digest for turn in turns.values() for result in turn.results}) == 1


def _maxima(part: Array, times: int) -> None:
    for _ in range(times):
        np.max(part)


def reader(
    size: int, threads: int, read: Callable[[Array, int], Any] = _maxima
) -> tuple[Callable[[], object], int]:
    """A function that reads a working set over and over, and the number of bytes that a call of it reads.

    `read(part, times)` reads an array so many times, without the GIL.
    """
    parts = np.array_split(np.ones(max(threads, size // 8)), threads)
    size = sum(part.nbytes for part in parts)
    times = max(1, (1 << 27) // size)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(read, parts, [times] * threads)), size * times


def read_bandwidth(size: int, threads: int) -> float:
    """The bytes per second at which a working set is read; the best of seven."""
    run, read = reader(size, threads)
    ((seconds, _),) = race({"": run}, range(7), warm_up=0).values()
    return read / min(seconds)


def table(
    label: str, turns: Mapping[str, Turns[FitResult]], rows: int
) -> list[dict[str, str | float]]:
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
