// Rows with their targets and weights.
#pragma once

#include "numerics/order.hpp"

namespace gdfast {

// The targets and the weights of the rows.
template <class T>
struct Targets {
    const T *y; // (n, width)
    index width;
    const T *weights;  // (n,), or one for all rows
    index weight_step; // 1 or 0

    const T *of(index i) const { return y + i * width; }
    T weight(index i) const { return weights[i * weight_step]; }
};

template <class Matrix>
struct Dataset {
    Matrix X;
    Targets<typename Matrix::Number> targets;
};

} // namespace gdfast
