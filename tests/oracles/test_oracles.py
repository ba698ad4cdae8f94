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
from gdfast import _backends
from gdfast._numerics import order
from gdfast._training import curvature

REFERENCE = Path(__file__).parents[1] / "reference"
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


# Troubles of data: (X, y, random) -> (X, y).
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


@pytest.mark.slow
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


def spectrum(values, vectors, rows, random):
    """Rows whose mean of x x' has these eigenvalues, with these vectors for the first of them."""
    d = len(values)
    frame = np.linalg.qr(np.column_stack([*vectors, random.standard_normal((d, d))]))[0][:, :d]
    basis = np.linalg.qr(random.standard_normal((rows, d)))[0] * math.sqrt(rows)
    return basis * np.sqrt(values) @ frame.T


def splitmix_start(size):
    """Numbers in [-1, 1) from the bits of their index, by splitmix64: a start that would be known beforehand."""
    z = np.arange(1, size + 1, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)) / 2**23 - 1


def across(start, random):
    """A direction that is orthogonal to a vector."""
    v = random.standard_normal(len(start))
    return v - start * (v @ start) / (start @ start)


def hidden(random):
    """Rows with one direction, or column, that outweighs the others and does not show at once."""
    d, ratio = int(random.integers(2, 60)), random.uniform(1.5, 6)
    kind = random.integers(4)
    if kind == 0:  # across a start that is known
        start = splitmix_start(d + 1)[:d]
        return spectrum([ratio, *np.ones(d - 1)], [across(start, random)], 4 * d, random)
    if kind == 1:  # across the signs and sizes of the start of the search
        start = curvature._start(d, np.uint64(0), np.dtype(np.float64))
        return spectrum([ratio, *np.ones(d - 1)], [across(start, random)], 4 * d, random)
    if kind == 2:  # one-hot, with a category more frequent than the others
        return np.eye(d)[np.append(np.arange(d), np.full(int(ratio), random.integers(d)))]
    return random.standard_cauchy((int(random.integers(1, 80)), d)) * 10.0 ** random.integers(
        -3, 4, d
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_auto_is_safe_whatever_the_spectrum(dtype):
    """1 / L by numpy's eigenvalues, where a search from a start that is known would find half of L or less."""
    random = np.random.default_rng(0)
    for _ in range(12):
        X = hidden(random).astype(dtype)
        exponent = random.integers(-15, 16) if dtype == "float32" else random.integers(-148, 149)
        scale = 10.0**exponent / np.abs(X).max()
        largest = 2 * np.linalg.eigvalsh(X.T.astype(float) @ X / len(X))[-1] * scale**2
        Z = (X * scale).astype(dtype)
        options = {"fit_intercept": False, "epochs": 1, "backend": FASTEST}
        rate = gd.fit(Z, np.ones(len(Z)), **options).history.lr[0]
        assert rate == pytest.approx(1 / largest, rel=5e-3 if dtype == "float64" else 2e-2)
        with pytest.raises(gd.DivergenceError) as error:
            gd.fit(Z, np.ones(len(Z)), lr=100 * float(rate), **options | {"epochs": 100})
        assert error.value.stable_lr == pytest.approx(2 / largest, rel=2e-3)


def test_auto_of_rows_orthogonal_to_the_search():
    """The first product of these rows is 0 in every bit: then the sum of the eigenvalues bounds the largest."""
    start = curvature._start(2, np.uint64(0), np.dtype(np.float64))
    X = np.outer([1.0, -2.0], [start[1], -start[0]])
    r = gd.fit(X, [1.0, -2.0], fit_intercept=False, epochs=50, backend=FASTEST)
    assert r.history.lr[0] == pytest.approx(1 / (2 * np.mean(X**2) * 2))
    assert r.history.loss[-1] < 1e-20


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize(
    ("dtype", "sizes"),
    [
        ("float32", [2e-18, 1e-12, 1e-10, 1e-5, 1e5, 1e10, 1e15, 2e18]),
        ("float64", [2e-153, 1e-150, 1e-80, 1e-10, 1e80, 1e150, 2e153]),
    ],
)
def test_auto_for_squares_at_the_limits(backend, batch_size, dtype, sizes):
    """Of one column with a constant size c, L and R are 2 c^2: w after a step of the full batch is the solution."""
    for c in sizes:
        X = np.array([[c], [-c], [c], [-c]], dtype)
        y = np.array([3, -3, 3, -3], dtype)
        r = gd.fit(
            X,
            y,
            batch_size=batch_size,
            fit_intercept=False,
            epochs=2,
            shuffle=False,
            backend=backend,
        )
        exact = 1 / (2 * float(X[0, 0]) ** 2)
        assert float(r.history.lr[0]) == pytest.approx(exact, rel=1e-6)
        assert float(r.coef[0]) * c == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize(
    ("dtype", "size", "verb"),
    [
        ("float32", 1e-25, "underflow"),
        ("float32", 1e25, "overflow"),
        ("float64", 1e-180, "underflow"),
        ("float64", 1e180, "overflow"),
    ],
)
def test_auto_refuses_squares_beyond_the_limits(batch_size, dtype, size, verb):
    X = np.array([[size], [-size]], dtype)
    with pytest.raises(ValueError, match=rf"the squares of X {verb} {dtype}: its largest value is"):
        gd.fit(X, [0.1, -0.1], batch_size=batch_size, fit_intercept=False)


def test_the_search_for_the_rate_takes_few_passes(monkeypatch):
    """A first product, and then as many as there are weights, or a few more than 16."""
    engine, passes = _backends.find(FASTEST), []
    total = engine.total
    monkeypatch.setattr(engine, "total", lambda *arguments: passes.append(1) or total(*arguments))
    random = np.random.default_rng(0)
    for features, most in ((1, 3), (5, 7), (30, 20), (200, 25)):
        X = random.standard_normal((400, features))
        passes.clear()
        gd.fit(X, X[:, 0], epochs=1, backend=FASTEST)
        assert len(passes) <= most


def test_the_largest_eigenvalue_of_a_tridiagonal_matrix():
    random = np.random.default_rng(0)
    for _ in range(20):
        size = random.integers(1, 101)
        diagonal = random.uniform(0, 1, size) * 10.0 ** random.integers(-3, 4)
        beside = random.uniform(0, 1, size - 1) * 10.0 ** random.integers(-9, 3)
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        found = curvature.largest_of_tridiagonal(diagonal.tolist(), beside.tolist())
        assert found == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-13)


