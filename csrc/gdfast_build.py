"""The hooks of scikit-build-core, which here go on without a compiler: loudly, and by another name.

pip shows nothing of what a build prints, unless it fails. So the terminal is told directly, and
where there is none, the wheel is named gdfast-0.1.0-0_without_cpp_extension-py3-none-any.whl.
A compiler that is there but fails is an error. So is a missing one, if GDFAST_REQUIRE_EXTENSION=1.
"""

import contextlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from scikit_build_core import build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

COMPILERS = ["c++", "g++", "clang++", "icpx"]
BANNER = """
======================================================================
gdfast is being installed WITHOUT its C++ extension. Not found: {}.
It will work with numba (pip install numba) or, slowly, with numpy alone.
For the extension, install what is missing, and then run
pip install again, with --force-reinstall --no-cache-dir.
======================================================================
"""


def missing() -> str:
    """Name what the extension lacks on this machine."""
    if not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS)) or sys.platform == "win32"):
        return f"a C++ compiler (CXX, {', '.join(COMPILERS)})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.exists() else f"Python's header {header}"


LACK = missing()
if LACK:
    os.environ["SKBUILD_WHEEL_CMAKE"] = "false"
    os.environ["SKBUILD_WHEEL_BUILD_TAG"] = "0_without_cpp_extension"


def tell() -> None:
    """Write the banner to the build's output and, past pip, to the terminal."""
    if LACK and os.environ.get("GDFAST_REQUIRE_EXTENSION", "0") != "0":
        sys.exit(f"GDFAST_REQUIRE_EXTENSION is set, but this was not found: {LACK}")
    if LACK:
        banner = BANNER.format(LACK)
        print(banner, file=sys.stderr)
        with contextlib.suppress(OSError):
            Path("/dev/tty").write_text("\n" + banner)


def build_wheel(*args: Any) -> Any:
    """Build a wheel, with the extension where that is possible."""
    tell()
    return build.build_wheel(*args)


def build_editable(*args: Any) -> Any:
    """Build an editable wheel, with the extension where that is possible."""
    tell()
    return build.build_editable(*args)
