// The optimizers' rules: a struct each, built from the numbers of the Python record's `rule` in their order.
// gdfast/optimizers.py has the same formulas, and what they are for.
#pragma once

#include "order.hpp"
#include "table.hpp"

namespace gdfast {

// s[k * stride + j] is the k-th state of parameter j; t is the number of the step, from 1.
template <class T>
struct SGD {
    static constexpr const char *name = "sgd";
    T momentum, undamped, weight_decay;
    bool nesterov;

    explicit SGD(const double *rule)
        : momentum(T(rule[0])), undamped(T(rule[1])), weight_decay(T(rule[2])), nesterov(rule[3] != 0) {}

    T step(T w, T g, T *s, index, index j, T eta, index t) const {
        if (weight_decay != 0) {
            g = g + weight_decay * w;
        }
        if (momentum != 0) {
            s[j] = t == 1 ? g : momentum * s[j] + undamped * g;
            g = nesterov ? g + momentum * s[j] : s[j];
        }
        return w - eta * g;
    }
};

template <class T>
using Rules = Table<SGD<T>>;

} // namespace gdfast
