// The functions that formulas use beside + - * / and sqrt. gdfast/_numerics/elementary.py has them in Python.
#pragma once

#include <cstdint>
#include <cstring>

namespace gdfast {

// -1, 0 or 1; NaN stays NaN.
template <class T>
T sign(T x) {
    return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

inline std::int64_t bits(double x) {
    std::int64_t b;
    std::memcpy(&b, &x, sizeof b);
    return b;
}

inline double from_bits(std::int64_t b) {
    double x;
    std::memcpy(&x, &b, sizeof x);
    return x;
}

constexpr std::int64_t one_bits = 0x3FF0000000000000;

// (e^r - 1 - r) / r^2 for r up to ln(2) / 2 in size.
inline double series_of_exp(double r) {
    const double r2 = r * r;
    const double r4 = r2 * r2;
    const double low = (1.0 / 2 + 1.0 / 6 * r) + (1.0 / 24 + 1.0 / 120 * r) * r2;
    const double middle = (1.0 / 720 + 1.0 / 5040 * r) + (1.0 / 40320 + 1.0 / 362880 * r) * r2;
    const double high = (1.0 / 3628800 + 1.0 / 39916800 * r) + (1.0 / 479001600 + 1.0 / 6227020800 * r) * r2;
    return (low + middle * r4) + high * (r4 * r4);
}

// e^x for x from -708 to 709; beyond as there.
inline double exp(double x) {
    constexpr double shift = 0x1.8p52; // added and taken away it rounds to an integer, in the low bits of the sum
    x = x < -708.0 ? -708.0 : x > 709.0 ? 709.0 : x;
    const double t = x * 0x1.71547652b82fep+0 + shift;
    const double k = t - shift;
    const double r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
    const std::uint64_t exponent = static_cast<std::uint64_t>(bits(t)) << 52; // unsigned, lest it overflow for NaN
    return (1.0 + (r + series_of_exp(r) * (r * r))) *
           from_bits(static_cast<std::int64_t>(exponent + std::uint64_t(one_bits)));
}

// e^(a - b), what the difference rounds off included.
inline double exp_of_difference(double a, double b) {
    const double x = a - b;
    const double back = a - x;
    const double rest = (a - (x + back)) + (back - b);
    const double y = exp(x);
    return y + y * rest;
}

// log(1 + x) for x from 0 on: 1 + x = 2^k (1 + f) up to a rest, with 1 + f from sqrt(1/2) to sqrt(2).
inline double log1p(double x) {
    constexpr std::int64_t half_root_bits = 0x3FE6A09E667F3BCD;
    const double y = 1.0 + x;
    constexpr auto offset = std::uint64_t(one_bits - half_root_bits); // unsigned, lest it overflow for NaN
    const auto shifted = static_cast<std::int64_t>(static_cast<std::uint64_t>(bits(y)) + offset);
    const std::int64_t exponent = (shifted >> 52) - 1023;
    const auto k = static_cast<double>(exponent);
    const double fraction = from_bits((shifted & 0x000FFFFFFFFFFFFF) + half_root_bits) - 1.0;
    const double f = exponent == 0 ? x : fraction;
    const double rest = (exponent == 0 ? 0.0 : y >= 2.0 ? 1.0 - (y - x) : x - (y - 1.0)) / y;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double p = 0.1818357216161805012 + z * (0.1531383769920937332 + z * 0.1479819860511658591);
    p = 0.6666666666666735130 +
        z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * (0.2222219843214978396 + z * p)));
    p = z * p;
    const double head = from_bits(bits(f) & ~std::int64_t(0x7FFFFFF)); // whose square is exact
    const double half = 0.5 * head * head;
    const double tail = 0.5 * (f - head) * (f + head);
    const double small = s * ((half + tail) + p) + (k * 0x1.a39ef35793c76p-33 + (rest - tail));
    return k * 0x1.62e42fee00000p-1 - ((half - small) - f);
}

} // namespace gdfast
