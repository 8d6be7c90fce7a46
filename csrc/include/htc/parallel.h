// The threads of the CPU kernels: one pool a process, made on first use.
//
// Why not OpenMP: Paddle brings libiomp5 and sets OMP_NUM_THREADS=1, a forked data-loading worker
// must not hang on threads that did not survive the fork, and ThreadSanitizer must see every lock.
#pragma once

#include <cstdint>
#include <type_traits>

namespace htc {

// Threads that parallel_for may use, the calling one counted. At first the number of processors
// that this process may run on, or HTC_OPS_NUM_THREADS.
int num_threads();

// Clamped to 1..256. Takes effect with the next parallel_for.
void set_num_threads(int count);

namespace internal {
using ChunkFunction = void (*)(void* context, int worker, int64_t begin, int64_t end);
void run_chunks(int64_t count, int64_t grain, ChunkFunction function, void* context);
}  // namespace internal

// Calls fn(worker, begin, end) on disjoint ranges that cover [0, count), each `grain` long but for
// the last. `worker` is in [0, num_threads()) and no two running calls share one: index scratch
// memory with it. Which worker gets which range is not fixed, so a result may depend on the range
// alone. Every range is computed in the caller's floating-point mode (rounding, subnormal numbers).
// Runs on the calling thread alone when the work is one range, when called inside another
// parallel_for, or while another thread is using the pool. `fn` must not throw.
template <typename Function>
inline void parallel_for(int64_t count, int64_t grain, Function&& fn) {
  auto call = [](void* context, int worker, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<Function>*>(context))(worker, begin, end);
  };
  internal::run_chunks(count, grain, call, const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace htc
