// The kernels that depend on the loss, each behind a virtual method for many rows.
#pragma once

#include "losses.hpp"
#include "training.hpp"
#include "weights.hpp"

#include <algorithm>

namespace gdfast {

// Rows that are handled at once: few enough for the nearest cache, and enough for one row's loss to hide the next's.
constexpr index chunk = 32;

// Whole groups of rows, at most a block, that make their steps in turn.
template <class T>
struct InGroups {
    const T *const *x;
    const T *y;
    const T *a; // the rate of a row's step times its weight
    index count;
    bool fit_intercept;
    index to_fetch; // how many numbers of a row that is not the next in memory

    // Before the group that begins at this row: fetches one of the groups to come.
    void prefetch(index at) const {
        constexpr index ahead = 2 * group;
        if (to_fetch > 0) {
            for (index r = at == 0 ? group : at + ahead; r < std::min(at + ahead + group, count); ++r) {
                gdfast::prefetch(x[r], to_fetch);
            }
        }
    }
};

// What rows j < i of a group change the prediction of row i by, for each derivative of their losses.
template <class T>
void times_rates(T (&h)[pairs], const T *a, bool fit_intercept) {
    const T one_or_none = fit_intercept ? T(1) : T(0);
    for (index i = 1, pair = 0; i < group; ++i) {
        for (index j = 0; j < i; ++j, ++pair) {
            h[pair] = a[j] * (h[pair] + one_or_none);
        }
    }
}

template <class T>
class LossKernels {
public:
    virtual ~LossKernels() = default;

    // The losses of up to `chunk` rows, whose predictions are given, (count, outputs); c becomes their derivatives by
    // them. Both are times the weights of the rows.
    virtual void of_rows(const Targets<T> &targets, const index *rows, index count, const T *p, index outputs, T *c,
                         T *losses) const = 0;

    // The loss of a row and its derivatives d, (outputs,), without the weight of the row.
    virtual T of_row(const T *p, const T *y, T *d, index outputs) const = 0;

    // The steps of rows in groups, for one output; p becomes what each row predicts before its step. `model` is of a
    // padded shape.
    virtual void step_groups(const InGroups<T> &rows, const Groups<T> &features, T *model, T *bias, T *p) const = 0;
};

template <class Loss>
class LossKernelsOf;

template <template <class> class Loss, class T>
class LossKernelsOf<Loss<T>> final : public LossKernels<T> {
public:
    explicit LossKernelsOf(const Loss<T> &loss) : loss_(loss) {}

    void of_rows(const Targets<T> &targets, const index *rows, index count, const T *p, index outputs, T *c,
                 T *losses) const override {
        if constexpr (!is_joint<Loss<T>>) {
            if (outputs == 1) {
                T y[chunk], s[chunk];
                for (index r = 0; r < count; ++r) {
                    y[r] = *targets.of(rows[r]);
                    s[r] = targets.weight(rows[r]);
                }
                const Loss<T> loss = loss_; // which no pointer aliases
                for (index r = 0; r < count; ++r) {
                    losses[r] = s[r] * loss.value(p[r], y[r]);
                    c[r] = s[r] * loss.gradient(p[r], y[r]);
                }
                return;
            }
        }
        for (index r = 0; r < count; ++r, p += outputs, c += outputs) {
            const T s = targets.weight(rows[r]);
            losses[r] = s * gdfast::of_row(loss_, p, targets.of(rows[r]), c, outputs);
            std::for_each(c, c + outputs, [s](T &co) { co *= s; });
        }
    }

    T of_row(const T *p, const T *y, T *d, index outputs) const override {
        return gdfast::of_row(loss_, p, y, d, outputs);
    }

    void step_groups(const InGroups<T> &rows, const Groups<T> &features, T *model, T *bias, T *p) const override {
        if constexpr (!is_joint<Loss<T>>) {
            with_weights<T>(features.features(), [&](auto kind) {
                typename decltype(kind)::type w(model, features);
                *bias = step_groups_of(rows, w, *bias, p);
                w.save();
            });
        }
    }

private:
    template <class W>
    T step_groups_of(const InGroups<T> &rows, W &w, T b, T *predictions) const {
        const Loss<T> loss = loss_; // which no pointer aliases
        for (index at = 0; at < rows.count; at += group) {
            const T *const *x = rows.x + at;
            const T *const a = rows.a + at;
            T p[group], h[pairs], d[group], c[group];
            rows.prefetch(at);
            w.dots_and_pairs(x, p, h);
            times_rates(h, a, rows.fit_intercept);
            for (index i = 0, pair = 0; i < group; ++i) {
                p[i] = p[i] + b;
                for (index j = 0; j < i; ++j, ++pair) {
                    p[i] = p[i] - d[j] * h[pair];
                }
                d[i] = loss.gradient(p[i], rows.y[at + i]);
                c[i] = a[i] * d[i];
                predictions[at + i] = p[i];
            }
            w.template subtract<group>(x, c);
            for (index i = 0; rows.fit_intercept && i < group; ++i) {
                b = b - c[i];
            }
        }
        return b;
    }

    Loss<T> loss_;
};

} // namespace gdfast
