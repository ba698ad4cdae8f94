"""The functions that formulas use beside + - * / and sqrt: on arrays here, on scalars in gdfast/_backends/numba."""

import math
from typing import Any

import numpy as np


def like(x: Any, number: Any) -> Any:
    """The number in x's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import like
    >>> like(np.ones(3, np.float32), 0.5).dtype
    dtype('float32')
    """
    if isinstance(x, float):
        return number
    return x.dtype.type(number) if isinstance(number, float) else number.astype(x.dtype)


def wide(x: Any) -> Any:
    """X in float64; an array of one stays an array, of which np.float64 makes a scalar before NumPy 2.4."""
    return x if isinstance(x, float) else np.asarray(x, np.float64)[()]


def where(condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, else b. Unlike min and max it is the same on NaN and signed zeros everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import where
    >>> r = np.array([-3.0, 0.5])
    >>> where(r < -1, -1.0, r).tolist()
    [-1.0, 0.5]
    """
    if isinstance(condition, bool):  # of Python's numbers
        return a if condition else b
    return np.where(condition, a, b)[()]


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import sign
    >>> sign(np.array([-3.0, 0.0, 0.5])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return where(x > 0, like(x, 1.0), where(x < 0, like(x, -1.0), x))


def powers(base: float, n: Any) -> Any:
    """base^n for an array of integers n >= 0: with n = 256 q + r, (base^256)^q times base^r, each by multiplication.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import powers
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


LOG2_E = float.fromhex("0x1.71547652b82fep+0")
# ln 2 in two parts: the first has so few bits that its multiples by exponents are exact.
LN2_HEAD = float.fromhex("0x1.62e42fee00000p-1")
LN2_TAIL = float.fromhex("0x1.a39ef35793c76p-33")
SHIFT = float.fromhex(
    "0x1.8p52"
)  # added and taken away it rounds to an integer, in the low bits of the sum
HALF_ROOT_BITS = np.int64(0x3FE6A09E667F3BCD)
ONE_BITS = np.int64(0x3FF0000000000000)
FRACTION = np.int64(0x000FFFFFFFFFFFFF)
HEAD_BITS = np.int64(~0x7FFFFFF)
_52 = np.int64(52)
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = (1 / math.factorial(k) for k in range(2, 14))
# log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)), s = f / (2 + f): the polynomial R of FreeBSD's e_log.c.
L1, L2, L3, L4, L5, L6, L7 = (
    0.6666666666666735130,
    0.3999999999940941908,
    0.2857142874366239149,
    0.2222219843214978396,
    0.1818357216161805012,
    0.1531383769920937332,
    0.1479819860511658591,
)


def bits(x: Any) -> Any:
    """The bits of a float64 as an int64."""
    return np.asarray(x, np.float64).view(np.int64)


def from_bits(x: Any) -> Any:
    """The float64 of these bits."""
    return x.view(np.float64)


def series_of_exp(r: Any) -> Any:
    """(e^r - 1 - r) / r^2 for r up to ln(2) / 2 in size, by Taylor's series.

    Examples
    --------
    >>> from gdfast._numerics.elementary import series_of_exp
    >>> series_of_exp(0.0)
    0.5
    """
    r2 = r * r
    r4 = r2 * r2
    low = (E2 + E3 * r) + (E4 + E5 * r) * r2
    middle = (E6 + E7 * r) + (E8 + E9 * r) * r2
    high = (E10 + E11 * r) + (E12 + E13 * r) * r2
    return (low + middle * r4) + high * (r4 * r4)  # Estrin's scheme: what waits for what is short


def exp(x: Any) -> Any:
    """e^x in float64, to 1 ulp, for x from -708 to 709; beyond as there. x = k ln 2 + r, and a polynomial in r.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import exp
    >>> exp(np.array([0.0, 1.0])).round(12).tolist()
    [1.0, 2.718281828459]
    """
    x = where(x < -708.0, -708.0, where(x > 709.0, 709.0, x))
    t = x * LOG2_E + SHIFT
    k = t - SHIFT
    r = (x - k * LN2_HEAD) - k * LN2_TAIL
    return (1.0 + (r + series_of_exp(r) * (r * r))) * from_bits((bits(t) << _52) + ONE_BITS)


def exp_of_difference(a: Any, b: Any) -> Any:
    """e^(a - b), what the difference rounds off included (Knuth's two-sum).

    Examples
    --------
    >>> from gdfast._numerics.elementary import exp_of_difference
    >>> float(exp_of_difference(1.0, 1.0))
    1.0
    """
    x = a - b
    back = a - x
    rest = (a - (x + back)) + (back - b)
    y = exp(x)
    return y + y * rest


def log(x: Any) -> Any:
    """The natural logarithm in float64, to 1 ulp, for x from 2.3e-308 to 1.7e308.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import log
    >>> log(np.array([1.0, 10.0])).tolist()
    [0.0, 2.302585092994046]
    """
    k, f = split(x)
    return log_of(k, f, 0.0)


def log1p(x: Any) -> Any:
    """log(1 + x) in float64, to 1 ulp, for x from 0 to 1.7e308.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics.elementary import log1p
    >>> log1p(np.array([1e-20, 1.0])).tolist()
    [1e-20, 0.6931471805599453]
    """
    y = 1.0 + x
    k, f = split(y)
    rest = where(k == 0, 0.0, where(y >= 2.0, 1.0 - (y - x), x - (y - 1.0))) / y
    return log_of(k, where(k == 0, x, f), rest)


def split(x: Any) -> Any:
    """(k, f): x = 2^k (1 + f), with 1 + f from sqrt(1/2) to sqrt(2)."""
    shifted = bits(x) - HALF_ROOT_BITS + ONE_BITS
    return (shifted >> _52) - np.int64(1023), from_bits((shifted & FRACTION) + HALF_ROOT_BITS) - 1.0


def log_of(k: Any, f: Any, rest: Any) -> Any:
    """log(2^k (1 + f)) + rest, the latter tiny."""
    s = f / (2.0 + f)
    z = s * s
    p = z * (L1 + z * (L2 + z * (L3 + z * (L4 + z * (L5 + z * (L6 + z * L7))))))
    head = from_bits(bits(f) & HEAD_BITS)  # whose square is exact
    half = 0.5 * head * head
    tail = 0.5 * (f - head) * (f + head)
    small = s * ((half + tail) + p) + (k * LN2_TAIL + (rest - tail))
    return k * LN2_HEAD - ((half - small) - f)


# The functions below take arrays and are used by Python alone.
_COS = tuple((-1) ** k / math.factorial(2 * k) for k in range(8, 0, -1))
_SIN = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8, 0, -1))


def power(x: Any, y: Any) -> Any:
    """x^y for x > 0, to some abs(y log x) + 1 ulp; exact for y = 0 and y = 1.

    Examples
    --------
    >>> from gdfast._numerics.elementary import power
    >>> power(2.0, [0.0, 1.0, 0.5]).round(12).tolist()
    [1.0, 2.0, 1.414213562373]
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return where(y == 1, x, where(y == 0, 1.0, exp(y * log(x))))


def cospi(x: Any) -> Any:
    """cos(pi x), to 2 ulp of 1; exact at multiples of 1/2.

    Examples
    --------
    >>> from gdfast._numerics.elementary import cospi
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
