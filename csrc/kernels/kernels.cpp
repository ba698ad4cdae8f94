#include "kernels/kernels.hpp"
#include "kernels/gradients.hpp"
#include "kernels/train.hpp"

namespace gdfast {

template <class T>
std::unique_ptr<LossKernels<T>> Formulas<T>::loss(const std::string &name, const std::vector<double> &fields) {
    return Losses<T>::template make<LossKernels<T>, LossKernelsOf>(name, fields);
}

template <class T>
std::unique_ptr<RuleKernels<T>> Formulas<T>::rule(const std::string &name, const std::vector<double> &fields) {
    return Rules<T>::template make<RuleKernels<T>, RuleKernelsOf>(name, fields);
}

template <class T>
T Formulas<T>::mean_loss(const Targets<T> &targets, const LossKernels<T> &loss, const T *predictions, index step,
                         index outputs, index n) {
    const FloatModeGuard standard;
    return gdfast::mean_loss(targets, loss, predictions, step, outputs, n);
}

template <class Matrix>
std::pair<index, Status> Loops<Matrix>::descend(const Dataset<Matrix> &data, const LossKernels<T> &loss,
                                                const RuleKernels<T> &rule, const Options<T> &options,
                                                TrainingState<T> &state, const StepCoefficients<T> &numbers,
                                                index epochs, const std::uint64_t *keys, const EpochLog<T> &log) {
    const FloatModeGuard standard;
    return gdfast::descend(data, loss, rule, options, state, numbers, epochs, keys, log);
}

template <class Matrix>
typename Matrix::Number Loops<Matrix>::sum(const Dataset<Matrix> &data, const LossKernels<T> &loss, index outputs,
                                           const T *params, T *grad, index threads) {
    const FloatModeGuard standard;
    const Shape shape = Shape::dense(outputs, data.X.d, true);
    const Shape padded = shape.padded();
    const index n = data.X.n;
    std::vector<T> models(static_cast<std::size_t>(padded.size()));
    copy(params, shape, models.data(), padded);
    std::vector<T> sums(room_for_sums<Matrix>(n, padded));
    std::vector<T> losses(static_cast<std::size_t>(EpochLoss<T>::blocks(0, n)));
    EpochLoss<T> epoch_loss(losses.data(), 0, n);
    RowWindow<Matrix> window(data.X, Visits(nullptr, n));
    sum_gradients(data, loss, window, 0, n, padded, models.data(), sums.data(), epoch_loss, threads);
    copy(sums.data(), padded, grad, shape);
    return epoch_loss.total();
}

template <class Matrix>
void Loops<Matrix>::predict(const Matrix &X, index outputs, const T *params, T *p, index threads) {
    const FloatModeGuard standard;
    gdfast::predict(X, Shape::dense(outputs, X.d, true), params, p, threads);
}

template <class T, class Start>
bool is_canonical(const T *values, const std::int32_t *columns, const Start *starts, index stored, index n, index d) {
    const auto is_zero = [=](index k) { return values[k] == 0; };
    const auto falls = [=](index k) { return columns[k] <= columns[k - 1]; };
    const auto count = [](index first, index end, const auto &holds) {
        index total = 0;
        while (first < end) {
            const index stop = std::min(first + block, end);
            std::int32_t here = 0; // as wide as columns are
            for (; first < stop; ++first) {
                here += holds(first);
            }
            total += here;
        }
        return total;
    };
    if (starts[0] != 0) {
        return false;
    }
    for (index first = 0; first < n; first += block) {
        const index rows_end = std::min(first + block, n);
        index firsts_that_fall = 0; // below the last column of the row before
        for (index i = first; i < rows_end; ++i) {
            const index begin = starts[i], end = starts[i + 1];
            if (end < begin || end > stored) {
                return false;
            }
            if (begin < end) {
                if (columns[begin] < 0 || columns[end - 1] >= d) {
                    return false;
                }
                firsts_that_fall += begin > 0 && falls(begin);
            }
        }
        const index begin = starts[first], end = starts[rows_end];
        if (count(begin, end, is_zero) > 0 || count(std::max(begin, index(1)), end, falls) > firsts_that_fall) {
            return false;
        }
    }
    return true;
}

template struct Formulas<double>;
template struct Formulas<float>;
template struct Loops<Dense<double>>;
template struct Loops<Dense<float>>;
template struct Loops<Csr<double>>;
template struct Loops<Csr<float>>;
template bool is_canonical(const double *, const std::int32_t *, const std::int32_t *, index, index, index);
template bool is_canonical(const double *, const std::int32_t *, const std::int64_t *, index, index, index);
template bool is_canonical(const float *, const std::int32_t *, const std::int32_t *, index, index, index);
template bool is_canonical(const float *, const std::int32_t *, const std::int64_t *, index, index, index);

} // namespace gdfast
