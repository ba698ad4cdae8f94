"""`minimize`: a function, by the optimizers of `fit`; and `scipy_method`, which lends them to scipy."""

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, optimizers
from gdfast._backends.problem import DIVERGED, TOL, fresh_slots
from gdfast._data.arrays import as_point
from gdfast._data.dtypes import all_within
from gdfast._numerics.float_mode import standard
from gdfast._training import learning_rates
from gdfast._training.learning_rates import Pace
from gdfast._training.run import Growing, stops
from gdfast._typing import Array
from gdfast._validation import check_int, check_number, names_arguments
from gdfast._warnings import warn
from gdfast.errors import DivergenceError
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import MinimizeResult, frozen
from gdfast.schedules import ClosedLoop

# `status`, as in scipy where it has a number.
REACHED, SPENT, LOST, RUNNING, STOPPED = 0, 1, 2, 3, 99
MESSAGES = {
    REACHED: "no component of the gradient is larger than tol={tol:g}",
    SPENT: "maxiter={maxiter} steps were made, and a component of the gradient is still larger than tol={tol:g}",
    LOST: "f, its gradient or the optimizer's states stopped being finite",
    RUNNING: "running",
    STOPPED: "the callback stopped it",
}
# f may rise by so much of itself, by rounding, without a warning.
ROUNDING = 1e-6
# A call of compiled code, which Ctrl-C has to wait for, takes about so many seconds.
IN_A_CALL = 0.05
# A call of Python functions makes no more steps than were made before, or than these; and no call makes more than fill
# so many numbers of the path: what is allocated grows with the steps made, whatever their limit is.
STEPS_IN_THE_FIRST_CALL = 1 << 10
NUMBERS_IN_A_CALL = 1 << 17
# In so many rounds of power iteration the largest curvature is found.
ROUNDS = 8


class Function:
    """The user's functions, called with a copy of x, and checked in what they return."""

    def __init__(self, fun: Any, jac: Any, x: Array) -> None:
        self.fun, self.jac = fun, jac
        self.shape, self.dtype = x.shape, x.dtype
        self.narrow = x.dtype != np.float64
        self.apart = callable(jac)
        self.gradients = 0  # found, each with a call of fun
        self.differences = 0  # what else fun was called for

    def __call__(self, x: Array) -> tuple[Any, Array]:
        """The value and the gradient, in the dtype of x0."""
        try:
            if self.apart:
                value = self.fun(x.copy())
                if not isinstance(value, float):
                    value = _number(value)
                gradient = self.jac(x.copy())
                known = type(gradient) is np.ndarray and gradient.dtype is self.dtype
                if not known or gradient.shape != self.shape:
                    gradient = self._gradient(gradient, "jac(x)")
            else:
                value, gradient = self._both(x)
        except Exception as error:
            error.add_note(f"at x = {x}")
            raise
        self.gradients += 1
        if self.narrow:
            with np.errstate(over="ignore"):
                return self.dtype.type(value), gradient.astype(self.dtype)
        return value, gradient

    def _both(self, x: Array) -> tuple[float, Array]:
        if self.jac is True:
            pair = self.fun(x.copy())
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError(
                    f"with jac=True fun must return a pair, the value and the gradient; it returned {pair!r}"
                )
            return _number(pair[0]), self._gradient(pair[1], "the gradient from fun")
        return _number(self.fun(x.copy())), _numerical_gradient(self._value, x.astype(np.float64))

    def _value(self, x: Array) -> float:
        self.differences += 1
        return _number(self.fun(x.copy()))

    @property
    def calls(self) -> int:
        """How often fun was called."""
        return self.gradients + self.differences

    def _gradient(self, gradient: Any, name: str) -> Array:
        g = np.asarray(gradient)
        if g.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers; it is {gradient!r}")
        if g.shape != self.shape:
            if not (g.size == 1 and self.shape == (1,)):
                raise ValueError(f"{name} has shape {g.shape}, x has shape {self.shape}")
            g = g.reshape(1)
        return g


