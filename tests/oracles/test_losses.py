"""The losses against exact arithmetic, on every backend: values, derivatives, and the same bytes of both."""

import copy
import dataclasses
import math
import pickle
import re
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn._loss import loss as sklearn_loss

import gdfast as gd
from gdfast import _backends, losses
from gdfast._backends.problem import Problem
from gdfast._data.arrays import as_matrix, as_weights
from gdfast._data.dataset import Dataset
from gdfast._numerics.penalties import Penalty

LARGEST = float(np.finfo(np.float64).max)


def derivatives(backend, loss, p, y):
    """Those by each prediction p, (n, k): the gradient by the weights of rows that are the identity's."""
    n, k = p.shape
    rows = Dataset(
        as_matrix(scipy.sparse.eye_array(n, format="csr", dtype=p.dtype), sparse=True),
        as_matrix(y[:, None], "y"),
        as_weights(None, n, p.dtype),
    )
    problem = Problem(
        rows=rows,
        loss=loss,
        rule=gd.SGD().rule,
        penalty=Penalty(0.0, 0.0, True),
        outputs=k,
        fit_intercept=False,
        batch_size=n,
        fused=False,
        clip_norm=math.inf,
        tol=-1.0,
        bound=math.inf,
        averages_after=0,
        threads=1,
    )
    params = np.zeros((k, n + 1), p.dtype)
    params[:, :n] = p.T
    with np.errstate(all="ignore"):
        gradient, _ = _backends.find(backend).total(problem, params.ravel())
    return gradient.reshape(k, n + 1)[:, :n].T


def values(backend, loss, p, y):
    """The loss of each row of predictions: the mean over that row alone."""
    engine = _backends.find(backend)
    one = as_weights(None, 1, p.dtype)
    parts = zip(as_matrix(p), as_matrix(y[:, None]), strict=True)
    return np.array([engine.mean_loss(loss, row[None], t[None], one) for row, t in parts], p.dtype)


def both(backend, loss, p, y):
    """The value and the derivative for each pair of prediction and target."""
    return values(backend, loss, p[:, None], y), derivatives(backend, loss, p[:, None], y)[:, 0]


# Each oracle gives the value, the derivative, and for each the largest of the terms it is a difference of: an error is
# counted in units in the last place of that, since a difference of rounded terms is no better.
def squared_error(p, y):
    r = p - y
    return r * r, 2 * r, r * r, 2 * r


def half_squared_error(p, y):
    r = p - y
    return r * r / 2, r, r * r / 2, r


def huber(p, y, delta):
    r = p - y
    value = r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)
    slope = max(-delta, min(delta, r))
    return value, slope, value, slope


def epsilon_insensitive(p, y, epsilon):
    r = p - y
    slope = 0 if abs(r) <= epsilon else 1 if r > 0 else -1
    return max(0, abs(r) - epsilon), slope, abs(r), slope


def squared_epsilon_insensitive(p, y, epsilon):
    r = p - y
    beyond = max(0, abs(r) - epsilon)
    sign = 1 if r > 0 else -1
    return beyond * beyond, 2 * beyond * sign, beyond * abs(r), 2 * abs(r)


def quantile(p, y, q):
    value = q * (y - p) if y >= p else (1 - q) * (p - y)
    slope = -q if y >= p else 1 - q
    return value, slope, value, slope


def poisson(p, y):
    e = mpmath.exp(p)
    return e - y * p, e - y, max(e, abs(y * p)), max(e, y)


def logistic(p, y):
    value = mpmath.log1p(mpmath.exp(-y * p))
    slope = -y / (1 + mpmath.exp(y * p))
    return value, slope, value, slope


def hinge(p, y):
    value = max(0, 1 - y * p)
    slope = -y if y * p < 1 else 0
    return value, slope, value, slope


def squared_hinge(p, y):
    short = max(0, 1 - y * p)
    return short * short, -2 * y * short, short * short, 2 * short


def modified_huber(p, y):
    return (-4 * y * p, -4 * y, 4 * p, 4) if y * p < -1 else squared_hinge(p, y)


