"""Wrong input is answered with an error that names the place, divergence with a rate that works."""

import inspect
import pickle
import re
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

import gdfast as gd
import gdfast.sklearn
from gdfast import _backends, _validation
from gdfast._data import arrays, scaling
from gdfast._training import prepare, run, stable_rates, validation

X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5] + np.arange(20) % 3
y.flags.writeable = X.flags.writeable = False

NAN, INF = np.nan, np.inf


def with_value(a, where, value):
    a = a.copy()
    a[where] = value
    return a


# Arguments -> the error and a part of its message.
WRONG = [
    # X
    ({"X": np.empty((0, 3))}, ValueError, "X is empty, shape (0, 3)"),
    ({"X": np.empty((20, 0))}, ValueError, "X is empty, shape (20, 0)"),
    ({"X": []}, ValueError, "X is 1-D with 0 values"),
    ({"X": X[:, 0]}, ValueError, "X is 1-D with 20 values: pass X.reshape(-1, 1)"),
    ({"X": X[None]}, ValueError, "X has 3 dimensions, shape (1, 20, 3)"),
    ({"X": 1.0}, ValueError, "X has 0 dimensions"),
    ({"X": [[1.0], [2.0, 3.0]]}, ValueError, "X is not a rectangular array"),
    ({"X": X.astype(str)}, TypeError, "X has dtype <U"),
    ({"X": X.astype(object)}, TypeError, "X has dtype object: convert it to float64"),
    ({"X": X.astype(complex)}, TypeError, "X has dtype complex128"),
    (
        {"X": X.astype(np.int64).astype("M8[s]")},
        TypeError,
        "X[0, 0] is 1969-12-31T23:59:57, a date",
    ),
    ({"X": None}, TypeError, "X is None: it must be an array of numbers"),
    ({"X": "data.csv"}, TypeError, "X is 'data.csv': it must be an array of numbers"),
    ({"X": {"a": [1.0]}}, TypeError, "X is {'a': [1.0]}: it must be an array of numbers"),
    ({"X": np.ma.masked_less(X, 0)}, TypeError, "X is a masked array"),
    ({"y": csr_array(X[:, :1])}, TypeError, "y is a sparse matrix: pass y.toarray()"),
    # y
    ({"y": y[:-1]}, ValueError, "y has 19 rows, X has 20"),
    ({"y": y[:, None, None]}, ValueError, "y has shape (20, 1, 1): it must be 1-D"),
    ({"y": 1.0}, ValueError, "y has shape ()"),
    ({"y": y.astype(str)}, TypeError, "y has dtype <U"),
    ({"y": y.astype(object)}, TypeError, "y has dtype object"),
    ({"y": y.astype(complex)}, TypeError, "y has dtype complex128"),
    ({"y": np.ma.masked_less(y, 0)}, TypeError, "y is a masked array"),
    # lr
    ({"lr": -0.1}, ValueError, "lr=-0.1 must be"),
    ({"lr": 0}, ValueError, "lr=0 must be"),
    ({"lr": NAN}, ValueError, "lr=nan must be a finite number"),
    ({"lr": INF}, ValueError, "lr=inf must be a finite number"),
    ({"lr": "fast"}, ValueError, "unknown lr 'fast': known: 'auto'"),
    ({"lr": True}, TypeError, "lr must be a number, not True"),
    ({"lr": [0.1]}, TypeError, "lr must be a number, not [0.1]"),
    ({"lr": 1e-60, "X": X.astype("float32")}, ValueError, "lr=1e-60 is 0.0 in float32"),
    ({"lr": 1e60, "X": X.astype("float32")}, ValueError, "lr=1e+60 is inf in float32"),
    # numbers and flags
    ({"batch_size": 0}, ValueError, "batch_size=0 must be at least 1"),
    ({"batch_size": -1}, ValueError, "batch_size=-1 must be at least 1"),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, not 2.0"),
    ({"batch_size": True}, TypeError, "batch_size must be an integer, not True"),
    ({"epochs": -1}, ValueError, "epochs=-1 must be at least 0"),
    ({"epochs": 10.0}, TypeError, "epochs must be an integer, not 10.0"),
    ({"epochs": None}, TypeError, "epochs must be an integer, not None"),
    ({"tol": -1}, ValueError, "tol=-1 must be"),
    ({"tol": NAN}, ValueError, "tol=nan must be"),
    ({"tol": None}, TypeError, "tol must be a number"),
    ({"patience": 0}, ValueError, "patience=0 must be at least 1"),
    ({"patience": 1.5}, TypeError, "patience must be an integer"),
    ({"clip_norm": 0}, ValueError, "clip_norm=0 must be"),
    ({"clip_norm": NAN}, ValueError, "clip_norm=nan must be"),
    ({"clip_norm": "1"}, TypeError, "clip_norm must be a number"),
    ({"seed": -1}, ValueError, "seed=-1 must be in"),
    ({"seed": 2**64}, ValueError, f"seed={2**64} must be in"),
    ({"seed": None}, TypeError, "seed must be an integer"),
    ({"threads": 0}, ValueError, "threads=0 must be at least 1"),
    ({"threads": 1.0}, TypeError, "threads must be an integer"),
    ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False, not 1"),
    ({"standardize": "yes"}, TypeError, "standardize must be True or False"),
    ({"shuffle": None}, TypeError, "shuffle must be True or False"),
    ({"average": 10}, TypeError, "average must be True or False"),
    ({"progress": 1}, TypeError, "progress must be True or False"),
    # names
    ({"loss": "squared_eror"}, ValueError, "did you mean 'squared_error'? known: 'epsilon_"),
    ({"loss": "xyz"}, ValueError, "unknown loss 'xyz': known: 'epsilon_insensitive', 'half_"),
    ({"loss": 2}, TypeError, "loss must be a name ('epsilon_insensitive', 'half_"),
    ({"loss": gd.losses.Huber(0)}, ValueError, "delta=0 must be a finite number in (0, inf)"),
    ({"loss": gd.losses.Quantile(1.0)}, ValueError, "q=1.0 must be a finite number in (0, 1)"),
    ({"loss": gd.losses.EpsilonInsensitive(-1)}, ValueError, "epsilon=-1 must be a finite"),
    ({"loss": gd.losses.Softmax(2.5)}, TypeError, "classes must be an integer, not 2.5"),
    ({"loss": gd.losses.Softmax(2**40)}, ValueError, f"classes={2**40} must be in [0, 16777216]"),
    ({"optimizer": "sdg"}, ValueError, "unknown optimizer 'sdg': did you mean 'sgd'? known: 'ada"),
    ({"optimizer": gd.SGD}, TypeError, "'sparseadam') or a record, not the class SGD"),
    (
        {"optimizer": "adam", "lr": "auto"},
        ValueError,
        'lr="auto" is the rate that the curvature allows',
    ),
    (
        {"optimizer": "rprop", "batch_size": 5},
        ValueError,
        "batch_size=5 of 20 rows: pass batch_size=None",
    ),
    (
        {"optimizer": gd.Adam(eps=1e-60), "X": X.astype("float32")},
        ValueError,
        "eps=1e-60 is 0.0 in float32",
    ),
    ({"backend": "nunpy"}, ValueError, "did you mean 'numpy'? known: 'cpp', 'numba', 'numpy'"),
    ({"backend": 1}, TypeError, "backend must be a name, not 1"),
    ({"trace": "loss"}, ValueError, "trace='loss' must be None or \"coef\""),
    ({"callback": "print"}, TypeError, "callback must be callable, not 'print'"),
    # weights of the rows
    ({"sample_weight": with_value(np.ones(20), 7, -2)}, ValueError, "sample_weight[7] is -2.0"),
    ({"sample_weight": np.zeros(20)}, ValueError, "sample_weight is zero in every row"),
    ({"sample_weight": with_value(np.ones(20), 7, NAN)}, ValueError, "sample_weight[7] is nan"),
    ({"sample_weight": with_value(np.ones(20), 7, INF)}, ValueError, "sample_weight[7] is inf"),
    ({"sample_weight": np.ones(19)}, ValueError, "sample_weight has 19 rows, X has 20"),
    ({"sample_weight": np.ones((20, 1))}, ValueError, "sample_weight has shape (20, 1)"),
    ({"sample_weight": ["1"] * 20}, TypeError, "sample_weight has dtype <U1"),
    # initial weights
    ({"coef_init": [1.0]}, ValueError, "coef_init has shape (1,): it must have shape (3,)"),
    ({"coef_init": [[1.0, 2.0, 3.0]]}, ValueError, "coef_init has shape (1, 3)"),
    ({"coef_init": [1.0, NAN, 3.0]}, ValueError, "coef_init[1] is nan"),
    ({"coef_init": ["a", "b", "c"]}, TypeError, "coef_init[0] is 'a', which is no number"),
    ({"intercept_init": [1.0]}, ValueError, "intercept_init has shape (1,)"),
    ({"intercept_init": NAN}, ValueError, "intercept_init is nan"),
    (
        {"coef_init": [1e300, 0, 0], "X": X.astype("float32")},
        ValueError,
        "coef_init[0] is 1e+300, too large",
    ),
    # validation
    ({"validation": 0.0}, ValueError, "validation=0.0 must be"),
    ({"validation": 1.0}, ValueError, "validation=1.0 must be"),
    ({"validation": 0.99}, ValueError, "none is left to train on"),
    ({"validation": True}, TypeError, "validation must be a number, not True"),
    ({"validation": "half"}, TypeError, "validation must be a number, not 'half'"),
    ({"validation": (X,)}, ValueError, "it must be a pair (Xv, yv) or a fraction"),
    ({"validation": (X[:, :2], y)}, ValueError, "validation X has 2 features, X has 3"),
    ({"validation": (X[0], y)}, ValueError, "validation X is 1-D"),
    ({"validation": (X, y[:-1])}, ValueError, "validation y has 19 rows, validation X has 20"),
    # penalties
    ({"l1": -1}, ValueError, "l1=-1 must be a finite number in [0, inf)"),
    ({"l2": NAN}, ValueError, "l2=nan must be a finite number in [0, inf)"),
    ({"l2": "1"}, TypeError, "l2 must be a number, not '1'"),
    ({"l1": 1e-60, "X": X.astype("float32")}, ValueError, "l1=1e-60 is 0.0 in float32"),
    # targets
    ({"loss": "logistic", "y": abs(y * 0)}, ValueError, "y is 0.0 in every row: there must be two"),
    (
        {"loss": "hinge", "y": np.arange(20) % 3},
        ValueError,
        "y[2] is 2, after 0, 1: hinge takes two",
    ),
    (
        {"loss": "hinge", "y": [*"bbaac" * 4]},
        ValueError,
        "y[4] is 'c', after 'b', 'a': hinge takes",
    ),
    ({"loss": "hinge", "y": [["a"] * 2] * 20}, ValueError, "y is 'a' in every row: there must be"),
    (
        {"loss": "hinge", "y": [3] * 20},
        ValueError,
        "y is 3 in every row: there must be two classes",
    ),
    (
        {"loss": "softmax", "y": [3] * 20},
        ValueError,
        "y is 3 in every row: there must be two classes",
    ),
    (
        {"loss": "softmax", "y": [*"ab" * 9, 1, 2]},
        TypeError,
        "y[18] is 1, after labels that are text",
    ),
    ({"loss": "softmax", "y": [*"ab" * 9, "a", None]}, ValueError, "y[19] is missing: remove the"),
    (
        {"loss": "softmax", "y": [NAN, *"ab" * 9, "a"]},
        ValueError,
        "y[0] is missing: remove the row",
    ),
    (
        {"loss": "softmax", "y": [1, {}] * 10},
        TypeError,
        "y[1] is {}, a dict: labels are numbers, text",
    ),
    ({"loss": "softmax", "y": [2**70, 1] * 10}, TypeError, "y holds integers of more than 64 bits"),
    ({"loss": "softmax", "y": y.astype(complex)}, TypeError, "y has dtype complex128: labels are"),
    ({"loss": "softmax", "y": ["a"] * 19}, ValueError, "y has 19 rows, X has 20"),
    ({"loss": "softmax", "y": np.ma.masked_less(y, 0)}, TypeError, "y is a masked array"),
    ({"loss": "softmax", "y": csr_array(X[:, :1])}, TypeError, "y is a sparse matrix"),
    (
        {"loss": "softmax", "y": with_value(np.arange(20).astype("M8[D]"), 3, "NaT")},
        ValueError,
        "y[3] is None: remove the row",
    ),
    ({"loss": "logistic", "y": with_value(np.arange(20.0) % 2, 5, NAN)}, ValueError, "y[5] is nan"),
    ({"loss": "softmax", "y": np.zeros((20, 1))}, ValueError, "y is 0.0 in every row"),
    ({"loss": "softmax", "y": np.eye(20)}, ValueError, "y has 20 columns: softmax takes one"),
    (
        {"loss": gd.losses.Softmax(3), "y": range(20)},
        ValueError,
        "y[3] is 3: the classes are 0, 1, 2",
    ),
    (
        {"loss": gd.losses.Softmax(3), "y": [*"ab" * 10]},
        ValueError,
        "y[0] is 'a': the classes are 0,",
    ),
    (
        {"loss": gd.losses.Softmax(1), "y": [0, 1] * 10},
        ValueError,
        "Softmax(classes=1): there must be",
    ),
    ({"loss": "poisson", "y": np.arange(20) - 4.0}, ValueError, "y[0] is -4: the poisson loss"),
    ({"y": np.ones((19, 2))}, ValueError, "y has 19 rows, X has 20"),
    ({"y": np.ones((20, 2)), "coef_init": [1.0, 2.0, 3.0]}, ValueError, "must have shape (2, 3)"),
    (
        {"y": np.ones((20, 2)), "validation": (X, y)},
        ValueError,
        "validation y has 1 columns, y has 2",
    ),
    (
        {"loss": "logistic", "y": np.arange(20) % 2, "validation": (X, np.arange(20) % 3)},
        ValueError,
        "validation y[2] is 2: the classes are 0, 1",
    ),
    (
        {"loss": "softmax", "y": [*"abcde" * 4], "validation": (X, [*"abcdf" * 4])},
        ValueError,
        "validation y[4] is 'f': the classes are 'a', 'b', 'c', 'd', 'e'",
    ),
    (
        {"loss": "softmax", "y": [*"01" * 10], "validation": (X, [0, 1] * 10)},
        ValueError,
        "validation y[0] is 0: the classes are '0', '1'",
    ),
    # names of other libraries
    ({"learning_rate": 0.1}, TypeError, "argument 'learning_rate': in gdfast it is lr"),
    ({"eta0": 0.1}, TypeError, "argument 'eta0': in gdfast it is lr"),
    ({"max_iter": 10}, TypeError, "argument 'max_iter': in gdfast it is epochs"),
    ({"n_iter": 10}, TypeError, "argument 'n_iter': in gdfast it is epochs"),
    ({"random_state": 0}, TypeError, "argument 'random_state': in gdfast it is seed"),
    ({"verbose": 1}, TypeError, "argument 'verbose': in gdfast it is progress"),
    ({"n_jobs": 2}, TypeError, "argument 'n_jobs': in gdfast it is threads"),
    (
        {"C": 1.0},
        TypeError,
        "argument 'C': for the objective of LogisticRegression of n rows pass l2=1 / (C * n)",
    ),
    ({"alpha": 0.1}, TypeError, "argument 'alpha': for the objective of SGDRegressor pass l2="),
    ({"penalty": "l2"}, TypeError, "argument 'penalty': the penalties are l1= and l2="),
    ({"momentum": 0.9}, TypeError, "argument 'momentum': pass optimizer=gdfast.SGD(momentum="),
    ({"class_weight": "balanced"}, TypeError, "argument 'class_weight': pass sample_weight="),
    ({"epoch": 5}, TypeError, "argument 'epoch': did you mean 'epochs'? known: 'X'"),
    # a feature that comes later
    ({"checkpoint": "file"}, TypeError, "unexpected keyword argument 'checkpoint'"),
]
if np.dtype(np.longdouble).itemsize > 8:
    WRONG += [
        ({"X": X.astype(np.longdouble)}, TypeError, "X has dtype float"),
        ({"y": y.astype(np.longdouble)}, TypeError, "y has dtype float"),
    ]


