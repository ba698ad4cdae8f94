"""The losses: a record each, with its value and its derivative by the prediction p.

The methods are the formulas of numba (on scalars) and of numpy (on arrays); csrc/losses.hpp says them once more. A
number in a formula is written ``like(p, number)``, which gives it p's dtype: numba would compute in float64 otherwise.
A choice is written ``where(condition, a, b)``.
"""

from typing import Any, NamedTuple, Protocol

from gdfast.checks import choose
from gdfast.elementary import like


class Loss(Protocol):
    """What a loss is: fields are its parameters, the methods its formulas."""

    @property
    def name(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...

    @property
    def curvature(self) -> float:
        """The largest second derivative by p."""
        ...

    def value(self, p: Any, y: Any) -> Any: ...

    def gradient(self, p: Any, y: Any) -> Any: ...


class SquaredError(NamedTuple):
    """(p - y)^2, the loss of least squares.

    Its derivative by p is 2 (p - y). As in scikit-learn's ``squared_error`` before version 1.0 and in
    ``torch.nn.MSELoss``, there is no factor 1/2; see `HalfSquaredError`.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.SquaredError()
    >>> loss.value(1.5, 1.0), loss.gradient(1.5, 1.0)
    (0.25, 1.0)
    """

    @property
    def name(self) -> str:
        return "squared_error"

    @property
    def curvature(self) -> float:
        return 2.0

    def value(self, p: Any, y: Any) -> Any:
        r = p - y
        return r * r

    def gradient(self, p: Any, y: Any) -> Any:
        r = p - y
        return r + r


class HalfSquaredError(NamedTuple):
    """(p - y)^2 / 2, whose derivative by p is the residual p - y.

    The form of scikit-learn's ``SGDRegressor(loss="squared_error")``.

    Examples
    --------
    >>> import gdfast as gd
    >>> loss = gd.losses.HalfSquaredError()
    >>> loss.value(1.5, 1.0), loss.gradient(1.5, 1.0)
    (0.125, 0.5)
    """

    @property
    def name(self) -> str:
        return "half_squared_error"

    @property
    def curvature(self) -> float:
        return 1.0

    def value(self, p: Any, y: Any) -> Any:
        r = p - y
        return like(p, 0.5) * (r * r)

    def gradient(self, p: Any, y: Any) -> Any:
        return p - y


TABLE: dict[str, type[Loss]] = {loss().name: loss for loss in (SquaredError, HalfSquaredError)}


def value(self: Loss, p: Any, y: Any) -> Any:
    """``self.value(p, y)``: the name by which numba finds the formula of a record's type."""
    return self.value(p, y)


def gradient(self: Loss, p: Any, y: Any) -> Any:
    """``self.gradient(p, y)``, likewise."""
    return self.gradient(p, y)


def find(loss: "str | Loss") -> Loss:
    """The record of a name, or the record itself."""
    if not isinstance(loss, str) and type(loss) in TABLE.values():
        return loss
    return choose("loss", loss, TABLE)()
