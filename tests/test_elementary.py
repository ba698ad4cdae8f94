"""The functions of formulas: the same on numba's scalars as on numpy's arrays."""

import numba
import numpy as np
import pytest

from gdfast import elementary
from gdfast._backends import _numba  # noqa: F401  # it tells numba of them

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
