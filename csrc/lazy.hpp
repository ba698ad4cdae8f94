// Steps that cost no more than the nonzeros of their rows.
#pragma once

#include "rule_kernels.hpp"
#include "sums.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace gdfast {

// Sparse rows: steps that touch only the columns that their rows hold. What the penalties do to the others is made up
// for when they are next touched. The weights are scale * params, and params are behind by `shift - seen` of shrinking.
template <class T>
class Lazy {
public:
    Lazy(const Penalty<T> &penalty, const Shape &shape)
        : penalty_(penalty), shape_(shape), seen_(static_cast<std::size_t>(penalty.l1 != 0 ? shape.size() : 0)),
          touched_(static_cast<std::size_t>(shape.d)), g_(static_cast<std::size_t>(shape.size())) {}

    // An epoch of steps for batches of the rows. `last` becomes the least slopes at the last one.
    void epoch(const Data<Csr<T>> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule, const Visits &visits,
               index batch_size, State<T> &state, const Numbers<T> &numbers, EpochLoss<T> &epoch_loss, T *last) {
        const index n = data.X.n;
        const SGD<T> *const plain = batch_size == 1 ? rule.per_sample() : nullptr;
        index first = plain == nullptr ? 0 : step_rows(data, loss, *plain, visits, state, numbers, epoch_loss);
        for (; first < n; first += batch_size) {
            const index end = std::min(n, first + batch_size);
            if (end == n) {
                catch_up(state.params);
            }
            which_.clear();
            ++state.steps;
            for (index begin = first; begin < end; begin += block) {
                index rows[block];
                T losses[block];
                const index size = std::min(block, end - begin);
                visits(begin, size, rows);
                for (index r = 0; visits.shuffled() && r < size; ++r) {
                    data.X.prefetch(rows[r]);
                }
                for (index r = 0; r < size; ++r) {
                    touch(data.X, rows[r], state);
                }
                add_gradients(data, loss, rows, size, false, shape_, state.params, scale_, g_.data(), losses);
                epoch_loss.add(begin, losses, size);
            }
            if (end == n) {
                const T size = T(end - first);
                std::transform(g_.begin(), g_.end(), last, [size](T g) { return g / size; });
                penalty_.add_decay(last, state.params, shape_);
                penalty_.least_slopes(last, state.params, shape_, last);
            }
            step(rule, state, numbers.of(state.steps), T(end - first));
        }
        catch_up(state.params);
    }

private:
    // The steps of all rows but the last by plain SGD, each row by itself; says how many.
    index step_rows(const Data<Csr<T>> &data, const LossKernels<T> &loss, const SGD<T> &rule, const Visits &visits,
                    State<T> &state, const Numbers<T> &numbers, EpochLoss<T> &epoch_loss) {
        constexpr index ahead = 8;
        const index n = data.X.n;
        Room<T> room;
        T *const p = room.of(2 * shape_.outputs);
        for (index first = 0; first < n - 1;) {
            index rows[block];
            const index known = std::min(block, n - first);
            visits(first, known, rows);
            const index size = std::min({epoch_loss.left_in_block(first), block - 2 * ahead, n - 1 - first});
            T sum = epoch_loss.of_block(first);
            for (index at = 0; at < size; ++at) {
                if (visits.shuffled() && at + 2 * ahead < known) {
                    data.X.prefetch_start(rows[at + 2 * ahead]);
                    data.X.prefetch(rows[at + ahead]);
                }
                sum += step_row(data, loss, rule, rows[at], p, state, numbers);
            }
            epoch_loss.of_block(first) = sum;
            first += size;
        }
        return n - 1;
    }

