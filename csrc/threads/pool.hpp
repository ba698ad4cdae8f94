// Work shared between threads.
#pragma once

#include "numerics/float_mode.hpp"
#include "numerics/order.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <csignal>
#include <unistd.h>
#endif

namespace gdfast {

// The calls of the system and the processor that a pool needs. Windows has neither forks nor signals sent to a process.
namespace process {
#if defined(_WIN32)
inline int id() { return 0; }

class SignalBlock {
public:
    SignalBlock() {}
};
#else
inline pid_t id() { return getpid(); }

// While it lives, this thread and those it starts take no signals but those of their own faults.
class SignalBlock {
public:
    SignalBlock() {
        sigset_t signals;
        sigfillset(&signals);
        for (const int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV}) {
            sigdelset(&signals, fault);
        }
        pthread_sigmask(SIG_SETMASK, &signals, &saved_);
    }
    ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }
    SignalBlock(const SignalBlock &) = delete;
    SignalBlock &operator=(const SignalBlock &) = delete;

private:
    sigset_t saved_;
};
#endif

// Tells the processor that this thread waits for another.
inline void pause() {
#if defined(__SSE2__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("yield");
#endif
}
} // namespace process

// Tasks 0, ..., tasks - 1, cut into a run of neighbours for each thread: a thread that comes back to the same data
// finds them in its cache. Who is done with its own run goes on with those of the others.
class Job {
public:
    template <class F>
    Job(index tasks, index threads, const F &f)
        : call_([](const void *function, index task) { (*static_cast<const F *>(function))(task); }), function_(&f),
          runs_(static_cast<std::size_t>(threads)) {
        index begin = 0;
        for (Run &run : runs_) {
            run.next = begin;
            begin += (tasks - begin) / threads--;
            run.end = begin;
        }
    }

    index threads() const { return static_cast<index>(runs_.size()); }

    // Does all that nobody has begun, the k-th run first; a task that throws is the last of this thread's.
    void work(index k) noexcept {
        try {
            for (index i = 0; i < threads(); ++i) {
                Run &run = runs_[static_cast<std::size_t>((k + i) % threads())];
                for (index task = run.next++; task < run.end; task = run.next++) {
                    call_(function_, task);
                }
            }
        } catch (...) {
            if (!failed_.test_and_set()) {
                error_ = std::current_exception();
            }
        }
    }

private:
    friend class Pool;

    struct Run {
        std::atomic<index> next;
        index end;
        char apart[64 - sizeof(next) - sizeof(end)]; // no two runs in a line of the cache
    };

    void (*call_)(const void *function, index task);
    const void *function_;
    std::vector<Run> runs_;
    std::atomic_flag failed_ = ATOMIC_FLAG_INIT;
    std::exception_ptr error_; // the first

    // Written under the pool's mutex.
    index joined_ = 1;             // threads that have come so far, the caller first
    std::atomic<index> inside_{0}; // helpers at work
    std::condition_variable left_; // all of them
    Job *next_open_ = nullptr;
};

// Threads that help any caller. They live as long as the process: a pool is never destroyed, so that its end waits for
// nobody.
class Pool {
public:
    // The pool of this process: a fork leaves its parent's threads behind, and the mutex in any state.
    static Pool &here() {
        static std::atomic<Pool *> latest{nullptr};
        Pool *pool = latest;
        if (pool == nullptr || pool->owner_ != process::id()) {
            Pool *const fresh = new Pool;
            if (latest.compare_exchange_strong(pool, fresh)) {
                return *fresh;
            }
            delete fresh;
        }
        return *pool;
    }

    // Does the job with the helpers that come, and waits for no others; throws what a task has thrown.
    void run(Job &job) {
        const index helpers = job.threads() - 1;
        std::unique_lock<std::mutex> lock(mutex_);
        start(asked_ + helpers - started_);
        asked_ += helpers;
        const index asleep = open_ == nullptr ? helpers - awake_ : helpers;
        job.next_open_ = open_;
        open_ = &job;
        any_open_ = true;
        lock.unlock();
        for (index i = 0; i < asleep; ++i) {
            opened_.notify_one();
        }
        job.work(0);
        lock.lock();
        close(job);
        asked_ -= helpers;
        if (job.inside_ > 0) {
            lock.unlock();
            await([&] { return job.inside_ == 0; });
            lock.lock();
            job.left_.wait(lock, [&] { return job.inside_ == 0; });
        }
        lock.unlock();
        if (job.error_) {
            std::rethrow_exception(job.error_);
        }
    }

private:
    // The system may give fewer threads: those there are do the work.
    void start(index threads) {
        if (threads <= 0) {
            return;
        }
        const process::SignalBlock blocked;
        try {
            for (index i = 0; i < threads; ++i) {
                std::thread(&Pool::serve, this).detach();
                ++started_;
            }
        } catch (const std::system_error &) {
            return;
        }
    }

    [[noreturn]] void serve() {
        const FloatModeGuard standard;
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            if (open_ == nullptr) {
                ++awake_;
                lock.unlock();
                await([this] { return any_open_.load(); });
                lock.lock();
                --awake_;
                opened_.wait(lock, [this] { return open_ != nullptr; });
            }
            Job &job = *open_;
            const index k = job.joined_++;
            if (job.joined_ == job.threads()) {
                close(job);
            }
            ++job.inside_;
            lock.unlock();
            job.work(k);
            lock.lock();
            if (--job.inside_ == 0) {
                job.left_.notify_one();
            }
        }
    }

    // Lets nobody join the job any more.
    void close(const Job &job) {
        for (Job **at = &open_; *at != nullptr; at = &(*at)->next_open_) {
            if (*at == &job) {
                *at = job.next_open_;
                break;
            }
        }
        any_open_ = open_ != nullptr;
    }

    // Stays awake for about as long as waking up would take.
    template <class Condition>
    static void await(const Condition &condition) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
        while (!condition() && std::chrono::steady_clock::now() < end) {
            for (int i = 0; i < 8; ++i) {
                process::pause();
            }
        }
    }

    const decltype(process::id()) owner_ = process::id();
    std::mutex mutex_;
    std::condition_variable opened_;
    Job *open_ = nullptr; // the first of those that helpers may join
    std::atomic<bool> any_open_{false};
    index started_ = 0;
    index asked_ = 0; // helpers, by the calls under way
    index awake_ = 0; // helpers about to look for a job
};

// Calls f(0), ..., f(tasks - 1) on up to `threads` threads, the calling one included, and waits for them all. What f
// does must not depend on which thread runs it.
template <class F>
void parallel_for(index tasks, index threads, const F &f) {
    const index sharers = std::min(tasks, threads);
    if (sharers > 1) {
        Job job(tasks, sharers, f);
        Pool::here().run(job);
        return;
    }
    for (index task = 0; task < tasks; ++task) {
        f(task);
    }
}

// `parallel_for` for neighbours together, f(first, end), as what comes before them is found once for each run: runs of
// 16, or fewer where each thread would get less than 16 of them.
template <class F>
void parallel_for_runs(index tasks, index threads, const F &f) {
    const index run = std::clamp(tasks / (16 * threads), index(1), index(16));
    parallel_for((tasks + run - 1) / run, threads, [&](index k) { f(k * run, std::min(tasks, (k + 1) * run)); });
}

} // namespace gdfast