def perceptron(p, y):
    value = max(0, -y * p)
    slope = -y if y * p <= 0 else 0
    return value, slope, value, slope


SINGLE = {
    oracle.__name__: oracle
    for oracle in (
        squared_error,
        half_squared_error,
        huber,
        epsilon_insensitive,
        squared_epsilon_insensitive,
        quantile,
        poisson,
        logistic,
        hinge,
        squared_hinge,
        modified_huber,
        perceptron,
    )
}
PARAMETERS = {
    "huber": [1.35, 0.25, 1e-3, 1e6],
    "epsilon_insensitive": [0.1, 0.0, 0.5],
    "squared_epsilon_insensitive": [0.1, 0.0, 0.5],
    "quantile": [0.5, 0.1, 0.75, 1e-9, 1 - 2**-53],
}
RECORDS = [
    losses.find(losses.TABLE[name](*numbers))
    for name in SINGLE
    for numbers in ([(number,) for number in PARAMETERS[name]] if name in PARAMETERS else [()])
]


def test_each_loss_has_an_oracle():
    assert losses.TABLE.keys() == {*SINGLE, "softmax"}


def arguments(loss, dtype="float64"):
    """Predictions and targets: ordinary ones, kinks and their neighbours, tiny and huge ones."""
    random = np.random.default_rng(0)
    targets = {
        "numbers": [0.0, 1.0, -2.5, 0.1, 1e-3, -1e6],
        "counts": [0.0, 1.0, 3.0, 1e6],
        "signs": [-1.0, 1.0],
    }[loss.targets]
    edges = [0.0, 1.0, -1.0, *vars(loss).values()]
    small = np.finfo(dtype).smallest_subnormal
    p = np.r_[
        random.standard_normal(60),
        random.uniform(-30, 30, 40),
        10.0 ** random.uniform(-15, 15, 20) * random.choice([-1, 1], 20),
        edges,
        np.nextafter(np.array(edges, dtype), np.array(np.inf, dtype)),
        np.nextafter(np.array(edges, dtype), np.array(-np.inf, dtype)),
        small,
        -small,
    ]
    if loss.name in ("poisson", "logistic"):
        top = 708 if dtype == "float64" else 87
        p = np.r_[p[abs(p) < top], top, -top, random.uniform(-top, top, 40)]
    else:
        p = np.r_[p, 1e18, -1e18] if dtype == "float32" else np.r_[p, 1e150, -1e150, 1e160, 1e308]
    around = np.r_[edges, np.negative(edges)] if loss.targets == "numbers" else []
    pairs = [
        (near, y)
        for y in np.array(targets, dtype)
        for near in np.r_[p, np.add(around, y)].astype(dtype)
    ]
    p, y = np.array(pairs).T
    if loss.name in ("epsilon_insensitive", "squared_epsilon_insensitive", "quantile"):
        # A difference that is rounded onto a kink belongs to either side.
        rounded, kink = p - y, np.array(vars(loss).get("epsilon", 0.0)).astype(dtype)
        exact = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(p, y, strict=True)]
        onto = np.array(
            [
                abs(r) == kink and Fraction(float(r)) != e
                for r, e in zip(rounded, exact, strict=True)
            ]
        )
        p, y = p[~onto], y[~onto]
    return p, y


def ulps(got, exact, scale):
    """The error in units in the last place of `scale`; an overflow must be one."""
    if abs(scale) > LARGEST:
        return 0 if math.isinf(got) and (got > 0) == (exact > 0) else math.inf
    return float(abs(type(exact)(got) - exact) / type(exact)(math.ulp(float(scale))))


