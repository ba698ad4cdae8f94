// The training loop. gdfast/_backends/loops.py is the same in Python.
//
// Letters: p prediction, y target, s sample weight, d derivative of a loss by its prediction, c = s * d, g gradient,
// i row, j feature, o output; d is also the number of features. The params of k outputs stand one after the other: each
// its d weights, then its intercept.
#pragma once

#include "kernels/gradients.hpp"
#include "kernels/lazy_sparse.hpp"
#include "kernels/row_steps.hpp"
#include "kernels/rule_kernels.hpp"
#include "kernels/state.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace gdfast {

// The sum of squares: of each output the weights as a dot product and the intercept, the outputs in turn.
template <class T>
T sum_of_squares(const T *g, const Shape &shape) {
    T total = 0;
    for (index o = 0; o < shape.outputs; ++o, g += shape.stride) {
        const T part = dot(g, g, shape.d) + g[shape.bias] * g[shape.bias];
        total = o == 0 ? part : total + part;
    }
    return total;
}

// Divides by the largest component and returns it: squares then neither overflow nor underflow.
template <class T>
T divide_by_largest(T *g, index size) {
    T largest = 0;
    for (index j = 0; j < size; ++j) {
        largest = std::abs(g[j]) > largest ? std::abs(g[j]) : largest;
    }
    if (largest > 0) {
        std::for_each(g, g + size, [largest](T &v) { v /= largest; });
    }
    return largest;
}

// The Euclidean norm. Where the squares overflow, or terms that count are lost, the components become divided.
template <class T>
T norm(T *g, const Shape &shape) {
    using Limits = std::numeric_limits<T>;
    const T squares = sum_of_squares(g, shape);
    if (squares >= Limits::min() / Limits::epsilon() && squares <= Limits::max()) {
        return std::sqrt(squares);
    }
    const T largest = divide_by_largest(g, shape.size());
    return largest * std::sqrt(sum_of_squares(g, shape));
}

// Runs `epochs` epochs, or fewer; says how many, and why it ended. `keys` is null where the rows are not shuffled.
template <class Matrix, class T>
std::pair<index, Status> descend(const Dataset<Matrix> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule,
                                 const Options<T> &options, TrainingState<T> &state, const StepCoefficients<T> &numbers,
                                 index epochs, const std::uint64_t *keys, const EpochLog<T> &log) {
    const Shape shape = state.shape;
    const Penalty<T> penalty = options.penalty;
    const index n = data.X.n;
    const index size = shape.size();
    const bool clips = std::isfinite(options.clip_norm);
    const Shape padded = shape.padded();
    const SGD<T> *const per_sample = options.fused && !Matrix::sparse ? rule.per_sample() : nullptr;
    const bool by_batches = per_sample == nullptr && !(options.fused && Matrix::sparse);
    SmallBuffer<T> room_for_models;
    T *const models = room_for_models.zeros(by_batches ? padded.size() : 0);
    std::vector<T> sums(by_batches ? room_for_sums<Matrix>(options.batch_size, padded) : 0);
    std::vector<T> grad(static_cast<std::size_t>(by_batches ? size : 0));
    std::vector<T> slopes(static_cast<std::size_t>(size));
    std::vector<T> sides(static_cast<std::size_t>(by_batches && penalty.l1 != 0 ? size : 0));
    EpochLoss<T> epoch_loss(log.sums, log.offset, n);
    std::optional<std::conditional_t<Matrix::sparse, Lazy<T>, PerSample<T>>> fused;
    if constexpr (Matrix::sparse) {
        if (options.fused) {
            fused.emplace(options, state);
        }
    } else if (per_sample != nullptr) {
        fused.emplace(data, loss, *per_sample, penalty, shape);
    }

    RowWindow<Matrix> window(data.X, Visits(nullptr, n));
    for (index e = 0; e < epochs; ++e) {
        if (keys != nullptr) {
            window.begin(Visits(keys + e * rounds, n));
        }
        std::copy(state.params, state.params + size, state.start);
        if (e > 0) {
            epoch_loss.clear();
        }
        Status status = Status::ran;
        if (fused) {
            if constexpr (Matrix::sparse) {
                fused->epoch(data, loss, rule, window, state, numbers, epoch_loss, slopes.data());
            } else {
                for (index first = 0; first < n;) {
                    const index count = std::min(epoch_loss.left_in_block(first), n - first);
                    fused->step(window(first, count), count, window.shuffled(), state, numbers,
                                epoch_loss.of_block(first), first + count == n ? slopes.data() : nullptr);
                    first += count;
                }
            }
        } else {
            for (index first = 0; first < n; first += options.batch_size) {
                const index count = std::min(options.batch_size, n - first);
                copy(state.params, shape, models, padded);
                sum_gradients(data, loss, window, first, count, padded, models, sums.data(), epoch_loss,
                              options.threads);
                copy(sums.data(), padded, grad.data(), shape);
                std::for_each(grad.begin(), grad.end(), [count](T &g) { g /= T(count); });
                penalty.add_decay(grad.data(), state.params, shape);
                T kept = 1; // of the gradient
                if (clips) {
                    penalty.least_slopes(grad.data(), state.params, shape, false, slopes.data());
                    const T length = norm(slopes.data(), shape);
                    kept = options.clip_norm / (length + T(1e-6));
                    kept = kept < 1 ? kept : T(1);
                }
                if (first + count == n) {
                    penalty.least_slopes(grad.data(), state.params, shape, true, slopes.data());
                    if (std::all_of(slopes.begin(), slopes.end(), [&](T g) { return std::abs(g) <= options.tol; })) {
                        status = Status::tol;
                        break;
                    }
                }
                if (kept < 1) {
                    std::for_each(grad.begin(), grad.end(), [kept](T &g) { g *= kept; });
                }
                ++state.steps;
                const auto c = numbers.of(state.steps);
                penalty.scaled(kept).step(state.params, grad.data(), shape, c[0], sides.data(),
                                          [&] { rule.step(state, grad.data(), c); });
                state.add_to_total();
            }
        }
        log.grad_norm[e] = norm(slopes.data(), shape);
        log.loss[e] = epoch_loss.mean();
        const T *const at = options.batch_size == n ? state.start : state.params; // as the loss is found
        log.objective[e] = penalty.free() ? log.loss[e] : log.loss[e] + penalty.of(at, shape);
        if (log.params != nullptr) {
            std::copy(state.params, state.params + size, log.params + e * size);
        }
        const bool finite = std::all_of(state.params, state.params + size, [](T w) { return std::isfinite(w); });
        if (!(finite && log.loss[e] <= options.bound)) {
            return {e + 1, Status::diverged};
        }
        if (status == Status::tol) {
            return {e + 1, status};
        }
    }
    return {epochs, Status::ran};
}

} // namespace gdfast
