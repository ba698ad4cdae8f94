"""A fit minimises the loss and its penalties: it stops by them, and clipping leads to no other minimum."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

import gdfast as gd

X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5] + np.arange(20) % 3

# Rows for objectives whose minimum is known: least squares with penalties.
ROWS = np.random.default_rng(0).normal(size=(200, 3))
SUMS = ROWS @ [1.0, -2.0, 0.5] + 0.1 * np.random.default_rng(1).normal(size=200) + 3
WITH_ONE = np.column_stack([ROWS, np.ones(200)])

each_batch = pytest.mark.parametrize("batch_size", [None, 32, 1])


def ridge(l2):
    """The minimum of mean (p - y)^2 + l2/2 sum w^2, the intercept last."""
    curvature = 2 * WITH_ONE.T @ WITH_ONE / 200 + np.diag([l2] * 3 + [0])
    return np.linalg.solve(curvature, 2 * WITH_ONE.T @ SUMS / 200)


def lasso(l1, decay=0.0):
    """The minimum of mean (p - y)^2 + l1 sum abs(w) + decay/2 (sum w^2 + b^2), one weight at a time."""
    w = np.zeros(4)
    for _ in range(300):
        for j, threshold in enumerate([l1, l1, l1, 0.0]):
            column = WITH_ONE[:, j]
            slope = 2 * np.mean(column * (SUMS - WITH_ONE @ w + column * w[j]))
            curvature = 2 * np.mean(column**2) + decay
            w[j] = np.sign(slope) * max(abs(slope) - threshold, 0) / curvature
    return w


def least_slopes(slope, w, l1):
    at_zero = np.sign(slope) * np.maximum(abs(slope) - l1, 0)
    return np.where(w == 0, at_zero, slope + l1 * np.sign(w))


# Optimizers -> the strength of the penalty that their weight decay is.
DECAYING = {
    "sgd": (gd.SGD(0.1, weight_decay=0.5), 0.5),
    "momentum": (gd.SGD(0.05, momentum=0.5, weight_decay=0.5), 0.5),
    "adam": (gd.Adam(0.03, weight_decay=0.5), 0.5),
    "nadam": (gd.NAdam(0.03, weight_decay=0.5), 0.5),
    "asgd": (gd.ASGD(0.1, lambd=0.2, alpha=0.0, weight_decay=0.3), 0.5),
}
DECOUPLED = {
    "adamw": (gd.AdamW(0.01, weight_decay=0.5), 0.0),
    "nadam decoupled": (gd.NAdam(0.01, weight_decay=0.5, decoupled_weight_decay=True), 0.0),
    "lion": (gd.Lion(0.001, weight_decay=0.5), 0.0),
}


@pytest.mark.parametrize(("optimizer", "decay"), DECAYING.values(), ids=DECAYING)
@pytest.mark.parametrize("l1", [0.0, 0.4])
def test_tol_is_reached_at_the_minimum_with_the_weight_decay(optimizer, decay, l1):
    r = gd.fit(ROWS, SUMS, optimizer=optimizer, l1=l1, tol=1e-7, epochs=20_000)
    assert (r.stop_reason, r.converged) == ("tol", True)
    np.testing.assert_allclose([*r.coef, r.intercept], lasso(l1, decay), atol=1e-6)
    assert r.history.grad_norm[-1] <= 2e-7


@pytest.mark.parametrize("batch_size", [None, 7, 1])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("optimizer", "decay"), (DECAYING | DECOUPLED).values(), ids=DECAYING | DECOUPLED
)
def test_the_gradient_and_the_objective_of_an_epoch(batch_size, fit_intercept, optimizer, decay):
    """Of two outputs: of the full batch before the step, as the loss is."""
    several, l1, l2 = np.c_[y, -y], 0.1, 0.2
    history = gd.fit(
        X,
        several,
        batch_size=batch_size,
        fit_intercept=fit_intercept,
        optimizer=dataclasses.replace(optimizer, lr=0.005),
        l1=l1,
        l2=l2,
        epochs=3,
        intercept_init=[1.0, 2.0],
        trace="coef",
    ).history
    measured = slice(-1) if batch_size is None else slice(1, None)
    w, b = history.coef[measured], history.intercept[measured]
    squares = (w**2).sum(axis=(1, 2))
    expected = history.loss + l1 * abs(w).sum(axis=(1, 2)) + l2 / 2 * squares
    expected += decay / 2 * (squares + fit_intercept * (b**2).sum(axis=1))
    np.testing.assert_allclose(history.objective, expected, rtol=1e-13)
    if batch_size is None:
        residuals = np.einsum("nd,ekd->enk", X, w) + b[:, None] - several
        slope = 2 * np.einsum("enk,nd->ekd", residuals, X) / 20 + (l2 + decay) * w
        shift = fit_intercept * (2 * residuals.mean(axis=1) + decay * b)
        norms = (least_slopes(slope, w, l1) ** 2).sum(axis=(1, 2)) + (shift**2).sum(axis=1)
        np.testing.assert_allclose(history.grad_norm, np.sqrt(norms), rtol=1e-12)


@pytest.mark.slow
@each_batch
def test_the_bits_of_the_objective(batch_size):
    """On all backends, dense and sparse, of several outputs; without penalties those of the loss."""
    options = {"batch_size": batch_size, "epochs": 3, "optimizer": gd.SGD(0.01, weight_decay=0.2)}
    for dtype in (np.float64, np.float32):
        Z, several = X.astype(dtype), np.c_[y, -y, y + 1]
        for penalties in ({}, {"l1": 0.1}, {"l2": 0.3}, {"l1": 0.1, "l2": 0.3, "clip_norm": 1.0}):
            found = {
                backend: gd.fit(Z, several, **options, **penalties, backend=backend).history
                for backend in ("cpp", "numba", "numpy")
            }
            assert len({history.objective.tobytes() for history in found.values()}) == 1
            assert len({history.grad_norm.tobytes() for history in found.values()}) == 1
            assert found["cpp"].objective.dtype == dtype
    history = gd.fit(X, y, batch_size=batch_size, epochs=3).history
    assert history.objective.tobytes() == history.loss.tobytes()


@each_batch
def test_patience_judges_by_the_objective(backend, batch_size):
    """From the least squares, where the loss can but rise, to the minimum with the penalty."""
    start, best = ridge(0.0), ridge(2.0)
    r = gd.fit(
        ROWS,
        SUMS,
        l2=2.0,
        coef_init=start[:3],
        intercept_init=start[3],
        epochs=500,
        patience=5,
        batch_size=batch_size,
        backend=backend,
    )

    def objective(w):
        return np.mean((WITH_ONE @ w - SUMS) ** 2) + np.sum(w[:3] ** 2)

    assert r.stop_reason == "patience"
    near = 1.5 if batch_size == 1 else 1.03  # single rows keep moving the weights
    assert objective(start) > 1.8 * objective(best)
    assert objective(np.array([*r.coef, r.intercept])) < near * objective(best)
    assert r.history.loss[0] < r.history.loss[-1]


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize(
    "penalties", [{"l2": 2.0}, {"l1": 1.0}, {"optimizer": gd.SGD(weight_decay=2.0)}], ids=str
)
def test_schedules_hear_the_objective(batch_size, penalties):
    start, lr = ridge(0.0), gd.schedules.Adaptive(0.01, patience=1, tol=1e-3)
    options = {"coef_init": start[:3], "intercept_init": start[3], "batch_size": batch_size}
    history = gd.fit(ROWS, SUMS, lr=lr, epochs=12, **options, **penalties).history
    state, rates = lr.start(), []
    for value in history.objective:
        rates.append(state.rate)
        state = lr.heed(state, value)
    assert history.lr.tolist() == rates
    assert np.diff(history.objective[:3]).max() < 0 < np.diff(history.loss[:3]).min()


@pytest.mark.parametrize("end", ["tol", "callback", "epochs"])
def test_the_best_weights_are_returned_however_a_fit_ends(backend, end):
    random = np.random.default_rng(3)
    rows, far = random.normal(size=(20, 15)), random.normal(size=(200, 15))
    targets, aims = rows[:, 0] + 2 * random.normal(size=20), far[:, 0] + 2 * random.normal(size=200)
    r = gd.fit(
        rows,
        targets,
        validation=(far, aims),
        patience=20_000,
        epochs=400 if end == "epochs" else 20_000,
        tol=1e-3 if end == "tol" else 0.0,
        callback=(lambda seen: seen.n_epochs == 300) if end == "callback" else None,
        backend=backend,
    )
    assert (r.stop_reason, r.converged) == (end, end == "tol")
    lowest = r.history.val_loss.min()
    assert np.mean((r.predict(far) - aims) ** 2) == pytest.approx(lowest, rel=1e-13)
    assert r.history.val_loss[-1] > 1.5 * lowest


CLIPPED = {
    "sgd": gd.SGD(0.1),
    "momentum": gd.SGD(0.05, momentum=0.5),
    "nesterov": gd.SGD(0.05, momentum=0.5, nesterov=True),
    "adam": gd.Adam(0.02),
}


@pytest.mark.parametrize("optimizer", CLIPPED.values(), ids=CLIPPED)
@pytest.mark.parametrize("kind", ["dense", "sparse", "stream", "two outputs"])
def test_clipping_with_l1_leads_to_the_minimum(optimizer, kind):
    """Where the gradient of the loss, which is l1 there, is longer than clip_norm."""
    options = {"l1": 1.2, "clip_norm": 0.5, "optimizer": optimizer, "epochs": 5000, "tol": 1e-7}
    if kind == "stream":
        blocks = [(ROWS[k : k + 70], SUMS[k : k + 70]) for k in range(0, 200, 70)]
        r = gd.fit_stream(blocks, **options)
    elif kind == "two outputs":
        r = gd.fit(ROWS, np.c_[SUMS, SUMS], **options)
        assert np.array_equal(r.coef[0], r.coef[1])
        r = dataclasses.replace(r, coef=r.coef[0], intercept=r.intercept[0])
    else:
        r = gd.fit(csr_array(ROWS) if kind == "sparse" else ROWS, SUMS, **options)
    assert r.stop_reason == "tol"
    assert r.history.grad_norm[0] > 0.5
    expected = lasso(1.2)
    assert np.count_nonzero(expected[:3]) == np.count_nonzero(r.coef) == 2
    np.testing.assert_allclose([*r.coef, r.intercept], expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_clipped_step_with_l1(backend, batch_size):
    """The plain step: its rate and the threshold of l1 are scaled alike."""
    options = {"l1": 0.3, "l2": 0.1, "clip_norm": 0.4, "lr": 0.05, "epochs": 2, "shuffle": False}
    r = gd.fit(X, y, batch_size=batch_size, backend=backend, **options)
    w, b, size = np.zeros(3), 0.0, batch_size or 20
    for first in [*range(0, 20, size)] * 2:
        Z, t = X[first : first + size], y[first : first + size]
        residual = Z @ w + b - t
        slope, shift = 2 * Z.T @ residual / len(t) + 0.1 * w, 2 * residual.mean()
        least = least_slopes(slope, w, 0.3)
        rate = 0.05 * min(1.0, 0.4 / (np.sqrt(least @ least + shift * shift) + 1e-6))
        w = w - rate * slope
        w = np.sign(w) * np.maximum(abs(w) - rate * 0.3, 0)
        b -= rate * shift
    np.testing.assert_allclose([*r.coef, r.intercept], [*w, b], rtol=1e-12)


# Rows of weight 0 that would overflow every loss, and others that would not.
COUNTED = np.r_[True, np.arange(1, 20) % 3 > 0]
OPTIONS = {
    "full batch": {"lr": 0.01},
    "rate by the data": {},
    "mini-batch": {"batch_size": 6, "lr": 0.01},
    "per sample": {"batch_size": 1, "lr": 0.01},
    "per sample, penalised": {"batch_size": 1, "lr": 0.01, "l1": 0.01, "l2": 0.1},
    "per sample by the data": {"batch_size": 1},
    "momentum": {"optimizer": gd.SGD(0.001, momentum=0.9), "batch_size": 3, "average": True},
    "adam": {"optimizer": gd.Adam(0.01), "clip_norm": 1.0},
    "standardized": {"standardize": True},
    "validation": {"validation": 0.3, "patience": 3, "lr": 0.01},
}


def spoiled(a, by):
    """With numbers of this size in the rows that do not count."""
    a = np.array(a)
    a[~COUNTED] = by * np.where(np.arange(len(a)) % 2, 1, -1)[~COUNTED, *(None,) * (a.ndim - 1)]
    return a


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("loss", gd.losses.TABLE)
def test_rows_of_weight_0_do_not_count(options, loss):
    """Whatever they hold, the bits are the same; of the full batch they are up to rounding those without these rows."""
    kind = gd.losses.TABLE[loss].targets
    given = {"signs": y > 0, "classes": np.digitize(y, [-2, 2]), "counts": np.abs(y)}.get(kind, y)
    for dtype, size in (np.float64, 1e300), (np.float32, 3e38):
        Z = X.astype(dtype)
        fits = [
            gd.fit(rows, targets, loss=loss, sample_weight=2 * COUNTED, epochs=4, **options)
            for rows, targets in (
                (Z, given),
                (spoiled(Z, size), given),
                (Z, np.where(COUNTED, given, size) if kind in ("numbers", "counts") else given),
                (spoiled(Z, size), spoiled(given, size) if kind == "numbers" else given),
            )
        ]
        assert len({r.digest for r in fits}) == 1
        assert len({r.history.val_loss.tobytes() for r in fits}) == 1
        if options == OPTIONS["full batch"]:
            alone = gd.fit(Z[COUNTED], given[COUNTED], loss=loss, epochs=4, **options)
            tolerance = 50 * np.finfo(dtype).eps
            np.testing.assert_allclose(fits[1].coef, alone.coef, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(fits[1].history.loss, alone.history.loss, rtol=tolerance)


@pytest.mark.parametrize("batch_size", [None, 6, 1])
@pytest.mark.parametrize("options", [{}, {"l1": 0.01, "l2": 0.1, "standardize": True}], ids=str)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_rows_of_weight_0_in_streams_and_sparse_rows(batch_size, options, sparse):
    make = csr_array if sparse else np.asarray
    weights = np.r_[np.zeros(5), COUNTED[5:]]
    few = X * (np.arange(60).reshape(20, 3) % 4 > 0)
    options = {"batch_size": batch_size, "lr": 0.01, "epochs": 4, **options}
    for loss, targets in ("poisson", np.abs(y)), ("squared_error", y), ("softmax", y > 0):
        digests = set()
        for rows in few, np.where((weights == 0)[:, None], 1e200 * few, few):
            given = {"loss": loss, **options}
            blocks = [
                (make(rows[k : k + 4]), targets[k : k + 4], weights[k : k + 4])
                for k in range(0, 20, 4)
            ]
            digests.add(
                gd.fit(make(rows), targets, sample_weight=weights, shuffle=False, **given).digest
            )
            digests.add(gd.fit_stream(blocks, **given).digest)
        assert len(digests) == 1


def test_rows_of_weight_0_must_be_finite_all_the_same():
    for row, column in (0, 1), (17, 2):
        bad, weights = X.copy(), np.ones(20)
        bad[row, column], weights[row] = np.nan, 0
        with pytest.raises(ValueError, match=rf"^X\[{row}, {column}\] is nan"):
            gd.fit(bad, y, sample_weight=weights, lr=0.01)


def test_weights_that_float32_rounds_to_0():
    Z, weights = X.astype("float32"), np.where(COUNTED, 1.0, 1e-60)
    harmful = gd.fit(spoiled(Z, 1e30), y, sample_weight=weights, lr=0.01, epochs=3)
    assert harmful.digest == gd.fit(Z, y, sample_weight=weights, lr=0.01, epochs=3).digest
