"""`fit`: arguments -> problem -> backend -> result."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, _rates, losses, optimizers, order
from gdfast._scaling import Scaling
from gdfast.checks import check_flag, check_int, check_lr, check_number
from gdfast.errors import DivergenceError
from gdfast.losses import Loss
from gdfast.matrices import as_coef, as_matrix, as_vector, as_weights, check_finite, feature_names
from gdfast.optimizers import Optimizer
from gdfast.problem import Array, Log, Problem, State, Status, cast, useful_threads
from gdfast.results import FitResult, History, StopReason

# A loss has diverged when it is this many times that of predicting 0, or of the initial weights.
DIVERGED = 1e6
# Epochs of few multiplications run several in one call of the backend, up to about this many.
WORK_IN_A_CALL = 1 << 22


def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str | Loss = "squared_error",
    optimizer: str | Optimizer = "sgd",
    lr: float | str | None = None,
    batch_size: int | None = None,
    epochs: int = 100,
    fit_intercept: bool = True,
    coef_init: ArrayLike | None = None,
    intercept_init: float | None = None,
    sample_weight: ArrayLike | None = None,
    standardize: bool = False,
    shuffle: bool = True,
    seed: int = 0,
    tol: float = 0.0,
    validation: tuple[ArrayLike, ArrayLike] | float | None = None,
    patience: int | None = None,
    average: bool = False,
    clip_norm: float | None = None,
    trace: str | None = None,
    callback: Callable[[FitResult], Any] | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
) -> FitResult:
    """Minimise (1/n) sum_i s_i loss(x_i.w + b, y_i) over w and b by gradient descent.

    A step replaces the mean over all n rows by that over a batch of m, and is the optimizer's: for SGD
    w <- w - lr * (1/m) sum_i s_i dloss_i/dp * x_i. The result has the same bits on every backend, for any number of
    threads and any layout of X in memory.

    Parameters
    ----------
    X : array-like (n, d)
        The rows. float32 and float64 keep their dtype and are computed in it; integers become float64.
    y : array-like (n,)
        The targets.
    loss : str or record of `gdfast.losses`, default "squared_error"
        ``"squared_error"`` is (p - y)^2, ``"half_squared_error"`` is (p - y)^2 / 2.
    optimizer : str or record, default "sgd"
        ``"sgd"`` or `gdfast.SGD`.
    lr : float or "auto", optional
        The rate; replaces that of a record. By default that of the record, and ``"auto"`` for a name. ``"auto"`` is
        1 / L for the full batch, L being the largest curvature of the mean loss, and otherwise 1 / R, R being the
        largest curvature of a single row; with momentum m, (1 - m)^2 / (2 R). No fit with it diverges.
    batch_size : int, optional
        Rows per step; the last batch of an epoch may be smaller. 1 is per-sample, None the full batch.
    epochs : int, default 100
        Passes over the rows, at most.
    fit_intercept : bool, default True
        Whether b is trained.
    coef_init : array-like (d,), optional
        The initial w; zeros by default.
    intercept_init : float, optional
        The initial b; 0 by default.
    sample_weight : array-like (n,), optional
        Not negative; scaled to mean 1. A batch still divides by its number of rows.
    standardize : bool, default False
        Train on columns of mean 0 (if an intercept is fitted) and standard deviation 1. The result is for X as it was
        given; rates and gradient norms are those of the training.
    shuffle : bool, default True
        Visit the rows in a new order each epoch; only where batch_size is an int.
    seed : int, default 0
        In [0, 2^64), for the order of the rows and the choice of validation rows.
    tol : float, default 0
        Full batch: stop when no gradient component is larger than tol; the step is then not made. With an int
        batch_size: what an epoch must improve the loss by to count for patience.
    validation : (Xv, yv) or float, optional
        Rows to measure the loss on after each epoch, or which fraction of the rows to take for that.
    patience : int, optional
        Stop after that many epochs in which the validation loss (the loss, without validation) did not improve, and
        return the best weights seen.
    average : bool, default False
        Return the mean of the weights after each step (Polyak-Ruppert) in place of the last.
    clip_norm : float, optional
        Scale a gradient, intercept included, down to this norm, as ``torch.nn.utils.clip_grad_norm_`` does.
    trace : "coef", optional
        Keep the weights after each epoch in ``history.coef`` and ``history.intercept``.
    callback : callable, optional
        Called after each epoch with the `FitResult` so far; returning True or raising StopIteration stops.
    progress : bool, default False
        Show a bar over the epochs; needs tqdm.
    backend : {"cpp", "numba", "numpy"}, optional
        Default: the variable GDFAST_BACKEND, or the best available.
    threads : int, optional
        At most this many, where the work is worth them; the processors at hand by default.

    Returns
    -------
    FitResult
        ``coef``, ``intercept``, ``history``, ``predict``, ``plot``, ``save`` and what led to them.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or X or y hold NaN or infinity: the message names the place.
    DivergenceError
        If the loss stops being finite, or passes 1e6 times the larger of the losses of predicting 0 and of the initial
        weights (on the first 1000 rows). It names a rate that works, and holds the partial result.
    BackendError
        If the backend asked for is not available.

    Warns
    -----
    RuntimeWarning
        If the loss ends above what it was at the start, without having diverged yet.

    References
    ----------
    Bottou, Curtis, Nocedal (2018), "Optimization methods for large-scale machine learning". The optimizers' rules are
    torch.optim's.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0], lr=0.01, coef_init=[1.0], fit_intercept=False)
    >>> r.coef, r.history.loss[:2]
    (array([1.99995123]), array([4.66666667, 3.83620741]))
    """
    engine = _backends.find(backend)
    record = _optimizer(optimizer, lr)
    matrix = as_matrix(X)
    names = feature_names(X)
    dtype = matrix.dtype
    target = as_vector(y, "y", len(matrix), dtype)
    weights = as_weights(sample_weight, len(matrix), dtype)
    start = np.append(
        as_coef(coef_init, "coef_init", (matrix.shape[1],), dtype),
        as_coef(intercept_init, "intercept_init", (), dtype),
    )
    epochs = check_int("epochs", epochs, 0)
    size = None if batch_size is None else check_int("batch_size", batch_size, 1)
    shuffled = check_flag("shuffle", shuffle) and size is not None
    seed = check_int("seed", seed, 0, 2**64 - 1)
    tol = check_number("tol", tol, 0, math.inf)
    patience = None if patience is None else check_int("patience", patience, 1)
    clip = (
        math.inf
        if clip_norm is None
        else check_number("clip_norm", clip_norm, 0, math.inf, include_low=False)
    )
    if trace not in (None, "coef"):
        raise ValueError(f'trace={trace!r} must be None or "coef"')
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, not {callback!r}")

    matrix, target, weights, held_out = _split(matrix, target, weights, validation, seed)
    rows, features = matrix.shape
    scaling = None
    if check_flag("standardize", standardize):
        scaling = Scaling.of(matrix, weights, center=fit_intercept)
        matrix, start = scaling.standardized(matrix), scaling.into(start)
    problem = Problem(
        X=matrix,
        y=target,
        weights=weights,
        loss=losses.find(loss),
        rule=record.rule,
        batch_size=rows if size is None else min(size, rows),
        fit_intercept=check_flag("fit_intercept", fit_intercept),
        clip_norm=clip,
        tol=tol if size is None else -1.0,
        bound=math.inf,
        threads=_backends.default_threads() if threads is None else check_int("threads", threads, 1),
    )
    reference = _reference_loss(problem, start)
    limit = float(np.finfo(dtype).max)
    problem = replace(
        problem,
        bound=min(DIVERGED * reference, limit) if reference else limit,
        threads=problem.useful_threads,
    )
    if epochs == 0:
        check_finite(matrix, "X")
    rate = _rates.auto(engine, problem, record) if record.lr == "auto" else float(record.lr)
    run = _Run(
        engine=engine,
        problem=problem,
        record=record,
        rate=rate,
        seed=seed if shuffled else None,
        scaling=scaling,
        held_out=held_out,
        names=names,
        state=State(
            params=start,
            slots=np.zeros((problem.rule.slots, features + 1), dtype),
            total=np.zeros(features + 1 if check_flag("average", average) else 0, dtype),
            start=start.copy(),
        ),
        log=Log(
            loss=np.empty(epochs, dtype),
            grad_norm=np.empty(epochs, dtype),
            params=np.empty((epochs if trace else 0, features + 1), dtype),
        ),
        origin=start.copy(),
        val_loss=np.empty(0 if held_out is None else epochs, dtype),
        seconds=np.empty(epochs),
    )
    watch = _Patience(patience, threshold=0.0 if size is None else tol)
    stop_reason = run.all_epochs(epochs, watch, callback, check_flag("progress", progress))
    result = run.result(stop_reason, watch.best if patience else None)
    if result.n_epochs and result.history.loss[-1] > 1.5 * reference > 0:
        warnings.warn(
            f"the loss rose to {result.history.loss[-1]:.3g} from {reference:.3g} at the start: {run.advice()}",
            RuntimeWarning,
            stacklevel=2,
        )
    return result


@dataclass
class _Patience:
    """Counts the epochs without improvement, and keeps the best weights."""

    limit: int | None
    threshold: float
    best: Array | None = None
    lowest: float = math.inf
    waited: int = 0

    def spent(self, loss: float, params: Array) -> bool:
        """Whether the limit is reached with this epoch's loss, which was measured at these params."""
        if self.limit is None:
            return False
        if self.best is None or self.lowest - loss > self.threshold:
            self.best, self.lowest, self.waited = params, loss, 0
        else:
            self.waited += 1
        return self.waited >= self.limit


