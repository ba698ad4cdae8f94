"""How numba compiles: with a cache on disk, and with formulas chosen by the type of a record.

A record's type selects its formula at compile time, by `numba.extending.overload`: unlike jitted functions passed as
arguments, that is cached on disk. The cache is keyed by a fingerprint of the package, because numba itself looks at
one file only.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

import gdfast


@functools.cache
def fingerprint() -> str:
    """A hash of the package's Python sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(str(gdfast.__file__)).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def jitted(function: Callable[..., Any], **options: Any) -> Any:
    """The function jitted, without the GIL, and with a division by 0 that gives inf or NaN as in numpy."""
    return numba.njit(nogil=True, error_model="numpy", **options)(function)


def compiled(function: Callable[..., Any]) -> Any:
    """The function, which allocates nothing, jitted; cached on disk where a directory is writable."""
    dispatcher = jitted(function, _nrt=False)
    try:
        cache = FunctionCache(function)
    except RuntimeError:  # numba found no writable place for its cache
        return dispatcher
    name = f"{cache._impl.filename_base}-{fingerprint()}"
    cache._cache_file = IndexDataCacheFile(
        cache.cache_path, name, cache._impl.locator.get_source_stamp()
    )
    dispatcher._cache = cache
    return dispatcher


def by_type(
    generic: Callable[..., Any], method: str, default: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The overload that answers a call of `generic` by the method of that name of its first argument's record type."""

    @functools.wraps(bare(generic))
    def find(self: Any, *_: Any) -> Any:
        return bare(getattr(self.instance_class, method, default))

    return find


def always(method: Callable[..., Any]) -> Callable[..., Any]:
    """The overload that answers each call by this method."""
    plain = bare(method)

    @functools.wraps(plain)
    def find(self: Any, *_: Any) -> Any:  # noqa: ARG001
        return plain

    return find


def bare(function: Any) -> Callable[..., Any]:
    """The function without its annotations, in which numba wants generic and method to agree."""
    return FunctionType(function.__code__, function.__globals__, function.__name__)
