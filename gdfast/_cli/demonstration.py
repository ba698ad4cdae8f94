"""The fits and the picture of `gdfast demo`: one data set, every mode, every backend."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdfast import _backends, plot
from gdfast._training.fit import fit
from gdfast.datasets import Dataset
from gdfast.results import FitResult

EPOCHS = 100
SHOWN = 15  # epochs in the picture: after them the lines are flat
WARM_RUNS = 3  # at least, and for so many seconds: a processor takes a while to reach its speed
WARM_SECONDS = 0.1
MODES: dict[str, dict[str, Any]] = {
    "per-sample": {"batch_size": 1, "average": True},
    "mini-batch": {"batch_size": 32},
    "full batch": {},
}


class Run(NamedTuple):
    """A mode on a backend."""

    mode: str
    backend: str
    first: float  # seconds of the first fit; for numba with its compilation
    seconds: float  # of the fastest fit after it
    rows_per_second: float
    final_loss: float  # of the model returned, on all rows
    result: FitResult


def runs(data: Dataset) -> Iterator[Run]:
    """Fit the data in every mode on every backend that is available, and tell how long it took."""
    available = [name for name in _backends.TABLE if _backends.why_not(name) is None]
    for mode, options in MODES.items():
        for backend in available:
            seconds: list[float] = []
            while len(seconds) < 1 + WARM_RUNS or sum(seconds[1:]) < WARM_SECONDS:
                start = time.perf_counter()
                result = fit(
                    data.X, data.y, epochs=EPOCHS, standardize=True, backend=backend, **options
                )
                seconds.append(time.perf_counter() - start)
            best = min(seconds[1:])
            yield Run(
                mode,
                backend,
                first=seconds[0],
                seconds=best,
                rows_per_second=EPOCHS * len(data.y) / best,
                final_loss=float(np.mean((result.predict(data.X) - data.y) ** 2)),
                result=result,
            )


def least_squares(data: Dataset) -> float:
    """The smallest loss there is, from the closed form."""
    columns = np.column_stack([data.X, np.ones(len(data.y))])
    coef = np.linalg.lstsq(columns, data.y, rcond=None)[0]
    return float(np.mean((columns @ coef - data.y) ** 2))


def draw(done: list[Run], smallest: float, path: Path) -> None:
    """Save a picture of the losses falling, a line for each mode: the backends' lines are the same."""
    try:
        from matplotlib.figure import Figure  # without pyplot, which may look for a screen
    except ImportError as error:
        raise ImportError("it needs matplotlib: pip install matplotlib") from error

    figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    ax = figure.subplots()
    labels = {"per-sample": "per sample", "mini-batch": "mini-batches of 32"}
    plot.losses({labels.get(run.mode, run.mode): run.result for run in done}, ax=ax, log=True)
    for line in ax.lines:
        line.set(marker="o", markersize=3.5)
    ax.axhline(smallest, color="0.3", linewidth=0.8, linestyle="--")
    ax.annotate(
        f"least squares: {smallest:,.0f}",
        (SHOWN, smallest),
        xytext=(0, -5),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="top",
        color="0.3",
        fontsize="small",
    )
    ax.set_xlim(-0.2, SHOWN + 0.2)
    ax.set_ylim(bottom=smallest / 1.6)
    ax.set_ylabel("mean squared error (g²)")
    ax.set_title(
        "The body mass of 333 penguins, by gradient descent", loc="left", fontsize="medium"
    )
    ax.legend(frameon=False)
    figure.savefig(path)
