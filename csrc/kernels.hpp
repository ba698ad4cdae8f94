// The training loop and its kernels, over dtype, loss and rule. gdfast/_backends/_loops.py is the same loop in Python.
//
// Letters: p prediction, y target, s sample weight, c = s * dloss/dp, g gradient, i row, j feature.
#pragma once

#include "losses.hpp"
#include "optimizers.hpp"
#include "order.hpp"
#include "threads.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace gdfast {

template <class T>
struct Data {
    const T *X;        // (n, d)
    const T *y;        // (n,)
    const T *weights;  // (n,), or one for all rows
    index weight_step; // 1 or 0
    index n, d;

    const T *row(index i) const { return X + i * d; }
    T weight(index i) const { return weights[i * weight_step]; }
};

// What a training run changes. `total` is null where no average is asked for.
template <class T>
struct State {
    T *params;     // (d + 1,): the weights, then the intercept
    T *slots;      // (states, d + 1)
    double *total; // (d + 1,), the sum of the iterates after step `averages_after`
    T *start;      // (d + 1,), params before the last epoch
    index width;   // d + 1
    index active;  // how many of the params are trained
    index averages_after;
    index steps;

    void add_to_total() {
        if (total != nullptr && steps > averages_after) {
            for (index j = 0; j < width; ++j) {
                total[j] += params[j];
            }
        }
    }
};

// The numbers of the steps to come: a row for each step after `before`, the last one for all that follow.
template <class T>
struct Numbers {
    const T *rows; // (count, width)
    index count, width;
    index before;

    const T *of(index step) const { return rows + std::min(step - before, count) * width - width; }
};

// The kernels that depend on the loss.
template <class T>
class LossKernels {
public:
    virtual ~LossKernels() = default;

    // For up to `block` rows: the sum of their gradients, (d + 1,), and the loss of each.
    virtual void block_sums(const Data<T> &data, const index *rows, index count, const T *params, T *g,
                            T *losses) const = 0;

    // The losses of rows first, ..., first + count - 1, whose predictions are given.
    virtual void losses_of(const Data<T> &data, const T *predictions, index first, index count, T *losses) const = 0;

    // A step of stateless SGD for each of the rows. Returns the last row's c.
    virtual T per_sample(const Data<T> &data, const index *rows, index count, const SGD<T> &rule, State<T> &state,
                         const Numbers<T> &numbers, T *losses) const = 0;
};

template <class Loss>
class LossKernelsOf;

template <template <class> class Loss, class T>
class LossKernelsOf<Loss<T>> final : public LossKernels<T> {
public:
    explicit LossKernelsOf(const Loss<T> &loss) : loss_(loss) {}

    void block_sums(const Data<T> &data, const index *rows, index count, const T *params, T *g,
                    T *losses) const override {
        std::fill(g, g + data.d + 1, T(0));
        index i = 0;
        for (; i + 4 <= count; i += 4) {
            add_rows<4>(data, rows + i, params, g, losses + i);
        }
        for (; i < count; ++i) {
            add_rows<1>(data, rows + i, params, g, losses + i);
        }
    }

    void losses_of(const Data<T> &data, const T *predictions, index first, index count, T *losses) const override {
        for (index i = first; i < first + count; ++i) {
            losses[i - first] = data.weight(i) * loss_.value(predictions[i], data.y[i]);
        }
    }

    T per_sample(const Data<T> &data, const index *rows, index count, const SGD<T> &rule, State<T> &state,
                 const Numbers<T> &numbers, T *losses) const override {
        const index d = data.d;
        T *const w = state.params;
        T c = 0;
        for (index at = 0; at < count; ++at) {
            const index i = rows[at];
            const T *const x = data.row(i);
            const T p = dot(x, w, d) + w[d];
            losses[at] = data.weight(i) * loss_.value(p, data.y[i]);
            c = data.weight(i) * loss_.gradient(p, data.y[i]);
            ++state.steps;
            const T step[step_numbers] = {*numbers.of(state.steps)}; // the rate; this rule asks for no more
            for (index j = 0; j < d; ++j) {
                w[j] = rule.step(w[j], c * x[j], nullptr, 0, step);
            }
            if (state.active > d) {
                w[d] = rule.step(w[d], c, nullptr, 0, step);
            }
            state.add_to_total();
        }
        return c;
    }

private:
    // R rows side by side: each is read once, for its prediction and for its share of the gradient.
    template <index R>
    void add_rows(const Data<T> &data, const index *rows, const T *params, T *g, T *losses) const {
        const index d = data.d;
        const T *x[R];
        for (index r = 0; r < R; ++r) {
            x[r] = data.row(rows[r]);
        }
        T c[R];
        dot(x, params, d, c);
        for (index r = 0; r < R; ++r) {
            const index i = rows[r];
            const T p = c[r] + params[d];
            losses[r] = data.weight(i) * loss_.value(p, data.y[i]);
            c[r] = data.weight(i) * loss_.gradient(p, data.y[i]);
            g[d] += c[r];
        }
        for (index j = 0; j < d; ++j) {
            T sum = g[j];
            for (index r = 0; r < R; ++r) {
                sum += c[r] * x[r][j];
            }
            g[j] = sum;
        }
    }

