// Runs a kernel on several numbers of threads.
#pragma once

#include "htc/parallel.h"
#include "tests/check.h"

// Checks that `compute()` gives the same on any number of threads as on one.
template <typename Compute>
void check_threads_change_nothing(const Compute& compute) {
  const int before = htc::num_threads();
  htc::set_num_threads(1);
  const auto alone = compute();
  for (const int count : {2, 3, 5, 7}) {
    htc::set_num_threads(count);
    CHECK(compute() == alone);
  }
  htc::set_num_threads(before);
}
