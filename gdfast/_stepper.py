"""`Stepper`: the optimizers' steps for people with a model of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, _rates, optimizers
from gdfast._floats import standard
from gdfast.checks import check_int
from gdfast.matrices import check_finite
from gdfast.optimizers import Optimizer, Rate
from gdfast.problem import Array

# For so many steps the rates are found at a time, where the schedule does not wait for losses.
AHEAD = 64


class Stepper:
    """w <- the optimizer's rule of w and the gradient, in place: for SGD w <- w - lr * gradient.

    Parameters
    ----------
    optimizer : str or record
        As for `gdfast.fit`.
    params : ndarray or list of ndarray
        What is trained: float32 or float64, of any shape, C-contiguous and writeable. They are updated in place.
    lr : float or schedule, optional
        Replaces the rate of the optimizer.
    steps_per_epoch : int, default 1
        How many steps make an epoch, for schedules that count epochs.
    backend : {"cpp", "numba", "numpy"}, optional
        Default: the variable GDFAST_BACKEND, or the best available. All give the same bits.

    Attributes
    ----------
    params : ndarray or list of ndarray
        The same arrays.
    n_steps : int
        Steps made.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong.

    References
    ----------
    ``torch.optim``, whose optimizers have a ``step()`` likewise.

    Examples
    --------
    Fit y = a sin(b x), with gradients by hand:

    >>> import numpy as np, gdfast as gd
    >>> x = np.linspace(0, 3, 50)
    >>> y = 2 * np.sin(1.5 * x)
    >>> p = np.array([1.0, 1.0])
    >>> stepper = gd.Stepper(gd.Adam(lr=0.05), p)
    >>> for _ in range(500):
    ...     error = p[0] * np.sin(p[1] * x) - y
    ...     da = np.mean(2 * error * np.sin(p[1] * x))
    ...     db = np.mean(2 * error * p[0] * x * np.cos(p[1] * x))
    ...     stepper.step([da, db])
    >>> p.round(3)
    array([2. , 1.5])
    """

    def __init__(
        self,
        optimizer: str | Optimizer,
        params: Array | Sequence[Array],
        *,
        lr: Rate | None = None,
        steps_per_epoch: int = 1,
        backend: str | None = None,
    ) -> None:
        self._engine = _backends.find(backend)
        record = optimizers.find(optimizer, lr)
        if isinstance(record.lr, str):
            raise ValueError('lr="auto" needs the curvature of data: pass a number or a schedule')
        self._rule = record.rule
        self._names = ["params"]
        self._several = isinstance(params, list | tuple)
        self.params = params
        arrays: Any = params if self._several else [params]
        if self._several:
            self._names = [f"params[{k}]" for k in range(len(arrays))]
        for name, array in zip(self._names, arrays, strict=True):
            _check_params(name, array)
        if not arrays or len({array.dtype for array in arrays}) > 1:
            raise ValueError("params must be one array or several, all float32 or all float64")
        self._arrays = [array.reshape(-1) for array in arrays]
        dtype = self._arrays[0].dtype
        initial = np.array(self._rule.initial, dtype)[:, None]
        self._slots = [np.tile(initial, len(array)) for array in self._arrays]
        self._steps_per_epoch = check_int("steps_per_epoch", steps_per_epoch, 1)
        schedule = _rates.schedule(record.lr, dtype)
        self._pace = _rates.Pace(record, schedule, self._steps_per_epoch, dtype)
        self._numbers = np.empty((0, 0))
        self._first = self._end = 0  # the steps that these numbers are for
        self.n_steps = 0

    @property
    def lr(self) -> float:
        """The rate of the epoch that the next step is in."""
        return self._pace.rate(self.n_steps // self._steps_per_epoch)

    @standard()
    def step(self, grad: ArrayLike | Sequence[ArrayLike]) -> None:
        """Update the params, given their gradient: an array of their shape, or a list of such for a list.

        Raises
        ------
        ValueError
            If the gradient has another shape, or a component is not finite; the params are then as they were.
        """
        given: Any = grad if self._several else [grad]
        if len(given) != len(self._arrays):
            raise ValueError(f"grad has {len(given)} arrays, params has {len(self._arrays)}")
        grads = []
        for name, array, g in zip(self._names, self._arrays, given, strict=True):
            grads.append(_as_gradient(name.replace("params", "grad"), g, array))
        if self.n_steps >= self._end:
            self._look_ahead()
        numbers = self._numbers[min(self.n_steps - self._first, len(self._numbers) - 1)]
        for array, g, slots in zip(self._arrays, grads, self._slots, strict=True):
            self._engine.step(self._rule, array, g, slots, numbers)
        self.n_steps += 1

    def heed(self, loss: float) -> None:
        """Tell the loss of an epoch to a schedule that depends on it (`Adaptive`, `ReduceOnPlateau`)."""
        if not self._pace.heeds:
            raise ValueError("the schedule does not depend on the loss")
        self._pace.heed(float(loss))
        self._end = self.n_steps

    def _look_ahead(self) -> None:
        """Find the numbers of the steps to come, up to the end of an epoch."""
        epoch = self.n_steps // self._steps_per_epoch
        epochs = max(1, AHEAD // self._steps_per_epoch)
        self._first = epoch * self._steps_per_epoch
        self._end = self._first + epochs * self._steps_per_epoch
        _, self._numbers = self._pace.coming(range(epoch, epoch + epochs), self._first)


def _check_params(name: str, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(
            f"{name} must be an array of float32 or float64, which is updated; not {kind}"
        )
    flags = array.flags
    if not (flags.c_contiguous and flags.writeable and flags.aligned and array.dtype.isnative):
        raise ValueError(
            f"{name} must be C-contiguous, aligned, writeable and of native byte order: it is updated in place"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    check_finite(array, name, "start at finite numbers")


def _as_gradient(name: str, grad: Any, array: Array) -> Array:
    g = np.asarray(grad)
    if g.size != array.size or g.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} has shape {g.shape} and dtype {g.dtype}: it must hold {array.size} real numbers"
        )
    g = np.ascontiguousarray(g.reshape(-1), array.dtype)
    check_finite(g, name, "the step was not made")
    return g
