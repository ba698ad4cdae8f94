"""Types that the whole package names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
