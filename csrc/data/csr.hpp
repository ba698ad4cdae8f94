// Sparse rows: their products with weights, and their sums, in the canonical order.
#pragma once

#include "data/weight_vector.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>

namespace gdfast {

template <class T>
struct Csr {
    using Number = T;
    using Row = index;
    static constexpr bool sparse = true;
    static constexpr index block = PTRDIFF_MAX;
    static constexpr index fetched = 8; // rows before its turn the entries of a row are

    const T *values;
    const std::int32_t *columns;
    const std::int64_t *starts; // (n + 1,)
    index n, d;

    // Calls f(j, x) for each column j that row i holds, and its value x.
    template <class F>
    void each(index i, const F &f) const {
        const index end = starts[i + 1];
        for (index k = starts[i]; k < end; ++k) {
            f(index(columns[k]), values[k]);
        }
    }

    // Calls f(j, x, R) for R of row i's entries, in columns *j, *(j + 1), ..., and with values from *x on, in runs.
    template <class F>
    void each_run(index i, const F &f) const {
        const std::int32_t *const j = columns + starts[i];
        const T *const x = values + starts[i];
        in_runs<T>(starts[i + 1] - starts[i], [&](index k, auto size) { f(j + k, x + k, size); });
    }

    // w -= f(x) at the columns of row i, where its values are x; f takes one number or a vector of them.
    template <class F>
    void subtract(index i, const F &f, T *w) const {
        each_run(i, [&](auto j, auto x, auto size) {
            T change[size];
            const auto found = f(some<size>(x));
            std::memcpy(change, &found, sizeof change);
            unrolled<size>([&](auto l) { w[j[l]] -= change[l]; }); // a vector of w would wait for all of its numbers
        });
    }

    // Fetches what the rows behind this one hold: first where it begins, and nearer to their turn the entries.
    void fetch_after(const Row *row) const {
        prefetch(starts + row[2 * fetched]);
        const index next = row[fetched];
        prefetch_run(values + starts[next], starts[next + 1] - starts[next]);
        prefetch_run(columns + starts[next], starts[next + 1] - starts[next]);
    }

    // x.w for row i: the sum of as many terms as it holds.
    T dot(index i, const T *w) const {
        const T *const x = values + starts[i];
        const std::int32_t *const j = columns + starts[i];
        return sum_of<T>(starts[i + 1] - starts[i], [=](index k) { return x[k] * w[j[k]]; });
    }

    static index read_twice(index most) { return most; }
    static index ahead() { return 2 * fetched; }

    void rows(index first, index count, Row *out) const { std::iota(out, out + count, first); }
    void rows(const index *numbers, index count, Row *out) const { std::copy_n(numbers, count, out); }

    void dots(const Row *rows, index count, const T *w, T *p) const {
        for (index r = 0; r < count; ++r) {
            fetch_after(rows + r);
            p[r] = dot(rows[r], w);
        }
    }

    void add(const Row *rows, index count, const T *c, T *g, T &bias) const {
        for (index r = 0; r < count; ++r) {
            each(rows[r], [&, factor = c[r]](index j, T x) { g[j] += factor * x; });
            bias += c[r];
        }
    }
};

} // namespace gdfast
