"""The results of fits and of minimisation."""

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, losses, optimizers
from gdfast._backends.problem import useful_threads
from gdfast._data.arrays import as_matrix, check_finite
from gdfast._data.csr import Csr
from gdfast._data.dtypes import FLOATS
from gdfast._data.frames import check_names, feature_names
from gdfast._numerics.float_mode import standard
from gdfast._typing import Array
from gdfast._validation import check_flag, check_int, choose, record_of
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FitResult", "History", "MinimizeResult", "load"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

StopReason = Literal["epochs", "tol", "patience", "callback", "running", "divergence"]


def frozen(cls: type[T], **values: Any) -> T:
    """The record of these values, which are all of its fields; nobody can change its arrays."""
    record = record_of(cls, values)
    _freeze(record)
    return record


def _freeze(record: Any) -> None:
    """Let nobody change a record's arrays; pickle would."""
    for values in vars(record).values():
        if type(values) is np.ndarray:
            values.setflags(write=False)


@dataclass(frozen=True, eq=False)
class History:
    """The course of a fit: losses, rates and times with one entry for each epoch.

    Parameters
    ----------
    loss : ndarray (n_epochs,)
        Mean loss of the rows as they were visited, each before the update it caused, without penalties. For the full
        batch this is the loss before the epoch's step.
    val_loss : ndarray (n_epochs,) or (0,)
        Mean loss of the validation rows after the epoch; empty without validation.
    lr : ndarray (n_epochs,)
        The schedule's rate for the epoch's first step, of which ASGD and Adagrad with lr_decay make a smaller one.
    grad_norm : ndarray (n_epochs,)
        Euclidean norm of the objective's gradient, the intercept's component included, at the epoch's last step, before
        clipping; where l1 leaves w without one, of the least slope.
    seconds : ndarray (n_epochs,)
        Time since the start of the fit at the end of the epoch. Epochs much shorter than a millisecond run several at
        a time and share their time evenly.
    coef : ndarray (n_epochs + 1, d) or (n_epochs + 1, k, d), or None
        With ``trace="coef"``: the weights after each epoch, row 0 being the start.
    intercept : ndarray (n_epochs + 1,) or (n_epochs + 1, k), or None
        With ``trace="coef"``: the intercept likewise.
    objective : ndarray (n_epochs,) or None
        What is minimised: `loss` and the penalties, the optimizer's weight decay included unless it is decoupled. For
        the full batch they are those of the weights before the epoch's step, as the loss is, else of those after the
        epoch. None in a file of version 0.1.0.
    """

    loss: Array
    val_loss: Array
    lr: Array
    grad_norm: Array
    seconds: Array
    coef: Array | None = None
    intercept: Array | None = None
    objective: Array | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _freeze(self)

    def __repr__(self) -> str:
        n = len(self.loss)
        ends = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if n else ""
        return f"History({n} epochs{ends})"


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """A fitted linear model, p = x.w + b, and how it came about.

    Parameters
    ----------
    coef : ndarray (d,) or (k, d)
        The weights w, a row for each output where y has several columns or the loss is softmax.
    intercept : float or ndarray (k,)
        b; as it was given, or 0, where it was not fitted.
    history : History
        Losses, rates and times of each epoch.
    n_epochs, n_steps : int
        Passes over the rows, and updates made.
    converged : bool
        Whether the largest gradient component fell to tol. With validation and patience the weights are those with the
        lowest validation loss all the same.
    stop_reason : {"epochs", "tol", "patience", "callback"}
        Why it ended; ``"running"`` in a callback and ``"divergence"`` in a `DivergenceError`.
    loss, optimizer : records
        What was minimised, and how.
    backend : str
        What ran it.
    feature_names : tuple of str or None
        The names of X's columns.
    classes : ndarray or None
        For a loss of classes: the distinct labels in y, sorted.
    """

    coef: Array
    intercept: float | Array
    history: History
    n_epochs: int
    n_steps: int
    converged: bool
    stop_reason: StopReason
    loss: Loss
    optimizer: Optimizer
    backend: str
    feature_names: tuple[str, ...] | None = None
    classes: Array | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _freeze(self)

    @property
    def digest(self) -> str:
        """SHA-256 of coef, intercept and history.loss as little-endian bytes, each with its dtype and shape.

        Equal digests mean the same run.
        """
        import hashlib  # slow to import, as are those below

        sha = hashlib.sha256()
        intercept = np.asarray(self.intercept, self.coef.dtype)
        for values in (self.coef, intercept, self.history.loss):
            canonical = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            sha.update(f"{canonical.dtype.str}{values.shape}".encode())
            sha.update(canonical.tobytes())
        return sha.hexdigest()

    @standard
    def decision_function(self, X: ArrayLike) -> Array:
        """x.w + b for each row.

        Parameters
        ----------
        X : array-like or scipy sparse (n, d)

        Returns
        -------
        ndarray (n,) or (n, k)
            float64 where X or the weights are, else float32.

        Raises
        ------
        ValueError
            If X has another number of features, or other names for them, or holds NaN or infinity: the message names
            the place; if a prediction overflows.
        """
        a = as_matrix(X, sparse=True)
        check_names(feature_names(X), self.feature_names, "X", "the model")
        rows, features = a.shape
        if features != self.coef.shape[-1]:
            raise ValueError(f"X has {features} features, the model has {self.coef.shape[-1]}")
        dtype = np.result_type(a.dtype, self.coef)
        a = a.astype(dtype) if isinstance(a, Csr) else as_matrix(a, "X", dtype, sparse=True)
        models = np.column_stack([np.atleast_2d(self.coef), np.atleast_1d(self.intercept)])
        name = self.backend if _backends.why_not(self.backend) is None else "numpy"
        p: Array = _backends.find(name).predict(
            a,
            len(models),
            models.astype(dtype).ravel(),
            useful_threads(_backends.default_threads(), rows, features, len(models)),
        )
        finite = np.isfinite(p)
        if not finite.all():  # as it is wherever a number of X is not
            check_finite(a, "X")
            check_finite(self.coef, "coef", "such a model predicts nothing")
            check_finite(np.asarray(self.intercept), "intercept", "such a model predicts nothing")
            i = int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"the prediction for row {i} of X overflows {dtype}")
        return p[:, 0] if self.coef.ndim == 1 else p

    @standard
    def predict(self, X: ArrayLike) -> Array:
        """The predicted targets: x.w + b for numbers, exp(x.w + b) for counts, the likeliest class for classes.

        Parameters
        ----------
        X : array-like or scipy sparse (n, d)

        Returns
        -------
        ndarray (n,) or (n, k)
            Classes by their labels in y; of softmax (n,).

        Raises
        ------
        ValueError
            As for `decision_function`.

        Examples
        --------
        >>> import gdfast as gd
        >>> r = gd.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], epochs=1000)
        >>> r.predict([[10.0]]).round(6).tolist()
        [21.0]
        >>> r = gd.fit([[-1.0], [2.0]], [0, 1], loss="logistic")
        >>> r.predict([[-3.0], [5.0]]).tolist()
        [0, 1]
        """
        p = self.decision_function(X)
        if self.classes is None:
            expected: Array = losses.mean(self.loss, p)
            return expected
        chosen: Array = self.classes[
            p.argmax(axis=1) if self.loss.targets == "classes" else (p > 0).astype(np.intp)
        ]
        return chosen

    @standard
    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability of each class, for the losses that tell it: logistic, modified_huber and softmax.

        1 / (1 + exp(-p)) for the second class of logistic; (min(1, max(-1, p)) + 1) / 2 for that of modified_huber
        (Zhang 2004); exp(p_o) / sum exp(p) for softmax.

        Parameters
        ----------
        X : array-like or scipy sparse (n, d)

        Returns
        -------
        ndarray (n, 2) or (n, k)
            A column for each class; where y has k columns of two classes, the probability of the second in each.

        Raises
        ------
        ValueError
            If the loss is another one; as for `decision_function`.

        Examples
        --------
        >>> import gdfast as gd
        >>> r = gd.fit([[-1.0], [1.0]], [0, 1], loss="logistic", fit_intercept=False)
        >>> r.predict_proba([[0.0]]).tolist()
        [[0.5, 0.5]]
        """
        probability = getattr(self.loss, "probability", None)
        if probability is None:
            raise ValueError(
                f"{self.loss.name} tells no probabilities: logistic, modified_huber and softmax do"
            )
        with np.errstate(all="ignore"):
            p: Array = probability(self.decision_function(X))
        return np.column_stack([1 - p, p]) if p.ndim == 1 else p

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the losses over the epochs; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn on.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from gdfast import plot  # matplotlib is loaded when it is needed

        return plot.losses({"": self}, ax=ax)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a NumPy .npz file, from which `gdfast.load` makes an equal result.

        The file at the path is replaced once the new one is on the disk: until then, also where the disk is full or the
        process ends, the old one stays as it is.

        Parameters
        ----------
        path : path-like
            Where to write. A link is followed, and the permissions of a file that is there are kept.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError, TypeError
            If the parts of a result made by hand do not fit together.

        Examples
        --------
        >>> import os, tempfile, gdfast as gd
        >>> r = gd.fit([[0.0], [1.0]], [1.0, 2.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.npz")
        ...     r.save(path)
        ...     gd.load(path).digest == r.digest
        True
        """
        import json
        from io import BytesIO

        from gdfast._files import replacing

        _check_whole(self)
        meta = {
            "format": 1,
            "n_epochs": self.n_epochs,
            "n_steps": self.n_steps,
            "converged": self.converged,
            "stop_reason": self.stop_reason,
            "loss": [self.loss.name, vars(self.loss)],
            "optimizer": optimizers.to_dict(self.optimizer),
            "backend": self.backend,
            "feature_names": self.feature_names,
        }
        arrays = {f"history.{name}": a for name, a in vars(self.history).items() if a is not None}
        if self.classes is not None:
            arrays["classes"] = self.classes
        intercept = np.asarray(self.intercept, self.coef.dtype)
        whole = BytesIO()
        np.savez(whole, meta=json.dumps(meta), coef=self.coef, intercept=intercept, **arrays)
        with replacing(path) as file:
            file.write(whole.getbuffer())

    def __repr__(self) -> str:
        d = self.coef.shape[-1]
        names = (*(self.feature_names or (f"x{j}" for j in range(d))), "intercept")
        models = np.column_stack([np.atleast_2d(self.coef), np.atleast_1d(self.intercept)])
        some = list(range(d)) if d <= 10 else [*range(5), None, *range(d - 4, d)]
        width = max(9, *(len(names[j]) for j in some if j is not None))
        shown = 4  # of several outputs

        def line(name: str, values: Array) -> str:
            words = [format(value, ".9g") for value in values[:shown].tolist()]
            return f"  {name:<{width}}  {'  '.join(words)}{'  ...' if len(values) > shown else ''}"

        lines = [
            f"FitResult: {self.loss.name} by {self.optimizer}, {self.backend}",
            f"  {self.n_epochs} epochs, {self.n_steps} steps, ended by {self.stop_reason}; {self.history!r}",
            *("  ..." if j is None else line(names[j], models[:, j]) for j in [*some, d]),
        ]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, eq=False, repr=False)
