// The training loop and its kernels, over matrix, loss and rule. gdfast/_backends/_loops.py is the same loop in Python.
//
// Letters: p prediction, y target, s sample weight, c = s * dloss/dp, g gradient, i row, j feature, o output. The
// params of k outputs stand one after the other: each its d weights, then its intercept.
#pragma once

#include "losses.hpp"
#include "matrices.hpp"
#include "optimizers.hpp"
#include "order.hpp"
#include "penalties.hpp"
#include "threads.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace gdfast {

template <class Matrix>
struct Data {
    using T = typename Matrix::Number;

    Matrix X;
    const T *y; // (n, targets)
    index targets;
    const T *weights;  // (n,), or one for all rows
    index weight_step; // 1 or 0

    const T *target(index i) const { return y + i * targets; }
    T weight(index i) const { return weights[i * weight_step]; }
};

// What a training run changes. `total` is null where no average is asked for.
template <class T>
struct State {
    T *params;     // (size,)
    T *slots;      // (states, size)
    double *total; // (size,), the sum of the iterates after step `averages_after`
    T *start;      // (size,), params before the last epoch
    Shape shape;
    index averages_after;
    index steps;

    void add_to_total() {
        if (total != nullptr && steps > averages_after) {
            for (index j = 0; j < shape.size(); ++j) {
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

    const T *row(index step) const { return rows + std::min(step - before, count) * width - width; }

    std::array<T, step_numbers> of(index step) const {
        std::array<T, step_numbers> c{};
        std::copy_n(row(step), width, c.begin());
        return c;
    }
};

// Room for some numbers: few of them need no allocation.
template <class T>
class Room {
public:
    T *of(index size) {
        if (size <= static_cast<index>(few_.size())) {
            return few_.data();
        }
        many_.resize(static_cast<std::size_t>(size));
        return many_.data();
    }

private:
    std::array<T, 64> few_;
    std::vector<T> many_;
};

// The kernels that depend on the loss.
template <class Matrix>
class LossKernels {
public:
    using T = typename Matrix::Number;

    virtual ~LossKernels() = default;

    // Adds the gradients of some rows to g, (size,), and tells the loss of each. The weights are scale * params.
    virtual void add_gradients(const Data<Matrix> &data, const index *rows, index count, const Shape &shape,
                               const T *params, T scale, T *g, T *losses) const = 0;

    // The losses of rows first, ..., first + count - 1, whose predictions, (n, outputs), are given.
    virtual void losses_of(const Data<Matrix> &data, const T *predictions, index outputs, index first, index count,
                           T *losses) const = 0;

    // A step of plain SGD for each of the rows. `last` becomes the least slopes at the last one, unless it is null.
    virtual void per_sample(const Data<Matrix> &data, const index *rows, index count, const SGD<T> &rule,
                            const Penalty<T> &penalty, State<T> &state, const Numbers<T> &numbers, T *losses,
                            T *last) const = 0;
};

template <class Matrix>
struct LossKernelsOf {
    using T = typename Matrix::Number;

    template <class Loss>
    class For final : public LossKernels<Matrix> {
    public:
        explicit For(const Loss &loss) : loss_(loss) {}

        void add_gradients(const Data<Matrix> &data, const index *rows, index count, const Shape &shape,
                           const T *params, T scale, T *g, T *losses) const override {
            Room<T> room;
            T *const p = room.of(8 * shape.outputs);
            index i = 0;
            for (; i + 4 <= count; i += 4) {
                add_rows<4>(data, rows + i, shape, params, scale, g, losses + i, p);
            }
            for (; i < count; ++i) {
                add_rows<1>(data, rows + i, shape, params, scale, g, losses + i, p);
            }
        }

        void losses_of(const Data<Matrix> &data, const T *predictions, index outputs, index first, index count,
                       T *losses) const override {
            Room<T> room;
            T *const c = room.of(outputs);
            for (index i = first; i < first + count; ++i) {
                losses[i - first] =
                    data.weight(i) * of_row(loss_, predictions + i * outputs, data.target(i), c, outputs);
            }
        }

        void per_sample(const Data<Matrix> &data, const index *rows, index count, const SGD<T> &rule,
                        const Penalty<T> &penalty, State<T> &state, const Numbers<T> &numbers, T *losses,
                        T *last) const override {
            if constexpr (!Matrix::sparse) {
                const Shape shape = state.shape;
                const index d = shape.d;
                Room<T> room;
                T *const p = room.of(2 * shape.outputs);
                T *const c = p + shape.outputs;
                for (index at = 0; at < count; ++at) {
                    const index i = rows[at];
                    const T *const x = data.X.row(i);
                    for (index o = 0; o < shape.outputs; ++o) {
                        const T *const w = state.params + o * shape.width();
                        p[o] = dot(x, w, d) + w[d];
                    }
                    losses[at] = data.weight(i) * of_row(loss_, p, data.target(i), c, shape.outputs);
                    ++state.steps;
                    const std::array<T, step_numbers> step{*numbers.row(state.steps)}; // this rule asks for no more
                    for (index o = 0; o < shape.outputs; ++o) {
                        T *const w = state.params + o * shape.width();
                        const T co = data.weight(i) * c[o];
                        if (last != nullptr && at == count - 1) {
                            T *const g = last + o * shape.width();
                            for (index j = 0; j < d; ++j) {
                                g[j] = penalty.slope(penalty.decayed(co * x[j], w[j]), w[j]);
                            }
                            g[d] = shape.fit_intercept ? co : T(0);
                        }
                        if (penalty.l1 == 0 && penalty.l2 == 0) {
                            for (index j = 0; j < d; ++j) {
                                w[j] = rule.step(w[j], co * x[j], nullptr, 0, step.data());
                            }
                        } else {
                            for (index j = 0; j < d; ++j) {
                                const T g = penalty.decayed(co * x[j], w[j]);
                                w[j] = penalty.step(rule, w[j], g, nullptr, 0, step.data());
                            }
                        }
                        if (shape.fit_intercept) {
                            w[d] = rule.step(w[d], co, nullptr, 0, step.data());
                        }
                    }
                    state.add_to_total();
                }
            }
        }

    private:
        // R rows side by side: each is read once, for its predictions and for its share of the gradient.
        template <index R>
        void add_rows(const Data<Matrix> &data, const index *rows, const Shape &shape, const T *params, T scale, T *g,
                      T *losses, T *p) const {
            const index k = shape.outputs;
            const index d = shape.d;
            T *const c = p + R * k;
            for (index o = 0; o < k; ++o) {
                const T *const w = params + o * shape.width();
                T products[R];
                data.X.template dot<R>(rows, w, products);
                for (index r = 0; r < R; ++r) {
                    p[r * k + o] = scale * products[r] + w[d];
                }
            }
            for (index r = 0; r < R; ++r) {
                losses[r] = data.weight(rows[r]) * of_row(loss_, p + r * k, data.target(rows[r]), c + r * k, k);
            }
            for (index o = 0; o < k; ++o) {
                T *const go = g + o * shape.width();
                T co[R];
                for (index r = 0; r < R; ++r) {
                    co[r] = data.weight(rows[r]) * c[r * k + o];
                    go[d] += co[r];
                }
                data.X.template add<R>(rows, co, go);
            }
        }

        Loss loss_;
    };
};

// The kernels that depend on the rule.
template <class T>
class RuleKernels {
public:
    virtual ~RuleKernels() = default;

    // A step of all params.
    virtual void step(State<T> &state, const T *g, const Numbers<T> &numbers, const Penalty<T> &penalty) const = 0;

    // A step of these params alone, and without penalties.
    virtual void step_of(State<T> &state, const index *which, index count, const T *g,
                         const std::array<T, step_numbers> &c) const = 0;

    // The rule itself where it is a plain step along the gradient, for which there is a loop per sample. Its bits are
    // those of batches of one row: these sum from +0.0, so a gradient of -0.0 becomes +0.0, but no w that is not -0.0
    // itself tells the two apart.
    virtual const SGD<T> *plain() const = 0;
};

template <class Rule>
class RuleKernelsOf;

template <template <class> class Rule, class T>
class RuleKernelsOf<Rule<T>> final : public RuleKernels<T> {
public:
    explicit RuleKernelsOf(const Rule<T> &rule) : rule_(rule) {}

    void step(State<T> &state, const T *g, const Numbers<T> &numbers, const Penalty<T> &penalty) const override {
        ++state.steps;
        const auto c = numbers.of(state.steps);
        const Rule<T> rule = rule_; // which no pointer aliases
        const Shape shape = state.shape;
        const index size = shape.size();
        for (index first = 0; first < size; first += shape.width()) {
            const index end = first + shape.d;
            if (penalty.l1 == 0) {
                for (index j = first; j < end; ++j) {
                    state.params[j] = rule.step(state.params[j], g[j], state.slots + j, size, c.data());
                }
            } else {
                for (index j = first; j < end; ++j) {
                    state.params[j] = penalty.step(rule, state.params[j], g[j], state.slots + j, size, c.data());
                }
            }
            if (shape.fit_intercept) {
                state.params[end] = rule.step(state.params[end], g[end], state.slots + end, size, c.data());
            }
        }
        state.add_to_total();
    }

    void step_of(State<T> &state, const index *which, index count, const T *g,
                 const std::array<T, step_numbers> &c) const override {
        const index size = state.shape.size();
        for (index at = 0; at < count; ++at) {
            const index j = which[at];
            state.params[j] = rule_.step(state.params[j], g[j], state.slots + j, size, c.data());
        }
    }

    const SGD<T> *plain() const override {
        if constexpr (std::is_same_v<Rule<T>, SGD<T>>) {
            return rule_.momentum == 0 ? &rule_ : nullptr;
        }
        return nullptr;
    }

private:
    Rule<T> rule_;
};

// The losses of an epoch's rows, summed by blocks of the positions at which they are visited. The first row of these
// data stands at position `offset`; of the block that it is in, `sums` may hold what came before.
template <class T>
class EpochLoss {
public:
    EpochLoss(T *sums, index offset, index n) : sums_(sums), offset_(offset), n_(n) {}

    static index blocks(index offset, index n) { return (offset + n + block - 1) / block; }

    void add(index position, const T *losses, index count) {
        position += offset_;
        for (index at = 0; at < count;) {
            T &kept = sums_[(position + at) / block];
            const index end = std::min(count, ((position + at) / block + 1) * block - position);
            T sum = kept;
            for (; at < end; ++at) {
                sum += losses[at];
            }
            kept = sum;
        }
    }

    T total() const {
        std::vector<T> parts(sums_, sums_ + blocks(offset_, n_));
        tree(parts.data(), static_cast<index>(parts.size()), 1);
        return parts[0];
    }

    T mean() const { return total() / T(n_); }

    void clear() { std::fill(sums_, sums_ + blocks(offset_, n_), T(0)); }

private:
    T *sums_;
    index offset_;
    index n_;
};

// The sum of the gradients of the rows visited at positions first, ..., first + count - 1, and their losses. `sums`
// holds `size` numbers for each block of these rows, and the result begins it. With several threads, `first` must be at
// the border of a block: blocks across a border would share their entries of the epoch's loss.
template <class Matrix, class T>
void sum_gradients(const Data<Matrix> &data, const LossKernels<Matrix> &loss, const Visits &visits, index first,
                   index count, const Shape &shape, const T *params, T *sums, EpochLoss<T> &epoch_loss, index threads) {
    const index rows_a_sum = std::min(count, Matrix::block);
    const index parts = (count + rows_a_sum - 1) / rows_a_sum;
    const auto sum_part = [&](index part) {
        T *const g = sums + part * shape.size();
        std::fill(g, g + shape.size(), T(0));
        const index end = std::min(count, (part + 1) * rows_a_sum);
        for (index begin = part * rows_a_sum; begin < end; begin += block) {
            index rows[block];
            T losses[block];
            const index size = std::min(block, end - begin);
            visits(first + begin, size, rows);
            loss.add_gradients(data, rows, size, shape, params, T(1), g, losses);
            epoch_loss.add(first + begin, losses, size);
        }
    };
    share(parts, threads, sum_part);
    tree(sums, parts, shape.size());
}

// How many numbers `sum_gradients` needs for so many rows.
template <class Matrix>
std::size_t room_for_sums(index count, const Shape &shape) {
    return static_cast<std::size_t>(((count - 1) / Matrix::block + 1) * shape.size());
}

// The mean loss of the rows, whose predictions are given.
template <class Matrix, class T>
T mean_loss(const Data<Matrix> &data, const LossKernels<Matrix> &loss, const T *predictions, index outputs, index n) {
    std::vector<T> kept(static_cast<std::size_t>(EpochLoss<T>::blocks(0, n)));
    EpochLoss<T> sums(kept.data(), 0, n);
    for (index first = 0; first < n; first += block) {
        T losses[block];
        const index count = std::min(block, n - first);
        loss.losses_of(data, predictions, outputs, first, count, losses);
        sums.add(first, losses, count);
    }
    return sums.mean();
}

// The Euclidean norm: of each output the weights as a dot product and the intercept, the outputs in turn.
template <class T>
T norm(const T *g, const Shape &shape) {
    T total = 0;
    for (index o = 0; o < shape.outputs; ++o, g += shape.width()) {
        const T part = dot(g, g, shape.d) + g[shape.d] * g[shape.d];
        total = o == 0 ? part : total + part;
    }
    return std::sqrt(total);
}

enum class Status { ran, tol, diverged };

template <class T>
struct Options {
    index batch_size;
    T clip_norm; // infinity: no clipping
    T tol;       // negative: never
    T bound;
    Penalty<T> penalty;
    bool fused; // the steps may be made row by row, or where the rows are sparse, only on what they hold
    index threads;
};

// Where each epoch is written down. `params` is null where it is not traced.
template <class T>
struct Log {
    T *loss;
    T *grad_norm;
    T *params; // (epochs, size)
    T *sums;   // the losses of the last epoch's blocks
    index offset;
};

// Sparse rows: steps that touch only the columns that their rows hold. What the penalties do to the others is made up
// for when they are next touched. The weights are scale * params, and params are behind by `shift - seen` of shrinking.
template <class T>
class Lazy {
public:
    Lazy(const Penalty<T> &penalty, const Shape &shape)
        : penalty_(penalty), shape_(shape), seen_(static_cast<std::size_t>(penalty.l1 != 0 ? shape.size() : 0)),
          touched_(static_cast<std::size_t>(shape.d)), g_(static_cast<std::size_t>(shape.size())) {}

    // An epoch of steps for batches of the rows. `last` becomes the least slopes at the last one.
    void epoch(const Data<Csr<T>> &data, const LossKernels<Csr<T>> &loss, const RuleKernels<T> &rule,
               const Visits &visits, index batch_size, State<T> &state, const Numbers<T> &numbers,
               EpochLoss<T> &epoch_loss, T *last) {
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
                loss.add_gradients(data, rows, size, shape_, state.params, scale_, g_.data(), losses);
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
            for (index j = column; j < shape_.size(); j += shape_.width()) {
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
        for (index j = shape_.d; j < shape_.size(); j += shape_.width()) {
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
        for (index first = 0; first < shape_.size(); first += shape_.width()) {
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

// Runs `epochs` epochs, or fewer; says how many, and why it ended. `keys` is null where the rows are not shuffled.
template <class Matrix, class T>
std::pair<index, Status> descend(const Data<Matrix> &data, const LossKernels<Matrix> &loss, const RuleKernels<T> &rule,
                                 const Options<T> &options, State<T> &state, const Numbers<T> &numbers, index epochs,
                                 const std::uint64_t *keys, const Log<T> &log) {
    const StandardFloats standard;
    const T infinity = std::numeric_limits<T>::infinity();
    const Shape shape = state.shape;
    const Penalty<T> penalty = options.penalty;
    const index n = data.X.n;
    const index size = shape.size();
    const bool clips = options.clip_norm != infinity;
    const SGD<T> *const per_sample = options.fused && !Matrix::sparse ? rule.plain() : nullptr;
    const bool lazily = options.fused && Matrix::sparse;
    const bool by_batches = per_sample == nullptr && !lazily;
    std::vector<T> sums(by_batches ? room_for_sums<Matrix>(options.batch_size, shape) : 0);
    std::vector<T> grad(static_cast<std::size_t>(by_batches ? size : 0));
    std::vector<T> slopes(static_cast<std::size_t>(size));
    EpochLoss<T> epoch_loss(log.sums, log.offset, n);
    std::vector<Lazy<T>> lazy; // one, or none
    if (lazily) {
        lazy.emplace_back(penalty, shape);
    }

    for (index e = 0; e < epochs; ++e) {
        const Visits visits(keys == nullptr ? nullptr : keys + e * rounds, n);
        std::copy(state.params, state.params + size, state.start);
        if (e > 0) {
            epoch_loss.clear();
        }
        Status status = Status::ran;
        if (per_sample != nullptr) {
            for (index first = 0; first < n; first += block) {
                index rows[block];
                T losses[block];
                const index count = std::min(block, n - first);
                visits(first, count, rows);
                loss.per_sample(data, rows, count, *per_sample, penalty, state, numbers, losses,
                                first + count == n ? slopes.data() : nullptr);
                epoch_loss.add(first, losses, count);
            }
        } else if (lazily) {
            if constexpr (Matrix::sparse) {
                lazy[0].epoch(data, loss, rule, visits, options.batch_size, state, numbers, epoch_loss, slopes.data());
            }
        } else {
            for (index first = 0; first < n; first += options.batch_size) {
                const index count = std::min(options.batch_size, n - first);
                sum_gradients(data, loss, visits, first, count, shape, state.params, sums.data(), epoch_loss,
                              options.threads);
                for (index j = 0; j < size; ++j) {
                    grad[static_cast<std::size_t>(j)] = sums[static_cast<std::size_t>(j)] / T(count);
                }
                penalty.add_decay(grad.data(), state.params, shape);
                if (first + count == n) {
                    penalty.least_slopes(grad.data(), state.params, shape, slopes.data());
                    if (std::all_of(slopes.begin(), slopes.end(), [&](T g) { return std::abs(g) <= options.tol; })) {
                        status = Status::tol;
                        break;
                    }
                }
                if (clips) {
                    const T scale = options.clip_norm / (norm(grad.data(), shape) + T(1e-6));
                    if (scale < 1) {
                        std::for_each(grad.begin(), grad.end(), [scale](T &g) { g *= scale; });
                    }
                }
                rule.step(state, grad.data(), numbers, penalty);
            }
        }
        log.grad_norm[e] = norm(slopes.data(), shape);
        log.loss[e] = epoch_loss.mean();
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

// x.w + b for each row and output, (n, outputs).
template <class Matrix, class T>
void predict(const Matrix &X, const Shape &shape, const T *params, T *p, index threads) {
    const auto predict_block = [&](index b) {
        for (index i = b * block; i < std::min(X.n, (b + 1) * block); ++i) {
            for (index o = 0; o < shape.outputs; ++o) {
                const T *const w = params + o * shape.width();
                T product[1];
                X.template dot<1>(&i, w, product);
                p[i * shape.outputs + o] = product[0] + w[shape.d];
            }
        }
    };
    share((X.n + block - 1) / block, threads, predict_block);
}

} // namespace gdfast
