// The data, options and state of a run of the training loop, and its log.
#pragma once

#include "data/dataset.hpp"
#include "data/param_layout.hpp"
#include "formulas/optimizers.hpp"
#include "formulas/penalties.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace gdfast {

// The most steps that a column waits for: as many as make up for the price of going through all columns.
inline index longest_period(index features) { return std::max(features, block); }

// Work that the fused steps on sparse rows put off from one step to the next. gdfast/_backends/problem.py says what it
// is.
template <class T>
struct Pending {
    T *scales;            // (2,)
    T *seen;              // (size,), or null
    std::int32_t *since;  // (d,), or null
    double *tables;       // (tables, steps)
    index count, steps;   // of the tables
    std::int64_t *period; // (2,)

    double *table(index k) const { return tables + k * steps; }
    bool shrinks() const { return count == 3; }
    bool coasts() const { return count == 4; }
};

// The state that a training run changes. `slots` is null where the rule keeps no states, `total` where there is no
// average.
template <class T>
struct TrainingState {
    T *params;     // (size,)
    T *slots;      // (states, size)
    double *total; // (size,), the sum of the iterates after step `averages_after`
    T *start;      // (size,), params before the last epoch
    Shape shape;
    index averages_after;
    index steps;
    Pending<T> pending = {};

    // The states of parameter j.
    T *slots_of(index j) const { return slots != nullptr ? slots + j : nullptr; }

    bool averages() const { return total != nullptr && steps > averages_after; }

    void add_to_total() {
        if (averages()) {
            for (index j = 0; j < shape.size(); ++j) {
                total[j] += params[j];
            }
        }
    }
};

// The numbers of the steps to come: a row for each step after `before`, the last one for all that follow.
template <class T>
struct StepCoefficients {
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

// A scratch buffer: few numbers need no allocation.
template <class T>
class SmallBuffer {
public:
    T *of(index size) {
        if (size <= static_cast<index>(few_.size())) {
            return few_.data();
        }
        many_.resize(static_cast<std::size_t>(size));
        return many_.data();
    }

    T *zeros(index size) {
        T *const room = of(size);
        std::fill_n(room, size, T(0));
        return room;
    }

private:
    alignas(64) std::array<T, 64> few_;
    std::vector<T> many_;
};

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
    index to_come; // rows of the epoch that come after these
};

// Where each epoch is written down. `params` is null where it is not traced.
template <class T>
struct EpochLog {
    T *loss;
    T *objective; // may be `loss`, where there are no penalties
    T *grad_norm;
    T *params; // (epochs, size)
    T *sums;   // the losses of the last epoch's blocks
    index offset;
};

// The losses of an epoch's rows, summed by blocks of the positions at which they are visited. The first row of these
// data stands at position `offset`; of the block that it is in, `sums` may hold what came before.
template <class T>
class EpochLoss {
public:
    EpochLoss(T *sums, index offset, index n) : sums_(sums), offset_(offset), n_(n) {}

    static index blocks(index offset, index n) { return (offset + n + block - 1) / block; }

    void add(index position, const T *losses, index count) {
        for (index at = 0; at < count;) {
            T &kept = of_block(position + at);
            const index end = std::min(count, at + left_in_block(position + at));
            T sum = kept;
            for (; at < end; ++at) {
                sum += losses[at];
            }
            kept = sum;
        }
    }

    T &of_block(index position) { return sums_[(position + offset_) / block]; }
    index left_in_block(index position) const { return block - (position + offset_) % block; }

    T total() {
        const index count = blocks(offset_, n_);
        if (count == 1) {
            return sums_[0];
        }
        parts_.assign(sums_, sums_ + count);
        tree(parts_.data(), count, 1);
        return parts_[0];
    }

    T mean() { return total() / T(n_); }

    void clear() { std::fill(sums_, sums_ + blocks(offset_, n_), T(0)); }

private:
    T *sums_;
    index offset_;
    index n_;
    std::vector<T> parts_; // room for the tree
};

} // namespace gdfast
