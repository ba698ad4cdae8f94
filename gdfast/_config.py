"""`show_config`: what a bug report needs."""

import importlib.util
import os
import platform
import sys

from gdfast import _backends
from gdfast._floats import denormals_kept


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
    from importlib import metadata  # slow to import, and seldom asked for

    lines = [
        f"gdfast       {metadata.version('gdfast')}",
        f"python       {platform.python_version()} ({platform.python_implementation()})",
        f"machine      {sys.platform}, {platform.machine()}",
    ]
    for name in ("numpy", "numba", "llvmlite"):
        found = importlib.util.find_spec(name) is not None
        lines.append(f"{name:<12} {metadata.version(name) if found else 'not installed'}")
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
