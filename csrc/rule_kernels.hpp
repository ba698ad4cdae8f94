// The kernels that depend on the rule of the optimizer, each behind a virtual method for all params.
#pragma once

#include "optimizers.hpp"
#include "training.hpp"

#include <type_traits>

namespace gdfast {

template <class T>
class RuleKernels {
public:
    virtual ~RuleKernels() = default;

    // A step of all params that are trained, without penalties.
    virtual void step(State<T> &state, const T *g, const std::array<T, step_numbers> &c) const = 0;

    // A step of these params alone.
    virtual void step_of(State<T> &state, const index *which, index count, const T *g,
                         const std::array<T, step_numbers> &c) const = 0;

    // The rule itself where it is a step along the gradient, for which there are loops per sample. Its bits are those
    // of batches of one row: these sum from +0.0, so a gradient of -0.0 becomes +0.0, but no w that is not -0.0 itself
    // tells the two apart.
    virtual const SGD<T> *per_sample() const = 0;
};

template <class Rule>
class RuleKernelsOf;

template <template <class> class Rule, class T>
class RuleKernelsOf<Rule<T>> final : public RuleKernels<T> {
public:
    explicit RuleKernelsOf(const Rule<T> &rule) : rule_(rule) {}

    [[gnu::flatten]] void step(State<T> &state, const T *g, const std::array<T, step_numbers> &c) const override {
        const Rule<T> rule = rule_; // which no pointer aliases, nor these
        const std::array<T, step_numbers> numbers = c;
        const Shape shape = state.shape;
        const index size = shape.size();
        for (index first = 0; first < size; first += shape.stride) {
            const index end = first + shape.d + (shape.fit_intercept ? 1 : 0);
            for (index j = first; j < end; ++j) {
                state.params[j] = rule.step(state.params[j], g[j], state.slots + j, size, numbers.data());
            }
        }
    }

    void step_of(State<T> &state, const index *which, index count, const T *g,
                 const std::array<T, step_numbers> &c) const override {
        const index size = state.shape.size();
        for (index at = 0; at < count; ++at) {
            const index j = which[at];
            state.params[j] = rule_.step(state.params[j], g[j], state.slots + j, size, c.data());
        }
    }

    const SGD<T> *per_sample() const override {
        if constexpr (std::is_same_v<Rule<T>, SGD<T>>) {
            return rule_.momentum == 0 ? &rule_ : nullptr;
        }
        return nullptr;
    }

private:
    Rule<T> rule_;
};

} // namespace gdfast
