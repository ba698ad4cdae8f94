"""The extension's functions: arrays and numbers that do not fit together are errors, wherever they come from."""

import importlib

import numpy as np
import pytest
import scipy.sparse

import gdfast as gd
from gdfast import losses, optimizers
from gdfast._backends import cpp
from gdfast._data.csr import Csr

DENSE = np.arange(60.0).reshape(20, 3) % 7 - 3
SPARSE = scipy.sparse.csr_array(DENSE)
SPARSE.indptr = SPARSE.indptr.astype(np.int64)
y = DENSE @ [1.0, -2.0, 0.5]
core = importlib.import_module("gdfast._core")


class Recorder:
    """Stands for the extension, and keeps what each function is given."""

    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.setdefault(name, arguments)
            return getattr(core, name)(*arguments)

        return call


def minimized():
    gd.minimize(lambda x: (x @ x, 2 * x), np.ones(3), jac=True, optimizer="adam", lr=0.1, maxiter=3)


def stepped():
    stepper = gd.Stepper(gd.Adam(), np.ones(3))
    stepper.step(np.ones(3))


# Work that calls each function.
WORK = {
    "descend": lambda: gd.fit(
        DENSE, y, lr=1e-3, epochs=3, optimizer="adam", batch_size=4, trace="coef"
    ),
    "descend, averaged": lambda: gd.fit(DENSE, y, lr=1e-3, epochs=3, batch_size=1, average=True),
    "descend, sparse": lambda: gd.fit(SPARSE, y, lr=1e-3, epochs=3, batch_size=1),
    "descend, softmax": lambda: gd.fit(DENSE, y > 0, lr=1e-3, epochs=3, loss="softmax"),
    "sum": lambda: gd.fit(DENSE, y, epochs=1),
    "sum, sparse": lambda: gd.fit(SPARSE, y, epochs=1),
    "mean_loss": lambda: gd.fit(DENSE, y, epochs=1),
    "predict": lambda: gd.fit(DENSE, y, epochs=1).predict(DENSE),
    "predict, sparse": lambda: gd.fit(SPARSE, y, epochs=1).predict(SPARSE),
    "step": stepped,
    "minimize": minimized,
}
# The places of arrays that may have several shapes, such as the weights of the rows, and the numbers of the steps.
FREE = {
    "descend": {2, 21, 26, 30},
    "sum": {2},
    "mean_loss": {1, 2},
    "step": {5},
    "minimize": {6, 9, 10},
}


def changed(given):
    """Arrays of other shapes than the one given, and a sparse matrix with one of its arrays changed."""
    if isinstance(given, Csr):
        data, indices, indptr, features = given
        yield data[:-1], indices, indptr, features
        yield data, indices[:-1], indptr, features
        yield data, indices, indptr[:-1], features
        yield data, indices, indptr[:0], features
        yield data, indices, indptr, features - 1
        return
    yield (
        np.concatenate([given, given[:1]])
        if given.size
        else np.empty((1, *given.shape[1:]), given.dtype)
    )
    yield given[:-1] if len(given) else np.ones((3, 3), given.dtype)
    yield given[None]
    yield given.reshape(-1)[:0].reshape(*(0 for _ in given.shape))
    if given.ndim == 2:
        yield np.ascontiguousarray(np.pad(given, ((0, 0), (0, 1))))
        yield np.ascontiguousarray(given[:, :-1])


def arguments_of(work, monkeypatch):
    """The arguments with which the work calls its function."""
    recorder = Recorder()
    monkeypatch.setattr(cpp, "_core", recorder)
    monkeypatch.setenv("GDFAST_BACKEND", "cpp")
    WORK[work]()
    return recorder.calls[work.split(",")[0]]


@pytest.mark.parametrize("work", WORK)
def test_sizes_that_do_not_fit_are_refused(work, monkeypatch):
    name = work.split(",")[0]
    arguments = arguments_of(work, monkeypatch)
    function = getattr(core, name)
    for k, given in enumerate(arguments):
        if k in FREE.get(name, ()) or not isinstance(given, np.ndarray | Csr):
            continue
        for other in changed(given):
            if isinstance(other, tuple) or other.shape != given.shape:
                with pytest.raises((ValueError, TypeError)):
                    function(*arguments[:k], other, *arguments[k + 1 :])