@pytest.mark.parametrize("loss", RECORDS, ids=str)
def test_values_and_derivatives(loss):
    """At most 4 units in the last place, the derivative at a kink as documented."""
    number = mpmath.mpf if loss.name in ("poisson", "logistic") else Fraction
    p, y = arguments(loss)
    parameters = [number(v) for v in vars(loss).values()]
    got = both("cpp", loss, p, y)
    with mpmath.workprec(200):
        for pi, yi, *pair in zip(p, y, *got, strict=True):
            *exact, value_scale, slope_scale = SINGLE[loss.name](
                number(float(pi)), number(float(yi)), *parameters
            )
            for k, scale in enumerate((value_scale, slope_scale)):
                error = ulps(float(pair[k]), number(exact[k]), number(scale))
                assert error <= 4, (float(pi), float(yi), float(pair[k]), float(exact[k]))


def test_the_derivative_near_a_prediction_that_is_known():
    """By a formula for small changes and by that for all: both as exact as two roundings of exp allow."""
    loss = gd.losses.Logistic()
    rng = np.random.default_rng(0)
    for p, change, y in zip(
        rng.normal(scale=8, size=2000).tolist(),
        rng.uniform(-0.5, 0.5, 2000).tolist(),
        rng.choice([-1.0, 1.0], 2000).tolist(),
        strict=True,
    ):
        with mpmath.workprec(200):
            exact = -y / (1 + mpmath.exp(mpmath.mpf(y) * (mpmath.mpf(p) + mpmath.mpf(change))))
            found = losses.gradient_near(loss, losses.anchor(loss, p, y), change, p + change, y)
            rounded = 4 + abs(p + change)  # in the argument, too
            assert abs(mpmath.mpf(float(found)) / exact - 1) <= rounded * np.finfo(float).eps
    big = losses.gradient_near(loss, losses.anchor(loss, -1e3, 1.0), 2e3, 1e3, 1.0)
    assert big == loss.gradient(1e3, 1.0)


# Losses whose formula rounds once more before it multiplies.
FLOAT32_ULPS = {"huber": 3, "squared_epsilon_insensitive": 3}


