"""What y holds for each kind of loss, as the kernels take it."""

from typing import Any, NamedTuple

import numpy as np

from gdfast.losses import Loss
from gdfast.matrices import as_floats, as_matrix, as_vector, check_finite
from gdfast.problem import Array


class Coding(NamedTuple):
    """How a loss's targets were given: how many there are, and which classes they name."""

    loss: Loss
    outputs: int
    single: bool  # y is 1-D, and there is one output
    classes: Array | None  # of a loss for classes: as they stand in y

    @property
    def shape(self) -> tuple[int, ...]:
        """That of what there is one of for each output."""
        return () if self.single else (self.outputs,)

    def encode(
        self, y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str = "X"
    ) -> Array:
        """(rows, targets): -1 and 1 for two classes, else the numbers themselves."""
        return self.coded(_as_columns(y, name, rows, dtype, matrix, self.loss)[0], name)

    def coded(self, a: Array, name: str) -> Array:
        """The same for numbers in columns."""
        if a.shape[1] != (1 if self.loss.targets == "classes" else self.outputs):
            raise ValueError(f"{name} has {a.shape[1]} columns, y has {self.outputs}")
        if self.classes is None:
            if self.loss.targets == "counts":
                _check(a >= 0, a, name, "the poisson loss takes counts, which are not negative")
            return a
        known = self.classes.astype(a.dtype)
        words = ", ".join(str(label) for label in self.classes[:10].tolist())
        _check(
            np.isin(a, known),
            a,
            name,
            f"the classes are {words}{', ...' if len(known) > 10 else ''}",
        )
        return self.as_signs(a) if self.loss.targets == "signs" else a

    def as_signs(self, a: Array) -> Array:
        """-1 and 1 for the two classes."""
        assert self.classes is not None
        if self.classes[0] == -1:
            return a
        signs: Array = np.where(a == self.classes[1], a.dtype.type(1), a.dtype.type(-1))
        signs.flags.writeable = False
        return signs


def check_numbers(a: Array, name: str) -> None:
    """Name the first target that is not finite."""
    check_finite(a[:, 0] if a.shape[1] == 1 else a, name)


def coding(y: Any, loss: Loss, rows: int, dtype: np.dtype[Any]) -> tuple[Coding, Array]:
    """How y is given: its columns and, for a loss that needs them, its classes; and y as `Coding.encode` makes it."""
    a, single = _as_columns(y, "y", rows, dtype, "X", loss)
    targets = _coding(y, a, single, loss)
    return targets, targets.as_signs(a) if loss.targets == "signs" else targets.coded(a, "y")


def _coding(y: Any, a: Array, single: bool, loss: Loss) -> Coding:
    outputs = a.shape[1]
    if loss.targets in ("numbers", "counts"):
        return Coding(loss, outputs, single, None)
    given = np.asarray(y).dtype
    if loss.targets == "signs":
        return Coding(loss, outputs, single, _two_classes(a, single, loss).astype(given))
    if outputs > 1:
        raise ValueError(
            f"y has {outputs} columns: softmax takes one, of the classes 0, 1, ..., k - 1"
        )
    check_numbers(a, "y")
    _check(
        (a >= 0) & (a == np.floor(a)),
        a,
        "y",
        "softmax takes the classes 0, 1, ..., k - 1; gdfast.sklearn.GDClassifier takes labels of all kinds",
    )
    k = int(a.max()) + 1
    wanted: int = vars(loss)["classes"] or k
    if k > wanted:
        raise ValueError(
            f"y holds the class {k - 1}, and Softmax(classes={wanted}) has 0 to {wanted - 1}"
        )
    if wanted < 2:
        raise ValueError("y holds the class 0 alone: there is nothing to tell apart")
    return Coding(loss, wanted, False, np.arange(wanted).astype(given))


def _as_columns(
    y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str, loss: Loss
) -> tuple[Array, bool]:
    """The targets as (rows, columns), and whether y is 1-D."""
    if loss.targets in ("signs", "classes") and np.asarray(y).dtype.kind in "US":
        raise TypeError(
            f"{name} holds labels that are no numbers: code them as 0, 1, ..., or use "
            "gdfast.sklearn.GDClassifier, which takes labels of all kinds"
        )
    if isinstance(y, list | tuple):
        y = as_floats(y, name)
    dimensions = np.ndim(y)
    if dimensions != 2:
        return as_vector(y, name, rows, dtype, matrix).reshape(rows, 1), dimensions == 1
    a = as_matrix(y, name, dtype)
    if len(a) != rows:
        raise ValueError(f"{name} has {len(a)} rows, {matrix} has {rows}")
    return a, False


def _two_classes(a: Array, single: bool, loss: Loss) -> Array:
    """0 and 1, or -1 and 1. One column must hold both; of several, one may hold but one."""
    pair = [-1, 1] if a.min() < 0 else [0, 1]
    first, second = (a == value for value in pair)
    if (first | second).all():
        if single and (first.all() or second.all()):
            raise ValueError(
                f"y is {a[0, 0]} in every row: there must be two classes, {pair[0]} and {pair[1]}"
            )
        return np.array(pair, np.float64)
    check_numbers(a, "y")
    _check(np.isin(a, [0, 1]), a, "y", f"{loss.name} takes the two classes 0 and 1, or -1 and 1")
    raise AssertionError("a value that is not among the classes was named")


def _check(right: Array, a: Array, name: str, words: str) -> None:
    """Name the first target that is not right."""
    if not right.all():
        i, j = (int(part) for part in np.unravel_index(int(np.argmin(right)), a.shape))
        place = f"{i}" if a.shape[1] == 1 else f"{i}, {j}"
        raise ValueError(f"{name}[{place}] is {a[i, j]:g}: {words}")
