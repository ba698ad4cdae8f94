"""A fit or a minimisation costs by the epochs and steps that run, not by those allowed: in memory, in time, for X."""

import itertools
import sys
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse

import gdfast as gd
from gdfast._data.arrays import as_matrix
from gdfast._training import run, stable_rates

X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5] + np.arange(20) % 3


@contextmanager
def at_most(size):
    """No more memory than this is in use at once, beyond what was before."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


# Ways to stop long before the limit.
SOON = {
    "tol": {"tol": 0.1},
    "tol, trace": {"tol": 0.1, "trace": "coef"},
    "tol, validation": {"tol": 0.1, "validation": (X, y)},
    "tol, standardize": {"tol": 0.1, "standardize": True, "trace": "coef"},
    "callback": {"callback": lambda r: r.n_epochs == 50},
    "callback, batches": {"callback": lambda r: r.n_epochs == 50, "batch_size": 3},
    "patience": {"patience": 2, "batch_size": 1, "lr": 0.01},
}


@pytest.mark.parametrize("limit", [10**9, sys.maxsize, 10**30])
@pytest.mark.parametrize("options", SOON.values(), ids=SOON)
def test_a_limit_on_epochs_that_is_not_reached_costs_nothing(options, limit):
    expected = gd.fit(X, y, epochs=1000, **options)
    with at_most(1 << 20):
        r = gd.fit(X, y, epochs=limit, **options)
    assert r.stop_reason == expected.stop_reason != "epochs"
    assert r.digest == expected.digest


def test_a_limit_on_epochs_of_a_stream_costs_nothing():
    with at_most(1 << 20):
        r = gd.fit_stream([(X, y)], epochs=sys.maxsize, tol=0.1)
    assert r.digest == gd.fit(X, y, epochs=1000, tol=0.1).digest


SCHEDULES = [
    gd.schedules.StepDecay(0.01, every=3),
    gd.schedules.Cosine(0.01, total=10**12, per="step"),
    gd.schedules.Warmup(gd.schedules.InverseScaling(0.01), length=10**12),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_highest_rate_is_found_without_counting_to_it(schedule):
    """Sparse rows with l2 ask for it before the first step."""
    r = gd.fit(
        scipy.sparse.csr_array(X),
        y,
        l2=0.1,
        batch_size=1,
        lr=schedule,
        epochs=sys.maxsize,
        callback=lambda r: True,
    )
    assert r.n_epochs == 1


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 4, "optimizer": "adam"}], ids=["sgd", "adam"]
)
def test_the_number_of_epochs_in_a_call_is_in_no_bit(options, monkeypatch):
    options = {"lr": 1e-3, "validation": 0.2, "trace": "coef", "epochs": 400} | options
    expected = gd.fit(X, y, **options)
    for in_a_call in (1, 7, 64):
        monkeypatch.setattr(run, "EPOCHS_IN_THE_FIRST_CALL", in_a_call)
        r = gd.fit(X, y, **options)
        for name in ("loss", "val_loss", "lr", "grad_norm", "coef", "intercept"):
            got, wanted = getattr(r.history, name), getattr(expected.history, name)
            assert got.tobytes() == wanted.tobytes(), name
        assert (np.diff(r.history.seconds) > 0).all()


@pytest.mark.parametrize("trace", [None, "coef"])
def test_results_in_callbacks_share_their_history(trace):
    """A copy of what is known would take 30 MB for each field of the history, and 90 for the weights."""
    kept = []
    with at_most(15 << 20):
        gd.fit(X, y, epochs=2700, lr=1e-4, trace=trace, callback=kept.append)
    assert len(kept) == 2700


@pytest.mark.parametrize("batch_size", [None, 6])
@pytest.mark.parametrize("standardize", [False, True])
def test_histories_in_callbacks_are_the_first_part_of_the_last_one(batch_size, standardize):
    kept = []
    r = gd.fit(
        X,
        y,
        epochs=70,
        lr=1e-3,
        batch_size=batch_size,
        standardize=standardize,
        trace="coef",
        validation=(X[:5], y[:5]),
        callback=kept.append,
    )
    for epochs, seen in enumerate(kept, 1):
        for name, values in vars(r.history).items():
            part = getattr(seen.history, name)
            assert not part.flags.writeable
            rows = epochs + 1 if name in ("coef", "intercept") else epochs
            assert part.tobytes() == values[:rows].tobytes(), name
        assert np.array_equal(seen.coef, r.history.coef[epochs])
    assert all(values.base is None for values in vars(r.history).values())


# The calls whose time counts, and what they are given.
TIMED = {
    "fit": lambda: gd.fit(X, y, epochs=3),
    "fit_stream": lambda: gd.fit_stream([(X, y)], epochs=3),
}


@pytest.mark.parametrize("call", TIMED.values(), ids=TIMED)
def test_the_search_for_a_rate_is_part_of_the_seconds(call, monkeypatch):
    found = stable_rates.auto

    def auto(*arguments):
        time.sleep(0.05)
        return found(*arguments)

    monkeypatch.setattr(stable_rates, "auto", auto)
    begun = time.perf_counter()
    seconds = call().history.seconds
    assert 0.05 < seconds[0] < seconds[1] < seconds[2] < time.perf_counter() - begun


def row(d, dtype):
    return (np.arange(d) % 5 - 2).astype(dtype)


def amid_others(n, d, dtype):
    """A row repeated, around which there are numbers that nobody may add."""
    around = np.full(3 * d, np.nan, dtype)
    around[d : 2 * d] = row(d, dtype)
    return np.broadcast_to(around[d : 2 * d], (n, d))


def windows(n, d, dtype, apart=1):
    signal = (np.arange(apart * n + d) * 5 % 11 - 5).astype(dtype)
    return np.lib.stride_tricks.sliding_window_view(signal, d)[: apart * n : apart]


SHARING = {
    "one row": lambda n, d, dtype: np.broadcast_to(row(d, dtype), (n, d)),
    "one row amid others": amid_others,
    "one number": lambda n, d, dtype: np.broadcast_to(dtype(0.5), (n, d)),
    "windows": windows,
    "windows, two apart": lambda *shape: windows(*shape, apart=2),
}
MODES = [{}, {"batch_size": 1}, {"batch_size": 7, "optimizer": "adam"}, {"standardize": True}]
CASES = [
    *itertools.product(["cpp", "numpy"], SHARING, [np.float64, np.float32], MODES),
    *itertools.product(["numba"], ["one row amid others", "windows"], [np.float64], MODES[:2]),
]


@pytest.mark.parametrize(("backend", "sharing", "dtype", "options"), CASES)
def test_rows_that_share_memory_have_the_bits_of_a_copy(backend, sharing, dtype, options):
    for n, d in ((1, 3), (37, 1), (37, 3), (301, 8), (290, 20), (9, 130)):
        shared = SHARING[sharing](n, d, dtype)
        target = (np.arange(n) % 4).astype(dtype)
        options = {"lr": 1e-3, "epochs": 2, "backend": backend} | options
        fits = [
            gd.fit(rows, target, validation=(rows, target), **options)
            for rows in (shared, np.ascontiguousarray(shared))
        ]
        assert fits[0].digest == fits[1].digest
        assert fits[0].history.val_loss.tobytes() == fits[1].history.val_loss.tobytes()
        predicted = [r.predict(rows) for r in fits for rows in (shared, shared.copy())]
        assert len({p.tobytes() for p in predicted}) == 1


@pytest.mark.parametrize("given", [np.int64, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("target", [None, np.dtype(np.float32), np.dtype(np.float64)])
def test_a_row_that_is_repeated_is_taken_in_once(given, target):
    with at_most(1 << 20):
        taken = as_matrix(np.broadcast_to(row(100, given), (10**6, 100)), "X", target, sparse=True)
    assert taken.shape == (10**6, 100)
    assert taken.dtype == (target or (given if given in (np.float32, np.float64) else np.float64))
    assert not taken.flags.writeable
    assert (taken[[0, 777, -1]] == row(100, given)).all()


def test_windows_are_read_where_they_are():
    signal = np.arange(10_000.0)
    rows = np.lib.stride_tricks.sliding_window_view(signal, 3000)
    with at_most(1 << 20):
        assert np.shares_memory(as_matrix(rows, sparse=True), signal)
        r = gd.fit(rows, np.zeros(len(rows)), lr=1e-12, epochs=1, backend="cpp")
    assert r.n_epochs == 1


def test_more_numbers_than_31_bits_count():
    """One step from 0 goes along the row: by lr times twice the mean target."""
    n, d = 70_000, 32_000
    x = row(d, np.float64)
    target = np.arange(n) % 8.0
    with at_most(16 << 20):
        r = gd.fit(np.broadcast_to(x, (n, d)), target, lr=0.001, epochs=1, backend="cpp")
    assert n * d > 2**31
    np.testing.assert_allclose(r.coef, 0.001 * 2 * 3.5 * x, rtol=1e-12)
    np.testing.assert_allclose(r.history.loss, np.mean(target**2))


def test_a_number_in_a_row_that_is_repeated_is_named():
    x = row(30, np.float64)
    x[7] = np.nan
    n = 200_000  # 48 MB, were it copied
    with at_most(16 << 20), pytest.raises(ValueError, match=r"X\[0, 7\] is nan"):
        gd.fit(np.broadcast_to(x, (n, 30)), np.zeros(n), epochs=0, backend="cpp")


@np.errstate(over="ignore")
def bowl(x):
    """A quadratic whose path never stops, by a rate below 1 / 4; with its gradient."""
    return float(x @ x), 2 * x


START = np.arange(1.0, 21.0)
ENGINES = ["cpp", "numpy", "numba"]


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("trace", ["path", None])
def test_a_limit_on_steps_that_is_not_reached_costs_nothing(backend, trace):
    options = {"jac": True, "lr": 0.1, "tol": 1e-3, "backend": backend}
    expected = gd.minimize(bowl, START, maxiter=100, **options)
    for limit in (10**9, sys.maxsize, 10**30):
        with at_most(1 << 20):
            r = gd.minimize(bowl, START, maxiter=limit, trace=trace, **options)
        assert (r.nit, r.fun, r.success) == (expected.nit, expected.fun, True)
        assert r.x.tobytes() == expected.x.tobytes()


def test_a_path_that_is_not_kept_takes_no_memory():
    """20,000 steps in 20 variables: 3.2 MB, and a line of them in a callback."""
    options = {"jac": True, "lr": 1e-5, "maxiter": 20_000, "backend": "cpp"}
    whole = gd.minimize(bowl, START, **options)
    with at_most(3 << 20):
        r = gd.minimize(bowl, START, trace=None, **options)
    assert r.path.tobytes() == whole.path[-2:].tobytes()
    assert r.fun_path.tobytes() == whole.fun_path[-2:].tobytes()
    assert (r.fun, r.nit, r.nfev) == (whole.fun, whole.nit, whole.nfev)
    assert f"  f {r.fun:.6g} at x" in repr(r)
    with pytest.raises(ValueError, match="was not kept: minimize with trace"):
        gd.plot.descent(gd.minimize(bowl, [1.0], trace=None, jac=True), bowl)


def test_results_in_callbacks_of_minimize_share_their_path():
    kept = []
    with at_most(10 << 20):
        options = {"jac": True, "lr": 1e-5, "maxiter": 2500}
        whole = gd.minimize(bowl, START, callback=kept.append, **options)
    for nit, seen in enumerate(kept, 1):
        assert seen.path.tobytes() == whole.path[: nit + 1].tobytes()
        assert not seen.path.flags.writeable
    last = []
    gd.minimize(bowl, START, callback=last.append, trace=None, **options)
    assert [r.path.tobytes() for r in last] == [r.path[-2:].tobytes() for r in kept]


@pytest.mark.parametrize("callback", [None, lambda r: None], ids=["", "callback"])
@pytest.mark.parametrize("trace", ["path", None])
def test_a_divergence_is_explained_with_and_without_the_path(trace, callback):
    """f = x^2 + 20 z^2: curvatures 2 and 40, so that rates are stable below 2 / 40."""

    @np.errstate(over="ignore")
    def narrow(x):
        return float(x[0] ** 2 + 20 * x[1] ** 2), np.array([2 * x[0], 40 * x[1]])

    with pytest.raises(gd.DivergenceError) as lost:
        gd.minimize(
            narrow, [3.0, 1.0], jac=True, lr=0.1, maxiter=10**6, trace=trace, callback=callback
        )
    assert lost.value.stable_lr == pytest.approx(0.05, rel=1e-3)
    assert len(lost.value.result.path) == (lost.value.epoch + 1 if trace else 2)


def test_scipy_keeps_no_path_where_none_is_asked_for():
    from scipy.optimize import minimize

    options = {"maxiter": 500, "trace": None}
    r = minimize(bowl, START, jac=True, method=gd.scipy_method(gd.SGD(lr=0.1)), options=options)
    assert r.path.shape == (2, 20)
    r = minimize(bowl, START, jac=True, method=gd.scipy_method(gd.SGD(lr=2.0)), options=options)
    assert r.status == 2
    assert np.isfinite(r.x).all()
    assert np.isfinite(r.fun)


def test_traces_that_there_are_not():
    with pytest.raises(ValueError, match="trace='coef' must be None or \"path\""):
        gd.minimize(bowl, START, jac=True, trace="coef")