def test_names_of_other_libraries_elsewhere():
    with pytest.raises(TypeError, match=r"fit_stream\(\) got .* 'eta0': in gdfast it is lr$"):
        gd.fit_stream([(X, y)], eta0=0.1)
    with pytest.raises(TypeError, match=r"fit_stream\(\) got .* 'random_state': known: 'average'"):
        gd.fit_stream([(X, y)], random_state=0)  # a stream is not shuffled
    with pytest.raises(TypeError, match=r"fit\(\) got .* 'max_iter': in gdfast it is epochs"):
        gd.compare(X, y, ["sgd", "adam"], max_iter=5)
    with pytest.raises(TypeError, match=r"minimize\(\) got .* 'epochs': in gdfast it is maxiter$"):
        gd.minimize(np.sum, [1.0], epochs=5)
    with pytest.raises(TypeError, match=r"^can only concatenate"):  # an error of another kind
        gd.minimize(lambda x: "" + 1, [1.0], jac=np.cos)


def test_every_argument_that_is_advised_is_there():
    known = inspect.signature(gd.fit).parameters.keys() | inspect.signature(gd.minimize).parameters
    for synonyms in map(str.split, _validation.SYNONYMS):
        assert known & set(synonyms)
    names = [name for synonyms in _validation.SYNONYMS for name in synonyms.split()]
    assert len(set(names)) == len(names)
    assert not set(names) & _validation.ELSEWHERE.keys()
    for words in _validation.ELSEWHERE.values():
        for call in re.findall(r"gdfast\.([\w.]+)\((?:\.\.\., )?(\w+)=", words):
            record = gd
            for part in call[0].split("."):
                record = getattr(record, part)
            assert call[1] in inspect.signature(record).parameters


