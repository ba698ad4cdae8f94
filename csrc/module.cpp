// The bindings: the kernels of both dtypes under the names that gdfast/_backends/_cpp.py calls.
#include "kernels.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <tuple>
#include <type_traits>

namespace py = pybind11;

namespace gdfast {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

using Fields = std::vector<double>; // of a record

// What the kernels were compiled by, and for which instructions.
constexpr const char *build =
#if defined(__clang__)
    "clang " __clang_version__
#elif defined(__GNUC__)
    "gcc " __VERSION__
#elif defined(_MSC_VER)
    "MSVC"
#else
    "unknown compiler"
#endif
#if defined(__AVX512F__)
    ", AVX-512";
#elif defined(__AVX2__)
    ", AVX2";
#elif defined(__SSE2__) || defined(_M_X64)
    ", SSE2";
#elif defined(__ARM_NEON)
    ", NEON";
#else
    ", scalar";
#endif

template <class T>
Data<T> data_of(const Array<T> &X, const Array<T> &y, const Array<T> &weights) {
    return {X.data(), y.data(), weights.data(), weights.size() > 1 ? 1 : 0, X.shape(0), X.shape(1)};
}

template <class T>
T *data_or_null(Array<T> &array) {
    return array.size() > 0 ? array.mutable_data() : nullptr;
}

template <class T>
std::unique_ptr<LossKernels<T>> loss_kernels(const std::string &name, const Fields &fields) {
    return Losses<T>::template make<LossKernels<T>, LossKernelsOf>(name, fields);
}

template <class T>
std::tuple<index, index, int> descend_arrays(const Array<T> &X, const Array<T> &y, const Array<T> &weights,
                                             const std::string &loss, const Fields &loss_fields,
                                             const std::string &rule, const Fields &rule_fields, index batch_size,
                                             index active, double clip_norm, double tol, double bound, index threads,
                                             Array<T> params, Array<T> slots, Array<double> total, index averages_after,
                                             Array<T> start, index steps, const Array<T> &numbers,
                                             const py::array_t<std::uint64_t, py::array::c_style> &keys,
                                             Array<T> losses, Array<T> grad_norms, Array<T> traced) {
    const auto loss_ = loss_kernels<T>(loss, loss_fields);
    const auto rule_ = Rules<T>::template make<RuleKernels<T>, RuleKernelsOf>(rule, rule_fields);
    const Options<T> options{batch_size, T(clip_norm), T(tol), T(bound), threads};
    State<T> state{params.mutable_data(), data_or_null(slots),
                   data_or_null(total),   start.mutable_data(),
                   params.size(),         active,
                   averages_after,        steps};
    const Numbers<T> numbers_{numbers.data(), numbers.shape(0), numbers.shape(1), steps};
    const index most = losses.size();
    const Log<T> log{losses.mutable_data(), grad_norms.mutable_data(), data_or_null(traced)};
    const Data<T> data = data_of(X, y, weights);
    const std::uint64_t *const key = keys.size() > 0 ? keys.data() : nullptr;
    const py::gil_scoped_release released;
    const auto [epochs, status] = descend(data, *loss_, *rule_, options, state, numbers_, most, key, log);
    return {epochs, state.steps, static_cast<int>(status)};
}

template <class T>
void gradient_arrays(const Array<T> &X, const Array<T> &y, const Array<T> &weights, const std::string &loss,
                     const Fields &loss_fields, const Array<T> &params, Array<T> grad, index threads) {
    const auto kernels = loss_kernels<T>(loss, loss_fields);
    const Data<T> data = data_of(X, y, weights);
    const T *const at = params.data();
    T *const out = grad.mutable_data();
    const py::gil_scoped_release released;
    const StandardFloats standard;
    std::vector<T> sums(static_cast<std::size_t>((data.n + block - 1) / block * (data.d + 1)));
    EpochLoss<T> epoch_loss(data.n);
    gradient(data, *kernels, Visits(nullptr, data.n), 0, data.n, at, sums.data(), out, epoch_loss, threads);
}

template <class T>
T mean_loss_of_arrays(const Array<T> &predictions, const Array<T> &y, const Array<T> &weights, const std::string &loss,
                      const Fields &loss_fields) {
    const StandardFloats standard;
    const auto kernels = loss_kernels<T>(loss, loss_fields);
    const Data<T> data{nullptr, y.data(), weights.data(), weights.size() > 1 ? 1 : 0, y.size(), 0};
    const T *const p = predictions.data();
    const py::gil_scoped_release released;
    return mean_loss(data, *kernels, p);
}

template <class T>
void step_arrays(const std::string &rule, const Fields &rule_fields, Array<T> params, const Array<T> &grad,
                 Array<T> slots, const Array<T> &numbers) {
    const StandardFloats standard;
    const auto rule_ = Rules<T>::template make<RuleKernels<T>, RuleKernelsOf>(rule, rule_fields);
    const index width = params.size();
    State<T> state{params.mutable_data(), data_or_null(slots), nullptr, nullptr, width, width, 0, 0};
    rule_->step(state, grad.data(), {numbers.data(), 1, numbers.size(), 0});
}

template <class T>
void predict_arrays(const Array<T> &X, const Array<T> &params, Array<T> out, index threads) {
    const T *const x = X.data();
    const T *const w = params.data();
    T *const p = out.mutable_data();
    const index n = X.shape(0);
    const index d = X.shape(1);
    const py::gil_scoped_release released;
    const StandardFloats standard;
    predict(x, n, d, w, p, threads);
}

template <class A>
py::arg argument() {
    return py::arg().noconvert(!std::is_arithmetic_v<A> && !std::is_same_v<A, Fields>);
}

// Arrays are taken as they are: what would have to be converted is refused.
template <class Result, class... Args>
void define(py::module_ &m, const char *name, Result (*function)(Args...)) {
    m.def(name, function, argument<std::decay_t<Args>>()...);
}

template <class T>
void bind(py::module_ &m) {
    define(m, "descend", &descend_arrays<T>);
    define(m, "gradient", &gradient_arrays<T>);
    define(m, "mean_loss", &mean_loss_of_arrays<T>);
    define(m, "step", &step_arrays<T>);
    define(m, "predict", &predict_arrays<T>);
}

} // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "The C++ kernels of gdfast.";
    bind<double>(m);
    bind<float>(m);
    m.def("losses", &Losses<double>::names);
    m.def("rules", &Rules<double>::names);
    m.def("float_mode", &float_mode::get);
    m.def("set_float_mode", &float_mode::set);
    m.attr("standard_float_mode") = float_mode::standard;
    m.attr("build") = build;
}

} // namespace gdfast
