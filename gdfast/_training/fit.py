"""`fit`: arguments -> problem -> backend -> result."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends
from gdfast._data.arrays import as_matrix, as_unscaled_weights, as_weights
from gdfast._data.dataset import Dataset
from gdfast._data.frames import check_names, feature_names
from gdfast._data.targets import Coding, coding
from gdfast._numerics.float_mode import standard
from gdfast._training.options import Options, checked
from gdfast._training.prepare import begin, initial_params
from gdfast._training.run import Continued, Run
from gdfast._training.stopping import Patience
from gdfast._training.validation import split
from gdfast._typing import Array
from gdfast._validation import names_arguments
from gdfast._warnings import warn
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import FitResult


@names_arguments
@standard
def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str | Loss = "squared_error",
    optimizer: str | Optimizer = "sgd",
    lr: Rate | None = None,
    batch_size: int | None = None,
    epochs: int = 100,
    fit_intercept: bool = True,
    coef_init: ArrayLike | None = None,
    intercept_init: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
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
    """Minimise (1/n) sum_i s_i loss(x_i.w + b, y_i) + l1 sum abs(w) + l2/2 sum w^2 by gradient descent.

    A step replaces the mean over all n rows by that over a batch of m, and is the optimizer's: for SGD
    w <- w - lr * ((1/m) sum_i s_i dloss_i/dp * x_i + l2 w), shrunk by lr * l1. The result has the same bits on every
    backend, for any number of threads and any layout of X in memory.

    Parameters
    ----------
    X : array-like or scipy sparse (n, d)
        The rows. float32 and float64 keep their dtype and are computed in it; integers become float64. A pandas
        frame with a sparse column is sparse rows. Sparse rows
        stay sparse: with SGD, Adagrad, RMSprop, Adadelta and SparseAdam a step of a batch costs no more than its
        nonzeros, averages and clipping included, and an epoch some passes over the d weights. A step costs d where it
        moves all weights: with other optimizers, with weight decay, with l1 or l2 unless by SGD without momentum and
        without clip_norm, and for the full batch.
    y : array-like (n,) or (n, k)
        The targets: numbers; counts for ``"poisson"``; for the losses of classes labels, which are numbers, text or
        booleans: of two kinds for those of two classes. The distinct labels, sorted, are the classes; of two, the
        second is the one with positive p. With k columns, which ``"softmax"`` does not take, k models are trained at
        once, whose losses are added.
    loss : str or record of `gdfast.losses`, default "squared_error"
        For numbers ``"squared_error"``, (p - y)^2, ``"half_squared_error"``, (p - y)^2 / 2, ``"huber"``,
        ``"epsilon_insensitive"``, ``"squared_epsilon_insensitive"``, ``"quantile"``; for counts ``"poisson"``; for two
        classes ``"logistic"`` (or ``"log_loss"``), ``"hinge"``, ``"squared_hinge"``, ``"modified_huber"``,
        ``"perceptron"``; for several ``"softmax"``.
    optimizer : str or record, default "sgd"
        ``"sgd"``, ``"adagrad"``, ``"rmsprop"``, ``"adadelta"``, ``"adam"``, ``"adamw"``, ``"sparseadam"``,
        ``"adamax"``, ``"nadam"``, ``"radam"``, ``"rprop"`` (full batch only), ``"asgd"``, ``"lion"``, or a record such
        as ``gd.Adam(lr=0.01)``.
    lr : float, schedule or "auto", optional
        The rate, or a record of `gdfast.schedules`; replaces that of the optimizer. By default that of the record, and
        for a name its default, which is ``"auto"`` for ``"sgd"``. ``"auto"``, for SGD and ASGD, is 1 / L for the full
        batch, L being the largest curvature of the mean loss (by Lanczos' method), or less with Nesterov's momentum,
        dampening, or a momentum above 0.9 of an objective that is not quadratic; and otherwise 1 / R, R being the
        largest curvature of a single row, or (1 - m)^2 / (2 R) with momentum m. l2 and weight decay add to L and R.
        Where the loss has a kink, the rate after t steps is f / (G^2 R sqrt(1 + t / t0)), with f the loss at the start,
        G its steepest slope, R the largest squared norm of a row, or for the full batch the largest eigenvalue of the
        mean of x x', and t0 = R, or 1 without an intercept. For ``"poisson"``, whose curvature has no bound, L is R
        times the most that the mean of exp(p) can be where the loss is no larger than at the start, and an epoch of
        batches shares that rate among its steps. No fit with it diverges.
    batch_size : int, optional
        Rows per step; the last batch of an epoch may be smaller. 1 is per-sample, None the full batch.
    epochs : int, default 100
        Passes over the rows, at most.
    fit_intercept : bool, default True
        Whether b is trained.
    coef_init : array-like (d,) or (k, d), optional
        The initial w; zeros by default.
    intercept_init : float or array-like (k,), optional
        The initial b; 0 by default.
    l1, l2 : float, default 0
        The penalties of w; b has none. Zeros that come from l1 are exact. Optimizers other than plain SGD follow the
        least slope of the objective and stop at 0 before they cross it (Andrew and Gao 2007).
    sample_weight : array-like (n,), optional
        Not negative; scaled to mean 1. A batch still divides by its number of rows. A row of weight 0 is in no sum, and
        nothing in it overflows; where there are some, X is copied.
    standardize : bool, default False
        Train on columns of mean 0 (if an intercept is fitted) and standard deviation 1. The result is for X as it was
        given; rates, gradient norms and penalties are those of the training. Sparse columns are scaled, not centred.
    shuffle : bool, default True
        Visit the rows in a new order each epoch; only where batch_size is an int.
    seed : int, default 0
        In [0, 2^64), for the order of the rows and the choice of validation rows.
    tol : float, default 0
        Full batch: stop when no component of the objective's gradient is larger than tol, where l1 has its least slope;
        the step is then not made. The weight decay of an optimizer is part of the objective, unless it is decoupled.
        With an int batch_size: what an epoch must improve the loss by to count for patience.
    validation : (Xv, yv) or float, optional
        Rows to measure the loss on after each epoch, with the columns of X in the order of X; or which fraction of the
        rows to take for that, of each class where y is a column of classes.
    patience : int, optional
        Stop after that many epochs that did not improve the validation loss or, without validation,
        ``history.objective``, the loss and the penalties. Whatever ends the fit, the best weights seen are returned;
        without validation, where tol is reached, those that reach it.
    average : bool, default False
        Return the mean of the weights after each step (Polyak-Ruppert) in place of the last.
    clip_norm : float, optional
        Scale a gradient, intercept included, down to this norm, as ``torch.nn.utils.clip_grad_norm_`` does. It is that
        of the objective, where l1 has its least slope; the threshold of a step by l1 is scaled with it, so that the
        minimum is the same. The optimizer's weight decay is added after the clipping, as in torch.
    trace : "coef", optional
        Keep the weights after each epoch in ``history.coef`` and ``history.intercept``.
    callback : callable, optional
        Called after each epoch with the `FitResult` so far; returning True or raising StopIteration stops.
    progress : bool, default False
        Show a bar over the epochs; needs tqdm.
    backend : {"cpp", "numba", "numpy"}, optional
        Default: the variable GDFAST_BACKEND, or the best available.
    threads : int, optional
        At most this many, where the work is worth them. Default: the variable GDFAST_THREADS, or the processors that
        this process may run on, by a container's quota too; at most OMP_NUM_THREADS, which joblib sets in its workers.

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
        weights, unless its slopes are bounded by a kink, as hinge's are. It names a rate that works, and holds the
        partial result. If the squares of gradients overflow in an optimizer's states: it names the column.
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
    (array([1.99994444]), array([4.66666667, 3.83620741]))
    """
    began = time.perf_counter()
    engine = _backends.find(backend)
    options = checked(
        loss=loss,
        optimizer=optimizer,
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        fit_intercept=fit_intercept,
        l1=l1,
        l2=l2,
        shuffle=shuffle,
        seed=seed,
        tol=tol,
        patience=patience,
        standardize=standardize,
        average=average,
        clip_norm=clip_norm,
        trace=trace,
        callback=callback,
        progress=progress,
        threads=threads,
    )
    run = prepared(
        engine,
        options,
        X,
        y,
        began,
        sample_weight=sample_weight,
        coef_init=coef_init,
        intercept_init=intercept_init,
        validation=validation,
    )
    return finish(run, options)


@standard
def fit_and_state(
    X: ArrayLike,
    y: ArrayLike,
    *,
    backend: str | None = None,
    sample_weight: ArrayLike | None = None,
    coef_init: ArrayLike | None = None,
    intercept_init: ArrayLike | None = None,
    validation: tuple[ArrayLike, ArrayLike] | float | None = None,
    names: tuple[str, ...] | None = None,
    strata: Array | None = None,
    weights_name: str = "sample_weight",
    **options: Any,
) -> tuple[FitResult, Continued]:
    """`fit`, and the state from which `partial` continues it.

    The names are those of the columns, where X itself has none; `strata` and `weights_name` are as for `split`.
    """
    began = time.perf_counter()
    engine = _backends.find(backend)
    asked = checked(**options)
    run = prepared(
        engine,
        asked,
        X,
        y,
        began,
        sample_weight=sample_weight,
        coef_init=coef_init,
        intercept_init=intercept_init,
        validation=validation,
        names=names,
        strata=strata,
        weights_name=weights_name,
    )
    result = finish(run, asked)
    return result, run.handed_on(result)


def prepared(
    engine: _backends.Backend,
    options: Options,
    X: ArrayLike,
    y: ArrayLike,
    began: float,
    *,
    sample_weight: ArrayLike | None,
    coef_init: ArrayLike | None,
    intercept_init: ArrayLike | None,
    validation: tuple[ArrayLike, ArrayLike] | float | None,
    names: tuple[str, ...] | None = None,
    strata: Array | None = None,
    weights_name: str = "sample_weight",
) -> Run:
    """Check the data, and set a fit up that began, by time.perf_counter, when its function was called."""
    matrix = as_matrix(X, sparse=True)
    (rows, features), dtype = matrix.shape, matrix.dtype
    targets, coded = coding(y, options.loss, rows, dtype)
    given = Dataset(matrix, coded, as_weights(sample_weight, rows, dtype, weights_name))
    start = initial_params(coef_init, intercept_init, targets, features, dtype)
    names = names or feature_names(X)
    training, held_out = split(
        given,
        (names, feature_names(y)),
        validation,
        options.seed,
        targets,
        strata=strata,
        weights_name=weights_name,
    )
    return begin(engine, options, training, targets, names, start, began, held_out=held_out)


@standard
def partial(
    state: Continued | None,
    X: ArrayLike,
    y: ArrayLike,
    *,
    classes: Array | None = None,
    names: tuple[str, ...] | None = None,
    sample_weight: ArrayLike | None = None,
    weights_name: str = "sample_weight",
    coef_init: ArrayLike | None = None,
    intercept_init: ArrayLike | None = None,
    backend: str | None = None,
    **options: Any,
) -> tuple[FitResult, Continued]:
    """One epoch over these rows, from where `state` has it; None: from the start.

    With options of `fit`. Steps, shuffles, schedules and averages go on from call to call, so that calls with the same
    X have the bits of one fit, if the rate is not "auto" and there are no weights.

    - The weights of the rows are taken as they are: scaled in each call, they would not count between calls.
    - "auto" is, after t steps, the least of the rates found for the rows of the calls so far over (t + 1)^0.25: a
      constant rate would fit each part of the rows to its end. Where the loss has a kink, it falls as in a fit.
    - Where the optimizer, the loss or the averaging is another one than before, or initial weights are given, what the
      optimizer remembers begins anew, and the schedule goes on; that of a schedule which depends on the losses begins
      anew where the schedule is another one.
    - `classes` are those of all y to come, for a loss of classes; by default the first y must hold all of them.

    Returns
    -------
    FitResult, Continued
        The model, with the history of this epoch, and the state for the next call; the one given stays as it is.
    """
    began = time.perf_counter()
    engine = _backends.find(backend)
    asked = checked(**options, epochs=1)
    matrix = as_matrix(X, "X", None if state is None else state.params.dtype, sparse=True)
    (rows, features), dtype = matrix.shape, matrix.dtype
    names = names or feature_names(X)
    loss = asked.loss
    if state is not None and loss == state.targets.loss:
        targets = state.targets
        coded = targets.encode(y, "y", rows, dtype)
    elif classes is not None:
        outputs = len(classes) if loss.targets == "classes" else np.shape(y)[1]
        targets = Coding(loss, outputs, False, classes)
        coded = targets.encode(y, "y", rows, dtype)
    else:
        targets, coded = coding(y, loss, rows, dtype)
    start = initial_params(coef_init, intercept_init, targets, features, dtype)
    if state is None:
        state = Continued.fresh(targets, names, asked.optimizer, start, asked.averaged)
    else:
        _check_continues(state, features, names, targets, np.shape(y)[1:])
        names = names or state.names
        given = coef_init is not None or intercept_init is not None
        state = state.suited(asked.optimizer, targets, asked.averaged, start if given else None)
    weights = as_unscaled_weights(sample_weight, rows, dtype, weights_name)
    data = Dataset(matrix, coded, weights)
    start = state.params.copy()
    run = begin(engine, asked, data, targets, names, start, began, before=state)
    result = finish(run, asked)
    return result, run.handed_on(result)


def _check_continues(
    before: Continued,
    features: int,
    names: tuple[str, ...] | None,
    targets: Coding,
    outputs: tuple[int, ...],
) -> None:
    """Check that rows and targets are such as those before."""
    then = before.targets
    known = len(before.params) // then.outputs - 1
    if features != known:
        raise ValueError(f"X has {features} features, that of the calls before had {known}")
    check_names(names, before.names, "X", "the calls before")
    if targets.shape != then.shape or (targets.loss.targets != "classes" and outputs != then.shape):
        raise ValueError(f"a row of y has shape {outputs}, one of the calls before {then.shape}")


def finish(run: Run, options: Options) -> FitResult:
    """Run the epochs, and warn if they have not brought the loss down."""
    dtype = run.problem.dtype
    watched = Patience(options.patience, 0.0 if options.batch_size is None else options.tol)
    stop_reason = run.all_epochs(options.epochs, watched, options.callback, options.progress)
    reached = stop_reason == "tol" and run.held_out is None
    result = run.result(stop_reason, None if reached else watched.best)
    unscaled = run.scaling is not None or options.averaged
    if unscaled and not (np.isfinite(result.coef).all() and np.isfinite(result.intercept).all()):
        raise ValueError(
            f"the weights for the unscaled X overflow {dtype}: multiply X, or divide y, by a constant"
        )
    if options.epochs:
        # The losses of small batches stay above the best by noise; those of the full batch have no reason to rise.
        before, after = map(run.problem.penalty_of, (run.origin, run.state.params))
        first, last = float(result.history.loss[0]), float(result.history.loss[-1])
        start, end = max(first, run.reference) + before, last + after
        if run.reference > 0 and end > (1.5 if run.problem.full_batch else 10) * start:
            penalised = ", penalties included" if after > 0 else ""
            warn(f"the loss rose from {first + before:.3g} to {end:.3g}{penalised}: {run.advice()}")
    return result
