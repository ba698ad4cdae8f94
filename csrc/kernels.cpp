#include "kernels.hpp"
#include "descend.hpp"
#include "sums.hpp"

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
    const StandardFloats standard;
    return gdfast::mean_loss(targets, loss, predictions, step, outputs, n);
}

template <class Matrix>
std::pair<index, Status> Loops<Matrix>::descend(const Data<Matrix> &data, const LossKernels<T> &loss,
                                                const RuleKernels<T> &rule, const Options<T> &options, State<T> &state,
                                                const Numbers<T> &numbers, index epochs, const std::uint64_t *keys,
                                                const Log<T> &log) {
    const StandardFloats standard;
    return gdfast::descend(data, loss, rule, options, state, numbers, epochs, keys, log);
}

template <class Matrix>
typename Matrix::Number Loops<Matrix>::sum(const Data<Matrix> &data, const LossKernels<T> &loss, index outputs,
                                           const T *params, T *grad, index threads) {
    const StandardFloats standard;
    const Shape shape = Shape::dense(outputs, data.X.d, true);
    const Shape padded = shape.padded();
    const index n = data.X.n;
    std::vector<T> models(static_cast<std::size_t>(padded.size()));
    copy(params, shape, models.data(), padded);
    std::vector<T> sums(room_for_sums<Matrix>(n, padded));
    std::vector<T> losses(static_cast<std::size_t>(EpochLoss<T>::blocks(0, n)));
    EpochLoss<T> epoch_loss(losses.data(), 0, n);
    Upcoming<Matrix> upcoming(data.X, Visits(nullptr, n));
    sum_gradients(data, loss, upcoming, 0, n, padded, models.data(), sums.data(), epoch_loss, threads);
    copy(sums.data(), padded, grad, shape);
    return epoch_loss.total();
}

template <class Matrix>
void Loops<Matrix>::predict(const Matrix &X, index outputs, const T *params, T *p, index threads) {
    const StandardFloats standard;
    gdfast::predict(X, Shape::dense(outputs, X.d, true), params, p, threads);
}

template struct Formulas<double>;
template struct Formulas<float>;
template struct Loops<Dense<double>>;
template struct Loops<Dense<float>>;
template struct Loops<Csr<double>>;
template struct Loops<Csr<float>>;

} // namespace gdfast
