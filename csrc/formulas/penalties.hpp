// The penalties l1 * sum |w| + l2 / 2 * sum w^2. gdfast/_numerics/penalties.py has the same formulas, and what they are
// for.
#pragma once

#include "data/param_layout.hpp"
#include "numerics/order.hpp"

#include <cmath>

namespace gdfast {

// |w| less t, with w's sign; 0 where there is nothing left of it. For numbers, or vectors of them.
template <class V, class U>
V shrunk(V w, U t) {
    return ((w <= t) & (-w <= t)) ? V{} : w > 0 ? w - t : w + t;
}

// The least of the slopes of the objective at w, where that of the rest is g.
template <class T>
T least_slope(T g, T w, T l1) {
    return w > 0 ? g + l1 : w < 0 ? g - l1 : shrunk(g, l1);
}

// w, or 0 where it is not on the side that is asked for.
template <class T>
T on_side(T w, T side) {
    return (side > 0 ? w <= 0 : side < 0 ? w >= 0 : side == 0) ? T(0) : w;
}

template <class T>
struct Penalty {
    T l1, l2;
    bool proximal;  // the rule is a plain step along the gradient
    T weight_decay; // which the rule adds to the gradient by itself

    bool free() const { return l1 == 0 && l2 == 0 && weight_decay == 0; }

    // The penalty of these params.
    T of(const T *params, const Shape &shape) const {
        T absolute = 0, squares = 0, all_squares = 0, total = 0;
        for (index o = 0; o < shape.outputs; ++o, params += shape.stride) {
            if (l1 != 0) {
                absolute = absolute + sum_of<T>(shape.d, [=](index j) { return std::abs(params[j]); });
            }
            if (l2 != 0 || weight_decay != 0) {
                const T s = dot(params, params, shape.d);
                const T b = shape.fit_intercept ? params[shape.bias] : T(0);
                squares = squares + s;
                all_squares = all_squares + (s + b * b);
            }
        }
        if (l1 != 0) {
            total = l1 * absolute;
        }
        if (l2 != 0) {
            total = total + T(0.5) * l2 * squares;
        }
        if (weight_decay != 0) {
            total = total + T(0.5) * weight_decay * all_squares;
        }
        return total;
    }

    // The penalty of which as much is kept as of a gradient that is clipped.
    Penalty scaled(T kept) const { return {l1 * kept, l2, proximal, weight_decay}; }

    // The gradient with that of l2.
    T decayed(T g, T w) const { return l2 != 0 ? g + l2 * w : g; }

    // The gradient with that of the rule's weight decay, which the intercept has too.
    T decayed_by_rule(T g, T w) const { return weight_decay != 0 ? g + weight_decay * w : g; }

    T slope(T g, T w) const { return l1 != 0 ? least_slope(g, w, l1) : g; }

    // Calls make_step, which makes a step of all params along g; before it, g becomes the least slopes where l1 asks
    // for them, and after it the weights are shrunk or kept on their side. `sides` is room for as many numbers.
    template <class Step>
    void step(T *params, T *g, const Shape &shape, T rate, T *sides, const Step &make_step) const {
        if (l1 == 0) {
            make_step();
            return;
        }
        const auto each_weight = [&](const auto &f) {
            for (index first = 0; first < shape.size(); first += shape.stride) {
                for (index j = first; j < first + shape.d; ++j) {
                    f(j);
                }
            }
        };
        if (proximal) {
            make_step();
            each_weight([&](index j) { params[j] = shrunk(params[j], rate * l1); });
            return;
        }
        each_weight([&](index j) {
            g[j] = least_slope(g[j], params[j], l1);
            sides[j] = params[j] != 0 ? params[j] : -g[j];
        });
        make_step();
        each_weight([&](index j) { params[j] = on_side(params[j], sides[j]); });
    }

    // `decayed` for all weights; what is not trained has no gradient.
    void add_decay(T *g, const T *params, const Shape &shape) const {
        for (index first = 0; first < shape.size(); first += shape.stride) {
            if (l2 != 0) {
                for (index j = first; j < first + shape.d; ++j) {
                    g[j] = decayed(g[j], params[j]);
                }
            }
            if (!shape.fit_intercept) {
                g[first + shape.bias] = 0;
            }
        }
    }

    // `slope` for all weights, and the gradient for the intercepts, with the weight decay or without.
    void least_slopes(const T *g, const T *params, const Shape &shape, bool decays, T *slopes) const {
        for (index first = 0; first < shape.size(); first += shape.stride) {
            const index b = first + shape.bias;
            for (index j = first; j < first + shape.d; ++j) {
                slopes[j] = slope(decays ? decayed_by_rule(g[j], params[j]) : g[j], params[j]);
            }
            slopes[b] = decays && shape.fit_intercept ? decayed_by_rule(g[b], params[b]) : g[b];
        }
    }
};

} // namespace gdfast
