"""Warnings: shown at the line of the user's code that called gdfast, or kept as data."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Frames of these packages are passed on the way to the user's line: gdfast, and what calls it on a user's behalf.
PASSED = frozenset(
    {"concurrent", "contextlib", "gdfast", "joblib", "numpy", "scipy", "sklearn", "threading"}
)

Kept = list[tuple[str, type[Warning]]]

_kept: ContextVar[Kept | None] = ContextVar("_kept", default=None)


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn at the user's line; within `kept`, add the message and its category to the list instead."""
    kept = _kept.get()
    if kept is None:
        warnings.warn(message, category, stacklevel=_level_of_user())
    else:
        kept.append((message, category))


def _level_of_user() -> int:
    """The stacklevel, for a call by `warn`, of the innermost frame of the user's code.

    Where there is none, as in a thread whose target is a method of gdfast, it is that of whoever called gdfast.
    """
    frame, level, caller = sys._getframe(1), 1, 1
    while frame.f_back is not None:
        frame, level = frame.f_back, level + 1
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package not in PASSED:
            return level
        if caller == 1 and package != "gdfast":
            caller = level
    return caller


@contextmanager
def kept(messages: Kept | None) -> Iterator[None]:
    """Within this block add what gdfast warns of to a list; None: show it, also inside of another such block."""
    token = _kept.set(messages)
    try:
        yield
    finally:
        _kept.reset(token)
