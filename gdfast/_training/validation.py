"""Rows to validate on: given as a pair, or drawn from the rows."""

from typing import Any

import numpy as np

from gdfast._data.arrays import as_matrix, as_weights, check_finite
from gdfast._data.dataset import Dataset
from gdfast._data.frames import check_names, feature_names
from gdfast._data.targets import Coding, check_numbers
from gdfast._numerics import order
from gdfast._typing import Array
from gdfast._validation import check_number


def validation_pair(
    pair: Any,
    columns: tuple[tuple[str, ...] | None, tuple[str, ...] | None],
    features: int,
    dtype: np.dtype[Any],
    targets: Coding,
) -> Dataset:
    """The rows (Xv, yv) to validate on; `columns` are the names of the columns of X and y."""
    if len(pair) != 2:
        raise ValueError(
            f"validation has {len(pair)} parts: it must be a pair (Xv, yv) or a fraction"
        )
    Xv = as_matrix(pair[0], "validation X", dtype, sparse=True)
    rows = Xv.shape[0]
    if Xv.shape[1] != features:
        raise ValueError(f"validation X has {Xv.shape[1]} features, X has {features}")
    yv = targets.encode(pair[1], "validation y", rows, dtype, "validation X")
    check_numbers(yv, "validation y")
    names, names_of_y = columns
    check_names(feature_names(pair[0]), names, "validation X", "X")
    if targets.outputs > 1:
        check_names(feature_names(pair[1]), names_of_y, "validation y", "y")
    return Dataset(Xv, yv, as_weights(None, rows, dtype))


def split(
    data: Dataset,
    columns: tuple[tuple[str, ...] | None, tuple[str, ...] | None],
    validation: Any,
    seed: int,
    targets: Coding,
    *,
    strata: Array | None = None,
    weights_name: str = "sample_weight",
) -> tuple[Dataset, Dataset | None]:
    """Training rows, and validation rows: a pair with the columns of X and y, or a fraction drawn by the seed.

    A fraction is drawn from each stratum. `strata` has a number for each row; by default it is y, where a single column
    of it holds classes. Messages call the weights by `weights_name`.
    """
    if validation is None:
        return data, None
    X, y, weights = data
    n, d = X.shape
    if isinstance(validation, tuple | list):
        return data, validation_pair(validation, columns, d, y.dtype, targets)
    fraction = check_number("validation", validation, 0, 1, include_low=False, include_high=False)
    count = max(1, round(fraction * n))
    if count >= n:
        raise ValueError(
            f"validation={fraction} takes {count} of {n} rows: none is left to train on"
        )
    check_finite(X, "X")  # while the rows still have their numbers
    check_numbers(y, "y")
    keys = order.round_keys(seed, range(-1, 0))[0]
    if strata is None and targets.classes is not None and y.shape[1] == 1:
        strata = y[:, 0]
    if strata is None:
        chosen = order.visit(np.arange(count), keys, n)
    else:
        visits = order.visit(np.arange(n), keys, n)
        counts = np.broadcast_to(weights > 0, n)[visits]
        chosen = visits[_drawn(strata[visits], counts, count, fraction)]
    drawn = np.zeros(n, bool)
    drawn[chosen] = True
    kept = data.take(~drawn, f"{weights_name} of the training rows")
    held_out = data.take(drawn, f"{weights_name} of the validation rows")
    return kept, held_out.zero_weights_filled(held_out.row_that_counts())


def _drawn(strata: Array, weighs: Array, count: int, fraction: float) -> Array:
    """Where the first rows of each stratum stand, `count` in all, in proportion to the sizes of the strata.

    What the fractions leave over goes to the largest remainders. Of each stratum a row that weighs something is left;
    rows of weight 0 are strata of their own, and may all be drawn.
    """
    n = len(strata)
    groups = 2 * np.unique(strata, return_inverse=True)[1] + weighs
    sizes = np.bincount(groups)
    weighing = np.arange(len(sizes)) % 2
    most = np.maximum(sizes - weighing, 0)
    if count > most.sum():
        raise ValueError(
            f"validation={fraction} takes {count} of {n} rows, and one of the classes has then none left to train on: "
            "take less"
        )
    drawn, rest = divmod(count * sizes, n)
    left = count - int(drawn.sum())
    ranked = np.argsort(-rest, kind="stable").tolist()
    while left > 0:
        for group in ranked:
            if left > 0 and drawn[group] < most[group]:
                drawn[group] += 1
                left -= 1
    by_group = np.argsort(groups, kind="stable")
    sorted_groups = groups[by_group]
    place = np.arange(n) - (np.cumsum(sizes) - sizes)[sorted_groups]
    return by_group[place < drawn[sorted_groups]]
