"""The functions of formulas: the same on numba's scalars as on numpy's arrays; those of schedules against mpmath."""

import mpmath
import numba
import numpy as np
import pytest

from gdfast._backends.numba import kernels  # noqa: F401  # it tells numba of them
from gdfast._numerics import elementary

EDGES = [0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, 5e-324]


@numba.njit
def clipped(x, low, high):
    return elementary.where(x < low, low, elementary.where(x > high, high, x))


@numba.njit
def halved(x):
    return elementary.like(x, 0.5) * x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_and_arrays(dtype):
    with np.errstate(over="ignore", under="ignore"):
        values = np.array(EDGES).astype(dtype)
    low, high = dtype(-1), dtype(0)
    for compiled, arguments in [(clipped, (low, high)), (halved, ())]:
        whole = compiled.py_func(values, *arguments)
        one_by_one = [compiled(x, *arguments) for x in values]
        assert whole.dtype == dtype
        np.testing.assert_array_equal(whole, np.array(one_by_one, dtype))
        assert (np.signbit(whole) == np.signbit(one_by_one)).all()


@numba.njit
def signed(x):
    return elementary.sign(x)


def test_sign():
    values = np.array(EDGES)
    expected = [0.0, 0.0, 1.0, -1.0, 1.0, -1.0, np.nan, 1.0]
    np.testing.assert_array_equal(elementary.sign(values), expected)
    np.testing.assert_array_equal([signed(x) for x in values], expected)


random = np.random.default_rng(0)
CLOSE = 1 + 10.0 ** random.uniform(-16, 0, 1000) * random.choice([-1, 1], 1000) * 0.5
NORMAL = 10.0 ** random.uniform(-307, 308, 3000)
ARGUMENTS = {
    "exp": (np.r_[random.uniform(-708, 709, 3000), random.uniform(-2, 2, 3000), -708, 709], 0.97),
    "log": (np.r_[NORMAL, CLOSE, 2.0**-1022], 1),
    "log1p": (np.r_[10.0 ** random.uniform(-320, 307, 3000), random.random(3000), 0, 1], 0.79),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_against_mpmath(name):
    x, bound = ARGUMENTS[name]
    got = getattr(elementary, name)(x)
    with mpmath.workprec(160):
        exact = [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]
        errors = [
            float(abs(mpmath.mpf(float(g)) - e) / mpmath.mpf(float(np.spacing(abs(float(e))))))
            for g, e in zip(got, exact, strict=True)
        ]
    assert max(errors) <= bound


def test_cospi_against_mpmath():
    x = np.r_[random.uniform(-4, 4, 2000), 10.0 ** random.uniform(-20, 15, 500)]
    with mpmath.workprec(200):
        exact = [float(mpmath.cospi(mpmath.mpf(float(v)))) for v in x]
    np.testing.assert_allclose(elementary.cospi(x), exact, rtol=0, atol=2**-52)
    halves = np.arange(-8, 9) / 2
    np.testing.assert_array_equal(elementary.cospi(halves)[::2], np.tile([1, -1], 5)[:9])
    np.testing.assert_array_equal(elementary.cospi(halves)[1::2], 0)


def test_power_against_mpmath():
    x, y = 10.0 ** random.uniform(-5, 5, 2000), random.uniform(-3, 3, 2000)
    with mpmath.workprec(160):
        exact = [float(mpmath.mpf(a) ** mpmath.mpf(b)) for a, b in zip(x, y, strict=True)]
    tolerance = (np.abs(y * np.log(x)) + 2) * 2**-52
    assert (np.abs(elementary.power(x, y) / exact - 1) <= tolerance).all()
    assert (elementary.power(x, 1) == x).all()
    assert (elementary.power(x, 0) == 1).all()


@pytest.mark.parametrize("base", [0.0, 0.5, 0.9, 0.999, 1.0, 1.001])
def test_powers_against_mpmath(base):
    n = np.r_[np.arange(600), 65535, 65536, 100_000]
    got = elementary.powers(base, n)
    with mpmath.workprec(160):
        exact = [float(mpmath.mpf(base) ** int(k)) for k in n]
    np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-307)
    assert got[:2].tolist() == [1.0, base]
    some = [0, 300, -1]
    assert [elementary.powers(base, n[[k]])[0] for k in some] == got[some].tolist()


@pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than float64 here"
)
@pytest.mark.parametrize(("name", "bound"), [("exp", 0.98), ("log1p", 0.79)])
def test_a_million_arguments_against_long_double(name, bound):
    million = 10**6
    x = {
        "exp": np.r_[random.uniform(-708, 709, million), -708, 709, 0.0, 5e-324, -5e-324],
        "log1p": np.r_[
            random.random(million // 2), 10.0 ** random.uniform(-323, 308, million // 2)
        ],
    }[name]
    exact = getattr(np, name)(x.astype(np.longdouble))
    error = np.abs(getattr(elementary, name)(x) - exact) / np.spacing(exact.astype(np.float64))
    assert error.max() <= bound


@numba.njit
def exp(x):
    return elementary.exp(x)


@numba.njit
def log1p(x):
    return elementary.log1p(x)


@pytest.mark.parametrize("compiled", [exp, log1p], ids=["exp", "log1p"])
def test_the_same_bytes_in_numba(compiled):
    x = np.r_[random.uniform(0, 709, 10**5), 0.0, 5e-324, 1e-300]
    if compiled is exp:
        x = np.r_[x, -x, np.inf, -np.inf]
    one_by_one = np.array([compiled(v) for v in x])
    assert one_by_one.tobytes() == compiled.py_func(x).tobytes()
    assert np.isnan(compiled(np.nan))


def test_exp_of_a_difference():
    a, b = random.uniform(-40, 0, 3000), random.uniform(0, 40, 3000)
    with mpmath.workprec(160):
        exact = [
            float(mpmath.exp(mpmath.mpf(u) - mpmath.mpf(v))) for u, v in zip(a, b, strict=True)
        ]
    np.testing.assert_array_max_ulp(elementary.exp_of_difference(a, b), np.array(exact), 2)


def test_beyond_its_range_exp_stays():
    with np.errstate(all="ignore"):
        ends = elementary.exp(np.array([-np.inf, -1e300, -708.0, 709.0, 1e300, np.inf, np.nan]))
    assert (ends[:2] == ends[2]).all()
    assert (ends[4:6] == ends[3]).all()
    assert np.isnan(ends[6])
    assert elementary.exp(np.array([0.0, -0.0])).tolist() == [1.0, 1.0]
