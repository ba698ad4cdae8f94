"""`minimize`: a function, by the optimizers of `fit`; and `scipy_method`, which lends them to scipy."""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, _rates, optimizers
from gdfast._floats import standard
from gdfast._rates import Pace
from gdfast._run import stops
from gdfast.checks import check_int, check_number
from gdfast.errors import DivergenceError
from gdfast.matrices import as_point
from gdfast.optimizers import Optimizer, Rate
from gdfast.problem import DIVERGED, TOL, Array
from gdfast.results import MinimizeResult

# `status`, as in scipy where it has a number.
REACHED, SPENT, LOST, RUNNING, STOPPED = 0, 1, 2, 3, 99
MESSAGES = {
    REACHED: "no component of the gradient is larger than tol={tol:g}",
    SPENT: "maxiter={maxiter} steps were made, and a component of the gradient is still larger than tol={tol:g}",
    LOST: "f or its gradient stopped being finite",
    RUNNING: "running",
    STOPPED: "the callback stopped it",
}


class Function:
    """The user's functions, called with a copy of x, and checked in what they return."""

    def __init__(self, fun: Any, jac: Any, d: int) -> None:
        self.fun, self.jac, self.d = fun, jac, d
        self.calls = 0

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The value and the gradient."""
        try:
            if self.jac is True:
                self.calls += 1
                pair = self.fun(x.copy())
                if not isinstance(pair, tuple | list) or len(pair) != 2:
                    raise TypeError(
                        f"with jac=True fun must return a pair, the value and the gradient; it returned {pair!r}"
                    )
                return self.value(pair[0]), self.gradient(pair[1], "the gradient from fun")
            value = self.only_value(x)
            if self.jac is None:
                return value, _numerical_gradient(self.only_value, x.astype(np.float64))
            return value, self.gradient(self.jac(x.copy()), "jac(x)")
        except Exception as error:
            error.add_note(f"at x = {x}")
            raise

    def only_value(self, x: Array) -> float:
        self.calls += 1
        return self.value(self.fun(x.copy()))

    def value(self, value: Any) -> float:
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "fiub":
            raise TypeError(f"fun(x) must be a real number; it is {value!r}")
        return float(number.item())

    def gradient(self, gradient: Any, name: str) -> Array:
        g = np.asarray(gradient)
        if g.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers; it is {gradient!r}")
        if g.shape != (self.d,) and not (g.size == 1 == self.d):
            raise ValueError(f"{name} has shape {g.shape}, x has shape ({self.d},)")
        return g.reshape(self.d)


def _numerical_gradient(fun: Callable[[Array], float], x: Array) -> Array:
    try:
        from scipy.optimize import approx_fprime
    except ImportError as error:
        raise ImportError(
            "minimize needs the gradient: pass jac, or install scipy, which finds it numerically: pip install scipy"
        ) from error
    gradient: Array = approx_fprime(x, fun)
    return gradient


@standard()
def minimize(
    fun: Callable[..., Any],
    x0: ArrayLike,
    *,
    jac: Callable[..., Any] | bool | None = None,
    optimizer: str | Optimizer = "sgd",
    lr: Rate | None = None,
    maxiter: int = 100,
    tol: float = 0.0,
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
        Where to start. float32 keeps its dtype; all else becomes float64.
    jac : callable or True, optional
        The gradient: takes x and returns an array (d,). By default it is found by finite differences, with
        ``scipy.optimize.approx_fprime``, which needs scipy and d more calls of fun.
    optimizer : str or record, default "sgd"
        As for `gdfast.fit`.
    lr : float or schedule, optional
        The rate, or a record of `gdfast.schedules`, for which each step is an epoch. By default that of the optimizer.
    maxiter : int, default 100
        Steps, at most.
    tol : float, default 0
        Stop when no component of the gradient is larger.
    callback : callable, optional
        Called after each step with the `MinimizeResult` so far; returning True or raising StopIteration stops.
    backend : {"cpp", "numba", "numpy"}, optional
        What makes the steps, all with the same bits. Default: numba where fun is compiled by it, else the variable
        GDFAST_BACKEND, or the best available.

    Returns
    -------
    MinimizeResult
        ``x``, ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``status``, ``message`` as in scipy, and
        ``path`` and ``fun_path``. ``success`` says whether tol was reached.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or what fun or jac returns. Their own errors are passed on, with a note of x.
    DivergenceError
        If f or its gradient stops being finite. It holds the partial result.
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
    jitted = _backends.is_jitted(fun) and (jac is True or _backends.is_jitted(jac))
    engine = _backends.find("numba" if backend is None and jitted else backend)
    record = optimizers.find(optimizer, lr)
    if isinstance(record.lr, str):
        raise ValueError('lr="auto" needs the curvature of data: pass a number or a schedule')
    x = as_point(x0)
    d, dtype = len(x), x.dtype
    maxiter = check_int("maxiter", maxiter, 0)
    tol = check_number("tol", tol, 0, math.inf)

    function = Function(fun, jac, d)
    value, gradient = function(x)
    grad = gradient.astype(dtype)
    if not (math.isfinite(value) and np.isfinite(grad).all()):
        raise ValueError(
            f"at x0 = {x} f is {value} and its gradient {grad}: start where both are finite"
        )
    path = np.empty((maxiter + 1, d), dtype)
    values = np.empty(maxiter + 1, dtype)
    path[0], values[0] = x, value
    slots = np.tile(np.array(record.rule.initial, dtype)[:, None], d)
    pace = Pace(record, _rates.schedule(record.lr, dtype), 1, dtype)
    one_by_one = callback is not None or pace.heeds
    compiled = jitted and engine.NAME == "numba"
    called = (fun, None if jac is True else jac) if compiled else (function, None)

    def result(status: int, made: int) -> MinimizeResult:
        calls = made + 1 if compiled else function.calls
        return MinimizeResult(
            x=path[made].copy(),
            fun=float(values[made]),
            jac=grad.copy(),
            nit=made,
            nfev=calls,
            njev=made + 1,
            success=status == REACHED,
            status=status,
            message=MESSAGES[status].format(tol=tol, maxiter=maxiter),
            path=path[: made + 1],
            fun_path=values[: made + 1],
            optimizer=record,
            backend=engine.NAME,
        )

    made, status = 0, None
    while status is None:
        last = min(made + 1, maxiter) if one_by_one else maxiter
        _, numbers = pace.coming(range(made, last), made)
        first = made
        made, why = engine.minimize(
            *called,
            record.rule,
            x,
            grad,
            slots,
            numbers,
            dtype.type(tol),
            np.finfo(dtype).max,
            path[: last + 1],
            values,
            first,
        )
        if why == DIVERGED:
            lost = result(LOST, made)
            rate = pace.rate(made - 1)
            raise DivergenceError(
                f"f is {lost.fun} and its gradient {lost.jac} after step {made}, at x = {lost.x}; "
                f"{_advice(lost, function, rate)}",
                result=lost,
                epoch=made,
                lr=rate,
                stable_lr=_stable_rate(lost, function),
            )
        if why == TOL or (np.abs(grad) <= tol).all():
            status = REACHED
        elif made == maxiter:
            status = SPENT
        if made > first:
            if pace.heeds:
                pace.heed(float(values[made]))
            if callback is not None and stops(callback, result(RUNNING, made)):
                status = STOPPED
    found = result(status, made)
    if found.fun > values[0]:
        warnings.warn(
            f"f rose from {values[0]:.6g} to {found.fun:.6g}: {_advice(found, function, pace.rate(0))}",
            RuntimeWarning,
            stacklevel=3,  # past the decorator, to the caller
        )
    return found


def _stable_rate(result: MinimizeResult, function: Function) -> float | None:
    """The largest stable rate, if f had everywhere the curvature that the first step met."""
    stability = result.optimizer.stability
    if stability is None or result.nit == 0:
        return None
    with np.errstate(all="ignore"):
        (_, g0), (_, g1) = function(result.path[0]), function(result.path[1])
        curvature = np.linalg.norm(g1 - g0) / np.linalg.norm(result.path[1] - result.path[0])
    curvature += stability.weight_decay
    return stability.full_batch / float(curvature) if 0 < curvature < math.inf else None


def _advice(result: MinimizeResult, function: Function, rate: float) -> str:
    """Which rate may work, where this one did not."""
    if result.optimizer.stability is None:
        return _rates.smaller(result.optimizer, rate)
    stable = _stable_rate(result, function)
    if stable is None:
        return "try a smaller lr"
    return f"by the curvature along the first step, rates below {_rates.round_down(stable):.6g} are stable"


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
        What ``scipy.optimize.minimize`` takes as ``method``. Its ``tol`` and ``options`` (``maxiter``) are those of
        `gdfast.minimize`. Its callback is called as scipy's methods do: with x, or with a result where its only
        parameter is called ``intermediate_result``. The result has ``path`` and ``fun_path`` besides scipy's fields.

    Raises
    ------
    ValueError
        When called with bounds, constraints, hess or hessp, which gradient descent has no use for.

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
    ) -> Any:
        from scipy.optimize import OptimizeResult

        refused = {"bounds": bounds, "constraints": constraints, "hess": hess, "hessp": hessp}
        for name, value in refused.items():
            if value is not None and value != ():
                raise ValueError(f"{type(record).__name__} takes no {name}")
        found = minimize(
            (lambda x: fun(x, *args)) if args else fun,
            x0,
            jac=(lambda x: jac(x, *args)) if args and jac is not None else jac,
            optimizer=record,
            maxiter=maxiter,
            tol=tol,
            callback=None if callback is None else _as_scipy_calls(callback),
            backend=backend,
        )
        return OptimizeResult(vars(found))

    return method


def _as_scipy_calls(callback: Callable[..., Any]) -> Callable[[MinimizeResult], Any]:
    """A callback that is given x, or the result by its name, as its signature asks."""
    from scipy.optimize import OptimizeResult

    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=OptimizeResult(vars(result)))
    return lambda result: callback(result.x.copy())
