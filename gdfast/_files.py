"""Files that are written whole or not at all, and archives of arrays that are read with care."""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import BinaryIO

import numpy as np

from gdfast._typing import Array


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of the one at this path once all of it is on the disk.

    Until then, and for ever if that fails, the old file stays as it is. Links are followed. The new file has the
    permissions of the old one, or those that `open` gives; the owner too, where the system lets one give files away.
    What is no regular file, such as a pipe, is written as it stands.
    """
    try:
        old = _status(path)
        if old is not None and not stat.S_ISREG(old.st_mode):
            with open(path, "wb") as file:  # noqa: PTH123  # a directory is refused here
                yield file
            return
        target = os.path.realpath(path)
        if old is not None:
            os.close(os.open(target, os.O_WRONLY))  # is refused where `open` is
        folder = os.path.dirname(target)  # noqa: PTH120
        temporary = os.path.join(folder, f".gdfast-{os.urandom(8).hex()}.tmp")  # noqa: PTH118
        try:
            with open(temporary, "xb") as file:  # noqa: PTH123
                yield file
                file.flush()
                os.fsync(file.fileno())
            if old is not None:
                _take_over(temporary, old)
            os.replace(temporary, target)  # noqa: PTH105
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        _sync(folder)
    except OSError as error:  # which names the temporary file, or none
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None


def _take_over(path: str, old: os.stat_result) -> None:
    """Give a file the owner and the permissions of another."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))  # noqa: PTH101


def _sync(folder: str) -> None:
    """Put the names in a folder on the disk, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_arrays(file: BinaryIO, needed: str) -> dict[str, Array]:
    """The arrays of an archive that np.savez wrote; no more is read than the file holds, and nothing is unpickled.

    Raises
    ------
    Exception
        Of any kind, as zipfile and NumPy meet what is damaged; ValueError if it is compressed, or holds no array of the
        name `needed`.
    """
    from zipfile import ZIP_STORED, ZipFile  # slow to import

    size = os.fstat(file.fileno()).st_size
    if file.read(4) != b"PK\x03\x04":
        raise ValueError("it is no archive of arrays" if size else "it is empty")
    with ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename.removesuffix(".npy") for entry in entries}
        if needed not in names:
            raise ValueError(f"it holds no {needed}")
        if len(names) < len(entries):
            raise ValueError("it holds two arrays of one name")
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its arrays would be larger than the file")
        return {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries
        }


def _array(content: bytes) -> Array:
    """The array of a .npy file of the first version."""
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has the format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("it holds objects of Python")
    held = len(content) - stream.tell()
    if math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"an array of shape {shape} in {dtype} has {held} bytes")
    a = np.frombuffer(content, dtype, offset=stream.tell())
    return np.array(a.reshape(shape, order="F" if is_fortran else "C"), dtype.newbyteorder("="))
