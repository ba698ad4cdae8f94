// The losses: a struct each, with its value and its derivative by the prediction p. gdfast/losses.py has the same
// formulas, and what they are for.
#pragma once

#include "formulas/table.hpp"
#include "numerics/elementary.hpp"
#include "numerics/order.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace gdfast {

template <class T>
struct SquaredError {
    static constexpr const char *name = "squared_error";
    static constexpr std::size_t arity = 0;
    explicit SquaredError(const double *) {}

    T value(T p, T y) const {
        const T r = p - y;
        return r * r;
    }
    T gradient(T p, T y) const {
        const T r = p - y;
        return r + r;
    }
};

template <class T>
struct HalfSquaredError {
    static constexpr const char *name = "half_squared_error";
    static constexpr std::size_t arity = 0;
    explicit HalfSquaredError(const double *) {}

    T value(T p, T y) const {
        const T r = p - y;
        return T(0.5) * (r * r);
    }
    T gradient(T p, T y) const { return p - y; }
};

template <class T>
struct Huber {
    static constexpr const char *name = "huber";
    static constexpr std::size_t arity = 1;
    T delta;
    explicit Huber(const double *fields) : delta(T(fields[0])) {}

    T value(T p, T y) const {
        const T r = p - y;
        const T c = gradient(p, y);
        return c * (r - T(0.5) * c);
    }
    T gradient(T p, T y) const {
        const T r = p - y;
        return r < -delta ? -delta : r > delta ? delta : r;
    }
};

template <class T>
struct EpsilonInsensitive {
    static constexpr const char *name = "epsilon_insensitive";
    static constexpr std::size_t arity = 1;
    T epsilon;
    explicit EpsilonInsensitive(const double *fields) : epsilon(T(fields[0])) {}

    T value(T p, T y) const {
        const T beyond = std::abs(p - y) - epsilon;
        return beyond <= 0 ? T(0) : beyond;
    }
    T gradient(T p, T y) const {
        const T r = p - y;
        return std::abs(r) <= epsilon ? T(0) : sign(r);
    }
};

template <class T>
struct SquaredEpsilonInsensitive {
    static constexpr const char *name = "squared_epsilon_insensitive";
    static constexpr std::size_t arity = 1;
    T epsilon;
    explicit SquaredEpsilonInsensitive(const double *fields) : epsilon(T(fields[0])) {}

    T value(T p, T y) const {
        const T beyond = std::abs(p - y) - epsilon;
        return beyond <= 0 ? T(0) : beyond * beyond;
    }
    T gradient(T p, T y) const {
        const T r = p - y;
        const T beyond = std::abs(r) - epsilon;
        return beyond <= 0 ? T(0) : (beyond + beyond) * sign(r);
    }
};

template <class T>
struct Quantile {
    static constexpr const char *name = "quantile";
    static constexpr std::size_t arity = 1;
    T q;
    explicit Quantile(const double *fields) : q(T(fields[0])) {}

    T value(T p, T y) const { return gradient(p, y) * (p - y); }
    T gradient(T p, T y) const { return p > y ? T(1) - q : -q; }
};

template <class T>
struct Poisson {
    static constexpr const char *name = "poisson";
    static constexpr std::size_t arity = 0;
    explicit Poisson(const double *) {}

    T value(T p, T y) const { return T(exp(double(p))) - y * p; }
    T gradient(T p, T y) const { return T(exp(double(p))) - y; }
};

template <class T>
struct Logistic {
    static constexpr const char *name = "logistic";
    static constexpr std::size_t arity = 0;
    explicit Logistic(const double *) {}

    T value(T p, T y) const {
        const double z = double(p * y);
        return T((z < 0 ? -z : 0.0) + log1p(exp(-std::abs(z))));
    }
    T gradient(T p, T y) const { return gradient_at(anchor(p, y), y); }

    double anchor(T p, T y) const { return exp(double(p * y)); }
    T gradient_at(double e, T y) const { return T(-y / (1.0 + e)); }
    T gradient_near(double e, T change, T p, T y) const {
        const double z = double(y * change);
        if (std::abs(z) < 0.34) {
            return T(-y / (((1.0 + e) + e * z) + (e * z * z) * series_of_exp(z)));
        }
        return gradient(p, y);
    }
};

template <class T>
struct Hinge {
    static constexpr const char *name = "hinge";
    static constexpr std::size_t arity = 0;
    explicit Hinge(const double *) {}

