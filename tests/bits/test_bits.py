"""Promise 1, the same bits: generated problems have the same result in bytes on every backend.

A problem is drawn with all its options. Each backend solves it with a number of threads or a layout of X of its own,
so that one comparison covers backends and threads, or backends and layouts.
"""

import dataclasses
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import gdfast as gd
from gdfast import _backends, losses, optimizers, schedules
from gdfast._numerics.order import BLOCK, LANES

EXAMPLES = {"options": 1500, "threads": 350, "layouts": 250}
STEPS = 600  # of a problem, about: numpy takes some ten microseconds for each
BACKENDS = list(_backends.TABLE)

ROWS = st.one_of(
    st.integers(1, LANES + 1),
    st.integers(BLOCK - 1, BLOCK + 1),
    st.integers(2 * BLOCK - 1, 2 * BLOCK + 1),
)
FEATURES = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100])
BATCHES = st.one_of(
    st.none(),
    st.just(1),
    st.integers(2, LANES + 1),
    st.sampled_from([31, 100, 255, 256, 257, 511, 512, 513, 1000]),
)
RATES = st.sampled_from([1e-3, 0.01, 0.1, 1.0, 30.0])
NUMBERS = st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.9, 1.0])


def spaced(X, step):
    """Every step-th row and column of something larger."""
    n, d = X.shape
    view = np.full((n * abs(step), d * abs(step)), np.nan, X.dtype)[::step, ::step]
    view[:] = X
    return view


def unaligned(X):
    view = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    view[:] = X
    return view


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


# Layouts in which X may be given, and how to tell that it has them.
LAYOUTS = {
    "C": (np.ascontiguousarray, lambda X: X.flags.c_contiguous),
    "F": (np.asfortranarray, lambda X: X.flags.f_contiguous),
    "strided": (lambda X: spaced(X, 2), lambda X: min(X.strides) == 2 * X.itemsize),
    "reversed": (lambda X: spaced(X, -1), lambda X: max(X.strides) == -X.itemsize),
    "reversed and strided": (lambda X: spaced(X, -3), lambda X: max(X.strides) == -3 * X.itemsize),
    "read-only": (read_only, lambda X: not X.flags.writeable),
    "unaligned": (unaligned, lambda X: not X.flags.aligned),
    "other byte order": (
        lambda X: X.astype(X.dtype.newbyteorder("S")),
        lambda X: not X.dtype.isnative,
    ),
    "list of rows": (list, lambda X: isinstance(X, list)),
    "tuples of numbers": (lambda X: tuple(map(tuple, X)), lambda X: isinstance(X[0], tuple)),
}


@dataclasses.dataclass
class Problem:
    """What can be made again from its repr: the options, and how the data are drawn."""

    rows: int
    features: int
    dtype: str
    data_seed: int
    X_scale: float
    y_scale: float
    columns: int  # of y
    sparse: bool
    weighted: bool
    initial: bool
    validation: float | int | None  # a fraction, or so many rows of their own
    options: dict

    def arguments(self):
        random = np.random.default_rng(self.data_seed)

        def numbers(*shape, scale=1.0):
            a = random.standard_normal(shape) * scale
            a[random.random(shape) < 0.1] = 0.0
            a[random.random(shape) < 0.1] *= -0.0
            return a.astype(self.dtype)

        n, d, k = self.rows, self.features, self.columns
        targets = losses.find(self.options["loss"]).targets

        def drawn_targets(n):
            y = numbers(n, k, scale=self.y_scale)
            if targets != "numbers":
                most = {"counts": 5, "signs": 1, "classes": 2}[targets]
                y = random.integers(0, most + 1, y.shape).astype(self.dtype)
                y[: most + 1] = np.arange(most + 1)[:n, None]
            return y[:, 0] if k == 1 else y

        X, y = numbers(n, d, scale=self.X_scale), drawn_targets(n)
        X[:, random.random(d) < 0.1] *= 0.0
        if self.sparse:
            X = scipy.sparse.csr_array(np.where(random.random((n, d)) < 0.3, X, 0))
        arguments = {"X": X, "y": y, "validation": self.validation, **self.options}
        if self.weighted:
            lowest = int(isinstance(self.validation, float))  # lest all that are kept weigh 0
            s = random.integers(lowest, 4, n)
            s[0] = 1
            arguments["sample_weight"] = s / 3
        if self.initial:
            outputs = {"classes": (3,)}.get(targets, () if k == 1 else (k,))
            arguments["coef_init"] = numbers(*outputs, d)
            arguments["intercept_init"] = numbers(*outputs or (1,)).reshape(outputs)
        if isinstance(self.validation, int):
            v = self.validation
            arguments["validation"] = numbers(v, d, scale=self.X_scale), drawn_targets(v)
        return arguments


