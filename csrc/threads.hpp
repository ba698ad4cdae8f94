// Work shared between threads.
#pragma once

#include "floating.hpp"
#include "order.hpp"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace gdfast {

// Calls f(0), ..., f(tasks - 1) on up to `threads` threads, the calling one included, and waits for them all. What f
// does must not depend on which thread runs it. Threads live as long as the call: nothing outlives a fork or the
// interpreter. f must not throw.
template <class F>
void share(index tasks, index threads, const F &f) {
    if (threads < 2 || tasks < 2) {
        for (index task = 0; task < tasks; ++task) {
            f(task);
        }
        return;
    }
    std::atomic<index> next{0};
    const auto work = [&] {
        const StandardFloats standard;
        for (index task = next++; task < tasks; task = next++) {
            f(task);
        }
    };
    std::vector<std::thread> helpers;
    const index wanted = std::min(tasks, threads) - 1;
    helpers.reserve(static_cast<std::size_t>(wanted));
    try {
        for (index i = 0; i < wanted; ++i) {
            helpers.emplace_back(work);
        }
    } catch (const std::system_error &) {
        // The system gives no more threads: those there are do all the work.
    }
    work();
    for (std::thread &helper : helpers) {
        helper.join();
    }
}

} // namespace gdfast
