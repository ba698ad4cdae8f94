"""The arithmetic by which the reference knows what rounding does to it."""

from fractions import Fraction

import numpy as np
import pytest

from rounding import DTYPES, SAMPLES, WIDE, Arithmetic, joined, total, where


@pytest.fixture(params=DTYPES)
def arithmetic(request):
    return Arithmetic(request.param)


def test_exact_results_are_left_alone(arithmetic):
    a = arithmetic.array(np.arange(1.0, 13).reshape(3, 4))
    for result in (
        a + a * 2 - 1,
        a / 4,
        np.sqrt(a * a),
        abs(-a),
        total(a * a, axis=0),
        total(a, -1),
    ):
        assert (result.spread == 0).all()
    assert total(a, axis=1).exact.tolist() == [10, 26, 42]


def test_samples_are_the_neighbours_of_the_exact_result(arithmetic):
    """Either is drawn: in many numbers there are both."""
    a = arithmetic.array(np.full(100, 1.0)) / 3
    below, above = sorted({*a.samples[1:].ravel()})
    assert Fraction(float(below)) < Fraction(1, 3) < Fraction(float(above))
    assert above == np.nextafter(arithmetic.dtype.type(below), arithmetic.dtype.type(1))


def test_cancellation_shows_in_the_spread(arithmetic):
    eps = np.finfo(arithmetic.dtype).eps
    a = arithmetic.array(np.full(50, 0.1)) * 3
    assert a.spread.max() <= eps
    assert (((a + 1000) - 1000).spread > 10 * eps).any()


@pytest.mark.parametrize("count", [3, 40])
def test_sums_that_cancel_in_one_order_alone(arithmetic, count):
    terms = np.append(np.full(count, 0.7), np.full(count, -0.7)).astype(arithmetic.dtype)
    sums = [total(arithmetic.array(terms), axis=0) for _ in range(10)]
    assert all(s.exact == 0 for s in sums)
    assert any(s.spread > 0 for s in sums)


def test_constants_are_rounded_once(arithmetic):
    a = arithmetic.array(np.ones(30))
    tenth = a * WIDE("0.1")
    assert (tenth.samples == tenth.samples[:, :1]).all()
    assert (tenth.samples == (WIDE("0.1") * a).samples).all()


def test_numbers_in_float64_are_rounded_to_the_dtype_of_arrays():
    arithmetic = Arithmetic("float32")
    tenth = arithmetic.numbers.array(WIDE("0.1"))
    a = arithmetic.array(np.ones(3)) * tenth
    assert (a.samples[1:].astype("float32") == a.samples[1:]).all()
    assert (tenth * 3).arithmetic is arithmetic.numbers


def above(a):
    return a > 0.25


def equal(a):
    return a == 0.25


def signs(a):
    return np.sign(a - 0.25)


@pytest.mark.parametrize("decides", [above, equal, signs])
def test_decisions_that_hang_on_rounding_are_noted(arithmetic, decides):
    arithmetic.now = 7
    decides(arithmetic.array([0.2, 0.5]))
    decides(arithmetic.array([0.25, 0.25]))
    assert arithmetic.undecided is None
    third = arithmetic.array(np.full(30, 1.0)) / 3
    decides(third * 3 / 4)
    assert arithmetic.undecided == (7, decides.__name__)


def cut_off(a):
    return np.maximum(a - 0.25, 0)


def test_where_rounding_is_cut_off_is_noted(arithmetic):
    third = arithmetic.array(np.full(30, 1.0)) / 3
    cut_off(third)
    abs(third * 3 / 4 - 0.25)
    assert arithmetic.undecided is None
    cut_off(third * 3 / 4)
    assert arithmetic.undecided == (0, "cut_off")


def test_shapes_are_those_of_numpy(arithmetic):
    values = np.arange(6.0).reshape(2, 3)
    a, row, number = map(arithmetic.array, (values, values[1], 2.0))
    assert (a * row).exact.tolist() == (values * values[1]).tolist()
    assert (a[:, None, :] * a).shape == (2, 2, 3)
    assert (number + a[:, 1]).exact.tolist() == [3, 6]
    assert joined(a, a[:, :1], axis=1).shape == (2, 4)
    assert where(a > 2, a, 0).exact.tolist() == [[0, 0, 0], [3, 4, 5]]
    assert (a + values).exact.tolist() == (2 * values).tolist()
    assert len(a.samples) == 1 + SAMPLES