def test_weights_that_no_memory_holds():
    """Of 2^31 - 1 sparse columns and 2^20 models: the counts are named."""
    X = csr_array(([1.0], ([1], [3])), shape=(2, 2**31 - 1))
    y = np.ones((2, 2**20))
    with pytest.raises(
        MemoryError, match=r"^1048576 models with 2147483648 weights each.* GB, which"
    ):
        gd.fit(X, y, lr=0.1)


def never(result):
    raise AssertionError("the fit has begun")


def label(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG, ids=label)
def test_wrong_arguments(arguments, error, message):
    before = np.geterr()
    with pytest.raises(error, match=re.escape(message)) as raised:
        gd.fit(**{"X": X, "y": y, "callback": never} | arguments)
    assert raised.type is error
    assert np.geterr() == before


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ({"nesterov": True}, ValueError, "nesterov needs momentum > 0 and dampening 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "nesterov needs"),
        ({"nesterov": 1, "momentum": 0.9}, TypeError, "nesterov must be True or False"),
        ({"momentum": 1.0}, ValueError, "momentum=1.0 must be"),
        ({"momentum": -0.1}, ValueError, "momentum=-0.1 must be"),
        ({"momentum": NAN}, ValueError, "momentum=nan must be"),
        ({"dampening": 1.5}, ValueError, "dampening=1.5 must be"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay=-1.0 must be"),
        ({"lr": 0.0}, ValueError, "lr=0.0 must be"),
        ({"lr": "fast"}, ValueError, "unknown lr 'fast'"),
        ({"beta": 0.9}, TypeError, "beta"),
    ],
    ids=label,
)
def test_wrong_numbers_of_sgd(numbers, error, message):
    with pytest.raises(error, match=re.escape(message)):
        gd.SGD(**numbers)


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"lr": "auto"},
        {"lr": 0.01},
        {"lr": 1e-300},
        {"standardize": True},
        {"standardize": True, "lr": 0.1},
        {"validation": 0.5},
        {"validation": (X, y), "lr": 0.1},
        {"sample_weight": np.arange(20) == 0, "lr": 0.1},
        {"coef_init": [1.0, 2.0, 3.0], "lr": 0.1},
        {"optimizer": gd.SGD(0.1, momentum=0.9), "average": True},
        {"clip_norm": 0.1, "tol": 0.1, "lr": 0.1},
        {"epochs": 1},
        {"epochs": 0},
        {"epochs": 0, "lr": 0.1},
    ],
    ids=",".join,
)
@pytest.mark.parametrize("batch_size", [None, 4, 1])
def test_values_that_are_not_finite(backend, batch_size, options, value):
    common = {"batch_size": batch_size, "backend": backend, **options}
    for row in (0, 17, 19):
        with pytest.raises(ValueError, match=rf"^X\[{row}, 2\] is {value}: "):
            gd.fit(with_value(X, (row, 2), value), y, **common)
        with pytest.raises(ValueError, match=rf"^y\[{row}\] is {value}: "):
            gd.fit(X, with_value(y, row, value), **common)


