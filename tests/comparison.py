"""Fits of gdfast compared with those of the reference.

`verdict` says how they differ. A number may not be off by more than FACTOR times what rounding does to the reference
itself. Where rounding decides a comparison or is amplified beyond LIMIT, as at the kink of a loss or in the sign of a
gradient that is 0, a fit is compared up to that epoch.
"""

import functools
import inspect
import warnings
from dataclasses import dataclass, field

import numpy as np

import gdfast as gd
import reference_fit
from rounding import FACTOR, WIDE, Arithmetic, Sampled, total

FLOOR = 8.0  # units in the last place that are never too many
LIMIT = 1e4  # times the unit in the last place: the spread of the weights from which on nothing can be told
AUTO = 2e-3  # how much lower the curvature may be that is found than it is

# The defaults of `gdfast.fit`, without those that must not change a result.
DEFAULTS = {
    name: argument.default
    for name, argument in inspect.signature(gd.fit).parameters.items()
    if name not in ("progress", "backend", "threads")
}


# --- The order of the rows and the rows held out, as they are seen from outside.


@functools.lru_cache(10_000)
def orders(n, seed, epochs):
    """The rows of each epoch in the order of the visits.

    Row i holds a 1 in column i alone and is always below its target, so a step adds half its rate to the weight i: as
    the rates fall, the largest growth in an epoch is that of the row visited first.
    """
    r = gd.fit(
        np.eye(n),
        np.full(n, 1e6),
        loss=gd.losses.Quantile(0.5),
        lr=gd.schedules.InverseScaling(1.0, power=1.0),
        batch_size=1,
        epochs=epochs,
        fit_intercept=False,
        seed=seed,
        trace="coef",
    )
    growth = np.diff(r.history.coef, axis=0)
    visited = np.argsort(-growth, axis=1)
    steps = np.arange(1, n * epochs + 1).reshape(epochs, n)
    in_turn = np.take_along_axis(growth, visited, axis=1) * 2 * steps
    assert np.abs(in_turn - 1).max(initial=0) < 0.1 / (n * epochs + 1), "a row was not visited once"
    return visited


def held_out(y, loss, seed, fraction):
    """The rows taken for validation, as a mask: those whose column never gets a weight.

    Of classes in a single column some of each are taken, so the targets count.
    """
    n, smooth = len(y), "squared_error"
    if loss.name in reference_fit.SIGNS:
        smooth = "logistic"
    elif loss.name == "softmax":
        smooth = "softmax"
    else:
        y = np.ones(n)
    options = {"validation": fraction, "fit_intercept": False, "seed": seed, "epochs": 1, "lr": 0.1}
    r = gd.fit(np.eye(n), y, loss=smooth, **options)
    return (r.coef.reshape(-1, n) == 0).all(axis=0)


# --- Both fits.


@dataclass
class Heard:
    """A callback that keeps the results that it is given, and stops after an epoch."""

    stops_after: int | None = None
    results: list = field(default_factory=list)

    def __call__(self, result):
        self.results.append(result)
        return self.stops_after is not None and len(self.results) > self.stops_after


