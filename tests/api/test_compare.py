"""compare: labels, the same results as fit's own, what diverges, the table and the plot."""

import pickle
import re
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import gdfast as gd
from gdfast import schedules

X, y, _ = gd.datasets.load_penguins()
SCHEDULES = [schedules.Exponential(0.1, gamma=gamma) for gamma in (0.9, 0.5)]
TOO_LARGE = gd.SGD(lr=3.0)


def compare(optimizers, **options):
    return gd.compare(X, y, optimizers, **{"standardize": True, "epochs": 10} | options)


def compare_one_that_diverges(optimizers, **options):
    with pytest.warns(RuntimeWarning, match="diverged"):
        return compare(optimizers, **options)


# Labels


@pytest.mark.parametrize(
    ("optimizers", "labels"),
    [
        (["sgd", "adam"], ["SGD", "Adam"]),
        (("adam", gd.SGD(lr=0.1)), ["Adam", "SGD"]),
        ([gd.SGD(lr=0.1), gd.SGD(lr=0.2)], ["SGD(lr=0.1)", "SGD(lr=0.2)"]),
        ([gd.SGD(lr=0.1), gd.SGD(lr="auto")], ["SGD(lr=0.1)", "SGD(lr=auto)"]),
        ([gd.Adam(lr=0.1), "adam", gd.AdamW(lr=0.1)], ["Adam(lr=0.1)", "Adam(lr=0.001)", "AdamW"]),
        (
            [gd.SGD(0.1), gd.SGD(0.1, momentum=0.5), gd.SGD(0.2)],
            [f"SGD(lr={lr}, momentum={m})" for lr, m in ((0.1, 0.0), (0.1, 0.5), (0.2, 0.0))],
        ),
        (
            [gd.Adam(betas=(0.9, 0.99)), gd.Adam(amsgrad=True)],
            ["Adam(betas=(0.9, 0.99), amsgrad=False)", "Adam(betas=(0.9, 0.999), amsgrad=True)"],
        ),
        ([gd.SGD(lr) for lr in SCHEDULES], [f"SGD(lr={lr})" for lr in SCHEDULES]),
        ({"slow": gd.SGD(lr=0.01), "fast": "sgd", "": "adam"}, ["slow", "fast", ""]),
        (["sgd", gd.SGD(lr=0.1)], ["SGD(lr=auto)", "SGD(lr=0.1)"]),
        (["sgd", gd.SGD()], ["SGD(lr=auto)", "SGD(lr=0.001)"]),
    ],
    ids=str,
)
def test_labels(optimizers, labels):
    c = compare(optimizers)
    assert list(c) == labels
    assert (len(c), list(c.results)) == (len(labels), labels)
    assert all(c[label] is c.results[label] for label in labels)


@pytest.mark.parametrize(
    ("optimizers", "options"),
    [
        (["adam", "sgd", "adam"], {}),
        (["adam", gd.Adam()], {}),
        ([gd.Adam(lr=1), gd.SGD(lr=0.1), gd.Adam(lr=1.0)], {}),
        (["sgd", gd.SGD(lr="auto")], {}),
        pytest.param(
            [gd.SGD(lr=0.1), gd.SGD(lr=0.2)],
            {"lr": 0.3},
        ),
    ],
    ids=str,
)
def test_equal_optimizers_are_refused(optimizers, options):
    with pytest.raises(ValueError, match=r"optimizers\[0\] and \[\d\] are equal"):
        compare(optimizers, **options)


