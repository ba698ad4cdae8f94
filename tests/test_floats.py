"""A library that flushes denormals to zero in the process changes no result."""

import numpy as np
import pytest

import gdfast as gd
from gdfast import _core, _floats


@pytest.fixture
def flushing(flushing_mode):
    """Flush denormals to zero, as a library linked with -Ofast makes the process do."""
    _core.set_float_mode(flushing_mode)
    flushed = not _floats.denormals_kept()
    yield
    _core.set_float_mode(_core.standard_float_mode)
    assert flushed


def denormal_fit(backend, **options):
    rows = np.arange(1, 601)
    X = (rows[:, None] * [1.0, 3.0] % 7 - 3) * 2.0**-520
    y = (rows % 5 - 2) * 2.0**-520
    return gd.fit(X, y, lr=2.0**-4, epochs=2, trace="coef", backend=backend, **options)


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 32}], ids=str)
def test_flushing_changes_no_bit(request, backend, options):
    expected = denormal_fit(backend, **options)
    changes = np.abs(np.diff(expected.history.coef, axis=0))
    assert (changes[changes > 0] < np.finfo(float).tiny).any()
    request.getfixturevalue("flushing")
    assert denormal_fit(backend, **options).digest == expected.digest


def test_the_mode_is_left_as_it_was(flushing, flushing_mode, backend):
    denormal_fit(backend)
    assert _core.float_mode() & flushing_mode == flushing_mode


def test_without_the_extension_it_is_said(python, flushing_mode):
    said = python(f"""
import warnings
from gdfast import _core
_core.set_float_mode({flushing_mode})
import gdfast as gd
from gdfast import _backends
_backends.why_not = lambda name: "hidden" if name == "cpp" else None
try:
    gd.fit([[1.0]], [1.0], backend="numpy")
except RuntimeWarning as warning:
    print(warning)
""")
    assert "flushes denormals" in said