class Points:
    """The points of a descent and their values: all, or only the latest three, which the advice asks for."""

    def __init__(self, x: Array, value: Any, kept: bool) -> None:
        self.kept = kept
        self.count = 1
        self.x = Growing(x[None].copy())
        self.values = Growing(np.array([value], x.dtype))
        self.lowest, self.least = x.copy(), math.inf  # of the points before the latest

    def add(self, x: Array, values: Array) -> None:
        """Add points, of which the first is the latest of those that are there."""
        if len(x) == 1:
            return
        k = int(np.argmin(values[:-1]))
        if values[k] < self.least:
            self.lowest, self.least = x[k].copy(), float(values[k])
        if not self.kept:
            x = np.concatenate([self.x.until(self.count), x[1:][-3:]])[-3:]
            values = np.concatenate([self.values.until(self.count), values[1:][-3:]])[-3:]
            self.x, self.values, self.count = Growing(x), Growing(values), len(x)
            return
        self.x.put(self.count, x[1:])
        self.values.put(self.count, values[1:])
        self.count += len(x) - 1

    def path(self) -> tuple[Array, Array]:
        """The path as a result has it, with its values: where not all points are kept, the latest two."""
        first = 0 if self.kept else max(0, self.count - 2)
        return self.x.until(self.count)[first:], self.values.until(self.count)[first:]


def _number(value: Any) -> float:
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "fiub":
        raise TypeError(f"fun(x) must be a real number; it is {value!r}")
    return float(number.item())


def _numerical_gradient(fun: Callable[[Array], float], x: Array) -> Array:
    try:
        from scipy.optimize import approx_fprime
    except ImportError as error:
        raise ImportError(
            "minimize needs the gradient: pass jac, or install scipy, which finds it numerically: pip install scipy"
        ) from error
    outside = np.geterr()

    def as_outside(x: Array) -> float:
        with np.errstate(**outside):
            return fun(x)

    with np.errstate(all="ignore"):  # of differences of what is not finite
        gradient: Array = approx_fprime(x, as_outside)
    return gradient


