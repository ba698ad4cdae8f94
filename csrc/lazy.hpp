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
    void epoch(const Data<Csr<T>> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule,
               Upcoming<Csr<T>> &upcoming, index batch_size, State<T> &state, const Numbers<T> &numbers,
               EpochLoss<T> &epoch_loss, T *last) {
        const index n = data.X.n;
        const bool by_rows = batch_size == 1 && rule.per_sample() != nullptr;
        index first = by_rows ? step_rows(data, loss, upcoming, state, numbers, epoch_loss) : 0;
        for (; first < n; first += batch_size) {
            const index end = std::min(n, first + batch_size);
            if (end == n) {
                catch_up(state.params);
            }
            which_.clear();
            ++state.steps;
            for (index begin = first; begin < end; begin += block) {
                const index size = std::min(block, end - begin);
                const index *const rows = upcoming(begin, size).rows;
                const auto before = which_.size();
                for (index r = 0; r < size; ++r) {
                    data.X.fetch_after(rows + r);
                    touch(data.X, rows[r]);
                }
                if (penalty_.l1 != 0) {
                    shrink(before, state.params, [this](auto seen) { return shift_ - seen; });
                }
                add_gradients(data, loss, upcoming, begin, size, shape_, state.params, scale_, g_.data(), epoch_loss);
            }
            if (end == n) {
                const T size = T(end - first);
                std::transform(g_.begin(), g_.end(), last, [size](T g) { return g / size; });
                penalty_.add_decay(last, state.params, shape_);
                penalty_.least_slopes(last, state.params, shape_, true, last);
            }
            step(rule, state, numbers.of(state.steps), T(end - first));
        }
        catch_up(state.params);
    }

private:
    // The steps of all rows but the last by plain SGD without weight decay, each row by itself; says how many.
    index step_rows(const Data<Csr<T>> &data, const LossKernels<T> &loss, Upcoming<Csr<T>> &upcoming, State<T> &state,
                    const Numbers<T> &numbers, EpochLoss<T> &epoch_loss) {
        const index end = data.X.n - 1, k = shape_.outputs;
        Room<T> room;
        T *const p = room.of((chunk + 1) * k);
        T *const d = p + chunk * k;
        for (index first = 0; first < end; first += chunk) {
            const index size = std::min(chunk, end - first);
            const index *const rows = upcoming(first, size).rows;
            for (index r = 0; r < size; ++r) {
                data.X.fetch_after(rows + r);
                step_row(data, loss, rows[r], p + r, d, state, numbers);
            }
            T losses[chunk];
            loss.of_rows(data.targets, rows, size, p, k, nullptr, losses);
            epoch_loss.add(first, losses, size);
        }
        return end;
    }

    // The step of row i, w - rate * g, with the bits of a batch of it alone. p becomes its predictions, `chunk` apart;
    // d is room for the derivatives by them.
    void step_row(const Data<Csr<T>> &data, const LossKernels<T> &loss, index i, T *p, T *d, State<T> &state,
                  const Numbers<T> &numbers) {
        const Csr<T> &X = data.X;
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            if (penalty_.l1 != 0) {
                const T *const seen = seen_.data() + o * shape_.stride;
                X.each_run(i, [=, shift = shift_](auto j, auto, auto size) {
                    put<size>(shrunk(some<size>(w, j), shift - some<size>(seen, j)), w, j);
                });
            }
            p[o * chunk] = scale_ * X.dot(i, w) + w[shape_.bias];
        }
        loss.derivatives(p, data.targets.of(i), d, shape_.outputs);
        const T s = data.targets.weight(i);
        const T rate = *numbers.row(++state.steps);
        const T shrink = behind_by(rate);
        for (index o = 0; o < shape_.outputs; ++o) {
            T *const w = state.params + o * shape_.stride;
            const T c = s * d[o];
            const auto change = [=, scale = scale_](auto x) { return rate * ((T(0) + c * x) / scale); };
            if (penalty_.l1 != 0) {
                T *const seen = seen_.data() + o * shape_.stride;
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
        bound_scale(state.params);
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
        const T *const seen = seen_.data();
        in_runs<T>(static_cast<index>(which_.size() - first), [&](index k, auto size) {
            const index *const j = which + k;
            put<size>(shrunk(some<size>(params, j), by(some<size>(seen, j))), params, j);
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
        const T by = behind_by(c[0]), scale = scale_, shift = shift_;
        const index d = shape_.d, moved = static_cast<index>(which_.size());
        const index *const which = which_.data();
        T *const g = g_.data();
        in_runs<T>(moved, [=](index k, auto size) {
            const auto mean = some<size>(g, which + k) / count;
            put<size>(scale == 1 ? mean : mean / scale, g, which + k);
        });
        rule.step_of(state, which, moved, g, c);
        std::for_each(which, which + moved, [g](index j) { g[j] = 0; });
        if (penalty_.l1 != 0) {
            shrink(0, state.params, [by](auto) { return by; });
            std::for_each(which, which + moved, [seen = seen_.data(), shift](index j) { seen[j] = shift; });
        }
        std::for_each(which, which + moved, [touched = touched_.data(), d](index j) {
            if (j < d) {
                touched[j] = 0;
            }
        });
        for (index j = d; j < shape_.size(); j += shape_.stride) {
            g[j] /= count;
            if (shape_.fit_intercept) {
                rule.step_of(state, &j, 1, g, c);
            }
            g[j] = 0;
        }
        bound_scale(state.params);
    }

    // Makes params the weights themselves.
    void catch_up(T *params) {
        const T scale = scale_, shift = shift_; // which no pointer aliases
        for (index first = 0; first < shape_.size(); first += shape_.stride) {
            T *const w = params + first;
            if (penalty_.l1 != 0) { // outside of the loop: without l1 seen is empty, and masked reads of it cost misses
                std::transform(w, w + shape_.d, seen_.data() + first, w,
                               [shift](T w_j, T seen) { return shrunk(w_j, shift - seen); });
            }
            std::for_each(w, w + shape_.d, [scale](T &w_j) { w_j *= scale; });
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
