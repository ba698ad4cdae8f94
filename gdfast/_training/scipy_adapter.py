"""`scipy_method`: gdfast as a method of `scipy.optimize.minimize`."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, optimizers
from gdfast._training import learning_rates
from gdfast._training.function import Function
from gdfast._training.minimize import minimize
from gdfast._warnings import warn
from gdfast.errors import DivergenceError
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import MinimizeResult


def scipy_method(
    optimizer: str | Optimizer, *, lr: Rate | None = None, backend: str | None = None
) -> Callable[..., Any]:
    """Lend an optimizer to scipy: ``scipy.optimize.minimize(fun, x0, method=gd.scipy_method(gd.Adam(lr=0.1)))``.

    Parameters
    ----------
    optimizer : str or record
        The method of the steps, as for `gdfast.minimize`.
    lr : float, schedule or "auto", optional
        The rate, likewise.
    backend : {"cpp", "numba", "numpy"}, optional
        The backend of the steps, likewise.

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