@pytest.mark.parametrize("epochs", [0, 1, 10])
@pytest.mark.parametrize("batch_size", [None, 4, 1])
def test_validation_rows_that_are_not_finite(batch_size, epochs):
    common = {"batch_size": batch_size, "epochs": epochs}
    with pytest.raises(ValueError, match=r"^validation X\[17, 2\] is nan"):
        gd.fit(X, y, validation=(with_value(X, (17, 2), NAN), y), **common)
    with pytest.raises(ValueError, match=r"^validation y\[17\] is inf"):
        gd.fit(X, y, validation=(X, with_value(y, 17, INF)), **common)


def test_what_is_too_large_for_the_dtype_of_X():
    X32 = X.astype("float32")
    too_large = r" is 1e\+300, too large for float32, the dtype of X"
    with pytest.raises(ValueError, match=r"^y\[17\]" + too_large):
        gd.fit(X32, with_value(y, 17, 1e300))
    with pytest.raises(ValueError, match=r"^validation X\[17, 2\]" + too_large):
        gd.fit(X32, y, validation=(with_value(X, (17, 2), 1e300), y))
    with pytest.raises(ValueError, match=r"^validation y\[17\]" + too_large):
        gd.fit(X32, y, validation=(X, with_value(y, 17, 1e300)))


