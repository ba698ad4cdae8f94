// The weights of one output as the kernels hold them, or a gradient by them: products with rows and sums of rows.
#pragma once

#include "numerics/simd.hpp"

#include <algorithm>

namespace gdfast {

// The number of rows that go side by side, and of the pairs that they make.
constexpr index group = 4;
constexpr index pairs = group * (group - 1) / 2;

// The place of the pair of rows j < i among the pairs: 1 and 0, 2 and 0, 2 and 1, 3 and 0, ...
template <index i, index j>
constexpr index pair = i * (i - 1) / 2 + j;

constexpr index one = -1; // feature alone

// The distance, in rows, at which a row is fetched before its turn. It is set in bytes, so that it holds whatever the
// caches: 64 KB of rows into the second cache, a quarter of the smallest there is. At most as many rows as are known
// ahead, and at least the next group; but nothing where that is over 128 KB, as such long rows are streams that the
// hardware fetches by itself.
template <class T>
constexpr index fetched_ahead(index features) {
    const index row = features * index(sizeof(T));
    return group * row > 128 * 1024 ? 0 : std::clamp(64 * 1024 / row / group * group, group, rows_ahead);
}

// Steps of single rows wait for each row; those of short rows, whose weights fit in the registers, take no longer than
// the second cache. So short rows are fetched into the nearest one, these many before their turn: at most 4 KB.
constexpr index fetched_near = 4 * group;
static_assert(fetched_near <= rows_ahead);

// K groups of lanes in registers; with K = 0, as many as there are, in memory. What stands behind the features is 0.
// While rows are multiplied, half of those that will be read next are fetched, line by line; while they are added, the
// other half: all at once, they would have to wait for each other.
template <class T, index K>
class Weights {
public:
    static constexpr Cache cache_for_steps = K > 0 ? Cache::nearest : Cache::second;

    // `at` points to whole groups of lanes.
    Weights(T *at, const Groups<T> &groups) : groups_(groups), at_(at) {
        unrolled<kept>([&](auto i) { kept_[i] = load(at + i * width<T>); });
    }

    void save() const {
        unrolled<kept>([&](auto i) { store(at_ + i * width<T>, kept_[i]); });
    }

    // x.w for R rows.
    template <index R, Cache cache = Cache::second>
    void dots(const T *const *x, const T *const *next, T *out) const {
        Vector<T> a[R * vectors<T>] = {};
        add_products<R>(
            x,
            [=](index i, const auto &) {
                fetch<0, (R + 1) / 2, cache>(next, i);
                return get(i);
            },
            a);
        sums_of_lanes<T, R>(a, out);
    }

    // x.w for a group of rows, and their products with each other.
    void dots_and_pairs(const T *const *x, const T *const *next, T (&out)[group], T (&with_others)[pairs]) const {
        if constexpr (vectors<T> == 1) { // there are registers for all sums at once
            Vector<T> a[group] = {}, b[pairs] = {};
            each([&](index i, index v, const auto &within) {
                fetch<0, group / 2, cache_for_steps>(next, i);
                const Vector<T> w = get(i);
                Vector<T> y[group];
                unrolled<group>([&](auto r) {
                    y[r] = within(load(x[r] + i * width<T>), v);
                    add_to(a[r], y[r] * w, i);
                    unrolled<r>([&](auto q) { add_to(b[pair<r, q>], y[r] * y[q], i); });
                });
            });
            sums_of_lanes<T, group>(a, out);
            sums_of_lanes<T, pairs>(b, with_others);
        } else {
            dots<group, cache_for_steps>(x, next, out);
            Vector<T> a[pairs * vectors<T>] = {};
            unrolled<group>([&](auto r) { add_products<r>(x, row(x[r]), a + pair<r, 0> * vectors<T>); });
            sums_of_lanes<T, pairs>(a, with_others);
        }
    }

    // w + c x for R rows in turn.
    template <index R>
    void add(const T *const *x, const T *const *next, const T *c) {
        change<R, Cache::second>(next, [=](Vector<T> w, const auto &of) {
            unrolled<R>([&](auto r) { w = w + of(x[r], c[r]); });
            return w;
        });
    }

    // w - c x for R rows in turn.
    template <index R>
    void subtract(const T *const *x, const T *const *next, const T *c) {
        change<R, cache_for_steps>(next, [=](Vector<T> w, const auto &of) {
            unrolled<R>([&](auto r) { w = w - of(x[r], c[r]); });
            return w;
        });
    }

private:
    static constexpr index kept = K * vectors<T>;

    Vector<T> get(index i) const {
        if constexpr (K > 0) {
            return kept_[i];
        } else {
            return load(at_ + i * width<T>);
        }
    }