    Loss<T> loss_;
};

// The kernel that depends on the rule.
template <class T>
class RuleKernels {
public:
    virtual ~RuleKernels() = default;
    virtual void step(State<T> &state, const T *g, const Numbers<T> &numbers) const = 0;
    // The rule itself where it is SGD without state, for which there is a loop per sample. Its bits are those of
    // batches of one row: these sum from +0.0, so a gradient of -0.0 becomes +0.0, but no w that is not -0.0 itself
    // tells the two apart.
    virtual const SGD<T> *stateless_sgd() const = 0;
};

template <class Rule>
class RuleKernelsOf;

template <template <class> class Rule, class T>
class RuleKernelsOf<Rule<T>> final : public RuleKernels<T> {
public:
    explicit RuleKernelsOf(const Rule<T> &rule) : rule_(rule) {}

    void step(State<T> &state, const T *g, const Numbers<T> &numbers) const override {
        ++state.steps;
        T c[step_numbers];
        std::copy_n(numbers.of(state.steps), numbers.width, c);
        const Rule<T> rule = rule_; // which no pointer aliases
        for (index j = 0; j < state.active; ++j) {
            state.params[j] = rule.step(state.params[j], g[j], state.slots + j, state.width, c);
        }
        state.add_to_total();
    }

    const SGD<T> *stateless_sgd() const override {
        if constexpr (std::is_same_v<Rule<T>, SGD<T>>) {
            return rule_.momentum == 0 ? &rule_ : nullptr;
        }
        return nullptr;
    }

private:
    Rule<T> rule_;
};

// The losses of an epoch's rows, summed by blocks of the positions at which they are visited.
template <class T>
class EpochLoss {
public:
    explicit EpochLoss(index n) : n_(n), sums_(static_cast<std::size_t>((n + block - 1) / block)) {}

    void add(index position, const T *losses, index count) {
        for (index at = 0; at < count;) {
            T &kept = sums_[static_cast<std::size_t>((position + at) / block)];
            const index end = std::min(count, ((position + at) / block + 1) * block - position);
            T sum = kept;
            for (; at < end; ++at) {
                sum += losses[at];
            }
            kept = sum;
        }
    }

    T mean() {
        tree(sums_.data(), static_cast<index>(sums_.size()), 1);
        const T mean = sums_[0] / T(n_);
        std::fill(sums_.begin(), sums_.end(), T(0));
        return mean;
    }

private:
    index n_;
    std::vector<T> sums_;
};

// The mean gradient over the rows visited at positions first, ..., first + count - 1, and their losses. `sums` holds
// d + 1 numbers for each block of these rows. With several threads, `first` must be at the border of a block: blocks
// across a border would share their entries of the epoch's loss.
template <class T>
void gradient(const Data<T> &data, const LossKernels<T> &loss, const Visits &visits, index first, index count,
              const T *params, T *sums, T *grad, EpochLoss<T> &epoch_loss, index threads) {
    const index width = data.d + 1;
    const index blocks = (count + block - 1) / block;
    const auto sum_block = [&](index b) {
        index rows[block];
        T losses[block];
        const index begin = b * block;
        const index size = std::min(block, count - begin);
        visits(first + begin, size, rows);
        loss.block_sums(data, rows, size, params, sums + b * width, losses);
        epoch_loss.add(first + begin, losses, size);
    };
    share(blocks, threads, sum_block);
    tree(sums, blocks, width);
    for (index j = 0; j < width; ++j) {
        grad[j] = sums[j] / T(count);
    }
}

