// Steps of single rows by plain SGD, in groups where no penalty stands between them.
#pragma once

#include "data/dense.hpp"
#include "data/row_window.hpp"
#include "formulas/penalties.hpp"
#include "kernels/loss_kernels.hpp"
#include "kernels/state.hpp"

#include <algorithm>
#include <array>

namespace gdfast {

template <class T>
class PerSample {
public:
    PerSample(const Dataset<Dense<T>> &data, const LossKernels<T> &loss, const SGD<T> &rule, const Penalty<T> &penalty,
              const Shape &shape)
        : data_(data), loss_(loss), rule_(rule), penalty_(penalty), shape_(shape), padded_(shape.padded()),
          in_groups_(rule.weight_decay == 0 && penalty.l1 == 0 && penalty.l2 == 0), residuals_(loss.linear() != 0),
          slope_(T(residuals_ ? loss.linear() : 1)), models_(room_for_models_.zeros(padded_.size())),
          p_(room_.of((3 * group + 1) * shape.outputs)), d_(p_ + group * shape.outputs),
          changes_(d_ + group * shape.outputs), no_targets_(changes_ + group * shape.outputs),
          steps_(residuals_ ? p_ : d_), anchors_(static_cast<std::size_t>(shape.outputs)) {
        std::fill_n(no_targets_, shape.outputs, T(0));
    }

    PerSample(const PerSample &) = delete;
    PerSample &operator=(const PerSample &) = delete;

    // The steps of up to a block of rows in turn, whose losses are added to `sum`. `last` becomes the least slopes at
    // the last row, unless it is null.
    void step(const typename RowWindow<Dense<T>>::View &turn, index count, bool shuffled, TrainingState<T> &state,
              const StepCoefficients<T> &numbers, T &sum, T *last) {
        copy(state.params, shape_, models_, padded_);
        const index grouped = in_groups_ ? count - count % group : 0;
        if (grouped > 0) {
            step_groups(turn, grouped, shuffled, state, numbers, sum, last);
        }
        for (index at = grouped; at < count; ++at) {
            sum = sum + step_by_row(turn.numbers[at], turn.rows + at, state, numbers, at == count - 1 ? last : nullptr);
        }
        copy(models_, padded_, state.params, shape_);
    }

private:
    void step_groups(const typename RowWindow<Dense<T>>::View &turn, index count, bool shuffled,
                     TrainingState<T> &state, const StepCoefficients<T> &numbers, T &sum, T *last) {
        const InGroups<T> in_turn = gathered(turn, count, shuffled, state.steps, numbers);
        if (shape_.outputs > 1 || state.total != nullptr) {
            step_groups_of_outputs(in_turn, turn.numbers, state, sum);
        } else {
            T *const d = d_ + group - 1;
            *d = loss_.step_groups(in_turn, data_.X.groups(), models_, models_ + padded_.bias, &sum);
            state.steps += count;
        }
        if (last != nullptr) {
            const index row = turn.numbers[count - 1];
            for (index o = 0; o < shape_.outputs; ++o) {
                const T c = data_.targets.weight(row) * d_[(group - 1) * shape_.outputs + o];
                slopes_of(turn.rows[count - 1], c, last + o * shape_.stride);
            }
        }
    }

    // Some rows, and what belongs to them, in the order of their visits.
    InGroups<T> gathered(const typename RowWindow<Dense<T>>::View &turn, index count, bool shuffled, index steps,
                         const StepCoefficients<T> &numbers) {
        const Targets<T> &targets = data_.targets;
        const index *const rows = turn.numbers;
        const T *y = targets.of(rows[0]);
        if (shuffled && shape_.outputs == 1) {
            y = std::transform(rows, rows + count, y_, [all = targets.y](index i) { return all[i]; }) - count;
        }
        if (numbers.count > 1 || targets.weight_step != 0) {
            for (index at = 0; at < count; ++at) {
                s_[at] = targets.weight(rows[at]);
                a_[at] = slope_ * (*numbers.row(steps + at + 1) * s_[at]);
            }
        } else if (filled_ < count) {
            std::fill(s_ + filled_, s_ + count, targets.weight(0));
            std::fill(a_ + filled_, a_ + count, slope_ * (*numbers.rows * targets.weight(0)));
            filled_ = count;
        }
        return {turn.rows, y, s_, a_, count, shape_.fit_intercept};
    }

