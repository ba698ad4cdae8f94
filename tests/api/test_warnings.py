"""Warnings: at the user's line, whatever stands between it and gdfast; no module but one asks for them."""

import ast
import inspect
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning
from scipy.optimize import minimize as scipy_minimize
from scipy.sparse import csr_array
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gdfast as gd
from gdfast.sklearn import GDClassifier, GDRegressor

PACKAGE = Path(gd.__file__).parent
X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5]
LABELS = (y > 0).astype(int)
RISING = {"lr": 0.21, "epochs": 25, "backend": "numpy"}  # 1.1 times the largest stable rate
ESTIMATED = {"lr": 0.42, "penalty": None, "tol": None, "backend": "numpy"}
UNREACHED = {"tol": 1e-300, "max_iter": 3, "backend": "numpy"}
SCIPY = {"method": gd.scipy_method(gd.SGD(lr=1.5)), "jac": lambda x: 2 * x}


def square(x):
    return float(x[0] ** 2)


# Each in a line of its own: the line that is to be named.
CALLS = {
    "fit": lambda: gd.fit(X, y, **RISING),
    "fit_stream": lambda: gd.fit_stream([(X, y)], **RISING),
    "compare": lambda: gd.compare(X, y, [gd.SGD(lr=0.21)], epochs=25, backend="numpy"),
    "minimize": lambda: gd.minimize(square, 1.0, jac=lambda x: 2 * x, lr=1.5, maxiter=3),
    "scipy_method": lambda: scipy_minimize(square, [1.0], **SCIPY, options={"maxiter": 3}),
    "an option": lambda: scipy_minimize(square, [1.0], **SCIPY, options={"maxiter": 0, "gtol": 0}),
    "GDRegressor": lambda: GDRegressor(max_iter=25, **ESTIMATED).fit(X, y),
    "max_iter": lambda: GDRegressor(**UNREACHED).fit(X, y),
    "GDClassifier": lambda: GDClassifier(**UNREACHED).fit(X, LABELS),
    "pipeline": lambda: make_pipeline(StandardScaler(), GDRegressor(**UNREACHED)).fit(X, y),
    "cross_val_score": lambda: cross_val_score(GDRegressor(**UNREACHED), X, y, cv=2),
    "in errstate": lambda: np.errstate(all="ignore")(gd.fit)(X, y, **RISING),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_users_line_is_named(name):
    with pytest.warns((RuntimeWarning, UserWarning, OptimizeWarning)) as warned:
        CALLS[name]()
    line = inspect.getsourcelines(CALLS[name])[1]
    assert {(w.filename, w.lineno) for w in warned} == {(__file__, line)}


def test_a_thread_without_a_line_of_the_users():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        thread = threading.Thread(target=gd.fit, args=(X, y), kwargs=RISING)
        thread.start()
        thread.join()
    assert [w.category for w in warned] == [RuntimeWarning]
    assert {w.filename for w in warned} == {threading.__file__}


def test_the_filters_see_the_users_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module=__name__.replace(".", r"\."))
        with pytest.raises(RuntimeWarning, match="the loss rose"):
            gd.fit(X, y, **RISING)


# Inputs that are not finite on the way to an answer: nothing but the documented error, also where warnings are errors.

HUGE = np.tile([1e308, -1e308], 8).reshape(8, 2)  # whose sum is inf - inf
SMALL = GDRegressor(tol=None, max_iter=2, backend="numpy").fit(HUGE * 1e-308, np.arange(8.0))


def sparse(*values):
    """Two rows, the first with several values in its first column."""
    count = len(values)
    arrays = [*values, 1.0], [0] * count + [1], [0, count, count + 1]
    return csr_array(tuple(map(np.array, arrays)), shape=(2, 2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        pytest.param(
            lambda: gd.fit(
                X=[[1e200, 1e170], [2e200, 3e170]],
                y=[1.0, 2.0],
                optimizer="rprop",
                fit_intercept=False,
            ),
            gd.DivergenceError,
            # sqrt((1e400 + 4e400) / (1e340 + 9e340)), in a sixth digit
            r"scales differ by a factor of 7.07e\+29 \(X\[:, 0\] against X\[:, 1\]\)",
            id="scales",
        ),
        pytest.param(
            lambda: gd.fit(sparse(np.inf, -np.inf), [1.0, 2.0]),
            ValueError,
            r"X\[0, 0\] is nan",
            id="duplicates that cancel",
        ),
        pytest.param(
            lambda: gd.fit(sparse(1e308, 1e308), [1.0, 2.0]),
            ValueError,
            r"X\[0, 0\] is inf",
            id="duplicates that overflow",
        ),
        pytest.param(
            lambda: gd.minimize(lambda x: np.inf if x[0] < 0 else float(x[0]), 0.5, lr=1.0),
            gd.DivergenceError,
            r"f is inf and its gradient \[nan\] after step 1",
            id="differences",
        ),
        pytest.param(
            lambda: GDRegressor(backend="numpy").fit(HUGE, np.ones(8)),
            ValueError,
            "squares of X overflow",
            id="estimator",
        ),
        pytest.param(
            lambda: SMALL.predict(HUGE), ValueError, "for row 0 of X overflows", id="prediction"
        ),
    ],
)
def test_errors_come_without_warnings(call, error, words):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(error, match=words):
            call()
    assert not warned


def test_what_is_differentiated_warns_as_the_user_has_it():
    def fun(x):
        return float(np.exp(x[0] + 800.0))

    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
        gd.minimize(fun, 0.0)


def test_one_function_warns():
    """No other counts frames, or changes how the process warns."""
    touching = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        if (
            names := {
                node.attr
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "warnings"
            }
        )
    }
    command = {"catch_warnings", "showwarning"}  # which owns its process
    assert touching == {"_warnings.py": {"warn"}, "_cli/main.py": command}