@pytest.mark.parametrize("options", [{}, {"lr": 0.1}], ids=str)
@pytest.mark.parametrize("batch_size", [None, 4, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_whose_squares_overflow(backend, dtype, batch_size, options):
    """An answer in words, not a stray warning: X is finite, and yet there is nothing to compute with."""
    large = with_value(X.astype(dtype), (17, 2), np.finfo(dtype).max / 2)
    with pytest.raises((ValueError, gd.DivergenceError), match=r"overflow|diverged"):
        gd.fit(large, y, batch_size=batch_size, backend=backend, **options)
    with pytest.raises(ValueError, match=rf"the loss at the start overflows {dtype}"):
        gd.fit(X.astype(dtype), with_value(y.astype(dtype), 17, large.max()), batch_size=batch_size)


@pytest.mark.parametrize(
    "options", [{}, {"standardize": True}, {"lr": 0.01}, {"validation": (X[:2], y[:2])}], ids=str
)
@pytest.mark.parametrize("batch_size", [None, 4, 1])
def test_good_data_are_not_searched(monkeypatch, backend, batch_size, options):
    """The numbers that are not finite are looked for once they have shown in a result."""
    searched = []
    for module in (arrays, prepare, run, scaling, stable_rates, validation):
        if hasattr(module, "check_finite"):
            monkeypatch.setattr(module, "check_finite", lambda a, name: searched.append(np.size(a)))
    gd.fit(X, y, batch_size=batch_size, epochs=3, backend=backend, **options)
    assert max(searched, default=0) <= X.shape[1]


def test_a_backend_that_is_not_available(monkeypatch, backend):
    monkeypatch.setattr(_backends, "why_not", lambda name: "it is hidden")
    with pytest.raises(
        gd.BackendError, match=f"^backend '{backend}' is not available: it is hidden$"
    ):
        gd.fit(X, y, backend=backend)


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install tqdm"):
        gd.fit(X, y, progress=True)


BATCHES = {"full batch": None, "mini-batch": 4, "per sample": 1}


@pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)
def test_divergence(backend, batch_size):
    options = {"batch_size": batch_size, "epochs": 1000, "trace": "coef", "backend": backend}
    lr = 0.5
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X, y, lr=lr, **options)
    error = raised.value
    assert isinstance(error, ArithmeticError)
    assert error.lr == lr
    assert 0 < error.stable_lr < lr
    shown = float(re.search(r"for this data is ([\d.e-]+[\d])", str(error))[1])
    assert 0.99 * error.stable_lr <= shown <= error.stable_lr  # to three digits, downwards
    assert str(error).startswith(f"lr=0.5 diverged at epoch {error.epoch}, where the loss was ")
    assert gd.fit(X, y, lr=shown, **options).history.loss[-1] <= np.mean(y**2)

    r = error.result
    assert r.stop_reason == "divergence"
    assert not r.converged
    assert r.n_epochs == error.epoch + 1
    assert [len(r.history.loss), len(r.history.seconds)] == [r.n_epochs] * 2
    start = np.mean(y**2)
    assert (r.history.loss[:-1] <= 1e6 * start).all()
    assert not r.history.loss[-1] <= 1e6 * start
    assert np.array_equal(r.coef, r.history.coef[error.epoch])  # from before the epoch
    assert np.isfinite(r.predict(X)).all()