    // The rows of a group have the same products with each other for all outputs.
    void step_groups_of_outputs(const InGroups<T> &in_turn, const index *rows, TrainingState<T> &state, T &sum) {
        const index k = shape_.outputs;
        for (index at = 0; at < in_turn.count; at += group) {
            const T *const *x = in_turn.x + at;
            const T *const a = in_turn.a + at;
            T h[pairs];
            const T *const *const next = x + fetched_ahead<T>(shape_.d);
            for (index o = 0; o < k; ++o) {
                T *const w = models_ + o * padded_.stride;
                T out[group];
                data_.X.dots_of_group(x, next, w, out, o == 0 ? &h : nullptr);
                const T b = w[padded_.bias];
                for (index r = 0; r < group; ++r) {
                    p_[r * k + o] = out[r] + (residuals_ ? b - data_.targets.of(rows[at + r])[o] : b);
                }
            }
            times_rates(h, a, shape_.fit_intercept);
            std::fill_n(changes_, group * k, T(0));
            for (index i = 0, pair = 0; i < group; ++i) {
                const T *const y = residuals_ ? no_targets_ : data_.targets.of(rows[at + i]);
                T *const p = p_ + i * k, *const changes = changes_ + i * k;
                loss_.anchors(p, y, anchors_.data(), k);
                for (index j = 0; j < i; ++j, ++pair) {
                    for (index o = 0; o < k; ++o) {
                        const T taken = steps_[j * k + o] * h[pair];
                        p[o] = p[o] - taken;
                        changes[o] = changes[o] - taken;
                    }
                }
                const T loss = loss_.of_row_near(anchors_.data(), changes, p, y, d_ + i * k, k);
                sum = sum + in_turn.s[at + i] * loss;
            }
            if (state.total == nullptr) {
                subtract(x, next, a, 0, group);
                state.steps += group;
                continue;
            }
            for (index r = 0; r < group; ++r) {
                subtract(x, next, a, r, r + 1);
                ++state.steps;
                add_to_total(state);
            }
        }
    }

    // The steps of rows first, ..., end - 1 of a group.
    void subtract(const T *const *x, const T *const *next, const T *a, index first, index end) {
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = models_ + o * padded_.stride;
            T c[group];
            for (index r = first; r < end; ++r) {
                c[r] = a[r] * steps_[r * shape_.outputs + o];
                w[padded_.bias] = shape_.fit_intercept ? w[padded_.bias] - c[r] : w[padded_.bias];
            }
            if (end - first == group) {
                data_.X.subtract_group(x, next, c, w);
                continue;
            }
            for (index r = first; r < end; ++r) {
                for (index j = 0; j < shape_.d; ++j) {
                    w[j] = w[j] - c[r] * x[r][j];
                }
            }
        }
    }

    void slopes_of(const T *x, T c, T *slopes) const {
        for (index j = 0; j < shape_.d; ++j) {
            slopes[j] = c * x[j];
        }
        slopes[shape_.bias] = shape_.fit_intercept ? c : T(0);
    }

    // Returns the loss of row i, which begins `rows`; behind it stand those to be fetched.
    T step_by_row(index i, const T *const *rows, TrainingState<T> &state, const StepCoefficients<T> &numbers,
                  T *slopes) {
        const index k = shape_.outputs;
        const T *const x = *rows;
        for (index o = 0; o < k; ++o) {
            T *const w = models_ + o * padded_.stride;
            data_.X.dots(rows, 1, w, p_ + o);
            p_[o] = p_[o] + w[padded_.bias];
        }
        const T s = data_.targets.weight(i);
        const T loss = s * loss_.of_row(p_, data_.targets.of(i), d_, k);
        ++state.steps;
        const std::array<T, step_numbers> step{*numbers.row(state.steps)}; // this rule asks for no more
        const SGD<T> rule = rule_;                                         // which no pointer aliases
        const Penalty<T> penalty = penalty_;
        for (index o = 0; o < k; ++o) {
            T *const w = models_ + o * padded_.stride;
            const T c = s * d_[o];
            if (slopes != nullptr) {
                T *const g = slopes + o * shape_.stride;
                slopes_of(x, c, g);
                for (index j = 0; j < shape_.d; ++j) {
                    g[j] = penalty.slope(penalty.decayed_by_rule(penalty.decayed(g[j], w[j]), w[j]), w[j]);
                }
                if (shape_.fit_intercept) {
                    g[shape_.bias] = penalty.decayed_by_rule(g[shape_.bias], w[padded_.bias]);
                }
            }
            for (index j = 0; j < shape_.d; ++j) {
                w[j] = rule.step(w[j], penalty.decayed(c * x[j], w[j]), nullptr, 0, step.data());
            }
            if (penalty.l1 != 0) {
                for (index j = 0; j < shape_.d; ++j) {
                    w[j] = shrunk(w[j], step[0] * penalty.l1);
                }
            }
            if (shape_.fit_intercept) {
                w[padded_.bias] = rule.step(w[padded_.bias], c, nullptr, 0, step.data());
            }
        }
        add_to_total(state);
        return loss;
    }

    void add_to_total(TrainingState<T> &state) const {
        if (state.averages()) {
            copy(models_, padded_, state.params, shape_);
            state.add_to_total();
        }
    }

    T y_[block], s_[block], a_[block];
    index filled_ = 0; // how many of s_ and a_ hold, where all are alike
    const Dataset<Dense<T>> &data_;
    const LossKernels<T> &loss_;
    const SGD<T> &rule_;
    const Penalty<T> penalty_;
    const Shape shape_, padded_;
    const bool in_groups_;
    const bool residuals_; // stand for predictions in groups, as gdfast/_numerics/order.py says
    const T slope_;        // of the derivatives by them
    SmallBuffer<T> room_for_models_, room_;
    T *const models_;
    T *const p_;       // predictions and
    T *const d_;       // derivatives of the losses, (group, outputs)
    T *const changes_; // of the predictions by the steps of the group
    T *const no_targets_;
    const T *const steps_; // p_ or d_, by which the steps go
    std::vector<double> anchors_;
};

} // namespace gdfast
