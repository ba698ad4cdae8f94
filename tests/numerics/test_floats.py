"""A library that flushes denormals to zero in the process, or rounds otherwise, changes no result."""

import platform
import threading
from fractions import Fraction

import numpy as np
import pytest

import gdfast as gd
from gdfast import _core, schedules
from gdfast._numerics import float_mode
from gdfast.sklearn import GDClassifier, GDRegressor

ARM = platform.machine() in ("aarch64", "arm64")
# Bits of FPCR, or of MXCSR.
ROUNDING = (
    {"upward": 1 << 22, "downward": 2 << 22, "toward zero": 3 << 22}
    if ARM
    else {"downward": 1 << 13, "upward": 2 << 13, "toward zero": 3 << 13}
)


@pytest.fixture
def other_mode():
    """Put this thread in a mode that another library might have chosen."""

    def change(mode):
        _core.set_float_mode(_core.standard_float_mode | mode)

    yield change
    _core.set_float_mode(_core.standard_float_mode)


def denormal_fit(backend, **options):
    rows = np.arange(1, 601)
    X = (rows[:, None] * [1.0, 3.0] % 7 - 3) * 2.0**-520
    y = (rows % 5 - 2) * 2.0**-520
    return gd.fit(X, y, lr=2.0**-4, epochs=2, trace="coef", backend=backend, **options)


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 32}], ids=str)
def test_flushing_changes_no_bit(other_mode, flushing_mode, backend, options):
    expected = denormal_fit(backend, **options)
    changes = np.abs(np.diff(expected.history.coef, axis=0))
    assert (changes[changes > 0] < np.finfo(float).tiny).any()
    other_mode(flushing_mode)
    assert not float_mode.denormals_kept()
    assert denormal_fit(backend, **options).digest == expected.digest


X = np.arange(1.0, 91.0).reshape(30, 3) % 7 / 10
y = np.arange(30.0) % 4 / 10
CLASSES = np.arange(30) % 2


def fitted(r):
    return r.digest, r.predict(X).tobytes()


def path(r):
    return r.path.tobytes(), r.fun_path.tobytes()


def stepped(backend):
    p = np.full(2, 0.1)
    stepper = gd.Stepper(gd.NAdam(schedules.Cosine(0.1, total=5)), p, backend=backend)
    for _ in range(3):
        stepper.step([0.3, 0.7])
    return p.tobytes(), stepper.lr


# All that computes: each in all its parts, the rates and the penalties included.
WORK = {
    "full batch": lambda b: fitted(gd.fit(X, y, l2=0.1, standardize=True, backend=b)),
    "mini-batch": lambda b: fitted(gd.fit(X, y, optimizer="adam", batch_size=8, l1=0.1, backend=b)),
    "per sample": lambda b: fitted(gd.fit(X, y, batch_size=1, epochs=3, average=True, backend=b)),
    "logistic": lambda b: gd.fit(X, CLASSES, loss="logistic", backend=b).predict_proba(X).tobytes(),
    "stream": lambda b: fitted(gd.fit_stream([(X, y)], lr=0.1, validation=(X, y), backend=b)),
    "compare": lambda b: [*map(fitted, gd.compare(X, y, ["sgd", "lion"], backend=b).values())],
    "minimize": lambda b: path(
        gd.minimize(lambda x: (x * x / 3).sum(), [0.1, 0.2], jac=lambda x: x / 1.5, backend=b)
    ),
    "Stepper": stepped,
    "GDRegressor": lambda b: (
        GDRegressor(penalty="elasticnet", alpha=0.01, lr=0.1, max_iter=5, tol=None, backend=b)
        .fit(X, y)
        .coef_.tobytes()
    ),
    "GDClassifier": lambda b: (
        GDClassifier(class_weight={0: 0.1, 1: 0.7}, lr=0.1, penalty="elasticnet", backend=b)
        .partial_fit(X, CLASSES, classes=[0, 1])
        .predict_proba(X)
        .tobytes()
    ),
}


@pytest.mark.parametrize("work", WORK)
def test_rounding_changes_no_bit(other_mode, backend, work):
    expected = WORK[work](backend)
    for name, mode in ROUNDING.items():
        other_mode(mode)
        assert float_mode.rounding() == name
        assert WORK[work](backend) == expected
        other_mode(0)


def test_rounding_is_to_nearest(other_mode, backend):
    """A step worked out in fractions, which no mode rounds: w = 0.1 - 0.1 * (2 * (0.1 * 0.3 - 0.7) * 0.3)."""
    other_mode(ROUNDING["upward"])
    r = gd.fit(
        [[0.3]],
        [0.7],
        lr=0.1,
        epochs=1,
        coef_init=[0.1],
        fit_intercept=False,
        backend=backend,
    )
    other_mode(0)

    def product(*factors):
        result = Fraction(1)
        for factor in factors:
            result = Fraction(
                float(result * Fraction(factor))
            )  # float() of a fraction is the nearest
        return result

    slope = 2 * Fraction(float(product(0.1, 0.3) - Fraction(0.7)))
    assert r.coef[0] == float(Fraction(0.1) - product(0.1, product(slope, 0.3)))


@pytest.mark.parametrize("mode", [None, *ROUNDING])
def test_the_mode_is_left_as_it_was(other_mode, flushing_mode, mode, backend):
    bits = flushing_mode if mode is None else ROUNDING[mode]
    other_mode(bits)
    denormal_fit(backend)
    assert _core.float_mode() & (flushing_mode | ROUNDING["toward zero"]) == (
        bits | _core.standard_float_mode
    )


def test_threads_that_another_mode_has_started(other_mode, backend):
    """They keep theirs, so that it is not that of the thread which they help."""
    rows = np.arange(27_000.0).reshape(9_000, 3) % 7 / 10
    options = {"X": rows, "y": rows[:, 0] / 3, "epochs": 2, "backend": backend}
    expected = gd.fit(threads=1, **options).digest
    found = []

    def run():
        _core.set_float_mode(_core.standard_float_mode | ROUNDING["upward"])
        found.append(gd.fit(threads=5, **options).digest)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [expected]
    assert gd.fit(threads=5, **options).digest == expected


def test_the_mode_is_reported(other_mode, flushing_mode):
    said = {line[:14].strip(): line[14:].strip() for line in gd.show_config().splitlines()}
    assert (said["denormals"], said["rounding"]) == ("kept", "to nearest")
    other_mode(flushing_mode | ROUNDING["downward"])
    said = {line[:14].strip(): line[14:].strip() for line in gd.show_config().splitlines()}
    assert said["denormals"] == "flushed to zero, as another library in this process has it"
    assert said["rounding"] == "downward, as another library in this process has it"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("flushing", "flushes denormals to zero"),
        ("upward", "rounds upward"),
        ("both", "flushes denormals to zero and rounds upward"),
    ],
)
def test_without_the_extension_it_is_said(python, flushing_mode, mode, words):
    bits = {"flushing": flushing_mode, "upward": ROUNDING["upward"]}
    said = python(f"""
import sys
from gdfast import _core
_core.set_float_mode({_core.standard_float_mode | bits.get(mode, flushing_mode | ROUNDING["upward"])})
sys.modules["gdfast._core"] = None
import gdfast as gd
del gd._core
try:
    gd.fit([[1.0]], [1.0], backend="numpy")
except RuntimeWarning as warning:
    print(warning)
""")
    assert f"a library in this process {words}, so results may differ" in said
