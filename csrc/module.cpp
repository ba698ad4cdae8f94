// The bindings: the kernels of both dtypes under the names that gdfast/_backends/cpp.py calls.
#include "kernels/kernels.hpp"
#include "numerics/float_mode.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <thread>
#include <tuple>
#include <type_traits>

namespace py = pybind11;

namespace gdfast {
namespace {

// A C-contiguous, aligned array of numpy's, borrowed while it is an argument. (Each py::array_t makes an array before
// it is given its own.)
template <class T>
class Array {
public:
    bool load(py::handle given) {
        array_ = given;
        return py::array_t<T, py::array::c_style>::check_(given) &&
               py::detail::check_flags(given.ptr(), py::detail::npy_api::NPY_ARRAY_ALIGNED_);
    }

    py::handle handle() const { return array_; }
    const T *data() const { return reinterpret_cast<const T *>(proxy()->data); }

    T *mutable_data() const {
        if (!py::detail::check_flags(array_.ptr(), py::detail::npy_api::NPY_ARRAY_WRITEABLE_)) {
            throw std::domain_error("array is not writeable");
        }
        return reinterpret_cast<T *>(proxy()->data);
    }

    index shape(int axis) const {
        if (axis >= proxy()->nd) {
            throw std::invalid_argument("an array has too few axes");
        }
        return proxy()->dimensions[axis];
    }

    index axes() const { return proxy()->nd; }

    index size() const {
        return std::accumulate(proxy()->dimensions, proxy()->dimensions + proxy()->nd, index(1), std::multiplies<>());
    }

    // Throws unless it has this shape.
    void check(const char *name, std::initializer_list<index> wanted) const {
        const index *const shape = proxy()->dimensions;
        if (!std::equal(shape, shape + axes(), wanted.begin(), wanted.end())) {
            throw std::invalid_argument(std::string(name) + " has shape " + words(shape, shape + axes()) +
                                        ": it must have shape " + words(wanted.begin(), wanted.end()));
        }
    }

protected:
    const py::detail::PyArray_Proxy *proxy() const { return py::detail::array_proxy(array_.ptr()); }

    py::handle array_;

private:
    static std::string words(const index *first, const index *end) {
        std::string shape;
        for (; first != end; ++first) {
            shape += (shape.empty() ? "" : ", ") + std::to_string(*first);
        }
        return "(" + shape + ")";
    }
};

// X: rows that are contiguous, each at the same distance from the one before, or all at the same place.
template <class T>
class DenseArray : public Array<T> {
public:
    bool load(py::handle given) {
        this->array_ = given;
        return py::array_t<T, 0>::check_(given) &&
               py::detail::check_flags(given.ptr(), py::detail::npy_api::NPY_ARRAY_ALIGNED_) && this->axes() == 2 &&
               (this->shape(1) == 1 || this->proxy()->strides[1] == sizeof(T)) && stride() >= 0;
    }

    index stride() const { return this->shape(0) > 1 ? this->proxy()->strides[0] / index(sizeof(T)) : this->shape(1); }
};

// Throws unless the number is at least this.
void check_least(const char *name, index number, index least) {
    if (number < least) {
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(number) + ": it must be at least " +
                                    std::to_string(least));
    }
}

using Fields = std::vector<double>; // of a record

// While it lives, Python's other threads run. At the end of the interpreter a daemon thread never comes back from it:
// Pythons before 3.14 unwind its stack there, which would end the process at the first function that may not throw.
class OthersRun {
public:
    OthersRun() : state_(PyEval_SaveThread()) {}
    ~OthersRun() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            while (true) {
                std::this_thread::sleep_for(std::chrono::hours(1));
            }
        }
    }
    OthersRun(const OthersRun &) = delete;
    OthersRun &operator=(const OthersRun &) = delete;

private:
    PyThreadState *state_;
};

// The compiler of the kernels.
constexpr const char *build =
#if defined(__clang__)
    "clang " __clang_version__
#else
    "gcc " __VERSION__
#endif
    ;

// The extensions that this processor runs.
std::vector<std::string> instruction_sets() {
    std::vector<std::string> sets{"baseline"};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        sets.emplace_back("avx2");
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        sets.emplace_back("avx512");
    }
#endif
    return sets;
}

template <class T>
using SparseArrays = std::tuple<Array<T>, Array<std::int32_t>, Array<std::int64_t>, index>; // gdfast.csr.Csr

template <class T>
Dense<T> matrix_of(const DenseArray<T> &X) {
    check_least("the number of rows", X.shape(0), 1);
    check_least("the number of features", X.shape(1), 1);
    return Dense<T>(X.data(), X.shape(0), X.shape(1), X.stride());
}

