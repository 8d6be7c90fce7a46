#include "htc/large_blocks.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

#if defined(__linux__)
#  include <sys/mman.h>
#endif

namespace htc {
namespace {

constexpr int64_t kLargePage = int64_t{2} << 20;

int64_t initial_limit() {
  constexpr int64_t kMega = 1000000, kMostMegabytes = int64_t{1} << 40;
  if (const char* text = std::getenv("HTC_OPS_KEEP_MB")) {
    char* end = nullptr;
    const long long megabytes = std::strtoll(text, &end, 10);
    if (end != text && *end == 0 && megabytes >= 0) {
      return std::min<int64_t>(megabytes, kMostMegabytes) * kMega;
    }
  }
  return 768 * kMega;
}

// What is kept, oldest first.
struct Shelf {
  std::mutex mutex;
  std::vector<LargeBlock> blocks;
  int64_t bytes = 0;
  const int64_t limit = initial_limit();
};

// Never destroyed: results may outlive the statics of the library.
Shelf& the_shelf() {
  static Shelf* const shelf = new Shelf;
  return *shelf;
}

// Not waiting for the lock: in a forked child its owner may not exist any more.
std::unique_lock<std::mutex> try_lock(Shelf& shelf) {
  return std::unique_lock<std::mutex>(shelf.mutex, std::try_to_lock);
}

}  // namespace

LargeBlock take_large_block(int64_t bytes) {
  const int64_t wanted = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  Shelf& shelf = the_shelf();
  if (const auto lock = try_lock(shelf)) {
    // The smallest that will do, unless a quarter of it would lie idle.
    auto best = shelf.blocks.end();
    for (auto block = shelf.blocks.begin(); block != shelf.blocks.end(); ++block) {
      if (block->capacity < wanted || block->capacity - wanted > block->capacity / 4) continue;
      if (best == shelf.blocks.end() || block->capacity <= best->capacity) best = block;
    }
    if (best != shelf.blocks.end()) {
      const LargeBlock found = *best;
      shelf.blocks.erase(best);
      shelf.bytes -= found.capacity;
      return found;
    }
  }
  void* const data =
      std::aligned_alloc(static_cast<size_t>(kLargePage), static_cast<size_t>(wanted));
  if (data == nullptr) return {};
  prefer_large_pages(data, wanted);
  return {data, wanted};
}

void give_large_block(LargeBlock block) noexcept {
  Shelf& shelf = the_shelf();
  if (const auto lock = try_lock(shelf); lock && block.capacity <= shelf.limit) {
    auto kept = shelf.blocks.begin();
    for (; shelf.bytes + block.capacity > shelf.limit; ++kept) {
      shelf.bytes -= kept->capacity;
      std::free(kept->data);
    }
    shelf.blocks.erase(shelf.blocks.begin(), kept);
    try {
      shelf.blocks.push_back(block);
      shelf.bytes += block.capacity;
      return;
    } catch (...) {  // no memory for the list
    }
  }
  std::free(block.data);
}

void prefer_large_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const intptr_t address = reinterpret_cast<intptr_t>(data);
  const intptr_t begin = (address + kLargePage - 1) / kLargePage * kLargePage;
  const intptr_t end = (address + bytes) / kLargePage * kLargePage;
  if (begin < end) {
    madvise(reinterpret_cast<void*>(begin), static_cast<size_t>(end - begin), MADV_HUGEPAGE);
  }
#else
  (void)data;
  (void)bytes;
#endif
}

int64_t kept_bytes() {
  Shelf& shelf = the_shelf();
  const std::lock_guard<std::mutex> lock(shelf.mutex);
  return shelf.bytes;
}

void release_kept_blocks() {
  Shelf& shelf = the_shelf();
  const std::lock_guard<std::mutex> lock(shelf.mutex);
  for (const LargeBlock& block : shelf.blocks) std::free(block.data);
  shelf.blocks.clear();
  shelf.bytes = 0;
}

}  // namespace htc
