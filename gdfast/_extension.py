"""The choice of the C++ extension: there is one for each instruction set, compiled from one text."""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from gdfast.errors import BackendError

# From the least to the most that a processor has.
EXTENSIONS = {"baseline": "_core", "avx2": "_core_avx2", "avx512": "_core_avx512"}


def built() -> list[str]:
    """The instruction sets that there is an extension for."""
    return [isa for isa, name in EXTENSIONS.items() if find_spec(f"gdfast.{name}") is not None]


def chosen() -> str:
    """The instruction set that GDFAST_ISA asks for, or the best that the processor has."""
    from gdfast import _core  # which may be missing

    runs = [isa for isa in built() if isa in _core.instruction_sets()]
    asked = os.environ.get("GDFAST_ISA")
    if not asked:
        return runs[-1]
    if asked.lower() not in runs:
        raise BackendError(
            f"GDFAST_ISA={asked!r}: this processor and this build of gdfast run {', '.join(runs)}"
        )
    return asked.lower()


def load() -> tuple[str, ModuleType]:
    """The instruction set, and its extension."""
    isa = chosen()
    return isa, import_module(f"gdfast.{EXTENSIONS[isa]}")


@cache
def if_there() -> ModuleType | None:
    """The extension, or None where there is none for this machine and GDFAST_ISA."""
    try:
        return load()[1]
    except (ImportError, BackendError):
        return None
