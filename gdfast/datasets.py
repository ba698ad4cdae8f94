"""The data that ship with the package."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset", "load_penguins"]


def __dir__() -> list[str]:
    return __all__


class Dataset(NamedTuple):
    """Rows, targets and the names of the columns.

    Parameters
    ----------
    X : ndarray (n, d)
        The rows.
    y : ndarray (n,)
        The targets.
    feature_names : tuple of str
        The names of X's columns.
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    feature_names: tuple[str, ...]


def load_penguins() -> Dataset:
    """The body mass of 333 Palmer penguins, with four features.

    ``X`` holds the length and the depth of the bill and the length of the flipper, in millimetres, and 1 for a male or
    0 for a female; ``y`` is the body mass in grams.

    Returns
    -------
    Dataset
        ``X`` (333, 4), ``y`` (333,) and ``feature_names``, new arrays at each call.

    References
    ----------
    Gorman KB, Williams TD, Fraser WR (2014), "Ecological sexual dimorphism and environmental variability within a
    community of Antarctic penguins (genus Pygoscelis)", PLoS ONE 9(3): e90081. Licence: CC0. The complete rows of the
    data set in the R package palmerpenguins.

    Examples
    --------
    >>> import gdfast as gd
    >>> X, y, names = gd.datasets.load_penguins()
    >>> X.shape, names[-1], y[:3].tolist()
    ((333, 4), 'male', [3750.0, 3800.0, 3250.0])
    >>> r = gd.fit(X, y, standardize=True)
    >>> r.coef.round(2).tolist()
    [-2.33, -86.1, 38.82, 541.06]
    """
    from importlib import resources  # slow to import, and seldom asked for

    source = resources.files("gdfast").joinpath("data", "penguins.csv")
    with source.open(encoding="utf-8") as file:
        names = next(file).strip().split(",")
        table = np.loadtxt(file, delimiter=",")
    return Dataset(table[:, :-1].copy(), table[:, -1].copy(), tuple(names[:-1]))