@pytest.mark.parametrize("lr", [100.0, 1e60, 1e200])
@pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)
def test_divergence_is_not_blamed_on_the_validation_rows(batch_size, lr):
    with pytest.raises(gd.DivergenceError):
        gd.fit(X, y, lr=lr, batch_size=batch_size, validation=(X, y))


def test_divergence_from_initial_weights_is_judged_by_them():
    """Where y is 0 and the loss of predicting 0 with it."""
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X, np.zeros(20), lr=1.0, coef_init=[1.0, 1.0, 1.0])
    loss = raised.value.result.history.loss
    assert (loss[:-1] <= 1e6 * loss[0]).all()


def test_divergence_pickles(tmp_path):
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X, y, lr=100.0)
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is gd.DivergenceError
    assert str(again) == str(raised.value)
    assert (again.epoch, again.lr) == (raised.value.epoch, 100.0)
    assert again.stable_lr == raised.value.stable_lr
    assert again.result.digest == raised.value.result.digest
    again.result.save(tmp_path / "partial.npz")
    assert gd.load(tmp_path / "partial.npz").digest == again.result.digest


@pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
@pytest.mark.parametrize("standardize", [False, True])
def test_standardize_is_advised_where_it_helps(batch_size, scale, standardize):
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X * [1.0, scale, 1.0], y, lr=10.0, batch_size=batch_size, standardize=standardize)
    advised = "standardize=True" in str(raised.value)
    assert advised == (scale != 1 and not standardize)
    if advised:
        assert "X[:, 1]" in str(raised.value)


