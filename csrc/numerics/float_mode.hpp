// The state of the floating-point unit that the canonical order relies on.
#pragma once

#include <cfloat>
#include <cstdint>

// GDFAST_FREE_ORDER is for bench/rivals/price.py alone, which measures what the order costs.
#if defined(GDFAST_FREE_ORDER)
#elif defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(_M_FP_FAST)
#error "gdfast must not be compiled with fast math: its results would no longer be the same bits everywhere"
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0
#error "gdfast must not be compiled with -ffinite-math-only: it looks for NaN"
#endif

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace gdfast {

static_assert(FLT_EVAL_METHOD == 0, "float and double must be computed in their own precision");

// The rounding mode of this thread, and whether it keeps denormals: another library in the process may have switched to
// flushing them to zero.
namespace float_mode {
#if defined(__SSE2__) || defined(_M_X64)
constexpr std::uint64_t standard = 0x1F80;
inline std::uint64_t get() { return _mm_getcsr(); }
inline void set(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned int>(mode)); }
#elif defined(__aarch64__) && defined(__GNUC__)
constexpr std::uint64_t standard = 0;
inline std::uint64_t get() {
    std::uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
inline void set(std::uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
constexpr std::uint64_t standard = 0;
inline std::uint64_t get() { return standard; }
inline void set(std::uint64_t) {}
#endif
} // namespace float_mode

// While it lives, numbers are rounded to the nearest and denormals are kept.
class FloatModeGuard {
public:
    FloatModeGuard() : saved_(float_mode::get()) { float_mode::set(float_mode::standard); }
    ~FloatModeGuard() { float_mode::set(saved_); }
    FloatModeGuard(const FloatModeGuard &) = delete;
    FloatModeGuard &operator=(const FloatModeGuard &) = delete;

private:
    std::uint64_t saved_;
};

} // namespace gdfast
