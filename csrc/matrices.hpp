// The rows of X, dense or sparse: their products with weights, and their sums, in the canonical order.
#pragma once

#include "weights.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gdfast {

template <class T>
class Dense {
public:
    using Number = T;
    static constexpr bool sparse = false;
    static constexpr index block = gdfast::block; // how many rows are summed in turn

    index n, d;

    // values: (n, d)
    Dense(const T *values, index rows, index features)
        : n(rows), d(features), groups_(features), values_(values), whole_(whole_groups(features)) {
        const index beyond = whole_ - d;
        readable_ = beyond == 0 ? n : std::max(index(0), n - (beyond + d - 1) / d);
        last_.resize(static_cast<std::size_t>((n - readable_) * whole_));
        for (index i = readable_; i < n; ++i) {
            std::copy_n(values + i * d, d, last_.data() + (i - readable_) * whole_);
        }
    }

    const Groups<T> &groups() const { return groups_; }

    // Row i, from which whole groups of lanes can be read.
    const T *row(index i) const { return i < readable_ ? values_ + i * d : last_.data() + (i - readable_) * whole_; }

    // The same for several.
    void rows(const index *which, index count, const T **x) const {
        for (index r = 0; r < count; ++r) {
            x[r] = row(which[r]);
        }
    }

    void prefetch(index i) const { gdfast::prefetch(values_ + i * d, d); }

    // p = x.w for these rows; w is of a padded shape, and stays as it is.
    [[gnu::flatten]] void dots(const index *rows, index count, T *w, T *p) const {
        with_weights<T>(d, [&](auto kind) {
            const typename decltype(kind)::type weights(w, groups_);
            each<group>(rows, count, [&](index r, auto size, const T *const *x) {
                T out[size];
                weights.template dots<size>(x, out);
                std::copy_n(out, size, p + r);
            });
        });
    }

    // x.w for a group of rows; and their products with each other, unless there is no room for them.
    [[gnu::flatten]] void dots_of_group(const T *const *x, T *w, T (&out)[group], T (*with_others)[pairs]) const {
        with_weights<T>(d, [&](auto kind) {
            const typename decltype(kind)::type weights(w, groups_);
            if (with_others != nullptr) {
                weights.dots_and_pairs(x, out, *with_others);
            } else {
                weights.template dots<group>(x, out);
            }
        });
    }

    // w -= c x for a group of rows in turn; w is of a padded shape.
    [[gnu::flatten]] void subtract_group(const T *const *x, const T *c, T *w) const {
        with_weights<T>(d, [&](auto kind) {
            typename decltype(kind)::type weights(w, groups_);
            weights.template subtract<group>(x, c);
            weights.save();
        });
    }

    // g += c x for these rows in turn; g is of a padded shape.
    [[gnu::flatten]] void add(const index *rows, index count, const T *c, T *g) const {
        with_weights<T>(d, [&](auto kind) {
            typename decltype(kind)::type sum(g, groups_);
            each<group>(rows, count, [&](index r, auto size, const T *const *x) { sum.template add<size>(x, c + r); });
            sum.save();
        });
    }

private:
    // Calls f(r, size, rows) for rows r, ..., r + size - 1: R at a time as long as there are so many.
    template <index R, class F>
    void each(const index *rows, index count, const F &f) const {
        index r = 0;
        for (; r + R <= count; r += R) {
            const T *x[R];
            for (index i = 0; i < R; ++i) {
                x[i] = row(rows[r + i]);
            }
            f(r, std::integral_constant<index, R>{}, x);
        }
        for (; r < count; ++r) {
            const T *const x = row(rows[r]);
            f(r, std::integral_constant<index, 1>{}, &x);
        }
    }

    Groups<T> groups_;
    const T *values_;
    index whole_;         // d, made up to whole groups of lanes
    index readable_;      // rows from which as many numbers can be read without leaving the array
    std::vector<T> last_; // the others, each with room for them
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

    // Calls f(j, x) for each column j that row i holds, and its value x.
    template <class F>
    void each(index i, const F &f) const {
        const index end = starts[i + 1];
        for (index k = starts[i]; k < end; ++k) {
            f(index(columns[k]), values[k]);
        }
    }

    void prefetch_start(index i) const { gdfast::prefetch(starts + i, 2); }

    void prefetch(index i) const {
        const index start = starts[i], count = starts[i + 1] - start;
        gdfast::prefetch(values + start, count);
        gdfast::prefetch(columns + start, count);
    }

    // x.w for row i. Zeros that are not stored add nothing to their lanes, so a dense row has the same product in bits.
    T dot(index i, const T *w) const {
        T a[lanes] = {};
        each(i, [&](index j, T x) { a[j & (lanes - 1)] += x * w[j]; });
        return sum_of_lanes(a);
    }

    void dots(const index *rows, index count, const T *w, T *p) const {
        for (index r = 0; r < count; ++r) {
            p[r] = dot(rows[r], w);
        }
    }

    void add(const index *rows, index count, const T *c, T *g) const {
        for (index r = 0; r < count; ++r) {
            each(rows[r], [&, factor = c[r]](index j, T x) { g[j] += factor * x; });
        }
    }
};

} // namespace gdfast