class MinimizeResult:
    """A minimum that was sought, with scipy's names, and the way there.

    Parameters
    ----------
    x : ndarray (d,)
        The last point.
    fun : float
        f there.
    jac : ndarray (d,)
        Its gradient there.
    nit : int
        Steps made.
    nfev, njev : int
        Calls of f, and gradients found.
    success : bool
        Whether no component of the gradient is larger than tol.
    status : int
        0: tol was reached; 1: maxiter was; 99: the callback stopped; 3 in a callback, and 2 in a `DivergenceError`.
    message : str
        The same in words.
    path : ndarray (nit + 1, d)
        x0 and the points after each step; with ``trace=None`` the latest two of them.
    fun_path : ndarray (nit + 1,)
        f at each of them.
    optimizer : record
        What made the steps.
    backend : str
        What ran it.
    """

    x: Array
    fun: float
    jac: Array
    nit: int
    nfev: int
    njev: int
    success: bool
    status: int
    message: str
    path: Array
    fun_path: Array
    optimizer: Optimizer
    backend: str

    def __post_init__(self) -> None:
        _freeze(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _freeze(self)

    def __repr__(self) -> str:
        start = f"{self.fun_path[0]:.6g} -> " if len(self.fun_path) > self.nit else ""
        return (
            f"MinimizeResult: {self.optimizer}, {self.backend}\n"
            f"  {self.nit} steps, ended: {self.message}\n"
            f"  f {start}{self.fun:.6g} at x = {self.x}"
        )


def load(path: str | PathLike[str]) -> FitResult:
    """Read a result that `FitResult.save` wrote.

    No more is read than the file holds, nothing in it is run, and its parts are checked to fit together.

    Parameters
    ----------
    path : path-like
        The .npz file.

    Returns
    -------
    FitResult
        With the digest of the one saved.

    Raises
    ------
    ValueError
        If the file is damaged, is not one of gdfast's, or names what this version does not know: the message says why.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> import os, tempfile, gdfast as gd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     gd.fit([[0.0], [1.0]], [1.0, 2.0], epochs=1000).save(path)
    ...     gd.load(path).predict([[3.0]]).round(6).tolist()
    [4.0]
    """
    import json
    from pathlib import Path

    from gdfast._files import read_arrays

    with Path(path).open("rb") as file:
        try:
            arrays = read_arrays(file, "meta")
            meta: dict[str, Any] = json.loads(arrays.pop("meta").item())
            version = meta.pop("format")
        except Exception as error:  # of many kinds: each reader meets the damage in its own way
            raise ValueError(
                f"{path} was not written by FitResult.save, or is damaged: {_reason(error)}"
            ) from error
    if version != 1:
        raise ValueError(f"{path} was written by a later version of gdfast")
    try:
        result = _result_of(meta, arrays)
        _check_whole(result)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{path} was written by a later version of gdfast, or changed since: {_reason(error)}"
        ) from error
    return result


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error) or repr(error)


