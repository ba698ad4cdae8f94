"""The options of a fit, each checked once."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gdfast import _backends, losses, optimizers
from gdfast._numerics.penalties import Penalty
from gdfast._training import learning_rates
from gdfast._training.run import Callback
from gdfast._validation import check_flag, check_int, check_number, check_representable
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import FitResult


class Options(NamedTuple):
    """The arguments of `fit` that are not data."""

    loss: Loss
    optimizer: Optimizer
    batch_size: int | None
    epochs: int
    fit_intercept: bool
    penalty: Penalty
    shuffled: bool
    seed: int
    tol: float
    patience: int | None
    standardized: bool
    averaged: bool
    clip_norm: float  # inf: no clipping
    traced: bool
    callback: Callback | None
    progress: bool
    threads: int

    def check_representable(self, dtype: np.dtype[Any]) -> None:
        """Check that float32, if that is the dtype of X, can hold the numbers."""
        if dtype == np.float64:
            return
        if self.clip_norm < float(np.finfo(dtype).max):  # above, nothing is clipped
            check_representable("clip_norm", self.clip_norm, dtype)
        penalties = {"l1": self.penalty.l1, "l2": self.penalty.l2}
        for name, number in (vars(self.loss) | penalties).items():
            check_representable(name, number, dtype)
        learning_rates.check_numbers(self.optimizer, dtype, "X")


def checked(
    *,
    loss: str | Loss = "squared_error",
    optimizer: str | Optimizer = "sgd",
    lr: Rate | None = None,
    batch_size: int | None = None,
    epochs: int = 1,
    fit_intercept: bool = True,
    l1: float = 0.0,
    l2: float = 0.0,
    shuffle: bool = True,
    seed: int = 0,
    tol: float = 0.0,
    patience: int | None = None,
    standardize: bool = False,
    average: bool = False,
    clip_norm: float | None = None,
    trace: str | None = None,
    callback: Callable[[FitResult], Any] | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Options:
    """The options, each in its range."""
    record = optimizers.for_data(optimizer, lr)
    size = None if batch_size is None else check_int("batch_size", batch_size, 1)
    if trace is not None and str(trace) != "coef":
        raise ValueError(f'trace={trace!r} must be None or "coef"')
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, not {callback!r}")
    clip = math.inf
    if clip_norm is not None:
        clip = check_number("clip_norm", clip_norm, 0, math.inf, include_low=False)
    return Options(
        loss=losses.find(loss),
        optimizer=record,
        batch_size=size,
        epochs=check_int("epochs", epochs, 0),
        fit_intercept=check_flag("fit_intercept", fit_intercept),
        penalty=Penalty(
            check_number("l1", l1, 0, math.inf),
            check_number("l2", l2, 0, math.inf),
            record.plain,
            record.decay,
        ),
        shuffled=check_flag("shuffle", shuffle) and size is not None,
        seed=check_int("seed", seed, 0, 2**64 - 1),
        tol=check_number("tol", tol, 0, math.inf),
        patience=None if patience is None else check_int("patience", patience, 1),
        standardized=check_flag("standardize", standardize),
        averaged=check_flag("average", average),
        clip_norm=clip,
        traced=trace is not None,
        callback=callback,
        progress=check_flag("progress", progress),
        threads=_backends.default_threads()
        if threads is None
        else check_int("threads", threads, 1),
    )