    void set(index i, Vector<T> w) {
        if constexpr (K > 0) {
            kept_[i] = w;
        } else {
            store(at_ + i * width<T>, w);
        }
    }

    // Calls f(i, v, within) for the i-th vector of a row, the v-th of its group; `within` makes 0 of what stands behind
    // the features.
    template <class F>
    void each(const F &f) const {
        const auto whole_group = [&](auto g) {
            unrolled<vectors<T>>([&](auto v) { f(g * vectors<T> + v, v, [](Vector<T> x, index) { return x; }); });
        };
        if constexpr (K > 0) {
            unrolled<K - 1>(whole_group);
        } else {
            for (index g = 0; g < groups_.count() - 1; ++g) {
                whole_group(g);
            }
        }
        unrolled<vectors<T>>([&](auto v) {
            f((groups_of() - 1) * vectors<T> + v, v, [this](Vector<T> x, index u) { return groups_.within(x, u); });
        });
    }

    index groups_of() const { return K > 0 ? K : groups_.count(); }

    // Adds the product of the i-th vectors. The first to come needs no zero to be added to: only the sign of a sum of
    // zeros could tell, and what is added to the sums, an intercept, is never -0.
    static void add_to(Vector<T> &sum, Vector<T> product, index i) {
        sum = K > 0 && i < vectors<T> ? product : sum + product;
    }

    template <index R, class Other>
    void add_products(const T *const *x, const Other &other, Vector<T> *a) const {
        each([&](index i, index v, const auto &within) {
            const auto load_from = [&](const T *start) { return within(load(start + i * width<T>), v); };
            const Vector<T> w = other(i, load_from);
            unrolled<R>([&](auto r) { add_to(a[r * vectors<T> + v], load_from(x[r]) * w, i); });
        });
    }

    static auto row(const T *x) {
        return [x](index, const auto &load_from) { return load_from(x); };
    }

    // Behind the features the products are 0 even where c is not finite: there the weights stay 0.
    template <index R, Cache cache, class F>
    void change(const T *const *next, const F &f) {
        each([&](index i, index v, const auto &within) {
            fetch<(R + 1) / 2, R, cache>(next, i);
            set(i, f(get(i), [&](const T *x, T c) { return within(c * load(x + i * width<T>), v); }));
        });
    }

    // Of rows begin, ..., end - 1 of those that come next the line that begins with the i-th vector, if one does.
    template <index begin, index end, Cache cache>
    static void fetch(const T *const *next, index i) {
        if (i % (line<T> / width<T>) == 0) {
            unrolled<end - begin>([=](auto r) { prefetch<cache>(next[begin + r] + i * width<T>); });
        }
    }

    Groups<T> groups_;
    T *at_;
    Vector<T> kept_[kept > 0 ? kept : 1];
};

// The weight of a single feature. What is waited for is the way from one w to the next: here it is the shortest.
template <class T>
class Weights<T, one> {
public:
    static constexpr Cache cache_for_steps = Cache::nearest;

    Weights(T *at, const Groups<T> &) : at_(at), w_(*at) {}

    void save() const { *at_ = w_; }

    template <index R>
    void dots(const T *const *x, const T *const *next, T *out) const {
        unrolled<R>([&](auto r) {
            prefetch(next[r]);
            out[r] = *x[r] * w_;
        });
    }

    void dots_and_pairs(const T *const *x, const T *const *next, T (&out)[group], T (&with_others)[pairs]) const {
        dots<group>(x, next, out);
        unrolled<group>([&](auto i) { unrolled<i>([&](auto j) { with_others[pair<i, j>] = *x[i] * *x[j]; }); });
    }

    template <index R>
    void add(const T *const *x, const T *const *, const T *c) {
        unrolled<R>([&](auto r) { w_ = w_ + c[r] * *x[r]; });
    }

    template <index R>
    void subtract(const T *const *x, const T *const *, const T *c) {
        unrolled<R>([&](auto r) { w_ = w_ - c[r] * *x[r]; });
    }

private:
    T *at_;
    T w_;
};

template <class W>
struct Kind {
    using type = W;
};

// Calls f with the kind of weights that suits so many features: those that the registers hold, if there are few.
template <class T, index K = 1, class F>
void with_weights(index features, const F &f) {
    constexpr index most = sizeof(T) == 8 ? 4 : 2; // in memory, float32 has less to wait for
    constexpr index registers = 8;                 // for the weights
    if constexpr (K > most || K * vectors<T> > registers) {
        f(Kind<Weights<T, 0>>{});
    } else if (features == 1) {
        f(Kind<Weights<T, one>>{});
    } else if (features <= K * lanes) {
        f(Kind<Weights<T, K>>{});
    } else {
        with_weights<T, K + 1>(features, f);
    }
}

} // namespace gdfast
