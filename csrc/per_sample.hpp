// Steps of single rows by plain SGD, in groups where no penalty stands between them.
#pragma once

#include "loss_kernels.hpp"
#include "penalties.hpp"
#include "training.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace gdfast {

template <class T>
class PerSample {
public:
    PerSample(const Data<Dense<T>> &data, const LossKernels<T> &loss, const SGD<T> &rule, const Penalty<T> &penalty,
              const Shape &shape)
        : data_(data), loss_(loss), rule_(rule), penalty_(penalty), shape_(shape), padded_(shape.padded()),
          in_groups_(rule.weight_decay == 0 && penalty.l1 == 0 && penalty.l2 == 0),
          models_(room_for_models_.of(padded_.size())), p_(room_.of(2 * group * shape.outputs)),
          d_(p_ + group * shape.outputs) {}

    PerSample(const PerSample &) = delete;
    PerSample &operator=(const PerSample &) = delete;

    // The steps of up to a block of rows. `last` becomes the least slopes at the last one, unless it is null.
    void step(const index *rows, index count, bool shuffled, State<T> &state, const Numbers<T> &numbers, T *losses,
              T *last) {
        copy(state.params, shape_, models_, padded_);
        const index grouped = in_groups_ ? count - count % group : 0;
        if (grouped > 0) {
            step_groups(rows, grouped, shuffled, state, numbers, losses, last);
        }
        for (index at = grouped; at < count; ++at) {
            if (shuffled && at + group < count) {
                data_.X.prefetch(rows[at + group]);
            }
            step_by_row(rows[at], state, numbers, losses[at], at == count - 1 ? last : nullptr);
        }
        copy(models_, padded_, state.params, shape_);
    }

private:
    void step_groups(const index *rows, index count, bool shuffled, State<T> &state, const Numbers<T> &numbers,
                     T *losses, T *last) {
        const T *x[block];
        T y[block], a[block];
        for (index at = 0; at < count; ++at) {
            x[at] = data_.X.row(rows[at]);
            y[at] = *data_.targets.of(rows[at]);
            a[at] = *numbers.row(state.steps + at + 1) * data_.targets.weight(rows[at]);
        }
        const InGroups<T> in_turn{x, y, a, count, shape_.fit_intercept, shuffled ? shape_.d : 0};
        if (shape_.outputs > 1 || state.total != nullptr) {
            step_groups_of_outputs(in_turn, rows, state, losses, last);
            return;
        }
        T p[block];
        loss_.step_groups(in_turn, data_.X.groups(), models_, models_ + padded_.bias, p);
        state.steps += count;
        for (index first = 0; first < count; first += chunk) {
            T c[chunk];
            const index size = std::min(chunk, count - first);
            loss_.of_rows(data_.targets, rows + first, size, p + first, 1, c, losses + first);
            if (last != nullptr && first + size == count) {
                slopes_of(x[count - 1], c[size - 1], last);
            }
        }
    }

    // The rows of a group have the same products with each other for all outputs.
    void step_groups_of_outputs(const InGroups<T> &in_turn, const index *rows, State<T> &state, T *losses, T *last) {
        const index k = shape_.outputs;
        for (index at = 0; at < in_turn.count; at += group) {
            const T *const *x = in_turn.x + at;
            const T *const a = in_turn.a + at;
            T h[pairs];
            in_turn.prefetch(at);
            for (index o = 0; o < k; ++o) {
                T *const w = models_ + o * padded_.stride;
                T out[group];
                data_.X.dots_of_group(x, w, out, o == 0 ? &h : nullptr);
                for (index r = 0; r < group; ++r) {
                    p_[r * k + o] = out[r] + w[padded_.bias];
                }
            }
            times_rates(h, a, shape_.fit_intercept);
            for (index i = 0, pair = 0; i < group; ++i) {
                for (index j = 0; j < i; ++j, ++pair) {
                    for (index o = 0; o < k; ++o) {
                        p_[i * k + o] = p_[i * k + o] - d_[j * k + o] * h[pair];
                    }
                }
                const T *const y = data_.targets.of(rows[at + i]);
                losses[at + i] = data_.targets.weight(rows[at + i]) * loss_.of_row(p_ + i * k, y, d_ + i * k, k);
            }
            if (last != nullptr && at + group == in_turn.count) {
                const T s = data_.targets.weight(rows[at + group - 1]);
                for (index o = 0; o < k; ++o) {
                    slopes_of(x[group - 1], s * d_[(group - 1) * k + o], last + o * shape_.stride);
                }
            }
            if (state.total == nullptr) {
                subtract(x, a, 0, group);
                state.steps += group;
                continue;
            }
            for (index r = 0; r < group; ++r) {
                subtract(x, a, r, r + 1);
                ++state.steps;
                add_to_total(state);
            }
        }
    }

    // The steps of rows first, ..., end - 1 of a group.
    void subtract(const T *const *x, const T *a, index first, index end) {
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = models_ + o * padded_.stride;
            T c[group];
            for (index r = first; r < end; ++r) {
                c[r] = a[r] * d_[r * shape_.outputs + o];
                w[padded_.bias] = shape_.fit_intercept ? w[padded_.bias] - c[r] : w[padded_.bias];
            }
            if (end - first == group) {
                data_.X.subtract_group(x, c, w);
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

    void step_by_row(index i, State<T> &state, const Numbers<T> &numbers, T &row_loss, T *slopes) {
        const index k = shape_.outputs;
        const T *const x = data_.X.row(i);
        for (index o = 0; o < k; ++o) {
            T *const w = models_ + o * padded_.stride;
            data_.X.dots(&i, 1, w, p_ + o, 1);
            p_[o] = p_[o] + w[padded_.bias];
        }
        const T s = data_.targets.weight(i);
        row_loss = s * loss_.of_row(p_, data_.targets.of(i), d_, k);
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
                    g[j] = penalty.slope(penalty.decayed(g[j], w[j]), w[j]);
                }
            }
            for (index j = 0; j < shape_.d; ++j) {
                w[j] = penalty.step(rule, w[j], penalty.decayed(c * x[j], w[j]), nullptr, 0, step.data());
            }
            if (shape_.fit_intercept) {
                w[padded_.bias] = rule.step(w[padded_.bias], c, nullptr, 0, step.data());
            }
        }
        add_to_total(state);
    }

    void add_to_total(State<T> &state) const {
        if (state.averages()) {
            copy(models_, padded_, state.params, shape_);
            state.add_to_total();
        }
    }

    const Data<Dense<T>> &data_;
    const LossKernels<T> &loss_;
    const SGD<T> &rule_;
    const Penalty<T> penalty_;
    const Shape shape_, padded_;
    const bool in_groups_;
    Room<T> room_for_models_, room_;
    T *const models_;
    T *const p_; // predictions and
    T *const d_; // derivatives of the losses, (group, outputs)
};

} // namespace gdfast
