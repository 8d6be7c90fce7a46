// Asks the system to back a large result with large pages.
//
// The first write to a page of fresh memory costs a fault; at 4 KiB a page these faults take longer
// than writing the bytes. Only a hint: memory that is not fresh, or a system that has no such
// pages, stays as it is.
#pragma once

#include <cstdint>

#if defined(__linux__)
#  include <sys/mman.h>
#endif

namespace htc::cpu {

inline void ask_for_large_pages(void* block, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kLargePage = uintptr_t{1} << 21;
  // Whole pages inside the block alone: its neighbours are not ours.
  const uintptr_t address = reinterpret_cast<uintptr_t>(block);
  const uintptr_t begin = (address + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / kLargePage * kLargePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)block;
  (void)bytes;
#endif
}

}  // namespace htc::cpu
