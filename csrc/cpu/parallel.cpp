#include "htc/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#  include <xmmintrin.h>
#endif

namespace htc {
namespace {

constexpr int kMaxThreads = 256;
// Polls of an idle worker before it sleeps: some tens of microseconds, enough to bridge the
// gap between two passes of one operator, too short to take time from Paddle's own threads.
constexpr int kIdlePolls = 2000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How this thread rounds and whether it flushes subnormal numbers to zero. Paddle's executors
// switch flushing on around a run, and a new thread inherits the mode of the thread that happens to
// make it, so the workers of a pool must be told: a result may not depend on who computed it.
#if defined(__x86_64__)
constexpr unsigned kRaisedFlags = 0x3f;  // what has happened, not how to compute
unsigned float_mode() { return _mm_getcsr() & ~kRaisedFlags; }
void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
uint64_t float_mode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void set_float_mode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
int float_mode() { return 0; }
void set_float_mode(int) {}
#endif
using FloatMode = decltype(float_mode());

int initial_threads() {
  if (const char* text = std::getenv("HTC_OPS_NUM_THREADS")) {
    const int count = std::atoi(text);
    if (count > 0) return std::min(count, kMaxThreads);
  }
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    return std::clamp(CPU_COUNT(&allowed), 1, kMaxThreads);
  }
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{initial_threads()};
  return count;
}

thread_local bool inside_parallel_for = false;

class Pool {
 public:
  // Returns false, having done nothing, when another thread is using the pool.
  bool try_run(int64_t count, int64_t grain, int threads, internal::ChunkFunction function,
               void* context) {
    std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
    if (!owner.owns_lock()) return false;
    if (!grow(threads - 1)) threads = static_cast<int>(workers_.size()) + 1;

    function_ = function;
    context_ = context;
    count_ = count;
    grain_ = grain;
    helpers_ = threads - 1;
    float_mode_ = float_mode();
    next_.store(0, std::memory_order_relaxed);
    entered_.store(0, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(sleep_);
      const uint64_t job = (state_.load(std::memory_order_relaxed) >> kJobShift) + 1;
      state_.store(job << kJobShift | kOpen, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    // Wait for those that came, not for those still on their way out of bed.
    state_.fetch_and(~kOpen, std::memory_order_relaxed);
    while ((state_.load(std::memory_order_acquire) & kActive) != 0) pause();
    return true;
  }

 private:
  bool grow(int helpers) {
    try {
      while (static_cast<int>(workers_.size()) < helpers) {
        workers_.emplace_back([this] { loop(); });
      }
      return true;
    } catch (...) {  // the system gives no more threads: go on with those at hand
      return false;
    }
  }

  void work(int worker) {
    inside_parallel_for = true;
    for (;;) {
      const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
      if (begin >= count_) break;
      function_(context_, worker, begin, std::min(begin + grain_, count_));
    }
    inside_parallel_for = false;
  }

  void loop() {
    uint64_t seen = 0;  // the last job that this thread entered or missed
    const auto fresh = [&](uint64_t state) {
      return (state & kOpen) != 0 && state >> kJobShift != seen;
    };
    for (;;) {
      uint64_t state = state_.load(std::memory_order_acquire);
      for (int polls = 0; !fresh(state) && polls < kIdlePolls; ++polls) {
        pause();
        state = state_.load(std::memory_order_acquire);
      }
      if (!fresh(state)) {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, [&] { return fresh(state = state_.load(std::memory_order_acquire)); });
      }
      while (fresh(state)) {
        if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
        seen = state >> kJobShift;
        const int worker = entered_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (worker <= helpers_) {
          set_float_mode(float_mode_);
          work(worker);
        }
        state_.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  // state_ = number of the job, whether it may still be entered, how many workers are in it.
  static constexpr int kJobShift = 16;
  static constexpr uint64_t kOpen = uint64_t{1} << 15;
  static constexpr uint64_t kActive = kOpen - 1;

  std::mutex owner_;  // held by the thread whose work the pool is doing
  std::vector<std::thread> workers_;

  // The work at hand; written by the owner while no worker is in it.
  internal::ChunkFunction function_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0, grain_ = 1;
  int helpers_ = 0;
  FloatMode float_mode_{};

  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint64_t> state_{0};
  std::atomic<int> entered_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
};

// Never destroyed: its threads may outlive the statics of the library.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
  Pool* current = pool.load(std::memory_order_acquire);
  if (current) return *current;
  static const int registered = pthread_atfork(nullptr, nullptr, [] {
    // Only the forking thread lives on in the child. Its pool is given up, locks and all, and a
    // new one is made on first use.
    pool.store(nullptr, std::memory_order_release);
    inside_parallel_for = false;
  });
  (void)registered;
  Pool* fresh = new Pool;
  if (pool.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *current;
}

}  // namespace

int num_threads() { return thread_count().load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  thread_count().store(std::clamp(count, 1, kMaxThreads), std::memory_order_relaxed);
}

namespace internal {

void run_chunks(int64_t count, int64_t grain, ChunkFunction function, void* context) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (count - 1) / grain + 1;
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (threads > 1 && !inside_parallel_for &&
      the_pool().try_run(count, grain, threads, function, context)) {
    return;
  }
  for (int64_t begin = 0; begin < count; begin += grain) {
    function(context, 0, begin, std::min(begin + grain, count));
  }
}

}  // namespace internal
}  // namespace htc
