"""What a fit returns."""

import hashlib
import json
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, losses, optimizers
from gdfast._floats import standard
from gdfast.checks import choose
from gdfast.losses import Loss
from gdfast.matrices import as_matrix, feature_names
from gdfast.optimizers import Optimizer
from gdfast.problem import Array, useful_threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes

StopReason = Literal["epochs", "tol", "patience", "callback", "running", "divergence"]


@dataclass(frozen=True, eq=False)
class History:
    """One entry for each epoch.

    Attributes
    ----------
    loss : ndarray (n_epochs,)
        Mean loss of the rows as they were visited, each before the update it caused. For the full batch this is the
        loss before the epoch's step.
    val_loss : ndarray (n_epochs,) or (0,)
        Mean loss of the validation rows after the epoch; empty without validation.
    lr : ndarray (n_epochs,)
        The rate of the epoch's first step.
    grad_norm : ndarray (n_epochs,)
        Euclidean norm of the gradient, the intercept's component included, of the epoch's last step, before clipping.
    seconds : ndarray (n_epochs,)
        Time since the start of the fit at the end of the epoch. Epochs much shorter than a millisecond run several at
        a time and share their time evenly.
    coef : ndarray (n_epochs + 1, d) or None
        With ``trace="coef"``: the weights after each epoch, row 0 being the start.
    intercept : ndarray (n_epochs + 1,) or None
        With ``trace="coef"``: the intercept likewise.
    """

    loss: Array
    val_loss: Array
    lr: Array
    grad_norm: Array
    seconds: Array
    coef: Array | None = None
    intercept: Array | None = None

    def __post_init__(self) -> None:
        for values in vars(self).values():
            if values is not None:
                values.flags.writeable = False

    def __repr__(self) -> str:
        n = len(self.loss)
        ends = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if n else ""
        return f"History({n} epochs{ends})"


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """A fitted linear model, p = x.w + b, and how it came about.

    Attributes
    ----------
    coef : ndarray (d,)
        The weights w.
    intercept : float
        b; as it was given, or 0, where it was not fitted.
    history : History
        Losses, rates and times of each epoch.
    n_epochs, n_steps : int
        Passes over the rows, and updates made.
    converged : bool
        Whether the largest gradient component fell to tol.
    stop_reason : {"epochs", "tol", "patience", "callback"}
        Why it ended; ``"running"`` in a callback and ``"divergence"`` in a `DivergenceError`.
    loss, optimizer : records
        What was minimised, and how.
    backend : str
        What ran it.
    feature_names : tuple of str or None
        The names of X's columns.
    """

    coef: Array
    intercept: float
    history: History
    n_epochs: int
    n_steps: int
    converged: bool
    stop_reason: StopReason
    loss: Loss
    optimizer: Optimizer
    backend: str
    feature_names: tuple[str, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        self.coef.flags.writeable = False

    @property
    def digest(self) -> str:
        """SHA-256 of coef, intercept and history.loss as little-endian bytes, each with its dtype and shape.

        Equal digests mean the same run.
        """
        sha = hashlib.sha256()
        for values in (self.coef, np.asarray(self.intercept, self.coef.dtype), self.history.loss):
            canonical = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            sha.update(f"{canonical.dtype.str}{values.shape}".encode())
            sha.update(canonical.tobytes())
        return sha.hexdigest()

    @standard()
    def decision_function(self, X: ArrayLike) -> Array:
        """x.w + b for each row.

        Parameters
        ----------
        X : array-like (n, d)

        Returns
        -------
        ndarray (n,)
            float64 where X or the weights are, else float32.

        Raises
        ------
        ValueError
            If X has another number of features, or other names for them.
        """
        a = as_matrix(X)
        names = feature_names(X)
        if names and self.feature_names and names != self.feature_names:
            raise ValueError(
                f"the columns of X are {names}, those of the model {self.feature_names}"
            )
        if a.shape[1] != len(self.coef):
            raise ValueError(f"X has {a.shape[1]} features, the model has {len(self.coef)}")
        dtype = np.result_type(a, self.coef)
        params = np.append(self.coef, self.coef.dtype.type(self.intercept)).astype(dtype)
        name = self.backend if _backends.why_not(self.backend) is None else "numpy"
        threads = useful_threads(_backends.default_threads(), *a.shape)
        p: Array = _backends.find(name).predict(
            as_matrix(a.astype(dtype, copy=False)), params, threads
        )
        return p

    def predict(self, X: ArrayLike) -> Array:
        """The predicted targets, x.w + b: for the squared losses the same as `decision_function`.

        Examples
        --------
        >>> import gdfast as gd
        >>> r = gd.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], epochs=1000)
        >>> r.predict([[10.0]]).round(6).tolist()
        [21.0]
        """
        return self.decision_function(X)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the losses over the epochs; needs matplotlib. Returns the axes, new ones if `ax` is None."""
        from gdfast import plot  # matplotlib is loaded when it is needed

        return plot.losses({"": self}, ax=ax)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a NumPy .npz file, from which `gdfast.load` makes an equal result.

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
        meta = {
            "format": 1,
            "n_epochs": self.n_epochs,
            "n_steps": self.n_steps,
            "converged": self.converged,
            "stop_reason": self.stop_reason,
            "loss": [self.loss.name, self.loss._asdict()],
            "optimizer": optimizers.to_dict(self.optimizer),
            "backend": self.backend,
            "feature_names": self.feature_names,
        }
        arrays = {f"history.{name}": a for name, a in vars(self.history).items() if a is not None}
        intercept = np.asarray(self.intercept, self.coef.dtype)
        whole = BytesIO()
        np.savez(whole, meta=json.dumps(meta), coef=self.coef, intercept=intercept, **arrays)
        Path(path).write_bytes(whole.getbuffer())

    def __repr__(self) -> str:
        names = self.feature_names or tuple(f"x{j}" for j in range(len(self.coef)))
        shown = list(zip(names, self.coef.tolist(), strict=True))
        rows = shown if len(shown) <= 10 else [*shown[:5], ("...", None), *shown[-4:]]
        width = max(9, *(len(name) for name, _ in rows))
        lines = [
            f"FitResult: {self.loss.name} by {self.optimizer}, {self.backend}",
            f"  {self.n_epochs} epochs, {self.n_steps} steps, ended by {self.stop_reason}; {self.history!r}",
            *(
                f"  {name:<{width}}  {'' if value is None else format(value, '.9g')}"
                for name, value in rows
            ),
            f"  {'intercept':<{width}}  {self.intercept:.9g}",
        ]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, eq=False, repr=False)
class MinimizeResult:
    """A minimum that was sought, with scipy's names, and the way there.

    Attributes
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
        x0 and the points after each step.
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
        for values in (self.x, self.jac, self.path, self.fun_path):
            values.flags.writeable = False

    def __repr__(self) -> str:
        return (
            f"MinimizeResult: {self.optimizer}, {self.backend}\n"
            f"  {self.nit} steps, ended: {self.message}\n"
            f"  f {self.fun_path[0]:.6g} -> {self.fun:.6g} at x = {self.x}"
        )


def load(path: str | PathLike[str]) -> FitResult:
    """Read a result that `FitResult.save` wrote.

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
        If the file is not one of gdfast's, or names what this version does not know.
    """
    from zipfile import BadZipFile  # slow to import, and needed here alone

    try:
        with np.load(BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta: dict[str, Any] = json.loads(str(arrays.pop("meta")))
        version = meta.pop("format")
    except (ValueError, TypeError, EOFError, KeyError, AttributeError, BadZipFile) as error:
        raise ValueError(f"{path} was not written by FitResult.save") from error
    if version != 1:
        raise ValueError(f"{path} was written by a later version of gdfast")
    prefix = "history."
    try:
        loss, loss_numbers = meta.pop("loss")
        names = meta.pop("feature_names")
        return FitResult(
            coef=arrays["coef"],
            intercept=float(arrays["intercept"]),
            history=History(
                **{k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
            ),
            loss=choose("loss", loss, losses.TABLE)(**loss_numbers),
            optimizer=optimizers.from_dict(meta.pop("optimizer")),
            feature_names=None if names is None else tuple(names),
            **meta,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} was written by a later version of gdfast, or changed since: {error}"
        ) from error
