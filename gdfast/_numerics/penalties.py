"""The penalties l1 * sum abs(w) + l2 / 2 * sum w^2, which the intercept does not have.

That of l2 adds l2 w to the gradient. The weight decay of an optimizer is a penalty of the same form, of the intercept
too, whose slope the rule adds by itself: it is part of the objective, and of the gradient that is small at its minimum.

That of l1 has no derivative at 0, and there are two ways to make steps that end at 0 itself:

- A plain step along the gradient, w - lr g, is followed by the proximal step: w is shrunk by lr l1 (Beck and Teboulle
  2009, "A fast iterative shrinkage-thresholding algorithm"; Duchi and Singer 2009).
- A step that remembers gradients or divides by them has no such threshold: shrunk by lr l1, the weights would end at
  the minimum of another objective. It is given the least slope of the objective and may not cross 0, where it stays
  until the slope is steeper than l1 (Andrew and Gao 2007, "Scalable training of L1-regularized log-linear models").

A gradient that is clipped is that of the objective, with the least slope of l1, and without the weight decay, which
torch's optimizers add after the clipping. The gradient of the rest and l1 are scaled alike, so that they still cancel
where the objective is least.
"""

from typing import Any, NamedTuple

import numpy as np

from gdfast._numerics import order
from gdfast._numerics.elementary import like, where


class Penalty(NamedTuple):
    """The penalty that is added to the mean loss."""

    l1: float
    l2: float
    proximal: bool  # the rule is a plain step along the gradient
    weight_decay: float = (
        0.0  # of the rule: half of it times the squares of the weights and the intercept
    )

    @property
    def free(self) -> bool:
        """Whether nothing is added."""
        return self.l1 == 0 and self.l2 == 0 and self.weight_decay == 0

    def of(self, models: Any, fit_intercept: bool = True) -> Any:
        """The penalty of the models, (outputs, d + 1), in their dtype; an intercept that is not fitted has none.

        Examples
        --------
        >>> import numpy as np
        >>> from gdfast._numerics.penalties import Penalty
        >>> float(Penalty(l1=1.0, l2=0.5, proximal=True).of(np.array([[2.0, -3.0, 7.0]])))
        8.25
        """
        w, b = models[:, :-1], models[:, -1]
        half, total = w.dtype.type(0.5), w.dtype.type(0)
        with np.errstate(all="ignore"):
            if self.l1 != 0:
                total = self.l1 * _sum_in_turn(order.dot(np.abs(w), np.ones(w.shape[1], w.dtype)))
            if self.l2 != 0:
                total = total + half * self.l2 * _sum_in_turn(order.squares(w))
            if self.weight_decay != 0:
                squares = order.squares(w) + (b * b if fit_intercept else 0)
                total = total + half * self.weight_decay * _sum_in_turn(squares)
        return total


def _sum_in_turn(terms: Any) -> Any:
    return np.add.accumulate(terms)[-1]


def shrunk(w: Any, t: Any) -> Any:
    """abs(w) less t, with w's sign; 0 where there is nothing left of it: the proximal step of t abs(w).

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.penalties import shrunk
    >>> shrunk(np.array([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    return where(abs(w) <= t, like(w, 0.0), where(w > 0, w - t, w + t))


def least_slope(g: Any, w: Any, l1: Any) -> Any:
    """The least of the slopes of the objective at w, where that of the rest is g; 0 if w is to stay at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.penalties import least_slope
    >>> least_slope(np.array([1.0, -0.5, 3.0]), np.array([2.0, 0.0, 0.0]), 1.0).tolist()
    [2.0, 0.0, 2.0]
    """
    return where(w > 0, g + l1, where(w < 0, g - l1, shrunk(g, l1)))


def on_side(w: Any, side: Any) -> Any:
    """W, or 0 where it is not on the side that is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.penalties import on_side
    >>> on_side(np.array([1.0, -2.0, 3.0]), np.array([-1.0, -1.0, 0.0])).tolist()
    [0.0, -2.0, 0.0]
    """
    beyond = where(side > 0, w <= 0, where(side < 0, w >= 0, side == 0))
    return where(beyond, like(w, 0.0), w)
