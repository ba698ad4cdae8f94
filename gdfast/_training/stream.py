"""`fit_stream`: the fit of rows that come in blocks and are never all in memory.

A pass over the stream regroups the blocks, so that the kernels see the sums of the canonical order: batches that are
whole, and for the full batch subtrees that are whole (`gdfast._numerics.order`). So where a block ends is in no bit of
a result.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import ArrayLike

from gdfast import _backends
from gdfast._backends.streaming import Streaming
from gdfast._data.stream import Source, Stream
from gdfast._numerics.float_mode import standard
from gdfast._training.fit import finish
from gdfast._training.options import checked
from gdfast._training.prepare import begin, initial_params
from gdfast._training.validation import validation_pair
from gdfast._validation import names_arguments
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import FitResult

Blocks = Iterable[Any] | Callable[[], Iterable[Any]]


@names_arguments
@standard
def fit_stream(
    blocks: Blocks,
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
    tol: float = 0.0,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    patience: int | None = None,
    standardize: bool = False,
    average: bool = False,
    clip_norm: float | None = None,
    trace: str | None = None,
    callback: Callable[[FitResult], Any] | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
) -> FitResult:
    """Minimise as `fit` does, over rows that come in blocks and need not fit in memory.

    The result has the same bits as ``fit(np.concatenate(Xs), np.concatenate(ys), shuffle=False, ...)``, however the
    rows are cut into blocks. In memory are two blocks, the one read and the one before it, a batch, and a number for
    each 256 rows.

    Parameters
    ----------
    blocks : iterable, or callable that returns one
        Of pairs (X, y) or triples (X, y, sample_weight), each as `fit` takes them and all alike: the same features in
        the same dtype, all dense or all sparse. It is gone through again and again, and must yield the same rows each
        time: a list, an object with ``__iter__``, a function that returns a generator; not a generator, which is spent
        after one pass. Blocks without rows are passed over.
    loss : str or record, default "squared_error"
        As for `fit`, like all that follow if nothing else is said.
    optimizer : str or record, default "sgd"
        The method.
    lr : float, schedule or "auto", optional
        The rate. ``"auto"`` takes a pass; with the full batch one for each weight and one more, or where there are
        many 17 to 101, which a number saves.
    batch_size : int, optional
        Rows per step; by default all of them.
    epochs : int, default 100
        Passes over the blocks, at most. Before the first there is one that checks the rows, one for the loss at the
        start, one more for the loss of initial weights, and one for sample weights.
    fit_intercept : bool, default True
        Whether the intercept is trained.
    coef_init, intercept_init : array-like, optional
        Initial weights and intercept.
    l1, l2 : float, default 0
        The penalties.
    tol : float, default 0
        Stop when no component of the gradient is larger, or what counts as an improvement.
    validation : (Xv, yv), optional
        Rows to measure the loss on after each epoch, in memory.
    patience : int, optional
        Epochs without improvement to wait for.
    standardize : bool, default False
        Train on standardized columns, whose means and scales take 3 passes; 5 for sparse rows.
    average : bool, default False
        Return the mean of the iterates.
    clip_norm : float, optional
        The largest norm of a gradient.
    trace : {"coef"}, optional
        Keep the weights of each epoch.
    callback : callable, optional
        Called with the result so far after each epoch.
    progress : bool, default False
        Show a progress bar.
    backend : {"cpp", "numba", "numpy"}, optional
        The backend.
    threads : int, optional
        The number of threads.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError, TypeError
        If an argument or a block is wrong: the message names the block; if the blocks are spent after one pass, or are
        others in a later one.
    DivergenceError, BackendError
        As for `fit`.

    Warns
    -----
    RuntimeWarning
        As for `fit`.

    Examples
    --------
    >>> import numpy as np, gdfast as gd
    >>> X = np.arange(12.0).reshape(6, 2) % 5
    >>> y = X @ [1.0, -2.0]
    >>> blocks = [(X[:1], y[:1]), (X[1:4], y[1:4]), (X[4:], y[4:])]
    >>> r = gd.fit_stream(blocks, batch_size=2, epochs=5)
    >>> r.digest == gd.fit(X, y, batch_size=2, epochs=5, shuffle=False).digest
    True
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
        shuffle=False,
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
    if validation is not None and not isinstance(validation, tuple | list):
        raise ValueError(
            f"validation={validation!r} must be a pair (Xv, yv): rows of a stream are not held back"
        )
    rows = Stream.of(Source(blocks), options.loss)
    targets, features, dtype = rows.targets, rows.X.shape[1], rows.y.dtype
    start = initial_params(coef_init, intercept_init, targets, features, dtype)
    names = rows.source.names
    columns = names, rows.source.names_of_y
    held_out = None
    if validation is not None:
        held_out = validation_pair(validation, columns, features, dtype, targets)
    engine = Streaming(engine)
    run = begin(engine, options, rows, targets, names, start, began, held_out=held_out)
    return finish(run, options)
