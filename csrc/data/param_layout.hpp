// Where the numbers of k outputs stand: one output after the other, of each its d weights and its intercept.
#pragma once

#include "numerics/simd.hpp"

#include <algorithm>

namespace gdfast {

struct Shape {
    index outputs, d;
    bool fit_intercept;
    index bias, stride; // from the first weight of an output to its intercept, and to the next output

    index size() const { return outputs * stride; }

    // The intercept right behind the weights: the layout of params.
    static Shape dense(index outputs, index d, bool fit_intercept) { return {outputs, d, fit_intercept, d, d + 1}; }

    // With room for whole groups of lanes: the layout that the kernels on rows read and write.
    Shape padded() const {
        const index whole = whole_groups(d);
        return {outputs, d, fit_intercept, whole, whole + lanes};
    }
};

// Copies the numbers from one layout to another.
template <class T>
void copy(const T *from, const Shape &a, T *to, const Shape &b) {
    for (index o = 0; o < a.outputs; ++o, from += a.stride, to += b.stride) {
        std::copy_n(from, a.d, to);
        to[b.bias] = from[a.bias];
    }
}

} // namespace gdfast
