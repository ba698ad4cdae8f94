// Numbers side by side in the vectors of the instruction set that this file is compiled for; the lanes of a
// sum are a few of them. The text is the same for all, and so are the bits.
#pragma once

#include "numerics/order.hpp"

#include <cstring>
#include <type_traits>
#include <utility>

#if !defined(__GNUC__)
#error "gdfast needs vectors as GCC and Clang have them; on Windows, compile with clang-cl"
#endif

namespace gdfast {

#if defined(__AVX512F__)
constexpr index vector_bytes = 64;
#elif defined(__AVX2__)
constexpr index vector_bytes = 32;
#else
constexpr index vector_bytes = 16;
#endif

template <class T>
constexpr index width = vector_bytes / index(sizeof(T)) < lanes ? vector_bytes / index(sizeof(T)) : lanes;

// The number of vectors that hold the lanes.
template <class T>
constexpr index vectors = lanes / width<T>;

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(width<T> * sizeof(T))));
};

template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
using Mask = Vector<std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>>;

template <class T>
inline Vector<T> load(const T *x) {
    Vector<T> v;
    std::memcpy(&v, x, sizeof v);
    return v;
}

template <class T>
inline void store(T *x, Vector<T> v) {
    std::memcpy(x, &v, sizeof v);
}

// R numbers: one, or a vector of those that stand side by side, or at these places.
template <index R, class T>
inline auto some(const T *x) {
    if constexpr (R == 1) {
        return *x;
    } else {
        return load(x);
    }
}

template <index R, class T, class Place>
inline auto some(const T *x, const Place *places) {
    T found[R];
    unrolled<R>([&](auto l) { found[l] = x[places[l]]; });
    return some<R>(found);
}

template <index R, class V, class T, class Place>
inline void put(V v, T *x, const Place *places) {
    T given[R];
    std::memcpy(given, &v, sizeof v);
    unrolled<R>([&](auto l) { x[places[l]] = given[l]; });
}

// Calls f(k, R) for R of `count` numbers from the k-th on: as many as a vector has, or one.
template <class T, class F>
inline void in_runs(index count, const F &f) {
    index k = 0;
    for (; k + width<T> <= count; k += width<T>) {
        f(k, std::integral_constant<index, width<T>>{});
    }
    for (; k < count; ++k) {
        f(k, std::integral_constant<index, 1>{});
    }
}

// The caches that rows to come are fetched into, as the compilers number them.
enum class Cache { second = 2, nearest = 3 };

// Asks for what will be read soon.
template <Cache cache = Cache::nearest, class T>
inline void prefetch(const T *x) {
    constexpr int for_reading = 0;
    __builtin_prefetch(x, for_reading, int(cache));
    asm volatile("" ::); // otherwise a function of nothing but prefetches is taken for one without effects
}

// The number of elements in a line of the cache.
template <class T>
constexpr index line = 64 / index(sizeof(T));

// Asks for `count` numbers, at most 4 KB, which the hardware goes on from by itself: into the second cache, as the
// entries of sparse rows that are not short would push each other out of the nearest.
template <class T>
inline void prefetch_run(const T *x, index count) {
    constexpr index most = 64 * line<T>;
    for (index j = 0; j < count && j < most; j += line<T>) {
        prefetch<Cache::second>(x + j);
    }
}

// The number of features, rounded up to whole groups of lanes.
inline index whole_groups(index features) { return (features + lanes - 1) / lanes * lanes; }

// The features of a row in groups of `lanes`, the last of which may have fewer.
template <class T>
class Groups {
public:
    explicit Groups(index features) : features_(features), count_(whole_groups(features) / lanes) {
        for (index v = 0; v < vectors<T>; ++v) {
            for (index l = 0; l < width<T>; ++l) {
                last_[v][l] = (count_ - 1) * lanes + v * width<T> + l < features ? -1 : 0;
            }
        }
    }

    index features() const { return features_; }
    index count() const { return count_; }

    // The v-th vector of the last group, with 0 behind the features.
    Vector<T> within(Vector<T> x, index v) const { return last_[v] ? x : Vector<T>{}; }

private:
    index features_;
    index count_;
    Mask<T> last_[vectors<T>] = {};
};

namespace detail {

// The elements of a, and from the number of these on of b, at places I.
template <class T, std::size_t... I>
inline Vector<T> shuffled(Vector<T> a, Vector<T> b) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, I...);
#else
    return __builtin_shuffle(a, b, Mask<T>{I...});
#endif
}

// Sums of pairs of neighbours: within each 16 bytes, first those of a and then those of b.
template <class T, std::size_t... I>
inline Vector<T> pairs_within(Vector<T> a, Vector<T> b, std::index_sequence<I...>) {
    constexpr std::size_t n = sizeof...(I), u = 16 / sizeof(T);
    return shuffled<T, (I / u * u + I % u * 2 % u + (I % u < u / 2 ? 0 : n))...>(a, b) +
           shuffled<T, (I / u * u + I % u * 2 % u + 1 + (I % u < u / 2 ? 0 : n))...>(a, b);
}

// Sums of pairs of neighbouring 16 bytes: first those of a and then those of b.
template <class T, std::size_t... I>
inline Vector<T> pairs_between(Vector<T> a, Vector<T> b, std::index_sequence<I...>) {
    constexpr std::size_t u = 16 / sizeof(T);
    return shuffled<T, (I / u * 2 * u + I % u)...>(a, b) + shuffled<T, (I / u * 2 * u + I % u + u)...>(a, b);
}

// Sums pairs of neighbours in the lanes of `rows` rows, until of each row 16 bytes with n sums in each number are left.
template <class T, index rows, index n = 1>
inline void sum_within(Vector<T> *a) {
    if constexpr (n < 16 / index(sizeof(T))) {
        constexpr index half = (rows + 1) / 2;
        constexpr index V = vectors<T>;
        unrolled<half>([=](auto r) {
            constexpr index other = 2 * r + 1 < rows ? 2 * r + 1 : 2 * r;
            unrolled<V>([=](auto v) {
                constexpr auto all = std::make_index_sequence<std::size_t(width<T>)>();
                a[r * V + v] = pairs_within<T>(a[2 * r * V + v], a[other * V + v], all);
            });
        });
        sum_within<T, half, 2 * n>(a);
    }
}

// Sums pairs of neighbouring 16 bytes in `count` vectors, until each number is the sum of all lanes.
template <class T, index count, index n = 16 / index(sizeof(T))>
inline void sum_between(Vector<T> *a) {
    if constexpr (n < lanes) {
        constexpr index half = (count + 1) / 2;
        unrolled<half>([=](auto i) {
            constexpr index other = 2 * i + 1 < count ? 2 * i + 1 : 2 * i;
            if constexpr (vector_bytes == 16) {
                a[i] = a[2 * i] + a[other];
            } else {
                constexpr auto all = std::make_index_sequence<std::size_t(width<T>)>();
                a[i] = pairs_between<T>(a[2 * i], a[other], all);
            }
        });
        sum_between<T, half, 2 * n>(a);
    }
}

} // namespace detail

// The sums of R times `lanes` numbers, each by the tree of `sum_of_lanes`. Overwrites a.
template <class T, index R>
inline void sums_of_lanes(Vector<T> (&a)[R * vectors<T>], T *out) {
    constexpr index together = 16 / index(sizeof(T)); // rows in the same 16 bytes
    detail::sum_within<T, R>(a);
    detail::sum_between<T, (R + together - 1) / together * vectors<T>>(a);
    std::memcpy(out, a, R * sizeof(T));
}

} // namespace gdfast
