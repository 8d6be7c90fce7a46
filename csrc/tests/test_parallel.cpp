#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

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
  if (!kThreadSanitizer) works_in_a_forked_child();
  htc::set_num_threads(2);
  covers_every_index_once();
  return 0;
}
