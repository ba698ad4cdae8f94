// What formulas use beside + - * / and sqrt. gdfast/elementary.py has the same.
#pragma once

namespace gdfast {

// -1, 0 or 1; NaN stays NaN.
template <class T>
T sign(T x) {
    return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

} // namespace gdfast
