"""Sparse rows: the fits are those of dense ones, the same on all backends, and cost what is stored."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import gdfast as gd
from gdfast import _backends, _core, losses, optimizers, schedules
from gdfast._backends.numpy import lazy_sparse

FASTEST = next(iter(_backends.TABLE))  # the bits are the same


def rows(n=60, d=37, density=0.2, dtype="float64", seed=0):
    """Rows in CSR: a row without entries, a column without, and a zero that is stored."""
    random = np.random.default_rng(seed)
    X = np.where(random.random((n, d)) < density, random.standard_normal((n, d)) / 2, 0)
    X[min(3, n - 1)] = 0
    if d > 2:
        X[:, d // 2] = 0
    X = sp.csr_array(X.astype(dtype))
    X.data[X.nnz // 3] = 0
    return X


def targets(loss, n=60, columns=None, seed=1):
    random = np.random.default_rng(seed)
    shape = n if columns is None else (n, columns)
    y = {
        "numbers": lambda: random.standard_normal(shape),
        "counts": lambda: random.integers(0, 4, shape).astype(float),
        "signs": lambda: random.integers(0, 2, shape).astype(float),
        "classes": lambda: random.integers(0, 3, n).astype(float),
    }[losses.find(loss).targets]()
    y[:3] = np.arange(3).reshape(-1, *[1] * (y.ndim - 1)) % (
        2 if losses.find(loss).targets == "signs" else 3
    )
    return y


def alike(got, expected, tolerance=1e-12):
    """Whether two results are, each number to the tolerance times the largest of its kind."""
    for name in ("coef", "intercept"):
        a, b = np.asarray(getattr(got, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * np.max(abs(b), initial=1e-3)
        )
    for name in ("loss", "val_loss", "grad_norm", "lr"):
        a, b = getattr(got.history, name), getattr(expected.history, name)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.max(abs(b), initial=0))
    assert (got.n_epochs, got.n_steps, got.stop_reason) == (
        expected.n_epochs,
        expected.n_steps,
        expected.stop_reason,
    )


def compared(X, y, tolerance=1e-12, **options):
    """The fit of sparse rows, which must be that of the same rows in full."""
    common = {"epochs": 6, "seed": 5, "backend": FASTEST} | options
    got, expected = gd.fit(X, y, **common), gd.fit(X.toarray(), y, **common)
    alike(got, expected, tolerance)
    if common.get("l1"):
        assert ((got.coef == 0) == (expected.coef == 0)).all()
    return got


OPTIONS = {
    "plain": {},
    "l1": {"l1": 0.02},
    "l2": {"l2": 0.3},
    "l1 and l2": {"l1": 0.02, "l2": 0.3},
    "l1 that leaves nothing": {"l1": 10.0},
    "momentum": {"optimizer": gd.SGD(0.003, momentum=0.9)},
    "momentum and penalties": {
        "optimizer": gd.SGD(0.003, momentum=0.9, nesterov=True),
        "l1": 0.01,
        "l2": 0.1,
    },
    "Adam": {"optimizer": gd.Adam(0.02)},
    "Adam and penalties": {"optimizer": gd.Adam(0.02), "l1": 0.01, "l2": 0.1},
    "Adagrad": {"optimizer": gd.Adagrad(0.1)},
    "Adagrad, weight decay": {"optimizer": gd.Adagrad(0.1, weight_decay=0.1)},
    "Adagrad and penalties": {"optimizer": gd.Adagrad(0.1), "l1": 0.01, "l2": 0.1},
    "weight decay": {"optimizer": gd.SGD(0.02, weight_decay=0.1), "l2": 0.1},
    "average": {"average": True},
    "average and l1": {"average": True, "l1": 0.02},
    "average and l2": {"average": True, "l2": 0.3},
    "average and penalties": {"average": True, "l1": 0.01, "l2": 0.1},
    "average of Adagrad": {"optimizer": gd.Adagrad(0.1), "average": True},
    "average of momentum": {
        "optimizer": gd.SGD(schedules.InverseScaling(0.003, 0.5), momentum=0.9, nesterov=True),
        "average": True,
    },
    "average, RMSprop": {
        "optimizer": gd.RMSprop(0.01, momentum=0.8, centered=True),
        "average": True,
    },
    "clip_norm": {"clip_norm": 0.3},
    "clip_norm and l2": {"clip_norm": 0.3, "l2": 0.1},
    "clip_norm and average": {
        "clip_norm": 0.3,
        "average": True,
        "optimizer": gd.SGD(0.01, momentum=0.9, dampening=0.5),
    },
    "no intercept": {"fit_intercept": False, "l1": 0.01, "l2": 0.1},
    "standardize": {"fit_intercept": False, "standardize": True, "l1": 0.01, "lr": 0.002},
    "trace": {"trace": "coef", "l1": 0.01},
    "schedule": {"lr": schedules.InverseScaling(0.03, 0.5), "l1": 0.01, "l2": 1.0},
    "shuffle": {"shuffle": False, "l1": 0.01},
    "auto": {"lr": "auto", "l2": 0.1},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("loss", losses.TABLE)
def test_sparse_is_dense(loss, batch_size, weighted):
    """To 1e-12, zeros exactly."""
    X, y = rows(), targets(loss)
    weights = np.arange(60) % 4 if weighted else None
    for options in OPTIONS.values():
        lr = {} if "optimizer" in options else {"lr": 0.02}
        common = lr | {"loss": loss, "batch_size": batch_size, "sample_weight": weights}
        compared(X, y, **common | options)


@pytest.mark.parametrize(
    "optimizer",
    ["rmsprop", "adadelta", "adamw", "sparseadam", "adamax", "nadam", "radam", "lion", "asgd"],
)
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_every_optimizer(optimizer, batch_size):
    for penalty in ({}, {"l1": 0.01, "l2": 0.1}, {"average": True}, {"clip_norm": 0.1}):
        compared(
            rows(),
            targets("logistic"),
            1e-10,
            loss="logistic",
            optimizer=optimizer,
            batch_size=batch_size,
            **penalty,
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("n", [1, 2, 7, 64, 65, 200])
@pytest.mark.parametrize("d", [1, 2, 8, 9, 100])
def test_shapes(n, d, batch_size, dtype):
    X = sp.csr_array(rows(n + 8, d, density=0.5, dtype=dtype, seed=n + d)[:n])
    y = targets("squared_error", n + 3)[:n]
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for options in ({}, {"l1": 0.003, "l2": 0.1}):
        common = {"lr": 0.01, "batch_size": batch_size, "backend": FASTEST, "epochs": 6} | options
        got, dense = gd.fit(X, y, **common), gd.fit(X.toarray(), y, **common)
        assert got.coef.dtype == dtype
        np.testing.assert_allclose(got.coef, dense.coef, tolerance, tolerance)
        np.testing.assert_allclose(got.history.loss, dense.history.loss, tolerance, tolerance)


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("loss", [name for name in losses.TABLE if name != "softmax"])
def test_several_outputs(loss, batch_size):
    X, Y = rows(), targets(loss, columns=3)
    for name in ("plain", "l1 and l2", "Adam and penalties", "average"):
        options = OPTIONS[name]
        lr = {} if "optimizer" in options else {"lr": 0.02}
        compared(X, Y, loss=loss, batch_size=batch_size, **lr, **options)


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_validation_and_patience(batch_size):
    """Rows to validate on may be sparse where the others are not, and the other way round."""
    X, y = rows(100), targets("logistic", 100)
    Xv, yv = rows(40, seed=7), targets("logistic", 40, seed=8)
    common = {
        "loss": "logistic",
        "lr": 0.5,
        "epochs": 200,
        "patience": 5,
        "batch_size": batch_size,
        "backend": FASTEST,
    }
    expected = gd.fit(X.toarray(), y, validation=(Xv.toarray(), yv), **common)
    assert expected.stop_reason == "patience"
    for rows_of, validation in [
        (X, Xv),
        (X, Xv.toarray()),
        (X.toarray(), Xv),
        (X, sp.csc_array(Xv)),
    ]:
        alike(gd.fit(rows_of, y, validation=(validation, yv), **common), expected, 1e-10)
    for options in ({}, {"sample_weight": np.arange(100) % 3 + 1}):
        compared(X, y, 1e-10, validation=0.3, **common | options)


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_scaled_columns_are_not_centred(batch_size):
    """Standardize on sparse columns, with an intercept: the fit of the columns over their deviations."""
    X, y = rows(), targets("squared_error")
    X = sp.csr_array(sp.hstack([X, np.full((60, 1), 3.0)]))  # a constant column stays as it is
    deviations = X.toarray().std(axis=0)
    scale = np.where(deviations <= 1e-12, 1.0, deviations)
    common = {"lr": 0.01, "epochs": 20, "batch_size": batch_size, "l2": 0.1, "backend": FASTEST}
    got = gd.fit(X, y, standardize=True, **common)
    inner = gd.fit(X.toarray() / scale, y, **common)
    np.testing.assert_allclose(got.coef, inner.coef / scale, rtol=1e-11, atol=1e-12)
    assert got.intercept == pytest.approx(inner.intercept, rel=1e-11)
    np.testing.assert_allclose(got.history.loss, inner.history.loss, rtol=1e-11)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(
    "optimizer", [gd.SGD(0.02), gd.SGD(0.003, momentum=0.9), gd.Adam(0.02)], ids=str
)
@pytest.mark.parametrize("loss", losses.TABLE)
def test_steps_of_rows_are_those_of_dense_rows(loss, optimizer, intercept):
    """Up to rounding: dense rows go in groups, and the sums of sparse ones are those of their entries."""
    X, y = rows(), targets(loss)
    for dtype in ("float64", "float32"):
        common = {
            "loss": loss,
            "optimizer": optimizer,
            "fit_intercept": intercept,
            "batch_size": 1,
            "epochs": 4,
            "sample_weight": np.arange(60) % 3,
            "backend": FASTEST,
        }
        got = gd.fit(X.astype(dtype), y, **common)
        dense = gd.fit(X.toarray().astype(dtype), y, **common)
        close = (
            {"rtol": 2e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-3, "atol": 1e-3}
        )
        np.testing.assert_allclose(got.coef, dense.coef, **close)
        np.testing.assert_allclose(got.intercept, dense.intercept, **close)
        np.testing.assert_allclose(got.history.loss, dense.history.loss, **close)


# All kinds of work that is put off.
PUT_OFF = {
    "average": {"optimizer": gd.SGD(0.02), "average": True},
    "average of clipped steps": {"optimizer": gd.SGD(0.02), "average": True, "clip_norm": 0.3},
    "average, l2": {"optimizer": gd.SGD(0.02), "average": True, "l2": 0.3},
    "average, strong l2": {"optimizer": gd.SGD(0.02), "average": True, "l2": 10.0},
    "average, l1": {"optimizer": gd.SGD(0.02), "average": True, "l1": 0.001},
    "average, l1 and l2": {
        "optimizer": gd.SGD(schedules.InverseScaling(0.05, 0.3, per="step")),
        "average": True,
        "l1": 0.001,
        "l2": 0.5,
    },
    "momentum": {"optimizer": gd.SGD(0.003, momentum=0.9), "average": True},
    "dampening": {"optimizer": gd.SGD(0.003, momentum=0.99, dampening=0.7), "average": True},
    "Nesterov": {
        "optimizer": gd.SGD(schedules.Cosine(0.003, 6000, per="step"), 0.9, nesterov=True),
        "average": True,
    },
    "RMSprop": {"optimizer": gd.RMSprop(0.002), "average": True},
    "RMSprop with all": {
        "optimizer": gd.RMSprop(0.002, alpha=0.9, momentum=0.8, centered=True),
        "average": True,
    },
    "Adadelta": {"optimizer": gd.Adadelta(rho=0.8), "average": True},
    "Adagrad": {"optimizer": gd.Adagrad(0.02), "average": True},
    "SparseAdam": {"optimizer": gd.SparseAdam(0.01), "average": True},
}


def rare_columns(n=3000, d=40, dtype="float64"):
    """Column j has an entry in a row of 2 + j j / 2, on average: some wait for a thousand steps."""
    random = np.random.default_rng(0)
    X = random.standard_normal((n, d)) * (random.random((n, d)) < 1 / (2 + np.arange(d) ** 2 / 2))
    X[[5, n // 2], d - 1] = 1
    return sp.csr_array(X.astype(dtype)), X[:, :7].sum(axis=1) + random.standard_normal(n)


@pytest.mark.parametrize("name", PUT_OFF)
def test_columns_that_wait_for_many_steps(name):
    """Through several periods, and with weights that l1 takes to 0 meanwhile."""
    for dtype, tolerance in ("float64", 2e-12), ("float32", 1e-4):
        X, y = rare_columns(dtype=dtype)
        start = np.linspace(-2, 2, 40)
        for batch_size in (1, 3):
            common = {"batch_size": batch_size, "epochs": 2, "coef_init": start, "loss": "huber"}
            compared(X, y, tolerance, **common, **PUT_OFF[name])


def eager(X, y, optimizer, l1=0.0, l2=0.0, clip_norm=np.inf, average=False, coef_init=None):
    """A fit of half squared errors of single rows in turn, as it is written: all weights in all steps."""
    w, b, total, t = coef_init.copy(), 0.0, np.zeros(X.shape[1] + 1), 0
    s = np.zeros((3, X.shape[1] + 1))
    lr = optimizer.lr
    for _ in range(2):
        for x, target in zip(X, y, strict=True):
            t += 1
            rate = lr if isinstance(lr, float) else lr.rates(np.array([t - 1]))[0]
            r = x @ w + b - target
            g = np.append(r * x + l2 * w, r)
            norm = np.sqrt((g * g).sum())
            g *= min(1.0, clip_norm / (norm + 1e-6))
            if isinstance(optimizer, gd.SGD) and optimizer.momentum:
                s[0] = optimizer.momentum * s[0] + (1 if t == 1 else 1 - optimizer.dampening) * g
                g = g + optimizer.momentum * s[0] if optimizer.nesterov else s[0]
            elif isinstance(optimizer, gd.RMSprop):
                s[0] = optimizer.alpha * s[0] + (1 - optimizer.alpha) * g * g
                s[1] = optimizer.alpha * s[1] + (1 - optimizer.alpha) * g
                v = s[0] - s[1] ** 2 if optimizer.centered else s[0]
                s[2] = optimizer.momentum * s[2] + g / (np.sqrt(v) + optimizer.eps)
                g = s[2]
            elif isinstance(optimizer, gd.Adadelta):
                s[0] = optimizer.rho * s[0] + (1 - optimizer.rho) * g * g
                g = np.sqrt((s[1] + optimizer.eps) / (s[0] + optimizer.eps)) * g
                s[1] = optimizer.rho * s[1] + (1 - optimizer.rho) * g * g
            elif isinstance(optimizer, gd.Adagrad):
                s[0] += g * g
                g = g / (np.sqrt(s[0]) + optimizer.eps)
            elif isinstance(optimizer, gd.SparseAdam):
                (b1, b2), moves = optimizer.betas, g != 0
                s[0, moves] = b1 * s[0, moves] + (1 - b1) * g[moves]
                s[1, moves] = b2 * s[1, moves] + (1 - b2) * g[moves] ** 2
                step = np.sqrt(1 - b2**t) / (1 - b1**t) * s[0] / (np.sqrt(s[1]) + optimizer.eps)
                g = np.where(moves, step, 0)
            w, b = w - rate * g[:-1], b - rate * g[-1]
            w = np.sign(w) * np.maximum(abs(w) - rate * l1, 0)
            total += np.append(w, b)
    return total / t if average else np.append(w, b)


@pytest.mark.parametrize("name", PUT_OFF)
def test_what_is_put_off_is_what_all_steps_make(name):
    X, y = rare_columns(n=900)
    y[::7] *= 3
    for average in (False, True):
        options = PUT_OFF[name] | {"average": average, "coef_init": np.linspace(-2, 2, 40)}
        r = gd.fit(
            X,
            y,
            loss="half_squared_error",
            batch_size=1,
            epochs=2,
            shuffle=False,
            backend=FASTEST,
            **options,
        )
        np.testing.assert_allclose(
            np.append(r.coef, r.intercept), eager(X.toarray(), y, **options), rtol=1e-9, atol=1e-11
        )


def test_averages_are_those_of_scikit_learn():
    from sklearn.linear_model import SGDRegressor

    X, y = rare_columns()
    for alpha in (0.0, 0.01):
        common = {"fit_intercept": False, "shuffle": False}
        peer = SGDRegressor(
            penalty="l2",
            alpha=alpha,
            learning_rate="constant",
            eta0=0.01,
            average=True,
            max_iter=3,
            tol=None,
            **common,
        )
        peer.fit(sp.csr_matrix(X), y)
        options = {"loss": "half_squared_error", "lr": 0.01, "l2": alpha, "average": True}
        r = gd.fit(X, y, batch_size=1, epochs=3, backend=FASTEST, **options, **common)
        np.testing.assert_allclose(r.coef, peer.coef_, rtol=1e-10)


@pytest.mark.parametrize("name", PUT_OFF)
def test_an_average_changes_no_step(name):
    X, y = rare_columns()
    for batch_size in (1, 3):
        common = {"batch_size": batch_size, "epochs": 2, "backend": FASTEST}
        with_average, without = (
            gd.fit(X, y, **common, **PUT_OFF[name] | {"average": average})
            for average in (True, False)
        )
        assert with_average.history.loss.tobytes() == without.history.loss.tobytes()


@pytest.mark.parametrize("name", PUT_OFF)
def test_blocks_of_a_stream_change_no_bit(name):
    X, y = rare_columns()
    for batch_size in (1, 7):
        common = {"batch_size": batch_size, "epochs": 2, "backend": FASTEST, **PUT_OFF[name]}
        whole = gd.fit(X, y, shuffle=False, **common)
        for size in (1000, 257):
            blocks = [(X[k : k + size], y[k : k + size]) for k in range(0, 3000, size)]
            assert gd.fit_stream(blocks, **common).digest == whole.digest


TOUCHED = {
    **{name: (options, True) for name, options in PUT_OFF.items()},
    "l1 and l2": ({"lr": 0.02, "l1": 0.001, "l2": 0.1}, True),
    "clip_norm": ({"lr": 0.02, "clip_norm": 0.3}, True),
    "Adam": ({"optimizer": "adam"}, False),
    "weight decay": ({"optimizer": gd.SGD(0.02, weight_decay=0.1)}, False),
    "momentum and l2": ({"optimizer": gd.SGD(0.02, momentum=0.5), "l2": 0.1}, False),
    "clip_norm and l2": ({"lr": 0.02, "l2": 0.1, "clip_norm": 0.3}, False),
    "full batch": ({"lr": 0.02, "batch_size": None}, False),
}


@pytest.mark.parametrize("name", TOUCHED)
def test_what_a_step_touches(name, monkeypatch):
    """The weights that the rule moves or that are brought up to date: the nonzeros, and all a few times an epoch.

    As docs/sparse.md says. Counted where numpy does it; all backends do the same.
    """
    options, few = TOUCHED[name]
    n, d, stored = 300, 5000, 4
    random = np.random.default_rng(0)
    indices = np.sort(random.integers(0, d, (n, stored)) // stored * stored + np.arange(stored))
    X = sp.csr_array((np.ones(n * stored), indices.ravel(), np.arange(0, n * stored + 1, stored)))
    X.resize(n, d)
    touched = 0

    def counting(function, place):
        def count(*arguments):
            nonlocal touched
            touched += np.size(arguments[place])
            return function(*arguments)

        return count

    monkeypatch.setattr(optimizers, "step", counting(optimizers.step, 1))
    monkeypatch.setattr(lazy_sparse.Lazy, "bring", counting(lazy_sparse.Lazy.bring, 1))
    batch_size = options.get("batch_size", 2)
    common = {"epochs": 1, "backend": "numpy", "loss": "logistic"}
    gd.fit(X, np.arange(n) % 2, **common, **options | {"batch_size": batch_size})
    steps = n // (batch_size or n)
    passes = 5 if "strong" in name else 3  # its scale is gone after 62 steps
    assert touched <= 2 * X.nnz + steps + passes * d if few else touched >= steps * d


SELECTION = [
    ("logistic", gd.SGD(0.05), {}),
    ("logistic", gd.SGD(0.05), {"average": True}),
    ("logistic", gd.SGD(0.05), {"average": True, "l1": 0.01, "l2": 0.3}),
    ("logistic", gd.SGD(0.05), {"average": True, "clip_norm": 0.1}),
    ("logistic", gd.SGD(0.05, momentum=0.9, nesterov=True), {"average": True}),
    ("logistic", gd.RMSprop(0.01, momentum=0.5, centered=True), {"average": True}),
    ("logistic", gd.Adadelta(), {}),
    ("logistic", gd.SparseAdam(0.02), {"clip_norm": 0.1}),
    ("softmax", gd.SGD(0.05, momentum=0.9), {"clip_norm": 0.1, "average": True}),
    ("logistic", gd.SGD(0.05), {"l1": 0.01, "l2": 0.3}),
    ("logistic", gd.SGD(0.05), {"l1": 0.01, "average": True, "clip_norm": 0.5}),
    ("logistic", gd.SGD(0.05, momentum=0.9), {"l1": 0.01, "l2": 0.3}),
    ("logistic", gd.Adagrad(0.1), {}),
    ("logistic", gd.Adagrad(0.1), {"l2": 0.3}),
    ("logistic", gd.Adam(0.02), {"l1": 0.01, "validation": 0.2, "patience": 3}),
    ("softmax", gd.SGD(0.05), {"l1": 0.01, "l2": 0.3, "standardize": True}),
    ("softmax", gd.SGD("auto"), {"l1": 0.01}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "optimizer", "options"), SELECTION, ids=str)
def test_the_same_bytes_on_all_backends(loss, optimizer, options):
    X, y = rows(200, 70), targets(loss, 200)
    for batch_size in (1, 7, 128, None):
        common = {"loss": loss, "optimizer": optimizer, "batch_size": batch_size, "epochs": 4}
        weights = np.arange(200) % 4 + 1
        results = [
            gd.fit(X, y, sample_weight=weights, trace="coef", **common, **options, backend=backend)
            for backend in _backends.TABLE
        ]
        for name in ("coef", "intercept"):
            assert len({getattr(r.history, name).tobytes() for r in results}) == 1
        for name in ("loss", "val_loss", "grad_norm", "lr"):
            assert len({getattr(r.history, name).tobytes() for r in results}) == 1
        assert len({r.digest for r in results}) == 1
        assert len({r.decision_function(X).tobytes() for r in results}) == 1


def test_the_same_bytes_for_any_number_of_threads():
    X = sp.csr_array(
        (np.arange(1.0, 60_001) / 1e4, np.arange(60_000) * 7919 % 50, np.arange(0, 60_001, 3))
    )
    y = targets("logistic", 20_000)
    for batch_size in (1, 512, None):
        common = {"loss": "logistic", "epochs": 2, "batch_size": batch_size, "backend": FASTEST}
        digests = {gd.fit(X, y, threads=threads, **common).digest for threads in (1, 2, 3)}
        assert len(digests) == 1


def shuffled_entries(X, random):
    """The same rows, the entries of each in another order, and some as sums of two."""
    data, indices, indptr = [], [], [0]
    for i in range(X.shape[0]):
        part = slice(X.indptr[i], X.indptr[i + 1])
        order = random.permutation(X.indptr[i + 1] - X.indptr[i])
        x, j = X.data[part][order], X.indices[part][order]
        half = x / 2  # exact, and so is the sum
        data += [*np.where(order % 3 == 0, half, x), *half[order % 3 == 0]]
        indices += [*j, *j[order % 3 == 0]]
        indptr.append(len(data))
    return sp.csr_array((np.array(data), np.array(indices), np.array(indptr)), shape=X.shape)


def wide(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


FORMS = {
    "matrix": sp.csr_matrix,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "lil": sp.lil_array,
    "dok": sp.dok_array,
    "bsr": lambda X: sp.bsr_array(X, blocksize=(1, 1)),
    "dia": sp.dia_array,
    "int64 indices": wide,
    "unsorted and twice": lambda X: shuffled_entries(X, np.random.default_rng(0)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{"batch_size": 1, "l1": 0.01}, {"batch_size": 7}, {}], ids=str)
def test_other_forms_have_the_digest_of_the_canonical_one(form, options):
    X, y = rows(), targets("logistic")
    X.eliminate_zeros()  # not all forms can store them
    given = FORMS[form](X)
    before = given.copy()
    common = {"loss": "logistic", "lr": 0.1, "epochs": 5, "backend": FASTEST} | options
    expected = gd.fit(X, y, **common)
    assert gd.fit(given, y, **common).digest == expected.digest
    assert np.array_equal(expected.predict_proba(given), expected.predict_proba(X))
    assert np.array_equal(given.toarray(), before.toarray())
    assert given.nnz == before.nnz


@pytest.mark.parametrize("options", [{"batch_size": 1, "l2": 0.3}, {"batch_size": 7}, {}], ids=str)
def test_zeros_that_are_stored_change_nothing(options):
    X, y = rows(), targets("logistic")
    stored = sp.bsr_array(X, blocksize=(4, 37))
    X.eliminate_zeros()
    assert stored.nnz > 2 * X.nnz
    common = {"loss": "logistic", "lr": 0.1, "epochs": 5, "backend": FASTEST} | options
    for l1 in (0.0, 0.01):
        common["l1"] = l1
        assert gd.fit(stored, y, **common).digest == gd.fit(X, y, **common).digest


@pytest.mark.parametrize("optimizer", [gd.SGD(0.1), gd.SGD(0.1, momentum=0.5), gd.Adagrad(0.1)])
@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("l2", [1e-9, 1.0, 4.0, 4.999, 5.0, 9.0, 10.0, 15.0])
@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_strong_l2(l2, l1, optimizer, batch_size):
    """Thousands of steps of a scale that falls by up to a half, of rates with lr * l2 from 1/2 on as well."""
    X, y = rows(), targets("squared_error")
    options = {"l1": l1, "l2": l2, "optimizer": optimizer, "batch_size": batch_size, "epochs": 60}
    compared(X, y, 1e-11, loss="huber", **options)


@pytest.mark.parametrize("rare", [1, 2])
def test_a_scale_that_underflows_between_two_visits(rare):
    """A column of one row in 3,000, of which 4 l2 halves the weights in each of the other steps."""
    X = sp.lil_array((3000, 3))
    X[:, 0] = 1.0
    X[1500 : 1500 + rare, 1] = 2.0
    X = sp.csr_array(X)
    common = {
        "lr": 0.1,
        "l2": 4.9,
        "shuffle": False,
        "batch_size": 1,
        "coef_init": [1.0, 1e6, 1e300],
    }
    y = np.linspace(-1, 1, 3000)
    r = gd.fit(X, y, **common, loss="huber", epochs=2, backend=FASTEST)
    dense = gd.fit(X.toarray(), y, **common, loss="huber", epochs=2, backend=FASTEST)
    np.testing.assert_allclose(r.coef, dense.coef, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(r.history.loss, dense.history.loss, rtol=1e-10)


def test_l1_alone_over_many_steps(backend):
    """What is made up for at once is the shrinking of each of 5,000 steps."""
    random = np.random.default_rng(0)
    column = random.integers(0, 2000, 5000)
    X = sp.csr_array((random.standard_normal(5000), column, np.arange(5001)), shape=(5000, 2000))
    y = random.standard_normal(5000)
    common = {"lr": 0.05, "batch_size": 1, "epochs": 2, "coef_init": random.standard_normal(2000)}
    for l1 in (1e-6, 1e-3):
        got = gd.fit(X, y, l1=l1, **common, backend=backend)
        dense = gd.fit(X.toarray(), y, l1=l1, **common, backend=FASTEST)
        np.testing.assert_allclose(got.coef, dense.coef, rtol=1e-10, atol=1e-12)
        assert ((got.coef == 0) == (dense.coef == 0)).all()
        assert np.count_nonzero(got.coef) > 0


# The growth from what is in memory now to the most that was, over the size of the CSR arrays. Not by getrusage, whose
# peak a process may inherit from the one that started it, and which what was freed before the fit would hide behind.
PEAK = """
import numpy as np, scipy.sparse as sp, gdfast as gd