// `is_canonical` sees to it that the columns are within the features, and the starts in order.
template <class T>
Csr<T> matrix_of(const SparseArrays<T> &X) {
    const auto &[data, indices, indptr, features] = X;
    check_least("the number of rows", indptr.size() - 1, 1);
    check_least("the number of features", features, 1);
    const index entries = indptr.data()[indptr.size() - 1];
    check_least("the number of values", data.size(), entries);
    check_least("the number of columns", indices.size(), entries);
    return {data.data(), indices.data(), indptr.data(), indptr.size() - 1, features};
}

template <class T>
Targets<T> targets_of(const Array<T> &y, const Array<T> &weights, const LossKernels<T> &loss, index n, index outputs) {
    check_least("the number of outputs", outputs, 1);
    y.check("y", {n, loss.targets(outputs)});
    if (weights.size() != 1) {
        weights.check("weights", {n});
    }
    return {y.data(), y.shape(1), weights.data(), weights.size() > 1 ? 1 : 0};
}

template <class Arrays, class T>
auto data_of(const Arrays &X, const Array<T> &y, const Array<T> &weights, const LossKernels<T> &loss, index outputs) {
    auto matrix = matrix_of(X);
    const index n = matrix.n;
    return Dataset<decltype(matrix)>{std::move(matrix), targets_of(y, weights, loss, n, outputs)};
}

template <class T>
T *data_or_null(const Array<T> &array) {
    return array.size() > 0 ? array.mutable_data() : nullptr;
}

// The states of so many params.
template <class T>
T *slots_of(const Array<T> &slots, const RuleKernels<T> &rule, index params) {
    slots.check("slots", {rule.states(), params});
    return data_or_null(slots);
}

// The numbers of the steps after `before`, a row each; or of one step, in a row of their own.
template <class T>
StepCoefficients<T> numbers_of(const Array<T> &numbers, index before) {
    const index axes = numbers.axes();
    const index width = numbers.shape(axes > 0 ? int(axes - 1) : 0);
    const index count = axes > 1 ? numbers.shape(0) : 1;
    check_least("the number of steps", count, 1);
    check_least("the number of a step's numbers", width, 1);
    if (width > step_numbers) {
        throw std::invalid_argument("a step has more numbers than the kernels have room for");
    }
    return {numbers.data(), count, width, before};
}

// The arrays for what sparse steps put off, checked for an epoch of which `left` steps are to come.
template <class T>
Pending<T> pending_of(const Array<T> &scales, const Array<T> &seen, const Array<std::int32_t> &since,
                      const Array<double> &tables, const Array<std::int64_t> &period, const Shape &shape, index left) {
    const index count = tables.shape(0), steps = tables.shape(1);
    scales.check("scales", {2});
    period.check("period", {2});
    seen.check("seen", {seen.size() > 0 ? shape.size() : 0});
    tables.check("tables", {count, steps});
    if (count != 0 && count != 3 && count != 4) {
        throw std::invalid_argument("the number of tables is " + std::to_string(count) + ": it must be 0, 3 or 4");
    }
    if (count > 0) {
        check_least("the steps of the tables", steps,
                    std::min(longest_period(shape.d), std::max(index(1), left - 1)) + 2);
    }
    since.check("since", {since.size() > 0 || count > 0 ? shape.d : 0});
    return {scales.mutable_data(), data_or_null(seen), data_or_null(since), data_or_null(tables), count, steps,
            period.mutable_data()};
}

