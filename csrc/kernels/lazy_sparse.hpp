// Steps that cost no more than the nonzeros of their rows.
#pragma once

#include "data/csr.hpp"
#include "kernels/gradients.hpp"
#include "kernels/rule_kernels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace gdfast {

// Sparse rows: steps that touch only the columns that their rows hold. What the penalties do to the others is made up
// for when they are next touched. The weights are scale * params, and params are behind by `shift - seen` of shrinking.
// So is what an average adds up meanwhile, and what a rule that coasts does: gdfast/_numerics/order.py has the sums,
// and gdfast/_backends/numpy/lazy_sparse.py the same class.
template <class T>
class Lazy {
public:
    Lazy(const Options<T> &options, const TrainingState<T> &state)
        : options_(options), penalty_(options.penalty), shape_(state.shape), pending_(state.pending),
          touched_(static_cast<std::size_t>(shape_.d)), g_(static_cast<std::size_t>(shape_.size())) {}

    // An epoch of steps for batches of the rows, or a part of one. `last` becomes the least slopes at the last step of
    // the epoch.
    void epoch(const Dataset<Csr<T>> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule,
               RowWindow<Csr<T>> &window, TrainingState<T> &state, const StepCoefficients<T> &numbers,
               EpochLoss<T> &epoch_loss, T *last) {
        const index n = data.X.n, batch_size = options_.batch_size;
        scale_ = pending_.scales[0];
        shift_ = pending_.scales[1];
        const bool by_rows = batch_size == 1 && rule.per_sample() != nullptr && !clips();
        index first = by_rows ? step_rows(data, loss, rule, window, state, numbers, epoch_loss) : 0;
        for (; first < n; first += batch_size) {
            const index end = std::min(n, first + batch_size);
            const index left = (n - first + options_.to_come + batch_size - 1) / batch_size;
            if (left == 1) {
                catch_up(state.params);
            }
            begin_step(rule, state, numbers, left);
            which_.clear();
            for (index begin = first; begin < end; begin += block) {
                const index size = std::min(block, end - begin);
                const index *const rows = window(begin, size).rows;
                const auto before = which_.size();
                for (index r = 0; r < size; ++r) {
                    data.X.fetch_after(rows + r);
                    touch(data.X, rows[r]);
                }
                if (pending_.since != nullptr) {
                    bring_touched(before, rule, state);
                }
                if (penalty_.l1 != 0) {
                    shrink(before, state.params, [this](auto seen) { return shift_ - seen; });
                }
                add_gradients(data, loss, window, begin, size, shape_, state.params, scale_, g_.data(), epoch_loss);
            }
            if (left == 1) {
                const T size = T(end - first);
                std::transform(g_.begin(), g_.end(), last, [size](T g) { return g / size; });
                penalty_.add_decay(last, state.params, shape_);
                penalty_.least_slopes(last, state.params, shape_, true, last);
            }
            step(rule, state, numbers.of(state.steps), T(end - first));
            end_step(rule, state);
            if (left == 1) {
                catch_up(state.params);
            }
        }
        pending_.scales[0] = scale_;
        pending_.scales[1] = shift_;
    }

private:
    bool clips() const { return std::isfinite(options_.clip_norm); }

    // The steps of all rows but the epoch's last by plain SGD without weight decay, each row by itself; says how many.
    index step_rows(const Dataset<Csr<T>> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule,
                    RowWindow<Csr<T>> &window, TrainingState<T> &state, const StepCoefficients<T> &numbers,
                    EpochLoss<T> &epoch_loss) {
        const index n = data.X.n, k = shape_.outputs;
        const index end = options_.to_come == 0 ? n - 1 : n;
        SmallBuffer<T> room;
        T *const p = room.of((chunk + 1) * k);
        T *const d = p + chunk * k;
        for (index first = 0; first < end; first += chunk) {
            const index size = std::min(chunk, end - first);
            const index *const rows = window(first, size).rows;
            for (index r = 0; r < size; ++r) {
                data.X.fetch_after(rows + r);
                begin_step(rule, state, numbers, n - first - r + options_.to_come);
                step_row(data, loss, rows[r], p + r, d, state, numbers);
                end_step(rule, state);
            }
            T losses[chunk];
            loss.of_rows(data.targets, rows, size, p, k, nullptr, losses);
            epoch_loss.add(first, losses, size);
        }
        return end;
    }