@pytest.mark.parametrize(
    ("optimizers", "error", "message"),
    [
        ([], ValueError, "optimizers is empty"),
        ({}, ValueError, "optimizers is empty"),
        ("adam", TypeError, "must be a mapping label -> optimizer, or a list, not str"),
        (gd.Adam(), TypeError, "not Adam"),
        ({"adam", "sgd"}, TypeError, "not set"),
        (iter(["adam"]), TypeError, "not list_iterator"),
        (None, TypeError, "not NoneType"),
        ({1: "adam"}, TypeError, "labels of optimizers must be text, not 1"),
        (["adan"], ValueError, "did you mean 'adam'"),
        ({"a": "adan"}, ValueError, "did you mean 'adam'"),
        ([gd.Adam], TypeError, "a record, not the class Adam"),
        ({"a": None}, TypeError, "a record, not NoneType"),
    ],
)
def test_wrong_optimizers(optimizers, error, message):
    with pytest.raises(error, match=message):
        compare(optimizers)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads=0 must be at least 1"),
        ({"threads": 1.0}, TypeError, "threads must be an integer"),
        ({"batchsize": 3}, TypeError, "batchsize"),
        (
            {"optimizer": "adam"},
            TypeError,
            "^optimizer is an argument of fit: name all to compare in",
        ),
        ({"epochs": -1}, ValueError, "epochs=-1"),
        ({"batch_size": 3}, ValueError, "Rprop compares the signs of gradients of all rows"),
        ({"lr": -1}, ValueError, "lr=-1"),
        ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'"),
    ],
    ids=str,
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        compare(["sgd", "rprop"], **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_fit_that_fails_is_named(threads):
    def callback(r):
        if isinstance(r.optimizer, gd.Adam):
            raise ZeroDivisionError("of mine")

    with pytest.raises(ZeroDivisionError, match="of mine") as caught:
        compare({"good": "sgd", "bad": "adam"}, callback=callback, threads=threads)
    assert caught.value.__notes__ == ["in the fit 'bad'"]


def test_wrong_data():
    with pytest.raises(ValueError, match=r"X\[1, 0\] is nan"):
        gd.compare([[1.0], [np.nan]], [1.0, 2.0], ["sgd", "adam"])


# The results

OPTIMIZERS = {"name": "sgd", "record": gd.Adam(lr=10.0), "schedule": gd.SGD(SCHEDULES[0])}


@pytest.mark.parametrize("options", [{}, {"batch_size": 32, "seed": 5, "validation": 0.2}], ids=str)
@pytest.mark.parametrize("threads", [None, 1, 2, 3, 4])
def test_the_results_are_those_of_fit(options, threads, backend):
    options = {"standardize": True, "epochs": 5, "backend": backend} | options
    c = gd.compare(X, y, OPTIMIZERS, threads=threads, **options)
    for label, optimizer in OPTIMIZERS.items():
        alone = gd.fit(X, y, optimizer=optimizer, **options)
        assert c[label].digest == alone.digest
        assert np.array_equal(c[label].history.val_loss, alone.history.val_loss)
        assert (c[label].optimizer, c[label].backend) == (alone.optimizer, backend)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_fits_run_side_by_side(threads):
    """As many at a time as there are threads: each waits in its callback for as many to come."""
    together = threading.Barrier(threads)
    c = compare(OPTIMIZERS, threads=threads, epochs=1, callback=lambda r: together.wait(30) < 0)
    assert len(c) == 3


def test_it_is_a_mapping():
    c = compare(["sgd", "adam"])
    assert c == dict(c.items()) == c.results
    assert "SGD" in c
    with pytest.raises(KeyError, match="sgd"):
        c["sgd"]
    again = pickle.loads(pickle.dumps(c))
    assert [r.digest for r in again.values()] == [r.digest for r in c.values()]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fit_that_diverged_is_there(threads):
    with pytest.raises(gd.DivergenceError) as caught:
        gd.fit(X, y, optimizer=TOO_LARGE, standardize=True, epochs=10)
    with pytest.warns(RuntimeWarning) as warned:
        c = compare({"bad": TOO_LARGE, "good": "sgd", "worse": gd.SGD(lr=9.0)}, threads=threads)
    assert [str(w.message).partition(":")[0] for w in warned] == ["bad", "worse"]
    assert str(warned[0].message) == f"bad: {caught.value}"
    assert {w.filename for w in warned} == {__file__}
    assert [r.stop_reason for r in c.values()] == ["divergence", "epochs", "divergence"]
    assert c["bad"].digest == caught.value.result.digest
    assert c["good"].digest == gd.fit(X, y, standardize=True, epochs=10).digest


RISING = gd.SGD(lr=0.6)


@pytest.mark.parametrize("threads", [1, 3])
def test_warnings_have_the_label_of_their_fit(threads):
    with pytest.warns(RuntimeWarning, match="the loss rose") as alone:
        gd.fit(X, y, optimizer=RISING, standardize=True, epochs=10)
    with pytest.warns(RuntimeWarning) as warned:
        c = compare({"a": RISING, "b": "adam", "c": gd.SGD(lr=0.6)}, threads=threads)
    rose = str(alone[0].message)
    assert [str(w.message) for w in warned] == [f"a: {rose}", f"c: {rose}"]
    assert {w.filename for w in warned} == {__file__}
    assert [r.stop_reason for r in c.values()] == 3 * ["epochs"]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_callback_warns_of_is_its_own(threads):
    def callback(r):
        if r.n_epochs == 2:
            warnings.warn("of mine", UserWarning, stacklevel=1)
            with pytest.warns(RuntimeWarning, match=r"^the loss rose"):
                gd.fit(X, y, optimizer=RISING, standardize=True, epochs=10)

    with pytest.warns(UserWarning, match="^of mine$") as warned:
        c = compare(["adam"], threads=threads, callback=callback, epochs=3)
    assert len(warned) == 1
    assert c["Adam"].n_epochs == 3


def test_the_process_warns_as_ever():
    """While several threads compare, the filters stay, and so does how warnings are shown."""
    shown, filters = warnings.showwarning, list(warnings.filters)
    started = threading.Barrier(4)
    seen = []

    def callback(r):
        if r.n_epochs == 1:
            started.wait(30)
            seen.append((warnings.showwarning is shown, warnings.filters == filters))

    def run():
        gd.compare(X, y, ["sgd"], callback=callback, epochs=5)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == 4 * [(True, True)]
    assert warnings.showwarning is shown
    assert warnings.filters == filters


def test_the_callers_context_holds_in_each_fit():
    def callback(r):
        assert np.geterr()["divide"] == "raise"

    with np.errstate(divide="raise"):
        compare(["sgd", "adam", "adamw"], threads=2, epochs=1, callback=callback)


# Ctrl-C

INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import gdfast as gd

X = np.arange(600.0).reshape(200, 3) % 7
fits = {"a": "sgd", "b": gd.Adam(lr=1e-9), "c": gd.SGD(lr=1e-9)}
options = dict(epochs=3_000_000, batch_size=BATCH_SIZE, backend=BACKEND)
gd.compare(X, X[:, 0], fits, **options | {"epochs": 2})
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    gd.compare(X, X[:, 0], fits, threads=3, **options)
except KeyboardInterrupt:
    waited = time.monotonic() - begin - 0.5
time.sleep(0.2)
used = time.process_time()
time.sleep(0.2)
print(waited, time.process_time() - used)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a process")
@pytest.mark.parametrize("batch_size", [None, 1])
def test_ctrl_c_ends_all_fits(python, backend, batch_size):
    program = INTERRUPTED.replace("BATCH_SIZE", repr(batch_size)).replace("BACKEND", repr(backend))
    waited, used = map(float, python(program).split())
    assert waited < 1  # a loaded machine wakes no thread at once
    assert used < 0.1


# The table


@pytest.mark.parametrize("validation", [None, 0.3])
@pytest.mark.parametrize("reach", [None, 2e5, 1e7, 0.0])
def test_the_table(validation, reach):
    c = compare_one_that_diverges(
        {"sgd": "sgd", "adam": gd.Adam(lr=500.0), "lost": TOO_LARGE}, validation=validation
    )
    curves = {k: (r.history.val_loss if validation else r.history.loss) for k, r in c.items()}
    lowest = np.nanmin([curve[-1] for curve in curves.values()])
    assert c.reach == pytest.approx(1.05 * lowest)
    assert list(c.table(reach)) == list(c)
    for label, row in c.table(reach).items():
        history = c[label].history
        level = c.reach if reach is None else reach
        first = [e for e, loss in enumerate(curves[label], bool(validation)) if loss <= level]
        assert str(row.pop("val_loss")) == str(float(curves[label][-1]) if validation else np.nan)
        assert row == {
            "loss": history.loss[-1],
            "epochs": first[0] if first else None,
            "seconds": history.seconds[-1],
            "stop_reason": c[label].stop_reason,
        }
    assert c.table(0.0)["sgd"]["epochs"] is None
    assert c.table(np.inf)["sgd"]["epochs"] == bool(validation)


@pytest.mark.parametrize(
    ("batch_size", "validation"), [(None, None), (len(y), None), (None, (X, y)), (32, (X, y))]
)
def test_so_many_epochs_reach_the_loss(batch_size, validation):
    """The first fit that has it at its end, of fits of ever more epochs."""
    options = {"batch_size": batch_size, "validation": validation}

    def end(epochs):
        r = compare([gd.SGD(lr=0.05)], **options, epochs=epochs)["SGD"]
        return np.mean((r.predict(X) - y) ** 2)

    reach = 1.0001 * end(7)
    first = next(epochs for epochs in range(8) if end(epochs) <= reach)
    assert first >= 3
    table = compare([gd.SGD(lr=0.05)], **options, epochs=12).table(reach)
    assert table["SGD"]["epochs"] == first


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), min_size=1, max_size=4),
    st.floats(-1e9, 1e9),
)
def test_the_table_of_any_losses(curves, level):
    """Those of fits that never were: only their histories count."""
    fits = {}
    for k, curve in enumerate(curves):
        r = compare(["sgd"], epochs=0)["SGD"]
        losses, none = np.array(curve), np.empty(0)
        history = gd.History(losses, none, losses.copy(), losses.copy(), losses.copy())
        fits[str(k)] = gd.FitResult(**{**vars(r), "history": history})
    c = gd.Comparison(fits)
    lowest = min(curve[-1] for curve in curves)
    assert c.reach == lowest + 0.05 * abs(lowest) >= lowest
    for row, curve in zip(c.table(level).values(), curves, strict=True):
        assert (row["loss"], row["seconds"]) == (curve[-1], curve[-1])
        reached = row["epochs"]
        assert all(loss > level for loss in curve[:reached])
        assert reached is None or curve[reached] <= level
    assert any(row["epochs"] is not None for row in c.table().values())


