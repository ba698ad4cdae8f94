// The state of the floating-point unit that the canonical order relies on.
#pragma once

#include <cfloat>
#include <cstdint>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(_M_FP_FAST)
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

// While it lives, small numbers are kept as denormals and sums are rounded to nearest: another library in the process
// may have switched to flushing them to zero.
class StandardFloats {
public:
    StandardFloats() : saved_(read()) { write(standard); }
    ~StandardFloats() { write(saved_); }
    StandardFloats(const StandardFloats &) = delete;
    StandardFloats &operator=(const StandardFloats &) = delete;

private:
#if defined(__SSE2__) || defined(_M_X64)
    using Register = unsigned int;
    static constexpr Register standard = 0x1F80;
    static Register read() { return _mm_getcsr(); }
    static void write(Register value) { _mm_setcsr(value); }
#elif defined(__aarch64__) && defined(__GNUC__)
    using Register = std::uint64_t;
    static constexpr Register standard = 0;
    static Register read() {
        Register value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void write(Register value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#else
    using Register = int;
    static constexpr Register standard = 0;
    static Register read() { return standard; }
    static void write(Register) {}
#endif
    Register saved_;
};

} // namespace gdfast
