// The functions that the bindings call. kernels.cpp has them for both dtypes, and for dense and sparse rows.
#pragma once

#include "data/csr.hpp"
#include "data/dense.hpp"
#include "kernels/loss_kernels.hpp"
#include "kernels/rule_kernels.hpp"
#include "kernels/state.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gdfast {

template <class T>
struct Formulas {
    // The kernels of the formula with this name; the fields are the numbers of the Python record.
    static std::unique_ptr<LossKernels<T>> loss(const std::string &name, const std::vector<double> &fields);
    static std::unique_ptr<RuleKernels<T>> rule(const std::string &name, const std::vector<double> &fields);

    // The mean loss of n rows, whose predictions are given, (n, outputs), or with a step of 0 those of all.
    static T mean_loss(const Targets<T> &targets, const LossKernels<T> &loss, const T *predictions, index step,
                       index outputs, index n);
};

template <class Matrix>
struct Loops {
    using T = typename Matrix::Number;

    // Runs `epochs` epochs, or fewer; says how many, and why it ended. `keys` is null where the rows are not shuffled.
    static std::pair<index, Status> descend(const Dataset<Matrix> &data, const LossKernels<T> &loss,
                                            const RuleKernels<T> &rule, const Options<T> &options,
                                            TrainingState<T> &state, const StepCoefficients<T> &numbers, index epochs,
                                            const std::uint64_t *keys, const EpochLog<T> &log);

    // The sum of all rows' gradients; that of their losses is returned.
    static T sum(const Dataset<Matrix> &data, const LossKernels<T> &loss, index outputs, const T *params, T *grad,
                 index threads);

    // x.w + b for each row and output, (n, outputs).
    static void predict(const Matrix &X, index outputs, const T *params, T *p, index threads);
};

// Whether `stored` numbers and their columns, cut where `starts` (n + 1,) says, are a `Csr` as it stands: its columns
// among the d, ascending in each row, and none of its numbers 0.
template <class T, class Start>
bool is_canonical(const T *values, const std::int32_t *columns, const Start *starts, index stored, index n, index d);

} // namespace gdfast
