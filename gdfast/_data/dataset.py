"""Rows, their targets and their weights, as the kernels take them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdfast._data.arrays import as_matrix, as_weights
from gdfast._data.csr import Csr
from gdfast._data.dtypes import read_only
from gdfast._typing import Array


class Dataset(NamedTuple):
    """Rows as the kernels take them."""

    X: Any  # ndarray (n, d) or Csr
    y: Array  # (n, targets)
    weights: Array  # (n,), of mean 1 if not as given for some of the rows, or (1,): all rows alike

    def parts(self) -> Iterator["Dataset"]:
        """The rows, in one part: what is too large for the memory comes in several, whole blocks but for the last."""
        yield self

    def without_targets(self) -> "Dataset":
        """The rows with a single target of 0."""
        return self._replace(y=read_only(np.zeros((len(self.y), 1), self.y.dtype)))

    def owned(self) -> "Dataset":
        """The rows, safe from writes into the user's arrays: all that kernels make addresses of is copied."""
        return self._replace(X=self.X.owned()) if isinstance(self.X, Csr) else self

    def map_matrix(self, f: Callable[[Any], Any]) -> "Dataset":
        """The rows with f(X) in place of X."""
        return self._replace(X=f(self.X))

    def row_that_counts(self) -> "Dataset | None":
        """The first row whose weight is not 0, or of sparse ones the first of the shortest; None if all weigh 0."""
        counted = np.flatnonzero(self.weights)
        if not counted.size:
            return None
        if isinstance(self.X, Csr):
            at = counted[[np.argmin(np.diff(self.X.indptr)[counted])]]
            return Dataset(self.X.take(at), self.y[at], self.weights[at])
        at = counted[:1]
        return Dataset(self.X[at], self.y[at], self.weights[at])

    def zero_weights_filled(self, row: "Dataset | None") -> "Dataset":
        """The rows, those of weight 0 as copies of this row; as zeros, where there is none.

        A weight of 0 takes back no loss that overflows. The loss of a row that counts overflows in no fit that goes on.
        """
        zero = self.weights == 0
        if not zero.any():
            return self
        y = self.y.copy()
        y[zero] = 0 if row is None else row.y[0]
        if isinstance(self.X, Csr):
            X: Any = self.X.filled(zero, None if row is None else row.X)
        else:
            X = self.X.copy()
            X[zero] = 0 if row is None else row.X[0]
            X = read_only(X)
        return self._replace(X=X, y=read_only(y))

    def take(self, chosen: NDArray[np.bool_], weights_name: str) -> "Dataset":
        """The chosen rows, their weights scaled to mean 1 among them."""
        X = self.X.take(chosen) if isinstance(self.X, Csr) else as_matrix(self.X[chosen])
        y = as_matrix(self.y[chosen], "y")
        given = self.weights[chosen] if len(self.weights) > 1 else None
        return Dataset(X, y, as_weights(given, len(y), y.dtype, weights_name))