def accepted(cls, values):
    """Records of the class, of those values that it accepts."""

    def record(numbers):
        try:
            return cls(**numbers)
        except ValueError:
            return None

    return st.fixed_dictionaries(values).map(record).filter(lambda made: made is not None)


def values_like(default):
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, tuple):
        return st.just(default) | st.tuples(NUMBERS, NUMBERS)
    return st.just(default) | NUMBERS


def records(cls, rates=RATES):
    """Records of an optimizer."""
    values = {
        field.name: values_like(field.default)
        for field in dataclasses.fields(cls)
        if field.name != "lr"
    }
    if cls().stability is not None:
        rates |= st.just("auto")
    if cls is gd.Rprop:
        rates = RATES
    return accepted(cls, {"lr": rates, **values})


COUNTS = st.integers(1, 20)
ARGUMENTS = {
    "l2": st.sampled_from([1e-4, 0.01, 1.0]),
    "every": COUNTS,
    "total": COUNTS,
    "length": COUNTS,
    "t0": st.sampled_from([1.0, 50.0]),
    "patience": COUNTS,
    "cooldown": COUNTS,
    "lr": RATES,
    "per": st.sampled_from(["epoch", "step"]),
    "factor": st.sampled_from([0.1, 0.5, 2.0, 5.0]),
    "threshold_mode": st.sampled_from(["rel", "abs"]),
}


@st.composite
def rates_by(draw, schedule):
    """Schedules of this class."""
    values = {}
    for field in dataclasses.fields(schedule):
        if field.name == "schedule":
            values["schedule"] = rates_by(schedules.InverseScaling)
        elif field.default is None:
            values[field.name] = st.none()
        else:
            values[field.name] = ARGUMENTS.get(field.name, NUMBERS)
    return draw(accepted(schedule, values))


SCHEDULES = st.sampled_from(list(schedules.TABLE.values())).flatmap(rates_by)


PENALTIES = st.sampled_from([0.0, 0.0, 0.01, 1.0])
# Optimizer, loss, whether X is sparse. Numba compiles each pair for some seconds, so not all of them are here.
FORMULAS = st.sampled_from(
    [
        *((optimizer, "squared_error", False) for optimizer in optimizers.TABLE.values()),
        *((gd.SGD, loss, False) for loss in losses.TABLE),
        *((optimizer, "logistic", True) for optimizer in (gd.SGD, gd.Adagrad, gd.Adam)),
        (gd.SGD, "softmax", True),
        (gd.Adam, "softmax", False),
    ]
)