# Where a running sum is fed by slopes or curvatures that change: (X, y, momentum, options).
FED = [
    ([[1.0], [0.0]], [1.0, 1.0], 0.995, {"l1": 0.1}),
    (
        [[-1.0], [1.0], [-1.0], [1.0], [-1.0]],
        [317.003, 317.402, 316.5, 317.077, 315.793],
        0.99,
        {"l1": 1.0},
    ),
    ([[1.0], [0.3]], [1, 0], 0.999, {"loss": "squared_hinge"}),
    ([[1.0], [0.3]], [1, 0], 0.9999, {"loss": "squared_hinge"}),
]


@pytest.mark.parametrize("case", FED, ids=str)
def test_auto_with_momentum_near_1(case):
    """Of objectives that are not quadratic."""
    X, y, momentum, options = case
    r = gd.fit(X, y, optimizer=gd.SGD("auto", momentum=momentum), epochs=20_000, **options)
    assert r.history.loss.max() <= 4 * r.history.loss[0]
    assert r.history.loss[-1000:].mean() <= r.history.loss[0]


def test_auto_with_momentum_and_l1_on_random_data():
    for momentum in (0.95, 0.99, 0.995):
        for seed in range(20):
            random = np.random.default_rng(seed)
            X = random.standard_normal((50, [1, 2, 5][seed % 3]))
            y = X.sum(axis=1) + 3 + random.standard_normal(50)
            l1 = 10 ** random.uniform(-2, 1)
            optimizer = gd.SGD("auto", momentum=momentum)
            r = gd.fit(X, y, l1=l1, optimizer=optimizer, epochs=2000, backend=FASTEST)
            assert r.history.loss.max() <= 3 * r.history.loss[0]


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
