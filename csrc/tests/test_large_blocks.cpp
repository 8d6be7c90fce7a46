#include <cstring>
#include <thread>

#include "htc/large_blocks.h"
#include "tests/check.h"

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

void a_block_given_back_comes_again() {
  const htc::LargeBlock first = htc::take_large_block(5 * kMiB);
  CHECK(first.data != nullptr && first.capacity == 6 * kMiB);
  CHECK(reinterpret_cast<uintptr_t>(first.data) % (2 * kMiB) == 0);
  std::memset(first.data, 1, static_cast<size_t>(first.capacity));
  htc::give_large_block(first);
  CHECK(htc::kept_bytes() == 6 * kMiB);
  const htc::LargeBlock second = htc::take_large_block(6 * kMiB);
  CHECK(second.data == first.data && second.capacity == first.capacity);
  CHECK(htc::kept_bytes() == 0);
  const htc::LargeBlock other = htc::take_large_block(6 * kMiB);
  CHECK(other.data != second.data);
  htc::give_large_block(second);
  htc::give_large_block(other);
  htc::release_kept_blocks();
  CHECK(htc::kept_bytes() == 0);
}

void only_a_block_of_about_the_size() {
  const htc::LargeBlock large = htc::take_large_block(40 * kMiB);
  const htc::LargeBlock fitting = htc::take_large_block(32 * kMiB);
  htc::give_large_block(fitting);
  htc::give_large_block(large);
  const htc::LargeBlock small = htc::take_large_block(8 * kMiB);  // 32 would be too much for it
  CHECK(small.data != large.data && small.data != fitting.data);
  const htc::LargeBlock close = htc::take_large_block(30 * kMiB);  // the smaller of both
  CHECK(close.data == fitting.data && close.capacity == 32 * kMiB);
  const htc::LargeBlock next = htc::take_large_block(30 * kMiB);
  CHECK(next.data == large.data);  // 40: a quarter idle is allowed
  for (const auto& block : {small, close, next}) std::free(block.data);
}

void keeps_no_more_than_the_limit() {
  std::vector<htc::LargeBlock> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(htc::take_large_block(180 * kMiB));  // of 732 MiB
  for (const auto& block : blocks) {
    htc::give_large_block(block);
    CHECK(htc::kept_bytes() <= 768000000);
  }
  CHECK(htc::kept_bytes() == 4 * 180 * kMiB);
  const htc::LargeBlock huge = htc::take_large_block(900 * kMiB);
  htc::give_large_block(huge);  // alone beyond the limit
  CHECK(htc::kept_bytes() == 4 * 180 * kMiB);
  htc::release_kept_blocks();
  CHECK(htc::kept_bytes() == 0);
}

void from_many_threads() {
  const auto work = [](int seed) {
    for (int i = 0; i < 200; ++i) {
      const htc::LargeBlock block = htc::take_large_block((4 + 2 * ((i + seed) % 5)) * kMiB);
      static_cast<char*>(block.data)[0] = static_cast<char>(seed);
      CHECK(static_cast<char*>(block.data)[0] == static_cast<char>(seed));
      htc::give_large_block(block);
    }
  };
  std::thread first(work, 1), second(work, 2), third(work, 3);
  first.join();
  second.join();
  third.join();
  htc::release_kept_blocks();
  CHECK(htc::kept_bytes() == 0);
}

void more_than_there_is() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the program
  const htc::LargeBlock none = htc::take_large_block(int64_t{1} << 55);
  CHECK(none.data == nullptr && none.capacity == 0);
#endif
}

}  // namespace

int main() {
  unsetenv("HTC_OPS_KEEP_MB");
  a_block_given_back_comes_again();
  only_a_block_of_about_the_size();
  keeps_no_more_than_the_limit();
  from_many_threads();
  more_than_there_is();
  return 0;
}