template <class Arrays, class T>
std::tuple<index, index, int> descend_arrays(
    const Arrays &X, const Array<T> &y, const Array<T> &weights, const std::string &loss, const Fields &loss_fields,
    const std::string &rule, const Fields &rule_fields, index outputs, bool fit_intercept, index batch_size, double l1,
    double l2, bool proximal, double weight_decay, bool fused, double clip_norm, double tol, double bound,
    index threads, Array<T> params, Array<T> slots, Array<double> total, index averages_after, Array<T> scales,
    Array<T> seen, Array<std::int32_t> since, Array<double> tables, Array<std::int64_t> period, Array<T> start,
    index steps, const Array<T> &numbers, const Array<std::uint64_t> &keys, Array<T> losses, Array<T> objectives,
    Array<T> grad_norms, Array<T> traced, Array<T> loss_sums, index offset, index to_come) {
    const auto loss_ = Formulas<T>::loss(loss, loss_fields);
    const auto rule_ = Formulas<T>::rule(rule, rule_fields);
    const auto data = data_of(X, y, weights, *loss_, outputs);
    const Options<T> options{batch_size, T(clip_norm), T(tol), T(bound), {T(l1), T(l2), proximal, T(weight_decay)},
                             fused,      threads,      to_come};
    const Shape shape = Shape::dense(outputs, data.X.d, fit_intercept);
    const index size = shape.size();
    const index most = losses.size();
    check_least("batch_size", batch_size, 1);
    check_least("steps", steps, 0);
    check_least("offset", offset, 0);
    params.check("params", {size});
    start.check("start", {size});
    total.check("total", {total.size() > 0 ? size : 0});
    losses.check("losses", {most});
    objectives.check("objectives", {most});
    grad_norms.check("grad_norms", {most});
    traced.check("traced", {traced.size() > 0 ? most : 0, size});
    keys.check("keys", {most, keys.size() > 0 ? rounds : 0});
    loss_sums.check("loss_sums", {EpochLoss<T>::blocks(offset, data.X.n)});
    const index left = (data.X.n + to_come + batch_size - 1) / batch_size;
    const Pending<T> pending = pending_of(scales, seen, since, tables, period, shape, left);
    TrainingState<T> state{params.mutable_data(),
                           slots_of(slots, *rule_, size),
                           data_or_null(total),
                           start.mutable_data(),
                           shape,
                           averages_after,
                           steps,
                           pending};
    const StepCoefficients<T> numbers_ = numbers_of(numbers, steps);
    const EpochLog<T> log{losses.mutable_data(), objectives.mutable_data(), grad_norms.mutable_data(),
                          data_or_null(traced),  loss_sums.mutable_data(),  offset};
    const std::uint64_t *const key = keys.size() > 0 ? keys.data() : nullptr;
    const OthersRun others_run;
    const auto [epochs, status] =
        Loops<std::decay_t<decltype(data.X)>>::descend(data, *loss_, *rule_, options, state, numbers_, most, key, log);
    return {epochs, state.steps, static_cast<int>(status)};
}

// The sum of all rows' gradients; that of their losses is returned.
template <class Arrays, class T>
T sum_of_arrays(const Arrays &X, const Array<T> &y, const Array<T> &weights, const std::string &loss,
                const Fields &loss_fields, index outputs, const Array<T> &params, Array<T> grad, index threads) {
    const auto kernels = Formulas<T>::loss(loss, loss_fields);
    const auto data = data_of(X, y, weights, *kernels, outputs);
    const index size = Shape::dense(outputs, data.X.d, true).size();
    params.check("params", {size});
    grad.check("grad", {size});
    const T *const at = params.data();
    T *const out = grad.mutable_data();
    const OthersRun others_run;
    return Loops<std::decay_t<decltype(data.X)>>::sum(data, *kernels, outputs, at, out, threads);
}

template <class T>
T mean_loss_of_arrays(const Array<T> &predictions, const Array<T> &y, const Array<T> &weights, const std::string &loss,
                      const Fields &loss_fields) {
    const auto kernels = Formulas<T>::loss(loss, loss_fields);
    const index n = y.shape(0);
    const index outputs = predictions.shape(1);
    const index alike = predictions.shape(0) == 1 ? 1 : n;
    check_least("the number of rows", n, 1);
    predictions.check("predictions", {alike, outputs});
    const Targets<T> targets = targets_of(y, weights, *kernels, n, outputs);
    const T *const p = predictions.data();
    const index step = predictions.shape(0) > 1 ? outputs : 0;
    const OthersRun others_run;
    return Formulas<T>::mean_loss(targets, *kernels, p, step, outputs, n);
}

template <class T>
void step_arrays(const std::string &rule, const Fields &rule_fields, Array<T> params, const Array<T> &grad,
                 Array<T> slots, const Array<T> &numbers) {
    const FloatModeGuard standard;
    const auto rule_ = Formulas<T>::rule(rule, rule_fields);
    const index size = params.size();
    params.check("params", {size});
    grad.check("grad", {size});
    TrainingState<T> state{
        params.mutable_data(), slots_of(slots, *rule_, size), nullptr, nullptr, Shape::dense(1, size - 1, true), 0, 0};
    rule_->step(state, grad.data(), numbers_of(numbers, 0).of(1));
}

