"""`show_config`: what a bug report needs."""

import importlib.util
import os
import platform
import sys
from typing import Any

from gdfast import _backends
from gdfast._numerics.float_mode import denormals_kept, rounding


def show_config() -> str:
    """Describe the versions, backends, instructions, threads and floating-point mode in use.

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
    values = config()
    backends = values.pop("backends")
    lines = [f"{name:<14}  {text}" for name, text in values.items()]
    lines += [f"{'backend':<14}  {name}: {state}" for name, state in backends.items()]
    return "\n".join(lines)


def config() -> dict[str, Any]:
    """The configuration by name; ``backends`` is a mapping."""
    from importlib import metadata  # slow to import, and seldom asked for

    versions = {}
    for name in ("numpy", "numba", "llvmlite"):
        found = importlib.util.find_spec(name) is not None
        versions[name] = metadata.version(name) if found else "not installed"
    extension = {}
    backends = _backends.backends()
    if backends["cpp"] == "available":
        from gdfast import _core, _extension
        from gdfast._backends import cpp

        extension["extension"] = _core.build
        extension["instructions"] = f"{cpp.ISA} of {', '.join(_extension.built())}"
    altered = ", as another library in this process has it"
    denormals, rounded = denormals_kept(), rounding()
    threads, source = _backends.threads_and_source()
    return {
        "gdfast": metadata.version("gdfast"),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "machine": f"{sys.platform}, {platform.machine()}",
        **versions,
        **extension,
        "GDFAST_BACKEND": os.environ.get("GDFAST_BACKEND") or "not set",
        "threads": f"{threads} {source}",
        "denormals": "kept" if denormals else f"flushed to zero{altered}",
        "rounding": rounded if rounded == "to nearest" else f"{rounded}{altered}",
        "backends": backends,
    }