def fitted(X, y, **arguments):
    """The result of gdfast, or what a divergence leaves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the loss rose", RuntimeWarning)
        try:
            return gd.fit(X, y, **arguments)
        except gd.DivergenceError as error:
            return error.result


def expected(X, y, r, *, seed_of_rounding=0, **arguments):
    """The outcome of the reference for the arguments of `gdfast.fit` that led to the result r."""
    given = {**DEFAULTS, **arguments}
    sparse = hasattr(X, "toarray")
    X = X.toarray() if sparse else np.asarray(X)
    y, n, epochs = np.asarray(y), len(X), given["epochs"]
    draws, shuffled = given.pop("seed"), given.pop("shuffle") and given["batch_size"] is not None
    if isinstance(given["validation"], float):
        given["validation"] = held_out(y, r.loss, draws, given["validation"])
        n -= int(given["validation"].sum())
    visited = orders(n, draws, epochs) if shuffled and epochs else [np.arange(n)] * epochs
    callback = given.pop("callback")
    for name in ("X", "y", "lr", "trace"):
        del given[name]
    return reference_fit.fit(
        X,
        y,
        **given | {"loss": r.loss, "optimizer": r.optimizer},
        first_rate=float(r.history.lr[0]) if len(r.history.lr) else 1.0,
        sparse=sparse,
        arithmetic=Arithmetic(r.coef.dtype, seed_of_rounding),
        visits=visited.__getitem__,
        stops_after=None if callback is None else callback.stops_after,
    )


# --- How they differ.


@dataclass
class Verdict:
    """The outcome of a comparison: up to where it went, and the differences found."""

    dtype: np.dtype
    differences: list = field(default_factory=list)
    epochs: int = 0  # compared
    cut: str | None = None  # what ended the comparison before the fit ended
    worst: float = 0.0  # of all errors, in parts of those allowed

    def same(self, name, got, expected):
        """Compare what is no matter of rounding."""
        if got != expected:
            self.differences.append(f"{name} is {got}, not {expected}")

    def alike(self, name, got, expected, size=0):
        """Compare numbers with samples of them, where they are sums of terms that together have this size."""
        limits = np.finfo(self.dtype)
        with np.errstate(all="ignore"):
            error = np.abs(got.astype(WIDE) - expected.exact)
            size = np.maximum(np.abs(expected.exact), size)
            allowed = (
                FACTOR * expected.spread + FLOOR * limits.eps * size + limits.smallest_subnormal
            )
            off = np.where((error == 0) | (got == expected.exact), 0, error / allowed)
        if not off.size:
            return
        most = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), off.shape)
        self.worst = max(self.worst, float(off[most]))
        if not off[most] <= 1:
            self.differences.append(
                f"{name}{list(map(int, most))} is {got[most]!r}, not {float(expected.exact[most])!r}: off by "
                f"{error[most]:.2g}, where rounding makes {expected.spread[most]:.2g}"
            )


def verdict(X, y, *, backend=None, seed_of_rounding=0, **arguments):
    """Whether a fit of gdfast is that of the reference. A callback must be a `Heard`."""
    r = fitted(X, y, backend=backend, **arguments)
    o = expected(X, y, r, seed_of_rounding=seed_of_rounding, **arguments)
    v = compared(r, o, arguments.get("callback"))
    if r.optimizer.lr == "auto" and o.auto is not None and len(r.history.lr):
        (low, high), lr = o.auto, r.history.lr[0]
        if not low * (1 - 1e-5) <= lr <= high * (1 + AUTO):
            v.differences.append(f'the rate "auto" is {lr!r}, not from {low} to {high}')
    if v.cut is None:
        p, size = predictions(X, o.model)
        v.alike("decision_function", r.decision_function(X).reshape(p.shape), p, size)
    return v


def predictions(X, models):
    """x.w + b of each row and model, (n, k), and the size of the terms."""
    rows = models.arithmetic.array(X.toarray() if hasattr(X, "toarray") else X)
    terms, intercepts = rows[:, None, :] * models[:, :-1], models[:, -1]
    size = np.abs(terms.exact).sum(axis=-1) + np.abs(intercepts.exact)
    return total(terms, axis=-1) + intercepts, size


def compared(r, o, heard):
    """The verdict on the result r, and on what the callback heard, by the outcome o of the reference."""
    v = Verdict(r.coef.dtype, cut=o.undecided)
    k, d = o.model.shape[0], o.model.shape[1] - 1

    def models_alike(name, coef, intercept, expected):
        expected = expected[None] if len(expected.shape) == 2 else expected
        v.alike(name.format("coef"), np.reshape(coef, (-1, k, d)), expected[:, :, :d])
        v.alike(name.format("intercept"), np.reshape(intercept, (-1, k)), expected[:, :, d])

    v.epochs = min(o.settled, len(o.loss))
    for epoch, models in enumerate([*o.trace[: v.epochs + 1], o.model]):
        if amplified(models):
            v.epochs, v.cut = min(v.epochs, max(0, epoch - 1)), v.cut or "amplified"
            break
    if r.n_epochs < v.epochs:
        v.same("n_epochs", r.n_epochs, f"at least {v.epochs}")
        v.epochs = r.n_epochs
    if v.cut is None:
        v.same("stop_reason", r.stop_reason, o.stop_reason)
        v.same("converged", r.converged, o.stop_reason == "tol")
        v.same("n_epochs", r.n_epochs, len(o.loss))
        v.same("n_steps", r.n_steps, o.n_steps)
        models_alike("{}", r.coef, r.intercept, o.model)
        if heard is not None:
            v.same("calls of the callback", len(heard.results), len(o.heard))
    history = r.history
    for name in ("lr", "loss", "objective", "grad_norm", "val_loss"):
        got, numbers = getattr(history, name), getattr(o, name)
        v.same(f"dtype of {name}", got.dtype, v.dtype)
        v.same(f"length of {name}", len(got), 0 if numbers is None else r.n_epochs)
        numbers = (numbers or [])[: v.epochs]
        if numbers:
            size = float(got.max()) if name == "lr" else 0  # a cosine's falls to 0
            v.alike(f"history.{name}", got[: len(numbers)], stacked(numbers), size)
    if history.coef is not None:
        until = slice(v.epochs + 1)
        trace = history.coef[until], history.intercept[until]
        models_alike("history.{}", *trace, stacked(o.trace[until]))
    if heard is not None:
        for epoch, (then, model) in enumerate(
            zip(heard.results, o.heard[: v.epochs], strict=False)
        ):
            models_alike(f"{{}} after epoch {epoch}", then.coef, then.intercept, model)
    return v


def stacked(samples):
    """These, of one shape, along a new axis."""
    return Sampled(np.stack([s.samples for s in samples], axis=1), samples[0].arithmetic)


def amplified(models):
    """Whether rounding moves the weights so far that nothing can be told."""
    eps = np.finfo(models.arithmetic.dtype).eps
    with np.errstate(all="ignore"):
        return not models.spread.max() <= LIMIT * eps * np.abs(models.exact).max()