// The mean loss of the rows, whose predictions are given.
template <class T>
T mean_loss(const Data<T> &data, const LossKernels<T> &loss, const T *predictions) {
    EpochLoss<T> sums(data.n);
    for (index first = 0; first < data.n; first += block) {
        T losses[block];
        const index count = std::min(block, data.n - first);
        loss.losses_of(data, predictions, first, count, losses);
        sums.add(first, losses, count);
    }
    return sums.mean();
}

// The Euclidean norm: the weights as a dot product, then the intercept.
template <class T>
T norm(const T *g, index d) {
    return std::sqrt(dot(g, g, d) + g[d] * g[d]);
}

enum class Status { ran, tol, diverged };

template <class T>
struct Options {
    index batch_size;
    T clip_norm; // infinity: no clipping
    T tol;       // negative: never
    T bound;
    index threads;
};

// Where each epoch is written down. `params` is null where it is not traced.
template <class T>
struct Log {
    T *loss;
    T *grad_norm;
    T *params; // (epochs, d + 1)
};

// Runs `epochs` epochs, or fewer; says how many, and why it ended. `keys` is null where the rows are not shuffled.
template <class T>
std::pair<index, Status> descend(const Data<T> &data, const LossKernels<T> &loss, const RuleKernels<T> &rule,
                                 const Options<T> &options, State<T> &state, const Numbers<T> &numbers, index epochs,
                                 const std::uint64_t *keys, const Log<T> &log) {
    const StandardFloats standard;
    const T infinity = std::numeric_limits<T>::infinity();
    const index n = data.n;
    const index d = data.d;
    const index width = d + 1;
    const bool clips = options.clip_norm != infinity;
    const SGD<T> *const per_sample =
        options.batch_size == 1 && options.tol < 0 && !clips ? rule.stateless_sgd() : nullptr;
    std::vector<T> sums(static_cast<std::size_t>((options.batch_size + block - 1) / block * width));
    std::vector<T> grad(static_cast<std::size_t>(width));
    EpochLoss<T> epoch_loss(n);

    for (index e = 0; e < epochs; ++e) {
        const Visits visits(keys == nullptr ? nullptr : keys + e * rounds, n);
        std::copy(state.params, state.params + width, state.start);
        Status status = Status::ran;
        if (per_sample != nullptr) {
            for (index first = 0; first < n; first += block) {
                index rows[block];
                T losses[block];
                const index count = std::min(block, n - first);
                visits(first, count, rows);
                const T c = loss.per_sample(data, rows, count, *per_sample, state, numbers, losses);
                epoch_loss.add(first, losses, count);
                if (first + count == n) {
                    const T *const x = data.row(rows[count - 1]);
                    std::transform(x, x + d, grad.begin(), [c](T value) { return c * value; });
                    grad.back() = c;
                }
            }
            std::fill(grad.begin() + state.active, grad.end(), T(0));
            log.grad_norm[e] = norm(grad.data(), d);
        } else {
            for (index first = 0; first < n; first += options.batch_size) {
                const index count = std::min(options.batch_size, n - first);
                gradient(data, loss, visits, first, count, state.params, sums.data(), grad.data(), epoch_loss,
                         options.threads);
                std::fill(grad.begin() + state.active, grad.end(), T(0));
                if (first + count == n) {
                    log.grad_norm[e] = norm(grad.data(), d);
                    if (std::all_of(grad.begin(), grad.end(), [&](T g) { return std::abs(g) <= options.tol; })) {
                        status = Status::tol;
                        break;
                    }
                }
                if (clips) {
                    const T scale = options.clip_norm / (norm(grad.data(), d) + T(1e-6));
                    if (scale < 1) {
                        std::for_each(grad.begin(), grad.end(), [scale](T &g) { g *= scale; });
                    }
                }
                rule.step(state, grad.data(), numbers);
            }
        }
        log.loss[e] = epoch_loss.mean();
        if (log.params != nullptr) {
            std::copy(state.params, state.params + width, log.params + e * width);
        }
        if (!(log.loss[e] <= options.bound)) {
            return {e + 1, Status::diverged};
        }
        if (status == Status::tol) {
            return {e + 1, status};
        }
    }
    return {epochs, Status::ran};
}

// x.w + b for each row.
template <class T>
void predict(const T *X, index n, index d, const T *params, T *p, index threads) {
    const auto predict_block = [&](index b) {
        for (index i = b * block; i < std::min(n, (b + 1) * block); ++i) {
            p[i] = dot(X + i * d, params, d) + params[d];
        }
    };
    share((n + block - 1) / block, threads, predict_block);
}

} // namespace gdfast
