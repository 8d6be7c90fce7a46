// Memory of large results, kept for the next result when one is freed.
//
// The system hands out large memory as pages that are not there yet: each costs a fault on first
// write, in which it is cleared. For an operator that is bound by memory this is a good part of its
// time, and the same again on every call, for the C library gives such memory back at once.
#pragma once

#include <cstdint>

namespace htc {

constexpr int64_t kLargeBlock = int64_t{4} << 20;  // bytes from where on keeping pays

struct LargeBlock {
  void* data = nullptr;  // aligned to 2 MiB, contents undefined; null: there is no more memory
  int64_t capacity = 0;  // bytes
};

// At least `bytes` bytes: one that was given back, or fresh memory in large pages where the system
// has them. May be called from any thread, as give_large_block.
LargeBlock take_large_block(int64_t bytes);

// Keeps it while all that are kept take no more than HTC_OPS_KEEP_MB (768, in 10^6 bytes), the
// oldest given back to the system first.
void give_large_block(LargeBlock block) noexcept;

// Bytes kept at the moment.
int64_t kept_bytes();

// Gives what is kept back to the system.
void release_kept_blocks();

// For memory from elsewhere: asks the system to back the whole large pages inside it with such. A
// hint: memory that is not fresh stays as it is.
void prefer_large_pages(void* data, int64_t bytes);

}  // namespace htc
