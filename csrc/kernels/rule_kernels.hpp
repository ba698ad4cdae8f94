// The kernels that depend on the rule of the optimizer, each behind a virtual method for all params.
#pragma once

#include "formulas/optimizers.hpp"
#include "kernels/state.hpp"

#include <array>
#include <type_traits>
#include <utility>

namespace gdfast {

// The steps of a column at rest, by its states as they were: its weight moves by `moved` times the drift, and so
// many iterates add up to `counted` times the weight less `path` times the drift.
template <class T>
struct Coasting {
    double counted, path;
    T moved, kept, way; // and the powers of the factors by which the states fade
};

template <class T>
class RuleKernels {
public:
    virtual ~RuleKernels() = default;

    // The number of states that the rule keeps of each parameter.
    virtual index states() const = 0;

    // A step of all params that are trained, without penalties.
    virtual void step(TrainingState<T> &state, const T *g, const std::array<T, step_numbers> &c) const = 0;

    // A step of these params alone.
    virtual void step_of(TrainingState<T> &state, const index *which, index count, const T *g,
                         const std::array<T, step_numbers> &c) const = 0;

    // The factors by which states fade in a step with a gradient of 0.
    virtual std::pair<double, double> factors() const = 0;

    // Brings the params of these columns up to date.
    virtual void coast(TrainingState<T> &state, const index *columns, index count, const Coasting<T> *by) const = 0;

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

    index states() const override { return rule_.states(); }

    [[gnu::flatten]] void step(TrainingState<T> &state, const T *g,
                               const std::array<T, step_numbers> &c) const override {
        const Rule<T> rule = rule_; // which no pointer aliases, nor these
        const std::array<T, step_numbers> numbers = c;
        const Shape shape = state.shape;
        const index size = shape.size();
        for (index first = 0; first < size; first += shape.stride) {
            const index end = first + shape.d + (shape.fit_intercept ? 1 : 0);
            for (index j = first; j < end; ++j) {
                state.params[j] = rule.step(state.params[j], g[j], state.slots_of(j), size, numbers.data());
            }
        }
    }

    void step_of(TrainingState<T> &state, const index *which, index count, const T *g,
                 const std::array<T, step_numbers> &c) const override {
        const index size = state.shape.size();
        for (index at = 0; at < count; ++at) {
            const index j = which[at];
            state.params[j] = rule_.step(state.params[j], g[j], state.slots_of(j), size, c.data());
        }
    }

    std::pair<double, double> factors() const override {
        if constexpr (coasts<Rule<T>>) {
            return rule_.factors();
        }
        return {1, 1};
    }

    void coast(TrainingState<T> &state, const index *columns, index count, const Coasting<T> *by) const override {
        if constexpr (coasts<Rule<T>>) {
            const index size = state.shape.size();
            for (index at = 0; at < count; ++at) {
                const Coasting<T> c = by[at];
                for (index j = columns[at]; j < size; j += state.shape.stride) {
                    T *const s = state.slots_of(j);
                    const T drift = rule_.drift(s, size);
                    if (state.total != nullptr) {
                        state.total[j] += c.counted * state.params[j] - c.path * drift;
                    }
                    state.params[j] = state.params[j] - c.moved * drift;
                    rule_.fade(s, size, c.kept, c.way);
                }
            }
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
