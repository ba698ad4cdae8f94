"""What formulas use beside + - * / and sqrt: on arrays here, on scalars in numba (gdfast/_backends/_numba.py)."""

import math
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


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast.elementary import sign
    >>> sign(np.array([-3.0, 0.0, 0.5])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return where(x > 0, like(x, 1.0), where(x < 0, like(x, -1.0), x))


def powers(base: float, n: Any) -> Any:
    """base^n for an array of integers n >= 0: with n = 256 q + r, (base^256)^q times base^r, each by multiplication.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast.elementary import powers
    >>> powers(0.5, np.arange(4)).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    q, r = np.divmod(n, 256)
    low = _running_product(base, 256)
    high = _running_product(low[-1] * base, int(q.max()) + 1)
    return high[q] * low[r]


def _running_product(base: float, count: int) -> Any:
    """1, base, base * base, ...: so many of them."""
    factors = np.full(count, base)
    factors[0] = 1
    return np.multiply.accumulate(factors)


# What follows takes arrays of float64 and is used by Python alone. Tails of pi and of ln 2 are what the heads lack.
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_LN2_HEAD, _LN2_TAIL = (
    float.fromhex("0x1.62e42fee00000p-1"),
    float.fromhex("0x1.a39ef35793c76p-33"),
)
_HALF_ROOT = float.fromhex("0x1.6a09e667f3bcdp-1")
# log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)), s = f / (2 + f): the polynomial R of FreeBSD's e_log.c.
_LOG = (
    0.1479819860511658591,
    0.1531383769920937332,
    0.1818357216161805012,
    0.2222219843214978396,
    0.2857142874366239149,
    0.3999999999940941908,
    0.6666666666666735130,
)
_EXP = tuple(1 / math.factorial(k) for k in range(13, 1, -1))
_COS = tuple((-1) ** k / math.factorial(2 * k) for k in range(8, 0, -1))
_SIN = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8, 0, -1))


def exp(x: Any) -> Any:
    """e^x, to 1 ulp: x = k ln 2 + r, and a polynomial in r.

    Examples
    --------
    >>> from gdfast.elementary import exp
    >>> exp([0.0, 1.0]).round(12).tolist()
    [1.0, 2.718281828459]
    """
    x = np.asarray(x, np.float64)
    inner = where(x < -746, -746.0, where(x > 710, 710.0, x))
    k = np.rint(inner * _LOG2_E)
    r = (inner - k * _LN2_HEAD) - k * _LN2_TAIL
    y = 1 + (r + _polynomial(_EXP, r) * r * r)
    return np.ldexp(y, where(np.isnan(x), 0.0, k).astype(np.int32))


def log(x: Any) -> Any:
    """The natural logarithm of x > 0, to 1 ulp; -inf for 0, NaN below.

    Examples
    --------
    >>> from gdfast.elementary import log
    >>> log([1.0, 10.0]).tolist()
    [0.0, 2.302585092994046]
    """
    x = np.asarray(x, np.float64)
    m, k = np.frexp(x)
    low = m < _HALF_ROOT
    m, k = where(low, m + m, m), where(low, k - 1, k)
    f = m - 1
    s = f / (2 + f)
    z = s * s
    half = 0.5 * f * f
    y = k * _LN2_HEAD - ((half - (s * (half + z * _polynomial(_LOG, z)) + k * _LN2_TAIL)) - f)
    return where((x > 0) & (x < np.inf), y, where(x == 0, -np.inf, where(x > 0, np.inf, np.nan)))


def power(x: Any, y: Any) -> Any:
    """x^y for x > 0, to some abs(y log x) + 1 ulp; exact for y = 0 and y = 1.

    Examples
    --------
    >>> from gdfast.elementary import power
    >>> power(2.0, [0.0, 1.0, 0.5]).round(12).tolist()
    [1.0, 2.0, 1.414213562373]
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return where(y == 1, x, where(y == 0, 1.0, exp(y * log(x))))


def cospi(x: Any) -> Any:
    """cos(pi x), to 2 ulp of 1; exact at multiples of 1/2.

    Examples
    --------
    >>> from gdfast.elementary import cospi
    >>> cospi([0.0, 0.5, 1.0]).tolist()
    [1.0, 0.0, -1.0]
    """
    a = abs(np.asarray(x, np.float64))
    a = a - 2 * np.floor(a / 2)
    a = where(a > 1, 2 - a, a)
    behind = a > 0.5
    a = where(behind, 1 - a, a)
    u = np.pi * a
    v = np.pi * (0.5 - a)
    u2, v2 = u * u, v * v
    cosine = where(a <= 0.25, 1 + _polynomial(_COS, u2) * u2, v + _polynomial(_SIN, v2) * v2 * v)
    return where(behind, -cosine, cosine)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """By Horner's rule, from the highest power down."""
    y = coefficients[0]
    for c in coefficients[1:]:
        y = y * x + c
    return y