// Minimises a function of Python's, which returns its value and its gradient: from path[first], where the gradient is
// grad, to the end of the path. gdfast/_backends/loops.py has the same.
template <class T>
std::tuple<index, int> minimize_function(const py::object &fun, const std::string &rule, const Fields &rule_fields,
                                         Array<T> x, Array<T> grad, Array<T> slots, const Array<T> &numbers, double tol,
                                         double bound, Array<T> path, Array<T> values, index first, double decay) {
    using Gradient = py::array_t<T, py::array::c_style | py::array::forcecast>;
    const auto rule_ = Formulas<T>::rule(rule, rule_fields);
    const index d = x.size();
    const index end = path.shape(0) - 1;
    x.check("x", {d});
    grad.check("grad", {d});
    path.check("path", {end + 1, d});
    check_least("the number of values", values.size(), end + 1);
    check_least("first", first, 0);
    T *const at = x.mutable_data();
    T *const g = grad.mutable_data();
    T *const value = values.mutable_data();
    TrainingState<T> state{at, slots_of(slots, *rule_, d), nullptr, nullptr, Shape::dense(1, d - 1, true), 0, 0};
    const StepCoefficients<T> coming = numbers_of(numbers, 0);
    const auto within = [](const T *v, index size, double limit) {
        return std::all_of(v, v + size, [limit](T a) { return std::abs(a) <= T(limit); });
    };
    for (index k = first; k < end; ++k) {
        bool rests = true;
        for (index j = 0; j < d; ++j) {
            rests = rests && std::abs(decay != 0 ? g[j] + T(decay) * at[j] : g[j]) <= T(tol);
        }
        if (rests) {
            return {k, static_cast<int>(Status::tol)};
        }
        {
            const FloatModeGuard standard;
            rule_->step(state, g, coming.of(k + 1 - first));
        }
        std::copy_n(at, d, path.mutable_data() + (k + 1) * d);
        const py::tuple both = fun(x.handle());
        value[k + 1] = both[0].template cast<T>();
        const py::object given = both[1];
        const auto gradient = Gradient::check_(given) ? py::reinterpret_borrow<Gradient>(given) : Gradient(given);
        if (gradient.size() != d) {
            throw std::invalid_argument("the gradient has " + std::to_string(gradient.size()) + " numbers, x has " +
                                        std::to_string(d));
        }
        std::copy_n(gradient.data(), d, g);
        if (!(within(at, d, bound) && within(g, d, bound) && within(value + k + 1, 1, bound))) {
            return {k + 1, static_cast<int>(Status::diverged)};
        }
    }
    return {end, static_cast<int>(Status::ran)};
}

template <class Arrays, class T>
void predict_arrays(const Arrays &X, const Array<T> &params, Array<T> out, index threads) {
    const auto matrix = matrix_of(X);
    const index outputs = out.shape(1);
    out.check("out", {matrix.n, outputs});
    params.check("params", {Shape::dense(outputs, matrix.d, true).size()});
    const T *const w = params.data();
    T *const p = out.mutable_data();
    const OthersRun others_run;
    Loops<std::decay_t<decltype(matrix)>>::predict(matrix, outputs, w, p, threads);
}

// Arrays of other dtypes make no `Csr` as they stand.
bool is_canonical_object(const py::object &, const py::object &, const py::object &, index, index) { return false; }

template <class T, class Start>
bool is_canonical_arrays(const Array<T> &values, const Array<std::int32_t> &columns, const Array<Start> &starts,
                         index n, index d) {
    return values.axes() == 1 && columns.axes() == 1 && starts.axes() == 1 && starts.size() == n + 1 && n >= 0 &&
           is_canonical(values.data(), columns.data(), starts.data(), std::min(values.size(), columns.size()), n, d);
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
    define(m, "descend", &descend_arrays<DenseArray<T>, T>);
    define(m, "descend", &descend_arrays<SparseArrays<T>, T>);
    define(m, "sum", &sum_of_arrays<DenseArray<T>, T>);
    define(m, "sum", &sum_of_arrays<SparseArrays<T>, T>);
    define(m, "mean_loss", &mean_loss_of_arrays<T>);
    define(m, "step", &step_arrays<T>);
    define(m, "minimize", &minimize_function<T>);
    define(m, "predict", &predict_arrays<DenseArray<T>, T>);
    define(m, "predict", &predict_arrays<SparseArrays<T>, T>);
    define(m, "is_canonical", &is_canonical_arrays<T, std::int32_t>);
    define(m, "is_canonical", &is_canonical_arrays<T, std::int64_t>);
}

} // namespace
} // namespace gdfast

template <class T>
struct py::detail::type_caster<gdfast::Array<T>> {
    PYBIND11_TYPE_CASTER(gdfast::Array<T>, handle_type_name<array_t<T>>::name);

    bool load(handle source, bool) { return value.load(source); }
};

template <class T>
struct py::detail::type_caster<gdfast::DenseArray<T>> {
    PYBIND11_TYPE_CASTER(gdfast::DenseArray<T>, handle_type_name<array_t<T>>::name);

    bool load(handle source, bool) { return value.load(source); }
};

namespace gdfast {

PYBIND11_MODULE(GDFAST_MODULE, m, py::mod_gil_not_used()) {
    m.doc() = "The C++ kernels of gdfast.";
    bind<double>(m);
    bind<float>(m);
    define(m, "is_canonical", &is_canonical_object); // after those of arrays
    m.def("losses", &Losses<double>::names);
    m.def("rules", &Rules<double>::names);
    m.def("float_mode", &float_mode::get);
    m.def("set_float_mode", &float_mode::set);
    m.attr("standard_float_mode") = float_mode::standard;
    m.def("instruction_sets", &instruction_sets);
    m.attr("build") = build;
}

} // namespace gdfast
