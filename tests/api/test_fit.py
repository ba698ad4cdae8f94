"""Every option of `fit` does what it says."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

import gdfast as gd

X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5] + np.arange(20) % 3

BATCHES = {"full batch": None, "mini-batch": 6, "per sample": 1}
each_batch = pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)


def test_a_division_by_zero_is_a_divergence(backend):
    Z = X * [1.0, 0.0, 1.0]
    with pytest.raises(gd.DivergenceError):
        gd.fit(Z, y, optimizer=gd.Adam(lr=0.01, eps=0), backend=backend)


def params(history, epoch):
    """The weights after so many epochs, the intercept last."""
    return [*history.coef[epoch], history.intercept[epoch]]


def mean_squares(r, X, y):
    return np.mean((r.predict(X) - y) ** 2)


def gradient(r):
    residual = r.predict(X) - y
    return 2 * np.array([*X.T @ residual, residual.sum()]) / len(X)


class Keep:
    """A callback that keeps what it is given and answers with each answer in turn."""

    def __init__(self, *answers):
        self.seen = []
        self.answers = answers

    def __call__(self, result):
        self.seen.append(result)
        if len(self.seen) > len(self.answers):
            return None
        answer = self.answers[len(self.seen) - 1]
        if isinstance(answer, type) and issubclass(answer, BaseException):
            raise answer
        return answer


@each_batch
def test_what_a_fit_returns(backend, batch_size):
    r = gd.fit(X, y, batch_size=batch_size, epochs=7, lr=0.01, backend=backend)
    assert isinstance(r, gd.FitResult)
    assert r.coef.shape == (3,)
    assert type(r.intercept) is float
    assert r.n_epochs == 7
    assert r.n_steps == 7 * {None: 1, 6: 4, 1: 20}[batch_size]
    assert not r.converged
    assert r.stop_reason == "epochs"
    assert r.loss == gd.losses.SquaredError()
    assert r.optimizer == gd.SGD(lr=0.01)
    assert r.backend == backend
    assert r.feature_names is None
    history = r.history
    for name in ("loss", "lr", "grad_norm", "seconds"):
        assert getattr(history, name).shape == (7,)
    assert history.val_loss.shape == (0,)
    assert history.coef is None
    assert history.intercept is None
    assert (history.lr == 0.01).all()
    assert history.loss[-1] < history.loss[0]
    assert history.seconds[0] > 0
    assert (np.diff(history.seconds) >= 0).all()


def test_the_first_loss_and_gradient_are_those_of_the_start(backend):
    r = gd.fit(X, y, epochs=1, backend=backend)
    assert r.history.loss[0] == pytest.approx(np.mean(y**2), rel=1e-14)
    start = gd.fit(X, y, epochs=0, backend=backend)
    assert r.history.grad_norm[0] == pytest.approx(np.linalg.norm(gradient(start)), rel=1e-14)


@each_batch
def test_no_epoch(backend, batch_size):
    options = {"batch_size": batch_size, "epochs": 0, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, **options)
    assert (r.coef.tolist(), r.intercept) == ([0.0, 0.0, 0.0], 0.0)
    assert (r.n_epochs, r.n_steps, r.stop_reason) == (0, 0, "epochs")
    assert len(r.history.loss) == len(r.history.seconds) == 0
    r = gd.fit(X, y, coef_init=[1, 2, 3], intercept_init=4, average=True, patience=1, **options)
    assert [*r.coef, r.intercept] == params(r.history, 0) == [1.0, 2.0, 3.0, 4.0]


@each_batch
@pytest.mark.parametrize("standardize", [False, True])
def test_the_trace(backend, batch_size, standardize):
    options = {"standardize": standardize, "batch_size": batch_size, "backend": backend}
    options |= {"coef_init": [1.0, -2.0, 0.0], "intercept_init": 4.0, "lr": 0.01}
    r = gd.fit(X, y, epochs=5, trace="coef", **options)
    assert r.history.coef.shape == (6, 3)
    assert r.history.intercept.shape == (6,)
    np.testing.assert_allclose(params(r.history, 0), [1.0, -2.0, 0.0, 4.0], rtol=1e-14)
    assert params(r.history, 5) == [*r.coef, r.intercept]
    for epoch in (1, 4):
        shorter = gd.fit(X, y, epochs=epoch, **options)
        assert params(r.history, epoch) == [*shorter.coef, shorter.intercept]
    assert r.digest == gd.fit(X, y, epochs=5, **options).digest


def test_without_an_intercept(backend):
    options = {"fit_intercept": False, "backend": backend}
    assert gd.fit(X, y, **options).intercept == 0.0
    r = gd.fit(X, y, intercept_init=2.5, optimizer=gd.SGD(0.01, 0.9, weight_decay=0.1), **options)
    assert r.intercept == 2.5
    shifted = gd.fit(X, y - 2.5, epochs=1000, **options)
    r = gd.fit(X, y, epochs=1000, intercept_init=2.5, **options)
    np.testing.assert_allclose(r.coef, shifted.coef, rtol=1e-12)


@pytest.mark.parametrize("given", [20, 21, 10**30])
def test_a_batch_is_at_most_all_rows(backend, given):
    r = gd.fit(X, y, batch_size=given, epochs=5, backend=backend)
    assert r.n_steps == 5
    full = gd.fit(X, y, epochs=5, backend=backend)
    np.testing.assert_allclose(r.history.loss, full.history.loss, rtol=1e-12)


def test_tol_of_the_full_batch(backend):
    options = {"tol": 1e-3, "epochs": 10_000, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, **options)
    assert r.converged
    assert r.stop_reason == "tol"
    assert 1 < r.n_epochs < 10_000
    assert len(r.history.loss) == len(r.history.coef) - 1 == r.n_epochs
    assert r.n_steps == r.n_epochs - 1
    assert abs(gradient(r)).max() <= 1e-3
    assert r.history.grad_norm[-1] == pytest.approx(np.linalg.norm(gradient(r)), rel=1e-6)
    before = gd.fit(X, y, **options | {"epochs": r.n_epochs - 2})
    assert abs(gradient(before)).max() > 1e-3
    assert not before.converged
    assert not gd.fit(X, y, epochs=50, backend=backend).converged  # tol=0 stops nothing here
    exact = gd.fit([[1.0]], [0.0], epochs=50, backend=backend)
    assert (exact.converged, exact.n_epochs, exact.n_steps) == (True, 1, 0)


def test_tol_where_the_start_is_far(backend):
    r = gd.fit([[1.0]], [1e-3], coef_init=[1e4], tol=1e9, backend=backend)
    assert (r.stop_reason, r.n_epochs, r.n_steps) == ("tol", 1, 0)


def test_tol_with_patience_returns_what_converged(backend):
    r = gd.fit(X, y, tol=1e-3, patience=5, epochs=10_000, backend=backend)
    assert r.converged
    assert abs(gradient(r)).max() <= 1e-3


def test_a_tol_does_not_stop_batches(backend):
    r = gd.fit(X, y, tol=1e9, batch_size=6, epochs=5, backend=backend)
    assert (r.n_epochs, r.stop_reason, r.converged) == (5, "epochs", False)


def waited(losses, threshold):
    """The best epoch, and how many epochs were waited after each."""
    best, waits = 0, [0]
    for epoch in range(1, len(losses)):
        better = losses[best] - losses[epoch] > threshold
        best, waits = (epoch, [*waits, 0]) if better else (best, [*waits, waits[-1] + 1])
    return best, waits


@pytest.mark.parametrize("validation", [None, (X[:5], y[:5] + 3), 0.3], ids=["", "pair", "part"])
@pytest.mark.parametrize("batch_size", [6, 1])
@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("tol", [0.0, 0.3])
def test_patience_returns_the_best_weights(backend, validation, batch_size, patience, tol):
    r = gd.fit(
        X,
        y,
        validation=validation,
        patience=patience,
        tol=tol,
        batch_size=batch_size,
        epochs=500,
        trace="coef",
        backend=backend,
    )
    assert r.stop_reason == "patience"
    assert r.n_epochs < 500
    history = r.history
    best, waits = waited(history.loss if validation is None else history.val_loss, tol)
    assert waits[-1] == patience
    assert max(waits[:-1]) < patience
    assert [*r.coef, r.intercept] == params(history, best + 1)  # after that epoch
    if isinstance(validation, tuple):
        assert history.val_loss[best] == pytest.approx(mean_squares(r, *validation), rel=1e-14)


@pytest.mark.parametrize("validation", [None, (X[:5], y[:5] + 3)], ids=["", "pair"])
def test_patience_of_the_full_batch(backend, validation):
    """Without validation the loss is measured before the step, so the best weights are those."""
    options = {"epochs": 3000, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, validation=validation, patience=2, **options)
    assert r.stop_reason == "patience"
    history = r.history
    best, waits = waited(history.loss if validation is None else history.val_loss, 0.0)
    assert waits[-2:] == [1, 2]
    assert [*r.coef, r.intercept] == params(history, best + (validation is not None))


def test_patience_that_is_not_spent_returns_the_best_weights_too(backend):
    far = (X[:5], y[:5] + 100)
    options = {"batch_size": 6, "epochs": 40, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, validation=far, patience=40, **options)
    assert r.stop_reason == "epochs"
    assert [*r.coef, r.intercept] == params(r.history, r.history.val_loss.argmin() + 1)
    last = gd.fit(X, y, validation=far, **options)
    assert [*last.coef, last.intercept] == params(last.history, 40)


@each_batch
def test_a_validation_pair(backend, batch_size):
    Xv, yv = X[::2] + 1.0, y[::2]
    options = {"batch_size": batch_size, "epochs": 4, "backend": backend}
    keep = Keep()
    r = gd.fit(X, y, validation=(Xv.tolist(), yv.tolist()), callback=keep, **options)
    assert r.history.val_loss.shape == (4,)
    expected = [mean_squares(seen, Xv, yv) for seen in keep.seen]
    np.testing.assert_allclose(r.history.val_loss, expected, rtol=1e-14)
    assert r.digest == gd.fit(X, y, **options).digest  # it changes nothing in the training


@pytest.mark.parametrize(("fraction", "count"), [(0.3, 6), (0.01, 1), (0.94, 19)])
def test_a_validation_fraction(backend, fraction, count):
    """Row i is the only one with a value in column i, so a weight that stays 0 is a row held out."""
    options = {"validation": fraction, "fit_intercept": False, "backend": backend, "lr": 0.1}

    def held_out(**more):
        r = gd.fit(np.eye(20), np.ones(20), **options | more)
        assert (r.history.val_loss == 1.0).all()
        assert len(r.history.val_loss) == r.n_epochs
        return frozenset(np.flatnonzero(r.coef == 0))

    rows = held_out()
    assert len(rows) == count
    assert rows == held_out(epochs=5) == held_out(batch_size=3)
    assert len({held_out(seed=seed) for seed in range(20)}) > 5


def test_a_validation_fraction_of_classes():
    """Of 14 and 6 rows a quarter is 3.5 and 1.5: 5 rows, of which the first class, by its remainder of a tie, has 4."""
    classes = np.arange(20) % 10 < 3
    held_out = set()
    for loss in ("log_loss", "hinge", "softmax"):
        for seed in range(10):
            options = {
                "loss": loss,
                "validation": 0.25,
                "seed": seed,
                "fit_intercept": False,
                "lr": 0.1,
            }
            r = gd.fit(np.eye(20), classes.astype(int), epochs=1, **options)
            rows = np.atleast_2d(r.coef)[0] == 0
            assert np.bincount(classes[rows]).tolist() == [4, 1]
            held_out.add((seed, tuple(rows.tolist())))
    assert len(held_out) == 10


def test_weights_of_the_rows_have_mean_one(backend):
    for options in ({}, {"validation": 0.5}, {"batch_size": 6}, {"batch_size": 1}):
        digests = {
            gd.fit(
                X, y, sample_weight=weights, epochs=5, lr=0.01, backend=backend, **options
            ).digest
            for weights in (None, np.ones(20), [2] * 20, np.full(20, 1e-300), np.full(20, 1e308))
        }
        assert len(digests) == 1
    only = gd.fit(X, y, sample_weight=np.arange(20) < 5, epochs=50, lr=0.01, backend=backend)
    part = gd.fit(X[:5], y[:5], epochs=50, lr=0.01, backend=backend)
    np.testing.assert_allclose(only.coef, part.coef, rtol=1e-12)
    np.testing.assert_allclose(only.history.loss, part.history.loss, rtol=1e-12)


@each_batch
def test_a_callback_sees_each_epoch(backend, batch_size):
    keep = Keep(False, None, 1, "stop", [True], 0)
    options = {"batch_size": batch_size, "epochs": 6, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, callback=keep, **options)
    assert r.stop_reason == "epochs"
    assert [seen.n_epochs for seen in keep.seen] == [1, 2, 3, 4, 5, 6]
    for epoch, seen in enumerate(keep.seen, start=1):
        assert isinstance(seen, gd.FitResult)
        assert seen.stop_reason == "running"
        assert not seen.converged
        assert np.array_equal(seen.history.loss, r.history.loss[:epoch])
        assert seen.history.coef.shape == (epoch + 1, 3)
        assert [*seen.coef, seen.intercept] == params(r.history, epoch)
        assert seen.n_steps == epoch * r.n_steps // 6
    assert r.digest == gd.fit(X, y, **options).digest


@pytest.mark.parametrize("stop", [True, np.True_, StopIteration], ids=str)
@each_batch
def test_a_callback_stops(backend, batch_size, stop):
    keep = Keep(None, None, stop)
    r = gd.fit(X, y, batch_size=batch_size, callback=keep, backend=backend)
    assert len(keep.seen) == r.n_epochs == 3
    assert r.stop_reason == "callback"
    assert not r.converged
    assert r.digest == gd.fit(X, y, batch_size=batch_size, epochs=3, backend=backend).digest


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, GeneratorExit])
@each_batch
def test_an_error_in_a_callback_comes_through(backend, batch_size, error):
    options = {"batch_size": batch_size, "epochs": 5, "backend": backend}
    before = gd.fit(X, y, **options).digest
    with pytest.raises(error):
        gd.fit(X, y, callback=Keep(None, error), progress=True, **options)
    assert gd.fit(X, y, **options).digest == before


def test_progress(backend, capfd):
    r = gd.fit(X, y, epochs=7, progress=True, backend=backend)
    out, err = capfd.readouterr()
    assert out == ""
    assert "7/7" in err
    assert f"loss={r.history.loss[-1]:.6g}" in err
    assert r.digest == gd.fit(X, y, epochs=7, backend=backend).digest
    assert capfd.readouterr() == ("", "")


def test_progress_is_not_imported_unasked(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    gd.fit(X, y, epochs=1, backend=backend)


@pytest.mark.parametrize("batch_size", [None, 20])
def test_average_is_the_mean_of_the_iterates(backend, batch_size):
    """One step an epoch, so that the trace holds every iterate; the start is none."""
    options = {"batch_size": batch_size, "epochs": 9, "coef_init": [9.0, 9.0, 9.0]}
    keep = Keep()
    r = gd.fit(X, y, average=True, trace="coef", callback=keep, backend=backend, **options)
    for epoch, seen in enumerate(keep.seen, start=1):
        np.testing.assert_allclose(
            seen.coef, r.history.coef[1 : epoch + 1].mean(axis=0), rtol=1e-14
        )
    np.testing.assert_allclose(r.coef, r.history.coef[1:].mean(axis=0), rtol=1e-14)
    assert r.intercept == pytest.approx(r.history.intercept[1:].mean(), rel=1e-14)
    plain = gd.fit(X, y, trace="coef", backend=backend, **options)
    assert np.array_equal(plain.history.coef, r.history.coef)


@each_batch
def test_the_validation_loss_is_that_of_the_average(backend, batch_size):
    keep = Keep()
    options = {"average": True, "batch_size": batch_size, "epochs": 5, "backend": backend}
    r = gd.fit(X, y, validation=(X, y), callback=keep, **options)
    expected = [mean_squares(seen, X, y) for seen in keep.seen]
    np.testing.assert_allclose(r.history.val_loss, expected, rtol=1e-13)


@each_batch
def test_float32_stays_float32(backend, batch_size):
    options = {"batch_size": batch_size, "epochs": 3, "trace": "coef", "backend": backend}
    r = gd.fit(X.astype("float32"), y, validation=(X, y), **options)
    history = r.history
    for a in (r.coef, history.loss, history.val_loss, history.lr, history.grad_norm, history.coef):
        assert a.dtype == np.float32
    assert history.seconds.dtype == np.float64
    assert r.predict(X.astype("float32")).dtype == np.float32
    assert r.predict(X).dtype == np.float64
    np.testing.assert_allclose(history.loss, gd.fit(X, y, **options).history.loss, rtol=1e-4)


SAME = {
    "int64": (X.astype(int), y),
    "int8": (X.astype("int8"), y),
    "float16": (X.astype("float16"), y),
    "big endian": (X.astype(">f8"), y.astype(">f8")),
    "float32 targets": (X, y.astype("float32")),
    "integer targets": (X, y.round(1)),
    "lists": (X.tolist(), y.tolist()),
    "tuples": (tuple(map(tuple, X)), tuple(y)),
    "Fortran order": (np.asfortranarray(X), y),
    "reversed": (X[::-1].copy()[::-1], y[::-1].copy()[::-1]),
}


@pytest.mark.parametrize("kind", SAME)
def test_array_likes(backend, kind):
    given = SAME[kind]
    r = gd.fit(*given, epochs=3, backend=backend)
    assert r.coef.dtype == np.float64
    assert r.digest == gd.fit(X, np.asarray(given[1], float), epochs=3, backend=backend).digest
    assert r.feature_names is None


@pytest.mark.parametrize("batch_size", [None, 5])
def test_frames_of_sparse_columns_are_trained_as_sparse_rows(batch_size):
    rows = scipy.sparse.csr_array(np.where(X > 1, X, 0))
    frame = pd.DataFrame.sparse.from_spmatrix(rows, columns=["height", "width", "depth"])
    options = {"batch_size": batch_size, "epochs": 3}
    r = gd.fit(frame, y, validation=(frame, y), **options)
    expected = gd.fit(rows, y, validation=(rows, y), **options)
    assert r.digest == expected.digest
    assert np.array_equal(r.history.val_loss, expected.history.val_loss)
    assert r.feature_names == ("height", "width", "depth")
    assert np.array_equal(r.predict(frame), expected.predict(rows))
    blocks = [(frame[:7], y[:7]), (frame[7:], y[7:])]
    streamed = gd.fit_stream(blocks, **options)
    assert streamed.digest == gd.fit(rows, y, shuffle=False, **options).digest


def test_columns_of_the_validation_targets_are_those_of_y():
    Y = pd.DataFrame(np.c_[y, -y], columns=["up", "down"])
    other = Y[["down", "up"]]
    message = r"^the columns of validation y are \('down', 'up'\), those of y \('up', 'down'\)$"
    with pytest.raises(ValueError, match=message):
        gd.fit(X, Y, validation=(X, other), epochs=2)
    with pytest.raises(ValueError, match=message):
        gd.fit_stream([(X, Y)], validation=(X, other), epochs=2)
    with pytest.raises(ValueError, match=r"^block 1 has the targets \('down', 'up'\), block 0 has"):
        gd.fit_stream([(X, Y), (X, other)], epochs=2)
    r = gd.fit(X, Y, validation=(X, Y), epochs=2)
    assert gd.fit(X, Y, validation=(X, Y.to_numpy()), epochs=2).digest == r.digest
    one = gd.fit(X, Y[["up"]], validation=(X, other[["down"]]), epochs=2)  # which have no order
    assert len(one.history.val_loss) == 2


OTHERS = {"another order": ["c", "b", "a"], "another name": ["a", "b", "d"]}


@pytest.mark.parametrize("columns", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("library", ["pandas", "polars", "Arrow"])
def test_columns_of_the_validation_rows_are_those_of_X(library, columns):
    """By name, wherever rows are given a second time, as a prediction has it."""

    def table(names):
        made = pd.DataFrame(X, columns=names)
        if library == "polars":
            return pytest.importorskip("polars").DataFrame(dict(made.items()))
        return made if library == "pandas" else pa.Table.from_pandas(made)

    given, other = table(list("abc")), table(columns)
    message = (
        rf"^the columns of validation X are {re.escape(repr(tuple(columns)))}, those of X \('a'"
    )
    entrances = {
        "fit": lambda rows: gd.fit(given, y, validation=rows, epochs=2).history,
        "stream": lambda rows: gd.fit_stream([(given, y)], validation=rows, epochs=2).history,
        "compare": lambda rows: (
            gd.compare(given, y, ["sgd"], validation=rows, epochs=2)["SGD"].history
        ),
    }
    expected = gd.fit(X, y, validation=(X[3:], y[3:]), epochs=2).history.val_loss
    for measure in entrances.values():
        with pytest.raises(ValueError, match=message):
            measure((other, y))
        part = given[3:] if library != "Arrow" else given.slice(3)
        for rows in ((part, y[3:]), (X[3:], y[3:])):  # rows without names are taken as they stand
            assert np.array_equal(measure(rows).val_loss, expected)


def test_booleans_are_numbers(backend):
    r = gd.fit(X > 0, y > 0, epochs=3, backend=backend)
    assert r.digest == gd.fit((X > 0) * 1.0, (y > 0) * 1.0, epochs=3, backend=backend).digest


def test_data_frames(backend):
    names = ["height", "width", "depth"]
    table = pd.DataFrame(X, columns=names).astype({"width": int})
    target = pd.Series(y, index=range(20, 0, -1))
    options = {"epochs": 3, "backend": backend}
    r = gd.fit(table, target, validation=(table, target), **options)
    assert r.feature_names == tuple(names)
    assert r.digest == gd.fit(X, y, **options).digest
    assert np.array_equal(r.predict(table), r.predict(X))
    assert gd.fit(pd.DataFrame(X), y, **options).feature_names is None


def test_the_rate(backend):
    """By name it is "auto", in a record its own; the argument wins over both."""

    def rate(**options):
        r = gd.fit(X, y, epochs=2, backend=backend, **options)
        assert (r.history.lr == r.history.lr[0]).all()
        return r.optimizer.lr, r.history.lr[0]

    name, auto = rate()
    assert name == "auto"
    assert rate(lr="auto") == rate(optimizer=gd.SGD(lr="auto")) == ("auto", auto)
    assert rate(optimizer=gd.SGD()) == (1e-3, 1e-3)
    assert rate(optimizer=gd.SGD(lr=0.02)) == rate(lr=0.02) == (0.02, 0.02)
    assert rate(optimizer=gd.SGD(lr=0.02), lr=0.01) == (0.01, 0.01)
    assert rate(optimizer=gd.SGD(lr=0.02), lr="auto") == ("auto", auto)
    momentum = gd.fit(X, y, optimizer=gd.SGD(1.0, momentum=0.5), lr=0.01, backend=backend)
    assert momentum.optimizer == gd.SGD(0.01, momentum=0.5)


@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error"])
def test_the_auto_rate_is_one_over_the_curvature(backend, loss):
    second = {"squared_error": 2, "half_squared_error": 1}[loss]
    A = np.column_stack([X, np.ones(20)])
    full = second * np.linalg.eigvalsh(A.T @ A / 20).max()
    row = second * (A**2).sum(axis=1).max()
    for batch_size, curvature, off in ((None, full, 1e-2), (6, row, 1e-14), (1, row, 1e-14)):
        options = {"batch_size": batch_size, "loss": loss, "epochs": 1, "backend": backend}
        assert gd.fit(X, y, **options).history.lr[0] == pytest.approx(1 / curvature, rel=off)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_auto_rate_of_a_loss_with_a_kink(fit_intercept):
    """f / (G^2 R sqrt(1 + t / R)), for the largest squared norm R of a row; with no intercept the root is of 1 + t."""
    r = gd.fit(
        X, y, loss=gd.losses.Quantile(0.3), batch_size=4, epochs=3, fit_intercept=fit_intercept
    )
    longest = (X**2).sum(axis=1).max() + fit_intercept
    f = np.where(y > 0, 0.3 * y, -0.7 * y).mean()
    t = np.array([0, 5, 10])
    expected = f / (0.49 * longest * np.sqrt(1 + t / (longest if fit_intercept else 1)))
    np.testing.assert_allclose(r.history.lr, expected, rtol=1e-12)


def test_a_loss_by_scikit_learns_name(backend):
    digests = {
        gd.fit(X, y > 0, loss=name, epochs=2, backend=backend).digest
        for name in ("logistic", "log_loss", gd.losses.Logistic())
    }
    assert len(digests) == 1


def test_a_loss_by_its_record(backend):
    for record in (gd.losses.SquaredError(), gd.losses.HalfSquaredError()):
        r = gd.fit(X, y, loss=record, backend=backend)
        assert r.loss == record
        assert type(r.loss) is type(record)
        assert r.digest == gd.fit(X, y, loss=record.name, backend=backend).digest


@each_batch
def test_clipping_bounds_the_step(backend, batch_size):
    options = {"lr": 0.5, "epochs": 3, "trace": "coef", "backend": backend}
    r = gd.fit(X, y, clip_norm=0.1, batch_size=batch_size, **options)
    steps = np.diff(np.column_stack([r.history.coef, r.history.intercept]), axis=0)
    assert (np.linalg.norm(steps, axis=1) <= 0.5 * 0.1 * r.n_steps / 3 * (1 + 1e-12)).all()
    assert (r.history.grad_norm[:1] > 0.1).all()  # as it was before
    wide = gd.fit(X, y, clip_norm=1e9, lr=0.01, batch_size=batch_size, backend=backend)
    free = gd.fit(X, y, lr=0.01, batch_size=batch_size, backend=backend)
    if batch_size == 1:  # then the steps are made in groups
        np.testing.assert_allclose(wide.coef, free.coef, rtol=1e-12)
    else:
        assert wide.digest == free.digest


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", 1e20), ("float32", 1e-25), ("float64", 1e160), ("float64", 1e-170)],
)
def test_norms_of_gradients_whose_squares_are_no_numbers(backend, dtype, size, sparse):
    """Of absolute errors of a large y, where x is (3, 4) times the size, the gradient is -x: of 5 times the size."""
    Z, t = np.array([[3 * size, 4 * size]] * 2, dtype), [float(np.finfo(dtype).max) / 8] * 2
    rows = scipy.sparse.csr_array(Z) if sparse else Z
    options = {
        "loss": gd.losses.EpsilonInsensitive(0.0),
        "fit_intercept": False,
        "lr": 0.25,
        "epochs": 1,
        "backend": backend,
    }
    for batch_size in (None, 1):
        r = gd.fit(rows, t, **options | {"lr": 1e-30}, batch_size=batch_size)
        assert r.history.grad_norm[0] == pytest.approx(5 * size, rel=1e-6, abs=0)
    if size > 1:  # else the 1e-6 that is added to the norm stands out
        for batch_size, steps in ((None, 1), (1, 2)):
            r = gd.fit(rows, t, clip_norm=0.5, batch_size=batch_size, **options)
            assert r.coef == pytest.approx(steps * np.array([0.6, 0.8]) / 8, rel=1e-6)
        free = gd.fit(rows, t, clip_norm=1e3 * size, **options)
        assert free.coef == pytest.approx(Z[0] / 4, rel=1e-6, abs=0)


def test_seeds(backend):
    def digest(**options):
        return gd.fit(X, y, batch_size=1, epochs=2, lr=0.01, backend=backend, **options).digest

    seeds = [0, 1, 2, 2**63, 2**64 - 1]
    assert len({digest(seed=seed) for seed in seeds}) == len(seeds)
    assert digest() == digest(seed=0) == digest(seed=np.uint64(0))


@each_batch
def test_any_number_of_threads(backend, batch_size):
    options = {"batch_size": batch_size, "epochs": 3, "backend": backend}
    digests = {gd.fit(X, y, threads=threads, **options).digest for threads in (None, 1, 2, 100)}
    assert len(digests) == 1


def test_fits_at_the_same_time(backend):
    """From several of Python's threads, each with several of its own."""
    random = np.random.default_rng(0)
    large = random.standard_normal((20_000, 16))
    jobs = [
        {"X": large, "y": large[:, 0], "epochs": 4, "threads": 2},
        {"X": X, "y": y, "epochs": 200},
        {"X": X, "y": y, "epochs": 20, "batch_size": 6, "seed": 3},
        {"X": X, "y": y, "epochs": 20, "batch_size": 1, "average": True},
    ] * 3

    def digest(job):
        return gd.fit(**job, backend=backend).digest

    expected = [digest(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(digest, jobs)) == expected


def test_the_variable_chooses_the_backend(backend, monkeypatch):
    monkeypatch.setenv("GDFAST_BACKEND", backend)
    assert gd.fit(X, y, epochs=1).backend == backend
    monkeypatch.setenv("GDFAST_BACKEND", "")
    assert gd.fit(X, y, epochs=1).backend == "cpp"
    monkeypatch.setenv("GDFAST_BACKEND", "nunpy")
    assert gd.fit(X, y, epochs=1, backend=backend).backend == backend
    with pytest.raises(ValueError, match=r"did you mean 'numpy'\?.*GDFAST_BACKEND"):
        gd.fit(X, y, epochs=1)


def test_options_are_for_keywords_alone():
    with pytest.raises(TypeError, match="positional"):
        gd.fit(X, y, "squared_error")
