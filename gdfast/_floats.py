"""The floating-point mode that the same bits need: another library in the process may flush denormals to zero."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gdfast import _backends

_TINY = np.array(np.finfo(np.float64).tiny)


def denormals_kept() -> bool:
    """Whether this thread keeps numbers below the smallest normal one, as IEEE 754 has it."""
    return bool(_TINY / 4 != 0)


@contextmanager
def standard() -> Iterator[None]:
    """Keep denormals while inside. Without the extension that can only be asked for."""
    if denormals_kept():
        yield
    elif _backends.why_not("cpp") is None:
        from gdfast import _core

        mode = _core.float_mode()
        _core.set_float_mode(_core.standard_float_mode)
        try:
            yield
        finally:
            _core.set_float_mode(mode)
    else:
        warnings.warn(
            "a library in this process flushes denormals to zero, so results with numbers below 1e-307 may differ "
            "from those elsewhere; gdfast's C++ extension would prevent that",
            RuntimeWarning,
            stacklevel=4,
        )
        yield
