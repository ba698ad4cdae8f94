"""The floating-point mode that the same bits need.

Another library in the process may flush denormals to zero, or round otherwise than to the nearest.
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gdfast._warnings import warn

P = ParamSpec("P")
R = TypeVar("R")

# Global, so that what is computed with it is computed when it is asked for.
_TINY = sys.float_info.min


def denormals_kept() -> bool:
    """Whether this thread keeps numbers below the smallest normal one, as IEEE 754 has it."""
    return _TINY / 4 != 0


def rounding() -> str:
    """The rounding mode of this thread: "to nearest" for the standard mode, or "upward", "downward", "toward zero"."""
    if 1 + _TINY != 1:
        return "upward"
    if 1 - _TINY == 1:
        return "to nearest"
    return "downward" if -1 - _TINY != -1 else "toward zero"


def standard(function: Callable[P, R]) -> Callable[P, R]:
    """Have the function run in the standard mode. Without the extension that can only be asked for."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        if _TINY / 4 != 0 and 1 + _TINY == 1 == 1 - _TINY:
            return function(*args, **kwargs)
        try:
            from gdfast import _core
        except ImportError:
            _warn()
            return function(*args, **kwargs)
        mode = _core.float_mode()
        _core.set_float_mode(_core.standard_float_mode)
        try:
            return function(*args, **kwargs)
        finally:
            _core.set_float_mode(mode)

    return inner


def _warn() -> None:
    """Say in which mode this thread computes."""
    found = []
    if not denormals_kept():
        found.append("flushes denormals to zero")
    if rounding() != "to nearest":
        found.append(f"rounds {rounding()}")
    warn(
        f"a library in this process {' and '.join(found)}, so results may differ from those elsewhere; "
        "gdfast's C++ extension would prevent that"
    )