@st.composite
def problems(draw, rows=ROWS, batch_sizes=BATCHES):
    n = draw(rows)
    optimizer, loss, sparse = draw(FORMULAS)
    several = losses.find(loss).targets in ("numbers", "signs")
    if losses.find(loss).targets in ("signs", "classes"):
        n = max(n, 8)
    batch_size = None if optimizer.full_batch_only else draw(batch_sizes)
    steps = 1 if batch_size is None else -(-n // batch_size)
    validation = st.none() | st.integers(1, 2 * BLOCK + 1)
    if n > 2:
        validation |= st.sampled_from([0.1, 0.5])
    return Problem(
        rows=n,
        features=draw(FEATURES),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        data_seed=draw(st.integers(0, 2**32 - 1)),
        X_scale=draw(st.sampled_from([1.0, 0.1, 1e-20, 1e12])),
        y_scale=draw(st.sampled_from([1.0, 1e-20, 1e15])),
        columns=draw(st.sampled_from([1, 1, 3])) if several else 1,
        sparse=sparse,
        weighted=draw(st.booleans()),
        initial=draw(st.booleans()),
        validation=draw(validation),
        options={
            "loss": loss,
            "l1": draw(PENALTIES),
            "l2": draw(PENALTIES),
            "optimizer": draw(records(optimizer, RATES | SCHEDULES)),
            "batch_size": batch_size,
            "epochs": draw(st.integers(0, max(1, min(30, STEPS // steps)))),
            "fit_intercept": draw(st.booleans()),
            "standardize": draw(st.booleans()),
            "shuffle": draw(st.booleans()),
            "seed": draw(st.integers(0, 2**64 - 1)),
            "tol": draw(st.sampled_from([0.0, 1e-3, 0.1, 10.0])),
            "patience": draw(st.none() | st.integers(1, 3)),
            "average": draw(st.booleans()),
            "clip_norm": draw(st.sampled_from([None, 0.01, 1.0, 1e39])),
            "trace": draw(st.sampled_from([None, "coef"])),
        },
    )


def one_for_each_backend(values):
    return st.lists(values, min_size=len(BACKENDS), max_size=len(BACKENDS))


def canonical(value):
    """A number's or an array's dtype, shape and bytes, all NaN being alike; anything else as it is."""
    if not isinstance(value, np.ndarray | float):
        return value
    a = np.asarray(value)
    a = np.where(np.isnan(a), a.dtype.type(np.nan), a)
    return a.dtype.str, a.shape, a.tobytes()


def outcome(**arguments):
    """All that comes of a fit but its times: the result, the warnings, and the words of a divergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, error = gd.fit(**arguments), None
        except gd.DivergenceError as divergence:
            result, error = divergence.result, divergence
        except ValueError as refusal:
            if "overflow" not in str(refusal) and "underflow" not in str(refusal):
                raise
            return {"error": str(refusal)}
    messages = [str(warning.message) for warning in caught]
    assert all(message.startswith("the loss rose from ") for message in messages), messages
    everything = {"warnings": messages, "error": str(error)}
    if error is not None:
        everything |= {"epoch": error.epoch, "lr": error.lr, "stable_lr": error.stable_lr}
    everything |= {f"history.{name}": value for name, value in vars(result.history).items()}
    everything |= vars(result)
    for name in ("history", "history.seconds", "backend"):
        del everything[name]
    return {name: canonical(value) for name, value in everything.items()}


def assert_same(got, expected, by):
    different = [name for name in expected | got if got.get(name) != expected.get(name)]
    assert not different, f"{different} differ, by {by}"


def for_all(examples, strategy, check):
    """Run the check on so many examples, and see that they were so many."""
    passed = 0

    @settings(max_examples=examples)
    @given(strategy)
    def run(example):
        nonlocal passed
        check(example)
        passed += 1

    run()
    assert passed >= examples


@pytest.fixture
def eager(monkeypatch):
    """Share even the smallest problem between as many threads as are asked for."""
    for name, module in list(sys.modules.items()):
        if name.startswith("gdfast.") and hasattr(module, "useful_threads"):
            monkeypatch.setattr(module, "useful_threads", lambda threads, *work: threads)


def test_the_examples_are_many():
    assert sum(EXAMPLES.values()) >= 2000


@pytest.mark.slow
def test_every_option():
    def check(problem):
        arguments = problem.arguments()
        expected, *others = [outcome(**arguments, backend=name, threads=1) for name in BACKENDS]
        for name, got in zip(BACKENDS[1:], others, strict=True):
            assert_same(got, expected, name)

    for_all(EXAMPLES["options"], problems(), check)


MODES = {"full batch": None, "mini-batch": 5, "per sample": 1}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", optimizers.TABLE.values(), ids=optimizers.TABLE)
def test_every_optimizer_with_every_schedule_in_every_mode(optimizer, dtype):
    X = np.random.default_rng(0).standard_normal((13, 3)).astype(dtype)
    options = {"X": X, "y": X[:, 0] - X[:, 1] ** 2, "epochs": 6}
    modes = {"full batch": None} if optimizer.full_batch_only else MODES
    rates = [RATES] if optimizer is gd.Rprop else map(rates_by, schedules.TABLE.values())
    for rate in rates:

        def check(record):
            for batch_size in modes.values():
                arguments = options | {"optimizer": record, "batch_size": batch_size}
                expected = outcome(**arguments, backend=BACKENDS[-1])
                for name in BACKENDS[:-1]:
                    assert_same(outcome(**arguments, backend=name), expected, name)

        for_all(4, records(optimizer, rate), check)


# Problems that once told the backends apart.
FOUND = {
    "one row is a full batch": {
        "X": [[1.0]],
        "y": [1.0],
        "optimizer": gd.SGD(lr=0.1, momentum=0.5),
        "tol": 10.0,
    },
    "a weight of minus zero": {
        "X": [[0.0], [0.0]],
        "y": [1.0, 1.0],
        "optimizer": gd.SGD(lr=0.1, momentum=0.5),
        "batch_size": 1,
        "coef_init": [-0.0],
        "fit_intercept": False,
    },
    "the last row overflows": {
        "X": [[1e150], [1e150]],
        "y": [1e150, 0.0],
        "lr": 1.0,
        "batch_size": 1,
        "shuffle": False,
        "fit_intercept": False,
    },
    "traced until it diverges": {"X": [[1.0]], "y": [1.0], "lr": 10.0, "trace": "coef"},
    "diverged weights for X as it was": {
        "X": [[0.0], [1e3], [-5.0]] * 300,
        "y": [1.0, 2.0, 3.0] * 300,
        "lr": 5.0,
        "batch_size": 1,
        "standardize": True,
        "trace": "coef",
    },
}


@pytest.mark.parametrize("name", FOUND)
def test_found_by_these_tests(backend, name):
    expected = outcome(**FOUND[name], epochs=5, backend=BACKENDS[-1])
    assert_same(outcome(**FOUND[name], epochs=5, backend=backend), expected, backend)


@pytest.mark.slow
def test_every_number_of_threads(eager):
    def check(example):
        problem, counts = example
        arguments = problem.arguments()
        expected = outcome(**arguments, backend=BACKENDS[0], threads=1)
        for name, threads in zip(BACKENDS, counts, strict=True):
            got = outcome(**arguments, backend=name, threads=threads)
            assert_same(got, expected, f"{name} with {threads} threads")

    shared = problems(
        rows=st.integers(1, 3) | st.integers(BLOCK - 1, 6 * BLOCK + 1),
        batch_sizes=st.sampled_from([None, BLOCK, 2 * BLOCK, 4 * BLOCK, 7]),
    )
    counts = one_for_each_backend(st.integers(1, 5))
    for_all(EXAMPLES["threads"], st.tuples(shared, counts), check)


@pytest.mark.slow
def test_every_layout():
    def check(example):
        problem, names = example
        problem = dataclasses.replace(problem, sparse=False)
        arguments = problem.arguments()
        X = arguments.pop("X")
        expected = outcome(X=X, **arguments, backend=BACKENDS[0])
        for name, layout in zip(BACKENDS, names, strict=True):
            make, _ = LAYOUTS[layout]
            got = outcome(X=make(X), **arguments, backend=name)
            assert_same(got, expected, f"{name} with X {layout}")

    names = one_for_each_backend(st.sampled_from(list(LAYOUTS)))
    for_all(EXAMPLES["layouts"], st.tuples(problems(), names), check)


def test_epochs_one_by_one_are_epochs_at_once(backend):
    def check(problem):
        arguments = problem.arguments() | {"backend": backend}
        got = outcome(**arguments, callback=lambda result: None)
        assert_same(got, outcome(**arguments), "a callback")

    for_all(30, problems(), check)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_are_what_they_say(layout, dtype):
    make, shows = LAYOUTS[layout]
    X = np.arange(15, dtype=dtype).reshape(5, 3)
    assert shows(make(X))
    assert np.array_equal(make(X), X)
    assert np.asarray(make(X)).dtype.newbyteorder("=") == dtype