@pytest.mark.parametrize("loss", RECORDS, ids=str)
def test_float32_is_float64_rounded(loss):
    """To 2 units in the last place of float32, or 3."""
    p, y = arguments(loss, "float32")
    wide = [a.astype(np.float64) for a in (p, y)]
    narrow = type(loss)(*(float(np.float32(v)) for v in vars(loss).values()))
    got, expected = both("cpp", loss, p, y), both("cpp", narrow, *wide)
    exact = np.array(
        [SINGLE[loss.name](*map(float, pair), *narrow.kernel) for pair in zip(*wide, strict=True)],
        float,
    )
    for k in (0, 1):
        assert got[k].dtype == np.float32
        unit = np.spacing(np.abs(exact[:, 2 + k]).astype(np.float32))
        error = np.abs(got[k] - expected[k]) / unit
        assert error.max() <= FLOAT32_ULPS.get(loss.name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", losses.TABLE)
def test_the_same_bytes_on_all_backends(name, dtype):
    """Of values and derivatives, for arguments of all kinds, infinity and NaN included."""
    loss = losses.find(name)
    if name == "softmax":
        p, y = several(5, dtype)
    else:
        p, y = arguments(loss, dtype)
        p, y = np.r_[p, SPECIAL].astype(dtype)[:, None], np.r_[y, np.ones(len(SPECIAL))]
        y = y.astype(dtype)
    expected = [f("numpy", loss, p, y) for f in (values, derivatives)]
    for backend in ("cpp", "numba"):
        for f, e in zip((values, derivatives), expected, strict=True):
            assert same_bytes(f(backend, loss, p, y), e), backend


SPECIAL = [np.inf, -np.inf, np.nan, 800.0, -800.0, 1e30, -1e30]


def same_bytes(a, b):
    """Whether they are, apart from what a NaN looks like."""
    assert a.dtype == b.dtype
    return np.where(np.isnan(a), 0, a).tobytes() == np.where(np.isnan(b), 0, b).tobytes() and (
        np.array_equal(np.isnan(a), np.isnan(b))
    )


@pytest.mark.parametrize("name", losses.TABLE)
def test_nan_is_a_loss_of_nan(backend, name):
    """By which a fit sees that it has diverged."""
    k = 3 if name == "softmax" else 1
    for o in range(k):
        p = np.zeros((1, k))
        p[0, o] = np.nan
        assert np.isnan(values(backend, losses.find(name), p, np.ones(1))).all()


def several(k, dtype="float64"):
    """Predictions of k classes, and classes: small and large gaps, and ties."""
    random = np.random.default_rng(k)
    p = np.concatenate(
        [
            random.standard_normal((60, k)),
            random.uniform(-350, 350, (60, k)),
            random.integers(-1, 2, (60, k)),
            random.standard_normal((20, k)) * 1e-9 + 100,
            np.zeros((k, k)),
            700.0 * np.eye(k),
            -700.0 * np.eye(k),
        ]
    ).astype(dtype)
    y = np.append(random.integers(0, k, len(p) - 3 * k), np.tile(np.arange(k), 3))
    return p, y.astype(dtype)


@pytest.mark.parametrize("k", range(2, 11))
def test_softmax(k):
    """To 4 units in the last place, the smallest probabilities as well."""
    p, y = several(k)
    got, slopes = values("cpp", losses.Softmax(), p, y), derivatives("cpp", losses.Softmax(), p, y)
    with mpmath.workprec(200):
        for row, t, value, slope in zip(p.tolist(), y.astype(int), got, slopes, strict=True):
            best = row.index(max(row))
            e = [mpmath.exp(mpmath.mpf(v) - row[best]) for v in row]
            others = mpmath.fsum(e[:best] + e[best + 1 :])
            exact = mpmath.log1p(others) + (mpmath.mpf(row[best]) - row[t])
            assert ulps(float(value), exact, exact) <= 4
            for o in range(k):
                exact = e[o] / mpmath.fsum(e)
                if o == t:
                    exact = -mpmath.fsum(e[:o] + e[o + 1 :]) / mpmath.fsum(e)
                assert ulps(float(slope[o]), exact, exact) <= 4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softmax_of_two_classes_is_logistic_of_their_difference(dtype):
    random = np.random.default_rng(0)
    p = random.integers(-(2**12), 2**12, (500, 2)).astype(dtype) / 64  # whose differences are exact
    y = random.integers(0, 2, 500).astype(dtype)
    value, slope = both("cpp", losses.Logistic(), p[:, 1] - p[:, 0], 2 * y - 1)
    ulp = 4 * np.finfo(dtype).eps
    tiny = np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(values("cpp", losses.Softmax(), p, y), value, ulp, tiny)
    slopes = derivatives("cpp", losses.Softmax(), p, y)
    np.testing.assert_allclose(slopes, np.column_stack([-slope, slope]), ulp, tiny)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softmax_in_float32_is_that_in_float64_rounded(dtype):
    p, y = several(4, dtype)
    wide = p.astype(float), y.astype(float)
    for f in (values, derivatives):
        got, expected = f("cpp", losses.Softmax(), p, y), f("cpp", losses.Softmax(), *wide)
        unit = np.spacing(np.abs(expected).astype(dtype))
        assert (np.abs(got - expected) / unit).max() <= 2


MILLION = 10**6


def test_a_million_arguments_of_exp():
    """Poisson's derivative for a count of 0: to an ulp, and the same bytes on all backends."""
    random = np.random.default_rng(0)
    p = np.r_[random.uniform(-750, 750, MILLION // 2), random.uniform(-40, 40, MILLION // 2)]
    p[: len(SPECIAL)] = SPECIAL
    y = np.zeros(MILLION)
    expected = derivatives("numpy", losses.Poisson(), p[:, None], y)
    for backend in ("cpp", "numba"):
        assert same_bytes(derivatives(backend, losses.Poisson(), p[:, None], y), expected)
    inside = np.abs(p) <= 708
    np.testing.assert_array_max_ulp(expected[inside, 0], np.exp(p[inside]), 2)
    assert (expected[p > 709] == expected[p > 709][0]).all()
    assert (expected[p < -708] == expected[p < -708][0]).all()


def test_many_arguments_of_log1p():
    """The logistic loss of right predictions: log(1 + exp(-p)), with all exponents of exp(-p)."""
    count = 50_000
    random = np.random.default_rng(0)
    p = np.r_[random.uniform(0, 708, count // 2), random.uniform(0, 40, count // 2)]
    y = np.ones(count)
    expected = losses.Logistic().value(p, y)
    np.testing.assert_array_max_ulp(expected, np.log1p(np.exp(-p)), 4)
    for backend in ("cpp", "numba"):
        assert values(backend, losses.Logistic(), p[:, None], y).tobytes() == expected.tobytes()


@pytest.mark.parametrize("loss", [*RECORDS, losses.Softmax()], ids=str)
def test_the_mean_of_a_million_losses(loss):
    """The same bytes on the compiled backend as of the plain text in numpy."""
    random = np.random.default_rng(0)
    k = 4 if loss.name == "softmax" else 1
    p = as_matrix(random.uniform(-40, 40, (MILLION // 4, k)))
    y = {
        "numbers": random.standard_normal(len(p)),
        "counts": random.integers(0, 9, len(p)).astype(float),
        "signs": random.choice([-1.0, 1.0], len(p)),
        "classes": random.integers(0, k, len(p)).astype(float),
    }[loss.targets]
    s = as_weights(random.random(len(p)), len(p), p.dtype)
    arguments = loss, p, as_matrix(y[:, None]), s
    means = [_backends.find(name).mean_loss(*arguments) for name in ("cpp", "numpy")]
    assert means[0] == means[1]


def test_beyond_the_range_of_exp():
    """Poisson's mean stays at exp(709), and the logistic loss goes on as a line."""
    p = np.array([709.0, 710.0, 1e300, -708.0, -709.0, -1e300])
    _, mean = both("cpp", losses.Poisson(), p, np.zeros(6))
    np.testing.assert_array_max_ulp(mean, np.exp([709.0] * 3 + [-708.0] * 3), 1)
    p = np.array([-1e300, -1e9, -750.0, 750.0, 1e9, 1e300])
    value, slope = both("cpp", losses.Logistic(), p, np.ones(6))
    np.testing.assert_allclose(value, [1e300, 1e9, 750, 0, 0, 0], rtol=0, atol=1e-300)
    np.testing.assert_allclose(slope, [-1, -1, -1, 0, 0, 0], rtol=0, atol=1e-300)


# scikit-learn's losses, ours, and the factors between them.
PEERS = {
    "half_squared_error": (sklearn_loss.HalfSquaredError(), losses.HalfSquaredError(), 1),
    "squared_error": (sklearn_loss.HalfSquaredError(), losses.SquaredError(), 2),
    "huber": (sklearn_loss.HuberLoss(delta=1.35), losses.Huber(), 1),
    "quantile": (sklearn_loss.PinballLoss(quantile=0.25), losses.Quantile(0.25), 1),
    "poisson": (sklearn_loss.HalfPoissonLoss(), losses.Poisson(), 1),
    "logistic": (sklearn_loss.HalfBinomialLoss(), losses.Logistic(), 1),
}


@pytest.mark.parametrize("name", PEERS)
def test_against_scikit_learn(name):
    theirs, ours, factor = PEERS[name]
    random = np.random.default_rng(0)
    p = random.uniform(-5, 5, 1000)
    y = {
        "numbers": random.standard_normal(1000),
        "counts": random.integers(0, 9, 1000).astype(float),
        "signs": random.integers(0, 2, 1000).astype(float),
    }[ours.targets]
    expected = theirs.loss_gradient(y_true=y, raw_prediction=p)
    got = both("cpp", ours, p, 2 * y - 1 if ours.targets == "signs" else y)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, factor * e, rtol=1e-13, atol=1e-14)


def test_softmax_against_scikit_learn():
    p, y = several(6)
    value, slope = sklearn_loss.HalfMultinomialLoss(n_classes=6).loss_gradient(
        y_true=y, raw_prediction=p
    )
    np.testing.assert_allclose(values("cpp", losses.Softmax(), p, y), value, 1e-13, 1e-13)
    np.testing.assert_allclose(derivatives("cpp", losses.Softmax(), p, y), slope, 1e-13, 1e-13)


@pytest.mark.parametrize("loss", RECORDS, ids=str)
@settings(max_examples=25)
@given(st.floats(-700, 700), st.floats(-700, 700), st.floats(0, 1))
def test_losses_are_convex_and_their_derivatives_slopes(loss, a, b, t):
    """Value at c between two arguments: under the chord, and over each tangent."""
    for y in {"numbers": [0.5], "counts": [2.0], "signs": [-1.0, 1.0]}[loss.targets]:
        c = t * a + (1 - t) * b
        fa, fb, fc = (loss.value(p, y) for p in (a, b, c))
        slack = 1e-12 * (1 + abs(fa) + abs(fb) + abs(loss.gradient(a, y) * (abs(a) + abs(c))))
        assert fc <= t * fa + (1 - t) * fb + slack
        assert fc >= fa + loss.gradient(a, y) * (c - a) - slack


@pytest.mark.parametrize("loss", RECORDS, ids=str)
def test_curvature_and_steepness_are_bounds_that_are_reached(loss):
    """The largest slope, and the largest difference of slopes over that of predictions."""
    for y in {"numbers": [0.5], "counts": [2.0], "signs": [-1.0, 1.0]}[loss.targets]:
        p = np.r_[-1e7, np.linspace(-20, 20, 4000), y + np.linspace(-1e-3, 1e-3, 8), 1e7]
        p.sort()
        slope = loss.gradient(p, y)
        if loss.steepness is not None:
            assert abs(slope).max() == pytest.approx(loss.steepness, rel=1e-6)
        if loss.curvature is not None:
            bend = np.diff(slope) / np.diff(p)
            assert bend.max() == pytest.approx(loss.curvature, rel=1e-3)
            assert bend.max() <= loss.curvature * (1 + 1e-9)


def test_the_curvature_and_steepness_of_softmax():
    """Of several outputs: the largest eigenvalue of the second derivatives, and the norm of the first."""
    p = np.r_[np.random.default_rng(0).standard_normal((200, 3)), [[0, 0, -50]], [[-50, 50, 0]]]
    slopes = derivatives("cpp", losses.Softmax(), p, np.zeros(len(p)))
    s = slopes + np.array([1.0, 0.0, 0.0])  # the probabilities
    hessians = np.einsum("ni,ij->nij", s, np.eye(3)) - np.einsum("ni,nj->nij", s, s)
    assert np.linalg.eigvalsh(hessians).max() == pytest.approx(losses.Softmax().curvature)
    steepest = np.linalg.norm(slopes, axis=1).max()
    assert steepest == pytest.approx(losses.Softmax().steepness)


# A number outside of the range of each parameter, and those at its ends that belong to it.
RANGES = [
    (losses.Huber, "delta", [0.0, -1.0, math.inf, math.nan], [5e-324, 1e300]),
    (losses.EpsilonInsensitive, "epsilon", [-1e-9, math.inf, math.nan], [0, 1e300]),
    (losses.SquaredEpsilonInsensitive, "epsilon", [-1e-9, math.inf, math.nan], [0, 1e300]),
    (losses.Quantile, "q", [0.0, 1.0, -0.5, 1.5, math.inf, math.nan], [5e-324, 1 - 2**-53]),
    (losses.Softmax, "classes", [-1], [0, 2]),
]


@pytest.mark.parametrize(("record", "name", "outside", "ends"), RANGES)
def test_the_ranges_of_parameters(record, name, outside, ends):
    X, y = [[0.0], [1.0]], [0, 1]
    for value in outside:
        with pytest.raises(ValueError, match=re.escape(f"{name}={value}")):
            gd.fit(X, y, loss=record(value))
    for value in ends:
        assert losses.find(record(value)) == record(value)
    for value in ("0.5", None, True, [0.5], 1j):
        with pytest.raises(TypeError, match=f"{name} must be"):
            gd.fit(X, y, loss=record(value))


def test_every_parameter_has_a_range():
    named = {
        (record, field) for record in losses.TABLE.values() for field in record.__annotations__
    }
    assert named == {(record, name) for record, name, *_ in RANGES}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # as an error it would prevent the scalar
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", losses.TABLE)
def test_formulas_keep_the_shape_of_a_single_prediction(name, dtype):
    """An array of one is no scalar, nor is a scalar an array; NumPy before 2.4 makes one of the other on conversion."""
    loss = losses.TABLE[name]()
    whole = np.linspace(-2, 2, 5).astype(dtype)
    y = np.ones(5, dtype)
    if loss.targets == "classes":
        p = np.stack([whole, -whole, whole * whole])
        every = losses.of_row(loss, p, y[None], np.empty_like(p))
        for i in range(5):
            one = losses.of_row(loss, p[:, [i]], y[None, [i]], np.empty((3, 1), dtype))
            assert one.dtype == dtype
            assert one.tolist() == [every[i]]
            assert np.array_equal(loss.probability(p.T[[i]]), loss.probability(p.T)[[i]])
        return
    formulas = {name: getattr(loss, name) for name in ("value", "gradient")}
    for of_p in ("mean", "probability"):
        if hasattr(loss, of_p):
            formulas[of_p] = lambda p, y, of_p=of_p: getattr(loss, of_p)(p)
    for formula in formulas.values():
        every = np.broadcast_to(formula(whole, y), 5)  # a derivative may be -y alone
        for i in range(5):
            for shape in ((), (1,), (1, 1)):
                p, target = whole[[i]].reshape(shape)[()], y[[i]].reshape(shape)[()]
                found = formula(p, target)
                assert np.shape(found) == shape
                assert found.dtype == dtype
                assert np.ravel(found).tolist() == [every[i]]


EACH = [record() for record in losses.TABLE.values()]
WITH_A_NUMBER = [type(loss)(0.25) for loss in EACH if vars(loss) and loss.name != "softmax"]


def test_losses_are_equal_where_formula_and_numbers_are():
    several = [*EACH, *WITH_A_NUMBER, losses.Softmax(3)]
    assert len(set(several)) == len({hash(loss) for loss in several}) == len(several)
    for loss in several:
        again = type(loss)(**vars(loss))
        assert loss == again == pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss)
        assert hash(loss) == hash(again)
        assert [other for other in several if other == loss] == [loss]
        assert loss


def test_losses_are_keys():
    X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    kinds = [loss for loss in EACH if loss.targets == "signs"]
    fits = {loss: gd.fit(X, y, loss=loss, epochs=1) for loss in kinds}
    assert len(fits) == 5
    assert [fits[loss].loss for loss in kinds] == kinds


def test_losses_say_their_numbers_and_keep_them():
    assert repr(losses.Hinge()) == "Hinge()"
    assert repr(losses.Huber(delta=2.0)) == "Huber(delta=2.0)"
    assert losses.Huber(delta=2.0) == losses.Huber(2.0) != losses.Huber()
    with pytest.raises(dataclasses.FrozenInstanceError):
        losses.Huber().delta = 1.0


def test_a_loss_as_the_documentation_adds_one(monkeypatch):
    """Its minimum is where the derivatives, worked out by hand for y = 0, 0, 3 and delta 1, add up to 0."""
    text = (Path(__file__).parents[2] / "docs" / "adding.md").read_text("utf-8")
    code = re.search(r"```python\n(class \w+\(Loss\).*?)```", text, re.DOTALL)
    scope = dict(vars(losses))
    exec(code[1], scope)
    loss = scope["PseudoHuber"]
    monkeypatch.setitem(losses.TABLE, "pseudo_huber", loss)
    r = gd.fit(np.ones((3, 1)), [0, 0, 3], loss="pseudo_huber", epochs=2000, backend="numpy")
    assert r.loss == loss() != loss(2.0)
    b = r.predict([[1.0]])[0]
    assert 2 * b / math.sqrt(1 + b * b) == pytest.approx((3 - b) / math.sqrt(1 + (3 - b) ** 2))