    T value(T p, T y) const {
        const T shortfall = T(1) - y * p;
        return shortfall <= 0 ? T(0) : shortfall;
    }
    T gradient(T p, T y) const { return y * p >= 1 ? T(0) : -y; }
};

template <class T>
struct SquaredHinge {
    static constexpr const char *name = "squared_hinge";
    static constexpr std::size_t arity = 0;
    explicit SquaredHinge(const double *) {}

    T value(T p, T y) const {
        const T shortfall = T(1) - y * p;
        return shortfall <= 0 ? T(0) : shortfall * shortfall;
    }
    T gradient(T p, T y) const {
        const T shortfall = T(1) - y * p;
        return shortfall <= 0 ? T(0) : -y * (shortfall + shortfall);
    }
};

template <class T>
struct ModifiedHuber {
    static constexpr const char *name = "modified_huber";
    static constexpr std::size_t arity = 0;
    explicit ModifiedHuber(const double *) {}

    T value(T p, T y) const {
        const T z = y * p;
        return z < -1 ? T(-4) * z : SquaredHinge<T>(nullptr).value(p, y);
    }
    T gradient(T p, T y) const { return y * p < -1 ? T(-4) * y : SquaredHinge<T>(nullptr).gradient(p, y); }
};

template <class T>
struct Perceptron {
    static constexpr const char *name = "perceptron";
    static constexpr std::size_t arity = 0;
    explicit Perceptron(const double *) {}

    T value(T p, T y) const {
        const T z = y * p;
        return z >= 0 ? T(0) : -z;
    }
    T gradient(T p, T y) const { return y * p > 0 ? T(0) : -y; }
};

// Of the probabilities exp(p_o) / sum exp(p) of k classes that of class y, negated and by its logarithm.
template <class T>
struct Softmax {
    static constexpr const char *name = "softmax";
    static constexpr std::size_t arity = 1;
    explicit Softmax(const double *) {}

    T row(const T *p, const T *y, T *c, index k) const {
        index best = 0;
        for (index o = 1; o < k; ++o) {
            best = p[o] > p[best] ? o : best;
        }
        const double top = double(p[best]);
        const index right = y[0] >= 0 && y[0] < T(k) ? static_cast<index>(y[0]) : -1; // y may have been written to
        double beyond = 0, others = 0;
        for (index o = 0; o < k; ++o) {
            const double e = exp_of_difference(double(p[o]), top);
            c[o] = T(e);
            beyond = beyond + (o == best ? 0.0 : e);
            others = others + (o == right ? 0.0 : e);
        }
        const double total = 1.0 + beyond;
        for (index o = 0; o < k; ++o) {
            c[o] = o == right ? T(-others / total) : c[o] / T(total);
        }
        return T(log1p(beyond) + (top - double(p[std::max(right, index(0))])));
    }
};

// k, where the derivative is k (p - y); 0 where it is something else.
template <class Loss>
constexpr int linear = 0;

template <class T>
constexpr int linear<SquaredError<T>> = 2;

template <class T>
constexpr int linear<HalfSquaredError<T>> = 1;

// Whether the derivative by a prediction is found sooner where it is known what changes the prediction.
template <class Loss>
constexpr bool has_anchor = false;

template <class T>
constexpr bool has_anchor<Logistic<T>> = true;

// The loss of a row with k outputs; c becomes its derivatives by them.
template <class Loss, class T>
T of_row(const Loss &loss, const T *p, const T *y, T *c, index k) {
    T total = loss.value(p[0], y[0]);
    c[0] = loss.gradient(p[0], y[0]);
    for (index o = 1; o < k; ++o) {
        total = total + loss.value(p[o], y[o]);
        c[o] = loss.gradient(p[o], y[o]);
    }
    return total;
}

template <class T>
T of_row(const Softmax<T> &loss, const T *p, const T *y, T *c, index k) {
    return loss.row(p, y, c, k);
}

// Whether the loss of a row is no sum over its outputs.
template <class Loss>
constexpr bool is_joint = false;

template <class T>
constexpr bool is_joint<Softmax<T>> = true;

template <class T>
using Losses =
    Table<SquaredError<T>, HalfSquaredError<T>, Huber<T>, EpsilonInsensitive<T>, SquaredEpsilonInsensitive<T>,
          Quantile<T>, Poisson<T>, Logistic<T>, Hinge<T>, SquaredHinge<T>, ModifiedHuber<T>, Perceptron<T>, Softmax<T>>;

} // namespace gdfast
