// The canonical order of sums and shuffles. gdfast/order.py says it in words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>

namespace gdfast {

using index = std::ptrdiff_t;

constexpr index lanes = 8;
constexpr index block = 256;
constexpr index rounds = 6;
constexpr unsigned smallest_bits = 6;

template <class T>
inline T sum_of_lanes(const T (&a)[lanes]) {
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

template <class T>
inline T dot(const T *x, const T *w, index d) {
    T a[lanes] = {};
    index j = 0;
    for (; j + lanes <= d; j += lanes) {
        for (index l = 0; l < lanes; ++l) {
            a[l] += x[j + l] * w[j + l];
        }
    }
    for (index l = 0; j + l < d; ++l) {
        a[l] += x[j + l] * w[j + l];
    }
    return sum_of_lanes(a);
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
    Visits(const std::uint64_t *keys, index rows) : keys_(keys), rows_(static_cast<std::uint64_t>(rows)) {
        unsigned bits = smallest_bits;
        while ((std::uint64_t(1) << bits) < rows_) {
            ++bits;
        }
        const unsigned left_bits = bits / 2;
        right_bits_ = bits - left_bits;
        left_mask_ = (std::uint64_t(1) << left_bits) - 1;
        right_mask_ = (std::uint64_t(1) << right_bits_) - 1;
    }

    bool shuffled() const { return keys_ != nullptr; }

    // The rows at positions first, ..., first + count - 1. Two loops, so that the first has no branch to wait for.
    void operator()(index first, index count, index *rows) const {
        if (keys_ == nullptr) {
            std::iota(rows, rows + count, first);
            return;
        }
        for (index at = 0; at < count; ++at) {
            rows[at] = static_cast<index>(feistel(static_cast<std::uint64_t>(first + at)));
        }
        for (index at = 0; at < count; ++at) {
            while (static_cast<std::uint64_t>(rows[at]) >= rows_) {
                rows[at] = static_cast<index>(feistel(static_cast<std::uint64_t>(rows[at])));
            }
        }
    }

private:
    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }

    std::uint64_t feistel(std::uint64_t i) const {
        std::uint64_t left = i >> right_bits_;
        std::uint64_t right = i & right_mask_;
        for (index r = 0; r < rounds; r += 2) {
            left ^= mix(right + keys_[r]) & left_mask_;
            right ^= mix(left + keys_[r + 1]) & right_mask_;
        }
        return (left << right_bits_) | right;
    }

    const std::uint64_t *keys_;
    std::uint64_t rows_;
    unsigned right_bits_;
    std::uint64_t left_mask_;
    std::uint64_t right_mask_;
};

} // namespace gdfast
