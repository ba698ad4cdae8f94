// Sums over rows: of gradients, of losses; and the predictions of all rows.
#pragma once

#include "data/row_window.hpp"
#include "kernels/loss_kernels.hpp"
#include "kernels/state.hpp"
#include "threads/pool.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace gdfast {

// Adds the gradients of the rows at positions first, ..., first + count - 1, at most a block of them, to g, and their
// losses to the epoch's. The weights are scale * params. Both are of the padded shape, or where the rows are sparse of
// any.
template <class Matrix, class T>
void add_gradients(const Dataset<Matrix> &data, const LossKernels<T> &loss, RowWindow<Matrix> &window, index first,
                   index count, const Shape &shape, T *params, T scale, T *g, EpochLoss<T> &epoch_loss) {
    const index k = shape.outputs;
    const auto turn = window(first, count);
    SmallBuffer<T> room;
    T *const p = room.of(2 * chunk * k);
    T *const c = p + chunk * k;
    const index most = data.X.read_twice(chunk);
    for (index begin = 0; begin < count; begin += most) {
        const auto *const rows = turn.rows + begin;
        const index size = std::min(most, count - begin);
        for (index o = 0; o < k; ++o) {
            T *const w = params + o * shape.stride;
            data.X.dots(rows, size, w, p + o * chunk);
            for (index r = 0; r < size; ++r) {
                p[o * chunk + r] = scale * p[o * chunk + r] + w[shape.bias];
            }
        }
        T losses[chunk];
        loss.of_rows(data.targets, turn.numbers + begin, size, p, k, c, losses);
        epoch_loss.add(first + begin, losses, size);
        for (index o = 0; o < k; ++o) {
            T *const go = g + o * shape.stride;
            data.X.add(rows, size, c + o * chunk, go, go[shape.bias]);
        }
    }
}

// The sum of the gradients of the rows at positions first, ..., first + count - 1, and their losses. `sums` holds the
// numbers of a padded shape for each block of these rows, and the result begins it. With several threads, `first` must
// be at the border of a block: blocks across a border would share their entries of the epoch's loss.
template <class Matrix, class T>
void sum_gradients(const Dataset<Matrix> &data, const LossKernels<T> &loss, RowWindow<Matrix> &window, index first,
                   index count, const Shape &padded, T *models, T *sums, EpochLoss<T> &epoch_loss, index threads) {
    const index rows_a_sum = std::min(count, Matrix::block);
    const index parts = (count + rows_a_sum - 1) / rows_a_sum;
    const auto sum_part = [&](index part, RowWindow<Matrix> &own) {
        T *const g = sums + part * padded.size();
        std::fill(g, g + padded.size(), T(0));
        const index end = std::min(count, (part + 1) * rows_a_sum);
        for (index begin = part * rows_a_sum; begin < end; begin += block) {
            add_gradients(data, loss, own, first + begin, std::min(block, end - begin), padded, models, T(1), g,
                          epoch_loss);
        }
    };
    if (parts == 1) {
        sum_part(0, window);
        return;
    }
    parallel_for_runs(parts, threads, [&](index part, index end) {
        RowWindow<Matrix> own(data.X, window.visits());
        for (; part < end; ++part) {
            sum_part(part, own);
        }
    });
    tree(sums, parts, padded.size());
}

// The numbers that `sum_gradients` has to have room for, by the count of rows.
template <class Matrix>
std::size_t room_for_sums(index count, const Shape &padded) {
    return static_cast<std::size_t>(((count - 1) / Matrix::block + 1) * padded.size());
}

// The mean loss of n rows, whose predictions are given, (n, outputs), or with a step of 0 those of all.
template <class T>
T mean_loss(const Targets<T> &targets, const LossKernels<T> &loss, const T *predictions, index step, index outputs,
            index n) {
    std::vector<T> kept(static_cast<std::size_t>(EpochLoss<T>::blocks(0, n)));
    std::vector<T> p(static_cast<std::size_t>(chunk * outputs));
    EpochLoss<T> sums(kept.data(), 0, n);
    for (index first = 0; first < n; first += chunk) {
        index rows[chunk];
        T losses[chunk];
        const index count = std::min(chunk, n - first);
        std::iota(rows, rows + count, first);
        for (index o = 0; (first == 0 || step > 0) && o < outputs; ++o) {
            for (index r = 0; r < count; ++r) {
                p[static_cast<std::size_t>(o * chunk + r)] = predictions[(first + r) * step + o];
            }
        }
        loss.of_rows(targets, rows, count, p.data(), outputs, nullptr, losses);
        sums.add(first, losses, count);
    }
    return sums.mean();
}

// x.w + b for each row and output, (n, outputs).
template <class Matrix, class T>
void predict(const Matrix &X, const Shape &shape, const T *params, T *p, index threads) {
    const Shape padded = shape.padded();
    std::vector<T> models(static_cast<std::size_t>(padded.size()));
    copy(params, shape, models.data(), padded);
    parallel_for_runs((X.n + block - 1) / block, threads, [&](index b, index end) {
        RowWindow<Matrix> window(X, Visits(nullptr, X.n));
        for (; b < end; ++b) {
            const index first = b * block;
            const index count = std::min(block, X.n - first);
            const auto *const rows = window(first, count).rows;
            for (index o = 0; o < shape.outputs; ++o) {
                T products[block];
                T *const w = models.data() + o * padded.stride;
                X.dots(rows, count, w, products);
                for (index r = 0; r < count; ++r) {
                    p[(first + r) * shape.outputs + o] = (T(0) + products[r]) + w[padded.bias]; // which may be -0 here
                }
            }
        }
    });
}

} // namespace gdfast
