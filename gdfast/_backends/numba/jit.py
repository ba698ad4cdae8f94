"""Compilation by numba, with a cache on disk, and with formulas chosen by the type of a record.

A record's type selects its formula at compile time, by `numba.extending.overload`: unlike jitted functions passed as
arguments, that is cached on disk. The cache is keyed by a fingerprint of the package, because numba itself looks at
one file only, and its files have a checksum, because numba runs what it finds in them.
"""

import contextlib
import functools
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

import gdfast

if vars(numba.config)["DISABLE_JIT"]:
    raise ImportError(
        "its compiler is switched off, by the variable NUMBA_DISABLE_JIT or numba's own configuration file"
    )


@functools.cache
def fingerprint() -> str:
    """A hash of the package's Python sources, and of numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(str(gdfast.__file__)).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def jitted(function: Callable[..., Any], **options: Any) -> Any:
    """The function jitted, without the GIL, and with a division by 0 that gives inf or NaN as in numpy."""
    return numba.njit(nogil=True, error_model="numpy", **options)(function)


def compiled(function: Callable[..., Any]) -> Any:
    """The function, which allocates nothing, jitted; cached on disk where a directory is writable."""
    dispatcher = jitted(function, _nrt=False)
    with contextlib.suppress(RuntimeError):  # numba found no writable place for its cache
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):
    """Numba's cache, in files of this package's fingerprint."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CacheFile(
            self.cache_path,
            f"{self._impl.filename_base}-{fingerprint()}",
            self._impl.locator.get_source_stamp(),
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write what was compiled, if the disk has room for it."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


class _CacheFile(IndexDataCacheFile):
    """Numba's files, each behind its checksum: one that is damaged counts as one that is not there."""

    def _load_index(self) -> dict[Any, str]:
        stamp, overloads = _read(self._index_path) or (None, {})
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return _read(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _write(self, path: str, value: Any) -> None:
        data = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(data).digest() + data)


def _read(path: str) -> Any:
    """The contents of a file of the cache; None if it is not there, or is not as it was written."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return None
    checksum, data = content[:32], content[32:]
    return pickle.loads(data) if hashlib.sha256(data).digest() == checksum else None


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
    def find(self: Any, *_: Any) -> Any:
        return plain

    return find


def bare(function: Any) -> Callable[..., Any]:
    """The function without its annotations, in which numba wants generic and method to agree."""
    return FunctionType(function.__code__, function.__globals__, function.__name__)
