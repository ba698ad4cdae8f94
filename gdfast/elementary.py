"""What formulas use beside + - * / and sqrt: on arrays here, on scalars in numba (gdfast/_backends/_numba.py)."""

from typing import Any

import numpy as np


def like(x: Any, number: float) -> Any:
    """The number in x's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast.elementary import like
    >>> like(np.ones(3, np.float32), 0.5).dtype
    dtype('float32')
    """
    return number if isinstance(x, float) else x.dtype.type(number)


def where(condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, else b. Unlike min and max it is the same on NaN and signed zeros everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast.elementary import where
    >>> r = np.array([-3.0, 0.5])
    >>> where(r < -1, -1.0, r).tolist()
    [-1.0, 0.5]
    """
    return np.where(condition, a, b)[()]