def test_no_advice_that_does_not_help():
    """Columns of one large scale and no intercept: their scales do not differ."""
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X * 1e4, y, lr=10.0, fit_intercept=False)
    assert "standardize" not in str(raised.value)


def test_a_loss_that_rose_is_warned_of():
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(X, y, lr=100.0)
    with pytest.warns(RuntimeWarning, match=r"^the loss rose .* stable rate .* is ") as warned:
        gd.fit(X, y, lr=1.1 * raised.value.stable_lr, epochs=25)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)
def test_a_loss_that_fell_is_not_warned_of(batch_size):
    """From initial weights that are worse than none."""
    options = {"coef_init": [1.0, 2.0, 3.0], "intercept_init": 4.0, "lr": 1e-4}
    r = gd.fit(X, y, epochs=5, batch_size=batch_size, **options)
    assert r.history.loss[0] > r.history.loss[-1] > 1.5 * np.mean(y**2)


ADAPTIVE = ["adam", "adamw", "nadam", "adagrad", "rmsprop", "adadelta"]
LARGE = np.column_stack([1.7e18 + np.arange(50) * 3.6e12, np.arange(50) % 7]).astype(np.float32)
OF_LARGE = (100 + np.arange(50)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_squares_of_gradients_that_overflow_are_an_error(backend, optimizer, batch_size):
    """Else the weight would stay where it is, and nothing would be said."""
    with pytest.raises(gd.DivergenceError) as raised:
        gd.fit(
            LARGE, OF_LARGE, optimizer=optimizer, batch_size=batch_size, epochs=3, backend=backend
        )
    assert re.match(
        r"the gradient for X\[:, 0\] is so large that its squares overflow float32 in the state of .*: divide the "
        r"column by a constant, or pass standardize=True, or pass X in float64$",
        str(raised.value),
    )
    assert raised.value.stable_lr is None


def test_squares_that_overflow_are_named():
    """By the column's name, its output's intercept, in float64 and from streams, frames and calls of partial_fit."""
    frame = pd.DataFrame({"time": LARGE[:, 0], "day": LARGE[:, 1]})
    with pytest.raises(gd.DivergenceError, match=r"X\[:, 0\] \('time'\) is so large"):
        gd.fit(frame, OF_LARGE, optimizer="adam", epochs=3)
    Z = csr_array(LARGE[:, ::-1])
    with pytest.raises(gd.DivergenceError, match=r"X\[:, 1\] is so large .* float32"):
        gd.fit(Z, OF_LARGE, optimizer="adagrad", batch_size=4, epochs=3)
    with pytest.raises(gd.DivergenceError, match=r"X\[:, 0\] is so large .* float32"):
        gd.fit_stream([(LARGE, OF_LARGE)], optimizer="adam", epochs=3)
    estimator = gdfast.sklearn.GDRegressor(optimizer="adam")
    with pytest.raises(gd.DivergenceError, match=r"X\[:, 0\] is so large .* float32"):
        estimator.partial_fit(LARGE, OF_LARGE)
    with pytest.raises(gd.DivergenceError, match=r"float64 .* or pass standardize=True$"):
        gd.fit(LARGE * [1e140, 1.0], OF_LARGE, optimizer="adam", epochs=3)
    Z, t = LARGE[:, 1:] * np.float32(1e-6), OF_LARGE * np.float32(1.5e16)
    with pytest.raises(gd.DivergenceError, match=r"the intercept is so large .*: divide y by a"):
        gd.fit(Z, t, optimizer="adagrad", epochs=60)
    for options in ({"standardize": True}, {"optimizer": gd.Adamax(1e-21)}):
        r = gd.fit(LARGE, OF_LARGE, **{"optimizer": "adam", "epochs": 100} | options)
        assert r.history.loss[-1] < r.history.loss[0]


@pytest.mark.parametrize("rule", [gd.Adam, gd.AdamW, gd.NAdam, gd.RAdam, gd.Adagrad, gd.RMSprop])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_division_by_zero_is_called_one(rule, batch_size):
    """A smaller rate would divide by 0 alike; the eps that is named does not."""
    Z, t = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], [1.0, 2.0, 3.0]
    options = {"batch_size": batch_size, "epochs": 10}
    with pytest.raises(gd.DivergenceError, match=r"with eps=0 .* divides by 0 where") as raised:
        gd.fit(Z, t, optimizer=rule(lr=0.01, eps=0), **options)
    assert "try" not in str(raised.value)
    eps = float(re.search("such as (.*)$", str(raised.value))[1])
    gd.fit(Z, t, optimizer=rule(lr=0.01, eps=eps), **options)


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-9, 1e-12, 1e-200])
def test_a_small_loss_at_the_start_is_no_measure(size):
    """A perceptron's loss is as small as its weights, and they are as large as the rate after a step."""
    random = np.random.default_rng(0)
    Z = random.standard_normal((200, 5))
    t = (Z @ random.standard_normal(5) > 0).astype(int)
    start = size * random.standard_normal(5)
    for options in (
        {"lr": 0.1},
        {"lr": 0.1, "batch_size": 1},
        {"lr": "auto"},
        {"optimizer": "adam"},
        {"optimizer": gd.SGD(0.1, momentum=0.9)},
    ):
        r = gd.fit(Z, t, loss="perceptron", coef_init=start, **options)
        assert np.mean(r.predict(Z) == t) > 0.85
    tiny = np.append(1e-9, np.zeros(199))
    for loss in ("quantile", gd.losses.EpsilonInsensitive(0.0)):
        r = gd.fit(Z, tiny, loss=loss, lr=0.1, batch_size=1)
        assert r.history.loss.max() < 10