def memory(field):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field + ":"))

gd.fit(sp.csr_array(np.eye(4)), [0, 1, 0, 1], loss="logistic", l1=1e-6, epochs=1, backend="cpp")
n, d, stored = 100_000, 1_000_000, 30
random = np.random.default_rng(0)
indices = np.empty((n, stored), np.int32)
indices[:] = np.arange(stored) * (d // stored) + random.integers(0, d // stored, (n, 1))
data = random.standard_normal(n * stored)
X = sp.csr_array((data, indices.ravel(), np.arange(0, n * stored + 1, stored, np.int32)), shape=(n, d))
y = (random.random(n) < 0.5).astype(float)
size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = memory("VmRSS")
{work}
print((memory("VmHWM") - before) / size)
"""


def grown(python, work):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process's memory can be reset on Linux alone")
    return float(python(PEAK.replace("{work}", work)))


def test_the_measure_of_memory(python):
    """It sees what is allocated and freed again, twice the size of the CSR arrays."""
    assert grown(python, "a = np.ones(2 * size // 8); del a") == pytest.approx(2, abs=0.2)
    assert abs(grown(python, "pass")) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    ["lr=0.1, batch_size=1", "lr=0.1, batch_size=64", "lr=0.1", "batch_size=1", "lr='auto'"],
)
def test_a_million_columns_in_little_memory(python, options):
    """100,000 rows of 30 entries, of which the dense ones would need 800 GB: what is stored, three times over."""
    fit = f"gd.fit(X, y, loss='logistic', l1=1e-6, l2=1e-4, epochs=1, backend='cpp', {options})"
    work = (
        f"r = {fit}\nassert np.isfinite(r.history.loss).all() and np.count_nonzero(r.coef) > d / 2"
    )
    growth = grown(python, work)
    print(options, growth)
    assert 0.3 < growth <= 3  # the weights alone are a sixth


@pytest.mark.parametrize("loss", losses.TABLE)
def test_predictions(backend, loss):
    """Those for dense rows, with the same bytes of all backends."""
    X, y = rows(), targets(loss)
    r = gd.fit(X, y, loss=loss, lr=0.01, epochs=2, backend="numpy")
    other = rows(33, seed=9)
    for method in ("decision_function", "predict", "predict_proba"):
        if method != "predict_proba" or hasattr(r.loss, "probability"):
            for dtype in ("float64", "float32"):
                expected = getattr(r, method)(other.astype(dtype))
                got = getattr(dataclasses.replace(r, backend=backend), method)(other.astype(dtype))
                assert got.tobytes() == expected.tobytes()
            dense = getattr(r, method)(other.toarray())
            np.testing.assert_allclose(getattr(r, method)(other), dense, rtol=1e-12, atol=1e-12)


def test_predictions_are_products():
    X, y = rows(), targets("squared_error")
    r = gd.fit(X, y, lr=0.01, epochs=2, backend=FASTEST)
    np.testing.assert_allclose(r.predict(X), X @ r.coef + r.intercept, rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match="X has 36 features, the model has 37"):
        r.predict(X[:, :36])


# Index arrays that are wrong, and the words of the error.
BROKEN = {
    "indices[4] is 37": lambda X: X.indices.__setitem__(4, 37),
    "indices[4] is -1": lambda X: X.indices.__setitem__(4, -1),
    "indices[0] is 2147483647": lambda X: X.indices.__setitem__(0, 2**31 - 1),
    "indptr[0] is 1": lambda X: X.indptr.__setitem__(0, 1),
    "indptr[3] is 100000": lambda X: X.indptr.__setitem__(2, 10**5),
    "indptr[1] is -5": lambda X: X.indptr.__setitem__(1, -5),
    "past the end": lambda X: X.indptr.__setitem__(-1, 10**9),
    "indptr has 3 entries": lambda X: setattr(X, "indptr", X.indptr[:3]),
    "data, which has 7": lambda X: setattr(X, "data", X.data[:7]),
    "indices, which has 7": lambda X: setattr(X, "indices", X.indices[:7]),
    "indices must be a 1-D array of integers": lambda X: setattr(X, "indices", X.indices / 1.0),
}


@pytest.mark.parametrize("words", BROKEN)
def test_broken_index_arrays_are_refused(words):
    """By all that takes rows, before a kernel follows them."""
    X, y = rows(), targets("squared_error")
    r = gd.fit(X, y, lr=0.01, epochs=1, backend=FASTEST)
    broken = X.copy()
    BROKEN[words](broken)
    message = "indptr[3] is" if words == "indptr[3] is 100000" else words
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        gd.fit(broken, y, lr=0.01, epochs=1, backend=FASTEST)
    for use in (r.predict, r.decision_function):
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            use(broken)
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        gd.fit(X, y, lr=0.01, epochs=1, validation=(broken, y), backend=FASTEST)


# Changes to sound arrays, at a place drawn at random.
CHANGES = {
    "nothing": lambda data, indices, indptr, k: None,
    "nan": lambda data, indices, indptr, k: data.__setitem__(k % len(data), np.nan),
    "zero": lambda data, indices, indptr, k: data.__setitem__(k % len(data), -0.0),
    "another column": lambda data, indices, indptr, k: indices.__setitem__(
        k % len(indices), k // 7 % 45 - 3
    ),
    "another start": lambda data, indices, indptr, k: indptr.__setitem__(
        k % len(indptr), indptr[k % len(indptr)] + k // 7 % 5 - 2
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_canonical_is_what_scipy_says(change):
    answers = Counter()
    for seed in range(400):
        random = np.random.default_rng(seed)
        n = int(random.choice([1, 5, 256, 700]))
        X = sp.random_array((n, 40), density=0.08, format="csr", rng=random)
        data = X.data.astype(random.choice([np.float32, np.float64]))
        indptr = X.indptr.astype(random.choice([np.int32, np.int64]))
        indices = X.indices.astype(np.int32)
        if len(data):
            CHANGES[change](data, indices, indptr, int(random.integers(10**6)))
        try:
            there = sp.csr_array((data, indices, indptr), shape=X.shape)
            there.check_format(full_check=True)
            canonical = there.has_canonical_format and bool((data[: indptr[-1]] != 0).all())
        except ValueError:
            canonical = False
        assert _core.is_canonical(data, indices, indptr, *X.shape) == canonical
        answers[canonical] += 1
    assert answers[change in ("nothing", "nan")] > 150


def test_arrays_that_must_be_copied_are_not_canonical():
    X = rows()
    X.eliminate_zeros()
    assert _core.is_canonical(X.data, X.indices, X.indptr, *X.shape)
    unaligned = np.zeros(X.data.nbytes + 1, np.uint8)[1:].view(X.dtype)
    unaligned[:] = X.data
    for data in X.data.repeat(2)[::2], X.data.astype(">f8"), X.data.astype(int), unaligned:
        assert not _core.is_canonical(data, X.indices, X.indptr, *X.shape)
    assert not _core.is_canonical(X.data, X.indices.astype(np.int64), X.indptr, *X.shape)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 7}, {}, {"epochs": 0}], ids=str
)
def test_values_that_are_not_finite_are_named(value, options):
    X, y = rows(), targets("squared_error")
    X.data[77] = value
    i, j = np.argwhere(~np.isfinite(X.toarray()))[0]
    with pytest.raises(ValueError, match=re.escape(f"X[{i}, {j}] is {value}")):
        gd.fit(X, y, **{"lr": 0.01, "epochs": 1} | options, backend=FASTEST)
