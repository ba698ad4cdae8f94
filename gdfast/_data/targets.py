"""The targets of each kind of loss, as the kernels take them: numbers, signs of two classes, positions of several."""

from typing import Any, NamedTuple

import numpy as np

from gdfast._data.arrays import (
    as_floats,
    as_matrix,
    as_values,
    as_vector,
    check_dense,
    check_finite,
    check_vector,
)
from gdfast._data.frames import column_values, columns_of
from gdfast._typing import Array
from gdfast.losses import MOST_CLASSES, Loss

# The dtypes of labels by their kind. Only labels of one family can be equal.
FAMILIES = {
    **dict.fromkeys("biuf", "numbers"),
    "U": "text",
    "S": "bytes",
    "M": "dates",
    "m": "durations",
}
# The types of labels in an array of objects.
TYPES = {
    "numbers": (bool, int, float, np.bool_, np.integer, np.floating),
    "text": (str,),
    "bytes": (bytes,),
}


class Coding(NamedTuple):
    """The form in which the targets of a loss were given: their number, and the classes that they name."""

    loss: Loss
    outputs: int
    single: bool  # y is 1-D, and there is one output
    classes: Array | None  # of a loss for classes: the labels, sorted

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what there is one of for each output."""
        return () if self.single else (self.outputs,)

    def encode(
        self, y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str = "X"
    ) -> Array:
        """(rows, targets): -1 and 1 for two classes, positions among several, else the numbers themselves."""
        if self.classes is None:
            a, _ = _as_columns(y, name, rows, dtype, matrix)
        else:
            a, _ = as_labels(y, name, rows, matrix)
        columns = 1 if self.loss.targets == "classes" else self.outputs
        if a.shape[1] != columns:
            raise ValueError(f"{name} has {a.shape[1]} columns, y has {self.outputs}")
        return self.coded(a, name, dtype)

    def coded(self, a: Array, name: str, dtype: np.dtype[Any]) -> Array:
        """`encode` for numbers or labels that stand in columns already."""
        if self.classes is None:
            if self.loss.targets == "counts":
                words = "the poisson loss takes counts, which are not negative"
                _check(a >= 0, a, name, words)
            return a
        at = _positions(a, self.classes)
        _check(at >= 0, a, name, f"the classes are {_listed(self.classes)}")
        codes: Array = (2 * at - 1 if self.loss.targets == "signs" else at).astype(dtype)
        codes.flags.writeable = False
        return codes


def check_numbers(a: Array, name: str) -> None:
    """Name the first target that is not finite."""
    check_finite(a[:, 0] if a.shape[1] == 1 else a, name)


def coding(y: Any, loss: Loss, rows: int, dtype: np.dtype[Any]) -> tuple[Coding, Array]:
    """The form in which y is given, its columns and for some losses its classes; and y as `Coding.encode` makes it."""
    if loss.targets in ("numbers", "counts"):
        a, single = _as_columns(y, "y", rows, dtype, "X")
        targets = Coding(loss, a.shape[1], single, None)
    else:
        a, single = as_labels(y, "y", rows)
        labels = distinct(a)
        if loss.targets == "signs" and len(labels) > 2:
            raise third_class(a, labels[:0], loss)
        targets = coding_of(labels, a.shape[1], single, loss)
    return targets, targets.coded(a, "y", dtype)


def coding_of(labels: Array, columns: int, single: bool, loss: Loss) -> Coding:
    """The coding of labels in so many columns, given the distinct ones, sorted.

    A 1-D y must hold two classes. One that has columns may hold but one of 0 and 1, or of -1 and 1.
    """
    wanted: int = vars(loss).get("classes", 0)
    if loss.targets == "classes" and columns > 1:
        raise ValueError(f"y has {columns} columns: softmax takes one, of labels")
    if wanted:
        numbers = labels.dtype if labels.dtype.kind in "iuf" else np.dtype(np.intp)
        kind = np.result_type(numbers, np.min_scalar_type(wanted - 1))
        labels = np.arange(wanted).astype(kind)
    elif (
        loss.targets == "signs" and len(labels) == 1 and labels.dtype.kind in "biuf" and not single
    ):
        pair = [-1, 1] if labels[0] == -1 else [0, 1]
        labels = np.array(pair).astype(labels.dtype) if labels[0] in pair else labels
    if len(labels) == 1:
        found = f"y is {labels[0].item()!r} in every row" if wanted != 1 else "Softmax(classes=1)"
        raise ValueError(f"{found}: there must be two classes or more")
    if loss.targets == "signs":
        return Coding(loss, columns, single, labels)
    if len(labels) > MOST_CLASSES:
        raise ValueError(
            f"y holds {len(labels)} different labels: at most {MOST_CLASSES} are taken"
        )
    return Coding(loss, len(labels), False, labels)


def third_class(a: Array, known: Array, loss: Loss) -> ValueError:
    """The error for labels that are more than two, together with those known before: it names the third."""
    labels, firsts = np.unique(a, return_index=True)
    new = np.sort(firsts[_positions(labels, known) < 0])
    flat, at = a.ravel(), int(new[2 - len(known)])
    before = np.append(known, flat[new[: 2 - len(known)]])
    return ValueError(
        f"y{_place(at, a)} is {_listed(flat[at : at + 1])}, after {_listed(before)}: {loss.name} takes two classes, "
        "softmax takes several"
    )


def distinct(a: Array) -> Array:
    """The distinct labels, sorted."""
    if a.dtype == object:
        return np.array(sorted(set(a.ravel().tolist())))
    if a.dtype.kind in "biuf":  # where there are two, it is not worth sorting
        ends = np.array([a.min(), a.max()])
        if ((a == ends[0]) | (a == ends[1])).all():
            return ends[: 1 + int(ends[0] != ends[1])]
    labels: Array = np.unique(a)
    return labels


def _positions(a: Array, classes: Array) -> Array:
    """Where each label stands among the classes, which are sorted; -1 where it does not."""
    kinds = {a.dtype.kind, classes.dtype.kind}
    if a.dtype == object or (kinds == {"i", "u"} and np.result_type(a, classes).kind == "f"):
        places = {label: k for k, label in enumerate(classes.tolist())}
        return np.array([places.get(label, -1) for label in a.ravel().tolist()]).reshape(a.shape)
    if len(classes) == 0 or FAMILIES[a.dtype.kind] != FAMILIES[classes.dtype.kind]:
        return np.full(a.shape, -1)
    if len(classes) == 2:  # several times as fast
        second = a == classes[1]
        at: Array = second.astype(np.int8)
        at[~(second | (a == classes[0]))] = -1
        return at
    at = np.searchsorted(classes, a)
    at[at == len(classes)] = 0
    at[classes[at] != a] = -1
    return at


def as_labels(y: Any, name: str, rows: int, matrix: str = "X") -> tuple[Array, bool]:
    """The labels as (rows, columns), none of them missing, and whether y is 1-D.

    They keep their dtype. Text that comes as objects stays so: in NumPy's fixed width all would take the room of the
    longest.
    """
    check_dense(y, name)
    table = columns_of(y, name)
    if table is None:
        a = as_values(y, name)
        if a.dtype.kind in "US" and not isinstance(y, np.ndarray):
            a = np.array(y, object)  # in which numbers beside text are still numbers
    else:
        parts = [column_values(column, name, f", {label!r}") for label, column in table]
        alike = len({FAMILIES.get(part.dtype.kind) for part in parts}) == 1
        a = np.stack(parts if alike else [part.astype(object) for part in parts], axis=1)
    single = a.ndim != 2
    if single:
        check_vector(a, y, name, rows, matrix)
        a = a.reshape(rows, 1)
    elif len(a) != rows:
        raise ValueError(f"{name} has {len(a)} rows, {matrix} has {rows}")
    if a.dtype.kind in "OT":  # T is NumPy's text of any length
        a = _as_objects(a, name)
    elif a.dtype.kind not in FAMILIES:
        raise TypeError(f"{name} has dtype {a.dtype}: labels are numbers, text, bytes or dates")
    if a.dtype.kind in "biuf":
        check_numbers(a, name)
    elif a.dtype.kind in "mM":
        _check(~np.isnat(a), a, name, "remove the row or fill the value in")
    return a, single


def _as_objects(a: Array, name: str) -> Array:
    """Labels that come as objects: text as it is, numbers in a dtype of theirs."""
    labels = a.ravel().tolist()
    families = {kind: _family(kind) for kind in set(map(type, labels))}
    wanted = families[type(labels[0])]
    if wanted is None or len(set(families.values())) > 1:
        for i, label in enumerate(labels):
            if _is_missing(label):
                raise ValueError(
                    f"{name}{_place(i, a)} is missing: remove the row or fill the value in"
                )
        for i, label in enumerate(labels):
            place, family = f"{name}{_place(i, a)} is {label!r}", families[type(label)]
            if family is None:
                raise TypeError(
                    f"{place}, a {type(label).__name__}: labels are numbers, text or bytes"
                )
            if family != wanted:
                raise TypeError(
                    f"{place}, after labels that are {wanted}: make text of all, by astype(str)"
                )
    if wanted != "numbers":
        return a.astype(object, copy=False)
    numbers = np.array(labels).reshape(a.shape)
    if numbers.dtype == object:
        raise TypeError(
            f"{name} holds integers of more than 64 bits: make text of them, by astype(str)"
        )
    return numbers


def _family(kind: type) -> str | None:
    return next((family for family, types in TYPES.items() if issubclass(kind, types)), None)


def _is_missing(label: Any) -> bool:
    """Whether this is None, NaN, or what pandas has for them."""
    if isinstance(label, TYPES["numbers"]):
        return bool(label != label)  # noqa: PLR0124  # NaN
    return label is None or type(label).__name__ in ("NAType", "NaTType")


def _as_columns(
    y: Any, name: str, rows: int, dtype: np.dtype[Any], matrix: str
) -> tuple[Array, bool]:
    """Numbers as (rows, columns), and whether y is 1-D."""
    if isinstance(y, list | tuple):
        y = as_floats(y, name)
    dimensions = np.ndim(y)
    if dimensions != 2:
        return as_vector(y, name, rows, dtype, matrix).reshape(rows, 1), dimensions == 1
    a = as_matrix(y, name, dtype)
    if len(a) != rows:
        raise ValueError(f"{name} has {len(a)} rows, {matrix} has {rows}")
    return a, False


def _check(right: Array, a: Array, name: str, words: str) -> None:
    """Name the first target that is not right."""
    if not right.all():
        at = int(np.argmin(right))
        raise ValueError(f"{name}{_place(at, a)} is {_listed(a.ravel()[at : at + 1])}: {words}")


def _place(at: int, a: Array) -> str:
    """The place in y of the target at this position among all of them, row by row."""
    i, j = divmod(at, a.shape[1])
    return f"[{i}]" if a.shape[1] == 1 else f"[{i}, {j}]"


def _listed(labels: Array, most: int = 10) -> str:
    """Labels in words, the first of them if there are many."""
    words = ", ".join(map(_shown, labels[:most].tolist()))
    return words + (", ..." if len(labels) > most else "")


def _shown(label: Any) -> str:
    short = f"{label:g}" if isinstance(label, float) else ""
    return short if short and float(short) == label else repr(label)
