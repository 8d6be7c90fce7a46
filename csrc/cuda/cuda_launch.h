// Shared by the CUDA kernels: launch sizes and the error that a launch gives back.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace htc::cuda {

constexpr int kThreads = 256;

// Blocks for `work` items at one item a thread, within the grid limit: kernels stride over the
// rest (`HTC_GRID_STRIDE`), so any int64 amount of work is safe.
inline unsigned blocks_for(int64_t work, int threads = kThreads) {
  const int64_t blocks = (work + threads - 1) / threads;
  constexpr int64_t kMaxBlocks = 1 << 20;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

#define HTC_GRID_STRIDE(index, count)                                               \
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; \
       index < (count); index += static_cast<int64_t>(gridDim.x) * blockDim.x)

inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

// To be returned right after a launch: reports a bad launch, not the kernel's own end.
inline int launch_status() { return static_cast<int>(cudaGetLastError()); }

}  // namespace htc::cuda
