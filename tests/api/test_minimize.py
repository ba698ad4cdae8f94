"""Functions are minimised: by every optimizer and backend, compiled or not, and within scipy.

The oracles are a published descent, minima known from the formulas, and scipy's finite differences.
"""

import dataclasses
import json
import pickle
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.optimize import approx_fprime, check_grad, rosen, rosen_der

import gdfast as gd
from gdfast import _backends, optimizers, schedules
from gdfast._backends import loops
from gdfast._training import minimize as minimize_module

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "minimize_paths.json").read_text()
)
BACKENDS = list(_backends.TABLE)
ADAM = gd.Adam(lr=0.1)


def parabola(x):
    return x**2 + 4 * x + 1


def parabola_der(x):
    return 2 * x + 4


def bowl(x):
    return x[0] * x[0] + x[1] * x[1]


def bowl_der(x):
    return x + x


def himmelblau(x):
    a, b = x[0] * x[0] + x[1] - 11, x[0] + x[1] * x[1] - 7
    return a * a + b * b


def himmelblau_der(x):
    a, b = x[0] * x[0] + x[1] - 11, x[0] + x[1] * x[1] - 7
    return np.array([4 * a * x[0] + 2 * b, 2 * a + 4 * b * x[1]])


def himmelblau_both(x):
    a, b = x[0] * x[0] + x[1] - 11, x[0] + x[1] * x[1] - 7
    return a * a + b * b, np.array([4 * a * x[0] + 2 * b, 2 * a + 4 * b * x[1]])


def beale_errors(x):
    return [(k, c - x[0] * (1 - x[1] ** k)) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]


def beale(x):
    return sum(e * e for _, e in beale_errors(x))


def beale_der(x):
    return [
        sum(-2 * e * (1 - x[1] ** k) for k, e in beale_errors(x)),
        sum(2 * e * k * x[0] * x[1] ** (k - 1) for k, e in beale_errors(x)),
    ]


CURVATURES, CENTRE = np.array([1.0, 4.0, 0.5]), np.array([3.0, -2.0, 0.5])


def quadratic(x):
    return (CURVATURES * (x - CENTRE) ** 2).sum() / 2


def quadratic_der(x):
    return CURVATURES * (x - CENTRE)


def wells(x):
    return ((x * x - 1) ** 2).sum() / 4 + x[0] * x[1]


def wells_der(x):
    gradient = x * (x * x - 1)
    gradient[:2] += x[1::-1]
    return gradient


on_bowl = partial(gd.minimize, bowl, [2.0, 1.0], jac=bowl_der, lr=0.1)
jit_bowl, jit_bowl_der = njit(bowl), njit(bowl_der)
jit_himmelblau, jit_himmelblau_der = njit(himmelblau), njit(himmelblau_der)
jit_himmelblau_both = njit(himmelblau_both)
jit_quadratic, jit_quadratic_der = njit(quadratic), njit(quadratic_der)


def bits(r):
    """What must not differ between backends."""
    return r.path.dtype, r.path.shape, r.path.tobytes(), r.fun_path.tobytes(), r.jac.tobytes()


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, x):
        self.calls += 1
        return self.function(x)


# Where it goes


def test_the_published_descent_in_one_dimension(backend):
    r = gd.minimize(parabola, 2.0, jac=parabola_der, lr=0.7, backend=backend)
    known = REFERENCE["one_dim"]
    assert [[x, f] for (x,), f in zip(r.path[:10], r.fun_path[:10], strict=True)] == known["first"]
    assert (r.x.tolist(), r.jac.tolist(), r.backend) == ([known["final_x"]], [0.0], backend)
    assert r.success
    assert r.nit < known["steps"]  # as x stays there


def test_the_published_descent_in_two_dimensions(backend):
    r = gd.minimize(lambda x: x[0] ** 2 + x[1] ** 2, [2, 2], jac=bowl_der, lr=0.1, backend=backend)
    steps = np.column_stack([r.path[1:], r.fun_path[:-1]]).tolist()
    known = REFERENCE["two_dim"]
    assert steps[:10] == known["first"]
    assert (len(steps), steps[-1]) == (known["steps"], known["last"])


@pytest.mark.parametrize("optimizer", [ADAM, gd.SGD(lr=1e-3, momentum=0.9)], ids=["Adam", "SGD"])
@pytest.mark.parametrize(
    ("fun", "jac", "x0", "minimum"),
    [
        (rosen, rosen_der, [-1.2, 1.0], (1, 1)),
        (himmelblau, himmelblau_der, [0.0, 0.0], (3, 2)),
        (beale, beale_der, [1.0, 1.0], (3, 0.5)),
    ],
    ids=["Rosenbrock", "Himmelblau", "Beale"],
)
def test_a_known_minimum_is_reached(fun, jac, x0, minimum, optimizer):
    assert check_grad(fun, jac, [0.3, -0.7]) < 1e-5
    assert fun(np.array(minimum)) == 0
    r = gd.minimize(fun, x0, jac=jac, optimizer=optimizer, maxiter=6000, tol=1e-8)
    assert r.success
    assert (r.status, r.message) == (0, "no component of the gradient is larger than tol=1e-08")
    np.testing.assert_allclose(r.x, minimum, atol=1e-6)
    assert np.abs(r.jac).max() <= 1e-8 < np.abs(jac(r.path[-2])).max()  # and not a step too late


RATES = {"rmsprop": 0.02, "adadelta": 1.0, "lion": 0.005}


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_every_optimizer_minimises_a_quadratic(name):
    lr = RATES.get(name, 0.1)
    r = gd.minimize(
        quadratic, [0, 0, 0], jac=quadratic_der, optimizer=name, lr=lr, maxiter=2000, tol=1e-4
    )
    np.testing.assert_allclose(r.x, CENTRE, atol=0.01)


def test_each_step_is_an_epoch_of_a_schedule(backend):
    lr = schedules.StepDecay(0.5, every=2, factor=0.5)
    r = gd.minimize(lambda x: x[0], 0.0, jac=lambda x: 1, lr=lr, maxiter=6, backend=backend)
    assert r.path[:, 0].tolist() == [0, -0.5, -1, -1.25, -1.5, -1.625, -1.75]