# Of each function the place of an argument, what it must not be, and what the error says.
WRONG = [
    ("descend", 2, np.ones(19), r"weights has shape \(19\): it must have shape \(20\)"),
    ("descend", 7, 0, "number of outputs is 0"),
    ("descend", 9, 0, "batch_size is 0"),
    ("descend", 21, np.ones(3), "total has shape"),
    ("descend", 26, np.ones((1, 5)), "number of tables is 1"),
    ("descend", 26, np.ones((3, 1)), "steps of the tables is 1"),
    ("descend", 29, -1, "steps is -1"),
    ("descend", 30, np.ones((3, 6)), "more numbers than"),
    ("descend", 30, np.ones((0, 3)), "number of steps is 0"),
    ("descend", 37, -1, "offset is -1"),
    ("sum", 2, np.ones(2), "weights has shape"),
    ("mean_loss", 1, np.ones((20, 2)), "y has shape"),
    ("mean_loss", 1, np.ones((0, 1)), "number of rows is 0"),
    ("mean_loss", 2, np.ones(0), "weights has shape"),
    ("step", 5, np.ones(6), "more numbers than"),
    ("step", 5, np.ones(0), "number of a step's numbers is 0"),
    ("minimize", 6, np.ones((3, 6)), "more numbers than"),
    ("minimize", 9, np.ones((4, 2)), "path has shape"),
    ("minimize", 10, np.ones(3), "number of values is 3"),
    ("minimize", 11, -1, "first is -1"),
    ("minimize", 0, lambda x: (0.0, np.ones(2)), "the gradient has 2 numbers, x has 3"),
]


@pytest.mark.parametrize(("name", "place", "wrong", "words"), WRONG)
def test_what_is_wrong_is_said(name, place, wrong, words, monkeypatch):
    arguments = arguments_of(name, monkeypatch)
    with pytest.raises(ValueError, match=words):
        getattr(core, name)(*arguments[:place], wrong, *arguments[place + 1 :])


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_a_rule_has_all_its_numbers_and_states(name):
    rule = optimizers.TABLE[name]().rule
    states = len(rule.initial)

    def step(numbers, states):
        core.step(
            rule.name, numbers, np.ones(2), np.ones(2), np.zeros((states, 2)), np.full(5, 0.5)
        )

    step(rule, states)
    for numbers in ([], rule[:-1], [*rule, 0.0]):
        with pytest.raises(ValueError, match=f"{rule.name} with {len(rule)} numbers"):
            step(numbers, states)
    for other in {0, states - 1, states + 1} - {states, -1}:
        with pytest.raises(ValueError, match="slots has shape"):
            step(rule, other)


@pytest.mark.parametrize("name", losses.TABLE)
def test_a_loss_has_all_its_numbers(name):
    kernel = losses.TABLE[name]().kernel
    one = np.ones((1, 1))
    core.mean_loss(one, one, one[0], name, kernel)
    for numbers in ([*kernel, 0.0], kernel[:-1]):
        if len(numbers) != len(kernel):
            with pytest.raises(ValueError, match=f"{name} with {len(kernel)} numbers"):
                core.mean_loss(one, one, one[0], name, numbers)


@pytest.mark.parametrize("batch_size", [None, 3, 1])
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_a_callback_may_write_into_the_arrays_of_sparse_rows(backend, batch_size):
    """A kernel follows the index arrays that were checked, whatever becomes of the user's."""
    options = {"lr": 1e-3, "epochs": 5, "batch_size": batch_size, "backend": backend}
    expected = gd.fit(SPARSE, y, validation=(SPARSE, y), **options)
    rows, others = SPARSE.copy(), SPARSE.copy()
    rows.indptr, others.indptr = (a.indptr.astype(np.int64) for a in (rows, others))

    def overwrite(result):
        for matrix in (rows, others):
            matrix.indices[:] = 2**31 - 1
            matrix.indptr[1:] = 2**62

    r = gd.fit(rows, y, validation=(others, y), callback=overwrite, **options)
    assert r.digest == expected.digest
    assert r.history.val_loss.tobytes() == expected.history.val_loss.tobytes()


@pytest.mark.parametrize("batch_size", [None, 3, 1])
@pytest.mark.parametrize("wrong", [1e300, -1e300, np.nan, np.inf])
def test_a_callback_may_write_into_the_classes(wrong, batch_size):
    """A class that there is not is none: the derivatives are the probabilities alone."""
    target = np.arange(20.0) % 3

    def overwrite(result):
        target[:] = wrong

    r = gd.fit(
        DENSE, target, loss="softmax", lr=0.1, epochs=4, batch_size=batch_size, callback=overwrite
    )
    assert np.isfinite(r.coef).all()