@names_arguments
@standard
def minimize(
    fun: Callable[..., Any],
    x0: ArrayLike,
    *,
    jac: Callable[..., Any] | bool | None = None,
    optimizer: str | Optimizer = "sgd",
    lr: Rate | None = None,
    maxiter: int = 100,
    tol: float = 0.0,
    trace: str | None = "path",
    callback: Callable[[MinimizeResult], Any] | None = None,
    backend: str | None = None,
) -> MinimizeResult:
    """Minimise f(x) by gradient descent, keeping the path: for SGD x <- x - lr * f'(x).

    Parameters
    ----------
    fun : callable
        f: takes x, an array (d,), and returns a number; with ``jac=True`` a pair, the number and the gradient (d,).
        Where numba has compiled fun (and jac) the whole loop is compiled.
    x0 : array-like (d,) or float
        Where to start. float32 keeps its dtype; all else becomes float64. fun and jac are called with x in this dtype,
        and what they return is rounded to it.
    jac : callable or True, optional
        The gradient: takes x and returns an array (d,), or a list or tuple of d numbers. By default it is found by
        finite differences, with ``scipy.optimize.approx_fprime``, which needs scipy and d + 1 more calls of fun, always
        with x in float64.
    optimizer : str or record, default "sgd"
        As for `gdfast.fit`.
    lr : float or schedule, optional
        The rate, or a record of `gdfast.schedules`, for which each step is an epoch. By default that of the optimizer.
    maxiter : int, default 100
        Steps, at most.
    tol : float, default 0
        Stop when no component of the gradient is larger, whatever the callback answers. The weight decay of the
        optimizer, if it has one that is not decoupled, counts: f + weight_decay / 2 sum x^2 is what it minimises.
    trace : "path" or None, default "path"
        Keep all points in ``path`` and ``fun_path``; None keeps the latest two alone, whatever the number of steps.
    callback : callable, optional
        Called after each step with the `MinimizeResult` so far; returning True or raising StopIteration stops.
    backend : {"cpp", "numba", "numpy"}, optional
        What makes the steps, all with the same bits. Default: numba where it has compiled fun and jac, else the
        variable GDFAST_BACKEND, or the best available.

    Returns
    -------
    MinimizeResult
        ``x``, ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``status``, ``message`` as in scipy, and
        ``path`` and ``fun_path``. ``success`` says whether tol was reached, which with a tol of 0 it seldom is.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or what fun or jac returns. Their own errors are passed on, with a note of x.
    DivergenceError
        If f, its gradient, x, or what the optimizer keeps for each x stops being finite, as the sums of squared
        gradients may. It holds the partial result.
    ImportError
        If jac is None and scipy is not installed.

    Warns
    -----
    RuntimeWarning
        If f ends above where it started.

    References
    ----------
    Cauchy (1847), "Méthode générale pour la résolution des systèmes d'équations simultanées". The optimizers' rules are
    torch.optim's; the names are those of ``scipy.optimize.minimize``.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.minimize(lambda x: x**2 + 4 * x + 1, 2.0, jac=lambda x: 2 * x + 4, lr=0.7)
    >>> r.x, r.fun, r.path[:3, 0]
    (array([-2.]), -3.0, array([ 2.  , -3.6 , -1.36]))
    """
    if not callable(fun):
        raise TypeError(f"fun must be callable, not {fun!r}")
    if not (jac is None or jac is True or callable(jac)):
        raise TypeError(f"jac must be callable, True or None, not {jac!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, not {callback!r}")
    if trace is not None and str(trace) != "path":
        raise ValueError(f'trace={trace!r} must be None or "path"')
    jitted = _backends.is_jitted(fun) and (jac is True or _backends.is_jitted(jac))
    engine = _backends.find("numba" if backend is None and jitted else backend)
    record = optimizers.find(optimizer, lr)
    schedule = learning_rates.schedule(record.lr)
    x = as_point(x0)
    d, dtype = len(x), x.dtype
    maxiter = check_int("maxiter", maxiter, 0)
    tol = check_number("tol", tol, 0, math.inf)

    function = Function(fun, jac, x)
    learning_rates.check_numbers(record, dtype, "x0")
    value, gradient = function(x)
    grad, begin = gradient.astype(dtype), float(value)
    largest = np.finfo(dtype).max
    limit = dtype.type(min(tol, float(largest)))
    if not (math.isfinite(value) and all_within(grad, largest)):
        raise ValueError(
            f"at x0 = {x} f is {value} and its gradient {grad}: start where both are finite"
        )
    points = Points(x, value, trace is not None)
    slots = fresh_slots(record.rule, d, dtype)
    decay = dtype.type(record.decay)
    pace = Pace(record, schedule, 1, dtype)
    one_by_one = callback is not None or pace.heeds
    compiled = jitted and engine.NAME == "numba"
    called = (fun, None if jac is True else jac) if compiled else (function, None)
    at_once = 1 if one_by_one or compiled else STEPS_IN_THE_FIRST_CALL
    most = max(1, NUMBERS_IN_A_CALL // d)

    def result(status: int, made: int) -> MinimizeResult:
        unseen = made if compiled else 0  # calls from compiled code
        path, values = points.path()
        if status != RUNNING:  # where no others follow, without the room for them
            path, values = path.copy(), values.copy()
        return frozen(
            MinimizeResult,
            x=path[-1].copy(),
            fun=float(values[-1]),
            jac=grad.copy(),
            nit=made,
            nfev=function.calls + unseen,
            njev=function.gradients + unseen,
            success=status == REACHED,
            status=status,
            message=MESSAGES[status].format(tol=tol, maxiter=maxiter),
            path=path,
            fun_path=values,
            optimizer=record,
            backend=engine.NAME,
        )

    made, status = 0, None
    while status is None:
        count = min(at_once, most, maxiter - made)
        xs, values = np.empty((count + 1, d), dtype), np.empty(count + 1, dtype)
        xs[0], values[0] = x, value
        begun = time.perf_counter()
        try:
            ran, why = engine.minimize(
                *called,
                record.rule,
                x,
                grad,
                slots,
                pace.coming(made, count) if count else np.empty((1, 1), dtype),
                limit,
                largest,
                xs,
                values,
                0,
                decay,
            )
        except Exception as error:
            if compiled:
                error.add_note(f"at x = {x}")
            raise
        points.add(xs[: ran + 1], values[: ran + 1])
        made, value = made + ran, values[ran]
        if not one_by_one:
            longer = not compiled or time.perf_counter() - begun < IN_A_CALL / 2
            at_once = 2 * at_once if longer else max(at_once // 2, 1)
        if why == TOL or (why != DIVERGED and all_within(grad + decay * x, limit)):
            status = REACHED
        elif why == DIVERGED or (
            # The steps of a call depend on the clock, and no result may.
            (one_by_one or made == maxiter) and not all_within(slots, largest)
        ):
            advice, stable = optimizers.advice(record, x, slots), None
            if not advice and value == -np.inf:
                advice = "f seems unbounded below"
            if not advice:
                highest = _highest_rate(pace, made)
                before = points.x.until(points.count - 1)
                stable = _stable_rate(record, points.lowest, before, function, highest)
                advice = _advice(record, stable, highest)
            lost = result(LOST, made)
            found = (
                f"f is {lost.fun} and its gradient {lost.jac}"
                if why == DIVERGED
                else "the optimizer's states are not finite"
            )
            raise DivergenceError(
                f"{found} after step {made}, at x = {lost.x}; {advice}",
                result=lost,
                epoch=made,
                lr=pace.rate(made - 1),
                stable_lr=stable,
            )
        elif made == maxiter:
            status = SPENT
        if ran:
            if pace.heeds:
                pace.heed(float(value))
            stopped = callback is not None and stops(callback, result(RUNNING, made))
            if stopped and status != REACHED:
                status = STOPPED
    end = float(value)
    if end - begin > ROUNDING * (abs(begin) + abs(end)):
        highest = _highest_rate(pace, made)
        lowest = x if end < points.least else points.lowest
        stable = _stable_rate(record, lowest, points.x.until(points.count), function, highest)
        warn(f"f rose from {begin:.6g} to {end:.6g}: {_advice(record, stable, highest)}")
    return result(status, made)


def _highest_rate(pace: Pace, steps: int) -> float:
    """The largest rate of so many steps."""
    if isinstance(pace.schedule, ClosedLoop):  # these only lower the rate
        return float(pace.schedule.start().rate)
    return float(pace.rates(0, steps).max())


@np.errstate(all="ignore")
def _stable_rate(
    record: Optimizer, lowest: Array, path: Array, function: Function, used: float
) -> float | None:
    """The largest stable rate by the curvature at the lowest point; None where that is not below the rate used.

    The curvature there is found by power iteration, from the direction of the last step: where a path climbs, it comes
    to lie in the direction of the largest.
    """
    stability = record.stability
    if stability is None:
        return None
    near = float(np.finfo(path.dtype).eps) ** 0.25 * float(_length(lowest) or 1)
    gradient = function(lowest)[1].astype(path.dtype)
    step = path[-1] - path[-2] if len(path) > 1 else gradient
    direction = step if np.isfinite(step).all() and step.any() else gradient
    largest = np.float64(0)
    for _ in range(ROUNDS):
        length = _length(direction)
        if not 0 < length < np.inf:
            break
        beside = lowest + near * (direction / length)
        direction = function(beside)[1].astype(path.dtype) - gradient
        largest = np.fmax(largest, float(_length(direction) / _length(beside - lowest)))
    rate = stability.full_batch / (largest + stability.weight_decay)
    return float(rate) if 0 < rate < used else None


def _length(v: Array) -> Any:
    """The Euclidean length, also where squares overflow."""
    largest = np.abs(v).max()
    return largest * np.linalg.norm(v / largest) if largest > 0 else largest


def _advice(record: Optimizer, stable: float | None, rate: float) -> str:
    """Which rate may work, where this one did not."""
    if record.stability is None:
        return learning_rates.smaller(record, rate)
    if stable is None:
        return "try a smaller lr"
    return f"by the curvature where f was lowest, rates below {learning_rates.round_down(stable):.6g} are stable"


def scipy_method(
    optimizer: str | Optimizer, *, lr: Rate | None = None, backend: str | None = None
) -> Callable[..., Any]:
    """Lend an optimizer to scipy: ``scipy.optimize.minimize(fun, x0, method=gd.scipy_method(gd.Adam(lr=0.1)))``.

    Parameters
    ----------
    optimizer, lr, backend
        As for `gdfast.minimize`.

    Returns
    -------
    callable
        What ``scipy.optimize.minimize`` takes as ``method``. Its ``tol`` and ``options`` (``maxiter``, ``trace``) are
        those of `gdfast.minimize`. Its callback is called as scipy's methods do: with x, or with a result where its
        only parameter is called ``intermediate_result``; raising StopIteration stops, and what it returns has no
        meaning.
        Unknown options are warned of. The result has ``path`` and ``fun_path`` besides scipy's fields. Where
        `gdfast.minimize` raises a `DivergenceError` its ``status`` is 2, its ``message`` that of the error, and its x
        the last point at which all is finite.

    Raises
    ------
    ValueError, TypeError, BackendError
        If an argument is wrong; and when called with bounds, constraints, hess or hessp, which gradient descent has no
        use for.

    References
    ----------
    "Custom minimizers" in the documentation of ``scipy.optimize.minimize``.

    Examples
    --------
    >>> import gdfast as gd
    >>> from scipy.optimize import minimize, rosen, rosen_der
    >>> method = gd.scipy_method(gd.Adam(lr=0.1))
    >>> r = minimize(rosen, [-1.0, 2.0], jac=rosen_der, method=method, options={"maxiter": 4000})
    >>> r.x.round(3)
    array([1., 1.])
    """
    record = optimizers.find(optimizer, lr)
    learning_rates.schedule(record.lr)
    _backends.find(backend)

    def method(
        fun: Callable[..., Any],
        x0: ArrayLike,
        args: tuple[Any, ...] = (),
        *,
        jac: Callable[..., Any] | None = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable[..., Any] | None = None,
        maxiter: int = 100,
        tol: float = 0.0,
        trace: str | None = "path",
        **unknown: Any,
    ) -> Any:
        from scipy.optimize import OptimizeWarning

        refused = {"bounds": bounds, "constraints": constraints, "hess": hess, "hessp": hessp}
        for name, value in refused.items():
            if value is not None and not (isinstance(value, list | tuple) and not value):
                raise ValueError(f"{type(record).__name__} takes no {name}")
        if unknown:
            names = ", ".join(unknown)
            warn(f"Unknown solver options: {names}", OptimizeWarning)
        value = (lambda x: fun(x, *args)) if args else fun
        gradient = (lambda x: jac(x, *args)) if args and jac is not None else jac
        try:
            found = minimize(
                value,
                x0,
                jac=gradient,
                optimizer=record,
                maxiter=maxiter,
                tol=tol,
                trace=trace,
                callback=None if callback is None else _as_scipy_calls(callback),
                backend=backend,
            )
        except DivergenceError as error:
            found = _last_finite(error.result, value, gradient)
            found = replace(found, message=str(error))
        return _as_scipy_returns(found)

    return method


def _last_finite(lost: MinimizeResult, fun: Any, jac: Any) -> MinimizeResult:
    """The result of a descent that was lost, at the last point where f and its gradient are finite."""
    if np.isfinite([lost.fun, *lost.x, *lost.jac]).all():
        return lost
    function = Function(fun, jac, lost.path[-2])
    value, gradient = function(lost.path[-2])
    return replace(
        lost,
        x=lost.path[-2].copy(),
        fun=float(value),
        jac=gradient.astype(lost.x.dtype),
        nfev=lost.nfev + function.calls,
        njev=lost.njev + function.gradients,
    )


def _as_scipy_calls(callback: Callable[..., Any]) -> Callable[[MinimizeResult], Any]:
    """A callback that is given x, or the result by its name, as its signature asks."""
    by_name = set(inspect.signature(callback).parameters) == {"intermediate_result"}

    def call(result: MinimizeResult) -> None:
        if by_name:
            callback(intermediate_result=_as_scipy_returns(result))
        else:
            callback(result.x.copy())

    return call


def _as_scipy_returns(result: MinimizeResult) -> Any:
    """A result of scipy, whose arrays may be changed."""
    from scipy.optimize import OptimizeResult

    values = vars(result).items()
    return OptimizeResult(
        {name: v.copy() if isinstance(v, np.ndarray) else v for name, v in values}
    )
