// The kernels that depend on the loss, each behind a virtual method for many rows.
#pragma once

#include "data/weight_vector.hpp"
#include "formulas/losses.hpp"
#include "kernels/state.hpp"

#include <algorithm>

namespace gdfast {

// Rows that are handled at once: few enough for the nearest cache, and enough for one row's loss to hide the next's.
constexpr index chunk = 32;

// Whole groups of rows that make their steps in turn.
template <class T>
struct InGroups {
    const T *const *x; // and those behind them to be fetched
    const T *y;
    const T *s; // their weights
    const T *a; // the rates of their steps times s, and times `linear`
    index count;
    bool fit_intercept;
};

// h[i][j] = a[j] (x_i . x_j + 1): by how much the step of row j < i changes the prediction of row i, in units of the
// derivative of row j's loss.
template <class T>
void times_rates(T (&h)[pairs], const T *a, bool fit_intercept) {
    const T one_or_none = fit_intercept ? T(1) : T(0);
    unrolled<group>(
        [&](auto i) { unrolled<i>([&](auto j) { h[pair<i, j>] = a[j] * (h[pair<i, j>] + one_or_none); }); });
}

template <class T>
class LossKernels {
public:
    virtual ~LossKernels() = default;

    // `linear` of the loss.
    virtual int linear() const = 0;

    // The number of targets of a row.
    virtual index targets(index outputs) const = 0;

    // The losses of up to `chunk` rows, whose predictions are given, (outputs, chunk); c, unless it is null, becomes
    // their derivatives by them. Both are times the weights of the rows.
    virtual void of_rows(const Targets<T> &targets, const index *rows, index count, const T *p, index outputs, T *c,
                         T *losses) const = 0;

    // The derivatives d, (outputs,), of the loss of a row by its predictions, which are `chunk` apart, without the
    // weight of the row.
    virtual void derivatives(const T *p, const T *y, T *d, index outputs) const = 0;

    // The loss of a row and its derivatives d, (outputs,), without the weight of the row.
    virtual T of_row(const T *p, const T *y, T *d, index outputs) const = 0;

    // The quantities by which `of_row_near` finds derivatives at predictions near these.
    virtual void anchors(const T *p, const T *y, double *e, index outputs) const = 0;

    // `of_row`, where the predictions were others, with these anchors, before these changes.
    virtual T of_row_near(const double *e, const T *changes, const T *p, const T *y, T *d, index outputs) const = 0;

    // The steps of rows in groups, for one output; adds their losses to `sum` and returns the derivative of the last.
    // `model` is of a padded shape.
    virtual T step_groups(const InGroups<T> &rows, const Groups<T> &features, T *model, T *bias, T *sum) const = 0;
};

template <class Loss>
class LossKernelsOf;

template <template <class> class Loss, class T>
class LossKernelsOf<Loss<T>> final : public LossKernels<T> {
public:
    explicit LossKernelsOf(const Loss<T> &loss) : loss_(loss) {}

    int linear() const override { return gdfast::linear<Loss<T>>; }

    index targets(index outputs) const override { return is_joint<Loss<T>> ? 1 : outputs; }

    [[gnu::flatten]] void of_rows(const Targets<T> &targets, const index *rows, index count, const T *p, index outputs,
                                  T *c, T *losses) const override {
        const Loss<T> loss = loss_; // which no pointer aliases
        T s[chunk];
        if (targets.weight_step == 0) {
            std::fill_n(s, count, *targets.weights);
        } else {
            std::transform(rows, rows + count, s, [&](index i) { return targets.weight(i); });
        }
        if constexpr (is_joint<Loss<T>>) {
            SmallBuffer<T> room;
            T *const row = room.of(2 * outputs);
            T *const d = row + outputs;
            for (index r = 0; r < count; ++r) {
                for (index o = 0; o < outputs; ++o) {
                    row[o] = p[o * chunk + r];
                }
                losses[r] = s[r] * gdfast::of_row(loss, row, targets.of(rows[r]), d, outputs);
                for (index o = 0; c != nullptr && o < outputs; ++o) {
                    c[o * chunk + r] = s[r] * d[o];
                }
            }
        } else {
            T total[chunk];
            for (index o = 0; o < outputs; ++o) {
                const T *const p_o = p + o * chunk;
                T y[chunk];
                const T *const column = targets.y + o;
                if (targets.width == 1) {
                    std::transform(rows, rows + count, y, [=](index i) { return column[i]; });
                } else {
                    std::transform(rows, rows + count, y, [=](index i) { return column[i * targets.width]; });
                }
                for (index r = 0; r < count; ++r) {
                    const T value = loss.value(p_o[r], y[r]);
                    total[r] = o == 0 ? value : total[r] + value;
                }
                for (index r = 0; c != nullptr && r < count; ++r) {
                    c[o * chunk + r] = s[r] * loss.gradient(p_o[r], y[r]);
                }
            }
            for (index r = 0; r < count; ++r) {
                losses[r] = s[r] * total[r];
            }
        }
    }

