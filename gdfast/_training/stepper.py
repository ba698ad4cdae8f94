"""`Stepper`: the optimizers' steps for people with a model of their own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, optimizers
from gdfast._backends.problem import fresh_slots
from gdfast._data.arrays import as_array, check_finite
from gdfast._numerics.float_mode import standard
from gdfast._training import learning_rates
from gdfast._typing import Array
from gdfast._validation import check_int, check_number, names_arguments, type_name
from gdfast.optimizers import Optimizer, Rate

# For so many steps the rates are found at a time, where the schedule does not wait for losses.
AHEAD = 64


class Stepper:
    """w <- the optimizer's rule of w and the gradient, in place: for SGD w <- w - lr * gradient.

    Parameters
    ----------
    optimizer : str or record
        As for `gdfast.fit`.
    params : ndarray or list of ndarray
        What is trained: float32 or float64, of any shape, C-contiguous and writeable. They are updated in place. A
        deep copy or a pickle of the stepper has params of its own.
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
    lr : float
        The rate of the next step's epoch: its first, where the schedule counts steps.

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

    @names_arguments
    @standard
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
        schedule = learning_rates.schedule(record.lr)
        self._record, self._rule = record, record.rule
        self._params = params
        self._several = isinstance(params, list | tuple)
        given: Any = params if self._several else [params]
        if not given:
            raise ValueError("params is empty: there is nothing to train")
        self._arrays = [_checked(self._name(k), array) for k, array in enumerate(given)]
        for k, array in enumerate(self._arrays):
            for other in range(k):
                if np.may_share_memory(array, self._arrays[other]):
                    raise ValueError(f"{self._name(other)} and {self._name(k)} share memory")
        dtype = self._arrays[0].dtype
        if any(array.dtype != dtype for array in self._arrays):
            raise ValueError("params must be all float32 or all float64")
        learning_rates.check_numbers(record, dtype)
        self._slots = [fresh_slots(self._rule, array.size, dtype) for array in self._arrays]
        self._steps_per_epoch = check_int("steps_per_epoch", steps_per_epoch, 1)
        self._pace = learning_rates.Pace(record, schedule, self._steps_per_epoch, dtype)
        self._numbers = np.empty((0, 0))
        self._first = self._end = 0  # the steps that these numbers are for
        self.n_steps = 0

    def _name(self, k: int, of: str = "params") -> str:
        return f"{of}[{k}]" if self._several else of

    @property
    def params(self) -> Array | Sequence[Array]:
        """The arrays that are trained, as they were given."""
        return self._params

    @property
    @standard
    def lr(self) -> float:
        """The rate of the next step's epoch: its first, where the schedule counts steps."""
        return self._pace.rate(self.n_steps // self._steps_per_epoch)

    def __getstate__(self) -> dict[str, Any]:
        """All but the backend's module, for which its name stands."""
        return {**vars(self), "_engine": self._engine.NAME}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _engine=_backends.find(state["_engine"]))

    @standard
    def step(self, grad: ArrayLike | Sequence[ArrayLike]) -> None:
        """Update the params, given their gradient.

        Parameters
        ----------
        grad : array-like, or list of array-like
            The gradient, of the shape of the params; a list where they are a list.

        Raises
        ------
        ValueError, TypeError
            If the gradient has another shape, or a component is not finite; the params are then as they were.
        FloatingPointError
            If a param, or what the optimizer keeps for it, is no longer finite after the step.
        """
        if self._several and not isinstance(grad, list | tuple):
            raise TypeError(f"grad must be a list of arrays, as params is; not {grad!r}")
        given: Any = grad if self._several else [grad]
        if len(given) != len(self._arrays):
            raise ValueError(f"grad has {len(given)} arrays, params has {len(self._arrays)}")
        grads = [
            _as_gradient(self._name(k, "grad"), g, array)
            for k, (g, array) in enumerate(zip(given, self._arrays, strict=True))
        ]
        grads = [
            g.copy() if any(np.may_share_memory(g, array) for array in self._arrays) else g
            for g in grads
        ]
        if self.n_steps >= self._end:
            ahead = 1 if self._pace.heeds else AHEAD
            self._numbers = self._pace.coming(self.n_steps, ahead)
            self._first, self._end = self.n_steps, self.n_steps + ahead
        numbers = self._numbers[min(self.n_steps - self._first, len(self._numbers) - 1)]
        for array, g, slots in zip(self._arrays, grads, self._slots, strict=True):
            self._engine.step(self._rule, array.reshape(-1), g, slots, numbers)
        self.n_steps += 1
        for k, (array, slots) in enumerate(zip(self._arrays, self._slots, strict=True)):
            if not (np.isfinite(array).all() and np.isfinite(slots).all()):
                advice = optimizers.advice(self._record, array, slots)
                raise FloatingPointError(
                    f"step {self.n_steps} made {self._name(k)}, or its states, not finite: "
                    + (advice or "try a smaller lr, or clip the gradient")
                )

    @standard
    def heed(self, loss: float) -> None:
        """Tell the loss of an epoch to a schedule that depends on it (`Adaptive`, `ReduceOnPlateau`).

        Parameters
        ----------
        loss : float
            The loss.

        Raises
        ------
        ValueError
            If the schedule does not depend on the loss, or the loss is not finite.
        """
        if not self._pace.heeds:
            raise ValueError("the schedule does not depend on the loss")
        self._pace.heed(check_number("loss", loss, -math.inf, math.inf))


def _checked(name: str, array: Any) -> Array:
    """The given array, if it can be updated in place."""
    if isinstance(array, np.matrix | np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a {type(array).__name__}: pass a plain array, such as numpy.array({name})"
        )
    if hasattr(array, "__array__") and not isinstance(array, np.ndarray):  # another library's
        torch = hasattr(array, "detach")
        way = f"{name}.detach().numpy(), of one memory" if torch else f"numpy.array({name}, float)"
        raise TypeError(
            f"{name} is a {type_name(array)}, and NumPy's arrays are updated: pass {way}"
        )
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
    return array


def _as_gradient(name: str, grad: Any, array: Array) -> Array:
    if isinstance(grad, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and masked values have no meaning here: pass {name}.filled(0)"
        )
    g = as_array(grad, name)
    if g.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {g.dtype}: it must hold real numbers")
    if g.shape != array.shape and not g.size == array.size == 1:
        raise ValueError(f"{name} has shape {g.shape}, its params have shape {array.shape}")
    with np.errstate(over="ignore"):
        g = np.require(g, array.dtype, ["C_CONTIGUOUS", "ALIGNED"])
    check_finite(g, name, "the step was not made")
    return g.reshape(-1)
