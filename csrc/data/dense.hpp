// Dense rows: their products with weights, and their sums, in the canonical order.
#pragma once

#include "data/weight_vector.hpp"

#include <algorithm>
#include <vector>

namespace gdfast {

template <class T>
class Dense {
public:
    using Number = T;
    using Row = const T *; // from which whole groups of lanes can be read
    static constexpr bool sparse = false;
    static constexpr index block = gdfast::block; // how many rows are summed in turn

    index n, d;

    // values: n rows of d features, each `stride` numbers after the one before; 0 where all are the same.
    Dense(const T *values, index rows, index features, index stride)
        : n(rows), d(features), groups_(features), values_(values), stride_(stride), whole_(whole_groups(features)) {
        const index beyond = whole_ - d;
        const index unreadable = beyond == 0 ? 0 : stride == 0 ? n : std::min(n, (beyond + stride - 1) / stride);
        readable_ = n - unreadable;
        last_stride_ = stride == 0 ? 0 : whole_;
        const index kept = stride == 0 ? std::min(unreadable, index(1)) : unreadable;
        last_.resize(static_cast<std::size_t>(kept * whole_));
        for (index k = 0; k < kept; ++k) {
            std::copy_n(values + (readable_ + k) * stride, d, last_.data() + k * whole_);
        }
    }

    const Groups<T> &groups() const { return groups_; }

    // Rows that are in the nearest cache when they are read a second time: 16 KB of them, half of the smallest there
    // is, at least a group and at most so many.
    index read_twice(index most) const {
        return std::clamp(16 * 1024 / (d * index(sizeof(T))) / group * group, group, most);
    }

    // The number of rows behind those in turn that are known, to be fetched.
    index ahead() const { return fetched_ahead<T>(d); }

    // Rows first, ..., first + count - 1.
    void rows(index first, index count, Row *out) const {
        const index readable = std::clamp(readable_ - first, index(0), count);
        const index stride = stride_; // which no pointer aliases
        const T *const start = values_ + first * stride;
        for (index k = 0; k < readable; ++k) {
            out[k] = start + k * stride;
        }
        for (index k = readable; k < count; ++k) {
            out[k] = last_.data() + (first + k - readable_) * last_stride_;
        }
    }

    // These rows.
    void rows(const index *numbers, index count, Row *out) const {
        const index stride = stride_, readable = readable_, last_stride = last_stride_; // which no pointer aliases
        const T *const values = values_, *const last = last_.data();
        for (index k = 0; k < count; ++k) {
            const index i = numbers[k];
            const bool in_values = i < readable;
            out[k] = (in_values ? values : last) + (in_values ? i : i - readable) * (in_values ? stride : last_stride);
        }
    }

    // p = x.w for these rows, behind which stand `ahead()` more; w is of a padded shape, and stays as it is.
    [[gnu::flatten]] void dots(const Row *rows, index count, T *w, T *p) const {
        with_weights<T>(d, [&](auto kind) {
            const typename decltype(kind)::type weights(w, groups_);
            const index next = ahead();
            each<group>(count,
                        [&](index r, auto size) { weights.template dots<size>(rows + r, rows + r + next, p + r); });
        });
    }

    // x.w for a group of rows, after which some come next; and their products with each other, unless there is no room
    // for them.
    [[gnu::flatten]] void dots_of_group(const T *const *x, const T *const *next, T *w, T (&out)[group],
                                        T (*with_others)[pairs]) const {
        with_weights<T>(d, [&](auto kind) {
            const typename decltype(kind)::type weights(w, groups_);
            if (with_others != nullptr) {
                weights.dots_and_pairs(x, next, out, *with_others);
            } else {
                weights.template dots<group>(x, next, out);
            }
        });
    }

    // w -= c x for a group of rows in turn; w is of a padded shape.
    [[gnu::flatten]] void subtract_group(const T *const *x, const T *const *next, const T *c, T *w) const {
        with_weights<T>(d, [&](auto kind) {
            typename decltype(kind)::type weights(w, groups_);
            weights.template subtract<group>(x, next, c);
            weights.save();
        });
    }

    // g += c x and bias += c for these rows in turn, behind which stand `ahead()` more; g is of a padded shape.
    [[gnu::flatten]] void add(const Row *rows, index count, const T *c, T *g, T &bias) const {
        with_weights<T>(d, [&](auto kind) {
            typename decltype(kind)::type sum(g, groups_);
            T b = bias;
            const index next = ahead();
            each<group>(count, [&](index r, auto size) {
                sum.template add<size>(rows + r, rows + r + next, c + r);
                unrolled<size>([&](auto i) { b += c[r + i]; });
            });
            sum.save();
            bias = b;
        });
    }

private:
    // Calls f(r, size) for r, ..., r + size - 1 of so many rows: R at a time as long as there are as many.
    template <index R, class F>
    static void each(index count, const F &f) {
        index r = 0;
        for (; r + R <= count; r += R) {
            f(r, std::integral_constant<index, R>{});
        }
        for (; r < count; ++r) {
            f(r, std::integral_constant<index, 1>{});
        }
    }

    Groups<T> groups_;
    const T *values_;
    index stride_;        // from a row to the next
    index whole_;         // d, made up to whole groups of lanes
    index readable_;      // rows from which as many numbers can be read without leaving the array
    std::vector<T> last_; // the others, each with room for them
    index last_stride_;   // from one of them to the next
};

} // namespace gdfast