def test_a_schedule_hears_f_after_each_step(backend):
    lr, x = schedules.Adaptive(0.7, patience=2, factor=2), np.float64(1.0)
    state, path = lr.start(), [x]
    for _ in range(40):
        x = x - state.rate * (2 * x)
        path.append(x)
        state = lr.heed(state, x * x)
    r = gd.minimize(lambda x: x * x, 1.0, jac=lambda x: 2 * x, lr=lr, maxiter=40, backend=backend)
    assert state.rate < 0.01
    assert r.path[:, 0].tolist() == path


# Equal bits

RECORDS = [
    *(optimizers.find(name, RATES.get(name, 0.01)) for name in optimizers.TABLE),
    gd.SGD(0.005, momentum=0.9, dampening=0.3, weight_decay=0.1),
    gd.SGD(0.005, momentum=0.9, nesterov=True),
    gd.RMSprop(0.02, centered=True, momentum=0.5, weight_decay=0.1),
    gd.Adam(0.1, amsgrad=True, weight_decay=0.1),
    gd.SGD(schedules.Cosine(0.01, total=20)),
    gd.Adam(schedules.InverseScaling(0.1)),
    gd.Adam(schedules.ReduceOnPlateau(0.5, patience=2)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_the_backends_and_single_steps_have_the_same_bits(record, dtype):
    x0 = np.linspace(-1.2, 1.1, 11).astype(dtype)
    common = {"jac": wells_der, "optimizer": record, "maxiter": 40}
    paths = {
        bits(gd.minimize(wells, x0, **common, callback=callback, backend=backend))
        for backend in BACKENDS
        for callback in (None, lambda r: None)
    }
    assert len(paths) == 1
    assert paths.pop()[:2] == (dtype, (41, 11))


@st.composite
def quadratics(draw):
    d = draw(st.integers(1, 12))

    def vector(low, high):
        return np.array(draw(st.lists(st.floats(low, high), min_size=d, max_size=d)))

    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return vector(0.1, 10), vector(-5, 5), vector(-5, 5).astype(dtype), draw(st.floats(0.05, 0.95))


@settings(max_examples=60)
@given(quadratics(), st.sampled_from(BACKENDS))
def test_steps_on_quadratics(quadratic, backend):
    """The path is that of the rule in numpy, f and its gradient are those of its points, and f falls."""
    curvatures, centre, x0, part = quadratic
    lr = x0.dtype.type(part * 2 / curvatures.max())

    def fun(x):
        return (curvatures * (x - centre) ** 2).sum() / 2

    def jac(x):
        return curvatures * (x - centre)

    r = gd.minimize(fun, x0, jac=jac, lr=float(lr), maxiter=30, tol=1e-3, backend=backend)
    points = [x0]
    while len(points) <= 30 and np.abs(jac(points[-1]).astype(x0.dtype)).max() > 1e-3:
        points.append(points[-1] - lr * jac(points[-1]).astype(x0.dtype))
    assert np.array_equal(r.path, points)
    assert r.path.dtype == x0.dtype
    assert np.array_equal(r.fun_path, np.array([fun(x) for x in r.path], x0.dtype))
    assert np.array_equal(r.jac, jac(r.x).astype(x0.dtype))
    assert r.success == (np.abs(r.jac).max() <= 1e-3)
    assert (np.diff(r.fun_path) <= 1e-6 * r.fun_path[:-1]).all()


@pytest.mark.parametrize("callback", [None, lambda r: None], ids=["", "callback"])
@pytest.mark.parametrize("both", [False, True], ids=["jac", "jac=True"])
@pytest.mark.parametrize("optimizer", [gd.SGD(0.01), ADAM], ids=["SGD", "Adam"])
def test_what_numba_compiled_goes_the_same_path(optimizer, both, callback):
    functions = (jit_himmelblau_both, True) if both else (jit_himmelblau, jit_himmelblau_der)
    common = {"optimizer": optimizer, "callback": callback}
    r = gd.minimize(functions[0], [0.0, 0.0], jac=functions[1], **common)
    plain = gd.minimize(himmelblau, [0.0, 0.0], jac=himmelblau_der, **common)
    assert r.backend == "numba"
    assert bits(r) == bits(plain)
    assert (r.nit, r.nfev, r.njev, r.message) == (plain.nit, plain.nfev, plain.njev, plain.message)


def test_what_numba_compiled_in_float32():
    x0 = np.array([2, 1], np.float32)
    common = {"lr": 0.1, "tol": 1e-3}
    r = gd.minimize(jit_bowl, x0, jac=jit_bowl_der, **common)
    assert r.x.dtype == np.float32
    assert r.success
    assert bits(r) == bits(gd.minimize(bowl, x0, jac=bowl_der, **common))


def test_the_whole_loop_is_compiled_where_the_functions_are(monkeypatch):
    def loop(*args):
        raise AssertionError("the loop in Python")

    monkeypatch.setattr(loops, "minimize", loop)
    compiled = partial(gd.minimize, jit_bowl, [2.0, 1.0], lr=0.1)
    assert compiled(jac=jit_bowl_der).backend == compiled(jac=jit_bowl_der, backend="numba").backend
    for options in ({"jac": bowl_der}, {"jac": jit_bowl_der, "backend": "numpy"}, {"jac": None}):
        with pytest.raises(AssertionError, match="the loop in Python"):
            compiled(**{"backend": "numba"} | options)
    assert compiled(jac=bowl_der).backend == "cpp"


def test_the_backend_is_that_of_the_variable(monkeypatch):
    monkeypatch.setenv("GDFAST_BACKEND", "numpy")
    assert on_bowl().backend == "numpy"
    assert on_bowl(backend="cpp").backend == "cpp"
    assert gd.minimize(jit_bowl, [2.0, 1.0], jac=jit_bowl_der, lr=0.1).backend == "numba"


# The result


@pytest.mark.parametrize("jac", [True, himmelblau_der, None], ids=["pair", "jac", "numerical"])
def test_the_calls_are_counted(jac):
    fun = Counted(himmelblau_both if jac is True else himmelblau)
    gradient = Counted(jac) if callable(jac) else jac
    r = gd.minimize(fun, [0.0, 0.0], jac=gradient, lr=0.01, maxiter=7)
    assert (r.nit, r.nfev, r.njev) == (7, fun.calls, 8)
    if jac is None:
        assert fun.calls > 8 * 2
    else:
        assert fun.calls == 8
    if callable(jac):
        assert gradient.calls == 8


def test_the_gradient_by_default_is_scipys():
    def jac(x):
        return approx_fprime(x, himmelblau)

    r = gd.minimize(himmelblau, [0.0, 0.0], optimizer=ADAM, tol=0.01, maxiter=500)
    assert bits(r) == bits(
        gd.minimize(himmelblau, [0.0, 0.0], jac=jac, optimizer=ADAM, tol=0.01, maxiter=500)
    )
    np.testing.assert_allclose(r.x, (3, 2), atol=1e-3)


def test_a_numerical_gradient_takes_d_plus_1_more_calls():
    fun = Counted(himmelblau)
    gd.minimize(fun, [0.0, 0.0], maxiter=0)
    assert fun.calls == 1 + 3


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert on_bowl().nit == 100
    with pytest.raises(ImportError, match=r"pass jac, or install scipy.*pip install scipy"):
        gd.minimize(bowl, [2.0, 1.0])


@pytest.mark.parametrize("functions", [(bowl, bowl_der), (jit_bowl, jit_bowl_der)], ids=["", "jit"])
def test_no_step_is_made_where_none_is_wanted(functions):
    still = partial(gd.minimize, functions[0], [2.0, 1.0], jac=functions[1], callback=pytest.fail)
    r = still(maxiter=0)
    assert (r.nit, r.status, r.success, r.nfev) == (0, 1, False, 1)
    assert r.message.startswith("maxiter=0 steps were made")
    assert (r.path.tolist(), r.fun_path.tolist(), r.fun) == ([[2, 1]], [5], 5)
    assert r.jac.tolist() == [4, 2]
    for options in ({"tol": 4.0}, {"tol": 4, "maxiter": 0}):
        r = still(**options)
        assert (r.nit, r.status, r.success, r.x.tolist()) == (0, 0, True, [2, 1])


@pytest.mark.parametrize("functions", ["python", "jit"])
@pytest.mark.parametrize(
    "optimizer", [gd.SGD(0.1, weight_decay=0.5), gd.ASGD(0.1, lambd=0.5, alpha=0.0)], ids=str
)
def test_tol_is_of_the_gradient_with_the_weight_decay(backend, functions, optimizer):
    """The minimum of the function with the penalty; f and its gradient are still those of the function."""
    fun, jac = quadratic, quadratic_der
    if functions == "jit":
        fun, jac = jit_quadratic, jit_quadratic_der
    x0 = [0.0, 7.0, 1.0]
    r = gd.minimize(fun, x0, jac=jac, optimizer=optimizer, tol=1e-9, maxiter=900, backend=backend)
    assert (r.success, r.status) == (True, 0)
    np.testing.assert_allclose(r.x, CURVATURES * CENTRE / (CURVATURES + 0.5), rtol=1e-7)
    np.testing.assert_allclose(r.jac, quadratic_der(r.x))
    assert r.nit < 400


def test_maxiter_is_spent():
    r = on_bowl(tol=1e-300)
    assert (r.nit, r.status, r.success) == (100, 1, False)
    assert r.message == (
        "maxiter=100 steps were made, and a component of the gradient is still larger than tol=1e-300"
    )


def test_the_callback_sees_the_result_so_far(backend):
    seen = []
    r = on_bowl(callback=seen.append, maxiter=5, backend=backend)
    assert [one.nit for one in seen] == [1, 2, 3, 4, 5]
    for k, one in enumerate(seen, 1):
        assert (one.status, one.message, one.success) == (3, "running", False)
        assert (one.nfev, one.njev, one.backend) == (k + 1, k + 1, backend)
        assert np.array_equal(one.path, r.path[: k + 1])
        assert np.array_equal(one.fun_path, r.fun_path[: k + 1])
        assert np.array_equal(one.x, r.path[k])
        assert np.array_equal(one.jac, bowl_der(r.path[k]))
        assert one.fun == r.fun_path[k]
    assert r.status == 1


@pytest.mark.parametrize("answer", [True, np.True_, StopIteration], ids=repr)
@pytest.mark.parametrize("functions", [(bowl, bowl_der), (jit_bowl, jit_bowl_der)], ids=["", "jit"])
def test_the_callback_stops(functions, answer):
    def callback(r):
        if r.nit < 3:
            return None if r.nit == 1 else "True"  # no other value stops
        if answer is StopIteration:
            raise StopIteration
        return answer

    r = gd.minimize(functions[0], [2.0, 1.0], jac=functions[1], lr=0.1, callback=callback)
    assert (r.nit, r.status, r.success, r.message) == (3, 99, False, "the callback stopped it")
    assert np.array_equal(r.path, on_bowl(maxiter=3).path)


@pytest.mark.parametrize("functions", [(bowl, bowl_der), (jit_bowl, jit_bowl_der)], ids=["", "jit"])
def test_tol_that_is_reached_is_a_success_whatever_the_callback_answers(functions):
    r = gd.minimize(
        functions[0],
        [2.0, 1.0],
        jac=functions[1],
        lr=0.1,
        tol=1e-3,
        callback=lambda r: bool(np.abs(r.jac).max() <= 1e-3),
    )
    assert (r.status, r.success) == (0, True)


def test_errors_of_the_callback_come_through():
    def callback(r):
        raise KeyError(r.nit)

    with pytest.raises(KeyError) as caught:
        on_bowl(callback=callback)
    assert caught.value.args == (1,)


def test_the_result_is_frozen():
    r = on_bowl(maxiter=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        r.x = 0
    for array in (r.x, r.jac, r.path, r.fun_path):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert bits(pickle.loads(pickle.dumps(r))) == bits(r)
    assert repr(r).splitlines()[1:] == [
        f"  2 steps, ended: {r.message}",
        "  f 5 -> 2.048 at x = [1.28 0.64]",
    ]


@pytest.mark.parametrize(
    ("x0", "dtype"),
    [
        (2, "float64"),
        (2.0, "float64"),
        (True, "float64"),
        (np.array(2.0), "float64"),
        ([2, 1], "float64"),
        ((2, 1), "float64"),
        (range(3), "float64"),
        (np.array([2, 1], np.int8), "float64"),
        (np.array([2, 1], np.float16), "float64"),
        (np.float32(2), "float32"),
        (np.array([2, 1], np.float32), "float32"),
        (np.array([2, 1], ">f4"), "float32"),
        (np.arange(6.0)[::-2], "float64"),
    ],
    ids=repr,
)
def test_where_one_may_start(x0, dtype, backend):
    start = np.array(x0, copy=True)
    seen = []

    def jac(x):
        seen.append(x)
        return 2 * x

    r = gd.minimize(lambda x: (x**2).sum(), x0, jac=jac, lr=0.25, maxiter=2, backend=backend)
    assert {(x.dtype, x.shape) for x in seen} == {(np.dtype(dtype), np.atleast_1d(start).shape)}
    assert r.x.dtype == r.jac.dtype == r.path.dtype == r.fun_path.dtype == dtype
    assert r.path.tolist() == [(np.atleast_1d(start) / 2.0**k).tolist() for k in range(3)]
    assert np.array_equal(x0, start)


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x0": []}, ValueError, r"x0 has shape \(0,\)"),
        ({"x0": [[1.0, 2.0]]}, ValueError, r"x0 has shape \(1, 2\): it must be a number or 1-D"),
        ({"x0": np.nan}, ValueError, r"x0\[0\] is nan: start at a finite point"),
        ({"x0": [1, -np.inf]}, ValueError, r"x0\[1\] is -inf"),
        ({"x0": "1"}, TypeError, "x0 is '1': it must be an array of numbers"),
        ({"x0": None}, TypeError, "x0 is None: it must be an array of numbers"),
        ({"x0": 1j}, TypeError, "x0 is 1j: it must be an array of numbers"),
        ({"x0": [1, [2]]}, ValueError, "x0 is not a rectangular array"),
        ({"x0": np.ma.array([1.0, 2.0])}, TypeError, "x0 is a masked array"),
        ({"fun": 1}, TypeError, "fun must be callable, not 1"),
        ({"jac": False}, TypeError, "jac must be callable, True or None, not False"),
        ({"jac": 1}, TypeError, "jac must be"),
        ({"jac": "3-point"}, TypeError, "jac must be"),
        ({"callback": 1}, TypeError, "callback must be callable, not 1"),
        ({"maxiter": -1}, ValueError, "maxiter=-1 must be at least 0"),
        ({"maxiter": 1.0}, TypeError, "maxiter must be an integer"),
        ({"maxiter": True}, TypeError, "maxiter must be an integer"),
        ({"tol": -1e-9}, ValueError, "tol=-1e-09 must be"),
        ({"tol": np.nan}, ValueError, "tol=nan must be"),
        ({"tol": np.inf}, ValueError, "tol=inf must be"),
        ({"tol": None}, TypeError, "tol must be a number"),
        ({"lr": 0}, ValueError, "lr=0 must be"),
        ({"lr": "0.1"}, ValueError, "unknown lr '0.1'"),
        ({"lr": "auto"}, ValueError, "pass a number or a schedule"),
        ({"optimizer": gd.ASGD(lr="auto")}, ValueError, "pass a number or a schedule"),
        ({"optimizer": "adam", "lr": "auto"}, ValueError, "pass a number"),
        ({"optimizer": "rprop", "lr": schedules.Constant(0.1)}, ValueError, "must be a number"),
        ({"lr": schedules.Optimal(0.1)}, ValueError, "give t0"),
        ({"x0": np.float32([1, 2]), "lr": 1e-50}, ValueError, "lr=1e-50 is 0.0 in float32"),
        ({"optimizer": "adan"}, ValueError, "did you mean 'adam'"),
        ({"optimizer": gd.Adam}, TypeError, "a record, not the class Adam"),
        ({"optimizer": None}, TypeError, "a record, not NoneType"),
        ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        gd.minimize(**{"fun": bowl, "x0": [2.0, 1.0], "jac": bowl_der} | arguments)


# Bad functions


@pytest.mark.parametrize(
    ("value", "gradient", "error", "message"),
    [
        (None, [1, 1], TypeError, r"fun\(x\) must be a real number; it is None"),
        ("1", [1, 1], TypeError, r"fun\(x\) must be a real number; it is '1'"),
        (1j, [1, 1], TypeError, r"fun\(x\) must be a real number; it is 1j"),
        ([], [1, 1], TypeError, r"fun\(x\) must be a real number; it is \[\]"),
        ([1, 2], [1, 1], TypeError, r"fun\(x\) must be a real number; it is \[1, 2\]"),
        (1, None, TypeError, r"jac\(x\) must hold real numbers; it is None"),
        (1, ["1", "1"], TypeError, r"jac\(x\) must hold real numbers"),
        (1, [1j, 1], TypeError, r"jac\(x\) must hold real numbers"),
        (1, 1.0, ValueError, r"jac\(x\) has shape \(\), x has shape \(2,\)"),
        (1, [1], ValueError, r"jac\(x\) has shape \(1,\), x has shape \(2,\)"),
        (1, [[1], [1]], ValueError, r"jac\(x\) has shape \(2, 1\), x has shape \(2,\)"),
        (1, [1, 1, 1], ValueError, r"jac\(x\) has shape \(3,\), x has shape \(2,\)"),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_what_functions_must_return(value, gradient, error, message, later, backend):
    def good(x):
        return later and x[0] > 1.5

    with pytest.raises(error, match=message) as caught:
        gd.minimize(
            lambda x: 1.0 if good(x) else value,
            [2.0, 1.0],
            jac=lambda x: [1.0, 1.0] if good(x) else gradient,
            lr=0.25,
            backend=backend,
        )
    assert caught.value.__notes__ == [f"at x = {'[1.5 0.5]' if later else '[2. 1.]'}"]


@pytest.mark.parametrize("pair", [1.0, (1.0,), (1.0, [1.0], 2), np.ones(2), None, "ab"], ids=repr)
def test_what_is_no_pair(pair):
    with pytest.raises(TypeError, match="with jac=True fun must return a pair") as caught:
        gd.minimize(lambda x: pair, [2.0], jac=True)
    assert caught.value.__notes__ == ["at x = [2.]"]


def test_a_wrong_gradient_of_a_pair():
    with pytest.raises(ValueError, match=r"the gradient from fun has shape \(3,\), x has shape"):
        gd.minimize(lambda x: (1.0, [1, 1, 1]), [2.0, 1.0], jac=True)


@pytest.mark.parametrize("kind", [int, bool, np.float32, np.array, lambda v: [v], lambda v: [[v]]])
def test_numbers_of_all_kinds_are_taken(kind, backend):
    r = gd.minimize(
        lambda x: kind(1), 2.0, jac=lambda x: kind(1), lr=0.5, maxiter=2, backend=backend
    )
    assert (r.path.tolist(), r.fun_path.tolist()) == ([[2], [1.5], [1]], [1, 1, 1])


@pytest.mark.parametrize("where", ["fun", "jac", "numerical"])
@pytest.mark.parametrize("error", [ZeroDivisionError, StopIteration, gd.BackendError])
def test_errors_of_the_functions_come_through(where, error, backend):
    def fails(x):
        if x[0] < 1.5:
            raise error("of mine")
        return bowl(x) if where != "jac" else bowl_der(x)

    fun, jac = {
        "fun": (fails, bowl_der),
        "jac": (bowl, fails),
        "numerical": (fails, None),
    }[where]
    with pytest.raises(error) as caught:
        gd.minimize(fun, [2.0, 1.0], jac=jac, lr=0.25, backend=backend)
    assert caught.value.args == ("of mine",)
    assert len(caught.value.__notes__) == 1
    x = np.array(
        caught.value.__notes__[0].removeprefix("at x = [").removesuffix("]").split(), float
    )
    np.testing.assert_allclose(x, [1, 0.5], atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["fun", "jac"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_what_is_not_finite(bad, where, dtype, backend):
    x0 = np.array([2, 1], dtype)

    def minimize(limit):
        return gd.minimize(
            lambda x: bad if where == "fun" and x[0] < limit else x[0] + x[1],
            x0,
            jac=lambda x: [1, bad if where == "jac" and x[0] < limit else 1],
            lr=0.25,
            backend=backend,
        )

    with pytest.raises(ValueError, match=r"at x0 = \[2. 1.\] f is .*: start where both are finite"):
        minimize(3)
    falls = where == "fun" and bad == -np.inf
    advice = "f seems unbounded below" if falls else "try a smaller lr"
    with pytest.raises(
        gd.DivergenceError, match=rf"after step 3, at x = \[1.25 0.25\]; {advice}$"
    ) as caught:
        minimize(1.5)
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert (error.epoch, error.lr, error.stable_lr) == (3, 0.25, None)  # no curvature
    r = error.result
    assert (r.nit, r.status, r.success) == (3, 2, False)
    assert r.message == "f, its gradient or the optimizer's states stopped being finite"
    assert r.path.tolist() == [[2, 1], [1.75, 0.75], [1.5, 0.5], [1.25, 0.25]]
    assert r.x.tolist() == r.path[-1].tolist()
    assert r.fun_path[:3].tolist() == [3, 2.5, 2]
    assert str(r.fun) == str(bad if where == "fun" else 1.5)
    assert str(float(r.jac[1])) == str(float(bad if where == "jac" else 1))


@pytest.mark.parametrize(
    "optimizer",
    [
        gd.SGD(),
        gd.SGD(momentum=0.9),
        gd.SGD(momentum=0.5, nesterov=True),
        gd.SGD(momentum=0.5, dampening=0.25),
        gd.SGD(weight_decay=2.0),
    ],
    ids=str,
)
def test_the_rate_of_the_advice_works(optimizer):
    """Of a parabola of curvature 8: 2 (1 + momentum) / 8, and what else `SGD` says of its stability."""

    def minimize(lr):
        common = {"jac": lambda x: 8 * x, "optimizer": optimizer, "lr": lr, "maxiter": 3000}
        with np.errstate(over="ignore"):
            return gd.minimize(lambda x: 4 * x**2, 1.0, **common)

    with pytest.raises(gd.DivergenceError) as caught:
        minimize(2.0)
    stable = caught.value.stable_lr
    assert stable == pytest.approx(optimizer.stability.full_batch / (8 + optimizer.weight_decay))
    advised = float(re.search("rates below (.*) are stable", str(caught.value))[1])
    assert 0.99 * stable < advised <= stable
    assert minimize(0.99 * advised).fun < 0.01
    with pytest.raises(gd.DivergenceError):
        minimize(1.1 * stable)


def test_advice_where_no_curvature_tells():
    with pytest.raises(gd.DivergenceError, match=r"rate of Adam: try 0\.001$") as caught:
        gd.minimize(lambda x: np.inf if x < 0 else x, 1.0, jac=lambda x: 1, optimizer="adam", lr=2)
    assert caught.value.stable_lr is None


@pytest.mark.parametrize("functions", [(bowl, bowl_der), (jit_bowl, jit_bowl_der)], ids=["", "jit"])
def test_divergence_of_a_bowl(functions):
    with (
        np.errstate(over="ignore"),
        pytest.raises(gd.DivergenceError, match="below 1 are") as caught,
    ):
        gd.minimize(functions[0], [2.0, 1.0], jac=functions[1], lr=1.5, maxiter=1000)
    assert caught.value.epoch == caught.value.result.nit == 511
    assert np.isinf(caught.value.result.fun)


def test_f_that_rose_is_warned_of():
    message = "f rose from 5 to 80: by the curvature where f was lowest, rates below 1 are stable"
    with pytest.warns(RuntimeWarning, match=message) as caught:
        on_bowl(lr=1.5, maxiter=2)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("lr", "maxiter"), [(1.5, 4), (1.5, 1000)], ids=["f rose", "f was lost"])
def test_calls_for_the_advice_are_counted(lr, maxiter):
    fun = Counted(bowl)
    try:
        with pytest.warns(RuntimeWarning):
            r = gd.minimize(fun, [2.0, 1.0], jac=bowl_der, lr=lr, maxiter=maxiter)
    except gd.DivergenceError as error:
        r = error.result
    assert r.nfev == fun.calls


def test_a_rise_by_rounding_is_not_warned_of():
    above = np.nextafter(3.0, 4.0)
    gd.minimize(lambda x: 3.0 if x == 1 else above, 1.0, jac=lambda x: 1e-9)


def test_the_advice_holds_where_the_curvatures_differ():
    minimize = partial(
        gd.minimize,
        lambda x: x[0] * x[0] + 100 * x[1] * x[1],
        [1.0, 1e-3],
        jac=lambda x: [2 * x[0], 200 * x[1]],
        maxiter=3000,
    )
    with np.errstate(over="ignore"), pytest.raises(gd.DivergenceError) as caught:
        minimize(lr=0.05)
    assert minimize(lr=0.99 * caught.value.stable_lr).fun < 1


def quartic(x):
    return (x**4).sum()


def quartic_der(x):
    return 4 * x**3


@pytest.mark.parametrize("lr", [1.0, 1e5, 1e100])
@pytest.mark.parametrize(
    ("fun", "jac", "x0"),
    [
        (quartic, quartic_der, [2.0, 1.0]),
        (lambda x: np.cosh(x).sum(), np.sinh, [3.0, -1.0]),
        (rosen, rosen_der, [-1.2, 1.0]),
        (rosen, None, [-1.2, 1.0]),
        (rosen, rosen_der, np.float32([-1.2, 1.0])),
    ],
    ids=["x^4", "cosh", "Rosenbrock", "numerical", "float32"],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_the_rate_of_the_advice_works_where_the_curvature_grows(fun, jac, x0, lr):
    """However far away the path was lost; and it is not needlessly small."""
    if np.asarray(x0).dtype == np.float32:
        lr = min(lr, 1e5)
    with pytest.raises(gd.DivergenceError) as caught:
        gd.minimize(fun, x0, jac=jac, lr=lr)
    stable = caught.value.stable_lr
    assert 1e-3 < stable < 1
    r = gd.minimize(fun, x0, jac=jac, lr=0.9 * stable, maxiter=5000)
    assert r.fun < 0.2 * r.fun_path[0] + 2


@pytest.mark.parametrize("record", [gd.SGD(0.1), gd.SGD(5.0, momentum=0.5), gd.Adam(0.5)], ids=str)
def test_f_that_is_unbounded_below(record):
    with (
        np.errstate(all="ignore"),
        pytest.raises(gd.DivergenceError, match=r"; f seems unbounded below$") as caught,
    ):
        gd.minimize(
            lambda x: -np.exp(x).sum(),
            [1.0, 2.0],
            jac=lambda x: -np.exp(np.minimum(x, 300)),  # whose squares do not overflow
            optimizer=record,
            maxiter=10**4,
        )
    assert caught.value.stable_lr is None


SQUARING = ["adagrad", "rmsprop", "adadelta", "adam", "adamw", "nadam"]


@pytest.mark.parametrize("callback", [None, lambda r: None], ids=["", "callback"])
@pytest.mark.parametrize("name", SQUARING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_squares_that_overflow_are_not_silent(name, dtype, callback, backend):
    """x would stay where it is ever after."""
    scale = np.finfo(dtype).max / 1e4
    message = "the optimizer's states are not finite after step .*: divide the function and its"
    with pytest.raises(gd.DivergenceError, match=message) as caught:
        gd.minimize(
            lambda x: scale * bowl(x),
            np.array([2, 1], dtype),
            jac=lambda x: scale * bowl_der(x),
            optimizer=name,
            maxiter=20,
            callback=callback,
            backend=backend,
        )
    assert np.isfinite(caught.value.result.path).all()
    assert caught.value.epoch == caught.value.result.nit == (20 if callback is None else 1)
    assert (caught.value.stable_lr, caught.value.result.status) == (None, 2)


@pytest.mark.parametrize("cls", [gd.Adagrad, gd.RMSprop, gd.Adam, gd.AdamW, gd.NAdam])
def test_an_eps_of_0_is_named(cls, backend):
    message = (
        f"with eps=0 {cls.__name__} divides by 0 .*: pass a positive eps, such as {cls().eps:g}$"
    )
    with pytest.raises(gd.DivergenceError, match=message):
        gd.minimize(bowl, [2.0, 0.0], jac=bowl_der, optimizer=cls(eps=0.0), backend=backend)


@pytest.mark.parametrize(
    ("lr", "border"),
    [
        (schedules.Warmup(schedules.Constant(2e-3), length=4), 0.993),
        (schedules.StepDecay(2e-3, every=3), 0.9935),
        (schedules.ReduceOnPlateau(2e-3, factor=0.01, patience=0), 0.99599),
    ],
    ids=["Warmup", "StepDecay", "ReduceOnPlateau"],
)
def test_the_advice_is_for_the_largest_rate_of_a_schedule(lr, border):
    """The error names the rate of its step."""
    with pytest.raises(gd.DivergenceError, match=r"rate of Adam: try 0\.0002$") as caught:
        gd.minimize(
            lambda x: np.inf if x < border else 1.0,
            1.0,
            jac=lambda x: 1,
            optimizer=gd.Adam(lr, betas=(0.0, 0.0)),
            maxiter=100,
        )
    if isinstance(lr, schedules.OpenLoop):
        assert caught.value.lr == lr.rates([caught.value.epoch - 1])[0]
    assert caught.value.lr <= 2e-3


def test_x_that_is_not_finite(backend):
    r = None
    with pytest.raises(gd.DivergenceError):
        r = gd.minimize(
            lambda x: -1.0, 1.0, jac=lambda x: -1e308, lr=10, maxiter=3, backend=backend
        )
    assert r is None


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [(gd.Adam(eps=1e-60), "eps"), (gd.SGD(weight_decay=1e60), "weight_decay")],
    ids=["eps", "weight_decay"],
)
def test_numbers_of_an_optimizer_that_float32_does_not_hold(optimizer, name):
    with pytest.raises(ValueError, match=f"^{name}="):
        gd.minimize(bowl, np.float32([2, 1]), jac=bowl_der, optimizer=optimizer)


@pytest.mark.parametrize("bad", [1e300, -1e300])
def test_f_that_float32_does_not_hold(bad):
    x0 = np.float32([2, 1])
    with pytest.raises(ValueError, match="start where both are finite"):
        gd.minimize(lambda x: bad, x0, jac=bowl_der)
    with pytest.raises(gd.DivergenceError):
        gd.minimize(lambda x: 1.0 if x[0] == 2 else bad, x0, jac=bowl_der)


def test_tol_that_float32_does_not_hold():
    r = gd.minimize(bowl, np.float32([2, 1]), jac=bowl_der, tol=1e300)
    assert (r.nit, r.success) == (0, True)


def careless(x):
    value = x[0] * x[0] + x[1] * x[1]
    x[:] = 0
    return value


def careless_der(x):
    gradient = 2 * x
    x[:] = 7
    return gradient


def test_functions_may_change_their_argument(backend):
    x0 = np.array([2.0, 1.0])
    r = gd.minimize(careless, x0, jac=careless_der, lr=0.1, backend=backend)
    assert bits(r) == bits(on_bowl())
    assert x0.tolist() == [2, 1]


def test_gradients_may_be_the_argument_or_always_the_same_array(backend):
    kept = np.empty(2)
    common = {"lr": 0.1, "maxiter": 20, "backend": backend}
    plain = gd.minimize(lambda x: bowl(x) / 2, [2.0, 1.0], jac=np.copy, **common)
    for jac in (lambda x: x, lambda x: np.copyto(kept, x) or kept):
        r = gd.minimize(lambda x: bowl(x) / 2, [2.0, 1.0], jac=jac, **common)
        assert bits(r) == bits(plain)


# Bad functions that numba compiled


def test_compiled_functions_may_change_their_argument():
    r = gd.minimize(njit(careless), [2.0, 1.0], jac=njit(careless_der), lr=0.1)
    assert bits(r) == bits(on_bowl())


def test_compiled_functions_may_return_an_array_of_one():
    r = gd.minimize(njit(parabola), 2.0, jac=njit(parabola_der), lr=0.7)
    assert bits(r) == bits(gd.minimize(parabola, 2.0, jac=parabola_der, lr=0.7))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fun", "jac"),
    [
        (bowl, lambda x: (2 * x[0], 2 * x[1])),
        (lambda x: (x[0] * x[0],), lambda x: [2 * x[0], x[1] - x[1]]),
        (lambda x: (x[0] * x[0], (2 * x[0], 0)), True),
    ],
    ids=["tuple", "list", "pair"],
)
def test_compiled_gradients_are_what_those_in_python_may_be(fun, jac):
    """With a rate of 1/4 each step halves what the gradient is of."""
    common = {"x0": [4.0, 0.0], "lr": 0.25, "maxiter": 3}
    r = gd.minimize(njit(fun), jac=jac if jac is True else njit(jac), **common)
    assert r.backend == "numba"
    assert r.path.tolist() == [[4, 0], [2, 0], [1, 0], [0.5, 0]]
    assert bits(r) == bits(gd.minimize(fun, jac=jac, backend="numpy", **common))


@pytest.mark.parametrize("seconds", [0, 1e9])
def test_compiled_steps_do_not_depend_on_the_clock(monkeypatch, seconds):
    """However many are made in a call."""
    common = {"optimizer": gd.Adam(schedules.Exponential(0.1, gamma=0.9)), "maxiter": 50}
    expected = bits(gd.minimize(himmelblau, [0.0, 0.0], jac=himmelblau_der, **common))
    monkeypatch.setattr(minimize_module, "IN_A_CALL", seconds)
    r = gd.minimize(jit_himmelblau, [0.0, 0.0], jac=jit_himmelblau_der, **common)
    assert bits(r) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a process")
def test_ctrl_c_ends_compiled_steps(python):
    said = python("""
import os, signal, threading, time
import numba, numpy as np
import gdfast as gd

f, g = numba.njit(lambda x: x[0] * x[0]), numba.njit(lambda x: 2 * x)
descend = lambda maxiter: gd.minimize(f, 1.0, jac=g, lr=1e-9, maxiter=maxiter)
descend(10)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    descend(50_000_000)
    time.sleep(1)
except KeyboardInterrupt:
    print(time.monotonic() - begin - 0.2)
""")
    assert float(said) < 1  # a loaded machine wakes no thread at once


@njit
def fails_later(x):
    if x[0] < 1.5:
        raise ValueError("of mine")
    return x[0] * x[0] + x[1] * x[1]


def test_errors_of_compiled_functions_name_the_place():
    with pytest.raises(ValueError, match="of mine") as caught:
        gd.minimize(fails_later, [2.0, 1.0], jac=jit_bowl_der, lr=0.25)
    assert caught.value.__notes__ == ["at x = [1.  0.5]"]


@njit
def shrinks_later(x):
    return np.ones(1) if x[0] < 1.5 else 2 * x


def test_compiled_gradients_are_checked_at_each_step():
    with pytest.raises(ValueError, match="shape"):
        gd.minimize(jit_bowl, [2.0, 1.0], jac=shrinks_later, lr=0.25, maxiter=3)


# Within scipy

on_rosen = partial(scipy.optimize.minimize, rosen, [-1.0, 2.0], jac=rosen_der)


def test_scipy_minimises_by_an_optimizer(backend):
    method = gd.scipy_method("adam", lr=0.1, backend=backend)
    r = on_rosen(method=method, tol=1e-6, options={"maxiter": 4000})
    assert isinstance(r, scipy.optimize.OptimizeResult)
    np.testing.assert_allclose(r.x, [1, 1], atol=1e-5)
    own = gd.minimize(
        rosen, [-1.0, 2.0], jac=rosen_der, optimizer=ADAM, maxiter=4000, tol=1e-6, backend=backend
    )
    assert bits(r) == bits(own)
    assert set(r) == {field.name for field in dataclasses.fields(gd.MinimizeResult)}
    for name in ("nit", "nfev", "njev", "success", "status", "message", "fun", "backend"):
        assert r[name] == getattr(own, name)
    assert r.success


@pytest.mark.parametrize("jac", [True, None, "3-point", "given"])
@pytest.mark.parametrize("args", [(3.0,), 3.0], ids=["tuple", "number"])
def test_scipy_passes_args_and_gradients(jac, args):
    def fun(x, a):
        value = a * (x**2).sum()
        return (value, 2 * a * x) if jac is True else value

    gradient = (lambda x, a: 2 * a * x) if jac == "given" else jac
    method = gd.scipy_method(gd.SGD(lr=0.1))
    r = scipy.optimize.minimize(fun, [2.0, 1.0], args, jac=gradient, method=method)
    np.testing.assert_allclose(r.path[1], [0.8, 0.4], rtol=1e-6)
    np.testing.assert_allclose(r.x, 0, atol=1e-7)


def test_scipys_callbacks():
    points, results = [], []

    def keep(intermediate_result):
        results.append(intermediate_result)
        if len(results) == 4:
            raise StopIteration

    method = gd.scipy_method(ADAM)
    r = on_rosen(method=method, callback=points.append, options={"maxiter": 5})
    assert np.array_equal(points, r.path[1:])
    points[-1][:] = 0  # the callback's own
    stopped = on_rosen(method=method, callback=keep)
    assert (stopped.status, stopped.success, stopped.nit) == (99, False, 4)
    assert [type(one) for one in results] == 4 * [scipy.optimize.OptimizeResult]
    assert np.array_equal([one.x for one in results], r.path[1:5])
    assert [one.fun for one in results] == r.fun_path[1:5].tolist()


@pytest.mark.parametrize("by_name", [False, True])
def test_what_scipys_callbacks_return_has_no_meaning(by_name):
    """As with scipy's own methods, of which only StopIteration stops."""
    callback = (lambda intermediate_result: True) if by_name else (lambda x: True)
    assert on_rosen(method="CG", callback=callback).nit > 1
    assert on_rosen(method=gd.scipy_method(ADAM), callback=callback).nit == 100


@pytest.mark.parametrize("jac", [True, None, "given"])
def test_a_descent_that_is_lost_within_scipy(jac):
    """It fails as scipy's own methods do: with a result, at the last finite point."""
    fun = Counted((lambda x: (quartic(x), quartic_der(x))) if jac is True else quartic)
    gradient = quartic_der if jac == "given" else jac
    with np.errstate(all="ignore"):
        r = scipy.optimize.minimize(
            fun, [2.0, 1.0], jac=gradient, method=gd.scipy_method("sgd", lr=1.0)
        )
    assert (r.success, r.status) == (False, 2)
    assert re.match(r"f is inf and its gradient .* rates below .* are stable$", r.message)
    assert np.isfinite([r.fun, *r.x, *r.jac]).all()
    assert r.x.tolist() == r.path[-2].tolist()
    assert r.fun == r.fun_path[-2] == quartic(r.x)
    if jac is not None:
        assert r.jac.tolist() == quartic_der(r.x).tolist()
    assert len(r.path) == r.nit + 1
    assert r.nfev == fun.calls or jac is True  # scipy keeps the pair of the same x


def test_states_that_overflow_within_scipy():
    r = scipy.optimize.minimize(
        lambda x: 1e200 * bowl(x),
        [2.0, 1.0],
        jac=lambda x: 1e200 * bowl_der(x),
        method=gd.scipy_method("adam"),
    )
    assert (r.success, r.status, r.x.tolist()) == (False, 2, r.path[-1].tolist())
    assert "states" in r.message


def test_scipys_global_optimizers_go_on_after_a_descent_that_is_lost():
    with np.errstate(all="ignore"):
        r = scipy.optimize.basinhopping(
            quartic,
            [0.1, 0.1],
            niter=5,
            stepsize=3,
            rng=1,
            minimizer_kwargs={"method": gd.scipy_method("sgd", lr=0.1), "jac": quartic_der},
        )
    assert r.minimization_failures > 0
    assert r.fun < 1e-3


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"bounds": [(0, 1), (0, 1)]}, "bounds"),
        ({"bounds": scipy.optimize.Bounds(0, 1)}, "bounds"),
        pytest.param(
            {"bounds": np.array([[0, 1], [0, 1]])},
            "bounds",
        ),
        ({"constraints": {"type": "eq", "fun": bowl}}, "constraints"),
        ({"constraints": scipy.optimize.LinearConstraint([1, 1], 0, 1)}, "constraints"),
        ({"hess": rosen_der}, "hess"),
        ({"hessp": rosen_der}, "hessp"),
    ],
)
def test_what_the_optimizers_have_no_use_for(options, name):
    with pytest.raises(ValueError, match=f"Adam takes no {name}$"):
        on_rosen(method=gd.scipy_method(ADAM), **options)


def test_no_constraints_may_be_a_list():
    assert on_rosen(method=gd.scipy_method(ADAM), constraints=[]).nit == 100


def test_options_of_other_methods_are_answered_as_by_scipy():
    with pytest.warns(scipy.optimize.OptimizeWarning, match="Unknown solver options: disp"):
        on_rosen(method=gd.scipy_method(ADAM), options={"disp": True})


def test_wrong_optimizers_are_refused_before_scipy_calls():
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        gd.scipy_method("adan")


def test_scipys_global_optimizers_take_the_method():
    def wavy(x):
        return x[0] * x[0] + np.cos(5 * x[0])

    r = scipy.optimize.basinhopping(
        wavy,
        [1.0],
        niter=5,
        rng=1,
        minimizer_kwargs={
            "method": gd.scipy_method(gd.SGD(lr=0.02)),
            "jac": lambda x: 2 * x - 5 * np.sin(5 * x),
            "tol": 1e-8,
        },
    )
    assert r.success
    assert r.fun == pytest.approx(-0.634583154)
