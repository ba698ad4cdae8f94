"""`minimize`: a function, by the optimizers of `fit`; and `scipy_method`, which lends them to scipy."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, optimizers
from gdfast._backends.problem import DIVERGED, TOL, fresh_slots
from gdfast._data.arrays import as_point
from gdfast._data.dtypes import all_within
from gdfast._numerics.float_mode import standard
from gdfast._training import learning_rates, stable_rates
from gdfast._training.function import Function, Points
from gdfast._training.learning_rates import Pace
from gdfast._training.stopping import stops
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
    """The rates that may work where this one did not."""
    if record.stability is None:
        return stable_rates.smaller(record, rate)
    if stable is None:
        return "try a smaller lr"
    return f"by the curvature where f was lowest, rates below {stable_rates.round_down(stable):.6g} are stable"
