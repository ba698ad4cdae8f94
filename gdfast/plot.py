"""Plots of results, by matplotlib, which is loaded when one is drawn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gdfast.results import FitResult


def losses(
    results: "Mapping[str, FitResult]", *, ax: "Axes | None" = None, log: bool | None = None
) -> "Axes":
    """Draw the loss of each epoch of some fits: training solid, validation dashed in the same colour.

    Parameters
    ----------
    results : mapping of str to FitResult
        Label -> fit.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Whether the losses' axis is logarithmic; by default where they span more than a factor of 20.

    Returns
    -------
    matplotlib Axes
        The axes drawn on. Nothing is shown: call ``ax.figure.savefig`` or ``matplotlib.pyplot.show``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[0.0], [1.0]], [1.0, 2.0])
    >>> gd.plot.losses({"full batch": r}).get_xlabel()
    'epoch'
    """
    if ax is None:
        ax = _new_axes()
    seen = [1.0]
    for label, result in results.items():
        history = result.history
        epochs = np.arange(len(history.loss))
        (line,) = ax.plot(epochs, history.loss, label=label or "training", linewidth=1.6)
        falls = history.loss[history.loss > 0]
        seen.extend(falls[[0, -1]] / falls[0] if len(falls) else ())
        if len(history.val_loss):
            # The loss of an epoch is measured before its updates, the validation loss after them.
            name = f"{label}, validation" if label else "validation"
            ax.plot(
                epochs + 1,
                history.val_loss,
                "--",
                color=line.get_color(),
                label=name,
                linewidth=1.6,
            )
    if log if log is not None else max(seen) > 20 * min(seen):
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("mean loss")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if len(ax.lines) > 1:
        ax.legend(frameon=False)
    return ax


def _new_axes() -> "Axes":
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return plt.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