    // The step of a row, by the bits of a batch of it alone; returns its loss. p: room for the predictions and the
    // derivatives by them.
    [[gnu::flatten]] T step_row(const Data<Csr<T>> &data, const LossKernels<T> &loss, const SGD<T> &given, index i,
                                T *p, State<T> &state, const Numbers<T> &numbers) {
        const Csr<T> &X = data.X;
        const SGD<T> rule = given; // which no pointer aliases
        T *const d = p + shape_.outputs;
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            if (penalty_.l1 != 0) {
                const T *const seen = seen_.data() + o * shape_.stride;
                X.each(i, [=, shift = shift_](index j, T) { w[j] = shrunk(w[j], shift - seen[j]); });
            }
            p[o] = scale_ * X.dot(i, w) + w[shape_.bias];
        }
        const T s = data.targets.weight(i);
        const T value = s * loss.of_row(p, data.targets.of(i), d, shape_.outputs);
        const std::array<T, step_numbers> rates{*numbers.row(++state.steps)}; // this rule asks for no more
        const T shrink = behind_by(rates[0]);
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            const T c = s * d[o];
            const auto step = [=](T v, T g) { return rule.step(v, g, nullptr, 0, rates.data()); };
            const auto stepped = [=, scale = scale_](T v, T x) { return step(v, (T(0) + c * x) / scale); };
            if (penalty_.l1 != 0) {
                T *const seen = seen_.data() + o * shape_.stride;
                X.each(i, [=, shift = shift_](index j, T x) {
                    w[j] = shrunk(stepped(w[j], x), shrink);
                    seen[j] = shift;
                });
            } else if (penalty_.l2 != 0) {
                X.each(i, [=](index j, T x) { w[j] = stepped(w[j], x); });
            } else if (c != 0) {
                X.each(i, [=](index j, T x) { w[j] = step(w[j], T(0) + c * x); });
            }
            if (shape_.fit_intercept) {
                w[shape_.bias] = step(w[shape_.bias], T(0) + c);
            }
        }
        bound_scale(state.params);
        return value;
    }

    void touch(const Csr<T> &X, index row, const State<T> &state) {
        X.each(row, [&](index column, T) {
            char &touched = touched_[static_cast<std::size_t>(column)];
            if (touched) {
                return;
            }
            touched = 1;
            for (index j = column; j < shape_.size(); j += shape_.stride) {
                which_.push_back(j);
                if (penalty_.l1 != 0) {
                    state.params[j] = shrunk(state.params[j], shift_ - seen_[static_cast<std::size_t>(j)]);
                }
            }
        });
    }

    // What the penalties of a step do to all weights is put off; returns by how much those that are up to date shrink.
    T behind_by(T rate) {
        if (penalty_.l1 == 0 && penalty_.l2 == 0) {
            return 0;
        }
        scale_ *= T(1) - rate * penalty_.l2;
        const T shrink = rate * penalty_.l1 / scale_;
        shift_ += shrink;
        return shrink;
    }

    void bound_scale(T *params) {
        if (scale_ < T(1) / (1 << 20)) {
            catch_up(params);
        }
    }

    void step(const RuleKernels<T> &rule, State<T> &state, const std::array<T, step_numbers> &c, T count) {
        const T shrink = behind_by(c[0]);
        for (const index j : which_) {
            T &g = g_[static_cast<std::size_t>(j)];
            g = g / count / scale_;
        }
        rule.step_of(state, which_.data(), static_cast<index>(which_.size()), g_.data(), c);
        for (const index j : which_) {
            if (penalty_.l1 != 0) {
                state.params[j] = shrunk(state.params[j], shrink);
                seen_[static_cast<std::size_t>(j)] = shift_;
            }
            g_[static_cast<std::size_t>(j)] = 0;
            if (j < shape_.d) {
                touched_[static_cast<std::size_t>(j)] = 0;
            }
        }
        for (index j = shape_.d; j < shape_.size(); j += shape_.stride) {
            T &g = g_[static_cast<std::size_t>(j)];
            g /= count;
            if (shape_.fit_intercept) {
                rule.step_of(state, &j, 1, g_.data(), c);
            }
            g = 0;
        }
        bound_scale(state.params);
    }

    // Makes params the weights themselves.
    void catch_up(T *params) {
        for (index first = 0; first < shape_.size(); first += shape_.stride) {
            for (index j = first; j < first + shape_.d; ++j) {
                if (penalty_.l1 != 0) {
                    params[j] = shrunk(params[j], shift_ - seen_[static_cast<std::size_t>(j)]);
                }
                params[j] *= scale_;
            }
        }
        scale_ = 1;
        shift_ = 0;
        std::fill(seen_.begin(), seen_.end(), T(0));
    }

    Penalty<T> penalty_;
    Shape shape_;
    T scale_ = 1, shift_ = 0;
    std::vector<T> seen_;
    std::vector<char> touched_; // whether the step under way has touched a column
    std::vector<index> which_;  // the params of the step's columns
    std::vector<T> g_;          // zero wherever no step is under way
};

} // namespace gdfast