def test_the_text():
    c = compare_one_that_diverges({"long label": "sgd", "b": TOO_LARGE}, epochs=30)
    assert repr(c) == c.text() == c.text(c.reach)
    head, good, bad = c.text(2e5).splitlines()
    assert re.split("  +", head.strip()) == [
        "loss",
        "val_loss",
        "epochs to 2e+05",
        "seconds",
        "ended by",
    ]
    epochs = c.table(2e5)["long label"]["epochs"]
    loss, lost = (f"{r.history.loss[-1]:.6g}" for r in c.values())
    for line, label, cells, end in (
        (good, "long label", [loss, str(epochs)], "epochs"),
        (bad, "b", [lost, "-"], "divergence"),
    ):
        assert line[:12] == label.ljust(12)
        assert line[12:].split()[:2] == cells
        assert line[head.index("ended by") :] == end


def test_no_epoch():
    c = compare(["sgd", "adam"], epochs=0)
    assert np.isnan(c.reach)
    assert {row["epochs"] for row in c.table().values()} == {None}
    assert len(repr(c).splitlines()) == 3


def test_all_diverged_to_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        c = compare([gd.SGD(lr=1e308, momentum=0.9)], batch_size=1)
    assert np.isnan(c["SGD"].history.loss).all()
    assert len(repr(c).splitlines()) == 2


@pytest.mark.parametrize("reach", ["1", [1.0], np.nan], ids=repr)
def test_a_wrong_level(reach):
    with pytest.raises((TypeError, ValueError), match="reach"):
        compare(["sgd"]).table(reach)


# The plot


@pytest.mark.parametrize("log", [None, True, False])
def test_the_plot(log):
    c = compare(["sgd", "adam"])
    ax = Figure().subplots()
    assert c.plot(ax=ax, log=log) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["SGD", "Adam"]
    assert [line.get_ydata().tolist() for line in ax.lines[:2]] == [
        r.history.loss.tolist() for r in c.values()
    ]
    if log is not None:
        assert ax.get_yscale() == ("log" if log else "linear")
