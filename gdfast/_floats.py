"""The floating-point mode that the same bits need: another library in the process may flush denormals to zero."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gdfast import _backends
from gdfast._warnings import warn

P = ParamSpec("P")
R = TypeVar("R")

_TINY = sys.float_info.min


def denormals_kept() -> bool:
    """Whether this thread keeps numbers below the smallest normal one, as IEEE 754 has it."""
    return _TINY / 4 != 0


def standard(function: Callable[P, R]) -> Callable[P, R]:
    """Keep denormals while the function runs. Without the extension that can only be asked for."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        if denormals_kept():
            return function(*args, **kwargs)
        if _backends.why_not("cpp") is None:
            from gdfast import _core

            mode = _core.float_mode()
            _core.set_float_mode(_core.standard_float_mode)
            try:
                return function(*args, **kwargs)
            finally:
                _core.set_float_mode(mode)
        warn(
            "a library in this process flushes denormals to zero, so results with numbers below 1e-307 may differ "
            "from those elsewhere; gdfast's C++ extension would prevent that"
        )
        return function(*args, **kwargs)

    return inner
