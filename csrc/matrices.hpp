// The rows of X, dense or sparse: their products with weights, and their sums, in the canonical order.
#pragma once

#include "order.hpp"

#include <cstdint>

namespace gdfast {

template <class T>
struct Dense {
    using Number = T;
    static constexpr bool sparse = false;
    static constexpr index block = gdfast::block; // how many rows are summed in turn

    const T *values; // (n, d)
    index n, d;

    const T *row(index i) const { return values + i * d; }

    // x.w for R rows side by side.
    template <index R>
    void dot(const index *rows, const T *w, T (&out)[R]) const {
        const T *x[R];
        for (index r = 0; r < R; ++r) {
            x[r] = row(rows[r]);
        }
        gdfast::dot(x, w, d, out);
    }

    // g += c x for R rows in turn.
    template <index R>
    void add(const index *rows, const T (&c)[R], T *g) const {
        const T *x[R];
        for (index r = 0; r < R; ++r) {
            x[r] = row(rows[r]);
        }
        for (index j = 0; j < d; ++j) {
            T sum = g[j];
            for (index r = 0; r < R; ++r) {
                sum += c[r] * x[r][j];
            }
            g[j] = sum;
        }
    }
};

template <class T>
struct Csr {
    using Number = T;
    static constexpr bool sparse = true;
    static constexpr index block = PTRDIFF_MAX;

    const T *values;
    const std::int32_t *columns;
    const std::int64_t *starts; // (n + 1,)
    index n, d;

    // Zeros that are not stored add nothing to their lanes, so a dense row has the same product in bits.
    template <index R>
    void dot(const index *rows, const T *w, T (&out)[R]) const {
        for (index r = 0; r < R; ++r) {
            T a[lanes] = {};
            for (index k = starts[rows[r]]; k < starts[rows[r] + 1]; ++k) {
                a[columns[k] % lanes] += values[k] * w[columns[k]];
            }
            out[r] = sum_of_lanes(a);
        }
    }

    template <index R>
    void add(const index *rows, const T (&c)[R], T *g) const {
        for (index r = 0; r < R; ++r) {
            for (index k = starts[rows[r]]; k < starts[rows[r] + 1]; ++k) {
                g[columns[k]] += c[r] * values[k];
            }
        }
    }
};

} // namespace gdfast
