"""`show_config`: what a bug report needs."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

import numpy as np

from gdfast import _backends


def show_config() -> str:
    """Describe the versions, backends, threads and floating-point mode in use.

    Returns
    -------
    str
        Several lines, for printing.

    Examples
    --------
    >>> import gdfast as gd
    >>> print(gd.show_config())  # doctest: +ELLIPSIS
    gdfast ...
    """
    lines = [
        f"gdfast       {importlib.metadata.version('gdfast')}",
        f"python       {platform.python_version()} ({platform.python_implementation()}, {sys.platform}, "
        f"{platform.machine()})",
    ]
    for name in ("numpy", "numba", "llvmlite"):
        found = importlib.util.find_spec(name) is not None
        lines.append(f"{name:<12} {importlib.metadata.version(name) if found else 'not installed'}")
    for name, state in _backends.backends().items():
        lines.append(f"backend      {name}: {state}")
    if _backends.why_not("cpp") is None:
        from gdfast import _core

        lines.append(f"extension    {_core.build}")
    lines += [
        f"GDFAST_BACKEND  {os.environ.get('GDFAST_BACKEND') or 'not set'}",
        f"threads      {_backends.default_threads()} processors at hand",
        f"denormals    {'kept' if denormals_kept() else 'flushed to zero by another library in this process'}",
    ]
    return "\n".join(lines)


def denormals_kept() -> bool:
    """Whether numbers below the smallest normal one are kept, as IEEE 754 has it, in this thread."""
    return bool(np.float64(np.finfo(np.float64).tiny) / np.float64(4) != 0)
