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
        for (index first = 0; first < n; first += batch_size) {
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
                for (index r = 0; r < size; ++r) {
                    touch(data.X, rows[r], state);
                }
                add_gradients(data, loss, rows, size, visits.shuffled(), shape_, state.params, scale_, g_.data(),
                              losses);
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
    void touch(const Csr<T> &X, index row, const State<T> &state) {
        for (index k = X.starts[row]; k < X.starts[row + 1]; ++k) {
            const index column = X.columns[k];
            char &touched = touched_[static_cast<std::size_t>(column)];
            if (touched) {
                continue;
            }
            touched = 1;
            for (index j = column; j < shape_.size(); j += shape_.stride) {
                which_.push_back(j);
                if (penalty_.l1 != 0) {
                    state.params[j] = shrunk(state.params[j], shift_ - seen_[static_cast<std::size_t>(j)]);
                }
            }
        }
    }

    void step(const RuleKernels<T> &rule, State<T> &state, const std::array<T, step_numbers> &c, T count) {
        T shrink = 0;
        if (penalty_.l1 != 0 || penalty_.l2 != 0) {
            scale_ *= T(1) - c[0] * penalty_.l2;
            shrink = c[0] * penalty_.l1 / scale_;
            shift_ += shrink;
        }
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
        if (scale_ < T(1) / (1 << 20)) {
            catch_up(state.params);
        }
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
