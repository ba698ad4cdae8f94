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
    assert touching == {"_warnings.py": {"warn"}, "__main__.py": command}