    // The step of row i, w - rate * g, with the bits of a batch of it alone. p becomes its predictions, `chunk` apart;
    // d is room for the derivatives by them.
    void step_row(const Dataset<Csr<T>> &data, const LossKernels<T> &loss, index i, T *p, T *d, TrainingState<T> &state,
                  const StepCoefficients<T> &numbers) {
        const Csr<T> &X = data.X;
        if (pending_.since != nullptr) {
            X.each(i, [&, b = step_of_period(state)](index j, T) {
                add_iterates(state, j, b);
                pending_.since[j] = static_cast<std::int32_t>(b);
            });
        }
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            if (penalty_.l1 != 0) {
                const T *const seen = pending_.seen + o * shape_.stride;
                X.each_run(i, [=, shift = shift_](auto j, auto, auto size) {
                    put<size>(shrunk(some<size>(w, j), shift - some<size>(seen, j)), w, j);
                });
            }
            p[o * chunk] = scale_ * X.dot(i, w) + w[shape_.bias];
        }
        loss.derivatives(p, data.targets.of(i), d, shape_.outputs);
        const T s = data.targets.weight(i);
        const T rate = *numbers.row(state.steps);
        const T shrink = behind_by(rate);
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            const T c = s * d[o];
            const auto change = [=, scale = scale_](auto x) { return rate * ((T(0) + c * x) / scale); };
            if (penalty_.l1 != 0) {
                T *const seen = pending_.seen + o * shape_.stride;
                X.each_run(i, [=, shift = shift_](auto j, auto x, auto size) {
                    const auto stepped = some<size>(w, j) - change(some<size>(x));
                    put<size>(shrunk(stepped, shrink), w, j);
                    unrolled<size>([&](auto l) { seen[j[l]] = shift; });
                });
            } else if (penalty_.l2 != 0) {
                X.subtract(i, change, w);
            } else if (c != 0) {
                X.subtract(i, [=](auto x) { return rate * (T(0) + c * x); }, w);
            }
            if (shape_.fit_intercept) {
                w[shape_.bias] = w[shape_.bias] - rate * (T(0) + c);
            }
        }
    }

    void touch(const Csr<T> &X, index row) {
        X.each(row, [&, touched = touched_.data(), size = shape_.size(), stride = shape_.stride](index column, T) {
            if (!touched[column]) {
                touched[column] = 1;
                for (index j = column; j < size; j += stride) {
                    which_.push_back(j);
                }
            }
        });
    }

    // Shrinks the step's params, from one of them on, by so much for what they have seen.
    template <class F>
    void shrink(std::size_t first, T *params, const F &by) {
        const index *const which = which_.data() + first;
        const T *const seen = pending_.seen;
        in_runs<T>(static_cast<index>(which_.size() - first), [&](index k, auto size) {
            const index *const j = which + k;
            put<size>(shrunk(some<size>(params, j), by(some<size>(seen, j))), params, j);
        });
    }

    // Puts off the penalties of a step for all weights; returns by how much weights that are up to date shrink.
    T behind_by(T rate) {
        if (penalty_.l1 == 0 && penalty_.l2 == 0) {
            return 0;
        }
        scale_ *= T(1) - rate * penalty_.l2;
        const T shrink = rate * penalty_.l1 / scale_;
        shift_ += shrink;
        return shrink;
    }

    void step(const RuleKernels<T> &rule, TrainingState<T> &state, const std::array<T, step_numbers> &c, T count) {
        const T by = behind_by(c[0]), scale = scale_, shift = shift_;
        const index d = shape_.d, moved = static_cast<index>(which_.size());
        const index *const which = which_.data();
        T *const g = g_.data();
        in_runs<T>(moved, [=](index k, auto size) {
            const auto mean = some<size>(g, which + k) / count;
            put<size>(scale == 1 ? mean : mean / scale, g, which + k);
        });
        for (index j = d; j < shape_.size(); j += shape_.stride) {
            g[j] /= count;
        }
        if (clips()) {
            clip();
        }
        rule.step_of(state, which, moved, g, c);
        std::for_each(which, which + moved, [g](index j) { g[j] = 0; });
        if (penalty_.l1 != 0) {
            shrink(0, state.params, [by](auto) { return by; });
            std::for_each(which, which + moved, [seen = pending_.seen, shift](index j) { seen[j] = shift; });
        }
        std::for_each(which, which + moved, [touched = touched_.data(), d](index j) {
            if (j < d) {
                touched[j] = 0;
            }
        });
        for (index j = d; j < shape_.size(); j += shape_.stride) {
            if (shape_.fit_intercept) {
                rule.step_of(state, &j, 1, g, c);
            }
            g[j] = 0;
        }
    }

    // Scales the step's gradient down to the norm that it may have.
    void clip() {
        T *const g = g_.data();
        const T factor = options_.clip_norm / (norm() + T(1e-6));
        if (factor < 1) {
            std::for_each(which_.begin(), which_.end(), [=](index j) { g[j] *= factor; });
            for (index j = shape_.bias; j < shape_.size(); j += shape_.stride) {
                g[j] *= factor;
            }
        }
    }

    // The Euclidean norm of the step's gradient: in units of its largest component where the squares overflow, or terms
    // that count are lost.
    T norm() const {
        using Limits = std::numeric_limits<T>;
        const T squares = sum_of_squares(T(1));
        if (squares >= Limits::min() / Limits::epsilon() && squares <= Limits::max()) {
            return std::sqrt(squares);
        }
        T largest = 0;
        const auto look = [&](index j) {
            largest = std::abs(g_[std::size_t(j)]) > largest ? std::abs(g_[std::size_t(j)]) : largest;
        };
        std::for_each(which_.begin(), which_.end(), look);
        for (index j = shape_.bias; shape_.fit_intercept && j < shape_.size(); j += shape_.stride) {
            look(j);
        }
        return largest > 0 ? largest * std::sqrt(sum_of_squares(largest)) : squares;
    }

    // The sum of the squares of the step's gradient, in this unit.
    T sum_of_squares(T unit) const {
        const index moved = static_cast<index>(which_.size()), k = shape_.outputs;
        const index *const which = which_.data();
        const T *const g = g_.data();
        const auto square = [=](index j) { return (g[j] / unit) * (g[j] / unit); };
        T total = 0;
        for (index o = 0; o < k; ++o) {
            T part = sum_of<T>(moved / k, [=](index at) { return square(which[at * k + o]); });
            if (shape_.fit_intercept) {
                part += square(o * shape_.stride + shape_.bias);
            }
            total = o == 0 ? part : total + part;
        }
        return total;
    }

    // Counts a step, of which the epoch has `left` with it, and begins a period where none is under way.
    void begin_step(const RuleKernels<T> &rule, TrainingState<T> &state, const StepCoefficients<T> &numbers,
                    index left) {
        if (pending_.since != nullptr && period_ends(state)) {
            begin_period(rule, state, numbers, std::min(longest_period(shape_.d), std::max(index(1), left - 1)));
        }
        ++state.steps;
    }

    void end_step(const RuleKernels<T> &rule, TrainingState<T> &state) {
        if (pending_.since != nullptr) {
            if (state.averages()) {
                for (index j = shape_.bias; j < shape_.size(); j += shape_.stride) {
                    state.total[j] += state.params[j];
                }
            }
            if (period_ends(state)) {
                settle(rule, state);
            }
        }
        if (scale_ < smallest_scale) {
            catch_up(state.params);
        }
    }

    index step_of_period(const TrainingState<T> &state) const { return state.steps - pending_.period[0]; }
    bool period_ends(const TrainingState<T> &state) const { return step_of_period(state) >= pending_.period[1]; }

    void begin_period(const RuleKernels<T> &rule, const TrainingState<T> &state, const StepCoefficients<T> &numbers,
                      index length) {
        const index before = state.steps;
        pending_.period[0] = before;
        if (pending_.shrinks()) {
            length = fill_shrinking(state, length, [&](index i) { return *numbers.row(before + i); });
        }
        pending_.period[1] = length;
        if (pending_.coasts()) {
            fill_coasting(state, length, rule.factors(), [&](index i) { return *numbers.row(before + i); });
        }
    }

    // Fills the tables of averages of weights that shrink; says how many steps the period has.
    template <class Rate>
    index fill_shrinking(const TrainingState<T> &state, index length, const Rate &rate) {
        double *const ahead = pending_.table(0), *const shifts = pending_.table(1), *const behind = pending_.table(2);
        const index first = first_counted(state);
        T scale = scale_, shift = shift_;
        for (index i = 0; i <= length; ++i) {
            if (i > 0) {
                scale *= T(1) - rate(i) * penalty_.l2;
                shift += rate(i) * penalty_.l1 / scale;
            }
            ahead[i] = i >= first ? double(scale) : 0;
            shifts[i] = shift;
            if (i > 0 && scale < smallest_scale) {
                length = i;
            }
        }
        ahead[length + 1] = shifts[length + 1] = behind[length + 1] = behind[length] = 0;
        for (index i = length - 1; i >= 0; --i) {
            ahead[i] += ahead[i + 1];
            behind[i] = behind[i + 1] + (shifts[i + 1] - shifts[i]) * ahead[i + 1];
        }
        return length;
    }

    // Fills the tables of a rule that coasts, whose states fade by these factors.
    template <class Rate>
    void fill_coasting(const TrainingState<T> &state, index length, std::pair<double, double> factors,
                       const Rate &rate) {
        const auto [keep, keep_way] = factors;
        double *const kept = pending_.table(0), *const powers = pending_.table(1);
        double *const way = pending_.table(2), *const area = pending_.table(3);
        kept[0] = powers[0] = 1;
        for (index i = 1; i <= length + 1; ++i) {
            kept[i] = kept[i - 1] * keep;
            powers[i] = powers[i - 1] * keep_way;
        }
        way[length] = way[length + 1] = area[length] = area[length + 1] = 0;
        for (index i = length - 1; i >= 0; --i) {
            const double r = rate(i + 1);
            area[i] = keep_way * (r * counted(state, i + 1, length + 1) + area[i + 1]);
            way[i] = keep_way * (r + way[i + 1]);
        }
    }

    // The first step of the period after which the iterate counts for the average.
    index first_counted(const TrainingState<T> &state) const {
        return std::max(index(1), state.averages_after - index(pending_.period[0]) + 1);
    }

    // The number of iterates after steps a, ..., b - 1 of the period that count in the average.
    double counted(const TrainingState<T> &state, index a, index b) const {
        return double(std::max(index(0), b - std::max(a, first_counted(state))));
    }

    // Brings the step's columns, from one of their params on, to before the step.
    void bring_touched(std::size_t first, const RuleKernels<T> &rule, TrainingState<T> &state) {
        const index b = step_of_period(state);
        columns_.clear();
        for (std::size_t at = first; at < which_.size(); at += static_cast<std::size_t>(shape_.outputs)) {
            columns_.push_back(which_[at]);
        }
        bring(columns_.data(), static_cast<index>(columns_.size()), b, rule, state);
        std::for_each(columns_.begin(), columns_.end(),
                      [since = pending_.since, b](index j) { since[j] = static_cast<std::int32_t>(b); });
    }

    // Makes up for what has happened to these columns before step b of the period.
    void bring(const index *columns, index count, index b, const RuleKernels<T> &rule, TrainingState<T> &state) {
        if (pending_.coasts()) {
            coasting_.resize(static_cast<std::size_t>(count));
            std::transform(columns, columns + count, coasting_.begin(),
                           [&](index j) { return coasting(state, pending_.since[j], b); });
            rule.coast(state, columns, count, coasting_.data());
        } else {
            std::for_each(columns, columns + count, [&](index j) { add_iterates(state, j, b); });
        }
    }

    // Adds what the weights of a column are after its steps before b to the sum of the iterates.
    void add_iterates(TrainingState<T> &state, index column, index b) const {
        const index a = pending_.since[column];
        if (pending_.shrinks()) {
            for (index j = column; j < shape_.size(); j += shape_.stride) {
                state.total[j] += sum_shrinking(state.params[j], j, a, b);
            }
        } else {
            const double count = counted(state, a, b);
            for (index j = column; j < shape_.size(); j += shape_.stride) {
                state.total[j] += count * state.params[j];
            }
        }
    }

    // The sum of what a weight is after steps a, ..., b - 1 of the period.
    double sum_shrinking(double w, index j, index a, index b) const {
        const double *const ahead = pending_.table(0), *const shifts = pending_.table(1);
        const double *const behind = pending_.table(2);
        if (penalty_.l1 == 0) {
            return w * (ahead[a] - ahead[b]);
        }
        const double size = std::abs(w) - (shifts[a] - pending_.seen[j]);
        if (!(size > 0)) {
            return 0;
        }
        const index end = std::lower_bound(shifts + a, shifts + b, size + shifts[a]) - shifts; // nothing is left
        const double shrinking = (behind[a] - behind[end]) - (shifts[end] - shifts[a]) * ahead[end];
        const double sum = size * (ahead[a] - ahead[end]) - shrinking;
        return w < 0 ? -sum : sum;
    }

    Coasting<T> coasting(const TrainingState<T> &state, index a, index b) const {
        const double *const kept = pending_.table(0), *const powers = pending_.table(1);
        const double *const way = pending_.table(2), *const area = pending_.table(3);
        const index k = b - 1 - a;
        const double later = powers[b - a], rest = counted(state, b, pending_.period[1] + 1);
        const double path = area[a] - (way[a] - later * way[b]) * rest - later * area[b];
        return {counted(state, a, b), path, T(way[a] - powers[k] * way[b - 1]), T(kept[k]), T(powers[k])};
    }

    // Brings all columns to the end of the period.
    void settle(const RuleKernels<T> &rule, TrainingState<T> &state) {
        for (index first = 0; first < shape_.d; first += block) {
            columns_.resize(static_cast<std::size_t>(std::min(block, shape_.d - first)));
            std::iota(columns_.begin(), columns_.end(), first);
            bring(columns_.data(), static_cast<index>(columns_.size()), pending_.period[1] + 1, rule, state);
        }
        std::fill_n(pending_.since, shape_.d, 0);
    }

    // Makes params the weights themselves.
    void catch_up(T *params) {
        if (penalty_.l1 == 0 && penalty_.l2 == 0) {
            return;
        }
        const T scale = scale_, shift = shift_; // which no pointer aliases
        for (index first = 0; first < shape_.size(); first += shape_.stride) {
            T *const w = params + first;
            if (penalty_.l1 != 0) { // outside of the loop: without l1 seen is empty, and masked reads of it cost misses
                std::transform(w, w + shape_.d, pending_.seen + first, w,
                               [shift](T w_j, T seen) { return shrunk(w_j, shift - seen); });
            }
            std::for_each(w, w + shape_.d, [scale](T &w_j) { w_j *= scale; });
        }
        scale_ = 1;
        shift_ = 0;
        if (penalty_.l1 != 0) {
            std::fill_n(pending_.seen, shape_.size(), T(0));
        }
    }

    static constexpr T smallest_scale = T(1) / (1 << 20);

    Options<T> options_;
    Penalty<T> penalty_;
    Shape shape_;
    Pending<T> pending_;
    T scale_ = 1, shift_ = 0;
    std::vector<char> touched_;         // whether the step under way has touched a column
    std::vector<index> which_;          // the params of the step's columns
    std::vector<index> columns_;        // those that are brought up to date
    std::vector<Coasting<T>> coasting_; // what they go through
    std::vector<T> g_;                  // zero wherever no step is under way
};

} // namespace gdfast