    void derivatives(const T *p, const T *y, T *d, index outputs) const override {
        if constexpr (is_joint<Loss<T>>) {
            SmallBuffer<T> room;
            T *const row = room.of(outputs);
            for (index o = 0; o < outputs; ++o) {
                row[o] = p[o * chunk];
            }
            gdfast::of_row(loss_, row, y, d, outputs);
        } else {
            for (index o = 0; o < outputs; ++o) {
                d[o] = loss_.gradient(p[o * chunk], y[o]);
            }
        }
    }

    T of_row(const T *p, const T *y, T *d, index outputs) const override {
        return gdfast::of_row(loss_, p, y, d, outputs);
    }

    void anchors(const T *p, const T *y, double *e, index outputs) const override {
        if constexpr (has_anchor<Loss<T>>) {
            std::transform(p, p + outputs, y, e, [this](T p_o, T y_o) { return loss_.anchor(p_o, y_o); });
        }
    }

    T of_row_near(const double *e, const T *changes, const T *p, const T *y, T *d, index outputs) const override {
        const T loss = of_row(p, y, d, outputs);
        if constexpr (has_anchor<Loss<T>>) {
            for (index o = 0; o < outputs; ++o) {
                d[o] = loss_.gradient_near(e[o], changes[o], p[o], y[o]);
            }
        }
        return loss;
    }

    T step_groups(const InGroups<T> &rows, const Groups<T> &features, T *model, T *bias, T *sum) const override {
        T last = 0;
        if constexpr (!is_joint<Loss<T>>) {
            with_weights<T>(features.features(), [&](auto kind) {
                last = step_groups_of<typename decltype(kind)::type>(rows, features, model, bias, sum);
            });
        }
        return last;
    }

private:
    template <class W>
    [[gnu::flatten]] T step_groups_of(const InGroups<T> &given, const Groups<T> &features, T *model, T *bias,
                                      T *sum) const {
        const InGroups<T> rows = given; // which no pointer aliases
        const Loss<T> loss = loss_;
        W w(model, features);
        T b = *bias;
        T total = *sum;
        T last = 0;
        constexpr int k = gdfast::linear<Loss<T>>;
        constexpr bool residuals = k != 0;
        T predictions[chunk]; // or residuals
        T targets[chunk] = {};
        const index ahead = W::cache_for_steps == Cache::nearest ? fetched_near : fetched_ahead<T>(features.features());
        for (index at = 0; at < rows.count; at += group) {
            const T *const *x = rows.x + at, *const *next = x + ahead;
            const T *const a = rows.a + at;
            const T *const y = rows.y + at;
            T before[group], h[pairs], d[group], c[group];
            w.dots_and_pairs(x, next, before, h);
            times_rates(h, a, rows.fit_intercept);
            if constexpr (has_anchor<Loss<T>>) {
                double anchors[group];
                for (index i = 0; i < group; ++i) {
                    before[i] = before[i] + b;
                    anchors[i] = loss.anchor(before[i], y[i]);
                }
                d[0] = loss.gradient_at(anchors[0], y[0]);
                unrolled<group>([&](auto i) {
                    T p = before[i], change = 0;
                    unrolled<i>([&](auto j) {
                        p = p - d[j] * h[pair<i, j>];
                        change = change - d[j] * h[pair<i, j>];
                    });
                    if constexpr (i > 0) {
                        d[i] = loss.gradient_near(anchors[i], change, p, y[i]);
                    }
                    predictions[at % chunk + i] = p;
                });
            } else {
                unrolled<group>([&](auto i) {
                    T p = before[i] + (residuals ? b - y[i] : b);
                    unrolled<i>([&](auto j) { p = p - d[j] * h[pair<i, j>]; });
                    d[i] = residuals ? p : loss.gradient(p, y[i]);
                    predictions[at % chunk + i] = p;
                });
            }
            unrolled<group>([&](auto i) { c[i] = a[i] * d[i]; });
            last = residuals ? T(k) * d[group - 1] : d[group - 1];
            w.template subtract<group>(x, next, c);
            if (rows.fit_intercept) {
                unrolled<group>([&](auto i) { b = b - c[i]; });
            }
            const index end = at + group;
            if (end % chunk == 0 || end == rows.count) {
                const index first = at / chunk * chunk;
                total =
                    with_losses(predictions, residuals ? targets : rows.y + first, rows.s + first, end - first, total);
            }
        }
        w.save();
        *bias = b;
        *sum = total;
        return last;
    }

    // sum with the losses of up to `chunk` rows added: side by side they wait neither for each other nor for a branch.
    [[gnu::noinline]] T with_losses(const T *p, const T *y, const T *s, index count, T sum) const {
        const Loss<T> loss = loss_;
        T losses[chunk];
        for (index r = 0; r < count; ++r) {
            losses[r] = s[r] * loss.value(p[r], y[r]);
        }
        for (index r = 0; r < count; ++r) {
            sum = sum + losses[r];
        }
        return sum;
    }

    Loss<T> loss_;
};

} // namespace gdfast