@pytest.mark.parametrize("loss", ["hinge", "perceptron", "quantile"])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_losses_of_bounded_slope_diverge_by_their_penalty(loss, batch_size):
    """w becomes -2 w and more at each step."""
    t = y if loss == "quantile" else y > 0
    with pytest.raises(gd.DivergenceError):
        gd.fit(X, t, loss=loss, lr=1.0, l2=3.0, batch_size=batch_size, epochs=200)


@pytest.mark.parametrize("end", ["epochs", "tol", "callback", "divergence", "bad data"])
@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"validation": 0.5}], ids=str)
@pytest.mark.parametrize("batch_size", BATCHES.values(), ids=BATCHES)
def test_inputs_are_left_as_they_were(backend, batch_size, options, end):
    given = {
        "X": X.copy(),
        "y": y.copy(),
        "coef_init": np.full(3, 0.1),
        "sample_weight": np.arange(1.0, 21),
    }
    options = {**options, "batch_size": batch_size, "backend": backend}
    if end == "bad data":
        given["X"][17, 2] = NAN
    if end == "callback":
        options["callback"] = lambda result: True
    options["tol"] = 1e9 if end == "tol" else 0.0
    options["lr"] = 1e3 if end == "divergence" else 1e-3
    before = {name: a.tobytes() for name, a in given.items()}
    try:
        r = gd.fit(**given, **options)
    except (ValueError, gd.DivergenceError) as error:
        assert (type(error) is ValueError) == (end == "bad data")  # noqa: PT017
    else:
        assert r.stop_reason == ("epochs" if end == "tol" and batch_size else end)
    assert {name: a.tobytes() for name, a in given.items()} == before
    assert all(a.flags.writeable for a in given.values())
