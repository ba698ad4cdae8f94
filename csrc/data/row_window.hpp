// The rows of an epoch in turn.
#pragma once

#include "numerics/order.hpp"

#include <algorithm>

namespace gdfast {

// A window over the rows in the order of their visits, so that each row's number and address are looked up once.
template <class Matrix>
class RowWindow {
public:
    using Row = typename Matrix::Row;

    struct View {
        const index *numbers;
        const Row *rows;
    };

    RowWindow(const Matrix &X, const Visits &visits) : X_(X), visits_(visits), ahead_(X.ahead()) {}

    void begin(const Visits &visits) {
        visits_ = visits;
        first_ = end_ = 0;
    }

    const Visits &visits() const { return visits_; }
    bool shuffled() const { return visits_.shuffled(); }

    // The rows at positions first, ..., first + count - 1, at most a block of them, and behind them as many more as
    // the matrix looks ahead; the last one stands for those that there are not.
    View operator()(index first, index count) {
        if (first < first_ || first > end_) {
            first_ = end_ = first;
        }
        const index end = std::min(first + count + ahead_, X_.n);
        if (end_ < end) {
            if (const index past = first - first_; past > 0) {
                std::copy(numbers_ + past, numbers_ + (end_ - first_), numbers_);
                std::copy(rows_ + past, rows_ + (end_ - first_), rows_);
                first_ = first;
            }
            while (end_ < end) {
                const index asked = count < block ? block : end - end_; // small batches share what is found
                find(std::min({asked, block, X_.n - end_}));
            }
            if (end_ == X_.n) {
                std::fill_n(numbers_ + (end_ - first_), ahead_, numbers_[end_ - first_ - 1]);
                std::fill_n(rows_ + (end_ - first_), ahead_, rows_[end_ - first_ - 1]);
            }
        }
        return {numbers_ + (first - first_), rows_ + (first - first_)};
    }

private:
    void find(index count) {
        const index at = end_ - first_;
        visits_(end_, count, numbers_ + at);
        if (visits_.shuffled()) {
            X_.rows(numbers_ + at, count, rows_ + at);
        } else {
            X_.rows(end_, count, rows_ + at);
        }
        end_ += count;
    }

    const Matrix &X_;
    Visits visits_;
    index ahead_;
    index first_ = 0, end_ = 0; // the positions of what stands in
    index numbers_[2 * (block + rows_ahead)];
    Row rows_[2 * (block + rows_ahead)];
};

} // namespace gdfast