def _result_of(meta: dict[str, Any], arrays: dict[str, Array]) -> FitResult:
    """The result of which a file holds these parts."""
    prefix = "history."
    history = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    unknown = sorted(
        arrays.keys() - {"coef", "intercept", "classes"} - {prefix + k for k in history}
    )
    if unknown:
        raise ValueError(f"it has {unknown[0]!r}")
    loss, loss_numbers = meta.pop("loss")
    names = meta.pop("feature_names")
    intercept = arrays["intercept"]
    return FitResult(
        coef=arrays["coef"],
        intercept=intercept if intercept.ndim else intercept.item(),
        classes=arrays.get("classes"),
        history=History(**history),
        loss=choose("loss", loss, losses.TABLE)(**loss_numbers),
        optimizer=optimizers.from_dict(meta.pop("optimizer")),
        feature_names=None if names is None else tuple(names),
        **meta,
    )


def _check_whole(result: FitResult) -> None:
    """Check that the parts of a result fit together."""
    coef: Any = result.coef
    history = result.history
    if not isinstance(coef, np.ndarray) or coef.dtype not in FLOATS or coef.ndim not in (1, 2):
        raise TypeError(f"coef must be a 1-D or 2-D array in float32 or float64, not {coef!r:.60}")
    if coef.size == 0:
        raise ValueError(f"coef is empty, shape {coef.shape}")
    check_finite(coef, "coef", "the weights of a result are finite")
    _check_shape("intercept", result.intercept, coef.shape[:-1])
    check_finite(np.asarray(result.intercept), "intercept", "the weights of a result are finite")

    epochs = check_int("n_epochs", result.n_epochs, 0)
    check_int("n_steps", result.n_steps, 0)
    check_flag("converged", result.converged)
    choose("stop_reason", result.stop_reason, dict.fromkeys(get_args(StopReason)))
    choose("backend", result.backend, _backends.TABLE)
    for name, values in vars(history).items():
        if values is None and getattr(History, name, 0) is None:
            continue  # it was not kept, or not by the version that wrote it
        if name in ("coef", "intercept"):
            inner = coef.shape if name == "coef" else coef.shape[:-1]
            _check_shape(f"history.{name}", values, (epochs + 1, *inner))
        elif name != "val_loss" or np.size(values):
            _check_shape(f"history.{name}", values, (epochs,))

    loss, classes = losses.find(result.loss), result.classes
    outputs = {"signs": 2, "classes": coef.shape[0]}.get(loss.targets)
    if outputs is None:
        if classes is not None:
            raise ValueError(f"there are classes, and {loss.name} is no loss of classes")
    elif classes is None or classes.shape != (outputs,) or classes.dtype.hasobject:
        raise ValueError(f"classes must be a 1-D array of {outputs} labels, not {classes!r:.60}")
    names = result.feature_names
    if names is not None and not (
        len(names) == coef.shape[-1] and all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"feature_names must be {coef.shape[-1]} texts, not {names!r:.60}")


def _check_shape(name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Check an array of real numbers, or a number."""
    a = np.asarray(values)
    if a.dtype not in FLOATS or a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape} in {a.dtype}: it must have {shape} in floats")
