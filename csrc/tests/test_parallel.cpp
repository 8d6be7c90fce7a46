#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <limits>
#include <thread>

#if defined(__x86_64__)
#  include <xmmintrin.h>
#endif

#include "htc/parallel.h"
#include "tests/check.h"

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;  // it does not allow new threads after a fork
#else
constexpr bool kThreadSanitizer = false;
#endif

namespace {

void covers_every_index_once() {
  for (const int64_t count : {0, 1, 7, 1000, 4096}) {
    std::vector<std::atomic<int>> seen(count);
    htc::parallel_for(count, 13, [&](int worker, int64_t begin, int64_t end) {
      CHECK(worker >= 0 && worker < htc::num_threads());
      for (int64_t i = begin; i < end; ++i) ++seen[i];
    });
    for (const auto& times : seen) CHECK(times == 1);
  }
}

void many_short_jobs() {
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 2000; ++job) {
    htc::parallel_for(4, 1, [&](int, int64_t begin, int64_t end) { sum += end - begin; });
  }
  CHECK(sum == 8000);
}

void nested_and_concurrent_calls() {
  std::atomic<int64_t> sum{0};
  auto work = [&] {
    htc::parallel_for(100, 1, [&](int, int64_t, int64_t) {
      htc::parallel_for(10, 1, [&](int, int64_t, int64_t) { ++sum; });
    });
  };
  std::thread first(work), second(work);
  work();
  first.join();
  second.join();
  CHECK(sum == 3000);
}

void workers_have_memory_of_their_own() {
  std::vector<int64_t> partial(htc::num_threads());
  htc::parallel_for(10000, 1, [&](int worker, int64_t, int64_t) { ++partial[worker]; });
  int64_t sum = 0;
  for (const int64_t part : partial) sum += part;
  CHECK(sum == 10000);
}

// Computed by each of several threads, which wait for one another so that all of them take part:
// 1 + epsilon / 4, which is above 1 only where sums are rounded up.
void all_workers_round(int mode, bool above_one) {
  const int threads = htc::num_threads();
  std::atomic<int> arrived{0};
  CHECK(std::fesetround(mode) == 0);
  htc::parallel_for(threads, 1, [&](int, int64_t, int64_t) {
    ++arrived;
    while (arrived < threads) std::this_thread::yield();
    volatile float one = 1, little = std::numeric_limits<float>::epsilon() / 4;
    CHECK((one + little > 1) == above_one);
  });
  std::fesetround(FE_TONEAREST);
}

// Workers keep no mode of the thread that made them: whichever it is, the caller's counts.
void workers_compute_in_the_mode_of_the_caller() {
  htc::set_num_threads(3);  // one that is new here, and has its maker's mode at first
  all_workers_round(FE_UPWARD, true);
  all_workers_round(FE_TONEAREST, false);
  htc::set_num_threads(4);
  all_workers_round(FE_TONEAREST, false);
  all_workers_round(FE_UPWARD, true);
}

#if defined(__x86_64__)
void all_workers_flush(bool flush) {
  const int threads = htc::num_threads();
  std::atomic<int> arrived{0};
  const unsigned before = _mm_getcsr();
  _mm_setcsr(flush ? before | 0x8040 : before & ~0x8040u);  // FTZ and DAZ
  htc::parallel_for(threads, 1, [&](int, int64_t, int64_t) {
    ++arrived;
    while (arrived < threads) std::this_thread::yield();
    volatile float tiny = std::numeric_limits<float>::min(), half = 0.5f;
    CHECK((tiny * half == 0) == flush);
  });
  _mm_setcsr(before);
}

// As Paddle's executors leave it: the pool is made while they flush, and used when they do not.
void workers_flush_where_the_caller_does() {
  htc::set_num_threads(5);
  all_workers_flush(true);
  all_workers_flush(false);
}
#endif

void works_in_a_forked_child() {
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> sum{0};
    htc::parallel_for(100, 1, [&](int, int64_t, int64_t) { ++sum; });
    _exit(sum == 100 ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

}  // namespace

int main() {
  covers_every_index_once();
  many_short_jobs();
  nested_and_concurrent_calls();
  workers_have_memory_of_their_own();
  workers_compute_in_the_mode_of_the_caller();
#if defined(__x86_64__)
  workers_flush_where_the_caller_does();
#endif
  if (!kThreadSanitizer) works_in_a_forked_child();
  htc::set_num_threads(2);
  covers_every_index_once();
  return 0;
}