@dataclass
class _Run:
    """A fit under way."""

    engine: ModuleType
    problem: Problem
    record: Optimizer
    rate: float
    seed: int | None  # None: the rows are not shuffled
    scaling: Scaling | None
    held_out: tuple[Array, Array] | None
    names: tuple[str, ...] | None
    state: State
    log: Log
    origin: Array
    val_loss: Array
    seconds: Array
    done: int = 0

    def all_epochs(
        self,
        epochs: int,
        watch: _Patience,
        callback: Callable[[FitResult], Any] | None,
        progress: bool,
    ) -> StopReason:
        """Run the epochs, several in a call where nothing is to be done between them; say why they ended."""
        begin = time.perf_counter()
        one_by_one = (
            callback is not None or progress or watch.limit is not None or self.held_out is not None
        )
        n, d = self.problem.X.shape
        at_once = 1 if one_by_one else max(1, WORK_IN_A_CALL // (n * (d + 1)))
        with _bar(epochs, progress) as show:
            while self.done < epochs:
                first = self.done
                status = self._advance(min(at_once, epochs - first))
                if self.held_out is not None and status != Status.DIVERGED:
                    self.val_loss[first] = self._validate()
                elapsed = time.perf_counter() - begin
                before = self.seconds[first - 1] if first else 0.0
                self.seconds[first : self.done] = np.linspace(
                    before, elapsed, self.done - first + 1
                )[1:]
                if status == Status.DIVERGED:
                    raise self._divergence()
                show(float(self.log.loss[first]))
                if status == Status.TOL:
                    return "tol"
                if watch.spent(*self._measured(first)):
                    return "patience"
                if callback is not None and _stops(callback, self.result("running")):
                    return "callback"
        if not np.isfinite(self.state.params).all():
            raise self._divergence()
        return "epochs"

    def _advance(self, epochs: int) -> Status:
        coming = range(self.done, self.done + epochs)
        part = slice(coming.start, coming.stop)
        if self.seed is None:
            keys = np.empty((epochs, 0), np.uint64)
        else:
            keys = order.round_keys(self.seed, coming)
        rates = np.full(epochs, self.rate, self.log.loss.dtype)
        log = Log(self.log.loss[part], self.log.grad_norm[part], self.log.params[part])
        ran, status = self.engine.descend(self.problem, self.state, rates, keys, log)
        self.done += ran
        return Status(status)

    def _params(self) -> Array:
        """The model so far, for X as it was given."""
        state = self.state
        params = state.params
        if len(state.total) and state.steps:
            params = state.total / params.dtype.type(state.steps)
        return self._given(params)

    def _given(self, params: Array) -> Array:
        return params.copy() if self.scaling is None else self.scaling.back(params)

    def _measured(self, epoch: int) -> tuple[float, Array]:
        """The loss that patience looks at, and the weights at which it was measured."""
        if self.held_out is not None:
            return float(self.val_loss[epoch]), self._params()
        if self.problem.full_batch and not len(self.state.total):
            return float(self.log.loss[epoch]), self._given(self.state.start)
        return float(self.log.loss[epoch]), self._params()

    def _validate(self) -> Any:
        assert self.held_out is not None
        X, y = self.held_out
        p = self.engine.predict(
            X, self._params(), useful_threads(_backends.default_threads(), *X.shape)
        )
        loss = _mean_loss(self.problem.loss, p, y, np.ones(1, y.dtype))
        if not np.isfinite(loss):
            check_finite(X, "validation X")
        return loss

    def result(self, stop_reason: StopReason, params: Array | None = None) -> FitResult:
        """The result so far, by default with the latest weights."""
        params = self._params() if params is None else params
        coef = traced = None
        if len(self.log.params):
            traced = self._given(np.vstack([self.origin, self.log.params[: self.done]]))
            coef, traced = traced[:, :-1], traced[:, -1]
        history = History(
            loss=self.log.loss[: self.done].copy(),
            val_loss=self.val_loss[: self.done].copy(),
            lr=np.full(self.done, self.rate, self.log.loss.dtype),
            grad_norm=self.log.grad_norm[: self.done].copy(),
            seconds=self.seconds[: self.done].copy(),
            coef=coef,
            intercept=traced,
        )
        return FitResult(
            coef=params[:-1],
            intercept=float(params[-1]),
            history=history,
            n_epochs=self.done,
            n_steps=self.state.steps,
            converged=stop_reason == "tol",
            stop_reason=stop_reason,
            loss=self.problem.loss,
            optimizer=self.record,
            backend=self.engine.NAME,
            feature_names=self.names,
        )

    def _divergence(self) -> Exception:
        """The error for an epoch whose loss is lost: bad data, or a rate that is too large."""
        check_finite(self.problem.X, "X")
        epoch = self.done - 1
        loss = float(self.log.loss[epoch])
        self.state.params[:] = self.state.start
        message = f"lr={self.rate:.6g} diverged at epoch {epoch}, where the loss was {loss:.3g}; {self.advice()}"
        return DivergenceError(
            message,
            result=self.result("divergence", self._given(self.state.start)),
            epoch=epoch,
            lr=self.rate,
            stable_lr=_rates.stable(self.engine, self.problem, self.record),
        )

    def advice(self) -> str:
        """Which rate works for these data, and whether the scales of the features are in the way."""
        rate = _round_down(_rates.stable(self.engine, self.problem, self.record))
        kind = (
            "stable rate for this data"
            if self.problem.full_batch
            else "rate that is stable in any order of the rows"
        )
        words = f"the largest {kind} is {rate:.6g}"
        spread = _rates.spread(self.problem)
        if self.scaling is None and spread.ratio > 10:
            words += (
                f". The features' scales differ by a factor of {spread.ratio:.3g} ({spread.largest} against "
                f"{spread.smallest}): standardize=True allows a larger one"
            )
        return words


def _optimizer(optimizer: str | Optimizer, lr: float | str | None) -> Optimizer:
    """The record, with the rate that is asked for."""
    record = optimizers.find(optimizer)
    if lr is None and isinstance(optimizer, str):
        lr = record.lr_by_name
    return record if lr is None else replace(record, lr=check_lr(lr))  # type: ignore[type-var]


def _split(
    X: Array, y: Array, weights: Array, validation: Any, seed: int
) -> tuple[Array, Array, Array, tuple[Array, Array] | None]:
    """Training rows with their weights, and validation rows: a pair as given, or a fraction drawn by the seed."""
    if validation is None:
        return X, y, weights, None
    n, d = X.shape
    if isinstance(validation, tuple | list):
        if len(validation) != 2:
            raise ValueError(
                f"validation has {len(validation)} parts: it must be a pair (Xv, yv) or a fraction"
            )
        Xv = as_matrix(as_matrix(validation[0], "validation X").astype(X.dtype), "validation X")
        yv = as_vector(validation[1], "validation y", len(Xv), X.dtype, "validation X")
        if Xv.shape[1] != d:
            raise ValueError(f"validation X has {Xv.shape[1]} features, X has {d}")
        check_finite(yv, "validation y")
        return X, y, weights, (Xv, yv)
    fraction = check_number("validation", validation, 0, 1, include_low=False, include_high=False)
    count = max(1, round(fraction * n))
    if count >= n:
        raise ValueError(
            f"validation={fraction} takes {count} of {n} rows: none is left to train on"
        )
    drawn = np.zeros(n, bool)
    drawn[order.visit(np.arange(count), order.round_keys(seed, range(-1, 0))[0], n)] = True
    kept = ~drawn
    check_finite(y, "y")
    check_finite(X, "X")
    if len(weights) > 1:
        weights = as_weights(weights[kept], n - count, X.dtype)
    return (
        as_matrix(X[kept]),
        as_vector(y[kept], "y", n - count, X.dtype),
        weights,
        (as_matrix(X[drawn]), as_vector(y[drawn], "y", count, X.dtype)),
    )


def _mean_loss(loss: Loss, p: Array, y: Array, weights: Array) -> Any:
    with np.errstate(all="ignore"):
        terms = weights * cast(loss, y.dtype).value(p, y)  # type: ignore[type-var]
        return order.sum_rows(terms) / y.dtype.type(len(y))


def _reference_loss(problem: Problem, params: Array) -> float:
    """The larger of the losses of predicting 0 and, on the first rows, of the initial weights."""
    y, weights = problem.y, problem.weights
    reference = float(_mean_loss(problem.loss, np.zeros_like(y), y, weights))
    if params.any():
        some = slice(1000)
        with np.errstate(all="ignore"):
            p = order.dot(problem.X[some], params[:-1]) + params[-1]
        s = weights[some] if len(weights) > 1 else weights
        reference = max(reference, float(_mean_loss(problem.loss, p, y[some], s)))
    if not math.isfinite(reference):
        check_finite(y, "y")
        check_finite(problem.X, "X")
        raise ValueError(
            f"the loss at the start overflows {y.dtype}: the largest y is {np.abs(y).max()}; divide y by a constant, "
            "or give smaller initial weights"
        )
    return reference


def _stops(callback: Callable[[FitResult], Any], result: FitResult) -> bool:
    try:
        return callback(result) is True
    except StopIteration:
        return True


@contextmanager
def _bar(epochs: int, progress: bool) -> Iterator[Callable[[float], None]]:
    """What shows an epoch's loss as it is done: a bar of tqdm, or nothing."""
    if not progress:
        yield lambda loss: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install tqdm") from error
    with tqdm(total=epochs, unit="epoch") as bar:

        def show(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.6g}", refresh=False)
            bar.update()

        yield show


def _round_down(rate: float) -> float:
    """To three digits."""
    if not 0 < rate < math.inf:
        return rate
    unit = 10.0 ** (math.floor(math.log10(rate)) - 2)
    return math.floor(rate / unit) * unit
