"""The numbers against oracles from outside: published traces, closed forms, scikit-learn, and those of the reference.

And what is promised of the rates: "auto" never diverges, and the stable rate of a full batch is just that.
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

import gdfast as gd
from comparison import verdict
from gdfast import _backends, order

REFERENCE = Path(__file__).with_name("reference")
FASTEST = next(iter(_backends.TABLE))  # where the fits are many; the bits are the same


def reference(name):
    """A published trace, and the arguments of `fit` that lead to it."""
    trace = json.loads((REFERENCE / name).read_text())
    arguments = {
        "X": [[x] for x in trace["data"]["x"]],
        "y": trace["data"]["y"],
        "coef_init": [trace["w0"]],
        "lr": trace["lr"],
        "fit_intercept": trace["fit_intercept"],
        "epochs": len(trace["table"]),
        "trace": "coef",
    }
    return trace, arguments


def test_the_published_batch_trace(backend):
    trace, arguments = reference("batch_gd_100_epochs.json")
    r = gd.fit(**arguments, backend=backend)
    epochs, w, loss = zip(*trace["table"], strict=True)
    assert epochs == tuple(range(100))
    assert r.history.coef[1:, 0].tolist() == list(w)
    assert r.history.loss.tolist() == list(loss)
    x, p = trace["predict_4"]
    assert r.predict([[x]]).tolist() == [p]


def test_the_published_trace_per_sample(backend):
    trace, arguments = reference("sgd_100_epochs.json")
    r = gd.fit(**arguments, batch_size=1, shuffle=False, backend=backend)
    epochs, w, _ = zip(*trace["table"], strict=True)
    assert epochs == tuple(range(100))
    np.testing.assert_allclose(r.history.coef[1:, 0], w, rtol=1e-15)


@pytest.mark.parametrize("batch_size", [None, 1])
def test_the_published_single_step(backend, batch_size):
    r = gd.fit(
        [[1.5]],
        [0.8],
        loss="half_squared_error",
        lr=0.1,
        coef_init=[0.8],
        intercept_init=0.2,
        epochs=2,
        batch_size=batch_size,
        trace="coef",
        backend=backend,
    )
    w, b = r.history.coef[:2, 0], r.history.intercept[:2]
    gradients = (w[0] - w[1]) / 0.1, (b[0] - b[1]) / 0.1
    assert gradients == pytest.approx((0.9, 0.6), rel=1e-14)
    assert r.history.grad_norm[0] == pytest.approx(math.hypot(0.9, 0.6), rel=1e-15)
    assert (w[1], b[1]) == pytest.approx((0.71, 0.14), rel=1e-15)
    assert r.history.loss.tolist() == pytest.approx([0.18, 0.0820125], rel=1e-14)


def least_squares(X, y, weights=1.0):
    """The closed form: coef and intercept."""
    root = np.sqrt(weights) * np.ones(len(X))
    A = np.column_stack([X, np.ones(len(X))]) * root[:, None]
    solution = np.linalg.lstsq(A, y * root, rcond=None)[0]
    return solution[:-1], solution[-1]


def mean_squares(X, y, coef, intercept):
    return np.mean((X @ coef + intercept - y) ** 2)


DATA = {
    "diabetes": load_diabetes(return_X_y=True, scaled=False),
    "penguins": gd.datasets.load_penguins()[:2],
}


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"epochs": 3000}, 1e-6), ({"epochs": 30, "batch_size": 1, "average": True}, 0.01)],
    ids=["full batch", "per sample"],
)
@pytest.mark.parametrize("name", DATA)
def test_real_data_reach_the_closed_form(backend, name, options, tolerance):
    X, y = DATA[name]
    Z = StandardScaler().fit_transform(X)
    r = gd.fit(Z, y, lr="auto", **options, backend=backend)
    lowest = mean_squares(Z, y, *least_squares(Z, y))
    assert mean_squares(Z, y, r.coef, r.intercept) <= lowest * (1 + tolerance)


@pytest.mark.parametrize(
    "options", [{"epochs": 3000}, {"batch_size": 1}, {"batch_size": 32}], ids=str
)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["no intercept", "intercept"])
def test_standardize_is_that_of_scikit_learn(backend, options, weighted, fit_intercept):
    X, y = DATA["penguins"]
    X = np.column_stack([X, np.full(len(X), 3.0)])  # a constant column is not scaled
    weights = np.arange(len(X)) % 4 if weighted else None
    scaler = StandardScaler().fit(X, sample_weight=weights)
    mean = scaler.mean_ if fit_intercept else np.zeros(X.shape[1])
    common = {"fit_intercept": fit_intercept, "sample_weight": weights, "backend": backend}
    got = gd.fit(X, y, standardize=True, **{"epochs": 20} | options, **common)
    inner = gd.fit((X - mean) / scaler.scale_, y, **{"epochs": 20} | options, **common)
    np.testing.assert_allclose(got.history.loss, inner.history.loss, rtol=1e-11)
    np.testing.assert_allclose(got.coef, inner.coef / scaler.scale_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        got.predict(X), inner.predict((X - mean) / scaler.scale_), rtol=1e-11
    )


@pytest.fixture
def problem():
    """Some rows and targets, and weights of mean 1."""
    random = np.random.default_rng(0)
    X = random.standard_normal((23, 3))
    weights = random.integers(0, 4, 23) + 0.5
    return X, X @ [1.0, -2.0, 0.5] + 3 + random.standard_normal(23), weights / weights.mean()


def test_a_weight_is_that_many_rows(backend, problem):
    X, y, _ = problem
    weights = np.arange(23) % 4
    common = {"lr": 0.1, "epochs": 1000, "trace": "coef", "backend": backend}
    weighted = gd.fit(X, y, sample_weight=weights, **common)
    repeated = gd.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights), **common)
    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-12)
    np.testing.assert_allclose(weighted.history.coef, repeated.history.coef, rtol=1e-12)
    coef, intercept = least_squares(X, y, weights)
    np.testing.assert_allclose(weighted.coef, coef, rtol=1e-9)
    assert weighted.intercept == pytest.approx(intercept, rel=1e-9)


@pytest.mark.parametrize("batch_size", [None, 1, 5, 23, 100])
@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.4},
        {"momentum": 0.5, "dampening": -1.0},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"clip_norm": 0.5},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01, "clip_norm": 2.0},
    ],
    ids=str,
)
def test_sgd_is_that_of_torch(backend, problem, rule, batch_size):
    X, y, weights = problem
    record = {name: value for name, value in rule.items() if name != "clip_norm"}
    for average in (False, True):
        fits = verdict(
            X,
            y,
            optimizer=gd.SGD(lr=0.01, **record),
            clip_norm=rule.get("clip_norm"),
            sample_weight=weights,
            batch_size=batch_size,
            epochs=10,
            average=average,
            trace="coef",
            seed=7,
            backend=backend,
        )
        assert (fits.differences, fits.cut, fits.epochs) == ([], None, 10)


@pytest.mark.parametrize("batch_size", [1, 5, 23])
def test_shuffled_rows_are_those_rows_in_that_order(backend, problem, batch_size):
    X, y, weights = problem
    rows = order.visit(np.arange(23), order.round_keys(3, range(1))[0], 23)
    common = {"batch_size": batch_size, "lr": 0.05, "epochs": 1, "backend": backend}
    shuffled = gd.fit(X, y, sample_weight=weights, seed=3, **common)
    moved = gd.fit(X[rows], y[rows], sample_weight=weights[rows], shuffle=False, **common)
    np.testing.assert_allclose(shuffled.coef, moved.coef, rtol=1e-13)  # the mean weight may differ
    unweighted = gd.fit(X, y, seed=3, **common)
    assert unweighted.digest == gd.fit(X[rows], y[rows], shuffle=False, **common).digest


def test_orders_of_rows(backend, problem):
    """A new one each epoch; none for the full batch, nor with shuffle=False."""
    X, y, _ = problem

    def digest(**options):
        return gd.fit(X, y, lr=0.05, **{"epochs": 1} | options, backend=backend).digest

    assert digest(seed=1) == digest(seed=2) == digest(shuffle=False)
    assert digest(seed=1, batch_size=1) != digest(seed=2, batch_size=1)
    standing = {"shuffle": False, "batch_size": 1}
    assert digest(seed=1, **standing) == digest(seed=2, **standing) != digest(batch_size=1)
    _, first, second = gd.fit(
        X, y, lr=0.05, epochs=2, batch_size=1, trace="coef", backend=backend
    ).history.coef
    again = gd.fit(X, y, lr=0.05, epochs=1, batch_size=1, coef_init=first, backend=backend)
    assert not np.array_equal(again.coef, second)


# What makes data nasty: (X, y, random) -> (X, y).
TROUBLES = {
    "scales": lambda X, y, random: (X * 10.0 ** random.integers(-4, 5, X.shape[1]), y),
    "an outlier": lambda X, y, random: (np.vstack([X, 1e4 * X[:1]]), np.append(y, y[0])),
    "collinear": lambda X, y, random: (X[:, :1] + 1e-5 * X, y),
    "a constant column": lambda X, y, random: (np.column_stack([X, np.full(len(X), 1e3)]), y),
    "a column of zeros": lambda X, y, random: (np.column_stack([X, np.zeros(len(X))]), y),
    "sorted by x": lambda X, y, random: (X[np.argsort(X[:, 0])], y[np.argsort(X[:, 0])]),
    "sorted by y": lambda X, y, random: (X[np.argsort(y)], np.sort(y)),
    "repeated rows": lambda X, y, random: (X[random.integers(0, min(2, len(X)), len(X))], y),
    "targets that alternate": lambda X, y, random: (X, abs(y).max() * (-1.0) ** np.arange(len(y))),
    "large X": lambda X, y, random: (X * 1e5, y),
    "small X": lambda X, y, random: (X * 1e-12, y),
    "large y": lambda X, y, random: (X, y * 1e6),
    "small y": lambda X, y, random: (X, y * 1e-12),
}


@st.composite
def nasty(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = random.standard_normal(
        draw(st.tuples(st.sampled_from([1, 2, 3, 9, 60]), st.integers(1, 4)))
    )
    y = X.sum(axis=1) + draw(st.sampled_from([0.0, 1.0, 10.0])) * random.standard_normal(len(X))
    for name in draw(st.lists(st.sampled_from(sorted(TROUBLES)), max_size=4, unique=True)):
        X, y = TROUBLES[name](X, y, random)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return X.astype(dtype), y.astype(dtype)


@st.composite
def auto_sgd(draw):
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.9999]))
    nesterov = draw(st.booleans()) and momentum > 0
    return gd.SGD(
        lr="auto",
        momentum=momentum,
        nesterov=nesterov,
        dampening=0.0 if nesterov else draw(st.sampled_from([0.0, 0.3, 0.9, 1.0, -1.0])),
        weight_decay=draw(st.sampled_from([0.0, 1e-3, 1.0])),
    )


@settings(max_examples=1500)
@given(
    nasty(),
    st.sampled_from([0.0, 1.0, -1e3]),
    st.fixed_dictionaries(
        {
            "optimizer": auto_sgd(),
            "batch_size": st.sampled_from([None, 1, 2, 7]),
            "epochs": st.sampled_from([1, 30, 3000]),
            "shuffle": st.booleans(),
            "fit_intercept": st.booleans(),
            "standardize": st.booleans(),
            "clip_norm": st.sampled_from([None, 0.1]),
            "loss": st.sampled_from(["squared_error", "half_squared_error"]),
        }
    ),
)
def test_auto_never_diverges(data, start, options):
    X, y = data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the loss rose", RuntimeWarning)
        try:
            r = gd.fit(
                X, y, lr="auto", coef_init=np.full(X.shape[1], start), **options, backend=FASTEST
            )
        except ValueError as refusal:
            assume("overflow" not in str(refusal))
            raise
    assert np.isfinite(r.history.loss).all()
    assert np.isfinite([*r.coef, r.intercept]).all()


@pytest.mark.parametrize("batch_size", [None, 1, 100])
def test_auto_does_not_diverge_from_far_weights(backend, batch_size):
    """The one row that shows that they are far is the last of many."""
    X = np.append(np.full(2000, 1e-4), 1e4)[:, None]
    options = {"coef_init": [1.0], "batch_size": batch_size, "shuffle": False, "backend": backend}
    r = gd.fit(X, np.full(2001, 0.1), lr="auto", epochs=20, **options)
    assert r.history.loss[-1] < 1


STABLE = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "dampening": -1.0},
    {"weight_decay": 2.0},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 2.0},
]


@pytest.mark.parametrize("rule", STABLE, ids=str)
@pytest.mark.parametrize("features", [1, 4, 30])
@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error"])
def test_the_stable_rate_of_the_full_batch(rule, features, loss):
    random = np.random.default_rng(features)
    X = random.standard_normal((40, features)) * random.uniform(0.3, 3, features)
    y = X.sum(axis=1) + random.standard_normal(40)

    def fit(lr):
        return gd.fit(X, y, loss=loss, optimizer=gd.SGD(lr, **rule), epochs=2000, backend=FASTEST)

    with pytest.raises(gd.DivergenceError) as error:
        fit(1e3)
    stable = error.value.stable_lr
    assert fit(0.99 * stable).history.loss[-1] <= np.mean(y**2)
    with pytest.raises(gd.DivergenceError) as error:
        fit(1.01 * stable)
    assert error.value.stable_lr == stable


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("rule", STABLE, ids=str)
def test_the_stable_rate_is_stable_in_any_order(rule, batch_size, shuffle):
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.sort(X.sum(axis=1) + np.arange(40) % 3)
    options = {"batch_size": batch_size, "shuffle": shuffle, "epochs": 500, "backend": FASTEST}
    with pytest.raises(gd.DivergenceError) as error:
        gd.fit(X, y, optimizer=gd.SGD(1e3, **rule), **options)
    r = gd.fit(X, y, optimizer=gd.SGD(error.value.stable_lr, **rule), **options)
    assert r.history.loss[-100:].mean() <= 2 * np.mean(y**2)  # one epoch's depends on its order
