"""`compare`: several optimizers on the same data."""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, _formatting
from gdfast._backends.threads import in_threads, stopped_by
from gdfast._numerics.float_mode import standard
from gdfast._training.fit import fit
from gdfast._validation import check_int, check_number
from gdfast._warnings import Kept, kept, warn
from gdfast.errors import DivergenceError
from gdfast.optimizers import Optimizer, for_data
from gdfast.results import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Comparison(Mapping[str, FitResult]):
    """The result of `compare`: a mapping label -> `FitResult`, in the order given.

    Parameters
    ----------
    results : mapping of str to FitResult
        Label -> result.
    """

    def __init__(self, results: Mapping[str, FitResult]) -> None:
        self.results = dict(results)

    def __getitem__(self, label: str) -> FitResult:
        return self.results[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def table(self, reach: float | None = None) -> dict[str, dict[str, Any]]:
        """Label -> final ``loss`` and ``val_loss``, ``epochs`` to reach a loss, ``seconds`` and ``stop_reason``.

        Parameters
        ----------
        reach : float, optional
            The loss to reach, of the validation rows where there are any; by default 5 % above the lowest final one.

        Returns
        -------
        dict of dict
            ``val_loss`` is nan without validation. ``epochs`` says after how many the loss was reached, 0 being the
            start; None where it was not. Of mini-batches, whose loss is the mean of an epoch's visits, that epoch
            counts. ``seconds`` are those on the clock, while other fits may have run on the same processors: compare
            with ``threads=1`` to measure them.

        Examples
        --------
        >>> import gdfast as gd
        >>> X, y, _ = gd.datasets.load_penguins()
        >>> c = gd.compare(X, y, {"slow": gd.SGD(lr=0.01), "fast": gd.SGD(lr=0.2)}, standardize=True)
        >>> {label: row["epochs"] for label, row in c.table(reach=120_000).items()}
        {'slow': None, 'fast': 9}
        """
        if reach is not None and reach != math.inf:
            check_number("reach", reach, -math.inf, math.inf)
        reach = self.reach if reach is None else reach
        return {label: _row(result, reach) for label, result in self.results.items()}

    @property
    def reach(self) -> float:
        """The loss that `table` counts the epochs to, if no other is given: 5 % above the lowest final one."""
        curves = [curve for curve in map(_curve, self.values()) if len(curve)]
        lowest = min((float(c[-1]) for c in curves if np.isfinite(c[-1])), default=math.nan)
        return lowest + 0.05 * abs(lowest)

    def plot(self, ax: "Axes | None" = None, log: bool | None = None) -> "Axes":
        """Draw the losses over the epochs, as `gdfast.plot.losses` does; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        log : bool, optional
            Whether the losses' axis is logarithmic; by default where they span more than a factor of 20.

        Returns
        -------
        matplotlib Axes
            The axes drawn on.
        """
        from gdfast import plot  # matplotlib is loaded when it is needed

        return plot.losses(self, ax=ax, log=log)

    def text(self, reach: float | None = None) -> str:
        """The table of `table` as lines of text.

        Parameters
        ----------
        reach : float, optional
            The loss to reach, as for `table`.

        Returns
        -------
        str
            A line for each label, below a line of headings.
        """
        table = self.table(reach)
        shown = self.reach if reach is None else reach
        head = ["", "loss", "val_loss", f"epochs to {shown:.4g}", "seconds", "ended by"]
        rows = ([label, *row.values()] for label, row in table.items())
        return _formatting.table([head, *rows])

    def __repr__(self) -> str:
        return self.text()


@standard
def compare(
    X: ArrayLike,
    y: ArrayLike,
    optimizers: Mapping[str, str | Optimizer] | Sequence[str | Optimizer],
    *,
    threads: int | None = None,
    **fit_options: Any,
) -> Comparison:
    """Fit the same rows, in the same order, by several optimizers.

    Parameters
    ----------
    X : array-like (n, d)
        The rows.
    y : array-like (n,)
        The targets.
    optimizers : mapping of str to str or record, or sequence of str or record
        What to compare, with labels; without, labels are made from what tells the records apart.
    threads : int, optional
        How many threads in all: the fits run side by side. By default as many as `gdfast.fit` may use. The results do
        not depend on it.
    **fit_options
        All other options are those of `gdfast.fit`: ``batch_size``, ``epochs``, ``validation``, ... With several
        threads a ``callback`` is called by several fits at once, and ``progress`` shows several bars, without labels.

    Returns
    -------
    Comparison
        Label -> `FitResult`, with ``table()`` and ``plot()``. A fit that diverged is there with its partial result,
        whose ``stop_reason`` is ``"divergence"``.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or two of the optimizers of a list are equal. An error of a single fit has a note with
        its label.

    Warns
    -----
    RuntimeWarning
        For each fit that diverged, with the reason and what to do; and what the fits warn of, after their labels. What
        a callback warns of is shown as it comes.

    References
    ----------
    Schmidt, Schneider, Hennig (2021), "Descending through a crowded valley: benchmarking deep learning optimizers".

    Examples
    --------
    >>> import gdfast as gd
    >>> X, y, _ = gd.datasets.load_penguins()
    >>> c = gd.compare(X, y, ["sgd", gd.Adam(lr=10.0)], batch_size=32, standardize=True, validation=0.2)
    >>> list(c), c["Adam"].history.val_loss.shape
    (['SGD', 'Adam'], (100,))
    """
    if "optimizer" in fit_options:
        raise TypeError("optimizer is an argument of fit: name all to compare in `optimizers`")
    records = _labelled(optimizers, fit_options.get("lr"))
    threads = _backends.default_threads() if threads is None else check_int("threads", threads, 1)
    callback = fit_options.get("callback")
    if callable(callback):
        fit_options["callback"] = _warning_at_once(callback)
    _backends.find(fit_options.get("backend"))  # warns here, in the user's thread, if at all
    each = max(1, threads // len(records))
    stopped = threading.Event()

    def run(fitted: _Fit) -> None:
        try:
            with kept(fitted.warned), stopped_by(stopped):
                fitted.result = fit(X, y, optimizer=fitted.optimizer, threads=each, **fit_options)
        except DivergenceError as error:
            fitted.warned.append((str(error), RuntimeWarning))
            fitted.result = error.result
        except Exception as error:
            error.add_note(f"in the fit {fitted.label!r}")
            fitted.error = error
        except BaseException:  # Ctrl-C, or a callback ends the process: nobody waits for the others
            stopped.set()
            raise

    fits = [_Fit(label, optimizer) for label, optimizer in records.items()]
    try:
        in_threads(lambda fitted: fitted.context.run(run, fitted), fits, threads)
    except BaseException:
        stopped.set()
        raise
    for fitted in fits:
        if fitted.error is not None:
            raise fitted.error
    for fitted in fits:
        for message, category in fitted.warned:
            warn(f"{fitted.label}: {message}", category)
    return Comparison({fitted.label: cast(FitResult, fitted.result) for fitted in fits})


@dataclasses.dataclass
class _Fit:
    """One of the fits: what it is of, and what came of it."""

    label: str
    optimizer: str | Optimizer
    # The caller's, which other threads do not see by themselves: of NumPy's errstate, for instance.
    context: Context = dataclasses.field(default_factory=copy_context)
    warned: Kept = dataclasses.field(default_factory=list)
    result: FitResult | None = None
    error: Exception | None = None


def _warning_at_once(callback: Callable[[FitResult], Any]) -> Callable[[FitResult], Any]:
    """The callback, in which fits are the user's own again: what they warn of is not that of the fit around it."""

    def call(result: FitResult) -> Any:
        with kept(None):
            return callback(result)

    return call


def _labelled(given: Any, lr: Any) -> dict[str, str | Optimizer]:
    """Label -> optimizer."""
    if isinstance(given, Mapping):
        records = dict(given)
        for label in records:
            if not isinstance(label, str):
                raise TypeError(f"the labels of optimizers must be text, not {label!r}")
    elif isinstance(given, Sequence) and not isinstance(given, str):
        records = dict(zip(_labels([for_data(one, lr) for one in given]), given, strict=True))
    else:
        raise TypeError(
            f"optimizers must be a mapping label -> optimizer, or a list, not {type(given).__name__}"
        )
    if not records:
        raise ValueError("optimizers is empty: there is nothing to compare")
    return records


def _labels(records: list[Optimizer]) -> list[str]:
    """The names of the records, with the arguments in which those of one name differ."""
    for k, record in enumerate(records):
        if record in records[:k]:
            raise ValueError(f"optimizers[{records.index(record)}] and [{k}] are equal: {record}")
    labels = []
    for record in records:
        alike = [vars(other) for other in records if type(other) is type(record)]
        differing = [
            field.name
            for field in dataclasses.fields(record)
            if any(other[field.name] != vars(record)[field.name] for other in alike)
        ]
        arguments = ", ".join(f"{name}={vars(record)[name]}" for name in differing)
        labels.append(
            f"{type(record).__name__}({arguments})" if differing else type(record).__name__
        )
    return labels


def _curve(result: FitResult) -> Any:
    """The loss that counts: that of the validation rows where there are any."""
    history = result.history
    return history.val_loss if len(history.val_loss) else history.loss


def _row(result: FitResult, reach: float) -> dict[str, Any]:
    history = result.history
    reached = np.flatnonzero(_curve(result) <= reach)
    # The loss of the full batch, a step an epoch, is measured before the epoch's step.
    before = not len(history.val_loss) and result.n_steps <= result.n_epochs
    last = {
        name: float(values[-1]) if len(values) else math.nan
        for name, values in vars(history).items()
        if name in ("loss", "val_loss", "seconds")
    }
    return {
        "loss": last["loss"],
        "val_loss": last["val_loss"],
        "epochs": int(reached[0]) + (not before) if len(reached) else None,
        "seconds": last["seconds"],
        "stop_reason": result.stop_reason,
    }
