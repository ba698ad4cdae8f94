"""The dtypes that kernels compute in, arrays as they read them, and the words for what is no number."""

from numbers import Real
from typing import Any

import numpy as np

from gdfast._typing import Array

# The dtypes that kernels compute in.
FLOATS = np.dtype(np.float64), np.dtype(np.float32)
# Up to this size a loop in Python is faster than a call of NumPy.
FEW = 16
MISSING = "is missing: remove the row or fill the value in"


def all_within(a: Array, limit: Any) -> bool:
    """Whether no number is larger than the limit; NaN is."""
    if a.size <= FEW:
        return all(abs(v) <= limit for v in a.ravel().tolist())
    return bool(np.count_nonzero(np.abs(a) <= limit) == a.size)


def no_numbers(a: Array, given: Any, name: str, label: str = "") -> Exception:
    """The error for what is not of real numbers, an array or a column with this label: it names the first cell."""
    if a.ndim == 0:
        return TypeError(f"{name} is {given!r:.60}: it must be an array of numbers")
    if a.dtype.kind in "OSUTMm":
        for where, value in np.ndenumerate(a):
            fault = _fault(value)
            if fault is not None:
                place = f"{name}[{', '.join(map(str, where))}{label}]"
                if fault == MISSING:
                    return ValueError(f"{place} {fault}")
                shown = repr(a.item(where)) if isinstance(value, str | bytes) else str(value)
                return TypeError(f"{place} is {shown:.60}, {fault}")
    whole = f"{name}[:{label}]" if label else name
    if a.dtype.names:
        advice = f"numpy.lib.recfunctions.structured_to_unstructured({name})"
    elif a.dtype.kind == "c":
        advice = f"numpy.real({name})"
    elif hasattr(given, "astype"):
        advice = "astype(float)"
    elif hasattr(given, "cast"):  # polars, Arrow
        advice = "cast('float64')" if hasattr(given, "to_pylist") else "cast(polars.Float64)"
    else:
        advice = f"numpy.asarray({name}, float)"
    return TypeError(
        f"{whole} has dtype {a.dtype}: convert it to float64 or float32, for instance by {advice}"
    )


def _fault(value: Any) -> str | None:
    """Why a cell is no number, and what to do; None of a number, and of text that reads as one."""
    from datetime import date, time, timedelta  # for this message alone
    from decimal import Decimal

    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return MISSING
    if isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value):
        return MISSING
    if isinstance(value, date | time | np.datetime64):
        return "a date: put a number in its place, such as the days since the first of them"
    if isinstance(value, timedelta | np.timedelta64):
        return "a duration: put a number in its place, such as its seconds"
    if not isinstance(value, Real | Decimal | np.bool_ | str | bytes):
        return "which is no number"
    try:
        float(value)
    except ValueError:
        return (
            "which is no number: fill in a number or remove the row; "
            "of categories make a column of 0 and 1 for each"
        )
    except OverflowError:
        return "too large for float64"
    return None


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype in which numbers of this one are taken in; None where it is not one of real numbers in 64 bits."""
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize == 2):
        return np.dtype(np.float64)
    return dtype.newbyteorder("=") if dtype.kind == "f" and dtype.itemsize <= 8 else None


def read_only(a: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """A view of the array that is contiguous, aligned, native and read-only; of a copy where it must be one."""
    dtype = a.dtype if dtype is None else dtype
    flags = a.flags
    if not (flags.c_contiguous and flags.aligned and a.dtype == dtype and dtype.isnative):
        a = np.require(a, dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])
    view = a.view(np.ndarray)
    view.setflags(write=False)
    return view
