// The canonical order of sums and shuffles. gdfast/_numerics/order.py says it in words.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>

namespace gdfast {

using index = std::ptrdiff_t;

constexpr index lanes = 8;
constexpr index block = 256;
constexpr index rows_ahead = 128; // rows after those in turn that are known, so that they can be fetched meanwhile
constexpr index rounds = 8;
constexpr index smallest_domain = 64;
constexpr index lefts = 4; // the left halves of the shuffle are a multiple

namespace detail {

template <class F, std::size_t... I>
inline void call_with(const F &f, std::index_sequence<I...>) {
    (f(std::integral_constant<index, I>{}), ...);
}

} // namespace detail

// Calls f(0), ..., f(N - 1), each with a constant: a short chain of numbers that no compiler takes for a loop, and so
// keeps in registers.
template <index N, class F>
inline void unrolled(const F &f) {
    detail::call_with(f, std::make_index_sequence<std::size_t(N)>());
}

template <class T>
inline T sum_of_lanes(const T (&a)[lanes]) {
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

// The sum of term(0), ..., term(count - 1).
template <class T, class Term>
inline T sum_of(index count, const Term &term) {
    T a[lanes] = {};
    index j = 0;
    for (; j + lanes <= count; j += lanes) {
        unrolled<lanes>([&](auto l) { a[l] += term(j + l); });
    }
    unrolled<lanes - 1>([&](auto l) {
        if (j + l < count) {
            a[l] += term(j + l);
        }
    });
    return sum_of_lanes(a);
}

template <class T>
inline T dot(const T *x, const T *w, index d) {
    return sum_of<T>(d, [=](index j) { return x[j] * w[j]; });
}

// Adds vectors of `width` numbers in pairs of neighbours, level by level, into the first.
template <class T>
inline void tree(T *parts, index count, index width) {
    for (index reach = 1; reach < count; reach *= 2) {
        for (index k = 0; k + reach < count; k += 2 * reach) {
            for (index j = 0; j < width; ++j) {
                parts[k * width + j] += parts[(k + reach) * width + j];
            }
        }
    }
}

// The rows that an epoch visits, by position; without keys, the rows as they stand.
class Visits {
public:
    Visits(const std::uint64_t *keys, index rows) : shuffled_(keys != nullptr) {
        network_.rows = rows;
        const index most = std::max(rows, smallest_domain);
        unsigned bits = 0;
        while ((index(1) << bits) < most) {
            ++bits;
        }
        network_.right_bits = std::max(bits - bits / 2, bits - std::min(bits, 16u)); // at most 2**16 left halves
        const index right_halves = index(1) << network_.right_bits;
        network_.right_mask = static_cast<std::uint32_t>(right_halves - 1);
        network_.left_halves = static_cast<std::uint32_t>(((most - 1) / right_halves / lefts + 1) * lefts);
        for (index r = 0; shuffled_ && r < rounds; ++r) {
            network_.keys[r] = static_cast<std::uint32_t>(keys[r]);
        }
    }

    bool shuffled() const { return shuffled_; }

    // The rows at positions first, ..., first + count - 1.
    [[gnu::flatten]] void operator()(index first, index count, index *rows) const {
        if (!shuffled_) {
            std::iota(rows, rows + count, first);
            return;
        }
        const Network network = network_; // which no pointer aliases
        index highest = 0;
        for (index at = 0; at < count; ++at) {
            rows[at] = network(first + at);
            highest = std::max(highest, rows[at]);
        }
        if (highest >= network.rows) { // few land outside, unless there are few rows
            for (index at = 0; at < count; ++at) {
                while (rows[at] >= network.rows) {
                    rows[at] = network(rows[at]);
                }
            }
        }
    }

private:
    struct Network {
        std::uint32_t keys[rounds];
        std::uint32_t left_halves, right_mask;
        unsigned right_bits;
        index rows;

        // A multiplicative hash; only the high bits of the result are well mixed.
        static std::uint32_t scramble(std::uint32_t z) {
            z *= 0x7FEB352Du;
            return (z ^ (z >> 15)) * 0x846CA68Bu;
        }

        index operator()(index position) const {
            const auto i = static_cast<std::uint64_t>(position);
            auto left = static_cast<std::uint32_t>(i >> right_bits);
            auto right = static_cast<std::uint32_t>(i) & right_mask;
            unrolled<rounds / 2>([&](auto r) {
                left += ((scramble(right + keys[2 * r]) >> 16) * left_halves) >> 16;
                left -= left < left_halves ? 0 : left_halves;
                right ^= scramble(left + keys[2 * r + 1]) >> (32 - right_bits);
            });
            return static_cast<index>((std::uint64_t(left) << right_bits) | right);
        }
    };

    Network network_{};
    bool shuffled_;
};

} // namespace gdfast
