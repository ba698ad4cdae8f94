// The losses: a struct each, with its value and its derivative by the prediction p. gdfast/losses.py has the same
// formulas, and what they are for.
#pragma once

#include "table.hpp"

namespace gdfast {

template <class T>
struct SquaredError {
    static constexpr const char *name = "squared_error";
    explicit SquaredError(const double *) {}

    T value(T p, T y) const {
        const T r = p - y;
        return r * r;
    }
    T gradient(T p, T y) const {
        const T r = p - y;
        return r + r;
    }
};

template <class T>
struct HalfSquaredError {
    static constexpr const char *name = "half_squared_error";
    explicit HalfSquaredError(const double *) {}

    T value(T p, T y) const {
        const T r = p - y;
        return T(0.5) * (r * r);
    }
    T gradient(T p, T y) const { return p - y; }
};

template <class T>
using Losses = Table<SquaredError<T>, HalfSquaredError<T>>;

} // namespace gdfast
