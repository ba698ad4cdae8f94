// The optimizers' rules: a struct each, built from the numbers of the Python record's `rule` in their order.
// gdfast/optimizers.py has the same formulas, and what they are for.
#pragma once

#include "formulas/table.hpp"
#include "numerics/elementary.hpp"
#include "numerics/order.hpp"

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace gdfast {

// The most numbers that a step has.
constexpr index step_numbers = 5;

// The gradient with that of the weight decay.
template <class T>
T decayed(T g, T w, T weight_decay) {
    return weight_decay != 0 ? g + weight_decay * w : g;
}

// The moving average m moved towards g.
template <class T>
T averaged(T m, T g, T take) {
    return m + take * (g - m);
}

// Some of the old and some of the new.
template <class T>
T mixed(T old, T recent, T keep, T take) {
    return keep * old + take * recent;
}

// s[k * stride] is the parameter's k-th state, of as many as `states` says; c are the numbers of the step. A rule that
// coasts has `factors`, `drift` and `fade`, which say what a gradient of 0 does.
template <class T>
struct SGD {
    static constexpr const char *name = "sgd";
    static constexpr std::size_t arity = 3;
    T momentum, weight_decay;
    bool nesterov;

    explicit SGD(const double *rule) : momentum(T(rule[0])), weight_decay(T(rule[1])), nesterov(rule[2] != 0) {}

    index states() const { return momentum != 0 ? 1 : 0; }

    T step(T w, T g, T *s, index, const T *c) const {
        g = decayed(g, w, weight_decay);
        if (momentum != 0) {
            s[0] = mixed(s[0], g, momentum, c[1]);
            g = nesterov ? g + momentum * s[0] : s[0];
        }
        return w - c[0] * g;
    }

    std::pair<T, T> factors() const { return {T(1), momentum}; }
    T drift(const T *s, index) const { return nesterov ? momentum * s[0] : s[0]; }
    void fade(T *s, index, T, T way) const { s[0] = way * s[0]; }
};

template <class T>
struct Adagrad {
    static constexpr const char *name = "adagrad";
    static constexpr std::size_t arity = 3;
    T weight_decay, eps;

    explicit Adagrad(const double *rule) : weight_decay(T(rule[0])), eps(T(rule[2])) {}

    index states() const { return 1; }

    T step(T w, T g, T *s, index, const T *c) const {
        g = decayed(g, w, weight_decay);
        s[0] = s[0] + g * g;
        return w - c[0] * g / (std::sqrt(s[0]) + eps);
    }
};

template <class T>
struct RMSprop {
    static constexpr const char *name = "rmsprop";
    static constexpr std::size_t arity = 6;
    T alpha, take, eps, weight_decay, momentum;
    bool centered;

    explicit RMSprop(const double *rule)
        : alpha(T(rule[0])), take(T(rule[1])), eps(T(rule[2])), weight_decay(T(rule[3])), momentum(T(rule[4])),
          centered(rule[5] != 0) {}

    index states() const { return 3; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        g = decayed(g, w, weight_decay);
        T v = mixed(s[0], g * g, alpha, take);
        s[0] = v;
        if (centered) {
            const T m = averaged(s[stride], g, take);
            s[stride] = m;
            v = v - m * m;
            v = v < 0 ? T(0) : v;
        }
        T d = g / (std::sqrt(v) + eps);
        if (momentum != 0) {
            d = momentum * s[2 * stride] + d;
            s[2 * stride] = d;
        }
        return w - c[0] * d;
    }

    std::pair<T, T> factors() const { return {alpha, momentum}; }
    T drift(const T *s, index stride) const { return s[2 * stride]; }
    void fade(T *s, index stride, T kept, T way) const {
        s[0] = kept * s[0];
        s[stride] = kept * s[stride];
        s[2 * stride] = way * s[2 * stride];
    }
};

template <class T>
struct Adadelta {
    static constexpr const char *name = "adadelta";
    static constexpr std::size_t arity = 4;
    T rho, take, eps, weight_decay;

    explicit Adadelta(const double *rule)
        : rho(T(rule[0])), take(T(rule[1])), eps(T(rule[2])), weight_decay(T(rule[3])) {}

    index states() const { return 2; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        g = decayed(g, w, weight_decay);
        s[0] = mixed(s[0], g * g, rho, take);
        const T delta = std::sqrt(s[stride] + eps) / std::sqrt(s[0] + eps) * g;
        s[stride] = mixed(s[stride], delta * delta, rho, take);
        return w - c[0] * delta;
    }

    std::pair<T, T> factors() const { return {rho, T(0)}; }
    T drift(const T *, index) const { return 0; }
    void fade(T *s, index stride, T kept, T) const {
        s[0] = kept * s[0];
        s[stride] = kept * s[stride];
    }
};

template <class T>
struct Adam {
    static constexpr const char *name = "adam";
    static constexpr std::size_t arity = 6;
    T take1, keep2, take2, weight_decay;
    bool decoupled, amsgrad;

    explicit Adam(const double *rule)
        : take1(T(rule[0])), keep2(T(rule[1])), take2(T(rule[2])), weight_decay(T(rule[3])), decoupled(rule[4] != 0),
          amsgrad(rule[5] != 0) {}

    index states() const { return amsgrad ? 3 : 2; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        if (decoupled) {
            w = w - c[2] * w;
        } else {
            g = decayed(g, w, weight_decay);
        }
        const T m = averaged(s[0], g, take1);
        T v = mixed(s[stride], g * g, keep2, take2);
        s[0] = m;
        s[stride] = v;
        if (amsgrad) {
            v = v < s[2 * stride] ? s[2 * stride] : v;
            s[2 * stride] = v;
        }
        return w - c[0] * m / (std::sqrt(v) + c[1]);
    }
};

template <class T>
struct SparseAdam {
    static constexpr const char *name = "sparseadam";
    static constexpr std::size_t arity = 3;
    T take1, take2, eps;

    explicit SparseAdam(const double *rule) : take1(T(rule[0])), take2(T(rule[1])), eps(T(rule[2])) {}

    static index states() { return 2; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        const bool moves = g != 0;
        const T m = averaged(s[0], g, take1);
        const T v = averaged(s[stride], g * g, take2);
        s[0] = moves ? m : s[0];
        s[stride] = moves ? v : s[stride];
        return moves ? w - c[0] * m / (std::sqrt(v) + eps) : w;
    }
};

template <class T>
struct Adamax {
    static constexpr const char *name = "adamax";
    static constexpr std::size_t arity = 4;
    T take1, keep2, eps, weight_decay;

    explicit Adamax(const double *rule)
        : take1(T(rule[0])), keep2(T(rule[1])), eps(T(rule[2])), weight_decay(T(rule[3])) {}

    index states() const { return 2; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        g = decayed(g, w, weight_decay);
        const T m = averaged(s[0], g, take1);
        const T kept = keep2 * s[stride];
        const T size = std::abs(g) + eps;
        const T u = size < kept ? kept : size;
        s[0] = m;
        s[stride] = u;
        return w - c[0] * m / u;
    }
};

template <class T>
struct NAdam {
    static constexpr const char *name = "nadam";
    static constexpr std::size_t arity = 5;
    T take1, keep2, take2, weight_decay;
    bool decoupled;

    explicit NAdam(const double *rule)
        : take1(T(rule[0])), keep2(T(rule[1])), take2(T(rule[2])), weight_decay(T(rule[3])), decoupled(rule[4] != 0) {}

    index states() const { return 3; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        if (decoupled) {
            w = w - c[4] * w;
        } else {
            g = decayed(g, w, weight_decay);
        }
        const T m = averaged(s[0], g, take1);
        const T v = mixed(s[stride], g * g, keep2, take2);
        const T product = s[2 * stride] * c[2];
        s[0] = m;
        s[stride] = v;
        s[2 * stride] = product;
        const T now = (1 - c[2]) / (1 - product) * g;
        const T ahead = c[3] / (1 - product * c[3]) * m;
        return w - c[0] * (now + ahead) / (std::sqrt(v) + c[1]);
    }
};

template <class T>
struct RAdam {
    static constexpr const char *name = "radam";
    static constexpr std::size_t arity = 6;
    T take1, keep2, take2, eps, weight_decay;
    bool decoupled;

    explicit RAdam(const double *rule)
        : take1(T(rule[0])), keep2(T(rule[1])), take2(T(rule[2])), eps(T(rule[3])), weight_decay(T(rule[4])),
          decoupled(rule[5] != 0) {}

    index states() const { return 2; }

    T step(T w, T g, T *s, index stride, const T *c) const {
        if (decoupled) {
            w = w - c[2] * w;
        } else {
            g = decayed(g, w, weight_decay);
        }
        const T m = averaged(s[0], g, take1);
        const T v = mixed(s[stride], g * g, keep2, take2);
        s[0] = m;
        s[stride] = v;
        return c[1] > 0 ? w - c[0] * m / (std::sqrt(v) + eps) : w - c[0] * m;
    }
};

template <class T>
struct Rprop {
    static constexpr const char *name = "rprop";
    static constexpr std::size_t arity = 5;
    T down, up, smallest, largest;

    explicit Rprop(const double *rule) : down(T(rule[1])), up(T(rule[2])), smallest(T(rule[3])), largest(T(rule[4])) {}

    index states() const { return 2; }

    T step(T w, T g, T *s, index stride, const T *) const {
        const T agreement = g * s[0];
        T size = s[stride];
        size = agreement > 0 ? size * up : agreement < 0 ? size * down : size;
        size = size < smallest ? smallest : size;
        size = size > largest ? largest : size;
        g = agreement < 0 ? T(0) : g;
        s[0] = g;
        s[stride] = size;
        return w - sign(g) * size;
    }
};

template <class T>
struct ASGD {
    static constexpr const char *name = "asgd";
    static constexpr std::size_t arity = 1;
    T weight_decay;

    explicit ASGD(const double *rule) : weight_decay(T(rule[0])) {}

    index states() const { return 0; }

    T step(T w, T g, T *, index, const T *c) const {
        g = decayed(g, w, weight_decay);
        w = w - c[1] * w;
        return w - c[0] * g;
    }
};

template <class T>
struct Lion {
    static constexpr const char *name = "lion";
    static constexpr std::size_t arity = 5;
    T keep1, take1, keep2, take2, weight_decay;

    explicit Lion(const double *rule)
        : keep1(T(rule[0])), take1(T(rule[1])), keep2(T(rule[2])), take2(T(rule[3])), weight_decay(T(rule[4])) {}

    index states() const { return 1; }

    T step(T w, T g, T *s, index, const T *c) const {
        const T m = s[0];
        T u = sign(mixed(m, g, keep1, take1));
        s[0] = mixed(m, g, keep2, take2);
        if (weight_decay != 0) {
            u = u + weight_decay * w;
        }
        return w - c[0] * u;
    }
};

template <class Rule, class = void>
constexpr bool coasts = false;
template <class Rule>
constexpr bool coasts<Rule, std::void_t<decltype(&Rule::drift)>> = true;

template <class T>
using Rules = Table<SGD<T>, Adagrad<T>, RMSprop<T>, Adadelta<T>, Adam<T>, SparseAdam<T>, Adamax<T>, NAdam<T>, RAdam<T>,
                    Rprop<T>, ASGD<T>, Lion<T>>;

} // namespace gdfast
